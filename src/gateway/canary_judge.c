/* src/gateway/canary_judge.c - the test is guard/compare.h; here is only what follows from its verdict. */
#include "gateway/canary_judge.h"

#define SAMPLES_LEAST 20
#define ERRORS_LEAST 5   /* of the candidate, before errors can stop it */
#define ERRORS_FINE 0.01 /* beyond what is bearable: one more of a hundred requests fails */
#define TIMES_FINE 0.05  /* about 10 % longer times (compare.h) */
#define ERRORS_WORSE_MAX 0.98
#define TIMES_WORSE_MAX 0.45
#define NOTICED_NS (500 * VV_US) /* longer times that nobody would notice stop nothing */
#define NOTICED_PART 50          /* nor those longer by less than a fiftieth */

static size_t compared_steps(const struct vv_canary_rules *r)
{
    size_t n = 0;
    for (size_t i = 0; i < r->steps; i++) {
        n += r->step_ppm[i] < VV_PPM;
    }
    return n > 0 ? n : 1;
}

static double at_most(double value, double limit)
{
    return value < limit ? value : limit;
}

void vv_canary_rules_compare(struct vv_canary_rules *r, double alpha, double errors_worse,
                             double times_worse, uint64_t volume)
{
    const double errors = at_most(errors_worse, ERRORS_WORSE_MAX);
    const double times = at_most(times_worse, TIMES_WORSE_MAX);
    r->compare = (struct vv_compare_conf){
        .alpha = alpha / (double)compared_steps(r),
        .errors_worse = errors,
        .times_worse = times,
        .errors_fine = errors + ERRORS_FINE,
        .times_fine = times + TIMES_FINE,
        .samples_min = vv_max_u64(volume, SAMPLES_LEAST),
        .errors_min = ERRORS_LEAST,
    };
}

uint64_t vv_canary_next_step(const struct vv_canary_rules *r, uint64_t share_ppm)
{
    for (size_t i = 0; i < r->steps; i++) {
        if (r->step_ppm[i] > share_ppm) {
            return r->step_ppm[i];
        }
    }
    return VV_PPM;
}

static bool longer(const struct vv_compare_side *base, const struct vv_compare_side *candidate,
                   uint64_t quantile_ppm)
{
    const uint64_t old_ns = vv_hist_quantile(base->times, quantile_ppm);
    const uint64_t new_ns = vv_hist_quantile(candidate->times, quantile_ppm);
    return new_ns > old_ns + vv_max_u64(NOTICED_NS, old_ns / NOTICED_PART);
}

/* No two servers are exactly as quick as each other: with enough requests any difference is sure. */
static void forgive(const struct vv_canary_rules *r, const struct vv_compare_side *base,
                    const struct vv_compare_side *candidate, struct vv_compare_result *ret)
{
    if (!ret->by_times || longer(base, candidate, 500000) || longer(base, candidate, 950000)) {
        return;
    }
    ret->by_times = false;
    ret->verdict = ret->by_errors                              ? VV_VERDICT_WORSE
                   : ret->errors.high < r->compare.errors_fine ? VV_VERDICT_FINE
                                                               : VV_VERDICT_OPEN;
}

enum vv_canary_move vv_canary_judge(const struct vv_canary_rules *r, uint64_t share_ppm,
                                    uint64_t step_ns, const struct vv_compare_side *base,
                                    const struct vv_compare_side *candidate,
                                    struct vv_compare_result *ret)
{
    vv_compare(&r->compare, base, candidate, ret);
    forgive(r, base, candidate, ret);
    if (ret->verdict == VV_VERDICT_WORSE) {
        return r->automatic ? VV_CANARY_ABORT : VV_CANARY_STAY;
    }
    const bool has_next = r->steps > 0 && r->step_ppm[r->steps - 1] > share_ppm;
    return ret->verdict == VV_VERDICT_FINE && has_next && step_ns >= r->every_ns ? VV_CANARY_PROMOTE
                                                                                 : VV_CANARY_STAY;
}
