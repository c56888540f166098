/* src/guard/queue.h - who waits for a place, who goes next, who has waited too long.
 *
 * Model:     classes, 0 the most important; the next one is of the most important class that waits.
 *            In calm, first come, first served. A queue that has not been empty, and whose oldest
 *            has waited target_ns or more, for interval_ns is late: then the newest of a class goes
 *            first (the oldest's client has given up, or will), and who has waited target_ns is
 *            let go, but for the keep_min last, so that a free place always finds somebody. An
 *            empty queue is calm again, but for ten intervals it is late as soon as one waits for
 *            target_ns. A full one lets go somebody of the least class.
 * Source:    Nichols and Jacobson, Controlling Queue Delay (2012), as used for requests in
 *            B. Maurer, Fail at Scale (ACM Queue, 2015).
 * Units:     *_ns monotonic nanoseconds.
 * Threads:   one owner.
 * Ownership: waiters are the caller's and in at most one queue; nothing here allocates. */
#ifndef VV_GUARD_QUEUE_H
#define VV_GUARD_QUEUE_H
#include "base/list.h"

#define VV_QUEUE_CLASSES 4

struct vv_queue_conf {
    uint64_t target_ns, interval_ns; /* usually 5 ms and 100 ms */
    uint64_t wait_max_ns;            /* nobody waits longer, calm or late */
    uint64_t capacity;               /* waiters; 0: nobody waits */
    uint64_t keep_min;
};

struct vv_waiter {
    struct vv_list node; /* PRIVATE like the rest; vv_waiter_init() before first use */
    uint64_t since_ns;
    uint8_t class;
};

struct vv_queue { /* PRIVATE */
    struct vv_queue_conf conf;
    struct vv_list waiting[VV_QUEUE_CLASSES]; /* oldest first */
    uint64_t count;
    uint64_t calm_ns; /* when it was last seen calm */
    uint64_t late_ns; /* when it was last left being late; 0: never */
    bool late;
};

void vv_queue_init(struct vv_queue *q, const struct vv_queue_conf *conf);
void vv_waiter_init(struct vv_waiter *w);

/* Who has to go: NULL (w waits), w itself, or another that makes room for it. `class` beyond the
 * last is the last. */
VV_MUST_CHECK struct vv_waiter *vv_queue_push(struct vv_queue *q, struct vv_waiter *w,
                                              uint32_t class, uint64_t now_ns);
/* One that has waited too long, taken out; NULL when there is none. Call until NULL before a pop
 * and from a timer. */
VV_MUST_CHECK struct vv_waiter *vv_queue_expire(struct vv_queue *q, uint64_t now_ns);
VV_MUST_CHECK struct vv_waiter *vv_queue_pop(struct vv_queue *q, uint64_t now_ns); /* or NULL */
void vv_queue_remove(struct vv_queue *q, struct vv_waiter *w); /* its client went away */
#endif
