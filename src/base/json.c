/* src/base/json.c - JSON text per RFC 8259, written in one pass. */
#include "base/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define DEPTH_MAX 32

void vv_json_init(struct vv_json *j, struct vv_sb *out)
{
    *j = (struct vv_json){.out = out};
}

/* Called before every value: writes the comma that the place asks for. */
static void begin_item(struct vv_json *j)
{
    if (j->after_key) {
        j->after_key = false;
        return;
    }
    if (j->depth == 0) {
        return;
    }
    const uint32_t bit = UINT32_C(1) << (j->depth - 1);
    if ((j->has_item & bit) != 0) {
        vv_sb_addc(j->out, ',');
    }
    j->has_item |= bit;
}

static void open_level(struct vv_json *j, char c)
{
    VV_ASSERT(j->depth < DEPTH_MAX);
    begin_item(j);
    vv_sb_addc(j->out, c);
    j->depth++;
    j->has_item &= ~(UINT32_C(1) << (j->depth - 1));
}

static void close_level(struct vv_json *j, char c)
{
    VV_ASSERT(j->depth > 0);
    VV_ASSERT(!j->after_key);
    j->depth--;
    vv_sb_addc(j->out, c);
}

void vv_json_obj(struct vv_json *j)
{
    open_level(j, '{');
}

void vv_json_obj_end(struct vv_json *j)
{
    close_level(j, '}');
}

void vv_json_arr(struct vv_json *j)
{
    open_level(j, '[');
}

void vv_json_arr_end(struct vv_json *j)
{
    close_level(j, ']');
}

static bool is_tail(const uint8_t *p, uint8_t from, uint8_t to)
{
    return *p >= from && *p <= to;
}

/* Length of the well-formed UTF-8 sequence at p, 0 when there is none (Unicode 15, table 3-7). */
static size_t utf8_len(const uint8_t *p, size_t n)
{
    if (p[0] < 0x80) {
        return 1;
    }
    if (p[0] >= 0xC2 && p[0] <= 0xDF) {
        return n >= 2 && is_tail(p + 1, 0x80, 0xBF) ? 2 : 0;
    }
    if (p[0] >= 0xE0 && p[0] <= 0xEF) {
        const uint8_t from = p[0] == 0xE0 ? 0xA0 : 0x80; /* no overlong form */
        const uint8_t to = p[0] == 0xED ? 0x9F : 0xBF;   /* no surrogates */
        return n >= 3 && is_tail(p + 1, from, to) && is_tail(p + 2, 0x80, 0xBF) ? 3 : 0;
    }
    if (p[0] >= 0xF0 && p[0] <= 0xF4) {
        const uint8_t from = p[0] == 0xF0 ? 0x90 : 0x80;
        const uint8_t to = p[0] == 0xF4 ? 0x8F : 0xBF; /* not above U+10FFFF */
        return n >= 4 && is_tail(p + 1, from, to) && is_tail(p + 2, 0x80, 0xBF) &&
                       is_tail(p + 3, 0x80, 0xBF)
                   ? 4
                   : 0;
    }
    return 0;
}

static void add_escape(struct vv_sb *out, uint8_t c)
{
    static const char hex[] = "0123456789abcdef";
    static const char name[256] = {['"'] = '"',  ['\\'] = '\\', ['\b'] = 'b', ['\f'] = 'f',
                                   ['\n'] = 'n', ['\r'] = 'r',  ['\t'] = 't'};
    if (name[c] != 0) {
        vv_sb_add(out, (struct vv_str){(const char[]){'\\', name[c]}, 2});
    } else {
        const char text[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
        vv_sb_add(out, (struct vv_str){text, sizeof(text)});
    }
}

static void add_quoted(struct vv_sb *out, struct vv_str s)
{
    const uint8_t *p = (const uint8_t *)s.p;
    size_t plain = 0, at = 0; /* [plain, at) is copied in one piece */
    vv_sb_addc(out, '"');
    while (at < s.n) {
        const bool escape = p[at] < 0x20 || p[at] == 0x7F || p[at] == '"' || p[at] == '\\';
        const size_t len = escape ? 0 : utf8_len(p + at, s.n - at);
        if (len > 0) {
            at += len;
            continue;
        }
        vv_sb_add(out, (struct vv_str){s.p + plain, at - plain});
        if (escape) {
            add_escape(out, p[at]);
        } else {
            vv_sb_adds(out, "\xEF\xBF\xBD"); /* U+FFFD, one for each bad byte */
        }
        plain = ++at;
    }
    if (at > plain) {
        vv_sb_add(out, (struct vv_str){s.p + plain, at - plain});
    }
    vv_sb_addc(out, '"');
}

void vv_json_keyn(struct vv_json *j, struct vv_str key)
{
    VV_ASSERT(j->depth > 0);
    VV_ASSERT(!j->after_key);
    begin_item(j);
    add_quoted(j->out, key);
    vv_sb_addc(j->out, ':');
    j->after_key = true;
}

void vv_json_key(struct vv_json *j, const char *key)
{
    vv_json_keyn(j, vv_str_from(key));
}

void vv_json_str(struct vv_json *j, struct vv_str s)
{
    begin_item(j);
    add_quoted(j->out, s);
}

void vv_json_cstr(struct vv_json *j, const char *s)
{
    if (s == NULL) {
        vv_json_null(j);
    } else {
        vv_json_str(j, vv_str_from(s));
    }
}

void vv_json_u64(struct vv_json *j, uint64_t v)
{
    begin_item(j);
    vv_sb_addu(j->out, v);
}

void vv_json_i64(struct vv_json *j, int64_t v)
{
    begin_item(j);
    if (v < 0) {
        vv_sb_addc(j->out, '-');
    }
    vv_sb_addu(j->out, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
}

void vv_json_double(struct vv_json *j, double v)
{
    if (!isfinite(v)) {
        vv_json_null(j);
        return;
    }
    char text[32];
    /* 15 digits are pretty, 17 always read back: take the shortest that does. */
    for (int digits = 15; digits <= 17; digits++) {
        (void)snprintf(text, sizeof(text), "%.*g", digits, v);
        if (strtod(text, NULL) == v) { /* the same number; a zero keeps its sign in text */
            break;
        }
    }
    begin_item(j);
    vv_sb_adds(j->out, text);
}

void vv_json_bool(struct vv_json *j, bool v)
{
    begin_item(j);
    vv_sb_adds(j->out, v ? "true" : "false");
}

void vv_json_null(struct vv_json *j)
{
    begin_item(j);
    vv_sb_adds(j->out, "null");
}

void vv_json_kstr(struct vv_json *j, const char *key, struct vv_str s)
{
    vv_json_key(j, key);
    vv_json_str(j, s);
}

void vv_json_kcstr(struct vv_json *j, const char *key, const char *s)
{
    vv_json_key(j, key);
    vv_json_cstr(j, s);
}

void vv_json_ku64(struct vv_json *j, const char *key, uint64_t v)
{
    vv_json_key(j, key);
    vv_json_u64(j, v);
}

void vv_json_kdouble(struct vv_json *j, const char *key, double v)
{
    vv_json_key(j, key);
    vv_json_double(j, v);
}

void vv_json_kbool(struct vv_json *j, const char *key, bool v)
{
    vv_json_key(j, key);
    vv_json_bool(j, v);
}
