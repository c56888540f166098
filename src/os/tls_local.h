/* src/os/tls_local.h - certificates of our own making: `tls: auto` in development, and tests.
 *
 * Model:     an authority (P-256, ten years) and server certificates that it signs (90 days) in one
 *            directory: ca.pem, ca.key, local.pem, local.key. Whoever trusts ca.pem trusts this machine's
 *            gateways; keys are readable by the owner only. Nothing here is for the public network.
 * Source:    RFC 5280.
 * Threads:   any; writes files (control side). Time is a parameter.
 * Errors:    VV_EINVAL (a name that cannot be in a certificate), VV_ENOMEM, errors of files.
 */
#ifndef VV_OS_TLS_LOCAL_H
#define VV_OS_TLS_LOCAL_H
#include "os/tls_cert.h"

struct vv_tls_pem { /* NUL-terminated; vv_tls_pem_fini() wipes the key */
    char *cert, *key;
};
struct vv_tls_make {
    const char *subject;      /* common name, at most 64 bytes */
    const char *const *names; /* DNS names, wildcards, addresses */
    size_t name_count;
    enum vv_tls_key key;
    unsigned rsa_bits; /* with VV_TLS_KEY_RSA */
    uint64_t not_before_wall_ns, not_after_wall_ns;
    bool authority, client;          /* may sign others; is shown by a client */
    const struct vv_tls_pem *issuer; /* NULL: signs itself */
};
VV_MUST_CHECK enum vv_err vv_tls_make(const struct vv_tls_make *m, struct vv_tls_pem *ret);
void vv_tls_pem_fini(struct vv_tls_pem *pem);

#define VV_TLS_LOCAL_PATH 512
struct vv_tls_local {
    char ca_file[VV_TLS_LOCAL_PATH], cert_file[VV_TLS_LOCAL_PATH], key_file[VV_TLS_LOCAL_PATH];
    bool made_authority, made_certificate; /* now; false: those that were there are fine */
};
/* Makes what is missing, does not have all the names, or is past two thirds of its life. `dir` must
 * exist. *why gets one line on failure. */
VV_MUST_CHECK enum vv_err vv_tls_local(const char *dir, const char *const *names, size_t count,
                                       uint64_t wall_ns, struct vv_sb *why,
                                       struct vv_tls_local *ret);
#endif
