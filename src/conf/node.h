/* src/conf/node.h - a YAML text as a tree with positions, for files that are not tables of rows.
 *
 * Model:     the same strict YAML 1.2 as configurations, but any word is a value: "yes" and "y" are
 *            text here, because these files hold other people's data. Nothing is expanded. What a
 *            node means is the caller's business; so is whether a problem is an error.
 * Threads:   one tree, one thread. Ownership: the tree owns its nodes and their text until it is
 *            closed; problems are complete (lines copied) only then.
 * Errors:    NULL: reported already, or the text is empty (no error was counted then).
 */
#ifndef VV_CONF_NODE_H
#define VV_CONF_NODE_H
#include "conf/conf.h"

enum vv_conf_node_kind { /* in this order */
                         VV_CONF_NODE_NULL,
                         VV_CONF_NODE_SCALAR,
                         VV_CONF_NODE_LIST,
                         VV_CONF_NODE_MAP
};

struct vv_conf_tree;
struct vv_conf_node; /* opaque */

struct vv_conf_tree *vv_conf_tree_new(struct vv_conf_problems *problems); /* NULL: no memory */
void vv_conf_tree_close(struct vv_conf_tree *t);                          /* NULL is fine */
/* text NULL: reads the file. `path` names it in messages. */
struct vv_conf_node *vv_conf_tree_read(struct vv_conf_tree *t, const char *path, const char *text);
/* True when memory ran out: a NULL from vv_conf_tree_read() was no fault of the text. */
bool vv_conf_tree_failed(const struct vv_conf_tree *t);

enum vv_conf_node_kind vv_conf_node_kind(const struct vv_conf_node *n);
const char *vv_conf_node_kind_name(const struct vv_conf_node *n); /* "a list" */
const char *vv_conf_node_text(const struct vv_conf_node *n);      /* SCALAR; else NULL */
bool vv_conf_node_quoted(const struct vv_conf_node *n);           /* text, whatever it looks like */
size_t vv_conf_node_count(const struct vv_conf_node *n);
const struct vv_conf_node *vv_conf_node_key(const struct vv_conf_node *map, size_t index);
const struct vv_conf_node *vv_conf_node_item(const struct vv_conf_node *n, size_t index);
const struct vv_conf_node *vv_conf_node_get(const struct vv_conf_node *map, const char *key);
struct vv_conf_pos vv_conf_node_pos(const struct vv_conf_node *n);
/* Maps are merged key by key, everything else is replaced by what `over` has. Both trees must be of
 * `t`. False: memory is out. */
VV_MUST_CHECK bool vv_conf_node_merge(struct vv_conf_tree *t, struct vv_conf_node *base,
                                      const struct vv_conf_node *over);
/* What a VV_CONF_JSON field was made of, below the document; NULL: nothing was given. */
const struct vv_conf_node *vv_conf_json_node(const struct vv_conf_doc *doc, const void *field);
/* A node as compact JSON, in the document's memory: numbers as they are written, a text that only looks
 * like a number in another language ("0x1f", "+1", ".5") stays text. */
const char *vv_conf_json(struct vv_conf_doc *doc, const struct vv_conf_node *n);
/* node NULL: no position. hint may be NULL. */
void vv_conf_node_report(struct vv_conf_tree *t, const struct vv_conf_node *node, bool warning,
                         const char *hint, const char *fmt, ...) VV_PRINTF(5, 6);
#endif
