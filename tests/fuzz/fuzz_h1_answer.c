/* tests/fuzz/fuzz_h1_answer.c - the answer parser answers the same however reads are cut. */
#include "fuzz_h1_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum vv_err parse(struct vv_h1_head *h, struct vv_str bytes, uint8_t choice)
{
    static const enum vv_method methods[] = {VV_METHOD_GET, VV_METHOD_HEAD, VV_METHOD_CONNECT};
    const enum vv_err err =
        vv_h1_parse_answer(h, bytes, methods[choice % VV_COUNT(methods)], &fuzz_limits);
    VV_ASSERT(err != VV_OK || (h->status >= 100 && h->status <= 599));
    return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return check_all_cuts(parse, data, size);
}
