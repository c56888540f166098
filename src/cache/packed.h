/* src/cache/packed.h - an object of the cache as bytes for a store that several gateways share.
 *
 * Model:     a fixed head (magic, layout, lengths, instants) with a checksum, then tags, metadata, key,
 *            secondary key and head block with a checksum, then the body in chunks of at most 64 KiB, each
 *            with its length, its own checksum and, when that made it smaller by an eighth, compressed by
 *            zstd by itself. So a value of any size is written and read chunk by chunk, nothing unverified
 *            is ever handed out, and a reader needs no more memory than two chunks and the run it is given.
 *            All numbers are little-endian with fixed widths. Metadata is opaque here: its own version says
 *            whether it can be used. A marker is a packed object without body and head that says which
 *            fields answers of this key vary by (its secondary key names them).
 *            Checksums find accidents, not enemies: who may write to the store may write valid values. A
 *            chunk does not know its value, so a value is to be written by one command.
 * Units:     *_ms are milliseconds since 1970. Threads: pure but for the reader's own memory; each thread
 *            that compresses or unpacks keeps its contexts of zstd until it ends (sizes: README.md).
 * Ownership: a writer appends to the caller's vv_sb. The reader copies what it is fed and lends slices until
 *            the next call.
 * Errors:    VV_ESYNTAX: damaged, foreign or too many bytes; VV_EUNSUPPORTED: another version or layout;
 *            VV_ELIMIT: larger than the limits given; VV_ENOMEM. Errors of a reader stay. A value that is
 *            cut has no error of its own: it ends before the reader has said that it has ended.
 */
#ifndef VV_CACHE_PACKED_H
#define VV_CACHE_PACKED_H
#include "base/sb.h"
#include "cache/store.h"

#define VV_PACKED_CHUNK (64 * 1024)
#define VV_PACKED_HEAD_MAX (1024 * 1024) /* everything before the body */

struct vv_packed_head {
    uint64_t id;        /* of these very bytes: 64 random bits given by whoever wrote them, not 0 */
    uint64_t log;       /* how much of the purge log its writer knew when the fetch began */
    int64_t written_ms; /* when it was put into a store */
    int64_t keep_until_ms;  /* of no use to anybody after that */
    int64_t store_until_ms; /* when the store lets it go */
    uint64_t body_n;
    bool marker;
    struct vv_str meta, key, second, head; /* meta.p is aligned to 8 when read */
    const uint64_t *tags;                  /* vv_cache_tag() of each; aligned */
    uint32_t tags_n;
};
/* The id lies at a fixed place, so that the first bytes of a value tell which one it is. */
#define VV_PACKED_ID_AT 8
#define VV_PACKED_ID_END 16

/* Everything before the body. VV_EINVAL: no id, or a marker with body or head; VV_ELIMIT: over
 * VV_CACHE_META_MAX, VV_CACHE_TAGS_MAX or VV_PACKED_HEAD_MAX. */
VV_MUST_CHECK enum vv_err vv_packed_write_head(struct vv_sb *out, const struct vv_packed_head *h);
/* The next bytes of the body, at most VV_PACKED_CHUNK (VV_EINVAL); none of them writes nothing.
 * min_compress: chunks shorter than this stay as they are; SIZE_MAX: none is compressed (right for what a
 * content coding has compressed already). What it costs: README.md. */
VV_MUST_CHECK enum vv_err vv_packed_write_chunk(struct vv_sb *out, struct vv_str bytes,
                                                size_t min_compress);
/* Id of a value by its first VV_PACKED_ID_END bytes; 0: it is none of ours. */
uint64_t vv_packed_id(struct vv_str first);

struct vv_packed_limits {
    size_t head_max; /* everything before the body; at most VV_PACKED_HEAD_MAX counts */
    uint64_t body_max;
};
struct vv_packed_reader;
VV_MUST_CHECK enum vv_err vv_packed_reader_new(const struct vv_packed_limits *limits,
                                               struct vv_packed_reader **ret);
void vv_packed_reader_free(struct vv_packed_reader *r); /* NULL is fine */
/* Gives the next run of the value; all of it is taken. */
VV_MUST_CHECK enum vv_err vv_packed_feed(struct vv_packed_reader *r, struct vv_str run);
/* Once the head is whole and verified: it, until the reader is freed; else NULL. */
const struct vv_packed_head *vv_packed_head(const struct vv_packed_reader *r);
/* The next verified bytes of the body: VV_OK with them; VV_EAGAIN: more must be fed; VV_OK with n 0: the end,
 * and the value ended there, too. Call until VV_EAGAIN before feeding again. */
VV_MUST_CHECK enum vv_err vv_packed_body(struct vv_packed_reader *r, struct vv_str *ret);
#endif
