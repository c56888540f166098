/* src/watch/template.c - values walk through pipes as small structs; texts that functions make live
 * in an arena of the expansion, bounded, so that no template can eat the machine. */
#include "watch/template.h"

#include "watch/labels.h"
#include "watch/template_int.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define EXPAND_BYTES_MAX (256 * VV_KIB)

static void fail(struct tmpl_run *r, const char *why)
{
    r->why = r->why != NULL ? r->why : why;
}

static void put_text(struct tmpl_run *r, struct tmpl_value *ret, struct vv_str s)
{
    *ret = (struct tmpl_value){.kind = TMPL_STR, .s = vv_arena_str(r->arena, s)};
    if (ret->s.p == NULL) {
        ret->s = VV_STR("");
        fail(r, "it is too long");
    }
}

static void VV_PRINTF(3, 4)
    put_fmt(struct tmpl_run *r, struct tmpl_value *ret, const char *fmt, ...)
{
    char buf[512];
    va_list args;
    va_start(args, fmt);
    const int n = vsnprintf(buf, sizeof buf, fmt, args);
    va_end(args);
    put_text(r, ret, (struct vv_str){buf, vv_min_u64((uint64_t)(n > 0 ? n : 0), sizeof buf - 1)});
}

/* ---- numbers ------------------------------------------------------------------------------- */

/* Shortest digits that read back; an exponent below 1e-4 and from 1e6 on, as Go's %v. */
void vv_template_number(double v, struct vv_sb *out)
{
    char digits[40], plain[VV_PROMQL_FORMAT_BYTES];
    const double size = fabs(v);
    if (!isfinite(v) || v == 0 || (size >= 1e-4 && size < 1e6)) {
        vv_sb_adds(out, vv_promql_format(v, plain));
        return;
    }
    for (int precision = 0; precision <= 17; precision++) {
        snprintf(digits, sizeof digits, "%.*e", precision, v);
        if (strtod(digits, NULL) == v) {
            break;
        }
    }
    vv_sb_adds(out, digits);
}

void tmpl_put(const struct tmpl_value *v, struct vv_sb *out)
{
    switch (v->kind) {
    case TMPL_STR:
        vv_sb_add(out, v->s);
        break;
    case TMPL_NUM:
        vv_template_number(v->n, out);
        break;
    case TMPL_INT:
        vv_sb_addf(out, "%.0f", v->n);
        break;
    case TMPL_BOOL:
        vv_sb_adds(out, v->b ? "true" : "false");
        break;
    case TMPL_MAP:
        vv_sb_adds(out, "map[");
        for (size_t i = 0; i < v->map.n; i++) {
            vv_sb_addf(out, "%s" VV_STR_FMT ":" VV_STR_FMT, i > 0 ? " " : "",
                       VV_STR_ARG(v->map.at[i].name), VV_STR_ARG(v->map.at[i].value));
        }
        vv_sb_addc(out, ']');
        break;
    case TMPL_NONE:
        break;
    }
}

static bool to_number(struct tmpl_run *r, const struct tmpl_value *v, double *ret)
{
    char text[64];
    char *end = text;
    if (v->kind == TMPL_NUM || v->kind == TMPL_INT) {
        *ret = v->n;
        return true;
    }
    if (v->kind == TMPL_STR && v->s.n > 0 && v->s.n < sizeof text && v->s.p[0] != ' ') {
        memcpy(text, v->s.p, v->s.n);
        text[v->s.n] = '\0';
        *ret = strtod(text, &end);
    }
    if (end == text || *end != '\0') {
        fail(r, "a number was expected");
        return false;
    }
    return true;
}

/* "%.4g" as Go prints it, with what follows. */
static void put_4g(struct tmpl_run *r, struct tmpl_value *ret, double v, const char *prefix,
                   const char *unit)
{
    if (!isfinite(v)) {
        put_fmt(r, ret, "%s%s%s", isnan(v) ? "NaN" : v > 0 ? "+Inf" : "-Inf", prefix, unit);
    } else {
        put_fmt(r, ret, "%.4g%s%s", v, prefix, unit);
    }
}

static const char *const small_prefixes[] = {"", "m", "u", "n", "p", "f", "a", "z", "y"};

static void put_small(struct tmpl_run *r, struct tmpl_value *ret, double v, const char *unit)
{
    size_t i = 0;
    while (i + 1 < VV_COUNT(small_prefixes) && fabs(v) < 1) {
        v *= 1000;
        i++;
    }
    put_4g(r, ret, v, small_prefixes[i], unit);
}

static void humanize(struct tmpl_run *r, const struct tmpl_value *a, size_t n,
                     struct tmpl_value *ret)
{
    static const char *const prefixes[] = {"", "k", "M", "G", "T", "P", "E", "Z", "Y"};
    double v = 0;
    size_t i = 0;
    (void)n;
    if (!to_number(r, a, &v)) {
        return;
    }
    if (v != 0 && isfinite(v) && fabs(v) < 1) {
        put_small(r, ret, v, "");
        return;
    }
    while (isfinite(v) && i + 1 < VV_COUNT(prefixes) && fabs(v) >= 1000) {
        v /= 1000;
        i++;
    }
    put_4g(r, ret, v, prefixes[i], "");
}

static void humanize1024(struct tmpl_run *r, const struct tmpl_value *a, size_t n,
                         struct tmpl_value *ret)
{
    static const char *const prefixes[] = {"", "ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"};
    double v = 0;
    size_t i = 0;
    (void)n;
    if (!to_number(r, a, &v)) {
        return;
    }
    while (isfinite(v) && i + 1 < VV_COUNT(prefixes) && fabs(v) >= 1024) {
        v /= 1024;
        i++;
    }
    put_4g(r, ret, v, prefixes[i], "");
}

static void humanize_duration(struct tmpl_run *r, const struct tmpl_value *a, size_t n,
                              struct tmpl_value *ret)
{
    double v = 0;
    (void)n;
    if (!to_number(r, a, &v)) {
        return;
    }
    if (!isfinite(v) || v == 0) {
        put_4g(r, ret, v, "", isfinite(v) ? "s" : "");
        return;
    }
    if (fabs(v) < 1) {
        put_small(r, ret, v, "s");
        return;
    }
    const char *sign = v < 0 ? "-" : "";
    const double size = fmin(fabs(v), 9.2e18);
    const long long all = (long long)size;
    const long long s = all % 60, m = all / 60 % 60, h = all / 3600 % 24, d = all / 86400;
    if (d > 0) {
        put_fmt(r, ret, "%s%lldd %lldh %lldm %llds", sign, d, h, m, s);
    } else if (h > 0) {
        put_fmt(r, ret, "%s%lldh %lldm %llds", sign, h, m, s);
    } else if (m > 0) {
        put_fmt(r, ret, "%s%lldm %llds", sign, m, s);
    } else {
        put_fmt(r, ret, "%s%.4gs", sign, size);
    }
}

static void humanize_percentage(struct tmpl_run *r, const struct tmpl_value *a, size_t n,
                                struct tmpl_value *ret)
{
    double v = 0;
    (void)n;
    if (to_number(r, a, &v)) {
        put_4g(r, ret, v * 100, "", "%");
    }
}

static void humanize_timestamp(struct tmpl_run *r, const struct tmpl_value *a, size_t n,
                               struct tmpl_value *ret)
{
    double v = 0;
    struct tm tm;
    char day[64], fraction[16] = "";
    (void)n;
    if (!to_number(r, a, &v)) {
        return;
    }
    const time_t seconds = fabs(v) < 9e9 ? (time_t)floor(v) : 0;
    if (fabs(v) >= 9e9 || isnan(v) || gmtime_r(&seconds, &tm) == NULL) {
        put_4g(r, ret, v, "", "");
        return;
    }
    const int ms = (int)((v - floor(v)) * 1000);
    if (ms > 0) {
        snprintf(fraction, sizeof fraction, ".%03d", ms % 1000);
        for (size_t i = 3; i > 1 && fraction[i] == '0'; i--) {
            fraction[i] = '\0';
        }
    }
    strftime(day, sizeof day, "%Y-%m-%d %H:%M:%S", &tm);
    put_fmt(r, ret, "%s%s +0000 UTC", day, fraction);
}

/* ---- texts --------------------------------------------------------------------------------- */

static void put_quoted(struct vv_str s, struct vv_sb *out)
{
    vv_sb_addc(out, '"');
    for (size_t i = 0; i < s.n; i++) {
        const char c = s.p[i];
        const char *escape = c == '\n' ? "\\n" : c == '\t' ? "\\t" : c == '\r' ? "\\r" : NULL;
        if (escape != NULL) {
            vv_sb_adds(out, escape);
        } else {
            vv_sb_adds(out, c == '"' || c == '\\' ? "\\" : "");
            vv_sb_addc(out, c);
        }
    }
    vv_sb_addc(out, '"');
}

/* A verb that does not fit its value: "%!d(float64=1.5)". */
static void put_bad_verb(char verb, const struct tmpl_value *v, struct vv_sb *out)
{
    static const char *const types[] = {"nil", "string", "float64", "int", "bool", "map"};
    vv_sb_addf(out, "%%!%c(%s=", verb, types[v->kind]);
    tmpl_put(v, out);
    vv_sb_addc(out, ')');
}

struct spec { /* flags, width and precision of one verb */
    char flags[6];
    int width, precision; /* -1: not given */
};

static void put_padded(const struct spec *s, struct vv_str text, struct vv_sb *out)
{
    const size_t width = s->width > 0 ? (size_t)s->width : 0;
    const bool left = strchr(s->flags, '-') != NULL;
    for (size_t i = text.n; !left && i < width; i++) {
        vv_sb_addc(out, ' ');
    }
    vv_sb_add(out, text);
    for (size_t i = text.n; left && i < width; i++) {
        vv_sb_addc(out, ' ');
    }
}

static void put_number(const struct spec *s, char verb, double v, struct vv_sb *out)
{
    char fmt[24], buf[600];
    if (!isfinite(v)) {
        const bool plus = strchr(s->flags, '+') != NULL;
        put_padded(s,
                   vv_str_from(isnan(v) ? (plus ? "+NaN" : "NaN")
                               : v > 0  ? "+Inf"
                                        : "-Inf"),
                   out);
        return;
    }
    if (verb == 'd') {
        snprintf(fmt, sizeof fmt, "%.0f", v);
        put_padded(s, vv_str_from(fmt), out);
        return;
    }
    struct vv_sb shortest = VV_SB_INIT;
    if ((verb == 'g' || verb == 'v') && s->precision < 0) {
        vv_template_number(v, &shortest);
        put_padded(s, vv_sb_str(&shortest), out);
        vv_sb_fini(&shortest);
        return;
    }
    snprintf(fmt, sizeof fmt, "%%%s*.*%c", s->flags, verb == 'v' ? 'g' : verb == 'F' ? 'f' : verb);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    const int n = snprintf(buf, sizeof buf, fmt, s->width > 0 ? s->width : 0,
                           s->precision >= 0 ? s->precision : 6, v);
#pragma GCC diagnostic pop
    vv_sb_add(out, (struct vv_str){buf, vv_min_u64((uint64_t)(n > 0 ? n : 0), sizeof buf - 1)});
}

static void put_verb(const struct spec *s, char verb, const struct tmpl_value *v, struct vv_sb *out)
{
    struct vv_sb text = VV_SB_INIT;
    if (v->kind == TMPL_NUM && strchr("eEfFgGv", verb) != NULL) {
        put_number(s, verb, v->n, out);
    } else if (v->kind == TMPL_INT && (verb == 'd' || verb == 'v')) {
        put_number(s, 'd', v->n, out);
    } else if (verb == 'v' || (verb == 's' && (v->kind == TMPL_STR || v->kind == TMPL_MAP)) ||
               (verb == 't' && v->kind == TMPL_BOOL)) {
        tmpl_put(v, &text);
        struct vv_str cut = vv_sb_str(&text);
        if (verb == 's' && s->precision >= 0 && (size_t)s->precision < cut.n) {
            cut.n = (size_t)s->precision;
        }
        put_padded(s, cut, out);
    } else if (verb == 'q' && v->kind == TMPL_STR) {
        put_quoted(v->s, &text);
        put_padded(s, vv_sb_str(&text), out);
    } else {
        put_bad_verb(verb, v, out);
    }
    vv_sb_fini(&text);
}

static size_t read_spec(struct vv_str f, size_t at, struct spec *s)
{
    size_t flags = 0;
    *s = (struct spec){.width = -1, .precision = -1};
    while (at < f.n && strchr("+-# 0", f.p[at]) != NULL && f.p[at] != '\0' &&
           flags + 1 < sizeof s->flags) {
        s->flags[flags++] = f.p[at++];
    }
    int *number = &s->width;
    while (at < f.n && ((f.p[at] >= '0' && f.p[at] <= '9') || f.p[at] == '.')) {
        if (f.p[at] == '.') {
            number = &s->precision;
            *number = 0;
        } else {
            *number = (*number < 0 ? 0 : *number) * 10 + (f.p[at] - '0');
            *number = *number > 100 ? 100 : *number; /* wider than any message needs */
        }
        at++;
    }
    return at;
}

static void print_formatted(struct tmpl_run *r, const struct tmpl_value *a, size_t n,
                            struct tmpl_value *ret)
{
    struct vv_sb out = VV_SB_INIT;
    size_t used = 1;
    if (a[0].kind != TMPL_STR) {
        fail(r, "printf needs a format");
        return;
    }
    const struct vv_str f = a[0].s;
    for (size_t i = 0; i < f.n; i++) {
        struct spec s;
        if (f.p[i] != '%') {
            vv_sb_addc(&out, f.p[i]);
            continue;
        }
        i = read_spec(f, i + 1, &s);
        if (i >= f.n) {
            vv_sb_adds(&out, "%!(NOVERB)");
        } else if (f.p[i] == '%') {
            vv_sb_addc(&out, '%');
        } else if (used >= n) {
            vv_sb_addf(&out, "%%!%c(MISSING)", f.p[i]);
        } else {
            put_verb(&s, f.p[i], &a[used++], &out);
        }
    }
    if (out.failed) {
        fail(r, "out of memory");
    }
    put_text(r, ret, vv_sb_str(&out));
    vv_sb_fini(&out);
}

static void print_plain(struct tmpl_run *r, const struct tmpl_value *a, size_t n,
                        struct tmpl_value *ret)
{
    struct vv_sb out = VV_SB_INIT;
    for (size_t i = 0; i < n; i++) { /* Go puts a space where neither side is text */
        if (i > 0 && a[i - 1].kind != TMPL_STR && a[i].kind != TMPL_STR) {
            vv_sb_addc(&out, ' ');
        }
        tmpl_put(&a[i], &out);
    }
    put_text(r, ret, vv_sb_str(&out));
    vv_sb_fini(&out);
}

static void change_case(struct tmpl_run *r, const struct tmpl_value *a, struct tmpl_value *ret,
                        int how)
{
    if (a->kind != TMPL_STR) {
        fail(r, "a text was expected");
        return;
    }
    put_text(r, ret, a->s);
    char *p = r->why == NULL ? vv_arena_dup(r->arena, a->s) : NULL;
    bool start = true;
    if (p == NULL) {
        return;
    }
    for (size_t i = 0; i < a->s.n; i++) {
        const char lower = vv_char_lower(p[i]);
        const bool letter = lower >= 'a' && lower <= 'z';
        if (letter && how < 0) {
            p[i] = lower;
        } else if (letter && (how > 0 || start)) {
            p[i] = (char)(lower & ~0x20);
        }
        start = !letter && (p[i] < '0' || p[i] > '9') && p[i] != '_' && p[i] != '\'';
    }
    ret->s.p = p;
}

static void to_upper(struct tmpl_run *r, const struct tmpl_value *a, size_t n,
                     struct tmpl_value *ret)
{
    (void)n;
    change_case(r, a, ret, 1);
}

static void to_lower(struct tmpl_run *r, const struct tmpl_value *a, size_t n,
                     struct tmpl_value *ret)
{
    (void)n;
    change_case(r, a, ret, -1);
}

static void title(struct tmpl_run *r, const struct tmpl_value *a, size_t n, struct tmpl_value *ret)
{
    (void)n;
    change_case(r, a, ret, 0);
}

static void as_it_is(struct tmpl_run *r, const struct tmpl_value *a, size_t n,
                     struct tmpl_value *ret)
{
    (void)r;
    (void)n;
    *ret = *a;
}

/* "host:port" without the port, "[::1]:80" too. */
static void strip_port(struct tmpl_run *r, const struct tmpl_value *a, size_t n,
                       struct tmpl_value *ret)
{
    (void)n;
    if (a->kind != TMPL_STR) {
        fail(r, "a text was expected");
        return;
    }
    *ret = *a;
    const struct vv_str s = a->s;
    const char *colon = s.p != NULL && s.n > 0 ? memrchr(s.p, ':', s.n) : NULL;
    const char *close = s.p != NULL && s.n > 0 && s.p[0] == '[' ? memchr(s.p, ']', s.n) : NULL;
    if (close != NULL && colon == close + 1) {
        ret->s = (struct vv_str){s.p + 1, (size_t)(close - s.p) - 1};
    } else if (close == NULL && colon != NULL && memchr(s.p, ':', s.n) == colon) {
        ret->s.n = (size_t)(colon - s.p);
    }
}

static void index_of(struct tmpl_run *r, const struct tmpl_value *a, size_t n,
                     struct tmpl_value *ret)
{
    (void)n;
    if (a[0].kind != TMPL_MAP || a[1].kind != TMPL_STR) {
        fail(r, "index needs labels and a name");
        return;
    }
    *ret = (struct tmpl_value){.kind = TMPL_STR, .s = vv_labels_get(a[0].map, a[1].s)};
}

/* ---- comparisons --------------------------------------------------------------------------- */

static bool truth(const struct tmpl_value *v)
{
    switch (v->kind) {
    case TMPL_STR:
        return v->s.n > 0;
    case TMPL_NUM:
    case TMPL_INT:
        return v->n != 0;
    case TMPL_BOOL:
        return v->b;
    case TMPL_MAP:
        return v->map.n > 0;
    case TMPL_NONE:
        break;
    }
    return false;
}

/* -1, 0, 1; 2: unordered (NaN). */
static int order(struct tmpl_run *r, const struct tmpl_value *a, const struct tmpl_value *b)
{
    const bool numbers = (a->kind == TMPL_NUM || a->kind == TMPL_INT) &&
                         (b->kind == TMPL_NUM || b->kind == TMPL_INT);
    if (numbers) {
        return isnan(a->n) || isnan(b->n) ? 2 : (a->n > b->n) - (a->n < b->n);
    }
    if (a->kind == TMPL_BOOL && b->kind == TMPL_BOOL) {
        return a->b - b->b;
    }
    if (a->kind != TMPL_STR || b->kind != TMPL_STR) {
        fail(r, "incompatible types for comparison");
        return 2;
    }
    const size_t n = a->s.n < b->s.n ? a->s.n : b->s.n;
    const int o = n > 0 ? memcmp(a->s.p, b->s.p, n) : 0;
    return o != 0 ? (o > 0) - (o < 0) : (a->s.n > b->s.n) - (a->s.n < b->s.n);
}

#define COMPARISON(name, test)                                                                     \
    static void name(struct tmpl_run *r, const struct tmpl_value *a, size_t n,                     \
                     struct tmpl_value *ret)                                                       \
    {                                                                                              \
        (void)n;                                                                                   \
        const int o = order(r, &a[0], &a[1]);                                                      \
        *ret = (struct tmpl_value){.kind = TMPL_BOOL, .b = test};                                  \
    }
COMPARISON(is_eq, o == 0)
COMPARISON(is_ne, o != 0)
COMPARISON(is_lt, o == -1)
COMPARISON(is_le, o == -1 || o == 0)
COMPARISON(is_gt, o == 1)
COMPARISON(is_ge, o == 1 || o == 0)

static void both(struct tmpl_run *r, const struct tmpl_value *a, size_t n, struct tmpl_value *ret)
{
    (void)r;
    for (size_t i = 0; i < n; i++) {
        *ret = a[i];
        if (!truth(ret)) {
            break;
        }
    }
}

static void either(struct tmpl_run *r, const struct tmpl_value *a, size_t n, struct tmpl_value *ret)
{
    (void)r;
    for (size_t i = 0; i < n; i++) {
        *ret = a[i];
        if (truth(ret)) {
            break;
        }
    }
}

static void negate(struct tmpl_run *r, const struct tmpl_value *a, size_t n, struct tmpl_value *ret)
{
    (void)r;
    (void)n;
    *ret = (struct tmpl_value){.kind = TMPL_BOOL, .b = !truth(a)};
}

static const struct tmpl_function functions[] = {
    {"and", 1, TMPL_ARGS_MAX, both},
    {"eq", 2, 2, is_eq},
    {"ge", 2, 2, is_ge},
    {"gt", 2, 2, is_gt},
    {"humanize", 1, 1, humanize},
    {"humanize1024", 1, 1, humanize1024},
    {"humanizeDuration", 1, 1, humanize_duration},
    {"humanizePercentage", 1, 1, humanize_percentage},
    {"humanizeTimestamp", 1, 1, humanize_timestamp},
    {"index", 2, 2, index_of},
    {"le", 2, 2, is_le},
    {"lt", 2, 2, is_lt},
    {"ne", 2, 2, is_ne},
    {"not", 1, 1, negate},
    {"or", 1, TMPL_ARGS_MAX, either},
    {"print", 1, TMPL_ARGS_MAX, print_plain},
    {"printf", 1, TMPL_ARGS_MAX, print_formatted},
    {"safeHtml", 1, 1, as_it_is},
    {"stripPort", 1, 1, strip_port},
    {"title", 1, 1, title},
    {"toLower", 1, 1, to_lower},
    {"toUpper", 1, 1, to_upper},
};

const struct tmpl_function *tmpl_function(struct vv_str name)
{
    for (size_t i = 0; i < VV_COUNT(functions); i++) {
        if (vv_str_eq(name, vv_str_from(functions[i].name))) {
            return &functions[i];
        }
    }
    return NULL;
}

/* ---- running ------------------------------------------------------------------------------- */

static struct tmpl_value eval_pipe(struct tmpl_run *r, const struct tmpl_pipe *pipe);

static struct tmpl_value eval_term(struct tmpl_run *r, const struct tmpl_term *t)
{
    const struct vv_template_data *d = r->data;
    switch (t->kind) {
    case TERM_LITERAL:
        return t->literal;
    case TERM_VALUE:
        return (struct tmpl_value){.kind = TMPL_NUM, .n = d->value};
    case TERM_LABELS:
        return (struct tmpl_value){.kind = TMPL_MAP, .map = d->labels};
    case TERM_LABEL:
        return (struct tmpl_value){.kind = TMPL_STR, .s = vv_labels_get(d->labels, t->literal.s)};
    case TERM_OUTER:
        return (struct tmpl_value){.kind = TMPL_MAP, .map = d->external_labels};
    case TERM_OUTER_LABEL:
        return (struct tmpl_value){.kind = TMPL_STR,
                                   .s = vv_labels_get(d->external_labels, t->literal.s)};
    case TERM_URL:
        return (struct tmpl_value){.kind = TMPL_STR, .s = d->external_url};
    case TERM_PIPE:
        return eval_pipe(r, t->pipe);
    }
    return (struct tmpl_value){.kind = TMPL_NONE};
}

static struct tmpl_value eval_pipe(struct tmpl_run *r, const struct tmpl_pipe *pipe)
{
    struct tmpl_value last = {.kind = TMPL_NONE};
    for (const struct tmpl_command *c = pipe->first; c != NULL && r->why == NULL; c = c->next) {
        struct tmpl_value args[TMPL_ARGS_MAX + 1], made = {.kind = TMPL_NONE};
        size_t n = 0;
        for (size_t i = 0; i < c->n; i++) {
            args[n++] = eval_term(r, &c->terms[i]);
        }
        if (c != pipe->first) {
            args[n++] = last;
        }
        if (r->why == NULL) {
            if (c->fn != NULL) {
                c->fn->call(r, args, n, &made);
            } else {
                made = args[0];
            }
        }
        last = made;
    }
    return last;
}

static void run(struct tmpl_run *r, const struct tmpl_node *list, struct vv_sb *out)
{
    for (const struct tmpl_node *n = list; n != NULL && r->why == NULL; n = n->next) {
        if (n->kind == NODE_TEXT) {
            vv_sb_add(out, n->text);
            continue;
        }
        const struct tmpl_value v = eval_pipe(r, n->pipe);
        if (n->kind == NODE_IF) {
            run(r, truth(&v) ? n->then : n->otherwise, out);
        } else {
            tmpl_put(&v, out);
        }
    }
}

enum vv_err vv_template_expand(const struct vv_template *t, const struct vv_template_data *data,
                               struct vv_sb *out)
{
    char first[1024];
    struct vv_arena arena;
    const size_t before = out->n;
    vv_arena_init(&arena, first, sizeof first, 4096, EXPAND_BYTES_MAX);
    struct tmpl_run r = {.data = data, .arena = &arena};
    run(&r, t->first, out);
    vv_arena_fini(&arena);
    if (out->failed) {
        return VV_ENOMEM;
    }
    if (r.why != NULL) {
        out->n = out->p != NULL ? before : 0;
        vv_sb_addf(out, "<error expanding template: %s>", r.why);
    }
    return r.why != NULL ? VV_EINVAL : VV_OK;
}
