/* tests/unit/gateway/test_admit.c - limits of listeners, routes and plans as one decision, at made-up times,
 * with the numbers of the deployments Vivace is made for. */
#include "gateway/admit_int.h"
#include "vv_test.h"
#include <stdio.h>
#include <stdlib.h>

#define START (1000 * VV_HOUR)

struct desk { /* all that a decision needs */
    struct vv_limits *limits;
    struct vv_arena arena;
    struct vv_admit_question q;
    struct vv_limit_plan *plan[VV_ADMIT_LISTS];
    char why[256];
    int counted[VV_LIMIT_RESULTS];
};

static void desk_up(struct desk *d)
{
    memset(d, 0, sizeof *d);
    VV_CHECK_INT(vv_limits_new(4096, 7, &d->limits), VV_OK);
    vv_arena_init(&d->arena, NULL, 0, 65536, 0);
    d->q = (struct vv_admit_question){
        .limits = d->limits, .client = VV_STR("192.0.2.1"), .arena = &d->arena, .now_ns = START};
}

static void desk_down(struct desk *d)
{
    for (size_t i = 0; i < VV_ADMIT_LISTS; i++) {
        vv_limit_plan_free(d->plan[i]);
    }
    vv_arena_fini(&d->arena);
    vv_limits_free(d->limits);
}

/* One list, one limit. */
static enum vv_err put(struct desk *d, size_t at, const struct vv_limit_settings *s,
                       const char *scope, bool at_once)
{
    const void *only = s;
    const struct vv_conf_list list = {.count = 1, .item = (void **)(uintptr_t)&only};
    vv_limit_plan_free(d->plan[at]);
    const enum vv_err err = vv_limit_plan_new(&list, scope, at_once, &d->plan[at], d->why);
    d->q.list[at] = d->plan[at];
    return err;
}

static void count(void *user, const struct vv_limit_item *item, enum vv_limit_result result)
{
    struct desk *d = user;
    (void)item;
    d->counted[result]++;
}

/* One request; its places are given back unless `ret` wants the admission. */
static bool ask(struct desk *d, struct vv_admission **ret)
{
    struct vv_admission *a = NULL;
    VV_CHECK_INT(vv_admit_decide(&d->q, count, d, &a), VV_OK);
    const bool passed = a == NULL || a->allowed;
    if (ret != NULL) {
        *ret = a;
    } else {
        if (a != NULL) {
            vv_admission_release(d->limits, a, d->q.now_ns);
        }
        vv_arena_reset(&d->arena);
    }
    return passed;
}

static int ask_many(struct desk *d, int tries)
{
    int passed = 0;
    for (int i = 0; i < tries; i++) {
        passed += ask(d, NULL);
    }
    return passed;
}

static const char *fields(struct desk *d, const struct vv_admission *a)
{
    const size_t room = vv_admission_fields_bytes(a);
    char *text = vv_arena_alloc(&d->arena, room + 1);
    struct vv_writer w = {text};
    vv_admission_put_fields(&w, a);
    *w.at = '\0';
    VV_CHECK((size_t)(w.at - text) <= room);
    return text;
}

static const struct vv_limit_settings web = {.per = "client",
                                             .rate = "100/s",
                                             .rate_count = 100,
                                             .rate_per_ns = VV_SEC,
                                             .burst = 200,
                                             .weight = 1,
                                             .status = 429};

VV_TEST(of_300_at_once_201_pass_and_then_one_every_10_ms)
{
    struct desk d;
    struct vv_admission *a = NULL;
    desk_up(&d);
    VV_CHECK_INT(put(&d, 0, &web, "listener:web", false), VV_OK);
    VV_CHECK_INT(ask_many(&d, 300), 201);
    VV_CHECK(!ask(&d, &a));
    VV_CHECK_INT(a->retry_ns, 10 * VV_MS);
    VV_CHECK_INT(a->status, 429);
    /* All 201 are back in 2.01 s. */
    VV_CHECK_STR(fields(&d, a),
                 "RateLimit-Policy: \"web\";q=201;w=3\r\nRateLimit: \"web\";r=0;t=3\r\n");
    d.q.now_ns += 10 * VV_MS;
    VV_CHECK_INT(ask_many(&d, 3), 1);
    VV_CHECK_INT(d.counted[VV_LIMIT_ALLOWED], 202);
    VV_CHECK_INT(d.counted[VV_LIMIT_REFUSED], 102);
    d.q.client = VV_STR("192.0.2.2"); /* another client has its own */
    VV_CHECK_INT(ask_many(&d, 300), 201);
    desk_down(&d);
}

VV_TEST(ten_seconds_at_five_times_the_rate_admit_the_rate_and_the_burst)
{
    struct desk d;
    int passed = 0;
    desk_up(&d);
    VV_CHECK_INT(put(&d, 0, &web, "listener:web", false), VV_OK);
    for (int i = 0; i < 5000; i++) {
        passed += ask(&d, NULL);
        d.q.now_ns += 2 * VV_MS;
        if (i == 2500) { /* a reload with the same names goes on with the same words */
            VV_CHECK_INT(put(&d, 0, &web, "listener:web", false), VV_OK);
        }
    }
    /* The last one asks at 9.998 s: 201 at once and one for each whole 10 ms. */
    VV_CHECK_INT(passed, 201 + 999);
    desk_down(&d);
}

struct tier {
    const char *scope, *rate;
    uint64_t per_hour, burst, concurrent;
    uint64_t interval_ns; /* 3600 s / per_hour */
};
static const struct tier tiers[] = {
    {"plan:standard", "10000/h", 10000, 500, 100, 360 * VV_MS},
    {"plan:premium", "50000/h", 50000, 2000, 500, 72 * VV_MS},
    {"plan:enterprise", "100000/h", 100000, 5000, 1000, 36 * VV_MS},
};

static struct vv_limit_settings tier_settings(const struct tier *t)
{
    return (struct vv_limit_settings){.rate = t->rate,
                                      .rate_count = t->per_hour,
                                      .rate_per_ns = VV_HOUR,
                                      .burst = t->burst,
                                      .concurrent = t->concurrent,
                                      .weight = 1,
                                      .status = 429};
}

VV_TEST(plans_pass_their_burst_at_once_and_then_their_hourly_rate)
{
    for (size_t i = 0; i < VV_COUNT(tiers); i++) {
        struct desk d;
        const struct vv_limit_settings s = tier_settings(&tiers[i]);
        struct vv_admission *a = NULL;
        desk_up(&d);
        VV_CHECK_INT(put(&d, 2, &s, tiers[i].scope, true), VV_OK);
        d.q.has_plan = true;
        d.q.caller = VV_STR("partner-42");
        VV_CHECK_INT(ask_many(&d, (int)tiers[i].burst), tiers[i].burst);
        VV_CHECK(!ask(&d, &a)); /* the 501st */
        VV_CHECK_INT(a->retry_ns, tiers[i].interval_ns);
        /* A request may be 1/64 of the interval too early: guard/limit.h. */
        const uint64_t skew_ns = tiers[i].interval_ns / 64;
        d.q.now_ns += tiers[i].interval_ns - skew_ns - 1;
        VV_CHECK(!ask(&d, NULL));
        d.q.now_ns += skew_ns + 1;
        VV_CHECK_INT(ask_many(&d, 3), 1);
        d.q.now_ns += 10 * tiers[i].interval_ns;
        VV_CHECK_INT(ask_many(&d, 20), 10);
        desk_down(&d);
    }
}

VV_TEST(plans_let_so_many_be_in_flight_and_one_more_when_one_ends)
{
    for (size_t i = 0; i < VV_COUNT(tiers); i++) {
        struct desk d;
        const struct vv_limit_settings s = tier_settings(&tiers[i]);
        struct vv_admission *first = NULL, *a = NULL;
        desk_up(&d);
        VV_CHECK_INT(put(&d, 2, &s, tiers[i].scope, true), VV_OK);
        d.q.has_plan = true;
        d.q.caller = VV_STR("partner-42");
        for (uint64_t n = 0; n < tiers[i].concurrent; n++) {
            VV_CHECK(ask(&d, &a));
            first = first == NULL ? a : first;
        }
        VV_CHECK(!ask(&d, &a)); /* the 101st */
        VV_CHECK(a->told[0].answer.allowed && !a->told[1].answer.allowed);
        VV_CHECK_INT(a->told[0].answer.remaining, tiers[i].burst - tiers[i].concurrent);
        vv_admission_release(d.limits, a, d.q.now_ns); /* holds nothing */
        vv_admission_release(d.limits, first, d.q.now_ns);
        vv_admission_release(d.limits, first, d.q.now_ns); /* once is enough */
        VV_CHECK(ask(&d, &a));
        VV_CHECK(!ask(&d, &a));
        desk_down(&d);
    }
}

VV_TEST(two_hundred_a_minute_with_a_burst_of_300)
{
    struct desk d;
    const struct vv_limit_settings s = {.name = "api",
                                        .rate = "200/min",
                                        .rate_count = 200,
                                        .rate_per_ns = VV_MINUTE,
                                        .burst = 300,
                                        .weight = 1,
                                        .legacy = 1,
                                        .status = 503};
    struct vv_admission *a = NULL;
    desk_up(&d);
    VV_CHECK_INT(put(&d, 1, &s, "route:/api/", false), VV_OK);
    VV_CHECK(ask(&d, &a));
    VV_CHECK_STR(
        fields(&d, a),
        "RateLimit-Policy: \"api\";q=301;w=91\r\nRateLimit: \"api\";r=300;t=1\r\n"
        "X-RateLimit-Limit: 301\r\nX-RateLimit-Remaining: 300\r\nX-RateLimit-Reset: 1\r\n");
    VV_CHECK_INT(ask_many(&d, 400), 300);
    VV_CHECK(!ask(&d, &a));
    VV_CHECK_INT(a->status, 503);
    d.q.now_ns += VV_MINUTE;
    VV_CHECK_INT(ask_many(&d, 400), 200);
    desk_down(&d);
}

VV_TEST(what_one_limit_refuses_costs_the_others_nothing)
{
    struct desk d;
    struct vv_admission *a = NULL;
    const struct vv_limit_settings all = {.per = "all",
                                          .rate = "10/s",
                                          .rate_count = 10,
                                          .rate_per_ns = VV_SEC,
                                          .burst = 4,
                                          .quota = "100/h",
                                          .quota_count = 100,
                                          .quota_per_ns = VV_HOUR,
                                          .weight = 1,
                                          .status = 429};
    desk_up(&d);
    VV_CHECK_INT(put(&d, 0, &web, "listener:web", false), VV_OK);
    VV_CHECK_INT(put(&d, 1, &all, "route:slow", false), VV_OK);
    VV_CHECK_INT(ask_many(&d, 50), 5);
    VV_CHECK(!ask(&d, &a));
    VV_CHECK_INT(a->count, 3);
    VV_CHECK_INT(a->told[0].answer.remaining, 201 - 5); /* not 201 - 51 */
    VV_CHECK_INT(a->told[2].answer.remaining, 100 - 5);
    VV_CHECK_INT(d.counted[VV_LIMIT_REFUSED], 46); /* only the limit that said no */
    VV_CHECK_STR(
        fields(&d, a),
        "RateLimit-Policy: \"web\";q=201;w=3, \"slow\";q=5;w=1, \"slow-quota\";q=100;w=3600\r\n"
        "RateLimit: \"web\";r=196;t=1, \"slow\";r=0;t=1, \"slow-quota\";r=95;t=7200\r\n");
    desk_down(&d);
}

VV_TEST(a_plan_takes_the_place_of_limits_per_client_only)
{
    struct desk d;
    struct vv_admission *a = NULL;
    const struct vv_limit_settings premium = tier_settings(&tiers[1]);
    const struct vv_limit_settings all = {.per = "all",
                                          .rate = "1/s",
                                          .rate_count = 1,
                                          .rate_per_ns = VV_SEC,
                                          .burst = 0,
                                          .weight = 1,
                                          .status = 429};
    desk_up(&d);
    VV_CHECK_INT(put(&d, 0, &web, "listener:web", false), VV_OK);
    VV_CHECK_INT(put(&d, 2, &premium, "plan:premium", true), VV_OK);
    d.q.has_plan = true;
    d.q.caller = VV_STR("k1");
    VV_CHECK_INT(ask_many(&d, 1000), 1000); /* more than the 201 of the listener */
    d.q.caller = VV_STR("k2");
    VV_CHECK(ask(&d, &a));
    VV_CHECK_INT(a->count, 2);
    VV_CHECK_INT(a->told[0].answer.remaining, 1999); /* every key has its own */
    VV_CHECK_INT(put(&d, 1, &all, "route:all", false), VV_OK);
    VV_CHECK_INT(ask_many(&d, 5), 1); /* a limit for all holds for plans too */
    d.q.list[2] = NULL; /* a plan without limits of its own: nothing per client either */
    d.q.list[1] = NULL;
    VV_CHECK(ask(&d, &a) && a == NULL);
    desk_down(&d);
}

VV_TEST(a_limit_that_only_watches_refuses_nothing_and_tells_what_it_would)
{
    struct desk d;
    struct vv_admission *a = NULL;
    struct vv_limit_settings s = web;
    s.dry_run = 1;
    s.burst = 1;
    s.concurrent = 1;
    desk_up(&d);
    VV_CHECK_INT(put(&d, 0, &s, "listener:web", false), VV_OK);
    VV_CHECK(ask(&d, &a) && a->watched == 0 && a->held != NULL);
    VV_CHECK_STR(fields(&d, a), "");
    VV_CHECK(ask(&d, NULL)); /* the place is taken */
    VV_CHECK_INT(d.counted[VV_LIMIT_DRY], 1);
    vv_admission_release(d.limits, a, d.q.now_ns);
    VV_CHECK(ask(&d, NULL) && ask(&d, NULL)); /* one more passes, then the rate says no */
    VV_CHECK_INT(d.counted[VV_LIMIT_ALLOWED], 2);
    VV_CHECK_INT(d.counted[VV_LIMIT_DRY], 2);
    VV_CHECK_INT(d.counted[VV_LIMIT_REFUSED], 0);
    desk_down(&d);
}

VV_TEST(an_ipv6_client_is_its_64)
{
    struct desk d;
    struct vv_limit_settings s = web;
    s.burst = 1;
    desk_up(&d);
    VV_CHECK_INT(put(&d, 0, &s, "listener:web", false), VV_OK);
    d.q.client = VV_STR("2001:db8:1:2::1");
    VV_CHECK(ask(&d, NULL));
    d.q.client = VV_STR("2001:db8:1:2:ffff::9");
    VV_CHECK(ask(&d, NULL) && !ask(&d, NULL));
    d.q.client = VV_STR("2001:db8:1:3::1");
    VV_CHECK(ask(&d, NULL));
    d.q.client = VV_STR("::ffff:192.0.2.9"); /* IPv4 written so is IPv4 */
    VV_CHECK(ask(&d, NULL) && ask(&d, NULL));
    d.q.client = VV_STR("192.0.2.9");
    VV_CHECK(!ask(&d, NULL));
    desk_down(&d);
}

VV_TEST(allowed_addresses_are_not_limited_and_hear_nothing_of_it)
{
    struct desk d;
    struct vv_admission *a = NULL;
    struct vv_limit_settings s = web;
    const void *block = "192.0.2.0/24";
    struct vv_conf_list allow = {.count = 1, .item = (void **)(uintptr_t)&block};
    s.burst = 0;
    s.allow = &allow;
    desk_up(&d);
    VV_CHECK_INT(put(&d, 0, &s, "listener:web", false), VV_OK);
    VV_CHECK_INT(ask_many(&d, 10), 10);
    VV_CHECK(ask(&d, &a) && a == NULL);
    d.q.client = VV_STR("198.51.100.1");
    VV_CHECK_INT(ask_many(&d, 10), 1);
    desk_down(&d);
}

VV_TEST(requests_may_weigh_more_and_one_that_can_never_pass_says_so)
{
    struct desk d;
    struct vv_admission *a = NULL;
    struct vv_limit_settings s = web;
    s.weight = 10;
    desk_up(&d);
    VV_CHECK_INT(put(&d, 0, &s, "listener:web", false), VV_OK);
    VV_CHECK_INT(ask_many(&d, 300), 20); /* 201 / 10 */
    s.weight = 500;
    s.name = "heavy";
    VV_CHECK_INT(put(&d, 0, &s, "listener:web", false), VV_OK);
    VV_CHECK(!ask(&d, &a) && a->retry_ns == VV_LIMIT_NEVER);
    desk_down(&d);
}

static struct vv_str user_field(void *user, struct vv_str name)
{
    (void)name;
    return vv_str_from(user);
}

VV_TEST(a_template_counts_by_its_value_and_by_address_without_one)
{
    struct desk d;
    struct vv_limit_settings s = web;
    char ann[] = "ann", ben[] = "ben", none[] = "";
    struct vv_template_vars vars = {.header = user_field, .user = ann};
    s.per = "$header.x-user";
    s.burst = 1;
    desk_up(&d);
    VV_CHECK_INT(put(&d, 1, &s, "route:r", false), VV_OK);
    VV_CHECK(d.plan[1]->has_template);
    d.q.vars = &vars;
    VV_CHECK_INT(ask_many(&d, 5), 2);
    vars.user = ben;
    VV_CHECK_INT(ask_many(&d, 5), 2);
    vars.user = none;
    VV_CHECK_INT(ask_many(&d, 5), 2);
    d.q.client = VV_STR("192.0.2.77");
    VV_CHECK_INT(ask_many(&d, 5), 2);
    desk_down(&d);
}

VV_TEST(what_cannot_be_kept_is_refused_with_a_reason)
{
    struct desk d;
    struct vv_limit_settings s = web;
    desk_up(&d);
    s.quota = "5000000/h";
    s.quota_count = 5000000;
    s.quota_per_ns = VV_HOUR;
    VV_CHECK_INT(put(&d, 0, &s, "listener:web", false), VV_ERANGE);
    VV_CHECK(strstr(d.why, "limit \"web\": quota") != NULL);
    s.quota = NULL;
    s.per = "$header.";
    VV_CHECK_INT(put(&d, 0, &s, "listener:web", false), VV_ESYNTAX);
    VV_CHECK(strstr(d.why, "per") != NULL);
    s = web;
    s.rate = NULL;
    s.rate_count = 0;
    VV_CHECK_INT(put(&d, 0, &s, "listener:web", false), VV_OK); /* nothing to keep: no plan */
    VV_CHECK(d.plan[0] == NULL);
    struct vv_limit_settings many[6];
    const void *items[6];
    for (size_t i = 0; i < 6; i++) {
        many[i] = web;
        items[i] = &many[i];
    }
    const struct vv_conf_list list = {.count = 6, .item = (void **)(uintptr_t)items};
    VV_CHECK_INT(vv_limit_plan_new(&list, "route:r", false, &d.plan[1], d.why), VV_ELIMIT);
    VV_CHECK(strstr(d.why, "at most 5") != NULL);
    desk_down(&d);
}

VV_TEST(a_million_clients_take_no_more_room_than_there_is)
{
    struct desk d;
    struct vv_limits_stats stats;
    char text[32];
    int passed = 0;
    desk_up(&d); /* 4,096 words */
    VV_CHECK_INT(put(&d, 0, &web, "listener:web", false), VV_OK);
    for (unsigned i = 0; i < 1000000; i++) {
        d.q.now_ns += 10 * VV_US; /* each is forgotten 10 ms later, when 1,000 others have come */
        const int n = snprintf(text, sizeof text, "10.%u.%u.%u", i >> 16, i >> 8 & 255, i & 255);
        d.q.client = (struct vv_str){text, (size_t)n};
        passed += ask(&d, NULL);
    }
    vv_limits_look(d.limits, &stats);
    VV_CHECK_INT(passed, 1000000);
    VV_CHECK(stats.used <= stats.capacity && stats.capacity < 16384);
    /* 1,000 of 4,096 words say something at a time, one per bucket of four: both buckets of a key are full
     * of such with probability P(X >= 4)^2 = 0.019^2 (Poisson, mean 1), 360 times in a million. */
    VV_CHECK(stats.evicted_active < 720);
    VV_CHECK_INT(stats.untracked, 0);
    desk_down(&d);
}

VV_TEST(two_limits_of_one_name_count_apart)
{
    struct desk d;
    struct vv_limit_settings two[2] = {web, web};
    const void *items[2] = {&two[0], &two[1]};
    const struct vv_conf_list list = {.count = 2, .item = (void **)(uintptr_t)items};
    two[1].burst = 1;
    desk_up(&d);
    VV_CHECK_INT(vv_limit_plan_new(&list, "route:r", false, &d.plan[1], d.why), VV_OK);
    VV_CHECK(d.plan[1]->item[0].part[0].limit.id != d.plan[1]->item[1].part[0].limit.id);
    d.q.list[1] = d.plan[1];
    VV_CHECK_INT(ask_many(&d, 5), 2);
    desk_down(&d);
}
