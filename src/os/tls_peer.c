/* src/os/tls_peer.c - what is known about a connection: protocol, who is there, why it failed. */
#include "os/sock.h"
#include "os/tls.h"
#include "os/tls_int.h"

#include <arpa/inet.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

#define SANS_MAX 64
#define SERIAL_BYTES_MAX 64 /* RFC 5280 allows 20 */
#define IDENTITY_CHUNK 2048
#define IDENTITY_BYTES_MAX (64u * 1024)

const char *vv_tls_failure_name(enum vv_tls_failure f)
{
    static const char *const name[] = {
#define VV_X(id, label, text) label,
        VV_TLS_FAILURES(VV_X)
#undef VV_X
    };
    return name[f];
}

static const char *failure_text(const struct vv_tls *t)
{
    static const char *const said[] = {
#define VV_X(id, label, text) text,
        VV_TLS_FAILURES(VV_X)
#undef VV_X
    };
    if (t->failure == VV_TLS_FAIL_CLOSED && t->done) {
        return "the connection was closed without close_notify";
    }
    return said[t->failure];
}

const char *vv_tls_error(const struct vv_tls *t, char buf[VV_TLS_ERROR_TEXT])
{
    const char *reason = t->ssl_error != 0 ? ERR_reason_error_string(t->ssl_error) : NULL;
    const long verified = SSL_get_verify_result(t->ssl);
    if (t->failure == VV_TLS_FAIL_CERT_REFUSED && verified != X509_V_OK) {
        reason = X509_verify_cert_error_string(verified);
    } else if (t->failure == VV_TLS_FAIL_IO && t->io_errno != 0) {
        reason = vv_err_text(vv_err_from_errno(t->io_errno));
    } else if (t->failure == VV_TLS_FAIL_CLOSED) {
        reason = NULL;
    }
    snprintf(buf, VV_TLS_ERROR_TEXT, reason != NULL ? "%s: %s" : "%s", failure_text(t), reason);
    return buf;
}

enum vv_tls_failure vv_tls_failure(const struct vv_tls *t)
{
    return (enum vv_tls_failure)t->failure;
}

const char *vv_tls_protocol(const struct vv_tls *t)
{
    return SSL_get_version(t->ssl);
}

const char *vv_tls_cipher(const struct vv_tls *t)
{
    return SSL_get_cipher_name(t->ssl);
}

struct vv_str vv_tls_alpn(const struct vv_tls *t)
{
    const unsigned char *p = NULL;
    unsigned n = 0;
    SSL_get0_alpn_selected(t->ssl, &p, &n);
    return (struct vv_str){(const char *)p, n};
}

struct vv_str vv_tls_name(const struct vv_tls *t)
{
    return vv_str_from(t->name);
}

bool vv_tls_resumed(const struct vv_tls *t)
{
    return t->resumed;
}

bool vv_tls_ktls(const struct vv_tls *t)
{
    return t->ktls;
}

/* ---- who is there --------------------------------------------------------------------------- */

static bool dup_name(struct vv_arena *a, const X509_NAME *name, struct vv_str *ret)
{
    char *text = vv_tls_name_text(name);
    *ret = text != NULL ? vv_arena_str(a, vv_str_from(text)) : (struct vv_str){NULL, 0};
    free(text);
    return ret->p != NULL;
}

/* The most specific common name; one with control characters (also NUL) is none. */
static bool dup_common_name(struct vv_arena *a, const X509_NAME *name, struct vv_str *ret)
{
    unsigned char *utf8 = NULL;
    int at = -1, last = -1;
    *ret = (struct vv_str){"", 0};
    while ((at = X509_NAME_get_index_by_NID(name, NID_commonName, at)) >= 0) {
        last = at;
    }
    if (last < 0) {
        return true;
    }
    const int n =
        ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, last)));
    bool ok = true;
    for (int i = 0; i < n; i++) {
        ok = ok && utf8[i] >= 0x20 && utf8[i] != 0x7f;
    }
    if (ok && n > 0) {
        *ret = vv_arena_str(a, (struct vv_str){(const char *)utf8, (size_t)n});
    }
    OPENSSL_free(utf8);
    return ret->p != NULL;
}

static bool plain_text(const ASN1_STRING *s, struct vv_str *ret)
{
    *ret = (struct vv_str){(const char *)ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s)};
    for (size_t i = 0; i < ret->n; i++) {
        if ((uint8_t)ret->p[i] <= 0x20 || (uint8_t)ret->p[i] >= 0x7f) {
            return false;
        }
    }
    return ret->n > 0;
}

static bool read_san(const GENERAL_NAME *g, char ip[INET6_ADDRSTRLEN], struct vv_tls_san_name *ret)
{
    switch (g->type) {
    case GEN_DNS:
        ret->kind = VV_TLS_SAN_DNS;
        return plain_text(g->d.dNSName, &ret->name);
    case GEN_EMAIL:
        ret->kind = VV_TLS_SAN_EMAIL;
        return plain_text(g->d.rfc822Name, &ret->name);
    case GEN_URI:
        ret->kind = VV_TLS_SAN_URI;
        return plain_text(g->d.uniformResourceIdentifier, &ret->name);
    case GEN_IPADD: {
        const int n = ASN1_STRING_length(g->d.iPAddress);
        ret->kind = VV_TLS_SAN_IP;
        if ((n != 4 && n != 16) ||
            inet_ntop(n == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(g->d.iPAddress), ip,
                      INET6_ADDRSTRLEN) == NULL) {
            return false;
        }
        ret->name = vv_str_from(ip);
        return true;
    }
    default:
        return false;
    }
}

static enum vv_err read_sans(const X509 *x, struct vv_arena *a, struct vv_tls_peer *p)
{
    GENERAL_NAMES *all = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    const int count = sk_GENERAL_NAME_num(all);
    enum vv_err err = count > SANS_MAX ? VV_ELIMIT : VV_OK;
    struct vv_tls_san_name *list = NULL;
    if (err == VV_OK && count > 0) {
        list = vv_arena_zalloc(a, (size_t)count * sizeof(*list));
        err = list != NULL ? VV_OK : VV_ENOMEM;
    }
    for (int i = 0; i < count && err == VV_OK; i++) {
        char ip[INET6_ADDRSTRLEN];
        struct vv_tls_san_name one;
        if (read_san(sk_GENERAL_NAME_value(all, i), ip, &one)) {
            one.name = vv_arena_str(a, one.name);
            err = one.name.p != NULL ? VV_OK : VV_ENOMEM;
            list[p->san_count++] = one;
        }
    }
    p->sans = list;
    GENERAL_NAMES_free(all);
    return err;
}

static bool dup_serial(struct vv_arena *a, const X509 *x, struct vv_str *ret)
{
    BIGNUM *n = ASN1_INTEGER_to_BN(X509_get0_serialNumber(x), NULL);
    char *hex = n != NULL && BN_num_bytes(n) <= SERIAL_BYTES_MAX ? BN_bn2hex(n) : NULL;
    *ret = vv_arena_str(a, vv_str_from(hex != NULL ? hex : ""));
    OPENSSL_free(hex);
    BN_free(n);
    return ret->p != NULL;
}

enum vv_err vv_tls_peer(const struct vv_tls *t, struct vv_arena *arena, struct vv_tls_peer *ret)
{
    struct vv_tls_peer p = {.present = false};
    const X509 *x = SSL_get0_peer_certificate(t->ssl);
    if (x == NULL) {
        *ret = p;
        return VV_OK;
    }
    p.present = true;
    p.not_after_wall_ns = vv_tls_wall_of(X509_get0_notAfter(x));
    vv_tls_fingerprint(x, p.fingerprint);
    const X509_NAME *subject = X509_get_subject_name(x);
    enum vv_err err = VV_ENOMEM;
    if (dup_name(arena, subject, &p.subject) &&
        dup_name(arena, X509_get_issuer_name(x), &p.issuer) &&
        dup_common_name(arena, subject, &p.common_name) && dup_serial(arena, x, &p.serial)) {
        err = read_sans(x, arena, &p);
    }
    ERR_clear_error();
    if (err == VV_OK) {
        *ret = p;
    }
    return err;
}

const struct vv_tls_peer *vv_tls_identity(struct vv_tls *t)
{
    if (t->peer_memory == NULL) {
        struct vv_arena *a = malloc(sizeof *a);
        if (a == NULL) {
            return NULL;
        }
        vv_arena_init(a, NULL, 0, IDENTITY_CHUNK, IDENTITY_BYTES_MAX);
        t->peer_memory = a;
        struct vv_tls_peer *p = vv_arena_zalloc(a, sizeof *p);
        t->peer = p != NULL && vv_tls_peer(t, a, p) == VV_OK && p->present ? p : NULL;
    }
    return t->peer;
}

void vv_tls_peer_forget(struct vv_tls *t)
{
    if (t->peer_memory != NULL) {
        vv_arena_fini(t->peer_memory);
        free(t->peer_memory);
    }
}
