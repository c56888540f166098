/* src/gateway/tcp_watch.h - how far away clients and servers are: what the kernel says of connections.
 *
 * Model:   once a second each worker asks TCP_INFO of a bounded sample of its own connections, in turns: of
 *          clients, of idle connections to servers, and of those that are shared by streams. Each look adds
 *          the smoothed round-trip time to vivace_tcp_rtt_seconds{side} and what was sent again since
 *          the last look at this connection to vivace_tcp_retransmits_total{side}. What a connection
 *          sends again after its last look is not counted: these tell of the network, they are no books.
 * Threads: the worker's own. Cost: at most 2 * VV_TCP_WATCH_MAX system calls a second, under 0.1 ms.
 */
#ifndef VV_GATEWAY_TCP_WATCH_H
#define VV_GATEWAY_TCP_WATCH_H
#include "base/defs.h"

#define VV_TCP_WATCH_MAX 32 /* looks a second and side */

struct vv_worker;
enum vv_tcp_side { VV_TCP_CLIENT, VV_TCP_UPSTREAM };

/* 1 Hz. */
void vv_tcp_watch(struct vv_worker *w);
/* One look at a connection. *resent is what was sent again until the last one. False: it is not TCP. */
bool vv_tcp_look(struct vv_worker *w, enum vv_tcp_side side, int fd, uint32_t *resent);
#endif
