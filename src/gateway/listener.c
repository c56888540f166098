/* src/gateway/listener.c - accepts in bursts, answers in the same turn, rests when descriptors run out. */
#include "gateway/door.h"
#include "gateway/homes.h"
#include "gateway/session.h"
#include "gateway/session_h2.h"
#include "gateway/tls_count.h"
#include <stdlib.h>
#include <unistd.h>

#define ACCEPTS_PER_TURN 64
#define REST_NS (100 * VV_MS)

static void forget_compiled(struct vv_listener *l)
{
    for (size_t i = 0; i < l->host_count; i++) {
        free((char *)(uintptr_t)l->host[i].p);
    }
    free(l->host);
    free(l->trust);
    vv_door_forget(&l->conf.clients);
    l->host = NULL;
    l->trust = NULL;
    l->host_count = l->trust_count = 0;
}

static void listener_free(struct vv_listener *l)
{
    vv_tls_count(l);
    vv_list_del(&l->node);
    vv_loop_timer_stop(l->worker->loop, &l->rest);
    forget_compiled(l);
    free(l->name);
    free(l->address);
    free(l);
}

static enum vv_err compile_trust(struct vv_listener *l, const struct vv_conf_list *trust)
{
    const size_t count = trust != NULL ? trust->count : 0;
    l->trust = calloc(count + 1, sizeof *l->trust);
    if (l->trust == NULL) {
        return VV_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        const enum vv_err err = vv_cidr_parse(vv_str_from(trust->item[i]), &l->trust[i]);
        if (err != VV_OK) {
            return err;
        }
    }
    l->trust_count = count;
    return VV_OK;
}

static enum vv_err compile_hosts(struct vv_listener *l, const struct vv_conf_list *names)
{
    const size_t count = names != NULL ? names->count : 0;
    l->host = calloc(count + 1, sizeof *l->host);
    if (l->host == NULL) {
        return VV_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        char *name = strdup(names->item[i]);
        if (name == NULL) {
            return VV_ENOMEM;
        }
        for (char *c = name; *c != '\0'; c++) {
            *c = vv_char_lower(*c);
        }
        l->host[l->host_count++] = vv_str_from(name);
    }
    return VV_OK;
}

enum vv_err vv_listener_update(struct vv_listener *l, const struct vv_listen_settings *conf,
                               uint32_t index)
{
    struct vv_listener fresh = *l;
    fresh.host = NULL;
    fresh.trust = NULL;
    fresh.host_count = fresh.trust_count = 0;
    fresh.conf.clients = (struct vv_clients_settings){0};
    enum vv_err err = vv_door_copy(&conf->clients, &fresh.conf.clients);
    if (err == VV_OK) {
        err = compile_trust(&fresh, conf->trust);
    }
    if (err == VV_OK) {
        err = compile_hosts(&fresh, conf->names);
    }
    if (err != VV_OK) {
        forget_compiled(&fresh);
        return err;
    }
    forget_compiled(l);
    l->host = fresh.host;
    l->host_count = fresh.host_count;
    l->trust = fresh.trust;
    l->trust_count = fresh.trust_count;
    l->conf = *conf;
    l->conf.clients = fresh.conf.clients;
    /* Text and lists in it belong to settings that may go: ours stand for them. */
    l->conf.name = l->name;
    l->conf.address = l->address;
    l->conf.names = l->conf.trust = l->conf.limits = NULL;
    l->conf.redirect = NULL;
    l->conf.tls = (struct vv_tls_settings){.enabled = conf->tls.enabled};
    l->index = index;
    l->tls = l->worker->homes != NULL ? vv_certs_slot(l->worker->homes->certs, l->name) : NULL;
    l->sessions_max = conf->connections;
    vv_session_h2_limits(l);
    return VV_OK;
}

/* One connection more than we may have: told so where that is possible. */
static void refuse(const struct vv_listener *l, int fd)
{
    static const char answer[] = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n"
                                 "Retry-After: 1\r\nConnection: close\r\n\r\n";
    if (l->tls == NULL) {
        (void)!send(fd, answer, sizeof answer - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    close(fd);
}

static void out_of_files(struct vv_listener *l)
{
    vv_metric_add(l->worker->shard, l->s_refused_files, 1);
    /* The connection stays in the backlog; asking again at once would only spin. */
    vv_loop_del(l->worker->loop, &l->io, false);
    vv_loop_timer_at(l->worker->loop, &l->rest, vv_worker_now(l->worker) + REST_NS);
}

/* False: refused, and counted. */
static bool has_room(struct vv_listener *l)
{
    const bool full = l->sessions_max != 0 && l->sessions - l->detached >= l->sessions_max;
    if (full && !vv_door_make_room(l->worker, l, "connections")) {
        vv_metric_add(l->worker->shard, l->s_refused_limit, 1);
        return false;
    }
    if (!vv_door_has_memory(l)) {
        vv_metric_add(l->worker->shard, l->s_refused_memory, 1);
        return false;
    }
    return true;
}

static void on_accept(struct vv_loop *loop, struct vv_io *io, uint32_t events)
{
    (void)loop;
    (void)events;
    struct vv_listener *l = VV_CONTAINER(io, struct vv_listener, io);
    for (unsigned i = 0; i < ACCEPTS_PER_TURN && !l->stopped; i++) {
        int fd = -1;
        struct vv_addr peer;
        const enum vv_err err = vv_sock_accept(io->fd, &fd, &peer);
        if (err == VV_EAGAIN) {
            return;
        }
        if (err == VV_EFILES || err == VV_ENOMEM) {
            if (vv_door_make_room(l->worker, NULL, "descriptors")) {
                continue;
            }
            out_of_files(l);
            return;
        }
        if (err != VV_OK) {
            continue; /* the peer gave up while waiting: the next one may be fine */
        }
        struct vv_client *client = NULL;
        if (!vv_door_admit(l, fd, &peer, &client)) {
            continue;
        }
        if (!has_room(l)) {
            vv_door_leave(l->worker, client);
            refuse(l, fd);
            continue;
        }
        l->sessions++;
        vv_session_open(l, fd, &peer, client);
    }
}

static void on_rested(struct vv_loop *loop, struct vv_timer *t)
{
    struct vv_listener *l = VV_CONTAINER(t, struct vv_listener, rest);
    if (!l->stopped && vv_loop_add_listener(loop, &l->io) != VV_OK) {
        vv_loop_timer_at(loop, t, vv_loop_now(loop) + REST_NS);
    }
}

static void find_series(struct vv_listener *l)
{
    struct vv_metrics *m = l->worker->metrics;
    const struct vv_str name = vv_str_from(l->name);
    const struct vv_str limit[] = {name, VV_STR("connections")};
    const struct vv_str files[] = {name, VV_STR("descriptors")};
    const struct vv_str memory[] = {name, VV_STR("memory")};
    l->s_accepted = vv_metrics_series(m, VV_METRIC_ACCEPTED, &name, 1);
    l->s_open = vv_metrics_series(m, VV_METRIC_CONNECTIONS, &name, 1);
    l->s_received = vv_metrics_series(m, VV_METRIC_RECEIVED, &name, 1);
    l->s_refused_limit = vv_metrics_series(m, VV_METRIC_REFUSED, limit, 2);
    l->s_refused_files = vv_metrics_series(m, VV_METRIC_REFUSED, files, 2);
    l->s_refused_memory = vv_metrics_series(m, VV_METRIC_REFUSED, memory, 2);
}

enum vv_err vv_listener_open(struct vv_worker *w, const struct vv_listen_settings *conf,
                             uint32_t index, int fd)
{
    struct vv_listener *l = calloc(1, sizeof *l);
    if (l == NULL) {
        return VV_ENOMEM;
    }
    l->worker = w;
    vv_list_init(&l->node);
    vv_timer_init(&l->rest, on_rested);
    l->io = (struct vv_io){.fn = on_accept, .fd = fd};
    l->name = strdup(conf->name);
    l->address = strdup(conf->address);
    enum vv_err err = l->name != NULL && l->address != NULL ? VV_OK : VV_ENOMEM;
    if (err == VV_OK) {
        err = vv_listener_update(l, conf, index);
    }
    if (err == VV_OK) {
        err = vv_loop_add_listener(w->loop, &l->io);
    }
    if (err != VV_OK) {
        listener_free(l);
        return err;
    }
    l->place = w->homes != NULL ? vv_clients_place(w->homes->clients, l->name) : 0;
    l->is_unix = strncmp(conf->address, "unix:", 5) == 0;
    find_series(l);
    vv_list_push_back(&w->listeners, &l->node);
    return VV_OK;
}

void vv_listener_stop(struct vv_listener *l)
{
    if (l->stopped) {
        return;
    }
    l->stopped = true;
    vv_loop_timer_stop(l->worker->loop, &l->rest);
    vv_loop_del(l->worker->loop, &l->io, false);
    VV_LIST_EACH (it, &l->worker->sessions) {
        struct vv_session *s = VV_LIST_ENTRY(it, struct vv_session, node);
        if (s->listener == l) {
            vv_session_retire(s);
        }
    }
    if (l->sessions == 0) {
        listener_free(l);
    }
}

void vv_listener_session_ended(struct vv_listener *l)
{
    l->sessions--;
    if (l->stopped && l->sessions == 0) {
        listener_free(l);
    }
}

bool vv_listener_trusts(const struct vv_listener *l, const struct vv_addr *peer)
{
    for (size_t i = 0; i < l->trust_count; i++) {
        if (vv_cidr_has(&l->trust[i], peer)) {
            return true;
        }
    }
    return false;
}

bool vv_listener_serves_host(const struct vv_listener *l, struct vv_str host)
{
    for (size_t i = 0; i < l->host_count; i++) {
        const struct vv_str h = l->host[i];
        const bool wild = h.n > 2 && h.p[0] == '*' && h.p[1] == '.';
        if (vv_str_eq(h, host) ||
            (wild && host.n > h.n - 1 && vv_str_ends(host, (struct vv_str){h.p + 1, h.n - 1}))) {
            return true;
        }
    }
    return false;
}
