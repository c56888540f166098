/* src/gateway/settings_rows.c - every key of the configuration, one row each.
 *
 * Parser, defaults, limits, `config show`, the JSON schema, the reference page and the sample file all
 * come from here. Rules across fields are in settings_check.c. */
#include "gateway/settings_int.h"

#define ROWS(table) .rows = (table), .row_count = VV_COUNT(table)
#define SHORTS(table) .shorts = (table), .short_count = VV_COUNT(table)

/* ---- small sections ------------------------------------------------------------------------ */

#define FIELD(f) VV_CONF_FIELD(struct vv_timeouts_settings, f)
static const struct vv_conf_row timeouts_rows[] = {
    {FIELD(header_ns), .key = "header", .type = VV_CONF_DURATION, .def = "10s", .min = "1ms",
     .max = "1h", .reload = true,
     .doc = "From the first byte of a request to the end of its head; then 408."},
    {FIELD(body_ns), .key = "body", .type = VV_CONF_DURATION, .def = "30s", .min = "1ms",
     .max = "1d", .reload = true, .doc = "Between two reads of a request body; then 408."},
    {FIELD(connect_ns), .key = "connect", .type = VV_CONF_DURATION, .def = "5s", .min = "1ms",
     .max = "10m", .reload = true, .sample = "5s",
     .doc = "To a connection with a server; then 504."},
    {FIELD(first_byte_ns), .key = "first_byte", .type = VV_CONF_DURATION, .def = "60s",
     .min = "1ms", .max = "1d", .reload = true,
     .doc = "From the sent request to the head of the answer; then 504."},
    {FIELD(idle_ns), .key = "idle", .type = VV_CONF_DURATION, .def = "60s", .min = "1ms",
     .max = "7d", .reload = true,
     .doc = "Between two reads of an answer's body, or of a tunnel; then the connection is cut."},
    {FIELD(send_ns), .key = "send", .type = VV_CONF_DURATION, .def = "30s", .min = "1ms",
     .max = "1d", .reload = true,
     .doc = "A client that takes nothing of its answer for so long is cut off."},
    {FIELD(whole_ns), .key = "whole", .type = VV_CONF_DURATION, .def = "0", .max = "7d",
     .reload = true, .doc = "The whole exchange, 504 after it; 0 means no limit."},
};
#undef FIELD
_Static_assert(VV_COUNT(timeouts_rows) * 8 == sizeof(struct vv_timeouts_settings),
               "every field has a row");
static const struct vv_conf_section timeouts_section = {
    .name = "timeouts",
    .size = sizeof(struct vv_timeouts_settings),
    ROWS(timeouts_rows),
    .doc = "How long each wait of an exchange may take."};

#define FIELD(f) VV_CONF_FIELD(struct vv_header_match, f)
static const struct vv_conf_row match_rows[] = {
    {FIELD(name), .type = VV_CONF_NAME},
    {FIELD(value), .key = "value", .type = VV_CONF_TEXT, .word = "*", .nullable = true,
     .reload = true, .doc = "The value that must be there; * stands for any."},
};
#undef FIELD
_Static_assert(VV_COUNT(match_rows) * 8 == sizeof(struct vv_header_match), "every field has a row");
static const struct vv_conf_short value_shorts[] = {{VV_CONF_FORM_SCALAR, "value"}};
const struct vv_conf_section vv_settings_match_section = {.name = "match",
                                                          .size = sizeof(struct vv_header_match),
                                                          ROWS(match_rows),
                                                          SHORTS(value_shorts),
                                                          .doc = "A name and the value wanted."};

static const struct vv_conf_row label_rows[] = {
    {VV_CONF_FIELD(struct vv_header_match, name), .type = VV_CONF_NAME},
    {VV_CONF_FIELD(struct vv_header_match, value), .key = "value", .type = VV_CONF_TEXT,
     .required = true, .doc = "The label's value."},
};
static const struct vv_conf_section label_section = {.name = "label",
                                                     .size = sizeof(struct vv_header_match),
                                                     ROWS(label_rows),
                                                     SHORTS(value_shorts),
                                                     .doc = "A label that every metric carries."};

#define FIELD(f) VV_CONF_FIELD(struct vv_header_edit, f)
static const struct vv_conf_row edit_rows[] = {
    {FIELD(name), .type = VV_CONF_NAME},
    {FIELD(value), .key = "value", .type = VV_CONF_TEMPLATE, .nullable = true, .reload = true,
     .doc = "The value to set, a template; null removes the header."},
    {FIELD(when), .type = VV_CONF_DERIVED},
};
#undef FIELD
_Static_assert(VV_COUNT(edit_rows) * 8 == sizeof(struct vv_header_edit), "every field has a row");
static const struct vv_conf_section edit_section = {.name = "header edit",
                                                    .size = sizeof(struct vv_header_edit),
                                                    ROWS(edit_rows),
                                                    SHORTS(value_shorts),
                                                    .doc = "A header to set or to remove."};

/* ---- listen -------------------------------------------------------------------------------- */

#define FIELD(f) VV_CONF_FIELD(struct vv_listen_settings, f)
static const struct vv_conf_row listen_rows[] = {
    {FIELD(name), .type = VV_CONF_NAME},
    {FIELD(address), .key = "address", .type = VV_CONF_TEXT,
     .doc = "Where to listen: \"127.0.0.1:8080\", \"[::1]:8080\", \":8080\", \"unix:/path\".",
     .example = "127.0.0.1:8080"},
    {FIELD(port), .key = "port", .type = VV_CONF_COUNT, .min = "1", .max = "65535",
     .doc = "A TCP port on all addresses, in place of address.", .example = "8080"},
    {FIELD(names), .key = "names", .type = VV_CONF_TEXTS, .reload = true,
     .doc = "Host names served here, \"*.example.org\" allowed; others get 421. Default: all.",
     .example = "[shop.example.org]"},
    {FIELD(keepalive_ns), .key = "keepalive", .type = VV_CONF_DURATION, .def = "75s", .min = "1ms",
     .max = "1d", .reload = true, .doc = "How long an idle client connection stays open."},
    {FIELD(keepalive_requests), .key = "keepalive_requests", .type = VV_CONF_COUNT, .def = "0",
     .reload = true, .doc = "Requests one connection may send; 0 means no limit."},
    {FIELD(connections), .key = "connections", .type = VV_CONF_COUNT, .def = "auto", .word = "auto",
     .min = "1", .max = "10000000", .reload = true,
     .doc = "Client connections per worker; auto follows the limit of open files."},
    {FIELD(proxy_protocol), .key = "proxy_protocol", .type = VV_CONF_BOOL, .def = "false",
     .reload = true,
     .doc = "Whether trusted peers must begin with a PROXY header (version 1 or 2)."},
    {FIELD(trust), .key = "trust", .type = VV_CONF_TEXTS, .reload = true,
     .doc = "Addresses (CIDR) whose Forwarded, X-Forwarded-* and PROXY headers are believed.",
     .example = "[10.0.0.0/8]"},
    {FIELD(unix_mode), .key = "mode", .type = VV_CONF_OCTAL, .def = "0660", .max = "0777",
     .doc = "Permissions of a unix socket, octal."},
    {FIELD(head_bytes), .key = "head_size", .type = VV_CONF_SIZE, .def = "32KB", .min = "1KB",
     .max = "1MB", .reload = true, .doc = "Largest request head; larger ones get 431."},
    {FIELD(line_bytes), .key = "line_size", .type = VV_CONF_SIZE, .def = "8KB", .min = "256B",
     .max = "1MB", .reload = true, .doc = "Longest request line; longer ones get 414."},
    {FIELD(fields_max), .key = "fields", .type = VV_CONF_COUNT, .def = "100", .min = "1",
     .max = "1000", .reload = true, .doc = "Most header fields of a request; more get 431."},
    {FIELD(body_bytes_max), .key = "max_body", .type = VV_CONF_SIZE, .def = "0", .reload = true,
     .doc = "Largest request body, 413 above it; 0 means no limit."},
    {FIELD(header_timeout_ns), .key = "header_timeout", .type = VV_CONF_DURATION, .min = "1ms",
     .max = "1h", .reload = true,
     .doc = "Time for a request head here. Default: defaults.timeouts.header.", .example = "10s"},
    {FIELD(limits), .key = "limit", .type = VV_CONF_LIST, .section = &vv_settings_limit_section,
     .one = true, .reload = true,
     .doc = "How many requests may pass here: a rate, one limit, or a list of them.",
     .example = "{per: client, rate: 100/s, burst: 200}"},
    {FIELD(tls), .key = "tls", .type = VV_CONF_SECTION, .section = &vv_settings_tls_section,
     .optional = true, .reload = true, .doc = "TLS towards clients. Default: none.",
     .example = "auto"},
    {FIELD(http2), .key = "http2", .type = VV_CONF_BOOL, .def = "true", .reload = true,
     .doc = "Whether HTTP/2 is offered; without TLS by prior knowledge."},
    {FIELD(redirect), .key = "redirect", .type = VV_CONF_TEXT, .reload = true,
     .doc =
         "https: every request here that did not come over HTTPS is sent there, to the port of the "
         "listener with tls, or to that of https:8443. Default: requests are served.",
     .example = "https"},
    {FIELD(clients), .key = "clients", .type = VV_CONF_SECTION,
     .section = &vv_settings_clients_section, .reload = true, .doc = "What one client may do here.",
     .example = "{connections: 256}"},
};
#undef FIELD
static const struct vv_conf_short listen_shorts[] = {{VV_CONF_FORM_NUMBER, "port"},
                                                     {VV_CONF_FORM_SCALAR, "address"}};
static const struct vv_conf_section listen_section = {
    .name = "listener",
    .size = sizeof(struct vv_listen_settings),
    ROWS(listen_rows),
    SHORTS(listen_shorts),
    .doc = "An address on which clients are served."};

/* ---- services ------------------------------------------------------------------------------ */

#define FIELD(f) VV_CONF_FIELD(struct vv_server_settings, f)
static const struct vv_conf_row server_rows[] = {
    {FIELD(url), .key = "url", .type = VV_CONF_TEXT, .required = true, .reload = true,
     .sample = "127.0.0.1:3001",
     .doc = "\"host:port\", \"http://host:port\", \"https://host:port\" (TLS) or \"unix:/path\".",
     .example = "127.0.0.1:3001"},
    {FIELD(weight), .key = "weight", .type = VV_CONF_COUNT, .def = "1", .min = "1", .max = "1000",
     .reload = true, .doc = "Its share of the requests, relative to the others."},
    {FIELD(drain), .key = "drain", .type = VV_CONF_BOOL, .def = "false", .reload = true,
     .doc = "Whether it finishes what it has and takes nothing new."},
};
#undef FIELD
_Static_assert(VV_COUNT(server_rows) * 8 == sizeof(struct vv_server_settings),
               "every field has a row");
static const struct vv_conf_short server_shorts[] = {{VV_CONF_FORM_SCALAR, "url"}};
const struct vv_conf_section vv_settings_server_section = {.name = "server",
                                                           .size =
                                                               sizeof(struct vv_server_settings),
                                                           ROWS(server_rows),
                                                           SHORTS(server_shorts),
                                                           .doc = "One server of a service."};

static const char *const check_types[] = {"http", "tcp", "grpc", NULL};
#define FIELD(f) VV_CONF_FIELD(struct vv_check_settings, f)
static const struct vv_conf_row check_rows[] = {
    {FIELD(timing.enabled), .type = VV_CONF_PRESENT},
    {FIELD(path), .key = "path", .type = VV_CONF_TEXT, .def = "/", .reload = true,
     .doc = "What a probe asks for.", .example = "/health"},
    {FIELD(type), .key = "type", .type = VV_CONF_ENUM, .def = "http", .names = check_types,
     .reload = true,
     .doc =
         "A GET request (over HTTP/2 where servers are asked that way), only a TCP connection, or "
         "the health protocol of gRPC (with `http2`).",
     .example = "grpc"},
    {FIELD(timing.every_ns), .key = "every", .type = VV_CONF_DURATION, .def = "10s", .min = "100ms",
     .max = "1h", .reload = true, .doc = "Time between two probes of a server."},
    {FIELD(timing.timeout_ns), .key = "timeout", .type = VV_CONF_DURATION, .def = "5s",
     .min = "10ms", .max = "10m", .reload = true, .doc = "How long a probe may take."},
    {FIELD(timing.fails), .key = "fails", .type = VV_CONF_COUNT, .def = "3", .min = "1",
     .max = "1000", .reload = true, .doc = "Bad probes in a row that take a server out."},
    {FIELD(timing.passes), .key = "passes", .type = VV_CONF_COUNT, .def = "1", .min = "1",
     .max = "1000", .reload = true, .doc = "Good probes in a row that bring it back."},
    {FIELD(timing.grace_ns), .key = "grace", .type = VV_CONF_DURATION, .def = "0", .max = "1h",
     .reload = true, .doc = "Time after the start in which bad probes do not count."},
    {FIELD(host), .key = "host", .type = VV_CONF_TEXT, .reload = true,
     .doc = "Host header of a probe. Default: the server's name."},
    {FIELD(expect), .key = "expect", .type = VV_CONF_TEXTS, .def = "2xx, 3xx", .reload = true,
     .doc = "Status codes, or classes of them, that count as good.", .example = "[200, 3xx]"},
};
#undef FIELD
_Static_assert(VV_COUNT(check_rows) * 8 == sizeof(struct vv_check_settings),
               "every field has a row");
static const struct vv_conf_short check_shorts[] = {{VV_CONF_FORM_SCALAR, "path"}};
static const struct vv_conf_section check_section = {
    .name = "check",
    .size = sizeof(struct vv_check_settings),
    ROWS(check_rows),
    SHORTS(check_shorts),
    .doc = "Active checks: probes that the gateway sends by itself."};

#define FIELD(f) VV_CONF_FIELD(struct vv_service_conf, f)
static const struct vv_conf_row outlier_rows[] = {
    {FIELD(outlier_consecutive), .key = "consecutive", .type = VV_CONF_COUNT, .def = "5",
     .max = "1000000", .reload = true,
     .doc = "Server errors in a row that take a server out for a while; 0: never."},
    {FIELD(outlier_rate), .key = "success_rate", .type = VV_CONF_BOOL, .def = "true",
     .reload = true,
     .doc = "Whether a server goes out whose success rate is far below its neighbours'."},
};
#undef FIELD
static const struct vv_conf_section outlier_section = {
    .name = "outlier",
    .size = sizeof(struct vv_service_conf),
    ROWS(outlier_rows),
    .doc = "Passive ejection by what servers answer."};

static const char *const balancers[] = {
#define VV_BALANCER(id, name, doc) name,
#include "balance/balancers.def"
#undef VV_BALANCER
    NULL};

#define FIELD(f) VV_CONF_FIELD(struct vv_service_settings, f)
static const struct vv_conf_row service_rows[] = {
    {FIELD(name), .type = VV_CONF_NAME},
    {FIELD(servers), .key = "servers", .type = VV_CONF_LIST, .section = &vv_settings_server_section,
     .required = true, .reload = true, .sample = "",
     .doc = "The servers that answer for this service."},
    {FIELD(balance.balancer), .key = "balance", .type = VV_CONF_ENUM, .def = "least_conn",
     .names = balancers, .reload = true, .doc = "How the server of a request is chosen."},
    {FIELD(hash_key), .key = "hash_key", .type = VV_CONF_TEMPLATE, .reload = true,
     .doc = "What `balance: hash` hashes: a template.", .example = "$client_ip"},
    {FIELD(sticky_cookie), .key = "sticky", .type = VV_CONF_TEXT, .reload = true,
     .doc = "Name of a cookie that keeps a client at its server.", .example = "vivace_server"},
    {FIELD(keepalive), .key = "keepalive", .type = VV_CONF_COUNT, .def = "256", .max = "100000",
     .reload = true, .doc = "Idle connections kept per worker and server."},
    {FIELD(keepalive_ns), .key = "keepalive_time", .type = VV_CONF_DURATION, .def = "60s",
     .min = "1ms", .max = "1d", .reload = true, .doc = "How long an idle connection is kept."},
    {FIELD(connections), .key = "connections", .type = VV_CONF_COUNT, .def = "0", .max = "1000000",
     .reload = true, .doc = "Connections per worker and server; 0 means no limit."},
    {FIELD(connect_ns), .key = "connect_timeout", .type = VV_CONF_DURATION, .min = "1ms",
     .max = "10m", .reload = true,
     .doc = "Time to connect to a server. Default: defaults.timeouts.connect.", .example = "5s"},
    {FIELD(first_byte_ns), .key = "first_byte_timeout", .type = VV_CONF_DURATION, .min = "1ms",
     .max = "1d", .reload = true,
     .doc = "Time to the head of an answer. Default: defaults.timeouts.first_byte.",
     .example = "60s"},
    {FIELD(idle_ns), .key = "idle_timeout", .type = VV_CONF_DURATION, .min = "1ms", .max = "7d",
     .reload = true, .doc = "Time between two reads. Default: defaults.timeouts.idle.",
     .example = "60s"},
    {FIELD(retries), .key = "retries", .type = VV_CONF_SECTION,
     .section = &vv_settings_retry_section, .reload = true,
     .doc = "Further attempts when that is safe: nothing was sent, or the method allows it.",
     .example = "{max: 2, when: [connect, 503], budget: 20%}"},
    {FIELD(hedge), .key = "hedge", .type = VV_CONF_SECTION, .section = &vv_settings_hedge_section,
     .optional = true, .reload = true,
     .doc = "Whether a second server is asked when the first takes unusually long. Default: no.",
     .example = "true"},
    {FIELD(concurrency), .key = "concurrency", .type = VV_CONF_SECTION,
     .section = &vv_settings_concurrency_section, .optional = true, .reload = true,
     .doc = "Requests in flight at once; auto finds out how many are good. Default: no limit.",
     .example = "auto"},
    {FIELD(breaker), .key = "breaker", .type = VV_CONF_TEXT, .reload = true,
     .doc = "A name in breakers. Default: none.", .example = "ai_service"},
    {FIELD(host), .key = "host", .type = VV_CONF_TEMPLATE, .reload = true,
     .doc = "Host header sent. Default: the client's.", .example = "shop.internal"},
    {FIELD(balance.max_fails), .key = "max_fails", .type = VV_CONF_COUNT, .def = "3",
     .max = "1000000", .reload = true,
     .doc = "Failures within fail_timeout that take a server out for fail_timeout; 0: never."},
    {FIELD(balance.fail_timeout_ns), .key = "fail_timeout", .type = VV_CONF_DURATION, .def = "10s",
     .min = "100ms", .max = "1d", .reload = true,
     .doc = "The window for max_fails, and how long the server is then left out."},
    {FIELD(balance.slow_start_ns), .key = "slow_start", .type = VV_CONF_DURATION, .def = "0",
     .max = "1h", .reload = true, .doc = "Time in which a server that came back is ramped up."},
    {FIELD(balance), .key = "outlier", .type = VV_CONF_SECTION, .section = &outlier_section,
     .reload = true, .doc = "Passive ejection by what servers answer.",
     .example = "{consecutive: 5, success_rate: true}"},
    {FIELD(balance.max_ejected_ppm), .key = "max_ejected", .type = VV_CONF_PPM, .def = "50%",
     .max = "100%", .reload = true,
     .doc = "Share of the servers that ejections may take out at once."},
    {FIELD(balance.bounded_load_ppm), .key = "bounded_load", .type = VV_CONF_PPM, .def = "125%",
     .min = "100%", .max = "1000%", .reload = true,
     .doc = "With `balance: hash`: most load of a server, relative to the mean."},
    {FIELD(check), .key = "check", .type = VV_CONF_SECTION, .section = &check_section,
     .optional = true, .reload = true, .doc = "Active checks. Default: none.",
     .example = "/health"},
    {FIELD(tls), .key = "tls", .type = VV_CONF_SECTION, .section = &vv_settings_service_tls_section,
     .optional = true, .reload = true, .doc = "How servers with https:// URLs are spoken to.",
     .example = "{ca: internal-ca.pem}"},
    {FIELD(http2), .key = "http2", .type = VV_CONF_BOOL, .def = "false", .reload = true,
     .doc = "Whether servers are asked over HTTP/2, as gRPC needs."},
};
#undef FIELD
static const struct vv_conf_short service_shorts[] = {{VV_CONF_FORM_LIST, "servers"}};
const struct vv_conf_section vv_settings_service_section = {
    .name = "service",
    .size = sizeof(struct vv_service_settings),
    ROWS(service_rows),
    SHORTS(service_shorts),
    .doc = "Servers that do the same, and how to choose among them."};

/* ---- routes -------------------------------------------------------------------------------- */

#define FIELD(f) VV_CONF_FIELD(struct vv_files_settings, f)
static const struct vv_conf_row files_rows[] = {
    {FIELD(root), .key = "root", .type = VV_CONF_TEXT, .required = true, .reload = true,
     .doc =
         "Folder whose files are served. A prefix like /assets/ is taken off the path; a glob or "
         "an exact path is looked up whole. A root that is a symbolic link is followed when the "
         "configuration is loaded: swap the link, then reload.",
     .example = "./public"},
    {FIELD(index), .key = "index", .type = VV_CONF_TEXT, .def = "index.html", .reload = true,
     .doc = "File served for a folder."},
    {FIELD(fallback), .key = "fallback", .type = VV_CONF_TEXT, .reload = true,
     .doc = "File served when nothing is found: single-page applications.",
     .example = "index.html"},
    {FIELD(precompressed), .key = "precompressed", .type = VV_CONF_BOOL, .def = "true",
     .reload = true, .doc = "Whether .br, .zst and .gz files beside a file are used."},
    {FIELD(hidden), .key = "hidden", .type = VV_CONF_BOOL, .def = "false", .reload = true,
     .doc = "Whether names that begin with a dot are served. /.well-known/ always is."},
};
#undef FIELD
_Static_assert(VV_COUNT(files_rows) * 8 == sizeof(struct vv_files_settings),
               "every field has a row");
static const struct vv_conf_short files_shorts[] = {{VV_CONF_FORM_SCALAR, "root"}};
static const struct vv_conf_section files_section = {.name = "files",
                                                     .size = sizeof(struct vv_files_settings),
                                                     ROWS(files_rows),
                                                     SHORTS(files_shorts),
                                                     .doc = "Files from a folder."};

#define FIELD(f) VV_CONF_FIELD(struct vv_redirect_settings, f)
static const struct vv_conf_row redirect_rows[] = {
    {FIELD(to), .key = "to", .type = VV_CONF_TEMPLATE, .required = true, .reload = true,
     .doc = "Where to: a template.", .example = "https://$host$uri"},
    {FIELD(status), .key = "status", .type = VV_CONF_COUNT, .def = "308", .min = "301",
     .max = "308", .reload = true, .doc = "301, 302, 303, 307 or 308."},
};
#undef FIELD
_Static_assert(VV_COUNT(redirect_rows) * 8 == sizeof(struct vv_redirect_settings),
               "every field has a row");
static const struct vv_conf_short redirect_shorts[] = {{VV_CONF_FORM_SCALAR, "to"}};
static const struct vv_conf_section redirect_section = {.name = "redirect",
                                                        .size = sizeof(struct vv_redirect_settings),
                                                        ROWS(redirect_rows),
                                                        SHORTS(redirect_shorts),
                                                        .doc = "Sends the client elsewhere."};

#define FIELD(f) VV_CONF_FIELD(struct vv_respond_settings, f)
static const struct vv_conf_row respond_rows[] = {
    {FIELD(status), .key = "status", .type = VV_CONF_COUNT, .def = "200", .min = "200",
     .max = "599", .reload = true, .doc = "Status of the answer."},
    {FIELD(body), .key = "body", .type = VV_CONF_TEMPLATE, .reload = true,
     .doc = "Body of the answer: a template, or \"@file\" for a file read at load.",
     .example = "closed for today"},
    {FIELD(type), .key = "type", .type = VV_CONF_TEXT, .def = "text/plain; charset=utf-8",
     .reload = true, .doc = "Its Content-Type."},
    {FIELD(body_literal), .type = VV_CONF_DERIVED},
};
#undef FIELD
_Static_assert(VV_COUNT(respond_rows) * 8 == sizeof(struct vv_respond_settings),
               "every field has a row");
static const struct vv_conf_short respond_shorts[] = {{VV_CONF_FORM_NUMBER, "status"},
                                                      {VV_CONF_FORM_SCALAR, "body"}};
static const struct vv_conf_section respond_section = {.name = "respond",
                                                       .size = sizeof(struct vv_respond_settings),
                                                       ROWS(respond_rows),
                                                       SHORTS(respond_shorts),
                                                       .doc = "A fixed answer."};

#define FIELD(f) VV_CONF_FIELD(struct vv_route_settings, f)
static const struct vv_conf_row route_rows[] = {
    {FIELD(name), .key = "name", .type = VV_CONF_TEXT, .reload = true,
     .doc = "Name in metrics and logs. Default: the path.", .example = "shop_api"},
    {FIELD(path), .key = "path", .type = VV_CONF_TEXT, .def = "/", .reload = true,
     .doc = "Paths taken: \"/api/\" and all below it, \"/a\" exactly, \"/users/{id}\", "
            "\"*.{png,jpg}\".",
     .example = "/api/"},
    {FIELD(methods), .key = "methods", .type = VV_CONF_TEXTS, .reload = true,
     .doc = "Methods taken. Default: all.", .example = "[GET, POST]"},
    {FIELD(hosts), .key = "host", .type = VV_CONF_TEXTS, .reload = true,
     .doc = "Host names taken, \"*.example.org\" allowed. Default: all.",
     .example = "shop.example.org"},
    {FIELD(listen), .key = "listen", .type = VV_CONF_TEXTS, .reload = true,
     .doc = "Listeners on which this route exists. Default: all.", .example = "default"},
    {FIELD(match_headers), .key = "when_headers", .type = VV_CONF_MAP,
     .section = &vv_settings_match_section, .reload = true,
     .doc = "Headers a request must have; * stands for any value.",
     .example = "{X-API-Version: \"1.0\"}"},
    {FIELD(match_query), .key = "when_query", .type = VV_CONF_MAP,
     .section = &vv_settings_match_section, .reload = true,
     .doc = "Query parameters a request must have; * stands for any value.",
     .example = "{debug: \"*\"}"},
    {FIELD(action), .type = VV_CONF_DERIVED},
    {FIELD(to), .key = "to", .type = VV_CONF_TEXT, .reload = true, .sample = "shop",
     .doc = "Action: a service, or the URL of a server.", .example = "shop"},
    {FIELD(files), .key = "files", .type = VV_CONF_SECTION, .section = &files_section,
     .optional = true, .reload = true, .doc = "Action: files from a folder.",
     .example = "./public"},
    {FIELD(redirect), .key = "redirect", .type = VV_CONF_SECTION, .section = &redirect_section,
     .optional = true, .reload = true, .doc = "Action: send the client elsewhere.",
     .example = "https://$host$uri"},
    {FIELD(respond), .key = "respond", .type = VV_CONF_SECTION, .section = &respond_section,
     .optional = true, .reload = true, .doc = "Action: a fixed answer.", .example = "204"},
    {FIELD(rewrite), .key = "rewrite", .type = VV_CONF_TEMPLATE, .reload = true,
     .doc = "Path sent to the service: a template. Default: unchanged.", .example = "/v2/$rest"},
    {FIELD(compose), .key = "compose", .type = VV_CONF_SECTION,
     .section = &vv_settings_compose_section, .optional = true, .reload = true,
     .doc = "Action: one answer out of the answers of several services.",
     .example = "{parts: {profile: {to: users, path: \"/profile\"}}}"},
    {FIELD(objects), .key = "objects", .type = VV_CONF_TEXT, .reload = true,
     .doc = "Action: keys and values that applications get, put and delete, in this store and in "
            "memory while it is away. The path ends with a slash; what follows it is the key.",
     .example = "local"},
    VV_SETTINGS_FALLBACK_ROWS(
        struct vv_route_settings,
        "What is sent where the answer cannot be had: {json: ...}, {stale: true}, {to: SERVICE}, "
        "{file: PATH}, {status: 200, body: TEXT}; anything else is the JSON itself. With files: "
        "another spelling of files.fallback."),
    {FIELD(expires_ns), .key = "expires", .type = VV_CONF_DURATION, .absent = VV_CONF_ABSENT,
     .max = "3650d", .reload = true, .doc = "Cache-Control max-age added to answers.",
     .example = "30d"},
    {FIELD(headers), .key = "headers", .type = VV_CONF_MAP, .section = &edit_section,
     .reload = true, .doc = "Headers set on answers; null removes one.",
     .example = "{X-Frame-Options: DENY, Server: null}"},
    {FIELD(request_headers), .key = "request_headers", .type = VV_CONF_MAP,
     .section = &edit_section, .reload = true,
     .doc = "Headers set on requests to the service; null removes one.",
     .example = "{X-Request-Id: $request_id}"},
    {FIELD(count_as), .key = "count_as", .type = VV_CONF_TEXT, .reload = true,
     .doc = "An extra counter for this route's requests.", .example = "api"},
    {FIELD(caching), .key = "cache", .type = VV_CONF_SECTION,
     .section = &vv_settings_route_cache_section, .optional = true, .reload = true,
     .doc =
         "How answers are kept: a duration, a name in caches or ttls, keys of its own, or "
         "false. With \"to\", or for the parts of \"compose\". Default: defaults.cache, else not.",
     .example = "5m"},
    {FIELD(cache), .type = VV_CONF_DERIVED},
    {FIELD(coalesce), .key = "coalesce", .type = VV_CONF_SECTION,
     .section = &vv_settings_coalesce_section, .optional = true, .reload = true,
     .doc = "Whether equal requests at the same time become one. With \"to\" or \"compose\"; with "
            "a cache they do anyway. Default: defaults.coalesce, else not.",
     .example = "{key: \"all-users\", keep: 30s}"},
    {FIELD(coalesces), .type = VV_CONF_DERIVED},
    {FIELD(compress), .key = "compress", .type = VV_CONF_SECTION,
     .section = &vv_settings_compress_section, .optional = true, .reload = true,
     .doc = "Whether answers are compressed. Default: those of \"to\" are, by "
            "defaults.compress; files only when it is given here.",
     .example = "{min: 4KB, encodings: [gzip]}"},
    {FIELD(compresses), .type = VV_CONF_DERIVED},
    {FIELD(limits), .key = "limit", .type = VV_CONF_LIST, .section = &vv_settings_limit_section,
     .one = true, .reload = true,
     .doc = "How many requests may pass here: a rate, one limit, or a list of them. The "
            "listener's count too.",
     .example = "100/s"},
    {FIELD(access), .key = "access", .type = VV_CONF_SECTION,
     .section = &vv_settings_route_access_section, .optional = true, .reload = true,
     .doc = "Who may ask: bearer, key, basic, jwt, or a list of them. Default: everybody.",
     .example = "bearer"},
    {FIELD(require), .key = "require", .type = VV_CONF_MAP, .section = &vv_settings_match_section,
     .reload = true,
     .doc = "Headers a request must have; * stands for any value. Without one 400, with another "
            "Content-Type 415.",
     .example = "{X-API-Version: \"1.0\"}"},
    {FIELD(breaker), .key = "breaker", .type = VV_CONF_TEXT, .reload = true,
     .doc = "A name in breakers. Default: the service's.", .example = "ai_service"},
    {FIELD(retries), .key = "retries", .type = VV_CONF_COUNT, .absent = VV_CONF_ABSENT, .max = "10",
     .reload = true, .doc = "Further attempts. Default: the service's.", .example = "0"},
    {FIELD(priority), .key = "priority", .type = VV_CONF_ENUM, .absent = VV_CONF_ABSENT,
     .names = vv_settings_priorities, .reload = true,
     .doc = "Who is served last, and turned away first, when there is not enough for all. "
            "Default: the plan's, else normal.",
     .example = "high"},
    {FIELD(canary), .key = "canary", .type = VV_CONF_SECTION,
     .section = &vv_settings_canary_section, .optional = true, .reload = true,
     .doc = "Another service that gets a share of the requests, and is compared. Default: none.",
     .example = "{to: shop_v2, share: 5%}"},
    {FIELD(mirror), .key = "mirror", .type = VV_CONF_SECTION,
     .section = &vv_settings_mirror_section, .optional = true, .reload = true,
     .doc = "Another service that gets copies of the requests. Default: none.",
     .example = "{to: shop_v2, share: 10%}"},
    {FIELD(secure), .key = "secure", .type = VV_CONF_SECTION,
     .section = &vv_settings_secure_section, .optional = true, .reload = true,
     .doc = "Headers that make browsers careful. Default: defaults.secure.", .example = "strict"},
    {FIELD(cors), .key = "cors", .type = VV_CONF_SECTION, .section = &vv_settings_cors_section,
     .optional = true, .reload = true,
     .doc = "Which origins' pages may use this. Default: defaults.cors.",
     .example = "\"https://app.example.org\""},
    {FIELD(browser_headers), .type = VV_CONF_DERIVED},
    {FIELD(sharing), .type = VV_CONF_DERIVED},
    {FIELD(server_timing), .key = "server_timing", .type = VV_CONF_BOOL, .absent = VV_CONF_ABSENT,
     .reload = true,
     .doc = "Whether answers say in Server-Timing where their time went. Default: "
            "defaults.server_timing.",
     .example = "true"},
    {FIELD(body_bytes_max), .key = "max_body", .type = VV_CONF_SIZE, .absent = VV_CONF_ABSENT,
     .reload = true, .doc = "Largest request body; 0 means no limit. Default: the listener's.",
     .example = "10MB"},
    {FIELD(timeouts.whole_ns), .key = "timeout", .type = VV_CONF_DURATION,
     .store = "timeouts.whole", .reload = true, .doc = "Another spelling of timeouts.whole."},
    {FIELD(timeouts), .key = "timeouts", .type = VV_CONF_SECTION, .section = &timeouts_section,
     .inherit = true, .reload = true,
     .doc = "Waits of this route. Default: the service's, then defaults.timeouts.",
     .example = "{connect: 2s, idle: 5m}"},
    {FIELD(at), .type = VV_CONF_AT},
};
#undef FIELD
static const struct vv_conf_section route_section = {
    .name = "route",
    .size = sizeof(struct vv_route_settings),
    ROWS(route_rows),
    .doc = "Which requests, and what happens to them. Routes are tried in the order written; each "
           "has exactly one action: to, files, compose, objects, redirect or respond."};

/* ---- the root ------------------------------------------------------------------------------ */

static const char *const log_levels[] = {"debug", "info", "warn", "error", NULL};
static const char *const log_formats[] = {"text", "json", NULL};
static const char *const access_formats[] = {"json", "combined", NULL};

#define FIELD(f) VV_CONF_FIELD(struct vv_settings, f)
static const struct vv_conf_row log_rows[] = {
    {FIELD(log_level), .key = "level", .type = VV_CONF_ENUM, .def = "info", .names = log_levels,
     .reload = true, .doc = "The least important messages that are written."},
    {FIELD(log_format), .key = "format", .type = VV_CONF_ENUM, .def = "text", .names = log_formats,
     .reload = true, .doc = "Text for people, JSON for machines."},
};
static const struct vv_conf_section log_section = {
    .name = "log",
    .size = sizeof(struct vv_settings),
    ROWS(log_rows),
    .doc = "The gateway's own messages, on standard error."};

static const struct vv_conf_row dns_rows[] = {
    {FIELD(dns_servers), .key = "servers", .type = VV_CONF_TEXTS, .reload = true,
     .doc = "Name servers. Default: those of the system.", .example = "[127.0.0.53]"},
};
static const struct vv_conf_short dns_shorts[] = {{VV_CONF_FORM_SCALAR, "servers"},
                                                  {VV_CONF_FORM_LIST, "servers"}};
static const struct vv_conf_section dns_section = {.name = "dns",
                                                   .size = sizeof(struct vv_settings),
                                                   ROWS(dns_rows),
                                                   SHORTS(dns_shorts),
                                                   .doc = "How names of servers are resolved."};
#undef FIELD

#define FIELD(f) VV_CONF_FIELD(struct vv_access_log_settings, f)
static const struct vv_conf_row access_rows[] = {
    {FIELD(path), .key = "path", .type = VV_CONF_TEXT, .word = "none", .reload = true,
     .doc = "File, \"-\" for standard output, or none.", .example = "access.log"},
    {FIELD(format), .key = "format", .type = VV_CONF_ENUM, .def = "json", .names = access_formats,
     .reload = true, .doc = "JSON, or the combined format of Apache and nginx."},
};
#undef FIELD
_Static_assert(VV_COUNT(access_rows) * 8 == sizeof(struct vv_access_log_settings),
               "every field has a row");
static const struct vv_conf_short access_shorts[] = {{VV_CONF_FORM_SCALAR, "path"}};
static const struct vv_conf_section access_section = {.name = "access_log",
                                                      .size = sizeof(struct vv_access_log_settings),
                                                      ROWS(access_rows),
                                                      SHORTS(access_shorts),
                                                      .doc = "One line per request."};

#define FIELD(f) VV_CONF_FIELD(struct vv_defaults_settings, f)
static const struct vv_conf_row defaults_rows[] = {
    {FIELD(timeouts.whole_ns), .key = "timeout", .type = VV_CONF_DURATION,
     .store = "timeouts.whole", .reload = true, .doc = "Another spelling of timeouts.whole."},
    {FIELD(timeouts), .key = "timeouts", .type = VV_CONF_SECTION, .section = &timeouts_section,
     .reload = true, .sample = "", .doc = "Waits of every route that says nothing else."},
    {FIELD(headers), .key = "headers", .type = VV_CONF_MAP, .section = &edit_section,
     .reload = true, .doc = "Headers set on the answers of every route; a route's own win.",
     .example = "{X-Content-Type-Options: nosniff}"},
    {FIELD(request_headers), .key = "request_headers", .type = VV_CONF_MAP,
     .section = &edit_section, .reload = true,
     .doc = "Headers set on every request to a service; a route's own win.",
     .example = "{X-Gateway: vivace}"},
    {FIELD(caching), .key = "cache", .type = VV_CONF_SECTION,
     .section = &vv_settings_route_cache_section, .optional = true, .reload = true,
     .doc = "How the answers of every route with \"to\" are kept.", .example = "5m"},
    {FIELD(coalesce), .key = "coalesce", .type = VV_CONF_SECTION,
     .section = &vv_settings_coalesce_section, .optional = true, .reload = true,
     .doc = "Coalescing on every route with \"to\".", .example = "{keep: 5s, entries: 1000}"},
    {FIELD(compress), .key = "compress", .type = VV_CONF_SECTION,
     .section = &vv_settings_compress_section, .reload = true,
     .doc = "Compression of answers, on every route with \"to\".",
     .example = "{min: 1KB, types: [text/*, application/json]}"},
    {FIELD(secure), .key = "secure", .type = VV_CONF_SECTION,
     .section = &vv_settings_secure_section, .optional = true, .reload = true,
     .doc = "Headers that make browsers careful, on every route.", .example = "strict"},
    {FIELD(cors), .key = "cors", .type = VV_CONF_SECTION, .section = &vv_settings_cors_section,
     .optional = true, .reload = true, .doc = "Cross-origin requests, on every route.",
     .example = "\"https://app.example.org\""},
    {FIELD(server_timing), .key = "server_timing", .type = VV_CONF_BOOL, .def = "false",
     .reload = true, .doc = "Whether answers say in Server-Timing where their time went."},
    {FIELD(share), .key = "share", .type = VV_CONF_TEXT, .reload = true,
     .doc = "The store in which several gateways keep one count of all limits and plans that say "
            "nothing else. Default: each keeps its own.",
     .example = "local"},
};
#undef FIELD
static const struct vv_conf_section defaults_section = {
    .name = "defaults",
    .size = sizeof(struct vv_defaults_settings),
    ROWS(defaults_rows),
    .doc = "What every route begins with; the nearest value wins."};

#define FIELD(f) VV_CONF_FIELD(struct vv_settings_root, f)
static const struct vv_conf_row root_rows[] = {
    {FIELD(s.version), .key = "version", .type = VV_CONF_COUNT, .def = "1", .min = "1", .max = "1",
     .reload = true, .doc = "Version of this language."},
    {.key = "include",
     .type = VV_CONF_INCLUDE,
     .reload = true,
     .doc = "Files merged into this one: its own values win, lists are appended.",
     .example = "[routes.yaml]"},
    {.key = "profile",
     .type = VV_CONF_PROFILE,
     .reload = true,
     .doc = "The profile in use, unless the command line names one.",
     .example = "production"},
    {.key = "profiles",
     .type = VV_CONF_PROFILES,
     .reload = true,
     .doc = "Named sets of changes to this file: maps are merged, lists and values replaced.",
     .example = "{development: {log: {level: debug}}}"},
    {FIELD(s.labels), .key = "labels", .type = VV_CONF_MAP, .section = &label_section,
     .doc = "Labels put on every metric.", .example = "{region: north}"},
    {FIELD(s.workers), .key = "workers", .type = VV_CONF_COUNT, .def = "auto", .word = "auto",
     .min = "1", .max = "1024", .doc = "Threads; auto takes the cores that may be used."},
    {FIELD(s.admin), .key = "admin", .type = VV_CONF_TEXT, .def = "127.0.0.1:9180", .word = "none",
     .doc = "Address for metrics, status and the API; none switches it off."},
    {FIELD(s.socket), .key = "socket", .type = VV_CONF_TEXT,
     .doc = "Unix socket for the command line. Default: chosen from the path of this file.",
     .example = "/run/vivace/admin.sock"},
    {FIELD(s.user), .key = "user", .type = VV_CONF_TEXT,
     .doc = "User whose rights the workers keep once all sockets are open.", .example = "vivace"},
    {FIELD(s.seccomp), .key = "seccomp", .type = VV_CONF_BOOL, .def = "false",
     .doc = "Whether workers give up system calls they never need."},
    {FIELD(s.drain_ns), .key = "drain", .type = VV_CONF_DURATION, .def = "30s", .max = "1d",
     .reload = true, .doc = "Longest time for requests to finish at a stop or an upgrade."},
    {FIELD(s.guard_ns), .key = "guard", .type = VV_CONF_DURATION, .def = "30s", .max = "1h",
     .reload = true,
     .doc = "How long errors and latency are watched after a reload, which is taken back when "
            "they get worse; 0: not at all."},
    {FIELD(s), .key = "dns", .type = VV_CONF_SECTION, .section = &dns_section, .reload = true,
     .doc = "How names of servers are resolved.", .example = "[127.0.0.53]"},
    {FIELD(s), .key = "log", .type = VV_CONF_SECTION, .section = &log_section, .reload = true,
     .doc = "The gateway's own messages, on standard error.",
     .example = "{level: info, format: text}"},
    {FIELD(s.access_log), .key = "access_log", .type = VV_CONF_SECTION, .section = &access_section,
     .reload = true, .doc = "One line per request. Default: none.", .example = "access.log"},
    {FIELD(s.listen), .key = "listen", .type = VV_CONF_MAP, .section = &listen_section,
     .bare_name = "default", .required = true, .reload = true, .sample = "8080",
     .doc = "Where clients are served: a port, an address, or named listeners.", .example = "8080"},
    {FIELD(defaults), .key = "defaults", .type = VV_CONF_SECTION, .section = &defaults_section,
     .reload = true, .sample = "", .doc = "What every route begins with; the nearest value wins."},
    {FIELD(s.services), .key = "services", .type = VV_CONF_MAP,
     .section = &vv_settings_service_section, .reload = true, .sample = "shop",
     .doc = "What stands behind the gateway, by name."},
    {FIELD(s.ttls), .key = "ttls", .type = VV_CONF_MAP, .section = &vv_settings_ttl_section,
     .reload = true, .doc = "Lifetimes by name, for `cache: NAME` and `ttl`.",
     .example = "{short: 30s, long: 1d}"},
    {FIELD(s.caches), .key = "caches", .type = VV_CONF_MAP, .section = &vv_settings_cache_section,
     .reload = true,
     .doc = "Named caches: a memory of their own and rules. Routes without a name share the one "
            "called default, which may be defined here.",
     .example = "{api: {levels: [{memory: 256MB}], ttl: {default: 1h, 404: 1m}}}"},
    {FIELD(s.stores), .key = "stores", .type = VV_CONF_MAP, .section = &vv_settings_store_section,
     .reload = true,
     .doc = "Redis servers, rings, clusters and what Sentinel names, for levels of caches, shared "
            "limits and the object API.",
     .example = "{local: \"redis://127.0.0.1:6379/0\"}"},
    {FIELD(s.breakers), .key = "breakers", .type = VV_CONF_MAP,
     .section = &vv_settings_breaker_section, .reload = true,
     .doc = "Classes of circuit breakers, for `breaker: NAME` of services and routes.",
     .example = "{ai_service: {failures: 5, recover: 60s, accept: 10%, window: 5m}}"},
    {FIELD(s.access), .key = "access", .type = VV_CONF_SECTION,
     .section = &vv_settings_access_section, .reload = true,
     .doc = "Who callers are, and what their plans allow.", .example = "{keys: keys.txt}"},
    {FIELD(s.overload), .key = "overload", .type = VV_CONF_SECTION,
     .section = &vv_settings_overload_section, .reload = true,
     .doc = "Who is turned away before the gateway itself falls.", .example = "{memory: 90%}"},
    {FIELD(s.chaos), .key = "chaos", .type = VV_CONF_SECTION, .section = &vv_settings_chaos_section,
     .reload = true, .doc = "Whether, and within which bounds, faults may be made on purpose.",
     .example = "false"},
    {FIELD(s.acme), .key = "acme", .type = VV_CONF_SECTION, .section = &vv_settings_acme_section,
     .optional = true, .reload = true, .doc = "How certificates are ordered for `tls: auto`.",
     .example = "{directory: \"https://127.0.0.1:14000/dir\"}"},
    {FIELD(s.deadline_header), .key = "deadline_header", .type = VV_CONF_TEXT, .word = "none",
     .reload = true,
     .doc = "Header that tells services how many milliseconds are left. Default: none.",
     .example = "X-Deadline-Ms"},
    {FIELD(s.routes), .key = "routes", .type = VV_CONF_LIST, .section = &route_section,
     .required = true, .reload = true, .sample = "",
     .doc = "Which requests go where; the first route that fits is taken."},
    {FIELD(s.browser_headers), .type = VV_CONF_DERIVED},
    {FIELD(s.csp_paths), .type = VV_CONF_DERIVED},
    {FIELD(doc), .type = VV_CONF_DERIVED},
};
#undef FIELD
const struct vv_conf_section vv_settings_root_section = {
    .name = "configuration",
    .size = sizeof(struct vv_settings_root),
    ROWS(root_rows),
    .doc = "The whole file. Only `listen` and `routes` are ever required."};
