/* src/gateway/stores_poll.c - asks every server of a store how it is: INFO, and now and then the parameters that
 * are expected to have a value.
 *
 * A round begins with a PING by way of the topology, so that a cluster or sentinels say who the servers are;
 * then all of them are asked at once, each with its own deadline. What is said about a store follows from
 * the last round alone. */
#include "gateway/stores_int.h"
#include "observe/log.h"
#include "os/clock.h"

#include <stdio.h>
#include <stdlib.h>

#define EVERY_NS (15 * VV_SEC)
#define EVERY_BAD_NS VV_SEC /* while not all servers answer */
#define TROUBLE_NS VV_SEC   /* since the last round, before workers' troubles begin another */
#define CONFIG_EVERY_NS (300 * VV_SEC)
#define WAIT_NS (500 * VV_MS) /* for an answer: INFO of a busy server may take longer than a GET */
#define TEXT_MAX 65536
#define EXTRA 3 /* parameters that nobody wrote down: bind, protected-mode, requirepass */

struct call {
    struct vv_redis_op op;
    struct vv_str args[3];
    struct store_poll *poll;
    size_t server, finding; /* finding: by expectation, then the extra ones; SIZE_MAX: INFO */
    struct vv_sb text;      /* INFO: all of it; a parameter: its value */
    size_t strings;
    bool answered;
    enum vv_err err;
    char why[128];
};

struct store_poll {
    struct vv_store_home *h;
    struct vv_defer again; /* what must not run within a callback */
    bool config;
    struct call ping;
    struct call *call;
    size_t calls, open;
};

static const char *const extra[EXTRA] = {"bind", "protected-mode", "requirepass"};

/* ---- findings ------------------------------------------------------------------------------ */

static void finding_fini(struct store_finding *f)
{
    if (f->is != NULL) {
        explicit_bzero(f->is, strlen(f->is)); /* of requirepass */
    }
    free(f->is);
    *f = (struct store_finding){0};
}

static void server_fini(const struct vv_store_home *h, struct store_server *s)
{
    for (size_t i = 0; s->finding != NULL && i < h->expect.count; i++) {
        finding_fini(&s->finding[i]);
    }
    free(s->finding);
    s->finding = NULL;
    finding_fini(&s->bind);
    finding_fini(&s->guarded);
    finding_fini(&s->password);
}

void store_poll_forget(struct vv_store_home *h)
{
    for (size_t i = 0; i < h->servers; i++) {
        server_fini(h, &h->server[i]);
    }
}

static struct store_finding *finding_of(struct vv_store_home *h, struct store_server *s, size_t i)
{
    struct store_finding *const extras[EXTRA] = {&s->bind, &s->guarded, &s->password};
    return i < h->expect.count ? &s->finding[i] : extras[i - h->expect.count];
}

/* ---- the end of a round -------------------------------------------------------------------- */

static void poll_free(struct store_poll *p)
{
    vv_loop_defer_stop(&p->again);
    for (size_t i = 0; i < p->calls; i++) {
        vv_redis_abandon(&p->call[i].op);
        vv_sb_fini(&p->call[i].text);
    }
    vv_redis_abandon(&p->ping.op);
    vv_sb_fini(&p->ping.text);
    free(p->call);
    free(p);
}

void store_poll_end(struct vv_store_home *h)
{
    if (h->poll != NULL) {
        poll_free(h->poll);
        h->poll = NULL;
    }
}

static enum store_state state_of(const struct vv_store_home *h)
{
    size_t up = 0;
    for (size_t i = 0; i < h->servers; i++) {
        up += h->server[i].up;
    }
    return up == 0 ? STORE_AWAY : up < h->servers ? STORE_PARTLY : STORE_UP;
}

static void say_state(const struct vv_store_home *h, enum store_state before, uint64_t now_ns)
{
    const double seconds = (double)(now_ns - h->state_ns) / (double)VV_SEC;
    const char *name = "", *why = h->why;
    size_t down = 0;
    for (size_t i = 0; i < h->servers; i++) {
        if (!h->server[i].up && ++down == 1) {
            name = h->server[i].name;
            why = h->server[i].why;
        }
    }
    if (h->state == STORE_AWAY) {
        vv_warn("stores",
                "store is away, requests go on without it store=%s address=%s reason=\"%s\"",
                h->s.name, h->shown, why);
    } else if (h->state == STORE_PARTLY) {
        vv_warn("stores",
                "some servers of a store do not answer store=%s away=%zu of=%zu first=%s "
                "reason=\"%s\"",
                h->s.name, down, h->servers, name, why);
    } else if (before != STORE_UNKNOWN) {
        vv_info("stores", "store is back store=%s after_s=%.1f", h->s.name, seconds);
    }
}

static void set_state(struct vv_store_home *h, uint64_t now_ns)
{
    const enum store_state before = h->state;
    h->state = state_of(h);
    if (h->state != before) {
        say_state(h, before, now_ns);
        h->state_ns = now_ns;
        h->state_wall_ns = vv_loop_wall(h->owner->control);
    }
}

/* Once for each change of what does not hold. */
static void say_expectations(struct vv_store_home *h)
{
    struct vv_sb sb = VV_SB_INIT;
    uint64_t hash = 0;
    for (size_t i = 0; i < h->servers; i++) {
        for (size_t k = 0; k < h->expect.count; k++) {
            vv_sb_reset(&sb);
            if (store_sentence(h, &h->server[i], k, &sb)) {
                hash ^= vv_str_hash(vv_sb_str(&sb), 1) | 1;
            }
        }
    }
    const bool changed = hash != h->broken_told;
    h->broken_told = hash;
    for (size_t i = 0; changed && i < h->servers; i++) {
        for (size_t k = 0; k < h->expect.count; k++) {
            vv_sb_reset(&sb);
            if (store_sentence(h, &h->server[i], k, &sb)) {
                vv_warn("stores", "%s store=%s", sb.p, h->s.name);
            }
        }
    }
    if (changed && hash == 0) {
        vv_info("stores", "everything is as expected store=%s", h->s.name);
    }
    vv_sb_fini(&sb);
}

static void answer_asks(struct vv_store_home *h, uint64_t round, bool config)
{
    VV_LIST_EACH (it, &h->asks) {
        struct vv_store_ask *ask = VV_LIST_ENTRY(it, struct vv_store_ask, node);
        if (ask->round <= round && (config || !ask->check)) {
            struct vv_store *store = ask->store;
            vv_list_del(&ask->node);
            ask->done(ask); /* which may free it */
            vv_store_unref(store);
        }
    }
}

static void finish(struct store_poll *p)
{
    struct vv_store_home *h = p->h;
    const uint64_t now = vv_loop_now(h->owner->control);
    const bool config = p->config;
    set_state(h, now);
    h->poll_ns = now + (h->state == STORE_UP ? EVERY_NS : EVERY_BAD_NS);
    if (config) {
        h->config_ns = now + (h->state == STORE_UP ? CONFIG_EVERY_NS : EVERY_NS);
        if (h->state == STORE_UP) { /* else what is not known would look like a change */
            say_expectations(h);
        }
    }
    h->poll = NULL;
    poll_free(p);
    answer_asks(h, h->rounds, config);
}

/* ---- answers ------------------------------------------------------------------------------- */

static void take_why(struct call *c, struct vv_str text)
{
    size_t n = 0;
    for (; n < text.n && n + 1 < sizeof c->why; n++) {
        c->why[n] = text.p[n] >= ' ' && text.p[n] < 0x7f ? text.p[n] : '?';
    }
    c->why[n] = '\0';
}

static void on_item(struct vv_redis_op *op, const struct vv_resp_item *it)
{
    struct call *c = VV_CONTAINER(op, struct call, op);
    const bool text =
        it->type == VV_RESP_BULK || it->type == VV_RESP_VERBATIM || it->type == VV_RESP_STATUS;
    if (it->depth == 0 && (it->type == VV_RESP_ERROR || it->type == VV_RESP_BULK_ERROR)) {
        take_why(c, it->text);
        c->err = VV_EIO;
        return;
    }
    /* A parameter comes as its name and its value. */
    const bool wanted = c->finding == SIZE_MAX ? it->depth == 0 : it->depth == 1 && c->strings == 1;
    if (text && wanted && c->text.n < TEXT_MAX) {
        vv_sb_add(&c->text, it->text);
    }
    c->answered = c->answered || (text && wanted);
    c->strings += text && it->depth == 1 && it->last;
}

static void take_info(struct store_server *s, struct call *c, uint64_t wall_ns)
{
    s->up = c->err == VV_OK && c->answered;
    if (s->up) {
        store_info_read(vv_sb_str(&c->text), &s->info);
        s->info_wall_ns = wall_ns;
        s->ever_up = true;
        s->why[0] = '\0';
        if (s->info.loading) {
            s->up = false;
            (void)snprintf(s->why, sizeof s->why, "it is loading its data");
        }
    } else {
        (void)snprintf(s->why, sizeof s->why, "%s",
                       c->why[0] != '\0' ? c->why : vv_err_text(c->err));
    }
}

static void take_parameter(struct vv_store_home *h, struct store_server *s, struct call *c)
{
    struct store_finding *f = finding_of(h, s, c->finding);
    finding_fini(f);
    if (c->err == VV_OK && c->answered && !c->text.failed) {
        vv_sb_adds(&c->text, "");
        f->is = vv_sb_take(&c->text);
    } else {
        (void)snprintf(f->why, sizeof f->why, "%.60s",
                       c->why[0] != '\0' ? c->why
                       : c->err != VV_OK ? vv_err_text(c->err)
                                         : "the server does not know it");
    }
}

static void run_again(struct vv_loop *loop, struct vv_defer *d);

static void on_end(struct vv_redis_op *op, enum vv_err err)
{
    struct call *c = VV_CONTAINER(op, struct call, op);
    struct store_poll *p = c->poll;
    c->err = err != VV_OK ? err : c->err;
    if (--p->open == 0) {
        vv_loop_defer(p->h->owner->control, &p->again);
    }
}

/* ---- a round ------------------------------------------------------------------------------- */

static void begin_call(struct store_poll *p, struct call *c, const struct vv_redis_peer *peer)
{
    struct vv_redis *r = p->h->eyes;
    c->poll = p;
    c->op.item = on_item;
    c->op.end = on_end;
    c->op.args = c->args;
    c->op.flags = VV_REDIS_READ;
    c->op.timeout_ns = WAIT_NS;
    const enum vv_err err =
        peer != NULL ? vv_redis_do_peer(r, peer, &c->op) : vv_redis_do(r, &c->op);
    if (err == VV_OK) {
        p->open++;
    } else {
        c->err = err;
    }
}

static void name_server(struct store_server *s)
{
    struct vv_redis_peer p = s->peer; /* a copy: the compiler sees that nothing overlaps */
    if (p.port == 0) {
        (void)snprintf(s->name, sizeof s->name, "%s", p.host);
    } else {
        (void)snprintf(s->name, sizeof s->name, strchr(p.host, ':') != NULL ? "[%s]:%u" : "%s:%u",
                       p.host, (unsigned)p.port);
    }
}

static struct store_server *server_at(struct vv_store_home *h, const struct vv_redis_peer *peer)
{
    for (size_t i = 0; i < h->servers; i++) {
        struct store_server *s = &h->server[i];
        if (s->peer.port == peer->port && strcmp(s->peer.host, peer->host) == 0) {
            return s;
        }
    }
    return NULL;
}

/* Those that are no longer known go, new ones come. */
static void update_servers(struct vv_store_home *h)
{
    static struct vv_redis_peer peer[STORE_SERVERS_MAX]; /* too large for the stack; control only */
    const size_t n = vv_redis_peers(h->eyes, peer, STORE_SERVERS_MAX);
    size_t kept = 0;
    for (size_t i = 0; i < h->servers; i++) {
        h->server[i].here = false;
    }
    for (size_t i = 0; i < n; i++) {
        struct store_server *s = server_at(h, &peer[i]);
        if (s != NULL) {
            s->here = true;
            s->peer = peer[i];
        }
    }
    for (size_t i = 0; i < h->servers; i++) {
        if (h->server[i].here) {
            h->server[kept] = h->server[i];
            kept++;
        } else {
            server_fini(h, &h->server[i]);
        }
    }
    h->servers = kept;
    for (size_t i = 0; i < n && h->servers < STORE_SERVERS_MAX; i++) {
        if (server_at(h, &peer[i]) == NULL) {
            struct store_server *s = &h->server[h->servers++];
            *s = (struct store_server){.peer = peer[i], .here = true};
            name_server(s);
        }
    }
}

static bool make_calls(struct store_poll *p)
{
    struct vv_store_home *h = p->h;
    const size_t each = 1 + (p->config ? h->expect.count + EXTRA : 0);
    p->call = calloc(h->servers + 1, each * sizeof *p->call);
    for (size_t i = 0; p->call != NULL && i < h->servers; i++) {
        struct store_server *s = &h->server[i];
        if (p->config && s->finding == NULL) {
            s->finding = calloc(vv_max_u64(h->expect.count, 1), sizeof *s->finding);
            if (s->finding == NULL) {
                return false;
            }
        }
        for (size_t k = 0; k < each; k++) {
            struct call *c = &p->call[p->calls++];
            c->server = i;
            c->finding = k == 0 ? SIZE_MAX : k - 1;
            c->args[0] = k == 0 ? VV_STR("INFO") : VV_STR("CONFIG");
            c->args[1] = VV_STR("GET");
            if (k > 0) {
                c->args[2] = vv_str_from(k - 1 < h->expect.count ? h->expect.item[k - 1].name
                                                                 : extra[k - 1 - h->expect.count]);
            }
            c->op.args_count = k == 0 ? 1 : 3;
        }
    }
    return p->call != NULL;
}

static void take_all(struct store_poll *p)
{
    const uint64_t wall = vv_loop_wall(p->h->owner->control);
    for (size_t i = 0; i < p->calls; i++) {
        struct call *c = &p->call[i];
        struct store_server *s = &p->h->server[c->server];
        if (c->finding == SIZE_MAX) {
            take_info(s, c, wall);
        } else {
            take_parameter(p->h, s, c);
        }
    }
}

/* After the PING: everybody is asked. After that: the end. */
static void run_again(struct vv_loop *loop VV_UNUSED, struct vv_defer *d)
{
    struct store_poll *p = VV_CONTAINER(d, struct store_poll, again);
    struct vv_store_home *h = p->h;
    if (p->call != NULL) {
        take_all(p);
        finish(p);
        return;
    }
    update_servers(h);
    (void)snprintf(h->why, sizeof h->why, "%s",
                   p->ping.why[0] != '\0' ? p->ping.why : vv_err_text(p->ping.err));
    if (!make_calls(p)) {
        finish(p);
        return;
    }
    for (size_t i = 0; i < p->calls; i++) {
        begin_call(p, &p->call[i], &h->server[p->call[i].server].peer);
    }
    if (p->open == 0) {
        vv_loop_defer(h->owner->control, &p->again);
    }
}

static void begin(struct vv_store_home *h, bool config)
{
    struct store_poll *p = calloc(1, sizeof *p);
    if (p == NULL) {
        return;
    }
    h->poll = p;
    h->rounds++;
    h->config_rounds += config;
    h->troubles_seen = atomic_load_explicit(&h->troubles, memory_order_relaxed);
    p->h = h;
    p->config = config;
    vv_list_init(&p->again.node);
    p->again.fn = run_again;
    p->ping.finding = SIZE_MAX;
    p->ping.args[0] = VV_STR("PING");
    p->ping.op.args_count = 1;
    begin_call(p, &p->ping, NULL);
    if (p->open == 0) {
        vv_loop_defer(h->owner->control, &p->again);
    }
}

void store_poll_tick(struct vv_store_home *h, uint64_t now_ns)
{
    bool asked = false, config = false;
    if (h->control == NULL || h->poll != NULL) {
        return;
    }
    VV_LIST_EACH (it, &h->asks) {
        const struct vv_store_ask *ask = VV_LIST_ENTRY(it, struct vv_store_ask, node);
        asked = true;
        config |= ask->check;
    }
    const bool trouble =
        atomic_load_explicit(&h->troubles, memory_order_relaxed) != h->troubles_seen &&
        h->state == STORE_UP && now_ns + EVERY_NS >= h->poll_ns + TROUBLE_NS;
    if (asked || trouble || now_ns >= h->poll_ns) {
        begin(h, config || now_ns >= h->config_ns);
    }
}

/* ---- questions ----------------------------------------------------------------------------- */

enum vv_err vv_stores_ask(struct vv_stores *ss, struct vv_str name, struct vv_store_ask *ask)
{
    char text[128];
    struct vv_store *s = NULL;
    if (name.n >= sizeof text) {
        return VV_ENOENT;
    }
    (void)snprintf(text, sizeof text, "%.*s", (int)name.n, name.p);
    const enum vv_err err = vv_stores_take(ss, text, &s);
    if (err != VV_OK) {
        return err;
    }
    struct vv_store_home *h = store_home(s);
    if (h->control == NULL) {
        vv_store_unref(s);
        return VV_EUNSUPPORTED;
    }
    ask->store = s;
    ask->round = h->rounds + 1; /* one that is under way may have asked before */
    vv_list_init(&ask->node);
    vv_list_push_back(&h->asks, &ask->node);
    return VV_OK;
}

void vv_store_ask_end(struct vv_store_ask *ask)
{
    if (ask->node.next != NULL && !vv_list_empty(&ask->node)) {
        vv_list_del(&ask->node);
        vv_store_unref(ask->store);
    }
}
