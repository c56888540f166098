/* src/wire/proxy_header.h - PROXY protocol v1 and v2, received in front of a connection.
 *
 * Source:  HAProxy's proxy-protocol.txt (v1 text line of at most 107 bytes, v2 binary).
 * Errors:  VV_EAGAIN: more bytes needed; VV_ESYNTAX: not a PROXY header or a broken one.
 * Threads: pure.
 */
#ifndef VV_WIRE_PROXY_HEADER_H
#define VV_WIRE_PROXY_HEADER_H
#include "base/err.h"
#include "base/str.h"

enum vv_proxy_family {
    VV_PROXY_UNKNOWN,
    VV_PROXY_LOCAL,
    VV_PROXY_TCP4,
    VV_PROXY_TCP6,
    VV_PROXY_UNIX
};
struct vv_proxy_header {
    enum vv_proxy_family family; /* UNKNOWN and LOCAL: keep the connection's own addresses */
    uint8_t src[16], dst[16];    /* network order; 4 or 16 bytes used */
    uint16_t src_port, dst_port;
    size_t bytes; /* length of the whole header on VV_OK */
};
VV_MUST_CHECK enum vv_err vv_proxy_header_parse(struct vv_str bytes, struct vv_proxy_header *ret);
#endif
