/* src/gateway/head_writer.c - header edits: few per route, so a walk beats a table. */
#include "gateway/head_writer.h"
#include "base/sb.h"
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

static bool fixable(const struct vv_edit *e)
{
    const bool known = e->id != VV_FIELD_OTHER && e->id != VV_FIELD_SERVER;
    return !known && (e->when == VV_EDIT_ALWAYS || e->when == VV_EDIT_HTTPS) &&
           (e->value == NULL || vv_template_is_constant(e->value));
}

/* The text with or without HTTPS. *ret p NULL and VV_OK: a value must not stand in a field, which is told to
 * those who ask. */
static enum vv_err fix(const struct vv_edits *edits, bool https, struct vv_str *ret)
{
    static const struct vv_template_vars nothing;
    char block[64];
    struct vv_arena arena;
    struct vv_sb sb = VV_SB_INIT;
    enum vv_err err = VV_OK;
    vv_arena_init(&arena, block, sizeof block, 1024, 1024 * 1024);
    vv_sb_adds(&sb, "");
    for (size_t i = 0; err == VV_OK && i < edits->count; i++) {
        const struct vv_edit *e = &edits->edit[i];
        struct vv_str value;
        if (e->value == NULL || (e->when == VV_EDIT_HTTPS && !https)) {
            continue;
        }
        err = vv_template_render(e->value, &nothing, &arena, VV_TEMPLATE_FIELD, &value);
        if (err == VV_OK) {
            vv_sb_addf(&sb, VV_STR_FMT ": " VV_STR_FMT "\r\n", VV_STR_ARG(e->name),
                       VV_STR_ARG(value));
        }
    }
    vv_arena_fini(&arena);
    if (err == VV_OK && !sb.failed) {
        const size_t n = sb.n;
        *ret = (struct vv_str){vv_sb_take(&sb), n};
        return VV_OK;
    }
    vv_sb_fini(&sb);
    return err == VV_EINVAL ? VV_OK : VV_ENOMEM;
}

enum vv_err vv_edits_fix(struct vv_edits *edits)
{
    if (edits->count == 0) {
        return VV_OK;
    }
    edits->lengths = 0;
    for (size_t i = 0; i < edits->count; i++) {
        if (!fixable(&edits->edit[i])) {
            return VV_OK;
        }
        edits->lengths |= (uint64_t)1 << edits->edit[i].name.n % 64;
    }
    const enum vv_err err = fix(edits, false, &edits->fixed[0]);
    return err == VV_OK && edits->fixed[0].p != NULL ? fix(edits, true, &edits->fixed[1]) : err;
}

void vv_edits_put_block(struct vv_writer *w, const struct vv_edits *edits, struct vv_str block)
{
    const char *const end = block.p + block.n;
    const char *kept = block.p; /* written up to here */
    for (const char *line = block.p; line < end;) {
        const char *const feed = memchr(line, '\n', (size_t)(end - line));
        const char *const next = feed != NULL ? feed + 1 : end;
        const char *const colon = memchr(line, ':', (size_t)(next - line));
        const size_t n = colon != NULL ? (size_t)(colon - line) : 0;
        if ((edits->lengths >> n % 64 & 1) != 0 && vv_edits_have(edits, (struct vv_str){line, n})) {
            vv_put(w, (struct vv_str){kept, (size_t)(line - kept)});
            kept = next;
        }
        line = next;
    }
    vv_put(w, (struct vv_str){kept, (size_t)(end - kept)});
}
