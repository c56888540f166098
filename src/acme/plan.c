/* src/acme/plan.c - sums of times, nothing else; every sum is kept from running over. */
#include "acme/plan.h"

#define UNREACHABLE_MAX_NS (10 * VV_MINUTE)
#define REFUSED_MAX_NS (12 * VV_HOUR)
#define LIMITED_MIN_NS VV_HOUR
#define AFTER_MAX_NS (7 * VV_DAY) /* more than a week is no advice */
#define DOUBLINGS_MAX 20
#define FAILURES_EACH 3
#define SPREAD 30 /* parts of life */

static uint64_t plus(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static uint64_t span(const struct vv_acme_life *l)
{
    return l->not_after_wall_ns > l->not_before_wall_ns
               ? l->not_after_wall_ns - l->not_before_wall_ns
               : 0;
}

void vv_acme_plan_have(struct vv_acme_plan *p, const struct vv_acme_life *life, uint64_t wall_ns,
                       uint64_t now_ns, struct vv_rng *rng)
{
    const uint64_t whole = span(life);
    /* an issue in the future was counted by a clock that was put right since */
    const bool known = life->issued_wall_ns > 0 && life->issued_wall_ns <= wall_ns;
    const uint64_t from = known ? life->issued_wall_ns : life->not_before_wall_ns;
    const uint64_t life_ns = whole / 3 * 2 + vv_rng_below(rng, whole / SPREAD + 1);
    p->renew_wall_ns = vv_max_u64(plus(from, life_ns), 1);
    p->renew_ns = plus(now_ns, p->renew_wall_ns > wall_ns ? p->renew_wall_ns - wall_ns : 0);
}

void vv_acme_plan_gone(struct vv_acme_plan *p)
{
    p->renew_wall_ns = p->renew_ns = 0;
    p->rest_until_ns = 0;
}

void vv_acme_plan_ordered(struct vv_acme_plan *p, const struct vv_acme_life *life, uint64_t now_ns)
{
    p->failures = 0;
    p->retry_ns = 0;
    p->rest_until_ns = plus(now_ns, vv_min_u64(span(life) / 10, VV_HOUR));
}

static uint64_t pause_of(uint64_t first_ns, uint64_t failures, uint64_t most_ns)
{
    const uint64_t times = vv_min_u64(failures - 1, DOUBLINGS_MAX);
    return vv_min_u64(vv_min_u64(first_ns, most_ns) << times, most_ns);
}

void vv_acme_plan_failed(struct vv_acme_plan *p, const struct vv_acme_failure *f,
                         uint64_t retry_conf_ns, uint64_t now_ns, struct vv_rng *rng)
{
    const bool there = f->fault == VV_ACME_REFUSED || f->fault == VV_ACME_LIMITED ||
                       f->fault == VV_ACME_UNACCEPTABLE;
    p->failures++;
    uint64_t pause = there ? pause_of(retry_conf_ns, p->failures, REFUSED_MAX_NS)
                           : pause_of(retry_conf_ns / 10, p->failures, UNREACHABLE_MAX_NS);
    if (f->fault == VV_ACME_LIMITED) {
        pause = vv_max_u64(pause, LIMITED_MIN_NS);
    }
    pause = vv_max_u64(pause, vv_min_u64(f->retry_after_ns, AFTER_MAX_NS));
    p->retry_ns = plus(now_ns, pause + vv_rng_below(rng, pause / 5 + 1));
}

void vv_acme_plan_remember(struct vv_acme_plan *p, uint64_t failures, uint64_t retry_wall_ns,
                           uint64_t wall_ns, uint64_t now_ns)
{
    p->failures = failures;
    p->retry_ns = 0;
    if (failures > 0 && retry_wall_ns > wall_ns) {
        p->retry_ns = now_ns + vv_min_u64(retry_wall_ns - wall_ns, REFUSED_MAX_NS);
    }
}

void vv_acme_plan_now(struct vv_acme_plan *p)
{
    p->renew_wall_ns = p->renew_ns = p->rest_until_ns = p->retry_ns = 0;
}

bool vv_acme_plan_due(const struct vv_acme_plan *p, uint64_t wall_ns, uint64_t now_ns)
{
    if (now_ns < p->retry_ns || now_ns < p->rest_until_ns) {
        return false;
    }
    return wall_ns >= p->renew_wall_ns || now_ns >= p->renew_ns;
}

uint64_t vv_acme_plan_wait(const struct vv_acme_plan *p, uint64_t wall_ns, uint64_t now_ns,
                           uint64_t most_ns)
{
    if (vv_acme_plan_due(p, wall_ns, now_ns)) {
        return 0;
    }
    uint64_t at = p->renew_ns;
    if (p->renew_wall_ns <= wall_ns) {
        at = 0;
    } else {
        at = vv_min_u64(at, plus(now_ns, p->renew_wall_ns - wall_ns));
    }
    at = vv_max_u64(vv_max_u64(at, p->retry_ns), p->rest_until_ns);
    return vv_min_u64(at > now_ns ? at - now_ns : 0, most_ns);
}

size_t vv_acme_plan_authority(const struct vv_acme_plan *p, size_t count)
{
    return count == 0 ? 0 : (size_t)(p->failures / FAILURES_EACH % count);
}
