/* src/gateway/upstream_h2.h - connections to servers that many requests share: HTTP/2.
 *
 * Model:     a server has a *home* with its shared connections, a few at most: a stream is put on the first
 *            one that takes another, and only when none does is a new one opened. To its owner a stream
 *            is a struct vv_uconn like any other: it is connecting, readable, blocked, it times out and is
 *            given back. Only a request is not written to it but asked (vv_ustream_ask), and heads come
 *            out of it as HTTP/1 text, so that everything above reads one language. After the head come
 *            bytes of the body as they are; VV_ECLOSED says that the server has ended it, anything else that
 *            it was cut: VV_ERESET, VV_EIO (the connection was closed), VV_ESYNTAX (against the protocol).
 * TLS:       the server chooses (ALPN). Without "h2" its streams fail as *refused*, and for a while it is
 *            asked over HTTP/1.1. Without TLS it must know by itself (prior knowledge).
 * Flow:      a server may send so much of an answer as its stream's window has, and gets the window back
 *            as the owner reads: a slow client holds its own stream, and no other, because the
 *            connection's window has room for all of them. Content of requests is copied here and taken
 *            only while little of it waits.
 * Ends:      refused (REFUSED_STREAM, GOAWAY before it, HTTP_1_1_REQUIRED): the server has done nothing with
 *            it, vv_ustream_refused(). A connection that is silent while streams wait is asked by PING
 *            and given up when it does not answer. One without streams is closed after `keepalive_time`.
 * Source:    RFC 9113. Threads: one worker.
 * Ownership: as in upstream.h; what is read into u->in is the owner's, all else ends with the stream.
 */
#ifndef VV_GATEWAY_UPSTREAM_H2_H
#define VV_GATEWAY_UPSTREAM_H2_H
#include "base/arena.h"
#include "gateway/exchange.h"
#include "gateway/upstream.h"

struct vv_uh2_home {      /* embedded in the server's pool */
    struct vv_list conns; /* warmest first */
    size_t streams;       /* lent and not yet let go */
    size_t
        streams_max; /* that a connection is given before its server has said how many it takes */
    /* PRIVATE from here */
    struct vv_upstreams *us;
    struct vv_upstream_pool *pool;
    struct vv_worker *w;
    uint64_t keep_ns;        /* of connections without a stream; 0: none are kept */
    uint32_t tls_generation; /* of the pool */
    uint64_t plain_until_ns; /* until then the server is asked over HTTP/1.1 */
};
/* Looks at no more than `most` of its connections (tcp_watch.h); returns at how many. */
unsigned vv_uh2_home_watch(struct vv_uh2_home *home, unsigned most);
void vv_uh2_home_init(struct vv_uh2_home *home, struct vv_worker *w, struct vv_upstreams *us,
                      struct vv_upstream_pool *pool);
void vv_uh2_home_fini(struct vv_uh2_home *home); /* every stream was let go of */
/* Once a second. leaving: the service has the server no more. */
void vv_uh2_home_second(struct vv_uh2_home *home, uint64_t now_ns, bool leaving);

/* A stream for one request, or, when the server speaks HTTP/1.1 only, a connection of its own: then
 * (*ret)->stream is NULL. Errors: see vv_upstream_take(). */
VV_MUST_CHECK enum vv_err vv_ustream_take(struct vv_upstreams *us, struct vv_server *server,
                                          const struct vv_service *service, bool fresh,
                                          const struct vv_uconn_owner *owner, void *user,
                                          struct vv_uconn **ret);

/* ---- u->stream is not NULL */
/* Sends a request: its head as HTTP/1 text; end: it has no content. VV_ENOMEM, VV_EINVAL (more fields than
 * a head may have); that the stream cannot be had any more is told by reading. */
VV_MUST_CHECK enum vv_err vv_ustream_ask(struct vv_uconn *u, struct vv_str head, bool end);
/* Takes what is in u->out as content. VV_EAGAIN: wait for writable(), and flush again. */
VV_MUST_CHECK enum vv_err vv_ustream_flush(struct vv_uconn *u);
/* The content is complete, or was already; with trailers. */
void vv_ustream_finish(struct vv_uconn *u, const struct vv_field *trailer, size_t count);
/* vv_uconn_read() calls it. *ret_bytes are new in u->in, at most room_max. */
VV_MUST_CHECK enum vv_err vv_ustream_read(struct vv_uconn *u, size_t room_max, size_t *ret_bytes);
/* All of the answer was read: the next read says VV_ECLOSED. */
bool vv_ustream_ended(const struct vv_uconn *u);
/* It failed before the server did anything with it. */
bool vv_ustream_refused(const struct vv_uconn *u);
/* There was no connection because TLS could not be agreed upon. */
bool vv_ustream_tls_failed(const struct vv_uconn *u);
/* Fields behind the body, in the arena; VV_ENOMEM. Call it when the answer has ended. */
VV_MUST_CHECK enum vv_err vv_ustream_trailer(const struct vv_uconn *u, struct vv_arena *arena,
                                             const struct vv_field **ret, size_t *ret_count);
size_t vv_ustream_head_left(const struct vv_uconn *u); /* bytes of a head that wait to be read */
void vv_ustream_let_go(struct vv_uconn *u);            /* for upstream.c: give_back and discard */
#endif
