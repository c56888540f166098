/* src/gateway/settings_upstream_rows.c - the rows of `tls` of a service. */
#include "gateway/settings_int.h"

#define ROWS(r) .rows = (r), .row_count = VV_COUNT(r)

#define FIELD(f) VV_CONF_FIELD(struct vv_service_tls_settings, f)
static const struct vv_conf_row service_tls_rows[] = {
    {FIELD(enabled), .type = VV_CONF_PRESENT},
    {FIELD(ca), .key = "ca", .type = VV_CONF_TEXT, .reload = true,
     .doc = "Authorities whose servers are trusted, PEM. Default: the system's.",
     .example = "internal-ca.pem"},
};
#undef FIELD
_Static_assert(VV_COUNT(service_tls_rows) * 8 == sizeof(struct vv_service_tls_settings),
               "every field has a row");
const struct vv_conf_section vv_settings_service_tls_section = {
    .name = "service tls",
    .size = sizeof(struct vv_service_tls_settings),
    ROWS(service_tls_rows),
    .doc = "TLS towards the servers of a service."};
