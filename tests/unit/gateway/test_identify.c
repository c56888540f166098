/* tests/unit/gateway/test_identify.c - who the client is said to be, and to whom that is passed on. */
#include "rig.h"

static const char trusting[] =
    "listen: {default: {address: \"127.0.0.1:1\", trust: [127.0.0.0/8, 10.0.0.0/8]}}\n"
    "admin: none\n"
    "routes:\n"
    "  - to: http://127.0.0.1:%u\n";

/* What the origin is sent for this request. */
static const char *forwarded(struct rig *r, const char *yaml, const char *request)
{
    rig_up(r, yaml);
    const int client = rig_client(r);
    rig_send(r, client, request);
    const int origin = rig_accept(r);
    const char *head = rig_read(r, origin, NULL);
    close(client);
    close(origin);
    return head;
}

static size_t times(const char *text, const char *what)
{
    size_t n = 0;
    for (const char *at = strstr(text, what); at != NULL; at = strstr(at + 1, what)) {
        n++;
    }
    return n;
}

VV_TEST(all_lines_of_forwarded_make_one_chain)
{
    struct rig r;
    const char *head = forwarded(&r, trusting,
                                 "GET / HTTP/1.1\r\nHost: h\r\nForwarded: for=198.51.100.3\r\n"
                                 "Forwarded: for=\"10.0.0.7:80\";proto=https\r\n\r\n");
    /* 10.0.0.7 is trusted, so the client stands in the line before it. */
    VV_CHECK(strstr(head, "X-Real-IP: 198.51.100.3\r\n") != NULL);
    VV_CHECK(strstr(head, "Forwarded: for=198.51.100.3, for=\"10.0.0.7:80\";proto=https, "
                          "for=127.0.0.1;host=\"h\";proto=http\r\n") != NULL);
    rig_down(&r);
}

VV_TEST(garbage_in_a_chain_proves_nothing)
{
    struct rig r;
    const char *head = forwarded(&r, trusting,
                                 "GET / HTTP/1.1\r\nHost: h\r\n"
                                 "X-Forwarded-For: 198.51.100.3, unknown, 10.0.0.7\r\n\r\n");
    VV_CHECK(strstr(head, "X-Real-IP: 10.0.0.7\r\n") != NULL);
    rig_down(&r);
}

VV_TEST(an_edit_replaces_or_removes_what_the_gateway_says)
{
    struct rig r;
    const char *head =
        forwarded(&r,
                  "listen: 127.0.0.1:1\nadmin: none\nroutes:\n"
                  "  - to: http://127.0.0.1:%u\n"
                  "    request_headers: {X-Forwarded-Proto: https, X-Forwarded-For: null, "
                  "X-Real-IP: null, Via: null, X-Request-Id: fixed}\n",
                  "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n");
    VV_CHECK_INT(times(head, "X-Forwarded-Proto:"), 1);
    VV_CHECK(strstr(head, "X-Forwarded-Proto: https\r\n") != NULL);
    VV_CHECK_INT(times(head, "X-Forwarded-For:"), 0);
    VV_CHECK_INT(times(head, "X-Real-IP:"), 0);
    VV_CHECK_INT(times(head, "Via:"), 0);
    VV_CHECK_INT(times(head, "X-Request-Id:"), 1);
    rig_down(&r);
}

VV_TEST(a_client_cannot_have_the_scheme_taken_away)
{
    struct rig r;
    /* Named in Connection it would stay on this hop: then ours stands in. */
    const char *head = forwarded(&r, trusting,
                                 "GET / HTTP/1.1\r\nHost: h\r\nConnection: x-forwarded-host\r\n"
                                 "X-Forwarded-Host: evil\r\n\r\n");
    VV_CHECK(strstr(head, "evil") == NULL);
    VV_CHECK(strstr(head, "X-Forwarded-Host: h\r\n") != NULL);
    rig_down(&r);
}

VV_TEST(a_proxy_header_names_the_client)
{
    struct rig r;
    const char *head =
        forwarded(&r,
                  "listen: {default: {address: \"127.0.0.1:1\", proxy_protocol: true, "
                  "trust: [127.0.0.0/8]}}\nadmin: none\nroutes:\n  - to: http://127.0.0.1:%u\n",
                  "PROXY TCP4 203.0.113.9 127.0.0.1 4000 80\r\nGET / HTTP/1.1\r\nHost: h\r\n"
                  "X-Forwarded-For: 6.6.6.6\r\n\r\n");
    /* The client itself is not trusted, so its own word does not count. */
    VV_CHECK(strstr(head, "X-Forwarded-For: 203.0.113.9\r\n") != NULL);
    VV_CHECK(strstr(head, "6.6.6.6") == NULL);
    rig_down(&r);
}

VV_TEST(the_longest_chain_does_not_overrun_the_forwarded_head)
{
    struct rig r;
    static char request[30 * 1024];
    int n = snprintf(request, sizeof request, "GET / HTTP/1.1\r\nHost: h\r\n");
    for (int i = 0; i < 95; i++) { /* below the limits of 100 fields and 32 KB */
        n += snprintf(request + n, sizeof request - (size_t)n, "X-Forwarded-For: %0200d\r\n", i);
    }
    snprintf(request + n, sizeof request - (size_t)n, "\r\n");
    /* Joining takes more than the arena may hold: this request fails, the gateway does not. */
    rig_up(&r, trusting);
    const int client = rig_client(&r);
    rig_send(&r, client, request);
    rig_turns(&r, 5);
    close(client);
    rig_down(&r);
}
