/* src/gateway/limit_share.h - talks to the stores in which limits are shared, and breakers' warnings.
 *
 * Model:     one conversation for each store that a limit or a breaker names. On the control thread, every
 *            25 ms: keys that have something to tell go to the store, up to 64 of a group in one script
 *            (limit_share_script.h), at most one script of a group under way. Five times a second: who we
 *            are and which of our breakers are open; the answer says how many gateways share and whose
 *            breakers are open elsewhere. Where something failed and nothing was answered for 400 ms the
 *            store is away: each gateway keeps its limits alone, which is said once in the log, in the
 *            metric vivace_limit_shared and in the status. Nobody waits for any of this.
 *            Keys in the store, PREFIX being that of the store: PREFIX:limit:{GROUP}:ID:NAME is one key of a
 *            limit, with a digest for a name; PREFIX:limit:{0}:gateways and PREFIX:limit:{0}:open.
 * Threads:   control.
 * Errors:    VV_ENOMEM; VV_ENOENT: no such store.
 */
#ifndef VV_GATEWAY_LIMIT_SHARE_H
#define VV_GATEWAY_LIMIT_SHARE_H
#include "gateway/guards.h"
#include "guard/share.h"

struct vv_collect;
struct vv_loop;
struct vv_runtime;
struct vv_sharing;
struct vv_stores;

VV_MUST_CHECK enum vv_err vv_sharing_new(struct vv_guards *gs, struct vv_sharing **ret);
/* Workers and runtimes are gone, the stores are still there; NULL is fine. */
void vv_sharing_free(struct vv_sharing *sh);
/* Until then limits are counted by each gateway alone. */
void vv_sharing_begin(struct vv_sharing *sh, struct vv_loop *control, struct vv_stores *stores);
/* A runtime is being made: its limits and breakers find their stores. homes' guards are sh's. */
VV_MUST_CHECK enum vv_err vv_sharing_use(struct vv_sharing *sh, struct vv_runtime *rt);
void vv_sharing_settle(struct vv_sharing *sh, bool kept);

void vv_sharing_collect(struct vv_sharing *sh, struct vv_collect *c);
/* Elements of an open array: one object for each store. */
void vv_sharing_json(struct vv_sharing *sh, struct vv_json *j);
/* Stores that are away. */
unsigned vv_sharing_alone(const struct vv_sharing *sh);
#endif
