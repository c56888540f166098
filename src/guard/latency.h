/* src/guard/latency.h - a small histogram of durations that threads share and time forgets.
 *
 * Model:   192 buckets, eight to an octave from 8 us to 137 s (9 to 12 % wide; shorter and longer
 *          go to the ends), in two halves: the present period and the one before. A quantile reads
 *          both, interpolated in its bucket.
 * Units:   nanoseconds, parts per million.
 * Threads: add and quantile by any; turn by one at a time. Counts added during a turn may be lost.
 * Ownership: the caller's storage; zeroed is empty. */
#ifndef VV_GUARD_LATENCY_H
#define VV_GUARD_LATENCY_H
#include "base/defs.h"

#include <stdatomic.h>

#define VV_LATENCY_BUCKETS 192

struct vv_latency {
    _Atomic uint32_t half; /* the present one */
    _Atomic uint32_t bucket[2][VV_LATENCY_BUCKETS];
};

void vv_latency_add(struct vv_latency *l, uint64_t ns);
/* 0 and *ret_count 0 when empty. */
uint64_t vv_latency_quantile(const struct vv_latency *l, uint64_t ppm, uint64_t *ret_count);
void vv_latency_turn(struct vv_latency *l); /* begins a period, forgets the one before the last */
#endif
