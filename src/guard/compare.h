/* src/guard/compare.h - is the new version worse than the old one? A test one may look at any time.
 *
 * Model:     two sides that get traffic at the same time. Errors: the difference of the shares of
 *            failed requests. Times: the probability that a request of the new version takes longer
 *            than one of the old, less one half (Mann-Whitney), so that neither the unit nor a few
 *            very slow ones matter. Both get a confidence interval that holds at all looks
 *            together (a mixture sequential test), each for half of alpha: a version that is the
 *            same is called worse with probability alpha at most, however often one looks.
 *            WORSE: an interval lies above what is bearable. FINE: both lie below what is tolerated.
 *            Sizes: log-normal times with sigma 0.5, all 10 % longer, are a shift of 0.054.
 * Source:    Johari, Pekelis, Walsh: Always Valid Inference (2017). DeLong et al. (1988) for the
 *            variance of the Mann-Whitney statistic.
 * Units:     shares and probabilities are doubles in 0 .. 1; times are those of vv_hist.
 * Threads:   pure functions. Merge the workers' histograms first.
 * Caution:   begin both sides anew whenever the split of the traffic changes: summed over a quiet
 *            night with 1 % and a busy day with 50 %, equal versions look different.
 * Errors:    VV_EINVAL for a conf out of range. */
#ifndef VV_GUARD_COMPARE_H
#define VV_GUARD_COMPARE_H
#include "base/err.h"
#include "base/hist.h"

struct vv_compare_conf {
    double alpha;                     /* in (0, 0.5); usually 0.01 */
    double errors_worse, times_worse; /* bearable: worse is what surely lies above; usually 0 */
    double errors_fine, times_fine;   /* tolerated: fine is what surely lies below; >= *_worse */
    uint64_t samples_min;             /* requests of either side before anything is said; >= 20 */
    uint64_t errors_min;              /* errors of the new version before they count as worse */
};

struct vv_compare_side {
    uint64_t requests, errors;
    const struct vv_hist *times; /* NULL: only errors are compared */
};

enum vv_verdict { VV_VERDICT_OPEN, VV_VERDICT_WORSE, VV_VERDICT_FINE };

struct vv_compare_interval {
    double diff, low, high; /* above 0: the new version is worse */
};

struct vv_compare_result {
    enum vv_verdict verdict;
    bool by_errors, by_times; /* WORSE: why */
    struct vv_compare_interval errors, times;
};

VV_MUST_CHECK enum vv_err vv_compare_check(const struct vv_compare_conf *conf);
void vv_compare(const struct vv_compare_conf *conf, const struct vv_compare_side *old_one,
                const struct vv_compare_side *new_one, struct vv_compare_result *ret);
#endif
