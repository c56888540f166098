/* src/watch/rules_int.h - what reading and evaluating rules share.
 *
 * Model: text that never changes lives in the arena of the set; what an evaluation leaves behind is
 *        on the heap, one block per alert and per remembered series.
 */
#ifndef VV_WATCH_RULES_INT_H
#define VV_WATCH_RULES_INT_H
#include "watch/rules.h"
#include "watch/template.h"

struct rule_text { /* a label or an annotation */
    struct vv_str name, text;
    const struct vv_template *tmpl; /* NULL: a recording rule's label is taken as it is */
};
struct seen { /* a series the rule wrote last time */
    uint64_t hash;
    struct vv_promql_labels labels; /* owned */
};
struct vv_rule {
    struct vv_str name, expr_text, group;
    const struct vv_promql_expr *expr;
    bool is_alert;
    int64_t for_ms, keep_ms;
    struct rule_text *labels, *annotations; /* sorted by name */
    size_t labels_n, annotations_n;
    uint64_t limit;
    struct vv_alert **alerts; /* sorted by hash, then labels */
    size_t alerts_n;
    struct seen *seen; /* the same order */
    size_t seen_n;
    char health[200]; /* "": well */
};
struct rule_group {
    struct vv_str name, file;
    int64_t interval_ms, last_ms; /* last_ms INT64_MIN: not yet */
    struct vv_rule *rules;
    size_t n;
};
struct vv_rules {
    struct vv_arena arena;
    struct rule_group *groups; /* heap */
    size_t n;
    struct vv_promql_labels outer;
    struct vv_str url;
};
void rule_fini(struct vv_rule *rule);
#endif
