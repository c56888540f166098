/* src/gateway/upstream.c - last in, first out: the warmest connection is used first and the surplus grows
 * old at the other end of the list, where it is dropped. */
#include "gateway/upstream.h"
#include "gateway/fault_points.h"
#include "gateway/tcp_watch.h"
#include "gateway/upstream_h2.h"
#include "gateway/upstream_tls.h"
#include "observe/log.h"
#include "wire/http2.h"
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct vv_upstream_pool {
    struct vv_list node;
    struct vv_server *server; /* counted */
    struct vv_list idle;      /* newest first */
    size_t idle_count, active_count;
    size_t keep; /* idle connections kept */
    uint64_t keep_ns;
    bool secure;                /* its URL begins with https:// */
    struct vv_service_tls *tls; /* counted: how it was spoken to last */
    uint32_t tls_generation;
    uint64_t complained_ns; /* when a failure of TLS was last written to the log; 0: never */
    enum vv_tls_failure complaint;
    struct vv_uh2_home h2; /* connections that are shared */
    struct vv_upstream_stat stat;
};

#define COMPLAIN_NS (10 * VV_SEC) /* between two lines about the same failure */

#define WATCH_POOL_MAX 8 /* looks at the connections of one server: others have their turn, too */
#define SLOTS 256        /* pools by server pointer; chains are short */
struct slot {
    struct vv_list pools;
};

struct vv_upstreams {
    struct vv_worker *w;
    struct vv_h2_pool *h2_pool; /* NULL: no server was asked over HTTP/2 yet */
    struct vv_h2_counts h2_counts;
    size_t watched; /* the slot behind the one that vv_upstreams_watch() saw last */
    struct slot slot[SLOTS];
};

static size_t slot_of(const struct vv_server *s)
{
    return (size_t)(((uintptr_t)s >> 6) * UINT64_C(0x9e3779b97f4a7c15) >> 56) % SLOTS;
}

enum vv_err vv_upstreams_new(struct vv_worker *w, struct vv_upstreams **ret)
{
    struct vv_upstreams *us = malloc(sizeof *us);
    if (us == NULL) {
        return VV_ENOMEM;
    }
    us->w = w;
    us->h2_pool = NULL;
    us->watched = 0;
    memset(&us->h2_counts, 0, sizeof us->h2_counts);
    for (size_t i = 0; i < SLOTS; i++) {
        vv_list_init(&us->slot[i].pools);
    }
    *ret = us;
    return VV_OK;
}

static void series_of(struct vv_worker *w, struct vv_upstream_pool *p)
{
    const struct vv_str service = vv_str_from(vv_service_state_name(p->server->service));
    const struct vv_str server = vv_str_from(p->server->name);
    const struct vv_str two[] = {service, server};
    const struct vv_str idle[] = {service, server, VV_STR("idle")};
    const struct vv_str active[] = {service, server, VV_STR("active")};
    struct vv_metrics *m = w->metrics;
    p->stat.connects = vv_metrics_series(m, VV_METRIC_UPSTREAM_CONNECTS, two, 2);
    p->stat.reuses = vv_metrics_series(m, VV_METRIC_UPSTREAM_REUSES, two, 2);
    p->stat.idle = vv_metrics_series(m, VV_METRIC_UPSTREAM_CONNECTIONS, idle, 3);
    p->stat.active = vv_metrics_series(m, VV_METRIC_UPSTREAM_CONNECTIONS, active, 3);
    p->stat.duration =
        vv_metric_hist(w->shard, vv_metrics_series(m, VV_METRIC_UPSTREAM_DURATION, two, 2));
}

static struct vv_upstream_pool *pool_of(struct vv_upstreams *us, struct vv_server *server)
{
    struct vv_list *chain = &us->slot[slot_of(server)].pools;
    VV_LIST_EACH (it, chain) {
        struct vv_upstream_pool *p = VV_LIST_ENTRY(it, struct vv_upstream_pool, node);
        if (p->server == server) {
            return p;
        }
    }
    struct vv_upstream_pool *p = calloc(1, sizeof *p);
    if (p == NULL) {
        return NULL;
    }
    vv_server_ref(server);
    p->server = server;
    vv_list_init(&p->idle);
    vv_uh2_home_init(&p->h2, us->w, us, p);
    vv_list_push_front(chain, &p->node);
    p->secure = vv_url_is_secure(server->name);
    series_of(us->w, p);
    return p;
}

static void pool_free(struct vv_upstream_pool *p)
{
    vv_list_del(&p->node);
    vv_service_tls_unref(p->tls);
    vv_server_unref(p->server);
    free(p);
}

static void bury(struct vv_worker *w, struct vv_corpse *c)
{
    (void)w;
    free(VV_CONTAINER(c, struct vv_uconn, corpse));
}

/* Leaves the pool's counts to the caller. */
static void destroy(struct vv_uconn *u)
{
    struct vv_worker *w = u->w;
    u->owner = NULL;
    vv_fault_end(u);
    vv_loop_timer_stop(w->loop, &u->timer);
    vv_loop_del(w->loop, &u->io, true);
    if (u->tls != NULL) {
        (void)vv_tls_close(u->tls); /* as far as the socket takes it: nobody waits */
        vv_tls_free(u->tls);
        u->tls = NULL;
    }
    close(u->io.fd);
    u->io.fd = -1;
    vv_list_del(&u->node);
    vv_loop_defer_stop(&u->again);
    vv_buf_put(&w->bufs, u->in);
    u->in = NULL;
    vv_out_fini(&u->out, &w->bufs);
    u->corpse.bury = bury;
    vv_worker_bury(w, &u->corpse);
}

static void drop_idle(struct vv_uconn *u)
{
    u->pool->idle_count--;
    vv_metric_sub(u->w->shard, u->pool->stat.idle, 1);
    destroy(u);
}

void vv_upstreams_free(struct vv_upstreams *us)
{
    if (us == NULL) {
        return;
    }
    for (size_t i = 0; i < SLOTS; i++) {
        VV_LIST_EACH (it, &us->slot[i].pools) {
            struct vv_upstream_pool *p = VV_LIST_ENTRY(it, struct vv_upstream_pool, node);
            VV_LIST_EACH (c, &p->idle) {
                drop_idle(VV_LIST_ENTRY(c, struct vv_uconn, node));
            }
            vv_uh2_home_fini(&p->h2);
            pool_free(p);
        }
    }
    vv_h2_pool_free(us->h2_pool);
    free(us);
}

static void pool_second(struct vv_upstream_pool *p, uint64_t now_ns)
{
    while (!vv_list_empty(&p->idle)) {
        struct vv_uconn *oldest = VV_LIST_ENTRY(p->idle.prev, struct vv_uconn, node);
        if (now_ns - oldest->idle_since_ns < p->keep_ns) {
            break;
        }
        drop_idle(oldest);
    }
    /* Those that were not needed for a while give back what they need for bytes on their way. */
    VV_LIST_EACH (it, &p->idle) {
        struct vv_uconn *u = VV_LIST_ENTRY(it, struct vv_uconn, node);
        if (u->tls != NULL && !u->thin && now_ns - u->idle_since_ns >= VV_SEC) {
            u->thin = true;
            vv_tls_idle(u->tls);
        }
    }
    /* Only this pool still knows the server: it has left the service. */
    const bool orphan = atomic_load_explicit(&p->server->refs, memory_order_acquire) == 1;
    vv_uh2_home_second(&p->h2, now_ns, orphan);
    if (orphan && p->active_count == 0 && p->idle_count == 0 && p->h2.streams == 0) {
        pool_free(p);
    }
}

void vv_upstreams_second(struct vv_upstreams *us, uint64_t now_ns)
{
    for (size_t i = 0; i < SLOTS; i++) {
        VV_LIST_EACH (it, &us->slot[i].pools) {
            pool_second(VV_LIST_ENTRY(it, struct vv_upstream_pool, node), now_ns);
        }
    }
}

/* Connections in use are not in a list, which would cost every request two writes: they get their turn
 * when they rest. The warmest are looked at, which is where the traffic is. */
static unsigned pool_watch(struct vv_upstream_pool *p, struct vv_worker *w, unsigned most)
{
    unsigned looks = vv_uh2_home_watch(&p->h2, most);
    VV_LIST_EACH (it, &p->idle) {
        struct vv_uconn *u = VV_LIST_ENTRY(it, struct vv_uconn, node);
        if (looks >= most || !vv_tcp_look(w, VV_TCP_UPSTREAM, u->io.fd, &u->resent)) {
            break; /* a pool speaks TCP or it does not */
        }
        looks++;
    }
    return looks;
}

void vv_upstreams_watch(struct vv_upstreams *us)
{
    unsigned left = VV_TCP_WATCH_MAX;
    for (size_t i = 0; i < SLOTS && left > 0; i++) {
        VV_LIST_EACH (it, &us->slot[us->watched].pools) {
            left -= pool_watch(VV_LIST_ENTRY(it, struct vv_upstream_pool, node), us->w,
                               left < WATCH_POOL_MAX ? left : WATCH_POOL_MAX);
        }
        us->watched = (us->watched + 1) % SLOTS;
    }
}

/* ---- TLS ---- */

static void count_tls(struct vv_uconn *u, enum vv_metric metric, const char *word)
{
    const struct vv_server *server = u->pool->server;
    const struct vv_str values[] = {vv_str_from(vv_service_state_name(server->service)),
                                    vv_str_from(server->name), vv_str_from(word)};
    vv_metric_add(u->w->shard, vv_metrics_series(u->w->metrics, metric, values, VV_COUNT(values)),
                  1);
}

static void tls_failed(struct vv_uconn *u)
{
    struct vv_upstream_pool *p = u->pool;
    const enum vv_tls_failure why = vv_tls_failure(u->tls);
    const uint64_t now = vv_worker_now(u->w);
    count_tls(u, VV_METRIC_UPSTREAM_TLS_FAILURES, vv_tls_failure_name(why));
    if (p->complained_ns == 0 || why != p->complaint || now - p->complained_ns >= COMPLAIN_NS) {
        char text[VV_TLS_ERROR_TEXT];
        p->complained_ns = now;
        p->complaint = why;
        vv_warn("upstream", "TLS failed service=%s server=%s reason=%s error=\"%s\"",
                vv_service_state_name(p->server->service), p->server->name,
                vv_tls_failure_name(why), vv_tls_error(u->tls, text));
    }
}

/* VV_EAGAIN: it goes on with the next event. */
static enum vv_err shake_hands(struct vv_uconn *u)
{
    if (u->rdhup) {
        vv_tls_read_to_end(u->tls);
    }
    const enum vv_err err = vv_tls_handshake(u->tls);
    if (err == VV_OK) {
        count_tls(u, VV_METRIC_UPSTREAM_TLS, vv_tls_resumed(u->tls) ? "resumed" : "full");
        u->readable = true; /* what came behind the handshake is inside already */
    } else if (err != VV_EAGAIN) {
        tls_failed(u);
    }
    return err;
}

/* An idle connection was sent something: tickets and new keys are none of our business, all else is. */
static bool is_silent(struct vv_uconn *u)
{
    char byte;
    size_t n;
    u->thin = false;
    return u->tls != NULL && vv_tls_read(u->tls, &byte, 1, &n) == VV_EAGAIN;
}

/* ---- events ---- */

static void connect_done(struct vv_uconn *u)
{
    enum vv_err err = VV_OK;
    if (u->tls == NULL) {
        err = vv_sock_error(u->io.fd);
        if (u->fault != NULL && !vv_fault_connected(u, &err)) {
            return;
        }
        if (err == VV_OK && u->secure) {
            const enum vv_service_tls_use use =
                u->shared ? VV_SERVICE_TLS_REQUESTS : VV_SERVICE_TLS_PROBE;
            err = vv_service_tls_connect(u->pool->tls, u->pool->server, use, u->io.fd, &u->tls);
        }
    }
    if (err == VV_OK && u->tls != NULL) {
        err = shake_hands(u);
        if (err == VV_EAGAIN) {
            return;
        }
    }
    u->connecting = false;
    u->owner->connected(u, err);
}

static void on_io(struct vv_loop *loop, struct vv_io *io, uint32_t events)
{
    (void)loop;
    struct vv_uconn *u = VV_CONTAINER(io, struct vv_uconn, io);
    if (u->owner == NULL) {
        const uint32_t ends = VV_IO_RDHUP | VV_IO_HUP | VV_IO_ERROR;
        if ((events & ends) || ((events & VV_IO_READ) && !is_silent(u))) {
            drop_idle(u); /* closed, or said something nobody asked for */
        }
        return;
    }
    if (events & (VV_IO_RDHUP | VV_IO_HUP | VV_IO_ERROR)) {
        u->rdhup = true;
    }
    if (events & (VV_IO_READ | VV_IO_RDHUP | VV_IO_HUP | VV_IO_ERROR)) {
        u->readable = !u->eof;
    }
    if (u->connecting) {
        const uint32_t shaking = u->tls != NULL ? VV_IO_READ | VV_IO_RDHUP : 0;
        if (!(events & (VV_IO_WRITE | VV_IO_HUP | VV_IO_ERROR | shaking))) {
            return;
        }
        connect_done(u); /* a server may speak first: its bytes came with this very event */
    } else if ((events & VV_IO_WRITE) && u->blocked) {
        u->owner->writable(u);
    } else if ((events & VV_IO_WRITE) && u->tls != NULL && vv_tls_unsent(u->tls) > 0) {
        const enum vv_err err = vv_tls_flush(u->tls);    /* something of its own, not the owner's */
        u->readable |= err != VV_OK && err != VV_EAGAIN; /* reading says what is wrong */
    }
    if (u->owner != NULL && u->readable && !u->connecting) {
        u->owner->readable(u);
    }
}

void vv_uconn_again(struct vv_uconn *u)
{
    if (u->connecting && u->stream == NULL) {
        connect_done(u);
    }
    if (u->owner != NULL && u->readable && !u->connecting) {
        u->owner->readable(u);
    }
}

static void on_timer(struct vv_loop *loop, struct vv_timer *t)
{
    struct vv_uconn *u = VV_CONTAINER(t, struct vv_uconn, timer);
    if (u->owner == NULL) {
        return;
    }
    if (u->wait_until_ns == 0 || vv_loop_now(loop) < u->wait_until_ns) {
        if (u->wait_until_ns != 0) {
            vv_loop_timer_at(loop, t, u->wait_until_ns);
        }
        return;
    }
    u->wait_until_ns = 0;
    u->owner->timeout(u);
}

void vv_uconn_wait(struct vv_uconn *u, uint64_t at_ns)
{
    u->wait_until_ns = at_ns;
    /* A timer that is armed for an earlier time looks again by itself: most requests touch no wheel. */
    if (at_ns != 0 && (!u->timer.armed || u->timer.at_ns > at_ns)) {
        vv_loop_timer_at(u->w->loop, &u->timer, at_ns);
    }
}

static void on_again(struct vv_loop *loop, struct vv_defer *d)
{
    (void)loop;
    struct vv_uconn *u = VV_CONTAINER(d, struct vv_uconn, again);
    if (u->owner != NULL && !u->connecting) {
        u->owner->readable(u);
    }
}

/* ---- taking and returning ---- */

static void lend(struct vv_uconn *u, const struct vv_uconn_owner *owner, void *user)
{
    u->owner = owner;
    u->user = user;
    u->requests++;
    u->pool->active_count++;
    vv_metric_add(u->w->shard, u->pool->stat.active, 1);
}

void vv_uconn_init(struct vv_uconn *u, struct vv_worker *w, struct vv_upstream_pool *pool)
{
    memset(u, 0, offsetof(struct vv_uconn, out));
    u->io.fd = -1;
    u->w = w;
    u->pool = pool;
    u->tls_generation = pool->tls_generation;
    u->again.fn = on_again;
    vv_list_init(&u->again.node);
    vv_list_init(&u->node);
    vv_timer_init(&u->timer, on_timer);
    vv_out_init(&u->out);
}

/* A connection over fd, which is closed when there cannot be one. */
static enum vv_err open_on(struct vv_upstreams *us, struct vv_upstream_pool *p, int fd,
                           struct vv_uconn **ret)
{
    struct vv_uconn *u = malloc(sizeof *u);
    if (u == NULL) {
        close(fd);
        return VV_ENOMEM;
    }
    vv_uconn_init(u, us->w, p);
    u->io.fd = fd;
    u->io.fn = on_io;
    u->connecting = true;
    const enum vv_err err = vv_loop_add(us->w->loop, &u->io);
    if (err != VV_OK) {
        close(u->io.fd);
        free(u);
        return err;
    }
    *ret = u;
    return VV_OK;
}

static enum vv_err open_new(struct vv_upstreams *us, struct vv_upstream_pool *p,
                            struct vv_uconn **ret)
{
    int fd;
    enum vv_err err = vv_sock_connect(&p->server->addr, &fd);
    if (err == VV_OK) {
        err = open_on(us, p, fd, ret);
    }
    if (err == VV_OK) {
        (*ret)->secure = p->secure;
        vv_metric_add(us->w->shard, p->stat.connects, 1);
    }
    return err;
}

/* What the service of the caller's runtime says now. */
static void follow(struct vv_upstream_pool *p, const struct vv_service *service)
{
    p->keep = service->conf->keepalive;
    p->keep_ns = service->conf->keepalive_ns;
    if (!p->secure || p->tls == service->tls) {
        return;
    }
    vv_service_tls_unref(p->tls);
    p->tls = vv_service_tls_ref(service->tls);
    p->tls_generation++;
    VV_LIST_EACH (it, &p->idle) {
        drop_idle(VV_LIST_ENTRY(it, struct vv_uconn, node));
    }
}

enum vv_err vv_upstream_take_fd(struct vv_upstreams *us, struct vv_server *server,
                                const struct vv_service *service, int fd,
                                const struct vv_uconn_owner *owner, void *user,
                                struct vv_uconn **ret)
{
    struct vv_upstream_pool *p = pool_of(us, server);
    if (p == NULL) {
        close(fd);
        return VV_ENOMEM;
    }
    follow(p, service);
    const enum vv_err err = open_on(us, p, fd, ret);
    if (err == VV_OK) {
        lend(*ret, owner, user);
    }
    return err;
}

struct vv_uh2_home *vv_upstream_home(struct vv_upstreams *us, struct vv_server *server,
                                     const struct vv_service *service)
{
    struct vv_upstream_pool *p = pool_of(us, server);
    if (p == NULL) {
        return NULL;
    }
    follow(p, service);
    p->h2.keep_ns = service->conf->keepalive != 0 ? service->conf->keepalive_ns : 0;
    p->h2.tls_generation = p->tls_generation;
    return &p->h2;
}

struct vv_h2_pool *vv_upstreams_h2_pool(struct vv_upstreams *us)
{
    if (us->h2_pool == NULL) {
        us->h2_pool = vv_h2_pool_new(&us->h2_counts);
    }
    return us->h2_pool;
}

enum vv_err vv_upstream_take(struct vv_upstreams *us, struct vv_server *server,
                             const struct vv_service *service, bool fresh,
                             const struct vv_uconn_owner *owner, void *user, struct vv_uconn **ret)
{
    struct vv_upstream_pool *p = pool_of(us, server);
    if (p == NULL) {
        return VV_ENOMEM;
    }
    const uint64_t connections = service->conf->connections;
    follow(p, service);
    if (p->secure && p->tls == NULL) {
        return VV_ECONFIG; /* added by the API where the file speaks of no TLS */
    }
    struct vv_uconn *u = NULL;
    if (!fresh && !vv_list_empty(&p->idle)) {
        u = VV_LIST_ENTRY(p->idle.next, struct vv_uconn, node);
        vv_list_del(&u->node);
        p->idle_count--;
        vv_metric_sub(us->w->shard, p->stat.idle, 1);
        vv_metric_add(us->w->shard, p->stat.reuses, 1);
        u->reused = true;
    } else {
        if (connections != 0 && p->active_count + p->idle_count >= connections) {
            return VV_ELIMIT;
        }
        const enum vv_err err = open_new(us, p, &u);
        if (err != VV_OK) {
            return err;
        }
    }
    lend(u, owner, user);
    *ret = u;
    return VV_OK;
}

static void taken_back(struct vv_uconn *u)
{
    u->pool->active_count--;
    vv_metric_sub(u->w->shard, u->pool->stat.active, 1);
}

void vv_upstream_give_back(struct vv_uconn *u)
{
    struct vv_upstream_pool *p = u->pool;
    vv_fault_end(u);
    if (u->stream != NULL) {
        vv_ustream_let_go(u);
        return;
    }
    const bool clean = vv_out_empty(&u->out) && (u->in == NULL || vv_buf_len(u->in) == 0) &&
                       !u->eof && !u->rdhup && (!u->readable || is_silent(u));
    const bool wanted = p->idle_count < p->keep && u->tls_generation == p->tls_generation &&
                        atomic_load_explicit(&p->server->refs, memory_order_relaxed) > 1;
    taken_back(u);
    if (!clean || !wanted) {
        destroy(u);
        return;
    }
    vv_buf_put(&u->w->bufs, u->in);
    u->in = NULL;
    u->readable = u->thin = false;
    u->owner = NULL;
    u->user = NULL;
    u->wait_until_ns = 0;
    u->idle_since_ns = vv_worker_now(u->w);
    vv_list_push_front(&p->idle, &u->node);
    p->idle_count++;
    vv_metric_add(u->w->shard, p->stat.idle, 1);
}

void vv_upstream_discard(struct vv_uconn *u)
{
    if (u->stream != NULL) {
        vv_fault_end(u);
        vv_ustream_let_go(u);
        return;
    }
    taken_back(u);
    destroy(u);
}

/* The end without a word of farewell is ERESET: whoever has no other way to know that an answer is whole must
 * not take it for one (RFC 8446 section 6.1). */
static enum vv_err read_tls(struct vv_uconn *u, size_t room, size_t *ret_bytes)
{
    if (u->rdhup) {
        vv_tls_read_to_end(u->tls);
    }
    const enum vv_err err = vv_tls_read(u->tls, u->in->data + u->in->end, room, ret_bytes);
    u->readable = err == VV_OK && (*ret_bytes == room || u->rdhup || vv_tls_has_more(u->tls));
    if (err == VV_OK || err == VV_EAGAIN) {
        return err;
    }
    u->eof = true;
    const enum vv_tls_failure why = vv_tls_failure(u->tls);
    if (err != VV_ECLOSED && why != VV_TLS_FAIL_CLOSED && why != VV_TLS_FAIL_IO) {
        tls_failed(u); /* in TLS 1.3 a server refuses our certificate after the handshake */
    }
    return err == VV_ECLOSED ? VV_ECLOSED : VV_ERESET;
}

static enum vv_err read_plain(struct vv_uconn *u, size_t room, size_t *ret_bytes)
{
    ssize_t n;
    do {
        n = vv_sock_recv(u->io.fd, u->in->data + u->in->end, room);
    } while (n < 0 && errno == EINTR);
    if (n > 0) {
        *ret_bytes = (size_t)n;
        u->readable = (size_t)n == room || u->rdhup; /* see session.c: a short read emptied it */
        return VV_OK;
    }
    u->readable = false;
    if (n < 0 && errno == EAGAIN) {
        return VV_EAGAIN;
    }
    u->eof = true;
    return n == 0 ? VV_ECLOSED : VV_ERESET;
}

enum vv_err vv_uconn_read(struct vv_uconn *u, size_t block_bytes)
{
    size_t room_max = SIZE_MAX;
    if (u->fault != NULL) {
        const enum vv_err err = vv_fault_before_read(u, &room_max);
        if (err != VV_OK) {
            return err;
        }
    }
    if (u->stream != NULL) {
        size_t got = 0;
        const enum vv_err err = vv_ustream_read(u, room_max, &got);
        if (u->fault != NULL && err == VV_OK) {
            vv_fault_after_read(u, got);
        }
        return err;
    }
    if (!u->readable) {
        return u->eof ? VV_ECLOSED : VV_EAGAIN;
    }
    if (u->in == NULL) {
        u->in = vv_buf_get(&u->w->bufs, block_bytes);
        if (u->in == NULL) {
            return VV_ENOMEM;
        }
    }
    const size_t room = (size_t)vv_min_u64(vv_buf_room(u->in), room_max);
    size_t n = 0;
    VV_ASSERT(room > 0);
    const enum vv_err err = u->tls != NULL ? read_tls(u, room, &n) : read_plain(u, room, &n);
    if (err == VV_OK) {
        u->in->end += (uint32_t)n;
        if (u->fault != NULL) {
            vv_fault_after_read(u, n);
        }
    }
    return err;
}

enum vv_err vv_uconn_flush(struct vv_uconn *u)
{
    if (u->stream != NULL) {
        return vv_ustream_flush(u);
    }
    return vv_out_flush(&u->out, &u->w->bufs, u->io.fd, u->tls, vv_worker_now(u->w));
}

enum vv_err vv_uconn_half_close(struct vv_uconn *u)
{
    const enum vv_err err = u->tls != NULL ? vv_tls_close(u->tls) : VV_OK;
    if (err != VV_EAGAIN) {
        (void)shutdown(u->io.fd, SHUT_WR);
    }
    return err;
}

struct vv_upstream_stat *vv_uconn_stat(struct vv_uconn *u)
{
    return &u->pool->stat;
}

void vv_upstream_count(struct vv_uconn *u, uint32_t key, struct vv_str label)
{
    struct vv_upstream_stat *stat = &u->pool->stat;
    const size_t i = key % VV_COUNT(stat->slot);
    if (stat->slot[i].key != key) {
        const struct vv_str values[] = {
            vv_str_from(vv_service_state_name(u->pool->server->service)),
            vv_str_from(u->pool->server->name), label};
        stat->slot[i].key = key;
        stat->slot[i].series =
            vv_metrics_series(u->w->metrics, VV_METRIC_UPSTREAM_REQUESTS, values, 3);
    }
    vv_metric_add(u->w->shard, stat->slot[i].series, 1);
}
