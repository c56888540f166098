/* tests/unit/base/test_hist.c - quantiles within 1/32, bounds exact, merge and difference. */
#include "base/hist.h"
#include "base/rng.h"
#include "vv_test.h"
#include <stdlib.h>

static struct vv_hist h, other;

static int by_value(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

VV_TEST(hist_quantiles_are_off_by_at_most_a_thirty_second)
{
    static uint64_t v[20000];
    static const uint64_t ppm[] = {1, 100000, 500000, 900000, 990000, 999000, 1000000};
    struct vv_rng rng;
    memset(&h, 0, sizeof(h));
    vv_rng_init(&rng, 1);
    for (size_t i = 0; i < VV_COUNT(v); i++) {
        /* Log-uniform from 1 us to about 1 h: every octave gets its share. */
        v[i] = (1024 + vv_rng_below(&rng, 1024)) << vv_rng_below(&rng, 31);
        vv_hist_add(&h, v[i]);
    }
    qsort(v, VV_COUNT(v), sizeof(v[0]), by_value);
    for (size_t i = 0; i < VV_COUNT(ppm); i++) {
        /* The rank-th smallest, rank = ceil(n * share) and at least 1. */
        const uint64_t rank = vv_max_u64((VV_COUNT(v) * ppm[i] + 999999) / 1000000, 1);
        const uint64_t exact = v[rank - 1], got = vv_hist_quantile(&h, ppm[i]);
        VV_CHECK(got >= exact);              /* the top of the bucket that holds it */
        VV_CHECK(got - exact <= exact / 32); /* which is at most 1/32 wide */
    }
    VV_CHECK_INT(vv_hist_quantile(&h, 1000000), v[VV_COUNT(v) - 1]); /* the maximum is exact */
}

VV_TEST(hist_counts_exactly_at_every_exposed_bound)
{
    uint64_t want[VV_HIST_BOUNDS + 1] = {0};
    memset(&h, 0, sizeof(h));
    for (size_t i = 0; i < VV_HIST_BOUNDS; i++) {
        VV_CHECK(i == 0 || vv_hist_bound_ns[i] > vv_hist_bound_ns[i - 1]);
        vv_hist_add(&h, vv_hist_bound_ns[i]); /* the bound itself belongs below */
        want[i]++;
        vv_hist_add(&h, vv_hist_bound_ns[i] + 1);
        want[i + 1]++;
    }
    vv_hist_add(&h, 0);
    want[0]++;
    vv_hist_add(&h, UINT64_MAX);
    want[VV_HIST_BOUNDS]++;
    for (unsigned o = 0; o < 63; o++) { /* and once in every octave, found by plain search */
        const uint64_t ns = UINT64_C(3) << o >> 1;
        size_t i = 0;
        while (i < VV_HIST_BOUNDS && ns > vv_hist_bound_ns[i]) {
            i++;
        }
        vv_hist_add(&h, ns);
        want[i]++;
    }
    for (size_t i = 0; i <= VV_HIST_BOUNDS; i++) {
        VV_CHECK_INT(h.at_most[i], want[i]);
    }
}

VV_TEST(hist_clamps_both_ends_and_answers_zero_when_empty)
{
    memset(&h, 0, sizeof(h));
    VV_CHECK_INT(vv_hist_quantile(&h, 500000), 0);
    vv_hist_add(&h, 0);
    VV_CHECK_INT(vv_hist_quantile(&h, 500000), 0); /* max is 0 */
    vv_hist_add(&h, 100 * VV_HOUR);
    VV_CHECK_INT(vv_hist_quantile(&h, 1000000), 100 * VV_HOUR);
    VV_CHECK_INT(h.bucket[VV_HIST_BUCKETS - 1], 1);
}

VV_TEST(hist_merges_and_subtracts_snapshots)
{
    memset(&h, 0, sizeof(h));
    memset(&other, 0, sizeof(other));
    vv_hist_add(&h, 10 * VV_MS);
    vv_hist_add(&other, 10 * VV_MS);
    vv_hist_add(&other, 3 * VV_SEC);
    vv_hist_merge(&h, &other);
    VV_CHECK_INT(h.count, 3);
    VV_CHECK_INT(h.sum_ns, 3020 * VV_MS);
    VV_CHECK_INT(h.max_ns, 3 * VV_SEC);
    VV_CHECK_INT(h.at_most[3], 2); /* (5 ms, 10 ms] */
    vv_hist_sub(&h, &other);
    VV_CHECK_INT(h.count, 1);
    VV_CHECK_INT(h.sum_ns, 10 * VV_MS);
    const uint64_t p50 = vv_hist_quantile(&h, 500000);
    VV_CHECK(p50 >= 10 * VV_MS && p50 <= 10 * VV_MS + 10 * VV_MS / 32);
}
