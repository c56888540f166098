/* src/cache/packed_read.c - reading: what comes in is copied once, to where a chunk lies together, which is
 * also where it is lent from; lengths are believed only when a checksum or a bound has vouched for them. */
#include "cache/packed_int.h"
#include <stdlib.h>

/* Room for a chunk and a run that came with its end; below what malloc() would map anew each time. */
#define ROOM_BYTES (96 * 1024)

enum state { ST_FIXED, ST_PARTS, ST_BODY };

struct vv_packed_reader {
    struct vv_packed_limits limits;
    enum state state;
    enum vv_err err; /* the first one, for good */
    struct vv_packed_head head;
    size_t fixed_n, parts_n, parts_have;
    uint64_t left; /* of the body, not yet lent */
    char *parts;   /* tags, metadata, key, secondary key, head block */
    char *in;      /* fed and not yet lent: in[in_at..in_n) */
    size_t in_at, in_n, in_cap;
    char *plain; /* an unpacked chunk */
    char fixed[PACKED_FIXED];
};

enum vv_err vv_packed_reader_new(const struct vv_packed_limits *limits,
                                 struct vv_packed_reader **ret)
{
    struct vv_packed_reader *r = calloc(1, sizeof *r);
    if (r == NULL) {
        return VV_ENOMEM;
    }
    r->limits = *limits;
    if (r->limits.head_max > VV_PACKED_HEAD_MAX) {
        r->limits.head_max = VV_PACKED_HEAD_MAX;
    }
    *ret = r;
    return VV_OK;
}

void vv_packed_reader_free(struct vv_packed_reader *r)
{
    if (r != NULL) {
        free(r->parts);
        free(r->in);
        free(r->plain);
        free(r);
    }
}

/* How long the parts are together. VV_ESYNTAX: what the writer refuses to write. */
static enum vv_err parts_length(const char *fixed, size_t *ret)
{
    const uint32_t flags = packed_get32(fixed + PACKED_AT_FLAGS);
    const uint32_t meta_n = packed_get32(fixed + PACKED_AT_META_N);
    const uint32_t tags_n = packed_get32(fixed + PACKED_AT_TAGS_N);
    const uint32_t head_n = packed_get32(fixed + PACKED_AT_HEAD_N);
    *ret = (size_t)meta_n + tags_n * UINT64_C(8) + packed_get32(fixed + PACKED_AT_KEY_N) +
           packed_get32(fixed + PACKED_AT_SECOND_N) + head_n;
    if ((flags & ~PACKED_MARKER) != 0) {
        return VV_EUNSUPPORTED;
    }
    if (packed_get64(fixed + PACKED_AT_ID) == 0 || meta_n > VV_CACHE_META_MAX ||
        tags_n > VV_CACHE_TAGS_MAX ||
        (flags != 0 && (head_n > 0 || packed_get64(fixed + PACKED_AT_BODY_N) > 0))) {
        return VV_ESYNTAX;
    }
    return VV_OK;
}

/* The fixed part is whole: makes room for the parts. */
static enum vv_err end_fixed(struct vv_packed_reader *r)
{
    const struct vv_str summed = {r->fixed, PACKED_AT_SUM};
    if (vv_str_hash(summed, 0) != packed_get64(r->fixed + PACKED_AT_SUM)) {
        return VV_ESYNTAX;
    }
    const enum vv_err err = parts_length(r->fixed, &r->parts_n);
    if (err != VV_OK) {
        return err;
    }
    r->left = packed_get64(r->fixed + PACKED_AT_BODY_N);
    if (r->parts_n > r->limits.head_max || r->parts_n + PACKED_FIXED > r->limits.head_max ||
        r->left > r->limits.body_max) {
        return VV_ELIMIT;
    }
    r->parts = malloc(r->parts_n > 0 ? r->parts_n : 1);
    r->state = ST_PARTS;
    return r->parts != NULL ? VV_OK : VV_ENOMEM;
}

static struct vv_str next_part(const char **at, const char *length)
{
    const struct vv_str s = {*at, packed_get32(length)};
    *at += s.n;
    return s;
}

static enum vv_err end_parts(struct vv_packed_reader *r)
{
    const char *f = r->fixed;
    const struct vv_str parts = {r->parts, r->parts_n};
    if (vv_str_hash(parts, 0) != packed_get64(f + PACKED_AT_PARTS_SUM)) {
        return VV_ESYNTAX;
    }
    uint64_t *tags = (uint64_t *)(void *)r->parts;
    r->head = (struct vv_packed_head){
        .id = packed_get64(f + PACKED_AT_ID),
        .log = packed_get64(f + PACKED_AT_LOG),
        .written_ms = (int64_t)packed_get64(f + PACKED_AT_WRITTEN),
        .keep_until_ms = (int64_t)packed_get64(f + PACKED_AT_KEEP),
        .store_until_ms = (int64_t)packed_get64(f + PACKED_AT_STORE),
        .body_n = r->left,
        .marker = (packed_get32(f + PACKED_AT_FLAGS) & PACKED_MARKER) != 0,
        .tags = tags,
        .tags_n = packed_get32(f + PACKED_AT_TAGS_N),
    };
    for (uint32_t i = 0; i < r->head.tags_n; i++) {
        tags[i] = le64toh(tags[i]);
    }
    const char *at = r->parts + r->head.tags_n * 8ul;
    r->head.meta = next_part(&at, f + PACKED_AT_META_N);
    r->head.key = next_part(&at, f + PACKED_AT_KEY_N);
    r->head.second = next_part(&at, f + PACKED_AT_SECOND_N);
    r->head.head = next_part(&at, f + PACKED_AT_HEAD_N);
    r->state = ST_BODY;
    return VV_OK;
}

/* Copies from the run until *have is `want`. */
static bool fill(char *to, size_t *have, size_t want, struct vv_str *run)
{
    const size_t n = run->n < want - *have ? run->n : want - *have;
    if (n > 0) {
        memcpy(to + *have, run->p, n);
        *have += n;
        run->p += n;
        run->n -= n;
    }
    return *have == want;
}

/* The beginning first, by itself: another version may have a shorter fixed part. */
static enum vv_err take_fixed(struct vv_packed_reader *r, struct vv_str *run)
{
    if (r->fixed_n < PACKED_AT_ID) {
        if (!fill(r->fixed, &r->fixed_n, PACKED_AT_ID, run)) {
            return VV_OK;
        }
        const enum vv_err err = vv_packed_check_begin(r->fixed);
        if (err != VV_OK) {
            return err;
        }
    }
    return fill(r->fixed, &r->fixed_n, PACKED_FIXED, run) ? end_fixed(r) : VV_OK;
}

/* Every byte of a body takes at most a chunk of its own, so more than that cannot be meant: memory is bounded
 * by what the head has promised. */
static enum vv_err keep(struct vv_packed_reader *r, struct vv_str run)
{
    const size_t held = r->in_n - r->in_at;
    const size_t need = held + run.n;
    if (run.n > SIZE_MAX / 4 - held ||
        (need > r->left && need > r->left * (PACKED_CHUNK_HEAD + 1))) {
        return VV_ESYNTAX;
    }
    if (held > 0 && r->in_at > 0) {
        memmove(r->in, r->in + r->in_at, held);
    }
    r->in_at = 0;
    r->in_n = held;
    if (need > r->in_cap) {
        const size_t room = (size_t)vv_min_u64(r->left + PACKED_CHUNK_HEAD, ROOM_BYTES);
        const size_t cap = need > room ? need : room;
        char *grown = realloc(r->in, cap);
        if (grown == NULL) {
            return VV_ENOMEM;
        }
        r->in = grown;
        r->in_cap = cap;
    }
    memcpy(r->in + held, run.p, run.n);
    r->in_n = need;
    return VV_OK;
}

enum vv_err vv_packed_feed(struct vv_packed_reader *r, struct vv_str run)
{
    if (r->err == VV_OK && r->state == ST_FIXED) {
        r->err = take_fixed(r, &run);
    }
    if (r->err == VV_OK && r->state == ST_PARTS &&
        fill(r->parts, &r->parts_have, r->parts_n, &run)) {
        r->err = end_parts(r);
    }
    if (r->err == VV_OK && run.n > 0) {
        r->err = keep(r, run);
    }
    return r->err;
}

const struct vv_packed_head *vv_packed_head(const struct vv_packed_reader *r)
{
    return r->state == ST_BODY ? &r->head : NULL;
}

/* A chunk's lengths as we write them: compressed ones are shorter, others are not, and the body's length is
 * never overstepped. */
static bool plausible(uint32_t plain_n, uint32_t stored_n, uint64_t left)
{
    const uint32_t n = stored_n & ~PACKED_COMPRESSED;
    if (plain_n == 0 || plain_n > VV_PACKED_CHUNK || plain_n > left) {
        return false;
    }
    return (stored_n & PACKED_COMPRESSED) != 0 ? n > 0 && n < plain_n : n == plain_n;
}

static enum vv_err unpack(struct vv_packed_reader *r, struct vv_str stored, struct vv_str *ret)
{
    if (r->plain ==
        NULL) { /* no chunk is longer than the rest of the body when the first one comes */
        r->plain = malloc((size_t)vv_min_u64(r->left, VV_PACKED_CHUNK));
        if (r->plain == NULL) {
            return VV_ENOMEM;
        }
    }
    const enum vv_err err = vv_packed_unpack(stored, r->plain, ret->n);
    ret->p = r->plain;
    return err;
}

/* The next chunk, if it is whole. */
static enum vv_err next_chunk(struct vv_packed_reader *r, struct vv_str *ret)
{
    const size_t have = r->in_n - r->in_at;
    if (have < PACKED_CHUNK_HEAD) {
        return VV_EAGAIN;
    }
    const char *at = r->in + r->in_at;
    const uint32_t plain_n = packed_get32(at + PACKED_CHUNK_PLAIN_N);
    const uint32_t stored_n = packed_get32(at + PACKED_CHUNK_STORED_N);
    if (!plausible(plain_n, stored_n, r->left)) {
        return VV_ESYNTAX;
    }
    const struct vv_str stored = {at + PACKED_CHUNK_HEAD, stored_n & ~PACKED_COMPRESSED};
    const size_t all = PACKED_CHUNK_HEAD + stored.n;
    if (have < all) {
        return VV_EAGAIN;
    }
    if (packed_chunk_sum(stored, plain_n, stored_n) != packed_get64(at + PACKED_CHUNK_SUM) ||
        (plain_n == r->left && have > all)) { /* nothing follows the last one */
        return VV_ESYNTAX;
    }
    *ret = (struct vv_str){stored.p, plain_n};
    if ((stored_n & PACKED_COMPRESSED) != 0) {
        const enum vv_err err = unpack(r, stored, ret);
        if (err != VV_OK) {
            return err;
        }
    }
    r->in_at += all;
    r->left -= plain_n;
    return VV_OK;
}

enum vv_err vv_packed_body(struct vv_packed_reader *r, struct vv_str *ret)
{
    struct vv_str chunk = {NULL, 0};
    enum vv_err err = r->err;
    if (err == VV_OK && r->state != ST_BODY) {
        err = VV_EAGAIN;
    } else if (err == VV_OK && r->left > 0) {
        err = next_chunk(r, &chunk);
        r->err = err == VV_EAGAIN ? VV_OK : err;
    }
    *ret = err == VV_OK ? chunk : (struct vv_str){NULL, 0};
    return err;
}
