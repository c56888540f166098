/* src/cache/store.h - the memory level: one named cache with one hard byte budget.
 *
 * Model:     objects are immutable once they are in; a lookup takes no lock, allocates nothing and
 *            writes at most a saturating hit mark. Inserting, removing and evicting take the one
 *            writer lock: order of eviction is global, since queues cut into shards lose hits in
 *            small caches. The index has 16 segments so that growing one is short.
 *            Purges are lazy: a purge is one record with a serial number; an object remembers the
 *            serial up to which it was judged, so a hit compares two words.
 * Source:    S3-FIFO (Yang et al., SOSP 2023); GDSF (Cherkasova 1998) with a
 *            frequency sketch for admission (TinyLFU, Einziger et al. 2017).
 * Units:     *_ns are monotonic nanoseconds given by the caller; sizes are bytes as the pool
 *            hands them out, slack included; resident memory stays within a tenth above.
 * Threads:   lookup: a thread with an epoch reader that is online. Everything else: any thread.
 * Ownership: the object of a lookup is valid until the reader's next vv_epoch_quiet(); to keep it
 *            longer take a reference. Objects with references must be dropped before the cache.
 * Errors:    VV_ELIMIT: refused by admission or size (the answer is fine, it is just not kept);
 *            VV_ENOMEM: no memory, or the budget is held by objects still being sent.
 *            Purges never fail for the budget: their records may exceed it by up to 3 MiB.
 */
#ifndef VV_CACHE_STORE_H
#define VV_CACHE_STORE_H
#include "base/list.h"
#include "base/str.h"
#include "cache/epoch.h"

#define VV_CACHE_META_MAX 256
#define VV_CACHE_CHUNK_BYTES (64 * 1024)
#define VV_CACHE_INLINE_BYTES (32 * 1024) /* bodies up to this share the object's allocation */
#define VV_CACHE_TAGS_MAX 256

struct vv_cache;

enum vv_cache_policy {
    VV_CACHE_AUTO,       /* the best for most: GDSF */
    VV_CACHE_S3FIFO,     /* cheapest insertions; popularity that drifts fast */
    VV_CACHE_GDSF,       /* fewest misses */
    VV_CACHE_GDSF_BYTES, /* fewest missed bytes */
};

struct vv_cache_conf {
    uint64_t budget_bytes;     /* at least 64 KiB; counts everything */
    uint64_t entries_max;      /* 0: no limit */
    uint64_t object_bytes_max; /* 0: a quarter of the budget */
    uint64_t body_bytes_max;   /* of all bodies together; 0: only the budget counts */
    uint64_t variants_max;     /* of one key; 0: 64 */
    enum vv_cache_policy policy;
    uint64_t seed; /* of the hash; from os/entropy in the product */
};

struct vv_cache_chunk {
    struct vv_cache_chunk *next;
    uint32_t n, room;
    char p[];
};

struct vv_cache_body { /* a chain of chunks, shared by an object, its refreshed copy and a fill */
    struct vv_cache *cache;
    struct vv_cache_chunk *first, *last;
    uint64_t n, charged;
    _Atomic uint32_t refs;
};

struct vv_cache_object { /* read through the functions below */
    uint64_t hash;
    _Atomic uint64_t judged; /* purges up to this serial were looked at */
    uint32_t key_n, second_n, head_n, tags_n;
    uint64_t keep_until_ns;
    uint64_t body_n;
    struct vv_cache_body *body; /* NULL: the body is inside */
    uint16_t meta_n;
    uint8_t place, seen;          /* PRIVATE to eviction: which queue, frequency so far */
    _Atomic uint8_t hits, folded; /* PRIVATE: hits to be looked at by eviction, and looked at */
    _Atomic bool soft, unlinked;
    _Atomic uint32_t refs;
    uint64_t born, charged;
    struct vv_cache *cache;
    union {
        struct vv_list node;
        struct {
            double priority;
            size_t at;
        } heap;
    } order;
    struct vv_epoch_item retired;
    VV_ALIGNED(16) char bytes[]; /* meta, tags, key, secondary key, head, body */
};

VV_MUST_CHECK enum vv_err vv_cache_new(const struct vv_cache_conf *conf, struct vv_epoch *epoch,
                                       struct vv_cache **ret_cache);
/* Nobody looks anything up in it any more, no fill runs, no object of it is referenced. Its memory
 * goes when every reader has been quiet, at some later vv_epoch_reclaim(). */
void vv_cache_free(struct vv_cache *c);
/* New limits and policy on a living cache; the seed stays. What is too much is evicted here, in
 * short steps between which others get the lock. Bytes still being sent come back later. VV_ERANGE:
 * the budget is too small; VV_ENOMEM: the limits hold, the policy stays as it was. */
VV_MUST_CHECK enum vv_err vv_cache_resize(struct vv_cache *c, const struct vv_cache_conf *conf,
                                          uint64_t now_ns);
uint64_t vv_cache_hash(const struct vv_cache *c, struct vv_str key);

/* --- objects --- */
static inline const void *vv_cache_meta(const struct vv_cache_object *o)
{
    return o->bytes;
}
static inline const uint64_t *vv_cache_tags(const struct vv_cache_object *o)
{
    return (const uint64_t *)(const void *)(o->bytes + ((o->meta_n + 15u) & ~15u));
}
static inline struct vv_str vv_cache_key(const struct vv_cache_object *o)
{
    return (struct vv_str){(const char *)(vv_cache_tags(o) + o->tags_n), o->key_n};
}
static inline struct vv_str vv_cache_second(const struct vv_cache_object *o)
{
    return (struct vv_str){vv_cache_key(o).p + o->key_n, o->second_n};
}
static inline struct vv_str vv_cache_head(const struct vv_cache_object *o)
{
    return (struct vv_str){vv_cache_second(o).p + o->second_n, o->head_n};
}
/* How often it was found since it was stored or refreshed; stops counting at 250 or more. */
static inline uint32_t vv_cache_hits(const struct vv_cache_object *o)
{
    return (uint32_t)atomic_load_explicit(&o->hits, memory_order_relaxed) +
           atomic_load_explicit(&o->folded, memory_order_relaxed);
}
/* The bytes of the body from `offset` that lie together; {.n = 0} at the end. */
struct vv_str vv_cache_body_at(const struct vv_cache_object *o, uint64_t offset);
/* Drop with vv_cache_unref(), any thread. */
void vv_cache_ref(const struct vv_cache_object *o);
void vv_cache_unref(const struct vv_cache_object *o);

/* --- looking up --- */
struct vv_cache_query {
    struct vv_str key;
    uint64_t hash;        /* vv_cache_hash(key) */
    struct vv_str second; /* exact secondary key; used when pick is NULL */
    /* Chooses among the variants of the key: true takes this one. */
    bool (*pick)(void *ctx, const struct vv_cache_object *o);
    void *ctx;
};
/* NULL: not there, or purged. Expired objects are returned: freshness is the caller's matter.
 * *ret_soft: softly purged, to be treated as stale from now on. */
const struct vv_cache_object *vv_cache_lookup(struct vv_cache *c, struct vv_epoch_reader *r,
                                              const struct vv_cache_query *q, bool *ret_soft);

/* --- storing --- */
struct vv_cache_fill;
struct vv_cache_spec { /* everything is copied */
    struct vv_str key, second;
    uint64_t hash;
    const void *meta;
    uint16_t meta_n; /* at most VV_CACHE_META_MAX */
    struct vv_str head, body;
    const uint64_t *tags; /* vv_cache_tag() of each */
    uint32_t tags_n;
    uint64_t keep_until_ns; /* past its last use even as a stale answer */
    uint64_t born;          /* vv_cache_born() when the fetch began */
    bool soft;              /* stale from the beginning: it was softly purged before */
    /* The fetch it comes from: refused (VV_ELIMIT) when its key was purged since; NULL: none. */
    const struct vv_cache_fill *fill;
};
/* Replaces the object of the same key and secondary key. */
VV_MUST_CHECK enum vv_err vv_cache_insert(struct vv_cache *c, const struct vv_cache_spec *spec,
                                          uint64_t now_ns);
/* The old object's body under new metadata and head (a 304): spec->body is not used. The caller
 * holds `old` by reader or reference. */
VV_MUST_CHECK enum vv_err vv_cache_refresh(struct vv_cache *c, const struct vv_cache_object *old,
                                           const struct vv_cache_spec *spec, uint64_t now_ns);
/* Serial of the newest purge: an answer whose fetch began before a purge falls under it. */
uint64_t vv_cache_born(const struct vv_cache *c);

/* --- purging: the effect is immediate, memory comes back by the sweeper --- */
uint64_t vv_cache_tag(struct vv_str tag);
/* All variants of the key; returns how many there were. */
size_t vv_cache_purge_key(struct vv_cache *c, struct vv_str key, bool soft);
VV_MUST_CHECK enum vv_err vv_cache_purge_tag(struct vv_cache *c, struct vv_str tag, bool soft);
/* `*` matches any bytes, `?` one; a prefix is "prefix*". VV_ELIMIT: too many are outstanding,
 * sweep first. */
VV_MUST_CHECK enum vv_err vv_cache_purge_pattern(struct vv_cache *c, struct vv_str glob, bool soft);
void vv_cache_purge_all(struct vv_cache *c, bool soft);
bool vv_cache_glob(struct vv_str glob, struct vv_str text);

/* Looks at up to slots_max places of the index: frees what is purged or past its keep_until_ns,
 * drops purge records that every object has been judged by. True: a whole pass has ended. */
bool vv_cache_sweep(struct vv_cache *c, uint64_t now_ns, size_t slots_max);
/* Evicts until at most `bytes` are used by objects. */
void vv_cache_trim(struct vv_cache *c, uint64_t bytes, uint64_t now_ns);
/* Calls fn for every object that is neither purged nor past its time, under the lock: fn takes
 * references or copies. A step looks at up to slots_max places and says true when the walk has
 * ended; start with a zeroed cursor. What is there during the whole walk is met at least once;
 * after growth of the index some of it is met again. */
struct vv_cache_cursor {
    size_t segment, slot; /* PRIVATE */
    uint64_t rebuilt;
};
bool vv_cache_walk(struct vv_cache *c, struct vv_cache_cursor *cursor, size_t slots_max,
                   uint64_t now_ns,
                   void (*fn)(void *ctx, const struct vv_cache_object *o, bool soft), void *ctx);
/* The whole walk, in steps between which others get the lock. */
void vv_cache_each(struct vv_cache *c, uint64_t now_ns,
                   void (*fn)(void *ctx, const struct vv_cache_object *o, bool soft), void *ctx);

struct vv_cache_stats {
    uint64_t hits, misses, soft_hits; /* of lookups */
    uint64_t entries, bytes, live_bytes, budget_bytes;
    uint64_t inserted, replaced, refused_admission, refused_size, refused_memory;
    uint64_t evicted_space, evicted_expired, removed_purged;
    uint64_t purge_records, fills;
    enum vv_cache_policy policy; /* the one in force, not AUTO */
};
void vv_cache_stats(struct vv_cache *c, struct vv_cache_stats *ret);
/* Aborts when an invariant does not hold; walks everything. For tests. */
void vv_cache_check(struct vv_cache *c);
#endif
