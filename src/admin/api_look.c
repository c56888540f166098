/* src/admin/api_look.c - the calls that only look: status, numbers, health. */
#include "admin/admin_int.h"
#include "gateway/caches.h"
#include "gateway/faults.h"
#include "gateway/homes.h"
#include "gateway/store_ask.h"

#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

#define GZIP_MIN_BYTES 1024
#define GZIP_WINDOW (15 + 16) /* 16: a gzip header instead of zlib's (zlib.h) */

/* A scrape is text that shrinks to a tenth; over a network that is worth a millisecond. */
static void gzip(struct vv_admin_exchange *x)
{
    z_stream z = {0};
    const struct vv_str accept = admin_header(x, "Accept-Encoding");
    if (x->out.failed || x->out.n < GZIP_MIN_BYTES || !vv_h1_list_has(accept, VV_STR("gzip")) ||
        deflateInit2(&z, 5, Z_DEFLATED, GZIP_WINDOW, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
        return;
    }
    const size_t cap = deflateBound(&z, x->out.n);
    char *packed = malloc(cap);
    z.next_in = (Bytef *)x->out.p;
    z.avail_in = (uInt)x->out.n;
    z.next_out = (Bytef *)packed;
    z.avail_out = (uInt)cap;
    if (packed != NULL && deflate(&z, Z_FINISH) == Z_STREAM_END) {
        vv_sb_reset(&x->out);
        vv_sb_add(&x->out, (struct vv_str){packed, z.total_out});
        x->more_headers = "Content-Encoding: gzip\r\nVary: Accept, Accept-Encoding\r\n";
    }
    (void)deflateEnd(&z);
    free(packed);
}

enum vv_err admin_metrics(struct vv_admin *a, struct vv_admin_exchange *x)
{
    const enum vv_exposition e = vv_exposition_choose(admin_header(x, "Accept"));
    x->type = vv_exposition_type(e);
    x->more_headers = "Vary: Accept, Accept-Encoding\r\n";
    vv_metrics_write(a->o.metrics, e, &x->out);
    gzip(x);
    return VV_OK;
}

enum vv_err admin_metrics_json(struct vv_admin *a, struct vv_admin_exchange *x)
{
    vv_metrics_write(a->o.metrics, VV_EXPOSITION_JSON, &x->out);
    gzip(x);
    return VV_OK;
}

enum vv_err admin_livez(struct vv_admin *a VV_UNUSED, struct vv_admin_exchange *x)
{
    x->type = "text/plain; charset=utf-8";
    vv_sb_adds(&x->out, "ok\n");
    return VV_OK;
}

enum vv_err admin_readyz(struct vv_admin *a, struct vv_admin_exchange *x)
{
    const bool draining = vv_gateway_draining(a->o.gateway);
    x->type = "text/plain; charset=utf-8";
    x->status = draining ? 503 : 200;
    vv_sb_adds(&x->out, draining ? "draining\n" : "ok\n");
    return VV_OK;
}

enum vv_err admin_health(struct vv_admin *a, struct vv_admin_exchange *x)
{
    struct vv_json *j = &x->json;
    const bool draining = vv_gateway_draining(a->o.gateway);
    struct vv_stores *stores = vv_gateway_homes(a->o.gateway)->stores;
    const bool degraded = vv_stores_summary(stores).away > 0; /* which fails no request */
    x->status = draining ? 503 : 200;
    vv_json_obj(j);
    vv_json_kcstr(j, "status", draining ? "draining" : degraded ? "degraded" : "ok");
    vv_json_kcstr(j, "version", a->o.process->version);
    vv_json_key(j, "stores");
    vv_stores_health_json(stores, j);
    vv_json_key(j, "services");
    vv_gateway_services_json(a->o.gateway, j);
    vv_json_obj_end(j);
    vv_sb_addc(&x->out, '\n');
    return VV_OK;
}

void admin_traffic_json(struct vv_admin *a, struct vv_json *j, const char *route,
                        const char *service, unsigned seconds)
{
    struct vv_history_sum s = {0};
    vv_history_sum(a->o.history, route, service, seconds, &s);
    const double span = s.seconds > 0 ? (double)s.seconds : 1.0;
    vv_json_obj(j);
    vv_json_ku64(j, "seconds", s.seconds);
    vv_json_ku64(j, "requests", s.requests);
    vv_json_kdouble(j, "per_second", (double)s.requests / span);
    vv_json_ku64(j, "errors_4xx", s.errors_4xx);
    vv_json_ku64(j, "errors_5xx", s.errors_5xx);
    vv_json_ku64(j, "aborted", s.aborted);
    vv_json_ku64(j, "bytes_out", s.bytes_out);
    vv_json_kdouble(j, "p50_ms", (double)s.p50_ns / 1e6);
    vv_json_kdouble(j, "p95_ms", (double)s.p95_ns / 1e6);
    vv_json_kdouble(j, "p99_ms", (double)s.p99_ns / 1e6);
    if (route == NULL && service == NULL) {
        vv_json_ku64(j, "in_flight", s.in_flight);
        vv_json_ku64(j, "connections", s.connections);
    }
    vv_json_obj_end(j);
}

static void process_json(struct vv_admin *a, struct vv_json *j)
{
    const struct vv_admin_process *p = a->o.process;
    struct vv_gateway_counts counts = {0};
    vv_gateway_counts(a->o.gateway, &counts);
    vv_json_kcstr(j, "version", p->version);
    vv_json_kcstr(j, "revision", p->revision);
    vv_json_ku64(j, "pid", (uint64_t)p->supervisor_pid);
    vv_json_ku64(j, "worker_pid", (uint64_t)getpid());
    vv_json_ku64(j, "generation", p->generation);
    vv_json_ku64(j, "worker_restarts", p->restarts);
    vv_json_kdouble(j, "started", (double)p->started_wall_ns / 1e9);
    const uint64_t wall_ns = vv_loop_wall(a->o.loop);
    vv_json_kdouble(j, "uptime_seconds",
                    wall_ns > p->started_wall_ns ? (double)(wall_ns - p->started_wall_ns) / 1e9
                                                 : 0.0);
    vv_json_kcstr(j, "config", p->config_path);
    vv_json_kcstr(j, "profile", p->profile);
    vv_json_kcstr(j, "socket", p->socket);
    const struct vv_settings *s = vv_gateway_settings(a->o.gateway);
    const struct vv_guard_summary guards = vv_gateway_guard_summary(a->o.gateway);
    const struct vv_stores_summary stores =
        vv_stores_summary(vv_gateway_homes(a->o.gateway)->stores);
    struct vv_clients_stats clients;
    vv_clients_look(vv_gateway_homes(a->o.gateway)->clients, vv_loop_now(a->o.loop), &clients);
    vv_json_kcstr(j, "admin", s->admin);
    vv_json_kbool(j, "draining", vv_gateway_draining(a->o.gateway));
    vv_json_ku64(j, "faults_active", vv_faults_active(vv_gateway_homes(a->o.gateway)->faults));
    vv_json_ku64(j, "breakers_open", guards.breakers_open);
    vv_json_ku64(j, "limits_alone", guards.sharing_alone);
    vv_json_kdouble(j, "shed", guards.shed);
    vv_json_ku64(j, "stores_away", stores.away);
    vv_json_ku64(j, "stores_unexpected", stores.broken);
    vv_json_ku64(j, "clients_banned", clients.banned);
    vv_json_ku64(j, "workers", counts.workers);
    vv_json_ku64(j, "connections", counts.connections);
    vv_json_ku64(j, "in_flight", counts.in_flight);
    vv_json_ku64(j, "requests", counts.requests);
}

enum vv_err admin_status(struct vv_admin *a, struct vv_admin_exchange *x)
{
    struct vv_json *j = &x->json;
    vv_json_obj(j);
    process_json(a, j);
    a->o.process->life_json(a->o.process->user, j);
    vv_json_key(j, "traffic");
    admin_traffic_json(a, j, NULL, NULL, 10);
    vv_gateway_status_json(a->o.gateway, j);
    vv_json_key(j, "caches");
    vv_caches_json(vv_gateway_caches(a->o.gateway), j);
    vv_json_key(j, "stores");
    vv_stores_health_json(vv_gateway_homes(a->o.gateway)->stores, j);
    vv_json_obj_end(j);
    vv_sb_addc(&x->out, '\n');
    gzip(x);
    return VV_OK;
}

enum vv_err admin_top(struct vv_admin *a, struct vv_admin_exchange *x)
{
    struct vv_json *j = &x->json;
    const unsigned seconds = (unsigned)admin_query_u64(x, "seconds", 10, VV_HISTORY_SECONDS);
    const struct vv_settings *s = vv_gateway_settings(a->o.gateway);
    vv_json_obj(j);
    process_json(a, j);
    a->o.process->life_json(a->o.process->user, j);
    vv_json_key(j, "traffic");
    admin_traffic_json(a, j, NULL, NULL, seconds);
    vv_json_key(j, "routes");
    vv_json_obj(j);
    for (size_t i = 0; s->routes != NULL && i < s->routes->count; i++) {
        const struct vv_route_settings *r = s->routes->item[i];
        vv_json_key(j, r->name);
        admin_traffic_json(a, j, r->name, NULL, seconds);
    }
    vv_json_obj_end(j);
    vv_json_key(j, "by_service");
    vv_json_obj(j);
    for (size_t i = 0; s->services != NULL && i < s->services->count; i++) {
        const struct vv_service_settings *v = s->services->item[i];
        vv_json_key(j, v->name);
        admin_traffic_json(a, j, NULL, v->name, seconds);
    }
    vv_json_obj_end(j);
    vv_json_key(j, "services");
    vv_gateway_services_json(a->o.gateway, j);
    vv_json_key(j, "caches");
    vv_caches_json(vv_gateway_caches(a->o.gateway), j);
    vv_json_obj_end(j);
    gzip(x);
    return VV_OK;
}

enum vv_err admin_history(struct vv_admin *a, struct vv_admin_exchange *x)
{
    const uint64_t seconds = admin_query_u64(x, "seconds", 60, VV_HISTORY_SECONDS);
    vv_history_json(a->o.history, (unsigned)seconds, &x->json);
    gzip(x);
    return VV_OK;
}

enum vv_err admin_routes_list(struct vv_admin *a, struct vv_admin_exchange *x)
{
    vv_json_obj(&x->json);
    vv_json_key(&x->json, "routes");
    vv_gateway_routes_json(a->o.gateway, &x->json);
    vv_json_obj_end(&x->json);
    gzip(x);
    return VV_OK;
}

enum vv_err admin_services(struct vv_admin *a, struct vv_admin_exchange *x)
{
    vv_json_obj(&x->json);
    vv_json_key(&x->json, "services");
    vv_gateway_services_json(a->o.gateway, &x->json);
    vv_json_obj_end(&x->json);
    return VV_OK;
}

enum vv_err admin_index(struct vv_admin *a VV_UNUSED, struct vv_admin_exchange *x)
{
    struct vv_json *j = &x->json;
    vv_json_arr(j);
    for (size_t i = 0; i < admin_routes_count; i++) {
        vv_json_obj(j);
        vv_json_kstr(j, "method", vv_methods[admin_routes[i].method].name);
        vv_json_kcstr(j, "path", admin_routes[i].path);
        vv_json_kcstr(j, "doc", admin_routes[i].doc);
        vv_json_obj_end(j);
    }
    vv_json_arr_end(j);
    return VV_OK;
}
