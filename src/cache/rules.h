/* src/cache/rules.h - the two questions of a shared cache: may this answer be kept, and may a kept
 * answer be sent for this request?
 *
 * Model:     vv_cache_judge_store() reads the heads once and leaves what matters later in a plain
 *            struct of facts, which is kept beside the object; vv_cache_judge_use() needs only the
 *            facts, the directives of the request and the time. Every verdict is a table row with
 *            the section that decided.
 * Source:    RFC 9111 sections 3 to 3.5, 4, 4.2, 5.2; RFC 5861; RFC 8246; RFC 9213. Beyond it:
 *            answers with Set-Cookie are kept only if public or by option (RFC 9111 section 7.3
 *            warns of them), and stale-while-revalidate beside s-maxage is obeyed though section
 *            5.2.2.10 lets s-maxage forbid stale answers: the origin said both, about different
 *            times.
 * Units:     *_s seconds, *_ms milliseconds, instants since 1970. Threads: pure.
 */
#ifndef VV_CACHE_RULES_H
#define VV_CACHE_RULES_H
#include "cache/freshness.h"

struct vv_cache_ttl {
    int status_min, status_max;
    uint32_t ttl_s;
    bool override; /* also against what the origin says; else only if it says nothing */
};

struct vv_cache_options {   /* borrowed from the settings */
    uint32_t heuristic_ppm; /* of the time since Last-Modified; 0: no heuristics */
    uint32_t heuristic_max_s;
    uint32_t ttl_max_s;                                  /* no lifetime is longer; 0: no limit */
    uint32_t stale_while_revalidate_s, stale_if_error_s; /* if the origin is silent about it */
    const struct vv_cache_ttl *ttl;                      /* the first that fits */
    size_t ttl_count;
    const struct vv_str *targets; /* targeted fields in order (RFC 9213 section 2.2) */
    size_t targets_count;
    bool surrogate;       /* read Surrogate-Control */
    bool ignore_request;  /* directives of requests do not count (a gateway acts for the origin) */
    bool keep_set_cookie; /* keep answers with Set-Cookie */
    bool keep_authorized; /* keep answers to Authorization: only with it in the key */
    bool credentials;     /* the request had some in another field: it counts as Authorization */
    bool keep_post;       /* POST with the body in the key */
};
/* 10 %, at most a day; CDN-Cache-Control, then Surrogate-Control. */
extern const struct vv_cache_options vv_cache_options_default;

/* VV_STORE_WHY(id, name, text) */
#define VV_STORE_WHYS(X)                                                                           \
    X(STORED, "stored", "may be kept (RFC 9111 3)")                                                \
    X(METHOD, "method", "answers to this method are not kept (RFC 9111 3)")                        \
    X(STATUS, "status", "not a final answer of its own (RFC 9111 3)")                              \
    X(PARTIAL, "partial", "a part is not kept as the whole (RFC 9111 3.3)")                        \
    X(REQUEST_NO_STORE, "request-no-store", "the request says no-store (RFC 9111 5.2.1.5)")        \
    X(NO_STORE, "no-store", "the answer says no-store (RFC 9111 5.2.2.5)")                         \
    X(NOT_UNDERSTOOD, "must-understand", "status not understood (RFC 9111 5.2.2.3)")               \
    X(PRIVATE, "private", "the answer is for one user (RFC 9111 5.2.2.7)")                         \
    X(AUTHORIZATION, "authorization", "the request had credentials (RFC 9111 3.5)")                \
    X(SET_COOKIE, "set-cookie", "the answer sets a cookie (RFC 9111 7.3)")                         \
    X(VARY_STAR, "vary-star", "varies by what no request shows (RFC 9111 4.1)")                    \
    X(NO_FRESHNESS, "no-freshness", "nothing says how long (RFC 9111 3)")                          \
    X(USELESS, "useless", "stale on arrival, cannot be validated (RFC 9111 4.2)")
enum vv_store_why {
#define VV_STORE_WHY(id, name, text) VV_STORE_WHY_##id,
    VV_STORE_WHYS(VV_STORE_WHY)
#undef VV_STORE_WHY
        VV_STORE_WHY_COUNT
};

/* VV_USE_WHY(id, name, text) */
#define VV_USE_WHYS(X)                                                                             \
    X(FRESH, "fresh", "within its lifetime (RFC 9111 4.2)")                                        \
    X(MAX_STALE, "max-stale", "the request takes it stale (RFC 9111 5.2.1.2)")                     \
    X(WHILE_REVALIDATE, "stale-while-revalidate", "stale, being renewed (RFC 5861 3)")             \
    X(IF_ERROR, "stale-if-error", "stale, the origin fails (RFC 5861 4)")                          \
    X(STALE, "stale", "past its lifetime (RFC 9111 4.2.4)")                                        \
    X(NO_CACHE, "no-cache", "validated at every use (RFC 9111 5.2.2.4)")                           \
    X(REQUEST_NO_CACHE, "request-no-cache", "the request says no-cache (RFC 9111 5.2.1.4)")        \
    X(REQUEST_MAX_AGE, "request-max-age", "older than the request takes (RFC 9111 5.2.1.1)")       \
    X(REQUEST_MIN_FRESH, "request-min-fresh", "not fresh for long enough (RFC 9111 5.2.1.3)")      \
    X(PURGED, "purged", "softly purged")                                                           \
    X(ABSENT, "absent", "nothing is stored (RFC 9111 4)")
enum vv_use_why {
#define VV_USE_WHY(id, name, text) VV_USE_WHY_##id,
    VV_USE_WHYS(VV_USE_WHY)
#undef VV_USE_WHY
        VV_USE_WHY_COUNT
};
extern const struct vv_cache_why_info {
    const char *name, *text;
} vv_store_whys[VV_STORE_WHY_COUNT], vv_use_whys[VV_USE_WHY_COUNT];

struct vv_cache_facts { /* kept with the object: plain bytes, no pointers */
    int64_t response_ms;
    uint64_t initial_age_ms;
    int64_t date_s, modified_s; /* modified_s only if has_modified */
    uint32_t lifetime_s, while_revalidate_s, if_error_s;
    uint16_t status;
    uint8_t source; /* enum vv_fresh_source */
    bool has_modified, has_etag;
    bool no_cache;        /* unqualified */
    bool must_revalidate; /* or proxy-revalidate: never stale (sections 5.2.2.2 and 5.2.2.8) */
    bool s_maxage;        /* stale only where the answer itself allows it (section 5.2.2.10) */
    bool immutable;       /* RFC 8246 */
};

/* May the answer be kept (sections 3, 3.3, 3.5)? *ret_facts is set only for VV_STORE_WHY_STORED;
 * `cc` is vv_cc_of_answer(). Fields that may not be kept are vv_cache_keeps_field()'s matter. */
enum vv_store_why vv_cache_judge_store(const struct vv_h1_head *req, const struct vv_cc *req_cc,
                                       const struct vv_h1_head *answer, const struct vv_cc *cc,
                                       const struct vv_cache_options *o, int64_t request_ms,
                                       int64_t response_ms, struct vv_cache_facts *ret_facts);
/* The facts of an answer that is known to be kept, or was renewed by a 304 (section 4.3.4). */
struct vv_cache_facts vv_cache_facts_of(const struct vv_h1_head *answer, const struct vv_cc *cc,
                                        const struct vv_cache_options *o, int64_t request_ms,
                                        int64_t response_ms);
/* Is the cache asked at all for this request (section 4: methods)? */
bool vv_cache_serves(const struct vv_h1_head *req, const struct vv_cache_options *o);

enum vv_use_result {
    VV_USE_FRESH,
    VV_USE_STALE,            /* allowed by max-stale */
    VV_USE_WHILE_REVALIDATE, /* send it now and renew it behind */
    VV_USE_REVALIDATE,       /* ask the origin first */
    VV_USE_MISS,
    VV_USE_GATEWAY_TIMEOUT, /* only-if-cached: 504 (section 5.2.1.7) */
};
struct vv_use {
    enum vv_use_result result;
    enum vv_use_why why;
    uint64_t age_ms; /* for the Age field, in seconds rounded down */
    int64_t ttl_ms;  /* what is left of the lifetime; negative: stale for so long */
};
/* May the stored answer, whose keys match, be sent (section 4)? `soft`: softly purged, stale from
 * now. facts NULL: nothing matched. */
struct vv_use vv_cache_judge_use(const struct vv_cache_facts *facts, const struct vv_cc *req_cc,
                                 const struct vv_cache_options *o, bool soft, int64_t now_ms);
/* The origin failed: may the stored answer be sent all the same (RFC 5861 section 4, RFC 9111
 * 4.2.4)? `status` is the failure: 500, 502, 503 or 504 count; 0: no answer came. */
bool vv_cache_serves_on_error(const struct vv_cache_facts *facts, const struct vv_cc *req_cc,
                              const struct vv_cache_options *o, int status, bool soft,
                              int64_t now_ms);
/* How long the object can be of use after `now_ms` of storing: fresh, stale, or to be validated for
 * `validate_s` more. */
uint64_t vv_cache_keep_s(const struct vv_cache_facts *facts, uint32_t validate_s);
#endif
