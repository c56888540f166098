/* src/gateway/gateway.c - workers, runtimes and sockets, seen from the control thread: it prepares
 * everything, then each worker takes it over with one message of its own. */
#include "gateway/exchange.h"
#include "gateway/gateway_int.h"
#include "gateway/guards_look.h"
#include "gateway/session.h"
#include "gateway/shed.h"
#include "gateway/upstream_tls.h"
#include "observe/log.h"
#include "os/clock.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define TICK_NS (100 * VV_MS)
#define POOL_THREADS 4
#define POOL_QUEUE 1024
#define NAMES_WAIT_NS VV_SEC

struct sockets { /* of one listener */
    struct vv_list node;
    char *name, *address;
    int *fds;
    size_t count;
    bool fresh; /* came with the reload that is running: goes when that fails */
};

/* ---- sockets ---- */

static struct sockets *find_sockets(const struct vv_gateway *g, const char *name,
                                    const char *address)
{
    VV_LIST_EACH (it, &g->sockets) {
        struct sockets *s = VV_LIST_ENTRY(it, struct sockets, node);
        if (strcmp(s->name, name) == 0 && strcmp(s->address, address) == 0) {
            return s;
        }
    }
    return NULL;
}

bool vv_gateway_has_listener(const struct vv_gateway *g, const char *name, const char *address)
{
    return find_sockets(g, name, address) != NULL;
}

static void sockets_free(struct sockets *s)
{
    for (size_t i = 0; i < s->count; i++) {
        close(s->fds[i]);
    }
    vv_list_del(&s->node);
    free(s->name);
    free(s->address);
    free(s->fds);
    free(s);
}

static const char *address_of(const struct vv_settings *settings, const char *name)
{
    for (size_t i = 0; i < settings->listen->count; i++) {
        const struct vv_listen_settings *l = settings->listen->item[i];
        if (strcmp(l->name, name) == 0) {
            return l->address;
        }
    }
    return vv_resp_address(settings, name);
}

static enum vv_err take_sockets(struct vv_gateway *g, const struct vv_settings *settings,
                                const struct vv_listener_fds *listeners, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *address = address_of(settings, listeners[i].name);
        if (address == NULL || find_sockets(g, listeners[i].name, address) != NULL) {
            for (size_t k = 0; k < listeners[i].count; k++) {
                close(listeners[i].fds[k]);
            }
            continue;
        }
        struct sockets *s = calloc(1, sizeof *s);
        int *fds = malloc(listeners[i].count * sizeof *fds);
        if (s == NULL || fds == NULL) {
            free(s);
            free(fds);
            return VV_ENOMEM;
        }
        memcpy(fds, listeners[i].fds, listeners[i].count * sizeof *fds);
        s->fds = fds;
        s->count = listeners[i].count;
        s->fresh = true;
        s->name = strdup(listeners[i].name);
        s->address = strdup(address);
        vv_list_init(&s->node);
        vv_list_push_back(&g->sockets, &s->node);
        if (s->name == NULL || s->address == NULL) {
            sockets_free(s);
            return VV_ENOMEM;
        }
    }
    return VV_OK;
}

/* The reload has ended: its sockets stay, or nobody listens to them and they go. */
static void settle_sockets(struct vv_gateway *g, bool keep)
{
    VV_LIST_EACH (it, &g->sockets) {
        struct sockets *s = VV_LIST_ENTRY(it, struct sockets, node);
        if (s->fresh && !keep) {
            sockets_free(s);
        } else {
            s->fresh = false;
        }
    }
}

static bool has_sockets(const struct vv_gateway *g, const char *name, const char *address)
{
    if (find_sockets(g, name, address) != NULL) {
        return true;
    }
    vv_error("gateway", "no socket for listener name=%s address=%s", name, address);
    return false;
}

static enum vv_err all_have_sockets(const struct vv_gateway *g, const struct vv_settings *settings)
{
    for (size_t i = 0; i < settings->listen->count; i++) {
        const struct vv_listen_settings *l = settings->listen->item[i];
        if (!has_sockets(g, l->name, l->address)) {
            return VV_ENOENT;
        }
    }
    for (size_t i = 0; settings->stores != NULL && i < settings->stores->count; i++) {
        const struct vv_store_settings *s = settings->stores->item[i];
        char place[VV_RESP_PLACE_BYTES];
        if (vv_resp_place(s, place) && !has_sockets(g, place, s->listen)) {
            return VV_ENOENT;
        }
    }
    return VV_OK;
}

/* ---- messages to workers ---- */

struct adopt { /* take over this runtime and these listeners */
    struct vv_mail mail;
    struct vv_worker *w;
    struct vv_runtime *rt;     /* counted */
    struct vv_resp_plan *plan; /* the same */
    int *fd;                   /* by index in settings->listen, then those of the plan */
};

static struct vv_listener *find_listener(struct vv_worker *w, const struct vv_listen_settings *conf)
{
    VV_LIST_EACH (it, &w->listeners) {
        struct vv_listener *l = VV_LIST_ENTRY(it, struct vv_listener, node);
        if (!l->stopped && strcmp(l->name, conf->name) == 0 &&
            strcmp(l->address, conf->address) == 0) {
            return l;
        }
    }
    return NULL;
}

static bool still_named(const struct vv_settings *settings, const struct vv_listener *l)
{
    const char *address = address_of(settings, l->name);
    return address != NULL && strcmp(address, l->address) == 0;
}

/* On the worker's thread, or before it runs. */
static enum vv_err adopt(struct vv_worker *w, struct vv_runtime *rt,
                         const struct vv_resp_plan *plan, const int *fd)
{
    const struct vv_settings *settings = rt->settings;
    enum vv_err err = vv_worker_adopt(w, rt);
    if (w->draining) {
        return err; /* all listeners have stopped, and none begins again */
    }
    VV_LIST_EACH (it, &w->listeners) {
        struct vv_listener *l = VV_LIST_ENTRY(it, struct vv_listener, node);
        if (!still_named(settings, l)) {
            vv_listener_stop(l);
        }
    }
    for (size_t i = 0; err == VV_OK && i < settings->listen->count; i++) {
        const struct vv_listen_settings *conf = settings->listen->item[i];
        struct vv_listener *l = find_listener(w, conf);
        err = l != NULL ? vv_listener_update(l, conf, (uint32_t)i)
                        : vv_listener_open(w, conf, (uint32_t)i, fd[i]);
    }
    return err == VV_OK ? vv_resp_fronts_adopt(w, plan, fd + settings->listen->count) : err;
}

struct done { /* back to the control thread */
    struct vv_mail mail;
    struct vv_gateway *g;
    uint64_t generation;
};

static void drop_unused_sockets(struct vv_loop *loop, struct vv_mail *mail)
{
    (void)loop;
    struct done *d = VV_CONTAINER(mail, struct done, mail);
    struct vv_gateway *g = d->g;
    /* Messages about an older runtime say nothing about who still uses a socket. */
    if (d->generation == g->rt->generation && ++g->adopted == g->worker_count) {
        VV_LIST_EACH (it, &g->sockets) {
            struct sockets *s = VV_LIST_ENTRY(it, struct sockets, node);
            const char *address = address_of(g->rt->settings, s->name);
            if (address == NULL || strcmp(address, s->address) != 0) {
                sockets_free(s);
            }
        }
    }
    free(d);
}

static void on_adopt(struct vv_loop *loop, struct vv_mail *mail)
{
    (void)loop;
    struct adopt *a = VV_CONTAINER(mail, struct adopt, mail);
    struct vv_worker *w = a->w;
    const enum vv_err err = adopt(w, a->rt, a->plan, a->fd);
    if (err != VV_OK) {
        vv_error("gateway", "worker %u could not take over the new settings completely: %s",
                 w->index, vv_err_text(err));
    }
    struct done *d = malloc(sizeof *d);
    if (d != NULL) {
        *d = (struct done){
            .mail = {.fn = drop_unused_sockets}, .g = w->gateway, .generation = a->rt->generation};
        vv_loop_post(w->gateway->control, &d->mail);
    }
    vv_resp_plan_unref(a->plan);
    vv_runtime_unref(a->rt);
    free(a->fd);
    free(a);
}

static int *fds_for(const struct vv_gateway *g, const struct vv_settings *settings,
                    const struct vv_resp_plan *plan, unsigned worker)
{
    const size_t listeners = settings->listen->count;
    int *fd = malloc((listeners + vv_resp_plan_count(plan)) * sizeof *fd);
    for (size_t i = 0; fd != NULL && i < settings->listen->count; i++) {
        const struct vv_listen_settings *l = settings->listen->item[i];
        const struct sockets *s = find_sockets(g, l->name, l->address);
        fd[i] = s->fds[worker % s->count];
    }
    for (size_t i = 0; fd != NULL && i < vv_resp_plan_count(plan); i++) {
        const struct sockets *s =
            find_sockets(g, vv_resp_plan_name(plan, i), vv_resp_plan_address(plan, i));
        fd[listeners + i] = s->fds[worker % s->count];
    }
    return fd;
}

static enum vv_err post_runtime(struct vv_gateway *g, struct vv_runtime *rt)
{
    struct adopt **all = calloc(g->worker_count, sizeof(struct adopt *));
    struct vv_resp_plan *plan = NULL;
    enum vv_err err =
        all != NULL ? vv_resp_plan_new(g->resp, g->homes.stores, rt->settings, &plan) : VV_ENOMEM;
    for (unsigned i = 0; err == VV_OK && i < g->worker_count; i++) {
        all[i] = calloc(1, sizeof *all[i]);
        if (all[i] != NULL) {
            all[i]->fd = fds_for(g, rt->settings, plan, i);
        }
        err = all[i] != NULL && all[i]->fd != NULL ? VV_OK : VV_ENOMEM;
    }
    for (unsigned i = 0; all != NULL && i < g->worker_count; i++) {
        if (err != VV_OK) {
            free(all[i] != NULL ? all[i]->fd : NULL);
            free(all[i]);
            continue;
        }
        all[i]->mail.fn = on_adopt;
        all[i]->w = g->worker[i];
        all[i]->rt = rt;
        all[i]->plan = vv_resp_plan_ref(plan);
        vv_runtime_ref(rt);
        vv_loop_post(g->worker[i]->loop, &all[i]->mail);
    }
    vv_resp_plan_unref(plan);
    free(all);
    return err;
}

/* ---- metrics that live in states ---- */

static void collect_service(struct vv_collect *c, const struct vv_service *s, uint64_t now_ns)
{
    struct vv_server_set *set = vv_service_state_servers(s->state);
    const struct vv_str service = vv_str_from(s->conf->name);
    uint64_t ejected = 0;
    for (size_t i = 0; set != NULL && i < set->count; i++) {
        const struct vv_server *server = set->server[i];
        const struct vv_str values[] = {service, vv_str_from(server->name)};
        const bool up = vv_server_usable(server, now_ns);
        ejected +=
            atomic_load_explicit(&server->state, memory_order_relaxed) == VV_SERVER_EJECTED && !up;
        vv_collect_value(c, VV_METRIC_UPSTREAM_UP, values, 2, up ? 1 : 0);
    }
    vv_collect_value(c, VV_METRIC_UPSTREAM_EJECTIONS, &service, 1, (double)ejected);
    vv_server_set_unref(set);
}

static void collect(struct vv_collect *c, void *user)
{
    struct vv_gateway *g = user;
    uint64_t turns = 0;
    uint64_t busy_ns = 0;
    for (unsigned i = 0; i < g->worker_count; i++) {
        turns += __atomic_load_n(&g->worker[i]->turns, __ATOMIC_RELAXED);
        busy_ns += __atomic_load_n(&g->worker[i]->busy_ns, __ATOMIC_RELAXED);
    }
    vv_collect_value(c, VV_METRIC_LOOP_TURNS, NULL, 0, (double)turns);
    vv_collect_value(c, VV_METRIC_LOOP_BUSY, NULL, 0, (double)busy_ns / (double)VV_SEC);
    if (g->log != NULL) {
        vv_collect_value(c, VV_METRIC_LOG_DROPPED, NULL, 0, (double)vv_access_dropped(g->log));
    }
    for (size_t i = 0; i < g->rt->service_count; i++) {
        collect_service(c, &g->rt->service[i], vv_loop_now(g->control));
    }
    vv_guards_collect(g->homes.guards, vv_loop_now(g->control), vv_shed_watch_late_ns(g), c);
}

/* ---- life ---- */

static enum vv_err use_labels(struct vv_gateway *g, const struct vv_settings *settings)
{
    enum { LABELS_MAX = 32 };
    const char *name[LABELS_MAX];
    const char *value[LABELS_MAX];
    const size_t count = settings->labels != NULL ? settings->labels->count : 0;
    if (count > LABELS_MAX) {
        return VV_ELIMIT;
    }
    for (size_t i = 0; i < count; i++) {
        const struct vv_header_match *m = settings->labels->item[i];
        name[i] = m->name;
        value[i] = m->value;
    }
    return vv_metrics_set_labels(g->metrics, name, value, count);
}

static void say(const char *text)
{
    if (text[0] != '\0') {
        vv_error("gateway", "%s", text);
    }
}

static void on_timer(struct vv_loop *loop, struct vv_timer *t);

static enum vv_err make_workers(struct vv_gateway *g, unsigned count)
{
    g->worker = calloc(count, sizeof(struct vv_worker *));
    g->thread = calloc(count, sizeof *g->thread);
    if (g->worker == NULL || g->thread == NULL) {
        return VV_ENOMEM;
    }
    for (unsigned i = 0; i < count; i++) {
        const struct vv_worker_options o = {
            .index = i, .metrics = g->metrics, .pool = g->pool, .homes = &g->homes};
        const enum vv_err err = vv_worker_new(g, &o, &g->worker[i]);
        if (err != VV_OK) {
            return err;
        }
        g->worker_count++;
    }
    return VV_OK;
}

static enum vv_err open_log(struct vv_gateway *g, const struct vv_settings *settings)
{
    const struct vv_access_log_settings *conf = &settings->access_log;
    if (conf->path == NULL) {
        return VV_OK;
    }
    enum vv_err err = vv_access_log_new(conf->path, (enum vv_access_format)conf->format, &g->log);
    for (unsigned i = 0; err == VV_OK && i < g->worker_count; i++) {
        err = vv_access_appender_new(g->log, &g->worker[i]->log);
    }
    if (err != VV_OK) {
        vv_error("gateway", "cannot open access log path=%s: %s", conf->path, vv_err_text(err));
    }
    return err;
}

enum vv_err vv_gateway_new(const struct vv_gateway_options *o, struct vv_settings *settings,
                           const struct vv_listener_fds *listeners, size_t count,
                           struct vv_gateway **ret)
{
    char why[256] = "";
    struct vv_gateway *g = calloc(1, sizeof *g);
    if (g == NULL) {
        vv_settings_free(settings);
        return VV_ENOMEM;
    }
    g->control = o->control;
    g->metrics = o->metrics;
    vv_list_init(&g->sockets);
    vv_timer_init(&g->timer, on_timer);
    enum vv_err err = take_sockets(g, settings, listeners, count);
    if (err == VV_OK) {
        err = all_have_sockets(g, settings);
    }
    if (err == VV_OK) {
        err = use_labels(g, settings);
    }
    if (err == VV_OK) {
        err = vv_homes_init(&g->homes, g->control, g->metrics, o->workers > 0 ? o->workers : 1,
                            settings);
    }
    if (err == VV_OK) {
        err = vv_resp_home_new(&g->resp);
    }
    if (err == VV_OK) {
        err = vv_homes_prepare(&g->homes, settings, why);
    }
    if (err == VV_OK) {
        err = vv_runtime_new(settings, NULL, &g->homes, &g->rt, why);
    }
    if (err != VV_OK) {
        say(why);
        vv_settings_free(settings);
        vv_gateway_free(g);
        return err;
    }
    err = vv_names_new(g->control, &g->names);
    if (err == VV_OK) {
        err = vv_checks_new(g->control, g->metrics, &g->checks);
    }
    if (err == VV_OK) {
        err = vv_pool_new(POOL_THREADS, POOL_QUEUE, &g->pool);
    }
    if (err == VV_OK) {
        err = make_workers(g, o->workers > 0 ? o->workers : 1);
    }
    if (err == VV_OK) {
        err = open_log(g, settings);
    }
    if (err == VV_OK) {
        err = vv_metrics_collector(g->metrics, collect, g);
    }
    if (err != VV_OK) {
        vv_gateway_free(g);
        return err;
    }
    settle_sockets(g, true);
    vv_homes_settle(&g->homes, settings, true);
    vv_runtime_commit(g->rt);
    *ret = g;
    return VV_OK;
}

static void worker_main(void *arg)
{
    struct vv_worker *w = arg;
    vv_loop_run(w->loop);
}

static enum vv_err run_with(struct vv_gateway *g, const struct vv_resp_plan *plan)
{
    for (unsigned i = 0; i < g->worker_count; i++) {
        int *fd = fds_for(g, g->rt->settings, plan, i);
        enum vv_err err = fd != NULL ? adopt(g->worker[i], g->rt, plan, fd) : VV_ENOMEM;
        free(fd);
        if (err == VV_OK) {
            char name[16];
            snprintf(name, sizeof name, "worker-%u", i % 1000);
            err = vv_thread_start(&g->thread[i], name, worker_main, g->worker[i]);
        }
        if (err != VV_OK) {
            return err;
        }
        g->running++;
    }
    return VV_OK;
}

static enum vv_err run_workers(struct vv_gateway *g)
{
    struct vv_resp_plan *plan = NULL;
    enum vv_err err = vv_resp_plan_new(g->resp, g->homes.stores, g->rt->settings, &plan);
    if (err == VV_OK) {
        err = run_with(g, plan);
    }
    vv_resp_plan_unref(plan);
    return err;
}

enum vv_err vv_gateway_start(struct vv_gateway *g, void (*ready)(void *user), void *user)
{
    const enum vv_err err = vv_names_apply(g->names, g->rt);
    if (err != VV_OK) {
        return err;
    }
    g->ready = ready;
    g->ready_user = user;
    const uint64_t now = vv_loop_refresh(g->control);
    g->start_deadline_ns = now + NAMES_WAIT_NS;
    vv_loop_timer_at(g->control, &g->timer, now);
    return VV_OK;
}

static void start_now(struct vv_gateway *g)
{
    const enum vv_err err = run_workers(g);
    if (err != VV_OK) {
        vv_error("gateway", "cannot start: %s", vv_err_text(err));
        return; /* never ready: the supervisor gives up on this process */
    }
    g->started = true;
    vv_checks_tick(g->checks, g->rt, vv_loop_now(g->control));
    g->ready(g->ready_user);
}

static void drain_step(struct vv_gateway *g, uint64_t now_ns)
{
    struct vv_gateway_counts c;
    vv_gateway_counts(g, &c);
    if (g->drained != NULL && (c.connections == 0 || now_ns >= g->drain_until_ns)) {
        void (*done)(void *user) = g->drained;
        g->drained = NULL;
        done(g->drained_user);
    }
}

static void on_timer(struct vv_loop *loop, struct vv_timer *t)
{
    struct vv_gateway *g = VV_CONTAINER(t, struct vv_gateway, timer);
    const uint64_t now = vv_loop_now(loop);
    if (!g->started) {
        if (!vv_names_settled(g->names) && now < g->start_deadline_ns) {
            vv_loop_timer_at(loop, t, now + 10 * VV_MS);
            return;
        }
        start_now(g);
        if (!g->started) {
            return;
        }
    }
    vv_loop_timer_at(loop, t, now + TICK_NS);
    vv_checks_tick(g->checks, g->rt, now);
    vv_homes_tick(&g->homes, now);
    vv_shed_watch_tick(g, now);
    vv_warm_tick(g, now);
    if (g->draining) {
        drain_step(g, now); /* last: its callback may free the gateway */
    }
}

enum vv_err vv_gateway_reload(struct vv_gateway *g, struct vv_settings *settings,
                              const struct vv_listener_fds *listeners, size_t count)
{
    char why[256] = "";
    struct vv_runtime *rt = NULL;
    enum vv_err err = take_sockets(g, settings, listeners, count);
    if (err == VV_OK) {
        err = all_have_sockets(g, settings);
    }
    if (err == VV_OK) {
        err = vv_homes_prepare(&g->homes, settings, why);
    }
    if (err == VV_OK) {
        err = vv_runtime_new(settings, g->rt, &g->homes, &rt, why);
    }
    if (err != VV_OK) {
        settle_sockets(g, false);
        vv_homes_settle(&g->homes, g->rt->settings, false);
        say(why);
        vv_settings_free(settings);
        return err;
    }
    err = use_labels(g, settings);
    if (err == VV_OK) {
        err = vv_names_apply(g->names, rt);
    }
    if (err == VV_OK) {
        g->adopted = 0;
        err = post_runtime(g, rt);
    }
    if (err != VV_OK) {
        /* Names may already know the new services: the old ones again. */
        (void)!use_labels(g, g->rt->settings);
        (void)!vv_names_apply(g->names, g->rt);
        settle_sockets(g, false);
        vv_homes_settle(&g->homes, g->rt->settings, false);
        vv_runtime_unref(rt);
        return err;
    }
    settle_sockets(g, true);
    vv_homes_settle(&g->homes, settings, true);
    vv_runtime_commit(rt);
    vv_runtime_unref(g->rt);
    g->rt = rt;
    return VV_OK;
}

bool vv_gateway_settled(const struct vv_gateway *g)
{
    return g->rt->generation == 1 || g->adopted == g->worker_count;
}

struct vv_homes *vv_gateway_homes(struct vv_gateway *g)
{
    return &g->homes;
}

const struct vv_settings *vv_gateway_settings(const struct vv_gateway *g)
{
    return g->rt->settings;
}

struct drain {
    struct vv_mail mail;
    struct vv_worker *w;
};

static void on_drain(struct vv_loop *loop, struct vv_mail *mail)
{
    (void)loop;
    struct drain *d = VV_CONTAINER(mail, struct drain, mail);
    d->w->draining = true;
    VV_LIST_EACH (it, &d->w->listeners) {
        vv_listener_stop(VV_LIST_ENTRY(it, struct vv_listener, node));
    }
    vv_resp_fronts_stop(d->w);
    free(d);
}

void vv_gateway_drain(struct vv_gateway *g, uint64_t deadline_ns, void (*done)(void *user),
                      void *user)
{
    g->drained = done;
    g->drained_user = user;
    g->drain_until_ns = deadline_ns;
    if (g->draining) {
        return;
    }
    g->draining = true;
    for (unsigned i = 0; i < g->running; i++) {
        struct drain *d = malloc(sizeof *d);
        if (d == NULL) {
            g->drain_until_ns = 0; /* no memory to ask nicely: end at the next tick */
            continue;
        }
        *d = (struct drain){.mail = {.fn = on_drain}, .w = g->worker[i]};
        vv_loop_post(g->worker[i]->loop, &d->mail);
    }
}

bool vv_gateway_draining(const struct vv_gateway *g)
{
    return g->draining;
}

void vv_gateway_stop(struct vv_gateway *g)
{
    for (unsigned i = 0; i < g->running; i++) {
        vv_loop_stop(g->worker[i]->loop);
        vv_thread_join(&g->thread[i]);
    }
    g->running = 0;
}

void vv_gateway_save_caches(struct vv_gateway *g)
{
    vv_caches_save(g->homes.caches, (struct vv_cache_clock){vv_clock_now(), vv_clock_wall()});
}

void vv_gateway_free(struct vv_gateway *g)
{
    if (g == NULL) {
        return;
    }
    vv_gateway_stop(g);
    vv_loop_timer_stop(g->control, &g->timer);
    vv_metrics_collector_remove(g->metrics, collect, g);
    vv_pool_free(g->pool);
    for (unsigned i = 0; i < g->worker_count; i++) {
        vv_worker_free(g->worker[i]);
    }
    vv_checks_free(g->checks);
    vv_names_free(g->names);
    vv_log_tail_free(g);
    vv_warm_free(g);
    vv_shed_watch_free(g);
    vv_access_log_free(g->log);
    vv_runtime_unref(g->rt);
    vv_resp_home_free(g->resp);
    vv_homes_fini(&g->homes); /* last: workers and runtimes held references */
    VV_LIST_EACH (it, &g->sockets) {
        sockets_free(VV_LIST_ENTRY(it, struct sockets, node));
    }
    free(g->worker);
    free(g->thread);
    free(g);
}

static void tell_ejected(void *user, struct vv_server *server, const char *reason)
{
    struct vv_gateway *g = user;
    vv_warn("balance", "server ejected service=%s server=%s reason=%s",
            vv_service_state_name(server->service), server->name, reason);
    (void)g;
}

void vv_gateway_tick(struct vv_gateway *g, uint64_t now_ns)
{
    for (size_t i = 0; i < g->rt->service_count; i++) {
        vv_balance_tick(g->rt->service[i].state, now_ns, tell_ejected, g);
    }
}

void vv_gateway_reopen_logs(struct vv_gateway *g)
{
    if (g->log != NULL) {
        vv_access_log_reopen(g->log);
    }
}

void vv_gateway_counts(struct vv_gateway *g, struct vv_gateway_counts *ret)
{
    const vv_series in_flight = vv_metrics_series(g->metrics, VV_METRIC_IN_FLIGHT, NULL, 0);
    *ret = (struct vv_gateway_counts){.workers = g->worker_count,
                                      .in_flight = vv_metrics_value(g->metrics, in_flight)};
    for (unsigned i = 0; i < g->worker_count; i++) {
        ret->connections += __atomic_load_n(&g->worker[i]->sessions_open, __ATOMIC_RELAXED);
        ret->requests += __atomic_load_n(&g->worker[i]->requests, __ATOMIC_RELAXED);
    }
}

enum vv_err vv_gateway_server_change(struct vv_gateway *g, const struct vv_server_change *c)
{
    const struct vv_service *s = vv_runtime_service(g->rt, c->service);
    if (c->what == VV_SERVER_ADD && s != NULL && s->tls == NULL && vv_url_is_secure(c->server)) {
        return VV_ECONFIG;
    }
    return vv_names_change(g->names, c);
}
