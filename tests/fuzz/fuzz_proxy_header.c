/* tests/fuzz/fuzz_proxy_header.c - PROXY v1 and v2: a prefix never says something else. */
#include "wire/proxy_header.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum vv_err parse_copy(const uint8_t *data, size_t n, struct vv_proxy_header *h)
{
    char *copy = malloc(n > 0 ? n : 1); /* exact, so that a sanitizer sees a read behind the end */
    VV_ASSERT(copy != NULL);
    if (n > 0) {
        memcpy(copy, data, n);
    }
    const enum vv_err err = vv_proxy_header_parse((struct vv_str){copy, n}, h);
    free(copy);
    return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vv_proxy_header whole, part;
    if (size > 6000) {
        return 0;
    }
    const enum vv_err err = parse_copy(data, size, &whole);
    VV_ASSERT(err == VV_OK || err == VV_EAGAIN || err == VV_ESYNTAX);
    VV_ASSERT(err != VV_OK || (whole.bytes > 0 && whole.bytes <= size && whole.bytes <= 4096));
    /* All short prefixes, then steps: a header may be 4,096 bytes long. */
    for (size_t n = 0; n < size; n += n < 128 ? 1 : 61) {
        const enum vv_err short_err = parse_copy(data, n, &part);
        VV_ASSERT(short_err == VV_EAGAIN || short_err == err);
        VV_ASSERT(short_err != VV_OK || (n >= whole.bytes && part.bytes == whole.bytes));
        VV_ASSERT(short_err != VV_OK || part.family == whole.family);
    }
    return 0;
}
