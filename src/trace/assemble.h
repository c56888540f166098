/* src/trace/assemble.h - spans to traces, and the moment when a trace is judged.
 *
 * Model:     spans gather by trace id in any order. A trace is due `root_grace_ns` after its root
 *            ended (a span without a parent, or the gateway's entry), or once nothing came for
 *            `quiet_ns`, or at `age_max_ns` in any case. Then `judge` is asked once. Its word is
 *            remembered: spans that come late follow it (`late` gets those of a kept trace).
 * Memory:    at most bytes_max of packed spans and traces_max traces; to stay below, the trace that
 *            began to gather longest ago is judged early (counted). Of a trace only spans_max spans
 *            are kept (counted in the trace).
 * Units:     *_ns durations; now_ns any steady clock.
 * Threads:   one owner (the collector).
 * Ownership: spans are copied in; what judge gets lives during the call.
 */
#ifndef VV_TRACE_ASSEMBLE_H
#define VV_TRACE_ASSEMBLE_H
#include "trace/span.h"

struct vv_trace { /* an assembled trace */
    uint8_t id[VV_TRACE_ID_BYTES];
    struct vv_span *spans; /* as they came */
    size_t count;
    size_t packed_bytes;
    const struct vv_str *packed; /* each span's bytes */
    uint32_t lost;               /* spans over spans_max */
    size_t root;                 /* index; the earliest span without a known parent */
    uint64_t start_ns, end_ns;   /* of all spans */
    bool error, early;           /* a span failed; judged before it was due */
};
/* True: keep it. */
typedef bool vv_trace_judge_fn(void *user, const struct vv_trace *t, uint64_t now_ns);
typedef void vv_trace_late_fn(void *user, struct vv_str packed);

struct vv_assembly_conf {
    uint64_t quiet_ns, root_grace_ns, age_max_ns;
    uint64_t bytes_max, traces_max, spans_max;
    uint64_t decided_max; /* remembered words, a power of two */
    uint64_t seed;        /* chance: strangers choose ids, and must not know which share a bucket */
};
/* 10 s quiet, 2 s after the root, at most 60 s; 32 MiB, 50,000 traces of 1,000 spans. */
void vv_assembly_conf_default(struct vv_assembly_conf *conf);

struct vv_assembly;
VV_MUST_CHECK enum vv_err vv_assembly_new(const struct vv_assembly_conf *conf,
                                          vv_trace_judge_fn *judge, vv_trace_late_fn *late,
                                          void *user, struct vv_assembly **ret);
void vv_assembly_free(struct vv_assembly *a); /* judges nothing */
/* VV_ESYNTAX: no packed span; VV_ENOMEM, VV_ELIMIT: the trace is full (both counted). */
enum vv_err vv_assembly_add(struct vv_assembly *a, struct vv_str packed, uint64_t now_ns);
/* Judges what is due, at most `max` traces; returns how many. */
size_t vv_assembly_tick(struct vv_assembly *a, uint64_t now_ns, size_t max);
/* Judges all, due or not: at the end of the process. */
void vv_assembly_flush(struct vv_assembly *a, uint64_t now_ns);

/* Unpacks and orders spans that lie elsewhere (the store) into a trace; free() *ret_memory. */
VV_MUST_CHECK enum vv_err vv_trace_open(const struct vv_str *packed, size_t count,
                                        struct vv_trace *ret, void **ret_memory);

struct vv_assembly_stats {
    uint64_t open, bytes; /* now */
    uint64_t spans, broken, lost, kept, dropped, early, late_kept, late_dropped;
};
void vv_assembly_stats(const struct vv_assembly *a, struct vv_assembly_stats *ret);
#endif
