/* src/gateway/sink.h - requests of our own whose answer comes to us: parts of `compose`, mirrored requests.
 *
 * Model:     runs on a detached session (session.h) as an exchange of its own, with a route that the
 *            caller gives; answer.c hands its answer to the sink in place of bytes for a client. So every
 *            action, the cache, breakers, retries and limits of the service work as for any request.
 * Threads:   one worker. Ownership: the exchange ends by itself after end(), or by vv_subrequest_cancel();
 *            the sink's owner must outlive it, or cancel.
 */
#ifndef VV_GATEWAY_SINK_H
#define VV_GATEWAY_SINK_H
#include "gateway/exchange.h"

struct vv_sink {
    /* The head, once: fields as they would be sent, borrowed for the call. */
    void (*head)(void *user, int status, struct vv_str content_type, uint64_t length);
    bool (*body)(void *user, struct vv_str bytes); /* false: too much, the exchange ends */
    /* Once, last; x is gone then. aborted: VV_REASON_NONE when the answer was complete. */
    void (*end)(void *user, enum vv_reason aborted);
};

struct vv_subrequest {
    const struct vv_route *route; /* runs it; outlives it with the runtime */
    struct vv_str head;           /* a whole request head */
    struct vv_str body;           /* with Content-Length in the head */
    uint64_t timeout_ns;          /* 0: the route's; a route with a whole timeout keeps that */
    const struct vv_sink *sink;
    void *user;
};
/* In the name of `like`'s client and caller, under its settings, not later than its deadline; phases from
 * BOUNDS on but ACCESS and ADMIT. *ret is set before the first call of the sink, and NULL at the end when
 * it has ended already (end() was called). Not VV_OK: the sink was not called (VV_ESYNTAX: the head). */
VV_MUST_CHECK enum vv_err vv_subrequest_start(struct vv_exchange *like,
                                              const struct vv_subrequest *r,
                                              struct vv_exchange **ret);
void vv_subrequest_cancel(
    struct vv_exchange *x); /* end() is not called; not from the sink's calls */

/* session.c: what is in the session's batch goes to the sink. VV_ELIMIT: it does not want it. */
VV_MUST_CHECK enum vv_err vv_sink_flush(struct vv_session *s);
#endif
