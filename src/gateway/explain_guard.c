/* src/gateway/explain_guard.c - guards told instead of asked: nothing is charged, nobody is counted. Keys of
 * a real caller are not known here, so only limits that count for all say how far they are used up. */
#include "gateway/explain_guard.h"
#include "base/units.h"
#include "gateway/describe.h"
#include "gateway/guards_look.h"
#include "gateway/homes.h"
#include "gateway/limit_look.h"

static void access_json(const struct vv_guard_question *q, struct vv_json *j)
{
    const struct vv_route_access_settings *a = &q->route->conf->access;
    const struct vv_conf_list *require = q->route->conf->require;
    if (a->enabled != 0) {
        vv_json_key(j, "access");
        vv_json_obj(j);
        vv_describe_texts(j, "by", a->by);
        if (a->plans != NULL) {
            vv_describe_texts(j, "plans", a->plans);
        }
        vv_json_obj_end(j);
    }
    if (require == NULL || require->count == 0) {
        return;
    }
    vv_json_key(j, "require");
    vv_json_obj(j);
    for (size_t i = 0; i < require->count; i++) {
        const struct vv_header_match *m = require->item[i];
        vv_json_kcstr(j, m->name, m->value);
    }
    vv_json_obj_end(j);
}

/* The plan of a caller takes the place of what is counted per client; plans are shown with `vivace key`. */
static void limits_json(const struct vv_guard_question *q, struct vv_json *j)
{
    const struct vv_limit_look look = {
        .limits = q->homes != NULL ? vv_guards_limits(q->homes->guards) : NULL,
        .now_ns = q->now_ns};
    const struct vv_limit_plan *listener =
        q->listener < q->rt->listener_count ? q->rt->listener_limits[q->listener] : NULL;
    if (listener == NULL && q->route->limits == NULL) {
        return;
    }
    vv_json_key(j, "limits");
    vv_json_arr(j);
    (void)vv_limit_look(&look, listener, j);
    (void)vv_limit_look(&look, q->route->limits, j);
    vv_json_arr_end(j);
}

static void breaker_json(const struct vv_guard_question *q, struct vv_json *j)
{
    const struct vv_route *r = q->route;
    const char *name = r->conf->breaker != NULL ? r->conf->breaker
                       : r->service != NULL     ? r->service->conf->breaker
                                                : NULL;
    if (r->breaker != NULL) {
        vv_json_key(j, "breaker");
        vv_breaker_json(r->breaker, q->now_ns, j);
    } else if (name != NULL) {
        vv_json_kcstr(j, "breaker", name);
    }
}

static void service_json(const struct vv_guard_question *q, struct vv_json *j)
{
    const struct vv_service *s = q->route->service;
    char text[32];
    if (s == NULL) {
        return;
    }
    vv_json_key(j, "retries");
    vv_json_obj(j);
    vv_json_ku64(j, "max", q->route->retries);
    vv_describe_texts(j, "when", s->conf->retries.on);
    vv_json_kcstr(j, "budget", vv_format_ppm(s->conf->retries.budget_ppm, text, sizeof text));
    vv_json_obj_end(j);
    if (s->guard != NULL) {
        vv_json_key(j, "service");
        vv_service_guard_json(s->guard, q->now_ns, j);
    }
}

static void fallback_json(const struct vv_guard_question *q, struct vv_json *j)
{
    const struct vv_fallback_settings *f = &q->route->conf->fallback;
    switch ((enum vv_fallback_kind)f->kind) {
    case VV_FALLBACK_NONE:
        return;
    case VV_FALLBACK_LITERAL:
        vv_json_key(j, "fallback");
        vv_json_obj(j);
        vv_json_kcstr(j, "kind", "literal");
        vv_json_ku64(j, "status", f->status);
        vv_json_kcstr(j, "type", f->type);
        vv_json_ku64(j, "bytes", f->body_bytes);
        break;
    case VV_FALLBACK_STALE:
        vv_json_key(j, "fallback");
        vv_json_obj(j);
        vv_json_kcstr(j, "kind", "stale");
        break;
    case VV_FALLBACK_TO:
        vv_json_key(j, "fallback");
        vv_json_obj(j);
        vv_json_kcstr(j, "kind", "to");
        vv_json_kcstr(j, "service", f->to);
        break;
    }
    vv_json_obj_end(j);
}

static void split_json(const struct vv_guard_question *q, struct vv_json *j)
{
    const struct vv_route_settings *conf = q->route->conf;
    char text[32];
    if (conf->canary.enabled != 0) {
        vv_json_key(j, "canary");
        vv_json_obj(j);
        vv_json_kcstr(j, "to", conf->canary.to);
        vv_json_kcstr(j, "sticky", conf->canary.sticky);
        vv_json_kcstr(j, "header", conf->canary.header);
        vv_json_obj_end(j);
    }
    if (conf->mirror.enabled != 0) {
        vv_json_key(j, "mirror");
        vv_json_obj(j);
        vv_json_kcstr(j, "to", conf->mirror.to);
        vv_json_kcstr(j, "share", vv_format_ppm(conf->mirror.share_ppm, text, sizeof text));
        vv_json_obj_end(j);
    }
}

void vv_explain_guard(const struct vv_guard_question *q, struct vv_json *j)
{
    static const char *const priorities[] = {"high", "normal", "low", "batch"};
    const uint64_t priority = q->route->conf->priority;
    vv_json_key(j, "guards");
    vv_json_obj(j);
    vv_json_kcstr(j, "priority",
                  priority < VV_COUNT(priorities) ? priorities[priority]
                                                  : "the plan's, else normal");
    access_json(q, j);
    limits_json(q, j);
    breaker_json(q, j);
    service_json(q, j);
    fallback_json(q, j);
    split_json(q, j);
    vv_json_obj_end(j);
}
