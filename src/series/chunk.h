/* src/series/chunk.h - samples of one series in few bits: rising times and numbers.
 *
 * Model:     a fixed buffer that samples are appended to until it is full. Times are stored as the
 *            change of their distance, numbers as what differs from the one before; a sample at a
 *            steady pace with the same value takes two bits. The buffer can be read while it grows
 *            and at any length: bits behind `n` samples are not looked at.
 * Source:    T. Pelkonen et al., "Gorilla: A Fast, Scalable, In-Memory Time Series Database",
 *            PVLDB 8 (2015), section 4.1, with widths for milliseconds.
 * Units:     *_ms are milliseconds since 1970.
 * Threads:   one owner; a finished chunk may be read by many.
 * Ownership: the caller owns the buffer.
 * Errors:    VV_ELIMIT when the buffer is full and VV_EINVAL for a time that does not rise: nothing
 *            was added. Readers take any bytes and say VV_ESYNTAX where they end or make no sense.
 */
#ifndef VV_SERIES_CHUNK_H
#define VV_SERIES_CHUNK_H
#include "base/err.h"

struct vv_chunk_state { /* PRIVATE: what the next sample is compared with */
    size_t bit;
    int64_t t_ms, delta_ms;
    uint64_t value;
    unsigned leading, width; /* of the last window of differing bits; width 0: none yet */
};
struct vv_chunk { /* PRIVATE fields, but n */
    uint8_t *buf;
    size_t bytes;
    uint32_t n; /* samples; to be kept with the bytes */
    struct vv_chunk_state last;
};
struct vv_chunk_reader { /* PRIVATE fields */
    const uint8_t *buf;
    size_t bytes;
    uint32_t left;
    bool first;
    struct vv_chunk_state last;
};

/* The buffer need not be zeroed. */
void vv_chunk_init(struct vv_chunk *c, uint8_t *buf, size_t bytes);
VV_MUST_CHECK enum vv_err vv_chunk_add(struct vv_chunk *c, int64_t t_ms, double v);
size_t vv_chunk_bytes(const struct vv_chunk *c); /* in use, the last one perhaps in part */

void vv_chunk_read(struct vv_chunk_reader *r, const uint8_t *buf, size_t bytes, uint32_t n);
/* VV_ENOENT behind the last sample. */
VV_MUST_CHECK enum vv_err vv_chunk_next(struct vv_chunk_reader *r, int64_t *ret_t_ms,
                                        double *ret_v);
#endif
