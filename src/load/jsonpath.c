/* src/load/jsonpath.c - matches are visited, not collected: choosing one of n at random needs only a
 * counter (reservoir of one), so nothing is allocated. */
#include "load/jsonpath.h"

#define STEPS_MAX 32
#define VISITS_MAX 1000000 /* "..a..b..c" meets the same value on many ways */

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '$' || c == '@' || (unsigned char)c >= 0x80;
}

/* Inside brackets: *, a number, or a quoted name. */
static bool read_inside(struct vv_str in, struct vv_load_path_step *s)
{
    uint64_t n = 0;
    const bool minus = in.n > 1 && in.p[0] == '-';
    if (vv_str_eq(in, VV_STR("*"))) {
        s->kind = VV_LOAD_PATH_ALL;
        return true;
    }
    if (in.n >= 2 && (in.p[0] == '\'' || in.p[0] == '"') && in.p[in.n - 1] == in.p[0]) {
        s->kind = VV_LOAD_PATH_NAME;
        s->name = (struct vv_str){in.p + 1, in.n - 2};
        return true;
    }
    s->kind = VV_LOAD_PATH_INDEX;
    if (vv_str_to_u64(minus ? (struct vv_str){in.p + 1, in.n - 1} : in, &n) != VV_OK ||
        n > INT32_MAX) {
        return false;
    }
    s->index = minus ? -(int64_t)n : (int64_t)n;
    return true;
}

static size_t closing_bracket(struct vv_str t, size_t from) /* 0: there is none */
{
    char quote = '\0';
    for (size_t i = from; i < t.n; i++) {
        if (quote != '\0') {
            quote = t.p[i] == quote ? '\0' : quote;
        } else if (t.p[i] == '\'' || t.p[i] == '"') {
            quote = t.p[i];
        } else if (t.p[i] == ']') {
            return i;
        }
    }
    return 0;
}

/* Reads one step at *at. */
static bool read_step(struct vv_str t, size_t *at, bool first, struct vv_load_path_step *s)
{
    size_t i = *at;
    *s = (struct vv_load_path_step){.kind = VV_LOAD_PATH_NAME};
    if (t.p[i] == '.' && i + 1 < t.n && t.p[i + 1] == '.') {
        s->deep = true;
        i += 2;
    } else if (t.p[i] == '.') {
        i++;
    } else if (t.p[i] != '[' && !first) {
        return false;
    }
    if (i < t.n && t.p[i] == '[') {
        const size_t close = closing_bracket(t, i + 1);
        if (close == 0 || (!s->deep && i > *at)) {
            return false;
        }
        *at = close + 1;
        return read_inside(vv_str_trim((struct vv_str){t.p + i + 1, close - i - 1}), s);
    }
    if (i < t.n && t.p[i] == '*') {
        s->kind = VV_LOAD_PATH_ALL;
        *at = i + 1;
        return true;
    }
    const size_t from = i;
    while (i < t.n && is_name_char(t.p[i])) {
        i++;
    }
    s->name = (struct vv_str){t.p + from, i - from};
    *at = i;
    return i > from;
}

enum vv_err vv_load_path_compile(struct vv_arena *a, struct vv_str text, struct vv_load_path *ret,
                                 size_t *reterr_at)
{
    struct vv_load_path_step step[STEPS_MAX];
    size_t count = 0, at = 0;
    const struct vv_str t = vv_str_trim(text);
    /* "$" may be left out: "name" means "$.name". */
    const bool bare = t.n > 0 && t.p[0] != '$';
    at = bare ? 0 : 1;
    if (t.n == 0) {
        *reterr_at = 0;
        return VV_ESYNTAX;
    }
    while (at < t.n) {
        const size_t from = at;
        if (count == STEPS_MAX || !read_step(t, &at, bare && from == 0, &step[count])) {
            *reterr_at = from + (size_t)(t.p - text.p);
            return VV_ESYNTAX;
        }
        count++;
    }
    struct vv_load_path_step *copy = vv_arena_zalloc(a, (count + 1) * sizeof *copy);
    if (copy == NULL) {
        return VV_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        copy[i] = step[i];
        if (step[i].name.p != NULL) {
            copy[i].name = vv_arena_str(a, step[i].name);
            if (copy[i].name.p == NULL) {
                return VV_ENOMEM;
            }
        }
    }
    *ret = (struct vv_load_path){copy, count};
    return VV_OK;
}

struct search {
    const struct vv_load_path *path;
    struct vv_rng *rng;
    const struct vv_load_value *found;
    uint64_t matches, visits;
};

static void search(struct search *s, size_t at, const struct vv_load_value *v);

static void search_here(struct search *s, size_t at, const struct vv_load_value *v)
{
    const struct vv_load_path_step *step = &s->path->step[at];
    if (step->kind == VV_LOAD_PATH_NAME) {
        const struct vv_load_value *one = vv_load_value_get(v, step->name);
        if (one != NULL) {
            search(s, at + 1, one);
        }
    } else if (step->kind == VV_LOAD_PATH_INDEX) {
        const int64_t i = step->index >= 0 ? step->index : (int64_t)v->count + step->index;
        if (v->kind == VV_LOAD_LIST && i >= 0 && (size_t)i < v->count) {
            search(s, at + 1, &v->item[i]);
        }
    } else {
        for (size_t i = 0; i < v->count; i++) {
            search(s, at + 1, &v->item[i]);
        }
    }
}

static void search(struct search *s, size_t at, const struct vv_load_value *v)
{
    if (++s->visits > VISITS_MAX) {
        return;
    }
    if (at == s->path->count) {
        s->matches++;
        if (s->matches == 1 || vv_rng_below(s->rng, s->matches) == 0) {
            s->found = v;
        }
        return;
    }
    search_here(s, at, v);
    if (s->path->step[at].deep) {
        for (size_t i = 0; i < v->count; i++) {
            search(s, at, &v->item[i]);
        }
    }
}

const struct vv_load_value *vv_load_path_find(const struct vv_load_path *path,
                                              const struct vv_load_value *v, struct vv_rng *rng)
{
    struct search s = {.path = path, .rng = rng};
    search(&s, 0, v);
    return s.found;
}
