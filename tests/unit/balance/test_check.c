/* tests/unit/balance/test_check.c - when active checks probe and when a server changes state. */
#include "balance/check.h"
#include "vv_test.h"

/* The figures of the seed: interval 10 s, timeout 5 s, 3 retries, start period 30 s. */
static const struct vv_check_conf conf = {.enabled = 1,
                                          .every_ns = 10 * VV_SEC,
                                          .timeout_ns = 5 * VV_SEC,
                                          .fails = 3,
                                          .passes = 2,
                                          .grace_ns = 30 * VV_SEC};

/* Walks time in seconds from `from` to `until`; each probe ends after_s later with `ok`.
 * Returns the second in which the state changed, -1 when it did not. */
static int walk(struct vv_check *c, int from, int until, int after_s, bool ok)
{
    int ends = -1;
    for (int t = from; t <= until; t++) {
        if (ends == t) {
            ends = -1;
            if (vv_check_result(c, ok, (uint64_t)t * VV_SEC)) {
                return t;
            }
        }
        if (vv_check_due(c, (uint64_t)t * VV_SEC)) {
            ends = t + after_s;
            if (after_s == 0) {
                ends = -1;
                if (vv_check_result(c, ok, (uint64_t)t * VV_SEC)) {
                    return t;
                }
            }
        }
    }
    return -1;
}

VV_TEST(a_server_that_refuses_from_the_start_goes_down_at_50_s)
{
    struct vv_check c;
    vv_check_init(&c, &conf, 0, 0);
    /* 0, 10, 20 s are grace; 30, 40, 50 s are the three that count */
    VV_CHECK_INT(walk(&c, 0, 120, 0, false), 50);
    VV_CHECK(!c.up);
}

VV_TEST(a_server_that_hangs_from_the_start_goes_down_at_55_s)
{
    struct vv_check c;
    vv_check_init(&c, &conf, 0, 0);
    /* as above, but each result comes with the timeout of 5 s */
    VV_CHECK_INT(walk(&c, 0, 120, 5, false), 55);
}

VV_TEST(a_failure_of_a_probe_begun_in_the_grace_does_not_count)
{
    struct vv_check c;
    vv_check_init(&c, &conf, 0, 9 * VV_SEC);
    /* probes at 9, 19, 29 (answers at 34: after the grace, begun inside it), 39, 49, 59 */
    VV_CHECK_INT(walk(&c, 0, 120, 5, false), 64);
}

VV_TEST(a_first_success_ends_the_grace)
{
    struct vv_check c;
    vv_check_init(&c, &conf, 0, 0);
    VV_CHECK_INT(walk(&c, 0, 9, 0, true), -1);    /* one probe, at 0 s */
    VV_CHECK_INT(walk(&c, 10, 60, 0, false), 30); /* 10, 20, 30 s */
}

VV_TEST(a_success_between_failures_starts_the_count_again)
{
    struct vv_check c;
    vv_check_init(&c, &conf, 0, 0);
    VV_CHECK_INT(walk(&c, 0, 39, 0, true), -1);
    VV_CHECK_INT(walk(&c, 40, 59, 0, false), -1); /* 40, 50 s: two bad */
    VV_CHECK_INT(walk(&c, 60, 69, 0, true), -1);
    VV_CHECK_INT(walk(&c, 70, 200, 0, false), 90); /* 70, 80, 90 s: three in a row */
}

VV_TEST(a_server_comes_back_after_two_good_probes_in_a_row)
{
    struct vv_check c;
    vv_check_init(&c, &conf, 0, 0);
    VV_CHECK_INT(walk(&c, 0, 50, 0, false), 50);
    VV_CHECK_INT(walk(&c, 51, 69, 0, true), -1);  /* 60 s: one good */
    VV_CHECK_INT(walk(&c, 70, 79, 0, false), -1); /* 70 s: bad again */
    VV_CHECK_INT(walk(&c, 80, 200, 0, true), 90); /* 80, 90 s */
    VV_CHECK(c.up);
}

VV_TEST(probes_keep_their_beat_and_never_overlap)
{
    struct vv_check c;
    vv_check_init(&c, &conf, 100 * VV_SEC, 3 * VV_SEC);
    VV_CHECK(!vv_check_due(&c, 103 * VV_SEC - 1));
    VV_CHECK(vv_check_due(&c, 103 * VV_SEC));
    VV_CHECK(!vv_check_due(&c, 113 * VV_SEC)); /* still running */
    VV_CHECK(!vv_check_result(&c, true, 114 * VV_SEC));
    VV_CHECK(vv_check_due(&c, 114 * VV_SEC)); /* the delayed one */
    VV_CHECK(!vv_check_result(&c, true, 114 * VV_SEC));
    VV_CHECK(!vv_check_due(&c, 123 * VV_SEC - 1)); /* 103 + 2 x 10 */
    VV_CHECK(vv_check_due(&c, 123 * VV_SEC));
    VV_CHECK(!vv_check_result(&c, true, 123 * VV_SEC));
    VV_CHECK(vv_check_due(&c, 300 * VV_SEC)); /* the clock jumped: one probe, not seventeen */
    VV_CHECK(!vv_check_result(&c, true, 300 * VV_SEC));
    VV_CHECK(!vv_check_due(&c, 310 * VV_SEC - 1));
}
