/* src/balance/peak_ewma.c - lowest expected wait: latency times requests in flight, by weight.
 * Latency alone would send every worker to the same fastest server until it is the slowest; the
 * product has its own brake. Up to VV_SCAN_MAX servers all are compared, above that the better of
 * two draws. */
#include "balance/balance_int.h"

/* What an unknown server with requests out already counts as: nobody piles up on it before its
 * first answer says how fast it is. */
#define UNKNOWN_NS VV_SEC

/* Silence makes old news count less, so that a server that was slow once is asked again. Halving
 * per half-life, a straight line in between: at most 6 % off the exponential. */
static uint64_t faded(uint64_t ewma_ns, uint64_t idle_ns)
{
    if (idle_ns < VV_EWMA_HALF_NS / 64) {
        return ewma_ns;
    }
    const uint64_t halves = idle_ns / VV_EWMA_HALF_NS;
    if (halves > 40) {
        return 0;
    }
    const double part = (double)(idle_ns % VV_EWMA_HALF_NS) / (double)VV_EWMA_HALF_NS;
    return (uint64_t)((double)(ewma_ns >> halves) * (1.0 - part / 2.0));
}

static double cost(const struct vv_server *s, uint32_t load, uint32_t weight, uint64_t now_ns)
{
    const uint64_t ewma_ns = atomic_load_explicit(&s->ewma_ns, memory_order_relaxed);
    if (ewma_ns == 0) {
        return load == 0 ? 0 : (double)UNKNOWN_NS * ((double)load + 1) / (double)weight;
    }
    const uint64_t at_ns = atomic_load_explicit(&s->ewma_at_ns, memory_order_relaxed);
    const uint64_t ns = faded(ewma_ns, vv_since(at_ns, now_ns));
    return (double)ns * ((double)load + 1) / (double)weight;
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

size_t vv_pick_PEAK_EWMA(struct vv_picker *p, const struct vv_view *v)
{
    const size_t count = p->set->count;
    if (count > VV_SCAN_MAX) {
        const size_t drawn = better_of_two(p, v);
        if (drawn != VV_NOBODY) {
            return drawn;
        }
    }
    if (vv_scan(p, v) == 0) {
        return VV_NOBODY;
    }
    double least = 0;
    size_t best = VV_NOBODY;
    bool equals = false;
    for (size_t i = 0; i < count; i++) {
        if (p->effective[i] == 0) {
            continue;
        }
        const double one = cost(p->set->server[i], p->load[i], p->effective[i], v->how->now_ns);
        if (best == VV_NOBODY || one < least) {
            best = i;
            least = one;
            equals = false;
        } else if (one <= least) {
            equals = true;
        }
    }
    if (!equals) {
        return best;
    }
    /* Equals, as servers that nobody knows yet, in turn: or the first would get them all. */
    for (size_t i = 0; i < count; i++) {
        if (p->effective[i] != 0 &&
            cost(p->set->server[i], p->load[i], p->effective[i], v->how->now_ns) > least) {
            p->effective[i] = 0;
        }
    }
    return vv_next_in_turn(p, p->effective);
}
