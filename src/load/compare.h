/* src/load/compare.h - is B really different from A? Intervals from resampling.
 *
 * Model:   two runs side by side are compared by their seconds: neighbouring seconds are alike, so they
 *          are averaged in blocks, and blocks are what is resampled. Interleaved rounds (A B B A ...)
 *          are compared pair by pair, which removes what slowly changes on the machine. Positive
 *          values are compared by their logarithm: the result is a ratio B / A.
 *          The bootstrap is of the t statistic: with few blocks it keeps its promise where plain
 *          percentiles of the mean do not. With several metrics the confidence is divided among
 *          them, so that 95 % holds for all together.
 * Source:  B. Efron and R. Tibshirani, An Introduction to the Bootstrap (1993), chapter 12.
 * Threads: pure; randomness is passed in.
 */
#ifndef VV_LOAD_COMPARE_H
#define VV_LOAD_COMPARE_H
#include "base/rng.h"
#include "load/result.h"

#define VV_LOAD_COMPARE_MIN 8 /* pairs or blocks: fewer say nothing */

struct vv_load_difference {
    double change;    /* share: 0.05 is 5 % more; for shares (errors) the plain difference */
    double low, high; /* of the confidence interval */
    bool significant; /* zero is outside */
};
/* `relative`: compare logarithms (all values positive). VV_EINVAL: too few, or not positive. */
VV_MUST_CHECK enum vv_err vv_load_compare_pairs(const double *a, const double *b, size_t count,
                                                bool relative, double confidence,
                                                struct vv_rng *rng, struct vv_load_difference *ret);
VV_MUST_CHECK enum vv_err vv_load_compare_series(const double *a, size_t a_count, const double *b,
                                                 size_t b_count, bool relative, double confidence,
                                                 struct vv_rng *rng,
                                                 struct vv_load_difference *ret);

enum vv_load_measure {
    VV_LOAD_MEASURE_P50,
    VV_LOAD_MEASURE_P95,
    VV_LOAD_MEASURE_P99,
    VV_LOAD_MEASURE_RATE,
    VV_LOAD_MEASURE_ERRORS,
    VV_LOAD_MEASURES
};
struct vv_load_measured {
    const char *name; /* "p95" */
    bool less_is_good;
    bool known;  /* false: too little was measured to say anything */
    double a, b; /* ms, answers a second, or percent */
    struct vv_load_difference d;
    bool worse, better; /* significant, and beyond the tolerance */
};
/* Two results by their seconds. tolerance: a share; smaller changes are neither worse nor better.
 * VV_EINVAL: fewer than VV_LOAD_COMPARE_MIN + 2 seconds in one of them. */
VV_MUST_CHECK enum vv_err vv_load_compare_results(const struct vv_load_result *a,
                                                  const struct vv_load_result *b, double tolerance,
                                                  struct vv_rng *rng,
                                                  struct vv_load_measured ret[VV_LOAD_MEASURES]);
/* Rounds: a[i] and b[i] ran next to each other. */
VV_MUST_CHECK enum vv_err vv_load_compare_rounds(struct vv_load_result *const *a,
                                                 struct vv_load_result *const *b, size_t rounds,
                                                 double tolerance, struct vv_rng *rng,
                                                 struct vv_load_measured ret[VV_LOAD_MEASURES]);
#endif
