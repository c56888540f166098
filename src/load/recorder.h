/* src/load/recorder.h - latencies with three significant digits, exact to merge.
 *
 * Model:     a log-linear histogram of nanoseconds from 1 us to 1 h (HdrHistogram layout, 2048
 *            sub-buckets): a quantile is off by at most 0.1 %. Merging adds counts, so agents and
 *            threads lose nothing.
 * Source:    G. Tene, HdrHistogram; wrk2 for recording from the intended start.
 * Units:     ns. Threads: one writer; copies for readers.
 */
#ifndef VV_LOAD_RECORDER_H
#define VV_LOAD_RECORDER_H
#include "base/err.h"
#include "base/str.h"

struct vv_load_hist;
VV_MUST_CHECK struct vv_load_hist *vv_load_hist_new(void); /* NULL: no memory */
void vv_load_hist_free(struct vv_load_hist *h);
void vv_load_hist_clear(struct vv_load_hist *h);
void vv_load_hist_add(struct vv_load_hist *h, uint64_t ns);
void vv_load_hist_merge(struct vv_load_hist *into, const struct vv_load_hist *from);
uint64_t vv_load_hist_count(const struct vv_load_hist *h);
uint64_t vv_load_hist_quantile(const struct vv_load_hist *h, double q); /* 0.99; ns, 0 when empty */
uint64_t vv_load_hist_min(const struct vv_load_hist *h);
uint64_t vv_load_hist_max(const struct vv_load_hist *h);
double vv_load_hist_mean(const struct vv_load_hist *h);
/* Values at most `ns`. */
uint64_t vv_load_hist_at_most(const struct vv_load_hist *h, uint64_t ns);
/* Visits filled buckets in rising order: for charts, files and agents. */
void vv_load_hist_each(const struct vv_load_hist *h,
                       void (*fn)(void *ctx, uint64_t from_ns, uint64_t to_ns, uint64_t count),
                       void *ctx);
/* Exact text form for merging elsewhere, and back. VV_ESYNTAX: it is none. */
struct vv_sb;
void vv_load_hist_write(const struct vv_load_hist *h, struct vv_sb *out);
VV_MUST_CHECK enum vv_err vv_load_hist_read(struct vv_load_hist *h, struct vv_str text);
#endif
