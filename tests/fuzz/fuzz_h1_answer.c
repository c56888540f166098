/* tests/fuzz/fuzz_h1_answer.c - the answer parser answers the same however reads are cut. */
#include "fuzz_h1_check.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Bytes 0 and 1 choose where the second and the third read start; byte 0 also the request method. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct vv_h1_head whole, parts;
    if (size < 3 || size > 16384) {
        return 0;
    }
    const char *base = (const char *)data + 2;
    const size_t n = size - 2;
    static const enum vv_method methods[] = {VV_METHOD_GET, VV_METHOD_HEAD, VV_METHOD_CONNECT};
    const enum vv_method method = methods[data[0] % 3];
    vv_h1_head_init(&whole);
    const enum vv_err one =
        vv_h1_parse_answer(&whole, (struct vv_str){base, n}, method, &fuzz_limits);
    if (one == VV_OK) {
        check_head(&whole, base, n);
        VV_ASSERT(whole.status >= 100 && whole.status <= 599);
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
        two = vv_h1_parse_answer(&parts, (struct vv_str){copy, ends[i]}, method, &fuzz_limits);
    }
    VV_ASSERT(one == two && whole.error == parts.error);
    if (one == VV_OK) {
        check_same_head(&whole, base, &parts, copy);
    }
    free(copy);
    return 0;
}
