/* src/store/redis_conn.c - answers find their calls by position, so a place in the ring outlives a
 * call that did not wait: the answer that comes late is dropped there and the next one still meets
 * its own call. That is why a timeout costs no connection. */
#include "store/redis_conn_int.h"

#include <stdlib.h>

#define CONNECT_NS_DEFAULT (500 * VV_MS)
#define CALL_NS_DEFAULT (50 * VV_MS)
#define HANG_NS_DEFAULT VV_SEC
#define CALLS_MAX_DEFAULT 1024
#define OUT_MAX_DEFAULT VV_MIB
#define RING_MIN 64     /* places; most connections never need more */
#define READS_A_TURN 16 /* a megabyte; then others on the loop get their turn */

static void on_io(struct vv_loop *loop, struct vv_io *io, uint32_t events);
static void on_watch(struct vv_loop *loop, struct vv_timer *t);
static void on_work(struct vv_loop *loop, struct vv_defer *d);

/* ---------------------------------------------------------------- lifecycle */

static void set_defaults(struct vv_redis_conn_conf *f)
{
    f->connect_ns = f->connect_ns > 0 ? f->connect_ns : CONNECT_NS_DEFAULT;
    f->call_ns = f->call_ns > 0 ? f->call_ns : CALL_NS_DEFAULT;
    f->hang_ns = f->hang_ns > 0 ? f->hang_ns : HANG_NS_DEFAULT;
    f->calls_max = f->calls_max > 0 ? f->calls_max : CALLS_MAX_DEFAULT;
    f->out_max = f->out_max > 0 ? f->out_max : OUT_MAX_DEFAULT;
}

static char *copy_text(struct vv_str s)
{
    return strndup(s.n > 0 ? s.p : "", s.n);
}

enum vv_err vv_redis_conn_new(struct vv_loop *loop, const struct vv_redis_conn_conf *conf,
                              const struct vv_redis_conn_events *events, struct vv_redis_conn **ret)
{
    struct vv_redis_conn *c = calloc(1, sizeof(*c));
    if (c == NULL) {
        return VV_ENOMEM;
    }
    c->loop = loop;
    c->conf = *conf;
    set_defaults(&c->conf);
    c->events = events != NULL ? *events : (struct vv_redis_conn_events){0};
    c->io = (struct vv_io){.fn = on_io, .fd = -1};
    c->work.fn = on_work;
    vv_list_init(&c->work.node);
    vv_timer_init(&c->watch, on_watch);
    c->mask = RING_MIN - 1;
    c->ring = calloc(RING_MIN, sizeof(struct vv_redis_call *));
    c->in = malloc(VV_REDIS_IN_ROOM);
    c->user = copy_text(conf->user);
    c->password = copy_text(conf->password);
    c->tls_name = copy_text(conf->tls_name);
    if (conf->tls != NULL) {
        vv_tls_context_ref(conf->tls);
    }
    if (c->ring == NULL || c->in == NULL || c->user == NULL || c->password == NULL ||
        c->tls_name == NULL) {
        vv_redis_conn_free(c);
        return VV_ENOMEM;
    }
    *ret = c;
    return VV_OK;
}

void vv_redis_conn_free(struct vv_redis_conn *c)
{
    if (c == NULL) {
        return;
    }
    VV_ASSERT(!c->pumping); /* not from one of its own callbacks */
    c->events = (struct vv_redis_conn_events){.user = c->events.user}; /* for ends of calls */
    vv_redis_conn_fail(c, VV_ECLOSED);
    if (c->password != NULL) {
        explicit_bzero(c->password, strlen(c->password));
    }
    free(c->ring);
    free(c->in);
    free(c->out);
    free(c->user);
    free(c->password);
    free(c->tls_name);
    vv_tls_context_unref(c->conf.tls);
    free(c);
}

void vv_redis_conn_address(struct vv_redis_conn *c, const struct vv_addr *addr)
{
    VV_ASSERT(c->state == VV_REDIS_CLOSED);
    c->conf.addr = *addr;
}

enum vv_err vv_redis_conn_open(struct vv_redis_conn *c)
{
    if (c->state != VV_REDIS_CLOSED) {
        return VV_EEXIST;
    }
    c->refusal[0] = '\0';
    const enum vv_err err = vv_redis_io_open(c);
    if (err != VV_OK) {
        return err;
    }
    vv_resp_reader_init(&c->reader, &c->conf.limits, false);
    c->state = VV_REDIS_CONNECTING;
    c->opened++;
    c->readable = c->writable = c->paused = false;
    c->in_at = c->in_n = c->out_at = c->out_n = 0;
    vv_loop_timer_at(c->loop, &c->watch, vv_loop_now(c->loop) + c->conf.connect_ns);
    return VV_OK;
}

static void end_call(struct vv_redis_conn *c, struct vv_redis_call *call, enum vv_err err)
{
    vv_loop_timer_stop(c->loop, &call->timer);
    call->under_way = false;
    if (call->end != NULL) {
        call->end(call, err);
    }
}

void vv_redis_conn_fail(struct vv_redis_conn *c, enum vv_err why)
{
    if (c->state == VV_REDIS_CLOSED) {
        return;
    }
    c->state = VV_REDIS_CLOSED;
    c->opened++;
    vv_loop_timer_stop(c->loop, &c->watch);
    vv_loop_defer_stop(&c->work);
    vv_redis_io_close(c);
    while (c->head != c->tail) {
        struct vv_redis_call *call = c->ring[c->head++ & c->mask];
        if (call != NULL) {
            end_call(c, call, why);
        }
    }
    if (c->events.closed != NULL) {
        c->events.closed(c->events.user, why);
    }
}

void vv_redis_conn_close(struct vv_redis_conn *c)
{
    vv_redis_conn_fail(c, VV_ECLOSED);
}

void vv_redis_conn_ready(struct vv_redis_conn *c)
{
    c->state = VV_REDIS_READY;
    vv_loop_timer_stop(c->loop, &c->watch);
    if (c->events.ready != NULL) {
        c->events.ready(c->events.user);
    }
}

/* -------------------------------------------------------------------- calls */

static void on_deadline(struct vv_loop *loop, struct vv_timer *t)
{
    struct vv_redis_call *call = VV_CONTAINER(t, struct vv_redis_call, timer);
    struct vv_redis_conn *c = call->conn;
    (void)loop;
    c->ring[call->place & c->mask] = NULL;
    c->stats.timeouts++;
    end_call(c, call, VV_ETIMEOUT);
}

/* Twice as many places; each call finds its new one by its number. */
static enum vv_err grow(struct vv_redis_conn *c)
{
    const uint64_t places = (c->mask + 1) * 2;
    struct vv_redis_call **ring = calloc(places, sizeof(struct vv_redis_call *));
    if (ring == NULL) {
        return VV_ENOMEM;
    }
    for (uint64_t i = c->head; i != c->tail; i++) {
        ring[i & (places - 1)] = c->ring[i & c->mask];
    }
    free(c->ring);
    c->ring = ring;
    c->mask = places - 1;
    return VV_OK;
}

/* Is there a place for one more answer? */
static enum vv_err make_place(struct vv_redis_conn *c)
{
    if (c->tail - c->head >= c->conf.calls_max) {
        return VV_ELIMIT;
    }
    return c->tail - c->head > c->mask ? grow(c) : VV_OK;
}

/* The command is on its way: its answer has a place. */
static void take_place(struct vv_redis_conn *c, struct vv_redis_call *call)
{
    if (c->head == c->tail) {
        c->heard_ns = vv_loop_now(c->loop); /* patience begins with the first answer that is owed */
        if (c->state == VV_REDIS_READY) {
            vv_loop_timer_at(c->loop, &c->watch, c->heard_ns + c->conf.hang_ns);
        }
    }
    call->conn = c;
    call->place = c->tail++;
    call->under_way = true;
    c->ring[call->place & c->mask] = call;
    c->stats.calls++;
}

enum vv_err vv_redis_conn_put(struct vv_redis_conn *c, struct vv_redis_call *call,
                              const struct vv_str *args, size_t args_count)
{
    enum vv_err err = make_place(c);
    if (err == VV_OK) {
        err = vv_redis_out_add(c, args, args_count);
    }
    if (err == VV_OK) {
        take_place(c, call);
        const uint64_t wait_ns = call->timeout_ns > 0 ? call->timeout_ns : c->conf.call_ns;
        vv_timer_init(&call->timer, on_deadline);
        vv_loop_timer_at(c->loop, &call->timer, vv_loop_now(c->loop) + wait_ns);
    }
    return err;
}

enum vv_err vv_redis_conn_call(struct vv_redis_conn *c, struct vv_redis_call *call,
                               const struct vv_str *args, size_t args_count)
{
    VV_ASSERT(call->end != NULL);
    return c->state == VV_REDIS_READY ? vv_redis_conn_put(c, call, args, args_count) : VV_EAGAIN;
}

static enum vv_err take_shared(struct vv_redis_conn *c, struct vv_redis_call *call)
{
    if (!call->under_way) {
        vv_timer_init(&call->timer, on_deadline); /* never armed: only so that it can be stopped */
    }
    take_place(c, call);
    return VV_OK;
}

enum vv_err vv_redis_conn_call_shared(struct vv_redis_conn *c, struct vv_redis_call *call,
                                      const struct vv_str *args, size_t args_count)
{
    if (c->state != VV_REDIS_READY) {
        return VV_EAGAIN;
    }
    enum vv_err err = make_place(c);
    if (err == VV_OK) {
        err = vv_redis_out_add(c, args, args_count);
    }
    return err == VV_OK ? take_shared(c, call) : err;
}

enum vv_err vv_redis_conn_call_ready_made(struct vv_redis_conn *c, struct vv_redis_call *call,
                                          struct vv_str bytes)
{
    if (c->state != VV_REDIS_READY) {
        return VV_EAGAIN;
    }
    enum vv_err err = make_place(c);
    if (err == VV_OK) {
        err = vv_redis_out_bytes(c, bytes);
    }
    return err == VV_OK ? take_shared(c, call) : err;
}

enum vv_err vv_redis_conn_call_pushed(struct vv_redis_conn *c, const struct vv_str *args,
                                      size_t args_count)
{
    return c->state == VV_REDIS_READY ? vv_redis_out_add(c, args, args_count) : VV_EAGAIN;
}

void vv_redis_call_abandon(struct vv_redis_call *call)
{
    if (call->under_way) {
        call->under_way = false;
        call->conn->ring[call->place & call->conn->mask] = NULL;
        vv_loop_timer_stop(call->conn->loop, &call->timer);
    }
}

/* ------------------------------------------------------------------ reading */

static enum vv_err deliver(struct vv_redis_conn *c, const struct vv_resp_item *it)
{
    const uint64_t opened = c->opened;
    if (it->push) {
        c->stats.pushes += it->depth == 0;
        if (c->events.push != NULL) {
            c->events.push(c->events.user, it);
        }
        return VV_OK;
    }
    if (c->head == c->tail) {
        return VV_ESYNTAX; /* an answer to nothing */
    }
    struct vv_redis_call *call = c->ring[c->head & c->mask];
    if (call != NULL) {
        vv_loop_timer_stop(c->loop, &call->timer); /* the answer has begun */
        if (call->item != NULL) {
            call->item(call, it);
        }
    }
    if (!it->done || c->opened != opened) {
        return VV_OK;
    }
    call = c->ring[c->head++ & c->mask]; /* read again: it may have been abandoned */
    if (call != NULL) {
        end_call(c, call, VV_OK);
    } else {
        c->stats.dropped++;
    }
    return VV_OK;
}

/* Hands out what is in the buffer; false when this connection is no more. */
static bool parse(struct vv_redis_conn *c)
{
    const uint64_t opened = c->opened;
    enum vv_err err = VV_OK;
    while (err == VV_OK && !c->paused) {
        struct vv_resp_item it;
        size_t used = 0;
        err = vv_resp_next(&c->reader, (struct vv_str){c->in + c->in_at, c->in_n - c->in_at}, &used,
                           &it);
        c->in_at += used;
        if (err == VV_OK) {
            err = deliver(c, &it);
            if (c->opened != opened) {
                return false;
            }
        }
    }
    if (err != VV_OK && err != VV_EAGAIN) {
        vv_redis_conn_fail(c, err);
        return false;
    }
    memmove(c->in, c->in + c->in_at, c->in_n - c->in_at);
    c->in_n -= c->in_at;
    c->in_at = 0;
    return true;
}

/* One read into the buffer. VV_EAGAIN: nothing there. */
static enum vv_err fill(struct vv_redis_conn *c)
{
    size_t n = 0;
    const enum vv_err err = vv_redis_io_read(c, c->in + c->in_n, VV_REDIS_IN_ROOM - c->in_n, &n);
    if (err == VV_OK) {
        c->in_n += n;
        c->stats.bytes_in += n;
        c->heard_ns = vv_loop_now(c->loop);
    }
    return err;
}

static void pump(struct vv_redis_conn *c)
{
    if (c->pumping) {
        return; /* resumed from a callback: the loop below goes on */
    }
    c->pumping = true;
    bool here = parse(c);
    for (int i = 0; here && !c->paused && c->readable; i++) {
        if (i == READS_A_TURN) {
            vv_loop_defer(c->loop, &c->work);
            break;
        }
        const enum vv_err err = fill(c);
        if (err == VV_EAGAIN) {
            c->readable = false;
        } else if (err != VV_OK) {
            vv_redis_conn_fail(c, err);
            here = false;
        } else {
            here = parse(c);
        }
    }
    c->pumping = false;
}

void vv_redis_conn_pause(struct vv_redis_conn *c)
{
    c->paused = true;
}

void vv_redis_conn_resume(struct vv_redis_conn *c)
{
    if (c->paused && c->state != VV_REDIS_CLOSED) {
        c->paused = false;
        c->heard_ns = vv_loop_now(c->loop); /* the silence was ours */
        vv_loop_defer(c->loop, &c->work);
    }
}

/* ------------------------------------------------------------------- events */

/* The socket is connected, or failed, or TLS goes on. */
static enum vv_err connecting(struct vv_redis_conn *c)
{
    enum vv_err err = vv_sock_error(c->io.fd);
    if (err == VV_OK) {
        err = vv_redis_io_shake(c);
    }
    if (err == VV_OK) {
        c->state = VV_REDIS_GREETING;
        err = vv_redis_greet(c);
    }
    return err;
}

static void on_writable(struct vv_redis_conn *c)
{
    if (!c->writable && c->out_n > c->out_at) {
        c->heard_ns = vv_loop_now(c->loop); /* it took what was blocked: slow, but no silence */
    }
    c->writable = true;
    const enum vv_err err = vv_redis_out_flush(c);
    if (err != VV_OK && err != VV_EAGAIN) {
        vv_redis_conn_fail(c, err);
    }
}

static void on_io(struct vv_loop *loop, struct vv_io *io, uint32_t events)
{
    struct vv_redis_conn *c = VV_CONTAINER(io, struct vv_redis_conn, io);
    const uint64_t opened = c->opened;
    (void)loop;
    if ((events & (VV_IO_READ | VV_IO_RDHUP | VV_IO_HUP | VV_IO_ERROR)) != 0) {
        c->readable = true;
    }
    if (c->tls != NULL && (events & (VV_IO_RDHUP | VV_IO_HUP)) != 0) {
        vv_tls_read_to_end(c->tls);
    }
    const bool writable = (events & (VV_IO_WRITE | VV_IO_HUP | VV_IO_ERROR)) != 0;
    if (c->state == VV_REDIS_CONNECTING) {
        c->writable |= writable;
        const enum vv_err err = c->writable ? connecting(c) : VV_EAGAIN;
        if (err != VV_OK) {
            return err != VV_EAGAIN ? vv_redis_conn_fail(c, err) : (void)0;
        }
        on_writable(c);
    } else if (writable) {
        on_writable(c);
    }
    if (c->opened == opened && c->readable) {
        pump(c);
    }
}

static void on_work(struct vv_loop *loop, struct vv_defer *d)
{
    struct vv_redis_conn *c = VV_CONTAINER(d, struct vv_redis_conn, work);
    const uint64_t opened = c->opened;
    (void)loop;
    if (c->writable) {
        const enum vv_err err = vv_redis_out_flush(c);
        if (err != VV_OK && err != VV_EAGAIN) {
            vv_redis_conn_fail(c, err);
        }
    }
    if (c->opened == opened && !c->paused) {
        pump(c);
    }
}

static void on_watch(struct vv_loop *loop, struct vv_timer *t)
{
    struct vv_redis_conn *c = VV_CONTAINER(t, struct vv_redis_conn, watch);
    const uint64_t now_ns = vv_loop_now(loop);
    if (c->state != VV_REDIS_READY) {
        return vv_redis_conn_fail(c, VV_ETIMEOUT);
    }
    if (c->head == c->tail) {
        return; /* the next call arms it again */
    }
    if (c->paused) {
        c->heard_ns = now_ns;
    }
    if (now_ns - c->heard_ns >= c->conf.hang_ns) {
        return vv_redis_conn_fail(c, VV_ETIMEOUT);
    }
    vv_loop_timer_at(loop, t, c->heard_ns + c->conf.hang_ns);
}

/* ------------------------------------------------------------------ looking */

enum vv_redis_conn_state vv_redis_conn_state(const struct vv_redis_conn *c)
{
    return c->state;
}

unsigned vv_redis_conn_version(const struct vv_redis_conn *c)
{
    return c->version;
}

uint32_t vv_redis_conn_calls(const struct vv_redis_conn *c)
{
    return (uint32_t)(c->tail - c->head);
}

uint64_t vv_redis_conn_heard_ns(const struct vv_redis_conn *c)
{
    return c->heard_ns;
}

const char *vv_redis_conn_refusal(const struct vv_redis_conn *c)
{
    return c->refusal;
}

const struct vv_redis_conn_stats *vv_redis_conn_stats(const struct vv_redis_conn *c)
{
    return &c->stats;
}
