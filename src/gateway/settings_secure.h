/* src/gateway/settings_secure.h - what the configuration says about browsers: `secure` and `cors` of routes.
 *
 * Model:     plain values, one row per field (settings_secure_rows.c), every field 8 bytes. What is in
 *            force on a route, defaults and preset included, is derived (settings_secure.c): the headers of
 *            `secure` as one list, `cors` as one pointer.
 *            Units, ownership, threads: see settings.h.
 */
#ifndef VV_GATEWAY_SETTINGS_SECURE_H
#define VV_GATEWAY_SETTINGS_SECURE_H
#include "conf/conf.h"

enum vv_secure_preset { VV_SECURE_NONE, VV_SECURE_STRICT };

struct vv_hsts_settings { /* hsts: {max_age: 730d, preload: true}, hsts: false */
    uint64_t enabled;     /* bool */
    uint64_t max_age_ns;  /* default 730 days */
    uint64_t subdomains;  /* bool, default true */
    uint64_t preload;     /* bool, default false */
};

struct vv_secure_settings { /* secure: strict, secure: {preset: strict, frame: SAMEORIGIN} */
    uint64_t enabled;       /* bool: secure: false */
    uint64_t preset;        /* enum vv_secure_preset */
    struct vv_hsts_settings hsts;
    const char *csp, *csp_report_only; /* templates */
    const char *csp_reports;           /* path where the gateway takes reports; NULL: nowhere */
    const char *frame;                 /* DENY, SAMEORIGIN */
    uint64_t nosniff;                  /* bool */
    const char *referrer, *permissions, *opener, *embedder, *resource, *cross_domain;
    struct vv_conf_list *hide; /* const char *: fields of servers that are left out */
};

struct vv_cors_settings {         /* cors: "https://app.example.org" */
    uint64_t enabled;             /* bool: cors: false */
    struct vv_conf_list *origins; /* const char *: one, all below a name, or "*" */
    struct vv_conf_list *methods; /* const char *; NULL: the route's, else the usual ones */
    struct vv_conf_list *headers; /* const char *, of requests; "*": those that are asked for */
    struct vv_conf_list *expose;  /* const char *, of answers */
    uint64_t credentials;         /* bool: with cookies */
    uint64_t max_age_ns;          /* how long browsers keep what a preflight said */
};
#endif
