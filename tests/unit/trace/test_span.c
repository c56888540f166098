/* tests/unit/trace/test_span.c - packing and unpacking, and what any bytes do. */
#include "trace/span.h"
#include "vv_test.h"

#include "trace_maker.h"

#include <stdlib.h>

static const struct vv_span_attr some[] = {
    {.type = VV_ATTR_STR, .key = VV_KEY_METHOD, .str = {"GET", 3}},
    {.type = VV_ATTR_I64, .key = VV_KEY_STATUS, .i64 = -200},
    {.type = VV_ATTR_DOUBLE, .name = {"load", 4}, .f64 = 0.25},
    {.type = VV_ATTR_BOOL, .key = VV_KEY_DEGRADED, .b = true},
    {.type = VV_ATTR_LINK, .str = {"0123456789abcdefspanspan", 24}},
    {.type = VV_ATTR_EVENT, .name = {"retry", 5}, .i64 = 77},
    {.type = VV_ATTR_STR, .key = VV_KEY_ERROR, .str = {"timeout", 7}},
};

static void make(struct maker *m)
{
    struct vv_span *s = maker_add(m, 5, 2, 1, 1000, 3000, "shop", "GET /cart");
    s->kind = VV_SPAN_SERVER;
    s->status = VV_SPAN_ERROR;
    s->flags = VV_SPAN_F_OURS | VV_SPAN_F_SAMPLED;
    s->http_status = 503;
    s->route = VV_STR("/cart");
    s->message = VV_STR("no upstream");
    s->attrs = some;
    s->attr_count = VV_COUNT(some);
}

VV_TEST(a_packed_span_reads_back_the_same)
{
    struct maker m = {0};
    struct vv_span got;
    struct vv_span_attr attrs[VV_SPAN_ATTRS_MAX];
    uint8_t buf[VV_SPAN_PACKED_MAX];
    make(&m);
    const size_t n = vv_span_pack(m.span, buf);
    VV_CHECK_INT(n, vv_span_packed_bytes(m.span));
    /* 72 fixed, texts 4 + 9 + 5 + 11, attributes 7 + 10 + 16 + 3 + 30 + 17 + 11 */
    VV_CHECK_INT(n, 72 + 29 + 94);
    VV_CHECK_INT(vv_span_unpack((struct vv_str){(char *)buf, n}, &got, attrs), VV_OK);
    VV_CHECK(memcmp(got.trace_id, m.span->trace_id, 16) == 0);
    VV_CHECK(memcmp(got.parent_id, m.span->parent_id, 8) == 0);
    VV_CHECK(got.start_ns == 1000 && got.end_ns == 3000 && got.http_status == 503);
    VV_CHECK(got.kind == VV_SPAN_SERVER && got.status == VV_SPAN_ERROR);
    VV_CHECK_SLICE(got.service, "shop");
    VV_CHECK_SLICE(got.message, "no upstream");
    VV_CHECK_INT(got.attr_count, VV_COUNT(some));
    VV_CHECK_SLICE(got.attrs[0].name, "http.request.method");
    VV_CHECK_SLICE(got.attrs[0].str, "GET");
    VV_CHECK_INT(got.attrs[1].i64, -200);
    VV_CHECK(got.attrs[2].f64 == 0.25 && got.attrs[3].b);
    VV_CHECK_SLICE(got.attrs[5].name, "retry");
    VV_CHECK(vv_span_attr_find(&got, VV_KEY_METHOD) == &got.attrs[0]);
    VV_CHECK(vv_span_attr_find(&got, VV_KEY_ERROR) == NULL); /* the event's, not the span's */
}

VV_TEST(what_has_no_room_is_counted)
{
    struct maker m = {0};
    struct vv_span got;
    static char text[2 * VV_SPAN_TEXT_MAX];
    static struct vv_span_attr many[300], attrs[VV_SPAN_ATTRS_MAX];
    static uint8_t buf[VV_SPAN_PACKED_MAX];
    memset(text, 'x', sizeof text);
    make(&m);
    for (size_t i = 0; i < VV_COUNT(many); i++) {
        many[i] = (struct vv_span_attr){.type = VV_ATTR_I64, .key = VV_KEY_STATUS};
    }
    many[1] =
        (struct vv_span_attr){.type = VV_ATTR_ANY, .str = {text, sizeof text}}; /* never fits */
    m.span->attrs = many;
    m.span->attr_count = VV_COUNT(many);
    size_t n = vv_span_pack(m.span, buf);
    VV_CHECK_INT(vv_span_unpack((struct vv_str){(char *)buf, n}, &got, attrs), VV_OK);
    VV_CHECK_INT(got.attr_count, VV_SPAN_ATTRS_MAX);
    VV_CHECK_INT(got.dropped, 300 - VV_SPAN_ATTRS_MAX);
    for (size_t i = 0; i < 8; i++) { /* 4 of about 4,100 bytes do not go into 16 KiB less texts */
        many[i] = (struct vv_span_attr){
            .type = VV_ATTR_STR, .key = VV_KEY_PATH, .str = {text, sizeof text}};
    }
    m.span->attr_count = 8;
    m.span->name = (struct vv_str){text, sizeof text};
    n = vv_span_pack(m.span, buf);
    VV_CHECK_INT(vv_span_unpack((struct vv_str){(char *)buf, n}, &got, attrs), VV_OK);
    VV_CHECK_INT(got.attr_count, 3);
    VV_CHECK_INT(got.dropped, 5);
    VV_CHECK_INT(got.attrs[0].str.n, VV_SPAN_TEXT_MAX);
    VV_CHECK_INT(got.name.n, VV_SPAN_TEXT_MAX / 4);
}

VV_TEST(cut_or_changed_bytes_never_read_past_the_end)
{
    struct maker m = {0};
    struct vv_span got;
    struct vv_span_attr attrs[VV_SPAN_ATTRS_MAX];
    uint8_t buf[512];
    make(&m);
    const size_t n = vv_span_pack(m.span, buf);
    for (size_t cut = 0; cut < n; cut++) {
        char *copy = malloc(cut + 1);
        memcpy(copy, buf, cut);
        VV_CHECK_INT(vv_span_unpack((struct vv_str){copy, cut}, &got, attrs), VV_ESYNTAX);
        free(copy);
    }
    for (size_t i = 0; i < n * 8; i++) {
        char *copy = malloc(n);
        memcpy(copy, buf, n);
        copy[i / 8] = (char)(copy[i / 8] ^ (1 << (i % 8)));
        const enum vv_err err = vv_span_unpack((struct vv_str){copy, n}, &got, attrs);
        VV_CHECK(err == VV_OK || err == VV_ESYNTAX);
        free(copy);
    }
}

VV_TEST(a_brief_look_says_what_assembly_needs)
{
    struct maker m = {0};
    struct vv_span_brief b;
    uint8_t buf[512];
    make(&m);
    size_t n = vv_span_pack(m.span, buf);
    VV_CHECK_INT(vv_span_peek((struct vv_str){(char *)buf, n}, &b), VV_OK);
    VV_CHECK(!b.root && b.status == VV_SPAN_ERROR && b.end_ns == 3000);
    VV_CHECK(memcmp(b.trace_id, m.span->trace_id, 16) == 0);
    m.span->flags |= VV_SPAN_F_ENTRY;
    n = vv_span_pack(m.span, buf);
    VV_CHECK(vv_span_peek((struct vv_str){(char *)buf, n}, &b) == VV_OK && b.root);
    m.span->end_ns = 1; /* a clock that ran back */
    n = vv_span_pack(m.span, buf);
    VV_CHECK(vv_span_peek((struct vv_str){(char *)buf, n}, &b) == VV_OK && b.end_ns == 1000);
}

VV_TEST(every_known_key_is_found_by_its_text_once)
{
    for (int k = 1; k < VV_KEY_COUNT; k++) {
        VV_CHECK_INT(vv_span_key_find(vv_str_from(vv_span_key_text((enum vv_span_key)k))), k);
    }
    VV_CHECK_INT(vv_span_key_find(VV_STR("http.request")), VV_KEY_OTHER);
    VV_CHECK_INT(vv_span_key_find(VV_STR("")), VV_KEY_OTHER);
}
