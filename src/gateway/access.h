/* src/gateway/access.h - who asks: keys, Bearer tokens, Basic, JWT; and whether they may ask this.
 *
 * Model:     a route that says `access:` wants one of its ways; without or with a wrong one 401 with
 *            WWW-Authenticate, with a plan that is not among the route's 403. Whoever is known gets
 *            x->caller, which limits, templates, logs and the service (X-Authenticated-User,
 *            X-Authenticated-Plan; what a client says there is removed) see. Keys are compared as SHA-256 in
 *            constant time; only hashes are on disk. The table of keys is replaced as a whole; the
 *            workers read it without a lock.
 * Source:    RFC 9110 section 11, RFC 6750 (Bearer), RFC 7617 (Basic), RFC 7515/7517/7519 (JWS, JWK, JWT).
 * Threads:   phase: one worker. vv_access_*: control thread, except where said.
 */
#ifndef VV_GATEWAY_ACCESS_H
#define VV_GATEWAY_ACCESS_H
#include "base/json.h"
#include "gateway/exchange.h"

enum vv_access_by {
    VV_BY_NONE = 0,
    VV_BY_BEARER = 1,
    VV_BY_KEY = 2,
    VV_BY_BASIC = 4,
    VV_BY_JWT = 8,
    VV_BY_OPTIONAL = 16
};

struct vv_plan { /* in the runtime */
    struct vv_str name;
    struct vv_limit_plan *limits;
    uint8_t priority;
};

struct vv_caller {              /* in the exchange's arena */
    struct vv_str id;           /* of the key, user or subject: what limits per "key" count by */
    struct vv_str name;         /* for people */
    const struct vv_plan *plan; /* NULL: none */
    enum vv_access_by by;
    struct vv_key_use *use; /* counts of a key; NULL: none */
};

struct vv_access; /* keys, users and JWKS of a gateway */
VV_MUST_CHECK enum vv_err vv_access_new(struct vv_metrics *metrics, struct vv_access **ret);
void vv_access_free(struct vv_access *a); /* NULL is fine */
/* Reads the files of these settings; VV_ECONFIG: reterr_text (256 bytes) says what is wrong. What was read
 * is in force after vv_access_settle(a, true). */
VV_MUST_CHECK enum vv_err
vv_access_prepare(struct vv_access *a, const struct vv_access_settings *conf, char *reterr_text);
void vv_access_settle(struct vv_access *a, bool kept);
/* 10 Hz: reads changed files anew, fetches JWKS in the background, frees what nobody reads any more. */
void vv_access_tick(struct vv_access *a, uint64_t now_ns);

/* The phase: x->caller. True: it was answered (401, 403, 400, 415 for `require`). */
VV_MUST_CHECK bool vv_access_check(struct vv_exchange *x);
/* The exchange ends: usage of the key. */
void vv_access_end(struct vv_exchange *x, bool refused);
#endif
