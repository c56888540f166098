/* src/cache/pool.h - memory of one cache: blocks of many sizes cut from regions.
 *
 * Model:     two-level segregated fit: a free list for each class of sizes, 32 classes to a
 *            doubling, found by two bit masks. Neighbours that become free are joined; a region
 *            that becomes free goes back to the system, and so do the pages of large holes when
 *            resident memory outgrows the budget by a tenth. Chunks have regions of their own: a
 *            hole among them fits the next one. Larger blocks than VV_POOL_BLOCK_MAX come from
 *            malloc(). Unlike malloc() it knows its holes, and objects that one thread puts in
 *            and another takes out do not leave holes in two heaps.
 * Source:    M. Masmano et al., "TLSF: a new dynamic memory allocator for real-time systems",
 *            ECRTS 2004.
 * Units:     bytes. Threads: any; one lock inside, held for some tens of instructions.
 * Ownership: blocks belong to the caller; all are back before vv_pool_fini().
 * Errors:    NULL: the system has no memory.
 */
#ifndef VV_CACHE_POOL_H
#define VV_CACHE_POOL_H
#include "base/defs.h"
#include <pthread.h>
#include <stdatomic.h>

#define VV_POOL_BLOCK_MAX (96 * 1024)
#define VV_POOL_CHUNK (64 * 1024) /* blocks of just this size have regions of their own */
#define VV_POOL_ROWS 20           /* doublings; sizes are below 2^24 */
#define VV_POOL_COLUMNS 32

struct vv_pool_block;
struct vv_pool_heap { /* PRIVATE fields */
    size_t region_bytes;
    struct vv_pool_block *spare; /* one region that is free is kept */
    uint32_t rows, columns[VV_POOL_ROWS];
    struct vv_pool_block *free[VV_POOL_ROWS][VV_POOL_COLUMNS];
};
struct vv_pool {
    pthread_mutex_t lock;
    struct vv_pool_heap heap[2]; /* mixed sizes; chunks */
    uint64_t resident_max;       /* beyond it pages of free blocks go back to the system */
    _Atomic uint64_t resident, taken;
};

void vv_pool_init(struct vv_pool *p, uint64_t budget_bytes);
void vv_pool_fini(struct vv_pool *p);
void vv_pool_resize(struct vv_pool *p, uint64_t budget_bytes);

/* 16-byte aligned. */
void *vv_pool_take(struct vv_pool *p, size_t bytes);
void vv_pool_give(struct vv_pool *p, void *block); /* NULL is fine */
uint64_t vv_pool_bytes(const void *block);         /* what the block takes, head included */
uint64_t vv_pool_need(size_t bytes);               /* at most what such a block will take */
/* Bytes of memory that no block has. */
static inline uint64_t vv_pool_holes(const struct vv_pool *p)
{
    const uint64_t resident = atomic_load_explicit(&p->resident, memory_order_relaxed);
    const uint64_t taken = atomic_load_explicit(&p->taken, memory_order_relaxed);
    return resident > taken ? resident - taken : 0;
}
/* Aborts when an invariant does not hold. For tests. */
void vv_pool_check(struct vv_pool *p);
#endif
