/* src/gateway/settings_guard_check.c - limits and access: what must fit together, told with both ends.
 *
 * Runs on finished settings that may have other errors: numbers out of a text that was refused are 0
 * and are passed over. */
#include "gateway/access.h"
#include "gateway/admit_int.h"
#include "gateway/jwt.h"
#include "gateway/settings_guard_int.h"
#include "guard/limit.h"

#include <stdio.h>

static bool is_listed(const char *word, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(word, words[i]) == 0) {
            return true;
        }
    }
    return false;
}

const char *vv_guard_check_fmt(const struct vv_guard_check *c, const char *fmt, ...)
{
    char text[256];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return vv_conf_dup(c->doc, vv_str_from(text));
}

void vv_guard_check_words(const struct vv_guard_check *c, const struct vv_conf_list *list,
                          const char *const *words, size_t count, const char *what)
{
    for (size_t i = 0; i < vv_list_count(list); i++) {
        const char *word = list->item[i];
        const char *near = vv_conf_nearest(word, words, count);
        if (!is_listed(word, words, count)) {
            vv_conf_report(c->doc,
                           &(struct vv_conf_report){
                               .field = &list->item[i],
                               .hint = near != NULL
                                           ? vv_guard_check_fmt(c, "did you mean \"%s\"?", near)
                                           : NULL},
                           "\"%s\" is no %s", word, what);
        }
    }
}

/* Names stand in metrics, in "class:service" and in header fields. */
void vv_guard_check_name(const struct vv_guard_check *c, const void *field, const char *name,
                         const char *what)
{
    const size_t plain = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                      "0123456789_-.");
    if (name[0] == '\0' || name[plain] != '\0') {
        vv_conf_report(c->doc,
                       &(struct vv_conf_report){.field = field,
                                                .hint = "letters, digits, \"_\", \"-\" and \".\""},
                       "\"%s\" cannot be the name of a %s", name, what);
    }
}

/* ---- one limit ----------------------------------------------------------------------------- */

static void check_quota(const struct vv_guard_check *c, const struct vv_limit_settings *l)
{
    const char *hint = NULL;
    if (l->quota_per_ns == 0) {
        return;
    }
    if (l->quota_count > VV_LIMIT_QUOTA_MAX) {
        hint = "4194303 at most; for more than that write a rate";
    } else if (l->quota_per_ns > VV_LIMIT_WINDOW_MAX_NS) {
        hint = "48d at most";
    } else if (l->quota_per_ns % VV_SEC != 0) {
        hint = "whole seconds; for less than that write a rate";
    }
    if (hint != NULL) {
        vv_conf_report(c->doc, &(struct vv_conf_report){.field = &l->quota, .hint = hint},
                       "\"%s\" is more than a quota can keep count of", l->quota);
    } else if (l->weight > l->quota_count) {
        vv_conf_report(c->doc,
                       &(struct vv_conf_report){
                           .field = &l->weight, .other = &l->quota, .other_what = "quota"},
                       "a request that counts for %llu never passes here",
                       (unsigned long long)l->weight);
    }
}

/* at_once: how many pass together, the first one included. */
static void check_rate(const struct vv_guard_check *c, const struct vv_limit_settings *l,
                       uint64_t at_once)
{
    struct vv_limit made;
    const bool burst_given = vv_conf_given(c->doc, &l->burst);
    if (l->rate == NULL && l->burst > 0 && burst_given) {
        vv_conf_report(c->doc,
                       &(struct vv_conf_report){
                           .field = &l->burst, .warning = true, .hint = "add rate: 100/s"},
                       "burst does nothing without a rate");
    }
    if (l->rate_per_ns == 0) {
        return;
    }
    if (vv_limit_init(&made, VV_LIMIT_RATE, 1, l->rate_count, l->rate_per_ns, at_once) != VV_OK) {
        vv_conf_report(c->doc,
                       &(struct vv_conf_report){.field = burst_given ? (const void *)&l->burst
                                                                     : (const void *)&l->rate,
                                                .other = burst_given ? &l->rate : NULL,
                                                .other_what = "rate",
                                                .hint = "use a quota for so long a time"},
                       "%llu at once at a rate of %s take too long to come back",
                       (unsigned long long)at_once, l->rate);
    } else if (l->weight > at_once) {
        vv_conf_report(c->doc,
                       &(struct vv_conf_report){
                           .field = &l->weight, .other = &l->burst, .other_what = "burst"},
                       "a request that counts for %llu never passes here: %llu at once are allowed",
                       (unsigned long long)l->weight, (unsigned long long)at_once);
    }
}

static void check_per(const struct vv_guard_check *c, const struct vv_limit_settings *l,
                      const char *path)
{
    static const char *const words[] = {"client", "key", "all"};
    if (is_listed(l->per, words, VV_COUNT(words))) {
        return;
    }
    if (strpbrk(l->per, "${") == NULL) { /* the same for all: surely a slip */
        const char *near = vv_conf_nearest(l->per, words, VV_COUNT(words));
        vv_conf_report(c->doc,
                       &(struct vv_conf_report){
                           .field = &l->per,
                           .hint = near != NULL
                                       ? vv_guard_check_fmt(c, "did you mean \"%s\"?", near)
                                       : "client, key, all, or a template: $header.x-user"},
                       "\"%s\" tells no callers apart", l->per);
        return;
    }
    vv_settings_check_template(c->doc, &l->per, l->per, path, VV_CHECK_COMPILES | VV_CHECK_PARAMS);
}

static void check_limit_name(const struct vv_guard_check *c, const struct vv_conf_list *limits,
                             size_t index)
{
    const struct vv_limit_settings *l = limits->item[index];
    for (const char *p = l->name; *p != '\0'; p++) {
        if (*p < ' ' || *p > '~' || *p == '"' || *p == '\\') {
            if (vv_conf_given(c->doc, &l->name)) {
                vv_conf_report(c->doc, &(struct vv_conf_report){.field = &l->name},
                               "the name of a limit has no quotes, and ASCII characters only");
            }
            break;
        }
    }
    for (size_t i = 0; i < index; i++) {
        const struct vv_limit_settings *twin = limits->item[i];
        if (strcmp(twin->name, l->name) == 0) {
            vv_conf_report(c->doc,
                           &(struct vv_conf_report){.field = &l->name,
                                                    .other = &twin->name,
                                                    .other_what = "first used",
                                                    .hint = "name one of them differently"},
                           "two limits are named \"%s\"", l->name);
            break;
        }
    }
}

/* A decision holds so many words of each list at once; what only watches is not part of it. */
static void check_words(const struct vv_guard_check *c, const struct vv_conf_list *limits)
{
    size_t n = 0;
    for (size_t i = 0; i < vv_list_count(limits); i++) {
        const struct vv_limit_settings *l = limits->item[i];
        n += l->dry_run != 0 ? 0
                             : (size_t)(l->rate != NULL) + (size_t)(l->quota != NULL) +
                                   (size_t)(l->concurrent != 0);
        if (n > VV_LIMIT_PLAN_PARTS) {
            vv_conf_report(
                c->doc,
                &(struct vv_conf_report){.field = l,
                                         .whole = true,
                                         .other = limits->item[0],
                                         .other_whole = true,
                                         .other_what = "the first of them",
                                         .hint = "rate, quota and concurrent are one each"},
                "more than %d limits at one place", VV_LIMIT_PLAN_PARTS);
            return;
        }
    }
}

void vv_guard_check_share(const struct vv_guard_check *c, const char *const *field)
{
    if (*field == NULL || strcmp(*field, "none") == 0) {
        return;
    }
    const struct vv_store_settings *store = vv_settings_named_store(c->doc, c->root, field);
    if (store != NULL && store->parsed == NULL) {
        vv_conf_report(c->doc,
                       &(struct vv_conf_report){
                           .field = field, .warning = true, .hint = "give the store a url"},
                       "store \"%s\" has no server: nothing is shared in it", *field);
    }
}

static void check_limits(const struct vv_guard_check *c, const struct vv_conf_list *limits,
                         const char *path)
{
    for (size_t i = 0; i < vv_list_count(limits); i++) {
        const struct vv_limit_settings *l = limits->item[i];
        if (l->rate == NULL && l->quota == NULL && l->concurrent == 0) {
            vv_conf_report(c->doc,
                           &(struct vv_conf_report){.field = l,
                                                    .whole = true,
                                                    .hint = "add a rate, a quota, or concurrent"},
                           "this limit limits nothing");
        }
        check_rate(c, l, l->burst < VV_CONF_ABSENT ? l->burst + 1 : 1);
        check_quota(c, l);
        check_per(c, l, path);
        check_limit_name(c, limits, i);
        if (vv_conf_given(c->doc, &l->share)) { /* else told where it comes from */
            vv_guard_check_share(c, &l->share);
        }
        vv_settings_check_cidrs(c->doc, l->allow);
    }
    check_words(c, limits);
}

/* ---- access -------------------------------------------------------------------------------- */

void vv_guard_check_plan(const struct vv_guard_check *c, const void *field, const char *name)
{
    if (name != NULL && vv_names_get(&c->plans, vv_str_from(name)) == NULL) {
        vv_settings_unknown_name(c->doc, field, "plan", name, c->root->s.access.plans, &c->plans);
    }
}

static void check_access(const struct vv_guard_check *c)
{
    static const char *const algorithms[] = {"RS256", "ES256", "EdDSA"};
    const struct vv_access_settings *a = &c->root->s.access;
    for (size_t i = 0; i < vv_list_count(a->plans); i++) {
        const struct vv_plan_settings *p = a->plans->item[i];
        vv_guard_check_name(c, &p->name, p->name, "plan");
        if (p->limit.rate_per_ns > 0 && p->limit.burst == 0) {
            vv_conf_report(c->doc, &(struct vv_conf_report){.field = &p->limit.burst},
                           "plan \"%s\" lets nothing pass", p->name);
        }
        check_rate(c, &p->limit, vv_max_u64(p->limit.burst, 1));
        check_quota(c, &p->limit);
        vv_settings_check_cidrs(c->doc, p->limit.allow);
    }
    if (vv_conf_given(c->doc, &a->share)) {
        vv_guard_check_share(c, &a->share);
    }
    vv_guard_check_plan(c, &a->unknown, a->unknown);
    vv_guard_check_plan(c, &a->anonymous, a->anonymous);
    vv_guard_check_plan(c, &a->jwt.default_plan, a->jwt.default_plan);
    for (size_t i = 0; i < vv_list_count(a->certificates); i++) {
        const struct vv_certificate_settings *k = a->certificates->item[i];
        vv_guard_check_plan(c, &k->plan, k->plan);
        if (k->fingerprint != NULL &&
            (strlen(k->fingerprint) != 64 || strspn(k->fingerprint, "0123456789abcdef") != 64)) {
            vv_conf_report(c->doc,
                           &(struct vv_conf_report){
                               .field = &k->fingerprint,
                               .hint = "64 hexadecimal digits: openssl x509 -in client.pem -noout "
                                       "-sha256 -fingerprint"},
                           "\"%s\" is no fingerprint", k->fingerprint);
        }
    }
    vv_guard_check_words(c, a->jwt.algorithms, algorithms, VV_COUNT(algorithms),
                         "signature that is accepted: RS256, ES256 or EdDSA");
    if (a->jwt.enabled && vv_list_count(a->jwt.algorithms) == 0) {
        vv_conf_report(c->doc, &(struct vv_conf_report){.field = &a->jwt.algorithms},
                       "no signature is accepted here");
    }
    if (vv_list_count(a->jwt.audience) > VV_JWT_AUDIENCES) {
        vv_conf_report(c->doc, &(struct vv_conf_report){.field = &a->jwt.audience},
                       "more than %d audiences", VV_JWT_AUDIENCES);
    }
    if (!vv_settings_is_token(a->header) ||
        vv_str_eq_nocase(vv_str_from(a->header), VV_STR("Authorization"))) {
        vv_conf_report(c->doc,
                       &(struct vv_conf_report){
                           .field = &a->header,
                           .hint = "X-API-Key; for Authorization a route says access: bearer"},
                       "\"%s\" cannot be the name of a header", a->header);
    }
}

static bool some_listener_asks(const struct vv_guard_check *c)
{
    const struct vv_conf_list *listen = c->root->s.listen;
    for (size_t i = 0; i < vv_list_count(listen); i++) {
        const struct vv_listen_settings *l = listen->item[i];
        if (l->tls.enabled && l->tls.mutual.enabled) {
            return true;
        }
    }
    return false;
}

/* A way to say who one is needs a place where that can be looked up. */
static const char *missing_source(const struct vv_guard_check *c, uint64_t way)
{
    const struct vv_access_settings *a = &c->root->s.access;
    const bool keys = a->keys != NULL || a->unknown != NULL;
    switch (way) {
    case VV_BY_BEARER:
        return keys || a->jwt.enabled ? NULL : "access.keys or access.jwt";
    case VV_BY_KEY:
        return keys ? NULL : "access.keys";
    case VV_BY_BASIC:
        return a->basic != NULL ? NULL : "access.basic";
    case VV_BY_JWT:
        return a->jwt.enabled ? NULL : "access.jwt";
    case VV_BY_CERTIFICATE:
        return some_listener_asks(c) ? NULL : "tls.mutual on a listener";
    default:
        return NULL;
    }
}

static void check_route_access(const struct vv_guard_check *c, const struct vv_route_settings *r)
{
    static const char *const known[] = {"bearer", "key", "basic", "jwt", "certificate", "optional"};
    const struct vv_conf_list *by = r->access.by;
    vv_guard_check_words(c, by, known, VV_COUNT(known),
                         "way to say who one is: bearer, key, basic, jwt, certificate, optional");
    for (size_t i = 0; i < vv_list_count(by); i++) {
        const char *need = missing_source(c, vv_settings_access_way(by->item[i]));
        const bool given = vv_conf_given(c->doc, &by->item[i]);
        if (need != NULL) {
            vv_conf_report(
                c->doc,
                &(struct vv_conf_report){.field = given ? (const void *)&by->item[i] : &r->access,
                                         .whole = !given,
                                         .hint = vv_guard_check_fmt(c, "give %s", need)},
                "\"%s\" needs %s", (const char *)by->item[i], need);
        }
    }
    if ((r->access.methods & ~(uint64_t)VV_BY_OPTIONAL) == 0) {
        vv_conf_report(
            c->doc,
            &(struct vv_conf_report){.field = &r->access.by,
                                     .hint = "add bearer, key, basic, jwt or certificate"},
            "route \"%s\" has no way to say who one is", r->name);
    }
    /* Caches and coalescing tell callers apart by fields; a certificate is in none. */
    if ((r->access.methods & VV_BY_CERTIFICATE) != 0 && (r->cache != NULL || r->coalesces)) {
        vv_conf_report(
            c->doc,
            &(struct vv_conf_report){
                .field = &r->access,
                .whole = true,
                .hint = "say cache: false and coalesce: false on this route, or use keys"},
            "route \"%s\" knows callers by certificate and shares answers", r->name);
    }
    for (size_t i = 0; i < vv_list_count(r->access.plans); i++) {
        vv_guard_check_plan(c, &r->access.plans->item[i], r->access.plans->item[i]);
    }
}

/* ---- all of it ----------------------------------------------------------------------------- */

static void put_all(struct vv_name_index *x, struct vv_conf_doc *doc,
                    const struct vv_conf_list *list)
{
    vv_names_init(x, doc, vv_list_count(list));
    for (size_t i = 0; i < vv_list_count(list); i++) {
        vv_names_put(x, list->name[i], list->item[i]);
    }
}

void vv_settings_check_guards(struct vv_conf_doc *doc, struct vv_settings_root *root)
{
    struct vv_guard_check c = {.doc = doc, .root = root};
    const struct vv_settings *s = &root->s;
    put_all(&c.services, doc, s->services);
    put_all(&c.breakers, doc, s->breakers);
    put_all(&c.plans, doc, s->access.plans);
    vv_guard_check_share(&c, &root->defaults.share);
    check_access(&c);
    for (size_t i = 0; i < vv_list_count(s->listen); i++) {
        const struct vv_listen_settings *l = s->listen->item[i];
        check_limits(&c, l->limits, NULL);
    }
    for (size_t i = 0; i < vv_list_count(s->routes); i++) {
        const struct vv_route_settings *r = s->routes->item[i];
        check_limits(&c, r->limits, r->path);
        if (r->access.enabled) {
            check_route_access(&c, r);
        }
    }
    vv_guard_check_services(&c);
    vv_guard_check_actions(&c);
    if (s->deadline_header != NULL && !vv_settings_is_token(s->deadline_header)) {
        vv_conf_report(doc, &(struct vv_conf_report){.field = &s->deadline_header},
                       "\"%s\" cannot be the name of a header", s->deadline_header);
    }
}
