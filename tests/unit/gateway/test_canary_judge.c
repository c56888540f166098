/* tests/unit/gateway/test_canary_judge.c - whole rollouts, simulated: the same version gets through, a
 * worse one is stopped while it has less than a tenth of the traffic. Seeds are fixed. */
#include "base/rng.h"
#include "gateway/canary_judge.h"
#include "vv_test.h"

#include <math.h>
#include <stdio.h>

#define ROLLOUTS 200
#define PER_SECOND 1000
#define LOOK_EVERY 1000 /* one look a second */
#define LOOKS_MAX 4000
#define TIMES 65536

struct version {
    double error_share;
    uint64_t ns[TIMES]; /* quantiles of its times: a draw is a look into the table */
};

/* By bisection: that is quick enough for one table. */
static double normal_quantile(double p)
{
    double low = -6, high = 6;
    for (int i = 0; i < 40; i++) {
        const double mid = (low + high) / 2;
        *(erfc(-mid / sqrt(2)) / 2 < p ? &low : &high) = mid;
    }
    return (low + high) / 2;
}

static void version_init(struct version *v, double error_share, double median_ms)
{
    v->error_share = error_share;
    for (size_t i = 0; i < TIMES; i++) {
        const double q = normal_quantile(((double)i + 0.5) / TIMES);
        v->ns[i] = (uint64_t)(median_ms * exp(0.5 * q) * (double)VV_MS); /* sigma 0.5 */
    }
}

/* Steps 1, 5, 10, 25, 50, 100 %, at least 30 s each; 1 % as the risk of the whole rollout. */
static struct vv_canary_rules usual(void)
{
    struct vv_canary_rules r = {.step_ppm = {10000, 50000, 100000, 250000, 500000, 1000000},
                                .steps = 6,
                                .every_ns = 30 * VV_SEC,
                                .automatic = true};
    vv_canary_rules_compare(&r, 0.01, 0, 0, 100);
    return r;
}

struct step {
    struct vv_hist hist[2];
    struct vv_compare_side side[2];
    uint64_t requests;
};

static void step_begin(struct step *s)
{
    memset(s, 0, sizeof *s);
    s->side[0].times = &s->hist[0];
    s->side[1].times = &s->hist[1];
}

static void traffic(struct step *s, const struct version *v[2], uint64_t share_ppm,
                    struct vv_rng *rng)
{
    for (int i = 0; i < LOOK_EVERY; i++) {
        const uint64_t r = vv_rng_u64(rng);
        const size_t k = (r >> 40) * VV_PPM >> 24 < share_ppm;
        s->side[k].requests++;
        s->side[k].errors += vv_rng_double(rng) < v[k]->error_share;
        vv_hist_add(&s->hist[k], v[k]->ns[r % TIMES]);
    }
    s->requests += LOOK_EVERY;
}

/* Share at which it was aborted; VV_PPM: promoted; 0: neither, in more than an hour. */
static uint64_t roll_out(const struct vv_canary_rules *rules, const struct version *v[2],
                         struct vv_rng *rng)
{
    static struct step s;
    uint64_t share_ppm = rules->step_ppm[0];
    step_begin(&s);
    for (int looks = 0; looks < LOOKS_MAX && share_ppm < VV_PPM; looks++) {
        struct vv_compare_result result;
        traffic(&s, v, share_ppm, rng);
        switch (vv_canary_judge(rules, share_ppm, s.requests * (VV_SEC / PER_SECOND), &s.side[0],
                                &s.side[1], &result)) {
        case VV_CANARY_ABORT:
            return share_ppm;
        case VV_CANARY_PROMOTE:
            share_ppm = vv_canary_next_step(rules, share_ppm);
            step_begin(&s);
            break;
        case VV_CANARY_STAY:
            break;
        }
    }
    return share_ppm == VV_PPM ? VV_PPM : 0;
}

struct outcome {
    int promoted, early, late, open; /* early: aborted below 10 % */
};

static struct outcome roll_out_many(const char *what, const struct version *base,
                                    const struct version *candidate, uint64_t seed)
{
    const struct vv_canary_rules rules = usual();
    const struct version *v[2] = {base, candidate};
    struct outcome o = {0};
    struct vv_rng rng;
    vv_rng_init(&rng, seed);
    for (int i = 0; i < ROLLOUTS; i++) {
        const uint64_t end = roll_out(&rules, v, &rng);
        o.promoted += end == VV_PPM;
        o.early += end > 0 && end < 100000;
        o.late += end >= 100000 && end < VV_PPM;
        o.open += end == 0;
    }
    printf("%s: of %d promoted %d, aborted below 10 %% %d, later %d, undecided %d\n", what,
           ROLLOUTS, o.promoted, o.early, o.late, o.open);
    return o;
}

static struct version base, candidate;

VV_TEST(the_same_version_is_aborted_at_most_four_times_of_200_and_else_promoted)
{
    version_init(&base, 0.01, 50);
    const struct outcome o = roll_out_many("the same", &base, &base, 1);
    VV_CHECK(o.early + o.late <= 4); /* 2 %; the rules promise 1 % */
    VV_CHECK(o.promoted >= 196);
}

VV_TEST(ten_percent_longer_times_are_caught_before_a_tenth_of_the_traffic)
{
    version_init(&base, 0.01, 50);
    version_init(&candidate, 0.01, 55);
    const struct outcome o = roll_out_many("times 10 % longer", &base, &candidate, 2);
    VV_CHECK(o.early >= 190); /* 95 % */
}

VV_TEST(ten_more_errors_in_a_hundred_are_caught_before_a_tenth_of_the_traffic)
{
    version_init(&base, 0.01, 50);
    version_init(&candidate, 0.11, 50);
    const struct outcome o = roll_out_many("errors 1 % and 11 %", &base, &candidate, 3);
    VV_CHECK(o.early >= 190);
}

/* The other reading of "10 % worse": a share of errors of 20 % becomes 22 %. */
VV_TEST(a_tenth_more_errors_of_many_is_not_promoted_unseen)
{
    version_init(&base, 0.20, 50);
    version_init(&candidate, 0.22, 50);
    const struct outcome o = roll_out_many("errors 20 % and 22 %", &base, &candidate, 4);
    VV_CHECK(o.early >= 190);
}

VV_TEST(a_better_version_is_promoted)
{
    version_init(&base, 0.02, 50);
    version_init(&candidate, 0.01, 45);
    const struct outcome o = roll_out_many("better", &base, &candidate, 5);
    VV_CHECK_INT(o.promoted, ROLLOUTS);
}

VV_TEST(a_step_lasts_its_least_time_however_fine_the_candidate_is)
{
    const struct vv_canary_rules rules = usual();
    const struct vv_compare_side many = {.requests = 1000000};
    struct vv_compare_result result;
    VV_CHECK_INT(vv_canary_judge(&rules, 10000, 30 * VV_SEC - 1, &many, &many, &result),
                 VV_CANARY_STAY);
    VV_CHECK_INT(result.verdict, VV_VERDICT_FINE);
    VV_CHECK_INT(vv_canary_judge(&rules, 10000, 30 * VV_SEC, &many, &many, &result),
                 VV_CANARY_PROMOTE);
}

VV_TEST(time_alone_promotes_nothing)
{
    const struct vv_canary_rules rules = usual();
    const struct vv_compare_side many = {.requests = 1000000}, few = {.requests = 150};
    struct vv_compare_result result;
    VV_CHECK_INT(vv_canary_judge(&rules, 10000, 24 * 3600 * VV_SEC, &many, &few, &result),
                 VV_CANARY_STAY);
    VV_CHECK_INT(result.verdict, VV_VERDICT_OPEN); /* 150 cannot rule out one more of a hundred */
}

/* All of its times longer by so much than 10 ms: P(new > old) = 1, as sure as can be. */
static enum vv_verdict verdict_of_longer(uint64_t by_ns)
{
    static struct vv_hist quick, slow;
    const struct vv_canary_rules rules = usual();
    struct vv_compare_result result;
    memset(&quick, 0, sizeof quick);
    memset(&slow, 0, sizeof slow);
    for (int i = 0; i < 5000; i++) {
        vv_hist_add(&quick, 10 * VV_MS);
        vv_hist_add(&slow, 10 * VV_MS + by_ns);
    }
    const struct vv_compare_side old_one = {.requests = 5000, .times = &quick};
    const struct vv_compare_side new_one = {.requests = 5000, .times = &slow};
    (void)vv_canary_judge(&rules, 10000, VV_SEC, &old_one, &new_one, &result);
    VV_CHECK(fabs(result.times.diff - 0.5) < 1e-9);
    return result.verdict;
}

VV_TEST(longer_times_that_nobody_notices_stop_nothing)
{
    VV_CHECK_INT(verdict_of_longer(400 * VV_US), VV_VERDICT_FINE);
    VV_CHECK_INT(verdict_of_longer(2 * VV_MS), VV_VERDICT_WORSE);
}

VV_TEST(without_automatic_a_worse_one_stays_and_is_not_promoted)
{
    struct vv_canary_rules rules = usual();
    const struct vv_compare_side good = {.requests = 1000}, bad = {.requests = 1000, .errors = 900};
    struct vv_compare_result result;
    VV_CHECK_INT(vv_canary_judge(&rules, 10000, VV_SEC, &good, &bad, &result), VV_CANARY_ABORT);
    rules.automatic = false;
    VV_CHECK_INT(vv_canary_judge(&rules, 10000, 3600 * VV_SEC, &good, &bad, &result),
                 VV_CANARY_STAY);
    VV_CHECK_INT(result.verdict, VV_VERDICT_WORSE);
}

VV_TEST(steps_go_up_from_where_the_share_is_and_the_risk_is_shared_among_them)
{
    struct vv_canary_rules rules = usual();
    VV_CHECK_INT(vv_canary_next_step(&rules, 0), 10000);
    VV_CHECK_INT(vv_canary_next_step(&rules, 70000), 100000); /* between two: the one above */
    VV_CHECK_INT(vv_canary_next_step(&rules, 500000), VV_PPM);
    VV_CHECK(fabs(rules.compare.alpha - 0.002) < 1e-12); /* five steps are compared, 100 % is not */
    rules.steps = 0;
    vv_canary_rules_compare(&rules, 0.01, 0.02, 0, 5);
    VV_CHECK(fabs(rules.compare.alpha - 0.01) < 1e-12);
    VV_CHECK_INT(rules.compare.samples_min, 20);
    VV_CHECK_INT(vv_compare_check(&rules.compare), VV_OK);
    VV_CHECK_INT(vv_canary_next_step(&rules, 50000), VV_PPM);
}
