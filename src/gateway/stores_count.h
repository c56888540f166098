/* src/gateway/stores_count.h - what clients of stores did, as metrics.
 * Threads: the client's own, with its own shard. `told` is what the metrics know of this client. */
#ifndef VV_GATEWAY_STORES_COUNT_H
#define VV_GATEWAY_STORES_COUNT_H
#include "gateway/stores.h"

void vv_stores_count(struct vv_metrics *m, struct vv_shard *shard, const struct vv_store *s,
                     const struct vv_redis *r, struct vv_redis_stats *told);
/* The client goes: its connections are none any more. */
void vv_stores_uncount(struct vv_metrics *m, struct vv_shard *shard, const struct vv_store *s,
                       struct vv_redis_stats *told);
#endif
