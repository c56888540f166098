/* src/load/client.h - one HTTP/1.1 connection of a user: send a request whole, read its answer.
 *
 * Model:     one request at a time. All connections of a thread share one read buffer and one parsed
 *            head; an answer that arrives in one piece, as most do, is judged right there. Only an
 *            unfinished one is kept with its connection, so an idle connection costs its socket and
 *            this struct.
 * Source:    RFC 9112 by wire/http1.
 * Units:     ns of the loop's clock. sent_ns is read just before the bytes go out; an answer's end
 *            is the loop's time of the turn that found it ready, or read anew when it took several
 *            reads.
 * Threads:   all of one client and its connections belong to the thread of the loop.
 * Ownership: request bytes are borrowed until the answer; an answer is valid inside `done` only.
 * Errors:    short stable names as users of Node tools know them: "ECONNREFUSED", "ECONNRESET",
 *            "ETIMEDOUT", "EPIPE", "EPROTO", "EMFILE", "EADDRNOTAVAIL", "ENOMEM", "EIO" ...
 */
#ifndef VV_LOAD_CLIENT_H
#define VV_LOAD_CLIENT_H
#include "base/list.h"
#include "os/loop.h"
#include "os/sock.h"
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
    bool reusable; /* the connection may carry another request */
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
    uint8_t method;
    struct vv_load_client *client;
    vv_load_done_fn *done;
    vv_load_gone_fn *gone;
    struct vv_str out; /* what is still to be written */
    uint64_t sent_ns, first_byte_ns;
    uint64_t left; /* of a body with a length */
    size_t head_bytes, scan;
    struct vv_load_bytes kept; /* an unfinished head, or head and wanted body */
    struct vv_h1_chunked chunked;
    struct vv_list node;
    void *owner;
};

VV_MUST_CHECK enum vv_err vv_load_client_init(struct vv_load_client *c, struct vv_loop *loop);
void vv_load_client_fini(struct vv_load_client *c);

void vv_load_conn_init(struct vv_load_conn *conn, struct vv_load_client *client,
                       vv_load_done_fn *done, vv_load_gone_fn *gone);
/* Starts to connect; requests may be sent at once and go out when it is done. NULL or an error. */
VV_MUST_CHECK const char *vv_load_conn_open(struct vv_load_conn *conn, const struct vv_addr *to);
/* The connection is open and idle, or was just opened. NULL: `done` will be called, not from inside
 * this call. Otherwise the error; the connection is closed then. */
VV_MUST_CHECK const char *vv_load_conn_send(struct vv_load_conn *conn,
                                            const struct vv_load_ask *ask);
bool vv_load_conn_is_open(const struct vv_load_conn *conn);
/* Gives up what is in flight without calling `done`. Harmless when closed. */
void vv_load_conn_close(struct vv_load_conn *conn);
#endif
