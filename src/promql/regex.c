/* src/promql/regex.c - pattern -> tree -> program -> all threads at once. The tree exists because a
 * counted repetition emits its part several times. */
#include "promql/regex.h"

#define PROGRAM_MAX 4000
#define REPEAT_MAX 1000
#define DEPTH_MAX 100
#define CODE_POINT_MAX 0x10ffffu

enum op {
    OP_CHAR,
    OP_ANY,
    OP_CLASS,
    OP_SPLIT,
    OP_JUMP,
    OP_SAVE,
    OP_ASSERT,
    OP_MATCH,
};
enum node_kind { N_EMPTY, N_CHAR, N_ANY, N_CLASS, N_ASSERT, N_CAT, N_ALT, N_GROUP, N_REPEAT };
enum assertion { AT_BEGIN, AT_END, AT_LINE_BEGIN, AT_LINE_END, AT_WORD, AT_NOT_WORD };

struct class_range {
    uint32_t lo, hi;
    struct class_range *next;
};
struct class
{
    struct class_range *ranges;
    bool negated, fold;
};
struct node {
    enum node_kind kind;
    bool flag;    /* CHAR: fold; ANY: newline too; REPEAT: lazy */
    uint32_t c;   /* CHAR: code point; ASSERT: which; GROUP: number */
    int min, max; /* REPEAT; max -1: no limit */
    const struct class *set;
    struct node *left, *right;
};
struct inst {
    enum op op;
    bool flag;
    uint32_t a, b;
    const struct class *set;
};
struct threads {
    uint32_t *pc;
    const char **caps; /* 2 * VV_REGEX_GROUPS each */
    size_t n;
};
struct vv_regex {
    struct inst *prog;
    size_t n, room;
    unsigned groups;
    struct vv_str names[VV_REGEX_GROUPS];
    struct threads now, next;
    uint32_t *mark, generation;
};
struct compiler {
    struct vv_arena *arena;
    struct vv_regex *re;
    const char *p, *end, *why;
    enum vv_err err;
    unsigned depth;
    bool fold, dot_newline, multi_line;
};

static struct node *parse_alternatives(struct compiler *c);

static void *fail(struct compiler *c, enum vv_err err, const char *why)
{
    if (c->err == VV_OK) {
        c->err = err;
        c->why = why;
    }
    return NULL;
}

static struct node *make(struct compiler *c, struct node value)
{
    struct node *n = c->err == VV_OK ? vv_arena_alloc(c->arena, sizeof *n) : NULL;
    if (n == NULL) {
        return fail(c, VV_ENOMEM, "out of memory");
    }
    *n = value;
    return n;
}

/* One code point; a byte that is not UTF-8 is U+FFFD of one byte, as in Go. */
static uint32_t decode(const char **p, const char *end)
{
    const unsigned char *s = (const unsigned char *)*p;
    const size_t left = (size_t)(end - *p);
    uint32_t c = s[0];
    size_t n = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : c >= 0xe0 && c < 0xf0 ? 3 : 0;
    n = n == 0 && c >= 0xf0 && c < 0xf5 ? 4 : n;
    if (n == 1) {
        (*p)++;
        return c;
    }
    if (n == 0 || n > left) {
        (*p)++;
        return 0xfffd;
    }
    c &= 0xffu >> (n + 1);
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            (*p)++;
            return 0xfffd;
        }
        c = c << 6 | (s[i] & 0x3fu);
    }
    *p += n;
    return c;
}

static uint32_t lower(uint32_t c)
{
    return c >= 'A' && c <= 'Z' ? c | 0x20 : c;
}

static uint32_t upper(uint32_t c)
{
    return c >= 'a' && c <= 'z' ? c & ~0x20u : c;
}

static bool in_ranges(const struct class *set, uint32_t c)
{
    for (const struct class_range *r = set->ranges; r != NULL; r = r->next) {
        if (c >= r->lo && c <= r->hi) {
            return true;
        }
    }
    return false;
}

static bool in_class(const struct class *set, uint32_t c)
{
    const bool in =
        in_ranges(set, c) || (set->fold && (in_ranges(set, lower(c)) || in_ranges(set, upper(c))));
    return in != set->negated;
}

static void add_range(struct compiler *c, struct class *set, uint32_t lo, uint32_t hi)
{
    struct class_range *r = vv_arena_alloc(c->arena, sizeof *r);
    if (r == NULL) {
        fail(c, VV_ENOMEM, "out of memory");
        return;
    }
    *r = (struct class_range){lo, hi, set->ranges};
    set->ranges = r;
}

struct named_class {
    const char *name, *members; /* pairs of lowest and highest */
};
static const struct named_class perl[] = {{"d", "09"}, {"s", "\t\n\f\r  "}, {"w", "09AZ__az"}};
static const struct named_class posix[] = {
    {"alnum", "09AZaz"},
    {"alpha", "AZaz"},
    {"ascii", "\1\177"},
    {"blank", "\t\t  "},
    {"cntrl", "\1\037\177\177"},
    {"digit", "09"},
    {"graph", "!~"},
    {"lower", "az"},
    {"print", " ~"},
    {"punct", "!/:@[`{~"},
    {"space", "\t\r  "},
    {"upper", "AZ"},
    {"word", "09AZaz__"},
    {"xdigit", "09AFaf"},
};

/* The members, or with `negated` everything between them; members rise within perl[] and are
 * searched from the bottom for posix[], whose rows are not all sorted. */
static void add_named(struct compiler *c, struct class *set, const char *members, bool negated)
{
    if (!negated) {
        for (const char *m = members; *m != '\0'; m += 2) {
            add_range(c, set, (unsigned char)m[0], (unsigned char)m[1]);
        }
        return;
    }
    uint32_t from = 0;
    while (from <= CODE_POINT_MAX) {
        uint32_t hi = 0, lo = CODE_POINT_MAX + 1;
        for (const char *m = members; *m != '\0'; m += 2) {
            if ((unsigned char)m[1] >= from && (unsigned char)m[0] < lo) {
                lo = (unsigned char)m[0];
                hi = (unsigned char)m[1];
            }
        }
        if (lo > from) {
            add_range(c, set, from, lo - 1);
        }
        from = lo > CODE_POINT_MAX ? lo : hi + 1;
    }
}

static const char *perl_members(char letter)
{
    for (size_t i = 0; i < VV_COUNT(perl); i++) {
        if (perl[i].name[0] == letter) {
            return perl[i].members;
        }
    }
    return NULL;
}

static uint32_t hex(struct compiler *c, size_t most)
{
    uint32_t v = 0;
    for (size_t i = 0; i < most; i++) {
        const char ch = c->p < c->end ? vv_char_lower(*c->p) : '\0';
        if (ch >= '0' && ch <= '9') {
            v = v * 16 + (uint32_t)(ch - '0');
        } else if (ch >= 'a' && ch <= 'f') {
            v = v * 16 + (uint32_t)(ch - 'a') + 10;
        } else {
            if (most == 2) {
                fail(c, VV_ESYNTAX, "invalid escape sequence");
            }
            break;
        }
        c->p++;
    }
    return v;
}

/* A code point after a backslash that stands for itself. */
static uint32_t escaped(struct compiler *c)
{
    static const char from[] = "aftnrv", to[] = "\a\f\t\n\r\v";
    if (c->p >= c->end) {
        fail(c, VV_ESYNTAX, "trailing backslash");
        return 0;
    }
    const char ch = *c->p;
    const char *known = memchr(from, ch, sizeof from - 1);
    if (known != NULL) {
        c->p++;
        return (unsigned char)to[known - from];
    }
    if (ch == 'x') {
        c->p++;
        if (c->p < c->end && *c->p == '{') {
            c->p++;
            const uint32_t v = hex(c, 6);
            if (c->p >= c->end || *c->p != '}' || v > CODE_POINT_MAX) {
                fail(c, VV_ESYNTAX, "invalid escape sequence");
                return 0;
            }
            c->p++;
            return v;
        }
        return hex(c, 2);
    }
    if ((ch >= '0' && ch <= '9') || (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z')) {
        fail(c, VV_ESYNTAX, "invalid escape sequence");
        return 0;
    }
    return decode(&c->p, c->end);
}

static bool posix_class(struct compiler *c, struct class *set)
{
    const size_t left = (size_t)(c->end - c->p);
    if (left < 4 || c->p[0] != '[' || c->p[1] != ':') {
        return false;
    }
    const bool negated = c->p[2] == '^';
    const char *name = c->p + (negated ? 3 : 2);
    for (size_t i = 0; i < VV_COUNT(posix); i++) {
        const size_t n = strlen(posix[i].name);
        if ((size_t)(c->end - name) >= n + 2 && memcmp(name, posix[i].name, n) == 0 &&
            name[n] == ':' && name[n + 1] == ']') {
            add_named(c, set, posix[i].members, negated);
            c->p = name + n + 2;
            return true;
        }
    }
    fail(c, VV_ESYNTAX, "invalid character class range");
    return true;
}

/* \d \s \w and their opposites, at the backslash. */
static bool perl_class(struct compiler *c, struct class *set)
{
    if (c->end - c->p < 2 || c->p[0] != '\\') {
        return false;
    }
    const char letter = c->p[1];
    const char *members = perl_members(vv_char_lower(letter));
    if (members == NULL) {
        return false;
    }
    c->p += 2;
    add_named(c, set, members, letter <= 'Z');
    return true;
}

static uint32_t class_char(struct compiler *c)
{
    if (*c->p == '\\') {
        c->p++;
        return escaped(c);
    }
    return decode(&c->p, c->end);
}

static struct node *parse_class(struct compiler *c)
{
    struct class *set = vv_arena_zalloc(c->arena, sizeof *set);
    if (set == NULL) {
        return fail(c, VV_ENOMEM, "out of memory");
    }
    set->fold = c->fold;
    if (c->p < c->end && *c->p == '^') {
        set->negated = true;
        c->p++;
    }
    for (bool first = true; c->err == VV_OK; first = false) {
        if (c->p >= c->end) {
            return fail(c, VV_ESYNTAX, "missing closing ]");
        }
        if (*c->p == ']' && !first) {
            c->p++;
            break;
        }
        if (posix_class(c, set) || perl_class(c, set)) {
            continue;
        }
        const uint32_t lo = class_char(c);
        uint32_t hi = lo;
        if (c->end - c->p >= 2 && c->p[0] == '-' && c->p[1] != ']') {
            c->p++;
            hi = class_char(c);
        }
        if (hi < lo) {
            return fail(c, VV_ESYNTAX, "invalid character class range");
        }
        add_range(c, set, lo, hi);
    }
    return make(c, (struct node){.kind = N_CLASS, .set = set});
}

/* (?flags) and (?flags: after the question mark. */
static bool parse_flags(struct compiler *c)
{
    bool on = true;
    for (; c->p < c->end && *c->p != ')' && *c->p != ':'; c->p++) {
        switch (*c->p) {
        case '-':
            on = false;
            break;
        case 'i':
            c->fold = on;
            break;
        case 's':
            c->dot_newline = on;
            break;
        case 'm':
            c->multi_line = on;
            break;
        default:
            fail(c, VV_ESYNTAX, "invalid or unsupported group");
            return false;
        }
    }
    return c->p < c->end && *c->p == ':';
}

static void parse_name(struct compiler *c, uint32_t number)
{
    const char *name = c->p;
    while (c->p < c->end && *c->p != '>') {
        const char l = vv_char_lower(*c->p);
        if (!((l >= 'a' && l <= 'z') || (l >= '0' && l <= '9') || l == '_')) {
            break;
        }
        c->p++;
    }
    if (c->p >= c->end || *c->p != '>' || c->p == name) {
        fail(c, VV_ESYNTAX, "invalid named capture");
        return;
    }
    c->re->names[number] = (struct vv_str){name, (size_t)(c->p - name)};
    c->p++;
}

static struct node *parse_group(struct compiler *c)
{
    const bool fold = c->fold, dot = c->dot_newline, multi = c->multi_line;
    uint32_t number = 0;
    bool scoped = true;
    if (c->p < c->end && *c->p == '?') {
        c->p++;
        if (c->end - c->p >= 2 && c->p[0] == 'P' && c->p[1] == '<') {
            c->p += 2;
            number = c->re->groups++;
        } else {
            scoped = parse_flags(c);
            c->p += scoped ? 1 : 0;
        }
    } else {
        number = c->re->groups++;
    }
    if (number >= VV_REGEX_GROUPS) {
        return fail(c, VV_ELIMIT, "too many groups");
    }
    if (number > 0 && c->p > c->re->names[0].p && c->p[-1] == '<') {
        parse_name(c, number);
    }
    struct node *inner = scoped && c->err == VV_OK ? parse_alternatives(c) : NULL;
    if (c->err == VV_OK && (c->p >= c->end || *c->p != ')')) {
        return fail(c, VV_ESYNTAX, "missing closing )");
    }
    if (c->err != VV_OK) {
        return NULL;
    }
    c->p++;
    if (!scoped) {
        return make(c, (struct node){.kind = N_EMPTY}); /* (?i) holds until the group around ends */
    }
    c->fold = fold;
    c->dot_newline = dot;
    c->multi_line = multi;
    return number > 0 ? make(c, (struct node){.kind = N_GROUP, .c = number, .left = inner}) : inner;
}

static struct node *assertion(struct compiler *c, enum assertion which)
{
    return make(c, (struct node){.kind = N_ASSERT, .c = which});
}

static struct node *parse_escape(struct compiler *c)
{
    struct class *set = vv_arena_zalloc(c->arena, sizeof *set);
    if (set == NULL) {
        return fail(c, VV_ENOMEM, "out of memory");
    }
    if (perl_class(c, set)) {
        return make(c, (struct node){.kind = N_CLASS, .set = set});
    }
    c->p++;
    static const char letters[] = "Azb"
                                  "B";
    static const enum assertion what[] = {AT_BEGIN, AT_END, AT_WORD, AT_NOT_WORD};
    const char *known = c->p < c->end ? memchr(letters, *c->p, sizeof letters - 1) : NULL;
    if (known != NULL) {
        c->p++;
        return assertion(c, what[known - letters]);
    }
    return make(c, (struct node){.kind = N_CHAR, .c = escaped(c), .flag = c->fold});
}

static struct node *parse_atom(struct compiler *c)
{
    switch (*c->p) {
    case '(':
        c->p++;
        return parse_group(c);
    case '[':
        c->p++;
        return parse_class(c);
    case '.':
        c->p++;
        return make(c, (struct node){.kind = N_ANY, .flag = c->dot_newline});
    case '^':
        c->p++;
        return assertion(c, c->multi_line ? AT_LINE_BEGIN : AT_BEGIN);
    case '$':
        c->p++;
        return assertion(c, c->multi_line ? AT_LINE_END : AT_END);
    case '\\':
        return parse_escape(c);
    case '*':
    case '+':
    case '?':
        return fail(c, VV_ESYNTAX, "missing argument to repetition operator");
    default:
        return make(c, (struct node){.kind = N_CHAR, .c = decode(&c->p, c->end), .flag = c->fold});
    }
}

static const char *digits(const char *p, const char *end, int *ret)
{
    int v = 0;
    const char *from = p;
    while (p < end && *p >= '0' && *p <= '9') {
        v = v > REPEAT_MAX ? v : v * 10 + (*p - '0');
        p++;
    }
    *ret = v;
    return p > from ? p : NULL;
}

/* {n}, {n,} and {n,m}; anything else in braces is plain text. */
static bool parse_counts(struct compiler *c, int *min, int *max)
{
    const char *p = digits(c->p + 1, c->end, min);
    if (p == NULL || p >= c->end) {
        return false;
    }
    *max = *min;
    if (*p == ',') {
        p++;
        const char *q = digits(p, c->end, max);
        if (q == NULL) {
            *max = -1;
        } else {
            p = q;
        }
    }
    if (p >= c->end || *p != '}') {
        return false;
    }
    if (*min > REPEAT_MAX || *max > REPEAT_MAX || (*max >= 0 && *max < *min)) {
        fail(c, VV_ESYNTAX, "invalid repeat count");
    }
    c->p = p + 1;
    return true;
}

static struct node *parse_repeat(struct compiler *c)
{
    struct node *n = parse_atom(c);
    bool repeated = false;
    while (c->err == VV_OK && c->p < c->end) {
        int min = 0, max = -1;
        if (*c->p == '{') {
            if (!parse_counts(c, &min, &max)) {
                break;
            }
        } else if (*c->p == '*' || *c->p == '+' || *c->p == '?') {
            min = *c->p == '+' ? 1 : 0;
            max = *c->p == '?' ? 1 : -1;
            c->p++;
        } else {
            break;
        }
        if (repeated) {
            return fail(c, VV_ESYNTAX, "invalid nested repetition operator");
        }
        repeated = true;
        const bool lazy = c->p < c->end && *c->p == '?';
        c->p += lazy ? 1 : 0;
        n = make(c,
                 (struct node){.kind = N_REPEAT, .left = n, .min = min, .max = max, .flag = lazy});
    }
    return n;
}

static struct node *parse_alternatives(struct compiler *c)
{
    if (++c->depth > DEPTH_MAX) {
        return fail(c, VV_ELIMIT, "nested too deep");
    }
    struct node *alternatives = NULL, *run = make(c, (struct node){.kind = N_EMPTY});
    while (c->err == VV_OK && c->p < c->end && *c->p != ')') {
        if (*c->p == '|') {
            c->p++;
            alternatives =
                alternatives == NULL
                    ? run
                    : make(c, (struct node){.kind = N_ALT, .left = alternatives, .right = run});
            run = make(c, (struct node){.kind = N_EMPTY});
            continue;
        }
        struct node *next = parse_repeat(c);
        run = make(c, (struct node){.kind = N_CAT, .left = run, .right = next});
    }
    c->depth--;
    return alternatives == NULL
               ? run
               : make(c, (struct node){.kind = N_ALT, .left = alternatives, .right = run});
}

static uint32_t emit(struct compiler *c, struct inst i)
{
    if (c->re->n >= PROGRAM_MAX) {
        fail(c, VV_ELIMIT, "regular expression is too large");
        return 0;
    }
    if (c->re->n == c->re->room) {
        const size_t room = 2 * c->re->room + 32;
        struct inst *prog = vv_arena_alloc(c->arena, room * sizeof *prog);
        if (prog == NULL) {
            fail(c, VV_ENOMEM, "out of memory");
            return 0;
        }
        if (c->re->n > 0) {
            memcpy(prog, c->re->prog, c->re->n * sizeof *prog);
        }
        c->re->prog = prog;
        c->re->room = room;
    }
    c->re->prog[c->re->n] = i;
    return (uint32_t)c->re->n++;
}

static void emit_node(struct compiler *c, const struct node *n);

/* The first way is the preferred one; a lazy repetition prefers to leave. */
static void set_split(struct compiler *c, uint32_t at, uint32_t body, uint32_t out, bool lazy)
{
    if (c->err != VV_OK) {
        return;
    }
    c->re->prog[at].a = lazy ? out : body;
    c->re->prog[at].b = lazy ? body : out;
}

static void emit_repeat(struct compiler *c, const struct node *n)
{
    for (int i = 0; i < n->min && c->err == VV_OK; i++) {
        emit_node(c, n->left);
    }
    if (n->max < 0) {
        const uint32_t split = emit(c, (struct inst){.op = OP_SPLIT});
        emit_node(c, n->left);
        emit(c, (struct inst){.op = OP_JUMP, .a = split});
        set_split(c, split, split + 1, (uint32_t)c->re->n, n->flag);
        return;
    }
    for (int i = n->min; i < n->max && c->err == VV_OK; i++) {
        const uint32_t split = emit(c, (struct inst){.op = OP_SPLIT});
        emit_node(c, n->left);
        set_split(c, split, split + 1, (uint32_t)c->re->n, n->flag);
    }
}

static void emit_node(struct compiler *c, const struct node *n)
{
    if (c->err != VV_OK) {
        return;
    }
    uint32_t split = 0, jump = 0;
    switch (n->kind) {
    case N_EMPTY:
        break;
    case N_CHAR:
        emit(c, (struct inst){.op = OP_CHAR, .a = n->flag ? lower(n->c) : n->c, .flag = n->flag});
        break;
    case N_ANY:
        emit(c, (struct inst){.op = OP_ANY, .flag = n->flag});
        break;
    case N_CLASS:
        emit(c, (struct inst){.op = OP_CLASS, .set = n->set});
        break;
    case N_ASSERT:
        emit(c, (struct inst){.op = OP_ASSERT, .a = n->c});
        break;
    case N_CAT:
        emit_node(c, n->left);
        emit_node(c, n->right);
        break;
    case N_ALT:
        split = emit(c, (struct inst){.op = OP_SPLIT});
        emit_node(c, n->left);
        jump = emit(c, (struct inst){.op = OP_JUMP});
        set_split(c, split, split + 1, (uint32_t)c->re->n, false);
        emit_node(c, n->right);
        if (c->err == VV_OK) {
            c->re->prog[jump].a = (uint32_t)c->re->n;
        }
        break;
    case N_GROUP:
        emit(c, (struct inst){.op = OP_SAVE, .a = 2 * n->c});
        emit_node(c, n->left);
        emit(c, (struct inst){.op = OP_SAVE, .a = 2 * n->c + 1});
        break;
    case N_REPEAT:
        emit_repeat(c, n);
        break;
    }
}

static bool make_threads(struct vv_arena *arena, struct threads *t, const struct vv_regex *re)
{
    t->pc = vv_arena_alloc(arena, re->n * sizeof *t->pc);
    t->caps = vv_arena_zalloc(arena, re->n * 2 * re->groups * sizeof *t->caps);
    return t->pc != NULL && t->caps != NULL;
}

enum vv_err vv_regex_compile(struct vv_str pattern, struct vv_arena *arena,
                             const struct vv_regex **ret, const char **reterr)
{
    struct vv_regex *re = vv_arena_zalloc(arena, sizeof *re);
    const struct vv_str text = vv_arena_str(arena, pattern);
    if (re == NULL || text.p == NULL) {
        *reterr = "out of memory";
        return VV_ENOMEM;
    }
    re->groups = 1;
    re->names[0] = (struct vv_str){text.p, 0};
    struct compiler c = {.arena = arena, .re = re, .p = text.p, .end = text.p + text.n};
    if (text.n > PROGRAM_MAX) {
        fail(&c, VV_ELIMIT, "regular expression is too large");
    }
    const struct node *tree = c.err == VV_OK ? parse_alternatives(&c) : NULL;
    if (c.err == VV_OK && c.p < c.end) {
        fail(&c, VV_ESYNTAX, "unexpected )");
    }
    if (c.err == VV_OK) {
        emit_node(&c, tree);
        emit(&c, (struct inst){.op = OP_MATCH});
    }
    re->mark = vv_arena_zalloc(arena, (re->n + 1) * sizeof *re->mark);
    if (c.err == VV_OK && (re->mark == NULL || !make_threads(arena, &re->now, re) ||
                           !make_threads(arena, &re->next, re))) {
        fail(&c, VV_ENOMEM, "out of memory");
    }
    *reterr = c.why;
    if (c.err == VV_OK) {
        *ret = re;
    }
    return c.err;
}

static bool is_word(const char *p, const char *from, const char *end)
{
    if (p < from || p >= end) {
        return false;
    }
    const char l = vv_char_lower(*p);
    return (l >= 'a' && l <= 'z') || (l >= '0' && l <= '9') || l == '_';
}

static bool holds(enum assertion what, struct vv_str text, const char *at)
{
    const char *end = text.p + text.n;
    switch (what) {
    case AT_BEGIN:
        return at == text.p;
    case AT_END:
        return at == end;
    case AT_LINE_BEGIN:
        return at == text.p || at[-1] == '\n';
    case AT_LINE_END:
        return at == end || *at == '\n';
    case AT_WORD:
    case AT_NOT_WORD:
        return (is_word(at - 1, text.p, end) != is_word(at, text.p, end)) == (what == AT_WORD);
    }
    return false;
}

/* Follows everything that reads no character; a place already in the list keeps the thread that
 * came first, because that one is preferred. */
static void add_thread(struct vv_regex *re, struct threads *list, uint32_t pc, struct vv_str text,
                       const char *at, const char **caps)
{
    while (re->mark[pc] != re->generation) {
        const struct inst *i = &re->prog[pc];
        re->mark[pc] = re->generation;
        switch (i->op) {
        case OP_JUMP:
            pc = i->a;
            break;
        case OP_SPLIT:
            add_thread(re, list, i->a, text, at, caps);
            pc = i->b;
            break;
        case OP_ASSERT:
            if (!holds((enum assertion)i->a, text, at)) {
                return;
            }
            pc++;
            break;
        case OP_SAVE: {
            const char *before = caps[i->a];
            caps[i->a] = at;
            add_thread(re, list, pc + 1, text, at, caps);
            caps[i->a] = before;
            return;
        }
        default:
            memcpy(&list->caps[list->n * 2 * re->groups], caps, 2 * re->groups * sizeof *caps);
            list->pc[list->n++] = pc;
            return;
        }
    }
}

static bool takes(const struct inst *i, uint32_t c)
{
    switch (i->op) {
    case OP_CHAR:
        return (i->flag ? lower(c) : c) == i->a;
    case OP_ANY:
        return i->flag || c != '\n';
    case OP_CLASS:
        return in_class(i->set, c);
    default:
        return false;
    }
}

static void new_generation(struct vv_regex *re)
{
    if (++re->generation == 0) {
        memset(re->mark, 0, re->n * sizeof *re->mark);
        re->generation = 1;
    }
}

bool vv_regex_match(const struct vv_regex *program, struct vv_str text,
                    struct vv_str groups[VV_REGEX_GROUPS])
{
    struct vv_regex *re = (struct vv_regex *)(uintptr_t)program; /* working memory only */
    struct threads *now = &re->now, *next = &re->next;
    const char *caps[2 * VV_REGEX_GROUPS] = {NULL};
    text.p = text.p != NULL ? text.p : "";
    const char *p = text.p, *end = text.p + text.n;
    now->n = 0;
    new_generation(re);
    add_thread(re, now, 0, text, p, caps);
    while (p < end && now->n > 0) {
        const uint32_t c = decode(&p, end);
        next->n = 0;
        new_generation(re);
        for (size_t t = 0; t < now->n; t++) {
            if (takes(&re->prog[now->pc[t]], c)) {
                memcpy(caps, &now->caps[t * 2 * re->groups], 2 * re->groups * sizeof *caps);
                add_thread(re, next, now->pc[t] + 1, text, p, caps);
            }
        }
        struct threads *swap = now;
        now = next;
        next = swap;
    }
    for (size_t t = 0; p == end && t < now->n; t++) {
        if (re->prog[now->pc[t]].op != OP_MATCH) {
            continue;
        }
        const char **got = &now->caps[t * 2 * re->groups];
        for (unsigned g = 1; groups != NULL && g < VV_REGEX_GROUPS; g++) {
            const bool took = g < re->groups && got[2 * g] != NULL && got[2 * g + 1] != NULL;
            groups[g] = took ? (struct vv_str){got[2 * g], (size_t)(got[2 * g + 1] - got[2 * g])}
                             : (struct vv_str){NULL, 0};
        }
        if (groups != NULL) {
            groups[0] = text;
        }
        return true;
    }
    return false;
}

int vv_regex_group(const struct vv_regex *re, struct vv_str name)
{
    uint64_t number = 0;
    if (vv_str_to_u64(name, &number) == VV_OK) {
        return number < re->groups ? (int)number : -1;
    }
    for (unsigned g = 1; g < re->groups; g++) {
        if (re->names[g].n > 0 && vv_str_eq(re->names[g], name)) {
            return (int)g;
        }
    }
    return -1;
}
