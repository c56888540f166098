/* src/gateway/stored.h - what lies in a cached object of the gateway: metadata, head block, body.
 *
 * Model:     the head block is the status line and the fields that may be kept, as they are sent, each
 *            with its line end, without Age, Content-Length, framing and connection fields and
 *            without the final empty line. It begins at byte 0 of vv_cache_head(). A hit sends it as
 *            it is and adds what belongs to the request. Metadata is plain bytes with wall time, so
 *            that a snapshot brings it back.
 * Threads:   pure. Ownership: slices borrow the object.
 */
#ifndef VV_GATEWAY_STORED_H
#define VV_GATEWAY_STORED_H
#include "cache/rules.h"
#include "cache/store.h"

#define VV_STORED_VERSION 1

struct vv_stored_meta {
    struct vv_cache_facts facts;
    uint64_t id;       /* of this answer's bytes: a variant made from it carries the same */
    uint64_t length;   /* of a fill's body; UINT64_MAX: not known yet */
    uint32_t second_n; /* of a fill: the secondary key stands before the head block */
    uint32_t fetch_us; /* what a miss costs */
    uint16_t status;
    uint8_t version;   /* VV_STORED_VERSION: others are not used */
    uint8_t encoding;  /* enum vv_encoding of a variant made here; IDENTITY: as it came */
    bool compressible; /* type and fields allow our own coding (wire/encoding.h decided) */
};
_Static_assert(sizeof(struct vv_stored_meta) <= VV_CACHE_META_MAX, "it has to fit");

static inline const struct vv_stored_meta *vv_stored_meta(const struct vv_cache_object *o)
{
    return vv_cache_meta(o);
}

/* Writes the head block of an answer; returns its length, 0: `cap` is too small (the head's bytes, 2
 * for each field and 64 always suffice). An answer without Date gets the one given, that of its arrival
 * (RFC 9110 section 6.6.1). */
size_t vv_stored_head_write(const struct vv_h1_head *answer, const struct vv_cc *cc,
                            struct vv_str date, char *out, size_t cap);
/* The stored block under a 304's fields (RFC 9111 section 3.2). The same bound over both heads, and the same
 * about Date: one without it was made when it came. */
size_t vv_stored_head_merge(const struct vv_h1_head *stored, const struct vv_h1_head *not_modified,
                            const struct vv_cc *cc, struct vv_str date, char *out, size_t cap);
/* Reads a block back: status, reason, fields, framing by length. False: it is none. */
VV_MUST_CHECK bool vv_stored_head_read(struct vv_str block, uint64_t body_bytes,
                                       struct vv_h1_head *ret);
/* What lies under `m` and `block` was written by somebody else: is it what could have been written here? Fields
 * of one message and bytes that would end a line are not. An answer of the future has come now. */
VV_MUST_CHECK bool vv_stored_sound(struct vv_stored_meta *m, struct vv_str block, int64_t now_ms);
/* Tags of an answer: Surrogate-Key, Cache-Tag, xkey (section by their own custom: separated by spaces or
 * commas). At most VV_CACHE_TAGS_MAX; returns how many. */
uint32_t vv_stored_tags(const struct vv_h1_head *answer, uint64_t ret_tags[VV_CACHE_TAGS_MAX]);
#endif
