/* src/wire/ip_text.c - written out instead of inet_pton(): this folder knows no sockets, and the
 * slices that come in are not NUL-terminated. */
#include "wire/ip_text.h"
#include "wire/http1_scan.h"

#include <string.h>

bool vv_ip4_parse(struct vv_str s, uint8_t ret[4])
{
    const char *p = s.p, *end = s.p + s.n;
    uint8_t parts[4];
    for (int i = 0; i < 4; i++) {
        if (i > 0 && (p == end || *p++ != '.')) {
            return false;
        }
        const char *start = p;
        unsigned value = 0;
        while (p < end && p - start < 3 && vv_h1_is(*p, VV_H1_C_DIGIT)) {
            value = value * 10 + (unsigned)(*p++ - '0');
        }
        if (p == start || value > 255 || (*start == '0' && p - start > 1)) {
            return false;
        }
        parts[i] = (uint8_t)value;
    }
    if (p != end) {
        return false;
    }
    memcpy(ret, parts, sizeof parts);
    return true;
}

/* Reads one group of one to four hexadecimal digits at *p. */
static bool read_group(const char **p, const char *end, uint8_t out[2])
{
    const char *start = *p;
    unsigned value = 0;
    while (*p < end && *p - start < 4 && vv_h1_is(**p, VV_H1_C_HEX)) {
        const char c = *(*p)++;
        value = value << 4 | (unsigned)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    out[0] = (uint8_t)(value >> 8);
    out[1] = (uint8_t)value;
    return *p > start;
}

/* Eight groups of 16 bits; "::" stands once for one or more of them, and the last two may be
 * written as an IPv4 address. */
bool vv_ip6_parse(struct vv_str s, uint8_t ret[16])
{
    const char *p = s.p, *end = s.p + s.n;
    uint8_t bytes[16] = {0};
    size_t n = 0, gap = SIZE_MAX;
    if (s.n >= 2 && p[0] == ':' && p[1] == ':') {
        gap = 0;
        p += 2;
    }
    while (p < end) {
        const struct vv_str rest = {p, (size_t)(end - p)};
        if (n <= 12 && vv_ip4_parse(rest, bytes + n)) {
            n += 4;
            break;
        }
        if (n == 16 || !read_group(&p, end, bytes + n)) {
            return false;
        }
        n += 2;
        if (p == end) {
            break;
        }
        if (*p++ != ':' || p == end) {
            return false;
        }
        if (*p == ':') {
            if (gap != SIZE_MAX) {
                return false;
            }
            gap = n;
            p++;
        }
    }
    if (gap == SIZE_MAX ? n != 16 : n > 14) {
        return false;
    }
    const size_t head = gap == SIZE_MAX ? n : gap, tail = n - head;
    memset(ret, 0, 16);
    memcpy(ret, bytes, head);
    memcpy(ret + 16 - tail, bytes + head, tail);
    return true;
}
