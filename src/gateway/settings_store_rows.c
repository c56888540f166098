/* src/gateway/settings_store_rows.c - the keys of stores, and of how caches share them, one row each. */
#include "gateway/settings_int.h"

#define ROWS(table) .rows = (table), .row_count = VV_COUNT(table)
#define SHORTS(table) .shorts = (table), .short_count = VV_COUNT(table)

#define FIELD(f) VV_CONF_FIELD(struct vv_store_sentinel_settings, f)
static const struct vv_conf_row sentinel_rows[] = {
    {FIELD(user), .key = "user", .type = VV_CONF_TEXT, .reload = true,
     .doc = "Our name at the sentinels. Default: theirs for those without one.",
     .example = "vivace"},
    {FIELD(password), .key = "password", .type = VV_CONF_TEXT, .secret = true, .reload = true,
     .doc = "Our password at the sentinels. Default: none.",
     .example = "\"${file:/etc/vivace/sentinel.secret}\""},
};
#undef FIELD
_Static_assert(VV_COUNT(sentinel_rows) * 8 == sizeof(struct vv_store_sentinel_settings),
               "every field has a row");
static const struct vv_conf_section sentinel_section = {
    .name = "store sentinel",
    .size = sizeof(struct vv_store_sentinel_settings),
    ROWS(sentinel_rows),
    .doc = "Who we are to the sentinels; the URL says it to the servers."};

#define FIELD(f) VV_CONF_FIELD(struct vv_store_tls_settings, f)
static const struct vv_conf_row tls_rows[] = {
    {FIELD(ca), .key = "ca", .type = VV_CONF_TEXT, .reload = true,
     .doc = "Authorities whose servers are trusted, PEM. Default: the system's.",
     .example = "internal-ca.pem"},
    {FIELD(cert), .key = "cert", .type = VV_CONF_TEXT, .reload = true,
     .doc = "A certificate, with its chain, that is shown to the servers, PEM.",
     .example = "gateway.pem"},
    {FIELD(key), .key = "key", .type = VV_CONF_TEXT, .reload = true,
     .doc = "Its key, PEM. Default: in the file of the certificate.", .example = "gateway.key"},
    {FIELD(name), .key = "name", .type = VV_CONF_TEXT, .reload = true,
     .doc = "The name that certificates must have. Default: the host that is asked.",
     .example = "redis.internal"},
    {FIELD(verify), .key = "verify", .type = VV_CONF_BOOL, .def = "true", .reload = true,
     .doc = "Whether certificates of the servers must be valid and have the name."},
};
#undef FIELD
_Static_assert(VV_COUNT(tls_rows) * 8 == sizeof(struct vv_store_tls_settings),
               "every field has a row");
static const struct vv_conf_section tls_section = {
    .name = "store tls",
    .size = sizeof(struct vv_store_tls_settings),
    ROWS(tls_rows),
    .doc = "TLS towards the servers of a store, whose URL says rediss."};

#define FIELD(f) VV_CONF_FIELD(struct vv_store_breaker_settings, f)
static const struct vv_conf_row breaker_rows[] = {
    {FIELD(failures), .key = "failures", .type = VV_CONF_COUNT, .def = "5", .min = "1",
     .max = "1000000", .reload = true,
     .doc = "Failures in a row after which a server is not asked for a while."},
    {FIELD(recover_ns), .key = "recover", .type = VV_CONF_DURATION, .def = "1s", .min = "10ms",
     .max = "1h", .reload = true,
     .doc = "Until one operation is let through to see whether it is back."},
};
#undef FIELD
_Static_assert(VV_COUNT(breaker_rows) * 8 == sizeof(struct vv_store_breaker_settings),
               "every field has a row");
static const struct vv_conf_section breaker_section = {
    .name = "store breaker",
    .size = sizeof(struct vv_store_breaker_settings),
    ROWS(breaker_rows),
    .doc = "When a server of a store counts as away. Every server has a breaker of its own."};

#define FIELD(f) VV_CONF_FIELD(struct vv_store_fallback_settings, f)
static const struct vv_conf_row fallback_rows[] = {
    {FIELD(entries), .key = "entries", .type = VV_CONF_COUNT, .def = "1000", .min = "1",
     .max = "10000000", .reload = true, .doc = "Most objects kept."},
    {FIELD(trim_ppm), .key = "trim", .type = VV_CONF_PPM, .def = "20%", .min = "0.1%",
     .max = "100%", .reload = true, .doc = "How many of the oldest go when it is full."},
    {FIELD(memory_bytes), .key = "memory", .type = VV_CONF_SIZE, .def = "16MB", .min = "64KB",
     .max = "1TB", .reload = true, .doc = "Memory all objects together may take."},
    {FIELD(object_bytes), .key = "max_object", .type = VV_CONF_SIZE, .def = "1MB", .min = "1KB",
     .max = "1GB", .reload = true, .doc = "Largest object kept."},
};
#undef FIELD
_Static_assert(VV_COUNT(fallback_rows) * 8 == sizeof(struct vv_store_fallback_settings),
               "every field has a row");
static const struct vv_conf_section fallback_section = {
    .name = "store fallback",
    .size = sizeof(struct vv_store_fallback_settings),
    ROWS(fallback_rows),
    .doc = "What holds the objects of applications while no server can be asked."};

#define FIELD(f) VV_CONF_FIELD(struct vv_expect_settings, f)
static const struct vv_conf_row expect_rows[] = {
    {FIELD(name), .type = VV_CONF_NAME},
    {FIELD(value), .key = "value", .type = VV_CONF_TEXT, .required = true, .reload = true,
     .doc = "The value wanted; sizes and times may have units.", .example = "4gb"},
    {FIELD(at), .type = VV_CONF_AT},
};
#undef FIELD
/* The place is two words. */
_Static_assert((VV_COUNT(expect_rows) + 1) * 8 == sizeof(struct vv_expect_settings),
               "every field has a row");
static const struct vv_conf_short expect_shorts[] = {{VV_CONF_FORM_SCALAR, "value"}};
static const struct vv_conf_section expect_section = {
    .name = "expectation",
    .size = sizeof(struct vv_expect_settings),
    ROWS(expect_rows),
    SHORTS(expect_shorts),
    .doc = "A parameter of the server, by its name in CONFIG GET, and what it should be."};

#define FIELD(f) VV_CONF_FIELD(struct vv_store_settings, f)
static const struct vv_conf_row store_rows[] = {
    {FIELD(name), .type = VV_CONF_NAME},
    {FIELD(url), .key = "url", .type = VV_CONF_TEXT, .url = true, .reload = true,
     .doc = "Where it is: redis://[user:password@]host[:port][/db] (several hosts with commas are "
            "a ring), rediss:// over TLS, redis+cluster://host,host, "
            "redis+sentinel://host,host/master, redis+unix:///path?db=n. Default: no server; then "
            "it is only what its fallback holds in memory, and a warning.",
     .example = "\"redis://127.0.0.1:6379/0\""},
    {FIELD(prefix), .key = "prefix", .type = VV_CONF_TEXT, .def = "vz", .reload = true,
     .doc = "Every key of ours begins so: gateways with the same prefix share."},
    {FIELD(timeout_ns), .key = "timeout", .type = VV_CONF_DURATION, .def = "50ms", .min = "1ms",
     .max = "1m", .reload = true,
     .doc = "Longest wait for an answer; past it a request goes on without the store."},
    {FIELD(connect_ns), .key = "connect", .type = VV_CONF_DURATION, .def = "500ms", .min = "1ms",
     .max = "1m", .reload = true, .doc = "Longest time to make a connection."},
    {FIELD(replicas), .key = "replicas", .type = VV_CONF_BOOL, .def = "false", .reload = true,
     .doc = "Whether reads may be answered by replicas, which can be a little behind."},
    {FIELD(sentinel), .key = "sentinel", .type = VV_CONF_SECTION, .section = &sentinel_section,
     .optional = true, .reload = true,
     .doc = "Who we are to the sentinels; the URL says it to the servers.",
     .example = "{user: vivace, password: \"${file:/etc/vivace/sentinel.secret}\"}"},
    {FIELD(tls), .key = "tls", .type = VV_CONF_SECTION, .section = &tls_section, .optional = true,
     .reload = true, .doc = "TLS towards the servers of a store, whose URL says rediss.",
     .example = "{ca: internal-ca.pem}"},
    {FIELD(breaker), .key = "breaker", .type = VV_CONF_SECTION, .section = &breaker_section,
     .reload = true, .doc = "When a server of a store counts as away.",
     .example = "{failures: 5, recover: 1s}"},
    {FIELD(expect), .key = "expect", .type = VV_CONF_MAP, .section = &expect_section,
     .reload = true,
     .doc = "Parameters the servers should have, compared by `vivace store check`; they are never "
            "changed.",
     .example = "{maxmemory: 4gb, maxmemory-policy: allkeys-lru, save: \"900 1\"}"},
    {FIELD(fallback), .key = "fallback", .type = VV_CONF_SECTION, .section = &fallback_section,
     .reload = true, .doc = "What holds the objects of applications while no server can be asked.",
     .example = "{entries: 1000, memory: 16MB}"},
    {FIELD(listen), .key = "listen", .type = VV_CONF_TEXT, .reload = true,
     .doc = "Address at which applications reach the store through the gateway, in the protocol "
            "of Redis. Default: none.",
     .example = "127.0.0.1:6380"},
    {FIELD(clients), .key = "clients", .type = VV_CONF_COUNT, .def = "1000", .min = "1",
     .max = "1000000", .reload = true, .doc = "Most connections at `listen` at once."},
    {FIELD(listen_password), .key = "listen_password", .type = VV_CONF_TEXT, .secret = true,
     .reload = true, .doc = "The password for `listen`, of the user \"default\". Default: none.",
     .example = "\"${file:/etc/vivace/listen.secret}\""},
    {FIELD(flushdb), .key = "flushdb", .type = VV_CONF_BOOL, .def = "false", .reload = true,
     .doc = "Whether FLUSHDB at `listen` is passed on. It removes what the gateway keeps there, "
            "too."},
    {FIELD(parsed), .type = VV_CONF_DERIVED},
    {FIELD(at), .type = VV_CONF_AT},
};
#undef FIELD
/* Sections are 2, 5, 2 and 4 words, the place is two. */
_Static_assert((VV_COUNT(store_rows) + 10) * 8 == sizeof(struct vv_store_settings),
               "every field has a row");
static const struct vv_conf_short store_shorts[] = {{VV_CONF_FORM_SCALAR, "url"}};
const struct vv_conf_section vv_settings_store_section = {
    .name = "store",
    .size = sizeof(struct vv_store_settings),
    ROWS(store_rows),
    SHORTS(store_shorts),
    .doc = "A Redis that gateways and applications share. A store that is lost, slow or full never "
           "fails a request."};

#define FIELD(f) VV_CONF_FIELD(struct vv_share_settings, f)
static const struct vv_conf_row share_rows[] = {
    {FIELD(bound_ns), .key = "bound", .type = VV_CONF_DURATION, .def = "1s", .min = "100ms",
     .max = "1h", .reload = true,
     .doc = "A purge at one gateway is carried out at all within this, whatever becomes of the "
            "links between them."},
    {FIELD(alone_ns), .key = "alone", .type = VV_CONF_DURATION, .def = "30s", .min = "0",
     .max = "1d", .reload = true,
     .doc = "How long answers live at most that a gateway stores while it cannot hear of the "
            "others' purges; 0: it stores none then."},
    {FIELD(lease_ns), .key = "lease", .type = VV_CONF_DURATION, .def = "0", .max = "5m",
     .reload = true,
     .doc = "How long one gateway may fetch an answer for all, while the others wait; 0: each "
            "fetches for itself."},
};
#undef FIELD
_Static_assert(VV_COUNT(share_rows) * 8 == sizeof(struct vv_share_settings),
               "every field has a row");
const struct vv_conf_section vv_settings_share_section = {
    .name = "cache share",
    .size = sizeof(struct vv_share_settings),
    ROWS(share_rows),
    .doc = "How gateways that share a level in a store keep together."};
