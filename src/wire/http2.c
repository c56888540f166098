/* src/wire/http2.c - one HTTP/2 connection: what comes in, and how streams and connections end.
 *
 * Every early end passes one of two doors, vv_h2_malformed() for a stream and vv_h2_fail() for the
 * connection, or is nghttp2's own verdict, seen when its RST_STREAM or GOAWAY leaves. So each is
 * counted once, and each stream reset by the peer's fault costs it a token (CVE-2025-8671: making
 * the server reset is as cheap for an attacker as resetting). */
#include "wire/http2_int.h"

#include <stdlib.h>

const struct vv_h2_conf vv_h2_conf_default = {
    .streams_max = 100,
    .stream_window_bytes = 256 * 1024,
    .connection_window_bytes = 1024 * 1024,
    .head_bytes = 32 * 1024,
    .fields = 100,
    .table_bytes = 4096,
    .continuations_max = 8,
    .frames_burst = 1000,
    .frames_per_second = 100,
    .resets_burst = 200,
    .resets_per_second = 20,
    .memory_bytes_max = 2 * 1024 * 1024,
};

const char *const vv_h2_code_names[VV_H2_CODE_COUNT] = {"NO_ERROR",
                                                        "PROTOCOL_ERROR",
                                                        "INTERNAL_ERROR",
                                                        "FLOW_CONTROL_ERROR",
                                                        "SETTINGS_TIMEOUT",
                                                        "STREAM_CLOSED",
                                                        "FRAME_SIZE_ERROR",
                                                        "REFUSED_STREAM",
                                                        "CANCEL",
                                                        "COMPRESSION_ERROR",
                                                        "CONNECT_ERROR",
                                                        "ENHANCE_YOUR_CALM",
                                                        "INADEQUATE_SECURITY",
                                                        "HTTP_1_1_REQUIRED"};

#define ID_BYTES 40
static char reason_ids[VV_H2_REASON_COUNT][ID_BYTES] = {
    [VV_H2_FINE] = "fine",
#define VV_H2_REASON(id, code, section, text) [VV_H2_WHY_##id] = #id,
#include "wire/http2_reasons.def"
#undef VV_H2_REASON
};

/* The table spells names as C does; metrics and logs want lower case. */
__attribute__((constructor)) static void lower_reason_ids(void)
{
    for (size_t i = 0; i < VV_H2_REASON_COUNT; i++) {
        for (char *p = reason_ids[i]; *p != '\0'; p++) {
            *p = vv_char_lower(*p);
        }
    }
}

const struct vv_h2_reason_info vv_h2_reasons[VV_H2_REASON_COUNT] = {
    [VV_H2_FINE] = {reason_ids[VV_H2_FINE], VV_H2_NO_ERROR, "", "fine"},
#define VV_H2_REASON(id, code, section, text)                                                      \
    [VV_H2_WHY_##id] = {reason_ids[VV_H2_WHY_##id], VV_H2_##code, section, text},
#include "wire/http2_reasons.def"
#undef VV_H2_REASON
};

static void count(struct vv_h2 *c, enum vv_h2_reason why)
{
    vv_h2_pool_counts(c->pool)->reason[why]++;
}

enum vv_h2_reason vv_h2_reason_of(uint32_t code)
{
    static const uint8_t reason[VV_H2_CODE_COUNT] = {
        [VV_H2_PROTOCOL_ERROR] = VV_H2_WHY_CODE_PROTOCOL,
        [VV_H2_INTERNAL_ERROR] = VV_H2_WHY_CODE_INTERNAL,
        [VV_H2_FLOW_CONTROL_ERROR] = VV_H2_WHY_CODE_FLOW_CONTROL,
        [VV_H2_STREAM_CLOSED] = VV_H2_WHY_CODE_STREAM_CLOSED,
        [VV_H2_FRAME_SIZE_ERROR] = VV_H2_WHY_CODE_FRAME_SIZE,
        [VV_H2_REFUSED_STREAM] = VV_H2_WHY_CODE_REFUSED,
        [VV_H2_COMPRESSION_ERROR] = VV_H2_WHY_CODE_COMPRESSION,
    };
    if (code == VV_H2_NO_ERROR) {
        return VV_H2_FINE;
    }
    return code < VV_H2_CODE_COUNT && reason[code] != 0 ? (enum vv_h2_reason)reason[code]
                                                        : VV_H2_WHY_CODE_OTHER;
}

VV_COLD void vv_h2_fail(struct vv_h2 *c, enum vv_h2_reason why)
{
    if (c->dead) {
        return;
    }
    c->dead = true;
    c->why = (uint8_t)why;
    count(c, why);
    /* Out of memory it cannot be said, only done: finished() is true then as well. */
    (void)nghttp2_session_terminate_session(c->session, vv_h2_reasons[why].code);
}

VV_COLD void vv_h2_malformed(struct vv_h2_inner *s, enum vv_h2_reason why)
{
    if (s->bad) {
        return;
    }
    s->bad = true;
    s->close_why = (uint8_t)why;
    s->close_code = vv_h2_reasons[why].code;
    count(s->c, why);
    if (nghttp2_submit_rst_stream(s->c->session, NGHTTP2_FLAG_NONE, (int32_t)s->pub.id,
                                  s->close_code) != 0) {
        vv_h2_fail(s->c, VV_H2_WHY_MEMORY);
    }
}

static struct vv_h2_inner *find(struct vv_h2 *c, int32_t id)
{
    return nghttp2_session_get_stream_user_data(c->session, id);
}

/* ---- nghttp2's callbacks */

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct vv_h2 *c = user;
    struct vv_h2_inner *s;
    c->list_bytes = 0;
    if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
        s = vv_h2_stream_new(c, (uint32_t)frame->hd.stream_id);
        if (s == NULL) {
            return NGHTTP2_ERR_CALLBACK_FAILURE;
        }
        nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, s);
    } else {
        s = find(c, frame->hd.stream_id);
    }
    if (s == NULL || s->bad || c->dead) {
        vv_h2_head_drop(c);
        return 0;
    }
    return vv_h2_head_begin(c, s, s->final_head);
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_n, const uint8_t *value, size_t value_n, uint8_t flags, void *user)
{
    struct vv_h2 *c = user;
    (void)session;
    (void)frame;
    (void)flags;
    if (VV_UNLIKELY(c->dead)) {
        return 0;
    }
    return vv_h2_head_field(c, (struct vv_str){(const char *)name, name_n},
                            (struct vv_str){(const char *)value, value_n});
}

void vv_h2_peer_ended(struct vv_h2_inner *s)
{
    s->peer_ended = true;
    s->c->events->end(s->c->user, &s->pub);
}

static void end_of_data(struct vv_h2 *c, struct vv_h2_inner *s)
{
    if (s == NULL || s->bad || c->dead) {
        return;
    }
    if (s->has_length && s->body_in != s->content_length) {
        vv_h2_malformed(s, VV_H2_WHY_LENGTH_DIFFERS);
        return;
    }
    vv_h2_peer_ended(s);
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct vv_h2 *c = user;
    (void)session;
    const bool end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        vv_h2_head_end(c, end);
        break;
    case NGHTTP2_DATA:
        if (end) {
            end_of_data(c, find(c, frame->hd.stream_id));
        }
        break;
    case NGHTTP2_RST_STREAM: {
        struct vv_h2_inner *s = find(c, frame->hd.stream_id);
        if (s != NULL) {
            s->peer_reset = true;
        }
        break;
    }
    case NGHTTP2_PRIORITY_UPDATE:
        if (((const nghttp2_ext_priority_update *)frame->ext.payload)->stream_id == 0) {
            vv_h2_fail(c, VV_H2_WHY_CODE_PROTOCOL); /* RFC 9218 7.1 */
        }
        break;
    case NGHTTP2_PING:
        c->pings += (frame->hd.flags & NGHTTP2_FLAG_ACK) != 0;
        break;
    default:
        break;
    }
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                   size_t n, void *user)
{
    struct vv_h2 *c = user;
    struct vv_h2_inner *s = find(c, id);
    (void)flags;
    if (s != NULL && !s->bad && !c->dead) {
        s->body_in += n;
        if (!s->has_length || s->body_in <= s->content_length) {
            s->held += n;
            c->events->data(c->user, &s->pub, (struct vv_str){(const char *)data, n});
            return 0;
        }
        vv_h2_malformed(s, VV_H2_WHY_LENGTH_DIFFERS);
    }
    /* Nobody will take it, but the other streams must get their window back. */
    return nghttp2_session_consume_connection(session, n) == 0 ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

/* What closed() will say, and what the peer earns by a stream that went well. */
static void judge_close(struct vv_h2_inner *s, uint32_t code)
{
    struct vv_h2 *c = s->c;
    if (s->close_why != VV_H2_FINE) {
        return;
    }
    s->close_code = code;
    if (s->peer_reset && (code != VV_H2_NO_ERROR || !s->peer_ended)) {
        s->close_why = VV_H2_WHY_PEER_RESET;
        count(c, VV_H2_WHY_PEER_RESET);
    } else {
        s->close_why = (uint8_t)vv_h2_reason_of(code);
        if (code == VV_H2_NO_ERROR) {
            vv_h2_guard_well(&c->guard);
        }
    }
}

void vv_h2_finish_close(struct vv_h2_inner *s)
{
    struct vv_h2 *c = s->c;
    if (s->told) {
        c->streams_told--;
        c->events->closed(c->user, &s->pub, s->close_why, s->close_code);
    }
    vv_h2_stream_free(s);
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
    struct vv_h2 *c = user;
    struct vv_h2_inner *s = find(c, id);
    if (s == NULL) {
        return 0;
    }
    nghttp2_session_set_stream_user_data(session, id, NULL);
    if (c->now == s) {
        vv_h2_head_drop(c);
    }
    judge_close(s, code);
    if (s->held > 0 && nghttp2_session_consume_connection(session, s->held) != 0) {
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    s->held = 0;
    s->closed = true;
    if (s->in_gather + s->copied == 0) {
        vv_h2_finish_close(s); /* else after sent(): its content is being written */
    }
    return 0;
}

/* Our side of a stream has ended before the peer's: nothing it still sends is wanted, and without
 * this it would go on up to its window (RFC 9113 8.1). */
static int stop_the_rest(struct vv_h2 *c, int32_t id)
{
    struct vv_h2_inner *s = find(c, id);
    if (s == NULL || s->peer_ended || s->bad || s->tunnel || c->client) {
        return 0;
    }
    s->bad = true;
    return nghttp2_submit_rst_stream(c->session, NGHTTP2_FLAG_NONE, id, NGHTTP2_NO_ERROR);
}

static void reset_left(struct vv_h2 *c, const nghttp2_frame *frame)
{
    const struct vv_h2_inner *s = find(c, frame->hd.stream_id);
    const uint32_t code = frame->rst_stream.error_code;
    if (code == NGHTTP2_NO_ERROR || (s != NULL && s->close_why == VV_H2_WHY_CALLER)) {
        return;
    }
    if (s == NULL || s->close_why == VV_H2_FINE) {
        count(c, vv_h2_reason_of(code));
    }
    if (!vv_h2_guard_reset(&c->guard)) {
        vv_h2_fail(c, VV_H2_WHY_FLOOD_RESETS);
    }
}

static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct vv_h2 *c = user;
    (void)session;
    vv_h2_pool_counts(c->pool)->frames_out++;
    switch (frame->hd.type) {
    case NGHTTP2_DATA:
        vv_h2_guard_sent_data(&c->guard);
        /* fall through */
    case NGHTTP2_HEADERS:
        return (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0
                   ? stop_the_rest(c, frame->hd.stream_id)
                   : 0;
    case NGHTTP2_RST_STREAM:
        reset_left(c, frame);
        return 0;
    case NGHTTP2_GOAWAY:
        if (frame->goaway.error_code != NGHTTP2_NO_ERROR && !c->dead) {
            c->dead = true;
            c->why = (uint8_t)vv_h2_reason_of(frame->goaway.error_code);
            count(c, c->why);
        }
        return 0;
    default:
        return 0;
    }
}

/* ---- connections */

static nghttp2_session_callbacks *callbacks_new(void)
{
    nghttp2_session_callbacks *cb;
    if (nghttp2_session_callbacks_new(&cb) != 0) {
        return NULL;
    }
    nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_send);
    nghttp2_session_callbacks_set_send_data_callback(cb, vv_h2_send_body);
    return cb;
}

static nghttp2_option *options_new(const struct vv_h2_conf *conf)
{
    nghttp2_option *o;
    if (nghttp2_option_new(&o) != 0) {
        return NULL;
    }
    nghttp2_option_set_no_auto_window_update(o, 1);
    nghttp2_option_set_no_http_messaging(o, 1);
    nghttp2_option_set_no_closed_streams(o, 1);
    nghttp2_option_set_max_reserved_remote_streams(o, 0);
    nghttp2_option_set_max_deflate_dynamic_table_size(o, conf->table_bytes);
    nghttp2_option_set_builtin_recv_extension_type(o, NGHTTP2_PRIORITY_UPDATE);
    /* http2_guard.c sees these first, by our clock and with our reasons. Besides, this version
     * counts a CONTINUATION again with every read it is spread over, and would fail honest peers.
     * */
    nghttp2_option_set_stream_reset_rate_limit(o, UINT32_MAX, UINT32_MAX);
    nghttp2_option_set_max_continuations(o, SIZE_MAX);
    return o;
}

static int submit_settings(struct vv_h2 *c)
{
    nghttp2_settings_entry e[6];
    size_t n = 0;
    e[n++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE,
                                      c->conf->stream_window_bytes};
    e[n++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, c->conf->head_bytes};
    if (c->conf->table_bytes != 4096) {
        e[n++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, c->conf->table_bytes};
    }
    if (c->client) {
        e[n++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_ENABLE_PUSH, 0};
    } else {
        e[n++] =
            (nghttp2_settings_entry){NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, c->conf->streams_max};
        e[n++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1};
        if (c->conf->connect_protocol) {
            e[n++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1};
        }
    }
    if (nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, e, n) != 0) {
        return -1;
    }
    return nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0,
                                                 (int32_t)c->conf->connection_window_bytes);
}

static bool session_new(struct vv_h2 *c)
{
    nghttp2_session_callbacks *cb = callbacks_new();
    nghttp2_option *o = options_new(c->conf);
    nghttp2_mem mem;
    vv_h2_mem_hooks(c, &mem);
    int failed = cb == NULL || o == NULL;
    if (!failed) {
        failed = c->client ? nghttp2_session_client_new3(&c->session, cb, c, o, &mem)
                           : nghttp2_session_server_new3(&c->session, cb, c, o, &mem);
    }
    nghttp2_session_callbacks_del(cb);
    nghttp2_option_del(o);
    return !failed;
}

static struct vv_h2 *connection_new(struct vv_h2_pool *pool, const struct vv_h2_conf *conf,
                                    const struct vv_h2_events *events, void *user, bool client,
                                    uint64_t now_ns)
{
    VV_ASSERT(conf->fields <= VV_H1_FIELDS_MAX);
    struct vv_h2 *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return NULL;
    }
    c->pool = pool;
    c->conf = conf;
    c->events = events;
    c->user = user;
    c->client = client;
    vv_list_init(&c->streams);
    vv_list_init(&c->gathered);
    vv_h2_guard_init(&c->guard, conf, client, now_ns);
    if (!session_new(c)) {
        free(c);
        return NULL;
    }
    vv_h2_pool_counts(pool)->connections++;
    if (submit_settings(c) != 0) {
        vv_h2_free(c);
        return NULL;
    }
    return c;
}

struct vv_h2 *vv_h2_server_new(struct vv_h2_pool *pool, const struct vv_h2_conf *conf,
                               const struct vv_h2_events *events, void *user, uint64_t now_ns)
{
    return connection_new(pool, conf, events, user, false, now_ns);
}

struct vv_h2 *vv_h2_client_new(struct vv_h2_pool *pool, const struct vv_h2_conf *conf,
                               const struct vv_h2_events *events, void *user, uint64_t now_ns)
{
    return connection_new(pool, conf, events, user, true, now_ns);
}

void vv_h2_free(struct vv_h2 *c)
{
    if (c == NULL) {
        return;
    }
    VV_ASSERT(!c->busy);
    c->busy = c->dead = true;
    vv_h2_head_drop(c);
    while (!vv_list_empty(&c->streams)) {
        struct vv_h2_inner *s = VV_LIST_ENTRY(c->streams.next, struct vv_h2_inner, node);
        if (!s->closed) {
            nghttp2_session_set_stream_user_data(c->session, (int32_t)s->pub.id, NULL);
            if (s->close_why == VV_H2_FINE) {
                s->close_why = VV_H2_WHY_GONE;
                s->close_code = VV_H2_CANCEL;
                count(c, VV_H2_WHY_GONE);
            }
        }
        vv_h2_finish_close(s);
    }
    nghttp2_session_del(c->session);
    VV_ASSERT(c->memory == 0);
    free(c);
}

enum vv_err vv_h2_preface(struct vv_str bytes)
{
    const size_t n = vv_min_u64(bytes.n, VV_H2_PREFACE_BYTES);
    if (n > 0 && memcmp(bytes.p, NGHTTP2_CLIENT_MAGIC, n) != 0) {
        return VV_ESYNTAX;
    }
    return n == VV_H2_PREFACE_BYTES ? VV_OK : VV_EAGAIN;
}

static VV_COLD enum vv_h2_reason fatal_reason(const struct vv_h2 *c, ssize_t error)
{
    switch (error) {
    case NGHTTP2_ERR_BAD_CLIENT_MAGIC:
        return VV_H2_WHY_PREFACE;
    case NGHTTP2_ERR_FLOODED:
        return VV_H2_WHY_FLOOD_FRAMES;
    default:
        return c->memory_over ? VV_H2_WHY_MEMORY : VV_H2_WHY_CODE_INTERNAL;
    }
}

VV_HOT enum vv_err vv_h2_receive(struct vv_h2 *c, struct vv_str bytes, uint64_t now_ns)
{
    VV_ASSERT(!c->busy);
    if (VV_UNLIKELY(c->dead)) {
        return VV_ESYNTAX;
    }
    enum vv_h2_reason why;
    const size_t fine = vv_h2_guard_walk(c, bytes, now_ns, &why);
    c->busy = true;
    if (fine > 0) {
        const ssize_t n = nghttp2_session_mem_recv(c->session, (const uint8_t *)bytes.p, fine);
        if (VV_UNLIKELY(n < 0)) {
            vv_h2_fail(c, fatal_reason(c, n));
        }
    }
    if (VV_UNLIKELY(why != VV_H2_FINE)) {
        vv_h2_fail(c, why);
    }
    c->busy = false;
    return c->dead ? VV_ESYNTAX : VV_OK;
}

bool vv_h2_finished(const struct vv_h2 *c)
{
    return c->broken || (nghttp2_session_want_read(c->session) == 0 &&
                         nghttp2_session_want_write(c->session) == 0);
}

bool vv_h2_wants_output(const struct vv_h2 *c)
{
    return !c->broken &&
           (nghttp2_session_want_write(c->session) != 0 || !vv_list_empty(&c->gathered));
}

void vv_h2_drain(struct vv_h2 *c)
{
    if (c->dead || c->drained) {
        return;
    }
    if (!c->drain_announced && !c->client) {
        c->drain_announced = true;
        (void)nghttp2_submit_shutdown_notice(c->session);
        return;
    }
    c->drained = true;
    (void)nghttp2_submit_goaway(c->session, NGHTTP2_FLAG_NONE,
                                nghttp2_session_get_last_proc_stream_id(c->session),
                                NGHTTP2_NO_ERROR, NULL, 0);
}

void vv_h2_abort(struct vv_h2 *c, enum vv_h2_code code)
{
    if (!c->dead) {
        c->dead = true;
        (void)nghttp2_session_terminate_session(c->session, (uint32_t)code);
    }
}

bool vv_h2_ping(struct vv_h2 *c)
{
    return nghttp2_submit_ping(c->session, NGHTTP2_FLAG_NONE, NULL) == 0;
}

uint64_t vv_h2_pings_answered(const struct vv_h2 *c)
{
    return c->pings;
}

enum vv_h2_reason vv_h2_why(const struct vv_h2 *c)
{
    return c->why;
}

uint32_t vv_h2_streams(const struct vv_h2 *c)
{
    return c->streams_told;
}

size_t vv_h2_memory(const struct vv_h2 *c)
{
    return c->memory + sizeof *c;
}

bool vv_h2_can_open(const struct vv_h2 *c)
{
    return c->client && !c->dead && !c->drained &&
           nghttp2_session_check_request_allowed(c->session) != 0 &&
           c->streams_told < nghttp2_session_get_remote_settings(
                                 c->session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
}
