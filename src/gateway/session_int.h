/* src/gateway/session_int.h - what the files of a session share: session.c leads, session_body.c reads bodies.
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

/* ---- session_body.c ---- */
/* One run of data out of what has been read; VV_EAGAIN when all of it is used. */
VV_MUST_CHECK enum vv_err vv_session_body_take(struct vv_session *s, struct vv_str *ret);
/* Where more of the body is read to. NULL: no memory. */
VV_MUST_CHECK struct vv_buf *vv_session_room_for_body(struct vv_session *s);
#endif
