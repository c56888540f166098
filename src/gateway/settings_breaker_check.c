/* src/gateway/settings_breaker_check.c - breakers, retries, hedges and places: what must fit together. */
#include "gateway/guards.h"
#include "gateway/settings_guard_int.h"

/* Words are read by whoever uses them, one at a time so that each has its place. */
static void check_failures(const struct vv_guard_check *c, const struct vv_conf_list *on)
{
    for (size_t i = 0; i < vv_list_count(on); i++) {
        static const char *const words[] = {"connect", "timeout", "broken"};
        const struct vv_conf_list one = {.count = 1, .item = &on->item[i]};
        struct vv_fail_rules rules;
        if (vv_fail_rules_parse(&one, &rules, NULL) == VV_OK) {
            continue;
        }
        const char *near = vv_conf_nearest(on->item[i], words, VV_COUNT(words));
        vv_conf_report(c->doc,
                       &(struct vv_conf_report){
                           .field = &on->item[i],
                           .hint = near != NULL
                                       ? vv_guard_check_fmt(c, "did you mean \"%s\"?", near)
                                       : "connect, timeout, broken, 503 or 5xx"},
                       "\"%s\" is no failure", (const char *)on->item[i]);
    }
}

/* The greater one is wrong, or the smaller one; whichever was written is pointed at. */
static void check_order(const struct vv_guard_check *c, const uint64_t *small,
                        const uint64_t *great, const char *small_key, const char *great_key)
{
    if (*small > *great) {
        const bool at_great = vv_conf_given(c->doc, great);
        vv_conf_report(c->doc,
                       &(struct vv_conf_report){.field = at_great ? great : small,
                                                .other = at_great ? small : great,
                                                .other_what = at_great ? small_key : great_key},
                       "%s is more than %s", small_key, great_key);
    }
}

static void check_breaker(const struct vv_guard_check *c, const struct vv_breaker_settings *b)
{
    vv_guard_check_name(c, &b->name, b->name, "breaker");
    check_failures(c, b->on);
    vv_guard_check_share(c, &b->share);
    check_order(c, &b->recover_ns, &b->recover_max_ns, "recover", "max_recover");
    if (b->failures == 0 && b->accept_ppm >= VV_PPM && b->slow_ns == 0) {
        vv_conf_report(c->doc,
                       &(struct vv_conf_report){.field = b,
                                                .whole = true,
                                                .warning = true,
                                                .hint = "give failures, accept or slow"},
                       "breaker \"%s\" never opens", b->name);
    }
    if (b->on != NULL && b->on->count == 0) {
        vv_conf_report(c->doc, &(struct vv_conf_report){.field = &b->on},
                       "nothing is a failure for breaker \"%s\"", b->name);
    }
}

static void check_breaker_name(const struct vv_guard_check *c, const char *const *field)
{
    if (*field != NULL && vv_names_get(&c->breakers, vv_str_from(*field)) == NULL) {
        vv_settings_unknown_name(c->doc, field, "breaker", *field, c->root->s.breakers,
                                 &c->breakers);
    }
}

static void check_places(const struct vv_guard_check *c, const struct vv_concurrency_settings *k)
{
    if (k->enabled && k->limit == 0) {
        check_order(c, &k->min, &k->max, "min", "max");
        check_order(c, &k->min, &k->initial, "min", "initial");
        check_order(c, &k->initial, &k->max, "initial", "max");
    }
}

static void check_service(const struct vv_guard_check *c, const struct vv_service_settings *s)
{
    check_breaker_name(c, &s->breaker);
    check_failures(c, s->retries.on);
    check_order(c, &s->retries.backoff_ns, &s->retries.backoff_max_ns, "backoff", "max_backoff");
    check_places(c, &s->concurrency);
    check_order(c, &s->hedge.min_ns, &s->hedge.max_ns, "min", "max");
    if (s->hedge.enabled && vv_list_count(s->servers) == 1) {
        vv_conf_report(
            c->doc,
            &(struct vv_conf_report){
                .field = &s->hedge, .whole = true, .warning = true, .hint = "add a second server"},
            "service \"%s\" has nobody else to ask", s->name);
    }
}

static void check_unused(const struct vv_guard_check *c)
{
    const struct vv_settings *s = &c->root->s;
    struct vv_name_index used;
    vv_names_init(&used, c->doc, vv_list_count(s->breakers));
    for (size_t i = 0; i < vv_list_count(s->services); i++) {
        struct vv_service_settings *service = s->services->item[i];
        if (service->breaker != NULL) {
            vv_names_put(&used, service->breaker, service);
        }
    }
    for (size_t i = 0; i < vv_list_count(s->routes); i++) {
        struct vv_route_settings *r = s->routes->item[i];
        if (r->breaker != NULL) {
            vv_names_put(&used, r->breaker, r);
        }
    }
    for (size_t i = 0; i < vv_list_count(s->breakers); i++) {
        const struct vv_breaker_settings *b = s->breakers->item[i];
        if (vv_names_get(&used, vv_str_from(b->name)) == NULL) {
            vv_conf_report(c->doc,
                           &(struct vv_conf_report){
                               .field = b,
                               .whole = true,
                               .warning = true,
                               .hint = vv_guard_check_fmt(
                                   c, "give a service breaker: %s, or remove it", b->name)},
                           "no service and no route uses breaker \"%s\"", b->name);
        }
    }
}

void vv_guard_check_services(const struct vv_guard_check *c)
{
    const struct vv_settings *s = &c->root->s;
    for (size_t i = 0; i < vv_list_count(s->breakers); i++) {
        check_breaker(c, s->breakers->item[i]);
    }
    for (size_t i = 0; i < vv_list_count(s->services); i++) {
        check_service(c, s->services->item[i]);
    }
    for (size_t i = 0; i < vv_list_count(s->routes); i++) {
        const struct vv_route_settings *r = s->routes->item[i];
        check_breaker_name(c, &r->breaker);
    }
    if (!vv_conf_has_errors(c->doc)) { /* unknown names may be what it is used under */
        check_unused(c);
    }
}
