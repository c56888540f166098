/* src/promql/binary.c - operators: numbers with numbers, vectors with a number, and two vectors
 * whose elements find each other by labels. */
#include "promql/promql_int.h"

#include <math.h>

static bool is_comparison(enum vv_pq_op op)
{
    return op >= BIN_EQ && op <= BIN_GE;
}

/* False: a comparison that does not hold. A comparison that holds gives its left side. */
static bool apply(enum vv_pq_op op, double l, double r, double *ret)
{
    *ret = l;
    switch (op) {
    case BIN_EQ:
        return l == r;
    case BIN_NE:
        return l != r;
    case BIN_LT:
        return l < r;
    case BIN_LE:
        return l <= r;
    case BIN_GT:
        return l > r;
    case BIN_GE:
        return l >= r;
    case BIN_ADD:
        *ret = l + r;
        return true;
    case BIN_SUB:
        *ret = l - r;
        return true;
    case BIN_MUL:
        *ret = l * r;
        return true;
    case BIN_DIV:
        *ret = l / r;
        return true;
    case BIN_MOD:
        *ret = fmod(l, r);
        return true;
    case BIN_ATAN2:
        *ret = atan2(l, r);
        return true;
    case BIN_POW:
        *ret = pow(l, r);
        return true;
    default:
        return false;
    }
}

/* atan2 keeps the name, which Prometheus forgot when the operator came; users see what it does. */
static bool drops_name(const struct vv_promql_expr *e)
{
    return (!is_comparison(e->op) && e->op != BIN_ATAN2) || e->to_bool;
}

static void with_scalar(struct vv_pq_run *r, const struct vv_promql_expr *e,
                        const struct vv_pq_value *vector, double scalar, bool scalar_left,
                        struct vv_pq_value *out)
{
    out->vector = vv_pq_alloc(r, vector->n, sizeof *out->vector);
    for (size_t i = 0; i < vector->n && vv_pq_work(r, e, 1); i++) {
        struct vv_pq_element el = vector->vector[i];
        const double own = el.v;
        bool keep = apply(e->op, scalar_left ? scalar : own, scalar_left ? own : scalar, &el.v);
        if (is_comparison(e->op)) {
            el.v = e->to_bool ? (keep ? 1 : 0) : own; /* a filter keeps the element as it was */
            keep = keep || e->to_bool;
        }
        if (keep) {
            el.labels = drops_name(e) ? vv_pq_drop_name(r, el.labels) : el.labels;
            out->vector[out->n++] = el;
        }
    }
}

static struct vv_promql_labels signature(struct vv_pq_run *r, const struct vv_promql_expr *e,
                                         struct vv_promql_labels l)
{
    return e->on ? vv_pq_labels_only(r, l, e->labels) : vv_pq_labels_without(r, l, e->labels, true);
}

static void set_operation(struct vv_pq_run *r, const struct vv_promql_expr *e,
                          const struct vv_pq_value *left, const struct vv_pq_value *right,
                          struct vv_pq_value *out)
{
    struct vv_pq_table table = {.arena = r->arena};
    const struct vv_pq_value *known = e->op == BIN_OR ? left : right;
    const struct vv_pq_value *asked = e->op == BIN_OR ? right : left;
    bool is_new = false;
    out->vector = vv_pq_alloc(r, left->n + right->n, sizeof *out->vector);
    for (size_t i = 0; i < known->n && vv_pq_work(r, e, 1); i++) {
        if (vv_pq_table_add(&table, signature(r, e, known->vector[i].labels), &is_new) ==
            SIZE_MAX) {
            vv_pq_fail(r, e, VV_ENOMEM, "the query needs too much memory");
        } else if (e->op == BIN_OR) {
            out->vector[out->n++] = known->vector[i];
        }
    }
    for (size_t i = 0; i < asked->n && vv_pq_work(r, e, 1); i++) {
        const bool found =
            vv_pq_table_find(&table, signature(r, e, asked->vector[i].labels)) != SIZE_MAX;
        if (found == (e->op == BIN_AND)) {
            out->vector[out->n++] = asked->vector[i];
        }
    }
}

static struct vv_promql_labels result_labels(struct vv_pq_run *r, const struct vv_promql_expr *e,
                                             struct vv_promql_labels many,
                                             struct vv_promql_labels one)
{
    struct vv_promql_labels l = drops_name(e) ? vv_pq_drop_name(r, many) : many;
    if (e->card == CARD_ONE_TO_ONE) {
        return e->on ? vv_pq_labels_only(r, l, e->labels)
                     : vv_pq_labels_without(r, l, e->labels, false);
    }
    for (size_t i = 0; i < e->include.n; i++) {
        l = vv_pq_labels_set(r, l, e->include.at[i], vv_pq_label(one, e->include.at[i]));
    }
    return l;
}

struct match {
    struct vv_pq_table ones, results;
    size_t *one_index; /* of a signature: the element of the one side */
    bool *taken;
};

static bool index_ones(struct vv_pq_run *r, const struct vv_promql_expr *e,
                       const struct vv_pq_value *one, struct match *m)
{
    for (size_t i = 0; i < one->n && vv_pq_work(r, e, 1); i++) {
        bool is_new = false;
        const size_t at =
            vv_pq_table_add(&m->ones, signature(r, e, one->vector[i].labels), &is_new);
        if (at == SIZE_MAX) {
            vv_pq_fail(r, e, VV_ENOMEM, "the query needs too much memory");
        } else if (!is_new) {
            vv_pq_fail(r, e, VV_EINVAL,
                       "several series of the %s side have the same matching labels",
                       e->card == CARD_ONE_TO_MANY ? "left" : "right");
        } else {
            m->one_index[at] = i;
        }
    }
    return r->err == VV_OK;
}

static void match_one(struct vv_pq_run *r, const struct vv_promql_expr *e,
                      const struct vv_pq_element *many, const struct vv_pq_value *ones,
                      struct match *m, struct vv_pq_value *out)
{
    const size_t sig = vv_pq_table_find(&m->ones, signature(r, e, many->labels));
    if (sig == SIZE_MAX) {
        return;
    }
    const struct vv_pq_element *one = &ones->vector[m->one_index[sig]];
    const bool swapped = e->card == CARD_ONE_TO_MANY;
    double v = 0;
    const bool keep = apply(e->op, swapped ? one->v : many->v, swapped ? many->v : one->v, &v);
    if (!keep && !e->to_bool) {
        return;
    }
    const struct vv_promql_labels labels = result_labels(r, e, many->labels, one->labels);
    bool is_new = true;
    if (e->card == CARD_ONE_TO_ONE && m->taken[sig]) {
        vv_pq_fail(r, e, VV_EINVAL,
                   "several series match one: write group_left or group_right if that is meant");
    } else if (e->card != CARD_ONE_TO_ONE &&
               (vv_pq_table_add(&m->results, labels, &is_new) == SIZE_MAX || !is_new)) {
        vv_pq_fail(r, e, VV_EINVAL, "grouping labels must make every match its own series");
    }
    m->taken[sig] = true;
    out->vector[out->n++] = (struct vv_pq_element){labels, e->to_bool ? (keep ? 1 : 0) : v, 0};
}

static void vectors(struct vv_pq_run *r, const struct vv_promql_expr *e,
                    const struct vv_pq_value *left, const struct vv_pq_value *right,
                    struct vv_pq_value *out)
{
    const struct vv_pq_value *many = e->card == CARD_ONE_TO_MANY ? right : left;
    const struct vv_pq_value *one = e->card == CARD_ONE_TO_MANY ? left : right;
    struct match m = {.ones = {.arena = r->arena}, .results = {.arena = r->arena}};
    m.one_index = vv_pq_alloc(r, one->n, sizeof *m.one_index);
    m.taken = vv_pq_alloc(r, one->n, sizeof *m.taken);
    out->vector = vv_pq_alloc(r, many->n, sizeof *out->vector);
    if (r->err != VV_OK || many->n == 0 || one->n == 0 || !index_ones(r, e, one, &m)) {
        return;
    }
    for (size_t i = 0; i < many->n && vv_pq_work(r, e, 1); i++) {
        match_one(r, e, &many->vector[i], one, &m, out);
    }
}

void vv_pq_binary(struct vv_pq_run *r, const struct vv_promql_expr *e, int64_t t_ms,
                  struct vv_pq_value *out)
{
    struct vv_pq_value left = {0}, right = {0};
    vv_pq_eval(r, e->args[0], t_ms, &left);
    vv_pq_eval(r, e->args[1], t_ms, &right);
    if (r->err != VV_OK) {
        return;
    }
    const bool left_scalar = e->args[0]->type == VV_PROMQL_SCALAR;
    const bool right_scalar = e->args[1]->type == VV_PROMQL_SCALAR;
    if (left_scalar && right_scalar) {
        const bool holds = apply(e->op, left.scalar, right.scalar, &out->scalar);
        out->scalar = is_comparison(e->op) ? (holds ? 1 : 0) : out->scalar;
        return;
    }
    if (e->op <= BIN_UNLESS) {
        set_operation(r, e, &left, &right, out);
    } else if (left_scalar) {
        with_scalar(r, e, &right, left.scalar, true, out);
    } else if (right_scalar) {
        with_scalar(r, e, &left, right.scalar, false, out);
    } else {
        vectors(r, e, &left, &right, out);
    }
    vv_pq_check_unique(r, e, out);
}
