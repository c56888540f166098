/* src/store/redis_conn_int.h - what the files of a connection share: its struct, its way out, its
 * greeting. Inside src/store only.
 */
#ifndef VV_STORE_REDIS_CONN_INT_H
#define VV_STORE_REDIS_CONN_INT_H
#include "os/tls.h"
#include "store/redis_conn.h"

#define VV_REDIS_IN_ROOM 65536
#define VV_REDIS_REFUSAL 128

struct vv_redis_conn {
    struct vv_loop *loop;
    struct vv_redis_conn_conf conf;
    struct vv_redis_conn_events events;
    struct vv_io io;
    struct vv_timer watch; /* the end of connecting and greeting; later, of patience */
    struct vv_defer work;  /* what is left to the end of the turn: writing, reading on */
    struct vv_resp_reader reader;
    enum vv_redis_conn_state state;
    uint64_t opened; /* how often: whoever calls back sees that it is another connection now */
    uint64_t heard_ns;
    bool readable, writable, paused, pumping;
    bool together; /* what is added belongs to what was added before: out_max does not part them */
    struct vv_tls *tls; /* NULL: none, or not connected yet */
    char *tls_name;

    /* Calls by place: ring[place & mask]. NULL: its answer is dropped. Grows to calls_max. */
    struct vv_redis_call **ring;
    uint64_t head, tail, mask;

    char *in;
    size_t in_at, in_n;
    char *out; /* from out_at to out_n waits for the socket */
    size_t out_at, out_n, out_room;

    struct vv_redis_call greet[3];
    unsigned version, greets; /* greets: answers that are still to come */
    bool refused, loading;    /* one of them was an error */
    char refusal[VV_REDIS_REFUSAL];
    char *user, *password;
    struct vv_redis_conn_stats stats;
};

/* As vv_redis_conn_call(), in any state but CLOSED. */
VV_MUST_CHECK enum vv_err vv_redis_conn_put(struct vv_redis_conn *c, struct vv_redis_call *call,
                                            const struct vv_str *args, size_t args_count);
/* As vv_redis_conn_call_shared(), of one command in the words of the protocol. */
VV_MUST_CHECK enum vv_err vv_redis_conn_call_ready_made(struct vv_redis_conn *c,
                                                        struct vv_redis_call *call,
                                                        struct vv_str bytes);
void vv_redis_conn_fail(struct vv_redis_conn *c, enum vv_err why);

/* redis_io.c: the socket, or TLS on it. */
VV_MUST_CHECK enum vv_err vv_redis_io_open(struct vv_redis_conn *c);
void vv_redis_io_close(struct vv_redis_conn *c);
/* The socket is there: VV_OK when nothing is left to do before the greeting, VV_EAGAIN: events. */
VV_MUST_CHECK enum vv_err vv_redis_io_shake(struct vv_redis_conn *c);
VV_MUST_CHECK enum vv_err vv_redis_io_read(struct vv_redis_conn *c, char *to, size_t room,
                                           size_t *ret_bytes);
/* VV_OK: *ret_bytes > 0 were taken. VV_EAGAIN: not writable any more. */
VV_MUST_CHECK enum vv_err vv_redis_io_write(struct vv_redis_conn *c, struct iovec *iov,
                                            size_t count, size_t *ret_bytes);
VV_MUST_CHECK enum vv_err vv_redis_io_flush(struct vv_redis_conn *c); /* what TLS kept */

/* redis_out.c */
VV_MUST_CHECK enum vv_err vv_redis_out_add(struct vv_redis_conn *c, const struct vv_str *args,
                                           size_t args_count);
VV_MUST_CHECK enum vv_err vv_redis_out_bytes(struct vv_redis_conn *c, struct vv_str bytes);
void vv_redis_out_break(struct vv_redis_conn *c); /* nothing can follow; the loss shows soon */
VV_MUST_CHECK enum vv_err vv_redis_out_flush(struct vv_redis_conn *c); /* VV_EAGAIN: not all */

/* redis_greet.c: begins when the socket is connected; ends in READY or in failure. */
VV_MUST_CHECK enum vv_err vv_redis_greet(struct vv_redis_conn *c);
void vv_redis_conn_ready(struct vv_redis_conn *c);
#endif
