/* src/gateway/plans.h - what a route says about caching and compressing, compiled.
 *
 * Threads:   control; the plans are immutable then. Ownership: the caller frees them; they borrow the
 *            texts of the settings and hold the named cache counted.
 * Errors:    VV_ENOMEM; VV_ESYNTAX: a key is no template; reterr_text (256 bytes) may say what failed.
 */
#ifndef VV_GATEWAY_PLANS_H
#define VV_GATEWAY_PLANS_H
#include "gateway/caches.h"
#include "gateway/runtime.h"

/* *ret is NULL when the route neither caches nor coalesces. `caches` NULL: the plan has no memory
 * and serves only to be looked at (`explain`). */
VV_MUST_CHECK enum vv_err vv_cache_plan_new(const struct vv_route_settings *r,
                                            struct vv_caches *caches, struct vv_cache_plan **ret,
                                            char *reterr_text);
void vv_cache_plan_free(struct vv_cache_plan *p); /* NULL is fine */
/* *ret is NULL when the route does not compress. */
VV_MUST_CHECK enum vv_err vv_compress_plan_new(const struct vv_route_settings *r,
                                               struct vv_compress_plan **ret);
void vv_compress_plan_free(struct vv_compress_plan *p); /* NULL is fine */
/* r->cache_control of a route whose edits are compiled: `expires`, merged with what `headers` say about
 * Cache-Control where that has no lifetime of its own; the edit is then gone from r->answer_edits. */
VV_MUST_CHECK enum vv_err vv_expires_plan(struct vv_route *r);
#endif
