/* tests/unit/guard/test_slices.c - counts of the last ten slices, and no more. */
#include "guard/slices.h"

#include "vv_test.h"

VV_TEST(slices_forget_after_ten_of_them)
{
    struct vv_slices s = {0};
    for (uint64_t i = 0; i < 25; i++) {
        vv_slices_add(&s, VV_SEC, 1000 * VV_SEC + i * VV_SEC, 2);
    }
    /* The present one and nine before it. */
    VV_CHECK_INT(vv_slices_sum(&s, VV_SEC, 1024 * VV_SEC), 20);
    VV_CHECK_INT(vv_slices_sum(&s, VV_SEC, 1029 * VV_SEC), 10);
    VV_CHECK_INT(vv_slices_sum(&s, VV_SEC, 1034 * VV_SEC), 0);
    VV_CHECK_INT(vv_slices_sum(&s, VV_SEC, 1023 * VV_SEC), 20); /* a clock that is a little late */
    vv_slices_add(&s, VV_SEC, 1014 * VV_SEC, 5);                /* a round too late: lost */
    VV_CHECK_INT(vv_slices_sum(&s, VV_SEC, 1024 * VV_SEC), 20);
    vv_slices_clear(&s);
    VV_CHECK_INT(vv_slices_sum(&s, VV_SEC, 1024 * VV_SEC), 0);
}

VV_TEST(slices_stay_full_rather_than_wrap)
{
    struct vv_slices s = {0};
    vv_slices_add(&s, VV_SEC, 0, UINT32_MAX);
    vv_slices_add(&s, VV_SEC, 0, 10);
    VV_CHECK(vv_slices_sum(&s, VV_SEC, 0) == UINT32_MAX);
}
