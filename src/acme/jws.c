/* src/acme/jws.c - OpenSSL makes signatures in DER; web signatures want the two numbers bare. */
#include "acme/jws.h"
#include "base/base64.h"
#include "base/json.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>

#define COORDINATE 32 /* bytes of a number of P-256 */
#define SIGNATURE_DER_MAX 80
#define MAC_BYTES_MAX 256

/* ---- keys ---------------------------------------------------------------------------------- */

enum vv_err vv_acme_key_new(EVP_PKEY **ret)
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    if (key == NULL) {
        ERR_clear_error();
        return VV_ENOMEM;
    }
    *ret = key;
    return VV_OK;
}

static bool is_p256(const EVP_PKEY *key)
{
    char group[32];
    size_t n;
    return EVP_PKEY_get_group_name(key, group, sizeof group, &n) == 1 &&
           strcmp(group, "prime256v1") == 0;
}

enum vv_err vv_acme_key_read(struct vv_str pem, EVP_PKEY **ret)
{
    if (pem.n > INT32_MAX) {
        return VV_ESYNTAX;
    }
    BIO *b = BIO_new_mem_buf(pem.p, (int)pem.n);
    EVP_PKEY *key = b != NULL ? PEM_read_bio_PrivateKey(b, NULL, NULL, (void *)(uintptr_t) "")
                              : NULL; /* "": an encrypted key is refused, nobody is asked */
    BIO_free(b);
    ERR_clear_error();
    if (key == NULL || !is_p256(key)) {
        EVP_PKEY_free(key);
        return VV_ESYNTAX;
    }
    *ret = key;
    return VV_OK;
}

enum vv_err vv_acme_key_write(EVP_PKEY *key, struct vv_sb *pem)
{
    char *p = NULL;
    BIO *b = BIO_new(BIO_s_secmem());
    bool ok = b != NULL && PEM_write_bio_PrivateKey(b, key, NULL, NULL, 0, NULL, NULL) == 1;
    if (ok) {
        const long n = BIO_get_mem_data(b, &p);
        vv_sb_add(pem, (struct vv_str){p, (size_t)n});
        ok = !pem->failed;
    }
    BIO_free(b);
    ERR_clear_error();
    return ok ? VV_OK : VV_ENOMEM;
}

/* ---- base64url ----------------------------------------------------------------------------- */

void vv_acme_b64(struct vv_sb *out, const void *bytes, size_t n)
{
    enum { GROUP = 48 };
    const uint8_t *p = bytes;
    char text[VV_BASE64_TEXT(GROUP)];
    for (size_t i = 0; i < n; i += GROUP) {
        const size_t some = n - i < GROUP ? n - i : GROUP;
        vv_sb_add(out, (struct vv_str){text, vv_base64_encode(VV_BASE64_URL, p + i, some, text)});
    }
}

enum vv_err vv_acme_b64_decode(struct vv_str text, uint8_t *out, size_t out_bytes, size_t *ret_n)
{
    while (text.n > 0 && text.p[text.n - 1] == '=') {
        text.n--; /* people copy it with its padding */
    }
    return vv_base64_decode(VV_BASE64_URL, text, out, out_bytes, ret_n);
}

/* ---- public keys --------------------------------------------------------------------------- */

static bool coordinate(EVP_PKEY *key, const char *which, uint8_t out[COORDINATE])
{
    BIGNUM *n = NULL;
    const bool ok = EVP_PKEY_get_bn_param(key, which, &n) == 1 &&
                    BN_bn2binpad(n, out, COORDINATE) == COORDINATE;
    BN_free(n);
    return ok;
}

/* Members in the order of their names, nothing between them: what RFC 7638 section 3 hashes. */
enum vv_err vv_acme_jwk(EVP_PKEY *key, struct vv_sb *out)
{
    uint8_t x[COORDINATE], y[COORDINATE];
    if (!coordinate(key, OSSL_PKEY_PARAM_EC_PUB_X, x) ||
        !coordinate(key, OSSL_PKEY_PARAM_EC_PUB_Y, y)) {
        ERR_clear_error();
        return VV_ENOMEM;
    }
    vv_sb_adds(out, "{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"");
    vv_acme_b64(out, x, sizeof x);
    vv_sb_adds(out, "\",\"y\":\"");
    vv_acme_b64(out, y, sizeof y);
    vv_sb_adds(out, "\"}");
    return out->failed ? VV_ENOMEM : VV_OK;
}

enum vv_err vv_acme_thumbprint(EVP_PKEY *key, char out[VV_ACME_THUMBPRINT])
{
    struct vv_sb jwk = VV_SB_INIT, text = VV_SB_INIT;
    uint8_t hash[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    enum vv_err err = vv_acme_jwk(key, &jwk);
    if (err == VV_OK && EVP_Digest(jwk.p, jwk.n, hash, &n, EVP_sha256(), NULL) != 1) {
        err = VV_ENOMEM;
    }
    if (err == VV_OK) {
        vv_acme_b64(&text, hash, n);
        err = text.failed || text.n + 1 != VV_ACME_THUMBPRINT ? VV_ENOMEM : VV_OK;
    }
    if (err == VV_OK) {
        memcpy(out, text.p, VV_ACME_THUMBPRINT);
    }
    vv_sb_fini(&jwk);
    vv_sb_fini(&text);
    return err;
}

/* ---- signatures ---------------------------------------------------------------------------- */

static bool sign(EVP_PKEY *key, struct vv_str text, uint8_t out[2 * COORDINATE])
{
    uint8_t der[SIGNATURE_DER_MAX];
    const uint8_t *at = der;
    size_t n = sizeof der;
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    bool ok = md != NULL && EVP_DigestSignInit(md, NULL, EVP_sha256(), NULL, key) == 1 &&
              EVP_DigestSign(md, der, &n, (const uint8_t *)text.p, text.n) == 1;
    EVP_MD_CTX_free(md);
    ECDSA_SIG *s = ok ? d2i_ECDSA_SIG(NULL, &at, (long)n) : NULL;
    ok = s != NULL && BN_bn2binpad(ECDSA_SIG_get0_r(s), out, COORDINATE) == COORDINATE &&
         BN_bn2binpad(ECDSA_SIG_get0_s(s), out + COORDINATE, COORDINATE) == COORDINATE;
    ECDSA_SIG_free(s);
    ERR_clear_error();
    return ok;
}

/* "protected.payload": what is signed. */
static void signing_input(const struct vv_sb *head, struct vv_str payload, struct vv_sb *out)
{
    vv_acme_b64(out, head->p, head->n);
    vv_sb_addc(out, '.');
    vv_acme_b64(out, payload.p, payload.n);
    out->failed = out->failed || head->failed;
}

static void flattened(const struct vv_sb *input, const uint8_t *signature, size_t n,
                      struct vv_sb *out)
{
    struct vv_str rest = vv_sb_str(input);
    const struct vv_str head = vv_str_cut(&rest, '.');
    vv_sb_adds(out, "{\"protected\":\"");
    vv_sb_add(out, head);
    vv_sb_adds(out, "\",\"payload\":\"");
    vv_sb_add(out, rest);
    vv_sb_adds(out, "\",\"signature\":\"");
    vv_acme_b64(out, signature, n);
    vv_sb_adds(out, "\"}");
}

enum vv_err vv_acme_jws(EVP_PKEY *key, const char *kid, const char *nonce, const char *url,
                        struct vv_str payload, struct vv_sb *out)
{
    struct vv_sb head = VV_SB_INIT, input = VV_SB_INIT;
    uint8_t signature[2 * COORDINATE];
    struct vv_json j;
    enum vv_err err = VV_OK;
    vv_json_init(&j, &head);
    vv_json_obj(&j);
    vv_json_kcstr(&j, "alg", "ES256");
    if (kid != NULL) {
        vv_json_kcstr(&j, "kid", kid);
    } else {
        vv_json_key(&j, "jwk");
        j.after_key = false; /* the value is JSON already */
        err = vv_acme_jwk(key, &head);
    }
    vv_json_kcstr(&j, "nonce", nonce);
    vv_json_kcstr(&j, "url", url);
    vv_json_obj_end(&j);
    if (err == VV_OK) {
        signing_input(&head, payload, &input);
        err = !input.failed && sign(key, vv_sb_str(&input), signature) ? VV_OK : VV_ENOMEM;
    }
    if (err == VV_OK) {
        flattened(&input, signature, sizeof signature, out);
        err = out->failed ? VV_ENOMEM : VV_OK;
    }
    vv_sb_fini(&head);
    vv_sb_fini(&input);
    return err;
}

enum vv_err vv_acme_eab(EVP_PKEY *key, const char *kid, const char *mac_b64, const char *url,
                        struct vv_sb *out)
{
    struct vv_sb jwk = VV_SB_INIT, head = VV_SB_INIT, input = VV_SB_INIT;
    uint8_t mac_key[MAC_BYTES_MAX], mac[EVP_MAX_MD_SIZE];
    size_t key_n = 0;
    unsigned mac_n = 0;
    struct vv_json j;
    enum vv_err err = vv_acme_b64_decode(vv_str_from(mac_b64), mac_key, sizeof mac_key, &key_n);
    if (err == VV_OK) {
        err = vv_acme_jwk(key, &jwk);
    }
    vv_json_init(&j, &head);
    vv_json_obj(&j);
    vv_json_kcstr(&j, "alg", "HS256");
    vv_json_kcstr(&j, "kid", kid);
    vv_json_kcstr(&j, "url", url);
    vv_json_obj_end(&j);
    if (err == VV_OK) {
        signing_input(&head, vv_sb_str(&jwk), &input);
        err = !input.failed && HMAC(EVP_sha256(), mac_key, (int)key_n, (uint8_t *)input.p, input.n,
                                    mac, &mac_n) != NULL
                  ? VV_OK
                  : VV_ENOMEM;
    }
    if (err == VV_OK) {
        flattened(&input, mac, mac_n, out);
        err = out->failed ? VV_ENOMEM : VV_OK;
    }
    OPENSSL_cleanse(mac_key, sizeof mac_key);
    vv_sb_fini(&jwk);
    vv_sb_fini(&head);
    vv_sb_fini(&input);
    return err;
}
