/* src/gateway/resp_convert.c - answers from items back to bytes, in the client's version. A list of pairs is
 * recognized by its first element, so its head waits for that; nothing else is ever held back. */
#include "gateway/resp_commands.h"
#include <stdio.h>
#include <stdlib.h>

#define ROOM_MIN 256

void vv_resp_bytes_fini(struct vv_resp_bytes *b)
{
    free(b->p);
    *b = (struct vv_resp_bytes){0};
}

bool vv_resp_bytes_room(struct vv_resp_bytes *b, size_t more)
{
    if (b->cap - b->n >= more) {
        return true;
    }
    size_t cap = b->cap > 0 ? b->cap : ROOM_MIN;
    while (cap - b->n < more) {
        if (cap > SIZE_MAX / 2) {
            return false;
        }
        cap *= 2;
    }
    char *p = realloc(b->p, cap);
    if (p == NULL) {
        return false;
    }
    b->p = p;
    b->cap = cap;
    return true;
}

bool vv_resp_bytes_add(struct vv_resp_bytes *b, struct vv_str s)
{
    if (!vv_resp_bytes_room(b, s.n)) {
        return false;
    }
    if (s.n > 0) {
        memcpy(b->p + b->n, s.p, s.n);
    }
    b->n += s.n;
    return true;
}

bool vv_resp_bytes_head(struct vv_resp_bytes *b, char type, int64_t n)
{
    char text[24];
    char *at = text + sizeof text;
    uint64_t left = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;
    *--at = '\n';
    *--at = '\r';
    do {
        *--at = (char)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    if (n < 0) {
        *--at = '-';
    }
    const size_t used = (size_t)(text + sizeof text - at);
    if (!vv_resp_bytes_room(b, used + 1)) {
        return false;
    }
    b->p[b->n++] = type;
    memcpy(b->p + b->n, at, used);
    b->n += used;
    return true;
}

bool vv_resp_bytes_bulk(struct vv_resp_bytes *b, struct vv_str s)
{
    /* All or nothing: a head alone would spoil what follows. */
    return vv_resp_bytes_room(b, s.n + 32) && vv_resp_bytes_head(b, '$', (int64_t)s.n) &&
           vv_resp_bytes_add(b, s) && vv_resp_bytes_add(b, VV_STR("\r\n"));
}

bool vv_resp_bytes_map(struct vv_resp_bytes *b, unsigned version, int64_t pairs)
{
    return version >= 3 ? vv_resp_bytes_head(b, '%', pairs) : vv_resp_bytes_head(b, '*', 2 * pairs);
}

bool vv_resp_bytes_nil(struct vv_resp_bytes *b, unsigned version)
{
    return vv_resp_bytes_add(b, version >= 3 ? VV_STR("_\r\n") : VV_STR("$-1\r\n"));
}

void vv_resp_convert_init(struct vv_resp_convert *v, unsigned version, uint16_t flags)
{
    *v = (struct vv_resp_convert){.flags = flags, .version = (uint8_t)version};
}

static bool line(struct vv_resp_bytes *out, char type, struct vv_str text)
{
    if (!vv_resp_bytes_room(out, text.n + 3)) {
        return false;
    }
    out->p[out->n++] = type;
    if (text.n > 0) {
        memcpy(out->p + out->n, text.p, text.n);
    }
    out->n += text.n;
    return vv_resp_bytes_add(out, VV_STR("\r\n"));
}

/* As the server prints scores: the shortest text that reads back. */
static bool number(const struct vv_resp_convert *v, double d, struct vv_resp_bytes *out)
{
    char text[40];
    if (__builtin_isinf(d) || __builtin_isnan(d)) {
        (void)snprintf(text, sizeof text, "%s",
                       __builtin_isnan(d) ? "nan"
                       : d < 0            ? "-inf"
                                          : "inf");
    } else {
        for (int digits = 15; digits <= 17; digits++) {
            (void)snprintf(text, sizeof text, "%.*g", digits, d);
            if (strtod(text, NULL) == d) {
                break;
            }
        }
    }
    return v->version >= 3 ? line(out, ',', vv_str_from(text))
                           : vv_resp_bytes_bulk(out, vv_str_from(text));
}

static bool nil(const struct vv_resp_convert *v, const struct vv_resp_item *it,
                struct vv_resp_bytes *out)
{
    if (v->version < 3 && it->depth == 0 && (v->flags & VV_RESP_NIL_LIST) != 0) {
        return vv_resp_bytes_add(out, VV_STR("*-1\r\n"));
    }
    return vv_resp_bytes_nil(out, v->version);
}

/* An error of any length is one line in version 2: its first run, without line ends. */
static bool long_error(const struct vv_resp_item *it, struct vv_resp_bytes *out)
{
    if (it->first && !vv_resp_bytes_add(out, VV_STR("-"))) {
        return false;
    }
    const size_t from = out->n;
    if (it->first &&
        !vv_resp_bytes_add(out, (struct vv_str){it->text.p, it->text.n < 512 ? it->text.n : 512})) {
        return false;
    }
    for (size_t i = from; i < out->n; i++) {
        if (out->p[i] == '\r' || out->p[i] == '\n') {
            out->p[i] = ' ';
        }
    }
    return !it->last || vv_resp_bytes_add(out, VV_STR("\r\n"));
}

static bool string(const struct vv_resp_convert *v, const struct vv_resp_item *it,
                   struct vv_resp_bytes *out)
{
    if (it->type == VV_RESP_BULK_ERROR && v->version < 3) {
        return long_error(it, out);
    }
    if (!vv_resp_bytes_room(out, it->text.n + 40)) {
        return false;
    }
    bool fine = true;
    if (it->first && it->type == VV_RESP_VERBATIM && v->version >= 3) {
        fine = vv_resp_bytes_head(out, '=', (int64_t)it->count + 4) &&
               vv_resp_bytes_add(out, vv_str_from(it->format)) &&
               vv_resp_bytes_add(out, VV_STR(":"));
    } else if (it->first) {
        fine =
            vv_resp_bytes_head(out, it->type == VV_RESP_BULK_ERROR ? '!' : '$', (int64_t)it->count);
    }
    return fine && vv_resp_bytes_add(out, it->text) &&
           (!it->last || vv_resp_bytes_add(out, VV_STR("\r\n")));
}

static bool aggregate(struct vv_resp_convert *v, const struct vv_resp_item *it,
                      struct vv_resp_bytes *out)
{
    const int64_t n = (int64_t)it->count;
    if (v->version < 3) {
        if (it->depth == 0 && it->type == VV_RESP_ARRAY && n > 0 &&
            (v->flags & VV_RESP_PAIRS) != 0) {
            v->waits = true;
            v->count = it->count;
            return true;
        }
        return vv_resp_bytes_head(out, '*', n);
    }
    if (it->type == VV_RESP_MAP) {
        return vv_resp_bytes_head(out, '%', n / 2);
    }
    /* From a server that speaks version 2 only. */
    if (it->depth == 0 && it->type == VV_RESP_ARRAY && (v->flags & VV_RESP_AS_MAP) != 0 &&
        n % 2 == 0) {
        return vv_resp_bytes_head(out, '%', n / 2);
    }
    const bool set =
        it->type == VV_RESP_SET || (it->depth == 0 && (v->flags & VV_RESP_AS_SET) != 0);
    return vv_resp_bytes_head(out, set ? '~' : '*', n);
}

/* The first element of a list that may be one of pairs decides how the list is written. */
static bool decide(struct vv_resp_convert *v, const struct vv_resp_item *it,
                   struct vv_resp_bytes *out)
{
    v->waits = false;
    v->flat = it->type == VV_RESP_ARRAY && it->count == 2;
    return vv_resp_bytes_head(out, '*', (int64_t)(v->flat ? 2 * v->count : v->count));
}

bool vv_resp_convert(struct vv_resp_convert *v, const struct vv_resp_item *it,
                     struct vv_resp_bytes *out)
{
    if (it->attribute || it->push) {
        return true; /* says something about the answer, is none */
    }
    if (v->waits && !decide(v, it, out)) {
        return false;
    }
    if (v->flat && it->depth == 1 && it->first) {
        if (it->type == VV_RESP_ARRAY && it->count == 2) {
            return true; /* the pair's own head */
        }
        /* No pair beside pairs: no server says so, but two places were promised for it. */
        if (!vv_resp_bytes_nil(out, v->version)) {
            return false;
        }
    }
    switch (it->type) {
    case VV_RESP_STATUS:
        return line(out, '+', it->text);
    case VV_RESP_ERROR:
        return line(out, '-', it->text);
    case VV_RESP_INTEGER:
        return vv_resp_bytes_head(out, ':', it->integer);
    case VV_RESP_BOOLEAN:
        return v->version >= 3 ? line(out, '#', it->integer != 0 ? VV_STR("t") : VV_STR("f"))
                               : vv_resp_bytes_head(out, ':', it->integer);
    case VV_RESP_NIL:
        return nil(v, it, out);
    case VV_RESP_DOUBLE:
        return number(v, it->number, out);
    case VV_RESP_BIG:
        return v->version >= 3 ? line(out, '(', it->text) : vv_resp_bytes_bulk(out, it->text);
    case VV_RESP_BULK:
    case VV_RESP_BULK_ERROR:
    case VV_RESP_VERBATIM:
        return string(v, it, out);
    default:
        return aggregate(v, it, out);
    }
}
