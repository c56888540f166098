/* src/gateway/explain.c - answers "why does this request go there?" by doing what the phases do, with
 * the same parser, matcher and templates, up to the point where something would be sent.
 *
 * What only a real connection knows (the client's address, the request id) stays visible as the name
 * of its variable. */
#include "gateway/describe.h"
#include "gateway/exchange.h"
#include "gateway/explain_cache.h"
#include "gateway/explain_compose.h"
#include "gateway/explain_guard.h"
#include "gateway/gateway_int.h"
#include "gateway/secure.h"
#include "wire/uri.h"

#include <stdio.h>
#include <stdlib.h>

#define ARENA_BYTES (64 * VV_KIB)
#define BODY_SHOWN 1024 /* bytes of a respond body */

struct explanation {
    const struct vv_runtime *rt;
    uint64_t now_ns;
    const struct vv_homes *homes; /* NULL: nothing runs */
    struct vv_epoch *epoch;       /* of the caches; NULL: nothing runs */
    int64_t now_ms;               /* wall time */
    struct vv_json *j;
    struct vv_arena arena;
    const struct vv_listen_settings *listener; /* NULL: any */
    uint32_t listener_index;
    struct vv_str scheme, method, url_host, target; /* url_host: with the port */
    uint16_t port;
    struct vv_sb head_text;
    struct vv_h1_head head;
    struct vv_str host, path; /* as the routes see them */
    struct vv_route_match match;
    const struct vv_route *route;
};

/* ---- the question ---- */

/* "http://host:port/path?query", "host/path" or "/path". */
static enum vv_err read_url(struct explanation *e, const char *url)
{
    struct vv_str text = vv_str_from(url);
    const ptrdiff_t fragment = vv_str_find_char(text, '#'); /* browsers keep it to themselves */
    text.n = fragment >= 0 ? (size_t)fragment : text.n;
    e->scheme = VV_STR("http");
    e->url_host = VV_STR("localhost");
    e->target = text;
    if (text.n == 0) {
        return VV_EINVAL;
    }
    if (text.p[0] == '/' || vv_str_eq(text, VV_STR("*"))) {
        return VV_OK;
    }
    const char *mark = memmem(text.p, text.n, "://", 3);
    if (mark != NULL) {
        e->scheme = (struct vv_str){text.p, (size_t)(mark - text.p)};
        text.n -= e->scheme.n + 3;
        text.p = mark + 3;
    }
    size_t end = 0;
    while (end < text.n && text.p[end] != '/' && text.p[end] != '?') {
        end++;
    }
    e->url_host = (struct vv_str){text.p, end};
    e->target = (struct vv_str){text.p + end, text.n - end};
    if (e->target.n == 0 || e->target.p[0] != '/') {
        e->target =
            vv_arena_fmt(&e->arena, "/" VV_STR_FMT, VV_STR_ARG(e->target)); /* RFC 9112 3.2.1 */
    }
    struct vv_str host;
    if (end == 0 || e->target.p == NULL ||
        vv_uri_split_authority(e->url_host, &host, &e->port) != VV_OK) {
        return VV_EINVAL;
    }
    return VV_OK;
}

static uint16_t port_of(const struct vv_listen_settings *l)
{
    struct vv_addr a;
    return l->address != NULL && vv_addr_parse(vv_str_from(l->address), &a) == VV_OK
               ? vv_addr_port(&a)
               : 0;
}

/* The listener that was named; else the only one there is, or the only one with the URL's port; else
 * any. */
static enum vv_err choose_listener(struct explanation *e, const char *name)
{
    const struct vv_conf_list *list = e->rt->settings->listen;
    size_t found = 0;
    e->listener_index = VV_ROUTE_ANY_LISTENER;
    for (size_t i = 0; list != NULL && i < list->count; i++) {
        const struct vv_listen_settings *l = list->item[i];
        const bool only = list->count == 1 || (e->port != 0 && port_of(l) == e->port);
        const bool fits = name != NULL ? strcmp(l->name, name) == 0 : only;
        if (fits) {
            e->listener = l;
            e->listener_index = (uint32_t)i;
            found++;
        }
    }
    if (found != 1) {
        e->listener = NULL;
        e->listener_index = VV_ROUTE_ANY_LISTENER;
    }
    return found == 0 && name != NULL ? VV_ENOENT : VV_OK;
}

static bool is_host(const char *header)
{
    struct vv_str rest = vv_str_from(header);
    return vv_str_eq_nocase(vv_str_cut(&rest, ':'), VV_STR("Host"));
}

/* The head as a client would send it, so that the parser judges it like one. */
static enum vv_err write_head(struct explanation *e, const struct vv_explain_request *r)
{
    bool has_host = false;
    vv_sb_add(&e->head_text, e->method);
    vv_sb_addc(&e->head_text, ' ');
    vv_sb_add(&e->head_text, e->target);
    vv_sb_adds(&e->head_text, " HTTP/1.1\r\n");
    for (size_t i = 0; i < r->headers_count; i++) {
        if (strpbrk(r->headers[i], "\r\n") != NULL || strchr(r->headers[i], ':') == NULL) {
            return VV_EINVAL;
        }
        has_host |= is_host(r->headers[i]);
        vv_sb_addf(&e->head_text, "%s\r\n", r->headers[i]);
    }
    if (!has_host) {
        vv_sb_addf(&e->head_text, "Host: " VV_STR_FMT "\r\n", VV_STR_ARG(e->url_host));
    }
    vv_sb_adds(&e->head_text, "\r\n");
    return e->head_text.failed ? VV_ENOMEM : VV_OK;
}

/* ---- the way through the phases ---- */

static void say_refused(struct explanation *e, const char *result, int status, const char *why)
{
    vv_json_kcstr(e->j, "result", result);
    vv_json_ku64(e->j, "status", (uint64_t)status);
    vv_json_kcstr(e->j, "why", why);
}

static void say_reason(struct explanation *e, const char *result, enum vv_reason reason)
{
    say_refused(e, result, vv_reasons[reason].status, vv_reasons[reason].text);
}

static bool parse(struct explanation *e)
{
    const struct vv_conf_list *list = e->rt->settings->listen;
    const struct vv_listen_settings *l =
        e->listener != NULL || list == NULL || list->count == 0 ? e->listener : list->item[0];
    struct vv_h1_limits limits = {.line_bytes = 8192, .head_bytes = 65536, .fields = 100};
    if (l != NULL) {
        limits = (struct vv_h1_limits){.line_bytes = (uint32_t)l->line_bytes,
                                       .head_bytes = (uint32_t)l->head_bytes,
                                       .fields = (uint32_t)l->fields_max};
    }
    vv_h1_head_init(&e->head);
    if (vv_h1_parse_request(&e->head, vv_sb_str(&e->head_text), &limits) == VV_OK) {
        return true;
    }
    const struct vv_h1_error_info *info = &vv_h1_errors[e->head.error];
    say_refused(e, "refused", info->status, info->text);
    return false;
}

static bool normalise(struct explanation *e)
{
    struct vv_str host = {NULL, 0};
    uint16_t port = 0;
    if (e->head.authority.n > 0 &&
        vv_uri_split_authority(e->head.authority, &host, &port) != VV_OK) {
        say_reason(e, "refused", VV_REASON_BAD_REQUEST);
        return false;
    }
    char *lower = vv_arena_alloc(&e->arena, host.n + 1);
    char *path = vv_arena_alloc(&e->arena, e->head.path.n + 1);
    if (lower == NULL || path == NULL) {
        say_reason(e, "refused", VV_REASON_NO_MEMORY);
        return false;
    }
    for (size_t i = 0; i < host.n; i++) {
        lower[i] = vv_char_lower(host.p[i]);
    }
    e->host = (struct vv_str){lower, host.n};
    if (e->head.target_form == VV_H1_AUTHORITY) {
        say_reason(e, "refused", VV_REASON_METHOD_UNKNOWN);
        return false;
    }
    if (e->head.target_form == VV_H1_ASTERISK) {
        say_refused(e, "gateway", 204, "a question about the gateway itself, which answers it");
        return false;
    }
    size_t n = 0;
    if (vv_uri_normalise_path(e->head.path, path, e->head.path.n + 1, &n) != VV_OK) {
        say_reason(e, "refused", VV_REASON_BAD_PATH);
        return false;
    }
    e->path = (struct vv_str){path, n};
    return true;
}

static bool listener_serves(const struct explanation *e)
{
    const struct vv_conf_list *names = e->listener != NULL ? e->listener->names : NULL;
    for (size_t i = 0; names != NULL && i < names->count; i++) {
        const struct vv_str name = vv_str_from(names->item[i]);
        const struct vv_str tail = {name.p + 1, name.n - (name.n > 0)};
        if (vv_str_eq_nocase(name, e->host) ||
            (vv_str_starts(name, VV_STR("*.")) && e->host.n > tail.n &&
             vv_str_eq_nocase((struct vv_str){e->host.p + e->host.n - tail.n, tail.n}, tail))) {
            return true;
        }
    }
    return names == NULL || names->count == 0;
}

static void say_request(struct explanation *e)
{
    struct vv_json *j = e->j;
    vv_json_key(j, "request");
    vv_json_obj(j);
    vv_json_kstr(j, "method", e->method);
    vv_json_kstr(j, "scheme", e->scheme);
    vv_json_kstr(j, "host", e->host);
    vv_json_kstr(j, "path", e->path);
    if (e->head.query.p != NULL) {
        vv_json_kstr(j, "query", e->head.query);
    }
    vv_json_kcstr(j, "listener", e->listener != NULL ? e->listener->name : NULL);
    vv_json_obj_end(j);
}

/* Sets e->route and returns true when a route takes the request. */
static bool route(struct explanation *e)
{
    const struct vv_route_query q = {.listener = e->listener_index,
                                     .host = e->host,
                                     .path = e->path,
                                     .query = e->head.query,
                                     .method = e->head.method_text,
                                     .head = &e->head};
    vv_json_key(e->j, "candidates");
    vv_routes_explain(e->rt->matcher, &q, e->j);
    switch (vv_routes_match(e->rt->matcher, &q, &e->match)) {
    case VV_ROUTE_FOUND:
        e->route = &e->rt->route[e->match.index];
        vv_json_kcstr(e->j, "result", "matched");
        return true;
    case VV_ROUTE_METHOD:
        say_reason(e, "method", VV_REASON_METHOD);
        vv_json_kstr(e->j, "allow", vv_routes_allow(e->rt->matcher, &e->match, &e->arena));
        return false;
    case VV_ROUTE_NONE:
        break;
    }
    say_reason(e, "no_route", VV_REASON_NO_ROUTE);
    return false;
}

/* ---- what would happen ---- */

static struct vv_str var_header(void *user, struct vv_str name)
{
    const struct explanation *e = user;
    const struct vv_h1_field *f = vv_h1_find_name(&e->head, name);
    return f != NULL ? f->value : (struct vv_str){NULL, 0};
}

static struct vv_template_vars vars_of(struct explanation *e)
{
    return (struct vv_template_vars){
        .host = e->host,
        .path = e->path,
        .query = e->head.query,
        .scheme = e->scheme,
        .method = e->head.method_text,
        .client_ip = VV_STR("$client_ip"),
        .request_id = VV_STR("$request_id"),
        .rest = e->match.rest,
        .route = vv_str_from(e->route->conf->name),
        .match = &e->match,
        .header = var_header,
        .user = e,
    };
}

/* A member with the text as it would be; null and "<key>_error" when it could not be made. */
static void say_rendered(struct explanation *e, const char *key, const struct vv_template *t,
                         enum vv_template_mode mode)
{
    const struct vv_template_vars vars = vars_of(e);
    struct vv_str text = {NULL, 0};
    const enum vv_err err = vv_template_render(t, &vars, &e->arena, mode, &text);
    if (err == VV_OK) {
        vv_json_kstr(e->j, key, text.n > BODY_SHOWN ? (struct vv_str){text.p, BODY_SHOWN} : text);
    } else {
        char name[64];
        snprintf(name, sizeof name, "%s_error", key);
        vv_json_kcstr(e->j, key, NULL);
        vv_json_kcstr(e->j, name,
                      err == VV_EINVAL ? "a value must not stand there" : vv_err_text(err));
    }
}

static const char *const edit_whens[] = {[VV_EDIT_HTTPS] = "over HTTPS",
                                         [VV_EDIT_ORIGIN] = "for an origin that may",
                                         [VV_EDIT_BESIDE] = "beside others"};

static void say_edits(struct explanation *e, const char *key, const struct vv_edits *edits)
{
    vv_json_key(e->j, key);
    vv_json_arr(e->j);
    for (size_t i = 0; i < edits->count; i++) {
        vv_json_obj(e->j);
        vv_json_kstr(e->j, "name", edits->edit[i].name);
        if (edits->edit[i].value != NULL) {
            say_rendered(e, "value", edits->edit[i].value, VV_TEMPLATE_FIELD);
        } else {
            vv_json_kcstr(e->j, "value", NULL);
        }
        if (edits->edit[i].when != VV_EDIT_ALWAYS) {
            vv_json_kcstr(e->j, "when", edit_whens[edits->edit[i].when]);
        }
        vv_json_obj_end(e->j);
    }
    vv_json_arr_end(e->j);
}

static void say_params(struct explanation *e)
{
    vv_json_key(e->j, "params");
    vv_json_obj(e->j);
    for (uint32_t i = 0; i < e->match.param_count; i++) {
        vv_json_keyn(e->j, e->match.param_name[i]);
        vv_json_str(e->j, e->match.param[i]);
    }
    vv_json_obj_end(e->j);
    if (e->match.rest.n > 0) {
        vv_json_kstr(e->j, "rest", e->match.rest);
    }
}

static const struct vv_edit *find_edit(const struct vv_edits *edits, struct vv_str name)
{
    for (size_t i = 0; i < edits->count; i++) {
        if (vv_str_eq_nocase(edits->edit[i].name, name)) {
            return &edits->edit[i];
        }
    }
    return NULL;
}

static void say_upstream(struct explanation *e)
{
    const struct vv_service *s = e->route->service;
    const struct vv_edit *host = find_edit(&e->route->request_edits, VV_STR("Host"));
    vv_json_key(e->j, "service");
    vv_describe_service(s, e->now_ns, e->j);
    vv_json_key(e->j, "upstream");
    vv_json_obj(e->j);
    vv_json_kstr(e->j, "method", e->head.method_text);
    if (e->route->rewrite != NULL) {
        say_rendered(e, "path", e->route->rewrite, VV_TEMPLATE_URI);
    } else {
        vv_json_kstr(e->j, "path", e->path);
    }
    if (e->head.query.p != NULL) {
        vv_json_kstr(e->j, "query", e->head.query);
    }
    if (host != NULL && host->value != NULL) {
        say_rendered(e, "host", host->value, VV_TEMPLATE_FIELD);
    } else if (host != NULL) {
        vv_json_kcstr(e->j, "host", NULL);
    } else if (s->host.p != NULL) {
        vv_json_kstr(e->j, "host", s->host);
    } else {
        vv_json_kstr(e->j, "host",
                     e->head.authority.n > 0 ? e->head.authority : vv_str_from(s->conf->name));
    }
    vv_json_ku64(e->j, "retries", e->route->retries);
    vv_json_obj_end(e->j);
}

static void say_files(struct explanation *e)
{
    const struct vv_files_settings *f = &e->route->conf->files;
    vv_json_key(e->j, "files");
    vv_json_obj(e->j);
    vv_json_kcstr(e->j, "root", f->root);
    vv_json_kstr(e->j, "path", e->path);
    vv_json_kcstr(e->j, "index", f->index);
    vv_json_kcstr(e->j, "fallback", f->fallback);
    vv_json_kbool(e->j, "precompressed", f->precompressed != 0);
    vv_json_obj_end(e->j);
}

static void say_compose(struct explanation *e)
{
    const struct vv_template_vars vars = vars_of(e);
    vv_explain_compose(e->route, &vars, &e->arena, e->j);
}

static void say_action(struct explanation *e)
{
    const struct vv_route_settings *conf = e->route->conf;
    vv_json_kcstr(e->j, "action", vv_describe_action((enum vv_action_kind)conf->action));
    switch ((enum vv_action_kind)conf->action) {
    case VV_ACTION_TO:
        say_upstream(e);
        return;
    case VV_ACTION_FILES:
        say_files(e);
        return;
    case VV_ACTION_REDIRECT:
        vv_json_key(e->j, "redirect");
        vv_json_obj(e->j);
        vv_json_ku64(e->j, "status", conf->redirect.status);
        say_rendered(e, "location", e->route->redirect, VV_TEMPLATE_URI);
        vv_json_obj_end(e->j);
        return;
    case VV_ACTION_COMPOSE:
        say_compose(e);
        return;
    case VV_ACTION_OBJECTS:
        vv_json_kcstr(e->j, "store", conf->objects);
        return;
    case VV_ACTION_RESPOND:
        vv_json_key(e->j, "respond");
        vv_json_obj(e->j);
        vv_json_ku64(e->j, "status", conf->respond.status);
        vv_json_kcstr(e->j, "type", conf->respond.type);
        if (e->route->respond != NULL) {
            say_rendered(e, "body", e->route->respond, VV_TEMPLATE_TEXT);
        }
        vv_json_obj_end(e->j);
        return;
    }
}

static void say_limits(struct explanation *e)
{
    const struct vv_route *r = e->route;
    const uint64_t listener_max = e->listener != NULL ? e->listener->body_bytes_max : UINT64_MAX;
    const uint64_t max = r->body_bytes_max != UINT64_MAX ? r->body_bytes_max : listener_max;
    vv_json_key(e->j, "body_bytes_max");
    if (max == UINT64_MAX) {
        vv_json_cstr(e->j, "the listener's");
    } else if (max == 0) {
        vv_json_null(e->j);
    } else {
        vv_json_u64(e->j, max);
    }
    if (r->cache_control.p != NULL) {
        vv_json_kstr(e->j, "cache_control", r->cache_control);
    }
    say_edits(e, "request_headers", &r->request_edits);
    say_edits(e, "headers", &r->answer_edits);
}

static void say_cache(struct explanation *e)
{
    const struct vv_template_vars vars = vars_of(e);
    const struct vv_cache_question q = {.route = e->route,
                                        .head = &e->head,
                                        .vars = &vars,
                                        .arena = &e->arena,
                                        .epoch = e->epoch,
                                        .now_ms = e->now_ms};
    vv_explain_cache(&q, e->j);
}

static void say_guards(struct explanation *e)
{
    const struct vv_guard_question q = {.rt = e->rt,
                                        .route = e->route,
                                        .listener = e->listener_index,
                                        .homes = e->homes,
                                        .now_ns = e->now_ns};
    vv_explain_guard(&q, e->j);
}

/* Does the listener send it to HTTPS before any route? */
static bool say_https(struct explanation *e)
{
    const struct vv_https_question q = {.listener = e->listener_index,
                                        .https = vv_str_eq(e->scheme, VV_STR("https")),
                                        .method = e->head.method,
                                        .host = e->host,
                                        .path = e->path,
                                        .target = e->head.path,
                                        .query = e->head.query};
    struct vv_str to = {NULL, 0};
    int status = 0;
    const enum vv_https_way way = e->listener != NULL
                                      ? vv_https_way(e->rt->settings, &q, &e->arena, &to, &status)
                                      : VV_HTTPS_STAY;
    if (way == VV_HTTPS_STAY) {
        return false;
    }
    if (way != VV_HTTPS_GO) {
        say_reason(e, "refused",
                   way == VV_HTTPS_NO_HOST ? VV_REASON_NO_HOST : VV_REASON_BAD_REQUEST);
        return true;
    }
    vv_json_kcstr(e->j, "result", "redirected");
    vv_json_ku64(e->j, "status", (uint64_t)status);
    vv_json_kstr(e->j, "location", to);
    return true;
}

static void go_through(struct explanation *e)
{
    if (!parse(e) || !normalise(e)) {
        return;
    }
    say_request(e);
    if (!listener_serves(e)) {
        say_reason(e, "refused", VV_REASON_NO_HOST);
        return;
    }
    if (say_https(e) || !route(e)) {
        return;
    }
    vv_json_key(e->j, "route");
    vv_describe_route(e->route, e->j);
    say_params(e);
    say_action(e);
    say_cache(e);
    say_guards(e);
    say_limits(e);
}

/* g NULL: from the settings alone. */
static enum vv_err explain(const struct vv_runtime *rt, struct vv_gateway *g,
                           const struct vv_explain_request *r, struct vv_json *j)
{
    struct explanation *e = calloc(1, sizeof *e);
    if (e == NULL) {
        return VV_ENOMEM;
    }
    e->rt = rt;
    if (g != NULL) {
        e->now_ns = vv_loop_now(g->control);
        e->now_ms = (int64_t)(vv_loop_wall(g->control) / VV_MS);
        e->homes = &g->homes;
        e->epoch = vv_caches_epoch(g->homes.caches);
    }
    e->j = j;
    e->method = vv_str_from(r->method != NULL ? r->method : "GET");
    vv_arena_init(&e->arena, NULL, 0, ARENA_BYTES, 0);
    enum vv_err err = read_url(e, r->url);
    if (err == VV_OK) {
        err = choose_listener(e, r->listener);
    }
    if (err == VV_OK) {
        err = write_head(e, r);
    }
    if (err == VV_OK) {
        go_through(e);
    }
    vv_sb_fini(&e->head_text);
    vv_arena_fini(&e->arena);
    free(e);
    return err;
}

/* ---- the interface ---- */

enum vv_err vv_gateway_explain(struct vv_gateway *g, const struct vv_explain_request *r,
                               struct vv_json *j)
{
    return explain(g->rt, g, r, j);
}

enum vv_err vv_settings_explain(const struct vv_settings *s, const struct vv_explain_request *r,
                                struct vv_json *j)
{
    char why[256] = "";
    struct vv_runtime *rt = NULL;
    /* The runtime only reads the settings; it is made to forget them before it goes. */
    enum vv_err err = vv_runtime_new((struct vv_settings *)(uintptr_t)s, NULL, NULL, &rt, why);
    if (err != VV_OK) {
        vv_json_kcstr(j, "error", why);
        return err;
    }
    err = explain(rt, NULL, r, j);
    rt->settings = NULL;
    vv_runtime_unref(rt);
    return err;
}
