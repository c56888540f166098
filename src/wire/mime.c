/* src/wire/mime.c - a sorted table and a binary search: seven comparisons of a few bytes. */
#include "wire/mime.h"

#define EXTENSION_MAX 16 /* longer ones are unknown */

static const struct row {
    const char *extension;
    struct vv_mime mime;
} rows[] = {
#define VV_MIME(extension, type, compressible)                                                     \
    {extension, {{(type), sizeof(type) - 1}, compressible}},
#include "wire/mime.def"
#undef VV_MIME
};
static const struct vv_mime unknown = {{"application/octet-stream", 24}, false};

/* In lower case, with a NUL, into out. False: there is none, or none that is known. */
static bool extension_of(struct vv_str path, char out[EXTENSION_MAX])
{
    size_t at = path.n;
    while (at > 0 && path.p[at - 1] != '.' && path.p[at - 1] != '/') {
        at--;
    }
    const size_t n = path.n - at;
    /* ".profile" is a hidden name, not an extension. */
    if (n == 0 || n >= EXTENSION_MAX || at < 2 || path.p[at - 1] != '.' || path.p[at - 2] == '/') {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        const char c = path.p[at + i];
        out[i] = c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
    }
    out[n] = '\0';
    return true;
}

const struct vv_mime *vv_mime_of(struct vv_str path)
{
    char extension[EXTENSION_MAX];
    if (!extension_of(path, extension)) {
        return &unknown;
    }
    size_t low = 0;
    size_t high = VV_COUNT(rows);
    while (low < high) {
        const size_t middle = (low + high) / 2;
        const int order = strcmp(extension, rows[middle].extension);
        if (order == 0) {
            return &rows[middle].mime;
        }
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return &unknown;
}

bool vv_mime_is_compressed(struct vv_str type)
{
    for (size_t i = 0; i < VV_COUNT(rows); i++) {
        if (vv_str_eq_nocase(type, rows[i].mime.type)) {
            return !rows[i].mime.compressible;
        }
    }
    /* Families the table has no files of: pictures (but text as pictures), sound, films. */
    return (vv_str_starts(type, VV_STR("image/")) && !vv_str_ends(type, VV_STR("+xml"))) ||
           vv_str_starts(type, VV_STR("audio/")) || vv_str_starts(type, VV_STR("video/"));
}
