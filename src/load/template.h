/* src/load/template.h - text with {{ variables }} and {{ $functions() }}, compiled once.
 *
 * Model:     a text is a list of parts; one without braces is a single literal. Names become slots
 *            of the user at compile time. A text that is only one variable keeps the type of its
 *            value; a function's result is always text; an undefined variable inside text prints
 *            "undefined".
 * Source:    Artillery's templates, observed (docs/reference/load.md).
 * Threads:   compiled texts are immutable; rendering uses the caller's scope.
 * Ownership: parts live in the arena of the names; slots are the user's.
 */
#ifndef VV_LOAD_TEMPLATE_H
#define VV_LOAD_TEMPLATE_H
#include "base/rng.h"
#include "load/value.h"

#define VV_LOAD_NO_SLOT UINT32_MAX

struct vv_load_names { /* variables of a plan; a slot is an index */
    struct vv_arena *arena;
    struct vv_str *name;
    const void **first_use; /* whatever `where` was at the first use; NULL: never used */
    bool *set;              /* something gives it a value */
    uint32_t count, room;
    const void *where; /* of what is being compiled, for first_use */
    const char *(*env)(void *user, const char *name);
    void *env_user;
    struct vv_str environment, target, test_id; /* $environment, target, $testId */
    const char *missing; /* set by a compile that met $env.NAME without a value; in the arena */
};
/* Slot of the name, new if need be; VV_LOAD_NO_SLOT: memory is out. */
uint32_t vv_load_slot(struct vv_load_names *names, struct vv_str name);

struct vv_load_step {   /* of a path: a member or an index */
    struct vv_str name; /* p NULL: an index */
    size_t index;
};
enum vv_load_part_kind {
    VV_LOAD_PART_LITERAL,
    VV_LOAD_PART_VARIABLE,
    VV_LOAD_PART_RANDOM_NUMBER,
    VV_LOAD_PART_RANDOM_STRING
};
struct vv_load_part {
    enum vv_load_part_kind kind;
    struct vv_str literal;
    uint32_t slot;
    const struct vv_load_step *step;
    size_t steps;
    int64_t from, to; /* RANDOM_NUMBER; RANDOM_STRING: to is the length */
};
struct vv_load_text {
    const struct vv_load_part *part;
    size_t count;
};

/* VV_ESYNTAX: *reterr_why says what is wrong, *reterr_at is the byte. */
VV_MUST_CHECK enum vv_err vv_load_text_compile(struct vv_load_names *names, struct vv_str source,
                                               struct vv_load_text *ret, const char **reterr_why,
                                               size_t *reterr_at);
static inline bool vv_load_text_constant(const struct vv_load_text *t)
{
    return t->count == 0 || (t->count == 1 && t->part[0].kind == VV_LOAD_PART_LITERAL);
}
static inline bool vv_load_text_variable(const struct vv_load_text *t)
{
    return t->count == 1 && t->part[0].kind == VV_LOAD_PART_VARIABLE;
}

struct vv_load_scope { /* what a user knows */
    const struct vv_load_value *const *slot;
    struct vv_rng *rng;
};
void vv_load_text_render(const struct vv_load_text *t, const struct vv_load_scope *s,
                         struct vv_sb *out);
/* Value of a text that is one variable; NULL: undefined. */
const struct vv_load_value *vv_load_text_value(const struct vv_load_text *t,
                                               const struct vv_load_scope *s);
#endif
