/* src/store/redis_conn.h - one connection to one Redis server: commands go in, answers come back
 * in order, none of them later than its deadline.
 *
 * Model:     CLOSED -> CONNECTING -> GREETING -> READY -> CLOSED. Connecting ends with the socket or,
 *            with TLS, with its handshake. Greeting is HELLO 3 with name and
 *            password, or AUTH where the server speaks version 2 only, then SELECT. Only a READY
 *            connection takes calls. Calls of one turn of the loop leave together. An answer is
 *            handed out item by item as it arrives; a large value passes as runs and is never
 *            kept. A call whose answer has not begun by its deadline ends with VV_ETIMEOUT; the
 *            connection stays, and the answer is dropped when it comes. A server that owes answers
 *            and for hang_ns has neither sent anything nor taken what is stuck loses the connection.
 *            The connection does not come back by itself: when to open it again, and whether to
 *            ask at all meanwhile, is for whoever owns several of them to decide.
 * Source:    Redis serialization protocol specification; HELLO, AUTH and SELECT in the reference
 *            of commands.
 * Units:     *_ns are durations in nanoseconds, *_max bytes or calls.
 * Threads:   all calls belong to the loop's thread.
 * Ownership: _new/_free. Calls are the caller's, from vv_redis_conn_call() until `end` has run.
 *            Arguments are not needed after vv_redis_conn_call() returned.
 * Callbacks: may make and abandon calls, pause, resume and close; only `closed` may open; none may
 *            free the connection (vv_loop_defer() may).
 * Errors:    of a call, besides those of the connection: VV_ETIMEOUT. Of a connection: VV_EREFUSED
 *            and others of the socket; VV_ETIMEOUT: no connection within connect_ns, or hung;
 *            VV_ECLOSED; VV_EACCES: name, password or rights, or the server's certificate; VV_EAGAIN: the server is loading;
 *            VV_EIO: the greeting was refused otherwise; VV_ESYNTAX, VV_ELIMIT, VV_EUNSUPPORTED:
 *            what came is not the protocol (wire/resp.h). An error that the server answers to a
 *            command is an answer: VV_OK with an item of type ERROR.
 */
#ifndef VV_STORE_REDIS_CONN_H
#define VV_STORE_REDIS_CONN_H
#include "os/loop.h"
#include "os/sock.h"
#include "os/tls_context.h"
#include "wire/resp.h"

struct vv_redis_conn;
struct vv_redis_call;

enum vv_redis_conn_state {
    VV_REDIS_CLOSED,
    VV_REDIS_CONNECTING,
    VV_REDIS_GREETING,
    VV_REDIS_READY
};

struct vv_redis_conn_conf { /* copied with its texts; 0 and empty: the default */
    struct vv_addr addr;
    struct vv_str user, password; /* no password: no AUTH. No user: "default" */
    uint32_t db;
    struct vv_tls_context *tls; /* counted; NULL: no TLS */
    struct vv_str tls_name;     /* whom the certificate must name */
    bool version2;              /* do not ask for version 3: there are no pushes then */
    uint64_t connect_ns;        /* until READY; default 500 ms */
    uint64_t call_ns;           /* until an answer begins; default 50 ms */
    uint64_t hang_ns;           /* default 1 s */
    uint32_t calls_max;         /* under way at once, dropped ones included; default 1,024 */
    size_t out_max;             /* bytes that wait for the socket; default 1 MiB */
    struct vv_resp_limits limits;
};

/* Each may be NULL. */
struct vv_redis_conn_events {
    void (*ready)(void *user);
    void (*closed)(void *user, enum vv_err why); /* every call has ended before */
    void (*push)(void *user, const struct vv_resp_item *it);
    void *user;
};

struct vv_redis_call {
    /* Each item of the answer; NULL: not wanted. Texts live until it returns. */
    void (*item)(struct vv_redis_call *call, const struct vv_resp_item *it);
    /* Exactly once, last; the call may be freed or used again in it. */
    void (*end)(struct vv_redis_call *call, enum vv_err err);
    uint64_t timeout_ns; /* 0: the connection's */
    /* PRIVATE */
    struct vv_timer timer;
    struct vv_redis_conn *conn;
    uint64_t place;
    bool under_way;
};

VV_MUST_CHECK enum vv_err vv_redis_conn_new(struct vv_loop *loop,
                                            const struct vv_redis_conn_conf *conf,
                                            const struct vv_redis_conn_events *events,
                                            struct vv_redis_conn **ret);
/* Calls under way end with VV_ECLOSED; `closed` does not run. NULL is fine. */
void vv_redis_conn_free(struct vv_redis_conn *c);

/* Where vv_redis_conn_open() goes from now on: a name may have moved. Of a CLOSED connection. */
void vv_redis_conn_address(struct vv_redis_conn *c, const struct vv_addr *addr);
/* VV_OK: on its way, `ready` or `closed` will run. VV_EEXIST: it is open. Others: as for sockets. */
VV_MUST_CHECK enum vv_err vv_redis_conn_open(struct vv_redis_conn *c);
void vv_redis_conn_close(struct vv_redis_conn *c); /* VV_ECLOSED; nothing when it is closed */

/* VV_OK: `end` will run, not within this call. VV_EAGAIN: not READY. VV_ELIMIT: too many calls or
 * bytes wait (a command of any size is taken when none do; one with more than 30 long values is
 * copied). VV_ENOMEM. */
VV_MUST_CHECK enum vv_err vv_redis_conn_call(struct vv_redis_conn *c, struct vv_redis_call *call,
                                             const struct vv_str *args, size_t args_count);
/* A command that goes before another one in the same write. `call` has no deadline and may be under way
 * several times at once; its item and end (which may be NULL) run for each. It is not abandoned. */
VV_MUST_CHECK enum vv_err vv_redis_conn_call_shared(struct vv_redis_conn *c,
                                                    struct vv_redis_call *call,
                                                    const struct vv_str *args, size_t args_count);
/* A command that only pushes answer: SUBSCRIBE in version 3. An error in answer closes. */
VV_MUST_CHECK enum vv_err vv_redis_conn_call_pushed(struct vv_redis_conn *c,
                                                    const struct vv_str *args, size_t args_count);
/* The answer is not wanted any more: neither item nor end will run. */
void vv_redis_call_abandon(struct vv_redis_call *call);

/* Stops reading, for a consumer that cannot take more of a large value; answers to other calls wait
 * behind it, so a value that takes long needs a connection of its own. */
void vv_redis_conn_pause(struct vv_redis_conn *c);
void vv_redis_conn_resume(struct vv_redis_conn *c);

enum vv_redis_conn_state vv_redis_conn_state(const struct vv_redis_conn *c);
unsigned vv_redis_conn_version(const struct vv_redis_conn *c);  /* 2 or 3, once READY */
uint32_t vv_redis_conn_calls(const struct vv_redis_conn *c);    /* under way, dropped ones too */
uint64_t vv_redis_conn_heard_ns(const struct vv_redis_conn *c); /* when bytes came or went last */
/* What the server, or TLS, said when the greeting was refused, cut; "" when it was not. */
const char *vv_redis_conn_refusal(const struct vv_redis_conn *c);

struct vv_redis_conn_stats {
    uint64_t calls, timeouts, dropped; /* dropped: answers that came after the deadline */
    uint64_t pushes, bytes_in, bytes_out, writes;
};
const struct vv_redis_conn_stats *vv_redis_conn_stats(const struct vv_redis_conn *c);
#endif
