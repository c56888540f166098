/* src/acme/pkix.h - what is asked for and what is shown: signing requests and certificates of challenges.
 *
 * Source:    RFC 2986 (requests), RFC 8737 (the certificate that proves a name), RFC 8738 (addresses).
 * Threads:   pure; time is a parameter. Errors: VV_ENOMEM, VV_EINVAL (a name that cannot be in one),
 *            VV_ESYNTAX (a PEM that is no certificate).
 */
#ifndef VV_ACME_PKIX_H
#define VV_ACME_PKIX_H
#include "base/err.h"
#include "base/sb.h"
#include <openssl/evp.h>

bool vv_acme_is_address(const char *name); /* v4 or v6, without brackets */
/* A request for one name, DER, appended. */
VV_MUST_CHECK enum vv_err vv_acme_csr(EVP_PKEY *key, const char *name, struct vv_sb *der);
/* Key and certificate, PEM, appended: signed by itself, valid for a week around wall_ns. */
VV_MUST_CHECK enum vv_err vv_acme_alpn_pem(const char *name, const char *key_authorization,
                                           uint64_t wall_ns, struct vv_sb *pem);
/* The first certificate in a PEM text as DER. */
VV_MUST_CHECK enum vv_err vv_acme_first_der(struct vv_str pem, struct vv_sb *der);
#endif
