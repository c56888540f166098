/* src/app/child.c - fork without exec: the supervisor has one thread and holds the settings that are
 * in use, so a worker comes back after a crash even when the file on disk is broken by then. */
#include "app/supervisor_int.h"
#include "app/worker.h"
#include "observe/log.h"
#include "os/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

struct child *child_slot(struct supervisor *s)
{
    for (size_t i = 0; i < CHILDREN_MAX; i++) {
        if (s->child[i].state == CHILD_FREE) {
            return &s->child[i];
        }
    }
    return NULL;
}

struct child *child_by_pid(struct supervisor *s, pid_t pid)
{
    for (size_t i = 0; i < CHILDREN_MAX; i++) {
        if (s->child[i].state != CHILD_FREE && s->child[i].pid == pid) {
            return &s->child[i];
        }
    }
    return NULL;
}

size_t children_running(const struct supervisor *s)
{
    size_t n = 0;
    for (size_t i = 0; i < CHILDREN_MAX; i++) {
        n += s->child[i].state != CHILD_FREE;
    }
    return n;
}

/* In the child: keep nothing by which the supervisor talks to others, or their end would not show. */
static void become_worker(struct supervisor *s, int ctl, uint64_t generation)
{
    for (size_t i = 0; i < CHILDREN_MAX; i++) {
        if (s->child[i].state != CHILD_FREE) {
            vv_close_fd(&s->child[i].ctl);
        }
    }
    vv_close_fd(&s->signal_fd);
    vv_close_fd(&s->upgrade.former_exe_fd);
    vv_settings_free(s->former);
    s->former = NULL;
    struct vv_worker_start start = {.run = s->run,
                                    .settings = s->settings,
                                    .sockets = &s->sockets,
                                    .ctl = ctl,
                                    .supervisor = getppid(),
                                    .restarts = s->restarts,
                                    .generation = generation,
                                    .started_wall_ns = s->started_wall_ns,
                                    .upgrade_failed = s->upgrade.failed,
                                    .keys = s->keys};
    const int code = vv_worker_main(&start);
    (void)fflush(NULL);
    _exit(code);
}

enum vv_err child_start(struct supervisor *s, uint64_t now_ns, struct child **ret)
{
    struct vv_sb list = VV_SB_INIT, why = VV_SB_INIT;
    int pair[2] = {-1, -1};
    struct child *c = child_slot(s);
    enum vv_err err = c != NULL ? VV_OK : VV_ELIMIT;
    if (err == VV_OK) {
        err = vv_run_wanted(s->run, s->settings, vv_run_threads(s->settings), &list);
    }
    if (err == VV_OK) {
        err = vv_sockets_want(&s->sockets, vv_sb_str(&list).p, &why);
        if (err != VV_OK) {
            vv_error(COMPONENT, "cannot listen: %s", vv_sb_str(&why).p);
        }
    }
    vv_sb_fini(&list);
    vv_sb_fini(&why);
    if (err != VV_OK || (err = vv_control_pair(pair)) != VV_OK) {
        return err;
    }
    const uint64_t generation = s->generation + 1;
    (void)fflush(NULL); /* what is buffered must not be written twice */
    const pid_t pid = fork();
    if (pid == 0) {
        vv_close_fd(&pair[0]);
        become_worker(s, pair[1], generation);
    }
    vv_close_fd(&pair[1]);
    if (pid < 0) {
        vv_close_fd(&pair[0]);
        return VV_ENOMEM;
    }
    s->generation = generation;
    *c = (struct child){.state = CHILD_STARTING,
                        .pid = pid,
                        .ctl = pair[0],
                        .generation = generation,
                        .threads = vv_run_threads(s->settings),
                        .since_ns = now_ns,
                        .alive_ns = now_ns,
                        .deadline_ns = now_ns + START_NS};
    *ret = c;
    return VV_OK;
}

void child_drain(struct supervisor *s, struct child *c, uint64_t now_ns)
{
    const uint64_t drain_ns = s->settings != NULL ? s->settings->drain_ns : 30 * VV_SEC;
    if (c->state == CHILD_DRAINING) {
        return;
    }
    c->state = CHILD_DRAINING;
    c->deadline_ns = now_ns + drain_ns + KILL_GRACE_NS;
    const uint32_t ms = (uint32_t)vv_min_u64(drain_ns / VV_MS, UINT32_MAX);
    /* A text says that a successor serves already. */
    const char *why = s->stopping ? NULL : "replaced";
    if (vv_control_send(c->ctl, VV_CONTROL_DRAIN, ms, why, NULL, 0) != VV_OK) {
        (void)kill(c->pid, SIGTERM); /* means the same to a worker */
    }
}

void child_forget(struct supervisor *s, struct child *c)
{
    vv_close_fd(&c->ctl);
    if (s->current == c) {
        s->current = NULL;
    }
    if (s->candidate == c) {
        s->candidate = NULL;
    }
    *c = (struct child){.state = CHILD_FREE, .ctl = -1};
}
