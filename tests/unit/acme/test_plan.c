/* tests/unit/acme/test_plan.c - when to order: life, jitter, pauses, and clocks that jump. */
#include "acme/plan.h"
#include "vv_test.h"

#define WALL (1800000000 * VV_SEC) /* some day */
#define NOW (1000 * VV_SEC)
#define LIFE (90 * VV_DAY)

static struct vv_rng rng;

static struct vv_acme_plan ninety_days(uint64_t issued)
{
    struct vv_acme_plan p = {.failures = 0};
    const struct vv_acme_life life = {WALL - VV_HOUR, WALL - VV_HOUR + LIFE, issued};
    vv_rng_init(&rng, 7);
    vv_acme_plan_have(&p, &life, WALL, NOW, &rng);
    return p;
}

static struct vv_acme_failure fault(enum vv_acme_fault f, uint64_t after)
{
    return (struct vv_acme_failure){.fault = f, .retry_after_ns = after};
}

VV_TEST(without_a_certificate_it_is_due)
{
    const struct vv_acme_plan p = {.failures = 0};
    VV_CHECK(vv_acme_plan_due(&p, WALL, NOW));
    VV_CHECK_INT(vv_acme_plan_wait(&p, WALL, NOW, VV_HOUR), 0);
}

VV_TEST(a_certificate_is_renewed_between_60_and_63_of_90_days)
{
    const struct vv_acme_plan p = ninety_days(WALL);
    /* two thirds are 60 days, a thirtieth is 3 */
    VV_CHECK(!vv_acme_plan_due(&p, WALL + 60 * VV_DAY - 1, NOW + 60 * VV_DAY - 1));
    VV_CHECK(vv_acme_plan_due(&p, WALL + 63 * VV_DAY, NOW + 63 * VV_DAY));
    VV_CHECK(vv_acme_plan_wait(&p, WALL, NOW, UINT64_MAX) >= 60 * VV_DAY);
    VV_CHECK(vv_acme_plan_wait(&p, WALL, NOW, UINT64_MAX) <= 63 * VV_DAY);
    VV_CHECK_INT(vv_acme_plan_wait(&p, WALL, NOW, VV_SEC), VV_SEC);
}

VV_TEST(many_gateways_do_not_renew_at_the_same_time)
{
    uint64_t first = UINT64_MAX, last = 0;
    vv_rng_init(&rng, 1);
    for (int i = 0; i < 100; i++) {
        struct vv_acme_plan p = {.failures = 0};
        const struct vv_acme_life life = {WALL, WALL + LIFE, WALL};
        vv_acme_plan_have(&p, &life, WALL, NOW, &rng);
        first = vv_min_u64(first, p.renew_wall_ns);
        last = vv_max_u64(last, p.renew_wall_ns);
    }
    /* of 100 even draws from 3 days, the chance that all lie within 2 is under 1e-15 */
    VV_CHECK(last - first > 2 * VV_DAY);
}

VV_TEST(a_clock_that_jumps_forwards_makes_it_due_once)
{
    struct vv_acme_plan p = ninety_days(WALL);
    const uint64_t jumped = WALL + 400 * VV_DAY;
    VV_CHECK(vv_acme_plan_due(&p, jumped, NOW + VV_SEC));
    /* the new certificate is of the real time: for this clock it has expired long ago */
    const struct vv_acme_life life = {WALL, WALL + LIFE, jumped};
    vv_acme_plan_have(&p, &life, jumped, NOW + VV_SEC, &rng);
    vv_acme_plan_ordered(&p, &life, NOW + VV_SEC);
    VV_CHECK(!vv_acme_plan_due(&p, jumped + VV_DAY, NOW + VV_DAY));
    VV_CHECK(!vv_acme_plan_due(&p, jumped + 59 * VV_DAY, NOW + 59 * VV_DAY));
    VV_CHECK(vv_acme_plan_due(&p, jumped + 63 * VV_DAY, NOW + 63 * VV_DAY));
}

VV_TEST(a_clock_that_jumps_backwards_does_not_put_the_renewal_off)
{
    struct vv_acme_plan p = ninety_days(WALL);
    const uint64_t back = WALL - 1000 * VV_DAY;
    VV_CHECK(!vv_acme_plan_due(&p, back, NOW + VV_SEC));
    VV_CHECK(!vv_acme_plan_due(&p, back + 59 * VV_DAY, NOW + 59 * VV_DAY));
    VV_CHECK(vv_acme_plan_due(&p, back + 63 * VV_DAY, NOW + 63 * VV_DAY));
}

VV_TEST(an_issue_in_the_future_is_of_a_clock_that_was_put_right)
{
    const struct vv_acme_plan p = ninety_days(WALL + 400 * VV_DAY);
    /* counted from not_before, which is an hour ago */
    VV_CHECK(!vv_acme_plan_due(&p, WALL + 59 * VV_DAY, NOW + 59 * VV_DAY));
    VV_CHECK(vv_acme_plan_due(&p, WALL + 63 * VV_DAY, NOW + 63 * VV_DAY));
}

VV_TEST(after_an_order_it_rests_a_tenth_of_the_life_whatever_the_clock_says)
{
    struct vv_acme_plan p = ninety_days(WALL);
    const struct vv_acme_life life = {WALL, WALL + 5 * VV_HOUR, WALL};
    vv_acme_plan_ordered(&p, &life, NOW);
    VV_CHECK(!vv_acme_plan_due(&p, UINT64_MAX, NOW + VV_HOUR / 2 - 1));
    VV_CHECK(vv_acme_plan_due(&p, UINT64_MAX, NOW + VV_HOUR / 2));
}

/* Pause after the n-th failure, without the fifth left to chance: 4 min, 8, 16 ... */
VV_TEST(pauses_double_after_a_refusal_up_to_12_hours)
{
    struct vv_acme_plan p = {.failures = 0};
    vv_rng_init(&rng, 3);
    for (unsigned i = 0; i < 30; i++) {
        const struct vv_acme_failure f = fault(VV_ACME_REFUSED, 0);
        vv_acme_plan_failed(&p, &f, 4 * VV_MINUTE, NOW, &rng);
        const uint64_t want = i < 8 ? (4 * VV_MINUTE) << i : 12 * VV_HOUR; /* 4 min << 8 are 17 h */
        VV_CHECK(p.retry_ns >= NOW + want);
        VV_CHECK(p.retry_ns <= NOW + want + want / 5);
        VV_CHECK(!vv_acme_plan_due(&p, WALL, p.retry_ns - 1));
        VV_CHECK(vv_acme_plan_due(&p, WALL, p.retry_ns));
    }
}

VV_TEST(an_authority_that_is_not_there_is_asked_sooner_up_to_10_minutes)
{
    struct vv_acme_plan p = {.failures = 0};
    const struct vv_acme_failure f = fault(VV_ACME_UNREACHABLE, 0);
    vv_rng_init(&rng, 3);
    vv_acme_plan_failed(&p, &f, 100 * VV_SEC, NOW, &rng);
    VV_CHECK(p.retry_ns >= NOW + 10 * VV_SEC && p.retry_ns <= NOW + 12 * VV_SEC);
    for (int i = 0; i < 20; i++) {
        vv_acme_plan_failed(&p, &f, 100 * VV_SEC, NOW, &rng);
    }
    VV_CHECK(p.retry_ns >= NOW + 10 * VV_MINUTE && p.retry_ns <= NOW + 12 * VV_MINUTE);
}

VV_TEST(the_authoritys_own_word_about_waiting_is_kept)
{
    struct vv_acme_plan p = {.failures = 0};
    struct vv_acme_failure f = fault(VV_ACME_LIMITED, 3 * VV_DAY);
    vv_acme_plan_failed(&p, &f, VV_MINUTE, NOW, &rng);
    VV_CHECK(p.retry_ns >= NOW + 3 * VV_DAY);
    p = (struct vv_acme_plan){.failures = 0};
    f.retry_after_ns = 0; /* a limit without a word: an hour */
    vv_acme_plan_failed(&p, &f, VV_MINUTE, NOW, &rng);
    VV_CHECK(p.retry_ns >= NOW + VV_HOUR);
    p = (struct vv_acme_plan){.failures = 0};
    f.retry_after_ns = UINT64_MAX; /* nonsense: a week and a fifth at most */
    vv_acme_plan_failed(&p, &f, VV_MINUTE, NOW, &rng);
    VV_CHECK(p.retry_ns <= NOW + 9 * VV_DAY);
}

VV_TEST(what_another_run_left_is_kept_to_but_not_beyond_12_hours)
{
    struct vv_acme_plan p = {.failures = 0};
    vv_acme_plan_remember(&p, 2, WALL + VV_HOUR, WALL, NOW);
    VV_CHECK(!vv_acme_plan_due(&p, WALL, NOW + VV_HOUR - 1));
    VV_CHECK(vv_acme_plan_due(&p, WALL, NOW + VV_HOUR));
    vv_acme_plan_remember(&p, 2, WALL + 365 * VV_DAY, WALL, NOW); /* the clock was wrong */
    VV_CHECK(vv_acme_plan_due(&p, WALL, NOW + 12 * VV_HOUR));
    vv_acme_plan_now(&p);
    VV_CHECK(vv_acme_plan_due(&p, WALL, NOW));
}

VV_TEST(after_three_failures_another_authority_is_asked)
{
    struct vv_acme_plan p = {.failures = 0};
    static const size_t want[] = {0, 0, 0, 1, 1, 1, 0};
    for (size_t i = 0; i < VV_COUNT(want); i++) {
        p.failures = i;
        VV_CHECK_INT(vv_acme_plan_authority(&p, 2), want[i]);
        VV_CHECK_INT(vv_acme_plan_authority(&p, 1), 0);
    }
}
