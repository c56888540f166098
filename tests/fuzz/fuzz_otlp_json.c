/* tests/fuzz/fuzz_otlp_json.c - what is accepted packs, unpacks, is written and read again. */
#include "trace/otlp.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool count(void *user, const struct vv_span *s)
{
    size_t *n = user;
    (*n)++;
    VV_ASSERT(s->attr_count <= VV_SPAN_ATTRS_MAX && s->start_ns > 0);
    return true;
}

static bool again(void *user, const struct vv_span *s)
{
    static uint8_t buf[VV_SPAN_PACKED_MAX];
    static struct vv_span_attr attrs[VV_SPAN_ATTRS_MAX];
    struct vv_otlp_limits limits = {
        .bytes_max = 1 << 20, .values_max = 100000, .depth_max = 64, .spans_max = 10};
    const struct vv_otlp_resource r = {.service = VV_STR("s")};
    struct vv_otlp_result result;
    struct vv_sb out = VV_SB_INIT;
    struct vv_span copy;
    size_t n = 0;
    const size_t bytes = vv_span_pack(s, buf);
    VV_ASSERT(vv_span_unpack((struct vv_str){(char *)buf, bytes}, &copy, attrs) == VV_OK);
    vv_otlp_write(&copy, 1, &r, &out);
    VV_ASSERT(!out.failed);
    VV_ASSERT(vv_otlp_read(vv_sb_str(&out), &limits, count, &n, &result) == VV_OK);
    VV_ASSERT(n == 1 && result.rejected == 0);
    vv_sb_fini(&out);
    return user == NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct vv_otlp_limits limits = {
        .bytes_max = 65536, .values_max = 5000, .depth_max = 40, .spans_max = 50};
    struct vv_otlp_result result;
    struct vv_str json = {(const char *)data, size};
    const enum vv_err err = vv_otlp_read(json, &limits, again, NULL, &result);
    VV_ASSERT(err == VV_OK || err == VV_ESYNTAX || err == VV_ELIMIT);
    VV_ASSERT((err == VV_OK && result.rejected == 0) || result.error[0] != '\0');
    uint64_t rejected;
    char error[64];
    (void)!vv_otlp_read_response(json, &rejected, error, sizeof error);
    return 0;
}
