/* tests/unit/gateway/test_session.c - what a client may do to its connection. Time passes only where
 * a test moves a timer: nobody sleeps. */
#include "rig.h"
#include <netinet/tcp.h>

static const char plain[] = "listen: 127.0.0.1:1\n"
                            "admin: none\n"
                            "routes:\n"
                            "  - {path: /x, respond: {body: own}}\n"
                            "  - to: http://127.0.0.1:%u\n";

static struct vv_session *only_session(struct rig *r)
{
    VV_CHECK(!vv_list_empty(&r->w->sessions));
    return VV_LIST_ENTRY(r->w->sessions.next, struct vv_session, node);
}

VV_TEST(the_limit_of_a_pause_does_not_end_the_exchange_after_it)
{
    struct rig r;
    rig_up(&r, plain);
    const int client = rig_client(&r); /* nothing sent yet: the head's limit runs */
    rig_send(&r, client, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    const int origin = rig_accept(&r);
    struct vv_session *s = only_session(&r);
    VV_CHECK(s->timer.armed);
    s->timer.fn(r.w->loop,
                &s->timer); /* the head's time is over; the exchange has its own limits */
    rig_send(&r, origin, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    VV_CHECK(strncmp(rig_read(&r, client, NULL), "HTTP/1.1 200 ", 13) == 0);
    close(client);
    close(origin);
    rig_down(&r);
}

VV_TEST(an_answer_leaves_before_the_pipelined_request_behind_it_is_answered)
{
    struct rig r;
    rig_up(&r, plain);
    const int client = rig_client(&r);
    rig_send(&r, client, "GET /x HTTP/1.1\r\nHost: h\r\n\r\nGET /slow HTTP/1.1\r\nHost: h\r\n\r\n");
    const int origin = rig_accept(&r);
    VV_CHECK(strstr(rig_read(&r, client, NULL), "\r\n\r\nown") != NULL); /* /slow is not answered */
    rig_send(&r, origin, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    VV_CHECK(strstr(rig_read(&r, client, NULL), "\r\n\r\nok") != NULL);
    close(client);
    close(origin);
    rig_down(&r);
}

VV_TEST(an_answer_is_not_lost_with_a_client_that_ends_inside_its_body)
{
    struct rig r;
    bool closed = false;
    rig_up(&r, plain);
    const int client = rig_client(&r);
    const char request[] = "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nhalf";
    VV_CHECK_INT(send(client, request, sizeof request - 1, 0), sizeof request - 1);
    VV_CHECK(shutdown(client, SHUT_WR) == 0); /* both seen in the same turn */
    VV_CHECK(strstr(rig_read(&r, client, &closed), "\r\n\r\nown") != NULL);
    VV_CHECK(closed);
    close(client);
    rig_down(&r);
}

VV_TEST(the_rest_of_a_body_is_dropped_and_the_connection_goes_on)
{
    struct rig r;
    rig_up(&r, plain);
    const int client = rig_client(&r);
    rig_send(&r, client, "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 8\r\n\r\nhalf");
    VV_CHECK(strstr(rig_read(&r, client, NULL), "\r\n\r\nown") != NULL);
    rig_send(&r, client, "HALFGET /x HTTP/1.1\r\nHost: h\r\n\r\n");
    VV_CHECK(strstr(rig_read(&r, client, NULL), "\r\n\r\nown") != NULL);
    VV_CHECK_INT(rig_metric(&r, VV_METRIC_RECEIVED, "default", NULL), 2);
    close(client);
    rig_down(&r);
}

VV_TEST(the_rest_of_a_body_has_one_limit_in_all)
{
    struct rig r;
    rig_up(&r, plain);
    const int client = rig_client(&r);
    rig_send(&r, client, "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 8\r\n\r\nh");
    struct vv_session *s = only_session(&r);
    VV_CHECK_INT(s->state, VV_SESSION_DISCARD);
    const uint64_t limit_ns = s->body_wait_ns;
    rig_send(&r, client, "a");
    VV_CHECK_INT(s->body_wait_ns, limit_ns); /* one byte more buys no time */
    close(client);
    rig_down(&r);
}

VV_TEST(what_is_unread_when_a_session_ends_does_not_reset_the_answer)
{
    struct rig r;
    static char junk[256 * 1024];
    bool closed = false;
    const int on = 1;
    rig_up(&r, plain);
    const int client = rig_client(&r);
    VV_CHECK(setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0);
    memset(junk, 'j', sizeof junk);
    /* A body too long to be dropped; more of it waits in the socket than one read takes. */
    const char head[] = "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 900000\r\n\r\n";
    memcpy(junk, head, sizeof head - 1);
    VV_CHECK(send(client, junk, sizeof junk, 0) > (ssize_t)VV_BUF_LARGE);
    VV_CHECK(strstr(rig_read(&r, client, &closed), "\r\n\r\nown") != NULL);
    VV_CHECK(closed); /* our half of it */
    struct vv_session *s = only_session(&r);
    VV_CHECK_INT(s->state, VV_SESSION_LINGER);
    VV_CHECK(!s->readable); /* all of it was taken, without a further event */
    s->linger_until_ns = 1; /* its time in all is over, however much still comes */
    rig_send(&r, client, "more");
    VV_CHECK(vv_list_empty(&r.w->sessions));
    close(client);
    rig_down(&r);
}

VV_TEST(a_refused_head_is_answered_and_ends_the_connection)
{
    struct rig r;
    bool closed = false;
    rig_up(&r, plain);
    const int client = rig_client(&r);
    rig_send(&r, client,
             "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
             "0\r\n\r\nGET /x HTTP/1.1\r\nHost: h\r\n\r\n");
    const char *answer = rig_read(&r, client, &closed);
    VV_CHECK(strncmp(answer, "HTTP/1.1 400 ", 13) == 0);
    VV_CHECK(strstr(answer, "own") == NULL);
    VV_CHECK(closed);
    close(client);
    rig_down(&r);
}

VV_TEST(a_head_of_exactly_a_block_and_one_that_is_longer_both_pass)
{
    struct rig r;
    static char head[24 * 1024];
    rig_up(&r, plain);
    const size_t lengths[] = {VV_BUF_SMALL - 1, VV_BUF_SMALL, VV_BUF_SMALL + 1, sizeof head - 1};
    for (size_t i = 0; i < VV_COUNT(lengths); i++) {
        const int client = rig_client(&r);
        const char start[] = "GET /x HTTP/1.1\r\nHost: h\r\nA: ";
        memset(head, 'a', sizeof head);
        memcpy(head, start, sizeof start - 1);
        memcpy(head + lengths[i] - 4, "\r\n\r\n", 5);
        rig_send(&r, client, head);
        VV_CHECK(strstr(rig_read(&r, client, NULL), "\r\n\r\nown") != NULL);
        close(client);
    }
    rig_turns(&r, 3);
    VV_CHECK_INT(r.w->bufs.bytes, 0);
    rig_down(&r);
}

VV_TEST(a_drain_keeps_the_promise_of_a_head_that_has_left)
{
    struct rig r;
    bool closed = true;
    rig_up(&r, plain);
    const int client = rig_client(&r);
    rig_send(&r, client, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    const int origin = rig_accept(&r);
    rig_send(&r, origin, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha");
    VV_CHECK(strstr(rig_read(&r, client, NULL), "Connection: close") == NULL);
    r.w->draining = true;
    vv_listener_stop(VV_LIST_ENTRY(r.w->listeners.next, struct vv_listener, node));
    rig_send(&r, origin, "lf");
    VV_CHECK_STR(rig_read(&r, client, &closed), "lf");
    VV_CHECK(!closed); /* the client may have the next request on its way */
    struct vv_session *s = only_session(&r);
    /* A tenth of the drain time (30 s), far less than keep-alive's 75 s. */
    VV_CHECK(s->timer.at_ns <= vv_worker_now(r.w) + 3 * VV_SEC);
    rig_send(&r, client, "GET /x HTTP/1.1\r\nHost: h\r\n\r\n");
    VV_CHECK(strstr(rig_read(&r, client, &closed), "Connection: close\r\n") != NULL);
    VV_CHECK(closed);
    close(client);
    close(origin);
    rig_down(&r);
}

VV_TEST(a_client_that_resets_aborts_its_exchange_once)
{
    struct rig r;
    rig_up(&r, plain);
    const int client = rig_client(&r);
    rig_send(&r, client, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    const int origin = rig_accept(&r);
    const struct linger hard = {.l_onoff = 1, .l_linger = 0};
    VV_CHECK(setsockopt(client, SOL_SOCKET, SO_LINGER, &hard, sizeof hard) == 0);
    close(client);
    rig_turns(&r, 3);
    VV_CHECK(vv_list_empty(&r.w->sessions));
    VV_CHECK_INT(rig_metric(&r, VV_METRIC_ABORTED, "/", "client_closed"), 1);
    VV_CHECK_INT(rig_metric(&r, VV_METRIC_IN_FLIGHT, NULL, NULL), 0);
    close(origin);
    rig_down(&r);
}

VV_TEST(requests_received_are_answered_or_aborted)
{
    struct rig r;
    rig_up(&r, plain);
    /* One answered, one aborted by its server, one malformed: three received. */
    const int a = rig_client(&r);
    rig_send(&r, a, "GET /x HTTP/1.1\r\nHost: h\r\n\r\n");
    const int b = rig_client(&r);
    rig_send(&r, b, "GET /cut HTTP/1.1\r\nHost: h\r\n\r\n");
    const int origin = rig_accept(&r);
    (void)rig_read(&r, origin, NULL); /* closing with unread bytes would be a reset */
    rig_send(&r, origin, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha");
    close(origin);
    const int c = rig_client(&r);
    rig_send(&r, c, "GET /\r\n\r\n");
    rig_turns(&r, 3);
    VV_CHECK_INT(rig_metric(&r, VV_METRIC_RECEIVED, "default", NULL), 3);
    VV_CHECK_INT(rig_metric(&r, VV_METRIC_ABORTED, "/", "server_closed"), 1);
    VV_CHECK_INT(rig_metric(&r, VV_METRIC_IN_FLIGHT, NULL, NULL), 0);
    close(a);
    close(b);
    close(c);
    rig_down(&r);
}

VV_TEST(a_client_that_reads_slowly_is_not_one_that_does_not_read)
{
    struct rig r;
    static char body[64 * 1024];
    rig_up(&r, plain);
    const int client = rig_client(&r);
    rig_send(&r, client, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    const int origin = rig_accept(&r);
    rig_send(&r, origin, "HTTP/1.1 200 OK\r\nContent-Length: 900000000\r\n\r\n");
    struct vv_session *s = only_session(&r);
    memset(body, 'b', sizeof body);
    for (int i = 0; i < 2000 && !s->blocked; i++) {
        (void)!send(origin, body, sizeof body, MSG_NOSIGNAL);
        rig_turns(&r, 1);
    }
    VV_CHECK(s->blocked);
    /* The kernel has delivered a little since the deadline was set, not enough to ask us for more. */
    VV_CHECK(s->taken > 0);
    s->taken -= 1;
    s->send_wait_ns = s->send_stall_ns = 1;
    s->timer.fn(r.w->loop, &s->timer);
    VV_CHECK_INT(s->state, VV_SESSION_EXCHANGE);
    VV_CHECK(s->send_wait_ns > vv_worker_now(r.w));
    s->send_wait_ns = s->send_stall_ns = 1; /* and nothing at all since then */
    s->timer.fn(r.w->loop, &s->timer);
    VV_CHECK(vv_list_empty(&r.w->sessions));
    VV_CHECK_INT(rig_metric(&r, VV_METRIC_ABORTED, "/", "send_timeout"), 1);
    close(client);
    close(origin);
    rig_down(&r);
}
