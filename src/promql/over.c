/* src/promql/over.c - functions over the samples of a range. Sums carry their rounding error along
 * (Kahan, as improved by Neumaier), because a difference of sums is what these functions are for. */
#include "promql/promql_int.h"

#include <math.h>
#include <stdlib.h>

struct sum {
    double v, c;
};

static void sum_add(struct sum *s, double x)
{
    const double t = s->v + x;
    s->c += fabs(s->v) >= fabs(x) ? (s->v - t) + x : (x - t) + s->v;
    s->v = t;
}

static double seconds(int64_t ms)
{
    return (double)ms / 1000;
}

/* What the counter or gauge did over the whole range, judged from the samples inside: the ends are
 * filled in as far as samples come regularly, and a counter is not taken below zero. */
static bool extrapolate(const struct vv_pq_window *w, bool counter, bool per_second, double *ret)
{
    if (w->n < 2) {
        return false;
    }
    const struct vv_promql_sample first = w->samples[0], last = w->samples[w->n - 1];
    double value = last.v - first.v, before = 0;
    for (size_t i = 0; counter && i < w->n; i++) {
        value += w->samples[i].v < before ? before : 0;
        before = w->samples[i].v;
    }
    double to_start = seconds(first.t_ms - w->start_ms);
    const double to_end = seconds(w->end_ms - last.t_ms);
    const double sampled = seconds(last.t_ms - first.t_ms);
    const double average = sampled / (double)(w->n - 1);
    if (counter && value > 0 && first.v >= 0) {
        const double to_zero = sampled * (first.v / value);
        to_start = to_zero < to_start ? to_zero : to_start;
    }
    const double near = average * 1.1;
    double whole = sampled;
    whole += to_start < near ? to_start : average / 2;
    whole += to_end < near ? to_end : average / 2;
    double factor = whole / sampled;
    if (per_second) {
        factor /= seconds(w->end_ms - w->start_ms);
    }
    *ret = value * factor;
    return true;
}

bool vv_pq_rate(struct vv_pq_run *r VV_UNUSED, const struct vv_pq_window *w, double *ret)
{
    return extrapolate(w, true, true, ret);
}

bool vv_pq_increase(struct vv_pq_run *r VV_UNUSED, const struct vv_pq_window *w, double *ret)
{
    return extrapolate(w, true, false, ret);
}

bool vv_pq_delta(struct vv_pq_run *r VV_UNUSED, const struct vv_pq_window *w, double *ret)
{
    return extrapolate(w, false, false, ret);
}

static bool last_two(const struct vv_pq_window *w, bool rate, double *ret)
{
    if (w->n < 2) {
        return false;
    }
    const struct vv_promql_sample last = w->samples[w->n - 1], before = w->samples[w->n - 2];
    *ret = rate && last.v < before.v ? last.v : last.v - before.v;
    if (rate) {
        *ret /= seconds(last.t_ms - before.t_ms);
    }
    return true;
}

bool vv_pq_irate(struct vv_pq_run *r VV_UNUSED, const struct vv_pq_window *w, double *ret)
{
    return last_two(w, true, ret);
}

bool vv_pq_idelta(struct vv_pq_run *r VV_UNUSED, const struct vv_pq_window *w, double *ret)
{
    return last_two(w, false, ret);
}

/* Least squares; the intercept is the line's value at `zero_ms`. */
static void regression(const struct vv_pq_window *w, int64_t zero_ms, double *slope,
                       double *intercept)
{
    struct sum x = {0, 0}, y = {0, 0}, xy = {0, 0}, x2 = {0, 0};
    const double n = (double)w->n;
    bool constant = true;
    for (size_t i = 0; i < w->n; i++) {
        const double at = seconds(w->samples[i].t_ms - zero_ms), v = w->samples[i].v;
        constant = constant && v == w->samples[0].v;
        sum_add(&x, at);
        sum_add(&y, v);
        sum_add(&xy, at * v);
        sum_add(&x2, at * at);
    }
    if (constant) {
        const bool infinite = isinf(w->samples[0].v);
        *slope = infinite ? (double)NAN : 0;
        *intercept = infinite ? (double)NAN : w->samples[0].v;
        return;
    }
    const double sx = x.v + x.c, sy = y.v + y.c, sxy = xy.v + xy.c, sx2 = x2.v + x2.c;
    *slope = (sxy - sx * sy / n) / (sx2 - sx * sx / n);
    *intercept = sy / n - *slope * sx / n;
}

bool vv_pq_deriv(struct vv_pq_run *r VV_UNUSED, const struct vv_pq_window *w, double *ret)
{
    double intercept = 0;
    if (w->n < 2) {
        return false;
    }
    regression(w, w->samples[0].t_ms, ret, &intercept);
    return true;
}

bool vv_pq_predict_linear(struct vv_pq_run *r VV_UNUSED, const struct vv_pq_window *w, double *ret)
{
    double slope = 0, intercept = 0;
    if (w->n < 2) {
        return false;
    }
    regression(w, w->now_ms, &slope, &intercept);
    *ret = slope * w->p1 + intercept;
    return true;
}

bool vv_pq_holt_winters(struct vv_pq_run *r, const struct vv_pq_window *w, double *ret)
{
    const double sf = w->p1, tf = w->p2;
    if (!(sf > 0 && sf < 1 && tf > 0 && tf < 1)) {
        vv_pq_fail(r, NULL, VV_EINVAL, "both factors of holt_winters must be between 0 and 1");
        return false;
    }
    if (w->n < 2) {
        return false;
    }
    double before = 0, level = w->samples[0].v, trend = w->samples[1].v - level;
    for (size_t i = 1; i < w->n; i++) {
        if (i > 1) {
            trend = tf * (level - before) + (1 - tf) * trend;
        }
        const double next = sf * w->samples[i].v + (1 - sf) * (level + trend);
        before = level;
        level = next;
    }
    *ret = level;
    return true;
}

bool vv_pq_sum_over(struct vv_pq_run *r VV_UNUSED, const struct vv_pq_window *w, double *ret)
{
    struct sum s = {0, 0};
    for (size_t i = 0; i < w->n; i++) {
        sum_add(&s, w->samples[i].v);
    }
    *ret = isinf(s.v) ? s.v : s.v + s.c;
    return true;
}

bool vv_pq_avg_over(struct vv_pq_run *r VV_UNUSED, const struct vv_pq_window *w, double *ret)
{
    struct sum mean = {0, 0};
    for (size_t i = 0; i < w->n; i++) {
        const double v = w->samples[i].v, n = (double)(i + 1);
        /* Once infinite, only the other infinity or NaN changes it. */
        const bool same = isinf(v) && (v > 0) == (mean.v > 0);
        if (isinf(mean.v) && (same || isfinite(v))) {
            continue;
        }
        sum_add(&mean, v / n - mean.v / n);
    }
    *ret = isinf(mean.v) ? mean.v : mean.v + mean.c;
    return true;
}

bool vv_pq_count_over(struct vv_pq_run *r VV_UNUSED, const struct vv_pq_window *w, double *ret)
{
    *ret = (double)w->n;
    return true;
}

bool vv_pq_min_over(struct vv_pq_run *r VV_UNUSED, const struct vv_pq_window *w, double *ret)
{
    *ret = w->samples[0].v;
    for (size_t i = 1; i < w->n; i++) {
        *ret = w->samples[i].v < *ret || isnan(*ret) ? w->samples[i].v : *ret;
    }
    return true;
}

bool vv_pq_max_over(struct vv_pq_run *r VV_UNUSED, const struct vv_pq_window *w, double *ret)
{
    *ret = w->samples[0].v;
    for (size_t i = 1; i < w->n; i++) {
        *ret = w->samples[i].v > *ret || isnan(*ret) ? w->samples[i].v : *ret;
    }
    return true;
}

bool vv_pq_last_over(struct vv_pq_run *r VV_UNUSED, const struct vv_pq_window *w, double *ret)
{
    *ret = w->samples[w->n - 1].v;
    return true;
}

bool vv_pq_present_over(struct vv_pq_run *r VV_UNUSED, const struct vv_pq_window *w VV_UNUSED,
                        double *ret)
{
    *ret = 1;
    return true;
}

bool vv_pq_stdvar_over(struct vv_pq_run *r VV_UNUSED, const struct vv_pq_window *w, double *ret)
{
    struct sum mean = {0, 0}, squares = {0, 0};
    for (size_t i = 0; i < w->n; i++) {
        const double delta = w->samples[i].v - (mean.v + mean.c);
        sum_add(&mean, delta / (double)(i + 1));
        sum_add(&squares, delta * (w->samples[i].v - (mean.v + mean.c)));
    }
    *ret = (squares.v + squares.c) / (double)w->n;
    return true;
}

bool vv_pq_stddev_over(struct vv_pq_run *r, const struct vv_pq_window *w, double *ret)
{
    vv_pq_stdvar_over(r, w, ret);
    *ret = sqrt(*ret);
    return true;
}

int vv_pq_double_compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    if (isnan(x) || isnan(y)) {
        return isnan(y) - isnan(x);
    }
    return (x > y) - (x < y);
}

double vv_pq_quantile(double q, const double *sorted, size_t n)
{
    if (n == 0 || isnan(q)) {
        return (double)NAN;
    }
    if (q < 0 || q > 1) {
        return q < 0 ? -(double)INFINITY : (double)INFINITY;
    }
    const double rank = q * (double)(n - 1);
    const size_t low = (size_t)rank, high = low + 1 < n ? low + 1 : n - 1;
    const double weight = rank - floor(rank);
    return sorted[low] * (1 - weight) + sorted[high] * weight;
}

bool vv_pq_quantile_over(struct vv_pq_run *r, const struct vv_pq_window *w, double *ret)
{
    double *v = vv_pq_alloc(r, w->n, sizeof *v);
    if (v == NULL) {
        return false;
    }
    for (size_t i = 0; i < w->n; i++) {
        v[i] = w->samples[i].v;
    }
    qsort(v, w->n, sizeof *v, vv_pq_double_compare);
    *ret = vv_pq_quantile(w->p1, v, w->n);
    return true;
}

bool vv_pq_changes(struct vv_pq_run *r VV_UNUSED, const struct vv_pq_window *w, double *ret)
{
    size_t n = 0;
    for (size_t i = 1; i < w->n; i++) {
        const double a = w->samples[i - 1].v, b = w->samples[i].v;
        n += a != b && !(isnan(a) && isnan(b)) ? 1 : 0;
    }
    *ret = (double)n;
    return true;
}

bool vv_pq_resets(struct vv_pq_run *r VV_UNUSED, const struct vv_pq_window *w, double *ret)
{
    size_t n = 0;
    for (size_t i = 1; i < w->n; i++) {
        n += w->samples[i].v < w->samples[i - 1].v ? 1 : 0;
    }
    *ret = (double)n;
    return true;
}
