/* src/gateway/names.h - from the servers of the file to addresses: names are resolved, again and again.
 *
 * Model:     one entry per configured (or added) server of each service. A numeric address or unix path
 *            is final. A name is looked up when it appears and again when its TTL ends; each of
 *            its addresses becomes a server. When a look-up fails the last good addresses stay and it
 *            is asked again after 1 s, then 2, 4 ... 30 s. Whenever an answer differs, the service's
 *            set is replaced as a whole (balance/).
 * Threads:   control thread. Ownership: copies what it needs of the settings.
 */
#ifndef VV_GATEWAY_NAMES_H
#define VV_GATEWAY_NAMES_H
#include "gateway/gateway.h"
#include "gateway/runtime.h"
#include "os/dns.h"

struct vv_names;
VV_MUST_CHECK enum vv_err vv_names_new(struct vv_loop *loop, struct vv_names **ret);
void vv_names_free(struct vv_names *n);
/* Takes over the services of a runtime; entries that stay keep their addresses. dns_servers may be NULL. */
VV_MUST_CHECK enum vv_err vv_names_apply(struct vv_names *n, const struct vv_runtime *rt);
VV_MUST_CHECK enum vv_err vv_names_change(struct vv_names *n, const struct vv_server_change *c);
/* Has every name been answered (or failed) once? */
bool vv_names_settled(const struct vv_names *n);
#endif
