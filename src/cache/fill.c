/* src/cache/fill.c - the map of running fetches and their bodies.
 *
 * The body grows in chunks that never move, so a follower reads without copying. A small body is
 * copied into the object when it is published; a large one is handed over as it is. Waking is one
 * mail per waiter and wait: who falls behind finds everything that came meanwhile at once. */
#include "cache/fill.h"
#include "cache/store_int.h"
#include <stdlib.h>

#define FIRST_CHUNK 4096

enum state { RUNNING, DONE, FAILED };

struct vv_cache_fill {
    struct vv_cache *cache;
    struct vv_list node; /* under the map's lock */
    _Atomic uint32_t refs;
    uint64_t charged, hash, born, expected, head_charged;
    struct vv_str key;
    pthread_mutex_t lock;
    enum state state;
    enum vv_err why;
    bool has_head, mapped;
    atomic_bool doomed; /* its key was purged: nothing of it is published any more */
    uint64_t transient; /* bytes counted in the cache's `transient`; not 0: not to be published */
    size_t meta_n, waiting;
    char *head;
    size_t head_n;
    struct vv_cache_body *body;
    struct vv_list waiters;
    struct vv_cache_chunk *spare; /* the last chunk before it was cut to size */
    uint64_t spare_charged;
    VV_ALIGNED(16) char meta[VV_CACHE_META_MAX];
    char key_bytes[];
};

struct fill_map {
    pthread_mutex_t lock;
    uint64_t charged, count;
    struct vv_list buckets[FILL_BUCKETS];
};

enum vv_err vv_cache_fill_map_new(struct vv_cache *c)
{
    uint64_t charged;
    struct fill_map *m = vv_cache_mem(c, sizeof(*m), &charged);
    if (m == NULL) {
        return VV_ENOMEM;
    }
    m->charged = charged;
    m->count = 0;
    VV_ASSERT(pthread_mutex_init(&m->lock, NULL) == 0);
    for (size_t i = 0; i < FILL_BUCKETS; i++) {
        vv_list_init(&m->buckets[i]);
    }
    c->fills = m;
    return VV_OK;
}

void vv_cache_fill_map_free(struct vv_cache *c)
{
    if (c->fills != NULL) {
        VV_ASSERT(c->fills->count == 0);
        pthread_mutex_destroy(&c->fills->lock);
        vv_cache_mem_free(c, c->fills, c->fills->charged);
    }
}

uint64_t vv_cache_fill_count(struct vv_cache *c)
{
    pthread_mutex_lock(&c->fills->lock);
    const uint64_t n = c->fills->count;
    pthread_mutex_unlock(&c->fills->lock);
    return n;
}

/* Room is made and counted before memory is taken. */
static void *take(struct vv_cache *c, size_t bytes, uint64_t now_ns, uint64_t *ret_charged)
{
    const struct want want = {.need = vv_cache_mem_need(bytes)};
    if (vv_cache_reserve(c, 0, &want, now_ns) != VV_OK) {
        return NULL;
    }
    void *p = vv_cache_mem(c, bytes, ret_charged);
    atomic_fetch_sub(&c->used, want.need);
    return p;
}

static struct vv_cache_fill *fill_new(struct vv_cache *c, struct vv_str key, uint64_t hash,
                                      uint64_t now_ns)
{
    uint64_t charged;
    struct vv_cache_fill *f = take(c, sizeof(*f) + key.n, now_ns, &charged);
    if (f == NULL) {
        return NULL;
    }
    memset(f, 0, sizeof(*f));
    f->body = vv_cache_body_new(c);
    if (f->body == NULL) {
        vv_cache_mem_free(c, f, charged);
        return NULL;
    }
    f->cache = c;
    f->charged = charged;
    f->hash = hash;
    f->born = vv_cache_born(c);
    memcpy(f->key_bytes, key.p, key.n);
    f->key = (struct vv_str){f->key_bytes, key.n};
    vv_list_init(&f->waiters);
    VV_ASSERT(pthread_mutex_init(&f->lock, NULL) == 0);
    atomic_init(&f->refs, 2); /* the map's and the leader's */
    f->mapped = true;
    return f;
}

void vv_cache_fill_ref(struct vv_cache_fill *f)
{
    atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
}

void vv_cache_fill_unref(struct vv_cache_fill *f)
{
    if (atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    struct vv_cache *c = f->cache;
    atomic_fetch_sub_explicit(&c->transient, f->transient, memory_order_relaxed);
    vv_cache_body_unref(f->body);
    if (f->head != NULL) {
        vv_cache_mem_free(c, f->head, f->head_charged);
    }
    if (f->spare != NULL) {
        vv_cache_mem_free(c, f->spare, f->spare_charged);
    }
    pthread_mutex_destroy(&f->lock);
    vv_cache_mem_free(c, f, f->charged);
}

static bool marked(struct vv_cache *c, uint64_t hash, uint64_t now_ns)
{
    struct marker *m = &c->markers[hash % MARKERS];
    return atomic_load_explicit(&m->until_ns, memory_order_acquire) > now_ns &&
           atomic_load_explicit(&m->hash, memory_order_relaxed) == hash;
}

void vv_cache_fill_mark(struct vv_cache *c, struct vv_str key, uint64_t until_ns)
{
    const uint64_t hash = vv_cache_hash(c, key);
    struct marker *m = &c->markers[hash % MARKERS];
    /* Two threads may mix their words: a marker then holds for the wrong time, never for long. */
    atomic_store_explicit(&m->hash, hash, memory_order_relaxed);
    atomic_store_explicit(&m->until_ns, until_ns, memory_order_release);
}

static struct vv_cache_fill *find(struct vv_list *bucket, struct vv_str key, uint64_t hash)
{
    VV_LIST_EACH (it, bucket) {
        struct vv_cache_fill *f = VV_LIST_ENTRY(it, struct vv_cache_fill, node);
        if (f->hash == hash && vv_str_eq(f->key, key)) {
            return f;
        }
    }
    return NULL;
}

enum vv_err vv_cache_fill_begin(struct vv_cache *c, struct vv_str key, uint64_t now_ns,
                                enum vv_cache_role *ret_role, struct vv_cache_fill **ret_fill)
{
    const uint64_t hash = vv_cache_hash(c, key);
    if (marked(c, hash, now_ns)) {
        *ret_role = VV_CACHE_PASS;
        return VV_OK;
    }
    struct vv_list *bucket = &c->fills->buckets[hash % FILL_BUCKETS];
    pthread_mutex_lock(&c->fills->lock);
    struct vv_cache_fill *f = find(bucket, key, hash);
    if (f != NULL) {
        atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
        *ret_role = VV_CACHE_FOLLOW;
    } else {
        f = fill_new(c, key, hash, now_ns);
        if (f != NULL) {
            vv_list_push_back(bucket, &f->node);
            c->fills->count++;
            *ret_role = VV_CACHE_LEAD;
        }
    }
    pthread_mutex_unlock(&c->fills->lock);
    if (f == NULL) {
        return VV_ENOMEM;
    }
    *ret_fill = f;
    return VV_OK;
}

/* Takes it out of the map, once. */
static void unmap(struct vv_cache_fill *f)
{
    pthread_mutex_lock(&f->cache->fills->lock);
    const bool was = f->mapped;
    if (was) {
        f->mapped = false;
        vv_list_del(&f->node);
        f->cache->fills->count--;
    }
    pthread_mutex_unlock(&f->cache->fills->lock);
    if (was) {
        vv_cache_fill_unref(f);
    }
}

/* A purge of the key while it is being fetched: what comes is served to those who wait, not kept,
 * and who asks from now on starts a fetch of its own. */
void vv_cache_fill_doom(struct vv_cache *c, struct vv_str key, uint64_t hash)
{
    pthread_mutex_lock(&c->fills->lock);
    struct vv_cache_fill *f = find(&c->fills->buckets[hash % FILL_BUCKETS], key, hash);
    if (f != NULL) {
        atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
        atomic_store(&f->doomed, true);
    }
    pthread_mutex_unlock(&c->fills->lock);
    if (f != NULL) {
        unmap(f);
        vv_cache_fill_unref(f);
    }
}

static void wake_all(struct vv_cache_fill *f)
{
    while (!vv_list_empty(&f->waiters)) {
        struct vv_cache_waiter *w = VV_LIST_ENTRY(f->waiters.next, struct vv_cache_waiter, node);
        vv_list_del(&w->node);
        w->armed = false;
        f->waiting--;
        vv_loop_post(w->loop, &w->mail);
    }
}

enum vv_err vv_cache_fill_head(struct vv_cache_fill *f, const void *meta, size_t meta_n,
                               struct vv_str head, uint64_t expected, uint64_t now_ns)
{
    if (meta_n > VV_CACHE_META_MAX) {
        return VV_EINVAL;
    }
    if (expected + head.n > vv_cache_object_max(f->cache)) {
        return VV_ELIMIT;
    }
    uint64_t charged = 0;
    char *copy = take(f->cache, head.n + 1, now_ns, &charged);
    if (copy == NULL) {
        return VV_ENOMEM;
    }
    memcpy(copy, head.p, head.n);
    pthread_mutex_lock(&f->lock);
    memcpy(f->meta, meta, meta_n);
    f->meta_n = meta_n;
    f->head = copy;
    f->head_n = head.n;
    f->head_charged = charged;
    f->expected = expected;
    f->has_head = true;
    wake_all(f);
    pthread_mutex_unlock(&f->lock);
    return VV_OK;
}

static size_t next_room(const struct vv_cache_fill *f, size_t bytes_n)
{
    const uint64_t most = VV_CACHE_CHUNK_BYTES - sizeof(struct vv_cache_chunk);
    const uint64_t left = f->expected > f->body->n ? f->expected - f->body->n : 0;
    const uint64_t grown = vv_max_u64(f->body->n, FIRST_CHUNK); /* doubles while unknown */
    return (size_t)vv_min_u64(most, left > 0 ? left : vv_max_u64(grown, bytes_n));
}

/* Counts the whole body once it is larger than an object may be. */
static bool may_grow(struct vv_cache_fill *f, size_t bytes_n)
{
    struct vv_cache *c = f->cache;
    const uint64_t n = f->body->n + bytes_n;
    if (n <= vv_cache_object_max(c) && f->transient == 0) {
        return true;
    }
    const uint64_t more = n - f->transient;
    const uint64_t before = atomic_fetch_add_explicit(&c->transient, more, memory_order_relaxed);
    if (before + more > vv_cache_budget(c) / 2) {
        atomic_fetch_sub_explicit(&c->transient, more, memory_order_relaxed);
        return false;
    }
    f->transient = n;
    return true;
}

/* Adds all of the bytes or, when memory is out, none. */
static bool append_all(struct vv_cache_fill *f, struct vv_str bytes)
{
    struct vv_cache_body *b = f->body;
    struct vv_cache_chunk *last = b->last;
    const uint64_t before = b->n;
    const uint32_t last_n = last != NULL ? last->n : 0;
    if (vv_cache_body_append(b, bytes, next_room(f, bytes.n))) {
        return true;
    }
    for (struct vv_cache_chunk *k = last != NULL ? last->next : b->first; k != NULL; k = k->next) {
        k->n = 0;
    }
    if (last != NULL) {
        last->n = last_n;
    }
    b->n = before;
    return false;
}

enum vv_err vv_cache_fill_append(struct vv_cache_fill *f, struct vv_str bytes, uint64_t now_ns)
{
    struct vv_cache *c = f->cache;
    if (!may_grow(f, bytes.n)) {
        return VV_ELIMIT;
    }
    const struct vv_cache_chunk *k = f->body->last;
    const size_t left = k != NULL ? k->room - k->n : 0;
    struct want want = {.need = 0};
    if (bytes.n > left) {
        const size_t chunks = (bytes.n - left) / VV_CACHE_CHUNK_BYTES + 2;
        want.need = bytes.n - left + next_room(f, bytes.n) + chunks * vv_cache_mem_need(sizeof(*k));
        if (vv_cache_reserve(c, 0, &want, now_ns) != VV_OK) {
            return VV_ENOMEM;
        }
    }
    pthread_mutex_lock(&f->lock);
    const bool ok = append_all(f, bytes);
    atomic_fetch_sub(&c->used, want.need);
    if (ok && bytes.n > 0) {
        wake_all(f);
    }
    pthread_mutex_unlock(&f->lock);
    return ok ? VV_OK : VV_ENOMEM;
}

/* Cuts the last chunk to its content; readers of the old one keep it through the fill. */
static void cut_last(struct vv_cache_fill *f)
{
    struct vv_cache_body *b = f->body;
    struct vv_cache_chunk *old = b->last;
    if (old == NULL || old->room - old->n < b->n / 16 || f->spare != NULL) {
        return;
    }
    uint64_t charged;
    struct vv_cache_chunk *k = vv_cache_mem(f->cache, sizeof(*k) + old->n, &charged);
    if (k == NULL) {
        return;
    }
    memcpy(k, old, sizeof(*k) + old->n);
    k->room = old->n;
    struct vv_cache_chunk **at = &b->first;
    while (*at != old) {
        at = &(*at)->next;
    }
    *at = b->last = k;
    f->spare = old;
    f->spare_charged = vv_cache_usable(old);
    b->charged = b->charged + charged - f->spare_charged;
}

static struct vv_cache_object *build(struct vv_cache_fill *f, const struct vv_cache_spec *spec)
{
    struct vv_cache_spec s = *spec;
    s.key = f->key;
    s.hash = f->hash;
    s.born = f->born;
    if (f->body->n > VV_CACHE_INLINE_BYTES) {
        s.body = (struct vv_str){NULL, 0};
        return vv_cache_object_new(f->cache, &s, f->body);
    }
    char whole[VV_CACHE_INLINE_BYTES];
    size_t n = 0;
    for (const struct vv_cache_chunk *k = f->body->first; k != NULL; k = k->next) {
        memcpy(whole + n, k->p, k->n);
        n += k->n;
    }
    s.body = (struct vv_str){whole, n};
    return vv_cache_object_new(f->cache, &s, NULL);
}

static void end(struct vv_cache_fill *f, enum state state, enum vv_err why)
{
    unmap(f); /* first: who is told that it ended must not find it again */
    pthread_mutex_lock(&f->lock);
    f->state = state;
    f->why = why;
    wake_all(f);
    pthread_mutex_unlock(&f->lock);
}

bool vv_cache_fill_doomed(const struct vv_cache_fill *f)
{
    return atomic_load(&f->doomed);
}

enum vv_err vv_cache_fill_finish(struct vv_cache_fill *f, const struct vv_cache_spec *spec,
                                 uint64_t now_ns)
{
    struct vv_cache *c = f->cache;
    enum vv_err err =
        spec->meta_n > VV_CACHE_META_MAX || spec->tags_n > VV_CACHE_TAGS_MAX ? VV_EINVAL : VV_OK;
    if (err == VV_OK && (f->transient > 0 || vv_cache_fill_doomed(f))) {
        err = VV_ELIMIT;
    }
    const bool inside = f->body->n <= VV_CACHE_INLINE_BYTES;
    const struct want want = {
        .need = vv_cache_mem_need(vv_cache_object_bytes(spec, inside ? f->body->n : 0) + f->key.n),
        .body_n = f->body->n,
        .objects = 1,
        .taken = inside ? 0 : f->body->charged}; /* a chain is paid for, but not yet worth it */
    if (err == VV_OK) {
        err = vv_cache_reserve(c, f->hash, &want, now_ns);
    }
    if (err == VV_OK) {
        pthread_mutex_lock(&f->lock);
        if (!inside) {
            cut_last(f);
        }
        pthread_mutex_unlock(&f->lock);
        struct vv_cache_object *o = build(f, spec);
        atomic_fetch_sub(&c->used, want.need);
        err = o != NULL ? vv_cache_link(c, o, f) : VV_ENOMEM;
    }
    end(f, DONE, VV_OK);
    return err;
}

void vv_cache_fill_end(struct vv_cache_fill *f)
{
    end(f, DONE, VV_OK);
}

void vv_cache_fill_fail(struct vv_cache_fill *f, enum vv_err why)
{
    VV_ASSERT(why != VV_OK && why != VV_EAGAIN);
    end(f, FAILED, why);
}

enum vv_err vv_cache_fill_get_head(struct vv_cache_fill *f, struct vv_str *ret_meta,
                                   struct vv_str *ret_head)
{
    pthread_mutex_lock(&f->lock);
    enum vv_err err = f->state == FAILED ? f->why : VV_EAGAIN;
    if (f->has_head && f->state != FAILED) {
        *ret_meta = (struct vv_str){f->meta, f->meta_n};
        *ret_head = (struct vv_str){f->head, f->head_n};
        err = VV_OK;
    }
    pthread_mutex_unlock(&f->lock);
    return err;
}

enum vv_err vv_cache_fill_read(struct vv_cache_fill *f, uint64_t offset, struct vv_str *ret)
{
    enum vv_err err = VV_OK;
    pthread_mutex_lock(&f->lock);
    *ret = (struct vv_str){NULL, 0};
    if (offset < f->body->n) { /* what came before a failure is good */
        const struct vv_cache_chunk *k = f->body->first;
        while (offset >= k->n) {
            offset -= k->n;
            k = k->next;
        }
        *ret = (struct vv_str){k->p + offset, k->n - offset};
    } else if (f->state == FAILED) {
        err = f->why;
    } else if (f->state == RUNNING) {
        err = VV_EAGAIN;
    }
    pthread_mutex_unlock(&f->lock);
    return err;
}

enum vv_err vv_cache_fill_wait(struct vv_cache_fill *f, struct vv_cache_waiter *w, bool want_head,
                               uint64_t offset)
{
    enum vv_err err = VV_OK;
    pthread_mutex_lock(&f->lock);
    if (f->state != RUNNING || f->body->n > offset || (want_head && f->has_head)) {
        err = VV_EEXIST;
    } else if (f->waiting >= VV_CACHE_WAITERS_MAX) {
        err = VV_ELIMIT;
    } else {
        w->fill = f;
        w->armed = true;
        f->waiting++;
        vv_list_push_back(&f->waiters, &w->node);
    }
    pthread_mutex_unlock(&f->lock);
    return err;
}

bool vv_cache_fill_stop(struct vv_cache_waiter *w)
{
    struct vv_cache_fill *f = w->fill;
    pthread_mutex_lock(&f->lock);
    const bool was = w->armed;
    if (was) {
        w->armed = false;
        f->waiting--;
        vv_list_del(&w->node);
    }
    pthread_mutex_unlock(&f->lock);
    return was;
}
