/* src/gateway/settings_clients_rows.c - the rows of `clients` of a listener. */
#include "gateway/settings_int.h"

#define ROWS(r) .rows = (r), .row_count = VV_COUNT(r)

#define FIELD(f) VV_CONF_FIELD(struct vv_clients_settings, f)
static const struct vv_conf_row clients_rows[] = {
    {FIELD(connections), .key = "connections", .type = VV_CONF_COUNT, .def = "0", .max = "10000000",
     .reload = true,
     .doc = "Connections one address may have at once, on all workers together; 0 means no limit. "
            "Behind one address there may be a whole office: think of 100 and more.",
     .example = "256"},
    {FIELD(fresh), .key = "new", .type = VV_CONF_TEXT, .word = "none", .reload = true,
     .doc = "How many new connections one address may make: a rate. Default: any number.",
     .example = "100/s"},
    {FIELD(handshakes), .key = "handshakes", .type = VV_CONF_TEXT, .word = "none", .reload = true,
     .doc =
         "How many full TLS handshakes one address may ask for: a rate. Resumed ones cost next to "
         "nothing and do not count. Default: any number.",
     .example = "20/s"},
    {FIELD(burst), .key = "burst", .type = VV_CONF_COUNT, .word = "auto", .absent = VV_CONF_ABSENT,
     .min = "1", .max = "1000000", .reload = true,
     .doc = "How many connections or handshakes may come at once before the rates count; auto is "
            "what the rate gives in a second.",
     .example = "200"},
    {FIELD(prefix4), .key = "prefix4", .type = VV_CONF_COUNT, .def = "32", .min = "8", .max = "32",
     .reload = true, .doc = "How many bits of an IPv4 address make one client."},
    {FIELD(prefix6), .key = "prefix6", .type = VV_CONF_COUNT, .def = "64", .min = "16",
     .max = "128", .reload = true,
     .doc =
         "How many bits of an IPv6 address make one client: whoever has one address there has all "
         "of a /64."},
    {FIELD(allow), .key = "allow", .type = VV_CONF_TEXTS, .reload = true,
     .doc =
         "Only these addresses and blocks may connect; \"@file\" reads one a line. Default: all.",
     .example = "[10.0.0.0/8, \"2001:db8::/32\"]"},
    {FIELD(deny), .key = "deny", .type = VV_CONF_TEXTS, .reload = true,
     .doc = "These addresses and blocks are closed without a byte, also where `allow` has them; "
            "\"@file\" reads one a line.",
     .example = "[203.0.113.0/24]"},
    {FIELD(malformed), .key = "malformed", .type = VV_CONF_TEXT, .word = "none", .reload = true,
     .doc = "An address that sends more malformed requests than this rate gets no connection for "
            "the time of `ban`. Default: never.",
     .example = "20/min"},
    {FIELD(ban_ns), .key = "ban", .type = VV_CONF_DURATION, .def = "10m", .min = "1s", .max = "30d",
     .reload = true, .doc = "How long an address stays banned after too much malformed input."},
    {FIELD(min_rate_bytes), .key = "min_rate", .type = VV_CONF_SIZE, .def = "500B", .max = "1GB",
     .reload = true,
     .doc =
         "Bytes a second a client must send of a request body it owes, and take of an answer that "
         "waits for it; who is slower for longer than `grace` is cut off. Silent tunnels, streams "
         "and slow services are not measured. 0 measures nobody."},
    {FIELD(grace_ns), .key = "grace", .type = VV_CONF_DURATION, .def = "30s", .min = "1ms",
     .max = "1d", .reload = true,
     .doc = "How long a client may be slower than `min_rate`; up to twice as long after it was "
            "faster."},
    {FIELD(fresh_interval_ns), .type = VV_CONF_DERIVED},
    {FIELD(fresh_burst), .type = VV_CONF_DERIVED},
    {FIELD(handshakes_interval_ns), .type = VV_CONF_DERIVED},
    {FIELD(handshakes_burst), .type = VV_CONF_DERIVED},
    {FIELD(malformed_interval_ns), .type = VV_CONF_DERIVED},
    {FIELD(malformed_burst), .type = VV_CONF_DERIVED},
    {FIELD(allow_set), .type = VV_CONF_DERIVED},
    {FIELD(deny_set), .type = VV_CONF_DERIVED},
};
#undef FIELD
_Static_assert(VV_COUNT(clients_rows) * 8 == sizeof(struct vv_clients_settings),
               "every field has a row");
const struct vv_conf_section vv_settings_clients_section = {
    .name = "clients",
    .size = sizeof(struct vv_clients_settings),
    ROWS(clients_rows),
    .doc = "What one client, or a hostile one, may do."};
