/* src/series/chunk.c - bits from the highest down. A sample is written to the end or not at all: the
 * state is a copy until everything fitted, and bits behind it are free to be overwritten. */
#include "series/chunk.h"

#include <string.h>

struct bits { /* a cursor over a buffer; `ok` falls once and stays down */
    uint8_t *buf;
    const uint8_t *in;
    size_t at, end;
    bool ok;
};

/* How the change of a distance is told: a prefix of `prefix_bits`, then a number of `bits`. */
static const struct {
    unsigned prefix, prefix_bits, bits;
} widths[] = {{0x0, 1, 0}, {0x2, 2, 10}, {0x6, 3, 14}, {0xe, 4, 20}, {0xf, 4, 64}};

static void put(struct bits *b, uint64_t v, unsigned n)
{
    if (!b->ok || n > b->end - b->at) {
        b->ok = false;
        return;
    }
    for (unsigned i = n; i > 0;) {
        const unsigned room = 8 - (unsigned)(b->at & 7),
                       take = (room < i ? room : i) & 15; /* 1 to 8 */
        const unsigned part = (unsigned)(v >> (i - take)) & ((1u << take) - 1);
        uint8_t *byte = &b->buf[b->at >> 3];
        const unsigned keep = *byte & (0xff00u >> (b->at & 7)) & 0xffu;
        *byte = (uint8_t)(keep | part << (room - take));
        b->at += take;
        i -= take;
    }
}

static uint64_t get(struct bits *b, unsigned n)
{
    uint64_t v = 0;
    if (!b->ok || n > b->end - b->at) {
        b->ok = false;
        return 0;
    }
    for (unsigned i = n; i > 0;) {
        const unsigned room = 8 - (unsigned)(b->at & 7),
                       take = (room < i ? room : i) & 15; /* 1 to 8 */
        v = v << take | ((unsigned)(b->in[b->at >> 3] >> (room - take)) & ((1u << take) - 1));
        b->at += take;
        i -= take;
    }
    return v;
}

static bool fits(int64_t v, unsigned bits)
{
    if (bits == 0 || bits == 64) {
        return bits == 64 || v == 0;
    }
    const int64_t half = INT64_C(1) << (bits - 1);
    return v >= -half && v < half;
}

static void put_time(struct bits *b, struct vv_chunk_state *s, int64_t t_ms)
{
    const int64_t delta = t_ms - s->t_ms, change = delta - s->delta_ms;
    size_t i = 0;
    while (!fits(change, widths[i].bits)) {
        i++;
    }
    put(b, widths[i].prefix, widths[i].prefix_bits);
    put(b, (uint64_t)change, widths[i].bits);
    s->t_ms = t_ms;
    s->delta_ms = delta;
}

/* 0: the same; 10: differs inside the window of the one before; 11: a new window, as six bits of
 * leading zeros and six of its width less one. */
static void put_value(struct bits *b, struct vv_chunk_state *s, uint64_t value)
{
    const uint64_t differ = value ^ s->value;
    s->value = value;
    if (differ == 0) {
        put(b, 0, 1);
        return;
    }
    const unsigned leading = (unsigned)__builtin_clzll(differ);
    const unsigned trailing = (unsigned)__builtin_ctzll(differ);
    if (s->width > 0 && leading >= s->leading && trailing >= 64 - s->leading - s->width) {
        put(b, 2, 2);
    } else {
        s->leading = leading;
        s->width = 64 - leading - trailing;
        put(b, 3, 2);
        put(b, leading, 6);
        put(b, s->width - 1, 6);
    }
    put(b, differ >> (64 - s->leading - s->width), s->width);
}

void vv_chunk_init(struct vv_chunk *c, uint8_t *buf, size_t bytes)
{
    *c = (struct vv_chunk){.buf = buf, .bytes = bytes};
    memset(buf, 0, bytes);
}

enum vv_err vv_chunk_add(struct vv_chunk *c, int64_t t_ms, double v)
{
    struct vv_chunk_state next = c->last;
    struct bits b = {.buf = c->buf, .at = next.bit, .end = 8 * c->bytes, .ok = true};
    uint64_t value;
    memcpy(&value, &v, sizeof value);
    /* Half of the range of times, so that no difference of two overflows. */
    if (t_ms > INT64_MAX / 4 || t_ms < INT64_MIN / 4 || (c->n > 0 && t_ms <= c->last.t_ms)) {
        return VV_EINVAL;
    }
    if (c->n == UINT32_MAX) {
        return VV_ELIMIT;
    }
    if (c->n == 0) {
        put(&b, (uint64_t)t_ms, 64);
        put(&b, value, 64);
        next.t_ms = t_ms;
        next.value = value;
    } else {
        put_time(&b, &next, t_ms);
        put_value(&b, &next, value);
    }
    if (!b.ok) {
        return VV_ELIMIT;
    }
    next.bit = b.at;
    c->last = next;
    c->n++;
    return VV_OK;
}

size_t vv_chunk_bytes(const struct vv_chunk *c)
{
    return (c->last.bit + 7) / 8;
}

void vv_chunk_read(struct vv_chunk_reader *r, const uint8_t *buf, size_t bytes, uint32_t n)
{
    *r = (struct vv_chunk_reader){.buf = buf, .bytes = bytes, .left = n, .first = true};
}

static bool get_time(struct bits *b, struct vv_chunk_state *s)
{
    size_t i = 0;
    while (i < 4 && get(b, 1) == 1) {
        i++;
    }
    const unsigned n = widths[i].bits;
    uint64_t change = get(b, n);
    if (n > 0 && n < 64 && (change >> (n - 1)) != 0) {
        change |= UINT64_MAX << n; /* the number has a sign */
    }
    /* Bytes from a broken file may say anything: the sums are checked. */
    if (__builtin_add_overflow(s->delta_ms, (int64_t)change, &s->delta_ms) || s->delta_ms <= 0) {
        return false;
    }
    return !__builtin_add_overflow(s->t_ms, s->delta_ms, &s->t_ms) && s->t_ms <= INT64_MAX / 4;
}

static bool get_value(struct bits *b, struct vv_chunk_state *s)
{
    if (get(b, 1) == 0) {
        return b->ok;
    }
    if (get(b, 1) == 1) {
        s->leading = (unsigned)get(b, 6);
        s->width = (unsigned)get(b, 6) + 1;
    }
    if (s->width == 0 || s->leading + s->width > 64) {
        return false;
    }
    s->value ^= get(b, s->width) << (64 - s->leading - s->width);
    return b->ok;
}

enum vv_err vv_chunk_next(struct vv_chunk_reader *r, int64_t *ret_t_ms, double *ret_v)
{
    struct vv_chunk_state *s = &r->last;
    struct bits b = {.in = r->buf, .at = s->bit, .end = 8 * r->bytes, .ok = true};
    bool good = true;
    if (r->left == 0) {
        return VV_ENOENT;
    }
    if (r->first) {
        s->t_ms = (int64_t)get(&b, 64);
        s->value = get(&b, 64);
        good = s->t_ms <= INT64_MAX / 4 && s->t_ms >= INT64_MIN / 4;
    } else {
        good = get_time(&b, s) && get_value(&b, s);
    }
    if (!good || !b.ok) {
        r->left = 0;
        return VV_ESYNTAX;
    }
    r->first = false;
    r->left--;
    s->bit = b.at;
    *ret_t_ms = s->t_ms;
    memcpy(ret_v, &s->value, sizeof *ret_v);
    return VV_OK;
}
