/* src/wire/http2_mem.c - memory of HTTP/2 connections, counted to the byte and used again.
 *
 * nghttp2 asks for some twenty small blocks per request and gives them back within the same turn.
 * A free list per size keeps them warm and away from the general heap, and each block knows its
 * size, so that a connection's memory is a number that can be limited. */
#include "wire/http2_int.h"

#include <stdlib.h>

#define CLASSES 9 /* 32, 64 ... 8,192 bytes */
#define CLASS_MIN_LOG2 5
#define LAST_WORD_BYTES (64 * VV_KIB)
#define SPARE_BYTES_MAX (4 * VV_MIB) /* that a pool keeps */

#if defined(__SANITIZE_ADDRESS__)
#define REUSE false /* so that the sanitizer sees every use after free */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define REUSE false
#endif
#endif
#ifndef REUSE
#define REUSE true
#endif

struct block {
    union {
        struct block *next; /* in a free list */
        size_t total;       /* in use: bytes with this header */
    };
    uint32_t class; /* CLASSES: none */
    uint32_t bytes; /* asked for */
};
_Static_assert(sizeof(struct block) == 16, "what follows must stay aligned");

struct vv_h2_pool {
    struct block *spare[CLASSES];
    size_t spare_bytes;
    struct vv_h2_counts *counts;
};

struct vv_h2_pool *vv_h2_pool_new(struct vv_h2_counts *counts)
{
    struct vv_h2_pool *pool = calloc(1, sizeof *pool);
    if (pool != NULL) {
        pool->counts = counts;
    }
    return pool;
}

void vv_h2_pool_free(struct vv_h2_pool *pool)
{
    if (pool == NULL) {
        return;
    }
    for (unsigned i = 0; i < CLASSES; i++) {
        while (pool->spare[i] != NULL) {
            struct block *b = pool->spare[i];
            pool->spare[i] = b->next;
            free(b);
        }
    }
    free(pool);
}

struct vv_h2_counts *vv_h2_pool_counts(struct vv_h2_pool *pool)
{
    return pool->counts;
}

static uint32_t class_of(size_t total)
{
    const unsigned log2 = total <= 32 ? 5 : 64 - (unsigned)__builtin_clzl(total - 1);
    return log2 - CLASS_MIN_LOG2 < CLASSES ? log2 - CLASS_MIN_LOG2 : CLASSES;
}

VV_HOT void *vv_h2_alloc(struct vv_h2 *c, size_t bytes)
{
    struct vv_h2_pool *pool = c->pool;
    if (VV_UNLIKELY(bytes > c->conf->memory_bytes_max)) {
        c->memory_over = true;
        return NULL;
    }
    const uint32_t class = class_of(bytes + sizeof(struct block));
    const size_t total =
        class < CLASSES ? (size_t)1 << (class + CLASS_MIN_LOG2) : bytes + sizeof(struct block);
    /* A little more for the last word. */
    const size_t limit = c->conf->memory_bytes_max + (c->dead ? LAST_WORD_BYTES : 0);
    if (VV_UNLIKELY(c->memory + total > limit)) {
        c->memory_over = true;
        return NULL;
    }
    struct block *b = class < CLASSES ? pool->spare[class] : NULL;
    if (VV_LIKELY(b != NULL)) {
        pool->spare[class] = b->next;
        pool->spare_bytes -= total;
    } else {
        b = malloc(REUSE ? total : bytes + sizeof *b);
        if (b == NULL) {
            return NULL;
        }
        b->class = class;
    }
    b->total = total;
    b->bytes = (uint32_t)bytes;
    c->memory += total;
    if (c->memory > c->memory_max) {
        c->memory_max = c->memory;
        pool->counts->memory_bytes_max = vv_max_u64(pool->counts->memory_bytes_max, c->memory);
    }
    pool->counts->memory_bytes += total;
    return b + 1;
}

VV_HOT void vv_h2_dealloc(struct vv_h2 *c, void *p)
{
    if (p == NULL) {
        return;
    }
    struct vv_h2_pool *pool = c->pool;
    struct block *b = (struct block *)p - 1;
    const size_t total = b->total;
    c->memory -= total;
    pool->counts->memory_bytes -= total;
    if (!REUSE || b->class >= CLASSES || pool->spare_bytes + total > SPARE_BYTES_MAX) {
        free(b);
        return;
    }
    b->next = pool->spare[b->class];
    pool->spare[b->class] = b;
    pool->spare_bytes += total;
}

static void *hook_malloc(size_t size, void *user)
{
    return vv_h2_alloc(user, size);
}

static void hook_free(void *p, void *user)
{
    vv_h2_dealloc(user, p);
}

static void *hook_calloc(size_t n, size_t size, void *user)
{
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes)) {
        return NULL;
    }
    void *p = vv_h2_alloc(user, bytes);
    if (p != NULL) {
        memset(p, 0, bytes);
    }
    return p;
}

static void *hook_realloc(void *p, size_t size, void *user)
{
    void *fresh = vv_h2_alloc(user, size);
    if (fresh == NULL || p == NULL) {
        return fresh;
    }
    const size_t old = ((const struct block *)p - 1)->bytes;
    memcpy(fresh, p, old < size ? old : size);
    vv_h2_dealloc(user, p);
    return fresh;
}

void vv_h2_mem_hooks(struct vv_h2 *c, nghttp2_mem *ret)
{
    *ret = (nghttp2_mem){.mem_user_data = c,
                         .malloc = hook_malloc,
                         .free = hook_free,
                         .calloc = hook_calloc,
                         .realloc = hook_realloc};
}

#define TEXT_BLOCK_BYTES 2000

char *vv_h2_text(struct vv_h2_inner *s, size_t bytes)
{
    if (VV_UNLIKELY(bytes > (size_t)(s->text_end - s->text_at))) {
        const size_t room = bytes > TEXT_BLOCK_BYTES ? bytes : TEXT_BLOCK_BYTES;
        struct vv_h2_text *block = vv_h2_alloc(s->c, sizeof *block + room);
        if (block == NULL) {
            return NULL;
        }
        block->next = s->text;
        s->text = block;
        s->text_at = block->bytes;
        s->text_end = block->bytes + room;
    }
    char *p = s->text_at;
    s->text_at += bytes;
    return p;
}

struct vv_h2_inner *vv_h2_stream_new(struct vv_h2 *c, uint32_t id)
{
    struct vv_h2_inner *s = vv_h2_alloc(c, sizeof *s);
    if (s == NULL) {
        return NULL;
    }
    memset(s, 0, offsetof(struct vv_h2_inner, first));
    s->pub.id = id;
    s->c = c;
    s->urgency = 3; /* RFC 9218 4.1 */
    s->text_at = s->first;
    s->text_end = s->first + sizeof s->first;
    vv_list_init(&s->gather);
    vv_list_push_back(&c->streams, &s->node);
    vv_h2_pool_counts(c->pool)->streams++;
    return s;
}

void vv_h2_stream_free(struct vv_h2_inner *s)
{
    vv_list_del(&s->node);
    vv_list_del(&s->gather);
    while (s->text != NULL) {
        struct vv_h2_text *block = s->text;
        s->text = block->next;
        vv_h2_dealloc(s->c, block);
    }
    vv_h2_dealloc(s->c, s->trailer);
    vv_h2_dealloc(s->c, s);
}
