/* src/balance/balance_int.h - what the files of balance/ share: service state, picker, the scan.
 *
 * Model:   state -> set -> servers; servers hold the state's memory (`held`), users hold its life
 *          (`refs`). When the last user leaves, the set goes, and with the last server the memory.
 * Threads: everything in vv_service_state but the atomics is under `lock`; a picker is one
 * thread's.
 */
#ifndef VV_BALANCE_BALANCE_INT_H
#define VV_BALANCE_BALANCE_INT_H
#include "balance/balance.h"
#include <pthread.h>

#define VV_EWMA_DECAY_NS (10 * VV_SEC) /* Finagle's default */
#define VV_EWMA_HALF_NS                                                                            \
    UINT64_C(6931471806) /* 10 s x ln 2: in this time an idle server's value halves */
#define VV_PLACES_MAX 64 /* most places that fast failures can hold */
#define VV_WEIGHT_MAX 1000
#define VV_WEIGHT_UNIT 1000 /* effective weights are thousandths, so that slow start has steps */
#define VV_SCAN_MAX 20      /* peak EWMA looks at every server up to this many */
#define VV_OUTLIER_EVERY_NS (10 * VV_SEC)
#define VV_EJECT_TIMES_MAX 10

struct vv_service_state {
    char *name;
    _Atomic uint32_t refs, held;
    _Atomic uint64_t generation; /* moves with every change of set or conf */
    _Atomic uint64_t panics;
    pthread_mutex_t lock;
    struct vv_service_conf conf;
    struct vv_server_set *set; /* NULL once the last user has left */
    uint64_t judge_ns;         /* control thread: when success rates are judged next */
};

struct vv_picker {
    struct vv_service_state *state;
    struct vv_server_set *set;
    struct vv_hash_ring *ring; /* the set's; NULL unless HASH */
    struct vv_service_conf conf;
    uint64_t generation;
    struct vv_rng rng;
    int64_t *turn;       /* per server: smooth round robin */
    uint64_t *sum;       /* per server: weights of all up to and with this one */
    uint32_t *effective; /* per server, of the last scan: weight in thousandths, 0: no candidate */
    uint32_t *load;      /* per server, of the last scan: places taken */
    double *cost;        /* per server, peak EWMA's */
};

struct vv_view { /* one pick, as the algorithms see it */
    const struct vv_pick *how;
    bool panic; /* EJECTED servers count as usable */
};

/* One per row of balancers.def: the index of the chosen server in p->set, or VV_NOBODY. */
#define VV_NOBODY SIZE_MAX
typedef size_t vv_pick_fn(struct vv_picker *p, const struct vv_view *v);
#define VV_BALANCER(id, name, doc) vv_pick_fn vv_pick_##id;
#include "balance/balancers.def"
#undef VV_BALANCER

struct vv_hash_ring *vv_hash_ring_new(const struct vv_server_set *set); /* NULL: no memory */
void vv_hash_ring_free(struct vv_hash_ring *ring);

/* Fills effective[] and load[] for all servers; returns the number of candidates. */
size_t vv_scan(struct vv_picker *p, const struct vv_view *v);
/* One server drawn by weight, not `but`; VV_NOBODY when a few draws found no candidate. */
size_t vv_draw(struct vv_picker *p, const struct vv_view *v, size_t but);
/* In turn by weight among the servers whose load for their weight is the least. Needs a scan. */
size_t vv_least_loaded(struct vv_picker *p);
/* In turn by weight among those with `among[i]` != 0. */
size_t vv_next_in_turn(struct vv_picker *p, const uint32_t *among);

/* server.c */
VV_MUST_CHECK enum vv_err vv_server_new(struct vv_service_state *s,
                                        const struct vv_server_spec *spec, bool name_is_shared,
                                        struct vv_server **ret);
void vv_service_state_release(struct vv_service_state *s); /* one `held` less */
/* Both under the service's lock. */
bool vv_server_eject_outlier(struct vv_server *s, uint64_t now_ns);
void vv_server_set_draining(struct vv_server *s, bool drain, uint64_t now_ns);
/* May the chosen server have this request? Takes the one probe of an ejected server whose time is
 * up, so that nobody else sends it another; when panicking every request is a probe. */
bool vv_server_claim(struct vv_server *s, bool panicking, uint64_t fail_timeout_ns,
                     uint64_t now_ns);

static inline uint64_t vv_since(uint64_t then_ns, uint64_t now_ns)
{
    return now_ns > then_ns ? now_ns - then_ns : 0; /* workers' coarse clocks differ a little */
}

/* Weight in thousandths with slow start applied; 0 when the server may not be used. */
static inline uint32_t vv_server_effective(const struct vv_server *s, uint64_t now_ns,
                                           uint64_t slow_start_ns, bool panic)
{
    const uint32_t state = atomic_load_explicit(&s->state, memory_order_acquire);
    if (VV_UNLIKELY(state != VV_SERVER_UP)) {
        if (state != VV_SERVER_EJECTED ||
            (!panic && now_ns < atomic_load_explicit(&s->ejected_until_ns, memory_order_relaxed))) {
            return 0;
        }
    }
    const uint32_t full = atomic_load_explicit(&s->weight, memory_order_relaxed) * VV_WEIGHT_UNIT;
    if (VV_LIKELY(slow_start_ns == 0)) {
        return full;
    }
    const uint64_t up_ns = atomic_load_explicit(&s->up_since_ns, memory_order_relaxed);
    const uint64_t age_ns = vv_since(up_ns, now_ns);
    if (up_ns == 0 || age_ns >= slow_start_ns) {
        return full;
    }
    const double share = 0.1 + 0.9 * (double)age_ns / (double)slow_start_ns;
    return (uint32_t)((double)full * share);
}

/* Requests in flight, and the places held by failures that came too fast. */
static inline uint32_t vv_server_load(const struct vv_server *s, uint64_t now_ns)
{
    const uint32_t busy = atomic_load_explicit(&s->in_flight, memory_order_relaxed);
    const uint64_t until_ns = atomic_load_explicit(&s->debt_until_ns, memory_order_relaxed);
    if (VV_LIKELY(until_ns <= now_ns)) {
        return busy;
    }
    const uint64_t mean_ns = atomic_load_explicit(&s->ewma_ns, memory_order_relaxed);
    const uint64_t held = 1 + (until_ns - now_ns) / vv_max_u64(mean_ns, 1);
    return busy + (uint32_t)vv_min_u64(held, VV_PLACES_MAX);
}

static inline bool vv_was_tried(const struct vv_pick *how, const struct vv_server *s)
{
    for (size_t i = 0; i < how->tried_count; i++) {
        if (how->tried[i] == s) {
            return true;
        }
    }
    return false;
}
#endif
