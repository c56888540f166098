/* src/gateway/settings_tls_rows.c - the rows of `tls` of a listener. */
#include "gateway/settings_int.h"

#define ROWS(r) .rows = (r), .row_count = VV_COUNT(r)
#define SHORTS(s) .shorts = (s), .short_count = VV_COUNT(s)

static const char *const modes[] = {"files", "auto", "local", NULL};
static const char *const versions[] = {"1.2", "1.3", NULL}; /* enum vv_tls_version */

#define FIELD(f) VV_CONF_FIELD(struct vv_cert_settings, f)
static const struct vv_conf_row cert_rows[] = {
    {FIELD(cert), .key = "cert", .type = VV_CONF_TEXT, .reload = true, .required = true,
     .doc = "A certificate followed by its chain, PEM.", .example = "example.org.pem"},
    {FIELD(key), .key = "key", .type = VV_CONF_TEXT, .reload = true,
     .doc = "Its key, PEM, not encrypted. Default: in the file of the certificate.",
     .example = "example.org.key"},
    {FIELD(ocsp), .key = "ocsp", .type = VV_CONF_TEXT, .reload = true,
     .doc = "The status answer of its issuer, DER, stapled to handshakes while it is good.",
     .example = "example.org.der"},
};
#undef FIELD
_Static_assert(VV_COUNT(cert_rows) * 8 == sizeof(struct vv_cert_settings), "every field has a row");
static const struct vv_conf_short cert_shorts[] = {{VV_CONF_FORM_SCALAR, "cert"}};
const struct vv_conf_section vv_settings_cert_section = {
    .name = "cert",
    .size = sizeof(struct vv_cert_settings),
    ROWS(cert_rows),
    SHORTS(cert_shorts),
    .doc = "A certificate. Several with the same names and different kinds of key (ECDSA, RSA) "
           "stand side by side: each client gets the best it can use."};

#define FIELD(f) VV_CONF_FIELD(struct vv_mutual_settings, f)
static const struct vv_conf_row mutual_rows[] = {
    {FIELD(enabled), .type = VV_CONF_PRESENT},
    {FIELD(ca), .key = "ca", .type = VV_CONF_TEXT, .reload = true, .required = true,
     .doc = "Authorities that may sign certificates of clients, PEM.", .example = "clients-ca.pem"},
    {FIELD(required), .key = "required", .type = VV_CONF_BOOL, .def = "true", .reload = true,
     .doc = "Refuse handshakes without a certificate. A certificate that is shown must hold in "
            "any case.",
     .example = "false"},
};
#undef FIELD
_Static_assert(VV_COUNT(mutual_rows) * 8 == sizeof(struct vv_mutual_settings),
               "every field has a row");
static const struct vv_conf_short mutual_shorts[] = {{VV_CONF_FORM_SCALAR, "ca"}};
static const struct vv_conf_section mutual_section = {
    .name = "mutual",
    .size = sizeof(struct vv_mutual_settings),
    ROWS(mutual_rows),
    SHORTS(mutual_shorts),
    .doc = "Clients show a certificate, too. Who it is: $tls.client_name and its like in headers, "
           "`access: certificate` on routes."};

#define FIELD(f) VV_CONF_FIELD(struct vv_tickets_settings, f)
static const struct vv_conf_row tickets_rows[] = {
    {FIELD(enabled), .key = "enabled", .type = VV_CONF_BOOL, .def = "true", .reload = true,
     .doc = "Let clients take up their sessions again."},
    {FIELD(life_ns), .key = "life", .type = VV_CONF_DURATION, .def = "1h", .min = "1m",
     .max = "24h", .reload = true,
     .doc = "How long a session may be taken up, and how often the key that seals tickets is "
            "replaced by a new one.",
     .example = "8h"},
};
#undef FIELD
_Static_assert(VV_COUNT(tickets_rows) * 8 == sizeof(struct vv_tickets_settings),
               "every field has a row");
static const struct vv_conf_short tickets_shorts[] = {{VV_CONF_FORM_BOOL, "enabled"},
                                                      {VV_CONF_FORM_SCALAR, "life"}};
static const struct vv_conf_section tickets_section = {
    .name = "tickets",
    .size = sizeof(struct vv_tickets_settings),
    ROWS(tickets_rows),
    SHORTS(tickets_shorts),
    .doc = "Session tickets. Their keys are shared by all workers and go on over reload and "
           "upgrade; they are never on a disk."};

#define FIELD(f) VV_CONF_FIELD(struct vv_tls_settings, f)
static const struct vv_conf_row tls_rows[] = {
    {FIELD(enabled), .type = VV_CONF_PRESENT},
    {FIELD(mode), .key = "mode", .type = VV_CONF_ENUM, .def = "files", .names = modes,
     .reload = true,
     .doc = "Where certificates come from: files; auto asks an ACME authority (in the profile "
            "development as local); local makes an authority of its own.",
     .example = "auto"},
    {FIELD(cert), .key = "cert", .type = VV_CONF_TEXT, .reload = true,
     .doc = "A certificate followed by its chain, PEM. The file is watched: a new one is in force "
            "within two seconds.",
     .example = "example.org.pem"},
    {FIELD(key), .key = "key", .type = VV_CONF_TEXT, .reload = true,
     .doc = "Its key, PEM, not encrypted. Default: in the file of the certificate.",
     .example = "example.org.key"},
    {FIELD(ocsp), .key = "ocsp", .type = VV_CONF_TEXT, .reload = true,
     .doc = "The status answer of its issuer, DER, stapled to handshakes while it is good.",
     .example = "example.org.der"},
    {FIELD(certs), .key = "certs", .type = VV_CONF_LIST, .section = &vv_settings_cert_section,
     .one = true, .reload = true,
     .doc = "More certificates. The name a client asks for chooses; the first one is for clients "
            "that ask for none, or for a name nobody has.",
     .example = "[{cert: a.pem, key: a.key}, {cert: b.pem, key: b.key}]"},
    {FIELD(names), .key = "names", .type = VV_CONF_TEXTS, .reload = true,
     .doc = "Names to have certificates for, with auto and local. Default: the names of the "
            "listener, else the hosts of its routes.",
     .example = "[example.org, www.example.org]"},
    {FIELD(version_min), .key = "min", .type = VV_CONF_ENUM, .def = "1.2", .names = versions,
     .reload = true, .doc = "The oldest version of TLS that is spoken.", .example = "\"1.3\""},
    {FIELD(strict_names), .key = "strict_names", .type = VV_CONF_BOOL, .def = "false",
     .reload = true,
     .doc = "Refuse handshakes for names that no certificate has, instead of showing the first "
            "certificate.",
     .example = "true"},
    {FIELD(mutual), .key = "mutual", .type = VV_CONF_SECTION, .section = &mutual_section,
     .optional = true, .reload = true, .doc = "Ask clients for certificates. Default: not.",
     .example = "{ca: clients-ca.pem, required: false}"},
    {FIELD(tickets), .key = "tickets", .type = VV_CONF_SECTION, .section = &tickets_section,
     .reload = true, .doc = "Session tickets: a life, or false.", .example = "8h"},
    {FIELD(ktls), .key = "ktls", .type = VV_CONF_BOOL, .def = "true", .reload = true,
     .doc = "Let the kernel encrypt, when it can.", .example = "false"},
    {FIELD(hello_bytes), .key = "hello_size", .type = VV_CONF_SIZE, .def = "16KiB", .min = "1KiB",
     .max = "64KiB", .reload = true, .doc = "The largest client hello.", .example = "8KiB"},
    {FIELD(dir), .key = "dir", .type = VV_CONF_TEXT, .reload = true,
     .doc = "Where local keeps its authority and its certificate. Default: tls in "
            "$STATE_DIRECTORY, else .vivace/tls beside the file.",
     .example = "/var/lib/vivace/tls"},
    {FIELD(all), .type = VV_CONF_DERIVED},
    {FIELD(local), .type = VV_CONF_DERIVED},
    {FIELD(wanted), .type = VV_CONF_DERIVED},
};
#undef FIELD
_Static_assert((VV_COUNT(tls_rows) - 2) * 8 + sizeof(struct vv_mutual_settings) +
                       sizeof(struct vv_tickets_settings) ==
                   sizeof(struct vv_tls_settings),
               "every field has a row");
static const struct vv_conf_short tls_shorts[] = {{VV_CONF_FORM_SCALAR, "mode"}};
const struct vv_conf_section vv_settings_tls_section = {.name = "tls",
                                                        .size = sizeof(struct vv_tls_settings),
                                                        ROWS(tls_rows),
                                                        SHORTS(tls_shorts),
                                                        .doc = "TLS towards clients."};
