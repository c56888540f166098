/* src/gateway/status.c - what the gateway is made of right now, as JSON: read from the settings and
 * from the shared states, so asking costs the workers nothing. */
#include "gateway/describe.h"

#include "base/units.h"
#include "gateway/gateway_int.h"
#include "gateway/upstream_tls.h"

void vv_describe_duration(struct vv_json *j, const char *key, uint64_t ns)
{
    char text[32];
    vv_json_kcstr(j, key, ns > 0 ? vv_format_duration(ns, text, sizeof text) : NULL);
}

void vv_describe_texts(struct vv_json *j, const char *key, const struct vv_conf_list *list)
{
    vv_json_key(j, key);
    vv_json_arr(j);
    for (size_t i = 0; list != NULL && i < list->count; i++) {
        vv_json_cstr(j, list->item[i]);
    }
    vv_json_arr_end(j);
}

const char *vv_describe_action(enum vv_action_kind action)
{
    switch (action) {
    case VV_ACTION_TO:
        return "to";
    case VV_ACTION_FILES:
        return "files";
    case VV_ACTION_REDIRECT:
        return "redirect";
    case VV_ACTION_RESPOND:
        return "respond";
    case VV_ACTION_COMPOSE:
        return "compose";
    case VV_ACTION_OBJECTS:
        return "objects";
    }
    return NULL;
}

/* ---- services ---- */

static void check_json(const struct vv_check_settings *c, struct vv_json *j)
{
    vv_json_key(j, "check");
    if (!c->timing.enabled) {
        vv_json_null(j);
        return;
    }
    vv_json_obj(j);
    vv_json_kcstr(j, "type", c->type == 0 ? "http" : "tcp");
    if (c->type == 0) {
        vv_json_kcstr(j, "path", c->path);
    }
    vv_describe_duration(j, "every", c->timing.every_ns);
    vv_describe_duration(j, "timeout", c->timing.timeout_ns);
    vv_json_ku64(j, "fails", c->timing.fails);
    vv_json_ku64(j, "passes", c->timing.passes);
    vv_json_obj_end(j);
}

/* How its secure servers are spoken to. */
static void tls_json(const struct vv_service_tls_settings *t, struct vv_json *j)
{
    vv_json_key(j, "tls");
    vv_json_obj(j);
    vv_json_kbool(j, "verify", t->verify != 0);
    vv_json_kcstr(j, "ca", t->ca);
    vv_json_kcstr(j, "name", t->name);
    vv_json_kcstr(j, "cert", t->cert);
    vv_json_kcstr(j, "min", t->version_min == VV_TLS_1_3 ? "1.3" : "1.2");
    vv_json_obj_end(j);
}

static void server_json(const struct vv_server *s, uint64_t now_ns, struct vv_json *j)
{
    char address[VV_ADDR_TEXT];
    const enum vv_server_state state =
        (enum vv_server_state)atomic_load_explicit(&s->state, memory_order_relaxed);
    const uint64_t until_ns = atomic_load_explicit(&s->ejected_until_ns, memory_order_relaxed);
    const uint64_t left_ns =
        state == VV_SERVER_EJECTED && until_ns > now_ns ? until_ns - now_ns : 0;
    const uint64_t latency_ns = atomic_load_explicit(&s->ewma_ns, memory_order_relaxed);
    vv_addr_format(&s->addr, address, sizeof address);
    vv_json_obj(j);
    vv_json_kcstr(j, "name", s->name);
    vv_json_kcstr(j, "address", address);
    vv_json_kbool(j, "tls", vv_url_is_secure(s->name));
    vv_json_kcstr(j, "state", vv_server_state_name(state));
    vv_json_kbool(j, "usable", vv_server_usable(s, now_ns));
    vv_json_ku64(j, "weight", atomic_load_explicit(&s->weight, memory_order_relaxed));
    vv_json_ku64(j, "in_flight", atomic_load_explicit(&s->in_flight, memory_order_relaxed));
    vv_json_kdouble(j, "latency_ms", (double)latency_ns / (double)VV_MS);
    vv_json_ku64(j, "fails", atomic_load_explicit(&s->fails, memory_order_relaxed));
    vv_json_kdouble(j, "ejected_seconds", (double)left_ns / (double)VV_SEC);
    vv_json_obj_end(j);
}

static void file_server_json(const struct vv_server_settings *s, struct vv_json *j)
{
    vv_json_obj(j);
    vv_json_kcstr(j, "name", s->url);
    vv_json_kcstr(j, "address", NULL);
    vv_json_kbool(j, "tls", vv_url_is_secure(s->url));
    vv_json_kcstr(j, "state", s->drain ? "draining" : "unknown");
    vv_json_ku64(j, "weight", s->weight);
    vv_json_obj_end(j);
}

void vv_describe_service(const struct vv_service *s, uint64_t now_ns, struct vv_json *j)
{
    const struct vv_conf_list *file = s->conf->servers;
    struct vv_server_set *set = vv_service_state_servers(s->state);
    uint64_t usable = 0;
    vv_json_obj(j);
    vv_json_kcstr(j, "name", s->conf->name);
    vv_json_kcstr(j, "balance", vv_balancer_name((enum vv_balancer)s->conf->balance.balancer));
    if (s->conf->hash_key != NULL) {
        vv_json_kcstr(j, "hash_key", s->conf->hash_key);
    }
    if (s->conf->sticky_cookie != NULL) {
        vv_json_kcstr(j, "sticky_cookie", s->conf->sticky_cookie);
    }
    check_json(&s->conf->check, j);
    if (s->conf->tls.enabled) {
        tls_json(&s->conf->tls, j);
    }
    vv_json_key(j, "servers");
    vv_json_arr(j);
    for (size_t i = 0; i < set->count; i++) {
        server_json(set->server[i], now_ns, j);
        usable += vv_server_usable(set->server[i], now_ns);
    }
    for (size_t i = 0; set->count == 0 && file != NULL && i < file->count; i++) {
        file_server_json(file->item[i], j);
    }
    vv_json_arr_end(j);
    if (set->count > 0) {
        vv_json_ku64(j, "usable", usable);
    }
    vv_json_obj_end(j);
    vv_server_set_unref(set);
}

void vv_gateway_services_json(struct vv_gateway *g, struct vv_json *j)
{
    vv_json_arr(j);
    for (size_t i = 0; i < g->rt->service_count; i++) {
        vv_describe_service(&g->rt->service[i], vv_loop_now(g->control), j);
    }
    vv_json_arr_end(j);
}

/* ---- routes ---- */

static void matches_json(struct vv_json *j, const char *key, const struct vv_conf_list *list)
{
    if (list == NULL || list->count == 0) {
        return;
    }
    vv_json_key(j, key);
    vv_json_obj(j);
    for (size_t i = 0; i < list->count; i++) {
        const struct vv_header_match *m = list->item[i];
        vv_json_kcstr(j, m->name, m->value != NULL ? m->value : "*");
    }
    vv_json_obj_end(j);
}

static void target_json(const struct vv_route_settings *r, struct vv_json *j)
{
    switch ((enum vv_action_kind)r->action) {
    case VV_ACTION_TO:
        vv_json_kcstr(j, "target", r->to);
        vv_json_kcstr(j, "service", r->to);
        if (r->rewrite != NULL) {
            vv_json_kcstr(j, "rewrite", r->rewrite);
        }
        return;
    case VV_ACTION_FILES:
        vv_json_kcstr(j, "target", r->files.root);
        return;
    case VV_ACTION_REDIRECT:
        vv_json_kcstr(j, "target", r->redirect.to);
        vv_json_ku64(j, "status", r->redirect.status);
        return;
    case VV_ACTION_RESPOND:
        vv_json_kcstr(j, "target", NULL);
        vv_json_ku64(j, "status", r->respond.status);
        return;
    case VV_ACTION_COMPOSE:
        vv_json_kcstr(j, "target", NULL);
        return;
    case VV_ACTION_OBJECTS:
        vv_json_kcstr(j, "target", r->objects);
        return;
    }
}

static void timeouts_json(const struct vv_timeouts_settings *t, struct vv_json *j)
{
    vv_json_key(j, "timeouts");
    vv_json_obj(j);
    vv_describe_duration(j, "header", t->header_ns);
    vv_describe_duration(j, "body", t->body_ns);
    vv_describe_duration(j, "connect", t->connect_ns);
    vv_describe_duration(j, "first_byte", t->first_byte_ns);
    vv_describe_duration(j, "idle", t->idle_ns);
    vv_describe_duration(j, "send", t->send_ns);
    vv_describe_duration(j, "whole", t->whole_ns);
    vv_json_obj_end(j);
}

void vv_describe_route(const struct vv_route *r, struct vv_json *j)
{
    const struct vv_route_settings *conf = r->conf;
    const char *path = conf->path != NULL ? conf->path : "/";
    vv_json_obj(j);
    vv_json_kcstr(j, "name", conf->name != NULL ? conf->name : path);
    vv_json_kcstr(j, "path", path);
    vv_json_kcstr(j, "file", conf->at.file);
    vv_json_ku64(j, "line", conf->at.line);
    vv_describe_texts(j, "hosts", conf->hosts);
    vv_describe_texts(j, "methods", conf->methods);
    vv_describe_texts(j, "listen", conf->listen);
    matches_json(j, "when_headers", conf->match_headers);
    matches_json(j, "when_query", conf->match_query);
    vv_json_kcstr(j, "action", vv_describe_action((enum vv_action_kind)conf->action));
    target_json(conf, j);
    timeouts_json(&conf->timeouts, j);
    vv_json_obj_end(j);
}

void vv_gateway_routes_json(struct vv_gateway *g, struct vv_json *j)
{
    vv_json_arr(j);
    for (size_t i = 0; i < g->rt->route_count; i++) {
        vv_describe_route(&g->rt->route[i], j);
    }
    vv_json_arr_end(j);
}

/* ---- the whole ---- */

static void listeners_json(struct vv_gateway *g, struct vv_json *j)
{
    const struct vv_conf_list *list = g->rt->settings->listen;
    vv_json_arr(j);
    for (size_t i = 0; list != NULL && i < list->count; i++) {
        const struct vv_listen_settings *l = list->item[i];
        const struct vv_str name = vv_str_from(l->name);
        const vv_series open = vv_metrics_series(g->metrics, VV_METRIC_CONNECTIONS, &name, 1);
        const vv_series accepted = vv_metrics_series(g->metrics, VV_METRIC_ACCEPTED, &name, 1);
        vv_json_obj(j);
        vv_json_kcstr(j, "name", l->name);
        vv_json_kcstr(j, "address", l->address);
        vv_describe_texts(j, "names", l->names);
        vv_json_ku64(j, "connections", vv_metrics_value(g->metrics, open));
        vv_json_ku64(j, "accepted", vv_metrics_value(g->metrics, accepted));
        vv_json_obj_end(j);
    }
    vv_json_arr_end(j);
}

void vv_gateway_status_json(struct vv_gateway *g, struct vv_json *j)
{
    vv_json_key(j, "listeners");
    listeners_json(g, j);
    vv_json_key(j, "services");
    vv_gateway_services_json(g, j);
    vv_json_key(j, "routes");
    vv_gateway_routes_json(g, j);
}
