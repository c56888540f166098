/* src/gateway/csp.h - takes browsers' reports about a Content-Security-Policy: counts and logs them.
 *
 * Model:     `secure: {csp_reports: /csp-reports}` makes a POST to that path a report: application/csp-report
 *            (CSP Level 2: one report) or application/reports+json (Reporting API: a list). Each counts by
 *            the directive that was violated, whose names are a closed list, and the first few of a second
 *            are logged, without the queries of addresses. Anybody can post anything there: size, number and
 *            text are bounded, and what is over is counted as dropped. The answer is 204 in any case that
 *            is well-formed.
 * Source:    W3C CSP Level 3, 5.3 and 5.5; W3C Reporting API, 2.4.
 * Threads:   vv_csp_read() is pure. A collector is shared by the workers; its second is atomic.
 * Ownership: the runtime owns the collector; its paths belong to the settings.
 */
#ifndef VV_GATEWAY_CSP_H
#define VV_GATEWAY_CSP_H
#include "base/err.h"
#include "base/str.h"

struct vv_conf_list;
struct vv_exchange;
struct vv_csp;

#define VV_CSP_REPORTS_MAX 32 /* of one request; more are dropped */
#define VV_CSP_TEXT 160       /* bytes of one address in a log line */

struct vv_csp_report {
    const char *directive; /* a known name, "other", or "unknown" where the report names none */
    bool enforced;         /* else it was only reported */
    char page[VV_CSP_TEXT], blocked[VV_CSP_TEXT], source[VV_CSP_TEXT];
    uint64_t line; /* in `source`; 0: not known */
};

/* Reads a body of either type. VV_ESYNTAX: it is neither. Reports of other kinds (deprecation,
 * intervention) are left out; *ret_dropped counts what was over the number. */
VV_MUST_CHECK enum vv_err vv_csp_read(struct vv_str body, struct vv_csp_report *ret, size_t *ret_n,
                                      size_t *ret_dropped);

/* paths: const char *; *ret NULL when there are none. */
VV_MUST_CHECK enum vv_err vv_csp_new(const struct vv_conf_list *paths, struct vv_csp **ret);
void vv_csp_free(struct vv_csp *c); /* NULL is fine */
/* Before ROUTE: true when the request is a report, which is or will be answered. */
VV_MUST_CHECK bool vv_csp_take(struct vv_exchange *x);
#endif
