/* src/cache/freshness.c - sums that cannot overflow: every span is cut to 2^31 seconds before it is
 * used. */
#include "cache/freshness.h"
#include "wire/date.h"

#define MS 1000
#define SPAN_MAX_MS ((int64_t)VV_CC_MAX_S * MS)

static int64_t clamp(int64_t v, int64_t max)
{
    return v < 0 ? 0 : v > max ? max : v;
}

static uint32_t parse_age(struct vv_str value)
{
    const struct vv_str first = vv_str_trim(vv_str_cut(&value, ','));
    uint64_t v = 0;
    for (size_t i = 0; i < first.n; i++) {
        if (first.p[i] < '0' || first.p[i] > '9') {
            return 0;
        }
        v = vv_min_u64(v * 10 + (uint64_t)(first.p[i] - '0'), VV_CC_MAX_S);
    }
    return (uint32_t)v;
}

struct vv_cache_times vv_cache_times_of(const struct vv_h1_head *answer, int64_t request_ms,
                                        int64_t response_ms)
{
    struct vv_cache_times t = {.request_ms = request_ms, .response_ms = response_ms};
    const int64_t now_s = response_ms / MS;
    const struct vv_h1_field *f = vv_h1_find(answer, VV_FIELD_DATE);
    if (f == NULL || vv_http_date_parse(f->value, now_s, &t.date_s) != VV_OK) {
        t.date_s = now_s;
    }
    f = vv_h1_find(answer, VV_FIELD_AGE);
    t.age_s = f != NULL ? parse_age(f->value) : 0;
    f = vv_h1_find(answer, VV_FIELD_LAST_MODIFIED);
    t.has_modified = f != NULL && vv_http_date_parse(f->value, now_s, &t.modified_s) == VV_OK;
    return t;
}

uint64_t vv_cache_initial_age_ms(const struct vv_cache_times *t)
{
    const int64_t apparent_ms = clamp(t->response_ms / MS - t->date_s, VV_CC_MAX_S) * MS;
    const int64_t delay_ms = clamp(t->response_ms - t->request_ms, SPAN_MAX_MS);
    const int64_t corrected_ms = (int64_t)t->age_s * MS + delay_ms;
    return (uint64_t)clamp(apparent_ms > corrected_ms ? apparent_ms : corrected_ms, SPAN_MAX_MS);
}

uint64_t vv_cache_age_ms(uint64_t initial_age_ms, int64_t response_ms, int64_t now_ms)
{
    return initial_age_ms + (uint64_t)clamp(now_ms - response_ms, SPAN_MAX_MS);
}

enum vv_fresh_source vv_cache_lifetime(const struct vv_h1_head *answer, const struct vv_cc *cc,
                                       const struct vv_cache_times *t, uint32_t *ret_s)
{
    *ret_s = 0;
    if (cc->number[VV_CC_S_MAXAGE] != VV_CC_UNSET) {
        *ret_s = cc->number[VV_CC_S_MAXAGE];
        return VV_FRESH_S_MAXAGE;
    }
    if (cc->number[VV_CC_MAX_AGE] != VV_CC_UNSET) {
        *ret_s = cc->number[VV_CC_MAX_AGE];
        return VV_FRESH_MAX_AGE;
    }
    const struct vv_h1_field *f = cc->targeted ? NULL : vv_h1_find(answer, VV_FIELD_EXPIRES);
    if (f == NULL) {
        return VV_FRESH_NONE;
    }
    int64_t expires_s = 0;
    if (vv_http_date_parse(f->value, t->response_ms / MS, &expires_s) == VV_OK) {
        *ret_s = (uint32_t)clamp(expires_s - t->date_s, VV_CC_MAX_S);
    }
    return VV_FRESH_EXPIRES;
}

uint32_t vv_cache_heuristic_s(const struct vv_cache_times *t, uint32_t ppm, uint32_t max_s)
{
    if (!t->has_modified) {
        return 0;
    }
    const uint64_t old_s = (uint64_t)clamp(t->date_s - t->modified_s, VV_CC_MAX_S);
    return (uint32_t)vv_min_u64(old_s * ppm / VV_PPM, max_s);
}

bool vv_cache_status_heuristic(int status)
{
    static const int known[] = {200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501};
    for (size_t i = 0; i < VV_COUNT(known); i++) {
        if (status == known[i]) {
            return true;
        }
    }
    return false;
}
