/* src/load/usl.h - the universal scalability law: how throughput grows with users, and where it ends.
 *
 * Model:   X(N) = g N / (1 + a (N - 1) + b N (N - 1)): g is the throughput of one, a the share that
 *          waits for one another (contention), b what users cost each other (coherency).
 *          Fitted by least squares on X, with a, b >= 0.
 * Source:  N. J. Gunther, Guerrilla Capacity Planning (2007), chapters 4 to 6.
 * Units:   users and requests a second. Threads: pure.
 */
#ifndef VV_LOAD_USL_H
#define VV_LOAD_USL_H
#include "base/err.h"

struct vv_usl {
    double gamma, alpha, beta;
    double peak_users, peak; /* where X is largest, and X there; peak_users 0: it has no peak */
    double limit;            /* gamma / alpha: what X could reach without coherency; 0: none */
    double residual;         /* root of the mean square error, in units of X */
    bool beyond;             /* the peak lies beyond what was measured: only an extrapolation */
};
/* At least three different loads. VV_EINVAL: fewer, or a load or throughput that is not positive. */
VV_MUST_CHECK enum vv_err vv_usl_fit(const double *users, const double *throughput, size_t count,
                                     struct vv_usl *ret);
double vv_usl_at(const struct vv_usl *u, double users);
/* Index of the knee of a rising curve: farthest above the chord from first to last point. */
size_t vv_usl_knee(const double *users, const double *throughput, size_t count);
#endif
