/* src/gateway/settings_guard.h - settings of what protects: limits, access, breakers, retries, overload,
 * degradation, canaries, faults. Part of settings.h, whose rules hold here too.
 *
 * Units:     *_ns durations, *_ppm shares. "derived" fields are filled in by settings_guard.c.
 */
#ifndef VV_GATEWAY_SETTINGS_GUARD_H
#define VV_GATEWAY_SETTINGS_GUARD_H
#include "conf/conf.h"

/* limit: 100/s, limit: {per: client, rate: 100/s, burst: 200, concurrent: 50, quota: 1000000/30d}; also a
 * list of them; on listeners and routes, and (without `per`) a plan. All parts and all limits that apply
 * to a request are one decision. */
struct vv_limit_settings {
    const char *name; /* for the RateLimit fields and metrics; default the listener's, route's */
    const char *per;  /* "client" (the default), "key", "all", or any template: "$header.x-user" */
    const char *rate; /* as written: "100/s"; NULL: none */
    uint64_t rate_count;  /* derived: 100 */
    uint64_t rate_per_ns; /* derived: 1 s */
    uint64_t burst;       /* requests beyond the first that may come at once; default: as many as
                                 * the rate gives in a second, at least 1. Plans: see vv_plan_settings */
    uint64_t concurrent;  /* in flight; 0: no limit */
    const char *quota;    /* "10000/h": sliding window; NULL: none */
    uint64_t quota_count, quota_per_ns; /* derived */
    uint64_t weight;                    /* how many requests one counts for, default 1 */
    struct vv_conf_list *allow;         /* CIDR text: never limited */
    uint64_t dry_run;                   /* bool: counts and logs, refuses nothing */
    uint64_t status;                    /* of the refusal, default 429 */
    uint64_t legacy;                    /* bool: X-RateLimit-Limit, -Remaining, -Reset too */
    const char *share; /* a name in stores: rate and quota are one for all gateways; NULL: not.
                          Default: of plans access.share, of all defaults.share; "none": not */
    struct vv_conf_pos at;
};

struct vv_plan_settings { /* plans: {standard: {rate: 10000/h, burst: 500, concurrent: 100}} */
    const char *name;
    struct vv_limit_settings
        limit;         /* `burst` requests at once in all (500 pass, the 501st does not) */
    uint64_t priority; /* 0 high, 1 normal, 2 low, 3 batch; default normal */
};

struct vv_jwt_settings {
    uint64_t enabled;                /* PRESENT */
    const char *jwks;                /* "https://...", "http://..." or a file */
    struct vv_conf_list *algorithms; /* default RS256, ES256, EdDSA; never "none" or HS* */
    const char *issuer;              /* NULL: any */
    struct vv_conf_list *audience;   /* one of them must be there; NULL: any */
    uint64_t skew_ns;                /* default 60 s */
    uint64_t refresh_ns;             /* of a JWKS by URL, default 10 min */
    const char *subject;             /* claim that names the caller, default "sub" */
    const char *plan;                /* claim that names the plan; NULL: default_plan */
    const char *default_plan;        /* NULL: no plan */
};

/* certificates: {partner.example: premium, ops: {fingerprint: 4f9c..., plan: internal}} */
struct vv_certificate_settings {
    const char *name;        /* the caller's; without a fingerprint a name of the certificate */
    const char *fingerprint; /* SHA-256, derived: lower case without colons; NULL: by name */
    const char *plan;        /* NULL: none */
};

struct vv_access_settings { /* access: at the root */
    const char *keys;       /* file of key hashes; NULL: no keys */
    const char *basic;  /* file of users: "name:hash", as `vivace key user` writes it; NULL: none */
    const char *header; /* field that holds a key beside Authorization, default X-API-Key */
    const char *unknown; /* plan of callers with a key that is not in the file; NULL: 401 */
    const char
        *anonymous;    /* plan of callers without any key, where the route lets them; NULL: none */
    const char *share; /* a name in stores: plans count for all gateways; NULL: not */
    struct vv_conf_list *plans;        /* struct vv_plan_settings */
    struct vv_conf_list *certificates; /* struct vv_certificate_settings; NULL: any that holds */
    struct vv_jwt_settings jwt;
};

/* access of a route: bearer, [bearer, basic], {by: [bearer], plans: [premium]} */
struct vv_route_access_settings {
    uint64_t enabled;        /* PRESENT */
    struct vv_conf_list *by; /* of bearer (key or JWT in Authorization: Bearer), key (the header),
                                 * basic, jwt; "optional": also without */
    uint64_t methods;        /* derived: bits of enum vv_access_by (access.h) */
    struct vv_conf_list *plans; /* others get 403; NULL: any */
};

struct
    vv_breaker_settings { /* breakers: {ai_service: {failures: 5, recover: 60s, accept: 10%, window: 5m}} */
    const char *name;
    uint64_t failures;        /* in a row; 0: that rule is off; default 5 */
    uint64_t recover_ns;      /* until the first probe, default 30 s */
    uint64_t recover_max_ns;  /* default: recover: never longer */
    uint64_t accept_ppm;      /* share of failures in the window; 100 %: off, the default */
    uint64_t window_ns;       /* default 60 s */
    uint64_t volume;          /* requests in the window before shares are judged, default 20 */
    uint64_t slow_ns;         /* 0: off */
    uint64_t slow_accept_ppm; /* default 50 % */
    uint64_t probes;          /* at once, default 1 */
    uint64_t successes;       /* good probes that close it, default 1 */
    struct vv_conf_list *on;  /* what counts as failure: connect, timeout, broken, "503", "5xx";
                                 * default connect, timeout, broken, 5xx */
    const char *share;        /* a name in stores: gateways warn each other; NULL: not */
};

struct
    vv_retry_settings { /* retries: 2, retries: {max: 2, on: [...], backoff: 25ms, budget: 20%} */
    uint64_t max;       /* further attempts, default 1 */
    struct vv_conf_list
        *on; /* connect, timeout, broken, statuses; default connect, broken, 502, 503, 504.
                                 * `timeout` means first byte; a time-out of connecting is `connect` */
    uint64_t backoff_ns, backoff_max_ns; /* full jitter; default 25 ms, 250 ms */
    uint64_t budget_ppm;                 /* of the service's requests, default 20 % */
    uint64_t floor;                      /* per second beside the budget, default 3 */
};

struct vv_hedge_settings { /* hedge: true, hedge: {after: 95%, min: 5ms, max: 1s} */
    uint64_t enabled;
    uint64_t after_ppm;      /* quantile, default 95 % */
    uint64_t min_ns, max_ns; /* default 1 ms, 1 s */
};

struct
    vv_concurrency_settings { /* concurrency: auto, concurrency: 100, {limit, min, max, queue, ...} */
    uint64_t enabled;         /* PRESENT */
    uint64_t limit;           /* fixed; word "auto" (absent): adaptive */
    uint64_t initial, min, max; /* adaptive: default 20, 4, 1000 */
    uint64_t queue;             /* waiting per worker, default 1000; 0: nobody waits */
    uint64_t target_ns, interval_ns, wait_ns; /* 5 ms, 100 ms; longest wait 1 s */
};

/* A fallback: what is sent where the real thing cannot be had. Written as: {json: ...}, {stale: true},
 * {to: service}, {file: path}, {status: 200, body: text}; any other mapping, list or scalar is the JSON
 * itself (files routes: a name of a file). */
enum vv_fallback_kind { VV_FALLBACK_NONE, VV_FALLBACK_LITERAL, VV_FALLBACK_STALE, VV_FALLBACK_TO };
struct vv_fallback_settings {
    const char *given;       /* JSON text of what stands in the file; NULL: none */
    uint64_t kind;           /* derived: enum vv_fallback_kind; a file is a literal */
    uint64_t status;         /* derived: of a literal, default 200 */
    const char *body, *type; /* derived: of a literal; type e.g. application/json */
    uint64_t body_bytes;     /* derived */
    const char *to;          /* derived: service */
};

struct vv_part_settings { /* compose: parts: {profile: {to: users, path: "/users/{id}"}} */
    const char *name;     /* member of the answer */
    const char *to;       /* service */
    const char *path;     /* template; default the request's path */
    const char *method;   /* default GET */
    uint64_t priority;    /* 0 optional (default), 1 critical */
    uint64_t timeout_ns;  /* default: compose.timeout */
    struct vv_fallback_settings fallback;
    struct vv_conf_pos at;
};
struct vv_compose_settings {
    uint64_t strategy;          /* 0 best_effort (default), 1 fail_fast */
    uint64_t timeout_ns;        /* default 10 s */
    struct vv_conf_list *parts; /* struct vv_part_settings, at most 32 */
    const char *body; /* template of the JSON, "{{name}}" stands for a part; NULL: an object of
                                 * all parts and "degraded" */
};

struct
    vv_canary_settings { /* canary: {to: shop_v2, share: 5%, steps: [5%, 25%, 50%, 100%], every: 5m} */
    uint64_t enabled;    /* PRESENT */
    const char *to;      /* service */
    uint64_t share_ppm;         /* at the start, default 0 */
    const char *sticky;         /* template of who stays together, default "$client_ip"; "none" */
    const char *header;         /* its value "always" or "never" decides; NULL: none */
    struct vv_conf_list *steps; /* texts "5%"; NULL: no promotion by itself */
    uint64_t every_ns;          /* least time of a step, default 5 min */
    uint64_t alpha_ppm;         /* default 1 % */
    uint64_t volume;            /* requests of a side before it is judged, default 100 */
    uint64_t errors_worse_ppm;  /* bearable difference of error shares, default 0 */
    uint64_t times_worse_ppm;   /* bearable shift (compare.h), default 0 */
    uint64_t automatic;         /* bool, default true: aborts by itself when worse */
};
struct vv_mirror_settings { /* mirror: {to: shop_v2, share: 10%} */
    uint64_t enabled;       /* PRESENT */
    const char *to;
    uint64_t share_ppm;  /* default 100 % */
    uint64_t in_flight;  /* per worker, more are left out; default 100 */
    uint64_t body_bytes; /* larger bodies are not mirrored, default 64 KiB */
};

struct vv_chaos_settings {   /* chaos: {enabled: true, ...} at the root */
    uint64_t enabled;        /* bool, default false: API and CLI refuse */
    uint64_t share_max_ppm;  /* of requests, default 50 % */
    uint64_t time_max_ns;    /* default 10 min */
    uint64_t stop_ppm;       /* share of bad answers that stops all faults, default 50 % */
    uint64_t stop_window_ns; /* default 10 s */
    uint64_t stop_volume;    /* default 20 */
};

struct vv_overload_settings { /* overload: {memory: 90%, delay: 50ms} at the root */
    uint64_t memory_bytes;    /* resident; 0: from memory_ppm */
    uint64_t memory_ppm;      /* of the cgroup's or machine's memory, default 90 % */
    uint64_t delay_ns;        /* how late the loops may run (CPU), default 100 ms; 0: off */
    uint64_t keys;            /* limits kept at once, default 1,000,000 */
};
#endif
