/* src/gateway/jwks.h - fetches a set of keys from a URL, again and again, on a thread of its own.
 *
 * Model:     the control thread asks (vv_jwks_fetch_ask) and looks now and then whether an answer has come
 *            (vv_jwks_fetch_take). One fetch at a time, at most 10 s, 256 KiB, three redirects, http and
 *            https only; a certificate that does not hold is an error.
 * Source:    libcurl's easy interface.
 * Threads:   control; the fetching happens elsewhere. Ownership: the answer is the caller's, free().
 */
#ifndef VV_GATEWAY_JWKS_H
#define VV_GATEWAY_JWKS_H
#include "base/err.h"
#include "base/str.h"

struct vv_jwks_fetch;
VV_MUST_CHECK enum vv_err vv_jwks_fetch_new(struct vv_jwks_fetch **ret);
void vv_jwks_fetch_free(struct vv_jwks_fetch *f); /* waits for a fetch under way; NULL is fine */
/* False: one is under way. */
bool vv_jwks_fetch_ask(struct vv_jwks_fetch *f, const char *url);
/* VV_EAGAIN: nothing yet. VV_OK: *ret_text is the document. VV_EIO: reterr_text (256 bytes) says why. */
VV_MUST_CHECK enum vv_err vv_jwks_fetch_take(struct vv_jwks_fetch *f, char **ret_text,
                                             size_t *ret_bytes, char *reterr_text);
#endif
