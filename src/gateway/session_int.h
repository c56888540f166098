/* src/gateway/session_int.h - what the files of a session share: session.c leads, session_body.c reads bodies,
 * session_tls.c speaks TLS, session_h2.c and session_stream.c HTTP/2.
 *
 * Threads:   one worker. Never included elsewhere.
 */
#ifndef VV_GATEWAY_SESSION_INT_H
#define VV_GATEWAY_SESSION_INT_H
#include "gateway/session.h"

/* ---- session.c ---- */
/* Reads into `b` once. VV_ECLOSED: the client has sent all it will. */
VV_MUST_CHECK enum vv_err vv_session_read(struct vv_session *s, struct vv_buf *b);
/* Remembers which rule of the protocol was broken, for the answer, the log and the metric. */
void vv_session_refused_for(struct vv_exchange *x, enum vv_h1_error error);

/* The session has an exchange. */
void vv_session_own(struct vv_session *s, struct vv_exchange *x);
void vv_session_refuse_syntax(struct vv_exchange *x); /* x->req.error says why */
void vv_session_count_timeout(struct vv_session *s, const char *wait);
/* Ends the connection so that its last words arrive: what still comes is read for a while. */
void vv_session_linger(struct vv_session *s);
/* A deadline inside an exchange may be over. */
void vv_session_deadline(struct vv_session *s, uint64_t now_ns);
/* The client's time to take what is in the batch begins anew. */
void vv_session_expect_progress(struct vv_session *s);
/* The request loop: the only place where a session moves on to its next request. */
void vv_session_run(struct vv_session *s);

/* ---- session_tls.c ---- */
/* A connection of a listener with TLS. False: there cannot be one. */
VV_MUST_CHECK bool vv_session_tls_begin(struct vv_session *s);
/* A step of the handshake. True: it is done; false: wait, or the session is gone. */
VV_MUST_CHECK bool vv_session_tls_handshake(struct vv_session *s);
/* What the socket said, before anything else. False: nothing to do now. */
VV_MUST_CHECK bool vv_session_tls_event(struct vv_session *s, uint32_t events);
VV_MUST_CHECK enum vv_err vv_session_tls_read(struct vv_session *s, struct vv_buf *b);
/* Says goodbye and lets go. True: a pool thread still works for it and closes the descriptor. */
VV_MUST_CHECK bool vv_session_tls_end(struct vv_session *s);

/* ---- session_body.c ---- */
/* One run of data out of what has been read; VV_EAGAIN when all of it is used. */
VV_MUST_CHECK enum vv_err vv_session_body_take(struct vv_session *s, struct vv_str *ret);
/* Where more of the body is read to. NULL: no memory. */
VV_MUST_CHECK struct vv_buf *vv_session_room_for_body(struct vv_session *s);
/* The exchange ends, or is answered with an error. Returns VV_ECLOSED. */
enum vv_err vv_session_body_failed(struct vv_exchange *x, enum vv_reason reason);

/* ---- session_stream.c ---- */
void vv_session_stream_go_on(struct vv_session *s);
#endif
