/* src/load/gates.h - what gates are made of: for the reports and the searches.
 *
 * Model:   an expression has + - * / comparisons, and or not, parentheses, numbers and metric names.
 *          A number may carry a unit: us ms s m are turned into milliseconds, % is dropped, because
 *          times are milliseconds and shares are percent in all metrics. Names with other signs
 *          than letters, digits, _ . - / stand in quotes.
 * Source:  the expressions of Artillery's ensure plugin, as its documentation describes them.
 * Threads: pure. Limits: 4,096 bytes, 64 levels of nesting.
 */
#ifndef VV_LOAD_GATES_H
#define VV_LOAD_GATES_H
#include "load/result.h"

/* "p95", "mean", "count" ... of a histogram in ms; false: unknown, or nothing was recorded. */
VV_MUST_CHECK bool vv_load_hist_value(const struct vv_load_hist *h, struct vv_str what,
                                      double *ret);
/* Is it called so: "/a", "GET /a", or by its key? */
bool vv_load_endpoint_named(const struct vv_load_endpoint *e, struct vv_str name);
/* In Artillery's metrics. */
const char *vv_load_endpoint_key(const struct vv_load_endpoint *e);

enum vv_load_unit { VV_LOAD_UNIT_NONE, VV_LOAD_UNIT_MS, VV_LOAD_UNIT_PERCENT, VV_LOAD_UNIT_RATE };
enum vv_load_unit vv_load_metric_unit(struct vv_str name);

struct vv_load_gate_parts { /* of the simplest and commonest form: metric, operator, number */
    struct vv_str metric;   /* borrowed from the expression */
    struct vv_str op;       /* "<", "<=", ">", ">=", "==", "!=" */
    double limit;
};
/* False: the expression is of another form. */
bool vv_load_gate_split(const char *expression, struct vv_load_gate_parts *ret);
#endif
