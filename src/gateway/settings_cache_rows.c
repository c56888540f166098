/* src/gateway/settings_cache_rows.c - the keys of caches, coalescing and compression, one row each.
 *
 * A route says with the same keys what a named cache says, except for what only a memory has
 * (levels, share, like, snapshot): the rows of both are one macro, placed in two structs. */
#include "gateway/settings_int.h"

#define ROWS(table) .rows = (table), .row_count = VV_COUNT(table)
#define SHORTS(table) .shorts = (table), .short_count = VV_COUNT(table)

/* ---- lifetimes ----------------------------------------------------------------------------- */

#define FIELD(f) VV_CONF_FIELD(struct vv_ttl_settings, f)
static const struct vv_conf_row ttl_rows[] = {
    {FIELD(name), .type = VV_CONF_NAME},
    {FIELD(value), .key = "value", .type = VV_CONF_TEXT, .required = true, .reload = true,
     .doc = "How long: a duration from 1s to 10 years, 0 for not at all, or a name in ttls.",
     .example = "5m"},
    {FIELD(ttl_ns), .type = VV_CONF_DERIVED},
    {FIELD(low), .type = VV_CONF_DERIVED},
    {FIELD(high), .type = VV_CONF_DERIVED},
    {FIELD(used), .type = VV_CONF_DERIVED},
};
#undef FIELD
_Static_assert(VV_COUNT(ttl_rows) * 8 == sizeof(struct vv_ttl_settings), "every field has a row");
static const struct vv_conf_short ttl_shorts[] = {{VV_CONF_FORM_SCALAR, "value"}};
const struct vv_conf_section vv_settings_ttl_section = {.name = "lifetime",
                                                        .size = sizeof(struct vv_ttl_settings),
                                                        ROWS(ttl_rows),
                                                        SHORTS(ttl_shorts),
                                                        .doc = "How long answers stay fresh."};

#define FIELD(f) VV_CONF_FIELD(struct vv_stale_settings, f)
static const struct vv_conf_row stale_rows[] = {
    {FIELD(while_revalidate_ns), .key = "while_revalidate", .type = VV_CONF_DURATION, .def = "0",
     .max = "3650d", .reload = true,
     .doc = "How long a stale answer is still sent at once while it is renewed behind (RFC 5861)."},
    {FIELD(if_error_ns), .key = "if_error", .type = VV_CONF_DURATION, .def = "0", .max = "3650d",
     .reload = true,
     .doc = "How long a stale answer stands in for a service that fails (RFC 5861)."},
};
#undef FIELD
_Static_assert(VV_COUNT(stale_rows) * 8 == sizeof(struct vv_stale_settings),
               "every field has a row");
static const struct vv_conf_section stale_section = {
    .name = "stale",
    .size = sizeof(struct vv_stale_settings),
    ROWS(stale_rows),
    .doc = "Use of answers past their lifetime, where the origin says nothing about it."};

/* ---- caches -------------------------------------------------------------------------------- */

static const char *const policies[] = {"auto", "s3fifo", "gdsf", "gdsf_bytes", NULL};

#define FIELD(f) VV_CONF_FIELD(struct vv_level_settings, f)
static const struct vv_conf_row level_rows[] = {
    {FIELD(memory_bytes), .key = "memory", .type = VV_CONF_SIZE, .def = "64MB", .min = "1MB",
     .max = "1024TB", .reload = true,
     .doc = "Budget of this level; it counts everything: index, heads, bodies, slack."},
    {FIELD(entries), .key = "entries", .type = VV_CONF_COUNT, .def = "0", .max = "1000000000",
     .reload = true, .doc = "Most answers kept; 0 means no limit but memory."},
    {FIELD(object_bytes), .key = "max_object", .type = VV_CONF_SIZE, .def = "0", .reload = true,
     .doc = "Largest answer kept; 0 means a quarter of memory, in a store 4 MB."},
    {FIELD(policy), .key = "policy", .type = VV_CONF_ENUM, .def = "auto", .names = policies,
     .reload = true,
     .doc = "What is evicted first: gdsf misses least in nearly every case and is what auto takes, "
            "gdsf_bytes misses the fewest bytes, s3fifo follows a popularity that drifts fastest. "
            "A store evicts by its own rules."},
    {FIELD(store), .key = "store", .type = VV_CONF_TEXT, .reload = true,
     .doc = "A name in stores: this level is there, for all gateways that use it.",
     .example = "local"},
    {FIELD(ttl), .key = "ttl", .type = VV_CONF_TEXT, .reload = true,
     .doc = "How long the store keeps an answer: x2 is twice its lifetime (from x1 to x100), so "
            "that a stale one is at hand while it is renewed; or a duration. Default: x1.",
     .example = "x2"},
    {FIELD(compress_bytes), .key = "compress", .type = VV_CONF_SIZE, .def = "32KB", .bare = true,
     .reload = true,
     .doc = "Parts of an answer that are at least this long are compressed in the store; 0: none "
            "is."},
    {FIELD(ttl_factor_ppm), .type = VV_CONF_DERIVED},
    {FIELD(ttl_ns), .type = VV_CONF_DERIVED},
};
#undef FIELD
_Static_assert(VV_COUNT(level_rows) * 8 == sizeof(struct vv_level_settings),
               "every field has a row");
static const struct vv_conf_short level_shorts[] = {{VV_CONF_FORM_SCALAR, "memory"}};
const struct vv_conf_section vv_settings_level_section = {.name = "cache level",
                                                          .size = sizeof(struct vv_level_settings),
                                                          ROWS(level_rows),
                                                          SHORTS(level_shorts),
                                                          .doc = "Where answers are kept."};

/* The keys that say how answers are kept. AT(f) places a field of struct vv_cache_settings. */
#define RULES(AT)                                                                                  \
    {AT(key),                                                                                      \
     .key = "key",                                                                                 \
     .type = VV_CONF_TEMPLATE,                                                                     \
     .reload = true,                                                                               \
     .doc = "Which requests share an answer: a template. Each value is framed, so that two never " \
            "run into each other; $method of HEAD is GET; $body is the whole body. Default: the "  \
            "target URI.",                                                                         \
     .example = "$scheme $method $host $uri"},                                                     \
        {AT(methods),                                                                              \
         .key = "methods",                                                                         \
         .type = VV_CONF_TEXTS,                                                                    \
         .reload = true,                                                                           \
         .doc = "Methods whose answers are kept, of GET, HEAD and POST; POST puts the body into "  \
                "the key. Default: GET and HEAD.",                                                 \
         .example = "[GET, POST]"},                                                                \
        {AT(ttl),                                                                                  \
         .key = "ttl",                                                                             \
         .type = VV_CONF_MAP,                                                                      \
         .section = &vv_settings_ttl_section,                                                      \
         .bare_name = "default",                                                                   \
         .reload = true,                                                                           \
         .doc = "Lifetimes by status (404, 5xx, 200-299), where the origin says nothing; default " \
                "stands for the statuses that may be kept without being told (RFC 9110 15.1). "    \
                "Replaces the whole map of `use` or `like`.",                                      \
         .example = "{default: 1h, 200: 5m, 404: 1m}"},                                            \
        {AT(override),                                                                             \
         .key = "override",                                                                        \
         .type = VV_CONF_BOOL,                                                                     \
         .def = "false",                                                                           \
         .reload = true,                                                                           \
         .doc = "Whether ttl counts also against the lifetime the origin gives. What the origin "  \
                "forbids to keep is never kept."},                                                 \
        {AT(ttl_max_ns),                                                                           \
         .key = "max_ttl",                                                                         \
         .type = VV_CONF_DURATION,                                                                 \
         .def = "0",                                                                               \
         .max = "3650d",                                                                           \
         .reload = true,                                                                           \
         .doc = "No lifetime is longer, whoever gives it; 0 means no limit."},                     \
        {AT(heuristic_ppm),                                                                        \
         .key = "heuristic",                                                                       \
         .type = VV_CONF_PPM,                                                                      \
         .def = "10%",                                                                             \
         .max = "100%",                                                                            \
         .reload = true,                                                                           \
         .doc = "Lifetime where nobody gives one: this share of the time since Last-Modified, at " \
                "most a day."},                                                                    \
        {AT(stale),                                                                                \
         .key = "stale",                                                                           \
         .type = VV_CONF_SECTION,                                                                  \
         .section = &stale_section,                                                                \
         .reload = true,                                                                           \
         .doc = "Use of answers past their lifetime, where the origin says nothing about it.",     \
         .example = "{while_revalidate: 30s, if_error: 10m}"},                                     \
        {AT(show),                                                                                 \
         .key = "show",                                                                            \
         .type = VV_CONF_TEXT,                                                                     \
         .reload = true,                                                                           \
         .doc = "Name of a further header that says HIT, MISS, EXPIRED, STALE, UPDATING, "         \
                "REVALIDATED or BYPASS; Cache-Status is always there.",                            \
         .example = "X-Cache-Status"},                                                             \
        {AT(ignore_query),     .key = "ignore_query",                                              \
         .type = VV_CONF_BOOL, .def = "false",                                                     \
         .reload = true,       .doc = "Whether the query is left out of the key."},                \
        {AT(sort_query),       .key = "sort_query",                                                \
         .type = VV_CONF_BOOL, .def = "false",                                                     \
         .reload = true,       .doc = "Whether the order of query parameters does not matter."},   \
        {AT(drop_query),                                                                           \
         .key = "drop_query",                                                                      \
         .type = VV_CONF_TEXTS,                                                                    \
         .reload = true,                                                                           \
         .doc = "Query parameters that are left out of the key; * at the end stands for any end.", \
         .example = "[utm_*, fbclid]"},                                                            \
        {AT(client_directives),                                                                    \
         .key = "client_directives",                                                               \
         .type = VV_CONF_BOOL,                                                                     \
         .def = "true",                                                                            \
         .reload = true,                                                                           \
         .doc = "Whether Cache-Control of requests counts; without, a client cannot get past the " \
                "cache."},                                                                         \
        {AT(set_cookie),                                                                           \
         .key = "set_cookie",                                                                      \
         .type = VV_CONF_BOOL,                                                                     \
         .def = "false",                                                                           \
         .reload = true,                                                                           \
         .doc = "Whether answers with Set-Cookie are kept, and sent to others with it."},          \
        {AT(authorized),                                                                           \
         .key = "authorized",                                                                      \
         .type = VV_CONF_BOOL,                                                                     \
         .def = "false",                                                                           \
         .reload = true,                                                                           \
         .doc = "Whether answers to requests with Authorization are kept; it and Cookie are then " \
                "part of the key, unless the key names $header.Authorization itself."},            \
        {AT(targets),                                                                              \
         .key = "targets",                                                                         \
         .type = VV_CONF_TEXTS,                                                                    \
         .def = "CDN-Cache-Control",                                                               \
         .reload = true,                                                                           \
         .doc = "Fields that count instead of Cache-Control, the first that is there (RFC 9213).", \
         .example = "[Vivace-Cache-Control, CDN-Cache-Control]"},                                  \
        {AT(surrogate),        .key = "surrogate",                                                 \
         .type = VV_CONF_BOOL, .def = "true",                                                      \
         .reload = true,       .doc = "Whether Surrogate-Control counts before Cache-Control."},   \
        {AT(purge),                                                                                \
         .key = "purge",                                                                           \
         .type = VV_CONF_TEXTS,                                                                    \
         .reload = true,                                                                           \
         .doc = "Addresses (CIDR) that may send PURGE requests. Default: nobody.",                 \
         .example = "[127.0.0.0/8]"},                                                              \
        {AT(invalidates),                                                                          \
         .key = "invalidates",                                                                     \
         .type = VV_CONF_TEXTS,                                                                    \
         .reload = true,                                                                           \
         .doc = "Paths (templates) whose answers are forgotten when a POST, PUT, PATCH or DELETE " \
                "of the route was answered without an error; * stands for anything, also for a "   \
                "query. What the request itself names is forgotten anyway.",                       \
         .example = "[/modules, \"/modules?*\"]"},                                                 \
        {AT(wait_ns),                                                                              \
         .key = "wait",                                                                            \
         .type = VV_CONF_DURATION,                                                                 \
         .def = "30s",                                                                             \
         .min = "10ms",                                                                            \
         .max = "1h",                                                                              \
         .reload = true,                                                                           \
         .doc = "Longest time a request waits for another's fetch; then it asks by itself."},      \
    {                                                                                              \
        AT(refresh), .key = "refresh", .type = VV_CONF_BOOL, .def = "true", .reload = true,        \
                     .doc = "Whether answers in demand are renewed shortly before they expire."    \
    }

#define NAMED(f) VV_CONF_FIELD(struct vv_cache_settings, f)
static const struct vv_conf_row cache_rows[] = {
    {NAMED(name), .type = VV_CONF_NAME},
    {NAMED(like), .key = "like", .type = VV_CONF_TEXT, .reload = true,
     .doc = "Another cache whose settings hold here where this one says nothing; its memory is "
            "shared unless levels are given.",
     .example = "default"},
    {NAMED(levels), .key = "levels", .type = VV_CONF_LIST, .section = &vv_settings_level_section,
     .reload = true,
     .doc = "Where answers are kept: in memory first, then in up to three stores, the nearest "
            "first. Without one in memory there is one of 64 MB.",
     .example = "[{memory: 256MB, entries: 10000}, {store: local}]"},
    {NAMED(share), .key = "share", .type = VV_CONF_SECTION, .section = &vv_settings_share_section,
     .optional = true, .reload = true,
     .doc = "How gateways that share a level in a store keep together.",
     .example = "{bound: 1s, lease: 5s}"},
    RULES(NAMED),
    {NAMED(snapshot), .key = "snapshot", .type = VV_CONF_TEXT, .reload = true,
     .doc = "File in which the memory is kept over a stop. Default: none.",
     .example = "/var/lib/vivace/api.snapshot"},
    {NAMED(memory), .type = VV_CONF_DERIVED},
    {NAMED(unnamed), .type = VV_CONF_DERIVED},
    {NAMED(at), .type = VV_CONF_AT},
};
/* `stale` and the place are two words each, `share` is three. */
_Static_assert((VV_COUNT(cache_rows) + 4) * 8 == sizeof(struct vv_cache_settings),
               "every field has a row");
const struct vv_conf_section vv_settings_cache_section = {
    .name = "cache",
    .size = sizeof(struct vv_cache_settings),
    ROWS(cache_rows),
    .doc = "A named cache: how answers are kept, and where."};

#define FIELD(f) VV_CONF_FIELD(struct vv_route_cache_settings, f)
#define OWN(f) FIELD(own.f)
static const struct vv_conf_row route_cache_rows[] = {
    {FIELD(enabled), .key = "enabled", .type = VV_CONF_BOOL, .def = "true", .reload = true,
     .doc = "Whether answers are kept; `cache: false` switches off what defaults say."},
    {FIELD(use), .key = "use", .type = VV_CONF_TEXT, .reload = true,
     .doc = "A name in caches, or a lifetime: a name in ttls or a duration, which stands for "
            "ttl.default. Default: the cache named default.",
     .example = "5m"},
    {OWN(name), .type = VV_CONF_DERIVED},
    {OWN(like), .type = VV_CONF_DERIVED},
    {OWN(levels), .type = VV_CONF_DERIVED},
    {OWN(share.bound_ns), .type = VV_CONF_DERIVED},
    {OWN(share.alone_ns), .type = VV_CONF_DERIVED},
    {OWN(share.lease_ns), .type = VV_CONF_DERIVED},
    RULES(OWN),
    {OWN(snapshot), .type = VV_CONF_DERIVED},
    {OWN(memory), .type = VV_CONF_DERIVED},
    {OWN(unnamed), .type = VV_CONF_DERIVED},
    {OWN(at), .type = VV_CONF_AT},
};
#undef FIELD
_Static_assert((VV_COUNT(route_cache_rows) + 2) * 8 == sizeof(struct vv_route_cache_settings),
               "every field has a row");
static const struct vv_conf_short route_cache_shorts[] = {{VV_CONF_FORM_BOOL, "enabled"},
                                                          {VV_CONF_FORM_SCALAR, "use"}};
const struct vv_conf_section vv_settings_route_cache_section = {
    .name = "route cache",
    .size = sizeof(struct vv_route_cache_settings),
    ROWS(route_cache_rows),
    SHORTS(route_cache_shorts),
    .doc = "How the answers of a route are kept: in a named cache or in the common one, with "
           "settings of the route's own where they are given."};

/* ---- coalescing and compression ------------------------------------------------------------ */

#define FIELD(f) VV_CONF_FIELD(struct vv_coalesce_settings, f)
static const struct vv_conf_row coalesce_rows[] = {
    {FIELD(enabled), .key = "enabled", .type = VV_CONF_BOOL, .def = "true", .reload = true,
     .doc = "Whether equal requests become one; `coalesce: false` switches off what defaults say."},
    {FIELD(key), .key = "key", .type = VV_CONF_TEMPLATE, .reload = true,
     .doc = "Which requests are equal: a template. Default: those with the same target URI, "
            "Authorization and Cookie.",
     .example = "stats-$path"},
    {FIELD(keep_ns), .key = "keep", .type = VV_CONF_DURATION, .def = "0", .max = "1d",
     .reload = true,
     .doc = "How long a good answer is given to those who ask later, whatever the origin says; 0: "
            "only to those who are waiting."},
    {FIELD(entries), .key = "entries", .type = VV_CONF_COUNT, .def = "1000", .min = "1",
     .max = "1000000", .reload = true, .doc = "Most answers kept."},
    {FIELD(wait_ns), .key = "wait", .type = VV_CONF_DURATION, .def = "30s", .min = "10ms",
     .max = "1h", .reload = true,
     .doc = "Longest time a request waits for another's answer; then it asks by itself."},
    {FIELD(memory), .type = VV_CONF_DERIVED},
};
#undef FIELD
_Static_assert(VV_COUNT(coalesce_rows) * 8 == sizeof(struct vv_coalesce_settings),
               "every field has a row");
static const struct vv_conf_short coalesce_shorts[] = {{VV_CONF_FORM_BOOL, "enabled"}};
const struct vv_conf_section vv_settings_coalesce_section = {
    .name = "coalesce",
    .size = sizeof(struct vv_coalesce_settings),
    ROWS(coalesce_rows),
    SHORTS(coalesce_shorts),
    .doc = "Equal requests at the same time become one request to the service, whether or not its "
           "answer may be cached."};

#define FIELD(f) VV_CONF_FIELD(struct vv_compress_settings, f)
/* Encodings: cheapest byte saved first. Answers in passing cost the CPU of every request, and brotli
 * takes several times zstd's for the same size (figures: docs/adr/0007-compression.md). */
static const struct vv_conf_row compress_rows[] = {
    {FIELD(enabled), .key = "enabled", .type = VV_CONF_BOOL, .def = "true", .reload = true,
     .doc = "Whether answers are compressed; `compress: false` switches it off. Leave it off where "
            "pages hold a secret beside text that a client chose (BREACH)."},
    {FIELD(bytes_min), .key = "min", .type = VV_CONF_SIZE, .def = "1KB", .bare = true,
     .reload = true, .doc = "Shorter answers are left alone; a number without a unit is bytes."},
    {FIELD(types), .key = "types", .type = VV_CONF_TEXTS,
     .def = "text/*, application/json, application/*+json, application/javascript, "
            "application/xml, application/*+xml, image/svg+xml",
     .reload = true, .doc = "Media types; one * in each stands for anything.",
     .example = "[text/*, application/json]"},
    {FIELD(encodings), .key = "encodings", .type = VV_CONF_TEXTS, .def = "zstd, gzip, br",
     .reload = true,
     .doc = "Encodings that are used, in order of preference where the client does not care.",
     .example = "[gzip]"},
    {FIELD(level), .key = "level", .type = VV_CONF_COUNT, .def = "0", .max = "22", .reload = true,
     .doc = "Effort; 0 is each encoder's best for answers in passing. Brought into its range."},
    {FIELD(ahead), .key = "ahead", .type = VV_CONF_BOOL, .def = "false", .reload = true,
     .doc = "Whether files are compressed once, ahead, and kept in memory."},
    {FIELD(ratio_max_ppm), .key = "max_ratio", .type = VV_CONF_PPM, .bare = true, .def = "80%",
     .max = "100%", .reload = true,
     .doc = "With ahead: kept only if it is at most this share of the file, in percent or from 0 "
            "to 1."},
};
#undef FIELD
_Static_assert(VV_COUNT(compress_rows) * 8 == sizeof(struct vv_compress_settings),
               "every field has a row");
static const struct vv_conf_short compress_shorts[] = {{VV_CONF_FORM_BOOL, "enabled"}};
const struct vv_conf_section vv_settings_compress_section = {
    .name = "compress",
    .size = sizeof(struct vv_compress_settings),
    ROWS(compress_rows),
    SHORTS(compress_shorts),
    .doc = "Compression of answers on their way to clients that take it."};
