/* src/gateway/settings_store.c - stores and the levels of caches in them: what a file says must fit. */
#include "gateway/settings_store.h"

#include "base/units.h"
#include "gateway/settings_int.h"
#include "os/sock.h"
#include "store/redis_url.h"

#include <stdio.h>

#define STORES_MAX 64
#define LEVEL_OBJECT_BYTES (4 * VV_MIB) /* of a store, where nothing is said */
#define LEVEL_TTL_MAX_NS (3650 * 86400 * VV_SEC)
#define FACTOR_MAX 100
#define PPM 1000000

/* ---- stores -------------------------------------------------------------------------------- */

static bool is_name(const char *name) /* it stands in metrics, paths and keys */
{
    const size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789_-.");
    return n > 0 && n <= 64 && name[n] == '\0';
}

static void check_texts(struct vv_conf_doc *doc, const struct vv_store_settings *s)
{
    if (!is_name(s->name)) {
        vv_conf_report(doc,
                       &(struct vv_conf_report){.field = s,
                                                .whole = true,
                                                .hint = "letters, digits, \"_\", \"-\" and \".\""},
                       "\"%s\" cannot be the name of a store", s->name);
    }
    const size_t plain = strcspn(s->prefix, " {}*?[]\\\t\r\n");
    if (s->prefix[0] == '\0' || s->prefix[plain] != '\0' || plain > 64) {
        vv_conf_report(doc,
                       &(struct vv_conf_report){.field = &s->prefix, .hint = "write vz or shop:vz"},
                       "\"%s\" cannot begin keys", s->prefix);
    }
}

static void check_expect(struct vv_conf_doc *doc, const struct vv_store_settings *s)
{
    for (size_t i = 0; i < vv_list_count(s->expect); i++) {
        const struct vv_expect_settings *e = s->expect->item[i];
        const size_t n = strspn(e->name, "abcdefghijklmnopqrstuvwxyz0123456789-_");
        if (n == 0 || e->name[n] != '\0') { /* "*" would ask for all of them */
            vv_conf_report(
                doc,
                &(struct vv_conf_report){
                    .field = e, .whole = true, .hint = "write it as CONFIG GET does: maxmemory"},
                "\"%s\" is no parameter of Redis", e->name);
        }
    }
}

static void check_listen(struct vv_conf_doc *doc, const struct vv_store_settings *s)
{
    struct vv_addr addr;
    if (s->listen != NULL && vv_addr_parse(vv_str_from(s->listen), &addr) != VV_OK) {
        vv_conf_report(
            doc, &(struct vv_conf_report){.field = &s->listen, .hint = "write 127.0.0.1:6380"},
            "\"%s\" is no address to listen at", s->listen);
    }
    if (s->listen == NULL && vv_conf_given(doc, &s->clients) && s->clients != 1000) {
        vv_conf_report(doc,
                       &(struct vv_conf_report){.field = &s->clients,
                                                .warning = true,
                                                .hint = "add listen: 127.0.0.1:6380"},
                       "clients does nothing without listen");
    }
}

static void read_url(struct vv_conf_doc *doc, struct vv_store_settings *s)
{
    struct vv_redis_url url;
    char why[256] = "";
    if (s->url == NULL || s->url[0] == '\0') {
        vv_conf_report(doc,
                       &(struct vv_conf_report){.field = s->url != NULL ? (const void *)&s->url
                                                                        : (const void *)s,
                                                .whole = s->url == NULL,
                                                .warning = true,
                                                .hint = "write redis://127.0.0.1:6379/0"},
                       "store \"%s\" has no url: it is kept in the memory of this gateway only",
                       s->name);
        return;
    }
    if (vv_redis_url_read(vv_str_from(s->url), &url, why) != VV_OK) {
        vv_conf_report(doc, &(struct vv_conf_report){.field = &s->url, .hint = why},
                       "the url of store \"%s\" cannot be read", s->name);
        return;
    }
    struct vv_redis_url *copy = vv_conf_zalloc(doc, sizeof *copy);
    *copy = url;
    s->parsed = copy;
}

/* What is said about a way of connecting that the address does not take. */
static void check_ways(struct vv_conf_doc *doc, const struct vv_store_settings *s)
{
    const bool sentinel = vv_conf_given_struct(doc, &s->sentinel);
    const bool tls = vv_conf_given_struct(doc, &s->tls);
    if (s->parsed == NULL) {
        return;
    }
    if (sentinel && s->parsed->kind != VV_REDIS_SENTINEL) {
        vv_conf_report(doc,
                       &(struct vv_conf_report){.field = &s->sentinel,
                                                .whole = true,
                                                .other = &s->url,
                                                .other_what = "the url",
                                                .warning = true,
                                                .hint = "write redis+sentinel://host,host/master"},
                       "sentinel does nothing: the url of store \"%s\" names no sentinels",
                       s->name);
    }
    if (tls && !s->parsed->tls) {
        vv_conf_report(doc,
                       &(struct vv_conf_report){.field = &s->tls,
                                                .whole = true,
                                                .other = &s->url,
                                                .other_what = "the url",
                                                .hint = "write rediss://, or remove tls"},
                       "store \"%s\" is asked without TLS", s->name);
    }
    if (s->tls.key != NULL && s->tls.cert == NULL) {
        vv_conf_report(doc, &(struct vv_conf_report){.field = &s->tls.key, .hint = "add cert"},
                       "a key needs its certificate");
    }
}

static void derive_store(struct vv_conf_doc *doc, struct vv_store_settings *s)
{
    vv_settings_resolve(doc, &s->tls.ca);
    vv_settings_resolve(doc, &s->tls.cert);
    vv_settings_resolve(doc, &s->tls.key);
    check_texts(doc, s);
    read_url(doc, s);
    check_ways(doc, s);
    check_expect(doc, s);
    check_listen(doc, s);
}

void vv_settings_derive_stores(struct vv_conf_doc *doc, struct vv_settings_root *root)
{
    const struct vv_conf_list *stores = root->s.stores;
    if (vv_list_count(stores) > STORES_MAX) {
        vv_conf_report(doc,
                       &(struct vv_conf_report){.field = stores->item[STORES_MAX], .whole = true},
                       "there are more than %d stores", STORES_MAX);
        return;
    }
    for (size_t i = 0; i < vv_list_count(stores); i++) {
        derive_store(doc, stores->item[i]);
    }
}

struct vv_store_settings *vv_settings_named_store(struct vv_conf_doc *doc,
                                                  const struct vv_settings_root *root,
                                                  const char *const *field)
{
    const struct vv_conf_list *stores = root->s.stores;
    struct vv_name_index index;
    for (size_t i = 0; i < vv_list_count(stores); i++) {
        struct vv_store_settings *s = stores->item[i];
        if (strcmp(s->name, *field) == 0) {
            return s;
        }
    }
    vv_names_init(&index, doc, vv_list_count(stores));
    for (size_t i = 0; i < vv_list_count(stores); i++) {
        struct vv_store_settings *s = stores->item[i];
        vv_names_put(&index, s->name, s);
    }
    if (vv_list_count(stores) == 0) {
        vv_conf_report(
            doc,
            &(struct vv_conf_report){.field = field,
                                     .hint = "add stores: {NAME: \"redis://127.0.0.1:6379\"}"},
            "no store named \"%s\"", *field);
    } else {
        vv_settings_unknown_name(doc, field, "store", *field, stores, &index);
    }
    return NULL;
}

/* ---- levels of caches ---------------------------------------------------------------------- */

/* "x2", "x1.5". */
static bool read_factor(struct vv_str s, uint64_t *ret_ppm)
{
    uint64_t whole = 0, part = 0, unit = PPM;
    const struct vv_str number = {s.p + 1, s.n > 0 ? s.n - 1 : 0};
    const ptrdiff_t dot = vv_str_find_char(number, '.');
    const struct vv_str before = {number.p, dot >= 0 ? (size_t)dot : number.n};
    if (s.n < 2 || s.p[0] != 'x' || vv_str_to_u64(before, &whole) != VV_OK || whole > FACTOR_MAX) {
        return false;
    }
    if (dot >= 0) {
        const struct vv_str after = {number.p + dot + 1, number.n - (size_t)dot - 1};
        if (after.n > 6 || vv_str_to_u64(after, &part) != VV_OK) {
            return false;
        }
        for (size_t i = 0; i < after.n; i++) {
            unit /= 10;
        }
    }
    *ret_ppm = whole * PPM + part * unit;
    return *ret_ppm >= PPM && *ret_ppm <= (uint64_t)FACTOR_MAX * PPM;
}

static void derive_level_ttl(struct vv_conf_doc *doc, struct vv_level_settings *l)
{
    uint64_t ns = 0;
    l->ttl_factor_ppm = PPM;
    if (l->ttl == NULL || read_factor(vv_str_from(l->ttl), &l->ttl_factor_ppm)) {
        return;
    }
    const enum vv_err err = vv_parse_duration(vv_str_from(l->ttl), &ns);
    if (err != VV_OK || ns < VV_SEC || ns > LEVEL_TTL_MAX_NS) {
        vv_conf_report(
            doc,
            &(struct vv_conf_report){.field = &l->ttl,
                                     .hint = "from x1 to x100, or a duration from 1s to 3650d"},
            err == VV_EINVAL ? "\"%s\" needs a unit, or an x before it"
                             : "\"%s\" is no lifetime in a store",
            l->ttl);
        return;
    }
    l->ttl_factor_ppm = 0;
    l->ttl_ns = ns;
}

/* What says something about memory only, on a level in a store. Afterwards the long form, which is read again,
 * does not show it. */
static void check_store_level(struct vv_conf_doc *doc, const struct vv_settings_root *root,
                              struct vv_level_settings *l)
{
    const struct {
        uint64_t *field;
        const char *key;
    } memory_only[] = {
        {&l->memory_bytes, "memory"}, {&l->entries, "entries"}, {&l->policy, "policy"}};
    (void)vv_settings_named_store(doc, root, &l->store);
    for (size_t i = 0; i < VV_COUNT(memory_only); i++) {
        if (vv_conf_given(doc, memory_only[i].field)) {
            vv_conf_report(
                doc,
                &(struct vv_conf_report){.field = memory_only[i].field,
                                         .other = &l->store,
                                         .other_what = "the store",
                                         .hint = "write levels: [{memory: 64MB}, {store: NAME}]"},
                "\"%s\" says something about a level in memory, and this one is in a store",
                memory_only[i].key);
        }
        *memory_only[i].field = VV_CONF_ABSENT;
    }
    if (l->object_bytes == 0) {
        l->object_bytes = LEVEL_OBJECT_BYTES;
    }
    derive_level_ttl(doc, l);
}

static void check_memory_level(struct vv_conf_doc *doc, struct vv_level_settings *l)
{
    if (l->ttl != NULL) {
        vv_conf_report(
            doc, &(struct vv_conf_report){.field = &l->ttl, .hint = "use max_ttl of the cache"},
            "a level in memory has no ttl of its own");
    }
    if (vv_conf_given(doc, &l->compress_bytes)) {
        vv_conf_report(doc,
                       &(struct vv_conf_report){.field = &l->compress_bytes,
                                                .hint = "use compress of a route"},
                       "a level in memory keeps answers as they are");
    }
    l->compress_bytes = VV_CONF_ABSENT;
    if (l->object_bytes > l->memory_bytes) {
        vv_conf_report(doc,
                       &(struct vv_conf_report){.field = &l->object_bytes,
                                                .other = &l->memory_bytes,
                                                .other_what = "memory"},
                       "max_object is more than the memory");
    }
}

static void check_twin_level(struct vv_conf_doc *doc, const struct vv_cache_settings *s, size_t at)
{
    const struct vv_level_settings *l = s->levels->item[at];
    for (size_t i = 0; i < at; i++) {
        const struct vv_level_settings *other = s->levels->item[i];
        if (other->store != NULL && strcmp(other->store, l->store) == 0) {
            vv_conf_report(doc,
                           &(struct vv_conf_report){.field = &l->store,
                                                    .other = &other->store,
                                                    .other_what = "first used",
                                                    .hint = "remove one of them"},
                           "cache \"%s\" has two levels in store \"%s\"", s->name, l->store);
        }
    }
}

/* The list without a level in memory gets the default one at its front. */
static void put_memory_first(struct vv_conf_doc *doc, struct vv_cache_settings *s)
{
    struct vv_conf_list *list = NULL;
    vv_conf_append(doc, &s->levels, vv_conf_new(doc, &vv_settings_level_section, NULL), NULL, NULL);
    list = s->levels;
    void *last = list->item[list->count - 1];
    const struct vv_conf_pos at = list->pos[list->count - 1];
    memmove(list->item + 1, list->item, (list->count - 1) * sizeof *list->item);
    memmove(list->pos + 1, list->pos, (list->count - 1) * sizeof *list->pos);
    list->item[0] = last;
    list->pos[0] = at;
}

static void check_order(struct vv_conf_doc *doc, struct vv_cache_settings *s, size_t memories)
{
    const size_t stores = vv_list_count(s->levels) - memories;
    if (stores > VV_LEVELS_MAX - 1) {
        vv_conf_report(doc,
                       &(struct vv_conf_report){.field = s->levels->item[s->levels->count - 1],
                                                .whole = true,
                                                .hint = "three are enough"},
                       "cache \"%s\" has %zu levels in stores", s->name, stores);
    }
    if (vv_conf_given_struct(doc, &s->share) && stores == 0) {
        vv_conf_report(
            doc,
            &(struct vv_conf_report){.field = &s->share,
                                     .whole = true,
                                     .hint = "add levels: [{memory: 64MB}, {store: NAME}]"},
            "cache \"%s\" shares nothing: it has no level in a store of its own", s->name);
    }
}

void vv_settings_derive_levels(struct vv_conf_doc *doc, const struct vv_settings_root *root,
                               struct vv_cache_settings *s)
{
    size_t memories = 0;
    for (size_t i = 0; i < vv_list_count(s->levels); i++) {
        struct vv_level_settings *l = s->levels->item[i];
        if (l->store != NULL) {
            check_twin_level(doc, s, i);
            check_store_level(doc, root, l);
            continue;
        }
        check_memory_level(doc, l);
        if (++memories > 1) {
            vv_conf_report(doc,
                           &(struct vv_conf_report){
                               .field = l, .whole = true, .hint = "make one larger level"},
                           "cache \"%s\" has two levels in memory", s->name);
        } else if (i > 0) {
            vv_conf_report(
                doc, &(struct vv_conf_report){.field = l, .whole = true, .hint = "put it first"},
                "the level in memory of cache \"%s\" stands behind one in a store", s->name);
        }
    }
    if (s->levels != NULL && s->levels->count == 0) {
        vv_conf_report(doc,
                       &(struct vv_conf_report){.field = &s->levels,
                                                .hint = "write [{memory: 64MB}], or leave it out"},
                       "cache \"%s\" has no levels", s->name);
    }
    check_order(doc, s, memories);
    if (memories == 0 && vv_list_count(s->levels) > 0) {
        put_memory_first(doc, s);
        check_memory_level(doc, s->levels->item[0]);
    }
}
