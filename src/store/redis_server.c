/* src/store/redis_server.c - one server of a store: its connection comes back by itself, and whoever asks
 * while there is no hope is told so at once. A connection that was fine and broke is opened again without
 * a pause, once: servers restart and idle connections are cut. A try that fails is followed by a pause,
 * and from then on operations wait for nothing. */
#include "store/redis_int.h"

#include "store/redis_conn_int.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define PAUSE_MIN_NS (50 * VV_MS)
#define PAUSE_MAX_NS (5 * VV_SEC)
#define STEADY_NS                                                                                  \
    VV_SEC /* a connection that stood for so long is no sign of trouble when it breaks */
#define CALLS_MAX 16384
#define OUT_MAX (8 * VV_MIB)
#define ITEMS_MAX                                                                                  \
    (UINT64_C(1) << 32) /* of an answer: they pass through, whoever asked knows how many it takes */
#define KEY_MAX 65536
#define BREAKER_WINDOW_NS (10 * VV_SEC)
#define PROBE_LEASE_MIN_NS (2 * VV_SEC)
#define NEVER_OPENS 10000 /* failures: who asks for more wants no breaker */

enum { SETUP_NAME, SETUP_TRACKING, SETUP_READONLY, SETUP_ROLE };
enum { PUSH_NAME, PUSH_INVALIDATE, PUSH_OTHER };

static void on_timer(struct vv_loop *loop, struct vv_timer *t);
static void on_open(struct vv_loop *loop, struct vv_defer *d);
static void lost(struct vv_redis_server *s, enum vv_err why);

static uint64_t new_share(void)
{
    static _Atomic uint64_t last;
    return atomic_fetch_add_explicit(&last, 1, memory_order_relaxed) + 1;
}

/* ------------------------------------------------------------ making and freeing */

static enum vv_err new_breaker(const struct vv_redis *r, struct vv_breaker **ret)
{
    const struct vv_breaker_conf conf = {
        .consecutive = r->conf.failures,
        .window_ns = BREAKER_WINDOW_NS,
        .volume_min = 1,
        .open_ns = r->conf.recover_ns,
        .probes = 1,
        .probe_successes = 1,
        .probe_lease_ns = vv_max_u64(4 * r->conf.call_ns, PROBE_LEASE_MIN_NS),
    };
    return vv_breaker_new(&conf, vv_loop_now(r->loop), ret);
}

static bool fixed_address(struct vv_redis_server *s)
{
    if (s->redis->conf.url.is_unix) {
        char text[sizeof(s->host) + 8];
        snprintf(text, sizeof(text), "unix:%s", s->host);
        return vv_addr_parse(vv_str_from(text), &s->addr) == VV_OK;
    }
    return vv_addr_from_ip(vv_str_from(s->host), s->port, &s->addr);
}

static struct vv_redis_server *known(struct vv_redis *r, struct vv_str host, uint16_t port,
                                     bool sentinel)
{
    VV_LIST_EACH (it, &r->servers) {
        struct vv_redis_server *s = VV_LIST_ENTRY(it, struct vv_redis_server, node);
        if (!s->gone && s->port == port && (s->role == VV_REDIS_ROLE_SENTINEL) == sentinel &&
            vv_str_eq_nocase(vv_str_from(s->host), host)) {
            return s;
        }
    }
    return NULL;
}

enum vv_err vv_redis_server_at(struct vv_redis *r, struct vv_str host, uint16_t port,
                               enum vv_redis_role role, struct vv_redis_server **ret)
{
    struct vv_redis_server *s = known(r, host, port, role == VV_REDIS_ROLE_SENTINEL);
    if (s != NULL) {
        *ret = s;
        return VV_OK;
    }
    if (r->servers_count >= VV_REDIS_SERVERS_MAX || host.n >= sizeof(s->host)) {
        return VV_ELIMIT;
    }
    s = calloc(1, sizeof(*s));
    if (s == NULL) {
        return VV_ENOMEM;
    }
    s->redis = r;
    s->role = role;
    s->port = port;
    memcpy(s->host, host.p, host.n);
    vv_list_init(&s->node);
    vv_list_init(&s->waiting);
    vv_list_init(&s->sent);
    vv_timer_init(&s->timer, on_timer);
    vv_list_init(&s->work.node);
    s->work.fn = on_open;
    s->addr_fixed = s->addr_known = fixed_address(s);
    const enum vv_err err = new_breaker(r, &s->breaker);
    if (err != VV_OK) {
        free(s);
        return err;
    }
    vv_list_push_back(&r->servers, &s->node);
    r->servers_count++;
    *ret = s;
    return VV_OK;
}

void vv_redis_server_free(struct vv_redis_server *s)
{
    struct vv_redis *r = s->redis;
    vv_loop_timer_stop(r->loop, &s->timer);
    vv_loop_defer_stop(&s->work);
    if (s->resolving) {
        vv_dns_cancel(&s->query);
    }
    if (s->conn != NULL) {
        r->stats.bytes_in += vv_redis_conn_stats(s->conn)->bytes_in;
        r->stats.bytes_out += vv_redis_conn_stats(s->conn)->bytes_out;
        vv_redis_conn_free(s->conn);
    }
    vv_breaker_free(s->breaker);
    r->servers_count -= !s->gone;
    vv_list_del(&s->node);
    free(s->key);
    free(s);
}

void vv_redis_reap(struct vv_loop *loop, struct vv_defer *d)
{
    struct vv_redis *r = VV_CONTAINER(d, struct vv_redis, reap);
    (void)loop;
    VV_LIST_EACH (it, &r->servers) {
        struct vv_redis_server *s = VV_LIST_ENTRY(it, struct vv_redis_server, node);
        if (s->gone) {
            vv_redis_server_free(s);
        }
    }
}

void vv_redis_server_forget(struct vv_redis_server *s)
{
    struct vv_redis *r = s->redis;
    if (s->gone) {
        return;
    }
    s->gone = true;
    r->servers_count--;
    vv_loop_timer_stop(r->loop, &s->timer);
    vv_loop_defer_stop(&s->work);
    vv_loop_defer(r->loop, &r->reap);
    if (s->conn != NULL && vv_redis_conn_state(s->conn) != VV_REDIS_CLOSED) {
        vv_redis_conn_close(s->conn); /* lost() does the rest */
    } else {
        vv_redis_ops_flush(s);
    }
}

/* ---------------------------------------------------------------------- opening */

/* Counts something about the server itself, no operation's outcome. */
static void count_failure(struct vv_redis_server *s)
{
    const uint64_t now_ns = vv_loop_now(s->redis->loop);
    struct vv_breaker_permit permit;
    uint64_t wait_ns = 0;
    if (vv_breaker_admit(s->breaker, now_ns, &permit, &wait_ns)) {
        vv_breaker_report(s->breaker, now_ns, &permit, VV_BREAKER_FAILED, 0);
    }
}

/* An operation waited for its whole deadline and heard nothing: so would the next ones. One wait is enough
 * to know; the first ping that is answered, or the next connection, takes it back. */
void vv_redis_server_silent(struct vv_redis_server *s)
{
    const uint64_t now_ns = vv_loop_now(s->redis->loop);
    const bool heard = s->conn != NULL && s->state == VV_REDIS_SERVER_READY &&
                       now_ns - vv_redis_conn_heard_ns(s->conn) < s->redis->conf.call_ns;
    if (s->redis->conf.failures > NEVER_OPENS) { /* counted one by one it would take minutes */
        return;
    }
    for (uint64_t i = 0; !heard && i < s->redis->conf.failures; i++) {
        count_failure(s);
    }
}

static void answers(struct vv_redis_server *s)
{
    const uint64_t now_ns = vv_loop_now(s->redis->loop);
    struct vv_breaker_view view;
    vv_breaker_look(s->breaker, now_ns, &view);
    if (view.state != VV_BREAKER_CLOSED) {
        vv_breaker_reset(s->breaker, now_ns); /* no probe could say more */
    }
}

static uint64_t next_pause(struct vv_redis_server *s)
{
    s->pause_ns = vv_max_u64(vv_min_u64(2 * s->pause_ns, PAUSE_MAX_NS), PAUSE_MIN_NS);
    /* Three to five quarters, so that many gateways do not come back in step. */
    return s->pause_ns * 3 / 4 + vv_rng_below(&s->redis->rng, s->pause_ns / 2);
}

static void end_share(struct vv_redis_server *s)
{
    const struct vv_redis *r = s->redis;
    const uint64_t share = s->share;
    s->share = 0;
    if (share != 0 && r->events.lost != NULL && !r->freeing) {
        r->events.lost(r->events.user, share);
    }
}

/* A try failed, or a connection broke: what it means for the server, then for operations. */
static void lost(struct vv_redis_server *s, enum vv_err why)
{
    struct vv_redis *r = s->redis;
    const uint64_t now_ns = vv_loop_now(r->loop);
    const bool was_ready = s->state == VV_REDIS_SERVER_READY;
    s->failure = why;
    s->tracking = s->ping_out = s->lost_told = s->echo = false;
    s->paused_by = NULL;
    s->paused_ns = 0;
    s->addr_known = s->addr_fixed;
    if (was_ready && now_ns - s->ready_since_ns >= STEADY_NS) {
        s->pause_ns = 0;
    }
    s->ready_since_ns = 0;
    s->state = VV_REDIS_SERVER_PAUSING;
    vv_loop_timer_stop(r->loop, &s->timer);
    if (!r->freeing && !s->gone) {
        count_failure(s);
        s->hopeless = !was_ready;
        if (was_ready && s->pause_ns == 0) {
            s->pause_ns = PAUSE_MIN_NS / 2; /* the next one is a pause of PAUSE_MIN_NS */
            s->state = VV_REDIS_SERVER_OPENING;
            vv_loop_defer(r->loop, &s->work);
        } else {
            s->hopeless = true;
            vv_loop_timer_at(r->loop, &s->timer, now_ns + next_pause(s));
        }
    }
    end_share(s);
    if (!r->freeing && r->topology->lost != NULL && !s->gone) {
        r->topology->lost(r, s, why);
    }
    vv_redis_ops_flush(s);
}

static void on_closed(void *user, enum vv_err why)
{
    lost(user, why);
}

static void setup_item(struct vv_redis_call *call, const struct vv_resp_item *it)
{
    struct vv_redis_server *s = call->conn->events.user;
    const size_t which = (size_t)(call - s->setup);
    if (which == SETUP_TRACKING && it->depth == 0 && it->type == VV_RESP_STATUS) {
        s->tracking = true;
    } else if (which == SETUP_ROLE && it->depth == 1 && it->type == VV_RESP_BULK) {
        if (vv_str_eq(it->text, VV_STR("master"))) {
            s->said_role = VV_REDIS_ROLE_MASTER;
        } else if (vv_str_eq(it->text, VV_STR("slave"))) {
            s->said_role = VV_REDIS_ROLE_REPLICA;
        }
    }
}

/* The last word of the set-up has been heard. */
static void set_up(struct vv_redis_server *s)
{
    struct vv_redis *r = s->redis;
    const uint64_t now_ns = vv_loop_now(r->loop);
    if (r->topology->ready != NULL && !r->topology->ready(r, s)) {
        if (!s->gone) {
            vv_redis_conn_fail(s->conn, VV_EREFUSED);
        }
        return;
    }
    if (s->gone) {
        return;
    }
    s->state = VV_REDIS_SERVER_READY;
    s->failure = VV_OK;
    s->hopeless = false;
    s->ready_since_ns = now_ns;
    s->share = s->tracking ? new_share() : 0;
    r->stats.reconnects += s->tries > 1;
    answers(s);
    if (s->tracking) {
        vv_loop_timer_at(r->loop, &s->timer, now_ns + r->conf.ping_ns);
    }
    vv_redis_ops_flush(s);
}

static void setup_end(struct vv_redis_call *call, enum vv_err err)
{
    struct vv_redis_server *s = call->conn->events.user;
    if (vv_redis_conn_state(s->conn) == VV_REDIS_CLOSED) {
        return; /* closed() follows */
    }
    if (err != VV_OK) {
        return vv_redis_conn_fail(s->conn, err);
    }
    if (--s->setups == 0) {
        set_up(s);
    }
}

static enum vv_err say(struct vv_redis_server *s, unsigned which, const struct vv_str *args,
                       size_t args_count)
{
    struct vv_redis_call *call = &s->setup[which];
    *call = (struct vv_redis_call){
        .item = setup_item, .end = setup_end, .timeout_ns = s->redis->conf.connect_ns};
    s->setups++;
    return vv_redis_conn_call(s->conn, call, args, args_count);
}

static void on_ready(void *user)
{
    static const struct vv_str name[] = {{"CLIENT", 6}, {"SETNAME", 7}, {"vivace", 6}};
    static const struct vv_str track[] = {{"CLIENT", 6}, {"TRACKING", 8}, {"ON", 2}, {"OPTIN", 5}};
    static const struct vv_str readonly[] = {{"READONLY", 8}}, role[] = {{"ROLE", 4}};
    struct vv_redis_server *s = user;
    const bool sentinel = s->role == VV_REDIS_ROLE_SENTINEL;
    s->setups = 0;
    s->said_role = VV_REDIS_ROLE_UNKNOWN;
    s->tracking = false;
    enum vv_err err = say(s, SETUP_NAME, name, VV_COUNT(name));
    if (err == VV_OK && s->redis->conf.tracking && !sentinel &&
        vv_redis_conn_version(s->conn) == 3) {
        err = say(s, SETUP_TRACKING, track, VV_COUNT(track));
    }
    if (err == VV_OK && s->readonly_mode) {
        err = say(s, SETUP_READONLY, readonly, VV_COUNT(readonly));
    }
    if (err == VV_OK && s->redis->topology->asks_role && !sentinel) {
        err = say(s, SETUP_ROLE, role, VV_COUNT(role));
    }
    if (err != VV_OK) {
        vv_redis_conn_fail(s->conn, err);
    }
}

/* ------------------------------------------------------------------------- pushes */

/* One string, whole. False: more of it follows. p NULL: it was too long. */
static bool gather(struct vv_redis_server *s, const struct vv_resp_item *it, struct vv_str *ret)
{
    if (it->first && it->last) {
        *ret = it->text;
        return true;
    }
    if (it->first) {
        s->key_n = 0;
        s->key_cut = false;
    }
    if (s->key_n + it->text.n > s->key_room && !s->key_cut) {
        const size_t room = vv_max_u64(2 * s->key_room, s->key_n + it->text.n);
        char *bigger = room <= KEY_MAX ? realloc(s->key, room) : NULL;
        s->key_cut = bigger == NULL;
        s->key = bigger != NULL ? bigger : s->key;
        s->key_room = bigger != NULL ? room : s->key_room;
    }
    if (!s->key_cut) {
        memcpy(s->key + s->key_n, it->text.p, it->text.n);
        s->key_n += it->text.n;
    }
    *ret = (struct vv_str){s->key_cut ? NULL : s->key, s->key_cut ? 0 : s->key_n};
    return it->last;
}

/* Our own write of this key, told to ourselves: the very next thing behind its answer. */
static bool is_echo(struct vv_redis_server *s, struct vv_str key)
{
    if (!s->echo || s->conn->head != s->echo_place || key.p == NULL ||
        vv_str_hash(key, 0) != s->echo_hash) {
        return false;
    }
    s->echo = false;
    return true;
}

static void invalidated(struct vv_redis_server *s, struct vv_str key)
{
    struct vv_redis *r = s->redis;
    if (is_echo(s, key)) {
        return;
    }
    r->stats.invalidations++;
    if (s->share != 0 && r->events.invalidated != NULL) {
        r->events.invalidated(r->events.user, s->share, key);
    }
}

static void on_push(void *user, const struct vv_resp_item *it)
{
    struct vv_redis_server *s = user;
    struct vv_redis *r = s->redis;
    struct vv_str text = {NULL, 0};
    if (!s->tracking) {
        if (r->topology->push != NULL && !s->gone) {
            r->topology->push(r, s, it);
        }
        return;
    }
    if (it->depth == 0) {
        s->push = PUSH_NAME;
    } else if (s->push == PUSH_NAME) {
        if (gather(s, it, &text)) {
            s->push = vv_str_eq(text, VV_STR("invalidate")) ? PUSH_INVALIDATE : PUSH_OTHER;
        }
    } else if (s->push == PUSH_INVALIDATE && it->type == VV_RESP_NIL) {
        invalidated(s, (struct vv_str){NULL, 0});
    } else if (s->push == PUSH_INVALIDATE && it->type == VV_RESP_BULK && gather(s, it, &text)) {
        invalidated(s, text);
    }
}

/* --------------------------------------------------------------------- connecting */

/* The server does not know that it is to track: what it answers from now on is not watched. */
static void caching_item(struct vv_redis_call *call, const struct vv_resp_item *it)
{
    struct vv_redis_server *s = call->conn->events.user;
    if (it->type == VV_RESP_ERROR && s->tracking) {
        s->tracking = false;
        vv_loop_timer_stop(s->redis->loop, &s->timer);
        end_share(s);
    }
}

/* A transaction begins: nothing was said against it yet. */
static void multi_item(struct vv_redis_call *call, const struct vv_resp_item *it)
{
    struct vv_redis_server *s = call->conn->events.user;
    (void)it;
    s->refused[0] = '\0';
}

static void queued_item(struct vv_redis_call *call, const struct vv_resp_item *it)
{
    struct vv_redis_server *s = call->conn->events.user;
    if (it->type == VV_RESP_ERROR && s->refused[0] == '\0') {
        const size_t n = vv_min_u64(it->text.n, sizeof(s->refused) - 1);
        memcpy(s->refused, it->text.p, n);
        s->refused[n] = '\0';
    }
}

static enum vv_err make_conn(struct vv_redis_server *s)
{
    const struct vv_redis_conf *f = &s->redis->conf;
    const bool sentinel = s->role == VV_REDIS_ROLE_SENTINEL;
    const char *user = sentinel ? f->sentinel_user : f->url.user;
    const char *password = sentinel ? f->sentinel_password : f->url.password;
    const struct vv_redis_conn_conf conf = {
        .addr = s->addr,
        .user = vv_str_from(user),
        .password = vv_str_from(password),
        .db = sentinel ? 0 : f->url.db,
        .tls = s->redis->tls,
        .tls_name = vv_str_from(f->tls_name != NULL ? f->tls_name : s->host),
        .connect_ns = f->connect_ns,
        .call_ns = f->call_ns,
        .hang_ns = f->hang_ns,
        .calls_max = CALLS_MAX,
        .out_max = OUT_MAX,
        .limits = {.items_max = ITEMS_MAX},
    };
    const struct vv_redis_conn_events events = {on_ready, on_closed, on_push, s};
    s->caching = (struct vv_redis_call){.item = caching_item};
    s->multi = (struct vv_redis_call){.item = multi_item};
    s->queued = (struct vv_redis_call){.item = queued_item};
    s->asking = (struct vv_redis_call){0};
    return vv_redis_conn_new(s->redis->loop, &conf, &events, &s->conn);
}

static void connect_now(struct vv_redis_server *s)
{
    enum vv_err err = VV_OK;
    s->tries++;
    if (s->conn == NULL) {
        err = make_conn(s);
    } else {
        vv_redis_conn_address(s->conn, &s->addr);
    }
    if (err == VV_OK) {
        err = vv_redis_conn_open(s->conn);
    }
    if (err != VV_OK) {
        lost(s, err);
    }
}

static void on_address(struct vv_dns_query *q, const struct vv_dns_answer *a)
{
    struct vv_redis_server *s = VV_CONTAINER(q, struct vv_redis_server, query);
    s->resolving = false;
    if (a->err != VV_OK || a->count == 0) {
        return lost(s, a->err != VV_OK ? a->err : VV_EDNS);
    }
    s->addr = a->addr[s->tries % a->count];
    s->addr_known = true;
    connect_now(s);
}

static void on_open(struct vv_loop *loop, struct vv_defer *d)
{
    struct vv_redis_server *s = VV_CONTAINER(d, struct vv_redis_server, work);
    struct vv_redis *r = s->redis;
    if (s->addr_known) {
        return connect_now(s);
    }
    if (r->dns == NULL) {
        const enum vv_err err = vv_dns_new(loop, &r->dns);
        if (err != VV_OK) {
            return lost(s, err);
        }
    }
    s->query = (struct vv_dns_query){.fn = on_address, .port = s->port};
    s->resolving = true;
    vv_dns_lookup(r->dns, &s->query, s->host, r->conf.connect_ns);
}

void vv_redis_server_open(struct vv_redis_server *s)
{
    if (s->state == VV_REDIS_SERVER_IDLE && !s->gone) {
        s->state = VV_REDIS_SERVER_OPENING;
        vv_loop_defer(s->redis->loop, &s->work);
    }
}

void vv_redis_server_reopen(struct vv_redis_server *s)
{
    if (s->conn != NULL && vv_redis_conn_state(s->conn) != VV_REDIS_CLOSED) {
        vv_redis_conn_close(s->conn);
    }
}

void vv_redis_server_renew_share(struct vv_redis_server *s)
{
    end_share(s);
    s->share = s->tracking && s->state == VV_REDIS_SERVER_READY ? new_share() : 0;
}

bool vv_redis_server_up(const struct vv_redis_server *s, uint64_t now_ns)
{
    struct vv_breaker_view view;
    if (s->hopeless || s->gone) {
        return false;
    }
    vv_breaker_look(s->breaker, now_ns, &view);
    return view.state != VV_BREAKER_OPEN;
}

enum vv_err vv_redis_server_subscribe(struct vv_redis_server *s, const struct vv_str *args,
                                      size_t args_count)
{
    return s->state == VV_REDIS_SERVER_READY ? vv_redis_conn_call_pushed(s->conn, args, args_count)
                                             : VV_EAGAIN;
}

/* ------------------------------------------------------------------------- pings */

static void ping_end(struct vv_redis_call *call, enum vv_err err)
{
    struct vv_redis_server *s = call->conn->events.user;
    s->ping_out = false;
    if (err == VV_ETIMEOUT && s->paused_ns == 0 && vv_redis_conn_heard_ns(s->conn) <= s->ping_ns) {
        vv_redis_conn_fail(s->conn, VV_ETIMEOUT);
    } else if (err == VV_OK) {
        answers(s);
    }
}

static void ping(struct vv_redis_server *s, uint64_t now_ns)
{
    static const struct vv_str args[] = {{"PING", 4}};
    s->ping = (struct vv_redis_call){.end = ping_end, .timeout_ns = s->redis->conf.call_ns};
    if (vv_redis_conn_call(s->conn, &s->ping, args, 1) == VV_OK) {
        s->ping_out = true;
        s->ping_ns = now_ns;
    }
}

static void on_timer(struct vv_loop *loop, struct vv_timer *t)
{
    struct vv_redis_server *s = VV_CONTAINER(t, struct vv_redis_server, timer);
    const uint64_t now_ns = vv_loop_now(loop), every_ns = s->redis->conf.ping_ns;
    if (s->state == VV_REDIS_SERVER_PAUSING) {
        s->state = VV_REDIS_SERVER_OPENING;
        return on_open(loop, &s->work);
    }
    if (s->state != VV_REDIS_SERVER_READY || !s->tracking) {
        return;
    }
    vv_loop_timer_at(loop, t, now_ns + every_ns);
    if (s->paused_ns != 0) {
        if (now_ns - s->paused_ns >= every_ns && !s->lost_told) {
            /* Invalidations wait behind the value that is not taken in: what was read before is not
             * watched in time any more. What comes from here on will be. */
            s->lost_told = true;
            end_share(s);
            s->share = s->tracking && s->state == VV_REDIS_SERVER_READY ? new_share() : 0;
        }
    } else if (!s->ping_out && now_ns - vv_redis_conn_heard_ns(s->conn) >= every_ns) {
        ping(s, now_ns);
    }
}
