/* src/guard/budget.c - two sliding counts instead of tokens: "at most this share of the last ten
 * seconds" is what is promised, so it is what is tested. Taking is locked because test and charge
 * must be one; it happens for failures only, and its cost is nothing beside theirs. */
#include "guard/budget.h"

#include "guard/latency.h"
#include "guard/slices.h"

#include <pthread.h>
#include <stdlib.h>

#define WINDOW_MIN_NS (10 * VV_MS)
#define PERIOD_MIN_NS (100 * VV_MS)
#define REFRESHES 20 /* of the delay in a period */
#define FLOOR_MAX UINT64_C(1000000)

struct vv_budget {
    pthread_mutex_t lock; /* over conf and taking */
    struct vv_budget_conf conf;
    _Atomic uint64_t slice_ns;
    struct vv_slices requests, again;
    uint64_t granted, refused;
};

enum vv_err vv_budget_conf_set(struct vv_budget *b, const struct vv_budget_conf *conf)
{
    if (conf->window_ns < WINDOW_MIN_NS || conf->window_ns > VV_HOUR ||
        conf->share_ppm > 10 * VV_PPM || conf->floor_per_s > FLOOR_MAX) {
        return VV_EINVAL;
    }
    pthread_mutex_lock(&b->lock);
    if (b->conf.window_ns != conf->window_ns) {
        vv_slices_clear(&b->requests);
        vv_slices_clear(&b->again);
    }
    b->conf = *conf;
    atomic_store_explicit(&b->slice_ns, conf->window_ns / VV_SLICES, memory_order_relaxed);
    pthread_mutex_unlock(&b->lock);
    return VV_OK;
}

enum vv_err vv_budget_new(const struct vv_budget_conf *conf, struct vv_budget **ret)
{
    struct vv_budget *b = calloc(1, sizeof(*b));
    if (b == NULL) {
        return VV_ENOMEM;
    }
    pthread_mutex_init(&b->lock, NULL);
    const enum vv_err err = vv_budget_conf_set(b, conf);
    if (err != VV_OK) {
        vv_budget_free(b);
        return err;
    }
    *ret = b;
    return VV_OK;
}

void vv_budget_free(struct vv_budget *b)
{
    if (b != NULL) {
        pthread_mutex_destroy(&b->lock);
        free(b);
    }
}

void vv_budget_deposit(struct vv_budget *b, uint64_t now_ns)
{
    const uint64_t slice_ns = atomic_load_explicit(&b->slice_ns, memory_order_relaxed);
    vv_slices_add(&b->requests, slice_ns, now_ns, 1);
}

bool vv_budget_take(struct vv_budget *b, uint64_t now_ns)
{
    pthread_mutex_lock(&b->lock);
    const uint64_t slice_ns = b->conf.window_ns / VV_SLICES;
    const uint64_t requests = vv_slices_sum(&b->requests, slice_ns, now_ns);
    const uint64_t again = vv_slices_sum(&b->again, slice_ns, now_ns);
    const uint64_t allowed = requests * b->conf.share_ppm / VV_PPM +
                             b->conf.floor_per_s * (b->conf.window_ns / VV_MS) / 1000;
    const bool granted = again < allowed;
    if (granted) {
        vv_slices_add(&b->again, slice_ns, now_ns, 1);
        b->granted++;
    } else {
        b->refused++;
    }
    pthread_mutex_unlock(&b->lock);
    return granted;
}

void vv_budget_look(struct vv_budget *b, uint64_t now_ns, struct vv_budget_view *ret)
{
    pthread_mutex_lock(&b->lock);
    const uint64_t slice_ns = b->conf.window_ns / VV_SLICES;
    *ret = (struct vv_budget_view){.requests = vv_slices_sum(&b->requests, slice_ns, now_ns),
                                   .again = vv_slices_sum(&b->again, slice_ns, now_ns),
                                   .granted = b->granted,
                                   .refused = b->refused};
    pthread_mutex_unlock(&b->lock);
}

uint64_t vv_backoff_ns(struct vv_rng *rng, uint32_t retry, uint64_t base_ns, uint64_t cap_ns)
{
    uint64_t most_ns = vv_min_u64(base_ns, cap_ns);
    for (uint32_t i = 0; i < retry && most_ns > 0 && most_ns < cap_ns; i++) {
        most_ns = most_ns > cap_ns / 2 ? cap_ns : most_ns * 2;
    }
    return most_ns == UINT64_MAX ? vv_rng_u64(rng) : vv_rng_below(rng, most_ns + 1);
}

struct vv_hedge {
    struct vv_hedge_conf conf;
    struct vv_latency seen;
    _Atomic uint64_t delay_ns;
    _Atomic uint64_t refresh_ns; /* when; whoever moves it does it */
    uint64_t refreshes;          /* the winner's */
    pthread_mutex_t lock;        /* over conf and refreshes; answers only ever try it */
};

static bool hedge_good(const struct vv_hedge_conf *c)
{
    return c->quantile_ppm < VV_PPM && c->samples_min > 0 && c->min_ns <= c->max_ns &&
           c->period_ns >= PERIOD_MIN_NS;
}

enum vv_err vv_hedge_conf_set(struct vv_hedge *h, const struct vv_hedge_conf *conf)
{
    if (!hedge_good(conf)) {
        return VV_EINVAL;
    }
    pthread_mutex_lock(&h->lock);
    h->conf = *conf;
    atomic_store_explicit(&h->refresh_ns, 0, memory_order_relaxed);
    pthread_mutex_unlock(&h->lock);
    return VV_OK;
}

enum vv_err vv_hedge_new(const struct vv_hedge_conf *conf, struct vv_hedge **ret)
{
    if (!hedge_good(conf)) {
        return VV_EINVAL;
    }
    struct vv_hedge *h = calloc(1, sizeof(*h));
    if (h == NULL) {
        return VV_ENOMEM;
    }
    h->conf = *conf;
    atomic_init(&h->delay_ns, UINT64_MAX);
    pthread_mutex_init(&h->lock, NULL);
    *ret = h;
    return VV_OK;
}

void vv_hedge_free(struct vv_hedge *h)
{
    if (h != NULL) {
        pthread_mutex_destroy(&h->lock);
        free(h);
    }
}

/* Who finds the lock taken leaves it: somebody else is at it. */
static void refresh(struct vv_hedge *h, uint64_t now_ns)
{
    uint64_t count = 0;
    if (pthread_mutex_trylock(&h->lock) != 0) {
        return;
    }
    const uint64_t q_ns = vv_latency_quantile(&h->seen, h->conf.quantile_ppm, &count);
    const uint64_t delay_ns = vv_min_u64(vv_max_u64(q_ns, h->conf.min_ns), h->conf.max_ns);
    atomic_store_explicit(&h->delay_ns, count >= h->conf.samples_min ? delay_ns : UINT64_MAX,
                          memory_order_relaxed);
    if (++h->refreshes % REFRESHES == 0) {
        vv_latency_turn(&h->seen);
    }
    atomic_store_explicit(&h->refresh_ns, now_ns + h->conf.period_ns / REFRESHES,
                          memory_order_relaxed);
    pthread_mutex_unlock(&h->lock);
}

void vv_hedge_observe(struct vv_hedge *h, uint64_t now_ns, uint64_t took_ns)
{
    vv_latency_add(&h->seen, took_ns);
    if (now_ns >= atomic_load_explicit(&h->refresh_ns, memory_order_relaxed)) {
        refresh(h, now_ns);
    }
}

uint64_t vv_hedge_delay_ns(const struct vv_hedge *h)
{
    return atomic_load_explicit(&h->delay_ns, memory_order_relaxed);
}
