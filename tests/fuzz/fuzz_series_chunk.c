/* tests/fuzz/fuzz_series_chunk.c - any bytes can be read; what they hold goes into another chunk and
 * comes out of it the same. */
#include <string.h>

#include "series/chunk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t buf[65536];
    struct vv_chunk_reader one, two;
    struct vv_chunk copy;
    int64_t t = 0, t2 = 0, before = INT64_MIN;
    double v = 0, v2 = 0;
    if (size > 4096) {
        return 0;
    }
    vv_chunk_init(&copy, buf, sizeof buf);
    vv_chunk_read(&one, data, size, UINT32_MAX);
    while (vv_chunk_next(&one, &t, &v) == VV_OK) {
        VV_ASSERT(t > before);
        before = t;
        if (vv_chunk_add(&copy, t, v) != VV_OK) {
            break;
        }
    }
    vv_chunk_read(&one, data, size, copy.n);
    vv_chunk_read(&two, buf, vv_chunk_bytes(&copy), copy.n);
    for (uint32_t i = 0; i < copy.n; i++) {
        VV_ASSERT(vv_chunk_next(&one, &t, &v) == VV_OK);
        VV_ASSERT(vv_chunk_next(&two, &t2, &v2) == VV_OK);
        VV_ASSERT(t == t2 && memcmp(&v, &v2, sizeof v) == 0);
    }
    VV_ASSERT(vv_chunk_next(&two, &t2, &v2) == VV_ENOENT);
    return 0;
}
