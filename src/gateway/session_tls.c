/* src/gateway/session_tls.c - TLS between a session and its socket. */
#include "gateway/door.h"
#include "gateway/session_h2.h"
#include "gateway/session_int.h"
#include "os/tls.h"
#include <stdlib.h>
#include <unistd.h>

struct vv_tls_job { /* a slow signature, on a pool thread */
    struct vv_job job;
    struct vv_session *s; /* NULL: it was closed meanwhile */
    struct vv_tls *tls;
    int fd;
};

bool vv_session_tls_begin(struct vv_session *s)
{
    struct vv_tls_context *context = vv_tls_slot_get(s->listener->tls);
    if (context == NULL) {
        return false;
    }
    const enum vv_err err = vv_tls_accept(context, s->io.fd, &s->listener->tls_stats, &s->tls);
    vv_tls_context_unref(context);
    s->secure = true;
    return err == VV_OK;
}

static void job_work(struct vv_job *job)
{
    vv_tls_handshake_work(VV_CONTAINER(job, struct vv_tls_job, job)->tls);
}

static void job_done(struct vv_loop *loop, struct vv_job *job)
{
    (void)loop;
    struct vv_tls_job *j = VV_CONTAINER(job, struct vv_tls_job, job);
    struct vv_session *s = j->s;
    if (s == NULL) {
        vv_tls_free(j->tls);
        close(j->fd);
        free(j);
        return;
    }
    s->tls_job = NULL;
    free(j);
    vv_session_run(s);
}

/* VV_OK: `done` comes. */
static enum vv_err work_aside(struct vv_session *s)
{
    struct vv_tls_job *j = calloc(1, sizeof *j);
    if (j == NULL) {
        return VV_ENOMEM;
    }
    j->job.work = job_work;
    j->job.done = job_done;
    j->s = s;
    j->tls = s->tls;
    j->fd = s->io.fd;
    const enum vv_err err = vv_pool_submit(s->w->pool, s->w->loop, &j->job);
    if (err != VV_OK) {
        free(j);
        return err;
    }
    s->tls_job = j;
    return VV_OK;
}

bool vv_session_tls_handshake(struct vv_session *s)
{
    if (s->tls_job != NULL) {
        return false;
    }
    enum vv_err err = vv_tls_handshake(s->tls);
    if (err == VV_EAGAIN && (vv_tls_waits(s->tls) & VV_TLS_WAITS_WORK) != 0) {
        err = work_aside(s);
        if (err == VV_OK) {
            return false;
        }
        /* The pool is full: better late than never. */
        vv_tls_handshake_work(s->tls);
        err = vv_tls_handshake(s->tls);
    }
    if (err == VV_EAGAIN) {
        return false;
    }
    if (err != VV_OK || vv_str_eq(vv_tls_alpn(s->tls), VV_STR(VV_TLS_ALPN_CHALLENGE))) {
        vv_session_close(s); /* a challenge has nothing to say after the handshake, RFC 8737 */
        return false;
    }
    if (vv_tls_resumed(s->tls)) {
        vv_door_resumed(s);
    }
    s->readable = true; /* the first request is often there; and reading sends what is held back */
    if (vv_str_eq(vv_tls_alpn(s->tls), VV_STR("h2"))) {
        vv_session_h2_begin(s, (struct vv_str){NULL, 0});
        return false;
    }
    s->state = VV_SESSION_HEAD;
    return true;
}

bool vv_session_tls_event(struct vv_session *s, uint32_t events)
{
    if (s->tls_job != NULL) {
        return false; /* the handshake looks again by itself */
    }
    if (s->rdhup) {
        vv_tls_read_to_end(s->tls);
    }
    if ((events & VV_IO_WRITE) && !s->blocked && vv_tls_unsent(s->tls) > 0) {
        (void)!vv_tls_flush(s->tls); /* when it fails, the next read or write says so */
    }
    return true;
}

enum vv_err vv_session_tls_read(struct vv_session *s, struct vv_buf *b)
{
    if (!s->readable && !vv_tls_has_more(s->tls)) {
        return s->eof ? VV_ECLOSED : VV_EAGAIN;
    }
    const size_t room = vv_buf_room(b);
    size_t n = 0;
    const enum vv_err err = vv_tls_read(s->tls, b->data + b->end, room, &n);
    if (err == VV_OK) {
        b->end += (uint32_t)n;
        s->readable = n == room || s->rdhup;
        return VV_OK;
    }
    s->readable = false;
    if (err == VV_EAGAIN) {
        return err;
    }
    if (err == VV_ECLOSED || err == VV_ERESET) {
        /* Many clients close without a goodbye. Requests have lengths: nothing can be cut unseen. */
        s->eof = true;
        return VV_ECLOSED;
    }
    s->hup = true;
    return VV_ERESET;
}

bool vv_session_tls_end(struct vv_session *s)
{
    if (s->tls_job != NULL) {
        s->tls_job->s = NULL;
        s->tls_job = NULL;
        s->tls = NULL;
        return true;
    }
    if (s->tls != NULL && !s->hard) {
        (void)vv_tls_close(s->tls);
    }
    vv_tls_free(s->tls);
    s->tls = NULL;
    return false;
}
