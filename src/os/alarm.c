/* src/os/alarm.c - a timerfd in the loop's epoll. It is not read when it fires: setting it again
 * clears its count, and edge-triggered means that each expiry is reported once. */
#include "os/alarm.h"

#include <errno.h>
#include <sys/timerfd.h>
#include <unistd.h>

static void on_expiry(struct vv_loop *loop, struct vv_io *io, uint32_t events)
{
    struct vv_alarm *alarm = VV_CONTAINER(io, struct vv_alarm, io);
    (void)events;
    if (alarm->at_ns != 0 && vv_loop_now(loop) >= alarm->at_ns) {
        alarm->at_ns = 0;
        alarm->fn(loop, alarm);
    }
}

enum vv_err vv_alarm_open(struct vv_loop *loop, struct vv_alarm *alarm, vv_alarm_fn *fn)
{
    const int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (fd < 0) {
        return vv_err_from_errno(errno);
    }
    *alarm = (struct vv_alarm){.io = {.fn = on_expiry, .fd = fd}, .fn = fn};
    const enum vv_err err = vv_loop_add(loop, &alarm->io);
    if (err != VV_OK) {
        close(fd);
        alarm->io.fd = -1;
    }
    return err;
}

void vv_alarm_close(struct vv_loop *loop, struct vv_alarm *alarm)
{
    if (alarm->io.added) {
        vv_loop_del(loop, &alarm->io, true);
        close(alarm->io.fd);
        alarm->io.fd = -1;
    }
}

void vv_alarm_at(struct vv_alarm *alarm, uint64_t at_ns)
{
    alarm->at_ns = at_ns > 0 ? at_ns : 1; /* zero would disarm it */
    const struct itimerspec at = {.it_value = {.tv_sec = (time_t)(alarm->at_ns / VV_SEC),
                                               .tv_nsec = (long)(alarm->at_ns % VV_SEC)}};
    /* Fails only for bad arguments. */
    VV_ASSERT(timerfd_settime(alarm->io.fd, TFD_TIMER_ABSTIME, &at, NULL) == 0);
}
