/* src/base/sb.c - a doubling buffer that remembers its first failure. */
#include "base/sb.h"

#include <stdio.h>
#include <stdlib.h>

#define FIRST_BYTES 256u
#define MAX_BYTES (SIZE_MAX / 4) /* keeps every sum below free of overflow */

/* Makes room for `more` bytes and the NUL behind them. */
static bool reserve(struct vv_sb *sb, size_t more)
{
    if (sb->failed) {
        return false;
    }
    if (VV_LIKELY(sb->cap > sb->n && sb->cap - sb->n > more)) {
        return true;
    }
    if (more > MAX_BYTES || sb->n > MAX_BYTES) {
        sb->failed = true;
        return false;
    }
    size_t cap = sb->cap > 0 ? sb->cap : FIRST_BYTES;
    while (cap <= sb->n + more) {
        cap *= 2;
    }
    char *p = realloc(sb->p, cap);
    if (p == NULL) {
        sb->failed = true;
        return false;
    }
    sb->p = p;
    sb->cap = cap;
    return true;
}

void vv_sb_fini(struct vv_sb *sb)
{
    free(sb->p);
    *sb = (struct vv_sb)VV_SB_INIT;
}

void vv_sb_reset(struct vv_sb *sb)
{
    sb->n = 0;
    sb->failed = false;
    if (sb->p != NULL) {
        sb->p[0] = '\0';
    }
}

void vv_sb_add(struct vv_sb *sb, struct vv_str s)
{
    if (!reserve(sb, s.n)) {
        return;
    }
    if (s.n > 0) {
        memcpy(sb->p + sb->n, s.p, s.n);
        sb->n += s.n;
    }
    sb->p[sb->n] = '\0';
}

void vv_sb_adds(struct vv_sb *sb, const char *cstr)
{
    vv_sb_add(sb, vv_str_from(cstr));
}

void vv_sb_addc(struct vv_sb *sb, char c)
{
    if (reserve(sb, 1)) {
        sb->p[sb->n++] = c;
        sb->p[sb->n] = '\0';
    }
}

void vv_sb_vaddf(struct vv_sb *sb, const char *fmt, va_list args)
{
    va_list again;
    va_copy(again, args);
    const size_t room = sb->cap - sb->n;
    const int len = vsnprintf(room > 0 ? sb->p + sb->n : NULL, room, fmt, args);
    if (len < 0 || sb->failed) {
        sb->failed = true;
    } else if (reserve(sb, (size_t)len)) {
        if ((size_t)len >= room) {
            (void)vsnprintf(sb->p + sb->n, (size_t)len + 1, fmt, again);
        }
        sb->n += (size_t)len;
    }
    if (sb->failed && sb->p != NULL) {
        sb->p[sb->n] = '\0'; /* a cut attempt must not stay behind the text */
    }
    va_end(again);
}

void vv_sb_addf(struct vv_sb *sb, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vv_sb_vaddf(sb, fmt, args);
    va_end(args);
}

void vv_sb_addu(struct vv_sb *sb, uint64_t v)
{
    char digits[20]; /* UINT64_MAX has 20 */
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + v % 10);
        v /= 10;
    } while (v > 0);
    vv_sb_add(sb, (struct vv_str){digits + at, sizeof(digits) - at});
}

char *vv_sb_take(struct vv_sb *sb)
{
    char *p = NULL;
    if (!sb->failed && reserve(sb, 0)) {
        p = sb->p;
        p[sb->n] = '\0';
        sb->p = NULL;
    }
    vv_sb_fini(sb);
    return p;
}

void vv_sb_add_markup(struct vv_sb *sb, const char *text)
{
    for (const unsigned char *p = (const unsigned char *)(text != NULL ? text : ""); *p != '\0';
         p++) {
        switch (*p) {
        case '&':
            vv_sb_adds(sb, "&amp;");
            break;
        case '<':
            vv_sb_adds(sb, "&lt;");
            break;
        case '>':
            vv_sb_adds(sb, "&gt;");
            break;
        case '"':
            vv_sb_adds(sb, "&quot;");
            break;
        default:
            vv_sb_addc(sb, *p >= 0x20 || *p == '\t' || *p == '\n' || *p == '\r' ? (char)*p : '?');
        }
    }
}
