/* tests/unit/observe/test_metrics.c - series, shards, cardinality, collectors and their text. */
#include "observe/metrics_int.h"

#include "vv_test.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static struct vv_metrics *registry(void)
{
    struct vv_metrics *m = NULL;
    VV_CHECK_INT(vv_metrics_new(&m), VV_OK);
    return m;
}

static struct vv_shard *shard_of(struct vv_metrics *m)
{
    struct vv_shard *s = NULL;
    VV_CHECK_INT(vv_metrics_shard(m, &s), VV_OK);
    return s;
}

static vv_series requests(struct vv_metrics *m, const char *route, const char *status)
{
    const struct vv_str values[] = {VV_STR("GET"), vv_str_from(route), VV_STR("shop"),
                                    vv_str_from(status)};
    return vv_metrics_series(m, VV_METRIC_REQUESTS, values, VV_COUNT(values));
}

static vv_series duration(struct vv_metrics *m, const char *route)
{
    const struct vv_str values[] = {vv_str_from(route), VV_STR("shop")};
    return vv_metrics_series(m, VV_METRIC_REQUEST_DURATION, values, VV_COUNT(values));
}

static char *text(struct vv_metrics *m, enum vv_exposition e)
{
    struct vv_sb out = VV_SB_INIT;
    vv_metrics_write(m, e, &out);
    VV_CHECK(!out.failed);
    return vv_sb_take(&out);
}

static bool has(struct vv_metrics *m, enum vv_exposition e, const char *part)
{
    char *page = text(m, e);
    const bool found = strstr(page, part) != NULL;
    if (!found) {
        print_message("not there: %s\n%s\n", part, page);
    }
    free(page);
    return found;
}

static size_t times(struct vv_metrics *m, enum vv_exposition e, const char *part)
{
    char *page = text(m, e);
    size_t n = 0;
    for (const char *at = page; (at = strstr(at, part)) != NULL; at += strlen(part)) {
        n++;
    }
    free(page);
    return n;
}

VV_TEST(same_labels_give_the_same_series_and_other_labels_another)
{
    struct vv_metrics *m = registry();
    const vv_series a = requests(m, "api", "200");
    VV_CHECK(a != 0);
    VV_CHECK_INT(requests(m, "api", "200"), a);
    VV_CHECK(requests(m, "api", "404") != a);
    /* the same bytes cut elsewhere are not the same labels */
    VV_CHECK(requests(m, "apis", "20") != requests(m, "api", "s20"));
    vv_metrics_free(m);
}

VV_TEST(shards_add_up_and_keep_their_counts_when_a_thread_ends)
{
    struct vv_metrics *m = registry();
    struct vv_shard *one = shard_of(m);
    struct vv_shard *two = shard_of(m);
    VV_CHECK(one != two);
    const vv_series s = requests(m, "api", "200");
    vv_metric_add(one, s, 3);
    vv_metric_add(two, s, 4);
    VV_CHECK_INT(vv_metrics_value(m, s), 7);
    vv_metrics_shard_return(m, one);
    VV_CHECK_INT(vv_metrics_value(m, s), 7);
    VV_CHECK(shard_of(m) == one);
    vv_metric_add(one, s, 1);
    VV_CHECK_INT(vv_metrics_value(m, s), 8);
    vv_metrics_free(m);
}

VV_TEST(series_zero_counts_nowhere)
{
    struct vv_metrics *m = registry();
    struct vv_shard *s = shard_of(m);
    struct vv_hist h;
    vv_metric_add(s, 0, 5);
    vv_hist_add(vv_metric_hist(s, 0), VV_MS);
    VV_CHECK_INT(vv_metrics_value(m, 0), 0);
    VV_CHECK_INT(vv_metrics_hist_count(m, 0), 0);
    vv_metrics_hist(m, 0, &h);
    VV_CHECK_INT(h.count, 0);
    vv_metrics_free(m);
}

VV_TEST(a_shard_made_before_or_after_has_room_for_every_series)
{
    struct vv_metrics *m = registry();
    struct vv_shard *before = shard_of(m);
    char name[32];
    vv_series s = 0;
    for (int i = 0; i < 1500; i++) { /* more than one chunk of 1024 */
        snprintf(name, sizeof(name), "route%d", i);
        s = requests(m, name, "200");
    }
    VV_CHECK(s > VV_SERIES_CHUNK);
    struct vv_shard *after = shard_of(m);
    vv_metric_add(before, s, 1);
    vv_metric_add(after, s, 1);
    vv_hist_add(vv_metric_hist(before, duration(m, "late")), VV_MS);
    vv_hist_add(vv_metric_hist(after, duration(m, "late")), VV_MS);
    VV_CHECK_INT(vv_metrics_value(m, s), 2);
    VV_CHECK_INT(vv_metrics_hist_count(m, duration(m, "late")), 2);
    vv_metrics_free(m);
}

VV_TEST(label_sets_over_the_cap_fold_into_overflow_and_are_counted)
{
    struct vv_metrics *m = registry();
    struct vv_shard *shard = shard_of(m);
    char name[32];
    for (int i = 0; i < VV_METRIC_SERIES; i++) {
        snprintf(name, sizeof(name), "route%d", i);
        (void)requests(m, name, "200");
    }
    VV_CHECK_INT(times(m, VV_EXPOSITION_TEXT, "\"_overflow\""), 0);
    const vv_series over = requests(m, "one too many", "200");
    VV_CHECK_INT(requests(m, "another", "500"), over);
    VV_CHECK_INT(requests(m, "route7", "200"), requests(m, "route7", "200"));
    vv_metric_add(shard, over, 9);
    VV_CHECK(has(m, VV_EXPOSITION_TEXT,
                 "http_requests_total{method=\"_overflow\",route=\"_overflow\","
                 "service=\"_overflow\",status=\"_overflow\"} 9\n"));
    VV_CHECK(has(m, VV_EXPOSITION_TEXT, "vivace_metric_series_dropped_total 2\n"));
    VV_CHECK(duration(m, "api") != 0); /* another metric is not affected */
    VV_CHECK(duration(m, "api") != duration(m, "web"));
    vv_metrics_free(m);
}

VV_TEST(a_histogram_is_written_cumulative_with_float_bounds)
{
    struct vv_metrics *m = registry();
    struct vv_shard *shard = shard_of(m);
    struct vv_hist *h = vv_metric_hist(shard, duration(m, "api"));
    vv_hist_add(h, VV_MS);       /* exactly on the first bound: counted there */
    vv_hist_add(h, VV_MS + 1);   /* in (1 ms, 2.5 ms] */
    vv_hist_add(h, 900 * VV_MS); /* in (0.75 s, 1 s] */
    vv_hist_add(h, 31 * VV_SEC); /* only in +Inf */
    const char *const want[] = {
        "_bucket{route=\"api\",service=\"shop\",le=\"0.001\"} 1\n",
        "_bucket{route=\"api\",service=\"shop\",le=\"0.0025\"} 2\n",
        "_bucket{route=\"api\",service=\"shop\",le=\"0.75\"} 2\n",
        "_bucket{route=\"api\",service=\"shop\",le=\"1.0\"} 3\n",
        "_bucket{route=\"api\",service=\"shop\",le=\"30.0\"} 3\n",
        "_bucket{route=\"api\",service=\"shop\",le=\"+Inf\"} 4\n",
        "_count{route=\"api\",service=\"shop\"} 4\n",
        /* 0.001 + 0.001000001 + 0.9 + 31 */
        "_sum{route=\"api\",service=\"shop\"} 31.902000001\n",
    };
    for (size_t i = 0; i < VV_COUNT(want); i++) {
        VV_CHECK(has(m, VV_EXPOSITION_TEXT, want[i]));
        VV_CHECK(has(m, VV_EXPOSITION_OPENMETRICS, want[i]));
    }
    vv_metrics_free(m);
}

VV_TEST(label_values_and_help_are_escaped_and_made_utf8)
{
    struct vv_metrics *m = registry();
    (void)requests(m, "a\"b\\c\nd", "200");
    VV_CHECK(has(m, VV_EXPOSITION_TEXT, "route=\"a\\\"b\\\\c\\nd\""));
    (void)requests(m,
                   "bad\xff"
                   "byte",
                   "200");
    VV_CHECK(has(m, VV_EXPOSITION_TEXT,
                 "route=\"bad\xef\xbf\xbd"
                 "byte\""));
    vv_metrics_free(m);
}

VV_TEST(constant_labels_are_on_every_series)
{
    struct vv_metrics *m = registry();
    const char *const names[] = {"country", "site"};
    const char *const values[] = {"us", "a\"b"};
    VV_CHECK_INT(vv_metrics_set_labels(m, names, values, 2), VV_OK);
    (void)requests(m, "api", "200");
    (void)vv_metrics_series(m, VV_METRIC_IN_FLIGHT, NULL, 0);
    (void)duration(m, "api");
    VV_CHECK(has(m, VV_EXPOSITION_TEXT,
                 "http_requests_total{country=\"us\",site=\"a\\\"b\",method=\"GET\","));
    VV_CHECK(has(m, VV_EXPOSITION_TEXT,
                 "vivace_http_requests_in_flight{country=\"us\",site=\"a\\\"b\"} 0\n"));
    VV_CHECK(has(m, VV_EXPOSITION_TEXT, "process_open_fds{country=\"us\","));
    VV_CHECK(has(m, VV_EXPOSITION_JSON, "\"labels\":{\"country\":\"us\","));
    VV_CHECK_INT(vv_metrics_set_labels(m, NULL, NULL, 0), VV_OK);
    VV_CHECK_INT(times(m, VV_EXPOSITION_TEXT, "country"), 0);
    vv_metrics_free(m);
}

VV_TEST(constant_labels_that_would_break_series_are_refused)
{
    struct vv_metrics *m = registry();
    const char *const value[] = {"x", "y"};
    const char *const bad[][2] = {{"le", "a"},  {"route", "a"}, {"1st", "a"},      {"", "a"},
                                  {"__x", "a"}, {"a-b", "a"},   {"twice", "twice"}};
    for (size_t i = 0; i < VV_COUNT(bad); i++) {
        VV_CHECK_INT(vv_metrics_set_labels(m, bad[i], value, 2), VV_EINVAL);
    }
    vv_metrics_free(m);
}

VV_TEST(a_gauge_can_go_down_on_another_thread_than_it_went_up)
{
    struct vv_metrics *m = registry();
    struct vv_shard *one = shard_of(m);
    struct vv_shard *two = shard_of(m);
    const vv_series s = vv_metrics_series(m, VV_METRIC_IN_FLIGHT, NULL, 0);
    vv_metric_add(one, s, 5);
    vv_metric_sub(two, s, 2);
    VV_CHECK(has(m, VV_EXPOSITION_TEXT, "vivace_http_requests_in_flight 3\n"));
    vv_metric_sub(two, s, 4);
    VV_CHECK(has(m, VV_EXPOSITION_TEXT, "vivace_http_requests_in_flight -1\n"));
    vv_metrics_free(m);
}

VV_TEST(words_of_metrics_in_seconds_are_nanoseconds)
{
    struct vv_metrics *m = registry();
    struct vv_shard *shard = shard_of(m);
    vv_metric_add(shard, vv_metrics_series(m, VV_METRIC_LOOP_BUSY, NULL, 0), 1500 * VV_MS);
    VV_CHECK(has(m, VV_EXPOSITION_TEXT, "vivace_loop_busy_seconds_total 1.5\n"));
    VV_CHECK(has(m, VV_EXPOSITION_JSON, "\"value\":1.5"));
    vv_metrics_free(m);
}

struct collected {
    double value;
    int calls;
};

static void collect_up(struct vv_collect *c, void *user)
{
    struct collected *w = user;
    const struct vv_str values[] = {VV_STR("shop"), VV_STR("127.0.0.1:1")};
    w->calls++;
    vv_collect_value(c, VV_METRIC_UPSTREAM_UP, values, 2, w->value);
    vv_collect_value(c, VV_METRIC_LOG_DROPPED, NULL, 0, w->value);
}

VV_TEST(collectors_run_at_scrape_and_stop_when_removed)
{
    struct vv_metrics *m = registry();
    struct collected w = {.value = 0.25};
    VV_CHECK_INT(vv_metrics_collector(m, collect_up, &w), VV_OK);
    VV_CHECK(has(m, VV_EXPOSITION_TEXT,
                 "vivace_upstream_up{service=\"shop\",server=\"127.0.0.1:1\"} 0.25\n"));
    VV_CHECK_INT(w.calls, 1);
    vv_metrics_collector_remove(m, collect_up, &w);
    VV_CHECK_INT(times(m, VV_EXPOSITION_TEXT, "vivace_upstream_up"), 0);
    VV_CHECK_INT(w.calls, 1);
    vv_metrics_free(m);
}

VV_TEST(equal_label_sets_are_written_once_counters_added_gauges_replaced)
{
    struct vv_metrics *m = registry();
    struct collected first = {.value = 2};
    struct collected second = {.value = 2};
    const struct vv_str values[] = {VV_STR("shop"), VV_STR("127.0.0.1:1")};
    struct vv_shard *shard = shard_of(m);
    vv_metric_add(shard, vv_metrics_series(m, VV_METRIC_LOG_DROPPED, NULL, 0), 10);
    vv_metric_add(shard, vv_metrics_series(m, VV_METRIC_UPSTREAM_UP, values, 2), 7);
    VV_CHECK_INT(vv_metrics_collector(m, collect_up, &first), VV_OK);
    VV_CHECK_INT(vv_metrics_collector(m, collect_up, &second), VV_OK);
    VV_CHECK(has(m, VV_EXPOSITION_TEXT, "vivace_log_records_dropped_total 14\n")); /* 10+2+2 */
    VV_CHECK(has(m, VV_EXPOSITION_TEXT, "server=\"127.0.0.1:1\"} 2\n"));
    VV_CHECK_INT(times(m, VV_EXPOSITION_TEXT, "\nvivace_upstream_up{"), 1);
    VV_CHECK_INT(times(m, VV_EXPOSITION_TEXT, "\nvivace_log_records_dropped_total "), 1);
    vv_metrics_free(m);
}

VV_TEST(openmetrics_drops_suffixes_in_comments_and_ends_with_eof)
{
    struct vv_metrics *m = registry();
    (void)requests(m, "api", "200");
    const struct vv_str build[] = {VV_STR("1"), VV_STR("2"), VV_STR("3")};
    (void)vv_metrics_series(m, VV_METRIC_BUILD_INFO, build, 3);
    (void)duration(m, "api");
    VV_CHECK(has(m, VV_EXPOSITION_TEXT, "# TYPE http_requests_total counter\n"));
    VV_CHECK(has(m, VV_EXPOSITION_OPENMETRICS, "# TYPE http_requests counter\n"));
    VV_CHECK(has(m, VV_EXPOSITION_OPENMETRICS, "\nhttp_requests_total{"));
    VV_CHECK(has(m, VV_EXPOSITION_OPENMETRICS, "# UNIT http_request_duration_seconds seconds\n"));
    VV_CHECK(has(m, VV_EXPOSITION_TEXT, "# TYPE vivace_build_info gauge\n"));
    VV_CHECK(has(m, VV_EXPOSITION_OPENMETRICS, "# TYPE vivace_build info\n"));
    VV_CHECK(has(m, VV_EXPOSITION_OPENMETRICS,
                 "vivace_build_info{version=\"1\",revision=\"2\",compiler=\"3\"} 1\n"));
    char *page = text(m, VV_EXPOSITION_OPENMETRICS);
    VV_CHECK_STR(page + strlen(page) - 7, "\n# EOF\n");
    free(page);
    VV_CHECK_INT(times(m, VV_EXPOSITION_TEXT, "# EOF"), 0);
    vv_metrics_free(m);
}

static void count_series(void *user, enum vv_metric id, vv_series series,
                         const struct vv_str *values, size_t count)
{
    size_t *n = user;
    if (id == VV_METRIC_REQUESTS) {
        VV_CHECK(series != 0);
        VV_CHECK_INT(count, 4);
        VV_CHECK_SLICE(values[0], "GET");
        n[0]++;
    } else {
        n[1]++;
    }
}

VV_TEST(each_walks_the_series_somebody_asked_for)
{
    struct vv_metrics *m = registry();
    size_t n[2] = {0, 0};
    (void)requests(m, "api", "200");
    (void)requests(m, "api", "404");
    (void)vv_metrics_series(m, VV_METRIC_IN_FLIGHT, NULL, 0);
    vv_metrics_each(m, count_series, n);
    VV_CHECK_INT(n[0], 2);
    VV_CHECK_INT(n[1], 1);
    vv_metrics_free(m);
}

#define HAMMER_ROUNDS 2000
static void *hammer(void *arg)
{
    struct vv_metrics *m = arg;
    struct vv_shard *shard = NULL;
    char name[32];
    if (vv_metrics_shard(m, &shard) != VV_OK) {
        return arg;
    }
    for (int i = 0; i < HAMMER_ROUNDS; i++) {
        snprintf(name, sizeof(name), "r%d", i % 700); /* two chunks of series while others count */
        vv_metric_add(shard, requests(m, name, "200"), 1);
        vv_hist_add(vv_metric_hist(shard, duration(m, name)), VV_MS);
    }
    vv_metrics_shard_return(m, shard);
    return NULL;
}

static void sum_requests(void *user, enum vv_metric id, vv_series series,
                         const struct vv_str *values VV_UNUSED, size_t count VV_UNUSED)
{
    void **both = user;
    if (id == VV_METRIC_REQUESTS) {
        *(uint64_t *)both[1] += vv_metrics_value(both[0], series);
    }
}

VV_TEST(threads_count_while_others_make_series_and_scrape)
{
    struct vv_metrics *m = registry();
    pthread_t thread[3];
    for (size_t i = 0; i < VV_COUNT(thread); i++) {
        VV_CHECK_INT(pthread_create(&thread[i], NULL, hammer, m), 0);
    }
    for (int i = 0; i < 5; i++) {
        free(text(m, VV_EXPOSITION_TEXT));
    }
    for (size_t i = 0; i < VV_COUNT(thread); i++) {
        void *failed = NULL;
        VV_CHECK_INT(pthread_join(thread[i], &failed), 0);
        VV_CHECK(failed == NULL);
    }
    uint64_t sum = 0;
    void *both[2] = {m, &sum};
    vv_metrics_each(m, sum_requests, both);
    VV_CHECK_INT(sum, 3 * HAMMER_ROUNDS);
    vv_metrics_free(m);
}

static void collect_many(struct vv_collect *c, void *user)
{
    char name[32];
    for (int i = 0; i < 1000; i++) { /* the map of label sets grows several times */
        snprintf(name, sizeof(name), "s%d", i % 500);
        const struct vv_str values[] = {VV_STR("shop"), vv_str_from(name)};
        vv_collect_value(c, VV_METRIC_UPSTREAM_UP, values, 2, *(const double *)user);
    }
}

VV_TEST(many_collected_label_sets_are_each_written_once)
{
    struct vv_metrics *m = registry();
    double value = 1;
    VV_CHECK_INT(vv_metrics_collector(m, collect_many, &value), VV_OK);
    VV_CHECK_INT(times(m, VV_EXPOSITION_TEXT, "\nvivace_upstream_up{"), 500);
    VV_CHECK(has(m, VV_EXPOSITION_TEXT, "server=\"s499\"} 1\n"));
    vv_metrics_free(m);
}
