/* src/gateway/levels_int.h - what the files of levels share. Inside src/gateway/levels*.c and caches.c. */
#ifndef VV_GATEWAY_LEVELS_INT_H
#define VV_GATEWAY_LEVELS_INT_H
#include "gateway/coherence.h"
#include "gateway/levels.h"
#include <pthread.h>

#define VV_LEVEL_STORES_MAX 3
#define VV_LEVEL_KEY_MAX 1024 /* longer keys lie under their hash */

/* VV_LEVEL_READ(id, name): what asking a level came to. */
#define VV_LEVEL_READS(X)                                                                          \
    X(HIT, "hit")                                                                                  \
    X(MISS, "miss")                                                                                \
    X(STALE, "stale")     /* there, but to be validated */                                         \
    X(PURGED, "purged")   /* there, but purged since it was written */                             \
    X(DAMAGED, "damaged") /* bytes that are no object of ours, or another's under this name */     \
    X(REFUSED, "refused") /* not asked: the store is away, or too much is under way */             \
    X(TIMEOUT, "timeout")                                                                          \
    X(ERROR, "error")
enum vv_level_read_result {
#define VV_LEVEL_READ(id, name) VV_LEVEL_READ_##id,
    VV_LEVEL_READS(VV_LEVEL_READ)
#undef VV_LEVEL_READ
        VV_LEVEL_READ_COUNT
};

/* VV_LEVEL_WRITE(id, name) */
#define VV_LEVEL_WRITES(X)                                                                         \
    X(WRITTEN, "written")                                                                          \
    X(FAILED, "failed")                                                                            \
    X(DROPPED, "dropped") /* too much was waiting */                                               \
    X(LARGE, "large")     /* larger than max_object */
enum vv_level_write_result {
#define VV_LEVEL_WRITE(id, name) VV_LEVEL_WRITE_##id,
    VV_LEVEL_WRITES(VV_LEVEL_WRITE)
#undef VV_LEVEL_WRITE
        VV_LEVEL_WRITE_COUNT
};

struct vv_level {
    struct vv_store *store; /* counted */
    uint64_t factor_ppm;    /* of the time it is of use; 0: */
    uint64_t ttl_ns;        /* this */
    uint64_t object_max;
    size_t compress_min;
    _Atomic uint64_t reads[VV_LEVEL_READ_COUNT], writes[VV_LEVEL_WRITE_COUNT];
};

struct vv_levels {
    struct vv_list node; /* of vv_caches.levels, under its lock */
    _Atomic uint32_t refs;
    struct vv_named_cache *cache; /* counted */
    struct vv_coherence *coherence;
    uint64_t alone_ns, bound_ns, lease_ns;
    uint64_t left_ns; /* since when nobody holds it, though purges wait; 0: somebody does */
    size_t count;
    struct vv_level level[VV_LEVEL_STORES_MAX];
};

struct vv_caches {
    struct vv_metrics *metrics;
    struct vv_epoch *epoch;
    struct vv_list list;
    uint64_t high_bytes, trimmed_ns; /* most in use since memory was last given back, and when */
    uint64_t last_bytes;             /* in use at the last tick */
    struct vv_stores *stores;        /* NULL: none can be used */
    struct vv_loop *control;
    pthread_mutex_t levels_lock; /* the list, for those who hear of changed names on any thread */
    struct vv_list levels;
};

/* A name in a store: of the object or marker of a key; with generation, of a variant. malloc()ed. */
struct vv_str vv_level_name(const struct vv_levels *l, const struct vv_level *level,
                            struct vv_str key);
struct vv_str vv_level_variant_name(const struct vv_levels *l, const struct vv_level *level,
                                    uint64_t generation, struct vv_str second, struct vv_str key);
static inline void vv_level_count_read(struct vv_level *l, enum vv_level_read_result r)
{
    atomic_fetch_add_explicit(&l->reads[r], 1, memory_order_relaxed);
}
static inline void vv_level_count_write(struct vv_level *l, enum vv_level_write_result r)
{
    atomic_fetch_add_explicit(&l->writes[r], 1, memory_order_relaxed);
}
/* As vv_levels_write(), into the levels before `upto` and for at most limit_ns. */
void vv_levels_refill(struct vv_levels *l, struct vv_worker *w, const struct vv_level_object *o,
                      size_t upto, uint64_t limit_ns);
struct vv_str vv_level_lease_name(const struct vv_levels *l, const struct vv_level *level,
                                  struct vv_str key);
/* By which fields a secondary key varies, as a number. */
uint64_t vv_level_names(struct vv_str second);
/* How long a store keeps what is of use for life_ns, in whole milliseconds, at least one. */
uint64_t vv_level_ttl_ms(const struct vv_level *l, uint64_t life_ns);
#endif
