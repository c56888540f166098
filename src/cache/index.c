/* src/cache/index.c - open addressing with 8-byte places: the address of an object and 16 bits of
 * its hash above it, so that a wrong candidate costs no cache line of its own.
 *
 * Readers probe a table they loaded once. Writers (under the lock) store places one by one;
 * growing copies the places into a new table and publishes it, the old one is retired. A place that
 * becomes free in the middle of a run is marked deleted, so that runs stay whole for readers. */
#include "cache/store_int.h"
#include <stdlib.h>

#define FREE UINT64_C(0)
#define DELETED UINT64_C(1)
#define TAG(hash) ((hash) >> 48)
#define FIRST_SLOTS 16

static uint64_t place_of(const struct vv_cache_object *o)
{
    return TAG(o->hash) << 48 | (uint64_t)(uintptr_t)o;
}

static struct table *table_new(struct vv_cache *c, size_t slots)
{
    uint64_t charged;
    struct table *t = vv_cache_mem(c, sizeof(*t) + slots * sizeof(t->slots[0]), &charged);
    if (t != NULL) {
        memset(t, 0, sizeof(*t) + slots * sizeof(t->slots[0]));
        t->cache = c;
        t->charged = charged;
        t->mask = slots - 1;
    }
    return t;
}

static void table_retired(struct vv_epoch_item *item)
{
    struct table *t = VV_CONTAINER(item, struct table, retired);
    atomic_fetch_sub_explicit(&t->cache->held, t->charged, memory_order_relaxed);
    vv_cache_mem_free(t->cache, t, t->charged);
}

enum vv_err vv_cache_index_init(struct vv_cache *c)
{
    for (size_t i = 0; i < SEGMENTS; i++) {
        struct table *t = table_new(c, FIRST_SLOTS);
        if (t == NULL) {
            return VV_ENOMEM;
        }
        atomic_init(&c->segments[i].table, t);
    }
    return VV_OK;
}

void vv_cache_index_fini(struct vv_cache *c)
{
    for (size_t i = 0; i < SEGMENTS; i++) {
        struct table *t = atomic_load(&c->segments[i].table);
        if (t != NULL) {
            vv_cache_mem_free(c, t, t->charged);
        }
    }
}

VV_HOT struct vv_cache_object *vv_cache_index_next(struct vv_cache *c, struct vv_str key,
                                                   uint64_t hash, size_t *at)
{
    struct table *t = atomic_load_explicit(&segment_of(c, hash)->table, memory_order_acquire);
    for (size_t i = *at; i <= t->mask; i++) {
        const uint64_t slot =
            atomic_load_explicit(&t->slots[(hash + i) & t->mask], memory_order_acquire);
        if (slot == FREE) {
            return NULL;
        }
        if (slot == DELETED || slot >> 48 != TAG(hash)) {
            continue;
        }
        struct vv_cache_object *o = slot_object(slot);
        if (o->hash == hash && vv_str_eq(vv_cache_key(o), key)) {
            *at = i + 1;
            return o;
        }
    }
    return NULL;
}

static void table_put(struct table *t, uint64_t hash, uint64_t slot)
{
    size_t i = hash & t->mask;
    while (atomic_load_explicit(&t->slots[i], memory_order_relaxed) > DELETED) {
        i = (i + 1) & t->mask;
    }
    atomic_store_explicit(&t->slots[i], slot, memory_order_release);
}

/* A table that gets smaller is worth a moment over the budget. */
static enum vv_err rebuild(struct vv_cache *c, struct segment *s)
{
    struct table *old = atomic_load_explicit(&s->table, memory_order_relaxed);
    size_t slots = FIRST_SLOTS;
    while (slots < s->live * 2 + 2) {
        slots *= 2;
    }
    struct table *t = NULL;
    if (slots <= old->mask / 2 || vv_cache_mem_room(c, sizeof(*t) + slots * sizeof(t->slots[0]))) {
        t = table_new(c, slots);
    }
    if (t == NULL) {
        return VV_ENOMEM;
    }
    for (size_t i = 0; i <= old->mask; i++) {
        const uint64_t slot = atomic_load_explicit(&old->slots[i], memory_order_relaxed);
        if (slot > DELETED) {
            table_put(t, slot_object(slot)->hash, slot);
        }
    }
    s->filled = s->live;
    s->rebuilt++;
    atomic_store_explicit(&s->table, t, memory_order_release);
    atomic_fetch_add_explicit(&c->held, old->charged, memory_order_relaxed);
    vv_epoch_retire(c->epoch, &old->retired, table_retired);
    return VV_OK;
}

enum vv_err vv_cache_index_room(struct vv_cache *c, uint64_t hash)
{
    struct segment *s = segment_of(c, hash);
    const struct table *t = atomic_load_explicit(&s->table, memory_order_relaxed);
    return (s->filled + 1) * 4 > (t->mask + 1) * 3 ? rebuild(c, s) : VV_OK;
}

void vv_cache_index_shrink(struct vv_cache *c)
{
    for (size_t i = 0; i < SEGMENTS; i++) {
        struct segment *s = &c->segments[i];
        const struct table *t = atomic_load_explicit(&s->table, memory_order_relaxed);
        if (t->mask >= s->live * 8 + FIRST_SLOTS && rebuild(c, s) != VV_OK) {
            return; /* it stays large for now */
        }
    }
}

void vv_cache_index_add(struct vv_cache *c, struct vv_cache_object *o)
{
    struct segment *s = segment_of(c, o->hash);
    struct table *t = atomic_load_explicit(&s->table, memory_order_relaxed);
    /* A deleted place that is used again is counted twice in `filled`: the next rebuild comes a
     * little earlier, and no run is ever longer than the count allows. */
    table_put(t, o->hash, place_of(o));
    s->live++;
    s->filled++;
}

static _Atomic uint64_t *find_slot(struct vv_cache *c, const struct vv_cache_object *o)
{
    struct table *t = atomic_load_explicit(&segment_of(c, o->hash)->table, memory_order_relaxed);
    const uint64_t slot = place_of(o);
    size_t i = o->hash & t->mask;
    while (atomic_load_explicit(&t->slots[i], memory_order_relaxed) != slot) {
        i = (i + 1) & t->mask;
    }
    return &t->slots[i];
}

void vv_cache_index_remove(struct vv_cache *c, struct vv_cache_object *o)
{
    atomic_store_explicit(find_slot(c, o), DELETED, memory_order_release);
    segment_of(c, o->hash)->live--;
}
