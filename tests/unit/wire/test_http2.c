/* tests/unit/wire/test_http2.c - two codecs back to back: heads, content, windows, priorities,
 * ends. */
#include "vv_test.h"
#include "wire/http2.h"
#include <stdio.h>
#include <stdlib.h>

struct seen { /* what a side was told of one stream */
    struct vv_h2_stream *s;
    int status;
    char fields[2048]; /* "name=value\n" each */
    char method[16], path[64], query[64], authority[64], protocol[32];
    enum vv_h1_framing framing;
    uint64_t content_length;
    enum vv_h1_error error;
    bool te_trailers, end, closed, hold;
    unsigned heads, sents;
    size_t data, sent_bytes;
    char body[64], trailers[256];
    enum vv_h2_reason why;
    enum vv_h2_code code;
};

struct side {
    struct vv_h2 *c;
    struct seen seen[16];
    struct vv_h1_head kept; /* the last head, copied */
    unsigned count;
    bool hold;        /* content is not given back */
    char order[4096]; /* ids of the streams in the order their content came */
    size_t order_n;
};

static struct vv_h2_counts counts;
static struct vv_h2_pool *pool;
static struct vv_h2_conf conf;
static struct side client, server;
static uint64_t now_ns;

static void copy_text(char *to, size_t room, struct vv_str s)
{
    VV_CHECK(s.n < room);
    if (s.n > 0) {
        memcpy(to, s.p, s.n);
    }
    to[s.n] = '\0';
}

static void list_fields(char *to, size_t room, const struct vv_h1_head *h)
{
    size_t n = 0;
    to[0] = '\0';
    for (uint32_t i = 0; i < h->fields_count; i++) {
        n += (size_t)snprintf(to + n, room - n, VV_STR_FMT "=" VV_STR_FMT "\n",
                              VV_STR_ARG(h->fields[i].name), VV_STR_ARG(h->fields[i].value));
    }
}

static void on_head(void *user, struct vv_h2_stream *s, const struct vv_h1_head *h, bool end)
{
    struct side *side = user;
    struct seen *seen = s->user;
    if (seen == NULL) {
        VV_CHECK(side->count < VV_COUNT(side->seen));
        seen = s->user = &side->seen[side->count++];
        seen->s = s;
    }
    seen->heads++;
    vv_h2_head_copy(&side->kept, h);
    seen->status = h->status;
    seen->framing = h->framing;
    seen->content_length = h->content_length;
    seen->te_trailers = h->te_trailers;
    seen->error = h->error;
    list_fields(seen->fields, sizeof seen->fields, h);
    copy_text(seen->method, sizeof seen->method, h->method_text);
    copy_text(seen->path, sizeof seen->path, h->path);
    copy_text(seen->query, sizeof seen->query, h->query);
    copy_text(seen->authority, sizeof seen->authority, h->authority);
    copy_text(seen->protocol, sizeof seen->protocol, vv_h2_protocol(s));
    seen->end = end;
}

static void on_data(void *user, struct vv_h2_stream *s, struct vv_str bytes)
{
    struct side *side = user;
    struct seen *seen = s->user;
    if (seen->data + bytes.n < sizeof seen->body) {
        memcpy(seen->body + seen->data, bytes.p, bytes.n);
    }
    seen->data += bytes.n;
    if (side->order_n < sizeof side->order) {
        side->order[side->order_n++] = (char)s->id;
    }
    if (!side->hold) {
        vv_h2_consumed(s, bytes.n);
    }
}

static void on_trailers(void *user, struct vv_h2_stream *s, const struct vv_h1_head *fields)
{
    struct seen *seen = s->user;
    (void)user;
    list_fields(seen->trailers, sizeof seen->trailers, fields);
}

static void on_end(void *user, struct vv_h2_stream *s)
{
    struct seen *seen = s->user;
    (void)user;
    seen->end = true;
}

static void on_sent(void *user, struct vv_h2_stream *s, size_t bytes)
{
    struct seen *seen = s->user;
    (void)user;
    VV_CHECK(!seen->closed);
    seen->sents++;
    seen->sent_bytes += bytes;
}

static void on_closed(void *user, struct vv_h2_stream *s, enum vv_h2_reason why,
                      enum vv_h2_code code)
{
    struct seen *seen = s->user;
    (void)user;
    VV_CHECK(!seen->closed);
    seen->closed = true;
    seen->why = why;
    seen->code = code;
}

static const struct vv_h2_events events = {.head = on_head,
                                           .data = on_data,
                                           .trailers = on_trailers,
                                           .end = on_end,
                                           .sent = on_sent,
                                           .closed = on_closed};

/* One output of `from`, given to `to`; false: there was nothing. */
static bool move(struct side *from, struct side *to)
{
    static char stage[8192];
    struct vv_h2_gather g = {.stage = stage, .stage_bytes = sizeof stage};
    vv_h2_output(from->c, &g);
    size_t bytes = 0;
    for (unsigned i = 0; i < g.count; i++) {
        const struct vv_str piece = {g.iov[i].iov_base, g.iov[i].iov_len};
        bytes += piece.n;
        (void)!vv_h2_receive(to->c, piece, now_ns);
    }
    VV_CHECK_INT(bytes, g.bytes);
    return bytes > 0;
}

static void pump(void)
{
    bool more = true;
    while (more) {
        more = move(&client, &server);
        more = move(&server, &client) || more;
    }
}

static void open_pair(void)
{
    memset(&counts, 0, sizeof counts);
    memset(&client, 0, sizeof client);
    memset(&server, 0, sizeof server);
    now_ns = VV_SEC;
    pool = vv_h2_pool_new(&counts);
    client.c = vv_h2_client_new(pool, &conf, &events, &client, now_ns);
    server.c = vv_h2_server_new(pool, &conf, &events, &server, now_ns);
    assert_non_null(client.c);
    assert_non_null(server.c);
    pump();
}

static void close_pair(void)
{
    vv_h2_free(client.c);
    vv_h2_free(server.c);
    VV_CHECK_INT(counts.memory_bytes, 0);
    vv_h2_pool_free(pool);
    conf = vv_h2_conf_default;
}

/* The first test that runs finds the defaults as well. */
__attribute__((constructor)) static void defaults(void)
{
    conf = vv_h2_conf_default;
}

static struct seen *ask(const char *method, const char *path, const struct vv_h2_field *field,
                        size_t count, bool end)
{
    struct seen *seen = &client.seen[client.count++];
    const struct vv_h2_request r = {.method = vv_str_from(method),
                                    .scheme = VV_STR("https"),
                                    .authority = VV_STR("shop"),
                                    .path = vv_str_from(path),
                                    .field = field,
                                    .count = count,
                                    .end = end};
    VV_CHECK_INT(vv_h2_request(client.c, seen, &r, &seen->s), VV_OK);
    return seen;
}

VV_TEST(a_request_comes_out_as_http1_would_show_it)
{
    static const struct vv_h2_field field[] = {
        {VV_STR("User-Agent"), VV_STR("t"), 0},
        {VV_STR("cookie"), VV_STR("a=1"), VV_H2_STABLE},
        {VV_STR("x-one"), VV_STR("1"), VV_H2_STABLE},
        {VV_STR("Cookie"), VV_STR("b=2"), VV_H2_SECRET},
        {VV_STR("te"), VV_STR("trailers"), 0},
        {VV_STR("Connection"), VV_STR("close"), 0}, /* is left out */
    };
    open_pair();
    ask("GET", "/a/b?c=d", field, VV_COUNT(field), true);
    pump();
    const struct seen *got = &server.seen[0];
    VV_CHECK_INT(got->heads, 1);
    VV_CHECK_STR(got->method, "GET");
    VV_CHECK_STR(got->path, "/a/b");
    VV_CHECK_STR(got->query, "c=d");
    VV_CHECK_STR(got->authority, "shop");
    VV_CHECK_STR(got->fields, "user-agent=t\ncookie=a=1; b=2\nx-one=1\nte=trailers\n");
    VV_CHECK(got->te_trailers);
    VV_CHECK(got->end);
    VV_CHECK_INT(got->framing, VV_H1_BODY_NONE);
    /* A copy is good until the stream closes, and knows where its fields are. */
    VV_CHECK_SLICE(vv_h1_find(&server.kept, VV_FIELD_COOKIE)->value, "a=1; b=2");
    VV_CHECK_SLICE(vv_h1_find(&server.kept, VV_FIELD_TE)->value, "trailers");
    assert_null(vv_h1_find(&server.kept, VV_FIELD_CONNECTION));
    close_pair();
}

VV_TEST(an_answer_with_content_and_trailers_arrives_and_both_sides_close)
{
    static const struct vv_h2_field field[] = {{VV_STR("Content-Type"), VV_STR("a/b"), 0}};
    static const struct vv_h2_field trailer[] = {{VV_STR("Grpc-Status"), VV_STR("0"), 0}};
    open_pair();
    struct seen *asked = ask("POST", "/", NULL, 0, false);
    VV_CHECK_INT(vv_h2_body(asked->s, VV_STR("question")), VV_OK);
    VV_CHECK_INT(vv_h2_end_trailers(asked->s, trailer, 1), VV_OK);
    pump();
    struct seen *got = &server.seen[0];
    VV_CHECK_INT(got->framing, VV_H1_BODY_CHUNKED); /* no length was announced */
    VV_CHECK_STR(got->body, "question");
    VV_CHECK_STR(got->trailers, "grpc-status=0\n");
    VV_CHECK(got->end);
    VV_CHECK_INT(asked->sent_bytes, 8);
    VV_CHECK_INT(vv_h2_answer(got->s, 103, field, 1, false), VV_OK);
    pump();
    VV_CHECK_INT(asked->status, 103);
    VV_CHECK_INT(vv_h2_answer(got->s, 200, field, 1, false), VV_OK);
    VV_CHECK_INT(vv_h2_answer(got->s, 200, field, 1, false), VV_EINVAL); /* only once */
    VV_CHECK_INT(vv_h2_body(got->s, VV_STR("ans")), VV_OK);
    VV_CHECK_INT(vv_h2_body(got->s, VV_STR("wer")), VV_OK);
    VV_CHECK_INT(vv_h2_end_trailers(got->s, trailer, 1), VV_OK);
    pump();
    VV_CHECK_INT(asked->status, 200);
    VV_CHECK_INT(asked->heads, 2);
    VV_CHECK_STR(asked->fields, "content-type=a/b\n");
    VV_CHECK_STR(asked->body, "answer");
    VV_CHECK_STR(asked->trailers, "grpc-status=0\n");
    VV_CHECK(asked->closed && got->closed);
    VV_CHECK_INT(asked->why, VV_H2_FINE);
    VV_CHECK_INT(got->why, VV_H2_FINE);
    VV_CHECK_INT(got->sent_bytes, 6);
    VV_CHECK_INT(vv_h2_streams(server.c), 0);
    close_pair();
}

VV_TEST(a_head_in_the_words_of_http1_is_sent_without_what_belongs_to_the_connection)
{
    open_pair();
    struct seen *asked = ask("GET", "/", NULL, 0, true);
    pump();
    struct vv_h2_stream *s = server.seen[0].s;
    VV_CHECK_INT(vv_h2_answer_text(s, VV_STR("HTTP/1.1 20\r\n\r\n"), true), VV_ESYNTAX);
    VV_CHECK_INT(vv_h2_answer_text(s, VV_STR("HTTP/1.1 200 OK\r\nA: b\r\n"), true), VV_ESYNTAX);
    VV_CHECK_INT(vv_h2_answer_text(s, VV_STR("HTTP/1.1 200 OK\r\nfoo\r\nA: b\r\n\r\n"), true),
                 VV_ESYNTAX);
    VV_CHECK_INT(vv_h2_answer_text(s, VV_STR("HTTP/1.1 101 Switching\r\n\r\n"), true), VV_EINVAL);
    VV_CHECK_INT(vv_h2_answer_text(s,
                                   VV_STR("HTTP/1.1 404 Not Found\r\nContent-Type: a/b\r\n"
                                          "Connection: close\r\nTransfer-Encoding: chunked\r\n"
                                          "X-Empty:\r\n\r\n"),
                                   true),
                 VV_OK);
    pump();
    VV_CHECK_INT(asked->status, 404);
    VV_CHECK_STR(asked->fields, "content-type=a/b\nx-empty=\n");
    VV_CHECK(asked->end && asked->closed);
    close_pair();
}

VV_TEST(content_stops_at_the_window_and_goes_on_when_it_was_consumed)
{
    static char body[300000];
    conf.stream_window_bytes = 100000;
    open_pair();
    server.hold = true;
    struct seen *asked = ask("POST", "/", NULL, 0, false);
    VV_CHECK_INT(vv_h2_body(asked->s, (struct vv_str){body, sizeof body}), VV_OK);
    vv_h2_end(asked->s);
    pump();
    struct seen *got = &server.seen[0];
    VV_CHECK_INT(got->data, 100000);
    VV_CHECK_INT(vv_h2_unsent(asked->s), 200000);
    vv_h2_consumed(got->s, 100000);
    pump();
    VV_CHECK_INT(got->data, 200000);
    vv_h2_consumed(got->s, 100000);
    pump();
    VV_CHECK_INT(got->data, 300000);
    VV_CHECK(got->end);
    close_pair();
}

VV_TEST(unconsumed_content_of_a_stream_that_closed_does_not_shrink_the_connection)
{
    static char body[60000];
    conf.stream_window_bytes = 65535;
    conf.connection_window_bytes = 65535;
    open_pair();
    server.hold = true;
    for (unsigned i = 0; i < 4; i++) { /* each takes nearly the whole window of the connection */
        struct seen *asked = ask("POST", "/", NULL, 0, false);
        VV_CHECK_INT(vv_h2_body(asked->s, (struct vv_str){body, sizeof body}), VV_OK);
        pump();
        VV_CHECK_INT(server.seen[i].data, sizeof body);
        vv_h2_reset(asked->s, VV_H2_CANCEL);
        pump();
        VV_CHECK_INT(server.seen[i].why, VV_H2_WHY_PEER_RESET);
        VV_CHECK_INT(server.seen[i].code, VV_H2_CANCEL);
    }
    close_pair();
}

VV_TEST(large_content_is_referenced_and_small_content_copied)
{
    static char stage[65536], large[VV_H2_COPY_MAX + 1], small[VV_H2_COPY_MAX];
    struct vv_h2_gather g = {.stage = stage, .stage_bytes = sizeof stage};
    open_pair();
    ask("GET", "/large", NULL, 0, true);
    ask("GET", "/small", NULL, 0, true);
    pump();
    struct seen *got = server.seen;
    VV_CHECK_INT(vv_h2_answer(got[0].s, 200, NULL, 0, false), VV_OK);
    VV_CHECK_INT(vv_h2_body(got[0].s, (struct vv_str){large, sizeof large}), VV_OK);
    VV_CHECK_INT(vv_h2_answer(got[1].s, 200, NULL, 0, false), VV_OK);
    VV_CHECK_INT(vv_h2_body(got[1].s, (struct vv_str){small, sizeof small}), VV_OK);
    vv_h2_output(server.c, &g);
    unsigned references = 0;
    for (unsigned i = 0; i < g.count; i++) {
        const char *p = g.iov[i].iov_base;
        VV_CHECK(p < small || p >= small + sizeof small);
        references += p == large && g.iov[i].iov_len == sizeof large;
    }
    VV_CHECK_INT(references, 1);
    VV_CHECK_INT(got[0].sents, 0); /* it is still needed */
    VV_CHECK_INT(got[1].sent_bytes, sizeof small);
    vv_h2_output(server.c, &g);
    VV_CHECK_INT(got[0].sent_bytes, sizeof large);
    VV_CHECK_INT(g.bytes, 0);
    close_pair();
}

VV_TEST(a_stream_that_closes_while_its_content_is_written_lives_until_it_has_left)
{
    static char stage[4096], large[10000];
    struct vv_h2_gather g = {.stage = stage, .stage_bytes = sizeof stage};
    open_pair();
    struct seen *asked = ask("GET", "/", NULL, 0, true);
    pump();
    struct seen *got = &server.seen[0];
    VV_CHECK_INT(vv_h2_answer(got->s, 200, NULL, 0, false), VV_OK);
    VV_CHECK_INT(vv_h2_body(got->s, (struct vv_str){large, sizeof large}), VV_OK);
    vv_h2_output(server.c, &g);
    vv_h2_reset(asked->s, VV_H2_CANCEL);
    VV_CHECK(move(&client, &server));
    VV_CHECK(!got->closed); /* the reset is known, the bytes are not written */
    VV_CHECK_INT(vv_h2_body(got->s, VV_STR("more")), VV_OK);
    vv_h2_output(server.c, &g);
    VV_CHECK(got->closed);
    VV_CHECK_INT(got->why, VV_H2_WHY_PEER_RESET);
    close_pair();
}

VV_TEST(eight_runs_of_content_may_wait)
{
    open_pair();
    ask("GET", "/", NULL, 0, true);
    pump();
    struct vv_h2_stream *s = server.seen[0].s;
    VV_CHECK_INT(vv_h2_body(s, VV_STR("x")), VV_EINVAL); /* no head yet */
    VV_CHECK_INT(vv_h2_answer(s, 200, NULL, 0, false), VV_OK);
    for (unsigned i = 0; i < VV_H2_SLICES_MAX; i++) {
        VV_CHECK_INT(vv_h2_body(s, VV_STR("0123")), VV_OK);
    }
    VV_CHECK_INT(vv_h2_body(s, VV_STR("4567")), VV_EAGAIN);
    pump();
    VV_CHECK_INT(vv_h2_body(s, VV_STR("4567")), VV_OK);
    vv_h2_end(s);
    VV_CHECK_INT(vv_h2_body(s, VV_STR("x")), VV_EINVAL);
    pump();
    VV_CHECK_INT(client.seen[0].data, 4 * VV_H2_SLICES_MAX + 4);
    VV_CHECK(client.seen[0].end);
    close_pair();
}

/* Three answers of 40,000 bytes, offered in the order they were asked. */
static void answer_three(void)
{
    static char body[40000];
    pump();
    for (unsigned i = 0; i < 3; i++) {
        struct vv_h2_stream *s = server.seen[i].s;
        VV_CHECK_INT(vv_h2_answer(s, 200, NULL, 0, false), VV_OK);
        VV_CHECK_INT(vv_h2_body(s, (struct vv_str){body, sizeof body}), VV_OK);
        vv_h2_end(s);
    }
}

static struct seen *ask_with(const char *priority)
{
    const struct vv_h2_field field = {VV_STR("priority"), vv_str_from(priority), 0};
    return ask("GET", "/", &field, 1, true);
}

VV_TEST(urgent_content_goes_first)
{
    open_pair();
    ask_with("u=7");
    ask_with("u=5");
    ask_with("u=0");
    answer_three();
    pump();
    /* 40,000 bytes are three frames of 16,384 at most; all of a stream before the less urgent. */
    size_t last[8] = {0}, first[8] = {0};
    for (size_t i = server.order_n; i < client.order_n; i++) {
        const unsigned id = (unsigned)client.order[i];
        last[id] = i;
        if (first[id] == 0) {
            first[id] = i + 1;
        }
    }
    VV_CHECK(last[5] < first[3] && last[3] < first[1]);
    close_pair();
}

VV_TEST(incremental_content_is_shared_out_and_other_content_comes_whole)
{
    open_pair();
    ask_with("u=3, i");
    ask_with("u=3, i");
    ask_with("u=4");
    answer_three();
    pump();
    unsigned changes = 0;
    for (size_t i = 1; i < client.order_n; i++) {
        changes += client.order[i] != client.order[i - 1];
    }
    VV_CHECK(changes >= 5); /* 1 3 1 3 1 3 5: three frames each, in turn */
    VV_CHECK_INT(client.order[client.order_n - 1], 5);
    close_pair();
}

VV_TEST(a_client_may_change_its_mind_about_what_goes_first)
{
    open_pair();
    ask_with("u=1");
    ask_with("u=2");
    ask_with("u=6");
    pump();
    /* PRIORITY_UPDATE on stream 0 for stream 5 (RFC 9218 7.1) */
    static const char update[] = "\0\0\x07\x10\0\0\0\0\0\0\0\0\x05u=0";
    VV_CHECK_INT(vv_h2_receive(server.c, (struct vv_str){update, sizeof update - 1}, now_ns),
                 VV_OK);
    answer_three();
    pump();
    VV_CHECK_INT(client.order[0], 5);
    VV_CHECK_INT(client.order[client.order_n - 1], 3);
    close_pair();
}

VV_TEST(the_server_may_know_better_what_goes_first)
{
    open_pair();
    ask_with("u=0");
    ask_with("u=5");
    ask_with("u=5");
    pump();
    vv_h2_prioritise(server.seen[0].s, 7, false);
    answer_three();
    pump();
    VV_CHECK_INT(client.order[0], 3);
    VV_CHECK_INT(client.order[client.order_n - 1], 1);
    close_pair();
}

VV_TEST(an_answer_may_say_how_urgent_it_is)
{
    open_pair();
    ask_with("u=1");
    ask_with("u=2");
    ask_with("u=2");
    pump();
    vv_h2_prioritise_as(server.seen[0].s, VV_STR("foo, u=6;x"));
    vv_h2_prioritise_as(server.seen[1].s, VV_STR("u=9"));  /* no urgency: says nothing */
    vv_h2_prioritise_as(server.seen[2].s, VV_STR("i=?0")); /* keeps its urgency */
    answer_three();
    pump();
    VV_CHECK_INT(client.order[0], 3);
    VV_CHECK_INT(client.order[client.order_n - 1], 1);
    close_pair();
}

VV_TEST(draining_lets_streams_finish_and_takes_no_new_ones)
{
    open_pair();
    struct seen *asked = ask("GET", "/", NULL, 0, true);
    pump();
    vv_h2_drain(server.c);
    pump();
    VV_CHECK(!vv_h2_finished(server.c));
    vv_h2_drain(server.c);
    pump();
    VV_CHECK(!vv_h2_can_open(client.c));
    VV_CHECK_INT(vv_h2_answer(server.seen[0].s, 200, NULL, 0, true), VV_OK);
    pump();
    VV_CHECK(asked->closed);
    VV_CHECK_INT(asked->why, VV_H2_FINE);
    VV_CHECK(vv_h2_finished(server.c));
    VV_CHECK_INT(vv_h2_why(server.c), VV_H2_FINE);
    close_pair();
}

VV_TEST(what_a_leaving_server_did_not_take_can_be_asked_again)
{
    static char stage[4096];
    struct vv_h2_gather g = {.stage = stage, .stage_bytes = sizeof stage};
    open_pair();
    struct seen *asked = ask("GET", "/", NULL, 0, true);
    vv_h2_output(client.c, &g); /* on its way, lost with the server */
    /* GOAWAY, last stream 0, NO_ERROR */
    VV_CHECK_INT(vv_h2_receive(client.c,
                               (struct vv_str){"\0\0\x08\x07\0\0\0\0\0"
                                               "\0\0\0\0\0\0\0\0",
                                               17},
                               now_ns),
                 VV_OK);
    vv_h2_output(client.c, &g);
    VV_CHECK(asked->closed);
    VV_CHECK_INT(asked->code, VV_H2_REFUSED_STREAM);
    close_pair();
}

VV_TEST(a_reset_tells_the_peer_its_code)
{
    open_pair();
    struct seen *asked = ask("GET", "/", NULL, 0, true);
    pump();
    vv_h2_reset(server.seen[0].s, VV_H2_REFUSED_STREAM);
    pump();
    VV_CHECK(asked->closed);
    VV_CHECK_INT(asked->why, VV_H2_WHY_PEER_RESET);
    VV_CHECK_INT(asked->code, VV_H2_REFUSED_STREAM);
    VV_CHECK_INT(server.seen[0].why, VV_H2_WHY_CALLER);
    VV_CHECK_INT(vv_h2_why(server.c), VV_H2_FINE); /* nobody's flood */
    close_pair();
}

VV_TEST(an_answer_before_the_end_of_the_request_stops_the_request)
{
    open_pair();
    struct seen *asked = ask("POST", "/", NULL, 0, false);
    VV_CHECK_INT(vv_h2_body(asked->s, VV_STR("part")), VV_OK);
    pump();
    VV_CHECK_INT(vv_h2_answer(server.seen[0].s, 413, NULL, 0, true), VV_OK);
    pump();
    VV_CHECK_INT(asked->status, 413);
    VV_CHECK(asked->closed && server.seen[0].closed);
    VV_CHECK_INT(asked->why, VV_H2_FINE); /* the answer is whole */
    VV_CHECK_INT(server.seen[0].why, VV_H2_FINE);
    close_pair();
}

VV_TEST(extended_connect_names_its_protocol)
{
    conf.connect_protocol = true;
    open_pair();
    struct seen *seen = &client.seen[client.count++];
    const struct vv_h2_request r = {.method = VV_STR("CONNECT"),
                                    .scheme = VV_STR("https"),
                                    .authority = VV_STR("shop"),
                                    .path = VV_STR("/chat"),
                                    .protocol = VV_STR("websocket")};
    VV_CHECK_INT(vv_h2_request(client.c, seen, &r, &seen->s), VV_OK);
    pump();
    struct seen *got = &server.seen[0];
    VV_CHECK_STR(got->protocol, "websocket");
    VV_CHECK_STR(got->path, "/chat");
    VV_CHECK_INT(got->framing, VV_H1_BODY_TUNNEL);
    VV_CHECK_INT(vv_h2_answer(got->s, 200, NULL, 0, false), VV_OK);
    VV_CHECK_INT(vv_h2_body(got->s, VV_STR("down")), VV_OK);
    VV_CHECK_INT(vv_h2_body(seen->s, VV_STR("up")), VV_OK);
    pump();
    VV_CHECK_STR(seen->body, "down");
    VV_CHECK_STR(got->body, "up");
    vv_h2_end(got->s); /* one side may be quiet while the other goes on */
    pump();
    VV_CHECK_INT(vv_h2_body(seen->s, VV_STR("per")), VV_OK);
    vv_h2_end(seen->s);
    pump();
    VV_CHECK_STR(got->body, "upper");
    VV_CHECK(got->closed && seen->closed);
    VV_CHECK_INT(got->why, VV_H2_FINE);
    close_pair();
}

/* Opens and resets n streams, `each_ns` apart. */
static void reset_many(unsigned n, uint64_t each_ns)
{
    for (unsigned i = 0; i < n && vv_h2_can_open(client.c); i++) {
        client.count = server.count = 0;
        memset(&client.seen[0], 0, sizeof client.seen[0]);
        memset(&server.seen[0], 0, sizeof server.seen[0]);
        struct seen *asked = ask("GET", "/", NULL, 0, true);
        pump();
        vv_h2_reset(asked->s, VV_H2_CANCEL);
        pump();
        now_ns += each_ns;
    }
}

VV_TEST(resets_are_fine_at_their_rate_and_end_the_connection_above_it)
{
    open_pair();
    reset_many(1000, VV_SEC / 20); /* 20 a second are allowed */
    VV_CHECK_INT(vv_h2_why(server.c), VV_H2_FINE);
    const uint64_t before = counts.streams;
    reset_many(1000, VV_MS);
    VV_CHECK_INT(vv_h2_why(server.c), VV_H2_WHY_FLOOD_RESETS);
    VV_CHECK(vv_h2_finished(server.c));
    /* The burst is 200 tokens, and 20 per 1,000 more came meanwhile; each stream counts twice
     * here. */
    VV_CHECK((counts.streams - before) / 2 >= 200);
    VV_CHECK((counts.streams - before) / 2 <= 210);
    close_pair();
}

VV_TEST(window_updates_of_a_long_download_are_no_flood)
{
    static char body[200000];
    conf.frames_burst = 50;
    conf.frames_per_second = 1;
    open_pair();
    ask("GET", "/", NULL, 0, true);
    pump();
    struct vv_h2_stream *s = server.seen[0].s;
    VV_CHECK_INT(vv_h2_answer(s, 200, NULL, 0, false), VV_OK);
    for (unsigned i = 0; i < 100; i++) {
        VV_CHECK_INT(vv_h2_body(s, (struct vv_str){body, sizeof body}), VV_OK);
        pump();
    }
    VV_CHECK_INT(client.seen[0].data, 100 * sizeof body);
    VV_CHECK_INT(vv_h2_why(server.c), VV_H2_FINE);
    close_pair();
}

VV_TEST(memory_is_counted_and_comes_back)
{
    open_pair();
    const size_t idle = vv_h2_memory(server.c);
    for (unsigned i = 0; i < 10; i++) {
        ask("POST", "/", NULL, 0, false);
    }
    pump();
    VV_CHECK(vv_h2_memory(server.c) > idle + 10 * 1024); /* a stream has text of its own */
    VV_CHECK(vv_h2_memory(server.c) < idle + 10 * 4096);
    VV_CHECK_INT(vv_h2_streams(server.c), 10);
    for (unsigned i = 0; i < 10; i++) {
        vv_h2_reset(client.seen[i].s, VV_H2_CANCEL);
    }
    pump();
    VV_CHECK_INT(vv_h2_streams(server.c), 0);
    VV_CHECK(vv_h2_memory(server.c) < idle + 4096);
    VV_CHECK(counts.memory_bytes_max >= idle);
    close_pair();
}

/* Content, trailers and resets on a server that may use so many bytes. */
static void run_within(uint32_t limit)
{
    static char body[5000];
    static const struct vv_h2_field field[] = {{VV_STR("X-Field"), VV_STR("value"), 0}};
    struct vv_h2_conf tight = vv_h2_conf_default;
    tight.memory_bytes_max = limit;
    memset(&counts, 0, sizeof counts);
    memset(&client, 0, sizeof client);
    memset(&server, 0, sizeof server);
    pool = vv_h2_pool_new(&counts);
    client.c = vv_h2_client_new(pool, &conf, &events, &client, 0);
    server.c = vv_h2_server_new(pool, &tight, &events, &server, 0);
    for (unsigned i = 0; i < 8 && server.c != NULL && vv_h2_can_open(client.c); i++) {
        struct seen *asked = ask("POST", "/", field, 1, false);
        (void)!vv_h2_body(asked->s, (struct vv_str){body, sizeof body});
        (void)!vv_h2_end_trailers(asked->s, field, 1);
        pump();
        if (i < server.count && !server.seen[i].closed) {
            struct vv_h2_stream *s = server.seen[i].s;
            (void)!vv_h2_answer(s, 103, field, 1, false);
            (void)!vv_h2_answer(s, 200, field, 1, false);
            (void)!vv_h2_body(s, (struct vv_str){body, sizeof body});
            if (i % 2 == 0) {
                (void)!vv_h2_end_trailers(s, field, 1);
            }
        }
        VV_CHECK(server.c == NULL || vv_h2_memory(server.c) <= limit + 4096);
    }
    if (server.c != NULL) {
        pump();
    }
    close_pair();
    for (unsigned i = 0; i < server.count; i++) {
        VV_CHECK(server.seen[i].closed);
    }
}

VV_TEST(memory_may_run_out_anywhere)
{
    /* To begin with takes 2,048 bytes; these eight streams, at 2,048 each, and the two tables stay
     * below 30,000. */
    uint64_t failed = 0;
    for (uint32_t limit = 500; limit < 30000; limit += limit < 2000 ? 500 : 48) {
        run_within(limit);
        failed += counts.reason[VV_H2_WHY_MEMORY];
    }
    VV_CHECK(failed > 100);
    VV_CHECK_INT(counts.reason[VV_H2_WHY_MEMORY], 0); /* the last one had enough */
}

VV_TEST(a_ping_is_answered)
{
    open_pair();
    VV_CHECK(vv_h2_ping(server.c));
    pump();
    VV_CHECK_INT(vv_h2_pings_answered(server.c), 1);
    close_pair();
}

VV_TEST(streams_left_when_a_connection_goes_are_closed)
{
    open_pair();
    struct seen *asked = ask("POST", "/", NULL, 0, false);
    pump();
    close_pair();
    VV_CHECK(asked->closed);
    VV_CHECK_INT(asked->why, VV_H2_WHY_GONE);
    VV_CHECK(server.seen[0].closed);
}

VV_TEST(a_client_keeps_to_the_streams_the_server_allows)
{
    conf.streams_max = 3;
    open_pair();
    for (unsigned i = 0; i < 3; i++) {
        VV_CHECK(vv_h2_can_open(client.c));
        ask("POST", "/", NULL, 0, false);
    }
    VV_CHECK(!vv_h2_can_open(client.c));
    struct vv_h2_stream *s = NULL;
    const struct vv_h2_request r = {.method = VV_STR("GET"),
                                    .scheme = VV_STR("https"),
                                    .authority = VV_STR("shop"),
                                    .path = VV_STR("/")};
    VV_CHECK_INT(vv_h2_request(client.c, NULL, &r, &s), VV_ELIMIT);
    assert_null(s);
    close_pair();
}

VV_TEST(a_large_head_passes_a_small_stage)
{
    static char value[3000], stage[1024];
    memset(value, 'v', sizeof value);
    const struct vv_h2_field field = {VV_STR("x-long"), {value, sizeof value}, VV_H2_SECRET};
    struct vv_h2_gather g = {.stage = stage, .stage_bytes = sizeof stage};
    open_pair();
    struct seen *asked = ask("GET", "/", NULL, 0, true);
    pump();
    VV_CHECK_INT(vv_h2_answer(server.seen[0].s, 200, &field, 1, true), VV_OK);
    do {
        vv_h2_output(server.c, &g);
        for (unsigned i = 0; i < g.count; i++) {
            VV_CHECK_INT(vv_h2_receive(client.c,
                                       (struct vv_str){g.iov[i].iov_base, g.iov[i].iov_len},
                                       now_ns),
                         VV_OK);
        }
    } while (g.bytes > 0);
    VV_CHECK_INT(asked->status, 200);
    VV_CHECK(asked->closed);
    close_pair();
}

VV_TEST(the_preface_is_known_by_its_bytes)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for (size_t n = 0; n < VV_H2_PREFACE_BYTES; n++) {
        VV_CHECK_INT(vv_h2_preface((struct vv_str){preface, n}), VV_EAGAIN);
    }
    VV_CHECK_INT(vv_h2_preface((struct vv_str){preface, VV_H2_PREFACE_BYTES}), VV_OK);
    VV_CHECK_INT(vv_h2_preface(VV_STR("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nmore")), VV_OK);
    VV_CHECK_INT(vv_h2_preface(VV_STR("PRI * HTTP/1.1\r\n")), VV_ESYNTAX);
    VV_CHECK_INT(vv_h2_preface(VV_STR("PUT")), VV_ESYNTAX);
}

VV_TEST(every_reason_has_a_name_a_section_and_a_text)
{
    for (size_t i = 1; i < VV_H2_REASON_COUNT; i++) {
        const struct vv_h2_reason_info *r = &vv_h2_reasons[i];
        VV_CHECK(r->name[0] >= 'a' && r->name[0] <= 'z');
        VV_CHECK(strncmp(r->section, "RFC ", 4) == 0 || strncmp(r->section, "CVE-", 4) == 0);
        VV_CHECK(r->text[0] != '\0');
        VV_CHECK(r->code != VV_H2_NO_ERROR);
    }
}

VV_TEST(the_end_of_a_head_is_found_wherever_it_lies)
{
    char text[80];
    for (size_t n = 4; n < 60; n++) {
        memset(text, 'x', sizeof text);
        if (n >= 16) { /* none of these is an empty line */
            memcpy(text + 1, "\r\r\n\nX\r\n\n\r\n", 10);
        }
        memcpy(text + n - 4, "\r\n\r\n", 4);
        const size_t found = vv_h2_head_text_bytes((struct vv_str){text, sizeof text});
        VV_CHECK_INT(found, n);
        VV_CHECK_INT(vv_h2_head_text_bytes((struct vv_str){text, n - 1}), 0);
    }
    VV_CHECK_INT(vv_h2_head_text_bytes((struct vv_str){NULL, 0}), 0);
}
