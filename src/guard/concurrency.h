/* src/guard/concurrency.h - how many requests a service gets at once, found by watching it.
 *
 * Model:     requests pass while fewer than `limit` are in flight. Every window (window_ns, but not
 *            less than four times what an answer takes) the limit is judged
 *            from the median answer time: queue = in flight x (1 - base / time) is how many wait
 *            inside the service. Few: the limit grows, if it is used and more in flight has not
 *            brought less throughput. Many: it shrinks; slowly so, when fewer wait but more in flight
 *            has brought no more answers. Drops (timeouts, refusals of the service) shrink it by a
 *            tenth.
 *            `base`, the time without a queue, is the least smoothed median. It rises only on
 *            evidence that a slower service, not our own queue, is the cause: windows of low load,
 *            or times that do not follow the number in flight. A limit that is used up and stands
 *            still is raised by 30 % for four windows in sixteen or so, to see which of the two it
 *            is; load is never held back to measure.
 * Source:    Brakmo and Peterson, TCP Vegas (1995), in the form of Netflix' concurrency-limits
 *            (thresholds); Uber's Cinnamon (throughput against concurrency).
 * Units:     *_ns monotonic nanoseconds.
 * Threads:   any thread at any time; a window's end is judged by one of them under a lock that the
 *            others only try.
 * Ownership: _new/_free; kept by name across reloads, conf is copied.
 * Errors:    VV_EINVAL for a conf out of range, VV_ENOMEM. */
#ifndef VV_GUARD_CONCURRENCY_H
#define VV_GUARD_CONCURRENCY_H
#include "base/err.h"

struct vv_conc_conf {
    uint64_t initial, min, max; /* 1 <= min <= initial <= max <= 1,000,000 */
    uint64_t window_ns;         /* 10 ms or more; usually 100 ms */
    uint64_t samples_min;       /* answers a window needs; it goes on until then. 10 or more */
};

enum vv_conc_outcome {
    VV_CONC_OK,      /* its time says how the service does */
    VV_CONC_DROPPED, /* timed out or turned away by the service: too much was sent */
    VV_CONC_IGNORED  /* failed quickly, cancelled by the client: says nothing */
};

struct vv_conc_view {
    uint64_t limit, in_flight;
    uint64_t base_ns, time_ns;                             /* 0: not known yet */
    uint64_t refused, windows, grown, shrunk, base_raised; /* since the start */
};

struct vv_conc;
VV_MUST_CHECK enum vv_err vv_conc_new(const struct vv_conc_conf *conf, struct vv_conc **ret);
void vv_conc_free(struct vv_conc *c);
VV_MUST_CHECK enum vv_err vv_conc_conf_set(struct vv_conc *c, const struct vv_conc_conf *conf);
/* True: send it, then call vv_conc_leave() exactly once. */
VV_MUST_CHECK bool vv_conc_enter(struct vv_conc *c);
void vv_conc_leave(struct vv_conc *c, uint64_t now_ns, uint64_t took_ns,
                   enum vv_conc_outcome outcome);
void vv_conc_look(const struct vv_conc *c, struct vv_conc_view *ret);
#endif
