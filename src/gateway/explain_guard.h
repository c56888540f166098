/* src/gateway/explain_guard.h - what protects a route: who may ask, which limits apply, breaker, retries,
 * fallback, canary; and what they would say now.
 *
 * Threads: control. Ownership: everything is borrowed.
 */
#ifndef VV_GATEWAY_EXPLAIN_GUARD_H
#define VV_GATEWAY_EXPLAIN_GUARD_H
#include "base/json.h"
#include "gateway/runtime.h"

struct vv_homes;

struct vv_guard_question {
    const struct vv_runtime *rt;
    const struct vv_route *route;
    uint32_t listener;            /* its index; VV_ROUTE_ANY_LISTENER: not known */
    const struct vv_homes *homes; /* NULL: nothing runs */
    uint64_t now_ns;
};
/* Writes the member "guards"; what a route does not have is left out of it. */
void vv_explain_guard(const struct vv_guard_question *q, struct vv_json *j);
#endif
