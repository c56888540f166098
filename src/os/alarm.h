/* src/os/alarm.h - one precise wake-up for a loop: some tens of microseconds instead of the wheel's ticks.
 *
 * Model:     a kernel timer that wakes the loop like a socket does. It costs a system call to set
 *            and a turn of the loop to fire, so it is for the few who pay for precision (the start
 *            times of a load test), not for timeouts: those belong to vv_loop_timer_at().
 * Units:     at_ns is CLOCK_MONOTONIC. Never fires early; what is past fires at once.
 * Threads:   the loop's own thread. Ownership: embedded in the caller's struct.
 * Errors:    VV_EFILES, VV_ENOMEM, VV_EIO from the kernel.
 */
#ifndef VV_OS_ALARM_H
#define VV_OS_ALARM_H
#include "os/loop.h"

struct vv_alarm;
typedef void vv_alarm_fn(struct vv_loop *loop, struct vv_alarm *alarm);
struct vv_alarm {
    struct vv_io io; /* PRIVATE */
    vv_alarm_fn *fn;
    uint64_t at_ns; /* what it is set to; 0: not set */
};

VV_MUST_CHECK enum vv_err vv_alarm_open(struct vv_loop *loop, struct vv_alarm *alarm,
                                        vv_alarm_fn *fn);
void vv_alarm_close(struct vv_loop *loop, struct vv_alarm *alarm); /* harmless when not open */
/* Sets or moves it. It fires once. */
void vv_alarm_at(struct vv_alarm *alarm, uint64_t at_ns);
#endif
