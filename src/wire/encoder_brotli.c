/* src/wire/encoder_brotli.c - brotli by libbrotlienc. Its encoder cannot be reset, only made anew, with
 * ten or so allocations of up to a mebibyte; fresh pages for those would cost more than coding a small
 * answer. So freed blocks stay in the context and serve the next stream. */
#include "wire/encoder_int.h"
#include <brotli/encode.h>
#include <stdlib.h>

#define WINDOW_BITS_MIN 12
#define WINDOW_BITS_MAX 16 /* 18 bits take 1.3 MiB more for 3 % less on long text */
#define SPARE_MAX 32
#define HELD_BYTES (2 * VV_MIB) /* by measurement, over all levels; an idle context keeps no more */

struct block {
    struct block *next;
    size_t bytes;
    VV_ALIGNED(16) char data[];
};

struct brotli {
    struct vv_encoder e;
    BrotliEncoderState *state;
    struct block *spare;
    unsigned spare_count;
    size_t held; /* bytes of all blocks, used and spare */
};

static void *block_alloc(void *opaque, size_t bytes)
{
    struct brotli *b = opaque;
    struct block **best = NULL;
    for (struct block **at = &b->spare; *at != NULL; at = &(*at)->next) {
        if ((*at)->bytes >= bytes && (*at)->bytes / 2 <= bytes &&
            (best == NULL || (*at)->bytes < (*best)->bytes)) {
            best = at;
        }
    }
    if (best != NULL) {
        struct block *block = *best;
        *best = block->next;
        b->spare_count--;
        return block->data;
    }
    struct block *block = bytes < SIZE_MAX / 2 ? malloc(sizeof *block + bytes) : NULL;
    if (block == NULL) {
        return NULL;
    }
    block->bytes = bytes;
    b->held += sizeof *block + bytes;
    return block->data;
}

static void block_drop(struct brotli *b, struct block *block)
{
    b->held -= sizeof *block + block->bytes;
    free(block);
}

static void block_free(void *opaque, void *data)
{
    struct brotli *b = opaque;
    if (data == NULL) {
        return;
    }
    struct block *block = VV_CONTAINER(data, struct block, data);
    if (b->spare_count == SPARE_MAX) {
        block_drop(b, block);
        return;
    }
    block->next = b->spare;
    b->spare = block;
    b->spare_count++;
}

static void drop_spares(struct brotli *b, size_t held_max)
{
    while (b->spare != NULL && b->held > held_max) {
        struct block *block = b->spare;
        b->spare = block->next;
        b->spare_count--;
        block_drop(b, block);
    }
}

static struct vv_encoder *make(void)
{
    struct brotli *b = calloc(1, sizeof *b);
    return b != NULL ? &b->e : NULL;
}

static void rest(struct vv_encoder *e)
{
    struct brotli *b = VV_CONTAINER(e, struct brotli, e);
    BrotliEncoderDestroyInstance(b->state);
    b->state = NULL;
    drop_spares(b, HELD_BYTES - sizeof *b);
}

static void destroy(struct vv_encoder *e)
{
    struct brotli *b = VV_CONTAINER(e, struct brotli, e);
    rest(e);
    drop_spares(b, 0);
    free(b);
}

static uint32_t window_bits(uint64_t size_hint)
{
    uint32_t bits = WINDOW_BITS_MIN;
    while (bits < WINDOW_BITS_MAX && (UINT64_C(1) << bits) < size_hint) {
        bits++;
    }
    return bits;
}

static enum vv_err begin(struct vv_encoder *e, int level, uint64_t size_hint)
{
    struct brotli *b = VV_CONTAINER(e, struct brotli, e);
    b->state = BrotliEncoderCreateInstance(block_alloc, block_free, b);
    if (b->state == NULL) {
        return VV_ENOMEM;
    }
    const uint32_t hint = size_hint < UINT32_MAX / 2 ? (uint32_t)size_hint : 0;
    const bool set =
        BrotliEncoderSetParameter(b->state, BROTLI_PARAM_QUALITY, (uint32_t)level) &&
        BrotliEncoderSetParameter(b->state, BROTLI_PARAM_LGWIN, window_bits(size_hint)) &&
        BrotliEncoderSetParameter(b->state, BROTLI_PARAM_SIZE_HINT, hint);
    VV_ASSERT(set);
    return VV_OK;
}

static enum vv_err feed(struct vv_encoder *e, struct vv_str *in, enum vv_encoder_op op, char *out,
                        size_t cap, size_t *ret_n)
{
    static const BrotliEncoderOperation ops[] = {
        [VV_ENCODER_MORE] = BROTLI_OPERATION_PROCESS,
        [VV_ENCODER_FLUSH] = BROTLI_OPERATION_FLUSH,
        [VV_ENCODER_FINISH] = BROTLI_OPERATION_FINISH,
    };
    BrotliEncoderState *s = VV_CONTAINER(e, struct brotli, e)->state;
    const uint8_t *next_in = (const uint8_t *)in->p;
    uint8_t *next_out = (uint8_t *)out;
    size_t left = in->n;
    size_t room = cap;
    const bool done =
        BrotliEncoderCompressStream(s, ops[op], &left, &next_in, &room, &next_out, NULL);
    vv_encoder_taken(in, in->n - left);
    *ret_n = cap - room;
    if (!done) {
        return VV_ENOMEM; /* the only way to fail for calls in the right order */
    }
    if (left > 0 || BrotliEncoderHasMoreOutput(s)) {
        return VV_EAGAIN;
    }
    return op != VV_ENCODER_FINISH || BrotliEncoderIsFinished(s) ? VV_OK : VV_EAGAIN;
}

static size_t held_bytes(const struct vv_encoder *e)
{
    return sizeof(struct brotli) + VV_CONTAINER(e, const struct brotli, e)->held;
}

const struct vv_encoder_ops vv_encoder_brotli = {
    .encoding = VV_ENCODING_BR,
    .level_min = 2, /* below, each run is coded alone: larger than gzip 2 and dearer */
    .level_max = 8, /* 9 takes 0.8 MiB more for 1 % less; beyond, a mebibyte takes seconds */
    .bytes_expected = HELD_BYTES,
    .make = make,
    .destroy = destroy,
    .begin = begin,
    .feed = feed,
    .rest = rest,
    .held_bytes = held_bytes,
};
