/* src/load/program.h - what virtual users do: a compiled scenario file, and one user walking through it.
 *
 * Model:     a plan is immutable after loading: phases say when users start, scenarios say what each
 *            does. A user is a small interpreter: the engine asks what comes next, sends the
 *            request, and hands the answer back; captures, expectations, loops, thinking and
 *            templates happen in here, without sockets or clocks.
 * Source:    the Artillery file format (docs/reference/load.md says which part), our short form.
 * Units:     *_ns durations. Threads: a plan is shared by all; a user belongs to one thread.
 * Ownership: a request's slices are valid until the next call for that user.
 * Errors:    VV_ECONFIG: the problems say why, with line and column.
 */
#ifndef VV_LOAD_PROGRAM_H
#define VV_LOAD_PROGRAM_H
#include "base/rng.h"
#include "conf/conf.h"
#include "wire/http1.h"

enum vv_load_arrival { VV_LOAD_EVEN, VV_LOAD_POISSON };

struct vv_load_phase { /* exactly one of rate, count, users or neither (a pause) */
    const char *name;  /* NULL: none */
    uint64_t duration_ns;
    double rate, ramp_to;     /* arrivals per second; ramp_to < 0: constant */
    uint64_t count;           /* arrivals, evenly over the duration */
    const uint64_t *recorded; /* NULL, or `count` rising times since the phase began, ns */
    /* Closed model: users at work. users_to > 0: it becomes that many after ramp_ns (0: over the
     * whole duration). users_to 0 with ramp_ns: from none to `users`. */
    uint64_t users, users_to;
    uint64_t ramp_ns;
    uint64_t users_max; /* open model: users in flight; 0: no limit; more are skipped */
    enum vv_load_arrival arrival;
};

struct vv_load_gate {       /* a condition on the result */
    const char *expression; /* "http.response_time.p95 < 2000" */
    bool strict;            /* a miss fails the run */
    struct vv_conf_pos at;  /* where it stands; line 0: command line */
};

struct vv_load_plan;      /* opaque: scenarios, variables, payloads */
struct vv_load_endpoint { /* what requests are counted under: method and url or name as written */
    const char *name, *method;
    uint32_t scenario;
    const char *key; /* in Artillery's metrics, "URL (name)"; NULL: the same as the name */
};
struct vv_load_tally { /* of one kind of expectation */
    uint64_t ok, failed;
};
struct vv_load_view {   /* of a plan, for engine and reports */
    const char *target; /* base URL */
    const struct vv_load_phase *phase;
    size_t phase_count;
    const char *const *scenario; /* names */
    size_t scenario_count;
    const struct vv_load_endpoint *endpoint;
    size_t endpoint_count;
    const char *const *expect; /* kinds of expectations that stand in the file: "statusCode" */
    size_t expect_count;
    const struct vv_load_gate *gate;
    size_t gate_count;
    uint64_t timeout_ns; /* of one request unless it says its own */
    uint64_t pool;       /* connections shared by all users, UINT64_MAX: as many as are needed at a
                          * time, used again while they live; 0: one for each user */
    bool tls;            /* some request goes to https, as far as the file tells */
    bool tls_insecure;   /* any certificate will do */
    const char *tls_ca;  /* PEM file of those to trust; NULL: those of the system */
    uint64_t start_unix_ns; /* of a recorded log; 0 */
};

struct vv_load_source {
    const char *path, *text; /* text NULL: read the file */
    const char *environment; /* -e */
    const char *target;      /* -t: overrides the file's */
    const char *variables;   /* JSON object or NULL */
    const char *overrides;   /* JSON object merged over config, or NULL */
    const char *payload;     /* CSV path or NULL */
    const char *scenario;    /* only this one, by name */
    bool strict;             /* unknown keys are errors */
    const char *profile; /* smoke, load, stress, spike, or a test of the file; replaces its phases.
                          * path and text NULL: GET to the target */
    bool no_files;       /* text from strangers: no payloads, no body files */
    const char *(*env)(void *user, const char *name); /* NULL: getenv */
    void *env_user;
};
VV_MUST_CHECK enum vv_err vv_load_plan_read(const struct vv_load_source *source,
                                            struct vv_conf_problems *problems,
                                            struct vv_load_plan **ret);
/* `vivace load URL --rate 500 --for 30s`: one endpoint, one phase. method NULL: GET. */
struct vv_load_line {
    const char *url, *method, *body;
    const char *const *headers; /* "name: value" */
    size_t header_count;
    struct vv_load_phase phase;
    uint64_t timeout_ns;
    int expect_status; /* 0: below 400 */
    bool tls_insecure;
    const char *tls_ca; /* as in the view */
};
VV_MUST_CHECK enum vv_err vv_load_plan_line(const struct vv_load_line *line,
                                            struct vv_conf_problems *problems,
                                            struct vv_load_plan **ret);
void vv_load_plan_free(struct vv_load_plan *p);
void vv_load_plan_view(const struct vv_load_plan *p, struct vv_load_view *ret);

struct vv_load_user;
/* Chooses a scenario by weight. NULL: memory is out. Users are used again: reset begins a new one. */
struct vv_load_user *vv_load_user_new(const struct vv_load_plan *p, struct vv_rng *rng);
void vv_load_user_reset(struct vv_load_user *u, struct vv_rng *rng);
void vv_load_user_free(struct vv_load_user *u);
uint32_t vv_load_user_scenario(const struct vv_load_user *u);

struct vv_load_request {
    uint32_t endpoint; /* index in the view */
    bool tls;
    struct vv_str host; /* without port; numeric or a name */
    uint16_t port;
    enum vv_method method; /* for the answer's framing */
    struct vv_str bytes;   /* the whole request: head and body */
    uint64_t timeout_ns;
    bool wants_body;      /* the answer's body must be kept for captures or expectations */
    bool follow_redirect; /* handled in here: a redirect comes back as the next request */
};
enum vv_load_next {
    VV_LOAD_REQUEST, /* send *ret_request, then vv_load_user_answer() or _failed() */
    VV_LOAD_THINK,   /* nothing for *ret_think_ns */
    VV_LOAD_DONE,
    VV_LOAD_FAILED, /* a capture was missing, a template could not be filled in */
};
enum vv_load_next vv_load_user_next(struct vv_load_user *u, struct vv_load_request *ret_request,
                                    uint64_t *ret_think_ns);
/* The answer to the last request: `body` only if it was wanted. Returns NULL when it was as expected,
 * else a short stable name of what was not: "status", "header", "json", "body", "latency", "capture".
 * Every expectation counts in `tally`, one for each of view.expect; NULL: nobody wants to know. */
const char *vv_load_user_answer(struct vv_load_user *u, const struct vv_h1_head *head,
                                struct vv_str body, uint64_t latency_ns,
                                struct vv_load_tally *tally);
/* No answer: the user has failed unless its next step goes on. why: "ECONNREFUSED", "ETIMEDOUT" ... */
void vv_load_user_failed(struct vv_load_user *u, const char *why);
#endif
