/* src/gateway/session_h2_int.h - what the two halves of HTTP/2 share: session_h2.c has connections,
 * session_stream.c streams. Never included elsewhere. */
#ifndef VV_GATEWAY_SESSION_H2_INT_H
#define VV_GATEWAY_SESSION_H2_INT_H
#include "gateway/session_h2.h"
#include "wire/http2.h"

struct vv_session_h2 { /* a connection */
    struct vv_session *s;
    struct vv_h2 *codec;
    struct vv_buf *stage; /* short frames of the batch that is being written */
    unsigned at;          /* first slice that is not in the session's batch yet */
    uint32_t streams;     /* open */
    unsigned large;       /* parts of files of VV_BUF_LARGE that streams hold */
    struct vv_list open;  /* their sessions */
    bool inside; /* the codec is at work further up the stack: it will be asked for output */
    bool woken;  /* and there is new output meanwhile */
    bool said_goodbye;
    bool failed; /* it is told so, and nothing more is read */
    bool asked;  /* by PING, whether a client that ended its side still listens */
    uint64_t draining_until_ns, idle_since_ns, quiet_at_ns; /* 0: not so */
    struct vv_defer wake;
    struct vv_corpse corpse;
    struct vv_h2_gather gather;
};

extern const struct vv_h2_events vv_session_h2_events;
/* Output is to be asked for at the end of the turn. */
void vv_session_h2_wake(struct vv_session *conn);
/* Writes until the codec has nothing more or the client takes nothing more. */
void vv_session_h2_flush_all(struct vv_session *conn);
/* The client says nothing more and what could be sent has left: streams that need another word of it, or
 * a window, will never end. */
void vv_session_streams_give_up(struct vv_session *conn);
/* Sets the connection's timer. */
void vv_session_h2_rest(struct vv_session *conn);
#endif
