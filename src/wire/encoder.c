/* src/wire/encoder.c - the pool, and what all encoders have in common. Contexts are 0.2 to 2 MiB each
 * and cost more to make than a small answer costs to compress, so they are kept; the budget counts them
 * whether used or idle, and idle ones of other kinds go first when it is tight. */
#include "wire/encoder.h"
#include "wire/encoder_int.h"

static const struct vv_encoder_ops *const kinds[VV_ENCODING_COUNT] = {
    [VV_ENCODING_BR] = &vv_encoder_brotli,
    [VV_ENCODING_ZSTD] = &vv_encoder_zstd,
    [VV_ENCODING_GZIP] = &vv_encoder_gzip,
};

void vv_encoders_init(struct vv_encoders *pool, uint64_t bytes_max)
{
    *pool = (struct vv_encoders){.bytes_max = bytes_max};
}

static void destroy(struct vv_encoders *pool, struct vv_encoder *e)
{
    pool->bytes -= e->bytes;
    e->ops->destroy(e);
}

void vv_encoders_trim(struct vv_encoders *pool)
{
    for (size_t i = 0; i < VV_ENCODING_COUNT; i++) {
        while (pool->idle[i] != NULL) {
            struct vv_encoder *e = pool->idle[i];
            pool->idle[i] = e->next;
            destroy(pool, e);
        }
    }
}

void vv_encoders_fini(struct vv_encoders *pool)
{
    VV_ASSERT(pool->in_use == 0);
    vv_encoders_trim(pool);
    VV_ASSERT(pool->bytes == 0);
}

/* Makes room in the budget for what an encoder may come to hold. */
static bool reserve(struct vv_encoders *pool, uint64_t bytes)
{
    if (pool->bytes + bytes > pool->bytes_max) {
        vv_encoders_trim(pool);
    }
    if (pool->bytes + bytes > pool->bytes_max) {
        return false;
    }
    pool->bytes += bytes;
    return true;
}

/* An idle one, else a new one. */
static struct vv_encoder *take(struct vv_encoders *pool, const struct vv_encoder_ops *ops)
{
    struct vv_encoder *e = pool->idle[ops->encoding];
    if (e != NULL) {
        pool->idle[ops->encoding] = e->next;
        return e;
    }
    e = ops->make();
    if (e != NULL) {
        e->ops = ops;
        e->bytes = 0;
    }
    return e;
}

enum vv_err vv_encoder_begin(struct vv_encoders *pool, enum vv_encoding encoding, int level,
                             uint64_t size_hint, struct vv_encoder **ret)
{
    VV_ASSERT(encoding < VV_ENCODING_COUNT && kinds[encoding] != NULL);
    const struct vv_encoder_ops *ops = kinds[encoding];
    struct vv_encoder *e = take(pool, ops);
    if (e == NULL) {
        return VV_ENOMEM;
    }
    /* Libraries allocate as they go: until the stream ends it counts with what it may need. */
    const size_t more = e->bytes < ops->bytes_expected ? ops->bytes_expected - e->bytes : 0;
    if (!reserve(pool, more)) {
        destroy(pool, e);
        return VV_ELIMIT;
    }
    e->bytes += more;
    level = level < ops->level_min ? ops->level_min : level;
    level = level > ops->level_max ? ops->level_max : level;
    const enum vv_err err = ops->begin(e, level, size_hint);
    if (err != VV_OK) {
        destroy(pool, e);
        return err;
    }
    e->next = NULL;
    e->dirty = e->finished = false;
    pool->in_use++;
    *ret = e;
    return VV_OK;
}

enum vv_err vv_encoder_feed(struct vv_encoder *e, struct vv_str *in, enum vv_encoder_op op,
                            char *out, size_t cap, size_t *ret_n)
{
    VV_ASSERT(cap > 0 && !e->finished);
    *ret_n = 0;
    e->dirty = e->dirty || in->n > 0;
    if (op != VV_ENCODER_FINISH && in->n == 0 && !e->dirty) {
        return VV_OK; /* nothing new: some libraries would write an empty block each time */
    }
    const enum vv_err err = e->ops->feed(e, in, op, out, cap, ret_n);
    if (err == VV_OK && op != VV_ENCODER_MORE) {
        e->dirty = false;
        e->finished = op == VV_ENCODER_FINISH;
    }
    return err;
}

void vv_encoder_end(struct vv_encoders *pool, struct vv_encoder *e)
{
    if (e == NULL) {
        return;
    }
    pool->in_use--;
    e->ops->rest(e);
    const size_t held = e->ops->held_bytes(e);
    pool->bytes = pool->bytes - e->bytes + held;
    e->bytes = held;
    if (pool->bytes > pool->bytes_max) { /* it grew beyond what was expected */
        destroy(pool, e);
        return;
    }
    e->next = pool->idle[e->ops->encoding];
    pool->idle[e->ops->encoding] = e;
}
