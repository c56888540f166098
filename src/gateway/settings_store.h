/* src/gateway/settings_store.h - what the configuration says about stores: `stores`, and how caches share them.
 *
 * Model:     plain values, one row per field (settings_store_rows.c), every field 8 bytes. Units, ownership,
 *            threads: see settings.h.
 */
#ifndef VV_GATEWAY_SETTINGS_STORE_H
#define VV_GATEWAY_SETTINGS_STORE_H
#include "conf/conf.h"

struct vv_redis_url;

struct vv_store_sentinel_settings { /* who we are to the sentinels; NULL: nobody is asked */
    const char *user, *password;
};
struct vv_store_tls_settings { /* tls: {ca, cert, key, name, verify}; only with rediss:// */
    const char *ca;            /* NULL: the system's */
    const char *cert, *key;    /* NULL: none is shown; key NULL: in cert */
    const char *name;          /* whom certificates must name; NULL: the host asked */
    uint64_t verify;           /* bool, default true */
};
struct vv_store_breaker_settings { /* of each server */
    uint64_t failures;             /* in a row, default 5 */
    uint64_t recover_ns;           /* until the first probe, default 1 s */
};
struct vv_store_fallback_settings { /* what holds objects in memory while the servers are away */
    uint64_t entries;               /* default 1000 */
    uint64_t trim_ppm;              /* the oldest share that goes when it is full, default 20 % */
    uint64_t memory_bytes;          /* default 16 MiB */
    uint64_t object_bytes;          /* largest object, default 1 MiB */
};
struct vv_expect_settings { /* expect: {maxmemory: 4gb, save: "900 1"} */
    const char *name;       /* of CONFIG GET */
    const char *value;      /* as written */
    struct vv_conf_pos at;
};
struct vv_store_settings {
    const char *name;
    const char *url;     /* redis_url.h; NULL or "": none, only the fallback */
    const char *prefix;  /* of every key, default "vz" */
    uint64_t timeout_ns; /* of an operation, default 50 ms */
    uint64_t connect_ns; /* default 500 ms */
    uint64_t replicas;   /* bool: reads may be answered by replicas */
    struct vv_store_sentinel_settings sentinel;
    struct vv_store_tls_settings tls;
    struct vv_store_breaker_settings breaker;
    struct vv_conf_list *expect; /* struct vv_expect_settings */
    struct vv_store_fallback_settings fallback;
    const char *listen;                /* "127.0.0.1:6380": where it is served as RESP; NULL: not */
    uint64_t clients;                  /* of listen, at once; default 1000 */
    const char *listen_password;       /* that clients of listen must say; NULL: none */
    uint64_t flushdb;                  /* bool: clients of listen may empty the database */
    const struct vv_redis_url *parsed; /* derived; NULL: it has no server */
    struct vv_conf_pos at;
};

struct vv_share_settings { /* share: {bound: 1s, alone: 30s, lease: 5s}, of a cache with a store */
    uint64_t bound_ns;     /* a purge is carried out everywhere within this, default 1 s */
    uint64_t alone_ns;     /* longest life of answers stored while the others cannot be heard */
    uint64_t lease_ns;     /* how long one gateway fetches for all; 0: each for itself */
};
#endif
