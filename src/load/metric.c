/* src/load/metric.c - values of a run by their names: Artillery's, our own, and short ones for the
 * command line. A name that could have been counted but was not (a status nobody sent) is 0; a
 * quantile of nothing is unknown, because a gate on it would otherwise hold for an empty run. */
#include "load/gates.h"
#include "load/report.h"

#define MS 1e6 /* ns */

struct named {
    const char *name;
    double (*value)(const struct vv_load_result *r);
};

static double per_second(double count, uint64_t ns)
{
    return ns > 0 ? count * 1e9 / (double)ns : 0.0;
}

/* A run that took longer than planned is judged by what it took: arrivals that came too late count. */
static uint64_t span_ns(const struct vv_load_result *r)
{
    return r->duration_ns > 0 ? r->duration_ns : r->planned_ns;
}

static double m_requests(const struct vv_load_result *r)
{
    return (double)r->requests;
}
static double m_answers(const struct vv_load_result *r)
{
    return (double)r->answers;
}
static double m_bytes(const struct vv_load_result *r)
{
    return (double)r->bytes_in;
}
static double m_created(const struct vv_load_result *r)
{
    return (double)r->users_created;
}
static double m_completed(const struct vv_load_result *r)
{
    return (double)r->users_completed;
}
static double m_failed_users(const struct vv_load_result *r)
{
    return (double)r->users_failed;
}
static double m_skipped(const struct vv_load_result *r)
{
    return (double)r->users_skipped;
}
static double m_request_rate(const struct vv_load_result *r)
{
    return per_second((double)r->requests, span_ns(r));
}
static double m_throughput(const struct vv_load_result *r)
{
    return per_second((double)r->answers, span_ns(r));
}
static double m_offered_rate(const struct vv_load_result *r)
{
    const bool whole = !r->interrupted && r->planned_ns > 0;
    return per_second((double)r->offered, whole ? r->planned_ns : span_ns(r));
}
static double m_achieved_rate(const struct vv_load_result *r)
{
    const uint64_t ns = vv_max_u64(span_ns(r), r->interrupted ? 0 : r->planned_ns);
    return per_second((double)r->users_created, ns);
}
static double m_late(const struct vv_load_result *r)
{
    return (double)r->late;
}
static double m_late_max(const struct vv_load_result *r)
{
    return (double)r->late_max_ns / MS;
}
static double m_failed(const struct vv_load_result *r)
{
    return (double)r->failed;
}
static double m_error_rate(const struct vv_load_result *r)
{
    return r->requests > 0 ? 100.0 * (double)r->failed / (double)r->requests : 0.0;
}
static double m_success_rate(const struct vv_load_result *r)
{
    return r->requests > 0 ? 100.0 - m_error_rate(r) : 0.0;
}
static double m_connections(const struct vv_load_result *r)
{
    return (double)r->connections;
}
static double m_handshakes(const struct vv_load_result *r)
{
    return (double)r->tls_handshakes;
}
static double m_resumed(const struct vv_load_result *r)
{
    return (double)r->tls_resumed;
}
static double m_cpu(const struct vv_load_result *r)
{
    const double cores = r->threads > 0 ? (double)r->threads : 1.0;
    return span_ns(r) > 0 ? 100.0 * (double)r->cpu_ns / (double)span_ns(r) / cores : 0.0;
}

static const struct named plain[] = {
    {"http.requests", m_requests},
    {"http.responses", m_answers},
    {"http.request_rate", m_request_rate},
    {"http.downloaded_bytes", m_bytes},
    {"vusers.created", m_created},
    {"vusers.completed", m_completed},
    {"vusers.failed", m_failed_users},
    {"vusers.skipped", m_skipped},
    {"vivace.offered_rate", m_offered_rate},
    {"vivace.achieved_rate", m_achieved_rate},
    {"vivace.late_starts", m_late},
    {"vivace.late_max", m_late_max},
    {"vivace.throughput", m_throughput},
    {"vivace.failed", m_failed},
    {"vivace.error_rate", m_error_rate},
    {"vivace.success_rate", m_success_rate},
    {"vivace.connections", m_connections},
    {"vivace.tls_handshakes", m_handshakes},
    {"vivace.tls_resumed", m_resumed},
    {"vivace.generator_cpu", m_cpu},
    {"error_rate", m_error_rate},
    {"errors", m_error_rate}, /* as `pass: {errors: 5%}` says it */
    {"success_rate", m_success_rate},
    {"availability", m_success_rate},
    {"throughput", m_throughput},
    {"rps", m_throughput},
};

bool vv_load_hist_value(const struct vv_load_hist *h, struct vv_str what, double *ret)
{
    static const struct {
        const char *name;
        double q;
    } quantiles[] = {{"p50", 0.5},  {"median", 0.5}, {"p75", 0.75},  {"p90", 0.9},
                     {"p95", 0.95}, {"p99", 0.99},   {"p999", 0.999}};
    const uint64_t count = h != NULL ? vv_load_hist_count(h) : 0;
    if (vv_str_eq(what, VV_STR("count"))) {
        *ret = (double)count;
        return true;
    }
    if (count == 0) {
        return false;
    }
    for (size_t i = 0; i < VV_COUNT(quantiles); i++) {
        if (vv_str_eq(what, vv_str_from(quantiles[i].name))) {
            *ret = (double)vv_load_hist_quantile(h, quantiles[i].q) / MS;
            return true;
        }
    }
    if (vv_str_eq(what, VV_STR("min"))) {
        *ret = (double)vv_load_hist_min(h) / MS;
    } else if (vv_str_eq(what, VV_STR("max"))) {
        *ret = (double)vv_load_hist_max(h) / MS;
    } else if (vv_str_eq(what, VV_STR("mean"))) {
        *ret = vv_load_hist_mean(h) / MS;
    } else {
        return false;
    }
    return true;
}

static bool take(struct vv_str *s, const char *prefix)
{
    const struct vv_str p = vv_str_from(prefix);
    if (!vv_str_starts(*s, p)) {
        return false;
    }
    s->p += p.n;
    s->n -= p.n;
    return true;
}

/* Cuts at the last point: "GET /a.b.p95" is the endpoint "GET /a.b" and "p95". */
static bool cut_last(struct vv_str s, struct vv_str *ret_name, struct vv_str *ret_what)
{
    size_t at = s.n;
    while (at > 0 && s.p[at - 1] != '.') {
        at--;
    }
    if (at < 2) {
        return false;
    }
    *ret_name = (struct vv_str){s.p, at - 1};
    *ret_what = (struct vv_str){s.p + at, s.n - at};
    return true;
}

const char *vv_load_endpoint_key(const struct vv_load_endpoint *e)
{
    return e->key != NULL ? e->key : e->name;
}

bool vv_load_endpoint_named(const struct vv_load_endpoint *e, struct vv_str name)
{
    const struct vv_str method = vv_str_from(e->method), url = vv_str_from(e->name);
    if (vv_str_eq(url, name) || vv_str_eq(vv_str_from(vv_load_endpoint_key(e)), name)) {
        return true;
    }
    return name.n == method.n + 1 + url.n && vv_str_starts(name, method) &&
           name.p[method.n] == ' ' && vv_str_ends(name, url);
}

enum which { LATENCY, SERVICE, FIRST_BYTE };

/* The same name in two scenarios is one route: their histograms together. */
static bool endpoint_hist(const struct vv_load_result *r, struct vv_str name, enum which which,
                          struct vv_str what, double *ret)
{
    struct vv_load_hist *all = vv_load_hist_new();
    bool found = false;
    for (size_t i = 0; all != NULL && i < r->view.endpoint_count; i++) {
        const struct vv_load_endpoint_result *e = &r->endpoint[i];
        if (vv_load_endpoint_named(&r->view.endpoint[i], name)) {
            vv_load_hist_merge(all, which == LATENCY   ? e->latency
                                    : which == SERVICE ? e->service
                                                       : e->first_byte);
            found = true;
        }
    }
    found = found && vv_load_hist_value(all, what, ret);
    vv_load_hist_free(all);
    return found;
}

static bool endpoint_metric(const struct vv_load_result *r, struct vv_str rest, double *ret)
{
    struct vv_str name, what, inner, kind;
    uint64_t requests = 0, answers = 0, failed = 0;
    bool found = false;
    if (!cut_last(rest, &name, &what)) {
        return false;
    }
    for (size_t i = 0; i < r->view.endpoint_count; i++) {
        if (vv_load_endpoint_named(&r->view.endpoint[i], name)) {
            requests += r->endpoint[i].requests;
            answers += r->endpoint[i].answers;
            failed += r->endpoint[i].failed;
            found = true;
        }
    }
    if (found && vv_str_eq(what, VV_STR("requests"))) {
        *ret = (double)requests;
    } else if (found && vv_str_eq(what, VV_STR("failed"))) {
        *ret = (double)failed;
    } else if (found && vv_str_eq(what, VV_STR("error_rate"))) {
        *ret = requests > 0 ? 100.0 * (double)failed / (double)requests : 0.0;
    } else if (found && vv_str_eq(what, VV_STR("throughput"))) {
        *ret = per_second((double)answers, span_ns(r));
    } else if (found) {
        return endpoint_hist(r, name, LATENCY, what, ret);
    } else if (cut_last(name, &inner, &kind) && vv_str_eq(kind, VV_STR("service"))) {
        return endpoint_hist(r, inner, SERVICE, what, ret);
    } else {
        return false;
    }
    return true;
}

static bool code_metric(const uint64_t *codes, struct vv_str rest, double *ret)
{
    uint64_t code = 0;
    if (vv_str_to_u64(rest, &code) != VV_OK || code < 100 || code >= 600) {
        return false;
    }
    *ret = (double)codes[code];
    return true;
}

static bool class_metric(const struct vv_load_result *r, struct vv_str rest, double *ret)
{
    if (rest.n > 4 && rest.p[0] >= '1' && rest.p[0] <= '5' && memcmp(rest.p + 1, "xx.", 3) == 0) {
        return vv_load_hist_value(r->by_class[rest.p[0] - '0'],
                                  (struct vv_str){rest.p + 4, rest.n - 4}, ret);
    }
    return vv_load_hist_value(r->first_byte, rest, ret);
}

static double named_count(const struct vv_load_named *list, size_t count, struct vv_str name)
{
    for (size_t i = 0; i < count; i++) {
        if (vv_str_eq(vv_str_from(list[i].name), name)) {
            return (double)list[i].count;
        }
    }
    return 0.0;
}

/* "URL.codes.404" or "URL.errors.ECONNREFUSED": 0 when the URL is known. */
static bool endpoint_count(const struct vv_load_result *r, struct vv_str rest, double *ret)
{
    struct vv_str head, url, kind, what;
    bool found = false;
    double sum = 0.0;
    if (!cut_last(rest, &head, &what) || !cut_last(head, &url, &kind)) {
        return false;
    }
    for (size_t i = 0; i < r->view.endpoint_count; i++) {
        const struct vv_load_endpoint_result *e = &r->endpoint[i];
        double n = 0.0;
        if (!vv_load_endpoint_named(&r->view.endpoint[i], url)) {
            continue;
        }
        if (vv_str_eq(kind, VV_STR("errors"))) {
            n = named_count(e->error, e->error_count, what);
        } else if (!vv_str_eq(kind, VV_STR("codes")) || !code_metric(e->codes, what, &n)) {
            return false;
        }
        found = true;
        sum += n;
    }
    *ret = sum;
    return found;
}

/* "ok", "failed", "ok.statusCode" ... */
static bool expect_metric(const struct vv_load_result *r, struct vv_str rest, double *ret)
{
    const struct vv_str outcome = vv_str_cut(&rest, '.');
    const bool all = rest.p == NULL, failed = vv_str_eq(outcome, VV_STR("failed"));
    bool found = all;
    double sum = 0.0;
    if (!failed && !vv_str_eq(outcome, VV_STR("ok"))) {
        return false;
    }
    for (size_t i = 0; i < r->view.expect_count; i++) {
        if (all || vv_str_eq(vv_str_from(r->view.expect[i]), rest)) {
            sum += (double)(failed ? r->expect[i].failed : r->expect[i].ok);
            found = true;
        }
    }
    *ret = sum;
    return found;
}

static bool scenario_metric(const struct vv_load_result *r, struct vv_str name, double *ret)
{
    for (size_t i = 0; i < r->view.scenario_count; i++) {
        if (vv_str_eq(vv_str_from(r->view.scenario[i]), name)) {
            *ret = (double)r->users_by_scenario[i];
            return true;
        }
    }
    return false;
}

bool vv_load_metric(const struct vv_load_result *r, struct vv_str name, double *ret)
{
    struct vv_str rest = name, inner, what;
    for (size_t i = 0; i < VV_COUNT(plain); i++) {
        if (vv_str_eq(name, vv_str_from(plain[i].name))) {
            *ret = plain[i].value(r);
            return true;
        }
    }
    if (take(&rest, "http.codes.")) {
        return code_metric(r->codes, rest, ret);
    }
    if (take(&rest, "http.response_time.")) {
        return class_metric(r, rest, ret);
    }
    if (take(&rest, "errors.")) {
        *ret = named_count(r->error, r->error_count, rest);
        return rest.n > 0;
    }
    if (take(&rest, "vusers.created_by_name.")) {
        return scenario_metric(r, rest, ret);
    }
    if (take(&rest, "vusers.session_length.")) {
        return vv_load_hist_value(r->session, rest, ret);
    }
    if (take(&rest, "plugins.metrics-by-endpoint.response_time.")) {
        return cut_last(rest, &inner, &what) && endpoint_hist(r, inner, FIRST_BYTE, what, ret);
    }
    if (take(&rest, "plugins.metrics-by-endpoint.")) {
        return endpoint_count(r, rest, ret);
    }
    if (take(&rest, "plugins.expect.")) {
        return expect_metric(r, rest, ret);
    }
    if (take(&rest, "vivace.endpoint.")) {
        return endpoint_metric(r, rest, ret);
    }
    if (take(&rest, "vivace.service.") || take(&rest, "service.")) {
        return vv_load_hist_value(r->service, rest, ret);
    }
    if (take(&rest, "vivace.tls_connect.")) {
        return vv_load_hist_value(r->tls_connect, rest, ret);
    }
    /* What is left can only be a latency: "vivace.latency.p95", "latency.p95", "p95". */
    if (!take(&rest, "vivace.latency.")) {
        (void)take(&rest, "latency.");
    }
    return vv_load_hist_value(r->latency, rest, ret);
}

static bool is_one_of(struct vv_str name, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (vv_str_eq(name, vv_str_from(list[i]))) {
            return true;
        }
    }
    return false;
}

enum vv_load_unit vv_load_metric_unit(struct vv_str name)
{
    static const char *const rates[] = {"http.request_rate",    "vivace.offered_rate",
                                        "vivace.achieved_rate", "vivace.throughput",
                                        "throughput",           "rps"};
    static const char *const times[] = {"p50", "median", "p75", "p90",  "p95",
                                        "p99", "p999",   "min", "mean", "max"};
    struct vv_str head, last = name;
    if (is_one_of(name, rates, VV_COUNT(rates))) {
        return VV_LOAD_UNIT_RATE;
    }
    (void)cut_last(name, &head, &last);
    if (vv_str_eq(last, VV_STR("throughput"))) {
        return VV_LOAD_UNIT_RATE;
    }
    if (vv_str_eq(last, VV_STR("error_rate")) || vv_str_eq(last, VV_STR("errors")) ||
        vv_str_eq(last, VV_STR("success_rate")) || vv_str_eq(last, VV_STR("availability")) ||
        vv_str_eq(last, VV_STR("generator_cpu"))) {
        return VV_LOAD_UNIT_PERCENT;
    }
    if (is_one_of(last, times, VV_COUNT(times)) || vv_str_eq(last, VV_STR("late_max"))) {
        return VV_LOAD_UNIT_MS;
    }
    return VV_LOAD_UNIT_NONE;
}
