/* src/balance/balance.c - pickers: one thread's view of a service, and the way of one pick.
 * Algorithms only say which server they like; whether it may have the request (probes, panic, tried
 * ones) is decided here, once for all of them. */
#include "balance/balance_int.h"

#include <stdlib.h>

#define CLAIMS_MAX 8       /* other workers may take a probe from under us this often */
#define START_STEPS_MAX 64 /* pickers begin at different turns */

static vv_pick_fn *const algorithms[VV_BALANCER_COUNT] = {
#define VV_BALANCER(id, name, doc) [VV_BALANCER_##id] = vv_pick_##id,
#include "balance/balancers.def"
#undef VV_BALANCER
};

static const char *const names[VV_BALANCER_COUNT] = {
#define VV_BALANCER(id, name, doc) [VV_BALANCER_##id] = name,
#include "balance/balancers.def"
#undef VV_BALANCER
};

const char *vv_balancer_name(enum vv_balancer b)
{
    VV_ASSERT((unsigned)b < VV_BALANCER_COUNT);
    return names[b];
}

/* Fresh turns; servers that were there before keep theirs, new ones wait for their turn to come. */
static int64_t *carry_turns(const struct vv_picker *p, const struct vv_server_set *set)
{
    int64_t *turn = calloc(set->count + 1, sizeof(*turn));
    for (size_t i = 0; turn != NULL && p->set != NULL && i < set->count; i++) {
        for (size_t k = 0; k < p->set->count; k++) {
            if (p->set->server[k] == set->server[i]) {
                turn[i] = p->turn[k];
            }
        }
    }
    return turn;
}

static void sum_weights(struct vv_picker *p)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < p->set->count; i++) {
        sum += atomic_load_explicit(&p->set->server[i]->weight, memory_order_relaxed);
        p->sum[i] = sum;
    }
}

/* Takes the state's present set and conf. On VV_ENOMEM the picker goes on with what it had. */
static VV_COLD enum vv_err catch_up(struct vv_picker *p)
{
    struct vv_server_set *set = vv_service_state_servers(p->state);
    int64_t *turn = carry_turns(p, set);
    uint64_t *sum = calloc(set->count + 1, sizeof(*sum));
    uint32_t *effective = calloc(set->count + 1, sizeof(*effective));
    uint32_t *load = calloc(set->count + 1, sizeof(*load));
    double *cost = calloc(set->count + 1, sizeof(*cost));
    if (turn == NULL || sum == NULL || effective == NULL || load == NULL || cost == NULL) {
        free(cost);
        free(turn);
        free(sum);
        free(effective);
        free(load);
        vv_server_set_unref(set);
        return VV_ENOMEM;
    }
    free(p->turn);
    free(p->sum);
    free(p->effective);
    free(p->load);
    free(p->cost);
    struct vv_server_set *old = p->set;
    p->turn = turn;
    p->sum = sum;
    p->effective = effective;
    p->load = load;
    p->cost = cost;
    p->set = set;
    pthread_mutex_lock(&p->state->lock);
    p->conf = p->state->conf;
    p->generation = atomic_load_explicit(&p->state->generation, memory_order_relaxed);
    if (p->state->set != set) {
        p->generation--; /* replaced meanwhile: come back at the next pick */
    }
    if (p->conf.balancer == VV_BALANCER_HASH && set->ring == NULL) {
        set->ring = vv_hash_ring_new(set);
    }
    p->ring = set->ring;
    pthread_mutex_unlock(&p->state->lock);
    sum_weights(p);
    vv_server_set_unref(old);
    return VV_OK;
}

enum vv_err vv_picker_new(struct vv_service_state *s, uint64_t seed, struct vv_picker **ret)
{
    struct vv_picker *p = calloc(1, sizeof(*p));
    if (p == NULL) {
        return VV_ENOMEM;
    }
    p->state = s;
    vv_rng_init(&p->rng, seed);
    const enum vv_err err = catch_up(p);
    if (err != VV_OK) {
        free(p);
        return err;
    }
    vv_service_state_ref(s);
    /* Workers that all began with the first server would send their first requests there together.
     */
    const uint64_t steps = vv_rng_below(&p->rng, START_STEPS_MAX);
    for (size_t i = 0; i < p->set->count; i++) {
        p->effective[i] = vv_server_effective(p->set->server[i], 0, 0, true);
    }
    for (uint64_t i = 0; i < steps; i++) {
        (void)vv_next_in_turn(p, p->effective);
    }
    *ret = p;
    return VV_OK;
}

void vv_picker_free(struct vv_picker *p)
{
    if (p == NULL) {
        return;
    }
    vv_server_set_unref(p->set);
    vv_service_state_unref(p->state);
    free(p->turn);
    free(p->sum);
    free(p->effective);
    free(p->load);
    free(p->cost);
    free(p);
}

size_t vv_scan(struct vv_picker *p, const struct vv_view *v)
{
    size_t candidates = 0;
    const uint64_t now_ns = v->how->now_ns;
    for (size_t i = 0; i < p->set->count; i++) {
        const struct vv_server *s = p->set->server[i];
        uint32_t weight = vv_server_effective(s, now_ns, p->conf.slow_start_ns, v->panic);
        if (VV_UNLIKELY(v->how->tried_count > 0) && vv_was_tried(v->how, s)) {
            weight = 0;
        }
        p->effective[i] = weight;
        p->load[i] = vv_server_load(s, now_ns);
        candidates += weight != 0;
    }
    return candidates;
}

static bool anyone_usable(const struct vv_picker *p, uint64_t now_ns)
{
    for (size_t i = 0; i < p->set->count; i++) {
        if (vv_server_usable(p->set->server[i], now_ns)) {
            return true;
        }
    }
    return false;
}

/* The server that a cookie names. */
static size_t find_sticky(const struct vv_picker *p, const struct vv_pick *how)
{
    for (size_t i = 0; i < p->set->count; i++) {
        const struct vv_server *s = p->set->server[i];
        if (s->index_hash == how->key && vv_server_usable(s, how->now_ns) &&
            !vv_was_tried(how, s)) {
            return i;
        }
    }
    return VV_NOBODY;
}

static size_t choose(struct vv_picker *p, const struct vv_view *v)
{
    if (v->how->sticky && !v->panic) {
        const size_t i = find_sticky(p, v->how);
        if (i != VV_NOBODY) {
            return i;
        }
    }
    return algorithms[p->conf.balancer](p, v);
}

enum vv_err vv_balance_pick(struct vv_picker *p, const struct vv_pick *how,
                            struct vv_server **ret_server)
{
    struct vv_view v = {.how = how, .panic = false};
    if (VV_UNLIKELY(atomic_load_explicit(&p->state->generation, memory_order_acquire) !=
                    p->generation)) {
        (void)catch_up(p); /* without memory the old set still serves */
    }
    for (unsigned attempt = 0; attempt < CLAIMS_MAX; attempt++) {
        const size_t i = choose(p, &v);
        if (VV_UNLIKELY(i == VV_NOBODY)) {
            if (v.panic || anyone_usable(p, how->now_ns)) {
                return VV_ENOENT;
            }
            v.panic = true;
            continue;
        }
        struct vv_server *s = p->set->server[i];
        if (VV_LIKELY(vv_server_claim(s, v.panic, p->conf.fail_timeout_ns, how->now_ns))) {
            atomic_fetch_add_explicit(&s->in_flight, 1, memory_order_relaxed);
            vv_server_ref(s);
            *ret_server = s;
            return VV_OK;
        }
    }
    return VV_ENOENT;
}
