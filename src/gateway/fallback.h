/* src/gateway/fallback.h - what is sent where the real answer cannot be had: a literal, what is stored
 * however old, another service. The answer is marked as degraded.
 *
 * Threads:   compiled: control, immutable; the rest: one worker.
 */
#ifndef VV_GATEWAY_FALLBACK_H
#define VV_GATEWAY_FALLBACK_H
#include "cache/rules.h"
#include "gateway/exchange.h"

/* The route's answer failed (reason), or was a 5xx (status, reason NONE) of which nothing was sent. True:
 * the fallback answers, now or later. Called by the action when it has let go of everything. */
VV_MUST_CHECK bool vv_fallback(struct vv_exchange *x, enum vv_reason reason, int status);
/* May what is stored stand in however old it is, because the route says so? Not where the origin forbids
 * just that (RFC 9111 4.2.4). True: x is marked, and the caller sends it. For recall.c, which asks when
 * its own rules say no: a 5xx that nothing stands in for is still to be passed on. */
VV_MUST_CHECK bool vv_fallback_to_stale(struct vv_exchange *x, const struct vv_cache_facts *facts);
#endif
