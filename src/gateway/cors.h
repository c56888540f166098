/* src/gateway/cors.h - cross-origin requests: which origins, and the answers to preflights.
 *
 * Model:     a browser asks before it sends what a page of another origin must not simply send: OPTIONS with
 *            Origin and Access-Control-Request-Method. The gateway answers that itself, without access and
 *            limits, because a preflight carries no credentials: 204 with what the route's `cors` allows, 403
 *            for an origin that is not among its origins. The route is that of the method that is asked
 *            about. Other answers of the route get their fields as header edits
 *            (settings_secure.c), judged by vv_cors_allows().
 * Source:    Fetch Standard (whatwg), 3.2 "CORS protocol"; RFC 6454 section 6.2 (origins as text).
 * Threads:   vv_cors is immutable; the rest one worker.
 * Ownership: the runtime owns plans.
 */
#ifndef VV_GATEWAY_CORS_H
#define VV_GATEWAY_CORS_H
#include "base/err.h"
#include "base/str.h"

struct vv_exchange;
struct vv_cors_settings;
struct vv_cors;

/* An origin, one whose host begins with "*." for all names below it, or "*" for all. False: *reterr_why says why not. */
VV_MUST_CHECK bool vv_cors_pattern_check(struct vv_str pattern, const char **reterr_why);
/* Is this origin one of the pattern's? Text without a valid scheme, host and port never is. */
bool vv_cors_pattern_matches(struct vv_str pattern, struct vv_str origin);

/* methods: of the route, where its `cors` names none; may be NULL. The settings outlive the plan. */
struct vv_conf_list;
VV_MUST_CHECK enum vv_err vv_cors_new(const struct vv_cors_settings *conf,
                                      const struct vv_conf_list *methods, struct vv_cors **ret);
void vv_cors_free(struct vv_cors *c); /* NULL is fine */

/* The request's Origin is among those of its route. */
bool vv_cors_allows(const struct vv_exchange *x);
/* Before ROUTE: true when the request was a preflight to a route with `cors`, which is answered then. */
VV_MUST_CHECK bool vv_cors_preflight(struct vv_exchange *x);
#endif
