/* src/app/upgrade.c - a new binary by exec(2) in place: the process id stays, which service managers
 * like, the sockets stay open, and the old worker goes on until the new one listens. The old binary
 * stays reachable through a descriptor, so a new one that cannot start a worker hands everything back. */
#include "app/supervisor_int.h"
#include "observe/log.h"
#include "os/clock.h"
#include "os/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

void upgrade_failed(struct supervisor *s, const char *why)
{
    vv_error(COMPONENT, "upgrade: %s; nothing changed", why);
    (void)snprintf(s->upgrade.failed, sizeof s->upgrade.failed, "%s", why);
    if (s->current != NULL) {
        (void)vv_control_send(s->current->ctl, VV_CONTROL_UPGRADE_FAILED, 0, why, NULL, 0);
    }
}

/* In a child: the new binary reads the file. Its messages go to our standard error. */
static void exec_check(const struct vv_run *run)
{
    const char *argv[12];
    size_t n = 0;
    sigset_t none;
    argv[n++] = run->exe;
    argv[n++] = "check";
    argv[n++] = "--quiet";
    if (run->profile != NULL) {
        argv[n++] = "--profile";
        argv[n++] = run->profile;
    }
    if (run->env_file != NULL) {
        argv[n++] = "--env-file";
        argv[n++] = run->env_file;
    }
    argv[n++] = run->path;
    argv[n] = NULL;
    if (run->text != NULL) { /* no file: that it starts at all is the check */
        argv[1] = "version";
        argv[2] = NULL;
    }
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)dup2(STDERR_FILENO, STDOUT_FILENO);
    (void)setenv(VV_HANDOVER_CHECK_ENV, VV_HANDOVER_FORMAT, 1);
    (void)execv(run->exe, (char *const *)(uintptr_t)argv);
    _exit(127);
}

void upgrade_begin(struct supervisor *s, uint64_t now_ns)
{
    if (s->stopping || s->upgrade.check_pid != 0 || s->candidate != NULL) {
        vv_warn(COMPONENT, "upgrade: not now, another change is under way");
        return;
    }
    if (s->current == NULL || s->current->state != CHILD_READY) {
        upgrade_failed(s, "there is no running worker to take over from");
        return;
    }
    s->upgrade.failed[0] = '\0';
    const pid_t pid = fork();
    if (pid == 0) {
        exec_check(s->run);
    }
    if (pid < 0) {
        upgrade_failed(s, "cannot start the new binary's check");
        return;
    }
    s->upgrade.check_pid = pid;
    s->upgrade.check_deadline_ns = now_ns + CHECK_NS;
    vv_info(COMPONENT, "upgrade: %s checks the configuration", s->run->exe);
}

static void pack(const struct supervisor *s, struct vv_handover *h)
{
    *h = (struct vv_handover){.sockets = s->sockets,
                              .generation = s->generation,
                              .restarts = s->restarts,
                              .started_wall_ns = s->started_wall_ns,
                              .exe_fd = -1};
    for (size_t i = 0; i < CHILDREN_MAX; i++) {
        const struct child *c = &s->child[i];
        if (c->state == CHILD_FREE || c == s->candidate || c->ctl < 0) {
            continue;
        }
        h->worker[h->workers].pid = c->pid;
        h->worker[h->workers].ctl = c->ctl;
        h->worker[h->workers].generation = c->generation;
        h->worker[h->workers].draining = c->state == CHILD_DRAINING;
        h->workers++;
    }
}

/* Memory that only we and the next image can name: keys belong on no disk and in no environment. */
static int keys_memory(const struct supervisor *s)
{
    const size_t n = strlen(s->keys);
    const int fd = n > 0 ? memfd_create("vivace-keys", MFD_CLOEXEC) : -1;
    if (fd >= 0 && write(fd, s->keys, n) != (ssize_t)n) {
        (void)close(fd);
        return 0;
    }
    return fd >= 0 ? fd : 0;
}

static void keys_adopt(struct supervisor *s, int fd)
{
    if (fd <= 0) {
        return;
    }
    const ssize_t n = pread(fd, s->keys, sizeof s->keys - 1, 0);
    s->keys[n > 0 ? n : 0] = '\0';
    (void)close(fd);
}

/* Returns only when exec(2) failed; then everything is as before. */
static void exec_with(struct supervisor *s, struct vv_handover *h, int exe_fd, const char *path)
{
    struct vv_sb text = VV_SB_INIT;
    h->keys_fd = keys_memory(s);
    vv_handover_write(h, &text);
    if (text.failed || setenv(VV_HANDOVER_ENV, vv_sb_str(&text).p, 1) != 0) {
        if (h->keys_fd > 0) {
            (void)close(h->keys_fd);
        }
        vv_sb_fini(&text);
        return;
    }
    vv_handover_cloexec(h, false);
    (void)fflush(NULL);
    if (exe_fd >= 0) {
        (void)fexecve(exe_fd, s->run->argv, environ);
    } else {
        (void)execv(path, s->run->argv);
    }
    vv_handover_cloexec(h, true);
    if (h->keys_fd > 0) {
        (void)close(h->keys_fd);
    }
    (void)unsetenv(VV_HANDOVER_ENV);
    vv_sb_fini(&text);
}

void upgrade_checked(struct supervisor *s, int status)
{
    struct vv_handover h;
    if (s->stopping) {
        return;
    }
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    if (code != VV_HANDOVER_CHECK_CODE) {
        upgrade_failed(s, code == 0 ? "the new binary cannot take over from this one"
                                    : "the new binary does not accept the configuration");
        return;
    }
    pack(s, &h);
    h.exe_fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    vv_info(COMPONENT, "upgrade: starting %s", s->run->exe);
    exec_with(s, &h, -1, s->run->exe);
    vv_close_fd(&h.exe_fd);
    upgrade_failed(s, "the new binary could not be started");
}

void upgrade_rollback(struct supervisor *s, const char *why)
{
    struct vv_handover h;
    s->candidate = NULL;
    vv_sockets_forget(&s->sockets);
    if (s->upgrade.former_exe_fd >= 0 && s->current != NULL) {
        vv_error(COMPONENT, "upgrade: %s; going back to the former binary", why);
        pack(s, &h);
        (void)snprintf(h.failed, sizeof h.failed, "%s", why);
        exec_with(s, &h, s->upgrade.former_exe_fd, NULL);
        vv_close_fd(&s->upgrade.former_exe_fd);
    }
    upgrade_failed(s, why);
}

static void adopt_worker(struct supervisor *s, const struct vv_handover *h, size_t i,
                         uint64_t now_ns)
{
    struct child *c = &s->child[i];
    *c = (struct child){.state = h->worker[i].draining ? CHILD_DRAINING : CHILD_READY,
                        .pid = h->worker[i].pid,
                        .ctl = h->worker[i].ctl,
                        .generation = h->worker[i].generation,
                        .since_ns = now_ns,
                        .alive_ns = now_ns};
    if (h->worker[i].draining) {
        c->deadline_ns = now_ns + 30 * VV_SEC + KILL_GRACE_NS;
    } else {
        s->current = c;
    }
}

enum vv_err upgrade_adopt(struct supervisor *s, const char *text, uint64_t now_ns)
{
    struct vv_handover h;
    const enum vv_err err = vv_handover_read(text, &h);
    (void)unsetenv(VV_HANDOVER_ENV);
    if (err != VV_OK) {
        return err;
    }
    vv_handover_cloexec(&h, true);
    keys_adopt(s, h.keys_fd);
    s->sockets = h.sockets;
    s->generation = h.generation;
    s->restarts = h.restarts;
    s->started_wall_ns = h.started_wall_ns;
    s->adopted = s->was_ready = true;
    for (size_t i = 0; i < h.workers; i++) {
        adopt_worker(s, &h, i, now_ns);
    }
    if (h.failed[0] != '\0') { /* handed back: the worker never changed */
        vv_close_fd(&h.exe_fd);
        upgrade_failed(s, h.failed);
        return VV_OK;
    }
    s->upgrade.former_exe_fd = h.exe_fd;
    if (s->settings == NULL) {
        upgrade_rollback(s, "the new binary could not read the configuration");
        return VV_OK;
    }
    if (child_start(s, now_ns, &s->candidate) != VV_OK) {
        upgrade_rollback(s, "the new binary could not start a worker");
    }
    return VV_OK;
}
