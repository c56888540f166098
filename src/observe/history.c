/* src/observe/history.c - one second at a time, from what moved in the registry since the last one.
 *
 * A tick walks all series but only works for those whose value moved: an idle route costs a
 * comparison. Quantiles of one second come from the full histogram of that second; those of a longer
 * window from the difference of two snapshots of running totals, kept dense for the last seconds
 * and thin for the past - 15 minutes of full histograms would be 4 MB a route. */
#include "observe/history.h"

#include <stdlib.h>

#define POINTS VV_HISTORY_SECONDS
#define NAMES_MAX 256
#define TOTALS (VV_HIST_BUCKETS / 2) /* pairs of buckets: 1/16 of the value wide */
#define FINE 16                      /* snapshots: one every second */
#define MID 8                        /* one every 10 seconds */
#define LONG 17                      /* one every minute */
#define MID_EVERY 10
#define LONG_EVERY 60

struct point {
    uint64_t bytes_out;
    uint32_t requests, errors_4xx, errors_5xx, aborted;
    uint32_t p50_us, p95_us, p99_us;
};

struct snapshot {
    uint64_t tick; /* how many points there were when it was taken; 0: never */
    uint32_t bucket[TOTALS];
};

struct track { /* the gateway, a route or a service */
    char *name;
    uint64_t hash;
    uint64_t recent; /* requests in the ring */
    bool timed;      /* it had a duration once */
    struct point now;
    struct vv_hist now_hist; /* count is 0 when nothing was timed this second */
    uint32_t total[TOTALS];
    struct snapshot fine[FINE], mid[MID], longer[LONG];
    struct point point[POINTS]; /* by tick modulo POINTS */
};

struct table {
    struct track *track[NAMES_MAX];
    size_t n;
    uint64_t epoch; /* rises when a track is replaced */
    uint64_t floor; /* the least `recent` when it is known (this tick), else 0 */
};

struct link { /* the track a series belongs to, remembered */
    uint64_t epoch;
    struct track *track;
};

struct seen { /* per series */
    uint64_t value;
    struct vv_hist *hist;
    struct link route, service;
};

struct vv_history {
    struct vv_metrics *m;
    uint64_t ticks, wall_ns; /* points so far, time of the last one */
    bool baseline;           /* the walk only notes where the counters stand */
    struct seen *seen;
    size_t seen_cap;
    uint64_t in_flight_now, connections_now;
    uint32_t in_flight[POINTS], connections[POINTS];
    struct track gateway;
    struct table routes, services;
};

/* ---- which track ---- */

static struct track *track_make(struct vv_str name, uint64_t hash)
{
    struct track *t = calloc(1, sizeof(*t));
    char *copy = strndup(name.p, name.n);
    if (t == NULL || copy == NULL) {
        free(t);
        free(copy);
        return NULL;
    }
    t->name = copy;
    t->hash = hash;
    return t;
}

static void track_free(struct track *t)
{
    free(t->name);
    free(t);
}

static struct track *table_find(const struct table *t, struct vv_str name, uint64_t hash)
{
    for (size_t i = 0; i < t->n; i++) {
        if (t->track[i]->hash == hash && vv_str_eq(vv_str_from(t->track[i]->name), name)) {
            return t->track[i];
        }
    }
    return NULL;
}

/* The place of the track with the fewest requests in 15 minutes, if that is fewer than `requests`
 * of one second; NAMES_MAX otherwise. */
static size_t least_busy(struct table *t, uint64_t requests)
{
    size_t least = NAMES_MAX;
    if (requests <= t->floor) {
        return NAMES_MAX;
    }
    uint64_t floor = UINT64_MAX;
    for (size_t i = 0; i < t->n; i++) {
        const uint64_t busy = t->track[i]->recent + t->track[i]->now.requests;
        if (busy < floor) {
            floor = busy;
            least = i;
        }
    }
    t->floor = floor;
    return floor < requests ? least : NAMES_MAX;
}

/* The track called `name`, made when there is room or when it is busier than another; or NULL. */
static struct track *track_of(struct table *t, struct link *link, struct vv_str name,
                              uint64_t requests)
{
    if (link->track != NULL && link->epoch == t->epoch) {
        return link->track;
    }
    if (name.n == 0) {
        return NULL;
    }
    const uint64_t hash = vv_str_hash(name, 0);
    struct track *found = table_find(t, name, hash);
    if (found == NULL) {
        const size_t at = t->n < NAMES_MAX ? t->n : least_busy(t, requests);
        found = at < NAMES_MAX ? track_make(name, hash) : NULL;
        if (found == NULL) {
            return NULL;
        }
        if (at == t->n) {
            t->n++;
        } else {
            track_free(t->track[at]);
            t->epoch++; /* every remembered link is looked up again */
            t->floor = 0;
        }
        t->track[at] = found;
    }
    *link = (struct link){t->epoch, found};
    return found;
}

/* ---- reading the registry ---- */

static struct seen *seen_of(struct vv_history *h, vv_series series)
{
    if (series >= h->seen_cap) {
        const size_t cap = series + VV_SERIES_CHUNK;
        struct seen *grown = realloc(h->seen, cap * sizeof(*grown));
        if (grown == NULL) {
            return NULL;
        }
        memset(grown + h->seen_cap, 0, (cap - h->seen_cap) * sizeof(*grown));
        h->seen = grown;
        h->seen_cap = cap;
    }
    return &h->seen[series];
}

static void count_requests(struct track *t, uint64_t n, struct vv_str status)
{
    if (t == NULL) {
        return;
    }
    const char class = status.n == 3 ? status.p[0] : '0';
    t->now.requests += (uint32_t)n;
    t->now.errors_4xx += class == '4' ? (uint32_t)n : 0;
    t->now.errors_5xx += class == '5' ? (uint32_t)n : 0;
}

static void count_time(struct track *t, const struct vv_hist *delta)
{
    if (t != NULL) {
        vv_hist_merge(&t->now_hist, delta);
        t->timed = true;
    }
}

/* What was timed since the last look; false when memory is out (then it is said next time). */
static bool hist_delta(struct vv_history *h, struct seen *seen, vv_series series,
                       struct vv_hist *delta)
{
    struct vv_hist now;
    if (seen->hist == NULL) {
        seen->hist = calloc(1, sizeof(*seen->hist));
        if (seen->hist == NULL) {
            return false;
        }
    }
    vv_metrics_hist(h->m, series, &now);
    *delta = now;
    vv_hist_sub(delta, seen->hist);
    *seen->hist = now;
    return true;
}

static void moved(struct vv_history *h, struct seen *seen, enum vv_metric id, vv_series series,
                  const struct vv_str *label, uint64_t n)
{
    struct vv_hist delta;
    struct track *t;
    switch (id) {
    case VV_METRIC_REQUESTS: /* method, route, service, status */
        count_requests(&h->gateway, n, label[3]);
        count_requests(track_of(&h->routes, &seen->route, label[1], n), n, label[3]);
        count_requests(track_of(&h->services, &seen->service, label[2], n), n, label[3]);
        break;
    case VV_METRIC_ABORTED: /* route, reason */
        h->gateway.now.aborted += (uint32_t)n;
        t = track_of(&h->routes, &seen->route, label[0], 0);
        if (t != NULL) {
            t->now.aborted += (uint32_t)n;
        }
        break;
    case VV_METRIC_RESPONSE_BYTES: /* route */
        h->gateway.now.bytes_out += n;
        t = track_of(&h->routes, &seen->route, label[0], 0);
        if (t != NULL) {
            t->now.bytes_out += n;
        }
        break;
    default: /* VV_METRIC_REQUEST_DURATION: route, service */
        if (hist_delta(h, seen, series, &delta) && !h->baseline) {
            count_time(&h->gateway, &delta);
            count_time(track_of(&h->routes, &seen->route, label[0], 0), &delta);
            count_time(track_of(&h->services, &seen->service, label[1], 0), &delta);
        }
    }
}

static void look(void *user, enum vv_metric id, vv_series series, const struct vv_str *label,
                 size_t count VV_UNUSED)
{
    struct vv_history *h = user;
    if (id == VV_METRIC_IN_FLIGHT || id == VV_METRIC_CONNECTIONS) {
        *(id == VV_METRIC_IN_FLIGHT ? &h->in_flight_now : &h->connections_now) +=
            vv_metrics_value(h->m, series);
        return;
    }
    if (id != VV_METRIC_REQUESTS && id != VV_METRIC_ABORTED && id != VV_METRIC_RESPONSE_BYTES &&
        id != VV_METRIC_REQUEST_DURATION) {
        return;
    }
    struct seen *seen = seen_of(h, series);
    const uint64_t value = id == VV_METRIC_REQUEST_DURATION ? vv_metrics_hist_count(h->m, series)
                                                            : vv_metrics_value(h->m, series);
    if (seen == NULL || value == seen->value) {
        return;
    }
    const uint64_t n = value - seen->value;
    seen->value = value;
    if (!h->baseline || id == VV_METRIC_REQUEST_DURATION) {
        moved(h, seen, id, series, label, n);
    }
}

/* ---- closing a second ---- */

static uint32_t micros(const struct vv_hist *h, uint64_t ppm)
{
    return (uint32_t)vv_min_u64(vv_hist_quantile(h, ppm) / VV_US, UINT32_MAX);
}

/* The count is made from the buckets: a worker may have added between our reads, and a count ahead
 * of its buckets would let a quantile run off the end. */
static void close_times(struct track *t)
{
    uint64_t count = 0;
    for (size_t i = 0; i < TOTALS; i++) {
        const uint32_t pair = t->now_hist.bucket[2 * i] + t->now_hist.bucket[2 * i + 1];
        t->total[i] += pair;
        count += pair;
    }
    t->now_hist.count = count;
    t->now.p50_us = micros(&t->now_hist, 500000);
    t->now.p95_us = micros(&t->now_hist, 950000);
    t->now.p99_us = micros(&t->now_hist, 990000);
    memset(&t->now_hist, 0, sizeof(t->now_hist));
}

static void keep(struct snapshot *s, uint64_t tick, const uint32_t *total)
{
    s->tick = tick;
    memcpy(s->bucket, total, sizeof(s->bucket));
}

static void put_point(struct track *t, uint64_t tick, const struct point *p)
{
    struct point *slot = &t->point[tick % POINTS];
    t->recent += p->requests;
    t->recent -= slot->requests;
    *slot = *p;
}

static void close_second(struct track *t, uint64_t tick)
{
    if (t->now_hist.count > 0) {
        close_times(t);
    }
    put_point(t, tick, &t->now);
    t->now = (struct point){0};
    if (t->timed) { /* without a snapshot the window starts from zero, which is right until then */
        keep(&t->fine[tick % FINE], tick + 1, t->total);
        if ((tick + 1) % MID_EVERY == 0) {
            keep(&t->mid[tick / MID_EVERY % MID], tick + 1, t->total);
        }
        if ((tick + 1) % LONG_EVERY == 0) {
            keep(&t->longer[tick / LONG_EVERY % LONG], tick + 1, t->total);
        }
    }
}

/* Seconds in which nobody ticked. */
static void fill_gap(struct vv_history *h, uint64_t seconds)
{
    static const struct point nothing = {0};
    for (uint64_t i = 0; i < seconds; i++, h->ticks++) {
        put_point(&h->gateway, h->ticks, &nothing);
        h->in_flight[h->ticks % POINTS] = h->connections[h->ticks % POINTS] = 0;
        for (size_t k = 0; k < h->routes.n; k++) {
            put_point(h->routes.track[k], h->ticks, &nothing);
        }
        for (size_t k = 0; k < h->services.n; k++) {
            put_point(h->services.track[k], h->ticks, &nothing);
        }
    }
}

/* A gauge is a signed sum of words that are read one after the other: it may dip below zero. */
static uint32_t level(uint64_t word)
{
    return (int64_t)word < 0 ? 0 : (uint32_t)vv_min_u64(word, UINT32_MAX);
}

void vv_history_tick(struct vv_history *h, uint64_t wall_ns)
{
    if (h->ticks > 0 && wall_ns > h->wall_ns) {
        const uint64_t passed = (wall_ns - h->wall_ns + VV_SEC / 2) / VV_SEC;
        fill_gap(h, passed > 1 ? vv_min_u64(passed - 1, POINTS) : 0);
    }
    h->wall_ns = wall_ns;
    h->in_flight_now = h->connections_now = 0;
    h->routes.floor = h->services.floor = 0;
    vv_metrics_each(h->m, look, h);
    close_second(&h->gateway, h->ticks);
    for (size_t k = 0; k < h->routes.n; k++) {
        close_second(h->routes.track[k], h->ticks);
    }
    for (size_t k = 0; k < h->services.n; k++) {
        close_second(h->services.track[k], h->ticks);
    }
    h->in_flight[h->ticks % POINTS] = level(h->in_flight_now);
    h->connections[h->ticks % POINTS] = level(h->connections_now);
    h->ticks++;
}

enum vv_err vv_history_new(struct vv_metrics *m, struct vv_history **ret)
{
    struct vv_history *h = calloc(1, sizeof(*h));
    if (h == NULL) {
        return VV_ENOMEM;
    }
    h->m = m;
    h->baseline = true; /* what was counted before belongs to no second */
    vv_metrics_each(m, look, h);
    h->baseline = false;
    *ret = h;
    return VV_OK;
}

static void table_fini(struct table *t)
{
    for (size_t i = 0; i < t->n; i++) {
        track_free(t->track[i]);
    }
}

void vv_history_free(struct vv_history *h)
{
    if (h == NULL) {
        return;
    }
    for (size_t i = 0; i < h->seen_cap; i++) {
        free(h->seen[i].hist);
    }
    free(h->seen);
    table_fini(&h->routes);
    table_fini(&h->services);
    free(h);
}

/* ---- reading the history ---- */

static uint64_t seconds_kept(const struct vv_history *h, unsigned seconds)
{
    return vv_min_u64(seconds, vv_min_u64(h->ticks, POINTS));
}

static void latest_before(const struct snapshot *s, size_t n, uint64_t tick,
                          const struct snapshot **best)
{
    for (size_t i = 0; i < n; i++) {
        if (s[i].tick != 0 && s[i].tick <= tick && (*best == NULL || s[i].tick > (*best)->tick)) {
            *best = &s[i];
        }
    }
}

static void window_quantiles(const struct track *t, uint64_t since, struct vv_history_sum *ret)
{
    const struct snapshot *from = NULL;
    struct vv_hist window = {.max_ns = UINT64_MAX};
    latest_before(t->fine, FINE, since, &from);
    latest_before(t->mid, MID, since, &from);
    latest_before(t->longer, LONG, since, &from);
    for (size_t i = 0; i < TOTALS; i++) {
        const uint32_t n = t->total[i] - (from != NULL ? from->bucket[i] : 0);
        window.bucket[2 * i + 1] = n;
        window.count += n;
    }
    ret->p50_ns = vv_hist_quantile(&window, 500000);
    ret->p95_ns = vv_hist_quantile(&window, 950000);
    ret->p99_ns = vv_hist_quantile(&window, 990000);
}

void vv_history_sum(const struct vv_history *h, const char *route_or_null,
                    const char *service_or_null, unsigned seconds, struct vv_history_sum *ret)
{
    const char *name = route_or_null != NULL ? route_or_null : service_or_null;
    const struct track *t = &h->gateway;
    *ret = (struct vv_history_sum){.seconds = seconds_kept(h, seconds)};
    if (name != NULL) {
        t = table_find(route_or_null != NULL ? &h->routes : &h->services, vv_str_from(name),
                       vv_str_hash(vv_str_from(name), 0));
    }
    if (t == NULL || ret->seconds == 0) {
        return;
    }
    for (uint64_t i = h->ticks - ret->seconds; i < h->ticks; i++) {
        const struct point *p = &t->point[i % POINTS];
        ret->requests += p->requests;
        ret->errors_4xx += p->errors_4xx;
        ret->errors_5xx += p->errors_5xx;
        ret->aborted += p->aborted;
        ret->bytes_out += p->bytes_out;
    }
    const struct point *last = &t->point[(h->ticks - 1) % POINTS];
    if (ret->seconds == 1) {
        ret->p50_ns = last->p50_us * VV_US;
        ret->p95_ns = last->p95_us * VV_US;
        ret->p99_ns = last->p99_us * VV_US;
    } else {
        window_quantiles(t, h->ticks - ret->seconds, ret);
    }
    if (t == &h->gateway) {
        ret->in_flight = h->in_flight[(h->ticks - 1) % POINTS];
        ret->connections = h->connections[(h->ticks - 1) % POINTS];
    }
}

static void json_levels(const uint32_t *ring, uint64_t from, uint64_t to, const char *key,
                        struct vv_json *out)
{
    vv_json_key(out, key);
    vv_json_arr(out);
    for (uint64_t i = from; i < to; i++) {
        vv_json_u64(out, ring[i % POINTS]);
    }
    vv_json_arr_end(out);
}

struct column {
    const char *key;
    size_t at;
    enum { COUNT, COUNT_64, TIME } kind;
};

static void json_column(const struct track *t, uint64_t from, uint64_t to,
                        const struct column *column, struct vv_json *out)
{
    vv_json_key(out, column->key);
    vv_json_arr(out);
    for (uint64_t i = from; i < to; i++) {
        const char *field = (const char *)&t->point[i % POINTS] + column->at;
        if (column->kind == COUNT_64) {
            vv_json_u64(out, *(const uint64_t *)(const void *)field);
        } else if (column->kind == COUNT) {
            vv_json_u64(out, *(const uint32_t *)(const void *)field);
        } else {
            vv_json_double(out, *(const uint32_t *)(const void *)field / 1e3);
        }
    }
    vv_json_arr_end(out);
}

static void json_track(const struct track *t, uint64_t from, uint64_t to, struct vv_json *out)
{
#define COLUMN(key, field, kind)                                                                   \
    {                                                                                              \
        key, offsetof(struct point, field), kind                                                   \
    }
    static const struct column columns[] = {
        COLUMN("requests", requests, COUNT),      COLUMN("errors_4xx", errors_4xx, COUNT),
        COLUMN("errors_5xx", errors_5xx, COUNT),  COLUMN("aborted", aborted, COUNT),
        COLUMN("bytes_out", bytes_out, COUNT_64), COLUMN("p50_ms", p50_us, TIME),
        COLUMN("p95_ms", p95_us, TIME),           COLUMN("p99_ms", p99_us, TIME),
    };
#undef COLUMN
    for (size_t i = 0; i < VV_COUNT(columns); i++) {
        json_column(t, from, to, &columns[i], out);
    }
}

static void json_table(const struct table *t, const char *key, uint64_t from, uint64_t to,
                       struct vv_json *out)
{
    vv_json_key(out, key);
    vv_json_obj(out);
    for (size_t i = 0; i < t->n; i++) {
        vv_json_key(out, t->track[i]->name);
        vv_json_obj(out);
        json_track(t->track[i], from, to, out);
        vv_json_obj_end(out);
    }
    vv_json_obj_end(out);
}

void vv_history_json(const struct vv_history *h, unsigned seconds, struct vv_json *out)
{
    const uint64_t n = seconds_kept(h, seconds);
    const uint64_t from = h->ticks - n;
    vv_json_obj(out);
    vv_json_ku64(out, "every", 1);
    vv_json_ku64(out, "from", n > 0 ? h->wall_ns / VV_SEC + 1 - n : 0);
    vv_json_ku64(out, "seconds", n);
    vv_json_key(out, "gateway");
    vv_json_obj(out);
    json_track(&h->gateway, from, h->ticks, out);
    json_levels(h->in_flight, from, h->ticks, "in_flight", out);
    json_levels(h->connections, from, h->ticks, "connections", out);
    vv_json_obj_end(out);
    json_table(&h->routes, "routes", from, h->ticks, out);
    json_table(&h->services, "services", from, h->ticks, out);
    vv_json_obj_end(out);
}
