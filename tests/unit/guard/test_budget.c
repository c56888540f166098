/* tests/unit/guard/test_budget.c - what is asked twice stays in its budget, whatever fails. */
#include "guard/budget.h"
#include "guard/latency.h"

#include "vv_test.h"

#include <math.h>
#include <pthread.h>

#define START (1000 * VV_HOUR)

static const struct vv_budget_conf usual = {
    .share_ppm = VV_PPM / 5, .floor_per_s = 10, .window_ns = 10 * VV_SEC};

static struct vv_budget *budget_of(const struct vv_budget_conf *conf)
{
    struct vv_budget *b = NULL;
    VV_CHECK_INT(vv_budget_new(conf, &b), VV_OK);
    return b;
}

VV_TEST(budget_bounds_retries_in_a_full_outage)
{
    struct vv_budget *b = budget_of(&usual);
    uint64_t granted = 0;
    /* 1,000 requests a second for a minute; every one fails and would go three times more. */
    for (uint64_t i = 0; i < 60000; i++) {
        const uint64_t now_ns = START + i * VV_MS;
        vv_budget_deposit(b, now_ns);
        for (int retry = 0; retry < 3 && vv_budget_take(b, now_ns); retry++) {
            granted++;
        }
    }
    /* 20 % of 60,000 and 10 a second, the floor of one window (100) ahead at most. */
    VV_CHECK(granted <= 12000 + 600 + 100);
    VV_CHECK(granted >= 12000 + 500);
    vv_budget_free(b);
}

VV_TEST(budget_lets_a_quiet_service_be_retried)
{
    const struct vv_budget_conf small = {
        .share_ppm = VV_PPM / 5, .floor_per_s = 1, .window_ns = 10 * VV_SEC};
    struct vv_budget *b = budget_of(&small);
    struct vv_budget_view view;
    for (int i = 0; i < 10; i++) {
        VV_CHECK(vv_budget_take(b, START)); /* 1 a second for 10 s, nothing else asked */
    }
    VV_CHECK(!vv_budget_take(b, START));
    for (int i = 0; i < 9; i++) {
        vv_budget_deposit(b, START);
    }
    VV_CHECK(vv_budget_take(b, START)); /* 20 % of 9, rounded down: one */
    VV_CHECK(!vv_budget_take(b, START));
    vv_budget_look(b, START, &view);
    VV_CHECK_INT(view.requests, 9);
    VV_CHECK_INT(view.again, 11);
    VV_CHECK_INT(view.refused, 2);
    VV_CHECK(vv_budget_take(b, START + 10 * VV_SEC)); /* all forgotten */
    vv_budget_free(b);
}

VV_TEST(budget_of_nothing_grants_nothing_and_nonsense_is_refused)
{
    struct vv_budget_conf conf = usual;
    conf.share_ppm = conf.floor_per_s = 0;
    struct vv_budget *b = budget_of(&conf);
    vv_budget_deposit(b, START);
    VV_CHECK(!vv_budget_take(b, START));
    VV_CHECK_INT(vv_budget_conf_set(b, &usual), VV_OK);
    VV_CHECK(vv_budget_take(b, START));
    conf.window_ns = 0;
    VV_CHECK_INT(vv_budget_conf_set(b, &conf), VV_EINVAL);
    vv_budget_free(b);
}

static void *spend(void *arg)
{
    struct vv_budget *b = arg;
    for (int i = 0; i < 5000; i++) {
        vv_budget_deposit(b, START);
        for (int n = 0; n < 2 && vv_budget_take(b, START); n++) {
        }
    }
    return NULL;
}

VV_TEST(threads_together_never_overdraw)
{
    struct vv_budget *b = budget_of(&usual);
    struct vv_budget_view view;
    pthread_t thread[4];
    for (int i = 0; i < 4; i++) {
        VV_CHECK_INT(pthread_create(&thread[i], NULL, spend, b), 0);
    }
    for (int i = 0; i < 4; i++) {
        VV_CHECK_INT(pthread_join(thread[i], NULL), 0);
    }
    vv_budget_look(b, START, &view);
    VV_CHECK_INT(view.requests, 20000);
    VV_CHECK_INT(view.again, 20000 / 5 + 100); /* all of it, not one more */
    vv_budget_free(b);
}

VV_TEST(backoff_is_uniform_up_to_a_doubling_cap)
{
    struct vv_rng rng;
    static const uint64_t most[] = {100, 200, 400, 800, 1000, 1000};
    vv_rng_init(&rng, 3);
    for (uint32_t retry = 0; retry < VV_COUNT(most); retry++) {
        uint64_t sum = 0;
        uint64_t max = 0;
        for (int i = 0; i < 20000; i++) {
            const uint64_t ns = vv_backoff_ns(&rng, retry, 100, 1000);
            sum += ns;
            max = vv_max_u64(max, ns);
        }
        VV_CHECK_INT(max, most[retry]); /* one in 101 to 1,001 is the top: missed with e^-20 */
        /* The mean's deviation is most / sqrt(12 x 20,000) = most / 490; five of them are 1 %. */
        VV_CHECK(fabs((double)sum / 20000 - (double)most[retry] / 2) < (double)most[retry] / 98);
    }
    VV_CHECK_INT(vv_backoff_ns(&rng, 5, 0, 1000), 0);
    (void)vv_backoff_ns(&rng, UINT32_MAX, 1, UINT64_MAX);
}

VV_TEST(latency_quantiles_are_within_their_bucket)
{
    static struct vv_latency l;
    uint64_t count;
    memset(&l, 0, sizeof(l));
    VV_CHECK_INT(vv_latency_quantile(&l, 500000, &count), 0);
    VV_CHECK_INT(count, 0);
    for (uint64_t ms = 1; ms <= 1000; ms++) {
        vv_latency_add(&l, ms * VV_MS);
    }
    for (uint64_t ppm = 100000; ppm < VV_PPM; ppm += 50000) {
        const double want = (double)ppm / 1000 * VV_MS;
        const double got = (double)vv_latency_quantile(&l, ppm, &count);
        VV_CHECK(fabs(got - want) <= want * 0.02); /* even inside a bucket: interpolation fits */
    }
    VV_CHECK_INT(count, 1000);
    vv_latency_add(&l, 0);
    vv_latency_add(&l, UINT64_MAX);
    VV_CHECK(vv_latency_quantile(&l, 0, &count) <= 8192 + 1024); /* the first bucket */
    VV_CHECK(vv_latency_quantile(&l, VV_PPM, &count) >= 120 * VV_SEC);
    vv_latency_turn(&l);
    (void)vv_latency_quantile(&l, 0, &count);
    VV_CHECK_INT(count, 1002); /* the period before is still there */
    vv_latency_turn(&l);
    (void)vv_latency_quantile(&l, 0, &count);
    VV_CHECK_INT(count, 0);
}

VV_TEST(hedge_waits_for_the_95th_percentile_it_saw)
{
    const struct vv_hedge_conf conf = {.quantile_ppm = 950000,
                                       .samples_min = 100,
                                       .min_ns = VV_MS,
                                       .max_ns = VV_SEC,
                                       .period_ns = 10 * VV_SEC};
    struct vv_hedge *h = NULL;
    struct vv_rng rng;
    uint64_t later = 0;
    uint64_t now_ns = START;
    vv_rng_init(&rng, 5);
    VV_CHECK_INT(vv_hedge_new(&conf, &h), VV_OK);
    for (int i = 0; i < 99; i++) {
        vv_hedge_observe(h, START + (uint64_t)i * VV_SEC / 100, 10 * VV_MS);
    }
    VV_CHECK(vv_hedge_delay_ns(h) == UINT64_MAX); /* 99 answers are not enough */
    for (int i = 0; i < 100000; i++) {            /* uniform between 10 and 110 ms */
        const uint64_t took_ns = 10 * VV_MS + vv_rng_below(&rng, 100 * VV_MS);
        now_ns += VV_MS;
        vv_hedge_observe(h, now_ns, took_ns);
        later += i >= 1000 && took_ns > vv_hedge_delay_ns(h);
    }
    /* 10 + 95 = 105 ms, within half a bucket (6 %). */
    VV_CHECK(vv_hedge_delay_ns(h) > 99 * VV_MS && vv_hedge_delay_ns(h) < 111 * VV_MS);
    VV_CHECK(later < 8000);           /* the extra load is about 5 %, that is 5,000 of 99,000 */
    for (int i = 0; i < 40000; i++) { /* now it answers in 20 ms: two periods later that is all */
        now_ns += VV_MS;
        vv_hedge_observe(h, now_ns, 20 * VV_MS);
    }
    VV_CHECK(vv_hedge_delay_ns(h) < 23 * VV_MS);
    vv_hedge_free(h);
}

VV_TEST(hedge_keeps_what_it_saw_when_its_limits_change)
{
    struct vv_hedge_conf conf = {.quantile_ppm = 950000,
                                 .samples_min = 10,
                                 .min_ns = VV_MS,
                                 .max_ns = VV_SEC,
                                 .period_ns = 10 * VV_SEC};
    struct vv_hedge *h = NULL;
    VV_CHECK_INT(vv_hedge_new(&conf, &h), VV_OK);
    for (uint64_t i = 0; i < 200; i++) { /* two seconds of it: it looks once a second */
        vv_hedge_observe(h, START + i * 10 * VV_MS, 20 * VV_MS);
    }
    VV_CHECK(vv_hedge_delay_ns(h) > 18 * VV_MS && vv_hedge_delay_ns(h) < 23 * VV_MS);
    conf.min_ns = 50 * VV_MS;
    VV_CHECK_INT(vv_hedge_conf_set(h, &conf), VV_OK);
    vv_hedge_observe(h, START + 2 * VV_SEC, 20 * VV_MS);
    VV_CHECK_INT(vv_hedge_delay_ns(h), 50 * VV_MS); /* known at once, and no less than the least */
    conf.quantile_ppm = VV_PPM;
    VV_CHECK_INT(vv_hedge_conf_set(h, &conf), VV_EINVAL);
    vv_hedge_free(h);
}
