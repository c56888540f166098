/* src/gateway/trailers.h - which fields may follow a message (RFC 9110 6.5.1).
 *
 * Model:     trailers pass between HTTP/2 streams and are chunked trailers for clients of HTTP/1.1. Whoever
 *            receives them may merge them into the head, so nothing may stand there that frames or routes a
 *            message, says who asks, or is ours to say: no phase has looked at them.
 */
#ifndef VV_GATEWAY_TRAILERS_H
#define VV_GATEWAY_TRAILERS_H
#include "wire/http1.h"

bool vv_trailer_passes(const struct vv_h1_field *f);
#endif
