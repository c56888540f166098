/* tests/fuzz/fuzz_cache_control.c - directives only ever restrict: whatever follows, no flag goes
 * and no age rises; a targeted field is all or nothing, and its last word on a key counts. */
#include "cache/directives.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_inside(const struct vv_cc_fields *fields, struct vv_str all)
{
    VV_ASSERT(fields->count <= VV_CC_LISTS_MAX);
    for (uint32_t i = 0; i < fields->count; i++) {
        const struct vv_str s = fields->list[i];
        VV_ASSERT(s.n > 0 && s.p >= all.p && s.p + s.n <= all.p + all.n);
    }
}

static void check_sound(const struct vv_cc *cc, struct vv_str all)
{
    VV_ASSERT(cc->flags >> VV_CC_FLAG_COUNT == 0);
    for (size_t i = 0; i < VV_CC_NUMBER_COUNT; i++) {
        VV_ASSERT(cc->number[i] == VV_CC_UNSET || cc->number[i] <= VV_CC_MAX_S);
    }
    check_inside(&cc->no_cache, all);
    check_inside(&cc->private_fields, all);
}

/* UNSET is the highest number, so it never comes back. */
static void check_stricter(const struct vv_cc *later, const struct vv_cc *before)
{
    VV_ASSERT((later->flags & before->flags) == before->flags);
    VV_ASSERT(later->no_cache.count >= before->no_cache.count);
    VV_ASSERT(later->private_fields.count >= before->private_fields.count);
    for (size_t i = 0; i < VV_CC_NUMBER_COUNT; i++) {
        const uint32_t was = before->number[i], is = later->number[i];
        if (was != VV_CC_UNSET) {
            VV_ASSERT(i == VV_CC_MIN_FRESH ? is >= was && is != VV_CC_UNSET : is <= was);
        }
    }
}

static void check_same(const struct vv_cc *a, const struct vv_cc *b)
{
    VV_ASSERT(a->flags == b->flags && a->targeted == b->targeted);
    VV_ASSERT(memcmp(a->number, b->number, sizeof a->number) == 0);
    VV_ASSERT(a->no_cache.count == b->no_cache.count);
    VV_ASSERT(a->private_fields.count == b->private_fields.count);
}

static void check_lists(struct vv_str all, void (*add)(struct vv_cc *, struct vv_str))
{
    struct vv_cc apart, joined, before;
    struct vv_str second = all;
    const struct vv_str first = vv_str_cut(&second, '\n');
    vv_cc_init(&apart);
    add(&apart, first);
    before = apart;
    add(&apart, second);
    check_sound(&apart, all);
    check_stricter(&apart, &before);
    if (first.n + second.n + 1 > 4096 || (first.n > 0 && memchr(first.p, '"', first.n) != NULL)) {
        return; /* an open quote would take the comma */
    }
    char text[4096]; /* two fields are one list (RFC 9110 section 5.3) */
    const size_t n = first.n;
    memcpy(text, first.n > 0 ? first.p : "", first.n);
    text[n] = ',';
    memcpy(text + n + 1, second.n > 0 ? second.p : "", second.n);
    vv_cc_init(&joined);
    add(&joined, (struct vv_str){text, n + 1 + second.n});
    check_same(&apart, &joined);
}

static void check_targeted(struct vv_str value)
{
    static const char more[] = ", max-age=7, no-store=?0";
    char text[4096];
    struct vv_cc cc;
    memset(&cc, 0x5a, sizeof cc);
    struct vv_cc untouched;
    memset(&untouched, 0x5a, sizeof untouched);
    if (!vv_cc_read_targeted(&cc, value)) {
        VV_ASSERT(memcmp(&cc, &untouched, sizeof cc) == 0);
        return;
    }
    VV_ASSERT(cc.targeted && cc.present);
    check_sound(&cc, value);
    if (value.n + sizeof more > sizeof text) {
        return;
    }
    memcpy(text, value.p, value.n);
    memcpy(text + value.n, more, sizeof more - 1);
    struct vv_cc longer;
    VV_ASSERT(vv_cc_read_targeted(&longer, (struct vv_str){text, value.n + sizeof more - 1}));
    VV_ASSERT(longer.number[VV_CC_MAX_AGE] == 7 && !vv_cc_has(&longer, VV_CC_NO_STORE));
    longer.number[VV_CC_MAX_AGE] = cc.number[VV_CC_MAX_AGE];
    longer.flags |= cc.flags & 1u << VV_CC_NO_STORE;
    check_same(&longer, &cc);
}

static struct vv_h1_head *head_of(struct vv_str lines)
{
    static struct vv_h1_head head;
    static char text[8192];
    static const struct vv_h1_limits limits = {8192, 8192, 64};
    size_t n = 0;
    memcpy(text, "HTTP/1.1 200 X\r\n", 16);
    n = 16;
    for (size_t i = 0; i < lines.n && n + 8 < sizeof text; i++) {
        if (lines.p[i] == '\n') {
            text[n++] = '\r';
        }
        text[n++] = lines.p[i];
    }
    memcpy(text + n, "\r\n\r\n", 4);
    vv_h1_head_init(&head);
    const struct vv_str all = {text, n + 4};
    return vv_h1_parse_answer(&head, all, VV_METHOD_GET, &limits) == VV_OK ? &head : NULL;
}

static void check_answer(struct vv_str lines)
{
    const struct vv_str targets[] = {VV_STR("CDN-Cache-Control")};
    const struct vv_h1_head *head = head_of(lines);
    struct vv_cc cc, plain;
    if (head == NULL) {
        return;
    }
    vv_cc_of_answer(head, targets, 1, true, &cc);
    vv_cc_init(&plain);
    for (uint32_t i = 0; i < head->fields_count && !cc.targeted; i++) {
        if (vv_str_eq_nocase(head->fields[i].name, VV_STR("Cache-Control"))) {
            vv_cc_add(&plain, head->fields[i].value);
        }
    }
    if (!cc.targeted) { /* then nothing but Cache-Control has spoken */
        check_same(&cc, &plain);
    }
    vv_cc_of_request(head, &cc);
    VV_ASSERT(!cc.targeted);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct vv_str text = {(const char *)data, size};
    check_lists(text, vv_cc_add);
    check_lists(text, vv_cc_add_surrogate);
    check_targeted(text);
    check_answer(text);
    return 0;
}
