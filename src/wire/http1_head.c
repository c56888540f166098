/* src/wire/http1_head.c - lines, fields and framing: what both directions have in common.
 *
 * One pass: a field line is split while its bytes are looked at for the first time, and a head that
 * arrives whole (nearly all do) is never searched for its end beforehand. When a line is cut, only
 * the new bytes of the next call are searched for LF, and the line is split once it is there, so a
 * head sent byte by byte costs the same order of work. */
#include "wire/http1_int.h"

#include <string.h>

/* A Connection field may name this many options: each costs a walk over all fields. */
#define CONNECTION_OPTIONS_MAX 32

static const uint8_t repeat_bit[VV_FIELD_COUNT] = {
    [VV_FIELD_HOST] = VV_H1_REPEATED_HOST,
    [VV_FIELD_CONTENT_LENGTH] = VV_H1_REPEATED_LENGTH,
    [VV_FIELD_TRANSFER_ENCODING] = VV_H1_REPEATED_CODING,
};

/* RFC 9110 7.6.1. Proxy-Authorization is for the first proxy that asks for it (11.7.2), which is
 * us; trailers are dropped, so announcing them with Trailer would be a lie. */
static const bool hop_by_hop[VV_FIELD_COUNT] = {
    [VV_FIELD_CONNECTION] = true,
    [VV_FIELD_KEEP_ALIVE] = true,
    [VV_FIELD_PROXY_CONNECTION] = true,
    [VV_FIELD_PROXY_AUTHENTICATE] = true,
    [VV_FIELD_PROXY_AUTHORIZATION] = true,
    [VV_FIELD_TE] = true,
    [VV_FIELD_TRAILER] = true,
    [VV_FIELD_TRANSFER_ENCODING] = true,
    [VV_FIELD_UPGRADE] = true,
};

void vv_h1_head_init(struct vv_h1_head *h)
{
    memset(h, 0, offsetof(struct vv_h1_head, fields));
}

const struct vv_h1_field *vv_h1_find(const struct vv_h1_head *h, enum vv_field_id id)
{
    const uint8_t at = h->first[id];
    return at != 0 ? &h->fields[at - 1] : NULL;
}

const struct vv_h1_field *vv_h1_find_name(const struct vv_h1_head *h, struct vv_str name)
{
    for (uint32_t i = 0; i < h->fields_count; i++) {
        if (vv_str_eq_nocase(h->fields[i].name, name)) {
            return &h->fields[i];
        }
    }
    return NULL;
}

static void rebase_slice(struct vv_str *s, const char *from, const char *to)
{
    if (s->p != NULL) {
        s->p = to + ((uintptr_t)s->p - (uintptr_t)from);
    }
}

/* The caller's buffer has moved between two calls: lead the slices made so far after it. */
static VV_COLD void rebase(struct vv_h1_head *h, const char *to)
{
    rebase_slice(&h->method_text, h->base, to);
    rebase_slice(&h->target, h->base, to);
    rebase_slice(&h->scheme, h->base, to);
    rebase_slice(&h->authority, h->base, to);
    rebase_slice(&h->path, h->base, to);
    rebase_slice(&h->query, h->base, to);
    rebase_slice(&h->reason, h->base, to);
    for (uint32_t i = 0; i < h->fields_count; i++) {
        rebase_slice(&h->fields[i].name, h->base, to);
        rebase_slice(&h->fields[i].value, h->base, to);
    }
}

bool vv_h1_resume(struct vv_h1_input *in, struct vv_h1_head *h, struct vv_str bytes,
                  const struct vv_h1_limits *limits, bool answer, enum vv_err *ret)
{
    if (h->error != VV_H1_FINE) {
        *ret = VV_ESYNTAX;
        return false;
    }
    if (bytes.n == 0) {
        *ret = VV_EAGAIN;
        return false;
    }
    VV_ASSERT(limits->fields <= VV_H1_FIELDS_MAX);
    VV_ASSERT(bytes.n >= h->scan); /* the caller feeds from the start of the message */
    if (h->base != bytes.p) {
        if (h->base != NULL) {
            rebase(h, bytes.p);
        }
        h->base = bytes.p;
    }
    const size_t cap = limits->head_bytes;
    const size_t seen = bytes.n < cap ? bytes.n : cap;
    const size_t searched = h->scan;
    in->h = h;
    in->base = bytes.p;
    in->line = bytes.p + h->line;
    in->end = in->head_end = bytes.p + seen;
    in->full = in->head_full = bytes.n >= cap;
    in->full_error = VV_H1_ERR_HEAD_TOO_LARGE;
    in->answer = answer;
    in->fields_max = limits->fields;
    if (searched > h->line && memchr(bytes.p + searched, '\n', seen - searched) == NULL) {
        /* The line that was cut is still cut. A request line has its own, nearer limit. */
        if (answer || h->start_line_done || seen - h->line < (size_t)limits->line_bytes + 2) {
            *ret = vv_h1_more(in);
            return false;
        }
    }
    return true;
}

enum vv_err vv_h1_refuse(struct vv_h1_input *in, enum vv_h1_error error)
{
    in->h->error = in->answer ? vv_h1_error_for_answer(error) : error;
    return VV_ESYNTAX;
}

enum vv_err vv_h1_more(struct vv_h1_input *in)
{
    if (in->full) {
        return vv_h1_refuse(in, in->full_error);
    }
    in->h->line = (size_t)(in->line - in->base);
    in->h->scan = (size_t)(in->end - in->base);
    return VV_EAGAIN;
}

VV_COLD enum vv_err vv_h1_bad(struct vv_h1_input *in, enum vv_h1_error error)
{
    const size_t n = (size_t)(in->end - in->line);
    if (n == 0 || memchr(in->line, '\n', n) == NULL) {
        return vv_h1_more(in);
    }
    return vv_h1_refuse(in, error);
}

VV_COLD enum vv_h1_error vv_h1_line_error(const char *p, const char *end,
                                          enum vv_h1_error otherwise)
{
    if (p < end && *p == '\n') {
        return VV_H1_ERR_BARE_LF;
    }
    if (p < end && *p == '\r' && (end - p < 2 || p[1] != '\n')) {
        return VV_H1_ERR_BARE_CR;
    }
    return otherwise;
}

void vv_h1_start_line_done(struct vv_h1_input *in, const char *next)
{
    in->h->start_line_done = true;
    in->line = next;
    in->end = in->head_end;
    in->full = in->head_full;
    in->full_error = VV_H1_ERR_HEAD_TOO_LARGE;
}

/* Why the name that starts the line in hand is not followed by a colon at p. */
static VV_COLD enum vv_err bad_name(struct vv_h1_input *in, const char *p)
{
    const char *end = in->end;
    if (p == in->line && (*p == ' ' || *p == '\t')) {
        return vv_h1_bad(in,
                         in->h->fields_count > 0 ? VV_H1_ERR_OBS_FOLD : VV_H1_ERR_LEADING_SPACE);
    }
    if (*p == ':') {
        return vv_h1_bad(in, VV_H1_ERR_NAME_EMPTY);
    }
    if (*p == ' ' || *p == '\t') {
        const char *q = p;
        while (q < end && (*q == ' ' || *q == '\t')) {
            q++;
        }
        return vv_h1_bad(in,
                         q < end && *q == ':' ? VV_H1_ERR_SPACE_BEFORE_COLON : VV_H1_ERR_NAME_CHAR);
    }
    const bool ends = *p == '\r' || *p == '\n';
    return vv_h1_bad(in, vv_h1_line_error(p, end, ends ? VV_H1_ERR_NO_COLON : VV_H1_ERR_NAME_CHAR));
}

static inline void add_field(struct vv_h1_head *h, struct vv_str name, struct vv_str value)
{
    struct vv_h1_field *f = &h->fields[h->fields_count++];
    const enum vv_field_id id = vv_field_lookup_token(name.p, name.n);
    f->name = name;
    f->value = value;
    f->id = (uint16_t)id;
    f->hop = hop_by_hop[id];
    if (VV_LIKELY(h->first[id] == 0)) {
        h->first[id] = (uint8_t)h->fields_count;
    } else {
        h->repeated |= repeat_bit[id];
    }
}

VV_HOT enum vv_err vv_h1_fields(struct vv_h1_input *in)
{
    struct vv_h1_head *h = in->h;
    const char *end = in->end;
    for (;;) {
        const char *p = in->line;
        if (VV_UNLIKELY(p == end)) {
            return vv_h1_more(in);
        }
        if (*p == '\r') {
            if (VV_UNLIKELY(end - p < 2)) {
                return vv_h1_more(in);
            }
            if (VV_UNLIKELY(p[1] != '\n')) {
                return vv_h1_bad(in, VV_H1_ERR_BARE_CR);
            }
            h->head_bytes = (size_t)(p + 2 - in->base);
            return VV_OK;
        }
        if (VV_UNLIKELY(h->fields_count >= in->fields_max)) {
            return vv_h1_bad(in, VV_H1_ERR_TOO_MANY_FIELDS);
        }
        const char *name_end = vv_h1_skip(p, end, VV_H1_C_TOKEN);
        if (VV_UNLIKELY(name_end == end)) {
            return vv_h1_more(in);
        }
        if (VV_UNLIKELY(*name_end != ':' || name_end == p)) {
            return bad_name(in, name_end);
        }
        const char *value = name_end + 1;
        while (value < end && (*value == ' ' || *value == '\t')) {
            value++;
        }
        const char *stop = vv_h1_scan_value(value, end);
        if (VV_UNLIKELY(end - stop < 2)) {
            return vv_h1_bad(in, vv_h1_line_error(stop, end, VV_H1_ERR_VALUE_CHAR));
        }
        if (VV_UNLIKELY(stop[0] != '\r' || stop[1] != '\n')) {
            return vv_h1_bad(in, vv_h1_line_error(stop, end, VV_H1_ERR_VALUE_CHAR));
        }
        in->line = stop + 2;
        while (stop > value && (stop[-1] == ' ' || stop[-1] == '\t')) {
            stop--;
        }
        add_field(h, (struct vv_str){p, (size_t)(name_end - p)},
                  (struct vv_str){value, (size_t)(stop - value)});
    }
}

/* Marks the fields an option of Connection names as not to be forwarded. */
static void mark_hop(struct vv_h1_head *h, struct vv_str option)
{
    for (uint32_t i = 0; i < h->fields_count; i++) {
        if (vv_str_eq_nocase(h->fields[i].name, option)) {
            h->fields[i].hop = true;
        }
    }
}

struct options {
    bool close, keep_alive, upgrade;
    uint32_t count;
};

static enum vv_h1_error connection_option(struct vv_h1_head *h, struct vv_str option,
                                          struct options *seen)
{
    if (++seen->count > CONNECTION_OPTIONS_MAX || !vv_h1_is_token(option)) {
        return VV_H1_ERR_CONNECTION_SYNTAX;
    }
    if (vv_str_eq_nocase(option, VV_STR("close"))) {
        seen->close = true;
        return VV_H1_FINE;
    }
    switch (vv_field_lookup_token(option.p, option.n)) {
    case VV_FIELD_KEEP_ALIVE:
        seen->keep_alive = true;
        return VV_H1_FINE; /* the field of this name is hop-by-hop anyway */
    case VV_FIELD_UPGRADE:
        seen->upgrade = true;
        return VV_H1_FINE;
    case VV_FIELD_HOST:
    case VV_FIELD_CONTENT_LENGTH:
    case VV_FIELD_TRANSFER_ENCODING:
        /* Obeying would strip what delimits or addresses the message behind our own reading of it:
         * the next hop would see another message than we did. No honest sender asks for that. */
        return VV_H1_ERR_CONNECTION_NAMES;
    default:
        mark_hop(h, option);
        return VV_H1_FINE;
    }
}

static enum vv_h1_error judge_connection(struct vv_h1_head *h)
{
    struct options seen = {.count = 0};
    const struct vv_h1_field *f = vv_h1_find(h, VV_FIELD_CONNECTION);
    for (; f != NULL && f < h->fields + h->fields_count; f++) {
        if (f->id != VV_FIELD_CONNECTION) {
            continue;
        }
        struct vv_str rest = f->value, option;
        while (vv_h1_list_next(&rest, &option)) {
            const enum vv_h1_error error = connection_option(h, option, &seen);
            if (error != VV_H1_FINE) {
                return error;
            }
        }
    }
    h->keep_alive = !seen.close && (h->minor >= 1 || seen.keep_alive);
    h->upgrade = seen.upgrade && h->minor >= 1 && h->first[VV_FIELD_UPGRADE] != 0;
    return VV_H1_FINE;
}

/* One field, digits only. A comma list of equal values would be allowed to pass (RFC 9110 8.6), but
 * somebody on the way put it together, so somebody may take it apart differently: refused. */
static enum vv_h1_error judge_length(struct vv_h1_head *h)
{
    const struct vv_h1_field *f = vv_h1_find(h, VV_FIELD_CONTENT_LENGTH);
    if (f == NULL) {
        return VV_H1_FINE;
    }
    if ((h->repeated & VV_H1_REPEATED_LENGTH) != 0) {
        return VV_H1_ERR_LENGTH_REPEATED;
    }
    uint64_t n = 0;
    bool overflow = false;
    for (size_t i = 0; i < f->value.n; i++) {
        const char c = f->value.p[i];
        if (c < '0' || c > '9') {
            return c == ',' ? VV_H1_ERR_LENGTH_REPEATED : VV_H1_ERR_LENGTH_SYNTAX;
        }
        const uint64_t digit = (uint64_t)(c - '0');
        overflow = overflow || n > ((uint64_t)INT64_MAX - digit) / 10;
        n = overflow ? 0 : n * 10 + digit;
    }
    if (f->value.n == 0) {
        return VV_H1_ERR_LENGTH_SYNTAX;
    }
    if (overflow) {
        return VV_H1_ERR_LENGTH_OVERFLOW;
    }
    h->content_length = n;
    h->has_content_length = true;
    return VV_H1_FINE;
}

/* Only a single "chunked" is accepted; this finds the reason why something else is not. */
static VV_COLD enum vv_h1_error coding_error(const struct vv_h1_head *h)
{
    bool chunked = false, other_after = false, other = false, malformed = false;
    for (uint32_t i = 0; i < h->fields_count; i++) {
        if (h->fields[i].id != VV_FIELD_TRANSFER_ENCODING) {
            continue;
        }
        struct vv_str rest = h->fields[i].value;
        malformed = malformed || rest.n == 0;
        while (rest.p != NULL) {
            const struct vv_str item = vv_str_trim(vv_str_cut(&rest, ','));
            malformed = malformed || item.n == 0;
            if (vv_str_eq_nocase(item, VV_STR("chunked"))) {
                if (chunked) {
                    return VV_H1_ERR_CODING_REPEATED;
                }
                chunked = true;
            } else {
                other = true;
                other_after = other_after || chunked;
            }
        }
    }
    if (malformed) {
        return VV_H1_ERR_CODING_SYNTAX;
    }
    if (other_after) {
        return VV_H1_ERR_CODING_NOT_LAST;
    }
    return other ? VV_H1_ERR_CODING_UNKNOWN : VV_H1_ERR_CODING_SYNTAX;
}

static enum vv_h1_error judge_coding(struct vv_h1_head *h, bool *ret_chunked)
{
    const struct vv_h1_field *f = vv_h1_find(h, VV_FIELD_TRANSFER_ENCODING);
    *ret_chunked = f != NULL;
    if (f == NULL) {
        return VV_H1_FINE;
    }
    if (h->minor == 0) {
        return VV_H1_ERR_CODING_IN_1_0;
    }
    if (h->first[VV_FIELD_CONTENT_LENGTH] != 0) {
        return VV_H1_ERR_LENGTH_WITH_CODING;
    }
    if ((h->repeated & VV_H1_REPEATED_CODING) != 0 ||
        !vv_str_eq_nocase(f->value, VV_STR("chunked"))) {
        return coding_error(h);
    }
    return VV_H1_FINE;
}

enum vv_h1_error vv_h1_framing_fields(struct vv_h1_head *h, bool *ret_chunked)
{
    enum vv_h1_error error = judge_coding(h, ret_chunked);
    if (error == VV_H1_FINE) {
        error = judge_length(h);
    }
    return error == VV_H1_FINE ? judge_connection(h) : error;
}
