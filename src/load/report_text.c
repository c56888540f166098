/* src/load/report_text.c - the terminal: one refresh of the live view, and the block at the end. The
 * block begins with the eight lines of the first specification, word for word, because scripts read
 * them; what they leave out (corrected latency, the generator itself) follows. */
#include "load/report_int.h"
#include "wire/http1.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define RED "\033[31m"
#define GREEN "\033[32m"
#define YELLOW "\033[33m"
#define BOLD "\033[1m"
#define DIM "\033[2m"
#define PLAIN "\033[0m"
#define ENDPOINTS_MAX 40
#define BAR_MAX 60

static const char *paint(bool colour, const char *code)
{
    return colour ? code : "";
}

const char *vv_load_ms_text(double ms, char *buf)
{
    if (ms <= 0.0) {
        (void)snprintf(buf, VV_LOAD_TEXT, "0ms");
        return buf;
    }
    const bool seconds = ms >= 9999.5;
    const double v = seconds ? ms / 1000.0 : ms;
    const int digits = v >= 99.95 ? 0 : v >= 9.995 ? 1 : v >= 0.9995 ? 2 : 3;
    (void)snprintf(buf, VV_LOAD_TEXT, "%.*f%s", digits, v, seconds ? "s" : "ms");
    return buf;
}

const char *vv_load_number_text(double v, char *buf)
{
    const double size = fabs(v);
    if (size >= 1000.0 || v == floor(v)) {
        (void)snprintf(buf, VV_LOAD_TEXT, "%.0f", v);
    } else {
        (void)snprintf(buf, VV_LOAD_TEXT, "%.*f", size >= 10.0 ? 1 : 2, v);
    }
    return buf;
}

const char *vv_load_unit_text(double v, enum vv_load_unit unit, char *buf)
{
    if (unit == VV_LOAD_UNIT_MS) {
        /* A limit like 200 reads "200ms", not "200.0ms". */
        if (v == floor(v) && v < 1e6) {
            (void)snprintf(buf, VV_LOAD_TEXT, "%.0fms", v);
            return buf;
        }
        return vv_load_ms_text(v, buf);
    }
    if (unit == VV_LOAD_UNIT_PERCENT) {
        (void)snprintf(buf, VV_LOAD_TEXT, "%.3g%%", v);
        if (v >= 99.0 && v < 100.0) { /* nines are what availability is about */
            (void)snprintf(buf, VV_LOAD_TEXT, "%.5g%%", floor(v * 1000.0) / 1000.0);
        }
        return buf;
    }
    (void)vv_load_number_text(v, buf);
    if (unit == VV_LOAD_UNIT_RATE) {
        (void)strncat(buf, " req/s", VV_LOAD_TEXT - strlen(buf) - 1);
    }
    return buf;
}

double vv_load_value(const struct vv_load_result *r, const char *name)
{
    double v = 0.0;
    return vv_load_metric(r, vv_str_from(name), &v) ? v : 0.0;
}

/* Windows look at the end of each second; between two looks short users come and go, so what Little's
 * law says about the average is the least. */
uint64_t vv_load_users(const struct vv_load_result *r)
{
    uint64_t most = 0;
    for (size_t i = 0; r->closed && i < r->view.phase_count; i++) {
        most = vv_max_u64(most, vv_max_u64(r->view.phase[i].users, r->view.phase[i].users_to));
    }
    for (size_t i = 0; !r->closed && i < r->window_count; i++) {
        most = vv_max_u64(most, r->window[i].in_flight);
    }
    const double average =
        vv_load_value(r, "vusers.session_length.mean") / 1000.0 *
        (r->duration_ns > 0 ? (double)r->users_created * 1e9 / (double)r->duration_ns : 0.0);
    return r->closed ? most : vv_max_u64(most, (uint64_t)ceil(average));
}

uint64_t vv_load_planned_ns(const struct vv_load_result *r)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < r->view.phase_count; i++) {
        sum += r->view.phase[i].duration_ns;
    }
    return r->planned_ns > 0 ? r->planned_ns : sum; /* a run that is under way has none yet */
}

bool vv_load_passed(const struct vv_load_result *r, struct vv_load_judged j)
{
    for (size_t i = 0; i < j.count; i++) {
        if (j.verdict[i].gate->strict && !j.verdict[i].held) {
            return false;
        }
    }
    return r->invalid == NULL && r->answers > 0 && r->failed < r->requests;
}

const char *vv_load_code_text(unsigned code)
{
    return vv_h1_reason((int)code);
}

/* "http.response_time.p95" -> "Latency P95"; a name without a title stays as it is. */
static void title(struct vv_str metric, char *buf, size_t bytes)
{
    static const struct {
        const char *name, *title;
    } known[] = {{"error_rate", "Error Rate"},
                 {"vivace.error_rate", "Error Rate"},
                 {"success_rate", "Success Rate"},
                 {"vivace.success_rate", "Success Rate"},
                 {"availability", "Availability"},
                 {"throughput", "Throughput"},
                 {"rps", "Throughput"},
                 {"vivace.throughput", "Throughput"},
                 {"http.request_rate", "Throughput"}};
    static const struct {
        const char *prefix, *title;
    } latency[] = {{"http.response_time.", "Response time"},
                   {"vivace.latency.", "Latency"},
                   {"latency.", "Latency"},
                   {"vivace.service.", "Service time"},
                   {"service.", "Service time"},
                   {"", "Latency"}};
    for (size_t i = 0; i < VV_COUNT(known); i++) {
        if (vv_str_eq(metric, vv_str_from(known[i].name))) {
            (void)snprintf(buf, bytes, "%s", known[i].title);
            return;
        }
    }
    for (size_t i = 0; i < VV_COUNT(latency); i++) {
        const struct vv_str prefix = vv_str_from(latency[i].prefix);
        const struct vv_str rest = {metric.p + prefix.n, metric.n - vv_min_u64(prefix.n, metric.n)};
        if (vv_str_starts(metric, prefix) && rest.n > 0 && vv_str_find_char(rest, '.') < 0 &&
            vv_load_metric_unit(rest) == VV_LOAD_UNIT_MS) {
            (void)snprintf(buf, bytes, "%s %c" VV_STR_FMT, latency[i].title,
                           rest.p[0] == 'p' ? 'P' : rest.p[0], (int)rest.n - 1, rest.p + 1);
            return;
        }
    }
    (void)snprintf(buf, bytes, VV_STR_FMT, VV_STR_ARG(metric));
}

/* What the plan reader makes of Artillery's maxErrorRate: "Error Rate" and the rest of it, "<= 5". */
static bool is_error_rate(const char *expression, struct vv_load_gate_line *ret)
{
    static const char users[] = "(vusers.created - vusers.completed) / vusers.created * 100 ";
    if (strncmp(expression, users, sizeof users - 1) != 0) {
        return false;
    }
    (void)snprintf(ret->metric, sizeof ret->metric, "Error Rate");
    (void)snprintf(ret->target, sizeof ret->target, "%.80s%%", expression + sizeof users - 1);
    return true;
}

void vv_load_gate_line(const struct vv_load_verdict *v, struct vv_load_gate_line *ret)
{
    struct vv_load_gate_parts p;
    char buf[VV_LOAD_TEXT];
    if (is_error_rate(v->gate->expression, ret)) {
        (void)snprintf(ret->measured, sizeof ret->measured, "%s",
                       vv_load_unit_text(v->value, VV_LOAD_UNIT_PERCENT, buf));
        return;
    }
    if (!vv_load_gate_split(v->gate->expression, &p)) {
        (void)snprintf(ret->metric, sizeof ret->metric, "%s", v->gate->expression);
        (void)snprintf(ret->target, sizeof ret->target, "true");
        (void)snprintf(ret->measured, sizeof ret->measured, "%s",
                       !v->known ? "unknown metric"
                       : v->held ? "true"
                                 : "false");
        return;
    }
    const enum vv_load_unit unit = vv_load_metric_unit(p.metric);
    title(p.metric, ret->metric, sizeof ret->metric);
    (void)snprintf(ret->target, sizeof ret->target, VV_STR_FMT " %.80s", VV_STR_ARG(p.op),
                   vv_load_unit_text(p.limit, unit, buf));
    (void)snprintf(ret->measured, sizeof ret->measured, "%s",
                   v->known ? vv_load_unit_text(v->value, unit, buf) : "unknown metric");
}

/* ---- the block at the end ---- */

static void block(const struct vv_load_result *r, struct vv_sb *out)
{
    char buf[VV_LOAD_TEXT];
    vv_sb_adds(out, "\xF0\x9F\x93\x8A Load Test Results:\n"
                    "==================================================\n");
    vv_sb_addf(out, "Total Requests: %llu\n", (unsigned long long)r->requests);
    vv_sb_addf(out, "Success Rate: %.1f%%\n",
               floor(vv_load_value(r, "success_rate") * 10.0 + 1e-9) / 10.0);
    vv_sb_addf(out, "Average Response Time: %s\n",
               vv_load_ms_text(vv_load_value(r, "vivace.latency.mean"), buf));
    vv_sb_addf(out, "P95 Response Time: %s\n",
               vv_load_ms_text(vv_load_value(r, "vivace.latency.p95"), buf));
    vv_sb_addf(out, "P99 Response Time: %s\n",
               vv_load_ms_text(vv_load_value(r, "vivace.latency.p99"), buf));
    vv_sb_addf(out, "Requests/Second: %.1f\n", vv_load_value(r, "http.request_rate"));
    vv_sb_addf(out, "Concurrent Users: %llu\n", (unsigned long long)vv_load_users(r));
}

static void latencies(const struct vv_load_result *r, bool colour, struct vv_sb *out)
{
    static const char *const columns[] = {"p50", "p75", "p90", "p95", "p99", "p999", "max"};
    static const struct {
        const char *name, *text;
    } rows[] = {{"vivace.latency.", "from the intended start"},
                {"vivace.service.", "from the actual send"},
                {"http.response_time.", "to the first byte"},
                {"vivace.tls_connect.", "to connect, with TLS"}};
    vv_sb_addf(out, "\n%s%-24s", paint(colour, BOLD), "Latency");
    for (size_t c = 0; c < VV_COUNT(columns); c++) {
        vv_sb_addf(out, " %9s", columns[c]);
    }
    vv_sb_addf(out, "%s\n", paint(colour, PLAIN));
    for (size_t i = r->closed ? 1 : 0; i < VV_COUNT(rows) - (r->tls_handshakes == 0); i++) {
        vv_sb_addf(out, "%-24s", rows[i].text);
        for (size_t c = 0; c < VV_COUNT(columns); c++) {
            char name[64], buf[VV_LOAD_TEXT];
            double v;
            (void)snprintf(name, sizeof name, "%s%s", rows[i].name, columns[c]);
            vv_sb_addf(out, " %9s",
                       vv_load_metric(r, vv_str_from(name), &v) ? vv_load_ms_text(v, buf) : "-");
        }
        vv_sb_addc(out, '\n');
    }
    if (r->closed) {
        vv_sb_adds(out, "closed model: latency is not corrected\n");
    }
}

static void codes_and_errors(const struct vv_load_result *r, bool colour, struct vv_sb *out)
{
    vv_sb_adds(out, "\nAnswers: ");
    bool any = false;
    for (unsigned c = 100; c < 600; c++) {
        if (r->codes[c] > 0) {
            vv_sb_addf(out, "%s%u %s: %llu", any ? ", " : "", c, vv_load_code_text(c),
                       (unsigned long long)r->codes[c]);
            any = true;
        }
    }
    vv_sb_adds(out, any ? "\n" : "none\n");
    for (size_t i = 0; i < r->error_count; i++) {
        vv_sb_addf(out, "%sError %.31s: %llu%s\n", paint(colour, RED), r->error[i].name,
                   (unsigned long long)r->error[i].count, paint(colour, PLAIN));
    }
    if (r->tls_error[0] != '\0') {
        vv_sb_addf(out, "TLS failed first with: %s\n", r->tls_error);
    }
}

static void endpoints(const struct vv_load_result *r, bool colour, struct vv_sb *out)
{
    static const char *const columns[] = {"p50", "p95", "p99"};
    if (r->view.endpoint_count < 2) {
        return;
    }
    vv_sb_addf(out, "\n%s%-44s %10s %8s %9s %9s %9s%s\n", paint(colour, BOLD), "Endpoint",
               "requests", "failed", "p50", "p95", "p99", paint(colour, PLAIN));
    for (size_t i = 0; i < r->view.endpoint_count && i < ENDPOINTS_MAX; i++) {
        const struct vv_load_endpoint *e = &r->view.endpoint[i];
        const struct vv_load_endpoint_result *er = &r->endpoint[i];
        char name[256];
        (void)snprintf(name, sizeof name, "%s %s", e->method, e->name);
        vv_sb_addf(out, "%-44.44s %10llu %8llu", name, (unsigned long long)er->requests,
                   (unsigned long long)er->failed);
        for (size_t c = 0; c < VV_COUNT(columns); c++) {
            char buf[VV_LOAD_TEXT];
            double v;
            const bool has = vv_load_hist_value(er->latency, vv_str_from(columns[c]), &v);
            vv_sb_addf(out, " %9s", has ? vv_load_ms_text(v, buf) : "-");
        }
        vv_sb_addc(out, '\n');
    }
    if (r->view.endpoint_count > ENDPOINTS_MAX) {
        vv_sb_addf(out, "... and %zu more\n", r->view.endpoint_count - ENDPOINTS_MAX);
    }
}

static void generator(const struct vv_load_result *r, bool colour, struct vv_sb *out)
{
    char a[VV_LOAD_TEXT], b[VV_LOAD_TEXT], late[VV_LOAD_TEXT];
    if (r->closed) {
        vv_sb_addf(out, "\nUsers: %llu runs, %llu finished, %llu failed in %s\n",
                   (unsigned long long)r->users_created, (unsigned long long)r->users_completed,
                   (unsigned long long)r->users_failed,
                   vv_load_ms_text((double)r->duration_ns / 1e6, a));
    } else {
        vv_sb_addf(out,
                   "\nArrivals: %llu offered (%s/s), %llu started (%s/s), %llu skipped; %llu users "
                   "failed\n",
                   (unsigned long long)r->offered,
                   vv_load_number_text(vv_load_value(r, "vivace.offered_rate"), a),
                   (unsigned long long)r->users_created,
                   vv_load_number_text(vv_load_value(r, "vivace.achieved_rate"), b),
                   (unsigned long long)r->users_skipped, (unsigned long long)r->users_failed);
    }
    vv_sb_addf(out,
               "Generator: %u thread%s, %.0f%% of %s busy, %llu connections, %llu late starts "
               "(worst %s)\n",
               r->threads, r->threads == 1 ? "" : "s", vv_load_value(r, "vivace.generator_cpu"),
               r->threads == 1 ? "it" : "them", (unsigned long long)r->connections,
               (unsigned long long)r->late, vv_load_ms_text((double)r->late_max_ns / 1e6, late));
    if (r->tls_handshakes > 0) {
        vv_sb_addf(out, "TLS: %llu handshakes, %llu of them resumed\n",
                   (unsigned long long)r->tls_handshakes, (unsigned long long)r->tls_resumed);
    }
    if (r->interrupted) {
        vv_sb_addf(out, "%sInterrupted: what was measured until then.%s\n", paint(colour, YELLOW),
                   paint(colour, PLAIN));
    }
    if (r->invalid != NULL) {
        vv_sb_addf(out, "%sINVALID: %s%s\n", paint(colour, RED), r->invalid, paint(colour, PLAIN));
    }
}

static void targets(struct vv_load_judged j, struct vv_sb *out)
{
    if (j.count == 0) {
        return;
    }
    vv_sb_adds(out, "\n| Metric | Target | Measured |\n|---|---|---|\n");
    for (size_t i = 0; i < j.count; i++) {
        struct vv_load_gate_line line;
        const struct vv_load_verdict *v = &j.verdict[i];
        vv_load_gate_line(v, &line);
        vv_sb_addf(out, "| **%s** | %s | %s %s%s |\n", line.metric, line.target, line.measured,
                   v->held ? "\xE2\x9C\x85" : "\xE2\x9D\x8C",
                   v->gate->strict ? "" : " (not strict)");
    }
}

void vv_load_report_text(const struct vv_load_result *r, struct vv_load_judged j, bool colour,
                         struct vv_sb *out)
{
    block(r, out);
    latencies(r, colour, out);
    codes_and_errors(r, colour, out);
    endpoints(r, colour, out);
    generator(r, colour, out);
    targets(j, out);
    vv_sb_adds(out, vv_load_passed(r, j) ? "\n\xE2\x9C\x85 Load test passed!\n"
                                         : "\n\xE2\x9D\x8C Load test failed!\n");
    if (r->requests > 0 && (r->answers == 0 || r->failed >= r->requests)) {
        vv_sb_adds(out, "Not one request succeeded.\n");
    }
}

/* ---- live ---- */

static void bar(double share, unsigned width, struct vv_sb *out)
{
    const unsigned full = (unsigned)(share * (double)width + 0.5);
    for (unsigned i = 0; i < width; i++) {
        vv_sb_adds(out, i < full ? "\xE2\x96\x88" : "\xE2\x96\x91");
    }
}

static const char *phase_name(const struct vv_load_result *r, uint64_t at_ns, char *buf)
{
    uint64_t end = 0;
    for (size_t i = 0; i < r->view.phase_count; i++) {
        end += r->view.phase[i].duration_ns;
        if (at_ns < end || i + 1 == r->view.phase_count) {
            (void)snprintf(buf, VV_LOAD_TEXT, "%zu/%zu %.60s", i + 1, r->view.phase_count,
                           r->view.phase[i].name != NULL ? r->view.phase[i].name : "");
            return buf;
        }
    }
    buf[0] = '\0';
    return buf;
}

static const struct vv_load_window *last_window(const struct vv_load_result *r)
{
    static const struct vv_load_window none;
    return r->window_count > 0 ? &r->window[r->window_count - 1] : &none;
}

static void live_line(const struct vv_load_result *r, struct vv_sb *out)
{
    const struct vv_load_window *w = last_window(r);
    char p50[VV_LOAD_TEXT], p95[VV_LOAD_TEXT], p99[VV_LOAD_TEXT];
    vv_sb_addf(out,
               "%4.0fs of %.0fs  offered %llu/s  done %llu/s  in flight %llu  late %llu  failed "
               "%llu  p50 %s  p95 %s  p99 %s\n",
               (double)r->duration_ns / 1e9, (double)vv_load_planned_ns(r) / 1e9,
               (unsigned long long)w->offered, (unsigned long long)w->completed,
               (unsigned long long)w->in_flight, (unsigned long long)w->late,
               (unsigned long long)w->failed, vv_load_ms_text((double)w->p50_ns / 1e6, p50),
               vv_load_ms_text((double)w->p95_ns / 1e6, p95),
               vv_load_ms_text((double)w->p99_ns / 1e6, p99));
}

static void live_error(const struct vv_load_result *r, bool colour, struct vv_sb *out)
{
    size_t top = 0;
    for (size_t i = 1; i < r->error_count; i++) {
        top = r->error[i].count > r->error[top].count ? i : top;
    }
    vv_sb_addf(out, "errors     %s%llu failed (%.2f%%)%s",
               paint(colour, r->failed > 0 ? RED : GREEN), (unsigned long long)r->failed,
               vv_load_value(r, "error_rate"), paint(colour, PLAIN));
    if (r->error_count > 0) {
        vv_sb_addf(out, ", most often %.31s: %llu", r->error[top].name,
                   (unsigned long long)r->error[top].count);
    }
    vv_sb_addc(out, '\n');
}

void vv_load_report_live(const struct vv_load_result *r, unsigned columns, bool colour,
                         struct vv_sb *out)
{
    if (columns == 0) {
        live_line(r, out);
        return;
    }
    const struct vv_load_window *w = last_window(r);
    const double planned_ns = (double)vv_load_planned_ns(r);
    const double share = planned_ns > 0.0 ? fmin(1.0, (double)r->duration_ns / planned_ns) : 0.0;
    const unsigned width = (unsigned)vv_min_u64(columns > 40 ? columns - 30 : 10, BAR_MAX);
    char a[VV_LOAD_TEXT], b[VV_LOAD_TEXT], c[VV_LOAD_TEXT], d[VV_LOAD_TEXT];
    vv_sb_addf(out, "%s", paint(colour, BOLD));
    bar(share, width, out);
    vv_sb_addf(out, "%s %3.0f%%  %.0fs / %.0fs\n", paint(colour, PLAIN), 100.0 * share,
               (double)r->duration_ns / 1e9, planned_ns / 1e9);
    vv_sb_addf(out, "phase      %s\n", phase_name(r, r->duration_ns, a));
    vv_sb_addf(out, "rate       %llu/s offered, %llu/s started, %llu/s done\n",
               (unsigned long long)w->offered, (unsigned long long)w->started,
               (unsigned long long)w->completed);
    vv_sb_addf(out, "users      %llu in flight, %s%llu late starts%s so far\n",
               (unsigned long long)w->in_flight, paint(colour, r->late > 0 ? YELLOW : DIM),
               (unsigned long long)r->late, paint(colour, PLAIN));
    vv_sb_addf(
        out, "last 1s    p50 %s, p95 %s, p99 %s, max %s\n",
        vv_load_ms_text((double)w->p50_ns / 1e6, a), vv_load_ms_text((double)w->p95_ns / 1e6, b),
        vv_load_ms_text((double)w->p99_ns / 1e6, c), vv_load_ms_text((double)w->max_ns / 1e6, d));
    vv_sb_addf(
        out, "all        p50 %s, p95 %s, p99 %s, max %s\n",
        vv_load_ms_text(vv_load_value(r, "p50"), a), vv_load_ms_text(vv_load_value(r, "p95"), b),
        vv_load_ms_text(vv_load_value(r, "p99"), c), vv_load_ms_text(vv_load_value(r, "max"), d));
    live_error(r, colour, out);
}
