/* tests/fuzz/fuzz_h1_request.c - the request parser answers the same however reads are cut. */
#include "fuzz_h1_check.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Bytes 0 and 1 choose where the second and the third read start. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct vv_h1_head whole, parts;
    if (size < 3 || size > 16384) {
        return 0;
    }
    const char *base = (const char *)data + 2;
    const size_t n = size - 2;
    vv_h1_head_init(&whole);
    const enum vv_err one = vv_h1_parse_request(&whole, (struct vv_str){base, n}, &fuzz_limits);
    if (one == VV_OK) {
        check_head(&whole, base, n);
        VV_ASSERT(whole.framing <= VV_H1_BODY_CHUNKED);
    }
    VV_ASSERT((one == VV_ESYNTAX) == (whole.error != VV_H1_FINE));

    const size_t first = 1 + data[0] % n, second = first + (n - first) * data[1] / 256;
    const size_t ends[] = {first, second, n};
    enum vv_err two = VV_EAGAIN;
    char *copy = NULL;
    vv_h1_head_init(&parts);
    for (size_t i = 0; i < VV_COUNT(ends) && two == VV_EAGAIN; i++) {
        free(copy);
        copy = malloc(ends[i]); /* exact and in a new place every time */
        VV_ASSERT(copy != NULL);
        memcpy(copy, base, ends[i]);
        two = vv_h1_parse_request(&parts, (struct vv_str){copy, ends[i]}, &fuzz_limits);
    }
    VV_ASSERT(one == two && whole.error == parts.error);
    if (one == VV_OK) {
        check_same_head(&whole, base, &parts, copy);
    }
    free(copy);
    return 0;
}
