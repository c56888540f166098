/* src/store/redis_sentinel.c - a master that sentinels name. One sentinel is asked at a time, the next one
 * when it does not answer; the one that answered tells when the master changes (+switch-master), and is
 * asked again from time to time in case it does not. Whoever is named has to say himself that he is the
 * master (ROLE), each time a connection to him is made: a sentinel that was cut off names the old one.
 * Sentinels that only speak version 2 cannot tell anything on a connection that answers questions as
 * well; they are asked every second. */
#include "store/redis_int.h"

#include <stdlib.h>

#define ASK_MIN_NS (100 * VV_MS)
#define ASK_SICK_NS (250 * VV_MS)    /* the longest pause while there is no master; */
#define ASK_SICK_MAX_NS (2 * VV_SEC) /* when that lasts: an eighth of the time, up to here */
#define ASK_IDLE_NS (5 * VV_SEC)
#define ASK_DEAF_NS VV_SEC /* of sentinels that tell nothing */
#define REPLICAS_MAX 16
#define HOST_MAX 255

struct named { /* a server in the answer */
    char host[HOST_MAX + 1];
    uint16_t port;
};

enum question { MASTER, REPLICAS };

struct sentinels {
    struct vv_redis *r;
    struct vv_redis_server *sentinel[VV_REDIS_URL_HOSTS];
    size_t count, first; /* first: who is asked first, the one that answered last */
    struct vv_redis_server *master, *replica[REPLICAS_MAX];
    size_t replicas;
    struct vv_redis_server *teller; /* the sentinel that tells; NULL: none does */
    bool hopeless; /* nobody could name a master: until somebody does nothing waits for it */
    uint64_t turn;
    struct vv_defer
        reopen; /* the master is none any more: its connection closes once we are out of it */
    /* The question under way. */
    struct vv_timer timer;
    uint64_t due_ns, begun_ns, pause_ns, sick_ns; /* sick_ns: since when; 0: it is not */
    bool asking, wanted;
    struct vv_redis_op op;
    struct vv_str args[3];
    enum question question;
    size_t step, place; /* place: elements of the aggregate that is open */
    bool bad;
    char text[HOST_MAX + 1], key[16];
    size_t text_n;
    struct named found[REPLICAS_MAX]; /* the master, or the replicas */
    size_t found_n;
    bool down; /* the replica that is being read is not up */
    /* A push that is coming in. */
    char news[HOST_MAX + 1];
    size_t news_n, news_place;
};

static uint64_t now_of(const struct sentinels *t)
{
    return vv_loop_now(t->r->loop);
}

static bool up(const struct sentinels *t, const struct vv_redis_server *s)
{
    return s != NULL && vv_redis_server_up(s, now_of(t));
}

/* ---------------------------------------------------------------------------------- when to ask */

static void ask_at(struct sentinels *t, uint64_t at_ns)
{
    t->due_ns = at_ns;
    vv_loop_timer_at(t->r->loop, &t->timer, at_ns);
}

static void want(struct sentinels *t)
{
    const uint64_t now_ns = now_of(t), soonest_ns = t->begun_ns + t->pause_ns;
    const uint64_t at_ns = soonest_ns > now_ns ? soonest_ns : now_ns;
    if (t->asking) {
        t->wanted = true;
    } else if (at_ns < t->due_ns) {
        ask_at(t, at_ns);
    }
}

static void plan_next(struct sentinels *t)
{
    const uint64_t now_ns = now_of(t);
    if (!up(t, t->master)) {
        t->sick_ns = t->sick_ns != 0 ? t->sick_ns : now_ns;
        const uint64_t share_ns = vv_min_u64((now_ns - t->sick_ns) / 8, ASK_SICK_MAX_NS);
        t->pause_ns = vv_min_u64(t->pause_ns * 2, vv_max_u64(ASK_SICK_NS, share_ns));
        ask_at(t, now_ns + t->pause_ns);
    } else {
        t->sick_ns = 0;
        t->pause_ns = ASK_MIN_NS;
        ask_at(t, now_ns + (t->teller != NULL ? ASK_IDLE_NS : ASK_DEAF_NS) +
                      vv_rng_below(&t->r->rng, ASK_MIN_NS));
    }
    if (t->wanted) {
        t->wanted = false;
        want(t);
    }
}

/* ------------------------------------------------------------------------------ taking the answer */

/* Only once we are out of the connection's own callbacks. */
static void reopen_master(struct vv_loop *loop, struct vv_defer *d)
{
    const struct sentinels *t = VV_CONTAINER(d, struct sentinels, reopen);
    (void)loop;
    if (t->master != NULL) {
        vv_redis_server_reopen(t->master);
    }
}

static void drop_replica(struct sentinels *t, const struct vv_redis_server *s)
{
    size_t left = 0;
    for (size_t i = 0; i < t->replicas; i++) {
        if (t->replica[i] != s && !t->replica[i]->gone) {
            t->replica[left++] = t->replica[i];
        }
    }
    t->replicas = left;
}

static void take_master(struct sentinels *t)
{
    struct vv_redis_server *s = NULL, *old = t->master;
    if (vv_redis_server_at(t->r, vv_str_from(t->found[0].host), t->found[0].port,
                           VV_REDIS_ROLE_MASTER, &s) != VV_OK) {
        return;
    }
    if (s != old && s->state == VV_REDIS_SERVER_PAUSING) {
        /* As a replica it was away; what its pause has grown to says nothing about today. */
        vv_redis_server_forget(s);
        if (vv_redis_server_at(t->r, vv_str_from(t->found[0].host), t->found[0].port,
                               VV_REDIS_ROLE_MASTER, &s) != VV_OK) {
            return;
        }
    }
    drop_replica(t, s);
    s->role = VV_REDIS_ROLE_MASTER;
    t->master = s;
    t->hopeless = false;
    if (old == s || old == NULL) {
        return;
    }
    t->pause_ns = ASK_MIN_NS;
    if (t->r->conf.replicas) {
        old->role = VV_REDIS_ROLE_REPLICA; /* forgotten with the next list, if it is not in it */
    } else {
        vv_redis_server_forget(old);
    }
}

static bool is_replica(const struct sentinels *t, const struct vv_redis_server *s)
{
    for (size_t i = 0; i < t->replicas; i++) {
        if (t->replica[i] == s) {
            return true;
        }
    }
    return false;
}

static void take_replicas(struct sentinels *t)
{
    t->replicas = 0;
    for (size_t i = 0; i < t->found_n; i++) {
        struct vv_redis_server *s = NULL;
        if (vv_redis_server_at(t->r, vv_str_from(t->found[i].host), t->found[i].port,
                               VV_REDIS_ROLE_REPLICA, &s) == VV_OK &&
            s != t->master) {
            s->role = VV_REDIS_ROLE_REPLICA;
            t->replica[t->replicas++] = s;
        }
    }
    VV_LIST_EACH (it, &t->r->servers) {
        struct vv_redis_server *s = VV_LIST_ENTRY(it, struct vv_redis_server, node);
        if (s->role != VV_REDIS_ROLE_SENTINEL && s != t->master && !is_replica(t, s)) {
            vv_redis_server_forget(s);
        }
    }
}

/* Whoever answers may tell as well. */
static void listen_to(struct sentinels *t, struct vv_redis_server *s)
{
    static const struct vv_str args[] = {{"SUBSCRIBE", 9}, {"+switch-master", 14}};
    if (t->teller == NULL && s->state == VV_REDIS_SERVER_READY &&
        vv_redis_conn_version(s->conn) == 3 &&
        vv_redis_server_subscribe(s, args, VV_COUNT(args)) == VV_OK) {
        t->teller = s;
    }
}

/* ------------------------------------------------------------------------------------- the answer */

/* Strings of the answer, whole; false: this item is none, or not its end, or too long to matter. */
static bool whole_text(struct sentinels *t, const struct vv_resp_item *it)
{
    if (it->type != VV_RESP_BULK && it->type != VV_RESP_STATUS) {
        return false;
    }
    if (it->first) {
        t->text_n = 0;
    }
    const size_t room = HOST_MAX - t->text_n;
    const size_t n = it->text.n < room ? it->text.n : room;
    if (n > 0) {
        memcpy(t->text + t->text_n, it->text.p, n);
        t->text_n += n;
    }
    t->text[t->text_n] = '\0';
    return it->last;
}

static bool to_port(const char *text, uint16_t *ret)
{
    uint64_t port = 0;
    if (vv_str_to_u64(vv_str_from(text), &port) != VV_OK || port == 0 || port > UINT16_MAX) {
        return false;
    }
    *ret = (uint16_t)port;
    return true;
}

/* [host, port] */
static void master_item(struct sentinels *t, const struct vv_resp_item *it)
{
    if (it->depth != 1 || !whole_text(t, it)) {
        return;
    }
    if (t->place == 0) {
        memcpy(t->found[0].host, t->text, sizeof(t->text));
    } else if (t->place == 1 && t->text_n > 0 && t->found[0].host[0] != '\0') {
        t->found_n = to_port(t->text, &t->found[0].port);
    }
    t->place++;
}

static void end_replica(struct sentinels *t)
{
    struct named *n = &t->found[t->found_n < REPLICAS_MAX ? t->found_n : 0];
    if (t->found_n < REPLICAS_MAX && !t->down && n->host[0] != '\0' && n->port != 0) {
        t->found_n++;
    }
}

static bool contains(const char *text, const char *word)
{
    return strstr(text, word) != NULL;
}

static void replica_field(struct sentinels *t, struct named *n)
{
    if (strcmp(t->key, "ip") == 0) {
        memcpy(n->host, t->text, sizeof(t->text));
    } else if (strcmp(t->key, "port") == 0) {
        if (!to_port(t->text, &n->port)) {
            n->port = 0;
        }
    } else if (strcmp(t->key, "flags") == 0) {
        t->down = contains(t->text, "s_down") || contains(t->text, "o_down");
    }
}

/* [{"ip": ..., "port": ..., "flags": ...} ...]: maps, or flat arrays in version 2. */
static void replicas_item(struct sentinels *t, const struct vv_resp_item *it)
{
    if (it->depth == 1) {
        end_replica(t);
        t->place = 0;
        t->down = false;
        if (t->found_n < REPLICAS_MAX) {
            t->found[t->found_n] = (struct named){.port = 0};
        }
    } else if (it->depth == 2 && whole_text(t, it)) {
        if (t->place++ % 2 == 0) {
            const size_t n = t->text_n < sizeof(t->key) ? t->text_n : 0; /* longer: none of ours */
            memcpy(t->key, t->text, n);
            t->key[n] = '\0';
        } else if (t->found_n < REPLICAS_MAX) {
            replica_field(t, &t->found[t->found_n]);
        }
    }
}

static void answer_item(struct vv_redis_op *op, const struct vv_resp_item *it)
{
    struct sentinels *t = VV_CONTAINER(op, struct sentinels, op);
    if (it->depth == 0 && it->type != VV_RESP_ARRAY) {
        t->bad = true; /* an error, or null: it does not know that name */
    } else if (t->question == MASTER) {
        master_item(t, it);
    } else {
        replicas_item(t, it);
    }
}

/* ----------------------------------------------------------------------------------------- asking */

static enum vv_err ask(struct sentinels *t, enum question question);

/* Asks the sentinels that are left; nobody left: the end for now. */
static void ask_next(struct sentinels *t)
{
    while (t->step < t->count) {
        if (ask(t, MASTER) == VV_OK) {
            return;
        }
        t->step++;
    }
    t->hopeless = t->master == NULL;
    plan_next(t);
    vv_redis_go_on(t->r);
}

static void answer_end(struct vv_redis_op *op, enum vv_err err)
{
    struct sentinels *t = VV_CONTAINER(op, struct sentinels, op);
    const size_t at = (t->first + t->step) % t->count;
    t->asking = false;
    const bool good = err == VV_OK && !t->bad && (t->question == REPLICAS || t->found_n == 1);
    if (t->question == REPLICAS) {
        if (good) {
            end_replica(t);
            take_replicas(t);
        }
    } else if (!good) {
        t->step++;
        return ask_next(t);
    } else {
        take_master(t);
        t->first = at;
        t->step = 0;
        listen_to(t, t->sentinel[at]);
        vv_redis_go_on(t->r);
        if (t->r->conf.replicas && ask(t, REPLICAS) == VV_OK) {
            return;
        }
    }
    plan_next(t);
}

static enum vv_err ask(struct sentinels *t, enum question question)
{
    struct vv_redis_server *s = t->sentinel[(t->first + t->step) % t->count];
    /* To connect takes longer than to ask; a sentinel that needs more will be connected the next time. */
    const uint64_t call_ns = t->r->conf.call_ns;
    t->args[0] = VV_STR("SENTINEL");
    t->args[1] = question == MASTER ? VV_STR("GET-MASTER-ADDR-BY-NAME") : VV_STR("REPLICAS");
    t->args[2] = vv_str_from(t->r->conf.url.master);
    t->op = (struct vv_redis_op){
        .item = answer_item,
        .end = answer_end,
        .args = t->args,
        .args_count = 3,
        .timeout_ns =
            s->state == VV_REDIS_SERVER_READY || call_ns > ASK_MIN_NS ? call_ns : ASK_MIN_NS,
    };
    t->question = question;
    t->place = t->text_n = t->found_n = 0;
    t->found[0] = (struct named){.port = 0};
    t->bad = false;
    t->down = false;
    const enum vv_err err = vv_redis_do_at(s, &t->op);
    t->asking = err == VV_OK;
    return err;
}

static void on_timer(struct vv_loop *loop, struct vv_timer *timer)
{
    struct sentinels *t = VV_CONTAINER(timer, struct sentinels, timer);
    t->due_ns = UINT64_MAX;
    t->begun_ns = vv_loop_now(loop);
    t->wanted = false;
    t->step = 0;
    if (t->master != NULL && !up(t, t->master)) {
        t->first = (t->first + 1) % t->count; /* perhaps that one was cut off with the old master */
    }
    t->r->stats.refreshes++;
    ask_next(t);
}

/* ---------------------------------------------------------------------------------- the topology */

static enum vv_err pick(struct vv_redis *r, const struct vv_redis_op *op,
                        struct vv_redis_server **ret)
{
    struct sentinels *t = r->topo;
    const bool replicas =
        r->conf.replicas && (op->flags & VV_REDIS_READ) != 0 && (op->flags & VV_REDIS_MASTER) == 0;
    for (size_t i = 0; replicas && i < t->replicas; i++) {
        struct vv_redis_server *s = t->replica[t->turn++ % t->replicas];
        if (up(t, s)) {
            *ret = s;
            return VV_OK;
        }
    }
    if (!up(t, t->master)) {
        want(t);
    }
    if (t->master == NULL) {
        return t->hopeless ? VV_EREFUSED : VV_EAGAIN;
    }
    *ret = t->master; /* even one that is not up: it knows how it refuses */
    return VV_OK;
}

static enum vv_redis_next surprised(struct vv_redis *r, struct vv_redis_op *op,
                                    struct vv_redis_server *s, struct vv_str text,
                                    struct vv_redis_server **to, bool *asking)
{
    struct sentinels *t = r->topo;
    const enum vv_resp_error e = vv_resp_error_of(text);
    (void)op;
    *asking = false;
    if (s != t->master && t->master != NULL &&
        (e == VV_RESP_E_READONLY || e == VV_RESP_E_MASTERDOWN || e == VV_RESP_E_LOADING)) {
        *to = t->master;
        return up(t, t->master) ? VV_REDIS_AT : VV_REDIS_SHOW;
    }
    if (s == t->master && (e == VV_RESP_E_READONLY || e == VV_RESP_E_MASTERDOWN)) {
        /* A replica by now. Its connection closes and asks for its role anew, so that nobody else
         * writes to it; this operation was not carried out and waits for what the sentinel says. */
        want(t);
        vv_loop_defer(r->loop, &t->reopen);
        return VV_REDIS_WAIT;
    }
    return VV_REDIS_SHOW;
}

static bool ready(struct vv_redis *r, struct vv_redis_server *s)
{
    struct sentinels *t = r->topo;
    if (s->role == VV_REDIS_ROLE_SENTINEL || s->said_role == s->role ||
        s->said_role == VV_REDIS_ROLE_UNKNOWN) { /* UNKNOWN: it may not say (ACL) */
        return true;
    }
    want(t);
    return s->role != VV_REDIS_ROLE_MASTER;
}

static void lost(struct vv_redis *r, struct vv_redis_server *s, enum vv_err why)
{
    struct sentinels *t = r->topo;
    (void)why;
    if (s == t->teller) {
        t->teller = NULL;
    }
    if (s == t->master || (s->role == VV_REDIS_ROLE_SENTINEL && t->teller == NULL && !t->asking)) {
        want(t);
    }
}

/* ["message", "+switch-master", "name old-host old-port host port"] */
static void push(struct vv_redis *r, struct vv_redis_server *s, const struct vv_resp_item *it)
{
    struct sentinels *t = r->topo;
    if (s != t->teller) {
        return;
    }
    if (it->depth == 0) {
        t->news_place = 0;
        t->news_n = 0;
        t->news[0] = '\0';
        return;
    }
    if (it->depth == 1 && t->news_place == 2 && it->type == VV_RESP_BULK) {
        const size_t room = HOST_MAX - t->news_n;
        const size_t n = it->text.n < room ? it->text.n : room;
        memcpy(t->news + t->news_n, it->text.p, n);
        t->news_n += n;
        t->news[t->news_n] = '\0';
    }
    t->news_place += it->depth == 1 && it->last;
    const size_t n = strlen(r->conf.url.master);
    if (it->done && strncmp(t->news, r->conf.url.master, n) == 0 && t->news[n] == ' ') {
        t->begun_ns = 0; /* it is certain that there is something new */
        want(t);
    }
}

static enum vv_err start(struct vv_redis *r)
{
    struct sentinels *t = calloc(1, sizeof(*t));
    r->topo = t;
    if (t == NULL) {
        return VV_ENOMEM;
    }
    t->r = r;
    vv_timer_init(&t->timer, on_timer);
    vv_list_init(&t->reopen.node);
    t->reopen.fn = reopen_master;
    t->due_ns = UINT64_MAX;
    t->pause_ns = ASK_MIN_NS;
    for (size_t i = 0; i < r->conf.url.hosts; i++) {
        const enum vv_err err =
            vv_redis_server_at(r, vv_str_from(r->conf.url.host[i].name), r->conf.url.host[i].port,
                               VV_REDIS_ROLE_SENTINEL, &t->sentinel[i]);
        if (err != VV_OK) {
            return err;
        }
        t->count++;
    }
    return t->count > 0 ? VV_OK : VV_ESYNTAX;
}

static void stop(struct vv_redis *r)
{
    struct sentinels *t = r->topo;
    if (t == NULL) {
        return;
    }
    if (t->asking) {
        vv_redis_abandon(&t->op);
    }
    vv_loop_timer_stop(r->loop, &t->timer);
    vv_loop_defer_stop(&t->reopen);
    free(t);
    r->topo = NULL;
}

const struct vv_redis_topology vv_redis_sentinel = {
    .name = "sentinel",
    .asks_role = true,
    .start = start,
    .stop = stop,
    .pick = pick,
    .surprised = surprised,
    .ready = ready,
    .lost = lost,
    .push = push,
};
