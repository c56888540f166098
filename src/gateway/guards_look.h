/* src/gateway/guards_look.h - breakers, budgets, places, limits and shedding as metrics and JSON.
 *
 * Threads:   control. Ownership: nothing is kept.
 */
#ifndef VV_GATEWAY_GUARDS_LOOK_H
#define VV_GATEWAY_GUARDS_LOOK_H
#include "base/json.h"
#include "gateway/guards.h"

/* Samples for a scrape. late_ns: of the latest loop. */
void vv_guards_collect(struct vv_guards *gs, uint64_t now_ns, uint64_t late_ns,
                       struct vv_collect *c);
/* One object: name, class, service, state, mode, what it counted. */
void vv_breaker_json(const struct vv_named_breaker *b, uint64_t now_ns, struct vv_json *j);
/* One object: service, budget, hedge, places. */
void vv_service_guard_json(const struct vv_service_guard *g, uint64_t now_ns, struct vv_json *j);
#endif
