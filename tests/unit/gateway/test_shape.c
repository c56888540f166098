/* tests/unit/gateway/test_shape.c - answers compressed on their way, turn by turn. */
#include "gateway/shape.h"
#include "gateway/variants.h"
#include "rig.h"
#include <zlib.h>

static const char gzipped[] = "listen: 127.0.0.1:1\n"
                              "admin: none\n"
                              "routes:\n"
                              "  - to: http://127.0.0.1:%u\n"
                              "    compress: {encodings: [gzip], min: 1}\n";

/* Decodes what is there of a chunked gzip body; returns how many bytes, in `out`. */
static size_t gunzip_chunks(const char *at, const char *end, char *out, size_t cap, bool *ret_ended)
{
    z_stream z = {.next_out = (Bytef *)out, .avail_out = (uInt)cap};
    int rc = Z_OK;
    VV_CHECK_INT(inflateInit2(&z, 31), Z_OK);
    while (at < end) {
        char *data = NULL;
        const size_t n = strtoul(at, &data, 16);
        if (n == 0) {
            break;
        }
        z.next_in = (Bytef *)(uintptr_t)(data + 2);
        z.avail_in = (uInt)n;
        rc = inflate(&z, Z_SYNC_FLUSH);
        VV_CHECK(rc == Z_OK || rc == Z_STREAM_END || rc == Z_BUF_ERROR);
        at = data + 2 + n + 2;
    }
    *ret_ended = rc == Z_STREAM_END;
    inflateEnd(&z);
    return z.total_out;
}

/* Reads what came to the client after its head. A gzip body has zero bytes: not a string. */
static size_t read_raw(struct rig *r, int fd)
{
    size_t n = 0;
    for (int quiet = 0; quiet < 5;) {
        rig_turns(r, 1);
        const ssize_t k = recv(fd, r->text + n, sizeof r->text - 1 - n, 0);
        n += k > 0 ? (size_t)k : 0;
        quiet = k > 0 ? 0 : quiet + 1;
    }
    r->text[n] = '\0';
    return n;
}

static struct vv_session *only_session(struct rig *r)
{
    return VV_LIST_ENTRY(r->w->sessions.next, struct vv_session, node);
}

VV_TEST(an_event_leaves_in_the_turn_it_came)
{
    struct rig r;
    char out[64];
    bool ended;
    rig_up(&r, gzipped);
    const int client = rig_client(&r);
    rig_send(&r, client, "GET / HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip\r\n\r\n");
    const int origin = rig_accept(&r);
    rig_send(&r, origin,
             "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
             "Transfer-Encoding: chunked\r\n\r\n");
    VV_CHECK(strstr(rig_read(&r, client, NULL), "Content-Encoding: gzip\r\n") != NULL);
    rig_send(&r, origin, "9\r\ndata: 1\n\n\r\n");
    size_t n = read_raw(&r, client);
    VV_CHECK_INT(gunzip_chunks(r.text, r.text + n, out, sizeof out, &ended), 9);
    VV_CHECK(memcmp(out, "data: 1\n\n", 9) == 0);
    VV_CHECK(!ended);
    VV_CHECK_INT(r.w->bufs.bytes, VV_BUF_SMALL); /* a silent stream holds its request's head only */
    close(client);
    close(origin);
    rig_down(&r);
}

VV_TEST(a_late_flush_leaves_a_waiting_session_to_its_own_turn)
{
    struct rig r;
    rig_up(&r, gzipped);
    const int client = rig_client(&r);
    rig_send(&r, client, "GET / HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip\r\n\r\n");
    const int origin = rig_accept(&r);
    rig_send(&r, origin,
             "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 10\r\n\r\nhello");
    struct vv_session *s = only_session(&r);
    s->blocked = true; /* as after an answer that had its share of the turn */
    rig_turns(&r, 30); /* 10 ms and more: a turn waits for timers up to one */
    for (int i = 0; i < 200 && vv_out_empty(&s->out); i++) {
        rig_turns(&r, 1);
    }
    VV_CHECK(!vv_out_empty(&s->out)); /* the flush was due and lies in the batch */
    VV_CHECK(s->blocked);             /* else nobody would call drained() */
    vv_loop_defer(r.w->loop, &s->again);
    rig_send(&r, origin, "world");
    const size_t n = read_raw(&r, client);
    const char *body = strstr(r.text, "\r\n\r\n") + 4;
    char out[64];
    bool ended;
    VV_CHECK_INT(gunzip_chunks(body, r.text + n, out, sizeof out, &ended), 10);
    VV_CHECK(memcmp(out, "helloworld", 10) == 0);
    VV_CHECK(ended);
    close(client);
    close(origin);
    rig_down(&r);
}

VV_TEST(an_aborted_answer_gives_encoder_and_block_back)
{
    struct rig r;
    rig_up(&r, gzipped);
    const int client = rig_client(&r);
    rig_send(&r, client, "GET / HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip\r\n\r\n");
    const int origin = rig_accept(&r);
    rig_send(&r, origin,
             "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 10\r\n\r\nhello");
    VV_CHECK_INT(r.w->encoders.in_use, 1);
    close(origin);
    rig_turns(&r, 3);
    VV_CHECK_INT(r.w->encoders.in_use, 0);
    VV_CHECK_INT(rig_metric(&r, VV_METRIC_COMPRESS_IN, "gzip", NULL), 5);
    close(client);
    rig_down(&r);
}

VV_TEST(without_room_for_encoders_answers_go_out_as_they_are)
{
    struct rig r;
    rig_up(&r, gzipped);
    r.w->encoders.bytes_max = 1;
    const int client = rig_client(&r);
    rig_send(&r, client, "GET / HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip\r\n\r\n");
    const int origin = rig_accept(&r);
    rig_send(&r, origin,
             "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nETag: \"a\"\r\n"
             "Content-Length: 5\r\n\r\nhello");
    const char *answer = rig_read(&r, client, NULL);
    VV_CHECK(strstr(answer, "Content-Encoding") == NULL);
    VV_CHECK(strstr(answer, "\r\nContent-Length: 5\r\n") != NULL);
    VV_CHECK(strstr(answer, "\r\nETag: \"a\"\r\n") != NULL);
    VV_CHECK(strstr(answer, "\r\nVary: Accept-Encoding\r\n") != NULL); /* another might get it */
    VV_CHECK_STR(answer + strlen(answer) - 9, "\r\n\r\nhello");
    close(client);
    close(origin);
    rig_down(&r);
}

VV_TEST(an_object_has_variants_when_a_client_could_get_one)
{
    static const enum vv_encoding prefer[] = {VV_ENCODING_GZIP};
    static const struct vv_str types[] = {{"text/*", 6}};
    const struct vv_compress_plan plan = {
        .rules = {
            .prefer = prefer, .prefer_count = 1, .type = types, .type_count = 1, .bytes_min = 100}};
    static struct vv_h1_head h;
    const struct vv_str text = VV_STR("HTTP/1.1 200 OK\r\nContent-Type: text/css\r\n\r\n");
    static const struct vv_h1_limits limits = {
        .line_bytes = 100, .head_bytes = 1000, .fields = VV_H1_FIELDS_MAX};
    vv_h1_head_init(&h);
    VV_CHECK_INT(vv_h1_parse_answer(&h, text, VV_METHOD_GET, &limits), VV_OK);
    VV_CHECK(vv_variant_possible(&plan, &h, UINT64_MAX));
    VV_CHECK(vv_variant_possible(&plan, &h, 100));
    VV_CHECK(!vv_variant_possible(&plan, &h, 99)); /* below bytes_min */
    VV_CHECK(!vv_variant_possible(NULL, &h, 100));
    h.status = 304;
    VV_CHECK(!vv_variant_possible(&plan, &h, 100));
}
