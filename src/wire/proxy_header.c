/* src/wire/proxy_header.c - who is really asking, told by the balancer in front of us.
 *
 * Whoever may send this header decides which address a client has: a header that is not exactly
 * right is refused, never repaired. Bytes that cannot become one are refused as soon as they are
 * seen, so a plain HTTP request on such a listener fails at once. */
#include "wire/proxy_header.h"
#include "wire/ip_text.h"

#include <string.h>

#define V1_BYTES_MAX 107 /* the longest line with its CR LF */
#define V2_FIXED_BYTES 16
/* The length field could say 65,535; senders are told to stay in one packet. */
#define V2_BYTES_MAX 4096

static const char v1_prefix[] = "PROXY ";
static const uint8_t v2_signature[12] = {0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d,
                                         0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a};

/* A decimal port without leading zeros. */
static bool parse_port(struct vv_str s, uint16_t *ret)
{
    uint64_t port;
    if (s.n == 0 || s.n > 5 || (s.p[0] == '0' && s.n > 1) || vv_str_to_u64(s, &port) != VV_OK ||
        port > UINT16_MAX) {
        return false;
    }
    *ret = (uint16_t)port;
    return true;
}

static enum vv_err parse_v1_addresses(struct vv_str line, struct vv_proxy_header *h)
{
    const struct vv_str family = vv_str_cut(&line, ' ');
    if (vv_str_eq(family, VV_STR("UNKNOWN"))) {
        h->family = VV_PROXY_UNKNOWN; /* what follows is to be ignored */
        return VV_OK;
    }
    const struct vv_str src = vv_str_cut(&line, ' '), dst = vv_str_cut(&line, ' ');
    const struct vv_str src_port = vv_str_cut(&line, ' ');
    if (!parse_port(src_port, &h->src_port) || line.p == NULL || !parse_port(line, &h->dst_port)) {
        return VV_ESYNTAX;
    }
    if (vv_str_eq(family, VV_STR("TCP4"))) {
        h->family = VV_PROXY_TCP4;
        return vv_ip4_parse(src, h->src) && vv_ip4_parse(dst, h->dst) ? VV_OK : VV_ESYNTAX;
    }
    if (vv_str_eq(family, VV_STR("TCP6"))) {
        h->family = VV_PROXY_TCP6;
        return vv_ip6_parse(src, h->src) && vv_ip6_parse(dst, h->dst) ? VV_OK : VV_ESYNTAX;
    }
    return VV_ESYNTAX;
}

static enum vv_err parse_v1(struct vv_str bytes, struct vv_proxy_header *h)
{
    const size_t seen = bytes.n < V1_BYTES_MAX ? bytes.n : V1_BYTES_MAX;
    const char *lf = memchr(bytes.p, '\n', seen);
    if (lf == NULL) {
        return seen == V1_BYTES_MAX ? VV_ESYNTAX : VV_EAGAIN;
    }
    const size_t start = sizeof v1_prefix - 1, length = (size_t)(lf - bytes.p);
    if (length <= start || lf[-1] != '\r' || memchr(bytes.p, '\r', length - 1) != NULL ||
        memchr(bytes.p, '\0', length) != NULL) {
        return VV_ESYNTAX;
    }
    h->bytes = length + 1;
    return parse_v1_addresses((struct vv_str){bytes.p + start, length - 1 - start}, h);
}

static uint16_t read_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

/* Additions behind the addresses: type, 16 bits of length, value. They are skipped, but must fit.
 */
static bool additions_fit(const uint8_t *p, size_t n)
{
    while (n > 0) {
        if (n < 3 || n - 3 < read_u16(p + 1)) {
            return false;
        }
        const size_t used = 3 + (size_t)read_u16(p + 1);
        p += used;
        n -= used;
    }
    return true;
}

static void take_addresses(struct vv_proxy_header *h, const uint8_t *p, size_t address_bytes)
{
    memcpy(h->src, p, address_bytes);
    memcpy(h->dst, p + address_bytes, address_bytes);
    h->src_port = read_u16(p + 2 * address_bytes);
    h->dst_port = read_u16(p + 2 * address_bytes + 2);
}

static enum vv_err parse_v2_addresses(uint8_t kind, const uint8_t *p, size_t n,
                                      struct vv_proxy_header *h)
{
    /* High half: address family, low half: stream or datagram. A datagram's addresses say nothing
     * about this connection, so it keeps its own. */
    const unsigned family = kind >> 4, transport = kind & 15;
    static const size_t need[] = {0, 12, 36, 216};
    if (family >= VV_COUNT(need) || transport > 2 || n < need[family]) {
        return VV_ESYNTAX;
    }
    if (family == 0 || transport != 1) {
        h->family = VV_PROXY_UNKNOWN;
        return VV_OK;
    }
    if (!additions_fit(p + need[family], n - need[family])) {
        return VV_ESYNTAX;
    }
    if (family == 1) {
        h->family = VV_PROXY_TCP4;
        take_addresses(h, p, 4);
    } else if (family == 2) {
        h->family = VV_PROXY_TCP6;
        take_addresses(h, p, 16);
    } else {
        h->family = VV_PROXY_UNIX;
    }
    return VV_OK;
}

static enum vv_err parse_v2(struct vv_str bytes, struct vv_proxy_header *h)
{
    const uint8_t *p = (const uint8_t *)bytes.p;
    if (bytes.n > 12 && (p[12] >> 4 != 2 || (p[12] & 15) > 1)) {
        return VV_ESYNTAX; /* version 2, command LOCAL or PROXY */
    }
    if (bytes.n < V2_FIXED_BYTES) {
        return VV_EAGAIN;
    }
    const size_t length = read_u16(p + 14);
    h->bytes = V2_FIXED_BYTES + length;
    if (h->bytes > V2_BYTES_MAX) {
        return VV_ESYNTAX;
    }
    if (bytes.n < h->bytes) {
        return VV_EAGAIN;
    }
    if ((p[12] & 15) == 0) {
        h->family = VV_PROXY_LOCAL; /* the balancer's own health check */
        return VV_OK;
    }
    return parse_v2_addresses(p[13], p + V2_FIXED_BYTES, length, h);
}

enum vv_err vv_proxy_header_parse(struct vv_str bytes, struct vv_proxy_header *ret)
{
    if (bytes.n == 0) {
        return VV_EAGAIN;
    }
    struct vv_proxy_header h;
    memset(&h, 0, sizeof h);
    const bool v2 = bytes.p[0] == (char)v2_signature[0];
    const void *lead = v2 ? (const void *)v2_signature : (const void *)v1_prefix;
    const size_t lead_bytes = v2 ? sizeof v2_signature : sizeof v1_prefix - 1;
    if (memcmp(bytes.p, lead, bytes.n < lead_bytes ? bytes.n : lead_bytes) != 0) {
        return VV_ESYNTAX;
    }
    if (bytes.n < lead_bytes) {
        return VV_EAGAIN;
    }
    const enum vv_err err = v2 ? parse_v2(bytes, &h) : parse_v1(bytes, &h);
    if (err == VV_OK) {
        *ret = h;
    }
    return err;
}
