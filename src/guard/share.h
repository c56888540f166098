/* src/guard/share.h - one count for several gateways: decided here, agreed on in a store.
 *
 * Model:     every gateway decides with its own words and never asks first. Some ten times a second it tells
 *            the store, for every key that was used since, how much it let pass and how much was asked for.
 *            The store keeps the one true count (of a rate the theoretical arrival time, of a quota two
 *            windows) and says where it stands and which part of the demand came to this gateway. From then
 *            on the gateway may use that part: of what is left, and of what comes back. So the sum over all
 *            is the limit: what one let pass too much is missing from what all have next.
 *            A key that the store has not been asked about, or that was not used for a while, may use
 *            1 / gateways of what may come at once; one request may always come while the store has room
 *            for one.
 * Slack:     over any time, all gateways together let pass at most this much more than a rate says:
 *              (gateways - 1) x min(rate x exchange + one request, at once)
 *            where `exchange` is the time between two answers of the store (100 ms and a round trip). Of a
 *            quota: what the others let pass in one exchange, at most their parts of what is left. A gateway
 *            that dies takes with it what it had not told: at most min(rate x exchange + its part of at
 *            once, at once). Nothing adds up: it is paid back from the limit itself. A rate whose burst is
 *            used up in less than 5 ms may let pass less than it says, because a part of a burst is
 *            soon full.
 *            Without the store each gateway keeps the whole limit alone; when the store is back, the later
 *            of its count and theirs holds.
 * Units:     *_ns monotonic nanoseconds, *_us microseconds. Amounts in requests of cost 1.
 * Threads:   what limit.h calls: any. The rest: one thread, the one that talks to the store.
 * Ownership: _new/_free; limits that name it must be gone. Errors: VV_ENOMEM.
 */
#ifndef VV_GUARD_SHARE_H
#define VV_GUARD_SHARE_H
#include "guard/limit.h"

#define VV_SHARE_GROUPS 8      /* keys of a group go to the store together */
#define VV_SHARE_BATCH 64      /* so many at once */
#define VV_SHARE_NAME_BYTES 16 /* of a key, for the store: a digest */
#define VV_SHARE_ROUND_NS (100 * VV_MS)
#define VV_SHARE_LINGER_NS                                                                         \
    (300 * VV_MS) /* unused for so long: its part of the demand is given up */
#define VV_SHARE_FORGET_NS (5 * VV_SEC)

struct vv_share; /* one key of one limit */

/* What the key is called in the store; the same on all gateways, and nobody can tell the key from it. */
typedef void vv_share_name_fn(uint64_t id, struct vv_str key, uint8_t ret[VV_SHARE_NAME_BYTES]);

/* Room for so many keys at once, 320 bytes each, touched when used. A key without room may use
 * 1 / gateways of its limit and is not told. */
VV_MUST_CHECK enum vv_err vv_shares_new(size_t keys, vv_share_name_fn *name,
                                        struct vv_shares **ret);
void vv_shares_free(struct vv_shares *s); /* NULL is fine */

/* So many gateways share; at least 1. At the start it is 1. */
void vv_shares_gateways(struct vv_shares *s, uint64_t count);
/* From our clock to the store's, of which quotas take their windows. */
void vv_shares_clock(struct vv_shares *s, uint64_t store_now_us, uint64_t now_ns);
/* The store is away (true) or back. At the start it is away. */
void vv_shares_alone(struct vv_shares *s, struct vv_limits *l, bool alone, uint64_t now_ns);

/* Keys of this group that have something to tell, the hottest first; they are under way until they are
 * answered or lost. Nothing while alone. */
size_t vv_shares_collect(struct vv_shares *s, unsigned group, uint64_t now_ns,
                         struct vv_share **ret, size_t max);

struct vv_share_question { /* what the store is told about one key */
    const struct vv_limit *limit;
    uint8_t name[VV_SHARE_NAME_BYTES];
    uint64_t passed;    /* since what was told before */
    uint64_t age_us;    /* ... the first of them so long ago */
    uint64_t turn;      /* the same passed is told under the same turn: counted once */
    uint64_t demand;    /* asked for, per second; 0: we are through with this key */
    uint64_t resume_us; /* RATE: our debt while the store was away; WINDOW: how much was used */
    bool resume;
};
void vv_share_ask(const struct vv_shares *s, struct vv_limits *l, const struct vv_share *e,
                  uint64_t now_ns, struct vv_share_question *ret);

struct vv_share_answer {
    uint64_t debt_us;         /* RATE: until nothing is used */
    uint64_t before, current; /* WINDOW */
    double part;              /* of the demand that is ours; above 0, at most 1 */
};
/* at_ns: when the store said so, by our clock. */
void vv_share_answered(struct vv_shares *s, struct vv_limits *l, struct vv_share *e,
                       const struct vv_share_answer *a, uint64_t at_ns, uint64_t now_ns);
/* Nobody knows whether it arrived: told again next time. */
void vv_share_lost(struct vv_shares *s, struct vv_share *e);

struct vv_shares_stats {
    uint64_t keys;    /* there now */
    uint64_t untold;  /* decisions on keys that found no room */
    uint64_t waiting; /* keys that have something to tell */
    uint64_t gateways;
    bool alone;
};
void vv_shares_look(const struct vv_shares *s, struct vv_shares_stats *ret); /* any thread */
/* Forgets keys that were not used for VV_SHARE_FORGET_NS; about once a second. */
void vv_shares_sweep(struct vv_shares *s, uint64_t now_ns);
#endif
