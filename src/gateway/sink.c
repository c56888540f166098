/* src/gateway/sink.c - an answer for a sink is written into a batch like any other, and taken out of it
 * where a socket would take it: so no action needs to know. The body is never framed, so that what
 * follows the head is the body. */
#include "gateway/sink.h"
#include "gateway/access.h"
#include "gateway/fetch.h"
#include "gateway/session.h"
#include "wire/uri.h"
#include <unistd.h>

/* ---- handing over -------------------------------------------------------------------------- */

static uint64_t number(struct vv_str s)
{
    uint64_t n = 0;
    for (size_t i = 0; i < s.n && s.p[i] >= '0' && s.p[i] <= '9'; i++) {
        n = n * 10 + (uint64_t)(s.p[i] - '0');
    }
    return n;
}

/* A head that we wrote ourselves. An interim one is not for the sink. */
static void pass_head(struct vv_session *s, struct vv_str head)
{
    struct vv_exchange *x = s->x;
    struct vv_str line = vv_str_cut(&head, '\n');
    struct vv_str type = {"", 0};
    uint64_t length = VV_LENGTH_UNKNOWN;
    (void)vv_str_cut(&line, ' ');
    const int status = (int)number(line);
    if (status < 200) {
        return;
    }
    while (head.n > 0) {
        line = vv_str_cut(&head, '\n');
        line.n -= line.n > 0 && line.p[line.n - 1] == '\r';
        const struct vv_str name = vv_str_cut(&line, ':');
        if (vv_str_eq_nocase(name, VV_STR("Content-Type"))) {
            type = vv_str_trim(line);
        } else if (vv_str_eq_nocase(name, VV_STR("Content-Length"))) {
            length = number(vv_str_trim(line));
        }
    }
    s->sink_told = true;
    x->sink->head(x->sink_user, status, type, length);
}

/* A head lies in one piece, because it was written in one go. */
static bool pass(struct vv_session *s, struct vv_str bytes)
{
    while (!s->sink_told && bytes.n > 0) {
        const char *end = memmem(bytes.p, bytes.n, "\r\n\r\n", 4);
        if (end == NULL) {
            return false;
        }
        const size_t n = (size_t)(end - bytes.p) + 4;
        pass_head(s, (struct vv_str){bytes.p, n - 2});
        bytes.p += n;
        bytes.n -= n;
    }
    return bytes.n == 0 || s->x->sink->body(s->x->sink_user, bytes);
}

static bool pass_file(struct vv_session *s, struct vv_out *o)
{
    char room[4096];
    while (o->file_left > 0) {
        const size_t want = (size_t)vv_min_u64(sizeof room, o->file_left);
        const ssize_t n = pread(o->file, room, want, o->file_at);
        if (n <= 0 || !pass(s, (struct vv_str){room, (size_t)n})) {
            return false; /* it was cut short under us, or is too much */
        }
        o->file_at += n;
        o->file_left -= (uint64_t)n;
    }
    return true;
}

enum vv_err vv_sink_flush(struct vv_session *s)
{
    struct vv_out *o = &s->out;
    bool fine = true;
    if (s->x != NULL && s->x->sink != NULL) { /* else it was cancelled: nobody listens */
        for (unsigned i = o->at; i < o->count && fine; i++) {
            fine = pass(s, (struct vv_str){o->piece[i].iov_base, o->piece[i].iov_len});
        }
        fine = fine && pass_file(s, o);
    }
    vv_out_fini(o, &s->w->bufs);
    vv_out_init(o);
    return fine ? VV_OK : VV_ELIMIT;
}

/* ---- starting ------------------------------------------------------------------------------ */

/* The text in the new exchange's arena: it may outlive the other. */
static bool own(struct vv_exchange *x, struct vv_str from, struct vv_str *to)
{
    if (from.p != NULL) {
        *to = vv_arena_str(&x->arena, from);
        return to->p != NULL;
    }
    *to = from;
    return true;
}

static bool own_match(struct vv_exchange *x, const struct vv_exchange *like)
{
    bool fine = own(x, like->match.rest, &x->match.rest);
    x->match.index = like->match.index;
    x->match.param_count = like->match.param_count;
    x->match.param_name = like->match.param_name;
    for (uint32_t i = 0; i < like->match.param_count && fine; i++) {
        fine = own(x, like->match.param[i], &x->match.param[i]);
    }
    return fine;
}

/* Usage of a key is counted with the client's request alone. */
static bool own_caller(struct vv_exchange *x, const struct vv_exchange *like)
{
    if (like->caller == NULL) {
        return true;
    }
    struct vv_caller *c = vv_arena_alloc(&x->arena, sizeof *c);
    if (c == NULL) {
        return false;
    }
    *c = *like->caller;
    c->use = NULL;
    x->caller = c;
    return own(x, like->caller->id, &c->id) && own(x, like->caller->name, &c->name);
}

static bool own_path(struct vv_exchange *x)
{
    char *out = vv_arena_alloc(&x->arena, x->req.path.n + 1);
    x->path.p = out;
    return out != NULL && x->req.target_form == VV_H1_ORIGIN &&
           vv_uri_normalise_path(x->req.path, out, x->req.path.n + 1, &x->path.n) == VV_OK;
}

/* What the phases before ROUTE would find out, as the client's request had it. */
static bool resemble(struct vv_exchange *x, const struct vv_exchange *like)
{
    vv_worker_release_use(x->w, x->use); /* the settings of the client's request */
    x->use = like->use;
    x->rt = like->rt;
    x->use->exchanges++;
    x->https = like->https;
    x->priority = like->priority;
    x->deadline_ns = like->deadline_ns;
    return own(x, like->client_ip, &x->client_ip) && own(x, like->host, &x->host) &&
           own(x, like->forwarded_for, &x->forwarded_for) &&
           own(x, like->forwarded, &x->forwarded) && own(x, like->id, &x->id) &&
           own_match(x, like) && own_caller(x, like) && own_path(x);
}

static enum vv_err parse(struct vv_session *s, struct vv_exchange *x, const struct vv_subrequest *r)
{
    const struct vv_listen_settings *conf = &s->listener->conf;
    const struct vv_h1_limits limits = {.line_bytes = (uint32_t)conf->line_bytes,
                                        .head_bytes = (uint32_t)conf->head_bytes,
                                        .fields = (uint32_t)conf->fields_max};
    memcpy(s->in->data, r->head.p, r->head.n);
    if (r->body.n > 0) {
        memcpy(s->in->data + r->head.n, r->body.p, r->body.n);
    }
    s->in->end = (uint32_t)(r->head.n + r->body.n);
    vv_h1_head_init(&x->req);
    return vv_h1_parse_request(&x->req, (struct vv_str){s->in->data, s->in->end}, &limits) == VV_OK
               ? VV_OK
               : VV_ESYNTAX;
}

enum vv_err vv_subrequest_start(struct vv_exchange *like, const struct vv_subrequest *r,
                                struct vv_exchange **ret)
{
    struct vv_session *s = vv_session_detached(like->session->listener, like->session);
    if (s == NULL) {
        return VV_ENOMEM;
    }
    s->detached = false;
    s->to_sink = true;
    s->in = vv_buf_get(&s->w->bufs, r->head.n + r->body.n);
    struct vv_exchange *x = s->in != NULL ? vv_exchange_new(s->w, s) : NULL;
    if (x == NULL) {
        vv_session_close(s);
        return VV_ENOMEM;
    }
    const enum vv_err err = parse(s, x, r);
    if (err != VV_OK || !resemble(x, like)) {
        vv_exchange_free(x);
        vv_session_close(s);
        return err != VV_OK ? err : VV_ENOMEM;
    }
    s->x = x;
    x->close = true;
    x->route = r->route;
    x->sink = r->sink;
    x->sink_user = r->user;
    (void)!vv_body_rewind(x);
    if (r->timeout_ns != 0) {
        const uint64_t at_ns = vv_worker_now(x->w) + r->timeout_ns;
        x->deadline_ns = x->deadline_ns != 0 ? vv_min_u64(x->deadline_ns, at_ns) : at_ns;
    }
    vv_session_arm(s);
    *ret = x;
    vv_exchange_run_route(x);
    if (s->state == VV_SESSION_CLOSED) { /* it lies in the graveyard until the turn ends */
        *ret = NULL;
    }
    return VV_OK;
}

void vv_subrequest_cancel(struct vv_exchange *x)
{
    x->sink = NULL;
    vv_exchange_end(x, VV_REASON_CLIENT_CLOSED);
}
