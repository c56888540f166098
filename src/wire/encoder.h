/* src/wire/encoder.h - content codings made on the way: one stream over gzip, brotli and zstd.
 *
 * Model:     begin a stream, feed it runs of input and room for output until it says VV_OK for the
 *            last run (FINISH), end it. What comes out decodes to what went in, however both were
 *            cut. Contexts are kept by the worker's pool and used again: a stream that finds an idle
 *            one allocates nothing (zstd may grow its tables for a higher level).
 * Source:    RFC 1952 (gzip, by ISA-L), RFC 7932 (brotli), RFC 8878 (zstd).
 *            Levels and libraries are chosen by figures: docs/adr/0007-compression.md.
 * Units:     bytes. Threads: a pool and its encoders belong to one worker.
 * Ownership: the pool owns idle encoders; who begins one ends it, before vv_encoders_fini().
 * Errors:    VV_ENOMEM, VV_ELIMIT (the pool's budget is in use: send the answer as it is).
 */
#ifndef VV_WIRE_ENCODER_H
#define VV_WIRE_ENCODER_H
#include "base/err.h"
#include "wire/encoding.h"

#define VV_ENCODER_LEVEL_GZIP 2 /* 1 to 3 */
#define VV_ENCODER_LEVEL_BR 4   /* 2 to 8 */
#define VV_ENCODER_LEVEL_ZSTD 3 /* 1 to 12 */

struct vv_encoder;
struct vv_encoders { /* PRIVATE fields: a worker's pool */
    uint64_t bytes;  /* all contexts, used and idle */
    uint64_t bytes_max;
    unsigned in_use;
    struct vv_encoder *idle[VV_ENCODING_COUNT];
};
void vv_encoders_init(struct vv_encoders *pool, uint64_t bytes_max);
void vv_encoders_fini(struct vv_encoders *pool);
void vv_encoders_trim(struct vv_encoders *pool); /* gives all idle contexts back to the system */

/* `encoding` is not IDENTITY; a level outside its range is brought to the next one inside. size_hint: how
 * long the input may be, UINT64_MAX when unknown; it only chooses how much memory to use. On failure
 * *ret is untouched. */
VV_MUST_CHECK enum vv_err vv_encoder_begin(struct vv_encoders *pool, enum vv_encoding encoding,
                                           int level, uint64_t size_hint, struct vv_encoder **ret);

enum vv_encoder_op {
    VV_ENCODER_MORE,   /* keep what helps to compress */
    VV_ENCODER_FLUSH,  /* let the receiver decode all input so far; costs size */
    VV_ENCODER_FINISH, /* this is the end of the input */
};
/* Takes bytes from the front of *in and writes at most `cap` (at least 1) bytes to `out`; *ret_n is how
 * many. VV_OK: all input was taken and, for FLUSH and FINISH, everything has been written. VV_EAGAIN:
 * `out` is full; call again with more room, what is left of *in, and the same op. VV_ENOMEM: the stream
 * is broken, end it. After a FINISH that said VV_OK: only vv_encoder_end(). */
VV_MUST_CHECK enum vv_err vv_encoder_feed(struct vv_encoder *e, struct vv_str *in,
                                          enum vv_encoder_op op, char *out, size_t cap,
                                          size_t *ret_n);
/* Finished or not. NULL is fine. */
void vv_encoder_end(struct vv_encoders *pool, struct vv_encoder *e);
#endif
