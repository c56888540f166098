/* src/gateway/settings_guard.c - limits, access, breakers and the rest of what protects: derives what no
 * key says.
 *
 * Texts such as "100/s" become numbers here, where a mistake in them still has a place. What must fit
 * together is checked in settings_guard_check.c, on finished settings. */
#include "base/units.h"
#include "conf/node.h"
#include "gateway/access.h"
#include "gateway/settings_int.h"

#include <stdio.h>

#define BURST_MAX UINT64_C(1000000000) /* as in the rows */

/* ---- rates --------------------------------------------------------------------------------- */

/* "s", "min", "h", "100ms", "30d": how long a rate's requests are counted. */
static enum vv_err parse_period(struct vv_str s, uint64_t *ret_ns)
{
    static const struct {
        const char *word;
        uint64_t ns;
    } words[] = {{"sec", VV_SEC},       {"second", VV_SEC}, {"min", VV_MINUTE},
                 {"minute", VV_MINUTE}, {"hour", VV_HOUR},  {"day", VV_DAY}};
    char text[24];
    for (size_t i = 0; i < VV_COUNT(words); i++) {
        if (vv_str_eq(s, vv_str_from(words[i].word))) {
            *ret_ns = words[i].ns;
            return VV_OK;
        }
    }
    const bool number = s.n > 0 && s.p[0] >= '0' && s.p[0] <= '9';
    const int n = snprintf(text, sizeof text, "%s%.*s", number ? "" : "1", (int)s.n, s.p);
    if (n <= 0 || (size_t)n >= sizeof text) {
        return VV_ESYNTAX;
    }
    const enum vv_err err = vv_parse_duration((struct vv_str){text, (size_t)n}, ret_ns);
    return err != VV_OK || *ret_ns > 0 ? err : VV_ESYNTAX;
}

static void bad_rate(struct vv_conf_doc *doc, const void *field, const char *what, const char *text)
{
    char hint[96];
    uint64_t n = 0;
    if (strchr(text, '/') == NULL && vv_str_to_u64(vv_str_from(text), &n) == VV_OK) {
        (void)snprintf(hint, sizeof hint, "write %s/s, %s/min or %s/h", text, text, text);
        vv_conf_report(
            doc,
            &(struct vv_conf_report){.field = field, .hint = vv_conf_dup(doc, vv_str_from(hint))},
            "a %s needs a period", what);
        return;
    }
    vv_conf_report(
        doc,
        &(struct vv_conf_report){
            .field = field,
            .hint = "write a number, \"/\" and a time: 100/s, 200/min, 10000/h, 5/100ms"},
        "\"%s\" is no %s", text, what);
}

void vv_settings_derive_rate(struct vv_conf_doc *doc, const void *field, const char *what,
                             const char *text, uint64_t *ret_count, uint64_t *ret_per_ns)
{
    uint64_t count = 0, per_ns = 0;
    if (text == NULL) {
        return;
    }
    struct vv_str per = vv_str_from(text);
    const struct vv_str number = vv_str_cut(&per, '/');
    if (per.p == NULL || vv_str_to_u64(number, &count) != VV_OK || count == 0 ||
        parse_period(per, &per_ns) != VV_OK) {
        bad_rate(doc, field, what, text);
        return;
    }
    *ret_count = count;
    *ret_per_ns = per_ns;
}

/* ---- limits -------------------------------------------------------------------------------- */

/* As many as the rate gives in a second, at least one, and no more than a file could say. */
static uint64_t default_burst(const struct vv_limit_settings *l)
{
    const uint64_t count = vv_min_u64(l->rate_count, BURST_MAX);
    if (l->rate_per_ns == 0) {
        return 0;
    }
    const uint64_t burst = l->rate_per_ns < VV_SEC ? count * (VV_SEC / l->rate_per_ns)
                                                   : l->rate_count / (l->rate_per_ns / VV_SEC);
    return vv_max_u64(vv_min_u64(burst, BURST_MAX), 1);
}

static void derive_limit(struct vv_conf_doc *doc, struct vv_limit_settings *l)
{
    vv_settings_derive_rate(doc, &l->rate, "rate", l->rate, &l->rate_count, &l->rate_per_ns);
    vv_settings_derive_rate(doc, &l->quota, "quota", l->quota, &l->quota_count, &l->quota_per_ns);
    if (l->burst == VV_CONF_ABSENT) {
        l->burst = default_burst(l);
    }
}

/* `none` is said where a default is not wanted. */
static void derive_share(const char **share, const char *from)
{
    *share = *share != NULL ? *share : from;
    if (*share != NULL && strcmp(*share, "none") == 0) {
        *share = NULL;
    }
}

/* The first is called like the place it stands at, the others have a number too. */
static void derive_limits(struct vv_conf_doc *doc, const struct vv_settings_root *root,
                          const struct vv_conf_list *limits, const char *place)
{
    char name[256];
    for (size_t i = 0; i < vv_list_count(limits); i++) {
        struct vv_limit_settings *l = limits->item[i];
        derive_limit(doc, l);
        derive_share(&l->share, root->defaults.share);
        if (l->name == NULL) {
            (void)snprintf(name, sizeof name, i == 0 ? "%s" : "%s-%zu", place, i + 1);
            l->name = vv_conf_dup(doc, vv_str_from(name));
        }
    }
}

/* ---- access -------------------------------------------------------------------------------- */

/* "4F:9C:..." as other programs print it becomes what we compare with. */
static void derive_fingerprint(struct vv_conf_doc *doc, struct vv_certificate_settings *c)
{
    char *copy = (char *)(uintptr_t)vv_conf_dup(doc, vv_str_from(c->fingerprint));
    size_t n = 0;
    for (const char *p = copy; *p != '\0'; p++) {
        if (*p != ':') {
            copy[n++] = vv_char_lower(*p);
        }
    }
    copy[n] = '\0';
    c->fingerprint = copy;
}

static void derive_access(struct vv_conf_doc *doc, const struct vv_settings_root *root,
                          struct vv_access_settings *a)
{
    const char **const file[] = {&a->keys, &a->basic, &a->jwt.jwks};
    for (size_t i = 0; i < VV_COUNT(file); i++) {
        if (*file[i] != NULL && strstr(*file[i], "://") == NULL) {
            *file[i] = vv_conf_resolve(doc, file[i], *file[i]);
        }
    }
    for (size_t i = 0; i < vv_list_count(a->certificates); i++) {
        struct vv_certificate_settings *c = a->certificates->item[i];
        if (c->fingerprint != NULL) {
            derive_fingerprint(doc, c);
        }
    }
    derive_share(&a->share, root->defaults.share);
    for (size_t i = 0; i < vv_list_count(a->plans); i++) {
        struct vv_plan_settings *p = a->plans->item[i];
        derive_limit(doc, &p->limit);
        p->limit.name = p->name;
        p->limit.share = a->share;
    }
}

static const struct {
    const char *word;
    uint64_t bit;
} ways[] = {{"bearer", VV_BY_BEARER},
            {"key", VV_BY_KEY},
            {"basic", VV_BY_BASIC},
            {"jwt", VV_BY_JWT},
            {"certificate", VV_BY_CERTIFICATE},
            {"optional", VV_BY_OPTIONAL}};

uint64_t vv_settings_access_way(const char *word)
{
    for (size_t i = 0; i < VV_COUNT(ways); i++) {
        if (strcmp(word, ways[i].word) == 0) {
            return ways[i].bit;
        }
    }
    return 0;
}

static void derive_route_access(struct vv_route_access_settings *a)
{
    for (size_t i = 0; i < vv_list_count(a->by); i++) {
        a->methods |= vv_settings_access_way(a->by->item[i]);
    }
}

/* ---- the rest ------------------------------------------------------------------------------ */

static void derive_compose(struct vv_conf_doc *doc, struct vv_compose_settings *c)
{
    for (size_t i = 0; i < vv_list_count(c->parts); i++) {
        struct vv_part_settings *p = c->parts->item[i];
        if (p->timeout_ns == 0) {
            vv_conf_inherit(doc, &p->timeout_ns, &c->timeout_ns);
        }
    }
}

static void derive_route(struct vv_conf_doc *doc, struct vv_settings_root *root,
                         struct vv_route_settings *r)
{
    derive_limits(doc, root, r->limits, r->name);
    if (r->access.enabled) {
        derive_route_access(&r->access);
    }
    derive_compose(doc, &r->compose);
    if (r->server_timing == VV_CONF_ABSENT) {
        vv_conf_inherit(doc, &r->server_timing, &root->defaults.server_timing);
    }
}

void vv_settings_derive_guards(struct vv_conf_doc *doc, struct vv_settings_root *root)
{
    struct vv_settings *s = &root->s;
    for (size_t i = 0; i < vv_list_count(s->listen); i++) {
        struct vv_listen_settings *l = s->listen->item[i];
        derive_limits(doc, root, l->limits, l->name);
    }
    derive_access(doc, root, &s->access);
    for (size_t i = 0; i < vv_list_count(s->breakers); i++) {
        struct vv_breaker_settings *b = s->breakers->item[i];
        derive_share(&b->share, NULL);
        if (b->recover_max_ns == 0) {
            vv_conf_inherit(doc, &b->recover_max_ns, &b->recover_ns);
        }
    }
    for (size_t i = 0; i < vv_list_count(s->services); i++) {
        struct vv_service_settings *service = s->services->item[i];
        struct vv_concurrency_settings *k = &service->concurrency;
        if (!vv_conf_given_struct(doc, &service->hedge)) {
            service->hedge.enabled = 0;
        }
        if (!vv_conf_given(doc, &k->initial) && k->min <= k->max) {
            k->initial = vv_max_u64(k->min, vv_min_u64(k->initial, k->max));
        }
    }
    for (size_t i = 0; i < vv_list_count(s->routes); i++) {
        derive_route(doc, root, s->routes->item[i]);
    }
}
