/* src/store/redis_cluster.c - Redis Cluster: the table of slots says who serves a key, what MOVED says
 * corrects it at once, and one question at a time to any node refreshes the whole.
 *
 * A refresh never stands in the way: operations go by the table that is there, and where it is wrong a
 * redirection costs one more way. So a refresh may be rare (30 s), is coalesced (one under way, 100 ms
 * between two) and may fail. Only before the first one do operations wait for it.
 *
 * Coherence: invalidations come from the node that answered. When a slot leaves a node, what was read
 * there is not watched any more, not even if the node lives on; keys that did not exist are never told. So
 * a refresh that finds slots gone from a node gives its connection another share. Answers that are kept ask
 * nobody and so meet no MOVED: with tracking the table is refreshed about every second, which is how
 * long such a key may be missed. */
#include "store/redis_int.h"

#include "wire/redis_slots.h"

#include <stdlib.h>

#define REFRESH_MIN_NS (100 * VV_MS)
#define REFRESH_SICK_NS (250 * VV_MS)    /* the longest pause while a master is missed; */
#define REFRESH_SICK_MAX_NS (2 * VV_SEC) /* when that lasts: an eighth of the time, up to here */
#define REFRESH_IDLE_NS                                                                            \
    (25 * VV_SEC)               /* and up to a fifth more, so that gateways do not ask together */
#define REFRESH_WATCH_NS VV_SEC /* with tracking, and a little for each node: see below */
#define REFRESH_WATCH_NODE_NS (20 * VV_MS)
#define REFRESH_BUSY_NS VV_SEC /* a server that is to go still owes answers */
#define AGAIN_NS (10 * VV_MS)
#define ANY_TRIES 16 /* slots that are looked at for an operation without a key */
#define REPLICA_TRIES 4

struct cluster {
    struct vv_redis *r;
    struct vv_redis_slots *table, *next;
    struct vv_redis_server *server_of[VV_REDIS_NODES_MAX]; /* of table's nodes; NULL: none wanted */
    bool known;                                            /* the table was filled once */
    bool hopeless;   /* nobody answered the last time: until somebody does nothing waits for it */
    bool slots_form; /* CLUSTER SHARDS is not known here (before 7.0) or not allowed */
    uint64_t turn;
    struct vv_timer again; /* operations wait for better times: CLUSTERDOWN, TRYAGAIN */
    bool again_set;
    uint64_t down_since_ns, down_last_ns; /* of a row of CLUSTERDOWN */
    /* The refresh. */
    struct vv_timer timer;
    uint64_t due_ns, begun_ns, pause_ns, sick_ns; /* sick_ns: since when; 0: it is not */
    bool asking, wanted; /* wanted: something was learned since the question left */
    struct vv_redis_op op;
    struct vv_str args[2];
    struct vv_redis_slots_fill fill;
    enum vv_err filled; /* VV_EAGAIN: not yet; VV_OK */
    struct vv_redis_server *asked;
    size_t step, first, round; /* of this refresh: tries, where it began, servers there were */
};

static const char left_slots; /* s->user is its address: slots have gone elsewhere from there */

static uint64_t now_of(const struct cluster *c)
{
    return vv_loop_now(c->r->loop);
}

static bool up(const struct cluster *c, const struct vv_redis_server *s)
{
    return s != NULL && vv_redis_server_up(s, now_of(c));
}

/* ------------------------------------------------------------------------------- when to refresh */

static void refresh_at(struct cluster *c, uint64_t at_ns)
{
    c->due_ns = at_ns;
    vv_loop_timer_at(c->r->loop, &c->timer, at_ns);
}

/* Soon, but not sooner than the pause since the last one allows. */
static void want(struct cluster *c)
{
    const uint64_t now_ns = now_of(c);
    const uint64_t soonest_ns = c->begun_ns + c->pause_ns;
    const uint64_t at_ns = soonest_ns > now_ns ? soonest_ns : now_ns;
    if (c->asking) {
        c->wanted = true;
    } else if (at_ns < c->due_ns) {
        refresh_at(c, at_ns);
    }
}

/* After a refresh: soon again while a master that serves slots is missed, else late. */
static void plan_next(struct cluster *c, bool sick, bool busy)
{
    const uint64_t now_ns = now_of(c);
    if (sick) {
        c->sick_ns = c->sick_ns != 0 ? c->sick_ns : now_ns;
        const uint64_t share_ns = vv_min_u64((now_ns - c->sick_ns) / 8, REFRESH_SICK_MAX_NS);
        c->pause_ns = vv_min_u64(c->pause_ns * 2, vv_max_u64(REFRESH_SICK_NS, share_ns));
        refresh_at(c, now_ns + c->pause_ns);
    } else {
        c->sick_ns = 0;
        c->pause_ns = REFRESH_MIN_NS;
        uint64_t idle_ns = REFRESH_IDLE_NS;
        if (c->r->conf.tracking) {
            idle_ns = REFRESH_WATCH_NS + c->table->nodes_count * REFRESH_WATCH_NODE_NS;
        } else if (busy) {
            idle_ns = REFRESH_BUSY_NS;
        }
        refresh_at(c, now_ns + idle_ns + vv_rng_below(&c->r->rng, idle_ns / 5));
    }
    if (c->wanted) {
        c->wanted = false;
        want(c);
    }
}

/* ---------------------------------------------------------------------------- taking a new table */

/* What the answer leaves empty is the host that gave it. */
static void fill_hosts(struct vv_redis_slots *t, const char *host)
{
    for (uint16_t i = 0; i < t->nodes_count; i++) {
        if (t->nodes[i].host[0] == '\0') {
            const size_t n = strlen(host);
            memcpy(t->nodes[i].host, host, n + 1);
        }
    }
}

static uint16_t find_node(const struct vv_redis_slots *t, const char *host, uint16_t port)
{
    for (uint16_t i = 0; i < t->nodes_count; i++) {
        if (t->nodes[i].port == port && strcmp(t->nodes[i].host, host) == 0) {
            return i;
        }
    }
    return VV_REDIS_NOBODY;
}

/* Between the failure of a master and the election of another nobody serves its slots. They stay where
 * they were: its replicas may answer reads meanwhile. */
static void keep_unserved(const struct vv_redis_slots *old, struct vv_redis_slots *t)
{
    for (uint16_t slot = 0; slot < VV_REDIS_SLOTS; slot++) {
        const uint16_t was = old->master_of[slot];
        if (t->master_of[slot] != VV_REDIS_NOBODY || was == VV_REDIS_NOBODY) {
            continue;
        }
        if (vv_redis_slots_move(t, slot, vv_str_from(old->nodes[was].host), old->nodes[was].port) !=
            VV_OK) {
            return; /* no place: they are not served then */
        }
        for (uint16_t i = 0; i < old->nodes_count; i++) {
            const uint16_t at = i != was && old->nodes[i].master == was
                                    ? find_node(t, old->nodes[i].host, old->nodes[i].port)
                                    : VV_REDIS_NOBODY;
            if (at != VV_REDIS_NOBODY && t->nodes[at].master == at) {
                t->nodes[at].master = t->master_of[slot];
            }
        }
    }
}

static bool wanted_node(const struct cluster *c, const struct vv_redis_slots *t, uint16_t i)
{
    return i != VV_REDIS_NOBODY && (t->nodes[i].master == i || c->r->conf.replicas);
}

static bool owes(const struct vv_redis_server *s)
{
    return !vv_list_empty(&s->waiting) || !vv_list_empty(&s->sent) ||
           (s->conn != NULL && vv_redis_conn_calls(s->conn) > 0);
}

/* Servers that are not in the table. One that owes answers may finish (a node that gave its slots away
 * in peace, the target of ASK that has no slot yet); a hung one does not stay, its connection will not.
 * True: some are left for the next time. */
static bool forget_strangers(struct cluster *c, const struct vv_redis_slots *t)
{
    bool busy = false;
    VV_LIST_EACH (it, &c->r->servers) {
        struct vv_redis_server *s = VV_LIST_ENTRY(it, struct vv_redis_server, node);
        if (s->gone || wanted_node(c, t, find_node(t, s->host, s->port))) {
            continue;
        }
        if (s->state == VV_REDIS_SERVER_READY && owes(s)) {
            busy = true;
        } else {
            vv_redis_server_forget(s);
        }
    }
    return busy;
}

/* The server of a node, with its role of today. */
static struct vv_redis_server *server_for(struct cluster *c, const struct vv_redis_slots *t,
                                          uint16_t i)
{
    const bool replica = t->nodes[i].master != i;
    const enum vv_redis_role role = replica ? VV_REDIS_ROLE_REPLICA : VV_REDIS_ROLE_MASTER;
    const struct vv_str host = vv_str_from(t->nodes[i].host);
    struct vv_redis_server *s = NULL;
    if (vv_redis_server_at(c->r, host, t->nodes[i].port, role, &s) != VV_OK) {
        return NULL;
    }
    if (!replica && s->role == VV_REDIS_ROLE_REPLICA && s->state == VV_REDIS_SERVER_PAUSING) {
        /* As a replica it was away; what its pause has grown to says nothing about today. */
        vv_redis_server_forget(s);
        if (vv_redis_server_at(c->r, host, t->nodes[i].port, role, &s) != VV_OK) {
            return NULL;
        }
    }
    s->role = role;
    if (replica && !s->readonly_mode) {
        s->readonly_mode = true;
        if (s->state != VV_REDIS_SERVER_IDLE) {
            vv_redis_server_reopen(s); /* it was a master and has not heard READONLY */
        }
    }
    return s;
}

/* Marks the servers from which slots have gone. */
static void mark_left(struct cluster *c, struct vv_redis_server *const *server_of)
{
    for (size_t slot = 0; slot < VV_REDIS_SLOTS; slot++) {
        const uint16_t was = c->table->master_of[slot], is = c->next->master_of[slot];
        struct vv_redis_server *from = was != VV_REDIS_NOBODY ? c->server_of[was] : NULL;
        if (from != NULL && (is == VV_REDIS_NOBODY || server_of[is] != from)) {
            from->user = (void *)(uintptr_t)&left_slots;
        }
    }
}

/* Replicas follow their master: what has left it has left them. `server_of` is of c->table, the old one. */
static void spread_left(struct cluster *c)
{
    for (uint16_t i = 0; i < c->table->nodes_count; i++) {
        const struct vv_redis_server *master = c->server_of[c->table->nodes[i].master];
        if (c->server_of[i] != NULL && master != NULL && master->user != NULL) {
            c->server_of[i]->user = master->user;
        }
    }
}

static void renew_shares(struct cluster *c)
{
    VV_LIST_EACH (it, &c->r->servers) {
        struct vv_redis_server *s = VV_LIST_ENTRY(it, struct vv_redis_server, node);
        if (!s->gone && s->user != NULL) {
            s->user = NULL;
            vv_redis_server_renew_share(s);
        }
    }
}

/* A master that serves slots and cannot be asked. */
static bool is_sick(const struct cluster *c)
{
    for (size_t slot = 0; slot < VV_REDIS_SLOTS; slot++) {
        const uint16_t m = c->table->master_of[slot];
        if (m == VV_REDIS_NOBODY) {
            return true;
        }
        if ((slot == 0 || m != c->table->master_of[slot - 1]) && !up(c, c->server_of[m])) {
            return true;
        }
    }
    return false;
}

static void adopt(struct cluster *c)
{
    struct vv_redis_server *server_of[VV_REDIS_NODES_MAX] = {NULL};
    struct vv_redis_slots *t = c->next;
    fill_hosts(t, c->asked->host);
    if (c->known) {
        keep_unserved(c->table, t);
    }
    for (uint16_t i = 0; i < t->nodes_count; i++) {
        server_of[i] = wanted_node(c, t, i) ? server_for(c, t, i) : NULL;
    }
    if (c->known) {
        mark_left(c, server_of);
        spread_left(c);
    }
    c->next = c->table;
    c->table = t;
    memcpy(c->server_of, server_of, sizeof(server_of));
    const bool busy = forget_strangers(c, t);
    renew_shares(c);
    c->known = true;
    c->hopeless = false;
    plan_next(c, is_sick(c), busy);
    vv_redis_go_on(c->r);
}

/* ------------------------------------------------------------------------------------- the refresh */

static void ask_next(struct cluster *c);

static void refresh_item(struct vv_redis_op *op, const struct vv_resp_item *it)
{
    struct cluster *c = VV_CONTAINER(op, struct cluster, op);
    if (c->filled == VV_EAGAIN) {
        c->filled = vv_redis_slots_item(&c->fill, it);
    }
}

static enum vv_err ask(struct cluster *c, struct vv_redis_server *s, enum vv_redis_slots_form form);

static void refresh_end(struct vv_redis_op *op, enum vv_err err)
{
    struct cluster *c = VV_CONTAINER(op, struct cluster, op);
    const bool shards = c->fill.form == VV_REDIS_FORM_SHARDS;
    c->asking = false;
    if (err == VV_OK && c->filled == VV_OK && vv_redis_slots_covered(c->next) > 0) {
        c->slots_form = !shards;
        adopt(c);
    } else if (err != VV_OK || c->filled != VV_EUNSUPPORTED || !shards ||
               ask(c, c->asked, VV_REDIS_FORM_SLOTS) != VV_OK) {
        ask_next(c);
    }
}

static enum vv_err ask(struct cluster *c, struct vv_redis_server *s, enum vv_redis_slots_form form)
{
    const bool shards = form == VV_REDIS_FORM_SHARDS;
    /* Where a connection is to be made first it gets some time; longer than that, and another try of the
     * next round will find it made. */
    const uint64_t call_ns = c->r->conf.call_ns;
    c->args[0] = VV_STR("CLUSTER");
    c->args[1] = shards ? VV_STR("SHARDS") : VV_STR("SLOTS");
    c->op = (struct vv_redis_op){
        .item = refresh_item,
        .end = refresh_end,
        .args = c->args,
        .args_count = 2,
        .timeout_ns = s->state == VV_REDIS_SERVER_READY || call_ns > REFRESH_MIN_NS
                          ? call_ns
                          : REFRESH_MIN_NS,
    };
    vv_redis_slots_begin(&c->fill, c->next, form, c->r->conf.url.tls);
    c->filled = VV_EAGAIN;
    c->asked = s;
    const enum vv_err err = vv_redis_do_at(s, &c->op);
    c->asking = err == VV_OK;
    return err;
}

/* The n-th server of the list, round and round. */
static struct vv_redis_server *nth(const struct cluster *c, size_t n)
{
    n %= c->round;
    VV_LIST_EACH (it, &c->r->servers) {
        if (n-- == 0) {
            return VV_LIST_ENTRY(it, struct vv_redis_server, node);
        }
    }
    return NULL;
}

/* Those that are connected, then those that may be, then those of the address. NULL: no more. */
static struct vv_redis_server *candidate(struct cluster *c)
{
    const struct vv_redis_url *url = &c->r->conf.url;
    while (c->step < 2 * c->round) {
        const bool ready = c->step < c->round;
        struct vv_redis_server *s = nth(c, c->first + c->step++);
        if (s != NULL && !s->gone && (s->state == VV_REDIS_SERVER_READY) == ready && up(c, s)) {
            return s;
        }
    }
    while (c->step < 2 * c->round + url->hosts) {
        const size_t i = c->step++ - 2 * c->round;
        struct vv_redis_server *s = NULL;
        if (vv_redis_server_at(c->r, vv_str_from(url->host[i].name), url->host[i].port,
                               VV_REDIS_ROLE_UNKNOWN, &s) == VV_OK &&
            s->state == VV_REDIS_SERVER_IDLE && up(c, s)) {
            return s; /* others were asked above */
        }
    }
    return NULL;
}

static void ask_next(struct cluster *c)
{
    struct vv_redis_server *s = candidate(c);
    while (s != NULL &&
           ask(c, s, c->slots_form ? VV_REDIS_FORM_SLOTS : VV_REDIS_FORM_SHARDS) != VV_OK) {
        s = candidate(c);
    }
    if (s == NULL) {
        c->hopeless = true;
        plan_next(c, true, false);
        vv_redis_go_on(c->r);
    }
}

static void refresh(struct vv_loop *loop, struct vv_timer *timer)
{
    struct cluster *c = VV_CONTAINER(timer, struct cluster, timer);
    c->due_ns = UINT64_MAX;
    c->begun_ns = vv_loop_now(loop);
    c->wanted = false;
    c->step = c->round = 0;
    VV_LIST_EACH (it, &c->r->servers) {
        c->round++;
    }
    c->first = c->round > 0 ? (size_t)vv_rng_below(&c->r->rng, c->round) : 0;
    c->r->stats.refreshes++;
    ask_next(c);
}

/* ---------------------------------------------------------------------------------- who serves it */

static struct vv_redis_server *server_of_slot(struct cluster *c, uint16_t slot, bool replicas)
{
    const struct vv_redis_slots *t = c->table;
    const uint16_t master = t->master_of[slot];
    if (master == VV_REDIS_NOBODY) {
        return NULL;
    }
    for (int i = 0; replicas && i < REPLICA_TRIES; i++) {
        const struct vv_redis_node *node = vv_redis_slots_node(t, slot, true, c->turn++);
        struct vv_redis_server *s = c->server_of[node - t->nodes];
        if (up(c, s)) {
            return s;
        }
    }
    return c->server_of[master];
}

/* Any master, by turns, that serves something. */
static struct vv_redis_server *any_server(struct cluster *c)
{
    struct vv_redis_server *s = NULL;
    for (int i = 0; i < ANY_TRIES; i++) {
        /* A step that is coprime to their number, so that all slots have their turn. */
        s = server_of_slot(c, (uint16_t)(c->turn++ * 5461 % VV_REDIS_SLOTS), false);
        if (up(c, s)) {
            return s;
        }
    }
    return s;
}

static enum vv_err pick(struct vv_redis *r, const struct vv_redis_op *op,
                        struct vv_redis_server **ret)
{
    struct cluster *c = r->topo;
    if (!c->known) {
        want(c);
        return c->hopeless ? VV_EREFUSED : VV_EAGAIN;
    }
    const bool replicas =
        r->conf.replicas && (op->flags & VV_REDIS_READ) != 0 && (op->flags & VV_REDIS_MASTER) == 0;
    struct vv_redis_server *s =
        op->key.p != NULL ? server_of_slot(c, vv_redis_slot(op->key), replicas) : any_server(c);
    if (!up(c, s)) {
        want(c);
    }
    if (s == NULL) {
        return VV_EREFUSED;
    }
    *ret = s; /* even one that is not up: it knows how it refuses, and when it tries again */
    return VV_OK;
}

/* -------------------------------------------------------------------------------------- surprises */

static void go_on(struct vv_loop *loop, struct vv_timer *timer)
{
    struct cluster *c = VV_CONTAINER(timer, struct cluster, again);
    (void)loop;
    c->again_set = false;
    vv_redis_go_on(c->r);
}

static enum vv_redis_next wait_a_little(struct cluster *c)
{
    if (!c->again_set) {
        c->again_set = true;
        vv_loop_timer_at(c->r->loop, &c->again, now_of(c) + AGAIN_NS);
    }
    return VV_REDIS_WAIT;
}

/* Worth a wait while it is news; when it has lasted as long as one operation may take, the next ones are
 * refused: one way there and back each, and they hear at once when it is over. */
static enum vv_redis_next cluster_is_down(struct cluster *c)
{
    const uint64_t now_ns = now_of(c);
    if (c->down_last_ns == 0 || now_ns - c->down_last_ns > VV_SEC) {
        c->down_since_ns = now_ns;
    }
    c->down_last_ns = now_ns;
    want(c);
    return now_ns - c->down_since_ns < c->r->conf.call_ns ? wait_a_little(c) : VV_REDIS_REFUSE;
}

static enum vv_redis_next redirected(struct cluster *c, struct vv_redis_server *s,
                                     struct vv_str text, struct vv_redis_server **to, bool *asking)
{
    struct vv_resp_redirect where;
    struct vv_redis_server *server = NULL;
    if (vv_resp_redirect_parse(text, &where) != VV_OK) {
        return VV_REDIS_SHOW;
    }
    const struct vv_str host = where.host.n > 0 ? where.host : vv_str_from(s->host);
    if (!where.ask) {
        c->pause_ns = REFRESH_MIN_NS;
        want(c);
    }
    if (vv_str_eq(host, VV_STR("?")) || /* the node does not know the other one's name yet */
        vv_redis_server_at(c->r, host, where.port, VV_REDIS_ROLE_MASTER, &server) != VV_OK) {
        return wait_a_little(c);
    }
    if (!where.ask && c->known) {
        const uint16_t was = c->table->master_of[where.slot];
        struct vv_redis_server *from = was != VV_REDIS_NOBODY ? c->server_of[was] : NULL;
        if (vv_redis_slots_move(c->table, where.slot, host, where.port) == VV_OK) {
            c->server_of[c->table->master_of[where.slot]] = server;
            server->role = VV_REDIS_ROLE_MASTER;
        }
        if (from != NULL && from != server) {
            from->user = (void *)(uintptr_t)&left_slots; /* told with the refresh */
        }
    }
    *to = server;
    *asking = where.ask;
    return VV_REDIS_AT;
}

static enum vv_redis_next surprised(struct vv_redis *r, struct vv_redis_op *op,
                                    struct vv_redis_server *s, struct vv_str text,
                                    struct vv_redis_server **to, bool *asking)
{
    struct cluster *c = r->topo;
    switch (vv_resp_error_of(text)) {
    case VV_RESP_E_MOVED:
    case VV_RESP_E_ASK:
        return redirected(c, s, text, to, asking);
    case VV_RESP_E_TRYAGAIN:
        return wait_a_little(c);
    case VV_RESP_E_CLUSTERDOWN:
        return cluster_is_down(c);
    case VV_RESP_E_LOADING:
    case VV_RESP_E_MASTERDOWN:
        if (s->role == VV_REDIS_ROLE_REPLICA && c->known && op->key.p != NULL) {
            *to = server_of_slot(c, vv_redis_slot(op->key), false);
            return up(c, *to) && *to != s ? VV_REDIS_AT : VV_REDIS_SHOW;
        }
        return VV_REDIS_SHOW;
    case VV_RESP_E_READONLY:
        want(c);
        return VV_REDIS_SHOW;
    default:
        return VV_REDIS_SHOW;
    }
}

static void lost(struct vv_redis *r, struct vv_redis_server *s, enum vv_err why)
{
    (void)s;
    (void)why;
    want(r->topo);
}

/* ---------------------------------------------------------------------------------- begin and end */

static enum vv_err start(struct vv_redis *r)
{
    struct cluster *c = calloc(1, sizeof(*c));
    r->topo = c;
    if (c == NULL) {
        return VV_ENOMEM;
    }
    c->r = r;
    vv_timer_init(&c->timer, refresh);
    vv_timer_init(&c->again, go_on);
    c->due_ns = UINT64_MAX;
    c->pause_ns = REFRESH_MIN_NS;
    c->table = calloc(1, sizeof(*c->table));
    c->next = calloc(1, sizeof(*c->next));
    if (c->table == NULL || c->next == NULL) {
        return VV_ENOMEM;
    }
    for (size_t i = 0; i < r->conf.url.hosts; i++) {
        struct vv_redis_server *s = NULL;
        const enum vv_err err =
            vv_redis_server_at(r, vv_str_from(r->conf.url.host[i].name), r->conf.url.host[i].port,
                               VV_REDIS_ROLE_UNKNOWN, &s);
        if (err != VV_OK) {
            return err;
        }
    }
    return VV_OK;
}

static void stop(struct vv_redis *r)
{
    struct cluster *c = r->topo;
    if (c == NULL) {
        return;
    }
    if (c->asking) {
        vv_redis_abandon(&c->op);
    }
    vv_loop_timer_stop(r->loop, &c->timer);
    vv_loop_timer_stop(r->loop, &c->again);
    free(c->table);
    free(c->next);
    free(c);
    r->topo = NULL;
}

const struct vv_redis_topology vv_redis_cluster = {
    .name = "cluster",
    .start = start,
    .stop = stop,
    .pick = pick,
    .surprised = surprised,
    .lost = lost,
};
