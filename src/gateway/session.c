/* src/gateway/session.c - reads as long as the socket gives, answers before asking epoll: a short
 * connection is accepted, answered and closed without ever being registered. */
#include "gateway/session.h"
#include "gateway/door.h"
#include "gateway/fetch.h"
#include "gateway/identify.h"
#include "gateway/session_h2.h"
#include "gateway/session_int.h"
#include "gateway/session_pace.h"
#include "gateway/sink.h"
#include "os/tls.h"
#include "wire/http2.h"
#include "wire/proxy_header.h"
#include <errno.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define LINGER_NS (5 * VV_SEC)    /* in all */
#define LINGER_QUIET_NS VV_SEC    /* after the last byte */
#define SEND_NS (30 * VV_SEC)     /* for answers whose exchange has ended */
#define QUIET_NS VV_SEC           /* then an idle TLS connection gives its buffers back */
#define LINGER_READS 16           /* in one turn */
#define DISCARD_MAX (64u * 1024u) /* a longer rest of a body is not worth reading: close instead */
#define DISCARD_NS (10 * VV_SEC)  /* nor is one that takes longer */
#define PIECES_BEFORE_REQUEST 8   /* an answer needs at most this many more */
#define PROXY_HEADER_MAX 4096     /* of version 2 with what it may carry */
#define REQUESTS_PER_TURN 64      /* pipelined ones; then the others have their turn */

static void linger_read(struct vv_session *s);

static void bury(struct vv_worker *w, struct vv_corpse *c)
{
    (void)w;
    free(VV_CONTAINER(c, struct vv_session, corpse));
}

static void drop_buffers(struct vv_session *s)
{
    vv_buf_put(&s->w->bufs, s->in);
    vv_buf_put(&s->w->bufs, s->more);
    s->in = s->more = NULL;
    s->at = 0;
    s->scan = s->head_seen = 0;
}

void vv_session_close(struct vv_session *s)
{
    if (s->state == VV_SESSION_CLOSED) {
        return;
    }
    if (s->conn != NULL) {
        vv_session_h2_cut(s);
        return;
    }
    s->state = VV_SESSION_CLOSED;
    if (s->h2 != NULL) {
        vv_session_h2_end(s);
    }
    if (s->x != NULL) {
        vv_exchange_end(s->x, VV_REASON_CLIENT_CLOSED);
    }
    struct vv_worker *w = s->w;
    vv_loop_timer_stop(w->loop, &s->timer);
    if (s->registered) { /* a pool thread may keep the descriptor open: the loop must not hear it */
        vv_loop_del(w->loop, &s->io, s->tls_job == NULL);
    }
    if (vv_session_has_client(s)) {
        if (!vv_session_tls_end(s)) { /* else whoever works for it closes */
            close(s->io.fd);
        }
        vv_worker_count(&w->sessions_open, (uint64_t)-1);
        vv_metric_sub(w->shard, s->listener->s_open, 1);
    } else {
        s->listener->detached--;
    }
    vv_door_leave(w, s->client);
    vv_list_del(&s->node);
    vv_loop_defer_stop(&s->again);
    drop_buffers(s);
    vv_out_fini(&s->out, &w->bufs);
    vv_listener_session_ended(s->listener);
    s->corpse.bury = bury;
    vv_worker_bury(w, &s->corpse);
}

void vv_session_close_hard(struct vv_session *s)
{
    const struct linger hard = {.l_onoff = 1, .l_linger = 0};
    s->hard = true;
    (void)!setsockopt(s->io.fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
}

/* ---- timers ---- */

static void arm(struct vv_session *s, enum vv_session_wait wait, uint64_t at_ns)
{
    s->wait = (uint8_t)wait;
    vv_loop_timer_at(s->w->loop, &s->timer, at_ns);
}

void vv_session_arm(struct vv_session *s)
{
    uint64_t at = UINT64_MAX;
    if (s->x != NULL && s->x->deadline_ns != 0) {
        at = s->x->deadline_ns;
    }
    if (s->body_wait_ns != 0) {
        at = vv_min_u64(at, s->body_wait_ns);
    }
    if (s->send_wait_ns != 0) {
        at = vv_min_u64(at, s->send_wait_ns);
    }
    if (at != UINT64_MAX) {
        arm(s, VV_WAIT_EXCHANGE, at);
    } else {
        s->wait = VV_WAIT_EXCHANGE; /* a timer that is still armed finds nothing to do */
    }
}

static uint64_t header_timeout(const struct vv_session *s)
{
    return s->listener->conf.header_timeout_ns;
}

void vv_session_count_timeout(struct vv_session *s, const char *wait)
{
    const struct vv_str label = vv_str_from(wait);
    vv_metric_add(s->w->shard, vv_metrics_series(s->w->metrics, VV_METRIC_TIMEOUTS, &label, 1), 1);
}

static void refuse(struct vv_session *s, enum vv_reason reason);

static uint64_t send_limit(const struct vv_session *s)
{
    return s->x != NULL ? s->x->send_timeout_ns : SEND_NS;
}

void vv_session_expect_progress(struct vv_session *s)
{
    if (s->conn != NULL) {
        vv_session_send_soon(s, send_limit(s));
    } else {
        vv_session_send_owed(s, send_limit(s));
    }
    vv_session_arm(s);
}

void vv_session_deadline(struct vv_session *s, uint64_t now_ns)
{
    struct vv_exchange *x = s->x;
    const char *why = NULL;
    if (s->send_wait_ns != 0 && now_ns >= s->send_wait_ns) {
        why = vv_session_send_late(s, send_limit(s), now_ns);
        if (why == NULL) {
            vv_session_arm(s);
            return;
        }
        vv_session_count_timeout(s, why);
        if (x != NULL) {
            vv_exchange_end(x, VV_REASON_CLIENT_SLOW_READ);
        } else {
            vv_session_close(s);
        }
    } else if (s->body_wait_ns != 0 && now_ns >= s->body_wait_ns) {
        why = vv_session_body_late(s, now_ns);
        if (why == NULL) {
            vv_session_arm(s);
            return;
        }
        vv_session_count_timeout(s, why);
        s->body_wait_ns = 0;
        if (x != NULL) {
            x->close = true; /* the rest of the body may never come */
            vv_answer_error(x, VV_REASON_CLIENT_SLOW_BODY);
        } else {
            vv_session_close(s);
        }
    } else if (x != NULL && x->deadline_ns != 0 && now_ns >= x->deadline_ns) {
        vv_session_count_timeout(s, "whole");
        vv_answer_error(x, VV_REASON_WHOLE_TIMEOUT);
    } else {
        vv_session_arm(s);
    }
}

static void take_timed_out(struct vv_session *s, uint64_t now_ns)
{
    uint64_t due_ns = 0;
    if (!vv_session_still_takes(s, &due_ns)) {
        arm(s, VV_WAIT_KEEPALIVE, vv_max_u64(s->linger_until_ns, now_ns));
    } else if (due_ns <= now_ns) {
        vv_session_count_timeout(s, "send_rate");
        vv_session_close_hard(s);
        vv_session_close(s);
    } else if (s->linger_until_ns <= now_ns) {
        vv_session_count_timeout(s, "keepalive");
        vv_session_close(s); /* the kernel goes on alone */
    } else {
        arm(s, VV_WAIT_TAKE, vv_min_u64(due_ns, s->linger_until_ns));
    }
}

static void on_timer(struct vv_loop *loop, struct vv_timer *t)
{
    struct vv_session *s = VV_CONTAINER(t, struct vv_session, timer);
    if (s->h2 != NULL) {
        vv_session_h2_timer(s);
        return;
    }
    switch ((enum vv_session_wait)s->wait) {
    case VV_WAIT_HEAD:
        vv_session_count_timeout(s, "header");
        if (s->in != NULL && vv_buf_len(s->in) > 0 && s->state == VV_SESSION_HEAD) {
            refuse(s, VV_REASON_CLIENT_SLOW_HEAD);
        } else {
            vv_session_close(s);
        }
        break;
    case VV_WAIT_QUIET:
        vv_tls_idle(s->tls);
        arm(s, VV_WAIT_KEEPALIVE, s->linger_until_ns);
        break;
    case VV_WAIT_KEEPALIVE:
        vv_session_count_timeout(s, "keepalive");
        vv_session_close(s);
        break;
    case VV_WAIT_TAKE:
        take_timed_out(s, vv_loop_now(loop));
        break;
    case VV_WAIT_LINGER:
        vv_session_close(s);
        break;
    case VV_WAIT_EXCHANGE:
        vv_session_deadline(s, vv_loop_now(loop));
        break;
    }
}

/* ---- reading ---- */

enum vv_err vv_session_read(struct vv_session *s, struct vv_buf *b)
{
    if (s->tls != NULL) {
        return vv_session_tls_read(s, b);
    }
    if (!s->readable) {
        return s->eof ? VV_ECLOSED : VV_EAGAIN;
    }
    for (;;) {
        const size_t room = vv_buf_room(b);
        const ssize_t n = vv_sock_recv(s->io.fd, b->data + b->end, room);
        if (n > 0) {
            b->end += (uint32_t)n;
            /* A short read has emptied the socket: epoll will speak up for the next byte. After a
             * half-close it will not, so keep reading until the end shows. */
            s->readable = (size_t)n == room || s->rdhup;
            return VV_OK;
        }
        if (n == 0) {
            s->readable = false;
            s->eof = true;
            return VV_ECLOSED;
        }
        if (errno == EINTR) {
            continue;
        }
        s->readable = false;
        if (errno == EAGAIN) {
            return VV_EAGAIN;
        }
        s->hup = true;
        return VV_ERESET;
    }
}

/* Makes room for more of a head: bytes stay contiguous because the parser's slices do. */
static bool room_for_head(struct vv_session *s)
{
    if (s->in == NULL) {
        s->in = vv_buf_get(&s->w->bufs, VV_BUF_SMALL);
        return s->in != NULL;
    }
    if (vv_buf_room(s->in) > 0) {
        return true;
    }
    struct vv_buf *b = s->in;
    if (b->start > 0) {
        memmove(b->data, b->data + b->start, vv_buf_len(b));
        b->end -= b->start;
        b->start = 0;
        return true;
    }
    struct vv_buf *bigger = vv_buf_get(&s->w->bufs, (size_t)b->cap * 2);
    if (bigger == NULL) {
        return false;
    }
    memcpy(bigger->data, b->data, b->end);
    bigger->end = b->end;
    vv_buf_put(&s->w->bufs, b);
    s->in = bigger;
    return true;
}

/* Remembers which rule of the protocol was broken, for the answer, the log and the metric. */
void vv_session_refused_for(struct vv_exchange *x, enum vv_h1_error error)
{
    x->refused = &vv_h1_errors[error];
    const struct vv_str label = vv_str_from(x->refused->id);
    vv_metric_add(x->w->shard, vv_metrics_series(x->w->metrics, VV_METRIC_BAD_REQUESTS, &label, 1),
                  1);
    vv_door_malformed(x->session);
}

/* ---- writing ---- */

static void go_on(struct vv_loop *loop, struct vv_defer *d)
{
    (void)loop;
    struct vv_session *s = VV_CONTAINER(d, struct vv_session, again);
    if (s->state == VV_SESSION_LINGER) {
        linger_read(s);
    } else if (s->state != VV_SESSION_CLOSED) {
        vv_session_run(s);
    }
}

enum vv_err vv_session_flush(struct vv_session *s)
{
    if (s->to_sink) {
        s->blocked = false;
        return vv_sink_flush(s);
    }
    if (s->conn != NULL) {
        return vv_session_h2_flush(s);
    }
    if (s->detached) {
        vv_out_fini(&s->out, &s->w->bufs);
        vv_out_init(&s->out);
        return VV_OK;
    }
    s->out.last = s->x == NULL ? s->close_after : s->x->close && s->x->body_done;
    const enum vv_err err =
        vv_out_flush(&s->out, &s->w->bufs, s->io.fd, s->tls, vv_worker_now(s->w));
    if (err == VV_EAGAIN) {
        s->blocked = true;
        if (s->out.yielded) {
            vv_loop_defer(s->w->loop, &s->again);
        }
        if (send_limit(s) != 0 && (s->send_wait_ns == 0 || s->out.sent != s->send_mark)) {
            vv_session_expect_progress(s);
        }
        return VV_EAGAIN;
    }
    s->blocked = false;
    vv_session_send_rests(s);
    return err;
}

/* The socket takes bytes again. False: the session is gone. */
static bool unblock(struct vv_session *s)
{
    const enum vv_err err = vv_session_flush(s);
    if (err == VV_EAGAIN) {
        return true;
    }
    struct vv_exchange *x = s->x;
    if (err != VV_OK) {
        vv_session_close(s);
    } else if (x != NULL && x->body_done) {
        vv_exchange_end(x, VV_REASON_NONE);
    } else if (x != NULL && x->action != NULL && x->action->drained != NULL) {
        x->action->drained(x);
    }
    return s->state != VV_SESSION_CLOSED;
}

/* ---- between requests ---- */

void vv_session_linger(struct vv_session *s)
{
    const bool unread =
        !s->eof && (s->readable || !s->body.done || (s->in != NULL && s->in->end > s->at));
    if (!unread || s->hup) {
        vv_session_close(s);
        return;
    }
    /* Closing with unread bytes would reset the connection and may take the answer with it
     * (RFC 9112 9.6): stop writing, read what still comes, then close. */
    if (s->tls != NULL) {
        (void)vv_tls_close(s->tls);
    }
    shutdown(s->io.fd, SHUT_WR);
    s->state = VV_SESSION_LINGER;
    drop_buffers(s);
    s->linger_until_ns = vv_worker_now(s->w) + LINGER_NS;
    arm(s, VV_WAIT_LINGER, vv_worker_now(s->w) + LINGER_QUIET_NS);
    if (s->readable) {
        linger_read(s); /* no event will announce what is here already */
    }
}

static void linger_read(struct vv_session *s)
{
    if (vv_worker_now(s->w) >= s->linger_until_ns) {
        vv_session_close(s);
        return;
    }
    for (unsigned reads = 0;; reads++) {
        if (reads == LINGER_READS) {
            vv_loop_defer(s->w->loop, &s->again);
            return;
        }
        const ssize_t n = recv(s->io.fd, s->w->scratch, VV_WORKER_SCRATCH, 0);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0 && errno == EAGAIN) {
            s->readable = false;
            arm(s, VV_WAIT_LINGER,
                vv_min_u64(s->linger_until_ns, vv_worker_now(s->w) + LINGER_QUIET_NS));
            return;
        }
        if (n <= 0) {
            vv_session_close(s);
            return;
        }
    }
}

/* What follows the finished request becomes the start of the input. */
static void consume(struct vv_session *s)
{
    if (s->more != NULL) {
        vv_buf_put(&s->w->bufs, s->in);
        s->in = s->more;
        s->more = NULL;
    }
    s->in->start = s->at;
    s->scan = s->head_seen = 0;
    if (s->in->start == s->in->end) {
        vv_buf_put(&s->w->bufs, s->in);
        s->in = NULL;
        s->at = 0;
    }
}

static void discard(struct vv_session *s)
{
    for (;;) {
        struct vv_str run_of_data;
        enum vv_err err = s->body.done ? VV_OK : vv_session_body_take(s, &run_of_data);
        if (err == VV_OK && s->body.done) {
            s->body_wait_ns = 0;
            s->state = VV_SESSION_HEAD;
            consume(s);
            return;
        }
        if (err == VV_EAGAIN) {
            struct vv_buf *b = vv_session_room_for_body(s);
            err = b != NULL ? vv_session_read(s, b) : VV_ENOMEM;
            if (err == VV_EAGAIN) {
                if (s->body_wait_ns == 0) { /* for all of the rest: it may not trickle for ever */
                    s->body_wait_ns = vv_worker_now(s->w) + DISCARD_NS;
                }
                vv_session_arm(s);
                return;
            }
        }
        if (err != VV_OK) { /* the answer may still have to leave */
            s->body_wait_ns = 0;
            s->close_after = true;
            s->state = VV_SESSION_HEAD;
            return;
        }
    }
}

bool vv_session_can_discard(const struct vv_session *s)
{
    return s->body.done || s->conn != NULL ||
           (s->body.framing == VV_H1_BODY_LENGTH && s->body.left <= DISCARD_MAX);
}

void vv_session_exchange_ended(struct vv_session *s, bool close_after, bool cut)
{
    s->x = NULL;
    s->body_wait_ns = 0;
    if (s->state == VV_SESSION_CLOSED) {
        return;
    }
    if (s->conn != NULL) {
        vv_session_h2_exchange_ended(s, cut);
        return;
    }
    if (cut || !vv_session_has_client(s) || (s->hup && vv_out_empty(&s->out))) {
        vv_session_close(s);
        return;
    }
    if (close_after) {
        s->close_after = true;
    }
    if (s->body.done) {
        s->state = VV_SESSION_HEAD;
        consume(s);
    } else if (s->close_after) {
        s->state = VV_SESSION_HEAD;
    } else {
        s->state = VV_SESSION_DISCARD;
    }
    if (!s->busy) {
        vv_session_run(s);
    }
}

void vv_session_own(struct vv_session *s, struct vv_exchange *x)
{
    s->x = x;
    s->state = VV_SESSION_EXCHANGE;
    vv_metric_add(s->w->shard, s->w->s_in_flight, 1);
    vv_worker_count(&s->w->requests, 1);
    vv_metric_add(s->w->shard, s->listener->s_received, 1);
}

/* Answers a request that never became one (malformed, too slow) and closes. */
static void refuse(struct vv_session *s, enum vv_reason reason)
{
    struct vv_exchange *x = vv_exchange_new(s->w, s);
    if (x == NULL) {
        vv_session_close(s);
        return;
    }
    vv_h1_head_init(&x->req);
    x->req.minor = 1;
    vv_session_own(s, x);
    s->body = (struct vv_request_body){.done = false, .framing = VV_H1_BODY_NONE};
    x->close = true;
    vv_identify_request(x);
    vv_answer_error(x, reason);
}

void vv_session_refuse_syntax(struct vv_exchange *x)
{
    vv_session_refused_for(x, x->req.error);
    x->close = true;
    x->req.fields_count = 0; /* what was parsed of a refused head is not to be used */
    vv_identify_request(x);
    vv_answer_error(x, VV_REASON_BAD_REQUEST);
}

static void begin(struct vv_session *s, struct vv_exchange *x)
{
    struct vv_worker *w = s->w;
    vv_session_own(s, x);
    s->requests++;
    s->body_pace = (struct vv_pace){0};
    s->head_began_ns = 0;
    vv_session_took(s);
    s->wait = VV_WAIT_EXCHANGE; /* the timer may still run for the head or the pause before it */
    (void)!vv_body_rewind(x);
    const uint64_t most = s->listener->conf.keepalive_requests;
    x->close = !x->req.keep_alive || w->draining || s->listener->stopped ||
               (most != 0 && s->requests >= most);
    vv_exchange_run(x);
}

/* One request out of the input. False: nothing more to do now. */
static bool next_request(struct vv_session *s)
{
    struct vv_worker *w = s->w;
    if (s->in == NULL || vv_buf_len(s->in) <= s->head_seen) {
        if (!room_for_head(s)) {
            vv_session_close(s);
            return false;
        }
        const enum vv_err err = vv_session_read(s, s->in);
        if (err != VV_OK) {
            if (err != VV_EAGAIN) {
                s->close_after = true;
            }
            return false;
        }
    }
    if (s->requests == 0 && s->tls == NULL && s->listener->conf.http2) {
        const struct vv_str first = {s->in->data + s->in->start, vv_buf_len(s->in)};
        const enum vv_err err = vv_h2_preface(first);
        if (err == VV_OK) {
            vv_session_h2_begin(s, first);
            return false;
        }
        if (err == VV_EAGAIN) {
            s->head_seen = first.n;
            return s->readable || s->eof;
        }
    }
    struct vv_exchange *x = vv_exchange_new(w, s);
    if (x == NULL) {
        vv_session_close(s);
        return false;
    }
    const struct vv_h1_limits limits = {.line_bytes = (uint32_t)s->listener->conf.line_bytes,
                                        .head_bytes = (uint32_t)s->listener->conf.head_bytes,
                                        .fields = (uint32_t)s->listener->conf.fields_max};
    vv_h1_head_init(&x->req);
    x->req.scan = s->scan;
    const struct vv_str bytes = {s->in->data + s->in->start, vv_buf_len(s->in)};
    const enum vv_err err = vv_h1_parse_request(&x->req, bytes, &limits);
    if (err == VV_EAGAIN) {
        s->scan = x->req.scan;
        s->head_seen = bytes.n;
        vv_exchange_free(x);
        return s->readable || s->eof;
    }
    if (err == VV_OK) {
        begin(s, x);
    } else {
        vv_session_own(s, x);
        s->body = (struct vv_request_body){.framing = VV_H1_BODY_NONE};
        s->at = s->in->end;
        vv_session_refuse_syntax(x);
    }
    return true;
}

/* Reads a PROXY header. What follows it may be for TLS, so it is looked at before it is taken. */
static enum vv_err read_proxy_header(struct vv_session *s, struct vv_proxy_header *ret)
{
    char *peeked = s->w->scratch;
    const ssize_t n = recv(s->io.fd, peeked, PROXY_HEADER_MAX, MSG_PEEK);
    if (n <= 0) {
        s->readable = false;
        return n < 0 && (errno == EAGAIN || errno == EINTR) ? VV_EAGAIN : VV_ECLOSED;
    }
    const enum vv_err err = vv_proxy_header_parse((struct vv_str){peeked, (size_t)n}, ret);
    if (err == VV_EAGAIN) {
        return n < PROXY_HEADER_MAX ? err : VV_ESYNTAX;
    }
    if (err == VV_OK && recv(s->io.fd, peeked, ret->bytes, 0) != (ssize_t)ret->bytes) {
        return VV_ECLOSED;
    }
    return err;
}

/* A PROXY header in front of everything else. False: wait, or gone. */
static bool proxy_header(struct vv_session *s)
{
    struct vv_proxy_header h;
    const enum vv_err err = read_proxy_header(s, &h);
    if (err == VV_EAGAIN) {
        return false;
    }
    if (err != VV_OK) {
        if (err == VV_ESYNTAX) {
            const struct vv_str label = VV_STR("proxy_header");
            vv_metric_add(s->w->shard,
                          vv_metrics_series(s->w->metrics, VV_METRIC_BAD_REQUESTS, &label, 1), 1);
        }
        vv_session_close(s);
        return false;
    }
    vv_identify_proxy_header(s, &h);
    if (!vv_door_admit_named(s)) {
        vv_session_close_hard(s);
        vv_session_close(s);
        return false;
    }
    s->state = s->tls != NULL ? VV_SESSION_TLS : VV_SESSION_HEAD;
    return true;
}

/* A request may be on its way: whoever is active gets `Connection: close` with its next answer, only
 * those who stay silent are closed. */
static uint64_t retire_grace(const struct vv_session *s)
{
    return s->w->use->rt->settings->drain_ns / 10;
}

/* Nothing to do until the client speaks: hold nothing, wait with a limit. */
static void rest(struct vv_session *s)
{
    const uint64_t now = vv_worker_now(s->w);
    const bool partial = s->in != NULL && vv_buf_len(s->in) > 0;
    if (!partial && s->in != NULL) {
        drop_buffers(s);
    }
    if (partial || s->requests == 0 || s->state == VV_SESSION_PROXY) {
        if (s->head_began_ns == 0) {
            s->head_began_ns = now;
        }
        if (header_timeout(s) != 0) {
            arm(s, VV_WAIT_HEAD, s->head_began_ns + header_timeout(s));
        }
    } else {
        s->head_began_ns = 0;
        const bool leaving = s->w->draining || s->listener->stopped;
        const uint64_t keep_ns = leaving ? retire_grace(s) : s->listener->conf.keepalive_ns;
        const bool quiet = s->tls != NULL && keep_ns > QUIET_NS;
        s->linger_until_ns = now + keep_ns;
        uint64_t due_ns = 0;
        if (vv_session_still_takes(s, &due_ns)) {
            arm(s, VV_WAIT_TAKE, vv_min_u64(due_ns, s->linger_until_ns));
            return;
        }
        arm(s, quiet ? VV_WAIT_QUIET : VV_WAIT_KEEPALIVE, now + (quiet ? QUIET_NS : keep_ns));
    }
}

static void finish_turn(struct vv_session *s)
{
    if (!vv_out_empty(&s->out) && !s->blocked) {
        const enum vv_err err = vv_session_flush(s);
        if (err != VV_OK && err != VV_EAGAIN) {
            vv_session_close(s);
            return;
        }
    }
    if (s->blocked || s->state == VV_SESSION_DISCARD) {
        return; /* goes on when the client has read, or has sent the rest of its body */
    }
    if (s->close_after) {
        vv_session_linger(s);
    } else {
        rest(s);
    }
}

static bool wants_request(const struct vv_session *s)
{
    return s->state <= VV_SESSION_HEAD && !s->close_after && !s->blocked;
}

/* The request loop: the only place where a session moves on to its next request. */
void vv_session_run(struct vv_session *s)
{
    if (s->busy) {
        return;
    }
    if (s->h2 != NULL) {
        vv_session_h2_run(s);
        return;
    }
    s->busy = true;
    if (s->blocked && !unblock(s)) {
        return; /* closed: `busy` goes with it */
    }
    if (s->state == VV_SESSION_DISCARD) {
        discard(s);
    }
    unsigned budget = REQUESTS_PER_TURN;
    while (wants_request(s)) {
        if (budget-- == 0) {
            vv_loop_defer(s->w->loop, &s->again);
            break;
        }
        if (s->out.count > PIECES_BEFORE_REQUEST) {
            const enum vv_err err = vv_session_flush(s);
            if (err == VV_EAGAIN) {
                break;
            }
            if (err != VV_OK) {
                vv_session_close(s);
                break;
            }
        }
        const bool more = s->state == VV_SESSION_HEAD  ? next_request(s)
                          : s->state == VV_SESSION_TLS ? vv_session_tls_handshake(s)
                                                       : proxy_header(s);
        if (!more) {
            break;
        }
        if (s->state == VV_SESSION_DISCARD) {
            discard(s);
        }
    }
    s->busy = false;
    if (s->state <= VV_SESSION_HEAD || s->state == VV_SESSION_DISCARD) {
        finish_turn(s);
    } else if (s->state == VV_SESSION_EXCHANGE && !s->blocked && !vv_out_empty(&s->out)) {
        /* Answers to earlier requests do not wait for this one. */
        const enum vv_err err = vv_session_flush(s);
        if (err != VV_OK && err != VV_EAGAIN) {
            vv_session_close(s);
        }
    }
}

static void on_io(struct vv_loop *loop, struct vv_io *io, uint32_t events)
{
    (void)loop;
    struct vv_session *s = VV_CONTAINER(io, struct vv_session, io);
    if (events & (VV_IO_HUP | VV_IO_ERROR)) {
        s->hup = true;
        s->rdhup = true;
    }
    if (events & VV_IO_RDHUP) {
        s->rdhup = true;
    }
    if (events & (VV_IO_READ | VV_IO_RDHUP | VV_IO_HUP | VV_IO_ERROR)) {
        s->readable = !s->eof;
    }
    if (s->state == VV_SESSION_LINGER) {
        linger_read(s);
        return;
    }
    if (s->tls != NULL && !vv_session_tls_event(s, events)) {
        return;
    }
    if (s->h2 != NULL) {
        vv_session_h2_run(s);
        return;
    }
    if (s->hup && s->x != NULL) { /* both directions are gone: nobody waits for this answer */
        vv_session_close(s);
        return;
    }
    const bool was_blocked = s->blocked;
    if (s->x == NULL || (was_blocked && (events & VV_IO_WRITE))) {
        vv_session_run(s);
        if (s->state == VV_SESSION_CLOSED) {
            return;
        }
    }
    struct vv_exchange *x = s->x;
    if (x != NULL && s->readable && !s->body.done && x->action != NULL && x->action->body != NULL) {
        x->action->body(x);
    }
}

void vv_session_retire(struct vv_session *s)
{
    if (s->h2 != NULL) {
        vv_session_h2_retire(s);
        return;
    }
    const bool idle = s->x == NULL && vv_out_empty(&s->out) && !s->blocked &&
                      s->state != VV_SESSION_LINGER && (s->in == NULL || vv_buf_len(s->in) == 0) &&
                      !s->readable;
    if (idle) {
        arm(s, VV_WAIT_KEEPALIVE, vv_worker_now(s->w) + retire_grace(s));
    } else if (s->x != NULL && !s->x->head_sent) {
        s->x->close = true; /* a head that has left has promised a connection: see rest() */
    }
}

struct vv_session *vv_session_detached(struct vv_listener *l, const struct vv_session *like)
{
    struct vv_worker *w = l->worker;
    struct vv_session *s = malloc(sizeof *s);
    if (s == NULL) {
        return NULL;
    }
    memset(s, 0, offsetof(struct vv_session, peer));
    s->io.fd = -1;
    s->w = w;
    s->listener = l;
    s->detached = true;
    s->body.done = true;
    s->state = VV_SESSION_EXCHANGE;
    s->again.fn = go_on;
    vv_list_init(&s->again.node);
    vv_timer_init(&s->timer, on_timer);
    vv_out_init(&s->out);
    if (like != NULL) { /* the origin sees whose request it was */
        s->peer = like->peer;
        s->trusted = like->trusted;
        s->secure = like->secure; /* it stands in the keys of what is kept */
        s->client_ip_bytes = like->client_ip_bytes;
        memcpy(s->client_ip, like->client_ip, sizeof s->client_ip);
    } else {
        memset(&s->peer, 0, sizeof s->peer);
        s->peer.sa.sa_family = AF_UNIX; /* nobody's address */
    }
    vv_list_push_back(&w->sessions, &s->node);
    l->sessions++;
    l->detached++;
    return s;
}

void vv_session_open(struct vv_listener *l, int fd, const struct vv_addr *peer,
                     struct vv_client *client)
{
    struct vv_worker *w = l->worker;
    struct vv_session *s = malloc(sizeof *s);
    if (s == NULL) {
        vv_door_leave(w, client);
        close(fd);
        vv_listener_session_ended(l);
        return;
    }
    memset(s, 0, offsetof(struct vv_session, peer));
    s->io = (struct vv_io){.fn = on_io, .fd = fd};
    s->w = w;
    s->listener = l;
    s->body.done = true;
    s->readable = true; /* deferred accept: the request is usually there already */
    s->again.fn = go_on;
    vv_list_init(&s->again.node);
    vv_timer_init(&s->timer, on_timer);
    s->peer = *peer;
    s->client = client;
    vv_out_init(&s->out);
    vv_list_push_back(&w->sessions, &s->node);
    vv_worker_count(&w->sessions_open, 1);
    vv_metric_add(w->shard, l->s_accepted, 1);
    vv_metric_add(w->shard, l->s_open, 1);
    vv_identify_session(s);
    /* Only a trusted peer may speak for others; anybody else is an ordinary client. */
    const bool header_first = l->conf.proxy_protocol && (l->trust_count == 0 || s->trusted);
    if (l->tls != NULL && !vv_session_tls_begin(s)) {
        vv_session_close(s);
        return;
    }
    s->state = header_first ? VV_SESSION_PROXY : s->tls != NULL ? VV_SESSION_TLS : VV_SESSION_HEAD;
    vv_session_run(s);
    if (s->state == VV_SESSION_CLOSED) {
        return;
    }
    if (vv_loop_add(w->loop, &s->io) != VV_OK) {
        vv_session_close(s);
        return;
    }
    s->registered = true;
}
