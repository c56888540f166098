/* tests/unit/guard/test_compare.c - simulated rollouts: the same version is let through, a worse one
 * is found while it gets a tenth of the traffic. Seeds are fixed: the results do not change. */
#include "base/rng.h"
#include "guard/compare.h"

#include "vv_test.h"

#include <math.h>

#define ROLLOUTS 200
#define REQUESTS 20000
#define LOOK_EVERY 500 /* 40 looks at each rollout */
#define NEW_ONE_IN 10

static const struct vv_compare_conf usual = {
    .alpha = 0.01, .errors_fine = 0.01, .times_fine = 0.05, .samples_min = 50, .errors_min = 5};

struct version {
    double error_share, median_ms, sigma;
};

struct rollouts {
    int worse, fine, open;
    int by_errors, by_times;
    uint64_t requests; /* until the verdict, all together */
};

static double normal(struct vv_rng *rng)
{
    return sqrt(-2 * log(1 - vv_rng_double(rng))) * cos(2 * M_PI * vv_rng_double(rng));
}

static enum vv_verdict roll_out(const struct version *v, struct vv_rng *rng, bool times,
                                bool stop_when_fine, struct rollouts *r)
{
    static struct vv_hist hist[2];
    struct vv_compare_side side[2] = {{.times = times ? &hist[0] : NULL},
                                      {.times = times ? &hist[1] : NULL}};
    struct vv_compare_result result = {.verdict = VV_VERDICT_OPEN};
    memset(hist, 0, sizeof(hist));
    for (uint64_t i = 1; i <= REQUESTS; i++) {
        const size_t s = vv_rng_below(rng, NEW_ONE_IN) == 0;
        side[s].requests++;
        side[s].errors += vv_rng_double(rng) < v[s].error_share;
        if (times) {
            const double ms = v[s].median_ms * exp(v[s].sigma * normal(rng));
            vv_hist_add(&hist[s], (uint64_t)(ms * (double)VV_MS));
        }
        r->requests++;
        if (i % LOOK_EVERY == 0) {
            vv_compare(&usual, &side[0], &side[1], &result);
            if (result.verdict == VV_VERDICT_WORSE ||
                (stop_when_fine && result.verdict == VV_VERDICT_FINE)) {
                break;
            }
        }
    }
    r->by_errors += result.by_errors;
    r->by_times += result.by_times;
    return result.verdict;
}

static struct rollouts roll_out_many(struct version old_one, struct version new_one, bool times,
                                     bool stop_when_fine, uint64_t seed)
{
    const struct version v[2] = {old_one, new_one};
    struct rollouts r = {0};
    struct vv_rng rng;
    vv_rng_init(&rng, seed);
    for (int i = 0; i < ROLLOUTS; i++) {
        const enum vv_verdict verdict = roll_out(v, &rng, times, stop_when_fine, &r);
        r.worse += verdict == VV_VERDICT_WORSE;
        r.fine += verdict == VV_VERDICT_FINE;
        r.open += verdict == VV_VERDICT_OPEN;
    }
    return r;
}

VV_TEST(the_same_version_is_called_worse_at_most_four_times_of_200)
{
    static const double shares[] = {0, 0.0005, 0.01, 0.1, 0.5};
    for (size_t i = 0; i < VV_COUNT(shares); i++) {
        const struct version v = {.error_share = shares[i]};
        const struct rollouts r = roll_out_many(v, v, false, false, 100 + i);
        VV_CHECK(r.worse <= 4);
    }
    static const double sigmas[] = {0.1, 0.5, 2};
    for (size_t i = 0; i < VV_COUNT(sigmas); i++) {
        const struct version v = {.error_share = 0.01, .median_ms = 50, .sigma = sigmas[i]};
        const struct rollouts r = roll_out_many(v, v, true, false, 200 + i);
        VV_CHECK(r.worse <= 4);
    }
}

VV_TEST(ten_percent_longer_times_are_found)
{
    const struct version v = {.error_share = 0.01, .median_ms = 50, .sigma = 0.5};
    const struct version slow = {.error_share = 0.01, .median_ms = 55, .sigma = 0.5};
    const struct rollouts r = roll_out_many(v, slow, true, true, 300);
    VV_CHECK(r.worse >= ROLLOUTS * 95 / 100);
    VV_CHECK(r.by_times >= ROLLOUTS * 95 / 100);
}

VV_TEST(more_errors_are_found_the_sooner_the_more)
{
    const struct version v = {.error_share = 0.01};
    const struct version ten_more = {.error_share = 0.11};
    const struct version triple = {.error_share = 0.03};
    const struct rollouts quick = roll_out_many(v, ten_more, false, true, 400);
    const struct rollouts slow = roll_out_many(v, triple, false, true, 401);
    VV_CHECK_INT(quick.worse, ROLLOUTS);
    VV_CHECK(quick.requests / ROLLOUTS <= 3000); /* 300 of the new version */
    VV_CHECK(slow.worse >= ROLLOUTS * 95 / 100);
    VV_CHECK(quick.requests < slow.requests);
}

VV_TEST(the_same_version_becomes_fine_in_time)
{
    const struct version v = {.error_share = 0.001, .median_ms = 50, .sigma = 0.5};
    const struct rollouts r = roll_out_many(v, v, true, true, 500);
    VV_CHECK(r.fine >= ROLLOUTS * 95 / 100);
}

VV_TEST(a_better_version_is_never_worse)
{
    const struct version v = {.error_share = 0.05, .median_ms = 50, .sigma = 0.5};
    const struct version better = {.error_share = 0.01, .median_ms = 40, .sigma = 0.5};
    const struct rollouts r = roll_out_many(v, better, true, true, 600);
    VV_CHECK_INT(r.worse, 0);
    VV_CHECK_INT(r.fine, ROLLOUTS);
}

VV_TEST(times_that_never_overlap_differ_by_one_half)
{
    static struct vv_hist quick;
    static struct vv_hist slow;
    struct vv_compare_result result;
    memset(&quick, 0, sizeof(quick));
    memset(&slow, 0, sizeof(slow));
    for (int i = 0; i < 100; i++) {
        vv_hist_add(&quick, VV_MS);
        vv_hist_add(&slow, VV_SEC);
    }
    const struct vv_compare_side old_one = {.requests = 100, .times = &quick};
    const struct vv_compare_side new_one = {.requests = 100, .times = &slow};
    vv_compare(&usual, &old_one, &new_one, &result);
    VV_CHECK(fabs(result.times.diff - 0.5) < 1e-9); /* P(new > old) = 1 */
    VV_CHECK_INT(result.verdict, VV_VERDICT_WORSE);
    VV_CHECK(result.by_times && !result.by_errors);
    vv_compare(&usual, &old_one, &old_one, &result);
    VV_CHECK(fabs(result.times.diff) < 1e-9); /* all ties: one half */
    VV_CHECK(result.verdict != VV_VERDICT_WORSE);
}

VV_TEST(too_few_samples_say_nothing)
{
    const struct vv_compare_side old_one = {.requests = 1000, .errors = 0};
    const struct vv_compare_side few = {.requests = 49, .errors = 49};
    const struct vv_compare_side enough = {.requests = 50, .errors = 50};
    struct vv_compare_result result;
    vv_compare(&usual, &old_one, &few, &result);
    VV_CHECK_INT(result.verdict, VV_VERDICT_OPEN);
    vv_compare(&usual, &old_one, &enough, &result);
    VV_CHECK_INT(result.verdict, VV_VERDICT_WORSE);
}

VV_TEST(conf_out_of_range_is_refused)
{
    struct vv_compare_conf conf = usual;
    VV_CHECK_INT(vv_compare_check(&conf), VV_OK);
    conf.alpha = 0;
    VV_CHECK_INT(vv_compare_check(&conf), VV_EINVAL);
    conf = usual;
    conf.times_worse = 0.1; /* worse from 0.1 but fine below 0.05: both at once could be true */
    VV_CHECK_INT(vv_compare_check(&conf), VV_EINVAL);
    conf = usual;
    conf.samples_min = 19;
    VV_CHECK_INT(vv_compare_check(&conf), VV_EINVAL);
}
