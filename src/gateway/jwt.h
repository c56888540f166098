/* src/gateway/jwt.h - signed tokens (JWT): sets of public keys, and whether a token holds.
 *
 * Model:     a token in compact form is three parts of base64url: header, claims, signature. It holds
 *            when its algorithm is allowed, a key of the set made the signature, and the claims say that
 *            it is for us and for now. Only RS256, ES256 and EdDSA (Ed25519) exist here; "none" and the
 *            HS family, where a public key could pass for a secret, are refused before anything else, and
 *            a key verifies only with the algorithm of its own kind. A token must have an end (exp).
 * Source:    RFC 7515 (JWS), RFC 7517 (JWK), RFC 7518 sections 3.3, 3.4 and 6, RFC 7519 (JWT), RFC 8037
 *            (Ed25519), RFC 8725 (best current practice).
 * Units:     *_s are seconds since 1970.
 * Threads:   a set is read by any; verifying is pure.
 * Ownership: the caller frees sets. Claims are copied.
 * Errors:    VV_EACCES: the token does not hold, the verdict says why; VV_ENOMEM.
 */
#ifndef VV_GATEWAY_JWT_H
#define VV_GATEWAY_JWT_H
#include "base/err.h"
#include "base/str.h"

#define VV_JWT_BYTES_MAX 8192
#define VV_JWT_CLAIM_MAX 255           /* of subject and plan */
#define VV_JWKS_BYTES_MAX (256u << 10) /* of a document */
#define VV_JWKS_KEYS_MAX 64

enum vv_jwt_alg { VV_JWT_RS256 = 1, VV_JWT_ES256 = 2, VV_JWT_EDDSA = 4 };
/* 0: not one of ours. */
unsigned vv_jwt_alg_of(struct vv_str name);

struct vv_jwks;
/* Reads {"keys": [...]}. Keys of other kinds or for other uses are left out (RFC 7517 section 5); a broken
 * key of ours is an error, and so is a set without any usable key. reterr_text: 256 bytes. */
VV_MUST_CHECK enum vv_err vv_jwks_parse(struct vv_str json, struct vv_jwks **ret,
                                        char *reterr_text);
void vv_jwks_free(struct vv_jwks *k); /* NULL is fine */
size_t vv_jwks_count(const struct vv_jwks *k);

struct vv_jwt_rules {
    unsigned algorithms;           /* of enum vv_jwt_alg */
    struct vv_str issuer;          /* n 0: any */
    const struct vv_str *audience; /* one of them must be in aud; count 0: any */
    size_t audience_count;
    int64_t skew_s;        /* by how much clocks may differ */
    struct vv_str subject; /* claim that names the caller */
    struct vv_str plan;    /* claim that names the plan; n 0: none */
};

/* id, text for people and for error_description */
#define VV_JWT_VERDICTS(X)                                                                         \
    X(FINE, "the token holds")                                                                     \
    X(MALFORMED, "the token is malformed")                                                         \
    X(ALGORITHM, "the token's algorithm is not accepted")                                          \
    X(CRITICAL, "the token asks for something that is not understood")                             \
    X(KEY, "the token's key is not known")                                                         \
    X(SIGNATURE, "the token's signature does not match")                                           \
    X(NO_END, "the token does not say when it expires")                                            \
    X(EXPIRED, "the token has expired")                                                            \
    X(EARLY, "the token is not valid yet")                                                         \
    X(ISSUER, "the token is from another issuer")                                                  \
    X(AUDIENCE, "the token is for somebody else")                                                  \
    X(SUBJECT, "the token names no caller")
enum vv_jwt_verdict {
#define VV_X(id, text) VV_JWT_##id,
    VV_JWT_VERDICTS(VV_X)
#undef VV_X
        VV_JWT_VERDICT_COUNT
};
const char *vv_jwt_verdict_text(enum vv_jwt_verdict v);

#define VV_JWT_AUDIENCES 16 /* that the settings may name */

struct vv_jwt_claims {
    char subject[VV_JWT_CLAIM_MAX + 1];
    char plan[VV_JWT_CLAIM_MAX + 1]; /* "": none */
    int64_t expires_s;               /* exp and the skew: from then on it does not hold */
};

/* Does it look like one: three parts that are not empty? */
bool vv_jwt_is_token(struct vv_str s);
VV_MUST_CHECK enum vv_err vv_jwt_verify(struct vv_str token, const struct vv_jwks *keys,
                                        const struct vv_jwt_rules *rules, int64_t now_s,
                                        struct vv_jwt_claims *ret, enum vv_jwt_verdict *reterr_why);
#endif
