/* src/base/str.h - slices: a pointer and a length into memory somebody else owns.
 *
 * Model:     never NUL-terminated unless said; compare by content, ASCII case rules only.
 * Ownership: a slice owns nothing; it lives as long as the bytes it points at.
 * Threads:   pure functions.
 */
#ifndef VV_BASE_STR_H
#define VV_BASE_STR_H
#include "base/defs.h"
#include <string.h>

struct vv_str {
    const char *p;
    size_t n;
};

#define VV_STR(literal) ((struct vv_str){(literal), sizeof(literal) - 1})
#define VV_STR_FMT "%.*s"
#define VV_STR_ARG(s) (int)(s).n, (s).p

static inline struct vv_str vv_str_from(const char *cstr)
{
    return (struct vv_str){cstr, cstr != NULL ? strlen(cstr) : 0};
}

static inline bool vv_str_eq(struct vv_str a, struct vv_str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline char vv_char_lower(char c) /* ASCII letters only */
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

bool vv_str_eq_nocase(struct vv_str a, struct vv_str b); /* ASCII letters only */
bool vv_str_starts(struct vv_str s, struct vv_str prefix);
bool vv_str_ends(struct vv_str s, struct vv_str suffix);
struct vv_str vv_str_trim(struct vv_str s);          /* spaces and tabs at both ends */
ptrdiff_t vv_str_find_char(struct vv_str s, char c); /* -1: not there */
/* Cuts *rest at the first `sep`: returns the part before it, *rest becomes what follows it.
 * Without `sep` everything is returned and *rest becomes {NULL, 0}. */
struct vv_str vv_str_cut(struct vv_str *rest, char sep);
/* Decimal digits only, no sign, no space. Fails with VV_ESYNTAX, or VV_ERANGE over UINT64_MAX. */
VV_MUST_CHECK int vv_str_to_u64(struct vv_str s, uint64_t *ret);
uint64_t vv_str_hash(struct vv_str s, uint64_t seed); /* xxh3 */
uint64_t vv_str_hash_nocase(struct vv_str s, uint64_t seed);
#endif
