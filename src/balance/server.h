/* src/balance/server.h - one server of a service: its state, shared by all workers.
 *
 * Model:     UP -> EJECTED -> UP by what requests show (passive); UP -> DOWN -> UP by active checks;
 *            DRAINING takes no new requests; slow start ramps the weight after coming back. Passive:
 *            max_fails failures inside fail_timeout eject for fail_timeout (nginx's meaning);
 *            outlier: consecutive 5xx or gateway errors, and success rate under mean - 1.9 sigma
 *            (Envoy's figures). The last useful server is never ejected; at most max_ejected of the
 *            pool is out (panic: above that all are used).
 * Source:    nginx ngx_http_upstream (max_fails), Envoy outlier detection, Finagle peak EWMA.
 * Threads:   hot fields are atomics on lines of their own; transitions under the service's lock.
 * Ownership: counted references; a set holds one per server, so does whoever has a connection to it.
 * Units:     ns, ppm; weights are 1..1000.
 */
#ifndef VV_BALANCE_SERVER_H
#define VV_BALANCE_SERVER_H
#include "base/err.h"
#include "base/str.h"
#include "os/sock.h"
#include <stdatomic.h>

#define VV_SERVER_STATES(X)                                          \
    X(UP, "takes requests")                                          \
    X(EJECTED, "out for a while because requests to it failed")      \
    X(DOWN, "out because active checks fail")                        \
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
    VV_OUTCOME_5XX,        /* an answer, but a server error */
    VV_OUTCOME_CONNECT,    /* could not connect */
    VV_OUTCOME_TIMEOUT,
    VV_OUTCOME_BROKEN,     /* closed early, garbled, wrong framing */
    VV_OUTCOME_ABANDONED,  /* the client left: says nothing about the server */
};

struct vv_service_state;
struct vv_server {
    char *name;                   /* "127.0.0.1:3001" or what the file says */
    struct vv_addr addr;          /* immutable: another address is another server */
    struct vv_service_state *service; /* borrowed */
    uint32_t index_hash;          /* stable hash of name, for consistent hashing and cookies */
    void *user;                   /* for gateway/: metric series of this server */
    _Atomic uint32_t refs;
    _Atomic uint32_t weight;
    _Atomic uint32_t state;       /* enum vv_server_state; what counts is vv_server_usable() */
    VV_ALIGNED(VV_CACHE_LINE) _Atomic uint32_t in_flight;
    _Atomic uint64_t ewma_ns;     /* peak EWMA of first byte latency */
    _Atomic uint64_t ewma_at_ns;
    _Atomic uint32_t fails;       /* in the present fail window */
    _Atomic uint32_t consecutive; /* bad outcomes in a row */
    _Atomic uint64_t fail_since_ns, ejected_until_ns, up_since_ns;
    _Atomic uint32_t ejections;   /* times in a row: the next one lasts longer */
    _Atomic uint64_t ok_total, bad_total; /* for success-rate outliers, judged by the control thread */
    uint64_t ok_seen, bad_seen;   /* control thread only */
};
void vv_server_ref(struct vv_server *s);
void vv_server_unref(struct vv_server *s);
#endif
