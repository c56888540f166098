/* tests/unit/load/test_recorder.c - three digits, exact merging, and the text form. */
#include "base/rng.h"
#include "base/sb.h"
#include "load/recorder.h"
#include "vv_test.h"
#include <stdlib.h>

VV_TEST(an_empty_recorder_says_zero)
{
    struct vv_load_hist *h = vv_load_hist_new();
    VV_CHECK_INT(vv_load_hist_count(h), 0);
    VV_CHECK_INT(vv_load_hist_quantile(h, 0.5), 0);
    VV_CHECK_INT(vv_load_hist_max(h), 0);
    VV_CHECK(vv_load_hist_mean(h) == 0);
    VV_CHECK_INT(vv_load_hist_at_most(h, VV_HOUR), 0);
    vv_load_hist_free(h);
}

VV_TEST(any_value_from_1_us_to_1_h_comes_back_within_a_thousandth)
{
    struct vv_load_hist *h = vv_load_hist_new();
    struct vv_rng rng;
    vv_rng_init(&rng, 1);
    for (int i = 0; i < 20000; i++) {
        /* 1 us times 2^0 .. 2^31, and a random place in that octave. */
        const uint64_t low = VV_US << vv_rng_below(&rng, 32);
        const uint64_t ns = vv_min_u64(low + vv_rng_below(&rng, low), VV_HOUR);
        vv_load_hist_clear(h);
        vv_load_hist_add(h, ns);
        vv_load_hist_add(h, VV_HOUR); /* so that the largest value does not give the answer away */
        const uint64_t got = vv_load_hist_quantile(h, 0.5);
        VV_CHECK(got >= ns && got - ns <= ns / 1000);
    }
    vv_load_hist_free(h);
}

VV_TEST(quantiles_are_ranks)
{
    struct vv_load_hist *h = vv_load_hist_new();
    for (uint64_t i = 1; i <= 100; i++) {
        vv_load_hist_add(h, i); /* below 2048 ns every value has its own bucket */
    }
    VV_CHECK_INT(vv_load_hist_quantile(h, 0), 1);
    VV_CHECK_INT(vv_load_hist_quantile(h, 0.5), 50);
    VV_CHECK_INT(vv_load_hist_quantile(h, 0.95), 95);
    VV_CHECK_INT(vv_load_hist_quantile(h, 0.99), 99);
    VV_CHECK_INT(vv_load_hist_quantile(h, 0.991), 100);
    VV_CHECK_INT(vv_load_hist_quantile(h, 1), 100);
    VV_CHECK(vv_load_hist_mean(h) == 50.5);
    VV_CHECK_INT(vv_load_hist_at_most(h, 30), 30);
    VV_CHECK_INT(vv_load_hist_min(h), 1);
    VV_CHECK_INT(vv_load_hist_max(h), 100);
    vv_load_hist_free(h);
}

VV_TEST(more_than_an_hour_counts_as_an_hour)
{
    struct vv_load_hist *h = vv_load_hist_new();
    vv_load_hist_add(h, UINT64_MAX);
    VV_CHECK_INT(vv_load_hist_max(h), VV_HOUR);
    VV_CHECK_INT(vv_load_hist_quantile(h, 0.5), VV_HOUR);
    vv_load_hist_free(h);
}

static void same(const struct vv_load_hist *a, const struct vv_load_hist *b)
{
    struct vv_sb one = VV_SB_INIT, two = VV_SB_INIT;
    vv_load_hist_write(a, &one);
    vv_load_hist_write(b, &two);
    VV_CHECK_STR(one.p, two.p);
    vv_sb_fini(&one);
    vv_sb_fini(&two);
}

VV_TEST(merged_parts_are_exactly_the_whole)
{
    struct vv_load_hist *part[3], *whole = vv_load_hist_new(), *merged = vv_load_hist_new();
    struct vv_rng rng;
    vv_rng_init(&rng, 7);
    for (size_t i = 0; i < 3; i++) {
        part[i] = vv_load_hist_new();
    }
    for (int i = 0; i < 3000; i++) {
        const uint64_t ns = vv_rng_u64(&rng) >> (22 + vv_rng_below(&rng, 30));
        vv_load_hist_add(whole, ns);
        vv_load_hist_add(part[i % 3], ns);
    }
    for (size_t i = 0; i < 3; i++) {
        vv_load_hist_merge(merged, part[i]);
        vv_load_hist_free(part[i]);
    }
    same(merged, whole);
    VV_CHECK_INT(vv_load_hist_count(merged), 3000);
    vv_load_hist_free(merged);
    vv_load_hist_free(whole);
}

VV_TEST(a_written_recorder_reads_back_the_same)
{
    struct vv_load_hist *h = vv_load_hist_new(), *back = vv_load_hist_new();
    struct vv_sb text = VV_SB_INIT;
    vv_load_hist_write(h, &text); /* empty first */
    vv_load_hist_add(back, 5);
    VV_CHECK_INT(vv_load_hist_read(back, vv_sb_str(&text)), VV_OK);
    VV_CHECK_INT(vv_load_hist_count(back), 0);
    vv_load_hist_add(h, 3 * VV_MS);
    vv_load_hist_add(h, 3 * VV_MS);
    vv_load_hist_add(h, VV_HOUR);
    vv_sb_reset(&text);
    vv_load_hist_write(h, &text);
    VV_CHECK_INT(vv_load_hist_read(back, vv_sb_str(&text)), VV_OK);
    same(h, back);
    VV_CHECK_INT(vv_load_hist_quantile(back, 1), VV_HOUR);
    vv_sb_fini(&text);
    vv_load_hist_free(h);
    vv_load_hist_free(back);
}

VV_TEST(text_that_makes_no_sense_changes_nothing)
{
    static const char *const bad[] = {
        "",
        "h2 1 1 1 1:1",
        "h1 1 1",
        "h1 1 1 1 1",
        "h1 1 1 1 1:0",                        /* an empty bucket is not written */
        "h1 9 1 5 5:1 1:1",                    /* falling */
        "h1 9 1 5 1:1 1:1",                    /* twice the same */
        "h1 1 1 1 99999999:1",                 /* no such bucket */
        "h1 9 2 5 1:1 5:1",                    /* the smallest value lies in another bucket */
        "h1 9 1 9 1:1 5:1",                    /* and the largest */
        "h1 9 1 5 1:-1 5:1",                   /* signs */
        "h1 9 1 5 1:1 5:18446744073709551615", /* more than can be counted */
        "h1 1 1 1",                            /* a sum of nothing */
    };
    struct vv_load_hist *h = vv_load_hist_new();
    vv_load_hist_add(h, 42);
    for (size_t i = 0; i < VV_COUNT(bad); i++) {
        VV_CHECK_INT(vv_load_hist_read(h, vv_str_from(bad[i])), VV_ESYNTAX);
        VV_CHECK_INT(vv_load_hist_count(h), 1);
        VV_CHECK_INT(vv_load_hist_quantile(h, 1), 42);
    }
    vv_load_hist_free(h);
}

static void add_up(void *ctx, uint64_t from_ns, uint64_t to_ns, uint64_t count)
{
    uint64_t *seen = ctx;
    VV_CHECK(from_ns <= to_ns && from_ns >= seen[1]);
    seen[0] += count;
    seen[1] = to_ns + 1; /* buckets rise and do not overlap */
}

VV_TEST(each_visits_all_buckets_in_rising_order)
{
    struct vv_load_hist *h = vv_load_hist_new();
    uint64_t seen[2] = {0, 0};
    for (uint64_t i = 0; i < 1000; i++) {
        vv_load_hist_add(h, i * i * VV_US);
    }
    vv_load_hist_each(h, add_up, seen);
    VV_CHECK_INT(seen[0], 1000);
    vv_load_hist_free(h);
}
