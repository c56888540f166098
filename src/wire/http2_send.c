/* src/wire/http2_send.c - what goes out: frames that wait, then content of many streams by urgency.
 *
 * Content is framed when it is written, so that what is urgent at that moment goes first (RFC
 * 9218): among equally urgent streams the oldest goes to its end, and incremental ones take turns
 * with it and with each other. The bytes are referenced, not copied, above VV_H2_COPY_MAX. Below,
 * one copy is cheaper than another slice in the list, lets TLS make one record of many frames and
 * frees the caller's memory at once. */
#include "wire/http2_int.h"

#define GATHER_BYTES_MAX (256 * VV_KIB) /* more would only let a late urgent stream wait */

void vv_h2_put_frame(struct vv_h2 *c, enum vv_h2_type type, unsigned flags, uint32_t id,
                     const uint8_t *payload, size_t n)
{
    if (c->dead) {
        return;
    }
    uint8_t *p = vv_h2_buffer_room(c, &c->out, VV_H2_HEADER_BYTES + n);
    if (p == NULL) {
        vv_h2_fail(c, VV_H2_WHY_MEMORY);
        return;
    }
    p = vv_h2_set_header(p, n, type, flags, id);
    if (n > 0) {
        memcpy(p, payload, n);
    }
    c->out.n += VV_H2_HEADER_BYTES + n;
    vv_h2_pool_counts(c->pool)->frames_out++;
}

/* ---- windows of what comes in */

static uint32_t announce(struct vv_h2 *c, uint32_t id, uint32_t given)
{
    uint8_t payload[4];
    vv_h2_set32(payload, given);
    vv_h2_put_frame(c, VV_H2_T_WINDOW_UPDATE, 0, id, payload, sizeof payload);
    return given;
}

void vv_h2_give(struct vv_h2 *c, struct vv_h2_inner *s, size_t bytes)
{
    c->given += (uint32_t)bytes;
    if (c->given >= c->conf->connection_window_bytes / 2) { /* half: one frame for much content */
        c->recv_window += announce(c, 0, c->given);
        c->given = 0;
    }
    if (s != NULL && !s->peer_ended && !s->bad) {
        s->given += (uint32_t)bytes;
        if (s->given > 0 && s->given >= c->conf->stream_window_bytes / 2) {
            s->recv_window += announce(c, s->pub.id, s->given);
            s->given = 0;
        }
    }
}

void vv_h2_consumed(struct vv_h2_stream *stream, size_t bytes)
{
    struct vv_h2_inner *s = vv_h2_inner_of(stream);
    bytes = bytes < s->held ? bytes : s->held;
    s->held -= bytes;
    if (bytes > 0) {
        vv_h2_give(s->c, s, bytes);
    }
}

/* ---- which stream is next */

void vv_h2_unready(struct vv_h2_inner *s)
{
    if (!vv_list_empty(&s->ready)) {
        vv_list_del(&s->ready);
        s->c->ready_count--;
    }
}

void vv_h2_ready(struct vv_h2_inner *s)
{
    if (s->queued == 0 || s->send_window <= 0 || s->bad || !vv_list_empty(&s->ready)) {
        return;
    }
    struct vv_list *list = &s->c->ready[s->urgency][s->incremental];
    struct vv_list *after = list->prev;
    while (!s->incremental && after != list &&
           VV_LIST_ENTRY(after, struct vv_h2_inner, ready)->pub.id > s->pub.id) {
        after = after->prev; /* mostly none: streams come in the order of their numbers */
    }
    vv_list_insert(after, &s->ready);
    s->c->ready_count++;
}

static struct vv_h2_inner *next_ready(struct vv_h2 *c)
{
    for (unsigned u = 0; u < VV_H2_URGENCIES && c->ready_count > 0; u++) {
        struct vv_list *whole = &c->ready[u][0], *shared = &c->ready[u][1];
        if (vv_list_empty(whole) && vv_list_empty(shared)) {
            continue;
        }
        const bool turn = (c->turn >> u & 1) != 0;
        struct vv_list *list =
            vv_list_empty(whole) || (turn && !vv_list_empty(shared)) ? shared : whole;
        return VV_LIST_ENTRY(list->next, struct vv_h2_inner, ready);
    }
    return NULL;
}

/* A frame of s is in the gather: whose turn is it now? */
static void take_turns(struct vv_h2_inner *s)
{
    struct vv_h2 *c = s->c;
    const uint8_t bit = (uint8_t)(1U << s->urgency);
    c->turn = (uint8_t)(s->incremental ? c->turn & ~bit : c->turn | bit);
    if (s->queued == 0 || s->send_window <= 0) {
        vv_h2_unready(s);
    } else if (s->incremental) {
        struct vv_list *list = &c->ready[s->urgency][1];
        vv_list_del(&s->ready);
        vv_list_push_back(list, &s->ready);
    }
}

void vv_h2_set_priority(struct vv_h2_inner *s, unsigned urgency, bool incremental)
{
    const bool waits = !vv_list_empty(&s->ready);
    vv_h2_unready(s);
    s->urgency = (uint8_t)(urgency < VV_H2_URGENCIES ? urgency : VV_H2_URGENCIES - 1);
    s->incremental = incremental;
    if (waits) {
        vv_h2_ready(s);
    }
}

void vv_h2_prioritise(struct vv_h2_stream *stream, unsigned urgency, bool incremental)
{
    struct vv_h2_inner *s = vv_h2_inner_of(stream);
    s->priority_ours = true;
    vv_h2_set_priority(s, urgency, incremental);
}

void vv_h2_prioritise_as(struct vv_h2_stream *stream, struct vv_str priority)
{
    const struct vv_h2_inner *s = vv_h2_inner_of(stream);
    uint8_t urgency = s->urgency;
    bool incremental = s->incremental;
    if (vv_h2_take_priority(priority, &urgency, &incremental)) {
        vv_h2_prioritise(stream, urgency, incremental);
    }
}

/* ---- the gather */

static void add_slice(struct vv_h2_gather *g, const void *p, size_t n)
{
    g->iov[g->count++] = (struct iovec){(void *)(uintptr_t)p, n};
    g->bytes += n;
}

/* Says that n bytes were written at the end of the stage; the last slice grows when it ends there.
 */
static void staged(struct vv_h2_gather *g, size_t n)
{
    char *at = g->stage + g->used;
    g->used += n;
    struct iovec *last = g->count > 0 ? &g->iov[g->count - 1] : NULL;
    if (last != NULL && (char *)last->iov_base + last->iov_len == at) {
        last->iov_len += n;
        g->bytes += n;
    } else {
        add_slice(g, at, n);
    }
}

/* Moves n bytes of content into the gather. */
static void take_slices(struct vv_h2_inner *s, struct vv_h2_gather *g, size_t n, bool copy)
{
    s->queued -= n;
    while (n > 0) {
        struct vv_str *slice = &s->slices[s->slice_at];
        const size_t part = slice->n < n ? slice->n : n;
        if (copy) {
            memcpy(g->stage + g->used, slice->p, part);
            staged(g, part);
        } else {
            add_slice(g, slice->p, part);
        }
        slice->p += part;
        slice->n -= part;
        n -= part;
        if (slice->n == 0) {
            s->slice_at = (uint8_t)((s->slice_at + 1) % VV_H2_SLICES_MAX);
            s->slice_count--;
        }
    }
}

/* The content is all framed: the end of the stream, or its trailers, follow. */
static void content_ended(struct vv_h2_inner *s)
{
    if (s->trailer != NULL && vv_h2_put_trailer(s) != VV_OK) {
        vv_h2_fail(s->c, VV_H2_WHY_MEMORY);
        return;
    }
    vv_h2_we_ended(s);
}

/* One DATA frame; false: there is none, or no room for it. */
static bool put_data(struct vv_h2 *c, struct vv_h2_gather *g)
{
    struct vv_h2_inner *s = c->send_window > 0 ? next_ready(c) : NULL;
    if (s == NULL) {
        return false;
    }
    size_t n = vv_min_u64(s->queued, VV_H2_FRAME_BYTES);
    n = vv_min_u64(n, (uint64_t)s->send_window);
    n = vv_min_u64(n, (uint64_t)c->send_window);
    const size_t room = g->stage_bytes - g->used;
    const bool copy = n <= VV_H2_COPY_MAX && room >= VV_H2_HEADER_BYTES + n;
    if (room < VV_H2_HEADER_BYTES || g->count + s->slice_count + 2U > VV_H2_IOV_MAX - 1 ||
        (!copy && n <= VV_H2_COPY_MAX && g->bytes > 0)) {
        return false;
    }
    const bool last = s->done && n == s->queued;
    const unsigned flags = last && s->trailer == NULL ? VV_H2_F_END_STREAM : 0;
    vv_h2_set_header((uint8_t *)g->stage + g->used, n, VV_H2_T_DATA, flags, s->pub.id);
    staged(g, VV_H2_HEADER_BYTES);
    take_slices(s, g, n, copy);
    *(copy ? &s->copied : &s->in_gather) += n;
    if (vv_list_empty(&s->gather)) {
        vv_list_push_back(&c->gathered, &s->gather);
    }
    s->send_window -= (int64_t)n;
    c->send_window -= (int64_t)n;
    vv_h2_pool_counts(c->pool)->frames_out++;
    vv_h2_guard_sent_data(&c->guard);
    take_turns(s);
    if (last) {
        content_ended(s);
    }
    return true;
}

/* What waits in `out`; false: there is no room for it now. */
static bool put_out(struct vv_h2 *c, struct vv_h2_gather *g)
{
    if (c->out.n == 0) {
        return true;
    }
    if (c->out.n <= g->stage_bytes - g->used) {
        memcpy(g->stage + g->used, c->out.p, c->out.n);
        staged(g, c->out.n);
        vv_h2_buffer_free(c, &c->out);
        return true;
    }
    if (g->bytes > 0) {
        return false;
    }
    add_slice(g, c->out.p, c->out.n); /* as it is: it will have left with the next output */
    c->flight = c->out;
    c->out = (struct vv_h2_buffer){0};
    return true;
}

static void put_last_word(struct vv_h2 *c, struct vv_h2_gather *g)
{
    if (c->last_word_left > 0 && g->count < VV_H2_IOV_MAX) {
        add_slice(g, c->last_word, c->last_word_left);
        c->last_word_left = 0;
    }
}

static void tell_sent(struct vv_h2_inner *s)
{
    const size_t bytes = s->in_gather + s->copied;
    vv_list_del(&s->gather);
    s->in_gather = s->copied = 0;
    if (!s->bad) {
        s->c->events->sent(s->c->user, &s->pub, bytes);
    }
    if (s->closed) {
        vv_h2_finish_close(s);
    }
}

/* all: the gather has left; else only what was copied out of the callers' memory. */
static void release(struct vv_h2 *c, bool all)
{
    VV_LIST_EACH (it, &c->gathered) {
        struct vv_h2_inner *s = VV_LIST_ENTRY(it, struct vv_h2_inner, gather);
        if (all || s->in_gather == 0) {
            tell_sent(s);
        }
    }
}

VV_HOT void vv_h2_output(struct vv_h2 *c, struct vv_h2_gather *g)
{
    VV_ASSERT(!c->busy);
    VV_ASSERT(g->stage_bytes >= 1024);
    c->busy = true;
    release(c, true);
    vv_h2_buffer_free(c, &c->flight);
    g->count = 0;
    g->bytes = g->used = 0;
    bool more = true;
    while (more && (more = put_out(c, g)) && !c->dead) {
        more = g->bytes < GATHER_BYTES_MAX && put_data(c, g);
    }
    if (c->dead && more) {
        put_last_word(c, g);
    }
    /* What `out` holds now belongs to streams that wait for it. */
    while (c->out.n == 0 && !vv_list_empty(&c->leaving)) {
        struct vv_h2_inner *s = VV_LIST_ENTRY(c->leaving.next, struct vv_h2_inner, leave);
        vv_h2_leave(s, true);
    }
    release(c, false);
    vv_h2_reap(c);
    c->busy = false;
}
