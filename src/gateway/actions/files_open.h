/* src/gateway/actions/files_open.h - opens a file below a folder, and nothing outside of it.
 *
 * Model:     the kernel resolves the whole path beneath the folder (openat2, Linux 5.6): "..", an
 *            absolute path or a symbolic link can never lead out; links that stay inside are
 *            followed. Where openat2 is missing the path is walked name by name, and no link at all
 *            is followed.
 * Threads:   any. It may wait for the disk: see files.c.
 * Ownership: on VV_OK the caller owns *ret_fd.
 * Errors:    VV_ENOENT: nothing there that may be read, also for a way out of the folder;
 *            VV_EACCES: it is there, but not for us; VV_EFILES, VV_ENOMEM, VV_EIO: the machine.
 *            A call that fails sets nothing.
 */
#ifndef VV_GATEWAY_ACTIONS_FILES_OPEN_H
#define VV_GATEWAY_ACTIONS_FILES_OPEN_H
#include "base/err.h"
#include <sys/stat.h>

/* `path` is relative; "" is the folder itself. Opens regular files and folders only. */
VV_MUST_CHECK enum vv_err vv_files_open(int root_fd, const char *path, int *ret_fd,
                                        struct stat *ret_stat);
/* The fallback by itself, for tests. */
VV_MUST_CHECK enum vv_err vv_files_open_walking(int root_fd, const char *path, int *ret_fd,
                                                struct stat *ret_stat);
#endif
