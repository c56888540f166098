/* src/gateway/settings_secure_rows.c - the rows of `secure` and `cors`. */
#include "gateway/settings_int.h"

#define ROWS(r) .rows = (r), .row_count = VV_COUNT(r)
#define SHORTS(s) .shorts = (s), .short_count = VV_COUNT(s)

static const char *const presets[] = {"none", "strict", NULL};

#define FIELD(f) VV_CONF_FIELD(struct vv_secure_settings, f)
static const struct vv_conf_row secure_rows[] = {
    {FIELD(enabled), .type = VV_CONF_PRESENT},
    {FIELD(preset), .key = "preset", .type = VV_CONF_ENUM, .def = "strict", .names = presets,
     .reload = true, .doc = "The set of headers to begin with.", .example = "strict"},
};
#undef FIELD
_Static_assert(VV_COUNT(secure_rows) * 8 == sizeof(struct vv_secure_settings),
               "every field has a row");
static const struct vv_conf_short secure_shorts[] = {{VV_CONF_FORM_SCALAR, "preset"}};
const struct vv_conf_section vv_settings_secure_section = {
    .name = "secure",
    .size = sizeof(struct vv_secure_settings),
    ROWS(secure_rows),
    SHORTS(secure_shorts),
    .doc = "Headers that make browsers careful."};

#define FIELD(f) VV_CONF_FIELD(struct vv_cors_settings, f)
static const struct vv_conf_row cors_rows[] = {
    {FIELD(enabled), .type = VV_CONF_PRESENT},
    {FIELD(origins), .key = "origins", .type = VV_CONF_TEXTS, .required = true, .reload = true,
     .doc = "Origins whose pages may read answers; \"*\": all.",
     .example = "[\"https://app.example.org\"]"},
};
#undef FIELD
_Static_assert(VV_COUNT(cors_rows) * 8 == sizeof(struct vv_cors_settings), "every field has a row");
static const struct vv_conf_short cors_shorts[] = {{VV_CONF_FORM_SCALAR, "origins"},
                                                   {VV_CONF_FORM_LIST, "origins"}};
const struct vv_conf_section vv_settings_cors_section = {.name = "cors",
                                                         .size = sizeof(struct vv_cors_settings),
                                                         ROWS(cors_rows),
                                                         SHORTS(cors_shorts),
                                                         .doc = "Cross-origin requests."};
