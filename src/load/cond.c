/* src/load/cond.c - a recursive-descent compiler and a tree walk: conditions are a line long. */
#include "load/cond.h"

#include <math.h>
#include <stdlib.h>

#define DEPTH_MAX 32
#define RANKS 5

enum cond_kind {
    COND_CONSTANT,
    COND_VARIABLE,
    COND_NOT,
    COND_AND,
    COND_OR,
    COND_SAME,
    COND_DIFFERENT,
    COND_LESS,
    COND_LESS_SAME,
    COND_MORE,
    COND_MORE_SAME,
    COND_PLUS,
    COND_MINUS,
    COND_TIMES,
    COND_OVER,
    COND_REST
};

struct vv_load_cond {
    enum cond_kind kind;
    const struct vv_load_value *constant;
    struct vv_load_text variable;
    struct vv_load_cond *left, *right;
};

struct compile {
    struct vv_load_names *names;
    struct vv_str text;
    size_t at;
    int depth;
    const char *why;
    bool out_of_memory;
};

static struct vv_load_cond *read_or(struct compile *c);

static void wrong(struct compile *c, const char *why)
{
    c->why = c->why != NULL ? c->why : why;
}

static struct vv_load_cond *node(struct compile *c, enum cond_kind kind, struct vv_load_cond *left,
                                 struct vv_load_cond *right)
{
    struct vv_load_cond *n = vv_arena_zalloc(c->names->arena, sizeof *n);
    if (n == NULL) {
        c->out_of_memory = true;
        wrong(c, "out of memory");
        return NULL;
    }
    *n = (struct vv_load_cond){.kind = kind, .left = left, .right = right};
    return n;
}

static void skip_space(struct compile *c)
{
    while (c->at < c->text.n && (c->text.p[c->at] == ' ' || c->text.p[c->at] == '\t' ||
                                 c->text.p[c->at] == '\n' || c->text.p[c->at] == '\r')) {
        c->at++;
    }
}

static bool is_word_char(char ch)
{
    return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') ||
           ch == '_' || ch == '$';
}

/* Words must end where the name ends; signs need not. */
static bool take(struct compile *c, const char *what)
{
    const size_t n = strlen(what);
    skip_space(c);
    if (c->text.n - c->at < n || memcmp(c->text.p + c->at, what, n) != 0 ||
        (is_word_char(what[0]) && c->at + n < c->text.n && is_word_char(c->text.p[c->at + n]))) {
        return false;
    }
    c->at += n;
    return true;
}

static struct vv_load_cond *constant(struct compile *c, const struct vv_load_value *v)
{
    struct vv_load_cond *n = node(c, COND_CONSTANT, NULL, NULL);
    if (n != NULL) {
        n->constant = vv_load_value_copy(c->names->arena, v);
        c->out_of_memory = c->out_of_memory || n->constant == NULL;
    }
    return n;
}

static struct vv_load_cond *read_quoted(struct compile *c, char quote)
{
    const size_t from = ++c->at;
    while (c->at < c->text.n && c->text.p[c->at] != quote) {
        c->at++;
    }
    if (c->at == c->text.n) {
        wrong(c, "the quote that begins here never ends");
        return NULL;
    }
    const struct vv_load_value v = {.kind = VV_LOAD_TEXT,
                                    .text = {c->text.p + from, c->at++ - from}};
    return constant(c, &v);
}

static struct vv_load_cond *read_number(struct compile *c)
{
    const size_t from = c->at;
    while (c->at < c->text.n &&
           ((c->text.p[c->at] >= '0' && c->text.p[c->at] <= '9') || c->text.p[c->at] == '.')) {
        c->at++;
    }
    const struct vv_load_value v = {.kind = VV_LOAD_NUMBER,
                                    .text = {c->text.p + from, c->at - from}};
    double d = 0;
    if (!vv_load_value_to_double(&v, &d)) {
        wrong(c, "this is no number");
        return NULL;
    }
    return constant(c, &v);
}

/* A path of letters, dots and brackets; braces around it may stand, as templates have them. */
static struct vv_load_cond *read_variable(struct compile *c)
{
    const bool braces = take(c, "{{");
    skip_space(c);
    const size_t from = c->at;
    while (c->at < c->text.n && (is_word_char(c->text.p[c->at]) || c->text.p[c->at] == '.' ||
                                 c->text.p[c->at] == '[' || c->text.p[c->at] == ']')) {
        c->at++;
    }
    const struct vv_str path = {c->text.p + from, c->at - from};
    if (path.n == 0 || (braces && !take(c, "}}"))) {
        wrong(c, "a variable, a number, a text in quotes or ( is expected here");
        return NULL;
    }
    struct vv_load_cond *n = node(c, COND_VARIABLE, NULL, NULL);
    const struct vv_str source =
        vv_arena_fmt(c->names->arena, "{{" VV_STR_FMT "}}", VV_STR_ARG(path));
    size_t at = 0;
    const char *why = NULL;
    if (n == NULL || source.p == NULL) {
        c->out_of_memory = true;
    } else if (vv_load_text_compile(c->names, source, &n->variable, &why, &at) != VV_OK) {
        c->at = from;
        wrong(c, why != NULL ? why : "out of memory");
    } else if (!vv_load_text_variable(&n->variable)) { /* $env.X and the like are known by now */
        const struct vv_load_value v = {.kind = VV_LOAD_TEXT, .text = n->variable.part[0].literal};
        return constant(c, &v);
    }
    return n;
}

static struct vv_load_cond *read_single(struct compile *c)
{
    skip_space(c);
    const char ch = c->at < c->text.n ? c->text.p[c->at] : '\0';
    struct vv_load_value v = {.kind = VV_LOAD_BOOL, .yes = true};
    if (++c->depth > DEPTH_MAX) {
        wrong(c, "nested too deeply");
        return NULL;
    }
    struct vv_load_cond *n = NULL;
    if (take(c, "(")) {
        n = read_or(c);
        if (!take(c, ")")) {
            wrong(c, "a ) is missing here");
        }
    } else if (take(c, "not") || (ch == '!' && take(c, "!"))) {
        n = node(c, COND_NOT, read_single(c), NULL);
    } else if (take(c, "-")) {
        v = (struct vv_load_value){.kind = VV_LOAD_NUMBER, .text = VV_STR("0")};
        struct vv_load_cond *zero = constant(c, &v);
        n = node(c, COND_MINUS, zero, read_single(c));
    } else if (take(c, "true")) {
        n = constant(c, &v);
    } else if (take(c, "false")) {
        v.yes = false;
        n = constant(c, &v);
    } else if (ch == '"' || ch == '\'') {
        n = read_quoted(c, ch);
    } else if ((ch >= '0' && ch <= '9') || ch == '.') {
        n = read_number(c);
    } else {
        n = read_variable(c);
    }
    c->depth--;
    return n;
}

/* One level of precedence: operators of equal rank, from left to right. */
struct rank {
    const char *sign;
    enum cond_kind kind;
};
static struct vv_load_cond *read_level(struct compile *c, int level)
{
    static const struct rank ranks[RANKS][9] = {
        {{"or", COND_OR}, {"||", COND_OR}, {NULL, COND_OR}},
        {{"and", COND_AND}, {"&&", COND_AND}, {NULL, COND_AND}},
        {{"===", COND_SAME},
         {"==", COND_SAME},
         {"!==", COND_DIFFERENT},
         {"!=", COND_DIFFERENT},
         {"<=", COND_LESS_SAME},
         {">=", COND_MORE_SAME},
         {"<", COND_LESS},
         {">", COND_MORE},
         {NULL, COND_OR}},
        {{"+", COND_PLUS}, {"-", COND_MINUS}, {NULL, COND_OR}},
        {{"*", COND_TIMES}, {"/", COND_OVER}, {"%", COND_REST}, {NULL, COND_OR}},
    };
    struct vv_load_cond *left = level == RANKS - 1 ? read_single(c) : read_level(c, level + 1);
    while (c->why == NULL) {
        const struct rank *r = ranks[level];
        while (r->sign != NULL && !take(c, r->sign)) {
            r++;
        }
        if (r->sign == NULL) {
            break;
        }
        struct vv_load_cond *right = level == RANKS - 1 ? read_single(c) : read_level(c, level + 1);
        left = node(c, r->kind, left, right);
    }
    return left;
}

static struct vv_load_cond *read_or(struct compile *c)
{
    return read_level(c, 0);
}

enum vv_err vv_load_cond_compile(struct vv_load_names *names, struct vv_str text,
                                 struct vv_load_cond **ret, const char **reterr_why,
                                 size_t *reterr_at)
{
    struct compile c = {.names = names, .text = text};
    struct vv_load_cond *n = read_or(&c);
    skip_space(&c);
    if (c.why == NULL && c.at < text.n) {
        wrong(&c, "an operator is expected here");
    }
    if (c.out_of_memory) {
        return VV_ENOMEM;
    }
    if (c.why != NULL) {
        *reterr_why = c.why;
        *reterr_at = c.at;
        return VV_ESYNTAX;
    }
    *ret = n;
    return VV_OK;
}

/* ---- evaluation ---------------------------------------------------------------------------- */

struct result { /* a value of the scope, or a number */
    const struct vv_load_value *value;
    double number;
    bool is_number;
};

static struct result number(double d)
{
    return (struct result){.number = d, .is_number = true};
}

static bool truth(struct result r)
{
    double d = 0;
    if (r.is_number) {
        return r.number != 0 && !isnan(r.number);
    }
    if (r.value == NULL || r.value->kind == VV_LOAD_NULL) {
        return false;
    }
    switch (r.value->kind) {
    case VV_LOAD_BOOL:
        return r.value->yes;
    case VV_LOAD_NUMBER:
        return vv_load_value_to_double(r.value, &d) && d != 0;
    case VV_LOAD_TEXT:
        return r.value->text.n > 0;
    default:
        return true;
    }
}

static double as_number(struct result r)
{
    double d = NAN;
    if (r.is_number) {
        return r.number;
    }
    return vv_load_value_to_double(r.value, &d) ? d : NAN;
}

static bool same(struct result a, struct result b)
{
    const double x = as_number(a), y = as_number(b);
    if (!isnan(x) && !isnan(y)) {
        return x == y;
    }
    return !a.is_number && !b.is_number && vv_load_value_same(a.value, b.value);
}

static double calculate(enum cond_kind kind, double x, double y)
{
    switch (kind) {
    case COND_LESS:
        return x < y;
    case COND_LESS_SAME:
        return x <= y;
    case COND_MORE:
        return x > y;
    case COND_MORE_SAME:
        return x >= y;
    case COND_PLUS:
        return x + y;
    case COND_MINUS:
        return x - y;
    case COND_TIMES:
        return x * y;
    case COND_OVER:
        return x / y;
    default:
        return fmod(x, y);
    }
}

static struct result evaluate(const struct vv_load_cond *c, const struct vv_load_scope *s)
{
    switch (c->kind) {
    case COND_CONSTANT:
        return (struct result){.value = c->constant};
    case COND_VARIABLE:
        return (struct result){.value = vv_load_text_value(&c->variable, s)};
    case COND_NOT:
        return number(!truth(evaluate(c->left, s)));
    case COND_AND:
        return number(truth(evaluate(c->left, s)) && truth(evaluate(c->right, s)));
    case COND_OR:
        return number(truth(evaluate(c->left, s)) || truth(evaluate(c->right, s)));
    case COND_SAME:
        return number(same(evaluate(c->left, s), evaluate(c->right, s)));
    case COND_DIFFERENT:
        return number(!same(evaluate(c->left, s), evaluate(c->right, s)));
    default:
        return number(
            calculate(c->kind, as_number(evaluate(c->left, s)), as_number(evaluate(c->right, s))));
    }
}

bool vv_load_cond_true(const struct vv_load_cond *c, const struct vv_load_scope *s)
{
    return truth(evaluate(c, s));
}
