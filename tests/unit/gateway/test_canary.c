/* tests/unit/gateway/test_canary.c - who belongs to a canary, what its counts lead to, what a reload keeps.
 * Time is passed in; no traffic is sent. */
#include "gateway/canary.h"
#include "vv_test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const struct vv_str shop = {"shop", 4};

struct bench {
    struct vv_metrics *metrics;
    struct vv_canaries *cs;
    struct vv_worker w;
    struct vv_service_settings service_conf[2];
    struct vv_service service[2];
    struct vv_runtime rt;
    struct vv_route_settings conf;
    struct vv_route route;
    struct vv_exchange *x;
    const char *steps[4];
    struct vv_conf_list list;
    uint64_t now_ns;
};

static void take(struct bench *b)
{
    char why[256];
    VV_CHECK_INT(vv_canary_take(b->cs, &b->rt, &b->conf, &b->route.canary, why), VV_OK);
    vv_canaries_settle(b->cs, true);
}

/* Two services, "old" and "new"; steps 10 %, 50 %, 100 %, ten seconds each. */
static void up(struct bench *b)
{
    memset(b, 0, sizeof *b);
    VV_CHECK_INT(vv_metrics_new(&b->metrics), VV_OK);
    VV_CHECK_INT(vv_canaries_new(b->metrics, 1, &b->cs), VV_OK);
    b->service_conf[0].name = "old";
    b->service_conf[1].name = "new";
    b->service[0].conf = &b->service_conf[0];
    b->service[1].conf = &b->service_conf[1];
    b->rt.service = b->service;
    b->rt.service_count = 2;
    b->steps[0] = "10%";
    b->steps[1] = "50%";
    b->steps[2] = "100%";
    b->list = (struct vv_conf_list){.count = 3, .item = (void **)(uintptr_t)b->steps};
    b->conf.name = "shop";
    b->conf.canary = (struct vv_canary_settings){.enabled = 1,
                                                 .to = "new",
                                                 .sticky = "$client_ip",
                                                 .header = "X-Canary",
                                                 .steps = &b->list,
                                                 .every_ns = 10 * VV_SEC,
                                                 .alpha_ppm = 10000,
                                                 .volume = 100,
                                                 .automatic = 1};
    b->route.conf = &b->conf;
    b->route.service = &b->service[0];
    VV_CHECK_INT(vv_metrics_shard(b->metrics, &b->w.shard), VV_OK);
    b->w.metrics = b->metrics;
    vv_rng_init(&b->w.rng, 7);
    b->x = calloc(1, sizeof *b->x);
    b->x->w = &b->w;
    b->x->route = &b->route;
    vv_h1_head_init(&b->x->req);
    vv_arena_init(&b->x->arena, b->x->first_block, sizeof b->x->first_block, 4096, 1u << 20);
    take(b);
    b->now_ns = vv_max_u64(1, VV_SEC) * 1000000; /* later than any clock of this test's process */
}

static void down(struct bench *b)
{
    vv_arena_fini(&b->x->arena);
    free(b->x);
    vv_canary_unref(b->route.canary);
    vv_canaries_free(b->cs);
    vv_metrics_shard_return(b->metrics, b->w.shard);
    vv_metrics_free(b->metrics);
}

static enum vv_canary_side choose(struct bench *b, const char *client)
{
    b->x->client_ip = vv_str_from(client);
    b->x->service = b->route.service;
    b->x->side = 0;
    VV_CHECK(!vv_canary_choose(b->x));
    VV_CHECK(b->x->service == &b->service[b->x->side == VV_SIDE_CANDIDATE]);
    vv_arena_reset(&b->x->arena);
    return (enum vv_canary_side)b->x->side;
}

static enum vv_canary_side side_of(struct bench *b, unsigned i)
{
    char client[32];
    snprintf(client, sizeof client, "10.%u.%u.%u", i >> 16, i >> 8 & 255, i & 255);
    return choose(b, client);
}

/* n answers of each side, this share of them errors, all in so many milliseconds. */
static void answers(struct bench *b, unsigned n, unsigned errors_old, unsigned errors_new)
{
    for (unsigned i = 0; i < n; i++) {
        b->x->side = VV_SIDE_BASE;
        vv_canary_report(b->x, i < errors_old, 5 * VV_MS);
        b->x->side = VV_SIDE_CANDIDATE;
        vv_canary_report(b->x, i < errors_new, 5 * VV_MS);
    }
}

static double share(struct bench *b)
{
    struct vv_sb out = VV_SB_INIT;
    struct vv_json j;
    vv_json_init(&j, &out);
    vv_canaries_json(b->cs, shop, b->now_ns, &j);
    vv_sb_addc(&out, '\0');
    const char *at = strstr(vv_sb_str(&out).p, "\"share\":");
    VV_CHECK(at != NULL);
    const double value = strtod(at + strlen("\"share\":"), NULL);
    vv_sb_fini(&out);
    return value;
}

static bool json_has(struct bench *b, const char *text)
{
    struct vv_sb out = VV_SB_INIT;
    struct vv_json j;
    vv_json_init(&j, &out);
    vv_canaries_json(b->cs, shop, b->now_ns, &j);
    vv_sb_addc(&out, '\0');
    const bool found = strstr(vv_sb_str(&out).p, text) != NULL;
    vv_sb_fini(&out);
    return found;
}

static void check_share(struct bench *b, double want)
{
    VV_CHECK(fabs(share(b) - want) < 1e-9);
}

static void tick(struct bench *b, uint64_t ns)
{
    b->now_ns += ns;
    vv_canaries_tick(b->cs, b->now_ns);
}

static void start(struct bench *b, uint64_t ppm)
{
    VV_CHECK_INT(vv_canary_start(b->cs, shop, ppm, b->now_ns), VV_OK);
}

VV_TEST(the_share_of_clients_is_the_share_asked_for)
{
    struct bench b;
    unsigned n = 0;
    up(&b);
    start(&b, 100000);
    for (unsigned i = 0; i < 10000; i++) {
        n += side_of(&b, i) == VV_SIDE_CANDIDATE;
    }
    VV_CHECK(n > 880 && n < 1120); /* 1,000, standard deviation sqrt(10000 * .1 * .9) = 30 */
    down(&b);
}

VV_TEST(a_client_stays_where_it_is_while_the_share_grows)
{
    static uint8_t was[2000];
    struct bench b;
    up(&b);
    memset(was, 0, sizeof was);
    for (uint64_t ppm = 50000; ppm <= VV_PPM; ppm += 190000) {
        start(&b, ppm);
        for (unsigned i = 0; i < 2000; i++) {
            const enum vv_canary_side side = side_of(&b, i);
            VV_CHECK(side == side_of(&b, i));
            VV_CHECK(was[i] != VV_SIDE_CANDIDATE || side == VV_SIDE_CANDIDATE);
            was[i] = (uint8_t)side;
        }
    }
    for (unsigned i = 0; i < 2000; i++) {
        VV_CHECK_INT(was[i], VV_SIDE_CANDIDATE);
    }
    down(&b);
}

VV_TEST(without_a_share_nobody_is_on_any_side)
{
    struct bench b;
    up(&b);
    VV_CHECK_INT(side_of(&b, 1), VV_SIDE_NONE);
    start(&b, VV_PPM);
    VV_CHECK_INT(side_of(&b, 1), VV_SIDE_CANDIDATE);
    VV_CHECK_INT(vv_canary_abort(b.cs, shop, b.now_ns), VV_OK);
    VV_CHECK_INT(side_of(&b, 1), VV_SIDE_NONE);
    down(&b);
}

VV_TEST(who_has_nothing_to_be_known_by_goes_by_chance)
{
    struct bench b;
    unsigned n = 0;
    up(&b);
    start(&b, 500000);
    for (int i = 0; i < 1000; i++) {
        n += choose(&b, "") == VV_SIDE_CANDIDATE;
    }
    VV_CHECK(n > 400 && n < 600); /* 500, standard deviation 16 */
    down(&b);
}

static void set_header(struct bench *b, const char *value)
{
    struct vv_h1_field *f = &b->x->req.fields[0];
    *f = (struct vv_h1_field){.name = VV_STR("x-canary"), .value = vv_str_from(value)};
    b->x->req.fields_count = 1;
}

VV_TEST(its_header_decides_and_is_counted_but_not_compared)
{
    struct bench b;
    up(&b);
    set_header(&b, "always");
    VV_CHECK_INT(side_of(&b, 1), VV_SIDE_CANDIDATE); /* at a share of nothing */
    start(&b, 100000);
    vv_canary_report(b.x, true, VV_MS);
    VV_CHECK(json_has(&b, "\"candidate\":{\"requests\":0"));
    const struct vv_str values[] = {shop, VV_STR("candidate"), VV_STR("error")};
    VV_CHECK_INT(vv_metrics_value(
                     b.metrics, vv_metrics_series(b.metrics, VV_METRIC_CANARY_REQUESTS, values, 3)),
                 1);
    start(&b, VV_PPM);
    set_header(&b, "Never");
    VV_CHECK_INT(side_of(&b, 1), VV_SIDE_BASE);
    set_header(&b, "perhaps");
    VV_CHECK_INT(side_of(&b, 1), VV_SIDE_CANDIDATE);
    down(&b);
}

VV_TEST(a_worse_version_is_aborted_and_the_reason_kept)
{
    struct bench b;
    up(&b);
    start(&b, 0);
    check_share(&b, 0.1); /* the first step */
    answers(&b, 500, 5, 100);
    tick(&b, VV_SEC);
    check_share(&b, 0);
    VV_CHECK(json_has(&b, "\"state\":\"aborted\""));
    VV_CHECK(json_has(&b, "\"verdict\":\"worse\""));
    VV_CHECK(json_has(&b, "errors 20.00% against 1.00%"));
    VV_CHECK_INT(side_of(&b, 1), VV_SIDE_NONE);
    down(&b);
}

VV_TEST(a_version_that_is_as_good_goes_up_step_by_step)
{
    struct bench b;
    up(&b);
    start(&b, 0);
    answers(&b, 3000, 3, 3);
    tick(&b, 9 * VV_SEC);
    check_share(&b, 0.1); /* a step lasts ten seconds */
    tick(&b, VV_SEC);
    check_share(&b, 0.5);
    tick(&b, 20 * VV_SEC);
    check_share(&b, 0.5); /* what was counted before belongs to the step before */
    answers(&b, 3000, 3, 3);
    tick(&b, VV_SEC);
    check_share(&b, 1);
    VV_CHECK(json_has(&b, "\"state\":\"promoted\""));
    down(&b);
}

VV_TEST(a_reload_keeps_the_share_unless_the_file_says_another)
{
    struct bench b;
    up(&b);
    start(&b, 250000);
    answers(&b, 50, 0, 0);
    struct vv_canary *former = b.route.canary;
    take(&b);
    vv_canary_unref(former);
    tick(&b, VV_SEC);
    check_share(&b, 0.25);
    VV_CHECK(json_has(&b, "\"base\":{\"requests\":50"));
    former = b.route.canary;
    b.conf.canary.share_ppm = 30000;
    take(&b);
    vv_canary_unref(former);
    check_share(&b, 0.03);
    VV_CHECK(json_has(&b, "\"base\":{\"requests\":0"));
    down(&b);
}

VV_TEST(a_reload_that_is_not_kept_changes_nothing)
{
    struct bench b;
    char why[256];
    struct vv_canary *c = NULL;
    up(&b);
    start(&b, 250000);
    b.conf.canary.share_ppm = 900000;
    b.conf.canary.to = "old";
    VV_CHECK_INT(vv_canary_take(b.cs, &b.rt, &b.conf, &c, why), VV_OK);
    vv_canaries_settle(b.cs, false);
    vv_canary_unref(c);
    tick(&b, VV_SEC);
    check_share(&b, 0.25);
    VV_CHECK(json_has(&b, "\"to\":\"new\""));
    down(&b);
}

VV_TEST(what_no_route_holds_any_more_is_gone)
{
    struct bench b;
    up(&b);
    vv_canary_unref(b.route.canary);
    b.route.canary = NULL;
    VV_CHECK_INT(vv_canary_start(b.cs, shop, 100000, b.now_ns), VV_ENOENT);
    tick(&b, VV_SEC);
    VV_CHECK(!json_has(&b, "shop"));
    down(&b);
}

VV_TEST(orders_that_mean_nothing_are_refused)
{
    struct bench b;
    up(&b);
    VV_CHECK_INT(vv_canary_start(b.cs, VV_STR("other"), 1, b.now_ns), VV_ENOENT);
    VV_CHECK_INT(vv_canary_abort(b.cs, VV_STR("other"), b.now_ns), VV_ENOENT);
    VV_CHECK_INT(vv_canary_start(b.cs, shop, VV_PPM + 1, b.now_ns), VV_ERANGE);
    VV_CHECK_INT(vv_canary_promote(b.cs, shop, VV_PPM + 1, b.now_ns), VV_ERANGE);
    b.conf.canary.steps = NULL;
    struct vv_canary *former = b.route.canary;
    take(&b);
    vv_canary_unref(former);
    VV_CHECK_INT(vv_canary_start(b.cs, shop, 0, b.now_ns), VV_EINVAL); /* nor does the file say */
    VV_CHECK_INT(vv_canary_promote(b.cs, shop, 0, b.now_ns), VV_OK);
    check_share(&b, 1);
    down(&b);
}

VV_TEST(steps_must_rise_and_be_shares)
{
    struct bench b;
    char why[256];
    struct vv_canary *c = NULL;
    up(&b);
    b.steps[1] = "10%";
    VV_CHECK_INT(vv_canary_take(b.cs, &b.rt, &b.conf, &c, why), VV_EINVAL);
    VV_CHECK(strstr(why, "\"10%\"") != NULL);
    b.steps[1] = "120%";
    VV_CHECK_INT(vv_canary_take(b.cs, &b.rt, &b.conf, &c, why), VV_EINVAL);
    b.steps[1] = "50%";
    b.conf.canary.to = "none";
    VV_CHECK_INT(vv_canary_take(b.cs, &b.rt, &b.conf, &c, why), VV_ENOENT);
    VV_CHECK(c == NULL);
    down(&b);
}
