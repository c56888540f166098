/* src/base/hist.h - log-linear histogram of durations: 3 % wide buckets, plus exact counts at the
 * bounds that are exposed to Prometheus.
 *
 * Model:   values in nanoseconds. 32 linear sub-buckets per octave from 1 us to about 1 h (below
 *          and above are clamped), so a quantile is off by at most 1/32. Beside it one counter per
 *          exposed bound (VV_HIST_BOUNDS), exact, because alert thresholds stand on bounds.
 * Source:  HdrHistogram (G. Tene) for the layout; bounds from the metric names reference.
 * Threads: one writer; readers on other threads see torn sums at worst (relaxed words), no
 *          crash.
 * Units:   ns in, seconds only at exposition.
 */
#ifndef VV_BASE_HIST_H
#define VV_BASE_HIST_H
#include "base/defs.h"

#define VV_HIST_BOUNDS 17 /* plus +Inf */

extern const uint64_t vv_hist_bound_ns[VV_HIST_BOUNDS]; /* 1ms 2.5ms 5 10 25 50 75 100 200 350 500
                                                            750ms 1s 2s 5s 10s 30s */
#define VV_HIST_SUB 32
#define VV_HIST_OCTAVES 32
#define VV_HIST_BUCKETS (VV_HIST_SUB * (VV_HIST_OCTAVES + 1))

struct vv_hist {
    uint64_t count, sum_ns, max_ns;
    uint64_t at_most[VV_HIST_BOUNDS + 1]; /* not cumulative: values in (bound[i-1], bound[i]] */
    uint32_t bucket[VV_HIST_BUCKETS];
};
void vv_hist_add(struct vv_hist *h, uint64_t ns);
void vv_hist_merge(struct vv_hist *into, const struct vv_hist *from);
void vv_hist_sub(struct vv_hist *from, const struct vv_hist *earlier); /* difference of snapshots */
uint64_t vv_hist_quantile(const struct vv_hist *h, uint64_t ppm);      /* ns; 0 when empty */
#endif
