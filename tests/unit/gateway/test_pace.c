/* tests/unit/gateway/test_pace.c - who is too slow, and from when on. Time is passed in. */
#include "gateway/pace.h"
#include "vv_test.h"

static const struct vv_pace_conf conf = {.bytes_min = 500, .grace_ns = 10 * VV_SEC};

VV_TEST(pace_without_a_wait_is_never_due)
{
    struct vv_pace p = {0};
    VV_CHECK_INT(vv_pace_due(&p, &conf), UINT64_MAX);
    vv_pace_owe(&p, 5 * VV_SEC);
    VV_CHECK_INT(vv_pace_due(&p, &conf), 15 * VV_SEC); /* the grace, nothing came */
    vv_pace_pay(&p, &conf, 1, 6 * VV_SEC);
    VV_CHECK_INT(vv_pace_due(&p, &conf), UINT64_MAX); /* nobody waits now */
}

VV_TEST(pace_of_a_trickle_runs_out_however_often_bytes_come)
{
    struct vv_pace p = {0};
    uint64_t now = VV_SEC;
    /* A byte every second: each second spends 1 s and pays back 1/500 s: 0.998 s. 10 s / 0.998 s is 10.02:
     * ten bytes still come, in the eleventh second the patience ends. */
    unsigned bytes = 0;
    vv_pace_owe(&p, now);
    while (now < 100 * VV_SEC && vv_pace_due(&p, &conf) > now + VV_SEC) {
        now += VV_SEC;
        vv_pace_pay(&p, &conf, 1, now);
        vv_pace_owe(&p, now);
        bytes++;
    }
    VV_CHECK_INT(bytes, 10);
    /* 11 s - 10 * 1 s, less what is paid back: 10 * 2 ms later. */
    VV_CHECK_INT(vv_pace_due(&p, &conf), 11 * VV_SEC + 20 * VV_MS);
}

VV_TEST(pace_at_the_least_rate_holds_for_ever)
{
    struct vv_pace p = {0};
    for (uint64_t s = 1; s < 10000; s++) {
        vv_pace_owe(&p, s * VV_SEC);
        VV_CHECK_INT(vv_pace_due(&p, &conf) > (s + 1) * VV_SEC, true);
        vv_pace_pay(&p, &conf, 500, (s + 1) * VV_SEC);
    }
}

VV_TEST(pace_lets_a_client_that_was_fast_pause_for_twice_the_grace_and_no_longer)
{
    struct vv_pace p = {0};
    vv_pace_owe(&p, VV_SEC);
    vv_pace_pay(&p, &conf, UINT64_MAX, 2 * VV_SEC); /* a gigabyte is not patience for a month */
    vv_pace_owe(&p, 2 * VV_SEC);
    VV_CHECK_INT(vv_pace_due(&p, &conf), 22 * VV_SEC);
}

VV_TEST(pace_does_not_charge_time_in_which_nothing_is_owed)
{
    struct vv_pace p = {0};
    vv_pace_owe(&p, 10 * VV_SEC);
    vv_pace_pay(&p, &conf, 0, 14 * VV_SEC); /* 4 s spent; then the server takes its time */
    vv_pace_owe(&p, 1000 * VV_SEC);
    vv_pace_owe(&p, 1001 * VV_SEC); /* still the same wait */
    VV_CHECK_INT(vv_pace_due(&p, &conf), 1006 * VV_SEC);
}

VV_TEST(pace_of_zero_measures_nobody)
{
    const struct vv_pace_conf off = {.bytes_min = 0, .grace_ns = VV_SEC};
    struct vv_pace p = {0};
    vv_pace_owe(&p, VV_SEC);
    VV_CHECK_INT(vv_pace_due(&p, &off), UINT64_MAX);
    vv_pace_pay(&p, &off, 0, VV_DAY);
    vv_pace_owe(&p, VV_DAY);
    VV_CHECK_INT(vv_pace_due(&p, &conf), VV_DAY + 10 * VV_SEC); /* nothing was noted meanwhile */
}

VV_TEST(pace_follows_a_grace_that_became_shorter)
{
    const struct vv_pace_conf shorter = {.bytes_min = 500, .grace_ns = VV_SEC};
    struct vv_pace p = {0};
    vv_pace_owe(&p, VV_SEC);
    vv_pace_pay(&p, &conf, 0, 9 * VV_SEC); /* 8 s spent of 10 */
    vv_pace_owe(&p, 9 * VV_SEC);
    VV_CHECK_INT(vv_pace_due(&p, &shorter), 9 * VV_SEC); /* at once */
    vv_pace_pay(&p, &shorter, 5000,
                9 * VV_SEC); /* 2 s are the most that stay spent, 2 the most paid */
    vv_pace_owe(&p, 9 * VV_SEC);
    VV_CHECK_INT(vv_pace_due(&p, &shorter), 10 * VV_SEC);
}
