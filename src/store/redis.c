/* src/store/redis.c - the way of an operation: to whoever serves it, within its deadline, and to an end
 * that comes exactly once.
 *
 *   begin -> LOST (nobody knows who serves it) -> QUEUED (at a server that opens) -> SENT -> end
 *              ^                                                                       |
 *              +----- the topology says: again; the connection broke under a READ -----+
 *
 * The deadline is one timer while it waits and the connection's own once it is sent, so the common way (the
 * connection stands) arms one timer only. */
#include "store/redis_int.h"

#include "os/clock.h"
#include "store/redis_conn_int.h"

#include <stdlib.h>

#define CALL_NS_DEFAULT (50 * VV_MS)
#define CONNECT_NS_DEFAULT (500 * VV_MS)
#define HANG_NS_DEFAULT VV_SEC
#define PING_NS_DEFAULT (250 * VV_MS)
#define FAILURES_DEFAULT 5
#define RECOVER_NS_DEFAULT VV_SEC
#define TLS_SESSIONS 64
#define COMMANDS_MAX 6 /* that one operation may be sent as */

enum { OP_ENDED, OP_LOST, OP_QUEUED, OP_SENT };

static enum vv_err place(struct vv_redis_op *op);
static enum vv_err give(struct vv_redis_op *op, struct vv_redis_server *s);

/* ------------------------------------------------------------------------ lifecycle */

static const struct vv_redis_topology *topology_of(enum vv_redis_kind kind)
{
    switch (kind) {
    case VV_REDIS_RING:
        return &vv_redis_ring;
    case VV_REDIS_SINGLE:
        return &vv_redis_single;
    case VV_REDIS_SENTINEL:
        return &vv_redis_sentinel;
    case VV_REDIS_CLUSTER:
        return &vv_redis_cluster;
    }
    return NULL;
}

static enum vv_err keep_texts(struct vv_redis *r)
{
    const char **const texts[] = {&r->conf.sentinel_user, &r->conf.sentinel_password,
                                  &r->conf.ca_file,       &r->conf.cert_file,
                                  &r->conf.key_file,      &r->conf.tls_name};
    _Static_assert(VV_COUNT(texts) == VV_COUNT(r->texts), "every text has a place");
    for (size_t i = 0; i < VV_COUNT(texts); i++) {
        if (*texts[i] != NULL) {
            r->texts[i] = strdup(*texts[i]);
            *texts[i] = r->texts[i];
            if (r->texts[i] == NULL) {
                return VV_ENOMEM;
            }
        }
    }
    return VV_OK;
}

static void set_defaults(struct vv_redis_conf *f)
{
    f->call_ns = f->call_ns > 0 ? f->call_ns : CALL_NS_DEFAULT;
    f->connect_ns = f->connect_ns > 0 ? f->connect_ns : CONNECT_NS_DEFAULT;
    f->hang_ns = f->hang_ns > 0 ? f->hang_ns : HANG_NS_DEFAULT;
    f->ping_ns = f->ping_ns > 0 ? f->ping_ns : PING_NS_DEFAULT;
    f->failures = f->failures > 0 ? f->failures : FAILURES_DEFAULT;
    f->recover_ns = f->recover_ns > 0 ? f->recover_ns : RECOVER_NS_DEFAULT;
}

static enum vv_err make_tls(struct vv_redis *r)
{
    const struct vv_redis_conf *f = &r->conf;
    struct vv_tls_client_conf conf = {
        .ca_file = f->ca_file, .sessions_max = TLS_SESSIONS, .insecure = f->tls_insecure};
    struct vv_sb why = {0};
    enum vv_err err = VV_OK;
    if (!f->url.tls) {
        return VV_OK;
    }
    if (f->cert_file != NULL) {
        const struct vv_tls_cert_files files = {.cert = f->cert_file, .key = f->key_file};
        err = vv_tls_cert_load(&files, &why, &conf.cert);
    }
    if (err == VV_OK) {
        err = vv_tls_client_new(&conf, &why, &r->tls);
    }
    vv_tls_cert_unref(conf.cert);
    vv_sb_fini(&why);
    return err;
}

enum vv_err vv_redis_new(struct vv_loop *loop, const struct vv_redis_conf *conf,
                         const struct vv_redis_events *events, struct vv_redis **ret)
{
    const struct vv_redis_topology *topology = topology_of(conf->url.kind);
    if (topology == NULL) {
        return VV_EUNSUPPORTED;
    }
    struct vv_redis *r = calloc(1, sizeof(*r));
    if (r == NULL) {
        return VV_ENOMEM;
    }
    r->loop = loop;
    r->conf = *conf;
    r->events = events != NULL ? *events : (struct vv_redis_events){0};
    r->topology = topology;
    r->reap.fn = vv_redis_reap;
    vv_list_init(&r->reap.node);
    vv_list_init(&r->servers);
    vv_list_init(&r->waiting);
    vv_rng_init(&r->rng, vv_entropy_u64());
    set_defaults(&r->conf);
    enum vv_err err = keep_texts(r);
    if (err == VV_OK) {
        err = make_tls(r);
    }
    if (err == VV_OK) {
        err = topology->start(r);
    }
    if (err != VV_OK) {
        vv_redis_free(r);
        return err;
    }
    *ret = r;
    return VV_OK;
}

/* --------------------------------------------------------------------- end of an op */

static void unqueue(struct vv_redis_op *op)
{
    if (op->state == OP_LOST || op->state == OP_QUEUED) {
        op->redis->waiting_count--;
        vv_loop_timer_stop(op->redis->loop, &op->timer);
    }
    vv_list_del(&op->node);
}

static void report(struct vv_redis_op *op, enum vv_breaker_outcome outcome)
{
    const struct vv_redis_server *s = op->at;
    if (s != NULL) {
        const uint64_t now_ns = vv_loop_now(op->redis->loop);
        vv_breaker_report(s->breaker, now_ns, &op->permit, outcome,
                          now_ns > op->began_ns ? now_ns - op->began_ns : 0);
        op->at = NULL;
    }
}

static void finish(struct vv_redis_op *op, enum vv_err err)
{
    struct vv_redis_stats *stats = &op->redis->stats;
    stats->timeouts += err == VV_ETIMEOUT;
    stats->refused += err == VV_EREFUSED;
    stats->errors += (err != VV_OK && err != VV_ETIMEOUT && err != VV_EREFUSED) || op->bad;
    op->state = OP_ENDED;
    op->end(op, err);
}

void vv_redis_free(struct vv_redis *r)
{
    if (r == NULL) {
        return;
    }
    r->freeing = true;
    r->topology->stop(r);
    vv_loop_defer_stop(&r->reap);
    VV_LIST_EACH (it, &r->servers) {
        struct vv_redis_server *s = VV_LIST_ENTRY(it, struct vv_redis_server, node);
        vv_redis_ops_flush(s);
        vv_redis_server_free(s);
    }
    while (!vv_list_empty(&r->waiting)) {
        struct vv_redis_op *op = VV_LIST_ENTRY(r->waiting.next, struct vv_redis_op, node);
        unqueue(op);
        finish(op, VV_ECLOSED);
    }
    vv_dns_free(r->dns);
    vv_tls_context_unref(r->tls);
    for (size_t i = 0; i < VV_COUNT(r->texts); i++) {
        if (r->texts[i] != NULL) {
            explicit_bzero(r->texts[i], strlen(r->texts[i]));
        }
        free(r->texts[i]);
    }
    explicit_bzero(r->conf.url.password, sizeof(r->conf.url.password));
    free(r);
}

/* -------------------------------------------------------------------------- waiting */

static void on_deadline(struct vv_loop *loop, struct vv_timer *t)
{
    struct vv_redis_op *op = VV_CONTAINER(t, struct vv_redis_op, timer);
    struct vv_redis_server *s = op->at;
    (void)loop;
    unqueue(op);
    report(op, VV_BREAKER_FAILED);
    if (s != NULL) {
        vv_redis_server_silent(s);
    }
    finish(op, VV_ETIMEOUT);
}

static enum vv_err queue(struct vv_redis_op *op, struct vv_list *list, uint8_t state)
{
    struct vv_redis *r = op->redis;
    if (r->waiting_count >= VV_REDIS_WAITING_MAX) {
        return VV_ELIMIT;
    }
    r->waiting_count++;
    op->state = state;
    vv_list_push_back(list, &op->node);
    vv_timer_init(&op->timer, on_deadline);
    vv_loop_timer_at(r->loop, &op->timer, op->until_ns);
    return VV_OK;
}

/* -------------------------------------------------------------------------- answers */

/* Errors that say: this server is of no use now. Others of blame SERVER (memory is full, the disk is) refuse
 * writes only, and what it holds may still be read. */
static bool says_unfit(enum vv_resp_error e, unsigned flags)
{
    switch (e) {
    case VV_RESP_E_LOADING:
    case VV_RESP_E_MASTERDOWN:
    case VV_RESP_E_CLUSTERDOWN:
    case VV_RESP_E_BUSY:
        return true;
    case VV_RESP_E_READONLY:
        return (flags & VV_REDIS_READ) == 0;
    default:
        return false;
    }
}

/* An error in answer: true when it is not for the caller. */
static bool surprised(struct vv_redis_op *op, struct vv_str text)
{
    struct vv_redis *r = op->redis;
    const enum vv_resp_error e = vv_resp_error_of(text);
    const enum vv_resp_blame blame = vv_resp_error_blame(e);
    struct vv_redis_server *to = NULL;
    bool asking = false;
    op->bad = says_unfit(e, op->flags);
    op->next = VV_REDIS_SHOW;
    if (!op->bound && r->topology->surprised != NULL &&
        (blame == VV_RESP_BLAME_SERVER || blame == VV_RESP_BLAME_ELSEWHERE)) {
        op->next = (uint8_t)r->topology->surprised(r, op, op->at, text, &to, &asking);
        op->to = to;
        op->asking = asking;
    }
    return op->next != VV_REDIS_SHOW;
}

/* Of the answer to EXEC the part that answers the caller's command; the error that made EXEC give up in
 * place of EXEC's own. False: nothing for the caller. */
static bool unwrap(struct vv_redis_op *op, const struct vv_resp_item *it, struct vv_resp_item *ret)
{
    struct vv_redis_server *s = op->at;
    *ret = *it;
    if (it->depth == 0) {
        if (it->type != VV_RESP_ERROR) {
            return false;
        }
        ret->text = s->refused[0] != '\0' ? vv_str_from(s->refused) : it->text;
        return true;
    }
    op->part = (uint8_t)(op->part + (it->depth == 1 && it->first));
    ret->depth--;
    ret->done = it->depth == 1 && it->last && it->count == 0;
    return op->part == 2;
}

static void on_item(struct vv_redis_call *call, const struct vv_resp_item *it)
{
    struct vv_redis_op *op = VV_CONTAINER(call, struct vv_redis_op, call);
    struct vv_resp_item inner;
    if (op->wrapped) {
        if (!unwrap(op, it, &inner)) {
            return;
        }
        it = &inner;
    }
    if (!op->shown && it->depth == 0 && !it->attribute && it->type == VV_RESP_ERROR &&
        surprised(op, it->text)) {
        return;
    }
    op->shown = true;
    if (op->item != NULL) {
        op->item(op, it);
    }
}

static void release(struct vv_redis_op *op)
{
    struct vv_redis_server *s = op->at;
    if (s != NULL && s->paused_by == op) {
        s->paused_by = NULL;
        s->paused_ns = 0;
        s->lost_told = false;
        vv_redis_conn_resume(s->conn);
    }
}

/* To where the topology said. */
static void go_elsewhere(struct vv_redis_op *op)
{
    struct vv_redis *r = op->redis;
    const uint8_t next = op->next;
    enum vv_err err = VV_EREFUSED;
    op->next = VV_REDIS_SHOW;
    op->bad = false;
    r->stats.redirects++;
    if (r->freeing) {
        err = VV_ECLOSED;
    } else if (next == VV_REDIS_REFUSE ||
               (next != VV_REDIS_WAIT && op->hops++ >= VV_REDIS_HOPS_MAX)) {
        err = VV_EREFUSED;
    } else if (next == VV_REDIS_AT) {
        err = give(op, op->to);
    } else if (next == VV_REDIS_AGAIN) {
        err = place(op);
    } else {
        err = queue(op, &r->waiting, OP_LOST);
    }
    if (err != VV_OK) {
        finish(op, err);
    }
}

static void on_end(struct vv_redis_call *call, enum vv_err err)
{
    struct vv_redis_op *op = VV_CONTAINER(call, struct vv_redis_op, call);
    struct vv_redis_server *s = op->at;
    const bool broke = err != VV_OK && err != VV_ETIMEOUT;
    release(op);
    vv_list_del(&op->node);
    /* Renewed meanwhile: what was read before is not watched under the new one. */
    op->share = op->tracked && err == VV_OK && op->share == s->share ? s->share : 0;
    if (op->wrapped && err == VV_OK && op->part == 3) { /* its own invalidation comes next */
        s->echo = true;
        s->echo_hash = vv_str_hash(op->key, 0);
        s->echo_place = s->conn->head;
    }
    if (err == VV_ETIMEOUT) {
        report(op, VV_BREAKER_FAILED);
        vv_redis_server_silent(s);
    } else if (
        broke) { /* one failure of the server, not one for each operation; a probe has failed */
        report(op, op->permit.probe != 0 ? VV_BREAKER_FAILED : VV_BREAKER_UNKNOWN);
    } else {
        /* What the topology takes care of is its business (a whole cluster that is down); the breaker
         * hears what callers hear. */
        const bool shown = op->next == VV_REDIS_SHOW;
        report(op, !op->bad ? VV_BREAKER_OK : shown ? VV_BREAKER_FAILED : VV_BREAKER_UNKNOWN);
    }
    if (op->next != VV_REDIS_SHOW) {
        return go_elsewhere(op);
    }
    if (broke && (op->flags & VV_REDIS_READ) != 0 && op->tries == 0 && !op->shown && !op->bound &&
        !op->redis->freeing && queue(op, &s->waiting, OP_QUEUED) == VV_OK) {
        op->tries = 1; /* placed anew when the server has seen what happened */
        return;
    }
    finish(op, broke ? VV_ECLOSED : err);
}

/* -------------------------------------------------------------------------- sending */

/* A write whose key is watched from then on. A server forgets that a key is watched when it is written,
 * by whomever, so the key must be read again, and nobody may write between: a transaction. It reads the key
 * before, too: so its own write is told to us in any case, exactly once, as the very next thing behind
 * the answer (servers tell the client that runs a command when it has been answered), and can be told from
 * what others write. NOLOOP would be simpler, and is not safe: it also keeps silent about keys that are
 * evicted, or dropped from a table of watched keys that is full, on behalf of our own commands. */
static enum vv_err send_watched(struct vv_redis_op *op, struct vv_redis_server *s)
{
    static const struct vv_str exec[] = {{"EXEC", 4}};
    const struct vv_str exists[] = {{"EXISTS", 6}, op->key};
    enum vv_err err =
        vv_redis_conn_call_ready_made(s->conn, &s->multi, VV_STR("*1\r\n$5\r\nMULTI\r\n"));
    if (err != VV_OK) {
        return err;
    }
    s->conn->together = true;
    err = vv_redis_conn_call_shared(s->conn, &s->queued, exists, 2);
    if (err == VV_OK) {
        err = vv_redis_conn_call_shared(s->conn, &s->queued, op->args, op->args_count);
    }
    if (err == VV_OK) {
        err = vv_redis_conn_call_shared(s->conn, &s->queued, exists, 2);
    }
    if (err == VV_OK) {
        err = vv_redis_conn_call(s->conn, &op->call, exec, 1);
    }
    s->conn->together = false;
    if (err != VV_OK) {
        vv_redis_out_break(s->conn); /* out of memory: half a transaction must not stay open */
    }
    return err;
}

/* Room for all commands of one operation, so that none is left half said. */
static bool has_room(const struct vv_redis_server *s)
{
    return vv_redis_conn_calls(s->conn) + COMMANDS_MAX <= s->conn->conf.calls_max;
}

static enum vv_err send_op(struct vv_redis_op *op, struct vv_redis_server *s)
{
    static const struct vv_str asking[] = {{"ASKING", 6}};
    const uint64_t now_ns = vv_loop_now(op->redis->loop);
    enum vv_err err = VV_OK;
    if (op->until_ns <= now_ns) {
        return VV_ETIMEOUT;
    }
    if (!has_room(s)) {
        return VV_ELIMIT;
    }
    op->shown = op->bad = op->tracked = op->wrapped = false;
    op->part = 0;
    op->share = s->share;
    op->next = VV_REDIS_SHOW;
    op->call =
        (struct vv_redis_call){.item = on_item, .end = on_end, .timeout_ns = op->until_ns - now_ns};
    if (op->asking) { /* one of the two only: each holds for the very next command */
        err = vv_redis_conn_call_shared(s->conn, &s->asking, asking, VV_COUNT(asking));
        op->asking = false;
    } else if ((op->flags & VV_REDIS_TRACK) != 0 && s->tracking) {
        err = vv_redis_conn_call_ready_made(
            s->conn, &s->caching, VV_STR("*3\r\n$6\r\nCLIENT\r\n$7\r\nCACHING\r\n$3\r\nYES\r\n"));
        op->tracked = true;
        op->wrapped = (op->flags & VV_REDIS_READ) == 0 && op->key.p != NULL;
    }
    if (err == VV_OK) {
        err = op->wrapped ? send_watched(op, s)
                          : vv_redis_conn_call(s->conn, &op->call, op->args, op->args_count);
    }
    if (err == VV_OK) {
        op->state = OP_SENT;
        vv_list_push_back(&s->sent, &op->node);
    }
    return err;
}

/* To this server: at once, or when its connection stands. */
static enum vv_err give(struct vv_redis_op *op, struct vv_redis_server *s)
{
    uint64_t wait_ns = 0;
    if (s->hopeless || s->gone ||
        !vv_breaker_admit(s->breaker, vv_loop_now(op->redis->loop), &op->permit, &wait_ns)) {
        return VV_EREFUSED;
    }
    enum vv_err err = VV_EAGAIN;
    op->at = s;
    if (s->state == VV_REDIS_SERVER_READY) {
        err = send_op(op, s); /* VV_EAGAIN: it broke, and the server is about to hear of it */
    }
    if (err == VV_EAGAIN) {
        vv_redis_server_open(s);
        err = queue(op, &s->waiting, OP_QUEUED);
    }
    if (err != VV_OK) {
        report(op, VV_BREAKER_UNKNOWN);
    }
    return err;
}

static enum vv_err place(struct vv_redis_op *op)
{
    struct vv_redis *r = op->redis;
    struct vv_redis_server *s = NULL;
    enum vv_err err = r->topology->pick(r, op, &s);
    if (err == VV_OK) {
        return give(op, s);
    }
    return err == VV_EAGAIN ? queue(op, &r->waiting, OP_LOST) : VV_EREFUSED;
}

static void begin(struct vv_redis *r, struct vv_redis_op *op)
{
    VV_ASSERT(op->end != NULL && op->args_count > 0);
    op->redis = r;
    op->began_ns = vv_loop_now(r->loop);
    op->until_ns = op->began_ns + (op->timeout_ns > 0 ? op->timeout_ns : r->conf.call_ns);
    op->share = 0;
    op->at = op->to = NULL;
    op->tries = op->hops = 0;
    op->state = OP_ENDED;
    op->asking = op->bound = op->shown = op->bad = op->tracked = false;
    op->next = VV_REDIS_SHOW;
    vv_list_init(&op->node);
    r->stats.ops++;
}

static enum vv_err begun(struct vv_redis_op *op, enum vv_err err)
{
    op->redis->stats.refused += err == VV_EREFUSED;
    op->redis->stats.errors += err != VV_OK && err != VV_EREFUSED;
    return err;
}

enum vv_err vv_redis_do(struct vv_redis *r, struct vv_redis_op *op)
{
    begin(r, op);
    return begun(op, r->freeing ? VV_EREFUSED : place(op));
}

enum vv_err vv_redis_do_at(struct vv_redis_server *s, struct vv_redis_op *op)
{
    begin(s->redis, op);
    op->bound = true;
    return begun(op, s->redis->freeing ? VV_EREFUSED : give(op, s));
}

/* The first of the list, which may become longer meanwhile. */
static struct vv_redis_op *take_first(struct vv_list *list)
{
    struct vv_redis_op *op = VV_LIST_ENTRY(list->next, struct vv_redis_op, node);
    unqueue(op);
    return op;
}

static void take_all(struct vv_list *from, struct vv_list *to)
{
    vv_list_init(to);
    while (!vv_list_empty(from)) {
        struct vv_list *node = from->next;
        vv_list_del(node);
        vv_list_push_back(to, node);
    }
}

void vv_redis_ops_flush(struct vv_redis_server *s)
{
    struct vv_redis *r = s->redis;
    struct vv_list ops;
    take_all(&s->waiting, &ops);
    while (!vv_list_empty(&ops)) {
        struct vv_redis_op *op = take_first(&ops);
        enum vv_err err = VV_ECLOSED;
        if (s->state == VV_REDIS_SERVER_READY && op->at == s && !r->freeing) {
            err = send_op(op, s);
        } else {
            report(op, VV_BREAKER_UNKNOWN);
            if (!r->freeing && !op->bound) {
                err = place(op);
            } else if (!r->freeing) {
                err = VV_EREFUSED;
            }
        }
        if (err != VV_OK) {
            report(op, VV_BREAKER_UNKNOWN);
            finish(op, op->tries > 0 && err == VV_EREFUSED ? VV_ECLOSED : err);
        }
    }
}

void vv_redis_go_on(struct vv_redis *r)
{
    struct vv_list ops;
    take_all(&r->waiting, &ops);
    while (!vv_list_empty(&ops)) {
        struct vv_redis_op *op = take_first(&ops);
        const enum vv_err err = r->freeing ? VV_ECLOSED : place(op);
        if (err != VV_OK) {
            finish(op, err);
        }
    }
}

/* ------------------------------------------------------------------------ the caller */

void vv_redis_abandon(struct vv_redis_op *op)
{
    if (op->state == OP_ENDED) {
        return;
    }
    if (op->state == OP_SENT) {
        vv_redis_call_abandon(&op->call);
        release(op);
    }
    unqueue(op);
    op->state = OP_ENDED;
    report(op, VV_BREAKER_UNKNOWN);
}

void vv_redis_pause(struct vv_redis_op *op)
{
    struct vv_redis_server *s = op->at;
    if (op->state == OP_SENT && s->paused_by == NULL) {
        s->paused_by = op;
        s->paused_ns = vv_loop_now(op->redis->loop);
        vv_redis_conn_pause(s->conn);
    }
}

void vv_redis_resume(struct vv_redis_op *op)
{
    if (op->state == OP_SENT) {
        release(op);
    }
}

/* Whom a read of this key would be sent to; NULL: nobody knows. */
static struct vv_redis_server *server_of(struct vv_redis *r, struct vv_str key)
{
    const struct vv_redis_op op = {.key = key, .flags = VV_REDIS_READ | VV_REDIS_TRACK};
    struct vv_redis_server *s = NULL;
    return !r->freeing && r->topology->pick(r, &op, &s) == VV_OK ? s : NULL;
}

uint64_t vv_redis_share(struct vv_redis *r, struct vv_str key)
{
    const struct vv_redis_server *s = server_of(r, key);
    return s != NULL ? s->share : 0;
}

bool vv_redis_up(struct vv_redis *r, struct vv_str key, uint64_t now_ns)
{
    const struct vv_redis_op op = {.key = key, .flags = VV_REDIS_READ};
    struct vv_redis_server *s = NULL;
    if (r->freeing) {
        return false;
    }
    const enum vv_err err = r->topology->pick(r, &op, &s);
    return err == VV_EAGAIN || (err == VV_OK && vv_redis_server_up(s, now_ns));
}

/* ------------------------------------------------------------------------- looking */

void vv_redis_stats(const struct vv_redis *r, struct vv_redis_stats *ret)
{
    const uint64_t now_ns = vv_loop_now(r->loop);
    *ret = r->stats;
    VV_LIST_EACH (it, &r->servers) {
        const struct vv_redis_server *s = VV_LIST_ENTRY(it, struct vv_redis_server, node);
        struct vv_breaker_view view;
        if (s->conn != NULL) {
            ret->bytes_in += vv_redis_conn_stats(s->conn)->bytes_in;
            ret->bytes_out += vv_redis_conn_stats(s->conn)->bytes_out;
        }
        if (!s->gone) {
            vv_breaker_look(s->breaker, now_ns, &view);
            ret->servers++;
            ret->connected += s->state == VV_REDIS_SERVER_READY;
            ret->open_breakers += view.state == VV_BREAKER_OPEN;
        }
    }
}

static void server_json(const struct vv_redis_server *s, uint64_t now_ns, struct vv_json *j)
{
    static const char *const roles[] = {"unknown", "master", "replica", "sentinel"};
    static const char *const states[] = {"idle", "opening", "ready", "pausing"};
    const enum vv_redis_role role = s->role != VV_REDIS_ROLE_UNKNOWN ? s->role : s->said_role;
    struct vv_breaker_view view;
    vv_breaker_look(s->breaker, now_ns, &view);
    vv_json_obj(j);
    vv_json_kcstr(j, "host", s->host);
    if (s->port != 0) {
        vv_json_ku64(j, "port", s->port);
    }
    vv_json_kcstr(j, "role", roles[role]);
    vv_json_kcstr(j, "state", states[s->state]);
    if (s->failure != VV_OK) {
        vv_json_kcstr(j, "error", vv_err_text(s->failure));
    }
    if (s->conn != NULL && vv_redis_conn_refusal(s->conn)[0] != '\0') {
        vv_json_kcstr(j, "refusal", vv_redis_conn_refusal(s->conn));
    }
    vv_json_kcstr(j, "breaker", vv_breaker_state_name(view.state));
    vv_json_kbool(j, "tracking", s->share != 0);
    vv_json_ku64(j, "calls", s->conn != NULL ? vv_redis_conn_calls(s->conn) : 0);
    vv_json_obj_end(j);
}

void vv_redis_json(struct vv_redis *r, struct vv_json *j)
{
    vv_json_arr(j);
    VV_LIST_EACH (it, &r->servers) {
        const struct vv_redis_server *s = VV_LIST_ENTRY(it, struct vv_redis_server, node);
        if (!s->gone) {
            server_json(s, vv_loop_now(r->loop), j);
        }
    }
    vv_json_arr_end(j);
}
