/* src/trace/path.h - where the time of a trace went: tree, self times, critical path.
 *
 * Model:     children are cut to their parent's interval (clocks differ; what lies outside is not
 *            followed). From the root: the child that ends last is on the path, then the latest one
 *            that ended before it began, and so on; the same within each of them. A child that
 *            overlaps the next by less than 1 % of the parent's length still counts as before it, if
 *            no sibling begins or ends in between. Exclusive time is a span's length less that of its
 *            children on the path; without such overlaps, these add up to the root's length.
 *            Self time is a span's length less the union of all its children.
 * Source:    Zhang et al., CRISP: Critical Path Analysis of Large-Scale Microservice Architectures,
 *            USENIX ATC 2022.
 * Cost:      O(n log n), no recursion: a trace of any depth is fine. Cycles and twins are cut.
 * Threads:   pure.
 */
#ifndef VV_TRACE_PATH_H
#define VV_TRACE_PATH_H
#include "trace/assemble.h"

#define VV_PATH_NONE UINT32_MAX

struct vv_path_span {
    uint32_t parent, first_child, next_sibling; /* indexes, VV_PATH_NONE: none; siblings by start */
    uint32_t depth;
    uint64_t start_ns, end_ns; /* cut to the parent */
    uint64_t self_ns;
    uint64_t exclusive_ns; /* on the path; 0 off it */
    bool reached;          /* in the root's tree, not outside its parent's time */
    bool critical;
};
struct vv_path {
    uint32_t root;
    size_t count;
    struct vv_path_span *span; /* as in the trace */
    uint32_t *order;           /* the critical spans, each before its children, later ones first */
    size_t order_count;
};
/* VV_EINVAL: no spans. Free with vv_path_fini(). */
VV_MUST_CHECK enum vv_err vv_path_compute(const struct vv_trace *t, struct vv_path *ret);
void vv_path_fini(struct vv_path *p);
#endif
