/* src/store/redis_ring.h - which of several servers a key belongs to.
 *
 * Model:     every server has VV_REDIS_RING_PLACES places on a ring, made of its name alone; a key belongs
 *            to the next place behind its own. A server more or less moves the keys of its own places
 *            only: of n servers about one part in n. Of a dead server no key moves: its operations are
 *            refused (to a cache: a miss), because what a neighbour got meanwhile would be found there
 *            again, old, at the next outage.
 *            Of a key with {text} only the text counts, as in a cluster.
 * Source:    Karger et al., Consistent Hashing and Random Trees (STOC 1997).
 * Threads:   pure. Ownership: the caller's storage (64 KiB); nothing here allocates.
 */
#ifndef VV_STORE_REDIS_RING_H
#define VV_STORE_REDIS_RING_H
#include "store/redis_url.h"

#define VV_REDIS_RING_PLACES 256 /* shares are even to about 1 / sqrt(256) */

struct vv_redis_ring_point { /* PRIVATE */
    uint64_t place;
    uint32_t server;
};

struct vv_redis_ring_points { /* PRIVATE fields */
    size_t count;
    struct vv_redis_ring_point point[VV_REDIS_URL_HOSTS * VV_REDIS_RING_PLACES];
};

/* count: at least 1, at most VV_REDIS_URL_HOSTS. Names are not needed afterwards. */
void vv_redis_ring_make(struct vv_redis_ring_points *ring, const struct vv_str *names,
                        size_t count);
/* The number of its server. */
size_t vv_redis_ring_of(const struct vv_redis_ring_points *ring, struct vv_str key);
#endif
