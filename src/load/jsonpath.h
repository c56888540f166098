/* src/load/jsonpath.h - a useful part of JSONPath: $ .name ['name'] [n] [*] .* ..name
 *
 * Model:     a compiled path is a list of steps; a search visits matches in document order and picks
 *            one of them at random when there are several, as Artillery does.
 * Source:    S. Goessner, JSONPath (2007); RFC 9535 for the order of matches and negative indexes.
 * Threads:   pure. Ownership: a path lives in the arena it was compiled into.
 * Errors:    VV_ESYNTAX: *reterr_at is the byte that is not understood.
 */
#ifndef VV_LOAD_JSONPATH_H
#define VV_LOAD_JSONPATH_H
#include "base/rng.h"
#include "load/value.h"

enum vv_load_path_kind { VV_LOAD_PATH_NAME, VV_LOAD_PATH_INDEX, VV_LOAD_PATH_ALL };
struct vv_load_path_step {
    enum vv_load_path_kind kind;
    bool deep; /* "..": here and everywhere below */
    struct vv_str name;
    int64_t index; /* negative: from the end */
};
struct vv_load_path {
    const struct vv_load_path_step *step;
    size_t count;
};
VV_MUST_CHECK enum vv_err vv_load_path_compile(struct vv_arena *a, struct vv_str text,
                                               struct vv_load_path *ret, size_t *reterr_at);
/* One of the matches; NULL: there is none. */
const struct vv_load_value *vv_load_path_find(const struct vv_load_path *path,
                                              const struct vv_load_value *v, struct vv_rng *rng);
#endif
