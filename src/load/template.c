/* src/load/template.c - braces to parts, parts to text. Names of the surroundings ($env, target) are
 * known when a plan is read and become literals there and then. */
#include "load/template.h"
#include <inttypes.h>

#define STEPS_MAX 16
#define STRING_LENGTH 10 /* of $randomString() */
#define STRING_LENGTH_MAX 65536
#define NAMES_MAX 4096

struct compile {
    struct vv_load_names *names;
    struct vv_load_part *part;
    size_t count, room;
    const char *why;
    bool out_of_memory;
};

uint32_t vv_load_slot(struct vv_load_names *n, struct vv_str name)
{
    for (uint32_t i = 0; i < n->count; i++) {
        if (vv_str_eq(n->name[i], name)) {
            return i;
        }
    }
    if (n->count == n->room) {
        const uint32_t room = n->room > 0 ? n->room * 2 : 16;
        struct vv_str *names = vv_arena_zalloc(n->arena, room * sizeof *names);
        const void **first = vv_arena_zalloc(n->arena, room * sizeof *first);
        bool *set = vv_arena_zalloc(n->arena, room * sizeof *set);
        if (room > NAMES_MAX || names == NULL || first == NULL || set == NULL) {
            return VV_LOAD_NO_SLOT;
        }
        if (n->count > 0) {
            memcpy(names, n->name, n->count * sizeof *names);
            memcpy(first, n->first_use, n->count * sizeof *first);
            memcpy(set, n->set, n->count * sizeof *set);
        }
        n->name = names;
        n->first_use = first;
        n->set = set;
        n->room = room;
    }
    n->name[n->count] = vv_arena_str(n->arena, name);
    return n->name[n->count].p != NULL ? n->count++ : VV_LOAD_NO_SLOT;
}

static struct vv_load_part *add_part(struct compile *c)
{
    if (c->count == c->room) {
        const size_t room = c->room > 0 ? c->room * 2 : 2;
        struct vv_load_part *part = vv_arena_zalloc(c->names->arena, room * sizeof *part);
        if (part == NULL) {
            c->out_of_memory = true;
            return NULL;
        }
        if (c->count > 0) {
            memcpy(part, c->part, c->count * sizeof *part);
        }
        c->part = part;
        c->room = room;
    }
    return &c->part[c->count++];
}

/* Neighbouring literals become one, so that a text without variables is one part. */
static void add_literal(struct compile *c, struct vv_str s)
{
    struct vv_str joined;
    struct vv_load_part *last = c->count > 0 ? &c->part[c->count - 1] : NULL;
    if (s.n == 0) {
        return;
    }
    if (last != NULL && last->kind == VV_LOAD_PART_LITERAL) {
        joined = vv_arena_fmt(c->names->arena, VV_STR_FMT VV_STR_FMT, VV_STR_ARG(last->literal),
                              VV_STR_ARG(s));
        c->count--;
    } else {
        joined = vv_arena_str(c->names->arena, s);
    }
    c->out_of_memory = c->out_of_memory || joined.p == NULL;
    struct vv_load_part *p = add_part(c);
    if (p != NULL) {
        *p = (struct vv_load_part){.kind = VV_LOAD_PART_LITERAL, .literal = joined};
    }
}

/* ---- functions ----------------------------------------------------------------------------- */

static bool read_integer(struct vv_str s, int64_t *ret)
{
    uint64_t n = 0;
    const bool minus = s.n > 0 && s.p[0] == '-';
    const struct vv_str digits = minus ? (struct vv_str){s.p + 1, s.n - 1} : s;
    if (vv_str_to_u64(digits, &n) != VV_OK || n > INT64_MAX / 4) {
        return false;
    }
    *ret = minus ? -(int64_t)n : (int64_t)n;
    return true;
}

static void add_function(struct compile *c, struct vv_str name, struct vv_str arguments)
{
    int64_t value[2] = {0, 0};
    size_t count = 0;
    struct vv_str rest = vv_str_trim(arguments);
    while (rest.n > 0) {
        const struct vv_str one = vv_str_trim(vv_str_cut(&rest, ','));
        if (count == 2 || !read_integer(one, &value[count])) {
            c->why = "arguments of functions are whole numbers, at most two";
            return;
        }
        count++;
    }
    struct vv_load_part p = {.kind = VV_LOAD_PART_RANDOM_STRING, .to = STRING_LENGTH};
    if (vv_str_eq(name, VV_STR("$randomString"))) {
        p.to = count > 0 ? value[0] : p.to;
        if (p.to < 0 || p.to > STRING_LENGTH_MAX) {
            c->why = "$randomString() makes 0 to 65536 characters";
        }
    } else if (vv_str_eq(name, VV_STR("$randomNumber"))) {
        p.kind = VV_LOAD_PART_RANDOM_NUMBER;
        p.from = count == 2 ? value[0] : 0;
        p.to = count == 2 ? value[1] : count == 1 ? value[0] : 1;
        if (p.to < p.from) {
            const int64_t swap = p.to;
            p.to = p.from;
            p.from = swap;
        }
    } else {
        c->why = "only $randomNumber() and $randomString() are known; others need JavaScript";
    }
    struct vv_load_part *to = c->why == NULL ? add_part(c) : NULL;
    if (to != NULL) {
        *to = p;
    }
}

/* ---- variables ----------------------------------------------------------------------------- */

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '$' || c == '-' || (unsigned char)c >= 0x80;
}

static struct vv_str take_name(struct vv_str *rest)
{
    size_t n = 0;
    while (n < rest->n && is_name_char(rest->p[n])) {
        n++;
    }
    const struct vv_str name = {rest->p, n};
    *rest = (struct vv_str){rest->p + n, rest->n - n};
    return name;
}

/* ".name", "[3]", "['name']": false when it is none of these. */
static bool take_step(struct vv_str *rest, struct vv_load_step *ret)
{
    *ret = (struct vv_load_step){{NULL, 0}, 0};
    if (rest->p[0] == '.') {
        *rest = (struct vv_str){rest->p + 1, rest->n - 1};
        ret->name = take_name(rest);
        return ret->name.n > 0;
    }
    const ptrdiff_t close = vv_str_find_char(*rest, ']');
    if (rest->p[0] != '[' || close < 2) {
        return false;
    }
    const struct vv_str in = vv_str_trim((struct vv_str){rest->p + 1, (size_t)close - 1});
    *rest = (struct vv_str){rest->p + close + 1, rest->n - (size_t)close - 1};
    uint64_t index = 0;
    if (in.n >= 2 && (in.p[0] == '\'' || in.p[0] == '"') && in.p[in.n - 1] == in.p[0]) {
        ret->name = (struct vv_str){in.p + 1, in.n - 2};
        return true;
    }
    if (vv_str_to_u64(in, &index) != VV_OK) {
        return false;
    }
    ret->index = (size_t)index;
    return true;
}

/* Things that do not change during a run. True: *ret_text is what it stands for; p NULL: undefined. */
static bool is_known(struct compile *c, struct vv_str all, struct vv_str *ret_text)
{
    struct vv_load_names *n = c->names;
    static const struct vv_str prefix[] = {{"$env.", 5}, {"$processEnvironment.", 20}};
    for (size_t i = 0; i < VV_COUNT(prefix); i++) {
        if (vv_str_starts(all, prefix[i])) {
            char *name =
                vv_arena_dup(n->arena, (struct vv_str){all.p + prefix[i].n, all.n - prefix[i].n});
            const char *value = name != NULL ? n->env(n->env_user, name) : NULL;
            *ret_text = vv_str_from(value);
            n->missing = value == NULL ? name : n->missing;
            return true;
        }
    }
    const bool known = vv_str_eq(all, VV_STR("$environment")) || vv_str_eq(all, VV_STR("target")) ||
                       vv_str_eq(all, VV_STR("$testId"));
    if (known) {
        *ret_text = all.p[0] == 't' ? n->target : all.p[1] == 'e' ? n->environment : n->test_id;
    }
    return known;
}

static void add_variable(struct compile *c, struct vv_str all)
{
    struct vv_load_step step[STEPS_MAX];
    size_t steps = 0;
    struct vv_str rest = all, known = {NULL, 0};
    if (is_known(c, all, &known)) {
        add_literal(c, known.p != NULL ? known : VV_STR("undefined"));
        return;
    }
    const struct vv_str name = take_name(&rest);
    if (name.n == 0) {
        c->why = "braces hold the name of a variable or a function";
        return;
    }
    while (rest.n > 0) {
        if (steps == STEPS_MAX || !take_step(&rest, &step[steps])) {
            c->why = "a path is written name.part[0].part";
            return;
        }
        steps++;
    }
    const uint32_t slot = vv_load_slot(c->names, name);
    struct vv_load_step *copy = vv_arena_zalloc(c->names->arena, (steps + 1) * sizeof *copy);
    struct vv_load_part *p = slot != VV_LOAD_NO_SLOT && copy != NULL ? add_part(c) : NULL;
    if (p == NULL) {
        c->out_of_memory = true;
        return;
    }
    for (size_t i = 0; i < steps; i++) {
        copy[i] = step[i];
        if (step[i].name.p != NULL) {
            copy[i].name = vv_arena_str(c->names->arena, step[i].name);
            c->out_of_memory = c->out_of_memory || copy[i].name.p == NULL;
        }
    }
    if (c->names->first_use[slot] == NULL) {
        c->names->first_use[slot] = c->names->where;
    }
    *p = (struct vv_load_part){
        .kind = VV_LOAD_PART_VARIABLE, .slot = slot, .step = copy, .steps = steps};
}

static void add_expression(struct compile *c, struct vv_str inside)
{
    const struct vv_str s = vv_str_trim(inside);
    const ptrdiff_t open = vv_str_find_char(s, '(');
    if (open >= 0 && s.p[s.n - 1] == ')') {
        add_function(c, vv_str_trim((struct vv_str){s.p, (size_t)open}),
                     (struct vv_str){s.p + open + 1, s.n - (size_t)open - 2});
    } else if (open >= 0) {
        c->why = "a function is written {{ $name(1, 2) }}";
    } else {
        add_variable(c, s);
    }
}

static ptrdiff_t find_pair(struct vv_str s, size_t from, char c)
{
    for (size_t i = from; i + 1 < s.n; i++) {
        if (s.p[i] == c && s.p[i + 1] == c) {
            return (ptrdiff_t)i;
        }
    }
    return -1;
}

enum vv_err vv_load_text_compile(struct vv_load_names *names, struct vv_str source,
                                 struct vv_load_text *ret, const char **reterr_why,
                                 size_t *reterr_at)
{
    struct compile c = {.names = names};
    size_t at = 0;
    while (at < source.n && c.why == NULL) {
        const ptrdiff_t open = find_pair(source, at, '{');
        const ptrdiff_t close = open >= 0 ? find_pair(source, (size_t)open + 2, '}') : -1;
        if (close < 0) {
            break;
        }
        /* Three braces mean the same as two. */
        const size_t braces = source.p[open + 2] == '{' ? 3 : 2;
        size_t after = (size_t)close + 2;
        after += braces == 3 && after < source.n && source.p[after] == '}';
        add_literal(&c, (struct vv_str){source.p + at, (size_t)open - at});
        add_expression(
            &c, (struct vv_str){source.p + open + braces, (size_t)close - (size_t)open - braces});
        if (c.why != NULL) {
            *reterr_at = (size_t)open;
            break;
        }
        at = after;
    }
    if (c.why == NULL) {
        add_literal(&c, (struct vv_str){source.p + at, source.n - at});
    }
    if (c.out_of_memory) {
        return VV_ENOMEM;
    }
    if (c.why != NULL) {
        *reterr_why = c.why;
        return VV_ESYNTAX;
    }
    *ret = (struct vv_load_text){c.part, c.count};
    return VV_OK;
}

/* ---- rendering ----------------------------------------------------------------------------- */

static const struct vv_load_value *look_up(const struct vv_load_part *p,
                                           const struct vv_load_scope *s)
{
    const struct vv_load_value *v = s->slot[p->slot];
    for (size_t i = 0; i < p->steps && v != NULL; i++) {
        const struct vv_load_step *step = &p->step[i];
        if (step->name.p != NULL) {
            v = vv_load_value_get(v, step->name);
        } else {
            v = v->kind == VV_LOAD_LIST && step->index < v->count ? &v->item[step->index] : NULL;
        }
    }
    return v;
}

static void random_string(struct vv_rng *rng, size_t n, struct vv_sb *out)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    for (size_t i = 0; i < n; i++) {
        vv_sb_addc(out, letters[vv_rng_below(rng, sizeof letters - 1)]);
    }
}

void vv_load_text_render(const struct vv_load_text *t, const struct vv_load_scope *s,
                         struct vv_sb *out)
{
    for (size_t i = 0; i < t->count; i++) {
        const struct vv_load_part *p = &t->part[i];
        switch (p->kind) {
        case VV_LOAD_PART_LITERAL:
            vv_sb_add(out, p->literal);
            break;
        case VV_LOAD_PART_VARIABLE:
            vv_load_value_print(look_up(p, s), out);
            break;
        case VV_LOAD_PART_RANDOM_STRING:
            random_string(s->rng, (size_t)p->to, out);
            break;
        case VV_LOAD_PART_RANDOM_NUMBER:
            vv_sb_addf(out, "%" PRId64,
                       p->from + (int64_t)vv_rng_below(s->rng, (uint64_t)(p->to - p->from) + 1));
            break;
        }
    }
}

const struct vv_load_value *vv_load_text_value(const struct vv_load_text *t,
                                               const struct vv_load_scope *s)
{
    return look_up(&t->part[0], s);
}
