/* src/wire/http2.c - one HTTP/2 connection: how it begins, and how streams and connections end.
 *
 * Every early end passes one of three doors: vv_h2_malformed() for a stream, vv_h2_refuse() for one
 * that never began, vv_h2_fail() for the connection. So each is counted once, and each stream reset
 * by the peer's fault costs it a token (CVE-2025-8671: making the server reset is as cheap for an
 * attacker as resetting). The caller hears closed() only between frames, never within a function it
 * has called, so that a stream in its hands stays one. */
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

const char vv_h2_magic[VV_H2_PREFACE_BYTES + 1] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

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

void vv_h2_count(struct vv_h2 *c, enum vv_h2_reason why)
{
    vv_h2_pool_counts(c->pool)->reason[why]++;
}

/* The last GOAWAY needs no memory: failing always works. */
static void say_last(struct vv_h2 *c, uint32_t code)
{
    uint8_t *p = vv_h2_set_header(c->last_word, 8, VV_H2_T_GOAWAY, 0, 0);
    p = vv_h2_set32(p, c->drained ? c->drained_id : c->last_id);
    vv_h2_set32(p, code);
    c->last_word_left = sizeof c->last_word;
    vv_h2_pool_counts(c->pool)->frames_out++;
    c->dead = true;
}

VV_COLD void vv_h2_fail(struct vv_h2 *c, enum vv_h2_reason why)
{
    if (!c->dead) {
        c->why = (uint8_t)why;
        vv_h2_count(c, why);
        say_last(c, vv_h2_reasons[why].code);
    }
}

static void put_reset(struct vv_h2 *c, uint32_t id, uint32_t code)
{
    uint8_t payload[4];
    vv_h2_set32(payload, code);
    vv_h2_past_reset(c, id);
    vv_h2_put_frame(c, VV_H2_T_RST_STREAM, 0, id, payload, sizeof payload);
}

VV_COLD void vv_h2_refuse(struct vv_h2 *c, uint32_t id, enum vv_h2_reason why, enum vv_h2_code code)
{
    vv_h2_count(c, why);
    put_reset(c, id, (uint32_t)code);
    if (!vv_h2_guard_reset(&c->guard)) {
        vv_h2_fail(c, VV_H2_WHY_FLOOD_RESETS);
    }
}

VV_COLD void vv_h2_malformed(struct vv_h2_inner *s, enum vv_h2_reason why)
{
    if (s->bad || s->closed) {
        return;
    }
    s->bad = true;
    s->close_why = (uint8_t)why;
    s->close_code = vv_h2_reasons[why].code;
    vv_h2_refuse(s->c, s->pub.id, why, vv_h2_reasons[why].code);
    vv_h2_leave(s, false);
}

void vv_h2_reset(struct vv_h2_stream *stream, enum vv_h2_code code)
{
    struct vv_h2_inner *s = vv_h2_inner_of(stream);
    if (s->closed || s->bad) {
        return;
    }
    s->bad = true;
    s->close_why = VV_H2_WHY_CALLER;
    s->close_code = (uint32_t)code;
    vv_h2_count(s->c, VV_H2_WHY_CALLER);
    put_reset(s->c, s->pub.id, (uint32_t)code);
    vv_h2_leave(s, false);
}

/* ---- ends of streams */

void vv_h2_leave(struct vv_h2_inner *s, bool now)
{
    if (s->closed) {
        return;
    }
    vv_h2_unready(s);
    vv_list_del(&s->leave);
    vv_list_push_back(now ? &s->c->dying : &s->c->leaving, &s->leave);
}

void vv_h2_peer_ended(struct vv_h2_inner *s)
{
    s->peer_ended = true;
    s->c->events->end(s->c->user, &s->pub);
    vv_h2_both_ended(s);
}

void vv_h2_both_ended(struct vv_h2_inner *s)
{
    if (s->ended && s->peer_ended && !s->bad) {
        vv_h2_leave(s, s->c->out.n == 0); /* our end may still be in there */
    }
}

/* When ours is the first end, nothing the peer still sends is wanted, and without a word it would
 * go on up to its window (RFC 9113 8.1). */
void vv_h2_we_ended(struct vv_h2_inner *s)
{
    s->ended = true;
    if (s->peer_ended) {
        vv_h2_leave(s, false);
    } else if (!s->c->client && !s->tunnel) {
        s->bad = true;
        put_reset(s->c, s->pub.id, VV_H2_NO_ERROR);
        vv_h2_leave(s, false);
    }
}

/* What closed() will say, and what the peer earns by a stream that went well. */
static void judge_close(struct vv_h2_inner *s)
{
    struct vv_h2 *c = s->c;
    if (s->close_why != VV_H2_FINE) {
        return;
    }
    /* A server may end so what it has answered in full; a client that does gives up as by any code. */
    const bool well = c->client && s->peer_ended && s->close_code == VV_H2_NO_ERROR;
    if (s->peer_reset && !well) {
        s->close_why = VV_H2_WHY_PEER_RESET;
        vv_h2_count(c, VV_H2_WHY_PEER_RESET);
    } else {
        vv_h2_guard_well(&c->guard);
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

void vv_h2_reap(struct vv_h2 *c)
{
    while (!vv_list_empty(&c->dying)) {
        struct vv_h2_inner *s = VV_LIST_ENTRY(c->dying.next, struct vv_h2_inner, leave);
        vv_list_del(&s->leave);
        vv_h2_forget(s);
        s->closed = true;
        c->streams_in -= !c->client;
        judge_close(s);
        if (s->held > 0) {
            vv_h2_give(c, NULL, s->held);
            s->held = 0;
        }
        if (s->in_gather + s->copied == 0) {
            vv_h2_finish_close(s); /* else after sent(): its content is being written */
        }
    }
}

/* ---- connections */

static void put_settings(struct vv_h2 *c)
{
    const struct vv_h2_conf *conf = c->conf;
    const struct {
        uint16_t id;
        bool wanted;
        uint32_t value;
    } all[] = {
        {VV_H2_S_WINDOW, true, conf->stream_window_bytes},
        {VV_H2_S_HEAD_BYTES, true, conf->head_bytes},
        {VV_H2_S_TABLE_SIZE, conf->table_bytes != 4096, conf->table_bytes},
        {VV_H2_S_ENABLE_PUSH, c->client, 0},
        {VV_H2_S_STREAMS_MAX, !c->client, conf->streams_max},
        {VV_H2_S_NO_TREE, !c->client, 1},
        {VV_H2_S_CONNECT_PROTOCOL, !c->client && conf->connect_protocol, 1},
    };
    uint8_t payload[6 * VV_COUNT(all)], *p = payload;
    for (size_t i = 0; i < VV_COUNT(all); i++) {
        if (all[i].wanted) {
            *p++ = 0;
            *p++ = (uint8_t)all[i].id;
            p = vv_h2_set32(p, all[i].value);
        }
    }
    vv_h2_put_frame(c, VV_H2_T_SETTINGS, 0, 0, payload, (size_t)(p - payload));
    c->settings_open++;
    if (conf->connection_window_bytes > VV_H2_WINDOW_FIRST) {
        vv_h2_set32(payload, conf->connection_window_bytes - VV_H2_WINDOW_FIRST);
        vv_h2_put_frame(c, VV_H2_T_WINDOW_UPDATE, 0, 0, payload, 4);
    }
}

static void *hpack_alloc(void *user, size_t bytes)
{
    return vv_h2_alloc(user, bytes);
}

static void hpack_dealloc(void *user, void *p)
{
    vv_h2_dealloc(user, p);
}

/* Before SETTINGS are known to the peer it may fill the windows that HTTP/2 begins with. */
static uint32_t at_first(uint32_t wanted, uint32_t first)
{
    return wanted > first ? wanted : first;
}

static void connection_init(struct vv_h2 *c, uint64_t now_ns)
{
    vv_list_init(&c->streams);
    vv_list_init(&c->gathered);
    vv_list_init(&c->leaving);
    vv_list_init(&c->dying);
    for (unsigned u = 0; u < VV_H2_URGENCIES; u++) {
        vv_list_init(&c->ready[u][0]);
        vv_list_init(&c->ready[u][1]);
    }
    c->preface_left = c->client ? 0 : VV_H2_PREFACE_BYTES;
    c->next_id = c->client ? 1 : 2;
    c->peer_streams_max = 100; /* until the server says more: RFC 9113 6.5.2 advises no less */
    c->send_window = c->send_first = VV_H2_WINDOW_FIRST;
    c->recv_window = at_first(c->conf->connection_window_bytes, VV_H2_WINDOW_FIRST);
    c->recv_first = at_first(c->conf->stream_window_bytes, VV_H2_WINDOW_FIRST);
    c->hpack_memory =
        (struct vv_hpack_memory){.alloc = hpack_alloc, .dealloc = hpack_dealloc, .user = c};
    vv_hpack_in_init(&c->hpack_in, &c->hpack_memory, at_first(c->conf->table_bytes, 4096));
    vv_hpack_out_init(&c->hpack_out, &c->hpack_memory, c->conf->table_bytes);
    vv_h2_guard_init(&c->guard, c->conf, now_ns);
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
    connection_init(c, now_ns);
    vv_h2_pool_counts(pool)->connections++;
    if (client) {
        uint8_t *p = vv_h2_buffer_room(c, &c->out, VV_H2_PREFACE_BYTES);
        if (p != NULL) {
            memcpy(p, vv_h2_magic, VV_H2_PREFACE_BYTES);
            c->out.n += VV_H2_PREFACE_BYTES;
        }
    }
    put_settings(c);
    if (c->dead) {
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
    while (!vv_list_empty(&c->streams)) {
        struct vv_h2_inner *s = VV_LIST_ENTRY(c->streams.next, struct vv_h2_inner, node);
        vv_h2_unready(s);
        if (!s->closed && s->close_why == VV_H2_FINE) {
            s->close_why = VV_H2_WHY_GONE;
            s->close_code = VV_H2_CANCEL;
            vv_h2_count(c, VV_H2_WHY_GONE);
        }
        vv_h2_finish_close(s);
    }
    vv_hpack_in_fini(&c->hpack_in);
    vv_hpack_out_fini(&c->hpack_out);
    vv_h2_dealloc(c, c->memo);
    vv_h2_buffer_free(c, &c->kept);
    vv_h2_buffer_free(c, &c->block);
    vv_h2_buffer_free(c, &c->out);
    vv_h2_buffer_free(c, &c->flight);
    VV_ASSERT(c->memory == 0);
    free(c);
}

enum vv_err vv_h2_preface(struct vv_str bytes)
{
    const size_t n = vv_min_u64(bytes.n, VV_H2_PREFACE_BYTES);
    if (n > 0 && memcmp(bytes.p, vv_h2_magic, n) != 0) {
        return VV_ESYNTAX;
    }
    return n == VV_H2_PREFACE_BYTES ? VV_OK : VV_EAGAIN;
}

VV_HOT enum vv_err vv_h2_receive(struct vv_h2 *c, struct vv_str bytes, uint64_t now_ns)
{
    VV_ASSERT(!c->busy);
    if (VV_UNLIKELY(c->dead)) {
        return VV_ESYNTAX;
    }
    const uint8_t *p = (const uint8_t *)bytes.p;
    const uint8_t *end = p + bytes.n;
    c->busy = true;
    vv_h2_guard_time(&c->guard, now_ns);
    if (VV_UNLIKELY(c->preface_left > 0)) {
        const size_t n = vv_min_u64(bytes.n, c->preface_left);
        if (n > 0 && memcmp(p, vv_h2_magic + VV_H2_PREFACE_BYTES - c->preface_left, n) != 0) {
            vv_h2_fail(c, VV_H2_WHY_PREFACE);
        }
        c->preface_left = (uint8_t)(c->preface_left - n);
        p += n;
    }
    vv_h2_frames(c, p, end);
    c->busy = false;
    return c->dead ? VV_ESYNTAX : VV_OK;
}

bool vv_h2_wants_output(const struct vv_h2 *c)
{
    if (c->out.n > 0 || c->last_word_left > 0 || !vv_list_empty(&c->gathered)) {
        return true;
    }
    return !c->dead && (!vv_list_empty(&c->leaving) || !vv_list_empty(&c->dying) ||
                        (c->ready_count > 0 && c->send_window > 0));
}

bool vv_h2_finished(const struct vv_h2 *c)
{
    if (vv_h2_wants_output(c)) {
        return false;
    }
    return c->dead || ((c->drained || c->peer_goes) && vv_list_empty(&c->streams));
}

static void put_goaway(struct vv_h2 *c, uint32_t last)
{
    uint8_t payload[8], *p = vv_h2_set32(payload, last);
    vv_h2_set32(p, VV_H2_NO_ERROR);
    vv_h2_put_frame(c, VV_H2_T_GOAWAY, 0, 0, payload, sizeof payload);
}

void vv_h2_drain(struct vv_h2 *c)
{
    if (c->dead || c->drained) {
        return;
    }
    if (!c->drain_announced && !c->client) {
        c->drain_announced = true;
        put_goaway(c, VV_H2_ID_MAX);
        return;
    }
    c->drained = true;
    c->drained_id = c->last_id;
    put_goaway(c, c->drained_id);
}

void vv_h2_abort(struct vv_h2 *c, enum vv_h2_code code)
{
    if (!c->dead) {
        say_last(c, (uint32_t)code);
    }
}

bool vv_h2_ping(struct vv_h2 *c)
{
    static const uint8_t payload[8];
    vv_h2_put_frame(c, VV_H2_T_PING, 0, 0, payload, sizeof payload);
    return !c->dead;
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
    return c->client && !c->dead && !c->drained && !c->peer_goes && c->next_id <= VV_H2_ID_MAX &&
           c->streams_told < c->peer_streams_max;
}

uint32_t vv_h2_streams_allowed(const struct vv_h2 *c)
{
    return c->peer_streams_max;
}
