/* src/gateway/settings_int.h - what the settings files share. Never included elsewhere. */
#ifndef VV_GATEWAY_SETTINGS_INT_H
#define VV_GATEWAY_SETTINGS_INT_H
#include "gateway/settings.h"

struct vv_defaults_settings { /* defaults: what routes begin with */
    struct vv_timeouts_settings timeouts;
    struct vv_conf_list *headers;         /* struct vv_header_edit */
    struct vv_conf_list *request_headers; /* struct vv_header_edit */
    struct vv_route_cache_settings caching;
    struct vv_coalesce_settings coalesce;
    struct vv_compress_settings compress;
    struct vv_secure_settings secure;
    struct vv_cors_settings cors;
    uint64_t server_timing; /* bool */
    const char *share;      /* of limits: a name in stores; NULL: none */
};

struct vv_settings_root { /* what the root section fills; the settings come first */
    struct vv_settings s;
    struct vv_defaults_settings defaults;
    struct vv_conf_doc *doc; /* set after the load */
};

/* settings_rows.c */
extern const struct vv_conf_section vv_settings_root_section, vv_settings_service_section,
    vv_settings_server_section, vv_settings_match_section;

/* settings_cache_rows.c */
extern const struct vv_conf_section vv_settings_ttl_section, vv_settings_level_section,
    vv_settings_cache_section, vv_settings_route_cache_section, vv_settings_coalesce_section,
    vv_settings_compress_section;

/* settings_guard_rows.c */
extern const struct vv_conf_section vv_settings_limit_section, vv_settings_access_section,
    vv_settings_route_access_section, vv_settings_breaker_section, vv_settings_retry_section,
    vv_settings_hedge_section, vv_settings_concurrency_section, vv_settings_overload_section,
    vv_settings_compose_section, vv_settings_canary_section, vv_settings_mirror_section,
    vv_settings_chaos_section;
/* settings_tls_rows.c, settings_upstream_rows.c, settings_secure_rows.c, settings_clients_rows.c */
extern const struct vv_conf_section vv_settings_tls_section, vv_settings_cert_section,
    vv_settings_acme_section, vv_settings_service_tls_section, vv_settings_secure_section,
    vv_settings_cors_section, vv_settings_clients_section;
/* settings_store_rows.c */
extern const struct vv_conf_section vv_settings_store_section, vv_settings_share_section;
extern const char *const vv_settings_priorities[]; /* of plans and routes; ends with NULL */
/* The rows of a struct vv_fallback_settings called `fallback` in a struct: it is one key. */
#define VV_SETTINGS_FALLBACK_ROWS(type_, doc_)                                                     \
    {VV_CONF_FIELD(type_, fallback.given),                                                         \
     .key = "fallback",                                                                            \
     .type = VV_CONF_JSON,                                                                         \
     .reload = true,                                                                               \
     .doc = (doc_),                                                                                \
     .example = "{json: {items: []}}"},                                                            \
        {VV_CONF_FIELD(type_, fallback.kind), .type = VV_CONF_DERIVED},                            \
        {VV_CONF_FIELD(type_, fallback.status), .type = VV_CONF_DERIVED},                          \
        {VV_CONF_FIELD(type_, fallback.body), .type = VV_CONF_DERIVED},                            \
        {VV_CONF_FIELD(type_, fallback.type), .type = VV_CONF_DERIVED},                            \
        {VV_CONF_FIELD(type_, fallback.body_bytes), .type = VV_CONF_DERIVED},                      \
    {                                                                                              \
        VV_CONF_FIELD(type_, fallback.to), .type = VV_CONF_DERIVED                                 \
    }

/* settings_secure.c: `secure` and `cors` become edits; then what is wrong with them, and with `redirect` of
 * listeners. */
void vv_settings_derive_secure(struct vv_conf_doc *doc, struct vv_settings_root *root);
void vv_settings_check_secure(struct vv_conf_doc *doc, struct vv_settings_root *root);

/* settings_guard.c: finishes what protects. Routes know their actions, services are all there. */
void vv_settings_derive_guards(struct vv_conf_doc *doc, struct vv_settings_root *root);
/* "100/s" into its two numbers. On failure, which is told, and without a text both stay as they are. */
void vv_settings_derive_rate(struct vv_conf_doc *doc, const void *field, const char *what,
                             const char *text, uint64_t *ret_count, uint64_t *ret_per_ns);
/* settings_clients.c: rates, lists and files of addresses of one listener. */
void vv_settings_derive_clients(struct vv_conf_doc *doc, struct vv_listen_settings *l);
uint64_t vv_settings_access_way(const char *word); /* bit of enum vv_access_by; 0: none of them */

/* settings_guard_check.c: and checks it, each mistake with its other end. */
void vv_settings_check_guards(struct vv_conf_doc *doc, struct vv_settings_root *root);

/* settings_tls_check.c: certificates of the listeners. Paths and names first, then what the files hold. */
void vv_settings_derive_tls(struct vv_conf_doc *doc, struct vv_settings_root *root);
void vv_settings_check_tls(struct vv_conf_doc *doc, const struct vv_settings_root *root);

/* settings_fallback.c */
/* Of the route, whose action is known, and of its parts. */
void vv_settings_derive_fallbacks(struct vv_conf_doc *doc, struct vv_route_settings *r);

/* settings_cache.c: finishes and checks what is said about caching and compressing. The routes know
 * their actions and services. */
void vv_settings_derive_caches(struct vv_conf_doc *doc, struct vv_settings_root *root);
void vv_settings_warn_caches(struct vv_conf_doc *doc, const struct vv_settings_root *root);

/* settings_store.c: addresses are read, files are found; before anything names a store. */
void vv_settings_derive_stores(struct vv_conf_doc *doc, struct vv_settings_root *root);
/* The store that `*field` names; NULL: there is none, which is told with the nearest name. */
struct vv_store_settings *vv_settings_named_store(struct vv_conf_doc *doc,
                                                  const struct vv_settings_root *root,
                                                  const char *const *field);
/* Checks the levels of a cache, before it has any it was not given, and finishes those in stores. */
void vv_settings_derive_levels(struct vv_conf_doc *doc, const struct vv_settings_root *root,
                               struct vv_cache_settings *s);

/* settings_upstream_check.c */
/* "host:port", "http://host[:port][/]", "https://host[:port][/]", "unix:/path"; NULL when it is one of them,
 * else what would be. The name is resolved later, by the gateway. */
const char *vv_settings_bad_server(const char *url);
void vv_settings_check_upstream(struct vv_conf_doc *doc, struct vv_service_settings *s);

/* settings_check.c: what no single row can see. Reports through the document. */
void vv_settings_check(struct vv_conf_doc *doc, struct vv_settings_root *root);

enum vv_template_check {
    VV_CHECK_COMPILES = 1, /* it is a template */
    VV_CHECK_PARAMS = 2,   /* its {params} are in the path; NULL: there are none here */
    VV_CHECK_KEY = 4,      /* it is a key: $body may stand in it */
};
void vv_settings_check_template(struct vv_conf_doc *doc, const void *field, const char *text,
                                const char *path, unsigned what);
/* A path of the file is meant from where the file lies. */
void vv_settings_resolve(struct vv_conf_doc *doc, const char **path);
void vv_settings_check_cidrs(struct vv_conf_doc *doc, const struct vv_conf_list *list);
bool vv_settings_is_token(const char *s); /* RFC 9110 section 5.6.2 */

/* Names to items, for look-ups while loading: 10,000 routes must not cost 10,000 scans. */
struct vv_name_slot {
    const char *name;
    void *item;
};
struct vv_name_index { /* memory of the document */
    struct vv_name_slot *slot;
    size_t room; /* a power of two, at least twice the names */
};
void vv_names_init(struct vv_name_index *x, struct vv_conf_doc *doc, size_t count_max);
void vv_names_put(struct vv_name_index *x, const char *name, void *item); /* the first one stays */
void *vv_names_get(const struct vv_name_index *x, struct vv_str name);    /* NULL: not there */

/* Reports an unknown name and shows the nearest known one with the place it stands at. */
void vv_settings_unknown_name(struct vv_conf_doc *doc, const void *field, const char *what,
                              const char *name, const struct vv_conf_list *known,
                              const struct vv_name_index *index);

static inline size_t vv_list_count(const struct vv_conf_list *l)
{
    return l != NULL ? l->count : 0;
}
#endif
