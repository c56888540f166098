/* src/gateway/actions/files_parts.h - several ranges of a file as one multipart/byteranges body.
 *
 * Model:     a run of texts and spans of the file (head, bytes, head, bytes, ..., end) that is read
 *            piece by piece into a buffer of the caller.
 * Source:    RFC 9110 section 14.6, RFC 2046 section 5.1. Units: bytes.
 * Threads:   one worker. Ownership: texts are in the arena; the descriptor is borrowed.
 */
#ifndef VV_GATEWAY_ACTIONS_FILES_PARTS_H
#define VV_GATEWAY_ACTIONS_FILES_PARTS_H
#include "base/arena.h"
#include "base/err.h"
#include "wire/range.h"

struct vv_files_parts {
    uint64_t bytes;             /* of the whole body */
    struct vv_str content_type; /* of the whole answer */
    /* PRIVATE from here */
    int fd;
    struct vv_ranges ranges;
    struct vv_str text[VV_RANGES_MAX + 1]; /* before each range, and the end */
    uint32_t at;                           /* the text or the range behind it */
    uint64_t done;                         /* bytes of both that were read */
};
/* `type` and `size` of the whole file; `mark` is random: the boundary is made of it. */
VV_MUST_CHECK enum vv_err vv_files_parts_init(struct vv_files_parts *p, struct vv_arena *arena,
                                              int fd, const struct vv_ranges *ranges,
                                              struct vv_str type, uint64_t size, uint64_t mark);
/* The next bytes of the body, as many as fit; *ret_bytes 0: that was all. VV_EIO: the file cannot be
 * read, or became shorter. */
VV_MUST_CHECK enum vv_err vv_files_parts_read(struct vv_files_parts *p, char *to, size_t room,
                                              size_t *ret_bytes);
/* Exactly `bytes` bytes at `at`. VV_EIO as above. */
VV_MUST_CHECK enum vv_err vv_files_read_all(int fd, char *to, size_t bytes, uint64_t at);
#endif
