/* src/gateway/fallback.h - what is sent where the real answer cannot be had: a literal, what is stored
 * however old, another service. The answer is marked as degraded.
 *
 * Threads:   compiled: control, immutable; the rest: one worker.
 */
#ifndef VV_GATEWAY_FALLBACK_H
#define VV_GATEWAY_FALLBACK_H
#include "gateway/exchange.h"

/* The route's answer failed (reason), or was a 5xx (status, reason NONE) of which nothing was sent. True:
 * the fallback answers, now or later. Called by the action when it has let go of everything. */
VV_MUST_CHECK bool vv_fallback(struct vv_exchange *x, enum vv_reason reason, int status);
#endif
