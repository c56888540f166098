/* src/gateway/compose_merge.c - parts are checked, never parsed: a checked value can be copied as it is,
 * which costs one pass and no memory whatever it holds. */
#include "gateway/compose_merge.h"
#include "base/json.h"
#include <stdio.h>
#include <stdlib.h>

enum { DEGRADED = -1, LITERAL = -2 };
struct piece {
    struct vv_str text; /* LITERAL */
    int value;          /* index of a part, or one of the above */
};
struct vv_merge {
    char *text;
    size_t count;
    struct piece *piece;
};

/* ---- is it JSON? --------------------------------------------------------------------------- */

struct scan {
    const uint8_t *p, *end;
};

static void skip_space(struct scan *s)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\n' || *s->p == '\r')) {
        s->p++;
    }
}

static bool word(struct scan *s, struct vv_str w)
{
    if ((size_t)(s->end - s->p) < w.n || memcmp(s->p, w.p, w.n) != 0) {
        return false;
    }
    s->p += w.n;
    return true;
}

static bool digits(struct scan *s)
{
    const uint8_t *start = s->p;
    while (s->p < s->end && *s->p >= '0' && *s->p <= '9') {
        s->p++;
    }
    return s->p > start;
}

static bool number(struct scan *s)
{
    (void)word(s, VV_STR("-"));
    if (!word(s, VV_STR("0")) && !digits(s)) {
        return false;
    }
    if (word(s, VV_STR(".")) && !digits(s)) {
        return false;
    }
    if (word(s, VV_STR("e")) || word(s, VV_STR("E"))) {
        (void)(word(s, VV_STR("+")) || word(s, VV_STR("-")));
        return digits(s);
    }
    return true;
}

static bool hex4(struct scan *s)
{
    for (int i = 0; i < 4; i++, s->p++) {
        const bool hex =
            s->p < s->end && ((*s->p >= '0' && *s->p <= '9') || (*s->p >= 'a' && *s->p <= 'f') ||
                              (*s->p >= 'A' && *s->p <= 'F'));
        if (!hex) {
            return false;
        }
    }
    return true;
}

/* One character beyond ASCII, in its shortest form and no surrogate (RFC 3629). */
static bool wide_char(struct scan *s)
{
    static const uint32_t least[4] = {0, 0x80, 0x800, 0x10000};
    const uint8_t c = *s->p++;
    const int more = c >= 0xF0 && c < 0xF8   ? 3
                     : c >= 0xE0 && c < 0xF0 ? 2
                     : c >= 0xC0 && c < 0xE0 ? 1
                                             : 0;
    if (more == 0 || s->end - s->p < more) {
        return false;
    }
    uint32_t code = c & (0x3FU >> more);
    for (int i = 0; i < more; i++, s->p++) {
        if ((*s->p & 0xC0) != 0x80) {
            return false;
        }
        code = code << 6 | (*s->p & 0x3FU);
    }
    return code >= least[more] && code <= 0x10FFFF && (code < 0xD800 || code > 0xDFFF);
}

static bool string(struct scan *s)
{
    if (!word(s, VV_STR("\""))) {
        return false;
    }
    while (s->p < s->end) {
        if (*s->p == '"') {
            s->p++;
            return true;
        }
        if (*s->p < 0x20) {
            return false;
        }
        if (*s->p >= 0x80) {
            if (!wide_char(s)) {
                return false;
            }
            continue;
        }
        if (*s->p++ != '\\') {
            continue;
        }
        const uint8_t c = s->p < s->end ? *s->p++ : 0;
        if (c == 'u' ? !hex4(s) : c == 0 || strchr("\"\\/bfnrt", c) == NULL) {
            return false;
        }
    }
    return false;
}

static bool scalar(struct scan *s)
{
    switch (*s->p) {
    case '"':
        return string(s);
    case 't':
        return word(s, VV_STR("true"));
    case 'f':
        return word(s, VV_STR("false"));
    case 'n':
        return word(s, VV_STR("null"));
    default:
        return number(s);
    }
}

enum want { VALUE, FIRST_VALUE, KEY, FIRST_KEY, AFTER };

struct nest {
    size_t depth;
    bool object[VV_MERGE_DEPTH_MAX];
};

/* After a value: what the place it stands in goes on with. */
static bool after(struct scan *s, struct nest *n, enum want *want)
{
    const bool object = n->object[n->depth - 1];
    const uint8_t c = *s->p++;
    if (c == ',') {
        *want = object ? KEY : VALUE;
        return true;
    }
    n->depth--;
    return c == (object ? '}' : ']');
}

static bool key(struct scan *s)
{
    if (!string(s)) {
        return false;
    }
    skip_space(s);
    return word(s, VV_STR(":"));
}

static bool open_or_scalar(struct scan *s, struct nest *n, enum want *want)
{
    const uint8_t c = *s->p;
    *want = AFTER;
    if (c != '{' && c != '[') {
        return scalar(s);
    }
    if (n->depth == VV_MERGE_DEPTH_MAX) {
        return false;
    }
    s->p++;
    n->object[n->depth++] = c == '{';
    *want = c == '{' ? FIRST_KEY : FIRST_VALUE;
    return true;
}

bool vv_merge_is_json(struct vv_str text)
{
    const uint8_t *start = (const uint8_t *)text.p;
    struct scan s = {start, start + text.n};
    struct nest n = {.depth = 0};
    enum want want = VALUE;
    for (;;) {
        skip_space(&s);
        if (s.p == s.end) {
            return want == AFTER && n.depth == 0;
        }
        bool fine = false;
        if (want == AFTER) {
            fine = n.depth > 0 && after(&s, &n, &want);
        } else if ((want == FIRST_KEY && *s.p == '}') || (want == FIRST_VALUE && *s.p == ']')) {
            s.p++;
            n.depth--;
            want = AFTER;
            fine = true;
        } else if (want == KEY || want == FIRST_KEY) {
            fine = key(&s);
            want = VALUE;
        } else {
            fine = open_or_scalar(&s, &n, &want);
        }
        if (!fine) {
            return false;
        }
    }
}

/* ---- the template -------------------------------------------------------------------------- */

static enum vv_err complain(char *reterr_text, const char *what, struct vv_str name)
{
    snprintf(reterr_text, VV_MERGE_TEXT, what, (int)(name.n < 64 ? name.n : 64), name.p);
    return VV_ESYNTAX;
}

static int find(const struct vv_str *names, size_t count, struct vv_str name)
{
    for (size_t i = 0; i < count; i++) {
        if (vv_str_eq(names[i], name)) {
            return (int)i;
        }
    }
    return vv_str_eq(name, VV_STR("degraded")) ? DEGRADED : LITERAL;
}

static void add_piece(struct vv_merge *m, struct vv_str text, int value)
{
    if (text.n > 0 || value != LITERAL) {
        m->piece[m->count++] = (struct piece){text, value};
    }
}

struct reading {
    struct vv_merge *m;
    const struct vv_str *names;
    size_t count;
    const char *p, *from; /* what is read, where the literal that was not added yet begins */
    const char *quote;    /* opened the string we are in; NULL: we are in none */
};

/* At "{{": one value. */
static enum vv_err read_value(struct reading *r, char *reterr_text)
{
    const char *end = strstr(r->p, "}}");
    if (end == NULL) {
        return complain(reterr_text, "\"%.*s\" is not closed by }}",
                        (struct vv_str){r->p, strlen(r->p)});
    }
    const struct vv_str name = vv_str_trim((struct vv_str){r->p + 2, (size_t)(end - r->p) - 2});
    const int value = find(r->names, r->count, name);
    if (value == LITERAL) {
        return complain(reterr_text, "\"%.*s\" is no part", name);
    }
    const bool quoted = r->quote != NULL;
    if (quoted && (r->quote + 1 != r->p || end[2] != '"')) {
        return complain(reterr_text, "{{%.*s}} stands for a whole value, not for a piece of a text",
                        name);
    }
    const char *upto = quoted ? r->quote : r->p;
    add_piece(r->m, (struct vv_str){r->from, (size_t)(upto - r->from)}, LITERAL);
    add_piece(r->m, (struct vv_str){NULL, 0}, value);
    r->p = r->from = end + 2 + (quoted ? 1 : 0);
    r->quote = NULL;
    return VV_OK;
}

static enum vv_err read_template(struct reading *r, char *reterr_text)
{
    enum vv_err err = VV_OK;
    while (*r->p != '\0' && err == VV_OK) {
        if (r->p[0] == '{' && r->p[1] == '{') {
            err = read_value(r, reterr_text);
            continue;
        }
        if (r->quote != NULL && r->p[0] == '\\' && r->p[1] != '\0') {
            r->p++;
        } else if (r->p[0] == '"') {
            r->quote = r->quote != NULL ? NULL : r->p;
        }
        r->p++;
    }
    if (err == VV_OK) {
        add_piece(r->m, (struct vv_str){r->from, (size_t)(r->p - r->from)}, LITERAL);
    }
    return err;
}

/* Whatever the values are: with null in their places it has to be JSON. */
static enum vv_err try_template(const struct vv_merge *m, char *reterr_text)
{
    struct vv_sb sb = VV_SB_INIT;
    for (size_t i = 0; i < m->count; i++) {
        vv_sb_add(&sb, m->piece[i].value == LITERAL ? m->piece[i].text : VV_STR("null"));
    }
    const bool fine = vv_merge_is_json(vv_sb_str(&sb));
    const bool failed = sb.failed;
    vv_sb_fini(&sb);
    if (!fine && !failed) {
        snprintf(reterr_text, VV_MERGE_TEXT, "with values in their places it is no JSON");
    }
    return failed ? VV_ENOMEM : fine ? VV_OK : VV_ESYNTAX;
}

enum vv_err vv_merge_new(const char *text, const struct vv_str *names, size_t count,
                         struct vv_merge **ret, char *reterr_text)
{
    struct vv_merge *m = calloc(1, sizeof *m);
    if (m == NULL) {
        return VV_ENOMEM;
    }
    enum vv_err err = VV_OK;
    if (text != NULL) {
        size_t values = 0;
        for (const char *p = text; (p = strstr(p, "{{")) != NULL; p += 2) {
            values++;
        }
        m->text = strdup(text);
        m->piece = calloc(2 * values + 1, sizeof *m->piece);
        err = m->text != NULL && m->piece != NULL ? VV_OK : VV_ENOMEM;
        if (err == VV_OK) {
            struct reading r = {.m = m, .names = names, .count = count, .p = m->text};
            r.from = r.p;
            err = read_template(&r, reterr_text);
        }
        if (err == VV_OK) {
            err = try_template(m, reterr_text);
        }
    }
    if (err != VV_OK) {
        vv_merge_free(m);
        return err;
    }
    *ret = m;
    return VV_OK;
}

void vv_merge_free(struct vv_merge *m)
{
    if (m != NULL) {
        free(m->text);
        free(m->piece);
        free(m);
    }
}

/* ---- the body ------------------------------------------------------------------------------ */

static void put_text(struct vv_sb *out, struct vv_str s)
{
    struct vv_json j;
    vv_json_init(&j, out);
    vv_json_str(&j, s);
}

static void put_value(struct vv_sb *out, const struct vv_merge_value *v)
{
    if (v->body.p == NULL) {
        vv_sb_adds(out, "null");
    } else if (v->is_json) {
        vv_sb_add(out, v->body);
    } else {
        put_text(out, v->body);
    }
}

static void put_degraded(struct vv_sb *out, const struct vv_merge_value *value, size_t count)
{
    bool any = false;
    vv_sb_addc(out, '[');
    for (size_t i = 0; i < count; i++) {
        if (value[i].degraded) {
            if (any) {
                vv_sb_addc(out, ',');
            }
            any = true;
            put_text(out, value[i].name);
        }
    }
    vv_sb_addc(out, ']');
}

static void put_object(struct vv_sb *out, const struct vv_merge_value *value, size_t count)
{
    vv_sb_addc(out, '{');
    for (size_t i = 0; i < count; i++) {
        if (value[i].body.p != NULL) {
            put_text(out, value[i].name);
            vv_sb_addc(out, ':');
            put_value(out, &value[i]);
            vv_sb_addc(out, ',');
        }
    }
    vv_sb_adds(out, "\"degraded\":");
    put_degraded(out, value, count);
    vv_sb_addc(out, '}');
}

void vv_merge_write(const struct vv_merge *m, const struct vv_merge_value *value, size_t count,
                    struct vv_sb *out)
{
    if (m->text == NULL) {
        put_object(out, value, count);
        return;
    }
    for (size_t i = 0; i < m->count; i++) {
        const struct piece *p = &m->piece[i];
        if (p->value == LITERAL) {
            vv_sb_add(out, p->text);
        } else if (p->value == DEGRADED) {
            put_degraded(out, value, count);
        } else {
            VV_ASSERT((size_t)p->value < count);
            put_value(out, &value[p->value]);
        }
    }
}
