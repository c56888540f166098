/* src/guard/limit_int.h - words, tags and places of the table of limits. Stays in here.
 *
 * A slot is 16 bytes:  tag  = 42 bits of the hash of (limit, key) | 22 bits of kind
 *                      word = 1 bit lock | 63 bits by kind
 * The kind is in the tag so that anybody can tell whether a word is idle without knowing its limit:
 *   0            RATE        word = theoretical arrival time, ns. Idle when it has passed.
 *   1 .. 2^22-2  WINDOW      its length in seconds; word = number 19 | before 22 | current 22.
 *   2^22-1       CONCURRENT  word = ms of the last change 40 | in flight 23. Idle at none.
 * A bucket is four slots, a cache line. A key may be in either of two buckets. */
#ifndef VV_GUARD_LIMIT_INT_H
#define VV_GUARD_LIMIT_INT_H
#include "guard/limit.h"

#include <pthread.h>
#include <stdatomic.h>

#define WORD_LOCKED (UINT64_C(1) << 63)
#define KIND_BITS 22
#define KIND_MASK ((UINT64_C(1) << KIND_BITS) - 1)
#define WINDOW_COUNT_MASK ((UINT64_C(1) << 22) - 1)
#define WINDOW_BEFORE_SHIFT 22
#define WINDOW_NUMBER_SHIFT 44
#define WINDOW_NUMBER_MASK ((UINT64_C(1) << 19) - 1)
#define FLIGHT_COUNT_MASK ((UINT64_C(1) << 23) - 1)
#define FLIGHT_TIME_SHIFT 23
#define FLIGHT_TIME_MASK ((UINT64_C(1) << 40) - 1)
#define BUCKET_SLOTS 4
#define STRIPES 64

struct vv_limit_slot {
    _Atomic uint64_t tag; /* 0: free. Changes only while the word is locked. */
    _Atomic uint64_t word;
};

struct vv_limit_bucket {
    struct vv_limit_slot slot[BUCKET_SLOTS];
};

struct vv_limit_place {
    uint64_t tag;
    uint32_t bucket[2];
};

struct vv_limits {
    struct vv_limit_bucket *bucket; /* inside `memory`, on a cache line */
    void *memory;
    uint64_t mask; /* buckets - 1 */
    uint64_t seed;
    _Atomic uint64_t used, reused, evicted_active, untracked;
    pthread_mutex_t stripe[STRIPES]; /* one key is inserted by one thread at a time */
};

static inline uint64_t vv_limit_flight_word(uint64_t in_flight, uint64_t now_ns)
{
    return (now_ns / VV_MS & FLIGHT_TIME_MASK) << FLIGHT_TIME_SHIFT | in_flight;
}

uint64_t vv_limit_fresh(const struct vv_limit *limit, uint64_t now_ns); /* of a key never seen */
void vv_limits_place(const struct vv_limits *l, const struct vv_limit *limit, struct vv_str key,
                     struct vv_limit_place *ret); /* and begins to fetch both buckets */
struct vv_limit_slot *vv_limits_find(struct vv_limits *l, const struct vv_limit_place *p);
/* NULL when all eight slots hold requests in flight. */
struct vv_limit_slot *vv_limits_insert(struct vv_limits *l, const struct vv_limit_place *p,
                                       const struct vv_limit *limit, uint64_t now_ns);
#endif
