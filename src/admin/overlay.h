/* src/admin/overlay.h - the file of run-time changes next to the configuration: it is merged last, so
 * what an operator changed by API is there again after a restart.
 *
 * Model:     the overlay is JSON, which is YAML too, under a comment. A changed service has its whole
 *            list of servers there, since lists replace each other in a merge.
 * Threads:   control thread; blocks for one small atomic file write.
 * Errors:    VV_ESYNTAX: the file was edited by hand into something else; VV_EIO...: not written.
 *            A call that fails changes nothing.
 */
#ifndef VV_ADMIN_OVERLAY_H
#define VV_ADMIN_OVERLAY_H
#include "base/err.h"
#include "gateway/gateway.h"

/* Writes a change of `service` into the overlay at `path`; servers that the overlay does not know yet
 * come from `settings`. */
VV_MUST_CHECK enum vv_err vv_overlay_server(const char *path, const struct vv_service_settings *now,
                                            const struct vv_server_change *c);
/* Is `name` (a url or a name) this server, "http://" in front or not? */
bool vv_overlay_same_server(const char *a, const char *b);
#endif
