/* src/conf/load.c - the whole way from a file name to checked structs; the document's life.
 *
 * Memory is taken from one arena. Running out of it jumps back to vv_conf_load(): a load has some
 * hundred places that allocate, and none of them could do anything better. */
#include "conf/conf_int.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ARENA_BLOCK_BYTES (64 * VV_KIB)
#define ARENA_LIMIT_BYTES (512 * VV_MIB)

struct loading { /* a chain of files that include each other */
    const struct file *file;
    const struct loading *outer;
};

struct engine_keys { /* taken out of the trees: they steer the load itself */
    struct node *profile, *profiles;
};

void *doc_zalloc(struct vv_conf_doc *doc, size_t bytes)
{
    void *p = vv_arena_zalloc(&doc->arena, bytes);
    if (p == NULL && doc->may_jump) {
        longjmp(doc->out_of_memory, 1);
    }
    return p;
}

const char *doc_fmt(struct vv_conf_doc *doc, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    const int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    char *text = doc_zalloc(doc, n >= 0 ? (size_t)n + 1 : 1);
    if (text != NULL && n >= 0) {
        vsnprintf(text, (size_t)n + 1, fmt, again);
    }
    va_end(again);
    return text;
}

/* ---- parts of a file ----------------------------------------------------------------------- */

static struct node *take(const struct vv_conf_section *section, struct node *root,
                         enum vv_conf_type type)
{
    for (size_t i = 0; i < section->row_count; i++) {
        const struct vv_conf_row *row = &section->rows[i];
        const ptrdiff_t at = row->type == type ? tree_find(root, row->key) : -1;
        if (at >= 0) {
            struct node *n = root->item[at];
            tree_remove(root, (size_t)at);
            return n;
        }
    }
    return NULL;
}

static void mark_profile(struct node *n, const char *profile)
{
    n->origin = ORIGIN_PROFILE;
    n->profile = profile;
    for (uint32_t i = 0; i < n->count; i++) {
        if (n->kind == NODE_MAP) {
            mark_profile(n->key[i], profile);
        }
        mark_profile(n->item[i], profile);
    }
}

static struct node *load_tree(struct vv_conf_doc *doc, struct file *file,
                              const struct loading *outer, struct engine_keys *keys);

static void load_include(struct vv_conf_doc *doc, struct node *root, struct node *name,
                         const struct loading *chain, struct engine_keys *keys)
{
    struct vv_str text = {NULL, 0};
    const char *why = NULL;
    if (name->kind != NODE_SCALAR || name->broken) {
        report(doc, &(struct report){.at = name->at, .hint = "write include: [file, file]"},
               "include must be a file name, or a list of them");
        return;
    }
    const char *path = file_beside(doc, chain->file->path, name->text);
    for (const struct loading *l = chain; l != NULL; l = l->outer) {
        if (strcmp(l->file->path, path) == 0) {
            report(doc, &(struct report){.at = name->at}, "%s includes itself%s", path,
                   l == chain ? "" : " through other files");
            return;
        }
    }
    if (doc->source->no_files || ++doc->include_count > INCLUDES_MAX) {
        report(doc, &(struct report){.at = name->at},
               doc->source->no_files ? "files may not be included here"
                                     : "more than 256 files are included");
        return;
    }
    if (!file_read(doc, path, &text, &why)) {
        report(doc, &(struct report){.at = name->at}, "cannot read %s: %s", path, why);
        return;
    }
    struct node *part = load_tree(doc, file_add(doc, path, text), chain, keys);
    if (part != NULL) {
        merge(doc, root, part, true);
    }
}

/* Everything but the profiles, which are expanded when it is known which one is in use. */
static struct node *load_tree(struct vv_conf_doc *doc, struct file *file,
                              const struct loading *outer, struct engine_keys *keys)
{
    const struct loading chain = {file, outer};
    struct node *root = tree_parse(doc, file, ORIGIN_FILE);
    if (root == NULL || root->kind == NODE_NULL) {
        return NULL; /* reported, or empty */
    }
    struct node *profiles = take(doc->section, root, VV_CONF_PROFILES);
    expand(doc, root, false);
    struct node *include = take(doc->section, root, VV_CONF_INCLUDE);
    struct node *profile = take(doc->section, root, VV_CONF_PROFILE);
    shape(doc, doc->section, root, "");
    keys->profile = keys->profile != NULL ? keys->profile : profile;
    if (profiles != NULL && profiles->kind != NODE_MAP) {
        report(doc, &(struct report){.at = profiles->at}, "profiles must be a map of names, not %s",
               kind_names[profiles->kind]);
    } else if (profiles != NULL && keys->profiles == NULL) {
        keys->profiles = profiles;
    } else if (profiles != NULL) {
        merge(doc, keys->profiles, profiles, true);
    }
    if (include != NULL && include->kind == NODE_LIST) {
        for (uint32_t i = 0; i < include->count; i++) {
            load_include(doc, root, include->item[i], &chain, keys);
        }
    } else if (include != NULL) {
        load_include(doc, root, include, &chain, keys);
    }
    return root;
}

/* ---- profiles and overlay ------------------------------------------------------------------ */

static void unknown_profile(struct vv_conf_doc *doc, const struct engine_keys *keys,
                            const char *name)
{
    const char *known[64];
    size_t count = 0;
    for (uint32_t i = 0; keys->profiles != NULL && i < keys->profiles->count && i < 64; i++) {
        known[count++] = keys->profiles->key[i]->text;
    }
    const char *near = vv_conf_nearest(name, known, count);
    struct report r = {.hint = near != NULL ? doc_fmt(doc, "did you mean \"%s\"?", near) : NULL};
    if (doc->source->profile == NULL && keys->profile != NULL) {
        r.at = keys->profile->at;
    }
    report(doc, &r, "no profile named \"%s\"", name);
}

static const char *chosen_profile(struct vv_conf_doc *doc, const struct engine_keys *keys)
{
    if (doc->source->profile != NULL) {
        return doc_fmt(doc, "%s", doc->source->profile);
    }
    if (keys->profile == NULL || keys->profile->broken) {
        return NULL;
    }
    if (keys->profile->kind != NODE_SCALAR) {
        report(doc, &(struct report){.at = keys->profile->at}, "profile must be text, not %s",
               kind_names[keys->profile->kind]);
        return NULL;
    }
    return keys->profile->text;
}

/* Profiles that are not in use are checked all the same: a mistake must not wait for its day. */
static void apply_profiles(struct vv_conf_doc *doc, struct node *root, struct engine_keys *keys)
{
    const char *chosen = chosen_profile(doc, keys);
    bool found = false;
    for (uint32_t i = 0; keys->profiles != NULL && i < keys->profiles->count; i++) {
        const char *name = keys->profiles->key[i]->text;
        struct node *n = keys->profiles->item[i];
        const bool use = chosen != NULL && strcmp(name, chosen) == 0;
        found = found || use;
        if (n->kind == NODE_NULL) {
            continue; /* a profile that changes nothing */
        }
        mark_profile(n, name);
        expand(doc, n, !use);
        shape(doc, doc->section, n, doc_fmt(doc, "profiles.%s", name));
        if (use) {
            merge(doc, root, n, false);
        } else {
            doc->partial = true;
            decode(doc, doc->section, n, doc_zalloc(doc, doc->section->size),
                   doc_fmt(doc, "profiles.%s", name));
            doc->partial = false;
        }
    }
    if (chosen != NULL && !found && (keys->profiles != NULL || doc->source->profile != NULL)) {
        unknown_profile(doc, keys, chosen);
    }
    doc->profile = chosen;
}

static void apply_overlay(struct vv_conf_doc *doc, struct node *root)
{
    struct vv_str text = {NULL, 0};
    const char *why = NULL;
    const struct vv_conf_source *source = doc->source;
    if (source->no_overlay || source->no_files || source->text != NULL ||
        access(doc->overlay_path, F_OK) != 0) {
        return;
    }
    if (!file_read(doc, doc->overlay_path, &text, &why)) {
        report(doc, &(struct report){.at = {0}}, "cannot read %s: %s", doc->overlay_path, why);
        return;
    }
    struct node *n = tree_parse(doc, file_add(doc, doc->overlay_path, text), ORIGIN_OVERLAY);
    if (n == NULL || n->kind == NODE_NULL) {
        return;
    }
    expand(doc, n, false);
    for (int type = VV_CONF_INCLUDE; type <= VV_CONF_PROFILES; type++) {
        const struct node *extra = take(doc->section, n, (enum vv_conf_type)type);
        if (extra != NULL) {
            report(doc, &(struct report){.at = extra->at},
                   "an overlay holds changes only: no include, profile or profiles");
        }
    }
    shape(doc, doc->section, n, "");
    merge(doc, root, n, false);
}

/* ---- the load ------------------------------------------------------------------------------ */

static const char *overlay_of(struct vv_conf_doc *doc, const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *dot = strrchr(path, '.');
    const size_t n = dot != NULL && (slash == NULL || dot > slash + 1) && dot != path
                         ? (size_t)(dot - path)
                         : strlen(path);
    return doc_fmt(doc, "%.*s.overlay.yaml", (int)n, path);
}

static struct file *open_source(struct vv_conf_doc *doc, const struct vv_conf_source *source)
{
    struct vv_str text = {NULL, 0};
    const char *why = NULL;
    if (source->text != NULL) {
        const size_t n = strlen(source->text);
        if (n > FILE_BYTES_MAX) {
            vv_conf_problems_add(doc->problems, false, doc->path, "it is larger than 16 MB");
            return NULL;
        }
        text = (struct vv_str){doc_fmt(doc, "%s", source->text), n};
    } else if (!file_read(doc, source->path, &text, &why)) {
        vv_conf_problems_add(doc->problems, false, NULL, "cannot read %s: %s", doc->path, why);
        return NULL;
    }
    return file_add(doc, doc->path, text);
}

static void load(struct vv_conf_doc *doc, vv_conf_checker *checker)
{
    struct engine_keys keys = {NULL, NULL};
    struct file *file = open_source(doc, doc->source);
    if (file == NULL) {
        return;
    }
    struct node *root = load_tree(doc, file, NULL, &keys);
    if (root == NULL) {
        if (vv_conf_problems_errors(doc->problems) > doc->errors_before) {
            return;
        }
        root = node_new(doc, NODE_MAP, (struct mark){file, 0, 1}, ORIGIN_FILE);
    }
    apply_profiles(doc, root, &keys);
    apply_overlay(doc, root);
    doc->tree = root;
    doc->root = doc_zalloc(doc, doc->section->size);
    decode(doc, doc->section, root, doc->root, "");
    if (checker != NULL) {
        checker(doc, doc->root);
    }
}

enum vv_err vv_conf_load(const struct vv_conf_source *source, const struct vv_conf_section *section,
                         vv_conf_checker *checker, struct vv_conf_problems *problems,
                         struct vv_conf_doc **ret_doc)
{
    struct vv_conf_doc *doc = calloc(1, sizeof *doc);
    if (doc == NULL) {
        return VV_ENOMEM;
    }
    vv_arena_init(&doc->arena, NULL, 0, ARENA_BLOCK_BYTES, ARENA_LIMIT_BYTES);
    doc->source = source;
    doc->section = section;
    doc->problems = problems;
    doc->files_tail = &doc->files;
    doc->errors_before = vv_conf_problems_errors(problems);
    if (setjmp(doc->out_of_memory) != 0) {
        vv_conf_problems_add(problems, false, source->path, "out of memory");
        problems_seal(problems);
        vv_conf_free(doc);
        return VV_ENOMEM;
    }
    doc->may_jump = true;
    doc->path = doc_fmt(doc, "%s", source->path != NULL ? source->path : "(text)");
    doc->overlay_path = overlay_of(doc, doc->path);
    load(doc, checker);
    problems_seal(problems);
    doc->may_jump = false;
    doc->source = NULL;
    doc->problems = NULL;
    if (vv_conf_problems_errors(problems) > doc->errors_before) {
        vv_conf_free(doc);
        return VV_ECONFIG;
    }
    *ret_doc = doc;
    return VV_OK;
}

void vv_conf_free(struct vv_conf_doc *doc)
{
    if (doc != NULL) {
        tree_close(doc);
        vv_arena_fini(&doc->arena);
        free(doc);
    }
}

void *vv_conf_root(const struct vv_conf_doc *doc)
{
    return doc->root;
}

const char *vv_conf_path(const struct vv_conf_doc *doc)
{
    return doc->path;
}

const char *vv_conf_overlay_path(const struct vv_conf_doc *doc)
{
    return doc->overlay_path;
}

const char *vv_conf_profile(const struct vv_conf_doc *doc)
{
    return doc->profile;
}
