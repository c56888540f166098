/* src/wire/trace_context.h - which trace does a request belong to? traceparent, tracestate and B3.
 *
 * Model:     the caller feeds field lines to vv_trace_fields_add(), then asks vv_trace_choose(): W3C
 *            first, then `b3`, then `x-b3-*`; what is broken counts as absent. A request without a
 *            usable context starts a trace of its own (vv_trace_start). Whoever records gets a span
 *            id of its own (vv_trace_child) and writes what its upstream shall read.
 * Source:    W3C Trace Context Level 1 (Recommendation) with the random flag of Level 2; openzipkin
 *            b3-propagation.
 * Strict:    a traceparent that comes twice, in upper case, with a zero id or of version ff is no
 *            traceparent. Its tracestate is then not read. A broken tracestate loses only itself.
 * Ownership: slices point into the caller's fields.
 * Threads:   pure.
 */
#ifndef VV_WIRE_TRACE_CONTEXT_H
#define VV_WIRE_TRACE_CONTEXT_H
#include "base/err.h"
#include "base/rng.h"
#include "base/str.h"

#define VV_TRACE_ID_BYTES 16
#define VV_SPAN_ID_BYTES 8
#define VV_TRACE_SAMPLED 0x01 /* the caller may have recorded it */
#define VV_TRACE_RANDOM 0x02  /* the last 7 bytes of the trace id are random */

#define VV_TRACEPARENT_BYTES 55
#define VV_TRACESTATE_MEMBERS_MAX 32
#define VV_TRACESTATE_BYTES_MAX 512  /* what we send at most */
#define VV_TRACESTATE_READ_MAX 16384 /* more is not read */
#define VV_TRACESTATE_LINES_MAX 32
#define VV_TRACESTATE_KEY_MAX 256
#define VV_TRACESTATE_VALUE_MAX 256
#define VV_B3_BYTES_MAX 68 /* 32-16-1-16 */

enum vv_trace_format { VV_TRACE_NONE, VV_TRACE_W3C, VV_TRACE_B3, VV_TRACE_B3_MULTI };
/* What the caller has decided. W3C knows only YES and NO. */
enum vv_trace_sampling {
    VV_TRACE_DEFER, /* we decide */
    VV_TRACE_NO,
    VV_TRACE_YES,
    VV_TRACE_DEBUG /* yes, whatever sampling says; B3 only */
};

struct vv_trace_context {
    enum vv_trace_format format; /* NONE: no ids came, but `sampling` may have */
    enum vv_trace_sampling sampling;
    uint8_t flags; /* VV_TRACE_* only */
    uint8_t trace_id[VV_TRACE_ID_BYTES];
    uint8_t span_id[VV_SPAN_ID_BYTES];   /* the sender's span, our parent */
    uint8_t parent_id[VV_SPAN_ID_BYTES]; /* the sender's parent, zero: unknown; B3 only */
};

/* ---- tracestate */

struct vv_tracestate {
    size_t count;
    struct {
        struct vv_str key, value;
    } member[VV_TRACESTATE_MEMBERS_MAX]; /* leftmost first */
};
/* All field lines in their order. VV_ESYNTAX: a member is broken; VV_ELIMIT: more than 32 members or
 * too much to read: in both cases *ret is empty. Of members with one key the leftmost stays. */
VV_MUST_CHECK enum vv_err vv_tracestate_parse(const struct vv_str *lines, size_t count,
                                              struct vv_tracestate *ret);
/* {NULL, 0}: not there. */
struct vv_str vv_tracestate_get(const struct vv_tracestate *ts, struct vv_str key);
/* Puts the member leftmost, in place of one with this key; the rightmost of 33 falls off. The slices
 * are kept. VV_EINVAL: no valid key or value. */
VV_MUST_CHECK enum vv_err vv_tracestate_set(struct vv_tracestate *ts, struct vv_str key,
                                            struct vv_str value);
void vv_tracestate_remove(struct vv_tracestate *ts, struct vv_str key);
/* At most min(buf_bytes, 512) bytes: whole members only; those above 128 bytes go first, from the
 * right, then the rightmost. 0: send none. */
size_t vv_tracestate_write(const struct vv_tracestate *ts, char *buf, size_t buf_bytes);

/* ---- what a request carries */

struct vv_trace_fields { /* zeroed: none came */
    struct vv_str traceparent, b3, b3_trace, b3_span, b3_parent, b3_sampled, b3_flags;
    uint16_t traceparents, b3s; /* how many lines */
    uint16_t b3_trace_n, b3_span_n, b3_other_n;
    uint16_t states; /* may exceed what `state` holds: then all are ignored */
    struct vv_str state[VV_TRACESTATE_LINES_MAX];
};
/* True: the field is one of ours (and must not be forwarded as it came). Names in any case. */
bool vv_trace_fields_add(struct vv_trace_fields *f, struct vv_str name, struct vv_str value);
/* True: *ctx has ids to go on with, *ts (may be NULL) what came in tracestate. False: ctx->format is
 * NONE, *ts empty, and ctx->sampling what B3 said alone. */
bool vv_trace_choose(const struct vv_trace_fields *f, struct vv_trace_context *ctx,
                     struct vv_tracestate *ts);

VV_MUST_CHECK enum vv_err vv_traceparent_parse(struct vv_str value, struct vv_trace_context *ret);
/* The single field; "0", "1" and "d" alone are VV_OK with format NONE. */
VV_MUST_CHECK enum vv_err vv_b3_parse(struct vv_str value, struct vv_trace_context *ret);

/* ---- going on */

/* A new trace with random ids; keeps ctx->sampling, which also sets the flag. */
void vv_trace_start(struct vv_trace_context *ctx, struct vv_rng *rng);
/* The same trace, seen from a new span: its parent becomes parent_id. */
void vv_trace_child(struct vv_trace_context *ctx, struct vv_rng *rng);
/* What we decided; sets the flag. */
void vv_trace_decide(struct vv_trace_context *ctx, enum vv_trace_sampling sampling);
void vv_span_id_new(uint8_t id[VV_SPAN_ID_BYTES], struct vv_rng *rng); /* never zero */

/* Version 00, no NUL. */
void vv_traceparent_write(const struct vv_trace_context *ctx, char buf[VV_TRACEPARENT_BYTES]);
/* The single field; returns its length. */
size_t vv_b3_write(const struct vv_trace_context *ctx, char buf[VV_B3_BYTES_MAX]);
/* X-B3-*: up to 4 fields (names are lower case); returns how many. Values lie in buf. */
struct vv_b3_field {
    struct vv_str name, value;
};
size_t vv_b3_write_multi(const struct vv_trace_context *ctx, char buf[VV_B3_BYTES_MAX],
                         struct vv_b3_field ret[4]);

/* Lower-case hex, no NUL, and back (VV_ESYNTAX; upper case is refused). */
void vv_trace_hex(const uint8_t *bytes, size_t n, char *ret);
VV_MUST_CHECK enum vv_err vv_trace_unhex(struct vv_str hex, uint8_t *ret, size_t n);
static inline bool vv_trace_id_zero(const uint8_t *id, size_t n)
{
    uint8_t any = 0;
    for (size_t i = 0; i < n; i++) {
        any |= id[i];
    }
    return any == 0;
}
#endif
