/* src/acme/pkix.c - requests and certificates carry the name only as subjectAltName: the common name is
 * deprecated and too short for long names. */
#include "acme/pkix.h"
#include "acme/jws.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#define SERIAL_BITS 127
#define AROUND_NS (4 * VV_DAY)
#define ACME_IDENTIFIER "1.3.6.1.5.5.7.1.31" /* RFC 8737 section 6.1 */

bool vv_acme_is_address(const char *name)
{
    struct in6_addr a;
    return inet_pton(AF_INET, name, &a) == 1 || inet_pton(AF_INET6, name, &a) == 1;
}

static GENERAL_NAMES *names_of(const char *name)
{
    GENERAL_NAMES *all = sk_GENERAL_NAME_new_null();
    GENERAL_NAME *g = GENERAL_NAME_new();
    ASN1_STRING *value = NULL;
    const bool address = vv_acme_is_address(name);
    if (address) {
        value = a2i_IPADDRESS(name);
    } else if ((value = ASN1_IA5STRING_new()) != NULL && ASN1_STRING_set(value, name, -1) != 1) {
        ASN1_STRING_free(value);
        value = NULL;
    }
    if (all == NULL || g == NULL || value == NULL) {
        ASN1_STRING_free(value);
        GENERAL_NAME_free(g);
        GENERAL_NAMES_free(all);
        return NULL;
    }
    GENERAL_NAME_set0_value(g, address ? GEN_IPADD : GEN_DNS, value);
    if (sk_GENERAL_NAME_push(all, g) <= 0) {
        GENERAL_NAME_free(g);
        GENERAL_NAMES_free(all);
        return NULL;
    }
    return all;
}

static bool request_names(X509_REQ *r, const char *name)
{
    GENERAL_NAMES *all = names_of(name);
    STACK_OF(X509_EXTENSION) *ext = NULL;
    const bool ok = all != NULL &&
                    X509V3_add1_i2d(&ext, NID_subject_alt_name, all, 0, X509V3_ADD_APPEND) == 1 &&
                    X509_REQ_add_extensions(r, ext) == 1;
    sk_X509_EXTENSION_pop_free(ext, X509_EXTENSION_free);
    GENERAL_NAMES_free(all);
    return ok;
}

enum vv_err vv_acme_csr(EVP_PKEY *key, const char *name, struct vv_sb *der)
{
    uint8_t *p = NULL;
    X509_REQ *r = X509_REQ_new();
    const bool ok = r != NULL && X509_REQ_set_version(r, X509_REQ_VERSION_1) == 1 &&
                    X509_REQ_set_pubkey(r, key) == 1 && request_names(r, name) &&
                    X509_REQ_sign(r, key, EVP_sha256()) > 0;
    const int n = ok ? i2d_X509_REQ(r, &p) : 0;
    if (n > 0) {
        vv_sb_add(der, (struct vv_str){(char *)p, (size_t)n});
    }
    OPENSSL_free(p);
    X509_REQ_free(r);
    ERR_clear_error();
    return n > 0 && !der->failed ? VV_OK : VV_ENOMEM;
}

/* The extension's value is an OCTET STRING that holds the hash. */
static bool add_identifier(X509 *x, const char *key_authorization)
{
    uint8_t value[2 + 32] = {V_ASN1_OCTET_STRING, 32};
    unsigned n = 0;
    ASN1_OBJECT *id = OBJ_txt2obj(ACME_IDENTIFIER, 1);
    ASN1_OCTET_STRING *data = ASN1_OCTET_STRING_new();
    bool ok = id != NULL && data != NULL &&
              EVP_Digest(key_authorization, strlen(key_authorization), value + 2, &n, EVP_sha256(),
                         NULL) == 1 &&
              ASN1_OCTET_STRING_set(data, value, sizeof value) == 1;
    X509_EXTENSION *e = ok ? X509_EXTENSION_create_by_OBJ(NULL, id, 1, data) : NULL;
    ok = e != NULL && X509_add_ext(x, e, -1) == 1;
    X509_EXTENSION_free(e);
    ASN1_OCTET_STRING_free(data);
    ASN1_OBJECT_free(id);
    return ok;
}

static bool add_serial(X509 *x)
{
    BIGNUM *n = BN_new();
    const bool ok = n != NULL &&
                    BN_rand(n, SERIAL_BITS, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
                    BN_to_ASN1_INTEGER(n, X509_get_serialNumber(x)) != NULL;
    BN_free(n);
    return ok;
}

static bool fill(X509 *x, EVP_PKEY *key, const char *name, const char *key_authorization,
                 uint64_t wall_ns)
{
    GENERAL_NAMES *all = names_of(name);
    X509_NAME *subject = X509_get_subject_name(x);
    const uint64_t from = wall_ns > AROUND_NS ? wall_ns - AROUND_NS : 0;
    const bool ok =
        all != NULL && X509_set_version(x, X509_VERSION_3) == 1 && add_serial(x) &&
        ASN1_TIME_set(X509_getm_notBefore(x), (time_t)(from / VV_SEC)) != NULL &&
        ASN1_TIME_set(X509_getm_notAfter(x), (time_t)((wall_ns + AROUND_NS) / VV_SEC)) != NULL &&
        X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const uint8_t *)"ACME challenge",
                                   -1, -1, 0) == 1 &&
        X509_set_issuer_name(x, subject) == 1 && X509_set_pubkey(x, key) == 1 &&
        X509_add1_ext_i2d(x, NID_subject_alt_name, all, 0, X509V3_ADD_APPEND) == 1 &&
        add_identifier(x, key_authorization) && X509_sign(x, key, EVP_sha256()) > 0;
    GENERAL_NAMES_free(all);
    return ok;
}

enum vv_err vv_acme_alpn_pem(const char *name, const char *key_authorization, uint64_t wall_ns,
                             struct vv_sb *pem)
{
    EVP_PKEY *key = NULL;
    enum vv_err err = vv_acme_key_new(&key);
    X509 *x = X509_new();
    BIO *b = BIO_new(BIO_s_mem());
    if (err == VV_OK) {
        err = x != NULL && b != NULL && fill(x, key, name, key_authorization, wall_ns) &&
                      PEM_write_bio_X509(b, x) == 1
                  ? vv_acme_key_write(key, pem)
                  : VV_ENOMEM;
    }
    if (err == VV_OK) {
        char *p = NULL;
        const long n = BIO_get_mem_data(b, &p);
        vv_sb_add(pem, (struct vv_str){p, (size_t)n});
        err = pem->failed ? VV_ENOMEM : VV_OK;
    }
    BIO_free(b);
    X509_free(x);
    EVP_PKEY_free(key);
    ERR_clear_error();
    return err;
}

enum vv_err vv_acme_first_der(struct vv_str pem, struct vv_sb *der)
{
    uint8_t *p = NULL;
    BIO *b = pem.n <= INT32_MAX ? BIO_new_mem_buf(pem.p, (int)pem.n) : NULL;
    X509 *x = b != NULL ? PEM_read_bio_X509(b, NULL, NULL, NULL) : NULL;
    const int n = x != NULL ? i2d_X509(x, &p) : 0;
    if (n > 0) {
        vv_sb_add(der, (struct vv_str){(char *)p, (size_t)n});
    }
    OPENSSL_free(p);
    X509_free(x);
    BIO_free(b);
    ERR_clear_error();
    return n <= 0 ? VV_ESYNTAX : der->failed ? VV_ENOMEM : VV_OK;
}
