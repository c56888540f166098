/* src/gateway/actions/files_find.h - from the path of a request to the opened file that answers it.
 *
 * Model:     names are taken literally after percent-decoding, and a file has one name: an encoded
 *            slash, an empty name, "." and ".." find nothing. Names that begin with a dot are found
 *            only with `hidden`, or below /.well-known/ (RFC 8615). A path that ends with a slash
 *            means the index file of the folder. Where nothing is found the fallback is, but not
 *            for refused names. A fresh compressed copy beside the file stands in for it if the
 *            client prefers its coding (RFC 9110 section 12.5.3).
 * Threads:   any. Ownership: the caller closes ret->fd on VV_OK when it is not -1.
 * Errors:    VV_ENOENT (404), VV_EACCES (403), VV_ESYNTAX: bad escape or NUL (400), VV_EUNSUPPORTED:
 *            none of the codings is acceptable (406), VV_ENOMEM, VV_EFILES, VV_EIO.
 */
#ifndef VV_GATEWAY_ACTIONS_FILES_FIND_H
#define VV_GATEWAY_ACTIONS_FILES_FIND_H
#include "base/arena.h"
#include "gateway/settings.h"
#include "wire/encoding.h"
#include "wire/mime.h"
#include <sys/stat.h>

struct vv_files_query {
    const struct vv_files_settings *conf;
    int root_fd;
    struct vv_str path;            /* below the root, without a slash in front, still encoded */
    const struct vv_h1_head *head; /* for Accept-Encoding */
    struct vv_arena *arena;        /* for names; nothing of it stays in the answer */
};

struct vv_files_found {
    int fd;
    bool folder; /* the path lacks its slash at the end; nothing else is set, fd is -1 */
    bool varies; /* the answer depends on Accept-Encoding */
    enum vv_encoding encoding;
    const struct vv_mime *mime;
    struct stat stat; /* of the copy that will be sent */
};
/* *ret is set only on VV_OK. */
VV_MUST_CHECK enum vv_err vv_files_find(const struct vv_files_query *q, struct vv_files_found *ret);

/* The path below the root that a route means: what its prefix left over, or for an exact path or a
 * glob all of it. `/assets/` with `files: ./public` serves /assets/a.css from ./public/a.css;
 * `*.css` serves /assets/a.css from ./public/assets/a.css. */
struct vv_str vv_files_path(const char *pattern, struct vv_str path, struct vv_str rest);
#endif
