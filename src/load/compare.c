/* src/load/compare.c - see the header for the reasons. The t statistic of a resample whose blocks are all
 * equal has no spread; such a resample is left out, and data without any spread is judged by its
 * means alone. */
#include "load/compare.h"

#include <math.h>
#include <stdlib.h>

#define RESAMPLES 4000
#define BLOCKS_MAX 20
#define CONFIDENCE 0.95
#define SAME 1e-3 /* without spread, a smaller change is no change */

struct moments {
    double mean, error; /* standard error of the mean, squared */
};

static struct moments moments_of(const double *v, size_t n)
{
    struct moments m = {0};
    for (size_t i = 0; i < n; i++) {
        m.mean += v[i] / (double)n;
    }
    for (size_t i = 0; i < n; i++) {
        m.error += (v[i] - m.mean) * (v[i] - m.mean);
    }
    m.error /= n > 1 ? (double)(n - 1) * (double)n : 1.0;
    return m;
}

/* Sum and squares of n draws in one pass: what the loop below does four thousand times. */
static struct moments redraw(const double *v, size_t n, double centre, struct vv_rng *rng)
{
    double sum = 0.0, squares = 0.0;
    for (size_t i = 0; i < n; i++) {
        const double x = v[vv_rng_below(rng, n)] - centre;
        sum += x;
        squares += x * x;
    }
    struct moments m = {.mean = sum / (double)n};
    m.error = fmax(squares - (double)n * m.mean * m.mean, 0.0) / ((double)(n - 1) * (double)n);
    return m;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double at_share(const double *sorted, size_t n, double share)
{
    const double at = share * (double)(n - 1);
    const size_t low = (size_t)at;
    const double part = at - (double)low;
    return low + 1 < n ? sorted[low] * (1.0 - part) + sorted[low + 1] * part : sorted[n - 1];
}

/* b - a; `a` may be empty: then b holds differences already. */
static enum vv_err interval(const double *a, size_t a_n, const double *b, size_t b_n,
                            double confidence, struct vv_rng *rng, struct vv_load_difference *ret)
{
    const struct moments none = {0};
    const struct moments ma = a_n > 0 ? moments_of(a, a_n) : none, mb = moments_of(b, b_n);
    const double change = mb.mean - ma.mean, error = sqrt(ma.error + mb.error);
    double *t = calloc(RESAMPLES, sizeof *t);
    size_t n = 0;
    if (t == NULL) {
        return VV_ENOMEM;
    }
    for (size_t i = 0; i < RESAMPLES && error > 1e-12; i++) {
        const struct moments ra = a_n > 0 ? redraw(a, a_n, ma.mean, rng) : none;
        const struct moments rb = redraw(b, b_n, mb.mean, rng);
        const double e = sqrt(ra.error + rb.error);
        if (e > error * 1e-6) {
            t[n++] = (rb.mean - ra.mean) / e;
        }
    }
    *ret = (struct vv_load_difference){.change = change, .low = change, .high = change};
    if (n < RESAMPLES / 2) {
        ret->significant = fabs(change) > SAME;
    } else {
        qsort(t, n, sizeof *t, by_value);
        ret->low = change - error * at_share(t, n, 0.5 + confidence / 2.0);
        ret->high = change - error * at_share(t, n, 0.5 - confidence / 2.0);
        ret->significant = ret->low > 0.0 || ret->high < 0.0;
    }
    free(t);
    return VV_OK;
}

static void as_ratio(struct vv_load_difference *d)
{
    d->change = expm1(d->change);
    d->low = expm1(d->low);
    d->high = expm1(d->high);
}

static bool positive(const double *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!(v[i] > 0.0)) {
            return false;
        }
    }
    return true;
}

enum vv_err vv_load_compare_pairs(const double *a, const double *b, size_t count, bool relative,
                                  double confidence, struct vv_rng *rng,
                                  struct vv_load_difference *ret)
{
    if (count < VV_LOAD_COMPARE_MIN || (relative && (!positive(a, count) || !positive(b, count)))) {
        return VV_EINVAL;
    }
    double *d = calloc(count, sizeof *d);
    if (d == NULL) {
        return VV_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        d[i] = relative ? log(b[i] / a[i]) : b[i] - a[i];
    }
    const enum vv_err err = interval(NULL, 0, d, count, confidence, rng, ret);
    if (err == VV_OK && relative) {
        as_ratio(ret);
    }
    free(d);
    return err;
}

/* Averages neighbours into at most BLOCKS_MAX blocks of the same length; the rest at the end goes to the
 * last block. Returns how many. */
static size_t blocks(const double *v, size_t n, bool relative, double out[BLOCKS_MAX])
{
    const size_t length = (n + BLOCKS_MAX - 1) / BLOCKS_MAX;
    const size_t count = n / length;
    for (size_t k = 0; k < count; k++) {
        const size_t end = k + 1 == count ? n : (k + 1) * length;
        double sum = 0.0;
        for (size_t i = k * length; i < end; i++) {
            sum += relative ? log(v[i]) : v[i];
        }
        out[k] = sum / (double)(end - k * length);
    }
    return count;
}

enum vv_err vv_load_compare_series(const double *a, size_t a_count, const double *b, size_t b_count,
                                   bool relative, double confidence, struct vv_rng *rng,
                                   struct vv_load_difference *ret)
{
    double block_a[BLOCKS_MAX], block_b[BLOCKS_MAX];
    if (a_count < VV_LOAD_COMPARE_MIN || b_count < VV_LOAD_COMPARE_MIN ||
        (relative && (!positive(a, a_count) || !positive(b, b_count)))) {
        return VV_EINVAL;
    }
    const size_t na = blocks(a, a_count, relative, block_a);
    const size_t nb = blocks(b, b_count, relative, block_b);
    const enum vv_err err = interval(block_a, na, block_b, nb, confidence, rng, ret);
    if (err == VV_OK && relative) {
        as_ratio(ret);
    }
    return err;
}

/* ---- results ---- */

static const struct measure {
    const char *name;
    double quantile; /* 0: none */
    bool less_is_good, relative;
} measures[VV_LOAD_MEASURES] = {
    [VV_LOAD_MEASURE_P50] = {"p50", 0.5, true, true},
    [VV_LOAD_MEASURE_P95] = {"p95", 0.95, true, true},
    [VV_LOAD_MEASURE_P99] = {"p99", 0.99, true, true},
    [VV_LOAD_MEASURE_RATE] = {"answers/s", 0.0, false, true},
    [VV_LOAD_MEASURE_ERRORS] = {"errors", 0.0, true, false},
};

static double in_window(const struct vv_load_window *w, enum vv_load_measure m)
{
    switch (m) {
    case VV_LOAD_MEASURE_P50:
        return (double)w->p50_ns / 1e6;
    case VV_LOAD_MEASURE_P95:
        return (double)w->p95_ns / 1e6;
    case VV_LOAD_MEASURE_P99:
        return (double)w->p99_ns / 1e6;
    case VV_LOAD_MEASURE_RATE:
        return (double)w->completed;
    case VV_LOAD_MEASURE_ERRORS:
    case VV_LOAD_MEASURES:
        break;
    }
    const double all = (double)vv_max_u64(w->completed, w->failed);
    return all > 0.0 ? 100.0 * (double)w->failed / all : 0.0;
}

static double in_result(const struct vv_load_result *r, enum vv_load_measure m)
{
    if (measures[m].quantile > 0.0) {
        return (double)vv_load_hist_quantile(r->latency, measures[m].quantile) / 1e6;
    }
    if (m == VV_LOAD_MEASURE_RATE) {
        return r->duration_ns > 0 ? (double)r->answers * 1e9 / (double)r->duration_ns : 0.0;
    }
    return r->requests > 0 ? 100.0 * (double)r->failed / (double)r->requests : 0.0;
}

/* The first second warms up and the last may be cut short: neither counts. Seconds without answers
 * have no latency. */
static size_t series(const struct vv_load_result *r, enum vv_load_measure m, double *out)
{
    size_t n = 0;
    for (size_t i = 1; i + 1 < r->window_count; i++) {
        const double v = in_window(&r->window[i], m);
        if (!measures[m].relative || v > 0.0) {
            out[n++] = v;
        }
    }
    return n;
}

static void conclude(struct vv_load_measured *d, enum vv_load_measure m, double tolerance)
{
    const double scale = measures[m].relative ? 1.0 : 100.0; /* shares are in percent */
    d->name = measures[m].name;
    d->less_is_good = measures[m].less_is_good;
    const bool more = d->d.significant && d->d.change > tolerance * scale;
    const bool less = d->d.significant && d->d.change < -tolerance * scale;
    d->worse = d->known && (d->less_is_good ? more : less);
    d->better = d->known && (d->less_is_good ? less : more);
}

static double confidence_each(void)
{
    return 1.0 - (1.0 - CONFIDENCE) / VV_LOAD_MEASURES;
}

enum vv_err vv_load_compare_results(const struct vv_load_result *a, const struct vv_load_result *b,
                                    double tolerance, struct vv_rng *rng,
                                    struct vv_load_measured ret[VV_LOAD_MEASURES])
{
    const size_t least = VV_LOAD_COMPARE_MIN + 2;
    if (a->window_count < least || b->window_count < least) {
        return VV_EINVAL;
    }
    double *va = calloc(a->window_count, sizeof *va), *vb = calloc(b->window_count, sizeof *vb);
    enum vv_err err = va != NULL && vb != NULL ? VV_OK : VV_ENOMEM;
    for (unsigned k = 0; k < VV_LOAD_MEASURES && err == VV_OK; k++) {
        const enum vv_load_measure m = (enum vv_load_measure)k;
        const size_t na = series(a, m, va), nb = series(b, m, vb);
        ret[k] = (struct vv_load_measured){.a = in_result(a, m), .b = in_result(b, m)};
        err = vv_load_compare_series(va, na, vb, nb, measures[m].relative, confidence_each(), rng,
                                     &ret[k].d);
        ret[k].known = err == VV_OK;
        err = err == VV_EINVAL ? VV_OK : err;
        conclude(&ret[k], m, tolerance);
    }
    free(va);
    free(vb);
    return err;
}

enum vv_err vv_load_compare_rounds(struct vv_load_result *const *a, struct vv_load_result *const *b,
                                   size_t rounds, double tolerance, struct vv_rng *rng,
                                   struct vv_load_measured ret[VV_LOAD_MEASURES])
{
    if (rounds < VV_LOAD_COMPARE_MIN) {
        return VV_EINVAL;
    }
    double *va = calloc(rounds, sizeof *va), *vb = calloc(rounds, sizeof *vb);
    enum vv_err err = va != NULL && vb != NULL ? VV_OK : VV_ENOMEM;
    for (unsigned k = 0; k < VV_LOAD_MEASURES && err == VV_OK; k++) {
        const enum vv_load_measure m = (enum vv_load_measure)k;
        ret[k] = (struct vv_load_measured){0};
        for (size_t i = 0; i < rounds; i++) {
            va[i] = in_result(a[i], m);
            vb[i] = in_result(b[i], m);
            ret[k].a += va[i] / (double)rounds;
            ret[k].b += vb[i] / (double)rounds;
        }
        err = vv_load_compare_pairs(va, vb, rounds, measures[m].relative, confidence_each(), rng,
                                    &ret[k].d);
        ret[k].known = err == VV_OK;
        err = err == VV_EINVAL ? VV_OK : err;
        conclude(&ret[k], m, tolerance);
    }
    free(va);
    free(vb);
    return err;
}
