/* src/gateway/lease.h - one fetch for all gateways that share a cache: `share: {lease: 2s}`.
 *
 * Model:     before it asks the origin, a leader whom no level could help takes the lease of the key in the
 *            last level: SET NOTHING-THERE PX lease, with a number of its own. Who gets it asks the origin
 *            and gives it back when its answer is written. Who does not, looks into the levels again after a
 *            short pause that doubles, until something is there, the lease is free, or it has waited for as
 *            long as a lease lasts; then it asks the origin, too. A lease that nobody gives back ends by
 *            itself. Where the store does not answer there is no lease, and nothing waits for one.
 * Threads:   the exchange's worker. Ownership: a try is its own; it ends by itself or with vv_lease_stop().
 */
#ifndef VV_GATEWAY_LEASE_H
#define VV_GATEWAY_LEASE_H
#include "gateway/levels.h"

struct vv_lease_try;
enum vv_lease_result {
    VV_LEASE_OURS,  /* or there is none: ask the origin */
    VV_LEASE_OTHERS /* look again: the pause is over */
};
/* then() runs later, once; NULL: it could not begin, ask the origin. since_ns: when x began to wait; the
 * number of the lease is put into x->recall->lease. */
struct vv_lease_try *vv_lease_begin(struct vv_levels *l, struct vv_exchange *x, unsigned looks,
                                    uint64_t since_ns,
                                    void (*then)(void *user, enum vv_lease_result result),
                                    void *user);
void vv_lease_stop(struct vv_lease_try *t); /* then() will not run; NULL is fine */
/* The exchange ends: gives back what it holds. */
void vv_lease_end(struct vv_exchange *x);
#endif
