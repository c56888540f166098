/* src/admin/page.c - the page at "/": what an operator wants first, readable without a script, from
 * this process alone. It loads itself again every two seconds. */
#include "admin/admin_int.h"
#include "gateway/caches.h"

#include <unistd.h>

static const char style[] =
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%;margin:0 0 1.5rem}"
    "th,td{text-align:right;padding:.25rem .6rem;border-bottom:1px solid #8884}"
    "th:first-child,td:first-child{text-align:left}h1{font-size:1.5rem}h2{font-size:1.1rem}"
    "code{font-size:.95em}";

static void traffic_row(struct vv_admin *a, struct vv_sb *out, const char *title, const char *route,
                        const char *service)
{
    struct vv_history_sum s = {0};
    vv_history_sum(a->o.history, route, service, 10, &s);
    const double span = s.seconds > 0 ? (double)s.seconds : 1.0;
    const double errors = s.requests > 0 ? 100.0 * (double)s.errors_5xx / (double)s.requests : 0.0;
    vv_sb_adds(out, "<tr><td>");
    vv_sb_add_markup(out, title);
    vv_sb_addf(out,
               "</td><td>%.1f</td><td>%.2f %%</td><td>%.1f</td><td>%.1f</td><td>%.1f</td></tr>",
               (double)s.requests / span, errors, (double)s.p50_ns / 1e6, (double)s.p95_ns / 1e6,
               (double)s.p99_ns / 1e6);
}

static void table_head(struct vv_sb *out, const char *title, const char *what)
{
    vv_sb_addf(out,
               "<h2>%s</h2><table><tr><th>%s</th><th>requests/s</th><th>5xx</th>"
               "<th>p50 ms</th><th>p95 ms</th><th>p99 ms</th></tr>",
               title, what);
}

static void tables(struct vv_admin *a, struct vv_sb *out)
{
    const struct vv_settings *s = vv_gateway_settings(a->o.gateway);
    table_head(out, "The last ten seconds", "gateway");
    traffic_row(a, out, "everything", NULL, NULL);
    vv_sb_adds(out, "</table>");
    table_head(out, "Routes", "route");
    for (size_t i = 0; s->routes != NULL && i < s->routes->count && i < 100; i++) {
        const struct vv_route_settings *r = s->routes->item[i];
        traffic_row(a, out, r->name, r->name, NULL);
    }
    vv_sb_adds(out, "</table>");
    table_head(out, "Services", "service");
    for (size_t i = 0; s->services != NULL && i < s->services->count && i < 100; i++) {
        const struct vv_service_settings *v = s->services->item[i];
        traffic_row(a, out, v->name, NULL, v->name);
    }
    vv_sb_adds(out, "</table>");
}

static void caches(struct vv_admin *a, struct vv_sb *out)
{
    struct vv_caches *cs = vv_gateway_caches(a->o.gateway);
    struct vv_named_cache *c = vv_caches_next(cs, NULL);
    if (c == NULL) {
        return;
    }
    vv_sb_adds(out, "<h2>Caches</h2><table><tr><th>cache</th><th>hits</th><th>requests</th>"
                    "<th>entries</th><th>used MB</th><th>of MB</th></tr>");
    for (size_t i = 0; c != NULL && i < 100; c = vv_caches_next(cs, c), i++) {
        struct vv_cache_stats s;
        uint64_t all, held;
        vv_cache_stats(c->memory, &s);
        vv_caches_answered(c, &all, &held);
        vv_sb_adds(out, "<tr><td>");
        vv_sb_add_markup(out, c->name);
        vv_sb_addf(out,
                   "</td><td>%.1f %%</td><td>%llu</td><td>%llu</td><td>%.1f</td><td>%.0f</td></tr>",
                   all > 0 ? 100.0 * (double)held / (double)all : 0.0, (unsigned long long)all,
                   (unsigned long long)s.entries, (double)s.bytes / (double)VV_MIB,
                   (double)s.budget_bytes / (double)VV_MIB);
    }
    vv_sb_adds(out, "</table>");
}

enum vv_err admin_page(struct vv_admin *a, struct vv_admin_exchange *x)
{
    const struct vv_admin_process *p = a->o.process;
    struct vv_gateway_counts counts = {0};
    struct vv_sb *out = &x->out;
    vv_gateway_counts(a->o.gateway, &counts);
    x->type = "text/html; charset=utf-8";
    x->more_headers = "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; "
                      "frame-ancestors 'none'\r\nReferrer-Policy: no-referrer\r\n";
    vv_sb_addf(out,
               "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">"
               "<meta name=\"color-scheme\" content=\"light dark\">"
               "<meta http-equiv=\"refresh\" content=\"2\">"
               "<meta name=\"viewport\" content=\"width=device-width\">"
               "<title>Vivace</title><style>%s</style></head><body><h1>Vivace %s</h1><p>",
               style, p->version);
    vv_sb_add_markup(out, p->config_path);
    vv_sb_addf(
        out,
        " &middot; process %d, worker %d &middot; %llu connections, %llu requests in flight, "
        "%llu since the start%s</p>",
        p->supervisor_pid, (int)getpid(), (unsigned long long)counts.connections,
        (unsigned long long)counts.in_flight, (unsigned long long)counts.requests,
        vv_gateway_draining(a->o.gateway) ? " &middot; <strong>draining</strong>" : "");
    tables(a, out);
    caches(a, out);
    vv_sb_adds(out, "<h2>The API</h2><ul>");
    for (size_t i = 0; i < admin_routes_count; i++) {
        const struct admin_route *r = &admin_routes[i];
        const bool link = r->method == VV_METHOD_GET && strchr(r->path, '{') == NULL;
        vv_sb_adds(out, "<li><code>");
        vv_sb_add(out, vv_methods[r->method].name);
        if (link) {
            vv_sb_addf(out, " <a href=\"%s\">%s</a></code> ", r->path, r->path);
        } else {
            vv_sb_addf(out, " %s</code> ", r->path);
        }
        vv_sb_add_markup(out, r->doc);
        vv_sb_adds(out, "</li>");
    }
    vv_sb_adds(out, "</ul></body></html>\n");
    return VV_OK;
}
