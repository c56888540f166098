/* tests/unit/load/test_result.c - results of threads and agents become one. */
#include "load/result.h"
#include "vv_test.h"
#include <stdio.h>

static const struct vv_load_endpoint endpoints[2] = {{"/a", "GET", 0, NULL},
                                                     {"/b", "POST", 0, "/b (buy)"}};
static const char *const scenarios[1] = {"only"};
static const char *const expects[1] = {"statusCode"};
static const struct vv_load_view view = {.endpoint = endpoints,
                                         .endpoint_count = 2,
                                         .scenario = scenarios,
                                         .scenario_count = 1,
                                         .expect = expects,
                                         .expect_count = 1};

static struct vv_load_result *fresh(void)
{
    struct vv_load_result *r = NULL;
    VV_CHECK_INT(vv_load_result_new(&view, &r), VV_OK);
    return r;
}

VV_TEST(merging_adds_counters_errors_and_histograms)
{
    struct vv_load_result *a = fresh(), *b = fresh();
    a->requests = 3, b->requests = 4;
    a->codes[200] = 2, b->codes[200] = 5, b->codes[599] = 1;
    a->duration_ns = 5, b->duration_ns = 9;
    a->late_max_ns = 7, b->late_max_ns = 2;
    a->users_by_scenario[0] = 1, b->users_by_scenario[0] = 2;
    a->started_unix_ns = 100, b->started_unix_ns = 90;
    vv_load_hist_add(a->endpoint[1].latency, 10);
    vv_load_hist_add(b->endpoint[1].latency, 30);
    vv_load_hist_add(b->by_class[2], 30);
    vv_load_result_error(a, "ECONNREFUSED", 1);
    vv_load_result_error(b, "ETIMEDOUT", 2);
    vv_load_result_error(b, "ECONNREFUSED", 3);
    vv_load_endpoint_error(&a->endpoint[1], "EPIPE", 1);
    vv_load_endpoint_error(&b->endpoint[1], "EPIPE", 6);
    a->tls_handshakes = 2, b->tls_handshakes = 3, b->tls_resumed = 1;
    strcpy(b->tls_error, "the first reason");
    vv_load_hist_add(b->tls_connect, 30);
    a->expect[0].ok = 1, b->expect[0].ok = 10, b->expect[0].failed = 100;
    VV_CHECK_INT(vv_load_result_merge(a, b), VV_OK);
    VV_CHECK_INT(a->endpoint[1].error_count, 1);
    VV_CHECK_INT(a->endpoint[1].error[0].count, 7);
    VV_CHECK_INT(a->expect[0].ok, 11);
    VV_CHECK_INT(a->expect[0].failed, 100);
    VV_CHECK_INT(a->requests, 7);
    VV_CHECK_INT(a->codes[200], 7);
    VV_CHECK_INT(a->codes[599], 1);
    VV_CHECK_INT(a->duration_ns, 9);
    VV_CHECK_INT(a->late_max_ns, 7);
    VV_CHECK_INT(a->users_by_scenario[0], 3);
    VV_CHECK_INT(a->started_unix_ns, 90);
    VV_CHECK_INT(vv_load_hist_count(a->endpoint[1].latency), 2);
    VV_CHECK_INT(vv_load_hist_count(a->by_class[2]), 1);
    VV_CHECK_INT(a->tls_handshakes, 5);
    VV_CHECK_INT(a->tls_resumed, 1);
    VV_CHECK_STR(a->tls_error, "the first reason");
    VV_CHECK_INT(vv_load_hist_count(a->tls_connect), 1);
    VV_CHECK_INT(a->error_count, 2);
    VV_CHECK_INT(a->error[0].count, 4);
    VV_CHECK_INT(a->error[1].count, 2);
    vv_load_result_free(a);
    vv_load_result_free(b);
}

VV_TEST(seconds_meet_by_their_time)
{
    struct vv_load_result *a = fresh(), *b = fresh();
    VV_CHECK_INT(vv_load_result_windows(a, 2), VV_OK);
    VV_CHECK_INT(vv_load_result_windows(b, 3), VV_OK);
    VV_CHECK_INT(b->window[2].at_ns, 2 * VV_SEC);
    a->window[1].offered = 10, b->window[1].offered = 20, b->window[2].offered = 40;
    a->window[1].p99_ns = 5, b->window[1].p99_ns = 8;
    VV_CHECK_INT(vv_load_result_merge(a, b), VV_OK);
    VV_CHECK_INT(a->window_count, 3);
    VV_CHECK_INT(a->window[0].offered, 0);
    VV_CHECK_INT(a->window[1].offered, 30);
    VV_CHECK_INT(a->window[1].p99_ns, 8);
    VV_CHECK_INT(a->window[2].offered, 40);
    vv_load_result_free(a);
    vv_load_result_free(b);
}

VV_TEST(errors_beyond_the_names_count_as_other)
{
    struct vv_load_result *r = fresh();
    uint64_t sum = 0;
    for (int i = 0; i < 100; i++) {
        char name[16];
        snprintf(name, sizeof(name), "E%d", i);
        vv_load_result_error(r, name, 1);
    }
    VV_CHECK_INT(r->error_count, VV_LOAD_NAMES_MAX);
    VV_CHECK_STR(r->error[VV_LOAD_NAMES_MAX - 1].name, "other");
    for (size_t i = 0; i < r->error_count; i++) {
        sum += r->error[i].count;
    }
    VV_CHECK_INT(sum, 100);
    vv_load_result_free(r);
}

VV_TEST(results_of_different_plans_do_not_merge)
{
    struct vv_load_result *a = fresh(), *b = NULL;
    struct vv_load_view other = view;
    other.endpoint_count = 1;
    VV_CHECK_INT(vv_load_result_new(&other, &b), VV_OK);
    VV_CHECK_INT(vv_load_result_merge(a, b), VV_EINVAL);
    vv_load_result_free(a);
    vv_load_result_free(b);
}

VV_TEST(a_reason_outlives_the_part_that_brought_it)
{
    struct vv_load_result *a = fresh(), *b = fresh();
    char text[] = VV_LOAD_INVALID_CPU;
    b->invalid = text;
    VV_CHECK_INT(vv_load_result_merge(a, b), VV_OK);
    text[0] = '\0';
    VV_CHECK_STR(a->invalid, VV_LOAD_INVALID_CPU);
    vv_load_result_free(a);
    vv_load_result_free(b);
}

VV_TEST(a_cleared_result_is_as_new)
{
    struct vv_load_result *r = fresh();
    r->requests = 5, r->codes[404] = 1, r->endpoint[0].codes[404] = 1;
    vv_load_hist_add(r->endpoint[0].service, 10);
    vv_load_hist_add(r->session, 10);
    vv_load_hist_add(r->tls_connect, 10);
    strcpy(r->tls_error, "a reason");
    vv_load_result_error(r, "EPIPE", 1);
    vv_load_endpoint_error(&r->endpoint[1], "EPIPE", 1);
    r->expect[0].failed = 1;
    vv_load_result_clear(r);
    VV_CHECK_INT(r->endpoint[1].error_count + r->expect[0].failed, 0);
    VV_CHECK_INT(r->requests + r->codes[404] + r->endpoint[0].codes[404] + r->error_count, 0);
    VV_CHECK_INT(vv_load_hist_count(r->endpoint[0].service), 0);
    VV_CHECK_INT(vv_load_hist_count(r->session), 0);
    VV_CHECK_INT(vv_load_hist_count(r->tls_connect), 0);
    VV_CHECK_STR(r->tls_error, "");
    VV_CHECK_INT(r->view.endpoint_count, 2);
    vv_load_result_free(r);
}
