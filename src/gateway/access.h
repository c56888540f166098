/* src/gateway/access.h - who asks: keys, Bearer tokens, Basic, JWT; and whether they may ask this.
 *
 * Model:     a route that says `access:` wants one of its ways (credentials in fields go before a certificate); without or with a wrong one 401 with
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
    VV_BY_OPTIONAL = 16,
    VV_BY_CERTIFICATE = 32 /* of the client's TLS connection, which was verified */
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
/* The exchange ends: usage of the key and of the plan. `refused` by a limit; what access itself refused is
 * known here. Harmless without a caller. */
void vv_access_end(struct vv_exchange *x, bool refused);

/* ---- what the service hears: X-Authenticated-User, X-Authenticated-Plan ---- */
struct vv_writer;
size_t vv_access_fields_bytes(const struct vv_exchange *x);
void vv_access_put_fields(struct vv_writer *o, const struct vv_exchange *x);
/* The same name to a program that gets fields as variables, too (CGI): it does not tell - from _. */
bool vv_access_same_field(struct vv_str name, struct vv_str ours);
/* A client's own word about who it is: never passed on, however it is spelled. */
bool vv_access_drops_field(const struct vv_h1_field *f);
/* For caches: is this a field with which the caller said who it is? Authorization, and on routes that take
 * keys in a header of their own that one. */
bool vv_access_is_credential(const struct vv_exchange *x, const struct vv_h1_field *f);
bool vv_access_has_credential(const struct vv_exchange *x);

/* ---- keys at run time: each writes the file whole and is in force when it returns ---- */
struct vv_access_key {
    struct vv_str name, plan; /* plan n 0: none */
    struct vv_str key;        /* n 0: one is made */
    int64_t expires_s;        /* seconds since 1970; 0: never */
};
/* ret_key: room for VV_KEY_TEXT (keys.h); the key that was made, "" when one was given. VV_EUNSUPPORTED:
 * the configuration names no file of keys; VV_EEXIST, VV_EINVAL, VV_ESYNTAX (the file), and what writing
 * a file says. reterr_text: 256 bytes. */
VV_MUST_CHECK enum vv_err vv_access_key_add(struct vv_access *a, const struct vv_access_key *k,
                                            char *ret_key, char *reterr_text);
VV_MUST_CHECK enum vv_err vv_access_key_revoke(struct vv_access *a, struct vv_str name,
                                               char *reterr_text);
/* Members of an open object: "keys", with their usage, and "jwks". */
void vv_access_json(struct vv_access *a, struct vv_json *j);
#endif
