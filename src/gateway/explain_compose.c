/* src/gateway/explain_compose.c - parts as they would be asked for, and what would stand in for them. */
#include "gateway/explain_compose.h"
#include "gateway/compose_plan.h"
#include "gateway/describe.h"

#define BODY_SHOWN 1024 /* bytes of a literal */

static void say_fallback(const struct vv_fallback_settings *f, struct vv_json *j)
{
    static const char *const kinds[] = {"none", "literal", "stale", "to"};
    vv_json_key(j, "fallback");
    if (f->kind == VV_FALLBACK_NONE) {
        vv_json_null(j);
        return;
    }
    vv_json_obj(j);
    vv_json_kcstr(j, "kind", kinds[f->kind]);
    if (f->kind == VV_FALLBACK_LITERAL) {
        vv_json_ku64(j, "status", f->status);
        vv_json_kcstr(j, "type", f->type);
        vv_json_kstr(j, "body",
                     (struct vv_str){f->body, (size_t)vv_min_u64(f->body_bytes, BODY_SHOWN)});
    } else if (f->kind == VV_FALLBACK_TO) {
        vv_json_kcstr(j, "service", f->to);
    }
    vv_json_obj_end(j);
}

static void say_path(const struct vv_compose_part *p, const struct vv_template_vars *vars,
                     struct vv_arena *arena, struct vv_json *j)
{
    struct vv_str path = vars->path;
    const enum vv_err err =
        p->path != NULL ? vv_template_render(p->path, vars, arena, VV_TEMPLATE_URI, &path) : VV_OK;
    if (err == VV_OK) {
        vv_json_kstr(j, "path", path);
        return;
    }
    vv_json_kcstr(j, "path", NULL);
    vv_json_kcstr(j, "path_error",
                  err == VV_EINVAL ? "a value must not stand there" : vv_err_text(err));
}

void vv_explain_compose(const struct vv_route *r, const struct vv_template_vars *vars,
                        struct vv_arena *arena, struct vv_json *j)
{
    const struct vv_compose *c = r->compose;
    if (c == NULL) {
        return;
    }
    vv_json_key(j, "compose");
    vv_json_obj(j);
    vv_json_kcstr(j, "strategy", c->conf->strategy == 0 ? "best_effort" : "fail_fast");
    vv_describe_duration(j, "timeout", c->conf->timeout_ns);
    vv_json_kcstr(j, "body", c->conf->body);
    vv_json_key(j, "parts");
    vv_json_arr(j);
    for (size_t i = 0; i < c->count; i++) {
        const struct vv_compose_part *p = &c->part[i];
        vv_json_obj(j);
        vv_json_kstr(j, "name", p->name);
        vv_json_kcstr(j, "service", p->route.service->conf->name);
        vv_json_kstr(j, "method", p->method);
        say_path(p, vars, arena, j);
        vv_json_kcstr(j, "priority", p->conf->priority != 0 ? "critical" : "optional");
        vv_describe_duration(j, "timeout",
                             p->timeout_ns != 0 ? p->timeout_ns : c->conf->timeout_ns);
        vv_json_kcstr(j, "breaker", p->route.service->conf->breaker);
        vv_json_kbool(j, "cached", p->route.cache != NULL);
        say_fallback(&p->conf->fallback, j);
        vv_json_obj_end(j);
    }
    vv_json_arr_end(j);
    vv_json_obj_end(j);
}
