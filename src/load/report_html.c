/* src/load/report_html.c - one file without scripts or network: the charts are drawn here as SVG, so
 * the page prints, opens from a mail, and needs no policy exceptions. Colours are variables that follow
 * the reader's light or dark setting; print is always light. */
#include "load/report_int.h"

#include <math.h>
#include <stdlib.h>

#define WIDTH 860.0
#define HEIGHT 240.0
#define LEFT 64.0
#define RIGHT 12.0
#define TOP 12.0
#define BOTTOM 30.0
#define POINTS_MAX 600 /* more windows are drawn as the largest of each group */
#define BARS_MAX 80

static const char style[] =
    "<style>\n"
    ":root{--bg:#fff;--fg:#1c2330;--dim:#68748a;--line:#dde3ec;--card:#f6f8fb;--a:#2563c9;"
    "--b:#c2710c;--c:#b3261e;--good:#1a7f4b;--bad:#b3261e;color-scheme:light dark}\n"
    "@media (prefers-color-scheme:dark){:root{--bg:#12161d;--fg:#e4e9f1;--dim:#93a0b5;"
    "--line:#2b3442;--card:#1a202a;--a:#6aa5ff;--b:#f0a854;--c:#ff7b72;--good:#4cc38a;"
    "--bad:#ff7b72}}\n"
    "@media print{:root{--bg:#fff;--fg:#000;--dim:#444;--line:#bbb;--card:#fff;--a:#2563c9;"
    "--b:#c2710c;--c:#b3261e;--good:#1a7f4b;--bad:#b3261e}section{break-inside:avoid}}\n"
    "body{background:var(--bg);color:var(--fg);font:15px/1.5 system-ui,sans-serif;"
    "max-width:900px;margin:2rem auto;padding:0 1rem}\n"
    "h1{font-size:1.5rem;margin:0}h2{font-size:1.05rem;margin:2rem 0 .5rem}\n"
    ".dim{color:var(--dim)}.good{color:var(--good)}.bad{color:var(--bad)}\n"
    ".cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(130px,1fr));gap:.6rem;"
    "margin:1.2rem 0}\n"
    ".cards div{background:var(--card);border:1px solid var(--line);border-radius:8px;"
    "padding:.6rem .8rem}.cards b{display:block;font-size:1.25rem;font-variant-numeric:"
    "tabular-nums}\n"
    "table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}"
    "th,td{border-bottom:1px solid var(--line);padding:.3rem .5rem;text-align:right}"
    "th:first-child,td:first-child{text-align:left;overflow-wrap:anywhere}\n"
    "svg{width:100%;height:auto;display:block}svg text{fill:var(--dim);font-size:12px}"
    ".grid{stroke:var(--line)}.s{fill:none;stroke-width:1.8;stroke-linejoin:round}"
    ".s0{stroke:var(--a)}.s1{stroke:var(--b)}.s2{stroke:var(--c)}"
    ".f0{fill:var(--a)}.f1{fill:var(--b)}.f2{fill:var(--c)}\n"
    ".key span{margin-right:1.2rem}.key i{display:inline-block;width:.8em;height:.8em;"
    "border-radius:2px;margin-right:.4em}"
    ".key .k0{background:var(--a)}.key .k1{background:var(--b)}.key .k2{background:var(--c)}\n"
    "</style>\n";

/* ---- axes ---- */

/* The smallest of 1, 2, 5 times a power of ten that makes at most `most` steps. */
static double step_for(double span, double most)
{
    const double raw = span / most;
    const double power = pow(10.0, floor(log10(raw > 0.0 ? raw : 1.0)));
    const double f = raw / power;
    return power * (f <= 1.0 ? 1.0 : f <= 2.0 ? 2.0 : f <= 5.0 ? 5.0 : 10.0);
}

static double y_at(double v, double top)
{
    return TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - (top > 0.0 ? fmin(v / top, 1.0) : 0.0));
}

static double x_at(double v, double end)
{
    return LEFT + (WIDTH - LEFT - RIGHT) * (end > 0.0 ? v / end : 0.0);
}

static void open_svg(struct vv_sb *out, const char *label)
{
    vv_sb_addf(out, "<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-label=\"%s\">\n", WIDTH,
               HEIGHT, label);
}

static void y_axis(struct vv_sb *out, double top, bool ms)
{
    const double step = step_for(top, 5.0);
    const unsigned lines = (unsigned)(top * 1.0001 / step);
    for (unsigned i = 0; i <= lines; i++) {
        const double v = (double)i * step;
        char buf[VV_LOAD_TEXT];
        const double y = y_at(v, top);
        vv_sb_addf(out,
                   "<line class=\"grid\" x1=\"%.0f\" x2=\"%.0f\" y1=\"%.1f\" y2=\"%.1f\"/>"
                   "<text x=\"%.0f\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n",
                   LEFT, WIDTH - RIGHT, y, y, LEFT - 6.0, y + 4.0,
                   vv_load_unit_text(v, ms ? VV_LOAD_UNIT_MS : VV_LOAD_UNIT_NONE, buf));
    }
}

static void x_axis(struct vv_sb *out, double end_s)
{
    const double step = fmax(1.0, step_for(end_s, 10.0));
    const unsigned marks = (unsigned)(end_s * 1.0001 / step);
    for (unsigned i = 0; i <= marks; i++) {
        const double v = (double)i * step;
        vv_sb_addf(out, "<text x=\"%.1f\" y=\"%.0f\" text-anchor=\"middle\">%.0fs</text>\n",
                   x_at(v, end_s), HEIGHT - 8.0, v);
    }
}

/* ---- lines over time ---- */

struct line {
    const char *name;
    size_t offset; /* in struct vv_load_window */
};

static double window_value(const struct vv_load_window *w, size_t offset)
{
    uint64_t v;
    memcpy(&v, (const char *)w + offset, sizeof v);
    return (double)v;
}

static void key(struct vv_sb *out, const struct line *lines, size_t count)
{
    vv_sb_adds(out, "<p class=\"key\">");
    for (size_t i = 0; i < count; i++) {
        vv_sb_addf(out, "<span><i class=\"k%zu\"></i>%s</span>", i, lines[i].name);
    }
    vv_sb_adds(out, "</p>\n");
}

static void over_time(struct vv_sb *out, const struct vv_load_result *r, const char *title,
                      const struct line *lines, size_t count, bool ms)
{
    const double factor = ms ? 1e-6 : 1.0;
    const size_t group = r->window_count / POINTS_MAX + 1;
    double top = 0.0;
    for (size_t i = 0; i < r->window_count; i++) {
        for (size_t k = 0; k < count; k++) {
            top = fmax(top, window_value(&r->window[i], lines[k].offset) * factor);
        }
    }
    const double step = step_for(top > 0.0 ? top : 1.0, 5.0);
    top = ceil((top > 0.0 ? top : 1.0) / step) * step;
    const double end_s = r->window_count > 0
                             ? fmax(1.0, (double)r->window[r->window_count - 1].at_ns / 1e9 + 1.0)
                             : 1.0;
    vv_sb_addf(out, "<section><h2>%s</h2>\n", title);
    key(out, lines, count);
    open_svg(out, title);
    y_axis(out, top, ms);
    x_axis(out, end_s);
    for (size_t k = 0; k < count; k++) {
        vv_sb_addf(out, "<polyline class=\"s s%zu\" points=\"", k);
        for (size_t i = 0; i < r->window_count; i += group) {
            double most = 0.0;
            for (size_t g = i; g < r->window_count && g < i + group; g++) {
                most = fmax(most, window_value(&r->window[g], lines[k].offset) * factor);
            }
            vv_sb_addf(out, "%.1f,%.1f ", x_at((double)r->window[i].at_ns / 1e9 + 0.5, end_s),
                       y_at(most, top));
        }
        vv_sb_adds(out, "\"/>\n");
    }
    vv_sb_adds(out, "</svg></section>\n");
}

/* ---- histogram: equal steps of the logarithm ---- */

struct bars {
    double from, to; /* log10 of ms */
    double count[BARS_MAX];
};

static void into_bars(void *ctx, uint64_t from_ns, uint64_t to_ns, uint64_t count)
{
    struct bars *b = ctx;
    const double middle = log10(fmax(((double)from_ns + (double)to_ns) / 2e6, 1e-6));
    const double share = (middle - b->from) / (b->to - b->from);
    const double at = floor(share * BARS_MAX);
    b->count[(size_t)fmin(fmax(at, 0.0), BARS_MAX - 1)] += (double)count;
}

static void histogram(struct vv_sb *out, const struct vv_load_result *r)
{
    if (vv_load_hist_count(r->latency) == 0) {
        return;
    }
    struct bars b = {.from = log10(fmax((double)vv_load_hist_min(r->latency) / 1e6, 1e-3)),
                     .to = log10(fmax((double)vv_load_hist_max(r->latency) / 1e6, 1e-3))};
    double top = 0.0;
    b.to = fmax(b.to, b.from + 0.05);
    vv_load_hist_each(r->latency, into_bars, &b);
    for (size_t i = 0; i < BARS_MAX; i++) {
        top = fmax(top, b.count[i]);
    }
    vv_sb_adds(out, "<section><h2>Distribution of latency (logarithmic)</h2>\n");
    open_svg(out, "Distribution of latency");
    y_axis(out, top, false);
    const double width = (WIDTH - LEFT - RIGHT) / BARS_MAX;
    for (size_t i = 0; i < BARS_MAX; i++) {
        char buf[VV_LOAD_TEXT];
        const double y = y_at(b.count[i], top);
        const double ms = pow(10.0, b.from + (b.to - b.from) * ((double)i + 0.5) / BARS_MAX);
        if (b.count[i] > 0.0) {
            vv_sb_addf(out,
                       "<rect class=\"f0\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\">"
                       "<title>about %s: %.0f</title></rect>\n",
                       LEFT + width * (double)i, y, width - 0.8, HEIGHT - BOTTOM - y,
                       vv_load_ms_text(ms, buf), b.count[i]);
        }
    }
    for (int i = 0; i <= 6; i++) {
        char buf[VV_LOAD_TEXT];
        const double share = i / 6.0;
        vv_sb_addf(out, "<text x=\"%.1f\" y=\"%.0f\" text-anchor=\"%s\">%s</text>\n",
                   LEFT + (WIDTH - LEFT - RIGHT) * share, HEIGHT - 8.0,
                   i == 0   ? "start"
                   : i == 6 ? "end"
                            : "middle",
                   vv_load_ms_text(pow(10.0, b.from + (b.to - b.from) * share), buf));
    }
    vv_sb_adds(out, "</svg></section>\n");
}

/* ---- tables ---- */

static void card(struct vv_sb *out, const char *name, const char *value)
{
    vv_sb_addf(out, "<div><span class=\"dim\">%s</span><b>%s</b></div>\n", name, value);
}

static void head(struct vv_sb *out, const struct vv_load_result *r, struct vv_load_judged j)
{
    const bool passed = vv_load_passed(r, j);
    char buf[VV_LOAD_TEXT];
    vv_sb_adds(out,
               "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
               "<meta name=\"viewport\" content=\"width=device-width\">\n<title>Load test of ");
    vv_sb_add_markup(out, r->view.target != NULL ? r->view.target : "");
    vv_sb_adds(out, "</title>\n");
    vv_sb_adds(out, style);
    vv_sb_adds(out, "</head><body>\n<h1>Load test of ");
    vv_sb_add_markup(out, r->view.target != NULL ? r->view.target : "");
    vv_sb_addf(out, "</h1>\n<p id=\"verdict\" class=\"%s\">%s</p>\n", passed ? "good" : "bad",
               passed ? "\xE2\x9C\x85 Load test passed" : "\xE2\x9D\x8C Load test failed");
    if (r->invalid != NULL) {
        vv_sb_adds(out, "<p class=\"bad\">Invalid: ");
        vv_sb_add_markup(out, r->invalid);
        vv_sb_adds(out, "</p>\n");
    }
    vv_sb_adds(out, "<div class=\"cards\">\n");
    card(out, "requests", vv_load_number_text((double)r->requests, buf));
    card(out, "success",
         vv_load_unit_text(vv_load_value(r, "success_rate"), VV_LOAD_UNIT_PERCENT, buf));
    card(out, "requests/s", vv_load_number_text(vv_load_value(r, "http.request_rate"), buf));
    card(out, "mean", vv_load_ms_text(vv_load_value(r, "mean"), buf));
    card(out, "p95", vv_load_ms_text(vv_load_value(r, "p95"), buf));
    card(out, "p99", vv_load_ms_text(vv_load_value(r, "p99"), buf));
    card(out, "users at once", vv_load_number_text((double)vv_load_users(r), buf));
    card(out, "late starts", vv_load_number_text((double)r->late, buf));
    vv_sb_adds(out, "</div>\n");
    if (r->closed) {
        vv_sb_adds(out, "<p class=\"dim\">Closed model: latency is not corrected.</p>\n");
    }
}

static void targets(struct vv_sb *out, struct vv_load_judged j)
{
    if (j.count == 0) {
        return;
    }
    vv_sb_adds(out, "<section><h2>Targets</h2><table><tr><th>Metric</th><th>Target</th>"
                    "<th>Measured</th><th></th></tr>\n");
    for (size_t i = 0; i < j.count; i++) {
        struct vv_load_gate_line line;
        const struct vv_load_verdict *v = &j.verdict[i];
        vv_load_gate_line(v, &line);
        vv_sb_adds(out, "<tr><td>");
        vv_sb_add_markup(out, line.metric);
        vv_sb_adds(out, "</td><td>");
        vv_sb_add_markup(out, line.target);
        vv_sb_adds(out, "</td><td>");
        vv_sb_add_markup(out, line.measured);
        vv_sb_addf(out, "</td><td class=\"%s\">%s%s</td></tr>\n", v->held ? "good" : "bad",
                   v->held ? "\xE2\x9C\x93 held" : "\xE2\x9C\x97 missed",
                   v->gate->strict ? "" : " (not strict)");
    }
    vv_sb_adds(out, "</table></section>\n");
}

static void latency_row(struct vv_sb *out, const char *name, const struct vv_load_hist *h)
{
    static const char *const columns[] = {"p50", "p90", "p95", "p99", "p999", "max"};
    vv_sb_addf(out, "<tr><td>%s</td>", name);
    for (size_t i = 0; i < VV_COUNT(columns); i++) {
        char buf[VV_LOAD_TEXT];
        double v;
        const bool has = vv_load_hist_value(h, vv_str_from(columns[i]), &v);
        vv_sb_addf(out, "<td>%s</td>", has ? vv_load_ms_text(v, buf) : "-");
    }
    vv_sb_adds(out, "</tr>\n");
}

static void codes(struct vv_sb *out, const struct vv_load_result *r)
{
    double top = 1.0;
    for (unsigned c = 100; c < 600; c++) {
        top = fmax(top, (double)r->codes[c]);
    }
    vv_sb_adds(out, "<section><h2>Answers</h2><table id=\"codes\">\n");
    for (unsigned c = 100; c < 600; c++) {
        if (r->codes[c] > 0) {
            vv_sb_addf(out,
                       "<tr><td>%u %s</td><td>%llu</td><td style=\"width:50%%\"><svg viewBox=\"0 0 "
                       "100 4\" preserveAspectRatio=\"none\" style=\"height:.7em\" "
                       "aria-hidden=\"true\"><rect class=\"f%d\" width=\"%.2f\" height=\"4\"/>"
                       "</svg></td></tr>\n",
                       c, vv_load_code_text(c), (unsigned long long)r->codes[c],
                       c >= 500   ? 2
                       : c >= 400 ? 1
                                  : 0,
                       fmax(0.4, 100.0 * (double)r->codes[c] / top));
        }
    }
    for (size_t i = 0; i < r->error_count; i++) {
        vv_sb_adds(out, "<tr class=\"bad\"><td>");
        vv_sb_add_markup(out, r->error[i].name);
        vv_sb_addf(out, "</td><td>%llu</td><td></td></tr>\n",
                   (unsigned long long)r->error[i].count);
    }
    vv_sb_adds(out, "</table>\n");
    if (r->tls_error[0] != '\0') {
        vv_sb_adds(out, "<p>TLS failed first with: ");
        vv_sb_add_markup(out, r->tls_error);
        vv_sb_adds(out, "</p>\n");
    }
    vv_sb_adds(out, "</section>\n");
}

static void endpoints(struct vv_sb *out, const struct vv_load_result *r)
{
    vv_sb_adds(out, "<section><h2>Endpoints</h2><table><tr><th>Endpoint</th><th>requests</th>"
                    "<th>failed</th><th>p50</th><th>p95</th><th>p99</th></tr>\n");
    for (size_t i = 0; i < r->view.endpoint_count; i++) {
        static const char *const columns[] = {"p50", "p95", "p99"};
        vv_sb_adds(out, "<tr><td>");
        vv_sb_add_markup(out, r->view.endpoint[i].method);
        vv_sb_addc(out, ' ');
        vv_sb_add_markup(out, r->view.endpoint[i].name);
        vv_sb_addf(out, "</td><td>%llu</td><td>%llu</td>",
                   (unsigned long long)r->endpoint[i].requests,
                   (unsigned long long)r->endpoint[i].failed);
        for (size_t k = 0; k < VV_COUNT(columns); k++) {
            char buf[VV_LOAD_TEXT];
            double v;
            const bool has =
                vv_load_hist_value(r->endpoint[i].latency, vv_str_from(columns[k]), &v);
            vv_sb_addf(out, "<td>%s</td>", has ? vv_load_ms_text(v, buf) : "-");
        }
        vv_sb_adds(out, "</tr>\n");
    }
    vv_sb_adds(out, "</table></section>\n");
}

void vv_load_report_html(const struct vv_load_result *r, struct vv_load_judged j, struct vv_sb *out)
{
    static const struct line latency[] = {{"p50", offsetof(struct vv_load_window, p50_ns)},
                                          {"p95", offsetof(struct vv_load_window, p95_ns)},
                                          {"p99", offsetof(struct vv_load_window, p99_ns)}};
    static const struct line rates[] = {{"done", offsetof(struct vv_load_window, completed)},
                                        {"offered", offsetof(struct vv_load_window, offered)},
                                        {"failed", offsetof(struct vv_load_window, failed)}};
    static const struct line flight[] = {{"in flight", offsetof(struct vv_load_window, in_flight)},
                                         {"late starts", offsetof(struct vv_load_window, late)}};
    char buf[VV_LOAD_TEXT];
    head(out, r, j);
    targets(out, j);
    over_time(out, r, "Latency over time", latency, VV_COUNT(latency), true);
    over_time(out, r, "Rate: offered and achieved", rates, VV_COUNT(rates), false);
    over_time(out, r, "Users in flight", flight, VV_COUNT(flight), false);
    histogram(out, r);
    vv_sb_adds(out, "<section><h2>Latency</h2><table><tr><th></th><th>p50</th><th>p90</th>"
                    "<th>p95</th><th>p99</th><th>p99.9</th><th>max</th></tr>\n");
    latency_row(out, "from the intended start", r->latency);
    latency_row(out, "from the actual send", r->service);
    latency_row(out, "to the first byte", r->first_byte);
    if (r->tls_handshakes > 0) {
        latency_row(out, "to connect, with TLS", r->tls_connect);
    }
    vv_sb_adds(out, "</table></section>\n");
    codes(out, r);
    endpoints(out, r);
    vv_sb_addf(out, "<p class=\"dim\">Generator: %u threads, %.0f %% busy, ", r->threads,
               vv_load_value(r, "vivace.generator_cpu"));
    vv_sb_addf(out, "%llu connections, latest start %s after its time.</p>\n</body></html>\n",
               (unsigned long long)r->connections,
               vv_load_ms_text((double)r->late_max_ns / 1e6, buf));
}
