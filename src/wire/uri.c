/* src/wire/uri.c - URI references taken apart, decoded and normalised.
 *
 * Normalisation decodes first and resolves dot segments in the same pass over the output, so that
 * "%2e%2e/" and "../" cannot be told apart by what follows. Reserved characters stay encoded: a
 * "%2f" is not a separator (RFC 3986 section 2.2), and their hexadecimal digits become upper case,
 * which makes equal paths equal bytes. */
#include "wire/uri.h"
#include "wire/http1_scan.h"
#include "wire/ip_text.h"

#include <string.h>

static int hex_value(char c)
{
    if (!vv_h1_is(c, VV_H1_C_HEX)) {
        return -1;
    }
    return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

/* The byte behind the '%' at p, or -1. */
static int escape_at(const char *p, const char *end)
{
    if (end - p < 3) {
        return -1;
    }
    const int high = hex_value(p[1]), low = hex_value(p[2]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

static bool is_unreserved(int c)
{
    return vv_h1_is((char)c, VV_H1_C_ALPHA | VV_H1_C_DIGIT) || c == '-' || c == '.' || c == '_' ||
           c == '~';
}

/* ---- authority ---- */

static bool is_reg_name(const char *p, const char *end)
{
    while (p < end) {
        p = vv_h1_skip(p, end, VV_H1_C_HOST);
        if (p == end) {
            break;
        }
        if (*p != '%' || escape_at(p, end) <= 0) {
            return false;
        }
        p += 3;
    }
    return true;
}

/* Digits after the colon; none at all is allowed and means no port. */
static bool parse_port(const char *p, const char *end, uint16_t *ret_port)
{
    uint32_t port = 0;
    if (end - p > 5) {
        return false;
    }
    for (; p < end; p++) {
        if (!vv_h1_is(*p, VV_H1_C_DIGIT)) {
            return false;
        }
        port = port * 10 + (uint32_t)(*p - '0');
    }
    *ret_port = (uint16_t)port;
    return port <= UINT16_MAX;
}

static const bool plain_host[256] = {
    ['0' ... '9'] = true, ['a' ... 'z'] = true, ['.'] = true, ['-'] = true};

bool vv_uri_authority_plain(struct vv_str authority, struct vv_str *ret_host, uint16_t *ret_port)
{
    const struct vv_str a = authority;
    size_t i = 0;
    unsigned port = 0;
    while (i < a.n && plain_host[(uint8_t)a.p[i]]) {
        i++;
    }
    const struct vv_str host = {a.p, i};
    if (i < a.n && (a.p[i] != ':' || i + 1 == a.n || a.n - i > 6 || a.p[i + 1] == '0')) {
        return false;
    }
    for (i++; i < a.n; i++) {
        if (a.p[i] < '0' || a.p[i] > '9') {
            return false;
        }
        port = port * 10 + (unsigned)(a.p[i] - '0');
    }
    if (host.n == 0 || port > UINT16_MAX) {
        return false;
    }
    *ret_host = host;
    *ret_port = (uint16_t)port;
    return true;
}

enum vv_err vv_uri_split_authority(struct vv_str authority, struct vv_str *ret_host,
                                   uint16_t *ret_port)
{
    const char *p = authority.p, *end = p + authority.n, *host = p, *host_end, *rest;
    if (authority.n > 0 && *p == '[') {
        host_end = memchr(p, ']', authority.n);
        host = p + 1;
        uint8_t address[16];
        if (host_end == NULL ||
            !vv_ip6_parse((struct vv_str){host, (size_t)(host_end - host)}, address)) {
            return VV_ESYNTAX;
        }
        rest = host_end + 1;
    } else {
        host_end = authority.n > 0 ? memchr(p, ':', authority.n) : NULL;
        host_end = host_end != NULL ? host_end : end;
        if (!is_reg_name(host, host_end)) {
            return VV_ESYNTAX;
        }
        rest = host_end;
    }
    uint16_t port = 0;
    if (rest < end && (*rest != ':' || !parse_port(rest + 1, end, &port))) {
        return VV_ESYNTAX;
    }
    *ret_host = (struct vv_str){host, (size_t)(host_end - host)};
    *ret_port = port;
    return VV_OK;
}

/* ---- whole references ---- */

static const char *find_any(const char *p, const char *end, const char *set)
{
    while (p < end && strchr(set, *p) == NULL) {
        p++;
    }
    return p;
}

/* Visible ASCII without what RFC 3986 keeps out, and every '%' an escape. */
static bool is_uri_text(const char *p, const char *end)
{
    for (; p < end; p++) {
        if (*p == '%') {
            if (escape_at(p, end) < 0) {
                return false;
            }
        } else if (!vv_h1_is(*p, VV_H1_C_QUERY) || *p == '\\') {
            return false;
        }
    }
    return true;
}

static bool is_scheme(const char *p, const char *end)
{
    if (p == end || !vv_h1_is(*p, VV_H1_C_ALPHA)) {
        return false;
    }
    for (; p < end; p++) {
        if (!vv_h1_is(*p, VV_H1_C_ALPHA | VV_H1_C_DIGIT) && *p != '+' && *p != '-' && *p != '.') {
            return false;
        }
    }
    return true;
}

static enum vv_err parse_authority(struct vv_uri *u, const char *p, const char *end)
{
    const char *at = memchr(p, '@', (size_t)(end - p));
    if (at != NULL) {
        u->userinfo = (struct vv_str){p, (size_t)(at - p)};
        p = at + 1;
    }
    const enum vv_err err =
        vv_uri_split_authority((struct vv_str){p, (size_t)(end - p)}, &u->host, &u->port);
    if (err != VV_OK) {
        return err;
    }
    /* The last byte is a digit behind a colon only if there is a port; an IPv6 address ends in ']'.
     */
    const char *after = u->host.p + u->host.n;
    after += after < end && *after == ']' ? 1 : 0;
    u->has_port = end - after >= 2;
    return VV_OK;
}

enum vv_err vv_uri_parse(struct vv_str text, struct vv_uri *ret)
{
    struct vv_uri u;
    memset(&u, 0, sizeof u);
    const char *p = text.p != NULL ? text.p : "", *end = p + text.n;
    const char *hash = text.n > 0 ? memchr(p, '#', text.n) : NULL;
    const char *body_end = hash != NULL ? hash : end;
    if (hash != NULL) {
        u.fragment = (struct vv_str){hash + 1, (size_t)(end - hash - 1)};
    }
    if (!is_uri_text(p, body_end) || (hash != NULL && !is_uri_text(hash + 1, end))) {
        return VV_ESYNTAX;
    }
    const char *colon = find_any(p, body_end, ":/?");
    if (colon < body_end && *colon == ':') {
        if (!is_scheme(p, colon)) {
            return VV_ESYNTAX;
        }
        u.scheme = (struct vv_str){p, (size_t)(colon - p)};
        p = colon + 1;
    }
    if (body_end - p >= 2 && p[0] == '/' && p[1] == '/') {
        const char *authority_end = find_any(p + 2, body_end, "/?");
        const enum vv_err err = parse_authority(&u, p + 2, authority_end);
        if (err != VV_OK) {
            return err;
        }
        p = authority_end;
    }
    const char *path_end = find_any(p, body_end, "?");
    u.path = (struct vv_str){p, (size_t)(path_end - p)};
    if (path_end < body_end) {
        u.query = (struct vv_str){path_end + 1, (size_t)(body_end - path_end - 1)};
    }
    *ret = u;
    return VV_OK;
}

/* ---- paths ---- */

/* Removes the segment after the last '/', and that '/', from out[0..n). False: there is none. */
static bool climb(const char *out, size_t *n)
{
    if (*n == 0) {
        return false;
    }
    do {
        (*n)--;
    } while (*n > 0 && out[*n] != '/');
    return true;
}

/* Called when the segment out[start..n) has ended; out[start] is its '/'. Resolves "." and "..". */
static bool end_segment(const char *out, size_t start, size_t *n)
{
    const size_t length = *n - start - 1;
    if (length == 1 && out[start + 1] == '.') {
        *n = start;
    } else if (length == 2 && out[start + 1] == '.' && out[start + 2] == '.') {
        *n = start;
        return climb(out, n);
    }
    return true;
}

/* Writes the character at *p, decoded if it is unreserved. False: bad escape or NUL. */
static bool put_char(const char **p, const char *end, char *out, size_t *n)
{
    if (**p != '%') {
        out[(*n)++] = *(*p)++;
        return true;
    }
    const int c = escape_at(*p, end);
    if (c <= 0) {
        return false;
    }
    if (is_unreserved(c)) {
        out[(*n)++] = (char)c;
    } else {
        out[(*n)++] = '%';
        out[(*n)++] = "0123456789ABCDEF"[c >> 4];
        out[(*n)++] = "0123456789ABCDEF"[c & 15];
    }
    *p += 3;
    return true;
}

enum vv_err vv_uri_normalise_path(struct vv_str path, char *out, size_t cap, size_t *ret_len)
{
    VV_ASSERT(cap >= path.n + 1);
    const char *p = path.p, *end = p + path.n;
    size_t n = 0;
    if (path.n == 0 || *p != '/') {
        return VV_ESYNTAX; /* only absolute paths can be kept from climbing */
    }
    while (p < end) {
        const size_t start = n; /* *p is the '/' that begins a segment */
        out[n++] = *p++;
        while (p < end && *p != '/') {
            if (*p == '\0' || !put_char(&p, end, out, &n)) {
                return VV_ESYNTAX;
            }
        }
        if (!end_segment(out, start, &n)) {
            return VV_ESYNTAX;
        }
        if (p == end && n <= start) {
            out[n++] = '/'; /* "/a/." and "/a/b/.." name the folder */
        }
    }
    *ret_len = n;
    return VV_OK;
}

enum vv_err vv_uri_decode(struct vv_str s, char *out, size_t cap, size_t *ret_len)
{
    size_t n = 0;
    for (const char *p = s.p, *end = p + s.n; p < end;) {
        int c = (uint8_t)*p;
        if (c == '%') {
            c = escape_at(p, end);
            p += 2;
        }
        p++;
        if (c <= 0) {
            return VV_ESYNTAX;
        }
        if (n == cap) {
            return VV_ERANGE;
        }
        out[n++] = (char)c;
    }
    *ret_len = n;
    return VV_OK;
}

bool vv_uri_query_get(struct vv_str query, struct vv_str name, struct vv_str *ret_value)
{
    while (query.p != NULL) {
        struct vv_str value = vv_str_cut(&query, '&');
        const struct vv_str key = vv_str_cut(&value, '=');
        if (vv_str_eq(key, name)) {
            *ret_value = value.p != NULL ? value : (struct vv_str){key.p + key.n, 0};
            return true;
        }
    }
    return false;
}
