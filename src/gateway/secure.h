/* src/gateway/secure.h - what browsers are answered before any route: the way to HTTPS, preflights,
 * reports about policies.
 *
 * Model:     a listener with `redirect: https` sends every request that did not come over HTTPS (as the
 *            client saw it) to the same host and path there: 301 for GET and HEAD, 308 for the rest, which
 *            keeps method and body (RFC 9110 15.4.9). The port is that of the listener with TLS which serves
 *            the host. Left alone are /.well-known/acme-challenge/ (RFC 8555 8.3), hosts that nobody
 *            serves (ROUTE refuses them) and requests without a host (400).
 * Threads:   one worker.
 */
#ifndef VV_GATEWAY_SECURE_H
#define VV_GATEWAY_SECURE_H
#include "gateway/exchange.h"

/* The phase BROWSERS, after NORMALISE. True: it was answered, or will be. */
VV_MUST_CHECK bool vv_secure_early(struct vv_exchange *x);
#endif
