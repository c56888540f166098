/* src/cache/small.c - a table of chains and one list in the order of puts.
 *
 * The order of puts makes trimming a walk from the list's end. A share is dropped rather than one entry
 * so that a full map does this work once in many puts. What has expired goes first, but only a walk
 * over all finds it, so that walk happens once for each share, too. */
#include "cache/small.h"

#include "base/list.h"
#include "cache/store.h"
#include <pthread.h>
#include <stdlib.h>

#define ENTRIES 1000
#define BYTES (16 * VV_MIB)
#define VALUE_BYTES VV_MIB
#define TRIM_PPM 200000
#define TEXT_MAX (64 * VV_KIB) /* of key, type and each tag */
#define CHAINS_MIN 64
#define CHAINS_MAX (1u << 20)

struct entry {
    struct vv_list order; /* newest first */
    struct entry *next;   /* in its chain */
    struct vv_small_item *item;
    uint64_t hash, put_ns;
};

struct vv_small {
    pthread_mutex_t lock;
    struct vv_small_conf conf;
    struct vv_list order;
    struct entry **chain;
    size_t chains; /* a power of two */
    struct vv_small_stats stats;
};

/* ---- items --------------------------------------------------------------------------------- */

uint64_t vv_small_etag(struct vv_str value, struct vv_str type)
{
    return vv_str_hash(value, vv_str_hash(type, 0));
}

static struct vv_str lay(char **at, struct vv_str s)
{
    char *p = *at;
    if (s.n > 0) {
        memcpy(p, s.p, s.n);
    }
    *at += s.n;
    return (struct vv_str){p, s.n};
}

enum vv_err vv_small_item_new(const struct vv_small_spec *spec, uint64_t now_ns,
                              struct vv_small_item **ret)
{
    if (spec->tags > VV_SMALL_TAGS_MAX || spec->key.n > TEXT_MAX || spec->type.n > TEXT_MAX) {
        return VV_ELIMIT;
    }
    const size_t head = sizeof(struct vv_small_item) + spec->tags * sizeof(struct vv_str);
    size_t bytes = head + spec->key.n + spec->type.n;
    for (size_t i = 0; i < spec->tags; i++) {
        if (spec->tag[i].n > TEXT_MAX) {
            return VV_ELIMIT;
        }
        bytes += spec->tag[i].n;
    }
    if (spec->value.n > SIZE_MAX - bytes) {
        return VV_ELIMIT;
    }
    struct vv_small_item *it = malloc(bytes + spec->value.n);
    if (it == NULL) {
        return VV_ENOMEM;
    }
    char *at = (char *)it + head;
    atomic_init(&it->refs, 1);
    it->etag = vv_small_etag(spec->value, spec->type);
    it->until_ns = spec->ttl_ns != 0 ? now_ns + vv_min_u64(spec->ttl_ns, UINT64_MAX - now_ns) : 0;
    it->stored_ms = spec->stored_ms;
    it->key = lay(&at, spec->key);
    it->type = lay(&at, spec->type);
    it->tags = spec->tags;
    for (size_t i = 0; i < spec->tags; i++) {
        it->tag[i] = lay(&at, spec->tag[i]);
    }
    it->value = lay(&at, spec->value);
    *ret = it;
    return VV_OK;
}

struct vv_small_item *vv_small_item_ref(struct vv_small_item *it)
{
    atomic_fetch_add_explicit(&it->refs, 1, memory_order_relaxed);
    return it;
}

void vv_small_item_unref(struct vv_small_item *it)
{
    if (it != NULL && atomic_fetch_sub_explicit(&it->refs, 1, memory_order_acq_rel) == 1) {
        free(it);
    }
}

bool vv_small_item_tagged(const struct vv_small_item *it, struct vv_str tag)
{
    for (size_t i = 0; i < it->tags; i++) {
        if (vv_str_eq(it->tag[i], tag)) {
            return true;
        }
    }
    return false;
}

static uint64_t item_bytes(const struct vv_small_item *it)
{
    uint64_t bytes = sizeof(struct entry) + sizeof *it + it->tags * sizeof it->tag[0] + it->key.n +
                     it->type.n + it->value.n;
    for (size_t i = 0; i < it->tags; i++) {
        bytes += it->tag[i].n;
    }
    return bytes;
}

static bool over(const struct vv_small_item *it, uint64_t now_ns)
{
    return it->until_ns != 0 && now_ns >= it->until_ns;
}

/* ---- the map: all of these with the lock ----------------------------------------------------- */

static struct entry **place(const struct vv_small *m, struct vv_str key, uint64_t hash)
{
    struct entry **at = &m->chain[hash & (m->chains - 1)];
    while (*at != NULL && ((*at)->hash != hash || !vv_str_eq((*at)->item->key, key))) {
        at = &(*at)->next;
    }
    return at;
}

static void drop_at(struct vv_small *m, struct entry **at)
{
    struct entry *e = *at;
    *at = e->next;
    vv_list_del(&e->order);
    m->stats.entries--;
    m->stats.bytes -= item_bytes(e->item);
    vv_small_item_unref(e->item);
    free(e);
}

static void drop(struct vv_small *m, struct entry *e)
{
    struct entry **at = &m->chain[e->hash & (m->chains - 1)];
    while (*at != e) {
        at = &(*at)->next;
    }
    drop_at(m, at);
}

static void drop_expired(struct vv_small *m, uint64_t now_ns)
{
    VV_LIST_EACH (node, &m->order) {
        struct entry *e = VV_LIST_ENTRY(node, struct entry, order);
        if (over(e->item, now_ns)) {
            m->stats.expired++;
            drop(m, e);
        }
    }
}

static bool fits(const struct vv_small *m, uint64_t more_bytes)
{
    return m->stats.entries < m->conf.entries && m->stats.bytes + more_bytes <= m->conf.bytes;
}

/* Room for one more of so many bytes: a whole share goes, or more if that is not enough. */
static void make_room(struct vv_small *m, uint64_t more_bytes, uint64_t now_ns)
{
    if (fits(m, more_bytes)) {
        return;
    }
    const uint64_t had = m->stats.entries;
    const uint64_t share = vv_max_u64(had * m->conf.trim_ppm / VV_PPM, 1);
    m->stats.trims++;
    drop_expired(m, now_ns);
    while (m->stats.entries > 0 && (had - m->stats.entries < share || !fits(m, more_bytes))) {
        m->stats.trimmed++;
        drop(m, VV_LIST_ENTRY(m->order.prev, struct entry, order));
    }
}

static enum vv_err judge(const struct vv_small_if *cond, const struct vv_small_item *there)
{
    bool named = false;
    for (size_t i = 0; cond != NULL && there != NULL && i < cond->etags; i++) {
        named |= cond->etag[i] == there->etag;
    }
    switch (cond != NULL ? cond->when : VV_SMALL_ALWAYS) {
    case VV_SMALL_ABSENT:
        return there == NULL ? VV_OK : VV_EEXIST;
    case VV_SMALL_PRESENT:
        return there != NULL ? VV_OK : VV_ENOENT;
    case VV_SMALL_MATCH:
        return named ? VV_OK : VV_ENOENT;
    case VV_SMALL_OTHER:
        return named ? VV_EEXIST : VV_OK;
    case VV_SMALL_ALWAYS:
        break;
    }
    return VV_OK;
}

static enum vv_err put_locked(struct vv_small *m, struct vv_small_item *it,
                              const struct vv_small_if *cond, uint64_t now_ns, bool *ret_replaced)
{
    const uint64_t bytes = item_bytes(it);
    const uint64_t hash = vv_str_hash(it->key, 0);
    if (it->value.n > m->conf.value_bytes || bytes > m->conf.bytes) {
        return VV_ELIMIT;
    }
    struct entry **at = place(m, it->key, hash);
    if (*at != NULL && over((*at)->item, now_ns)) {
        m->stats.expired++;
        drop_at(m, at);
        at = place(m, it->key, hash);
    }
    const enum vv_err err = judge(cond, *at != NULL ? (*at)->item : NULL);
    if (err != VV_OK) {
        return err;
    }
    struct entry *e = malloc(sizeof *e);
    if (e == NULL) {
        return VV_ENOMEM;
    }
    const bool replaced = *at != NULL;
    if (replaced) {
        drop_at(m, at);
    }
    make_room(m, bytes, now_ns);
    *e = (struct entry){.item = vv_small_item_ref(it), .hash = hash, .put_ns = now_ns};
    e->next = m->chain[hash & (m->chains - 1)];
    m->chain[hash & (m->chains - 1)] = e;
    vv_list_push_front(&m->order, &e->order);
    m->stats.entries++;
    m->stats.bytes += bytes;
    m->stats.puts++;
    if (ret_replaced != NULL) {
        *ret_replaced = replaced;
    }
    return VV_OK;
}

/* ---- public ---------------------------------------------------------------------------------- */

static struct vv_small_conf filled(const struct vv_small_conf *c)
{
    return (struct vv_small_conf){
        .entries = c->entries != 0 ? c->entries : ENTRIES,
        .bytes = c->bytes != 0 ? c->bytes : BYTES,
        .value_bytes = c->value_bytes != 0 ? c->value_bytes : VALUE_BYTES,
        .trim_ppm = c->trim_ppm != 0 ? vv_min_u64(c->trim_ppm, VV_PPM) : TRIM_PPM,
    };
}

enum vv_err vv_small_new(const struct vv_small_conf *conf, struct vv_small **ret)
{
    struct vv_small *m = calloc(1, sizeof *m);
    if (m == NULL) {
        return VV_ENOMEM;
    }
    m->conf = filled(conf);
    m->chains = CHAINS_MIN;
    while (m->chains < m->conf.entries && m->chains < CHAINS_MAX) {
        m->chains *= 2;
    }
    m->chain = calloc(m->chains, sizeof(struct entry *));
    if (m->chain == NULL) {
        free(m);
        return VV_ENOMEM;
    }
    vv_list_init(&m->order);
    VV_ASSERT(pthread_mutex_init(&m->lock, NULL) == 0);
    *ret = m;
    return VV_OK;
}

void vv_small_free(struct vv_small *m)
{
    if (m == NULL) {
        return;
    }
    while (!vv_list_empty(&m->order)) {
        drop(m, VV_LIST_ENTRY(m->order.next, struct entry, order));
    }
    pthread_mutex_destroy(&m->lock);
    free(m->chain);
    free(m);
}

void vv_small_set(struct vv_small *m, const struct vv_small_conf *conf)
{
    pthread_mutex_lock(&m->lock);
    m->conf = filled(conf);
    pthread_mutex_unlock(&m->lock);
}

struct vv_small_item *vv_small_get(struct vv_small *m, struct vv_str key, uint64_t now_ns)
{
    const uint64_t hash = vv_str_hash(key, 0);
    struct vv_small_item *it = NULL;
    pthread_mutex_lock(&m->lock);
    struct entry **at = place(m, key, hash);
    if (*at != NULL && over((*at)->item, now_ns)) {
        m->stats.expired++;
        drop_at(m, at);
    } else if (*at != NULL) {
        it = vv_small_item_ref((*at)->item);
    }
    pthread_mutex_unlock(&m->lock);
    return it;
}

enum vv_err vv_small_put_item(struct vv_small *m, struct vv_small_item *it,
                              const struct vv_small_if *cond, uint64_t now_ns, bool *ret_replaced)
{
    pthread_mutex_lock(&m->lock);
    const enum vv_err err = put_locked(m, it, cond, now_ns, ret_replaced);
    pthread_mutex_unlock(&m->lock);
    return err;
}

enum vv_err vv_small_put(struct vv_small *m, const struct vv_small_spec *spec,
                         const struct vv_small_if *cond, uint64_t now_ns, bool *ret_replaced)
{
    struct vv_small_item *it = NULL;
    enum vv_err err = vv_small_item_new(spec, now_ns, &it);
    if (err == VV_OK) {
        err = vv_small_put_item(m, it, cond, now_ns, ret_replaced);
        vv_small_item_unref(it);
    }
    return err;
}

enum vv_err vv_small_remove(struct vv_small *m, struct vv_str key, const struct vv_small_if *cond,
                            uint64_t now_ns, bool *ret_there)
{
    const uint64_t hash = vv_str_hash(key, 0);
    pthread_mutex_lock(&m->lock);
    struct entry **at = place(m, key, hash);
    const bool there = *at != NULL && !over((*at)->item, now_ns);
    const enum vv_err err = judge(cond, there ? (*at)->item : NULL);
    if (err == VV_OK && *at != NULL) {
        drop_at(m, at);
    }
    pthread_mutex_unlock(&m->lock);
    if (err == VV_OK && ret_there != NULL) {
        *ret_there = there;
    }
    return err;
}

void vv_small_forget(struct vv_small *m, struct vv_str key, uint64_t before_ns)
{
    const uint64_t hash = vv_str_hash(key, 0);
    pthread_mutex_lock(&m->lock);
    struct entry **at = place(m, key, hash);
    if (*at != NULL && (*at)->put_ns < before_ns) {
        drop_at(m, at);
    }
    pthread_mutex_unlock(&m->lock);
}

static size_t remove_each(struct vv_small *m, struct vv_str what, bool is_tag, uint64_t now_ns)
{
    size_t count = 0;
    pthread_mutex_lock(&m->lock);
    VV_LIST_EACH (node, &m->order) {
        struct entry *e = VV_LIST_ENTRY(node, struct entry, order);
        if (is_tag ? vv_small_item_tagged(e->item, what) : vv_cache_glob(what, e->item->key)) {
            count += !over(e->item, now_ns);
            drop(m, e);
        }
    }
    pthread_mutex_unlock(&m->lock);
    return count;
}

size_t vv_small_remove_glob(struct vv_small *m, struct vv_str glob, uint64_t now_ns)
{
    return remove_each(m, glob, false, now_ns);
}

size_t vv_small_remove_tag(struct vv_small *m, struct vv_str tag, uint64_t now_ns)
{
    return remove_each(m, tag, true, now_ns);
}

void vv_small_stats(struct vv_small *m, struct vv_small_stats *ret)
{
    pthread_mutex_lock(&m->lock);
    *ret = m->stats;
    pthread_mutex_unlock(&m->lock);
}

void vv_small_check(struct vv_small *m)
{
    uint64_t entries = 0, bytes = 0, chained = 0;
    pthread_mutex_lock(&m->lock);
    VV_LIST_EACH (node, &m->order) {
        const struct entry *e = VV_LIST_ENTRY(node, struct entry, order);
        entries++;
        bytes += item_bytes(e->item);
        VV_ASSERT(*place(m, e->item->key, e->hash) == e);
    }
    for (size_t i = 0; i < m->chains; i++) {
        for (const struct entry *e = m->chain[i]; e != NULL; e = e->next) {
            chained++;
        }
    }
    VV_ASSERT(entries == m->stats.entries && entries == chained && bytes == m->stats.bytes);
    VV_ASSERT(entries <= m->conf.entries && bytes <= m->conf.bytes);
    pthread_mutex_unlock(&m->lock);
}
