/* src/os/tls_local.c - keys, certificates and the files of the local authority. */
#include "os/tls_local.h"
#include "os/file.h"
#include "os/sock.h"
#include "os/tls_int.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

#define SERIAL_BITS 127 /* RFC 5280 section 4.1.2.2: positive, at most 20 bytes */
#define AUTHORITY_NS (3650 * VV_DAY)
#define SERVER_NS (90 * VV_DAY)
#define CLOCK_SKEW_NS VV_HOUR /* clocks of clients that are late */
#define NAME_BYTES_MAX 253
#define COMMON_NAME_MAX 64

/* ---- one certificate ------------------------------------------------------------------------- */

static EVP_PKEY *make_key(const struct vv_tls_make *m)
{
    switch (m->key) {
    case VV_TLS_KEY_RSA:
        return EVP_RSA_gen(m->rsa_bits);
    case VV_TLS_KEY_ED:
        return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    default:
        return EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    }
}

/* Letters, digits, '-', '_', dots between labels, and a '*' as the first label. */
static bool is_dns_name(const char *name)
{
    const char *p = strncmp(name, "*.", 2) == 0 ? name + 2 : name;
    bool label = false;
    if (*p == '\0' || strlen(name) > NAME_BYTES_MAX) {
        return false;
    }
    for (; *p != '\0'; p++) {
        const char c = vv_char_lower(*p);
        const bool letter =
            (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
        if (!letter && (c != '.' || !label)) {
            return false;
        }
        label = letter;
    }
    return label;
}

static bool push_name(GENERAL_NAMES *all, const char *name)
{
    GENERAL_NAME *g = GENERAL_NAME_new();
    struct vv_addr a;
    bool ok = g != NULL;
    if (ok && vv_addr_from_ip(vv_str_from(name), 0, &a)) {
        ASN1_OCTET_STRING *ip = a2i_IPADDRESS(name);
        ok = ip != NULL;
        GENERAL_NAME_set0_value(g, GEN_IPADD, ip);
    } else if (ok) {
        ASN1_IA5STRING *dns = ASN1_IA5STRING_new();
        ok = dns != NULL && ASN1_STRING_set(dns, name, -1) == 1;
        GENERAL_NAME_set0_value(g, GEN_DNS, dns);
    }
    ok = ok && sk_GENERAL_NAME_push(all, g) > 0;
    if (!ok) {
        GENERAL_NAME_free(g);
    }
    return ok;
}

static bool add_names(X509 *x, const struct vv_tls_make *m)
{
    if (m->name_count == 0) {
        return true;
    }
    GENERAL_NAMES *all = sk_GENERAL_NAME_new_null();
    bool ok = all != NULL;
    for (size_t i = 0; ok && i < m->name_count; i++) {
        ok = push_name(all, m->names[i]);
    }
    ok = ok && X509_add1_ext_i2d(x, NID_subject_alt_name, all, 0, X509V3_ADD_DEFAULT) == 1;
    GENERAL_NAMES_free(all);
    return ok;
}

static bool add_extension(X509 *x, X509V3_CTX *ctx, int nid, const char *value)
{
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, ctx, nid, value);
    const bool ok = e != NULL && X509_add_ext(x, e, -1) == 1;
    X509_EXTENSION_free(e);
    return ok;
}

static bool add_extensions(X509 *x, X509 *issuer, const struct vv_tls_make *m)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    const char *use = m->authority               ? "critical,keyCertSign,cRLSign"
                      : m->key == VV_TLS_KEY_RSA ? "critical,digitalSignature,keyEncipherment"
                                                 : "critical,digitalSignature";
    return add_extension(x, &ctx, NID_basic_constraints,
                         m->authority ? "critical,CA:TRUE,pathlen:0" : "critical,CA:FALSE") &&
           add_extension(x, &ctx, NID_key_usage, use) &&
           (m->authority ||
            add_extension(x, &ctx, NID_ext_key_usage, m->client ? "clientAuth" : "serverAuth")) &&
           add_extension(x, &ctx, NID_subject_key_identifier, "hash") &&
           add_extension(x, &ctx, NID_authority_key_identifier, "keyid") && add_names(x, m);
}

static bool set_serial(X509 *x)
{
    BIGNUM *n = BN_new();
    const bool ok = n != NULL &&
                    BN_rand(n, SERIAL_BITS, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
                    BN_to_ASN1_INTEGER(n, X509_get_serialNumber(x)) != NULL;
    BN_free(n);
    return ok;
}

static bool fill(X509 *x, const struct vv_tls_make *m)
{
    X509_NAME *subject = X509_get_subject_name(x);
    return X509_set_version(x, X509_VERSION_3) == 1 && set_serial(x) &&
           ASN1_TIME_set(X509_getm_notBefore(x), (time_t)(m->not_before_wall_ns / VV_SEC)) !=
               NULL &&
           ASN1_TIME_set(X509_getm_notAfter(x), (time_t)(m->not_after_wall_ns / VV_SEC)) != NULL &&
           X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8,
                                      (const unsigned char *)m->subject, -1, -1, 0) == 1;
}

static char *take_text(BIO *b)
{
    char *p = NULL;
    const long n = BIO_get_mem_data(b, &p);
    return strndup(p, (size_t)n);
}

static bool to_pem(X509 *x, EVP_PKEY *key, struct vv_tls_pem *ret)
{
    struct vv_tls_pem pem = {NULL, NULL};
    BIO *c = BIO_new(BIO_s_mem()), *k = BIO_new(BIO_s_secmem());
    if (c != NULL && k != NULL && PEM_write_bio_X509(c, x) == 1 &&
        PEM_write_bio_PrivateKey(k, key, NULL, NULL, 0, NULL, NULL) == 1) {
        pem.cert = take_text(c);
        pem.key = take_text(k);
    }
    BIO_free(c);
    BIO_free(k);
    if (pem.cert == NULL || pem.key == NULL) {
        vv_tls_pem_fini(&pem);
        return false;
    }
    *ret = pem;
    return true;
}

struct signer {
    X509 *x;
    EVP_PKEY *key;
};

static void read_signer(const struct vv_tls_pem *pem, struct signer *s)
{
    BIO *c = BIO_new_mem_buf(pem->cert, -1), *k = BIO_new_mem_buf(pem->key, -1);
    s->x = c != NULL ? PEM_read_bio_X509(c, NULL, NULL, NULL) : NULL;
    s->key = k != NULL ? PEM_read_bio_PrivateKey(k, NULL, NULL, NULL) : NULL;
    BIO_free(c);
    BIO_free(k);
}

static bool build(X509 *x, EVP_PKEY *key, const struct signer *by, const struct vv_tls_make *m)
{
    X509 *issuer = by->x != NULL ? by->x : x;
    EVP_PKEY *with = by->key != NULL ? by->key : key;
    const EVP_MD *md = EVP_PKEY_get_base_id(with) == EVP_PKEY_ED25519 ? NULL : EVP_sha256();
    return fill(x, m) && X509_set_issuer_name(x, X509_get_subject_name(issuer)) == 1 &&
           X509_set_pubkey(x, key) == 1 && add_extensions(x, issuer, m) &&
           X509_sign(x, with, md) > 0;
}

enum vv_err vv_tls_make(const struct vv_tls_make *m, struct vv_tls_pem *ret)
{
    struct vv_addr a;
    struct signer by = {NULL, NULL};
    for (size_t i = 0; i < m->name_count; i++) {
        if (!is_dns_name(m->names[i]) && !vv_addr_from_ip(vv_str_from(m->names[i]), 0, &a)) {
            return VV_EINVAL;
        }
    }
    if (m->subject[0] == '\0' || strlen(m->subject) > COMMON_NAME_MAX) {
        return VV_EINVAL;
    }
    if (m->issuer != NULL) {
        read_signer(m->issuer, &by);
    }
    enum vv_err err = VV_ENOMEM;
    X509 *x = X509_new();
    EVP_PKEY *key = make_key(m);
    if (m->issuer != NULL && (by.x == NULL || by.key == NULL)) {
        err = VV_ESYNTAX;
    } else if (x != NULL && key != NULL && build(x, key, &by, m) && to_pem(x, key, ret)) {
        err = VV_OK;
    }
    X509_free(by.x);
    EVP_PKEY_free(by.key);
    X509_free(x);
    EVP_PKEY_free(key);
    ERR_clear_error();
    return err;
}

void vv_tls_pem_fini(struct vv_tls_pem *pem)
{
    if (pem->key != NULL) {
        OPENSSL_cleanse(pem->key, strlen(pem->key));
    }
    free(pem->cert);
    free(pem->key);
    pem->cert = pem->key = NULL;
}

/* ---- the directory --------------------------------------------------------------------------- */

/* Past two thirds of its life, or not of this time at all. */
static bool is_old(const struct vv_tls_cert_info *info, uint64_t wall_ns)
{
    const uint64_t from = info->not_before_wall_ns, to = info->not_after_wall_ns;
    return wall_ns < from || wall_ns >= to || wall_ns - from > (to - from) / 3 * 2;
}

static bool has_name(const struct vv_tls_cert_info *info, const char *name)
{
    for (size_t i = 0; i < info->name_count; i++) {
        if (vv_str_eq_nocase(vv_str_from(info->names[i]), vv_str_from(name))) {
            return true;
        }
    }
    return false;
}

/* Is what lies there still good for these names, signed by `issuer` (NULL: by itself)? */
static bool still_good(const char *cert_file, const char *key_file, const char *issuer,
                       const char *const *names, size_t count, uint64_t wall_ns)
{
    const struct vv_tls_cert_files files = {cert_file, key_file, NULL};
    struct vv_sb quiet = VV_SB_INIT;
    struct vv_tls_cert *c = NULL;
    bool good = vv_tls_cert_load(&files, &quiet, &c) == VV_OK && !is_old(&c->info, wall_ns);
    for (size_t i = 0; i < count && good; i++) {
        good = has_name(&c->info, names[i]);
    }
    if (good && issuer != NULL) {
        const struct vv_tls_pem pem = {(char *)(uintptr_t)issuer, (char *)(uintptr_t) ""};
        struct signer by;
        read_signer(&pem, &by);
        good = by.x != NULL && X509_verify(c->x509, X509_get0_pubkey(by.x)) == 1;
        X509_free(by.x);
        ERR_clear_error();
    }
    vv_tls_cert_unref(c);
    vv_sb_fini(&quiet);
    return good;
}

static enum vv_err store(const char *cert_file, const char *key_file, const struct vv_tls_pem *pem,
                         const char *chain, struct vv_sb *why)
{
    struct vv_sb all = VV_SB_INIT;
    vv_sb_adds(&all, pem->cert);
    vv_sb_adds(&all, chain);
    const char *file = key_file;
    enum vv_err err = all.failed ? VV_ENOMEM : VV_OK;
    if (err == VV_OK) {
        err = vv_file_write(key_file, vv_str_from(pem->key), 0600);
    }
    if (err == VV_OK) {
        file = cert_file;
        err = vv_file_write(cert_file, vv_sb_str(&all), 0644);
    }
    if (err != VV_OK) {
        vv_sb_addf(why, "%s: cannot be written: %s", file, vv_err_text(err));
    }
    vv_sb_fini(&all);
    return err;
}

static enum vv_err authority(const char *cert_file, const char *key_file, uint64_t wall_ns,
                             struct vv_sb *why, bool *ret_made, struct vv_tls_pem *ret)
{
    size_t n;
    if (still_good(cert_file, key_file, NULL, NULL, 0, wall_ns)) {
        enum vv_err err = vv_file_read(cert_file, VV_MIB, &ret->cert, &n);
        if (err == VV_OK) {
            err = vv_file_read(key_file, VV_MIB, &ret->key, &n);
        }
        return err;
    }
    char subject[COMMON_NAME_MAX + 1];
    snprintf(subject, sizeof(subject), "Vivace local authority %llu",
             (unsigned long long)(wall_ns / VV_SEC)); /* another one is another name */
    const struct vv_tls_make m = {.subject = subject,
                                  .key = VV_TLS_KEY_EC,
                                  .not_before_wall_ns = wall_ns - CLOCK_SKEW_NS,
                                  .not_after_wall_ns = wall_ns + AUTHORITY_NS,
                                  .authority = true};
    const enum vv_err err = vv_tls_make(&m, ret);
    if (err != VV_OK) {
        vv_sb_addf(why, "the local authority cannot be made: %s", vv_err_text(err));
        return err;
    }
    *ret_made = true;
    return store(cert_file, key_file, ret, "", why);
}

static enum vv_err server(struct vv_tls_local *l, const struct vv_tls_pem *ca,
                          const char *const *names, size_t count, uint64_t wall_ns,
                          struct vv_sb *why)
{
    if (still_good(l->cert_file, l->key_file, ca->cert, names, count, wall_ns)) {
        return VV_OK;
    }
    struct vv_tls_pem pem;
    const struct vv_tls_make m = {.subject = "Vivace local certificate",
                                  .names = names,
                                  .name_count = count,
                                  .key = VV_TLS_KEY_EC,
                                  .not_before_wall_ns = wall_ns - CLOCK_SKEW_NS,
                                  .not_after_wall_ns = wall_ns + SERVER_NS,
                                  .issuer = ca};
    enum vv_err err = vv_tls_make(&m, &pem);
    if (err != VV_OK) {
        vv_sb_addf(why, "the local certificate cannot be made: %s", vv_err_text(err));
        return err;
    }
    l->made_certificate = true;
    err = store(l->cert_file, l->key_file, &pem, ca->cert, why);
    vv_tls_pem_fini(&pem);
    return err;
}

enum vv_err vv_tls_local(const char *dir, const char *const *names, size_t count, uint64_t wall_ns,
                         struct vv_sb *why, struct vv_tls_local *ret)
{
    struct vv_tls_local l = {.made_authority = false};
    struct vv_tls_pem ca = {NULL, NULL};
    char ca_key[VV_TLS_LOCAL_PATH];
    VV_ASSERT(wall_ns > CLOCK_SKEW_NS);
    if (strlen(dir) + sizeof("/local.pem") > VV_TLS_LOCAL_PATH) {
        vv_sb_addf(why, "%s: the path is too long", dir);
        return VV_ERANGE;
    }
    snprintf(l.ca_file, sizeof(l.ca_file), "%s/ca.pem", dir);
    snprintf(ca_key, sizeof(ca_key), "%s/ca.key", dir);
    snprintf(l.cert_file, sizeof(l.cert_file), "%s/local.pem", dir);
    snprintf(l.key_file, sizeof(l.key_file), "%s/local.key", dir);
    enum vv_err err = authority(l.ca_file, ca_key, wall_ns, why, &l.made_authority, &ca);
    if (err == VV_OK) {
        err = server(&l, &ca, names, count, wall_ns, why);
    }
    vv_tls_pem_fini(&ca);
    if (err == VV_OK) {
        *ret = l;
    }
    return err;
}
