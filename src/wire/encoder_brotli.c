/* src/wire/encoder_brotli.c - brotli by libbrotlienc. Its encoder cannot be reset, only made anew, with
 * ten or so allocations of up to a mebibyte; fresh pages for those would cost more than coding a small
 * answer. So freed blocks stay in the context and serve the next stream. And as Debian builds it, it ends the
 * process when an allocation fails: ours does not return then, it jumps out of the library, all of whose
 * memory is ours to take back. */
#include "wire/encoder_int.h"
#include <brotli/encode.h>
#include <setjmp.h>
#include <stdlib.h>

#define WINDOW_BITS_MIN 12
#define WINDOW_BITS_MAX 16      /* 18 bits take 1.3 MiB more for 3 % less on long text */
#define HELD_BYTES (2 * VV_MIB) /* by measurement, over all levels; an idle context keeps no more */

struct block {
    struct block *next;
    size_t bytes;
    bool used;
    VV_ALIGNED(16) char data[];
};

struct brotli {
    struct vv_encoder e;
    BrotliEncoderState *state; /* lives in a block, as all of its memory does */
    struct block *blocks;
    size_t held; /* bytes of all blocks */
    jmp_buf no_memory;
};

/* A free block of up to twice the size serves, so few of each size ever exist. */
static void *block_alloc(void *opaque, size_t bytes)
{
    struct brotli *b = opaque;
    struct block *best = NULL;
    for (struct block *at = b->blocks; at != NULL; at = at->next) {
        if (!at->used && at->bytes >= bytes && at->bytes / 2 <= bytes &&
            (best == NULL || at->bytes < best->bytes)) {
            best = at;
        }
    }
    if (best == NULL) {
        best = bytes < SIZE_MAX / 2 ? malloc(sizeof *best + bytes) : NULL;
        if (best == NULL) {
            longjmp(b->no_memory, 1);
        }
        best->bytes = bytes;
        best->next = b->blocks;
        b->blocks = best;
        b->held += sizeof *best + bytes;
    }
    best->used = true;
    return best->data;
}

static void block_free(void *opaque VV_UNUSED, void *data)
{
    if (data != NULL) {
        VV_CONTAINER(data, struct block, data)->used = false;
    }
}

/* Ends the stream and keeps at most held_max bytes. The library has nothing but these blocks, so it need
 * not be asked to let go of them. */
static void drop_stream(struct brotli *b, size_t held_max)
{
    b->state = NULL;
    for (struct block *at = b->blocks; at != NULL; at = at->next) {
        at->used = false;
    }
    while (b->blocks != NULL && b->held > held_max) {
        struct block *block = b->blocks;
        b->blocks = block->next;
        b->held -= sizeof *block + block->bytes;
        free(block);
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
    drop_stream(b, HELD_BYTES - sizeof *b);
}

static void destroy(struct vv_encoder *e)
{
    struct brotli *b = VV_CONTAINER(e, struct brotli, e);
    drop_stream(b, 0);
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
    if (setjmp(b->no_memory) != 0) {
        return VV_ENOMEM;
    }
    b->state = BrotliEncoderCreateInstance(block_alloc, block_free, b);
    VV_ASSERT(b->state != NULL);
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
    struct brotli *b = VV_CONTAINER(e, struct brotli, e);
    BrotliEncoderState *const s = b->state;
    if (s == NULL || setjmp(b->no_memory) != 0) {
        b->state = NULL; /* half changed: not to be used again */
        return VV_ENOMEM;
    }
    const uint8_t *next_in = (const uint8_t *)in->p;
    uint8_t *next_out = (uint8_t *)out;
    size_t left = in->n;
    size_t room = cap;
    const bool done =
        BrotliEncoderCompressStream(s, ops[op], &left, &next_in, &room, &next_out, NULL);
    vv_encoder_taken(in, in->n - left);
    *ret_n = cap - room;
    VV_ASSERT(done); /* for calls in the right order only memory can fail, and that jumped */
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
