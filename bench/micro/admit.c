/* bench/micro/admit.c - what a request pays for its limits: the decision as the gateway makes it, from the
 * client's address to the answers, and the fields about it.
 *
 * Build:  ninja -C build src/gateway/bench_admit
 * Prints: nanoseconds of CPU per decision (gathering, keys, one take over all words, the admission in the
 *         exchange's arena, its end), one thread, made-up clock: for one client, 1,000 and 1,000,000 of them
 *         in random order; for a limit per client, for that and one of the route for all, for a plan
 *         (rate and in flight). Then the fields, and what the table holds after a million clients. */
#include "base/rng.h"
#include "gateway/admit_int.h"

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

static const struct vv_limit_settings web = {.per = "client",
                                             .rate = "100/s",
                                             .rate_count = 100,
                                             .rate_per_ns = VV_SEC,
                                             .burst = 200,
                                             .weight = 1,
                                             .status = 429};
static const struct vv_limit_settings all = {.per = "all",
                                             .rate = "10000000/s",
                                             .rate_count = 10000000,
                                             .rate_per_ns = VV_SEC,
                                             .burst = 10000000,
                                             .weight = 1,
                                             .status = 429};
static const struct vv_limit_settings standard = {.rate = "10000/h",
                                                  .rate_count = 10000,
                                                  .rate_per_ns = VV_HOUR,
                                                  .burst = 500,
                                                  .concurrent = 100,
                                                  .weight = 1,
                                                  .status = 429};

static struct vv_limit_plan *plan_of(const struct vv_limit_settings *s, const char *scope)
{
    char why[256];
    struct vv_limit_plan *plan = NULL;
    const void *only = s;
    const struct vv_conf_list list = {.count = 1, .item = (void **)(uintptr_t)&only};
    if (vv_limit_plan_new(&list, scope, s->per == NULL, &plan, why) != VV_OK) {
        exit(1);
    }
    return plan;
}

struct desk {
    struct vv_limits *limits;
    struct vv_arena arena;
    struct vv_addr peer;
    struct vv_admit_question q;
    char block[4096], caller[16];
};

static void up(struct desk *d, const struct vv_limit_plan *listener,
               const struct vv_limit_plan *route, const struct vv_limit_plan *plan)
{
    if (vv_limits_new(KEYS_MAX, 1, &d->limits) != VV_OK) {
        exit(1);
    }
    vv_arena_init(&d->arena, d->block, sizeof d->block, sizeof d->block, 0);
    d->peer = (struct vv_addr){.len = sizeof d->peer.in4};
    d->peer.in4.sin_family = AF_INET;
    d->q = (struct vv_admit_question){.limits = d->limits,
                                      .list = {listener, route, plan},
                                      .has_plan = plan != NULL,
                                      .client = VV_STR("192.0.2.1"),
                                      .peer = &d->peer,
                                      .arena = &d->arena};
}

static void down(struct desk *d)
{
    vv_arena_fini(&d->arena);
    vv_limits_free(d->limits);
}

static uint64_t one(struct desk *d, uint64_t who, uint64_t now_ns, size_t *ret_bytes)
{
    struct vv_admission *a = NULL;
    d->peer.in4.sin_addr.s_addr = (uint32_t)who;
    memcpy(d->caller, &who, sizeof who);
    d->q.caller = (struct vv_str){d->caller, d->q.has_plan ? sizeof who : 0};
    d->q.now_ns = now_ns;
    if (vv_admit_decide(&d->q, NULL, NULL, &a) != VV_OK) {
        exit(1);
    }
    const bool passed = a->allowed;
    if (ret_bytes != NULL) {
        char text[1024];
        struct vv_writer w = {text};
        vv_admission_put_fields(&w, a);
        *ret_bytes += (size_t)(w.at - text);
    }
    vv_admission_release(d->limits, a, now_ns);
    vv_arena_reset(&d->arena);
    return passed;
}

static double measure(struct desk *d, uint64_t keys, size_t *bytes)
{
    struct vv_rng rng;
    uint64_t began_ns = 0;
    uint64_t passed = 0;
    vv_rng_init(&rng, 1);
    for (uint64_t i = 0; i < keys + DECISIONS; i++) {
        if (i == keys) { /* every client is known from here on */
            began_ns = cpu_ns();
        }
        passed += one(d, i < keys ? i : vv_rng_below(&rng, keys), VV_HOUR + i * VV_US, bytes);
    }
    return passed > 0 ? (double)(cpu_ns() - began_ns) / DECISIONS : -1;
}

int main(void)
{
    static const uint64_t keys[] = {1, 1000, KEYS_MAX};
    struct vv_limit_plan *listener = plan_of(&web, "listener:web");
    struct vv_limit_plan *route = plan_of(&all, "route:/");
    struct vv_limit_plan *plan = plan_of(&standard, "plan:standard");
    const struct {
        const char *name;
        const struct vv_limit_plan *list[3];
        bool fields;
    } row[] = {{"per client", {listener, NULL, NULL}, false},
               {"per client, with fields", {listener, NULL, NULL}, true},
               {"per client and for all", {listener, route, NULL}, false},
               {"a plan (rate, in flight)", {listener, NULL, plan}, false},
               {"a plan and one for all", {listener, route, plan}, false}};
    struct vv_limits_stats stats = {0};
    printf("ns per decision            %10s %10s %10s\n", "1 client", "1,000", "1,000,000");
    for (size_t r = 0; r < VV_COUNT(row); r++) {
        printf("%-26s", row[r].name);
        for (size_t k = 0; k < VV_COUNT(keys); k++) {
            struct desk d;
            size_t bytes = 0;
            up(&d, row[r].list[0], row[r].list[1], row[r].list[2]);
            printf(" %10.0f", measure(&d, keys[k], row[r].fields ? &bytes : NULL));
            vv_limits_look(d.limits, &stats);
            down(&d);
        }
        printf("\n");
    }
    printf("words %llu of %llu, %llu given to others while they said something, %llu untracked\n",
           (unsigned long long)stats.used, (unsigned long long)stats.capacity,
           (unsigned long long)stats.evicted_active, (unsigned long long)stats.untracked);
    vv_limit_plan_free(listener);
    vv_limit_plan_free(route);
    vv_limit_plan_free(plan);
    return 0;
}
