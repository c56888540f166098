/* src/load/check.c - what an answer is asked: values to keep, values to compare. */
#include "load/program_int.h"

#define REGEXP_GROUPS 10

/* ---- looking ------------------------------------------------------------------------------- */

static const struct vv_load_value *json_of(struct load_answer *a)
{
    if (!a->parsed) {
        a->parsed = true;
        a->json = vv_load_json_read(a->arena, a->body);
    }
    return a->json;
}

static const struct vv_load_value *find_regexp(struct load_answer *a, const struct load_find *f)
{
    regmatch_t match[REGEXP_GROUPS];
    match[0].rm_so = 0;
    match[0].rm_eo = (regoff_t)vv_min_u64(a->body.n, INT32_MAX);
    /* REG_STARTEND, because a body has no NUL at its end and may have some inside. */
    if (a->body.n == 0 || regexec(f->regexp, a->body.p, REGEXP_GROUPS, match, REG_STARTEND) != 0 ||
        f->group >= REGEXP_GROUPS || match[f->group].rm_so < 0) {
        return NULL;
    }
    const regmatch_t m = match[f->group];
    return vv_load_value_text(a->arena,
                              (struct vv_str){a->body.p + m.rm_so, (size_t)(m.rm_eo - m.rm_so)});
}

const struct vv_load_value *load_find(struct load_answer *a, const struct load_find *f)
{
    const struct vv_h1_field *field = NULL;
    const struct vv_load_value *json = NULL;
    switch (f->look) {
    case LOAD_LOOK_JSON:
        json = json_of(a);
        return json != NULL ? vv_load_path_find(&f->path, json, a->scope.rng) : NULL;
    case LOAD_LOOK_HEADER:
        field = vv_h1_find_name(a->head, f->header);
        return field != NULL ? vv_load_value_text(a->arena, field->value) : NULL;
    case LOAD_LOOK_REGEXP:
        return find_regexp(a, f);
    case LOAD_LOOK_BODY:
        return vv_load_value_text(a->arena, a->body);
    }
    return NULL;
}

/* ---- expecting ----------------------------------------------------------------------------- */

static bool status_is(const struct load_answer *a, const struct load_expect *e)
{
    for (size_t i = 0; i < e->count; i++) {
        if (e->status[i] == a->head->status) {
            return true;
        }
    }
    return false;
}

/* "json" stands for application/json and everything ending in +json. */
static bool type_is(const struct load_answer *a, struct vv_str want)
{
    const struct vv_h1_field *f = vv_h1_find_name(a->head, VV_STR("content-type"));
    if (f == NULL) {
        return false;
    }
    struct vv_str rest = f->value;
    const struct vv_str type = vv_str_trim(vv_str_cut(&rest, ';'));
    if (vv_str_eq(want, VV_STR("json"))) {
        return vv_str_eq_nocase(type, VV_STR("application/json")) ||
               vv_str_ends(type, VV_STR("+json"));
    }
    return vv_str_eq_nocase(type, want) || vv_str_eq_nocase(f->value, want);
}

static bool all_equal(struct load_answer *a, const struct load_expect *e)
{
    struct vv_str first = {NULL, 0};
    for (size_t i = 0; i < e->count; i++) {
        vv_sb_reset(a->scratch);
        vv_load_text_render(&e->text[i], &a->scope, a->scratch);
        const struct vv_str this = vv_sb_str(a->scratch);
        if (i > 0 && !vv_str_eq(first, this)) {
            return false;
        }
        if (i == 0) {
            first = vv_arena_str(a->arena, this);
        }
    }
    return true;
}

static bool header_is(struct load_answer *a, const struct load_expect *e)
{
    const struct vv_h1_field *f = vv_h1_find_name(a->head, e->name);
    vv_sb_reset(a->scratch);
    vv_load_text_render(&e->text[0], &a->scope, a->scratch);
    return f != NULL && vv_str_eq(f->value, vv_sb_str(a->scratch));
}

const char *load_expect(struct load_answer *a, const struct load_expect *e)
{
    switch (e->kind) {
    case LOAD_EXPECT_STATUS:
        return status_is(a, e) ? NULL : "status";
    case LOAD_EXPECT_STATUS_BELOW:
        return (uint64_t)a->head->status < e->number ? NULL : "status";
    case LOAD_EXPECT_TYPE:
        return type_is(a, e->name) ? NULL : "header";
    case LOAD_EXPECT_HEADER:
        return vv_h1_find_name(a->head, e->name) != NULL ? NULL : "header";
    case LOAD_EXPECT_HEADER_IS:
        return header_is(a, e) ? NULL : "header";
    case LOAD_EXPECT_PROPERTY:
        return load_find(a, &e->find) != NULL ? NULL : "json";
    case LOAD_EXPECT_NO_PROPERTY:
        return load_find(a, &e->find) == NULL ? NULL : "json";
    case LOAD_EXPECT_EQUAL:
        return all_equal(a, e) ? NULL : "body";
    case LOAD_EXPECT_MATCHES:
        return load_find(a, &e->find) != NULL ? NULL : "body";
    case LOAD_EXPECT_LATENCY:
        return a->latency_ns <= e->number ? NULL : "latency";
    }
    return NULL;
}
