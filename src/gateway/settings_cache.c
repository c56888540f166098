/* src/gateway/settings_cache.c - caches, coalescing and compression: nearest wins, and what must fit.
 *
 * What a file says is checked where it stands, before anything is inherited, so that a mistake is told
 * once however many routes use it. Then values travel: a cache takes what it leaves out from the one
 * it is `like`, a route from the cache it uses, else from the defaults, else from the common cache.
 * The finished values lie in the route itself, so that `config show --long` prints what is in force. */
#include "base/units.h"
#include "gateway/settings_int.h"
#include "gateway/template.h"
#include "wire/encoding.h"

#include <stdio.h>

#define COMMON_NAME "default"
#define COALESCE_PREFIX "coalesce:"
#define LIKE_CHAIN_MAX 32
#define TTL_DAYS_MAX 3650
#define DAY_NS (86400 * VV_SEC)

struct caching {
    struct vv_conf_doc *doc;
    struct vv_settings_root *root;
    struct vv_name_index caches, ttls, memories; /* memories: names taken by coalescing */
    struct vv_cache_settings *common;            /* NULL: nobody needed it so far */
};

static const char *hint_fmt(const struct caching *c, const char *fmt, ...) VV_PRINTF(2, 3);

static const char *hint_fmt(const struct caching *c, const char *fmt, ...)
{
    char text[256];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return vv_conf_dup(c->doc, vv_str_from(text));
}

static const char *near_hint(const struct caching *c, const char *name, const char *const *known,
                             size_t count)
{
    const char *near = vv_conf_nearest(name, known, count);
    return near != NULL ? hint_fmt(c, "did you mean \"%s\"?", near) : NULL;
}

static const char *near_in(const struct caching *c, const char *name,
                           const struct vv_conf_list *list)
{
    return list != NULL && list->name != NULL ? near_hint(c, name, list->name, list->count) : NULL;
}

/* ---- lifetimes ----------------------------------------------------------------------------- */

/* True: a duration that may be a lifetime, or one that is reported. False: it may be a name. */
static bool read_lifetime(struct caching *c, const void *field, const char *text, uint64_t *ret_ns)
{
    uint64_t ns = 0;
    const enum vv_err err = vv_parse_duration(vv_str_from(text), &ns);
    if (err == VV_ESYNTAX) {
        return false;
    }
    if (err == VV_EINVAL) {
        vv_conf_report(
            c->doc,
            &(struct vv_conf_report){
                .field = field, .hint = hint_fmt(c, "write %ss, %sm or %sh", text, text, text)},
            "a lifetime needs a unit");
        return true;
    }
    if (err != VV_OK || ns > TTL_DAYS_MAX * DAY_NS || (ns > 0 && ns < VV_SEC)) {
        vv_conf_report(c->doc,
                       &(struct vv_conf_report){.field = field, .hint = "from 1s to 3650d, or 0"},
                       "\"%s\" is no lifetime", text);
        return true;
    }
    *ret_ns = ns;
    return true;
}

/* "404", "5xx", "200-299", "default". */
static bool read_statuses(const char *text, uint64_t *ret_low, uint64_t *ret_high)
{
    const struct vv_str s = vv_str_from(text);
    uint64_t low = 0, high = 0;
    if (strcmp(text, "default") == 0) {
        *ret_low = *ret_high = 0;
        return true;
    }
    if (s.n == 3 && s.p[0] >= '2' && s.p[0] <= '5' && s.p[1] == 'x' && s.p[2] == 'x') {
        *ret_low = (uint64_t)(s.p[0] - '0') * 100;
        *ret_high = *ret_low + 99;
        return true;
    }
    const bool range = s.n == 7 && s.p[3] == '-';
    if ((s.n != 3 && !range) || vv_str_to_u64((struct vv_str){s.p, 3}, &low) != VV_OK) {
        return false;
    }
    high = low;
    if (range && vv_str_to_u64((struct vv_str){s.p + 4, 3}, &high) != VV_OK) {
        return false;
    }
    *ret_low = low;
    *ret_high = high;
    return low >= 200 && low <= high && high <= 599;
}

static void derive_ttl(struct caching *c, struct vv_ttl_settings *t)
{
    if (!read_statuses(t->name, &t->low, &t->high)) {
        vv_conf_report(c->doc,
                       &(struct vv_conf_report){.field = &t->name,
                                                .hint = "write 404, 5xx, 200-299 or default"},
                       "\"%s\" is no status from 200 to 599", t->name);
    }
    if (t->value == NULL || read_lifetime(c, &t->value, t->value, &t->ttl_ns)) {
        return;
    }
    struct vv_ttl_settings *named = vv_names_get(&c->ttls, vv_str_from(t->value));
    if (named == NULL) {
        vv_conf_report(c->doc,
                       &(struct vv_conf_report){.field = &t->value,
                                                .hint = near_in(c, t->value, c->root->s.ttls)},
                       "no lifetime named \"%s\"", t->value);
        return;
    }
    named->used = 1;
    t->ttl_ns = named->ttl_ns;
}

/* A name that reads as a duration or a boolean could never be used on a route. */
static void check_name(struct caching *c, const void *field, const char *name, const char *what)
{
    const size_t plain = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                      "0123456789_-.");
    if (name[0] == '\0' || name[plain] != '\0' || (name[0] >= '0' && name[0] <= '9') ||
        strcmp(name, "true") == 0 || strcmp(name, "false") == 0) {
        vv_conf_report(
            c->doc,
            &(struct vv_conf_report){
                .field = field, .hint = "letters, digits, \"_\", \"-\" and \".\", a letter first"},
            "\"%s\" cannot be the name of a %s", name, what);
    }
}

static void derive_ttls(struct caching *c)
{
    const struct vv_conf_list *list = c->root->s.ttls;
    vv_names_init(&c->ttls, c->doc, vv_list_count(list));
    for (size_t i = 0; i < vv_list_count(list); i++) {
        struct vv_ttl_settings *t = list->item[i];
        const struct vv_cache_settings *twin = vv_names_get(&c->caches, vv_str_from(t->name));
        check_name(c, &t->name, t->name, "lifetime");
        if (twin != NULL) {
            vv_conf_report(c->doc,
                           &(struct vv_conf_report){.field = &t->name,
                                                    .other = twin,
                                                    .other_whole = true,
                                                    .other_what = "the cache",
                                                    .hint = "name one of them differently"},
                           "\"%s\" is the name of a cache too", t->name);
        }
        if (t->value != NULL && !read_lifetime(c, &t->value, t->value, &t->ttl_ns)) {
            vv_conf_report(
                c->doc,
                &(struct vv_conf_report){.field = &t->value, .hint = "write 30s, 5m, 1h or 7d"},
                "\"%s\" is no duration", t->value);
        }
        vv_names_put(&c->ttls, t->name, t);
    }
}

/* ---- what a file says about a cache -------------------------------------------------------- */

static void check_methods(struct caching *c, const struct vv_cache_settings *s)
{
    static const char *const known[] = {"GET", "HEAD", "POST"};
    const struct vv_conf_list *methods = s->methods;
    for (size_t i = 0; i < vv_list_count(methods); i++) {
        const char *name = methods->item[i];
        bool fine = false;
        for (size_t k = 0; k < VV_COUNT(known); k++) {
            fine |= strcmp(name, known[k]) == 0;
        }
        if (!fine) {
            vv_conf_report(
                c->doc,
                &(struct vv_conf_report){.field = &methods->item[i], .hint = "GET, HEAD or POST"},
                "answers to %s cannot be cached", name);
        }
    }
    if (methods != NULL && methods->count == 0) {
        vv_conf_report(c->doc,
                       &(struct vv_conf_report){.field = &s->methods,
                                                .hint = "leave methods out for GET and HEAD"},
                       "no method is cached here");
    }
}

static void check_tokens(struct caching *c, const struct vv_conf_list *names)
{
    for (size_t i = 0; i < vv_list_count(names); i++) {
        if (!vv_settings_is_token(names->item[i])) {
            vv_conf_report(c->doc, &(struct vv_conf_report){.field = &names->item[i]},
                           "\"%s\" cannot be the name of a header", (const char *)names->item[i]);
        }
    }
}

static void check_key(struct caching *c, const void *field, const char *key, unsigned what)
{
    if (key == NULL) {
        return;
    }
    for (const char *p = key; *p != '\0'; p++) {
        if ((unsigned char)*p < ' ' || *p == 0x7f) {
            vv_conf_report(c->doc, &(struct vv_conf_report){.field = field},
                           "a key has no control characters");
            return;
        }
    }
    if (key[0] == '\0') {
        vv_conf_report(c->doc,
                       &(struct vv_conf_report){.field = field, .hint = "leave it out for the URI"},
                       "with an empty key all requests would get the same answer");
    }
    vv_settings_check_template(c->doc, field, key, NULL, what);
}

static void check_query_rules(struct caching *c, const struct vv_cache_settings *s)
{
    const void *at = s->ignore_query != 0    ? (const void *)&s->ignore_query
                     : s->sort_query != 0    ? (const void *)&s->sort_query
                     : s->drop_query != NULL ? (const void *)&s->drop_query
                                             : NULL;
    if (s->key != NULL && at != NULL) {
        vv_conf_report(c->doc,
                       &(struct vv_conf_report){.field = at,
                                                .other = &s->key,
                                                .other_what = "key",
                                                .warning = true,
                                                .hint = "put $path and $query.NAME into the key"},
                       "what becomes of the query does nothing with a key of its own");
    }
    for (size_t i = 0; i < vv_list_count(s->drop_query); i++) {
        const char *name = s->drop_query->item[i];
        const char *star = strchr(name, '*');
        if (name[0] == '\0' || (star != NULL && star[1] != '\0')) {
            vv_conf_report(
                c->doc,
                &(struct vv_conf_report){.field = &s->drop_query->item[i], .hint = "write utm_*"},
                "a \"*\" stands at the end of a parameter's name");
        }
    }
}

static void check_invalidates(struct caching *c, const struct vv_conf_list *paths)
{
    for (size_t i = 0; i < vv_list_count(paths); i++) {
        const char *path = paths->item[i];
        vv_settings_check_template(c->doc, &paths->item[i], path, NULL, VV_CHECK_COMPILES);
        if (path[0] != '/' && path[0] != '$') {
            vv_conf_report(
                c->doc,
                &(struct vv_conf_report){.field = &paths->item[i], .hint = "write /modules"},
                "\"%s\" is no path", path);
        }
    }
}

/* What stands in a cache or on a route, before anything is inherited. */
static void check_said(struct caching *c, struct vv_cache_settings *s)
{
    for (size_t i = 0; i < vv_list_count(s->ttl); i++) {
        derive_ttl(c, s->ttl->item[i]);
    }
    check_key(c, &s->key, s->key, VV_CHECK_COMPILES | VV_CHECK_KEY);
    check_methods(c, s);
    check_query_rules(c, s);
    check_tokens(c, s->targets);
    vv_settings_check_cidrs(c->doc, s->purge);
    check_invalidates(c, s->invalidates);
    if (s->show != NULL && (!vv_settings_is_token(s->show) ||
                            vv_str_eq_nocase(vv_str_from(s->show), VV_STR("Cache-Status")) ||
                            vv_field_lookup(vv_str_from(s->show)) != VV_FIELD_OTHER)) {
        vv_conf_report(c->doc,
                       &(struct vv_conf_report){.field = &s->show, .hint = "write X-Cache-Status"},
                       "\"%s\" cannot be the name of that header", s->show);
    }
}

/* ---- nearest wins -------------------------------------------------------------------------- */

static bool is_own_matter(size_t offset) /* of a memory, not of the rules */
{
    return offset == offsetof(struct vv_cache_settings, like) ||
           offset == offsetof(struct vv_cache_settings, levels) ||
           offset == offsetof(struct vv_cache_settings, share) ||
           offset == offsetof(struct vv_cache_settings, snapshot);
}

/* What `to` leaves out comes from `from`; both are structs of the section. */
static void layer(struct vv_conf_doc *doc, const struct vv_conf_section *section, void *to,
                  const void *from)
{
    for (size_t i = 0; i < section->row_count; i++) {
        const struct vv_conf_row *row = &section->rows[i];
        char *field = (char *)to + row->offset;
        const char *source = (const char *)from + row->offset;
        if (row->key == NULL ||
            (section == &vv_settings_cache_section && is_own_matter(row->offset))) {
            continue;
        }
        if (row->type == VV_CONF_SECTION) {
            layer(doc, row->section, field, source);
        } else if (!vv_conf_given(doc, field)) {
            vv_conf_inherit(doc, field, source);
        }
    }
}

static struct vv_cache_settings *base_of(const struct caching *c, const struct vv_cache_settings *s)
{
    return s->like != NULL ? vv_names_get(&c->caches, vv_str_from(s->like)) : NULL;
}

/* Cuts a chain of `like` that does not end, so that everything behind can rely on its end. */
static void check_like(struct caching *c, struct vv_cache_settings *s)
{
    const struct vv_cache_settings *at = s;
    if (s->like != NULL && base_of(c, s) == NULL) {
        vv_conf_report(c->doc,
                       &(struct vv_conf_report){.field = &s->like,
                                                .hint = near_in(c, s->like, c->root->s.caches)},
                       "no cache named \"%s\"", s->like);
        s->like = NULL;
    }
    for (size_t i = 0; (at = base_of(c, at)) != NULL; i++) {
        if (at == s || i == LIKE_CHAIN_MAX) {
            vv_conf_report(c->doc, &(struct vv_conf_report){.field = &s->like},
                           at == s ? "cache \"%s\" is like itself, by way of \"%s\""
                                   : "cache \"%s\" is like \"%s\" over more than 32 others",
                           s->name, s->like);
            s->like = NULL;
            return;
        }
    }
}

static void add_default_level(struct caching *c, struct vv_cache_settings *s)
{
    if (vv_list_count(s->levels) == 0) {
        struct vv_level_settings *l = vv_conf_new(c->doc, &vv_settings_level_section, NULL);
        l->compress_bytes = VV_CONF_ABSENT; /* as of every level in memory */
        vv_conf_append(c->doc, &s->levels, l, NULL, NULL);
    }
}

static void check_body_key(struct caching *c, const struct vv_cache_settings *s)
{
    struct vv_template *t = NULL;
    struct vv_template_error e = {0};
    bool post = false;
    for (size_t i = 0; i < vv_list_count(s->methods); i++) {
        post |= strcmp(s->methods->item[i], "POST") == 0;
    }
    if (s->key == NULL || vv_template_new(s->key, &t, &e) != VV_OK) {
        return;
    }
    if (vv_template_has_body(t) && !post) {
        vv_conf_report(c->doc,
                       &(struct vv_conf_report){
                           .field = &s->key, .warning = true, .hint = "add methods: [POST]"},
                       "$body does nothing: answers to POST are not cached here");
    }
    vv_template_free(t);
}

static void settle(struct caching *c,
                   struct vv_cache_settings *s) /* as deep as check_like() lets */
{
    const bool own_key = s->key != NULL;
    struct vv_cache_settings *base = base_of(c, s);
    if (s->memory != NULL) {
        return;
    }
    s->memory = s;
    if (base != NULL) {
        settle(c, base);
        layer(c->doc, &vv_settings_cache_section, s, base);
        s->memory = vv_list_count(s->levels) > 0 ? s : base->memory;
    } else {
        add_default_level(c, s);
    }
    if (own_key) {
        check_body_key(c, s);
    }
    if (s->snapshot != NULL && s->memory != s) {
        vv_conf_report(
            c->doc,
            &(struct vv_conf_report){.field = &s->snapshot, .hint = "give it levels of its own"},
            "the memory of cache \"%s\" is that of \"%s\", whose snapshot counts", s->name,
            s->memory->name);
    }
}

static void derive_named(struct caching *c)
{
    const struct vv_conf_list *list = c->root->s.caches;
    for (size_t i = 0; i < vv_list_count(list); i++) {
        struct vv_cache_settings *s = list->item[i];
        check_name(c, &s->name, s->name, "cache");
        check_said(c, s);
        vv_settings_derive_levels(c->doc, c->root, s);
        check_like(c, s);
        if (s->snapshot != NULL) {
            s->snapshot = vv_conf_resolve(c->doc, &s->snapshot, s->snapshot);
        }
    }
    for (size_t i = 0; i < vv_list_count(list); i++) {
        settle(c, list->item[i]);
    }
}

static struct vv_cache_settings *common_cache(struct caching *c)
{
    if (c->common == NULL) {
        c->common = vv_names_get(&c->caches, VV_STR(COMMON_NAME));
    }
    if (c->common == NULL) {
        c->common = vv_conf_new(c->doc, &vv_settings_cache_section, COMMON_NAME);
        c->common->unnamed = 1;
        settle(c, c->common);
        vv_conf_append(c->doc, &c->root->s.caches, c->common, COMMON_NAME, NULL);
    }
    return c->common;
}

/* ---- routes -------------------------------------------------------------------------------- */

static bool has_default_ttl(const struct vv_conf_list *ttl)
{
    for (size_t i = 0; i < vv_list_count(ttl); i++) {
        const struct vv_ttl_settings *t = ttl->item[i];
        if (strcmp(t->name, "default") == 0) {
            return true;
        }
    }
    return false;
}

/* `cache: 5m` is {ttl: {default: 5m}}. */
static void add_lifetime(struct caching *c, struct vv_route_cache_settings *r)
{
    struct vv_cache_settings *own = &r->own;
    if (has_default_ttl(own->ttl)) {
        return; /* nearer, or the long form of the same */
    }
    struct vv_ttl_settings *t = vv_conf_new(c->doc, &vv_settings_ttl_section, "default");
    vv_conf_inherit(c->doc, &t->value, &r->use);
    if (own->ttl == NULL) { /* from now on it counts as given */
        vv_conf_inherit(c->doc, &own->ttl, &r->use);
        own->ttl = NULL;
    }
    vv_conf_append(c->doc, &own->ttl, t, "default", &r->use);
}

static void unknown_use(struct caching *c, const struct vv_route_cache_settings *r)
{
    const char *hint = near_in(c, r->use, c->root->s.caches);
    hint = hint != NULL ? hint : near_in(c, r->use, c->root->s.ttls);
    vv_conf_report(c->doc, &(struct vv_conf_report){.field = &r->use, .hint = hint},
                   "no cache and no lifetime is named \"%s\"", r->use);
}

/* Returns the cache that `use` names, NULL when it is a lifetime, or nothing. */
static struct vv_cache_settings *used_cache(struct caching *c, struct vv_route_cache_settings *r)
{
    uint64_t ns = 0;
    if (r->use == NULL) {
        return NULL;
    }
    struct vv_cache_settings *named = vv_names_get(&c->caches, vv_str_from(r->use));
    if (named != NULL) {
        return named;
    }
    if (vv_parse_duration(vv_str_from(r->use), &ns) != VV_ESYNTAX ||
        vv_names_get(&c->ttls, vv_str_from(r->use)) != NULL) {
        add_lifetime(c, r);
    } else {
        unknown_use(c, r);
    }
    return NULL;
}

/* `farther` is what holds where neither this place nor its `use` says anything. */
static void derive_use(struct caching *c, struct vv_route_cache_settings *r,
                       const struct vv_cache_settings *farther)
{
    const bool own_key = r->own.key != NULL;
    struct vv_cache_settings *named = used_cache(c, r);
    check_said(c, &r->own);
    const struct vv_cache_settings *base = named != NULL     ? named
                                           : farther != NULL ? farther
                                                             : common_cache(c);
    layer(c->doc, &vv_settings_cache_section, &r->own, base);
    r->own.name = base->name;
    r->own.memory = base->memory;
    r->own.unnamed = named == NULL;
    if (own_key) {
        check_body_key(c, &r->own);
    }
}

/* A route that composes keeps the answers of its parts, where that is said of it. */
static bool asks_services(const struct vv_route_settings *r)
{
    return r->action == VV_ACTION_TO || r->action == VV_ACTION_COMPOSE;
}

static void derive_route_cache(struct caching *c, struct vv_route_settings *r)
{
    struct vv_route_cache_settings *far = &c->root->defaults.caching;
    const bool given = vv_conf_given_struct(c->doc, &r->caching);
    const bool by_default = vv_conf_given_struct(c->doc, far);
    if (given && !asks_services(r)) {
        vv_conf_report(
            c->doc,
            &(struct vv_conf_report){.field = &r->caching, .whole = true, .hint = "remove it"},
            "only answers of services can be cached: \"cache\" needs \"to\"");
        return;
    }
    const bool wants = given ? r->caching.enabled != 0
                             : r->action == VV_ACTION_TO && by_default && far->enabled != 0;
    if (!asks_services(r) || !wants) {
        return;
    }
    derive_use(c, &r->caching, by_default ? &far->own : NULL);
    r->cache = &r->caching.own;
    if (r->cache->key != NULL && r->path != NULL) {
        vv_settings_check_template(c->doc, &r->cache->key, r->cache->key, r->path, VV_CHECK_PARAMS);
    }
    for (size_t i = 0; i < vv_list_count(r->cache->invalidates); i++) {
        vv_settings_check_template(c->doc, &r->cache->invalidates->item[i],
                                   r->cache->invalidates->item[i], r->path, VV_CHECK_PARAMS);
    }
}

/* Two routes may have one path; their answers do not mix. */
static const char *memory_name(struct caching *c, struct vv_route_settings *r)
{
    struct vv_sb sb = VV_SB_INIT;
    vv_sb_addf(&sb, COALESCE_PREFIX "%s", r->name);
    for (size_t i = 2; vv_names_get(&c->memories, vv_sb_str(&sb)) != NULL; i++) {
        vv_sb_reset(&sb);
        vv_sb_addf(&sb, COALESCE_PREFIX "%s#%zu", r->name, i);
    }
    const char *name = vv_conf_dup(c->doc, vv_sb_str(&sb));
    vv_sb_fini(&sb);
    vv_names_put(&c->memories, name, r);
    return name;
}

static void derive_coalesce(struct caching *c, struct vv_route_settings *r)
{
    struct vv_coalesce_settings *far = &c->root->defaults.coalesce;
    const bool given = vv_conf_given_struct(c->doc, &r->coalesce);
    if (given && !asks_services(r)) {
        vv_conf_report(
            c->doc,
            &(struct vv_conf_report){.field = &r->coalesce, .whole = true, .hint = "remove it"},
            "only requests to services can be coalesced: \"coalesce\" needs \"to\"");
        return;
    }
    const bool by_default = r->action == VV_ACTION_TO && vv_conf_given_struct(c->doc, far);
    if (!asks_services(r) || (!given && !by_default)) {
        return;
    }
    const bool own_keep = r->coalesce.keep_ns != 0;
    const bool own_word = vv_conf_given(c->doc, &r->coalesce.enabled);
    check_key(c, &r->coalesce.key, r->coalesce.key, VV_CHECK_COMPILES);
    layer(c->doc, &vv_settings_coalesce_section, &r->coalesce, far);
    if (given && !own_word) {
        r->coalesce.enabled = 1;
    }
    r->coalesces = r->coalesce.enabled;
    if (r->coalesces == 0) {
        return;
    }
    r->coalesce.memory = memory_name(c, r);
    if (r->cache != NULL && own_keep) {
        vv_conf_report(c->doc,
                       &(struct vv_conf_report){.field = &r->coalesce.keep_ns,
                                                .warning = true,
                                                .hint = "use the cache's ttl"},
                       "keep does nothing on a route with a cache");
    }
    if (r->coalesce.key != NULL) {
        vv_settings_check_template(c->doc, &r->coalesce.key, r->coalesce.key, r->path,
                                   VV_CHECK_PARAMS);
    }
}

/* ---- compression --------------------------------------------------------------------------- */

static void check_encodings(struct caching *c, const struct vv_compress_settings *s)
{
    const char *known[VV_ENCODING_COUNT];
    size_t count = 0;
    for (size_t i = 0; i < VV_ENCODING_COUNT; i++) {
        if (i != VV_ENCODING_IDENTITY) {
            known[count++] = vv_encodings[i].name.p;
        }
    }
    for (size_t i = 0; i < vv_list_count(s->encodings); i++) {
        const char *name = s->encodings->item[i];
        bool fine = false;
        for (size_t k = 0; k < count; k++) {
            fine |= strcmp(name, known[k]) == 0;
        }
        if (!fine) {
            const char *near = near_hint(c, name, known, count);
            vv_conf_report(
                c->doc,
                &(struct vv_conf_report){.field = &s->encodings->item[i],
                                         .hint = near != NULL ? near : "br, zstd or gzip"},
                "no encoding named \"%s\"", name);
        }
    }
    if (vv_list_count(s->encodings) == 0) {
        vv_conf_report(c->doc,
                       &(struct vv_conf_report){.field = &s->encodings,
                                                .hint = "write compress: false to switch it off"},
                       "compression needs an encoding");
    }
}

static void check_compress(struct caching *c, const struct vv_compress_settings *s)
{
    check_encodings(c, s);
    for (size_t i = 0; i < vv_list_count(s->types); i++) {
        const char *type = s->types->item[i];
        const char *star = strchr(type, '*');
        if (strcmp(type, "*") != 0 && (strchr(type, '/') == NULL || strpbrk(type, " ;,") != NULL ||
                                       (star != NULL && strchr(star + 1, '*') != NULL))) {
            vv_conf_report(
                c->doc,
                &(struct vv_conf_report){.field = &s->types->item[i],
                                         .hint = "write text/html, text/* or application/*+json"},
                "\"%s\" is no media type", type);
        }
    }
}

static void derive_compress(struct caching *c, struct vv_route_settings *r)
{
    const struct vv_compress_settings *far = &c->root->defaults.compress;
    const bool given = vv_conf_given_struct(c->doc, &r->compress);
    const bool files = r->action == VV_ACTION_FILES;
    if (given && !files && r->action != VV_ACTION_TO) {
        vv_conf_report(
            c->doc,
            &(struct vv_conf_report){.field = &r->compress, .whole = true, .hint = "remove it"},
            "\"compress\" needs \"to\" or \"files\"");
        return;
    }
    if (given) {
        check_compress(c, &r->compress);
        if (!files && r->compress.ahead != 0) {
            vv_conf_report(c->doc,
                           &(struct vv_conf_report){.field = &r->compress.ahead, .warning = true},
                           "ahead does nothing without \"files\"");
        }
    }
    const bool own_word = vv_conf_given(c->doc, &r->compress.enabled);
    layer(c->doc, &vv_settings_compress_section, &r->compress, far);
    if (given && !own_word) {
        r->compress.enabled = 1;
    }
    r->compresses = (files ? given : r->action == VV_ACTION_TO) && r->compress.enabled;
}

/* ---- the interface ------------------------------------------------------------------------- */

void vv_settings_derive_caches(struct vv_conf_doc *doc, struct vv_settings_root *root)
{
    struct caching c = {.doc = doc, .root = root};
    struct vv_defaults_settings *far = &root->defaults;
    vv_names_init(&c.caches, doc, vv_list_count(root->s.caches));
    vv_names_init(&c.memories, doc, vv_list_count(root->s.routes));
    for (size_t i = 0; i < vv_list_count(root->s.caches); i++) {
        struct vv_cache_settings *s = root->s.caches->item[i];
        vv_names_put(&c.caches, s->name, s);
    }
    derive_ttls(&c);
    derive_named(&c);
    if (vv_conf_given_struct(doc, &far->caching)) {
        derive_use(&c, &far->caching, NULL);
    }
    check_key(&c, &far->coalesce.key, far->coalesce.key, VV_CHECK_COMPILES);
    check_compress(&c, &far->compress);
    for (size_t i = 0; i < vv_list_count(root->s.routes); i++) {
        struct vv_route_settings *r = root->s.routes->item[i];
        derive_route_cache(&c, r);
        derive_coalesce(&c, r);
        derive_compress(&c, r);
    }
}

/* A key that is the URI alone does not tell routes apart that a header chooses between. */
static void warn_shared(struct vv_conf_doc *doc, const struct vv_settings *s)
{
    struct vv_name_index seen;
    vv_names_init(&seen, doc, vv_list_count(s->routes));
    for (size_t i = 0; i < vv_list_count(s->routes); i++) {
        struct vv_route_settings *r = s->routes->item[i];
        struct vv_sb sb = VV_SB_INIT;
        if (r->cache == NULL || r->cache->key != NULL || vv_list_count(r->hosts) > 0) {
            continue;
        }
        vv_sb_addf(&sb, "%s %s", r->cache->memory->name, r->path);
        const struct vv_route_settings *twin = vv_names_get(&seen, vv_sb_str(&sb));
        if (twin != NULL && strcmp(twin->to, r->to) != 0 &&
            vv_list_count(r->match_headers) + vv_list_count(twin->match_headers) > 0) {
            vv_conf_report(
                doc,
                &(struct vv_conf_report){.field = r,
                                         .whole = true,
                                         .other = twin,
                                         .other_whole = true,
                                         .other_what = "the other",
                                         .warning = true,
                                         .hint = "put the header into the key of one of them"},
                "route \"%s\" would share answers with another route to another service", r->path);
        }
        vv_names_put(&seen, vv_conf_dup(doc, vv_sb_str(&sb)), r);
        vv_sb_fini(&sb);
    }
}

void vv_settings_warn_caches(struct vv_conf_doc *doc, const struct vv_settings_root *root)
{
    const struct vv_settings *s = &root->s;
    struct vv_name_index used;
    warn_shared(doc, s);
    vv_names_init(&used, doc, vv_list_count(s->routes) + vv_list_count(s->caches));
    for (size_t i = 0; i < vv_list_count(s->routes); i++) {
        struct vv_route_settings *r = s->routes->item[i];
        if (r->cache != NULL) {
            vv_names_put(&used, r->cache->name, r);
        }
    }
    for (size_t i = 0; i < vv_list_count(s->caches); i++) {
        struct vv_cache_settings *cache = s->caches->item[i];
        if (cache->like != NULL) {
            vv_names_put(&used, cache->like, cache);
        }
    }
    for (size_t i = 0; i < vv_list_count(s->caches); i++) {
        const struct vv_cache_settings *cache = s->caches->item[i];
        if (cache->unnamed == 0 && vv_names_get(&used, vv_str_from(cache->name)) == NULL) {
            vv_conf_report(
                doc,
                &(struct vv_conf_report){.field = cache,
                                         .whole = true,
                                         .warning = true,
                                         .hint = "give a route `cache: NAME`, or remove it"},
                "no route uses cache \"%s\"", cache->name);
        }
    }
    for (size_t i = 0; i < vv_list_count(s->ttls); i++) {
        const struct vv_ttl_settings *t = s->ttls->item[i];
        if (t->used == 0) {
            vv_conf_report(doc,
                           &(struct vv_conf_report){
                               .field = t, .whole = true, .warning = true, .hint = "remove it"},
                           "no lifetime refers to \"%s\"", t->name);
        }
    }
}
