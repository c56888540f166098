/* src/trace/sample.c - one entry a route: a small histogram that halves, a window, three buckets of
 * tokens. The order of the rules is their order of worth: an error that is also slow is an error. */
#include "trace/sample.h"

#include <stdio.h>
#include <stdlib.h>

#define BUCKETS 200 /* eight an octave from 8 us: up to 4 minutes */
#define FLOOR_NS (8 * VV_US)
#define HALVE_AT 20000 /* traces: the weight of the past */
#define BOUNDED 3

struct route {
    char name[96];
    uint64_t window_ns; /* its beginning */
    uint64_t in_window, total;
    uint64_t slow_ns, slow_from; /* as of `slow_from` traces */
    struct {
        uint64_t second, used;
    } kept[BOUNDED]; /* error, slow, rare */
    uint32_t bucket[BUCKETS];
    uint32_t next; /* of the hash, 1 + index */
};

struct vv_sampler {
    struct vv_sample_conf conf;
    struct route **route; /* [0] is the crowd's */
    size_t count;
    uint32_t *bucket;
    size_t mask;
    struct vv_sampler_stats stats;
};

const char *vv_sample_why_text(enum vv_sample_why why)
{
    static const char *const text[VV_SAMPLE_WHY_COUNT] = {
        [VV_SAMPLE_DROP] = "dropped", [VV_SAMPLE_ERROR] = "error", [VV_SAMPLE_SLOW] = "slow",
        [VV_SAMPLE_RARE] = "rare",    [VV_SAMPLE_SHARE] = "share", [VV_SAMPLE_FORCED] = "forced"};
    return (unsigned)why < VV_SAMPLE_WHY_COUNT ? text[why] : "";
}

void vv_sample_conf_default(struct vv_sample_conf *conf)
{
    *conf = (struct vv_sample_conf){
        .share_ppm = 10000,
        .slow_ppm = 990000,
        .slow_after = 100,
        .slow_min_ns = VV_MS,
        .rare_count = 2,
        .rare_window_ns = VV_MINUTE,
        .route_per_second = 5,
        .routes_max = 2000,
    };
}

enum vv_err vv_sampler_new(const struct vv_sample_conf *conf, struct vv_sampler **ret)
{
    if (conf->share_ppm > VV_PPM || conf->slow_ppm > VV_PPM || conf->routes_max == 0 ||
        conf->routes_max > 1000000 || (conf->rare_count > 0 && conf->rare_window_ns == 0)) {
        return VV_EINVAL;
    }
    struct vv_sampler *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return VV_ENOMEM;
    }
    s->conf = *conf;
    s->mask = 63;
    while (s->mask < conf->routes_max) {
        s->mask = 2 * s->mask + 1;
    }
    s->route = calloc(conf->routes_max + 1, sizeof(struct route *));
    s->bucket = calloc(s->mask + 1, sizeof *s->bucket);
    struct route *crowd = calloc(1, sizeof *crowd);
    if (s->route == NULL || s->bucket == NULL || crowd == NULL) {
        free(crowd);
        vv_sampler_free(s);
        return VV_ENOMEM;
    }
    s->route[s->count++] = crowd;
    *ret = s;
    return VV_OK;
}

void vv_sampler_free(struct vv_sampler *s)
{
    if (s == NULL) {
        return;
    }
    for (size_t i = 0; s->route != NULL && i < s->count; i++) {
        free(s->route[i]);
    }
    free(s->route);
    free(s->bucket);
    free(s);
}

struct vv_str vv_sample_route(const struct vv_trace *t, char *buf, size_t buf_bytes)
{
    const struct vv_span *root = &t->spans[t->root];
    if (root->route.n > 0) {
        return root->route;
    }
    const int n = snprintf(buf, buf_bytes, VV_STR_FMT " " VV_STR_FMT, VV_STR_ARG(root->service),
                           VV_STR_ARG(root->name));
    return (struct vv_str){buf, n < 0 ? 0 : vv_min_u64((uint64_t)n, buf_bytes - 1)};
}

/* Names longer than an entry's are told apart by their first 95 bytes. */
static struct route *find(struct vv_sampler *s, struct vv_str name, bool make)
{
    name.n = vv_min_u64(name.n, sizeof s->route[0]->name - 1);
    uint32_t *at = &s->bucket[vv_str_hash(name, 0) & s->mask];
    for (uint32_t i = *at; i != 0; i = s->route[i]->next) {
        if (vv_str_eq(vv_str_from(s->route[i]->name), name)) {
            return s->route[i];
        }
    }
    if (!make || s->count > s->conf.routes_max || memchr(name.p, 0, name.n) != NULL) {
        return NULL;
    }
    struct route *r = calloc(1, sizeof *r);
    if (r != NULL) {
        memcpy(r->name, name.p, name.n);
        r->next = *at;
        *at = (uint32_t)s->count;
        s->route[s->count++] = r;
    }
    return r;
}

/* ---------------------------------------------------------------- the running quantile */

static size_t bucket_of(uint64_t ns)
{
    const uint64_t units = vv_max_u64(ns / (FLOOR_NS / 8), 8); /* eight to the first octave */
    const unsigned octave = 60 - (unsigned)__builtin_clzll(units);
    return vv_min_u64(8 * (uint64_t)octave + ((units >> octave) & 7), BUCKETS - 1);
}

static uint64_t bucket_top(size_t b)
{
    return ((8 + (b & 7) + 1) << (b >> 3)) * (FLOOR_NS / 8);
}

static uint64_t quantile(const struct route *r, uint64_t ppm)
{
    uint64_t sum = 0, seen = 0;
    for (size_t b = 0; b < BUCKETS; b++) {
        sum += r->bucket[b];
    }
    for (size_t b = 0; b < BUCKETS; b++) {
        seen += r->bucket[b];
        if (seen > 0 && seen * VV_PPM >= sum * ppm) {
            return bucket_top(b);
        }
    }
    return 0;
}

/* The quantile is read again after each 1/16 more traces, not for every one. */
static void count(struct vv_sampler *s, struct route *r, uint64_t ns)
{
    r->bucket[bucket_of(ns)]++;
    r->total++;
    if (r->total % HALVE_AT == 0) {
        for (size_t b = 0; b < BUCKETS; b++) {
            r->bucket[b] -= r->bucket[b] / 2;
        }
    }
    if (r->total >= s->conf.slow_after &&
        r->total >= r->slow_from + vv_min_u64(r->slow_from / 16, HALVE_AT / 16)) {
        r->slow_from = r->total;
        r->slow_ns = vv_max_u64(quantile(r, s->conf.slow_ppm), s->conf.slow_min_ns);
    }
}

uint64_t vv_sampler_slow_ns(struct vv_sampler *s, struct vv_str route)
{
    const struct route *r = find(s, route, false);
    return r != NULL && s->conf.slow_ppm > 0 ? r->slow_ns : 0;
}

/* ---------------------------------------------------------------- judging */

bool vv_sample_share(const uint8_t trace_id[VV_TRACE_ID_BYTES], uint64_t share_ppm)
{
    uint64_t random = 0; /* 56 bits */
    for (size_t i = 9; i < VV_TRACE_ID_BYTES; i++) {
        random = random << 8 | trace_id[i];
    }
    const uint64_t refuse = VV_PPM - vv_min_u64(share_ppm, VV_PPM);
    return random >= (uint64_t)(((unsigned __int128)refuse << 56) / VV_PPM) && share_ppm > 0;
}

static bool is_rare(struct vv_sampler *s, struct route *r, uint64_t now_ns)
{
    if (r->total == 1 || now_ns - r->window_ns >= s->conf.rare_window_ns) {
        r->window_ns = now_ns;
        r->in_window = 0;
    }
    return ++r->in_window <= s->conf.rare_count;
}

static bool bounded(struct vv_sampler *s, struct route *r, enum vv_sample_why why, uint64_t now_ns)
{
    const size_t i = (size_t)why - VV_SAMPLE_ERROR;
    const uint64_t second = now_ns / VV_SEC;
    if (s->conf.route_per_second == 0) {
        return false;
    }
    if (r->kept[i].second != second) {
        r->kept[i].second = second;
        r->kept[i].used = 0;
    }
    return ++r->kept[i].used > s->conf.route_per_second;
}

enum vv_sample_why vv_sampler_judge(struct vv_sampler *s, const struct vv_trace *t, bool forced,
                                    uint64_t now_ns)
{
    char buf[256];
    const struct vv_span *root = &t->spans[t->root];
    const uint64_t ns = vv_span_ns(root);
    struct route *r = find(s, vv_sample_route(t, buf, sizeof buf), true);
    const bool crowded = r == NULL;
    r = crowded ? s->route[0] : r;
    s->stats.crowded += crowded ? 1 : 0;
    /* The bound is what was slow before this trace. */
    const bool slow = s->conf.slow_ppm > 0 && r->slow_ns > 0 && ns > r->slow_ns;
    count(s, r, ns);
    const bool rare = is_rare(s, r, now_ns) && !crowded;
    enum vv_sample_why why = t->error || root->http_status >= 500 ? VV_SAMPLE_ERROR
                             : slow                               ? VV_SAMPLE_SLOW
                             : rare                               ? VV_SAMPLE_RARE
                                                                  : VV_SAMPLE_DROP;
    if (why != VV_SAMPLE_DROP && bounded(s, r, why, now_ns)) {
        s->stats.bounded++;
        why = VV_SAMPLE_DROP;
    }
    if (why == VV_SAMPLE_DROP) {
        why = forced                                               ? VV_SAMPLE_FORCED
              : vv_sample_share(root->trace_id, s->conf.share_ppm) ? VV_SAMPLE_SHARE
                                                                   : VV_SAMPLE_DROP;
    }
    s->stats.why[why]++;
    return why;
}

void vv_sampler_stats(const struct vv_sampler *s, struct vv_sampler_stats *ret)
{
    *ret = s->stats;
    ret->routes = s->count - 1;
}
