/* src/gateway/answer_more.c - fields that only some answers have. They stand apart from answer.c so that the
 * answers without them, nearly all, pay one look for it. */
#include "gateway/answer_more.h"
#include "gateway/admit.h"
#include "gateway/recall.h"
#include "gateway/session.h"

#define TIMING_BYTES 160

size_t vv_answer_more_bytes(const struct vv_exchange *x)
{
    if (!vv_answer_has_more(x)) {
        return 0;
    }
    return vv_admit_fields_bytes(x) + x->degraded.n + sizeof "Degraded: \r\n" + TIMING_BYTES;
}

/* Milliseconds with one decimal, as the field has them. */
static void put_ms(struct vv_writer *w, uint64_t ns)
{
    const uint64_t tenths = (ns + 50 * VV_US) / (100 * VV_US);
    vv_put_u64(w, tenths / 10);
    *w->at++ = '.';
    *w->at++ = (char)('0' + tenths % 10);
}

static void put_timing(struct vv_writer *w, const struct vv_exchange *x)
{
    const uint64_t waited = x->first_byte_ns - x->began_ns;
    const uint64_t queued = vv_min_u64(x->queue_ns, waited);
    const char *before = w->at;
    vv_put(w, VV_STR("Server-Timing: "));
    const char *start = w->at;
    if (queued > 0) {
        vv_put(w, VV_STR("queue;dur="));
        put_ms(w, queued);
    }
    if (x->attempts > 0) {
        vv_put(w, w->at > start ? VV_STR(", upstream;dur=") : VV_STR("upstream;dur="));
        put_ms(w, waited - queued);
    }
    if (x->recall != NULL) {
        vv_put(w, w->at > start ? VV_STR(", cache;desc=") : VV_STR("cache;desc="));
        vv_put(w, vv_str_from(vv_cache_status_word(&x->recall->status)));
    }
    if (w->at == start) {
        w->at -= start - before; /* nothing took time */
        return;
    }
    vv_put(w, VV_STR("\r\n"));
}

/* The names of what is missing come from the file; a byte that must not stand in a field does not. */
static void put_degraded(struct vv_writer *w, struct vv_exchange *x)
{
    const struct vv_str route =
        x->route != NULL ? vv_str_from(x->route->conf->name) : VV_STR("none");
    vv_put(w, VV_STR("Degraded: "));
    for (size_t i = 0; i < x->degraded.n; i++) {
        const unsigned char c = (unsigned char)x->degraded.p[i];
        *w->at++ = c < 0x20 || c == 0x7f ? '_' : (char)c;
    }
    vv_put(w, VV_STR("\r\n"));
    struct vv_route_stat *stat = vv_worker_stat(x->w, x->use, x->route);
    if (stat != NULL && stat->degraded == 0) { /* rare: interning takes a lock */
        stat->degraded = vv_metrics_series(x->w->metrics, VV_METRIC_DEGRADED, &route, 1);
    }
    if (stat != NULL && !x->session->detached) {
        vv_metric_add(x->w->shard, stat->degraded, 1);
    }
}

void vv_answer_more_put(struct vv_writer *w, struct vv_exchange *x)
{
    vv_admit_put_fields(w, x);
    if (x->degraded.n > 0) {
        put_degraded(w, x);
    }
    if (x->route != NULL && x->route->conf->server_timing != 0) {
        put_timing(w, x);
    }
}

struct vv_str vv_answer_retry_after(struct vv_exchange *x, int status)
{
    const uint64_t ns = x->retry_after_ns;
    if ((ns == 0 && status != 503 && status != 429) || ns == UINT64_MAX) {
        return (struct vv_str){NULL, 0};
    }
    const uint64_t s = ns / VV_SEC + (ns % VV_SEC != 0);
    return vv_arena_fmt(&x->arena, "%llu", (unsigned long long)vv_max_u64(s, 1));
}
