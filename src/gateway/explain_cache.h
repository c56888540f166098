/* src/gateway/explain_cache.h - what the cache and the compressor would do with a request.
 *
 * Model:     the same steps as RECALL (recall.c) with the same rules, up to where something would be
 *            sent. Without an epoch only what settings and request say is told.
 * Units:     now_ms is wall time. Threads: control. Ownership: everything is borrowed.
 */
#ifndef VV_GATEWAY_EXPLAIN_CACHE_H
#define VV_GATEWAY_EXPLAIN_CACHE_H
#include "base/json.h"
#include "gateway/runtime.h"

struct vv_cache_question {
    const struct vv_route *route;
    const struct vv_h1_head *head;
    const struct vv_template_vars *vars;
    struct vv_arena *arena;
    struct vv_epoch *epoch; /* of the caches; NULL: nothing runs */
    int64_t now_ms;
};
/* Writes the members "cache" and "compress", each only if the route has such a thing. */
void vv_explain_cache(const struct vv_cache_question *q, struct vv_json *j);
#endif
