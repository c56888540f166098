/* src/gateway/levels.h - levels of a cache beyond memory: what other gateways have fetched, in stores.
 *
 * Model:     a leader that finds nothing usable in memory asks the levels in their order before it asks the
 *            origin. What a level has goes through the leader's fill into memory, so those who wait for the
 *            same get it, too, and into the levels before it. What the origin answered is written to all
 *            levels behind the answer. An answer that varies lies under a name of its own; under the name of
 *            its key lies a marker then, which says by what it varies.
 *            Names in a store: PREFIX:CACHE:o:KEY; v:GENERATION:SECOND:KEY for variants; the key is its hash
 *            (h:, w:) when it is long. They are binary-safe and what an operator sees.
 *            Reads are tracked (store/redis.h): when somebody else changes a name, its key is softly purged
 *            in memory. Objects in memory carry a tag of each connection that watches them; when one is lost,
 *            the tag is purged. Objects that nobody watches, because a store is away or cannot track, live
 *            `alone` at most. So a hit in memory needs no further look at anything.
 *            Purges of whole keys, patterns and tags go by the log (coherence.h).
 * Threads:   _take, _settled, _drop: control; _watch: whichever; the rest: the exchange's worker.
 * Ownership: counted by plans and by what is under way. Errors: none reach an exchange: it goes on.
 */
#ifndef VV_GATEWAY_LEVELS_H
#define VV_GATEWAY_LEVELS_H
#include "gateway/caches.h"
#include "gateway/exchange.h"
#include "gateway/stores.h"

struct vv_levels;
struct vv_cache_fill;
struct vv_coherence;

/* What the levels of this cache are; *ret NULL: there are none. VV_ENOENT: a store is not there. */
VV_MUST_CHECK enum vv_err vv_levels_take(struct vv_named_cache *cache,
                                         const struct vv_cache_settings *s, struct vv_levels **ret);
struct vv_levels *vv_levels_ref(struct vv_levels *l);
void vv_levels_unref(struct vv_levels *l); /* any thread; NULL is fine */
struct vv_coherence *vv_levels_coherence(const struct vv_levels *l);
/* Frees those that nobody holds any more, and lets the others look at the time. */
void vv_levels_tick(struct vv_caches *cs, uint64_t now_ns);
/* Makes caches hear what stores say about names; once, before the first client of a store. */
void vv_levels_watch(struct vv_caches *cs, struct vv_stores *stores);

/* x leads a fill and nothing in memory will do. True: it waits; it will be served, or go on as the leader
 * through vv_recall_missed(). */
VV_MUST_CHECK bool vv_levels_ask(struct vv_exchange *x);
void vv_levels_leave(struct vv_exchange *x); /* the exchange ends or goes another way */

struct vv_level_object { /* what was fetched or renewed; everything is copied */
    struct vv_str key, second, head;
    const void *meta;
    size_t meta_n;
    const uint64_t *tags; /* the answer's own */
    uint32_t tags_n;
    uint64_t life_ns; /* fresh, or stale as it allows, from now: what `ttl` of a level multiplies */
    uint64_t keep_ns; /* from now */
    uint64_t log;     /* vv_coherence_born() when the fetch began */
    uint64_t marker, marker_names; /* of the marker that was found: generation, by what; 0: none */
    uint8_t marker_at;             /* the levels that have it already: a bit for each */
    struct vv_cache_fill *fill;    /* whose body it is; NULL: */
    const struct vv_cache_object *object; /* this one's */
};
/* Writes it to all levels, behind. */
void vv_levels_write(struct vv_levels *l, struct vv_worker *w, const struct vv_level_object *o);
struct vv_level_watch { /* what is to be watched */
    struct vv_str key;
    bool varies; /* it lies under a name of its own, in a ring or cluster maybe at another server */
    uint64_t share; /* of the connection that gave it; 0: it comes from the origin */
};
/* Adds the tags of those who watch it to the `n` tags in `tags` (room for VV_CACHE_TAGS_MAX). False:
 * nobody watches, it may live vv_levels_alone_s() at most. */
VV_MUST_CHECK bool vv_levels_tags(struct vv_levels *l, struct vv_worker *w,
                                  const struct vv_level_watch *what, uint64_t *tags, uint32_t *n);
uint32_t vv_levels_alone_s(const struct vv_levels *l);

/* The worker ends, the pool has ended: what it packed is not sent any more. */
void vv_levels_stop(struct vv_worker *w);

void vv_levels_collect(struct vv_caches *cs, struct vv_collect *c);
void vv_levels_json(const struct vv_named_cache *cache, struct vv_json *j);
#endif
