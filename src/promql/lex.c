/* src/promql/lex.c - numbers and durations start alike and are told apart by what they end with. */
#include "promql/lex.h"
#include "promql/promql.h"

#include <stdlib.h>

#define DURATION_MS_MAX INT64_C(9214646400000) /* 292 years, what fits in nanoseconds */

static char peek(const struct vv_pq_lexer *l, size_t ahead)
{
    return l->at + ahead < l->text.n ? l->text.p[l->at + ahead] : '\0';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    const char l = vv_char_lower(c);
    return (l >= 'a' && l <= 'z') || c == '_';
}

static struct vv_pq_token bad(struct vv_pq_lexer *l, size_t at, const char *why)
{
    l->why = why;
    return (struct vv_pq_token){.kind = TOKEN_BAD, .at = at};
}

static void skip_space(struct vv_pq_lexer *l)
{
    while (l->at < l->text.n) {
        const char c = l->text.p[l->at];
        if (c == '#') {
            while (l->at < l->text.n && l->text.p[l->at] != '\n') {
                l->at++;
            }
        } else if (c != ' ' && c != '\t' && c != '\n' && c != '\r') {
            return;
        } else {
            l->at++;
        }
    }
}

enum vv_err vv_promql_duration(struct vv_str s, int64_t *ret_ms)
{
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = {{"y", INT64_C(31536000000)},
                 {"w", 604800000},
                 {"d", 86400000},
                 {"h", 3600000},
                 {"m", 60000},
                 {"s", 1000},
                 {"ms", 1}};
    size_t i = 0, unit = 0;
    int64_t total = 0;
    while (i < s.n) {
        int64_t v = 0;
        const size_t from = i;
        for (; i < s.n && is_digit(s.p[i]); i++) {
            v = v > DURATION_MS_MAX ? v : v * 10 + (s.p[i] - '0');
        }
        const size_t letters = i;
        while (i < s.n && !is_digit(s.p[i])) {
            i++;
        }
        const struct vv_str name = {s.p + letters, i - letters};
        while (unit < VV_COUNT(units) && !vv_str_eq(vv_str_from(units[unit].unit), name)) {
            unit++;
        }
        if (letters == from || unit == VV_COUNT(units)) {
            return VV_ESYNTAX;
        }
        if (v > (DURATION_MS_MAX - total) / units[unit].ms) {
            return VV_ERANGE;
        }
        total += v * units[unit++].ms;
    }
    *ret_ms = total;
    return s.n > 0 ? VV_OK : VV_ESYNTAX;
}

static bool number(struct vv_str s, double *ret)
{
    char buf[80];
    if (s.n == 0 || s.n >= sizeof buf) {
        return false;
    }
    const bool is_hex = s.n > 2 && s.p[0] == '0' && vv_char_lower(s.p[1]) == 'x';
    for (size_t i = 0; i < s.n; i++) {
        const char c = vv_char_lower(s.p[i]);
        const bool fits = is_digit(c) || (is_hex ? i == 1 || (c >= 'a' && c <= 'f')
                                                 : c == '.' || c == 'e' || c == '+' || c == '-');
        if (!fits) {
            return false;
        }
        buf[i] = c;
    }
    buf[s.n] = '\0';
    char *end = NULL;
    *ret = is_hex ? (double)strtoull(buf, &end, 16) : strtod(buf, &end);
    return *end == '\0';
}

static struct vv_pq_token number_or_duration(struct vv_pq_lexer *l)
{
    const size_t from = l->at;
    const bool is_hex = peek(l, 0) == '0' && vv_char_lower(peek(l, 1)) == 'x';
    while (is_letter(peek(l, 0)) || is_digit(peek(l, 0)) || peek(l, 0) == '.') {
        const bool exponent = !is_hex && vv_char_lower(peek(l, 0)) == 'e';
        l->at++;
        if (exponent && (peek(l, 0) == '+' || peek(l, 0) == '-')) {
            l->at++;
        }
    }
    struct vv_pq_token t = {.at = from, .text = {l->text.p + from, l->at - from}};
    if (number(t.text, &t.number)) {
        t.kind = TOKEN_NUMBER;
    } else if (vv_promql_duration(t.text, &t.ms) == VV_OK) {
        t.kind = TOKEN_DURATION;
    } else {
        return bad(l, from, "bad number or duration");
    }
    return t;
}

static int hex_digit(char c)
{
    const char l = vv_char_lower(c);
    return is_digit(l) ? l - '0' : l >= 'a' && l <= 'f' ? l - 'a' + 10 : -1;
}

static size_t put_utf8(char *out, uint32_t c)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    const size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (c & 0x3f));
        c >>= 6;
    }
    out[0] = (char)((0xf00u >> n & 0xf0u) | c);
    return n;
}

/* What follows a backslash; returns bytes written, 0: not an escape. At most 4, and never more
 * than were read. */
static size_t escape(struct vv_pq_lexer *l, char quote, char *out)
{
    static const char from[] = "abfnrtv\\", to[] = "\a\b\f\n\r\t\v\\";
    const char c = peek(l, 0);
    const char *known = c != '\0' ? strchr(from, c) : NULL;
    l->at++;
    if (known != NULL || (c == quote && c != '\0')) {
        *out = known != NULL ? to[known - from] : c;
        return 1;
    }
    const bool octal = c >= '0' && c <= '7';
    const size_t n = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : octal ? 3 : 0;
    uint32_t v = 0;
    l->at -= octal ? 1 : 0;
    for (size_t i = 0; i < n; i++, l->at++) {
        const int d = hex_digit(peek(l, 0));
        if (d < 0 || (octal && d > 7)) {
            return 0;
        }
        v = v * (octal ? 8 : 16) + (uint32_t)d;
    }
    if (n == 0 || (n <= 3 && v > 255) || v > 0x10ffff || (n > 3 && v >= 0xd800 && v < 0xe000)) {
        return 0;
    }
    if (n <= 3) {
        *out = (char)v;
        return 1;
    }
    return put_utf8(out, v);
}

static struct vv_pq_token string(struct vv_pq_lexer *l)
{
    const size_t from = l->at;
    const char quote = l->text.p[l->at++];
    char *out = vv_arena_alloc(l->arena, l->text.n - from + 4);
    size_t n = 0;
    if (out == NULL) {
        return bad(l, from, "out of memory");
    }
    for (;;) {
        if (l->at >= l->text.n || (l->text.p[l->at] == '\n' && quote != '`')) {
            return bad(l, from, "unterminated string");
        }
        const char c = l->text.p[l->at++];
        if (c == quote) {
            break;
        }
        if (c == '\\' && quote != '`') {
            const size_t got = escape(l, quote, out + n);
            if (got == 0) {
                return bad(l, l->at < l->text.n ? l->at : l->text.n, "bad escape in string");
            }
            n += got;
        } else {
            out[n++] = c;
        }
    }
    return (struct vv_pq_token){.kind = TOKEN_STRING, .at = from, .text = {out, n}};
}

static struct vv_pq_token name(struct vv_pq_lexer *l)
{
    const size_t from = l->at;
    while (is_letter(peek(l, 0)) || is_digit(peek(l, 0)) ||
           (peek(l, 0) == ':' && !l->in_brackets)) {
        l->at++;
    }
    return (struct vv_pq_token){
        .kind = TOKEN_NAME, .at = from, .text = {l->text.p + from, l->at - from}};
}

static struct vv_pq_token sign(struct vv_pq_lexer *l)
{
    static const struct {
        char text[3];
        int kind;
    } two[] = {{"==", TOKEN_EQ}, {"!=", TOKEN_NE}, {"<=", TOKEN_LE},
               {">=", TOKEN_GE}, {"=~", TOKEN_RE}, {"!~", TOKEN_NRE}};
    const size_t from = l->at;
    const char c = peek(l, 0);
    for (size_t i = 0; i < VV_COUNT(two); i++) {
        if (c == two[i].text[0] && peek(l, 1) == two[i].text[1]) {
            l->at += 2;
            return (struct vv_pq_token){
                .kind = two[i].kind, .at = from, .text = {l->text.p + from, 2}};
        }
    }
    if (c == '\0' || strchr("+-*/%^<>=(){}[],:@", c) == NULL) {
        return bad(l, from, "unexpected character");
    }
    l->in_brackets = c == '[' || (l->in_brackets && c != ']');
    l->at++;
    return (struct vv_pq_token){.kind = c, .at = from, .text = {l->text.p + from, 1}};
}

struct vv_pq_token vv_pq_next(struct vv_pq_lexer *l)
{
    skip_space(l);
    const char c = peek(l, 0);
    if (l->at >= l->text.n) {
        return (struct vv_pq_token){.kind = TOKEN_END, .at = l->text.n};
    }
    if (is_digit(c) || (c == '.' && is_digit(peek(l, 1)))) {
        return number_or_duration(l);
    }
    if (is_letter(c) || (c == ':' && !l->in_brackets)) {
        return name(l);
    }
    if (c == '"' || c == '\'' || c == '`') {
        return string(l);
    }
    return sign(l);
}
