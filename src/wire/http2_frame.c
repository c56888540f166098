/* src/wire/http2_frame.c - frames that come in: their form, and what they do to streams.
 *
 * A frame is judged from its header as far as it can be, so a peer gets the same verdict however
 * its bytes are cut. What cannot be known any more (which streams have closed) is taken as late and
 * ignored where the RFC allows it. */
#include "wire/http2_int.h"

enum mode { HEADER, CONTENT, WHOLE, SKIP };

/* ---- heads */

static bool idle(const struct vv_h2 *c, uint32_t id)
{
    const bool ours = (id & 1) == (c->client ? 1 : 0);
    return ours ? id >= c->next_id : id > (c->client ? c->promised_id : c->last_id);
}

/* ---- numbers that were */

static uint32_t past_bit(uint32_t id)
{
    return (id >> 1) % VV_H2_PAST;
}

static bool get_bit(const uint64_t *bits, uint32_t i)
{
    return (bits[i / 64] >> (i % 64) & 1) != 0;
}

static void put_bit(uint64_t *bits, uint32_t i, bool on)
{
    const uint64_t bit = UINT64_C(1) << (i % 64);
    bits[i / 64] = on ? bits[i / 64] | bit : bits[i / 64] & ~bit;
}

static bool remembered(const struct vv_h2 *c, uint32_t id)
{
    return (id & 1) == 1 && id <= c->last_id && (c->last_id >> 1) - (id >> 1) < VV_H2_PAST;
}

void vv_h2_past_reset(struct vv_h2 *c, uint32_t id)
{
    if (remembered(c, id)) {
        put_bit(c->past_reset, past_bit(id), true);
    }
}

/* Takes the next number; what was left out is closed (RFC 9113 5.1.1). */
static void take_number(struct vv_h2 *c, uint32_t id)
{
    uint32_t left_out = (id >> 1) - (c->last_id >> 1); /* with this one */
    left_out = c->last_id == 0 ? (id >> 1) + 1 : left_out;
    for (uint32_t i = 0; i < left_out && i < VV_H2_PAST; i++) {
        put_bit(c->past_open, past_bit(id - 2 * i), i == 0);
        put_bit(c->past_reset, past_bit(id - 2 * i), false);
    }
    c->last_id = id;
}

/* A head on a number that was. Some are late, for what a reset has crossed; others say that the peer
 * has lost count. What is too long ago is taken as late. */
static enum vv_h2_reason judge_past(const struct vv_h2 *c, uint32_t id)
{
    if (c->client || !remembered(c, id) || get_bit(c->past_reset, past_bit(id))) {
        return VV_H2_FINE;
    }
    return get_bit(c->past_open, past_bit(id)) ? VV_H2_WHY_CODE_STREAM_CLOSED
                                               : VV_H2_WHY_CODE_PROTOCOL;
}

/* The peer's next stream. *ret is NULL when it is not wanted; false: the connection has failed. */
static bool open_stream(struct vv_h2 *c, uint32_t id, struct vv_h2_inner **ret)
{
    take_number(c, id);
    if (c->drained) {
        vv_h2_past_reset(c, id);
        return true; /* told in our GOAWAY: it can be asked again elsewhere */
    }
    if (c->streams_in >= c->conf->streams_max) {
        if (c->settings_open == 0) { /* it knows the limit */
            vv_h2_fail(c, VV_H2_WHY_CODE_PROTOCOL);
            return false;
        }
        vv_h2_refuse(c, id, VV_H2_WHY_CODE_REFUSED, VV_H2_REFUSED_STREAM);
        return !c->dead;
    }
    *ret = vv_h2_stream_new(c, id);
    if (*ret == NULL) {
        vv_h2_fail(c, VV_H2_WHY_MEMORY);
        return false;
    }
    c->streams_in++;
    for (unsigned i = 0; i < VV_H2_EARLY; i++) {
        if (c->early[i].id == id) {
            (*ret)->urgency = c->early[i].urgency;
            (*ret)->incremental = c->early[i].incremental;
            (*ret)->priority_told = true;
        }
    }
    return true;
}

static bool stream_of_head(struct vv_h2 *c, uint32_t id, struct vv_h2_inner **ret)
{
    struct vv_h2_inner *s = vv_h2_find(c, id);
    *ret = NULL;
    if (s != NULL) {
        if (s->bad) {
            return true;
        }
        if (s->peer_ended) {
            vv_h2_fail(c, VV_H2_WHY_CODE_STREAM_CLOSED);
            return false;
        }
        *ret = s;
        return true;
    }
    if (!idle(c, id)) {
        const enum vv_h2_reason why = judge_past(c, id);
        if (why != VV_H2_FINE) {
            vv_h2_fail(c, why);
        }
        return !c->dead;
    }
    if (c->client || (id & 1) == 0) {
        vv_h2_fail(c, VV_H2_WHY_CODE_PROTOCOL);
        return false;
    }
    return open_stream(c, id, ret);
}

static void decode(struct vv_h2 *c, struct vv_h2_inner *s, bool end_stream, const uint8_t *p,
                   const uint8_t *end)
{
    struct vv_h1_head head;
    struct vv_h2_block b;
    struct vv_hpack_field f;
    enum vv_err err;
    vv_h2_head_begin(&b, s, &head);
    vv_hpack_in_begin(&c->hpack_in);
    while ((err = vv_hpack_in_next(&c->hpack_in, &p, end, &f)) == VV_OK && !c->dead) {
        vv_h2_head_field(c, &b, &f);
    }
    vv_hpack_in_end(&c->hpack_in);
    if (VV_UNLIKELY(err == VV_ESYNTAX)) {
        vv_h2_fail(c, VV_H2_WHY_CODE_COMPRESSION);
    } else if (VV_UNLIKELY(err == VV_ENOMEM)) {
        vv_h2_fail(c, VV_H2_WHY_MEMORY);
    } else if (s != NULL && !s->bad && !c->dead) {
        vv_h2_head_end(c, &b, end_stream);
    }
}

/* A head that nobody hears is decoded all the same, so a client pays for it. Late answers of a server are the
 * fault of our own resets. */
static void book_head(struct vv_h2 *c, const struct vv_h2_inner *s)
{
    if (s != NULL || c->client) {
        vv_h2_guard_head(&c->guard);
    } else if (!c->dead && !vv_h2_guard_late(&c->guard)) {
        vv_h2_fail(c, VV_H2_WHY_FLOOD_FRAMES);
    }
}

/* A whole block: of a head, of trailers, or of a push that is turned down. */
static void head_whole(struct vv_h2 *c, uint32_t id, unsigned flags, const uint8_t *p,
                       const uint8_t *end)
{
    struct vv_h2_inner *s = NULL;
    if (c->block_promised != 0) {
        vv_h2_refuse(c, c->block_promised, VV_H2_WHY_CODE_OTHER, VV_H2_CANCEL);
        c->block_promised = 0;
    } else if (!stream_of_head(c, id, &s)) {
        return;
    } else {
        book_head(c, s);
    }
    if (!c->dead) {
        decode(c, s, (flags & VV_H2_F_END_STREAM) != 0, p, end);
    }
}

static void add_fragment(struct vv_h2 *c, const uint8_t *p, const uint8_t *end)
{
    const size_t n = (size_t)(end - p);
    if (n == 0) {
        return;
    }
    uint8_t *to = vv_h2_buffer_room(c, &c->block, n);
    if (to == NULL) {
        vv_h2_fail(c, VV_H2_WHY_MEMORY);
        return;
    }
    memcpy(to, p, n);
    c->block.n += n;
}

static void first_fragment(struct vv_h2 *c, const uint8_t *p, const uint8_t *end)
{
    if ((c->in.flags & VV_H2_F_END_HEADERS) != 0) {
        head_whole(c, c->in.id, c->in.flags, p, end);
        return;
    }
    c->block_id = c->in.id;
    c->block_flags = c->in.flags;
    add_fragment(c, p, end);
}

/* Takes the padding off; false: malformed. */
static bool unpad(struct vv_h2 *c, const uint8_t **p, const uint8_t **end)
{
    if ((c->in.flags & VV_H2_F_PADDED) == 0) {
        return true;
    }
    if (*p == *end || **p > *end - *p - 1) {
        vv_h2_fail(c, VV_H2_WHY_CODE_PROTOCOL);
        return false;
    }
    *end -= **p;
    (*p)++;
    return true;
}

static void on_headers(struct vv_h2 *c, const uint8_t *p, const uint8_t *end)
{
    if (!unpad(c, &p, &end)) {
        return;
    }
    if ((c->in.flags & VV_H2_F_PRIORITY) != 0) {
        if (end - p < 5) {
            vv_h2_fail(c, VV_H2_WHY_CODE_FRAME_SIZE);
            return;
        }
        if ((vv_h2_get32(p) & VV_H2_ID_MAX) == c->in.id) {
            vv_h2_fail(c, VV_H2_WHY_CODE_PROTOCOL);
            return;
        }
        p += 5;
    }
    first_fragment(c, p, end);
}

static void on_continuation(struct vv_h2 *c, const uint8_t *p, const uint8_t *end)
{
    add_fragment(c, p, end);
    if (!c->dead && (c->in.flags & VV_H2_F_END_HEADERS) != 0) {
        const uint32_t id = c->block_id;
        c->block_id = 0;
        const uint8_t *block = c->block.n > 0 ? c->block.p : p; /* all of it may be empty */
        head_whole(c, id, c->block_flags, block, block + c->block.n);
        vv_h2_buffer_free(c, &c->block);
    }
}

/* We have switched it off, but a server may not know yet (RFC 9113 8.4). */
static void on_push_promise(struct vv_h2 *c, const uint8_t *p, const uint8_t *end)
{
    if (!c->client || c->settings_open == 0 || !unpad(c, &p, &end) || end - p < 4) {
        vv_h2_fail(c, VV_H2_WHY_CODE_PROTOCOL);
        return;
    }
    const uint32_t id = vv_h2_get32(p) & VV_H2_ID_MAX;
    if ((id & 1) != 0 || id <= c->promised_id || idle(c, c->in.id)) {
        vv_h2_fail(c, VV_H2_WHY_CODE_PROTOCOL);
        return;
    }
    c->promised_id = c->block_promised = id;
    first_fragment(c, p + 4, end);
}

/* ---- what concerns streams */

static void on_reset(struct vv_h2 *c, const uint8_t *p)
{
    struct vv_h2_inner *s = vv_h2_find(c, c->in.id);
    if (s == NULL) {
        if (idle(c, c->in.id)) {
            vv_h2_fail(c, VV_H2_WHY_CODE_PROTOCOL);
        }
        return;
    }
    s->peer_reset = true;
    vv_h2_past_reset(c, c->in.id);
    if (s->close_why == VV_H2_FINE) {
        s->close_code = vv_h2_get32(p);
    }
    vv_h2_leave(s, true);
}

static bool grow_window(int64_t *window, int64_t by)
{
    *window += by;
    return *window <= VV_H2_WINDOW_MAX;
}

static void grow_stream(struct vv_h2_inner *s, int64_t by)
{
    if (!grow_window(&s->send_window, by)) {
        vv_h2_malformed(s, VV_H2_WHY_CODE_FLOW_CONTROL);
    } else if (by > 0) {
        vv_h2_ready(s);
    } else if (s->send_window <= 0) {
        vv_h2_unready(s);
    }
}

static void on_window(struct vv_h2 *c, const uint8_t *p)
{
    const uint32_t by = vv_h2_get32(p) & VV_H2_ID_MAX;
    struct vv_h2_inner *s = c->in.id != 0 ? vv_h2_find(c, c->in.id) : NULL;
    if (by == 0 || (s == NULL && c->in.id != 0 && idle(c, c->in.id))) {
        vv_h2_fail(c, VV_H2_WHY_CODE_PROTOCOL);
    } else if (c->in.id == 0) {
        if (!grow_window(&c->send_window, by)) {
            vv_h2_fail(c, VV_H2_WHY_CODE_FLOW_CONTROL);
        }
    } else if (s != NULL && !s->bad) {
        grow_stream(s, by);
    }
}

static void on_priority_update(struct vv_h2 *c, const uint8_t *p, const uint8_t *end)
{
    const uint32_t id = vv_h2_get32(p) & VV_H2_ID_MAX;
    if (c->client || (id & 1) == 0) { /* RFC 9218 7.1; 0 and pushes, too */
        vv_h2_fail(c, VV_H2_WHY_CODE_PROTOCOL);
        return;
    }
    const struct vv_str value = {(const char *)p + 4, (size_t)(end - p - 4)};
    uint8_t urgency = 3;
    bool incremental = false;
    (void)vv_h2_take_priority(value, &urgency, &incremental);
    struct vv_h2_inner *s = vv_h2_find(c, id);
    if (s != NULL) {
        if (!s->priority_ours) {
            s->priority_told = true;
            vv_h2_set_priority(s, urgency, incremental);
        }
    } else if (idle(c, id)) {
        c->early[c->early_at].id = id;
        c->early[c->early_at].urgency = urgency;
        c->early[c->early_at].incremental = incremental;
        c->early_at = (uint8_t)((c->early_at + 1) % VV_H2_EARLY);
    }
}

/* ---- what concerns the connection */

static enum vv_h2_reason change_windows(struct vv_h2 *c, uint32_t first)
{
    const int64_t by = (int64_t)first - c->send_first;
    c->send_first = first;
    VV_LIST_EACH (it, &c->streams) {
        struct vv_h2_inner *s = VV_LIST_ENTRY(it, struct vv_h2_inner, node);
        if (s->bad || s->closed || by == 0) {
            continue;
        }
        if (s->send_window + by > VV_H2_WINDOW_MAX) { /* RFC 9113 6.9.2: of all, not of one */
            return VV_H2_WHY_CODE_FLOW_CONTROL;
        }
        grow_stream(s, by);
    }
    return VV_H2_FINE;
}

static enum vv_h2_reason take_setting(struct vv_h2 *c, unsigned id, uint32_t v)
{
    switch (id) {
    case VV_H2_S_TABLE_SIZE:
        vv_hpack_out_limit(&c->hpack_out, v);
        return VV_H2_FINE;
    case VV_H2_S_ENABLE_PUSH:
        return v > (c->client ? 0U : 1U) ? VV_H2_WHY_CODE_PROTOCOL : VV_H2_FINE;
    case VV_H2_S_STREAMS_MAX:
        c->peer_streams_max = v;
        return VV_H2_FINE;
    case VV_H2_S_WINDOW:
        if (v > VV_H2_WINDOW_MAX) {
            return VV_H2_WHY_CODE_FLOW_CONTROL;
        }
        return change_windows(c, v);
    case VV_H2_S_FRAME_BYTES:
        return v < VV_H2_FRAME_BYTES || v > 0xffffff ? VV_H2_WHY_CODE_PROTOCOL : VV_H2_FINE;
    case VV_H2_S_CONNECT_PROTOCOL:
    case VV_H2_S_NO_TREE:
        return v > 1 ? VV_H2_WHY_CODE_PROTOCOL : VV_H2_FINE;
    default:
        return VV_H2_FINE;
    }
}

/* The peer knows our settings now. Only smaller windows make a difference: they were larger until
 * now, for what was on its way. */
static void settings_known(struct vv_h2 *c)
{
    if (c->settings_open == 0) {
        vv_h2_fail(c, VV_H2_WHY_CODE_PROTOCOL);
        return;
    }
    c->settings_open--;
    vv_hpack_in_limit(&c->hpack_in, c->conf->table_bytes);
    const int64_t by = (int64_t)c->conf->stream_window_bytes - c->recv_first;
    c->recv_first += by;
    VV_LIST_EACH (it, &c->streams) {
        VV_LIST_ENTRY(it, struct vv_h2_inner, node)->recv_window += by;
    }
}

static void on_settings(struct vv_h2 *c, const uint8_t *p, const uint8_t *end)
{
    if ((c->in.flags & VV_H2_F_ACK) != 0) {
        settings_known(c);
        return;
    }
    if (!c->settings_seen) {
        c->settings_seen = true;
        c->peer_streams_max = UINT32_MAX;
    }
    for (; p < end && !c->dead; p += 6) {
        const enum vv_h2_reason why =
            take_setting(c, (unsigned)p[0] << 8 | p[1], vv_h2_get32(p + 2));
        if (why != VV_H2_FINE) {
            vv_h2_fail(c, why);
        }
    }
    vv_h2_put_frame(c, VV_H2_T_SETTINGS, VV_H2_F_ACK, 0, NULL, 0);
}

static void on_goaway(struct vv_h2 *c, const uint8_t *p)
{
    const uint32_t last = vv_h2_get32(p) & VV_H2_ID_MAX;
    c->peer_goes = true;
    if (!c->client) {
        return;
    }
    VV_LIST_EACH (it, &c->streams) {
        struct vv_h2_inner *s = VV_LIST_ENTRY(it, struct vv_h2_inner, node);
        if (s->pub.id > last && s->close_why == VV_H2_FINE && !s->closed) {
            s->bad = true;
            s->close_why = VV_H2_WHY_CODE_REFUSED;
            s->close_code = VV_H2_REFUSED_STREAM; /* RFC 9113 8.7: nothing was done */
            vv_h2_leave(s, true);
        }
    }
}

/* ---- content */

static void begin_data(struct vv_h2 *c)
{
    struct vv_h2_inner *s = vv_h2_find(c, c->in.id);
    if (s == NULL && idle(c, c->in.id)) {
        vv_h2_fail(c, VV_H2_WHY_CODE_PROTOCOL);
        return;
    }
    if (s != NULL && !s->bad && (s->peer_ended || !s->final_head)) {
        vv_h2_fail(c, s->peer_ended ? VV_H2_WHY_CODE_STREAM_CLOSED : VV_H2_WHY_CODE_PROTOCOL);
        return;
    }
    if ((c->in.flags & VV_H2_F_PADDED) != 0 && c->in.length == 0) {
        vv_h2_fail(c, VV_H2_WHY_CODE_PROTOCOL);
        return;
    }
    c->recv_window -= c->in.length;
    if (c->recv_window < 0) {
        vv_h2_fail(c, VV_H2_WHY_CODE_FLOW_CONTROL);
        return;
    }
    if (s != NULL && !s->bad) {
        s->recv_window -= c->in.length;
        if (s->recv_window < 0) {
            vv_h2_malformed(s, VV_H2_WHY_CODE_FLOW_CONTROL);
        }
    }
}

static void end_of_data(struct vv_h2_inner *s)
{
    if (s->has_length && s->body_in != s->content_length) {
        vv_h2_malformed(s, VV_H2_WHY_LENGTH_DIFFERS);
        return;
    }
    vv_h2_peer_ended(s);
}

static void some_data(struct vv_h2 *c, struct vv_h2_inner *s, const uint8_t *p, size_t n)
{
    if (s != NULL) {
        s->body_in += n;
        if (!s->has_length || s->body_in <= s->content_length) {
            s->held += n;
            c->events->data(c->user, &s->pub, (struct vv_str){(const char *)p, n});
            return;
        }
        vv_h2_malformed(s, VV_H2_WHY_LENGTH_DIFFERS);
    }
    vv_h2_give(c, NULL, n); /* nobody will take it, but the others must get their window back */
}

/* The stream is looked up for each piece: it may go in between. */
static struct vv_h2_inner *data_stream(const struct vv_h2 *c)
{
    struct vv_h2_inner *s = vv_h2_find(c, c->in.id);
    return s != NULL && !s->bad ? s : NULL;
}

static const uint8_t *take_data(struct vv_h2 *c, const uint8_t *p, const uint8_t *end)
{
    struct vv_h2_frame *f = &c->in;
    if ((f->flags & VV_H2_F_PADDED) != 0 && !f->pad_told && p < end) {
        f->pad = *p++;
        f->left--;
        f->pad_told = true;
        if (f->pad > f->left) {
            vv_h2_fail(c, VV_H2_WHY_CODE_PROTOCOL);
            return p;
        }
        vv_h2_give(c, data_stream(c), f->pad + 1U);
    }
    const size_t here = vv_min_u64((size_t)(end - p), f->left);
    const size_t content = vv_min_u64(here, f->left - f->pad);
    if (content > 0) {
        some_data(c, data_stream(c), p, content);
    }
    f->left -= (uint32_t)here;
    if (f->left < f->pad) {
        f->pad = (uint8_t)f->left;
    }
    if (f->left == 0 && (f->flags & VV_H2_F_END_STREAM) != 0 && !c->dead) {
        struct vv_h2_inner *s = data_stream(c);
        if (s != NULL) {
            end_of_data(s);
        }
    }
    return p + here;
}

/* ---- frames */

static const struct {
    enum mode mode;
    bool stream, connection; /* where it may be */
    uint16_t least, most;    /* length */
} forms[] = {
    [VV_H2_T_DATA] = {CONTENT, true, false, 0, VV_H2_FRAME_BYTES},
    [VV_H2_T_HEADERS] = {WHOLE, true, false, 0, VV_H2_FRAME_BYTES},
    [VV_H2_T_PRIORITY] = {SKIP, true, false, 5, 5},
    [VV_H2_T_RST_STREAM] = {WHOLE, true, false, 4, 4},
    [VV_H2_T_SETTINGS] = {WHOLE, false, true, 0, VV_H2_FRAME_BYTES},
    [VV_H2_T_PUSH_PROMISE] = {WHOLE, true, false, 0, VV_H2_FRAME_BYTES},
    [VV_H2_T_PING] = {WHOLE, false, true, 8, 8},
    [VV_H2_T_GOAWAY] = {WHOLE, false, true, 8, VV_H2_FRAME_BYTES},
    [VV_H2_T_WINDOW_UPDATE] = {WHOLE, true, true, 4, 4},
    [VV_H2_T_CONTINUATION] = {WHOLE, true, false, 0, VV_H2_FRAME_BYTES},
    [VV_H2_T_PRIORITY_UPDATE] = {WHOLE, false, true, 4, VV_H2_FRAME_BYTES},
};

/* What can be said against a frame by its header. */
static enum vv_h2_reason judge(const struct vv_h2 *c, const struct vv_h2_frame *f)
{
    if (!c->settings_seen && (f->type != VV_H2_T_SETTINGS || (f->flags & VV_H2_F_ACK) != 0)) {
        return VV_H2_WHY_CODE_PROTOCOL; /* RFC 9113 3.4 */
    }
    const bool continues = f->type == VV_H2_T_CONTINUATION && f->id == c->block_id;
    if (f->type == VV_H2_T_CONTINUATION ? !continues || f->id == 0 : c->block_id != 0) {
        return VV_H2_WHY_CODE_PROTOCOL; /* RFC 9113 6.10 */
    }
    if (f->type >= VV_COUNT(forms) || forms[f->type].mode == HEADER) {
        return VV_H2_FINE; /* not known: ignored */
    }
    if (f->id == 0 ? !forms[f->type].connection : !forms[f->type].stream) {
        return VV_H2_WHY_CODE_PROTOCOL;
    }
    const bool settings = f->type == VV_H2_T_SETTINGS;
    const bool wrong = f->length < forms[f->type].least || f->length > forms[f->type].most ||
                       (settings && f->length % 6 != 0) ||
                       (settings && (f->flags & VV_H2_F_ACK) != 0 && f->length > 0);
    return wrong ? VV_H2_WHY_CODE_FRAME_SIZE : VV_H2_FINE;
}

static void begin_frame(struct vv_h2 *c, const uint8_t *h)
{
    struct vv_h2_frame *f = &c->in;
    f->length = f->left = (uint32_t)h[0] << 16 | (uint32_t)h[1] << 8 | h[2];
    f->type = h[3];
    f->flags = h[4];
    f->id = vv_h2_get32(h + 5) & VV_H2_ID_MAX;
    f->pad = 0;
    f->pad_told = false;
    vv_h2_pool_counts(c->pool)->frames_in++;
    enum vv_h2_reason why =
        f->length > VV_H2_FRAME_BYTES ? VV_H2_WHY_CODE_FRAME_SIZE : vv_h2_guard_frame(c, f);
    if (VV_LIKELY(why == VV_H2_FINE)) {
        why = judge(c, f);
    }
    if (VV_UNLIKELY(why != VV_H2_FINE)) {
        vv_h2_fail(c, why);
        return;
    }
    const bool known = f->type < VV_COUNT(forms) && forms[f->type].mode != HEADER;
    f->mode = (uint8_t)(known ? forms[f->type].mode : SKIP);
    if (f->mode == CONTENT) {
        begin_data(c);
    }
}

static void whole_frame(struct vv_h2 *c, const uint8_t *p, const uint8_t *end)
{
    switch (c->in.type) {
    case VV_H2_T_HEADERS:
        on_headers(c, p, end);
        break;
    case VV_H2_T_CONTINUATION:
        on_continuation(c, p, end);
        break;
    case VV_H2_T_RST_STREAM:
        on_reset(c, p);
        break;
    case VV_H2_T_SETTINGS:
        on_settings(c, p, end);
        break;
    case VV_H2_T_PUSH_PROMISE:
        on_push_promise(c, p, end);
        break;
    case VV_H2_T_PING:
        if ((c->in.flags & VV_H2_F_ACK) != 0) {
            c->pings++;
        } else {
            vv_h2_put_frame(c, VV_H2_T_PING, VV_H2_F_ACK, 0, p, 8);
        }
        break;
    case VV_H2_T_GOAWAY:
        on_goaway(c, p);
        break;
    case VV_H2_T_WINDOW_UPDATE:
        on_window(c, p);
        break;
    default: /* the only other one that is asked for whole */
        on_priority_update(c, p, end);
        break;
    }
}

static const uint8_t *take_whole(struct vv_h2 *c, const uint8_t *p, const uint8_t *end)
{
    struct vv_h2_frame *f = &c->in;
    const size_t here = vv_min_u64((size_t)(end - p), f->left);
    if (VV_LIKELY(here == f->length)) {
        f->left = 0;
        whole_frame(c, p, p + here);
        return p + here;
    }
    /* Room for all of it at once: the sender is at it. */
    uint8_t *to = vv_h2_buffer_room(c, &c->kept, f->left);
    if (to == NULL) {
        vv_h2_fail(c, VV_H2_WHY_MEMORY);
        return end;
    }
    memcpy(to, p, here);
    c->kept.n += here;
    f->left -= (uint32_t)here;
    if (f->left == 0) {
        whole_frame(c, c->kept.p, c->kept.p + c->kept.n);
        vv_h2_buffer_free(c, &c->kept);
    }
    return p + here;
}

/* NULL: not all of it is there. */
static const uint8_t *take_header(struct vv_h2_frame *f, const uint8_t **p, const uint8_t *end)
{
    const uint8_t *h = *p;
    if (VV_LIKELY(f->header_n == 0 && end - *p >= VV_H2_HEADER_BYTES)) {
        *p += VV_H2_HEADER_BYTES;
        return h;
    }
    while (f->header_n < VV_H2_HEADER_BYTES) {
        if (*p == end) {
            return NULL;
        }
        f->header[f->header_n++] = *(*p)++;
    }
    f->header_n = 0;
    return f->header;
}

VV_HOT void vv_h2_frames(struct vv_h2 *c, const uint8_t *p, const uint8_t *end)
{
    struct vv_h2_frame *f = &c->in;
    while (!c->dead && (p < end || f->mode != HEADER)) {
        if (f->mode == HEADER) {
            const uint8_t *h = take_header(f, &p, end);
            if (h == NULL) {
                return;
            }
            begin_frame(c, h);
            if (c->dead) {
                return;
            }
        }
        if (f->left > 0 && p == end) {
            return;
        }
        if (f->mode == CONTENT) {
            p = take_data(c, p, end);
        } else if (f->mode == WHOLE) {
            p = take_whole(c, p, end);
        } else {
            const size_t here = vv_min_u64((size_t)(end - p), f->left);
            f->left -= (uint32_t)here;
            p += here;
        }
        if (f->left == 0) {
            f->mode = HEADER;
        }
        if (!vv_list_empty(&c->dying)) {
            vv_h2_reap(c);
        }
    }
}
