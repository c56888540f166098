/* src/wire/encoder_whole.c - gzip by libdeflate, which sees the whole input and is a fifth smaller than
 * ISA-L at its best; the others by their streams at higher levels. Figures: docs/adr/0007-compression.md. */
#include "wire/encoder_whole.h"
#include "wire/encoder.h"
#include <libdeflate.h>

#define LEVEL_GZIP 6
#define LEVEL_BR 6
#define LEVEL_ZSTD 12
#define BYTES_MAX (8 * VV_MIB) /* of one stream's working memory */

static enum vv_err whole_gzip(struct vv_str in, char *out, size_t cap, size_t *ret_n)
{
    struct libdeflate_compressor *c = libdeflate_alloc_compressor(LEVEL_GZIP);
    if (c == NULL) {
        return VV_ENOMEM;
    }
    *ret_n = libdeflate_gzip_compress(c, in.p, in.n, out, cap);
    libdeflate_free_compressor(c);
    return *ret_n > 0 ? VV_OK : VV_ERANGE;
}

enum vv_err vv_encode_whole(enum vv_encoding encoding, struct vv_str in, char *out, size_t cap,
                            size_t *ret_n)
{
    struct vv_encoders pool;
    struct vv_encoder *e = NULL;
    VV_ASSERT(cap > 0);
    if (encoding == VV_ENCODING_GZIP) {
        return whole_gzip(in, out, cap, ret_n);
    }
    vv_encoders_init(&pool, BYTES_MAX);
    enum vv_err err = vv_encoder_begin(
        &pool, encoding, encoding == VV_ENCODING_BR ? LEVEL_BR : LEVEL_ZSTD, in.n, &e);
    if (err == VV_OK) {
        err = vv_encoder_feed(e, &in, VV_ENCODER_FINISH, out, cap, ret_n);
        vv_encoder_end(&pool, e);
    }
    vv_encoders_fini(&pool);
    return err == VV_EAGAIN ? VV_ERANGE : err == VV_ELIMIT ? VV_ENOMEM : err;
}
