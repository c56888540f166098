/* tests/fuzz/fuzz_traceparent.c - whatever a request carries, what we send on is read back the same. */
#include "wire/trace_context.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_state(const struct vv_tracestate *ts)
{
    char buf[VV_TRACESTATE_BYTES_MAX];
    struct vv_tracestate again;
    const size_t n = vv_tracestate_write(ts, buf, sizeof buf);
    const struct vv_str line = {buf, n};
    VV_ASSERT(ts->count <= VV_TRACESTATE_MEMBERS_MAX && n <= sizeof buf);
    VV_ASSERT(vv_tracestate_parse(&line, 1, &again) == VV_OK && again.count <= ts->count);
    for (size_t i = 0; i < again.count; i++) {
        VV_ASSERT(vv_str_eq(vv_tracestate_get(ts, again.member[i].key), again.member[i].value));
    }
}

static void check_context(const struct vv_trace_context *c)
{
    char buf[VV_TRACEPARENT_BYTES], b3[VV_B3_BYTES_MAX];
    struct vv_trace_context again;
    VV_ASSERT(!vv_trace_id_zero(c->trace_id, 16) && !vv_trace_id_zero(c->span_id, 8));
    vv_traceparent_write(c, buf);
    VV_ASSERT(vv_traceparent_parse((struct vv_str){buf, sizeof buf}, &again) == VV_OK);
    VV_ASSERT(memcmp(again.trace_id, c->trace_id, 16) == 0 && again.flags == c->flags);
    const size_t n = vv_b3_write(c, b3);
    VV_ASSERT(n <= sizeof b3 && vv_b3_parse((struct vv_str){b3, n}, &again) == VV_OK);
    VV_ASSERT(memcmp(again.span_id, c->span_id, 8) == 0 && again.sampling == c->sampling);
}

/* Lines of "name: value". */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vv_trace_fields f = {0};
    struct vv_trace_context ctx;
    struct vv_tracestate ts;
    struct vv_str rest = {(const char *)data, size};
    if (size == 0 || size > 20000) {
        return 0;
    }
    while (rest.p != NULL) {
        struct vv_str value = vv_str_cut(&rest, '\n');
        const struct vv_str name = vv_str_cut(&value, ':');
        (void)vv_trace_fields_add(&f, name, value);
    }
    if (vv_trace_choose(&f, &ctx, &ts)) {
        check_context(&ctx);
    }
    check_state(&ts);
    if (vv_tracestate_set(&ts, VV_STR("vv"), VV_STR("1")) == VV_OK) {
        check_state(&ts);
    }
    return 0;
}
