/* src/gateway/caches.c - the registry belongs to the control thread alone: whoever drops the last
 * reference only counts down, and the next tick frees the cache, so neither a lock is needed nor
 * does a worker ever walk through a million objects. */
#include "gateway/caches.h"
#include "gateway/coherence.h"
#include "gateway/levels_int.h"
#include "observe/log.h"
#include "os/clock.h"
#include "os/memory.h"
#include <stdlib.h>
#include <unistd.h>

#define SWEEP_SLOTS 256       /* under the writer lock at one time: about a millisecond at most */
#define SWEEP_STEPS 16        /* at a tick; a million objects are looked at within a minute */
#define SWEEP_STEPS_PURGE 128 /* while purges wait to be carried out */
#define SWEEP_STEPS_ALL 32768 /* to make room for one more pattern */
#define TRIM_EVERY_NS (5 * VV_SEC)
#define TRIM_SHARE 16 /* of the budget: less than that is not worth a walk over the heap */

static const char *const results[] = {"hit",     "stale", "updating", "revalidated",
                                      "expired", "miss",  "bypass",   "coalesced"};
#define RESULTS_HELD 4 /* so many of them were answered with what is held; so were the coalesced */

struct vv_named_cache *vv_caches_next(struct vv_caches *cs, const struct vv_named_cache *c)
{
    const struct vv_list *node = c != NULL ? c->node.next : cs->list.next;
    return node != &cs->list ? VV_LIST_ENTRY(node, struct vv_named_cache, node) : NULL;
}

struct vv_named_cache *vv_caches_find(struct vv_caches *cs, struct vv_str name)
{
    VV_LIST_EACH (it, &cs->list) {
        struct vv_named_cache *c = VV_LIST_ENTRY(it, struct vv_named_cache, node);
        if (vv_str_eq(vv_str_from(c->name), name)) {
            return c;
        }
    }
    return NULL;
}

/* ---- metrics ---- */

static void collect_reasons(struct vv_collect *c, const struct vv_named_cache *n,
                            const struct vv_cache_stats *s)
{
    const struct {
        enum vv_metric id;
        const char *what;
        uint64_t value;
    } rows[] = {
        {VV_METRIC_CACHE_BYTES, "used", s->bytes},
        {VV_METRIC_CACHE_BYTES, "budget", s->budget_bytes},
        {VV_METRIC_CACHE_EVICTED, "space", s->evicted_space},
        {VV_METRIC_CACHE_EVICTED, "expired", s->evicted_expired},
        {VV_METRIC_CACHE_EVICTED, "purged", s->removed_purged},
        {VV_METRIC_CACHE_REFUSED, "admission", s->refused_admission},
        {VV_METRIC_CACHE_REFUSED, "size", s->refused_size},
        {VV_METRIC_CACHE_REFUSED, "memory", s->refused_memory},
    };
    for (size_t i = 0; i < VV_COUNT(rows); i++) {
        const struct vv_str values[] = {vv_str_from(n->name), vv_str_from(rows[i].what)};
        vv_collect_value(c, rows[i].id, values, 2, (double)rows[i].value);
    }
}

static void collect(struct vv_collect *c, void *user)
{
    struct vv_caches *cs = user;
    for (struct vv_named_cache *n = NULL; (n = vv_caches_next(cs, n)) != NULL;) {
        const struct vv_str name = vv_str_from(n->name);
        struct vv_cache_stats s;
        vv_cache_stats(n->memory, &s);
        vv_collect_value(c, VV_METRIC_CACHE_ENTRIES, &name, 1, (double)s.entries);
        vv_collect_value(c, VV_METRIC_CACHE_STORED, &name, 1, (double)s.inserted);
        collect_reasons(c, n, &s);
    }
    vv_levels_collect(cs, c);
}

/* ---- life ---- */

enum vv_err vv_caches_new(struct vv_metrics *metrics, struct vv_caches **ret)
{
    struct vv_caches *cs = calloc(1, sizeof *cs);
    struct vv_epoch *epoch = aligned_alloc(VV_CACHE_LINE, sizeof *epoch);
    if (cs == NULL || epoch == NULL) {
        free(cs);
        free(epoch);
        return VV_ENOMEM;
    }
    vv_epoch_init(epoch);
    cs->epoch = epoch;
    cs->metrics = metrics;
    vv_list_init(&cs->list);
    vv_list_init(&cs->levels);
    pthread_mutex_init(&cs->levels_lock, NULL);
    const enum vv_err err = vv_metrics_collector(metrics, collect, cs);
    if (err != VV_OK) {
        pthread_mutex_destroy(&cs->levels_lock);
        vv_epoch_fini(epoch);
        free(epoch);
        free(cs);
        return err;
    }
    *ret = cs;
    return VV_OK;
}

static void drop(struct vv_named_cache *c)
{
    vv_list_del(&c->node);
    vv_cache_free(c->memory);
    free(c->name);
    free(c->snapshot);
    free(c->snapshot_wanted);
    free(c);
}

void vv_caches_free(struct vv_caches *cs)
{
    if (cs == NULL) {
        return;
    }
    vv_metrics_collector_remove(cs->metrics, collect, cs);
    vv_levels_tick(cs, 0);
    VV_LIST_EACH (it, &cs->list) {
        struct vv_named_cache *c = VV_LIST_ENTRY(it, struct vv_named_cache, node);
        VV_ASSERT(atomic_load(&c->refs) == 0);
        drop(c);
    }
    VV_ASSERT(vv_list_empty(&cs->levels));
    pthread_mutex_destroy(&cs->levels_lock);
    vv_epoch_fini(cs->epoch);
    free(cs->epoch);
    free(cs);
}

void vv_caches_share(struct vv_caches *cs, struct vv_stores *stores, struct vv_loop *control)
{
    cs->stores = stores;
    cs->control = control;
    vv_levels_watch(cs, stores);
}

struct vv_epoch *vv_caches_epoch(struct vv_caches *cs)
{
    return cs->epoch;
}

static bool set_text(char **at, const char *text)
{
    char *copy = text != NULL ? strdup(text) : NULL;
    if (text != NULL && copy == NULL) {
        return false;
    }
    free(*at);
    *at = copy;
    return true;
}

static enum vv_err make(struct vv_caches *cs, const char *name, const struct vv_cache_conf *conf,
                        struct vv_named_cache **ret)
{
    struct vv_named_cache *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return VV_ENOMEM;
    }
    vv_list_init(&c->node);
    c->owner = cs;
    c->conf = *conf;
    c->conf.seed = vv_entropy_u64();
    c->fresh = true;
    enum vv_err err = set_text(&c->name, name) ? VV_OK : VV_ENOMEM;
    if (err == VV_OK) {
        err = vv_cache_new(&c->conf, cs->epoch, &c->memory);
    }
    if (err != VV_OK) {
        drop(c);
        return err;
    }
    vv_list_push_back(&cs->list, &c->node);
    *ret = c;
    return VV_OK;
}

enum vv_err vv_caches_take(struct vv_caches *cs, const char *name,
                           const struct vv_level_settings *level, const char *snapshot,
                           struct vv_named_cache **ret)
{
    const struct vv_cache_conf wanted = {.budget_bytes = level->memory_bytes,
                                         .entries_max = level->entries,
                                         .object_bytes_max = level->object_bytes,
                                         .policy = (enum vv_cache_policy)level->policy};
    struct vv_named_cache *c = vv_caches_find(cs, vv_str_from(name));
    if (c == NULL) {
        const enum vv_err err = make(cs, name, &wanted, &c);
        if (err != VV_OK) {
            return err;
        }
    }
    if (!set_text(&c->snapshot_wanted, snapshot)) {
        return VV_ENOMEM; /* one that was just made goes at the next tick */
    }
    const uint64_t seed = c->conf.seed;
    c->wanted = wanted;
    c->wanted.seed = seed;
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    *ret = c;
    return VV_OK;
}

void vv_named_cache_unref(struct vv_named_cache *c)
{
    if (c != NULL) { /* release: what this thread did with the cache is over before it is freed */
        VV_ASSERT(atomic_fetch_sub_explicit(&c->refs, 1, memory_order_release) > 0);
    }
}

/* ---- snapshots ---- */

static void load(struct vv_named_cache *c, struct vv_cache_clock clock)
{
    struct vv_cache_loaded n = {0};
    const enum vv_err err = vv_cache_load(c->memory, c->snapshot, clock, &n);
    if (err == VV_ENOENT) {
        return;
    }
    if (err != VV_OK) {
        vv_warn("cache", "cannot read snapshot cache=%s path=%s: %s", c->name, c->snapshot,
                vv_err_text(err));
        return;
    }
    vv_info("cache",
            "snapshot read cache=%s path=%s loaded=%llu expired=%llu damaged=%llu "
            "refused=%llu",
            c->name, c->snapshot, (unsigned long long)n.loaded, (unsigned long long)n.expired,
            (unsigned long long)n.damaged, (unsigned long long)n.refused);
    if (unlink(c->snapshot) != 0) {
        vv_warn("cache",
                "snapshot cannot be removed, what is purged from now on may come back "
                "cache=%s path=%s",
                c->name, c->snapshot);
    }
}

void vv_caches_save(struct vv_caches *cs, struct vv_cache_clock clock)
{
    for (struct vv_named_cache *c = NULL; (c = vv_caches_next(cs, c)) != NULL;) {
        if (c->snapshot == NULL) {
            continue;
        }
        uint64_t count = 0;
        const enum vv_err err = vv_cache_save(c->memory, c->snapshot, clock, &count);
        if (err != VV_OK) {
            vv_error("cache", "cannot write snapshot cache=%s path=%s: %s", c->name, c->snapshot,
                     vv_err_text(err));
        } else {
            vv_info("cache", "snapshot written cache=%s path=%s objects=%llu", c->name, c->snapshot,
                    (unsigned long long)count);
        }
    }
}

static void resize(struct vv_named_cache *c, uint64_t now_ns)
{
    const struct vv_cache_conf *a = &c->conf, *b = &c->wanted;
    if (a->budget_bytes == b->budget_bytes && a->entries_max == b->entries_max &&
        a->object_bytes_max == b->object_bytes_max && a->policy == b->policy) {
        return;
    }
    const enum vv_err err = vv_cache_resize(c->memory, &c->wanted, now_ns);
    if (err != VV_OK) {
        vv_error("cache", "cannot take over all of the new sizes cache=%s: %s", c->name,
                 vv_err_text(err));
    }
    c->conf = c->wanted;
}

static void settle_one(struct vv_named_cache *c, struct vv_cache_clock clock)
{
    free(c->snapshot);
    c->snapshot = c->snapshot_wanted;
    c->snapshot_wanted = NULL;
    c->levels = c->levels_wanted;
    resize(c, clock.now_ns);
    if (c->fresh && c->snapshot != NULL) {
        load(c, clock);
    }
}

void vv_caches_settle(struct vv_caches *cs, bool kept, struct vv_cache_clock clock)
{
    for (struct vv_named_cache *c = NULL; (c = vv_caches_next(cs, c)) != NULL;) {
        if (kept && atomic_load_explicit(&c->refs, memory_order_relaxed) > 0) {
            settle_one(c, clock);
        } else {
            free(c->snapshot_wanted);
            c->snapshot_wanted = NULL;
            c->wanted = c->conf;
        }
        c->fresh = false;
        c->levels_wanted = NULL;
    }
}

/* ---- each tick ---- */

/* Much is free that was in use before, and the sweeper has come to its end: then it is worth one
 * walk over the heap. What is freed and taken again meanwhile needs none. */
static void give_back(struct vv_caches *cs, uint64_t bytes, uint64_t budget, uint64_t now_ns)
{
    const bool falls = bytes < cs->last_bytes;
    cs->last_bytes = bytes;
    cs->high_bytes = vv_max_u64(cs->high_bytes, bytes);
    const uint64_t freed = cs->high_bytes - bytes;
    if (falls || freed == 0 || freed < budget / TRIM_SHARE ||
        now_ns - cs->trimmed_ns < TRIM_EVERY_NS) {
        return;
    }
    vv_memory_trim();
    cs->trimmed_ns = now_ns;
    cs->high_bytes = bytes;
}

void vv_caches_tick(struct vv_caches *cs, uint64_t now_ns)
{
    uint64_t bytes = 0, budget = 0;
    vv_levels_tick(cs, now_ns);
    VV_LIST_EACH (it, &cs->list) {
        struct vv_named_cache *c = VV_LIST_ENTRY(it, struct vv_named_cache, node);
        if (atomic_load_explicit(&c->refs, memory_order_acquire) == 0) {
            drop(c);
            continue;
        }
        struct vv_cache_stats s;
        vv_cache_stats(c->memory, &s);
        const int steps = s.purge_records > 0 ? SWEEP_STEPS_PURGE : SWEEP_STEPS;
        for (int i = 0; i < steps && !vv_cache_sweep(c->memory, now_ns, SWEEP_SLOTS); i++) {
            /* the lock is free between two steps */
        }
        bytes += s.bytes;
        budget += s.budget_bytes;
    }
    (void)vv_epoch_reclaim(cs->epoch);
    give_back(cs, bytes, budget, now_ns);
}

/* ---- what an operator asks for ---- */

static uint64_t requests_with(struct vv_caches *cs, const char *name, const char *result)
{
    const struct vv_str values[] = {vv_str_from(name), vv_str_from(result)};
    return vv_metrics_value(cs->metrics,
                            vv_metrics_series(cs->metrics, VV_METRIC_CACHE_REQUESTS, values, 2));
}

void vv_caches_answered(const struct vv_named_cache *c, uint64_t *ret_all, uint64_t *ret_held)
{
    *ret_all = *ret_held = 0;
    for (size_t i = 0; i < VV_COUNT(results); i++) {
        const uint64_t n = requests_with(c->owner, c->name, results[i]);
        *ret_all += n;
        *ret_held += i < RESULTS_HELD || i + 1 == VV_COUNT(results) ? n : 0;
    }
}

static void requests_json(const struct vv_named_cache *c, struct vv_json *j)
{
    uint64_t all, held;
    vv_json_key(j, "requests");
    vv_json_obj(j);
    for (size_t i = 0; i < VV_COUNT(results); i++) {
        vv_json_ku64(j, results[i], requests_with(c->owner, c->name, results[i]));
    }
    vv_json_obj_end(j);
    vv_caches_answered(c, &all, &held);
    vv_json_kdouble(j, "hit_ratio", all > 0 ? (double)held / (double)all : 0.0);
}

static const char *policy_name(enum vv_cache_policy policy)
{
    static const char *const name[] = {[VV_CACHE_AUTO] = "auto",
                                       [VV_CACHE_S3FIFO] = "s3fifo",
                                       [VV_CACHE_GDSF] = "gdsf",
                                       [VV_CACHE_GDSF_BYTES] = "gdsf-bytes"};
    return (size_t)policy < VV_COUNT(name) && name[policy] != NULL ? name[policy] : "other";
}

static void one_json(struct vv_named_cache *c, struct vv_json *j)
{
    struct vv_cache_stats s;
    vv_cache_stats(c->memory, &s);
    vv_json_obj(j);
    vv_json_kcstr(j, "name", c->name);
    vv_json_kcstr(j, "policy", policy_name(s.policy));
    vv_json_ku64(j, "bytes", s.bytes);
    vv_json_ku64(j, "budget_bytes", s.budget_bytes);
    vv_json_ku64(j, "entries", s.entries);
    vv_json_ku64(j, "entries_max", c->conf.entries_max);
    requests_json(c, j);
    vv_json_ku64(j, "lookups_found", s.hits + s.soft_hits);
    vv_json_ku64(j, "lookups_missed", s.misses);
    vv_json_ku64(j, "stored", s.inserted);
    vv_json_ku64(j, "replaced", s.replaced);
    vv_json_ku64(j, "evicted_space", s.evicted_space);
    vv_json_ku64(j, "evicted_expired", s.evicted_expired);
    vv_json_ku64(j, "evicted_purged", s.removed_purged);
    vv_json_ku64(j, "refused_admission", s.refused_admission);
    vv_json_ku64(j, "refused_size", s.refused_size);
    vv_json_ku64(j, "refused_memory", s.refused_memory);
    vv_json_ku64(j, "purges_pending", s.purge_records);
    vv_json_ku64(j, "fetches", s.fills);
    vv_json_kcstr(j, "snapshot", c->snapshot);
    vv_levels_json(c, j);
    vv_json_obj_end(j);
}

void vv_caches_json(struct vv_caches *cs, struct vv_json *j)
{
    vv_json_arr(j);
    for (struct vv_named_cache *c = NULL; (c = vv_caches_next(cs, c)) != NULL;) {
        one_json(c, j);
    }
    vv_json_arr_end(j);
}

/* A pattern more than fits: carries out those that wait, then there is room. */
static void purge_pattern(struct vv_named_cache *c, const struct vv_purge *p)
{
    if (vv_cache_purge_pattern(c->memory, p->value, p->soft) == VV_OK) {
        return;
    }
    for (int passes = 0, i = 0; passes < 2 && i < SWEEP_STEPS_ALL; i++) {
        passes += vv_cache_sweep(c->memory, 0, SWEEP_SLOTS); /* 0: nothing is past its time */
    }
    if (vv_cache_purge_pattern(c->memory, p->value, p->soft) != VV_OK) {
        vv_cache_purge_all(c->memory, p->soft); /* too much forgotten is still right */
    }
}

static size_t purge_memory(struct vv_named_cache *c, const struct vv_purge *p)
{
    switch (p->what) {
    case VV_PURGE_URL:
        return vv_cache_purge_key(c->memory, p->value, p->soft);
    case VV_PURGE_PATTERN:
        purge_pattern(c, p);
        return 1;
    case VV_PURGE_TAG:
        if (vv_cache_purge_tag(c->memory, p->value, p->soft) == VV_OK) {
            return 1;
        }
        break;
    case VV_PURGE_ALL:
        break;
    }
    vv_cache_purge_all(c->memory, p->soft);
    return 1;
}

size_t vv_named_cache_purge(struct vv_named_cache *c, struct vv_levels *levels,
                            const struct vv_purge *p)
{
    if (levels != NULL) { /* first: what is read from a store meanwhile is judged by it */
        vv_coherence_purge(vv_levels_coherence(levels), p);
    }
    return purge_memory(c, p);
}

enum vv_err vv_caches_purge(struct vv_caches *cs, const struct vv_purge *p, size_t *ret_count)
{
    size_t count = 0;
    if (p->cache.n > 0 && vv_caches_find(cs, p->cache) == NULL) {
        return VV_ENOENT;
    }
    for (struct vv_named_cache *c = NULL; (c = vv_caches_next(cs, c)) != NULL;) {
        if (p->cache.n == 0 || vv_str_eq(vv_str_from(c->name), p->cache)) {
            const size_t n = vv_named_cache_purge(c, c->levels, p);
            count = p->what == VV_PURGE_URL ? count + n : n;
        }
    }
    *ret_count = count;
    return VV_OK;
}

enum vv_err vv_caches_trim(struct vv_caches *cs, struct vv_str cache, uint64_t bytes,
                           uint64_t now_ns)
{
    if (cache.n > 0 && vv_caches_find(cs, cache) == NULL) {
        return VV_ENOENT;
    }
    for (struct vv_named_cache *c = NULL; (c = vv_caches_next(cs, c)) != NULL;) {
        if (cache.n == 0 || vv_str_eq(vv_str_from(c->name), cache)) {
            vv_cache_trim(c->memory, bytes, now_ns);
        }
    }
    return VV_OK;
}
