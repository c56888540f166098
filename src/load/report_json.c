/* src/load/report_json.c - the file of -o: Artillery's keys, so that what reads its reports reads
 * ours, and a "vivace" object with what Artillery does not know. */
#include "base/json.h"
#include "load/report_int.h"

#include <math.h>
#include <stdio.h>

#define TEN_SECONDS_MS 10000

static const char *const stats[] = {"min", "max", "count", "mean", "p50", "median",
                                    "p75", "p90", "p95",   "p99",  "p999"};

static double tenth(double v)
{
    return round(v * 10.0) / 10.0;
}

static void summary(struct vv_json *j, const char *name, const struct vv_load_hist *h)
{
    if (h == NULL || vv_load_hist_count(h) == 0) {
        return;
    }
    vv_json_key(j, name);
    vv_json_obj(j);
    for (size_t i = 0; i < VV_COUNT(stats); i++) {
        double v;
        if (vv_load_hist_value(h, vv_str_from(stats[i]), &v)) {
            /* Below 10 ms a tenth would hide what was measured. */
            vv_json_kdouble(j, stats[i], v < 10.0 ? round(v * 1000.0) / 1000.0 : tenth(v));
        }
    }
    vv_json_obj_end(j);
}

static bool same_key(const struct vv_load_result *r, size_t i, const char *key)
{
    return strcmp(vv_load_endpoint_key(&r->view.endpoint[i]), key) == 0;
}

static void summaries(struct vv_json *j, const char *key, const struct vv_load_result *r)
{
    struct vv_sb name = VV_SB_INIT;
    vv_json_key(j, key);
    vv_json_obj(j);
    summary(j, "http.response_time", r->first_byte);
    for (unsigned c = 1; c < VV_COUNT(r->by_class); c++) {
        vv_sb_reset(&name);
        vv_sb_addf(&name, "http.response_time.%uxx", c);
        summary(j, name.p, r->by_class[c]);
    }
    summary(j, "vusers.session_length", r->session);
    for (size_t i = 0; i < r->view.endpoint_count; i++) {
        const char *own = vv_load_endpoint_key(&r->view.endpoint[i]);
        struct vv_load_hist *all = vv_load_hist_new();
        bool before = false;
        for (size_t k = 0; k < r->view.endpoint_count && all != NULL; k++) {
            if (same_key(r, k, own)) {
                before = before || k < i;
                vv_load_hist_merge(all, r->endpoint[k].first_byte);
            }
        }
        vv_sb_reset(&name);
        vv_sb_addf(&name, "plugins.metrics-by-endpoint.response_time.%s", own);
        if (!before && name.p != NULL) {
            summary(j, name.p, all);
        }
        vv_load_hist_free(all);
    }
    summary(j, "vivace.latency", r->latency);
    summary(j, "vivace.service", r->service);
    summary(j, "vivace.tls_connect", r->tls_connect);
    vv_json_obj_end(j);
    vv_sb_fini(&name);
}

static void named_counter(struct vv_json *j, struct vv_sb *name, const char *prefix,
                          const char *rest, uint64_t v)
{
    vv_sb_reset(name);
    vv_sb_addf(name, "%s%s", prefix, rest);
    if (name->p != NULL) {
        vv_json_ku64(j, name->p, v);
    }
}

static void endpoint_counter(struct vv_json *j, struct vv_sb *name, const char *key,
                             const char *kind, const char *what, uint64_t v)
{
    vv_sb_reset(name);
    vv_sb_addf(name, "plugins.metrics-by-endpoint.%s.%s.%s", key, kind, what);
    if (name->p != NULL) {
        vv_json_ku64(j, name->p, v);
    }
}

/* Endpoints with the same key are one: the first stands for all. */
static void endpoint_counters(struct vv_json *j, struct vv_sb *name, const struct vv_load_result *r)
{
    for (size_t i = 0; i < r->view.endpoint_count; i++) {
        const char *own = vv_load_endpoint_key(&r->view.endpoint[i]);
        struct vv_load_endpoint_result sum = {.requests = 0};
        bool before = false;
        for (size_t k = 0; k < i; k++) {
            before = before || same_key(r, k, own);
        }
        for (size_t k = i; k < r->view.endpoint_count && !before; k++) {
            const struct vv_load_endpoint_result *e = &r->endpoint[k];
            if (!same_key(r, k, own)) {
                continue;
            }
            for (unsigned c = 100; c < 600; c++) {
                sum.codes[c] += e->codes[c];
            }
            for (size_t n = 0; n < e->error_count; n++) {
                vv_load_endpoint_error(&sum, e->error[n].name, e->error[n].count);
            }
        }
        for (unsigned c = 100; c < 600; c++) {
            char code[8];
            if (sum.codes[c] > 0) {
                (void)snprintf(code, sizeof code, "%u", c);
                endpoint_counter(j, name, own, "codes", code, sum.codes[c]);
            }
        }
        for (size_t n = 0; n < sum.error_count; n++) {
            endpoint_counter(j, name, own, "errors", sum.error[n].name, sum.error[n].count);
        }
    }
}

static void expect_counters(struct vv_json *j, struct vv_sb *name, const struct vv_load_result *r)
{
    uint64_t ok = 0, failed = 0;
    for (size_t i = 0; i < r->view.expect_count; i++) {
        const struct vv_load_tally *t = &r->expect[i];
        ok += t->ok;
        failed += t->failed;
        if (t->ok > 0) {
            named_counter(j, name, "plugins.expect.ok.", r->view.expect[i], t->ok);
        }
        if (t->failed > 0) {
            named_counter(j, name, "plugins.expect.failed.", r->view.expect[i], t->failed);
        }
    }
    if (ok > 0) {
        vv_json_ku64(j, "plugins.expect.ok", ok);
    }
    if (failed > 0) {
        vv_json_ku64(j, "plugins.expect.failed", failed);
    }
}

static void counters(struct vv_json *j, const struct vv_load_result *r)
{
    struct vv_sb name = VV_SB_INIT;
    vv_json_key(j, "counters");
    vv_json_obj(j);
    for (size_t i = 0; i < r->view.scenario_count; i++) {
        named_counter(j, &name, "vusers.created_by_name.", r->view.scenario[i],
                      r->users_by_scenario[i]);
    }
    vv_json_ku64(j, "vusers.created", r->users_created);
    vv_json_ku64(j, "http.requests", r->requests);
    for (unsigned c = 100; c < 600; c++) {
        char code[8];
        (void)snprintf(code, sizeof code, "%u", c);
        if (r->codes[c] > 0) {
            named_counter(j, &name, "http.codes.", code, r->codes[c]);
        }
    }
    vv_json_ku64(j, "http.responses", r->answers);
    vv_json_ku64(j, "http.downloaded_bytes", r->bytes_in);
    endpoint_counters(j, &name, r);
    expect_counters(j, &name, r);
    for (size_t i = 0; i < r->error_count; i++) {
        const bool capture =
            strcmp(r->error[i].name, "capture") == 0; /* Artillery's words for it */
        named_counter(j, &name, "errors.", capture ? "Failed capture or match" : r->error[i].name,
                      r->error[i].count);
    }
    vv_json_ku64(j, "vusers.failed", r->users_failed);
    vv_json_ku64(j, "vusers.completed", r->users_completed);
    vv_json_ku64(j, "vusers.skipped", r->users_skipped);
    vv_json_obj_end(j);
    vv_sb_fini(&name);
}

static void times(struct vv_json *j, uint64_t from_ms, uint64_t to_ms)
{
    static const char *const first[] = {"firstCounterAt", "firstHistogramAt", "firstMetricAt"};
    static const char *const last[] = {"lastCounterAt", "lastHistogramAt", "lastMetricAt"};
    for (size_t i = 0; i < VV_COUNT(first); i++) {
        vv_json_ku64(j, first[i], from_ms);
    }
    for (size_t i = 0; i < VV_COUNT(last); i++) {
        vv_json_ku64(j, last[i], to_ms);
    }
}

static void period(struct vv_json *j, uint64_t ms)
{
    char text[24]; /* Artillery writes it as text in intermediates, as a number in the aggregate */
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)ms);
    vv_json_kcstr(j, "period", text);
}

static void rate(struct vv_json *j, double v)
{
    vv_json_key(j, "rates");
    vv_json_obj(j);
    vv_json_kdouble(j, "http.request_rate", v);
    vv_json_obj_end(j);
}

void vv_load_report_period(const struct vv_load_result *r, uint64_t period_ms, struct vv_sb *out)
{
    const uint64_t from_ms = r->started_unix_ns / VV_MS;
    struct vv_json j;
    vv_json_init(&j, out);
    vv_json_obj(&j);
    counters(&j, r);
    rate(&j, round(vv_load_value(r, "http.request_rate")));
    times(&j, from_ms, from_ms + r->duration_ns / VV_MS);
    period(&j, period_ms);
    summaries(&j, "summaries", r);
    summaries(&j, "histograms", r);
    vv_json_obj_end(&j);
}

static void intermediate(struct vv_json *j, const struct vv_load_result *r)
{
    vv_json_key(j, "intermediate");
    vv_json_arr(j);
    if (r->intermediate != NULL) {
        vv_sb_adds(j->out, r->intermediate); /* is JSON already */
    }
    vv_json_arr_end(j);
}

/* What is known of each second, as numbers: for charts. */
static void seconds(struct vv_json *j, const struct vv_load_result *r)
{
    vv_json_key(j, "seconds");
    vv_json_arr(j);
    for (size_t i = 0; i < r->window_count; i++) {
        const struct vv_load_window *w = &r->window[i];
        vv_json_obj(j);
        vv_json_kdouble(j, "at", (double)w->at_ns / 1e9);
        vv_json_ku64(j, "offered", w->offered);
        vv_json_ku64(j, "started", w->started);
        vv_json_ku64(j, "responses", w->completed);
        vv_json_ku64(j, "failed", w->failed);
        vv_json_ku64(j, "late_starts", w->late);
        vv_json_ku64(j, "in_flight", w->in_flight);
        vv_json_ku64(j, "downloaded_bytes", w->bytes_in);
        vv_json_kdouble(j, "p50", (double)w->p50_ns / 1e6);
        vv_json_kdouble(j, "p95", (double)w->p95_ns / 1e6);
        vv_json_kdouble(j, "p99", (double)w->p99_ns / 1e6);
        vv_json_kdouble(j, "max", (double)w->max_ns / 1e6);
        vv_json_obj_end(j);
    }
    vv_json_arr_end(j);
}

static void gates(struct vv_json *j, struct vv_load_judged judged)
{
    vv_json_key(j, "gates");
    vv_json_arr(j);
    for (size_t i = 0; i < judged.count; i++) {
        const struct vv_load_verdict *v = &judged.verdict[i];
        vv_json_obj(j);
        vv_json_kcstr(j, "expression", v->gate->expression);
        vv_json_kbool(j, "strict", v->gate->strict);
        vv_json_kbool(j, "known", v->known);
        vv_json_kbool(j, "held", v->held);
        if (v->known) {
            vv_json_kdouble(j, "value", v->value);
        }
        vv_json_obj_end(j);
    }
    vv_json_arr_end(j);
}

static void ours(struct vv_json *j, const struct vv_load_result *r, struct vv_load_judged judged)
{
    static const char *const values[] = {
        "offered_rate", "achieved_rate", "throughput",     "error_rate",  "late_starts",
        "late_max",     "connections",   "tls_handshakes", "tls_resumed", "generator_cpu"};
    struct vv_sb state = VV_SB_INIT;
    vv_json_key(j, "vivace");
    vv_json_obj(j);
    vv_json_kcstr(j, "target", r->view.target);
    vv_json_kbool(j, "passed", vv_load_passed(r, judged));
    vv_json_kcstr(j, "model", r->closed ? "closed" : "open");
    vv_json_kcstr(j, "invalid", r->invalid);
    vv_json_kcstr(j, "tls_error", r->tls_error[0] != '\0' ? r->tls_error : NULL);
    vv_json_kbool(j, "interrupted", r->interrupted);
    vv_json_kdouble(j, "duration_seconds", (double)r->duration_ns / 1e9);
    vv_json_kdouble(j, "planned_seconds", (double)r->planned_ns / 1e9);
    vv_json_ku64(j, "offered", r->offered);
    vv_json_ku64(j, "failed", r->failed);
    vv_json_ku64(j, "users", vv_load_users(r));
    for (size_t i = 0; i < VV_COUNT(values); i++) {
        char name[48];
        (void)snprintf(name, sizeof name, "vivace.%s", values[i]);
        vv_json_kdouble(j, values[i], vv_load_value(r, name));
    }
    vv_json_kdouble(j, "generator_cpu_seconds", (double)r->cpu_ns / 1e9);
    vv_json_ku64(j, "threads", r->threads);
    gates(j, judged);
    seconds(j, r);
    vv_load_result_write(r, &state);
    vv_json_key(j, "state"); /* exact: what `vivace load compare` reads */
    if (state.p != NULL && !state.failed) {
        vv_sb_add(j->out, vv_sb_str(&state)); /* is JSON already */
        j->after_key = false;
    } else {
        vv_json_null(j);
    }
    vv_json_obj_end(j);
    vv_sb_fini(&state);
}

void vv_load_report_json(const struct vv_load_result *r, struct vv_load_judged j, struct vv_sb *out)
{
    const uint64_t start_ms = r->started_unix_ns / VV_MS;
    const uint64_t end_ms = start_ms + vv_max_u64(r->duration_ns / VV_MS, 1);
    struct vv_json w;
    vv_json_init(&w, out);
    vv_json_obj(&w);
    vv_json_key(&w, "aggregate");
    vv_json_obj(&w);
    counters(&w, r);
    rate(&w, round(vv_load_value(r, "http.request_rate")));
    times(&w, start_ms, end_ms);
    vv_json_ku64(&w, "period", (end_ms - 1) / TEN_SECONDS_MS * TEN_SECONDS_MS); /* the last one */
    summaries(&w, "summaries", r);
    summaries(&w, "histograms", r);
    vv_json_obj_end(&w);
    intermediate(&w, r);
    ours(&w, r, j);
    vv_json_obj_end(&w);
    vv_sb_addc(out, '\n');
}
