/* src/gateway/actions/proxy.c - asks a server of the route's service and passes its answer on.
 *
 * Both directions are streams with one batch in flight each: bytes are read only when the batch before
 * them has left, so a slow side slows the other and memory stays at one block a side. An answer that
 * fits a block costs four system calls: recv, send, recv, send. A tunnel is the same with raw bytes.
 *
 * Another attempt is made only when it is safe: nothing of the request was sent, or the method is
 * idempotent and the body can be sent again, and nothing of an answer was seen (RFC 9110 9.2.2). */
#include "gateway/fetch.h"
#include "gateway/forward.h"
#include "gateway/recall.h"
#include "gateway/session.h"
#include "gateway/upstream.h"
#include <sys/socket.h>

#define READS_PER_TURN 16
#define ATTEMPTS_MAX 4
#define INTERIMS_MAX 64 /* 1xx answers to one request; more say nothing */
#define HEAD_MAX (64u * 1024u)

struct proxy {
    struct vv_exchange *x;
    struct vv_uconn *u;       /* NULL: no attempt is running */
    struct vv_server *server; /* NULL: nothing picked */
    struct vv_pick pick;
    struct vv_str head;
    uint64_t asked_ns, first_ns;
    uint64_t answer_left;
    size_t scan;
    unsigned retries_left, interims;
    enum vv_reason last_reason;
    enum vv_h1_framing framing;
    struct vv_h1_chunked chunked;
    bool fresh;    /* the next attempt must not reuse a connection */
    bool sent_any; /* some byte of this request left in this attempt */
    bool request_done, send_failed, got_any, head_done, answer_done, keep, tunnel;
    bool fetching;      /* the answer goes to a fill, not to a client */
    bool paused;        /* the fill can hold no more: its client takes over, with `rest` first */
    struct vv_str rest; /* taken out of the block, not yet passed on */
};

static void attempt(struct proxy *p);
static void cancel(struct vv_exchange *x);
static bool pass_body(struct proxy *p);
static void pump_answer(struct proxy *p);
static bool pump_request(struct proxy *p);

static const struct vv_timeouts_settings *timeouts(const struct proxy *p)
{
    return &p->x->route->conf->timeouts;
}

static void wait_for(struct proxy *p, uint64_t ns)
{
    vv_uconn_wait(p->u, ns != 0 ? vv_worker_now(p->x->w) + ns : 0);
}

/* ---- one attempt ends ---- */

static void count_attempt(struct proxy *p, enum vv_outcome outcome)
{
    static const char *const names[] = {"ok", "5xx", "connect", "timeout", "broken", "abandoned"};
    if (p->head_done) {
        const int status = p->x->status;
        const char text[4] = {(char)('0' + status / 100 % 10), (char)('0' + status / 10 % 10),
                              (char)('0' + status % 10), '\0'};
        vv_upstream_count(p->u, (uint32_t)status, (struct vv_str){text, 3});
    } else {
        vv_upstream_count(p->u, 1000 + (uint32_t)outcome, vv_str_from(names[outcome]));
    }
}

/* Nothing more is tried: a stale answer, or the reason. */
static void answer_reason(struct proxy *p, enum vv_reason reason)
{
    struct vv_exchange *x = p->x;
    if (x->recall != NULL && vv_fetch_failed(x)) {
        cancel(x);
        x->state = NULL;
        vv_recall_serve(x);
    } else {
        vv_answer_error(x, reason);
    }
}

/* Reports to the balancer and lets go of the connection. */
static void end_attempt(struct proxy *p, enum vv_outcome outcome)
{
    struct vv_exchange *x = p->x;
    const uint64_t now = vv_worker_now(x->w);
    /* To the first byte; a failure counts with the time it took to fail. */
    const uint64_t latency = (p->first_ns != 0 ? p->first_ns : now) - p->asked_ns;
    if (p->u != NULL) {
        struct vv_upstream_stat *stat = vv_uconn_stat(p->u);
        count_attempt(p, outcome);
        if (stat->duration != NULL && p->head_done) {
            vv_hist_add(stat->duration, now - p->asked_ns);
        }
        if (p->answer_done && p->keep && p->request_done) {
            vv_upstream_give_back(p->u);
        } else {
            vv_upstream_discard(p->u);
        }
        p->u = NULL;
    }
    x->upstream_ns += now - p->asked_ns;
    if (p->server != NULL) {
        const char *ejected = NULL;
        struct vv_server *server = p->server;
        p->server = NULL;
        vv_server_ref(server); /* its name is needed after the balancer let go */
        if (outcome == VV_OUTCOME_OK && x->status >= 500) {
            outcome = VV_OUTCOME_5XX;
        }
        const struct vv_str name = vv_str_from(server->name);
        vv_balance_done(server, outcome, latency, now, &ejected);
        if (ejected != NULL) {
            const struct vv_str values[] = {vv_str_from(x->service->conf->name), name,
                                            vv_str_from(ejected)};
            vv_metric_add(x->w->shard,
                          vv_metrics_series(x->w->metrics, VV_METRIC_UPSTREAM_EJECTED, values, 3),
                          1);
        }
        vv_server_unref(server);
    }
}

/* Another attempt goes elsewhere while there is an elsewhere. */
static void avoid_server(struct proxy *p)
{
    if (p->server != NULL && p->pick.tried_count < VV_COUNT(p->pick.tried)) {
        vv_server_ref(p->server);
        p->pick.tried[p->pick.tried_count++] = p->server;
    }
}

static void count_retry(struct proxy *p, const char *why)
{
    struct vv_exchange *x = p->x;
    const struct vv_str values[] = {vv_str_from(x->service->conf->name), vv_str_from(why)};
    vv_metric_add(x->w->shard,
                  vv_metrics_series(x->w->metrics, VV_METRIC_UPSTREAM_RETRIES, values, 2), 1);
}

static bool may_send_again(struct proxy *p)
{
    const struct vv_exchange *x = p->x;
    if (p->got_any || x->head_sent || x->attempts >= ATTEMPTS_MAX) {
        return false;
    }
    return !p->sent_any || vv_methods[x->req.method].idempotent;
}

/* This attempt failed. Tries again where that is safe, answers with the reason otherwise. */
static void fail(struct proxy *p, enum vv_reason reason, enum vv_outcome outcome, const char *why)
{
    struct vv_exchange *x = p->x;
    /* A kept-alive connection that dies under a request says nothing about the server: it was closing
     * while we were sending. That retry is free and goes to a new connection. */
    const bool stale = p->u != NULL && p->u->reused && !p->got_any && outcome == VV_OUTCOME_BROKEN;
    bool again = may_send_again(p) && (stale || p->retries_left > 0);
    if (again) { /* also when nothing left: the batch that failed has taken a part of the body */
        again = vv_body_rewind(x);
    }
    if (!again) {
        end_attempt(p, outcome);
        answer_reason(p, reason);
        return;
    }
    if (stale) {
        p->fresh = true;
        outcome = VV_OUTCOME_ABANDONED;
    } else {
        p->retries_left--;
        p->last_reason = reason;
        avoid_server(p);
    }
    end_attempt(p, outcome);
    count_retry(p, stale ? "stale_connection" : why);
    attempt(p);
}

/* ---- sending the request ---- */

static void request_left(struct proxy *p)
{
    if (p->tunnel) {
        shutdown(p->u->io.fd, SHUT_WR); /* the client half-closed: so do we */
        return;
    }
    if (!p->head_done) {
        wait_for(p, timeouts(p)->first_byte_ns);
    }
}

/* Puts one run of body into the batch, framed. */
static bool add_body(struct proxy *p, struct vv_str data)
{
    struct vv_out *o = &p->u->out;
    struct vv_bufs *bufs = &p->x->w->bufs;
    if (p->x->req.framing != VV_H1_BODY_CHUNKED || p->tunnel) {
        return vv_out_borrow(o, data);
    }
    char *to = vv_out_reserve(o, bufs, 24);
    if (to == NULL) {
        return false;
    }
    vv_out_commit(o, vv_h1_chunk_head(to, data.n));
    return vv_out_borrow(o, data) && vv_out_copy(o, bufs, VV_STR("\r\n"));
}

static bool flush_request(struct proxy *p)
{
    const uint64_t before = p->u->out.sent;
    const bool was_blocked = p->u->blocked;
    const enum vv_err err = vv_out_flush(&p->u->out, &p->x->w->bufs, p->u->io.fd);
    p->sent_any |= p->u->out.sent > before;
    p->u->blocked = err == VV_EAGAIN;
    if (err == VV_EAGAIN) {
        wait_for(p, timeouts(p)->idle_ns);
        p->x->session->body_wait_ns = 0; /* it is the server's turn, not the client's */
        return false;
    }
    if (err == VV_OK && p->head_done) {
        wait_for(p, timeouts(p)->idle_ns); /* an early answer waits for what it is told */
    } else if (err == VV_OK && was_blocked) {
        vv_uconn_wait(p->u, 0); /* the server has taken it: the client's limit applies again */
    }
    if (err != VV_OK) {
        /* The server may have answered and closed without reading all: look for that first. */
        p->send_failed = true;
        p->u->readable = true;
        wait_for(p, timeouts(p)->first_byte_ns);
        pump_answer(p);
        return false;
    }
    return true;
}

/* Moves request bytes until a side blocks. False: blocked, failed, or the exchange is gone. */
static bool pump_request(struct proxy *p)
{
    struct vv_exchange *x = p->x;
    struct vv_session *s = x->session;
    for (unsigned runs = 0; !p->request_done && !p->send_failed; runs++) {
        struct vv_str data = {NULL, 0};
        const enum vv_err err = vv_body_next(x, &data);
        if (err != VV_OK && err != VV_EAGAIN) {
            return false; /* the exchange is gone, and this with it */
        }
        if (data.n > 0 && !add_body(p, data)) {
            fail(p, VV_REASON_NO_MEMORY, VV_OUTCOME_ABANDONED, "memory");
            return false;
        }
        if (err == VV_OK && s->body.done) {
            if (x->req.framing == VV_H1_BODY_CHUNKED && !p->tunnel &&
                !vv_out_copy(&p->u->out, &x->w->bufs, VV_STR("0\r\n\r\n"))) {
                fail(p, VV_REASON_NO_MEMORY, VV_OUTCOME_ABANDONED, "memory");
                return false;
            }
            p->request_done = true;
        }
        if (!flush_request(p)) {
            return false;
        }
        if (err == VV_EAGAIN) {
            if (x->waiting_continue) {
                wait_for(p, timeouts(p)->first_byte_ns); /* the next word is the server's */
            }
            return true;
        }
    }
    if (p->request_done) {
        request_left(p);
    }
    return true;
}

static void send_request(struct proxy *p)
{
    p->asked_ns = vv_worker_now(p->x->w);
    if (!vv_out_borrow(&p->u->out, p->head)) {
        fail(p, VV_REASON_INTERNAL, VV_OUTCOME_ABANDONED, "memory");
        return;
    }
    (void)pump_request(p);
}

/* ---- receiving the answer ---- */

static void answer_complete(struct proxy *p)
{
    struct vv_exchange *x = p->x;
    struct vv_session *s = x->session;
    p->answer_done = true;
    if (p->fetching) {
        vv_fetch_done(x);
        vv_exchange_end(x, VV_REASON_NONE); /* cancel() below lets go of the connection */
        return;
    }
    vv_answer_done(x);
    if (vv_answer_flush(x) == VV_EAGAIN) {
        /* The client is slow with the end: the server's connection need not wait for it. */
        vv_out_hold(&s->out, p->u->in);
        p->u->in = NULL;
        end_attempt(p, VV_OUTCOME_OK);
    }
}

static bool begin_tunnel(struct proxy *p)
{
    struct vv_exchange *x = p->x;
    struct vv_session *s = x->session;
    p->tunnel = true;
    p->keep = false; /* whatever comes later: this connection speaks HTTP no more */
    p->request_done = false;
    p->framing = VV_H1_BODY_CLOSE;
    s->body = (struct vv_request_body){.framing = VV_H1_BODY_TUNNEL};
    x->body_bytes_max = UINT64_MAX;
    x->deadline_ns = 0;
    vv_session_arm(s);
    return true;
}

/* The attempt goes on in another exchange: everything of it that has an address moves. */
static struct proxy *move_to(struct proxy *p, struct vv_exchange *to)
{
    struct proxy *q = vv_arena_alloc(&to->arena, sizeof *q);
    if (q == NULL) {
        return NULL;
    }
    *q = *p;
    q->x = to;
    q->head = (struct vv_str){NULL, 0}; /* was sent */
    if (q->u != NULL) {
        q->u->user = q;
    }
    to->state = q;
    to->action = &vv_action_proxy;
    to->status = p->x->status;
    to->attempts = p->x->attempts;
    p->u = NULL;
    p->server = NULL;
    p->pick.tried_count = 0;
    return q;
}

static void set_sticky(struct proxy *p)
{
    struct vv_exchange *x = p->x;
    const char *name = x->service->conf->sticky_cookie;
    if (name != NULL && (!p->pick.sticky || p->server->index_hash != p->pick.key)) {
        x->set_cookie = vv_arena_fmt(&x->arena, "%s=%08x; Path=/; HttpOnly; SameSite=Lax", name,
                                     p->server->index_hash);
    }
}

/* The answer is for the cache: it is received without regard to its client, who reads behind. */
static bool fetch_on(struct proxy *p)
{
    struct vv_exchange *x = p->x;
    struct vv_exchange *f = vv_fetch_exchange(x);
    x->status = x->w->answer.status;
    set_sticky(p);
    x->upstream_ns += vv_worker_now(x->w) - p->asked_ns; /* what this client waited for */
    struct proxy *q = f != x ? move_to(p, f) : p;
    if (q == NULL) {
        vv_exchange_end(f, VV_REASON_NO_MEMORY);
        vv_answer_error(x, VV_REASON_NO_MEMORY);
        return false;
    }
    q->fetching = true;
    f->head_sent = true;
    struct vv_uconn *u = q->u;
    const bool client = f != x && vv_cached_lead(x, &f->w->answer);
    if (pass_body(q)) { /* the origin's head is not needed any more: its block may be read over */
        pump_answer(u->user);
    }
    if (client) {
        vv_cached_lead_body(x);
    }
    return false;
}

/* The client is answered out of the cache: this answer has done its work. */
static void drop_answer(struct proxy *p)
{
    p->answer_done =
        p->framing == VV_H1_BODY_NONE || (p->framing == VV_H1_BODY_LENGTH && p->answer_left == 0);
    p->answer_done &= p->u != NULL && p->u->in != NULL && vv_buf_len(p->u->in) == 0;
    p->x->status = p->x->w->answer.status;
    end_attempt(p, VV_OUTCOME_OK);
}

static bool ask_again(struct proxy *p)
{
    struct vv_exchange *x = p->x;
    drop_answer(p);
    p->head_done = p->answer_done = p->keep = false;
    if (!vv_body_rewind(x) || vv_forward_head(x, &p->head) != VV_OK) {
        answer_reason(p, VV_REASON_NO_MEMORY);
    } else {
        attempt(p);
    }
    return false;
}

/* A final head has come. False: the exchange is gone. */
static bool take_head(struct proxy *p)
{
    struct vv_exchange *x = p->x;
    struct vv_h1_head *h = &x->w->answer;
    p->head_done = true;
    p->framing = h->framing;
    p->answer_left = h->content_length;
    p->keep = h->keep_alive;
    if (h->framing == VV_H1_BODY_CHUNKED) {
        vv_h1_chunked_init(&p->chunked);
    }
    if (h->framing == VV_H1_BODY_TUNNEL && (h->status != 101 || !vv_forward_upgrades(x))) {
        p->head_done = false;
        fail(p, VV_REASON_SERVER_GARBLED, VV_OUTCOME_BROKEN, "garbled");
        return false;
    }
    switch (vv_fetch_head(x, h)) {
    case VV_FETCH_PASS:
        break;
    case VV_FETCH_KEEP:
        return fetch_on(p);
    case VV_FETCH_REPEAT:
        return ask_again(p);
    case VV_FETCH_SERVE:
        drop_answer(p);
        cancel(x);
        x->state = NULL;
        vv_recall_serve(x);
        return false;
    }
    set_sticky(p);
    if (!vv_answer_head_from(x, h)) {
        return false;
    }
    return h->status != 101 || begin_tunnel(p);
}

/* VV_OK: a final head was taken; VV_EAGAIN: more bytes needed; otherwise the exchange is gone. */
static enum vv_err parse_head(struct proxy *p)
{
    struct vv_exchange *x = p->x;
    struct vv_h1_head *h = &x->w->answer;
    static const struct vv_h1_limits limits = {
        .line_bytes = 8192, .head_bytes = HEAD_MAX, .fields = VV_H1_FIELDS_MAX};
    for (;;) {
        struct vv_buf *b = p->u->in;
        const struct vv_str bytes = {b->data + b->start, vv_buf_len(b)};
        if (bytes.n == 0) {
            return VV_EAGAIN;
        }
        vv_h1_head_init(h);
        h->scan = p->scan;
        const enum vv_err err = vv_h1_parse_answer(h, bytes, x->req.method, &limits);
        p->scan = h->scan;
        if (err == VV_EAGAIN) {
            return err;
        }
        if (err != VV_OK) {
            fail(p, VV_REASON_SERVER_GARBLED, VV_OUTCOME_BROKEN, "garbled");
            return VV_ECLOSED;
        }
        p->scan = 0;
        b->start += (uint32_t)h->head_bytes;
        if (p->first_ns == 0) {
            p->first_ns = vv_worker_now(x->w);
        }
        if (h->status >= 200 || h->status == 101) {
            return take_head(p) ? VV_OK : VV_ECLOSED;
        }
        if (++p->interims > INTERIMS_MAX) {
            fail(p, VV_REASON_SERVER_GARBLED, VV_OUTCOME_BROKEN, "garbled");
            return VV_ECLOSED;
        }
        if (x->waiting_continue && h->status == 100) {
            vv_uconn_wait(p->u, 0);
        }
        if (x->req.minor > 0 && !vv_answer_interim(x, h)) {
            return VV_ECLOSED;
        }
        const enum vv_err sent = vv_session_flush(x->session);
        if (sent != VV_OK && sent != VV_EAGAIN) {
            vv_exchange_end(x, VV_REASON_CLIENT_CLOSED);
            return VV_ECLOSED;
        }
    }
}

/* Takes one run of body out of the block. VV_OK with an empty run: nothing there. */
static enum vv_err take_body(struct proxy *p, struct vv_str *ret)
{
    struct vv_buf *b = p->u->in;
    const struct vv_str here = {b->data + b->start, vv_buf_len(b)};
    *ret = (struct vv_str){here.p, 0};
    switch (p->framing) {
    case VV_H1_BODY_NONE:
        p->answer_done = true;
        break;
    case VV_H1_BODY_LENGTH:
        ret->n = here.n < p->answer_left ? here.n : (size_t)p->answer_left;
        p->answer_left -= ret->n;
        p->answer_done = p->answer_left == 0;
        b->start += (uint32_t)ret->n;
        break;
    case VV_H1_BODY_CHUNKED:
        for (size_t used = 1; ret->n == 0 && !p->chunked.done && used > 0;) {
            const struct vv_str rest = {b->data + b->start, vv_buf_len(b)};
            const enum vv_err err = vv_h1_chunked_next(&p->chunked, rest, &used, ret);
            b->start += (uint32_t)used;
            if (err == VV_ESYNTAX) {
                return err;
            }
        }
        p->answer_done = p->chunked.done;
        break;
    case VV_H1_BODY_CLOSE:
    case VV_H1_BODY_TUNNEL:
        ret->n = here.n;
        b->start += (uint32_t)here.n;
        break;
    }
    return VV_OK;
}

/* The fill takes no more: the client that reads behind it goes on from here when it is there. */
static void pause_fetch(struct proxy *p, struct vv_str rest)
{
    p->paused = true;
    p->rest = rest;
    vv_uconn_wait(p->u, 0);
    if (p->x->recall->fetch == NULL) {
        vv_exchange_end(p->x, VV_REASON_NO_MEMORY);
    }
}

/* The same for a fill. False: paused, or done. */
static bool keep_body(struct proxy *p)
{
    struct vv_exchange *x = p->x;
    for (;;) {
        struct vv_str data;
        if (take_body(p, &data) != VV_OK) {
            fail(p, VV_REASON_SERVER_GARBLED, VV_OUTCOME_BROKEN, "garbled");
            return false;
        }
        if (vv_fetch_body(x, data) != VV_OK) {
            pause_fetch(p, data);
            return false;
        }
        if (p->answer_done) {
            answer_complete(p);
            return false;
        }
        if (vv_buf_len(p->u->in) == 0 || data.n == 0) {
            return true;
        }
    }
}

/* Passes on what the block holds. False: wait for the client, or the exchange is gone. */
static bool pass_body(struct proxy *p)
{
    struct vv_exchange *x = p->x;
    if (p->fetching) {
        return keep_body(p);
    }
    for (;;) {
        struct vv_str data;
        if (take_body(p, &data) != VV_OK) {
            fail(p, VV_REASON_SERVER_GARBLED, VV_OUTCOME_BROKEN, "garbled");
            return false;
        }
        if (!vv_answer_body(x, data)) {
            vv_exchange_end(x, VV_REASON_NO_MEMORY);
            return false;
        }
        if (p->answer_done) {
            answer_complete(p);
            return false;
        }
        const bool more = vv_buf_len(p->u->in) > 0 && data.n > 0;
        if (more && x->session->out.count + 4 <= VV_OUT_PIECES) {
            continue;
        }
        const enum vv_err err = vv_answer_flush(x);
        if (err != VV_OK) {
            if (err == VV_EAGAIN) {
                vv_uconn_wait(p->u, 0); /* it is the client's turn now: its own limit applies */
            }
            return false;
        }
        if (!more) {
            return true;
        }
    }
}

static void server_ended(struct proxy *p, enum vv_err err)
{
    struct vv_exchange *x = p->x;
    if (p->head_done && p->framing == VV_H1_BODY_CLOSE && (err == VV_ECLOSED || p->tunnel)) {
        p->keep = false;
        answer_complete(p);
        return;
    }
    if (err == VV_ENOMEM) {
        vv_answer_error(x, VV_REASON_NO_MEMORY);
        return;
    }
    fail(p, err == VV_ERESET ? VV_REASON_SERVER_RESET : VV_REASON_SERVER_CLOSED, VV_OUTCOME_BROKEN,
         "server_closed");
}

/* An empty block of the right size for what is still to come. */
static void fresh_block(struct proxy *p)
{
    struct vv_buf *b = p->u->in;
    if (b == NULL || vv_buf_len(b) > 0) {
        return;
    }
    const bool was_full = b->end == b->cap;
    b->start = b->end = 0;
    if (b->cap == VV_BUF_SMALL && was_full && p->head_done) {
        vv_buf_put(&p->x->w->bufs, b);
        p->u->in = vv_buf_get(&p->x->w->bufs, VV_BUF_LARGE);
    }
}

/* A head that does not fit its block gets a larger one. */
static bool room_for_head(struct proxy *p, struct vv_uconn *u)
{
    struct vv_buf *b = u->in;
    if (b == NULL || vv_buf_room(b) > 0) {
        return true;
    }
    struct vv_buf *bigger = vv_buf_get(&p->x->w->bufs, vv_buf_len(b) * 2 + 1024);
    if (bigger == NULL) {
        return false;
    }
    memcpy(bigger->data, b->data + b->start, vv_buf_len(b));
    bigger->end = (uint32_t)vv_buf_len(b);
    vv_buf_put(&p->x->w->bufs, b);
    u->in = bigger;
    return true;
}

/* Moves answer bytes until a side blocks. */
static void pump_answer(struct proxy *p)
{
    struct vv_exchange *x = p->x;
    struct vv_session *s = x->session;
    struct vv_uconn *u = p->u;
    for (unsigned reads = 0; !s->blocked; reads++) {
        if (reads == READS_PER_TURN) {
            vv_loop_defer(x->w->loop, &u->again);
            return;
        }
        if (!p->head_done && !room_for_head(p, u)) {
            fail(p, VV_REASON_NO_MEMORY, VV_OUTCOME_ABANDONED, "memory");
            return;
        }
        fresh_block(p);
        const enum vv_err err = vv_uconn_read(u, VV_BUF_SMALL);
        if (err == VV_EAGAIN) {
            if (p->head_done) {
                wait_for(p, timeouts(p)->idle_ns);
            }
            if (u->in != NULL && vv_buf_len(u->in) == 0) { /* a silent stream holds no block */
                vv_buf_put(&x->w->bufs, u->in);
                u->in = NULL;
            }
            return;
        }
        if (err != VV_OK) {
            server_ended(p, err);
            return;
        }
        p->got_any = true;
        if (!p->head_done) {
            const enum vv_err parsed = parse_head(p);
            if (parsed == VV_EAGAIN) {
                continue;
            }
            if (parsed != VV_OK) {
                return;
            }
        }
        const bool tunnel = p->tunnel;
        if (!pass_body(p)) {
            return;
        }
        /* u stays readable memory until the turn ends: blocked and still ours means go on. */
        if (tunnel && !p->request_done && !u->blocked && !pump_request(p) &&
            !(u->owner != NULL && u->blocked)) {
            return;
        }
    }
    if (p->head_done) {
        vv_uconn_wait(u,
                      0); /* before the head only interim answers block: the server's time runs */
    }
}

/* ---- events ---- */

static void on_connected(struct vv_uconn *u, enum vv_err err)
{
    struct proxy *p = u->user;
    if (err != VV_OK) {
        fail(p, VV_REASON_CONNECT_FAILED, VV_OUTCOME_CONNECT, "connect_failed");
        return;
    }
    vv_uconn_wait(u, 0);
    send_request(p);
}

static void on_readable(struct vv_uconn *u)
{
    const struct proxy *p = u->user;
    if (!p->paused) {
        pump_answer(u->user);
    }
}

static void on_writable(struct vv_uconn *u)
{
    struct proxy *p = u->user;
    if (flush_request(p)) {
        if (p->request_done) {
            request_left(p);
        } else {
            (void)pump_request(p);
        }
    }
}

static void on_timeout(struct vv_uconn *u)
{
    struct proxy *p = u->user;
    struct vv_exchange *x = p->x;
    enum vv_reason reason = VV_REASON_FIRST_BYTE_TIMEOUT;
    const char *wait = "first_byte";
    if (u->connecting) {
        reason = VV_REASON_CONNECT_TIMEOUT;
        wait = "connect";
    } else if (p->tunnel) {
        answer_complete(p); /* a tunnel that fell silent ends; nothing was promised */
        return;
    } else if (p->head_done || u->blocked) {
        reason = VV_REASON_IDLE_TIMEOUT;
        wait = "idle";
    }
    const struct vv_str label = vv_str_from(wait);
    vv_metric_add(x->w->shard, vv_metrics_series(x->w->metrics, VV_METRIC_TIMEOUTS, &label, 1), 1);
    if (!u->connecting) {
        p->got_any = true; /* it may be working on it: asking twice is not safe */
    }
    fail(p, reason, VV_OUTCOME_TIMEOUT, wait);
}

static const struct vv_uconn_owner owner = {on_connected, on_readable, on_writable, on_timeout};

/* ---- choosing and starting ---- */

static bool cookie_value(const struct vv_exchange *x, struct vv_str name, struct vv_str *ret)
{
    for (uint32_t i = 0; i < x->req.fields_count; i++) {
        struct vv_str rest = x->req.fields[i].value;
        while (x->req.fields[i].id == VV_FIELD_COOKIE && rest.n > 0) {
            struct vv_str pair = vv_str_trim(vv_str_cut(&rest, ';'));
            const struct vv_str key = vv_str_cut(&pair, '=');
            if (vv_str_eq(key, name)) {
                *ret = pair;
                return true;
            }
        }
    }
    return false;
}

static bool parse_hex(struct vv_str s, uint64_t *ret)
{
    uint64_t v = 0;
    for (size_t i = 0; i < s.n; i++) {
        const char c = s.p[i];
        const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0) {
            return false;
        }
        v = v << 4 | (unsigned)digit;
    }
    *ret = v;
    return s.n == 8;
}

static void choose_key(struct proxy *p)
{
    struct vv_exchange *x = p->x;
    const struct vv_service *service = x->service;
    struct vv_str value;
    if (service->conf->sticky_cookie != NULL &&
        cookie_value(x, vv_str_from(service->conf->sticky_cookie), &value) &&
        parse_hex(value, &p->pick.key)) {
        p->pick.sticky = true;
        p->pick.has_key = true;
    } else if (service->hash_key != NULL) {
        struct vv_template_vars vars;
        vv_exchange_vars(x, &vars);
        if (vv_template_render(service->hash_key, &vars, &x->arena, VV_TEMPLATE_TEXT, &value) ==
            VV_OK) {
            p->pick.has_key = true;
            p->pick.key = vv_str_hash(value, 0);
        }
    }
}

static void attempt(struct proxy *p)
{
    struct vv_exchange *x = p->x;
    struct vv_worker *w = x->w;
    const struct vv_service *service = x->service;
    for (;;) {
        p->pick.now_ns = vv_worker_now(w);
        p->sent_any = p->request_done = p->send_failed = p->got_any = false;
        p->first_ns = p->scan = 0;
        if (vv_balance_pick(x->use->picker[service->index], &p->pick, &p->server) != VV_OK) {
            answer_reason(p, x->attempts > 0 ? p->last_reason : VV_REASON_NO_SERVER);
            return;
        }
        VV_ASSERT(p->server != NULL);
        x->attempts++;
        x->server_name = vv_arena_str(&x->arena, vv_str_from(p->server->name));
        p->asked_ns = p->pick.now_ns;
        const enum vv_err err =
            vv_upstream_take(w->upstreams, p->server, service->conf, p->fresh, &owner, p, &p->u);
        if (err == VV_OK) {
            break;
        }
        p->last_reason = err == VV_ENOMEM   ? VV_REASON_NO_MEMORY
                         : err == VV_ELIMIT ? VV_REASON_SERVER_BUSY
                                            : VV_REASON_CONNECT_FAILED;
        avoid_server(p);
        end_attempt(p, err == VV_ELIMIT || err == VV_ENOMEM || err == VV_EFILES
                           ? VV_OUTCOME_ABANDONED
                           : VV_OUTCOME_CONNECT);
        if (x->attempts >= ATTEMPTS_MAX) {
            answer_reason(p, p->last_reason);
            return;
        }
    }
    if (p->u->connecting) {
        wait_for(p, timeouts(p)->connect_ns);
    } else {
        send_request(p);
    }
}

static void start(struct vv_exchange *x)
{
    struct proxy *p = vv_arena_zalloc(&x->arena, sizeof *p);
    if (p == NULL) {
        x->action = NULL;
        vv_answer_error(x, VV_REASON_NO_MEMORY);
        return;
    }
    x->state = p;
    p->x = x;
    p->retries_left = (unsigned)x->route->retries;
    x->service_name = vv_str_from(x->service->conf->name);
    if (vv_forward_loops(x)) {
        vv_answer_error(x, VV_REASON_LOOP);
        return;
    }
    const enum vv_err err = vv_forward_head(x, &p->head);
    if (err != VV_OK) { /* a template refused a value of this request, or memory is out */
        vv_answer_error(x, err == VV_ENOMEM ? VV_REASON_NO_MEMORY : VV_REASON_BAD_REQUEST);
        return;
    }
    choose_key(p);
    attempt(p);
}

static void body(struct vv_exchange *x)
{
    struct proxy *p = x->state;
    if (p->u != NULL && !p->u->connecting && !p->u->blocked && !p->request_done) {
        if (p->tunnel) {
            wait_for(p, timeouts(p)->idle_ns);
        }
        (void)pump_request(p);
    }
}

static void drained(struct vv_exchange *x)
{
    struct proxy *p = x->state;
    if (p->u != NULL && !p->u->connecting) {
        if (p->head_done && p->u->in != NULL && vv_buf_len(p->u->in) > 0 && !pass_body(p)) {
            return;
        }
        pump_answer(p);
    }
}

void vv_proxy_take_back(struct vv_exchange *x)
{
    struct vv_exchange *f = x->recall->fetch;
    struct proxy *p = move_to(f->state, x);
    if (p == NULL) {
        vv_exchange_end(x, VV_REASON_NO_MEMORY);
        return;
    }
    f->state = NULL;
    vv_exchange_end(f, VV_REASON_NONE);
    x->recall->role = VV_RECALL_PASS;
    p->fetching = p->paused = false;
    const struct vv_str rest = p->rest;
    if (!vv_answer_body(x, rest)) {
        vv_exchange_end(x, VV_REASON_NO_MEMORY);
    } else if (p->answer_done) {
        answer_complete(p);
    } else if (vv_answer_flush(x) == VV_OK && pass_body(p)) {
        pump_answer(p);
    }
}

static void cancel(struct vv_exchange *x)
{
    struct proxy *p = x->state;
    if (p == NULL) {
        return;
    }
    if (p->u != NULL || p->server != NULL) {
        end_attempt(p, p->head_done ? VV_OUTCOME_OK : VV_OUTCOME_ABANDONED);
    }
    for (size_t i = 0; i < p->pick.tried_count; i++) {
        vv_server_unref(p->pick.tried[i]);
    }
    p->pick.tried_count = 0;
}

const struct vv_action vv_action_proxy = {"proxy", start, body, drained, cancel};
