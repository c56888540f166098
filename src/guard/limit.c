/* src/guard/limit.c - what a word says (judge, describe), and decisions over one or several words.
 *
 * One limit alone is a compare-and-swap. Several cannot be charged together that way, and charging
 * one after the other would need a rollback, during which innocent requests are refused. So the
 * words of such a decision are locked by their top bit, in the order of their addresses, for the
 * few tens of nanoseconds it takes to test all and write all. Finding a word: limit_table.c. */
#include "guard/limit_int.h"

#include <sched.h>

#define SPINS 128 /* before the processor is given away: the holder may not be running */
#define TRIES 16  /* a word that is stolen this often in a row is let go: see untracked */
#define SKEW_PART 64
#define SKEW_MAX_NS (10 * VV_MS)

enum vv_err vv_limit_init(struct vv_limit *limit, enum vv_limit_kind kind, uint64_t id,
                          uint64_t count, uint64_t per_ns, uint64_t at_once)
{
    struct vv_limit made = {
        .id = id, .kind = kind, .count = count, .per_ns = per_ns, .at_once = at_once};
    if (count == 0 || (kind != VV_LIMIT_CONCURRENT && per_ns == 0) ||
        (kind == VV_LIMIT_RATE && at_once == 0)) {
        return VV_EINVAL;
    }
    switch (kind) {
    case VV_LIMIT_RATE:
        made.interval_ns = per_ns / count + (per_ns % count != 0); /* never more than asked */
        if (at_once > (WORD_LOCKED >> 2) / made.interval_ns) {
            return VV_ERANGE;
        }
        break;
    case VV_LIMIT_WINDOW:
        if (count > VV_LIMIT_QUOTA_MAX || per_ns > VV_LIMIT_WINDOW_MAX_NS || per_ns % VV_SEC != 0) {
            return VV_ERANGE;
        }
        break;
    case VV_LIMIT_CONCURRENT:
        if (count > VV_LIMIT_CONCURRENT_MAX) {
            return VV_ERANGE;
        }
        break;
    default:
        return VV_EINVAL;
    }
    *limit = made;
    return VV_OK;
}

/* The window as seen at now_ns: the counters of a word that is one window old move down. */
struct window {
    uint64_t number, before, current;
    uint64_t elapsed_us, length_us;
};

static struct window window_at(const struct vv_limit *limit, uint64_t word, uint64_t now_ns)
{
    struct window w = {.length_us = limit->per_ns / VV_US};
    const uint64_t number = now_ns / limit->per_ns;
    const uint64_t age = (number - (word >> WINDOW_NUMBER_SHIFT)) & WINDOW_NUMBER_MASK;
    w.number = number & WINDOW_NUMBER_MASK;
    w.elapsed_us = (now_ns - number * limit->per_ns) / VV_US;
    if (age == 0) {
        w.before = (word >> WINDOW_BEFORE_SHIFT) & WINDOW_COUNT_MASK;
        w.current = word & WINDOW_COUNT_MASK;
    } else if (age == 1) {
        w.before = word & WINDOW_COUNT_MASK;
    } else if (age == WINDOW_NUMBER_MASK) { /* another thread's clock is already in the next one */
        w.number = (w.number + 1) & WINDOW_NUMBER_MASK;
        w.before = (word >> WINDOW_BEFORE_SHIFT) & WINDOW_COUNT_MASK;
        w.current = word & WINDOW_COUNT_MASK;
        w.elapsed_us = 0;
    }
    return w;
}

/* before < 2^22 and length_us < 2^42: the product fits. Rounded up, to the strict side. */
static uint64_t window_used(const struct window *w)
{
    const uint64_t part = w->before * (w->length_us - w->elapsed_us);
    return w->current + part / w->length_us + (part % w->length_us != 0);
}

/* Workers read their clocks at different times of their turns, so the second of two requests may be
 * decided with an earlier now_ns than the first. Without this the last request of a burst would be
 * refused for a microsecond. The word still grows by whole intervals: the rate is the same. */
static uint64_t rate_skew_ns(const struct vv_limit *limit)
{
    return vv_min_u64(limit->interval_ns / SKEW_PART, SKEW_MAX_NS);
}

/* What counts as used at least, because the rest of the limit is not this gateway's. */
static uint64_t floor_of(uint64_t all, uint64_t cap, uint64_t one)
{
    const uint64_t mine = vv_max_u64(cap, one);
    return mine < all ? all - mine : 0;
}

static uint64_t rate_floor_ns(const struct vv_limit *limit, const struct vv_limit_terms *t,
                              uint64_t cost)
{
    return t->cap == UINT64_MAX
               ? 0
               : floor_of(limit->at_once * t->interval_ns, t->cap, cost * t->interval_ns);
}

/* May `cost` pass, and what does the word say afterwards? *ret_word is set only then. */
static bool judge(const struct vv_limit *limit, const struct vv_limit_terms *t, uint64_t cost,
                  uint64_t word, uint64_t now_ns, uint64_t *ret_word)
{
    if (limit->kind == VV_LIMIT_RATE) {
        if (cost > limit->at_once) {
            return false;
        }
        const uint64_t from = vv_max_u64(word, now_ns + rate_floor_ns(limit, t, cost));
        if (from - now_ns > (limit->at_once - cost) * t->interval_ns + rate_skew_ns(limit)) {
            return false;
        }
        *ret_word = from + cost * t->interval_ns;
        return true;
    }
    if (limit->kind == VV_LIMIT_WINDOW) {
        struct window w = window_at(limit, word, now_ns + t->shift_ns);
        const uint64_t used = window_used(&w);
        const uint64_t floor = floor_of(limit->count, t->cap, cost);
        w.current += floor > used ? floor - used : 0;
        if (cost > limit->count || vv_max_u64(used, floor) + cost > limit->count) {
            return false;
        }
        *ret_word =
            w.number << WINDOW_NUMBER_SHIFT | w.before << WINDOW_BEFORE_SHIFT | (w.current + cost);
        return true;
    }
    const uint64_t in_flight = word & FLIGHT_COUNT_MASK;
    if (in_flight >= limit->count) {
        return false;
    }
    *ret_word = vv_limit_flight_word(in_flight + 1, now_ns);
    return true;
}

/* When does before * (1 - e / length) + fixed + cost <= count hold? Microseconds into the window
 * in which `before` fades; everything rounded up. */
static uint64_t fades_us(uint64_t before, uint64_t fixed, uint64_t cost,
                         const struct vv_limit *limit, uint64_t length_us)
{
    const uint64_t room = limit->count - cost - fixed;
    if (before <= room) {
        return 0;
    }
    return length_us - room * length_us / before;
}

static uint64_t window_retry_ns(const struct vv_limit *limit, const struct window *w, uint64_t cost)
{
    if (w->current + cost <= limit->count) {
        const uint64_t at = fades_us(w->before, w->current, cost, limit, w->length_us);
        return at > w->elapsed_us ? (at - w->elapsed_us) * VV_US : 0;
    }
    return (w->length_us - w->elapsed_us + fades_us(w->current, 0, cost, limit, w->length_us)) *
           VV_US;
}

static void describe_rate(const struct vv_limit *limit, const struct vv_limit_terms *t,
                          uint64_t cost, uint64_t word, uint64_t now_ns,
                          struct vv_limit_answer *ret)
{
    const uint64_t all_ns = limit->at_once * t->interval_ns + rate_skew_ns(limit);
    const uint64_t floor_ns = rate_floor_ns(limit, t, cost);
    const uint64_t debt_ns = vv_max_u64(word, now_ns + floor_ns) - now_ns;
    ret->remaining = debt_ns < all_ns ? (all_ns - debt_ns) / t->interval_ns : 0;
    ret->reset_ns = debt_ns - floor_ns;
    if (!ret->allowed) {
        ret->retry_ns = cost > limit->at_once ? VV_LIMIT_NEVER
                                              : debt_ns - (limit->at_once - cost) * t->interval_ns;
    }
}

static void describe(const struct vv_limit *limit, const struct vv_limit_terms *t, uint64_t cost,
                     uint64_t word, uint64_t now_ns, bool allowed, struct vv_limit_answer *ret)
{
    *ret = (struct vv_limit_answer){.allowed = allowed};
    if (limit->kind == VV_LIMIT_RATE) {
        describe_rate(limit, t, cost, word, now_ns, ret);
        return;
    }
    if (limit->kind == VV_LIMIT_WINDOW) {
        const struct window w = window_at(limit, word, now_ns + t->shift_ns);
        const uint64_t used = vv_max_u64(window_used(&w), floor_of(limit->count, t->cap, cost));
        ret->remaining = used < limit->count ? limit->count - used : 0;
        ret->reset_ns = w.current > 0  ? (2 * w.length_us - w.elapsed_us) * VV_US
                        : w.before > 0 ? (w.length_us - w.elapsed_us) * VV_US
                                       : 0;
        if (!allowed) {
            ret->retry_ns = cost > limit->count ? VV_LIMIT_NEVER : window_retry_ns(limit, &w, cost);
        }
        return;
    }
    const uint64_t in_flight = word & FLIGHT_COUNT_MASK;
    ret->remaining = in_flight < limit->count ? limit->count - in_flight : 0;
}

static inline void pause_a_little(unsigned *spins)
{
    if (++*spins % SPINS == 0) {
        sched_yield();
    } else {
#if defined(__x86_64__)
        __builtin_ia32_pause();
#endif
    }
}

/* One limit. False on a stolen slot: look for it again. */
static bool take_one(struct vv_limit_slot *slot, uint64_t tag, const struct vv_limit_ask *ask,
                     const struct vv_limit_terms *terms, uint64_t now_ns, bool *ret_allowed,
                     uint64_t *ret_word)
{
    unsigned spins = 0;
    for (;;) {
        uint64_t word = atomic_load_explicit(&slot->word, memory_order_acquire);
        if ((word & WORD_LOCKED) != 0) {
            pause_a_little(&spins);
            continue;
        }
        if (atomic_load_explicit(&slot->tag, memory_order_acquire) != tag) {
            return false;
        }
        *ret_word = word;
        *ret_allowed = judge(ask->limit, terms, ask->cost, word, now_ns, ret_word);
        if (!*ret_allowed ||
            atomic_compare_exchange_weak_explicit(&slot->word, &word, *ret_word,
                                                  memory_order_acq_rel, memory_order_relaxed)) {
            return true;
        }
    }
}

/* A decision on its way: slots in the order of their addresses, each once. */
struct several {
    const struct vv_limit_ask *asks;
    const struct vv_limit_place *places;
    const struct vv_limit_terms *terms;
    struct vv_limit_slot **slots; /* by ask; NULL is untracked */
    uint8_t order[VV_LIMITS_AT_ONCE];
    size_t count;                                              /* of order */
    uint64_t word[VV_LIMITS_AT_ONCE], next[VV_LIMITS_AT_ONCE]; /* by ask */
};

static void put_in_order(struct several *s, size_t count)
{
    s->count = 0;
    for (size_t i = 0; i < count; i++) {
        size_t at = 0;
        while (at < s->count && s->slots[s->order[at]] < s->slots[i]) {
            at++;
        }
        if (s->slots[i] == NULL || (at < s->count && s->slots[s->order[at]] == s->slots[i])) {
            s->slots[i] = NULL; /* the same limit and key twice: charged once */
            continue;
        }
        memmove(s->order + at + 1, s->order + at, s->count - at);
        s->order[at] = (uint8_t)i;
        s->count++;
    }
}

/* False when a slot was stolen meanwhile; then nothing is locked. */
static bool lock_all(struct several *s)
{
    for (size_t n = 0; n < s->count; n++) {
        const size_t i = s->order[n];
        struct vv_limit_slot *slot = s->slots[i];
        unsigned spins = 0;
        uint64_t word = atomic_load_explicit(&slot->word, memory_order_relaxed) & ~WORD_LOCKED;
        while (!atomic_compare_exchange_weak_explicit(&slot->word, &word, word | WORD_LOCKED,
                                                      memory_order_acq_rel, memory_order_relaxed)) {
            if ((word & WORD_LOCKED) != 0) {
                pause_a_little(&spins);
                word &= ~WORD_LOCKED;
            }
        }
        s->word[i] = word;
        if (atomic_load_explicit(&slot->tag, memory_order_acquire) != s->places[i].tag) {
            for (size_t k = 0; k <= n; k++) {
                atomic_store_explicit(&s->slots[s->order[k]]->word, s->word[s->order[k]],
                                      memory_order_release);
            }
            return false;
        }
    }
    return true;
}

static bool take_several(struct several *s, size_t count, uint64_t now_ns, uint64_t *ret_words)
{
    bool allowed = true;
    for (size_t i = 0; i < count; i++) {
        if (s->slots[i] == NULL) {
            s->word[i] = vv_limit_fresh(s->asks[i].limit, now_ns);
        }
        s->next[i] = s->word[i];
        allowed = judge(s->asks[i].limit, &s->terms[i], s->asks[i].cost, s->word[i], now_ns,
                        &s->next[i]) &&
                  allowed;
    }
    for (size_t i = 0; i < count; i++) {
        ret_words[i] = allowed ? s->next[i] : s->word[i];
        if (s->slots[i] != NULL) {
            atomic_store_explicit(&s->slots[i]->word, ret_words[i], memory_order_release);
        }
    }
    return allowed;
}

static bool decide(struct vv_limits *l, const struct vv_limit_ask *asks,
                   const struct vv_limit_place *places, const struct vv_limit_terms *terms,
                   size_t count, uint64_t now_ns, struct vv_limit_slot **slots, uint64_t *ret_words)
{
    struct several s = {.asks = asks, .places = places, .terms = terms, .slots = slots};
    for (int tries = 0; tries < TRIES; tries++) {
        for (size_t i = 0; i < count; i++) {
            slots[i] = vv_limits_find(l, &places[i]);
            if (slots[i] == NULL) {
                slots[i] = vv_limits_insert(l, &places[i], asks[i].limit, now_ns);
            }
        }
        if (count == 1 && slots[0] != NULL) {
            bool allowed;
            if (take_one(slots[0], places[0].tag, asks, terms, now_ns, &allowed, ret_words)) {
                return allowed;
            }
            continue;
        }
        put_in_order(&s, count);
        if (lock_all(&s)) {
            return take_several(&s, count, now_ns, ret_words);
        }
    }
    for (size_t i = 0; i < count; i++) {
        slots[i] = NULL;
    }
    s.count = 0;
    atomic_fetch_add_explicit(&l->untracked, count, memory_order_relaxed);
    return take_several(&s, count, now_ns, ret_words);
}

/* Judges the words just written or kept, for the answers' sake. */
static void describe_all(const struct vv_limit_ask *asks, const struct vv_limit_terms *terms,
                         size_t count, uint64_t now_ns, bool allowed, const uint64_t *words,
                         struct vv_limit_answer *answers)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t unused;
        const bool one =
            allowed || judge(asks[i].limit, &terms[i], asks[i].cost, words[i], now_ns, &unused);
        describe(asks[i].limit, &terms[i], asks[i].cost, words[i], now_ns, one, &answers[i]);
    }
}

/* NULL: this limit is counted by this gateway alone, or there is no room to count for the others. */
static inline struct vv_share *terms_of(const struct vv_limit_ask *ask,
                                        const struct vv_limit_place *place, bool add,
                                        uint64_t now_ns, struct vv_limit_terms *ret)
{
    if (ask->limit->shares != NULL && ask->limit->kind != VV_LIMIT_CONCURRENT) {
        return vv_share_find(ask, place, add, now_ns, ret);
    }
    *ret = (struct vv_limit_terms){ask->limit->interval_ns, UINT64_MAX, 0};
    return NULL;
}

bool vv_limits_take(struct vv_limits *l, const struct vv_limit_ask *asks, size_t count,
                    uint64_t now_ns, struct vv_limit_grant *grant, struct vv_limit_answer *answers)
{
    struct vv_limit_place places[VV_LIMITS_AT_ONCE];
    struct vv_limit_terms terms[VV_LIMITS_AT_ONCE];
    struct vv_share *shares[VV_LIMITS_AT_ONCE];
    struct vv_limit_slot *slots[VV_LIMITS_AT_ONCE];
    uint64_t words[VV_LIMITS_AT_ONCE];
    VV_ASSERT(count > 0 && count <= VV_LIMITS_AT_ONCE);
    for (size_t i = 0; i < count; i++) {
        vv_limits_place(l, asks[i].limit, asks[i].key, &places[i]);
    }
    for (size_t i = 0; i < count; i++) {
        shares[i] = terms_of(&asks[i], &places[i], true, now_ns, &terms[i]);
    }
    const bool allowed = decide(l, asks, places, terms, count, now_ns, slots, words);
    if (answers != NULL) {
        describe_all(asks, terms, count, now_ns, allowed, words, answers);
    }
    memset(grant, 0, sizeof(*grant));
    for (size_t i = 0; i < count; i++) {
        if (shares[i] != NULL) {
            vv_share_count(asks[i].limit->shares, shares[i], asks[i].cost, allowed, now_ns);
        }
        grant->held[i] = allowed && asks[i].limit->kind == VV_LIMIT_CONCURRENT ? slots[i] : NULL;
    }
    return allowed;
}

bool vv_limits_peek(struct vv_limits *l, const struct vv_limit_ask *asks, size_t count,
                    uint64_t now_ns, struct vv_limit_answer *answers)
{
    struct vv_limit_terms terms[VV_LIMITS_AT_ONCE];
    uint64_t words[VV_LIMITS_AT_ONCE];
    bool allowed = true;
    VV_ASSERT(count > 0 && count <= VV_LIMITS_AT_ONCE);
    for (size_t i = 0; i < count; i++) {
        struct vv_limit_place place;
        uint64_t unused;
        vv_limits_place(l, asks[i].limit, asks[i].key, &place);
        (void)terms_of(&asks[i], &place, false, now_ns, &terms[i]);
        if (!vv_limits_word(l, &place, &words[i])) {
            words[i] = vv_limit_fresh(asks[i].limit, now_ns);
        }
        allowed =
            judge(asks[i].limit, &terms[i], asks[i].cost, words[i], now_ns, &unused) && allowed;
    }
    if (answers != NULL) {
        describe_all(asks, terms, count, now_ns, false, words, answers);
    }
    return allowed;
}

bool vv_limits_word(struct vv_limits *l, const struct vv_limit_place *p, uint64_t *ret_word)
{
    struct vv_limit_slot *slot = vv_limits_find(l, p);
    if (slot == NULL) {
        return false;
    }
    *ret_word = atomic_load_explicit(&slot->word, memory_order_acquire) & ~WORD_LOCKED;
    return true;
}

void vv_limits_put(struct vv_limits *l, const struct vv_limit_place *p, uint64_t word, bool later)
{
    struct vv_limit_slot *slot = vv_limits_find(l, p);
    unsigned spins = 0;
    while (slot != NULL) {
        uint64_t was = atomic_load_explicit(&slot->word, memory_order_acquire);
        if ((was & WORD_LOCKED) != 0) {
            pause_a_little(&spins);
        } else if (atomic_load_explicit(&slot->tag, memory_order_acquire) != p->tag ||
                   (later && was >= word) ||
                   atomic_compare_exchange_weak_explicit(
                       &slot->word, &was, word, memory_order_acq_rel, memory_order_relaxed)) {
            return;
        }
    }
}

uint64_t vv_limit_window_used(const struct vv_limit *limit, uint64_t word, uint64_t now_ns)
{
    const struct window w = window_at(limit, word, now_ns);
    return window_used(&w);
}

void vv_limits_release(struct vv_limits *l, struct vv_limit_grant *grant, uint64_t now_ns)
{
    (void)l;
    for (size_t i = 0; i < VV_LIMITS_AT_ONCE; i++) {
        struct vv_limit_slot *slot = grant->held[i];
        unsigned spins = 0;
        while (slot != NULL) {
            uint64_t word = atomic_load_explicit(&slot->word, memory_order_acquire);
            if ((word & WORD_LOCKED) != 0) {
                pause_a_little(&spins);
                continue;
            }
            const uint64_t in_flight = word & FLIGHT_COUNT_MASK;
            VV_ASSERT(in_flight > 0);
            if (atomic_compare_exchange_weak_explicit(&slot->word, &word,
                                                      vv_limit_flight_word(in_flight - 1, now_ns),
                                                      memory_order_acq_rel, memory_order_relaxed)) {
                grant->held[i] = slot = NULL;
            }
        }
    }
}
