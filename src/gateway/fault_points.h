/* src/gateway/fault_points.h - where ordered faults strike: on the connections to servers.
 *
 * Model:     each attempt draws once (vv_fault_take). What ends an attempt (abort, reset, drop) happens on
 *            a false connection, a socket whose other end is held here: bytes, errors and events are those
 *            of a server that behaves like this, and the real one is not asked. Delays and slowness hold
 *            back what a connection has to read; truncation and corruption change runs of the body. The
 *            exchange, balancers, breakers and retries cannot tell it from the real thing.
 *            A fault ends with its time: the answer to a request that goes through a cache is never
 *            corrupted, because it may be kept.
 * Threads:   one worker. Ownership: a struck connection owns its line; taking it back ends both.
 */
#ifndef VV_GATEWAY_FAULT_POINTS_H
#define VV_GATEWAY_FAULT_POINTS_H
#include "gateway/exchange.h"
#include "gateway/upstream.h"

/* vv_upstream_take() for one attempt of x, through the faults that are ordered: for actions. */
VV_MUST_CHECK enum vv_err vv_fault_take(struct vv_exchange *x, struct vv_server *server,
                                        const struct vv_service *service, bool fresh,
                                        const struct vv_uconn_owner *owner, void *user,
                                        struct vv_uconn **ret);

void vv_fault_run(struct vv_uconn *u, struct vv_str *run, bool *done);
/* A run of the answer's body that was just taken out of u->in, before it is passed on; *done: it is the
 * last one. The run may come back changed or shorter; when it is cut, *done is false, u->in is empty and
 * the next vv_uconn_read() says VV_ECLOSED, as if the server had left. */
static inline void vv_fault_body(struct vv_uconn *u, struct vv_str *run, bool *done)
{
    if (VV_UNLIKELY(u->fault != NULL)) {
        vv_fault_run(u, run, done);
    }
}

/* ---- for upstream.c, when u->fault is there ---- */
/* A connect has ended with *err. False: the owner is told later. */
bool vv_fault_connected(struct vv_uconn *u, enum vv_err *err);
/* Before bytes are read. VV_OK: read, at most *room_max; otherwise this is what reading gives. */
enum vv_err vv_fault_before_read(struct vv_uconn *u, size_t *room_max);
void vv_fault_after_read(struct vv_uconn *u, size_t bytes);
void vv_fault_end(struct vv_uconn *u); /* harmless without a line */
#endif
