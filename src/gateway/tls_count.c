/* src/gateway/tls_count.c - what the TLS connections of a listener counted, told to the metrics. */
#include "gateway/tls_count.h"
#include "gateway/worker.h"

static void tell(struct vv_listener *l, enum vv_metric id, const struct vv_str *values,
                 size_t count, uint64_t now, uint64_t *told)
{
    if (now != *told) {
        struct vv_worker *w = l->worker;
        vv_metric_add(w->shard, vv_metrics_series(w->metrics, id, values, count), now - *told);
        *told = now;
    }
}

void vv_tls_count(struct vv_listener *l)
{
    static const char *const versions[2] = {"1.2", "1.3"}, *const resumed[2] = {"no", "yes"};
    const struct vv_tls_stats *now = &l->tls_stats;
    struct vv_tls_stats *told = &l->tls_told;
    struct vv_str values[3] = {vv_str_from(l->name)};
    for (size_t v = 0; v < 2; v++) {
        for (size_t r = 0; r < 2; r++) {
            values[1] = vv_str_from(versions[v]);
            values[2] = vv_str_from(resumed[r]);
            tell(l, VV_METRIC_TLS_HANDSHAKES, values, 3, now->done[v][r], &told->done[v][r]);
        }
    }
    for (size_t f = 0; f < VV_TLS_FAIL_COUNT; f++) {
        values[1] = vv_str_from(vv_tls_failure_name((enum vv_tls_failure)f));
        tell(l, VV_METRIC_TLS_FAILURES, values, 2, now->failed[f], &told->failed[f]);
    }
    tell(l, VV_METRIC_TLS_KERNEL, values, 1, now->ktls, &told->ktls);
}
