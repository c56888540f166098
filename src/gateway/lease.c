/* src/gateway/lease.c - takes, awaits and gives back the lease of a key. */
#include "gateway/lease.h"
#include "gateway/levels_int.h"
#include "gateway/recall.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define PAUSE_NS (10 * VV_MS) /* the first; it doubles */
#define PAUSE_MAX_NS (80 * VV_MS)

/* Only who holds it gives it back: it may have ended by itself, and be another's now. */
static const char give_back[] =
    "if redis.call('GET',KEYS[1])==ARGV[1] then return redis.call('DEL',KEYS[1]) end return 0";

/* ---- giving back ---- */

struct giving {
    struct vv_redis_op op;
    struct vv_levels *levels;
    struct vv_str args[5];
    char number[24];
};

static void on_given(struct vv_redis_op *op, enum vv_err err)
{
    struct giving *g = VV_CONTAINER(op, struct giving, op);
    (void)err; /* it ends by itself */
    free((char *)(uintptr_t)g->op.key.p);
    vv_levels_unref(g->levels);
    free(g);
}

static void give(struct vv_levels *l, struct vv_worker *w, struct vv_str key, uint64_t id)
{
    struct giving *g = calloc(1, sizeof *g);
    if (g == NULL) {
        return;
    }
    const struct vv_level *level = &l->level[l->count - 1];
    struct vv_redis *redis = vv_store_client(w, level->store);
    snprintf(g->number, sizeof g->number, "%016" PRIx64, id);
    g->levels = vv_levels_ref(l);
    g->op = (struct vv_redis_op){.end = on_given, .args = g->args, .args_count = VV_COUNT(g->args)};
    g->op.key = vv_level_lease_name(l, level, key);
    g->args[0] = VV_STR("EVAL");
    g->args[1] = vv_str_from(give_back);
    g->args[2] = VV_STR("1");
    g->args[3] = g->op.key;
    g->args[4] = vv_str_from(g->number);
    if (redis == NULL || g->op.key.p == NULL || vv_redis_do(redis, &g->op) != VV_OK) {
        on_given(&g->op, VV_EREFUSED);
    }
}

void vv_lease_end(struct vv_exchange *x)
{
    struct vv_recall *r = x->recall;
    const uint64_t id = r->lease;
    r->lease = 0;
    if (id != 0) {
        give(r->plan->levels, x->w, r->key, id);
    }
}

/* ---- taking ---- */

struct vv_lease_try {
    struct vv_redis_op op;
    struct vv_timer timer;
    struct vv_worker *w;
    struct vv_levels *levels; /* whoever began keeps them */
    struct vv_exchange *x;
    void (*then)(void *user, enum vv_lease_result result);
    void *user;
    struct vv_str args[6];
    struct vv_str name;
    char number[24], lasts[24];
    uint64_t id, pause_ns;
    bool ours, asked, ended;
};

static void try_free(struct vv_lease_try *t)
{
    free((char *)(uintptr_t)t->name.p);
    free(t);
}

static void finish(struct vv_lease_try *t, enum vv_lease_result result)
{
    void (*then)(void *user, enum vv_lease_result result) = t->then;
    void *user = t->user;
    try_free(t);
    then(user, result);
}

static void on_item(struct vv_redis_op *op, const struct vv_resp_item *it)
{
    struct vv_lease_try *t = VV_CONTAINER(op, struct vv_lease_try, op);
    t->ours = it->type == VV_RESP_STATUS;
    t->asked = it->type != VV_RESP_NIL; /* an error is no lease: nobody waits */
}

static void on_pause(struct vv_loop *loop, struct vv_timer *timer)
{
    (void)loop;
    finish(VV_CONTAINER(timer, struct vv_lease_try, timer), VV_LEASE_OTHERS);
}

static void on_end(struct vv_redis_op *op, enum vv_err err)
{
    struct vv_lease_try *t = VV_CONTAINER(op, struct vv_lease_try, op);
    t->ended = true;
    if (err == VV_OK && !t->asked) {
        vv_loop_timer_at(t->w->loop, &t->timer, vv_worker_now(t->w) + t->pause_ns);
        return;
    }
    if (t->ours || (err != VV_OK && err != VV_EREFUSED)) { /* without an answer it may be ours */
        t->x->recall->lease = t->id;
    }
    finish(t, VV_LEASE_OURS);
}

static uint64_t pause_of(unsigned looks)
{
    return vv_min_u64(PAUSE_NS << vv_min_u64(looks, 8), PAUSE_MAX_NS);
}

struct vv_lease_try *vv_lease_begin(struct vv_levels *l, struct vv_exchange *x, unsigned looks,
                                    uint64_t since_ns,
                                    void (*then)(void *user, enum vv_lease_result result),
                                    void *user)
{
    const struct vv_level *level = &l->level[l->count - 1];
    struct vv_redis *redis = vv_store_client(x->w, level->store);
    if (redis == NULL || vv_worker_now(x->w) - since_ns >= l->lease_ns) {
        return NULL;
    }
    struct vv_lease_try *t = calloc(1, sizeof *t);
    if (t == NULL) {
        return NULL;
    }
    *t = (struct vv_lease_try){.w = x->w,
                               .levels = l,
                               .x = x,
                               .then = then,
                               .user = user,
                               .id = vv_rng_u64(&x->w->rng) | 1,
                               .pause_ns = pause_of(looks),
                               .name = vv_level_lease_name(l, level, x->recall->key)};
    vv_timer_init(&t->timer, on_pause);
    snprintf(t->number, sizeof t->number, "%016" PRIx64, t->id);
    snprintf(t->lasts, sizeof t->lasts, "%" PRIu64, vv_max_u64(l->lease_ns / VV_MS, 1));
    const struct vv_str args[] = {VV_STR("SET"), t->name,      vv_str_from(t->number),
                                  VV_STR("NX"),  VV_STR("PX"), vv_str_from(t->lasts)};
    memcpy(t->args, args, sizeof args);
    t->op = (struct vv_redis_op){.item = on_item,
                                 .end = on_end,
                                 .key = t->name,
                                 .args = t->args,
                                 .args_count = VV_COUNT(args)};
    if (t->name.p == NULL || vv_redis_do(redis, &t->op) != VV_OK) {
        try_free(t);
        return NULL;
    }
    return t;
}

void vv_lease_stop(struct vv_lease_try *t)
{
    if (t != NULL) {
        vv_redis_abandon(&t->op);
        if (!t->ended) { /* nobody hears the answer: were it ours, all would wait for its end */
            give(t->levels, t->w, t->x->recall->key, t->id);
        }
        vv_loop_timer_stop(t->w->loop, &t->timer);
        try_free(t);
    }
}
