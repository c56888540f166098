/* src/gateway/answer_more.h - fields of an answer that only some answers have: what limits say, what is
 * missing in it, where its time went.
 *
 * Model:     RateLimit-Policy, RateLimit, X-RateLimit-* of limited requests; Degraded where the answer is
 *            not the real thing; Server-Timing (W3C) on routes that ask for it, with what is known when
 *            the head leaves: queue (waiting for a place at the service), upstream (until its first byte,
 *            all attempts), cache (what it did). Milliseconds.
 * Threads:   one worker.
 */
#ifndef VV_GATEWAY_ANSWER_MORE_H
#define VV_GATEWAY_ANSWER_MORE_H
#include "gateway/exchange.h"
#include "gateway/head_writer.h"

static inline bool vv_answer_has_more(const struct vv_exchange *x)
{
    return x->admission != NULL || x->degraded.n > 0 ||
           (x->route != NULL && x->route->conf->server_timing != 0);
}
/* No more than this many bytes; 0 when there is nothing. */
size_t vv_answer_more_bytes(const struct vv_exchange *x);
/* After head_begins(). Counts degraded answers: once for each answer. */
void vv_answer_more_put(struct vv_writer *w, struct vv_exchange *x);
/* The value of Retry-After in the exchange's arena; n 0: none is sent. */
struct vv_str vv_answer_retry_after(struct vv_exchange *x, int status);
#endif
