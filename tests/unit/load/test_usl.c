/* tests/unit/load/test_usl.c - the fit against published figures and against itself. */
#include "load/usl.h"
#include "vv_test.h"

#include <math.h>

static void check_near(double got, double want, double share)
{
    if (!(fabs(got - want) <= fabs(want) * share)) {
        fail_msg("%.9g is not within %.4g of %.9g", got, share, want);
    }
}

VV_TEST(the_fit_of_specsdm91_is_the_published_one)
{
    /* SPEC SDM91 on a Sun SPARCcenter 2000; coefficients as the R package usl gives them. */
    static const double n[] = {1, 18, 36, 72, 108, 144, 216};
    static const double x[] = {64.9, 995.9, 1652.4, 1853.2, 1828.9, 1775.0, 1702.2};
    struct vv_usl u;
    VV_CHECK_INT(vv_usl_fit(n, x, 7, &u), VV_OK);
    check_near(u.alpha, 0.02773, 0.001);
    check_near(u.beta, 0.0001044, 0.001);
    check_near(u.gamma, 89.995, 0.001);
    check_near(u.peak_users, 96.52, 0.001);
    check_near(u.peak, 1884.0, 0.001);
    check_near(u.limit, 3246.0, 0.001);
    VV_CHECK(!u.beyond);
}

VV_TEST(a_curve_of_the_law_gives_its_own_coefficients)
{
    const struct vv_usl want = {.gamma = 500.0, .alpha = 0.05, .beta = 0.002};
    static const double n[] = {1, 2, 4, 8, 16, 32};
    double x[6];
    struct vv_usl u;
    for (size_t i = 0; i < 6; i++) {
        x[i] = vv_usl_at(&want, n[i]);
    }
    VV_CHECK_INT(vv_usl_fit(n, x, 6, &u), VV_OK);
    check_near(u.gamma, 500.0, 1e-6);
    check_near(u.alpha, 0.05, 1e-6);
    check_near(u.beta, 0.002, 1e-6);
}

VV_TEST(linear_growth_has_no_peak_and_bounds_hold)
{
    static const double n[] = {1, 2, 4, 8};
    static const double x[] = {101, 203, 401, 812}; /* better than linear in part: a would be < 0 */
    struct vv_usl u;
    VV_CHECK_INT(vv_usl_fit(n, x, 4, &u), VV_OK);
    VV_CHECK(u.alpha >= 0.0 && u.beta >= 0.0);
    VV_CHECK(u.beyond);
    check_near(u.gamma, 101.3, 0.01);
}

VV_TEST(too_little_or_nonsense_is_refused)
{
    static const double n[] = {1, 2, 2, 1}, x[] = {1, 2, 2, 1}, zero[] = {1, 0, 3, 4};
    struct vv_usl u;
    VV_CHECK_INT(vv_usl_fit(n, x, 4, &u), VV_EINVAL); /* two different loads only */
    VV_CHECK_INT(vv_usl_fit(zero, x, 4, &u), VV_EINVAL);
}

VV_TEST(the_knee_is_the_corner)
{
    static const double n[] = {1, 2, 3, 4, 5}, x[] = {10, 20, 30, 31, 32};
    VV_CHECK_INT(vv_usl_knee(n, x, 5), 2);
}
