/* src/gateway/caches.h - the named caches of a gateway: made by settings, found by name, kept over reloads.
 *
 * Model:     a named cache is one memory level (cache/store.h). Runtimes hold it counted through
 *            their plans, so it lives while anything can still be sent from it; the registry lists
 *            what is alive. A reload that changes sizes resizes in place. The control thread
 *            sweeps in small steps at each tick, writes snapshots at stop and reads them at start.
 *            All workers share one epoch: each is online while it works and offline while it waits.
 * Threads:   control, except vv_named_cache_unref() (any) and the memory level itself.
 * Errors:    VV_ENOMEM; VV_ENOENT: no such cache.
 */
#ifndef VV_GATEWAY_CACHES_H
#define VV_GATEWAY_CACHES_H
#include "base/json.h"
#include "cache/snapshot.h"
#include "gateway/settings.h"
#include "observe/metrics.h"
#include "os/loop.h"

struct vv_caches;
struct vv_levels;
struct vv_stores;
struct vv_named_cache {
    struct vv_caches *owner;
    char *name;
    struct vv_cache *memory;
    struct vv_list node;
    _Atomic uint32_t refs;    /* 0: the control thread frees it at its next tick */
    char *snapshot;           /* file; NULL: none */
    struct vv_levels *levels; /* beyond memory, in force; NULL: none. Control; plans count theirs */
    /* PRIVATE: what is in force, what a reload under way asks for */
    struct vv_cache_conf conf, wanted;
    char *snapshot_wanted;
    struct vv_levels *levels_wanted;
    bool fresh; /* made by the reload under way */
};

VV_MUST_CHECK enum vv_err vv_caches_new(struct vv_metrics *metrics, struct vv_caches **ret);
/* Where caches find the stores of their levels, and the loop that follows purge logs. Once, before
 * anything is taken. */
void vv_caches_share(struct vv_caches *cs, struct vv_stores *stores, struct vv_loop *control);
/* Every runtime and worker is gone; NULL is fine. */
void vv_caches_free(struct vv_caches *cs);
struct vv_epoch *vv_caches_epoch(struct vv_caches *cs);
/* A counted reference to the cache of this name; made when it is not there. When it is there and
 * the level says something else than before, that counts from vv_caches_settle() on. */
VV_MUST_CHECK enum vv_err vv_caches_take(struct vv_caches *cs, const char *name,
                                         const struct vv_level_settings *level,
                                         const char *snapshot, struct vv_named_cache **ret);
void vv_named_cache_unref(struct vv_named_cache *c);
/* Ends a start or reload. kept: new sizes come into force, new caches read their snapshot; else
 * everything stays as it was. */
void vv_caches_settle(struct vv_caches *cs, bool kept, struct vv_cache_clock clock);
/* The workers have ended: writes the snapshots. Failures are logged; the process ends anyway. */
void vv_caches_save(struct vv_caches *cs, struct vv_cache_clock clock);
/* 10 Hz: sweeps a little, frees what nobody can see any more, gives memory back to the machine. */
void vv_caches_tick(struct vv_caches *cs, uint64_t now_ns);
struct vv_named_cache *vv_caches_find(struct vv_caches *cs, struct vv_str name); /* NULL: none */
/* The first (c NULL) or next one; NULL: the end. */
struct vv_named_cache *vv_caches_next(struct vv_caches *cs, const struct vv_named_cache *c);

/* Requests of its routes since the start, and how many of them were answered without the origin
 * sending the answer again. */
void vv_caches_answered(const struct vv_named_cache *c, uint64_t *ret_all, uint64_t *ret_held);
/* One array value: name, policy, bytes, budget, entries, requests by result ... of each. */
void vv_caches_json(struct vv_caches *cs, struct vv_json *j);

struct vv_purge {
    enum { VV_PURGE_URL, VV_PURGE_PATTERN, VV_PURGE_TAG, VV_PURGE_ALL } what;
    struct vv_str cache; /* n 0: every cache */
    struct vv_str value; /* the URL (the key's form), the glob over keys, or the tag */
    bool soft;           /* stale from now on instead of gone */
};
/* Of one cache, on its memory and, through `levels` (NULL: none), in all gateways that share it. Any
 * thread. More patterns than fit become a purge of everything. Returns how many objects a URL had here,
 * 1 for the rest. */
size_t vv_named_cache_purge(struct vv_named_cache *c, struct vv_levels *levels,
                            const struct vv_purge *p);
/* *ret_count: objects for a URL, 1 for the rest (they are judged when met). VV_ENOENT: no such cache. */
VV_MUST_CHECK enum vv_err vv_caches_purge(struct vv_caches *cs, const struct vv_purge *p,
                                          size_t *ret_count);
/* Evicts down to `bytes` (0: empties). */
VV_MUST_CHECK enum vv_err vv_caches_trim(struct vv_caches *cs, struct vv_str cache, uint64_t bytes,
                                         uint64_t now_ns);
#endif
