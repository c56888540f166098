/* src/app/policy.h - the two judgements of process life, free of processes: when to start a crashed
 * worker again, and whether a reload made things worse.
 *
 * Restart:   at once; after RESTART_QUICK_MAX crashes in a row that each came within 10 s of the
 *            start, after 100 ms, doubled each time, at most 10 s.
 * Guard:     the time after a reload is compared with the minute before it. Worse means: at least 50
 *            requests since, and a share of 5xx more than twice and more than 5 points higher, or a
 *            95th percentile more than 3 times and more than 50 ms higher.
 * Threads:   pure functions. Units: ns, ppm.
 */
#ifndef VV_APP_POLICY_H
#define VV_APP_POLICY_H
#include "base/defs.h"

struct vv_restart { /* zero-initialised */
    unsigned quick; /* short lives in a row */
};
/* A worker that lived `lived_ns` crashed: how long to wait before the next one starts. */
uint64_t vv_restart_delay(struct vv_restart *r, uint64_t lived_ns);

struct vv_guard_sample {
    uint64_t requests, errors_5xx, p95_ns;
};
/* NULL: not worse. Otherwise the reason, written into buf. */
const char *vv_guard_judge(const struct vv_guard_sample *before,
                           const struct vv_guard_sample *since, char *buf, size_t buf_bytes);
#endif
