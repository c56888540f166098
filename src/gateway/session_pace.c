/* src/gateway/session_pace.c - what the client has taken is what was written less what the kernel still keeps: a
 * slow reader drains the kernel's megabytes for minutes before that takes a byte more from us. */
#include "gateway/session_pace.h"
#include "gateway/grpc.h"
#include "os/tls.h"
#include <linux/sockios.h>
#include <sys/ioctl.h>

#define SOON_NS (100 * VV_MS)
#define LOOK_BYTES (64u * 1024u) /* how much may leave before the kernel is asked about it */

/* A conversation. Over HTTP/1 there is none: there it is what a trickling client would like to be. */
static bool is_grpc(const struct vv_exchange *x)
{
    return x->session->conn != NULL && vv_grpc_asked(x);
}

void vv_session_body_owed(struct vv_exchange *x)
{
    struct vv_session *s = x->session;
    const uint64_t now = vv_worker_now(s->w);
    const struct vv_pace_conf conf = vv_session_pace_conf(s);
    s->body_wait_ns = x->body_timeout_ns != 0 ? now + x->body_timeout_ns : 0;
    if (conf.bytes_min == 0 || x->head_sent || s->body.framing == VV_H1_BODY_TUNNEL || is_grpc(x)) {
        return;
    }
    vv_pace_owe(&s->body_pace, now);
    const uint64_t due = vv_pace_due(&s->body_pace, &conf);
    s->body_wait_ns = s->body_wait_ns != 0 ? vv_min_u64(s->body_wait_ns, due) : due;
}

const char *vv_session_body_late(struct vv_session *s, uint64_t now_ns)
{
    const struct vv_pace_conf conf = vv_session_pace_conf(s);
    const struct vv_exchange *x = s->x;
    if (now_ns < vv_pace_due(&s->body_pace, &conf)) {
        return "body";
    }
    if (x == NULL || !x->head_sent) {
        return "body_rate";
    }
    /* The answer began while we waited: from then on it may pause. */
    s->body_wait_ns = x->body_timeout_ns != 0 ? s->body_pace.since_ns + x->body_timeout_ns : 0;
    s->body_pace = (struct vv_pace){0};
    return s->body_wait_ns != 0 && now_ns >= s->body_wait_ns ? "body" : NULL;
}

/* Bytes that we or the kernel still keep for the client. */
static uint64_t unsent_bytes(const struct vv_session *s)
{
    int n = 0;
    const uint64_t ours = s->tls != NULL ? vv_tls_unsent(s->tls) : 0;
    return ours + (ioctl(s->io.fd, SIOCOUTQ, &n) == 0 && n > 0 ? (uint64_t)n : 0);
}

static void wait_for_client(struct vv_session *s, const struct vv_pace_conf *conf)
{
    s->send_wait_ns = vv_min_u64(s->send_stall_ns, vv_pace_due(&s->send_pace, conf));
}

/* Books what was taken since the last look. Says what was not. A stream is paid for by all that its connection
 * takes: others may come before it, but a client that lets next to nothing through holds all of them. */
static uint64_t book(struct vv_session *s, const struct vv_pace_conf *conf)
{
    const struct vv_session *c = s->conn != NULL ? s->conn : s;
    const uint64_t now = vv_worker_now(s->w);
    const uint64_t unsent = unsent_bytes(c);
    const uint64_t taken = c->out.sent - vv_min_u64(c->out.sent, unsent);
    if (s->conn != NULL && s->taken == 0) {
        s->taken = taken; /* what went before this stream is no merit of it */
    }
    vv_pace_pay(&s->send_pace, conf, taken > s->taken ? taken - s->taken : 0, now);
    vv_pace_owe(&s->send_pace, now);
    s->taken = vv_max_u64(taken, s->taken);
    s->send_mark = s->out.sent;
    return unsent;
}

void vv_session_send_owed(struct vv_session *s, uint64_t limit_ns)
{
    const struct vv_pace_conf conf = vv_session_pace_conf(s);
    (void)book(s, &conf);
    s->send_stall_ns = vv_worker_now(s->w) + limit_ns;
    wait_for_client(s, &conf);
}

void vv_session_send_soon(struct vv_session *s, uint64_t limit_ns)
{
    if (s->send_pace.since_ns != 0) {
        vv_session_send_owed(s, limit_ns);
        return;
    }
    const uint64_t now = vv_worker_now(s->w);
    s->send_mark = s->out.sent;
    s->send_stall_ns = now + limit_ns;
    s->send_wait_ns = now + vv_min_u64(limit_ns, SOON_NS);
}

void vv_session_send_rests(struct vv_session *s)
{
    if (s->send_wait_ns != 0 && s->send_pace.since_ns == 0) {
        s->send_wait_ns = 0; /* no account was opened */
    } else if (s->send_wait_ns != 0) {
        const struct vv_pace_conf conf = vv_session_pace_conf(s);
        vv_pace_pay(&s->send_pace, &conf, 0, vv_worker_now(s->w));
        s->send_wait_ns = 0;
    }
}

const char *vv_session_send_late(struct vv_session *s, uint64_t limit_ns, uint64_t now_ns)
{
    const struct vv_pace_conf conf = vv_session_pace_conf(s);
    const uint64_t taken = s->taken;
    (void)book(s, &conf);
    if (s->conn == NULL && s->taken > taken) {
        s->send_stall_ns = now_ns + limit_ns;
    } else if (now_ns >= s->send_stall_ns) {
        return "send";
    }
    wait_for_client(s, &conf);
    return s->send_wait_ns <= now_ns ? "send_rate" : NULL;
}

bool vv_session_still_takes(struct vv_session *s, uint64_t *ret_due_ns)
{
    const struct vv_pace_conf conf = vv_session_pace_conf(s);
    if (conf.bytes_min == 0 || s->out.sent - s->taken < LOOK_BYTES || book(s, &conf) == 0) {
        s->send_pace.since_ns = 0; /* nothing, or not worth a look */
        return false;
    }
    *ret_due_ns = vv_pace_due(&s->send_pace, &conf);
    return true;
}

void vv_session_took(struct vv_session *s)
{
    if (s->send_pace.since_ns != 0 && s->send_wait_ns == 0) {
        const struct vv_pace_conf conf = vv_session_pace_conf(s);
        (void)book(s, &conf);
        s->send_pace.since_ns = 0;
    }
}
