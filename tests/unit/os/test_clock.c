/* tests/unit/os/test_clock.c - clocks go forward, entropy differs, there is a core. */
#include "os/clock.h"
#include "vv_test.h"
#include <sched.h>

VV_TEST(clock_goes_forward)
{
    const uint64_t a = vv_clock_now(), c = vv_clock_thread();
    VV_CHECK(vv_clock_now() >= a);
    VV_CHECK(vv_clock_thread() >= c);
    VV_CHECK(vv_clock_wall() > 1600000000 * VV_SEC); /* after September 2020 */
}

VV_TEST(clock_entropy_differs_and_fills_all)
{
    uint8_t bytes[600]; /* more than the 256 that getrandom promises at once */
    int zeros = 0;
    memset(bytes, 0, sizeof(bytes));
    vv_entropy_fill(bytes, sizeof(bytes));
    for (size_t i = sizeof(bytes) - 64; i < sizeof(bytes); i++) {
        zeros += bytes[i] == 0;
    }
    VV_CHECK(zeros < 16); /* 64 random bytes hold 0.25 zeros on average */
    VV_CHECK(vv_entropy_u64() != vv_entropy_u64());
}

VV_TEST(clock_counts_no_more_cores_than_the_affinity_mask)
{
    cpu_set_t old, one;
    VV_CHECK_INT(sched_getaffinity(0, sizeof(old), &old), 0);
    VV_CHECK(vv_cpu_usable() >= 1 && vv_cpu_usable() <= (unsigned)CPU_COUNT(&old));
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE; i++) {
        if (CPU_ISSET(i, &old)) {
            CPU_SET(i, &one);
            break;
        }
    }
    VV_CHECK_INT(sched_setaffinity(0, sizeof(one), &one), 0);
    VV_CHECK_INT(vv_cpu_usable(), 1);
    VV_CHECK_INT(sched_setaffinity(0, sizeof(old), &old), 0);
}
