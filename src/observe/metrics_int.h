/* src/observe/metrics_int.h - the registry's inside, shared by its writers and collectors.
 *
 * Model:   series are immutable once published: readers walk the list of a metric or the table of
 *          numbers without a lock, behind acquire loads. Number 1 + id is the metric's own series:
 *          the only one of a metric without labels, the "_overflow" series of one with labels.
 * Threads: `intern` guards making series and shards, workers take it on a first use; `scrape`
 * guards collectors and constant labels, workers never take it. Order: scrape before intern.
 */
#ifndef VV_OBSERVE_METRICS_INT_H
#define VV_OBSERVE_METRICS_INT_H
#include "observe/metrics.h"
#include <pthread.h>

#define VV_METRIC_LABELS 8    /* most labels of a metric */
#define VV_METRIC_SERIES 2000 /* most label sets of a metric */
#define VV_LABEL_BYTES 512    /* longer values are cut */
#define VV_CONST_LABELS 32    /* most constant labels */

struct vv_metric_series {
    struct vv_metric_series *next; /* of the same metric; published with release */
    uint64_t hash;
    vv_series number; /* 0 in samples of collectors */
    enum vv_metric id;
    bool shown; /* somebody asked for it; relaxed */
    size_t count;
    struct vv_str value[VV_METRIC_LABELS];
    struct vv_str text; /* a="b",c="d", escaped */
};

struct vv_metric_shard {
    struct vv_shard pub;
    struct vv_metric_shard *next; /* never unlinked: its counts stay */
    bool taken;                   /* under intern */
};

struct vv_metric_family {
    struct vv_metric_series *first, *last; /* first: release; last: under intern */
    size_t sets;                           /* label sets, without the overflow series */
    struct vv_str label[VV_METRIC_LABELS];
    size_t labels;
};

struct vv_metric_collector {
    struct vv_metric_collector *next;
    vv_collector_fn *fn;
    void *user;
};

struct vv_metrics {
    pthread_mutex_t intern, scrape;
    struct vv_metric_family family[VV_METRIC_ROWS];
    struct vv_metric_series **table[VV_SERIES_CHUNKS]; /* by number; release */
    uint32_t numbers;                                  /* next number; release */
    struct vv_metric_series **map;                     /* open addressing; under intern */
    size_t map_cap, map_used;
    struct vv_metric_shard *shards; /* release */
    struct vv_metric_shard *home;   /* the registry's own counts; written under intern */
    struct vv_metric_collector *collectors;
    char *const_text; /* country="us", escaped; NULL: none */
    char *const_name[VV_CONST_LABELS], *const_value[VV_CONST_LABELS];
    size_t const_count;
};

/* A series object, not yet in the registry; NULL when memory is out. free() frees all of it.
 * Values must be clean UTF-8 (vv_text_clean). */
struct vv_metric_series *vv_metric_series_make(const struct vv_metrics *m, enum vv_metric id,
                                               const struct vv_str *values, uint64_t hash);
uint64_t vv_metric_series_hash(enum vv_metric id, const struct vv_str *values, size_t count);
bool vv_metric_series_is(const struct vv_metric_series *s, enum vv_metric id,
                         const struct vv_str *values, uint64_t hash);
/* Cleans `values` into clean[]; buf gives room for those that are not UTF-8. */
struct vv_metric_room {
    char bytes[VV_METRIC_LABELS][VV_LABEL_BYTES];
};
void vv_metric_clean(const struct vv_str *values, size_t count, struct vv_metric_room *room,
                     struct vv_str *clean);
void vv_metric_escape(struct vv_sb *out, struct vv_str s,
                      bool quotes); /* \\ \n and, if asked, \" */
/* The cheap part of a histogram, summed over shards: its exposed bounds. */
struct vv_metric_bounds {
    uint64_t at_most[VV_HIST_BOUNDS + 1], sum_ns;
};
void vv_metric_bounds(struct vv_metrics *m, vv_series series, struct vv_metric_bounds *ret);

/* What /proc says about this process. */
struct vv_process_stats {
    uint64_t cpu_ns, resident_bytes, virtual_bytes, open_fds, max_fds, start_ns;
};
/* Parses the text of /proc/PID/stat: CPU time, memory, start (ns since boot). */
VV_MUST_CHECK enum vv_err vv_process_parse(struct vv_str stat, uint64_t ticks_per_s,
                                           uint64_t page_bytes, struct vv_process_stats *ret);
VV_MUST_CHECK enum vv_err vv_process_read(struct vv_process_stats *ret);
void vv_process_collect(struct vv_collect *c, void *user);
/* What /proc says about the machine: vivace_system_* (os/system.h). */
void vv_system_collect(struct vv_collect *c, void *user);
#endif
