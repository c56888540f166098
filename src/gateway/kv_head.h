/* src/gateway/kv_head.h - an object of the object API as the bytes of one Redis string.
 *
 * Model:     "VKV1", then as hexadecimal digits: 8 of the head's length, 16 of the etag, 16 of the millisecond it was
 *            stored at, 16 of the one it ends at (0: none); the content type and each tag, every one
 *            ended by a line feed; then the value. Places are fixed so that a script in Redis can
 *            compare an etag or look for a tag without reading the value.
 *            The etag is a hash of value and type, so reading finds bytes that are not what was written.
 * Threads:   pure. Errors: VV_ESYNTAX: these are not our bytes.
 */
#ifndef VV_GATEWAY_KV_HEAD_H
#define VV_GATEWAY_KV_HEAD_H
#include "cache/small.h"

#define VV_KV_HEAD_FIXED 60 /* bytes before the content type */
#define VV_KV_ETAG_AT 12    /* 16 digits */

struct vv_kv_head {
    uint64_t etag, stored_ms, until_ms;
    struct vv_str type, value;
    struct vv_str tag[VV_SMALL_TAGS_MAX];
    size_t tags;
};
size_t vv_kv_head_bytes(const struct vv_small_item *it);
/* `to` has room for vv_kv_head_bytes(); the value follows it. */
void vv_kv_head_write(char *to, const struct vv_small_item *it, uint64_t until_ms);
VV_MUST_CHECK enum vv_err vv_kv_head_read(struct vv_str bytes, struct vv_kv_head *ret);
/* May this stand in a head: no control characters? */
bool vv_kv_head_takes(struct vv_str text);
#endif
