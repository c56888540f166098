/* src/trace/store.c - two rings: blocks of spans, and a summary for each block in the same order. What
 * is oldest in one is oldest in the other, so making room is moving two ends. A block does not
 * wrap: what is left before the end stays empty and counts with the block after it. */
#include "trace/store.h"

#include <stdlib.h>

#define BYTES_MIN (64 * VV_KIB)
#define NONE UINT32_MAX

struct entry {
    uint8_t id[VV_TRACE_ID_BYTES];
    uint64_t start_ns, duration_ns;
    uint64_t from;               /* of the block, a position that only grows */
    uint64_t route_key;          /* hashes, to pass over most without a look at the block */
    uint32_t bytes, spans, root; /* root: offset of its record in the block */
    uint32_t next;               /* of the hash */
    uint32_t service_key;
    uint16_t http_status;
    uint8_t why, late;
    bool error, gone; /* gone: replaced by a newer one */
};

struct vv_trace_store {
    uint8_t *at;
    uint64_t room, tail, head; /* of blocks */
    struct entry *entry;
    uint64_t slots, first, last; /* of entries: [first, last) */
    uint32_t *bucket;
    size_t mask;
    uint64_t seed;
    struct vv_trace_store_stats stats;
};

enum vv_err vv_trace_store_new(uint64_t bytes_max, uint64_t seed, struct vv_trace_store **ret)
{
    if (bytes_max < BYTES_MIN || bytes_max > 64 * VV_GIB) {
        return VV_EINVAL;
    }
    struct vv_trace_store *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return VV_ENOMEM;
    }
    s->slots = vv_max_u64(bytes_max / 10 / (sizeof *s->entry + 2 * sizeof *s->bucket), 16);
    s->seed = seed;
    s->mask = 15;
    while (s->mask < s->slots) {
        s->mask = 2 * s->mask + 1;
    }
    s->room = bytes_max - s->slots * sizeof *s->entry - (s->mask + 1) * sizeof *s->bucket;
    s->entry = calloc(s->slots, sizeof *s->entry);
    s->bucket = malloc((s->mask + 1) * sizeof *s->bucket);
    s->at = malloc(s->room);
    if (s->entry == NULL || s->bucket == NULL || s->at == NULL) {
        vv_trace_store_free(s);
        return VV_ENOMEM;
    }
    memset(s->bucket, 0xff, (s->mask + 1) * sizeof *s->bucket);
    s->stats.bytes_max = bytes_max;
    *ret = s;
    return VV_OK;
}

void vv_trace_store_free(struct vv_trace_store *s)
{
    if (s != NULL) {
        free(s->entry);
        free(s->bucket);
        free(s->at);
        free(s);
    }
}

/* ---------------------------------------------------------------- by id */

static uint32_t *bucket_of(struct vv_trace_store *s, const uint8_t *id)
{
    return &s->bucket[vv_str_hash((struct vv_str){(const char *)id, VV_TRACE_ID_BYTES}, s->seed) &
                      s->mask];
}

static struct entry *lookup(struct vv_trace_store *s, const uint8_t *id)
{
    for (uint32_t i = *bucket_of(s, id); i != NONE; i = s->entry[i].next) {
        if (memcmp(s->entry[i].id, id, VV_TRACE_ID_BYTES) == 0) {
            return &s->entry[i];
        }
    }
    return NULL;
}

/* Out of sight; its room comes back when it is the oldest. */
static void hide(struct vv_trace_store *s, struct entry *e)
{
    uint32_t *at = bucket_of(s, e->id);
    const uint32_t i = (uint32_t)(e - s->entry);
    while (*at != i) {
        at = &s->entry[*at].next;
    }
    *at = e->next;
    e->gone = true;
    s->stats.traces--;
    s->stats.spans -= e->spans;
}

static void evict(struct vv_trace_store *s)
{
    struct entry *e = &s->entry[s->first++ % s->slots];
    if (!e->gone) {
        hide(s, e);
        s->stats.evicted++;
    }
    s->tail = s->first < s->last ? s->entry[s->first % s->slots].from : s->head;
}

static const uint8_t *block(const struct vv_trace_store *s, const struct entry *e)
{
    return s->at + e->from % s->room;
}

static struct vv_str record(const uint8_t *at)
{
    uint32_t n;
    memcpy(&n, at, sizeof n);
    return (struct vv_str){(const char *)at + sizeof n, n};
}

/* ---------------------------------------------------------------- adding */

static uint64_t key_of(struct vv_str s)
{
    return vv_str_hash(s, 0x9);
}

enum vv_err vv_trace_store_add(struct vv_trace_store *s, const struct vv_trace *t,
                               enum vv_sample_why why)
{
    const struct vv_span *root = &t->spans[t->root];
    const uint64_t bytes = t->packed_bytes + t->count * sizeof(uint32_t);
    if (bytes > s->room / 8 || t->count == 0) {
        s->stats.refused++;
        return VV_ELIMIT;
    }
    struct entry *old = lookup(s, t->id);
    if (old != NULL) {
        hide(s, old);
    }
    const uint64_t left = s->room - s->head % s->room;
    const uint64_t from = left < bytes ? s->head + left : s->head;
    while (s->first < s->last &&
           (from + bytes - s->tail > s->room || s->last - s->first == s->slots)) {
        evict(s);
    }
    struct entry *e = &s->entry[s->last % s->slots];
    *e = (struct entry){.start_ns = root->start_ns,
                        .duration_ns = vv_span_ns(root),
                        .from = from,
                        .route_key = key_of(root->route),
                        .service_key = (uint32_t)key_of(root->service),
                        .bytes = (uint32_t)bytes,
                        .spans = (uint32_t)t->count,
                        .http_status = root->http_status,
                        .why = (uint8_t)why,
                        .error = t->error};
    memcpy(e->id, t->id, sizeof e->id);
    uint8_t *at = s->at + from % s->room;
    for (size_t i = 0; i < t->count; i++) {
        const uint32_t n = (uint32_t)t->packed[i].n;
        if (i == t->root) {
            e->root = (uint32_t)(at - (s->at + from % s->room));
        }
        memcpy(at, &n, sizeof n);
        memcpy(at + sizeof n, t->packed[i].p, n);
        at += sizeof n + n;
    }
    uint32_t *bucket = bucket_of(s, t->id);
    e->next = *bucket;
    *bucket = (uint32_t)(e - s->entry);
    s->tail = s->first == s->last ? from : s->tail;
    s->head = from + bytes;
    s->last++;
    s->stats.added++;
    s->stats.traces++;
    s->stats.spans += t->count;
    return VV_OK;
}

/* Slices into a copy of the block, which ends with room for `more` bytes. */
static char *copy_block(const struct vv_trace_store *s, const struct entry *e, size_t more,
                        struct vv_str **ret_packed)
{
    const size_t heads = (e->spans + 1) * sizeof(struct vv_str);
    char *memory = malloc(heads + e->bytes + more);
    if (memory == NULL) {
        return NULL;
    }
    struct vv_str *packed = (struct vv_str *)(void *)memory;
    memcpy(memory + heads, block(s, e), e->bytes);
    const uint8_t *at = (const uint8_t *)memory + heads;
    for (uint32_t i = 0; i < e->spans; i++) {
        packed[i] = record(at);
        at += sizeof(uint32_t) + packed[i].n;
    }
    packed[e->spans] = (struct vv_str){memory + heads + e->bytes, more};
    *ret_packed = packed;
    return memory;
}

enum vv_err vv_trace_store_add_span(struct vv_trace_store *s, struct vv_str packed)
{
    struct vv_span_brief b;
    struct vv_str *all;
    struct vv_trace t;
    void *memory;
    if (vv_span_peek(packed, &b) != VV_OK) {
        return VV_ESYNTAX;
    }
    const struct entry *e = lookup(s, b.trace_id);
    if (e == NULL) {
        return VV_ENOENT;
    }
    if (e->late >= VV_TRACE_LATE_MAX) {
        s->stats.refused++;
        return VV_ELIMIT;
    }
    const uint8_t late = e->late;
    const size_t count = (size_t)e->spans + 1;
    const enum vv_sample_why why = (enum vv_sample_why)e->why;
    char *copy = copy_block(s, e, packed.n, &all);
    if (copy == NULL) {
        return VV_ENOMEM;
    }
    memcpy(copy + count * sizeof(struct vv_str) + e->bytes, packed.p, packed.n);
    enum vv_err err = vv_trace_open(all, count, &t, &memory);
    if (err == VV_OK) {
        err = vv_trace_store_add(s, &t, why);
        free(memory);
    }
    if (err == VV_OK) {
        lookup(s, b.trace_id)->late = (uint8_t)(late + 1);
    }
    free(copy);
    return err;
}

/* ---------------------------------------------------------------- finding */

enum vv_err vv_trace_store_get(struct vv_trace_store *s, const uint8_t id[VV_TRACE_ID_BYTES],
                               struct vv_trace *ret, void **ret_memory)
{
    const struct entry *e = lookup(s, id);
    if (e == NULL) {
        return VV_ENOENT;
    }
    struct vv_str *packed = calloc(e->spans, sizeof *packed);
    if (packed == NULL) {
        return VV_ENOMEM;
    }
    const uint8_t *at = block(s, e);
    for (uint32_t i = 0; i < e->spans; i++) {
        packed[i] = record(at);
        at += sizeof(uint32_t) + packed[i].n;
    }
    const enum vv_err err = vv_trace_open(packed, e->spans, ret, ret_memory);
    free(packed);
    return err;
}

static bool may_match(const struct entry *e, const struct vv_trace_query *q, uint64_t route,
                      uint32_t service)
{
    return !e->gone && (!q->errors_only || e->error) && e->start_ns >= q->from_ns &&
           (q->until_ns == 0 || e->start_ns < q->until_ns) &&
           e->duration_ns >= q->duration_min_ns &&
           (q->duration_max_ns == 0 || e->duration_ns <= q->duration_max_ns) &&
           ((q->status_min == 0 && q->status_max == 0) ||
            (e->http_status >= q->status_min && e->http_status <= q->status_max)) &&
           (q->route.n == 0 || e->route_key == route) &&
           (q->service.n == 0 || e->service_key == service);
}

static bool summarize(const struct vv_trace_store *s, const struct entry *e,
                      const struct vv_trace_query *q, struct vv_trace_summary *ret)
{
    struct vv_span root;
    if (vv_span_unpack(record(block(s, e) + e->root), &root, NULL) != VV_OK ||
        (q->route.n > 0 && !vv_str_eq(root.route, q->route)) ||
        (q->service.n > 0 && !vv_str_eq(root.service, q->service))) {
        return false;
    }
    *ret = (struct vv_trace_summary){.start_ns = e->start_ns,
                                     .duration_ns = e->duration_ns,
                                     .http_status = e->http_status,
                                     .why = e->why,
                                     .error = e->error,
                                     .spans = e->spans,
                                     .bytes = e->bytes,
                                     .route = root.route,
                                     .service = root.service};
    memcpy(ret->id, e->id, sizeof ret->id);
    return true;
}

/* Newest first they come anyway. For the slowest, a heap whose top is the fastest of those chosen. */
static void sift(struct vv_trace_summary *heap, size_t n, size_t i)
{
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && heap[child + 1].duration_ns < heap[child].duration_ns) {
            child++;
        }
        if (heap[i].duration_ns <= heap[child].duration_ns) {
            return;
        }
        const struct vv_trace_summary swap = heap[i];
        heap[i] = heap[child];
        heap[child] = swap;
    }
}

static void keep_slowest(struct vv_trace_summary *heap, size_t *n, size_t max,
                         const struct vv_trace_summary *one)
{
    if (*n < max) {
        heap[(*n)++] = *one;
        for (size_t i = *n; *n == max && i-- > 0;) { /* full now: make it a heap once */
            sift(heap, *n, i);
        }
    } else if (one->duration_ns > heap[0].duration_ns) {
        heap[0] = *one;
        sift(heap, *n, 0);
    }
}

static int slowest_first(const void *a, const void *b)
{
    const struct vv_trace_summary *x = a, *y = b;
    return x->duration_ns < y->duration_ns ? 1 : x->duration_ns > y->duration_ns ? -1 : 0;
}

size_t vv_trace_store_find(struct vv_trace_store *s, const struct vv_trace_query *q,
                           struct vv_trace_summary *ret, size_t max, uint64_t *ret_total)
{
    const uint64_t route = key_of(q->route);
    const uint32_t service = (uint32_t)key_of(q->service);
    uint64_t total = 0;
    size_t n = 0;
    for (uint64_t i = s->last; i-- > s->first;) {
        const struct entry *e = &s->entry[i % s->slots];
        struct vv_trace_summary one;
        if (!may_match(e, q, route, service) || !summarize(s, e, q, &one)) {
            continue;
        }
        total++;
        if (max > 0 && q->order == VV_TRACE_SLOWEST) {
            keep_slowest(ret, &n, max, &one);
        } else if (n < max) {
            ret[n++] = one;
        } else if (ret_total == NULL) {
            break;
        }
    }
    if (q->order == VV_TRACE_SLOWEST) {
        qsort(ret, n, sizeof *ret, slowest_first);
    }
    if (ret_total != NULL) {
        *ret_total = total;
    }
    return n;
}

void vv_trace_store_stats(const struct vv_trace_store *s, struct vv_trace_store_stats *ret)
{
    *ret = s->stats;
    ret->used_bytes = s->head - s->tail;
    ret->oldest_ns = 0;
    for (uint64_t i = s->first; i < s->last && ret->oldest_ns == 0; i++) {
        ret->oldest_ns = s->entry[i % s->slots].gone ? 0 : s->entry[i % s->slots].start_ns;
    }
}
