/* tests/unit/load/sample.h - a finished run made by hand: the figures of the first specification's
 * example (15,000 requests, 99.2 %, mean 450 ms, P95 800 ms, P99 1200 ms, 50.2/s, 50 users).
 *
 * 14,000 answers of 416.428 ms, 700 of 800 ms and 300 of 1200 ms: the mean is
 * (14000 * 416.428 + 700 * 800 + 300 * 1200) / 15000 = 450.0 ms; rank 14,250 (p95) is among the 800s,
 * rank 14,850 (p99) among the 1200s. 15,000 in 298.804 s is 50.2/s; 120 failed is 0.8 %. */
#ifndef VV_TEST_LOAD_SAMPLE_H
#define VV_TEST_LOAD_SAMPLE_H
#include "load/report.h"
#include "load/result.h"

static const struct vv_load_phase sample_phases[] = {
    {.name = "load", .duration_ns = 300 * VV_SEC, .ramp_to = -1.0, .users = 50}};
static const char *const sample_scenarios[] = {"content_generation", "optimization"};
static const struct vv_load_endpoint sample_endpoints[] = {
    {"/api/content-ideas/generate", "POST", 0, NULL},
    {"/api/optimize/pricing", "POST", 1, "/api/optimize/pricing (buy now)"},
};
static const char *const sample_expects[] = {"statusCode"};
static const struct vv_load_gate sample_gates[] = {
    {"error_rate < 5", true, {0}},
    {"http.response_time.p95 < 2000", true, {0}},
    {"p99 < 5000", true, {0}},
    {"rps > 10", true, {0}},
};

static inline void sample_record(struct vv_load_result *r, size_t endpoint, uint64_t ns)
{
    struct vv_load_hist *const all[] = {r->latency,
                                        r->service,
                                        r->first_byte,
                                        r->session,
                                        r->by_class[2],
                                        r->endpoint[endpoint].latency,
                                        r->endpoint[endpoint].service,
                                        r->endpoint[endpoint].first_byte};
    for (size_t i = 0; i < VV_COUNT(all); i++) {
        vv_load_hist_add(all[i], ns);
    }
}

static inline struct vv_load_result *sample_result(void)
{
    const struct vv_load_view view = {
        .target = "http://127.0.0.1:3000",
        .phase = sample_phases,
        .phase_count = VV_COUNT(sample_phases),
        .scenario = sample_scenarios,
        .scenario_count = VV_COUNT(sample_scenarios),
        .endpoint = sample_endpoints,
        .endpoint_count = VV_COUNT(sample_endpoints),
        .expect = sample_expects,
        .expect_count = VV_COUNT(sample_expects),
        .gate = sample_gates,
        .gate_count = VV_COUNT(sample_gates),
    };
    struct vv_load_result *r = NULL;
    if (vv_load_result_new(&view, &r) != VV_OK || vv_load_result_windows(r, 3) != VV_OK) {
        return NULL;
    }
    for (size_t i = 0; i < 15000; i++) {
        const uint64_t ns = i < 14000 ? 416428 * VV_US : i < 14700 ? 800 * VV_MS : 1200 * VV_MS;
        sample_record(r, i % 5 < 3 ? 0 : 1, ns); /* 60 % and 40 % */
    }
    r->closed = true;
    r->started_unix_ns = UINT64_C(1700000000000000000);
    r->duration_ns = UINT64_C(298804780876);
    r->planned_ns = 300 * VV_SEC;
    r->offered = r->requests = r->answers = 15000;
    r->users_created = 15000;
    r->users_completed = 14880;
    r->failed = r->users_failed = 120;
    r->users_by_scenario[0] = 9000;
    r->users_by_scenario[1] = 6000;
    r->codes[200] = 14880;
    r->codes[503] = 120;
    r->endpoint[0].requests = r->endpoint[0].answers = 9000;
    r->endpoint[0].codes[200] = 9000;
    r->endpoint[1].requests = r->endpoint[1].answers = 6000;
    r->endpoint[1].codes[200] = 5880;
    r->endpoint[1].codes[503] = 120;
    r->endpoint[1].failed = 120;
    vv_load_result_error(r, "status", 120);
    r->expect[0].ok = 14880;
    r->expect[0].failed = 120;
    vv_load_endpoint_error(&r->endpoint[1], "ECONNRESET", 3);
    r->bytes_in = 1500000;
    r->connections = 50;
    r->threads = 1;
    r->cpu_ns = 3 * VV_SEC;
    for (size_t i = 0; i < r->window_count; i++) {
        r->window[i].offered = r->window[i].started = r->window[i].completed = 50 + i;
        r->window[i].in_flight = 50;
        r->window[i].p50_ns = 416 * VV_MS;
        r->window[i].p95_ns = 800 * VV_MS;
        r->window[i].p99_ns = r->window[i].max_ns = 1200 * VV_MS;
    }
    return r;
}
#endif
