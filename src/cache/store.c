/* src/cache/store.c - looking up without a lock, storing under one.
 *
 * One lock for writers and not one per shard: an insert follows a fetch from upstream, which costs
 * a thousand times as much as the microsecond under the lock, and one order of eviction over the
 * whole cache is worth hits. Memory is taken and filled outside the lock, once there is room. */
#include "cache/fill.h"
#include "cache/store_int.h"
#include <stdlib.h>

#define HITS_MAX 250      /* a hot object is written to no more often */
#define STEP_BYTES VV_MIB /* evicted at a time when limits get lower: about a millisecond */
#define STEP_OBJECTS 2048
#define WALK_SLOTS 4096
#define BUDGET_MIN (64 * VV_KIB)
#define KEY_MAX 65536

uint64_t vv_cache_hash(const struct vv_cache *c, struct vv_str key)
{
    return vv_str_hash(key, c->conf.seed);
}

static uint64_t object_max_of(const struct vv_cache_conf *conf)
{
    return conf->object_bytes_max > 0 ? conf->object_bytes_max : conf->budget_bytes / 4;
}

static uint64_t variants_max_of(const struct vv_cache_conf *conf)
{
    return conf->variants_max > 0 ? conf->variants_max : 64;
}

/* 0.4 %; about four per 1 KiB object. */
static size_t counters_of(const struct vv_cache_conf *conf)
{
    const uint64_t most = conf->budget_bytes <= VV_MIB ? 4096 : UINT64_C(1) << 24;
    return (size_t)vv_min_u64(conf->budget_bytes / 256, most);
}

static enum vv_err fill_in(struct vv_cache *c)
{
    atomic_init(&c->used, sizeof(*c));
    atomic_init(&c->serial, 1);
    atomic_init(&c->budget, c->conf.budget_bytes);
    atomic_init(&c->object_max, object_max_of(&c->conf));
    c->conf.variants_max = variants_max_of(&c->conf);
    vv_cache_evict_init(c);
    if (!vv_cache_sketch_init(c, &c->evict.sketch, counters_of(&c->conf))) {
        return VV_ENOMEM;
    }
    const enum vv_err err = vv_cache_index_init(c);
    return err != VV_OK ? err : vv_cache_fill_map_new(c);
}

enum vv_err vv_cache_new(const struct vv_cache_conf *conf, struct vv_epoch *epoch,
                         struct vv_cache **ret_cache)
{
    if (conf->budget_bytes < BUDGET_MIN) {
        return VV_ERANGE;
    }
    struct vv_cache *c = aligned_alloc(VV_CACHE_LINE, sizeof(*c));
    if (c == NULL) {
        return VV_ENOMEM;
    }
    memset(c, 0, sizeof(*c));
    c->conf = *conf;
    c->epoch = epoch;
    vv_pool_init(&c->pool, conf->budget_bytes);
    VV_ASSERT(pthread_mutex_init(&c->lock, NULL) == 0);
    const enum vv_err err = fill_in(c);
    if (err != VV_OK) {
        vv_cache_free(c);
        return err;
    }
    *ret_cache = c;
    return VV_OK;
}

static void each_linked(struct vv_cache *c, void (*fn)(struct vv_cache *, struct vv_cache_object *))
{
    for (size_t i = 0; i < SEGMENTS; i++) {
        struct table *t = atomic_load(&c->segments[i].table);
        for (size_t k = 0; t != NULL && k <= t->mask; k++) {
            const uint64_t slot = atomic_load(&t->slots[k]);
            if (slot > 1) {
                fn(c, slot_object(slot));
            }
        }
    }
}

static void cache_retired(struct vv_epoch_item *item)
{
    struct vv_cache *c = VV_CONTAINER(item, struct vv_cache, retired);
    vv_cache_fill_map_free(c);
    vv_cache_index_fini(c);
    vv_cache_evict_fini(c);
    vv_cache_purge_fini(c);
    vv_pool_fini(&c->pool);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

/* What was retired before still points here: the cache goes the same way, after it. */
void vv_cache_free(struct vv_cache *c)
{
    if (c == NULL) {
        return;
    }
    each_linked(c, vv_cache_unlink);
    struct vv_epoch *epoch = c->epoch;
    vv_epoch_retire(epoch, &c->retired, cache_retired);
    vv_epoch_reclaim(epoch);
}

static void object_retired(struct vv_epoch_item *item)
{
    vv_cache_unref(VV_CONTAINER(item, struct vv_cache_object, retired));
}

void vv_cache_unlink(struct vv_cache *c, struct vv_cache_object *o)
{
    vv_cache_index_remove(c, o);
    vv_cache_evict_remove(c, o);
    c->entries--;
    c->bodies -= o->body_n;
    atomic_fetch_add_explicit(&c->held, o->charged + (o->body != NULL ? o->body->charged : 0),
                              memory_order_relaxed);
    atomic_store_explicit(&o->unlinked, true, memory_order_relaxed);
    vv_epoch_retire(c->epoch, &o->retired, object_retired);
}

static void count(_Atomic uint64_t *word)
{
    /* One writer per word: a plain add, atomic only for the reader of statistics. */
    atomic_store_explicit(word, atomic_load_explicit(word, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

VV_HOT const struct vv_cache_object *vv_cache_lookup(struct vv_cache *c, struct vv_epoch_reader *r,
                                                     const struct vv_cache_query *q, bool *ret_soft)
{
    struct hot *hot = &c->hot[vv_epoch_index(c->epoch, r)];
    struct vv_cache_object *o;
    size_t at = 0;
    while ((o = vv_cache_index_next(c, q->key, q->hash, &at)) != NULL) {
        if (q->pick != NULL ? !q->pick(q->ctx, o) : !vv_str_eq(vv_cache_second(o), q->second)) {
            continue;
        }
        const enum judgement j = vv_cache_judge_now(c, o);
        if (j == JUDGE_HARD) {
            continue;
        }
        const uint8_t hits = atomic_load_explicit(&o->hits, memory_order_relaxed);
        if (hits < HITS_MAX) {
            atomic_store_explicit(&o->hits, (uint8_t)(hits + 1), memory_order_relaxed);
        }
        count(j == JUDGE_SOFT ? &hot->soft_hits : &hot->hits);
        *ret_soft = j == JUDGE_SOFT;
        return o;
    }
    count(&hot->misses);
    return NULL;
}

static enum vv_err reserve_locked(struct vv_cache *c, uint64_t hash, const struct want *w,
                                  uint64_t now_ns)
{
    const enum vv_err err = vv_cache_evict_for(c, hash, w, now_ns);
    if (err == VV_ELIMIT) {
        c->stats.refused_admission++;
        return err;
    }
    if (atomic_load(&c->used) + w->need > vv_cache_budget(c)) {
        vv_epoch_reclaim(c->epoch);
    }
    if (err != VV_OK || atomic_load(&c->used) + w->need > vv_cache_budget(c)) {
        c->stats.refused_memory++;
        return VV_ENOMEM;
    }
    return VV_OK;
}

enum vv_err vv_cache_reserve(struct vv_cache *c, uint64_t hash, const struct want *w,
                             uint64_t now_ns)
{
    pthread_mutex_lock(&c->lock);
    const enum vv_err err = reserve_locked(c, hash, w, now_ns);
    if (err == VV_OK) {
        atomic_fetch_add(&c->used, w->need);
    }
    pthread_mutex_unlock(&c->lock);
    return err;
}

/* The object this one replaces, or the first of too many variants. */
static struct vv_cache_object *rival(struct vv_cache *c, const struct vv_cache_object *o)
{
    struct vv_cache_object *first = NULL, *other;
    uint64_t variants = 0;
    size_t at = 0;
    while ((other = vv_cache_index_next(c, vv_cache_key(o), o->hash, &at)) != NULL) {
        if (vv_str_eq(vv_cache_second(other), vv_cache_second(o))) {
            return other;
        }
        first = first == NULL ? other : first;
        variants++;
    }
    return variants >= c->conf.variants_max ? first : NULL;
}

static enum vv_err link_locked(struct vv_cache *c, struct vv_cache_object *o,
                               const struct vv_cache_fill *fill)
{
    /* A purge of the key dooms the fill, then takes the lock: it meets the object here or there. */
    const bool doomed = fill != NULL && vv_cache_fill_doomed(fill);
    if (doomed || o->born < c->forgotten || vv_cache_judge_now(c, o) == JUDGE_HARD) {
        c->stats.refused_admission++;
        return VV_ELIMIT;
    }
    /* In this order: making room for a table may evict anything that is linked, also the rival. */
    enum vv_err err = vv_cache_index_room(c, o->hash);
    if (err != VV_OK) {
        return err;
    }
    err = vv_cache_evict_room(c);
    if (err != VV_OK) {
        return err;
    }
    struct vv_cache_object *old = rival(c, o);
    vv_cache_evict_add(c, o, old);
    vv_cache_index_add(c, o);
    c->entries++;
    c->bodies += o->body_n;
    c->stats.inserted++;
    if (old != NULL) {
        c->stats.replaced++;
        vv_cache_unlink(c, old);
    }
    return VV_OK;
}

enum vv_err vv_cache_link(struct vv_cache *c, struct vv_cache_object *o,
                          const struct vv_cache_fill *fill)
{
    pthread_mutex_lock(&c->lock);
    const enum vv_err err = link_locked(c, o, fill);
    pthread_mutex_unlock(&c->lock);
    if (err != VV_OK) {
        vv_cache_unref(o);
    }
    return err;
}

static enum vv_err insert(struct vv_cache *c, const struct vv_cache_spec *spec,
                          struct vv_cache_body *body, uint64_t now_ns)
{
    const uint64_t body_n = body != NULL ? body->n : spec->body.n;
    if (spec->meta_n > VV_CACHE_META_MAX || spec->tags_n > VV_CACHE_TAGS_MAX ||
        spec->key.n > KEY_MAX || spec->second.n > KEY_MAX || spec->head.n > UINT32_MAX) {
        return VV_EINVAL;
    }
    const bool inside = body == NULL && body_n <= VV_CACHE_INLINE_BYTES;
    uint64_t need = vv_cache_mem_need(vv_cache_object_bytes(spec, inside ? body_n : 0));
    if (body == NULL && !inside) {
        const uint64_t chunks = body_n / VV_CACHE_CHUNK_BYTES + 2;
        need += body_n + chunks * vv_cache_mem_need(sizeof(struct vv_cache_chunk)) +
                vv_cache_mem_need(sizeof(*body));
    }
    if (need > vv_cache_object_max(c)) {
        pthread_mutex_lock(&c->lock);
        c->stats.refused_size++;
        pthread_mutex_unlock(&c->lock);
        return VV_ELIMIT;
    }
    const struct want want = {need, body_n, 1, 0};
    enum vv_err err = vv_cache_reserve(c, spec->hash, &want, now_ns);
    if (err != VV_OK) {
        return err;
    }
    struct vv_cache_object *o = vv_cache_object_new(c, spec, body);
    atomic_fetch_sub(&c->used, need); /* the object has charged itself */
    err = o != NULL ? vv_cache_link(c, o, spec->fill) : VV_ENOMEM;
    return err;
}

enum vv_err vv_cache_insert(struct vv_cache *c, const struct vv_cache_spec *spec, uint64_t now_ns)
{
    return insert(c, spec, NULL, now_ns);
}

enum vv_err vv_cache_refresh(struct vv_cache *c, const struct vv_cache_object *old,
                             const struct vv_cache_spec *spec, uint64_t now_ns)
{
    struct vv_cache_spec s = *spec;
    s.body = old->body != NULL ? (struct vv_str){NULL, 0} : vv_cache_body_at(old, 0);
    return insert(c, &s, old->body, now_ns);
}

void vv_cache_trim(struct vv_cache *c, uint64_t bytes, uint64_t now_ns)
{
    bool done = false;
    while (!done) {
        pthread_mutex_lock(&c->lock);
        done = vv_cache_evict_down(c, bytes, STEP_OBJECTS, now_ns);
        pthread_mutex_unlock(&c->lock);
        vv_epoch_reclaim(c->epoch);
    }
}

/* Towards `target` in steps, from what is there; 0 is no limit. */
static uint64_t step_down(uint64_t limit, uint64_t there, uint64_t target, uint64_t step)
{
    const uint64_t from = limit == 0 || limit > there ? there : limit;
    return target == 0 || from <= target + step ? target : from - step;
}

/* True: the limits are those of `to`. */
static bool resize_step(struct vv_cache *c, const struct vv_cache_conf *to, uint64_t now_ns)
{
    const uint64_t used = atomic_load(&c->used), held = atomic_load(&c->held);
    const uint64_t there = used > held ? used - held : 0;
    const uint64_t needed = there + there / 32; /* fits() keeps 1/64 for what is held */
    c->conf.budget_bytes = step_down(vv_cache_budget(c), needed, to->budget_bytes, STEP_BYTES);
    c->conf.entries_max = step_down(c->conf.entries_max, c->entries, to->entries_max, STEP_OBJECTS);
    c->conf.body_bytes_max =
        step_down(c->conf.body_bytes_max, c->bodies, to->body_bytes_max, STEP_BYTES);
    atomic_store_explicit(&c->budget, c->conf.budget_bytes, memory_order_relaxed);
    vv_pool_resize(&c->pool, c->conf.budget_bytes);
    bool fit = false;
    while (!fit) { /* what the evicted leave behind in tables is room, too */
        fit = vv_cache_evict_fit(c, STEP_OBJECTS / 16, now_ns);
        vv_cache_evict_shrink(c);
        vv_cache_index_shrink(c);
    }
    return c->conf.budget_bytes == to->budget_bytes && c->conf.entries_max == to->entries_max &&
           c->conf.body_bytes_max == to->body_bytes_max;
}

enum vv_err vv_cache_resize(struct vv_cache *c, const struct vv_cache_conf *conf, uint64_t now_ns)
{
    bool done = false;
    if (conf->budget_bytes < BUDGET_MIN) {
        return VV_ERANGE;
    }
    pthread_mutex_lock(&c->lock);
    c->conf.object_bytes_max = conf->object_bytes_max;
    c->conf.variants_max = variants_max_of(conf);
    atomic_store_explicit(&c->object_max, object_max_of(conf), memory_order_relaxed);
    /* A sketch that cannot grow now is coarser than it might be, and no more. */
    (void)vv_cache_sketch_fit(c, &c->evict.sketch, counters_of(conf));
    pthread_mutex_unlock(&c->lock);
    while (!done) {
        pthread_mutex_lock(&c->lock);
        done = resize_step(c, conf, now_ns);
        pthread_mutex_unlock(&c->lock);
        vv_epoch_reclaim(c->epoch);
    }
    pthread_mutex_lock(&c->lock);
    const enum vv_err err = vv_cache_evict_policy(c, conf->policy);
    c->conf.policy = err == VV_OK ? conf->policy : c->conf.policy;
    pthread_mutex_unlock(&c->lock);
    return err;
}

bool vv_cache_walk(struct vv_cache *c, struct vv_cache_cursor *cursor, size_t slots_max,
                   uint64_t now_ns,
                   void (*fn)(void *ctx, const struct vv_cache_object *o, bool soft), void *ctx)
{
    pthread_mutex_lock(&c->lock);
    for (size_t i = 0; i < slots_max && cursor->segment < SEGMENTS; i++) {
        const struct segment *s = &c->segments[cursor->segment];
        const struct table *t = atomic_load_explicit(&s->table, memory_order_relaxed);
        if (s->rebuilt != cursor->rebuilt) { /* everything moved: this segment again */
            cursor->rebuilt = s->rebuilt;
            cursor->slot = 0;
        }
        const uint64_t slot = atomic_load_explicit(&t->slots[cursor->slot], memory_order_relaxed);
        struct vv_cache_object *o = slot > 1 ? slot_object(slot) : NULL;
        const enum judgement j = o != NULL ? vv_cache_judge_now(c, o) : JUDGE_HARD;
        if (j != JUDGE_HARD && o->keep_until_ns > now_ns) {
            fn(ctx, o, j == JUDGE_SOFT);
        }
        if (++cursor->slot > t->mask) {
            cursor->slot = 0;
            cursor->segment++;
            cursor->rebuilt = cursor->segment < SEGMENTS ? c->segments[cursor->segment].rebuilt : 0;
        }
    }
    pthread_mutex_unlock(&c->lock);
    return cursor->segment == SEGMENTS;
}

void vv_cache_each(struct vv_cache *c, uint64_t now_ns,
                   void (*fn)(void *ctx, const struct vv_cache_object *o, bool soft), void *ctx)
{
    struct vv_cache_cursor cursor = {0, 0, 0};
    while (!vv_cache_walk(c, &cursor, WALK_SLOTS, now_ns, fn, ctx)) {
        /* between two steps others have the lock */
    }
}

void vv_cache_stats(struct vv_cache *c, struct vv_cache_stats *ret)
{
    pthread_mutex_lock(&c->lock);
    *ret = c->stats;
    ret->entries = c->entries;
    ret->policy = c->evict.mode;
    const struct purge_set *set = atomic_load(&c->purges);
    ret->purge_records = set != NULL ? set->tags_n + set->patterns_n : 0;
    pthread_mutex_unlock(&c->lock);
    ret->bytes = atomic_load(&c->used);
    const uint64_t held = atomic_load(&c->held);
    ret->live_bytes = ret->bytes > held ? ret->bytes - held : 0;
    ret->budget_bytes = vv_cache_budget(c);
    ret->fills = vv_cache_fill_count(c);
    for (size_t i = 0; i < VV_EPOCH_READERS; i++) {
        ret->hits += atomic_load_explicit(&c->hot[i].hits, memory_order_relaxed);
        ret->misses += atomic_load_explicit(&c->hot[i].misses, memory_order_relaxed);
        ret->soft_hits += atomic_load_explicit(&c->hot[i].soft_hits, memory_order_relaxed);
    }
}

static void check_linked(struct vv_cache *c, struct vv_cache_object *o)
{
    size_t at = 0;
    const struct vv_cache_object *found;
    VV_ASSERT(o->cache == c && o->place != PLACE_NONE && !atomic_load(&o->unlinked));
    do {
        found = vv_cache_index_next(c, vv_cache_key(o), o->hash, &at);
    } while (found != NULL && found != o);
    VV_ASSERT(found == o);
    VV_ASSERT(o->place != PLACE_HEAP || c->evict.heap[o->order.heap.at] == o);
}

void vv_cache_check(struct vv_cache *c)
{
    pthread_mutex_lock(&c->lock);
    uint64_t live = 0;
    for (size_t i = 0; i < SEGMENTS; i++) {
        live += c->segments[i].live;
    }
    const struct evict *e = &c->evict;
    VV_ASSERT(live == c->entries);
    VV_ASSERT(e->small_n + e->main_n + e->heap_n == c->entries);
    VV_ASSERT(atomic_load(&c->used) <= vv_cache_budget(c));
    for (size_t i = 1; i < e->heap_n; i++) {
        VV_ASSERT(e->heap[(i - 1) / 2]->order.heap.priority <= e->heap[i]->order.heap.priority);
    }
    each_linked(c, check_linked);
    vv_pool_check(&c->pool);
    pthread_mutex_unlock(&c->lock);
}
