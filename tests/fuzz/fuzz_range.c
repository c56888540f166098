/* tests/fuzz/fuzz_range.c - ranges that are handed out lie inside the whole, rise, and do not overlap;
 * tags of an If-None-Match list are found however the list goes on. */
#include "base/defs.h"
#include "wire/conditional.h"
#include "wire/range.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t whole = 0;
    if (size < sizeof whole) {
        return 0;
    }
    memcpy(&whole, data, sizeof whole);
    const struct vv_str value = {(const char *)data + sizeof whole, size - sizeof whole};
    struct vv_ranges ranges;
    if (vv_range_parse(value, whole, &ranges) == VV_RANGE_PARTS) {
        uint64_t end = 0;
        VV_ASSERT(ranges.count >= 1 && ranges.count <= VV_RANGES_MAX);
        for (uint32_t i = 0; i < ranges.count; i++) {
            const struct vv_range r = ranges.range[i];
            VV_ASSERT(r.bytes > 0 && r.first >= end && r.first < whole);
            VV_ASSERT(r.bytes <= whole - r.first);
            end = r.first + r.bytes;
        }
    }
    const struct vv_str tag = VV_STR("\"t\"");
    /* What is found strongly is found weakly too. */
    VV_ASSERT(!vv_etag_in(value, tag, false) || vv_etag_in(value, tag, true));
    return 0;
}
