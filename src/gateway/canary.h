/* src/gateway/canary.h - a share of a route's requests goes to another service; its answers are compared.
 *
 * Model:     named by its route, kept over reloads. A request belongs to the candidate when the hash of its
 *            sticky value is below the share (so growing the share moves nobody back), or its header says
 *            so. Workers count both sides (answers, errors, times); the control thread compares at each
 *            tick (guard/compare.h) and promotes by a step, or aborts: share 0. Both sides begin anew
 *            whenever the share changes. `mirror` copies requests without waiting for the answers.
 *            Share and verdict outlive a reload as long as `to` and `share` of the file stay the same; a
 *            restart begins with the file. Requests that a header sent to a side are counted, but not
 *            compared: whoever sends it is no fair sample.
 * Units:     shares are parts per million. Threads: choosing and reporting: workers; the rest: control.
 * Ownership: a runtime's route holds its struct vv_canary, which holds what is kept by name.
 */
#ifndef VV_GATEWAY_CANARY_H
#define VV_GATEWAY_CANARY_H
#include "base/json.h"
#include "gateway/exchange.h"

enum vv_canary_side { VV_SIDE_NONE, VV_SIDE_BASE, VV_SIDE_CANDIDATE }; /* vv_exchange.side */

struct vv_canaries; /* by route name */
struct vv_canary;   /* counted, held by a runtime's route */
struct vv_mirror;

VV_MUST_CHECK enum vv_err vv_canaries_new(struct vv_metrics *metrics, unsigned workers,
                                          struct vv_canaries **ret);
void vv_canaries_free(struct vv_canaries *cs); /* NULL is fine */
/* *ret is NULL when the route has none. `cs` NULL: the route is only looked at. r->service and the services
 * of rt are there. */
VV_MUST_CHECK enum vv_err vv_canary_take(struct vv_canaries *cs, const struct vv_runtime *rt,
                                         const struct vv_route_settings *r, struct vv_canary **ret,
                                         char *reterr_text);
void vv_canary_unref(struct vv_canary *c); /* NULL is fine */
VV_MUST_CHECK enum vv_err vv_mirror_new(const struct vv_runtime *rt,
                                        const struct vv_route_settings *r, struct vv_mirror **ret,
                                        char *reterr_text);
void vv_mirror_free(struct vv_mirror *m); /* NULL is fine */
void vv_canaries_settle(struct vv_canaries *cs, bool kept);
void vv_canaries_tick(struct vv_canaries *cs, uint64_t now_ns);
/* start: share (0: the first step, else the file's); promote: share, or 0: the next step, after the last
 * one all; abort: none. VV_ENOENT: no canary on this route; VV_ERANGE: more than all; VV_EINVAL: neither
 * the call nor the file says how much. */
VV_MUST_CHECK enum vv_err vv_canary_start(struct vv_canaries *cs, struct vv_str route,
                                          uint64_t share_ppm, uint64_t now_ns);
VV_MUST_CHECK enum vv_err vv_canary_promote(struct vv_canaries *cs, struct vv_str route,
                                            uint64_t share_ppm, uint64_t now_ns);
VV_MUST_CHECK enum vv_err vv_canary_abort(struct vv_canaries *cs, struct vv_str route,
                                          uint64_t now_ns);
/* One array value. n 0: of all routes. */
void vv_canaries_json(struct vv_canaries *cs, struct vv_str route, uint64_t now_ns,
                      struct vv_json *j);

/* A phase before RECALL: sets x->service and x->side; starts the mirrored copy. True: it waits for the
 * body and resumes by itself, or the exchange has ended. */
VV_MUST_CHECK bool vv_canary_choose(struct vv_exchange *x);
/* mirror.c: starts the copy of a request. True: it waits for the body and resumes by itself, or the
 * exchange has ended. */
VV_MUST_CHECK bool vv_mirror_copy(struct vv_exchange *x);
/* The mark of a copy tells a service to leave out what must not happen twice: what a client puts on its
 * own request, which is no copy, is not passed on. */
bool vv_mirror_drops_field(const struct vv_exchange *x, const struct vv_h1_field *f);
/* The exchange ends: counts it, unless it was answered from a cache or its client left. A 5xx, a cut that
 * is the server's and an answer that is not the real thing are failures. */
void vv_canary_end(struct vv_exchange *x, enum vv_reason aborted);
/* One answer of the side of x. */
void vv_canary_report(struct vv_exchange *x, bool failed, uint64_t took_ns);
#endif
