/* src/series/series_int.h - what the files of the store of samples share.
 *
 * Model:     vv_series_index knows labels, vv_rows the form of an open log, vv_segment that of a closed
 *            file; store.c moves samples between them, select.c reads them all. Numbers in files are
 *            of the machine's byte order.
 * Threads:   everything under the store's lock.
 */
#ifndef VV_SERIES_INT_H
#define VV_SERIES_INT_H
#include "series/chunk.h"
#include "series/series.h"
#include <pthread.h>

#define VV_SERIES_T_MAX (INT64_MAX / 8)
#define VV_SERIES_CHUNK_BYTES_MAX (64 * VV_KIB)
#define VV_SERIES_NEVER INT64_MIN
#define VV_SERIES_DISK_UNIT 4096u

/* Bytes that grow; `failed` falls once and stays, like that of vv_sb. */
struct vv_bytes {
    uint8_t *p;
    size_t n, cap;
    bool failed;
};
bool vv_bytes_room(struct vv_bytes *b, size_t more);
void vv_bytes_add(struct vv_bytes *b, const void *p, size_t n);
void vv_bytes_fini(struct vv_bytes *b);
/* These two need room of 10 bytes made before. */
void vv_bytes_varint(struct vv_bytes *b, uint64_t v);
void vv_bytes_zigzag(struct vv_bytes *b, int64_t v);

struct vv_cursor { /* reads what vv_bytes wrote; any bytes are safe */
    const uint8_t *p, *end;
    bool bad;
};
uint64_t vv_cursor_varint(struct vv_cursor *c);
int64_t vv_cursor_zigzag(struct vv_cursor *c);
/* NULL and bad when there are not so many. */
const uint8_t *vv_cursor_take(struct vv_cursor *c, size_t n);

/* Records of a log: length and checksum before the bytes. */
#define VV_RECORD_HEAD 16
void vv_record_begin(struct vv_bytes *b, size_t *ret_at);
void vv_record_end(struct vv_bytes *b, size_t at);
/* The next whole record at or after *at. Steps over damage and adds it to *damaged; *ret_gap says
 * that something was stepped over. False: none follows, and *at is where the last one ended. */
bool vv_record_next(const uint8_t *buf, size_t n, size_t *at, struct vv_str *ret, bool *ret_gap,
                    uint64_t *damaged);

/* index.c */
struct vv_head { /* the open chunk of a series in one tier */
    struct vv_chunk chunk;
    uint8_t *buf;
};
struct vv_one { /* one series; its labels' bytes lie behind it */
    struct vv_promql_labels labels;
    enum vv_samples_kind kind;
    uint32_t id, generation;
    uint64_t hash;
    int64_t last_ms; /* of its newest sample in the finest tier; VV_SERIES_NEVER */
    double last_v;
    int64_t number_ms; /* the same, but stale markers and clocks set back do not change it */
    double number;     /* NaN: none yet */
    int64_t newest_ms; /* no sample in any file is later */
    struct vv_head head[VV_SAMPLES_TIERS];
    size_t bytes; /* of this allocation */
};
struct vv_posting;
struct vv_series_index {
    struct vv_one **at; /* by number; NULL: free */
    uint32_t n, cap, live;
    uint32_t generation;
    uint32_t lowest; /* no number below is free */
    uint32_t burnt;  /* nor may one below be given: files have samples of lost labels */
    uint32_t *slots; /* number + 1, by hash of labels */
    size_t slots_n;
    struct vv_posting *postings; /* by hash of one label */
    size_t postings_n, postings_used;
    size_t bytes;
};
void vv_series_index_fini(struct vv_series_index *x);
bool vv_series_labels_valid(struct vv_promql_labels labels);
struct vv_one *vv_series_index_find(const struct vv_series_index *x, struct vv_promql_labels l);
/* With a number from a file, or UINT32_MAX for the lowest free one. Takes over a number in use. */
VV_MUST_CHECK enum vv_err vv_series_index_add(struct vv_series_index *x, uint32_t id,
                                              struct vv_promql_labels labels,
                                              enum vv_samples_kind kind, struct vv_one **ret);
/* Forgets all series whose newest_ms is before. */
VV_MUST_CHECK enum vv_err vv_series_index_drop(struct vv_series_index *x, int64_t before_ms);
/* A file has samples of this number: should its labels be lost, nobody else may have it. */
void vv_series_index_seen(struct vv_series_index *x, uint32_t id);
/* Numbers of the series that match, rising; *ret from malloc(). */
VV_MUST_CHECK enum vv_err vv_series_index_select(const struct vv_series_index *x,
                                                 const struct vv_promql_matcher *m, size_t n,
                                                 uint32_t **ret, size_t *ret_n);
VV_MUST_CHECK enum vv_err vv_series_labels_copy(struct vv_promql_labels from, struct vv_arena *a,
                                                struct vv_promql_labels *ret);
/* One record of the file of labels, and back; the cursor's labels point into the record. */
void vv_series_labels_write(const struct vv_one *one, struct vv_bytes *out);
VV_MUST_CHECK enum vv_err vv_series_labels_read(struct vv_str record, uint32_t *ret_id,
                                                enum vv_samples_kind *ret_kind,
                                                struct vv_promql_label at[VV_SAMPLES_LABELS_MAX],
                                                size_t *ret_n);

/* rows.c: batches of a log, each as what changed since the one before. */
struct vv_row_value {
    int64_t t_ms;
    uint64_t bits;
    uint32_t id;
};
struct vv_rows { /* both sides of a log keep the same state */
    uint64_t *prev;
    uint32_t *prev_epoch; /* prev counts as 0 when it is of another epoch */
    size_t cap;
    uint32_t *ids; /* of the last batch */
    size_t ids_n, ids_cap;
    uint32_t epoch;
    unsigned left; /* records until the next key: one that needs none before it */
    int64_t t_ms;
};
void vv_rows_fini(struct vv_rows *r);
void vv_rows_restart(struct vv_rows *r); /* the next record is a key */
/* Appends one record with these samples; equal times are next to each other. */
VV_MUST_CHECK enum vv_err vv_rows_write(struct vv_rows *r, int64_t until_ms,
                                        const struct vv_row_value *at, size_t n,
                                        struct vv_bytes *out);
/* `at` of one time; until_ms of its record. */
typedef void vv_rows_fn(void *user, int64_t until_ms, const struct vv_row_value *at, size_t n);
/* Replays the records of a log; returns where the last whole one ended. */
size_t vv_rows_read(struct vv_rows *r, const uint8_t *buf, size_t bytes, vv_rows_fn *fn, void *user,
                    uint64_t *damaged);

/* segment.c: a closed file. */
struct vv_segment_slot {
    uint32_t at, bytes; /* of the chunk with its head; bytes 0: none */
};
struct vv_segment {
    uint64_t seq, bytes;
    int64_t min_ms, max_ms;
    uint64_t index_at;
    uint32_t ids;
    struct vv_segment_slot *index; /* only when the file's own was damaged */
};
struct vv_segment_chunk {
    const uint8_t *p;
    size_t bytes;
    uint32_t id, n;
    int64_t last_ms;
    double last_v;
};
VV_MUST_CHECK enum vv_err vv_segment_build(const struct vv_series_index *x, unsigned tier,
                                           uint64_t seq, struct vv_bytes *out,
                                           struct vv_segment *ret);
/* From the whole file; VV_ESYNTAX: nothing in it can be used. *slots is malloc()ed: ret->ids of
 * them. */
VV_MUST_CHECK enum vv_err vv_segment_check(const uint8_t *buf, size_t bytes, struct vv_segment *ret,
                                           struct vv_segment_slot **ret_slots, uint64_t *damaged);
VV_MUST_CHECK enum vv_err vv_segment_chunk(const uint8_t *p, size_t bytes,
                                           struct vv_segment_chunk *ret);
void vv_segment_fini(struct vv_segment *g);

/* store.c */
struct vv_tier {
    int64_t step_ms, keep_ms, span_ms;
    struct vv_segment *seg; /* closed, in the order they were written */
    size_t seg_n, seg_cap;
    uint64_t seq; /* of the open one */
    int fd;       /* its log; -1: nothing written yet */
    uint64_t log_bytes;
    bool unsynced;
    int64_t start_ms, min_ms, max_ms; /* of the open one; start: VV_SERIES_NEVER when empty */
    int64_t retry_ms;                 /* closing failed: not again before */
    struct vv_rows rows;
    int64_t interval;           /* a coarse tier: number of the one that runs; -1: none */
    int64_t flushed_ms;         /* intervals that end by then are done */
    struct vv_row_value *falls; /* of the running interval: samples around falls */
    size_t falls_n, falls_cap;
};
struct vv_samples {
    pthread_mutex_t lock;
    struct vv_samples_conf conf;
    char *dir;
    int dir_fd, lock_fd, labels_fd;
    uint64_t labels_bytes;
    bool labels_unsynced;
    struct vv_series_index index;
    struct vv_tier tier[VV_SAMPLES_TIERS];
    int64_t last_ms, synced_ms, forgot_ms;
    struct vv_row_value *batch; /* scratch */
    size_t batch_cap;
    struct vv_bytes out; /* scratch */
    struct vv_samples_stats stats;
};
void vv_series_file_name(char buf[64], unsigned tier, uint64_t seq, const char *end);
/* files.c */
VV_MUST_CHECK enum vv_err vv_series_files_room(struct vv_samples *s, uint64_t file_bytes,
                                               uint64_t more);
uint64_t vv_series_files_bytes(const struct vv_samples *s);
void vv_series_files_expire(struct vv_samples *s);
VV_MUST_CHECK enum vv_err vv_series_files_log(struct vv_samples *s, unsigned tier);
VV_MUST_CHECK enum vv_err vv_series_files_labels(struct vv_samples *s, const struct vv_one *one);
bool vv_series_files_close_segment(struct vv_samples *s, unsigned tier, bool now);
enum vv_err vv_series_files_sync(struct vv_samples *s); /* an error is counted */
VV_MUST_CHECK enum vv_err vv_series_files_open(struct vv_samples *s, const char *dir);
void vv_series_files_fini(struct vv_samples *s);
/* store.c, for files.c while it replays */
void vv_series_replay_fine(void *user, int64_t until_ms, const struct vv_row_value *at, size_t n);
void vv_series_replay_coarse(struct vv_samples *s, unsigned tier, int64_t until_ms,
                             const struct vv_row_value *at, size_t n);
void vv_series_empty_head(struct vv_samples *s, unsigned tier);
int64_t vv_series_floor(int64_t t_ms, int64_t step_ms);
#endif
