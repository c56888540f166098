/* src/gateway/tls_count.h - handshakes in the metrics: told once a second, and when a listener goes.
 *
 * Threads:   the listener's worker.
 */
#ifndef VV_GATEWAY_TLS_COUNT_H
#define VV_GATEWAY_TLS_COUNT_H

struct vv_listener;
void vv_tls_count(struct vv_listener *l); /* what came since the last call */
#endif
