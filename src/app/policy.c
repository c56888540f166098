/* src/app/policy.c - plain rules with plain numbers: an operator must be able to say beforehand what
 * they will do. */
#include "app/policy.h"

#include <stdio.h>

#define RESTART_QUICK_MAX 5
#define RESTART_LIFE_NS (10 * VV_SEC)
#define RESTART_FIRST_NS (100 * VV_MS)
#define RESTART_LONGEST_NS (10 * VV_SEC)

#define GUARD_REQUESTS_MIN 50
#define GUARD_SHARE_FACTOR 2
#define GUARD_SHARE_PPM (VV_PPM / 20) /* 5 points */
#define GUARD_P95_FACTOR 3
#define GUARD_P95_NS (50 * VV_MS)

uint64_t vv_restart_delay(struct vv_restart *r, uint64_t lived_ns)
{
    if (lived_ns >= RESTART_LIFE_NS) {
        r->quick = 0;
        return 0;
    }
    r->quick++;
    if (r->quick <= RESTART_QUICK_MAX) {
        return 0;
    }
    uint64_t delay_ns = RESTART_FIRST_NS;
    for (unsigned i = RESTART_QUICK_MAX + 1; i < r->quick && delay_ns < RESTART_LONGEST_NS; i++) {
        delay_ns *= 2;
    }
    return vv_min_u64(delay_ns, RESTART_LONGEST_NS);
}

static uint64_t share_ppm(const struct vv_guard_sample *s)
{
    return s->requests == 0 ? 0 : s->errors_5xx * VV_PPM / s->requests;
}

const char *vv_guard_judge(const struct vv_guard_sample *before,
                           const struct vv_guard_sample *since, char *buf, size_t buf_bytes)
{
    if (since->requests < GUARD_REQUESTS_MIN) {
        return NULL;
    }
    const uint64_t was = share_ppm(before);
    const uint64_t is = share_ppm(since);
    if (is > was * GUARD_SHARE_FACTOR && is > was + GUARD_SHARE_PPM) {
        (void)snprintf(buf, buf_bytes, "answers 5xx went from %.1f %% to %.1f %%",
                       (double)was / 10000.0, (double)is / 10000.0);
        return buf;
    }
    /* Without enough traffic before there is no latency to compare with. */
    if (before->requests >= GUARD_REQUESTS_MIN &&
        since->p95_ns > before->p95_ns * GUARD_P95_FACTOR &&
        since->p95_ns > before->p95_ns + GUARD_P95_NS) {
        (void)snprintf(buf, buf_bytes, "the 95th percentile went from %.1f ms to %.1f ms",
                       (double)before->p95_ns / 1e6, (double)since->p95_ns / 1e6);
        return buf;
    }
    return NULL;
}
