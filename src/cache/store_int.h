/* src/cache/store_int.h - what the files of the memory level share.
 *
 * Bytes:   `used` is everything allocated on behalf of the cache. `held` is the part that is
 *          unlinked but still seen or referenced by somebody: evicting more does not bring it
 *          back, so room is made in used - held, with 1/64 of the budget kept for what is held.
 * Threads: fields are under `lock` unless they are atomic.
 */
#ifndef VV_CACHE_STORE_INT_H
#define VV_CACHE_STORE_INT_H
#include "base/rng.h"
#include "cache/pool.h"
#include "cache/store.h"

#define SEGMENTS 16
#define FILL_BUCKETS 256
#define MARKERS 1024

struct table {
    struct vv_epoch_item retired;
    struct vv_cache *cache;
    uint64_t charged;
    size_t mask;
    _Atomic uint64_t slots[]; /* object address, its hash's top 16 bits above; 0 free, 1 deleted */
};

struct segment {
    VV_ALIGNED(VV_CACHE_LINE) _Atomic(struct table *) table;
    size_t live, filled; /* filled: live and deleted */
    uint64_t rebuilt;
};

struct sketch { /* count-min, four probes into one array of small counters */
    uint8_t *counters;
    size_t mask;
    uint64_t adds, adds_max;
};

struct ghost { /* fingerprints of what left the small queue, eight a bucket */
    struct ghost_slot {
        uint32_t print, stamp;
    } * slots;
    size_t buckets;
    uint32_t stamp;
};

struct want { /* what has to fit */
    uint64_t need, body_n, objects;
    uint64_t taken; /* has the candidate already: weighed with the rest, not needed again */
};

enum place { PLACE_NONE, PLACE_SMALL, PLACE_MAIN, PLACE_HEAP };

struct evict {
    enum vv_cache_policy mode; /* the one in force, not AUTO */
    struct vv_list small, main;
    uint64_t small_n, main_n, small_bytes, main_bytes;
    struct vv_cache_object **heap;
    size_t heap_n, heap_room;
    double floor; /* GDSF's L: priority of the last victim */
    struct ghost ghost;
    struct sketch sketch;
};

struct purge_tag {
    _Atomic uint64_t tag, hard, soft; /* serials */
};

struct purge_pattern {
    uint64_t serial;
    bool soft;
    uint16_t n;
    char p[501];
};

struct purge_set { /* replaced as a whole, except that a tag may be added in place */
    struct vv_epoch_item retired;
    struct vv_cache *cache;
    uint64_t charged;
    size_t tags_mask, patterns_n;
    _Atomic size_t tags_n; /* grows in place */
    struct purge_pattern *patterns;
    struct purge_tag tags[];
};

struct hot { /* one reader's counters */
    VV_ALIGNED(VV_CACHE_LINE) _Atomic uint64_t hits, misses, soft_hits;
};

struct marker {
    _Atomic uint64_t hash, until_ns;
};

struct fill_map; /* fill.c */

struct vv_cache {
    struct vv_cache_conf conf;
    struct vv_epoch_item retired;
    struct vv_epoch *epoch;
    struct vv_pool pool;
    struct segment segments[SEGMENTS];
    VV_ALIGNED(VV_CACHE_LINE) _Atomic uint64_t serial;
    _Atomic uint64_t all_hard, all_soft;
    _Atomic(struct purge_set *) purges;
    VV_ALIGNED(VV_CACHE_LINE) _Atomic uint64_t used, held;
    _Atomic uint64_t budget, object_max; /* of conf; read without the lock */
    _Atomic uint64_t transient;          /* bytes of fills too large to be published */
    VV_ALIGNED(VV_CACHE_LINE) pthread_mutex_t lock;
    struct evict evict;
    uint64_t entries, bodies;
    uint64_t forgotten; /* purge records up to this serial are gone */
    size_t sweep_segment, sweep_slot;
    uint64_t sweep_rebuilt, sweep_serial;
    bool sweeping;
    struct vv_cache_stats stats;
    struct fill_map *fills;
    struct marker markers[MARKERS];
    struct hot hot[VV_EPOCH_READERS];
};

static inline uint64_t vv_cache_budget(const struct vv_cache *c)
{
    return atomic_load_explicit(&c->budget, memory_order_relaxed);
}
static inline uint64_t vv_cache_object_max(const struct vv_cache *c)
{
    return atomic_load_explicit(&c->object_max, memory_order_relaxed);
}

/* object.c */
void *vv_cache_mem(struct vv_cache *c, size_t bytes, uint64_t *ret_charged); /* counts */
void vv_cache_mem_free(struct vv_cache *c, void *p, uint64_t charged);
uint64_t vv_cache_mem_need(size_t bytes); /* at most what vv_cache_mem() will charge */
uint64_t vv_cache_usable(void *p);        /* what vv_cache_mem() charged for p */
size_t vv_cache_object_bytes(const struct vv_cache_spec *spec, uint64_t inline_n);
/* NULL: no memory. body NULL: spec->body is copied inside or into a new chain. */
struct vv_cache_object *vv_cache_object_new(struct vv_cache *c, const struct vv_cache_spec *spec,
                                            struct vv_cache_body *body);
struct vv_cache_body *vv_cache_body_new(struct vv_cache *c);
/* A chunk with room at the end of the chain; NULL: no memory. */
struct vv_cache_chunk *vv_cache_body_grow(struct vv_cache_body *b, size_t room);
bool vv_cache_body_append(struct vv_cache_body *b, struct vv_str bytes, size_t expected);
void vv_cache_body_unref(struct vv_cache_body *b);

/* index.c */
VV_MUST_CHECK enum vv_err vv_cache_index_init(struct vv_cache *c);
void vv_cache_index_fini(struct vv_cache *c);
/* The index-th object from *at on with this key; *at starts at 0 and moves on; NULL: no more. */
struct vv_cache_object *vv_cache_index_next(struct vv_cache *c, struct vv_str key, uint64_t hash,
                                            size_t *at);
VV_MUST_CHECK enum vv_err vv_cache_index_room(struct vv_cache *c, uint64_t hash); /* for one */
void vv_cache_index_shrink(struct vv_cache *c);
void vv_cache_index_add(struct vv_cache *c, struct vv_cache_object *o);
void vv_cache_index_remove(struct vv_cache *c, struct vv_cache_object *o);
static inline struct segment *segment_of(struct vv_cache *c, uint64_t hash)
{
    return &c->segments[(hash >> 44) % SEGMENTS];
}
static inline struct vv_cache_object *slot_object(uint64_t slot)
{
    return (struct vv_cache_object *)(uintptr_t)(slot & ((UINT64_C(1) << 48) - 1));
}

/* sketch.c */
bool vv_cache_sketch_init(struct vv_cache *c, struct sketch *s, size_t counters);
bool vv_cache_sketch_fit(struct vv_cache *c, struct sketch *s, size_t counters);
void vv_cache_sketch_age(struct sketch *s, uint64_t entries); /* how soon counts are halved */
void vv_cache_sketch_add(struct sketch *s, uint64_t hash);
uint32_t vv_cache_sketch_count(const struct sketch *s, uint64_t hash);

/* evict.c: all under the lock */
void vv_cache_evict_init(struct vv_cache *c);
void vv_cache_evict_fini(struct vv_cache *c);
VV_MUST_CHECK enum vv_err vv_cache_evict_room(struct vv_cache *c); /* for one more */
void vv_cache_evict_add(struct vv_cache *c, struct vv_cache_object *o,
                        const struct vv_cache_object *old);
/* Evicts until that many bytes of the cache's own tables fit; false: they do not. */
bool vv_cache_mem_room(struct vv_cache *c, size_t bytes);
void vv_cache_evict_remove(struct vv_cache *c, struct vv_cache_object *o);
/* Makes room for the bytes and objects, or refuses the candidate. */
VV_MUST_CHECK enum vv_err vv_cache_evict_for(struct vv_cache *c, uint64_t hash,
                                             const struct want *w, uint64_t now_ns);
/* Evicts until at most `bytes` are used or nothing is left; false: victims_max came first. */
bool vv_cache_evict_down(struct vv_cache *c, uint64_t bytes, size_t victims_max, uint64_t now_ns);
/* Evicts until the limits hold or nothing is left; false: victims_max came first. */
bool vv_cache_evict_fit(struct vv_cache *c, size_t victims_max, uint64_t now_ns);
void vv_cache_evict_shrink(struct vv_cache *c);
/* VV_ENOMEM: the policy stays as it was. */
VV_MUST_CHECK enum vv_err vv_cache_evict_policy(struct vv_cache *c, enum vv_cache_policy policy);

/* purge.c */
enum judgement { JUDGE_FINE, JUDGE_SOFT, JUDGE_HARD };
enum judgement vv_cache_judge(struct vv_cache *c, const struct vv_cache_object *o, uint64_t serial);
enum judgement vv_cache_judge_now(struct vv_cache *c, struct vv_cache_object *o);
void vv_cache_purge_fini(struct vv_cache *c);

/* store.c: under the lock; the object leaves index and queues and is freed when nobody sees it */
void vv_cache_unlink(struct vv_cache *c, struct vv_cache_object *o);
/* Counts w->need as used, once there is room; what is no object (0 of them) is always let in. */
VV_MUST_CHECK enum vv_err vv_cache_reserve(struct vv_cache *c, uint64_t hash, const struct want *w,
                                           uint64_t now_ns);
/* Links a finished object, which was charged; on failure the object is freed. fill: where it comes
 * from (its key must not have been purged), or NULL. */
VV_MUST_CHECK enum vv_err vv_cache_link(struct vv_cache *c, struct vv_cache_object *o,
                                        const struct vv_cache_fill *fill);

/* fill.c */
VV_MUST_CHECK enum vv_err vv_cache_fill_map_new(struct vv_cache *c);
void vv_cache_fill_map_free(struct vv_cache *c);
void vv_cache_fill_doom(struct vv_cache *c, struct vv_str key, uint64_t hash);
uint64_t vv_cache_fill_count(struct vv_cache *c);
#endif
