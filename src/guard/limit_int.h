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
    uint64_t hash; /* of the limit's id and the key, with the table's seed */
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

/* What a limit means for one key, here and now. Of a limit that is not shared: its own interval, no
 * cap, no shift. */
struct vv_limit_terms {
    uint64_t interval_ns; /* RATE: this gateway's; the word counts in these */
    uint64_t cap;      /* the most that may come at once, RATE: ns of interval_ns; WINDOW: requests.
                          One request may always come. */
    uint64_t shift_ns; /* WINDOW: from our clock to the one whose windows are counted */
};

uint64_t vv_limit_fresh(const struct vv_limit *limit, uint64_t now_ns); /* of a key never seen */
void vv_limits_place(const struct vv_limits *l, const struct vv_limit *limit, struct vv_str key,
                     struct vv_limit_place *ret); /* and begins to fetch both buckets */
struct vv_limit_slot *vv_limits_find(struct vv_limits *l, const struct vv_limit_place *p);
/* NULL when all eight slots hold requests in flight. */
struct vv_limit_slot *vv_limits_insert(struct vv_limits *l, const struct vv_limit_place *p,
                                       const struct vv_limit *limit, uint64_t now_ns);

/* The word of this key becomes `word`, or stays where it is later and `later` is set (RATE). Nothing when
 * the key has no word. */
void vv_limits_put(struct vv_limits *l, const struct vv_limit_place *p, uint64_t word, bool later);
/* False: the key has no word. */
bool vv_limits_word(struct vv_limits *l, const struct vv_limit_place *p, uint64_t *ret_word);
/* How much of a WINDOW is used, as a word says it. */
uint64_t vv_limit_window_used(const struct vv_limit *limit, uint64_t word, uint64_t now_ns);

/* share.c: the terms for this key, and where it is counted: NULL where no room could be had. Without
 * `add` a key that is not there is not put there. */
struct vv_share;
struct vv_share *vv_share_find(const struct vv_limit_ask *ask, const struct vv_limit_place *place,
                               bool add, uint64_t now_ns, struct vv_limit_terms *ret);
void vv_share_count(struct vv_shares *s, struct vv_share *e, uint64_t cost, bool passed,
                    uint64_t now_ns);
#endif
