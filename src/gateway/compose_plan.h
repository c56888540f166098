/* src/gateway/compose_plan.h - a `compose:` route, compiled: parts with the routes they run as.
 *
 * Threads:   control; immutable then. Ownership: the caller's; borrows texts of the settings.
 */
#ifndef VV_GATEWAY_COMPOSE_PLAN_H
#define VV_GATEWAY_COMPOSE_PLAN_H
#include "gateway/runtime.h"

struct vv_compose; /* actions/compose.c */
/* *ret is NULL when the route does not compose. Services of rt are there. */
VV_MUST_CHECK enum vv_err vv_compose_new(const struct vv_runtime *rt,
                                         const struct vv_route_settings *r, struct vv_compose **ret,
                                         char *reterr_text);
void vv_compose_free(struct vv_compose *c); /* NULL is fine */
#endif
