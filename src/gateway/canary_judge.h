/* src/gateway/canary_judge.h - when does a canary get more traffic, when none? Numbers in, a move out.
 *
 * Model:     a step of the rollout ends in one of two ways. WORSE (guard/compare.h): abort. FINE, after
 *            the step's least time: the next step. Undecided: the step goes on, however long, because a
 *            step that ends by the clock lets a worse version through wherever traffic is thin.
 *            FINE needs to rule out what WORSE is there to find (a shift of 0.05, one error more in a
 *            hundred), so the two need about as many requests: 1,000 to 2,000 of the candidate.
 *            Longer times stop it when they can be noticed: the median or the 95th percentile is longer by
 *            more than half a millisecond and a fiftieth. Else they are as good as fine.
 *            The risk of a wrong abort is for the whole rollout: each step has its part of it.
 * Source:    guard/compare.h. Threads: pure functions.
 * Units:     *_ns durations and times, *_ppm shares.
 */
#ifndef VV_GATEWAY_CANARY_JUDGE_H
#define VV_GATEWAY_CANARY_JUDGE_H
#include "guard/compare.h"

#define VV_CANARY_STEPS_MAX 16

struct vv_canary_rules {                    /* a plain value */
    uint64_t step_ppm[VV_CANARY_STEPS_MAX]; /* rising */
    size_t steps;                           /* 0: no promotion by itself */
    uint64_t every_ns;                      /* least time of a step */
    bool automatic;                         /* worse: abort by itself */
    struct vv_compare_conf compare;         /* alpha: of one step */
};

enum vv_canary_move { VV_CANARY_STAY, VV_CANARY_PROMOTE, VV_CANARY_ABORT };

/* What one step may spend of `alpha`: the steps that are compared are those below 100 %. */
void vv_canary_rules_compare(struct vv_canary_rules *r, double alpha, double errors_worse,
                             double times_worse, uint64_t volume);
/* The first step above the share; VV_PPM after the last one. */
uint64_t vv_canary_next_step(const struct vv_canary_rules *r, uint64_t share_ppm);
/* Both sides' counts are of the present step. PROMOTE: to vv_canary_next_step(). */
enum vv_canary_move vv_canary_judge(const struct vv_canary_rules *r, uint64_t share_ppm,
                                    uint64_t step_ns, const struct vv_compare_side *base,
                                    const struct vv_compare_side *candidate,
                                    struct vv_compare_result *ret);
#endif
