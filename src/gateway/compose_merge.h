/* src/gateway/compose_merge.h - the body of a composed answer: values of parts put into JSON.
 *
 * Model:     a template is JSON text in which {{name}} stands for a whole value; quotes around it, as in
 *            "{{name}}", go with it. {{degraded}} is the list of names of degraded parts. Without a
 *            template the answer is one object: a member for every part that has a value, then
 *            "degraded". A value that is JSON is put in as it is; anything else becomes a string,
 *            so that whatever a server sends, the answer is JSON.
 * Source:    RFC 8259. Nesting is taken to a depth of VV_MERGE_DEPTH_MAX (its section 9 allows a limit).
 * Threads:   immutable after vv_merge_new(); the rest is pure.
 * Ownership: the merge owns copies of its texts; values borrow.
 */
#ifndef VV_GATEWAY_COMPOSE_MERGE_H
#define VV_GATEWAY_COMPOSE_MERGE_H
#include "base/err.h"
#include "base/sb.h"

#define VV_MERGE_DEPTH_MAX 128
#define VV_MERGE_TEXT 256 /* bytes of reterr_text */

struct vv_merge_value {
    struct vv_str name;
    struct vv_str body; /* p NULL: there is none */
    bool is_json;       /* vv_merge_is_json(body), which the caller asked */
    bool degraded;
};

struct vv_merge;
/* text NULL: the object. VV_ESYNTAX: reterr_text says what is wrong. */
VV_MUST_CHECK enum vv_err vv_merge_new(const char *text, const struct vv_str *names, size_t count,
                                       struct vv_merge **ret, char *reterr_text);
void vv_merge_free(struct vv_merge *m); /* NULL is fine */
/* Appends the body; values in the order of the names. A missing one is null in a template. */
void vv_merge_write(const struct vv_merge *m, const struct vv_merge_value *value, size_t count,
                    struct vv_sb *out);
/* Exactly one JSON value in UTF-8, with white space around it. */
bool vv_merge_is_json(struct vv_str text);
#endif
