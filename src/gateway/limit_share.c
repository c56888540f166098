/* src/gateway/limit_share.c - the conversations of limits with their stores: what is told, what is heard, and
 * when a store counts as away. What a key may do is decided in guard/share.c.
 *
 * A script whose answer is lost may have run: its keys are told again under the same turn, which the store
 * counts once. So an outcome that nobody knows costs nothing but a round. */
#include "gateway/limit_share.h"
#include "gateway/access.h"
#include "gateway/admit_int.h"
#include "gateway/limit_share_script.h"
#include "gateway/runtime.h"
#include "gateway/stores.h"
#include "observe/log.h"
#include "os/clock.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

#define KEYS_ROOM 32768            /* keys of one store in use at once */
#define TICK_NS (25 * VV_MS)       /* new keys are told after that at most */
#define HELLO_NS (200 * VV_MS)     /* between two hellos */
#define CALL_NS (250 * VV_MS)      /* nobody waits: a server that stalls for a moment is not away */
#define AWAY_NS (400 * VV_MS)      /* without any answer */
#define GATEWAY_FRESH_US "2000000" /* a gateway that says nothing for so long is gone */
#define DEMAND_FRESH_US "1000000"  /* its demand sooner */
#define HINT_NS VV_SEC             /* a warning holds so long; it is renewed meanwhile */
#define HINT_PROBE_MS 2000         /* what a breaker that probes says of itself */
#define BREAKERS_MAX 32            /* told at once */
#define PER_KEY 7
#define ARGS_MAX (3 + VV_SHARE_BATCH + 2 + PER_KEY * VV_SHARE_BATCH)
#define NUMBER_BYTES 24
#define KEY_BYTES 192
#define SCRIPT_HEX 40
#define PREFIX_MAX 100

struct talk;

struct share_op { /* one script under way, or none */
    struct vv_redis_op op;
    struct talk *talk;
    unsigned group;
    bool busy, loaded, no_script, bad;
    uint64_t began_ns, epoch;
    size_t keys, numbers;
    struct vv_share *key[VV_SHARE_BATCH];
    int64_t number[3 * VV_SHARE_BATCH];
    struct vv_str arg[ARGS_MAX];
    size_t args, text_used;
    char text[VV_SHARE_BATCH * (KEY_BYTES + PER_KEY * NUMBER_BYTES) + 512];
};

struct hello_op {
    struct vv_redis_op op;
    struct talk *talk;
    bool busy, loaded, no_script, bad;
    uint64_t began_ns;
    int64_t number[3];
    size_t items;
    char name[256]; /* the breaker that the next number is about */
    size_t name_bytes;
    struct vv_str arg[5 + 2 + 2 * BREAKERS_MAX];
    char text[2 * KEY_BYTES + BREAKERS_MAX * NUMBER_BYTES];
};

struct talk { /* with one store */
    struct vv_list node;
    struct vv_sharing *sharing;
    char *name;
    struct vv_shares *shares;
    struct vv_store *store, *wanted; /* in force; of the settings being loaded */
    uint64_t epoch; /* grows when the store goes away: older answers are not heard */
    uint64_t heard_ns, asked_ns, hello_ns, swept_ns;
    uint64_t told, lost; /* scripts */
    bool alone, said;
    struct hello_op hello;
    struct share_op share[VV_SHARE_GROUPS];
};

struct vv_sharing {
    struct vv_guards *guards;
    struct vv_loop *control;
    struct vv_stores *stores;
    struct vv_timer timer;
    struct vv_list talks;
    char me[17];
    char share_sha[SCRIPT_HEX + 1], hello_sha[SCRIPT_HEX + 1];
};

/* ---- scripts ---- */

static void hex_of(const uint8_t *bytes, size_t count, char *ret)
{
    for (size_t i = 0; i < count; i++) {
        snprintf(ret + 2 * i, 3, "%02x", bytes[i]);
    }
}

/* What EVALSHA wants. */
static bool sha_of(const char *script, char *ret)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    if (EVP_Digest(script, strlen(script), digest, &n, EVP_sha1(), NULL) != 1 || n != 20) {
        return false;
    }
    hex_of(digest, n, ret);
    return true;
}

/* The same on every gateway; who does not know the key finds it only by trying. */
static void name_of(uint64_t id, struct vv_str key, uint8_t ret[VV_SHARE_NAME_BYTES])
{
    uint8_t digest[EVP_MAX_MD_SIZE] = {0};
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (ctx != NULL && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1 &&
        EVP_DigestUpdate(ctx, &id, sizeof id) == 1 && EVP_DigestUpdate(ctx, key.p, key.n) == 1) {
        (void)EVP_DigestFinal_ex(ctx, digest, NULL);
    }
    EVP_MD_CTX_free(ctx);
    memcpy(ret, digest, VV_SHARE_NAME_BYTES);
}

/* ---- life ---- */

static void on_tick(struct vv_loop *loop, struct vv_timer *t);

enum vv_err vv_sharing_new(struct vv_guards *gs, struct vv_sharing **ret)
{
    struct vv_sharing *sh = calloc(1, sizeof *sh);
    if (sh == NULL) {
        return VV_ENOMEM;
    }
    sh->guards = gs;
    vv_list_init(&sh->talks);
    vv_timer_init(&sh->timer, on_tick);
    snprintf(sh->me, sizeof sh->me, "%016llx", (unsigned long long)vv_entropy_u64());
    if (!sha_of(VV_SHARE_SCRIPT, sh->share_sha) || !sha_of(VV_SHARE_HELLO, sh->hello_sha)) {
        free(sh);
        return VV_ENOMEM;
    }
    *ret = sh;
    return VV_OK;
}

/* Nothing under way is heard any more. */
static void hush(struct talk *t)
{
    for (size_t i = 0; i < VV_SHARE_GROUPS; i++) {
        if (t->share[i].busy) {
            vv_redis_abandon(&t->share[i].op);
            t->share[i].busy = false;
        }
        t->share[i].loaded = false;
    }
    if (t->hello.busy) {
        vv_redis_abandon(&t->hello.op);
        t->hello.busy = false;
    }
    t->hello.loaded = false;
}

static void talk_free(struct talk *t)
{
    hush(t);
    vv_list_del(&t->node);
    vv_store_unref(t->store);
    vv_store_unref(t->wanted);
    vv_shares_free(t->shares);
    free(t->name);
    free(t);
}

void vv_sharing_free(struct vv_sharing *sh)
{
    if (sh == NULL) {
        return;
    }
    if (sh->control != NULL) {
        vv_loop_timer_stop(sh->control, &sh->timer);
    }
    VV_LIST_EACH (it, &sh->talks) {
        talk_free(VV_LIST_ENTRY(it, struct talk, node));
    }
    free(sh);
}

void vv_sharing_begin(struct vv_sharing *sh, struct vv_loop *control, struct vv_stores *stores)
{
    sh->control = control;
    sh->stores = stores;
}

static struct talk *find_talk(struct vv_sharing *sh, const char *name)
{
    VV_LIST_EACH (it, &sh->talks) {
        struct talk *t = VV_LIST_ENTRY(it, struct talk, node);
        if (strcmp(t->name, name) == 0) {
            return t;
        }
    }
    return NULL;
}

/* Talks stay for good: words of limits are told by them for as long as there is a gateway. */
static enum vv_err need_talk(struct vv_sharing *sh, const char *name, struct talk **ret)
{
    struct talk *t = find_talk(sh, name);
    if (t == NULL) {
        t = calloc(1, sizeof *t);
        if (t == NULL) {
            return VV_ENOMEM;
        }
        t->sharing = sh;
        t->alone = true;
        t->name = strdup(name);
        if (t->name == NULL || vv_shares_new(KEYS_ROOM, name_of, &t->shares) != VV_OK) {
            free(t->name);
            free(t);
            return VV_ENOMEM;
        }
        vv_list_push_back(&sh->talks, &t->node);
    }
    if (t->wanted == NULL && sh->stores != NULL) {
        const enum vv_err err = vv_stores_take(sh->stores, name, &t->wanted);
        if (err != VV_OK) {
            return err;
        }
    }
    *ret = t;
    return VV_OK;
}

static enum vv_err share_plan(struct vv_sharing *sh, struct vv_limit_plan *plan)
{
    for (size_t i = 0; plan != NULL && i < plan->count; i++) {
        struct vv_limit_item *item = &plan->item[i];
        struct talk *t = NULL;
        if (item->conf->share == NULL) {
            continue;
        }
        const enum vv_err err = need_talk(sh, item->conf->share, &t);
        if (err != VV_OK) {
            return err;
        }
        for (size_t p = 0; p < item->parts; p++) {
            item->part[p].limit.shares = t->shares;
        }
    }
    return VV_OK;
}

enum vv_err vv_sharing_use(struct vv_sharing *sh, struct vv_runtime *rt)
{
    const struct vv_conf_list *breakers = rt->settings->breakers;
    enum vv_err err = VV_OK;
    for (size_t i = 0; err == VV_OK && i < rt->listener_count; i++) {
        err = share_plan(sh, rt->listener_limits[i]);
    }
    for (size_t i = 0; err == VV_OK && i < rt->route_count; i++) {
        err = share_plan(sh, rt->route[i].limits);
    }
    for (size_t i = 0; err == VV_OK && i < rt->plan_count; i++) {
        err = share_plan(sh, rt->plan[i].limits);
    }
    for (size_t i = 0; err == VV_OK && breakers != NULL && i < breakers->count; i++) {
        const struct vv_breaker_settings *b = breakers->item[i];
        struct talk *t = NULL;
        err = b->share != NULL ? need_talk(sh, b->share, &t) : VV_OK;
    }
    return err;
}

static void be_alone(struct talk *t, bool alone, uint64_t now_ns)
{
    if (alone == t->alone) {
        return;
    }
    t->alone = alone;
    t->epoch += alone;
    vv_shares_alone(t->shares, vv_guards_limits(t->sharing->guards), alone, now_ns);
}

void vv_sharing_settle(struct vv_sharing *sh, bool kept)
{
    bool any = false;
    const uint64_t now_ns = vv_clock_now();
    VV_LIST_EACH (it, &sh->talks) {
        struct talk *t = VV_LIST_ENTRY(it, struct talk, node);
        struct vv_store *out = t->wanted; /* of a reload that failed */
        if (kept && t->wanted != t->store) {
            hush(t);
            be_alone(t, true, now_ns);
            out = t->store;
            t->store = t->wanted;
            t->heard_ns = now_ns;
            t->hello_ns = 0;
            t->said = false;
        }
        t->wanted = NULL;
        vv_store_unref(out);
        any = any || (t->store != NULL && t->store->has_server);
    }
    if (any && sh->control != NULL) {
        vv_loop_timer_at(sh->control, &sh->timer, vv_loop_now(sh->control) + VV_MS);
    }
}

/* ---- what is heard ---- */

static void heard(struct talk *t, uint64_t now_ns)
{
    t->heard_ns = now_ns;
    t->told++;
    if (t->alone) {
        be_alone(t, false, now_ns);
        vv_info("limits", "store %s: limits are shared", t->name);
        t->said = false;
    }
}

static void unheard(struct talk *t, enum vv_err err, uint64_t now_ns)
{
    t->lost++;
    if (now_ns - t->heard_ns < AWAY_NS) {
        return;
    }
    be_alone(t, true, now_ns);
    if (!t->said) {
        vv_warn("limits", "store %s: %s; limits are counted by this gateway alone", t->name,
                err == VV_OK ? "it refuses" : vv_err_text(err));
        t->said = true;
    }
}

/* Which script does not exist is known by the first word of the error. */
static void error_item(const struct vv_resp_item *it, bool *no_script, bool *bad)
{
    *bad = true;
    *no_script = *no_script || (it->first && vv_str_starts(it->text, VV_STR("NOSCRIPT")));
}

static void share_item(struct vv_redis_op *op, const struct vv_resp_item *it)
{
    struct share_op *so = VV_CONTAINER(op, struct share_op, op);
    if (it->type == VV_RESP_ERROR || it->type == VV_RESP_BULK_ERROR) {
        error_item(it, &so->no_script, &so->bad);
    } else if (it->type == VV_RESP_INTEGER && it->depth == 1 &&
               so->numbers < VV_COUNT(so->number)) {
        so->number[so->numbers++] = it->integer;
    } else if (it->depth != 0 || it->type != VV_RESP_ARRAY) {
        so->bad = true;
    }
}

static uint64_t positive(int64_t n)
{
    return n > 0 ? (uint64_t)n : 0;
}

static void share_end(struct vv_redis_op *op, enum vv_err err)
{
    struct share_op *so = VV_CONTAINER(op, struct share_op, op);
    struct talk *t = so->talk;
    struct vv_limits *limits = vv_guards_limits(t->sharing->guards);
    const uint64_t now_ns = vv_clock_now();
    const bool good = err == VV_OK && !so->bad && so->numbers == 3 * so->keys;
    so->busy = false;
    so->loaded = good || (so->loaded && !so->no_script);
    if (so->epoch != t->epoch || t->alone) {
        return; /* its keys have begun anew */
    }
    for (size_t i = 0; i < so->keys; i++) {
        const int64_t *n = so->number + 3 * i;
        if (!good) {
            vv_share_lost(t->shares, so->key[i]);
            continue;
        }
        const struct vv_share_answer a = {.debt_us = positive(n[0]),
                                          .before = positive(n[0]),
                                          .current = positive(n[1]),
                                          .part = (double)n[2] / 1e6};
        vv_share_answered(t->shares, limits, so->key[i], &a,
                          so->began_ns + (now_ns - so->began_ns) / 2, now_ns);
    }
    if (good) {
        heard(t, now_ns);
    } else if (!so->no_script) {
        unheard(t, err, now_ns);
    }
}

/* Another gateway's breaker of this name is open. */
static void warned(struct talk *t, struct vv_str name, int64_t left_ms, uint64_t now_ns)
{
    struct vv_named_breaker *b = vv_guards_find_breaker(t->sharing->guards, name);
    if (b != NULL && b->share != NULL && strcmp(b->share, t->name) == 0 && left_ms > 0) {
        const uint64_t left_ns = vv_min_u64((uint64_t)left_ms, HINT_NS / VV_MS) * VV_MS;
        vv_breaker_suspect(b->breaker, now_ns + left_ns);
    }
}

static void hello_item(struct vv_redis_op *op, const struct vv_resp_item *it)
{
    struct hello_op *h = VV_CONTAINER(op, struct hello_op, op);
    if (it->type == VV_RESP_ERROR || it->type == VV_RESP_BULK_ERROR) {
        error_item(it, &h->no_script, &h->bad);
    } else if (it->depth == 0) {
        h->bad = h->bad || it->type != VV_RESP_ARRAY;
    } else if (it->type == VV_RESP_INTEGER) {
        if (h->items < 3) {
            h->number[h->items++] = it->integer;
        } else if (h->name_bytes > 0) {
            warned(h->talk, (struct vv_str){h->name, h->name_bytes}, it->integer, vv_clock_now());
        }
        h->name_bytes = 0;
    } else if (it->type == VV_RESP_BULK) {
        h->name_bytes = it->first ? 0 : h->name_bytes;
        const size_t n = vv_min_u64(it->text.n, sizeof h->name - h->name_bytes);
        memcpy(h->name + h->name_bytes, it->text.p, n);
        h->name_bytes += n;
    }
}

static void hello_end(struct vv_redis_op *op, enum vv_err err)
{
    struct hello_op *h = VV_CONTAINER(op, struct hello_op, op);
    struct talk *t = h->talk;
    const uint64_t now_ns = vv_clock_now();
    const bool good = err == VV_OK && !h->bad && h->items == 3;
    h->busy = false;
    h->loaded = good || (h->loaded && !h->no_script);
    if (good) {
        const uint64_t middle_ns = h->began_ns + (now_ns - h->began_ns) / 2;
        vv_shares_clock(t->shares, positive(h->number[0]) * 1000000 + positive(h->number[1]),
                        middle_ns);
        vv_shares_gateways(t->shares, positive(h->number[2]));
        heard(t, now_ns);
    } else if (h->no_script) {
        t->hello_ns = 0; /* the whole script, at once */
    } else {
        unheard(t, err, now_ns);
    }
}

/* ---- what is told ---- */

/* The text of n bytes that was just written at the end becomes the next argument. */
static void put_written(struct share_op *so, int n)
{
    VV_ASSERT(n >= 0 && (size_t)n < sizeof so->text - so->text_used); /* every part has its bound */
    so->arg[so->args++] = (struct vv_str){so->text + so->text_used, (size_t)n};
    so->text_used += (size_t)n + 1;
}

static void put_number(struct share_op *so, uint64_t n)
{
    put_written(so,
                snprintf(so->text + so->text_used, NUMBER_BYTES, "%llu", (unsigned long long)n));
}

/* EVALSHA, or the script itself where the server may not know it. */
static size_t put_command(struct vv_str *arg, bool loaded, const char *script, const char *sha)
{
    arg[0] = loaded ? VV_STR("EVALSHA") : VV_STR("EVAL");
    arg[1] = vv_str_from(loaded ? sha : script);
    return 2;
}

static void put_key(struct share_op *so, const struct vv_share_question *q, const char *prefix)
{
    char name[2 * VV_SHARE_NAME_BYTES + 1];
    hex_of(q->name, VV_SHARE_NAME_BYTES, name);
    put_written(so, snprintf(so->text + so->text_used, KEY_BYTES, "%s:limit:{%u}:%llx:%s", prefix,
                             so->group, (unsigned long long)q->limit->id, name));
}

static void put_question(struct share_op *so, const struct vv_share_question *q)
{
    const bool rate = q->limit->kind == VV_LIMIT_RATE;
    const uint64_t unit_ns = rate ? q->limit->interval_ns : q->limit->per_ns;
    so->arg[so->args++] = rate ? VV_STR("r") : VV_STR("w");
    put_written(so, snprintf(so->text + so->text_used, NUMBER_BYTES, "%.3f",
                             (double)unit_ns / (double)VV_US));
    put_number(so, q->passed);
    put_number(so, q->age_us);
    put_number(so, q->turn);
    put_number(so, q->demand);
    if (q->resume) {
        put_number(so, q->resume_us);
    } else {
        so->arg[so->args++] = VV_STR("-1");
    }
}

/* All keys are of one group: a cluster has them in one slot. */
static void ask_group(struct talk *t, struct vv_redis *r, unsigned group, uint64_t now_ns)
{
    struct share_op *so = &t->share[group];
    struct vv_limits *limits = vv_guards_limits(t->sharing->guards);
    struct vv_share_question q[VV_SHARE_BATCH];
    so->keys = vv_shares_collect(t->shares, group, now_ns, so->key, VV_SHARE_BATCH);
    if (so->keys == 0) {
        return;
    }
    const struct vv_redis_op fresh = {.item = share_item, .end = share_end, .timeout_ns = CALL_NS};
    so->op = fresh;
    so->talk = t;
    so->group = group;
    so->epoch = t->epoch;
    so->began_ns = now_ns;
    so->text_used = so->numbers = 0;
    so->bad = so->no_script = false;
    so->args = put_command(so->arg, so->loaded, VV_SHARE_SCRIPT, t->sharing->share_sha);
    put_number(so, so->keys);
    for (size_t i = 0; i < so->keys; i++) {
        vv_share_ask(t->shares, limits, so->key[i], now_ns, &q[i]);
        put_key(so, &q[i], t->store->prefix);
    }
    so->arg[so->args++] = vv_str_from(t->sharing->me);
    so->arg[so->args++] = VV_STR(DEMAND_FRESH_US);
    for (size_t i = 0; i < so->keys; i++) {
        put_question(so, &q[i]);
    }
    so->op.key = so->arg[3];
    so->op.args = so->arg;
    so->op.args_count = so->args;
    so->busy = true;
    const enum vv_err err = vv_redis_do(r, &so->op);
    if (err != VV_OK) {
        so->bad = true;
        share_end(&so->op, err);
    }
}

/* Our breakers of this store that are open, or try whether they may close. */
static size_t put_breakers(struct talk *t, struct hello_op *h, size_t args, size_t used,
                           uint64_t now_ns)
{
    size_t count = 0;
    for (struct vv_named_breaker *b = NULL;
         (b = vv_guards_next_breaker(t->sharing->guards, b)) != NULL && count < BREAKERS_MAX;) {
        struct vv_breaker_view v;
        if (b->share == NULL || strcmp(b->share, t->name) != 0) {
            continue;
        }
        vv_breaker_look(b->breaker, now_ns, &v);
        if (v.mode != VV_BREAKER_AUTO || v.state == VV_BREAKER_CLOSED) {
            continue; /* what an operator says is about one gateway */
        }
        const uint64_t left_ms = v.open_until_ns > now_ns ? (v.open_until_ns - now_ns) / VV_MS : 0;
        const int n = snprintf(h->text + used, sizeof h->text - used, "%llu",
                               (unsigned long long)vv_max_u64(left_ms, HINT_PROBE_MS));
        h->arg[args++] = vv_str_from(b->name);
        h->arg[args++] = (struct vv_str){h->text + used, (size_t)n};
        used += (size_t)n + 1;
        count++;
    }
    return args;
}

static void say_hello(struct talk *t, struct vv_redis *r, uint64_t now_ns)
{
    struct hello_op *h = &t->hello;
    const struct vv_redis_op fresh = {.item = hello_item, .end = hello_end, .timeout_ns = CALL_NS};
    h->op = fresh;
    h->talk = t;
    h->bad = h->no_script = false;
    h->items = h->name_bytes = 0;
    h->began_ns = now_ns;
    size_t args = put_command(h->arg, h->loaded, VV_SHARE_HELLO, t->sharing->hello_sha);
    size_t used = 0;
    h->arg[args++] = VV_STR("2");
    static const char *const names[] = {"gateways", "open"};
    for (size_t i = 0; i < VV_COUNT(names); i++) {
        const int n =
            snprintf(h->text + used, KEY_BYTES, "%s:limit:{0}:%s", t->store->prefix, names[i]);
        h->arg[args++] = (struct vv_str){h->text + used, (size_t)n};
        used += (size_t)n + 1;
    }
    h->arg[args++] = vv_str_from(t->sharing->me);
    h->arg[args++] = VV_STR(GATEWAY_FRESH_US);
    h->op.key = h->arg[3];
    h->op.args = h->arg;
    h->op.args_count = put_breakers(t, h, args, used, now_ns);
    h->busy = true;
    const enum vv_err err = vv_redis_do(r, &h->op);
    if (err != VV_OK) {
        h->bad = true;
        hello_end(&h->op, err);
    }
}

static void talk_tick(struct talk *t, uint64_t now_ns)
{
    struct vv_redis *r = vv_store_control(t->store);
    if (r == NULL || strlen(t->store->prefix) > PREFIX_MAX) {
        return;
    }
    if (!t->hello.busy && now_ns - t->hello_ns >= HELLO_NS) {
        t->hello_ns = now_ns;
        say_hello(t, r, now_ns);
    }
    for (unsigned group = 0; group < VV_SHARE_GROUPS; group++) {
        if (!t->share[group].busy) {
            ask_group(t, r, group, now_ns);
        }
    }
    if (now_ns - t->swept_ns >= VV_SEC) {
        t->swept_ns = now_ns;
        vv_shares_sweep(t->shares, now_ns);
    }
}

static void on_tick(struct vv_loop *loop, struct vv_timer *timer)
{
    struct vv_sharing *sh = VV_CONTAINER(timer, struct vv_sharing, timer);
    const uint64_t now_ns = vv_clock_now();
    bool any = false;
    VV_LIST_EACH (it, &sh->talks) {
        struct talk *t = VV_LIST_ENTRY(it, struct talk, node);
        if (t->store != NULL && t->store->has_server) {
            any = true;
            talk_tick(t, now_ns);
        }
    }
    if (any) {
        vv_loop_timer_at(loop, timer, vv_loop_now(loop) + TICK_NS);
    }
}

/* ---- what is said about it ---- */

void vv_sharing_collect(struct vv_sharing *sh, struct vv_collect *c)
{
    VV_LIST_EACH (it, &sh->talks) {
        const struct talk *t = VV_LIST_ENTRY(it, struct talk, node);
        const struct vv_str name = vv_str_from(t->name);
        const struct vv_str ok[] = {name, VV_STR("ok")}, lost[] = {name, VV_STR("lost")};
        struct vv_shares_stats stats;
        if (t->store == NULL) {
            continue;
        }
        vv_shares_look(t->shares, &stats);
        vv_collect_value(c, VV_METRIC_LIMIT_SHARED, &name, 1, t->alone ? 0 : 1);
        vv_collect_value(c, VV_METRIC_LIMIT_GATEWAYS, &name, 1,
                         t->alone ? 1 : (double)stats.gateways);
        vv_collect_value(c, VV_METRIC_LIMIT_SHARED_KEYS, &name, 1, (double)stats.keys);
        vv_collect_value(c, VV_METRIC_LIMIT_UNTOLD, &name, 1, (double)stats.untold);
        vv_collect_value(c, VV_METRIC_LIMIT_EXCHANGES, ok, 2, (double)t->told);
        vv_collect_value(c, VV_METRIC_LIMIT_EXCHANGES, lost, 2, (double)t->lost);
    }
}

void vv_sharing_json(struct vv_sharing *sh, struct vv_json *j)
{
    VV_LIST_EACH (it, &sh->talks) {
        const struct talk *t = VV_LIST_ENTRY(it, struct talk, node);
        struct vv_shares_stats stats;
        if (t->store == NULL) {
            continue;
        }
        vv_shares_look(t->shares, &stats);
        vv_json_obj(j);
        vv_json_kcstr(j, "store", t->name);
        vv_json_kbool(j, "shared", !t->alone);
        vv_json_ku64(j, "gateways", t->alone ? 1 : stats.gateways);
        vv_json_ku64(j, "keys", stats.keys);
        vv_json_ku64(j, "untold", stats.untold);
        vv_json_ku64(j, "exchanges", t->told);
        vv_json_ku64(j, "lost", t->lost);
        vv_json_obj_end(j);
    }
}

unsigned vv_sharing_alone(const struct vv_sharing *sh)
{
    unsigned count = 0;
    VV_LIST_EACH (it, &sh->talks) {
        const struct talk *t = VV_LIST_ENTRY(it, struct talk, node);
        count += t->store != NULL && t->alone;
    }
    return count;
}
