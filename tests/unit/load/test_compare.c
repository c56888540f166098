/* tests/unit/load/test_compare.c - promises of the comparison, by simulation with fixed seeds: equal
 * pairs differ "significantly" in at most 5 of 100, a slowdown of 5 % is found in at least 90. */
#include "load/compare.h"
#include "sample.h"
#include "vv_test.h"

#include <math.h>

/* Sum of twelve uniform numbers less six: normal enough, without tails that a test would notice. */
static double normal(struct vv_rng *rng)
{
    double sum = -6.0;
    for (int i = 0; i < 12; i++) {
        sum += vv_rng_double(rng);
    }
    return sum;
}

/* 60 seconds around `ms` with 5 % noise of which each second keeps 0.3 of the one before. */
static struct vv_load_result *simulate(struct vv_rng *rng, double ms)
{
    const struct vv_load_view view = {.target = "http://127.0.0.1"};
    struct vv_load_result *r = NULL;
    double drift[3] = {0};
    VV_CHECK_INT(vv_load_result_new(&view, &r), VV_OK);
    VV_CHECK_INT(vv_load_result_windows(r, 60), VV_OK);
    for (size_t i = 0; i < 60; i++) {
        static const double factor[] = {1.0, 2.0, 4.0};
        uint64_t ns[3];
        for (int k = 0; k < 3; k++) {
            drift[k] = 0.3 * drift[k] + 0.05 * normal(rng);
            ns[k] = (uint64_t)(ms * factor[k] * exp(drift[k]) * 1e6);
        }
        r->window[i].p50_ns = ns[0];
        r->window[i].p95_ns = ns[1];
        r->window[i].p99_ns = ns[2];
        r->window[i].completed = (uint64_t)(1000.0 + 10.0 * normal(rng));
        r->window[i].failed = vv_rng_below(rng, 3);
    }
    return r;
}

/* How many of 100 pairs are called different (any metric) and how many slower in p50. */
static void count_pairs(double slowdown, int *ret_different, int *ret_slower)
{
    struct vv_rng rng;
    vv_rng_init(&rng, 2026);
    *ret_different = *ret_slower = 0;
    for (int i = 0; i < 100; i++) {
        struct vv_load_measured m[VV_LOAD_MEASURES];
        struct vv_load_result *a = simulate(&rng, 20.0);
        struct vv_load_result *b = simulate(&rng, 20.0 * slowdown);
        bool any = false;
        VV_CHECK_INT(vv_load_compare_results(a, b, 0.0, &rng, m), VV_OK);
        for (int k = 0; k < VV_LOAD_MEASURES; k++) {
            VV_CHECK(m[k].known);
            any = any || m[k].worse || m[k].better;
        }
        *ret_different += any ? 1 : 0;
        *ret_slower += m[VV_LOAD_MEASURE_P50].worse ? 1 : 0;
        vv_load_result_free(a);
        vv_load_result_free(b);
    }
}

VV_TEST(equal_runs_differ_in_at_most_five_of_a_hundred_pairs)
{
    int different, slower;
    count_pairs(1.0, &different, &slower);
    VV_CHECK(different <= 5);
}

VV_TEST(a_slowdown_of_five_percent_is_found_in_ninety_of_a_hundred)
{
    int different, slower;
    count_pairs(1.05, &different, &slower);
    VV_CHECK(slower >= 90);
}

/* Twenty rounds on a machine that drifts: both halves of a round see the same drift. */
static int rounds_found(double slowdown)
{
    struct vv_rng rng;
    int found = 0;
    vv_rng_init(&rng, 7);
    for (int i = 0; i < 100; i++) {
        double a[20], b[20], drift = 0.0;
        struct vv_load_difference d;
        for (int k = 0; k < 20; k++) {
            drift += 0.05 * normal(&rng);
            a[k] = 20.0 * exp(drift + 0.02 * normal(&rng));
            b[k] = 20.0 * slowdown * exp(drift + 0.02 * normal(&rng));
        }
        VV_CHECK_INT(vv_load_compare_pairs(a, b, 20, true, 0.95, &rng, &d), VV_OK);
        VV_CHECK(d.low <= d.change && d.change <= d.high);
        found += d.significant && d.change > 0.0 ? 1 : 0;
    }
    return found;
}

VV_TEST(interleaved_rounds_see_through_drift)
{
    VV_CHECK(rounds_found(1.05) >= 90);
    VV_CHECK(rounds_found(1.0) <= 5);
}

VV_TEST(the_tolerance_forgives_small_changes)
{
    struct vv_rng rng;
    struct vv_load_measured m[VV_LOAD_MEASURES];
    vv_rng_init(&rng, 3);
    struct vv_load_result *a = simulate(&rng, 20.0), *b = simulate(&rng, 22.0);
    VV_CHECK_INT(vv_load_compare_results(a, b, 0.0, &rng, m), VV_OK);
    VV_CHECK(m[VV_LOAD_MEASURE_P50].worse && !m[VV_LOAD_MEASURE_P50].better);
    VV_CHECK_INT(vv_load_compare_results(a, b, 0.2, &rng, m), VV_OK);
    VV_CHECK(m[VV_LOAD_MEASURE_P50].d.significant && !m[VV_LOAD_MEASURE_P50].worse);
    vv_load_result_free(a);
    vv_load_result_free(b);
}

VV_TEST(values_without_spread_are_judged_by_their_means)
{
    struct vv_rng rng;
    struct vv_load_difference d;
    double a[8], b[8];
    vv_rng_init(&rng, 3);
    for (int i = 0; i < 8; i++) {
        a[i] = 10.0;
        b[i] = 11.0;
    }
    VV_CHECK_INT(vv_load_compare_pairs(a, a, 8, true, 0.95, &rng, &d), VV_OK);
    VV_CHECK(!d.significant);
    VV_CHECK_INT(vv_load_compare_series(a, 8, b, 8, true, 0.95, &rng, &d), VV_OK);
    VV_CHECK(d.significant && fabs(d.change - 0.1) < 1e-9);
    VV_CHECK_INT(vv_load_compare_pairs(a, b, 7, true, 0.95, &rng, &d), VV_EINVAL);
    b[0] = 0.0;
    VV_CHECK_INT(vv_load_compare_pairs(a, b, 8, true, 0.95, &rng, &d), VV_EINVAL);
}
