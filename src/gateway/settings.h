/* src/gateway/settings.h - the configuration as the product sees it: plain values, one row per field.
 *
 * Model:     conf/ parses a file into a tree of these structs through the rows in settings.c; every
 *            field is 8 bytes (a number, a bool, a pointer to text, a list). Absent optional text
 *            is NULL, absent lists are NULL. Nearest wins: what a route leaves out was already filled
 *            in from its service, listener and defaults by vv_settings_load().
 * Units:     *_ns durations, *_bytes sizes, *_ppm shares.
 * Ownership: one document owns all text and structs; freed at once with vv_settings_free().
 * Threads:   immutable after load, shared freely.
 */
#ifndef VV_GATEWAY_SETTINGS_H
#define VV_GATEWAY_SETTINGS_H
#include "balance/balance.h"
#include "balance/check.h"
#include "conf/conf.h"
#include "gateway/settings_clients.h"
#include "gateway/settings_guard.h"
#include "gateway/settings_secure.h"
#include "gateway/settings_store.h"
#include "gateway/settings_tls.h"

struct vv_timeouts_settings { /* each wait has its own status and metric */
    uint64_t header_ns;       /* first byte of a request to the end of its head: 408 */
    uint64_t body_ns;         /* between two reads of a request body: 408 */
    uint64_t connect_ns;      /* to a server: 504 */
    uint64_t first_byte_ns;   /* request sent to answer head: 504 */
    uint64_t idle_ns;         /* between two reads of an answer body, or tunnel bytes: cut */
    uint64_t send_ns;         /* a client that does not read: cut */
    uint64_t whole_ns;        /* whole exchange, `timeout`: 504 */
};

struct vv_listen_settings {
    const char *name;            /* "default" for the short form */
    const char *address;         /* "127.0.0.1:8080", ":8080", "unix:/run/x.sock" */
    uint64_t port;               /* alternative to address: all addresses */
    struct vv_conf_list *names;  /* host names served here (const char *); empty: all */
    uint64_t keepalive_ns;       /* idle client connection, default 75 s */
    uint64_t keepalive_requests; /* per connection; 0: no limit */
    uint64_t connections;        /* per worker; 0: by descriptors */
    uint64_t proxy_protocol;     /* bool: a PROXY header is required from trusted peers */
    struct vv_conf_list *trust;  /* CIDR text: whose X-Forwarded-*, Forwarded, PROXY count */
    uint64_t unix_mode;          /* permissions of a unix socket, octal text, default 0660 */
    uint64_t head_bytes, line_bytes, fields_max; /* 431, 414, 431 */
    uint64_t body_bytes_max;                     /* 413; 0: no limit */
    uint64_t header_timeout_ns;  /* overrides defaults.timeouts.header for this listener */
    struct vv_conf_list *limits; /* struct vv_limit_settings */
    struct vv_tls_settings tls;
    uint64_t http2;       /* bool: offered; without TLS by prior knowledge */
    const char *redirect; /* "https": every request is sent there; NULL: served */
    struct vv_clients_settings clients;
};

struct vv_server_settings {
    const char *url; /* "http://host:port", "host:port", "unix:/path" */
    uint64_t weight; /* 1..1000, default 1 */
    uint64_t drain;  /* bool */
};

struct vv_check_settings { /* check: {path, every, timeout, fails, passes, grace} */
    struct vv_check_conf timing;
    uint64_t type;    /* 0 http, 1 tcp, 2 grpc */
    const char *path; /* default "/" */
    const char *host; /* Host of the probe, default the server's name */
    struct vv_conf_list
        *expect; /* status codes or classes as text: "200", "2xx"; default 2xx, 3xx */
};

struct vv_service_settings {
    const char *name;
    struct vv_conf_list *servers; /* struct vv_server_settings */
    struct vv_service_conf balance;
    const char *hash_key; /* template for `balance: hash`: "$client_ip", "$uri", "$header.x-user" */
    const char *sticky_cookie;       /* name of our cookie; NULL: none */
    uint64_t keepalive;              /* idle connections kept per worker and server, default 256 */
    uint64_t keepalive_ns;           /* how long an idle one is kept, default 60 s */
    uint64_t connections;            /* per worker and server; 0: no limit */
    uint64_t connect_ns;             /* 0: from defaults.timeouts */
    uint64_t first_byte_ns, idle_ns; /* 0: from defaults.timeouts */
    struct vv_retry_settings retries;
    struct vv_hedge_settings hedge;
    struct vv_concurrency_settings concurrency;
    const char *breaker; /* a name in breakers; NULL: none */
    const char *host;    /* Host sent: NULL = the client's ("$host"), or a literal */
    struct vv_check_settings check;
    struct vv_service_tls_settings tls;
    uint64_t http2; /* bool: servers are asked over HTTP/2 */
};

/* ---- caching: `ttls`, `caches`, and `cache:`, `coalesce:`, `compress:` of a route ---- */
struct vv_ttl_settings { /* ttl: {default: 1h, 200: 5m, 404: 1m, 5xx: 10s}; also `ttls` */
    const char *name;    /* "default", a status, "2xx", "200-299"; in `ttls` a name */
    const char *value;   /* a duration or a name out of `ttls`, as written */
    uint64_t ttl_ns;     /* derived */
    uint64_t low, high;  /* derived: statuses; 0, 0: default, what may be kept without being told */
    uint64_t used;       /* derived, in `ttls`: bool, some lifetime refers to it */
};
struct vv_stale_settings {
    uint64_t while_revalidate_ns, if_error_ns; /* where the origin is silent; default 0 */
};
#define VV_LEVELS_MAX 4      /* memory and three stores */
struct vv_level_settings {   /* levels: [{memory: 256MB}, {store: local}, {store: far, ttl: x2}] */
    uint64_t memory_bytes;   /* default 64 MiB, at least 1 MiB */
    uint64_t entries;        /* 0: no limit */
    uint64_t object_bytes;   /* largest object; 0: a quarter of memory; of a store 4 MiB */
    uint64_t policy;         /* enum vv_cache_policy */
    const char *store;       /* a name in stores; NULL: this level is in memory */
    const char *ttl;         /* of a store: "x2" or a duration, as written; NULL: x1 */
    uint64_t compress_bytes; /* of a store: shorter values stay as they are; 0: all do */
    uint64_t ttl_factor_ppm; /* derived, of a store: what an answer's lifetime is multiplied by; 0:
                                ttl_ns is the lifetime there */
    uint64_t ttl_ns;         /* derived, of a store; 0: the factor counts */
};
struct vv_cache_settings {
    const char *name;
    const char *like;            /* another cache: its settings and its memory, unless given here */
    struct vv_conf_list *levels; /* struct vv_level_settings: first the one in memory, then up to
                                    three in stores; NULL: see memory */
    struct vv_share_settings share; /* of its levels; that of `memory` counts */
    const char *key;                /* template; NULL: the target URI */
    struct vv_conf_list
        *methods;             /* const char *; NULL: GET and HEAD; POST puts the body in the key */
    struct vv_conf_list *ttl; /* struct vv_ttl_settings */
    uint64_t override;        /* bool: ttl counts also against what the origin says */
    uint64_t ttl_max_ns;      /* no lifetime is longer; 0: no limit */
    uint64_t heuristic_ppm;   /* of the time since Last-Modified, default 10 %; 0: none */
    struct vv_stale_settings stale;
    const char *show;                /* extra field with HIT, MISS ...; NULL: only Cache-Status */
    uint64_t ignore_query;           /* bool */
    uint64_t sort_query;             /* bool */
    struct vv_conf_list *drop_query; /* const char *: "utm_*" */
    uint64_t client_directives;      /* bool, default true: Cache-Control of requests counts */
    uint64_t set_cookie;             /* bool: keep answers with Set-Cookie */
    uint64_t authorized;             /* bool: keep answers to Authorization (then in the key) */
    struct vv_conf_list *targets; /* const char *: targeted fields, default [CDN-Cache-Control] */
    uint64_t surrogate;           /* bool, default true: read Surrogate-Control */
    struct vv_conf_list *purge;   /* CIDR text: who may send PURGE; NULL: nobody */
    struct vv_conf_list
        *invalidates;     /* templates of paths that a write makes forgotten; "*": any */
    uint64_t wait_ns;     /* longest wait for another's fetch, default 30 s */
    uint64_t refresh;     /* bool, default true: renew hot objects before they expire */
    const char *snapshot; /* file written at stop, read at start; NULL: none */
    const struct vv_cache_settings *memory; /* derived: the cache whose level holds the objects */
    uint64_t unnamed;                       /* derived: made for routes that name no cache */
    struct vv_conf_pos at;
};
struct vv_route_cache_settings {  /* cache: 5m, cache: api, cache: false, cache: {use: api, ...} */
    uint64_t enabled;             /* bool */
    const char *use;              /* a name in caches, a name in ttls, or a duration */
    struct vv_cache_settings own; /* finished: what is not given here comes from `use` */
};
struct vv_coalesce_settings { /* coalesce: {key: "user-{id}", keep: 30s, entries: 1000} */
    uint64_t enabled;         /* bool: `coalesce: false` */
    const char *key;          /* template; NULL: URI, Authorization and Cookie */
    uint64_t keep_ns;         /* how long a good answer is given to later askers; default 0 */
    uint64_t entries;         /* default 1000 */
    uint64_t wait_ns;         /* default 30 s */
    const char *memory;       /* derived: name of its memory level, "coalesce:ROUTE" */
};
struct vv_compress_settings {       /* compress: {min, types, encodings, level} */
    uint64_t enabled;               /* bool: `compress: false` */
    uint64_t bytes_min;             /* default 1 KiB */
    struct vv_conf_list *types;     /* media types with one *, const char * */
    struct vv_conf_list *encodings; /* of br, zstd, gzip in order of preference */
    uint64_t level;                 /* 0: each encoder's own default */
    uint64_t ahead;                 /* bool, files: make compressed siblings in memory */
    uint64_t ratio_max_ppm;         /* files ahead: keep only if at most so much of it, 80 % */
};

struct vv_header_match { /* headers: {X-API-Version: "1.0"}, query: {debug: "1"} */
    const char *name;
    const char *value; /* NULL or "*": present */
};
enum vv_edit_when { /* derived: when an edit writes its value */
                    VV_EDIT_ALWAYS,
                    VV_EDIT_HTTPS,  /* the client asks over HTTPS */
                    VV_EDIT_ORIGIN, /* the request's Origin is among those of the route's `cors` */
                    VV_EDIT_BESIDE  /* always, and fields of the same name stay */
};
struct vv_header_edit { /* headers: {Cache-Control: "public", X-Old: null} */
    const char *name;
    const char *value; /* NULL: remove */
    uint64_t when;     /* derived: enum vv_edit_when */
};

enum vv_action_kind {
    VV_ACTION_TO,
    VV_ACTION_FILES,
    VV_ACTION_REDIRECT,
    VV_ACTION_RESPOND,
    VV_ACTION_COMPOSE,
    VV_ACTION_OBJECTS,
};

struct vv_redirect_settings {
    const char *to;  /* template: "https://$host$uri" */
    uint64_t status; /* 301 302 303 307 308, default 308 */
};
struct vv_respond_settings {
    uint64_t status;       /* default 200 */
    const char *body;      /* template; "@file" reads a file at load */
    const char *type;      /* Content-Type, default text/plain; charset=utf-8 */
    uint64_t body_literal; /* bool: the body came from a file: send it as it is */
};
struct vv_files_settings {
    const char *root;
    const char *index;      /* default "index.html" */
    const char *fallback;   /* path inside root served when nothing is found: single-page apps */
    uint64_t precompressed; /* bool, default true: .br .zst .gz siblings */
    uint64_t hidden;        /* bool, default false: names starting with a dot */
};

struct vv_route_settings {
    const char *name;                   /* for metrics; default the path pattern */
    const char *path;                   /* see routes.h for the pattern language; default "/" */
    struct vv_conf_list *methods;       /* const char *; NULL: all */
    struct vv_conf_list *hosts;         /* const char *; "*.example.org" allowed; NULL: all */
    struct vv_conf_list *listen;        /* listener names; NULL: all */
    struct vv_conf_list *match_headers; /* struct vv_header_match, key `when_headers` */
    struct vv_conf_list *match_query;   /* struct vv_header_match, key `when_query` */
    uint64_t action;                    /* enum vv_action_kind: which of the keys was given */
    const char *to;      /* service name, or a URL (an unnamed service is made for it) */
    const char *rewrite; /* path sent upstream: "/ideas/{id}", "/v2/$rest"; NULL: unchanged */
    struct vv_files_settings files;
    struct vv_redirect_settings redirect;
    struct vv_respond_settings respond;
    const char *objects;          /* a name in stores: keys and values for applications */
    uint64_t expires_ns;          /* Cache-Control max-age added to answers; UINT64_MAX: not set */
    struct vv_conf_list *headers; /* struct vv_header_edit on the answer */
    struct vv_conf_list *request_headers; /* struct vv_header_edit on the request sent upstream */
    const char *count_as;                 /* extra counter name */
    struct vv_route_cache_settings caching;
    struct vv_cache_settings *cache; /* derived: the cache in force, &caching.own; NULL: none */
    struct vv_coalesce_settings coalesce;
    uint64_t coalesces; /* derived: bool; `cache` may be there too and then takes its key */
    struct vv_compress_settings compress;
    uint64_t compresses; /* derived: bool */
    struct vv_compose_settings compose;
    struct vv_conf_list *limits;            /* struct vv_limit_settings */
    struct vv_route_access_settings access; /* who may ask */
    struct vv_conf_list *require;           /* struct vv_header_match: fields a request must have */
    const char *breaker;                    /* a name in breakers; NULL: the service's */
    uint64_t retries;                       /* UINT64_MAX: the service's */
    uint64_t priority; /* 0 high .. 3 batch; UINT64_MAX: the plan's, else normal */
    struct vv_fallback_settings fallback;
    struct vv_canary_settings canary;
    struct vv_mirror_settings mirror;
    struct vv_secure_settings secure;
    struct vv_cors_settings cors;
    struct vv_conf_list *browser_headers;   /* derived: struct vv_header_edit; after `headers` */
    const struct vv_cors_settings *sharing; /* derived: `cors` in force; NULL: none */
    uint64_t server_timing;                 /* bool: answers say where their time went */
    uint64_t body_bytes_max;                /* 413; UINT64_MAX: from the listener */
    struct vv_timeouts_settings timeouts;   /* filled from defaults where absent */
    struct vv_conf_pos at;                  /* where the route stands */
};

struct vv_access_log_settings {
    const char *path; /* NULL: off; "-": standard output */
    uint64_t format;  /* enum vv_access_format */
};

struct vv_settings {
    uint64_t version;
    uint64_t workers;   /* 0: auto */
    const char *admin;  /* address of the admin listener; NULL: none ("none") */
    const char *socket; /* admin unix socket; NULL: chosen from the file's path */
    const char *user;   /* drop privileges to this user; NULL: stay */
    uint64_t seccomp;   /* bool */
    uint64_t drain_ns;  /* longest drain at stop and upgrade, default 30 s */
    uint64_t guard_ns;  /* how long a reload is watched, default 30 s; 0: not */
    uint64_t log_level, log_format;
    struct vv_access_log_settings access_log;
    struct vv_conf_list *labels;      /* struct vv_header_match: name, value */
    struct vv_conf_list *dns_servers; /* const char * */
    struct vv_conf_list *listen;      /* struct vv_listen_settings */
    struct vv_conf_list *services;    /* struct vv_service_settings */
    struct vv_conf_list *ttls;        /* struct vv_ttl_settings */
    struct vv_conf_list *caches;      /* struct vv_cache_settings */
    struct vv_conf_list *stores;      /* struct vv_store_settings */
    struct vv_conf_list *routes;      /* struct vv_route_settings */
    struct vv_conf_list *breakers;    /* struct vv_breaker_settings */
    struct vv_access_settings access;
    struct vv_chaos_settings chaos;
    struct vv_overload_settings overload;
    struct vv_acme_settings acme;
    const char *deadline_header; /* tells a service how many milliseconds are left; NULL: not */
    struct vv_conf_list *browser_headers; /* derived: of answers without a route */
    struct vv_conf_list *csp_paths;       /* derived: const char *, where reports are taken */
};

/* Parses, checks and fills in. VV_ECONFIG: problems say why (ret_settings untouched). Warnings may
 * be in problems even on VV_OK. The caller frees the problems. */
VV_MUST_CHECK enum vv_err vv_settings_load(const struct vv_conf_source *source,
                                           struct vv_conf_problems *problems,
                                           struct vv_settings **ret_settings);
void vv_settings_free(struct vv_settings *s);
/* The document behind the settings, for `config show` and status pages. */
const struct vv_conf_doc *vv_settings_doc(const struct vv_settings *s);
/* The root section, for schema, reference page and sample file. */
const struct vv_conf_section *vv_settings_section(void);
#endif
