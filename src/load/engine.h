/* src/load/engine.h - runs a plan: threads with loops, users that start on time, honest clocks.
 *
 * Model:     open phases are a schedule of intended starts (schedule.h), split over the threads; a start
 *            that comes late is recorded from its intended time. Closed phases keep a number of users
 *            at work. A user sends one request at a time over its own connection or one of a shared
 *            pool. When full seconds get less than 99 % of what was offered because the generator
 *            could not keep up, the run is marked invalid unless late starts are allowed. A start up
 *            to 10 ms late counts in its second. Closed users keep their connection from iteration to
 *            iteration; one that failed rests 1 ms; at the end of their phase they stop after the
 *            answer in hand. Open users finish their flow after the last phase, for 10 min at most.
 * Agents:    every part needs the same plan, seed and number of threads.
 * Threads:   vv_load_run() blocks its caller; `progress` runs on the calling thread once a second.
 * Errors:    VV_EFILES: not enough descriptors. VV_EINVAL: the certificates to trust cannot be read. Both
 *            before anything is sent.
 */
#ifndef VV_LOAD_ENGINE_H
#define VV_LOAD_ENGINE_H
#include "load/result.h"

struct vv_load_options {
    unsigned threads; /* 0: one */
    bool allow_late;
    uint64_t connections_max; /* 0: by descriptors */
    uint64_t seed;            /* 0: from the system */
    unsigned part, parts;     /* agents: this is part 0..parts-1 of the arrivals; parts 0: all */
    uint64_t start_unix_ns;   /* 0: now; agents begin together */
    bool period_states;       /* agents: `intermediate` holds lines for vv_load_periods_join() */
    /* Once a second with what is known so far; return true to stop. NULL: none. */
    bool (*progress)(void *user, const struct vv_load_result *so_far);
    void *user;
    struct vv_sb *why; /* gets one line when an error has more to say; NULL: nobody wants to know */
    const volatile int *stop; /* set by a signal handler: ends the run, what was measured counts */
};
VV_MUST_CHECK enum vv_err vv_load_run(const struct vv_load_plan *plan,
                                      const struct vv_load_options *options,
                                      struct vv_load_result **ret);
#endif
