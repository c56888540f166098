/* src/load/usl.c - Levenberg-Marquardt on the throughput itself. The textbook's way, a parabola through
 * N/X - 1, weighs small throughputs too much and forces the curve through the first point; it serves
 * as the start only. Three unknowns: the normal equations are solved by elimination. */
#include "load/usl.h"

#include <math.h>

#define UNKNOWNS 3
#define ITERATIONS 500
#define DAMPING_MAX 1e12

double vv_usl_at(const struct vv_usl *u, double n)
{
    return u->gamma * n / (1.0 + u->alpha * (n - 1.0) + u->beta * n * (n - 1.0));
}

/* Solves m x = v in place; false when m is singular. */
static bool solve(double m[UNKNOWNS][UNKNOWNS], double v[UNKNOWNS])
{
    for (int c = 0; c < UNKNOWNS; c++) {
        int best = c;
        for (int r = c + 1; r < UNKNOWNS; r++) {
            best = fabs(m[r][c]) > fabs(m[best][c]) ? r : best;
        }
        if (fabs(m[best][c]) < 1e-300) {
            return false;
        }
        for (int k = 0; k < UNKNOWNS; k++) {
            const double t = m[c][k];
            m[c][k] = m[best][k];
            m[best][k] = t;
        }
        const double t = v[c];
        v[c] = v[best];
        v[best] = t;
        for (int r = 0; r < UNKNOWNS; r++) {
            const double f = r == c ? 0.0 : m[r][c] / m[c][c];
            for (int k = c; k < UNKNOWNS; k++) {
                m[r][k] -= f * m[c][k];
            }
            v[r] -= f * v[c];
        }
    }
    for (int c = 0; c < UNKNOWNS; c++) {
        v[c] /= m[c][c];
    }
    return true;
}

/* The parabola N/X = c0 + c1 (N - 1) + c2 N (N - 1): g = 1/c0, a = c1/c0, b = c2/c0. */
static void start(const double *n, const double *x, size_t count, struct vv_usl *u)
{
    double m[UNKNOWNS][UNKNOWNS] = {{0}}, v[UNKNOWNS] = {0}, best = 0.0;
    for (size_t i = 0; i < count; i++) {
        const double row[UNKNOWNS] = {1.0, n[i] - 1.0, n[i] * (n[i] - 1.0)};
        best = fmax(best, x[i] / n[i]);
        for (int r = 0; r < UNKNOWNS; r++) {
            for (int c = 0; c < UNKNOWNS; c++) {
                m[r][c] += row[r] * row[c];
            }
            v[r] += row[r] * n[i] / x[i];
        }
    }
    u->gamma = best;
    u->alpha = 0.01;
    u->beta = 1e-6;
    if (solve(m, v) && v[0] > 0.0) {
        u->gamma = 1.0 / v[0];
        u->alpha = fmax(v[1] / v[0], 0.0);
        u->beta = fmax(v[2] / v[0], 0.0);
    }
}

static double squares(const struct vv_usl *u, const double *n, const double *x, size_t count)
{
    double sum = 0.0;
    for (size_t i = 0; i < count; i++) {
        const double d = x[i] - vv_usl_at(u, n[i]);
        sum += d * d;
    }
    return sum;
}

/* One damped step from *u; returns the point it leads to, bounds kept. */
static bool step(const struct vv_usl *u, const double *n, const double *x, size_t count,
                 double damping, struct vv_usl *ret)
{
    double m[UNKNOWNS][UNKNOWNS] = {{0}}, v[UNKNOWNS] = {0};
    for (size_t i = 0; i < count; i++) {
        const double d = 1.0 + u->alpha * (n[i] - 1.0) + u->beta * n[i] * (n[i] - 1.0);
        const double slope = -u->gamma * n[i] / (d * d);
        const double row[UNKNOWNS] = {n[i] / d, slope * (n[i] - 1.0), slope * n[i] * (n[i] - 1.0)};
        for (int r = 0; r < UNKNOWNS; r++) {
            for (int c = 0; c < UNKNOWNS; c++) {
                m[r][c] += row[r] * row[c];
            }
            v[r] += row[r] * (x[i] - vv_usl_at(u, n[i]));
        }
    }
    const double at[UNKNOWNS] = {u->gamma, u->alpha, u->beta};
    for (int k = 1; k < UNKNOWNS; k++) {
        /* A parameter at its bound that wants to leave it downwards stays out of this step. */
        if (at[k] <= 0.0 && v[k] < 0.0) {
            for (int c = 0; c < UNKNOWNS; c++) {
                m[k][c] = m[c][k] = 0.0;
            }
            m[k][k] = 1.0;
            v[k] = 0.0;
        }
    }
    for (int r = 0; r < UNKNOWNS; r++) {
        m[r][r] *= 1.0 + damping;
    }
    if (!solve(m, v)) {
        return false;
    }
    *ret = *u;
    ret->gamma = fmax(u->gamma + v[0], 1e-12);
    ret->alpha = fmax(u->alpha + v[1], 0.0);
    ret->beta = fmax(u->beta + v[2], 0.0);
    return true;
}

static void finish(const double *n, size_t count, double error, struct vv_usl *u)
{
    double most = 0.0;
    for (size_t i = 0; i < count; i++) {
        most = fmax(most, n[i]);
    }
    u->residual = sqrt(error / (double)count);
    u->limit = u->alpha > 0.0 ? u->gamma / u->alpha : 0.0;
    u->peak_users = u->beta > 0.0 && u->alpha < 1.0 ? sqrt((1.0 - u->alpha) / u->beta) : 0.0;
    u->peak = u->peak_users > 0.0 ? vv_usl_at(u, u->peak_users) : 0.0;
    u->beyond = u->peak_users == 0.0 || u->peak_users > most;
}

static size_t different(const double *n, size_t count)
{
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        bool before = false;
        for (size_t k = 0; k < i; k++) {
            before = before || n[k] == n[i];
        }
        found += before ? 0 : 1;
    }
    return found;
}

enum vv_err vv_usl_fit(const double *n, const double *x, size_t count, struct vv_usl *ret)
{
    struct vv_usl u = {0}, next = {0};
    double damping = 1e-3;
    for (size_t i = 0; i < count; i++) {
        if (!(n[i] > 0.0) || !(x[i] > 0.0) || !isfinite(n[i]) || !isfinite(x[i])) {
            return VV_EINVAL;
        }
    }
    if (different(n, count) < UNKNOWNS) {
        return VV_EINVAL;
    }
    start(n, x, count, &u);
    double error = squares(&u, n, x, count);
    for (int i = 0; i < ITERATIONS && damping < DAMPING_MAX; i++) {
        const bool ok = step(&u, n, x, count, damping, &next);
        const double then = ok ? squares(&next, n, x, count) : INFINITY;
        if (!(then < error)) {
            damping *= 10.0;
            continue;
        }
        u = next;
        error = then;
        damping = fmax(damping / 10.0, 1e-15);
    }
    finish(n, count, error, &u);
    *ret = u;
    return VV_OK;
}

size_t vv_usl_knee(const double *n, const double *x, size_t count)
{
    size_t knee = 0;
    double far = 0.0;
    if (count < 3) {
        return count > 0 ? count - 1 : 0;
    }
    const double dn = n[count - 1] - n[0], dx = x[count - 1] - x[0];
    for (size_t i = 0; i < count; i++) {
        /* Twice the area over the chord: proportional to the distance. */
        const double above = dn * (x[i] - x[0]) - dx * (n[i] - n[0]);
        if (above > far) {
            far = above;
            knee = i;
        }
    }
    return knee;
}
