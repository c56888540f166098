/* src/watch/template_int.h - what compiling and expanding templates share.
 *
 * Model: a text is a chain of nodes; an action holds a pipe of commands; a command is a function
 *        with arguments, or one value. The pipe's last value is one more argument of the next.
 */
#ifndef VV_WATCH_TEMPLATE_INT_H
#define VV_WATCH_TEMPLATE_INT_H
#include "watch/template.h"

#define TMPL_ARGS_MAX 16
#define TMPL_DEPTH_MAX 16
#define TMPL_NODES_MAX 1000 /* of all kinds in one text */

enum tmpl_kind { TMPL_NONE, TMPL_STR, TMPL_NUM, TMPL_INT, TMPL_BOOL, TMPL_MAP };
struct tmpl_value {
    enum tmpl_kind kind;
    struct vv_str s;
    double n; /* NUM and INT */
    bool b;
    struct vv_promql_labels map;
};
enum tmpl_term_kind {
    TERM_LITERAL,
    TERM_VALUE,
    TERM_LABELS,
    TERM_LABEL, /* literal.s is the name */
    TERM_OUTER,
    TERM_OUTER_LABEL,
    TERM_URL,
    TERM_PIPE,
};
struct tmpl_pipe;
struct tmpl_term {
    enum tmpl_term_kind kind;
    struct tmpl_value literal;
    const struct tmpl_pipe *pipe;
};
struct tmpl_run { /* one expansion */
    const struct vv_template_data *data;
    struct vv_arena *arena;
    const char *why; /* the first failure */
};
typedef void tmpl_call(struct tmpl_run *r, const struct tmpl_value *args, size_t n,
                       struct tmpl_value *ret);
struct tmpl_function {
    const char *name;
    size_t args_min, args_max;
    tmpl_call *call;
};
struct tmpl_command {
    const struct tmpl_function *fn; /* NULL: terms[0] is the value */
    struct tmpl_term terms[TMPL_ARGS_MAX];
    size_t n;
    const struct tmpl_command *next;
};
struct tmpl_pipe {
    const struct tmpl_command *first;
};
enum tmpl_node_kind { NODE_TEXT, NODE_ACTION, NODE_IF };
struct tmpl_node {
    enum tmpl_node_kind kind;
    struct vv_str text;
    const struct tmpl_pipe *pipe;
    struct tmpl_node *then, *otherwise, *next;
};
struct vv_template {
    struct tmpl_node *first;
};
const struct tmpl_function *tmpl_function(struct vv_str name); /* NULL: there is none */
void tmpl_put(const struct tmpl_value *v, struct vv_sb *out);
#endif
