/* src/trace/sample.h - which traces are worth keeping.
 *
 * Model:     in this order: errors, slow ones (longer than a running quantile of their route), rare
 *            routes (the first few of each window), a share by trace id (the same traces in every
 *            gateway), what the caller forced. Errors, slow and rare ones of one route are bounded per
 *            second each, so that an outage does not push everything else out of the store.
 *            The quantile comes from counts that halve, so it follows the route. It begins to judge
 *            after `slow_after` traces.
 * Source:    share: OpenTelemetry consistent probability sampling (the last 7 bytes of the id).
 * Memory:    about 900 bytes a route; routes over routes_max share one entry (counted).
 * Threads:   one owner. Time passed in.
 */
#ifndef VV_TRACE_SAMPLE_H
#define VV_TRACE_SAMPLE_H
#include "trace/assemble.h"

enum vv_sample_why {
    VV_SAMPLE_DROP,
    VV_SAMPLE_ERROR,
    VV_SAMPLE_SLOW,
    VV_SAMPLE_RARE,
    VV_SAMPLE_SHARE,
    VV_SAMPLE_FORCED,
    VV_SAMPLE_WHY_COUNT
};
const char *vv_sample_why_text(enum vv_sample_why why); /* "error" */

struct vv_sample_conf {
    uint64_t share_ppm;
    uint64_t slow_ppm;                   /* 990000: above the 99th percentile; 0: never */
    uint64_t slow_after;                 /* traces of the route seen before */
    uint64_t slow_min_ns;                /* never slow below */
    uint64_t rare_count, rare_window_ns; /* the first so many of each window; 0: none */
    uint64_t route_per_second;           /* for errors, slow and rare each; 0: no bound */
    uint64_t routes_max;
};
/* 1 %, p99 after 100, above 1 ms, 2 a minute, 5 a second and route, 2,000 routes. */
void vv_sample_conf_default(struct vv_sample_conf *conf);

struct vv_sampler;
VV_MUST_CHECK enum vv_err vv_sampler_new(const struct vv_sample_conf *conf,
                                         struct vv_sampler **ret);
void vv_sampler_free(struct vv_sampler *s);
/* Counts the trace and says what becomes of it. `forced`: the caller asked for it (B3's debug). */
enum vv_sample_why vv_sampler_judge(struct vv_sampler *s, const struct vv_trace *t, bool forced,
                                    uint64_t now_ns);
/* What is slow for this route now; 0: not known yet. */
uint64_t vv_sampler_slow_ns(struct vv_sampler *s, struct vv_str route);
/* The route's name in here: the root's route, else its service and name. */
struct vv_str vv_sample_route(const struct vv_trace *t, char *buf, size_t buf_bytes);
/* Is the trace in the share? Depends on nothing else. */
bool vv_sample_share(const uint8_t trace_id[VV_TRACE_ID_BYTES], uint64_t share_ppm);

struct vv_sampler_stats {
    uint64_t why[VV_SAMPLE_WHY_COUNT];
    uint64_t bounded;         /* would have been kept but for route_per_second */
    uint64_t routes, crowded; /* crowded: traces of routes without an entry of their own */
};
void vv_sampler_stats(const struct vv_sampler *s, struct vv_sampler_stats *ret);
#endif
