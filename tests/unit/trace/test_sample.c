/* tests/unit/trace/test_sample.c - which traces stay, and why. */
#include "trace/sample.h"
#include "vv_test.h"

#include "trace_maker.h"

#include <stdio.h>

static struct vv_sample_conf conf;

static struct vv_sampler *begin(void)
{
    struct vv_sampler *s;
    vv_sample_conf_default(&conf);
    conf.share_ppm = 0;
    conf.rare_count = 0;
    conf.route_per_second = 0;
    VV_CHECK_INT(vv_sampler_new(&conf, &s), VV_OK);
    return s;
}

static enum vv_sample_why judge_one(struct vv_sampler *s, const char *route, uint64_t ns,
                                    bool error, uint64_t now_ns)
{
    struct maker m = {0};
    maker_add(&m, 1, 1, 0, 1000, 1000 + ns, "svc", "name")->route = vv_str_from(route);
    m.trace.error = error;
    return vv_sampler_judge(s, &m.trace, false, now_ns);
}

VV_TEST(slow_is_above_the_running_quantile_of_its_route)
{
    struct vv_sampler *s = begin();
    /* 10 ms and a route of its own at 1 s: 1 s is not slow there. */
    for (int i = 0; i < 1000; i++) {
        (void)judge_one(s, "/fast", 10 * VV_MS, false, VV_SEC);
        (void)judge_one(s, "/slow", 1000 * VV_MS, false, VV_SEC);
    }
    const uint64_t fast = vv_sampler_slow_ns(s, VV_STR("/fast"));
    VV_CHECK(fast >= 10 * VV_MS && fast < 11500 * VV_US); /* buckets are at most 12.5 % wide */
    VV_CHECK_INT(judge_one(s, "/fast", 9 * VV_MS, false, VV_SEC), VV_SAMPLE_DROP);
    VV_CHECK_INT(judge_one(s, "/fast", 12 * VV_MS, false, VV_SEC), VV_SAMPLE_SLOW);
    VV_CHECK_INT(judge_one(s, "/slow", 1000 * VV_MS, false, VV_SEC), VV_SAMPLE_DROP);
    VV_CHECK_INT(judge_one(s, "/new", 9000 * VV_MS, false, VV_SEC), VV_SAMPLE_DROP); /* unknown */
    /* The route becomes slower: after enough traces that is the new normal. */
    for (int i = 0; i < 60000; i++) {
        (void)judge_one(s, "/fast", 50 * VV_MS, false, VV_SEC);
    }
    VV_CHECK_INT(judge_one(s, "/fast", 50 * VV_MS, false, VV_SEC), VV_SAMPLE_DROP);
    vv_sampler_free(s);
}

VV_TEST(about_one_in_a_hundred_is_slow_whatever_the_times_are)
{
    struct vv_sampler *s = begin();
    struct vv_rng rng;
    size_t slow = 0;
    vv_rng_init(&rng, 5);
    for (int i = 0; i < 20000; i++) {
        const uint64_t ns = 2 * VV_MS + vv_rng_below(&rng, 100 * VV_MS);
        slow += judge_one(s, "/r", ns, false, VV_SEC) == VV_SAMPLE_SLOW ? 1 : 0;
    }
    /* 1 % of 20,000 is 200; the bucket that holds p99 ends up to 12.5 % above it, beyond all: 0 to 1.5 % */
    VV_CHECK(slow <= 300);
    vv_sampler_free(s);
}

VV_TEST(errors_stay_and_an_outage_is_bounded)
{
    struct vv_sampler *s = begin();
    struct vv_sampler_stats st;
    struct maker m = {0};
    VV_CHECK_INT(judge_one(s, "/r", VV_MS, true, VV_SEC), VV_SAMPLE_ERROR);
    maker_add(&m, 1, 1, 0, 1, 2, "svc", "name")->http_status = 503;
    VV_CHECK_INT(vv_sampler_judge(s, &m.trace, false, VV_SEC), VV_SAMPLE_ERROR);
    vv_sampler_free(s);
    conf.route_per_second = 5;
    VV_CHECK_INT(vv_sampler_new(&conf, &s), VV_OK);
    for (int i = 0; i < 100; i++) {
        (void)judge_one(s, "/r", VV_MS, true, 3 * VV_SEC + (uint64_t)i);
    }
    (void)judge_one(s, "/other", VV_MS, true, 3 * VV_SEC);
    (void)judge_one(s, "/r", VV_MS, true, 4 * VV_SEC);
    vv_sampler_stats(s, &st);
    VV_CHECK(st.why[VV_SAMPLE_ERROR] == 5 + 1 + 1 && st.bounded == 95 && st.routes == 2);
    vv_sampler_free(s);
}

VV_TEST(rare_routes_are_seen_in_every_window)
{
    struct vv_sampler *s = begin();
    vv_sampler_free(s);
    conf.rare_count = 2;
    conf.rare_window_ns = VV_MINUTE;
    VV_CHECK_INT(vv_sampler_new(&conf, &s), VV_OK);
    for (int window = 0; window < 3; window++) {
        const uint64_t at = 1 + (uint64_t)window * VV_MINUTE;
        VV_CHECK_INT(judge_one(s, "/r", VV_MS, false, at), VV_SAMPLE_RARE);
        VV_CHECK_INT(judge_one(s, "/r", VV_MS, false, at + 1), VV_SAMPLE_RARE);
        VV_CHECK_INT(judge_one(s, "/r", VV_MS, false, at + 2), VV_SAMPLE_DROP);
    }
    vv_sampler_free(s);
}

VV_TEST(the_share_depends_on_the_trace_id_alone)
{
    struct vv_rng rng;
    size_t in = 0;
    vv_rng_init(&rng, 9);
    for (int i = 0; i < 100000; i++) {
        uint8_t id[VV_TRACE_ID_BYTES];
        vv_span_id_new(id, &rng);
        vv_span_id_new(id + 8, &rng);
        in += vv_sample_share(id, 100000) ? 1 : 0; /* 10 % */
        VV_CHECK(vv_sample_share(id, VV_PPM) && !vv_sample_share(id, 0));
        VV_CHECK(!vv_sample_share(id, 100000) || vv_sample_share(id, 200000)); /* nested */
    }
    VV_CHECK(in > 9500 && in < 10500); /* 10,000 with a deviation of 95: five of them */
}

VV_TEST(forced_traces_stay_and_routes_are_bounded)
{
    struct vv_sampler *s = begin();
    struct vv_sampler_stats st;
    struct maker m = {0};
    char name[16];
    maker_add(&m, 1, 1, 0, 1, 2, "svc", "name");
    VV_CHECK_INT(vv_sampler_judge(s, &m.trace, true, 1), VV_SAMPLE_FORCED);
    char buf[64];
    VV_CHECK_SLICE(vv_sample_route(&m.trace, buf, sizeof buf), "svc name");
    VV_CHECK_STR(vv_sample_why_text(VV_SAMPLE_FORCED), "forced");
    vv_sampler_free(s);
    conf.routes_max = 10;
    VV_CHECK_INT(vv_sampler_new(&conf, &s), VV_OK);
    for (int i = 0; i < 30; i++) {
        snprintf(name, sizeof name, "/r%d", i);
        (void)judge_one(s, name, VV_MS, false, 1);
    }
    vv_sampler_stats(s, &st);
    VV_CHECK(st.routes == 10 && st.crowded == 20);
    vv_sampler_free(s);
}
