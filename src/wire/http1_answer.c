/* src/wire/http1_answer.c - the status line and the framing of answers (RFC 9112 sections 4, 6.3).
 *
 * An upstream is checked like a client: what it sends is passed on to others, who may read an
 * ambiguous message differently from us. One leniency, because it is common and cannot be misread:
 * the space after the status code may be missing when there is no reason phrase. */
#include "wire/http1_int.h"

#include <string.h>

/* Bytes of "HTTP/1.1 200", and of the shortest whole line, "HTTP/1.1 200\r\n". */
#define STATUS_PREFIX 12
#define STATUS_LINE_MIN 14

static VV_COLD enum vv_h1_error status_line_error(const char *p, const char *end)
{
    const char *lf = memchr(p, '\n', (size_t)(end - p));
    for (const char *q = p; lf != NULL && q < lf; q++) {
        if (*q == '\r' && q + 1 != lf) {
            return VV_H1_ERR_BARE_CR;
        }
    }
    if (lf != NULL && (lf == p || lf[-1] != '\r')) {
        return VV_H1_ERR_BARE_LF;
    }
    if (lf == NULL || lf - p < 8 || memcmp(p, "HTTP/", 5) != 0) {
        return VV_H1_ERR_STATUS_LINE;
    }
    if (!vv_h1_is(p[5], VV_H1_C_DIGIT) || p[6] != '.' || !vv_h1_is(p[7], VV_H1_C_DIGIT)) {
        return VV_H1_ERR_VERSION_SYNTAX;
    }
    return p[5] != '1' ? VV_H1_ERR_VERSION_UNSUPPORTED : VV_H1_ERR_STATUS_LINE;
}

static enum vv_err status_line(struct vv_h1_input *in)
{
    struct vv_h1_head *h = in->h;
    const char *p = in->line, *end = in->end;
    if (p == end) {
        return vv_h1_more(in);
    }
    if (*p != 'H') {
        return vv_h1_refuse(in, VV_H1_ERR_STATUS_LINE); /* no later byte can mend this */
    }
    if (VV_UNLIKELY(end - p < STATUS_LINE_MIN || memcmp(p, "HTTP/1.", 7) != 0 ||
                    !vv_h1_is(p[7], VV_H1_C_DIGIT) || p[8] != ' ' ||
                    !vv_h1_is(p[9], VV_H1_C_DIGIT) || !vv_h1_is(p[10], VV_H1_C_DIGIT) ||
                    !vv_h1_is(p[11], VV_H1_C_DIGIT) || (p[12] != ' ' && p[12] != '\r'))) {
        return vv_h1_bad(in, status_line_error(p, end));
    }
    const char *reason = p + STATUS_PREFIX + (p[12] == ' ' ? 1 : 0);
    const char *stop = vv_h1_scan_value(reason, end);
    if (VV_UNLIKELY(end - stop < 2 || stop[0] != '\r' || stop[1] != '\n')) {
        return vv_h1_bad(in, vv_h1_line_error(stop, end, VV_H1_ERR_REASON_CHAR));
    }
    h->minor = p[7] == '0' ? 0 : 1;
    h->status = (p[9] - '0') * 100 + (p[10] - '0') * 10 + (p[11] - '0');
    h->reason = (struct vv_str){reason, (size_t)(stop - reason)};
    if (VV_UNLIKELY(h->status < 100 || h->status > 599)) {
        /* RFC 9110 section 15 has a client treat these as a 5xx: 502 is one. */
        return vv_h1_refuse(in, VV_H1_ERR_STATUS_CODE);
    }
    vv_h1_start_line_done(in, stop + 2);
    return VV_OK;
}

/* Content-Length and Transfer-Encoding of an answer that can have no body say nothing to the next
 * hop: not forwarded. Returns whether one of them announced bytes all the same. */
static bool drop_framing(struct vv_h1_head *h, bool chunked)
{
    for (uint32_t i = 0; i < h->fields_count; i++) {
        if (h->fields[i].id == VV_FIELD_CONTENT_LENGTH) {
            h->fields[i].hop = true;
        }
    }
    const bool announced = chunked || h->content_length > 0;
    h->content_length = 0;
    h->has_content_length = false;
    return announced;
}

/* RFC 9112 6.3, in its order. */
static void choose_framing(struct vv_h1_head *h, enum vv_method request_method, bool chunked)
{
    if (h->status == 101 ||
        (request_method == VV_METHOD_CONNECT && h->status >= 200 && h->status < 300)) {
        (void)drop_framing(h, chunked);
        h->framing = VV_H1_BODY_TUNNEL;
        h->keep_alive = false;
    } else if (h->status < 200 || h->status == 204) {
        h->framing = VV_H1_BODY_NONE;
        if (drop_framing(h, chunked)) {
            /* It may well send that body: those bytes must never pass for the next answer. */
            h->keep_alive = false;
        }
    } else if (request_method == VV_METHOD_HEAD || h->status == 304) {
        h->framing = VV_H1_BODY_NONE;
    } else if (chunked) {
        h->framing = VV_H1_BODY_CHUNKED;
    } else if (h->has_content_length) {
        h->framing = VV_H1_BODY_LENGTH;
    } else {
        h->framing = VV_H1_BODY_CLOSE;
        h->keep_alive = false;
    }
}

static enum vv_h1_error finish_answer(struct vv_h1_head *h, enum vv_method request_method)
{
    bool chunked = false;
    const enum vv_h1_error error = vv_h1_framing_fields(h, &chunked);
    if (error != VV_H1_FINE) {
        return error;
    }
    if (h->status == 101 && vv_h1_find(h, VV_FIELD_UPGRADE) == NULL) {
        return VV_H1_ERR_SWITCH_WITHOUT_UPGRADE;
    }
    choose_framing(h, request_method, chunked);
    return VV_H1_FINE;
}

VV_HOT enum vv_err vv_h1_parse_answer(struct vv_h1_head *h, struct vv_str bytes,
                                      enum vv_method request_method,
                                      const struct vv_h1_limits *limits)
{
    struct vv_h1_input in;
    enum vv_err err = VV_OK;
    if (VV_UNLIKELY(!vv_h1_resume(&in, h, bytes, limits, true, &err))) {
        return err;
    }
    if (VV_LIKELY(!h->start_line_done)) {
        err = status_line(&in);
        if (VV_UNLIKELY(err != VV_OK)) {
            return err;
        }
    }
    err = vv_h1_fields(&in);
    if (VV_UNLIKELY(err != VV_OK)) {
        return err;
    }
    const enum vv_h1_error error = finish_answer(h, request_method);
    return VV_LIKELY(error == VV_H1_FINE) ? VV_OK : vv_h1_refuse(&in, error);
}
