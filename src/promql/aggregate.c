/* src/promql/aggregate.c - one pass that puts every element into its group; those that need all
 * values of a group sort (group, value) once instead of keeping a heap per group. */
#include "promql/promql_int.h"

#include <math.h>
#include <stdlib.h>

struct group {
    double value, mean;
    size_t n;
};
struct ranked {
    size_t group, index;
    double v;
};
struct grouping {
    struct vv_pq_table table;
    struct group *groups;
    struct ranked *ranked;
};

static struct vv_promql_labels key_of(struct vv_pq_run *r, const struct vv_promql_expr *e,
                                      struct vv_promql_labels l, struct vv_str value_label)
{
    if (e->without) {
        return vv_pq_labels_without(r, l, e->labels, true);
    }
    if (value_label.n == 0) {
        return vv_pq_labels_only(r, l, e->labels);
    }
    const struct vv_str value = vv_pq_label(l, value_label);
    return vv_pq_labels_set(r, vv_pq_labels_only(r, l, e->labels), value_label, value);
}

static void add_value(enum vv_pq_aggregate what, struct group *g, double v)
{
    const bool first = g->n++ == 0;
    const double n = (double)g->n;
    double delta = 0;
    switch (what) {
    case AGG_SUM:
        g->value += v;
        break;
    case AGG_AVG:
        if (!first && isinf(g->mean) && ((isinf(v) && (v > 0) == (g->mean > 0)) || isfinite(v))) {
            break;
        }
        g->mean = first ? v : g->mean + (v / n - g->mean / n);
        break;
    case AGG_MIN:
        g->value = first || v < g->value || isnan(g->value) ? v : g->value;
        break;
    case AGG_MAX:
        g->value = first || v > g->value || isnan(g->value) ? v : g->value;
        break;
    case AGG_STDDEV:
    case AGG_STDVAR:
        if (first) {
            g->mean = v;
            break;
        }
        delta = v - g->mean;
        g->mean += delta / n;
        g->value += delta * (v - g->mean);
        break;
    default:
        break;
    }
}

static double result_of(enum vv_pq_aggregate what, const struct group *g)
{
    const double n = (double)g->n;
    switch (what) {
    case AGG_AVG:
        return g->mean;
    case AGG_COUNT:
    case AGG_COUNT_VALUES:
        return n;
    case AGG_GROUP:
        return 1;
    case AGG_STDDEV:
        return sqrt(g->value / n);
    case AGG_STDVAR:
        return g->value / n;
    default:
        return g->value;
    }
}

/* By group, then NaN last, then by value; equal values stay in order. */
static int order(const struct ranked *x, const struct ranked *y, int direction)
{
    int c = (x->group > y->group) - (x->group < y->group);
    if (c == 0 && (isnan(x->v) || isnan(y->v))) {
        c = isnan(x->v) - isnan(y->v);
    } else if (c == 0) {
        c = direction * ((x->v > y->v) - (x->v < y->v));
    }
    return c != 0 ? c : (x->index > y->index) - (x->index < y->index);
}

static int rising(const void *a, const void *b)
{
    return order(a, b, 1);
}

static int falling(const void *a, const void *b)
{
    return order(a, b, -1);
}

static void pick(struct vv_pq_run *r, const struct vv_promql_expr *e, double param,
                 const struct vv_pq_value *in, struct grouping *g, struct vv_pq_value *out)
{
    if (!(param > -9.2e18 && param < 9.2e18)) {
        vv_pq_fail(r, e, VV_EINVAL, "the number of %s is out of range",
                   vv_pq_aggregate_name[e->aggregate]);
        return;
    }
    const int64_t k = (int64_t)param;
    qsort(g->ranked, in->n, sizeof *g->ranked, e->aggregate == AGG_TOPK ? falling : rising);
    size_t rank = 0;
    for (size_t i = 0; i < in->n; i++) {
        rank = i > 0 && g->ranked[i].group == g->ranked[i - 1].group ? rank + 1 : 0;
        if ((int64_t)rank < k) {
            out->vector[out->n++] = in->vector[g->ranked[i].index];
        }
    }
}

static void quantiles(struct vv_pq_run *r, double q, size_t n, struct grouping *g,
                      struct vv_pq_value *out)
{
    double *v = vv_pq_alloc(r, n, sizeof *v);
    VV_ASSERT(g->table.keys != NULL); /* there are elements, so there are groups */
    qsort(g->ranked, n, sizeof *g->ranked, rising);
    for (size_t i = 0; v != NULL && i < n;) {
        const size_t from = i, group = g->ranked[i].group;
        for (; i < n && g->ranked[i].group == group; i++) {
            v[i] = g->ranked[i].v;
        }
        qsort(v + from, i - from, sizeof *v, vv_pq_double_compare);
        out->vector[out->n++] =
            (struct vv_pq_element){g->table.keys[group], vv_pq_quantile(q, v + from, i - from), 0};
    }
}

static void add_element(struct vv_pq_run *r, const struct vv_promql_expr *e, struct vv_str label,
                        const struct vv_pq_element *el, struct grouping *g, size_t index)
{
    struct vv_promql_labels labels = el->labels;
    if (label.n > 0) {
        char buf[VV_PROMQL_FORMAT_BYTES];
        const struct vv_str text =
            vv_arena_str(r->arena, vv_str_from(vv_promql_format(el->v, buf)));
        labels = vv_pq_labels_set(r, labels, label, text);
    }
    bool is_new = false;
    const size_t group = vv_pq_table_add(&g->table, key_of(r, e, labels, label), &is_new);
    if (group == SIZE_MAX) {
        vv_pq_fail(r, e, VV_ENOMEM, "the query needs too much memory");
        return;
    }
    add_value(e->aggregate, &g->groups[group], el->v);
    g->ranked[index] = (struct ranked){group, index, el->v};
}

void vv_pq_aggregate(struct vv_pq_run *r, const struct vv_promql_expr *e, int64_t t_ms,
                     struct vv_pq_value *out)
{
    struct vv_pq_value in = {0}, param = {0};
    vv_pq_eval(r, e->args[0], t_ms, &in);
    if (e->args_n > 1) {
        vv_pq_eval(r, e->args[1], t_ms, &param);
    }
    struct grouping g = {.table = {.arena = r->arena}};
    g.groups = vv_pq_alloc(r, in.n, sizeof *g.groups);
    g.ranked = vv_pq_alloc(r, in.n, sizeof *g.ranked);
    out->vector = vv_pq_alloc(r, in.n, sizeof *out->vector);
    const struct vv_str label =
        e->aggregate == AGG_COUNT_VALUES ? param.text : (struct vv_str){NULL, 0};
    for (size_t i = 0; i < in.n && vv_pq_work(r, e, 1); i++) {
        add_element(r, e, label, &in.vector[i], &g, i);
    }
    if (r->err != VV_OK || in.n == 0) {
        return;
    }
    if (e->aggregate == AGG_TOPK || e->aggregate == AGG_BOTTOMK) {
        pick(r, e, param.scalar, &in, &g, out);
        return;
    }
    if (e->aggregate == AGG_QUANTILE) {
        quantiles(r, param.scalar, in.n, &g, out);
        return;
    }
    for (size_t i = 0; i < g.table.n; i++) {
        out->vector[out->n++] =
            (struct vv_pq_element){g.table.keys[i], result_of(e->aggregate, &g.groups[i]), 0};
    }
}
