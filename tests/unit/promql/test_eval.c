/* tests/unit/promql/test_eval.c - values of small sets of samples, derived by hand. The long
 * comparison with Prometheus is tests/integration/test_promql.py. */
#include "promql/memory.h"
#include "promql/promql.h"
#include "vv_test.h"

#include <math.h>
#include <stdio.h>

static struct vv_arena arena;
static struct vv_promql_memory memory;
static char answer[4000];

static void begin(void)
{
    vv_arena_fini(&arena);
    vv_arena_init(&arena, NULL, 0, 65536, 0);
    vv_promql_memory_init(&memory, &arena);
}

/* Samples every ten seconds from 0 s on. */
static void series(const char *name, const char *job, const double *v, size_t n)
{
    const struct vv_promql_label labels[] = {{VV_STR("__name__"), vv_str_from(name)},
                                             {VV_STR("job"), vv_str_from(job)}};
    size_t i = 0;
    VV_CHECK_INT(vv_promql_memory_series(&memory, (struct vv_promql_labels){labels, 2}, &i), VV_OK);
    for (size_t k = 0; k < n; k++) {
        VV_CHECK_INT(vv_promql_memory_add(&memory, i, (int64_t)k * 10000, v[k]), VV_OK);
    }
}

static void put(const struct vv_promql_result *r)
{
    char buf[VV_PROMQL_FORMAT_BYTES];
    struct vv_sb sb = VV_SB_INIT;
    if (r->type == VV_PROMQL_SCALAR) {
        vv_sb_adds(&sb, vv_promql_format(r->scalar.v, buf));
    }
    for (size_t i = 0; i < r->n; i++) {
        const struct vv_promql_series *s = &r->series[i];
        vv_sb_adds(&sb, i > 0 ? "; " : "");
        for (size_t k = 0; k < s->labels.n; k++) {
            vv_sb_addf(&sb, VV_STR_FMT " ", VV_STR_ARG(s->labels.at[k].value));
        }
        for (size_t k = 0; k < s->n; k++) {
            vv_sb_addf(&sb, "%s%s@%lld", k > 0 ? " " : "", vv_promql_format(s->samples[k].v, buf),
                       (long long)s->samples[k].t_ms / 1000);
        }
    }
    snprintf(answer, sizeof answer, "%s", sb.n > 0 ? sb.p : "nothing");
    vv_sb_fini(&sb);
}

static const char *ask_query(const char *text, const struct vv_promql_query *q)
{
    const struct vv_promql_source source = vv_promql_memory_source(&memory);
    const struct vv_promql_expr *e = NULL;
    struct vv_promql_error why;
    struct vv_promql_result r;
    enum vv_err err = vv_promql_parse(vv_str_from(text), &arena, &e, &why);
    if (err == VV_OK) {
        err = vv_promql_eval(e, &source, q, &arena, &r, &why);
    }
    if (err == VV_OK) {
        put(&r);
    } else {
        snprintf(answer, sizeof answer, "%s", vv_err_name(err));
    }
    return answer;
}

static const char *ask(const char *text, int64_t at_s)
{
    const struct vv_promql_query q = {.start_ms = at_s * 1000};
    return ask_query(text, &q);
}

VV_TEST(a_series_lives_five_minutes_behind_its_last_sample)
{
    begin();
    series("a", "x", (const double[]){1, 2, 3}, 3);
    VV_CHECK_STR(ask("a", 15), "a x 2@15");
    VV_CHECK_STR(ask("a", 320), "a x 3@320"); /* the last sample is of 20 s */
    VV_CHECK_STR(ask("a", 321), "nothing");
    VV_CHECK_STR(ask("a", -1), "nothing");
    VV_CHECK_STR(ask("a offset 10s", 20), "a x 2@20");
    VV_CHECK_STR(ask("a @ 5", 20), "a x 1@20");
}

VV_TEST(a_marker_ends_a_series_at_once_and_is_no_sample)
{
    begin();
    series("a", "x", (const double[]){1, 2, vv_promql_stale(), 4}, 4);
    VV_CHECK_STR(ask("a", 19), "a x 2@19");
    VV_CHECK_STR(ask("a", 25), "nothing");
    VV_CHECK_STR(ask("a", 30), "a x 4@30");
    VV_CHECK_STR(ask("count_over_time(a[1m])", 30), "x 3@30");
    VV_CHECK_STR(ask("a[1m]", 30), "a x 1@0 2@10 4@30");
}

VV_TEST(a_rate_reaches_to_the_ends_of_its_range_and_over_resets)
{
    begin();
    /* 0 10 20 5 15: up 10, 10, reset and 5, 10: 35 in 40 s from the first to the last sample. */
    series("a", "x", (const double[]){0, 10, 20, 5, 15}, 5);
    VV_CHECK_STR(ask("increase(a[40s])", 40), "x 35@40");
    VV_CHECK_STR(ask("rate(a[40s])", 40), "x 0.875@40"); /* 35 / 40 */
    /* Seen at 45 s over 50 s: the end lies 5 s off, less than 1.1 intervals, so it is filled in:
     * 45 s; the start would be 5 s before 0 s, but the counter was 0 at 0 s: 35 / 40 * 45. */
    VV_CHECK_STR(ask("increase(a[50s])", 45), "x 39.375@45");
    VV_CHECK_STR(ask("irate(a[40s])", 40), "x 1@40"); /* 10 in 10 s */
    VV_CHECK_STR(ask("resets(a[40s])", 40), "x 1@40");
    VV_CHECK_STR(ask("rate(a[5s])", 40), "nothing"); /* one sample */
}

VV_TEST(aggregates_group_by_labels)
{
    begin();
    series("a", "x", (const double[]){1}, 1);
    series("b", "x", (const double[]){5}, 1);
    series("a", "y", (const double[]){3}, 1);
    VV_CHECK_STR(ask("sum by (job) ({job=~\".+\"})", 0), "x 6@0; y 3@0");
    VV_CHECK_STR(ask("topk(2, {job=~\".+\"})", 0), "b x 5@0; a y 3@0");
    VV_CHECK_STR(ask("quantile(0.5, {job=~\".+\"})", 0), "3@0");
    VV_CHECK_STR(ask("count_values(\"v\", a)", 0), "1 1@0; 3 1@0");
    VV_CHECK_STR(ask("a / on(job) b", 0), "x 0.2@0");
    VV_CHECK_STR(ask("a unless on(job) b", 0), "a y 3@0");
    VV_CHECK_STR(ask("absent(c{job=\"z\"})", 0), "z 1@0");
    VV_CHECK_STR(ask("a + on() b", 0), "VV_EINVAL"); /* two of a for one b */
}

VV_TEST(a_histogram_is_straight_between_its_bounds)
{
    static const struct {
        const char *le;
        double count;
    } buckets[] = {{"1", 2}, {"2", 6}, {"+Inf", 8}};
    begin();
    for (size_t i = 0; i < VV_COUNT(buckets); i++) {
        const struct vv_promql_label labels[] = {{VV_STR("__name__"), VV_STR("h")},
                                                 {VV_STR("le"), vv_str_from(buckets[i].le)}};
        size_t s = 0;
        VV_CHECK_INT(vv_promql_memory_series(&memory, (struct vv_promql_labels){labels, 2}, &s),
                     VV_OK);
        VV_CHECK_INT(vv_promql_memory_add(&memory, s, 0, buckets[i].count), VV_OK);
    }
    /* The fourth of eight lies at half of the second bucket's four. */
    VV_CHECK_STR(ask("histogram_quantile(0.5, h)", 0), "1.5@0");
    VV_CHECK_STR(ask("histogram_quantile(0.99, h)", 0), "2@0"); /* in the last: its lower bound */
}

VV_TEST(a_range_answers_at_every_step_and_a_subquery_at_round_times)
{
    begin();
    series("a", "x", (const double[]){1, 2, 3, 4, 5, 6}, 6);
    const struct vv_promql_query q = {.start_ms = 5000, .end_ms = 35000, .step_ms = 15000};
    VV_CHECK_STR(ask_query("a * 2", &q), "x 2@5 6@20 8@35");
    VV_CHECK_STR(ask_query("1", &q), "1@5 1@20 1@35");
    VV_CHECK_STR(ask("a[30s:20s]", 45), "a x 3@20 5@40"); /* 15 to 45 s: multiples of 20 s */
    VV_CHECK_STR(ask_query("a[1m]", &q), "VV_EINVAL");
}

VV_TEST(a_query_ends_at_its_bounds)
{
    begin();
    series("a", "x", (const double[]){1, 2, 3}, 3);
    const struct vv_promql_query work = {.start_ms = 20000, .work_max = 1000};
    VV_CHECK_STR(ask_query("count_over_time(a[10y:1ms])", &work), "VV_ELIMIT");
    const struct vv_promql_query memory_bound = {.start_ms = 20000, .memory_max = 1 << 20};
    VV_CHECK_STR(ask_query("count_over_time(a[1d:1ms])", &memory_bound), "VV_ENOMEM");
}

VV_TEST(samples_in_memory_keep_their_order)
{
    begin();
    series("a", "x", (const double[]){1, 2}, 2);
    const struct vv_promql_label twisted[] = {{VV_STR("b"), VV_STR("1")},
                                              {VV_STR("a"), VV_STR("1")}};
    size_t i = 0;
    VV_CHECK_INT(vv_promql_memory_add(&memory, 0, 10000, 3), VV_EINVAL);
    VV_CHECK_INT(vv_promql_memory_series(&memory, (struct vv_promql_labels){twisted, 2}, &i),
                 VV_EINVAL);
}
