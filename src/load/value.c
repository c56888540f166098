/* src/load/value.c - JSON to values and back. Written here and not with the JSON library, because a
 * capture happens once for each answer and must not ask the heap for every node. */
#include "load/value.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define DEPTH_MAX 64
#define NODES_MAX 1000000 /* of one text */

struct reader {
    struct vv_arena *arena;
    const char *at, *end;
    struct vv_sb scratch; /* texts with escapes */
    uint32_t nodes;
    bool failed;
};

static void fail(struct reader *r)
{
    r->failed = true;
    r->at = r->end;
}

static void skip_space(struct reader *r)
{
    while (r->at < r->end &&
           (*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r')) {
        r->at++;
    }
}

static bool take(struct reader *r, char c)
{
    skip_space(r);
    if (r->at < r->end && *r->at == c) {
        r->at++;
        return true;
    }
    return false;
}

/* ---- texts --------------------------------------------------------------------------------- */

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static uint32_t read_hex4(struct reader *r)
{
    uint32_t v = 0;
    for (int i = 0; i < 4; i++) {
        const int d = r->at < r->end ? hex_digit(*r->at++) : -1;
        if (d < 0) {
            fail(r);
            return 0;
        }
        v = v * 16 + (uint32_t)d;
    }
    return v;
}

static void add_utf8(struct vv_sb *sb, uint32_t c)
{
    if (c < 0x80) {
        vv_sb_addc(sb, (char)c);
    } else if (c < 0x800) {
        vv_sb_addc(sb, (char)(0xc0 | (c >> 6)));
        vv_sb_addc(sb, (char)(0x80 | (c & 0x3f)));
    } else if (c < 0x10000) {
        vv_sb_addc(sb, (char)(0xe0 | (c >> 12)));
        vv_sb_addc(sb, (char)(0x80 | ((c >> 6) & 0x3f)));
        vv_sb_addc(sb, (char)(0x80 | (c & 0x3f)));
    } else {
        vv_sb_addc(sb, (char)(0xf0 | (c >> 18)));
        vv_sb_addc(sb, (char)(0x80 | ((c >> 12) & 0x3f)));
        vv_sb_addc(sb, (char)(0x80 | ((c >> 6) & 0x3f)));
        vv_sb_addc(sb, (char)(0x80 | (c & 0x3f)));
    }
}

static void read_unicode(struct reader *r)
{
    uint32_t c = read_hex4(r);
    if (c >= 0xd800 && c < 0xdc00 && r->end - r->at >= 6 && r->at[0] == '\\' && r->at[1] == 'u') {
        const char *before = r->at;
        r->at += 2;
        const uint32_t low = read_hex4(r);
        if (low >= 0xdc00 && low < 0xe000) {
            c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
        } else if (!r->failed) {
            r->at = before;
        }
    }
    add_utf8(&r->scratch, c >= 0xd800 && c < 0xe000 ? 0xfffd : c);
}

static void read_escape(struct reader *r)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char c = r->at < r->end ? *r->at++ : '\0';
    const char *found = c != '\0' ? strchr(from, c) : NULL;
    if (found != NULL) {
        vv_sb_addc(&r->scratch, to[found - from]);
    } else if (c == 'u') {
        read_unicode(r);
    } else {
        fail(r);
    }
}

static struct vv_str read_text(struct reader *r) /* after the opening quote */
{
    vv_sb_reset(&r->scratch);
    for (;;) {
        const char *from = r->at;
        while (r->at < r->end && *r->at != '"' && *r->at != '\\' && (unsigned char)*r->at >= ' ') {
            r->at++;
        }
        vv_sb_add(&r->scratch, (struct vv_str){from, (size_t)(r->at - from)});
        const char c = r->at < r->end ? *r->at++ : '\0';
        if (c == '"') {
            break;
        }
        if (c != '\\') {
            fail(r);
            break;
        }
        read_escape(r);
        if (r->failed) {
            break;
        }
    }
    struct vv_str s = vv_arena_str(r->arena, vv_sb_str(&r->scratch));
    if (s.p == NULL || r->scratch.failed) {
        fail(r);
    }
    return s;
}

/* ---- values -------------------------------------------------------------------------------- */

static void read_value(struct reader *r, struct vv_load_value *v, int depth);

static void read_digits(struct reader *r)
{
    const char *from = r->at;
    while (r->at < r->end && *r->at >= '0' && *r->at <= '9') {
        r->at++;
    }
    if (r->at == from) {
        fail(r);
    }
}

static void read_number(struct reader *r, struct vv_load_value *v)
{
    const char *from = r->at;
    r->at += *r->at == '-';
    if (r->at < r->end && *r->at == '0') {
        r->at++;
    } else {
        read_digits(r);
    }
    if (r->at < r->end && *r->at == '.') {
        r->at++;
        read_digits(r);
    }
    if (r->at < r->end && (*r->at == 'e' || *r->at == 'E')) {
        r->at++;
        r->at += r->at < r->end && (*r->at == '+' || *r->at == '-');
        read_digits(r);
    }
    if (!r->failed) {
        v->kind = VV_LOAD_NUMBER;
        v->text = vv_arena_str(r->arena, (struct vv_str){from, (size_t)(r->at - from)});
        r->failed = v->text.p == NULL;
    }
}

/* Items are gathered in a growing array of the arena: what it leaves behind is at most as much again. */
struct items {
    struct vv_load_value *item;
    struct vv_str *key;
    size_t count, room;
};

static bool grow(struct reader *r, struct items *g)
{
    if (++r->nodes > NODES_MAX) {
        return false;
    }
    if (g->count < g->room) {
        return true;
    }
    const size_t room = g->room > 0 ? g->room * 2 : 4;
    struct vv_load_value *item = vv_arena_zalloc(r->arena, room * sizeof *item);
    struct vv_str *key = vv_arena_zalloc(r->arena, room * sizeof *key);
    if (item == NULL || key == NULL) {
        return false;
    }
    if (g->count > 0) {
        memcpy(item, g->item, g->count * sizeof *item);
        memcpy(key, g->key, g->count * sizeof *key);
    }
    *g = (struct items){item, key, g->count, room};
    return true;
}

static void read_items(struct reader *r, struct vv_load_value *v, char close, int depth)
{
    struct items g = {0};
    bool first = true;
    while (!r->failed && !take(r, close)) {
        if ((!first && !take(r, ',')) || !grow(r, &g)) {
            fail(r);
            break;
        }
        if (close == '}') {
            if (!take(r, '"')) {
                fail(r);
                break;
            }
            g.key[g.count] = read_text(r);
            if (!take(r, ':')) {
                fail(r);
                break;
            }
        }
        read_value(r, &g.item[g.count], depth + 1);
        g.count++;
        first = false;
    }
    v->kind = close == '}' ? VV_LOAD_MAP : VV_LOAD_LIST;
    v->count = g.count;
    v->item = g.item;
    v->key = close == '}' ? g.key : NULL;
}

static bool take_word(struct reader *r, const char *word)
{
    const size_t n = strlen(word);
    if ((size_t)(r->end - r->at) >= n && memcmp(r->at, word, n) == 0) {
        r->at += n;
        return true;
    }
    return false;
}

static void read_value(struct reader *r, struct vv_load_value *v, int depth)
{
    skip_space(r);
    if (depth > DEPTH_MAX || r->at >= r->end) {
        fail(r);
    } else if (take(r, '{')) {
        read_items(r, v, '}', depth);
    } else if (take(r, '[')) {
        read_items(r, v, ']', depth);
    } else if (take(r, '"')) {
        v->kind = VV_LOAD_TEXT;
        v->text = read_text(r);
    } else if (take_word(r, "true")) {
        v->kind = VV_LOAD_BOOL;
        v->yes = true;
    } else if (take_word(r, "false")) {
        v->kind = VV_LOAD_BOOL;
    } else if (take_word(r, "null")) {
        v->kind = VV_LOAD_NULL;
    } else if (*r->at == '-' || (*r->at >= '0' && *r->at <= '9')) {
        read_number(r, v);
    } else {
        fail(r);
    }
}

const struct vv_load_value *vv_load_json_read(struct vv_arena *a, struct vv_str text)
{
    struct reader r = {.arena = a, .at = text.p, .end = text.p + text.n, .scratch = VV_SB_INIT};
    struct vv_load_value *v = vv_arena_zalloc(a, sizeof *v);
    if (v == NULL || text.n == 0) {
        return NULL;
    }
    read_value(&r, v, 0);
    skip_space(&r);
    const bool whole = !r.failed && r.at == r.end;
    vv_sb_fini(&r.scratch);
    return whole ? v : NULL;
}

/* ---- printing ------------------------------------------------------------------------------ */

void vv_load_json_text(struct vv_str text, struct vv_sb *out)
{
    static const char plain[] = "\b\f\n\r\t\"\\", letters[] = "bfnrt\"\\";
    size_t from = 0;
    vv_sb_addc(out, '"');
    for (size_t i = 0; i < text.n; i++) {
        const unsigned char c = (unsigned char)text.p[i];
        if (c >= ' ' && c != '"' && c != '\\') {
            continue;
        }
        vv_sb_add(out, (struct vv_str){text.p + from, i - from});
        from = i + 1;
        const char *found = c != '\0' ? strchr(plain, c) : NULL;
        if (found != NULL) {
            vv_sb_addc(out, '\\');
            vv_sb_addc(out, letters[found - plain]);
        } else {
            vv_sb_addf(out, "\\u%04x", c);
        }
    }
    vv_sb_add(out, (struct vv_str){text.p + from, text.n - from});
    vv_sb_addc(out, '"');
}

void vv_load_json_write(const struct vv_load_value *v, struct vv_sb *out)
{
    switch (v->kind) {
    case VV_LOAD_NULL:
        vv_sb_adds(out, "null");
        return;
    case VV_LOAD_BOOL:
        vv_sb_adds(out, v->yes ? "true" : "false");
        return;
    case VV_LOAD_NUMBER:
        vv_sb_add(out, v->text);
        return;
    case VV_LOAD_TEXT:
        vv_load_json_text(v->text, out);
        return;
    case VV_LOAD_LIST:
    case VV_LOAD_MAP:
        break;
    }
    vv_sb_addc(out, v->kind == VV_LOAD_MAP ? '{' : '[');
    for (size_t i = 0; i < v->count; i++) {
        if (i > 0) {
            vv_sb_addc(out, ',');
        }
        if (v->kind == VV_LOAD_MAP) {
            vv_load_json_text(v->key[i], out);
            vv_sb_addc(out, ':');
        }
        vv_load_json_write(&v->item[i], out);
    }
    vv_sb_addc(out, v->kind == VV_LOAD_MAP ? '}' : ']');
}

void vv_load_value_print(const struct vv_load_value *v, struct vv_sb *out)
{
    if (v == NULL) {
        vv_sb_adds(out, "undefined");
    } else if (v->kind == VV_LOAD_TEXT) {
        vv_sb_add(out, v->text);
    } else {
        vv_load_json_write(v, out);
    }
}

/* ---- making, comparing --------------------------------------------------------------------- */

static bool copy_into(struct vv_arena *a, struct vv_load_value *to, const struct vv_load_value *v)
{
    *to = *v;
    if (v->kind == VV_LOAD_TEXT || v->kind == VV_LOAD_NUMBER) {
        to->text = vv_arena_str(a, v->text);
        return to->text.p != NULL;
    }
    if (v->count == 0) {
        return true;
    }
    struct vv_load_value *item = vv_arena_alloc(a, v->count * sizeof *item);
    struct vv_str *key = v->key != NULL ? vv_arena_alloc(a, v->count * sizeof *key) : NULL;
    if (item == NULL || (v->key != NULL && key == NULL)) {
        return false;
    }
    for (size_t i = 0; i < v->count; i++) {
        if (!copy_into(a, &item[i], &v->item[i])) {
            return false;
        }
        if (key != NULL && (key[i] = vv_arena_str(a, v->key[i])).p == NULL) {
            return false;
        }
    }
    to->item = item;
    to->key = key;
    return true;
}

const struct vv_load_value *vv_load_value_copy(struct vv_arena *a, const struct vv_load_value *v)
{
    struct vv_load_value *to = vv_arena_alloc(a, sizeof *to);
    return to != NULL && copy_into(a, to, v) ? to : NULL;
}

const struct vv_load_value *vv_load_value_text(struct vv_arena *a, struct vv_str text)
{
    const struct vv_load_value v = {.kind = VV_LOAD_TEXT, .text = text};
    return vv_load_value_copy(a, &v);
}

/* Digits and exponent of the shortest text that reads back, laid out as ECMAScript does. */
const char *vv_load_number_format(double d, char *buf, size_t buf_bytes)
{
    char digits[40];
    int precision = 0, exponent = 0, n = 0;
    if (!isfinite(d) || d == 0) {
        snprintf(buf, buf_bytes, "%s", d == 0 ? "0" : "null");
        return buf;
    }
    for (precision = 0; precision < 17; precision++) {
        snprintf(digits, sizeof digits, "%.*e", precision, fabs(d));
        if (strtod(digits, NULL) == fabs(d)) {
            break;
        }
    }
    exponent = atoi(strchr(digits, 'e') + 1);
    char mantissa[24] = {0};
    for (const char *c = digits; *c != 'e'; c++) {
        if (*c != '.') {
            mantissa[n++] = *c;
        }
    }
    const char *sign = d < 0 ? "-" : "";
    if (exponent >= n - 1 && exponent < 21) {
        snprintf(buf, buf_bytes, "%s%s%.*s", sign, mantissa, exponent - n + 1,
                 "00000000000000000000");
    } else if (exponent >= 0 && exponent < 21) {
        snprintf(buf, buf_bytes, "%s%.*s.%s", sign, exponent + 1, mantissa,
                 mantissa + exponent + 1);
    } else if (exponent < 0 && exponent >= -6) {
        snprintf(buf, buf_bytes, "%s0.%.*s%s", sign, -exponent - 1, "00000", mantissa);
    } else {
        snprintf(buf, buf_bytes, "%s%c%s%se%+d", sign, mantissa[0], n > 1 ? "." : "", mantissa + 1,
                 exponent);
    }
    return buf;
}

const struct vv_load_value *vv_load_value_number(struct vv_arena *a, double d)
{
    char buf[40];
    const struct vv_load_value v = {.kind = VV_LOAD_NUMBER,
                                    .text = vv_str_from(vv_load_number_format(d, buf, sizeof buf))};
    return vv_load_value_copy(a, &v);
}

const struct vv_load_value *vv_load_value_get(const struct vv_load_value *v, struct vv_str key)
{
    for (size_t i = 0; v != NULL && v->kind == VV_LOAD_MAP && i < v->count; i++) {
        if (vv_str_eq(v->key[i], key)) {
            return &v->item[i];
        }
    }
    return NULL;
}

bool vv_load_value_same(const struct vv_load_value *a, const struct vv_load_value *b)
{
    if (a == NULL || b == NULL || a->kind != b->kind) {
        return a == b;
    }
    double x = 0, y = 0;
    switch (a->kind) {
    case VV_LOAD_NULL:
        return true;
    case VV_LOAD_BOOL:
        return a->yes == b->yes;
    case VV_LOAD_NUMBER:
        return vv_load_value_to_double(a, &x) && vv_load_value_to_double(b, &y) && x == y;
    case VV_LOAD_TEXT:
        return vv_str_eq(a->text, b->text);
    case VV_LOAD_LIST:
    case VV_LOAD_MAP:
        break;
    }
    for (size_t i = 0; i < a->count && a->count == b->count; i++) {
        const struct vv_load_value *other =
            a->kind == VV_LOAD_MAP ? vv_load_value_get(b, a->key[i]) : &b->item[i];
        if (other == NULL || !vv_load_value_same(&a->item[i], other)) {
            return false;
        }
    }
    return a->count == b->count;
}

bool vv_load_value_to_double(const struct vv_load_value *v, double *ret)
{
    char text[64], *end = text;
    if (v != NULL && v->kind == VV_LOAD_BOOL) {
        *ret = v->yes ? 1 : 0;
        return true;
    }
    if (v == NULL || (v->kind != VV_LOAD_NUMBER && v->kind != VV_LOAD_TEXT)) {
        return false;
    }
    const struct vv_str s = vv_str_trim(v->text);
    if (s.n == 0 || s.n >= sizeof text) {
        return false;
    }
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    const double d = strtod(text, &end);
    if (*end != '\0' || !isfinite(d)) {
        return false;
    }
    *ret = d;
    return true;
}
