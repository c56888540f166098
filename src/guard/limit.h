/* src/guard/limit.h - limits per key: rate with burst, sliding quota, requests in flight.
 *
 * Model:     one table for all threads holds one 64-bit word for each pair of a limit and a key.
 *            RATE: the theoretical arrival time of GCRA; at_once requests may pass in one instant,
 *            then one every per / count. A request that comes up to 1/64 of that interval (10 ms at
 *            most) before its time passes too, because threads do not read the clock at the same
 *            instant; the word grows by a whole interval, so the rate stays what it is. WINDOW: counters of this window and the one before; the
 *            one before weighs as much as its share in the last per_ns. CONCURRENT: requests in
 *            flight, given back with vv_limits_release().
 *            A decision takes up to VV_LIMITS_AT_ONCE limits together: all are tested before any
 *            is charged, so a refusal costs nothing and nothing is ever rolled back.
 *            A RATE or a WINDOW may be shared by several gateways (share.h): then the same words are
 *            used, with terms that say how much of the limit is this gateway's.
 *            Memory is fixed at the start. A new key takes a free word, else one that is idle
 *            (it says no more than a new one), else the one that would be idle soonest; words of
 *            requests in flight are never taken. Where nothing can be had the limit lets pass and
 *            counts it as untracked.
 * Source:    ITU-T I.371 (1996) annex A, the virtual scheduling form of GCRA. Sliding counter: two
 *            windows and a weight, draft-ietf-httpapi-ratelimit-headers-10 for what is told.
 * Units:     *_ns are nanoseconds of one monotonic clock. Rates above 10^6/s are off by at most
 *            one part in the interval's nanoseconds, to the strict side.
 * Threads:   everything but _new and _free may be called by any thread at any time. One limit is
 *            one compare-and-swap; several hold their words for the length of a decision.
 * Ownership: the caller owns limits and grants. A grant that passed belongs to one request, which
 *            gives it back exactly once. The table must outlive its grants.
 * Errors:    VV_EINVAL, VV_ERANGE for a limit that cannot be kept; VV_ENOMEM. */
#ifndef VV_GUARD_LIMIT_H
#define VV_GUARD_LIMIT_H
#include "base/err.h"
#include "base/str.h"

#define VV_LIMITS_AT_ONCE 16
#define VV_LIMIT_QUOTA_MAX UINT64_C(4194303)      /* of a WINDOW: 22 bits */
#define VV_LIMIT_WINDOW_MAX_NS (48 * VV_DAY)      /* of a WINDOW: 22 bits of seconds */
#define VV_LIMIT_CONCURRENT_MAX UINT64_C(8388607) /* 23 bits */
#define VV_LIMIT_NEVER UINT64_MAX                 /* retry_ns of what can never pass */

enum vv_limit_kind { VV_LIMIT_RATE, VV_LIMIT_WINDOW, VV_LIMIT_CONCURRENT };

struct vv_shares; /* share.h */

/* A definition, one for all threads, constant. `id` names it across reloads: the same id goes on with the
 * same words, whatever count and at_once are now. */
struct vv_limit {
    uint64_t id;
    enum vv_limit_kind kind;
    uint64_t count;       /* RATE: requests per per_ns; WINDOW: quota; CONCURRENT: the most */
    uint64_t per_ns;      /* RATE, WINDOW */
    uint64_t at_once;     /* RATE: 1 or more. nginx' `burst=200 nodelay` is 201 here. */
    uint64_t interval_ns; /* RATE: set by vv_limit_init() */
    struct vv_shares
        *shares; /* NULL, as vv_limit_init() leaves it: counted by this gateway alone */
};

/* VV_EINVAL for zeros; VV_ERANGE when a number is over what a word holds, or a WINDOW is not whole
 * seconds. On failure *limit is untouched. */
VV_MUST_CHECK enum vv_err vv_limit_init(struct vv_limit *limit, enum vv_limit_kind kind,
                                        uint64_t id, uint64_t count, uint64_t per_ns,
                                        uint64_t at_once);

struct vv_limits; /* the table */
struct vv_limit_slot;

struct vv_limit_ask {
    const struct vv_limit *limit; /* each limit at most once in a decision with the same key */
    struct vv_str key;            /* client address, API key, ...; any bytes */
    uint64_t cost;                /* RATE, WINDOW: how many requests it counts for */
};

/* What the fields RateLimit and Retry-After say, after the decision. */
struct vv_limit_answer {
    bool allowed;       /* by this limit alone */
    uint64_t remaining; /* requests of cost 1 that would pass now */
    uint64_t reset_ns;  /* until all of it is free again, if nothing comes; 0 for CONCURRENT */
    uint64_t retry_ns;  /* if refused: until the same may pass; 0 for CONCURRENT (unknown) */
};

struct vv_limit_grant { /* PRIVATE fields; zeroed is "holds nothing" */
    struct vv_limit_slot *held[VV_LIMITS_AT_ONCE];
};

struct vv_limits_stats {
    uint64_t capacity;       /* words */
    uint64_t used;           /* words that belong to a key, idle or not */
    uint64_t reused;         /* idle words given to another key */
    uint64_t evicted_active; /* words that still said something, given away for want of room */
    uint64_t untracked;      /* limits that let pass because no word could be had */
};

/* Room for at least `keys` words (rounded up; 16 bytes each, touched only when used), 2^24 at most:
 * VV_ERANGE. `seed` should be secret, so that nobody can aim keys at one place. */
VV_MUST_CHECK enum vv_err vv_limits_new(uint64_t keys, uint64_t seed, struct vv_limits **ret);
void vv_limits_free(struct vv_limits *l);

/* May this request pass? True: all limits were charged and *grant holds what has to be released
 * (call vv_limits_release() also when nothing is CONCURRENT: it is free). False: nothing was
 * charged. `answers` (count of them) may be NULL. 1 <= count <= VV_LIMITS_AT_ONCE. */
VV_MUST_CHECK bool vv_limits_take(struct vv_limits *l, const struct vv_limit_ask *asks,
                                  size_t count, uint64_t now_ns, struct vv_limit_grant *grant,
                                  struct vv_limit_answer *answers);
/* The same question without charging anything or taking a word: for explain and dry runs. */
bool vv_limits_peek(struct vv_limits *l, const struct vv_limit_ask *asks, size_t count,
                    uint64_t now_ns, struct vv_limit_answer *answers);
void vv_limits_release(struct vv_limits *l, struct vv_limit_grant *grant, uint64_t now_ns);

void vv_limits_look(const struct vv_limits *l, struct vv_limits_stats *ret);
#endif
