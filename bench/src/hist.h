/* bench/src/hist.h - times of answers in a log-linear histogram: 64 steps an octave, so within 1.6 %. */
#ifndef BENCH_HIST_H
#define BENCH_HIST_H
#include <stdint.h>

#define HIST_STEPS 64
#define HIST_BUCKETS (64 * HIST_STEPS)

struct hist {
    uint64_t bucket[HIST_BUCKETS], recorded, highest_ns;
};

static inline void hist_add(struct hist *h, uint64_t ns)
{
    unsigned i = (unsigned)ns;
    if (ns >= HIST_STEPS) {
        const unsigned e = 63U - (unsigned)__builtin_clzll(ns); /* at least 6 */
        i = (e - 5) * HIST_STEPS + (unsigned)((ns >> (e - 6)) & (HIST_STEPS - 1));
    }
    h->bucket[i]++;
    h->recorded++;
    if (ns > h->highest_ns) {
        h->highest_ns = ns;
    }
}

static inline double hist_quantile_us(const struct hist *h, double q)
{
    const uint64_t want = (uint64_t)(q * (double)h->recorded);
    uint64_t seen = 0;
    for (unsigned i = 0; i < HIST_BUCKETS; i++) {
        seen += h->bucket[i];
        if (h->bucket[i] > 0 && seen > want) {
            const unsigned e = i / HIST_STEPS + 5, step = i % HIST_STEPS;
            return i < HIST_STEPS ? i / 1e3
                                  : (HIST_STEPS + step + 0.5) * (double)(1ULL << (e - 6)) / 1e3;
        }
    }
    return (double)h->highest_ns / 1e3;
}
#endif
