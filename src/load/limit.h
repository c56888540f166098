/* src/load/limit.h - finds the highest rate that holds the gates, and says what gave out.
 *
 * Model:     a step is a short run at one rate. Rates double until a step misses, then the interval is
 *            narrowed until it is smaller than `precision`: around what the server got done while it
 *            had too much, else by halves. A step that missed above one that held is run once more
 *            before it is believed: one hiccup must not end the search. At the end both sides of the
 *            interval are tried again, twice as long; one that turns out the other way moves the
 *            interval, a few times at most. A step misses when a strict gate does, or when users pile
 *            up: more wait at its end than at its beginning by over 1.5 % of what arrived, which is
 *            how an open model says "over capacity" before any latency does. Steps under 3 s are too
 *            short to see that.
 * Threads:   pure but for the caller's probe. Ownership: steps are the caller's storage.
 */
#ifndef VV_LOAD_LIMIT_H
#define VV_LOAD_LIMIT_H
#include "load/report.h"

struct vv_load_step {
    double rate;      /* arrivals a second that were asked for */
    double achieved;  /* answers a second */
    double sustained; /* answers a second while users piled up; 0: they did not */
    double users;     /* at work on average: answers a second times service time */
    double p50_ms, p95_ms, p99_ms;
    unsigned times; /* how many usual lengths the step has: set before the probe */
    bool held;
    bool generator; /* the generator was the limit: the step says nothing about the server */
    char why[96];   /* what was missed; "" when it held */
};

struct vv_load_limit_conf {
    double start, max; /* first and last rate to try */
    double precision;  /* 0.02: stop when the interval is narrower than 2 % */
    unsigned steps_max;
};
#define VV_LOAD_STEPS_MAX 64

/* Runs one step; false ends the search (interrupted or failed). */
typedef bool vv_load_probe(void *user, double rate, struct vv_load_step *ret);

struct vv_load_limit {
    double rate;        /* highest that held; 0: not even the first */
    double missed;      /* lowest that missed; 0: none did up to `max` */
    size_t best, worst; /* steps they were; worst is valid when missed > 0 */
    bool generator;     /* the search ended because of the generator */
    bool stopped;       /* by the probe */
    bool confirmed;     /* both ends were tried again for longer, and it stayed with them */
};
/* step[VV_LOAD_STEPS_MAX]; *ret_count steps were run. */
void vv_load_limit_search(const struct vv_load_limit_conf *conf, vv_load_probe *probe, void *user,
                          struct vv_load_step *step, size_t *ret_count, struct vv_load_limit *ret);
/* Fills a step in from its run and the verdicts on it. */
void vv_load_step_judge(const struct vv_load_result *r, struct vv_load_judged j, double rate,
                        struct vv_load_step *ret);

/* ---- what gave out ---- */

/* Sums over the gateway's metrics at one moment, from its Prometheus text. */
struct vv_load_signs {
    bool known;                          /* false: nothing could be read */
    double loop_busy;                    /* seconds, all workers */
    double requests, duration;           /* http_requests_total; seconds of them */
    double upstream_sum, upstream_count; /* seconds of sent requests, and how many */
    double answers_503, answers_429;
    double upstream_503, upstream_429; /* of them, what servers said themselves */
    double servers, servers_up;
    double shed_level; /* the gateway turns requests away because it is late or short of memory */
};
void vv_load_signs_read(struct vv_str prometheus, struct vv_load_signs *ret);

enum vv_load_cause {
    VV_LOAD_CAUSE_UNKNOWN,
    VV_LOAD_CAUSE_NONE, /* nothing gave out */
    VV_LOAD_CAUSE_GENERATOR,
    VV_LOAD_CAUSE_RATE_LIMIT,
    VV_LOAD_CAUSE_SERVERS_DOWN,
    VV_LOAD_CAUSE_POOL,
    VV_LOAD_CAUSE_DEPENDENCY,
    VV_LOAD_CAUSE_CPU,
};
struct vv_load_evidence {
    struct vv_load_signs before, after; /* of the step that missed */
    double seconds;                     /* between them */
    unsigned workers;                   /* of the gateway; 0: unknown */
    double generator_cpu;               /* percent of the generator's threads */
    bool generator_late;
    double share_429, share_503; /* of the answers of the step, 0 to 1 */
};
/* Writes a sentence with the numbers it judged by. */
enum vv_load_cause vv_load_diagnose(const struct vv_load_evidence *e, struct vv_sb *out);
const char *vv_load_cause_name(enum vv_load_cause c); /* "cpu", "upstream-pool" ... */
#endif
