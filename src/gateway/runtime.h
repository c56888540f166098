/* src/gateway/runtime.h - settings made ready to run: compiled once, immutable, shared by the workers.
 *
 * Model:     built by the control thread; each worker holds it while it is current or while an
 *            exchange that began on it lives (vv_runtime_use in worker.h). Service states are named
 *            and taken over from the former runtime, so counters, ejections and connections survive.
 * Threads:   immutable after vv_runtime_new(), except the reference count and service states.
 * Ownership: counted; owns the settings.
 */
#ifndef VV_GATEWAY_RUNTIME_H
#define VV_GATEWAY_RUNTIME_H
#include "cache/key.h"
#include "cache/rules.h"
#include "cache/vary.h"
#include "gateway/guards.h"
#include "gateway/routes.h"
#include "gateway/settings.h"
#include "gateway/template.h"
#include "wire/encoding.h"
#include <stdatomic.h>

struct vv_action;
struct vv_levels;
struct vv_named_cache;
struct vv_cidr;
struct vv_canary;
struct vv_mirror;
struct vv_compose;
struct vv_cors;
struct vv_csp;
struct vv_limit_plan;
struct vv_plan;
struct vv_service_tls;
struct vv_store;

struct vv_edit { /* one header edit, compiled */
    struct vv_str name;
    uint16_t id;               /* enum vv_field_id */
    struct vv_template *value; /* NULL: remove */
    enum vv_edit_when when;
};
struct vv_edits {
    size_t count;
    struct vv_edit *edit;
    uint64_t lengths; /* bit n: a name of n bytes (modulo 64) is among them */
    /* All of them as text with line ends, without HTTPS and with it, when no request changes it and nobody
     * else looks at these fields (head_writer.h); p NULL: not so. */
    struct vv_str fixed[2];
};

struct vv_service {
    const struct vv_service_settings *conf;
    struct vv_service_state *state;   /* counted */
    uint32_t index;                   /* in the runtime */
    struct vv_template *hash_key;     /* NULL: none */
    struct vv_str host;               /* p NULL: the client's */
    struct vv_service_guard *guard;   /* counted; NULL: the runtime is only looked at */
    struct vv_named_breaker *breaker; /* counted; NULL: none */
    struct vv_fail_rules fail_on;     /* what its breaker counts as failures */
    struct vv_fail_rules retry_on;
    struct vv_service_tls *tls; /* counted; NULL: no server of the file is spoken to over TLS */
};

struct vv_cache_drop { /* a path that a write makes forgotten: parts[0] * parts[1] * ... */
    struct vv_template **part;
    size_t count; /* 1: no star in it */
};

/* How a route's answers are kept: the settings of its cache, compiled. */
struct vv_cache_plan {
    const struct vv_cache_settings *conf; /* NULL: coalesce_only */
    struct vv_named_cache *cache;    /* counted: lives as long as this runtime; NULL: see below */
    struct vv_levels *levels;        /* counted: beyond memory; NULL: none */
    struct vv_cache_options options; /* rules of RFC 9111 with our settings */
    struct vv_key_rules key_rules;
    struct vv_vary_rules vary_rules;
    struct vv_template *key; /* NULL: the target URI */
    struct vv_str name;      /* of the cache, for Cache-Status and metrics */
    struct vv_str show;      /* extra field; p NULL: none */
    uint32_t methods;        /* bits of enum vv_method that the cache serves */
    bool body_in_key;        /* POST is among them */
    bool identity_in_key;    /* Authorization and Cookie belong to the key */
    bool coalesce_only;      /* `coalesce:`: what the origin says about keeping is not asked */
    uint32_t keep_s;         /* coalesce_only: how long a good answer is kept; 0: not */
    uint64_t wait_ns;        /* longest wait for another's fetch */
    struct vv_cidr *purge;   /* who may send PURGE */
    size_t purge_count;
    struct vv_cache_drop *drop; /* `invalidates` */
    size_t drop_count;
};

struct vv_compress_plan {
    struct vv_encoding_rules rules;
    int level; /* 0: each encoder's default */
};

struct vv_route {
    const struct vv_route_settings *conf;
    const struct vv_action *action;
    struct vv_service *service; /* NULL unless `to` */
    uint32_t index;
    struct vv_template *rewrite;  /* NULL: path unchanged */
    struct vv_template *redirect; /* NULL unless `redirect` */
    struct vv_template *respond;  /* NULL unless `respond` */
    struct vv_edits answer_edits, request_edits;
    struct vv_cors *cors;              /* NULL: nothing is shared with other origins */
    uint64_t body_bytes_max;           /* UINT64_MAX: the listener's */
    struct vv_str cache_control;       /* from `expires`; p NULL: none */
    bool cache_control_whole;          /* it replaces an origin's: `headers` have a part in it */
    struct vv_cache_plan *cache;       /* NULL: none */
    struct vv_compress_plan *compress; /* NULL: none */
    struct vv_limit_plan *limits;      /* NULL: none */
    struct vv_named_breaker *breaker;  /* counted; the service's where the route names none */
    struct vv_fail_rules fail_on;      /* what the breaker counts as failures */
    const struct vv_service *fallback; /* VV_FALLBACK_TO; NULL */
    struct vv_compose *compose;        /* NULL: none */
    struct vv_store *objects;          /* counted; NULL: none */
    struct vv_canary *canary;          /* counted; NULL: none */
    struct vv_mirror *mirror;          /* NULL: none */
    unsigned retries;
    int root_fd; /* files: the opened root, -1 otherwise */
};

struct vv_runtime {
    _Atomic uint32_t refs;
    struct vv_settings *settings;
    struct vv_routes *matcher;
    size_t route_count, service_count;
    struct vv_route *route;
    struct vv_service *service;
    size_t listener_count, plan_count;
    struct vv_limit_plan **listener_limits; /* by the listener's index; NULL: none */
    struct vv_plan *plan;
    const struct vv_plan *unknown, *anonymous; /* plans of access.h; NULL: none */
    struct vv_edits answer_edits; /* of answers without a route: `secure` of the defaults */
    struct vv_csp *csp;           /* reports about policies; NULL: none are taken */
    bool shares;                  /* a route has `cors` */
    uint64_t generation;          /* 1, 2, ... one per reload */
};

struct vv_homes; /* homes.h */
/* `former` may be NULL. `homes` outlive the runtime; NULL: it is only looked at, and nothing in it has
 * memory, state or counts. Takes the settings only on VV_OK. reterr_text (256 bytes) says what failed. */
VV_MUST_CHECK enum vv_err vv_runtime_new(struct vv_settings *settings,
                                         const struct vv_runtime *former,
                                         const struct vv_homes *homes, struct vv_runtime **ret,
                                         char *reterr_text);
/* The service of this name; NULL: none, or no name. */
struct vv_service *vv_runtime_service(const struct vv_runtime *rt, const char *name);
/* Gives the services their new rules: the last step of a reload, which cannot fail. */
void vv_runtime_commit(struct vv_runtime *rt);
void vv_runtime_ref(struct vv_runtime *rt);
void vv_runtime_unref(struct vv_runtime *rt);
#endif
