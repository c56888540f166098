/* src/trace/ring.c - two positions that only grow; each side keeps a copy of the other's and reads the
 * shared one only when its copy says "full" or "empty", so that a cache line moves between cores once
 * in many spans and not with each. */
#include "trace/ring.h"

#include <stdatomic.h>
#include <stdlib.h>

#define BYTES_MIN (64 * VV_KIB)
#define SKIP UINT32_MAX /* a length: the rest up to the end is empty */

struct vv_span_ring {
    uint8_t *at;
    uint64_t bytes; /* a power of two */

    VV_ALIGNED(VV_CACHE_LINE) _Atomic uint64_t head; /* the writer's: end of what was put */
    uint64_t tail_seen;
    _Atomic uint64_t put, dropped;

    VV_ALIGNED(VV_CACHE_LINE) _Atomic uint64_t tail; /* the reader's: end of what was taken */
    uint64_t head_seen;
};

struct vv_span_ring *vv_span_ring_new(size_t bytes)
{
    uint64_t size = BYTES_MIN;
    while (size < bytes && size < VV_GIB) {
        size *= 2;
    }
    struct vv_span_ring *r = aligned_alloc(VV_CACHE_LINE, sizeof *r);
    uint8_t *at = aligned_alloc(VV_CACHE_LINE, size);
    if (r == NULL || at == NULL) {
        free(r);
        free(at);
        return NULL;
    }
    memset(r, 0, sizeof *r);
    r->at = at;
    r->bytes = size;
    return r;
}

void vv_span_ring_free(struct vv_span_ring *r)
{
    if (r != NULL) {
        free(r->at);
        free(r);
    }
}

static void bump(_Atomic uint64_t *counter) /* one writer: no locked instruction is needed */
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

enum vv_err vv_span_ring_put(struct vv_span_ring *r, const struct vv_span *s)
{
    const struct vv_span_room room = vv_span_measure(s);
    const uint64_t need = (sizeof(uint32_t) + room.bytes + 7) & ~UINT64_C(7);
    const uint64_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
    const uint64_t from = head & (r->bytes - 1);
    const uint64_t skip = from + need > r->bytes ? r->bytes - from : 0;
    if (head + skip + need - r->tail_seen > r->bytes) {
        r->tail_seen = atomic_load_explicit(&r->tail, memory_order_acquire);
        if (head + skip + need - r->tail_seen > r->bytes) {
            bump(&r->dropped);
            return VV_ELIMIT;
        }
    }
    if (skip > 0) {
        const uint32_t mark = SKIP;
        memcpy(r->at + from, &mark, sizeof mark);
    }
    uint8_t *at = r->at + ((head + skip) & (r->bytes - 1));
    const uint32_t length = (uint32_t)room.bytes;
    vv_span_pack_measured(s, &room, at + sizeof length);
    memcpy(at, &length, sizeof length);
    atomic_store_explicit(&r->head, head + skip + need, memory_order_release);
    bump(&r->put);
    return VV_OK;
}

size_t vv_span_ring_take(struct vv_span_ring *r, vv_span_ring_fn *fn, void *user, size_t max)
{
    uint64_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
    size_t n = 0;
    while (n < max) {
        if (tail == r->head_seen) {
            r->head_seen = atomic_load_explicit(&r->head, memory_order_acquire);
            if (tail == r->head_seen) {
                break;
            }
        }
        const uint64_t from = tail & (r->bytes - 1);
        uint32_t length;
        memcpy(&length, r->at + from, sizeof length);
        if (length == SKIP) {
            tail += r->bytes - from;
            continue;
        }
        fn(user, (struct vv_str){(const char *)r->at + from + sizeof length, length});
        tail += (sizeof length + length + 7) & ~UINT64_C(7);
        n++;
        atomic_store_explicit(&r->tail, tail, memory_order_release);
    }
    atomic_store_explicit(&r->tail, tail, memory_order_release);
    return n;
}

void vv_span_ring_stats(const struct vv_span_ring *r, struct vv_span_ring_stats *ret)
{
    /* The tail first: read the other way round it could be past the head. */
    const uint64_t tail = atomic_load_explicit(&r->tail, memory_order_acquire);
    ret->put = atomic_load_explicit(&r->put, memory_order_relaxed);
    ret->dropped = atomic_load_explicit(&r->dropped, memory_order_relaxed);
    ret->used_bytes = atomic_load_explicit(&r->head, memory_order_acquire) - tail;
    ret->bytes = r->bytes;
}
