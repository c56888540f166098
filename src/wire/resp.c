/* src/wire/resp.c - replies of Redis as a walk over items: no tree is built, since what the product
 * asks for are mostly single values, and large ones are to go to a client while they still arrive.
 * What has to be remembered between two calls is a counter per depth. */
#include "wire/resp.h"

#include <stdlib.h>

#define BULK_MAX_DEFAULT (512 * VV_MIB) /* proto-max-bulk-len of the server */
#define ITEMS_MAX_DEFAULT UINT64_C(1048576)
#define DOUBLE_MAX 128 /* characters; the server prints at most 17 digits and an exponent */

enum state { ST_VALUE, ST_FORMAT, ST_BYTES };

static int type_of(char byte)
{
    switch (byte) {
#define AS_CASE(id, first, name)                                                                   \
    case first:                                                                                    \
        return VV_RESP_##id;
        VV_RESP_TYPES(AS_CASE)
    default:
        return VV_RESP_INLINE;
    }
}

void vv_resp_reader_init(struct vv_resp_reader *r, const struct vv_resp_limits *limits,
                         bool commands)
{
    *r = (struct vv_resp_reader){.commands = commands};
    if (limits != NULL) {
        r->limits = *limits;
    }
    if (r->limits.bulk_max == 0) {
        r->limits.bulk_max = BULK_MAX_DEFAULT;
    }
    if (r->limits.items_max == 0) {
        r->limits.items_max = ITEMS_MAX_DEFAULT;
    }
}

bool vv_resp_between(const struct vv_resp_reader *r)
{
    return r->items == 0;
}

/* Finds the end of the line that begins with the type's byte; *ret_n is without CR LF. */
static enum vv_err find_line(struct vv_resp_reader *r, struct vv_str bytes, size_t *ret_n)
{
    const size_t look = bytes.n > VV_RESP_LINE_MAX ? VV_RESP_LINE_MAX + 1 : bytes.n;
    const size_t from = r->scanned < look ? r->scanned : look;
    const char *cr = memchr(bytes.p + from, '\r', look - from);
    if (cr == NULL) {
        r->scanned = look;
        return bytes.n > VV_RESP_LINE_MAX ? VV_ELIMIT : VV_EAGAIN;
    }
    const size_t n = (size_t)(cr - bytes.p);
    r->scanned = n;
    if (n + 1 == bytes.n) {
        return VV_EAGAIN;
    }
    if (cr[1] != '\n') {
        return VV_ESYNTAX;
    }
    r->scanned = 0;
    *ret_n = n;
    return VV_OK;
}

/* Commands typed by hand may end in LF alone. *ret_used includes the end. */
static enum vv_err find_inline(struct vv_resp_reader *r, struct vv_str bytes, struct vv_str *ret,
                               size_t *ret_used)
{
    const size_t look = bytes.n > VV_RESP_LINE_MAX ? VV_RESP_LINE_MAX + 1 : bytes.n;
    const size_t from = r->scanned < look ? r->scanned : look;
    const char *lf = memchr(bytes.p + from, '\n', look - from);
    if (lf == NULL) {
        r->scanned = look;
        return bytes.n > VV_RESP_LINE_MAX ? VV_ELIMIT : VV_EAGAIN;
    }
    const size_t n = (size_t)(lf - bytes.p);
    r->scanned = 0;
    *ret = (struct vv_str){bytes.p, n > 0 && bytes.p[n - 1] == '\r' ? n - 1 : n};
    *ret_used = n + 1;
    return VV_OK;
}

static enum vv_err to_i64(struct vv_str s, int64_t *ret)
{
    const bool minus = s.n > 0 && s.p[0] == '-';
    const size_t from = s.n > 0 && (s.p[0] == '-' || s.p[0] == '+') ? 1 : 0;
    int64_t v = 0;
    if (from == s.n) {
        return VV_ESYNTAX;
    }
    for (size_t i = from; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9') {
            return VV_ESYNTAX;
        }
        const int64_t digit = s.p[i] - '0';
        if (__builtin_mul_overflow(v, 10, &v) ||
            __builtin_add_overflow(v, minus ? -digit : digit, &v)) {
            return VV_ESYNTAX;
        }
    }
    *ret = v;
    return VV_OK;
}

static enum vv_err to_double(struct vv_str s, double *ret)
{
    char text[DOUBLE_MAX + 1];
    char *end = NULL;
    if (s.n == 0 || s.n > DOUBLE_MAX) {
        return VV_ESYNTAX;
    }
    if (vv_str_eq(s, VV_STR("inf")) || vv_str_eq(s, VV_STR("-inf"))) {
        *ret = s.p[0] == '-' ? -__builtin_inf() : __builtin_inf();
        return VV_OK;
    }
    if (vv_str_eq(s, VV_STR("nan")) || vv_str_eq(s, VV_STR("-nan"))) {
        *ret = __builtin_nan("");
        return VV_OK;
    }
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    const size_t sign = text[0] == '-' || text[0] == '+' ? 1 : 0;
    if (text[sign] < '0' || text[sign] > '9' || strspn(text, "0123456789+-.eE") != s.n) {
        return VV_ESYNTAX; /* strtod would take hexadecimal, spaces and names as well */
    }
    *ret = strtod(text, &end);
    return end == text + s.n ? VV_OK : VV_ESYNTAX;
}

static bool is_big(struct vv_str s)
{
    const size_t from = s.n > 0 && (s.p[0] == '-' || s.p[0] == '+') ? 1 : 0;
    for (size_t i = from; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9') {
            return false;
        }
    }
    return s.n > from;
}

/* A length: digits; *ret_null for the -1 that means "no value" in version 2. */
static enum vv_err to_length(struct vv_str s, uint64_t *ret, bool *ret_null)
{
    int64_t v = 0;
    if (vv_str_eq(s, VV_STR("?"))) {
        return VV_EUNSUPPORTED;
    }
    *ret_null = vv_str_eq(s, VV_STR("-1"));
    if (*ret_null) {
        return VV_OK;
    }
    if (s.n == 0 || s.p[0] < '0' || s.p[0] > '9' || to_i64(s, &v) != VV_OK) {
        return VV_ESYNTAX;
    }
    *ret = (uint64_t)v;
    return VV_OK;
}

/* A value is complete: so may be the aggregates around it. True: the reply is, too. */
static bool value_ends(struct vv_resp_reader *r)
{
    while (r->depth > 0) {
        if (--r->left[r->depth - 1] > 0) {
            return false;
        }
        r->depth--;
        const uint16_t bit = (uint16_t)(1u << r->depth);
        if ((r->attributes & bit) != 0) { /* the value that it speaks of is still to come */
            r->attributes = (uint16_t)(r->attributes & ~bit);
            return false;
        }
    }
    r->items = 0;
    r->push = false;
    return true;
}

static enum vv_err open_aggregate(struct vv_resp_reader *r, struct vv_resp_item *it, uint64_t n)
{
    const bool pairs = it->type == VV_RESP_MAP || it->type == VV_RESP_ATTRIBUTE;
    if (n > r->limits.items_max / 2) {
        return VV_ELIMIT;
    }
    it->count = pairs ? 2 * n : n;
    if (it->type == VV_RESP_PUSH) {
        if (r->depth > 0) {
            return VV_ESYNTAX;
        }
        it->push = r->push = true;
    }
    if (it->type == VV_RESP_ATTRIBUTE) {
        it->attribute = true;
    }
    if (n == 0) {
        it->done = it->type != VV_RESP_ATTRIBUTE && value_ends(r);
        return VV_OK;
    }
    if (r->depth == VV_RESP_DEPTH_MAX) {
        return VV_ELIMIT;
    }
    if (it->type == VV_RESP_ATTRIBUTE) {
        r->attributes = (uint16_t)(r->attributes | 1u << r->depth);
    }
    r->left[r->depth++] = it->count;
    return VV_OK;
}

static enum vv_err open_string(struct vv_resp_reader *r, enum vv_resp_type type, uint64_t n)
{
    if (n > r->limits.bulk_max) {
        return VV_ELIMIT;
    }
    if (type == VV_RESP_VERBATIM && n < 4) {
        return VV_ESYNTAX;
    }
    r->string = (uint8_t)type;
    r->total = r->rest = n;
    r->state = type == VV_RESP_VERBATIM ? ST_FORMAT : ST_BYTES;
    memset(r->format, 0, sizeof(r->format));
    return VV_OK;
}

static enum vv_err next_run(struct vv_resp_reader *r, struct vv_str bytes, size_t *ret_used,
                            struct vv_resp_item *it)
{
    if (r->state == ST_FORMAT) {
        if (bytes.n < 4) {
            return VV_EAGAIN;
        }
        if (bytes.p[3] != ':') {
            return VV_ESYNTAX;
        }
        memcpy(r->format, bytes.p, 3);
        r->total = r->rest = r->total - 4;
        r->state = ST_BYTES;
        *ret_used += 4;
        bytes = (struct vv_str){bytes.p + 4, bytes.n - 4};
    }
    const size_t n = (size_t)vv_min_u64(r->rest, bytes.n), tail = bytes.n - n;
    const bool ends = n == r->rest && tail >= 2 && memcmp(bytes.p + n, "\r\n", 2) == 0;
    if (n == 0 && !ends) {
        const bool wrong = r->rest == 0 && tail > 0 && (tail > 1 || bytes.p[0] != '\r');
        return wrong ? VV_ESYNTAX : VV_EAGAIN;
    }
    it->type = (enum vv_resp_type)r->string;
    memcpy(it->format, r->format, sizeof(it->format));
    it->text = (struct vv_str){bytes.p, n};
    it->count = r->total;
    it->first = r->rest == r->total;
    it->last = ends;
    r->rest -= n;
    *ret_used += n;
    if (ends) {
        *ret_used += 2;
        r->state = ST_VALUE;
        it->done = value_ends(r);
    }
    return VV_OK;
}

/* The line of a value that is one: everything but strings and aggregates. */
static enum vv_err line_value(struct vv_resp_item *it, struct vv_str line)
{
    switch (it->type) {
    case VV_RESP_STATUS:
    case VV_RESP_ERROR:
        it->text = line;
        return line.n > 0 && memchr(line.p, '\n', line.n) != NULL ? VV_ESYNTAX : VV_OK;
    case VV_RESP_INTEGER:
        return to_i64(line, &it->integer);
    case VV_RESP_NIL:
        return line.n == 0 ? VV_OK : VV_ESYNTAX;
    case VV_RESP_BOOLEAN:
        it->integer = line.n == 1 && line.p[0] == 't';
        return line.n == 1 && (line.p[0] == 't' || line.p[0] == 'f') ? VV_OK : VV_ESYNTAX;
    case VV_RESP_DOUBLE:
        return to_double(line, &it->number);
    default:
        VV_ASSERT(it->type == VV_RESP_BIG);
        it->text = line;
        if (line.n > VV_RESP_NUMBER_MAX) {
            return VV_ELIMIT;
        }
        return is_big(line) ? VV_OK : VV_ESYNTAX;
    }
}

static bool is_string(enum vv_resp_type t)
{
    return t == VV_RESP_BULK || t == VV_RESP_BULK_ERROR || t == VV_RESP_VERBATIM;
}

static bool is_aggregate(enum vv_resp_type t)
{
    return t == VV_RESP_ARRAY || t == VV_RESP_MAP || t == VV_RESP_SET || t == VV_RESP_PUSH ||
           t == VV_RESP_ATTRIBUTE;
}

/* Acts upon the line of any type; *ret_item: there is an item, otherwise a string's bytes follow. */
static enum vv_err on_line(struct vv_resp_reader *r, struct vv_str line, struct vv_resp_item *it,
                           bool *ret_item)
{
    bool null = false;
    uint64_t n = 0;
    *ret_item = true;
    if (!is_string(it->type) && !is_aggregate(it->type)) {
        const enum vv_err err = line_value(it, line);
        it->done = err == VV_OK && value_ends(r);
        return err;
    }
    const enum vv_err err = to_length(line, &n, &null);
    if (err != VV_OK) {
        return err;
    }
    if (null) {
        if (it->type != VV_RESP_BULK && it->type != VV_RESP_ARRAY) {
            return VV_ESYNTAX;
        }
        it->type = VV_RESP_NIL;
        it->done = value_ends(r);
        return VV_OK;
    }
    if (is_aggregate(it->type)) {
        return open_aggregate(r, it, n);
    }
    *ret_item = false;
    return open_string(r, it->type, n);
}

/* A client may only send an array of strings, or a line. */
static bool is_allowed(const struct vv_resp_reader *r, enum vv_resp_type t)
{
    if (!r->commands) {
        return t != VV_RESP_INLINE;
    }
    return r->depth == 0 ? t == VV_RESP_ARRAY : t == VV_RESP_BULK;
}

static enum vv_err next_value(struct vv_resp_reader *r, struct vv_str bytes, size_t *ret_used,
                              struct vv_resp_item *it, bool *ret_item)
{
    size_t n = 0;
    *ret_item = true;
    if (bytes.n == 0) {
        return VV_EAGAIN;
    }
    it->type = (enum vv_resp_type)type_of(bytes.p[0]);
    if (r->commands && r->depth == 0 && it->type != VV_RESP_ARRAY) {
        it->type = VV_RESP_INLINE;
        const enum vv_err err = find_inline(r, bytes, &it->text, ret_used);
        it->done = err == VV_OK;
        return err;
    }
    if (!is_allowed(r, it->type)) {
        return VV_ESYNTAX;
    }
    const enum vv_err err = find_line(r, bytes, &n);
    if (err != VV_OK) {
        return err;
    }
    *ret_used = n + 2;
    if (++r->items > r->limits.items_max) {
        return VV_ELIMIT;
    }
    return on_line(r, (struct vv_str){bytes.p + 1, n - 1}, it, ret_item);
}

enum vv_err vv_resp_next(struct vv_resp_reader *r, struct vv_str bytes, size_t *ret_used,
                         struct vv_resp_item *ret)
{
    enum vv_err err = r->err;
    bool item = false;
    *ret_used = 0;
    if (err != VV_OK) {
        return err;
    }
    struct vv_resp_item it = {.depth = r->depth,
                              .first = true,
                              .last = true,
                              .attribute = r->attributes != 0,
                              .push = r->push};
    if (r->state == ST_VALUE) {
        err = next_value(r, bytes, ret_used, &it, &item);
    }
    if (err == VV_OK && !item) {
        const struct vv_str rest = {bytes.p + *ret_used, bytes.n - *ret_used};
        err = next_run(r, rest, ret_used, &it);
    }
    if (err == VV_OK) {
        *ret = it;
    } else if (err != VV_EAGAIN) {
        r->err = err;
    }
    return err;
}
