/* src/gateway/checks_h2.h - one probe over HTTP/2: a request in, bytes out; bytes in, a status out.
 *
 * Model:     a connection that asks once. What it has to say later (acknowledgements) is never sent: nothing
 *            of the answer waits for it. For gRPC the request is one of its health protocol, about the
 *            server as a whole; SERVING counts as 200, any other word as 503.
 * Source:    RFC 9113; grpc.health.v1. Threads: one at a time. Units: now_ns monotonic.
 * Ownership: vv_check_h2_free() frees all but the bytes handed out, which are the caller's.
 */
#ifndef VV_GATEWAY_CHECKS_H2_H
#define VV_GATEWAY_CHECKS_H2_H
#include "base/err.h"
#include "base/str.h"

struct vv_check_h2;
/* request: its head as HTTP/1 text. *ret_bytes: what is to be sent first. VV_ENOMEM. */
VV_MUST_CHECK enum vv_err vv_check_h2_new(struct vv_str request, bool secure, bool grpc,
                                          uint64_t now_ns, struct vv_check_h2 **ret,
                                          char **ret_bytes, size_t *ret_count);
void vv_check_h2_free(struct vv_check_h2 *k); /* NULL is fine */
/* VV_OK: *ret_status of the answer. VV_EAGAIN: more bytes. VV_ESYNTAX: against the protocol; VV_ERESET. */
VV_MUST_CHECK enum vv_err vv_check_h2_feed(struct vv_check_h2 *k, struct vv_str bytes,
                                           uint64_t now_ns, int *ret_status);
#endif
