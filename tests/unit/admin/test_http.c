/* tests/unit/admin/test_http.c - the admin server over a socket pair: kept answers, streams, limits. */
#include "admin/http.h"
#include "vv_test.h"

#include <stdio.h>
#include <unistd.h>

static struct vv_loop *loop;
static struct vv_admin_http *server;
static struct vv_addr address;
static struct vv_admin_exchange *kept;
static int streams_closed;

static void on_closed(struct vv_admin_exchange *x)
{
    (void)x;
    streams_closed++;
}

/* /now answers at once, /later keeps the exchange, /stream begins one, everything else fails. */
static enum vv_err handler(void *user, struct vv_admin_exchange *x)
{
    (void)user;
    if (vv_str_eq(x->head->path, VV_STR("/now"))) {
        vv_sb_addf(&x->out, "%zu", x->body.n);
        return VV_OK;
    }
    if (vv_str_eq(x->head->path, VV_STR("/later"))) {
        kept = x;
        return VV_EAGAIN;
    }
    if (vv_str_eq(x->head->path, VV_STR("/stream"))) {
        kept = x;
        vv_admin_stream_begin(x, "text/plain", on_closed);
        return VV_EAGAIN;
    }
    return VV_ENOENT;
}

static void begin(void)
{
    char text[64];
    int fd = -1;
    const struct vv_listen_options options = {.backlog = 16};
    (void)snprintf(text, sizeof text, "unix:@vv-admin-test-%d", (int)getpid());
    kept = NULL;
    streams_closed = 0;
    VV_CHECK_INT(vv_loop_new(&loop), VV_OK);
    VV_CHECK_INT(vv_admin_http_new(loop, handler, NULL, &server), VV_OK);
    VV_CHECK_INT(vv_addr_parse(vv_str_from(text), &address), VV_OK);
    VV_CHECK_INT(vv_sock_listen(&address, &options, &fd), VV_OK);
    VV_CHECK_INT(vv_admin_http_listen(server, fd, true), VV_OK);
}

static void end(void)
{
    vv_admin_http_free(server);
    vv_loop_free(loop);
}

static int dial(void)
{
    int fd = -1;
    VV_CHECK_INT(vv_sock_connect(&address, &fd), VV_OK);
    return fd;
}

static void turns(int n)
{
    while (n-- > 0) {
        vv_loop_turn(loop, 0);
    }
}

static void say(int fd, const char *text)
{
    VV_CHECK_INT(write(fd, text, strlen(text)), strlen(text));
    turns(4);
}

/* Everything that is there; "" when nothing is. */
static const char *hear(int fd)
{
    static char text[8192];
    const ssize_t n = read(fd, text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

static const char *body_of(const char *answer)
{
    const char *end_of_head = strstr(answer, "\r\n\r\n");
    return end_of_head != NULL ? end_of_head + 4 : "";
}

VV_TEST(a_request_in_pieces_is_answered_once_it_is_whole)
{
    begin();
    const int fd = dial();
    say(fd, "POST /now HTTP/1.1\r\nHost: a\r\nContent-Le");
    say(fd, "ngth: 5\r\n\r\nab");
    VV_CHECK_STR(hear(fd), "");
    say(fd, "cde");
    VV_CHECK_STR(body_of(hear(fd)), "5");
    close(fd);
    end();
}

VV_TEST(an_error_of_the_handler_becomes_its_status)
{
    begin();
    const int fd = dial();
    say(fd, "GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n");
    VV_CHECK(strncmp(hear(fd), "HTTP/1.1 404 ", 13) == 0); /* VV_ENOENT's row in err.def */
    close(fd);
    end();
}

VV_TEST(a_kept_exchange_is_answered_later_and_in_order)
{
    begin();
    const int fd = dial();
    say(fd, "GET /later HTTP/1.1\r\nHost: a\r\n\r\nGET /now HTTP/1.1\r\nHost: a\r\n\r\n");
    VV_CHECK_STR(hear(fd), "");
    VV_CHECK(kept != NULL && !kept->gone);
    VV_CHECK(!vv_admin_http_quiet(server));
    vv_sb_adds(&kept->out, "late");
    vv_admin_finish(kept);
    turns(4);
    const char *both = hear(fd);
    VV_CHECK(strstr(both, "\r\n\r\nlateHTTP/1.1 200 ") != NULL);
    VV_CHECK(vv_admin_http_quiet(server));
    close(fd);
    end();
}

VV_TEST(a_kept_exchange_survives_its_client)
{
    begin();
    const int fd = dial();
    say(fd, "GET /later HTTP/1.1\r\nHost: a\r\n\r\n");
    close(fd);
    turns(4);
    VV_CHECK(kept->gone);
    VV_CHECK_INT(vv_admin_http_connections(server), 1); /* still ours to finish */
    vv_admin_finish(kept);
    turns(4);
    VV_CHECK_INT(vv_admin_http_connections(server), 0);
    end();
}

VV_TEST(a_stream_is_chunked_and_its_end_is_told_once)
{
    begin();
    const int fd = dial();
    say(fd, "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
    VV_CHECK(vv_admin_stream_write(kept, VV_STR("hello")));
    const char *answer = hear(fd);
    VV_CHECK(strstr(answer, "Transfer-Encoding: chunked\r\n") != NULL);
    VV_CHECK_STR(body_of(answer), "5\r\nhello\r\n");
    close(fd);
    turns(4);
    VV_CHECK_INT(streams_closed, 1);
    end();
    VV_CHECK_INT(streams_closed, 1);
}

VV_TEST(a_stream_nobody_reads_drops_bytes_instead_of_growing)
{
    static char block[65536];
    size_t taken = 0;
    begin();
    const int fd = dial();
    say(fd, "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
    memset(block, 'x', sizeof block);
    for (int i = 0; i < 64; i++) { /* 4 MiB against a limit of 1 MiB and a socket buffer */
        taken += vv_admin_stream_write(kept, (struct vv_str){block, sizeof block});
    }
    VV_CHECK(taken >= 16 && taken < 40); /* 16 blocks are 1 MiB; the kernel holds some more */
    close(fd);
    turns(4);
    VV_CHECK_INT(streams_closed, 1);
    end();
}

VV_TEST(the_end_of_the_server_closes_what_is_open)
{
    begin();
    const int fd = dial();
    turns(2);
    VV_CHECK_INT(vv_admin_http_connections(server), 1);
    end();
    VV_CHECK_INT(read(fd, (char[1]){0}, 1), 0);
    close(fd);
}
