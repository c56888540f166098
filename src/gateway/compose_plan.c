/* src/gateway/compose_plan.c - each part becomes a route of its own, so that the actions and the cache see
 * nothing new. */
#include "gateway/compose_plan.h"
#include "gateway/exchange.h"
#include "gateway/homes.h"
#include "gateway/plans.h"
#include <stdio.h>
#include <stdlib.h>

#define ERROR_BYTES 256

static enum vv_err fail_rules(const struct vv_runtime *rt, const struct vv_service *s,
                              struct vv_fail_rules *ret, char *reterr_text)
{
    const struct vv_conf_list *list = rt->settings->breakers;
    for (size_t i = 0; s->conf->breaker != NULL && list != NULL && i < list->count; i++) {
        const struct vv_breaker_settings *b = list->item[i];
        const char *bad = "";
        if (strcmp(b->name, s->conf->breaker) != 0) {
            continue;
        }
        const enum vv_err err = vv_fail_rules_parse(b->on, ret, &bad);
        if (err != VV_OK) {
            snprintf(reterr_text, ERROR_BYTES, "\"%s\" is no kind of failure", bad);
        }
        return err;
    }
    return VV_OK;
}

static enum vv_err make_route(const struct vv_runtime *rt, const struct vv_route *whole,
                              struct vv_compose_part *p, const char *to, struct vv_route *ret,
                              char *reterr_text)
{
    const struct vv_service *s = vv_runtime_service(rt, to);
    if (s == NULL) {
        snprintf(reterr_text, ERROR_BYTES, "no service named \"%s\"", to);
        return VV_ENOENT;
    }
    *ret = (struct vv_route){
        .conf = &p->settings,
        .action = &vv_action_proxy,
        .service = (struct vv_service *)(uintptr_t)s,
        .index = whole->index, /* its counters are those of the whole route */
        .request_edits = whole->request_edits,
        .body_bytes_max = UINT64_MAX,
        .breaker = s->breaker,
        .retries = (unsigned)s->conf->retries.max,
        .root_fd = -1,
    };
    return fail_rules(rt, s, &ret->fail_on, reterr_text);
}

/* In a template a dollar and a brace would mean something. */
static void add_plain(struct vv_sb *sb, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '$') {
            vv_sb_addc(sb, '$');
        }
        vv_sb_addc(sb, *text == '{' ? '(' : *text == '}' ? ')' : *text);
    }
}

/* Parts are asked for paths of their services: the service keeps equal paths apart. */
static enum vv_err make_key(struct vv_compose_part *p, const char *own)
{
    struct vv_sb sb = VV_SB_INIT;
    add_plain(&sb, p->conf->to);
    vv_sb_addc(&sb, ' ');
    if (own != NULL) {
        add_plain(&sb, p->conf->name);
        vv_sb_addf(&sb, " %s", own);
    } else {
        vv_sb_adds(&sb, "$scheme $host $uri");
    }
    p->key = vv_sb_take(&sb);
    return p->key != NULL ? VV_OK : VV_ENOMEM;
}

static enum vv_err plan_cache(const struct vv_homes *homes, const struct vv_route *whole,
                              struct vv_compose_part *p, char *reterr_text)
{
    struct vv_route_settings *s = &p->settings;
    if (s->cache == NULL && s->coalesces == 0) {
        return VV_OK;
    }
    const char *own = s->cache != NULL && s->cache->key != NULL ? s->cache->key : s->coalesce.key;
    /* Coalescing alone tells clients apart by their identity where no key is given: so it stays. */
    const bool by_identity = s->cache == NULL && own == NULL;
    enum vv_err err = make_key(p, own);
    if (err == VV_OK && s->cache != NULL) {
        s->caching.own = *whole->conf->cache;
        s->caching.own.key = p->key;
        s->cache = &s->caching.own;
    }
    s->coalesce.key = s->cache != NULL ? NULL : p->key;
    if (err == VV_OK) {
        err = vv_cache_plan_new(s, homes != NULL ? homes->caches : NULL, &p->route.cache,
                                reterr_text);
    }
    if (err == VV_OK && by_identity && p->route.cache != NULL) {
        p->route.cache->identity_in_key = true;
    }
    return err;
}

static void make_settings(const struct vv_route *whole, struct vv_compose_part *p)
{
    p->settings = *whole->conf;
    p->settings.action = VV_ACTION_TO;
    p->settings.to = p->conf->to;
    p->settings.timeouts.whole_ns = 0; /* the part's time is told to each request */
    p->settings.headers = NULL;
    p->settings.count_as = NULL;
    p->settings.server_timing = 0;
    p->settings.fallback = (struct vv_fallback_settings){.kind = VV_FALLBACK_NONE};
    if (p->conf->fallback.kind == VV_FALLBACK_STALE) { /* the others are the whole's business */
        p->settings.fallback = p->conf->fallback;
    }
}

static enum vv_err part_new(const struct vv_runtime *rt, const struct vv_homes *homes,
                            const struct vv_route *whole, struct vv_compose_part *p,
                            char *reterr_text)
{
    const struct vv_part_settings *conf = p->conf;
    const uint64_t whole_ns = whole->conf->compose.timeout_ns;
    p->name = vv_str_from(conf->name);
    p->method = conf->method != NULL ? vv_str_from(conf->method) : VV_STR("GET");
    p->timeout_ns = conf->timeout_ns != 0 && conf->timeout_ns < whole_ns ? conf->timeout_ns : 0;
    make_settings(whole, p);
    enum vv_err err = make_route(rt, whole, p, conf->to, &p->route, reterr_text);
    if (err == VV_OK && conf->path != NULL) {
        struct vv_template_error error = {0, ""};
        err = vv_template_new(conf->path, &p->path, &error);
        if (err == VV_ESYNTAX) {
            snprintf(reterr_text, ERROR_BYTES, "path \"%s\": %s", conf->path, error.text);
        }
    }
    if (err == VV_OK && conf->fallback.kind == VV_FALLBACK_TO) {
        err = make_route(rt, whole, p, conf->fallback.to, &p->other, reterr_text);
    }
    return err == VV_OK ? plan_cache(homes, whole, p, reterr_text) : err;
}

enum vv_err vv_compose_new(const struct vv_runtime *rt, const struct vv_homes *homes,
                           const struct vv_route *r, struct vv_compose **ret, char *reterr_text)
{
    const struct vv_compose_settings *conf = &r->conf->compose;
    const size_t count = conf->parts != NULL ? conf->parts->count : 0;
    struct vv_str names[VV_COMPOSE_PARTS_MAX];
    char why[VV_MERGE_TEXT] = "";
    if (count == 0 || count > VV_COMPOSE_PARTS_MAX) {
        snprintf(reterr_text, ERROR_BYTES, "compose: needs 1 to %d parts", VV_COMPOSE_PARTS_MAX);
        return VV_EINVAL;
    }
    struct vv_compose *c = calloc(1, sizeof *c + count * sizeof c->part[0]);
    if (c == NULL) {
        return VV_ENOMEM;
    }
    c->conf = conf;
    c->count = count;
    enum vv_err err = VV_OK;
    for (size_t i = 0; i < count && err == VV_OK; i++) {
        c->part[i].conf = conf->parts->item[i];
        names[i] = vv_str_from(c->part[i].conf->name);
        if (vv_str_eq(names[i], VV_STR("degraded"))) {
            snprintf(reterr_text, ERROR_BYTES, "compose: no part can be called \"degraded\"");
            err = VV_EINVAL;
        } else {
            err = part_new(rt, homes, r, &c->part[i], reterr_text);
        }
    }
    if (err == VV_OK) {
        err = vv_merge_new(conf->body, names, count, &c->merge, why);
        if (err == VV_ESYNTAX) {
            snprintf(reterr_text, ERROR_BYTES, "compose: body: %.200s", why);
        }
    }
    if (err != VV_OK) {
        vv_compose_free(c);
        return err;
    }
    *ret = c;
    return VV_OK;
}

void vv_compose_free(struct vv_compose *c)
{
    for (size_t i = 0; c != NULL && i < c->count; i++) {
        vv_template_free(c->part[i].path);
        vv_cache_plan_free(c->part[i].route.cache);
        free(c->part[i].key);
    }
    if (c != NULL) {
        vv_merge_free(c->merge);
    }
    free(c);
}
