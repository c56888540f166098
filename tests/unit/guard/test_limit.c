/* tests/unit/guard/test_limit.c - rates, quotas, requests in flight, and all of them as one. */
#include "base/rng.h"
#include "guard/limit.h"

#include "vv_test.h"

#include <stdio.h>

#define START (1000 * VV_HOUR) /* a machine that is up for some time; a whole hour */

/* How much too early a request may be: see limit.h. */
#define SKEW_NS(interval_ns) vv_min_u64((interval_ns) / 64, 10 * VV_MS)

static struct vv_limit limit_of(enum vv_limit_kind kind, uint64_t id, uint64_t count,
                                uint64_t per_ns, uint64_t at_once)
{
    struct vv_limit limit = {0};
    VV_CHECK_INT(vv_limit_init(&limit, kind, id, count, per_ns, at_once), VV_OK);
    return limit;
}

static struct vv_limits *table_of(uint64_t keys)
{
    struct vv_limits *l = NULL;
    VV_CHECK_INT(vv_limits_new(keys, 42, &l), VV_OK);
    return l;
}

/* One request for the key "k" (or another), one limit. */
static bool take_key(struct vv_limits *l, const struct vv_limit *limit, const char *key,
                     uint64_t now_ns, struct vv_limit_answer *answer)
{
    const struct vv_limit_ask ask = {limit, vv_str_from(key), 1};
    struct vv_limit_grant grant;
    return vv_limits_take(l, &ask, 1, now_ns, &grant, answer);
}

static bool take(struct vv_limits *l, const struct vv_limit *limit, uint64_t now_ns,
                 struct vv_limit_answer *answer)
{
    return take_key(l, limit, "k", now_ns, answer);
}

static int take_many(struct vv_limits *l, const struct vv_limit *limit, int tries, uint64_t now_ns)
{
    int passed = 0;
    for (int i = 0; i < tries; i++) {
        passed += take(l, limit, now_ns, NULL);
    }
    return passed;
}

VV_TEST(rate_100_burst_200_passes_201_of_300_at_once)
{
    struct vv_limits *l = table_of(1000);
    const struct vv_limit limit = limit_of(VV_LIMIT_RATE, 1, 100, VV_SEC, 201);
    struct vv_limit_answer a;
    VV_CHECK_INT(take_many(l, &limit, 300, START), 201);
    VV_CHECK(!take(l, &limit, START, &a));
    VV_CHECK_INT(a.remaining, 0);
    VV_CHECK_INT(a.retry_ns, 10 * VV_MS);   /* one more every 1/100 s */
    VV_CHECK_INT(a.reset_ns, 2010 * VV_MS); /* 201 of them */
    VV_CHECK(!take(l, &limit, START + 10 * VV_MS - SKEW_NS(10 * VV_MS) - 1, NULL));
    VV_CHECK(take(l, &limit, START + 10 * VV_MS, &a)); /* exactly when it was told to */
    VV_CHECK_INT(a.remaining, 0);
    VV_CHECK_INT(take_many(l, &limit, 300, START + VV_SEC + 10 * VV_MS), 100);
    vv_limits_free(l);
}

VV_TEST(plans_pass_their_burst_then_their_rate_and_no_more_in_flight)
{
    static const struct plan {
        uint64_t per_hour, at_once, in_flight;
    } plans[] = {{10000, 500, 100}, {50000, 2000, 500}, {100000, 5000, 1000}};
    static struct vv_limit_grant grant[5000];
    for (uint64_t i = 0; i < VV_COUNT(plans); i++) {
        const struct plan *p = &plans[i];
        struct vv_limits *l = table_of(1000);
        const struct vv_limit rate = limit_of(VV_LIMIT_RATE, 1, p->per_hour, VV_HOUR, p->at_once);
        const struct vv_limit flight = limit_of(VV_LIMIT_CONCURRENT, 2, p->in_flight, 0, 0);
        const struct vv_limit_ask both[] = {{&rate, VV_STR("k"), 1}, {&flight, VV_STR("k"), 1}};
        struct vv_limit_answer a[2];
        for (uint64_t n = 0; n < p->in_flight; n++) { /* slow ones: none comes back */
            VV_CHECK(vv_limits_take(l, both, 2, START, &grant[n], a));
        }
        struct vv_limit_grant refused;
        VV_CHECK(!vv_limits_take(l, both, 2, START, &refused, a)); /* the 101st, 501st, 1001st */
        VV_CHECK(a[0].allowed && !a[1].allowed);
        for (uint64_t n = 0; n < p->in_flight; n++) {
            vv_limits_release(l, &grant[n], START);
        }
        /* What is left of the burst: the refused one was not charged. */
        VV_CHECK_INT(take_many(l, &rate, 6000, START), p->at_once - p->in_flight);
        /* 36 s later: 1 % of an hour's, that is 2.78, 13.9 and 27.8 a second. */
        VV_CHECK_INT(take_many(l, &rate, 6000, START + 36 * VV_SEC), p->per_hour / 100);
        vv_limits_free(l);
    }
}

VV_TEST(rate_and_keys_are_apart_and_a_reload_goes_on)
{
    struct vv_limits *l = table_of(1000);
    const struct vv_limit limit = limit_of(VV_LIMIT_RATE, 1, 1, VV_SEC, 2);
    const struct vv_limit other = limit_of(VV_LIMIT_RATE, 2, 1, VV_SEC, 2);
    VV_CHECK_INT(take_many(l, &limit, 5, START), 2);
    VV_CHECK(take_key(l, &limit, "q", START, NULL));
    VV_CHECK(take(l, &other, START, NULL));
    /* The same id from another file: same words. At_once grew by one, so one more. */
    const struct vv_limit again = limit_of(VV_LIMIT_RATE, 1, 1, VV_SEC, 3);
    VV_CHECK_INT(take_many(l, &again, 5, START), 1);
    vv_limits_free(l);
}

VV_TEST(rate_weighs_requests_and_says_never_to_what_cannot_pass)
{
    struct vv_limits *l = table_of(1000);
    const struct vv_limit limit = limit_of(VV_LIMIT_RATE, 1, 10, VV_SEC, 10);
    struct vv_limit_ask ask = {&limit, vv_str_from("k"), 7};
    struct vv_limit_grant grant;
    struct vv_limit_answer a;
    VV_CHECK(vv_limits_take(l, &ask, 1, START, &grant, &a));
    VV_CHECK_INT(a.remaining, 3);
    ask.cost = 4;
    VV_CHECK(!vv_limits_take(l, &ask, 1, START, &grant, &a));
    VV_CHECK_INT(a.remaining, 3);          /* nothing was charged */
    VV_CHECK_INT(a.retry_ns, 100 * VV_MS); /* the fourth */
    ask.cost = 11;
    VV_CHECK(!vv_limits_take(l, &ask, 1, START, &grant, &a));
    VV_CHECK(a.retry_ns == VV_LIMIT_NEVER);
    vv_limits_free(l);
}

VV_TEST(rate_does_not_refuse_the_last_of_a_burst_because_a_clock_is_late)
{
    struct vv_limits *l = table_of(1000);
    const struct vv_limit slow = limit_of(VV_LIMIT_RATE, 1, 1, VV_HOUR, 2);
    const struct vv_limit fast = limit_of(VV_LIMIT_RATE, 2, 100, VV_SEC, 2); /* 10 ms / 64 */
    struct vv_limit_answer a;
    VV_CHECK(take(l, &slow, START, &a));
    VV_CHECK_INT(a.remaining, 1);
    VV_CHECK(!take(l, &slow, START - 10 * VV_MS - 1, &a)); /* no clock is that late */
    VV_CHECK_INT(a.remaining, 0);
    VV_CHECK(take(l, &slow, START - 10 * VV_MS, &a));
    VV_CHECK_INT(a.remaining, 0);
    VV_CHECK(!take(l, &slow, START, NULL));
    VV_CHECK(take(l, &fast, START, NULL));
    VV_CHECK(!take(l, &fast, START - 10 * VV_MS / 64 - 1, NULL));
    VV_CHECK(take(l, &fast, START - 10 * VV_MS / 64, NULL));
    VV_CHECK(!take(l, &fast, START, NULL));
    vv_limits_free(l);
}

/* Who always comes as early as is borne gets a request earlier once, not a higher rate. */
VV_TEST(rate_is_the_same_for_who_is_always_a_little_early)
{
    struct vv_limits *l = table_of(1000);
    const struct vv_limit limit = limit_of(VV_LIMIT_RATE, 1, 100, VV_SEC, 1);
    uint64_t passed = 0;
    uint64_t at_ns = 0;
    for (; at_ns < 60 * VV_SEC; at_ns += 50 * VV_US) {
        passed += take(l, &limit, START + at_ns, NULL);
    }
    VV_CHECK_INT(passed,
                 6001); /* number n passes at n x 10 ms - 150 us: that of 60 s is too early */
    for (; at_ns < 600 * VV_SEC; at_ns += 50 * VV_US) {
        passed += take(l, &limit, START + at_ns, NULL);
    }
    VV_CHECK_INT(passed, 60001); /* and no further one ever */
    vv_limits_free(l);
}

/* A bucket of nanoseconds, filled by the time that passes: the same rule said another way. It may
 * be overdrawn by the skew. */
VV_TEST(rate_decides_as_a_token_bucket_does)
{
    struct vv_limits *l = table_of(1000);
    struct vv_rng rng;
    vv_rng_init(&rng, 7);
    for (uint64_t round = 0; round < 100; round++) {
        const uint64_t at_once = 1 + vv_rng_below(&rng, 20);
        const uint64_t per_ns = 1 + vv_rng_below(&rng, VV_SEC);
        const uint64_t count = 1 + vv_rng_below(&rng, 50);
        const struct vv_limit limit = limit_of(VV_LIMIT_RATE, 100 + round, count, per_ns, at_once);
        const uint64_t step_ns = per_ns / count + (per_ns % count != 0);
        const uint64_t skew_ns = SKEW_NS(step_ns);
        uint64_t level = at_once * step_ns + skew_ns;
        uint64_t now_ns = START;
        for (int i = 0; i < 10000; i++) {
            const uint64_t wait_ns = vv_rng_below(&rng, 2 * step_ns);
            now_ns += wait_ns;
            level = vv_min_u64(level + wait_ns, at_once * step_ns + skew_ns);
            const bool want = level >= step_ns;
            level -= want ? step_ns : 0;
            struct vv_limit_answer a;
            VV_CHECK_INT(take(l, &limit, now_ns, &a), want);
            VV_CHECK_INT(a.remaining, level / step_ns);
        }
    }
    vv_limits_free(l);
}

VV_TEST(quota_slides_and_says_exactly_when)
{
    struct vv_limits *l = table_of(1000);
    const struct vv_limit limit = limit_of(VV_LIMIT_WINDOW, 1, 100, VV_HOUR, 0);
    struct vv_limit_answer a;
    VV_CHECK_INT(take_many(l, &limit, 150, START + 30 * VV_MINUTE), 100);
    VV_CHECK(!take(l, &limit, START + 30 * VV_MINUTE, &a));
    /* Full until the next hour begins, then one of a hundred fades every 36 s. */
    VV_CHECK_INT(a.retry_ns, 30 * VV_MINUTE + 36 * VV_SEC);
    VV_CHECK_INT(a.reset_ns, 90 * VV_MINUTE);
    VV_CHECK(!take(l, &limit, START + VV_HOUR + 36 * VV_SEC - VV_MS, &a));
    VV_CHECK_INT(a.retry_ns, VV_MS);
    VV_CHECK(take(l, &limit, START + VV_HOUR + 36 * VV_SEC, NULL));
    /* Half way: 100 x 0.5 + 1 used, 49 free. */
    VV_CHECK_INT(take_many(l, &limit, 100, START + 90 * VV_MINUTE), 49);
    /* Two windows later everything is forgotten. */
    VV_CHECK_INT(take_many(l, &limit, 150, START + 3 * VV_HOUR), 100);
    vv_limits_free(l);
}

VV_TEST(quota_told_time_is_the_first_at_which_it_passes)
{
    struct vv_limits *l = table_of(1000);
    struct vv_rng rng;
    vv_rng_init(&rng, 11);
    const struct vv_limit limit = limit_of(VV_LIMIT_WINDOW, 1, 37, VV_MINUTE, 0);
    uint64_t now_ns = START;
    uint64_t refused = 0;
    for (int i = 0; i < 20000; i++) {
        struct vv_limit_answer a;
        now_ns += vv_rng_below(&rng, 3 * VV_SEC) / VV_US * VV_US;
        if (!take(l, &limit, now_ns, &a)) {
            refused++;
            const struct vv_limit_ask ask = {&limit, vv_str_from("k"), 1};
            VV_CHECK(a.retry_ns > 0);
            VV_CHECK(!vv_limits_peek(l, &ask, 1, now_ns + a.retry_ns - VV_US, NULL));
            VV_CHECK(vv_limits_peek(l, &ask, 1, now_ns + a.retry_ns, NULL));
        }
    }
    VV_CHECK(refused > 1000);
    vv_limits_free(l);
}

VV_TEST(quota_of_a_clock_that_is_late_is_not_a_new_one)
{
    struct vv_limits *l = table_of(1000);
    const struct vv_limit limit = limit_of(VV_LIMIT_WINDOW, 1, 10, VV_MINUTE, 0);
    VV_CHECK_INT(take_many(l, &limit, 20, START), 10);
    VV_CHECK(!take(l, &limit, START - VV_US, NULL)); /* another worker, still in the last minute */
    VV_CHECK(!take(l, &limit, START, NULL));
    vv_limits_free(l);
}

VV_TEST(in_flight_refuses_the_501st_until_one_ends)
{
    static struct vv_limit_grant grant[501];
    struct vv_limits *l = table_of(1000);
    const struct vv_limit limit = limit_of(VV_LIMIT_CONCURRENT, 1, 500, 0, 0);
    const struct vv_limit_ask ask = {&limit, vv_str_from("k"), 1};
    struct vv_limit_answer a;
    for (int i = 0; i < 500; i++) {
        VV_CHECK(vv_limits_take(l, &ask, 1, START, &grant[i], NULL));
    }
    VV_CHECK(!vv_limits_take(l, &ask, 1, START, &grant[500], &a));
    VV_CHECK_INT(a.remaining, 0);
    vv_limits_release(l, &grant[500], START); /* a refused one holds nothing */
    vv_limits_release(l, &grant[7], START);
    vv_limits_release(l, &grant[7], START); /* given back once only */
    VV_CHECK(vv_limits_take(l, &ask, 1, START, &grant[7], NULL));
    VV_CHECK(!vv_limits_take(l, &ask, 1, START, &grant[500], NULL));
    vv_limits_free(l);
}

VV_TEST(several_limits_are_charged_all_or_none)
{
    struct vv_limits *l = table_of(1000);
    const struct vv_limit rate = limit_of(VV_LIMIT_RATE, 1, 100, VV_SEC, 10);
    const struct vv_limit quota = limit_of(VV_LIMIT_WINDOW, 2, 4, VV_HOUR, 0);
    const struct vv_limit flight = limit_of(VV_LIMIT_CONCURRENT, 3, 100, 0, 0);
    const struct vv_str key = vv_str_from("k");
    const struct vv_limit_ask all[] = {{&rate, key, 1}, {&flight, key, 1}, {&quota, key, 1}};
    struct vv_limit_grant grant[5];
    struct vv_limit_answer a[3];
    for (int i = 0; i < 4; i++) {
        VV_CHECK(vv_limits_take(l, all, 3, START, &grant[i], a));
    }
    VV_CHECK(!vv_limits_take(l, all, 3, START, &grant[4], a));
    VV_CHECK(a[0].allowed && a[1].allowed && !a[2].allowed);
    VV_CHECK_INT(a[0].remaining, 6); /* 10 - 4: the refused one was not charged */
    VV_CHECK_INT(a[1].remaining, 96);
    VV_CHECK(vv_limits_peek(l, all, 2, START, a));
    VV_CHECK_INT(a[0].remaining, 6); /* asking takes nothing */
    for (int i = 0; i < 5; i++) {
        vv_limits_release(l, &grant[i], START);
    }
    VV_CHECK(vv_limits_peek(l, all, 2, START, a));
    VV_CHECK_INT(a[1].remaining, 100);
    vv_limits_free(l);
}

VV_TEST(memory_is_bounded_and_idle_words_are_used_again)
{
    struct vv_limits *l = table_of(4096);
    const struct vv_limit limit = limit_of(VV_LIMIT_RATE, 1, 10, VV_SEC, 1);
    struct vv_limits_stats stats;
    char key[32];
    for (int i = 0; i < 100000; i++) { /* each is idle again 100 ms later, that is 100 keys later */
        snprintf(key, sizeof(key), "address-%d", i);
        VV_CHECK(take_key(l, &limit, key, START + (uint64_t)i * VV_MS, NULL));
    }
    vv_limits_look(l, &stats);
    VV_CHECK_INT(stats.capacity, 4096);
    VV_CHECK(stats.used <= 4096);
    VV_CHECK_INT(stats.used + stats.reused, 100000);
    VV_CHECK_INT(stats.evicted_active, 0);
    VV_CHECK_INT(stats.untracked, 0);
    vv_limits_free(l);
}

VV_TEST(a_flood_of_keys_does_not_free_who_is_deep_in_debt_or_in_flight)
{
    struct vv_limits *l = table_of(1024);
    const struct vv_limit limit = limit_of(VV_LIMIT_RATE, 1, 1, VV_SEC, 100);
    const struct vv_limit flight = limit_of(VV_LIMIT_CONCURRENT, 2, 1, 0, 0);
    const struct vv_limit_ask held = {&flight, vv_str_from("abuser"), 1};
    struct vv_limit_grant grant;
    struct vv_limits_stats stats;
    char key[32];
    VV_CHECK(vv_limits_take(l, &held, 1, START, &grant, NULL));
    for (int i = 0; i < 100; i++) {
        VV_CHECK(take_key(l, &limit, "abuser", START, NULL));
    }
    for (int i = 0; i < 20000; i++) {
        snprintf(key, sizeof(key), "spoofed-%d", i);
        VV_CHECK(take_key(l, &limit, key, START, NULL));
    }
    VV_CHECK(!take_key(l, &limit, "abuser", START, NULL));
    VV_CHECK(!vv_limits_peek(l, &held, 1, START, NULL));
    vv_limits_look(l, &stats);
    VV_CHECK(stats.evicted_active > 0); /* and it is said */
    vv_limits_release(l, &grant, START);
    VV_CHECK(vv_limits_peek(l, &held, 1, START, NULL));
    vv_limits_free(l);
}

VV_TEST(a_full_table_lets_pass_and_counts_it)
{
    static struct vv_limit_grant grant[9];
    struct vv_limits *l = table_of(1); /* two buckets: eight words */
    const struct vv_limit flight = limit_of(VV_LIMIT_CONCURRENT, 1, 1, 0, 0);
    struct vv_limits_stats stats;
    char key[9][8];
    for (int i = 0; i < 9; i++) {
        snprintf(key[i], sizeof(key[i]), "k%d", i);
        const struct vv_limit_ask ask = {&flight, vv_str_from(key[i]), 1};
        VV_CHECK(vv_limits_take(l, &ask, 1, START, &grant[i], NULL));
    }
    vv_limits_look(l, &stats);
    VV_CHECK_INT(stats.used, 8);
    VV_CHECK_INT(stats.untracked, 1);
    for (int i = 0; i < 9; i++) {
        vv_limits_release(l, &grant[i], START);
    }
    vv_limits_free(l);
}

VV_TEST(limits_that_cannot_be_kept_are_refused_at_once)
{
    struct vv_limit limit;
    struct vv_limits *l = NULL;
    VV_CHECK_INT(vv_limit_init(&limit, VV_LIMIT_RATE, 1, 0, VV_SEC, 1), VV_EINVAL);
    VV_CHECK_INT(vv_limit_init(&limit, VV_LIMIT_RATE, 1, 1, 0, 1), VV_EINVAL);
    VV_CHECK_INT(vv_limit_init(&limit, VV_LIMIT_RATE, 1, 1, VV_SEC, 0), VV_EINVAL);
    VV_CHECK_INT(vv_limit_init(&limit, VV_LIMIT_RATE, 1, 1, VV_DAY, UINT64_MAX), VV_ERANGE);
    VV_CHECK_INT(vv_limit_init(&limit, VV_LIMIT_WINDOW, 1, VV_LIMIT_QUOTA_MAX + 1, VV_DAY, 0),
                 VV_ERANGE);
    VV_CHECK_INT(vv_limit_init(&limit, VV_LIMIT_WINDOW, 1, 1, VV_SEC + 1, 0), VV_ERANGE);
    VV_CHECK_INT(vv_limit_init(&limit, VV_LIMIT_WINDOW, 1, 1, 49 * VV_DAY, 0), VV_ERANGE);
    VV_CHECK_INT(vv_limit_init(&limit, VV_LIMIT_CONCURRENT, 1, VV_LIMIT_CONCURRENT_MAX + 1, 0, 0),
                 VV_ERANGE);
    VV_CHECK_INT(vv_limits_new((UINT64_C(1) << 24) + 1, 1, &l), VV_ERANGE);
}
