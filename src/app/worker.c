/* src/app/worker.c - the control thread runs beside the traffic, never in it: everything here may take
 * a few milliseconds without a request noticing. */
#include "app/worker.h"
#include "app/version.h"
#include "app/worker_int.h"
#include "gateway/homes.h"
#include "gateway/resp_front.h"
#include "observe/log.h"
#include "os/clock.h"
#include "os/memory.h"
#include "os/proc.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define ENDING_NS                                                                                  \
    (50 * VV_MS)        /* how often an ending process looks whether its last answers are out */
#define ENDING_TURNS 40 /* then it goes anyway */

static void on_ending(struct vv_loop *loop, struct vv_timer *t)
{
    struct worker *w = VV_CONTAINER(t, struct worker, ending);
    static int turns;
    if (vv_admin_quiet(w->admin) || ++turns > ENDING_TURNS) {
        vv_loop_stop(loop);
        return;
    }
    vv_loop_timer_at(loop, t, vv_loop_now(loop) + ENDING_NS);
}

static void on_drained(void *user)
{
    struct worker *w = user;
    w->ending_now = true;
    vv_loop_timer_at(w->loop, &w->ending, vv_loop_now(w->loop));
}

static void drain(struct worker *w, uint64_t ms, bool replaced)
{
    if (w->draining) {
        return;
    }
    w->draining = true;
    vv_info(WORKER, "worker %d drains", (int)getpid());
    w->replaced = replaced;
    if (replaced) { /* the successor answers on the same sockets */
        vv_admin_unlisten(w->admin, false);
        vv_admin_unlisten(w->admin, true);
    }
    vv_gateway_drain(w->gateway, vv_loop_now(w->loop) + ms * VV_MS, on_drained, w);
}

static uint64_t drain_ms(const struct worker *w)
{
    return vv_gateway_settings(w->gateway)->drain_ns / VV_MS;
}

static void on_message(struct worker *w)
{
    const struct vv_control_msg *m = &w->msg;
    switch (m->type) {
    case VV_CONTROL_RELOAD:
        reload_begin(w, NULL, NULL);
        break;
    case VV_CONTROL_REOPEN:
        vv_gateway_reopen_logs(w->gateway);
        break;
    case VV_CONTROL_DRAIN:
        drain(w, m->number, m->text_bytes > 0);
        break;
    case VV_CONTROL_GIVE:
        reload_on_give(w, m);
        return; /* the descriptors are taken */
    case VV_CONTROL_GIVEN:
        reload_on_given(w);
        break;
    case VV_CONTROL_REFUSED:
        reload_on_refused(w, m->text);
        break;
    case VV_CONTROL_UPGRADE_FAILED:
        (void)snprintf(w->upgrade_failed, sizeof w->upgrade_failed, "%.511s", m->text);
        break;
    default:
        break;
    }
    for (size_t i = 0; i < m->fds_count; i++) {
        (void)close(m->fds[i]);
    }
}

static void on_control(struct vv_loop *loop, struct vv_io *io, uint32_t events VV_UNUSED)
{
    struct worker *w = VV_CONTAINER(io, struct worker, ctl);
    enum vv_err err;
    while ((err = vv_control_recv(io->fd, &w->msg)) == VV_OK) {
        on_message(w);
    }
    if (err != VV_EAGAIN && !w->draining) {
        vv_error(WORKER, "the supervisor is gone: draining");
        vv_loop_del(loop, io, false);
        drain(w, drain_ms(w), false);
    }
}

static void on_signal(struct vv_loop *loop VV_UNUSED, struct vv_io *io, uint32_t events VV_UNUSED)
{
    struct worker *w = VV_CONTAINER(io, struct worker, signals);
    struct signalfd_siginfo info;
    while (read(io->fd, &info, sizeof info) == (ssize_t)sizeof info) {
        drain(w, drain_ms(w), false);
    }
}

/* The workers after this one take up its clients' sessions. */
static void tell_keys(struct worker *w)
{
    struct vv_certs *certs = vv_gateway_homes(w->gateway)->certs;
    const uint64_t generation = vv_certs_keys_generation(certs);
    struct vv_sb text = VV_SB_INIT;
    if (generation == w->keys_generation) {
        return;
    }
    vv_certs_keys_export(certs, &text);
    if (!text.failed &&
        vv_control_send(w->ctl.fd, VV_CONTROL_KEYS, 0, vv_sb_str(&text).p, NULL, 0) == VV_OK) {
        w->keys_generation = generation;
    }
    if (text.p != NULL) {
        OPENSSL_cleanse(text.p, text.n);
    }
    vv_sb_fini(&text);
}

static void say_alive(struct worker *w)
{
    struct vv_history_sum sum = {0};
    char text[160];
    vv_history_sum(w->history, NULL, NULL, 10, &sum);
    (void)snprintf(text, sizeof text, "STATUS=%llu requests/s, %llu connections",
                   (unsigned long long)(sum.seconds > 0 ? sum.requests / sum.seconds : 0),
                   (unsigned long long)sum.connections);
    (void)vv_control_send(w->ctl.fd, VV_CONTROL_ALIVE, 0, text, NULL, 0);
}

static void on_tick(struct vv_loop *loop, struct vv_timer *t)
{
    struct worker *w = VV_CONTAINER(t, struct worker, tick);
    vv_loop_timer_at(loop, t,
                     t->at_ns + VV_SEC > vv_loop_now(loop) ? t->at_ns + VV_SEC
                                                           : vv_loop_now(loop) + VV_SEC);
    vv_history_tick(w->history, vv_loop_wall(loop));
    vv_gateway_tick(w->gateway, vv_loop_now(loop));
    guard_tick(w);
    tell_keys(w);
    say_alive(w);
}

static void collect(struct vv_collect *c, void *user)
{
    const struct worker *w = user;
    const struct vv_str build[3] = {vv_str_from(vv_version), vv_str_from(vv_revision),
                                    vv_str_from(vv_compiler)};
    vv_collect_value(c, VV_METRIC_BUILD_INFO, build, 3, 1.0);
    vv_collect_value(c, VV_METRIC_WORKER_RESTARTS, NULL, 0, (double)w->start->restarts);
    vv_collect_value(c, VV_METRIC_RELOAD_OK, NULL, 0, w->last_reload_ok ? 1.0 : 0.0);
    vv_collect_value(c, VV_METRIC_RELOAD_TIME, NULL, 0, (double)w->last_reload_wall_ns / 1e9);
}

static void ask_reload(void *user, vv_admin_reload_done *done, void *arg)
{
    reload_begin(user, done, arg);
}

static enum vv_err ask_stop(void *user)
{
    struct worker *w = user;
    return vv_control_send(w->ctl.fd, VV_CONTROL_STOP, 0, NULL, NULL, 0);
}

static enum vv_err ask_upgrade(void *user)
{
    struct worker *w = user;
    w->upgrade_failed[0] = '\0';
    return vv_control_send(w->ctl.fd, VV_CONTROL_UPGRADE, 0, NULL, NULL, 0);
}

static void life_json(void *user, struct vv_json *j)
{
    const struct worker *w = user;
    const uint64_t now_ns = vv_loop_now(w->loop);
    const uint64_t until_ns = w->guard.until_ns;
    vv_json_key(j, "reload");
    vv_json_obj(j);
    vv_json_kcstr(j, "last", w->last_reload);
    vv_json_kcstr(j, "reason", w->last_reason);
    vv_json_kdouble(j, "guard_seconds_left",
                    until_ns > now_ns ? (double)(until_ns - now_ns) / 1e9 : 0.0);
    vv_json_obj_end(j);
    vv_json_key(j, "upgrade");
    vv_json_obj(j);
    vv_json_kcstr(j, "failed", w->upgrade_failed[0] != '\0' ? w->upgrade_failed : NULL);
    vv_json_obj_end(j);
}

/* Terminal signals go to the whole group; what they mean is the supervisor's to say. */
static enum vv_err watch_signals(struct worker *w)
{
    static const int ignored[] = {SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGPIPE};
    sigset_t set;
    for (size_t i = 0; i < VV_COUNT(ignored); i++) {
        (void)signal(ignored[i], SIG_IGN);
    }
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGQUIT);
    if (sigprocmask(SIG_SETMASK, &set, NULL) != 0) {
        return vv_err_from_errno(errno);
    }
    w->signals =
        (struct vv_io){.fn = on_signal, .fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC)};
    return w->signals.fd >= 0 ? vv_loop_add(w->loop, &w->signals) : vv_err_from_errno(errno);
}

/* The sockets of a listener of the settings; the table gives them away. */
static enum vv_err take_listeners(struct worker *w, struct vv_listener_fds **ret, size_t *ret_count)
{
    const struct vv_conf_list *listen = w->start->settings->listen;
    const struct vv_conf_list *stores = w->start->settings->stores;
    const size_t max = listen != NULL ? listen->count : 0;
    const size_t more = stores != NULL ? stores->count : 0;
    struct vv_listener_fds *list = calloc(max + more + 1, sizeof *list);
    size_t n = max;
    if (list == NULL) {
        return VV_ENOMEM;
    }
    vv_sockets_trim(w->start->sockets, w->threads);
    for (size_t i = 0; i < max; i++) {
        const struct vv_listen_settings *l = listen->item[i];
        char buf[32];
        struct vv_socket *k =
            vv_sockets_find(w->start->sockets, l->name, vv_run_address(l, buf, sizeof buf));
        if (k == NULL) {
            free(list);
            return VV_ENOENT;
        }
        list[i] = (struct vv_listener_fds){.name = l->name, .fds = k->fds, .count = k->count};
    }
    for (size_t i = 0; i < more; i++) {
        const struct vv_store_settings *s = stores->item[i];
        char place[VV_RESP_PLACE_BYTES];
        if (!vv_resp_place(s, place)) {
            continue;
        }
        const struct vv_socket *k = vv_sockets_find(w->start->sockets, place, s->listen);
        if (k == NULL) {
            free(list);
            return VV_ENOENT;
        }
        /* The socket's own text of the name: it is the one that was asked for, and it stays. */
        list[n++] = (struct vv_listener_fds){.name = k->name, .fds = k->fds, .count = k->count};
    }
    *ret = list;
    *ret_count = n;
    return VV_OK;
}

/* Everything still in the table is closed, what was given away is forgotten first. */
static void forget_taken(struct worker *w, const struct vv_listener_fds *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < w->start->sockets->count; k++) {
            if (w->start->sockets->item[k]->fds == list[i].fds) {
                w->start->sockets->item[k]->count = 0;
            }
        }
    }
}

static enum vv_err start_gateway(struct worker *w)
{
    struct vv_listener_fds *list = NULL;
    size_t count = 0;
    enum vv_err err = take_listeners(w, &list, &count);
    if (err != VV_OK) {
        return err;
    }
    const struct vv_gateway_options options = {
        .control = w->loop, .metrics = w->metrics, .workers = w->threads};
    err = vv_gateway_new(&options, w->start->settings, list, count, &w->gateway);
    forget_taken(w, list, count);
    free(list);
    if (err == VV_OK) {
        vv_certs_keys_import(vv_gateway_homes(w->gateway)->certs, vv_str_from(w->start->keys));
    }
    return err;
}

static enum vv_err take_admin_socket(const struct worker *w, const char *name, const char *address,
                                     int *ret_fd)
{
    struct vv_socket *k = vv_sockets_find(w->start->sockets, name, address);
    if (k == NULL || k->count == 0) {
        return VV_ENOENT;
    }
    *ret_fd = vv_take_fd(&k->fds[0]);
    return VV_OK;
}

static enum vv_err start_admin(struct worker *w)
{
    const struct vv_settings *s = vv_gateway_settings(w->gateway);
    char path[VV_ADDR_TEXT];
    w->process = (struct vv_admin_process){.version = vv_version,
                                           .revision = vv_revision,
                                           .compiler = vv_compiler,
                                           .config_path = w->run->path,
                                           .profile = w->run->profile,
                                           .socket = w->run->socket,
                                           .supervisor_pid = (int)w->start->supervisor,
                                           .generation = w->start->generation,
                                           .restarts = w->start->restarts,
                                           .started_wall_ns = w->start->started_wall_ns,
                                           .user = w,
                                           .reload = ask_reload,
                                           .stop = ask_stop,
                                           .upgrade = ask_upgrade,
                                           .life_json = life_json};
    const struct vv_admin_options options = {.loop = w->loop,
                                             .gateway = w->gateway,
                                             .metrics = w->metrics,
                                             .history = w->history,
                                             .process = &w->process};
    enum vv_err err = vv_admin_new(&options, &w->admin);
    if (err != VV_OK) {
        return err;
    }
    (void)snprintf(path, sizeof path, "unix:%s", w->run->socket);
    err = take_admin_socket(w, "@socket", path, &w->socket_fd);
    if (err == VV_OK && vv_run_has_admin(s)) {
        err = take_admin_socket(w, "@admin", s->admin, &w->admin_fd);
    }
    return err;
}

/* Rights go before the first byte from outside is read. */
static enum vv_err drop_rights(const struct vv_settings *s)
{
    struct vv_proc_user user;
    enum vv_err err = VV_OK;
    if (s->user != NULL) {
        err = vv_proc_find_user(s->user, &user);
        if (err == VV_OK) {
            err = vv_proc_become(&user);
        }
        if (err != VV_OK) {
            vv_error(WORKER, "cannot become user %s: %s", s->user, vv_err_text(err));
            return err;
        }
    }
    if (s->seccomp != 0) {
        err = vv_seccomp_install();
        if (err != VV_OK) {
            vv_error(WORKER, "cannot install the system call filter: %s", vv_err_text(err));
        }
    }
    return err;
}

/* The admin API answers only now: a "ready" from it must mean that traffic is welcome. */
static void on_gateway_ready(void *user)
{
    struct worker *w = user;
    const int local = vv_take_fd(&w->socket_fd), tcp = vv_take_fd(&w->admin_fd);
    enum vv_err err = vv_admin_listen(w->admin, local, true);
    if (err == VV_OK && tcp >= 0) {
        err = vv_admin_listen(w->admin, tcp, false);
    }
    if (err != VV_OK) {
        vv_error(WORKER, "the admin listener does not work: %s", vv_err_text(err));
    }
    tell_keys(w);
    (void)vv_control_send(w->ctl.fd, VV_CONTROL_READY, 0, NULL, NULL, 0);
}

static enum vv_err build(struct worker *w)
{
    enum vv_err err = vv_loop_new(&w->loop);
    if (err == VV_OK) {
        err = vv_metrics_new(&w->metrics);
    }
    if (err == VV_OK) {
        err = vv_metrics_shard(w->metrics, &w->shard);
    }
    if (err == VV_OK) {
        err = vv_history_new(w->metrics, &w->history);
    }
    if (err == VV_OK) {
        err = vv_metrics_collector(w->metrics, collect, w);
    }
    if (err == VV_OK) {
        err = watch_signals(w);
    }
    if (err == VV_OK) {
        w->ctl = (struct vv_io){.fn = on_control, .fd = w->start->ctl};
        err = vv_loop_add(w->loop, &w->ctl);
    }
    if (err == VV_OK) {
        err = drop_rights(w->start->settings);
    }
    if (err != VV_OK) {
        vv_settings_free(w->start->settings);
        return err;
    }
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM); /* after the change of user, which clears it */
    err = start_gateway(w);
    if (err == VV_OK) {
        err = start_admin(w);
    }
    vv_sockets_fini(w->start->sockets); /* what nobody took */
    return err;
}

static enum vv_err go(struct worker *w)
{
    const uint64_t now_ns = vv_loop_refresh(w->loop);
    reload_init(w);
    vv_timer_init(&w->tick, on_tick);
    vv_timer_init(&w->ending, on_ending);
    vv_loop_timer_at(w->loop, &w->tick, now_ns + VV_SEC);
    if (vv_run_load(w->run, NULL, NULL, &w->in_use_copy) != VV_OK) {
        w->in_use_copy = NULL; /* the file is broken by now: the first reload has no way back */
    }
    const enum vv_err err = vv_gateway_start(w->gateway, on_gateway_ready, w);
    if (err != VV_OK) {
        return err;
    }
    if (getppid() != w->start->supervisor) {
        drain(w, drain_ms(w), false); /* it died before the death signal was asked for */
    }
    vv_loop_run(w->loop);
    vv_gateway_stop(w->gateway);
    if (!w->replaced) { /* purges went to the successor: what lies here may be gone there */
        vv_gateway_save_caches(w->gateway);
    }
    return VV_OK;
}

static void tear_down(struct worker *w)
{
    reload_fini(w);
    vv_admin_free(w->admin);
    if (w->metrics != NULL) {
        vv_metrics_collector_remove(w->metrics, collect, w);
    }
    vv_gateway_free(w->gateway);
    vv_history_free(w->history);
    if (w->shard != NULL) {
        vv_metrics_shard_return(w->metrics, w->shard);
    }
    vv_metrics_free(w->metrics);
    vv_close_fd(&w->ctl.fd);
    vv_close_fd(&w->signals.fd);
    vv_close_fd(&w->socket_fd);
    vv_close_fd(&w->admin_fd);
    vv_loop_free(w->loop);
}

int vv_worker_main(struct vv_worker_start *start)
{
    static struct worker w; /* 60 KiB, one per process */
    w.start = start;
    w.run = start->run;
    w.threads = vv_run_threads(start->settings);
    w.ctl.fd = w.signals.fd = w.socket_fd = w.admin_fd = -1;
    (void)snprintf(w.upgrade_failed, sizeof w.upgrade_failed, "%s", start->upgrade_failed);
    vv_log_setup((enum vv_log_level)start->settings->log_level,
                 (enum vv_log_format)start->settings->log_format, STDERR_FILENO);
    vv_proc_name_thread("vivace-control");
    vv_memory_tune(w.threads);
    enum vv_err err = build(&w);
    if (err == VV_OK) {
        err = go(&w);
    }
    if (err != VV_OK) {
        vv_error(WORKER, "cannot start: %s", vv_err_text(err));
        return 1;
    }
    tear_down(&w);
    return 0;
}
