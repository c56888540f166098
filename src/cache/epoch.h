/* src/cache/epoch.h - when may memory that readers saw without a lock be freed?
 *
 * Model:     quiescent-state reclamation. A reader says once per loop turn "I hold nothing"
 *            (vv_epoch_quiet) and goes offline while it waits. What a writer unlinked is freed
 *            when every online reader has been quiet since.
 * Source:    T. Hart, P. McKenney et al., "Performance of memory reclamation for lockless
 *            synchronization", JPDC 2007 (QSBR).
 * Threads:   a reader slot belongs to one thread; everything else may be called by any.
 * Ownership: a retired item is the epoch's until its function is called, on whichever thread
 *            calls vv_epoch_reclaim().
 */
#ifndef VV_CACHE_EPOCH_H
#define VV_CACHE_EPOCH_H
#include "base/err.h"
#include <pthread.h>
#include <stdatomic.h>

#define VV_EPOCH_READERS 128

struct vv_epoch_item {
    struct vv_epoch_item *next;
    uint64_t stamp;
    void (*fn)(struct vv_epoch_item *item);
};

struct vv_epoch_reader { /* PRIVATE fields; one cache line each: quiet writes no shared line */
    VV_ALIGNED(VV_CACHE_LINE) _Atomic uint64_t seen; /* 0: offline */
    bool used;
};

struct vv_epoch { /* PRIVATE fields */
    VV_ALIGNED(VV_CACHE_LINE) _Atomic uint64_t now;
    VV_ALIGNED(VV_CACHE_LINE) pthread_mutex_t lock;
    pthread_mutex_t running; /* one batch at a time: items run in the order they were retired */
    struct vv_epoch_item *first, **last;
    struct vv_epoch_reader readers[VV_EPOCH_READERS];
};

void vv_epoch_init(struct vv_epoch *e);
/* Runs everything that is still retired; no reader may be online. */
void vv_epoch_fini(struct vv_epoch *e);

/* A new reader, online. VV_ELIMIT when all slots are taken. */
VV_MUST_CHECK enum vv_err vv_epoch_join(struct vv_epoch *e, struct vv_epoch_reader **ret_reader);
void vv_epoch_leave(struct vv_epoch *e, struct vv_epoch_reader *r);
size_t vv_epoch_index(const struct vv_epoch *e, const struct vv_epoch_reader *r);

/* The reader keeps no pointer it did not take a reference on. */
static inline void vv_epoch_quiet(struct vv_epoch *e, struct vv_epoch_reader *r)
{
    const uint64_t now = atomic_load_explicit(&e->now, memory_order_acquire);
    if (now != atomic_load_explicit(&r->seen, memory_order_relaxed)) {
        atomic_store_explicit(&r->seen, now, memory_order_release);
    }
}

static inline void vv_epoch_offline(struct vv_epoch_reader *r)
{
    atomic_store_explicit(&r->seen, 0, memory_order_release);
}

void vv_epoch_online(struct vv_epoch *e, struct vv_epoch_reader *r);

/* The item was unlinked before this call; fn runs when no reader can see it any more. */
void vv_epoch_retire(struct vv_epoch *e, struct vv_epoch_item *item,
                     void (*fn)(struct vv_epoch_item *item));
/* Runs what may run now, in the order it was retired; returns how many. 0 also when another thread
 * is at it. */
size_t vv_epoch_reclaim(struct vv_epoch *e);
#endif
