/* bench/micro/h2.c - what does one small HTTP/2 exchange cost a server, and how much of it is our
 * layer?
 *
 * 32 requests of 9 fields a batch, each answered with 7 fields and 1 KiB, everything but the
 * sockets. The same client bytes go through nghttp2 alone (its rules about messages on, content
 * copied into frames, frames copied into one buffer: what a plain program would do) and through
 * the codec. The best of several rounds is shown: noise only ever adds. Run it alone on an idle
 * core: `meson compile -C build bench_h2 && taskset -c 1 build/src/wire/bench_h2`. */
#include "wire/http2.h"

#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define ROUNDS 60
#define BATCHES 40
#define BATCH 32
#define BODY_BYTES 1024
#define OUT_BYTES (128 * 1024)

static char *input; /* what the client says: its start, then the batches */
static size_t input_at[BATCHES + 2];
static char body[BODY_BYTES];
static char out[OUT_BYTES];
static size_t out_bytes, answered;

#define NV(n, v)                                                                                   \
    {                                                                                              \
        (uint8_t *)(uintptr_t)(n), (uint8_t *)(uintptr_t)(v), sizeof(n) - 1, sizeof(v) - 1,        \
            NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE                           \
    }
static const nghttp2_nv request[] = {
    NV(":method", "GET"),
    NV(":scheme", "https"),
    NV(":authority", "www.shop.example"),
    NV(":path", "/api/products?page=2"),
    NV("user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/120.0.0.0"),
    NV("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    NV("accept-encoding", "gzip, deflate, br"),
    NV("accept-language", "fr-FR,fr;q=0.9,en-US;q=0.8"),
    NV("referer", "https://www.shop.example/catalogue/garden"),
};
static const nghttp2_nv answer_nv[] = {
    NV(":status", "200"),
    NV("server", "bench"),
    NV("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
    NV("content-type", "application/json"),
    NV("content-length", "1024"),
    NV("etag", "\"5f2c-18a3\""),
    NV("cache-control", "public, max-age=60"),
    NV("age", "7"),
};
#define FIELD(n, v)                                                                                \
    {                                                                                              \
        {n, sizeof(n) - 1}, {v, sizeof(v) - 1}, VV_H2_STABLE                                       \
    }
static const struct vv_h2_field answer_field[] = {
    FIELD("server", "bench"),
    FIELD("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
    FIELD("content-type", "application/json"),
    FIELD("content-length", "1024"),
    FIELD("etag", "\"5f2c-18a3\""),
    FIELD("cache-control", "public, max-age=60"),
    FIELD("age", "7"),
};
static const char answer_text[] = "HTTP/1.1 200 OK\r\n"
                                  "Server: bench\r\n"
                                  "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
                                  "Content-Type: application/json\r\n"
                                  "Content-Length: 1024\r\n"
                                  "ETag: \"5f2c-18a3\"\r\n"
                                  "Cache-Control: public, max-age=60\r\n"
                                  "Age: 7\r\n\r\n";

static double cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void must(bool fine)
{
    if (!fine) {
        fputs("bench_h2: something failed\n", stderr);
        exit(1);
    }
}

/* ---- the client, once */

static void record(nghttp2_session *session, size_t *at)
{
    const uint8_t *p;
    for (ssize_t n; (n = nghttp2_session_mem_send(session, &p)) > 0; *at += (size_t)n) {
        memcpy(input + *at, p, (size_t)n);
    }
}

static void record_client(void)
{
    nghttp2_session_callbacks *cb;
    nghttp2_session *session;
    nghttp2_option *o;
    size_t at = 0;
    input = malloc(BATCHES * BATCH * 512 + 4096);
    must(input != NULL && nghttp2_session_callbacks_new(&cb) == 0 && nghttp2_option_new(&o) == 0);
    nghttp2_option_set_peer_max_concurrent_streams(o, BATCHES * BATCH);
    must(nghttp2_session_client_new2(&session, cb, NULL, o) == 0);
    must(nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, NULL, 0) == 0);
    must(nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, 0, 1 << 30) == 0);
    record(session, &at);
    for (size_t i = 0; i < BATCHES; i++) {
        input_at[i + 1] = at;
        for (size_t k = 0; k < BATCH; k++) {
            must(nghttp2_submit_request(session, NULL, request, VV_COUNT(request), NULL, NULL) > 0);
        }
        record(session, &at);
    }
    input_at[BATCHES + 1] = at;
    nghttp2_session_del(session);
    nghttp2_session_callbacks_del(cb);
    nghttp2_option_del(o);
}

/* ---- nghttp2 alone */

struct plain {
    size_t left;
    size_t path_bytes;
};

static int plain_begin(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    (void)user;
    struct plain *s = calloc(1, sizeof *s);
    s->left = BODY_BYTES;
    nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, s);
    return 0;
}

static int plain_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                        size_t name_n, const uint8_t *value, size_t value_n, uint8_t flags,
                        void *user)
{
    (void)user;
    (void)flags;
    (void)value;
    if (name_n == 5 && memcmp(name, ":path", 5) == 0) {
        struct plain *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
        s->path_bytes = value_n;
    }
    return 0;
}

static ssize_t plain_read(nghttp2_session *session, int32_t id, uint8_t *buf, size_t length,
                          uint32_t *flags, nghttp2_data_source *source, void *user)
{
    struct plain *s = source->ptr;
    (void)session;
    (void)id;
    (void)user;
    const size_t n = s->left < length ? s->left : length;
    memcpy(buf, body + BODY_BYTES - s->left, n);
    s->left -= n;
    if (s->left == 0) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    }
    return (ssize_t)n;
}

static int plain_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    (void)user;
    if (frame->hd.type != NGHTTP2_HEADERS || (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) {
        return 0;
    }
    nghttp2_data_provider data = {
        .source = {.ptr = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id)},
        .read_callback = plain_read};
    return nghttp2_submit_response(session, frame->hd.stream_id, answer_nv, VV_COUNT(answer_nv),
                                   &data);
}

static int plain_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
    (void)code;
    (void)user;
    free(nghttp2_session_get_stream_user_data(session, id));
    answered++;
    return 0;
}

static double run_plain(void)
{
    nghttp2_session_callbacks *cb;
    nghttp2_session *session;
    nghttp2_option *o;
    must(nghttp2_session_callbacks_new(&cb) == 0 && nghttp2_option_new(&o) == 0);
    nghttp2_session_callbacks_set_on_begin_headers_callback(cb, plain_begin);
    nghttp2_session_callbacks_set_on_header_callback(cb, plain_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, plain_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, plain_close);
    nghttp2_option_set_no_closed_streams(o, 1);
    must(nghttp2_session_server_new2(&session, cb, NULL, o) == 0);
    must(nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, NULL, 0) == 0);
    double began = 0;
    for (size_t i = 0; i <= BATCHES; i++) {
        began = i == 1 ? cpu_ns() : began;
        const ssize_t n = nghttp2_session_mem_recv(session, (const uint8_t *)input + input_at[i],
                                                   input_at[i + 1] - input_at[i]);
        must(n >= 0);
        size_t used = 0;
        const uint8_t *p;
        for (ssize_t m; (m = nghttp2_session_mem_send(session, &p)) > 0; used += (size_t)m) {
            must(used + (size_t)m <= sizeof out);
            memcpy(out + used, p, (size_t)m);
        }
        out_bytes += used;
    }
    const double took = cpu_ns() - began;
    nghttp2_session_del(session);
    nghttp2_session_callbacks_del(cb);
    nghttp2_option_del(o);
    return took;
}

/* ---- the codec */

static bool as_text;

static void on_head(void *user, struct vv_h2_stream *s, const struct vv_h1_head *head, bool end)
{
    (void)user;
    (void)head;
    (void)end;
    const enum vv_err err =
        as_text ? vv_h2_answer_text(s, (struct vv_str){answer_text, sizeof answer_text - 1}, false)
                : vv_h2_answer(s, 200, answer_field, VV_COUNT(answer_field), false);
    must(err == VV_OK && vv_h2_body(s, (struct vv_str){body, sizeof body}) == VV_OK);
    vv_h2_end(s);
}

static void on_data(void *user, struct vv_h2_stream *s, struct vv_str bytes)
{
    (void)user;
    vv_h2_consumed(s, bytes.n);
}

static void on_end(void *user, struct vv_h2_stream *s)
{
    (void)user;
    (void)s;
}

static void on_sent(void *user, struct vv_h2_stream *s, size_t bytes)
{
    (void)user;
    (void)s;
    (void)bytes;
}

static void on_closed(void *user, struct vv_h2_stream *s, enum vv_h2_reason why,
                      enum vv_h2_code code)
{
    (void)user;
    (void)s;
    (void)why;
    (void)code;
    answered++;
}

static const struct vv_h2_events events = {
    .head = on_head, .data = on_data, .end = on_end, .sent = on_sent, .closed = on_closed};

static double run_codec(void)
{
    static struct vv_h2_counts counts;
    static struct vv_h2_pool *pool; /* a worker's: warm after the first connection */
    if (pool == NULL) {
        pool = vv_h2_pool_new(&counts);
        must(pool != NULL);
    }
    struct vv_h2 *c = vv_h2_server_new(pool, &vv_h2_conf_default, &events, NULL, 0);
    must(c != NULL);
    static struct vv_h2_gather g;
    g.stage = out;
    g.stage_bytes = sizeof out;
    double began = 0;
    for (size_t i = 0; i <= BATCHES; i++) {
        began = i == 1 ? cpu_ns() : began;
        const struct vv_str bytes = {input + input_at[i], input_at[i + 1] - input_at[i]};
        must(vv_h2_receive(c, bytes, i * VV_MS) == VV_OK);
        do {
            vv_h2_output(c, &g);
            out_bytes += g.bytes;
        } while (g.bytes > 0);
    }
    const double took = cpu_ns() - began;
    vv_h2_free(c);
    return took;
}

static double run_text(void)
{
    as_text = true;
    const double took = run_codec();
    as_text = false;
    return took;
}

int main(void)
{
    static const struct {
        const char *name;
        double (*run)(void);
    } ways[] = {{"nghttp2 alone", run_plain},
                {"codec, prepared fields", run_codec},
                {"codec, HTTP/1 head text", run_text}};
    double best[VV_COUNT(ways)] = {1e18, 1e18, 1e18};
    record_client();
    for (int round = 0; round < ROUNDS; round++) { /* in turn, so that they share the noise */
        for (size_t i = 0; i < VV_COUNT(ways); i++) {
            answered = out_bytes = 0;
            const double each = ways[i].run() / (BATCHES * BATCH);
            must(answered == BATCHES * BATCH && out_bytes > answered * BODY_BYTES);
            best[i] = each < best[i] ? each : best[i];
        }
    }
    for (size_t i = 0; i < VV_COUNT(ways); i++) {
        printf("%-26s %7.0f ns per request, %.2f times nghttp2 alone\n", ways[i].name, best[i],
               best[i] / best[0]);
    }
    return 0;
}
