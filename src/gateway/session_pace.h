/* src/gateway/session_pace.h - clients that trickle: how long a session waits for bytes it is owed.
 *
 * Model:     two waits with a limit each: for more of a request body, and for the client to take what was
 *            written (also when all of it lies in the kernel, which may keep megabytes for each client). Each ends when nothing moves for its timeout, or when what moves is less than the
 *            listener's `clients.min_rate` for longer than its grace (pace.h).
 *            Not owed: bytes of tunnels; of bodies whose answer has begun, and of gRPC over HTTP/2, which are
 *            conversations with pauses; of bodies that wait for our 100 (Continue).
 * Threads:   one worker.
 */
#ifndef VV_GATEWAY_SESSION_PACE_H
#define VV_GATEWAY_SESSION_PACE_H
#include "gateway/session.h"

/* The client is waited for: sets body_wait_ns. Call vv_session_arm() then. */
void vv_session_body_owed(struct vv_exchange *x);
/* Some of it was read. */
static inline void vv_session_body_came(struct vv_session *s, uint64_t bytes);
/* body_wait_ns has passed: NULL: go on, there is a new one (or none); else why: label of the metric. */
const char *vv_session_body_late(struct vv_session *s, uint64_t now_ns);

/* `out` is blocked: sets send_wait_ns. */
void vv_session_send_owed(struct vv_session *s, uint64_t limit_ns);
/* The same of a stream, whose batch leaves with what its connection writes at the end of the turn: most often
 * there is nothing to look after, so the account is opened only when it still waits a while later. */
void vv_session_send_soon(struct vv_session *s, uint64_t limit_ns);
/* All of it has left. */
void vv_session_send_rests(struct vv_session *s);
/* send_wait_ns has passed: NULL: go on, there is a new one; else it is too slow: label of the metric. */
const char *vv_session_send_late(struct vv_session *s, uint64_t limit_ns, uint64_t now_ns);

/* Idle, but the kernel may still keep much of the answers for it. True: so it does; *ret_due_ns says when it
 * has been too slow, with the clock running. */
bool vv_session_still_takes(struct vv_session *s, uint64_t *ret_due_ns);
/* It asks for more: the clock stops. */
void vv_session_took(struct vv_session *s);

static inline struct vv_pace_conf vv_session_pace_conf(const struct vv_session *s)
{
    return (struct vv_pace_conf){.bytes_min = s->listener->conf.clients.min_rate_bytes,
                                 .grace_ns = s->listener->conf.clients.grace_ns};
}

static inline void vv_session_body_came(struct vv_session *s, uint64_t bytes)
{
    const struct vv_pace_conf conf = vv_session_pace_conf(s);
    vv_pace_pay(&s->body_pace, &conf, bytes, vv_worker_now(s->w));
}
#endif
