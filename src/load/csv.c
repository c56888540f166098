/* src/load/csv.c - one pass over the text; only fields with doubled quotes are copied. */
#include "load/csv.h"

void vv_load_csv_init(struct vv_load_csv *c, struct vv_arena *arena, struct vv_str text,
                      char separator)
{
    *c = (struct vv_load_csv){.arena = arena, .rest = text, .separator = separator};
    if (vv_str_starts(text, VV_STR("\xef\xbb\xbf"))) {
        c->rest = (struct vv_str){text.p + 3, text.n - 3};
    }
    c->next_line = 1;
}

static void skip(struct vv_load_csv *c, size_t n)
{
    c->rest = (struct vv_str){c->rest.p + n, c->rest.n - n};
}

/* Behind the opening quote; leaves the rest behind the closing one. */
static enum vv_err quoted(struct vv_load_csv *c, struct vv_str *ret)
{
    char *copy = NULL;
    size_t n = 0, i = 0;
    const struct vv_str s = c->rest;
    for (; i < s.n; i++) {
        if (s.p[i] == '"' && (i + 1 == s.n || s.p[i + 1] != '"')) {
            break;
        }
        c->next_line += s.p[i] == '\n';
        if (s.p[i] == '"') {
            if (copy == NULL) {
                copy = vv_arena_alloc(c->arena, s.n - i + n + 1);
                if (copy == NULL) {
                    return VV_ENOMEM;
                }
                memcpy(copy, s.p, n);
            }
            i++;
        }
        if (copy != NULL) {
            copy[n] = s.p[i];
        }
        n++;
    }
    if (i == s.n) {
        return VV_ESYNTAX;
    }
    *ret = (struct vv_str){copy != NULL ? copy : s.p, n};
    skip(c, i + 1);
    return VV_OK;
}

static enum vv_err field(struct vv_load_csv *c, struct vv_str *ret)
{
    size_t n = 0;
    if (c->rest.n > 0 && c->rest.p[0] == '"') {
        skip(c, 1);
        const enum vv_err err = quoted(c, ret);
        /* What stands between the closing quote and the separator belongs to nothing. */
        while (err == VV_OK && c->rest.n > 0 && c->rest.p[0] != c->separator &&
               c->rest.p[0] != '\n') {
            skip(c, 1);
        }
        return err;
    }
    while (n < c->rest.n && c->rest.p[n] != c->separator && c->rest.p[n] != '\n') {
        n++;
    }
    *ret = (struct vv_str){c->rest.p, n};
    skip(c, n);
    if (ret->n > 0 && ret->p[ret->n - 1] == '\r' && (c->rest.n == 0 || c->rest.p[0] == '\n')) {
        ret->n--;
    }
    return VV_OK;
}

static enum vv_err add(struct vv_load_csv *c, size_t count, struct vv_str s)
{
    if (count == c->room) {
        const size_t room = c->room > 0 ? c->room * 2 : 16;
        struct vv_str *bigger = vv_arena_alloc(c->arena, room * sizeof *bigger);
        if (bigger == NULL) {
            return VV_ENOMEM;
        }
        if (count > 0) {
            memcpy(bigger, c->field, count * sizeof *bigger);
        }
        c->field = bigger;
        c->room = room;
    }
    c->field[count] = s;
    return VV_OK;
}

static enum vv_err row(struct vv_load_csv *c, size_t *ret_count)
{
    size_t count = 0;
    for (;;) {
        struct vv_str s = {NULL, 0};
        enum vv_err err = field(c, &s);
        err = err == VV_OK ? add(c, count, s) : err;
        if (err != VV_OK) {
            return err;
        }
        count++;
        if (c->rest.n == 0 || c->rest.p[0] == '\n') {
            break;
        }
        skip(c, 1); /* the separator */
    }
    if (c->rest.n > 0) {
        skip(c, 1);
        c->next_line++;
    }
    *ret_count = count;
    return VV_OK;
}

enum vv_err vv_load_csv_next(struct vv_load_csv *c, const struct vv_str **ret_fields,
                             size_t *ret_count, size_t *reterr_line)
{
    while (c->rest.n > 0) {
        size_t count = 0;
        c->line = c->next_line;
        const enum vv_err err = row(c, &count);
        if (err != VV_OK) {
            *reterr_line = c->line;
            return err;
        }
        if (count > 1 || c->field[0].n > 0 || c->keep_empty) {
            *ret_fields = c->field;
            *ret_count = count;
            return VV_OK;
        }
    }
    return VV_ENOENT;
}
