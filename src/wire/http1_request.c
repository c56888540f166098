/* src/wire/http1_request.c - the request line and what a request's fields must say.
 *
 * Targets: RFC 9112 wants pchar. Browsers send more (the WHATWG URL standard leaves | ^ ` { } [ ]
 * alone in places), and refusing that would cut off honest users without making framing any safer:
 * so every visible ASCII character passes except " # < > and, in a path, the backslash, which some
 * servers read as a slash. What passes is forwarded as it came. */
#include "wire/http1_int.h"

#include <string.h>

/* Bytes of " HTTP/1.1\r\n". */
#define VERSION_TAIL 11

static enum vv_method find_method(const char *p, size_t n)
{
    if (VV_LIKELY(n == 3 && memcmp(p, "GET", 3) == 0)) {
        return VV_METHOD_GET;
    }
    for (int i = 0; i < VV_METHOD_OTHER; i++) {
        if (vv_methods[i].name.n == n && memcmp(vv_methods[i].name.p, p, n) == 0) {
            return (enum vv_method)i;
        }
    }
    return VV_METHOD_OTHER;
}

/* Runs over a path or a query and the escapes in it. False: *p is at a '%' that is not an escape.
 */
static inline bool skip_part(const char **p, const char *end, bool query)
{
    for (;;) {
        *p = query ? vv_h1_scan_query(*p, end) : vv_h1_scan_path(*p, end);
        if (VV_LIKELY(*p == end || **p != '%')) {
            return true;
        }
        if (end - *p < 3 || !vv_h1_is((*p)[1], VV_H1_C_HEX) || !vv_h1_is((*p)[2], VV_H1_C_HEX)) {
            return false;
        }
        *p += 3;
    }
}

/* Sets target, path and query; other forms than origin are split later. Returns the end, or NULL
 * with *ret_err set. */
static const char *scan_target(struct vv_h1_input *in, const char *p, enum vv_err *ret_err)
{
    struct vv_h1_head *h = in->h;
    const char *start = p, *end = in->end;
    bool ok = true;
    if (VV_LIKELY(p < end && *p == '/')) {
        ok = skip_part(&p, end, false);
        h->path = (struct vv_str){start, (size_t)(p - start)};
    }
    const char *path_end = p;
    if (ok && p < end && (p == start || *p == '?')) {
        ok = skip_part(&p, end, true);
        if (path_end != start) {
            h->query = (struct vv_str){path_end + 1, (size_t)(p - path_end - 1)};
        }
    }
    h->target = (struct vv_str){start, (size_t)(p - start)};
    if (VV_LIKELY(ok && p < end && *p == ' ' && p != start)) {
        return p;
    }
    enum vv_h1_error error = VV_H1_ERR_TARGET_CHAR;
    if (!ok) {
        error = VV_H1_ERR_TARGET_ESCAPE;
    } else if (p < end && *p == ' ') {
        error = VV_H1_ERR_TARGET_EMPTY;
    } else if (end - p >= 2 && p[0] == '\r' && p[1] == '\n') {
        error = VV_H1_ERR_VERSION_MISSING;
    }
    *ret_err = vv_h1_bad(in, vv_h1_line_error(p, end, error));
    return NULL;
}

/* The tail of a request line, for lines that do not end in a version we speak. */
static VV_COLD enum vv_h1_error version_error(const char *p, const char *end)
{
    const char *lf = memchr(p, '\n', (size_t)(end - p));
    if (lf == NULL) {
        return VV_H1_ERR_VERSION_SYNTAX; /* not used: the line has not ended */
    }
    const size_t n = (size_t)(lf + 1 - p);
    for (const char *q = p; q < lf; q++) {
        if (*q == '\r' && q + 1 != lf) {
            return VV_H1_ERR_BARE_CR;
        }
    }
    if (lf == p || lf[-1] != '\r') {
        return VV_H1_ERR_BARE_LF;
    }
    if (n != VERSION_TAIL || memcmp(p, " HTTP/", 6) != 0 || !vv_h1_is(p[6], VV_H1_C_DIGIT) ||
        p[7] != '.' || !vv_h1_is(p[8], VV_H1_C_DIGIT)) {
        return VV_H1_ERR_VERSION_SYNTAX;
    }
    return VV_H1_ERR_VERSION_UNSUPPORTED;
}

/* scheme "://" authority [ path ] [ "?" query ] */
static enum vv_h1_error split_absolute(struct vv_h1_head *h)
{
    const char *p = h->target.p, *end = p + h->target.n;
    const char *colon = memchr(p, ':', h->target.n);
    if (colon == NULL || colon == p || end - colon < 3 || memcmp(colon, "://", 3) != 0) {
        return VV_H1_ERR_TARGET_FORM;
    }
    h->scheme = (struct vv_str){p, (size_t)(colon - p)};
    if (!vv_str_eq_nocase(h->scheme, VV_STR("http")) &&
        !vv_str_eq_nocase(h->scheme, VV_STR("https"))) {
        return VV_H1_ERR_TARGET_SCHEME;
    }
    const char *host = colon + 3, *path = host;
    while (path < end && *path != '/' && *path != '?') {
        path++;
    }
    h->authority = (struct vv_str){host, (size_t)(path - host)};
    if (vv_str_find_char(h->authority, '@') >= 0) {
        return VV_H1_ERR_TARGET_USERINFO;
    }
    bool port;
    if (h->authority.n == 0 || host[0] == ':' || !vv_h1_authority_valid(h->authority, &port)) {
        return VV_H1_ERR_TARGET_AUTHORITY;
    }
    h->target_form = VV_H1_ABSOLUTE;
    const char *q = path;
    while (q < end && *q != '?') {
        if (*q == '\\') {
            return VV_H1_ERR_TARGET_CHAR;
        }
        q++;
    }
    h->path = (struct vv_str){path, (size_t)(q - path)};
    if (q < end) {
        h->query = (struct vv_str){q + 1, (size_t)(end - q - 1)};
    }
    if (h->path.n == 0) {
        /* An empty path means "/" (RFC 9110 4.2.3); the one of "://" keeps the slice in the buffer.
         * Without a query, OPTIONS then asks about the server as a whole (RFC 9112 3.2.4). */
        h->path = (struct vv_str){colon + 2, 1};
        if (h->method == VV_METHOD_OPTIONS && h->query.p == NULL) {
            h->target_form = VV_H1_ASTERISK;
        }
    }
    return VV_H1_FINE;
}

static enum vv_h1_error classify_target(struct vv_h1_head *h)
{
    if (h->method == VV_METHOD_CONNECT) {
        bool port = false;
        const ptrdiff_t at = vv_str_find_char(h->target, '@');
        if (at >= 0 || h->target.p[0] == ':' || !vv_h1_authority_valid(h->target, &port) || !port ||
            h->target.p[h->target.n - 1] == ':') {
            return VV_H1_ERR_TARGET_CONNECT;
        }
        h->target_form = VV_H1_AUTHORITY;
        h->authority = h->target;
        h->path = h->query = (struct vv_str){NULL, 0};
        return VV_H1_FINE;
    }
    if (VV_LIKELY(h->target.p[0] == '/')) {
        h->target_form = VV_H1_ORIGIN;
        return VV_H1_FINE;
    }
    if (vv_str_eq(h->target, VV_STR("*"))) {
        h->target_form = VV_H1_ASTERISK;
        h->path = h->target;
        return h->method == VV_METHOD_OPTIONS ? VV_H1_FINE : VV_H1_ERR_TARGET_ASTERISK;
    }
    return split_absolute(h);
}

/* Skips empty lines in front (RFC 9112 2.2) and looks at the first byte. VV_OK: in->line is there.
 */
static enum vv_err find_request_line(struct vv_h1_input *in)
{
    for (;;) {
        const char *p = in->line;
        if (p == in->end) {
            return vv_h1_more(in);
        }
        if (VV_LIKELY(vv_h1_is(*p, VV_H1_C_TOKEN))) {
            return VV_OK;
        }
        if (*p == '\n') {
            return vv_h1_refuse(in, VV_H1_ERR_BARE_LF);
        }
        if (*p != '\r') {
            /* A TLS ClientHello (0x16) ends here as well: no need to wait for a line end. */
            return vv_h1_refuse(in, VV_H1_ERR_METHOD);
        }
        if (in->end - p < 2) {
            return vv_h1_more(in);
        }
        if (p[1] != '\n') {
            return vv_h1_bad(in, VV_H1_ERR_BARE_CR);
        }
        in->line = p + 2;
    }
}

static enum vv_err request_line(struct vv_h1_input *in, const struct vv_h1_limits *limits)
{
    struct vv_h1_head *h = in->h;
    enum vv_err err = find_request_line(in);
    if (err != VV_OK) {
        return err;
    }
    const char *p = in->line;
    const size_t line_max = (size_t)limits->line_bytes + 2;
    if (VV_UNLIKELY((size_t)(in->end - p) >= line_max)) {
        in->full = true;
        in->end = p + line_max;
        in->full_error = VV_H1_ERR_LINE_TOO_LONG;
    }
    const char *end = in->end;
    const char *method_end = vv_h1_skip(p, end, VV_H1_C_TOKEN);
    if (VV_UNLIKELY(method_end == end)) {
        return vv_h1_more(in);
    }
    if (VV_UNLIKELY(*method_end != ' ')) {
        const bool cr = *method_end == '\r';
        return vv_h1_bad(
            in, vv_h1_line_error(method_end, end, cr ? VV_H1_ERR_REQUEST_LINE : VV_H1_ERR_METHOD));
    }
    h->method_text = (struct vv_str){p, (size_t)(method_end - p)};
    h->query = h->path = (struct vv_str){NULL, 0};
    p = scan_target(in, method_end + 1, &err);
    if (VV_UNLIKELY(p == NULL)) {
        return err;
    }
    if (VV_UNLIKELY(end - p < VERSION_TAIL || memcmp(p, " HTTP/1.", 8) != 0 ||
                    !vv_h1_is(p[8], VV_H1_C_DIGIT) || p[9] != '\r' || p[10] != '\n')) {
        return vv_h1_bad(in, version_error(p, end));
    }
    h->minor = p[8] == '0' ? 0 : 1; /* 1.2 and later are spoken to as 1.1 (RFC 9110 2.5) */
    h->method = find_method(h->method_text.p, h->method_text.n);
    const enum vv_h1_error error = classify_target(h);
    if (VV_UNLIKELY(error != VV_H1_FINE)) {
        return vv_h1_refuse(in, error);
    }
    vv_h1_start_line_done(in, p + VERSION_TAIL);
    return VV_OK;
}

static enum vv_h1_error check_host(struct vv_h1_head *h)
{
    const struct vv_h1_field *host = vv_h1_find(h, VV_FIELD_HOST);
    if (host == NULL) {
        return h->minor >= 1 ? VV_H1_ERR_HOST_MISSING : VV_H1_FINE;
    }
    if ((h->repeated & VV_H1_REPEATED_HOST) != 0) {
        return VV_H1_ERR_HOST_REPEATED;
    }
    bool port;
    if (host->value.n > 0 &&
        (host->value.p[0] == ':' || !vv_h1_authority_valid(host->value, &port))) {
        return VV_H1_ERR_HOST_SYNTAX;
    }
    h->has_host = true;
    if (h->authority.p == NULL) { /* the target's own authority wins (RFC 9112 3.2.2) */
        h->authority = host->value;
    }
    return VV_H1_FINE;
}

/* All that can only be said when every field is known. The order is part of the behaviour: the
 * first reason found is the one reported. */
static enum vv_h1_error finish_request(struct vv_h1_head *h)
{
    enum vv_h1_error error = check_host(h);
    bool chunked = false;
    if (error == VV_H1_FINE) {
        error = vv_h1_framing_fields(h, &chunked);
    }
    if (error != VV_H1_FINE) {
        return error;
    }
    if (chunked) {
        h->framing = VV_H1_BODY_CHUNKED;
    } else if (h->has_content_length) {
        h->framing = VV_H1_BODY_LENGTH;
    }
    const struct vv_h1_field *f = vv_h1_find(h, VV_FIELD_EXPECT);
    h->expect_continue =
        f != NULL && h->minor >= 1 && vv_h1_list_has(f->value, VV_STR("100-continue"));
    f = vv_h1_find(h, VV_FIELD_TE);
    h->te_trailers = f != NULL && vv_h1_list_has(f->value, VV_STR("trailers"));
    return VV_H1_FINE;
}

VV_HOT enum vv_err vv_h1_parse_request(struct vv_h1_head *h, struct vv_str bytes,
                                       const struct vv_h1_limits *limits)
{
    struct vv_h1_input in;
    enum vv_err err = VV_OK;
    if (VV_UNLIKELY(!vv_h1_resume(&in, h, bytes, limits, false, &err))) {
        return err;
    }
    if (VV_LIKELY(!h->start_line_done)) {
        err = request_line(&in, limits);
        if (err != VV_OK) {
            return err;
        }
    }
    err = vv_h1_fields(&in);
    if (VV_UNLIKELY(err != VV_OK)) {
        return err;
    }
    const enum vv_h1_error error = finish_request(h);
    return VV_LIKELY(error == VV_H1_FINE) ? VV_OK : vv_h1_refuse(&in, error);
}
