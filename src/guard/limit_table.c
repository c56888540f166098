/* src/guard/limit_table.c - where a key's word is. Two buckets to choose from keep places even
 * without moving words, so a pointer to a held word stays good. A thief locks the word before it
 * changes the tag; whoever found the slot by the old tag then fails its compare-and-swap, because
 * a new word carries the present time and differs from any idle one. */
#include "guard/limit_int.h"

#include <stdlib.h>

#define KEYS_MAX (UINT64_C(1) << 24)
#define KIND_RATE 0
#define KIND_CONCURRENT KIND_MASK
#define HELD UINT64_MAX /* idle_in_ns() of a word that must not be taken */
#define STEALS 8        /* tries to get a slot before the key goes untracked */

enum vv_err vv_limits_new(uint64_t keys, uint64_t seed, struct vv_limits **ret)
{
    uint64_t buckets = 2;
    if (keys > KEYS_MAX) {
        return VV_ERANGE;
    }
    while (buckets * BUCKET_SLOTS < keys) {
        buckets *= 2;
    }
    struct vv_limits *l = calloc(1, sizeof(*l));
    /* calloc() of much memory is untouched pages; aligned_alloc() and clearing would touch them. */
    void *memory = calloc(buckets + 1, sizeof(struct vv_limit_bucket));
    if (l == NULL || memory == NULL) {
        free(l);
        free(memory);
        return VV_ENOMEM;
    }
    const uintptr_t at = ((uintptr_t)memory + VV_CACHE_LINE - 1) & ~(uintptr_t)(VV_CACHE_LINE - 1);
    l->memory = memory;
    l->bucket = (struct vv_limit_bucket *)at;
    l->mask = buckets - 1;
    l->seed = seed;
    for (size_t i = 0; i < STRIPES; i++) {
        pthread_mutex_init(&l->stripe[i], NULL);
    }
    *ret = l;
    return VV_OK;
}

void vv_limits_free(struct vv_limits *l)
{
    if (l == NULL) {
        return;
    }
    for (size_t i = 0; i < STRIPES; i++) {
        pthread_mutex_destroy(&l->stripe[i]);
    }
    free(l->memory);
    free(l);
}

uint64_t vv_limit_fresh(const struct vv_limit *limit, uint64_t now_ns)
{
    switch (limit->kind) {
    case VV_LIMIT_WINDOW:
        return (now_ns / limit->per_ns & WINDOW_NUMBER_MASK) << WINDOW_NUMBER_SHIFT;
    case VV_LIMIT_CONCURRENT:
        return vv_limit_flight_word(0, now_ns);
    default:
        return now_ns;
    }
}

void vv_limits_place(const struct vv_limits *l, const struct vv_limit *limit, struct vv_str key,
                     struct vv_limit_place *ret)
{
    /* An odd multiplier spreads ids that differ in few bits. */
    const uint64_t hash = vv_str_hash(key, l->seed ^ limit->id * UINT64_C(0x9E3779B97F4A7C15));
    const uint64_t kind = limit->kind == VV_LIMIT_RATE     ? KIND_RATE
                          : limit->kind == VV_LIMIT_WINDOW ? limit->per_ns / VV_SEC
                                                           : KIND_CONCURRENT;
    const uint64_t name = hash >> KIND_BITS != 0 ? hash & ~KIND_MASK : KIND_MASK + 1;
    /* The low bits, which the tag does not hold, choose the first bucket; the way from there to the
     * second comes from the tag and is odd, so the two differ. */
    const uint64_t step = (name * UINT64_C(0xD6E8FEB86659FD93)) >> 32 | 1;
    ret->hash = hash;
    ret->tag = name | kind;
    ret->bucket[0] = (uint32_t)(hash & l->mask);
    ret->bucket[1] = (uint32_t)((hash ^ step) & l->mask);
    __builtin_prefetch(&l->bucket[ret->bucket[0]], 1);
    __builtin_prefetch(&l->bucket[ret->bucket[1]], 1);
}

struct vv_limit_slot *vv_limits_find(struct vv_limits *l, const struct vv_limit_place *p)
{
    for (size_t b = 0; b < 2; b++) {
        struct vv_limit_slot *slot = l->bucket[p->bucket[b]].slot;
        for (size_t i = 0; i < BUCKET_SLOTS; i++) {
            if (atomic_load_explicit(&slot[i].tag, memory_order_acquire) == p->tag) {
                return &slot[i];
            }
        }
    }
    return NULL;
}

/* How long the word will still say something a new one would not: 0 is idle. */
static uint64_t idle_in_ns(uint64_t tag, uint64_t word, uint64_t now_ns)
{
    const uint64_t kind = tag & KIND_MASK;
    if (kind == KIND_RATE) {
        return word > now_ns ? word - now_ns : 0;
    }
    if (kind == KIND_CONCURRENT) {
        return (word & FLIGHT_COUNT_MASK) > 0 ? HELD : 0;
    }
    const uint64_t length_ns = kind * VV_SEC;
    const uint64_t number = now_ns / length_ns;
    const uint64_t age = (number - (word >> WINDOW_NUMBER_SHIFT)) & WINDOW_NUMBER_MASK;
    const uint64_t rest_ns = (number + 1) * length_ns - now_ns;
    const bool current = (word & WINDOW_COUNT_MASK) > 0;
    const bool before = (word >> WINDOW_BEFORE_SHIFT & WINDOW_COUNT_MASK) > 0;
    if (age == 0 || age == WINDOW_NUMBER_MASK) {
        return current ? rest_ns + length_ns : before ? rest_ns : 0;
    }
    return age == 1 && current ? rest_ns : 0;
}

struct victim {
    struct vv_limit_slot *slot;
    uint64_t tag, word, idle_in_ns;
};

/* A free slot of the emptier bucket, else the slot that will be idle soonest. Slots locked by
 * somebody are in use: passed over. */
static struct victim choose(struct vv_limits *l, const struct vv_limit_place *p, uint64_t now_ns)
{
    struct victim used = {.idle_in_ns = HELD};
    struct victim free_one[2] = {{.slot = NULL}};
    size_t free_slots[2] = {0};
    for (size_t n = 0; n < 2 * BUCKET_SLOTS; n++) {
        const size_t b = n / BUCKET_SLOTS;
        struct victim v = {.slot = &l->bucket[p->bucket[b]].slot[n % BUCKET_SLOTS]};
        v.tag = atomic_load_explicit(&v.slot->tag, memory_order_acquire);
        v.word = atomic_load_explicit(&v.slot->word, memory_order_acquire);
        if ((v.word & WORD_LOCKED) != 0) {
            continue;
        }
        if (v.tag == 0) {
            free_slots[b]++;
            free_one[b] = v;
            continue;
        }
        v.idle_in_ns = idle_in_ns(v.tag, v.word, now_ns);
        if (v.idle_in_ns < used.idle_in_ns) {
            used = v;
        }
    }
    const struct victim *best = &free_one[free_slots[1] > free_slots[0] ? 1 : 0];
    return best->slot != NULL ? *best : used;
}

/* Gives the victim's slot to a new key. False when somebody used it meanwhile. */
static bool steal(struct vv_limits *l, const struct victim *v, uint64_t tag, uint64_t word)
{
    uint64_t was = v->word;
    if (!atomic_compare_exchange_strong_explicit(&v->slot->word, &was, was | WORD_LOCKED,
                                                 memory_order_acq_rel, memory_order_relaxed)) {
        return false;
    }
    if (atomic_load_explicit(&v->slot->tag, memory_order_acquire) != v->tag) {
        atomic_store_explicit(&v->slot->word, was, memory_order_release);
        return false;
    }
    _Atomic uint64_t *counter = v->tag == 0          ? &l->used
                                : v->idle_in_ns == 0 ? &l->reused
                                                     : &l->evicted_active;
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
    atomic_store_explicit(&v->slot->tag, tag, memory_order_release);
    atomic_store_explicit(&v->slot->word, word, memory_order_release);
    return true;
}

struct vv_limit_slot *vv_limits_insert(struct vv_limits *l, const struct vv_limit_place *p,
                                       const struct vv_limit *limit, uint64_t now_ns)
{
    pthread_mutex_t *stripe = &l->stripe[(p->tag >> KIND_BITS) % STRIPES];
    pthread_mutex_lock(stripe);
    struct vv_limit_slot *slot = vv_limits_find(l, p);
    for (int tries = 0; slot == NULL && tries < STEALS; tries++) {
        const struct victim v = choose(l, p, now_ns);
        if (v.slot != NULL && v.idle_in_ns != HELD &&
            steal(l, &v, p->tag, vv_limit_fresh(limit, now_ns))) {
            slot = v.slot;
        }
    }
    pthread_mutex_unlock(stripe);
    if (slot == NULL) {
        atomic_fetch_add_explicit(&l->untracked, 1, memory_order_relaxed);
    }
    return slot;
}

void vv_limits_look(const struct vv_limits *l, struct vv_limits_stats *ret)
{
    *ret = (struct vv_limits_stats){
        .capacity = (l->mask + 1) * BUCKET_SLOTS,
        .used = atomic_load_explicit(&l->used, memory_order_relaxed),
        .reused = atomic_load_explicit(&l->reused, memory_order_relaxed),
        .evicted_active = atomic_load_explicit(&l->evicted_active, memory_order_relaxed),
        .untracked = atomic_load_explicit(&l->untracked, memory_order_relaxed)};
}
