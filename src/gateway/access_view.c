/* src/gateway/access_view.c - reads the files that say who may ask. A file that cannot be read stops a
 * start or a reload; later, what was read last stays in force and the log says why. */
#include "gateway/access_int.h"
#include "os/file.h"

#include <stdio.h>
#include <stdlib.h>

#define ERROR_BYTES 256

static void keys_free(void *value)
{
    vv_keys_free(value);
}

static void users_free(void *value)
{
    vv_users_free(value);
}

void vv_jwks_free_any(void *value)
{
    vv_jwks_free(value);
}

/* ---- parts --------------------------------------------------------------------------------- */

enum vv_err vv_part_new(void *value, void (*free_it)(void *value), struct vv_part **ret)
{
    *ret = malloc(sizeof **ret);
    if (*ret == NULL) {
        free_it(value);
        return VV_ENOMEM;
    }
    **ret = (struct vv_part){1, value, free_it};
    return VV_OK;
}

static void part_unref(struct vv_part *p)
{
    if (p != NULL && --p->refs == 0) {
        p->free(p->value);
        free(p);
    }
}

void vv_view_put(struct vv_view *v, enum vv_access_part part, struct vv_part *value)
{
    part_unref(v->part[part]);
    v->part[part] = value;
}

enum vv_err vv_view_tables(struct vv_access *a, const struct vv_view *v, struct vv_tables **ret)
{
    struct vv_tables *t = calloc(1, sizeof *t);
    if (t == NULL) {
        return VV_ENOMEM;
    }
    t->generation = ++a->generation;
    for (size_t i = 0; i < PART_COUNT; i++) {
        t->part[i] = v->part[i];
        if (t->part[i] != NULL) {
            t->part[i]->refs++;
        }
    }
    *ret = t;
    return VV_OK;
}

void vv_tables_free(struct vv_tables *t)
{
    for (size_t i = 0; t != NULL && i < PART_COUNT; i++) {
        part_unref(t->part[i]);
    }
    free(t);
}

/* ---- files --------------------------------------------------------------------------------- */

static bool stamp_of(const char *path, struct vv_stamp *ret)
{
    struct stat st;
    *ret = (struct vv_stamp){.bytes = -1}; /* not there: that is a state, too */
    if (stat(path, &st) != 0) {
        return false;
    }
    *ret = (struct vv_stamp){st.st_mtim, st.st_size, st.st_ino};
    return true;
}

bool vv_view_changed(const struct vv_view *v, enum vv_access_part part)
{
    struct vv_stamp now;
    const struct vv_stamp *then = &v->file[part].stamp;
    if (v->file[part].path == NULL) {
        return false;
    }
    (void)stamp_of(v->file[part].path, &now);
    return now.bytes != then->bytes || now.inode != then->inode ||
           now.changed.tv_sec != then->changed.tv_sec ||
           now.changed.tv_nsec != then->changed.tv_nsec;
}

bool vv_view_has_plan(const struct vv_view *v, const char *name)
{
    for (size_t i = 0; i < v->plan_count; i++) {
        if (v->plan[i] != NULL && strcmp(v->plan[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* Each key gets what was counted for it under the former table. */
static enum vv_err link_uses(struct vv_access *a, struct vv_keys *keys)
{
    const struct vv_tables *now = atomic_load(&a->now);
    const struct vv_keys *former = now != NULL ? vv_tables_get(now, PART_KEYS) : NULL;
    for (size_t i = 0; i < keys->count; i++) {
        struct vv_key *k = &keys->key[i];
        const struct vv_key *old = former != NULL ? vv_keys_find(former, k->hash) : NULL;
        if (old != NULL && strcmp(old->name, k->name) == 0) {
            k->use = old->use;
            continue;
        }
        struct vv_key_use *use = calloc(1, sizeof *use);
        if (use == NULL) {
            return VV_ENOMEM;
        }
        memcpy(use->hash, k->hash, sizeof use->hash);
        snprintf(use->id, sizeof use->id, "key:%s", k->name);
        use->next = a->uses;
        a->uses = use;
        k->use = use;
    }
    return VV_OK;
}

static enum vv_err wrong(const char *path, const struct vv_keys_error *e, char *reterr_text)
{
    snprintf(reterr_text, ERROR_BYTES, "%.120s:%u:%u: %s", path, e->line, e->column, e->text);
    return VV_ECONFIG;
}

static enum vv_err unknown_plan(const char *path, const char *who, const char *plan,
                                char *reterr_text)
{
    snprintf(reterr_text, ERROR_BYTES,
             "%.100s: \"%.40s\" has the plan \"%.40s\", which is not in access.plans", path, who,
             plan);
    return VV_ECONFIG;
}

static enum vv_err parse_keys(struct vv_access *a, const struct vv_view *v, struct vv_str text,
                              struct vv_part **ret, char *reterr_text)
{
    const char *path = v->file[PART_KEYS].path;
    struct vv_keys *keys = NULL;
    struct vv_keys_error e;
    enum vv_err err = vv_keys_parse(text, &keys, &e);
    if (err != VV_OK) {
        return wrong(path, &e, reterr_text);
    }
    for (size_t i = 0; err == VV_OK && i < keys->count; i++) {
        const struct vv_key *k = &keys->key[i];
        if (k->plan != NULL && k->revoked_s == 0 && !vv_view_has_plan(v, k->plan)) {
            err = unknown_plan(path, k->name, k->plan, reterr_text);
        }
    }
    err = err == VV_OK ? link_uses(a, keys) : err;
    if (err != VV_OK) {
        vv_keys_free(keys);
        return err;
    }
    return vv_part_new(keys, keys_free, ret);
}

static enum vv_err parse_users(const struct vv_view *v, struct vv_str text, struct vv_part **ret,
                               char *reterr_text)
{
    const char *path = v->file[PART_USERS].path;
    struct vv_users *users = NULL;
    struct vv_keys_error e;
    enum vv_err err = vv_users_parse(text, &users, &e);
    if (err != VV_OK) {
        return wrong(path, &e, reterr_text);
    }
    for (size_t i = 0; err == VV_OK && i < users->count; i++) {
        const struct vv_user *u = &users->user[i];
        if (u->plan != NULL && !vv_view_has_plan(v, u->plan)) {
            err = unknown_plan(path, u->name, u->plan, reterr_text);
        }
    }
    if (err != VV_OK) {
        vv_users_free(users);
        return err;
    }
    return vv_part_new(users, users_free, ret);
}

static enum vv_err parse_jwks(const struct vv_view *v, struct vv_str text, struct vv_part **ret,
                              char *reterr_text)
{
    struct vv_jwks *jwks = NULL;
    char why[ERROR_BYTES];
    if (vv_jwks_parse(text, &jwks, why) != VV_OK) {
        snprintf(reterr_text, ERROR_BYTES, "%.80s: %.160s", v->file[PART_JWKS].path, why);
        return VV_ECONFIG;
    }
    return vv_part_new(jwks, vv_jwks_free_any, ret);
}

enum vv_err vv_view_read(struct vv_access *a, struct vv_view *v, enum vv_access_part part,
                         char *reterr_text)
{
    static const size_t most[] = {VV_KEYS_BYTES, VV_USERS_BYTES, VV_JWKS_BYTES_MAX};
    struct vv_file_part *f = &v->file[part];
    struct vv_part *value = NULL;
    char *text = NULL;
    size_t n = 0;
    (void)stamp_of(f->path, &f->stamp); /* before reading: a later change is seen as one */
    enum vv_err err = vv_file_read(f->path, most[part], &text, &n);
    if (err == VV_ENOENT && part == PART_KEYS) {
        err = VV_OK; /* the first key makes the file */
    }
    if (err != VV_OK) {
        snprintf(reterr_text, ERROR_BYTES, "%.160s: %s", f->path, vv_err_text(err));
        return VV_ECONFIG;
    }
    const struct vv_str s = {text != NULL ? text : "", n};
    err = part == PART_KEYS    ? parse_keys(a, v, s, &value, reterr_text)
          : part == PART_USERS ? parse_users(v, s, &value, reterr_text)
                               : parse_jwks(v, s, &value, reterr_text);
    free(text);
    if (err == VV_OK) {
        vv_view_put(v, part, value);
    }
    return err;
}

/* ---- views --------------------------------------------------------------------------------- */

void vv_view_free(struct vv_view *v)
{
    if (v == NULL) {
        return;
    }
    for (size_t i = 0; i < PART_COUNT; i++) {
        part_unref(v->part[i]);
        free(v->file[i].path);
    }
    for (size_t i = 0; i < v->plan_count; i++) {
        free(v->plan[i]);
    }
    free(v->plan);
    free(v->url);
    vv_tables_free(v->tables);
    free(v);
}

static bool copy(const char *text, char **ret)
{
    *ret = text != NULL ? strdup(text) : NULL;
    return text == NULL || *ret != NULL;
}

static bool is_url(const char *s)
{
    return strncmp(s, "http://", 7) == 0 || strncmp(s, "https://", 8) == 0;
}

static bool copy_settings(const struct vv_access_settings *conf, struct vv_view *v)
{
    const char *jwks = conf->jwt.enabled != 0 ? conf->jwt.jwks : NULL;
    const size_t plans = conf->plans != NULL ? conf->plans->count : 0;
    const bool url = jwks != NULL && is_url(jwks);
    v->refresh_ns = conf->jwt.refresh_ns;
    v->plan = calloc(plans + 1, sizeof *v->plan);
    bool fine = v->plan != NULL && copy(conf->keys, &v->file[PART_KEYS].path) &&
                copy(conf->basic, &v->file[PART_USERS].path) &&
                copy(url ? NULL : jwks, &v->file[PART_JWKS].path) &&
                copy(url ? jwks : NULL, &v->url);
    for (size_t i = 0; fine && i < plans; i++) {
        const struct vv_plan_settings *p = conf->plans->item[i];
        fine = copy(p->name, &v->plan[v->plan_count]);
        v->plan_count += fine;
    }
    return fine;
}

enum vv_err vv_view_new(struct vv_access *a, const struct vv_access_settings *conf,
                        struct vv_view **ret, char *reterr_text)
{
    struct vv_view *v = calloc(1, sizeof *v);
    enum vv_err err = v != NULL && copy_settings(conf, v) ? VV_OK : VV_ENOMEM;
    for (size_t i = 0; err == VV_OK && i < PART_COUNT; i++) {
        if (v->file[i].path != NULL) {
            err = vv_view_read(a, v, (enum vv_access_part)i, reterr_text);
        }
    }
    /* Public keys that were fetched from there stay in force until the next fetch. */
    const struct vv_view *old = a->view;
    if (err == VV_OK && v->url != NULL && old != NULL && old->url != NULL &&
        strcmp(old->url, v->url) == 0 && old->part[PART_JWKS] != NULL) {
        v->part[PART_JWKS] = old->part[PART_JWKS];
        v->part[PART_JWKS]->refs++;
    }
    err = err == VV_OK ? vv_view_tables(a, v, &v->tables) : err;
    if (err != VV_OK) {
        vv_view_free(v);
        return err;
    }
    *ret = v;
    return VV_OK;
}
