/* src/gateway/actions/files_find.c - names are judged as text here and opened elsewhere: what a name
 * stands for may change at any moment, what it may stand for does not. */
#include "gateway/actions/files_find.h"
#include "wire/uri.h"

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

enum vv_err vv_files_name(const struct vv_files_query *q, char **ret_name)
{
    const size_t index = strlen(q->conf->index);
    char *name = vv_arena_alloc(q->arena, q->path.n + index + VV_FILES_SUFFIX_MAX + 1);
    size_t n = 0;
    if (name == NULL) {
        return VV_ENOMEM;
    }
    if (vv_uri_decode(q->path, name, q->path.n, &n) != VV_OK) {
        return VV_ESYNTAX;
    }
    if (has_encoded_slash(q->path) || !plain(q, (struct vv_str){name, n})) {
        return VV_ENOENT;
    }
    name[n] = '\0';
    if (n == 0 || name[n - 1] == '/') {
        memcpy(name + n, q->conf->index, index + 1);
    }
    *ret_name = name;
    return VV_OK;
}

enum vv_err vv_files_fallback(const struct vv_files_query *q, char **ret_name)
{
    const char *fallback = q->conf->fallback + strspn(q->conf->fallback, "/");
    char *name = vv_arena_alloc(q->arena, strlen(fallback) + VV_FILES_SUFFIX_MAX + 1);
    if (name == NULL) {
        return VV_ENOMEM;
    }
    memcpy(name, fallback, strlen(fallback) + 1);
    *ret_name = name;
    return VV_OK;
}
