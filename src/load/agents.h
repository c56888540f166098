/* src/load/agents.h - one run split over processes or hosts; what they measured is added exactly.
 *
 * Model:     an agent waits for a coordinator: one at a time. Both speak frames over TCP, "name
 *            length\n" and that many bytes: hello (token), welcome or denied, job, ready or
 *            refused, start, period (one for each ten seconds), result; stop ends a run early, and so does a connection that breaks.
 *            Agent i of n makes every n-th arrival, so all together make each arrival once. They
 *            begin at the same wall-clock time: hosts need synchronised clocks.
 * Safety:    an agent sends load to whatever it is told. It belongs on loopback or behind a token;
 *            frames are not encrypted.
 * Threads:   calls block. Ownership: results are the caller's.
 * Errors:    VV_EACCES: wrong token. VV_ECONFIG: an agent refused the plan; the text says why.
 *            VV_ETIMEOUT, VV_ECLOSED: an agent is gone.
 */
#ifndef VV_LOAD_AGENTS_H
#define VV_LOAD_AGENTS_H
#include "load/engine.h"
#include "load/report.h"
#include "os/sock.h"

struct vv_load_job { /* what one `vivace load` command line means */
    bool is_line;
    struct vv_load_source source; /* env is not sent: each agent asks its own environment */
    struct vv_load_line line;
    unsigned threads;
    bool allow_late;
    uint64_t seed;
};
void vv_load_job_write(const struct vv_load_job *job, struct vv_sb *out);
/* Texts of *ret live as long as *ret_memory: vv_load_job_free(). VV_ESYNTAX: it is no job. */
VV_MUST_CHECK enum vv_err vv_load_job_read(struct vv_str text, struct vv_load_job *ret,
                                           void **ret_memory);
void vv_load_job_free(void *memory);
VV_MUST_CHECK enum vv_err vv_load_job_plan(const struct vv_load_job *job,
                                           struct vv_conf_problems *problems,
                                           struct vv_load_plan **ret);

struct vv_load_agent {
    int listen_fd;
    const char *token; /* NULL: none is asked for */
    const volatile int *stop;
    void (*log)(void *user, const char *text); /* one line for each thing that happens */
    void *user;
};
/* Serves coordinators until *stop. */
VV_MUST_CHECK enum vv_err vv_load_agent_serve(const struct vv_load_agent *agent);

struct vv_load_crew {
    const struct vv_addr *agent;
    size_t count; /* 1 .. VV_LOAD_AGENTS_MAX */
    const char *token;
    const struct vv_load_job *job;
    const struct vv_load_plan *plan; /* the coordinator's own, of the same job */
    const volatile int *stop;
};
#define VV_LOAD_AGENTS_MAX 64
/* The text goes to *reterr_why when something failed. */
VV_MUST_CHECK enum vv_err vv_load_agents_run(const struct vv_load_crew *crew,
                                             struct vv_load_result **ret, struct vv_sb *reterr_why);
#endif
