/* tests/unit/watch/test_rules.c - rule files, and alerts as they come and go. The long comparison
 * with Prometheus is tests/integration/test_rules.py. */
#include "promql/memory.h"
#include "vv_test.h"
#include "watch/rules.h"

#include <stdio.h>
#include <stdlib.h>

static struct vv_arena arena;
static struct vv_promql_memory memory;
static struct vv_rules *rules;
static char said[4000];  /* problems of the last read */
static char moves[2000]; /* "Name:inactive>pending " */
static long stale, written;

static enum vv_err append(void *ctx, struct vv_promql_labels labels, int64_t t_ms, double v)
{
    size_t i = 0;
    (void)ctx;
    written += !vv_promql_is_stale(v);
    stale += vv_promql_is_stale(v);
    VV_CHECK_INT(vv_promql_memory_series(&memory, labels, &i), VV_OK);
    return vv_promql_memory_add(&memory, i, t_ms, v);
}

static void moved(void *ctx, const struct vv_rule *rule, const struct vv_alert *alert,
                  enum vv_alert_state from, enum vv_alert_state to)
{
    (void)ctx;
    VV_CHECK_INT(alert->state, to);
    const size_t n = strlen(moves);
    snprintf(moves + n, sizeof moves - n, VV_STR_FMT ":%s>%s ", VV_STR_ARG(vv_rule_name(rule)),
             vv_alert_state_name(from), vv_alert_state_name(to));
}

static void begin(void)
{
    vv_arena_fini(&arena);
    vv_arena_init(&arena, NULL, 0, 65536, 0);
    vv_promql_memory_init(&memory, &arena);
    vv_rules_free(rules);
    rules = vv_rules_new();
    VV_CHECK(rules != NULL);
    written = stale = 0;
    moves[0] = '\0';
}

static enum vv_err read_into(struct vv_rules *to, const char *text)
{
    struct vv_conf_problems *problems = vv_conf_problems_new();
    const enum vv_err err = vv_rules_add(to, "r.yml", text, 60000, problems);
    said[0] = '\0';
    for (size_t i = 0; vv_conf_problems_at(problems, i) != NULL; i++) {
        const struct vv_conf_problem *p = vv_conf_problems_at(problems, i);
        const size_t n = strlen(said);
        snprintf(said + n, sizeof said - n, "%u:%u: %s\n", p->line, p->column, p->message);
    }
    vv_conf_problems_free(problems);
    return err;
}

static void sample(const char *name, const char *job, int64_t t_ms, double v)
{
    const struct vv_promql_label labels[] = {{VV_STR("__name__"), vv_str_from(name)},
                                             {VV_STR("job"), vv_str_from(job)}};
    size_t i = 0;
    VV_CHECK_INT(vv_promql_memory_series(&memory, (struct vv_promql_labels){labels, 2}, &i), VV_OK);
    VV_CHECK_INT(vv_promql_memory_add(&memory, i, t_ms, v), VV_OK);
}

static void eval_with(struct vv_rules *r, int64_t t_ms)
{
    const struct vv_promql_source source = vv_promql_memory_source(&memory);
    const struct vv_rules_io io = {.source = &source, .append = append, .moved = moved};
    moves[0] = '\0';
    for (size_t g = 0; g < vv_rules_groups(r); g++) {
        vv_rules_eval_group(r, g, t_ms, &io);
    }
}

static void eval(int64_t t_ms)
{
    eval_with(rules, t_ms);
}

static const char down[] = "groups:\n"
                           "- name: g\n"
                           "  rules:\n"
                           "  - alert: Down\n"
                           "    expr: up == 0\n"
                           "    for: 1m\n"
                           "    labels: {severity: critical, who: '{{ $labels.job }}'}\n"
                           "    annotations: {summary: 'is {{ $value }}'}\n";

VV_TEST(an_alert_waits_fires_and_resolves)
{
    begin();
    VV_CHECK_INT(read_into(rules, down), VV_OK);
    sample("up", "api", 0, 1);
    eval(0);
    VV_CHECK_STR(moves, "");
    sample("up", "api", 30000, 0);
    eval(30000);
    VV_CHECK_STR(moves, "Down:inactive>pending ");
    eval(60000);
    VV_CHECK_STR(moves, "");
    eval(90000); /* a minute after 30 s: exactly `for` is enough */
    VV_CHECK_STR(moves, "Down:pending>firing ");
    const struct vv_alert *a = vv_rules_alert(vv_rules_at(rules, 0), 0);
    VV_CHECK_INT(a->active_ms, 30000);
    VV_CHECK_INT(a->fired_ms, 90000);
    VV_CHECK_SLICE(vv_labels_get(a->labels, VV_STR("who")), "api");
    VV_CHECK_SLICE(vv_labels_get(a->labels, VV_STR("alertname")), "Down");
    VV_CHECK_SLICE(vv_labels_get(a->annotations, VV_STR("summary")), "is 0");
    sample("up", "api", 100000, 1);
    eval(120000);
    VV_CHECK_STR(moves, "Down:firing>inactive ");
    VV_CHECK_INT(vv_rules_alert(vv_rules_at(rules, 0), 0)->resolved_ms, 120000);
    eval(120000 + VV_ALERT_RESOLVED_KEPT_MS);
    VV_CHECK_INT(vv_rules_alerts(vv_rules_at(rules, 0)), 1);
    eval(120001 + VV_ALERT_RESOLVED_KEPT_MS);
    VV_CHECK_INT(vv_rules_alerts(vv_rules_at(rules, 0)), 0);
    /* ALERTS and ALERTS_FOR_STATE at 30, 60 and 90 s; markers: pending at 90 s, both at 120 s. */
    VV_CHECK_INT(written, 6);
    VV_CHECK_INT(stale, 3);
}

VV_TEST(a_series_that_vanishes_resolves)
{
    begin();
    VV_CHECK_INT(read_into(rules, down), VV_OK);
    sample("up", "api", 0, 0);
    eval(0);
    eval(60000);
    VV_CHECK_STR(moves, "Down:pending>firing ");
    eval(299000);
    VV_CHECK_STR(moves, "");
    eval(301000); /* older than the look-back of five minutes */
    VV_CHECK_STR(moves, "Down:firing>inactive ");
}

VV_TEST(a_pending_alert_that_ends_is_forgotten_and_begins_anew)
{
    begin();
    VV_CHECK_INT(read_into(rules, down), VV_OK);
    sample("up", "api", 0, 0);
    eval(0);
    sample("up", "api", 10000, 1);
    eval(30000);
    VV_CHECK_STR(moves, "Down:pending>inactive ");
    VV_CHECK_INT(vv_rules_alerts(vv_rules_at(rules, 0)), 0);
    sample("up", "api", 40000, 0);
    eval(60000);
    eval(90000);
    VV_CHECK_STR(moves, ""); /* 30 s since it began again, though 90 s since the first time */
}

VV_TEST(keep_firing_for_bridges_a_short_recovery)
{
    begin();
    VV_CHECK_INT(read_into(rules, "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: up == 0\n"
                                  "    keep_firing_for: 1m\n"),
                 VV_OK);
    sample("up", "api", 0, 0);
    eval(0);
    VV_CHECK_STR(moves, "A:inactive>pending A:pending>firing "); /* no `for`: at once */
    sample("up", "api", 10000, 1);
    eval(15000);
    eval(60000);
    VV_CHECK_STR(moves, "");
    sample("up", "api", 61000, 0);
    eval(65000); /* back: the minute starts again when it next goes */
    sample("up", "api", 70000, 1);
    eval(75000);
    eval(134000);
    VV_CHECK_STR(moves, "");
    eval(135000); /* a minute since 75 s */
    VV_CHECK_STR(moves, "A:firing>inactive ");
}

VV_TEST(later_rules_see_what_earlier_ones_wrote)
{
    begin();
    VV_CHECK_INT(read_into(rules, "groups:\n- name: g\n  rules:\n"
                                  "  - record: job:up:sum\n    expr: sum by (job) (up)\n"
                                  "    labels: {team: x}\n"
                                  "  - alert: Low\n    expr: job:up:sum{team=\"x\"} < 1\n"
                                  "  - alert: Chained\n    expr: ALERTS{alertname=\"Low\"}\n"
                                  "  - alert: Scalar\n    expr: '3'\n"),
                 VV_OK);
    sample("up", "api", 0, 0);
    eval(0);
    VV_CHECK_STR(moves, "Low:inactive>pending Low:pending>firing Chained:inactive>pending "
                        "Chained:pending>firing Scalar:inactive>pending Scalar:pending>firing ");
    VV_CHECK_INT(vv_rules_alert(vv_rules_at(rules, 3), 0)->value, 3);
}

VV_TEST(a_rule_that_cannot_be_evaluated_keeps_its_alerts)
{
    begin();
    VV_CHECK_INT(read_into(rules, "groups:\n- name: g\n  rules:\n  - alert: A\n"
                                  "    expr: up == on (job) group_left other\n"),
                 VV_OK);
    sample("up", "api", 0, 0);
    sample("other", "api", 0, 0);
    eval(0);
    VV_CHECK_INT(vv_rules_alerts(vv_rules_at(rules, 0)), 1);
    const struct vv_promql_label two[] = {{VV_STR("__name__"), VV_STR("other")},
                                          {VV_STR("job"), VV_STR("api")},
                                          {VV_STR("x"), VV_STR("y")}};
    size_t i = 0;
    VV_CHECK_INT(vv_promql_memory_series(&memory, (struct vv_promql_labels){two, 3}, &i), VV_OK);
    VV_CHECK_INT(vv_promql_memory_add(&memory, i, 1000, 0), VV_OK);
    eval(2000); /* many to many now */
    VV_CHECK(vv_rule_health(vv_rules_at(rules, 0)) != NULL);
    VV_CHECK_INT(vv_rules_alert(vv_rules_at(rules, 0), 0)->state, VV_ALERT_FIRING);
    VV_CHECK_STR(moves, "");
}

VV_TEST(the_same_labels_twice_are_an_error)
{
    begin();
    VV_CHECK_INT(read_into(rules, "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: up\n"
                                  "    labels: {job: one}\n"),
                 VV_OK);
    sample("up", "a", 0, 1);
    sample("up", "b", 0, 1);
    eval(0);
    VV_CHECK(strstr(vv_rule_health(vv_rules_at(rules, 0)), "same labels") != NULL);
    VV_CHECK_INT(written, 0);
}

VV_TEST(over_the_limit_all_alerts_are_dropped)
{
    begin();
    VV_CHECK_INT(read_into(rules, "groups:\n- name: g\n  limit: 1\n  rules:\n  - alert: A\n"
                                  "    expr: up == 0\n"),
                 VV_OK);
    sample("up", "a", 0, 0);
    eval(0);
    sample("up", "b", 1000, 0);
    eval(2000);
    VV_CHECK_STR(moves, "A:firing>inactive ");
    VV_CHECK_STR(vv_rule_health(vv_rules_at(rules, 0)), "exceeded limit of 1 with 2 alerts");
    VV_CHECK_INT(vv_rules_alerts(vv_rules_at(rules, 0)), 0);
}

VV_TEST(a_reload_keeps_the_alerts_of_unchanged_rules)
{
    begin();
    VV_CHECK_INT(read_into(rules, down), VV_OK);
    sample("up", "api", 0, 0);
    eval(0);
    struct vv_rules *next = vv_rules_new();
    VV_CHECK_INT(read_into(next, down), VV_OK);
    vv_rules_adopt(next, rules);
    VV_CHECK_INT(vv_rules_alerts(vv_rules_at(rules, 0)), 0);
    eval_with(next, 60000);
    VV_CHECK_STR(moves, "Down:pending>firing ");
    vv_rules_free(next);
}

VV_TEST(groups_run_at_multiples_of_their_interval)
{
    begin();
    VV_CHECK_INT(read_into(rules, "groups:\n- name: g\n  interval: 15s\n  rules:\n"
                                  "  - {record: a, expr: time()}\n- name: h\n  rules: []\n"),
                 VV_OK);
    const struct vv_promql_source source = vv_promql_memory_source(&memory);
    const struct vv_rules_io io = {.source = &source, .append = append};
    VV_CHECK_INT(vv_rules_tick(rules, 100000, &io), 105000); /* as of 90 s */
    VV_CHECK_INT(written, 1);
    VV_CHECK_INT(vv_rules_tick(rules, 104999, &io), 105000);
    VV_CHECK_INT(written, 1);
    VV_CHECK_INT(vv_rules_tick(rules, 200000, &io), 210000); /* what was missed stays missed */
    VV_CHECK_INT(written, 2);
    VV_CHECK_INT(vv_rules_group_interval_ms(rules, 1), 60000);
}

VV_TEST(mistakes_have_line_and_column)
{
    begin();
    VV_CHECK_INT(read_into(rules, "groups:\n"
                                  "- name: a\n"
                                  "  rules:\n"
                                  "  - record: a b\n"
                                  "    expr: sum(\n"
                                  "    for: 5m\n"
                                  "  - alert: A\n"
                                  "    expr: up[5m]\n"
                                  "    for: 5\n"
                                  "    annotation: {}\n"
                                  "    labels: {1a: b}\n"
                                  "    annotations: {s: '{{ $valu }}'}\n"
                                  "  - expr: up\n"
                                  "- name: a\n"),
                 VV_ECONFIG);
    VV_CHECK_INT(vv_rules_count(rules), 0);
    VV_CHECK_STR(said, "4:13: \"a b\" cannot be the name of a metric\n"
                       "5:11: expr: the query ends too early (at character 5)\n"
                       "6:10: only an alert has for\n"
                       "8:11: a rule needs a vector or a scalar, and this is a matrix\n"
                       "9:10: \"5\" is not a duration like 5m or 1h30m\n"
                       "10:5: unknown key \"annotation\" in a rule\n"
                       "11:14: \"1a\" cannot be the name of a label\n"
                       "12:22: template: unknown name \"$valu\" (at character 4)\n"
                       "13:5: a rule needs a name: record or alert\n"
                       "14:9: the group \"a\" is there twice\n");
}

VV_TEST(durations_have_units_from_large_to_small)
{
    static const struct {
        const char *text;
        enum vv_err err;
        int64_t ms;
    } rows[] = {{"5m", VV_OK, 300000},
                {"1h30m", VV_OK, 5400000},
                {"0", VV_OK, 0},
                {"1d2h3m4s5ms", VV_OK, 93784005},
                {"1y", VV_OK, 31536000000},
                {"5", VV_ESYNTAX, 0},
                {"", VV_ESYNTAX, 0},
                {"1m1h", VV_ESYNTAX, 0},
                {"1m1m", VV_ESYNTAX, 0},
                {"-1m", VV_ESYNTAX, 0},
                {"99999999999y", VV_ERANGE, 0}};
    for (size_t i = 0; i < VV_COUNT(rows); i++) {
        int64_t ms = 0;
        VV_CHECK_INT(vv_rules_parse_duration(vv_str_from(rows[i].text), &ms), rows[i].err);
        VV_CHECK_INT(ms, rows[i].ms);
    }
}
