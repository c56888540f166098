/* src/promql/eval.c - walks the tree once per step. Series are fetched once per selector for all
 * steps; a step's own memory is thrown away when its results have been copied. */
#include "promql/promql_int.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#define LOOKBACK_MS INT64_C(300000)
#define SUBSTEP_MS INT64_C(60000)
#define WORK_MAX UINT64_C(50000000)
#define MEMORY_MAX (256 * VV_MIB)
#define BLOCK_BYTES (64 * VV_KIB)
#define STALE_BITS UINT64_C(0x7ff0000000000002)

double vv_promql_stale(void)
{
    const uint64_t bits = STALE_BITS;
    double v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

bool vv_promql_is_stale(double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits == STALE_BITS;
}

void vv_pq_fail(struct vv_pq_run *r, const struct vv_promql_expr *e, enum vv_err err,
                const char *fmt, ...)
{
    if (r->err != VV_OK) {
        return;
    }
    va_list args;
    va_start(args, fmt);
    vsnprintf(r->why->text, sizeof r->why->text, fmt, args);
    va_end(args);
    r->why->at = e != NULL ? e->at : 0;
    r->err = err;
}

void *vv_pq_alloc(struct vv_pq_run *r, size_t count, size_t bytes)
{
    void *p = r->err == VV_OK ? vv_arena_zalloc(r->arena, (count + 1) * bytes) : NULL;
    if (p == NULL) {
        vv_pq_fail(r, NULL, VV_ENOMEM, "the query needs too much memory");
    }
    return p;
}

bool vv_pq_work(struct vv_pq_run *r, const struct vv_promql_expr *e, size_t n)
{
    if (r->err != VV_OK) {
        return false;
    }
    r->work += n + 1;
    if (r->work > r->query.work_max) {
        vv_pq_fail(r, e, VV_ELIMIT, "the query touches too many samples");
        return false;
    }
    return true;
}

int64_t vv_pq_when(const struct vv_pq_run *r, const struct vv_promql_expr *e, int64_t t_ms)
{
    const int64_t base = e->at_kind == AT_TIME          ? e->at_ms
                         : e->at_kind == AT_QUERY_START ? r->query.start_ms
                         : e->at_kind == AT_QUERY_END   ? r->query.end_ms
                                                        : t_ms;
    return base - e->offset_ms;
}

/* A series appears at most once in a result, though operations take labels away. */
void vv_pq_check_unique(struct vv_pq_run *r, const struct vv_promql_expr *e,
                        const struct vv_pq_value *v)
{
    struct vv_pq_table seen = {.arena = r->arena};
    for (size_t i = 0; v->n > 1 && i < v->n && vv_pq_work(r, e, 1); i++) {
        bool is_new = false;
        if (vv_pq_table_add(&seen, v->vector[i].labels, &is_new) == SIZE_MAX) {
            vv_pq_fail(r, e, VV_ENOMEM, "the query needs too much memory");
        } else if (!is_new) {
            vv_pq_fail(r, e, VV_EINVAL, "the result would hold the same labels twice");
        }
    }
}

/* Number of samples at or before the time. */
static size_t samples_until(const struct vv_promql_series *s, int64_t t_ms)
{
    size_t lo = 0, hi = s->n;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        if (s->samples[mid].t_ms <= t_ms) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

static void eval_selector(struct vv_pq_run *r, const struct vv_promql_expr *e, int64_t t_ms,
                          struct vv_pq_value *out)
{
    const struct vv_pq_slot *slot = &r->slots[e->slot];
    const int64_t when = vv_pq_when(r, e, t_ms);
    out->vector = vv_pq_alloc(r, slot->n, sizeof *out->vector);
    for (size_t i = 0; i < slot->n && vv_pq_work(r, e, 1); i++) {
        const struct vv_promql_series *s = &slot->series[i];
        const size_t n = samples_until(s, when);
        if (n == 0 || s->samples[n - 1].t_ms < when - r->query.lookback_ms ||
            vv_promql_is_stale(s->samples[n - 1].v)) {
            continue;
        }
        out->vector[out->n++] =
            (struct vv_pq_element){s->labels, s->samples[n - 1].v, s->samples[n - 1].t_ms};
    }
}

static void eval_range(struct vv_pq_run *r, const struct vv_promql_expr *e, int64_t t_ms,
                       struct vv_pq_value *out)
{
    const struct vv_pq_slot *slot = &r->slots[e->slot];
    const int64_t when = vv_pq_when(r, e, t_ms);
    out->matrix = vv_pq_alloc(r, slot->n, sizeof *out->matrix);
    for (size_t i = 0; i < slot->n && r->err == VV_OK; i++) {
        const struct vv_promql_series *s = &slot->series[i];
        const size_t to = samples_until(s, when);
        const size_t from = samples_until(s, when - e->range_ms - 1);
        if (to > from && vv_pq_work(r, e, to - from)) {
            out->matrix[out->n++] =
                (struct vv_promql_series){s->labels, s->samples + from, to - from};
        }
    }
}

/* Gathers vectors of several steps into series. */
struct collector {
    struct vv_pq_table table;
    struct vv_promql_series *series;
    size_t *room;
    size_t cap;
    struct vv_arena *arena;
    bool copy_labels;
};

static bool collector_grow(struct collector *c)
{
    const size_t cap = c->cap > 0 ? 2 * c->cap : 16;
    struct vv_promql_series *series = vv_arena_zalloc(c->arena, cap * sizeof *series);
    size_t *room = vv_arena_zalloc(c->arena, cap * sizeof *room);
    if (series == NULL || room == NULL) {
        return false;
    }
    if (c->cap > 0) {
        memcpy(series, c->series, c->cap * sizeof *series);
        memcpy(room, c->room, c->cap * sizeof *room);
    }
    c->series = series;
    c->room = room;
    c->cap = cap;
    return true;
}

static bool copy_labels(struct vv_arena *arena, struct vv_promql_labels *l)
{
    struct vv_promql_label *at = vv_arena_alloc(arena, (l->n + 1) * sizeof *at);
    for (size_t i = 0; at != NULL && i < l->n; i++) {
        at[i].name = vv_arena_str(arena, l->at[i].name);
        at[i].value = vv_arena_str(arena, l->at[i].value);
        if (at[i].name.p == NULL || at[i].value.p == NULL) {
            return false;
        }
    }
    l->at = at;
    return at != NULL;
}

static bool append(struct collector *c, size_t i, int64_t t_ms, double v)
{
    struct vv_promql_series *s = &c->series[i];
    struct vv_promql_sample *at = (struct vv_promql_sample *)(uintptr_t)s->samples;
    if (s->n == c->room[i]) {
        const size_t room = s->n > 0 ? 2 * s->n : 1;
        at = vv_arena_alloc(c->arena, room * sizeof *at);
        if (at == NULL) {
            return false;
        }
        if (s->n > 0) {
            memcpy(at, s->samples, s->n * sizeof *at);
        }
        s->samples = at;
        c->room[i] = room;
    }
    at[s->n++] = (struct vv_promql_sample){t_ms, v};
    return true;
}

static bool collect(struct collector *c, const struct vv_pq_element *el, int64_t t_ms)
{
    bool is_new = false;
    struct vv_promql_labels labels = el->labels;
    size_t i = vv_pq_table_find(&c->table, labels);
    if (i == SIZE_MAX) {
        if (c->copy_labels && !copy_labels(c->arena, &labels)) {
            return false;
        }
        i = vv_pq_table_add(&c->table, labels, &is_new);
    }
    if (i == SIZE_MAX || (i >= c->cap && !collector_grow(c))) {
        return false;
    }
    if (is_new) {
        c->series[i].labels = labels; /* later ones live only as long as their step */
    }
    return append(c, i, t_ms, el->v);
}

static void eval_subquery(struct vv_pq_run *r, const struct vv_promql_expr *e, int64_t t_ms,
                          struct vv_pq_value *out)
{
    const int64_t step = e->substep_ms > 0 ? e->substep_ms : r->query.substep_ms;
    const int64_t end = vv_pq_when(r, e, t_ms), from = end - e->range_ms;
    struct collector c = {.arena = r->arena, .table = {.arena = r->arena}};
    int64_t t = from / step * step; /* steps are multiples of the step, whatever the query's time */
    t += t < from ? step : 0;
    for (; t <= end && vv_pq_work(r, e, 1); t += step) {
        struct vv_pq_value v = {0};
        vv_pq_eval(r, e->args[0], t, &v);
        for (size_t i = 0; i < v.n && r->err == VV_OK; i++) {
            if (!collect(&c, &v.vector[i], t)) {
                vv_pq_fail(r, e, VV_ENOMEM, "the query needs too much memory");
            }
        }
    }
    out->matrix = c.series;
    out->n = c.table.n;
}

static void eval_math(struct vv_pq_run *r, const struct vv_promql_expr *e, int64_t t_ms,
                      struct vv_pq_value *out)
{
    vv_pq_eval(r, e->args[0], t_ms, out);
    for (size_t i = 0; i < out->n && vv_pq_work(r, e, 1); i++) {
        out->vector[i].v = e->fn->math(out->vector[i].v);
        out->vector[i].labels = vv_pq_drop_name(r, out->vector[i].labels);
    }
}

static void eval_over(struct vv_pq_run *r, const struct vv_promql_expr *e, int64_t t_ms,
                      struct vv_pq_value *out)
{
    const struct vv_promql_expr *range = NULL;
    struct vv_pq_value matrix = {0};
    struct vv_pq_window w = {.now_ms = t_ms};
    double *param = &w.p1;
    for (size_t i = 0; i < e->args_n && r->err == VV_OK; i++) {
        struct vv_pq_value v = {0};
        vv_pq_eval(r, e->args[i], t_ms, &v);
        if (e->args[i]->type == VV_PROMQL_MATRIX) {
            range = e->args[i];
            matrix = v;
        } else {
            *param = v.scalar;
            param = &w.p2;
        }
    }
    out->vector = vv_pq_alloc(r, matrix.n, sizeof *out->vector);
    if (r->err != VV_OK) {
        return;
    }
    VV_ASSERT(range != NULL); /* the row of every such function has one */
    w.end_ms = vv_pq_when(r, range, t_ms);
    w.start_ms = w.end_ms - range->range_ms;
    for (size_t i = 0; i < matrix.n && r->err == VV_OK; i++) {
        double v = 0;
        w.samples = matrix.matrix[i].samples;
        w.n = matrix.matrix[i].n;
        if (w.n > 0 && e->fn->over(r, &w, &v)) {
            const struct vv_promql_labels l = matrix.matrix[i].labels;
            out->vector[out->n++] =
                (struct vv_pq_element){e->fn->keeps_name ? l : vv_pq_drop_name(r, l), v, t_ms};
        }
    }
}

static void eval_call(struct vv_pq_run *r, const struct vv_promql_expr *e, int64_t t_ms,
                      struct vv_pq_value *out)
{
    if (e->fn->over != NULL) {
        eval_over(r, e, t_ms, out);
    } else if (e->fn->math != NULL) {
        eval_math(r, e, t_ms, out);
    } else {
        e->fn->call(r, e, t_ms, out);
    }
    if (e->type == VV_PROMQL_VECTOR && r->err == VV_OK) {
        vv_pq_check_unique(r, e, out);
    }
}

static void eval_negate(struct vv_pq_run *r, const struct vv_promql_expr *e, int64_t t_ms,
                        struct vv_pq_value *out)
{
    vv_pq_eval(r, e->args[0], t_ms, out);
    out->scalar = -out->scalar;
    for (size_t i = 0; i < out->n && r->err == VV_OK; i++) {
        out->vector[i].v = -out->vector[i].v;
        out->vector[i].labels = vv_pq_drop_name(r, out->vector[i].labels);
    }
    vv_pq_check_unique(r, e, out);
}

void vv_pq_eval(struct vv_pq_run *r, const struct vv_promql_expr *e, int64_t t_ms,
                struct vv_pq_value *out)
{
    if (!vv_pq_work(r, e, 0)) {
        return;
    }
    switch (e->kind) {
    case NODE_NUMBER:
        out->scalar = e->number;
        break;
    case NODE_STRING:
        out->text = e->text;
        break;
    case NODE_SELECTOR:
        eval_selector(r, e, t_ms, out);
        break;
    case NODE_RANGE:
        eval_range(r, e, t_ms, out);
        break;
    case NODE_SUBQUERY:
        eval_subquery(r, e, t_ms, out);
        break;
    case NODE_CALL:
        eval_call(r, e, t_ms, out);
        break;
    case NODE_AGGREGATE:
        vv_pq_aggregate(r, e, t_ms, out);
        break;
    case NODE_BINARY:
        vv_pq_binary(r, e, t_ms, out);
        break;
    case NODE_NEGATE:
        eval_negate(r, e, t_ms, out);
        break;
    case NODE_PLUS:
        vv_pq_eval(r, e->args[0], t_ms, out);
        break;
    }
    if (r->err != VV_OK) {
        out->n = 0;
    }
}

/* Markers are not samples of a range. */
static void drop_markers(struct vv_pq_run *r, struct vv_promql_series *s)
{
    size_t markers = 0;
    for (size_t i = 0; i < s->n; i++) {
        markers += vv_promql_is_stale(s->samples[i].v) ? 1 : 0;
    }
    if (markers == 0) {
        return;
    }
    struct vv_promql_sample *kept = vv_arena_alloc(r->keep, (s->n + 1) * sizeof *kept);
    size_t n = 0;
    for (size_t i = 0; kept != NULL && i < s->n; i++) {
        if (!vv_promql_is_stale(s->samples[i].v)) {
            kept[n++] = s->samples[i];
        }
    }
    if (kept == NULL) {
        vv_pq_fail(r, NULL, VV_ENOMEM, "the query needs too much memory");
        return;
    }
    s->samples = kept;
    s->n = n;
}

static void fetch(struct vv_pq_run *r, const struct vv_promql_expr *e, int64_t from, int64_t to)
{
    const struct vv_promql_series *found = NULL;
    size_t n = 0;
    const enum vv_err err = r->source->select(r->source->ctx, e->matchers, e->matchers_n, from, to,
                                              r->keep, &found, &n);
    if (err != VV_OK) {
        vv_pq_fail(r, e, err, "no samples to be had: %s", vv_err_text(err));
        return;
    }
    struct vv_promql_series *own = vv_arena_alloc(r->keep, (n + 1) * sizeof *own);
    if (own == NULL) {
        vv_pq_fail(r, e, VV_ENOMEM, "the query needs too much memory");
        return;
    }
    for (size_t i = 0; i < n; i++) {
        own[i] = found[i];
        if (e->kind == NODE_RANGE && vv_pq_work(r, e, own[i].n)) {
            drop_markers(r, &own[i]);
        }
    }
    r->slots[e->slot] = (struct vv_pq_slot){own, n};
}

/* Every selector below, with the times at which it will be looked at. */
static void prepare(struct vv_pq_run *r, const struct vv_promql_expr *e, int64_t from, int64_t to)
{
    if (r->err != VV_OK) {
        return;
    }
    if (e->kind == NODE_SELECTOR || e->kind == NODE_RANGE) {
        const int64_t back = e->kind == NODE_RANGE ? e->range_ms : r->query.lookback_ms;
        fetch(r, e, vv_pq_when(r, e, from) - back, vv_pq_when(r, e, to));
        return;
    }
    if (e->kind == NODE_SUBQUERY) {
        from = vv_pq_when(r, e, from) - e->range_ms;
        to = vv_pq_when(r, e, to);
    }
    for (size_t i = 0; i < e->args_n; i++) {
        prepare(r, e->args[i], from, to);
    }
}

static void defaults(struct vv_promql_query *q)
{
    q->lookback_ms = q->lookback_ms > 0 ? q->lookback_ms : LOOKBACK_MS;
    q->substep_ms = q->substep_ms > 0 ? q->substep_ms : SUBSTEP_MS;
    q->work_max = q->work_max > 0 ? q->work_max : WORK_MAX;
    q->memory_max = q->memory_max > 0 ? q->memory_max : MEMORY_MAX;
    if (q->step_ms <= 0) {
        q->end_ms = q->start_ms;
    }
}

static void collect_value(struct vv_pq_run *r, struct collector *c, const struct vv_promql_expr *e,
                          const struct vv_pq_value *v, int64_t t_ms)
{
    const struct vv_pq_element scalar = {.v = v->scalar};
    const bool is_scalar = e->type == VV_PROMQL_SCALAR;
    const size_t n = is_scalar ? 1 : v->n;
    for (size_t i = 0; i < n && r->err == VV_OK; i++) {
        if (!collect(c, is_scalar ? &scalar : &v->vector[i], t_ms)) {
            vv_pq_fail(r, e, VV_ENOMEM, "the result needs too much memory");
        }
    }
}

static void collect_matrix(struct vv_pq_run *r, struct collector *c, const struct vv_promql_expr *e,
                           const struct vv_pq_value *v)
{
    for (size_t i = 0; i < v->n && r->err == VV_OK; i++) {
        for (size_t k = 0; k < v->matrix[i].n && r->err == VV_OK; k++) {
            const struct vv_promql_sample s = v->matrix[i].samples[k];
            const struct vv_pq_element el = {.labels = v->matrix[i].labels, .v = s.v};
            if (!collect(c, &el, s.t_ms)) {
                vv_pq_fail(r, e, VV_ENOMEM, "the result needs too much memory");
            }
        }
    }
}

static void one_step(struct vv_pq_run *r, const struct vv_promql_expr *e, int64_t t_ms,
                     struct collector *c, struct vv_promql_result *ret)
{
    struct vv_pq_value v = {0};
    vv_pq_eval(r, e, t_ms, &v);
    if (r->err != VV_OK) {
        return;
    }
    if (r->query.step_ms > 0) {
        collect_value(r, c, e, &v, t_ms);
    } else if (e->type == VV_PROMQL_SCALAR) {
        ret->scalar = (struct vv_promql_sample){t_ms, v.scalar};
    } else if (e->type == VV_PROMQL_STRING) {
        ret->text = v.text;
    } else if (e->type == VV_PROMQL_MATRIX) {
        collect_matrix(r, c, e, &v);
    } else {
        collect_value(r, c, e, &v, t_ms);
    }
}

enum vv_err vv_promql_eval(const struct vv_promql_expr *e, const struct vv_promql_source *source,
                           const struct vv_promql_query *query, struct vv_arena *arena,
                           struct vv_promql_result *ret, struct vv_promql_error *reterr)
{
    struct vv_arena step;
    struct vv_pq_run r = {.source = source, .query = *query, .keep = arena, .why = reterr};
    struct vv_promql_result result = {.type = e->type};
    struct collector c = {.arena = arena, .table = {.arena = arena}, .copy_labels = true};
    *reterr = (struct vv_promql_error){.at = 0};
    defaults(&r.query);
    vv_arena_init(&step, NULL, 0, BLOCK_BYTES, r.query.memory_max);
    r.arena = &step;
    if (r.query.step_ms > 0) {
        result.type = VV_PROMQL_MATRIX;
        if (e->type != VV_PROMQL_SCALAR && e->type != VV_PROMQL_VECTOR) {
            vv_pq_fail(&r, e, VV_EINVAL, "a range needs a scalar or an instant vector, not a %s",
                       vv_promql_type_name(e->type));
        }
    }
    r.slots = vv_arena_zalloc(arena, (e->slots + 1) * sizeof *r.slots);
    if (r.slots == NULL) {
        vv_pq_fail(&r, e, VV_ENOMEM, "the query needs too much memory");
    }
    prepare(&r, e, r.query.start_ms, r.query.end_ms);
    for (int64_t t = r.query.start_ms; t <= r.query.end_ms && r.err == VV_OK;
         t += r.query.step_ms > 0 ? r.query.step_ms : 1) {
        one_step(&r, e, t, &c, &result);
        vv_arena_reset(&step);
    }
    vv_arena_fini(&step);
    result.series = c.series;
    result.n = c.table.n;
    if (r.err == VV_OK) {
        *ret = result;
    }
    return r.err;
}
