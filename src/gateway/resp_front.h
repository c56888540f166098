/* src/gateway/resp_front.h - a store served as Redis: applications connect to the gateway with any client for
 * Redis, and many of them share the gateway's few connections to the store.
 *
 * Model:     a store with `listen` has a front on every worker: a listening socket (SO_REUSEPORT), its clients,
 *            and one client of the store (store/redis.h) of its own, so that what applications ask does not
 *            stand before what caches ask. Commands are those of resp_commands.def. While the store is away,
 *            memory answers for plain strings (cache/small.h, one for each store, shared by the workers); a
 *            client is not closed for it.
 *            What differs between workers is nothing but their clients: `clients` counts all of them.
 *            Keys that begin with the store's prefix and a colon are the gateway's own and refused.
 *            Reload: a front whose name or address went stops accepting, ends what is under way and closes
 *            its clients; one that stays takes over limits, password and the new way to the store.
 * Threads:   home and plans: control. Fronts: their worker. A plan is counted, any thread.
 * Ownership: the worker owns its fronts; fronts share the home's memory by reference.
 * Errors:    VV_ENOMEM; VV_ENOENT: no such store.
 */
#ifndef VV_GATEWAY_RESP_FRONT_H
#define VV_GATEWAY_RESP_FRONT_H
#include "gateway/stores.h"
#include "gateway/worker.h"

struct vv_resp_home; /* what fronts of one store share, kept over reloads */
struct vv_resp_plan; /* which fronts there are to be */
struct vv_resp_front;
struct vv_resp_shared;

VV_MUST_CHECK enum vv_err vv_resp_home_new(struct vv_resp_home **ret);
void vv_resp_home_free(struct vv_resp_home *h); /* workers and plans are gone; NULL is fine */

/* The name of a store's listener beside those of HTTP: "@store:local". False: the store does not listen. */
#define VV_RESP_PLACE_BYTES 256
bool vv_resp_place(const struct vv_store_settings *s, char name[VV_RESP_PLACE_BYTES]);
/* The address of a listener of that name; NULL: there is none. */
const char *vv_resp_address(const struct vv_settings *s, const char *name);

/* What the settings say, with references to the stores. Its doors are in the order of the settings. */
VV_MUST_CHECK enum vv_err vv_resp_plan_new(struct vv_resp_home *h, struct vv_stores *stores,
                                           const struct vv_settings *s, struct vv_resp_plan **ret);
struct vv_resp_plan *vv_resp_plan_ref(struct vv_resp_plan *p);
void vv_resp_plan_unref(struct vv_resp_plan *p); /* NULL is fine */
size_t vv_resp_plan_count(const struct vv_resp_plan *p);
const char *vv_resp_plan_name(const struct vv_resp_plan *p, size_t i);
const char *vv_resp_plan_address(const struct vv_resp_plan *p, size_t i);

/* On the worker's thread, or before it runs. fd: a listening socket for each door, borrowed. */
VV_MUST_CHECK enum vv_err vv_resp_fronts_adopt(struct vv_worker *w, const struct vv_resp_plan *p,
                                               const int *fd);
void vv_resp_fronts_stop(struct vv_worker *w); /* draining: no more clients, those idle go */
void vv_resp_fronts_free(struct vv_worker *w); /* the worker ends */
#endif
