/* src/store/redis_peers.h - the servers behind a store one by one, for who looks after all of them: metrics,
 * expectations, walks over keys. Requests have no business here (redis.h asks who serves a key).
 *
 * Model:     the list is what is known now: before the first operation of a cluster or of sentinels it may be
 *            short. Sentinels are not in it. A peer is a copy: a server may be forgotten meanwhile.
 * Threads:   the loop's. Ownership: nothing is kept. Errors: as redis.h; VV_ENOENT: no longer known.
 */
#ifndef VV_STORE_REDIS_PEERS_H
#define VV_STORE_REDIS_PEERS_H
#include "store/redis.h"

#define VV_REDIS_PEERS_MAX 256
struct vv_redis_peer {
    char host[256]; /* or the path of a socket; port 0 then */
    uint16_t port;
    bool replica;
    bool keys; /* holds keys: of a cluster and of Sentinel, a master that is known */
};
size_t vv_redis_peers(const struct vv_redis *r, struct vv_redis_peer *out, size_t cap);
/* As vv_redis_do(), of this one; its errors are shown, redirections too. */
VV_MUST_CHECK enum vv_err vv_redis_do_peer(struct vv_redis *r, const struct vv_redis_peer *p,
                                           struct vv_redis_op *op);
#endif
