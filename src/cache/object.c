/* src/cache/object.c - objects and bodies as bytes. A small object is one allocation, so that a hit
 * touches few cache lines; a large body is a chain of 64 KiB chunks, so that nothing ever needs a
 * large contiguous piece and a copy under new headers (after a 304) shares it. */
#include "cache/store_int.h"
#include <stdlib.h>

uint64_t vv_cache_mem_need(size_t bytes)
{
    return vv_pool_need(bytes);
}

uint64_t vv_cache_usable(void *p)
{
    return vv_pool_bytes(p);
}

void *vv_cache_mem(struct vv_cache *c, size_t bytes, uint64_t *ret_charged)
{
    void *p = vv_pool_take(&c->pool, bytes);
    if (p != NULL) {
        *ret_charged = vv_pool_bytes(p);
        atomic_fetch_add_explicit(&c->used, *ret_charged, memory_order_relaxed);
    }
    return p;
}

void vv_cache_mem_free(struct vv_cache *c, void *p, uint64_t charged)
{
    vv_pool_give(&c->pool, p);
    atomic_fetch_sub_explicit(&c->used, charged, memory_order_relaxed);
}

struct vv_cache_body *vv_cache_body_new(struct vv_cache *c)
{
    uint64_t charged;
    struct vv_cache_body *b = vv_cache_mem(c, sizeof(*b), &charged);
    if (b == NULL) {
        return NULL;
    }
    *b = (struct vv_cache_body){.cache = c, .charged = charged};
    atomic_init(&b->refs, 1);
    return b;
}

struct vv_cache_chunk *vv_cache_body_grow(struct vv_cache_body *b, size_t room)
{
    uint64_t charged;
    struct vv_cache_chunk *k = vv_cache_mem(b->cache, sizeof(*k) + room, &charged);
    if (k == NULL) {
        return NULL;
    }
    *k = (struct vv_cache_chunk){.room = (uint32_t)room};
    b->charged += charged;
    if (b->last != NULL) {
        b->last->next = k;
    } else {
        b->first = k;
    }
    b->last = k;
    return k;
}

bool vv_cache_body_append(struct vv_cache_body *b, struct vv_str bytes, size_t expected)
{
    while (bytes.n > 0) {
        struct vv_cache_chunk *k = b->last;
        if (k == NULL || k->n == k->room) {
            const size_t most = VV_CACHE_CHUNK_BYTES - sizeof(*k);
            const size_t want = expected > bytes.n ? expected : bytes.n;
            k = vv_cache_body_grow(b, want < most ? want : most);
            if (k == NULL) {
                return false;
            }
        }
        const size_t n = bytes.n < k->room - k->n ? bytes.n : k->room - k->n;
        memcpy(k->p + k->n, bytes.p, n);
        k->n += (uint32_t)n;
        b->n += n;
        bytes.p += n;
        bytes.n -= n;
        expected = expected > n ? expected - n : 0;
    }
    return true;
}

void vv_cache_body_unref(struct vv_cache_body *b)
{
    if (b == NULL || atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    struct vv_cache *c = b->cache;
    const uint64_t charged = b->charged;
    struct vv_cache_chunk *k = b->first;
    while (k != NULL) {
        struct vv_cache_chunk *next = k->next;
        vv_pool_give(&c->pool, k);
        k = next;
    }
    vv_cache_mem_free(c, b, charged);
}

size_t vv_cache_object_bytes(const struct vv_cache_spec *spec, uint64_t inline_n)
{
    return sizeof(struct vv_cache_object) + ((spec->meta_n + 15u) & ~15u) + spec->tags_n * 8ul +
           spec->key.n + spec->second.n + spec->head.n + inline_n;
}

static char *put(char *at, const void *from, size_t n)
{
    if (n > 0) {
        memcpy(at, from, n);
    }
    return at + n;
}

struct vv_cache_object *vv_cache_object_new(struct vv_cache *c, const struct vv_cache_spec *spec,
                                            struct vv_cache_body *body)
{
    const bool inside = body == NULL && spec->body.n <= VV_CACHE_INLINE_BYTES;
    struct vv_cache_body *own = NULL;
    if (body == NULL && !inside) {
        own = body = vv_cache_body_new(c);
        if (body == NULL || !vv_cache_body_append(body, spec->body, spec->body.n)) {
            vv_cache_body_unref(own);
            return NULL;
        }
    } else if (body != NULL) {
        atomic_fetch_add_explicit(&body->refs, 1, memory_order_relaxed);
    }
    uint64_t charged;
    struct vv_cache_object *o =
        vv_cache_mem(c, vv_cache_object_bytes(spec, inside ? spec->body.n : 0), &charged);
    if (o == NULL) {
        vv_cache_body_unref(body);
        return NULL;
    }
    *o = (struct vv_cache_object){.hash = spec->hash,
                                  .key_n = (uint32_t)spec->key.n,
                                  .second_n = (uint32_t)spec->second.n,
                                  .head_n = (uint32_t)spec->head.n,
                                  .tags_n = spec->tags_n,
                                  .keep_until_ns = spec->keep_until_ns,
                                  .body_n = body != NULL ? body->n : spec->body.n,
                                  .body = body,
                                  .meta_n = spec->meta_n,
                                  .born = spec->born,
                                  .cache = c,
                                  .charged = charged};
    atomic_init(&o->refs, 1);
    atomic_init(&o->judged, spec->born);
    atomic_init(&o->soft, spec->soft);
    put(o->bytes, spec->meta, spec->meta_n);
    char *at = put((char *)(uintptr_t)vv_cache_tags(o), spec->tags, spec->tags_n * 8ul);
    at = put(at, spec->key.p, spec->key.n);
    at = put(at, spec->second.p, spec->second.n);
    at = put(at, spec->head.p, spec->head.n);
    put(at, spec->body.p, inside ? spec->body.n : 0);
    return o;
}

struct vv_str vv_cache_body_at(const struct vv_cache_object *o, uint64_t offset)
{
    if (offset >= o->body_n) {
        return (struct vv_str){NULL, 0};
    }
    if (o->body == NULL) {
        return (struct vv_str){vv_cache_head(o).p + o->head_n + offset, o->body_n - offset};
    }
    const struct vv_cache_chunk *k = o->body->first;
    while (offset >= k->n) {
        offset -= k->n;
        k = k->next;
    }
    return (struct vv_str){k->p + offset, k->n - offset};
}

/* References do not change what the object says, hence const for the callers. */
static struct vv_cache_object *writable(const struct vv_cache_object *o)
{
    return (struct vv_cache_object *)(uintptr_t)o;
}

void vv_cache_ref(const struct vv_cache_object *o)
{
    atomic_fetch_add_explicit(&writable(o)->refs, 1, memory_order_relaxed);
}

void vv_cache_unref(const struct vv_cache_object *object)
{
    struct vv_cache_object *o = writable(object);
    if (atomic_fetch_sub_explicit(&o->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    struct vv_cache *c = o->cache;
    if (atomic_load_explicit(&o->unlinked, memory_order_relaxed)) {
        const uint64_t held = o->charged + (o->body != NULL ? o->body->charged : 0);
        atomic_fetch_sub_explicit(&c->held, held, memory_order_relaxed);
    }
    vv_cache_body_unref(o->body);
    vv_cache_mem_free(c, o, o->charged);
}
