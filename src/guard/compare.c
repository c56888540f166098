/* src/guard/compare.c - both measures are a difference with a variance that falls as 1 / samples, so
 * one interval serves both. The mixture's width only says for which differences the interval is
 * narrowest; that it holds does not depend on it. */
#include "guard/compare.h"

#include <math.h>

#define TYPICAL_ERRORS 0.02 /* differences worth finding quickly */
#define TYPICAL_TIMES 0.05
#define VARIANCE_MIN 1e-18
#define SAMPLES_LEAST 20

enum vv_err vv_compare_check(const struct vv_compare_conf *c)
{
    const bool good = c->alpha > 0 && c->alpha < 0.5 && c->errors_worse >= 0 &&
                      c->errors_worse < 1 && c->times_worse >= 0 && c->times_worse < 0.5 &&
                      c->errors_fine >= c->errors_worse && c->errors_fine > 0 &&
                      c->times_fine >= c->times_worse && c->times_fine > 0 &&
                      c->samples_min >= SAMPLES_LEAST;
    return good ? VV_OK : VV_EINVAL;
}

/* The mixture's likelihood ratio exp(d^2 T / (2 V (V + T))) x sqrt(V / (V + T)), T = typical^2,
 * reaches 1 / alpha at this |d|. Ville's inequality: it ever does by chance with probability alpha. */
static struct vv_compare_interval interval(double diff, double variance, double typical,
                                           double alpha)
{
    const double v = fmax(variance, VARIANCE_MIN);
    const double t = typical * typical;
    const double half = sqrt(2 * v * (v + t) / t * (log(1 / alpha) + log((v + t) / v) / 2));
    return (struct vv_compare_interval){.diff = diff, .low = diff - half, .high = diff + half};
}

/* The pooled variance is right where the sides are equal, the separate ones where they are not; few
 * errors make both unsure, so the greater is taken, and half an error is added to each side. */
static struct vv_compare_interval compare_errors(const struct vv_compare_side *old_one,
                                                 const struct vv_compare_side *new_one,
                                                 double alpha)
{
    const double n_old = (double)old_one->requests;
    const double n_new = (double)new_one->requests;
    const double e_old = (double)old_one->errors;
    const double e_new = (double)new_one->errors;
    const double p_old = (e_old + 0.5) / (n_old + 1);
    const double p_new = (e_new + 0.5) / (n_new + 1);
    const double p_all = (e_old + e_new + 1) / (n_old + n_new + 2);
    const double pooled = p_all * (1 - p_all) * (1 / n_old + 1 / n_new);
    const double separate = p_old * (1 - p_old) / n_old + p_new * (1 - p_new) / n_new;
    return interval(e_new / n_new - e_old / n_old, fmax(pooled, separate), TYPICAL_ERRORS, alpha);
}

static double count_of(const struct vv_hist *h)
{
    double count = 0;
    for (size_t i = 0; i < VV_HIST_BUCKETS; i++) {
        count += h->bucket[i];
    }
    return count;
}

/* Each request is placed among those of the other side: the share that is quicker, ties half. The
 * mean of the new side's places is the statistic; the places' variances give its variance. */
static struct vv_compare_interval compare_times(const struct vv_hist *old_one,
                                                const struct vv_hist *new_one, double alpha)
{
    const double n_old = count_of(old_one);
    const double n_new = count_of(new_one);
    double below_old = 0;
    double below_new = 0;
    double sum_new = 0;
    double sum_new2 = 0;
    double sum_old = 0;
    double sum_old2 = 0;
    for (size_t i = 0; i < VV_HIST_BUCKETS; i++) {
        const double o = old_one->bucket[i] / n_old;
        const double n = new_one->bucket[i] / n_new;
        const double place_new = below_old + o / 2;
        const double place_old = below_new + n / 2;
        sum_new += n * place_new;
        sum_new2 += n * place_new * place_new;
        sum_old += o * place_old;
        sum_old2 += o * place_old * place_old;
        below_old += o;
        below_new += n;
    }
    const double separate =
        (sum_new2 - sum_new * sum_new) / n_new + (sum_old2 - sum_old * sum_old) / n_old;
    const double equal = (n_old + n_new + 1) / (12 * n_old * n_new); /* if the sides are the same */
    return interval(sum_new - 0.5, fmax(separate, equal), TYPICAL_TIMES, alpha);
}

void vv_compare(const struct vv_compare_conf *conf, const struct vv_compare_side *old_one,
                const struct vv_compare_side *new_one, struct vv_compare_result *ret)
{
    const bool has_times = old_one->times != NULL && new_one->times != NULL;
    bool fine;
    *ret = (struct vv_compare_result){.verdict = VV_VERDICT_OPEN};
    if (old_one->requests < conf->samples_min || new_one->requests < conf->samples_min ||
        (has_times && (count_of(old_one->times) < (double)conf->samples_min ||
                       count_of(new_one->times) < (double)conf->samples_min))) {
        return;
    }
    const double alpha = has_times ? conf->alpha / 2 : conf->alpha;
    ret->errors = compare_errors(old_one, new_one, alpha);
    ret->by_errors = ret->errors.low > conf->errors_worse && new_one->errors >= conf->errors_min;
    fine = ret->errors.high < conf->errors_fine;
    if (has_times) {
        ret->times = compare_times(old_one->times, new_one->times, alpha);
        ret->by_times = ret->times.low > conf->times_worse;
        fine = fine && ret->times.high < conf->times_fine;
    }
    if (ret->by_errors || ret->by_times) {
        ret->verdict = VV_VERDICT_WORSE;
    } else if (fine) {
        ret->verdict = VV_VERDICT_FINE;
    }
}
