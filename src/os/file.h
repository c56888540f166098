/* src/os/file.h - whole small files: configuration, state, overlay. Blocks: control side only.
 *
 * Ownership: *ret_text is the caller's, free().
 * Errors:    VV_ENOENT, VV_EACCES, VV_ELIMIT (bigger than allowed), otherwise mapped from errno.
 */
#ifndef VV_OS_FILE_H
#define VV_OS_FILE_H
#include "base/err.h"
#include "base/str.h"
#include <sys/types.h>

/* Reads everything, also from files without a size (/proc, pipes); a NUL follows the last byte. */
VV_MUST_CHECK enum vv_err vv_file_read(const char *path, size_t bytes_max, char **ret_text,
                                       size_t *ret_bytes);
/* Replaces the file so that every reader, and a machine that loses power, has the old or the new
 * text whole. Written beside the target under a temporary name, which is removed on failure. */
VV_MUST_CHECK enum vv_err vv_file_write(const char *path, struct vv_str text, mode_t mode);
#endif
