/* src/gateway/actions/attempt.c - one attempt to have a request answered: bytes to a server, bytes back.
 *
 * Both directions are streams with one batch in flight each: bytes are read only when the batch before
 * them has left, so a slow side slows the other and memory stays at one block a side. An answer that
 * fits a block costs four system calls: recv, send, recv, send. A tunnel is the same with raw bytes. */
#include "gateway/actions/proxy_int.h"
#include "gateway/fault_points.h"
#include "gateway/upstream_h2.h"

#define READS_PER_TURN 16
#define INTERIMS_MAX 64 /* 1xx answers to one request; more say nothing */
#define HEAD_MAX (64u * 1024u)

void vv_attempt_wait(struct vv_attempt *a, uint64_t ns)
{
    vv_uconn_wait(a->u, ns != 0 ? vv_worker_now(a->x->w) + ns : 0);
}

/* ---- sending the request ---- */

static void request_left(struct vv_attempt *a)
{
    if (a->tunnel) {
        a->u->blocked = vv_uconn_half_close(a->u) == VV_EAGAIN; /* as the client did */
        return;
    }
    if (a->u->stream != NULL) {
        vv_ustream_finish(a->u, a->x->request_trailer, a->x->request_trailer_count);
    }
    if (!a->head_done) {
        vv_attempt_wait(a, vv_attempt_timeouts(a)->first_byte_ns);
    }
}

/* Does the body need chunks around it? */
static bool is_chunked(const struct vv_attempt *a)
{
    return a->x->req.framing == VV_H1_BODY_CHUNKED && !a->tunnel && a->u->stream == NULL;
}

/* Puts one run of body into the batch, framed. */
static bool add_body(struct vv_attempt *a, struct vv_str data)
{
    struct vv_out *o = &a->u->out;
    struct vv_bufs *bufs = &a->x->w->bufs;
    if (!is_chunked(a)) {
        return vv_out_borrow(o, data);
    }
    char *to = vv_out_reserve(o, bufs, 24);
    if (to == NULL) {
        return false;
    }
    vv_out_commit(o, vv_h1_chunk_head(to, data.n));
    return vv_out_borrow(o, data) && vv_out_copy(o, bufs, VV_STR("\r\n"));
}

static bool flush_request(struct vv_attempt *a)
{
    const uint64_t before = a->u->out.sent;
    const bool was_blocked = a->u->blocked;
    const enum vv_err err = vv_uconn_flush(a->u);
    a->sent_any |= a->u->out.sent > before;
    a->u->blocked = err == VV_EAGAIN;
    if (err == VV_EAGAIN) {
        vv_attempt_wait(a, vv_attempt_timeouts(a)->idle_ns);
        a->x->session->body_wait_ns = 0; /* it is the server's turn, not the client's */
        return false;
    }
    if (err == VV_OK && a->head_done) {
        vv_attempt_wait(
            a, vv_attempt_timeouts(a)->idle_ns); /* an early answer waits for what it is told */
    } else if (err == VV_OK && was_blocked) {
        vv_uconn_wait(a->u, 0); /* the server has taken it: the client's limit applies again */
    }
    if (err != VV_OK) {
        /* The server may have answered and closed without reading all: look for that first. */
        a->send_failed = true;
        a->u->readable = true;
        vv_attempt_wait(a, vv_attempt_timeouts(a)->first_byte_ns);
        vv_attempt_pump_answer(a);
        return false;
    }
    return true;
}

/* Moves request bytes until a side blocks. False: blocked, failed, or the exchange is gone. */
bool vv_attempt_pump_request(struct vv_attempt *a)
{
    struct vv_exchange *x = a->x;
    struct vv_session *s = x->session;
    for (unsigned runs = 0; !a->request_done && !a->send_failed; runs++) {
        struct vv_str data = {NULL, 0};
        const enum vv_err err = vv_body_next(x, &data);
        if (err != VV_OK && err != VV_EAGAIN) {
            return false; /* the exchange is gone, and this with it */
        }
        if (data.n > 0 && !add_body(a, data)) {
            vv_attempt_failed(a, VV_REASON_NO_MEMORY, VV_OUTCOME_ABANDONED, "memory");
            return false;
        }
        if (err == VV_OK && s->body.done) {
            if (is_chunked(a) && !vv_out_copy(&a->u->out, &x->w->bufs, VV_STR("0\r\n\r\n"))) {
                vv_attempt_failed(a, VV_REASON_NO_MEMORY, VV_OUTCOME_ABANDONED, "memory");
                return false;
            }
            a->request_done = true;
        }
        if (!flush_request(a)) {
            return false;
        }
        if (err == VV_EAGAIN) {
            if (x->waiting_continue) {
                vv_attempt_wait(
                    a, vv_attempt_timeouts(a)->first_byte_ns); /* the next word is the server's */
            }
            return true;
        }
    }
    if (a->request_done) {
        request_left(a);
    }
    return true;
}

static bool put_head(struct vv_attempt *a)
{
    const struct vv_h1_head *req = &a->x->req;
    if (a->u->stream == NULL) {
        return vv_out_borrow(&a->u->out, a->ask->head);
    }
    a->sent_any = true;
    return vv_ustream_ask(a->u, a->ask->head,
                          req->framing == VV_H1_BODY_NONE || (req->framing == VV_H1_BODY_LENGTH &&
                                                              req->content_length == 0)) == VV_OK;
}

void vv_attempt_send(struct vv_attempt *a)
{
    a->asked_ns = vv_worker_now(a->x->w);
    if (!put_head(a)) {
        vv_attempt_failed(a, VV_REASON_INTERNAL, VV_OUTCOME_ABANDONED, "memory");
        return;
    }
    (void)vv_attempt_pump_request(a);
}

/* ---- receiving the answer ---- */

static void answer_complete(struct vv_attempt *a)
{
    struct vv_exchange *x = a->x;
    struct vv_session *s = x->session;
    a->answer_done = true;
    vv_ask_settle(a->ask, VV_OUTCOME_OK, a->first_ns - a->ask->began_ns);
    if (a->fetching) {
        vv_fetch_done(x);
        vv_exchange_end(x, VV_REASON_NONE); /* cancel() below lets go of the connection */
        return;
    }
    if (a->u->stream != NULL &&
        vv_ustream_trailer(a->u, &x->arena, &x->trailer, &x->trailer_count) != VV_OK) {
        vv_exchange_end(x, VV_REASON_NO_MEMORY);
        return;
    }
    vv_answer_done(x);
    if (vv_answer_flush(x) == VV_EAGAIN) {
        /* The client is slow with the end: the server's connection need not wait for it. */
        vv_out_hold(&s->out, a->u->in);
        a->u->in = NULL;
        vv_attempt_end(a, VV_OUTCOME_OK);
    }
}

static bool begin_tunnel(struct vv_attempt *a)
{
    struct vv_exchange *x = a->x;
    struct vv_session *s = x->session;
    a->tunnel = true;
    vv_ask_settle(a->ask, VV_OUTCOME_OK, a->first_ns - a->ask->began_ns); /* no place for good */
    a->keep = false; /* whatever comes later: this connection speaks HTTP no more */
    a->request_done = false;
    a->framing = VV_H1_BODY_CLOSE;
    s->body = (struct vv_request_body){.framing = VV_H1_BODY_TUNNEL};
    x->body_bytes_max = UINT64_MAX;
    x->deadline_ns = 0;
    vv_session_arm(s);
    return true;
}

/* The ask goes on in another exchange: everything of it that has an address moves. The head is there, so
 * neither timer nor rival nor waiting is left. */
static struct vv_attempt *move_to(struct vv_attempt *a, struct vv_exchange *to)
{
    struct vv_ask *k = a->ask;
    struct vv_ask *q = vv_arena_alloc(&to->arena, sizeof *q);
    if (q == NULL) {
        return NULL;
    }
    *q = *k;
    vv_timer_init(&q->timer, k->timer.fn);
    q->x = to;
    q->head = (struct vv_str){NULL, 0}; /* was sent */
    for (size_t i = 0; i < VV_COUNT(q->slot); i++) {
        q->slot[i].x = to;
        q->slot[i].ask = q;
    }
    q->now = &q->slot[a - k->slot];
    if (q->now->u != NULL) {
        q->now->u->user = q->now;
    }
    to->state = q;
    to->action = &vv_action_proxy;
    to->status = a->x->status;
    to->attempts = a->x->attempts;
    a->u = NULL;
    a->server = NULL;
    k->pick.tried_count = 0;
    k->unsettled = k->entered = false;
    return q->now;
}

static void set_sticky(struct vv_attempt *a)
{
    struct vv_exchange *x = a->x;
    const char *name = x->service->conf->sticky_cookie;
    if (name != NULL && (!a->ask->pick.sticky || a->server->index_hash != a->ask->pick.key)) {
        x->set_cookie = vv_arena_fmt(&x->arena, "%s=%08x; Path=/; HttpOnly; SameSite=Lax", name,
                                     a->server->index_hash);
    }
}

/* The answer is for the cache: it is received without regard to its client, who reads behind. */
static bool fetch_on(struct vv_attempt *a)
{
    struct vv_exchange *x = a->x;
    struct vv_exchange *f = vv_fetch_exchange(x);
    x->status = x->w->answer.status;
    set_sticky(a);
    x->upstream_ns += vv_worker_now(x->w) - a->asked_ns; /* what this client waited for */
    struct vv_attempt *q = f != x ? move_to(a, f) : a;
    if (q == NULL) {
        vv_exchange_end(f, VV_REASON_NO_MEMORY);
        vv_answer_error(x, VV_REASON_NO_MEMORY);
        return false;
    }
    q->fetching = true;
    f->head_sent = true;
    struct vv_uconn *u = q->u;
    const bool client = f != x && vv_cached_lead(x, &f->w->answer);
    if (vv_attempt_pass_body(
            q)) { /* the origin's head is not needed any more: its block may be read over */
        vv_attempt_pump_answer(u->user);
    }
    if (client) {
        vv_cached_lead_body(x);
    }
    return false;
}

/* The client is answered out of the cache: this answer has done its work. */
static void drop_answer(struct vv_attempt *a)
{
    a->answer_done =
        a->framing == VV_H1_BODY_NONE || (a->framing == VV_H1_BODY_LENGTH && a->answer_left == 0);
    a->answer_done &= a->u != NULL && a->u->in != NULL && vv_buf_len(a->u->in) == 0;
    a->x->status = a->status;
    vv_attempt_end(a, VV_OUTCOME_OK);
}

static bool ask_again(struct vv_attempt *a)
{
    drop_answer(a);
    vv_ask_again(a->ask);
    return false;
}

/* A final head has come. False: the exchange is gone. */
static bool take_head(struct vv_attempt *a)
{
    struct vv_exchange *x = a->x;
    struct vv_h1_head *h = &x->w->answer;
    a->head_done = true;
    a->framing = h->framing;
    if (a->u->stream != NULL && h->framing == VV_H1_BODY_LENGTH) {
        a->framing = VV_H1_BODY_CLOSE; /* trailers may follow; the codec watches over the length */
    }
    a->answer_left = h->content_length;
    a->keep = h->keep_alive;
    if (h->framing == VV_H1_BODY_CHUNKED) {
        vv_h1_chunked_init(&a->chunked);
    }
    if (h->framing == VV_H1_BODY_TUNNEL && (h->status != 101 || !vv_forward_upgrades(x))) {
        a->head_done = false;
        vv_attempt_failed(a, VV_REASON_SERVER_GARBLED, VV_OUTCOME_BROKEN, "garbled");
        return false;
    }
    if (!vv_attempt_won(a, h)) {
        return false;
    }
    switch (vv_fetch_head(x, h)) {
    case VV_FETCH_PASS:
        break;
    case VV_FETCH_KEEP:
        return fetch_on(a);
    case VV_FETCH_REPEAT:
        return ask_again(a);
    case VV_FETCH_SERVE:
        drop_answer(a);
        vv_ask_settle(a->ask, VV_OUTCOME_OK, a->first_ns - a->ask->began_ns);
        vv_ask_drop(x);
        vv_recall_serve(x);
        return false;
    }
    set_sticky(a);
    if (!vv_answer_head_from(x, h)) {
        return false;
    }
    return h->status != 101 || begin_tunnel(a);
}

/* VV_OK: a final head was taken; VV_EAGAIN: more bytes needed; otherwise the exchange is gone. */
static enum vv_err parse_head(struct vv_attempt *a)
{
    struct vv_exchange *x = a->x;
    struct vv_h1_head *h = &x->w->answer;
    static const struct vv_h1_limits limits = {
        .line_bytes = 8192, .head_bytes = HEAD_MAX, .fields = VV_H1_FIELDS_MAX};
    for (;;) {
        struct vv_buf *b = a->u->in;
        const struct vv_str bytes = {b->data + b->start, vv_buf_len(b)};
        if (bytes.n == 0) {
            return VV_EAGAIN;
        }
        vv_h1_head_init(h);
        h->scan = a->scan;
        const enum vv_err err = vv_h1_parse_answer(h, bytes, x->req.method, &limits);
        a->scan = h->scan;
        if (err == VV_EAGAIN) {
            return err;
        }
        if (err != VV_OK) {
            vv_attempt_failed(a, VV_REASON_SERVER_GARBLED, VV_OUTCOME_BROKEN, "garbled");
            return VV_ECLOSED;
        }
        a->scan = 0;
        b->start += (uint32_t)h->head_bytes;
        if (a->first_ns == 0) {
            a->first_ns = vv_worker_now(x->w);
        }
        if (h->status >= 200 || h->status == 101) {
            return take_head(a) ? VV_OK : VV_ECLOSED;
        }
        if (++a->interims > INTERIMS_MAX) {
            vv_attempt_failed(a, VV_REASON_SERVER_GARBLED, VV_OUTCOME_BROKEN, "garbled");
            return VV_ECLOSED;
        }
        if (x->waiting_continue && h->status == 100) {
            vv_uconn_wait(a->u, 0);
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
static enum vv_err take_body(struct vv_attempt *a, struct vv_str *ret)
{
    struct vv_buf *b = a->u->in;
    const struct vv_str here = {b->data + b->start, vv_buf_len(b)};
    *ret = (struct vv_str){here.p, 0};
    switch (a->framing) {
    case VV_H1_BODY_NONE:
        a->answer_done = true;
        break;
    case VV_H1_BODY_LENGTH:
        ret->n = here.n < a->answer_left ? here.n : (size_t)a->answer_left;
        a->answer_left -= ret->n;
        a->answer_done = a->answer_left == 0;
        b->start += (uint32_t)ret->n;
        break;
    case VV_H1_BODY_CHUNKED:
        for (size_t used = 1; ret->n == 0 && !a->chunked.done && used > 0;) {
            const struct vv_str rest = {b->data + b->start, vv_buf_len(b)};
            const enum vv_err err = vv_h1_chunked_next(&a->chunked, rest, &used, ret);
            b->start += (uint32_t)used;
            if (err == VV_ESYNTAX) {
                return err;
            }
        }
        a->answer_done = a->chunked.done;
        break;
    case VV_H1_BODY_CLOSE:
    case VV_H1_BODY_TUNNEL:
        ret->n = here.n;
        b->start += (uint32_t)here.n;
        a->answer_done = a->u->stream != NULL && vv_ustream_ended(a->u);
        break;
    }
    vv_fault_body(a->u, ret, &a->answer_done);
    return VV_OK;
}

/* The fill takes no more: the client that reads behind it goes on from here when it is there. */
static void pause_fetch(struct vv_attempt *a, struct vv_str rest)
{
    a->paused = true;
    a->rest = rest;
    vv_uconn_wait(a->u, 0);
    if (a->x->recall->fetch == NULL) {
        vv_exchange_end(a->x, VV_REASON_NO_MEMORY);
    }
}

/* The same for a fill. False: paused, or done. */
static bool keep_body(struct vv_attempt *a)
{
    struct vv_exchange *x = a->x;
    for (;;) {
        struct vv_str data;
        if (take_body(a, &data) != VV_OK) {
            vv_attempt_failed(a, VV_REASON_SERVER_GARBLED, VV_OUTCOME_BROKEN, "garbled");
            return false;
        }
        if (vv_fetch_body(x, data) != VV_OK) {
            pause_fetch(a, data);
            return false;
        }
        if (a->answer_done) {
            answer_complete(a);
            return false;
        }
        if (vv_buf_len(a->u->in) == 0 || data.n == 0) {
            return true;
        }
    }
}

/* Passes on what the block holds. False: wait for the client, or the exchange is gone. */
bool vv_attempt_pass_body(struct vv_attempt *a)
{
    struct vv_exchange *x = a->x;
    if (a->fetching) {
        return keep_body(a);
    }
    for (;;) {
        struct vv_str data;
        if (take_body(a, &data) != VV_OK) {
            vv_attempt_failed(a, VV_REASON_SERVER_GARBLED, VV_OUTCOME_BROKEN, "garbled");
            return false;
        }
        if (!vv_answer_body(x, data)) {
            vv_exchange_end(x, VV_REASON_NO_MEMORY);
            return false;
        }
        if (a->answer_done) {
            answer_complete(a);
            return false;
        }
        const bool more = vv_buf_len(a->u->in) > 0 && data.n > 0;
        if (more && x->session->out.count + 4 <= VV_OUT_PIECES) {
            continue;
        }
        const enum vv_err err = vv_answer_flush(x);
        if (err != VV_OK) {
            if (err == VV_EAGAIN) {
                vv_uconn_wait(a->u, 0); /* it is the client's turn now: its own limit applies */
            }
            return false;
        }
        if (!more) {
            return true;
        }
    }
}

/* A stream that the server has done nothing with may be asked again elsewhere, whatever the method; once
 * at the same server, which was closing or full. */
static void heed_refusal(struct vv_attempt *a)
{
    if (a->u->stream != NULL && vv_ustream_refused(a->u)) {
        a->sent_any = false;
        a->u->reused = !a->ask->fresh;
    }
}

static void server_ended(struct vv_attempt *a, enum vv_err err)
{
    struct vv_exchange *x = a->x;
    heed_refusal(a);
    if (err == VV_ESYNTAX) {
        vv_attempt_failed(a, VV_REASON_SERVER_GARBLED, VV_OUTCOME_BROKEN, "garbled");
        return;
    }
    if (a->head_done && a->framing == VV_H1_BODY_CLOSE && (err == VV_ECLOSED || a->tunnel)) {
        a->keep = false;
        answer_complete(a);
        return;
    }
    if (err == VV_ENOMEM) {
        vv_answer_error(x, VV_REASON_NO_MEMORY);
        return;
    }
    const enum vv_tls_failure tls =
        a->u->tls != NULL ? vv_tls_failure(a->u->tls) : VV_TLS_FAIL_NONE;
    enum vv_reason reason = err == VV_ERESET ? VV_REASON_SERVER_RESET : VV_REASON_SERVER_CLOSED;
    if (tls == VV_TLS_FAIL_CLOSED) { /* an end without farewell, not a reset */
        reason = VV_REASON_SERVER_CLOSED;
    } else if (tls == VV_TLS_FAIL_ALERT && !a->got_any) { /* it does not like our certificate */
        reason = VV_REASON_CONNECT_TLS;
    }
    vv_attempt_failed(a, reason, VV_OUTCOME_BROKEN, "server_closed");
}

/* An empty block of the right size for what is still to come. */
static void fresh_block(struct vv_attempt *a)
{
    struct vv_buf *b = a->u->in;
    if (b == NULL || vv_buf_len(b) > 0) {
        return;
    }
    const bool was_full = b->end == b->cap;
    b->start = b->end = 0;
    if (b->cap == VV_BUF_SMALL && was_full && a->head_done) {
        vv_buf_put(&a->x->w->bufs, b);
        a->u->in = vv_buf_get(&a->x->w->bufs, VV_BUF_LARGE);
    }
}

/* A head that does not fit its block gets a larger one. */
static bool room_for_head(struct vv_attempt *a, struct vv_uconn *u)
{
    struct vv_buf *b = u->in;
    if (b == NULL || vv_buf_room(b) > 0) {
        return true;
    }
    struct vv_buf *bigger = vv_buf_get(&a->x->w->bufs, vv_buf_len(b) * 2 + 1024);
    if (bigger == NULL) {
        return false;
    }
    memcpy(bigger->data, b->data + b->start, vv_buf_len(b));
    bigger->end = (uint32_t)vv_buf_len(b);
    vv_buf_put(&a->x->w->bufs, b);
    u->in = bigger;
    return true;
}

/* Moves answer bytes until a side blocks. */
void vv_attempt_pump_answer(struct vv_attempt *a)
{
    struct vv_exchange *x = a->x;
    struct vv_session *s = x->session;
    struct vv_uconn *u = a->u;
    for (unsigned reads = 0; !s->blocked; reads++) {
        if (reads == READS_PER_TURN) {
            vv_loop_defer(x->w->loop, &u->again);
            return;
        }
        if (!a->head_done && !room_for_head(a, u)) {
            vv_attempt_failed(a, VV_REASON_NO_MEMORY, VV_OUTCOME_ABANDONED, "memory");
            return;
        }
        fresh_block(a);
        const enum vv_err err = vv_uconn_read(u, VV_BUF_SMALL);
        if (err == VV_EAGAIN) {
            if (a->head_done) {
                vv_attempt_wait(a, vv_attempt_timeouts(a)->idle_ns);
            }
            if (u->in != NULL && vv_buf_len(u->in) == 0) { /* a silent stream holds no block */
                vv_buf_put(&x->w->bufs, u->in);
                u->in = NULL;
            }
            return;
        }
        if (err != VV_OK) {
            server_ended(a, err);
            return;
        }
        a->got_any = true;
        if (!a->head_done) {
            const enum vv_err parsed = parse_head(a);
            if (parsed == VV_EAGAIN) {
                continue;
            }
            if (parsed != VV_OK) {
                return;
            }
        }
        const bool tunnel = a->tunnel;
        if (!vv_attempt_pass_body(a)) {
            return;
        }
        /* u stays readable memory until the turn ends: blocked and still ours means go on. */
        if (tunnel && !a->request_done && !u->blocked && !vv_attempt_pump_request(a) &&
            !(u->owner != NULL && u->blocked)) {
            return;
        }
    }
    if (a->head_done) {
        vv_uconn_wait(u,
                      0); /* before the head only interim answers block: the server's time runs */
    }
}

/* ---- events ---- */

static void on_connected(struct vv_uconn *u, enum vv_err err)
{
    struct vv_attempt *a = u->user;
    if (err != VV_OK) {
        const bool tls = u->tls != NULL || (u->stream != NULL && vv_ustream_tls_failed(u));
        vv_attempt_failed(a, tls ? VV_REASON_CONNECT_TLS : VV_REASON_CONNECT_FAILED,
                          VV_OUTCOME_CONNECT, tls ? "tls" : "connect_failed");
        return;
    }
    vv_uconn_wait(u, 0);
    vv_attempt_send(a);
}

static void on_readable(struct vv_uconn *u)
{
    const struct vv_attempt *a = u->user;
    if (!a->paused) {
        vv_attempt_pump_answer(u->user);
    }
}

static void on_writable(struct vv_uconn *u)
{
    struct vv_attempt *a = u->user;
    if (flush_request(a)) {
        if (a->request_done) {
            request_left(a);
        } else {
            (void)vv_attempt_pump_request(a);
        }
    }
}

static void on_timeout(struct vv_uconn *u)
{
    struct vv_attempt *a = u->user;
    struct vv_exchange *x = a->x;
    enum vv_reason reason = VV_REASON_FIRST_BYTE_TIMEOUT;
    const char *wait = "first_byte";
    if (u->connecting) {
        reason = VV_REASON_CONNECT_TIMEOUT;
        wait = "connect";
    } else if (a->tunnel) {
        answer_complete(a); /* a tunnel that fell silent ends; nothing was promised */
        return;
    } else if (a->head_done || u->blocked) {
        reason = VV_REASON_IDLE_TIMEOUT;
        wait = "idle";
    }
    const struct vv_str label = vv_str_from(wait);
    vv_metric_add(x->w->shard, vv_metrics_series(x->w->metrics, VV_METRIC_TIMEOUTS, &label, 1), 1);
    vv_attempt_failed(a, reason, VV_OUTCOME_TIMEOUT, wait);
}

const struct vv_uconn_owner vv_attempt_events = {on_connected, on_readable, on_writable,
                                                 on_timeout};

void vv_proxy_take_back(struct vv_exchange *x)
{
    struct vv_exchange *f = x->recall->fetch;
    const struct vv_ask *k = f->state;
    struct vv_attempt *a = move_to(k->now, x);
    if (a == NULL) {
        vv_exchange_end(x, VV_REASON_NO_MEMORY);
        return;
    }
    f->state = NULL;
    vv_exchange_end(f, VV_REASON_NONE);
    x->recall->role = VV_RECALL_PASS;
    a->fetching = a->paused = false;
    const struct vv_str rest = a->rest;
    if (!vv_answer_body(x, rest)) {
        vv_exchange_end(x, VV_REASON_NO_MEMORY);
    } else if (a->answer_done) {
        answer_complete(a);
    } else if (vv_answer_flush(x) == VV_OK && vv_attempt_pass_body(a)) {
        vv_attempt_pump_answer(a);
    }
}
