/* src/gateway/upstream_h2.c - one connection carries the requests of many: what it has to say is gathered and
 * written once a turn, and what came is told to the streams after all of it was taken, because whoever is
 * told asks, resets and ends streams in turn. */
#include "gateway/tcp_watch.h"
#include "gateway/upstream_h2_int.h"
#include "os/tls.h"
#include <stdlib.h>

#define STREAMS_MAX 128u     /* of one connection; its window has room for all of them */
#define STREAMS_UNKNOWN 100u /* before the server has said how many it takes (RFC 9113 6.5.2) */
#define STREAM_WINDOW (256u * 1024u) /* what a slow client makes us keep */
#define READS_PER_TURN 16
#define SILENT_NS (10 * VV_SEC) /* with streams that wait: then the server is asked */
#define PING_NS (10 * VV_SEC)   /* for the answer */
#define PLAIN_NS (300 * VV_SEC) /* a server that has chosen HTTP/1.1 is not asked again so long */

/* A server is not an attacker: the limits are there so that one that went mad does not take us along. */
static const struct vv_h2_conf conf = {
    .streams_max = STREAMS_MAX,
    .stream_window_bytes = STREAM_WINDOW,
    .connection_window_bytes = STREAMS_MAX * STREAM_WINDOW,
    .head_bytes = 64 * 1024,
    .fields = VV_H1_FIELDS_MAX,
    .table_bytes = 4096,
    .continuations_max = 16,
    .frames_burst = 10000,
    .frames_per_second = 1000,
    .resets_burst = 10000,
    .resets_per_second = 1000,
    .memory_bytes_max = 16 * 1024 * 1024,
};

static void bury(struct vv_worker *w, struct vv_corpse *corpse)
{
    (void)w;
    free(VV_CONTAINER(corpse, struct vv_uh2, corpse));
}

/* It carries nothing any more; its streams are told so. */
static void lost(struct vv_uh2 *c, enum vv_err err)
{
    struct vv_list tell;
    if (c->u == NULL) {
        return;
    }
    struct vv_uconn *u = c->u;
    const bool tls_failed = c->h2 == NULL && !c->h1 && u->tls != NULL;
    c->u = NULL;
    c->lost = err = err == VV_ECLOSED ? VV_EIO : err; /* VV_ECLOSED would be the end of an answer */
    vv_list_del(&c->node);
    vv_loop_defer_stop(&c->turn);
    if (c->h1) {
        vv_upstream_give_back(u);
    } else {
        vv_upstream_discard(u);
    }
    vv_h2_free(c->h2);
    c->h2 = NULL;
    vv_buf_put(&c->w->bufs, c->stage);
    c->stage = NULL;
    vv_list_init(&tell);
    while (!vv_list_empty(&c->streams)) {
        struct vv_ustream *st = VV_LIST_ENTRY(c->streams.next, struct vv_ustream, node);
        st->refused |= c->h1;
        st->tls_failed = tls_failed;
        vv_list_del(&st->ready);
        vv_ustream_lost(st, err);
        if (st->lent) {
            vv_list_push_back(&tell, &st->ready);
        }
    }
    vv_loop_defer_stop(&c->turn);
    c->corpse.bury = bury;
    vv_worker_bury(c->w, &c->corpse);
    while (!vv_list_empty(&tell)) {
        vv_ustream_tell(VV_LIST_ENTRY(tell.next, struct vv_ustream, ready));
    }
}

/* ---- writing ---- */

/* The next run of the gather. VV_EAGAIN: the rest later. */
static enum vv_err write_gathered(struct vv_uh2 *c)
{
    struct vv_out *o = &c->u->out;
    while (c->written < c->gather.count || !vv_out_empty(o)) {
        while (c->written < c->gather.count) {
            const struct iovec *piece = &c->gather.iov[c->written];
            if (!vv_out_borrow(o, (struct vv_str){piece->iov_base, piece->iov_len})) {
                break;
            }
            c->written++;
        }
        o->more = c->written < c->gather.count;
        const enum vv_err err = vv_uconn_flush(c->u);
        if (err != VV_OK) {
            return err;
        }
    }
    return VV_OK;
}

/* Writes until there is nothing more to say, or the socket is full. Not VV_OK: it has broken. */
static enum vv_err write_all(struct vv_uh2 *c)
{
    while (!c->u->blocked) {
        const enum vv_err err = write_gathered(c);
        if (err == VV_EAGAIN) {
            c->u->blocked = true;
            return VV_OK;
        }
        if (err != VV_OK) {
            return err;
        }
        if (!vv_h2_wants_output(c->h2)) {
            break;
        }
        if (c->stage == NULL && (c->stage = vv_buf_get(&c->w->bufs, VV_BUF_LARGE)) == NULL) {
            return VV_ENOMEM;
        }
        c->gather.stage = c->stage->data;
        c->gather.stage_bytes = c->stage->cap;
        c->written = 0;
        vv_h2_output(c->h2, &c->gather);
        if (c->gather.bytes == 0) {
            c->gather.count = 0;
            break;
        }
    }
    if (!c->u->blocked) {
        vv_buf_put(&c->w->bufs, c->stage);
        c->stage = NULL;
    }
    return VV_OK;
}

static void deliver(struct vv_uh2 *c)
{
    while (c->u != NULL && !vv_list_empty(&c->ready)) {
        vv_ustream_tell(VV_LIST_ENTRY(c->ready.next, struct vv_ustream, ready));
    }
}

/* Says farewell as far as the socket takes it. */
static void hang_up(struct vv_uh2 *c)
{
    if (c->h2 != NULL) {
        vv_h2_drain(c->h2);
        (void)write_all(c);
    }
    lost(c, VV_ECLOSED);
}

/* Writes, tells, and ends the connection when it has no more use. */
static void work(struct vv_uh2 *c)
{
    if (c->h2 == NULL) {
        if (c->stream_count == 0) {
            hang_up(c); /* everybody has left before it was there */
        }
        return;
    }
    if (write_all(c) != VV_OK) {
        lost(c, VV_ERESET);
        return;
    }
    deliver(c);
    if (c->u == NULL) {
        return;
    }
    const bool unused = c->stream_count == 0;
    if (vv_h2_finished(c->h2)) {
        lost(c, VV_ERESET);
    } else if (unused && (c->home->keep_ns == 0 || !vv_h2_can_open(c->h2))) {
        hang_up(c);
    }
}

static void on_turn(struct vv_loop *loop, struct vv_defer *d)
{
    struct vv_uh2 *c = VV_CONTAINER(d, struct vv_uh2, turn);
    (void)loop;
    if (c->u != NULL) {
        work(c);
    }
}

void vv_uh2_schedule(struct vv_uh2 *c)
{
    if (c->u != NULL) {
        vv_loop_defer(c->w->loop, &c->turn);
    }
}

void vv_uh2_left(struct vv_uh2 *c)
{
    if (c->stream_count == 0) {
        c->idle_ns = vv_worker_now(c->w);
        vv_uh2_schedule(c);
    }
}

/* ---- events of what carries it ---- */

static enum vv_err begin(struct vv_uh2 *c)
{
    struct vv_h2_pool *pool = vv_upstreams_h2_pool(c->home->us);
    const uint64_t now = vv_worker_now(c->w);
    c->heard_ns = c->idle_ns = now;
    if (c->u->tls != NULL && !vv_str_eq(vv_tls_alpn(c->u->tls), VV_STR("h2"))) {
        c->home->plain_until_ns = now + PLAIN_NS;
        c->h1 = true;
        return VV_ERESET;
    }
    c->h2 = pool != NULL ? vv_h2_client_new(pool, &conf, &vv_ustream_events, c, now) : NULL;
    return c->h2 != NULL ? VV_OK : VV_ENOMEM;
}

static void on_connected(struct vv_uconn *u, enum vv_err err)
{
    struct vv_uh2 *c = u->user;
    if (err == VV_OK) {
        err = begin(c);
    }
    if (err != VV_OK) {
        lost(c, err);
        return;
    }
    VV_LIST_EACH (it, &c->streams) {
        vv_ustream_ready(VV_LIST_ENTRY(it, struct vv_ustream, node));
    }
    work(c);
}

static void on_readable(struct vv_uconn *u)
{
    struct vv_uh2 *c = u->user;
    enum vv_err err = VV_OK;
    for (unsigned reads = 0; err == VV_OK; reads++) {
        if (reads == READS_PER_TURN) {
            vv_loop_defer(c->w->loop, &u->again);
            break;
        }
        err = vv_uconn_read(u, VV_BUF_LARGE);
        if (err != VV_OK) {
            break;
        }
        struct vv_buf *b = u->in;
        c->reads++;
        c->heard_ns = vv_worker_now(c->w);
        c->asked = false;
        err = vv_h2_receive(c->h2, (struct vv_str){b->data + b->start, vv_buf_len(b)}, c->heard_ns);
        b->start = b->end = 0;
        /* The next connection begins with what this one was told. */
        c->home->streams_max =
            vv_max_u64(1, vv_min_u64(vv_h2_streams_allowed(c->h2), STREAMS_UNKNOWN));
    }
    vv_buf_put(&c->w->bufs, u->in);
    u->in = NULL;
    if (err != VV_OK && err != VV_EAGAIN) {
        (void)write_all(c); /* a GOAWAY that says what was wrong */
        lost(c, err);
        return;
    }
    deliver(c);
    if (c->u != NULL) {
        work(c);
    }
}

static void on_writable(struct vv_uconn *u)
{
    u->blocked = false;
    work(u->user);
}

static void on_timeout(struct vv_uconn *u)
{
    (void)u; /* times are the streams' own, and vv_uh2_home_second()'s */
}

static const struct vv_uconn_owner carrier = {on_connected, on_readable, on_writable, on_timeout};

/* ---- the home of a server ---- */

void vv_uh2_home_init(struct vv_uh2_home *home, struct vv_worker *w, struct vv_upstreams *us,
                      struct vv_upstream_pool *pool)
{
    *home = (struct vv_uh2_home){.w = w, .us = us, .pool = pool, .streams_max = STREAMS_UNKNOWN};
    vv_list_init(&home->conns);
}

void vv_uh2_home_fini(struct vv_uh2_home *home)
{
    VV_LIST_EACH (it, &home->conns) {
        hang_up(VV_LIST_ENTRY(it, struct vv_uh2, node));
    }
}

/* Is somebody still there? Only asked while somebody waits. */
static void watch(struct vv_uh2 *c, uint64_t now_ns)
{
    if (!c->asked && now_ns - c->heard_ns >= SILENT_NS) {
        c->asked = true;
        c->ping_ns = now_ns;
        if (!vv_h2_ping(c->h2)) {
            lost(c, VV_ENOMEM);
            return;
        }
        vv_uh2_schedule(c);
    } else if (c->asked && now_ns - c->ping_ns >= PING_NS) {
        lost(c, VV_ERESET);
    }
}

void vv_uh2_home_second(struct vv_uh2_home *home, uint64_t now_ns, bool leaving)
{
    VV_LIST_EACH (it, &home->conns) {
        struct vv_uh2 *c = VV_LIST_ENTRY(it, struct vv_uh2, node);
        if (c->h2 == NULL) {
            continue;
        }
        if (c->stream_count > 0) {
            watch(c, now_ns);
        } else if (leaving || c->u->tls_generation != home->tls_generation ||
                   now_ns - c->idle_ns >= home->keep_ns) {
            hang_up(c);
        }
    }
}

unsigned vv_uh2_home_watch(struct vv_uh2_home *home, unsigned most)
{
    unsigned looks = 0;
    VV_LIST_EACH (it, &home->conns) {
        const struct vv_uh2 *c = VV_LIST_ENTRY(it, struct vv_uh2, node);
        if (looks < most && c->h2 != NULL) { /* it is connected */
            looks += vv_tcp_look(home->w, VV_TCP_UPSTREAM, c->u->io.fd, &c->u->resent);
        }
    }
    return looks;
}

static bool takes_another(const struct vv_uh2 *c)
{
    if (c->u->tls_generation != c->home->tls_generation) {
        return false;
    }
    return c->stream_count < (c->reads == 0 ? c->home->streams_max : STREAMS_MAX) &&
           (c->h2 == NULL || vv_h2_can_open(c->h2));
}

static enum vv_err open_new(struct vv_uh2_home *home, struct vv_server *server,
                            const struct vv_service *service, struct vv_uh2 **ret)
{
    struct vv_uh2 *c = malloc(sizeof *c);
    if (c == NULL) {
        return VV_ENOMEM;
    }
    memset(c, 0, offsetof(struct vv_uh2, gather));
    c->gather.count = 0;
    c->home = home;
    c->w = home->w;
    vv_list_init(&c->streams);
    vv_list_init(&c->ready);
    vv_list_init(&c->turn.node);
    c->turn.fn = on_turn;
    enum vv_err err = vv_upstream_take(home->us, server, service, true, &carrier, c, &c->u);
    if (err == VV_OK) {
        c->u->shared = true;
    }
    if (err == VV_OK && !c->u->connecting) {
        err = begin(c);
        if (err != VV_OK) {
            vv_upstream_discard(c->u);
        }
    }
    if (err != VV_OK) {
        free(c);
        return err;
    }
    vv_list_push_back(&home->conns, &c->node);
    *ret = c;
    return VV_OK;
}

enum vv_err vv_ustream_take(struct vv_upstreams *us, struct vv_server *server,
                            const struct vv_service *service, bool fresh,
                            const struct vv_uconn_owner *owner, void *user, struct vv_uconn **ret)
{
    struct vv_uh2_home *home = vv_upstream_home(us, server, service);
    struct vv_uh2 *c = NULL;
    if (home == NULL) {
        return VV_ENOMEM;
    }
    if (vv_worker_now(home->w) < home->plain_until_ns) {
        return vv_upstream_take(us, server, service, fresh, owner, user, ret);
    }
    VV_LIST_EACH (it, &home->conns) {
        struct vv_uh2 *one = VV_LIST_ENTRY(it, struct vv_uh2, node);
        if (c == NULL && takes_another(one)) {
            c = one;
        }
    }
    const bool shared = c != NULL;
    if (c == NULL) {
        const enum vv_err err = open_new(home, server, service, &c);
        if (err != VV_OK) {
            return err;
        }
    }
    struct vv_ustream *st = vv_ustream_new(c, owner, user);
    if (st == NULL) {
        vv_uh2_schedule(c);
        return VV_ENOMEM;
    }
    if (shared) {
        vv_metric_add(c->w->shard, vv_uconn_stat(&st->u)->reuses, 1);
    }
    *ret = &st->u;
    return VV_OK;
}
