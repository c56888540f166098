/* src/store/redis_int.h - what redis.c and the topologies (single, ring, Sentinel, cluster) share.
 * Inside src/store only.
 *
 * Who does what:
 *   redis.c          owns struct vv_redis and the way of an operation: begin, wait, deadline, limits,
 *                    repeat a READ once, abandon, end. It asks the topology who serves an operation, and what
 *                    to do with an answer that is an error about the server or the place of the key.
 *   redis_server.c   owns struct vv_redis_server: name to address (os/dns.h, kept until a connection to it
 *                    failed), opening, set-up (name, tracking, READONLY, ROLE), growing pauses, breaker,
 *                    pings, invalidations, share.
 *   redis_single.c,  one server; several by a ring of points.
 *   redis_ring.c
 *   redis_sentinel.c, redis_cluster.c: make and forget servers, ask them on their own (vv_redis_do_at), keep
 *                    their timers and their state (r->topo).
 * Callbacks of a topology run on the loop's thread, some from within callbacks of a connection: they may
 * begin operations, make servers and forget any server, also the one they are called about (it is
 * freed at the end of the turn), but call no conn_free.
 * Limits: VV_REDIS_SERVERS_MAX servers, VV_REDIS_WAITING_MAX operations that wait, VV_REDIS_HOPS_MAX
 * redirections of one operation.
 */
#ifndef VV_STORE_REDIS_INT_H
#define VV_STORE_REDIS_INT_H
#include "base/rng.h"
#include "guard/breaker.h"
#include "os/dns.h"
#include "os/tls_context.h"
#include "store/redis.h"

#define VV_REDIS_SERVERS_MAX 256
#define VV_REDIS_WAITING_MAX 16384
#define VV_REDIS_HOPS_MAX 5

enum vv_redis_role { /* what the topology believes, or the server said */
                     VV_REDIS_ROLE_UNKNOWN,
                     VV_REDIS_ROLE_MASTER,
                     VV_REDIS_ROLE_REPLICA,
                     VV_REDIS_ROLE_SENTINEL
};

enum vv_redis_server_state {
    VV_REDIS_SERVER_IDLE,       /* never asked yet: opens with the first operation */
    VV_REDIS_SERVER_OPENING,    /* name, socket, greeting, set-up: operations wait */
    VV_REDIS_SERVER_READY,      /* operations go out */
    VV_REDIS_SERVER_PAUSING,    /* the last try failed: operations are refused until the next one */
    VV_REDIS_SERVER_STATE_COUNT /* keep last */
};

struct vv_redis_server {
    struct vv_redis *redis;
    struct vv_list node;          /* in redis->servers */
    void *user;                   /* the topology's own */
    char host[256];               /* name, address without brackets, or path of a socket */
    uint16_t port;                /* 0 with a path */
    enum vv_redis_role role;      /* may be written by the topology at any time */
    enum vv_redis_role said_role; /* by ROLE, where the topology has it asked; else UNKNOWN */
    bool readonly_mode; /* say READONLY at set-up (replicas of a cluster); set before it opens */
    /* Below: of redis_server.c; to be read by others. */
    enum vv_redis_server_state state;
    uint64_t share; /* 0: no tracking now */
    struct vv_redis_conn *conn;
    struct vv_breaker *breaker;
    struct vv_addr addr;
    bool addr_known, addr_fixed; /* fixed: the host is an address or a path */
    bool resolving, gone, tracking, ping_out;
    bool lost_told;     /* of the pause that is on */
    bool hopeless;      /* the last try failed: operations are refused while the next one runs */
    uint8_t push;       /* where in a push we are */
    unsigned tries;     /* so that a name's addresses have their turns */
    uint64_t ping_ns;   /* when the ping that is out left */
    uint64_t paused_ns; /* since when a consumer has it paused; 0: it reads */
    struct vv_redis_op *paused_by;
    struct vv_dns_query query;
    struct vv_timer timer;   /* the next try; READY: the next ping */
    struct vv_defer work;    /* opens */
    struct vv_list waiting;  /* operations, first come first */
    struct vv_list sent;     /* operations without order */
    uint64_t pause_ns;       /* the next pause between tries */
    uint64_t ready_since_ns; /* 0: not READY */
    unsigned setups;         /* answers of the set-up that are still to come */
    enum vv_err failure;     /* why it is not READY; VV_OK: it is, or nothing was tried */
    struct vv_redis_call setup[4];
    struct vv_redis_call ping, caching, asking;
    struct vv_redis_call multi,
        queued;        /* of a write that is watched from then on: see send_watched() */
    char refused[160]; /* what was said against one of the commands between them */
    uint64_t echo_hash, echo_place; /* the one invalidation that our own write causes */
    bool echo;
    char *key; /* of an invalidation that came in pieces */
    size_t key_n, key_room;
    bool key_cut; /* it is too long: taken for all keys */
};

/* What to do with an operation whose answer is an error (and nothing of it was shown). */
enum vv_redis_next {
    VV_REDIS_SHOW,  /* it is the answer: hand it to the caller */
    VV_REDIS_AT,    /* ask *to instead; with *asking say ASKING before */
    VV_REDIS_AGAIN, /* ask whoever pick() names now */
    VV_REDIS_WAIT,  /* keep it until vv_redis_go_on(), within its deadline */
    VV_REDIS_REFUSE /* VV_EREFUSED; what was answered is no fault of this server */
};

struct vv_redis_topology {
    const char *name; /* "cluster" */
    bool asks_role;   /* ROLE at set-up of servers that are no sentinels: see ready() */
    /* r->conf is there. Makes the first servers; connections open when first asked. */
    enum vv_err (*start)(struct vv_redis *r);
    /* Frees r->topo. Servers are freed by redis.c. Runs even when start() failed. */
    void (*stop)(struct vv_redis *r);
    /* Who serves it: by op->key, op->flags. VV_OK: *ret; VV_EAGAIN: not known yet, keep it until
     * vv_redis_go_on() (the topology has begun to find out); VV_EREFUSED: nobody. It should pass over servers
     * that !vv_redis_server_up() where another will do. Also called with an operation that is not begun, to
     * learn a share, so it changes nothing but turns. */
    enum vv_err (*pick)(struct vv_redis *r, const struct vv_redis_op *op,
                        struct vv_redis_server **ret);
    /* An answer of `s` that is an error of blame SERVER or ELSEWHERE. NULL: shown. */
    enum vv_redis_next (*surprised)(struct vv_redis *r, struct vv_redis_op *op,
                                    struct vv_redis_server *s, struct vv_str text,
                                    struct vv_redis_server **to, bool *asking);
    /* The connection is set up, before operations go out. False: not the one we want (s->said_role):
     * it is closed and tried again after a pause. NULL: true. */
    bool (*ready)(struct vv_redis *r, struct vv_redis_server *s);
    /* A try failed or the connection broke; operations that wait for it are not placed anew yet. NULL. */
    void (*lost)(struct vv_redis *r, struct vv_redis_server *s, enum vv_err why);
    /* Items of pushes on connections without tracking (sentinels). NULL. */
    void (*push)(struct vv_redis *r, struct vv_redis_server *s, const struct vv_resp_item *it);
};
extern const struct vv_redis_topology vv_redis_single,
    vv_redis_ring; /* redis_single.c, redis_ring.c */
extern const struct vv_redis_topology vv_redis_sentinel,
    vv_redis_cluster; /* the topologies' files */

struct vv_redis {
    struct vv_loop *loop;
    struct vv_redis_conf conf; /* copied, defaults filled in */
    struct vv_redis_events events;
    const struct vv_redis_topology *topology;
    void *topo;             /* the topology's state */
    struct vv_list servers; /* in the order they were made; `gone` ones among them */
    size_t servers_count;   /* without the gone ones */
    struct vv_list waiting; /* operations that wait to learn who serves them */
    size_t waiting_count;   /* here and at servers */
    struct vv_dns *dns;     /* NULL until a name is asked for */
    struct vv_tls_context *tls;
    struct vv_rng rng;
    struct vv_redis_stats stats; /* topologies count refreshes; the rest is redis.c's */
    struct vv_defer reap;        /* frees servers that are gone */
    char *texts[6];              /* of conf */
    bool freeing;
};

/* ---- for topologies (redis_server.c, redis.c) */

/* A server by name or address and port; the one that is known already, else a new one that opens with its
 * first operation. With a unix socket: the path, port 0. VV_ELIMIT, VV_ENOMEM. */
VV_MUST_CHECK enum vv_err vv_redis_server_at(struct vv_redis *r, struct vv_str host, uint16_t port,
                                             enum vv_redis_role role, struct vv_redis_server **ret);
/* It serves nobody any more: what it owes is ended or repeated, `lost` of its share is told, and it is freed
 * at the end of the turn. */
void vv_redis_server_forget(struct vv_redis_server *s);
void vv_redis_server_open(struct vv_redis_server *s); /* now, without an operation; harmless */
/* Closes and opens anew, name looked up again: a master that is none any more. */
void vv_redis_server_reopen(struct vv_redis_server *s);
/* What was read over its connection is not watched there any more (its slots have gone): `lost` is told,
 * and what is read from now on belongs to another share. The connection stays. */
void vv_redis_server_renew_share(struct vv_redis_server *s);
/* Would an operation be tried: it is not pausing and its breaker is not open. */
/* An operation timed out: was the server silent all the time? Then its breaker opens. */
void vv_redis_server_silent(struct vv_redis_server *s);
bool vv_redis_server_up(const struct vv_redis_server *s, uint64_t now_ns);

/* As vv_redis_do(), of this server, whatever pick() says; never redirected, never repeated: every
 * error of a server is shown. */
VV_MUST_CHECK enum vv_err vv_redis_do_at(struct vv_redis_server *s, struct vv_redis_op *op);
/* A command that is answered by pushes only (SUBSCRIBE in version 3), on a READY connection; an error in
 * answer costs the connection. VV_EAGAIN: not READY. */
VV_MUST_CHECK enum vv_err vv_redis_server_subscribe(struct vv_redis_server *s,
                                                    const struct vv_str *args, size_t args_count);
/* Operations that wait to learn who serves them are picked for again. Not from within pick(). */
void vv_redis_go_on(struct vv_redis *r);

/* ---- between redis.c and redis_server.c */
void vv_redis_server_free(struct vv_redis_server *s);
/* Operations that waited for `s`: sent when it is READY, otherwise placed anew. */
void vv_redis_ops_flush(struct vv_redis_server *s);
void vv_redis_reap(struct vv_loop *loop, struct vv_defer *d);
#endif
