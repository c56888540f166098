/* src/gateway/session.h - one client connection: reads requests, writes answers, keeps order.
 *
 * Model:     at most one exchange at a time; pipelined requests wait in the input buffer. Small
 *            answers of pipelined requests collect in `out` and leave in one write. While there is
 *            no request and no output the session holds no buffer.
 *            A tunnel (101) is an exchange whose body and answer are raw bytes until close.
 *            With TLS the same bytes pass through `tls`; see session_tls.c.
 * States:    PROXY (waits for a PROXY header) -> TLS (handshake) -> HEAD (idle or reading a head) -> EXCHANGE
 *            -> DISCARD (answered; the small rest of the request body is dropped) -> HEAD ...
 *            -> LINGER (answered, will close; reads what still comes) -> CLOSED.
 * Threads:   one worker.
 */
#ifndef VV_GATEWAY_SESSION_H
#define VV_GATEWAY_SESSION_H
#include "gateway/exchange.h"
#include "gateway/pace.h"

enum vv_session_state {
    VV_SESSION_PROXY,
    VV_SESSION_TLS,
    VV_SESSION_HEAD,
    VV_SESSION_H2, /* a connection of HTTP/2: see session_h2.h */
    VV_SESSION_EXCHANGE,
    VV_SESSION_DISCARD,
    VV_SESSION_LINGER,
    VV_SESSION_CLOSED
};
enum vv_session_wait { /* what the session's timer stands for */
                       VV_WAIT_HEAD,
                       VV_WAIT_QUIET, /* gives up what only a busy TLS connection needs */
                       VV_WAIT_KEEPALIVE,
                       VV_WAIT_TAKE,     /* idle, but it has not taken all of its answers */
                       VV_WAIT_EXCHANGE, /* body, send or whole: see on_timer */
                       VV_WAIT_LINGER
};

struct vv_client;

struct vv_request_body { /* what is left of it, and how to read it */
    enum vv_h1_framing framing;
    uint64_t left; /* LENGTH */
    struct vv_h1_chunked chunked;
    uint64_t bytes; /* data handed out so far */
    bool done;
};

struct vv_h2_stream;
struct vv_session_h2;
struct vv_tls;
struct vv_tls_job;

struct vv_session {
    struct vv_io io;
    struct vv_worker *w;
    struct vv_listener *listener;
    struct vv_exchange *x;
    struct vv_session_h2 *h2;    /* a connection of HTTP/2 */
    struct vv_session *conn;     /* this is a stream of it */
    struct vv_h2_stream *stream; /* NULL: closed */
    struct vv_tls *tls;          /* NULL: plain */
    struct vv_tls_job *tls_job;  /* a handshake is worked on by a pool thread: hands off */
    struct vv_buf *in;           /* the head stays in front while its exchange lives */
    struct vv_buf *more;         /* a body that did not fit behind its head is read here */
    uint32_t at;                 /* next unread byte, in `more` or else in `in` */
    struct vv_request_body body; /* of the present request; outlives its exchange when discarded */
    uint8_t state, wait;
    bool readable, hup, rdhup, eof; /* what epoll said; eof: read() returned 0 */
    bool busy;                      /* the request loop is running further up the stack */
    bool blocked;                   /* out did not leave completely: waiting for VV_IO_WRITE */
    bool registered;
    bool trusted;                                      /* the peer is a trusted proxy */
    bool secure;                                       /* the connection is encrypted */
    bool close_after;                                  /* no further request on this connection */
    bool input_ended, output_ended, answered, was_cut; /* of a stream */
    bool upgrades;                                     /* a stream for WebSocket (RFC 8441) */
    bool hard;      /* it must not look complete when it is closed */
    bool detached;  /* no client: a fetch for the cache; output is dropped, nothing is recorded */
    bool to_sink;   /* no client either: output goes to the exchange's sink (sink.h) */
    bool sink_told; /* of the final head */
    uint8_t why;    /* detached: 1 + enum vv_fetch_why; 0: the rest of a client's fetch */
    uint8_t client_ip_bytes;
    char client_ip[47];
    size_t scan;              /* of the head that is being received */
    size_t head_seen;         /* bytes of it the parser has had */
    uint64_t linger_until_ns; /* or until when an idle connection is kept */
    uint64_t send_mark;       /* out.sent when the send deadline was set: progress moves it */
    uint64_t body_wait_ns, send_wait_ns; /* deadlines inside an exchange; 0: none */
    uint64_t send_stall_ns;              /* what send_wait_ns is if the client takes enough */
    uint64_t taken;                      /* by the client, when last looked */
    struct vv_pace body_pace, send_pace;
    struct vv_client *client; /* its address; NULL: not counted */
    uint64_t requests;
    uint64_t head_began_ns;
    struct vv_buf *more_tail; /* of a stream: `more` is a chain */
    size_t handed, discarded; /* of a stream: bytes of body lent out, not wanted */
    unsigned given;           /* of a stream: pieces of the batch that the codec has */
    bool large;               /* of a stream: it holds one of the large blocks of its connection */
    uint32_t head_bytes;      /* of a stream: of the head in the batch; UINT32_MAX: of several */
    uint32_t resent;          /* segments, as of the last look (tcp_watch.h) */
    struct vv_timer timer;
    struct vv_defer again; /* go on next turn: fairness */
    struct vv_list node;
    struct vv_corpse corpse;
    struct vv_addr peer;
    struct vv_out out;
};

/* A head was written in place into what vv_out_reserve() gave. */
static inline void vv_session_commit_head(struct vv_session *s, size_t bytes)
{
    vv_out_commit(&s->out, bytes);
    if (s->conn != NULL) {
        s->head_bytes = s->head_bytes == 0 ? (uint32_t)bytes : UINT32_MAX;
    }
}

static inline bool vv_session_has_client(const struct vv_session *s)
{
    return !s->detached && !s->to_sink;
}

/* Takes the descriptor and the client (NULL: not counted). */
void vv_session_open(struct vv_listener *l, int fd, const struct vv_addr *peer,
                     struct vv_client *client);
/* An exchange of this session has ended (s->x is NULL); cut: nothing more may be sent. */
void vv_session_exchange_ended(struct vv_session *s, bool close_after, bool cut);
void vv_session_close(struct vv_session *s);
/* The close that follows will be a reset: what was sent is not to be taken for complete. */
void vv_session_close_hard(struct vv_session *s);
/* Ends an idle session at once, a busy one after its exchange (drain, stopped listener). */
void vv_session_retire(struct vv_session *s);
/* Writes what is in `out`. VV_EAGAIN: blocked, goes on by itself. */
enum vv_err vv_session_flush(struct vv_session *s);
/* May the connection be kept although some of the request body was not read? */
bool vv_session_can_discard(const struct vv_session *s);
/* The connection's TLS, also of a stream; NULL: plain. */
static inline struct vv_tls *vv_session_tls(const struct vv_session *s)
{
    return s->conn != NULL ? s->conn->tls : s->tls;
}
/* The head of its request as HTTP/1 text, in the arena. VV_ENOMEM. */
VV_MUST_CHECK enum vv_err vv_session_head_text(struct vv_exchange *x, struct vv_str *ret);
/* Sets the timer to the nearest of the exchange's deadlines. */
void vv_session_arm(struct vv_session *s);
#endif
