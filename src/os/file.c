/* src/os/file.c - read until the end, write beside and rename. */
#include "os/file.h"

#include "os/sock.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK_BYTES 16384u

static void free_text(char **p)
{
    free(*p);
}

enum vv_err vv_file_read(const char *path, size_t bytes_max, char **ret_text, size_t *ret_bytes)
{
    VV_ASSERT(bytes_max < SIZE_MAX / 4);
    VV_AUTO(vv_close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) {
        return vv_err_from_errno(errno);
    }
    VV_AUTO(free_text) char *text = NULL;
    size_t n = 0, cap = 0;
    for (;;) {
        if (cap - n < 2) { /* one byte more than allowed, to see that it is too much, and the NUL */
            cap = vv_min_u64(cap == 0 ? CHUNK_BYTES : cap * 2, bytes_max + 2);
            char *grown = realloc(text, cap);
            if (grown == NULL) {
                return VV_ENOMEM;
            }
            text = grown;
        }
        const ssize_t got = read(fd, text + n, cap - n - 1);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return vv_err_from_errno(errno);
        }
        if (got == 0) {
            break;
        }
        n += (size_t)got;
        if (n > bytes_max) {
            return VV_ELIMIT;
        }
    }
    text[n] = '\0';
    *ret_text = text;
    *ret_bytes = n;
    text = NULL;
    return VV_OK;
}

static enum vv_err write_all(int fd, struct vv_str text)
{
    while (text.n > 0) {
        const ssize_t n = write(fd, text.p, text.n);
        if (n < 0 && errno != EINTR) {
            return vv_err_from_errno(errno);
        }
        if (n > 0) {
            text.p += n;
            text.n -= (size_t)n;
        }
    }
    return VV_OK;
}

/* The new name is safe only when the directory is. Some file systems cannot do it: not our fault.
 */
static enum vv_err sync_dir_of(const char *path)
{
    char dir[PATH_MAX];
    const char *slash = strrchr(path, '/');
    const size_t n = slash == NULL ? 0 : (size_t)(slash - path);
    (void)snprintf(dir, sizeof(dir), "%.*s", slash == NULL || n == 0 ? 1 : (int)n,
                   slash == NULL ? "." : path);
    VV_AUTO(vv_close_fd) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return vv_err_from_errno(errno);
    }
    return fsync(fd) == 0 || errno == EINVAL ? VV_OK : vv_err_from_errno(errno);
}

enum vv_err vv_file_write(const char *path, struct vv_str text, mode_t mode)
{
    char temp[PATH_MAX];
    const int n = snprintf(temp, sizeof(temp), "%s.XXXXXX", path);
    if (n < 0 || (size_t)n >= sizeof(temp)) {
        return VV_EINVAL;
    }
    VV_AUTO(vv_close_fd) int fd = mkostemp(temp, O_CLOEXEC);
    if (fd < 0) {
        return vv_err_from_errno(errno);
    }
    enum vv_err err = fchmod(fd, mode) == 0 ? VV_OK : vv_err_from_errno(errno);
    if (err == VV_OK) {
        err = write_all(fd, text);
    }
    if (err == VV_OK && fsync(fd) != 0) {
        err = vv_err_from_errno(errno);
    }
    if (err == VV_OK && rename(temp, path) != 0) {
        err = vv_err_from_errno(errno);
    }
    if (err != VV_OK) {
        (void)unlink(temp);
        return err;
    }
    return sync_dir_of(path);
}
