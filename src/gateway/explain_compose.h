/* src/gateway/explain_compose.h - what `explain` says about the parts of an answer.
 *
 * Threads:   any. Ownership: nothing is kept.
 */
#ifndef VV_GATEWAY_EXPLAIN_COMPOSE_H
#define VV_GATEWAY_EXPLAIN_COMPOSE_H
#include "base/json.h"
#include "gateway/runtime.h"

/* Member "compose" with the parts as they would be asked for; nothing for a route that does not compose. */
void vv_explain_compose(const struct vv_route *r, const struct vv_template_vars *vars,
                        struct vv_arena *arena, struct vv_json *j);
#endif
