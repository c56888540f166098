/* src/balance/server.h - one server of a service: its state, shared by all workers.
 *
 * Model:     UP -> EJECTED -> UP by what requests show (passive); UP -> DOWN -> UP by active
 * checks; DRAINING takes no new requests; slow start ramps the weight from 10 % after coming back.
 *            max_fails: that many failures (connect, timeout, broken; not 5xx) inside fail_timeout
 *            eject for fail_timeout; then one live request per fail_timeout is let through as a
 *            probe, and its success brings the server back (nginx's documented meaning). When the
 *            last useful server reaches max_fails, it stays and every passive ejection of the
 *            service is forgotten: if all are suspect, suspicion tells nothing.
 *            outlier: consecutive bad answers (5xx included), and success rate under mean - 1.9
 * sigma. Its ejections last fail_timeout x times in a row (at most x 10), end in the same probe,
 *            and never put out more than max_ejected of the pool nor the last useful server.
 *            A failure that came faster than the mean success holds its place as if it had taken
 *            that long (debt_until_ns): answering 500 in 1 ms must not look like being idle.
 * Source:    nginx ngx_http_upstream (max_fails), Envoy outlier detection, Finagle peak EWMA.
 * Threads:   hot fields are atomics on a line of their own; transitions under the service's lock.
 * Ownership: counted references; a set holds one per server, so does whoever has a connection to
 * it. A server keeps its service's memory alive, so vv_balance_done() is safe at any time. Units:
 * ns, ppm; weights are 1..1000.
 */
#ifndef VV_BALANCE_SERVER_H
#define VV_BALANCE_SERVER_H
#include "base/err.h"
#include "base/str.h"
#include "os/sock.h"
#include <stdatomic.h>

#define VV_SERVER_STATES(X)                                                                        \
    X(UP, "takes requests")                                                                        \
    X(EJECTED, "out for a while because requests to it failed")                                    \
    X(DOWN, "out because active checks fail")                                                      \
    X(DRAINING, "finishes what it has and takes nothing new")
enum vv_server_state {
#define VV_X(name, doc) VV_SERVER_##name,
    VV_SERVER_STATES(VV_X)
#undef VV_X
        VV_SERVER_STATE_COUNT
};
const char *vv_server_state_name(enum vv_server_state s); /* "up", "ejected", "down", "draining" */

enum vv_outcome { /* what one attempt showed */
                  VV_OUTCOME_OK,
                  VV_OUTCOME_5XX,     /* an answer, but a server error */
                  VV_OUTCOME_CONNECT, /* could not connect */
                  VV_OUTCOME_TIMEOUT,
                  VV_OUTCOME_BROKEN,    /* closed early, garbled, wrong framing */
                  VV_OUTCOME_ABANDONED, /* the client left: says nothing about the server */
};

#define VV_MAX_FAILS 128 /* the largest max_fails that is told apart; more counts as this */

struct vv_service_state;
struct vv_server {
    char *name;                       /* "127.0.0.1:3001" or what the file says */
    struct vv_addr addr;              /* immutable: another address is another server */
    struct vv_service_state *service; /* its memory is held by this server */
    uint32_t index_hash;              /* stable hash of name, for consistent hashing and cookies; of
                                       * name and address when the name stood for several addresses */
    void *user;                       /* for gateway/: metric series of this server */
    void (*user_free)(void *user);    /* called with user when the server is freed; may be NULL */
    /* Read by every pick, written by transitions only. */
    VV_ALIGNED(VV_CACHE_LINE) _Atomic uint32_t weight;
    _Atomic uint32_t state; /* enum vv_server_state; what counts is vv_server_usable() */
    _Atomic uint64_t ejected_until_ns, up_since_ns; /* up_since_ns 0: since the start, no ramp */
    _Atomic uint32_t ejections;                     /* in a row: the next one lasts longer */
    _Atomic uint32_t fails;                         /* inside the last fail_timeout */
    /* Written by every request. */
    VV_ALIGNED(VV_CACHE_LINE) _Atomic uint32_t in_flight;
    _Atomic uint32_t refs;
    _Atomic uint64_t ewma_ns; /* peak EWMA of first byte latency */
    _Atomic uint64_t ewma_at_ns;
    _Atomic uint64_t debt_until_ns; /* places held by failures that came too fast */
    _Atomic uint64_t ok_total,
        bad_total;                /* for success-rate outliers, judged by the control thread */
    _Atomic uint32_t consecutive; /* bad outcomes in a row */
    /* PRIVATE, under the service's lock. */
    VV_ALIGNED(VV_CACHE_LINE) bool down;
    bool draining, spec_draining, ejected, probing, by_outlier;
    uint64_t ejected_for_ns; /* how long the present or last ejection was meant to be */
    uint32_t fail_next;      /* next slot of the ring */
    uint64_t fail_at_ns[VV_MAX_FAILS];
    uint64_t ok_seen, bad_seen; /* control thread only */
};
void vv_server_ref(struct vv_server *s);
void vv_server_unref(struct vv_server *s);
#endif
