/* src/load/client.h - one HTTP/1.1 connection of a user, plain or over TLS: send a request whole, read its answer.
 *
 * Model:     one request at a time. All connections of a thread share one read buffer and one parsed
 *            head; an answer that arrives in one piece, as most do, is judged right there. Only an
 *            unfinished one is kept with its connection, so an idle connection costs its socket and
 *            this struct.
 *            A TLS connection goes through the handshake before its first request; the last session of
 *            a name is resumed by the next connection to it. Without a length an answer is complete
 *            only when the other side says so by close_notify (RFC 9112 section 9.8).
 * Source:    RFC 9112 by wire/http1; TLS by os/tls.
 * Units:     ns of the loop's clock. sent_ns is read just before the bytes go out; an answer's end
 *            is the loop's time of the turn that found it ready, or read anew when it took several
 *            reads. bytes_in and bytes_out are those of HTTP, also inside of TLS.
 * Threads:   all of one client and its connections belong to the thread of the loop.
 * Ownership: request bytes are borrowed until the answer; an answer is valid inside `done` only.
 * Errors:    short stable names as users of Node tools know them: "ECONNREFUSED", "ECONNRESET",
 *            "ETIMEDOUT", "EPIPE", "EPROTO", "EMFILE", "EADDRNOTAVAIL", "ENOMEM", "EIO" ..., and "tls": no agreement, or
 *            a certificate that was not accepted; the first reason of all is kept as a text.
 */
#ifndef VV_LOAD_CLIENT_H
#define VV_LOAD_CLIENT_H
#include "base/list.h"
#include "os/loop.h"
#include "os/sock.h"
#include "os/tls.h"
#include "wire/http1.h"

#define VV_LOAD_BODY_MAX VV_MIB /* of a wanted body; what comes after it is counted and dropped */

struct vv_load_bytes { /* a buffer that grows; PRIVATE */
    char *p;
    size_t n, cap;
};

struct vv_load_client { /* of one thread; fields are PRIVATE but for the counters */
    struct vv_loop *loop;
    char *buf;
    struct vv_h1_head *head;
    struct vv_load_bytes ended; /* what held the answer in hand while `done` runs */
    uint64_t bytes_in, bytes_out, connections;
    struct vv_tls_context *tls; /* NULL: until vv_load_client_trust() */
    struct vv_tls_stats tls_stats;
    char tls_error[VV_TLS_ERROR_TEXT]; /* why TLS failed for the first time; "": it did not */
    uint8_t made;                      /* connections initialised, modulo the sessions of a name */
};

struct vv_load_trust {   /* in whom, when a target is https */
    const char *ca_file; /* PEM; NULL: the certificates of the system */
    bool insecure;       /* take any certificate */
};

struct vv_load_ask {
    struct vv_str bytes;
    enum vv_method method;
    bool wants_body;
};

struct vv_load_answer {
    const char *error; /* NULL: there is an answer */
    const struct vv_h1_head *head;
    struct vv_str body; /* empty unless wanted */
    uint64_t sent_ns, first_byte_ns, end_ns;
    uint64_t tls_connect_ns; /* connecting and handshake, when this request opened it; 0: neither */
    bool reusable;           /* the connection may carry another request */
};

struct vv_load_conn;
/* Ends every request that vv_load_conn_send() accepted. May send, close, or free the connection. */
typedef void vv_load_done_fn(struct vv_load_conn *conn, const struct vv_load_answer *answer);
/* The other side ended an idle connection: it is closed already. May free it. */
typedef void vv_load_gone_fn(struct vv_load_conn *conn);

struct vv_load_conn { /* PRIVATE but for node and owner, which are the owner's */
    struct vv_io io;
    uint8_t state;
    bool wants_body, reusable, peer_ended, used, at_once;
    uint8_t method, number;
    struct vv_load_client *client;
    struct vv_tls *tls; /* NULL: plain */
    vv_load_done_fn *done;
    vv_load_gone_fn *gone;
    struct vv_str out; /* what is still to be written */
    uint64_t sent_ns, first_byte_ns;
    uint64_t opened_ns, tls_connect_ns; /* of TLS only */
    uint64_t left;                      /* of a body with a length */
    size_t head_bytes, scan;
    struct vv_load_bytes kept; /* an unfinished head, or head and wanted body */
    struct vv_h1_chunked chunked;
    struct vv_list node;
    void *owner;
};

VV_MUST_CHECK enum vv_err vv_load_client_init(struct vv_load_client *c, struct vv_loop *loop);
void vv_load_client_fini(struct vv_load_client *c);
/* Before the first TLS connection; reads the trusted certificates (milliseconds). Does nothing when that
 * was done. tls_error says what is wrong. */
VV_MUST_CHECK enum vv_err vv_load_client_trust(struct vv_load_client *c,
                                               const struct vv_load_trust *trust);

void vv_load_conn_init(struct vv_load_conn *conn, struct vv_load_client *client,
                       vv_load_done_fn *done, vv_load_gone_fn *gone);
/* Starts to connect; requests may be sent at once and go out when it is done. NULL or an error. */
VV_MUST_CHECK const char *vv_load_conn_open(struct vv_load_conn *conn, const struct vv_addr *to);
/* The same over TLS. `name` is whom we expect: a DNS name or an address; the port is that of the URL. */
VV_MUST_CHECK const char *vv_load_conn_open_tls(struct vv_load_conn *conn, const struct vv_addr *to,
                                                const char *name, uint16_t port);
/* The connection is open and idle, or was just opened. NULL: `done` will be called, not from inside
 * this call. Otherwise the error; the connection is closed then. */
VV_MUST_CHECK const char *vv_load_conn_send(struct vv_load_conn *conn,
                                            const struct vv_load_ask *ask);
bool vv_load_conn_is_open(const struct vv_load_conn *conn);
/* An idle connection will stay so for a while: gives back memory that only TLS at work needs. */
void vv_load_conn_rest(struct vv_load_conn *conn);
/* Gives up what is in flight without calling `done`. Harmless when closed. */
void vv_load_conn_close(struct vv_load_conn *conn);
#endif
