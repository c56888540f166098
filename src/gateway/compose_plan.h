/* src/gateway/compose_plan.h - a `compose:` route, compiled: parts with the routes they run as.
 *
 * Model:     a part is a request of our own (sink.h) on a route that is made here: to the part's service,
 *            with its breaker and retries, the composing route's waits, edits of requests and, where it
 *            has one, cache; so each part is stored and coalesced by itself. A fallback to another
 *            service is a second such route. Nothing of it is ever matched.
 * Threads:   control; immutable then. Ownership: the route's; borrows texts of the settings.
 */
#ifndef VV_GATEWAY_COMPOSE_PLAN_H
#define VV_GATEWAY_COMPOSE_PLAN_H
#include "gateway/compose_merge.h"
#include "gateway/runtime.h"

#define VV_COMPOSE_PARTS_MAX 32

struct vv_compose_part {
    const struct vv_part_settings *conf;
    struct vv_str name, method;
    struct vv_template *path;          /* NULL: that of the request */
    struct vv_route_settings settings; /* of the two routes */
    struct vv_route route, other;      /* other.service NULL: no other service stands in */
    char *key;                         /* of its cache; NULL: none */
    uint64_t timeout_ns;
};
struct vv_compose {
    const struct vv_compose_settings *conf;
    struct vv_merge *merge;
    size_t count;
    struct vv_compose_part part[];
};

/* For a route that composes, when all else in it is there. `homes` NULL: the plan is only looked at. */
VV_MUST_CHECK enum vv_err vv_compose_new(const struct vv_runtime *rt, const struct vv_homes *homes,
                                         const struct vv_route *r, struct vv_compose **ret,
                                         char *reterr_text);
void vv_compose_free(struct vv_compose *c); /* NULL is fine */
#endif
