/* src/gateway/settings_compose_check.c - compose, fallback, canary and mirror: what must fit together. */
#include "base/units.h"
#include "gateway/settings_guard_int.h"

#define PARTS_MAX 32

static bool service_exists(const struct vv_guard_check *c, const void *field, const char *name)
{
    if (name == NULL || vv_names_get(&c->services, vv_str_from(name)) != NULL) {
        return true;
    }
    vv_settings_unknown_name(c->doc, field, "service", name, c->root->s.services, &c->services);
    return false;
}

/* ---- compose ------------------------------------------------------------------------------- */

static void check_part(const struct vv_guard_check *c, const struct vv_route_settings *r,
                       const struct vv_part_settings *p)
{
    if (strcmp(p->name, "degraded") == 0) {
        vv_conf_report(c->doc, &(struct vv_conf_report){.field = &p->name},
                       "the answer has a member \"degraded\" of its own");
    }
    (void)service_exists(c, &p->to, p->to);
    (void)service_exists(c, &p->fallback.given, p->fallback.to);
    vv_settings_check_template(c->doc, &p->path, p->path, r->path,
                               VV_CHECK_COMPILES | VV_CHECK_PARAMS);
    if (p->path != NULL && strchr("/${", p->path[0]) == NULL) {
        vv_conf_report(c->doc,
                       &(struct vv_conf_report){
                           .field = &p->path, .hint = vv_guard_check_fmt(c, "write /%s", p->path)},
                       "the path of a part begins with \"/\"");
    }
    if (!vv_settings_is_token(p->method)) {
        vv_conf_report(c->doc, &(struct vv_conf_report){.field = &p->method},
                       "\"%s\" cannot be a method", p->method);
    }
    if (p->timeout_ns > r->compose.timeout_ns) {
        vv_conf_report(c->doc,
                       &(struct vv_conf_report){.field = &p->timeout_ns,
                                                .other = &r->compose.timeout_ns,
                                                .other_what = "timeout of the whole",
                                                .warning = true},
                       "part \"%s\" may take longer than all parts together", p->name);
    }
}

/* "{{name}}" stands for a part, "{{degraded}}" for the list of what is missing. */
static void check_body(const struct vv_guard_check *c, const struct vv_compose_settings *k)
{
    struct vv_name_index parts;
    vv_names_init(&parts, c->doc, vv_list_count(k->parts));
    for (size_t i = 0; i < vv_list_count(k->parts); i++) {
        vv_names_put(&parts, k->parts->name[i], k->parts->item[i]);
    }
    for (const char *at = k->body; at != NULL && (at = strstr(at, "{{")) != NULL; at += 2) {
        const char *end = strstr(at, "}}");
        if (end == NULL) {
            vv_conf_report(c->doc, &(struct vv_conf_report){.field = &k->body},
                           "\"{{\" is never closed");
            return;
        }
        const struct vv_str name = vv_str_trim((struct vv_str){at + 2, (size_t)(end - at) - 2});
        if (vv_names_get(&parts, name) == NULL && !vv_str_eq(name, VV_STR("degraded"))) {
            vv_settings_unknown_name(c->doc, &k->body, "part", vv_conf_dup(c->doc, name), k->parts,
                                     &parts);
        }
    }
}

static void check_compose(const struct vv_guard_check *c, const struct vv_route_settings *r)
{
    const struct vv_compose_settings *k = &r->compose;
    const size_t count = vv_list_count(k->parts);
    if (k->parts != NULL && (count == 0 || count > PARTS_MAX)) {
        vv_conf_report(c->doc, &(struct vv_conf_report){.field = &k->parts},
                       "an answer is composed of 1 to %d parts, not of %zu", PARTS_MAX, count);
    }
    for (size_t i = 0; i < count; i++) {
        check_part(c, r, k->parts->item[i]);
    }
    check_body(c, k);
}

/* ---- fallback ------------------------------------------------------------------------------ */

static void check_fallback(const struct vv_guard_check *c, const struct vv_route_settings *r)
{
    const struct vv_fallback_settings *f = &r->fallback;
    if (f->given == NULL) {
        return;
    }
    if (r->action != VV_ACTION_TO && r->action != VV_ACTION_COMPOSE) {
        vv_conf_report(c->doc, &(struct vv_conf_report){.field = &f->given, .warning = true},
                       "fallback does nothing here: this answer does not fail");
    }
    if (f->kind == VV_FALLBACK_STALE && r->cache == NULL) {
        vv_conf_report(
            c->doc, &(struct vv_conf_report){.field = &f->given, .hint = "add cache: 5m"},
            "route \"%s\" keeps no answers that could be sent when they are stale", r->name);
    }
    if (service_exists(c, &f->given, f->to) && f->to != NULL && r->to != NULL &&
        strcmp(f->to, r->to) == 0) {
        vv_conf_report(c->doc,
                       &(struct vv_conf_report){.field = &f->given,
                                                .other = &r->to,
                                                .other_what = "to",
                                                .hint = "name another service"},
                       "service \"%s\" cannot stand in for itself", f->to);
    }
}

/* ---- canary and mirror --------------------------------------------------------------------- */

static void check_steps(const struct vv_guard_check *c, const struct vv_canary_settings *k)
{
    uint64_t before = 0;
    for (size_t i = 0; i < vv_list_count(k->steps); i++) {
        const char *text = k->steps->item[i];
        uint64_t ppm = 0;
        if (vv_parse_ppm(vv_str_from(text), &ppm) != VV_OK || ppm == 0 || ppm > VV_PPM) {
            vv_conf_report(c->doc,
                           &(struct vv_conf_report){.field = &k->steps->item[i],
                                                    .hint = "write [5%, 25%, 50%, 100%]"},
                           "\"%s\" is no share above 0%% and up to 100%%", text);
        } else if (ppm <= before) {
            vv_conf_report(c->doc, &(struct vv_conf_report){.field = &k->steps->item[i]},
                           "the steps of a canary rise");
        }
        before = vv_max_u64(before, ppm);
    }
}

static void check_canary(const struct vv_guard_check *c, const struct vv_route_settings *r)
{
    const struct vv_canary_settings *k = &r->canary;
    if (service_exists(c, &k->to, k->to) && k->to != NULL && r->to != NULL &&
        strcmp(k->to, r->to) == 0) {
        vv_conf_report(
            c->doc, &(struct vv_conf_report){.field = &k->to, .other = &r->to, .other_what = "to"},
            "service \"%s\" cannot be tried against itself", k->to);
    }
    check_steps(c, k);
    if (strcmp(k->sticky, "none") != 0) {
        vv_settings_check_template(c->doc, &k->sticky, k->sticky, r->path,
                                   VV_CHECK_COMPILES | VV_CHECK_PARAMS);
    }
    if (k->header != NULL && !vv_settings_is_token(k->header)) {
        vv_conf_report(c->doc, &(struct vv_conf_report){.field = &k->header},
                       "\"%s\" cannot be the name of a header", k->header);
    }
}

/* Keys that say how a service is asked. */
static void check_needs_to(const struct vv_guard_check *c, const struct vv_route_settings *r)
{
    const struct {
        const char *key;
        const void *field;
        bool whole, given;
    } keys[] = {
        {"canary", &r->canary, true, r->canary.enabled != 0},
        {"mirror", &r->mirror, true, r->mirror.enabled != 0},
        {"breaker", &r->breaker, false, r->breaker != NULL},
        {"retries", &r->retries, false, r->retries != VV_CONF_ABSENT},
    };
    for (size_t i = 0; i < VV_COUNT(keys) && r->action != VV_ACTION_TO; i++) {
        if (keys[i].given) {
            vv_conf_report(c->doc,
                           &(struct vv_conf_report){
                               .field = keys[i].field, .whole = keys[i].whole, .warning = true},
                           "%s does nothing without \"to\"", keys[i].key);
        }
    }
}

void vv_guard_check_actions(const struct vv_guard_check *c)
{
    const struct vv_settings *s = &c->root->s;
    for (size_t i = 0; i < vv_list_count(s->routes); i++) {
        const struct vv_route_settings *r = s->routes->item[i];
        check_needs_to(c, r);
        check_compose(c, r);
        check_fallback(c, r);
        if (r->canary.enabled) {
            check_canary(c, r);
        }
        if (r->mirror.enabled) {
            (void)service_exists(c, &r->mirror.to, r->mirror.to);
        }
    }
}
