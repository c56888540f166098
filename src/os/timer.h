/* src/os/timer.h - hierarchical timer wheel: O(1) arm, disarm and re-arm.
 *
 * Model:   4 levels of 256 slots, tick 1 ms. The wheel knows no clock: time comes in as now_ns.
 *          Lazy re-arm: `at_ns` is the truth, the slot only a hint that is never too late.
 * Source:  Varghese and Lauck, Hashed and Hierarchical Timing Wheels (SOSP 1987), scheme 7.
 * Threads: one owner. Ownership: timers are embedded in the caller's structs.
 */
#ifndef VV_OS_TIMER_H
#define VV_OS_TIMER_H
#include "base/list.h"

struct vv_loop;
struct vv_timer;
typedef void vv_timer_fn(struct vv_loop *loop, struct vv_timer *t);

struct vv_timer {
    struct vv_list node;
    vv_timer_fn *fn;
    uint64_t at_ns;   /* when it should fire; meaningful while armed */
    uint64_t slot_ns; /* PRIVATE: when its slot is looked at; <= at_ns rounded up to a tick */
    bool armed;
};

static inline void vv_timer_init(struct vv_timer *t, vv_timer_fn *fn)
{
    vv_list_init(&t->node);
    t->fn = fn;
    t->at_ns = t->slot_ns = 0;
    t->armed = false;
}

#define VV_WHEEL_LEVELS 4
#define VV_WHEEL_SLOTS 256
#define VV_WHEEL_TICK_NS VV_MS
struct vv_wheel { /* PRIVATE */
    struct vv_list slot[VV_WHEEL_LEVELS][VV_WHEEL_SLOTS];
    uint64_t used[VV_WHEEL_LEVELS][VV_WHEEL_SLOTS / 64]; /* bit per slot that may hold a timer */
    uint64_t tick;                                       /* last tick that was run */
    size_t armed;
};
void vv_wheel_init(struct vv_wheel *w, uint64_t now_ns);
void vv_wheel_arm(struct vv_wheel *w, struct vv_timer *t, uint64_t at_ns);
void vv_wheel_disarm(struct vv_wheel *w, struct vv_timer *t);
/* Fires everything due; returns how many fired. A callback may arm and disarm any timer. */
size_t vv_wheel_run(struct vv_wheel *w, struct vv_loop *loop, uint64_t now_ns);
/* No timer fires before the returned time, which may be early (a slot hint); UINT64_MAX when none
 * is armed. */
uint64_t vv_wheel_next(const struct vv_wheel *w);
#endif
