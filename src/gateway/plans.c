/* src/gateway/plans.c - turns finished settings into what the request path reads: seconds instead of
 * durations, bits instead of words, lists in the order in which they are tried. */
#include "gateway/plans.h"

#include "gateway/access.h"
#include "gateway/levels.h"
#include "gateway/template.h"
#include "os/sock.h"
#include <stdio.h>
#include <stdlib.h>

#define ERROR_BYTES 256
#define AGE_BYTES 48 /* "max-age=", a number, separators and the end */
#define COALESCE_BYTES (16 * VV_MIB)

/* Statuses that may be kept without being told (RFC 9110 section 15.1), but 206: `ttl.default` is for
 * them. An error of the service is never kept because somebody wrote `cache: 1h`. */
static const struct {
    int low, high;
} by_default[] = {{200, 200}, {203, 204}, {300, 301}, {308, 308},
                  {404, 405}, {410, 410}, {414, 414}, {501, 501}};

static uint32_t seconds(uint64_t ns) /* rounded up: a positive time never becomes none */
{
    const uint64_t s = ns / VV_SEC + (ns % VV_SEC != 0);
    return s < UINT32_MAX ? (uint32_t)s : UINT32_MAX;
}

/* ---- lists --------------------------------------------------------------------------------- */

static const struct vv_str *texts(const struct vv_conf_list *list, size_t *ret_count)
{
    const size_t count = list != NULL ? list->count : 0;
    struct vv_str *out = calloc(count + 1, sizeof *out);
    for (size_t i = 0; out != NULL && i < count; i++) {
        out[i] = vv_str_from(list->item[i]);
    }
    *ret_count = count;
    return out;
}

static void free_const(const void *p)
{
    free((void *)(uintptr_t)p);
}

/* One status goes before a class, a class before a longer range, defaults after all. */
static void insert_ttl(struct vv_cache_ttl *list, size_t *count, struct vv_cache_ttl t)
{
    size_t at = (*count)++;
    for (; at > 0; at--) {
        const int width = list[at - 1].status_max - list[at - 1].status_min;
        if (width <= t.status_max - t.status_min) {
            break;
        }
        list[at] = list[at - 1];
    }
    list[at] = t;
}

static enum vv_err compile_ttl(const struct vv_cache_settings *s, struct vv_cache_options *o)
{
    const size_t count = s->ttl != NULL ? s->ttl->count : 0;
    struct vv_cache_ttl *list = calloc(count + VV_COUNT(by_default), sizeof *list);
    const struct vv_ttl_settings *other = NULL;
    if (list == NULL) {
        return VV_ENOMEM;
    }
    o->ttl = list;
    o->ttl_count = 0;
    for (size_t i = 0; i < count; i++) {
        const struct vv_ttl_settings *t = s->ttl->item[i];
        if (t->low == 0) {
            other = t;
            continue;
        }
        insert_ttl(
            list, &o->ttl_count,
            (struct vv_cache_ttl){(int)t->low, (int)t->high, seconds(t->ttl_ns), s->override != 0});
    }
    for (size_t i = 0; other != NULL && i < VV_COUNT(by_default); i++) {
        list[o->ttl_count++] = (struct vv_cache_ttl){by_default[i].low, by_default[i].high,
                                                     seconds(other->ttl_ns), s->override != 0};
    }
    return VV_OK;
}

static enum vv_err compile_purge(const struct vv_conf_list *list, struct vv_cache_plan *p)
{
    const size_t count = list != NULL ? list->count : 0;
    if (count == 0) {
        return VV_OK;
    }
    p->purge = calloc(count, sizeof *p->purge);
    if (p->purge == NULL) {
        return VV_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        const enum vv_err err = vv_cidr_parse(vv_str_from(list->item[i]), &p->purge[i]);
        if (err != VV_OK) {
            return err;
        }
        p->purge_count++;
    }
    return VV_OK;
}

static enum vv_err compile_drop(struct vv_str text, struct vv_cache_drop *d)
{
    struct vv_template_error error = {0, ""};
    enum vv_err err = VV_OK;
    size_t stars = 0;
    for (size_t i = 0; i < text.n; i++) {
        stars += text.p[i] == '*';
    }
    d->part = calloc(stars + 1, sizeof(struct vv_template *));
    if (d->part == NULL) {
        return VV_ENOMEM;
    }
    while (d->count <= stars && err == VV_OK) {
        const struct vv_str part = vv_str_cut(&text, '*');
        char *copy = strndup(part.n > 0 ? part.p : "", part.n);
        err = copy != NULL ? vv_template_new(copy, &d->part[d->count], &error) : VV_ENOMEM;
        d->count += err == VV_OK;
        free(copy);
    }
    return err;
}

static enum vv_err compile_drops(const struct vv_conf_list *list, struct vv_cache_plan *p)
{
    enum vv_err err = VV_OK;
    if (list == NULL || list->count == 0) {
        return VV_OK;
    }
    p->drop = calloc(list->count, sizeof *p->drop);
    if (p->drop == NULL) {
        return VV_ENOMEM;
    }
    while (p->drop_count < list->count && err == VV_OK) {
        err = compile_drop(vv_str_from(list->item[p->drop_count]), &p->drop[p->drop_count]);
        p->drop_count++;
    }
    return err;
}

static void drops_free(struct vv_cache_plan *p)
{
    for (size_t i = 0; i < p->drop_count; i++) {
        for (size_t k = 0; k < p->drop[i].count; k++) {
            vv_template_free(p->drop[i].part[k]);
        }
        free(p->drop[i].part);
    }
    free(p->drop);
}

/* ---- caching ------------------------------------------------------------------------------- */

static enum vv_err compile_key(const char *text, struct vv_cache_plan *p, char *reterr_text)
{
    struct vv_template_error error = {0, ""};
    if (text == NULL) {
        return VV_OK;
    }
    const enum vv_err err = vv_template_new(text, &p->key, &error);
    if (err != VV_OK) {
        snprintf(reterr_text, ERROR_BYTES, "key \"%s\": %s", text,
                 err == VV_ESYNTAX ? error.text : vv_err_text(err));
    }
    return err;
}

static uint32_t method_bit(enum vv_method m)
{
    return (uint32_t)1 << m;
}

/* What answers a GET answers a HEAD. */
static uint32_t methods_of(const struct vv_conf_list *list)
{
    const uint32_t get = method_bit(VV_METHOD_GET) | method_bit(VV_METHOD_HEAD);
    uint32_t bits = list == NULL ? get : 0;
    for (size_t i = 0; list != NULL && i < list->count; i++) {
        const struct vv_str name = vv_str_from(list->item[i]);
        bits |= vv_str_eq(name, VV_STR("GET"))    ? get
                : vv_str_eq(name, VV_STR("HEAD")) ? method_bit(VV_METHOD_HEAD)
                : vv_str_eq(name, VV_STR("POST")) ? method_bit(VV_METHOD_POST)
                                                  : 0;
    }
    return bits;
}

static enum vv_err compile_options(const struct vv_cache_settings *s, struct vv_cache_plan *p)
{
    struct vv_cache_options *o = &p->options;
    *o = vv_cache_options_default;
    o->heuristic_ppm = (uint32_t)s->heuristic_ppm;
    o->ttl_max_s = seconds(s->ttl_max_ns);
    o->stale_while_revalidate_s = seconds(s->stale.while_revalidate_ns);
    o->stale_if_error_s = seconds(s->stale.if_error_ns);
    o->surrogate = s->surrogate != 0;
    o->ignore_request = s->client_directives == 0;
    o->keep_set_cookie = s->set_cookie != 0;
    o->keep_authorized = s->authorized != 0;
    o->keep_post = p->body_in_key;
    o->targets = texts(s->targets, &o->targets_count);
    p->key_rules = (struct vv_key_rules){.ignore_query = s->ignore_query != 0,
                                         .sort_query = s->sort_query != 0};
    p->key_rules.drop = texts(s->drop_query, &p->key_rules.drop_count);
    if (o->targets == NULL || p->key_rules.drop == NULL) {
        return VV_ENOMEM;
    }
    return compile_ttl(s, o);
}

static enum vv_err plan_cache(const struct vv_route_settings *r, struct vv_caches *caches,
                              struct vv_cache_plan *p, char *reterr_text)
{
    const struct vv_cache_settings *s = r->cache;
    const struct vv_cache_settings *memory = s->memory;
    const char *key = s->key == NULL && r->coalesces != 0 ? r->coalesce.key : s->key;
    p->conf = s;
    p->name = vv_str_from(memory->name);
    p->show = s->show != NULL ? vv_str_from(s->show) : (struct vv_str){NULL, 0};
    p->methods = methods_of(s->methods);
    p->body_in_key = (p->methods & method_bit(VV_METHOD_POST)) != 0;
    p->wait_ns = s->wait_ns;
    enum vv_err err = compile_options(s, p);
    if (err == VV_OK) {
        err = compile_key(key, p, reterr_text);
    }
    if (err == VV_OK) {
        /* A key in a field of its own tells callers apart just as well. */
        const bool by_key = r->access.enabled != 0 && (r->access.methods & VV_BY_KEY) != 0;
        p->identity_in_key =
            s->authorized != 0 && (p->key == NULL || by_key ||
                                   !vv_template_names_header(p->key, VV_STR("Authorization")));
        err = compile_purge(s->purge, p);
    }
    if (err == VV_OK) {
        err = compile_drops(s->invalidates, p);
    }
    if (err == VV_OK && caches != NULL) {
        err = vv_caches_take(caches, memory->name, memory->levels->item[0], memory->snapshot,
                             &p->cache);
    }
    if (err == VV_OK && caches != NULL) {
        err = vv_levels_take(p->cache, memory, &p->levels);
    }
    return err;
}

static enum vv_err plan_coalesce(const struct vv_route_settings *r, struct vv_caches *caches,
                                 struct vv_cache_plan *p, char *reterr_text)
{
    const struct vv_coalesce_settings *s = &r->coalesce;
    const struct vv_level_settings level = {.memory_bytes = COALESCE_BYTES, .entries = s->entries};
    p->name = vv_str_from(s->memory);
    p->methods = methods_of(NULL);
    p->coalesce_only = true;
    p->keep_s = seconds(s->keep_ns);
    p->wait_ns = s->wait_ns;
    p->options = vv_cache_options_default;
    p->options.targets = NULL; /* they would be freed, and are not asked */
    p->options.targets_count = 0;
    p->identity_in_key = s->key == NULL;
    enum vv_err err = compile_key(s->key, p, reterr_text);
    if (err == VV_OK && caches != NULL) {
        err = vv_caches_take(caches, s->memory, &level, NULL, &p->cache);
    }
    return err;
}

enum vv_err vv_cache_plan_new(const struct vv_route_settings *r, struct vv_caches *caches,
                              struct vv_cache_plan **ret, char *reterr_text)
{
    *ret = NULL;
    if (r->cache == NULL && r->coalesces == 0) {
        return VV_OK;
    }
    struct vv_cache_plan *p = calloc(1, sizeof *p);
    if (p == NULL) {
        return VV_ENOMEM;
    }
    /* A route that compresses does it itself, from the one plain answer it keeps. */
    p->vary_rules.no_codings = r->compresses != 0;
    const enum vv_err err = r->cache != NULL ? plan_cache(r, caches, p, reterr_text)
                                             : plan_coalesce(r, caches, p, reterr_text);
    if (err != VV_OK) {
        vv_cache_plan_free(p);
        return err;
    }
    *ret = p;
    return VV_OK;
}

void vv_cache_plan_free(struct vv_cache_plan *p)
{
    if (p == NULL) {
        return;
    }
    vv_levels_unref(p->levels);
    vv_named_cache_unref(p->cache);
    vv_template_free(p->key);
    free_const(p->options.ttl);
    free_const(p->options.targets);
    free_const(p->key_rules.drop);
    free(p->purge);
    drops_free(p);
    free(p);
}

/* ---- compression --------------------------------------------------------------------------- */

enum vv_err vv_compress_plan_new(const struct vv_route_settings *r, struct vv_compress_plan **ret)
{
    const struct vv_compress_settings *s = &r->compress;
    *ret = NULL;
    if (r->compresses == 0) {
        return VV_OK;
    }
    struct vv_compress_plan *p = calloc(1, sizeof *p);
    const size_t count = s->encodings != NULL ? s->encodings->count : 0;
    enum vv_encoding *prefer = calloc(count + 1, sizeof *prefer);
    if (p == NULL || prefer == NULL) {
        free(p);
        free(prefer);
        return VV_ENOMEM;
    }
    p->rules.prefer = prefer;
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < VV_ENCODING_COUNT; k++) {
            if (vv_str_eq(vv_encodings[k].name, vv_str_from(s->encodings->item[i]))) {
                prefer[p->rules.prefer_count++] = (enum vv_encoding)k;
            }
        }
    }
    p->rules.bytes_min = s->bytes_min;
    p->level = (int)s->level;
    p->rules.type = texts(s->types, &p->rules.type_count);
    if (p->rules.type == NULL) {
        vv_compress_plan_free(p);
        return VV_ENOMEM;
    }
    *ret = p;
    return VV_OK;
}

void vv_compress_plan_free(struct vv_compress_plan *p)
{
    if (p != NULL) {
        free_const(p->rules.prefer);
        free_const(p->rules.type);
        free(p);
    }
}

/* ---- expires ------------------------------------------------------------------------------- */

/* The edit that `expires` goes with: a text that stands for itself and says nothing about lifetimes. The
 * edits lie in the order of the settings. */
static struct vv_edit *mergeable(const struct vv_route *r, struct vv_str *ret_text)
{
    const struct vv_edits *edits = &r->answer_edits;
    struct vv_edit *found = NULL;
    struct vv_cc cc;
    vv_cc_init(&cc);
    for (size_t i = 0; i < edits->count; i++) {
        if (edits->edit[i].id != VV_FIELD_CACHE_CONTROL) {
            continue; /* and those of `secure` behind them are none */
        }
        const struct vv_header_edit *e = r->conf->headers->item[i];
        if (found != NULL || e->value == NULL || strpbrk(e->value, "${") != NULL) {
            return NULL;
        }
        found = &edits->edit[i];
        *ret_text = vv_str_from(e->value);
        vv_cc_add(&cc, *ret_text);
    }
    const bool own = vv_cc_has(&cc, VV_CC_NO_STORE) || vv_cc_has(&cc, VV_CC_NO_CACHE) ||
                     cc.number[VV_CC_MAX_AGE] != VV_CC_UNSET;
    return own ? NULL : found;
}

enum vv_err vv_expires_plan(struct vv_route *r)
{
    struct vv_edits *edits = &r->answer_edits;
    struct vv_str rest = {NULL, 0};
    if (r->conf->expires_ns == UINT64_MAX) {
        return VV_OK;
    }
    struct vv_edit *e = mergeable(r, &rest);
    const size_t cap = AGE_BYTES + (e != NULL ? rest.n : 0);
    char *text = malloc(cap);
    if (text == NULL) {
        return VV_ENOMEM;
    }
    const unsigned long long age_s = r->conf->expires_ns / VV_SEC;
    if (e == NULL || rest.n == 0) {
        snprintf(text, cap, "max-age=%llu", age_s);
    } else { /* who may keep it stands in front, by custom */
        const struct vv_str first = vv_str_trim(vv_str_cut(&rest, ','));
        rest = vv_str_trim(rest);
        snprintf(text, cap, VV_STR_FMT ", max-age=%llu%s" VV_STR_FMT, VV_STR_ARG(first), age_s,
                 rest.n > 0 ? ", " : "", VV_STR_ARG(rest));
    }
    r->cache_control = vv_str_from(text);
    if (e != NULL) {
        r->cache_control_whole = true;
        vv_template_free(e->value);
        const size_t after = edits->count - (size_t)(e - edits->edit) - 1;
        memmove(e, e + 1, after * sizeof *e);
        edits->count--;
    }
    return VV_OK;
}
