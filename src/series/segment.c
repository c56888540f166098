/* src/series/segment.c - a closed segment: a head, the chunks in the order of their series' numbers,
 * and a table of where each one is. The table is checked once, at opening; a chunk whenever it is
 * read. Chunks can be found without the table, which is how a file with a damaged one is used. */
#include "series/series_int.h"

#include <stdlib.h>

#define MAGIC UINT32_C(0x31a5535a)
#define CHUNK_MAGIC UINT32_C(0x63a5535a)

struct file_head {
    uint32_t magic, tier;
    uint64_t seq;
    int64_t min_ms, max_ms;
    uint64_t index_at;
    uint32_t ids, chunks;
    uint64_t index_hash, hash;
};
struct chunk_head {
    uint32_t magic, id, n, bytes;
    int64_t last_ms;
    double last_v;
    uint64_t hash; /* of all before it and the bytes behind */
};
_Static_assert(sizeof(struct file_head) == 64 && sizeof(struct chunk_head) == 40, "no holes");

static uint64_t head_hash(const struct file_head *h)
{
    return vv_str_hash((struct vv_str){(const char *)h, offsetof(struct file_head, hash)}, MAGIC);
}

static uint64_t chunk_hash(const struct chunk_head *h, const uint8_t *bytes)
{
    const struct vv_str head = {(const char *)h, offsetof(struct chunk_head, hash)};
    return vv_str_hash((struct vv_str){(const char *)bytes, h->bytes}, vv_str_hash(head, MAGIC));
}

static void put_chunk(const struct vv_chunk *c, uint32_t id, struct vv_bytes *out)
{
    struct chunk_head h = {.magic = CHUNK_MAGIC,
                           .id = id,
                           .n = c->n,
                           .bytes = (uint32_t)vv_chunk_bytes(c),
                           .last_ms = c->last.t_ms};
    memcpy(&h.last_v, &c->last.value, sizeof h.last_v);
    h.hash = chunk_hash(&h, c->buf);
    vv_bytes_add(out, &h, sizeof h);
    vv_bytes_add(out, c->buf, h.bytes);
}

static int64_t first_ms(const struct vv_chunk *c)
{
    struct vv_chunk_reader r;
    int64_t t = 0;
    double v = 0;
    vv_chunk_read(&r, c->buf, vv_chunk_bytes(c), c->n);
    return vv_chunk_next(&r, &t, &v) == VV_OK ? t : INT64_MAX;
}

enum vv_err vv_segment_build(const struct vv_series_index *x, unsigned tier, uint64_t seq,
                             struct vv_bytes *out, struct vv_segment *ret)
{
    struct file_head h = {.magic = MAGIC,
                          .tier = tier,
                          .seq = seq,
                          .min_ms = INT64_MAX,
                          .max_ms = INT64_MIN,
                          .ids = x->n};
    struct vv_segment_slot *index = calloc((size_t)x->n + 1, sizeof *index);
    if (index == NULL) {
        return VV_ENOMEM;
    }
    out->n = 0;
    vv_bytes_add(out, &h, sizeof h);
    for (uint32_t id = 0; id < x->n; id++) {
        const struct vv_chunk *c = x->at[id] != NULL ? &x->at[id]->head[tier].chunk : NULL;
        if (c == NULL || c->n == 0) {
            continue;
        }
        const int64_t min_ms = first_ms(c);
        h.min_ms = min_ms < h.min_ms ? min_ms : h.min_ms;
        h.max_ms = c->last.t_ms > h.max_ms ? c->last.t_ms : h.max_ms;
        h.chunks++;
        index[id].at = (uint32_t)out->n;
        put_chunk(c, id, out);
        index[id].bytes = (uint32_t)(out->n - index[id].at);
    }
    h.index_at = out->n;
    h.index_hash = vv_str_hash((struct vv_str){(const char *)index, h.ids * sizeof *index}, h.ids);
    vv_bytes_add(out, index, h.ids * sizeof *index);
    h.hash = head_hash(&h);
    free(index);
    if (out->failed || out->n > UINT32_MAX) {
        return out->failed ? VV_ENOMEM : VV_ELIMIT;
    }
    memcpy(out->p, &h, sizeof h);
    *ret = (struct vv_segment){.seq = seq,
                               .bytes = out->n,
                               .min_ms = h.min_ms,
                               .max_ms = h.max_ms,
                               .index_at = h.index_at,
                               .ids = h.ids};
    return VV_OK;
}

enum vv_err vv_segment_chunk(const uint8_t *p, size_t bytes, struct vv_segment_chunk *ret)
{
    struct chunk_head h;
    if (bytes < sizeof h) {
        return VV_ESYNTAX;
    }
    memcpy(&h, p, sizeof h);
    if (h.magic != CHUNK_MAGIC || h.bytes > bytes - sizeof h || h.n == 0 ||
        h.id >= VV_SAMPLES_SERIES_MAX || h.last_ms < 0 || h.last_ms > VV_SERIES_T_MAX ||
        h.hash != chunk_hash(&h, p + sizeof h)) {
        return VV_ESYNTAX;
    }
    *ret =
        (struct vv_segment_chunk){p + sizeof h, sizeof h + h.bytes, h.id, h.n, h.last_ms, h.last_v};
    return VV_OK;
}

/* A table made anew from the chunks that can be found. */
static enum vv_err salvage(const uint8_t *buf, size_t bytes, struct vv_segment *g,
                           struct vv_segment_slot **ret_slots)
{
    struct vv_segment_slot *slots = NULL;
    struct vv_segment_chunk c;
    g->ids = 0;
    g->min_ms = INT64_MAX;
    g->max_ms = INT64_MIN;
    for (size_t at = 0; at + sizeof(struct chunk_head) <= bytes; at++) {
        struct vv_chunk_reader r;
        int64_t t = 0;
        double v = 0;
        if (vv_segment_chunk(buf + at, bytes - at, &c) != VV_OK) {
            continue;
        }
        vv_chunk_read(&r, c.p, c.bytes - sizeof(struct chunk_head), c.n);
        if (vv_chunk_next(&r, &t, &v) != VV_OK) {
            continue;
        }
        if (c.id >= g->ids) {
            struct vv_segment_slot *more = realloc(slots, ((size_t)c.id + 1) * sizeof *more);
            if (more == NULL) {
                break;
            }
            memset(more + g->ids, 0, (c.id + 1 - g->ids) * sizeof *more);
            slots = more;
            g->ids = c.id + 1;
        }
        slots[c.id] = (struct vv_segment_slot){(uint32_t)at, (uint32_t)c.bytes};
        g->min_ms = t < g->min_ms ? t : g->min_ms;
        g->max_ms = c.last_ms > g->max_ms ? c.last_ms : g->max_ms;
        at += c.bytes - 1;
    }
    if (slots == NULL) {
        return VV_ESYNTAX;
    }
    g->index = malloc(g->ids * sizeof *slots);
    if (g->index == NULL) {
        free(slots);
        return VV_ENOMEM;
    }
    memcpy(g->index, slots, g->ids * sizeof *slots);
    *ret_slots = slots;
    return VV_OK;
}

static bool head_is_good(const struct file_head *h, const uint8_t *buf, size_t bytes)
{
    if (h->magic != MAGIC || h->hash != head_hash(h) || h->ids > VV_SAMPLES_SERIES_MAX ||
        h->index_at > bytes || h->ids * sizeof(struct vv_segment_slot) > bytes - h->index_at ||
        h->min_ms < 0 || h->max_ms > VV_SERIES_T_MAX) {
        return false;
    }
    const struct vv_str index = {(const char *)buf + h->index_at,
                                 h->ids * sizeof(struct vv_segment_slot)};
    return vv_str_hash(index, h->ids) == h->index_hash;
}

enum vv_err vv_segment_check(const uint8_t *buf, size_t bytes, struct vv_segment *ret,
                             struct vv_segment_slot **ret_slots, uint64_t *damaged)
{
    struct file_head h;
    struct vv_segment g = {.bytes = bytes};
    if (bytes < sizeof h || bytes > UINT32_MAX) {
        *damaged += 1;
        return VV_ESYNTAX;
    }
    memcpy(&h, buf, sizeof h);
    if (!head_is_good(&h, buf, bytes)) {
        *damaged += 1;
        const enum vv_err err = salvage(buf, bytes, &g, ret_slots);
        if (err == VV_OK) {
            *ret = g;
        }
        return err;
    }
    struct vv_segment_slot *slots = malloc((h.ids + 1) * sizeof *slots);
    if (slots == NULL) {
        return VV_ENOMEM;
    }
    memcpy(slots, buf + h.index_at, h.ids * sizeof *slots);
    g.min_ms = h.min_ms;
    g.max_ms = h.max_ms;
    g.index_at = h.index_at;
    g.ids = h.ids;
    *ret = g;
    *ret_slots = slots;
    return VV_OK;
}

void vv_segment_fini(struct vv_segment *g)
{
    free(g->index);
    g->index = NULL;
}
