/* tests/unit/gateway/test_buf.c - buffers come back, batches leave in order and only once. */
#include "gateway/buf.h"
#include "vv_test.h"
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static void pair(int fd[2])
{
    VV_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd) == 0);
}

VV_TEST(a_returned_buffer_is_used_again)
{
    struct vv_bufs bufs = {0};
    struct vv_buf *a = vv_buf_get(&bufs, 100);
    VV_CHECK(a != NULL);
    VV_CHECK_INT(a->cap, VV_BUF_SMALL);
    VV_CHECK_INT(bufs.bytes, VV_BUF_SMALL);
    vv_buf_put(&bufs, a);
    VV_CHECK_INT(bufs.bytes, 0);
    VV_CHECK(vv_buf_get(&bufs, VV_BUF_SMALL) == a);
    vv_buf_put(&bufs, a);
    vv_bufs_fini(&bufs);
}

VV_TEST(an_odd_size_is_not_kept)
{
    struct vv_bufs bufs = {0};
    struct vv_buf *a = vv_buf_get(&bufs, VV_BUF_LARGE + 1);
    VV_CHECK(a != NULL);
    VV_CHECK_INT(a->cap, VV_BUF_LARGE + 1);
    vv_buf_put(&bufs, a);
    VV_CHECK_INT(bufs.small_count + bufs.large_count, 0);
    vv_bufs_fini(&bufs);
}

VV_TEST(copied_and_borrowed_pieces_leave_in_order)
{
    struct vv_bufs bufs = {0};
    struct vv_out o;
    int fd[2];
    char got[64] = "";
    pair(fd);
    vv_out_init(&o);
    VV_CHECK(vv_out_copy(&o, &bufs, VV_STR("one ")));
    VV_CHECK(vv_out_copy(&o, &bufs, VV_STR("two ")));
    VV_CHECK_INT(o.count, 1); /* neighbours in our own block are one piece */
    VV_CHECK(vv_out_borrow(&o, VV_STR("three ")));
    VV_CHECK(vv_out_copy(&o, &bufs, VV_STR("four")));
    VV_CHECK_INT(o.pending, 18);
    VV_CHECK_INT(vv_out_flush(&o, &bufs, fd[0], NULL, 0), VV_OK);
    VV_CHECK(vv_out_empty(&o));
    VV_CHECK_INT(bufs.bytes, 0); /* the block went back with the batch */
    VV_CHECK_INT(read(fd[1], got, sizeof got), 18);
    VV_CHECK_STR(got, "one two three four");
    vv_out_fini(&o, &bufs);
    vv_bufs_fini(&bufs);
    close(fd[0]);
    close(fd[1]);
}

VV_TEST(a_blocked_batch_goes_on_where_it_stopped)
{
    enum { BYTES = 1 << 20 };
    struct vv_bufs bufs = {0};
    struct vv_out o;
    int fd[2];
    char *sent = malloc(BYTES);
    char *got = malloc(BYTES);
    size_t n = 0;
    VV_CHECK(sent != NULL && got != NULL);
    for (size_t i = 0; i < BYTES; i++) {
        sent[i] = (char)(i * 31 >> 3);
    }
    pair(fd);
    vv_out_init(&o);
    VV_CHECK(vv_out_borrow(&o, (struct vv_str){sent, BYTES / 2}));
    VV_CHECK(vv_out_borrow(&o, (struct vv_str){sent + BYTES / 2, BYTES / 2}));
    enum vv_err err = vv_out_flush(&o, &bufs, fd[0], NULL, 0);
    VV_CHECK_INT(err, VV_EAGAIN); /* a megabyte does not fit a socket pair at once */
    while (n < BYTES) {
        const ssize_t k = read(fd[1], got + n, BYTES - n);
        n += k > 0 ? (size_t)k : 0;
        if (err == VV_EAGAIN) {
            err = vv_out_flush(&o, &bufs, fd[0], NULL, 0);
        }
    }
    VV_CHECK_INT(err, VV_OK);
    VV_CHECK_INT(o.sent, BYTES);
    VV_CHECK(memcmp(sent, got, BYTES) == 0);
    vv_out_fini(&o, &bufs);
    vv_bufs_fini(&bufs);
    free(sent);
    free(got);
    close(fd[0]);
    close(fd[1]);
}

VV_TEST(a_file_follows_the_pieces)
{
    struct vv_bufs bufs = {0};
    struct vv_out o;
    int fd[2];
    char got[64] = "";
    char name[] = "/tmp/vv-test-buf-XXXXXX";
    const int file = mkstemp(name);
    VV_CHECK(file >= 0);
    unlink(name);
    VV_CHECK_INT(write(file, "0123456789", 10), 10);
    pair(fd);
    vv_out_init(&o);
    VV_CHECK(vv_out_copy(&o, &bufs, VV_STR("head ")));
    vv_out_file(&o, file, 3, 4);
    VV_CHECK(!vv_out_borrow(&o, VV_STR("late"))); /* nothing may come after a file */
    VV_CHECK_INT(vv_out_flush(&o, &bufs, fd[0], NULL, 0), VV_OK);
    VV_CHECK_INT(read(fd[1], got, sizeof got), 9);
    VV_CHECK_STR(got, "head 3456");
    vv_out_fini(&o, &bufs);
    vv_bufs_fini(&bufs);
    close(file);
    close(fd[0]);
    close(fd[1]);
}

VV_TEST(a_file_that_shrank_is_an_error_and_not_a_short_answer)
{
    struct vv_bufs bufs = {0};
    struct vv_out o;
    int fd[2];
    char name[] = "/tmp/vv-test-buf-XXXXXX";
    const int file = mkstemp(name);
    VV_CHECK(file >= 0);
    unlink(name);
    VV_CHECK_INT(write(file, "abc", 3), 3);
    pair(fd);
    vv_out_init(&o);
    vv_out_file(&o, file, 0, 10);
    VV_CHECK_INT(vv_out_flush(&o, &bufs, fd[0], NULL, 0), VV_EIO);
    vv_out_fini(&o, &bufs);
    vv_bufs_fini(&bufs);
    close(file);
    close(fd[0]);
    close(fd[1]);
}
