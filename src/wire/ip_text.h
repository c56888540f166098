/* src/wire/ip_text.h - IP addresses as text: strict, without the C library's leniency.
 *
 * Source:  RFC 3986 section 3.2.2 (dec-octet without leading zeros, IPv6address without zone).
 * Units:   addresses in network order. Threads: pure.
 */
#ifndef VV_WIRE_IP_TEXT_H
#define VV_WIRE_IP_TEXT_H
#include "base/str.h"

/* True when all of `s` is one address; *ret is touched only then. */
bool vv_ip4_parse(struct vv_str s, uint8_t ret[4]);
bool vv_ip6_parse(struct vv_str s, uint8_t ret[16]);
#endif
