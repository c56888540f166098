/* tests/unit/os/test_alarm.c - an alarm fires once, never early, and can be moved. */
#include "os/alarm.h"
#include "os/clock.h"
#include "vv_test.h"

static unsigned fired;
static uint64_t fired_ns;

static void on_alarm(struct vv_loop *loop, struct vv_alarm *alarm)
{
    VV_CHECK_INT(alarm->at_ns, 0);
    fired_ns = vv_loop_now(loop);
    fired++;
}

/* Turns until the alarm rang or `until_ns` is past. */
static void wait(struct vv_loop *loop, unsigned times, uint64_t until_ns)
{
    while (fired < times && vv_clock_now() < until_ns) {
        vv_loop_turn(loop, VV_MS);
    }
}

VV_TEST(an_alarm_fires_once_and_not_early)
{
    struct vv_loop *loop = NULL;
    struct vv_alarm alarm;
    fired = 0;
    VV_CHECK_INT(vv_loop_new(&loop), VV_OK);
    VV_CHECK_INT(vv_alarm_open(loop, &alarm, on_alarm), VV_OK);
    const uint64_t at_ns = vv_clock_now() + 3 * VV_MS;
    vv_alarm_at(&alarm, at_ns);
    wait(loop, 1, at_ns + 10 * VV_SEC);
    VV_CHECK_INT(fired, 1);
    VV_CHECK(fired_ns >= at_ns);
    for (int i = 0; i < 5; i++) {
        vv_loop_turn(loop, VV_MS);
    }
    VV_CHECK_INT(fired, 1);
    vv_alarm_at(&alarm, 1); /* long past: at once, and again after having fired */
    wait(loop, 2, vv_clock_now() + 10 * VV_SEC);
    VV_CHECK_INT(fired, 2);
    vv_alarm_close(loop, &alarm);
    vv_alarm_close(loop, &alarm);
    vv_loop_free(loop);
}

VV_TEST(a_moved_alarm_forgets_its_old_time)
{
    struct vv_loop *loop = NULL;
    struct vv_alarm alarm;
    fired = 0;
    VV_CHECK_INT(vv_loop_new(&loop), VV_OK);
    VV_CHECK_INT(vv_alarm_open(loop, &alarm, on_alarm), VV_OK);
    const uint64_t now_ns = vv_clock_now();
    vv_alarm_at(&alarm, now_ns + VV_HOUR);
    vv_alarm_at(&alarm, now_ns + VV_MS); /* nearer */
    wait(loop, 1, now_ns + 10 * VV_SEC);
    VV_CHECK_INT(fired, 1);
    vv_alarm_at(&alarm, vv_clock_now() + VV_MS);
    vv_alarm_at(&alarm, vv_clock_now() + VV_HOUR); /* farther */
    const uint64_t until_ns = vv_clock_now() + 5 * VV_MS;
    wait(loop, 2, until_ns);
    VV_CHECK_INT(fired, 1);
    vv_alarm_close(loop, &alarm);
    vv_loop_free(loop);
}
