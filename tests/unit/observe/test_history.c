/* tests/unit/observe/test_history.c - seconds, windows, names and gaps; time is passed in. */
#include "observe/history.h"

#include "vv_test.h"
#include <stdio.h>
#include <stdlib.h>

#define T0 (UINT64_C(1795249020) * VV_SEC)

struct rig {
    struct vv_metrics *m;
    struct vv_shard *shard;
    struct vv_history *h;
    uint64_t wall_ns;
};

static struct rig rig(void)
{
    struct rig r = {.wall_ns = T0};
    VV_CHECK_INT(vv_metrics_new(&r.m), VV_OK);
    VV_CHECK_INT(vv_metrics_shard(r.m, &r.shard), VV_OK);
    VV_CHECK_INT(vv_history_new(r.m, &r.h), VV_OK);
    return r;
}

static void rig_end(struct rig *r)
{
    vv_history_free(r->h);
    vv_metrics_free(r->m);
}

static void answer(struct rig *r, const char *route, const char *status, uint64_t n)
{
    const struct vv_str v[] = {VV_STR("GET"), vv_str_from(route), VV_STR("shop"),
                               vv_str_from(status)};
    vv_metric_add(r->shard, vv_metrics_series(r->m, VV_METRIC_REQUESTS, v, 4), n);
}

static void took(struct rig *r, const char *route, uint64_t ns, int n)
{
    const struct vv_str v[] = {vv_str_from(route), VV_STR("shop")};
    struct vv_hist *h =
        vv_metric_hist(r->shard, vv_metrics_series(r->m, VV_METRIC_REQUEST_DURATION, v, 2));
    for (int i = 0; i < n; i++) {
        vv_hist_add(h, ns);
    }
}

static void tick(struct rig *r, int times)
{
    for (int i = 0; i < times; i++) {
        vv_history_tick(r->h, r->wall_ns);
        r->wall_ns += VV_SEC;
    }
}

static struct vv_history_sum sum(const struct rig *r, const char *route, const char *service,
                                 unsigned seconds)
{
    struct vv_history_sum s;
    vv_history_sum(r->h, route, service, seconds, &s);
    return s;
}

/* Within a sixteenth above: the width of the buckets that windows use. */
static bool about(uint64_t got_ns, uint64_t want_ns)
{
    return got_ns >= want_ns && got_ns <= want_ns + want_ns / 16 + 64;
}

static char *json(const struct rig *r, unsigned seconds)
{
    struct vv_sb out = VV_SB_INIT;
    struct vv_json j;
    vv_json_init(&j, &out);
    vv_history_json(r->h, seconds, &j);
    return vv_sb_take(&out);
}

VV_TEST(a_second_holds_what_was_counted_in_it)
{
    struct rig r = rig();
    answer(&r, "api", "200", 10);
    answer(&r, "api", "404", 2);
    answer(&r, "web", "503", 1);
    const struct vv_str aborted[] = {VV_STR("web"), VV_STR("client_closed")};
    vv_metric_add(r.shard, vv_metrics_series(r.m, VV_METRIC_ABORTED, aborted, 2), 3);
    const struct vv_str route[] = {VV_STR("api")};
    vv_metric_add(r.shard, vv_metrics_series(r.m, VV_METRIC_RESPONSE_BYTES, route, 1), 5000);
    tick(&r, 1);
    struct vv_history_sum s = sum(&r, NULL, NULL, 1);
    VV_CHECK_INT(s.seconds, 1);
    VV_CHECK_INT(s.requests, 13);
    VV_CHECK_INT(s.errors_4xx, 2);
    VV_CHECK_INT(s.errors_5xx, 1);
    VV_CHECK_INT(s.aborted, 3);
    VV_CHECK_INT(s.bytes_out, 5000);
    s = sum(&r, "api", NULL, 1);
    VV_CHECK_INT(s.requests, 12);
    VV_CHECK_INT(s.errors_5xx, 0);
    VV_CHECK_INT(s.bytes_out, 5000);
    s = sum(&r, "web", NULL, 1);
    VV_CHECK_INT(s.requests, 1);
    VV_CHECK_INT(s.aborted, 3);
    s = sum(&r, NULL, "shop", 1);
    VV_CHECK_INT(s.requests, 13);
    VV_CHECK_INT(sum(&r, "unknown", NULL, 1).requests, 0);
    tick(&r, 1); /* nothing moved since */
    VV_CHECK_INT(sum(&r, NULL, NULL, 1).requests, 0);
    VV_CHECK_INT(sum(&r, NULL, NULL, 2).requests, 13);
    rig_end(&r);
}

VV_TEST(what_was_counted_before_the_start_belongs_to_no_second)
{
    struct rig r = rig();
    answer(&r, "api", "200", 1000);
    took(&r, "api", VV_SEC, 1000);
    vv_history_free(r.h);
    VV_CHECK_INT(vv_history_new(r.m, &r.h), VV_OK);
    answer(&r, "api", "200", 1);
    took(&r, "api", VV_MS, 1);
    tick(&r, 2);
    VV_CHECK_INT(sum(&r, NULL, NULL, 900).requests, 1);
    VV_CHECK(about(sum(&r, NULL, NULL, 2).p99_ns, VV_MS));
    rig_end(&r);
}

VV_TEST(quantiles_of_a_second_are_of_that_second_alone)
{
    struct rig r = rig();
    took(&r, "api", 100 * VV_MS, 1000);
    tick(&r, 1);
    took(&r, "api", 2 * VV_MS, 90);
    took(&r, "api", 50 * VV_MS, 10);
    tick(&r, 1);
    const struct vv_history_sum s = sum(&r, "api", NULL, 1);
    VV_CHECK(about(s.p50_ns, 2 * VV_MS));
    VV_CHECK(about(s.p95_ns, 50 * VV_MS)); /* rank 95 of 100 is among the ten slow ones */
    VV_CHECK(about(s.p99_ns, 50 * VV_MS));
    VV_CHECK(about(sum(&r, NULL, "shop", 1).p50_ns, 2 * VV_MS));
    /* both seconds: 1000 of 1100 took 100 ms */
    VV_CHECK(about(sum(&r, "api", NULL, 2).p50_ns, 100 * VV_MS));
    rig_end(&r);
}

VV_TEST(a_window_forgets_what_is_older)
{
    struct rig r = rig();
    took(&r, "api", 10 * VV_SEC, 1000); /* slow at first */
    tick(&r, 1);
    for (int i = 0; i < 899; i++) {
        took(&r, "api", VV_MS, 10);
        tick(&r, 1);
    }
    /* 840 s may reach back up to 59 s too far: to second 1, not to the slow second 0 */
    static const unsigned windows[] = {2, 10, 15, 16, 30, 60, 61, 300, 840};
    for (size_t i = 0; i < VV_COUNT(windows); i++) {
        VV_CHECK(about(sum(&r, "api", NULL, windows[i]).p99_ns, VV_MS));
    }
    /* all 900 s: 1000 of 9990 were slow */
    VV_CHECK(about(sum(&r, "api", NULL, 900).p99_ns, 10 * VV_SEC));
    VV_CHECK(about(sum(&r, "api", NULL, 900).p50_ns, VV_MS));
    tick(&r, 400); /* the ring and the snapshots turn over */
    VV_CHECK(about(sum(&r, "api", NULL, 800).p99_ns, VV_MS));
    VV_CHECK_INT(sum(&r, "api", NULL, 300).p99_ns, 0);
    rig_end(&r);
}

VV_TEST(gauges_are_the_latest_level)
{
    struct rig r = rig();
    const struct vv_str a[] = {VV_STR("a")};
    const struct vv_str b[] = {VV_STR("b")};
    vv_metric_add(r.shard, vv_metrics_series(r.m, VV_METRIC_CONNECTIONS, a, 1), 5);
    vv_metric_add(r.shard, vv_metrics_series(r.m, VV_METRIC_CONNECTIONS, b, 1), 2);
    vv_metric_add(r.shard, vv_metrics_series(r.m, VV_METRIC_IN_FLIGHT, NULL, 0), 3);
    tick(&r, 1);
    VV_CHECK_INT(sum(&r, NULL, NULL, 10).connections, 7);
    VV_CHECK_INT(sum(&r, NULL, NULL, 10).in_flight, 3);
    vv_metric_sub(r.shard, vv_metrics_series(r.m, VV_METRIC_IN_FLIGHT, NULL, 0), 4);
    tick(&r, 1);
    VV_CHECK_INT(sum(&r, NULL, NULL, 10).in_flight, 0); /* never a huge number below zero */
    rig_end(&r);
}

VV_TEST(seconds_without_a_tick_are_zero_and_keep_their_place)
{
    struct rig r = rig();
    answer(&r, "api", "200", 1);
    tick(&r, 1);
    r.wall_ns += 3 * VV_SEC; /* the next three ticks do not come */
    answer(&r, "api", "200", 2);
    tick(&r, 1);
    VV_CHECK_INT(sum(&r, NULL, NULL, 900).seconds, 5);
    VV_CHECK_INT(sum(&r, NULL, NULL, 4).requests, 2);
    VV_CHECK_INT(sum(&r, NULL, NULL, 5).requests, 3);
    char *text = json(&r, 900);
    VV_CHECK(strstr(text, "\"from\":1795249020,") != NULL);
    VV_CHECK(strstr(text, "\"requests\":[1,0,0,0,2]") != NULL);
    free(text);
    r.wall_ns += 100000 * VV_SEC; /* the machine slept: all of it is forgotten */
    tick(&r, 1);
    VV_CHECK_INT(sum(&r, NULL, NULL, 900).requests, 0);
    rig_end(&r);
}

VV_TEST(jitter_of_the_tick_makes_no_gap_and_time_going_back_neither)
{
    struct rig r = rig();
    for (unsigned i = 0; i < 10; i++) {
        vv_history_tick(r.h, T0 + i * VV_SEC + (i % 2) * 300 * VV_MS);
    }
    VV_CHECK_INT(sum(&r, NULL, NULL, 900).seconds, 10);
    vv_history_tick(r.h, T0);
    VV_CHECK_INT(sum(&r, NULL, NULL, 900).seconds, 11);
    rig_end(&r);
}

VV_TEST(json_has_gateway_routes_and_services)
{
    struct rig r = rig();
    answer(&r, "a\"pi", "200", 4);
    took(&r, "a\"pi", 1500 * VV_US, 4);
    tick(&r, 1);
    char *text = json(&r, 60);
    VV_CHECK(strstr(text, "{\"every\":1,\"from\":1795249020,\"seconds\":1,"
                          "\"gateway\":{\"requests\":[4],\"errors_4xx\":[0]") == text);
    VV_CHECK(strstr(text, "\"routes\":{\"a\\\"pi\":{\"requests\":[4]") != NULL);
    VV_CHECK(strstr(text, "\"services\":{\"shop\":{\"requests\":[4]") != NULL);
    VV_CHECK(strstr(text, "\"p50_ms\":[1.5") != NULL); /* at most 1/32 above 1.5 */
    VV_CHECK(strstr(text, "\"in_flight\":[0],\"connections\":[0]") != NULL);
    free(text);
    text = json(&r, 0);
    VV_CHECK(strstr(text, "\"requests\":[]") != NULL);
    free(text);
    rig_end(&r);
}

VV_TEST(the_busiest_256_routes_stay)
{
    struct rig r = rig();
    char name[32];
    for (int i = 0; i < 256; i++) {
        snprintf(name, sizeof(name), "route%d", i);
        answer(&r, name, "200", i == 7 ? 2 : 50); /* number 7 is the quiet one */
    }
    tick(&r, 1);
    answer(&r, "rare", "200", 1); /* not busier than any of them */
    tick(&r, 1);
    VV_CHECK_INT(sum(&r, "rare", NULL, 900).requests, 0);
    answer(&r, "busy", "200", 9);
    tick(&r, 1);
    VV_CHECK_INT(sum(&r, "busy", NULL, 900).requests, 9);
    VV_CHECK_INT(sum(&r, "route7", NULL, 900).requests, 0);
    VV_CHECK_INT(sum(&r, "route8", NULL, 900).requests, 50);
    answer(&r, "route8", "200", 1); /* found again after another route left */
    tick(&r, 1);
    VV_CHECK_INT(sum(&r, "route8", NULL, 900).requests, 51);
    VV_CHECK_INT(sum(&r, NULL, NULL, 900).requests, 255 * 50 + 2 + 1 + 9 + 1);
    rig_end(&r);
}
