/* tests/unit/wire/test_http2_peer.c - the codec and nghttp2 talk to each other: what one side says,
 * the other side hears, over hundreds of messages with changing fields, contents and trailers. */
#include "vv_test.h"
#include "wire/http2.h"
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>

#define MESSAGES 400
#define FIELDS_MAX 12
#define BODY_MAX 150000

struct message { /* what is to be said, and what was heard */
    struct {
        char name[24], value[1000];
    } field[FIELDS_MAX];
    size_t count, body, left;
    bool trailer;
    char heard[16384];
    size_t heard_n, heard_body;
    bool ended, closed;
    uint32_t code;
};

static struct message asked[MESSAGES], answered[MESSAGES];
static char content[BODY_MAX];
static struct vv_h2_counts counts;
static struct vv_h2_pool *pool;
static struct vv_h2 *codec;
static nghttp2_session *peer;
static uint32_t seed;
static size_t opened;

static uint32_t pick(uint32_t below)
{
    seed = seed * 1664525 + 1013904223; /* any sequence will do */
    return (seed >> 8) % below;
}

/* Most fields are the same again; some change slowly, some always; a few are so large that the
 * table loses others for them. */
static void choose(struct message *m, unsigned number)
{
    static const char *const names[] = {
        "server",       "date",       "etag",    "x-request-id", "cache-control",
        "content-type", "set-cookie", "x-large", "vary",         "x-b"};
    memset(m, 0, sizeof *m);
    for (size_t i = 0; i < VV_COUNT(names); i++) {
        if (pick(8) == 0) {
            continue;
        }
        char *value = m->field[m->count].value;
        const size_t room = sizeof m->field[0].value;
        snprintf(m->field[m->count++].name, sizeof m->field[0].name, "%s", names[i]);
        if (i == 3) {
            snprintf(value, room, "%08x%08x", pick(1 << 24), number);
        } else if (i == 7) {
            memset(value, 'a' + (char)pick(3), 300 + pick(8) * 80);
        } else {
            snprintf(value, room, "%s of %u", names[i], number / (1 + 20 * pick(3)));
        }
    }
    m->body = m->left = pick(3) == 0 ? 0 : pick(10) == 0 ? pick(BODY_MAX) : pick(3000);
    m->trailer = m->body > 0 && pick(4) == 0;
}

static void hear(struct message *m, const void *name, size_t name_n, const void *value, size_t n)
{
    VV_CHECK(m->heard_n + name_n + n + 4 < sizeof m->heard);
    m->heard_n += (size_t)sprintf(m->heard + m->heard_n, "%.*s=%.*s\n", (int)name_n,
                                  (const char *)name, (int)n, (const char *)value);
}

static void check_heard(const struct message *m)
{
    static char want[sizeof m->heard];
    size_t n = 0;
    for (size_t i = 0; i < m->count; i++) {
        n += (size_t)sprintf(want + n, "%s=%s\n", m->field[i].name, m->field[i].value);
    }
    if (m->trailer) {
        n += (size_t)sprintf(want + n, "x-sum=1\n");
    }
    want[n] = '\0';
    VV_CHECK_STR(m->heard, want);
    VV_CHECK_INT(m->heard_body, m->body);
    VV_CHECK(m->ended);
}

/* ---- the codec's side */

static struct message *heard_by_codec(const struct vv_h2_stream *s)
{
    struct message *all = nghttp2_session_check_server_session(peer) ? answered : asked;
    return &all[(s->id - 1) / 2];
}

static void say_rest(struct vv_h2_stream *s, const struct message *m)
{
    static const struct vv_h2_field trailer[] = {{VV_STR("X-Sum"), VV_STR("1"), 0}};
    VV_CHECK_INT(vv_h2_body(s, (struct vv_str){content, m->body}), VV_OK);
    if (m->trailer) {
        VV_CHECK_INT(vv_h2_end_trailers(s, trailer, 1), VV_OK);
    } else {
        vv_h2_end(s);
    }
}

static void answer(struct vv_h2_stream *s)
{
    static char text[16384];
    const struct message *m = &answered[(s->id - 1) / 2];
    int n = sprintf(text, "HTTP/1.1 200 OK\r\nConnection: close\r\n");
    for (size_t i = 0; i < m->count; i++) {
        text[n] = (char)(m->field[i].name[0] & ~0x20); /* "Server" */
        n += sprintf(text + n + 1, "%s: %s\r\n", m->field[i].name + 1, m->field[i].value) + 1;
    }
    n += sprintf(text + n, "\r\n");
    VV_CHECK_INT(vv_h2_answer_text(s, (struct vv_str){text, (size_t)n}, m->body == 0), VV_OK);
    if (m->body > 0) {
        say_rest(s, m);
    }
}

static void hear_fields(struct message *m, const struct vv_h1_head *h)
{
    for (uint32_t i = 0; i < h->fields_count; i++) {
        const struct vv_h1_field *f = &h->fields[i];
        hear(m, f->name.p, f->name.n, f->value.p, f->value.n);
    }
}

static void on_end(void *user, struct vv_h2_stream *s)
{
    (void)user;
    heard_by_codec(s)->ended = true;
    if (!nghttp2_session_check_server_session(peer)) {
        answer(s);
    }
}

static void on_head(void *user, struct vv_h2_stream *s, const struct vv_h1_head *h, bool end)
{
    hear_fields(heard_by_codec(s), h);
    if (end) {
        on_end(user, s);
    }
}

static void on_trailers(void *user, struct vv_h2_stream *s, const struct vv_h1_head *h)
{
    (void)user;
    hear_fields(heard_by_codec(s), h);
}

static void on_data(void *user, struct vv_h2_stream *s, struct vv_str bytes)
{
    (void)user;
    heard_by_codec(s)->heard_body += bytes.n;
    vv_h2_consumed(s, bytes.n);
}

static void on_sent(void *user, struct vv_h2_stream *s, size_t bytes)
{
    (void)user;
    (void)s;
    VV_CHECK(bytes > 0);
}

static void on_closed(void *user, struct vv_h2_stream *s, enum vv_h2_reason why,
                      enum vv_h2_code code)
{
    struct message *m = heard_by_codec(s);
    (void)user;
    (void)code;
    VV_CHECK_INT(why, VV_H2_FINE);
    VV_CHECK(!m->closed);
    m->closed = true;
}

static const struct vv_h2_events events = {.head = on_head,
                                           .data = on_data,
                                           .trailers = on_trailers,
                                           .end = on_end,
                                           .sent = on_sent,
                                           .closed = on_closed};

/* ---- nghttp2's side */

static struct message *of_peer(nghttp2_session *session, int32_t id, bool heard)
{
    const bool server = nghttp2_session_check_server_session(session) != 0;
    return &(server == heard ? asked : answered)[(id - 1) / 2];
}

static int peer_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                       size_t name_n, const uint8_t *value, size_t n, uint8_t flags, void *user)
{
    (void)flags;
    (void)user;
    if (name[0] != ':') {
        hear(of_peer(session, frame->hd.stream_id, true), name, name_n, value, n);
    }
    return 0;
}

static int peer_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                     size_t n, void *user)
{
    (void)flags;
    (void)user;
    (void)data;
    of_peer(session, id, true)->heard_body += n;
    return 0;
}

static ssize_t peer_read(nghttp2_session *session, int32_t id, uint8_t *buf, size_t length,
                         uint32_t *flags, nghttp2_data_source *source, void *user)
{
    static const nghttp2_nv trailer[] = {
        {(uint8_t *)(uintptr_t) "x-sum", (uint8_t *)(uintptr_t) "1", 5, 1, NGHTTP2_NV_FLAG_NONE}};
    struct message *m = source->ptr;
    (void)user;
    const size_t n = m->left < length ? m->left : length;
    memset(buf, 0, n);
    m->left -= n;
    if (m->left == 0) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (m->trailer) {
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
            VV_CHECK_INT(nghttp2_submit_trailer(session, id, trailer, 1), 0);
        }
    }
    return (ssize_t)n;
}

static nghttp2_nv nv_of(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name),
                        strlen(value), NGHTTP2_NV_FLAG_NONE};
}

static size_t peer_fields(nghttp2_nv *nv, const struct message *m)
{
    for (size_t i = 0; i < m->count; i++) {
        nv[i] = nv_of(m->field[i].name, m->field[i].value);
    }
    return m->count;
}

static int peer_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    nghttp2_nv nv[FIELDS_MAX + 1] = {nv_of(":status", "200")};
    (void)user;
    if (frame->hd.type > NGHTTP2_HEADERS || (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) {
        return 0;
    }
    of_peer(session, frame->hd.stream_id, true)->ended = true;
    if (nghttp2_session_check_server_session(session)) {
        struct message *m = of_peer(session, frame->hd.stream_id, false);
        nghttp2_data_provider body = {.source = {.ptr = m}, .read_callback = peer_read};
        const size_t n = peer_fields(nv + 1, m) + 1;
        VV_CHECK_INT(nghttp2_submit_response(session, frame->hd.stream_id, nv, n,
                                             m->body > 0 ? &body : NULL),
                     0);
    }
    return 0;
}

static int peer_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
    (void)user;
    of_peer(session, id, true)->code = code;
    return 0;
}

static void peer_ask(struct message *m)
{
    nghttp2_nv nv[FIELDS_MAX + 4] = {nv_of(":method", m->body > 0 ? "POST" : "GET"),
                                     nv_of(":scheme", "https"), nv_of(":authority", "shop"),
                                     nv_of(":path", "/")};
    nghttp2_data_provider body = {.source = {.ptr = m}, .read_callback = peer_read};
    const size_t n = peer_fields(nv + 4, m) + 4;
    VV_CHECK(nghttp2_submit_request(peer, NULL, nv, n, m->body > 0 ? &body : NULL, NULL) > 0);
}

static void codec_ask(const struct message *m)
{
    struct vv_h2_field field[FIELDS_MAX];
    struct vv_h2_stream *s;
    for (size_t i = 0; i < m->count; i++) {
        field[i] = (struct vv_h2_field){vv_str_from(m->field[i].name),
                                        vv_str_from(m->field[i].value), i % 2};
    }
    const struct vv_h2_request r = {.method = m->body > 0 ? VV_STR("POST") : VV_STR("GET"),
                                    .scheme = VV_STR("https"),
                                    .authority = VV_STR("shop"),
                                    .path = VV_STR("/"),
                                    .field = field,
                                    .count = m->count,
                                    .end = m->body == 0};
    VV_CHECK_INT(vv_h2_request(codec, NULL, &r, &s), VV_OK);
    if (m->body > 0) {
        say_rest(s, m);
    }
}

/* ---- both */

static void pump(void)
{
    static char stage[16384];
    struct vv_h2_gather g = {.stage = stage, .stage_bytes = sizeof stage};
    const uint8_t *p;
    bool more = true;
    while (more) {
        more = false;
        for (ssize_t n; (n = nghttp2_session_mem_send(peer, &p)) > 0; more = true) {
            VV_CHECK_INT(vv_h2_receive(codec, (struct vv_str){(const char *)p, (size_t)n}, 0),
                         VV_OK);
        }
        do {
            vv_h2_output(codec, &g);
            for (unsigned i = 0; i < g.count; i++) {
                VV_CHECK_INT(nghttp2_session_mem_recv(peer, g.iov[i].iov_base, g.iov[i].iov_len),
                             g.iov[i].iov_len);
            }
            more = more || g.bytes > 0;
        } while (g.bytes > 0);
    }
}

static void talk(bool codec_serves)
{
    static struct vv_h2_conf conf;
    nghttp2_session_callbacks *cb;
    VV_CHECK_INT(nghttp2_session_callbacks_new(&cb), 0);
    nghttp2_session_callbacks_set_on_header_callback(cb, peer_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, peer_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, peer_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, peer_close);
    conf = vv_h2_conf_default;
    pool = vv_h2_pool_new(&counts);
    codec = codec_serves ? vv_h2_server_new(pool, &conf, &events, NULL, 0)
                         : vv_h2_client_new(pool, &conf, &events, NULL, 0);
    VV_CHECK_INT(codec_serves ? nghttp2_session_client_new(&peer, cb, NULL)
                              : nghttp2_session_server_new(&peer, cb, NULL),
                 0);
    const nghttp2_settings_entry few = {NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, 2000};
    VV_CHECK_INT(nghttp2_submit_settings(peer, NGHTTP2_FLAG_NONE, &few, codec_serves ? 0 : 1), 0);
    for (opened = 0; opened < MESSAGES;) {
        for (uint32_t n = 1 + pick(8); n > 0 && opened < MESSAGES; n--, opened++) {
            choose(&asked[opened], (unsigned)opened);
            choose(&answered[opened], (unsigned)opened);
            if (codec_serves) {
                peer_ask(&asked[opened]);
            } else {
                codec_ask(&asked[opened]);
            }
        }
        pump();
    }
    for (size_t i = 0; i < MESSAGES; i++) {
        check_heard(&asked[i]);
        check_heard(&answered[i]);
        VV_CHECK((codec_serves ? asked : answered)[i].closed);
        VV_CHECK_INT((codec_serves ? answered : asked)[i].code, 0);
    }
    nghttp2_session_del(peer);
    nghttp2_session_callbacks_del(cb);
    vv_h2_free(codec);
    VV_CHECK_INT(counts.memory_bytes, 0);
    vv_h2_pool_free(pool);
}

VV_TEST(nghttp2_asks_and_the_codec_answers)
{
    seed = 1;
    talk(true);
}

VV_TEST(the_codec_asks_and_nghttp2_answers)
{
    seed = 2;
    talk(false);
}
