/* src/wire/encoder_zstd.c - zstd by libzstd. The window is kept small: its own default for an answer of
 * unknown length is 2 MiB of window and more than that in tables, for each stream at once. */
#include "wire/encoder_int.h"
#include <stdlib.h>
#include <zstd.h>

#define WINDOW_BITS_MIN 14
#define WINDOW_BITS_MAX 17
#define TABLE_BITS_MAX 16 /* 17 bits take 0.5 MiB more for 0.1 % less on long text */

struct zstd {
    struct vv_encoder e;
    ZSTD_CCtx *ctx;
};

static struct vv_encoder *make(void)
{
    struct zstd *s = malloc(sizeof *s);
    if (s == NULL) {
        return NULL;
    }
    s->ctx = ZSTD_createCCtx();
    if (s->ctx == NULL) {
        free(s);
        return NULL;
    }
    return &s->e;
}

static void destroy(struct vv_encoder *e)
{
    struct zstd *s = VV_CONTAINER(e, struct zstd, e);
    ZSTD_freeCCtx(s->ctx);
    free(s);
}

static int window_bits(uint64_t size_hint)
{
    int bits = WINDOW_BITS_MIN;
    while (bits < WINDOW_BITS_MAX && (UINT64_C(1) << bits) < size_hint) {
        bits++;
    }
    return bits;
}

static enum vv_err begin(struct vv_encoder *e, int level, uint64_t size_hint)
{
    ZSTD_CCtx *ctx = VV_CONTAINER(e, struct zstd, e)->ctx;
    const int bits = window_bits(size_hint);
    const int table_bits = bits < TABLE_BITS_MAX ? bits : TABLE_BITS_MAX;
    const size_t rc[] = {
        ZSTD_CCtx_reset(ctx, ZSTD_reset_session_only),
        ZSTD_CCtx_setParameter(ctx, ZSTD_c_compressionLevel, level),
        ZSTD_CCtx_setParameter(ctx, ZSTD_c_windowLog, bits),
        ZSTD_CCtx_setParameter(ctx, ZSTD_c_hashLog, table_bits),
        ZSTD_CCtx_setParameter(ctx, ZSTD_c_chainLog, table_bits),
    };
    for (size_t i = 0; i < VV_COUNT(rc); i++) {
        VV_ASSERT(!ZSTD_isError(rc[i])); /* all are in their ranges */
    }
    return VV_OK;
}

static enum vv_err feed(struct vv_encoder *e, struct vv_str *in, enum vv_encoder_op op, char *out,
                        size_t cap, size_t *ret_n)
{
    static const ZSTD_EndDirective ops[] = {
        [VV_ENCODER_MORE] = ZSTD_e_continue,
        [VV_ENCODER_FLUSH] = ZSTD_e_flush,
        [VV_ENCODER_FINISH] = ZSTD_e_end,
    };
    ZSTD_CCtx *ctx = VV_CONTAINER(e, struct zstd, e)->ctx;
    ZSTD_inBuffer from = {in->p, in->n, 0};
    ZSTD_outBuffer to = {out, cap, 0};
    size_t left; /* at least so many bytes wait in the context */
    do {
        left = ZSTD_compressStream2(ctx, &to, &from, ops[op]);
        if (ZSTD_isError(left)) {
            return VV_ENOMEM; /* no other failure is left: the parameters were taken */
        }
    } while (to.pos < to.size && (from.pos < from.size || (op != VV_ENCODER_MORE && left > 0)));
    vv_encoder_taken(in, from.pos);
    *ret_n = to.pos;
    return from.pos == from.size && (op == VV_ENCODER_MORE || left == 0) ? VV_OK : VV_EAGAIN;
}

static void rest(struct vv_encoder *e VV_UNUSED)
{
}

static size_t held_bytes(const struct vv_encoder *e)
{
    return sizeof(struct zstd) + ZSTD_sizeof_CCtx(VV_CONTAINER(e, const struct zstd, e)->ctx);
}

const struct vv_encoder_ops vv_encoder_zstd = {
    .encoding = VV_ENCODING_ZSTD,
    .level_min = 1,
    .level_max = 12,
    .bytes_expected = 1536 * VV_KIB, /* by measurement, over all levels */
    .make = make,
    .destroy = destroy,
    .begin = begin,
    .feed = feed,
    .rest = rest,
    .held_bytes = held_bytes,
};
