/* src/app/worker_int.h - the control thread's state, shared by worker.c and reload.c. */
#ifndef VV_APP_WORKER_INT_H
#define VV_APP_WORKER_INT_H
#include "admin/admin.h"
#include "app/control.h"
#include "app/policy.h"
#include "app/worker.h"

#define WORKER "worker"

#define RELOAD_STATES(X)                                                                           \
    X(IDLE, "no reload is under way")                                                              \
    X(WAITING, "the supervisor was asked for sockets")                                             \
    X(SETTLING, "swapped; the workers are taking it over")
enum reload_state {
#define VV_X(name, doc) RELOAD_##name,
    RELOAD_STATES(VV_X)
#undef VV_X
};

struct given { /* sockets of one listener, as the supervisor passed them */
    char *name, *address;
    int *fds;
    size_t count;
};

struct reload {
    enum reload_state state;
    bool reverting;
    bool again;                /* a signal asked for another one meanwhile */
    struct vv_settings *next;  /* to be used when the sockets are there */
    struct vv_settings *spare; /* a second copy of `next`, see reload.c */
    struct given *given;
    size_t given_count;
    struct vv_timer timeout, settle;
    vv_admin_reload_done *done; /* who asked; NULL: a signal */
    void *arg;
    struct vv_sb warnings; /* JSON list of problems */
};

struct guard {                   /* watches a reload */
    uint64_t since_ns, until_ns; /* until 0: not watching */
    struct vv_guard_sample before;
    struct vv_settings *fallback; /* what was used before */
};

struct worker {
    const struct vv_worker_start *start;
    const struct vv_run *run;
    struct vv_loop *loop;
    struct vv_metrics *metrics;
    struct vv_shard *shard;
    struct vv_history *history;
    struct vv_gateway *gateway;
    struct vv_admin *admin;
    struct vv_admin_process process;
    struct vv_io ctl, signals;
    struct vv_timer tick, ending;
    int socket_fd, admin_fd; /* until the gateway is ready */
    unsigned threads;
    struct vv_settings *in_use_copy; /* of what the gateway has, for a way back; NULL: none */
    struct reload reload;
    struct guard guard;
    const char *last_reload; /* "none", "applied", "refused", "reverted" */
    char last_reason[512];
    uint64_t last_reload_wall_ns;
    bool last_reload_ok;
    char upgrade_failed[512];
    uint64_t keys_generation; /* of the ticket keys that the supervisor has */
    bool draining, ending_now;
    bool replaced; /* drains because a successor serves already */
    int exit_code;
    struct vv_control_msg msg;
};

void reload_init(struct worker *w);
void reload_fini(struct worker *w);
/* `done` may be NULL; it runs once, now or later. */
void reload_begin(struct worker *w, vv_admin_reload_done *done, void *arg);
/* The supervisor's part of it. */
void reload_on_give(struct worker *w, const struct vv_control_msg *m);
void reload_on_given(struct worker *w);
void reload_on_refused(struct worker *w, const char *why);
/* Once a second. */
void guard_tick(struct worker *w);

/* seccomp.c: forbids system calls a gateway never makes. VV_EUNSUPPORTED: not in this kernel or build. */
VV_MUST_CHECK enum vv_err vv_seccomp_install(void);
#endif
