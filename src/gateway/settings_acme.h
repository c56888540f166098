/* src/gateway/settings_acme.h - from the settings to what acme/ is told.
 *
 * Threads:   pure but for the environment (STATE_DIRECTORY). Ownership: what is returned lives in the
 *            arena and the settings.
 */
#ifndef VV_GATEWAY_SETTINGS_ACME_H
#define VV_GATEWAY_SETTINGS_ACME_H
#include "acme/acme.h"
#include "gateway/settings.h"

/* All but the names. VV_ERANGE: the path of the store is too long. */
VV_MUST_CHECK enum vv_err vv_settings_acme_conf(const struct vv_settings *s, struct vv_arena *arena,
                                                struct vv_acme_conf *ret);
/* Makes paths whole and reports mistakes that no single row can see, in `acme` and in the names to order for;
 * after `tls` of the listeners was derived. */
void vv_settings_check_acme(struct vv_conf_doc *doc, struct vv_settings *s);
#endif
