/* src/wire/range.h - the Range field of a request: which bytes of a representation are wanted.
 *
 * Model:     up to VV_RANGES_MAX byte ranges, cut to the size of the representation, in rising order
 *            and without overlap. Anything else that is well-formed but costs more than it brings
 *            (more ranges, overlapping or falling ones) is ignored as section 14.2 allows, and the
 *            whole is sent.
 * Source:    RFC 9110 sections 14.1 and 14.2. Units: bytes. Threads: pure.
 */
#ifndef VV_WIRE_RANGE_H
#define VV_WIRE_RANGE_H
#include "base/str.h"

#define VV_RANGES_MAX 8

struct vv_range {
    uint64_t first, bytes; /* bytes > 0 */
};
struct vv_ranges {
    uint32_t count;
    struct vv_range range[VV_RANGES_MAX];
};

enum vv_range_result {
    VV_RANGE_IGNORE,        /* not understood, malformed or abusive: 200 with the whole */
    VV_RANGE_UNSATISFIABLE, /* 416 */
    VV_RANGE_PARTS,         /* 206 with count >= 1 ranges */
};
/* `value` of the one Range field, `size` of the whole. *ret is set only for VV_RANGE_PARTS. */
enum vv_range_result vv_range_parse(struct vv_str value, uint64_t size, struct vv_ranges *ret);
#endif
