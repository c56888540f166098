/* src/gateway/stores_count.c - differences since the last look go into the words of a shard. */
#include "gateway/stores_count.h"

static void add(struct vv_metrics *m, struct vv_shard *shard, enum vv_metric id,
                const struct vv_str *values, size_t count, uint64_t difference)
{
    if (difference != 0) {
        vv_metric_add(shard, vv_metrics_series(m, id, values, count), difference);
    }
}

static void tell(struct vv_metrics *m, struct vv_shard *shard, const struct vv_store *s,
                 const struct vv_redis_stats *now, struct vv_redis_stats *told)
{
    const struct vv_str name = vv_str_from(s->name);
    const struct {
        const char *reason;
        uint64_t difference;
    } failures[] = {{"timeout", now->timeouts - told->timeouts},
                    {"refused", now->refused - told->refused},
                    {"error", now->errors - told->errors}};
    const struct {
        enum vv_metric id;
        uint64_t difference;
    } rows[] = {{VV_METRIC_STORE_OPERATIONS, now->ops - told->ops},
                {VV_METRIC_STORE_REDIRECTS, now->redirects - told->redirects},
                {VV_METRIC_STORE_REFRESHES, now->refreshes - told->refreshes},
                {VV_METRIC_STORE_RECONNECTS, now->reconnects - told->reconnects},
                {VV_METRIC_STORE_INVALIDATIONS, now->invalidations - told->invalidations},
                {VV_METRIC_STORE_RECEIVED, now->bytes_in - told->bytes_in},
                {VV_METRIC_STORE_SENT, now->bytes_out - told->bytes_out},
                {VV_METRIC_STORE_CONNECTIONS, (uint64_t)now->connected - told->connected},
                {VV_METRIC_STORE_BREAKERS, (uint64_t)now->open_breakers - told->open_breakers}};
    for (size_t i = 0; i < VV_COUNT(failures); i++) {
        const struct vv_str values[] = {name, vv_str_from(failures[i].reason)};
        add(m, shard, VV_METRIC_STORE_FAILURES, values, 2, failures[i].difference);
    }
    for (size_t i = 0; i < VV_COUNT(rows); i++) {
        add(m, shard, rows[i].id, &name, 1, rows[i].difference);
    }
    *told = *now;
}

void vv_stores_count(struct vv_metrics *m, struct vv_shard *shard, const struct vv_store *s,
                     const struct vv_redis *r, struct vv_redis_stats *told)
{
    struct vv_redis_stats now;
    vv_redis_stats(r, &now);
    tell(m, shard, s, &now, told);
}

void vv_stores_uncount(struct vv_metrics *m, struct vv_shard *shard, const struct vv_store *s,
                       struct vv_redis_stats *told)
{
    struct vv_redis_stats now = *told;
    now.connected = now.open_breakers = 0;
    if (told->connected != 0 || told->open_breakers != 0) {
        tell(m, shard, s, &now, told);
    }
}
