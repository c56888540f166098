/* src/gateway/forward.h - the head of the request that is sent to a server.
 *
 * Source:  RFC 9110 7.6 (hop-by-hop fields, Via), RFC 7239 (Forwarded), the X-Forwarded-* custom.
 * Model:   what the client sent, less hop-by-hop fields and what only trusted proxies may say, plus who
 *          asked, plus the route's edits. The body's framing is repeated, never guessed.
 * Ownership: the result lives in the exchange's arena, so that it can be sent again.
 */
#ifndef VV_GATEWAY_FORWARD_H
#define VV_GATEWAY_FORWARD_H
#include "gateway/exchange.h"

/* VV_EINVAL: a value of this request must not stand where a template puts it; VV_ENOMEM. */
VV_MUST_CHECK enum vv_err vv_forward_head(struct vv_exchange *x, struct vv_str *ret);
/* Does the head say how much time is left (`deadline_header`)? Then it is made anew for each attempt. */
bool vv_forward_tells_deadline(const struct vv_exchange *x);
/* Is a protocol switch asked of the server? Not one to HTTP/2, which is a matter of each hop alone. */
bool vv_forward_upgrades(const struct vv_exchange *x);
/* Has the request passed so many gateways like this one that it must be going round in circles? */
bool vv_forward_loops(const struct vv_exchange *x);
#endif
