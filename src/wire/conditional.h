/* src/wire/conditional.h - conditional requests: is the answer wanted, given what the client has?
 *
 * Model:     the current representation has a strong entity tag and a date of its last change; the
 *            preconditions of the request are judged in the order of section 13.2.2.
 * Source:    RFC 9110 sections 8.8 (validators) and 13. Units: *_s seconds since 1970.
 * Threads:   pure.
 */
#ifndef VV_WIRE_CONDITIONAL_H
#define VV_WIRE_CONDITIONAL_H
#include "wire/http1.h"

struct vv_validators {
    struct vv_str etag; /* with its quotes; strong */
    int64_t modified_s;
};

enum vv_condition {
    VV_CONDITION_SEND,         /* go on */
    VV_CONDITION_NOT_MODIFIED, /* 304 */
    VV_CONDITION_FAILED,       /* 412 */
};
enum vv_condition vv_condition_judge(const struct vv_h1_head *req, const struct vv_validators *v,
                                     int64_t now_s);
/* Does Range count? True without If-Range. A date counts only if it is exactly the one we sent and
 * not so fresh that the file may have changed again within its second (section 8.8.2.2). */
bool vv_condition_range(const struct vv_h1_head *req, const struct vv_validators *v, int64_t now_s);
/* Is `etag` in a list of entity tags, or the list "*"? `weak`: W/ does not matter (section 8.8.3.2).
 * What follows a malformed member is not looked at. */
bool vv_etag_in(struct vv_str list, struct vv_str etag, bool weak);
#endif
