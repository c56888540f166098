/* src/load/result.h - what a run measured: filled by the engine, read by gates, reports and searches.
 *
 * Model:     one total and one window per second; each has counters, errors by name and two histograms:
 *            `latency` from the intended start (corrected for coordinated omission) and `service`
 *            from the actual send to the last byte. Windows hold quantiles only, to stay small.
 *            `first_byte` is what Artillery calls response time.
 * Units:     ns, bytes, counts. Threads: owned by one thread after the run.
 */
#ifndef VV_LOAD_RESULT_H
#define VV_LOAD_RESULT_H
#include "load/program.h"
#include "load/recorder.h"

#define VV_LOAD_NAMES_MAX 32 /* different errors; more count as "other" */
#define VV_LOAD_ENDPOINT_NAMES_MAX 12

struct vv_load_named {
    char name[32];
    uint64_t count;
};

struct vv_load_window { /* one second */
    uint64_t at_ns;     /* since the start of the run */
    uint64_t offered, started, completed, failed, late;
    uint64_t bytes_in, in_flight;
    uint64_t p50_ns, p95_ns, p99_ns, max_ns; /* corrected */
};

struct vv_load_endpoint_result {
    uint64_t requests, answers, failed;
    uint64_t codes[600];
    struct vv_load_named error[VV_LOAD_ENDPOINT_NAMES_MAX]; /* why there was no answer */
    size_t error_count;
    struct vv_load_hist *latency, *service, *first_byte;
};

struct vv_load_result {
    struct vv_load_view view; /* of the plan; borrowed */
    uint64_t started_unix_ns;
    uint64_t duration_ns; /* of sending; planned_ns as the phases say */
    uint64_t planned_ns;
    bool closed;                        /* closed model: latency is not corrected */
    uint64_t offered;                   /* arrivals intended (closed: begun) */
    uint64_t requests, answers, failed; /* failed: no answer, or not as expected */
    uint64_t users_created, users_completed, users_failed, users_skipped;
    uint64_t *users_by_scenario;
    uint64_t bytes_in, bytes_out, connections;
    uint64_t tls_handshakes, tls_resumed; /* done; of these with a session from before */
    uint64_t late;                        /* starts more than 1 ms after their time */
    uint64_t late_max_ns;
    uint64_t codes[600];
    struct vv_load_named error[VV_LOAD_NAMES_MAX];
    size_t error_count;
    char tls_error[256]; /* why TLS failed for the first time; "": it did not */
    struct vv_load_hist *latency, *service, *first_byte, *session;
    struct vv_load_hist *tls_connect; /* connecting and handshake, of requests that were answered */
    struct vv_load_hist *by_class[6]; /* first_byte by status / 100 */
    struct vv_load_endpoint_result *endpoint; /* view.endpoint_count */
    struct vv_load_tally *expect;             /* view.expect_count */
    struct vv_load_window *window;
    size_t window_count;
    char *intermediate; /* JSON records of ten seconds each, commas between; NULL: none */
    uint64_t cpu_ns;    /* of the generator */
    unsigned threads;
    const char *invalid; /* why the run says nothing: the generator was the limit; NULL: it does */
    bool interrupted;
    void *owned; /* memory of a view that came from a file; freed with the result */
};

/* What `invalid` may say. */
#define VV_LOAD_INVALID_LATE                                                                       \
    "the generator was late: a full second got less than 99 % of its starts"
#define VV_LOAD_INVALID_CPU "the generator was late: its threads had no CPU time left"
#define VV_LOAD_INVALID_PART "a part of the run was not valid"
/* The constant with this text, for results that came from elsewhere. */
const char *vv_load_invalid_text(struct vv_str text);

VV_MUST_CHECK enum vv_err vv_load_result_new(const struct vv_load_view *view,
                                             struct vv_load_result **ret);
void vv_load_result_free(struct vv_load_result *r);
void vv_load_result_clear(struct vv_load_result *r); /* back to new; the view and the memory stay */
/* Makes room for seconds 0 .. count-1; new ones are empty and have their at_ns. */
VV_MUST_CHECK enum vv_err vv_load_result_windows(struct vv_load_result *r, size_t count);
void vv_load_result_error(struct vv_load_result *r, const char *name, uint64_t n);
void vv_load_endpoint_error(struct vv_load_endpoint_result *e, const char *name, uint64_t n);
/* Adds everything of `from` (of another thread or agent, same plan): windows by their second. */
VV_MUST_CHECK enum vv_err vv_load_result_merge(struct vv_load_result *into,
                                               const struct vv_load_result *from);
#endif
