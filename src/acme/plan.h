/* src/acme/plan.h - when to order: at two thirds of life, later after failures, whatever the clock does.
 *
 * Model:     a certificate is due when two thirds of its life have passed, plus up to a thirtieth so that many
 *            gateways do not come at once. What has passed is counted from the moment it was issued by our
 *            own clock, so a clock that is wrong all the time does no harm. If the clock jumps:
 *              forwards   it is due now, once: the fresh one is counted from the new time;
 *              backwards  the monotonic clock still says when it is due.
 *            After a failure the pause doubles: from a tenth of `retry` when the authority was not
 *            there, up to 10 minutes; from `retry` when it refused, up to 12 hours; an hour at least when
 *            its limit is reached. The authority's own Retry-After is kept to, up to a week. A fifth
 *            of each pause is left to chance.
 * Units:     *_ns monotonic, *_wall_ns since 1970.
 * Threads:   one owner; pure. Ownership: a plain value.
 */
#ifndef VV_ACME_PLAN_H
#define VV_ACME_PLAN_H
#include "acme/order.h"
#include "base/rng.h"

struct vv_acme_plan {                 /* PRIVATE fields; zeroed: no certificate, due now */
    uint64_t renew_wall_ns, renew_ns; /* whichever comes first; 0: there is no certificate */
    uint64_t rest_until_ns;           /* not before, whatever the clock says */
    uint64_t retry_ns;                /* 0: nothing failed */
    uint64_t failures;
};

struct vv_acme_life {
    uint64_t not_before_wall_ns, not_after_wall_ns;
    uint64_t issued_wall_ns; /* by our clock; 0: unknown */
};
/* There is a certificate (again, another one). */
void vv_acme_plan_have(struct vv_acme_plan *p, const struct vv_acme_life *life, uint64_t wall_ns,
                       uint64_t now_ns, struct vv_rng *rng);
void vv_acme_plan_gone(struct vv_acme_plan *p); /* there is none: due, unless it failed lately */
/* We have just ordered it: failures are forgotten, and no clock makes us order again within a tenth of its
 * life (at most an hour). Call it after _have(). */
void vv_acme_plan_ordered(struct vv_acme_plan *p, const struct vv_acme_life *life, uint64_t now_ns);
void vv_acme_plan_failed(struct vv_acme_plan *p, const struct vv_acme_failure *f,
                         uint64_t retry_conf_ns, uint64_t now_ns, struct vv_rng *rng);
/* As another run or gateway left it; the wall clock may be wrong, so the wait is cut to 12 hours. */
void vv_acme_plan_remember(struct vv_acme_plan *p, uint64_t failures, uint64_t retry_wall_ns,
                           uint64_t wall_ns, uint64_t now_ns);
void vv_acme_plan_now(struct vv_acme_plan *p); /* somebody asks: forget all pauses */
bool vv_acme_plan_due(const struct vv_acme_plan *p, uint64_t wall_ns, uint64_t now_ns);
/* How long until it may be due, at most `most_ns`; 0: it is. */
uint64_t vv_acme_plan_wait(const struct vv_acme_plan *p, uint64_t wall_ns, uint64_t now_ns,
                           uint64_t most_ns);
/* Which authority of `count` is asked next: another one after three failures each. */
size_t vv_acme_plan_authority(const struct vv_acme_plan *p, size_t count);
#endif
