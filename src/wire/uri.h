/* src/wire/uri.h - URI references: the parts, percent-coding, path normalisation, query parameters.
 * Source: RFC 3986, RFC 9110 section 4. Threads: pure. Ownership: slices borrow the input. */
#ifndef VV_WIRE_URI_H
#define VV_WIRE_URI_H
#include "base/err.h"
#include "base/str.h"

struct vv_uri {
    struct vv_str scheme, userinfo, host, path, query,
        fragment;  /* host without brackets; p NULL: absent */
    uint16_t port; /* 0: none given */
    bool has_port;
};
VV_MUST_CHECK enum vv_err vv_uri_parse(struct vv_str text, struct vv_uri *ret);
/* "host", "host:80", "[::1]:80". *ret_port 0 when absent. */
VV_MUST_CHECK enum vv_err vv_uri_split_authority(struct vv_str authority, struct vv_str *ret_host,
                                                 uint16_t *ret_port);
/* The quick look at most authorities: small letters, digits, dots and hyphens, then nothing (port 0) or a
 * port without leading zeros. False: it may be well-formed all the same, split it. */
bool vv_uri_authority_plain(struct vv_str authority, struct vv_str *ret_host, uint16_t *ret_port);
/* Percent-decodes unreserved characters and resolves dot segments into out (cap >= path.n + 1).
 * "%2e%2e" counts as "..", "//" is kept, "%2f" is kept encoded. VV_ESYNTAX: bad escape, NUL byte, or
 * a path that climbs above the root. Returns the number of bytes through ret_len. */
VV_MUST_CHECK enum vv_err vv_uri_normalise_path(struct vv_str path, char *out, size_t cap,
                                                size_t *ret_len);
/* Decodes everything; VV_ESYNTAX on a bad escape or a NUL. For file names. */
VV_MUST_CHECK enum vv_err vv_uri_decode(struct vv_str s, char *out, size_t cap, size_t *ret_len);
/* First value of a query parameter, still encoded; false when absent. */
bool vv_uri_query_get(struct vv_str query, struct vv_str name, struct vv_str *ret_value);
#endif
