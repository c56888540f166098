/* src/gateway/fault_points.c - faults are played at the socket, so that everything above it runs the very
 * code that it runs when a server really fails. */
#include "gateway/fault_points.h"
#include "gateway/faults.h"
#include "gateway/forward.h"
#include "gateway/homes.h"
#include "gateway/upstream_h2.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define PACE_STEPS 50 /* a slow body moves so many times a second, if it has that many bytes */

struct vv_fault_line { /* what is wrong with one connection; only struck ones have it */
    struct vv_uconn *u;
    struct vv_fault_plan plan;
    uint64_t held_until_ns;
    uint64_t body_bytes;            /* passed on so far */
    uint64_t paced_ns, paced_bytes; /* since the head was over */
    int peer;                       /* the false server's end; -1: the server is real */
    bool head_over, cut;
    struct vv_timer timer;
    struct vv_corpse corpse;
};

static void on_timer(struct vv_loop *loop, struct vv_timer *t)
{
    struct vv_uconn *u = VV_CONTAINER(t, struct vv_fault_line, timer)->u;
    (void)loop;
    if (u != NULL && u->owner != NULL) {
        vv_uconn_again(u);
    }
}

static void bury(struct vv_worker *w, struct vv_corpse *c)
{
    (void)w;
    free(VV_CONTAINER(c, struct vv_fault_line, corpse));
}

void vv_fault_end(struct vv_uconn *u)
{
    struct vv_fault_line *l = u->fault;
    if (l == NULL) {
        return;
    }
    u->fault = NULL;
    l->u = NULL;
    vv_loop_timer_stop(u->w->loop, &l->timer);
    vv_close_fd(&l->peer);
    l->corpse.bury = bury;
    vv_worker_bury(u->w, &l->corpse); /* its timer may be what is running */
}

/* ---- taking a connection ---- */

static struct vv_fault_line *line_new(struct vv_worker *w, const struct vv_fault_plan *plan)
{
    struct vv_fault_line *l = calloc(1, sizeof *l);
    if (l != NULL) {
        l->plan = *plan;
        l->held_until_ns = vv_worker_now(w) + plan->delay_ns;
        l->peer = -1;
        vv_timer_init(&l->timer, on_timer);
    }
    return l;
}

/* The false server has said all it will before it is asked. Nothing it says may be kept. */
static void say_abort(const struct vv_fault_line *l)
{
    static const char text[] = "an ordered fault\n";
    char answer[256];
    const char *reason = vv_h1_reason((int)l->plan.status);
    const int n = snprintf(answer, sizeof answer,
                           "HTTP/1.1 %u %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n"
                           "Cache-Control: no-store\r\nConnection: close\r\n\r\n%s",
                           l->plan.status, reason, sizeof text - 1, text);
    VV_ASSERT(n > 0 && (size_t)n < sizeof answer);
    const ssize_t sent = vv_sock_send(l->peer, answer, (size_t)n, MSG_NOSIGNAL);
    (void)sent; /* a new socket has room; if not, the server has left without a word */
}

static enum vv_err take_false(struct vv_upstreams *us, struct vv_server *server,
                              const struct vv_service *service, struct vv_fault_line *l,
                              const struct vv_uconn_owner *owner, void *user, struct vv_uconn **ret)
{
    int fd[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd) != 0) {
        return VV_EFILES;
    }
    l->peer = fd[1];
    if (l->plan.end == VV_FAULT_ABORT) {
        say_abort(l);
    }
    (void)shutdown(l->peer, SHUT_WR);
    return vv_upstream_take_fd(us, server, service, fd[0], owner, user, ret);
}

/* A switch of protocols needs a connection of its own. */
static enum vv_err take_real(struct vv_exchange *x, struct vv_server *server,
                             const struct vv_service *service, bool fresh,
                             const struct vv_uconn_owner *owner, void *user, struct vv_uconn **ret)
{
    struct vv_upstreams *us = x->w->upstreams;
    return service->conf->http2 != 0 && !vv_forward_upgrades(x)
               ? vv_ustream_take(us, server, service, fresh, owner, user, ret)
               : vv_upstream_take(us, server, service, fresh, owner, user, ret);
}

enum vv_err vv_fault_take(struct vv_exchange *x, struct vv_server *server,
                          const struct vv_service *service, bool fresh,
                          const struct vv_uconn_owner *owner, void *user, struct vv_uconn **ret)
{
    struct vv_upstreams *us = x->w->upstreams;
    struct vv_faults *faults = x->w->homes != NULL ? x->w->homes->faults : NULL;
    struct vv_fault_plan plan;
    if (faults == NULL || !vv_faults_any(faults) || !vv_faults_decide(faults, x, &plan)) {
        return take_real(x, server, service, fresh, owner, user, ret);
    }
    struct vv_fault_line *l = line_new(x->w, &plan);
    if (l == NULL) {
        return VV_ENOMEM;
    }
    x->guard_word = "fault";
    const bool is_false = plan.end != VV_FAULT_KIND_COUNT;
    const enum vv_err err = is_false ? take_false(us, server, service, l, owner, user, ret)
                                     : take_real(x, server, service, fresh, owner, user, ret);
    if (err != VV_OK) {
        vv_close_fd(&l->peer);
        free(l);
        return err;
    }
    l->u = *ret;
    (*ret)->fault = l;
    return VV_OK;
}

/* ---- events ---- */

static bool held(struct vv_fault_line *l, uint64_t until_ns)
{
    struct vv_worker *w = l->u->w;
    if (vv_worker_now(w) >= until_ns) {
        return false;
    }
    vv_loop_timer_at(w->loop, &l->timer, until_ns);
    return true;
}

bool vv_fault_connected(struct vv_uconn *u, enum vv_err *err)
{
    struct vv_fault_line *l = u->fault;
    if (l->plan.end == VV_FAULT_DROP) {
        *err = VV_EREFUSED;
        return !held(l, l->held_until_ns);
    }
    return true;
}

/* How long the head is that lies in the socket, or all of it when its end is not there yet: a head is
 * not what is slow. */
static size_t head_bytes(const struct vv_uconn *u)
{
    char peek[4096];
    if (u->stream != NULL) {
        return vv_ustream_head_left(u) > 0 ? vv_ustream_head_left(u) : SIZE_MAX;
    }
    if (u->tls != NULL) {
        return sizeof peek; /* what lies in the socket cannot be read: a guess is near enough */
    }
    const ssize_t n = recv(u->io.fd, peek, sizeof peek, MSG_PEEK);
    if (n <= 0) {
        return SIZE_MAX; /* reading will say why */
    }
    const char *end = memmem(peek, (size_t)n, "\r\n\r\n", 4);
    return end != NULL ? (size_t)(end - peek) + 4 : (size_t)n;
}

/* Bytes that a slow body may have by now; 0: the timer is set for the next ones. */
static size_t paced(struct vv_fault_line *l)
{
    const uint64_t now = vv_worker_now(l->u->w);
    const uint64_t rate = l->plan.bytes_per_s;
    const uint64_t step = vv_max_u64(rate / PACE_STEPS, 1);
    const unsigned __int128 due = (unsigned __int128)(now - l->paced_ns) * rate / VV_SEC;
    if (due >= l->paced_bytes + step) {
        return (size_t)vv_min_u64((uint64_t)(due - l->paced_bytes), SIZE_MAX / 2);
    }
    const unsigned __int128 at = (unsigned __int128)(l->paced_bytes + step) * VV_SEC / rate + 1;
    (void)held(l, l->paced_ns + (uint64_t)at);
    return 0;
}

enum vv_err vv_fault_before_read(struct vv_uconn *u, size_t *room_max)
{
    struct vv_fault_line *l = u->fault;
    *room_max = SIZE_MAX;
    if (held(l, l->held_until_ns)) {
        return VV_EAGAIN;
    }
    if (l->cut || l->plan.end == VV_FAULT_RESET) {
        u->eof = true;
        u->readable = false;
        return l->cut && u->stream == NULL ? VV_ECLOSED : VV_ERESET;
    }
    if (l->plan.bytes_per_s != 0) {
        *room_max = l->head_over ? paced(l) : head_bytes(u);
    }
    return *room_max > 0 ? VV_OK : VV_EAGAIN;
}

void vv_fault_after_read(struct vv_uconn *u, size_t bytes)
{
    struct vv_fault_line *l = u->fault;
    if (l->head_over) {
        l->paced_bytes += bytes;
    } else {
        l->paced_ns = vv_worker_now(u->w);
        l->head_over = true;
    }
}

/* ---- the body ---- */

void vv_fault_run(struct vv_uconn *u, struct vv_str *run, bool *done)
{
    struct vv_fault_line *l = u->fault;
    const uint64_t from = l->body_bytes;
    if (run->n > l->plan.truncate_at - vv_min_u64(from, l->plan.truncate_at)) {
        run->n = (size_t)(l->plan.truncate_at - from);
        u->in->start = u->in->end;
        l->cut = true;
        *done = false;
    }
    l->body_bytes += run->n;
    if (l->plan.corrupt_at >= from && l->plan.corrupt_at < l->body_bytes) {
        /* The run lies in this connection's own block. */
        char *byte = u->in->data + (run->p - u->in->data) + (l->plan.corrupt_at - from);
        *byte = (char)((uint8_t)*byte ^ l->plan.corrupt_xor);
    }
}
