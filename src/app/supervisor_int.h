/* src/app/supervisor_int.h - the supervisor's state, shared by supervisor.c, child.c and upgrade.c. */
#ifndef VV_APP_SUPERVISOR_INT_H
#define VV_APP_SUPERVISOR_INT_H
#include "app/control.h"
#include "app/handover.h"
#include "app/policy.h"
#include "app/sockets.h"
#include "app/supervisor.h"
#include <signal.h>

#define COMPONENT "supervisor"
#define CHILDREN_MAX VV_HANDOVER_WORKERS
#define START_NS (30 * VV_SEC)     /* a worker that is not ready by then is given up */
#define CHECK_NS (30 * VV_SEC)     /* the new binary's check of the file */
#define KILL_GRACE_NS (5 * VV_SEC) /* after the drain time a worker is killed */
#define KEYS_BYTES 16384           /* more than a worker ever tells */
#define FRESH_NS (15 * VV_SEC)     /* without a sign of life for longer it is not alive */

#define CHILD_STATES(X)                                                                            \
    X(FREE, "slot is not used")                                                                    \
    X(STARTING, "forked, not listening yet")                                                       \
    X(READY, "carries traffic")                                                                    \
    X(DRAINING, "told to finish; gone soon")
enum child_state {
#define VV_X(name, doc) CHILD_##name,
    CHILD_STATES(VV_X)
#undef VV_X
};

struct child {
    enum child_state state;
    pid_t pid;
    int ctl;
    uint64_t generation;
    unsigned threads;     /* 0: started by a former image, unknown */
    uint64_t since_ns;    /* when it was started */
    uint64_t alive_ns;    /* last message */
    uint64_t deadline_ns; /* STARTING: be ready by; DRAINING: be gone by; 0: none */
};

struct supervisor {
    const struct vv_run *run;
    struct vv_settings *settings; /* in use: a crashed worker comes back with these */
    struct vv_settings *former;   /* before the last reload, while it may be reverted */
    struct vv_sockets sockets;
    struct child child[CHILDREN_MAX];
    struct child *current;   /* carries the traffic; NULL between a crash and the next start */
    struct child *candidate; /* started by an upgrade, takes over when it is ready */
    struct vv_restart restart;
    uint64_t start_at_ns; /* 0: no start is due */
    uint64_t generation, restarts, started_wall_ns;
    uint64_t watchdog_ns, watchdog_at_ns; /* 0: not asked for */
    bool was_ready, adopted, stopping, reload_due;
    char keys[KEYS_BYTES]; /* of session tickets, as the worker told them last; "": none */
    int exit_code;
    bool over;
    int signal_fd;
    struct {             /* binary upgrade */
        pid_t check_pid; /* 0: none running */
        uint64_t check_deadline_ns;
        int former_exe_fd; /* after an exec: the binary to go back to, -1 */
        char failed[512];
    } upgrade;
};

/* child.c */
VV_MUST_CHECK enum vv_err child_start(struct supervisor *s, uint64_t now_ns, struct child **ret);
struct child *child_by_pid(struct supervisor *s, pid_t pid);
struct child *child_slot(struct supervisor *s);
size_t children_running(const struct supervisor *s);
void child_drain(struct supervisor *s, struct child *c, uint64_t now_ns);
void child_forget(struct supervisor *s, struct child *c);

/* upgrade.c */
void upgrade_begin(struct supervisor *s, uint64_t now_ns);
void upgrade_checked(struct supervisor *s, int status);
void upgrade_failed(struct supervisor *s, const char *why);
/* The candidate died or did not get ready: back to the binary before, else stay with the old worker. */
void upgrade_rollback(struct supervisor *s, const char *why);
VV_MUST_CHECK enum vv_err upgrade_adopt(struct supervisor *s, const char *text, uint64_t now_ns);
#endif
