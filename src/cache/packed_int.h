/* src/cache/packed_int.h - how a packed object lies in bytes.
 *
 *       0  magic  4   "VVpk"
 *       4  version 2
 *       6  layout 2   the one number in the writer's byte order: metadata is plain memory
 *       8  id     8
 *      16  log    8
 *      24  written_ms 8, keep_until_ms 8, store_until_ms 8
 *      48  body_n 8
 *      56  flags  4   bit 0: marker
 *      60  meta_n 4, tags_n 4, key_n 4, second_n 4, head_n 4
 *      80  sum of the lengths' bytes 8
 *      88  sum of the 88 bytes before it 8
 *      96  tags (8 each), metadata, key, secondary key, head block
 *          chunks: plain_n 4, stored_n 4 (top bit: compressed), sum 8, stored bytes
 *
 * Tags come first so that both they and metadata are aligned wherever the part from 96 on is.
 */
#ifndef VV_CACHE_PACKED_INT_H
#define VV_CACHE_PACKED_INT_H
#include "cache/packed.h"
#include <endian.h>

#define PACKED_MAGIC UINT32_C(0x6b705656)
#define PACKED_VERSION 1
#define PACKED_LAYOUT ((uint16_t)(0x5600 | sizeof(void *))) /* its bytes differ: order tells */
enum packed_at {
    PACKED_AT_MAGIC = 0,
    PACKED_AT_VERSION = 4,
    PACKED_AT_LAYOUT = 6,
    PACKED_AT_ID = VV_PACKED_ID_AT,
    PACKED_AT_LOG = 16,
    PACKED_AT_WRITTEN = 24,
    PACKED_AT_KEEP = 32,
    PACKED_AT_STORE = 40,
    PACKED_AT_BODY_N = 48,
    PACKED_AT_FLAGS = 56,
    PACKED_AT_META_N = 60,
    PACKED_AT_TAGS_N = 64,
    PACKED_AT_KEY_N = 68,
    PACKED_AT_SECOND_N = 72,
    PACKED_AT_HEAD_N = 76,
    PACKED_AT_PARTS_SUM = 80,
    PACKED_AT_SUM = 88,
    PACKED_FIXED = 96
};
#define PACKED_MARKER UINT32_C(1)

enum packed_chunk_at {
    PACKED_CHUNK_PLAIN_N = 0,
    PACKED_CHUNK_STORED_N = 4,
    PACKED_CHUNK_SUM = 8,
    PACKED_CHUNK_HEAD = 16
};
#define PACKED_COMPRESSED UINT32_C(0x80000000)

static inline void packed_put32(char *at, uint32_t v)
{
    v = htole32(v);
    memcpy(at, &v, sizeof v);
}
static inline void packed_put64(char *at, uint64_t v)
{
    v = htole64(v);
    memcpy(at, &v, sizeof v);
}
static inline uint32_t packed_get32(const char *at)
{
    uint32_t v;
    memcpy(&v, at, sizeof v);
    return le32toh(v);
}
static inline uint64_t packed_get64(const char *at)
{
    uint64_t v;
    memcpy(&v, at, sizeof v);
    return le64toh(v);
}

/* Lengths are part of what is summed. */
static inline uint64_t packed_chunk_sum(struct vv_str stored, uint32_t plain_n, uint32_t stored_n)
{
    return vv_str_hash(stored, (uint64_t)stored_n << 32 | plain_n);
}

/* Is this (at least 8 bytes) the beginning of a value that can be read here? */
VV_MUST_CHECK enum vv_err vv_packed_check_begin(const char *first);
/* Unpacks exactly n bytes into `to`. VV_ESYNTAX, VV_ENOMEM. */
VV_MUST_CHECK enum vv_err vv_packed_unpack(struct vv_str stored, char *to, size_t n);
#endif
