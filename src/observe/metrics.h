/* src/observe/metrics.h - the metric registry: one row per metric, plain words per thread.
 *
 * Model:     a metric (row of metrics.def) has label names; a *series* is a metric with label
 *            values, interned once to a small number. Each thread has a shard of plain 64-bit
 *            words, one per series, that only it writes; readers sum the shards. Counters and
 *            up-down gauges live in words, durations in vv_hist objects (one per shard and
 *            series, made on first use). Values that live elsewhere (memory, states) come from
 *            collectors that run at scrape time on the scraping thread.
 *            Cardinality: at most 2,000 series a metric (label sets beyond fold into "_overflow"
 *            and vivace_metric_series_dropped_total rises).
 * Threads:   vv_metrics_series() locks (cache the result); vv_metric_add() is one plain add on the
 *            own shard; writing the exposition takes no lock that a worker could wait for.
 * Ownership: the registry owns shards and series for the life of the process (they survive a
 *            reload).
 * Units:     durations in ns here, seconds in the exposition.
 */
#ifndef VV_OBSERVE_METRICS_H
#define VV_OBSERVE_METRICS_H
#include "base/err.h"
#include "base/hist.h"
#include "base/sb.h"

/* VV_METRIC(id, name, kind, unit, labels, help): kind COUNTER, GAUGE, HISTOGRAM or INFO; labels is
 * a comma list in the order values are given. */
enum vv_metric {
#define VV_METRIC(id, name, kind, unit, labels, help) VV_METRIC_##id,
#include "observe/metrics.def"
#undef VV_METRIC
    VV_METRIC_ROWS
};

#define VV_SERIES_CHUNK 1024
#define VV_SERIES_CHUNKS 256
/* 0 is the "none" series: adding to it is allowed and counted nowhere. */
typedef uint32_t vv_series;

struct vv_metrics;
struct vv_shard { /* PRIVATE fields, here so that vv_metric_add can be inline */
    uint64_t *word[VV_SERIES_CHUNKS];
    struct vv_hist **hist[VV_SERIES_CHUNKS];
    struct vv_metrics *registry;
};

VV_MUST_CHECK enum vv_err vv_metrics_new(struct vv_metrics **ret);
void vv_metrics_free(struct vv_metrics *m);
/* Labels put on every series ("country" -> "us"); replaces the former set. Copies. */
VV_MUST_CHECK enum vv_err vv_metrics_set_labels(struct vv_metrics *m, const char *const *names,
                                                const char *const *values, size_t count);
/* The shard of a thread; shards of threads that ended are reused. */
VV_MUST_CHECK enum vv_err vv_metrics_shard(struct vv_metrics *m, struct vv_shard **ret);
void vv_metrics_shard_return(struct vv_metrics *m, struct vv_shard *shard);

/* Never fails: falls back to the metric's overflow series. Values are copied. */
vv_series vv_metrics_series(struct vv_metrics *m, enum vv_metric id, const struct vv_str *values,
                            size_t count);

static inline void vv_metric_add(struct vv_shard *s, vv_series series, uint64_t n)
{
    /* relaxed store: the scraping thread reads these words */
    uint64_t *w = &s->word[series / VV_SERIES_CHUNK][series % VV_SERIES_CHUNK];
    __atomic_store_n(w, *w + n, __ATOMIC_RELAXED);
}
static inline void vv_metric_sub(struct vv_shard *s, vv_series series, uint64_t n)
{
    vv_metric_add(s, series, (uint64_t)0 - n);
}
/* This shard's histogram of a series, made on first use; NULL when memory is out. Cache it. */
struct vv_hist *vv_metric_hist(struct vv_shard *s, vv_series series);
/* Sum over all shards. */
uint64_t vv_metrics_value(struct vv_metrics *m, vv_series series);
/* How many values a histogram series holds: a cheap look before vv_metrics_hist(). */
uint64_t vv_metrics_hist_count(struct vv_metrics *m, vv_series series);
void vv_metrics_hist(struct vv_metrics *m, vv_series series, struct vv_hist *ret);

/* A collector emits samples of metrics that it owns at scrape time through vv_collect_*(). It runs
 * under the scrape lock: it must not add or remove collectors; after _remove() returned it is not
 * running and will not run again. Values are in exposition units (seconds, bytes). The same label
 * set emitted twice, or kept in words too: counters add up, of gauges the last one counts. */
struct vv_collect;
typedef void vv_collector_fn(struct vv_collect *c, void *user);
VV_MUST_CHECK enum vv_err vv_metrics_collector(struct vv_metrics *m, vv_collector_fn *fn,
                                               void *user);
void vv_metrics_collector_remove(struct vv_metrics *m, vv_collector_fn *fn, void *user);
void vv_collect_value(struct vv_collect *c, enum vv_metric id, const struct vv_str *values,
                      size_t count, double value);

/* Words of metrics with unit "seconds" are nanoseconds and are divided when written. */
enum vv_exposition { VV_EXPOSITION_TEXT, VV_EXPOSITION_OPENMETRICS, VV_EXPOSITION_JSON };
/* By the Accept header with q-values; default text 0.0.4. */
enum vv_exposition vv_exposition_choose(struct vv_str accept);
const char *vv_exposition_type(enum vv_exposition e); /* the Content-Type */
void vv_metrics_write(struct vv_metrics *m, enum vv_exposition e, struct vv_sb *out);
/* Walks all series (for the 1 Hz history and the API). */
typedef void vv_series_fn(void *user, enum vv_metric id, vv_series series,
                          const struct vv_str *values, size_t count);
void vv_metrics_each(struct vv_metrics *m, vv_series_fn *fn, void *user);
struct vv_metric_info {
    const char *id, *name, *labels, *help, *unit;
    enum { VV_COUNTER, VV_GAUGE, VV_HISTOGRAM, VV_INFO } kind;
};
extern const struct vv_metric_info vv_metric_rows[VV_METRIC_ROWS];
/* The reference page (Markdown) of all rows. */
void vv_metrics_reference(struct vv_sb *out);
#endif
