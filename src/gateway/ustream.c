/* src/gateway/ustream.c - a stream that is handled like a connection.
 *
 * What comes is kept in blocks of the worker's, and the reader is given whole blocks, so that content is
 * copied once, out of what was read for all streams. Content of requests is copied as well: it must stay
 * until the codec is done with it, and the request may be over before that. */
#include "gateway/head_writer.h"
#include "gateway/trailers.h"
#include "gateway/upstream_h2_int.h"
#include <stdlib.h>

#define UNSENT_MAX (64u * 1024u) /* content that waits; more is taken when half of it has left */
#define OWN_FIELDS 32            /* fields that are added to those of a client */
#define PLAIN_NS (300 * VV_SEC)  /* a server that wants HTTP/1.1 is asked that way so long */

static void put_chain(struct vv_bufs *bufs, struct vv_buf **first, struct vv_buf **last)
{
    while (*first != NULL) {
        struct vv_buf *b = *first;
        *first = b->next;
        vv_buf_put(bufs, b);
    }
    *last = NULL;
}

static void add_block(struct vv_buf **first, struct vv_buf **last, struct vv_buf *b)
{
    b->next = NULL;
    if (*last != NULL) {
        (*last)->next = b;
    } else {
        *first = b;
    }
    *last = b;
}

static struct vv_buf *cut_block(struct vv_buf **first, struct vv_buf **last)
{
    struct vv_buf *b = *first;
    *first = b->next;
    if (b->next == NULL) {
        *last = NULL;
    }
    b->next = NULL;
    return b;
}

struct vv_ustream *vv_ustream_new(struct vv_uh2 *c, const struct vv_uconn_owner *owner, void *user)
{
    struct vv_ustream *st = malloc(sizeof *st);
    if (st == NULL) {
        return NULL;
    }
    memset(st, 0, sizeof *st);
    vv_uconn_init(&st->u, c->w, c->home->pool);
    st->u.stream = st;
    st->u.owner = owner;
    st->u.user = user;
    st->u.requests = 1;
    st->u.secure = c->u->secure;
    st->u.connecting = c->h2 == NULL;
    st->told = c->h2 != NULL;
    st->lent = true;
    st->c = c;
    st->home = c->home;
    vv_list_init(&st->ready);
    vv_list_push_back(&c->streams, &st->node);
    c->stream_count++;
    c->home->streams++;
    return st;
}

static void bury(struct vv_worker *w, struct vv_corpse *corpse)
{
    struct vv_ustream *st = VV_CONTAINER(corpse, struct vv_ustream, corpse);
    (void)w;
    free(st->trailer_text);
    free(st->trailer);
    free(st);
}

/* Neither its owner nor the codec knows it any more. */
static void end(struct vv_ustream *st)
{
    struct vv_uh2 *c = st->c;
    if (c != NULL) {
        st->c = NULL;
        vv_list_del(&st->node);
        c->stream_count--;
        vv_uh2_left(c);
    }
    put_chain(&st->u.w->bufs, &st->out_first, &st->out_last);
    st->corpse.bury = bury;
    vv_worker_bury(st->u.w, &st->corpse);
}

void vv_ustream_let_go(struct vv_uconn *u)
{
    struct vv_ustream *st = u->stream;
    struct vv_worker *w = u->w;
    u->owner = NULL;
    u->user = NULL;
    vv_loop_timer_stop(w->loop, &u->timer);
    vv_loop_defer_stop(&u->again);
    vv_list_del(&st->ready);
    put_chain(&w->bufs, &st->first, &st->last);
    vv_buf_put(&w->bufs, u->in);
    u->in = NULL;
    vv_out_fini(&u->out, &w->bufs);
    st->lent = false;
    st->home->streams--;
    if (st->s == NULL) {
        end(st);
        return;
    }
    vv_h2_reset(st->s, VV_H2_CANCEL); /* closed() is told when that has left */
    vv_uh2_schedule(st->c);
}

/* ---- telling the owner ---- */

void vv_ustream_ready(struct vv_ustream *st)
{
    st->u.readable = st->first != NULL || st->ended || st->err != VV_OK;
    if (vv_list_empty(&st->ready)) {
        vv_list_push_back(&st->c->ready, &st->ready);
    }
    vv_uh2_schedule(st->c);
}

void vv_ustream_tell(struct vv_ustream *st)
{
    struct vv_uconn *u = &st->u;
    vv_list_del(&st->ready);
    if (u->owner != NULL && !st->told) {
        const bool never = st->c == NULL && !st->refused;
        st->told = true;
        u->connecting = false;
        u->owner->connected(u, never ? st->err : VV_OK);
    }
    if (u->owner != NULL && st->stalled &&
        (st->s == NULL || vv_h2_unsent(st->s) <= UNSENT_MAX / 2)) {
        st->stalled = false;
        if (u->blocked) {
            u->owner->writable(u);
        }
    }
    if (u->owner != NULL && u->readable) {
        u->owner->readable(u);
    }
}

void vv_ustream_lost(struct vv_ustream *st, enum vv_err err)
{
    st->c = NULL;
    vv_list_del(&st->node);
    if (!st->ended && st->err == VV_OK) {
        st->err = err;
    }
    st->u.readable = true;
    if (!st->lent) {
        end(st);
    }
}

static void fail(struct vv_ustream *st, enum vv_err err)
{
    if (!st->ended && st->err == VV_OK) {
        st->err = err;
    }
    if (st->s != NULL) {
        vv_h2_reset(st->s, VV_H2_CANCEL);
    }
    vv_ustream_ready(st);
}

/* ---- asking ---- */

/* It cannot be asked here. Told by the next read, not now: the owner is in the middle of sending. */
static void refuse(struct vv_ustream *st)
{
    st->err = VV_ERESET;
    st->refused = st->u.readable = true;
    vv_loop_defer(st->u.w->loop, &st->u.again);
}

/* Our own text, so it is split, not judged. */
bool vv_uh2_split(struct vv_str head, struct vv_h2_request *r, struct vv_h2_field *field,
                  size_t max)
{
    struct vv_str line = vv_str_cut(&head, '\n');
    r->method = vv_str_cut(&line, ' ');
    r->path = vv_str_cut(&line, ' ');
    r->field = field;
    while (head.n > 0) {
        line = vv_str_cut(&head, '\n');
        if (line.n <= 1) {
            break;
        }
        line.n--; /* CR */
        const struct vv_str name = vv_str_cut(&line, ':');
        const struct vv_str value = vv_str_trim(line);
        const enum vv_field_id id = vv_field_lookup(name);
        if (id == VV_FIELD_HOST) {
            r->authority = value;
            continue;
        }
        if (r->count == max) {
            return false;
        }
        const bool secret = id == VV_FIELD_AUTHORIZATION || id == VV_FIELD_COOKIE;
        field[r->count++] = (struct vv_h2_field){name, value, secret ? VV_H2_SECRET : 0};
    }
    return true;
}

enum vv_err vv_ustream_ask(struct vv_uconn *u, struct vv_str head, bool end)
{
    struct vv_ustream *st = u->stream;
    struct vv_uh2 *c = st->c;
    struct vv_h2_field field[VV_H1_FIELDS_MAX + OWN_FIELDS];
    struct vv_h2_request r = {.scheme = u->secure ? VV_STR("https") : VV_STR("http"), .end = end};
    if (c == NULL || c->h2 == NULL || st->err != VV_OK) {
        refuse(st);
        return VV_OK;
    }
    if (!vv_uh2_split(head, &r, field, VV_COUNT(field))) {
        return VV_EINVAL;
    }
    st->head_method = vv_str_eq(r.method, VV_STR("HEAD"));
    st->mark = c->reads;
    const enum vv_err err = vv_h2_request(c->h2, st, &r, &st->s);
    if (err == VV_ELIMIT) { /* it was full or leaving since it was chosen */
        refuse(st);
        return VV_OK;
    }
    if (err == VV_OK) {
        vv_uh2_schedule(c);
    }
    return err;
}

/* Copies what waits in the batch. */
static enum vv_err take_content(struct vv_ustream *st)
{
    struct vv_bufs *bufs = &st->u.w->bufs;
    struct vv_out *o = &st->u.out;
    struct vv_buf *b = vv_buf_get(bufs, o->pending);
    if (b == NULL) {
        return VV_ENOMEM;
    }
    for (unsigned i = o->at; i < o->count; i++) {
        memcpy(b->data + b->end, o->piece[i].iov_base, o->piece[i].iov_len);
        b->end += (uint32_t)o->piece[i].iov_len;
    }
    const enum vv_err err = vv_h2_body(st->s, (struct vv_str){b->data, b->end});
    if (err == VV_OK) {
        add_block(&st->out_first, &st->out_last, b);
    } else {
        vv_buf_put(bufs, b);
    }
    return err;
}

enum vv_err vv_ustream_flush(struct vv_uconn *u)
{
    struct vv_ustream *st = u->stream;
    struct vv_out *o = &u->out;
    if (o->pending > 0) {
        const enum vv_err err =
            st->s != NULL ? take_content(st) : VV_OK; /* else reading says why */
        if (err == VV_EAGAIN) {
            st->stalled = true;
            return err;
        }
        if (err != VV_OK) {
            fail(st, err);
            return err;
        }
        const uint64_t sent = o->sent + o->pending;
        vv_out_fini(o, &u->w->bufs);
        vv_out_init(o);
        o->sent = sent;
    }
    if (st->s == NULL) {
        return VV_OK;
    }
    vv_uh2_schedule(st->c);
    st->stalled = vv_h2_unsent(st->s) > UNSENT_MAX;
    return st->stalled ? VV_EAGAIN : VV_OK;
}

void vv_ustream_finish(struct vv_uconn *u, const struct vv_field *trailer, size_t count)
{
    struct vv_ustream *st = u->stream;
    struct vv_h2_field field[VV_H1_FIELDS_MAX];
    if (st->s == NULL) {
        return;
    }
    count = count < VV_COUNT(field) ? count : VV_COUNT(field);
    for (size_t i = 0; i < count; i++) {
        field[i] = (struct vv_h2_field){trailer[i].name, trailer[i].value, 0};
    }
    if (count == 0) {
        vv_h2_end(st->s);
    } else if (vv_h2_end_trailers(st->s, field, count) == VV_ENOMEM) {
        fail(st, VV_ENOMEM);
    }
    vv_uh2_schedule(st->c);
}

/* ---- reading ---- */

/* The server may send so much more. What was read of heads does not count. */
static void give_window(struct vv_ustream *st, size_t bytes)
{
    const size_t of_head = bytes < st->head_left ? bytes : st->head_left;
    st->head_left -= of_head;
    if (st->s != NULL && bytes > of_head) {
        vv_h2_consumed(st->s, bytes - of_head);
        vv_uh2_schedule(st->c);
    }
}

enum vv_err vv_ustream_read(struct vv_uconn *u, size_t room_max, size_t *ret_bytes)
{
    struct vv_ustream *st = u->stream;
    struct vv_bufs *bufs = &u->w->bufs;
    struct vv_buf *b = st->first;
    if (b == NULL) {
        u->readable = false;
        u->eof = st->ended || st->err != VV_OK;
        return st->err != VV_OK ? st->err : st->ended ? VV_ECLOSED : VV_EAGAIN;
    }
    size_t n = vv_buf_len(b);
    if (n <= room_max && (u->in == NULL || vv_buf_len(u->in) == 0)) {
        vv_buf_put(bufs, u->in);
        u->in = cut_block(&st->first, &st->last);
    } else {
        if (u->in == NULL && (u->in = vv_buf_get(bufs, VV_BUF_SMALL)) == NULL) {
            return VV_ENOMEM;
        }
        n = vv_min_u64(n, vv_min_u64(room_max, vv_buf_room(u->in)));
        memcpy(u->in->data + u->in->end, b->data + b->start, n);
        u->in->end += (uint32_t)n;
        b->start += (uint32_t)n;
        if (vv_buf_len(b) == 0) {
            vv_buf_put(bufs, cut_block(&st->first, &st->last));
        }
    }
    give_window(st, n);
    u->readable = st->first != NULL || st->ended || st->err != VV_OK;
    *ret_bytes = n;
    return VV_OK;
}

bool vv_ustream_ended(const struct vv_uconn *u)
{
    const struct vv_ustream *st = u->stream;
    return st->ended && st->first == NULL && (u->in == NULL || vv_buf_len(u->in) == 0);
}

bool vv_ustream_refused(const struct vv_uconn *u)
{
    return u->stream->refused;
}

bool vv_ustream_tls_failed(const struct vv_uconn *u)
{
    return u->stream->tls_failed;
}

size_t vv_ustream_head_left(const struct vv_uconn *u)
{
    return u->stream->head_left;
}

enum vv_err vv_ustream_trailer(const struct vv_uconn *u, struct vv_arena *arena,
                               const struct vv_field **ret, size_t *ret_count)
{
    const struct vv_ustream *st = u->stream;
    *ret_count = 0;
    if (st->trailer_count == 0) {
        return VV_OK;
    }
    struct vv_field *f = vv_arena_alloc(arena, st->trailer_count * sizeof *f);
    if (f == NULL) {
        return VV_ENOMEM;
    }
    for (size_t i = 0; i < st->trailer_count; i++) {
        f[i].name = vv_arena_str(arena, st->trailer[i].name);
        f[i].value = vv_arena_str(arena, st->trailer[i].value);
        if (f[i].name.p == NULL || f[i].value.p == NULL) {
            return VV_ENOMEM;
        }
    }
    *ret = f;
    *ret_count = st->trailer_count;
    return VV_OK;
}

/* ---- events of the codec ---- */

/* An answer without content says so, unless it cannot have any. */
static bool says_empty(const struct vv_ustream *st, const struct vv_h1_head *head, bool end)
{
    return end && head->status >= 200 && head->status != 204 && head->status != 304 &&
           !head->has_content_length && !st->head_method;
}

static void on_head(void *user, struct vv_h2_stream *s, const struct vv_h1_head *head, bool end)
{
    struct vv_uh2 *c = user;
    struct vv_ustream *st = s->user;
    const struct vv_str reason = vv_str_from(vv_h1_reason(head->status)); /* HTTP/2 has none */
    size_t bytes = sizeof "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n" + reason.n;
    c->answered = true;
    if (!st->lent) {
        return;
    }
    if (head->error != VV_H1_FINE) {
        fail(st, VV_ESYNTAX);
        return;
    }
    for (uint32_t i = 0; i < head->fields_count; i++) {
        bytes += head->fields[i].name.n + head->fields[i].value.n + sizeof ": \r\n";
    }
    struct vv_buf *b = vv_buf_get(&c->w->bufs, vv_max_u64(bytes, VV_BUF_SMALL));
    if (b == NULL) {
        fail(st, VV_ENOMEM);
        return;
    }
    struct vv_writer w = {b->data};
    vv_put(&w, VV_STR("HTTP/1.1 "));
    vv_put_u64(&w, (uint64_t)head->status);
    vv_put(&w, VV_STR(" "));
    vv_put(&w, reason);
    vv_put(&w, VV_STR("\r\n"));
    for (uint32_t i = 0; i < head->fields_count; i++) {
        vv_put_field(&w, head->fields[i].name, head->fields[i].value);
    }
    vv_put(&w, says_empty(st, head, end) ? VV_STR("Content-Length: 0\r\n\r\n") : VV_STR("\r\n"));
    b->end = (uint32_t)(w.at - b->data);
    st->head_left += b->end;
    add_block(&st->first, &st->last, b);
    st->ended = end;
    vv_ustream_ready(st);
}

static void on_data(void *user, struct vv_h2_stream *s, struct vv_str bytes)
{
    struct vv_uh2 *c = user;
    struct vv_ustream *st = s->user;
    if (!st->lent) {
        vv_h2_consumed(s, bytes.n);
        return;
    }
    while (bytes.n > 0) {
        struct vv_buf *b = st->last;
        if (b == NULL || vv_buf_room(b) == 0) {
            b = vv_buf_get(&c->w->bufs, b == NULL ? VV_BUF_SMALL : VV_BUF_LARGE);
            if (b == NULL) {
                fail(st, VV_ENOMEM);
                return;
            }
            add_block(&st->first, &st->last, b);
        }
        const size_t n = vv_min_u64(bytes.n, vv_buf_room(b));
        memcpy(b->data + b->end, bytes.p, n);
        b->end += (uint32_t)n;
        bytes.p += n;
        bytes.n -= n;
    }
    vv_ustream_ready(st);
}

static void on_trailers(void *user, struct vv_h2_stream *s, const struct vv_h1_head *fields)
{
    struct vv_ustream *st = s->user;
    size_t bytes = 1;
    (void)user;
    if (!st->lent || fields->error != VV_H1_FINE || fields->fields_count == 0) {
        return;
    }
    for (uint32_t i = 0; i < fields->fields_count; i++) {
        bytes += fields->fields[i].name.n + fields->fields[i].value.n;
    }
    st->trailer = calloc(fields->fields_count, sizeof *st->trailer);
    st->trailer_text = malloc(bytes);
    if (st->trailer == NULL || st->trailer_text == NULL) {
        fail(st, VV_ENOMEM);
        return;
    }
    char *at = st->trailer_text;
    for (uint32_t i = 0; i < fields->fields_count; i++) {
        const struct vv_h1_field *f = &fields->fields[i];
        if (!vv_trailer_passes(f)) {
            continue;
        }
        struct vv_field *to = &st->trailer[st->trailer_count++];
        memcpy(at, f->name.p, f->name.n);
        memcpy(at + f->name.n, f->value.p, f->value.n);
        to->name = (struct vv_str){at, f->name.n};
        to->value = (struct vv_str){at + f->name.n, f->value.n};
        at += f->name.n + f->value.n;
    }
}

static void on_end(void *user, struct vv_h2_stream *s)
{
    struct vv_ustream *st = s->user;
    (void)user;
    st->ended = st->err == VV_OK;
    if (st->lent) {
        vv_ustream_ready(st);
    }
}

static void on_sent(void *user, struct vv_h2_stream *s, size_t bytes)
{
    struct vv_uh2 *c = user;
    struct vv_ustream *st = s->user;
    while (bytes > 0 && st->out_first != NULL) {
        struct vv_buf *b = st->out_first;
        const size_t n = vv_min_u64(bytes, vv_buf_len(b));
        b->start += (uint32_t)n;
        bytes -= n;
        if (vv_buf_len(b) == 0) {
            vv_buf_put(&c->w->bufs, cut_block(&st->out_first, &st->out_last));
        }
    }
    if (st->stalled && st->lent) {
        vv_ustream_ready(st);
    }
}

/* What its owner is told of a stream that did not end well. */
static enum vv_err verdict(struct vv_ustream *st, enum vv_h2_reason why, enum vv_h2_code code)
{
    struct vv_uh2 *c = st->c;
    if (why == VV_H2_WHY_GONE) {
        /* Nothing came since it was asked: the server was closing a connection that it took for idle. */
        st->u.reused = c->answered && st->mark == c->reads;
        return c->lost;
    }
    if (why != VV_H2_FINE && why < VV_H2_WHY_FLOOD_FRAMES) {
        return VV_ESYNTAX;
    }
    if (code == VV_H2_HTTP_1_1_REQUIRED) {
        c->home->plain_until_ns = vv_worker_now(c->w) + PLAIN_NS;
    }
    st->refused = code == VV_H2_HTTP_1_1_REQUIRED || code == VV_H2_REFUSED_STREAM;
    return VV_ERESET;
}

static void on_closed(void *user, struct vv_h2_stream *s, enum vv_h2_reason why,
                      enum vv_h2_code code)
{
    struct vv_ustream *st = s->user;
    (void)user;
    st->s = NULL;
    put_chain(&st->u.w->bufs, &st->out_first, &st->out_last);
    if (!st->lent) {
        end(st);
        return;
    }
    if (!st->ended && st->err == VV_OK) {
        st->err = verdict(st, why, code);
    }
    vv_ustream_ready(st);
}

const struct vv_h2_events vv_ustream_events = {on_head, on_data, on_trailers,
                                               on_end,  on_sent, on_closed};
