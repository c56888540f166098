/* src/admin/http.c - one buffer in, one buffer out per connection: an operator's server has few
 * clients, so it is simple first and bounded everywhere. */
#include "admin/http.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_BYTES 16384
#define IN_BYTES_MAX (VV_ADMIN_HEAD_BYTES + VV_ADMIN_BODY_BYTES)
#define OUT_BYTES_HIGH 262144 /* unsent answers: above it no further request is looked at */

static const struct vv_h1_limits limits = {
    .line_bytes = 8192, .head_bytes = VV_ADMIN_HEAD_BYTES, .fields = VV_H1_FIELDS_MAX};

struct conn {
    struct vv_io io;
    struct vv_timer idle;
    struct vv_defer reaper;
    struct vv_list node;
    struct vv_admin_http *server;
    struct vv_admin_exchange x;
    struct vv_h1_head head;
    char *in;
    size_t in_n, in_cap;
    size_t taken;     /* bytes of the request being answered */
    struct vv_sb out; /* bytes to send */
    size_t out_at;
    bool local;
    bool kept; /* the handler has the exchange */
    bool streaming;
    bool ending;    /* close when everything is sent */
    bool continued; /* 100 Continue was sent */
    bool dead;
    void (*closed)(struct vv_admin_exchange *x);
};

struct listener {
    struct vv_io io;
    struct vv_list node;
    struct vv_admin_http *server;
    bool local;
};

struct vv_admin_http {
    struct vv_loop *loop;
    vv_admin_handler *handler;
    void *user;
    struct vv_list conns, listeners;
    size_t count;
};

static void progress(struct conn *c);

static struct conn *conn_of(struct vv_admin_exchange *x)
{
    return VV_CONTAINER(x, struct conn, x);
}

static void conn_free(struct conn *c)
{
    vv_list_del(&c->node);
    c->server->count--;
    vv_sb_fini(&c->x.out);
    vv_sb_fini(&c->out);
    free(c->in);
    free(c);
}

static void reap(struct vv_loop *loop VV_UNUSED, struct vv_defer *d)
{
    conn_free(VV_CONTAINER(d, struct conn, reaper));
}

/* Closes the socket now; the memory goes at the end of the turn, or when the handler gives the
 * exchange back. */
static void conn_close(struct conn *c)
{
    struct vv_loop *loop = c->server->loop;
    if (c->dead) {
        return;
    }
    c->dead = true;
    c->x.gone = true;
    vv_loop_timer_stop(loop, &c->idle);
    vv_loop_del(loop, &c->io, true);
    vv_close_fd(&c->io.fd);
    if (c->streaming && c->closed != NULL) {
        c->closed(&c->x);
    }
    if (!c->kept) {
        vv_loop_defer(loop, &c->reaper);
    }
}

static void conn_flush(struct conn *c)
{
    while (!c->dead && c->out_at < c->out.n) {
        const ssize_t n = send(c->io.fd, c->out.p + c->out_at, c->out.n - c->out_at, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno == EAGAIN || errno == EINTR) {
                return;
            }
            conn_close(c);
            return;
        }
        c->out_at += (size_t)n;
    }
    if (!c->dead) {
        vv_sb_reset(&c->out);
        c->out_at = 0;
        if (c->ending) {
            conn_close(c);
        }
    }
}

static void answer_head(struct conn *c, uint64_t length, bool has_length)
{
    const struct vv_admin_exchange *x = &c->x;
    const bool close = c->ending;
    vv_sb_addf(&c->out, "HTTP/1.1 %d %s\r\n", x->status, vv_h1_reason(x->status));
    vv_sb_addf(&c->out, "Content-Type: %s\r\n", x->type);
    vv_sb_adds(&c->out, "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n");
    if (x->more_headers != NULL) {
        vv_sb_adds(&c->out, x->more_headers);
    }
    if (has_length) {
        vv_sb_addf(&c->out, "Content-Length: %llu\r\n", (unsigned long long)length);
    } else {
        vv_sb_adds(&c->out, "Transfer-Encoding: chunked\r\n");
    }
    vv_sb_adds(&c->out, close ? "Connection: close\r\n\r\n" : "\r\n");
}

static void drop_request(struct conn *c)
{
    c->in_n -= c->taken;
    memmove(c->in, c->in + c->taken, c->in_n);
    c->taken = 0;
    c->continued = false;
    vv_h1_head_init(&c->head);
}

static void answer(struct conn *c)
{
    struct vv_admin_exchange *x = &c->x;
    if (x->out.failed) {
        vv_sb_reset(&x->out);
        x->status = 503;
    }
    c->ending = c->ending || x->close || !c->head.keep_alive;
    answer_head(c, x->out.n, true);
    if (c->head.method != VV_METHOD_HEAD) {
        vv_sb_add(&c->out, vv_sb_str(&x->out));
    }
    vv_sb_fini(&x->out);
    drop_request(c);
    vv_loop_timer_at(c->server->loop, &c->idle, vv_loop_now(c->server->loop) + VV_ADMIN_IDLE_NS);
}

enum vv_err vv_admin_fail(struct vv_admin_exchange *x, int status, const char *fmt, ...)
{
    struct vv_sb text = VV_SB_INIT;
    va_list args;
    va_start(args, fmt);
    vv_sb_vaddf(&text, fmt, args);
    va_end(args);
    vv_sb_reset(&x->out);
    vv_json_init(&x->json, &x->out);
    vv_json_obj(&x->json);
    vv_json_kstr(&x->json, "error", vv_sb_str(&text));
    vv_json_obj_end(&x->json);
    vv_sb_addc(&x->out, '\n');
    vv_sb_fini(&text);
    x->status = status;
    x->type = "application/json";
    return VV_OK;
}

/* The protocol was broken: answer and close, since the next message cannot be found. */
static void refuse(struct conn *c, int status, const char *text)
{
    c->ending = true;
    c->head.keep_alive = false;
    c->taken = c->in_n;
    (void)vv_admin_fail(&c->x, status, "%s", text);
    answer(c);
}

static void dispatch(struct conn *c)
{
    struct vv_admin_exchange *x = &c->x;
    x->head = &c->head;
    x->body = (struct vv_str){c->in + c->head.head_bytes, c->taken - c->head.head_bytes};
    x->local = c->local;
    x->status = 200;
    x->type = "application/json";
    x->more_headers = NULL;
    x->out = (struct vv_sb)VV_SB_INIT;
    vv_json_init(&x->json, &x->out);
    x->close = false;
    x->user = NULL;
    c->kept = true; /* so that a finish from inside the handler is seen */
    const enum vv_err err = c->server->handler(c->server->user, x);
    if (err == VV_EAGAIN) {
        return;
    }
    if (!c->kept || c->streaming) {
        return; /* already answered */
    }
    c->kept = false;
    if (err != VV_OK) {
        (void)vv_admin_fail(x, vv_err_http_status(err), "%s", vv_err_text(err));
    }
    answer(c);
}

/* True: there is a whole request and c->taken says how long it is. */
static bool whole_request(struct conn *c)
{
    const struct vv_str bytes = {c->in, c->in_n};
    if (c->in_n == 0) {
        return false;
    }
    if (c->head.head_bytes == 0) {
        const enum vv_err err = vv_h1_parse_request(&c->head, bytes, &limits);
        if (err == VV_EAGAIN) {
            c->head.head_bytes = 0;
            return false;
        }
        if (err != VV_OK) {
            refuse(c, vv_h1_errors[c->head.error].status, vv_h1_errors[c->head.error].text);
            return false;
        }
    }
    if (c->head.framing == VV_H1_BODY_CHUNKED) {
        refuse(c, 411, "send the body with a Content-Length");
        return false;
    }
    const uint64_t body = c->head.framing == VV_H1_BODY_LENGTH ? c->head.content_length : 0;
    if (body > VV_ADMIN_BODY_BYTES) {
        refuse(c, 413, "the body is too large");
        return false;
    }
    if (c->in_n < c->head.head_bytes + body) {
        if (c->head.expect_continue && !c->continued) {
            c->continued = true;
            vv_sb_adds(&c->out, "HTTP/1.1 100 Continue\r\n\r\n");
        }
        return false;
    }
    c->taken = c->head.head_bytes + (size_t)body;
    return true;
}

/* A client that sends many requests and reads no answers waits here, with bounded memory. */
static void progress(struct conn *c)
{
    while (!c->dead && !c->kept && !c->streaming && !c->ending) {
        if (c->out.n - c->out_at > OUT_BYTES_HIGH) {
            conn_flush(c);
            if (c->dead || c->out.n - c->out_at > OUT_BYTES_HIGH) {
                return;
            }
        }
        if (!whole_request(c)) {
            break;
        }
        dispatch(c);
    }
    conn_flush(c);
}

/* The head's slices point into `in`: while an exchange is open the buffer must not move. */
static bool make_room(struct conn *c)
{
    if (c->in_cap - c->in_n >= READ_BYTES) {
        return true;
    }
    if (c->kept || c->streaming || c->in_cap >= IN_BYTES_MAX + READ_BYTES) {
        return false;
    }
    const size_t cap = c->in_cap == 0 ? 2 * READ_BYTES : c->in_cap * 2;
    char *grown = realloc(c->in, cap);
    if (grown == NULL) {
        return false;
    }
    c->in = grown;
    c->in_cap = cap;
    if (c->head.head_bytes != 0) { /* parsed against the old place: parse again */
        vv_h1_head_init(&c->head);
    }
    return true;
}

static void conn_read(struct conn *c)
{
    while (!c->dead && make_room(c)) {
        const ssize_t n = recv(c->io.fd, c->in + c->in_n, c->in_cap - c->in_n, 0);
        if (n > 0) {
            c->in_n += (size_t)n;
            if (c->streaming) {
                c->in_n = 0; /* whatever a reader of a stream says is not for us */
            }
            progress(c);
            continue;
        }
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            return;
        }
        conn_close(c);
    }
}

static void on_conn(struct vv_loop *loop VV_UNUSED, struct vv_io *io, uint32_t events)
{
    struct conn *c = VV_CONTAINER(io, struct conn, io);
    if ((events & VV_IO_ERROR) != 0) {
        conn_close(c);
        return;
    }
    if ((events & VV_IO_WRITE) != 0 && c->out.n > 0) {
        progress(c);
        events |= VV_IO_READ; /* reading may have stopped for want of room */
    }
    if (!c->dead && (events & (VV_IO_READ | VV_IO_HUP | VV_IO_RDHUP)) != 0) {
        conn_read(c);
    }
}

static void on_idle(struct vv_loop *loop, struct vv_timer *t)
{
    struct conn *c = VV_CONTAINER(t, struct conn, idle);
    if (c->kept || c->streaming) {
        vv_loop_timer_at(loop, t, vv_loop_now(loop) + VV_ADMIN_IDLE_NS);
        return;
    }
    conn_close(c);
}

static void accept_one(struct listener *l, int fd)
{
    struct vv_admin_http *h = l->server;
    struct conn *c = h->count < VV_ADMIN_CONNECTIONS ? calloc(1, sizeof *c) : NULL;
    if (c == NULL) {
        vv_close_fd(&fd);
        return;
    }
    c->io = (struct vv_io){.fn = on_conn, .fd = fd};
    c->reaper.fn = reap;
    vv_list_init(&c->reaper.node);
    c->server = h;
    c->local = l->local;
    vv_h1_head_init(&c->head);
    vv_timer_init(&c->idle, on_idle);
    vv_list_init(&c->node);
    if (vv_loop_add(h->loop, &c->io) != VV_OK) {
        vv_close_fd(&fd);
        free(c);
        return;
    }
    vv_list_push_back(&h->conns, &c->node);
    h->count++;
    vv_loop_timer_at(h->loop, &c->idle, vv_loop_now(h->loop) + VV_ADMIN_IDLE_NS);
}

static void on_listener(struct vv_loop *loop VV_UNUSED, struct vv_io *io, uint32_t events VV_UNUSED)
{
    struct listener *l = VV_CONTAINER(io, struct listener, io);
    int fd = -1;
    for (int i = 0; i < 64 && vv_sock_accept(io->fd, &fd, NULL) == VV_OK; i++) {
        accept_one(l, fd);
    }
}

enum vv_err vv_admin_http_new(struct vv_loop *loop, vv_admin_handler *handler, void *user,
                              struct vv_admin_http **ret)
{
    struct vv_admin_http *h = calloc(1, sizeof *h);
    if (h == NULL) {
        return VV_ENOMEM;
    }
    h->loop = loop;
    h->handler = handler;
    h->user = user;
    vv_list_init(&h->conns);
    vv_list_init(&h->listeners);
    *ret = h;
    return VV_OK;
}

enum vv_err vv_admin_http_listen(struct vv_admin_http *h, int fd, bool local)
{
    struct listener *l = calloc(1, sizeof *l);
    if (l == NULL) {
        vv_close_fd(&fd);
        return VV_ENOMEM;
    }
    l->io = (struct vv_io){.fn = on_listener, .fd = fd};
    l->server = h;
    l->local = local;
    vv_list_init(&l->node);
    const enum vv_err err = vv_loop_add_listener(h->loop, &l->io);
    if (err != VV_OK) {
        vv_close_fd(&fd);
        free(l);
        return err;
    }
    vv_list_push_back(&h->listeners, &l->node);
    return VV_OK;
}

static void unlisten(struct vv_admin_http *h, struct listener *l)
{
    vv_loop_del(h->loop, &l->io,
                false); /* the supervisor has the socket too: closing is not enough */
    vv_close_fd(&l->io.fd);
    vv_list_del(&l->node);
    free(l);
}

void vv_admin_http_unlisten(struct vv_admin_http *h, bool local)
{
    VV_LIST_EACH (it, &h->listeners) {
        struct listener *l = VV_LIST_ENTRY(it, struct listener, node);
        if (l->local == local) {
            unlisten(h, l);
        }
    }
}

void vv_admin_http_free(struct vv_admin_http *h)
{
    if (h == NULL) {
        return;
    }
    VV_LIST_EACH (it, &h->listeners) {
        unlisten(h, VV_LIST_ENTRY(it, struct listener, node));
    }
    VV_LIST_EACH (it, &h->conns) {
        struct conn *c = VV_LIST_ENTRY(it, struct conn, node);
        conn_close(c);
        vv_list_del(&c->reaper.node);
        conn_free(c);
    }
    free(h);
}

void vv_admin_finish(struct vv_admin_exchange *x)
{
    struct conn *c = conn_of(x);
    if (!c->kept || c->streaming) {
        return;
    }
    c->kept = false;
    if (c->dead) {
        vv_loop_defer(c->server->loop, &c->reaper);
        return;
    }
    answer(c);
    progress(c);
    if (!c->dead) {
        conn_read(c); /* edge-triggered: what came meanwhile gave no new event */
    }
}

void vv_admin_stream_begin(struct vv_admin_exchange *x, const char *type,
                           void (*closed)(struct vv_admin_exchange *x))
{
    struct conn *c = conn_of(x);
    x->status = 200;
    x->type = type;
    c->closed = closed;
    c->kept = false;
    answer_head(c, 0, false);
    c->streaming = true;
    conn_flush(c);
}

bool vv_admin_stream_write(struct vv_admin_exchange *x, struct vv_str bytes)
{
    struct conn *c = conn_of(x);
    char head[24];
    if (c->dead || bytes.n == 0) {
        return !c->dead;
    }
    if (c->out.n - c->out_at > VV_ADMIN_STREAM_BYTES) {
        return false;
    }
    if (c->out_at > OUT_BYTES_HIGH) {
        c->out.n -= c->out_at;
        memmove(c->out.p, c->out.p + c->out_at, c->out.n);
        c->out_at = 0;
    }
    vv_sb_add(&c->out, (struct vv_str){head, vv_h1_chunk_head(head, bytes.n)});
    vv_sb_add(&c->out, bytes);
    vv_sb_adds(&c->out, "\r\n");
    conn_flush(c);
    return true;
}

size_t vv_admin_http_connections(const struct vv_admin_http *h)
{
    return h->count;
}

bool vv_admin_http_quiet(const struct vv_admin_http *h)
{
    VV_LIST_EACH (it, &h->conns) {
        const struct conn *c = VV_LIST_ENTRY(it, struct conn, node);
        if (c->kept || c->out_at < c->out.n) {
            return false;
        }
    }
    return true;
}
