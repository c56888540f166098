/* src/gateway/session_stream.c - streams of HTTP/2: each a session whose socket is the codec. */
#include "base/base64.h"
#include "gateway/head_writer.h"
#include "gateway/session_h2_int.h"
#include "gateway/session_int.h"
#include "gateway/session_pace.h"
#include "gateway/trailers.h"
#include <stdlib.h>
#include <unistd.h>

#define DISCARD_MAX (64u * 1024u) /* of a body nobody wants; more: the stream is cut */
#define LARGE_PARTS_MAX 8         /* of files, of a connection */

/* ---- birth ---- */

static void on_timer(struct vv_loop *loop, struct vv_timer *t)
{
    vv_session_deadline(VV_CONTAINER(t, struct vv_session, timer), vv_loop_now(loop));
}

static void on_again(struct vv_loop *loop, struct vv_defer *d)
{
    (void)loop;
    vv_session_stream_go_on(VV_CONTAINER(d, struct vv_session, again));
}

static struct vv_session *stream_new(struct vv_session *conn, struct vv_h2_stream *stream)
{
    struct vv_session *s = malloc(sizeof *s);
    if (s == NULL) {
        return NULL;
    }
    memset(s, 0, offsetof(struct vv_session, peer));
    s->io.fd = -1;
    s->w = conn->w;
    s->listener = conn->listener;
    s->conn = conn;
    s->stream = stream;
    s->trusted = conn->trusted;
    s->secure = conn->secure;
    s->client_ip_bytes = conn->client_ip_bytes;
    memcpy(s->client_ip, conn->client_ip, sizeof s->client_ip);
    s->peer = conn->peer;
    s->again.fn = on_again;
    vv_list_init(&s->again.node);
    vv_list_init(&s->node);
    vv_timer_init(&s->timer, on_timer);
    vv_out_init(&s->out);
    stream->user = s;
    vv_list_push_back(&conn->h2->open, &s->node);
    conn->h2->streams++;
    conn->h2->idle_since_ns = conn->h2->quiet_at_ns = 0;
    vv_session_took(conn);
    conn->requests++;
    const uint64_t most = conn->listener->conf.keepalive_requests;
    if (most != 0 && conn->requests >= most) {
        vv_session_h2_retire(conn); /* a farewell: what is open goes on */
    }
    return s;
}

static bool add_field(struct vv_h1_head *h, enum vv_field_id id, struct vv_str name,
                      struct vv_str value, bool hop)
{
    if (h->fields_count == VV_H1_FIELDS_MAX) {
        return false;
    }
    h->fields[h->fields_count++] =
        (struct vv_h1_field){.name = name, .value = value, .id = id, .hop = hop};
    if (h->first[id] == 0) {
        h->first[id] = (uint8_t)h->fields_count;
    }
    return true;
}

/* An extended CONNECT for WebSocket becomes what HTTP/1 says for it (RFC 8441 5), so that routes and
 * servers see one kind of opening handshake. Our own key: nobody looks at what a server makes of it. */
static bool become_upgrade(struct vv_session *s, struct vv_exchange *x)
{
    struct vv_h1_head *h = &x->req;
    const uint64_t random[2] = {vv_rng_u64(&s->w->rng), vv_rng_u64(&s->w->rng)};
    char *key = vv_arena_alloc(&x->arena, VV_BASE64_TEXT(sizeof random));
    if (key == NULL) {
        return false;
    }
    const size_t n = vv_base64_encode(VV_BASE64, random, sizeof random, key);
    h->method = VV_METHOD_GET;
    h->method_text = VV_STR("GET");
    h->target_form = VV_H1_ORIGIN;
    h->framing = VV_H1_BODY_NONE;
    h->has_content_length = false; /* what follows is no content: a server must not wait for it */
    h->expect_continue = false;
    h->upgrade = true;
    s->upgrades = true;
    s->body.framing = VV_H1_BODY_NONE;
    s->body.done = true; /* until the server agrees: then it is a tunnel */
    return add_field(h, VV_FIELD_UPGRADE, VV_STR("upgrade"), VV_STR("websocket"), true) &&
           add_field(h, VV_FIELD_CONNECTION, VV_STR("connection"), VV_STR("upgrade"), true) &&
           add_field(h, VV_FIELD_OTHER, VV_STR("sec-websocket-key"), (struct vv_str){key, n},
                     false);
}

static void on_head(void *user, struct vv_h2_stream *stream, const struct vv_h1_head *head,
                    bool end)
{
    struct vv_session *conn = user;
    struct vv_session *s = stream_new(conn, stream);
    struct vv_exchange *x = s != NULL ? vv_exchange_new(conn->w, s) : NULL;
    if (x == NULL) {
        vv_h2_reset(stream, VV_H2_REFUSED_STREAM);
        return;
    }
    vv_h2_head_copy(&x->req, head);
    s->body = (struct vv_request_body){
        .framing = head->framing, .left = head->content_length, .done = end};
    s->input_ended = end;
    vv_session_own(s, x);
    if (head->error != VV_H1_FINE) {
        s->body.done = true;
        vv_session_refuse_syntax(x);
        return;
    }
    const struct vv_str protocol = vv_h2_protocol(stream);
    if (protocol.n > 0 && !vv_str_eq(protocol, VV_STR("websocket"))) {
        x->req.target_form = VV_H1_AUTHORITY; /* refused as any other CONNECT is */
    } else if (protocol.n > 0 && !become_upgrade(s, x)) {
        vv_answer_error(x, VV_REASON_NO_MEMORY);
        return;
    }
    vv_exchange_run(x);
}

/* ---- the request's body ---- */

static bool append(struct vv_session *s, struct vv_str bytes)
{
    while (bytes.n > 0) {
        struct vv_buf *tail = s->more_tail;
        if (tail == NULL || vv_buf_room(tail) == 0) {
            struct vv_buf *b = vv_buf_get(&s->w->bufs, VV_BUF_SMALL);
            if (b == NULL) {
                return false;
            }
            if (tail == NULL) {
                s->more = b;
                s->at = 0;
            } else {
                tail->next = b;
            }
            s->more_tail = tail = b;
        }
        const size_t n = vv_min_u64(bytes.n, vv_buf_room(tail));
        memcpy(tail->data + tail->end, bytes.p, n);
        tail->end += (uint32_t)n;
        bytes.p += n;
        bytes.n -= n;
    }
    return true;
}

static void tell_body(struct vv_session *s)
{
    struct vv_exchange *x = s->x;
    if (x != NULL && !s->body.done && x->action != NULL && x->action->body != NULL) {
        x->action->body(x);
    }
}

static void on_data(void *user, struct vv_h2_stream *stream, struct vv_str bytes)
{
    (void)user;
    struct vv_session *s = stream->user;
    if (s == NULL || s->x == NULL ||
        (s->body.done && !s->upgrades)) { /* nobody wants it any more */
        vv_h2_consumed(stream, bytes.n);
        if (s != NULL && (s->discarded += bytes.n) > DISCARD_MAX) {
            vv_h2_reset(stream, VV_H2_NO_ERROR);
        }
        return;
    }
    if (!append(s, bytes)) {
        vv_h2_reset(stream, VV_H2_INTERNAL_ERROR);
        return;
    }
    tell_body(s);
}

/* Is this a field that the route writes or removes itself? */
static bool is_route_s(const struct vv_exchange *x, struct vv_str name)
{
    return x->route != NULL && x->route->request_edits.count > 0 &&
           vv_edits_have(&x->route->request_edits, name);
}

static void on_trailers(void *user, struct vv_h2_stream *stream, const struct vv_h1_head *fields)
{
    (void)user;
    const struct vv_session *s = stream->user;
    struct vv_exchange *x = s != NULL ? s->x : NULL;
    if (x == NULL || fields->fields_count == 0) {
        return;
    }
    struct vv_field *to = vv_arena_alloc(&x->arena, fields->fields_count * sizeof *to);
    size_t n = 0;
    for (uint32_t i = 0; to != NULL && i < fields->fields_count; i++) {
        if (!vv_trailer_passes(&fields->fields[i]) || is_route_s(x, fields->fields[i].name)) {
            continue;
        }
        to[n].name = vv_arena_str(&x->arena, fields->fields[i].name);
        to[n].value = vv_arena_str(&x->arena, fields->fields[i].value);
        n += to[n].name.p != NULL && to[n].value.p != NULL;
    }
    x->request_trailer = to;
    x->request_trailer_count = n;
}

static void on_end(void *user, struct vv_h2_stream *stream)
{
    (void)user;
    struct vv_session *s = stream->user;
    if (s != NULL) {
        s->input_ended = true;
        tell_body(s);
    }
}

/* What was handed out last is used up: its bytes may come again. */
static void give_back(struct vv_session *s)
{
    if (s->handed > 0) {
        if (s->stream != NULL) {
            vv_h2_consumed(s->stream, s->handed);
            vv_session_h2_wake(s->conn);
        }
        s->handed = 0;
    }
    while (s->more != NULL && s->at == s->more->end) {
        struct vv_buf *b = s->more;
        s->more = b->next;
        s->at = 0;
        if (s->more == NULL) {
            s->more_tail = NULL;
        }
        vv_buf_put(&s->w->bufs, b);
    }
}

enum vv_err vv_session_h2_body(struct vv_exchange *x, struct vv_str *ret_data)
{
    struct vv_session *s = x->session;
    *ret_data = (struct vv_str){NULL, 0};
    if (s->body.done) {
        return VV_OK;
    }
    give_back(s);
    if (s->more != NULL) {
        const struct vv_buf *b = s->more;
        *ret_data = (struct vv_str){b->data + s->at, b->end - s->at};
        s->handed = ret_data->n;
        s->at = b->end;
        s->body.bytes += ret_data->n;
        s->body.done = s->input_ended && b->next == NULL;
        x->waiting_continue = false;
        return s->body.bytes > x->body_bytes_max
                   ? vv_session_body_failed(x, VV_REASON_BODY_TOO_LARGE)
                   : VV_OK;
    }
    if (s->input_ended) {
        s->body.done = true;
        return VV_OK;
    }
    if (s->stream == NULL) {
        return vv_session_body_failed(x, VV_REASON_CLIENT_CLOSED);
    }
    if (!x->waiting_continue && s->body.framing != VV_H1_BODY_TUNNEL) {
        vv_body_wait(x);
    }
    return VV_EAGAIN;
}

static void free_body(struct vv_session *s)
{
    while (s->more != NULL) {
        struct vv_buf *b = s->more;
        s->more = b->next;
        vv_buf_put(&s->w->bufs, b);
    }
    s->more_tail = NULL;
}

/* The rest of the body is of no interest any more. */
static void drop_body(struct vv_session *s)
{
    size_t n = s->handed;
    for (const struct vv_buf *b = s->more; b != NULL; b = b->next) {
        n += b->end - (b == s->more ? s->at : 0);
    }
    if (n > 0) {
        vv_h2_consumed(s->stream, n);
        vv_session_h2_wake(s->conn);
    }
    s->handed = 0;
    free_body(s);
}

/* ---- the answer ---- */

static bool all_given(const struct vv_session *s)
{
    const struct vv_out *o = &s->out;
    return s->given == o->count && o->file_left == 0;
}

/* Is what is in the batch the end of the answer? */
static bool is_last(const struct vv_session *s)
{
    return s->x == NULL || s->x->body_done;
}

/* A head lies in one piece, because it was written in one go; there may be interim ones before it. */
static enum vv_err give_head(struct vv_session *s)
{
    struct vv_out *o = &s->out;
    const struct vv_str text = {o->piece[s->given].iov_base, o->piece[s->given].iov_len};
    const bool known = s->head_bytes > 0 && s->head_bytes <= text.n;
    const size_t n = known ? s->head_bytes : vv_h2_head_text_bytes(text);
    if (n < 12) {
        return VV_EIO;
    }
    if (known) {
        s->head_bytes = 0;
    }
    const bool switched = memcmp(text.p + 9, "101", 3) == 0;
    const bool interim = text.p[9] == '1' && !switched;
    if (switched) { /* RFC 8441 5: there is no switch of protocols, only an agreement */
        memcpy((char *)o->piece[s->given].iov_base + 9, "200", 3);
    }
    const bool alone = n == text.n && s->given + 1 == o->count && o->file_left == 0;
    const bool trailers = s->x != NULL && s->x->trailer_count > 0;
    const bool ends = !interim && alone && is_last(s) && !trailers;
    const enum vv_err err = vv_h2_answer_text(s->stream, (struct vv_str){text.p, n}, ends);
    if (err != VV_OK) {
        return err;
    }
    s->answered = !interim;
    s->output_ended = ends;
    if (n == text.n) {
        s->given++;
    }
    vv_out_advance(o, n);
    return VV_OK;
}

static void let_go_of_large(struct vv_session *s)
{
    s->conn->h2->large -= s->large;
    s->large = false;
}

/* A client may ask for a hundred files at once and take none of them: only a few parts are large. */
static size_t next_part(struct vv_session *s)
{
    let_go_of_large(s);
    s->large = s->out.file_left > VV_BUF_SMALL && s->conn->h2->large < LARGE_PARTS_MAX;
    s->conn->h2->large += s->large;
    return (size_t)vv_min_u64(s->out.file_left, s->large ? VV_BUF_LARGE : VV_BUF_SMALL);
}

/* The next part of a file, once the batch before it has left. */
static enum vv_err give_file(struct vv_session *s)
{
    struct vv_out *o = &s->out;
    const size_t want = next_part(s);
    struct vv_buf *b = vv_buf_get(&s->w->bufs, want > VV_BUF_SMALL ? VV_BUF_LARGE : VV_BUF_SMALL);
    if (b == NULL) {
        return VV_ENOMEM;
    }
    const ssize_t n = pread(o->file, b->data, want, o->file_at);
    if (n <= 0) {
        vv_buf_put(&s->w->bufs, b);
        return VV_EIO; /* the file became shorter under us: the promised length is lost */
    }
    b->end = (uint32_t)n;
    const uint64_t left = o->file_left - (uint64_t)n;
    const off_t at = o->file_at + n;
    const int fd = o->file;
    o->file_left = 0;
    vv_out_clear(o, &s->w->bufs);
    s->given = 0;
    if (!vv_out_give(o, b)) {
        vv_buf_put(&s->w->bufs, b);
        return VV_EIO;
    }
    vv_out_file(o, fd, at, left);
    return VV_OK;
}

static enum vv_err end_output(struct vv_session *s)
{
    const struct vv_exchange *x = s->x;
    s->output_ended = true;
    if (x == NULL || x->trailer_count == 0) {
        vv_h2_end(s->stream);
        return VV_OK;
    }
    struct vv_h2_field *field = vv_arena_zalloc(&s->x->arena, x->trailer_count * sizeof *field);
    if (field == NULL) {
        return VV_ENOMEM;
    }
    for (size_t i = 0; i < x->trailer_count; i++) {
        field[i].name = x->trailer[i].name;
        field[i].value = x->trailer[i].value;
    }
    return vv_h2_end_trailers(s->stream, field, x->trailer_count);
}

/* Hands the batch to the codec, as far as it takes it. */
static enum vv_err give(struct vv_session *s)
{
    struct vv_out *o = &s->out;
    for (;;) {
        while (s->given < o->count) {
            if (!s->answered) {
                const enum vv_err err = give_head(s);
                if (err != VV_OK) {
                    return err;
                }
                continue;
            }
            const struct iovec *p = &o->piece[s->given];
            const enum vv_err err = vv_h2_body(s->stream, (struct vv_str){p->iov_base, p->iov_len});
            if (err != VV_OK) {
                return err; /* VV_EAGAIN: on_sent() goes on */
            }
            s->given++;
        }
        if (o->file_left == 0 || o->pending > 0) {
            break;
        }
        const enum vv_err err = give_file(s);
        if (err != VV_OK) {
            return err;
        }
    }
    return all_given(s) && is_last(s) && s->answered && !s->output_ended ? end_output(s) : VV_OK;
}

static void batch_left(struct vv_session *s)
{
    vv_out_clear(&s->out, &s->w->bufs);
    let_go_of_large(s);
    s->given = 0;
    s->head_bytes = 0;
    s->blocked = false;
    s->send_wait_ns = 0;
}

enum vv_err vv_session_h2_flush(struct vv_session *s)
{
    if (s->stream == NULL) {
        return VV_ERESET;
    }
    const enum vv_err err = give(s);
    if (err != VV_OK && err != VV_EAGAIN) {
        return err;
    }
    vv_session_h2_wake(s->conn);
    if (s->out.pending == 0 && s->out.file_left == 0) {
        batch_left(s);
        return VV_OK;
    }
    s->blocked = true;
    if (s->send_wait_ns == 0 || s->out.sent != s->send_mark) {
        vv_session_expect_progress(s);
    }
    return VV_EAGAIN;
}

/* The answer has been said. Who speaks in a tunnel that has ended is told, too: nobody listens, and a stream
 * that nobody waits for has no timer. */
static void hang_up(struct vv_session *s)
{
    if (s->x == NULL && s->stream != NULL && s->output_ended && s->out.pending == 0 &&
        !s->input_ended && !s->was_cut) {
        s->was_cut = true;
        vv_h2_reset(s->stream, VV_H2_NO_ERROR);
        vv_session_h2_wake(s->conn);
    }
}

/* The batch has left: on with the answer. */
void vv_session_stream_go_on(struct vv_session *s)
{
    struct vv_exchange *x = s->x;
    const enum vv_err err = s->stream != NULL ? vv_session_h2_flush(s) : VV_ERESET;
    if (err == VV_EAGAIN) {
        return;
    }
    if (err != VV_OK) {
        vv_session_h2_cut(s);
    } else if (x != NULL && x->body_done) {
        vv_exchange_end(x, VV_REASON_NONE);
    } else if (x != NULL && x->action != NULL && x->action->drained != NULL) {
        x->action->drained(x);
    } else {
        hang_up(s);
    }
}

static void on_sent(void *user, struct vv_h2_stream *stream, size_t bytes)
{
    (void)user;
    struct vv_session *s = stream->user;
    if (s == NULL) {
        return;
    }
    struct vv_out *o = &s->out;
    vv_out_advance(o, vv_min_u64(bytes, o->pending));
    if (o->pending == 0 || s->given < o->count) {
        vv_session_stream_go_on(s);
    } else if (s->send_wait_ns != 0) {
        vv_session_expect_progress(s);
    }
}

/* ---- the end ---- */

void vv_session_h2_cut(struct vv_session *s)
{
    if (s->x != NULL) {
        vv_exchange_end(s->x, VV_REASON_CLIENT_CLOSED); /* comes here again */
    } else if (s->stream != NULL && !s->was_cut) {
        s->was_cut = true;
        vv_h2_reset(s->stream, s->hard ? VV_H2_INTERNAL_ERROR : VV_H2_CANCEL);
        vv_session_h2_wake(s->conn);
    }
}

void vv_session_h2_exchange_ended(struct vv_session *s, bool cut)
{
    if (s->stream == NULL) {
        return; /* closed() is at work */
    }
    s->send_wait_ns = 0;
    enum vv_err err = VV_OK;
    if (!cut && !s->output_ended) {
        err = vv_session_h2_flush(s);
    }
    if (cut || (err != VV_OK && err != VV_EAGAIN)) {
        s->hard = true;
        vv_session_h2_cut(s);
    } else {
        drop_body(s); /* what was received of it counts as read */
        if (err == VV_OK) {
            hang_up(s);
        }
    }
}

static void bury(struct vv_worker *w, struct vv_corpse *c)
{
    (void)w;
    free(VV_CONTAINER(c, struct vv_session, corpse));
}

static void on_closed(void *user, struct vv_h2_stream *stream, enum vv_h2_reason why,
                      enum vv_h2_code code)
{
    (void)code;
    struct vv_session *conn = user;
    struct vv_session *s = stream->user;
    if (s == NULL) {
        return;
    }
    stream->user = NULL;
    s->stream = NULL;
    struct vv_exchange *x = s->x;
    if (x != NULL) {
        const bool complete = why == VV_H2_FINE && x->body_done && s->output_ended;
        vv_exchange_end(x, complete ? VV_REASON_NONE : VV_REASON_CLIENT_CLOSED);
    }
    s->state = VV_SESSION_CLOSED;
    vv_loop_timer_stop(s->w->loop, &s->timer);
    vv_loop_defer_stop(&s->again);
    free_body(s);
    vv_out_fini(&s->out, &s->w->bufs);
    let_go_of_large(s);
    vv_list_del(&s->node);
    conn->h2->streams--;
    s->corpse.bury = bury;
    vv_worker_bury(s->w, &s->corpse);
}

const struct vv_h2_events vv_session_h2_events = {
    .head = on_head,
    .data = on_data,
    .trailers = on_trailers,
    .end = on_end,
    .sent = on_sent,
    .closed = on_closed,
};

void vv_session_streams_give_up(struct vv_session *conn)
{
    VV_LIST_EACH (it, &conn->h2->open) {
        struct vv_session *s = VV_LIST_ENTRY(it, struct vv_session, node);
        if (s->stream != NULL && (!s->input_ended || vv_h2_unsent(s->stream) > 0)) {
            vv_session_h2_cut(s);
        }
    }
}

/* ---- the head as text ---- */

enum vv_err vv_session_head_text(struct vv_exchange *x, struct vv_str *ret)
{
    const struct vv_session *s = x->session;
    const struct vv_h1_head *h = &x->req;
    if (s->conn == NULL) {
        *ret = (struct vv_str){s->in->data + s->in->start, h->head_bytes};
        return VV_OK;
    }
    size_t room = h->method_text.n + h->path.n + h->query.n + h->authority.n + 64;
    for (uint32_t i = 0; i < h->fields_count; i++) {
        room += h->fields[i].name.n + h->fields[i].value.n + 4;
    }
    struct vv_writer w = {vv_arena_alloc(&x->arena, room)};
    char *start = w.at;
    if (start == NULL) {
        return VV_ENOMEM;
    }
    vv_put(&w, h->method_text);
    vv_put(&w, VV_STR(" "));
    vv_put(&w, h->path);
    if (h->query.n > 0) {
        vv_put(&w, VV_STR("?"));
        vv_put(&w, h->query);
    }
    vv_put(&w, VV_STR(" HTTP/1.1\r\nHost: "));
    vv_put(&w, h->authority);
    vv_put(&w, VV_STR("\r\n"));
    for (uint32_t i = 0; i < h->fields_count; i++) {
        if (h->fields[i].id != VV_FIELD_HOST) {
            vv_put_field(&w, h->fields[i].name, h->fields[i].value);
        }
    }
    vv_put(&w, VV_STR("\r\n"));
    *ret = (struct vv_str){start, (size_t)(w.at - start)};
    return VV_OK;
}
