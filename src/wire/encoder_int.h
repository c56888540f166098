/* src/wire/encoder_int.h - what encoder.c asks of each library. */
#ifndef VV_WIRE_ENCODER_INT_H
#define VV_WIRE_ENCODER_INT_H
#include "wire/encoder.h"

struct vv_encoder { /* the first member of each library's context */
    const struct vv_encoder_ops *ops;
    struct vv_encoder *next;
    size_t bytes; /* counted in the pool */
    bool dirty;   /* input was taken since the last flush */
    bool finished;
};

struct vv_encoder_ops {
    enum vv_encoding encoding;
    int level_min, level_max;
    size_t bytes_expected; /* what a stream may come to hold */
    /* NULL: no memory. */
    struct vv_encoder *(*make)(void);
    void (*destroy)(struct vv_encoder *e);
    VV_MUST_CHECK enum vv_err (*begin)(struct vv_encoder *e, int level, uint64_t size_hint);
    VV_MUST_CHECK enum vv_err (*feed)(struct vv_encoder *e, struct vv_str *in,
                                      enum vv_encoder_op op, char *out, size_t cap, size_t *ret_n);
    /* Lets go of what the stream held, keeps what the next one can use. */
    void (*rest)(struct vv_encoder *e);
    size_t (*held_bytes)(const struct vv_encoder *e);
};
extern const struct vv_encoder_ops vv_encoder_gzip, vv_encoder_brotli, vv_encoder_zstd;

static inline void vv_encoder_taken(struct vv_str *in, size_t n)
{
    in->p += n;
    in->n -= n;
}
#endif
