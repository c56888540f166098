/* src/guard/share.c - the keys of shared limits: found and counted by every thread, told and corrected by one.
 *
 * A decision pays for finding the key, one atomic addition, and, once between two tellings, a push on a
 * stack of keys that were used. The thread that talks takes the whole stack at once. What comes back from
 * the store is put into the key's terms and into its word, which is all a decision ever looks at.
 *
 * A gateway whose part is p counts in intervals that are 1/p as long, so between two answers it lets pass
 * p times the rate however late the next answer comes. */
#include "guard/share.h"
#include "base/list.h"
#include "guard/limit_int.h"

#include <stdlib.h>

#define PROBES 16           /* places a key may be in */
#define PART_MIN (1.0 / 64) /* below it intervals could outgrow a word */
#define ROOM_NS                                                                                    \
    (UINT64_C(1) << 55)  /* longest time to fill a rate whose interval may be stretched */
#define DEBT_MAX_NS 2e18 /* 63 years: a store may say anything */
#define AGE_MAX_NS VV_SEC

struct vv_share {
    _Alignas(VV_CACHE_LINE) _Atomic uint64_t hash; /* 0: free */
    _Atomic uint64_t counts; /* asked 32 | passed 32: since they were taken last */
    _Atomic uint64_t interval_ns, cap;
    _Atomic(struct vv_share *) next; /* on the stack */
    _Atomic uint64_t first_ns;       /* when it was put there */
    _Atomic uint32_t queued;
    _Atomic uint32_t unit; /* the dearest request seen: what may always come */
    /* The talking thread's, but for the first filling. */
    struct vv_limit limit;
    struct vv_limit_place place;
    uint8_t name[VV_SHARE_NAME_BYTES];
    struct vv_list
        node; /* of its group: has something to tell, or will have to say that it is through */
    uint64_t used_ns, told_ns;
    uint64_t from_ns, began_ns; /* when what is under way, and what came after it, began */
    uint64_t passed, turn, demand;
    double part;
    bool listed, counting, under_way, lost, known, resume;
};

struct vv_shares {
    struct vv_share *entry; /* inside `memory`, on a cache line */
    void *memory;
    size_t mask;
    vv_share_name_fn *name;
    pthread_mutex_t lock; /* adding a key */
    _Atomic(struct vv_share *) used;
    _Atomic uint64_t gateways, shift_ns, keys, untold, waiting;
    _Atomic bool alone;
    struct vv_list group[VV_SHARE_GROUPS];
};
_Static_assert(sizeof(struct vv_share) % VV_CACHE_LINE == 0, "whole lines");

enum vv_err vv_shares_new(size_t keys, vv_share_name_fn *name, struct vv_shares **ret)
{
    size_t room = 64;
    while (room < keys) {
        room *= 2;
    }
    struct vv_shares *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return VV_ENOMEM;
    }
    s->memory = calloc(room + 1, sizeof s->entry[0]); /* pages are touched when keys come */
    if (s->memory == NULL) {
        free(s);
        return VV_ENOMEM;
    }
    const uintptr_t at = (uintptr_t)s->memory + VV_CACHE_LINE - 1;
    s->entry = (struct vv_share *)(at & ~(uintptr_t)(VV_CACHE_LINE - 1));
    for (size_t i = 0; i < VV_SHARE_GROUPS; i++) {
        vv_list_init(&s->group[i]);
    }
    s->mask = room - 1;
    s->name = name;
    pthread_mutex_init(&s->lock, NULL);
    atomic_init(&s->gateways, 1);
    atomic_init(&s->alone, true);
    *ret = s;
    return VV_OK;
}

void vv_shares_free(struct vv_shares *s)
{
    if (s != NULL) {
        pthread_mutex_destroy(&s->lock);
        free(s->memory);
        free(s);
    }
}

void vv_shares_gateways(struct vv_shares *s, uint64_t count)
{
    atomic_store_explicit(&s->gateways, vv_max_u64(count, 1), memory_order_relaxed);
}

void vv_shares_clock(struct vv_shares *s, uint64_t store_now_us, uint64_t now_ns)
{
    if (store_now_us > now_ns / VV_US && store_now_us < UINT64_MAX / 2 / VV_US) {
        atomic_store_explicit(&s->shift_ns, store_now_us * VV_US - now_ns, memory_order_relaxed);
    }
}

/* ---- what every thread does ---- */

/* A newcomer's part. The whole while the store is away: there is nobody to share with then. */
static double first_part(const struct vv_shares *s)
{
    if (atomic_load_explicit(&s->alone, memory_order_relaxed)) {
        return 1;
    }
    const double part = 1 / (double)atomic_load_explicit(&s->gateways, memory_order_relaxed);
    return part > PART_MIN ? part : PART_MIN;
}

static uint64_t interval_of(const struct vv_limit *limit, double part)
{
    const bool stretch = part < 1 && limit->at_once <= ROOM_NS / limit->interval_ns;
    return stretch ? (uint64_t)((double)limit->interval_ns / part) : limit->interval_ns;
}

/* In intervals that are 1 / part as long, part x at_once of them are as long as at_once were. */
static uint64_t cap_of(const struct vv_limit *limit, double part)
{
    return part >= 1                        ? UINT64_MAX
           : limit->kind == VV_LIMIT_WINDOW ? (uint64_t)(part * (double)limit->count)
                                            : limit->at_once * limit->interval_ns;
}

/* The same key under another definition (a reload) is another entry: the old one is not used any more and
 * goes by itself. */
static uint64_t hash_of(const struct vv_limit *limit, const struct vv_limit_place *place)
{
    const uint64_t shape = (limit->count * 31 + limit->per_ns) * 31 + limit->at_once;
    const uint64_t hash = place->hash ^ shape * UINT64_C(0x9E3779B97F4A7C15);
    return hash != 0 ? hash : 1;
}

static struct vv_share *look_for(struct vv_shares *s, uint64_t hash)
{
    for (size_t i = 0; i < PROBES; i++) {
        struct vv_share *e = &s->entry[(hash + i) & s->mask];
        if (atomic_load_explicit(&e->hash, memory_order_acquire) == hash) {
            return e;
        }
    }
    return NULL;
}

/* Counts are half a word, and many requests come between two tellings. */
static uint32_t clip(uint64_t n)
{
    return n < UINT32_MAX / 4096 ? (uint32_t)n : UINT32_MAX / 4096;
}

/* Whoever still counts in a place that was given up and taken again counts for the wrong key, once. */
static void fill(struct vv_shares *s, struct vv_share *e, const struct vv_limit_ask *ask,
                 const struct vv_limit_place *place, uint64_t now_ns)
{
    const double part = first_part(s);
    s->name(ask->limit->id, ask->key, e->name);
    e->limit = *ask->limit;
    e->place = *place;
    e->used_ns = e->began_ns = e->from_ns = now_ns;
    e->told_ns = e->passed = e->demand = 0;
    e->turn = 1;
    e->counting = e->lost = e->known = e->resume = false;
    e->part = part;
    atomic_store_explicit(&e->counts, 0, memory_order_relaxed);
    atomic_store_explicit(&e->unit, clip(ask->cost), memory_order_relaxed);
    atomic_store_explicit(&e->cap, cap_of(ask->limit, part), memory_order_relaxed);
    atomic_store_explicit(&e->interval_ns,
                          ask->limit->kind == VV_LIMIT_RATE ? interval_of(ask->limit, part) : 0,
                          memory_order_relaxed);
}

static struct vv_share *add_entry(struct vv_shares *s, uint64_t hash,
                                  const struct vv_limit_ask *ask,
                                  const struct vv_limit_place *place, uint64_t now_ns)
{
    VV_ASSERT(s->entry != NULL);
    pthread_mutex_lock(&s->lock);
    struct vv_share *e = look_for(s, hash);
    for (size_t i = 0; e == NULL && i < PROBES; i++) {
        struct vv_share *at = &s->entry[(hash + i) & s->mask];
        if (atomic_load_explicit(&at->hash, memory_order_acquire) == 0 &&
            atomic_load_explicit(&at->queued, memory_order_acquire) == 0) {
            fill(s, at, ask, place, now_ns);
            atomic_store_explicit(&at->hash, hash, memory_order_release);
            atomic_fetch_add_explicit(&s->keys, 1, memory_order_relaxed);
            e = at;
        }
    }
    pthread_mutex_unlock(&s->lock);
    return e;
}

struct vv_share *vv_share_find(const struct vv_limit_ask *ask, const struct vv_limit_place *place,
                               bool add, uint64_t now_ns, struct vv_limit_terms *ret)
{
    struct vv_shares *s = ask->limit->shares;
    const uint64_t hash = hash_of(ask->limit, place);
    struct vv_share *e = look_for(s, hash);
    if (e == NULL && add) {
        e = add_entry(s, hash, ask, place, now_ns);
        if (e == NULL) {
            atomic_fetch_add_explicit(&s->untold, 1, memory_order_relaxed);
        }
    }
    ret->shift_ns = atomic_load_explicit(&s->shift_ns, memory_order_relaxed);
    if (e == NULL) {
        const double part = first_part(s);
        const bool rate = ask->limit->kind == VV_LIMIT_RATE;
        ret->interval_ns = rate ? interval_of(ask->limit, part) : 0;
        ret->cap = cap_of(ask->limit, part);
        return NULL;
    }
    ret->interval_ns = atomic_load_explicit(&e->interval_ns, memory_order_acquire);
    ret->cap = atomic_load_explicit(&e->cap, memory_order_relaxed);
    return e;
}

void vv_share_count(struct vv_shares *s, struct vv_share *e, uint64_t cost, bool passed,
                    uint64_t now_ns)
{
    const uint32_t n = clip(cost);
    atomic_fetch_add_explicit(&e->counts, (uint64_t)n << 32 | (passed ? n : 0),
                              memory_order_relaxed);
    if (n > atomic_load_explicit(&e->unit, memory_order_relaxed)) {
        atomic_store_explicit(&e->unit, n, memory_order_relaxed);
    }
    if (atomic_load_explicit(&e->queued, memory_order_relaxed) != 0 ||
        atomic_exchange_explicit(&e->queued, 1, memory_order_acq_rel) != 0) {
        return;
    }
    atomic_store_explicit(&e->first_ns, now_ns, memory_order_relaxed);
    struct vv_share *head = atomic_load_explicit(&s->used, memory_order_relaxed);
    do {
        atomic_store_explicit(&e->next, head, memory_order_relaxed);
    } while (!atomic_compare_exchange_weak_explicit(&s->used, &head, e, memory_order_release,
                                                    memory_order_relaxed));
}

/* ---- what the talking thread does ---- */

static unsigned group_of(const struct vv_share *e)
{
    return e->name[0] % VV_SHARE_GROUPS;
}

static void list(struct vv_shares *s, struct vv_share *e)
{
    if (!e->listed) {
        e->listed = true;
        vv_list_push_back(&s->group[group_of(e)], &e->node);
        atomic_fetch_add_explicit(&s->waiting, 1, memory_order_relaxed);
    }
}

static void unlist(struct vv_shares *s, struct vv_share *e)
{
    if (e->listed) {
        e->listed = false;
        vv_list_del(&e->node);
        atomic_fetch_sub_explicit(&s->waiting, 1, memory_order_relaxed);
    }
}

/* All keys that were used since the last call, to the lists of their groups. While the store is away there
 * are no lists. */
static void take_used(struct vv_shares *s)
{
    const bool alone = atomic_load_explicit(&s->alone, memory_order_relaxed);
    struct vv_share *e = atomic_exchange_explicit(&s->used, NULL, memory_order_acquire);
    while (e != NULL) {
        struct vv_share *next = atomic_load_explicit(&e->next, memory_order_relaxed);
        const uint64_t first_ns = atomic_load_explicit(&e->first_ns, memory_order_relaxed);
        const bool there = atomic_load_explicit(&e->hash, memory_order_relaxed) != 0;
        e->used_ns = vv_max_u64(e->used_ns, first_ns);
        if (!e->counting) {
            e->counting = true;
            e->began_ns = vv_max_u64(e->began_ns, first_ns);
        }
        if (there && !alone) {
            list(s, e);
        }
        atomic_store_explicit(&e->queued, 0, memory_order_release);
        e = next;
    }
}

/* Is it time? Never asked: at once. Used: after a round. Not used any more: after a while, once. */
static bool due(const struct vv_share *e, uint64_t now_ns)
{
    if (e->under_way) {
        return false;
    }
    if (!e->known && !e->lost) {
        return true;
    }
    const bool used = e->lost || atomic_load_explicit(&e->counts, memory_order_relaxed) != 0;
    return now_ns - e->told_ns >= (used ? VV_SHARE_ROUND_NS : VV_SHARE_LINGER_NS);
}

/* What is asked for most, and waited longest. */
static double heat(const struct vv_share *e, uint64_t now_ns)
{
    const uint64_t asked = atomic_load_explicit(&e->counts, memory_order_relaxed) >> 32;
    const uint64_t since_ns = e->told_ns != 0 ? e->told_ns : e->began_ns;
    return (double)(asked + e->passed) * (double)(now_ns - vv_min_u64(since_ns, now_ns));
}

/* Keeps the `max` hottest in ret[], the coldest of them first: max is small. */
static void keep_hottest(struct vv_share **ret, size_t *count, size_t max, struct vv_share *e,
                         uint64_t now_ns)
{
    const double mine = heat(e, now_ns);
    if (*count == max && heat(ret[0], now_ns) >= mine) {
        return;
    }
    size_t at = 0;
    if (*count < max) {
        memmove(ret + 1, ret, *count * sizeof(ret[0])); /* NOLINT: pointers */
        ++*count;
    }
    while (at + 1 < *count && heat(ret[at + 1], now_ns) < mine) {
        ret[at] = ret[at + 1];
        at++;
    }
    ret[at] = e;
}

/* Takes the counts for telling, unless what was told before may not have arrived. */
static void begin(struct vv_share *e, uint64_t now_ns)
{
    e->under_way = true;
    if (e->lost) {
        return;
    }
    const uint64_t counts = atomic_exchange_explicit(&e->counts, 0, memory_order_relaxed);
    const uint64_t since_ns = e->known ? e->told_ns : e->began_ns;
    const uint64_t took_ns = vv_max_u64(now_ns - vv_min_u64(since_ns, now_ns), VV_SHARE_ROUND_NS);
    const uint64_t rate = (uint64_t)((double)(counts >> 32) * (double)VV_SEC / (double)took_ns);
    e->passed = counts & UINT32_MAX;
    e->demand = counts >> 32 == 0 ? 0 : vv_max_u64(e->known ? (e->demand + rate) / 2 : rate, 1);
    e->from_ns = e->began_ns;
    e->began_ns = now_ns;
    e->counting = false;
}

size_t vv_shares_collect(struct vv_shares *s, unsigned group, uint64_t now_ns,
                         struct vv_share **ret, size_t max)
{
    size_t count = 0;
    take_used(s);
    if (atomic_load_explicit(&s->alone, memory_order_relaxed)) {
        return 0;
    }
    VV_LIST_EACH (it, &s->group[group]) {
        struct vv_share *e = VV_LIST_ENTRY(it, struct vv_share, node);
        if (due(e, now_ns)) {
            keep_hottest(ret, &count, max, e, now_ns);
        }
    }
    for (size_t i = 0; i < count; i++) {
        begin(ret[i], now_ns);
    }
    return count;
}

/* How much of its word is left to this gateway, as if the limit were its own. ns of the plain interval. */
static double left_ns(const struct vv_share *e, struct vv_limits *l, uint64_t now_ns)
{
    const double all_ns = (double)(e->limit.at_once * e->limit.interval_ns);
    const uint64_t interval_ns = atomic_load_explicit(&e->interval_ns, memory_order_relaxed);
    uint64_t word;
    if (!vv_limits_word(l, &e->place, &word) || word <= now_ns) {
        return all_ns;
    }
    /* In stretched intervals; one of them is 1 / part plain ones, and a part of all that is left. */
    const double left = (double)(e->limit.at_once * interval_ns) - (double)(word - now_ns);
    return left < all_ns ? left : all_ns;
}

void vv_share_ask(const struct vv_shares *s, struct vv_limits *l, const struct vv_share *e,
                  uint64_t now_ns, struct vv_share_question *ret)
{
    const uint64_t age_ns = now_ns - vv_min_u64(e->from_ns, now_ns);
    *ret = (struct vv_share_question){.limit = &e->limit,
                                      .passed = e->resume ? 0 : e->passed,
                                      .age_us = vv_min_u64(age_ns, AGE_MAX_NS) / VV_US,
                                      .turn = e->turn,
                                      .demand = e->demand,
                                      .resume = e->resume};
    memcpy(ret->name, e->name, sizeof ret->name);
    if (!e->resume) {
        return;
    }
    uint64_t word;
    if (e->limit.kind == VV_LIMIT_RATE) {
        const double all_ns = (double)(e->limit.at_once * e->limit.interval_ns);
        const double left = left_ns(e, l, now_ns);
        ret->resume_us = (uint64_t)((all_ns - (left > 0 ? left : 0)) / (double)VV_US);
    } else if (vv_limits_word(l, &e->place, &word)) {
        const uint64_t shift_ns = atomic_load_explicit(&s->shift_ns, memory_order_relaxed);
        ret->resume_us = vv_limit_window_used(&e->limit, word, now_ns + shift_ns);
    }
}

/* The word in which `left_ns` (plain, of the whole limit) are left, of which this gateway may use its part.
 * What passed since the store was told is not in that. */
static void put_rate(struct vv_share *e, struct vv_limits *l, double part, double left,
                     uint64_t since, uint64_t at_ns)
{
    const struct vv_limit *limit = &e->limit;
    const uint64_t was_ns = atomic_load_explicit(&e->interval_ns, memory_order_relaxed);
    const uint64_t interval_ns = interval_of(limit, part);
    const double stretch = (double)interval_ns / (double)limit->interval_ns;
    const double one_ns =
        (double)atomic_load_explicit(&e->unit, memory_order_relaxed) * (double)limit->interval_ns;
    /* A whole request may come as soon as the limit has room for one: parts of requests cannot. */
    const double whole = left < one_ns ? left : one_ns;
    const double mine = left > 0 && left < whole * stretch ? whole * stretch : left;
    const double debt =
        (double)(limit->at_once * interval_ns) - mine + (double)since * (double)interval_ns;
    const uint64_t word = at_ns + (debt <= 0            ? 0
                                   : debt < DEBT_MAX_NS ? (uint64_t)debt
                                                        : (uint64_t)DEBT_MAX_NS);
    const bool own = was_ns == interval_ns && interval_ns == limit->interval_ns;
    /* Between the two stores a decision mixes old and new: let it be the strict way. */
    if (interval_ns < was_ns) {
        atomic_store_explicit(&e->interval_ns, interval_ns, memory_order_release);
    }
    vv_limits_put(l, &e->place, word, own);
    atomic_store_explicit(&e->interval_ns, interval_ns, memory_order_release);
    atomic_store_explicit(&e->cap, cap_of(limit, part), memory_order_relaxed);
}

static void put_window(struct vv_shares *s, struct vv_share *e, struct vv_limits *l, double part,
                       uint64_t before, uint64_t current, uint64_t since, uint64_t now_ns)
{
    const struct vv_limit *limit = &e->limit;
    const uint64_t shift_ns = atomic_load_explicit(&s->shift_ns, memory_order_relaxed);
    const uint64_t number = ((now_ns + shift_ns) / limit->per_ns) & WINDOW_NUMBER_MASK;
    const uint64_t base = number << WINDOW_NUMBER_SHIFT | vv_min_u64(before, WINDOW_COUNT_MASK)
                                                              << WINDOW_BEFORE_SHIFT;
    const uint64_t faded = vv_limit_window_used(limit, base, now_ns + shift_ns);
    const uint64_t used = vv_min_u64(faded + current, limit->count);
    const uint64_t left = limit->count - used;
    const uint64_t one = atomic_load_explicit(&e->unit, memory_order_relaxed);
    const uint64_t ceiled = (uint64_t)(part * (double)left) + (part < 1 && left > 0);
    const uint64_t mine = vv_min_u64(vv_max_u64(ceiled, one), left);
    const uint64_t now_used = vv_min_u64(current + (left - mine) + since, WINDOW_COUNT_MASK);
    vv_limits_put(l, &e->place, base | now_used, false);
    atomic_store_explicit(&e->cap, cap_of(limit, part), memory_order_relaxed);
}

void vv_share_answered(struct vv_shares *s, struct vv_limits *l, struct vv_share *e,
                       const struct vv_share_answer *a, uint64_t at_ns, uint64_t now_ns)
{
    const bool through = e->demand == 0;
    const double first = first_part(s);
    double part = a->part > PART_MIN ? a->part : PART_MIN; /* and of what is no number */
    part = part < 1 ? part : 1;
    part = through ? first : part; /* as for any key that is not in use */
    const uint64_t since = atomic_load_explicit(&e->counts, memory_order_relaxed) & UINT32_MAX;
    if (e->limit.kind == VV_LIMIT_RATE) {
        const uint64_t debt_us = vv_min_u64(a->debt_us, (uint64_t)(DEBT_MAX_NS / 1e3));
        const double left =
            (double)(e->limit.at_once * e->limit.interval_ns) - (double)debt_us * (double)VV_US;
        put_rate(e, l, part, left, since, at_ns);
    } else {
        put_window(s, e, l, part, a->before, vv_min_u64(a->current, WINDOW_COUNT_MASK), since,
                   now_ns);
    }
    e->part = part;
    e->passed = 0;
    e->turn++;
    e->under_way = e->lost = e->resume = false;
    e->known = !through; /* else its next request is told at once */
    e->told_ns = now_ns;
    if (through && since == 0) {
        unlist(s, e);
    }
}

void vv_share_lost(struct vv_shares *s, struct vv_share *e)
{
    (void)s;
    e->under_way = false;
    e->lost = true;
}

/* Each key goes on with the whole limit; what is left to a part of it stands for what is left in all. */
static void go_alone(struct vv_shares *s, struct vv_limits *l, struct vv_share *e, uint64_t now_ns)
{
    uint64_t word;
    if (e->limit.kind == VV_LIMIT_RATE) {
        put_rate(e, l, 1, left_ns(e, l, now_ns), 0, now_ns);
    } else if (vv_limits_word(l, &e->place, &word)) {
        const uint64_t shift_ns = atomic_load_explicit(&s->shift_ns, memory_order_relaxed);
        const uint64_t used = vv_limit_window_used(&e->limit, word, now_ns + shift_ns);
        const uint64_t mine = e->limit.count - vv_min_u64(used, e->limit.count);
        const uint64_t left = vv_min_u64((uint64_t)((double)mine / e->part), e->limit.count);
        put_window(s, e, l, 1, 0, e->limit.count - left, 0, now_ns);
    }
    e->part = 1;
    e->under_way = e->lost = false;
    unlist(s, e);
}

void vv_shares_alone(struct vv_shares *s, struct vv_limits *l, bool alone, uint64_t now_ns)
{
    take_used(s);
    if (atomic_exchange(&s->alone, alone) == alone) {
        return;
    }
    pthread_mutex_lock(&s->lock); /* nobody is in the middle of filling one */
    for (size_t i = 0; i <= s->mask; i++) {
        struct vv_share *e = &s->entry[i];
        if (atomic_load_explicit(&e->hash, memory_order_acquire) == 0) {
            continue;
        }
        if (alone) {
            go_alone(s, l, e, now_ns);
        } else {
            e->resume = true;
            e->known = false;
            e->passed = 0;
            e->began_ns = now_ns;
            atomic_store_explicit(&e->counts, 0, memory_order_relaxed);
            list(s, e);
        }
    }
    pthread_mutex_unlock(&s->lock);
}

void vv_shares_look(const struct vv_shares *s, struct vv_shares_stats *ret)
{
    *ret = (struct vv_shares_stats){.keys = atomic_load(&s->keys),
                                    .untold = atomic_load(&s->untold),
                                    .waiting = atomic_load(&s->waiting),
                                    .gateways = atomic_load(&s->gateways),
                                    .alone = atomic_load(&s->alone)};
}

void vv_shares_sweep(struct vv_shares *s, uint64_t now_ns)
{
    take_used(s);
    for (size_t i = 0; i <= s->mask; i++) {
        struct vv_share *e = &s->entry[i];
        if (atomic_load_explicit(&e->hash, memory_order_acquire) == 0 || e->under_way ||
            e->listed || now_ns - vv_min_u64(e->used_ns, now_ns) < VV_SHARE_FORGET_NS ||
            atomic_load_explicit(&e->queued, memory_order_relaxed) != 0) {
            continue;
        }
        atomic_store_explicit(&e->hash, 0, memory_order_release);
        atomic_fetch_sub_explicit(&s->keys, 1, memory_order_relaxed);
    }
}
