/* tests/unit/guard/test_fault.c - faults strike their share, in their time, and stop by themselves. */
#include "guard/fault.h"

#include "vv_test.h"

#include <stdlib.h>

#define START (1000 * VV_HOUR)

static struct vv_fault fault_of(enum vv_fault_kind kind, uint64_t share_ppm)
{
    return (struct vv_fault){.kind = kind,
                             .share_ppm = share_ppm,
                             .from_ns = START,
                             .until_ns = START + VV_MINUTE,
                             .delay_ns = 100 * VV_MS,
                             .jitter_ns = 50 * VV_MS,
                             .bytes = 1000,
                             .status = 503};
}

VV_TEST(fault_strikes_its_share_of_requests)
{
    const struct vv_fault f = fault_of(VV_FAULT_ABORT, VV_PPM / 10);
    struct vv_rng rng;
    struct vv_fault_plan plan;
    int struck = 0;
    vv_rng_init(&rng, 1);
    for (int i = 0; i < 100000; i++) {
        if (vv_fault_decide(&f, 1, NULL, &rng, START, &plan)) {
            struck++;
            VV_CHECK_INT(plan.end, VV_FAULT_ABORT);
            VV_CHECK_INT(plan.status, 503);
        }
    }
    /* Binomial: 10,000, deviation sqrt(100,000 x 0.1 x 0.9) = 95; five of them. */
    VV_CHECK(abs(struck - 10000) < 475);
}

VV_TEST(fault_acts_only_between_its_times)
{
    const struct vv_fault f = fault_of(VV_FAULT_RESET, VV_PPM);
    struct vv_rng rng;
    struct vv_fault_plan plan;
    vv_rng_init(&rng, 1);
    VV_CHECK(!vv_fault_decide(&f, 1, NULL, &rng, START - 1, &plan));
    VV_CHECK_INT(plan.end, VV_FAULT_KIND_COUNT);
    VV_CHECK(vv_fault_decide(&f, 1, NULL, &rng, START, &plan));
    VV_CHECK(vv_fault_decide(&f, 1, NULL, &rng, START + VV_MINUTE - 1, &plan));
    VV_CHECK(!vv_fault_decide(&f, 1, NULL, &rng, START + VV_MINUTE, &plan));
}

VV_TEST(faults_together_add_delays_and_take_the_worse)
{
    struct vv_fault f[] = {fault_of(VV_FAULT_DELAY, VV_PPM),    fault_of(VV_FAULT_DELAY, VV_PPM),
                           fault_of(VV_FAULT_TRUNCATE, VV_PPM), fault_of(VV_FAULT_CORRUPT, VV_PPM),
                           fault_of(VV_FAULT_SLOW, VV_PPM),     fault_of(VV_FAULT_SLOW, VV_PPM),
                           fault_of(VV_FAULT_DROP, VV_PPM),     fault_of(VV_FAULT_ABORT, VV_PPM)};
    struct vv_rng rng;
    struct vv_fault_plan plan;
    f[5].bytes = 10;
    vv_rng_init(&rng, 2);
    for (int i = 0; i < 1000; i++) {
        VV_CHECK(vv_fault_decide(f, VV_COUNT(f), NULL, &rng, START, &plan));
        VV_CHECK(plan.delay_ns >= 200 * VV_MS && plan.delay_ns <= 300 * VV_MS);
        VV_CHECK(plan.truncate_at <= 1000);
        VV_CHECK(plan.corrupt_at < 1000);
        VV_CHECK(plan.corrupt_xor != 0);
        VV_CHECK_INT(plan.bytes_per_s, 10);
        VV_CHECK_INT(plan.end, VV_FAULT_DROP); /* it stands first */
        VV_CHECK_INT(plan.hit, 0xFF);
    }
}

VV_TEST(a_seed_gives_the_same_fate_whatever_else_is_active)
{
    struct vv_fault both[] = {fault_of(VV_FAULT_DELAY, VV_PPM / 2),
                              fault_of(VV_FAULT_ABORT, VV_PPM / 3)};
    struct vv_fault late[2] = {both[0], both[1]};
    struct vv_rng rng;
    struct vv_rng again;
    late[0].from_ns = START + 1; /* not yet */
    vv_rng_init(&rng, 3);
    vv_rng_init(&again, 3);
    for (int i = 0; i < 1000; i++) {
        struct vv_fault_plan plan;
        struct vv_fault_plan other;
        vv_fault_decide(both, 2, NULL, &rng, START, &plan);
        vv_fault_decide(late, 2, NULL, &again, START, &other);
        VV_CHECK_INT(plan.hit & 2, other.hit);
    }
}

VV_TEST(a_fault_needs_sense_and_an_end)
{
    struct vv_fault f = fault_of(VV_FAULT_DELAY, VV_PPM);
    for (int k = 0; k < VV_FAULT_KIND_COUNT; k++) {
        f.kind = (enum vv_fault_kind)k;
        VV_CHECK_INT(vv_fault_check(&f, START), VV_OK);
        VV_CHECK(strlen(vv_fault_kind_name(f.kind)) > 3);
    }
    VV_CHECK_INT(vv_fault_check(&f, START + VV_MINUTE), VV_ERANGE); /* over already */
    f.until_ns = START + VV_HOUR + 1;
    VV_CHECK_INT(vv_fault_check(&f, START), VV_ERANGE);
    f.until_ns = 0;
    VV_CHECK_INT(vv_fault_check(&f, START), VV_EINVAL);
    f = fault_of(VV_FAULT_ABORT, VV_PPM);
    f.status = 200;
    VV_CHECK_INT(vv_fault_check(&f, START), VV_EINVAL);
    f = fault_of(VV_FAULT_SLOW, VV_PPM);
    f.bytes = 0;
    VV_CHECK_INT(vv_fault_check(&f, START), VV_EINVAL);
    f = fault_of(VV_FAULT_DROP, VV_PPM + 1);
    VV_CHECK_INT(vv_fault_check(&f, START), VV_EINVAL);
}

VV_TEST(faults_stop_by_themselves_when_the_steady_state_is_left)
{
    const struct vv_fault_watch_conf conf = {
        .bad_ppm_max = VV_PPM / 20, .volume_min = 100, .window_ns = 10 * VV_SEC};
    const struct vv_fault f = fault_of(VV_FAULT_DROP, VV_PPM);
    struct vv_fault_watch w;
    struct vv_fault_plan plan;
    struct vv_rng rng;
    vv_rng_init(&rng, 4);
    VV_CHECK_INT(vv_fault_watch_init(&w, &conf), VV_OK);
    for (int i = 0; i < 95; i++) {
        VV_CHECK(!vv_fault_watch_report(&w, START, false));
    }
    for (int i = 0; i < 5; i++) {
        VV_CHECK(!vv_fault_watch_report(&w, START, true)); /* 5 of 100 is accepted */
    }
    VV_CHECK(vv_fault_decide(&f, 1, &w, &rng, START, &plan));
    VV_CHECK(vv_fault_watch_report(&w, START, true));  /* 6 of 101 */
    VV_CHECK(!vv_fault_watch_report(&w, START, true)); /* said once */
    VV_CHECK(!vv_fault_decide(&f, 1, &w, &rng, START, &plan));
    VV_CHECK_INT(plan.hit, 0);
}
