/* src/promql/parse.c - precedence climbing; types are checked where a node is made, so a wrong query
 * is refused before any sample is read. */
#include "promql/promql_int.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "promql/lex.h"

#define NESTING_MAX 800 /* of the text */
#define DEPTH_MAX 200   /* of the tree */
#define LIST_MAX 200    /* matchers, labels, arguments */
#define AT_SECONDS_MAX 9e12

const char *const vv_pq_op_text[BIN_COUNT] = {"or", "and", "unless", "==", "!=", "<", "<=",    ">",
                                              ">=", "+",   "-",      "*",  "/",  "%", "atan2", "^"};
static const unsigned op_precedence[BIN_COUNT] = {1, 2, 2, 3, 3, 3, 3, 3, 3, 4, 4, 5, 5, 5, 5, 6};
#define PRECEDENCE_POW 6
const char *const vv_pq_aggregate_name[AGG_KINDS] = {"sum",  "avg",     "count",    "min",
                                                     "max",  "group",   "stddev",   "stdvar",
                                                     "topk", "bottomk", "quantile", "count_values"};

struct parser {
    struct vv_pq_lexer lexer;
    struct vv_pq_token token;
    struct vv_arena *arena;
    struct vv_promql_error *why;
    enum vv_err err;
    unsigned nesting;
    size_t slots;
};

static struct vv_promql_expr *parse_expr(struct parser *p, unsigned precedence);

VV_PRINTF(4, 5)
static void *fail(struct parser *p, enum vv_err err, size_t at, const char *fmt, ...)
{
    if (p->err != VV_OK) {
        return NULL;
    }
    va_list args;
    va_start(args, fmt);
    vsnprintf(p->why->text, sizeof p->why->text, fmt, args);
    va_end(args);
    p->err = err;
    p->why->at = at;
    return NULL;
}

static void advance(struct parser *p)
{
    if (p->err != VV_OK) {
        return;
    }
    p->token = vv_pq_next(&p->lexer);
    if (p->token.kind == TOKEN_BAD) {
        fail(p, VV_ESYNTAX, p->token.at, "%s", p->lexer.why);
    }
}

static bool is(const struct parser *p, int kind)
{
    return p->err == VV_OK && p->token.kind == kind;
}

static bool is_word(const struct parser *p, const char *word)
{
    return is(p, TOKEN_NAME) && vv_str_eq_nocase(p->token.text, vv_str_from(word));
}

static bool accept(struct parser *p, int kind)
{
    if (!is(p, kind)) {
        return false;
    }
    advance(p);
    return true;
}

static void expect(struct parser *p, int kind, const char *where)
{
    if (!accept(p, kind)) {
        fail(p, VV_ESYNTAX, p->token.at, "expected \"%c\" %s", kind, where);
    }
}

static struct vv_promql_expr *make(struct parser *p, enum vv_pq_kind kind, size_t at, size_t args)
{
    struct vv_promql_expr *e =
        p->err == VV_OK ? vv_arena_zalloc(p->arena, sizeof *e + args * sizeof(void *)) : NULL;
    if (e == NULL) {
        return fail(p, VV_ENOMEM, at, "out of memory");
    }
    e->kind = kind;
    e->at = at;
    e->depth = 1;
    e->args = (const struct vv_promql_expr **)(e + 1);
    return e;
}

static void add_arg(struct parser *p, struct vv_promql_expr *e, const struct vv_promql_expr *arg)
{
    if (e == NULL || arg == NULL) {
        return;
    }
    e->args[e->args_n++] = arg;
    if (arg->depth + 1 > e->depth) {
        e->depth = arg->depth + 1;
    }
    if (e->depth > DEPTH_MAX) {
        fail(p, VV_ELIMIT, e->at, "more than %d operations inside each other", DEPTH_MAX);
    }
}

static bool want_type(struct parser *p, const struct vv_promql_expr *e, enum vv_promql_type type,
                      const char *where)
{
    if (e == NULL || p->err != VV_OK) {
        return false;
    }
    if (e->type != type) {
        fail(p, VV_ESYNTAX, e->at, "expected type %s in %s, got %s", vv_promql_type_name(type),
             where, vv_promql_type_name(e->type));
        return false;
    }
    return true;
}

static int64_t parse_duration(struct parser *p, const char *where)
{
    const struct vv_pq_token t = p->token;
    if (!accept(p, TOKEN_DURATION)) {
        fail(p, VV_ESYNTAX, t.at, "expected a duration %s", where);
        return 0;
    }
    if (t.ms == 0) {
        fail(p, VV_ESYNTAX, t.at, "a duration must be greater than 0");
    }
    return t.ms;
}

static void compile(struct parser *p, size_t at, struct vv_str pattern, const struct vv_regex **ret)
{
    const char *why = NULL;
    const enum vv_err err =
        p->err == VV_OK ? vv_regex_compile(pattern, p->arena, ret, &why) : VV_OK;
    if (err != VV_OK) {
        fail(p, err, at, "regular expression: %s", why);
    }
}

static bool parse_matcher(struct parser *p, struct vv_promql_matcher *m)
{
    const size_t at = p->token.at;
    m->name = p->token.text;
    if (!accept(p, TOKEN_NAME) || !vv_pq_label_name_valid(m->name)) {
        return fail(p, VV_ESYNTAX, at, "expected a label name") != NULL;
    }
    const int op = p->token.kind;
    m->how = op == TOKEN_NE    ? MATCH_NE
             : op == TOKEN_RE  ? MATCH_RE
             : op == TOKEN_NRE ? MATCH_NRE
                               : MATCH_EQ;
    if (op != '=' && op != TOKEN_NE && op != TOKEN_RE && op != TOKEN_NRE) {
        return fail(p, VV_ESYNTAX, p->token.at, "expected =, !=, =~ or !~ behind a label") != NULL;
    }
    advance(p);
    const struct vv_pq_token value = p->token;
    if (!accept(p, TOKEN_STRING)) {
        return fail(p, VV_ESYNTAX, value.at, "expected a string behind a label") != NULL;
    }
    m->value = value.text;
    if (m->how == MATCH_RE || m->how == MATCH_NRE) {
        compile(p, value.at, m->value, &m->re);
    }
    return p->err == VV_OK;
}

static void check_matchers(struct parser *p, const struct vv_promql_expr *e, bool named)
{
    size_t names = named ? 1 : 0;
    bool selective = false;
    for (size_t i = 0; i < e->matchers_n; i++) {
        selective =
            selective || !vv_promql_matches(&e->matchers[i], 1, (struct vv_promql_labels){NULL, 0});
        if (named && i > 0 && vv_str_eq(e->matchers[i].name, VV_PQ_NAME)) {
            names++;
        }
    }
    if (names > 1) {
        fail(p, VV_ESYNTAX, e->at, "the metric's name is set twice");
    } else if (!selective) {
        fail(p, VV_ESYNTAX, e->at, "a selector needs a matcher that an empty label does not match");
    }
}

static struct vv_promql_expr *parse_selector(struct parser *p, const struct vv_pq_token *name)
{
    struct vv_promql_expr *e = make(p, NODE_SELECTOR, name != NULL ? name->at : p->token.at, 0);
    struct vv_promql_matcher *m = vv_arena_zalloc(p->arena, LIST_MAX * sizeof *m);
    if (e == NULL || m == NULL) {
        return fail(p, VV_ENOMEM, p->token.at, "out of memory");
    }
    e->type = VV_PROMQL_VECTOR;
    e->matchers = m;
    e->slot = p->slots++;
    if (name != NULL) {
        m[e->matchers_n++] = (struct vv_promql_matcher){MATCH_EQ, VV_PQ_NAME, name->text, NULL};
    }
    if (accept(p, '{')) {
        while (!is(p, '}') && p->err == VV_OK) {
            if (e->matchers_n == LIST_MAX) {
                return fail(p, VV_ELIMIT, p->token.at, "too many matchers");
            }
            if (!parse_matcher(p, &m[e->matchers_n++]) || !accept(p, ',')) {
                break;
            }
        }
        expect(p, '}', "behind the matchers");
    }
    if (p->err == VV_OK) {
        check_matchers(p, e, name != NULL);
    }
    return e;
}

static struct vv_pq_names parse_names(struct parser *p)
{
    struct vv_str *at = vv_arena_alloc(p->arena, LIST_MAX * sizeof *at);
    size_t n = 0;
    if (at == NULL) {
        fail(p, VV_ENOMEM, p->token.at, "out of memory");
    }
    expect(p, '(', "before label names");
    while (at != NULL && !is(p, ')') && p->err == VV_OK) {
        if (!is(p, TOKEN_NAME) || !vv_pq_label_name_valid(p->token.text) || n == LIST_MAX) {
            fail(p, VV_ESYNTAX, p->token.at, "expected a label name");
            break;
        }
        at[n++] = p->token.text;
        advance(p);
        if (!accept(p, ',')) {
            break;
        }
    }
    expect(p, ')', "behind label names");
    return (struct vv_pq_names){at, n};
}

static size_t parse_args(struct parser *p, struct vv_promql_expr **args)
{
    size_t n = 0;
    expect(p, '(', "before arguments");
    while (!is(p, ')') && p->err == VV_OK) {
        if (n == LIST_MAX) {
            fail(p, VV_ELIMIT, p->token.at, "too many arguments");
            break;
        }
        args[n++] = parse_expr(p, 0);
        if (!accept(p, ',')) {
            break;
        }
        if (is(p, ')')) {
            fail(p, VV_ESYNTAX, p->token.at, "a comma without an argument behind it");
        }
    }
    expect(p, ')', "behind the arguments");
    return n;
}

static bool parse_grouping(struct parser *p, struct vv_promql_expr *e)
{
    const bool without = is_word(p, "without");
    if (!without && !is_word(p, "by")) {
        return false;
    }
    advance(p);
    e->without = without;
    e->labels = parse_names(p);
    return true;
}

static struct vv_promql_expr *parse_aggregate(struct parser *p, size_t at,
                                              enum vv_pq_aggregate what)
{
    const char *name = vv_pq_aggregate_name[what];
    const bool with_param = what >= AGG_TOPK;
    struct vv_promql_expr *e = make(p, NODE_AGGREGATE, at, 2);
    struct vv_promql_expr **args = vv_arena_alloc(p->arena, LIST_MAX * sizeof(void *));
    if (e == NULL || args == NULL) {
        return fail(p, VV_ENOMEM, at, "out of memory");
    }
    e->type = VV_PROMQL_VECTOR;
    e->aggregate = what;
    const bool grouped = parse_grouping(p, e);
    const size_t n = parse_args(p, args);
    if (!grouped) {
        parse_grouping(p, e);
    }
    if (p->err != VV_OK) {
        return NULL;
    }
    if (n != (with_param ? 2u : 1u)) {
        return fail(p, VV_ESYNTAX, at, "wrong number of arguments for %s: %zu", name, n);
    }
    if (with_param &&
        !want_type(p, args[0], what == AGG_COUNT_VALUES ? VV_PROMQL_STRING : VV_PROMQL_SCALAR,
                   name)) {
        return NULL;
    }
    if (!want_type(p, args[n - 1], VV_PROMQL_VECTOR, name)) {
        return NULL;
    }
    add_arg(p, e, args[n - 1]);
    if (with_param) {
        add_arg(p, e, args[0]);
    }
    if (what == AGG_COUNT_VALUES && !vv_pq_label_name_valid(args[0]->text)) {
        return fail(p, VV_ESYNTAX, args[0]->at, "not a label name");
    }
    return e;
}

/* Labels and patterns of label_replace and label_join are texts, so they can be checked here. */
static void check_label_call(struct parser *p, struct vv_promql_expr *e)
{
    if (vv_str_eq(vv_str_from(e->fn->name), VV_STR("label_replace"))) {
        compile(p, e->args[4]->at, e->args[4]->text, &e->re);
    } else if (!vv_str_eq(vv_str_from(e->fn->name), VV_STR("label_join"))) {
        return;
    }
    for (size_t i = 1; i < e->args_n; i++) {
        const bool is_name = i == 1 || (e->re == NULL && i >= 3);
        if (p->err == VV_OK && is_name && !vv_pq_label_name_valid(e->args[i]->text)) {
            fail(p, VV_ESYNTAX, e->args[i]->at, "not a label name");
        }
    }
}

static struct vv_promql_expr *parse_call(struct parser *p, const struct vv_pq_token *name)
{
    const struct vv_pq_function *fn = vv_pq_function(name->text);
    struct vv_promql_expr **args = vv_arena_alloc(p->arena, LIST_MAX * sizeof(void *));
    if (fn == NULL || args == NULL) {
        return fail(p, VV_ESYNTAX, name->at, "unknown function");
    }
    const size_t n = parse_args(p, args);
    struct vv_promql_expr *e = make(p, NODE_CALL, name->at, n);
    if (e == NULL) {
        return NULL;
    }
    if (n < fn->args_min || n > fn->args_max) {
        return fail(p, VV_ESYNTAX, name->at, "wrong number of arguments for %s: %zu", fn->name, n);
    }
    e->fn = fn;
    e->type = fn->type;
    for (size_t i = 0; i < n; i++) {
        if (!want_type(p, args[i], fn->args[i < VV_PQ_ARGS ? i : VV_PQ_ARGS - 1], fn->name)) {
            return NULL;
        }
        add_arg(p, e, args[i]);
    }
    check_label_call(p, e);
    return e;
}

static struct vv_promql_expr *make_number(struct parser *p, size_t at, double v)
{
    struct vv_promql_expr *e = make(p, NODE_NUMBER, at, 0);
    if (e != NULL) {
        e->type = VV_PROMQL_SCALAR;
        e->number = v;
    }
    return e;
}

static struct vv_promql_expr *parse_word(struct parser *p)
{
    static const char *const reserved[] = {"bool",       "on",          "ignoring",
                                           "group_left", "group_right", "atan2"};
    const struct vv_pq_token name = p->token;
    for (size_t i = 0; i < VV_COUNT(reserved); i++) {
        if (is_word(p, reserved[i])) {
            return fail(p, VV_ESYNTAX, name.at, "unexpected %s", reserved[i]);
        }
    }
    const bool inf = is_word(p, "inf"), nan_ = is_word(p, "nan");
    advance(p);
    if (inf || nan_) {
        return make_number(p, name.at, inf ? (double)INFINITY : (double)NAN);
    }
    for (int i = 0; i < AGG_KINDS; i++) {
        if (vv_str_eq_nocase(name.text, vv_str_from(vv_pq_aggregate_name[i])) &&
            (is(p, '(') || is_word(p, "by") || is_word(p, "without"))) {
            return parse_aggregate(p, name.at, (enum vv_pq_aggregate)i);
        }
    }
    return is(p, '(') ? parse_call(p, &name) : parse_selector(p, &name);
}

static struct vv_promql_expr *parse_primary(struct parser *p)
{
    const struct vv_pq_token t = p->token;
    struct vv_promql_expr *e = NULL;
    switch (t.kind) {
    case TOKEN_NUMBER:
        advance(p);
        return make_number(p, t.at, t.number);
    case TOKEN_STRING:
        advance(p);
        e = make(p, NODE_STRING, t.at, 0);
        if (e != NULL) {
            e->type = VV_PROMQL_STRING;
            e->text = t.text;
        }
        return e;
    case '(':
        advance(p);
        e = parse_expr(p, 0);
        expect(p, ')', "behind an expression");
        return e;
    case '{':
        return parse_selector(p, NULL);
    case TOKEN_NAME:
        return parse_word(p);
    case TOKEN_END:
        return fail(p, VV_ESYNTAX, t.at, "the query ends too early");
    default:
        return fail(p, VV_ESYNTAX, t.at, "unexpected \"" VV_STR_FMT "\"",
                    (int)(t.text.n > 40 ? 40 : t.text.n), t.text.p);
    }
}

/* [5m] makes a range of a selector, [5m:1m] a subquery of any vector. */
static struct vv_promql_expr *parse_brackets(struct parser *p, struct vv_promql_expr *e, bool plain)
{
    const size_t at = p->token.at;
    advance(p);
    const int64_t range_ms = parse_duration(p, "between brackets");
    if (accept(p, ':')) {
        struct vv_promql_expr *sub = make(p, NODE_SUBQUERY, e->at, 1);
        if (!want_type(p, e, VV_PROMQL_VECTOR, "a subquery") || sub == NULL) {
            return NULL;
        }
        sub->type = VV_PROMQL_MATRIX;
        sub->range_ms = range_ms;
        sub->substep_ms = is(p, ']') ? 0 : parse_duration(p, "as a subquery's step");
        add_arg(p, sub, e);
        expect(p, ']', "behind a range");
        return sub;
    }
    expect(p, ']', "behind a range");
    if (p->err != VV_OK) {
        return NULL;
    }
    if (e->kind != NODE_SELECTOR || !plain) {
        return fail(p, VV_ESYNTAX, at, "a range needs a selector without offset or @ before it");
    }
    e->kind = NODE_RANGE;
    e->type = VV_PROMQL_MATRIX;
    e->range_ms = range_ms;
    return e;
}

static bool may_shift(struct parser *p, const struct vv_promql_expr *e, bool again)
{
    const bool fits = e->kind == NODE_SELECTOR || e->kind == NODE_RANGE || e->kind == NODE_SUBQUERY;
    if (!fits || again) {
        fail(p, VV_ESYNTAX, p->token.at,
             again ? "set twice" : "offset and @ belong behind a selector or a subquery");
    }
    return fits && !again;
}

static void parse_offset(struct parser *p, struct vv_promql_expr *e)
{
    if (!may_shift(p, e, e->has_offset)) {
        return;
    }
    advance(p);
    const bool minus = is(p, '-');
    if (minus || is(p, '+')) {
        advance(p);
    }
    const int64_t ms = parse_duration(p, "behind offset");
    e->has_offset = true;
    e->offset_ms = minus ? -ms : ms;
}

static void parse_at(struct parser *p, struct vv_promql_expr *e)
{
    if (!may_shift(p, e, e->at_kind != AT_NONE)) {
        return;
    }
    advance(p);
    if (is_word(p, "start") || is_word(p, "end")) {
        e->at_kind = is_word(p, "start") ? AT_QUERY_START : AT_QUERY_END;
        advance(p);
        expect(p, '(', "behind start or end");
        expect(p, ')', "behind start or end");
        return;
    }
    const bool minus = is(p, '-');
    if (minus || is(p, '+')) {
        advance(p);
    }
    const struct vv_pq_token t = p->token;
    if (!accept(p, TOKEN_NUMBER) || !(t.number < AT_SECONDS_MAX)) {
        fail(p, VV_ESYNTAX, t.at, "expected a time in seconds behind @");
        return;
    }
    e->at_kind = AT_TIME;
    e->at_ms = (int64_t)round((minus ? -t.number : t.number) * 1000);
}

static struct vv_promql_expr *parse_postfix(struct parser *p)
{
    /* Only what is written right behind a selector belongs to it: (x)[5m] is not a range. */
    bool plain = !is(p, '(');
    struct vv_promql_expr *e = parse_primary(p);
    while (p->err == VV_OK && e != NULL) {
        if (is(p, '[')) {
            e = parse_brackets(p, e, plain);
        } else if (is_word(p, "offset")) {
            parse_offset(p, e);
        } else if (is(p, '@')) {
            parse_at(p, e);
        } else {
            break;
        }
        plain = false;
    }
    return e;
}

static struct vv_promql_expr *parse_unary(struct parser *p)
{
    if (!is(p, '-') && !is(p, '+')) {
        return parse_postfix(p);
    }
    const size_t at = p->token.at;
    const bool minus = is(p, '-');
    advance(p);
    const struct vv_promql_expr *arg = parse_expr(p, PRECEDENCE_POW);
    if (arg == NULL || p->err != VV_OK) {
        return NULL;
    }
    if (arg->type != VV_PROMQL_SCALAR && arg->type != VV_PROMQL_VECTOR) {
        return fail(p, VV_ESYNTAX, at, "a sign needs a scalar or an instant vector behind it");
    }
    struct vv_promql_expr *e = make(p, minus ? NODE_NEGATE : NODE_PLUS, at, 1);
    if (e != NULL) {
        e->type = arg->type;
        add_arg(p, e, arg);
    }
    return e;
}

static bool find_op(const struct parser *p, enum vv_pq_op *ret)
{
    const struct vv_pq_token *t = &p->token;
    if (p->err != VV_OK || t->kind == TOKEN_END || t->kind == TOKEN_STRING) {
        return false;
    }
    for (int i = 0; i < BIN_COUNT; i++) {
        if (vv_str_eq_nocase(t->text, vv_str_from(vv_pq_op_text[i]))) {
            *ret = (enum vv_pq_op)i;
            return true;
        }
    }
    return false;
}

static bool is_comparison(enum vv_pq_op op)
{
    return op >= BIN_EQ && op <= BIN_GE;
}

static void parse_matching(struct parser *p, struct vv_promql_expr *e)
{
    if (is_word(p, "bool")) {
        if (!is_comparison(e->op)) {
            fail(p, VV_ESYNTAX, p->token.at, "bool belongs behind a comparison");
        }
        e->to_bool = true;
        advance(p);
    }
    if (!is_word(p, "on") && !is_word(p, "ignoring")) {
        return;
    }
    e->matching = true;
    e->on = is_word(p, "on");
    advance(p);
    e->labels = parse_names(p);
    if (is_word(p, "group_left") || is_word(p, "group_right")) {
        e->card = is_word(p, "group_left") ? CARD_MANY_TO_ONE : CARD_ONE_TO_MANY;
        advance(p);
        if (is(p, '(')) {
            e->include = parse_names(p);
        }
    }
}

static void check_binary(struct parser *p, struct vv_promql_expr *e)
{
    const enum vv_promql_type l = e->args[0]->type, r = e->args[1]->type;
    const bool scalars = l == VV_PROMQL_SCALAR && r == VV_PROMQL_SCALAR;
    const bool vectors = l == VV_PROMQL_VECTOR && r == VV_PROMQL_VECTOR;
    if ((l != VV_PROMQL_SCALAR && l != VV_PROMQL_VECTOR) ||
        (r != VV_PROMQL_SCALAR && r != VV_PROMQL_VECTOR)) {
        fail(p, VV_ESYNTAX, e->at, "an operator needs scalars or instant vectors on both sides");
    } else if (scalars && is_comparison(e->op) && !e->to_bool) {
        fail(p, VV_ESYNTAX, e->at, "comparisons between scalars must use bool");
    } else if (!vectors && e->op <= BIN_UNLESS) {
        fail(p, VV_ESYNTAX, e->at, "%s is not for scalars", vv_pq_op_text[e->op]);
    } else if (!vectors && e->matching) {
        fail(p, VV_ESYNTAX, e->at, "vector matching only between instant vectors");
    } else if (e->op <= BIN_UNLESS && e->card != CARD_ONE_TO_ONE) {
        fail(p, VV_ESYNTAX, e->at, "no grouping for %s", vv_pq_op_text[e->op]);
    }
    for (size_t i = 0; e->on && i < e->include.n; i++) {
        if (vv_pq_in_names(e->labels, e->include.at[i])) {
            fail(p, VV_ESYNTAX, e->at, "a label is both in on and in the grouping");
        }
    }
    e->type = scalars ? VV_PROMQL_SCALAR : VV_PROMQL_VECTOR;
}

static struct vv_promql_expr *parse_expr(struct parser *p, unsigned precedence)
{
    if (++p->nesting > NESTING_MAX) {
        return fail(p, VV_ELIMIT, p->token.at, "nested too deep");
    }
    struct vv_promql_expr *left = parse_unary(p);
    enum vv_pq_op op;
    while (left != NULL && find_op(p, &op) && op_precedence[op] >= precedence) {
        struct vv_promql_expr *e = make(p, NODE_BINARY, p->token.at, 2);
        if (e == NULL) {
            return NULL;
        }
        e->op = op;
        advance(p);
        parse_matching(p, e);
        /* Only ^ binds to the right. */
        const struct vv_promql_expr *right =
            parse_expr(p, op_precedence[op] + (op == BIN_POW ? 0 : 1));
        add_arg(p, e, left);
        add_arg(p, e, right);
        if (p->err != VV_OK) {
            return NULL;
        }
        check_binary(p, e);
        left = e;
    }
    p->nesting--;
    return p->err == VV_OK ? left : NULL;
}

enum vv_err vv_promql_parse(struct vv_str text, struct vv_arena *arena,
                            const struct vv_promql_expr **ret, struct vv_promql_error *reterr)
{
    *reterr = (struct vv_promql_error){.at = 0};
    const struct vv_str copy = vv_arena_str(arena, text);
    struct parser p = {.lexer = {.text = copy, .arena = arena}, .arena = arena, .why = reterr};
    if (copy.p == NULL) {
        fail(&p, VV_ENOMEM, 0, "out of memory");
    }
    advance(&p);
    struct vv_promql_expr *e = p.err == VV_OK ? parse_expr(&p, 0) : NULL;
    if (p.err == VV_OK && !is(&p, TOKEN_END)) {
        fail(&p, VV_ESYNTAX, p.token.at, "unexpected text behind the expression");
    }
    if (p.err == VV_OK) {
        e->slots = p.slots;
        *ret = e;
    }
    return p.err;
}

enum vv_promql_type vv_promql_type(const struct vv_promql_expr *e)
{
    return e->type;
}

const char *vv_promql_type_name(enum vv_promql_type type)
{
    static const char *const names[] = {"", "scalar", "string", "vector", "matrix"};
    return names[type];
}
