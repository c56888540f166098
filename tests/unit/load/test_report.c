/* tests/unit/load/test_report.c - reports of the sample run; the block's lines are the specification's. */
#include "load/periods.h"
#include "sample.h"
#include "vv_test.h"

#include <jansson.h>
#include <stdlib.h>

static struct vv_load_judged judged(const struct vv_load_result *r)
{
    struct vv_load_verdict *v = NULL;
    size_t count = 0;
    VV_CHECK_INT(vv_load_judge(r, NULL, 0, &v, &count), VV_OK);
    return (struct vv_load_judged){v, count};
}

typedef void report(const struct vv_load_result *r, struct vv_load_judged j, struct vv_sb *out);

static void text(const struct vv_load_result *r, struct vv_load_judged j, struct vv_sb *out)
{
    vv_load_report_text(r, j, false, out);
}

static char *make(report *fn, const struct vv_load_result *r)
{
    struct vv_sb out = VV_SB_INIT;
    const struct vv_load_judged j = judged(r);
    fn(r, j, &out);
    free((void *)(uintptr_t)j.verdict);
    return vv_sb_take(&out);
}

static void check_has(const char *text_, const char *part)
{
    assert_non_null(text_);
    assert_non_null(part);
    if (text_ != NULL && strstr(text_, part) == NULL) {
        fail_msg("\"%s\" is not in:\n%s", part, text_);
    }
}

VV_TEST(the_block_is_the_one_of_the_first_specification)
{
    static const char want[] = "\xF0\x9F\x93\x8A Load Test Results:\n"
                               "==================================================\n"
                               "Total Requests: 15000\n"
                               "Success Rate: 99.2%\n"
                               "Average Response Time: 450ms\n"
                               "P95 Response Time: 800ms\n"
                               "P99 Response Time: 1200ms\n"
                               "Requests/Second: 50.2\n"
                               "Concurrent Users: 50\n"
                               "\n";
    struct vv_load_result *r = sample_result();
    char *got = make(text, r);
    VV_CHECK(strncmp(got, want, sizeof want - 1) == 0);
    check_has(got, "\n\xE2\x9C\x85 Load test passed!\n");
    free(got);
    vv_load_result_free(r);
}

VV_TEST(the_target_table_has_ticks)
{
    struct vv_load_result *r = sample_result();
    r->failed = 900; /* 6 % */
    char *got = make(text, r);
    check_has(got, "| Metric | Target | Measured |\n");
    check_has(got, "| **Error Rate** | < 5% | 6% \xE2\x9D\x8C |\n");
    check_has(got, "| **Response time P95** | < 2000ms | 800ms \xE2\x9C\x85 |\n");
    check_has(got, "| **Throughput** | > 10 req/s | 50.2 req/s \xE2\x9C\x85 |\n");
    check_has(got, "\n\xE2\x9D\x8C Load test failed!\n");
    free(got);
    vv_load_result_free(r);
}

VV_TEST(the_error_rate_of_a_file_reads_like_one)
{
    struct vv_load_result *r = sample_result();
    const struct vv_load_gate gate = {
        .expression = "(vusers.created - vusers.completed) / vusers.created * 100 <= 5",
        .strict = true};
    struct vv_sb out = VV_SB_INIT;
    struct vv_load_verdict *v = NULL;
    size_t count = 0;
    r->view.gate_count = 0;
    VV_CHECK_INT(vv_load_judge(r, &gate, 1, &v, &count), VV_OK);
    vv_load_report_text(r, (struct vv_load_judged){v, count}, false, &out);
    check_has(out.p, "| **Error Rate** | <= 5% | 0.8% \xE2\x9C\x85 |\n");
    vv_sb_fini(&out);
    free(v);
    vv_load_result_free(r);
}

VV_TEST(an_open_run_shows_both_clocks_and_what_was_late)
{
    struct vv_load_result *r = sample_result();
    r->closed = false;
    r->late = 7;
    r->late_max_ns = 12 * VV_MS;
    r->invalid = VV_LOAD_INVALID_LATE;
    char *got = make(text, r);
    check_has(got, "from the intended start");
    check_has(got, "from the actual send");
    check_has(got, "7 late starts (worst 12.0ms)");
    check_has(got, "INVALID: ");
    check_has(got, "Load test failed!");
    free(got);
    vv_load_result_free(r);
}

VV_TEST(json_has_the_keys_of_artillery)
{
    struct vv_load_result *r = sample_result();
    char *got = make(vv_load_report_json, r);
    json_t *root = json_loads(got, 0, NULL);
    VV_CHECK(root != NULL);
    const json_t *all = json_object_get(root, "aggregate");
    const json_t *counters = json_object_get(all, "counters");
    VV_CHECK_INT(json_integer_value(json_object_get(counters, "http.requests")), 15000);
    VV_CHECK_INT(json_integer_value(json_object_get(counters, "http.codes.503")), 120);
    VV_CHECK_INT(json_integer_value(json_object_get(counters, "errors.status")), 120);
    VV_CHECK_INT(
        json_integer_value(json_object_get(
            counters, "plugins.metrics-by-endpoint./api/optimize/pricing (buy now).codes.503")),
        120);
    VV_CHECK_INT(
        json_integer_value(json_object_get(
            counters,
            "plugins.metrics-by-endpoint./api/optimize/pricing (buy now).errors.ECONNRESET")),
        3);
    VV_CHECK_INT(json_integer_value(json_object_get(counters, "plugins.expect.failed")), 120);
    VV_CHECK_INT(json_integer_value(json_object_get(counters, "plugins.expect.ok.statusCode")),
                 14880);
    VV_CHECK_INT(
        json_integer_value(json_object_get(counters, "vusers.created_by_name.content_generation")),
        9000);
    /* 50.2 a second, rounded as Artillery does. */
    VV_CHECK_INT(
        json_number_value(json_object_get(json_object_get(all, "rates"), "http.request_rate")), 50);
    const json_t *time = json_object_get(json_object_get(all, "summaries"), "http.response_time");
    static const char *const stats[] = {"min", "max", "count", "mean", "p50", "median",
                                        "p75", "p90", "p95",   "p99",  "p999"};
    for (size_t i = 0; i < VV_COUNT(stats); i++) {
        VV_CHECK(json_is_number(json_object_get(time, stats[i])));
    }
    VV_CHECK_INT(json_number_value(json_object_get(time, "p95")), 800);
    VV_CHECK_INT(json_integer_value(json_object_get(all, "firstCounterAt")), 1700000000000);
    VV_CHECK_INT(json_array_size(json_object_get(root, "intermediate")), 0); /* none were kept */
    const json_t *ours = json_object_get(root, "vivace");
    VV_CHECK_INT(json_array_size(json_object_get(ours, "seconds")), 3);
    VV_CHECK(json_is_true(json_object_get(ours, "passed")));
    json_decref(root);
    free(got);
    vv_load_result_free(r);
}

/* One second of one thread: so many answers of 200 after 5 ms. */
static struct vv_load_result *second_of(const struct vv_load_view *view, uint64_t answers)
{
    struct vv_load_result *r = NULL;
    VV_CHECK_INT(vv_load_result_new(view, &r), VV_OK);
    r->requests = r->answers = r->endpoint[0].requests = r->codes[200] = answers;
    for (uint64_t i = 0; i < answers; i++) {
        vv_load_hist_add(r->endpoint[0].first_byte, 5 * VV_MS);
    }
    return r;
}

VV_TEST(a_run_is_cut_at_whole_ten_seconds_of_the_clock)
{
    static const struct {
        uint64_t at_s, answers;
    } part[] = {
        {1700000008, 3}, {1700000009, 2}, {1700000011, 4}, {1700000009, 1}, {1700000032, 5}};
    static const struct {
        const char *period;
        int answers, first_s, last_s;
    } want[] = {{"1700000000000", 3 + 2 + 1, 8, 10}, /* a thread was late with its second 9 */
                {"1700000010000", 4, 11, 12},
                {"1700000030000", 5, 32, 33}};
    struct vv_load_result *sample = sample_result();
    struct vv_load_periods *p = vv_load_periods_new(&sample->view);
    struct vv_sb text = VV_SB_INIT;
    for (size_t i = 0; i < VV_COUNT(part); i++) {
        struct vv_load_result *r = second_of(&sample->view, part[i].answers);
        VV_CHECK_INT(vv_load_periods_add(p, part[i].at_s * VV_SEC, r), VV_OK);
        vv_load_periods_close(p, 1700000009 * VV_SEC);
        vv_load_result_free(r);
    }
    char *records = vv_load_periods_take(p);
    vv_sb_addf(&text, "[%s]", records);
    json_t *list = json_loads(text.p, 0, NULL);
    VV_CHECK_INT(json_array_size(list), VV_COUNT(want));
    for (size_t i = 0; i < VV_COUNT(want); i++) {
        const json_t *one = json_array_get(list, i), *n = json_object_get(one, "counters");
        const json_t *time =
            json_object_get(json_object_get(one, "summaries"), "http.response_time");
        VV_CHECK_STR(json_string_value(json_object_get(one, "period")), want[i].period);
        VV_CHECK_INT(json_integer_value(json_object_get(n, "http.codes.200")), want[i].answers);
        VV_CHECK_INT(json_integer_value(json_object_get(time, "count")), want[i].answers);
        VV_CHECK_INT(json_integer_value(json_object_get(one, "firstMetricAt")),
                     1700000000000 + 1000 * want[i].first_s);
        VV_CHECK_INT(json_integer_value(json_object_get(one, "lastMetricAt")),
                     1700000000000 + 1000 * want[i].last_s);
    }
    json_decref(list);
    vv_sb_fini(&text);
    free(records);
    vv_load_periods_free(p);
    vv_load_result_free(sample);
}

/* The same seconds once by one process, and once by two agents whose lines meet in the wrong order. */
VV_TEST(pieces_of_agents_add_up_to_those_of_one_run)
{
    struct vv_load_result *sample = sample_result();
    struct vv_load_periods *one = vv_load_periods_new(&sample->view), *part[2];
    struct vv_sb lines = VV_SB_INIT;
    char *joined = NULL, *text[2];
    for (size_t a = 0; a < 2; a++) {
        part[a] = vv_load_periods_new(&sample->view);
        vv_load_periods_keep_states(part[a]);
    }
    for (uint64_t s = 0; s < 25; s++) {
        const uint64_t at_ns = (1700000008 + s) * VV_SEC;
        struct vv_load_result *r = second_of(&sample->view, 1 + s % 3);
        r->endpoint[1].codes[503] = s;
        r->expect[0].failed = s;
        vv_load_hist_add(r->session, s * VV_MS);
        VV_CHECK_INT(vv_load_periods_add(one, at_ns, r), VV_OK);
        if (s < 2 ||
            s > 12) { /* one agent had nothing to do in between, so its pieces are shorter */
            VV_CHECK_INT(vv_load_periods_add(part[s % 2], at_ns, r), VV_OK);
        } else {
            VV_CHECK_INT(vv_load_periods_add(part[1], at_ns, r), VV_OK);
        }
        vv_load_result_free(r);
    }
    for (size_t a = 0; a < 2; a++) {
        text[a] = vv_load_periods_take(part[a]);
        vv_sb_adds(&lines, text[a]);
    }
    char *want = vv_load_periods_take(one);
    VV_CHECK_INT(vv_load_periods_join(vv_sb_str(&lines), &joined), VV_OK);
    VV_CHECK_STR(joined, want);
    free(joined);
    joined = NULL;
    VV_CHECK_INT(vv_load_periods_join(VV_STR(""), &joined), VV_OK);
    VV_CHECK(joined == NULL);
    static const char *const wrong[] = {"5 {}\n", "x {}\n", "5 {}", "\n",
                                        "99999999999999999999 {}\n"};
    for (size_t i = 0; i < VV_COUNT(wrong); i++) {
        VV_CHECK(vv_load_periods_join(vv_str_from(wrong[i]), &joined) != VV_OK);
        VV_CHECK(joined == NULL);
    }
    for (size_t a = 0; a < 2; a++) {
        free(text[a]);
        vv_load_periods_free(part[a]);
    }
    free(want);
    vv_sb_fini(&lines);
    vv_load_periods_free(one);
    vv_load_result_free(sample);
}

VV_TEST(junit_has_one_case_for_each_gate)
{
    struct vv_load_result *r = sample_result();
    r->failed = 900;
    char *got = make(vv_load_report_junit, r);
    check_has(got, "tests=\"6\" failures=\"1\" skipped=\"0\""); /* four gates and our two */
    check_has(got, "<testcase classname=\"vivace.load\" name=\"error_rate &lt; 5\"");
    check_has(got, "<failure type=\"gate\" message=\"Error Rate: wanted &lt; 5%, measured 6%\">");
    free(got);
    vv_load_result_free(r);
}

VV_TEST(html_is_one_file_with_charts_and_nothing_from_elsewhere)
{
    struct vv_load_result *r = sample_result();
    r->view.target = "http://x/<script>";
    char *got = make(vv_load_report_html, r);
    check_has(got, "<polyline");
    check_has(got, "Load test of http://x/&lt;script&gt;");
    check_has(got, "prefers-color-scheme:dark");
    check_has(got, "@media print");
    VV_CHECK(strstr(got, "<script") == NULL);
    VV_CHECK(strstr(got, "src=") == NULL && strstr(got, "href=") == NULL);
    free(got);
    vv_load_result_free(r);
}

VV_TEST(tls_is_reported_when_there_was_any)
{
    struct vv_load_result *r = sample_result();
    char *got = make(text, r), *page = make(vv_load_report_html, r);
    VV_CHECK(strstr(got, "TLS") == NULL && strstr(page, "TLS") == NULL);
    free(got);
    free(page);
    r->tls_handshakes = 3, r->tls_resumed = 2;
    strcpy(r->tls_error, "expired <long ago>");
    vv_load_hist_add(r->tls_connect, 2 * VV_MS);
    got = make(text, r);
    page = make(vv_load_report_html, r);
    check_has(got, "to connect, with TLS");
    check_has(got, "TLS: 3 handshakes, 2 of them resumed\n");
    check_has(got, "TLS failed first with: expired <long ago>\n");
    check_has(page, "<td>to connect, with TLS</td>");
    check_has(page, "TLS failed first with: expired &lt;long ago&gt;");
    free(got);
    free(page);
    vv_load_result_free(r);
}

VV_TEST(the_live_view_is_one_line_without_a_terminal)
{
    struct vv_load_result *r = sample_result();
    struct vv_sb out = VV_SB_INIT;
    r->duration_ns = 3 * VV_SEC;
    vv_load_report_live(r, 0, false, &out);
    VV_CHECK_STR(out.p, "   3s of 300s  offered 52/s  done 52/s  in flight 50  late 0  failed 0  "
                        "p50 416ms  p95 800ms  p99 1200ms\n");
    vv_sb_reset(&out);
    r->duration_ns = 150 * VV_SEC; /* half of 300 s: 30 of 60 blocks */
    vv_load_report_live(r, 120, false, &out);
    size_t full = 0;
    for (const char *p = out.p; (p = strstr(p, "\xE2\x96\x88")) != NULL; p += 3) {
        full++;
    }
    VV_CHECK_INT(full, 30);
    check_has(out.p, " 50%  150s / 300s\n");
    vv_sb_fini(&out);
    vv_load_result_free(r);
}

VV_TEST(a_result_survives_its_text_exactly)
{
    struct vv_load_result *r = sample_result(), *back = NULL;
    struct vv_sb one = VV_SB_INIT, two = VV_SB_INIT;
    r->invalid = VV_LOAD_INVALID_LATE;
    r->tls_handshakes = 9, r->tls_resumed = 8;
    strcpy(r->tls_error, "a \"reason\"");
    vv_load_hist_add(r->tls_connect, VV_MS);
    vv_load_result_write(r, &one);
    VV_CHECK_INT(vv_load_result_read(vv_sb_str(&one), &back), VV_OK);
    vv_load_result_free(r); /* nothing may be borrowed from it */
    vv_load_result_write(back, &two);
    VV_CHECK_STR(two.p, one.p);
    VV_CHECK_INT(back->requests, 15000);
    VV_CHECK_INT(back->tls_handshakes, 9);
    VV_CHECK_INT(back->tls_resumed, 8);
    VV_CHECK_STR(back->tls_error, "a \"reason\"");
    VV_CHECK_INT(vv_load_hist_count(back->tls_connect), 1);
    VV_CHECK_INT(back->endpoint[1].codes[503], 120);
    VV_CHECK_STR(back->view.endpoint[0].name, "/api/content-ideas/generate");
    vv_load_result_free(back);
    vv_sb_fini(&one);
    vv_sb_fini(&two);
}

VV_TEST(a_report_carries_the_state)
{
    struct vv_load_result *r = sample_result(), *back = NULL;
    char *got = make(vv_load_report_json, r);
    VV_CHECK_INT(vv_load_result_read(vv_str_from(got), &back), VV_OK);
    VV_CHECK_INT(vv_load_hist_quantile(back->latency, 0.95),
                 vv_load_hist_quantile(r->latency, 0.95));
    VV_CHECK_INT(back->window_count, 3);
    free(got);
    vv_load_result_free(back);
    vv_load_result_free(r);
}

VV_TEST(what_is_no_result_is_refused)
{
    static const char *const wrong[] = {
        "", "{", "[]", "{}", "{\"format\":2}", "{\"format\":1,\"latency\":\"not a histogram\"}"};
    for (size_t i = 0; i < VV_COUNT(wrong); i++) {
        struct vv_load_result *r = NULL;
        VV_CHECK(vv_load_result_read(vv_str_from(wrong[i]), &r) != VV_OK);
        VV_CHECK(r == NULL);
    }
}
