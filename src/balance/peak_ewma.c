/* src/balance/peak_ewma.c - lowest expected wait: latency times requests in flight, by weight.
 * Latency alone would send every worker to the same fastest server until it is the slowest; the
 * product has its own brake. Up to VV_SCAN_MAX servers all are compared, above that the better of
 * two draws. */
#include "balance/balance_int.h"

#include <math.h>

/* What an unknown server with requests out already counts as: nobody piles up on it before its
 * first answer says how fast it is. */
#define UNKNOWN_NS VV_SEC

/* Silence makes old news count less, so that a server that was slow once is asked again. Halving
 * per half-life, a straight line in between: at most 6 % off the exponential. */
static inline double faded(uint64_t ewma_ns, uint64_t idle_ns)
{
    const double idle = (double)(int64_t)idle_ns * (1.0 / (double)VV_EWMA_HALF_NS);
    if (VV_LIKELY(idle < 1.0)) {
        return (double)(int64_t)ewma_ns * (1.0 - idle / 2.0);
    }
    const uint64_t halves = idle_ns / VV_EWMA_HALF_NS;
    if (halves > 40) {
        return 0;
    }
    const double part = idle - (double)halves;
    return (double)(ewma_ns >> halves) * (1.0 - part / 2.0);
}

/* `weight` in any unit, the same for all that are compared. */
static inline double cost(const struct vv_server *s, uint32_t load, uint32_t weight,
                          uint64_t now_ns)
{
    const uint64_t ewma_ns = atomic_load_explicit(&s->ewma_ns, memory_order_relaxed);
    if (VV_UNLIKELY(ewma_ns == 0)) {
        return load == 0 ? 0 : (double)UNKNOWN_NS * ((double)load + 1) / (double)weight;
    }
    const uint64_t at_ns = atomic_load_explicit(&s->ewma_at_ns, memory_order_relaxed);
    return faded(ewma_ns, vv_since(at_ns, now_ns)) * ((double)load + 1) / (double)weight;
}

static size_t better_of_two(struct vv_picker *p, const struct vv_view *v)
{
    const uint64_t now_ns = v->how->now_ns;
    const size_t one = vv_draw(p, v, VV_NOBODY);
    const size_t two = one == VV_NOBODY ? VV_NOBODY : vv_draw(p, v, one);
    if (two == VV_NOBODY) {
        return one;
    }
    const struct vv_server *a = p->set->server[one];
    const struct vv_server *b = p->set->server[two];
    const double a_cost = cost(a, vv_server_load(a, now_ns),
                               atomic_load_explicit(&a->weight, memory_order_relaxed), now_ns);
    const double b_cost = cost(b, vv_server_load(b, now_ns),
                               atomic_load_explicit(&b->weight, memory_order_relaxed), now_ns);
    return b_cost < a_cost ? two : one;
}

/* Costs first, then the least of them without a branch: which is least is a coin toss every time, and
 * a wrong guess of the processor costs more than the sums. */
static size_t best_of_all(struct vv_picker *p, uint64_t now_ns)
{
    const size_t count = p->set->count;
    double least = INFINITY;
    size_t equals = 0;
    size_t best = VV_NOBODY;
    for (size_t i = 0; i < count; i++) {
        p->cost[i] = p->effective[i] == 0
                         ? INFINITY
                         : cost(p->set->server[i], p->load[i], p->effective[i], now_ns);
    }
    for (size_t i = 0; i < count; i++) {
        best = p->cost[i] < least ? i : best;
        least = p->cost[i] < least ? p->cost[i] : least;
    }
    for (size_t i = 0; i < count; i++) {
        equals += p->cost[i] <= least;
    }
    if (VV_LIKELY(equals < 2)) {
        return best;
    }
    /* Equals, as servers that nobody knows yet, in turn: or the first would get them all. */
    for (size_t i = 0; i < count; i++) {
        p->effective[i] = p->cost[i] <= least ? p->effective[i] : 0;
    }
    return vv_next_in_turn(p, p->effective);
}

size_t vv_pick_PEAK_EWMA(struct vv_picker *p, const struct vv_view *v)
{
    if (p->set->count > VV_SCAN_MAX) {
        const size_t drawn = better_of_two(p, v);
        if (drawn != VV_NOBODY) {
            return drawn;
        }
    }
    return vv_scan(p, v) > 0 ? best_of_all(p, v->how->now_ns) : VV_NOBODY;
}
