/* src/load/gates.c - reads an expression and computes it in the same walk: gates are short, judged a
 * few times in a run, and a tree would only have to be freed. With `r` NULL the walk checks the form
 * alone. A metric that is not known anywhere in the expression makes the gate unknown: "a or b" must
 * not hold because of b when a was misspelt. */
#include "load/gates.h"
#include "load/report.h"

#include <stdlib.h>

#define EXPRESSION_MAX 4096
#define DEPTH_MAX 64

struct walk {
    struct vv_str text;
    size_t at;
    const struct vv_load_result *r;
    unsigned depth;
    bool unknown;
    const char *why; /* first error; NULL: none */
    size_t why_at;
    bool has_left;
    double left; /* left side of the first comparison */
};

static void fail(struct walk *w, const char *why)
{
    if (w->why == NULL) {
        w->why = why;
        w->why_at = w->at;
    }
}

static char peek(struct walk *w)
{
    while (w->at < w->text.n &&
           (w->text.p[w->at] == ' ' || w->text.p[w->at] == '\t' || w->text.p[w->at] == '\n')) {
        w->at++;
    }
    return w->at < w->text.n ? w->text.p[w->at] : '\0';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '$';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Endpoints may be written without quotes; elsewhere '-' and '/' are operators. */
static bool takes_url(struct vv_str name)
{
    return vv_str_starts(name, VV_STR("plugins.metrics-by-endpoint.")) ||
           vv_str_starts(name, VV_STR("vivace.endpoint."));
}

static struct vv_str word(struct walk *w)
{
    const size_t from = w->at;
    const struct vv_str rest = {w->text.p + from, w->text.n - from};
    const bool url = takes_url(rest);
    for (; w->at < w->text.n; w->at++) {
        const char c = w->text.p[w->at];
        const bool plain = is_letter(c) || is_digit(c) || c == '.';
        if (!plain && !(url && strchr(" \t\n()<>=!\"'", c) == NULL)) {
            break;
        }
    }
    return (struct vv_str){w->text.p + from, w->at - from};
}

static bool take_word(struct walk *w, const char *text)
{
    (void)peek(w);
    const size_t before = w->at;
    if (vv_str_eq_nocase(word(w), vv_str_from(text))) {
        return true;
    }
    w->at = before;
    return false;
}

static double number(struct walk *w)
{
    static const struct {
        const char *unit;
        double factor;
    } units[] = {{"us", 0.001}, {"ms", 1.0}, {"s", 1000.0}, {"m", 60000.0}};
    char buf[64];
    size_t n = 0;
    while (w->at < w->text.n && (is_digit(w->text.p[w->at]) || w->text.p[w->at] == '.')) {
        if (n + 1 == sizeof buf) {
            fail(w, "the number is too long");
            return 0.0;
        }
        buf[n++] = w->text.p[w->at++];
    }
    buf[n] = '\0';
    char *end = NULL;
    double value = strtod(buf, &end);
    if (n == 0 || *end != '\0') {
        fail(w, "this is no number");
        return 0.0;
    }
    if (w->at < w->text.n && w->text.p[w->at] == '%') {
        w->at++;
        return value;
    }
    const struct vv_str unit = word(w);
    for (size_t i = 0; i < VV_COUNT(units); i++) {
        if (vv_str_eq(unit, vv_str_from(units[i].unit))) {
            return value * units[i].factor;
        }
    }
    if (unit.n > 0 && !vv_str_eq(unit, VV_STR("rps"))) {
        w->at -= unit.n;
        fail(w, "a unit is one of us, ms, s, m, %");
    }
    return value;
}

static double metric(struct walk *w, struct vv_str name)
{
    double value = 0.0;
    if (w->r != NULL && !vv_load_metric(w->r, name, &value)) {
        w->unknown = true;
    }
    return value;
}

static double quoted(struct walk *w, char quote)
{
    const size_t from = ++w->at;
    while (w->at < w->text.n && w->text.p[w->at] != quote) {
        w->at++;
    }
    if (w->at == w->text.n || w->at == from) {
        fail(w, "the name in quotes does not end, or is empty");
        return 0.0;
    }
    const struct vv_str name = {w->text.p + from, w->at - from};
    w->at++;
    return metric(w, name);
}

static double any(struct walk *w);

static double atom(struct walk *w)
{
    const char c = peek(w);
    double value = 0.0;
    if (w->depth >= DEPTH_MAX) {
        fail(w, "nested too deeply");
        return 0.0;
    }
    w->depth++;
    if (c == '(') {
        w->at++;
        value = any(w);
        if (peek(w) == ')') {
            w->at++;
        } else {
            fail(w, "\")\" is missing");
        }
    } else if (c == '-') {
        w->at++;
        value = -atom(w);
    } else if (c == '\'' || c == '"') {
        value = quoted(w, c);
    } else if (is_digit(c) || c == '.') {
        value = number(w);
    } else if (is_letter(c)) {
        value = metric(w, word(w));
    } else {
        fail(w, c == '\0' ? "a name or a number is missing at the end"
                          : "a name or a number belongs here");
    }
    w->depth--;
    return value;
}

static double product(struct walk *w)
{
    double value = atom(w);
    while (w->why == NULL && (peek(w) == '*' || peek(w) == '/')) {
        const bool times = w->text.p[w->at++] == '*';
        const double right = atom(w);
        value = times ? value * right : right != 0.0 ? value / right : 0.0;
    }
    return value;
}

static double sum(struct walk *w)
{
    double value = product(w);
    while (w->why == NULL && (peek(w) == '+' || peek(w) == '-')) {
        const bool plus = w->text.p[w->at++] == '+';
        const double right = product(w);
        value = plus ? value + right : value - right;
    }
    return value;
}

static struct vv_str operator(struct walk *w)
{
    static const char *const list[] = {"<=", ">=", "==", "!=", "<", ">"};
    (void)peek(w);
    const struct vv_str rest = {w->text.p + w->at, w->text.n - w->at};
    for (size_t i = 0; i < VV_COUNT(list); i++) {
        const struct vv_str op = vv_str_from(list[i]);
        if (vv_str_starts(rest, op)) {
            w->at += op.n;
            return op;
        }
    }
    return (struct vv_str){NULL, 0};
}

static bool compare(double a, struct vv_str op, double b)
{
    if (op.n == 2) {
        return op.p[0] == '<' ? a <= b : op.p[0] == '>' ? a >= b : op.p[0] == '=' ? a == b : a != b;
    }
    return op.p[0] == '<' ? a < b : a > b;
}

static double comparison(struct walk *w)
{
    const double left = sum(w);
    const struct vv_str op = w->why == NULL ? operator(w) : (struct vv_str){NULL, 0};
    if (op.n == 0) {
        return left;
    }
    if (!w->has_left) {
        w->has_left = true;
        w->left = left;
    }
    return compare(left, op, sum(w)) ? 1.0 : 0.0;
}

static double negation(struct walk *w)
{
    bool turn = false;
    while (take_word(w, "not")) {
        turn = !turn;
    }
    const double value = comparison(w);
    return turn ? (value == 0.0 ? 1.0 : 0.0) : value;
}

static double all(struct walk *w)
{
    double value = negation(w);
    while (w->why == NULL && take_word(w, "and")) {
        const double right = negation(w);
        value = value != 0.0 && right != 0.0 ? 1.0 : 0.0;
    }
    return value;
}

static double any(struct walk *w)
{
    double value = all(w);
    while (w->why == NULL && take_word(w, "or")) {
        const double right = all(w);
        value = value != 0.0 || right != 0.0 ? 1.0 : 0.0;
    }
    return value;
}

static double evaluate(struct walk *w)
{
    if (w->text.n > EXPRESSION_MAX) {
        fail(w, "the expression is too long");
        return 0.0;
    }
    const double value = any(w);
    if (w->why == NULL && peek(w) != '\0') {
        fail(w, "this does not belong to the expression");
    }
    return value;
}

enum vv_err vv_load_gate_check(const char *expression, size_t *reterr_column,
                               const char **reterr_why)
{
    struct walk w = {.text = vv_str_from(expression)};
    (void)evaluate(&w);
    if (w.why == NULL) {
        return VV_OK;
    }
    *reterr_column = w.why_at + 1;
    *reterr_why = w.why;
    return VV_ESYNTAX;
}

static void judge(const struct vv_load_result *r, const struct vv_load_gate *g,
                  struct vv_load_verdict *ret)
{
    struct walk w = {.text = vv_str_from(g->expression), .r = r};
    const double value = evaluate(&w);
    ret->gate = g;
    ret->known = !w.unknown && w.why == NULL;
    ret->held = ret->known && value != 0.0;
    ret->value = w.has_left ? w.left : value;
}

enum vv_err vv_load_judge(const struct vv_load_result *r, const struct vv_load_gate *more,
                          size_t more_count, struct vv_load_verdict **ret_verdicts,
                          size_t *ret_count)
{
    const size_t own = r->view.gate_count, count = own + more_count;
    struct vv_load_verdict *v = calloc(count > 0 ? count : 1, sizeof *v);
    if (v == NULL) {
        return VV_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        judge(r, i < own ? &r->view.gate[i] : &more[i - own], &v[i]);
    }
    *ret_verdicts = v;
    *ret_count = count;
    return VV_OK;
}

bool vv_load_gate_split(const char *expression, struct vv_load_gate_parts *ret)
{
    struct walk w = {.text = vv_str_from(expression)};
    const char c = peek(&w);
    if (c == '\'' || c == '"') {
        const size_t from = w.at + 1;
        (void)quoted(&w, c);
        ret->metric = (struct vv_str){w.text.p + from, w.at > from ? w.at - from - 1 : 0};
    } else {
        ret->metric = word(&w);
    }
    ret->op = operator(&w);
    if (w.why != NULL || ret->metric.n == 0 || ret->op.n == 0 || is_digit(ret->metric.p[0])) {
        return false;
    }
    if (!is_digit(peek(&w))) {
        return false;
    }
    ret->limit = number(&w);
    return w.why == NULL && peek(&w) == '\0';
}
