/* src/wire/resp_write.c - commands as bytes, and commands that people type. */
#include "wire/resp.h"

#define HEAD_MAX 23 /* a type, 20 digits, CR LF */

void vv_resp_out_init(struct vv_resp_out *o, char *text, size_t text_room, struct iovec *iov,
                      size_t iov_room)
{
    *o = (struct vv_resp_out){
        .text = text, .text_room = text_room, .iov = iov, .iov_room = iov_room};
}

static size_t put_head(char *to, char type, uint64_t v)
{
    char digits[20];
    size_t n = sizeof(digits), at = 1;
    do {
        digits[--n] = (char)('0' + v % 10);
        v /= 10;
    } while (v > 0);
    to[0] = type;
    memcpy(to + at, digits + n, sizeof(digits) - n);
    at += sizeof(digits) - n;
    memcpy(to + at, "\r\n", 2);
    return at + 2;
}

/* Text grows at its end: so does the vector's last part when it is text, too. */
static bool add_text(struct vv_resp_out *o, const char *p, size_t n)
{
    if (n == 0) {
        return true;
    }
    if (o->text_room - o->text_used < n) {
        return false;
    }
    char *to = o->text + o->text_used;
    if (o->text_last) {
        o->iov[o->iov_used - 1].iov_len += n;
    } else {
        if (o->iov_used == o->iov_room) {
            return false;
        }
        o->iov[o->iov_used++] = (struct iovec){to, n};
        o->text_last = true;
    }
    memcpy(to, p, n);
    o->text_used += n;
    o->bytes += n;
    return true;
}

static bool add_value(struct vv_resp_out *o, struct vv_str v)
{
    if (v.n <= VV_RESP_COPY_MAX) {
        return add_text(o, v.p, v.n);
    }
    if (o->iov_used == o->iov_room) {
        return false;
    }
    o->iov[o->iov_used++] = (struct iovec){(void *)(uintptr_t)v.p, v.n};
    o->text_last = false;
    o->bytes += v.n;
    return true;
}

static bool add_command(struct vv_resp_out *o, const struct vv_str *args, size_t args_count)
{
    char head[HEAD_MAX];
    if (!add_text(o, head, put_head(head, '*', args_count))) {
        return false;
    }
    for (size_t i = 0; i < args_count; i++) {
        if (!add_text(o, head, put_head(head, '$', args[i].n)) || !add_value(o, args[i]) ||
            !add_text(o, "\r\n", 2)) {
            return false;
        }
    }
    return true;
}

enum vv_err vv_resp_put(struct vv_resp_out *o, const struct vv_str *args, size_t args_count)
{
    const struct vv_resp_out before = *o;
    const size_t last_len = o->iov_used > 0 ? o->iov[o->iov_used - 1].iov_len : 0;
    VV_ASSERT(args_count > 0);
    if (add_command(o, args, args_count)) {
        return VV_OK;
    }
    *o = before;
    if (o->iov_used > 0) {
        o->iov[o->iov_used - 1].iov_len = last_len;
    }
    return VV_ELIMIT;
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static int hex(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = vv_char_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* What follows a backslash between double quotes; moves *at behind it. */
static char escaped(struct vv_str s, size_t *at)
{
    const char c = s.p[(*at)++];
    switch (c) {
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'b':
        return '\b';
    case 'a':
        return '\a';
    case 'x':
        if (*at + 2 <= s.n && hex(s.p[*at]) >= 0 && hex(s.p[*at + 1]) >= 0) {
            const int v = hex(s.p[*at]) * 16 + hex(s.p[*at + 1]);
            *at += 2;
            return (char)v;
        }
        return c;
    default:
        return c;
    }
}

/* One word from *at on, unquoted into `to`. */
static enum vv_err take_word(struct vv_str s, size_t *at, char *to, size_t *ret_n)
{
    char quote = '\0';
    size_t n = 0;
    while (*at < s.n && (quote != '\0' || !is_space(s.p[*at]))) {
        const char c = s.p[(*at)++];
        const bool more = *at < s.n;
        if (quote == '\0' && (c == '"' || c == '\'')) {
            quote = c;
        } else if (quote != '\0' && c == quote) {
            if (more && !is_space(s.p[*at])) {
                return VV_ESYNTAX; /* a closing quote ends the word */
            }
            quote = '\0';
        } else if (quote == '"' && c == '\\' && more) {
            to[n++] = escaped(s, at);
        } else if (quote == '\'' && c == '\\' && more && s.p[*at] == '\'') {
            to[n++] = s.p[(*at)++];
        } else {
            to[n++] = c;
        }
    }
    *ret_n = n;
    return quote == '\0' ? VV_OK : VV_ESYNTAX;
}

enum vv_err vv_resp_inline_split(struct vv_str line, char *text, struct vv_str *args,
                                 size_t args_max, size_t *ret_args)
{
    size_t at = 0, count = 0;
    for (;;) {
        while (at < line.n && is_space(line.p[at])) {
            at++;
        }
        if (at == line.n) {
            *ret_args = count;
            return VV_OK;
        }
        if (count == args_max) {
            return VV_ELIMIT;
        }
        size_t n = 0;
        const enum vv_err err = take_word(line, &at, text, &n);
        if (err != VV_OK) {
            return err;
        }
        args[count++] = (struct vv_str){text, n};
        text += n;
    }
}
