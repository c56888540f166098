/* src/observe/history.h - the last 15 minutes at 1 Hz, in memory: requests, errors, latency.
 *
 * Model:   once a second the control thread calls vv_history_tick(); it reads the registry and
 *          keeps, for the whole gateway, each route and each service, one point: requests, 4xx,
 *          5xx, aborted, bytes, p50, p95, p99 of that second, in flight. A ring of 900 points
 *          each, at most 256 routes and 256 services (the busiest stay). Seconds without a tick
 *          are points of zero. A quantile over several seconds comes from 6 % wide buckets over
 *          a window that is exact up to 15 s, up to 9 s too long up to 60 s, up to 59 s too long
 *          beyond. Services have no bytes, aborts or requests in flight of their own: these are
 *          0, as are the requests in flight of routes.
 * Threads: tick and reads on the control thread.
 */
#ifndef VV_OBSERVE_HISTORY_H
#define VV_OBSERVE_HISTORY_H
#include "base/json.h"
#include "observe/metrics.h"

#define VV_HISTORY_SECONDS 900
struct vv_history;
VV_MUST_CHECK enum vv_err vv_history_new(struct vv_metrics *m, struct vv_history **ret);
void vv_history_free(struct vv_history *h);
void vv_history_tick(struct vv_history *h, uint64_t wall_ns);
/* {"every":1,"from":...,"gateway":{"requests":[...],...},"routes":{...},"services":{...}} of the
 * last `seconds`; "from" is the Unix time of the first point, durations are in ms. */
void vv_history_json(const struct vv_history *h, unsigned seconds, struct vv_json *out);
/* The sums of the last `seconds` whole seconds, for `top`, `status` and the guard. Of a route or
 * service that is not known everything is 0. Both names NULL: the gateway. */
struct vv_history_sum {
    uint64_t seconds, requests, errors_4xx, errors_5xx, aborted, bytes_out;
    uint64_t p50_ns, p95_ns, p99_ns, in_flight, connections;
};
void vv_history_sum(const struct vv_history *h, const char *route_or_null,
                    const char *service_or_null, unsigned seconds, struct vv_history_sum *ret);
#endif
