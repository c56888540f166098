/* src/guard/latency.c - counts rather than an estimator of one quantile: additions by threads need no
 * order, and forgetting is clearing half. */
#include "guard/latency.h"

#define FIRST_BIT 13 /* 2^13 ns: 8 us */
#define SUB_BITS 3

static size_t bucket_of(uint64_t ns)
{
    if (ns < UINT64_C(1) << FIRST_BIT) {
        return 0;
    }
    const unsigned top = 63 - (unsigned)__builtin_clzll(ns);
    const size_t i = ((size_t)(top - FIRST_BIT) << SUB_BITS) +
                     (size_t)(ns >> (top - SUB_BITS) & ((1U << SUB_BITS) - 1));
    return i < VV_LATENCY_BUCKETS ? i : VV_LATENCY_BUCKETS - 1;
}

static uint64_t bound_of(size_t i) /* the least of bucket i */
{
    const uint64_t eighths = (UINT64_C(1) << SUB_BITS) + (i & ((1U << SUB_BITS) - 1));
    return eighths << (FIRST_BIT - SUB_BITS + (i >> SUB_BITS));
}

void vv_latency_add(struct vv_latency *l, uint64_t ns)
{
    const uint32_t half = atomic_load_explicit(&l->half, memory_order_relaxed) & 1;
    atomic_fetch_add_explicit(&l->bucket[half][bucket_of(ns)], 1, memory_order_relaxed);
}

uint64_t vv_latency_quantile(const struct vv_latency *l, uint64_t ppm, uint64_t *ret_count)
{
    uint32_t sum[VV_LATENCY_BUCKETS];
    uint64_t count = 0;
    for (size_t i = 0; i < VV_LATENCY_BUCKETS; i++) {
        sum[i] = atomic_load_explicit(&l->bucket[0][i], memory_order_relaxed) +
                 atomic_load_explicit(&l->bucket[1][i], memory_order_relaxed);
        count += sum[i];
    }
    *ret_count = count;
    const uint64_t rank = count * ppm / VV_PPM; /* that many are below */
    uint64_t below = 0;
    for (size_t i = 0; i < VV_LATENCY_BUCKETS && count > 0; i++) {
        if (below + sum[i] > rank || below + sum[i] == count) {
            const uint64_t width = bound_of(i + 1) - bound_of(i);
            return bound_of(i) + width * (rank - below) / vv_max_u64(sum[i], 1);
        }
        below += sum[i];
    }
    return 0;
}

void vv_latency_turn(struct vv_latency *l)
{
    const uint32_t next = (atomic_load_explicit(&l->half, memory_order_relaxed) & 1) ^ 1;
    for (size_t i = 0; i < VV_LATENCY_BUCKETS; i++) {
        atomic_store_explicit(&l->bucket[next][i], 0, memory_order_relaxed);
    }
    atomic_store_explicit(&l->half, next, memory_order_relaxed);
}
