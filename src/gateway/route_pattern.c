/* src/gateway/route_pattern.c - patterns are cut into segments once; globs have their braces multiplied
 * out, so that fitting one is a walk without recursion and its cost is bounded by its length. */
#include "gateway/route_pattern.h"

#include "wire/uri.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define GLOBS_MAX 256 /* after multiplying out */
#define PATTERN_BYTES_MAX 2048
#define ARENA_BLOCK_BYTES 4096

static VV_PRINTF(3, 4) enum vv_err
    refuse(char *reterr_text, const char *pattern, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const int used = snprintf(reterr_text, VV_ROUTE_TEXT, "path pattern \"%.80s\": ", pattern);
    if (used > 0 && used < VV_ROUTE_TEXT) {
        vsnprintf(reterr_text + used, VV_ROUTE_TEXT - (size_t)used, fmt, args);
    }
    va_end(args);
    return VV_ESYNTAX;
}

static bool is_glob(const char *text)
{
    bool in_braces = false;
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '*' || (in_braces && *c == ',')) {
            return true;
        }
        in_braces = *c == '{' || (in_braces && *c != '}');
    }
    return false;
}

/* ---- globs --------------------------------------------------------------------------------- */

/* Braces may stand several times but not inside each other. Sets the number of globs in *ret. */
static const char *check_braces(const char *text, size_t *ret)
{
    size_t globs = 1;
    size_t choices = 0; /* of the open brace; 0: none is open */
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '{') {
            if (choices > 0) {
                return "braces cannot stand inside braces";
            }
            choices = 1;
        } else if (*c == '}') {
            if (choices == 0) {
                return "a closing brace has no opening one";
            }
            if (choices == 1) {
                return "a pattern with * has no {parameters}; write the choices as {a,b}";
            }
            globs *= choices;
            choices = 0;
            if (globs > GLOBS_MAX) {
                return "the braces stand for more than 256 patterns";
            }
        } else if (*c == ',' && choices > 0) {
            choices++;
        }
    }
    *ret = globs;
    return choices > 0 ? "an opening brace is never closed" : NULL;
}

/* Writes the which-th of all combinations of choices into out; returns its length. */
static size_t write_choice(const char *text, size_t which, char *out)
{
    size_t n = 0;
    const char *c = text;
    while (*c != '\0') {
        if (*c != '{') {
            out[n++] = vv_char_lower(*c++);
            continue;
        }
        size_t choices = 1;
        for (const char *k = c; *k != '}'; k++) {
            choices += *k == ',';
        }
        size_t skip = which % choices;
        which /= choices;
        c++;
        for (; *c != '}'; c++) {
            if (*c == ',') {
                skip = skip == 0 ? SIZE_MAX : skip - 1;
            } else if (skip == 0) {
                out[n++] = vv_char_lower(*c);
            }
        }
        c++;
    }
    return n;
}

static enum vv_err parse_glob(const char *text, struct vv_arena *arena,
                              struct vv_route_pattern *ret, char *reterr_text)
{
    size_t count = 0;
    const char *wrong = check_braces(text, &count);
    if (wrong != NULL) {
        return refuse(reterr_text, text, "%s", wrong);
    }
    if (*text != '/' && *text != '*') {
        return refuse(reterr_text, text,
                      "a path begins with a slash: write \"/%.80s\" or \"*%.80s\"", text, text);
    }
    ret->kind = VV_PATTERN_GLOB;
    ret->glob = vv_arena_alloc(arena, count * sizeof(*ret->glob));
    if (ret->glob == NULL) {
        return VV_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        char *out = vv_arena_alloc(arena, strlen(text) + 1);
        if (out == NULL) {
            return VV_ENOMEM;
        }
        ret->glob[i] = (struct vv_str){out, write_choice(text, i, out)};
    }
    ret->glob_count = (uint32_t)count;
    return VV_OK;
}

static bool same_nocase(const char *lowered, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (lowered[i] != vv_char_lower(p[i])) {
            return false;
        }
    }
    return true;
}

/* On a mismatch only the last star takes one byte more: what came before it fits as it is. */
static bool glob_fits(struct vv_str glob, struct vv_str path)
{
    size_t g = 0;
    size_t s = 0;
    size_t star = SIZE_MAX; /* index after the last star */
    size_t resume = 0;
    while (s < path.n) {
        if (g < glob.n && glob.p[g] == '*') {
            star = ++g;
            resume = s;
        } else if (g < glob.n && glob.p[g] == vv_char_lower(path.p[s])) {
            g++;
            s++;
        } else if (star != SIZE_MAX) {
            g = star;
            s = ++resume;
        } else {
            return false;
        }
    }
    while (g < glob.n && glob.p[g] == '*') {
        g++;
    }
    return g == glob.n;
}

bool vv_glob_fits(const struct vv_route_pattern *p, struct vv_str path)
{
    for (uint32_t i = 0; i < p->glob_count; i++) {
        const struct vv_str glob = p->glob[i];
        const struct vv_str tail = {glob.p + 1, glob.n - 1};
        /* "*.png", what nearly all globs are: only the end is looked at */
        if (glob.p[0] == '*' && memchr(tail.p, '*', tail.n) == NULL) {
            if (path.n >= tail.n && same_nocase(tail.p, path.p + path.n - tail.n, tail.n)) {
                return true;
            }
        } else if (glob_fits(glob, path)) {
            return true;
        }
    }
    return false;
}

/* ---- segments ------------------------------------------------------------------------------ */

static bool is_name(struct vv_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        const char c = vv_char_lower(s.p[i]);
        if (!(c >= 'a' && c <= 'z') && c != '_' &&
            (i == 0 || (!(c >= '0' && c <= '9') && c != '-'))) {
            return false;
        }
    }
    return s.n > 0;
}

/* "{id}" or "{page...}": the name inside; p NULL: plain text. */
static struct vv_str param_name(struct vv_str segment, bool *ret_rest)
{
    *ret_rest = false;
    if (segment.n < 2 || segment.p[0] != '{' || segment.p[segment.n - 1] != '}') {
        return (struct vv_str){NULL, 0};
    }
    struct vv_str name = {segment.p + 1, segment.n - 2};
    if (vv_str_ends(name, VV_STR("..."))) {
        name.n -= 3;
        *ret_rest = true;
    }
    return name;
}

static enum vv_err add_segment(struct vv_route_pattern *p, struct vv_str segment, bool last,
                               const char *text, char *reterr_text)
{
    bool rest;
    const struct vv_str name = param_name(segment, &rest);
    if (p->segment_count == VV_ROUTE_SEGMENTS) {
        return refuse(reterr_text, text, "more than %d segments", VV_ROUTE_SEGMENTS);
    }
    if (name.p == NULL) {
        if (memchr(segment.p, '{', segment.n) != NULL ||
            memchr(segment.p, '}', segment.n) != NULL) {
            return refuse(reterr_text, text,
                          "a {parameter} is a whole segment, as in /users/{id}/");
        }
        p->segment[p->segment_count++] = segment;
        return VV_OK;
    }
    if (!is_name(name)) {
        return refuse(reterr_text, text, "a parameter's name is letters, digits, _ and -");
    }
    for (uint32_t i = 0; i < p->param_count; i++) {
        if (vv_str_eq(p->param[i], name)) {
            return refuse(reterr_text, text, "two parameters are called {%.*s}", VV_STR_ARG(name));
        }
    }
    if (p->param_count == VV_ROUTE_PARAMS) {
        return refuse(reterr_text, text, "more than %d parameters", VV_ROUTE_PARAMS);
    }
    if (rest && !last) {
        return refuse(reterr_text, text,
                      "{%.*s...} takes all that follows, so it stands at the end",
                      VV_STR_ARG(name));
    }
    p->param[p->param_count++] = name;
    if (rest) {
        p->kind = VV_PATTERN_PREFIX;
        p->has_rest_param = true;
    } else {
        p->segment[p->segment_count++] = (struct vv_str){NULL, 0};
    }
    return VV_OK;
}

/* The pattern as requests will look: bytes that never stand in a path percent-encoded, the rest
 * normalised like theirs. */
static enum vv_err normalise(const char *text, struct vv_arena *arena, struct vv_str *ret,
                             char *reterr_text)
{
    const size_t n = strlen(text);
    char *coded = vv_arena_alloc(arena, 3 * n + 1);
    char *out = vv_arena_alloc(arena, 3 * n + 1);
    if (coded == NULL || out == NULL) {
        return VV_ENOMEM;
    }
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        const unsigned char c = (unsigned char)text[i];
        if (c <= ' ' || c >= 0x7f) {
            k += (size_t)snprintf(coded + k, 4, "%%%02X", c);
        } else {
            coded[k++] = (char)c;
        }
    }
    size_t len = 0;
    if (vv_uri_normalise_path((struct vv_str){coded, k}, out, 3 * n + 1, &len) != VV_OK) {
        return refuse(reterr_text, text, "a bad %%-escape, or .. that climbs above the root");
    }
    *ret = (struct vv_str){out, len};
    return VV_OK;
}

static enum vv_err parse_segments(const char *text, struct vv_arena *arena,
                                  struct vv_route_pattern *ret, char *reterr_text)
{
    struct vv_str left = {text, 0};
    const enum vv_err err = normalise(text, arena, &left, reterr_text);
    if (err != VV_OK) {
        return err;
    }
    ret->kind = VV_PATTERN_EXACT;
    size_t slashes = 0;
    for (size_t i = 0; i < left.n; i++) {
        slashes += left.p[i] == '/';
    }
    ret->segment = vv_arena_alloc(arena, slashes * sizeof(*ret->segment));
    ret->param = vv_arena_alloc(arena, slashes * sizeof(*ret->param));
    if (ret->segment == NULL || ret->param == NULL) {
        return VV_ENOMEM;
    }
    (void)vv_str_cut(&left, '/'); /* nothing stands before the first slash */
    for (;;) {
        const struct vv_str segment = vv_str_cut(&left, '/');
        const bool last = left.p == NULL;
        if (last && segment.n == 0) {
            ret->kind = VV_PATTERN_PREFIX;
            return VV_OK;
        }
        const enum vv_err bad = add_segment(ret, segment, last, text, reterr_text);
        if (bad != VV_OK || last) {
            return bad;
        }
    }
}

enum vv_err vv_pattern_parse(const char *text, struct vv_arena *arena, struct vv_route_pattern *ret,
                             char *reterr_text)
{
    memset(ret, 0, sizeof(*ret));
    if (strlen(text) > PATTERN_BYTES_MAX) {
        return refuse(reterr_text, text, "longer than %d bytes", PATTERN_BYTES_MAX);
    }
    if (strpbrk(text, "?#") != NULL) {
        return refuse(reterr_text, text,
                      "a pattern is about the path only; for the query use when_query");
    }
    if (is_glob(text)) {
        return parse_glob(text, arena, ret, reterr_text);
    }
    if (*text != '/') {
        return refuse(reterr_text, text, "a path begins with a slash: write \"/%.80s\"", text);
    }
    return parse_segments(text, arena, ret, reterr_text);
}

bool vv_pattern_fits(const struct vv_route_pattern *p, struct vv_str path,
                     struct vv_route_match *ret)
{
    ret->rest = (struct vv_str){path.p + path.n, 0};
    ret->param_name = p->param;
    ret->param_count = p->param_count;
    if (p->kind == VV_PATTERN_GLOB) {
        return vv_glob_fits(p, path);
    }
    struct vv_str left = path;
    uint32_t params = 0;
    if (path.n == 0 || path.p[0] != '/') {
        return false;
    }
    (void)vv_str_cut(&left, '/');
    for (uint32_t i = 0; i < p->segment_count; i++) {
        if (left.p == NULL) {
            return false;
        }
        const struct vv_str segment = vv_str_cut(&left, '/');
        if (p->segment[i].p == NULL && segment.n > 0) {
            ret->param[params++] = segment;
        } else if (p->segment[i].p == NULL || !vv_str_eq(p->segment[i], segment)) {
            return false;
        }
    }
    if (p->kind == VV_PATTERN_EXACT) {
        return left.p == NULL;
    }
    if (left.p == NULL) {
        return false;
    }
    ret->rest = left;
    if (p->has_rest_param) {
        ret->param[params] = left;
    }
    return true;
}

enum vv_err vv_route_pattern_check(const char *pattern, char *reterr_text)
{
    struct vv_arena arena;
    struct vv_route_pattern p;
    vv_arena_init(&arena, NULL, 0, ARENA_BLOCK_BYTES, SIZE_MAX);
    const enum vv_err err = vv_pattern_parse(pattern, &arena, &p, reterr_text);
    vv_arena_fini(&arena);
    return err;
}

bool vv_route_pattern_has(const char *pattern, struct vv_str param)
{
    struct vv_arena arena;
    struct vv_route_pattern p;
    char text[VV_ROUTE_TEXT];
    bool has = false;
    vv_arena_init(&arena, NULL, 0, ARENA_BLOCK_BYTES, SIZE_MAX);
    if (vv_pattern_parse(pattern, &arena, &p, text) == VV_OK) {
        for (uint32_t i = 0; i < p.param_count; i++) {
            has |= vv_str_eq(p.param[i], param);
        }
    }
    vv_arena_fini(&arena);
    return has;
}
