/* src/gateway/levels.c - the levels of caches: their life, their names in stores, and what stores say about
 * those names. */
#include "gateway/levels_int.h"
#include "gateway/settings_int.h"
#include "observe/log.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define OBJECT_BYTES (4 * VV_MIB)
#define PPM UINT64_C(1000000)
#define LINGER_NS (10 * VV_MINUTE)

static const char *const read_names[] = {
#define VV_LEVEL_READ(id, name) name,
    VV_LEVEL_READS(VV_LEVEL_READ)
#undef VV_LEVEL_READ
};
static const char *const write_names[] = {
#define VV_LEVEL_WRITE(id, name) name,
    VV_LEVEL_WRITES(VV_LEVEL_WRITE)
#undef VV_LEVEL_WRITE
};

/* ---- life ---- */

struct vv_levels *vv_levels_ref(struct vv_levels *l)
{
    atomic_fetch_add_explicit(&l->refs, 1, memory_order_relaxed);
    return l;
}

void vv_levels_unref(struct vv_levels *l)
{
    if (l != NULL) { /* release: what this thread did with it is over before it is freed */
        VV_ASSERT(atomic_fetch_sub_explicit(&l->refs, 1, memory_order_release) > 0);
    }
}

struct vv_coherence *vv_levels_coherence(const struct vv_levels *l)
{
    return l->coherence;
}

uint32_t vv_levels_alone_s(const struct vv_levels *l)
{
    return (uint32_t)vv_max_u64(l->alone_ns / VV_SEC, 1);
}

static void levels_free(struct vv_levels *l)
{
    vv_coherence_free(l->coherence);
    for (size_t i = 0; i < l->count; i++) {
        vv_store_unref(l->level[i].store);
    }
    vv_named_cache_unref(l->cache);
    free(l);
}

static enum vv_err take_level(struct vv_caches *cs, const struct vv_level_settings *s,
                              struct vv_level *ret)
{
    ret->factor_ppm = s->ttl_factor_ppm;
    ret->ttl_ns = s->ttl_ns;
    ret->object_max = s->object_bytes > 0 ? s->object_bytes : OBJECT_BYTES;
    ret->compress_min = s->compress_bytes > 0 ? (size_t)s->compress_bytes : SIZE_MAX;
    return vv_stores_take(cs->stores, s->store, &ret->store);
}

static struct vv_levels *levels_new(struct vv_named_cache *cache, const struct vv_cache_settings *s,
                                    enum vv_err *err)
{
    struct vv_levels *l = calloc(1, sizeof *l);
    *err = l != NULL ? VV_OK : VV_ENOMEM;
    if (l == NULL) {
        return NULL;
    }
    vv_list_init(&l->node);
    l->cache = cache;
    atomic_fetch_add_explicit(&cache->refs, 1, memory_order_relaxed);
    l->alone_ns = s->share.alone_ns;
    l->bound_ns = s->share.bound_ns;
    l->lease_ns = s->share.lease_ns;
    for (size_t i = 0; i < vv_list_count(s->levels) && *err == VV_OK; i++) {
        const struct vv_level_settings *level = s->levels->item[i];
        if (level->store == NULL) {
            continue;
        }
        *err = l->count < VV_LEVEL_STORES_MAX ? take_level(cache->owner, level, &l->level[l->count])
                                              : VV_ELIMIT;
        l->count += *err == VV_OK;
        if (*err == VV_OK && !l->level[l->count - 1].store->has_server) {
            vv_store_unref(
                l->level[--l->count].store); /* in memory only: there is nothing to ask */
        }
    }
    return l;
}

static bool same(const struct vv_levels *a, const struct vv_levels *b)
{
    bool equal = a->cache == b->cache && a->count == b->count && a->alone_ns == b->alone_ns &&
                 a->bound_ns == b->bound_ns && a->lease_ns == b->lease_ns;
    for (size_t i = 0; equal && i < a->count; i++) {
        const struct vv_level *x = &a->level[i], *y = &b->level[i];
        equal = x->store == y->store && x->factor_ppm == y->factor_ppm && x->ttl_ns == y->ttl_ns &&
                x->object_max == y->object_max && x->compress_min == y->compress_min;
    }
    return equal;
}

static struct vv_levels *find_same(struct vv_caches *cs, const struct vv_levels *like)
{
    VV_LIST_EACH (it, &cs->levels) {
        struct vv_levels *l = VV_LIST_ENTRY(it, struct vv_levels, node);
        if (same(l, like)) {
            return l;
        }
    }
    return NULL;
}

static enum vv_err link_log(struct vv_caches *cs, struct vv_levels *l)
{
    const struct vv_coherence_conf conf = {.name = vv_str_from(l->cache->name),
                                           .log = l->level[l->count - 1].store,
                                           .memory = l->cache->memory,
                                           .control = cs->control,
                                           .metrics = cs->metrics,
                                           .bound_ns = l->bound_ns};
    const enum vv_err err = vv_coherence_new(&conf, &l->coherence);
    if (err == VV_OK) { /* it lets go of the store itself */
        vv_store_ref(conf.log);
    }
    return err;
}

enum vv_err vv_levels_take(struct vv_named_cache *cache, const struct vv_cache_settings *s,
                           struct vv_levels **ret)
{
    struct vv_caches *cs = cache->owner;
    enum vv_err err = VV_OK;
    *ret = NULL;
    if (cs->stores == NULL || vv_list_count(s->levels) < 2) {
        return VV_OK;
    }
    struct vv_levels *l = levels_new(cache, s, &err);
    struct vv_levels *known = err == VV_OK && l->count > 0 ? find_same(cs, l) : NULL;
    if (err == VV_OK && l->count > 0 && known == NULL) {
        err = link_log(cs, l);
    }
    if (err != VV_OK || l->count == 0 || known != NULL) {
        if (l != NULL) {
            levels_free(l);
        }
        l = known;
    } else {
        pthread_mutex_lock(&cs->levels_lock);
        vv_list_push_back(&cs->levels, &l->node);
        pthread_mutex_unlock(&cs->levels_lock);
    }
    if (err == VV_OK && l != NULL) {
        cache->levels_wanted = l;
        *ret = vv_levels_ref(l);
    }
    return err;
}

/* Nobody holds it any more, but what was purged under it is still to be told to others: with new settings
 * the same objects lie in the same store. */
static bool lingers(struct vv_levels *l, uint64_t now_ns)
{
    const size_t waiting = vv_coherence_waiting(l->coherence);
    if (waiting == 0) {
        return false;
    }
    l->left_ns = l->left_ns > 0 ? l->left_ns : now_ns;
    if (now_ns > 0 && now_ns - l->left_ns < LINGER_NS) {
        return true;
    }
    vv_warn("cache", "purges were never told to other gateways cache=%s store=%s purges=%zu",
            l->cache->name, l->level[l->count - 1].store->name, waiting);
    return false;
}

void vv_levels_tick(struct vv_caches *cs, uint64_t now_ns)
{
    VV_LIST_EACH (it, &cs->levels) {
        struct vv_levels *l = VV_LIST_ENTRY(it, struct vv_levels, node);
        const bool held = atomic_load_explicit(&l->refs, memory_order_acquire) > 0;
        l->left_ns = held ? 0 : l->left_ns;
        if (held || lingers(l, now_ns)) {
            vv_coherence_tick(l->coherence, now_ns);
            continue;
        }
        pthread_mutex_lock(&cs->levels_lock);
        vv_list_del(&l->node);
        pthread_mutex_unlock(&cs->levels_lock);
        if (l->cache->levels == l) {
            l->cache->levels = NULL;
        }
        levels_free(l);
    }
}

/* ---- names ---- */

static struct vv_str make_name(const struct vv_levels *l, const struct vv_level *level,
                               const char *kind, struct vv_str variant, struct vv_str key)
{
    struct vv_sb sb = VV_SB_INIT;
    char hash[40];
    struct vv_str last = key;
    const bool is_long = key.n > VV_LEVEL_KEY_MAX;
    if (is_long) { /* who reads it compares the whole key: a collision is a miss */
        snprintf(hash, sizeof hash, "%016" PRIx64 "%016" PRIx64, vv_str_hash(key, 1),
                 vv_str_hash(key, 2));
        last = vv_str_from(hash);
    }
    vv_sb_adds(&sb, level->store->prefix);
    vv_sb_addc(&sb, ':');
    vv_sb_adds(&sb, l->cache->name);
    vv_sb_addc(&sb, ':');
    vv_sb_addc(&sb, is_long ? kind[1] : kind[0]);
    vv_sb_addc(&sb, ':');
    vv_sb_add(&sb, variant);
    vv_sb_add(&sb, last);
    const size_t n = sb.n;
    char *p = vv_sb_take(&sb);
    return (struct vv_str){p, p != NULL ? n : 0};
}

struct vv_str vv_level_name(const struct vv_levels *l, const struct vv_level *level,
                            struct vv_str key)
{
    return make_name(l, level, "oh", (struct vv_str){NULL, 0}, key);
}

struct vv_str vv_level_lease_name(const struct vv_levels *l, const struct vv_level *level,
                                  struct vv_str key)
{
    return make_name(l, level, "lm", (struct vv_str){NULL, 0}, key);
}

#define VARIANT_BYTES 34 /* two hashes, each with its colon */

struct vv_str vv_level_variant_name(const struct vv_levels *l, const struct vv_level *level,
                                    uint64_t generation, struct vv_str second, struct vv_str key)
{
    char variant[VARIANT_BYTES + 1];
    snprintf(variant, sizeof variant, "%016" PRIx64 ":%016" PRIx64 ":", generation,
             vv_str_hash(second, 3));
    return make_name(l, level, "vw", vv_str_from(variant), key);
}

/* No answer's own tag begins with a zero. */
static struct vv_str share_tag(uint64_t share, char room[40])
{
    room[0] = '\0';
    room[1] = 's';
    memcpy(room + 2, &share, sizeof share);
    return (struct vv_str){room, 2 + sizeof share};
}

static struct vv_str long_tag(struct vv_str hash, char room[40])
{
    room[0] = '\0';
    room[1] = 'h';
    memcpy(room + 2, hash.p, vv_min_u64(hash.n, 32));
    return (struct vv_str){room, 2 + vv_min_u64(hash.n, 32)};
}

uint64_t vv_level_names(struct vv_str second)
{
    uint64_t hash = 0;
    while (second.n > 0) {
        const struct vv_str line = vv_str_cut(&second, '\n');
        size_t n = 0;
        while (n < line.n && line.p[n] != ':' && line.p[n] != ' ') {
            n++;
        }
        hash = vv_str_hash((struct vv_str){line.p, n}, hash);
    }
    return hash;
}

uint64_t vv_level_ttl_ms(const struct vv_level *l, uint64_t life_ns)
{
    const uint64_t ns = l->factor_ppm == 0                     ? l->ttl_ns
                        : life_ns > UINT64_MAX / l->factor_ppm ? life_ns
                                                               : life_ns * l->factor_ppm / PPM;
    return vv_max_u64(ns / VV_MS, 1);
}

/* ---- who watches ---- */

/* Are there names of one key at several servers? */
static bool is_spread(const struct vv_levels *l)
{
    for (size_t i = 0; i < l->count; i++) {
        const enum vv_redis_kind kind = l->level[i].store->conf.url.kind;
        if (kind == VV_REDIS_RING || kind == VV_REDIS_CLUSTER) {
            return true;
        }
    }
    return false;
}

bool vv_levels_tags(struct vv_levels *l, struct vv_worker *w, const struct vv_level_watch *what,
                    uint64_t *tags, uint32_t *n)
{
    const struct vv_str key = what->key;
    bool watched = what->share != 0;
    char room[40], hash[40];
    if (*n + l->count + 2 > VV_CACHE_TAGS_MAX || !vv_coherence_synced(l->coherence) ||
        (what->varies && !watched && is_spread(l))) {
        return false;
    }
    if (watched) {
        tags[(*n)++] = vv_cache_tag(share_tag(what->share, room));
    }
    for (size_t i = 0; i < l->count; i++) {
        struct vv_redis *r = vv_store_client(w, l->level[i].store);
        const struct vv_str name = r != NULL ? vv_level_name(l, &l->level[i], key) : VV_STR("");
        const uint64_t share = name.n > 0 ? vv_redis_share(r, name) : 0;
        if (name.n > 0) {
            free((char *)(uintptr_t)name.p);
        }
        if (share != 0 && share != what->share) {
            tags[(*n)++] = vv_cache_tag(share_tag(share, room));
            watched = true;
        }
    }
    if (key.n > VV_LEVEL_KEY_MAX) {
        snprintf(hash, sizeof hash, "%016" PRIx64 "%016" PRIx64, vv_str_hash(key, 1),
                 vv_str_hash(key, 2));
        tags[(*n)++] = vv_cache_tag(long_tag(vv_str_from(hash), room));
    }
    return watched;
}

/* "CACHE:o:KEY" and its kin, after the store's prefix. */
static void forget_name(struct vv_levels *l, struct vv_str name)
{
    const size_t own = strlen(l->cache->name);
    if (name.n < own + 3 || memcmp(name.p, l->cache->name, own) != 0 || name.p[own] != ':' ||
        name.p[own + 2] != ':') {
        return;
    }
    const char kind = name.p[own + 1];
    struct vv_str rest = {name.p + own + 3, name.n - own - 3};
    if (kind == 'v' || kind == 'w') {
        const size_t skip = vv_min_u64(rest.n, VARIANT_BYTES);
        rest = (struct vv_str){rest.p + skip, rest.n - skip};
    }
    if (kind == 'o' || kind == 'v') {
        (void)vv_cache_purge_key(l->cache->memory, rest, true);
    } else if (kind == 'h' || kind == 'w') {
        char room[40];
        if (vv_cache_purge_tag(l->cache->memory, long_tag(rest, room), true) != VV_OK) {
            vv_cache_purge_all(l->cache->memory, true);
        }
    }
}

static bool is_level_of(const struct vv_levels *l, const struct vv_store *s)
{
    for (size_t i = 0; i < l->count; i++) {
        if (l->level[i].store == s) {
            return true;
        }
    }
    return false;
}

/* What a connection watched may have changed since: it goes, whatever it is. */
static void forget_share(struct vv_levels *l, uint64_t share)
{
    char room[40];
    if (vv_cache_purge_tag(l->cache->memory, share_tag(share, room), false) != VV_OK) {
        vv_cache_purge_all(l->cache->memory, false);
    }
}

static void on_changed(void *user, struct vv_store *s, uint64_t share, struct vv_str key)
{
    struct vv_caches *cs = user;
    const size_t prefix = strlen(s->prefix);
    const bool ours = key.p != NULL && key.n > prefix && memcmp(key.p, s->prefix, prefix) == 0 &&
                      key.p[prefix] == ':';
    pthread_mutex_lock(&cs->levels_lock);
    VV_LIST_EACH (it, &cs->levels) {
        struct vv_levels *l = VV_LIST_ENTRY(it, struct vv_levels, node);
        if (key.p == NULL && is_level_of(l, s)) {
            forget_share(l, share);
        } else if (ours && is_level_of(l, s)) {
            forget_name(l, (struct vv_str){key.p + prefix + 1, key.n - prefix - 1});
        }
    }
    pthread_mutex_unlock(&cs->levels_lock);
}

static void on_lost(void *user, struct vv_store *s, uint64_t share)
{
    on_changed(user, s, share, (struct vv_str){NULL, 0});
}

void vv_levels_watch(struct vv_caches *cs, struct vv_stores *stores)
{
    const struct vv_store_watch watch = {.invalidated = on_changed, .lost = on_lost, .user = cs};
    vv_stores_watch(stores, &watch);
}

/* ---- what is told ---- */

static void collect_row(struct vv_collect *c, enum vv_metric id, const struct vv_levels *l,
                        const char *level, const char *result, uint64_t value)
{
    const struct vv_str values[] = {vv_str_from(l->cache->name), vv_str_from(level),
                                    vv_str_from(result)};
    vv_collect_value(c, id, values, 3, (double)value);
}

static uint64_t sum(const struct vv_levels *l, size_t level, bool write, size_t which)
{
    const struct vv_level *v = &l->level[level];
    return atomic_load_explicit(write ? &v->writes[which] : &v->reads[which], memory_order_relaxed);
}

void vv_levels_collect(struct vv_caches *cs, struct vv_collect *c)
{
    VV_LIST_EACH (it, &cs->levels) {
        const struct vv_levels *l = VV_LIST_ENTRY(it, struct vv_levels, node);
        if (l->cache->levels != l) {
            continue; /* of settings that are going away */
        }
        struct vv_cache_stats s;
        vv_cache_stats(l->cache->memory, &s);
        collect_row(c, VV_METRIC_CACHE_LEVEL_REQUESTS, l, "memory", "hit", s.hits + s.soft_hits);
        collect_row(c, VV_METRIC_CACHE_LEVEL_REQUESTS, l, "memory", "miss", s.misses);
        for (size_t i = 0; i < l->count; i++) {
            const char *name = l->level[i].store->name;
            for (size_t k = 0; k < VV_LEVEL_READ_COUNT; k++) {
                collect_row(c, VV_METRIC_CACHE_LEVEL_REQUESTS, l, name, read_names[k],
                            sum(l, i, false, k));
            }
            for (size_t k = 0; k < VV_LEVEL_WRITE_COUNT; k++) {
                collect_row(c, VV_METRIC_CACHE_LEVEL_WRITES, l, name, write_names[k],
                            sum(l, i, true, k));
            }
        }
    }
}

void vv_levels_json(const struct vv_named_cache *cache, struct vv_json *j)
{
    const struct vv_levels *l = cache->levels;
    if (l == NULL) {
        return;
    }
    vv_json_key(j, "levels");
    vv_json_arr(j);
    for (size_t i = 0; i < l->count; i++) {
        vv_json_obj(j);
        vv_json_kcstr(j, "store", l->level[i].store->name);
        for (size_t k = 0; k < VV_LEVEL_READ_COUNT; k++) {
            vv_json_ku64(j, read_names[k], sum(l, i, false, k));
        }
        vv_json_key(j, "writes");
        vv_json_obj(j);
        for (size_t k = 0; k < VV_LEVEL_WRITE_COUNT; k++) {
            vv_json_ku64(j, write_names[k], sum(l, i, true, k));
        }
        vv_json_obj_end(j);
        vv_json_obj_end(j);
    }
    vv_json_arr_end(j);
    vv_json_key(j, "shared");
    vv_json_obj(j);
    vv_coherence_json(l->coherence, j);
    vv_json_obj_end(j);
}
