/* src/admin/http.h - the small HTTP/1.1 server of the admin API, on the control loop.
 *
 * Model:     at most VV_ADMIN_CONNECTIONS connections, one request at a time each, kept alive. A
 *            handler fills in status, type and body and answers at once (VV_OK), or keeps the
 *            exchange and answers later with vv_admin_finish() (VV_EAGAIN), or starts a stream.
 *            Everything is bounded: head 32 KiB, body 1 MiB, unsent stream bytes 1 MiB.
 * Source:    RFC 9112 through wire/http1.h.
 * Threads:   the control thread. Ownership: the server owns connections and exchanges; an exchange
 *            that was kept (VV_EAGAIN) stays valid until finished, even when its client has left.
 * Errors:    400, 408, 411, 413 and 431 are answered here; everything else is the handler's.
 */
#ifndef VV_ADMIN_HTTP_H
#define VV_ADMIN_HTTP_H
#include "base/json.h"
#include "os/loop.h"
#include "os/sock.h"
#include "wire/http1.h"

#define VV_ADMIN_CONNECTIONS 128
#define VV_ADMIN_HEAD_BYTES 32768
#define VV_ADMIN_BODY_BYTES (1024 * 1024)
#define VV_ADMIN_STREAM_BYTES (1024 * 1024)
#define VV_ADMIN_IDLE_NS (60 * VV_SEC)

struct vv_admin_http;
struct vv_admin_exchange;

/* VV_OK: the answer stands in the exchange. VV_EAGAIN: it comes later, or the exchange streams. Any
 * other error is answered with its status and text. */
typedef enum vv_err vv_admin_handler(void *user, struct vv_admin_exchange *x);

struct vv_admin_exchange {
    /* the request; slices are valid until the answer is finished */
    const struct vv_h1_head *head;
    struct vv_str body;
    bool local; /* came over the unix socket: whoever may open it may do everything */
    /* the answer */
    int status;               /* 200 unless set */
    const char *type;         /* Content-Type, application/json unless set */
    const char *more_headers; /* whole lines with CRLF, or NULL */
    struct vv_sb out;
    struct vv_json json; /* writes into out */
    bool close;          /* end the connection after this answer */
    void *user;          /* the handler's, for kept exchanges */
    bool gone;           /* the client left while the exchange was kept */
};

VV_MUST_CHECK enum vv_err vv_admin_http_new(struct vv_loop *loop, vv_admin_handler *handler,
                                            void *user, struct vv_admin_http **ret);
void vv_admin_http_free(struct vv_admin_http *h);
/* Takes the listening socket. */
VV_MUST_CHECK enum vv_err vv_admin_http_listen(struct vv_admin_http *h, int fd, bool local);
/* Closes the listeners of that kind; connections go on. */
void vv_admin_http_unlisten(struct vv_admin_http *h, bool local);
/* Answers an exchange whose handler returned VV_EAGAIN. */
void vv_admin_finish(struct vv_admin_exchange *x);
/* Begins an endless answer; `closed` runs once when the client has left (the exchange is gone then). */
void vv_admin_stream_begin(struct vv_admin_exchange *x, const char *type,
                           void (*closed)(struct vv_admin_exchange *x));
/* False when the client reads too slowly and these bytes were dropped. */
bool vv_admin_stream_write(struct vv_admin_exchange *x, struct vv_str bytes);
/* A short problem answer: {"error": text}. Returns VV_OK so that handlers can return it. */
enum vv_err vv_admin_fail(struct vv_admin_exchange *x, int status, const char *fmt, ...)
    VV_PRINTF(3, 4);
size_t vv_admin_http_connections(const struct vv_admin_http *h);
/* Is nothing half answered? Then closing now cuts nobody off. */
bool vv_admin_http_quiet(const struct vv_admin_http *h);
#endif
