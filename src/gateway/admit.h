/* src/gateway/admit.h - ADMIT: may this request pass now? Limits of listener, route and plan as one
 * decision, and the gateway's own overload.
 *
 * Model:     every limit that applies (those of the listener, of the route, of the caller's plan; a plan
 *            replaces the limits `per: client`) gives up to three words of guard/limit.h; all are tested
 *            before any is charged. The answer says what was decided: RateLimit-Policy, RateLimit
 *            (draft-ietf-httpapi-ratelimit-headers-10), X-RateLimit-* where asked for, Retry-After.
 *            Places of `concurrent` are given back when the exchange ends.
 * Threads:   plans: control, immutable then. The rest: one worker.
 */
#ifndef VV_GATEWAY_ADMIT_H
#define VV_GATEWAY_ADMIT_H
#include "gateway/exchange.h"
#include "gateway/guards.h"
#include "gateway/head_writer.h"

struct vv_limit_plan; /* compiled limits of one listener, route or plan */
/* scope: "listener:web", "route:api", "plan:premium": names the words across reloads. *ret is NULL when the
 * list is. `at_once`: burst counts all that may come at once (plans), not those beyond the first. */
VV_MUST_CHECK enum vv_err vv_limit_plan_new(const struct vv_conf_list *limits, const char *scope,
                                            bool at_once, struct vv_limit_plan **ret,
                                            char *reterr_text);
void vv_limit_plan_free(struct vv_limit_plan *p); /* NULL is fine */

/* The phase. True: it was answered (429, 503). */
VV_MUST_CHECK bool vv_admit(struct vv_exchange *x);
/* Who is not let in counts where listener and route count by address, so that nobody tries keys and
 * passwords faster than that. The other limits are for those who may ask. True: it was answered (429). */
VV_MUST_CHECK bool vv_admit_stranger(struct vv_exchange *x);
/* The exchange ends. */
void vv_admit_end(struct vv_exchange *x);
/* What answer.c adds to the answers of limited requests. */
int vv_admit_status(const struct vv_exchange *x); /* of a refusal by limits */
/* The policies that refuse, as members of a JSON array: "web","web-quota". In the arena. */
struct vv_str vv_admit_violated(struct vv_exchange *x);
size_t vv_admit_fields_bytes(const struct vv_exchange *x);
void vv_admit_put_fields(struct vv_writer *w, const struct vv_exchange *x);
#endif
