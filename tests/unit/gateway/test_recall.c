/* tests/unit/gateway/test_recall.c - recall.c, fetch.c and actions/cached.c turn by turn: who fetches, who
 * follows, who goes on when one of them leaves. */
#include "rig.h"

#define YAML                                                                                       \
    "listen: \"127.0.0.1:1\"\nadmin: none\n"                                                       \
    "caches: {main: {levels: [{memory: 4MB}], show: X-Cache-Status, methods: [GET, HEAD, POST], "  \
    "purge: [127.0.0.0/8]}}\n"                                                                     \
    "routes:\n  - {path: /, to: \"http://127.0.0.1:%u\", cache: main, compress: false}\n"

#define GET(path) "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"
#define KEPT(body_n, body)                                                                         \
    "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: " #body_n "\r\n\r\n" body

static bool has(const char *text, const char *part)
{
    return strstr(text, part) != NULL;
}

/* Nobody connects to the origin. */
static void nobody_asks(struct rig *r)
{
    rig_turns(r, 3);
    const int fd = accept4(r->origin_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    VV_CHECK(fd < 0);
}

VV_TEST(a_second_request_is_answered_without_the_origin)
{
    struct rig r;
    rig_up(&r, YAML);
    const int c = rig_client(&r);
    rig_send(&r, c, GET("/a"));
    const int o = rig_accept(&r);
    VV_CHECK(has(rig_read(&r, o, NULL), "GET /a HTTP/1.1\r\n"));
    rig_send(&r, o, KEPT(3, "abc"));
    VV_CHECK(has(rig_read(&r, c, NULL), "X-Cache-Status: MISS\r\n"));
    rig_send(&r, c, GET("/a"));
    const char *hit = rig_read(&r, c, NULL);
    VV_CHECK(has(hit, "X-Cache-Status: HIT\r\n") && has(hit, "Age: 0\r\n"));
    VV_CHECK(has(hit, "Content-Length: 3\r\n") && has(hit, "\r\n\r\nabc"));
    VV_CHECK_INT(recv(o, r.text, 1, 0), -1); /* it heard nothing of that */
    VV_CHECK_INT(rig_metric(&r, VV_METRIC_CACHE_REQUESTS, "main", "hit"), 1);
    VV_CHECK_INT(rig_metric(&r, VV_METRIC_CACHE_REQUESTS, "main", "miss"), 1);
    close(c);
    close(o);
    rig_down(&r);
}

VV_TEST(a_follower_reads_behind_the_leader_and_asks_nobody)
{
    struct rig r;
    rig_up(&r, YAML);
    const int a = rig_client(&r);
    const int b = rig_client(&r);
    rig_send(&r, a, GET("/a"));
    const int o = rig_accept(&r);
    rig_send(&r, b, GET("/a"));
    nobody_asks(&r);
    rig_send(&r, o, "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 6\r\n\r\nabc");
    VV_CHECK(has(rig_read(&r, a, NULL), "\r\n\r\nabc"));
    VV_CHECK(has(rig_read(&r, b, NULL), "\r\n\r\nabc")); /* before the body is complete */
    rig_send(&r, o, "def");
    VV_CHECK_STR(rig_read(&r, a, NULL), "def");
    VV_CHECK_STR(rig_read(&r, b, NULL), "def");
    VV_CHECK_INT(rig_metric(&r, VV_METRIC_CACHE_REQUESTS, "main", "coalesced"), 1);
    close(a);
    close(b);
    close(o);
    rig_down(&r);
}

VV_TEST(a_leader_that_leaves_before_the_head_lets_a_follower_lead)
{
    struct rig r;
    rig_up(&r, YAML);
    const int a = rig_client(&r);
    const int b = rig_client(&r);
    rig_send(&r, a, GET("/a"));
    const int o = rig_accept(&r);
    rig_send(&r, b, GET("/a"));
    const struct linger hard = {1, 0};
    setsockopt(a, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close(a);
    const int p = rig_accept(&r);
    VV_CHECK(has(rig_read(&r, p, NULL), "GET /a HTTP/1.1\r\n"));
    rig_send(&r, p, KEPT(3, "abc"));
    VV_CHECK(has(rig_read(&r, b, NULL), "\r\n\r\nabc"));
    close(b);
    close(o);
    close(p);
    rig_down(&r);
}

VV_TEST(a_leader_that_leaves_after_the_head_leaves_the_fetch_running)
{
    struct rig r;
    rig_up(&r, YAML);
    const int a = rig_client(&r);
    rig_send(&r, a, GET("/a"));
    const int o = rig_accept(&r);
    rig_send(&r, o, "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 6\r\n\r\nabc");
    const struct linger hard = {1, 0};
    setsockopt(a, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close(a);
    rig_turns(&r, 3);
    rig_send(&r, o, "def");
    const int b = rig_client(&r);
    rig_send(&r, b, GET("/a"));
    const char *hit = rig_read(&r, b, NULL);
    VV_CHECK(has(hit, "X-Cache-Status: HIT\r\n") && has(hit, "\r\n\r\nabcdef"));
    close(b);
    close(o);
    rig_down(&r);
}

/* A client that reads next to nothing. *ret_session: the worker's side of it, as slow. */
static int slow_reader(struct rig *r, struct vv_session **ret_session)
{
    const int least = 1;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    VV_CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &least, sizeof least) == 0);
    (void)connect(fd, &r->listen_addr.sa, r->listen_addr.len);
    rig_turns(r, 3);
    *ret_session = VV_LIST_ENTRY(r->w->sessions.prev, struct vv_session, node);
    VV_CHECK(setsockopt((*ret_session)->io.fd, SOL_SOCKET, SO_SNDBUF, &least, sizeof least) == 0);
    return fd;
}

/* Keeps 8,000 bytes as /large and begins to fetch /slow; returns the origin's end. */
static int large_and_slow(struct rig *r, int client)
{
    char kept[8200];
    snprintf(kept, sizeof kept,
             "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 8000\r\n\r\n%08000d",
             0);
    rig_send(r, client, GET("/large"));
    const int o = rig_accept(r);
    (void)rig_read(r, o, NULL);
    rig_send(r, o, kept);
    (void)rig_read(r, client, NULL);
    rig_send(r, client, GET("/slow"));
    VV_CHECK(has(rig_read(r, o, NULL), "GET /slow"));
    return o;
}

/* Lets the client read what is there; it holds none of `part`. */
static void read_off(struct rig *r, int fd, const char *part)
{
    for (int i = 0; i < 10; i++) {
        VV_CHECK(!has(rig_read(r, fd, NULL), part));
    }
}

/* The output of the answers before is still on its way when the last request begins to wait. */
VV_TEST(a_follower_behind_a_slow_reader_waits_for_its_head)
{
    struct rig r;
    struct vv_session *s;
    rig_up(&r, YAML);
    const int a = rig_client(&r);
    const int o = large_and_slow(&r, a);
    const int b = slow_reader(&r, &s);
    rig_send(&r, b, GET("/large") GET("/large") GET("/slow"));
    VV_CHECK(s->blocked && s->x != NULL && !s->x->head_sent);
    read_off(&r, b, "\r\n\r\nabc");
    VV_CHECK(!s->blocked && s->x != NULL);
    rig_send(&r, o, KEPT(3, "abc"));
    VV_CHECK(has(rig_read(&r, b, NULL), "\r\n\r\nabc"));
    close(a);
    close(b);
    close(o);
    rig_down(&r);
}

/* An encoder holds back what is little: the exchange waits for more while the answers before it have
 * not left, and is told when they have. It must not wait twice. */
VV_TEST(a_follower_that_is_encoded_waits_once)
{
    static const char yaml[] = "listen: \"127.0.0.1:1\"\nadmin: none\n"
                               "caches: {main: {levels: [{memory: 4MB}]}}\n"
                               "routes:\n  - {path: /, to: \"http://127.0.0.1:%u\", cache: main,"
                               " compress: {types: [text/plain], min: 1}}\n";
    struct rig r;
    struct vv_session *s;
    rig_up(&r, yaml);
    const int a = rig_client(&r);
    const int o = large_and_slow(&r, a);
    const int b = slow_reader(&r, &s);
    rig_send(&r, b,
             GET("/large")
                 GET("/large") "GET /slow HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip\r\n\r\n");
    VV_CHECK(s->blocked && s->x != NULL && !s->x->head_sent);
    rig_send(&r, o,
             "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Type: text/plain\r\n"
             "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    VV_CHECK(s->blocked && s->x != NULL && s->x->head_sent && s->x->shape != NULL);
    read_off(&r, b, "\r\n0\r\n\r\n");
    rig_send(&r, o, "3\r\ndef\r\n");
    read_off(&r, b, "\r\n0\r\n\r\n");
    rig_send(&r, o, "0\r\n\r\n");
    rig_turns(&r, 5);
    VV_CHECK(s->x == NULL); /* it has ended, and all of it has left */
    close(a);
    close(b);
    close(o);
    rig_down(&r);
}

VV_TEST(a_post_without_a_body_is_no_get)
{
    static const char yaml[] =
        "listen: \"127.0.0.1:1\"\nadmin: none\n"
        "caches: {main: {levels: [{memory: 4MB}], methods: [GET, POST], key: \"$host $uri\"}}\n"
        "routes:\n  - {path: /, to: \"http://127.0.0.1:%u\", cache: main, compress: false}\n";
    struct rig r;
    rig_up(&r, yaml);
    const int c = rig_client(&r);
    rig_send(&r, c, "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
    const int o = rig_accept(&r);
    VV_CHECK(has(rig_read(&r, o, NULL), "POST /a "));
    rig_send(&r, o, KEPT(3, "abc"));
    (void)rig_read(&r, c, NULL);
    rig_send(&r, c, GET("/a"));
    VV_CHECK(has(rig_read(&r, o, NULL), "GET /a "));
    rig_send(&r, o, KEPT(3, "def"));
    VV_CHECK(has(rig_read(&r, c, NULL), "\r\n\r\ndef"));
    close(c);
    close(o);
    rig_down(&r);
}

VV_TEST(what_must_not_be_kept_makes_nobody_wait)
{
    struct rig r;
    rig_up(&r, YAML);
    const int a = rig_client(&r);
    const int b = rig_client(&r);
    rig_send(&r, a, GET("/a"));
    const int o = rig_accept(&r);
    rig_send(&r, b, GET("/a"));
    rig_send(&r, o, "HTTP/1.1 200 OK\r\nCache-Control: private\r\nContent-Length: 1\r\n\r\n1");
    VV_CHECK(has(rig_read(&r, a, NULL), "detail=private\r\n"));
    /* The follower asks for itself, over the connection that is free again. */
    VV_CHECK(has(rig_read(&r, o, NULL), "GET /a HTTP/1.1\r\n"));
    const int c = rig_client(&r);
    rig_send(&r, c, GET("/a")); /* and a third does not wait for the second */
    const int p = rig_accept(&r);
    rig_send(&r, o, "HTTP/1.1 200 OK\r\nCache-Control: private\r\nContent-Length: 1\r\n\r\n2");
    rig_send(&r, p, "HTTP/1.1 200 OK\r\nCache-Control: private\r\nContent-Length: 1\r\n\r\n3");
    VV_CHECK(has(rig_read(&r, b, NULL), "\r\n\r\n2"));
    VV_CHECK(has(rig_read(&r, c, NULL), "\r\n\r\n3"));
    close(a);
    close(b);
    close(c);
    close(o);
    close(p);
    rig_down(&r);
}

VV_TEST(an_origin_that_fails_is_asked_once_more_and_not_again)
{
    struct rig r;
    rig_up(&r, YAML);
    int client[4];
    for (size_t i = 0; i < VV_COUNT(client); i++) {
        client[i] = rig_client(&r);
    }
    rig_send(&r, client[0], GET("/a"));
    const int o = rig_accept(&r);
    for (size_t i = 1; i < VV_COUNT(client); i++) {
        rig_send(&r, client[i], GET("/a"));
    }
    rig_send(&r, o, "HTTP/1.1 503 No\r\nContent-Length: 1\r\n\r\n1");
    VV_CHECK(has(rig_read(&r, client[0], NULL), "HTTP/1.1 503 No\r\n"));
    rig_send(&r, o, "HTTP/1.1 503 No\r\nContent-Length: 1\r\n\r\n2");
    unsigned own = 0;
    unsigned told = 0;
    for (size_t i = 1; i < VV_COUNT(client); i++) {
        const char *text = rig_read(&r, client[i], NULL);
        own += has(text, "HTTP/1.1 503 No\r\n");
        told += has(text, "\"fetch_failed\"");
    }
    VV_CHECK_INT(own, 1); /* who led the second time */
    VV_CHECK_INT(told, 2);
    nobody_asks(&r);
    for (size_t i = 0; i < VV_COUNT(client); i++) {
        close(client[i]);
    }
    close(o);
    rig_down(&r);
}

VV_TEST(a_stale_answer_is_sent_while_one_renewal_runs)
{
    struct rig r;
    rig_up(&r, YAML);
    const int a = rig_client(&r);
    rig_send(&r, a, GET("/a"));
    const int o = rig_accept(&r);
    rig_send(&r, o,
             "HTTP/1.1 200 OK\r\nCache-Control: max-age=10, stale-while-revalidate=60\r\n"
             "Age: 20\r\nETag: \"1\"\r\nContent-Length: 3\r\n\r\nold");
    (void)rig_read(&r, a, NULL);
    (void)rig_read(&r, o, NULL);
    for (int i = 0; i < 3; i++) {
        rig_send(&r, a, GET("/a"));
        const char *text = rig_read(&r, a, NULL);
        VV_CHECK(has(text, "X-Cache-Status: UPDATING\r\n") && has(text, "\r\n\r\nold"));
    }
    const char *asked = rig_read(&r, o, NULL);
    VV_CHECK(has(asked, "If-None-Match: \"1\"\r\n"));
    VV_CHECK(strstr(strstr(asked, "GET /a") + 1, "GET /a") == NULL); /* once */
    rig_send(&r, o,
             "HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\nCache-Control: max-age=60\r\n\r\n");
    rig_send(&r, a, GET("/a"));
    const char *text = rig_read(&r, a, NULL);
    VV_CHECK(has(text, "X-Cache-Status: HIT\r\n") && has(text, "\r\n\r\nold"));
    const struct vv_str values[] = {VV_STR("main"), VV_STR("stale"), VV_STR("renewed")};
    VV_CHECK_INT(vv_metrics_value(r.metrics,
                                  vv_metrics_series(r.metrics, VV_METRIC_CACHE_FETCHES, values, 3)),
                 1);
    close(a);
    close(o);
    rig_down(&r);
}

VV_TEST(an_answer_that_outgrows_the_cache_reaches_its_client_whole)
{
    struct rig r;
    rig_up(&r, YAML);
    const int a = rig_client(&r);
    static char chunk[32768 + 16];
    const int head = snprintf(chunk, sizeof chunk, "8000\r\n");
    memset(chunk + head, '~', 32768);
    memcpy(chunk + head + 32768, "\r\n", 3);
    rig_send(&r, a, GET("/a"));
    const int o = rig_accept(&r);
    rig_send(&r, o,
             "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n");
    size_t got = 0;
    for (int i = 0; i < 200; i++) { /* 6.25 MiB through a cache of 4 */
        rig_send(&r, o, chunk);
        const char *text = rig_read(&r, a, NULL);
        for (; *text != '\0'; text++) {
            got += *text == '~';
        }
    }
    rig_send(&r, o, "0\r\n\r\n");
    const char *text = rig_read(&r, a, NULL);
    const size_t n = strlen(text);
    VV_CHECK(n >= 5 && strcmp(text + n - 5, "0\r\n\r\n") == 0);
    for (; *text != '\0'; text++) {
        got += *text == '~';
    }
    VV_CHECK_INT(got, 200 * 32768);
    close(a);
    close(o);
    rig_down(&r);
}

VV_TEST(a_body_belongs_to_the_key_and_still_reaches_the_origin)
{
    struct rig r;
    rig_up(&r, YAML);
    const int a = rig_client(&r);
    rig_send(&r, a, "POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nab");
    nobody_asks(&r);
    rig_send(&r, a, "cd");
    const int o = rig_accept(&r);
    VV_CHECK(has(rig_read(&r, o, NULL), "\r\n\r\nabcd"));
    rig_send(&r, o, KEPT(3, "one"));
    (void)rig_read(&r, a, NULL);
    rig_send(&r, a, "POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nabcd");
    VV_CHECK(has(rig_read(&r, a, NULL), "X-Cache-Status: HIT\r\n"));
    rig_send(&r, a, "POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nabce");
    VV_CHECK(has(rig_read(&r, o, NULL), "\r\n\r\nabce"));
    rig_send(&r, o, KEPT(3, "two"));
    VV_CHECK(has(rig_read(&r, a, NULL), "\r\n\r\ntwo"));
    close(a);
    close(o);
    rig_down(&r);
}

VV_TEST(a_purge_forgets_and_an_unsafe_method_too)
{
    struct rig r;
    rig_up(&r, YAML);
    const int a = rig_client(&r);
    rig_send(&r, a, GET("/a"));
    const int o = rig_accept(&r);
    (void)rig_read(&r, o, NULL);
    rig_send(&r, o, KEPT(1, "1"));
    (void)rig_read(&r, a, NULL);
    rig_send(&r, a, "PURGE /a HTTP/1.1\r\nHost: h\r\n\r\n");
    VV_CHECK(has(rig_read(&r, a, NULL), "{\"purged\":1}"));
    rig_send(&r, a, "PURGE /a HTTP/1.1\r\nHost: h\r\n\r\n");
    VV_CHECK(has(rig_read(&r, a, NULL), "HTTP/1.1 404"));
    rig_send(&r, a, GET("/a"));
    VV_CHECK(has(rig_read(&r, o, NULL), "GET /a"));
    rig_send(&r, o, KEPT(1, "2"));
    (void)rig_read(&r, a, NULL);
    rig_send(&r, a, "DELETE /a HTTP/1.1\r\nHost: h\r\n\r\n");
    VV_CHECK(has(rig_read(&r, o, NULL), "DELETE /a"));
    rig_send(&r, o, "HTTP/1.1 204 No Content\r\n\r\n");
    (void)rig_read(&r, a, NULL);
    rig_send(&r, a, GET("/a"));
    VV_CHECK(has(rig_read(&r, o, NULL), "GET /a"));
    rig_send(&r, o, KEPT(1, "3"));
    VV_CHECK(has(rig_read(&r, a, NULL), "X-Cache-Status: MISS\r\n"));
    close(a);
    close(o);
    rig_down(&r);
}
