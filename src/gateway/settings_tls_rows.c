/* src/gateway/settings_tls_rows.c - the rows of `tls` and `acme`. */
#include "gateway/settings_int.h"

#define ROWS(r) .rows = (r), .row_count = VV_COUNT(r)
#define SHORTS(s) .shorts = (s), .short_count = VV_COUNT(s)

static const char *const modes[] = {"files", "auto", "local", NULL};

#define FIELD(f) VV_CONF_FIELD(struct vv_tls_settings, f)
static const struct vv_conf_row tls_rows[] = {
    {FIELD(enabled), .type = VV_CONF_PRESENT},
    {FIELD(mode), .key = "mode", .type = VV_CONF_ENUM, .def = "files", .names = modes,
     .reload = true,
     .doc = "Where certificates come from: files; auto asks an ACME authority (in the profile "
            "development as local); local makes an authority of its own.",
     .example = "auto"},
    {FIELD(cert), .key = "cert", .type = VV_CONF_TEXT, .reload = true,
     .doc = "A certificate with its chain, PEM.", .example = "example.org.pem"},
    {FIELD(key), .key = "key", .type = VV_CONF_TEXT, .reload = true,
     .doc = "Its key, PEM. Default: in the file of the certificate.", .example = "example.org.key"},
};
#undef FIELD
_Static_assert(VV_COUNT(tls_rows) * 8 == sizeof(struct vv_tls_settings), "every field has a row");
static const struct vv_conf_short tls_shorts[] = {{VV_CONF_FORM_SCALAR, "mode"}};
const struct vv_conf_section vv_settings_tls_section = {.name = "tls",
                                                        .size = sizeof(struct vv_tls_settings),
                                                        ROWS(tls_rows),
                                                        SHORTS(tls_shorts),
                                                        .doc = "TLS towards clients."};

#define FIELD(f) VV_CONF_FIELD(struct vv_acme_settings, f)
static const struct vv_conf_row acme_rows[] = {
    {FIELD(enabled), .type = VV_CONF_PRESENT},
    {FIELD(directory), .key = "directory", .type = VV_CONF_TEXT, .reload = true,
     .doc = "URL of the authority's directory.", .example = "https://127.0.0.1:14000/dir"},
};
#undef FIELD
_Static_assert(VV_COUNT(acme_rows) * 8 == sizeof(struct vv_acme_settings), "every field has a row");
const struct vv_conf_section vv_settings_acme_section = {
    .name = "acme",
    .size = sizeof(struct vv_acme_settings),
    ROWS(acme_rows),
    .doc = "How certificates are ordered for `tls: auto`."};
