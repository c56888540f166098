/* src/gateway/actions/files_find.c - every name is opened first and judged by what was opened: asking
 * first and opening later would be two answers about two moments. */
#include "gateway/actions/files_find.h"
#include "gateway/actions/files_open.h"
#include "wire/uri.h"
#include <unistd.h>

#define SUFFIX_MAX 4 /* ".zst" */

struct vv_str vv_files_path(const char *pattern, struct vv_str path, struct vv_str rest)
{
    if (rest.n > 0) {
        return rest;
    }
    const struct vv_str p = vv_str_from(pattern);
    const bool list = strchr(pattern, '{') != NULL && strchr(pattern, ',') != NULL;
    const bool glob = list || strchr(pattern, '*') != NULL;
    if (!glob && (vv_str_ends(p, VV_STR("/")) || vv_str_ends(p, VV_STR("...}")))) {
        return rest; /* the prefix itself: its folder */
    }
    return (struct vv_str){path.p + 1, path.n - 1};
}

static bool has_encoded_slash(struct vv_str s)
{
    const char *end = s.p + s.n;
    for (const char *p = s.p; end - p >= 3 && (p = memchr(p, '%', (size_t)(end - p))) != NULL;
         p++) {
        if (end - p >= 3 && p[1] == '2' && (p[2] | 0x20) == 'f') {
            return true;
        }
    }
    return false;
}

/* May every name of this decoded path be looked for? The last may be empty: a folder. */
static bool plain(const struct vv_files_query *q, struct vv_str path)
{
    bool first = true;
    while (path.n > 0) {
        const struct vv_str name = vv_str_cut(&path, '/');
        const bool well_known = first && vv_str_eq(name, VV_STR(".well-known"));
        if (name.n == 0 || vv_str_eq(name, VV_STR(".")) || vv_str_eq(name, VV_STR(".."))) {
            return false;
        }
        if (name.p[0] == '.' && !q->conf->hidden && !well_known) {
            return false;
        }
        first = false;
    }
    return true;
}

/* Opens a regular file. */
static enum vv_err open_regular(const struct vv_files_query *q, const char *path, int *ret_fd,
                                struct stat *ret_stat)
{
    int fd = -1;
    struct stat st;
    const enum vv_err err = vv_files_open(q->root_fd, path, &fd, &st);
    if (err != VV_OK) {
        return err;
    }
    if (!S_ISREG(st.st_mode)) {
        close(fd);
        return VV_ENOENT;
    }
    *ret_fd = fd;
    *ret_stat = st;
    return VV_OK;
}

/* name: NUL-terminated in a buffer with room for the index and a suffix. */
static enum vv_err open_name(const struct vv_files_query *q, char *name, size_t n,
                             struct vv_files_found *f)
{
    if (n == 0 || name[n - 1] == '/') {
        memcpy(name + n, q->conf->index, strlen(q->conf->index) + 1);
        return open_regular(q, name, &f->fd, &f->stat);
    }
    const enum vv_err err = vv_files_open(q->root_fd, name, &f->fd, &f->stat);
    if (err == VV_OK && S_ISDIR(f->stat.st_mode)) {
        close(f->fd);
        f->fd = -1;
        f->folder = true;
    }
    return err;
}

/* Puts a compressed copy in the place of the file, where there is one that the client prefers. */
static enum vv_err choose_encoding(const struct vv_files_query *q, char *name,
                                   struct vv_files_found *f)
{
    enum vv_encoding order[VV_ENCODING_COUNT];
    f->varies = q->conf->precompressed && f->mime->compressible;
    if (!f->varies) {
        return VV_OK; /* there is one representation: take it or leave it */
    }
    const size_t count = vv_encoding_order(q->head, order);
    const size_t n = strlen(name);
    for (size_t i = 0; i < count; i++) {
        int fd = -1;
        struct stat st;
        if (order[i] == VV_ENCODING_IDENTITY) {
            return VV_OK;
        }
        const struct vv_str suffix = vv_encodings[order[i]].suffix;
        memcpy(name + n, suffix.p, suffix.n + 1);
        if (open_regular(q, name, &fd, &st) != VV_OK) {
            continue;
        }
        if (st.st_mtim.tv_sec < f->stat.st_mtim.tv_sec) {
            close(fd); /* the file was changed and its copy forgotten */
            continue;
        }
        close(f->fd);
        f->fd = fd;
        f->stat = st;
        f->encoding = order[i];
        return VV_OK;
    }
    close(f->fd);
    return VV_EUNSUPPORTED;
}

static enum vv_err open_fallback(const struct vv_files_query *q, char **ret_name,
                                 struct vv_files_found *f)
{
    const char *fallback = q->conf->fallback + strspn(q->conf->fallback, "/");
    char *name = vv_arena_alloc(q->arena, strlen(fallback) + SUFFIX_MAX + 1);
    if (name == NULL) {
        return VV_ENOMEM;
    }
    memcpy(name, fallback, strlen(fallback) + 1);
    *ret_name = name;
    return open_regular(q, name, &f->fd, &f->stat);
}

enum vv_err vv_files_find(const struct vv_files_query *q, struct vv_files_found *ret)
{
    struct vv_files_found f = {.fd = -1, .encoding = VV_ENCODING_IDENTITY};
    char *name = vv_arena_alloc(q->arena, q->path.n + strlen(q->conf->index) + SUFFIX_MAX + 1);
    size_t n = 0;
    if (name == NULL) {
        return VV_ENOMEM;
    }
    if (vv_uri_decode(q->path, name, q->path.n, &n) != VV_OK) {
        return VV_ESYNTAX;
    }
    name[n] = '\0';
    if (has_encoded_slash(q->path) || !plain(q, (struct vv_str){name, n})) {
        return VV_ENOENT;
    }
    enum vv_err err = open_name(q, name, n, &f);
    if (err == VV_ENOENT && q->conf->fallback != NULL) {
        err = open_fallback(q, &name, &f);
    }
    if (err == VV_OK && !f.folder) {
        f.mime = vv_mime_of(vv_str_from(name));
        err = choose_encoding(q, name, &f);
    }
    if (err == VV_OK) {
        *ret = f;
    }
    return err;
}
