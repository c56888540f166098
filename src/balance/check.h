/* src/balance/check.h - when to probe a server and what the results mean; the probe itself is
 * gateway's.
 *
 * Model:   every `every_ns` one probe, at most timeout_ns long; `fails` bad ones in a row take the
 *          server down, `passes` good ones in a row bring it back. During `grace_ns` after the
 * start failures do not count (a first success ends the grace). A server that never answered is
 *          taken as up until fails are counted. Probes keep a fixed beat from the first one; one
 * that is still running when the next is due delays it. Whether a failure falls into the grace is
 * judged by when its probe began, as Docker does. Pure: time comes in. Threads: control thread.
 */
#ifndef VV_BALANCE_CHECK_H
#define VV_BALANCE_CHECK_H
#include "base/defs.h"

struct vv_check_conf { /* every field 8 bytes */
    uint64_t enabled;
    uint64_t every_ns, timeout_ns, fails, passes, grace_ns;
};
struct vv_check { /* PRIVATE fields, embedded by the caller */
    const struct vv_check_conf *conf;
    uint64_t began_ns, next_ns, probe_ns;
    uint32_t bad, good;
    bool up, passed_once, running;
};
void vv_check_init(
    struct vv_check *c, const struct vv_check_conf *conf, uint64_t now_ns,
    uint64_t spread_ns); /* spread: delays the first probe so that servers are not in step */
bool vv_check_due(struct vv_check *c, uint64_t now_ns); /* true: start a probe now */
/* Returns true when the state changed; the new state is c->up. */
bool vv_check_result(struct vv_check *c, bool ok, uint64_t now_ns);
#endif
