/* bench/micro/guard.c - what a decision of the limits costs.
 *
 * Build:  ninja -C build src/guard/bench_guard
 * Prints: nanoseconds of CPU per vv_limits_take(), one thread, made-up clock: for keys that stay in
 *         the processor's caches and for a million of them in random order, for one limit and for
 *         the three of a plan (rate, quota, in flight; with the release). */
#include "base/rng.h"
#include "guard/limit.h"

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

static double measure(uint64_t keys, size_t limits, bool answers)
{
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
    return passed > 0 ? took : -1;
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
            printf(" %10.0f", measure(keys[k], limits, answers));
        }
        printf("\n");
    }
    return 0;
}
