/* src/os/tls_cert.h - a certificate with its chain, its key and its stapled status, checked when it is read.
 *
 * Model:     what is loaded never changes; a file that changed is loaded anew and a new context is made
 *            of it. An expired certificate loads, because serving it is better than serving nothing:
 *            vv_tls_cert_problems() says so. What can never work (a key that does not match, a key
 *            too weak to be accepted by anybody) does not load.
 * Source:    RFC 5280 for certificates, RFC 6960 for status answers, RFC 6125 section 6.4.4 for the
 *            common name as last resort.
 * Units:     *_wall_ns are nanoseconds since 1970; before 1970 is 0, after 2554 UINT64_MAX.
 * Threads:   loading anywhere (reads files: control side); what is loaded may be shared.
 * Ownership: counted; texts of the info live as long as the certificate.
 * Errors:    VV_ENOENT, VV_EACCES, VV_ELIMIT from the file, VV_ESYNTAX, VV_EINVAL (cannot work), VV_ENOMEM.
 *            *why gets one line without a full stop, "file:line: what"; never a secret.
 */
#ifndef VV_OS_TLS_CERT_H
#define VV_OS_TLS_CERT_H
#include "base/err.h"
#include "base/sb.h"

#define VV_TLS_FINGERPRINT 65 /* SHA-256 in hexadecimal, with its NUL */

enum vv_tls_key { VV_TLS_KEY_EC, VV_TLS_KEY_RSA, VV_TLS_KEY_ED, VV_TLS_KEY_COUNT };
enum { /* what vv_tls_cert_problems() may say, together */
       VV_TLS_CERT_NOT_YET = 1,
       VV_TLS_CERT_EXPIRED = 2,
       VV_TLS_CERT_SHA1 = 4,  /* signed in a way that clients refuse */
       VV_TLS_CERT_STAPLE = 8 /* a status answer was given and cannot be served (now) */
};

struct vv_tls_cert; /* counted */
struct vv_tls_cert_info {
    const char *const *names; /* lower case; DNS names and addresses, "*.x" for wildcards */
    size_t name_count;
    const char *subject, *issuer; /* RFC 2253 */
    uint64_t not_before_wall_ns, not_after_wall_ns;
    uint64_t staple_until_wall_ns; /* 0: nothing stapled */
    enum vv_tls_key key;
    unsigned key_bits;
    size_t chain_count; /* certificates after the first */
    char fingerprint[VV_TLS_FINGERPRINT];
};

struct vv_tls_cert_files {
    const char *cert; /* PEM: the certificate, then its chain */
    const char *key;  /* PEM, not encrypted; NULL: in the same file */
    const char *ocsp; /* DER answer of the issuer's responder, or NULL */
};
/* What the same files hold. The names are for messages. */
struct vv_tls_cert_text {
    const char *cert_name, *key_name, *ocsp_name;
    struct vv_str cert, key, ocsp; /* .p of key and ocsp may be NULL */
};

/* A status answer that cannot be used is no failure: VV_TLS_CERT_STAPLE, and *why says it on VV_OK. */
VV_MUST_CHECK enum vv_err vv_tls_cert_load(const struct vv_tls_cert_files *files, struct vv_sb *why,
                                           struct vv_tls_cert **ret);
VV_MUST_CHECK enum vv_err vv_tls_cert_parse(const struct vv_tls_cert_text *text, struct vv_sb *why,
                                            struct vv_tls_cert **ret);
struct vv_tls_cert *vv_tls_cert_ref(struct vv_tls_cert *c);
void vv_tls_cert_unref(struct vv_tls_cert *c); /* NULL is fine */
const struct vv_tls_cert_info *vv_tls_cert_info(const struct vv_tls_cert *c);
unsigned vv_tls_cert_problems(const struct vv_tls_cert *c, uint64_t wall_ns);
#endif
