/* src/watch/labels.h - label sets that grow one by one, and copies that outlive their query.
 *
 * Model:     sorted by name, every name once, no empty value: what promql.h asks for.
 * Threads:   one owner. Ownership: a set borrows its texts; vv_labels_dup() makes one block that
 *            holds everything, given back with free().
 * Errors:    VV_ELIMIT for more than VV_LABELS_MAX labels.
 */
#ifndef VV_WATCH_LABELS_H
#define VV_WATCH_LABELS_H
#include "promql/promql.h"

#define VV_LABELS_MAX 128

struct vv_labels { /* a set under construction */
    struct vv_promql_label at[VV_LABELS_MAX];
    size_t n;
};
VV_MUST_CHECK enum vv_err vv_labels_from(struct vv_labels *l, struct vv_promql_labels from);
/* An empty value takes the label out. */
VV_MUST_CHECK enum vv_err vv_labels_set(struct vv_labels *l, struct vv_str name,
                                        struct vv_str value);
static inline struct vv_promql_labels vv_labels_view(const struct vv_labels *l)
{
    return (struct vv_promql_labels){l->at, l->n};
}
struct vv_str vv_labels_get(struct vv_promql_labels l, struct vv_str name); /* empty: not there */
uint64_t vv_labels_hash(struct vv_promql_labels l);
int vv_labels_compare(struct vv_promql_labels a, struct vv_promql_labels b);
/* One block from malloc; .at is its start. .at NULL: no memory. */
VV_MUST_CHECK struct vv_promql_labels vv_labels_dup(struct vv_promql_labels l);
/* [a-zA-Z_][a-zA-Z0-9_]*, and with colons too for a metric. */
bool vv_label_name_valid(struct vv_str name);
bool vv_metric_name_valid(struct vv_str name);
#endif
