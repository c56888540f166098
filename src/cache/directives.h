/* src/cache/directives.h - Cache-Control and its relatives: what both sides say about caching.
 *
 * Model:     all fields of one message become one struct; of a repeated directive the most
 *            restrictive counts (the lowest age, the highest min-fresh). A max-age or s-maxage that
 *            is no number counts as 0: stale. Numbers over 2^31 count as 2^31.
 * Source:    RFC 9111 sections 1.2.2, 4.2.1, 5.2 and 5.4, RFC 5861, RFC 8246, RFC 9213 with
 *            RFC 8941 (structured fields), Edge Architecture Specification 1.0 (Surrogate-Control).
 * Units:     *_s are seconds; VV_CC_UNSET: not said.
 * Threads:   pure. Ownership: slices borrow the head's bytes.
 */
#ifndef VV_CACHE_DIRECTIVES_H
#define VV_CACHE_DIRECTIVES_H
#include "wire/http1.h"

#define VV_CC_UNSET UINT32_MAX
#define VV_CC_MAX_S (UINT32_C(1) << 31)
#define VV_CC_LISTS_MAX 4

/* VV_CC_FLAG(id, name): directives without a number; a row is a bit. */
#define VV_CC_FLAGS(X)                                                                             \
    X(NO_STORE, "no-store")                                                                        \
    X(NO_CACHE, "no-cache")                                                                        \
    X(PRIVATE, "private")                                                                          \
    X(PUBLIC, "public")                                                                            \
    X(MUST_REVALIDATE, "must-revalidate")                                                          \
    X(PROXY_REVALIDATE, "proxy-revalidate")                                                        \
    X(MUST_UNDERSTAND, "must-understand")                                                          \
    X(NO_TRANSFORM, "no-transform")                                                                \
    X(ONLY_IF_CACHED, "only-if-cached")                                                            \
    X(IMMUTABLE, "immutable")
enum vv_cc_flag {
#define VV_CC_FLAG(id, name) VV_CC_##id,
    VV_CC_FLAGS(VV_CC_FLAG)
#undef VV_CC_FLAG
        VV_CC_FLAG_COUNT
};

/* VV_CC_NUMBER(id, name): directives with delta-seconds. */
#define VV_CC_NUMBERS(X)                                                                           \
    X(MAX_AGE, "max-age")                                                                          \
    X(S_MAXAGE, "s-maxage")                                                                        \
    X(MIN_FRESH, "min-fresh")                                                                      \
    X(MAX_STALE, "max-stale")                                                                      \
    X(STALE_WHILE_REVALIDATE, "stale-while-revalidate")                                            \
    X(STALE_IF_ERROR, "stale-if-error")
enum vv_cc_number {
#define VV_CC_NUMBER(id, name) VV_CC_##id,
    VV_CC_NUMBERS(VV_CC_NUMBER)
#undef VV_CC_NUMBER
        VV_CC_NUMBER_COUNT
};

struct vv_cc_fields { /* the lists of no-cache="a, b" or private="c" */
    struct vv_str list[VV_CC_LISTS_MAX];
    uint32_t count;
};

struct vv_cc {
    uint32_t flags; /* bits of enum vv_cc_flag; NO_CACHE and PRIVATE only without a field list */
    uint32_t number[VV_CC_NUMBER_COUNT]; /* seconds, VV_CC_UNSET */
    struct vv_cc_fields no_cache, private_fields;
    bool present; /* a field of the family is there */
    /* From a targeted field: Cache-Control and Expires do not count (RFC 9213 section 2.2). */
    bool targeted;
};

static inline bool vv_cc_has(const struct vv_cc *cc, enum vv_cc_flag flag)
{
    return (cc->flags >> flag & 1) != 0;
}

void vv_cc_init(struct vv_cc *cc);
/* Adds one Cache-Control value (RFC 9111 section 5.2). */
void vv_cc_add(struct vv_cc *cc, struct vv_str value);
/* Reads a targeted field: a dictionary (RFC 9213 section 2.1, RFC 8941 section 3.2), in which the
 * last of a repeated key counts. False: malformed or empty, then *cc is untouched and the field
 * must be ignored. Values of a wrong type count as absent. */
VV_MUST_CHECK bool vv_cc_read_targeted(struct vv_cc *cc, struct vv_str value);
/* Adds one Surrogate-Control value: like Cache-Control, and max-age=60+30 adds 30 seconds in which
 * a stale answer may be sent (Edge Architecture Specification section 2.2). */
void vv_cc_add_surrogate(struct vv_cc *cc, struct vv_str value);

/* Of a request; without Cache-Control, Pragma: no-cache counts (RFC 9111 section 5.4). */
void vv_cc_of_request(const struct vv_h1_head *req, struct vv_cc *ret);
/* Of an answer: the first field of `targets` that is there and well-formed, else Surrogate-Control
 * if `surrogate`, else Cache-Control (RFC 9213 section 2.2). */
void vv_cc_of_answer(const struct vv_h1_head *answer, const struct vv_str *targets,
                     size_t targets_count, bool surrogate, struct vv_cc *ret);
/* Is a field name in the lists? Case-insensitive (RFC 9111 sections 5.2.2.4 and 5.2.2.7). */
bool vv_cc_fields_have(const struct vv_cc_fields *fields, struct vv_str name);
#endif
