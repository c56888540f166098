/* src/store/redis.h - a Redis as the gateway uses it: one server, a ring of servers, a master that Sentinel
 * names, or a cluster; whichever it is, a command goes in and its answer comes out, or it fails soon.
 *
 * Model:     one vv_redis for each thread and store. It keeps one connection (redis_conn.h) to each server
 *            that is asked, opens it again by itself after growing pauses, finds out who serves a key,
 *            follows MOVED and ASK (ASK without learning), asks the cluster or the sentinels again when the
 *            answer surprises, and has a circuit breaker for each server: while that is open an operation
 *            on its keys is refused at once. An operation that waited for its whole deadline without a
 *            byte from its server opens it by itself, and the first sign of life closes it. So a lost
 *            server costs a request its deadline once, then nearly nothing.
 *            An operation begun while a connection is being made waits for it within its own deadline.
 *            Operations of one turn of the loop on one server leave in one write, in order.
 *            Tracking: a store with conf.tracking asks for invalidations (CLIENT TRACKING ON OPTIN) on
 *            the very connection that answers, so that an invalidation never overtakes the answer it is
 *            about. A write ends the watch on its key, and is told to us like anybody's, unless it has
 *            VV_REDIS_TRACK itself: then its key is watched from this very write on and it is not told.
 *            (Not NOLOOP: with it a server does not tell of keys that it evicts, or drops from
 *            its full table of watched keys, on behalf of our own commands.) Each connection has a share: a number unlike all others in this process. When a
 *            connection with tracking is lost, nothing that was read over it is watched any more, which is
 *            what `lost` says. Servers that only speak version 2 have no shares: 0.
 * Source:    Redis documentation: Client-side caching, Cluster specification, Guidelines for Redis clients
 *            with support for Sentinel. Ring: consistent hashing as of balance/ (ketama points).
 * Units:     *_ns durations in nanoseconds. Threads: all calls belong to the loop's thread.
 * Ownership: _new/_free. An operation, its arguments and their bytes are the caller's and stay as they are
 *            until `end` has run or the operation was abandoned.
 * Errors:    of an operation: VV_ETIMEOUT; VV_EREFUSED: not asked, the breaker is open or nobody serves the
 *            key; VV_ECLOSED: the connection broke and it is not known whether it was carried out (with
 *            VV_REDIS_READ it was tried once more before); VV_ELIMIT: too much is under way; VV_ENOMEM. An
 *            error that the server answers is an answer: VV_OK with an item of type ERROR. Those that say
 *            something about the server (LOADING, MASTERDOWN, CLUSTERDOWN, READONLY on a master, OOM does
 *            not) count for the breaker.
 */
#ifndef VV_STORE_REDIS_H
#define VV_STORE_REDIS_H
#include "base/json.h"
#include "guard/breaker.h"
#include "store/redis_conn.h"
#include "store/redis_url.h"

struct vv_redis;

struct vv_redis_conf { /* copied with its texts */
    struct vv_redis_url url;
    const char *sentinel_user, *sentinel_password; /* NULL: none */
    const char *ca_file, *cert_file,
        *key_file;        /* of TLS; NULL: the system's trust, no certificate */
    const char *tls_name; /* whom certificates must name; NULL: the host asked */
    bool tls_insecure;
    bool replicas; /* operations with VV_REDIS_READ may be answered by a replica */
    bool tracking;
    uint64_t call_ns;    /* deadline of an operation; default 50 ms */
    uint64_t connect_ns; /* default 500 ms */
    uint64_t
        hang_ns; /* a server that owes answers and is silent for so long is given up; default 1 s */
    uint64_t ping_ns;    /* of an idle connection with tracking; default 250 ms */
    uint64_t failures;   /* in a row, that open a server's breaker; default 5 */
    uint64_t recover_ns; /* until the breaker's first probe; default 1 s */
};

/* Each may be NULL. They may begin and abandon operations, not free the vv_redis. */
struct vv_redis_events {
    /* A key that was read with VV_REDIS_TRACK has changed or gone; key.p NULL: all keys of `share` (FLUSHALL).
     * The text lives until it returns. */
    void (*invalidated)(void *user, uint64_t share, struct vv_str key);
    void (*lost)(void *user, uint64_t share);
    void *user;
};

VV_MUST_CHECK enum vv_err vv_redis_new(struct vv_loop *loop, const struct vv_redis_conf *conf,
                                       const struct vv_redis_events *events, struct vv_redis **ret);
/* Operations under way end with VV_ECLOSED; `lost` does not run. NULL is fine. */
void vv_redis_free(struct vv_redis *r);

enum vv_redis_flags {
    VV_REDIS_READ = 1, /* changes nothing: may be asked twice, and a replica may answer */
    /* Tell us when its keys change. Without READ: a write of `key`, watched from then on (five short
     * commands more); its item is shown as that of any other, an item's `done` apart. */
    VV_REDIS_TRACK = 2,
    VV_REDIS_MASTER = 4 /* with READ: not from a replica */
};

struct vv_redis_op {
    /* Items of the answer, as of redis_conn.h; redirections are followed and not shown. NULL: not wanted. */
    void (*item)(struct vv_redis_op *op, const struct vv_resp_item *it);
    /* Exactly once, last, and not within vv_redis_do(). op->share is the connection that answered. */
    void (*end)(struct vv_redis_op *op, enum vv_err err);
    struct vv_str key; /* says which server; p NULL: any (with a ring or cluster: any master) */
    const struct vv_str *args;
    size_t args_count;
    unsigned flags;
    uint64_t
        timeout_ns; /* 0: conf.call_ns. May be longer than hang_ns: a blocking command owes its answer
                            no sooner than that, so such an operation needs a vv_redis of its own. */
    /* Out, in `end`; 0: not tracked. Whoever keeps the answer later than in `end` looks before whether the
     * key was invalidated or the share lost meanwhile: neither is told twice. */
    uint64_t share;
    /* PRIVATE */
    struct vv_redis_call call;
    struct vv_timer timer;
    struct vv_list node;
    void *at; /* the server it was given to; NULL: none */
    void *to; /* where to ask next */
    struct vv_redis *redis;
    struct vv_breaker_permit permit;
    uint64_t began_ns, until_ns;
    uint8_t tries, hops, state, next, part;
    bool asking, bound, shown, bad, tracked, wrapped;
};

/* VV_OK: `end` will run. VV_EREFUSED, VV_ELIMIT, VV_ENOMEM: it will not. */
VV_MUST_CHECK enum vv_err vv_redis_do(struct vv_redis *r, struct vv_redis_op *op);
/* The answer is not wanted any more: neither item nor end will run. Nothing if it has ended. */
void vv_redis_abandon(struct vv_redis_op *op);
/* While the answer is a large value that cannot be taken in: as of redis_conn.h. */
void vv_redis_pause(struct vv_redis_op *op);
void vv_redis_resume(struct vv_redis_op *op);

/* The share a read of this key would get now; 0: no connection, or one without tracking. */
uint64_t vv_redis_share(struct vv_redis *r, struct vv_str key);
/* Would an operation on this key be tried now? False: its breaker is open. */
bool vv_redis_up(struct vv_redis *r, struct vv_str key, uint64_t now_ns);

struct vv_redis_stats { /* since the start; sums over servers */
    uint64_t ops, timeouts, refused, errors, redirects, refreshes, reconnects, invalidations;
    uint64_t bytes_in, bytes_out;
    uint32_t servers, connected, open_breakers;
};
void vv_redis_stats(const struct vv_redis *r, struct vv_redis_stats *ret);
/* One array value: an object for each known server (address, role, state, breaker, calls under way). */
void vv_redis_json(struct vv_redis *r, struct vv_json *j);
#endif
