/* src/wire/http2_mem.c - memory of HTTP/2 connections, counted to the byte and used again.
 *
 * What a stream needs comes and goes within a few turns. A free list per size keeps it warm and away
 * from the general heap, and each block knows its size, so that a connection's memory is a number
 * that can be limited. */
#include "wire/http2_int.h"

#include <stdlib.h>

#define CLASSES 9 /* 32, 64 ... 8,192 bytes */
#define CLASS_MIN_LOG2 5
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
    uint64_t class; /* CLASSES: none */
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
        return NULL;
    }
    const uint32_t class = class_of(bytes + sizeof(struct block));
    const size_t total =
        class < CLASSES ? (size_t)1 << (class + CLASS_MIN_LOG2) : bytes + sizeof(struct block);
    if (VV_UNLIKELY(c->memory + total > c->conf->memory_bytes_max)) {
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

#define BUFFER_BYTES 2000

uint8_t *vv_h2_buffer_room(struct vv_h2 *c, struct vv_h2_buffer *b, size_t bytes)
{
    if (VV_UNLIKELY(b->room - b->n < bytes)) {
        size_t room = b->room > 0 ? 2 * b->room : BUFFER_BYTES;
        while (room - b->n < bytes) {
            room *= 2;
        }
        uint8_t *fresh = vv_h2_alloc(c, room);
        if (fresh == NULL) {
            return NULL;
        }
        if (b->n > 0) {
            memcpy(fresh, b->p, b->n);
        }
        vv_h2_dealloc(c, b->p);
        b->p = fresh;
        b->room = room;
    }
    return b->p + b->n;
}

void vv_h2_buffer_free(struct vv_h2 *c, struct vv_h2_buffer *b)
{
    vv_h2_dealloc(c, b->p);
    *b = (struct vv_h2_buffer){0};
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

/* Numbers of one side are all odd or all even. */
static struct vv_h2_inner **bucket_of(struct vv_h2 *c, uint32_t id)
{
    return &c->by_id[(id >> 1) % VV_H2_ID_BUCKETS];
}

struct vv_h2_inner *vv_h2_find(const struct vv_h2 *c, uint32_t id)
{
    struct vv_h2_inner *s = c->by_id[(id >> 1) % VV_H2_ID_BUCKETS];
    while (s != NULL && s->pub.id != id) {
        s = s->next_by_id;
    }
    return s;
}

struct vv_h2_inner *vv_h2_stream_new(struct vv_h2 *c, uint32_t id)
{
    struct vv_h2_inner *s = vv_h2_alloc(c, sizeof *s);
    if (s == NULL) {
        return NULL;
    }
    memset(s, 0, offsetof(struct vv_h2_inner, slices));
    s->pub.id = id;
    s->c = c;
    s->urgency = 3; /* RFC 9218 4.1 */
    s->text_at = s->first;
    s->text_end = s->first + sizeof s->first;
    s->send_window = c->send_first;
    s->recv_window = c->recv_first;
    vv_list_init(&s->gather);
    vv_list_init(&s->ready);
    vv_list_init(&s->leave);
    vv_list_push_back(&c->streams, &s->node);
    struct vv_h2_inner **bucket = bucket_of(c, id);
    s->next_by_id = *bucket;
    *bucket = s;
    vv_h2_pool_counts(c->pool)->streams++;
    return s;
}

void vv_h2_forget(struct vv_h2_inner *s)
{
    struct vv_h2_inner **at = bucket_of(s->c, s->pub.id);
    while (*at != s) {
        at = &(*at)->next_by_id;
    }
    *at = s->next_by_id;
}

void vv_h2_stream_free(struct vv_h2_inner *s)
{
    vv_list_del(&s->node);
    vv_list_del(&s->gather);
    vv_list_del(&s->leave);
    while (s->text != NULL) {
        struct vv_h2_text *block = s->text;
        s->text = block->next;
        vv_h2_dealloc(s->c, block);
    }
    vv_h2_dealloc(s->c, s->trailer);
    vv_h2_dealloc(s->c, s);
}
