/* src/balance/least_conn.c - fewest requests in flight for the weight; equals take turns by weight.
 *
 * The measure is in_flight / weight as in nginx, not (in_flight + 1) / weight: with the latter an
 * idle server of weight 2 would never be asked while one of weight 3 is idle too. As it is,
 * requests one after the other find everybody idle, and the turns share them exactly by weight. */
#include "balance/balance_int.h"

size_t vv_least_loaded(struct vv_picker *p)
{
    const size_t count = p->set->count;
    size_t best = VV_NOBODY;
    size_t equals = 0;
    for (size_t i = 0; i < count; i++) {
        if (p->effective[i] == 0) {
            continue;
        }
        /* load[i] / weight[i] against load[best] / weight[best], without dividing */
        const uint64_t mine = best == VV_NOBODY ? 0 : (uint64_t)p->load[i] * p->effective[best];
        const uint64_t least = best == VV_NOBODY ? 1 : (uint64_t)p->load[best] * p->effective[i];
        if (mine < least) {
            best = i;
            equals = 1;
        } else if (mine == least) {
            equals++;
        }
    }
    if (equals < 2) {
        return best;
    }
    const uint64_t best_load = p->load[best];
    const uint64_t best_weight = p->effective[best];
    for (size_t i = 0; i < count; i++) {
        if (p->load[i] * best_weight != best_load * p->effective[i]) {
            p->effective[i] = 0;
        }
    }
    return vv_next_in_turn(p, p->effective);
}

size_t vv_pick_LEAST_CONN(struct vv_picker *p, const struct vv_view *v)
{
    return vv_scan(p, v) > 0 ? vv_least_loaded(p) : VV_NOBODY;
}
