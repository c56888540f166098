/* src/gateway/pace.c - an account of time instead of a rate over windows: two words for a connection, nothing to
 * do while it waits, and the moment at which it will be too slow is known ahead, so one timer is enough. */
#include "gateway/pace.h"

#define GRACE_MAX_NS (365 * VV_DAY) /* keeps the sums far from the ends of 64 bits */

static int64_t grace(const struct vv_pace_conf *c)
{
    return (int64_t)vv_min_u64(c->grace_ns, GRACE_MAX_NS);
}

/* How long the bytes may take at the least rate, no more than twice the grace: more is never kept. */
static int64_t worth(const struct vv_pace_conf *c, uint64_t bytes)
{
    const uint64_t most = 2 * (uint64_t)grace(c);
    if (bytes > UINT64_MAX / VV_SEC) {
        return (int64_t)most;
    }
    return (int64_t)vv_min_u64(bytes * VV_SEC / c->bytes_min, most);
}

void vv_pace_owe(struct vv_pace *p, uint64_t now_ns)
{
    if (p->since_ns == 0) {
        p->since_ns = now_ns;
    }
}

void vv_pace_pay(struct vv_pace *p, const struct vv_pace_conf *c, uint64_t bytes, uint64_t now_ns)
{
    if (c->bytes_min == 0) {
        *p = (struct vv_pace){0};
        return;
    }
    if (p->since_ns != 0 && now_ns > p->since_ns) {
        p->spent_ns += (int64_t)vv_min_u64(now_ns - p->since_ns, GRACE_MAX_NS);
    }
    p->since_ns = 0;
    if (p->spent_ns > 2 * grace(c)) { /* the grace has become shorter, or nobody looked in time */
        p->spent_ns = 2 * grace(c);
    }
    p->spent_ns -= worth(c, bytes);
    if (p->spent_ns < -grace(c)) {
        p->spent_ns = -grace(c);
    }
}

uint64_t vv_pace_due(const struct vv_pace *p, const struct vv_pace_conf *c)
{
    if (c->bytes_min == 0 || p->since_ns == 0) {
        return UINT64_MAX;
    }
    const int64_t left = grace(c) - p->spent_ns;
    return left > 0 ? p->since_ns + (uint64_t)left : p->since_ns;
}
