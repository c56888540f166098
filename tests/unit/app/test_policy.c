/* tests/unit/app/test_policy.c - when a crashed worker starts again, when a reload goes back. */
#include "app/policy.h"
#include "vv_test.h"

VV_TEST(five_quick_crashes_restart_at_once_then_the_delay_doubles_up_to_ten_seconds)
{
    struct vv_restart r = {0};
    for (int i = 0; i < 5; i++) {
        VV_CHECK_INT(vv_restart_delay(&r, 1 * VV_SEC), 0);
    }
    uint64_t want_ns = 100 * VV_MS; /* 100, 200, ... 6400 ms */
    for (int i = 0; i < 7; i++) {
        VV_CHECK_INT(vv_restart_delay(&r, 1 * VV_SEC), want_ns);
        want_ns *= 2;
    }
    VV_CHECK_INT(vv_restart_delay(&r, 1 * VV_SEC), 10 * VV_SEC); /* 12.8 s is over the limit */
    VV_CHECK_INT(vv_restart_delay(&r, 1 * VV_SEC), 10 * VV_SEC);
}

VV_TEST(a_life_of_ten_seconds_forgives_all_crashes)
{
    struct vv_restart r = {0};
    for (int i = 0; i < 8; i++) {
        (void)vv_restart_delay(&r, 0);
    }
    VV_CHECK_INT(vv_restart_delay(&r, 10 * VV_SEC), 0);
    VV_CHECK_INT(vv_restart_delay(&r, 1 * VV_SEC), 0); /* the first quick one again */
}

static bool worse(struct vv_guard_sample before, struct vv_guard_sample since)
{
    char why[160];
    return vv_guard_judge(&before, &since, why, sizeof why) != NULL;
}

VV_TEST(fewer_than_fifty_requests_prove_nothing)
{
    VV_CHECK(
        !worse((struct vv_guard_sample){1000, 0, VV_MS}, (struct vv_guard_sample){49, 49, VV_SEC}));
    VV_CHECK(
        worse((struct vv_guard_sample){1000, 0, VV_MS}, (struct vv_guard_sample){50, 50, VV_SEC}));
}

VV_TEST(errors_must_more_than_double_and_rise_by_more_than_five_points)
{
    const struct vv_guard_sample clean = {1000, 0, VV_MS}, ten = {1000, 100, VV_MS};
    VV_CHECK(!worse(clean, (struct vv_guard_sample){1000, 50, VV_MS})); /* exactly 5 points */
    VV_CHECK(worse(clean, (struct vv_guard_sample){1000, 51, VV_MS}));
    VV_CHECK(!worse(ten, (struct vv_guard_sample){1000, 200, VV_MS})); /* exactly twice 10 % */
    VV_CHECK(worse(ten, (struct vv_guard_sample){1000, 201, VV_MS}));
}

VV_TEST(latency_must_more_than_treble_and_rise_by_more_than_fifty_ms)
{
    const struct vv_guard_sample fast = {1000, 0, 10 * VV_MS}, slow = {1000, 0, 100 * VV_MS};
    VV_CHECK(!worse(fast, (struct vv_guard_sample){100, 0, 60 * VV_MS})); /* 6x, but only 50 ms */
    VV_CHECK(worse(fast, (struct vv_guard_sample){100, 0, 61 * VV_MS}));
    VV_CHECK(!worse(slow, (struct vv_guard_sample){100, 0, 300 * VV_MS})); /* exactly 3x */
    VV_CHECK(worse(slow, (struct vv_guard_sample){100, 0, 301 * VV_MS}));
}

VV_TEST(latency_is_not_compared_with_silence_but_errors_are)
{
    const struct vv_guard_sample silence = {0, 0, 0};
    VV_CHECK(!worse(silence, (struct vv_guard_sample){100, 0, 5 * VV_SEC}));
    VV_CHECK(worse(silence, (struct vv_guard_sample){100, 6, VV_MS}));
}

VV_TEST(the_reason_names_both_figures)
{
    char why[160];
    const struct vv_guard_sample before = {1000, 10, VV_MS}, since = {200, 100, VV_MS};
    VV_CHECK_STR(vv_guard_judge(&before, &since, why, sizeof why),
                 "answers 5xx went from 1.0 % to 50.0 %");
}
