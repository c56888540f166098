/* src/gateway/pace.h - does the other side move its bytes fast enough? The measure behind `clients.min_rate`.
 *
 * Model:     patience is an account of time. While the client owes bytes its waiting time is spent; every
 *            byte that moves pays back the time it takes at the least rate. Who has spent more than the
 *            grace is too slow. Bytes that come faster than they must are kept as credit, up to one more
 *            grace, so that a fast client may pause for twice as long. Time in which nothing is owed (the
 *            server is slow, the answer has all left, a stream is silent) costs nothing.
 *            A client that moves r bytes a second where b are the least is out after grace / (1 - r / b).
 * Units:     *_ns monotonic nanoseconds; bytes.
 * Threads:   one worker. Ownership: the caller's storage; zeroed is fresh.
 */
#ifndef VV_GATEWAY_PACE_H
#define VV_GATEWAY_PACE_H
#include "base/defs.h"

struct vv_pace_conf {
    uint64_t bytes_min; /* per second; 0: nobody is too slow */
    uint64_t grace_ns;
};

struct vv_pace {       /* PRIVATE */
    int64_t spent_ns;  /* below 0: credit */
    uint64_t since_ns; /* owes bytes since then; 0: owes none */
};

/* The client is waited for from now on, if it was not already. */
void vv_pace_owe(struct vv_pace *p, uint64_t now_ns);
/* So many bytes have moved since the last call; 0 is fine. Ends the wait: who still owes, vv_pace_owe(). */
void vv_pace_pay(struct vv_pace *p, const struct vv_pace_conf *c, uint64_t bytes, uint64_t now_ns);
/* When the patience is out if nothing moves; UINT64_MAX: never. */
uint64_t vv_pace_due(const struct vv_pace *p, const struct vv_pace_conf *c);
#endif
