/* src/load/report.h - results for people and machines, and the verdict.
 *
 * Source:  Artillery's report keys (so that its post-processing keeps working), JUnit XML, the
 *          result block of the first specification. Units: milliseconds in reports, as Artillery.
 * Threads: pure over a finished result.
 */
#ifndef VV_LOAD_REPORT_H
#define VV_LOAD_REPORT_H
#include "base/sb.h"
#include "load/result.h"

struct vv_load_verdict { /* of one gate */
    const struct vv_load_gate *gate;
    bool known; /* false: the expression names no metric of this run: a miss */
    bool held;
    double value; /* of its left side when it is a comparison */
};
/* One for each gate of the view, then those of `more`. *ret_verdicts: free(). */
VV_MUST_CHECK enum vv_err vv_load_judge(const struct vv_load_result *r,
                                        const struct vv_load_gate *more, size_t more_count,
                                        struct vv_load_verdict **ret_verdicts, size_t *ret_count);
/* Is the expression well-formed? *reterr_column is where it is not. */
VV_MUST_CHECK enum vv_err vv_load_gate_check(const char *expression, size_t *reterr_column,
                                             const char **reterr_why);
/* Value of a metric by name ("http.response_time.p95", "http.codes.200", "vivace.latency.p99"). */
VV_MUST_CHECK bool vv_load_metric(const struct vv_load_result *r, struct vv_str name, double *ret);

struct vv_load_judged {
    const struct vv_load_verdict *verdict;
    size_t count;
};
void vv_load_report_text(const struct vv_load_result *r, struct vv_load_judged j, bool colour,
                         struct vv_sb *out); /* the terminal's block at the end */
void vv_load_report_live(const struct vv_load_result *so_far, unsigned columns, bool colour,
                         struct vv_sb *out); /* one refresh of the live view */
void vv_load_report_json(const struct vv_load_result *r, struct vv_load_judged j,
                         struct vv_sb *out);
void vv_load_report_junit(const struct vv_load_result *r, struct vv_load_judged j,
                          struct vv_sb *out);
void vv_load_report_html(const struct vv_load_result *r, struct vv_load_judged j,
                         struct vv_sb *out);
/* Exact state of a result for merging elsewhere (agents) and for `compare`; and back. */
void vv_load_result_write(const struct vv_load_result *r, struct vv_sb *out);
VV_MUST_CHECK enum vv_err vv_load_result_read(struct vv_str text, struct vv_load_result **ret);
#endif
