/* src/gateway/grpc.h - what calls of gRPC need beside HTTP/2: their deadline, and errors they understand.
 *
 * Model:   a call is a request whose Content-Type begins with application/grpc (not grpc-web). It passes like
 *          any other; trailers say how it went. When the gateway answers in the server's place, it
 *          says so as gRPC does: status 200, grpc-status and grpc-message in the head, nothing else.
 * Source:  gRPC over HTTP/2 (PROTOCOL-HTTP2.md); statuscodes.md. Unlike http-grpc-status-mapping.md, which is
 *          for clients that know nothing but the status of somebody, these codes come from who answers.
 * Threads: one worker.
 */
#ifndef VV_GATEWAY_GRPC_H
#define VV_GATEWAY_GRPC_H
#include "gateway/exchange.h"

bool vv_grpc_asked(const struct vv_exchange *x);
/* BOUNDS of a call: grpc-timeout ends it, and a silent client is given as long as a silent server. */
void vv_grpc_bounds(struct vv_exchange *x);
/* Answers a call with an error of our own; false: it is none. */
VV_MUST_CHECK bool vv_grpc_answer_error(struct vv_exchange *x, int status, enum vv_reason reason);

/* ---- pure */
/* "100m": at most eight digits and one of H M S m u n. VV_ESYNTAX. */
VV_MUST_CHECK enum vv_err vv_grpc_timeout(struct vv_str value, uint64_t *ret_ns);
unsigned vv_grpc_status(int status); /* of an error with this HTTP status */
#endif
