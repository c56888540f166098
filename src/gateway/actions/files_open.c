/* src/gateway/actions/files_open.c - the kernel keeps us below the root, not a check of names: a check
 * looks at the path, then the path is opened, and in between somebody may swap a folder for a link. */
#include "gateway/actions/files_open.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A pipe must not make the worker wait for a writer, a terminal must not become ours. */
#define OPEN_FLAGS (O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
#define RACES_MAX 4 /* the kernel gives up with EAGAIN when folders are renamed under a walk */

static enum vv_err open_error(int errnum)
{
    switch (errnum) {
    case EXDEV: /* the way leads out of the root */
    case ELOOP:
    case ENAMETOOLONG:
    case ENXIO: /* a socket, or a device without a driver */
    case ENODEV:
    case EINVAL:
    case EAGAIN:
        return VV_ENOENT;
    default:
        break;
    }
    const enum vv_err err = vv_err_from_errno(errnum);
    return err == VV_ENOENT || err == VV_EACCES || err == VV_EFILES || err == VV_ENOMEM ? err
                                                                                        : VV_EIO;
}

/* Takes fd. */
static enum vv_err checked(int fd, int *ret_fd, struct stat *ret_stat)
{
    struct stat st;
    if (fstat(fd, &st) != 0) {
        const int errnum = errno;
        close(fd);
        return open_error(errnum);
    }
    if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) {
        close(fd);
        return VV_ENOENT;
    }
    *ret_fd = fd;
    *ret_stat = st;
    return VV_OK;
}

/* The next name of *path, which moves on; NULL: a name is too long. Slashes in a row count as one. */
static const char *next_name(const char **path, char name[NAME_MAX + 1])
{
    const char *p = *path + strspn(*path, "/");
    const size_t n = strcspn(p, "/");
    if (n > NAME_MAX) {
        return NULL;
    }
    memcpy(name, p, n);
    name[n] = '\0';
    *path = p + n + strspn(p + n, "/");
    return name;
}

enum vv_err vv_files_open_walking(int root_fd, const char *path, int *ret_fd, struct stat *ret_stat)
{
    char name[NAME_MAX + 1];
    int at = root_fd;
    if (*path == '/') {
        return VV_ENOENT;
    }
    for (;;) {
        if (next_name(&path, name) == NULL || strcmp(name, "..") == 0) {
            if (at != root_fd) {
                close(at);
            }
            return VV_ENOENT;
        }
        const bool last = *path == '\0';
        const int folder = name[0] != '\0' && path[-1] == '/' ? O_DIRECTORY : 0;
        const int flags = last ? OPEN_FLAGS | folder : O_PATH | O_DIRECTORY | O_CLOEXEC;
        const int fd = openat(at, name[0] != '\0' ? name : ".", flags | O_NOFOLLOW);
        const int errnum = errno;
        if (at != root_fd) {
            close(at);
        }
        if (fd < 0) {
            return open_error(errnum);
        }
        if (last) {
            return checked(fd, ret_fd, ret_stat);
        }
        at = fd;
    }
}

enum vv_err vv_files_open(int root_fd, const char *path, int *ret_fd, struct stat *ret_stat)
{
    static atomic_bool missing; /* the kernel, or a sandbox around us, has no openat2 */
    const struct open_how how = {.flags = OPEN_FLAGS,
                                 .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    for (int i = 0; i < RACES_MAX && !atomic_load_explicit(&missing, memory_order_relaxed); i++) {
        const long fd =
            syscall(SYS_openat2, root_fd, path[0] != '\0' ? path : ".", &how, sizeof how);
        if (fd >= 0) {
            return checked((int)fd, ret_fd, ret_stat);
        }
        if (errno == ENOSYS) {
            atomic_store_explicit(&missing, true, memory_order_relaxed);
        } else if (errno != EAGAIN && errno != EINTR) {
            return open_error(errno);
        }
    }
    return vv_files_open_walking(root_fd, path, ret_fd, ret_stat);
}
