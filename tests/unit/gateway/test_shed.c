/* tests/unit/gateway/test_shed.c - who is turned away, how fast, and when they are let in again. */
#include "gateway/shed.h"
#include "vv_test.h"

static struct vv_shed_sample late(uint64_t ms)
{
    return (struct vv_shed_sample){.memory_bytes = 100,
                                   .memory_max_bytes = 1000,
                                   .late_ns = ms * VV_MS,
                                   .late_max_ns = 100 * VV_MS};
}

/* Looks every 100 ms. */
static uint64_t look(struct vv_shed *s, uint64_t now_ns, struct vv_shed_sample sample, int times)
{
    for (int i = 0; i < times; i++) {
        now_ns += 100 * VV_MS;
        vv_shed_tick(s, now_ns, &sample);
    }
    return now_ns;
}

VV_TEST(one_long_turn_refuses_nobody)
{
    struct vv_shed s = {.looks = 0};
    uint64_t now = look(&s, VV_HOUR, late(1), 3);
    now = look(&s, now, late(900), 2);
    now = look(&s, now, late(1), 1);
    (void)look(&s, now, late(900), 2);
    VV_CHECK_INT(vv_shed_word(&s), VV_QUEUE_CLASSES);
}

VV_TEST(standing_lateness_closes_from_the_least_important_class_by_eighths)
{
    struct vv_shed s = {.looks = 0};
    uint64_t now = look(&s, VV_HOUR, late(1), 3);
    now = look(&s, now, late(150), 2);
    VV_CHECK_INT(vv_shed_word(&s), VV_QUEUE_CLASSES);
    now = look(&s, now, late(150), 1); /* the third in a row */
    VV_CHECK(vv_shed_refuses(vv_shed_word(&s), 3, 1));
    VV_CHECK(!vv_shed_refuses(vv_shed_word(&s), 3, 2)); /* two of sixteen */
    VV_CHECK(!vv_shed_refuses(vv_shed_word(&s), 2, 0));
    now = look(&s, now, late(150), 7); /* 8 x 2 sixteenths: all of it */
    VV_CHECK(vv_shed_refuses(vv_shed_word(&s), 3, 15));
    VV_CHECK(!vv_shed_refuses(vv_shed_word(&s), 2, 0));
    now = look(&s, now, late(150), 4);
    VV_CHECK(vv_shed_refuses(vv_shed_word(&s), 2, 7) && !vv_shed_refuses(vv_shed_word(&s), 2, 8));
    (void)look(&s, now, late(150), 100);
    VV_CHECK(vv_shed_refuses(vv_shed_word(&s), 0, 15)); /* there is an end */
}

VV_TEST(it_opens_by_a_sixteenth_every_200_ms_and_only_well_below_the_limit)
{
    struct vv_shed s = {.looks = 0};
    uint64_t now = look(&s, VV_HOUR, late(150), 10);
    const unsigned closed = s.closed;
    VV_CHECK_INT(closed, 16);          /* the third to the tenth look */
    now = look(&s, now, late(95), 20); /* between 90 and 100 %: as it is */
    VV_CHECK_INT(s.closed, closed);
    now = look(&s, now, late(50),
               10); /* 1 s; the last move was long ago: at once, then every 200 ms */
    VV_CHECK_INT(s.closed, closed - 5);
    now = look(&s, now, late(50), 100);
    VV_CHECK_INT(vv_shed_word(&s), VV_QUEUE_CLASSES);
}

VV_TEST(memory_closes_a_whole_class_at_every_look)
{
    struct vv_shed s = {.looks = 0};
    struct vv_shed_sample sample = late(0);
    sample.memory_bytes = 1001;
    uint64_t now = look(&s, VV_HOUR, sample, 1);
    VV_CHECK_INT(vv_shed_word(&s), 3);
    now = look(&s, now, sample, 2);
    VV_CHECK_INT(vv_shed_word(&s), 1);
    sample.memory_bytes = 950;
    now = look(&s, now, sample, 10);
    VV_CHECK_INT(vv_shed_word(&s), 1);
    sample.memory_bytes = 899;
    (void)look(&s, now, sample, 2);
    VV_CHECK_INT(vv_shed_word(&s) & 0xff, 2);
}

VV_TEST(what_is_not_watched_refuses_nobody)
{
    struct vv_shed s = {.looks = 0};
    const struct vv_shed_sample sample = {.memory_bytes = 5000, .late_ns = VV_HOUR};
    (void)look(&s, VV_HOUR, sample, 20);
    VV_CHECK_INT(vv_shed_word(&s), VV_QUEUE_CLASSES);
}
