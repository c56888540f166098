/* src/conf/conf_int.h - what the files of conf/ share: the node tree, the document, reporting.
 *
 * Model:     every text (file, include, profile, overlay) becomes a tree of nodes that remember
 * where they stand; trees are merged by moving pointers, so a node keeps its own file. Ownership:
 * nodes, files and texts live in the document's arena. Threads:   one load runs on one thread.
 */
#ifndef VV_CONF_CONF_INT_H
#define VV_CONF_CONF_INT_H
#include "conf/conf.h"

#include <setjmp.h>

#define DEPTH_MAX 32          /* nesting of maps and lists */
#define ALIAS_NODES_MAX 10000 /* nodes all aliases together may stand for */
#define FILE_BYTES_MAX (16 * VV_MIB)
#define INCLUDES_MAX 256
#define PROBLEMS_MAX 100

enum origin { ORIGIN_FILE, ORIGIN_PROFILE, ORIGIN_OVERLAY };

struct file { /* one text that was read */
    const char *path;
    struct vv_str text;
    uint32_t *line_at; /* byte offset where each line starts */
    uint32_t line_count;
    uint32_t order; /* in which files were read: problems print in this order */
    struct file *next;
    struct span *secrets;
};

struct span { /* bytes of a file that must never be shown */
    uint32_t from, to;
    struct span *next;
};

struct mark { /* bytes [from, to) of a file; file NULL: nowhere */
    struct file *file;
    uint32_t from, to;
};

enum kind { NODE_NULL, NODE_SCALAR, NODE_LIST, NODE_MAP };
static const char *const kind_names[] = {"nothing", "a single value", "a list", "a map"};

struct node {
    enum kind kind;
    uint8_t origin; /* enum origin */
    bool quoted;    /* the user wrote quotes and no ${...}: text, never a number */
    bool secret;    /* from ${file:}: never printed */
    bool broken;    /* a problem was reported about it: do not report a second one */
    bool flow;      /* [..] or {..} */
    bool json;      /* part of a VV_CONF_JSON value */
    struct mark at;
    const char *text;    /* SCALAR, after expansion */
    const char *tmpl;    /* the same with literal dollars still doubled */
    const char *env;     /* name of the variable that took part; NULL: none */
    const char *profile; /* ORIGIN_PROFILE: which */
    struct node **item;  /* LIST and MAP */
    struct node **key;   /* MAP: NODE_SCALAR each */
    uint32_t count, room;
};

struct origin_slot {   /* where the value of a field came from */
    uintptr_t address; /* of the field; the lowest bit marks a whole struct */
    const struct node *node;
};

struct vv_conf_doc {
    struct vv_arena arena;
    const struct vv_conf_source *source; /* during the load only */
    const struct vv_conf_section *section;
    struct vv_conf_problems *problems; /* during the load only */
    struct file *files, **files_tail;
    uint32_t file_count, alias_nodes, include_count;
    const char *path, *overlay_path, *profile;
    struct node *tree; /* merged, in long form, with defaults left out */
    void *root;
    struct origin_slot *slots;
    size_t slot_count, slot_room;
    int inherit_depth;    /* decode: > 0 inside a section whose owner fills in what is left out */
    bool partial;         /* decode: a profile not in use, nothing in it is required */
    bool any_word;        /* node.h: "yes" and "y" are text, not mistakes */
    size_t errors_before; /* of the caller's, before this load */
    struct fy_parser *parser; /* while a text is read, so that running out of memory frees it */
    struct fy_diag *diag;
    bool may_jump;         /* during the load; afterwards NULL is returned */
    jmp_buf out_of_memory; /* vv_conf_load() returns VV_ENOMEM from here */
};

/* tree.c: text to nodes. NULL when there was an error (reported) or the text is empty. */
struct node *tree_parse(struct vv_conf_doc *doc, struct file *file, enum origin origin);
void tree_close(struct vv_conf_doc *doc);
struct node *tree_get(const struct node *map, const char *key);
/* Index of the key, or -1. */
ptrdiff_t tree_find(const struct node *map, const char *key);
void tree_put(struct vv_conf_doc *doc, struct node *map, struct node *key, struct node *value);
void tree_push(struct vv_conf_doc *doc, struct node *list, struct node *item);
void tree_remove(struct node *map, size_t index);
struct node *node_new(struct vv_conf_doc *doc, enum kind kind, struct mark at, uint8_t origin);
/* A key or text that the engine writes itself, standing where `like` stands. */
struct node *node_text(struct vv_conf_doc *doc, const char *text, const struct node *like);
bool node_is_number(const struct node *n);
bool node_is_bool(const struct node *n); /* true or false, without quotes */

/* expand.c: replaces ${...} in all scalars below. quiet: a profile that is not in use. */
void expand(struct vv_conf_doc *doc, struct node *n, bool quiet);

/* file.c */
struct file *file_add(struct vv_conf_doc *doc, const char *path, struct vv_str text);
/* Reads a whole file; false: errno text in *ret_why. */
bool file_read(struct vv_conf_doc *doc, const char *path, struct vv_str *ret_text,
               const char **ret_why);
const char *file_beside(struct vv_conf_doc *doc, const char *base_file, const char *path);
void file_line_column(const struct file *f, uint32_t offset, uint32_t *ret_line,
                      uint32_t *ret_column);
void file_hide(struct vv_conf_doc *doc, struct mark at);
/* The password of "scheme://name:password@host", n 0: none. The last @ counts: a password that was not encoded
 * may hold anything. */
struct vv_str url_password(struct vv_str url);
/* Bytes of the first character, 0 when it is not UTF-8 (RFC 3629 section 4) or there is none. */
size_t utf8_length(struct vv_str s);
struct vv_conf_pos mark_pos(struct mark at);

/* shape.c: long forms, unknown, duplicate and missing keys. `where` names the place for messages.
 */
void shape(struct vv_conf_doc *doc, const struct vv_conf_section *section, struct node *n,
           const char *where);
/* A profile or overlay: values of `over` win, lists are replaced. include: values of `base` win,
 * lists of `over` are appended. */
void merge(struct vv_conf_doc *doc, struct node *base, struct node *over, bool include);

/* decode.c: nodes to structs; n NULL: only defaults. */
void decode(struct vv_conf_doc *doc, const struct vv_conf_section *section, struct node *n,
            void *out, const char *where);
/* Also used on the rows' own texts (def, min, max). */
bool scalar_parse(const struct vv_conf_row *row, const char *text, uint64_t *ret);
const struct vv_conf_row *section_row(const struct vv_conf_section *s, const char *key);

/* json.c */
bool json_is_number(const char *s); /* by the grammar of JSON */
const char *conf_json_text(struct vv_conf_doc *doc, struct node *n);

/* origins.c */
void slot_set(struct vv_conf_doc *doc, const void *field, bool whole, const struct node *n);
const struct node *slot_get(const struct vv_conf_doc *doc, const void *field, bool whole);

/* checker.c: room for `count` items; the room is always the next power of two, so that appending
 * knows when a list is full without storing its capacity. */
struct vv_conf_list *list_new(struct vv_conf_doc *doc, size_t count, bool names);

/* problems.c */
struct report { /* one problem to be kept */
    struct mark at, other;
    const char *other_what, *hint;
    bool warning;
};
void report(struct vv_conf_doc *doc, const struct report *r, const char *fmt, ...) VV_PRINTF(3, 4);
void problems_seal(struct vv_conf_problems *p); /* sorts, and copies lines with secrets hidden */

const char *doc_fmt(struct vv_conf_doc *doc, const char *fmt, ...)
    VV_PRINTF(2, 3);                                     /* never NULL in a load */
void *doc_zalloc(struct vv_conf_doc *doc, size_t bytes); /* never NULL in a load */
#endif
