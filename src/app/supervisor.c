/* src/app/supervisor.c - one poll loop over a signalfd and one socket per worker: nothing here can
 * block for long, and nothing here touches traffic, so that it outlives everything it supervises. */
#include "app/supervisor.h"
#include "app/supervisor_int.h"
#include "app/welcome.h"
#include "observe/log.h"
#include "os/clock.h"
#include "os/proc.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define FILES_WANTED 1048576

static void tell_current(struct supervisor *s, enum vv_control type)
{
    if (s->current != NULL && s->current->state == CHILD_READY) {
        if (vv_control_send(s->current->ctl, type, 0, NULL, NULL, 0) != VV_OK) {
            vv_warn(COMPONENT, "the worker does not listen to %s", vv_control_name(type));
        }
    }
}

static void start_worker(struct supervisor *s, uint64_t now_ns)
{
    struct child *c = NULL;
    s->start_at_ns = 0;
    if (s->settings == NULL) { /* after an upgrade whose file could not be read */
        const enum vv_err err = vv_run_load(s->run, NULL, NULL, &s->settings);
        if (err != VV_OK) {
            vv_error(COMPONENT, "cannot start a worker: %s", vv_err_text(err));
        }
    }
    const enum vv_err err = s->settings == NULL ? VV_ECONFIG : child_start(s, now_ns, &c);
    if (err == VV_OK) {
        s->current = c;
        return;
    }
    if (!s->was_ready) {
        s->exit_code = 1;
        s->over = true;
        return;
    }
    vv_error(COMPONENT, "cannot start a worker: %s; trying again", vv_err_text(err));
    s->start_at_ns = now_ns + VV_SEC;
}

static void stop_begin(struct supervisor *s, uint64_t now_ns)
{
    if (s->stopping) {
        vv_warn(COMPONENT, "stopping at once");
        for (size_t i = 0; i < CHILDREN_MAX; i++) {
            if (s->child[i].state != CHILD_FREE) {
                (void)kill(s->child[i].pid, SIGKILL);
            }
        }
        return;
    }
    s->stopping = true;
    s->start_at_ns = 0;
    (void)vv_proc_notify("STOPPING=1\nSTATUS=finishing requests");
    vv_info(COMPONENT, "draining; a second signal stops at once");
    if (s->upgrade.check_pid != 0) {
        (void)kill(s->upgrade.check_pid, SIGKILL);
    }
    for (size_t i = 0; i < CHILDREN_MAX; i++) {
        if (s->child[i].state != CHILD_FREE) {
            child_drain(s, &s->child[i], now_ns);
        }
    }
    s->over = children_running(s) == 0;
}

static void worker_died(struct supervisor *s, struct child *c, int status, uint64_t now_ns)
{
    char how[64];
    if (WIFSIGNALED(status)) {
        (void)snprintf(how, sizeof how, "killed by signal %d", WTERMSIG(status));
    } else {
        (void)snprintf(how, sizeof how, "exit code %d", WEXITSTATUS(status));
    }
    const bool was_current = s->current == c;
    const bool was_candidate = s->candidate == c;
    const uint64_t lived_ns = now_ns - c->since_ns;
    const pid_t pid = c->pid;
    child_forget(s, c);
    if (s->stopping) {
        s->over = children_running(s) == 0;
        return;
    }
    if (was_candidate) {
        upgrade_rollback(s, "the new worker did not start");
        return;
    }
    if (!was_current) {
        vv_info(COMPONENT, "worker %d has drained and gone (%s)", (int)pid, how);
        return;
    }
    if (!s->was_ready) {
        vv_error(COMPONENT, "the worker could not start (%s)", how);
        s->exit_code = 1;
        s->over = true;
        return;
    }
    s->restarts++;
    vv_sockets_forget(&s->sockets); /* what it may have asked for and not used */
    const uint64_t delay_ns = vv_restart_delay(&s->restart, lived_ns);
    vv_error(COMPONENT, "worker %d ended (%s), starting the next one %s", (int)pid, how,
             delay_ns == 0 ? "now" : "soon");
    if (delay_ns == 0) {
        start_worker(s, now_ns);
    } else {
        s->start_at_ns = now_ns + delay_ns;
    }
}

static void reap(struct supervisor *s, uint64_t now_ns)
{
    for (;;) {
        int status = 0;
        const pid_t pid = waitpid(-1, &status, WNOHANG);
        if (pid <= 0) {
            return;
        }
        struct child *c = child_by_pid(s, pid);
        if (c != NULL) {
            worker_died(s, c, status, now_ns);
        } else if (pid == s->upgrade.check_pid) {
            s->upgrade.check_pid = 0;
            upgrade_checked(s, status);
        }
    }
}

static void on_signal(struct supervisor *s, uint32_t signo, uint64_t now_ns)
{
    switch (signo) {
    case SIGCHLD:
        reap(s, now_ns);
        break;
    case SIGHUP:
        if (s->current == NULL || s->current->state != CHILD_READY) {
            s->reload_due = true;
        }
        tell_current(s, VV_CONTROL_RELOAD);
        break;
    case SIGUSR1:
        for (size_t i = 0; i < CHILDREN_MAX; i++) {
            if (s->child[i].state != CHILD_FREE) {
                (void)vv_control_send(s->child[i].ctl, VV_CONTROL_REOPEN, 0, NULL, NULL, 0);
            }
        }
        break;
    case SIGUSR2:
        upgrade_begin(s, now_ns);
        break;
    default:
        stop_begin(s, now_ns);
        break;
    }
}

static void read_signals(struct supervisor *s, uint64_t now_ns)
{
    struct signalfd_siginfo info;
    while (read(s->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        on_signal(s, info.ssi_signo, now_ns);
    }
}

static void on_ready(struct supervisor *s, struct child *c, uint64_t now_ns)
{
    const bool first = !s->was_ready;
    if (c->state != CHILD_STARTING) {
        return;
    }
    c->state = CHILD_READY;
    c->deadline_ns = 0;
    s->was_ready = true;
    vv_sockets_keep(&s->sockets); /* from now on they outlive any worker */
    vv_sockets_trim(&s->sockets, c->threads);
    if (s->candidate == c) {
        struct child *old = s->current;
        s->candidate = NULL;
        s->current = c;
        vv_close_fd(&s->upgrade.former_exe_fd);
        vv_info(COMPONENT, "upgraded: worker %d carries the traffic", (int)c->pid);
        if (old != NULL) {
            child_drain(s, old, now_ns);
        }
    }
    (void)vv_proc_notify("READY=1\nSTATUS=carrying traffic");
    if (first && !s->adopted && !s->run->quiet) {
        vv_welcome(s->run, s->settings, stdout);
    }
    if (s->reload_due) {
        s->reload_due = false;
        tell_current(s, VV_CONTROL_RELOAD);
    }
}

/* The worker has read the file and uses it: what comes back after a crash must be the same. The
 * worker parsed it first, so a parser bug would have hit there. */
static void on_applied(struct supervisor *s)
{
    struct vv_settings *fresh = NULL;
    vv_sockets_keep(&s->sockets);
    if (vv_run_load(s->run, NULL, NULL, &fresh) != VV_OK) {
        vv_warn(COMPONENT, "the file changed again during the reload: a crash would bring back the "
                           "configuration before it");
        return;
    }
    vv_settings_free(s->former);
    s->former = s->settings;
    s->settings = fresh;
}

static void on_reverted(struct supervisor *s)
{
    vv_sockets_keep(&s->sockets);
    if (s->former != NULL) {
        vv_settings_free(s->settings);
        s->settings = s->former;
        s->former = NULL;
    }
}

static void on_want(struct supervisor *s, struct child *c, const char *list)
{
    struct vv_sb why = VV_SB_INIT;
    if (vv_sockets_want(&s->sockets, list, &why) != VV_OK) {
        (void)vv_control_send(c->ctl, VV_CONTROL_REFUSED, 0, vv_sb_str(&why).p, NULL, 0);
        vv_sb_fini(&why);
        return;
    }
    vv_sb_fini(&why);
    for (size_t i = 0; i < s->sockets.count; i++) {
        const struct vv_socket *k = s->sockets.item[i];
        struct vv_sb line = VV_SB_INIT;
        if (!k->wanted) {
            continue;
        }
        /* A renamed listener keeps its socket, so the worker may have it already; it closes what it
         * does not need. */
        vv_sb_addf(&line, "%s%c%s", k->name, VV_SOCKETS_SEP, k->address);
        const size_t n = k->count < VV_CONTROL_FDS ? k->count : VV_CONTROL_FDS;
        if (vv_control_send(c->ctl, VV_CONTROL_GIVE, 0, vv_sb_str(&line).p, k->fds, n) != VV_OK) {
            vv_warn(COMPONENT, "cannot pass the sockets of %s", k->name);
        }
        vv_sb_fini(&line);
    }
    (void)vv_control_send(c->ctl, VV_CONTROL_GIVEN, 0, NULL, NULL, 0);
}

static void on_message(struct supervisor *s, struct child *c, const struct vv_control_msg *m,
                       uint64_t now_ns)
{
    c->alive_ns = now_ns;
    if (m->type == VV_CONTROL_READY) {
        on_ready(s, c, now_ns);
        return;
    }
    if (c != s->current || s->stopping) {
        return; /* a draining worker has no say any more */
    }
    switch (m->type) {
    case VV_CONTROL_ALIVE:
        (void)vv_proc_notify(m->text);
        break;
    case VV_CONTROL_KEYS:
        if (m->text_bytes < sizeof s->keys) {
            memcpy(s->keys, m->text, m->text_bytes + 1);
        }
        break;
    case VV_CONTROL_RELOADING: {
        char text[64];
        (void)snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%llu",
                       (unsigned long long)(now_ns / VV_US));
        (void)vv_proc_notify(text);
        break;
    }
    case VV_CONTROL_WANT:
        on_want(s, c, m->text);
        break;
    case VV_CONTROL_APPLIED:
        on_applied(s);
        (void)vv_proc_notify("READY=1");
        break;
    case VV_CONTROL_REVERTED:
        on_reverted(s);
        (void)vv_proc_notify("READY=1");
        break;
    case VV_CONTROL_KEPT:
        vv_sockets_forget(&s->sockets);
        (void)vv_proc_notify("READY=1");
        break;
    case VV_CONTROL_UPGRADE:
        upgrade_begin(s, now_ns);
        break;
    case VV_CONTROL_STOP:
        stop_begin(s, now_ns);
        break;
    default:
        break;
    }
}

static void read_child(struct supervisor *s, struct child *c, uint64_t now_ns)
{
    static struct vv_control_msg m; /* 60 KiB; there is one thread */
    for (int i = 0; i < 64 && c->state != CHILD_FREE && c->ctl >= 0; i++) {
        const enum vv_err err = vv_control_recv(c->ctl, &m);
        if (err == VV_EAGAIN) {
            return;
        }
        if (err != VV_OK) {
            vv_close_fd(&c->ctl); /* SIGCHLD tells the rest */
            return;
        }
        for (size_t k = 0; k < m.fds_count; k++) {
            vv_close_fd(&m.fds[k]); /* workers have nothing to give */
        }
        on_message(s, c, &m, now_ns);
    }
}

static void run_deadlines(struct supervisor *s, uint64_t now_ns)
{
    if (s->start_at_ns != 0 && now_ns >= s->start_at_ns && !s->stopping) {
        start_worker(s, now_ns);
    }
    for (size_t i = 0; i < CHILDREN_MAX; i++) {
        struct child *c = &s->child[i];
        if (c->state != CHILD_FREE && c->deadline_ns != 0 && now_ns >= c->deadline_ns) {
            vv_warn(COMPONENT, "worker %d takes too long to %s, killing it", (int)c->pid,
                    c->state == CHILD_STARTING ? "start" : "drain");
            c->deadline_ns = 0;
            (void)kill(c->pid, SIGKILL);
        }
    }
    if (s->upgrade.check_pid != 0 && now_ns >= s->upgrade.check_deadline_ns) {
        (void)kill(s->upgrade.check_pid, SIGKILL);
        s->upgrade.check_deadline_ns = UINT64_MAX;
    }
    if (s->watchdog_ns != 0 && now_ns >= s->watchdog_at_ns) {
        s->watchdog_at_ns = now_ns + s->watchdog_ns / 2;
        if (s->current == NULL || now_ns - s->current->alive_ns < FRESH_NS) {
            (void)vv_proc_notify("WATCHDOG=1");
        }
    }
}

static int wait_ms(const struct supervisor *s, uint64_t now_ns)
{
    uint64_t at_ns = now_ns + 60 * VV_SEC;
    for (size_t i = 0; i < CHILDREN_MAX; i++) {
        if (s->child[i].state != CHILD_FREE && s->child[i].deadline_ns != 0) {
            at_ns = vv_min_u64(at_ns, s->child[i].deadline_ns);
        }
    }
    if (s->start_at_ns != 0) {
        at_ns = vv_min_u64(at_ns, s->start_at_ns);
    }
    if (s->upgrade.check_pid != 0) {
        at_ns = vv_min_u64(at_ns, s->upgrade.check_deadline_ns);
    }
    if (s->watchdog_ns != 0) {
        at_ns = vv_min_u64(at_ns, s->watchdog_at_ns);
    }
    return at_ns <= now_ns ? 0 : (int)((at_ns - now_ns) / VV_MS) + 1;
}

static void turn(struct supervisor *s)
{
    struct pollfd p[CHILDREN_MAX + 1];
    struct child *of[CHILDREN_MAX + 1];
    nfds_t n = 0;
    p[n] = (struct pollfd){.fd = s->signal_fd, .events = POLLIN};
    of[n++] = NULL;
    for (size_t i = 0; i < CHILDREN_MAX; i++) {
        if (s->child[i].state != CHILD_FREE && s->child[i].ctl >= 0) {
            p[n] = (struct pollfd){.fd = s->child[i].ctl, .events = POLLIN};
            of[n++] = &s->child[i];
        }
    }
    if (poll(p, n, wait_ms(s, vv_clock_now())) < 0 && errno != EINTR) {
        return;
    }
    const uint64_t now_ns = vv_clock_now();
    /* Messages before signals: a worker's last words count even when its end is already known. */
    for (nfds_t i = 1; i < n; i++) {
        if (p[i].revents != 0) {
            read_child(s, of[i], now_ns);
        }
    }
    if (p[0].revents != 0) {
        read_signals(s, now_ns);
    }
    run_deadlines(s, now_ns);
}

static enum vv_err catch_signals(struct supervisor *s)
{
    static const int caught[] = {SIGCHLD, SIGHUP, SIGUSR1, SIGUSR2, SIGINT, SIGTERM, SIGQUIT};
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < VV_COUNT(caught); i++) {
        sigaddset(&set, caught[i]);
    }
    (void)signal(SIGPIPE, SIG_IGN);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0) {
        return vv_err_from_errno(errno);
    }
    s->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    return s->signal_fd >= 0 ? VV_OK : vv_err_from_errno(errno);
}

/* Sockets the service manager opened for us carry the names of our listeners. */
static void take_activated(struct supervisor *s)
{
    static struct vv_proc_listen given; /* 4 KiB */
    if (vv_proc_listen_fds(&given) != VV_OK) {
        vv_warn(COMPONENT, "the sockets of the service manager make no sense; not used");
        return;
    }
    for (size_t i = 0; i < given.count; i++) {
        if (vv_sockets_activate(&s->sockets, given.name[i], given.fd[i]) != VV_OK) {
            vv_warn(COMPONENT, "cannot use the socket \"%s\" of the service manager",
                    given.name[i]);
        }
    }
}

/* $WATCHDOG_USEC, when it is meant for this process (sd_watchdog_enabled(3)). */
static uint64_t watchdog_interval(void)
{
    const char *usec = getenv("WATCHDOG_USEC");
    const char *pid = getenv("WATCHDOG_PID");
    uint64_t us = 0, meant = 0;
    if (usec == NULL || vv_str_to_u64(vv_str_from(usec), &us) != VV_OK || us > UINT64_MAX / VV_US) {
        return 0;
    }
    if (pid != NULL &&
        (vv_str_to_u64(vv_str_from(pid), &meant) != VV_OK || meant != (uint64_t)getpid())) {
        return 0;
    }
    return us * VV_US;
}

static void setup(struct supervisor *s, uint64_t now_ns)
{
    for (size_t i = 0; i < CHILDREN_MAX; i++) {
        s->child[i].ctl = -1;
    }
    uint64_t files = 0;
    vv_proc_raise_nofile(FILES_WANTED, &files);
    s->watchdog_ns = watchdog_interval();
    s->watchdog_at_ns = now_ns;
    s->started_wall_ns = vv_clock_wall();
}

static void teardown(struct supervisor *s)
{
    vv_sockets_unlink(&s->sockets);
    vv_sockets_fini(&s->sockets);
    vv_settings_free(s->settings);
    vv_settings_free(s->former);
    vv_close_fd(&s->signal_fd);
    vv_close_fd(&s->upgrade.former_exe_fd);
}

int vv_supervise(const struct vv_run *run, struct vv_settings *settings)
{
    struct supervisor s = {
        .run = run, .settings = settings, .signal_fd = -1, .upgrade.former_exe_fd = -1};
    const uint64_t now_ns = vv_clock_now();
    const char *handover = getenv(VV_HANDOVER_ENV);
    setup(&s, now_ns);
    if (catch_signals(&s) != VV_OK) {
        vv_error(COMPONENT, "cannot watch signals");
        teardown(&s);
        return 1;
    }
    if (handover != NULL && upgrade_adopt(&s, handover, now_ns) != VV_OK) {
        vv_error(COMPONENT, "cannot take over from the former image");
        teardown(&s);
        return 1;
    }
    if (handover == NULL) {
        take_activated(&s);
        start_worker(&s, now_ns);
    }
    while (!s.over) {
        turn(&s);
    }
    teardown(&s);
    return s.exit_code;
}
