/* src/base/sb.h - growing text: for the control side (JSON, logs, pages), never on the hot path.
 *
 * Model:     a heap buffer that doubles; a failed growth sets `failed` and later appends do
 *            nothing, so callers check once at the end.
 * Ownership: the sb owns its bytes until vv_sb_fini(); vv_sb_take() hands them over (free()).
 * Threads:   one owner.
 */
#ifndef VV_BASE_SB_H
#define VV_BASE_SB_H
#include "base/str.h"
#include <stdarg.h>

struct vv_sb {
    char *p; /* always NUL-terminated once something was appended */
    size_t n, cap;
    bool failed;
};
#define VV_SB_INIT                                                                                 \
    {                                                                                              \
        NULL, 0, 0, false                                                                          \
    }

void vv_sb_fini(struct vv_sb *sb);
void vv_sb_reset(struct vv_sb *sb);
void vv_sb_add(struct vv_sb *sb, struct vv_str s);
void vv_sb_adds(struct vv_sb *sb, const char *cstr);
/* Text between tags or in an attribute of HTML or XML. Control characters that XML 1.0 has not become "?". NULL is
 * nothing. */
void vv_sb_add_markup(struct vv_sb *sb, const char *text);
void vv_sb_addc(struct vv_sb *sb, char c);
void vv_sb_addf(struct vv_sb *sb, const char *fmt, ...) VV_PRINTF(2, 3);
void vv_sb_vaddf(struct vv_sb *sb, const char *fmt, va_list args);
void vv_sb_addu(struct vv_sb *sb, uint64_t v);
char *vv_sb_take(struct vv_sb *sb); /* caller frees; NULL when failed */
static inline struct vv_str vv_sb_str(const struct vv_sb *sb)
{
    return (struct vv_str){sb->p != NULL ? sb->p : "", sb->n};
}
#endif
