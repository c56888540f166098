/* src/app/worker.h - the process that carries the traffic: its control thread.
 *
 * Model:     runs in a fork of the supervisor: the gateway's threads, and on the main thread a loop
 *            with the admin API, the 1 Hz tick, the guarded reload and the talk with the supervisor.
 *            The end of that talk (the supervisor is gone) means drain and exit.
 * Threads:   called on the only thread of a fresh fork.
 */
#ifndef VV_APP_WORKER_H
#define VV_APP_WORKER_H
#include "app/run.h"
#include "app/sockets.h"
#include <sys/types.h>

struct vv_worker_start {
    const struct vv_run *run;
    struct vv_settings *settings; /* taken */
    struct vv_sockets *sockets;   /* taken: its descriptors are used or closed */
    int ctl;                      /* taken: towards the supervisor */
    pid_t supervisor;
    uint64_t restarts, generation, started_wall_ns;
    const char *upgrade_failed; /* empty: nothing failed */
    const char *keys;           /* of session tickets, from the worker before; empty: none */
};
/* Returns the exit code. */
int vv_worker_main(struct vv_worker_start *start);
#endif
