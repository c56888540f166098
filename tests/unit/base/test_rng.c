/* tests/unit/base/test_rng.c - the published sequence, ranges, evenness. */
#include "base/rng.h"
#include "vv_test.h"

VV_TEST(rng_follows_the_published_recurrence)
{
    /* From state {1, 2, 3, 4}: rotl(2 * 5, 7) * 9 = 10 * 128 * 9 = 11520; then s1 is 1 ^ 2 ^ 3 = 0
     * by the recurrence (s2 ^= s0 = 2, s1 ^= s2 = 0), so the second output is 0. */
    struct vv_rng r = {{1, 2, 3, 4}};
    VV_CHECK_INT(vv_rng_u64(&r), 11520);
    VV_CHECK_INT(vv_rng_u64(&r), 0);
}

VV_TEST(rng_repeats_for_the_same_seed_and_differs_for_another)
{
    struct vv_rng a, b, c;
    vv_rng_init(&a, 7);
    vv_rng_init(&b, 7);
    vv_rng_init(&c, 8);
    const uint64_t first = vv_rng_u64(&a);
    VV_CHECK(first == vv_rng_u64(&b));
    VV_CHECK(first != vv_rng_u64(&c));
}

VV_TEST(rng_below_stays_below_and_is_even)
{
    struct vv_rng r;
    unsigned hits[6] = {0};
    vv_rng_init(&r, 3);
    for (int i = 0; i < 60000; i++) {
        hits[vv_rng_below(&r, 6)]++;
    }
    for (int i = 0; i < 6; i++) {
        /* 10,000 expected, sigma = sqrt(60000 * 1/6 * 5/6) = 91: five sigma are 456. */
        VV_CHECK(hits[i] > 9544 && hits[i] < 10456);
    }
    for (int i = 0; i < 1000; i++) {
        VV_CHECK(vv_rng_below(&r, 1) == 0);
        VV_CHECK(vv_rng_below(&r, (UINT64_C(1) << 63) + 1) <= UINT64_C(1) << 63);
        const double d = vv_rng_double(&r);
        VV_CHECK(d >= 0 && d < 1);
    }
}
