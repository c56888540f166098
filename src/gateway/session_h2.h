/* src/gateway/session_h2.h - HTTP/2 towards clients: one connection, and a session of its own for each stream.
 *
 * Model:     the connection's session keeps socket, TLS and timer; `h2` is what it is beyond that. Every
 *            stream is a session with `conn` set: it has an exchange, a body and a batch like any other,
 *            so exchanges, phases and actions do not notice. Its batch goes to the codec instead of the
 *            socket: heads are written as HTTP/1 text and translated there, content stays where it is until
 *            the codec has told that it left. What all streams have to say in a turn of the loop leaves
 *            together at its end.
 *            A request body waits in a chain of blocks, at most a stream's window of it; taking a run gives
 *            its bytes back to the window.
 * Source:    RFC 9113; the codec is wire/http2.h.
 * Threads:   one worker. Ownership: a stream's session lives until the codec's closed(), also when its
 *            exchange is over: the codec may still be reading from its blocks.
 */
#ifndef VV_GATEWAY_SESSION_H2_H
#define VV_GATEWAY_SESSION_H2_H
#include "gateway/session.h"

/* The connection speaks HTTP/2 from here on; `first`: what was read of it. It may be closed then. */
void vv_session_h2_begin(struct vv_session *s, struct vv_str first);
/* The socket has said something, or it is this connection's turn again. */
void vv_session_h2_run(struct vv_session *s);
/* The connection's timer. */
void vv_session_h2_timer(struct vv_session *s);
void vv_session_h2_retire(struct vv_session *s);
/* Since when only the client is waited for; UINT64_MAX: it is not, or not only. */
uint64_t vv_session_h2_waits_since(const struct vv_session *s);
/* The connection is closed: its streams end. */
void vv_session_h2_end(struct vv_session *s);

/* ---- of a stream */
enum vv_err vv_session_h2_flush(struct vv_session *s);
enum vv_err vv_session_h2_body(struct vv_exchange *x, struct vv_str *ret_data);
void vv_session_h2_exchange_ended(struct vv_session *s, bool cut);
/* Cuts the stream; the session is gone when the codec says so. */
void vv_session_h2_cut(struct vv_session *s);

/* ---- of a worker */
/* Limits of a listener's connections, from its settings. */
void vv_session_h2_limits(struct vv_listener *l);
void vv_session_h2_count(struct vv_worker *w); /* once a second: metrics */
#endif
