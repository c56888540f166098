/* src/base/arena.c - bump allocation in a chain of blocks. A request bigger than a block gets a
 * block of its own behind the current one, so that the room left in the current one is not lost. */
#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define ALIGN 16u

struct vv_arena_block {
    struct vv_arena_block *older;
    size_t bytes; /* of data */
    VV_ALIGNED(ALIGN) char data[];
};

static size_t round_up(size_t bytes)
{
    return (bytes + (ALIGN - 1)) & ~(size_t)(ALIGN - 1);
}

static void use_first(struct vv_arena *a)
{
    a->at = a->first;
    a->end = a->first_end;
}

void vv_arena_init(struct vv_arena *a, void *first, size_t first_bytes, size_t block_bytes,
                   size_t limit_bytes)
{
    VV_ASSERT(block_bytes > 0);
    *a = (struct vv_arena){.block_bytes = round_up(block_bytes), .limit_bytes = limit_bytes};
    if (first != NULL) {
        const size_t skip = (size_t)(-(uintptr_t)first & (ALIGN - 1));
        if (first_bytes > skip) {
            a->first = (char *)first + skip;
            a->first_end = a->first + ((first_bytes - skip) & ~(size_t)(ALIGN - 1));
        }
    }
    use_first(a);
}

void vv_arena_reset(struct vv_arena *a)
{
    struct vv_arena_block *keep = NULL;
    while (a->head != NULL) {
        struct vv_arena_block *b = a->head;
        a->head = b->older;
        /* The caller's first block serves small exchanges; without one, keep one plain block. */
        if (a->first == NULL && keep == NULL && b->bytes == a->block_bytes) {
            keep = b;
        } else {
            free(b);
        }
    }
    a->used_bytes = 0;
    use_first(a);
    if (keep != NULL) {
        keep->older = NULL;
        a->head = keep;
        a->at = keep->data;
        a->end = keep->data + keep->bytes;
    }
}

void vv_arena_fini(struct vv_arena *a)
{
    while (a->head != NULL) {
        struct vv_arena_block *b = a->head;
        a->head = b->older;
        free(b);
    }
    a->used_bytes = 0;
    use_first(a);
}

static VV_COLD void *alloc_from_new_block(struct vv_arena *a, size_t bytes)
{
    const bool own = bytes > a->block_bytes;
    const size_t data = own ? bytes : a->block_bytes;
    struct vv_arena_block *b = malloc(sizeof(*b) + data);
    if (b == NULL) {
        return NULL;
    }
    b->bytes = data;
    a->used_bytes += bytes;
    if (own && a->head != NULL) {
        b->older = a->head->older;
        a->head->older = b;
        return b->data;
    }
    b->older = a->head;
    a->head = b;
    if (!own) {
        a->at = b->data + bytes;
        a->end = b->data + data;
    }
    return b->data;
}

void *vv_arena_alloc(struct vv_arena *a, size_t bytes)
{
    if (VV_UNLIKELY(bytes > SIZE_MAX / 2)) {
        return NULL;
    }
    bytes = bytes == 0 ? ALIGN : round_up(bytes);
    if (VV_UNLIKELY(a->limit_bytes != 0 &&
                    (bytes > a->limit_bytes || a->used_bytes > a->limit_bytes - bytes))) {
        return NULL;
    }
    if (VV_LIKELY((size_t)(a->end - a->at) >= bytes)) {
        void *p = a->at;
        a->at += bytes;
        a->used_bytes += bytes;
        return p;
    }
    return alloc_from_new_block(a, bytes);
}

void *vv_arena_zalloc(struct vv_arena *a, size_t bytes)
{
    void *p = vv_arena_alloc(a, bytes);
    if (p != NULL) {
        memset(p, 0, bytes);
    }
    return p;
}

char *vv_arena_dup(struct vv_arena *a, struct vv_str s)
{
    if (s.n == SIZE_MAX) {
        return NULL;
    }
    char *p = vv_arena_alloc(a, s.n + 1);
    if (p != NULL) {
        if (s.n > 0) {
            memcpy(p, s.p, s.n);
        }
        p[s.n] = '\0';
    }
    return p;
}

struct vv_str vv_arena_str(struct vv_arena *a, struct vv_str s)
{
    char *p = vv_arena_dup(a, s);
    return (struct vv_str){p, p != NULL ? s.n : 0};
}

struct vv_str vv_arena_fmt(struct vv_arena *a, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    struct vv_str out = {NULL, 0};
    /* Most texts fit into what is left of the block: then formatting once is enough. */
    const size_t room = (size_t)(a->end - a->at);
    char *const here = a->at;
    const int len = vsnprintf(room > 0 ? here : NULL, room, fmt, args);
    if (len >= 0) {
        char *p = vv_arena_alloc(a, (size_t)len + 1);
        if (p != NULL && p != here) {
            (void)vsnprintf(p, (size_t)len + 1, fmt, again);
        }
        out = (struct vv_str){p, p != NULL ? (size_t)len : 0};
    }
    va_end(again);
    va_end(args);
    return out;
}
