/* src/conf/node.c - the engine's trees for other readers: the nodes themselves, seen from outside. */
#include "conf/node.h"
#include "conf/conf_int.h"

#include <stdlib.h>

#define ARENA_BLOCK_BYTES (64 * VV_KIB)
#define ARENA_LIMIT_BYTES (512 * VV_MIB)

struct vv_conf_tree {
    struct vv_conf_doc doc;
    bool failed;
};

static const struct node *in(const struct vv_conf_node *n)
{
    return (const struct node *)(const void *)n;
}

static const struct vv_conf_node *out(const struct node *n)
{
    return (const struct vv_conf_node *)(const void *)n;
}

struct vv_conf_tree *vv_conf_tree_new(struct vv_conf_problems *problems)
{
    struct vv_conf_tree *t = calloc(1, sizeof *t);
    if (t == NULL) {
        return NULL;
    }
    vv_arena_init(&t->doc.arena, NULL, 0, ARENA_BLOCK_BYTES, ARENA_LIMIT_BYTES);
    t->doc.problems = problems;
    t->doc.files_tail = &t->doc.files;
    t->doc.any_word = true;
    return t;
}

void vv_conf_tree_close(struct vv_conf_tree *t)
{
    if (t != NULL) {
        problems_seal(t->doc.problems);
        tree_close(&t->doc);
        vv_arena_fini(&t->doc.arena);
        free(t);
    }
}

bool vv_conf_tree_failed(const struct vv_conf_tree *t)
{
    return t->failed;
}

static struct node *read_text(struct vv_conf_doc *doc, const char *path, const char *text)
{
    struct vv_str all = {NULL, 0};
    const char *why = NULL;
    doc->path = doc_fmt(doc, "%s", path);
    if (text != NULL && strlen(text) > FILE_BYTES_MAX) {
        vv_conf_problems_add(doc->problems, false, doc->path, "it is larger than 16 MB");
        return NULL;
    }
    if (text != NULL) {
        all.p = doc_fmt(doc, "%s", text);
        all.n = strlen(text);
    } else if (!file_read(doc, path, &all, &why)) {
        vv_conf_problems_add(doc->problems, false, NULL, "cannot read %s: %s", path, why);
        return NULL;
    }
    return tree_parse(doc, file_add(doc, path, all), ORIGIN_FILE);
}

struct vv_conf_node *vv_conf_tree_read(struct vv_conf_tree *t, const char *path, const char *text)
{
    struct vv_conf_doc *doc = &t->doc;
    struct node *root = NULL;
    if (setjmp(doc->out_of_memory) != 0) {
        tree_close(doc);
        doc->may_jump = false;
        t->failed = true;
        vv_conf_problems_add(doc->problems, false, path, "out of memory");
        return NULL;
    }
    doc->may_jump = true;
    root = read_text(doc, path, text);
    doc->may_jump = false;
    return (struct vv_conf_node *)(void *)root;
}

enum vv_conf_node_kind vv_conf_node_kind(const struct vv_conf_node *n)
{
    return (enum vv_conf_node_kind)in(n)->kind;
}

const char *vv_conf_node_kind_name(const struct vv_conf_node *n)
{
    return kind_names[in(n)->kind];
}

const char *vv_conf_node_text(const struct vv_conf_node *n)
{
    return in(n)->kind == NODE_SCALAR ? in(n)->text : NULL;
}

bool vv_conf_node_quoted(const struct vv_conf_node *n)
{
    return in(n)->quoted;
}

size_t vv_conf_node_count(const struct vv_conf_node *n)
{
    return in(n)->count;
}

const struct vv_conf_node *vv_conf_node_key(const struct vv_conf_node *map, size_t index)
{
    VV_ASSERT(in(map)->kind == NODE_MAP && index < in(map)->count);
    return out(in(map)->key[index]);
}

const struct vv_conf_node *vv_conf_node_item(const struct vv_conf_node *n, size_t index)
{
    VV_ASSERT(index < in(n)->count);
    return out(in(n)->item[index]);
}

const struct vv_conf_node *vv_conf_node_get(const struct vv_conf_node *map, const char *key)
{
    return map != NULL ? out(tree_get(in(map), key)) : NULL;
}

struct vv_conf_pos vv_conf_node_pos(const struct vv_conf_node *n)
{
    return mark_pos(in(n)->at);
}

static void merge_maps(struct vv_conf_doc *doc, struct node *base, const struct node *over)
{
    for (uint32_t i = 0; i < over->count; i++) {
        const ptrdiff_t at = tree_find(base, over->key[i]->text);
        if (at < 0) {
            tree_put(doc, base, over->key[i], over->item[i]);
        } else if (base->item[at]->kind == NODE_MAP && over->item[i]->kind == NODE_MAP) {
            merge_maps(doc, base->item[at], over->item[i]);
        } else {
            base->item[at] = over->item[i];
        }
    }
}

bool vv_conf_node_merge(struct vv_conf_tree *t, struct vv_conf_node *base,
                        const struct vv_conf_node *over)
{
    struct node *to = (struct node *)(void *)base;
    if (to->kind != NODE_MAP || in(over)->kind != NODE_MAP) {
        return true;
    }
    if (setjmp(t->doc.out_of_memory) != 0) {
        t->doc.may_jump = false;
        t->failed = true;
        return false;
    }
    t->doc.may_jump = true;
    merge_maps(&t->doc, to, in(over));
    t->doc.may_jump = false;
    return true;
}

void vv_conf_node_report(struct vv_conf_tree *t, const struct vv_conf_node *node, bool warning,
                         const char *hint, const char *fmt, ...)
{
    struct vv_sb message = VV_SB_INIT;
    va_list args;
    va_start(args, fmt);
    vv_sb_vaddf(&message, fmt, args);
    va_end(args);
    const struct report r = {.at = node != NULL ? in(node)->at : (struct mark){NULL, 0, 0},
                             .warning = warning,
                             .hint = hint};
    report(&t->doc, &r, "%s", message.p != NULL ? message.p : "out of memory");
    vv_sb_fini(&message);
}
