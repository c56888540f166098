/* src/trace/otlp_retry.h - when a batch of spans is sent, sent again or given up.
 *
 * Model:     IDLE (nothing to send) -> SENDING -> IDLE, or WAITING -> SENDING ... -> IDLE. The caller
 *            sends what vv_otlp_retry_next() tells it to and reports what became of it.
 * Source:    OTLP specification: again only after 429, 502, 503, 504 and failed connections;
 *            Retry-After wins over the backoff; 400, 413 and the rest never.
 * Units:     monotonic nanoseconds.
 * Threads:   one owner; pure.
 */
#ifndef VV_TRACE_OTLP_RETRY_H
#define VV_TRACE_OTLP_RETRY_H
#include "base/rng.h"
#include "base/str.h"

struct vv_otlp_retry_conf {
    uint64_t first_ns, most_ns; /* backoff: doubles from first to most, half of it is chance */
    uint64_t give_up_ns;        /* since the batch was first sent */
    uint64_t after_max_ns;      /* Retry-After is believed up to here */
};
/* 1 s to 30 s, 5 minutes, Retry-After up to 2 minutes. */
void vv_otlp_retry_conf_default(struct vv_otlp_retry_conf *conf);

enum vv_otlp_state { VV_OTLP_IDLE, VV_OTLP_SENDING, VV_OTLP_WAITING };
enum vv_otlp_outcome {
    VV_OTLP_DONE,  /* the batch is over: delivered */
    VV_OTLP_AGAIN, /* keep it, ask vv_otlp_retry_due() */
    VV_OTLP_LOST   /* give it up (counted) */
};
struct vv_otlp_retry {
    const struct vv_otlp_retry_conf *conf; /* borrowed */
    enum vv_otlp_state state;
    uint64_t began_ns, due_ns;
    uint32_t tries;
    uint64_t delivered, retried, lost; /* batches, tries, batches */
};
void vv_otlp_retry_init(struct vv_otlp_retry *r, const struct vv_otlp_retry_conf *conf);
/* May the batch at the head be sent now? True moves to SENDING: report exactly once. */
bool vv_otlp_retry_next(struct vv_otlp_retry *r, uint64_t now_ns);
/* `status` 0: no answer came (refused, reset, timed out). `after`: Retry-After as it came, "": none;
 * `wall_s` is the time since 1970 for its date form. */
enum vv_otlp_outcome vv_otlp_retry_report(struct vv_otlp_retry *r, unsigned status,
                                          struct vv_str after, uint64_t wall_s, struct vv_rng *rng,
                                          uint64_t now_ns);
/* When to ask again; UINT64_MAX: nothing waits. */
uint64_t vv_otlp_retry_due(const struct vv_otlp_retry *r);
bool vv_otlp_status_again(unsigned status);
#endif
