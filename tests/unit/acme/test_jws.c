/* tests/unit/acme/test_jws.c - keys, thumbprints and signatures, against the RFCs' own examples. */
#include "acme/jws.h"
#include "acme/pkix.h"
#include "vv_test.h"

#include <openssl/ecdsa.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

static EVP_PKEY *new_key(void)
{
    EVP_PKEY *key = NULL;
    VV_CHECK_INT(vv_acme_key_new(&key), VV_OK);
    return key;
}

/* The text between "name":" and the next quote. */
static struct vv_str member(const struct vv_sb *json, const char *name)
{
    char quoted[32];
    snprintf(quoted, sizeof quoted, "\"%s\":\"", name);
    const char *at = strstr(json->p, quoted);
    VV_CHECK(at != NULL);
    at += strlen(quoted);
    return (struct vv_str){at, strcspn(at, "\"")};
}

static char *decoded(struct vv_str text)
{
    static uint8_t out[8192];
    size_t n = 0;
    VV_CHECK_INT(vv_acme_b64_decode(text, out, sizeof out - 1, &n), VV_OK);
    out[n] = '\0';
    return (char *)out;
}

VV_TEST(base64url_is_that_of_rfc_4648_without_padding)
{
    /* RFC 4648 section 10, and two bytes that need both special digits: 0xfb 0xff is -_8 */
    static const char *const rows[][2] = {
        {"", ""},           {"f", "Zg"},          {"fo", "Zm8"},          {"foo", "Zm9v"},
        {"foob", "Zm9vYg"}, {"fooba", "Zm9vYmE"}, {"foobar", "Zm9vYmFy"}, {"\xfb\xff", "-_8"}};
    for (size_t i = 0; i < VV_COUNT(rows); i++) {
        struct vv_sb out = VV_SB_INIT;
        uint8_t back[16];
        size_t n = 99;
        vv_acme_b64(&out, rows[i][0], strlen(rows[i][0]));
        VV_CHECK_SLICE(vv_sb_str(&out), rows[i][1]);
        VV_CHECK_INT(vv_acme_b64_decode(vv_sb_str(&out), back, sizeof back, &n), VV_OK);
        VV_CHECK_INT(n, strlen(rows[i][0]));
        VV_CHECK(memcmp(back, rows[i][0], n) == 0);
        vv_sb_fini(&out);
    }
}

VV_TEST(base64url_refuses_what_it_is_not)
{
    uint8_t out[4];
    size_t n;
    VV_CHECK_INT(vv_acme_b64_decode(VV_STR("Zg=="), out, 4, &n), VV_OK); /* padding is taken */
    VV_CHECK_INT(vv_acme_b64_decode(VV_STR("Z"), out, 4, &n), VV_ESYNTAX);
    VV_CHECK_INT(vv_acme_b64_decode(VV_STR("Zm+v"), out, 4, &n), VV_ESYNTAX);
    VV_CHECK_INT(vv_acme_b64_decode(VV_STR("Zm9vYmFy"), out, 4, &n), VV_ERANGE); /* six bytes */
}

VV_TEST(a_key_that_is_written_reads_back_and_others_are_refused)
{
    EVP_PKEY *key = new_key(), *back = NULL;
    struct vv_sb pem = VV_SB_INIT, rsa_pem = VV_SB_INIT;
    VV_CHECK_INT(vv_acme_key_write(key, &pem), VV_OK);
    VV_CHECK_INT(vv_acme_key_read(vv_sb_str(&pem), &back), VV_OK);
    VV_CHECK_INT(EVP_PKEY_eq(key, back), 1);
    EVP_PKEY *other = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-384"), *none = NULL;
    VV_CHECK_INT(vv_acme_key_write(other, &rsa_pem), VV_OK);
    VV_CHECK_INT(vv_acme_key_read(vv_sb_str(&rsa_pem), &none), VV_ESYNTAX);
    VV_CHECK_INT(vv_acme_key_read(VV_STR("no key"), &none), VV_ESYNTAX);
    VV_CHECK(none == NULL);
    EVP_PKEY_free(key);
    EVP_PKEY_free(back);
    EVP_PKEY_free(other);
    vv_sb_fini(&pem);
    vv_sb_fini(&rsa_pem);
}

VV_TEST(the_thumbprint_is_the_hash_of_the_public_key_in_its_one_form)
{
    EVP_PKEY *key = new_key();
    struct vv_sb jwk = VV_SB_INIT, want = VV_SB_INIT;
    char got[VV_ACME_THUMBPRINT];
    uint8_t hash[32];
    VV_CHECK_INT(vv_acme_jwk(key, &jwk), VV_OK);
    /* RFC 7638 section 3.2: the members crv, kty, x, y in this order, no spaces; 32 bytes are 43 digits */
    VV_CHECK(strncmp(jwk.p, "{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"", 31) == 0);
    VV_CHECK_INT(member(&jwk, "x").n, 43);
    VV_CHECK_INT(member(&jwk, "y").n, 43);
    VV_CHECK_INT(EVP_Digest(jwk.p, jwk.n, hash, NULL, EVP_sha256(), NULL), 1);
    vv_acme_b64(&want, hash, sizeof hash);
    VV_CHECK_INT(vv_acme_thumbprint(key, got), VV_OK);
    VV_CHECK_STR(got, want.p);
    EVP_PKEY_free(key);
    vv_sb_fini(&jwk);
    vv_sb_fini(&want);
}

/* ES256, RFC 7518 section 3.4: r and s, 32 bytes each, over "protected.payload". */
static bool verifies(EVP_PKEY *key, const struct vv_sb *jws)
{
    uint8_t raw[64], *der = NULL;
    size_t n = 0;
    struct vv_sb input = VV_SB_INIT;
    VV_CHECK_INT(vv_acme_b64_decode(member(jws, "signature"), raw, sizeof raw, &n), VV_OK);
    VV_CHECK_INT(n, 64);
    vv_sb_add(&input, member(jws, "protected"));
    vv_sb_addc(&input, '.');
    vv_sb_add(&input, member(jws, "payload"));
    ECDSA_SIG *sig = ECDSA_SIG_new();
    VV_CHECK_INT(ECDSA_SIG_set0(sig, BN_bin2bn(raw, 32, NULL), BN_bin2bn(raw + 32, 32, NULL)), 1);
    const int der_n = i2d_ECDSA_SIG(sig, &der);
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    VV_CHECK_INT(EVP_DigestVerifyInit(md, NULL, EVP_sha256(), NULL, key), 1);
    const bool ok = EVP_DigestVerify(md, der, (size_t)der_n, (uint8_t *)input.p, input.n) == 1;
    EVP_MD_CTX_free(md);
    OPENSSL_free(der);
    ECDSA_SIG_free(sig);
    vv_sb_fini(&input);
    return ok;
}

VV_TEST(a_request_says_its_url_nonce_and_account_and_is_signed)
{
    EVP_PKEY *key = new_key(), *other = new_key();
    struct vv_sb jws = VV_SB_INIT;
    VV_CHECK_INT(
        vv_acme_jws(key, "https://a/acct/1", "n0", "https://a/new", VV_STR("{\"x\":1}"), &jws),
        VV_OK);
    VV_CHECK_STR(decoded(member(&jws, "protected")),
                 "{\"alg\":\"ES256\",\"kid\":\"https://a/acct/1\",\"nonce\":\"n0\","
                 "\"url\":\"https://a/new\"}");
    VV_CHECK_STR(decoded(member(&jws, "payload")), "{\"x\":1}");
    VV_CHECK(verifies(key, &jws));
    VV_CHECK(!verifies(other, &jws));
    EVP_PKEY_free(key);
    EVP_PKEY_free(other);
    vv_sb_fini(&jws);
}

VV_TEST(the_first_request_carries_the_public_key_and_reading_has_no_payload)
{
    EVP_PKEY *key = new_key();
    struct vv_sb jws = VV_SB_INIT, jwk = VV_SB_INIT;
    VV_CHECK_INT(vv_acme_jws(key, NULL, "n1", "https://a/x", (struct vv_str){NULL, 0}, &jws),
                 VV_OK);
    VV_CHECK_INT(vv_acme_jwk(key, &jwk), VV_OK);
    const char *head = decoded(member(&jws, "protected"));
    VV_CHECK(strstr(head, jwk.p) != NULL);
    VV_CHECK(strstr(head, "\"kid\"") == NULL);
    VV_CHECK_INT(member(&jws, "payload").n, 0); /* RFC 8555 section 6.3 */
    VV_CHECK(verifies(key, &jws));
    EVP_PKEY_free(key);
    vv_sb_fini(&jws);
    vv_sb_fini(&jwk);
}

VV_TEST(an_external_account_is_bound_by_hmac_over_the_public_key)
{
    EVP_PKEY *key = new_key();
    struct vv_sb eab = VV_SB_INIT, jwk = VV_SB_INIT, input = VV_SB_INIT, want = VV_SB_INIT;
    uint8_t mac[32];
    unsigned n = 0;
    VV_CHECK_INT(vv_acme_eab(key, "kid-1", "Zm9vYmFy", "https://a/new", &eab), VV_OK);
    VV_CHECK_INT(vv_acme_jwk(key, &jwk), VV_OK);
    VV_CHECK_STR(decoded(member(&eab, "payload")), jwk.p);
    VV_CHECK_STR(decoded(member(&eab, "protected")),
                 "{\"alg\":\"HS256\",\"kid\":\"kid-1\",\"url\":\"https://a/new\"}");
    vv_sb_add(&input, member(&eab, "protected"));
    vv_sb_addc(&input, '.');
    vv_sb_add(&input, member(&eab, "payload"));
    /* "Zm9vYmFy" is "foobar" */
    VV_CHECK(HMAC(EVP_sha256(), "foobar", 6, (uint8_t *)input.p, input.n, mac, &n) != NULL);
    vv_acme_b64(&want, mac, n);
    VV_CHECK_SLICE(member(&eab, "signature"), want.p);
    VV_CHECK_INT(vv_acme_eab(key, "kid-1", "not base64!", "https://a/new", &eab), VV_ESYNTAX);
    EVP_PKEY_free(key);
    vv_sb_fini(&eab);
    vv_sb_fini(&jwk);
    vv_sb_fini(&input);
    vv_sb_fini(&want);
}

VV_TEST(a_signing_request_has_the_name_as_its_only_alternative_name)
{
    EVP_PKEY *key = new_key();
    static const char *const names[] = {"www.example.org", "192.0.2.7", "2001:db8::1"};
    for (size_t i = 0; i < VV_COUNT(names); i++) {
        struct vv_sb der = VV_SB_INIT;
        VV_CHECK_INT(vv_acme_csr(key, names[i], &der), VV_OK);
        const uint8_t *p = (const uint8_t *)der.p;
        X509_REQ *r = d2i_X509_REQ(NULL, &p, (long)der.n);
        VV_CHECK(r != NULL);
        VV_CHECK_INT(X509_REQ_verify(r, key), 1);
        STACK_OF(X509_EXTENSION) *ext = X509_REQ_get_extensions(r);
        GENERAL_NAMES *all = X509V3_get_d2i(ext, NID_subject_alt_name, NULL, NULL);
        VV_CHECK_INT(sk_GENERAL_NAME_num(all), 1);
        const GENERAL_NAME *g = sk_GENERAL_NAME_value(all, 0);
        VV_CHECK_INT(g->type, i == 0 ? GEN_DNS : GEN_IPADD);
        VV_CHECK_INT(ASN1_STRING_length(g->d.ia5), i == 0 ? 15 : i == 1 ? 4 : 16);
        GENERAL_NAMES_free(all);
        sk_X509_EXTENSION_pop_free(ext, X509_EXTENSION_free);
        X509_REQ_free(r);
        vv_sb_fini(&der);
    }
    EVP_PKEY_free(key);
}

VV_TEST(the_certificate_of_tls_alpn_has_a_critical_hash_of_the_key_authorization)
{
    struct vv_sb pem = VV_SB_INIT, der = VV_SB_INIT;
    uint8_t hash[32];
    VV_CHECK_INT(vv_acme_alpn_pem("a.example", "token.thumb", 1800000000 * VV_SEC, &pem), VV_OK);
    VV_CHECK_INT(vv_acme_first_der(vv_sb_str(&pem), &der), VV_OK);
    const uint8_t *p = (const uint8_t *)der.p;
    X509 *x = d2i_X509(NULL, &p, (long)der.n);
    ASN1_OBJECT *id = OBJ_txt2obj("1.3.6.1.5.5.7.1.31", 1); /* RFC 8737 section 6.1 */
    const int at = X509_get_ext_by_OBJ(x, id, -1);
    VV_CHECK(at >= 0);
    X509_EXTENSION *e = X509_get_ext(x, at);
    VV_CHECK_INT(X509_EXTENSION_get_critical(e), 1);
    VV_CHECK_INT(EVP_Digest("token.thumb", 11, hash, NULL, EVP_sha256(), NULL), 1);
    const ASN1_OCTET_STRING *value = X509_EXTENSION_get_data(e);
    VV_CHECK_INT(ASN1_STRING_length(value), 34); /* tag, length, 32 bytes */
    VV_CHECK(memcmp(ASN1_STRING_get0_data(value) + 2, hash, 32) == 0);
    VV_CHECK_INT(X509_check_host(x, "a.example", 0, 0, NULL), 1);
    time_t then = 1800000000;
    VV_CHECK(X509_cmp_time(X509_get0_notBefore(x), &then) < 0);
    VV_CHECK(X509_cmp_time(X509_get0_notAfter(x), &then) > 0);
    ASN1_OBJECT_free(id);
    X509_free(x);
    vv_sb_fini(&pem);
    vv_sb_fini(&der);
}
