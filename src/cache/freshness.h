/* src/cache/freshness.h - the arithmetic of age and freshness.
 *
 * Model:     numbers in, numbers out. Ages that the protocol gives in seconds are counted in
 *            milliseconds here, so that an answer with max-age=1 is fresh for a whole second; the
 *            apparent age stays in whole seconds, since Date has no smaller unit.
 * Source:    RFC 9111 sections 4.2.1, 4.2.2 and 4.2.3, 5.1 (Age), 5.3 (Expires).
 * Units:     *_ms of instants are milliseconds since 1970, of spans milliseconds; *_s seconds.
 * Threads:   pure.
 */
#ifndef VV_CACHE_FRESHNESS_H
#define VV_CACHE_FRESHNESS_H
#include "cache/directives.h"

struct vv_cache_times { /* of one exchange with the origin */
    int64_t request_ms, response_ms;
    int64_t date_s;     /* of the Date field, else of response_ms (RFC 9110 section 6.6.1) */
    uint32_t age_s;     /* of the Age field; 0 without a valid one */
    int64_t modified_s; /* Last-Modified */
    bool has_modified;
};

/* Reads Date, Age and Last-Modified. Age may not be negative or a list: the first member counts if
 * it is a number, else the field is ignored (section 5.1). */
struct vv_cache_times vv_cache_times_of(const struct vv_h1_head *answer, int64_t request_ms,
                                        int64_t response_ms);
/* corrected_initial_age (section 4.2.3). */
uint64_t vv_cache_initial_age_ms(const struct vv_cache_times *t);
/* current_age (section 4.2.3). A clock that went back counts as no time. */
uint64_t vv_cache_age_ms(uint64_t initial_age_ms, int64_t response_ms, int64_t now_ms);

enum vv_fresh_source {                /* which rule of section 4.2.1 gave the lifetime */
                       VV_FRESH_NONE, /* nothing was said */
                       VV_FRESH_S_MAXAGE,
                       VV_FRESH_MAX_AGE,
                       VV_FRESH_EXPIRES,
                       VV_FRESH_HEURISTIC,
                       VV_FRESH_CONFIG,
};
/* freshness_lifetime in seconds (section 4.2.1) without heuristics. Expires that is no date is in
 * the past (section 5.3); a targeted field switches Expires off (RFC 9213 section 2.2). */
enum vv_fresh_source vv_cache_lifetime(const struct vv_h1_head *answer, const struct vv_cc *cc,
                                       const struct vv_cache_times *t, uint32_t *ret_s);
/* Heuristic lifetime (section 4.2.2): `ppm` of the time since Last-Modified, at most max_s. 0
 * without that field. */
uint32_t vv_cache_heuristic_s(const struct vv_cache_times *t, uint32_t ppm, uint32_t max_s);
/* Status codes that may be kept without explicit freshness (RFC 9110 section 15.1); 206 is among
 * them but not kept here as a whole. */
bool vv_cache_status_heuristic(int status);
#endif
