/* src/app/socket_path.c - the same file gives the same name to server and client, without a pid file
 * that could be stale: a socket nobody listens on refuses, and that is the truth. */
#include "app/socket_path.h"
#include "base/str.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define STEM_MAX 24

void vv_socket_name(const char *key, char *buf, size_t buf_bytes)
{
    const char *slash = strrchr(key, '/');
    const char *stem = slash != NULL ? slash + 1 : key;
    const char *dot = strrchr(stem, '.');
    char clean[STEM_MAX + 1];
    size_t n = dot != NULL && dot != stem ? (size_t)(dot - stem) : strlen(stem);
    n = n < STEM_MAX ? n : STEM_MAX;
    for (size_t i = 0; i < n; i++) {
        const char c = stem[i];
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                           (c >= '0' && c <= '9') || c == '-' || c == '_';
        clean[i] = plain ? c : '_';
    }
    clean[n] = '\0';
    (void)snprintf(buf, buf_bytes, "%s-%012llx.sock", clean,
                   (unsigned long long)(vv_str_hash(vv_str_from(key), 0) >> 16));
}

bool vv_socket_folder(size_t index, char *buf, size_t buf_bytes)
{
    const char *xdg = getenv("XDG_RUNTIME_DIR");
    int n = -1;
    if (index == 0 && xdg != NULL && xdg[0] == '/') {
        n = snprintf(buf, buf_bytes, "%s/vivace", xdg);
    } else if (index == 1) {
        n = snprintf(buf, buf_bytes, "/run/vivace");
    } else if (index == 2) {
        n = snprintf(buf, buf_bytes, "/tmp/vivace-%u", (unsigned)geteuid());
    }
    return n > 0 && (size_t)n < buf_bytes && (size_t)n + STEM_MAX + 19 < VV_SOCKET_PATH;
}

/* Ours and closed to others: in /tmp somebody else could have made it first. */
static bool usable(const char *folder)
{
    struct stat st;
    if (mkdir(folder, 0700) != 0 && errno != EEXIST) {
        return false;
    }
    return lstat(folder, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid() &&
           (st.st_mode & (S_IWGRP | S_IWOTH)) == 0 && access(folder, W_OK | X_OK) == 0;
}

enum vv_err vv_socket_path_make(const char *key, char *buf, size_t buf_bytes)
{
    char folder[VV_SOCKET_PATH], name[VV_SOCKET_PATH];
    vv_socket_name(key, name, sizeof name);
    for (size_t i = 0; i < VV_SOCKET_FOLDERS; i++) {
        if (vv_socket_folder(i, folder, sizeof folder) && usable(folder)) {
            const int n = snprintf(buf, buf_bytes, "%s/%s", folder, name);
            return n > 0 && (size_t)n < buf_bytes ? VV_OK : VV_ELIMIT;
        }
    }
    return VV_EACCES;
}

enum vv_err vv_absolute_path(const char *path, char *buf, size_t buf_bytes)
{
    char *real = realpath(path, NULL);
    if (real != NULL) {
        const size_t n = strlen(real);
        if (n < buf_bytes) {
            memcpy(buf, real, n + 1);
        }
        free(real);
        return n < buf_bytes ? VV_OK : VV_ELIMIT;
    }
    if (path[0] == '/') {
        const int n = snprintf(buf, buf_bytes, "%s", path);
        return n >= 0 && (size_t)n < buf_bytes ? VV_OK : VV_ELIMIT;
    }
    char cwd[PATH_MAX];
    if (getcwd(cwd, sizeof cwd) == NULL) {
        return vv_err_from_errno(errno);
    }
    const int n = snprintf(buf, buf_bytes, "%s/%s", cwd, path);
    return n >= 0 && (size_t)n < buf_bytes ? VV_OK : VV_ELIMIT;
}
