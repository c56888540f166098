/* src/base/units.h - durations, sizes, rates and shares as a user writes them.
 *
 * Durations: ns us ms s m h d w, one number with an optional fraction ("1.5s", "500ms", "7d").
 * Sizes:     B, KB MB GB TB (and K M G T, KiB...), all powers of 1024, case-insensitive ("4gb").
 * Rates:     "100/s", "10000/h", "5/m", "7/d".      Shares: "99.9%" (parts per million).
 * A bare number is VV_EINVAL ("needs a unit"), anything else malformed VV_ESYNTAX, too large
 * VV_ERANGE. "0" alone is allowed for durations and sizes: zero has no unit.
 */
#ifndef VV_BASE_UNITS_H
#define VV_BASE_UNITS_H
#include "base/err.h"
#include "base/str.h"

VV_MUST_CHECK enum vv_err vv_parse_duration(struct vv_str s, uint64_t *ret_ns);
VV_MUST_CHECK enum vv_err vv_parse_size(struct vv_str s, uint64_t *ret_bytes);
VV_MUST_CHECK enum vv_err vv_parse_ppm(struct vv_str s, uint64_t *ret_ppm);
struct vv_rate {
    uint64_t count, per_ns;
};
VV_MUST_CHECK enum vv_err vv_parse_rate(struct vv_str s, struct vv_rate *ret);
/* Shortest exact form, as a user would write it ("90s" prints "90s", 3600 s prints "1h").
 * buf_bytes is at least 32. */
const char *vv_format_duration(uint64_t ns, char *buf, size_t buf_bytes);
const char *vv_format_size(uint64_t bytes, char *buf, size_t buf_bytes);
const char *vv_format_ppm(uint64_t ppm, char *buf, size_t buf_bytes);
#endif
