/* src/gateway/runtime.c - compiles every text of the settings that requests would otherwise parse. */
#include "gateway/runtime.h"
#include "gateway/access.h"
#include "gateway/admit.h"
#include "gateway/compose_plan.h"
#include "gateway/cors.h"
#include "gateway/csp.h"
#include "gateway/exchange.h"
#include "gateway/head_writer.h"
#include "gateway/homes.h"
#include "gateway/limit_share.h"
#include "gateway/plans.h"
#include "gateway/upstream_tls.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ERROR_BYTES 256

static enum vv_err compile(const char *text, struct vv_template **ret, const char *what,
                           char *reterr_text)
{
    if (text == NULL) {
        return VV_OK;
    }
    struct vv_template_error error = {0, ""};
    const enum vv_err err = vv_template_new(text, ret, &error);
    if (err != VV_OK) {
        snprintf(reterr_text, ERROR_BYTES, "%s \"%s\": %s", what, text,
                 err == VV_ESYNTAX ? error.text : vv_err_text(err));
    }
    return err;
}

/* RFC 6797 7.2: Strict-Transport-Security is not sent without TLS, whoever wrote it. */
static enum vv_edit_when edit_when(const struct vv_header_edit *e)
{
    const struct vv_str name = vv_str_from(e->name);
    return vv_str_eq_nocase(name, VV_STR("Strict-Transport-Security")) ? VV_EDIT_HTTPS
                                                                       : (enum vv_edit_when)e->when;
}

/* Adds these behind those that are there. */
static enum vv_err compile_edits(const struct vv_conf_list *list, struct vv_edits *ret,
                                 char *reterr_text)
{
    if (list == NULL || list->count == 0) {
        return VV_OK;
    }
    struct vv_edit *edit = realloc(ret->edit, (ret->count + list->count) * sizeof *edit);
    if (edit == NULL) {
        return VV_ENOMEM;
    }
    ret->edit = edit;
    for (size_t i = 0; i < list->count; i++) {
        const struct vv_header_edit *e = list->item[i];
        struct vv_edit *to = &ret->edit[ret->count++];
        *to = (struct vv_edit){.name = vv_str_from(e->name), .when = edit_when(e)};
        to->id = (uint16_t)vv_field_lookup(to->name);
        const enum vv_err err = compile(e->value, &to->value, e->name, reterr_text);
        if (err != VV_OK) {
            return err;
        }
    }
    return VV_OK;
}

static void edits_free(struct vv_edits *edits)
{
    free((char *)(uintptr_t)edits->fixed[0].p);
    free((char *)(uintptr_t)edits->fixed[1].p);
    for (size_t i = 0; i < edits->count; i++) {
        vv_template_free(edits->edit[i].value);
    }
    free(edits->edit);
}

static struct vv_service_state *inherited(const struct vv_runtime *former, const char *name)
{
    for (size_t i = 0; former != NULL && i < former->service_count; i++) {
        if (strcmp(former->service[i].conf->name, name) == 0) {
            vv_service_state_ref(former->service[i].state);
            return former->service[i].state;
        }
    }
    return NULL;
}

static const struct vv_breaker_settings *find_breaker(const struct vv_runtime *rt, const char *name)
{
    const struct vv_conf_list *list = rt->settings->breakers;
    for (size_t i = 0; name != NULL && list != NULL && i < list->count; i++) {
        const struct vv_breaker_settings *b = list->item[i];
        if (strcmp(b->name, name) == 0) {
            return b;
        }
    }
    return NULL;
}

static enum vv_err fail_rules(const struct vv_conf_list *on, struct vv_fail_rules *ret,
                              char *reterr_text)
{
    const char *bad = "";
    const enum vv_err err = vv_fail_rules_parse(on, ret, &bad);
    if (err != VV_OK) {
        snprintf(reterr_text, ERROR_BYTES, "\"%s\" is no kind of failure", bad);
    }
    return err;
}

static enum vv_err guard_service(struct vv_runtime *rt, struct vv_service *s,
                                 const struct vv_homes *homes, char *reterr_text)
{
    enum vv_err err = fail_rules(s->conf->retries.on, &s->retry_on, reterr_text);
    if (err != VV_OK || homes == NULL) {
        return err;
    }
    const struct vv_breaker_settings *breaker = find_breaker(rt, s->conf->breaker);
    err = vv_guards_service(homes->guards, s->conf, &s->guard);
    if (err == VV_OK && breaker != NULL) {
        err = fail_rules(breaker->on, &s->fail_on, reterr_text);
    }
    if (err == VV_OK && breaker != NULL) {
        err = vv_guards_breaker(homes->guards, breaker, s->conf->name, &s->breaker);
    }
    return err;
}

/* As in the former runtime, while nothing about it has changed. */
static enum vv_err secure_service(struct vv_service *s, const struct vv_runtime *former,
                                  char *reterr_text)
{
    const struct vv_service *old =
        former != NULL ? vv_runtime_service(former, s->conf->name) : NULL;
    struct vv_sb why = VV_SB_INIT;
    const void *field;
    const enum vv_err err =
        vv_service_tls_take(s->conf, old != NULL ? old->tls : NULL, &s->tls, &why, &field);
    if (err != VV_OK && why.n > 0) {
        snprintf(reterr_text, ERROR_BYTES, "service \"%s\": %.*s", s->conf->name, (int)why.n,
                 why.p);
    }
    vv_sb_fini(&why);
    return err;
}

static enum vv_err build_services(struct vv_runtime *rt, const struct vv_runtime *former,
                                  const struct vv_homes *homes, char *reterr_text)
{
    const struct vv_conf_list *list = rt->settings->services;
    const size_t count = list != NULL ? list->count : 0;
    rt->service = calloc(count + 1, sizeof *rt->service);
    if (rt->service == NULL) {
        return VV_ENOMEM;
    }
    rt->service_count = 0;
    for (size_t i = 0; i < count; i++) {
        struct vv_service *s = &rt->service[rt->service_count++];
        s->conf = list->item[i];
        s->index = (uint32_t)i;
        s->state = inherited(former, s->conf->name);
        enum vv_err err = VV_OK;
        if (s->state == NULL) {
            err = vv_service_state_new(s->conf->name, &s->state);
        }
        if (err == VV_OK) {
            err = compile(s->conf->hash_key, &s->hash_key, "hash_key", reterr_text);
        }
        if (err == VV_OK) {
            err = guard_service(rt, s, homes, reterr_text);
        }
        if (err == VV_OK && homes != NULL) {
            err = secure_service(s, former, reterr_text);
        }
        if (err != VV_OK) {
            return err;
        }
        if (s->conf->host != NULL && strcmp(s->conf->host, "$host") != 0) {
            s->host = vv_str_from(s->conf->host);
        }
    }
    return VV_OK;
}

struct vv_service *vv_runtime_service(const struct vv_runtime *rt, const char *name)
{
    for (size_t i = 0; name != NULL && i < rt->service_count; i++) {
        if (strcmp(rt->service[i].conf->name, name) == 0) {
            return &rt->service[i];
        }
    }
    return NULL;
}

static enum vv_err open_root(struct vv_route *r, char *reterr_text)
{
    r->root_fd = open(r->conf->files.root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (r->root_fd < 0) {
        snprintf(reterr_text, ERROR_BYTES, "files: cannot open \"%s\": %s", r->conf->files.root,
                 strerror(errno));
        return vv_err_from_errno(errno);
    }
    return VV_OK;
}

static enum vv_err build_action(struct vv_runtime *rt, struct vv_route *r,
                                const struct vv_homes *homes, char *reterr_text)
{
    switch ((enum vv_action_kind)r->conf->action) {
    case VV_ACTION_TO:
        r->action = &vv_action_proxy;
        r->service = vv_runtime_service(rt, r->conf->to);
        if (r->service == NULL) {
            snprintf(reterr_text, ERROR_BYTES, "no service named \"%s\"", r->conf->to);
            return VV_ENOENT;
        }
        return compile(r->conf->rewrite, &r->rewrite, "rewrite", reterr_text);
    case VV_ACTION_COMPOSE:
        r->action = &vv_action_compose;
        return VV_OK;
    case VV_ACTION_OBJECTS:
        r->action = &vv_action_objects;
        return homes != NULL ? vv_stores_take(homes->stores, r->conf->objects, &r->objects) : VV_OK;
    case VV_ACTION_FILES:
        r->action = &vv_action_files;
        return open_root(r, reterr_text);
    case VV_ACTION_REDIRECT:
        r->action = &vv_action_redirect;
        return compile(r->conf->redirect.to, &r->redirect, "redirect", reterr_text);
    case VV_ACTION_RESPOND:
        r->action = &vv_action_respond;
        /* A body out of a file is sent as it is: its dollars and braces mean nothing here. */
        return r->conf->respond.body_literal
                   ? VV_OK
                   : compile(r->conf->respond.body, &r->respond, "respond", reterr_text);
    }
    return VV_EINVAL;
}

static enum vv_err build_plans(struct vv_route *r, const struct vv_homes *homes, char *reterr_text)
{
    struct vv_caches *caches = homes != NULL ? homes->caches : NULL;
    const bool whole = r->action != &vv_action_compose; /* else its parts are kept, one by one */
    const enum vv_err err =
        whole ? vv_cache_plan_new(r->conf, caches, &r->cache, reterr_text) : VV_OK;
    return err == VV_OK ? vv_compress_plan_new(r->conf, &r->compress) : err;
}

/* The route's own breaker, or its service's. */
static enum vv_err build_breaker(struct vv_runtime *rt, struct vv_route *r,
                                 const struct vv_homes *homes, char *reterr_text)
{
    const struct vv_service *s = r->service;
    const char *name = r->conf->breaker != NULL ? r->conf->breaker : s->conf->breaker;
    const struct vv_breaker_settings *breaker = find_breaker(rt, name);
    if (breaker == NULL) {
        return VV_OK;
    }
    enum vv_err err = fail_rules(breaker->on, &r->fail_on, reterr_text);
    if (err == VV_OK && homes != NULL) {
        err = vv_guards_breaker(homes->guards, breaker, s->conf->name, &r->breaker);
    }
    return err;
}

static enum vv_err build_guards(struct vv_runtime *rt, struct vv_route *r,
                                const struct vv_homes *homes, char *reterr_text)
{
    char scope[ERROR_BYTES];
    snprintf(scope, sizeof scope, "route:%s", r->conf->name);
    enum vv_err err = vv_limit_plan_new(r->conf->limits, scope, false, &r->limits, reterr_text);
    if (err == VV_OK && r->service != NULL) {
        r->retries = (unsigned)(r->conf->retries != VV_CONF_ABSENT ? r->conf->retries
                                                                   : r->service->conf->retries.max);
        err = build_breaker(rt, r, homes, reterr_text);
    }
    if (err == VV_OK && r->conf->fallback.to != NULL) {
        r->fallback = vv_runtime_service(rt, r->conf->fallback.to);
    }
    if (err == VV_OK) {
        err = vv_canary_take(homes != NULL ? homes->canaries : NULL, rt, r->conf, &r->canary,
                             reterr_text);
    }
    return err == VV_OK ? vv_mirror_new(rt, r->conf, &r->mirror, reterr_text) : err;
}

static const struct vv_plan *find_plan(const struct vv_runtime *rt, const char *name)
{
    for (size_t i = 0; name != NULL && i < rt->plan_count; i++) {
        if (vv_str_eq(rt->plan[i].name, vv_str_from(name))) {
            return &rt->plan[i];
        }
    }
    return NULL;
}

/* Limits of listeners and of plans. */
static enum vv_err build_limits(struct vv_runtime *rt, char *reterr_text)
{
    const struct vv_settings *s = rt->settings;
    const size_t plans = s->access.plans != NULL ? s->access.plans->count : 0;
    char scope[ERROR_BYTES];
    enum vv_err err = VV_OK;
    rt->listener_limits =
        calloc(s->listen->count + 1, sizeof *rt->listener_limits); /* NOLINT: pointers */
    rt->plan = calloc(plans + 1, sizeof *rt->plan);
    if (rt->listener_limits == NULL || rt->plan == NULL) {
        return VV_ENOMEM;
    }
    for (size_t i = 0; err == VV_OK && i < s->listen->count; i++) {
        const struct vv_listen_settings *l = s->listen->item[i];
        snprintf(scope, sizeof scope, "listener:%s", l->name);
        err = vv_limit_plan_new(l->limits, scope, false, &rt->listener_limits[rt->listener_count++],
                                reterr_text);
    }
    for (size_t i = 0; err == VV_OK && i < plans; i++) {
        const struct vv_plan_settings *p = s->access.plans->item[i];
        const void *only = &p->limit;
        const struct vv_conf_list list = {.count = 1, .item = (void **)(uintptr_t)&only};
        struct vv_plan *to = &rt->plan[rt->plan_count++];
        to->name = vv_str_from(p->name);
        to->priority = (uint8_t)p->priority;
        snprintf(scope, sizeof scope, "plan:%s", p->name);
        err = vv_limit_plan_new(&list, scope, true, &to->limits, reterr_text);
    }
    rt->unknown = find_plan(rt, s->access.unknown);
    rt->anonymous = find_plan(rt, s->access.anonymous);
    return err;
}

static enum vv_err build_routes(struct vv_runtime *rt, const struct vv_homes *homes,
                                char *reterr_text)
{
    const struct vv_conf_list *list = rt->settings->routes;
    const size_t count = list != NULL ? list->count : 0;
    rt->route = calloc(count + 1, sizeof *rt->route);
    if (rt->route == NULL) {
        return VV_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        struct vv_route *r = &rt->route[rt->route_count++];
        r->conf = list->item[i];
        r->index = (uint32_t)i;
        r->root_fd = -1;
        r->body_bytes_max = r->conf->body_bytes_max;
        enum vv_err err = build_action(rt, r, homes, reterr_text);
        if (err == VV_OK) {
            err = compile_edits(r->conf->headers, &r->answer_edits, reterr_text);
        }
        if (err == VV_OK) {
            err = compile_edits(r->conf->browser_headers, &r->answer_edits, reterr_text);
        }
        if (err == VV_OK) {
            err = vv_edits_fix(&r->answer_edits);
        }
        if (err == VV_OK) {
            err = compile_edits(r->conf->request_headers, &r->request_edits, reterr_text);
        }
        if (err == VV_OK && r->conf->sharing != NULL) {
            err = vv_cors_new(r->conf->sharing, r->conf->methods, &r->cors);
            rt->shares = true;
        }
        if (err == VV_OK) {
            err = build_plans(r, homes, reterr_text);
        }
        if (err == VV_OK) {
            err = build_guards(rt, r, homes, reterr_text);
        }
        if (err == VV_OK) {
            err = vv_expires_plan(r);
        }
        if (err == VV_OK && r->action == &vv_action_compose) {
            err = vv_compose_new(rt, homes, r, &r->compose, reterr_text);
        }
        if (err != VV_OK) {
            return err;
        }
    }
    return vv_routes_new(rt->settings, &rt->matcher, reterr_text);
}

static void destroy(struct vv_runtime *rt, bool with_settings)
{
    for (size_t i = 0; i < rt->route_count; i++) {
        struct vv_route *r = &rt->route[i];
        vv_template_free(r->rewrite);
        vv_template_free(r->redirect);
        vv_template_free(r->respond);
        edits_free(&r->answer_edits);
        vv_cors_free(r->cors);
        edits_free(&r->request_edits);
        vv_cache_plan_free(r->cache);
        vv_compress_plan_free(r->compress);
        vv_limit_plan_free(r->limits);
        vv_named_breaker_unref(r->breaker);
        vv_compose_free(r->compose);
        vv_store_unref(r->objects);
        vv_canary_unref(r->canary);
        vv_mirror_free(r->mirror);
        free((char *)(uintptr_t)r->cache_control.p);
        if (r->root_fd >= 0) {
            close(r->root_fd);
        }
    }
    for (size_t i = 0; i < rt->service_count; i++) {
        vv_template_free(rt->service[i].hash_key);
        vv_service_guard_unref(rt->service[i].guard);
        vv_named_breaker_unref(rt->service[i].breaker);
        vv_service_tls_unref(rt->service[i].tls);
        if (rt->service[i].state != NULL) {
            vv_service_state_unref(rt->service[i].state);
        }
    }
    for (size_t i = 0; i < rt->listener_count; i++) {
        vv_limit_plan_free(rt->listener_limits[i]);
    }
    for (size_t i = 0; i < rt->plan_count; i++) {
        vv_limit_plan_free(rt->plan[i].limits);
    }
    edits_free(&rt->answer_edits);
    vv_csp_free(rt->csp);
    free(rt->listener_limits);
    free(rt->plan);
    vv_routes_free(rt->matcher);
    free(rt->route);
    free(rt->service);
    if (with_settings) {
        vv_settings_free(rt->settings);
    }
    free(rt);
}

enum vv_err vv_runtime_new(struct vv_settings *settings, const struct vv_runtime *former,
                           const struct vv_homes *homes, struct vv_runtime **ret, char *reterr_text)
{
    struct vv_runtime *rt = calloc(1, sizeof *rt);
    reterr_text[0] = '\0';
    if (rt == NULL) {
        return VV_ENOMEM;
    }
    atomic_init(&rt->refs, 1);
    rt->settings = settings;
    rt->generation = former != NULL ? former->generation + 1 : 1;
    enum vv_err err = build_services(rt, former, homes, reterr_text);
    if (err == VV_OK) {
        err = build_limits(rt, reterr_text);
    }
    if (err == VV_OK) {
        err = build_routes(rt, homes, reterr_text);
    }
    if (err == VV_OK && homes != NULL && homes->guards != NULL) {
        err = vv_sharing_use(vv_guards_sharing(homes->guards), rt);
    }
    if (err == VV_OK) {
        err = compile_edits(settings->browser_headers, &rt->answer_edits, reterr_text);
    }
    if (err == VV_OK) {
        err = vv_csp_new(settings->csp_paths, &rt->csp);
    }
    if (err != VV_OK) {
        if (reterr_text[0] == '\0') {
            snprintf(reterr_text, ERROR_BYTES, "%s", vv_err_text(err));
        }
        destroy(rt, false);
        return err;
    }
    *ret = rt;
    return VV_OK;
}

void vv_runtime_commit(struct vv_runtime *rt)
{
    for (size_t i = 0; i < rt->service_count; i++) {
        vv_service_state_conf(rt->service[i].state, &rt->service[i].conf->balance);
    }
}

void vv_runtime_ref(struct vv_runtime *rt)
{
    atomic_fetch_add_explicit(&rt->refs, 1, memory_order_relaxed);
}

void vv_runtime_unref(struct vv_runtime *rt)
{
    if (rt != NULL && atomic_fetch_sub_explicit(&rt->refs, 1, memory_order_acq_rel) == 1) {
        destroy(rt, true);
    }
}
