/* src/trace/ring.h - spans from one worker to the collector: no lock, no wait.
 *
 * Model:     a ring of bytes with one writer and one reader. A record is its length and a packed span,
 *            rounded up to 8 bytes, never split over the end. A full ring drops the span and counts
 *            it: tracing never slows a request.
 * Threads:   put by the worker that owns it; take by one thread; counters by any.
 */
#ifndef VV_TRACE_RING_H
#define VV_TRACE_RING_H
#include "trace/span.h"

struct vv_span_ring;
/* `bytes` is rounded up to a power of two, at least 64 KiB. NULL: out of memory. */
struct vv_span_ring *vv_span_ring_new(size_t bytes);
void vv_span_ring_free(struct vv_span_ring *r);

/* VV_ELIMIT: no room, counted. */
enum vv_err vv_span_ring_put(struct vv_span_ring *r, const struct vv_span *s);
/* Calls fn for at most `max` spans, oldest first; the bytes live during the call. Returns how many. */
typedef void vv_span_ring_fn(void *user, struct vv_str packed);
size_t vv_span_ring_take(struct vv_span_ring *r, vv_span_ring_fn *fn, void *user, size_t max);

struct vv_span_ring_stats {
    uint64_t put, dropped; /* since it was made */
    uint64_t used_bytes, bytes;
};
void vv_span_ring_stats(const struct vv_span_ring *r, struct vv_span_ring_stats *ret);
#endif
