/* src/gateway/secure.h - what browsers are answered before any route: the way to HTTPS, preflights,
 * reports about policies.
 *
 * Model:     a listener with `redirect: https` sends every request that did not come over HTTPS (as the
 *            client saw it) to the same host and path there: 301 for GET and HEAD, 308 for the rest, which
 *            keeps method and body (RFC 9110 15.4.9). The port is that of `redirect: https:PORT`, else of the
 *            listener with TLS which serves the host. Left alone are /.well-known/acme-challenge/ (RFC 8555 8.3), hosts that nobody
 *            serves (ROUTE refuses them) and requests without a host (400).
 * Threads:   vv_https_way() is pure; the phase: one worker.
 */
#ifndef VV_GATEWAY_SECURE_H
#define VV_GATEWAY_SECURE_H
#include "gateway/exchange.h"

enum vv_https_way { VV_HTTPS_STAY, VV_HTTPS_GO, VV_HTTPS_NO_HOST, VV_HTTPS_BAD_HOST };
struct vv_https_question {
    uint32_t listener; /* index in settings->listen */
    bool https;        /* the client uses it already */
    enum vv_method method;
    struct vv_str host, path;    /* as routes see them */
    struct vv_str target, query; /* as they came: path; query without its mark, p NULL: none */
};
/* Where a request is sent; VV_HTTPS_GO: *ret_to in the arena (p NULL: it is full) and *ret_status. */
enum vv_https_way vv_https_way(const struct vv_settings *s, const struct vv_https_question *q,
                               struct vv_arena *arena, struct vv_str *ret_to, int *ret_status);
/* The port of "https:8443"; 0 of "https"; -1: neither. */
int vv_https_redirect_port(const char *text);

/* The phase BROWSERS, after NORMALISE. True: it was answered, or will be. */
VV_MUST_CHECK bool vv_secure_early(struct vv_exchange *x);
#endif
