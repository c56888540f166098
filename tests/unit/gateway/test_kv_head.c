/* tests/unit/gateway/test_kv_head.c - objects as the bytes of a Redis string, there and back. */
#include "gateway/kv_head.h"
#include "vv_test.h"
#include <stdlib.h>

static struct vv_str packed(const struct vv_small_item *it, uint64_t until_ms)
{
    const size_t head = vv_kv_head_bytes(it);
    char *p = malloc(head + it->value.n + 1);
    VV_CHECK(p != NULL);
    vv_kv_head_write(p, it, until_ms);
    memcpy(p + head, it->value.p, it->value.n);
    return (struct vv_str){p, head + it->value.n};
}

static struct vv_small_item *item(void)
{
    static const struct vv_str tags[] = {{"red", 3}, {"blue", 4}};
    const struct vv_small_spec spec = {.key = VV_STR("k"),
                                       .value = VV_STR("line\nline\0"),
                                       .type = VV_STR("text/plain"),
                                       .tag = tags,
                                       .tags = 2,
                                       .stored_ms = 0x1234};
    struct vv_small_item *it = NULL;
    VV_CHECK_INT(vv_small_item_new(&spec, 0, &it), VV_OK);
    return it;
}

VV_TEST(an_object_is_read_as_it_was_written)
{
    struct vv_small_item *it = item();
    const struct vv_str bytes = packed(it, 0x5678);
    struct vv_kv_head h;
    /* 60 + "text/plain\n" + "red\n" + "blue\n" = 80 = 0x50 */
    VV_CHECK(memcmp(bytes.p, "VKV100000050", 12) == 0);
    VV_CHECK_INT(vv_kv_head_read(bytes, &h), VV_OK);
    VV_CHECK_INT(h.etag, it->etag);
    VV_CHECK_INT(h.stored_ms, 0x1234);
    VV_CHECK_INT(h.until_ms, 0x5678);
    VV_CHECK_SLICE(h.type, "text/plain");
    VV_CHECK_INT(h.tags, 2);
    VV_CHECK_SLICE(h.tag[1], "blue");
    VV_CHECK(vv_str_eq(h.value, it->value));
    free((char *)bytes.p);
    vv_small_item_unref(it);
}

VV_TEST(bytes_that_were_changed_are_refused)
{
    struct vv_small_item *it = item();
    const struct vv_str bytes = packed(it, 0);
    char *p = (char *)bytes.p;
    struct vv_kv_head h;
    for (size_t cut = 0; cut < bytes.n; cut++) {
        char *part = malloc(cut + 1); /* so that a sanitizer sees reads past the end */
        memcpy(part, p, cut);
        VV_CHECK_INT(vv_kv_head_read((struct vv_str){part, cut}, &h), VV_ESYNTAX);
        free(part);
    }
    p[bytes.n - 1] = 'x'; /* the value is not that of the etag */
    VV_CHECK_INT(vv_kv_head_read(bytes, &h), VV_ESYNTAX);
    p[bytes.n - 1] = '\0';
    VV_CHECK_INT(vv_kv_head_read(bytes, &h), VV_OK);
    p[0] = 'X';
    VV_CHECK_INT(vv_kv_head_read(bytes, &h), VV_ESYNTAX);
    free(p);
    vv_small_item_unref(it);
}

VV_TEST(control_characters_do_not_stand_in_heads)
{
    VV_CHECK(vv_kv_head_takes(VV_STR("text/html; charset=utf-8")));
    VV_CHECK(!vv_kv_head_takes(VV_STR("a\nb")) && !vv_kv_head_takes(VV_STR("a\0b")));
}
