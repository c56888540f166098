/* tests/unit/gateway/test_upstream.c - connections to servers: kept, dropped, never poisoned; and what is
 * said on them when something goes wrong. */
#include "gateway/actions/proxy_int.h"
#include "rig.h"

static const char plain[] = "listen: 127.0.0.1:1\n"
                            "admin: none\n"
                            "routes:\n"
                            "  - to: http://127.0.0.1:%u\n";

static void reset(int fd)
{
    const struct linger hard = {.l_onoff = 1, .l_linger = 0};
    VV_CHECK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard) == 0);
    close(fd);
}

/* One exchange, so that the worker keeps a connection; returns the origin's end of it. */
static int keep_one(struct rig *r, int client)
{
    rig_send(r, client, "GET /first HTTP/1.1\r\nHost: h\r\n\r\n");
    const int origin = rig_accept(r);
    (void)rig_read(r, origin, NULL);
    rig_send(r, origin, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    (void)rig_read(r, client, NULL);
    return origin;
}

VV_TEST(a_request_that_is_sent_again_has_its_whole_body)
{
    struct rig r;
    rig_up(&r, plain);
    const int client = rig_client(&r);
    const int origin = keep_one(&r, client);
    /* The client's event comes first, then sending meets the reset: nothing of the request leaves. */
    const char put[] = "PUT /f HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello";
    VV_CHECK_INT(send(client, put, sizeof put - 1, 0), sizeof put - 1);
    reset(origin);
    const int fresh = rig_accept(&r);
    const char *got = rig_read(&r, fresh, NULL);
    VV_CHECK(strncmp(got, "PUT /f ", 7) == 0);
    VV_CHECK_STR(got + strlen(got) - 9, "\r\n\r\nhello");
    rig_send(&r, fresh, "HTTP/1.1 204 No Content\r\n\r\n");
    VV_CHECK(strncmp(rig_read(&r, client, NULL), "HTTP/1.1 204 ", 13) == 0);
    close(client);
    close(fresh);
    rig_down(&r);
}

VV_TEST(a_post_that_was_sent_is_not_sent_again)
{
    struct rig r;
    rig_up(&r, plain);
    const int client = rig_client(&r);
    const int origin = keep_one(&r, client);
    rig_send(&r, client, "POST /once HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi");
    VV_CHECK(strncmp(rig_read(&r, origin, NULL), "POST /once ", 11) == 0);
    close(origin);
    VV_CHECK(strncmp(rig_read(&r, client, NULL), "HTTP/1.1 502 ", 13) == 0);
    VV_CHECK(accept4(r.origin_fd, NULL, NULL, SOCK_NONBLOCK) < 0);
    close(client);
    rig_down(&r);
}

/* The worker's only connection to the origin. */
static struct vv_uconn *uconn_of(struct rig *r)
{
    const struct vv_session *s = VV_LIST_ENTRY(r->w->sessions.next, struct vv_session, node);
    const struct vv_ask *k = s->x->state;
    return k->now->u;
}

VV_TEST(a_tunnel_passes_both_ways_and_is_never_used_again)
{
    struct rig r;
    bool closed = false;
    rig_up(&r, plain);
    const int client = rig_client(&r);
    rig_send(&r, client,
             "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    const int origin = rig_accept(&r);
    VV_CHECK(strstr(rig_read(&r, origin, NULL), "Upgrade: websocket\r\n") != NULL);
    rig_send(&r, origin,
             "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n"
             "Upgrade: websocket\r\n\r\nearly");
    VV_CHECK(strstr(rig_read(&r, client, NULL), "\r\n\r\nearly") != NULL);
    rig_send(&r, client, "up");
    VV_CHECK_STR(rig_read(&r, origin, NULL), "up");
    rig_send(&r, origin, "down");
    VV_CHECK_STR(rig_read(&r, client, NULL), "down");
    VV_CHECK_INT(r.w->bufs.bytes, VV_BUF_SMALL); /* a silent tunnel holds its head, no more */
    VV_CHECK(shutdown(client, SHUT_WR) == 0);
    VV_CHECK_STR(rig_read(&r, origin, &closed), "");
    VV_CHECK(closed); /* the half-close went through */
    rig_send(&r, origin, "last words");
    VV_CHECK_STR(rig_read(&r, client, NULL), "last words");
    struct vv_uconn *u = uconn_of(&r);
    u->wait_until_ns = 1; /* it has been silent for too long */
    u->timer.fn(r.w->loop, &u->timer);
    (void)rig_read(&r, client, &closed);
    VV_CHECK(closed);
    const int next = rig_client(&r);
    rig_send(&r, next, "GET /n HTTP/1.1\r\nHost: h\r\n\r\n");
    const int fresh = rig_accept(&r); /* a connection of its own */
    VV_CHECK(strncmp(rig_read(&r, fresh, NULL), "GET /n ", 7) == 0);
    close(client);
    close(next);
    close(origin);
    close(fresh);
    rig_down(&r);
}

VV_TEST(interim_answers_pass_but_not_without_end)
{
    struct rig r;
    rig_up(&r, plain);
    const int client = rig_client(&r);
    rig_send(&r, client, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    const int origin = rig_accept(&r);
    rig_send(&r, origin, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
    VV_CHECK(strstr(rig_read(&r, client, NULL), "103 Early Hints\r\nLink: </a>\r\n") != NULL);
    for (int i = 0; i < 64; i++) {
        (void)!send(origin, "HTTP/1.1 102 Processing\r\n\r\n", 27, MSG_NOSIGNAL);
    }
    VV_CHECK(strstr(rig_read(&r, client, NULL), "HTTP/1.1 502 ") != NULL);
    close(client);
    close(origin);
    rig_down(&r);
}

VV_TEST(a_cut_answer_without_framing_ends_in_a_reset)
{
    struct rig r;
    char b[4096];
    rig_up(&r, plain);
    const int client = rig_client(&r);
    rig_send(&r, client, "GET / HTTP/1.0\r\nHost: h\r\n\r\n"); /* no chunks for HTTP/1.0 */
    const int origin = rig_accept(&r);
    (void)rig_read(&r, origin, NULL);
    rig_send(&r, origin, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    VV_CHECK(strstr(rig_read(&r, client, NULL), "\r\n\r\nhello") != NULL);
    close(origin);
    rig_turns(&r, 3);
    VV_CHECK(recv(client, b, sizeof b, 0) < 0 && errno == ECONNRESET);
    close(client);
    rig_down(&r);
}

VV_TEST(an_idle_connection_that_speaks_is_dropped)
{
    struct rig r;
    bool closed = false;
    rig_up(&r, plain);
    const int client = rig_client(&r);
    const int origin = keep_one(&r, client);
    rig_send(&r, origin, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
    (void)rig_read(&r, origin, &closed);
    VV_CHECK(closed);
    rig_send(&r, client, "GET /n HTTP/1.1\r\nHost: h\r\n\r\n");
    const int fresh = rig_accept(&r);
    VV_CHECK(strncmp(rig_read(&r, fresh, NULL), "GET /n ", 7) == 0);
    close(client);
    close(origin);
    close(fresh);
    rig_down(&r);
}

VV_TEST(idle_connections_grow_old)
{
    struct rig r;
    bool closed = false;
    rig_up(&r, plain);
    const int client = rig_client(&r);
    const int origin = keep_one(&r, client);
    vv_upstreams_second(r.w->upstreams, vv_worker_now(r.w) + 59 * VV_SEC);
    (void)rig_read(&r, origin, &closed);
    VV_CHECK(!closed); /* kept for 60 s by default */
    vv_upstreams_second(r.w->upstreams, vv_worker_now(r.w) + 61 * VV_SEC);
    (void)rig_read(&r, origin, &closed);
    VV_CHECK(closed);
    close(client);
    close(origin);
    rig_down(&r);
}
