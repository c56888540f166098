/* src/load/schedule.h - when users start: the phases of a plan as one rising sequence of times.
 *
 * Model:     open phases: the rate is constant inside each second (a ramp takes a step each second,
 *            its last second runs at the rate reached), arrivals lie evenly inside it or follow a
 *            Poisson process of that rate. A count is spread over its phase. Closed phases: one
 *            start for each user that begins to work; how many work at a time is asked with
 *            vv_load_schedule_users(). Parts (threads, agents) take every parts-th start, so that
 *            together they are exactly the plan: all of them walk the same sequence.
 * Source:    Artillery's phases (ramps by the second); a Poisson process of changing rate by
 *            stretching one of rate 1 (Cinlar 1975).
 * Units:     ns since the start of the run. Threads: one owner; pure, no clock.
 * Ownership: phases are borrowed and stay the caller's.
 */
#ifndef VV_LOAD_SCHEDULE_H
#define VV_LOAD_SCHEDULE_H
#include "load/program.h"

struct vv_load_start {
    uint64_t at_ns;
    size_t phase;
    uint64_t index; /* of this start within its phase, over all parts */
};

struct vv_load_schedule { /* PRIVATE */
    const struct vv_load_phase *phase;
    size_t phase_count, at;
    uint64_t phase_at_ns; /* when phase `at` begins */
    unsigned part, part_count, parts;
    uint64_t walked; /* starts of all parts so far */
    uint64_t index;  /* the same within the phase */
    struct vv_rng rng;
    bool begun;      /* phase `at` has its first position */
    double position; /* of the next arrival, counted in expected arrivals since the phase began */
    uint64_t second; /* of the phase, and the expected arrivals before it */
    double before;
};

/* Arrivals of Poisson phases are the same in all parts that have the same seed. */
void vv_load_schedule_init(struct vv_load_schedule *s, const struct vv_load_phase *phases,
                           size_t count, unsigned part, unsigned parts, uint64_t seed);
/* Takes `count` parts at once, from part `first` on. Before the first start. */
void vv_load_schedule_parts(struct vv_load_schedule *s, unsigned first, unsigned count,
                            unsigned parts);
/* The next start of this part. False: there are no more. */
bool vv_load_schedule_next(struct vv_load_schedule *s, struct vv_load_start *ret);
/* Length of all phases. */
uint64_t vv_load_schedule_length(const struct vv_load_phase *phases, size_t count);
bool vv_load_phase_closed(const struct vv_load_phase *p);
/* How many users of a closed phase should be at work `in_ns` after its start; 0 from its end on. */
uint64_t vv_load_schedule_users(const struct vv_load_phase *p, uint64_t in_ns);
/* The most users a closed phase has at once; 0 for open ones. */
uint64_t vv_load_phase_users_max(const struct vv_load_phase *p);
#endif
