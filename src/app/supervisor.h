/* src/app/supervisor.h - the small parent: holds the sockets, keeps a worker running, upgrades.
 *
 * Model:     one worker process carries the traffic (worker.h). A crash starts the next one at once
 *            with the configuration that was last in use; the sockets stay open, so nobody is
 *            refused. A binary upgrade replaces this process by exec(2) in place; the new image
 *            starts a worker and only then lets the old one drain. docs/adr/0003-supervisor.md.
 * Threads:   the process's only thread.
 */
#ifndef VV_APP_SUPERVISOR_H
#define VV_APP_SUPERVISOR_H
#include "app/run.h"

/* Runs until stopped; returns the exit code of the process. Takes the settings; NULL is allowed only
 * when a former image handed over (the old worker stays then). */
int vv_supervise(const struct vv_run *run, struct vv_settings *settings);
#endif
