/* src/gateway/jwt.c - the header is believed for one thing only: which of our keys to try. A signature is
 * checked before the claims are read, so that nobody learns from the answers of unsigned tokens. */
#include "gateway/jwt.h"
#include "base/base64.h"

#include <jansson.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>

#define ERROR_BYTES 256
#define NUMBER_BYTES 1024          /* of an RSA modulus: 8192 bits */
#define RSA_BITS_MIN 2048          /* RFC 7518 section 3.3 */
#define COORDINATE 32              /* of P-256 and Ed25519 */
#define TRIES_MAX 8                /* keys for a token that names none */
#define DER_MAX 80                 /* two integers of 33 bytes, and what frames them */
#define SECONDS_MAX 253402300799.0 /* the end of 9999 */

struct jwk {
    EVP_PKEY *key;
    char *kid; /* NULL: none */
    unsigned alg;
};
struct vv_jwks {
    size_t count;
    struct jwk key[];
};

const char *vv_jwt_verdict_text(enum vv_jwt_verdict v)
{
    static const char *const text[] = {
#define VV_X(id, words) words,
        VV_JWT_VERDICTS(VV_X)
#undef VV_X
    };
    return text[v];
}

unsigned vv_jwt_alg_of(struct vv_str name)
{
    return vv_str_eq(name, VV_STR("RS256"))   ? VV_JWT_RS256
           : vv_str_eq(name, VV_STR("ES256")) ? VV_JWT_ES256
           : vv_str_eq(name, VV_STR("EdDSA")) ? VV_JWT_EDDSA
                                              : 0;
}

static struct vv_str text_of(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    return json_is_string(v) ? (struct vv_str){json_string_value(v), json_string_length(v)}
                             : (struct vv_str){NULL, 0};
}

/* ---- keys ---------------------------------------------------------------------------------- */

static bool bytes_of(const json_t *o, const char *key, uint8_t *out, size_t cap, size_t *ret_n)
{
    const struct vv_str text = text_of(o, key);
    return text.n > 0 && vv_base64_decode(VV_BASE64_URL, text, out, cap, ret_n) == VV_OK &&
           *ret_n > 0;
}

static EVP_PKEY *from_params(const char *kind, OSSL_PARAM_BLD *bld)
{
    EVP_PKEY *key = NULL;
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(bld);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, kind, NULL);
    if (params == NULL || ctx == NULL || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) != 1) {
        key = NULL;
    }
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    return key;
}

static EVP_PKEY *rsa_key(const json_t *o)
{
    uint8_t n[NUMBER_BYTES], e[NUMBER_BYTES];
    size_t n_bytes = 0, e_bytes = 0;
    if (!bytes_of(o, "n", n, sizeof n, &n_bytes) || !bytes_of(o, "e", e, 8, &e_bytes)) {
        return NULL;
    }
    BIGNUM *modulus = BN_bin2bn(n, (int)n_bytes, NULL);
    BIGNUM *exponent = BN_bin2bn(e, (int)e_bytes, NULL);
    OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
    EVP_PKEY *key = NULL;
    if (modulus != NULL && exponent != NULL && bld != NULL &&
        BN_num_bits(modulus) >= RSA_BITS_MIN && BN_is_odd(modulus) && BN_is_odd(exponent) &&
        !BN_is_one(exponent) && OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, modulus) == 1 &&
        OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_E, exponent) == 1) {
        key = from_params("RSA", bld);
    }
    OSSL_PARAM_BLD_free(bld);
    BN_free(modulus);
    BN_free(exponent);
    return key;
}

static EVP_PKEY *ec_key(const json_t *o)
{
    uint8_t point[1 + 2 * COORDINATE] = {POINT_CONVERSION_UNCOMPRESSED};
    size_t x = 0, y = 0;
    if (!bytes_of(o, "x", point + 1, COORDINATE, &x) || x != COORDINATE ||
        !bytes_of(o, "y", point + 1 + COORDINATE, COORDINATE, &y) || y != COORDINATE) {
        return NULL;
    }
    OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
    EVP_PKEY *key = NULL;
    if (bld != NULL &&
        OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0) == 1 &&
        OSSL_PARAM_BLD_push_octet_string(bld, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point) == 1) {
        key = from_params("EC", bld); /* refuses a point that is not on the curve */
    }
    OSSL_PARAM_BLD_free(bld);
    return key;
}

static EVP_PKEY *ed_key(const json_t *o)
{
    uint8_t x[COORDINATE];
    size_t n = 0;
    return bytes_of(o, "x", x, sizeof x, &n) && n == COORDINATE
               ? EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, x, n)
               : NULL;
}

static unsigned kind_of(const json_t *o)
{
    const struct vv_str kty = text_of(o, "kty"), crv = text_of(o, "crv");
    return vv_str_eq(kty, VV_STR("RSA"))                                        ? VV_JWT_RS256
           : vv_str_eq(kty, VV_STR("EC")) && vv_str_eq(crv, VV_STR("P-256"))    ? VV_JWT_ES256
           : vv_str_eq(kty, VV_STR("OKP")) && vv_str_eq(crv, VV_STR("Ed25519")) ? VV_JWT_EDDSA
                                                                                : 0;
}

/* May this key check signatures of our kinds? (RFC 7517 sections 4.2 to 4.4) */
static bool is_for_us(const json_t *o)
{
    const unsigned kind = kind_of(o);
    const struct vv_str use = text_of(o, "use"), alg = text_of(o, "alg");
    const json_t *ops = json_object_get(o, "key_ops");
    bool verifies = !json_is_array(ops);
    for (size_t i = 0; i < json_array_size(ops); i++) {
        const char *op = json_string_value(json_array_get(ops, i));
        verifies |= op != NULL && strcmp(op, "verify") == 0;
    }
    return kind != 0 && verifies && (use.p == NULL || vv_str_eq(use, VV_STR("sig"))) &&
           (alg.p == NULL || vv_jwt_alg_of(alg) == kind);
}

static enum vv_err read_jwk(const json_t *o, struct jwk *k)
{
    const struct vv_str kid = text_of(o, "kid");
    k->alg = kind_of(o);
    k->key = k->alg == VV_JWT_RS256 ? rsa_key(o) : k->alg == VV_JWT_ES256 ? ec_key(o) : ed_key(o);
    if (k->key == NULL) {
        return VV_ESYNTAX;
    }
    if (kid.p != NULL) {
        k->kid = strndup(kid.p, kid.n);
        return k->kid != NULL ? VV_OK : VV_ENOMEM;
    }
    return VV_OK;
}

static enum vv_err read_keys(const json_t *list, struct vv_jwks **ret, char *reterr_text)
{
    const size_t count = json_array_size(list);
    struct vv_jwks *s = calloc(1, sizeof *s + count * sizeof s->key[0]);
    enum vv_err err = s != NULL ? VV_OK : VV_ENOMEM;
    for (size_t i = 0; err == VV_OK && i < count; i++) {
        const json_t *o = json_array_get(list, i);
        if (is_for_us(o)) {
            err = read_jwk(o, &s->key[s->count++]);
            if (err != VV_OK) {
                snprintf(reterr_text, ERROR_BYTES, "key %zu of the set is broken or too weak",
                         i + 1);
            }
        }
    }
    if (err == VV_OK && s->count == 0) {
        snprintf(reterr_text, ERROR_BYTES, "no key for RS256, ES256 or EdDSA is in the set");
        err = VV_ENOENT;
    }
    if (err != VV_OK) {
        vv_jwks_free(s);
        return err;
    }
    *ret = s;
    return VV_OK;
}

enum vv_err vv_jwks_parse(struct vv_str json, struct vv_jwks **ret, char *reterr_text)
{
    json_error_t where = {.line = 0};
    json_t *doc = json.n <= VV_JWKS_BYTES_MAX
                      ? json_loadb(json.p, json.n, JSON_REJECT_DUPLICATES, &where)
                      : NULL;
    const json_t *list = json_object_get(doc, "keys");
    enum vv_err err = VV_ESYNTAX;
    snprintf(reterr_text, ERROR_BYTES, "out of memory");
    if (doc == NULL) {
        snprintf(reterr_text, ERROR_BYTES, "no JSON: %d:%d: %.160s", where.line, where.column,
                 json.n <= VV_JWKS_BYTES_MAX ? where.text : "larger than 256 KiB");
    } else if (!json_is_array(list) || json_array_size(list) > VV_JWKS_KEYS_MAX) {
        snprintf(reterr_text, ERROR_BYTES, "a set of keys is {\"keys\": [...]}, of at most 64");
    } else {
        err = read_keys(list, ret, reterr_text);
    }
    json_decref(doc);
    return err;
}

void vv_jwks_free(struct vv_jwks *k)
{
    for (size_t i = 0; k != NULL && i < k->count; i++) {
        EVP_PKEY_free(k->key[i].key);
        free(k->key[i].kid);
    }
    free(k);
}

size_t vv_jwks_count(const struct vv_jwks *k)
{
    return k->count;
}

/* ---- signatures ---------------------------------------------------------------------------- */

struct token {
    struct vv_str header, claims, signed_part;
    uint8_t signature[NUMBER_BYTES];
    size_t signature_n;
};

static bool split(struct vv_str s, struct token *t)
{
    struct vv_str rest = s;
    t->header = vv_str_cut(&rest, '.');
    t->claims = vv_str_cut(&rest, '.');
    t->signed_part = (struct vv_str){s.p, t->header.n + 1 + t->claims.n};
    return s.n <= VV_JWT_BYTES_MAX && t->header.n > 0 && t->claims.n > 0 && rest.n > 0 &&
           vv_str_find_char(rest, '.') < 0 &&
           vv_base64_decode(VV_BASE64_URL, rest, t->signature, sizeof t->signature,
                            &t->signature_n) == VV_OK;
}

bool vv_jwt_is_token(struct vv_str s)
{
    const struct vv_str first = vv_str_cut(&s, '.');
    const struct vv_str second = vv_str_cut(&s, '.');
    return first.n > 0 && second.n > 0 && s.n > 0 && vv_str_find_char(s, '.') < 0;
}

/* One integer of DER: no needless zeroes, one where the number would read as negative. */
static size_t put_integer(uint8_t *to, const uint8_t *number)
{
    size_t skip = 0;
    while (skip < COORDINATE - 1 && number[skip] == 0) {
        skip++;
    }
    const size_t pad = (number[skip] & 0x80) != 0;
    const size_t n = COORDINATE - skip;
    to[0] = 2;
    to[1] = (uint8_t)(n + pad);
    to[2] = 0;
    memcpy(to + 2 + pad, number + skip, n);
    return 2 + pad + n;
}

/* JWS has r and s side by side (RFC 7518 section 3.4), OpenSSL wants a sequence of two integers. */
static size_t der_of(const uint8_t *raw, uint8_t out[DER_MAX])
{
    size_t n = put_integer(out + 2, raw);
    n += put_integer(out + 2 + n, raw + COORDINATE);
    out[0] = 0x30;
    out[1] = (uint8_t)n;
    return n + 2;
}

static bool signed_by(const struct jwk *k, const struct token *t)
{
    uint8_t der[DER_MAX];
    const uint8_t *signature = t->signature;
    size_t n = t->signature_n;
    if (k->alg == VV_JWT_ES256) {
        if (n != 2 * COORDINATE) {
            return false;
        }
        n = der_of(t->signature, der);
        signature = der;
    }
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    const EVP_MD *md = k->alg == VV_JWT_EDDSA ? NULL : EVP_sha256();
    const bool fine = ctx != NULL && EVP_DigestVerifyInit(ctx, NULL, md, NULL, k->key) == 1 &&
                      EVP_DigestVerify(ctx, signature, n, (const unsigned char *)t->signed_part.p,
                                       t->signed_part.n) == 1;
    EVP_MD_CTX_free(ctx);
    return fine;
}

/* Tries the keys that the header leaves. */
static enum vv_jwt_verdict check_signature(const struct token *t, const json_t *header,
                                           const struct vv_jwks *keys, unsigned algorithms)
{
    const unsigned alg = vv_jwt_alg_of(text_of(header, "alg"));
    const struct vv_str kid = text_of(header, "kid");
    enum vv_jwt_verdict verdict = VV_JWT_KEY;
    size_t tries = 0;
    if (alg == 0 || (alg & algorithms) == 0) {
        return VV_JWT_ALGORITHM;
    }
    if (json_object_get(header, "crit") != NULL || json_object_get(header, "b64") != NULL) {
        return VV_JWT_CRITICAL; /* RFC 7515 section 4.1.11: none is understood here */
    }
    for (size_t i = 0; i < keys->count && tries < TRIES_MAX; i++) {
        const struct jwk *k = &keys->key[i];
        if (k->alg != alg ||
            (kid.p != NULL && (k->kid == NULL || !vv_str_eq(vv_str_from(k->kid), kid)))) {
            continue;
        }
        tries++;
        if (signed_by(k, t)) {
            return VV_JWT_FINE;
        }
        verdict = VV_JWT_SIGNATURE;
    }
    return verdict;
}

/* ---- claims -------------------------------------------------------------------------------- */

/* A NumericDate (RFC 7519 section 2); false: it is there and none. */
static bool date_of(const json_t *claims, const char *key, bool *ret_there, int64_t *ret_s)
{
    const json_t *v = json_object_get(claims, key);
    *ret_there = v != NULL;
    if (v == NULL) {
        return true;
    }
    const double s = json_is_number(v) ? json_number_value(v) : -1.0;
    if (!(s >= 0.0 && s <= SECONDS_MAX)) {
        return false;
    }
    *ret_s = (int64_t)s;
    return true;
}

static enum vv_jwt_verdict check_times(const json_t *claims, int64_t skew_s, int64_t now_s,
                                       int64_t *ret_expires_s)
{
    bool has_exp = false, has_nbf = false, has_iat = false;
    int64_t exp = 0, nbf = 0, iat = 0;
    if (!date_of(claims, "exp", &has_exp, &exp) || !date_of(claims, "nbf", &has_nbf, &nbf) ||
        !date_of(claims, "iat", &has_iat, &iat)) {
        return VV_JWT_MALFORMED;
    }
    if (!has_exp) {
        return VV_JWT_NO_END;
    }
    *ret_expires_s = exp + skew_s;
    if (now_s >= exp + skew_s) { /* "on or after which" it must not be accepted */
        return VV_JWT_EXPIRED;
    }
    return (has_nbf && now_s < nbf - skew_s) || (has_iat && now_s < iat - skew_s) ? VV_JWT_EARLY
                                                                                  : VV_JWT_FINE;
}

static bool is_audience(const json_t *v, const struct vv_jwt_rules *rules)
{
    for (size_t i = 0; json_is_string(v) && i < rules->audience_count; i++) {
        if (vv_str_eq((struct vv_str){json_string_value(v), json_string_length(v)},
                      rules->audience[i])) {
            return true;
        }
    }
    return false;
}

static bool audience_fits(const json_t *claims, const struct vv_jwt_rules *rules)
{
    const json_t *aud = json_object_get(claims, "aud"); /* one text or a list of them */
    bool fits = rules->audience_count == 0 || is_audience(aud, rules);
    for (size_t i = 0; !fits && i < json_array_size(aud); i++) {
        fits = is_audience(json_array_get(aud, i), rules);
    }
    return fits;
}

/* A text that may stand in a field of a request and in a log; false: it may not, or is not there. */
static bool copy_claim(const json_t *claims, struct vv_str name, char out[VV_JWT_CLAIM_MAX + 1])
{
    char key[VV_JWT_CLAIM_MAX + 1];
    if (name.n == 0 || name.n >= sizeof key) {
        return false;
    }
    memcpy(key, name.p, name.n);
    key[name.n] = '\0';
    const struct vv_str text = text_of(claims, key);
    if (text.n == 0 || text.n > VV_JWT_CLAIM_MAX) {
        return false;
    }
    for (size_t i = 0; i < text.n; i++) {
        if ((unsigned char)text.p[i] < ' ' || text.p[i] == 0x7f) {
            return false;
        }
    }
    if (text.p[0] == ' ' || text.p[text.n - 1] == ' ') {
        return false; /* the reader of a field takes that away, and hears another name */
    }
    memcpy(out, text.p, text.n);
    out[text.n] = '\0';
    return true;
}

static enum vv_jwt_verdict check_claims(const json_t *claims, const struct vv_jwt_rules *rules,
                                        int64_t now_s, struct vv_jwt_claims *ret)
{
    const enum vv_jwt_verdict times = check_times(claims, rules->skew_s, now_s, &ret->expires_s);
    if (times != VV_JWT_FINE) {
        return times;
    }
    if (rules->issuer.n > 0 && !vv_str_eq(text_of(claims, "iss"), rules->issuer)) {
        return VV_JWT_ISSUER;
    }
    if (!audience_fits(claims, rules)) {
        return VV_JWT_AUDIENCE;
    }
    ret->plan[0] = '\0';
    if (!copy_claim(claims, rules->subject, ret->subject)) {
        return VV_JWT_SUBJECT;
    }
    (void)copy_claim(claims, rules->plan, ret->plan);
    return VV_JWT_FINE;
}

/* A part of a token as JSON object; NULL: it is none. */
static json_t *part(struct vv_str text)
{
    char json[VV_JWT_BYTES_MAX];
    size_t n = 0;
    if (vv_base64_decode(VV_BASE64_URL, text, json, sizeof json, &n) != VV_OK) {
        return NULL;
    }
    json_t *o = json_loadb(json, n, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(o)) {
        json_decref(o);
        return NULL;
    }
    return o;
}

enum vv_err vv_jwt_verify(struct vv_str token, const struct vv_jwks *keys,
                          const struct vv_jwt_rules *rules, int64_t now_s,
                          struct vv_jwt_claims *ret, enum vv_jwt_verdict *reterr_why)
{
    struct token t;
    struct vv_jwt_claims claims = {.expires_s = 0};
    *reterr_why = VV_JWT_MALFORMED;
    if (!split(token, &t)) {
        return VV_EACCES;
    }
    json_t *header = part(t.header);
    if (header != NULL) {
        *reterr_why = check_signature(&t, header, keys, rules->algorithms);
        json_decref(header);
    }
    if (header == NULL || *reterr_why != VV_JWT_FINE) {
        return VV_EACCES;
    }
    json_t *body = part(t.claims);
    *reterr_why = body != NULL ? check_claims(body, rules, now_s, &claims) : VV_JWT_MALFORMED;
    json_decref(body);
    if (*reterr_why != VV_JWT_FINE) {
        return VV_EACCES;
    }
    *ret = claims;
    return VV_OK;
}
