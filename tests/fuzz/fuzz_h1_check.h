/* tests/fuzz/fuzz_h1_check.h - what the fuzz targets of both HTTP/1 directions hold a head to. */
#ifndef VV_FUZZ_H1_CHECK_H
#define VV_FUZZ_H1_CHECK_H
#include "wire/http1.h"
#include <stdlib.h>

/* Small, so that inputs of a few kilobytes reach every limit. */
static const struct vv_h1_limits fuzz_limits = {
    .line_bytes = 300, .head_bytes = 1500, .fields = 20};

static inline void check_inside(struct vv_str s, const char *base, size_t n)
{
    VV_ASSERT(s.p != NULL || s.n == 0);
    VV_ASSERT(s.p == NULL || (s.p >= base && s.n <= n && (size_t)(s.p - base) <= n - s.n));
}

/* No slice outside the buffer, and what was let through is what the contract says. */
static inline void check_head(const struct vv_h1_head *h, const char *base, size_t n)
{
    const struct vv_str slices[] = {h->method_text, h->target, h->scheme, h->authority,
                                    h->path,        h->query,  h->reason};
    for (size_t i = 0; i < VV_COUNT(slices); i++) {
        check_inside(slices[i], base, n);
    }
    VV_ASSERT(h->head_bytes >= 4 && h->head_bytes <= n && h->head_bytes <= fuzz_limits.head_bytes);
    VV_ASSERT(base[h->head_bytes - 1] == '\n' && base[h->head_bytes - 2] == '\r');
    VV_ASSERT(h->fields_count <= fuzz_limits.fields);
    for (uint32_t i = 0; i < h->fields_count; i++) {
        const struct vv_h1_field *f = &h->fields[i];
        check_inside(f->name, base, n);
        check_inside(f->value, base, n);
        VV_ASSERT(vv_h1_is_token(f->name) && vv_h1_is_field_value(f->value));
        VV_ASSERT(f->id == vv_field_lookup(f->name));
        VV_ASSERT(f->id != VV_FIELD_CONNECTION || f->hop);
    }
    VV_ASSERT(h->framing != VV_H1_BODY_LENGTH || h->has_content_length);
    VV_ASSERT(h->framing != VV_H1_BODY_CHUNKED || !h->has_content_length);
    VV_ASSERT(!h->keep_alive || h->framing < VV_H1_BODY_CLOSE);
}

static inline void check_same_slice(struct vv_str a, const char *base_a, struct vv_str b,
                                    const char *base_b)
{
    VV_ASSERT(a.n == b.n && (a.p == NULL) == (b.p == NULL));
    VV_ASSERT(a.n == 0 || a.p - base_a == b.p - base_b);
}

static inline void check_same_head(const struct vv_h1_head *a, const char *base_a,
                                   const struct vv_h1_head *b, const char *base_b)
{
    VV_ASSERT(a->head_bytes == b->head_bytes && a->framing == b->framing);
    VV_ASSERT(a->keep_alive == b->keep_alive && a->content_length == b->content_length);
    VV_ASSERT(a->status == b->status && a->method == b->method && a->minor == b->minor);
    VV_ASSERT(a->upgrade == b->upgrade && a->target_form == b->target_form);
    check_same_slice(a->target, base_a, b->target, base_b);
    check_same_slice(a->authority, base_a, b->authority, base_b);
    check_same_slice(a->path, base_a, b->path, base_b);
    check_same_slice(a->query, base_a, b->query, base_b);
    check_same_slice(a->reason, base_a, b->reason, base_b);
    VV_ASSERT(a->fields_count == b->fields_count);
    for (uint32_t i = 0; i < a->fields_count; i++) {
        check_same_slice(a->fields[i].name, base_a, b->fields[i].name, base_b);
        check_same_slice(a->fields[i].value, base_a, b->fields[i].value, base_b);
        VV_ASSERT(a->fields[i].hop == b->fields[i].hop);
    }
}

/* One verdict and one head, whether the bytes come at once or in three reads. Bytes 0 and 1 of the
 * input choose where the second and the third read start; byte 0 also the request method, for whom
 * it matters. Each read is a copy of exact size in a new place: nothing may point to the last one. */
static inline int check_all_cuts(enum vv_err parse(struct vv_h1_head *, struct vv_str, uint8_t),
                                 const uint8_t *data, size_t size)
{
    static struct vv_h1_head whole, parts;
    if (size < 3 || size > 16384) {
        return 0;
    }
    const char *base = (const char *)data + 2;
    const size_t n = size - 2;
    vv_h1_head_init(&whole);
    const enum vv_err one = parse(&whole, (struct vv_str){base, n}, data[0]);
    if (one == VV_OK) {
        check_head(&whole, base, n);
    }
    VV_ASSERT((one == VV_ESYNTAX) == (whole.error != VV_H1_FINE));

    const size_t first = 1 + data[0] % n, second = first + (n - first) * data[1] / 256;
    const size_t ends[] = {first, second, n};
    enum vv_err two = VV_EAGAIN;
    char *copy = NULL;
    vv_h1_head_init(&parts);
    for (size_t i = 0; i < VV_COUNT(ends) && two == VV_EAGAIN; i++) {
        free(copy);
        copy = malloc(ends[i]);
        VV_ASSERT(copy != NULL);
        memcpy(copy, base, ends[i]);
        two = parse(&parts, (struct vv_str){copy, ends[i]}, data[0]);
    }
    VV_ASSERT(one == two && whole.error == parts.error);
    if (one == VV_OK) {
        check_same_head(&whole, base, &parts, copy);
    }
    free(copy);
    return 0;
}
#endif
