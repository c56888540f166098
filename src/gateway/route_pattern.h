/* src/gateway/route_pattern.h - one path pattern: its parts, and whether a path fits it.
 *
 * Model:     the language of routes.h. The matcher's trie is built from the parts; fitting one path
 *            to one pattern directly is for globs, for explain, and for tests as the plain truth.
 * Threads:   pure. Ownership: everything lives in the arena given to parse.
 * Errors:    VV_ESYNTAX with a text (VV_ROUTE_TEXT bytes) that says what would be right.
 */
#ifndef VV_GATEWAY_ROUTE_PATTERN_H
#define VV_GATEWAY_ROUTE_PATTERN_H
#include "gateway/routes.h"

#define VV_ROUTE_SEGMENTS 32

struct vv_route_pattern {
    enum {
        VV_PATTERN_EXACT,
        VV_PATTERN_PREFIX, /* also /docs/{page...}: then has_rest_param */
        VV_PATTERN_GLOB,
    } kind;
    bool has_rest_param; /* the last parameter's value is the rest */
    uint32_t segment_count;
    struct vv_str *segment; /* between slashes; p NULL: a parameter */
    uint32_t param_count;
    struct vv_str *param; /* names in order */
    uint32_t glob_count;
    struct vv_str *glob; /* without braces, lower-case: the path must fit one of these */
};
VV_MUST_CHECK enum vv_err vv_pattern_parse(const char *text, struct vv_arena *arena,
                                           struct vv_route_pattern *ret, char *reterr_text);
/* Fills rest, param_count, param_name and param of *ret. */
bool vv_pattern_fits(const struct vv_route_pattern *p, struct vv_str path,
                     struct vv_route_match *ret);
bool vv_glob_fits(const struct vv_route_pattern *p, struct vv_str path);
#endif
