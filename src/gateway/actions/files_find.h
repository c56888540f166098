/* src/gateway/actions/files_find.h - from the path of a request to the name of a file below the root.
 *
 * Model:     names are taken literally after percent-decoding, and a file has one name: an encoded
 *            slash, an empty name, "." and ".." find nothing. Names that begin with a dot are found
 *            only with `hidden`, or below /.well-known/ (RFC 8615). A path that ends with a slash
 *            means the index file of the folder.
 * Threads:   any. Ownership: names live in the arena, with room for a suffix behind them.
 * Errors:    VV_ENOENT: a name that is refused (404, and no fallback for it), VV_ESYNTAX: bad escape
 *            or NUL (400), VV_ENOMEM.
 */
#ifndef VV_GATEWAY_ACTIONS_FILES_FIND_H
#define VV_GATEWAY_ACTIONS_FILES_FIND_H
#include "base/arena.h"
#include "base/err.h"
#include "gateway/settings.h"

#define VV_FILES_SUFFIX_MAX 4 /* ".zst" */

struct vv_files_query {
    const struct vv_files_settings *conf;
    struct vv_str path; /* below the root, without a slash in front, still encoded */
    struct vv_arena *arena;
};

/* The name to open for a path; NUL-terminated. */
VV_MUST_CHECK enum vv_err vv_files_name(const struct vv_files_query *q, char **ret_name);
/* The same for what is sent where nothing is found; conf->fallback is set. */
VV_MUST_CHECK enum vv_err vv_files_fallback(const struct vv_files_query *q, char **ret_name);

/* The path below the root that a route means: what its prefix left over, or for an exact path or a
 * glob all of it. `/assets/` with `files: ./public` serves /assets/a.css from ./public/a.css;
 * `*.css` serves /assets/a.css from ./public/assets/a.css. */
struct vv_str vv_files_path(const char *pattern, struct vv_str path, struct vv_str rest);
#endif
