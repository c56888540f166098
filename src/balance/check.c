/* src/balance/check.c - the clockwork of active checks. Kept apart from the probe so that every
 * moment at which a server changes state can be tested to the nanosecond. */
#include "balance/check.h"

void vv_check_init(struct vv_check *c, const struct vv_check_conf *conf, uint64_t now_ns,
                   uint64_t spread_ns)
{
    *c = (struct vv_check){
        .conf = conf, .began_ns = now_ns, .next_ns = now_ns + spread_ns, .up = true};
}

bool vv_check_due(struct vv_check *c, uint64_t now_ns)
{
    if (c->running || now_ns < c->next_ns) {
        return false;
    }
    c->running = true;
    c->probe_ns = now_ns;
    c->next_ns += c->conf->every_ns;
    if (c->next_ns <= now_ns) {
        c->next_ns = now_ns + c->conf->every_ns; /* a beat was missed: do not catch up in a burst */
    }
    return true;
}

bool vv_check_result(struct vv_check *c, bool ok, uint64_t now_ns)
{
    (void)now_ns;
    const bool was = c->up;
    c->running = false;
    if (ok) {
        c->passed_once = true;
        c->bad = 0;
        c->good += c->good < UINT32_MAX;
        c->up = c->up || c->good >= c->conf->passes;
    } else if (c->passed_once || c->probe_ns - c->began_ns >= c->conf->grace_ns) {
        c->good = 0;
        c->bad += c->bad < UINT32_MAX;
        c->up = c->up && c->bad < vv_max_u64(c->conf->fails, 1);
    }
    return c->up != was;
}
