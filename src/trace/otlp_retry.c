/* src/trace/otlp_retry.c - three states, two edges back to IDLE. Chance in the waits keeps gateways that
 * lost the same receiver from coming back in one wave. */
#include "trace/otlp_retry.h"

#include "wire/date.h"

void vv_otlp_retry_conf_default(struct vv_otlp_retry_conf *conf)
{
    *conf = (struct vv_otlp_retry_conf){.first_ns = VV_SEC,
                                        .most_ns = 30 * VV_SEC,
                                        .give_up_ns = 5 * VV_MINUTE,
                                        .after_max_ns = 2 * VV_MINUTE};
}

void vv_otlp_retry_init(struct vv_otlp_retry *r, const struct vv_otlp_retry_conf *conf)
{
    *r = (struct vv_otlp_retry){.conf = conf, .state = VV_OTLP_IDLE};
}

bool vv_otlp_status_again(unsigned status)
{
    return status == 0 || status == 429 || status == 502 || status == 503 || status == 504;
}

bool vv_otlp_retry_next(struct vv_otlp_retry *r, uint64_t now_ns)
{
    if (r->state == VV_OTLP_SENDING || (r->state == VV_OTLP_WAITING && now_ns < r->due_ns)) {
        return false;
    }
    if (r->state == VV_OTLP_IDLE) {
        r->began_ns = now_ns;
        r->tries = 0;
    } else {
        r->retried++;
    }
    r->tries++;
    r->state = VV_OTLP_SENDING;
    return true;
}

/* Seconds, or a date. False: neither. */
static bool read_after(struct vv_str after, uint64_t wall_s, uint64_t *ret_ns)
{
    int64_t at;
    uint64_t s;
    after = vv_str_trim(after);
    if (after.n == 0) {
        return false;
    }
    if (vv_str_to_u64(after, &s) != 0) {
        if (vv_http_date_parse(after, (int64_t)wall_s, &at) != VV_OK) {
            return false;
        }
        s = at > 0 && (uint64_t)at > wall_s ? (uint64_t)at - wall_s : 0;
    }
    *ret_ns = vv_min_u64(s, UINT64_MAX / VV_SEC) * VV_SEC;
    return true;
}

static uint64_t backoff(const struct vv_otlp_retry *r, struct vv_rng *rng)
{
    uint64_t ns = r->conf->first_ns;
    for (uint32_t i = 1; i < r->tries && ns < r->conf->most_ns; i++) {
        ns *= 2;
    }
    ns = vv_min_u64(ns, r->conf->most_ns);
    return ns - vv_rng_below(rng, ns / 2 + 1);
}

enum vv_otlp_outcome vv_otlp_retry_report(struct vv_otlp_retry *r, unsigned status,
                                          struct vv_str after, uint64_t wall_s, struct vv_rng *rng,
                                          uint64_t now_ns)
{
    uint64_t wait_ns;
    VV_ASSERT(r->state == VV_OTLP_SENDING);
    r->state = VV_OTLP_IDLE;
    if (status >= 200 && status < 300) {
        r->delivered++;
        return VV_OTLP_DONE;
    }
    if (!vv_otlp_status_again(status)) {
        r->lost++;
        return VV_OTLP_LOST;
    }
    if (read_after(after, wall_s, &wait_ns)) {
        wait_ns = vv_min_u64(wait_ns, r->conf->after_max_ns);
    } else {
        wait_ns = backoff(r, rng);
    }
    if (now_ns - r->began_ns + wait_ns > r->conf->give_up_ns) {
        r->lost++;
        return VV_OTLP_LOST;
    }
    r->state = VV_OTLP_WAITING;
    r->due_ns = now_ns + wait_ns;
    return VV_OTLP_AGAIN;
}

uint64_t vv_otlp_retry_due(const struct vv_otlp_retry *r)
{
    return r->state == VV_OTLP_WAITING ? r->due_ns : UINT64_MAX;
}
