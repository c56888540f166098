/* src/load/users.c - virtual users at work: each asks its program what comes next, and sends, waits or
 * thinks. A user's timer is never stopped, only moved: the wheel is lazy, so a request costs no work
 * in it. Users and connections are used again through free lists; after warming up nothing is
 * allocated. */
#include "load/engine_int.h"

#include "os/clock.h"
#include <stdlib.h>

#define TIMEOUT_NS (10 * VV_SEC) /* when the plan says nothing */
#define RESOLVE_NS (5 * VV_SEC)  /* for a name */
#define REST_NS VV_MS            /* a closed user that failed or did nothing begins again after */
#define WHEEL_SLOP_NS (2500 * VV_US) /* a think that ends this late is the wheel's rounding */
#define DEST_ADDRESSES 8

#define STATES(X)                                                                                  \
    X(FREE, "in the free list")                                                                    \
    X(WAITING, "wants a connection of the pool, or an address")                                    \
    X(ASKING, "a request is in flight")                                                            \
    X(THINKING, "the program said wait")                                                           \
    X(RESTING, "a closed user between two iterations")
#define AS_ENUM(name, doc) ST_##name,
enum state { STATES(AS_ENUM) };

struct vv_load_dest { /* a host and port that users talk to, plain or over TLS */
    struct vv_load_dest *next;
    struct vv_load_gen *gen;
    struct vv_dns_query query;
    struct vv_addr addr[DEST_ADDRESSES];
    size_t addr_count, prefer; /* prefer: the address that worked last */
    bool resolving, tls;
    uint64_t open;          /* connections of the pool */
    struct vv_list idle;    /* vv_load_conn.node, newest first */
    struct vv_list waiting; /* vv_load_user_slot.node, oldest first */
    uint16_t port;
    size_t host_bytes;
    char host[];
};

struct vv_load_user_slot {
    struct vv_list node;            /* in dest->waiting */
    struct vv_load_user_slot *all;  /* next of all slots */
    struct vv_load_user_slot *free; /* next of the free ones */
    struct vv_load_gen *gen;
    struct vv_load_user *user;
    struct vv_load_conn *conn; /* own, or borrowed from the pool while asking */
    struct vv_load_dest *dest;
    struct vv_timer timer;
    struct vv_load_request request;
    size_t phase;
    uint64_t index;
    uint64_t begun_ns; /* meant start of this iteration */
    uint64_t due_ns;   /* meant start of the next request */
    uint64_t deadline_ns;
    unsigned addr_tries;
    uint8_t state;
    bool closed, retried, asked, fresh;
};

static void advance(struct vv_load_user_slot *u);
static void serve_waiting(struct vv_load_dest *d);

static const struct vv_load_phase *phase_of(const struct vv_load_user_slot *u)
{
    return &u->gen->shared->view.phase[u->phase];
}

/* How much of a number that all parts share is ours. */
static uint64_t share(const struct vv_load_gen *g, uint64_t whole)
{
    const unsigned parts = g->shared->parts;
    return whole / parts + (g->part < whole % parts);
}

static bool pooled(const struct vv_load_gen *g)
{
    return g->shared->view.pool > 0;
}

static uint64_t pool_max(const struct vv_load_gen *g)
{
    const uint64_t pool = g->shared->view.pool;
    return pool == UINT64_MAX ? UINT64_MAX : vv_max_u64(1, share(g, pool));
}

/* ---- connections ---- */

static void on_done(struct vv_load_conn *conn, const struct vv_load_answer *answer);
static void on_gone(struct vv_load_conn *conn);

static struct vv_load_conn *conn_take(struct vv_load_gen *g)
{
    struct vv_load_conn *conn = NULL;
    if (!vv_list_empty(&g->free_conns)) {
        conn = VV_LIST_ENTRY(g->free_conns.next, struct vv_load_conn, node);
        vv_list_del(&conn->node);
    } else {
        conn = malloc(sizeof(*conn));
        if (conn != NULL) {
            vv_load_conn_init(conn, &g->client, on_done, on_gone);
        }
    }
    return conn;
}

/* Closes and puts into the free list. */
static void conn_drop(struct vv_load_gen *g, struct vv_load_dest *d, struct vv_load_conn *conn)
{
    VV_ASSERT(d != NULL); /* a connection goes somewhere */
    vv_load_conn_close(conn);
    vv_list_del(&conn->node);
    conn->owner = NULL;
    vv_list_push_front(&g->free_conns, &conn->node);
    g->open--;
    d->open--;
}

/* The user's request is over or given up: what becomes of its connection? */
static void conn_leave(struct vv_load_user_slot *u, bool keep)
{
    struct vv_load_conn *conn = u->conn;
    if (conn == NULL || (keep && !pooled(u->gen) && vv_load_conn_is_open(conn))) {
        return;
    }
    u->conn = NULL;
    if (!keep || !vv_load_conn_is_open(conn)) {
        conn_drop(u->gen, u->dest, conn);
    } else {
        conn->owner = u->dest;
        vv_list_push_front(&u->dest->idle, &conn->node);
    }
}

enum vv_err vv_load_users_trust(struct vv_load_gen *g)
{
    const struct vv_load_view *v = &g->shared->view;
    const struct vv_load_trust trust = {.ca_file = v->tls_ca, .insecure = v->tls_insecure};
    return vv_load_client_trust(&g->client, &trust);
}

static const char *open_tls(struct vv_load_gen *g, struct vv_load_conn *conn,
                            const struct vv_load_dest *d, const struct vv_addr *to)
{
    const enum vv_err err = vv_load_users_trust(g); /* only after a redirect it is not done yet */
    return err == VV_OK ? vv_load_conn_open_tls(conn, to, d->host, d->port)
                        : (err == VV_ENOMEM ? "ENOMEM" : "tls");
}

static const char *conn_new(struct vv_load_user_slot *u)
{
    struct vv_load_gen *g = u->gen;
    if (g->open >= g->shared->connections_max) {
        return "EMFILE";
    }
    struct vv_load_conn *conn = conn_take(g);
    if (conn == NULL) {
        return "ENOMEM";
    }
    struct vv_load_dest *d = u->dest;
    const struct vv_addr *to = &d->addr[(d->prefer + u->addr_tries) % d->addr_count];
    const char *error = d->tls ? open_tls(g, conn, d, to) : vv_load_conn_open(conn, to);
    if (error != NULL) {
        vv_list_push_front(&g->free_conns, &conn->node);
        return error;
    }
    conn->owner = u;
    u->conn = conn;
    g->open++;
    d->open++;
    return NULL;
}

/* An idle connection of the pool ended, or that of a user who thinks. */
static void on_gone(struct vv_load_conn *conn)
{
    struct vv_load_gen *g = VV_CONTAINER(conn->client, struct vv_load_gen, client);
    if (pooled(g)) {
        struct vv_load_dest *d = conn->owner;
        conn_drop(g, d, conn);
        serve_waiting(d);
    } else {
        struct vv_load_user_slot *u = conn->owner;
        u->conn = NULL;
        conn_drop(g, u->dest, conn);
    }
}

/* ---- destinations ---- */

static void on_resolved(struct vv_dns_query *q, const struct vv_dns_answer *answer)
{
    struct vv_load_dest *d = VV_CONTAINER(q, struct vv_load_dest, query);
    d->resolving = false;
    for (size_t i = 0; answer->err == VV_OK && i < answer->count && i < DEST_ADDRESSES; i++) {
        d->addr[i] = answer->addr[i];
        d->addr_count = i + 1;
    }
    serve_waiting(d); /* all of them: with addresses, or to learn that there is none */
}

static struct vv_load_dest *dest_for(struct vv_load_gen *g, struct vv_str host, uint16_t port,
                                     bool tls)
{
    struct vv_load_dest *d = g->dests;
    while (d != NULL && (d->port != port || d->tls != tls || d->host_bytes != host.n ||
                         memcmp(d->host, host.p, host.n) != 0)) {
        d = d->next;
    }
    if (d == NULL) {
        d = calloc(1, sizeof(*d) + host.n + 1);
        if (d == NULL) {
            return NULL;
        }
        memcpy(d->host, host.p, host.n);
        d->host_bytes = host.n;
        d->port = port;
        d->tls = tls;
        d->gen = g;
        d->query = (struct vv_dns_query){.fn = on_resolved, .port = port};
        vv_list_init(&d->idle);
        vv_list_init(&d->waiting);
        d->next = g->dests;
        g->dests = d;
    }
    if (d->addr_count == 0 && !d->resolving) {
        if (vv_addr_from_ip(host, port, &d->addr[0])) {
            d->addr_count = 1;
        } else {
            d->resolving = true;
            vv_dns_lookup(g->dns, &d->query, d->host, RESOLVE_NS);
        }
    }
    return d;
}

void vv_load_users_resolve(struct vv_load_gen *g)
{
    struct vv_str rest = vv_str_from(g->shared->view.target);
    const bool tls = vv_str_starts(rest, VV_STR("https://"));
    if (!tls && !vv_str_starts(rest, VV_STR("http://"))) {
        return;
    }
    rest.p += tls ? 8 : 7;
    rest.n -= tls ? 8 : 7;
    struct vv_str host = vv_str_cut(&rest, '/'), port_text = host;
    uint64_t port = tls ? 443 : 80;
    if (host.n > 0 && host.p[0] == '[') { /* [::1]:80 */
        port_text.p++;
        port_text.n--;
        host = vv_str_cut(&port_text, ']');
        (void)vv_str_cut(&port_text, ':');
    } else {
        host = vv_str_cut(&port_text, ':');
    }
    if (port_text.n > 0 && vv_str_to_u64(port_text, &port) != VV_OK) {
        return;
    }
    const struct vv_load_dest *d = dest_for(g, host, (uint16_t)port, tls);
    const uint64_t until_ns = vv_loop_now(g->loop) + RESOLVE_NS;
    while (d != NULL && d->resolving && vv_loop_now(g->loop) < until_ns) {
        vv_loop_turn(g->loop, 50 * VV_MS);
    }
}

/* ---- requests ---- */

static void count_failed(struct vv_load_user_slot *u, const char *why)
{
    struct vv_load_result *r = u->gen->batch->r;
    r->failed++;
    r->endpoint[u->request.endpoint].failed++;
    vv_load_result_error(r, why, 1);
}

static void request_failed(struct vv_load_user_slot *u, const char *why)
{
    conn_leave(u, false);
    count_failed(u, why);
    vv_load_endpoint_error(&u->gen->batch->r->endpoint[u->request.endpoint], why, 1);
    vv_load_user_failed(u->user, why);
    u->due_ns = vv_loop_now(u->gen->loop);
}

/* Sends over u->conn. NULL, or the error; the connection is closed then. */
static const char *ask(struct vv_load_user_slot *u)
{
    const struct vv_load_ask what = {.bytes = u->request.bytes,
                                     .method = u->request.method,
                                     .wants_body = u->request.wants_body};
    u->conn->owner = u;
    const char *error = vv_load_conn_send(u->conn, &what);
    if (error == NULL) {
        u->state = ST_ASKING;
        u->gen->last_sent_ns = u->conn->sent_ns;
    }
    return error;
}

/* Finds a connection and sends. NULL: sent, or waiting. */
static const char *send_or_wait(struct vv_load_user_slot *u)
{
    struct vv_load_dest *d = u->dest;
    struct vv_load_gen *g = u->gen;
    const char *error = NULL;
    if (d->addr_count == 0) {
        if (!d->resolving) {
            return "ENOTFOUND";
        }
        u->state = ST_WAITING;
        vv_list_push_back(&d->waiting, &u->node);
        return NULL;
    }
    if (u->conn == NULL && pooled(g)) {
        if (!vv_list_empty(&d->idle)) {
            u->conn = VV_LIST_ENTRY(d->idle.next, struct vv_load_conn, node);
            vv_list_del(&u->conn->node);
        } else if (d->open >= pool_max(g)) {
            u->state = ST_WAITING;
            vv_list_push_back(&d->waiting, &u->node);
            return NULL;
        }
    }
    if (u->conn != NULL) {
        error = ask(u); /* one that lives: if it just died, a new one is due */
        if (error == NULL) {
            return NULL;
        }
        conn_leave(u, false);
    }
    do {
        error = conn_new(u);
        if (error == NULL) {
            error = ask(u);
        }
        if (error == NULL) {
            return NULL;
        }
        conn_leave(u, false);
    } while (++u->addr_tries < d->addr_count);
    return error;
}

/* Begins u->request. False: it failed already, and the program knows. */
static bool begin(struct vv_load_user_slot *u)
{
    struct vv_load_gen *g = u->gen;
    struct vv_load_result *r = g->batch->r;
    const struct vv_load_request *q = &u->request;
    struct vv_load_dest *d = u->dest;
    u->asked = true;
    u->retried = false;
    u->addr_tries = 0;
    r->requests++;
    r->endpoint[q->endpoint].requests++;
    if (d == NULL || d->port != q->port || d->tls != q->tls || d->host_bytes != q->host.n ||
        memcmp(d->host, q->host.p, q->host.n) != 0) {
        conn_leave(u, false); /* a user has one connection: it goes where the user goes */
        d = u->dest = dest_for(g, q->host, q->port, q->tls);
    }
    const uint64_t now_ns = vv_loop_now(g->loop);
    const uint64_t plan_ns = g->shared->view.timeout_ns;
    const uint64_t timeout_ns = q->timeout_ns > 0 ? q->timeout_ns
                                : plan_ns > 0     ? plan_ns
                                                  : TIMEOUT_NS;
    u->deadline_ns = now_ns + timeout_ns;
    const char *error = d == NULL ? "ENOMEM" : send_or_wait(u);
    if (error != NULL) {
        request_failed(u, error);
        return false;
    }
    vv_loop_timer_at(g->loop, &u->timer, u->deadline_ns);
    return true;
}

static void serve_waiting(struct vv_load_dest *d)
{
    struct vv_load_gen *g = d->gen;
    while (!vv_list_empty(&d->waiting)) {
        if (d->resolving ||
            (d->addr_count > 0 && pooled(g) && vv_list_empty(&d->idle) && d->open >= pool_max(g))) {
            return;
        }
        struct vv_load_user_slot *u =
            VV_LIST_ENTRY(d->waiting.next, struct vv_load_user_slot, node);
        vv_list_del(&u->node);
        const char *error = send_or_wait(u);
        if (error != NULL) {
            request_failed(u, error);
            advance(u);
        }
    }
}

static void record(struct vv_load_user_slot *u, const struct vv_load_answer *a, uint64_t latency_ns)
{
    struct vv_load_batch *b = u->gen->batch;
    struct vv_load_result *r = b->r;
    struct vv_load_endpoint_result *e = &r->endpoint[u->request.endpoint];
    const int status = a->head->status;
    const uint64_t first_ns = a->first_byte_ns - a->sent_ns;
    r->answers++;
    e->answers++;
    if (status < (int)VV_COUNT(r->codes)) {
        r->codes[status]++;
        e->codes[status]++;
        vv_load_hist_add(r->by_class[status / 100], first_ns);
    }
    vv_load_hist_add(e->latency, latency_ns);
    vv_load_hist_add(e->service, a->end_ns - a->sent_ns);
    vv_load_hist_add(e->first_byte, first_ns);
    vv_load_hist_add(b->latency, latency_ns);
    if (a->tls_connect_ns > 0) {
        vv_load_hist_add(r->tls_connect, a->tls_connect_ns);
    }
}

/* Is it worth to send again? True: it was, and nothing else is to be done now. */
static bool again(struct vv_load_user_slot *u, const struct vv_load_answer *a, bool was_used)
{
    /* A kept-alive connection may end just when it is used: safe to repeat once, like any client. */
    if (was_used && !u->retried && a->first_byte_ns == 0 &&
        vv_methods[u->request.method].idempotent && strcmp(a->error, "EPROTO") != 0) {
        u->retried = true;
    } else if (!was_used && strcmp(a->error, "ECONNREFUSED") == 0 &&
               ++u->addr_tries < u->dest->addr_count) {
        /* the next address of the name */
    } else {
        return false;
    }
    conn_leave(u, false);
    const char *error = conn_new(u);
    if (error == NULL) {
        error = ask(u);
    }
    if (error != NULL) {
        request_failed(u, error);
        advance(u);
    }
    return true;
}

static void on_done(struct vv_load_conn *conn, const struct vv_load_answer *a)
{
    struct vv_load_user_slot *u = conn->owner;
    struct vv_load_dest *d = u->dest;
    if (a->error != NULL) {
        if (!again(u, a, conn->used)) {
            request_failed(u, a->error);
            serve_waiting(d);
            advance(u);
        }
        return;
    }
    d->prefer = (d->prefer + u->addr_tries) % d->addr_count;
    const uint64_t from_ns = u->closed ? a->sent_ns : vv_min_u64(u->due_ns, a->sent_ns);
    const uint64_t latency_ns = a->end_ns - from_ns;
    record(u, a, latency_ns);
    const char *missed =
        vv_load_user_answer(u->user, a->head, a->body, latency_ns, u->gen->batch->r->expect);
    if (missed != NULL) {
        count_failed(u, missed);
    }
    u->due_ns = a->end_ns;
    conn_leave(u, true);
    if (!vv_list_empty(&d->waiting)) {
        serve_waiting(d);
    }
    advance(u);
}

/* ---- the life of a user ---- */

static bool closed_over(const struct vv_load_user_slot *u)
{
    const struct vv_load_gen *g = u->gen;
    const uint64_t now_ns = vv_loop_now(g->loop), at_ns = g->t0_ns + g->phase_at_ns[u->phase];
    return g->stopping ||
           (now_ns > at_ns && u->index >= vv_load_schedule_users(phase_of(u), now_ns - at_ns));
}

static void leave(struct vv_load_user_slot *u)
{
    struct vv_load_gen *g = u->gen;
    conn_leave(u, pooled(g));
    vv_list_del(&u->node);
    u->state = ST_FREE;
    u->free = g->free_users;
    g->free_users = u;
    g->alive--;
    g->phase_alive[u->phase]--;
}

static void rest(struct vv_load_user_slot *u)
{
    u->state = ST_RESTING;
    vv_loop_timer_at(u->gen->loop, &u->timer, vv_loop_now(u->gen->loop) + REST_NS);
}

/* A closed user begins anew. False: it cannot. */
static void iterate(struct vv_load_user_slot *u)
{
    struct vv_load_gen *g = u->gen;
    struct vv_load_result *r = g->batch->r;
    u->begun_ns = u->due_ns = vv_loop_now(g->loop);
    if (u->fresh) {
        u->fresh = false; /* a new user has chosen its scenario already */
    } else {
        vv_load_user_reset(u->user, &g->rng);
    }
    u->asked = false;
    r->users_created++;
    r->users_by_scenario[vv_load_user_scenario(u->user)]++;
    g->batch->begun += u->closed;
}

/* The iteration is over. True: the user goes on with another right now. */
static bool iteration_over(struct vv_load_user_slot *u, bool completed)
{
    struct vv_load_gen *g = u->gen;
    struct vv_load_result *r = g->batch->r;
    r->users_completed += completed;
    r->users_failed += !completed;
    if (completed) {
        const uint64_t now_ns = vv_loop_now(g->loop);
        const uint64_t end_ns = vv_max_u64(now_ns, u->begun_ns);
        vv_load_hist_add(r->session, end_ns - u->begun_ns);
    }
    if (!u->closed || closed_over(u)) {
        leave(u);
        return false;
    }
    if (!completed || !u->asked) {
        rest(u); /* nobody is helped by a loop that only fails as fast as it can */
        return false;
    }
    iterate(u);
    return true;
}

static void think(struct vv_load_user_slot *u, uint64_t think_ns)
{
    struct vv_load_gen *g = u->gen;
    const uint64_t end_ns = g->t0_ns + g->phase_at_ns[u->phase] + phase_of(u)->duration_ns;
    uint64_t wake_ns = vv_max_u64(u->due_ns, vv_loop_now(g->loop)) + think_ns;
    u->due_ns = wake_ns;
    if (u->closed) {
        wake_ns = vv_min_u64(wake_ns, vv_max_u64(end_ns, vv_loop_now(g->loop)));
    }
    u->state = ST_THINKING;
    if (u->conn != NULL) {
        vv_load_conn_rest(u->conn);
    }
    vv_loop_timer_at(g->loop, &u->timer, wake_ns);
}

static void advance(struct vv_load_user_slot *u)
{
    for (;;) {
        uint64_t think_ns = 0;
        if (u->closed && u->asked && closed_over(u)) {
            iteration_over(u, true); /* cut short by the plan, not by the server */
            return;
        }
        switch (vv_load_user_next(u->user, &u->request, &think_ns)) {
        case VV_LOAD_REQUEST:
            if (begin(u)) {
                return;
            }
            break;
        case VV_LOAD_THINK:
            think(u, think_ns);
            return;
        case VV_LOAD_DONE:
            if (!iteration_over(u, true)) {
                return;
            }
            break;
        case VV_LOAD_FAILED:
            if (!iteration_over(u, false)) {
                return;
            }
            break;
        }
    }
}

static void on_timer(struct vv_loop *loop, struct vv_timer *t)
{
    struct vv_load_user_slot *u = VV_CONTAINER(t, struct vv_load_user_slot, timer);
    const uint64_t now_ns = vv_loop_now(loop);
    struct vv_load_dest *d = u->dest;
    switch ((enum state)u->state) {
    case ST_FREE:
        break;
    case ST_WAITING:
    case ST_ASKING:
        if (now_ns >= u->deadline_ns) {
            vv_list_del(&u->node);
            request_failed(u, "ETIMEDOUT");
            serve_waiting(d);
            advance(u);
        }
        break;
    case ST_THINKING:
        if (now_ns < u->due_ns + WHEEL_SLOP_NS) {
            u->due_ns = now_ns; /* the wheel's rounding is not the server's */
        }
        u->asked = u->asked || u->closed;
        advance(u);
        break;
    case ST_RESTING:
        if (closed_over(u)) {
            leave(u);
        } else {
            iterate(u);
            advance(u);
        }
        break;
    }
}

static struct vv_load_user_slot *slot_take(struct vv_load_gen *g)
{
    struct vv_load_user_slot *u = g->free_users;
    if (u != NULL) {
        g->free_users = u->free;
        return u;
    }
    u = calloc(1, sizeof(*u));
    if (u == NULL) {
        return NULL;
    }
    u->user = vv_load_user_new(g->shared->plan, &g->rng);
    if (u->user == NULL) {
        free(u);
        return NULL;
    }
    u->gen = g;
    u->fresh = true;
    vv_list_init(&u->node);
    vv_timer_init(&u->timer, on_timer);
    u->all = g->users;
    g->users = u;
    return u;
}

void vv_load_users_start(struct vv_load_gen *g, const struct vv_load_start *start, uint64_t now_ns)
{
    const struct vv_load_phase *p = &g->shared->view.phase[start->phase];
    struct vv_load_batch *b = g->batch;
    const uint64_t meant_ns = g->t0_ns + start->at_ns;
    const uint64_t late_ns = now_ns > meant_ns ? now_ns - meant_ns : 0;
    /* Just behind the turn of a second: still one of the second before. */
    const bool before = late_ns <= VV_LOAD_GRACE_NS && start->at_ns / VV_SEC < b->second;
    if (late_ns > VV_MS) {
        b->r->late++;
    }
    b->r->late_max_ns = vv_max_u64(b->r->late_max_ns, late_ns);
    const bool closed = vv_load_phase_closed(p);
    struct vv_load_user_slot *u = NULL;
    if (!closed && p->users_max > 0 && g->phase_alive[start->phase] >= share(g, p->users_max)) {
        b->r->users_skipped++;
        b->skipped[!before]++;
        return;
    }
    u = slot_take(g);
    if (u == NULL) {
        b->r->users_skipped++;
        b->skipped[!before]++;
        vv_load_result_error(b->r, "ENOMEM", 1);
        return;
    }
    u->closed = closed;
    u->phase = start->phase;
    u->index = start->index;
    g->alive++;
    g->phase_alive[u->phase]++;
    iterate(u);
    if (!closed) {
        b->started[!before]++;
        u->begun_ns = u->due_ns = meant_ns;
    }
    advance(u);
}

void vv_load_users_end(struct vv_load_gen *g, bool at_once)
{
    for (struct vv_load_user_slot *u = g->users; u != NULL; u = u->all) {
        const bool idle = u->state == ST_THINKING || u->state == ST_RESTING;
        if (u->state == ST_FREE || (!at_once && !(u->closed && idle))) {
            continue;
        }
        if (!at_once && u->state == ST_THINKING) {
            iteration_over(u, true);
        } else {
            conn_leave(u, false);
            leave(u);
        }
    }
}

void vv_load_users_free(struct vv_load_gen *g)
{
    while (g->users != NULL) {
        struct vv_load_user_slot *u = g->users;
        g->users = u->all;
        vv_loop_timer_stop(g->loop, &u->timer);
        conn_leave(u, false);
        vv_load_user_free(u->user);
        free(u);
    }
    while (g->dests != NULL) {
        struct vv_load_dest *d = g->dests;
        g->dests = d->next;
        vv_dns_cancel(&d->query);
        while (!vv_list_empty(&d->idle)) {
            conn_drop(g, d, VV_LIST_ENTRY(d->idle.next, struct vv_load_conn, node));
        }
        free(d);
    }
    VV_LIST_EACH (it, &g->free_conns) {
        free(VV_LIST_ENTRY(it, struct vv_load_conn, node));
    }
    vv_list_init(&g->free_conns);
}
