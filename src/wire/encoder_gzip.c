/* src/wire/encoder_gzip.c - gzip by ISA-L: at a quarter of zlib's CPU it is smaller than zlib's level 1,
 * so there is no reason to have zlib beside it (docs/adr/0007-compression.md). */
#include "wire/encoder_int.h"
#include <isa-l/igzip_lib.h>
#include <stdlib.h>

#define RUN_MAX (1U << 30) /* ISA-L counts in 32 bits */
/* ISA-L starts a flush anew when it is called again before its last byte had room, and with little room
 * that never ends. So it always gets this much, here when the caller has less. */
#define STASH_BYTES 512

struct gzip {
    struct vv_encoder e;
    struct isal_zstream z;
    uint32_t stash_at, stash_n; /* stash[at, n) waits to be written */
    enum vv_err stash_err;      /* what to say once it has been */
    char stash[STASH_BYTES];
    uint8_t level_memory[ISAL_DEF_LVL3_SMALL]; /* as many symbols a block as zlib has: 16 Ki */
};

static struct vv_encoder *make(void)
{
    struct gzip *g = malloc(sizeof *g); /* not zeroed: begin() sets what is read, pages stay away */
    return g != NULL ? &g->e : NULL;
}

static void destroy(struct vv_encoder *e)
{
    free(VV_CONTAINER(e, struct gzip, e));
}

static enum vv_err begin(struct vv_encoder *e, int level, uint64_t size_hint VV_UNUSED)
{
    struct gzip *g = VV_CONTAINER(e, struct gzip, e);
    isal_deflate_init(&g->z);
    g->stash_at = g->stash_n = 0;
    g->z.level = (uint32_t)level;
    g->z.level_buf = g->level_memory;
    g->z.level_buf_size = sizeof g->level_memory;
    g->z.gzip_flag = IGZIP_GZIP;
    return VV_OK;
}

static bool is_complete(const struct isal_zstream *z, enum vv_encoder_op op)
{
    switch (op) {
    case VV_ENCODER_FINISH:
        return z->internal_state.state == ZSTATE_END;
    case VV_ENCODER_FLUSH: /* the header of the next block is due: the flush has been written */
        return z->avail_in == 0 && (z->avail_out > 0 || z->internal_state.state == ZSTATE_NEW_HDR);
    case VV_ENCODER_MORE:
    default:
        return z->avail_in == 0;
    }
}

/* Codes with room enough. */
static enum vv_err code(struct isal_zstream *z, struct vv_str *in, enum vv_encoder_op op, char *out,
                        size_t cap, size_t *ret_n)
{
    const uint32_t room = (uint32_t)vv_min_u64(cap, RUN_MAX);
    z->next_out = (uint8_t *)out;
    z->avail_out = room;
    bool last;
    do {
        const uint32_t run = (uint32_t)vv_min_u64(in->n, RUN_MAX);
        last = run == in->n;
        z->next_in = (uint8_t *)(uintptr_t)in->p; /* it does not write there */
        z->avail_in = run;
        z->end_of_stream = last && op == VV_ENCODER_FINISH;
        z->flush = last && op == VV_ENCODER_FLUSH ? SYNC_FLUSH : NO_FLUSH;
        const int rc = isal_deflate(z);
        VV_ASSERT(rc == COMP_OK); /* the others say that level or flush were wrong */
        vv_encoder_taken(in, run - z->avail_in);
    } while (z->avail_in == 0 && !last);
    *ret_n = room - z->avail_out;
    return last && is_complete(z, op) ? VV_OK : VV_EAGAIN;
}

static size_t unstash(struct gzip *g, char *out, size_t cap)
{
    const size_t n = vv_min_u64(cap, g->stash_n - g->stash_at);
    memcpy(out, g->stash + g->stash_at, n);
    g->stash_at += (uint32_t)n;
    return n;
}

static enum vv_err feed(struct vv_encoder *e, struct vv_str *in, enum vv_encoder_op op, char *out,
                        size_t cap, size_t *ret_n)
{
    struct gzip *g = VV_CONTAINER(e, struct gzip, e);
    size_t n = unstash(g, out, cap);
    if (n > 0 && g->stash_at == g->stash_n && g->stash_err == VV_OK && in->n == 0) {
        *ret_n = n; /* the call that filled it had finished but for the room */
        return VV_OK;
    }
    enum vv_err err = VV_EAGAIN;
    while (n < cap && err == VV_EAGAIN) {
        size_t more = 0;
        if (cap - n >= STASH_BYTES) {
            err = code(&g->z, in, op, out + n, cap - n, &more);
        } else {
            g->stash_at = 0;
            g->stash_err = code(&g->z, in, op, g->stash, sizeof g->stash, &more);
            g->stash_n = (uint32_t)more;
            more = unstash(g, out + n, cap - n);
            err = g->stash_at == g->stash_n ? g->stash_err : VV_EAGAIN;
        }
        n += more;
    }
    *ret_n = n;
    return err;
}

static void rest(struct vv_encoder *e VV_UNUSED)
{
}

static size_t held_bytes(const struct vv_encoder *e VV_UNUSED)
{
    return sizeof(struct gzip);
}

const struct vv_encoder_ops vv_encoder_gzip = {
    .encoding = VV_ENCODING_GZIP,
    .level_min = 1,
    .level_max = 3,
    .bytes_expected = sizeof(struct gzip),
    .make = make,
    .destroy = destroy,
    .begin = begin,
    .feed = feed,
    .rest = rest,
    .held_bytes = held_bytes,
};
