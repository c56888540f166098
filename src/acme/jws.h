/* src/acme/jws.h - keys and signed requests.
 *
 * Model:     keys are P-256. A request is a flattened JSON web signature: it carries its URL, a number
 *            used once, and either the public key (first contact, revoking with a certificate's
 *            key) or the account's URL.
 * Source:    RFC 7515, RFC 7517, RFC 7518 section 3.4 (ES256), RFC 7638 (thumbprint), RFC 8555 section 6.2
 *            and 7.3.4 (external accounts).
 * Threads:   pure. Ownership: a key is EVP_PKEY_free()'d by who got it.
 * Errors:    VV_ENOMEM (also whatever else OpenSSL fails at), VV_ESYNTAX (a PEM that is no such key).
 */
#ifndef VV_ACME_JWS_H
#define VV_ACME_JWS_H
#include "base/err.h"
#include "base/sb.h"
#include <openssl/evp.h>

#define VV_ACME_THUMBPRINT 44 /* 43 characters of base64url and a NUL */

VV_MUST_CHECK enum vv_err vv_acme_key_new(EVP_PKEY **ret);
VV_MUST_CHECK enum vv_err vv_acme_key_read(struct vv_str pem, EVP_PKEY **ret);
VV_MUST_CHECK enum vv_err vv_acme_key_write(EVP_PKEY *key, struct vv_sb *pem); /* appends */

void vv_acme_b64(struct vv_sb *out, const void *bytes, size_t n); /* base64url, no padding */
/* VV_ESYNTAX: not base64url (padding is taken); VV_ERANGE: more than out_bytes. */
VV_MUST_CHECK enum vv_err vv_acme_b64_decode(struct vv_str text, uint8_t *out, size_t out_bytes,
                                             size_t *ret_n);

VV_MUST_CHECK enum vv_err vv_acme_jwk(EVP_PKEY *key, struct vv_sb *out);
VV_MUST_CHECK enum vv_err vv_acme_thumbprint(EVP_PKEY *key, char out[VV_ACME_THUMBPRINT]);
/* kid NULL: the public key stands in the request. payload.p NULL: POST-as-GET. */
VV_MUST_CHECK enum vv_err vv_acme_jws(EVP_PKEY *key, const char *kid, const char *nonce,
                                      const char *url, struct vv_str payload, struct vv_sb *out);
/* Binds the account's key to an account of elsewhere: HS256 over the public key. */
VV_MUST_CHECK enum vv_err vv_acme_eab(EVP_PKEY *key, const char *kid, const char *mac_b64,
                                      const char *url, struct vv_sb *out);
#endif
