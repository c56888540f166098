/* src/gateway/settings_upstream_rows.c - the rows of `tls` of a service. */
#include "gateway/settings_int.h"

#define ROWS(r) .rows = (r), .row_count = VV_COUNT(r)

static const char *const versions[] = {"1.2", "1.3", NULL}; /* enum vv_tls_version */

#define FIELD(f) VV_CONF_FIELD(struct vv_service_tls_settings, f)
static const struct vv_conf_row service_tls_rows[] = {
    {FIELD(enabled), .type = VV_CONF_PRESENT},
    {FIELD(ca), .key = "ca", .type = VV_CONF_TEXT, .reload = true,
     .doc = "Authorities whose servers are trusted, PEM. Default: the system's.",
     .example = "internal-ca.pem"},
    {FIELD(verify), .key = "verify", .type = VV_CONF_BOOL, .def = "true", .reload = true,
     .doc = "Whether the certificate of a server must be valid and have its name."},
    {FIELD(name), .key = "name", .type = VV_CONF_TEXT, .reload = true,
     .doc =
         "The name that is asked for (SNI) and that the certificate must have; an address works, "
         "too. Default: the host in the URL.",
     .example = "shop.internal"},
    {FIELD(cert), .key = "cert", .type = VV_CONF_TEXT, .reload = true,
     .doc = "A certificate, with its chain, that is shown to servers that ask for one, PEM.",
     .example = "gateway.pem"},
    {FIELD(key), .key = "key", .type = VV_CONF_TEXT, .reload = true,
     .doc = "Its key, PEM. Default: in the file of the certificate.", .example = "gateway.key"},
    {FIELD(version_min), .key = "min", .type = VV_CONF_ENUM, .def = "1.2", .names = versions,
     .reload = true, .doc = "The oldest version of TLS that is spoken."},
};
#undef FIELD
_Static_assert(VV_COUNT(service_tls_rows) * 8 == sizeof(struct vv_service_tls_settings),
               "every field has a row");
const struct vv_conf_section vv_settings_service_tls_section = {
    .name = "service tls",
    .size = sizeof(struct vv_service_tls_settings),
    ROWS(service_tls_rows),
    .doc = "TLS towards the servers of a service."};
