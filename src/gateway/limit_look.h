/* src/gateway/limit_look.h - compiled limits as JSON, and what they would say to a key.
 *
 * Threads:   control. Ownership: nothing is kept.
 */
#ifndef VV_GATEWAY_LIMIT_LOOK_H
#define VV_GATEWAY_LIMIT_LOOK_H
#include "base/json.h"
#include "gateway/admit_int.h"

struct vv_limit_look {
    struct vv_limits *limits;   /* NULL: nothing runs, nothing can be peeked */
    struct vv_metrics *metrics; /* for the counts of decisions; NULL: without */
    struct vv_str name;         /* of one limit; n 0: all */
    struct vv_str key; /* address, id or text to peek with; p NULL: only limits that count for
                                 * all are peeked */
    uint64_t now_ns;
};
/* Writes elements of an open array; says how many. plan NULL: none. */
size_t vv_limit_look(const struct vv_limit_look *q, const struct vv_limit_plan *plan,
                     struct vv_json *j);
/* All of a runtime: listeners, routes, plans. */
size_t vv_limit_look_all(const struct vv_limit_look *q, const struct vv_runtime *rt,
                         struct vv_json *j);
#endif
