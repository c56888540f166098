/* src/gateway/identify.h - whose request it is: the client's address through trusted proxies, the scheme
 * it used, the request id.
 *
 * Model:   only a peer inside the listener's `trust` may say who the client is. X-Forwarded-For (or
 *          Forwarded, RFC 7239, when that is all there is) is read from the right; the first address
 *          that is not trusted is the client. From anybody else these fields are replaced.
 * Threads: one worker.
 */
#ifndef VV_GATEWAY_IDENTIFY_H
#define VV_GATEWAY_IDENTIFY_H
#include "gateway/session.h"
#include "wire/proxy_header.h"

void vv_identify_session(struct vv_session *s); /* from the peer's address */
void vv_identify_proxy_header(struct vv_session *s, const struct vv_proxy_header *h);
void vv_identify_request(struct vv_exchange *x);
#endif
