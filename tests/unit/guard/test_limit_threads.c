/* tests/unit/guard/test_limit_threads.c - threads share a table and agree on every count. */
#include "base/rng.h"
#include "guard/limit.h"

#include "vv_test.h"

#include <pthread.h>

#define THREADS 4
#define START (1000 * VV_HOUR)

struct work {
    struct vv_limits *l;
    const struct vv_limit *limit;
    size_t limits;
    uint64_t seed, tries, keys;
    uint64_t passed;
};

static void run_all(struct work *work, void *(*fn)(void *))
{
    pthread_t thread[THREADS];
    for (size_t i = 0; i < THREADS; i++) {
        VV_CHECK_INT(pthread_create(&thread[i], NULL, fn, &work[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        VV_CHECK_INT(pthread_join(thread[i], NULL), 0);
    }
}

static void *storm(void *arg)
{
    struct work *w = arg;
    for (uint64_t i = 0; i < w->tries; i++) {
        struct vv_limit_ask ask[3];
        struct vv_limit_grant grant;
        for (size_t n = 0; n < w->limits; n++) { /* each thread names them in another order */
            ask[n] = (struct vv_limit_ask){&w->limit[(n + w->seed) % w->limits], VV_STR("k"), 1};
        }
        w->passed += vv_limits_take(w->l, ask, w->limits, START, &grant, NULL);
        vv_limits_release(w->l, &grant, START);
    }
    return NULL;
}

static uint64_t storm_passes(const struct vv_limit *limit, size_t limits, struct vv_limits *l)
{
    struct work work[THREADS];
    uint64_t passed = 0;
    for (uint64_t i = 0; i < THREADS; i++) {
        work[i] = (struct work){.l = l, .limit = limit, .limits = limits, .seed = i, .tries = 3000};
    }
    run_all(work, storm);
    for (size_t i = 0; i < THREADS; i++) {
        passed += work[i].passed;
    }
    return passed;
}

VV_TEST(threads_together_pass_exactly_what_one_limit_allows)
{
    struct vv_limits *l = NULL;
    struct vv_limit limit;
    VV_CHECK_INT(vv_limits_new(100, 1, &l), VV_OK);
    VV_CHECK_INT(vv_limit_init(&limit, VV_LIMIT_RATE, 1, 1, VV_SEC, 5000), VV_OK);
    VV_CHECK_INT(storm_passes(&limit, 1, l), 5000); /* of 4 x 3,000 */
    vv_limits_free(l);
}

VV_TEST(threads_together_pass_exactly_what_several_limits_allow)
{
    struct vv_limits *l = NULL;
    struct vv_limit limit[3];
    struct vv_limit_answer a[2];
    VV_CHECK_INT(vv_limits_new(100, 1, &l), VV_OK);
    VV_CHECK_INT(vv_limit_init(&limit[0], VV_LIMIT_RATE, 1, 1, VV_SEC, 5000), VV_OK);
    VV_CHECK_INT(vv_limit_init(&limit[1], VV_LIMIT_WINDOW, 2, 4000, VV_HOUR, 0), VV_OK);
    VV_CHECK_INT(vv_limit_init(&limit[2], VV_LIMIT_CONCURRENT, 3, THREADS, 0, 0), VV_OK);
    VV_CHECK_INT(storm_passes(limit, 3, l), 4000);
    const struct vv_limit_ask ask[] = {{&limit[0], VV_STR("k"), 1}, {&limit[2], VV_STR("k"), 1}};
    VV_CHECK(vv_limits_peek(l, ask, 2, START, a));
    VV_CHECK_INT(a[0].remaining, 1000); /* none was charged for what the quota refused */
    VV_CHECK_INT(a[1].remaining, THREADS);
    vv_limits_free(l);
}

static void *churn(void *arg)
{
    struct work *w = arg;
    struct vv_rng rng;
    struct vv_limit_grant held[8];
    memset(held, 0, sizeof(held));
    vv_rng_init(&rng, w->seed);
    for (uint64_t i = 0; i < w->tries; i++) {
        const uint64_t key = vv_rng_below(&rng, w->keys);
        const struct vv_str name = {(const char *)&key, sizeof(key)};
        const struct vv_limit_ask ask[] = {
            {&w->limit[0], name, 1}, {&w->limit[1], name, 1}, {&w->limit[2], name, 1}};
        const uint64_t now_ns = START + i * VV_MS;
        vv_limits_release(w->l, &held[i % 8], now_ns);
        w->passed += vv_limits_take(w->l, ask, 3, now_ns, &held[i % 8], NULL);
    }
    for (size_t i = 0; i < 8; i++) {
        vv_limits_release(w->l, &held[i], START + w->tries * VV_MS);
    }
    return NULL;
}

VV_TEST(threads_fight_for_too_few_words_and_all_counts_come_back)
{
    struct vv_limits *l = NULL;
    struct vv_limit limit[3];
    struct work work[THREADS];
    uint64_t in_flight = 0;
    VV_CHECK_INT(vv_limits_new(256, 1, &l), VV_OK);
    VV_CHECK_INT(vv_limit_init(&limit[0], VV_LIMIT_RATE, 1, 100, VV_SEC, 5), VV_OK);
    VV_CHECK_INT(vv_limit_init(&limit[1], VV_LIMIT_CONCURRENT, 2, 3, 0, 0), VV_OK);
    VV_CHECK_INT(vv_limit_init(&limit[2], VV_LIMIT_WINDOW, 3, 50, VV_SEC, 0), VV_OK);
    for (uint64_t i = 0; i < THREADS; i++) {
        work[i] = (struct work){
            .l = l, .limit = limit, .limits = 3, .seed = i, .tries = 20000, .keys = 1000};
    }
    run_all(work, churn);
    for (uint64_t key = 0; key < 1000; key++) {
        const struct vv_limit_ask ask = {&limit[1], {(const char *)&key, sizeof(key)}, 1};
        struct vv_limit_answer a;
        vv_limits_peek(l, &ask, 1, START + VV_HOUR, &a);
        in_flight += 3 - a.remaining;
    }
    VV_CHECK_INT(in_flight, 0);
    vv_limits_free(l);
}
