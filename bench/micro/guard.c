/* bench/micro/guard.c - what the decisions of src/guard cost.
 *
 * Build:  ninja -C build src/guard/bench_guard
 * Prints: nanoseconds of CPU per vv_limits_take(), one thread, made-up clock: for keys that stay in
 *         the processor's caches and for a million of them in random order, for one limit and for
 *         the three of a plan (rate, quota, in flight; with the release). Then what a request pays
 *         for the others. */
#include "base/rng.h"
#include "guard/breaker.h"
#include "guard/budget.h"
#include "guard/concurrency.h"
#include "guard/limit.h"
#include "guard/share.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define DECISIONS 2000000
#define KEYS_MAX 1000000

static uint64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * VV_SEC + (uint64_t)t.tv_nsec;
}

static void name_of(uint64_t id, struct vv_str key, uint8_t ret[VV_SHARE_NAME_BYTES])
{
    memset(ret, 0, VV_SHARE_NAME_BYTES);
    memcpy(ret, key.p, vv_min_u64(key.n, VV_SHARE_NAME_BYTES));
    ret[0] ^= (uint8_t)id;
}

/* shared: the rate is one for several gateways. Nobody talks to the store here: that costs no decision. */
static double measure(uint64_t keys, size_t limits, bool answers, bool shared)
{
    struct vv_shares *shares = NULL;
    struct vv_limits *l = NULL;
    struct vv_limit limit[3];
    struct vv_limit_ask ask[3];
    struct vv_limit_answer answer[3];
    struct vv_limit_grant grant;
    struct vv_rng rng;
    uint64_t passed = 0;
    vv_rng_init(&rng, 1);
    if (vv_limits_new(3 * keys, 1, &l) != VV_OK ||
        vv_limit_init(&limit[0], VV_LIMIT_RATE, 1, 100, VV_SEC, 201) != VV_OK ||
        vv_limit_init(&limit[1], VV_LIMIT_WINDOW, 2, 10000, VV_HOUR, 0) != VV_OK ||
        vv_limit_init(&limit[2], VV_LIMIT_CONCURRENT, 3, 100, 0, 0) != VV_OK) {
        return -1;
    }
    if (shared) {
        if (vv_shares_new(2 * keys, name_of, &shares) != VV_OK) {
            return -1;
        }
        limit[0].shares = shares;
    }
    uint64_t began_ns = 0;
    for (uint64_t i = 0; i < keys + DECISIONS; i++) {
        uint64_t name[2] = {0x20010db800000000, i < keys ? i : vv_rng_below(&rng, keys)};
        if (i == keys) { /* every key is there from here on */
            began_ns = cpu_ns();
        }
        for (size_t n = 0; n < limits; n++) {
            ask[n] = (struct vv_limit_ask){&limit[n], {(const char *)name, sizeof(name)}, 1};
        }
        passed +=
            vv_limits_take(l, ask, limits, VV_HOUR + i * VV_US, &grant, answers ? answer : NULL);
        vv_limits_release(l, &grant, VV_HOUR + i * VV_US);
    }
    const double took = (double)(cpu_ns() - began_ns) / DECISIONS;
    vv_limits_free(l);
    vv_shares_free(shares);
    return passed > 0 ? took : -1;
}

/* Everything a request that goes well pays beside its limits: breaker, concurrency, budget, hedge. */
static int measure_others(void)
{
    const struct vv_breaker_conf breaker_conf = {.consecutive = 5,
                                                 .window_ns = 5 * VV_MINUTE,
                                                 .volume_min = 100,
                                                 .fail_ppm_max = VV_PPM / 10,
                                                 .open_ns = VV_MINUTE,
                                                 .probes = 1,
                                                 .probe_successes = 1,
                                                 .probe_lease_ns = VV_MINUTE};
    const struct vv_conc_conf conc_conf = {
        .initial = 20, .min = 4, .max = 200, .window_ns = 100 * VV_MS, .samples_min = 100};
    const struct vv_budget_conf budget_conf = {
        .share_ppm = VV_PPM / 5, .floor_per_s = 10, .window_ns = 10 * VV_SEC};
    const struct vv_hedge_conf hedge_conf = {.quantile_ppm = 950000,
                                             .samples_min = 100,
                                             .min_ns = VV_MS,
                                             .max_ns = VV_SEC,
                                             .period_ns = 10 * VV_SEC};
    struct vv_breaker *breaker = NULL;
    struct vv_conc *conc = NULL;
    struct vv_budget *budget = NULL;
    struct vv_hedge *hedge = NULL;
    uint64_t began_ns[5];
    uint64_t wait_ns;
    if (vv_breaker_new(&breaker_conf, 0, &breaker) != VV_OK ||
        vv_conc_new(&conc_conf, &conc) != VV_OK || vv_budget_new(&budget_conf, &budget) != VV_OK ||
        vv_hedge_new(&hedge_conf, &hedge) != VV_OK) {
        return 1;
    }
    began_ns[0] = cpu_ns();
    for (uint64_t t = VV_HOUR; t < VV_HOUR + DECISIONS * VV_US; t += VV_US) {
        struct vv_breaker_permit permit;
        if (vv_breaker_admit(breaker, t, &permit, &wait_ns)) {
            vv_breaker_report(breaker, t, &permit, VV_BREAKER_OK, VV_MS);
        }
    }
    began_ns[1] = cpu_ns();
    for (uint64_t t = VV_HOUR; t < VV_HOUR + DECISIONS * VV_US; t += VV_US) {
        if (vv_conc_enter(conc)) {
            vv_conc_leave(conc, t, VV_MS, VV_CONC_OK);
        }
    }
    began_ns[2] = cpu_ns();
    for (uint64_t t = VV_HOUR; t < VV_HOUR + DECISIONS * VV_US; t += VV_US) {
        vv_budget_deposit(budget, t);
    }
    began_ns[3] = cpu_ns();
    for (uint64_t t = VV_HOUR; t < VV_HOUR + DECISIONS * VV_US; t += VV_US) {
        vv_hedge_observe(hedge, t, VV_MS);
    }
    began_ns[4] = cpu_ns();
    static const char *const names[] = {"breaker", "concurrency", "budget", "hedge"};
    for (size_t i = 0; i < VV_COUNT(names); i++) {
        printf("%-20s %10.0f\n", names[i], (double)(began_ns[i + 1] - began_ns[i]) / DECISIONS);
    }
    vv_breaker_free(breaker);
    vv_conc_free(conc);
    vv_budget_free(budget);
    vv_hedge_free(hedge);
    return 0;
}

int main(void)
{
    static const uint64_t keys[] = {1, 1000, KEYS_MAX};
    printf("ns per decision      %10s %10s %10s\n", "1 key", "1,000", "1,000,000");
    for (int row = 0; row < 4; row++) {
        const size_t limits = row < 2 ? 1 : 3;
        const bool answers = row % 2 == 1;
        printf("%zu limit%s%s", limits, limits > 1 ? "s" : " ",
               answers ? " and answers" : "            ");
        for (size_t k = 0; k < VV_COUNT(keys); k++) {
            printf(" %10.0f", measure(keys[k], limits, answers, false));
        }
        printf("\n");
    }
    printf("1 limit, shared     ");
    for (size_t k = 0; k < VV_COUNT(keys); k++) {
        printf(" %10.0f", measure(keys[k], 1, false, true));
    }
    printf("\n");
    return measure_others();
}
