/* src/series/series.h - the store of samples: months of numbers in bounded room on disk.
 *
 * Model:     a series is a set of labels with a kind. Samples come in batches, one a second, all with
 *            the batch's time. They are kept in three tiers (default: 1 s for 15 minutes, 10 s for
 *            6 hours, 1 minute for 30 days). Every tier is a row of segments: the newest is open (a
 *            log of batches on disk, compressed chunks per series in memory), older ones are closed
 *            files of chunks that never change.
 *            A coarser tier holds samples of the finer one, never means of them: of each interval
 *            [k * step, (k + 1) * step) and series the last sample is kept, and of a COUNTER also
 *            the samples right before and right after each fall. So rate(), increase() and
 *            resets() over whole intervals give what they would give over all samples, buckets of
 *            one histogram are of one moment, and a gauge is as if it were looked at every step
 *            (peaks between are not kept). The marker vv_promql_stale() is a sample like others.
 *            Reading stitches the tiers: for every time the finest one that reaches back so far, but
 *            none finer than the query's step and window can use.
 * Disk:      at most disk_bytes_max with all files rounded up to 4 KiB, at every moment. To stay
 *            below, the closed segment that ended longest ago is deleted, before its time if need
 *            be; what then still has no room is kept in memory only, and counted. Records and chunks
 *            are checksummed: a torn tail is cut, damage is stepped over and counted; neither stops
 *            the store from opening. A killed process loses the batch being written, no more.
 *            Power loss: open logs reach the disk every sync_ns, closed segments before their log
 *            goes.
 * Clock:     a batch up to back_ms older than the last is refused and counted. An older one means the
 *            clock was set back: it opens new segments, and where times overlap later segments hide
 *            earlier ones. Age is counted from the newest batch, not from a clock; segments further in
 *            its future than their tier keeps are deleted.
 * Memory:    per series about 450 bytes and its labels, and the open chunks: two bits to ten bytes a
 *            sample, at most 64 KiB a chunk. One more copy of the open chunks while a segment closes.
 * Units:     *_ms are milliseconds since 1970, *_ns durations.
 * Threads:   any thread (one lock inside). Appending and selecting do file I/O: not for threads that
 *            carry traffic.
 * Ownership: labels are copied in both directions.
 * Errors:    as said at each call; what is refused or lost is in vv_samples_stats.
 */
#ifndef VV_SERIES_SERIES_H
#define VV_SERIES_SERIES_H
#include "promql/promql.h"

#define VV_SAMPLES_TIERS 3
#define VV_SAMPLES_SERIES_MAX 1000000 /* no conf may allow more */
#define VV_SAMPLES_LABELS_MAX 64
#define VV_SAMPLES_LABEL_BYTES_MAX 8192 /* all names and values of one series */

struct vv_samples_conf {
    struct {
        uint64_t step_ns;     /* of the finest: what appending is expected at; nothing is thinned */
        uint64_t keep_ns;     /* kept at least so long, unless the disk's budget says no */
        uint64_t segment_ns;  /* a segment's span: a multiple of all coarser steps and of the
                                finer tier's span */
    } tier[VV_SAMPLES_TIERS]; /* finest first; each step a multiple of the one before */
    uint64_t disk_bytes_max;  /* at least 256 KiB */
    uint64_t series_max;
    uint64_t back_ms;
    uint64_t sync_ns; /* 0: never, left to the kernel */
};
/* 512 MiB, 20,000 series, a minute back, sync every 30 s. */
void vv_samples_conf_default(struct vv_samples_conf *conf);

/* Counters, and buckets, sums and counts of histograms, are COUNTER. */
enum vv_samples_kind { VV_SAMPLES_GAUGE, VV_SAMPLES_COUNTER };

struct vv_samples;
/* Makes the directory if its parent is there. VV_EAGAIN: another process has it open (ask again when
 * it has ended); VV_EINVAL: conf makes no sense; otherwise what the file system said. Damaged files
 * are no error. */
VV_MUST_CHECK enum vv_err vv_samples_open(const char *dir, const struct vv_samples_conf *conf,
                                          struct vv_samples **ret);
/* Everything is on disk already; NULL is fine. */
void vv_samples_close(struct vv_samples *s);

/* Finds or makes the series. The reference stays good until the series has no sample left in any
 * tier and room was needed (appending then counts it as unknown: ask again). The kind of an old
 * series becomes the new kind. VV_EINVAL: labels not sorted, empty or too long; VV_ELIMIT: too many
 * series (counted); VV_ENOMEM. */
VV_MUST_CHECK enum vv_err vv_samples_series(struct vv_samples *s, struct vv_promql_labels labels,
                                            enum vv_samples_kind kind, uint64_t *ret_ref);

struct vv_samples_value {
    uint64_t ref;
    double v;
};
/* Adds one sample to each of these series. More than one batch may have the same time, if they hold
 * different series; a series' second sample of a time is counted as late. Fastest when every batch
 * has the same series in the same order. VV_ERANGE: the whole batch was late, or its time is no time;
 * VV_ELIMIT or VV_EIO: it is in memory but not on disk; VV_ENOMEM: part of it is missing. */
VV_MUST_CHECK enum vv_err vv_samples_append(struct vv_samples *s, int64_t t_ms,
                                            const struct vv_samples_value *at, size_t n);
/* Now, whatever sync_ns says. */
VV_MUST_CHECK enum vv_err vv_samples_sync(struct vv_samples *s);

/* What a query sees of the store. `samples_max` bounds one selector; 0: ten million. */
struct vv_samples_view { /* PRIVATE fields */
    struct vv_samples *samples;
    int64_t start_ms, end_ms, step_ms;
    uint64_t samples_max;
};
/* The source for vv_promql_eval() with this query; borrows view. Selecting locks the store only
 * while it copies. */
struct vv_promql_source vv_samples_source(struct vv_samples_view *view, struct vv_samples *s,
                                          const struct vv_promql_query *query,
                                          uint64_t samples_max);

/* All samples in (after_ms, until_ms], series by series, in the finest tier that still has them: for
 * sending on (remote write), with a time as the only cursor to keep. Nothing at or before
 * vv_samples_last_ms() arrives later, except by a clock set back or a batch of the same time. The
 * slices live during the call of fn, which must not call the store; a result other than VV_OK ends
 * the walk. */
typedef enum vv_err vv_samples_walk_fn(void *user, const struct vv_promql_series *series,
                                       enum vv_samples_kind kind);
VV_MUST_CHECK enum vv_err vv_samples_walk(struct vv_samples *s, int64_t after_ms, int64_t until_ms,
                                          vv_samples_walk_fn *fn, void *user);
int64_t vv_samples_last_ms(struct vv_samples *s); /* INT64_MIN: empty */

/* Every series with its labels and newest sample (samples NULL: none); the same rules. */
VV_MUST_CHECK enum vv_err vv_samples_each(struct vv_samples *s, vv_samples_walk_fn *fn, void *user);

struct vv_samples_stats {
    uint64_t series, disk_bytes, memory_bytes;
    uint64_t segments[VV_SAMPLES_TIERS]; /* with the open one */
    int64_t oldest_ms[VV_SAMPLES_TIERS]; /* INT64_MAX: none */
    /* Since opening: */
    uint64_t appended, late, unknown; /* samples */
    uint64_t series_refused;
    uint64_t unwritten;            /* samples that are in memory only: no room or an error */
    uint64_t overfull;             /* samples that found their open chunk full */
    uint64_t write_errors, closed; /* segments closed */
    uint64_t expired, evicted;     /* segments deleted: by age, by the budget */
    uint64_t clock_back;           /* times the clock was set back */
    uint64_t torn_bytes, damaged;  /* found at opening or reading: cut bytes; records, chunks */
};
void vv_samples_stats(struct vv_samples *s, struct vv_samples_stats *ret);
#endif
