/* src/cache/packed.c - writing, and each thread's contexts of zstd: making one costs more than compressing
 * a small chunk with it, and one for each reader would be memory that lies idle most of the time. */
#include "cache/packed_int.h"
#include <pthread.h>
#include <stdlib.h>
#include <zstd.h>

/* Level 3 takes longer to write for the same bytes; the negative ones make two fifths more bytes of long chunks
 * for hardly less time to read. */
#define LEVEL 1
/* Bytes a chunk must shrink to, at least, or reading it back costs time for nothing. */
#define GOOD_ENOUGH(n) ((n) - (n) / 8)

struct contexts {
    ZSTD_CCtx *pack;
    ZSTD_DCtx *unpack;
    char out[GOOD_ENOUGH(VV_PACKED_CHUNK)];
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t at_end; /* frees a thread's contexts when it ends */
static bool have_key;
static _Thread_local struct contexts *mine;

static void free_contexts(void *arg)
{
    struct contexts *c = arg;
    ZSTD_freeCCtx(c->pack);
    ZSTD_freeDCtx(c->unpack);
    free(c);
    mine = NULL;
}

static void make_key(void)
{
    have_key = pthread_key_create(&at_end, free_contexts) == 0;
}

/* NULL: no memory. */
static struct contexts *contexts(void)
{
    if (VV_LIKELY(mine != NULL)) {
        return mine;
    }
    pthread_once(&once, make_key);
    struct contexts *c = have_key ? malloc(sizeof *c) : NULL;
    if (c == NULL) {
        return NULL;
    }
    c->pack = NULL;
    c->unpack = NULL;
    if (pthread_setspecific(at_end, c) != 0) {
        free(c);
        return NULL;
    }
    mine = c;
    return c;
}

static ZSTD_CCtx *packer(struct contexts *c)
{
    if (c->pack == NULL && (c->pack = ZSTD_createCCtx()) != NULL) {
        const size_t rc = ZSTD_CCtx_setParameter(c->pack, ZSTD_c_compressionLevel, LEVEL);
        VV_ASSERT(!ZSTD_isError(rc)); /* every level is in its range */
    }
    return c->pack;
}

/* The packed bytes, in the thread's memory; {.n = 0}: not small enough, or no memory for trying. */
static struct vv_str pack(struct vv_str bytes)
{
    struct contexts *c = contexts();
    ZSTD_CCtx *z = c != NULL ? packer(c) : NULL;
    if (z == NULL) {
        return (struct vv_str){NULL, 0};
    }
    const size_t n = ZSTD_compress2(z, c->out, GOOD_ENOUGH(bytes.n), bytes.p, bytes.n);
    return (struct vv_str){c->out, ZSTD_isError(n) ? 0 : n};
}

enum vv_err vv_packed_unpack(struct vv_str stored, char *to, size_t n)
{
    struct contexts *c = contexts();
    if (c == NULL || (c->unpack == NULL && (c->unpack = ZSTD_createDCtx()) == NULL)) {
        return VV_ENOMEM;
    }
    return ZSTD_decompressDCtx(c->unpack, to, n, stored.p, stored.n) == n ? VV_OK : VV_ESYNTAX;
}

static bool too_large(const struct vv_packed_head *h)
{
    const size_t max = VV_PACKED_HEAD_MAX; /* each part first, so that the sum cannot overflow */
    return h->meta.n > VV_CACHE_META_MAX || h->tags_n > VV_CACHE_TAGS_MAX || h->key.n > max ||
           h->second.n > max || h->head.n > max ||
           PACKED_FIXED + h->tags_n * 8ul + h->meta.n + h->key.n + h->second.n + h->head.n > max;
}

/* All but the sums. */
static void put_fixed(char fixed[PACKED_FIXED], const struct vv_packed_head *h)
{
    const uint16_t layout = PACKED_LAYOUT;
    const uint16_t version = htole16(PACKED_VERSION);
    packed_put32(fixed + PACKED_AT_MAGIC, PACKED_MAGIC);
    memcpy(fixed + PACKED_AT_VERSION, &version, sizeof version);
    memcpy(fixed + PACKED_AT_LAYOUT, &layout, sizeof layout);
    packed_put64(fixed + PACKED_AT_ID, h->id);
    packed_put64(fixed + PACKED_AT_LOG, h->log);
    packed_put64(fixed + PACKED_AT_WRITTEN, (uint64_t)h->written_ms);
    packed_put64(fixed + PACKED_AT_KEEP, (uint64_t)h->keep_until_ms);
    packed_put64(fixed + PACKED_AT_STORE, (uint64_t)h->store_until_ms);
    packed_put64(fixed + PACKED_AT_BODY_N, h->body_n);
    packed_put32(fixed + PACKED_AT_FLAGS, h->marker ? PACKED_MARKER : 0);
    packed_put32(fixed + PACKED_AT_META_N, (uint32_t)h->meta.n);
    packed_put32(fixed + PACKED_AT_TAGS_N, h->tags_n);
    packed_put32(fixed + PACKED_AT_KEY_N, (uint32_t)h->key.n);
    packed_put32(fixed + PACKED_AT_SECOND_N, (uint32_t)h->second.n);
    packed_put32(fixed + PACKED_AT_HEAD_N, (uint32_t)h->head.n);
}

enum vv_err vv_packed_write_head(struct vv_sb *out, const struct vv_packed_head *h)
{
    if (h->id == 0 || (h->marker && (h->body_n > 0 || h->head.n > 0))) {
        return VV_EINVAL;
    }
    if (too_large(h)) {
        return VV_ELIMIT;
    }
    char fixed[PACKED_FIXED];
    const size_t at = out->n;
    put_fixed(fixed, h);
    vv_sb_add(out, (struct vv_str){fixed, sizeof fixed});
    for (uint32_t i = 0; i < h->tags_n; i++) {
        char tag[8];
        packed_put64(tag, h->tags[i]);
        vv_sb_add(out, (struct vv_str){tag, sizeof tag});
    }
    vv_sb_add(out, h->meta);
    vv_sb_add(out, h->key);
    vv_sb_add(out, h->second);
    vv_sb_add(out, h->head);
    if (out->failed) {
        return VV_ENOMEM;
    }
    char *p = out->p + at; /* sums last: the parts had to lie together */
    const struct vv_str parts = {p + PACKED_FIXED, out->n - at - PACKED_FIXED};
    packed_put64(p + PACKED_AT_PARTS_SUM, vv_str_hash(parts, 0));
    packed_put64(p + PACKED_AT_SUM, vv_str_hash((struct vv_str){p, PACKED_AT_SUM}, 0));
    return VV_OK;
}

enum vv_err vv_packed_write_chunk(struct vv_sb *out, struct vv_str bytes, size_t min_compress)
{
    if (bytes.n > VV_PACKED_CHUNK) {
        return VV_EINVAL;
    }
    if (bytes.n == 0) {
        return VV_OK;
    }
    const struct vv_str packed = bytes.n >= min_compress ? pack(bytes) : (struct vv_str){NULL, 0};
    const struct vv_str stored = packed.n > 0 ? packed : bytes;
    const uint32_t stored_n = (uint32_t)stored.n | (packed.n > 0 ? PACKED_COMPRESSED : 0);
    char head[PACKED_CHUNK_HEAD];
    packed_put32(head + PACKED_CHUNK_PLAIN_N, (uint32_t)bytes.n);
    packed_put32(head + PACKED_CHUNK_STORED_N, stored_n);
    packed_put64(head + PACKED_CHUNK_SUM, packed_chunk_sum(stored, (uint32_t)bytes.n, stored_n));
    vv_sb_add(out, (struct vv_str){head, sizeof head});
    vv_sb_add(out, stored);
    return out->failed ? VV_ENOMEM : VV_OK;
}

enum vv_err vv_packed_check_begin(const char *first)
{
    uint16_t version, layout;
    if (packed_get32(first + PACKED_AT_MAGIC) != PACKED_MAGIC) {
        return VV_ESYNTAX;
    }
    memcpy(&version, first + PACKED_AT_VERSION, sizeof version);
    memcpy(&layout, first + PACKED_AT_LAYOUT, sizeof layout);
    return le16toh(version) == PACKED_VERSION && layout == PACKED_LAYOUT ? VV_OK : VV_EUNSUPPORTED;
}

uint64_t vv_packed_id(struct vv_str first)
{
    if (first.n < VV_PACKED_ID_END || vv_packed_check_begin(first.p) != VV_OK) {
        return 0;
    }
    return packed_get64(first.p + PACKED_AT_ID);
}
