/* src/balance/random_two.c - the less busy of two drawn at random by weight (M. Mitzenmacher, The
 * Power of Two Choices, 2001). Costs the same for ten servers and for ten thousand: draws look at a
 * table of running sums, and only when they keep meeting servers that are out are all servers
 * looked at. */
#include "balance/balance_int.h"

#define DRAWS_MAX 8

/* The server in whose share of the whole `at` falls. */
static size_t owner(const struct vv_picker *p, uint64_t at)
{
    size_t low = 0;
    size_t high = p->set->count - 1;
    while (low < high) {
        const size_t mid = low + (high - low) / 2;
        if (at < p->sum[mid]) {
            high = mid;
        } else {
            low = mid + 1;
        }
    }
    return low;
}

size_t vv_draw(struct vv_picker *p, const struct vv_view *v, size_t but)
{
    const size_t count = p->set->count;
    for (unsigned i = 0; count > 0 && i < DRAWS_MAX; i++) {
        const size_t at = owner(p, vv_rng_below(&p->rng, p->sum[count - 1]));
        const struct vv_server *s = p->set->server[at];
        if (at == but || (v->how->tried_count > 0 && vv_was_tried(v->how, s))) {
            continue;
        }
        const uint32_t weight =
            vv_server_effective(s, v->how->now_ns, p->conf.slow_start_ns, v->panic);
        const uint32_t full =
            atomic_load_explicit(&s->weight, memory_order_relaxed) * VV_WEIGHT_UNIT;
        if (weight >= full || vv_rng_below(&p->rng, full) < weight) {
            return at; /* one that warms up is taken as rarely as its present weight says */
        }
    }
    return VV_NOBODY;
}

size_t vv_pick_RANDOM_TWO(struct vv_picker *p, const struct vv_view *v)
{
    const size_t one = vv_draw(p, v, VV_NOBODY);
    if (one == VV_NOBODY) {
        return vv_scan(p, v) > 0 ? vv_least_loaded(p) : VV_NOBODY;
    }
    const size_t two = vv_draw(p, v, one);
    if (two == VV_NOBODY) {
        return one;
    }
    const struct vv_server *a = p->set->server[one];
    const struct vv_server *b = p->set->server[two];
    const uint64_t a_weight = atomic_load_explicit(&a->weight, memory_order_relaxed);
    const uint64_t b_weight = atomic_load_explicit(&b->weight, memory_order_relaxed);
    return vv_server_load(b, v->how->now_ns) * a_weight <
                   vv_server_load(a, v->how->now_ns) * b_weight
               ? two
               : one;
}
