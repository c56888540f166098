/* src/base/str.c - slice helpers. Case rules come from one table, so no locale can change them. */
#include "base/str.h"

#include "base/err.h"
#include <xxhash.h>

static const uint8_t lower[256] = {
#define ROW(from)                                                                                  \
    LOW((from) + 0), LOW((from) + 1), LOW((from) + 2), LOW((from) + 3), LOW((from) + 4),           \
        LOW((from) + 5), LOW((from) + 6), LOW((from) + 7)
#define LOW(c) (uint8_t)((c) >= 'A' && (c) <= 'Z' ? (c) + 32 : (c))
    ROW(0),   ROW(8),   ROW(16),  ROW(24),  ROW(32),  ROW(40),  ROW(48),  ROW(56),
    ROW(64),  ROW(72),  ROW(80),  ROW(88),  ROW(96),  ROW(104), ROW(112), ROW(120),
    ROW(128), ROW(136), ROW(144), ROW(152), ROW(160), ROW(168), ROW(176), ROW(184),
    ROW(192), ROW(200), ROW(208), ROW(216), ROW(224), ROW(232), ROW(240), ROW(248),
};

bool vv_str_eq_nocase(struct vv_str a, struct vv_str b)
{
    if (a.n != b.n) {
        return false;
    }
    for (size_t i = 0; i < a.n; i++) {
        if (lower[(uint8_t)a.p[i]] != lower[(uint8_t)b.p[i]]) {
            return false;
        }
    }
    return true;
}

bool vv_str_starts(struct vv_str s, struct vv_str prefix)
{
    return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}

bool vv_str_ends(struct vv_str s, struct vv_str suffix)
{
    return s.n >= suffix.n &&
           (suffix.n == 0 || memcmp(s.p + (s.n - suffix.n), suffix.p, suffix.n) == 0);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

struct vv_str vv_str_trim(struct vv_str s)
{
    while (s.n > 0 && is_blank(s.p[0])) {
        s.p++;
        s.n--;
    }
    while (s.n > 0 && is_blank(s.p[s.n - 1])) {
        s.n--;
    }
    return s;
}

ptrdiff_t vv_str_find_char(struct vv_str s, char c)
{
    const char *at = s.n > 0 ? memchr(s.p, c, s.n) : NULL;
    return at != NULL ? at - s.p : -1;
}

struct vv_str vv_str_cut(struct vv_str *rest, char sep)
{
    const struct vv_str all = *rest;
    const ptrdiff_t at = vv_str_find_char(all, sep);
    if (at < 0) {
        *rest = (struct vv_str){NULL, 0};
        return all;
    }
    *rest = (struct vv_str){all.p + at + 1, all.n - (size_t)at - 1};
    return (struct vv_str){all.p, (size_t)at};
}

int vv_str_to_u64(struct vv_str s, uint64_t *ret)
{
    uint64_t v = 0;
    bool over = false;
    if (s.n == 0) {
        return VV_ESYNTAX;
    }
    for (size_t i = 0; i < s.n; i++) {
        const unsigned digit = (unsigned)(uint8_t)s.p[i] - '0';
        if (digit > 9) {
            return VV_ESYNTAX; /* also behind an overflow: bad text is the better message */
        }
        over |= __builtin_mul_overflow(v, (uint64_t)10, &v);
        over |= __builtin_add_overflow(v, (uint64_t)digit, &v);
    }
    if (over) {
        return VV_ERANGE;
    }
    *ret = v;
    return VV_OK;
}

uint64_t vv_str_hash(struct vv_str s, uint64_t seed)
{
    return XXH3_64bits_withSeed(s.n > 0 ? s.p : "", s.n, seed);
}

uint64_t vv_str_hash_nocase(struct vv_str s, uint64_t seed)
{
    char low[256]; /* names are short; a longer one is hashed piece by piece, seeded by the last */
    uint64_t hash = seed;
    size_t at = 0;
    do {
        const size_t n = s.n - at < sizeof(low) ? s.n - at : sizeof(low);
        for (size_t i = 0; i < n; i++) {
            low[i] = (char)lower[(uint8_t)s.p[at + i]];
        }
        hash = XXH3_64bits_withSeed(low, n, hash);
        at += n;
    } while (at < s.n);
    return hash;
}
