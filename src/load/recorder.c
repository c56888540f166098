/* src/load/recorder.c - one flat array of counts: 2048 exact values, then 1024 buckets an octave.
 * A bucket is at most 1/1024 of its smallest value wide, which is the promised third digit. Memory
 * is taken zeroed from the system, so a histogram costs only the pages its values fall into; `lo`
 * and `hi` keep walking and merging to the buckets in use. */
#include "load/recorder.h"

#include "base/sb.h"
#include <stdlib.h>

#define SUB_BITS 11 /* 2^11 = 2048 sub-buckets: the smallest power of two with three digits */
#define HALF (UINT64_C(1) << (SUB_BITS - 1))
#define OCTAVES 31 /* above the exact values: 2048 ns * 2^31 is more than an hour */
#define BUCKETS (2 * HALF + OCTAVES * HALF)
#define VALUE_MAX_NS VV_HOUR
_Static_assert((UINT64_C(1) << (SUB_BITS + OCTAVES)) > VALUE_MAX_NS, "an hour has a bucket");

struct vv_load_hist {
    uint64_t count, sum_ns, min_ns, max_ns;
    size_t lo, hi; /* buckets lo..hi may be filled; lo > hi: none */
    uint64_t bucket[BUCKETS];
};

static size_t index_of(uint64_t ns)
{
    if (ns < 2 * HALF) {
        return (size_t)ns;
    }
    const unsigned shift = (unsigned)(63 - __builtin_clzll(ns)) - (SUB_BITS - 1);
    return (size_t)(shift * HALF + (ns >> shift)); /* ns >> shift is HALF .. 2 * HALF - 1 */
}

static uint64_t from_of(size_t i)
{
    if (i < 2 * HALF) {
        return i;
    }
    const uint64_t shift = i / HALF - 1;
    return (HALF + i % HALF) << shift;
}

static uint64_t last_of(size_t i)
{
    return from_of(i + 1) - 1;
}

struct vv_load_hist *vv_load_hist_new(void)
{
    struct vv_load_hist *h = calloc(1, sizeof(*h));
    if (h != NULL) {
        h->lo = BUCKETS;
    }
    return h;
}

void vv_load_hist_free(struct vv_load_hist *h)
{
    free(h);
}

void vv_load_hist_clear(struct vv_load_hist *h)
{
    if (h->lo <= h->hi) {
        memset(h->bucket + h->lo, 0, (h->hi - h->lo + 1) * sizeof(h->bucket[0]));
    }
    h->count = h->sum_ns = h->min_ns = h->max_ns = 0;
    h->lo = BUCKETS;
    h->hi = 0;
}

static void widen(struct vv_load_hist *h, size_t lo, size_t hi)
{
    h->lo = lo < h->lo ? lo : h->lo;
    h->hi = hi > h->hi ? hi : h->hi;
}

void vv_load_hist_add(struct vv_load_hist *h, uint64_t ns)
{
    ns = vv_min_u64(ns, VALUE_MAX_NS);
    const size_t i = index_of(ns);
    if (h->count == 0 || ns < h->min_ns) {
        h->min_ns = ns;
    }
    h->max_ns = vv_max_u64(h->max_ns, ns);
    h->count++;
    h->sum_ns += ns;
    h->bucket[i]++;
    widen(h, i, i);
}

void vv_load_hist_merge(struct vv_load_hist *into, const struct vv_load_hist *from)
{
    if (from->count == 0) {
        return;
    }
    into->min_ns = into->count == 0 ? from->min_ns : vv_min_u64(into->min_ns, from->min_ns);
    into->max_ns = vv_max_u64(into->max_ns, from->max_ns);
    into->count += from->count;
    into->sum_ns += from->sum_ns;
    for (size_t i = from->lo; i <= from->hi; i++) {
        into->bucket[i] += from->bucket[i];
    }
    widen(into, from->lo, from->hi);
}

uint64_t vv_load_hist_count(const struct vv_load_hist *h)
{
    return h->count;
}

uint64_t vv_load_hist_quantile(const struct vv_load_hist *h, double q)
{
    if (h->count == 0) {
        return 0;
    }
    q = q < 0 ? 0 : q > 1 ? 1 : q;
    /* The rank of the smallest value that q of all values do not exceed; 0.99 of 100 is the 99th,
     * although 0.99 * 100 is a little more than 99 in binary. */
    const double exact = q * (double)h->count;
    uint64_t rank = (uint64_t)exact;
    rank += exact - (double)rank > 1e-9 * exact;
    rank = rank == 0 ? 1 : vv_min_u64(rank, h->count);
    uint64_t seen = 0;
    for (size_t i = h->lo; i <= h->hi; i++) {
        seen += h->bucket[i];
        if (seen >= rank) {
            return vv_max_u64(h->min_ns, vv_min_u64(last_of(i), h->max_ns));
        }
    }
    return h->max_ns;
}

uint64_t vv_load_hist_min(const struct vv_load_hist *h)
{
    return h->min_ns;
}

uint64_t vv_load_hist_max(const struct vv_load_hist *h)
{
    return h->max_ns;
}

double vv_load_hist_mean(const struct vv_load_hist *h)
{
    return h->count == 0 ? 0 : (double)h->sum_ns / (double)h->count;
}

uint64_t vv_load_hist_at_most(const struct vv_load_hist *h, uint64_t ns)
{
    uint64_t n = 0;
    for (size_t i = h->lo; i <= h->hi && from_of(i) <= ns; i++) {
        n += h->bucket[i];
    }
    return n;
}

void vv_load_hist_each(const struct vv_load_hist *h,
                       void (*fn)(void *ctx, uint64_t from_ns, uint64_t to_ns, uint64_t count),
                       void *ctx)
{
    for (size_t i = h->lo; i <= h->hi; i++) {
        if (h->bucket[i] > 0) {
            fn(ctx, from_of(i), last_of(i), h->bucket[i]);
        }
    }
}

/* "h1 SUM MIN MAX INDEX:COUNT ..." on one line: indexes rise, empty buckets are left out. */
void vv_load_hist_write(const struct vv_load_hist *h, struct vv_sb *out)
{
    vv_sb_addf(out, "h1 %llu %llu %llu", (unsigned long long)h->sum_ns,
               (unsigned long long)h->min_ns, (unsigned long long)h->max_ns);
    for (size_t i = h->lo; i <= h->hi; i++) {
        if (h->bucket[i] > 0) {
            vv_sb_addc(out, ' ');
            vv_sb_addu(out, i);
            vv_sb_addc(out, ':');
            vv_sb_addu(out, h->bucket[i]);
        }
    }
}

static bool number(struct vv_str *rest, char sep, uint64_t *ret)
{
    return vv_str_to_u64(vv_str_cut(rest, sep), ret) == VV_OK;
}

/* Walks the buckets of a text; with `h` they are stored, without it they are only checked. */
static bool read_buckets(struct vv_str rest, struct vv_load_hist *h, size_t *ret_lo, size_t *ret_hi,
                         uint64_t *ret_count)
{
    *ret_lo = BUCKETS;
    *ret_hi = 0;
    *ret_count = 0;
    while (rest.n > 0) {
        struct vv_str item = vv_str_cut(&rest, ' ');
        uint64_t i = 0, n = 0;
        const bool first = *ret_lo == BUCKETS;
        if (!number(&item, ':', &i) || vv_str_to_u64(item, &n) != VV_OK || i >= BUCKETS || n == 0 ||
            (!first && i <= *ret_hi) || *ret_count + n < n) {
            return false;
        }
        *ret_lo = first ? (size_t)i : *ret_lo;
        *ret_hi = (size_t)i;
        *ret_count += n;
        if (h != NULL) {
            h->bucket[i] = n;
        }
    }
    return true;
}

enum vv_err vv_load_hist_read(struct vv_load_hist *h, struct vv_str text)
{
    struct vv_str rest = text;
    uint64_t sum_ns = 0, min_ns = 0, max_ns = 0, count = 0;
    size_t lo = 0, hi = 0;
    if (!vv_str_eq(vv_str_cut(&rest, ' '), VV_STR("h1")) || !number(&rest, ' ', &sum_ns) ||
        !number(&rest, ' ', &min_ns) || !number(&rest, ' ', &max_ns) ||
        !read_buckets(rest, NULL, &lo, &hi, &count)) {
        return VV_ESYNTAX;
    }
    const bool fits = count == 0 ? sum_ns == 0 && min_ns == 0 && max_ns == 0
                                 : max_ns <= VALUE_MAX_NS && index_of(min_ns) == lo &&
                                       index_of(max_ns) == hi && min_ns <= max_ns;
    if (!fits) {
        return VV_ESYNTAX;
    }
    vv_load_hist_clear(h);
    if (!read_buckets(rest, h, &lo, &hi, &count)) {
        return VV_ESYNTAX; /* not reached: the same text was fine above */
    }
    h->count = count;
    h->sum_ns = sum_ns;
    h->min_ns = min_ns;
    h->max_ns = max_ns;
    h->lo = lo;
    h->hi = hi;
    return VV_OK;
}
