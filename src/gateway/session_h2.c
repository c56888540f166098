/* src/gateway/session_h2.c - connections of HTTP/2: reading, writing, the end of them. */
#include "gateway/session_h2.h"
#include "gateway/door.h"
#include "gateway/session_h2_int.h"
#include "gateway/session_int.h"
#include "gateway/session_pace.h"
#include "os/tls.h"
#include <stdlib.h>

#define READS_PER_TURN 8
#define BATCHES_PER_TURN 16
#define SEND_NS (30 * VV_SEC) /* a client that takes nothing at all */
#define DRAIN_NS VV_SEC       /* between the two steps of a farewell: more than a round trip */

static void on_wake(struct vv_loop *loop, struct vv_defer *d)
{
    (void)loop;
    struct vv_session_h2 *h = VV_CONTAINER(d, struct vv_session_h2, wake);
    vv_session_h2_flush_all(h->s);
}

void vv_session_h2_wake(struct vv_session *conn)
{
    if (conn->h2->inside) {
        conn->h2->woken = true;
    } else {
        vv_loop_defer(conn->w->loop, &conn->h2->wake);
    }
}

/* ---- writing ---- */

/* Writes what the codec has gathered, through the session's batch. VV_OK: all of it. */
static enum vv_err write_batch(struct vv_session *s)
{
    struct vv_session_h2 *h = s->h2;
    struct vv_out *o = &s->out;
    enum vv_err err = VV_OK;
    do {
        const struct iovec *piece = &h->gather.iov[h->at];
        for (; h->at < h->gather.count; h->at++, piece++) {
            if (!vv_out_borrow(o, (struct vv_str){piece->iov_base, piece->iov_len})) {
                break;
            }
        }
        o->more = h->at < h->gather.count;
        err = vv_out_flush(o, &s->w->bufs, s->io.fd, s->tls, vv_worker_now(s->w));
    } while (err == VV_OK && h->at < h->gather.count);
    return err;
}

static void give_stage_back(struct vv_session *s)
{
    struct vv_session_h2 *h = s->h2;
    vv_buf_put(&s->w->bufs, h->stage);
    h->stage = NULL;
    h->gather.count = 0;
    h->gather.bytes = 0;
    h->at = 0;
}

/* Asks the codec for more. False: there is nothing, or no memory for it. */
static bool gather(struct vv_session *s)
{
    struct vv_session_h2 *h = s->h2;
    if (h->stage == NULL) {
        h->stage = vv_buf_get(&s->w->bufs, VV_BUF_LARGE);
        if (h->stage == NULL) {
            return false;
        }
    }
    h->woken = false;
    h->gather.stage = h->stage->data;
    h->gather.stage_bytes = h->stage->cap;
    h->at = 0;
    h->inside = true;
    vv_h2_output(h->codec, &h->gather);
    h->inside = false;
    return h->gather.bytes > 0 || h->woken; /* who was told may have more to say */
}

static void wait_for_client(struct vv_session *s)
{
    s->blocked = true;
    if (s->send_wait_ns == 0 || s->out.sent != s->send_mark) {
        vv_session_send_owed(s, SEND_NS);
        vv_session_h2_rest(s);
    }
}

/* The connection is done when the codec says so, or when the client is gone and nobody waits for it. */
static bool over(const struct vv_session *s)
{
    const struct vv_session_h2 *h = s->h2;
    return vv_h2_finished(h->codec) || s->hup || (s->eof && vv_h2_streams(h->codec) == 0);
}

/* Closing with unread bytes (a WINDOW_UPDATE is enough) would reset the connection and take along what the
 * client has not read yet: the last answer, or the GOAWAY that tells its mistake. A flood is not listened to
 * any longer. */
static void close_when_over(struct vv_session *s)
{
    struct vv_session_h2 *h = s->h2;
    const bool flood = vv_h2_reasons[vv_h2_why(h->codec)].code == VV_H2_ENHANCE_YOUR_CALM;
    if (flood || s->eof || s->hup) {
        vv_session_close(s);
        return;
    }
    vv_session_h2_end(s);
    s->h2 = NULL;
    s->body.done = false; /* more may come at any time */
    vv_session_linger(s);
}

/* The client has ended its side. If all of it is gone, the answer to whatever is sent is a reset. */
static void left_alone(struct vv_session *s)
{
    struct vv_session_h2 *h = s->h2;
    vv_session_streams_give_up(s);
    if (!h->asked && !vv_h2_finished(h->codec)) {
        h->asked = true;
        if (vv_h2_ping(h->codec)) {
            vv_session_h2_wake(s);
        }
    }
}

void vv_session_h2_flush_all(struct vv_session *s)
{
    struct vv_session_h2 *h = s->h2;
    for (unsigned batches = 0;; batches++) {
        const enum vv_err err = write_batch(s);
        if (err == VV_EAGAIN) {
            wait_for_client(s);
            return;
        }
        if (err != VV_OK) {
            vv_session_close(s);
            return;
        }
        s->blocked = false;
        vv_session_send_rests(s);
        if (batches == BATCHES_PER_TURN) {
            vv_loop_defer(s->w->loop, &s->again);
            return;
        }
        if (!gather(s)) {
            break;
        }
    }
    give_stage_back(s);
    if (s->eof && h->streams > 0) {
        left_alone(s);
    }
    if (over(s)) {
        close_when_over(s);
    } else if (h->streams == 0) {
        vv_session_h2_rest(s);
    }
}

/* ---- reading ---- */

static bool take(struct vv_session *s, struct vv_str bytes)
{
    struct vv_session_h2 *h = s->h2;
    h->inside = true;
    const enum vv_err err = vv_h2_receive(h->codec, bytes, vv_worker_now(s->w));
    h->inside = false;
    return err == VV_OK;
}

static bool read_all(struct vv_session *s)
{
    struct vv_buf *b = vv_buf_get(&s->w->bufs, VV_BUF_SMALL);
    if (b == NULL) {
        return false;
    }
    enum vv_err err = VV_OK;
    bool fine = true;
    for (unsigned reads = 0; err == VV_OK && fine; reads++) {
        if (reads == READS_PER_TURN) {
            vv_loop_defer(s->w->loop, &s->again);
            break;
        }
        b->start = b->end = 0;
        err = vv_session_read(s, b);
        fine = err != VV_OK || take(s, (struct vv_str){b->data, b->end});
    }
    vv_buf_put(&s->w->bufs, b);
    if (!fine) {
        vv_door_malformed(s);
        s->h2->failed = true; /* the codec has a last word; nothing more is read */
    }
    return true;
}

void vv_session_h2_run(struct vv_session *s)
{
    if (s->h2->inside) {
        return;
    }
    if ((s->readable || (s->tls != NULL && vv_tls_has_more(s->tls))) && !s->eof && !s->h2->failed &&
        !read_all(s)) {
        vv_session_close(s);
        return;
    }
    vv_session_h2_flush_all(s);
}

/* ---- time ---- */

void vv_session_h2_rest(struct vv_session *s)
{
    struct vv_session_h2 *h = s->h2;
    const uint64_t now = vv_worker_now(s->w);
    const struct vv_listen_settings *conf = &s->listener->conf;
    uint64_t at = UINT64_MAX, due_ns = UINT64_MAX;
    if (h->draining_until_ns != 0) {
        at = h->draining_until_ns;
    } else if (h->streams == 0 && s->requests == 0) {
        if (s->head_began_ns == 0) {
            s->head_began_ns = now;
        }
        at = conf->header_timeout_ns != 0 ? s->head_began_ns + conf->header_timeout_ns : at;
    } else if (h->streams == 0) {
        if (h->idle_since_ns == 0) {
            h->idle_since_ns = now;
            if (s->tls != NULL && conf->keepalive_ns > VV_SEC) {
                h->quiet_at_ns = now + VV_SEC;
            }
        }
        at = h->quiet_at_ns != 0 ? h->quiet_at_ns : h->idle_since_ns + conf->keepalive_ns;
        if (vv_session_still_takes(s, &due_ns)) {
            at = vv_min_u64(at, due_ns);
        }
    }
    if (s->send_wait_ns != 0) {
        at = vv_min_u64(at, s->send_wait_ns);
    }
    if (at != UINT64_MAX) {
        vv_loop_timer_at(s->w->loop, &s->timer, at);
    }
}

static void farewell(struct vv_session *s)
{
    struct vv_session_h2 *h = s->h2;
    h->draining_until_ns = 0;
    vv_h2_drain(h->codec);
    vv_session_h2_flush_all(s);
}

void vv_session_h2_timer(struct vv_session *s)
{
    struct vv_session_h2 *h = s->h2;
    const uint64_t now = vv_worker_now(s->w);
    const struct vv_listen_settings *conf = &s->listener->conf;
    uint64_t due_ns = UINT64_MAX;
    if (s->send_wait_ns != 0 && now >= s->send_wait_ns) {
        const char *why = vv_session_send_late(s, SEND_NS, now);
        if (why == NULL) {
            vv_session_h2_rest(s);
            return;
        }
        vv_session_count_timeout(s, why);
        vv_session_close(s);
    } else if (h->idle_since_ns != 0 && vv_session_still_takes(s, &due_ns) && due_ns <= now) {
        vv_session_count_timeout(s, "send_rate");
        vv_session_close_hard(s);
        vv_session_close(s);
    } else if (h->draining_until_ns != 0) {
        if (now >= h->draining_until_ns) {
            farewell(s);
        } else {
            vv_session_h2_rest(s);
        }
    } else if (h->streams > 0) {
        vv_session_h2_rest(s);
    } else if (s->requests == 0 && s->head_began_ns != 0) {
        vv_session_count_timeout(s, "header");
        vv_session_close(s);
    } else if (h->quiet_at_ns != 0 && now >= h->quiet_at_ns) {
        vv_tls_idle(s->tls);
        h->quiet_at_ns = 0;
        vv_session_h2_rest(s);
    } else if (h->idle_since_ns != 0 && now >= h->idle_since_ns + conf->keepalive_ns) {
        vv_session_count_timeout(s, "keepalive");
        vv_h2_abort(h->codec, VV_H2_NO_ERROR);
        vv_session_h2_flush_all(s);
    } else {
        vv_session_h2_rest(s);
    }
}

uint64_t vv_session_h2_waits_since(const struct vv_session *s)
{
    const struct vv_session_h2 *h = s->h2;
    if (h->streams > 0 || h->inside || s->blocked || h->gather.bytes > 0) {
        return UINT64_MAX;
    }
    return h->idle_since_ns != 0   ? h->idle_since_ns
           : s->head_began_ns != 0 ? s->head_began_ns
                                   : UINT64_MAX;
}

void vv_session_h2_retire(struct vv_session *s)
{
    struct vv_session_h2 *h = s->h2;
    if (h->said_goodbye) {
        return;
    }
    h->said_goodbye = true;
    h->draining_until_ns = vv_worker_now(s->w) + DRAIN_NS;
    vv_h2_drain(h->codec);
    vv_session_h2_rest(s);
    vv_session_h2_wake(s);
}

/* ---- what is counted ---- */

void vv_session_h2_count(struct vv_worker *w)
{
    const struct vv_h2_counts *now = &w->h2_counts;
    struct vv_h2_counts *told = &w->h2_told;
    if (w->h2_pool == NULL) {
        return;
    }
    for (size_t i = 1; i < VV_H2_REASON_COUNT; i++) {
        if (now->reason[i] != told->reason[i]) {
            const struct vv_str label = vv_str_from(vv_h2_reasons[i].name);
            vv_metric_add(w->shard, vv_metrics_series(w->metrics, VV_METRIC_H2_ENDS, &label, 1),
                          now->reason[i] - told->reason[i]);
        }
    }
    vv_metric_add(w->shard, vv_metrics_series(w->metrics, VV_METRIC_H2_CONNECTIONS, NULL, 0),
                  now->connections - told->connections);
    vv_metric_add(w->shard, vv_metrics_series(w->metrics, VV_METRIC_H2_STREAMS, NULL, 0),
                  now->streams - told->streams);
    const vv_series memory = vv_metrics_series(w->metrics, VV_METRIC_H2_MEMORY, NULL, 0);
    if (now->memory_bytes >= told->memory_bytes) {
        vv_metric_add(w->shard, memory, now->memory_bytes - told->memory_bytes);
    } else {
        vv_metric_sub(w->shard, memory, told->memory_bytes - now->memory_bytes);
    }
    *told = *now;
}

/* ---- beginning and end ---- */

void vv_session_h2_limits(struct vv_listener *l)
{
    struct vv_h2_conf *c = &l->h2_conf;
    *c = vv_h2_conf_default;
    c->head_bytes = (uint32_t)l->conf.head_bytes;
    c->fields = (uint32_t)vv_min_u64(l->conf.fields_max, VV_H1_FIELDS_MAX);
    c->connect_protocol = true;
}

void vv_session_h2_begin(struct vv_session *s, struct vv_str first)
{
    struct vv_worker *w = s->w;
    struct vv_session_h2 *h = calloc(1, sizeof *h);
    if (h == NULL) {
        vv_session_close(s);
        return;
    }
    if (w->h2_pool == NULL) {
        w->h2_pool = vv_h2_pool_new(&w->h2_counts);
    }
    h->s = s;
    vv_list_init(&h->open);
    h->wake.fn = on_wake;
    vv_list_init(&h->wake.node);
    h->codec = w->h2_pool != NULL ? vv_h2_server_new(w->h2_pool, &s->listener->h2_conf,
                                                     &vv_session_h2_events, s, vv_worker_now(w))
                                  : NULL;
    if (h->codec == NULL) {
        free(h);
        vv_session_close(s);
        return;
    }
    s->h2 = h;
    s->state = VV_SESSION_H2;
    if (first.n > 0 && !take(s, first)) {
        vv_door_malformed(s);
        h->failed = true;
    }
    vv_buf_put(&w->bufs, s->in);
    s->in = NULL;
    vv_session_h2_rest(s);
    vv_session_h2_run(s);
}

static void bury(struct vv_worker *w, struct vv_corpse *c)
{
    (void)w;
    free(VV_CONTAINER(c, struct vv_session_h2, corpse));
}

void vv_session_h2_end(struct vv_session *s)
{
    struct vv_session_h2 *h = s->h2;
    h->inside = true; /* nothing is written any more */
    vv_h2_free(h->codec);
    h->codec = NULL;
    vv_loop_defer_stop(&h->wake);
    give_stage_back(s);
    h->corpse.bury = bury;
    vv_worker_bury(s->w, &h->corpse);
}
