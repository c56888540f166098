/* tests/unit/gateway/test_proxy.c - a worker between a client and an origin that the test plays. */
#include "rig.h"

static const char plain[] = "listen: 127.0.0.1:1\n"
                            "admin: none\n"
                            "routes:\n"
                            "  - to: http://127.0.0.1:%u\n";

VV_TEST(an_answer_passes_and_both_connections_are_kept)
{
    struct rig r;
    bool closed = true;
    rig_up(&r, plain);
    const int client = rig_client(&r);
    rig_send(&r, client, "GET /a?b=c HTTP/1.1\r\nHost: h\r\n\r\n");
    const int origin = rig_accept(&r);
    VV_CHECK(strncmp(rig_read(&r, origin, NULL), "GET /a?b=c HTTP/1.1\r\nHost: h\r\n", 30) == 0);
    rig_send(&r, origin, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    const char *answer = rig_read(&r, client, &closed);
    VV_CHECK(strncmp(answer, "HTTP/1.1 200 OK\r\n", 17) == 0);
    VV_CHECK(strstr(answer, "\r\nContent-Length: 2\r\n") != NULL);
    VV_CHECK_STR(answer + strlen(answer) - 6, "\r\n\r\nok");
    VV_CHECK(!closed);
    rig_send(&r, client, "GET /again HTTP/1.1\r\nHost: h\r\n\r\n");
    VV_CHECK(strncmp(rig_read(&r, origin, &closed), "GET /again ", 11) == 0);
    VV_CHECK(!closed); /* the same connection served twice */
    close(client);
    close(origin);
    rig_down(&r);
}

VV_TEST(hop_by_hop_fields_stay_on_their_hop)
{
    struct rig r;
    rig_up(&r, plain);
    const int client = rig_client(&r);
    rig_send(
        &r, client,
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: X-Private\r\nX-Private: 1\r\nTE: trailers\r\n"
        "X-Forwarded-For: 6.6.6.6\r\nX-Kept: 2\r\n\r\n");
    const int origin = rig_accept(&r);
    const char *head = rig_read(&r, origin, NULL);
    VV_CHECK(strstr(head, "X-Private") == NULL);
    VV_CHECK(strstr(head, "TE:") == NULL);
    VV_CHECK(strstr(head, "6.6.6.6") ==
             NULL); /* the peer is not trusted: its word does not count */
    VV_CHECK(strstr(head, "X-Forwarded-For: 127.0.0.1\r\n") != NULL);
    VV_CHECK(strstr(head, "X-Kept: 2\r\n") != NULL);
    VV_CHECK(strstr(head, "Via: 1.1 vivace\r\n") != NULL);
    rig_send(&r, origin,
             "HTTP/1.1 200 OK\r\nConnection: X-Secret\r\nX-Secret: 1\r\n"
             "Keep-Alive: timeout=5\r\nContent-Length: 0\r\n\r\n");
    const char *answer = rig_read(&r, client, NULL);
    VV_CHECK(strstr(answer, "X-Secret") == NULL);
    VV_CHECK(strstr(answer, "Keep-Alive") == NULL);
    close(client);
    close(origin);
    rig_down(&r);
}

VV_TEST(a_trusted_proxy_may_say_who_the_client_is)
{
    struct rig r;
    rig_up(&r, "listen: {default: {address: \"127.0.0.1:1\", trust: [127.0.0.0/8, 10.0.0.0/8]}}\n"
               "admin: none\n"
               "routes:\n"
               "  - to: http://127.0.0.1:%u\n");
    const int client = rig_client(&r);
    /* From the right: 10.0.0.7 is trusted, 198.51.100.3 is not, so it is the client; what stands to
     * the left of it may be made up. */
    rig_send(&r, client,
             "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-Proto: https\r\n"
             "X-Forwarded-For: 6.6.6.6, 198.51.100.3, 10.0.0.7\r\n\r\n");
    const int origin = rig_accept(&r);
    const char *head = rig_read(&r, origin, NULL);
    VV_CHECK(strstr(head, "X-Real-IP: 198.51.100.3\r\n") != NULL);
    VV_CHECK(strstr(head, "X-Forwarded-For: 6.6.6.6, 198.51.100.3, 10.0.0.7, 127.0.0.1\r\n") !=
             NULL);
    VV_CHECK(strstr(head, "X-Forwarded-Proto: https\r\n") != NULL);
    close(client);
    close(origin);
    rig_down(&r);
}

VV_TEST(a_second_answer_nobody_asked_for_is_never_delivered)
{
    struct rig r;
    rig_up(&r, plain);
    const int client = rig_client(&r);
    rig_send(&r, client, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    const int origin = rig_accept(&r);
    (void)rig_read(&r, origin, NULL);
    rig_send(&r, origin,
             "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
    VV_CHECK(strstr(rig_read(&r, client, NULL), "evil") == NULL);
    rig_send(&r, client, "GET /next HTTP/1.1\r\nHost: h\r\n\r\n");
    const int fresh = rig_accept(&r); /* the poisoned connection is not used again */
    VV_CHECK(strncmp(rig_read(&r, fresh, NULL), "GET /next ", 10) == 0);
    close(client);
    close(origin);
    close(fresh);
    rig_down(&r);
}

VV_TEST(a_dead_kept_connection_costs_a_get_nothing)
{
    struct rig r;
    rig_up(&r, plain);
    const int client = rig_client(&r);
    rig_send(&r, client, "GET /1 HTTP/1.1\r\nHost: h\r\n\r\n");
    const int origin = rig_accept(&r);
    (void)rig_read(&r, origin, NULL);
    rig_send(&r, origin, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    (void)rig_read(&r, client, NULL);
    /* The request is on its way when the origin closes. */
    VV_CHECK_INT(send(client, "GET /2 HTTP/1.1\r\nHost: h\r\n\r\n", 28, 0), 28);
    close(origin);
    const int fresh = rig_accept(&r);
    VV_CHECK(strncmp(rig_read(&r, fresh, NULL), "GET /2 ", 7) == 0);
    rig_send(&r, fresh, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    VV_CHECK(strncmp(rig_read(&r, client, NULL), "HTTP/1.1 200 ", 13) == 0);
    close(client);
    close(fresh);
    rig_down(&r);
}

VV_TEST(a_cut_answer_looks_cut)
{
    struct rig r;
    bool closed = false;
    rig_up(&r, plain);
    const int client = rig_client(&r);
    rig_send(&r, client, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    const int origin = rig_accept(&r);
    (void)rig_read(&r, origin, NULL);
    rig_send(&r, origin, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    close(origin);
    const char *answer = rig_read(&r, client, &closed);
    VV_CHECK(strstr(answer, "hello") != NULL);
    VV_CHECK(strstr(answer, "\r\n0\r\n") ==
             NULL); /* no last chunk: the body is known to be short */
    VV_CHECK(closed);
    /* The route has no name in the file: it goes by its path. */
    VV_CHECK_INT(rig_metric(&r, VV_METRIC_ABORTED, "/", "server_closed"), 1);
    close(client);
    rig_down(&r);
}

VV_TEST(pipelined_requests_are_answered_in_order_in_one_write)
{
    struct rig r;
    rig_up(&r, "listen: 127.0.0.1:1\n"
               "admin: none\n"
               "routes:\n"
               "  - {path: /one, respond: {body: first}}\n"
               "  - {path: /two, respond: {body: second}}\n"
               "  - to: http://127.0.0.1:%u\n");
    const int client = rig_client(&r);
    rig_send(&r, client,
             "GET /one HTTP/1.1\r\nHost: h\r\n\r\nGET /two HTTP/1.1\r\nHost: h\r\n\r\n");
    const char *answer = rig_read(&r, client, NULL);
    const char *first = strstr(answer, "first");
    VV_CHECK(first != NULL && strstr(first, "second") != NULL);
    close(client);
    rig_down(&r);
}

VV_TEST(an_idle_session_holds_no_buffer)
{
    struct rig r;
    rig_up(&r, plain);
    const int client = rig_client(&r);
    rig_send(&r, client, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    const int origin = rig_accept(&r);
    (void)rig_read(&r, origin, NULL);
    rig_send(&r, origin, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    (void)rig_read(&r, client, NULL);
    VV_CHECK_INT(r.w->bufs.bytes, 0);
    close(client);
    close(origin);
    rig_down(&r);
}

VV_TEST(a_body_that_was_not_read_does_not_become_the_next_request)
{
    struct rig r;
    bool closed = false;
    rig_up(&r, "listen: 127.0.0.1:1\n"
               "admin: none\n"
               "routes:\n"
               "  - {path: /x, respond: {body: x}}\n"
               "  - to: http://127.0.0.1:%u\n");
    const int client = rig_client(&r);
    rig_send(&r, client,
             "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 29\r\n\r\n"
             "GET /evil HTTP/1.1\r\nHost: h\r\n" /* the body: 29 bytes */);
    const char *answer = rig_read(&r, client, &closed);
    VV_CHECK(strncmp(answer, "HTTP/1.1 200 OK", 15) == 0);
    VV_CHECK_INT(rig_metric(&r, VV_METRIC_RECEIVED, "default", NULL), 1);
    close(client);
    rig_down(&r);
}
