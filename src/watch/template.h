/* src/watch/template.h - texts of alerts with {{ $value }} and {{ $labels.x }} in them.
 *
 * Model:     a text is compiled once and expanded for every alert. The subset of Prometheus'
 *            templates that needs no queries: $value, $labels, $externalLabels, $externalURL (and
 *            .Value, .Labels ...), literals, pipes, parentheses, if / else if / else / end,
 *            comments, trimming with {{- and -}}, and the functions in template.c's table.
 *            Comparisons take any two numbers (Go refuses to compare 1 with 1.0).
 * Source:    Prometheus 2.42, "Template reference"; Go's text/template and fmt for the numbers.
 * Threads:   a compiled text never changes. Ownership: it lives in the arena and copies the text.
 * Errors:    VV_ESYNTAX with a place and a reason; VV_EUNSUPPORTED for range, with, query ...
 *            An expansion that fails gives "<error expanding template: reason>", as Prometheus.
 */
#ifndef VV_WATCH_TEMPLATE_H
#define VV_WATCH_TEMPLATE_H
#include "promql/promql.h"

struct vv_template;
struct vv_template_error {
    size_t at; /* byte of the text */
    char text[120];
};
struct vv_template_data {
    struct vv_promql_labels labels, external_labels;
    struct vv_str external_url;
    double value;
};
VV_MUST_CHECK enum vv_err vv_template_compile(struct vv_str text, struct vv_arena *arena,
                                              const struct vv_template **ret,
                                              struct vv_template_error *reterr);
/* Appends. VV_EINVAL: the text is the error's. VV_ENOMEM: the sb has failed. */
enum vv_err vv_template_expand(const struct vv_template *t, const struct vv_template_data *data,
                               struct vv_sb *out);
/* A number as Go's fmt prints it with %v: "1e+06", "0.1", "+Inf". */
void vv_template_number(double v, struct vv_sb *out);
#endif
