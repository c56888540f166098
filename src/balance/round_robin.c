/* src/balance/round_robin.c - smooth weighted round robin (nginx): everybody gains its weight, the
 * richest is chosen and pays what all gained together. Over one period of the sum of the weights
 * each server is chosen exactly weight times, and its turns are spread evenly. */
#include "balance/balance_int.h"

size_t vv_next_in_turn(struct vv_picker *p, const uint32_t *among)
{
    size_t best = VV_NOBODY;
    int64_t total = 0;
    for (size_t i = 0; i < p->set->count; i++) {
        if (among[i] == 0) {
            continue;
        }
        p->turn[i] += among[i];
        total += among[i];
        if (best == VV_NOBODY || p->turn[i] > p->turn[best]) {
            best = i;
        }
    }
    if (best != VV_NOBODY) {
        p->turn[best] -= total;
    }
    return best;
}

size_t vv_pick_ROUND_ROBIN(struct vv_picker *p, const struct vv_view *v)
{
    return vv_scan(p, v) > 0 ? vv_next_in_turn(p, p->effective) : VV_NOBODY;
}
