/* src/trace/store.h - kept traces in a fixed room, the oldest give way.
 *
 * Model:     packed spans lie trace after trace in one ring of bytes; a summary of 96 bytes each says
 *            what is where. A new trace takes the room of the oldest ones. Found by id at once, by
 *            anything else in one pass over the summaries, newest first.
 * Memory:    bytes_max in all: a tenth for summaries, the rest for spans; taken when made.
 * Units:     *_ns since 1970, durations in ns.
 * Threads:   one owner.
 */
#ifndef VV_TRACE_STORE_H
#define VV_TRACE_STORE_H
#include "trace/sample.h"

#define VV_TRACE_LATE_MAX 64

struct vv_trace_summary {
    uint8_t id[VV_TRACE_ID_BYTES];
    uint64_t start_ns, duration_ns; /* of the root */
    uint16_t http_status;           /* of the root, 0: none */
    uint8_t why;                    /* enum vv_sample_why */
    bool error;
    uint32_t spans, bytes;
    struct vv_str route, service; /* of the root; live until the store changes */
};

struct vv_trace_store;
/* At least 64 KiB. `seed` is chance: strangers choose ids, and must not know which share a bucket. */
VV_MUST_CHECK enum vv_err vv_trace_store_new(uint64_t bytes_max, uint64_t seed,
                                             struct vv_trace_store **ret);
void vv_trace_store_free(struct vv_trace_store *s);
/* A trace that is already there is replaced. VV_ELIMIT: larger than an eighth of the room
 * (counted). */
enum vv_err vv_trace_store_add(struct vv_trace_store *s, const struct vv_trace *t,
                               enum vv_sample_why why);
/* A late span: VV_ENOENT when its trace is gone, VV_ELIMIT when it had VV_TRACE_LATE_MAX of them (each
 * writes the whole trace anew: without a bound one trace could push out all others; counted). */
enum vv_err vv_trace_store_add_span(struct vv_trace_store *s, struct vv_str packed);

/* The spans of one trace; free() *ret_memory. VV_ENOENT. */
VV_MUST_CHECK enum vv_err vv_trace_store_get(struct vv_trace_store *s,
                                             const uint8_t id[VV_TRACE_ID_BYTES],
                                             struct vv_trace *ret, void **ret_memory);

enum vv_trace_order { VV_TRACE_NEWEST, VV_TRACE_SLOWEST };
struct vv_trace_query {              /* zeroed: everything */
    struct vv_str route, service;    /* "": any */
    uint16_t status_min, status_max; /* both 0: any */
    bool errors_only;
    uint64_t duration_min_ns, duration_max_ns; /* max 0: any */
    uint64_t from_ns, until_ns;                /* start of the root; until 0: now */
    enum vv_trace_order order;
};
/* Fills at most `max` summaries; returns how many, *ret_total (may be NULL) how many match. */
size_t vv_trace_store_find(struct vv_trace_store *s, const struct vv_trace_query *q,
                           struct vv_trace_summary *ret, size_t max, uint64_t *ret_total);

struct vv_trace_store_stats {
    uint64_t traces, spans, used_bytes, bytes_max;
    uint64_t added, evicted, refused;
    uint64_t oldest_ns; /* 0: empty */
};
void vv_trace_store_stats(const struct vv_trace_store *s, struct vv_trace_store_stats *ret);
#endif
