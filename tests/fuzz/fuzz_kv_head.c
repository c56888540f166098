/* tests/fuzz/fuzz_kv_head.c - any bytes of a Redis string as an object: what is read lies within them, and
 * written again it is the same bytes. */
#include "gateway/kv_head.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void within(struct vv_str whole, struct vv_str part)
{
    VV_ASSERT(part.p >= whole.p && part.p + part.n <= whole.p + whole.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct vv_str bytes = {(const char *)data, size};
    struct vv_kv_head h;
    struct vv_small_item *it = NULL;
    if (size > 65536 || vv_kv_head_read(bytes, &h) != VV_OK) {
        return 0;
    }
    within(bytes, h.type);
    within(bytes, h.value);
    for (size_t i = 0; i < h.tags; i++) {
        within(bytes, h.tag[i]);
    }
    const struct vv_small_spec spec = {
        .value = h.value, .type = h.type, .tag = h.tag, .tags = h.tags, .stored_ms = h.stored_ms};
    if (vv_small_item_new(&spec, 0, &it) != VV_OK) {
        return 0;
    }
    const size_t head = vv_kv_head_bytes(it);
    char *again = malloc(head);
    VV_ASSERT(it->etag == h.etag && head + h.value.n == size && again != NULL);
    vv_kv_head_write(again, it, h.until_ms);
    VV_ASSERT(memcmp(again, data, head) == 0);
    free(again);
    vv_small_item_unref(it);
    return 0;
}
