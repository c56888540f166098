/* src/load/cond.h - the conditions of `ifTrue`: variables, numbers, texts, comparisons, and, or, not.
 *
 * Model:     "page < pages and not done" is compiled to a tree; truth is JavaScript's: 0, "", null
 *            and undefined are false. Source: Artillery's ifTrue, which is such an expression.
 * Threads:   pure. Ownership: the tree lives in the arena of the names.
 * Errors:    VV_ESYNTAX: *reterr_at is the byte, *reterr_why says what is wrong.
 */
#ifndef VV_LOAD_COND_H
#define VV_LOAD_COND_H
#include "load/template.h"

struct vv_load_cond;
VV_MUST_CHECK enum vv_err vv_load_cond_compile(struct vv_load_names *names, struct vv_str text,
                                               struct vv_load_cond **ret, const char **reterr_why,
                                               size_t *reterr_at);
bool vv_load_cond_true(const struct vv_load_cond *c, const struct vv_load_scope *s);
#endif
