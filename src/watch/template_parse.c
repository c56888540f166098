/* src/watch/template_parse.c - one pass over the text; an action's words are read by hand because
 * there are only a dozen kinds. What needs queries (range, with, query) is refused here, at load,
 * and not when an alert fires. */
#include "watch/template_int.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct parser {
    struct vv_str text;
    size_t at, nodes, end; /* end: of the action being read */
    unsigned depth;
    bool trim; /* the last action ended in -}} */
    struct vv_arena *arena;
    struct vv_template_error *why;
    enum vv_err err;
};

static void VV_PRINTF(4, 5) fail(struct parser *p, enum vv_err err, size_t at, const char *fmt, ...)
{
    if (p->err == VV_OK) {
        va_list args;
        va_start(args, fmt);
        vsnprintf(p->why->text, sizeof p->why->text, fmt, args);
        va_end(args);
        p->why->at = at;
        p->err = err;
    }
}

static void *make(struct parser *p, size_t bytes)
{
    void *made = ++p->nodes <= TMPL_NODES_MAX ? vv_arena_zalloc(p->arena, bytes) : NULL;
    if (made == NULL) {
        const bool many = p->nodes > TMPL_NODES_MAX;
        fail(p, many ? VV_ELIMIT : VV_ENOMEM, p->at, many ? "too long" : "out of memory");
    }
    return made;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool is_word(char c)
{
    const char lower = vv_char_lower(c);
    return (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

static void skip_space(struct parser *p)
{
    while (p->at < p->end && is_space(p->text.p[p->at])) {
        p->at++;
    }
}

static char peek(const struct parser *p)
{
    return p->at < p->end ? p->text.p[p->at] : '\0';
}

static struct vv_str word(struct parser *p)
{
    const size_t from = p->at;
    while (p->at < p->end && is_word(p->text.p[p->at])) {
        p->at++;
    }
    return (struct vv_str){p->text.p + from, p->at - from};
}

/* "text" with Go's plain escapes, or `text` without any. */
static void read_string(struct parser *p, struct tmpl_term *t)
{
    static const char from[] = "nrt\\\"'", to[] = "\n\r\t\\\"'";
    const size_t start = p->at;
    const char quote = p->text.p[p->at++];
    char *copy = vv_arena_alloc(p->arena, p->end - start + 1);
    size_t n = 0;
    if (copy == NULL) {
        fail(p, VV_ENOMEM, start, "out of memory");
        return;
    }
    while (p->at < p->end && p->text.p[p->at] != quote) {
        char c = p->text.p[p->at++];
        if (c == '\\' && quote == '"') {
            const char *known = peek(p) != '\0' ? strchr(from, peek(p)) : NULL;
            if (known == NULL) {
                fail(p, VV_ESYNTAX, p->at, "unknown escape");
                return;
            }
            c = to[known - from];
            p->at++;
        }
        copy[n++] = c;
    }
    if (p->at == p->end) {
        fail(p, VV_ESYNTAX, start, "the quote that begins here never ends");
        return;
    }
    p->at++;
    t->literal = (struct tmpl_value){.kind = TMPL_STR, .s = {copy, n}};
}

static void read_number(struct parser *p, struct tmpl_term *t)
{
    char digits[40];
    size_t n = 0;
    const size_t start = p->at;
    bool whole = true;
    while (p->at < p->end && n + 1 < sizeof digits &&
           (is_word(peek(p)) || (peek(p) != '\0' && strchr("+-.", peek(p)) != NULL))) {
        whole = whole && ((peek(p) >= '0' && peek(p) <= '9') || n == 0);
        digits[n++] = peek(p);
        p->at++;
    }
    digits[n] = '\0';
    char *end = NULL;
    const double v = strtod(digits, &end);
    if (n == 0 || *end != '\0' || strpbrk(digits, "xXnNpP") != NULL) {
        fail(p, VV_ESYNTAX, start, "not a number");
    }
    t->literal = (struct tmpl_value){.kind = whole ? TMPL_INT : TMPL_NUM, .n = v};
}

/* $value, $labels.name, .Value, .Labels.name */
static void read_name(struct parser *p, struct tmpl_term *t)
{
    static const struct {
        const char *dollar, *dot;
        enum tmpl_term_kind kind, member;
    } names[] = {{"value", "Value", TERM_VALUE, TERM_VALUE},
                 {"labels", "Labels", TERM_LABELS, TERM_LABEL},
                 {"externalLabels", "ExternalLabels", TERM_OUTER, TERM_OUTER_LABEL},
                 {"externalURL", "ExternalURL", TERM_URL, TERM_URL}};
    const size_t start = p->at;
    const bool dollar = p->text.p[p->at++] == '$';
    struct vv_str name = word(p);
    if (dollar && name.n == 0 && peek(p) == '.') { /* $.Labels is .Labels */
        p->at++;
        name = word(p);
    }
    for (size_t i = 0; i < VV_COUNT(names); i++) {
        if ((dollar && vv_str_eq(name, vv_str_from(names[i].dollar))) ||
            ((!dollar || p->text.p[start + 1] == '.') &&
             vv_str_eq(name, vv_str_from(names[i].dot)))) {
            t->kind = names[i].kind;
            if (peek(p) == '.' && names[i].member != names[i].kind) {
                p->at++;
                t->kind = names[i].member;
                t->literal.s = word(p);
                t->literal.kind = TMPL_STR;
            }
            if (peek(p) == '.' || (t->kind == names[i].member && t->literal.kind == TMPL_STR &&
                                   t->literal.s.n == 0)) {
                fail(p, VV_ESYNTAX, p->at, "unexpected \".\"");
            }
            return;
        }
    }
    fail(p, VV_ESYNTAX, start, "unknown name \"%.*s\"", (int)vv_min_u64(p->at - start, 40),
         p->text.p + start);
}

static const struct tmpl_pipe *read_pipe(struct parser *p, bool inner);

static bool read_term(struct parser *p, struct tmpl_term *t)
{
    const char c = peek(p);
    if (c == '"' || c == '`') {
        read_string(p, t);
    } else if (c == '$' || c == '.') {
        if (c == '.' && p->at + 1 < p->end && p->text.p[p->at + 1] >= '0' &&
            p->text.p[p->at + 1] <= '9') {
            read_number(p, t);
        } else {
            read_name(p, t);
        }
    } else if (c == '(') {
        p->at++;
        t->kind = TERM_PIPE;
        t->pipe = read_pipe(p, true);
    } else if ((c >= '0' && c <= '9') || c == '-' || c == '+') {
        read_number(p, t);
    } else {
        return false;
    }
    return true;
}

static void read_function(struct parser *p, struct tmpl_command *c)
{
    static const char *const queries[] = {"query",       "first",    "value",     "label",
                                          "sortByLabel", "strvalue", "tableLink", "graphLink"};
    const size_t start = p->at;
    const struct vv_str name = word(p);
    c->fn = tmpl_function(name);
    for (size_t i = 0; c->fn == NULL && i < VV_COUNT(queries); i++) {
        if (vv_str_eq(name, vv_str_from(queries[i]))) {
            fail(p, VV_EUNSUPPORTED, start, "%s is not supported: templates ask no queries here",
                 queries[i]);
        }
    }
    if (c->fn == NULL) {
        fail(p, VV_ESYNTAX, start, "unknown function \"%.*s\"", (int)vv_min_u64(name.n, 40),
             name.p);
    }
}

static struct tmpl_command *read_command(struct parser *p, bool piped)
{
    struct tmpl_command *c = make(p, sizeof *c);
    if (c == NULL) {
        return NULL;
    }
    const size_t start = p->at;
    const char lower = vv_char_lower(peek(p));
    if (lower >= 'a' && lower <= 'z') {
        const bool yes =
            vv_str_starts((struct vv_str){p->text.p + p->at, p->end - p->at}, VV_STR("true"));
        const struct vv_str name = word(p);
        if (vv_str_eq(name, VV_STR("true")) || vv_str_eq(name, VV_STR("false"))) {
            c->terms[c->n++].literal = (struct tmpl_value){.kind = TMPL_BOOL, .b = yes};
        } else {
            p->at = start;
            read_function(p, c);
        }
    }
    for (skip_space(p); p->err == VV_OK; skip_space(p)) {
        struct tmpl_term t = {.kind = TERM_LITERAL};
        if (!read_term(p, &t)) {
            break;
        }
        if (c->n == TMPL_ARGS_MAX) {
            fail(p, VV_ELIMIT, p->at, "too many arguments");
            break;
        }
        c->terms[c->n++] = t;
    }
    const size_t n = c->n + (piped ? 1 : 0);
    if (c->fn == NULL && n != 1) {
        fail(p, VV_ESYNTAX, start,
             c->n == 0 ? "a value is missing" : "only a function takes values");
    } else if (c->fn != NULL && (n < c->fn->args_min || n > c->fn->args_max)) {
        fail(p, VV_ESYNTAX, start, "wrong number of arguments for %s", c->fn->name);
    }
    return c;
}

static const struct tmpl_pipe *read_pipe(struct parser *p, bool inner)
{
    struct tmpl_pipe *pipe = make(p, sizeof *pipe);
    const struct tmpl_command **tail = pipe != NULL ? &pipe->first : NULL;
    if (++p->depth > TMPL_DEPTH_MAX) {
        fail(p, VV_ELIMIT, p->at, "nested too deep");
    }
    while (p->err == VV_OK && tail != NULL) {
        skip_space(p);
        struct tmpl_command *c = read_command(p, tail != &pipe->first);
        if (c == NULL) {
            break;
        }
        *tail = c;
        tail = &c->next;
        if (peek(p) != '|') {
            break;
        }
        p->at++;
    }
    p->depth--;
    if (p->err == VV_OK && peek(p) != (inner ? ')' : '\0')) {
        fail(p, VV_ESYNTAX, p->at, "unexpected \"%c\"", peek(p) != '\0' ? peek(p) : '}');
    }
    p->at += inner ? 1 : 0;
    return pipe;
}

/* Finds the end of the action that begins at p->at, past quotes; sets p->end to its "}}" or "-}}"
 * and returns where the text goes on. */
static size_t find_end(struct parser *p)
{
    char quote = '\0';
    for (size_t i = p->at; i + 1 < p->text.n; i++) {
        const char c = p->text.p[i];
        if (quote != '\0') {
            i += c == '\\' && quote == '"' ? 1 : 0;
            quote = c == quote ? '\0' : quote;
        } else if (c == '"' || c == '`') {
            quote = c;
        } else if (c == '}' && p->text.p[i + 1] == '}') {
            p->end = i;
            p->trim = i >= p->at + 2 && p->text.p[i - 1] == '-' && is_space(p->text.p[i - 2]);
            p->end -= p->trim ? 2 : 0;
            return i + 2;
        }
    }
    fail(p, VV_ESYNTAX, p->at, "\"{{\" without \"}}\"");
    return p->text.n;
}

static struct tmpl_node *add_node(struct parser *p, struct tmpl_node ***tail,
                                  enum tmpl_node_kind kind)
{
    struct tmpl_node *n = make(p, sizeof *n);
    if (n != NULL) {
        n->kind = kind;
        **tail = n;
        *tail = &n->next;
    }
    return n;
}

/* Plain text up to the next action; p->at is behind its "{{" then. False: the text has ended. */
static bool read_text(struct parser *p, struct tmpl_node ***tail)
{
    size_t from = p->at;
    const char *open =
        p->at < p->text.n ? memmem(p->text.p + from, p->text.n - from, "{{", 2) : NULL;
    size_t to = open != NULL ? (size_t)(open - p->text.p) : p->text.n;
    p->at = open != NULL ? to + 2 : to;
    while (p->trim && from < to && is_space(p->text.p[from])) {
        from++;
    }
    if (open != NULL && p->at + 1 < p->text.n && p->text.p[p->at] == '-' &&
        is_space(p->text.p[p->at + 1])) {
        p->at++;
        while (to > from && is_space(p->text.p[to - 1])) {
            to--;
        }
    }
    struct tmpl_node *n = to > from ? add_node(p, tail, NODE_TEXT) : NULL;
    if (n != NULL) {
        n->text = (struct vv_str){p->text.p + from, to - from};
    }
    return open != NULL && p->err == VV_OK;
}

enum stop { STOP_TEXT, STOP_END, STOP_ELSE, STOP_ELSE_IF };

static bool is_keyword(struct parser *p, const char *name)
{
    const size_t start = p->at;
    const bool is = vv_str_eq(word(p), vv_str_from(name));
    if (!is) {
        p->at = start;
    }
    skip_space(p);
    return is;
}

static void need_end_of_action(struct parser *p)
{
    if (p->at != p->end) {
        fail(p, VV_ESYNTAX, p->at, "unexpected text");
    }
}

/* A comment may hold anything, quotes and braces too. */
static bool skip_comment(struct parser *p)
{
    size_t at = p->at;
    while (at < p->text.n && is_space(p->text.p[at])) {
        at++;
    }
    if (p->text.n - at < 2 || memcmp(p->text.p + at, "/*", 2) != 0) {
        return false;
    }
    const char *close = memmem(p->text.p + at, p->text.n - at, "*/", 2);
    p->at = close != NULL ? (size_t)(close - p->text.p) + 2 : p->text.n;
    const size_t after = find_end(p);
    skip_space(p);
    if (p->err == VV_OK) {
        need_end_of_action(p);
    }
    p->at = after;
    return true;
}

static enum stop read_list(struct parser *p, struct tmpl_node **head);

static void read_if(struct parser *p, struct tmpl_node *n, size_t after)
{
    if (++p->depth > TMPL_DEPTH_MAX) {
        fail(p, VV_ELIMIT, p->at, "nested too deep");
        return;
    }
    const size_t start = p->at;
    n->pipe = read_pipe(p, false);
    p->at = after;
    enum stop stop = p->err == VV_OK ? read_list(p, &n->then) : STOP_TEXT;
    if (stop == STOP_ELSE) {
        stop = read_list(p, &n->otherwise);
        if (stop != STOP_END) {
            fail(p, VV_ESYNTAX, p->at, "only \"end\" can follow \"else\"");
        }
    } else if (stop == STOP_ELSE_IF) { /* the inner one eats the "end" of both */
        n->otherwise = make(p, sizeof *n);
        if (n->otherwise != NULL) {
            n->otherwise->kind = NODE_IF;
            const size_t inner_after = find_end(p);
            read_if(p, n->otherwise, inner_after);
        }
    } else if (stop == STOP_TEXT) {
        fail(p, VV_ESYNTAX, start, "\"if\" without \"end\"");
    }
    p->depth--;
}

/* One action; STOP_TEXT: the list goes on. */
static enum stop read_action(struct parser *p, struct tmpl_node ***tail)
{
    static const char *const refused[] = {"range", "with", "template", "define", "block"};
    const size_t after = find_end(p);
    skip_space(p);
    for (size_t i = 0; i < VV_COUNT(refused) && p->err == VV_OK; i++) {
        if (is_keyword(p, refused[i])) {
            fail(p, VV_EUNSUPPORTED, p->at, "\"%s\" is not supported", refused[i]);
        }
    }
    if (p->err != VV_OK) {
        return STOP_TEXT;
    }
    if (is_keyword(p, "end")) {
        need_end_of_action(p);
        p->at = after;
        return STOP_END;
    }
    if (is_keyword(p, "else")) {
        if (is_keyword(p, "if")) {
            return STOP_ELSE_IF; /* p->at stays at the condition */
        }
        need_end_of_action(p);
        p->at = after;
        return STOP_ELSE;
    }
    const bool is_if = is_keyword(p, "if");
    struct tmpl_node *n = add_node(p, tail, is_if ? NODE_IF : NODE_ACTION);
    if (n != NULL && is_if) {
        read_if(p, n, after);
    } else if (n != NULL) {
        n->pipe = read_pipe(p, false);
        p->at = after;
    }
    return STOP_TEXT;
}

static enum stop read_list(struct parser *p, struct tmpl_node **head)
{
    struct tmpl_node **tail = head;
    while (p->err == VV_OK && read_text(p, &tail)) {
        if (!skip_comment(p)) {
            const enum stop stop = read_action(p, &tail);
            if (stop != STOP_TEXT) {
                return stop;
            }
        }
    }
    return STOP_TEXT;
}

enum vv_err vv_template_compile(struct vv_str text, struct vv_arena *arena,
                                const struct vv_template **ret, struct vv_template_error *reterr)
{
    *reterr = (struct vv_template_error){.at = 0};
    struct parser p = {.text = vv_arena_str(arena, text), .arena = arena, .why = reterr};
    struct vv_template *t = vv_arena_zalloc(arena, sizeof *t);
    if (p.text.p == NULL || t == NULL) {
        fail(&p, VV_ENOMEM, 0, "out of memory");
        return p.err;
    }
    if (read_list(&p, &t->first) != STOP_TEXT) {
        fail(&p, VV_ESYNTAX, p.at, "\"end\" or \"else\" without \"if\"");
    }
    if (p.err == VV_OK) {
        *ret = t;
    }
    return p.err;
}
