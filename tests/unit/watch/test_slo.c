/* tests/unit/watch/test_slo.c - boundaries of states, burn rates, budgets and trends. */
#include "vv_test.h"
#include "watch/rules.h"
#include "watch/slo.h"

#include <math.h>
#include <stdlib.h>

static struct vv_slo slo;

static void count(int64_t t_ms, uint64_t total, uint64_t bad)
{
    vv_slo_count(&slo, t_ms, (struct vv_slo_counts){total, bad, 0});
}

VV_TEST(states_change_exactly_at_their_bounds)
{
    static const struct {
        enum vv_slo_kind kind;
        double target, value;
        enum vv_slo_state want;
    } rows[] = {
        {VV_SLO_AVAILABILITY, 99.9, 100, VV_SLO_MEETING},
        {VV_SLO_AVAILABILITY, 99.9, 99.90, VV_SLO_MEETING},
        {VV_SLO_AVAILABILITY, 99.9, 99.89, VV_SLO_AT_RISK},
        {VV_SLO_AVAILABILITY, 99.9, 99.50, VV_SLO_AT_RISK},
        {VV_SLO_AVAILABILITY, 99.9, 99.49, VV_SLO_BREACHING},
        {VV_SLO_AVAILABILITY, 99.9, 0, VV_SLO_BREACHING},
        {VV_SLO_AVAILABILITY, 99.9, (double)9990 / 10000 * 100, VV_SLO_MEETING},
        {VV_SLO_LATENCY, 500, 499.9, VV_SLO_MEETING},
        {VV_SLO_LATENCY, 500, 500, VV_SLO_MEETING},
        {VV_SLO_LATENCY, 500, 500.1, VV_SLO_AT_RISK},
        {VV_SLO_LATENCY, 500, 750, VV_SLO_AT_RISK},
        {VV_SLO_LATENCY, 500, 750.1, VV_SLO_BREACHING},
        {VV_SLO_ERRORS, 0.1, 0.1, VV_SLO_MEETING},
        {VV_SLO_ERRORS, 0.1, 0.101, VV_SLO_AT_RISK},
        {VV_SLO_ERRORS, 0.1, 1, VV_SLO_AT_RISK},
        {VV_SLO_ERRORS, 0.1, 1.01, VV_SLO_BREACHING},
        {VV_SLO_ERRORS, 0.1, NAN, VV_SLO_NO_DATA},
    };
    for (size_t i = 0; i < VV_COUNT(rows); i++) {
        const struct vv_slo_bounds b = vv_slo_bounds_for(rows[i].kind, rows[i].target);
        VV_CHECK_STR(vv_slo_state_name(vv_slo_judge(rows[i].kind, &b, rows[i].value)),
                     vv_slo_state_name(rows[i].want));
    }
}

VV_TEST(presets_are_found_by_name)
{
    VV_CHECK_INT(vv_slo_preset("e-commerce")->p95_ms, 1000);
    VV_CHECK(fabs(vv_slo_preset("saas")->availability - 99.95) < 1e-12);
    VV_CHECK(fabs(vv_slo_preset("api")->availability - 99.99) < 1e-12);
    VV_CHECK_INT(vv_slo_preset("api")->p95_ms, 200);
    VV_CHECK(vv_slo_preset("bank") == NULL);
    VV_CHECK(vv_slo_preset_at(4) == NULL);
}

VV_TEST(a_pair_is_hot_only_above_its_factor_in_both_windows)
{
    /* 99.9 %: 14.4 times is 1.44 % bad. 10,000 answers a minute for an hour, b of them bad. */
    static const struct {
        uint64_t bad;
        bool hot;
    } rows[] = {{143, false}, {144, false}, {145, true}};
    for (size_t i = 0; i < VV_COUNT(rows); i++) {
        vv_slo_init(&slo, 0.999, 100);
        for (int m = 0; m < 60; m++) {
            count(m * 60000, 10000, rows[i].bad);
        }
        VV_CHECK_INT(vv_slo_hot(&slo, 0), rows[i].hot);
        VV_CHECK_INT(vv_slo_sum(&slo, VV_SLO_1H).total, 600000);
        VV_CHECK_INT(vv_slo_sum(&slo, VV_SLO_5M).total, 50000);
    }
    /* Ten good minutes: the hour still burns, its last five minutes do not. */
    for (int m = 60; m < 70; m++) {
        count(m * 60000, 100, 0);
    }
    VV_CHECK(vv_slo_burn(&slo, VV_SLO_1H) > 14.4);
    VV_CHECK(!vv_slo_hot(&slo, 0));
}

VV_TEST(the_four_pairs_are_googles)
{
    /* Budget spent when hot, in 30 days: factor * long / 720 h = 2, 5, 10, 10 %. */
    static const double spent[] = {0.02, 0.05, 0.1, 0.1};
    static const int shorter_min[] = {5, 30, 120, 360};
    for (size_t i = 0; i < VV_SLO_PAIRS; i++) {
        const struct vv_slo_pair *p = &vv_slo_pairs[i];
        const double share =
            p->factor * (double)vv_slo_window_ms(p->longer) / (double)VV_SLO_PERIOD_MS;
        VV_CHECK(fabs(share - spent[i]) < 1e-12);
        VV_CHECK_INT(vv_slo_window_ms(p->shorter), shorter_min[i] * 60000LL);
        VV_CHECK_INT(p->page, i < 2);
    }
}

VV_TEST(few_answers_wake_nobody)
{
    vv_slo_init(&slo, 0.999, 100);
    count(0, 99, 99);
    VV_CHECK(!vv_slo_hot(&slo, 0));
    count(1000, 1, 1);
    VV_CHECK(vv_slo_hot(&slo, 0));
}

VV_TEST(a_total_outage_is_found_within_a_minute)
{
    /* 14.4 * 0.001 / 1 * 3600 s = 51.84 s after an hour of traffic: the sixth slot of 10 s. */
    vv_slo_init(&slo, 0.999, 100);
    int64_t t = 0;
    for (; t < 3600000; t += 10000) {
        count(t, 100, 0);
    }
    int slots = 0;
    for (; !vv_slo_hot(&slo, 0); t += 10000) {
        count(t, 100, 100);
        slots++;
    }
    VV_CHECK_INT(slots, 6);
}

VV_TEST(windows_forget_and_a_gap_is_no_data)
{
    vv_slo_init(&slo, 0.99, 1);
    count(0, 10, 10);
    vv_slo_advance(&slo, 299999);
    VV_CHECK_INT(vv_slo_sum(&slo, VV_SLO_5M).total, 10);
    vv_slo_advance(&slo, 300000);
    VV_CHECK_INT(vv_slo_sum(&slo, VV_SLO_5M).total, 0);
    VV_CHECK(isnan(vv_slo_bad_share(&slo, VV_SLO_5M)));
    VV_CHECK_INT(vv_slo_sum(&slo, VV_SLO_30M).total, 10);
    vv_slo_advance(&slo, INT64_C(86400000) - 1);
    VV_CHECK_INT(vv_slo_sum(&slo, VV_SLO_1D).bad, 10);
    VV_CHECK_INT(vv_slo_sum(&slo, VV_SLO_6H).bad, 0);
    vv_slo_advance(&slo, INT64_C(86400000));
    VV_CHECK_INT(vv_slo_sum(&slo, VV_SLO_1D).bad, 0);
    VV_CHECK_INT(vv_slo_sum(&slo, VV_SLO_30D).bad, 10);
    vv_slo_advance(&slo, INT64_C(100) * 86400000); /* a jump over the whole ring */
    VV_CHECK_INT(vv_slo_sum(&slo, VV_SLO_30D).total, 0);
    count(0, 3, 1); /* the clock was set back */
    VV_CHECK_INT(vv_slo_sum(&slo, VV_SLO_5M).total, 3);
}

VV_TEST(degraded_answers_are_told_apart)
{
    vv_slo_init(&slo, 0.999, 1);
    vv_slo_count(&slo, 0, (struct vv_slo_counts){1000, 1, 50});
    VV_CHECK_INT(vv_slo_sum(&slo, VV_SLO_5M).degraded, 50);
    VV_CHECK(fabs(vv_slo_burn(&slo, VV_SLO_5M) - 1) < 1e-9);
}

VV_TEST(a_budget_is_time_and_answers)
{
    vv_slo_init(&slo, 0.999, 1);
    struct vv_slo_budget b = vv_slo_budget(&slo);
    VV_CHECK(fabs(b.time_allowed_s - 43.2 * 60) < 1e-6); /* 0.1 % of 30 days */
    VV_CHECK(fabs(b.left_share - 1) < 1e-12 && isinf(b.exhausted_s));
    count(0, 1000000, 250);
    b = vv_slo_budget(&slo);
    VV_CHECK(fabs(b.allowed - 1000) < 1e-6 && fabs(b.left_share - 0.75) < 1e-9);
    VV_CHECK(fabs(b.exhausted_s - 0.75 * 30 * 86400 / 0.25) < 1); /* burn 0.25 */
    count(1000, 0, 1000);
    b = vv_slo_budget(&slo);
    VV_CHECK(fabs(b.left_share + 0.25) < 1e-9);
    VV_CHECK(fabs(b.exhausted_s) < 1e-12);
}

static enum vv_slo_trend feed(struct vv_slo_trender *t, int from, int to, double start, double step)
{
    const struct vv_slo_bounds b = vv_slo_bounds_for(VV_SLO_LATENCY, 500);
    enum vv_slo_trend trend = VV_SLO_STABLE;
    for (int i = from; i < to; i++) {
        trend = vv_slo_trend_add(t, VV_SLO_LATENCY, &b, i * 60000LL, start + step * (i - from));
    }
    return trend;
}

VV_TEST(trends_need_a_slope_and_time)
{
    /* Target to breach is 250 ms: a quarter of it is 62.5 ms an hour. */
    struct vv_slo_trender t = {.n = 0};
    VV_CHECK_STR(vv_slo_trend_name(feed(&t, 0, 60, 300, 0)), "stable");
    t = (struct vv_slo_trender){.n = 0};
    VV_CHECK_STR(vv_slo_trend_name(feed(&t, 0, 60, 300, 1)), "stable"); /* 60 ms an hour */
    t = (struct vv_slo_trender){.n = 0};
    VV_CHECK_STR(vv_slo_trend_name(feed(&t, 0, 60, 300, 1.1)), "degrading"); /* 66 */
    t = (struct vv_slo_trender){.n = 0};
    VV_CHECK_STR(vv_slo_trend_name(feed(&t, 0, 60, 300, -1.1)), "improving");
    t = (struct vv_slo_trender){
        .n = 0}; /* judged from the fifth value, three in a row: the seventh */
    VV_CHECK_STR(vv_slo_trend_name(feed(&t, 0, 6, 300, 10)), "stable");
    VV_CHECK_STR(vv_slo_trend_name(feed(&t, 6, 7, 360, 10)), "degrading");
}

VV_TEST(a_trend_ends_later_than_it_begins)
{
    struct vv_slo_trender t = {.n = 0};
    (void)feed(&t, 0, 60, 300, 1.1);
    /* 0.8 ms a minute is 48 an hour: under the bound to begin (62.5), over that to end (31). */
    VV_CHECK_STR(vv_slo_trend_name(feed(&t, 60, 160, 370, 0.8)), "degrading");
    VV_CHECK_STR(vv_slo_trend_name(feed(&t, 160, 260, 450, 0.3)), "stable"); /* 18 */
}

VV_TEST(higher_availability_is_better)
{
    const struct vv_slo_bounds b = vv_slo_bounds_for(VV_SLO_AVAILABILITY, 99.9);
    struct vv_slo_trender t = {.n = 0};
    enum vv_slo_trend trend = VV_SLO_STABLE;
    for (int i = 0; i < 60; i++) {
        trend = vv_slo_trend_add(&t, VV_SLO_AVAILABILITY, &b, i * 60000LL, 99.5 + i * 0.005);
    }
    VV_CHECK_STR(vv_slo_trend_name(trend), "improving");
    VV_CHECK_INT(vv_slo_trend_add(&t, VV_SLO_AVAILABILITY, &b, 3600000, NAN), trend);
}

VV_TEST(prometheus_gets_the_same_conditions)
{
    struct vv_sb out = VV_SB_INIT;
    vv_slo_rules("shop", 0.999, "sum(rate(bad_total[$window]))", "sum(rate(all_total[$window]))",
                 &out);
    VV_CHECK(strstr(out.p, "(sum(rate(bad_total[5m]))) / (sum(rate(all_total[5m])))\n") != NULL);
    VV_CHECK(strstr(out.p, "slo:error_ratio:1h{slo=\"shop\"} > 14.4 * 0.001\n") != NULL);
    /* And our own engine takes the file: eight recorded ratios and two alerts. */
    struct vv_conf_problems *problems = vv_conf_problems_new();
    struct vv_rules *rules = vv_rules_new();
    VV_CHECK_INT(vv_rules_add(rules, "slo.yml", out.p, 60000, problems), VV_OK);
    VV_CHECK_INT(vv_rules_count(rules), 10);
    vv_rules_free(rules);
    vv_conf_problems_free(problems);
    vv_sb_fini(&out);
}
