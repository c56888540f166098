/* tests/unit/load/test_schedule.c - phases become times; parts together are the plan. */
#include "load/schedule.h"
#include "vv_test.h"
#include <stdlib.h>

static struct vv_load_schedule make(const struct vv_load_phase *p, size_t n)
{
    struct vv_load_schedule s;
    vv_load_schedule_init(&s, p, n, 0, 1, 7);
    return s;
}

/* Counts starts by second; checks that they rise and stay inside the phases. */
static uint64_t count(const struct vv_load_phase *p, size_t n, uint64_t *by_second, size_t seconds)
{
    struct vv_load_schedule s = make(p, n);
    struct vv_load_start start;
    uint64_t all = 0, last_ns = 0;
    while (vv_load_schedule_next(&s, &start)) {
        VV_CHECK(start.at_ns >= last_ns);
        VV_CHECK(start.at_ns < vv_load_schedule_length(p, n));
        last_ns = start.at_ns;
        if (by_second != NULL && start.at_ns / VV_SEC < seconds) {
            by_second[start.at_ns / VV_SEC]++;
        }
        all++;
    }
    return all;
}

VV_TEST(a_constant_rate_is_evenly_spaced)
{
    const struct vv_load_phase p = {.duration_ns = 2 * VV_SEC, .rate = 4, .ramp_to = -1};
    struct vv_load_schedule s = make(&p, 1);
    struct vv_load_start start;
    for (uint64_t i = 0; i < 8; i++) {
        VV_CHECK(vv_load_schedule_next(&s, &start));
        VV_CHECK_INT(start.at_ns, i * 250 * VV_MS);
        VV_CHECK_INT(start.index, i);
    }
    VV_CHECK(!vv_load_schedule_next(&s, &start));
}

VV_TEST(a_ramp_takes_a_step_each_second_and_ends_at_its_goal)
{
    /* 1 -> 3 over 3 s: rates 1, 2, 3. */
    const struct vv_load_phase p = {.duration_ns = 3 * VV_SEC, .rate = 1, .ramp_to = 3};
    uint64_t by_second[3] = {0};
    VV_CHECK_INT(count(&p, 1, by_second, 3), 6);
    VV_CHECK_INT(by_second[0], 1);
    VV_CHECK_INT(by_second[1], 2);
    VV_CHECK_INT(by_second[2], 3);
}

VV_TEST(a_ramp_down_to_nothing_and_one_of_a_single_second)
{
    /* 4 -> 0 over 3 s: 4, 2, 0. Over one second: the mean, 2. */
    const struct vv_load_phase down = {.duration_ns = 3 * VV_SEC, .rate = 4, .ramp_to = 0};
    const struct vv_load_phase one = {.duration_ns = VV_SEC, .rate = 4, .ramp_to = 0};
    uint64_t by_second[3] = {0};
    VV_CHECK_INT(count(&down, 1, by_second, 3), 6);
    VV_CHECK_INT(by_second[2], 0);
    VV_CHECK_INT(count(&one, 1, NULL, 0), 2);
}

VV_TEST(fractional_rates_neither_lose_nor_gain)
{
    const struct vv_load_phase tenth = {.duration_ns = 30 * VV_SEC, .rate = 0.1, .ramp_to = -1};
    const struct vv_load_phase odd = {.duration_ns = 60 * VV_SEC, .rate = 33.3, .ramp_to = -1};
    const struct vv_load_phase half = {
        .duration_ns = 1500 * VV_MS, .rate = 2, .ramp_to = -1}; /* 0, 0.5 and 1.0 s */
    VV_CHECK_INT(count(&tenth, 1, NULL, 0), 3);
    VV_CHECK_INT(count(&odd, 1, NULL, 0), 1998);
    VV_CHECK_INT(count(&half, 1, NULL, 0), 3);
}

VV_TEST(the_seeds_phases_are_756000_starts)
{
    const struct vv_load_phase p[] = {
        {.duration_ns = 60 * VV_SEC, .rate = 100, .ramp_to = -1},
        {.duration_ns = 300 * VV_SEC, .rate = 500, .ramp_to = -1},
        {.duration_ns = 600 * VV_SEC, .rate = 1000, .ramp_to = -1},
    };
    uint64_t by_second[960] = {0};
    VV_CHECK_INT(count(p, 3, by_second, 960), 756000);
    VV_CHECK_INT(by_second[59], 100);
    VV_CHECK_INT(by_second[60], 500);
    VV_CHECK_INT(by_second[959], 1000);
    VV_CHECK_INT(vv_load_schedule_length(p, 3), 960 * VV_SEC);
}

VV_TEST(a_pause_passes_without_a_start)
{
    const struct vv_load_phase p[] = {
        {.duration_ns = VV_SEC, .rate = 1, .ramp_to = -1},
        {.duration_ns = 5 * VV_SEC, .ramp_to = -1},
        {.duration_ns = VV_SEC, .rate = 1, .ramp_to = -1},
    };
    uint64_t by_second[7] = {0};
    VV_CHECK_INT(count(p, 3, by_second, 7), 2);
    VV_CHECK_INT(by_second[6], 1);
}

VV_TEST(a_count_is_exact_also_when_random)
{
    struct vv_load_phase p = {.duration_ns = 10 * VV_SEC, .count = 25, .ramp_to = -1};
    struct vv_load_schedule s = make(&p, 1);
    struct vv_load_start start;
    VV_CHECK(vv_load_schedule_next(&s, &start) && vv_load_schedule_next(&s, &start));
    VV_CHECK_INT(start.at_ns, 400 * VV_MS); /* 10 s / 25 */
    VV_CHECK_INT(count(&p, 1, NULL, 0), 25);
    p.arrival = VV_LOAD_POISSON;
    VV_CHECK_INT(count(&p, 1, NULL, 0), 25);
}

VV_TEST(random_arrivals_keep_the_mean_and_have_exponential_gaps)
{
    const struct vv_load_phase p = {
        .duration_ns = 100 * VV_SEC, .rate = 100, .ramp_to = -1, .arrival = VV_LOAD_POISSON};
    struct vv_load_schedule s = make(&p, 1);
    struct vv_load_start start;
    uint64_t n = 0, last_ns = 0, longer = 0;
    while (vv_load_schedule_next(&s, &start)) {
        longer += start.at_ns - last_ns > 10 * VV_MS;
        last_ns = start.at_ns;
        n++;
    }
    VV_CHECK(n > 9500 && n < 10500); /* 10,000 with a deviation of 100: five of them */
    /* The share of gaps above the mean is 1/e = 0.368, its deviation here 0.005. */
    VV_CHECK(longer * 1000 > n * 343 && longer * 1000 < n * 393);
}

VV_TEST(recorded_times_are_given_back)
{
    static const uint64_t at[] = {0, 5, 5, 900};
    const struct vv_load_phase p[] = {
        {.duration_ns = VV_SEC, .ramp_to = -1},
        {.duration_ns = VV_SEC, .recorded = at, .count = 4, .ramp_to = -1},
    };
    struct vv_load_schedule s = make(p, 2);
    struct vv_load_start start;
    for (size_t i = 0; i < 4; i++) {
        VV_CHECK(vv_load_schedule_next(&s, &start));
        VV_CHECK_INT(start.at_ns, VV_SEC + at[i]);
        VV_CHECK_INT(start.phase, 1);
    }
    VV_CHECK(!vv_load_schedule_next(&s, &start));
}

VV_TEST(parts_together_are_exactly_the_whole)
{
    const struct vv_load_phase p[] = {
        {.duration_ns = 3 * VV_SEC, .rate = 10, .ramp_to = 31},
        {.duration_ns = 2 * VV_SEC, .rate = 50, .ramp_to = -1, .arrival = VV_LOAD_POISSON},
        {.duration_ns = VV_SEC, .users = 7},
    };
    struct vv_load_schedule whole = make(p, 3), part[4];
    struct vv_load_start want, got;
    for (unsigned i = 0; i < 3; i++) {
        vv_load_schedule_init(&part[i], p, 3, i, 4, 7);
    }
    /* One schedule may also take several parts, here 3 alone and then the rest of the test by turns. */
    vv_load_schedule_init(&part[3], p, 3, 0, 4, 7);
    vv_load_schedule_parts(&part[3], 3, 1, 4);
    for (unsigned turn = 0; vv_load_schedule_next(&whole, &want); turn++) {
        VV_CHECK(vv_load_schedule_next(&part[turn % 4], &got));
        VV_CHECK_INT(got.at_ns, want.at_ns);
        VV_CHECK_INT(got.index, want.index);
        VV_CHECK_INT(got.phase, want.phase);
    }
    for (unsigned i = 0; i < 4; i++) {
        VV_CHECK(!vv_load_schedule_next(&part[i], &got));
    }
}

VV_TEST(several_parts_may_be_taken_at_once)
{
    const struct vv_load_phase p = {.duration_ns = VV_SEC, .rate = 10, .ramp_to = -1};
    struct vv_load_schedule s = make(&p, 1);
    struct vv_load_start start;
    static const uint64_t want[] = {1, 2, 5, 6, 9}; /* of 0..9 by fours: places 1 and 2 */
    vv_load_schedule_parts(&s, 1, 2, 4);
    for (size_t i = 0; i < VV_COUNT(want); i++) {
        VV_CHECK(vv_load_schedule_next(&s, &start));
        VV_CHECK_INT(start.index, want[i]);
    }
    VV_CHECK(!vv_load_schedule_next(&s, &start));
}

VV_TEST(users_of_a_closed_phase_start_at_once)
{
    const struct vv_load_phase p = {.duration_ns = VV_SEC, .users = 5};
    uint64_t by_second[1] = {0};
    VV_CHECK(vv_load_phase_closed(&p));
    VV_CHECK_INT(count(&p, 1, by_second, 1), 5);
    VV_CHECK_INT(vv_load_schedule_users(&p, 0), 5);
    VV_CHECK_INT(vv_load_schedule_users(&p, VV_SEC - 1), 5);
    VV_CHECK_INT(vv_load_schedule_users(&p, VV_SEC), 0); /* over */
}

VV_TEST(users_ramp_up_from_none)
{
    /* Spike: 500 users within 10 s; user k begins after k / 500 of it. */
    const struct vv_load_phase p = {
        .duration_ns = 120 * VV_SEC, .users = 500, .ramp_ns = 10 * VV_SEC};
    struct vv_load_schedule s = make(&p, 1);
    struct vv_load_start start;
    for (uint64_t i = 1; i <= 500; i++) {
        VV_CHECK(vv_load_schedule_next(&s, &start));
        VV_CHECK_INT(start.at_ns, i * 20 * VV_MS);
        /* Whoever begins is wanted at that moment, and not before. */
        VV_CHECK_INT(vv_load_schedule_users(&p, start.at_ns), i);
        VV_CHECK_INT(vv_load_schedule_users(&p, start.at_ns - VV_US), i - 1);
    }
    VV_CHECK(!vv_load_schedule_next(&s, &start));
    VV_CHECK_INT(vv_load_phase_users_max(&p), 500);
}

VV_TEST(users_ramp_down_to_few)
{
    const struct vv_load_phase p = {
        .duration_ns = 10 * VV_SEC, .users = 10, .users_to = 2, .ramp_ns = 8 * VV_SEC};
    VV_CHECK_INT(count(&p, 1, NULL, 0), 10);
    VV_CHECK_INT(vv_load_schedule_users(&p, 0), 10);
    VV_CHECK_INT(vv_load_schedule_users(&p, 4 * VV_SEC), 6);
    VV_CHECK_INT(vv_load_schedule_users(&p, 9 * VV_SEC), 2);
}

VV_TEST(empty_phases_do_no_harm)
{
    const struct vv_load_phase p[] = {
        {.duration_ns = 0, .rate = 5, .ramp_to = -1},
        {.duration_ns = 0, .count = 2, .ramp_to = -1},
        {.duration_ns = 0, .users = 2},
        {.duration_ns = VV_SEC, .rate = 1, .ramp_to = -1},
    };
    struct vv_load_schedule s = make(p, 4);
    struct vv_load_start start;
    uint64_t n = 0;
    while (vv_load_schedule_next(&s, &start)) {
        n++;
    }
    VV_CHECK_INT(n, 3); /* two at once, whose phase takes no time, and one */
}
