/* src/base/arena.h - bump allocator: everything of one request, freed at once.
 *
 * Model:     a chain of blocks; allocation moves a pointer; nothing is freed alone. A reset keeps
 *            the first block, so an exchange that stays small never touches malloc.
 * Ownership: the arena owns all memory it gave out until vv_arena_reset() or _fini().
 * Threads:   one owner.
 * Errors:    NULL when memory is out or the limit is reached (limit_bytes 0: no limit; counted are
 *            the bytes given out, rounded up to 16).
 */
#ifndef VV_BASE_ARENA_H
#define VV_BASE_ARENA_H
#include "base/str.h"

struct vv_arena_block;
struct vv_arena { /* PRIVATE fields */
    struct vv_arena_block *head;
    char *at, *end;
    size_t block_bytes, used_bytes, limit_bytes;
    char *first, *first_end; /* the caller's own first block, may be NULL */
};

/* `first` may be NULL; otherwise the caller's memory is used before any block is allocated. */
void vv_arena_init(struct vv_arena *a, void *first, size_t first_bytes, size_t block_bytes,
                   size_t limit_bytes);
void vv_arena_reset(struct vv_arena *a);
void vv_arena_fini(struct vv_arena *a);
/* 16-byte aligned, not zeroed. */
VV_MUST_CHECK void *vv_arena_alloc(struct vv_arena *a, size_t bytes);
VV_MUST_CHECK void *vv_arena_zalloc(struct vv_arena *a, size_t bytes);
VV_MUST_CHECK char *vv_arena_dup(struct vv_arena *a, struct vv_str s); /* NUL-terminated copy */
/* The same as a slice; .p is NULL when memory is out. */
VV_MUST_CHECK struct vv_str vv_arena_str(struct vv_arena *a, struct vv_str s);
VV_MUST_CHECK struct vv_str vv_arena_fmt(struct vv_arena *a, const char *fmt, ...) VV_PRINTF(2, 3);
#endif
