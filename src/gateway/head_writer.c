/* src/gateway/head_writer.c - header edits: few per route, so a walk beats a table. */
#include "gateway/head_writer.h"
#include "gateway/cors.h"

bool vv_edits_have(const struct vv_edits *edits, struct vv_str name)
{
    for (size_t i = 0; i < edits->count; i++) {
        if (edits->edit[i].when != VV_EDIT_BESIDE && vv_str_eq_nocase(edits->edit[i].name, name)) {
            return true;
        }
    }
    return false;
}

/* Does it write anything into this answer? */
static bool applies(const struct vv_exchange *x, const struct vv_edit *e)
{
    return e->value != NULL && (e->when != VV_EDIT_HTTPS || x->https) &&
           (e->when != VV_EDIT_ORIGIN || vv_cors_allows(x));
}

enum vv_err vv_edits_render(struct vv_exchange *x, const struct vv_edits *edits,
                            struct vv_str **ret_values, size_t *ret_bytes)
{
    *ret_values = NULL;
    if (edits->count == 0) {
        return VV_OK;
    }
    struct vv_str *values = vv_arena_zalloc(&x->arena, edits->count * sizeof *values);
    if (values == NULL) {
        return VV_ENOMEM;
    }
    struct vv_template_vars vars;
    vv_exchange_vars(x, &vars);
    for (size_t i = 0; i < edits->count; i++) {
        const struct vv_edit *e = &edits->edit[i];
        if (!applies(x, e)) {
            continue;
        }
        const enum vv_err err =
            vv_template_render(e->value, &vars, &x->arena, VV_TEMPLATE_FIELD, &values[i]);
        if (err != VV_OK) {
            return err;
        }
        *ret_bytes += e->name.n + values[i].n + 4;
    }
    *ret_values = values;
    return VV_OK;
}

void vv_edits_put(struct vv_writer *w, const struct vv_edits *edits, const struct vv_str *values)
{
    for (size_t i = 0; i < edits->count; i++) {
        if (edits->edit[i].value != NULL && values[i].p != NULL) {
            vv_put_field(w, edits->edit[i].name, values[i]);
        }
    }
}
