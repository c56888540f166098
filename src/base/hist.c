/* src/base/hist.c - the bucket comes from one clz, the exposed bound from a table by octave: no
 * octave of nanoseconds holds more than two bounds, so two comparisons settle it. Words are written
 * relaxed: on x86 and ARM64 that is a plain store, and a reader never sees half a number. */
#include "base/hist.h"

#define UNIT_SHIFT 5 /* 32 ns: the first octave with full resolution begins at 1,024 ns */
#define UNITS_MAX ((UINT64_C(1) << (5 + VV_HIST_OCTAVES)) - 1)
_Static_assert(VV_HIST_SUB == 32, "the shifts below are for 32 sub-buckets");

#define BOUNDS                                                                                     \
    1 * VV_MS, 2500 * VV_US, 5 * VV_MS, 10 * VV_MS, 25 * VV_MS, 50 * VV_MS, 75 * VV_MS,            \
        100 * VV_MS, 200 * VV_MS, 350 * VV_MS, 500 * VV_MS, 750 * VV_MS, 1 * VV_SEC, 2 * VV_SEC,   \
        5 * VV_SEC, 10 * VV_SEC, 30 * VV_SEC

const uint64_t vv_hist_bound_ns[VV_HIST_BOUNDS] = {BOUNDS};
/* The same with two ends that nothing exceeds, so that the look-up needs no range check. */
static const uint64_t bound_padded[VV_HIST_BOUNDS + 2] = {BOUNDS, UINT64_MAX, UINT64_MAX};

/* first_bound[o]: how many bounds lie below 2^o ns, that is in a lower octave. */
static const uint8_t first_bound[64] = {
    [20] = 1,  [21] = 1,  [22] = 2,  [23] = 3,  [24] = 4,  [25] = 5,  [26] = 6,  [27] = 8,
    [28] = 9,  [29] = 11, [30] = 13, [31] = 14, [32] = 14, [33] = 15, [34] = 16, [35] = 17,
    [36] = 17, [37] = 17, [38] = 17, [39] = 17, [40] = 17, [41] = 17, [42] = 17, [43] = 17,
    [44] = 17, [45] = 17, [46] = 17, [47] = 17, [48] = 17, [49] = 17, [50] = 17, [51] = 17,
    [52] = 17, [53] = 17, [54] = 17, [55] = 17, [56] = 17, [57] = 17, [58] = 17, [59] = 17,
    [60] = 17, [61] = 17, [62] = 17, [63] = 17};

#define READ(word) __atomic_load_n(&(word), __ATOMIC_RELAXED)
#define WRITE(word, v) __atomic_store_n(&(word), (v), __ATOMIC_RELAXED)
#define BUMP(word, by) WRITE(word, READ(word) + (by))

static size_t bucket_of(uint64_t ns)
{
    const uint64_t units = vv_min_u64(ns >> UNIT_SHIFT, UNITS_MAX);
    /* The first 64 units are exact; from there every octave has 32 buckets. */
    const unsigned shift = 58 - (unsigned)__builtin_clzll(units | VV_HIST_SUB);
    return ((size_t)shift << 5) + (size_t)(units >> shift);
}

/* The highest value that falls into the bucket. */
static uint64_t bucket_top(size_t bucket)
{
    if (bucket < 2 * VV_HIST_SUB) {
        return ((bucket + 1) << UNIT_SHIFT) - 1;
    }
    const size_t shift = (bucket >> 5) - 1;
    const uint64_t sub = bucket - (shift << 5);
    return ((sub + 1) << (shift + UNIT_SHIFT)) - 1;
}

void vv_hist_add(struct vv_hist *h, uint64_t ns)
{
    const size_t from = first_bound[63 - __builtin_clzll(ns | 1)];
    const size_t bound =
        from + (size_t)(ns > bound_padded[from]) + (size_t)(ns > bound_padded[from + 1]);
    const size_t bucket = bucket_of(ns);
    BUMP(h->count, 1);
    BUMP(h->sum_ns, ns);
    BUMP(h->at_most[bound], 1);
    BUMP(h->bucket[bucket], 1);
    if (VV_UNLIKELY(ns > READ(h->max_ns))) {
        WRITE(h->max_ns, ns);
    }
}

void vv_hist_merge(struct vv_hist *into, const struct vv_hist *from)
{
    const uint64_t max_ns = READ(from->max_ns);
    BUMP(into->count, READ(from->count));
    BUMP(into->sum_ns, READ(from->sum_ns));
    WRITE(into->max_ns, vv_max_u64(READ(into->max_ns), max_ns));
    for (size_t i = 0; i <= VV_HIST_BOUNDS; i++) {
        BUMP(into->at_most[i], READ(from->at_most[i]));
    }
    for (size_t i = 0; i < VV_HIST_BUCKETS; i++) {
        BUMP(into->bucket[i], READ(from->bucket[i]));
    }
}

void vv_hist_sub(struct vv_hist *from, const struct vv_hist *earlier)
{
    from->count -= earlier->count;
    from->sum_ns -= earlier->sum_ns;
    for (size_t i = 0; i <= VV_HIST_BOUNDS; i++) {
        from->at_most[i] -= earlier->at_most[i];
    }
    for (size_t i = 0; i < VV_HIST_BUCKETS; i++) {
        from->bucket[i] -= earlier->bucket[i];
    }
}

uint64_t vv_hist_quantile(const struct vv_hist *h, uint64_t ppm)
{
    const uint64_t count = READ(h->count), max_ns = READ(h->max_ns);
    if (count == 0) {
        return 0;
    }
    /* The smallest rank that covers the share: ceil(count * ppm / 1e6), at least the first. */
    const unsigned __int128 scaled = (unsigned __int128)count * vv_min_u64(ppm, VV_PPM);
    const uint64_t rank = vv_max_u64((uint64_t)((scaled + (VV_PPM - 1)) / VV_PPM), 1);
    uint64_t seen = 0;
    for (size_t i = 0; i < VV_HIST_BUCKETS - 1; i++) {
        seen += READ(h->bucket[i]);
        if (seen >= rank) {
            return vv_min_u64(bucket_top(i), max_ns);
        }
    }
    return max_ns; /* the last bucket is open upwards */
}
