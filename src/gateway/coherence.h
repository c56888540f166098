/* src/gateway/coherence.h - one cache in several gateways: a purge at one reaches all, and nothing that was
 * purged comes back out of a store.
 *
 * Model:     every cache with a level in a store has a purge log there: the stream PREFIX:NAME:purges in its
 *            last level, the one that all share. A purge is carried out here and added to the log; every
 *            gateway follows the log on its control thread (XREAD BLOCK, answers also when nothing happens),
 *            carries out what others have added on its own memory level, and remembers the newest
 *            VV_COHERENCE_RECORDS of them. An object in a store says how much of the log its writer knew when
 *            the fetch of it began (packed.h, `log`): a record after that which fits it judges it, as purges
 *            judge objects in memory (cache/store.h). What is older than the oldest record known is gone.
 *            The log's places are the ids of the stream in one word: milliseconds << 20 | number.
 *            Synced: the log was read to its end within the bound. A gateway that is not synced takes nothing
 *            from the stores; when it stops being synced it empties the memory level (what it holds may be
 *            purged without it knowing), and what it stores from then on lives for `alone` at most. A purge
 *            that cannot be added waits, up to VV_COHERENCE_WAITING of them; one more makes them one purge
 *            of everything.
 * Bound:     a purge that was added is carried out everywhere within a round trip of the log, and where a
 *            gateway's link hangs or breaks, within `bound` (1 s by default).
 * Source:    Redis streams (XADD, XREAD, XINFO STREAM). The lazy judgement: as cache/store.h.
 * Threads:   _born, _judge, _purge, _synced: any. The rest: control.
 */
#ifndef VV_GATEWAY_COHERENCE_H
#define VV_GATEWAY_COHERENCE_H
#include "cache/packed.h"
#include "gateway/caches.h"
#include "gateway/stores.h"

#define VV_COHERENCE_RECORDS 10000
#define VV_COHERENCE_WAITING 10000

struct vv_coherence;
struct vv_coherence_conf {
    struct vv_str name;      /* of the cache */
    struct vv_store *log;    /* counted for it */
    struct vv_cache *memory; /* outlives it */
    struct vv_loop *control;
    struct vv_metrics *metrics;
    uint64_t bound_ns;
};
VV_MUST_CHECK enum vv_err vv_coherence_new(const struct vv_coherence_conf *conf,
                                           struct vv_coherence **ret);
void vv_coherence_free(struct vv_coherence *c); /* NULL is fine */

/* The end of the log as far as it is known here: to be asked for when a fetch begins. */
uint64_t vv_coherence_born(const struct vv_coherence *c);
bool vv_coherence_synced(const struct vv_coherence *c);
enum vv_coherence_verdict { VV_COHERENCE_GOOD, VV_COHERENCE_SOFT, VV_COHERENCE_GONE };
enum vv_coherence_verdict vv_coherence_judge(struct vv_coherence *c,
                                             const struct vv_packed_head *h);
/* A purge of this gateway: it judges what comes out of the stores from this moment on, and goes to the others.
 * To be called before it is carried out on the memory level: the other way round, an object could be taken
 * from a store in between and be put into memory after the purge. */
void vv_coherence_purge(struct vv_coherence *c, const struct vv_purge *p);
/* Purges that are not known to be in the log: freeing forgets them. */
size_t vv_coherence_waiting(struct vv_coherence *c);
void vv_coherence_tick(struct vv_coherence *c, uint64_t now_ns); /* 10 Hz */
/* Keys of one object: synced, records, waiting, link state, delays of records that came (p50, p99, most). */
void vv_coherence_json(struct vv_coherence *c, struct vv_json *j);
#endif
