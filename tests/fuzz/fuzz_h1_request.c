/* tests/fuzz/fuzz_h1_request.c - the request parser answers the same however reads are cut. */
#include "fuzz_h1_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum vv_err parse(struct vv_h1_head *h, struct vv_str bytes, uint8_t choice)
{
    (void)choice;
    const enum vv_err err = vv_h1_parse_request(h, bytes, &fuzz_limits);
    VV_ASSERT(err != VV_OK || h->framing <= VV_H1_BODY_CHUNKED); /* none ends with the connection */
    return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return check_all_cuts(parse, data, size);
}
