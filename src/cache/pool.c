/* src/cache/pool.c - the head of a block lies in front of it:
 *
 *     before  the block in front, valid while that one is free; its own last 8 bytes otherwise
 *     size    of the whole block, with three marks in its low bits
 *     next, previous of the free list: the first bytes of the caller's otherwise
 *
 * A region ends with a head of size 0 that is never free. With the address sanitizer every block
 * comes from malloc(), so that it sees who uses one too late. */
#include "cache/pool.h"
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define STEP 16
#define HEAD 8       /* what a taken block loses */
#define BLOCK_MIN 32 /* a free one has its whole head */
#define REGION_MIN (256 * 1024)
#define REGION_MAX (4 * 1024 * 1024)
#define ROW_FIRST 9 /* sizes below 2^9 are in row 0, a column for each step */
#define COLUMN_BITS 5
#define LOOKS 8
#define PAGES_LOOKS 256
#define ROW_RETURNED 6  /* pages of blocks from 2^14 bytes on go back to the system */
#define MALLOC_SLACK 32 /* glibc's own head and rounding */
#define PAGE 4096
#define MAPPED_FROM (64 * 1024) /* glibc may map whole pages from twice that on */

#define CHUNK_BLOCK ((size_t)VV_POOL_CHUNK + STEP)

#define IS_FREE ((size_t)1)
#define BEFORE_IS_FREE ((size_t)2)
#define FROM_MALLOC ((size_t)4)
#define RETURNED ((size_t)8) /* a free one whose whole pages the system has */
#define IS_CHUNK ((size_t)1 << 62)
#define MARKS (IS_CHUNK | (size_t)15)
#define RETURN_MIN ((size_t)(16 * 1024))

#if defined(__SANITIZE_ADDRESS__)
#define POOLED_MAX ((size_t)VV_POOL_BLOCK_MAX)
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POOLED_MAX ((size_t)VV_POOL_BLOCK_MAX)
#endif
#endif
#ifndef POOLED_MAX
#define POOLED_MAX ((size_t)VV_POOL_BLOCK_MAX)
#endif

struct vv_pool_block {
    struct vv_pool_block *before;
    size_t size;
    struct vv_pool_block *next, *previous;
};

/* A tenth more than the budget: room for holes that come and go. */
void vv_pool_resize(struct vv_pool *p, uint64_t budget_bytes)
{
    pthread_mutex_lock(&p->lock);
    p->resident_max = budget_bytes + budget_bytes / 10;
    pthread_mutex_unlock(&p->lock);
}

void vv_pool_init(struct vv_pool *p, uint64_t budget_bytes)
{
    size_t region = REGION_MIN;
    while (region < REGION_MAX && region * 256 < budget_bytes) {
        region *= 2;
    }
    const size_t chunks = region / VV_POOL_CHUNK * CHUNK_BLOCK + 2 * STEP;
    memset(p, 0, sizeof(*p));
    VV_ASSERT(pthread_mutex_init(&p->lock, NULL) == 0);
    p->heap[0].region_bytes = region;
    p->heap[1].region_bytes = (chunks + PAGE - 1) / PAGE * PAGE;
    vv_pool_resize(p, budget_bytes);
}

static size_t size_of(const struct vv_pool_block *b)
{
    return b->size & ~MARKS;
}

/* The owner of a block reads its size without the lock, while marks about its neighbour change. */
static void mark(struct vv_pool_block *b, size_t set, size_t clear)
{
    __atomic_store_n(&b->size, (b->size | set) & ~clear, __ATOMIC_RELAXED);
}

static size_t seen(const struct vv_pool_block *b)
{
    return __atomic_load_n(&b->size, __ATOMIC_RELAXED);
}

static struct vv_pool_block *at(struct vv_pool_block *b, size_t offset)
{
    return (struct vv_pool_block *)(void *)((char *)b + offset);
}

static struct vv_pool_block *block_of(const void *mem)
{
    return (struct vv_pool_block *)((uintptr_t)mem - offsetof(struct vv_pool_block, next));
}

static void *mem_of(struct vv_pool_block *b)
{
    return &b->next;
}

/* The whole pages of a free block behind its head. */
static size_t pages_of(struct vv_pool_block *b, char **ret)
{
    const uintptr_t from = ((uintptr_t)b + sizeof(*b) + PAGE - 1) / PAGE * PAGE;
    const uintptr_t to = ((uintptr_t)b + size_of(b)) / PAGE * PAGE;
    *ret = (char *)from;
    return to > from ? to - from : 0;
}

/* ---- classes ---- */

static void class_of(size_t size, unsigned *ret_row, unsigned *ret_column)
{
    if (size < (size_t)1 << ROW_FIRST) {
        *ret_row = 0;
        *ret_column = (unsigned)(size / STEP);
        return;
    }
    const unsigned top = 63u - (unsigned)__builtin_clzll(size);
    *ret_row = top - ROW_FIRST + 1;
    *ret_column = (unsigned)(size >> (top - COLUMN_BITS)) & (VV_POOL_COLUMNS - 1);
}

static void list_add(struct vv_pool_heap *p, struct vv_pool_block *b)
{
    unsigned row, column;
    class_of(size_of(b), &row, &column);
    b->previous = NULL;
    b->next = p->free[row][column];
    if (b->next != NULL) {
        b->next->previous = b;
    }
    p->free[row][column] = b;
    p->rows |= 1u << row;
    p->columns[row] |= 1u << column;
}

static void list_remove(struct vv_pool_heap *p, struct vv_pool_block *b)
{
    unsigned row, column;
    class_of(size_of(b), &row, &column);
    if (b->next != NULL) {
        b->next->previous = b->previous;
    }
    if (b->previous != NULL) {
        b->previous->next = b->next;
        return;
    }
    p->free[row][column] = b->next;
    if (b->next == NULL) {
        p->columns[row] &= ~(1u << column);
        if (p->columns[row] == 0) {
            p->rows &= ~(1u << row);
        }
    }
}

/* A block of the same class if one of the first is large enough, which is always so when sizes
 * repeat; else the first list whose every block is. */
static struct vv_pool_block *find(const struct vv_pool_heap *p, size_t size)
{
    unsigned row, column;
    class_of(size, &row, &column);
    struct vv_pool_block *b = p->free[row][column];
    for (int i = 0; b != NULL && i < LOOKS; i++, b = b->next) {
        if (size_of(b) >= size) {
            return b;
        }
    }
    if (size >= (size_t)1 << ROW_FIRST) {
        const unsigned top = 63u - (unsigned)__builtin_clzll(size);
        size += ((size_t)1 << (top - COLUMN_BITS)) - 1;
    }
    class_of(size, &row, &column);
    uint32_t columns = p->columns[row] & ~UINT32_C(0) << column;
    if (columns == 0) {
        const uint32_t rows = p->rows & (uint32_t)(~UINT64_C(0) << (row + 1));
        if (rows == 0) {
            return NULL;
        }
        row = (unsigned)__builtin_ctz(rows);
        columns = p->columns[row];
    }
    return p->free[row][__builtin_ctz(columns)];
}

static void count(struct vv_pool *p, int64_t bytes)
{
    atomic_fetch_add_explicit(&p->resident, (uint64_t)bytes, memory_order_relaxed);
}

/* The system has the pages of a block that is free, or gets them. */
static bool give_pages(struct vv_pool *p, struct vv_pool_block *b)
{
    char *pages;
    const size_t n = pages_of(b, &pages);
    if ((b->size & RETURNED) != 0 || n == 0 || madvise(pages, n, MADV_DONTNEED) != 0) {
        return false;
    }
    b->size |= RETURNED;
    count(p, -(int64_t)n);
    return true;
}

/* From now on they count again: somebody will write to them. */
static void claim_pages(struct vv_pool *p, struct vv_pool_block *b)
{
    char *unused;
    if ((b->size & RETURNED) != 0) {
        count(p, (int64_t)pages_of(b, &unused));
        b->size &= ~RETURNED;
    }
}

/* Makes room for more: pages of the largest free blocks go first. Holes that come and go inside the
 * limit cost no call of the system, and few looks are wasted on blocks whose pages are gone. */
static void make_room(struct vv_pool *p, size_t bytes)
{
    int looks = PAGES_LOOKS;
    for (unsigned row = VV_POOL_ROWS; row-- > ROW_RETURNED;) {
        for (unsigned i = 0; i < 2 * VV_POOL_COLUMNS; i++) {
            struct vv_pool_block *b = p->heap[i % 2].free[row][i / 2];
            for (; b != NULL; b = b->next) {
                if (atomic_load(&p->resident) + bytes <= p->resident_max || looks-- <= 0) {
                    return;
                }
                (void)give_pages(p, b);
            }
        }
    }
}

/* ---- regions ---- */

static size_t whole(const struct vv_pool_heap *h) /* the block that is all of a region */
{
    return h->region_bytes - 2 * STEP;
}

static struct vv_pool_block *region_new(struct vv_pool *p, struct vv_pool_heap *h)
{
    struct vv_pool_block *b = h->spare;
    h->spare = NULL;
    if (b == NULL) {
        make_room(p, h->region_bytes);
        void *mem =
            mmap(NULL, h->region_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (mem == MAP_FAILED) {
            return NULL;
        }
        b = mem;
        b->size = whole(h) | IS_FREE;
        at(b, whole(h))->size = BEFORE_IS_FREE;
        at(b, whole(h))->before = b;
        count(p, (int64_t)h->region_bytes);
    }
    list_add(h, b);
    return b;
}

static void region_unmap(struct vv_pool *p, struct vv_pool_heap *h, struct vv_pool_block *b)
{
    munmap(b, h->region_bytes);
    count(p, -(int64_t)h->region_bytes);
}

static void region_drop(struct vv_pool *p, struct vv_pool_heap *h, struct vv_pool_block *b)
{
    if (h->spare == NULL && atomic_load(&p->resident) <= p->resident_max) {
        h->spare = b;
    } else {
        region_unmap(p, h, b);
    }
}

void vv_pool_fini(struct vv_pool *p)
{
    for (size_t i = 0; i < VV_COUNT(p->heap); i++) {
        if (p->heap[i].spare != NULL) {
            region_unmap(p, &p->heap[i], p->heap[i].spare);
        }
    }
    VV_ASSERT(atomic_load(&p->resident) == 0); /* all blocks are back */
    pthread_mutex_destroy(&p->lock);
}

/* ---- blocks ---- */

static void *take_from_malloc(size_t bytes)
{
    struct vv_pool_block *b = malloc(offsetof(struct vv_pool_block, next) + bytes);
    if (b == NULL) {
        return NULL;
    }
    b->size = ((malloc_usable_size(b) + HEAD) & ~MARKS) | FROM_MALLOC;
    return mem_of(b);
}

static size_t rounded(size_t bytes)
{
    const size_t size = (bytes + HEAD + STEP - 1) / STEP * STEP;
    return size < BLOCK_MIN ? BLOCK_MIN : size;
}

/* The rest of a free block goes back if it can stand alone. */
static void cut(struct vv_pool_heap *h, struct vv_pool_block *b, size_t size)
{
    const size_t rest = size_of(b) - size;
    struct vv_pool_block *after = at(b, size_of(b));
    if (rest < BLOCK_MIN) {
        b->size &= ~IS_FREE;
        mark(after, 0, BEFORE_IS_FREE);
        return;
    }
    struct vv_pool_block *r = at(b, size);
    b->size = size | (b->size & BEFORE_IS_FREE);
    r->size = rest | IS_FREE;
    after->before = r;
    list_add(h, r);
}

static void *heap_take(struct vv_pool *p, struct vv_pool_heap *h, size_t size, size_t mark)
{
    pthread_mutex_lock(&p->lock);
    struct vv_pool_block *b = find(h, size);
    if (b == NULL) {
        b = region_new(p, h);
    }
    if (b != NULL) {
        list_remove(h, b);
        if ((b->size & RETURNED) != 0) {
            make_room(p, size_of(b));
            claim_pages(p, b);
        }
        cut(h, b, size);
        atomic_fetch_add_explicit(&p->taken, size_of(b), memory_order_relaxed);
        b->size |= mark;
    }
    pthread_mutex_unlock(&p->lock);
    return b != NULL ? mem_of(b) : NULL;
}

void *vv_pool_take(struct vv_pool *p, size_t bytes)
{
    if (bytes > POOLED_MAX) {
        return take_from_malloc(bytes);
    }
    const bool chunk = bytes == VV_POOL_CHUNK;
    return heap_take(p, &p->heap[chunk], rounded(bytes), chunk ? IS_CHUNK : 0);
}

static struct vv_pool_block *joined(struct vv_pool *p, struct vv_pool_heap *h,
                                    struct vv_pool_block *b, struct vv_pool_block *after)
{
    const size_t size = size_of(b) + size_of(after);
    struct vv_pool_block *free_one = (b->size & IS_FREE) != 0 ? b : after;
    list_remove(h, free_one);
    claim_pages(p, free_one);
    b->size = size | (b->size & BEFORE_IS_FREE);
    return b;
}

static void heap_give(struct vv_pool *p, struct vv_pool_heap *h, struct vv_pool_block *b)
{
    pthread_mutex_lock(&p->lock);
    VV_ASSERT((b->size & IS_FREE) == 0);
    atomic_fetch_sub_explicit(&p->taken, size_of(b), memory_order_relaxed);
    if ((at(b, size_of(b))->size & IS_FREE) != 0) {
        b = joined(p, h, b, at(b, size_of(b)));
    }
    if ((b->size & BEFORE_IS_FREE) != 0) {
        b = joined(p, h, b->before, b);
    }
    b->size = size_of(b) | IS_FREE; /* two free blocks never touch: the one before is taken */
    struct vv_pool_block *after = at(b, size_of(b));
    mark(after, BEFORE_IS_FREE, 0);
    after->before = b;
    if (size_of(b) == whole(h)) {
        region_drop(p, h, b);
    } else {
        list_add(h, b);
        if (atomic_load(&p->resident) > p->resident_max && size_of(b) >= RETURN_MIN) {
            (void)give_pages(p, b);
        }
    }
    pthread_mutex_unlock(&p->lock);
}

void vv_pool_give(struct vv_pool *p, void *mem)
{
    if (mem == NULL) {
        return;
    }
    struct vv_pool_block *b = block_of(mem);
    if ((seen(b) & FROM_MALLOC) != 0) {
        free(b);
        return;
    }
    heap_give(p, &p->heap[(seen(b) & IS_CHUNK) != 0], b);
}

uint64_t vv_pool_bytes(const void *mem)
{
    return seen(block_of(mem)) & ~MARKS;
}

uint64_t vv_pool_need(size_t bytes)
{
    if (bytes <= POOLED_MAX) {
        return rounded(bytes) + STEP;
    }
    return rounded(bytes) + STEP + MALLOC_SLACK + (bytes >= MAPPED_FROM ? PAGE : 0);
}

static void heap_check(struct vv_pool_heap *p)
{
    for (unsigned row = 0; row < VV_POOL_ROWS; row++) {
        VV_ASSERT((p->rows >> row & 1) == (p->columns[row] != 0));
        for (unsigned column = 0; column < VV_POOL_COLUMNS; column++) {
            struct vv_pool_block *b = p->free[row][column];
            VV_ASSERT((p->columns[row] >> column & 1) == (b != NULL));
            for (; b != NULL; b = b->next) {
                unsigned r, c;
                class_of(size_of(b), &r, &c);
                VV_ASSERT(r == row && c == column && (b->size & MARKS & ~RETURNED) == IS_FREE);
                VV_ASSERT(at(b, size_of(b))->before == b);
                VV_ASSERT((at(b, size_of(b))->size & (IS_FREE | BEFORE_IS_FREE)) == BEFORE_IS_FREE);
            }
        }
    }
}

void vv_pool_check(struct vv_pool *p)
{
    pthread_mutex_lock(&p->lock);
    heap_check(&p->heap[0]);
    heap_check(&p->heap[1]);
    pthread_mutex_unlock(&p->lock);
}
