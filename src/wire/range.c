/* src/wire/range.c - positions saturate instead of failing: a number too big for 64 bits is behind the
 * end of every file, which is all that has to be known about it. */
#include "wire/range.h"

#define UNIT "bytes="

/* Digits at the front of *s, which moves on. False: there is none. */
static bool take_number(struct vv_str *s, uint64_t *ret)
{
    uint64_t v = 0;
    size_t i = 0;
    for (; i < s->n && s->p[i] >= '0' && s->p[i] <= '9'; i++) {
        const uint64_t digit = (uint64_t)(s->p[i] - '0');
        v = v > (UINT64_MAX - digit) / 10 ? UINT64_MAX : v * 10 + digit;
    }
    *s = (struct vv_str){s->p + i, s->n - i};
    *ret = v;
    return i > 0;
}

static bool take_dash(struct vv_str *s)
{
    if (s->n == 0 || s->p[0] != '-') {
        return false;
    }
    *s = (struct vv_str){s->p + 1, s->n - 1};
    return true;
}

/* One range-spec. False: malformed. ret->bytes is 0 when no byte of the whole is in it. */
static bool parse_spec(struct vv_str s, uint64_t size, struct vv_range *ret)
{
    uint64_t first = 0;
    uint64_t last = UINT64_MAX;
    if (take_dash(&s)) { /* the last n bytes */
        uint64_t n = 0;
        if (!take_number(&s, &n) || s.n > 0) {
            return false;
        }
        ret->bytes = n < size ? n : size;
        ret->first = size - ret->bytes;
        return true;
    }
    if (!take_number(&s, &first) || !take_dash(&s)) {
        return false;
    }
    if (s.n > 0 && (!take_number(&s, &last) || s.n > 0 || last < first)) {
        return false;
    }
    if (first >= size) {
        *ret = (struct vv_range){first, 0};
        return true;
    }
    last = last < size ? last : size - 1;
    *ret = (struct vv_range){first, last - first + 1};
    return true;
}

enum vv_range_result vv_range_parse(struct vv_str value, uint64_t size, struct vv_ranges *ret)
{
    const size_t unit_bytes = sizeof UNIT - 1;
    if (size == 0 || value.n < unit_bytes ||
        !vv_str_eq_nocase((struct vv_str){value.p, unit_bytes}, VV_STR(UNIT))) {
        return VV_RANGE_IGNORE; /* of nothing there is no part: the empty whole is the answer */
    }
    struct vv_str rest = {value.p + unit_bytes, value.n - unit_bytes};
    struct vv_ranges found = {0};
    uint64_t end = 0; /* of the last range that was found */
    size_t specs = 0;
    while (rest.n > 0) {
        struct vv_range r;
        const struct vv_str spec = vv_str_trim(vv_str_cut(&rest, ','));
        if (spec.n == 0) {
            continue; /* empty list members are tolerated, RFC 9110 section 5.6.1.2 */
        }
        if (++specs > VV_RANGES_MAX || !parse_spec(spec, size, &r)) {
            return VV_RANGE_IGNORE;
        }
        if (r.bytes == 0) {
            continue;
        }
        if (r.first < end) {
            return VV_RANGE_IGNORE;
        }
        end = r.first + r.bytes;
        found.range[found.count++] = r;
    }
    if (found.count == 0) {
        return specs > 0 ? VV_RANGE_UNSATISFIABLE : VV_RANGE_IGNORE;
    }
    *ret = found;
    return VV_RANGE_PARTS;
}
