/* src/gateway/settings_secure_rows.c - the rows of `secure` and `cors`. */
#include "gateway/settings_int.h"

#define ROWS(r) .rows = (r), .row_count = VV_COUNT(r)
#define SHORTS(s) .shorts = (s), .short_count = VV_COUNT(s)

static const char *const presets[] = {"none", "strict", NULL};

#define FIELD(f) VV_CONF_FIELD(struct vv_hsts_settings, f)
static const struct vv_conf_row hsts_rows[] = {
    {FIELD(enabled), .key = "enabled", .type = VV_CONF_BOOL, .def = "true", .reload = true,
     .doc = "Whether browsers are told; `hsts: false` tells them nothing."},
    {FIELD(max_age_ns), .key = "max_age", .type = VV_CONF_DURATION, .def = "730d", .max = "3650d",
     .reload = true, .doc = "How long a browser uses HTTPS only; 0 makes it forget the host."},
    {FIELD(subdomains), .key = "subdomains", .type = VV_CONF_BOOL, .def = "true", .reload = true,
     .doc = "Whether that includes all names below this one."},
    {FIELD(preload), .key = "preload", .type = VV_CONF_BOOL, .def = "false", .reload = true,
     .doc = "Whether browsers may ship the name in their own lists, which is hard to undo."},
};
#undef FIELD
_Static_assert(VV_COUNT(hsts_rows) * 8 == sizeof(struct vv_hsts_settings), "every field has a row");
static const struct vv_conf_short hsts_shorts[] = {{VV_CONF_FORM_BOOL, "enabled"},
                                                   {VV_CONF_FORM_SCALAR, "max_age"}};
static const struct vv_conf_section hsts_section = {
    .name = "hsts",
    .size = sizeof(struct vv_hsts_settings),
    ROWS(hsts_rows),
    SHORTS(hsts_shorts),
    .doc = "Strict-Transport-Security, which is sent over HTTPS only (RFC 6797)."};

#define FIELD(f) VV_CONF_FIELD(struct vv_secure_settings, f)
#define HEADER(field_, name_, key_, doc_, example_)                                                \
    {                                                                                              \
        FIELD(field_), .key = (key_), .type = VV_CONF_TEMPLATE, .nullable = true, .reload = true,  \
                       .doc = name_ ": " doc_ "; null: not sent. Default: the preset's.",          \
                       .example = (example_)                                                       \
    }
static const struct vv_conf_row secure_rows[] = {
    {FIELD(enabled), .key = "enabled", .type = VV_CONF_BOOL, .def = "true", .reload = true,
     .doc = "Whether they are sent; `secure: false` switches off what defaults say."},
    {FIELD(preset), .key = "preset", .type = VV_CONF_ENUM, .def = "strict", .names = presets,
     .reload = true,
     .doc = "The set of headers to begin with. A route that names one begins anew, others begin "
            "with what defaults say.",
     .example = "strict"},
    {FIELD(hsts), .key = "hsts", .type = VV_CONF_SECTION, .section = &hsts_section, .reload = true,
     .doc = "Strict-Transport-Security: HTTPS only, from now on. Default: the preset's.",
     .example = "{max_age: 730d}"},
    HEADER(csp, "Content-Security-Policy", "csp", "where a page may load from",
           "\"default-src 'self'\""),
    HEADER(csp_report_only, "Content-Security-Policy-Report-Only", "csp_report_only",
           "a policy that browsers only report against", "\"default-src 'self'\""),
    {FIELD(csp_reports), .key = "csp_reports", .type = VV_CONF_TEXT, .nullable = true,
     .reload = true,
     .doc = "A path at which the gateway itself takes browsers' reports about csp and "
            "csp_report_only, counts and logs them; null: none.",
     .example = "/csp-reports"},
    HEADER(frame, "X-Frame-Options", "frame", "who may frame a page, DENY or SAMEORIGIN",
           "SAMEORIGIN"),
    {FIELD(nosniff), .key = "nosniff", .type = VV_CONF_BOOL, .absent = VV_CONF_ABSENT,
     .reload = true,
     .doc = "Whether X-Content-Type-Options: nosniff is sent. Default: the preset's.",
     .example = "true"},
    HEADER(referrer, "Referrer-Policy", "referrer", "what other sites learn of the page",
           "no-referrer"),
    HEADER(permissions, "Permissions-Policy", "permissions", "which abilities of the browser",
           "\"camera=(), geolocation=(self)\""),
    HEADER(opener, "Cross-Origin-Opener-Policy", "opener", "who shares a window's group",
           "same-origin-allow-popups"),
    HEADER(embedder, "Cross-Origin-Embedder-Policy", "embedder", "what a page may embed",
           "require-corp"),
    HEADER(resource, "Cross-Origin-Resource-Policy", "resource", "who may embed what is sent",
           "cross-origin"),
    HEADER(cross_domain, "X-Permitted-Cross-Domain-Policies", "cross_domain",
           "policy files of PDF readers and the like", "none"),
    {FIELD(hide), .key = "hide", .type = VV_CONF_TEXTS, .reload = true,
     .doc = "Fields of servers' answers that say what they run, and are left out. Default: the "
            "preset's: Server, X-Powered-By, X-AspNet-Version, X-AspNetMvc-Version.",
     .example = "[Server, X-Powered-By]"},
};
#undef FIELD
_Static_assert((VV_COUNT(secure_rows) + 3) * 8 == sizeof(struct vv_secure_settings),
               "every field has a row");
static const struct vv_conf_short secure_shorts[] = {{VV_CONF_FORM_BOOL, "enabled"},
                                                     {VV_CONF_FORM_SCALAR, "preset"}};
const struct vv_conf_section vv_settings_secure_section = {
    .name = "secure",
    .size = sizeof(struct vv_secure_settings),
    ROWS(secure_rows),
    SHORTS(secure_shorts),
    .doc =
        "Headers that make browsers careful. A field that `headers` sets or removes is theirs; "
        "otherwise these stand in the place of what a server says. `strict` is HSTS for two years "
        "with subdomains (over HTTPS), a Content-Security-Policy of the own origin, "
        "X-Frame-Options "
        "DENY, nosniff, Referrer-Policy same-origin, Permissions-Policy, "
        "Cross-Origin-Opener-Policy "
        "and Cross-Origin-Resource-Policy same-origin, X-Permitted-Cross-Domain-Policies none, and "
        "no word about what servers run."};

#define FIELD(f) VV_CONF_FIELD(struct vv_cors_settings, f)
static const struct vv_conf_row cors_rows[] = {
    {FIELD(enabled), .key = "enabled", .type = VV_CONF_BOOL, .def = "true", .reload = true,
     .doc = "Whether it applies; `cors: false` switches off what defaults say."},
    {FIELD(origins), .key = "origins", .type = VV_CONF_TEXTS, .reload = true,
     .doc = "Origins whose pages may read answers: scheme, host and port; "
            "\"https://*.example.org\" for all names below one, \"*\" for all.",
     .example = "[\"https://app.example.org\"]"},
    {FIELD(methods), .key = "methods", .type = VV_CONF_TEXTS, .reload = true,
     .doc = "Methods they may use. Default: the route's methods, else GET, HEAD, POST, PUT, PATCH "
            "and DELETE.",
     .example = "[GET, POST]"},
    {FIELD(headers), .key = "headers", .type = VV_CONF_TEXTS, .def = "*", .reload = true,
     .doc = "Request headers they may send; \"*\": those they ask for.",
     .example = "[Content-Type, Authorization]"},
    {FIELD(expose), .key = "expose", .type = VV_CONF_TEXTS,
     .def = "X-Request-Id, Retry-After, RateLimit, RateLimit-Policy", .reload = true,
     .doc = "Headers of answers that they may read beside the simple ones."},
    {FIELD(credentials), .key = "credentials", .type = VV_CONF_BOOL, .def = "false", .reload = true,
     .doc = "Whether they may ask with cookies and passwords of the user."},
    {FIELD(max_age_ns), .key = "max_age", .type = VV_CONF_DURATION, .def = "10m", .max = "1d",
     .reload = true, .doc = "How long a browser keeps the answer to a preflight."},
};
#undef FIELD
_Static_assert(VV_COUNT(cors_rows) * 8 == sizeof(struct vv_cors_settings), "every field has a row");
static const struct vv_conf_short cors_shorts[] = {{VV_CONF_FORM_BOOL, "enabled"},
                                                   {VV_CONF_FORM_SCALAR, "origins"},
                                                   {VV_CONF_FORM_LIST, "origins"}};
const struct vv_conf_section vv_settings_cors_section = {
    .name = "cors",
    .size = sizeof(struct vv_cors_settings),
    ROWS(cors_rows),
    SHORTS(cors_shorts),
    .doc =
        "Which origins' pages may use a route. The gateway answers preflights by itself, before "
        "access and limits, and writes Access-Control-Allow-Origin, -Credentials, -Expose-Headers "
        "and Vary: Origin in the place of what servers say."};
