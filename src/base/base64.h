/* src/base/base64.h - bytes as text for credentials: strict both ways.
 *
 * Model:   one text for the same bytes: no white space, no stray bits at the end, padding as the kind
 *          says. What is not exactly that is refused, so that two texts never mean the same token.
 * Source:  RFC 4648 sections 4 (padded) and 5 (for URLs; RFC 7515 section 2: without padding).
 * Threads: pure.
 */
#ifndef VV_BASE_BASE64_H
#define VV_BASE_BASE64_H
#include "base/err.h"
#include "base/str.h"

enum vv_base64 {
    VV_BASE64,    /* "+/" with padding */
    VV_BASE64_URL /* "-_" without */
};
/* How many bytes n bytes become at most, either way. */
#define VV_BASE64_TEXT(n) (((n) + 2) / 3 * 4)
/* VV_ESYNTAX; VV_ERANGE: out is too small. */
VV_MUST_CHECK enum vv_err vv_base64_decode(enum vv_base64 kind, struct vv_str text, void *out,
                                           size_t out_bytes, size_t *ret_n);
/* out has room for VV_BASE64_TEXT(n); returns the length, no NUL. */
size_t vv_base64_encode(enum vv_base64 kind, const void *bytes, size_t n, char *out);
#endif
