/* src/gateway/challenge.h - an authority comes to see whether a name is ours (RFC 8555 section 8.3).
 *
 * Model:     GET /.well-known/acme-challenge/TOKEN is answered before any route, on every listener and for every
 *            host, when the token is one that we, or a gateway with the same store, have put up. Others are left to the
 *            routes: another program behind us may be proving the same name.
 * Threads:   one worker.
 */
#ifndef VV_GATEWAY_CHALLENGE_H
#define VV_GATEWAY_CHALLENGE_H
#include "gateway/exchange.h"

/* True: it was answered. */
VV_MUST_CHECK bool vv_challenge_early(struct vv_exchange *x);
#endif
