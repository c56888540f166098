/* src/trace/otlp.h - OTLP/HTTP in JSON: spans of applications in, our spans out.
 *
 * Model:     reading goes through an ExportTraceServiceRequest span by span; a span that is broken
 *            (no ids, no times) is refused alone and counted, for `partialSuccess`. Unknown members
 *            are skipped, as the specification asks. Writing groups spans by service.
 * Source:    opentelemetry-proto, docs/specification.md (OTLP/HTTP, JSON Protobuf Encoding): ids are
 *            hex, 64-bit integers strings, enums numbers, keys lowerCamelCase.
 * Hostile:   sizes, values and depth are counted before a tree is built; jansson never sees more.
 * Ownership: what a visitor gets lives during its call.
 * Threads:   pure.
 */
#ifndef VV_TRACE_OTLP_H
#define VV_TRACE_OTLP_H
#include "base/json.h"
#include "trace/span.h"

struct vv_otlp_limits {
    uint64_t bytes_max;
    uint64_t values_max; /* of the JSON text: what costs memory */
    uint64_t depth_max;
    uint64_t spans_max; /* the rest is refused as broken spans are */
};
/* 4 MiB, 400,000 values, 32 deep, 20,000 spans. */
void vv_otlp_limits_default(struct vv_otlp_limits *l);

struct vv_otlp_result {
    uint64_t accepted, rejected;
    char error[160]; /* of the first refused span, or why all was; "": none */
};
/* A false return refuses the span (counted). */
typedef bool vv_otlp_span_fn(void *user, const struct vv_span *s);
/* VV_ESYNTAX: no such request (answer 400); VV_ELIMIT: too large (413); VV_ENOMEM. *ret is set in all
 * cases. */
VV_MUST_CHECK enum vv_err vv_otlp_read(struct vv_str json, const struct vv_otlp_limits *limits,
                                       vv_otlp_span_fn *fn, void *user, struct vv_otlp_result *ret);
/* The answer to a reader's sender: `{}`, or partialSuccess when spans were refused. */
void vv_otlp_write_response(const struct vv_otlp_result *r, struct vv_sb *out);
/* The answer to what could not be read: a google.rpc.Status. */
void vv_otlp_write_error(enum vv_err err, const char *message, struct vv_sb *out);

struct vv_otlp_resource {
    struct vv_str service;           /* of spans that carry none */
    struct vv_str version, instance; /* told only with this service; "": not told */
};
/* Writes nothing for no spans (never an empty envelope). out->failed: out of memory. */
void vv_otlp_write(const struct vv_span *spans, size_t count, const struct vv_otlp_resource *r,
                   struct vv_sb *out);
/* What a receiver answered with 200. VV_ESYNTAX: not JSON; then nothing was rejected as far as we
 * know. */
VV_MUST_CHECK enum vv_err vv_otlp_read_response(struct vv_str json, uint64_t *ret_rejected,
                                                char *error, size_t error_bytes);
#endif
