/* src/cache/evict.c - who has to leave. Two engines behind one interface:
 *
 * GDSF:     a heap by L + frequency / cost, L being the priority of the last victim and the cost
 *           what the object takes of the limits: many small objects instead of one large one, and
 *           with sizes alike least frequently used with aging. In front of it an admission test in
 *           the manner of TinyLFU: a sketch remembers how often a key was asked for, also while it
 *           was not here, and a candidate gets in only over victims of lower priority than its own
 *           would be.
 * S3-FIFO:  new objects pass a small queue (a tenth of the bytes); who is asked for again there, or
 *           comes back soon after leaving it, goes to the main queue, a clock. No heap: for caches
 *           of very many objects where the microsecond of an insertion counts.
 *
 * Hits only mark the object (a saturating counter); the marks are folded in when the object is
 * looked at as a victim, so the hit path shares nothing with eviction. AUTO is GDSF: on the traces
 * it misses less than S3-FIFO nearly everywhere, also where all sizes are alike, so nothing is
 * chosen online. Figures: README.md. */
#include "cache/store_int.h"
#include <math.h>

#define SMALL_SHARE 10  /* one part in ten: Yang et al. 2023 */
#define PROMOTE_HITS 2  /* hits in the small queue that lead to the main queue */
#define MAIN_HITS_MAX 3 /* rounds a hit object survives in the main queue, at most */
#define HITS_COUNTED 15 /* between two looks: a burst is no more than that */
#define GHOST_WAYS 8
#define HOLES_SHARE 8   /* holes up to this part of the budget are not counted */
#define VICTIMS_MAX 128 /* compared with one candidate; larger ones are let in */

static enum vv_cache_policy decided(enum vv_cache_policy policy)
{
    return policy == VV_CACHE_AUTO ? VV_CACHE_GDSF : policy;
}

void vv_cache_evict_init(struct vv_cache *c)
{
    c->evict = (struct evict){.mode = decided(c->conf.policy)};
    vv_list_init(&c->evict.small);
    vv_list_init(&c->evict.main);
}

void vv_cache_evict_fini(struct vv_cache *c)
{
    vv_cache_mem_free(c, c->evict.heap, 0);
    vv_cache_mem_free(c, c->evict.ghost.slots, 0);
    vv_cache_mem_free(c, c->evict.sketch.counters, 0);
}

/* --- the ghost queue --- */

static uint32_t print_of(uint64_t hash)
{
    return (uint32_t)(hash >> 32) | 1;
}

static struct ghost_slot *ghost_bucket(struct ghost *g, uint64_t hash)
{
    return &g->slots[(hash & (g->buckets - 1)) * GHOST_WAYS];
}

/* As many ghosts as the main queue holds objects; grown by starting again, which costs a few
 * promotions once per doubling. */
static void ghost_fit(struct vv_cache *c, uint64_t want)
{
    struct ghost *g = &c->evict.ghost;
    size_t buckets = g->buckets > 0 ? g->buckets : 16;
    while (buckets * GHOST_WAYS < want * 2) {
        buckets *= 2;
    }
    if (buckets == g->buckets) {
        return;
    }
    uint64_t charged;
    const size_t bytes = buckets * GHOST_WAYS * sizeof(struct ghost_slot);
    struct ghost_slot *slots =
        atomic_load(&c->used) + vv_cache_mem_need(bytes) <= vv_cache_budget(c)
            ? vv_cache_mem(c, bytes, &charged)
            : NULL;
    if (slots == NULL) {
        return;
    }
    memset(slots, 0, bytes);
    struct ghost old = *g;
    g->slots = slots;
    g->buckets = buckets;
    for (size_t i = 0; i < old.buckets * GHOST_WAYS; i++) {
        /* The bucket came from low bits of the hash that are no longer known: both halves. */
        for (size_t b = i / GHOST_WAYS; old.slots[i].print != 0 && b < buckets; b += old.buckets) {
            slots[b * GHOST_WAYS + i % GHOST_WAYS] = old.slots[i];
        }
    }
    if (old.slots != NULL) {
        vv_cache_mem_free(c, old.slots, vv_cache_usable(old.slots));
    }
}

static void ghost_add(struct vv_cache *c, uint64_t hash)
{
    struct evict *e = &c->evict;
    ghost_fit(c, e->main_n + 64);
    if (e->ghost.slots == NULL) {
        return;
    }
    struct ghost_slot *bucket = ghost_bucket(&e->ghost, hash);
    struct ghost_slot *oldest = bucket;
    for (size_t i = 1; i < GHOST_WAYS; i++) {
        if (e->ghost.stamp - bucket[i].stamp > e->ghost.stamp - oldest->stamp) {
            oldest = &bucket[i];
        }
    }
    *oldest = (struct ghost_slot){print_of(hash), ++e->ghost.stamp};
}

static bool ghost_take(struct evict *e, uint64_t hash)
{
    const uint64_t length = e->main_n > 16 ? e->main_n : 16;
    for (size_t i = 0; e->ghost.slots != NULL && i < GHOST_WAYS; i++) {
        struct ghost_slot *slot = &ghost_bucket(&e->ghost, hash)[i];
        if (slot->print == print_of(hash)) {
            const bool young = e->ghost.stamp - slot->stamp < length;
            slot->print = 0;
            return young;
        }
    }
    return false;
}

/* --- the heap --- */

static void heap_set(struct evict *e, size_t at, struct vv_cache_object *o)
{
    e->heap[at] = o;
    o->order.heap.at = at;
}

static void heap_up(struct evict *e, size_t at, struct vv_cache_object *o)
{
    while (at > 0 && e->heap[(at - 1) / 2]->order.heap.priority > o->order.heap.priority) {
        heap_set(e, at, e->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    heap_set(e, at, o);
}

static void heap_down(struct evict *e, size_t at, struct vv_cache_object *o)
{
    for (;;) {
        size_t child = at * 2 + 1;
        if (child >= e->heap_n) {
            break;
        }
        if (child + 1 < e->heap_n &&
            e->heap[child + 1]->order.heap.priority < e->heap[child]->order.heap.priority) {
            child++;
        }
        if (e->heap[child]->order.heap.priority >= o->order.heap.priority) {
            break;
        }
        heap_set(e, at, e->heap[child]);
        at = child;
    }
    heap_set(e, at, o);
}

static bool heap_room(struct vv_cache *c, size_t objects)
{
    struct evict *e = &c->evict;
    size_t room = e->heap_room > 0 ? e->heap_room : 64;
    while (room < objects) {
        room *= 2;
    }
    if (room == e->heap_room) {
        return true;
    }
    uint64_t charged;
    const size_t bytes = room * sizeof(struct vv_cache_object *);
    struct vv_cache_object **heap =
        vv_cache_mem_room(c, bytes) ? vv_cache_mem(c, bytes, &charged) : NULL;
    if (heap == NULL) {
        return false;
    }
    if (e->heap != NULL) {
        memcpy(heap, e->heap, e->heap_n * sizeof(struct vv_cache_object *));
        vv_cache_mem_free(c, e->heap, vv_cache_usable(e->heap));
    }
    e->heap = heap;
    e->heap_room = room;
    return true;
}

static uint64_t weight(const struct vv_cache_object *o)
{
    return o->charged + (o->body != NULL ? o->body->charged : 0);
}

/* What a priority is divided by: the parts of all limits together that the object takes, so that
 * the limit that is short decides what is dear. Their root gives the fewest missed bytes. */
static double cost(const struct vv_cache *c, uint64_t bytes, uint64_t body_n)
{
    const struct vv_cache_conf *conf = &c->conf;
    double part = (double)bytes / (double)conf->budget_bytes;
    if (conf->body_bytes_max > 0) {
        part += (double)body_n / (double)conf->body_bytes_max;
    }
    if (conf->entries_max > 0) {
        part += 1.0 / (double)conf->entries_max;
    }
    return c->evict.mode == VV_CACHE_GDSF_BYTES ? sqrt(part) : part;
}

static double worth(const struct vv_cache *c, const struct vv_cache_object *o)
{
    return (double)(o->seen + 1) / cost(c, weight(o), o->body_n);
}

static bool is_gdsf(const struct vv_cache *c)
{
    return c->evict.mode == VV_CACHE_GDSF || c->evict.mode == VV_CACHE_GDSF_BYTES;
}

static void heap_push(struct vv_cache *c, struct vv_cache_object *o)
{
    struct evict *e = &c->evict;
    o->place = PLACE_HEAP;
    o->order.heap.priority = e->floor + worth(c, o);
    heap_up(e, e->heap_n++, o);
}

static void heap_take(struct evict *e, struct vv_cache_object *o)
{
    const size_t at = o->order.heap.at;
    struct vv_cache_object *last = e->heap[--e->heap_n];
    o->place = PLACE_NONE;
    if (last != o) {
        heap_down(e, at, last);
        heap_up(e, last->order.heap.at, last);
    }
}

/* --- the queues --- */

static void queue_push(struct evict *e, struct vv_cache_object *o, enum place place)
{
    const bool small = place == PLACE_SMALL;
    o->place = (uint8_t)place;
    vv_list_push_back(small ? &e->small : &e->main, &o->order.node);
    *(small ? &e->small_n : &e->main_n) += 1;
    *(small ? &e->small_bytes : &e->main_bytes) += weight(o);
}

static void queue_take(struct evict *e, struct vv_cache_object *o)
{
    const bool small = o->place == PLACE_SMALL;
    o->place = PLACE_NONE;
    vv_list_del(&o->order.node);
    *(small ? &e->small_n : &e->main_n) -= 1;
    *(small ? &e->small_bytes : &e->main_bytes) -= weight(o);
}

static struct vv_cache_object *queue_first(struct vv_list *queue)
{
    return VV_LIST_ENTRY(queue->next, struct vv_cache_object, order.node);
}

static uint8_t take_hits(struct vv_cache_object *o)
{
    const uint8_t hits = atomic_exchange_explicit(&o->hits, 0, memory_order_relaxed);
    const unsigned sum = hits + atomic_load_explicit(&o->folded, memory_order_relaxed);
    atomic_store_explicit(&o->folded, (uint8_t)(sum < 255 ? sum : 255), memory_order_relaxed);
    return hits < HITS_COUNTED ? hits : HITS_COUNTED;
}

/* --- the choice --- */

static void queues_to_heap(struct vv_cache *c, struct vv_list *queue)
{
    while (!vv_list_empty(queue)) {
        struct vv_cache_object *o = queue_first(queue);
        queue_take(&c->evict, o);
        o->seen = (uint8_t)(o->seen + take_hits(o));
        heap_push(c, o);
    }
}

/* The least worth first in both orders. */
static void heap_to_queue(struct evict *e)
{
    while (e->heap_n > 0) {
        struct vv_cache_object *o = e->heap[0];
        heap_take(e, o);
        o->seen = o->seen < MAIN_HITS_MAX ? o->seen : MAIN_HITS_MAX;
        queue_push(e, o, o->seen > 0 ? PLACE_MAIN : PLACE_SMALL);
    }
}

/* The cost of an object has changed, and with it all priorities. */
static void weigh_again(struct vv_cache *c)
{
    struct evict *e = &c->evict;
    for (size_t i = 0; i < e->heap_n; i++) {
        struct vv_cache_object *o = e->heap[i];
        o->order.heap.priority = e->floor + worth(c, o);
    }
    for (size_t i = e->heap_n / 2; i-- > 0;) {
        heap_down(e, i, e->heap[i]);
    }
}

/* Moves everything over to the other engine. False: no room for a heap, nothing has changed. */
static bool set_mode(struct vv_cache *c, enum vv_cache_policy mode)
{
    struct evict *e = &c->evict;
    const bool heap = mode == VV_CACHE_GDSF || mode == VV_CACHE_GDSF_BYTES;
    if (mode == e->mode) {
        return true;
    }
    if (heap && !heap_room(c, c->entries + 1)) {
        return false;
    }
    if (is_gdsf(c) && !heap) {
        heap_to_queue(e);
    }
    e->mode = mode;
    if (heap) {
        e->floor = 0;
        weigh_again(c);
        queues_to_heap(c, &e->small);
        queues_to_heap(c, &e->main);
    }
    return true;
}

enum vv_err vv_cache_evict_policy(struct vv_cache *c, enum vv_cache_policy policy)
{
    return set_mode(c, decided(policy)) ? VV_OK : VV_ENOMEM;
}

enum vv_err vv_cache_evict_room(struct vv_cache *c)
{
    return !is_gdsf(c) || heap_room(c, c->evict.heap_n + 1) ? VV_OK : VV_ENOMEM;
}

void vv_cache_evict_add(struct vv_cache *c, struct vv_cache_object *o,
                        const struct vv_cache_object *old)
{
    struct evict *e = &c->evict;
    o->seen = old != NULL ? old->seen : 0;
    if (is_gdsf(c)) {
        if (old == NULL) { /* it may have been here before: the sketch remembers */
            const uint32_t asked = vv_cache_sketch_count(&e->sketch, o->hash);
            o->seen = (uint8_t)(asked > 0 ? asked - 1 : 0);
        }
        heap_push(c, o);
        return;
    }
    const bool back = ghost_take(e, o->hash) || (old != NULL && old->place == PLACE_MAIN);
    queue_push(e, o, back ? PLACE_MAIN : PLACE_SMALL);
}

void vv_cache_evict_remove(struct vv_cache *c, struct vv_cache_object *o)
{
    if (o->place == PLACE_HEAP) {
        heap_take(&c->evict, o);
    } else if (o->place != PLACE_NONE) {
        queue_take(&c->evict, o);
    }
}

/* The loops end: a look at an object takes its hits away, and no object gets more than
 * MAIN_HITS_MAX rounds for them. */
static struct vv_cache_object *s3_victim(struct vv_cache *c, uint64_t now_ns)
{
    struct evict *e = &c->evict;
    uint64_t looks = (e->small_n + e->main_n) * (MAIN_HITS_MAX + 2);
    while (e->small_n + e->main_n > 0) {
        const bool from_main =
            e->main_n > 0 &&
            (e->small_n == 0 || e->small_bytes * SMALL_SHARE < e->small_bytes + e->main_bytes);
        struct vv_cache_object *o = queue_first(from_main ? &e->main : &e->small);
        const bool dead = o->keep_until_ns <= now_ns || looks == 0;
        queue_take(e, o);
        looks -= looks > 0;
        const uint8_t hits = take_hits(o);
        if (from_main) {
            const uint8_t kept =
                hits > 0 || o->seen > 0
                    ? (uint8_t)(o->seen + hits > MAIN_HITS_MAX ? MAIN_HITS_MAX : o->seen + hits)
                    : 0;
            if (kept == 0 || dead) {
                return o;
            }
            o->seen = (uint8_t)(kept - 1);
            queue_push(e, o, PLACE_MAIN);
        } else if (hits >= PROMOTE_HITS && !dead) {
            queue_push(e, o, PLACE_MAIN);
        } else {
            ghost_add(c, o->hash);
            return o;
        }
    }
    return NULL;
}

static struct vv_cache_object *gdsf_victim(struct vv_cache *c, uint64_t now_ns)
{
    struct evict *e = &c->evict;
    uint64_t looks = e->heap_n * 2;
    while (e->heap_n > 0) {
        struct vv_cache_object *o = e->heap[0];
        const uint8_t hits = take_hits(o);
        if (hits == 0 || o->keep_until_ns <= now_ns || looks == 0) {
            heap_take(e, o);
            return o;
        }
        looks--;
        o->seen = (uint8_t)(o->seen + hits > 255 ? 255 : o->seen + hits);
        for (uint8_t i = 0; i < hits; i++) {
            vv_cache_sketch_add(&e->sketch, o->hash);
        }
        heap_take(e, o);
        heap_push(c, o);
    }
    return NULL;
}

static struct vv_cache_object *victim(struct vv_cache *c, uint64_t now_ns)
{
    return is_gdsf(c) ? gdsf_victim(c, now_ns) : s3_victim(c, now_ns);
}

static void evict(struct vv_cache *c, struct vv_cache_object *o, uint64_t now_ns)
{
    if (o->keep_until_ns <= now_ns) {
        c->stats.evicted_expired++;
    } else {
        c->stats.evicted_space++;
    }
    if (is_gdsf(c)) {
        c->evict.floor = o->order.heap.priority;
    }
    vv_cache_unlink(c, o);
}

/* The budget without what is kept for held bytes, and without holes in memory beyond a few. */
static uint64_t limit_of(const struct vv_cache *c)
{
    const uint64_t budget = vv_cache_budget(c), holes = vv_pool_holes(&c->pool);
    const uint64_t fine = budget / HOLES_SHARE + 4 * c->pool.heap[0].region_bytes;
    const uint64_t lost = holes > fine ? vv_min_u64(holes - fine, budget / 2) : 0;
    return budget - budget / 64 - lost;
}

/* Does it fit once `freed` more is gone? */
static bool fits(struct vv_cache *c, const struct want *w, const struct want *freed)
{
    const uint64_t used = atomic_load_explicit(&c->used, memory_order_relaxed);
    const uint64_t held = atomic_load_explicit(&c->held, memory_order_relaxed);
    const uint64_t live = used > held ? used - held : 0;
    const uint64_t limit = limit_of(c);
    if (live + w->need > limit + freed->need) {
        return false;
    }
    if (c->conf.entries_max > 0 && c->entries + w->objects > c->conf.entries_max + freed->objects) {
        return false;
    }
    return c->conf.body_bytes_max == 0 ||
           c->bodies + w->body_n <= c->conf.body_bytes_max + freed->body_n;
}

/* Sets victims aside until the candidate fits. They come in order of priority, so the first one
 * that is worth more than the candidate ends it: the candidate would be the next to leave anyway. A
 * candidate that needs more than VICTIMS_MAX is judged batch by batch. */
static enum vv_err gdsf_admit(struct vv_cache *c, uint64_t hash, const struct want *w,
                              uint64_t now_ns)
{
    struct evict *e = &c->evict;
    struct vv_cache_object *out[VICTIMS_MAX];
    struct want freed = {0, 0, 0, 0};
    const uint32_t asked = vv_cache_sketch_count(&e->sketch, hash);
    const double mine = e->floor + asked / cost(c, w->need, w->body_n);
    bool refused = false;
    size_t n = 0;
    while (!refused && n < VICTIMS_MAX && !fits(c, w, &freed)) {
        struct vv_cache_object *o = gdsf_victim(c, now_ns);
        if (o == NULL) {
            break;
        }
        out[n++] = o;
        freed.need += weight(o);
        freed.body_n += o->body_n;
        freed.objects++;
        refused = o->keep_until_ns > now_ns && o->order.heap.priority > mine;
    }
    for (size_t i = 0; i < n; i++) {
        if (refused && out[i]->keep_until_ns > now_ns) {
            out[i]->place = PLACE_HEAP;
            heap_up(e, e->heap_n++, out[i]); /* with the priority it had */
        } else {
            evict(c, out[i], now_ns);
        }
    }
    return refused ? VV_ELIMIT : VV_OK;
}

/* What a candidate has taken already, a body that came in pieces, was taken from whoever came first
 * without asking who is worth more. So the test is whether as much again would be given to it: who
 * wins leaves behind the room it came through, and who loses gives it back. Either way the next one
 * comes in through that room, and objects of little worth in a row push nobody else out. */
enum vv_err vv_cache_evict_for(struct vv_cache *c, uint64_t hash, const struct want *w,
                               uint64_t now_ns)
{
    const struct want whole = {w->need + w->taken, w->body_n, w->objects, 0}, none = {0, 0, 0, 0};
    if (w->objects > 0) {
        vv_cache_sketch_age(&c->evict.sketch, c->entries);
        vv_cache_sketch_add(&c->evict.sketch, hash);
    }
    if (fits(c, &whole, &none)) {
        return VV_OK;
    }
    while (is_gdsf(c) && w->objects > 0 && c->entries > 0 && !fits(c, &whole, &none)) {
        const enum vv_err err = gdsf_admit(c, hash, &whole, now_ns);
        if (err != VV_OK) {
            return err;
        }
    }
    while (!fits(c, w, &none)) {
        struct vv_cache_object *o = victim(c, now_ns);
        if (o == NULL) {
            return VV_ENOMEM;
        }
        evict(c, o, now_ns);
    }
    return VV_OK;
}

bool vv_cache_evict_fit(struct vv_cache *c, size_t victims_max, uint64_t now_ns)
{
    const struct want none = {0, 0, 0, 0};
    while (!fits(c, &none, &none)) {
        struct vv_cache_object *o = victims_max-- > 0 ? victim(c, now_ns) : NULL;
        if (o == NULL) {
            return c->entries == 0;
        }
        evict(c, o, now_ns);
    }
    return true;
}

bool vv_cache_evict_down(struct vv_cache *c, uint64_t bytes, size_t victims_max, uint64_t now_ns)
{
    for (;;) {
        const uint64_t used = atomic_load_explicit(&c->used, memory_order_relaxed);
        const uint64_t held = atomic_load_explicit(&c->held, memory_order_relaxed);
        if (used <= held + bytes || c->entries == 0) {
            return true;
        }
        struct vv_cache_object *o = victims_max-- > 0 ? victim(c, now_ns) : NULL;
        if (o == NULL) {
            return false;
        }
        evict(c, o, now_ns);
    }
}

/* What was made for more objects than there are now. Ghosts come back by themselves. */
void vv_cache_evict_shrink(struct vv_cache *c)
{
    struct evict *e = &c->evict;
    if (e->ghost.buckets * GHOST_WAYS > e->main_n * 16 + 1024) {
        vv_cache_mem_free(c, e->ghost.slots, vv_cache_usable(e->ghost.slots));
        e->ghost = (struct ghost){.slots = NULL};
    }
    if (e->heap_room > e->heap_n * 8 + 1024) {
        uint64_t charged;
        const size_t room = e->heap_n * 2 + 64;
        const size_t each = sizeof(struct vv_cache_object *);
        struct vv_cache_object **heap = vv_cache_mem(c, room * each, &charged);
        if (heap != NULL) {
            memcpy(heap, e->heap, e->heap_n * each);
            vv_cache_mem_free(c, e->heap, vv_cache_usable(e->heap));
            e->heap = heap;
            e->heap_room = room;
        }
    }
}

bool vv_cache_mem_room(struct vv_cache *c, size_t bytes)
{
    const uint64_t need = vv_cache_mem_need(bytes), budget = vv_cache_budget(c);
    if (need >= budget) {
        return false;
    }
    if (atomic_load(&c->used) + need > budget) {
        (void)vv_cache_evict_down(c, budget - need, SIZE_MAX, 0);
        vv_epoch_reclaim(c->epoch);
    }
    return atomic_load(&c->used) + need <= budget;
}
