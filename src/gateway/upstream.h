/* src/gateway/upstream.h - one worker's connections to servers: kept alive, reused, last in first out.
 *
 * Model:     a pool per server, made when the worker first talks to it. A connection is idle (in the
 *            pool) or owned by one exchange's proxy action, which gets its events. Idle connections
 *            that speak or close are dropped; those idle too long are dropped once a second, oldest
 *            first. A pool goes away when its server has left the service and nothing uses it.
 *            A stream of a shared HTTP/2 connection (upstream_h2.h) is lent as a connection, too: it has
 *            no descriptor and is not kept, everything else about it is the same.
 *            A connection to a secure server (upstream_tls.h) is connecting until the handshake is over,
 *            and what is read and flushed here is what is inside. When a reload changes how a service
 *            speaks TLS, connections made before are not used for new requests.
 * Threads:   one worker.
 * Ownership: vv_upstream_take() lends a connection; exactly one of _give_back or _discard returns it.
 */
#ifndef VV_GATEWAY_UPSTREAM_H
#define VV_GATEWAY_UPSTREAM_H
#include "gateway/worker.h"

struct vv_fault_line;
struct vv_uh2_home;
struct vv_h2_pool;
struct vv_upstream_pool;
struct vv_ustream;
struct vv_uconn;
struct vv_uconn_owner { /* events of a connection that is in use */
    /* A failure with u->tls there is one of TLS: vv_tls_failure(). */
    void (*connected)(struct vv_uconn *u, enum vv_err err);
    void (*readable)(struct vv_uconn *u);
    void (*writable)(struct vv_uconn *u);
    void (*timeout)(struct vv_uconn *u);
};

struct vv_uconn {
    struct vv_io io;
    struct vv_worker *w;
    struct vv_upstream_pool *pool;
    const struct vv_uconn_owner *owner; /* NULL: idle */
    void *user;                         /* the owner's */
    struct vv_buf *in;                  /* received, not yet passed on */
    struct vv_tls *tls;                 /* NULL: plain, or not connected yet */
    bool secure;                        /* TLS is spoken, or will be */
    bool thin;                          /* idle, and without buffers of TLS */
    uint32_t tls_generation;            /* of the pool, when it was opened */
    uint32_t resent;                    /* segments, as of the last look (tcp_watch.h) */
    bool connecting, readable, rdhup, eof, reused, blocked;
    bool shared; /* it carries streams: over TLS, HTTP/2 is offered */
    uint64_t requests;
    uint64_t idle_since_ns, wait_until_ns;
    struct vv_timer timer;
    struct vv_defer again; /* the owner's readable() next turn: fairness */
    struct vv_list node;
    struct vv_corpse corpse;
    struct vv_fault_line *fault; /* fault_points.h; NULL: nothing is wrong on purpose */
    struct vv_ustream *stream;   /* upstream_h2.h: it is one; NULL: a connection of its own */
    struct vv_out out;
};

struct vv_upstreams;
VV_MUST_CHECK enum vv_err vv_upstreams_new(struct vv_worker *w, struct vv_upstreams **ret);
void vv_upstreams_free(struct vv_upstreams *us);
void vv_upstreams_second(struct vv_upstreams *us, uint64_t now_ns); /* expiry, once a second */
void vv_upstreams_watch(struct vv_upstreams *us);                   /* for tcp_watch.c */

/* An idle connection, or a new one (then u->connecting may be true: wait for connected()).
 * fresh: do not reuse. VV_ELIMIT: the service's limit of connections to this server is reached. */
VV_MUST_CHECK enum vv_err vv_upstream_take(struct vv_upstreams *us, struct vv_server *server,
                                           const struct vv_service *service, bool fresh,
                                           const struct vv_uconn_owner *owner, void *user,
                                           struct vv_uconn **ret);
/* A new connection over fd, which is in its hands from the call on; never reused, never secure, not counted
 * as a connect to the server. */
VV_MUST_CHECK enum vv_err vv_upstream_take_fd(struct vv_upstreams *us, struct vv_server *server,
                                              const struct vv_service *service, int fd,
                                              const struct vv_uconn_owner *owner, void *user,
                                              struct vv_uconn **ret);
void vv_upstream_give_back(struct vv_uconn *u); /* clean: nothing unread, nothing unsent */
void vv_upstream_discard(struct vv_uconn *u);
/* Reads once into u->in (which is made when needed). VV_ECLOSED: the server has sent all it will. */
VV_MUST_CHECK enum vv_err vv_uconn_read(struct vv_uconn *u, size_t block_bytes);
VV_MUST_CHECK enum vv_err vv_uconn_flush(struct vv_uconn *u); /* vv_out_flush() of u->out */
/* Nothing more will be sent. VV_EAGAIN: again when the owner is told writable(). */
VV_MUST_CHECK enum vv_err vv_uconn_half_close(struct vv_uconn *u);
/* Tells the owner again what the socket said before: it was held back. */
void vv_uconn_again(struct vv_uconn *u);
void vv_uconn_wait(struct vv_uconn *u, uint64_t at_ns); /* 0: no time limit */

/* For upstream_h2.c. The server's place for shared connections; NULL: no memory. */
struct vv_uh2_home *vv_upstream_home(struct vv_upstreams *us, struct vv_server *server,
                                     const struct vv_service *service);
struct vv_h2_pool *vv_upstreams_h2_pool(struct vv_upstreams *us); /* NULL: no memory */
/* Makes u a connection of this pool, without a descriptor. */
void vv_uconn_init(struct vv_uconn *u, struct vv_worker *w, struct vv_upstream_pool *pool);

/* Metric series of the server on this worker. */
struct vv_upstream_stat {
    vv_series connects, reuses, active, idle;
    struct vv_hist *duration;
    struct {
        uint32_t key; /* status, or 1000 + reason */
        vv_series series;
    } slot[8];
};
struct vv_upstream_stat *vv_uconn_stat(struct vv_uconn *u);
/* label: status code text or an error's name. */
void vv_upstream_count(struct vv_uconn *u, uint32_t key, struct vv_str label);
#endif
