/* src/cache/key.h - the primary key: which requests may share an answer.
 *
 * Model:     scheme://host[:port]path[?query], the target URI as it goes upstream, with the host in
 *            lower case and without the scheme's own port. GET and HEAD share it; another method
 *            stands in front. Keys of any other form are gateway/template.h's.
 * Source:    RFC 9111 section 2 (cache key), RFC 9110 section 4.2.3 (equal URIs).
 * Threads:   pure. Errors: VV_ERANGE when `cap` is too small, VV_EINVAL as said.
 */
#ifndef VV_CACHE_KEY_H
#define VV_CACHE_KEY_H
#include "wire/http1.h"

#define VV_KEY_PARAMETERS_MAX 64

struct vv_key_rules {
    bool ignore_query;
    bool sort_query;           /* by name; values of one name keep their order */
    const struct vv_str *drop; /* parameters that do not count; "utm_*": all that start so */
    size_t drop_count;
};

struct vv_key_parts { /* borrowed */
    enum vv_method method;
    struct vv_str method_text;
    struct vv_str scheme, authority, path, query; /* query.p NULL: none */
    struct vv_str body; /* of a method other than GET and HEAD, opt-in; p NULL: none */
};

/* The key's bytes (section 2). A body is part of the key as it is, behind a zero byte: two bodies
 * are one only if they are equal, which no digest can promise. VV_EINVAL: the authority is
 * malformed. A query of more than VV_KEY_PARAMETERS_MAX parameters is not sorted. */
VV_MUST_CHECK enum vv_err vv_key_build(const struct vv_key_parts *parts,
                                       const struct vv_key_rules *rules, char *out, size_t cap,
                                       size_t *ret_n);
#endif
