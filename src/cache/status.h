/* src/cache/status.h - telling the client, and the log, what the cache did.
 *
 * Model:     a plain struct becomes the value of Cache-Status: one list member with parameters.
 * Source:    RFC 9211 section 2, RFC 8941 sections 3.3 and 4.1 (strings and tokens).
 * Threads:   pure.
 */
#ifndef VV_CACHE_STATUS_H
#define VV_CACHE_STATUS_H
#include "base/str.h"

/* VV_CACHE_FWD(id, name): why the request went on (RFC 9211 section 2.2). */
#define VV_CACHE_FWDS(X)                                                                           \
    X(NONE, "")                                                                                    \
    X(BYPASS, "bypass")                                                                            \
    X(METHOD, "method")                                                                            \
    X(URI_MISS, "uri-miss")                                                                        \
    X(VARY_MISS, "vary-miss")                                                                      \
    X(MISS, "miss")                                                                                \
    X(REQUEST, "request")                                                                          \
    X(STALE, "stale")                                                                              \
    X(PARTIAL, "partial")
enum vv_cache_fwd {
#define VV_CACHE_FWD(id, name) VV_CACHE_FWD_##id,
    VV_CACHE_FWDS(VV_CACHE_FWD)
#undef VV_CACHE_FWD
        VV_CACHE_FWD_COUNT
};

struct vv_cache_status {
    struct vv_str cache;   /* name of this cache */
    bool hit;              /* section 2.1; then fwd does not count */
    enum vv_cache_fwd fwd; /* section 2.2 */
    int fwd_status;        /* section 2.3; 0: not said */
    bool has_ttl;
    int64_t ttl_s;                     /* section 2.4; negative: stale */
    bool stored;                       /* section 2.5 */
    bool collapsed;                    /* section 2.6 */
    struct vv_str key;                 /* section 2.7; p NULL: not said */
    struct vv_str detail;              /* section 2.8; p NULL: not said */
    bool stale, updating, revalidated; /* for the word only */
};
/* Writes the value; returns its length, 0: `cap` is too small. Bytes that no string may hold become
 * "?" (RFC 8941 section 3.3.3). */
size_t vv_cache_status_write(const struct vv_cache_status *s, char *out, size_t cap);
/* One of MISS HIT EXPIRED STALE UPDATING REVALIDATED BYPASS, as users of nginx know them. */
const char *vv_cache_status_word(const struct vv_cache_status *s);
#endif
