/* tests/unit/app/test_handover.c - what one image of the supervisor leaves to the next. */
#include "app/handover.h"
#include "vv_test.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static struct vv_handover sample(int *fd)
{
    struct vv_handover h = {
        .generation = 7, .restarts = 2, .started_wall_ns = 123456789, .exe_fd = -1};
    for (int i = 0; i < 4; i++) {
        fd[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
    VV_CHECK_INT(vv_sockets_adopt(&h.sockets, "web", "127.0.0.1:80", false, fd, 2), VV_OK);
    VV_CHECK_INT(vv_sockets_adopt(&h.sockets, "@socket", "unix:/run/x.sock", true, fd + 2, 1),
                 VV_OK);
    h.worker[0].pid = 4711;
    h.worker[0].ctl = fd[3];
    h.worker[0].generation = 6;
    h.worker[0].draining = true;
    h.workers = 1;
    return h;
}

VV_TEST(what_is_written_is_read_again)
{
    int fd[4];
    struct vv_handover h = sample(fd), got = {0};
    struct vv_sb text = VV_SB_INIT;
    h.exe_fd = 99;
    h.keys_fd = 98;
    strcpy(h.failed, "no luck");
    vv_handover_write(&h, &text);
    VV_CHECK_INT(vv_handover_read(text.p, &got), VV_OK);
    VV_CHECK_INT(got.generation, 7);
    VV_CHECK_INT(got.restarts, 2);
    VV_CHECK_INT(got.started_wall_ns, 123456789);
    VV_CHECK_INT(got.exe_fd, 99);
    VV_CHECK_INT(got.keys_fd, 98);
    VV_CHECK_STR(got.failed, "no luck");
    VV_CHECK_INT(got.workers, 1);
    VV_CHECK_INT(got.worker[0].pid, 4711);
    VV_CHECK_INT(got.worker[0].ctl, fd[3]);
    VV_CHECK(got.worker[0].draining);
    VV_CHECK_INT(got.sockets.count, 2);
    VV_CHECK_STR(got.sockets.item[0]->name, "web");
    VV_CHECK_STR(got.sockets.item[0]->address, "127.0.0.1:80");
    VV_CHECK_INT(got.sockets.item[0]->count, 2);
    VV_CHECK_INT(got.sockets.item[0]->fds[1], fd[1]);
    VV_CHECK(!got.sockets.item[0]->activated && got.sockets.item[1]->activated);
    h.sockets.item[0]->count = h.sockets.item[1]->count =
        0; /* the numbers are the same: close once */
    vv_sockets_fini(&h.sockets);
    vv_sockets_fini(&got.sockets);
    vv_sb_fini(&text);
    close(fd[3]);
}

VV_TEST(lines_of_other_versions_are_skipped_a_wrong_head_is_not)
{
    struct vv_handover got = {0};
    VV_CHECK_INT(vv_handover_read(VV_HANDOVER_FORMAT "\nnews\x1f"
                                                     "1\x1f"
                                                     "2\n",
                                  &got),
                 VV_OK);
    VV_CHECK_INT(got.workers, 0);
    VV_CHECK_INT(got.exe_fd, -1);
    VV_CHECK_INT(vv_handover_read("vivace-handover-2\n", &got), VV_ESYNTAX);
    VV_CHECK_INT(vv_handover_read("", &got), VV_ESYNTAX);
}

VV_TEST(broken_lines_are_refused)
{
    static const char *const broken[] = {
        "listen\x1fweb\x1f"
        "127.0.0.1:80\x1f"
        "0\x1f", /* no descriptor */
        "listen\x1fweb\x1f"
        "127.0.0.1:80\x1f"
        "0\x1f"
        "3,x", /* no number */
        "listen\x1fweb\x1fnot an address\x1f"
        "0\x1f"
        "3",
        "worker\x1f"
        "1\x1f"
        "2", /* fields missing */
        "worker\x1f"
        "-1\x1f"
        "2\x1f"
        "3\x1f"
        "0",
        "counts\x1f"
        "1\x1f"
        "2",
        "exe\x1f",
    };
    for (size_t i = 0; i < VV_COUNT(broken); i++) {
        struct vv_handover got = {0};
        struct vv_sb text = VV_SB_INIT;
        vv_sb_addf(&text, VV_HANDOVER_FORMAT "\n%s\n", broken[i]);
        VV_CHECK_INT(vv_handover_read(text.p, &got), VV_ESYNTAX);
        vv_sb_fini(&text);
    }
}

VV_TEST(close_on_exec_is_taken_off_everything_and_put_back)
{
    int fd[4];
    struct vv_handover h = sample(fd);
    vv_handover_cloexec(&h, false);
    for (int i = 0; i < 4; i++) {
        VV_CHECK_INT(fcntl(fd[i], F_GETFD) & FD_CLOEXEC, 0);
    }
    vv_handover_cloexec(&h, true);
    for (int i = 0; i < 4; i++) {
        VV_CHECK_INT(fcntl(fd[i], F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    }
    vv_sockets_fini(&h.sockets);
    close(fd[3]);
}

VV_TEST(a_check_answers_specially_only_to_the_same_format)
{
    (void)unsetenv(VV_HANDOVER_CHECK_ENV);
    VV_CHECK_INT(vv_handover_check_code(0), 0);
    (void)setenv(VV_HANDOVER_CHECK_ENV, VV_HANDOVER_FORMAT, 1);
    VV_CHECK_INT(vv_handover_check_code(0), VV_HANDOVER_CHECK_CODE);
    VV_CHECK_INT(vv_handover_check_code(2), 2);
    (void)setenv(VV_HANDOVER_CHECK_ENV, "vivace-handover-0", 1);
    VV_CHECK_INT(vv_handover_check_code(0), 0);
}
