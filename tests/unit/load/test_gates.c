/* tests/unit/load/test_gates.c - expressions over a run: form, arithmetic, names, what is unknown. */
#include "load/gates.h"
#include "sample.h"
#include "vv_test.h"

#include <stdlib.h>

static struct vv_load_verdict judge_one(const char *expression)
{
    struct vv_load_result *r = sample_result();
    const struct vv_load_gate gate = {.expression = expression, .strict = true};
    struct vv_load_verdict *v = NULL;
    size_t count = 0;
    r->view.gate_count = 0;
    VV_CHECK_INT(vv_load_judge(r, &gate, 1, &v, &count), VV_OK);
    VV_CHECK_INT(count, 1);
    const struct vv_load_verdict one = v[0];
    free(v);
    vv_load_result_free(r);
    return one;
}

static bool held(const char *expression)
{
    return judge_one(expression).held;
}

VV_TEST(operators_bind_as_in_arithmetic)
{
    VV_CHECK(held("1 + 2 * 3 == 7"));
    VV_CHECK(held("(1 + 2) * 3 == 9"));
    VV_CHECK(held("10 - 4 - 3 == 3"));
    VV_CHECK(held("8 / 4 / 2 == 1"));
    VV_CHECK(held("-2 + 3 == 1"));
    VV_CHECK(held("1 < 2 and 2 <= 2 and 3 > 2 and 3 >= 3 and 1 != 2"));
    VV_CHECK(held("1 > 2 or 2 > 1"));
    VV_CHECK(held("not 1 > 2"));
    VV_CHECK(!held("not (1 > 2 or 2 > 1)"));
    VV_CHECK(held("1 > 2 and 1 > 2 or 1 == 1")); /* `and` binds first */
}

VV_TEST(units_turn_into_milliseconds_and_percent)
{
    VV_CHECK(held("2s == 2000 and 1m == 60000 and 1500us == 1.5 and 20ms == 20"));
    VV_CHECK(held("5% == 5"));
}

VV_TEST(names_of_artillery_are_known)
{
    VV_CHECK(held("http.response_time.p95 > 799 and http.response_time.p95 < 801"));
    VV_CHECK(held("http.response_time.p99 > 1198 and http.response_time.p99 < 1202"));
    VV_CHECK(held("http.response_time.2xx.median < 420"));
    VV_CHECK(held("http.codes.200 == 14880 and http.codes.503 == 120"));
    VV_CHECK(held("http.request_rate > 50.19 and http.request_rate < 50.21"));
    VV_CHECK(held("vusers.created == 15000 and vusers.created_by_name.optimization == 6000"));
    VV_CHECK(held("errors.status == 120"));
    /* What maxErrorRate stands for: (15000 - 14880) / 15000 is 0.8 %. */
    VV_CHECK(held("(vusers.created - vusers.completed) / vusers.created * 100 <= 0.8"));
    VV_CHECK(held("plugins.metrics-by-endpoint.response_time./api/optimize/pricing.p95 < 2000"));
}

VV_TEST(what_plugins_of_artillery_count_is_known)
{
    VV_CHECK(held("plugins.expect.failed == 120 and plugins.expect.ok.statusCode == 14880"));
    VV_CHECK(
        held("'plugins.metrics-by-endpoint./api/optimize/pricing (buy now).codes.503' == 120"));
    VV_CHECK(held("plugins.metrics-by-endpoint./api/optimize/pricing.errors.ECONNRESET == 3"));
    VV_CHECK(held("plugins.metrics-by-endpoint./api/optimize/pricing.errors.EPIPE == 0"));
    VV_CHECK(!held("plugins.expect.failed.hasHeader == 0")); /* no such expectation in the file */
    VV_CHECK(!held("plugins.metrics-by-endpoint./nowhere.errors.EPIPE == 0"));
}

VV_TEST(our_own_names_are_known)
{
    VV_CHECK(held("p95 < 801ms and latency.p95 < 801 and vivace.latency.p95 < 801"));
    VV_CHECK(held("error_rate == 0.8% and success_rate > 99.1"));
    VV_CHECK(held("errors < 1%")); /* as the short form of a file says it */
    VV_CHECK(
        held("'vivace.endpoint.POST /api/optimize/pricing.error_rate' == 2")); /* 120 of 6000 */
    VV_CHECK(held("vivace.endpoint./api/optimize/pricing.requests == 6000"));
    VV_CHECK(held("vivace.late_starts == 0"));
}

VV_TEST(an_unknown_metric_misses_even_beside_a_true_or)
{
    VV_CHECK(!held("http.response_tyme.p95 < 2000"));
    VV_CHECK(!held("1 < 2 or nonsense > 1"));
    VV_CHECK(!held("not nonsense > 1"));
    VV_CHECK(!judge_one("nonsense < 1").known);
}

VV_TEST(a_quantile_of_nothing_is_unknown_but_a_count_of_nothing_is_zero)
{
    VV_CHECK(!held("http.response_time.5xx.p95 < 2000"));
    VV_CHECK(held("http.response_time.5xx.count == 0"));
    VV_CHECK(held("errors.ECONNREFUSED == 0 and http.codes.404 == 0"));
}

VV_TEST(the_left_side_is_the_value)
{
    VV_CHECK_INT(judge_one("http.codes.503 < 100").value, 120);
}

VV_TEST(a_wrong_form_is_found_with_its_column)
{
    static const struct {
        const char *text;
        size_t column;
    } wrong[] = {{"", 1},         {"p95 <", 6},       {"p95 < 200ms)", 12},
                 {"(p95 < 1", 9}, {"p95 < 200h", 10}, {"p95 & 3", 5},
                 {"'p95 < 3", 9}, {"1.2.3 < 4", 6}};
    for (size_t i = 0; i < VV_COUNT(wrong); i++) {
        size_t column = 0;
        const char *why = NULL;
        VV_CHECK_INT(vv_load_gate_check(wrong[i].text, &column, &why), VV_ESYNTAX);
        VV_CHECK_INT(column, wrong[i].column);
        VV_CHECK(why != NULL);
    }
}

VV_TEST(nesting_ends_somewhere)
{
    char text[2048];
    size_t column;
    const char *why;
    memset(text, '(', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    VV_CHECK_INT(vv_load_gate_check(text, &column, &why), VV_ESYNTAX);
    memset(text, '-', sizeof text - 1);
    VV_CHECK_INT(vv_load_gate_check(text, &column, &why), VV_ESYNTAX);
}

VV_TEST(a_simple_gate_comes_apart)
{
    struct vv_load_gate_parts p;
    VV_CHECK(vv_load_gate_split("http.response_time.p95 <= 2s", &p));
    VV_CHECK_SLICE(p.metric, "http.response_time.p95");
    VV_CHECK_SLICE(p.op, "<=");
    VV_CHECK_INT(p.limit, 2000);
    VV_CHECK(vv_load_gate_split("'a b.p95' > 1", &p));
    VV_CHECK_SLICE(p.metric, "a b.p95");
    VV_CHECK(!vv_load_gate_split("p95 < 1 and p99 < 2", &p));
    VV_CHECK(!vv_load_gate_split("1 < p95", &p));
}
