/* src/gateway/settings_guard_rows.c - the keys of limits, access, breakers, retries, overload, compose,
 * canaries and faults, one row each.
 *
 * A plan says with the same keys what a limit says, except for whom it counts (`per`): the rows of
 * both are one macro, placed in two structs. Lists of failures are called `when`: `on` would be a
 * boolean to other readers of YAML. */
#include "gateway/settings_int.h"

#define ROWS(table) .rows = (table), .row_count = VV_COUNT(table)
#define SHORTS(table) .shorts = (table), .short_count = VV_COUNT(table)

/* ---- limits -------------------------------------------------------------------------------- */

/* clang-format off */
#define LIMIT_RULES(AT)                                                                            \
    {AT(rate), .key = "rate", .type = VV_CONF_TEXT, .reload = true,                                \
     .doc = "Requests in a time: 100/s, 200/min, 10000/h, 5/100ms. Default: no limit of the rate.",\
     .example = "100/s"},                                                                          \
    {AT(rate_count), .type = VV_CONF_DERIVED},                                                     \
    {AT(rate_per_ns), .type = VV_CONF_DERIVED},                                                    \
    {AT(concurrent), .key = "concurrent", .type = VV_CONF_COUNT, .def = "0", .max = "8388607",     \
     .reload = true, .doc = "Requests in flight at once; 0 means no limit."},                      \
    {AT(quota), .key = "quota", .type = VV_CONF_TEXT, .reload = true,                              \
     .doc = "Requests in a long time, over a sliding window: up to 4194303, over whole seconds up "\
            "to 48 days. Default: no limit.",                                                      \
     .example = "1000000/30d"},                                                                    \
    {AT(quota_count), .type = VV_CONF_DERIVED},                                                    \
    {AT(quota_per_ns), .type = VV_CONF_DERIVED},                                                   \
    {AT(weight), .key = "weight", .type = VV_CONF_COUNT, .def = "1", .min = "1",                   \
     .max = "1000000", .reload = true,                                                             \
     .doc = "How many requests one counts for, in rate and quota."},                               \
    {AT(allow), .key = "allow", .type = VV_CONF_TEXTS, .reload = true,                             \
     .doc = "Addresses (CIDR) that are never limited here.", .example = "[10.0.0.0/8]"},           \
    {AT(dry_run), .key = "dry_run", .type = VV_CONF_BOOL, .def = "false", .reload = true,          \
     .doc = "Whether it only counts and logs what it would refuse."},                              \
    {AT(status), .key = "status", .type = VV_CONF_COUNT, .def = "429", .min = "400",               \
     .max = "599", .reload = true, .doc = "Status of the refusal."},                               \
    {AT(legacy), .key = "legacy", .type = VV_CONF_BOOL, .def = "false", .reload = true,            \
     .doc = "Whether answers carry X-RateLimit-Limit, -Remaining and -Reset too."},                \
    {AT(at), .type = VV_CONF_AT}
/* clang-format on */

#define FIELD(f) VV_CONF_FIELD(struct vv_limit_settings, f)
static const struct vv_conf_row limit_rows[] = {
    {FIELD(name), .key = "name", .type = VV_CONF_TEXT, .reload = true,
     .doc = "Name in the RateLimit headers and in metrics. Default: that of the listener or route.",
     .example = "per_client"},
    {FIELD(per), .key = "per", .type = VV_CONF_TEMPLATE, .def = "client", .reload = true,
     .doc = "Who is counted together: client (the address; IPv6 by its /64), key (the caller's, "
            "else the address), all, or a template."},
    {FIELD(burst), .key = "burst", .type = VV_CONF_COUNT, .absent = VV_CONF_ABSENT,
     .max = "1000000000", .reload = true,
     .doc = "Requests beyond the first that may come at once: with 200, 201 pass. Default: as many "
            "as the rate gives in a second, at least 1.",
     .example = "200"},
    {FIELD(share), .key = "share", .type = VV_CONF_TEXT, .reload = true,
     .doc = "The store in which several gateways keep one count of this rate and quota; none: each "
            "its own. What is in flight is counted by each alone. Default: defaults.share.",
     .example = "local"},
    LIMIT_RULES(FIELD),
};
/* The place is two words. */
_Static_assert((VV_COUNT(limit_rows) + 1) * 8 == sizeof(struct vv_limit_settings),
               "every field has a row");
#undef FIELD
static const struct vv_conf_short limit_shorts[] = {{VV_CONF_FORM_SCALAR, "rate"}};
const struct vv_conf_section vv_settings_limit_section = {
    .name = "limit",
    .size = sizeof(struct vv_limit_settings),
    ROWS(limit_rows),
    SHORTS(limit_shorts),
    .doc = "How many requests may pass: by rate, by quota, at once. All limits of a request are "
           "tested before any of them is charged; a refused request costs nothing."};

/* ---- access -------------------------------------------------------------------------------- */

const char *const vv_settings_priorities[] = {"high", "normal", "low", "batch", NULL};

#define FIELD(f) VV_CONF_FIELD(struct vv_plan_settings, f)
#define OF_PLAN(f) FIELD(limit.f)
static const struct vv_conf_row plan_rows[] = {
    {FIELD(name), .type = VV_CONF_NAME},
    {OF_PLAN(name), .type = VV_CONF_DERIVED},
    {OF_PLAN(per), .type = VV_CONF_DERIVED},
    {OF_PLAN(burst), .key = "burst", .type = VV_CONF_COUNT, .absent = VV_CONF_ABSENT,
     .max = "1000000000", .reload = true,
     .doc = "Requests that may come at once: with 500, 500 pass and the 501st does not. Default: "
            "as many as the rate gives in a second, at least 1.",
     .example = "500"},
    {OF_PLAN(share), .type = VV_CONF_DERIVED},
    LIMIT_RULES(OF_PLAN),
    {FIELD(priority), .key = "priority", .type = VV_CONF_ENUM, .def = "normal",
     .names = vv_settings_priorities, .reload = true,
     .doc = "Who is served last, and turned away first, when there is not enough for all. A "
            "route's own counts more."},
};
_Static_assert((VV_COUNT(plan_rows) + 1) * 8 == sizeof(struct vv_plan_settings),
               "every field has a row");
#undef FIELD
static const struct vv_conf_section plan_section = {
    .name = "plan",
    .size = sizeof(struct vv_plan_settings),
    ROWS(plan_rows),
    SHORTS(limit_shorts),
    .doc = "What a caller with this plan may do. It takes the place of limits `per: client`."};

#define FIELD(f) VV_CONF_FIELD(struct vv_jwt_settings, f)
static const struct vv_conf_row jwt_rows[] = {
    {FIELD(enabled), .type = VV_CONF_PRESENT},
    {FIELD(jwks), .key = "jwks", .type = VV_CONF_TEXT, .required = true, .reload = true,
     .doc = "Where the public keys are: a file or a URL.", .example = "jwks.json"},
    {FIELD(algorithms), .key = "algorithms", .type = VV_CONF_TEXTS, .def = "RS256, ES256, EdDSA",
     .reload = true, .doc = "Signatures that are accepted, of RS256, ES256 and EdDSA.",
     .example = "[ES256]"},
    {FIELD(issuer), .key = "issuer", .type = VV_CONF_TEXT, .reload = true,
     .doc = "The `iss` a token must have. Default: any.", .example = "https://login.example.org"},
    {FIELD(audience), .key = "audience", .type = VV_CONF_TEXTS, .reload = true,
     .doc = "The `aud` a token must have one of. Default: any.", .example = "[shop]"},
    {FIELD(skew_ns), .key = "skew", .type = VV_CONF_DURATION, .def = "60s", .max = "1h",
     .reload = true, .doc = "By how much clocks may differ."},
    {FIELD(refresh_ns), .key = "refresh", .type = VV_CONF_DURATION, .def = "10m", .min = "1s",
     .max = "7d", .reload = true, .doc = "How often the keys are fetched again from a URL."},
    {FIELD(subject), .key = "subject", .type = VV_CONF_TEXT, .def = "sub", .reload = true,
     .doc = "Claim that names the caller."},
    {FIELD(plan), .key = "plan", .type = VV_CONF_TEXT, .reload = true,
     .doc = "Claim that names the plan. Default: default_plan for all.", .example = "plan"},
    {FIELD(default_plan), .key = "default_plan", .type = VV_CONF_TEXT, .reload = true,
     .doc = "Plan of callers whose token names none that there is. Default: no plan.",
     .example = "standard"},
};
#undef FIELD
_Static_assert(VV_COUNT(jwt_rows) * 8 == sizeof(struct vv_jwt_settings), "every field has a row");
static const struct vv_conf_short jwt_shorts[] = {{VV_CONF_FORM_SCALAR, "jwks"}};
static const struct vv_conf_section jwt_section = {.name = "jwt",
                                                   .size = sizeof(struct vv_jwt_settings),
                                                   ROWS(jwt_rows),
                                                   SHORTS(jwt_shorts),
                                                   .doc = "Signed tokens: whose are believed."};

#define FIELD(f) VV_CONF_FIELD(struct vv_certificate_settings, f)
static const struct vv_conf_row certificate_rows[] = {
    {FIELD(name), .type = VV_CONF_NAME},
    {FIELD(fingerprint), .key = "fingerprint", .type = VV_CONF_TEXT, .reload = true,
     .doc = "SHA-256 of the certificate, 64 hexadecimal digits. Default: the caller's name must be "
            "its common name or one of its other names.",
     .example = "4f9c0a55d1b07ef4b3e9a1d0f5a4c1f3a8d4b7e2c6f90a1b2c3d4e5f60718293"},
    {FIELD(plan), .key = "plan", .type = VV_CONF_TEXT, .reload = true,
     .doc = "Plan of this caller. Default: none.", .example = "premium"},
};
#undef FIELD
_Static_assert(VV_COUNT(certificate_rows) * 8 == sizeof(struct vv_certificate_settings),
               "every field has a row");
static const struct vv_conf_short certificate_shorts[] = {{VV_CONF_FORM_SCALAR, "plan"}};
static const struct vv_conf_section certificate_section = {
    .name = "certificate",
    .size = sizeof(struct vv_certificate_settings),
    ROWS(certificate_rows),
    SHORTS(certificate_shorts),
    .doc = "A caller who is known by the certificate of its TLS connection."};

#define FIELD(f) VV_CONF_FIELD(struct vv_access_settings, f)
static const struct vv_conf_row access_rows[] = {
    {FIELD(keys), .key = "keys", .type = VV_CONF_TEXT, .reload = true,
     .doc = "File of keys (hashes only) that `vivace key` writes; a change counts at once.",
     .example = "keys.txt"},
    {FIELD(basic), .key = "basic", .type = VV_CONF_TEXT, .reload = true,
     .doc = "File of users for Basic, as `vivace key user` writes it.", .example = "users.txt"},
    {FIELD(header), .key = "header", .type = VV_CONF_TEXT, .def = "X-API-Key", .reload = true,
     .doc = "Header that may hold a key, beside Authorization: Bearer."},
    {FIELD(unknown), .key = "unknown", .type = VV_CONF_TEXT, .reload = true,
     .doc = "Plan of callers whose key is not known. Default: they get 401.",
     .example = "standard"},
    {FIELD(anonymous), .key = "anonymous", .type = VV_CONF_TEXT, .reload = true,
     .doc = "Plan of callers without a key, where the route lets them. Default: none.",
     .example = "standard"},
    {FIELD(share), .key = "share", .type = VV_CONF_TEXT, .reload = true,
     .doc = "The store in which several gateways keep one count of the rates and quotas of all "
            "plans; none: each its own. What is in flight is counted by each alone. Default: "
            "defaults.share.",
     .example = "local"},
    {FIELD(plans), .key = "plans", .type = VV_CONF_MAP, .section = &plan_section, .reload = true,
     .doc = "Plans by name.",
     .example = "{standard: {rate: 10000/h, burst: 500, concurrent: 100}}"},
    {FIELD(certificates), .key = "certificates", .type = VV_CONF_MAP,
     .section = &certificate_section, .reload = true,
     .doc = "Callers with certificates (listen.X.tls.mutual) by name, with their plans. Others "
            "are not known. Default: every certificate that holds, without a plan.",
     .example = "{partner.example: premium}"},
    {FIELD(jwt), .key = "jwt", .type = VV_CONF_SECTION, .section = &jwt_section, .optional = true,
     .reload = true, .doc = "Signed tokens (RFC 7519) as callers' names. Default: none.",
     .example = "jwks.json"},
};
#undef FIELD
_Static_assert((VV_COUNT(access_rows) - 1) * 8 + sizeof(struct vv_jwt_settings) ==
                   sizeof(struct vv_access_settings),
               "every field has a row");
const struct vv_conf_section vv_settings_access_section = {
    .name = "access",
    .size = sizeof(struct vv_access_settings),
    ROWS(access_rows),
    .doc = "Who callers are: keys, users, tokens; and what their plans allow. Routes say with a "
           "key of the same name who may ask."};

#define FIELD(f) VV_CONF_FIELD(struct vv_route_access_settings, f)
static const struct vv_conf_row route_access_rows[] = {
    {FIELD(enabled), .type = VV_CONF_PRESENT},
    {FIELD(by), .key = "by", .type = VV_CONF_TEXTS, .def = "bearer", .reload = true,
     .doc = "How a caller may say who it is: bearer (a key or a signed token), key (in its "
            "header), basic, jwt, certificate (of the TLS connection); with optional also not at "
            "all. Others get 401.",
     .example = "[bearer, basic]"},
    {FIELD(methods), .type = VV_CONF_DERIVED},
    {FIELD(plans), .key = "plans", .type = VV_CONF_TEXTS, .reload = true,
     .doc = "Plans that may ask; others get 403. Default: any.", .example = "[standard]"},
};
#undef FIELD
_Static_assert(VV_COUNT(route_access_rows) * 8 == sizeof(struct vv_route_access_settings),
               "every field has a row");
static const struct vv_conf_short route_access_shorts[] = {{VV_CONF_FORM_SCALAR, "by"},
                                                           {VV_CONF_FORM_LIST, "by"}};
const struct vv_conf_section vv_settings_route_access_section = {
    .name = "route access",
    .size = sizeof(struct vv_route_access_settings),
    ROWS(route_access_rows),
    SHORTS(route_access_shorts),
    .doc = "Who may ask here."};

/* ---- breakers, retries, hedging ------------------------------------------------------------ */

#define FIELD(f) VV_CONF_FIELD(struct vv_breaker_settings, f)
static const struct vv_conf_row breaker_rows[] = {
    {FIELD(name), .type = VV_CONF_NAME},
    {FIELD(failures), .key = "failures", .type = VV_CONF_COUNT, .def = "5", .max = "1000000",
     .reload = true, .doc = "Failures in a row that open it; 0 switches that rule off."},
    {FIELD(recover_ns), .key = "recover", .type = VV_CONF_DURATION, .def = "30s", .min = "10ms",
     .max = "1d", .reload = true, .doc = "How long it is open until the first probe."},
    {FIELD(recover_max_ns), .key = "max_recover", .type = VV_CONF_DURATION, .min = "10ms",
     .max = "1d", .reload = true,
     .doc = "Each probe that fails doubles the time to the next, up to this. Default: recover, "
            "so it never grows.",
     .example = "5m"},
    {FIELD(accept_ppm), .key = "accept", .type = VV_CONF_PPM, .def = "100%", .max = "100%",
     .reload = true,
     .doc = "Share of failures in the window that is accepted; above it opens. 100% switches that "
            "rule off.",
     .example = "10%"},
    {FIELD(window_ns), .key = "window", .type = VV_CONF_DURATION, .def = "60s", .min = "1s",
     .max = "1d", .reload = true, .doc = "How far back shares are counted."},
    {FIELD(volume), .key = "volume", .type = VV_CONF_COUNT, .def = "20", .min = "1",
     .max = "1000000000", .reload = true,
     .doc = "Requests the window needs before its shares are judged."},
    {FIELD(slow_ns), .key = "slow", .type = VV_CONF_DURATION, .def = "0", .max = "1h",
     .reload = true, .doc = "Answers that take so long count as slow; 0 switches that rule off."},
    {FIELD(slow_accept_ppm), .key = "slow_accept", .type = VV_CONF_PPM, .def = "50%", .max = "100%",
     .reload = true, .doc = "Share of slow answers in the window that is accepted."},
    {FIELD(probes), .key = "probes", .type = VV_CONF_COUNT, .def = "1", .min = "1", .max = "16",
     .reload = true, .doc = "Probes that may be under way at once."},
    {FIELD(successes), .key = "successes", .type = VV_CONF_COUNT, .def = "1", .min = "1",
     .max = "1000", .reload = true,
     .doc = "Good probes that close it; one bad one opens it again."},
    {FIELD(on), .key = "when", .type = VV_CONF_TEXTS, .def = "connect, timeout, broken, 5xx",
     .reload = true,
     .doc = "What is a failure: connect, timeout (no answer in time), broken (cut off, or no "
            "HTTP), a status, a class of them.",
     .example = "[connect, timeout, 503]"},
    {FIELD(share), .key = "share", .type = VV_CONF_TEXT, .reload = true,
     .doc = "The store in which several gateways tell each other that it has opened: meanwhile the "
            "others' opens at the first failure. Default: they do not.",
     .example = "local"},
};
#undef FIELD
_Static_assert(VV_COUNT(breaker_rows) * 8 == sizeof(struct vv_breaker_settings),
               "every field has a row");
const struct vv_conf_section vv_settings_breaker_section = {
    .name = "breaker",
    .size = sizeof(struct vv_breaker_settings),
    ROWS(breaker_rows),
    .doc = "A class of circuit breakers: when to stop asking a service that keeps failing. Each "
           "service that uses it has one of its own."};

#define FIELD(f) VV_CONF_FIELD(struct vv_retry_settings, f)
static const struct vv_conf_row retry_rows[] = {
    {FIELD(max), .key = "max", .type = VV_CONF_COUNT, .def = "1", .max = "10", .reload = true,
     .doc = "Further attempts, at other servers while there are any, when that is safe: nothing "
            "was sent, or the method allows it."},
    {FIELD(on), .key = "when", .type = VV_CONF_TEXTS, .def = "connect, broken, 502, 503, 504",
     .reload = true,
     .doc = "After what: connect, timeout (of the first byte), broken, a status, a class of them.",
     .example = "[connect, 503]"},
    {FIELD(backoff_ns), .key = "backoff", .type = VV_CONF_DURATION, .def = "25ms", .max = "1m",
     .reload = true,
     .doc = "Most that is waited before the first further attempt; chance decides how much of it. "
            "It doubles with each."},
    {FIELD(backoff_max_ns), .key = "max_backoff", .type = VV_CONF_DURATION, .def = "250ms",
     .max = "1m", .reload = true, .doc = "It grows no further than this."},
    {FIELD(budget_ppm), .key = "budget", .type = VV_CONF_PPM, .def = "20%", .max = "1000%",
     .reload = true,
     .doc = "Further attempts and hedges together, as a share of the service's requests."},
    {FIELD(floor), .key = "floor", .type = VV_CONF_COUNT, .def = "3", .max = "1000000",
     .reload = true, .doc = "Further attempts per second that are allowed beside the budget."},
};
#undef FIELD
_Static_assert(VV_COUNT(retry_rows) * 8 == sizeof(struct vv_retry_settings),
               "every field has a row");
static const struct vv_conf_short retry_shorts[] = {{VV_CONF_FORM_NUMBER, "max"}};
const struct vv_conf_section vv_settings_retry_section = {
    .name = "retries",
    .size = sizeof(struct vv_retry_settings),
    ROWS(retry_rows),
    SHORTS(retry_shorts),
    .doc = "Further attempts, within a budget, so that a service in trouble is not asked more."};

#define FIELD(f) VV_CONF_FIELD(struct vv_hedge_settings, f)
static const struct vv_conf_row hedge_rows[] = {
    {FIELD(enabled), .key = "enabled", .type = VV_CONF_BOOL, .def = "true", .reload = true,
     .doc = "Whether a second server is asked when the first takes unusually long."},
    {FIELD(after_ppm), .key = "after", .type = VV_CONF_PPM, .def = "95%", .min = "50%",
     .max = "99.9%", .reload = true,
     .doc = "How long is unusual: longer than this share of the latest answers took."},
    {FIELD(min_ns), .key = "min", .type = VV_CONF_DURATION, .def = "1ms", .max = "1m",
     .reload = true, .doc = "It is never less than this."},
    {FIELD(max_ns), .key = "max", .type = VV_CONF_DURATION, .def = "1s", .min = "1ms", .max = "1m",
     .reload = true, .doc = "It is never more than this."},
};
#undef FIELD
_Static_assert(VV_COUNT(hedge_rows) * 8 == sizeof(struct vv_hedge_settings),
               "every field has a row");
static const struct vv_conf_short hedge_shorts[] = {{VV_CONF_FORM_BOOL, "enabled"}};
const struct vv_conf_section vv_settings_hedge_section = {
    .name = "hedge",
    .size = sizeof(struct vv_hedge_settings),
    ROWS(hedge_rows),
    SHORTS(hedge_shorts),
    .doc = "A second server is asked when the first takes unusually long; the first answer counts. "
           "Only methods that may be repeated, and within the budget of retries."};

/* ---- overload ------------------------------------------------------------------------------ */

#define FIELD(f) VV_CONF_FIELD(struct vv_concurrency_settings, f)
static const struct vv_conf_row concurrency_rows[] = {
    {FIELD(enabled), .type = VV_CONF_PRESENT},
    {FIELD(limit), .key = "limit", .type = VV_CONF_COUNT, .def = "auto", .word = "auto", .min = "1",
     .max = "1000000", .reload = true,
     .doc = "Requests in flight at once; auto finds out how many are good."},
    {FIELD(initial), .key = "initial", .type = VV_CONF_COUNT, .def = "20", .min = "1",
     .max = "1000000", .reload = true, .doc = "With auto: where it begins."},
    {FIELD(min), .key = "min", .type = VV_CONF_COUNT, .def = "4", .min = "1", .max = "1000000",
     .reload = true, .doc = "With auto: never less."},
    {FIELD(max), .key = "max", .type = VV_CONF_COUNT, .def = "1000", .min = "1", .max = "1000000",
     .reload = true, .doc = "With auto: never more."},
    {FIELD(queue), .key = "queue", .type = VV_CONF_COUNT, .def = "1000", .max = "1000000",
     .reload = true, .doc = "Requests that may wait, per worker; 0: nobody waits."},
    {FIELD(target_ns), .key = "target", .type = VV_CONF_DURATION, .def = "5ms", .min = "1ms",
     .max = "10s", .reload = true,
     .doc = "A wait that is fine. When waits stay above it for an interval, the newest are served "
            "first and waits are cut short."},
    {FIELD(interval_ns), .key = "interval", .type = VV_CONF_DURATION, .def = "100ms", .min = "1ms",
     .max = "1m", .reload = true, .doc = "How long waits must stay above target."},
    {FIELD(wait_ns), .key = "wait", .type = VV_CONF_DURATION, .def = "1s", .min = "1ms",
     .max = "10m", .reload = true, .doc = "Longest wait; then 503."},
};
#undef FIELD
_Static_assert(VV_COUNT(concurrency_rows) * 8 == sizeof(struct vv_concurrency_settings),
               "every field has a row");
static const struct vv_conf_short concurrency_shorts[] = {{VV_CONF_FORM_SCALAR, "limit"}};
const struct vv_conf_section vv_settings_concurrency_section = {
    .name = "concurrency",
    .size = sizeof(struct vv_concurrency_settings),
    ROWS(concurrency_rows),
    SHORTS(concurrency_shorts),
    .doc = "How many requests a service is given at once. The others wait a little, the important "
           "ones in front, or get 503."};

#define FIELD(f) VV_CONF_FIELD(struct vv_overload_settings, f)
static const struct vv_conf_row overload_rows[] = {
    {FIELD(memory_bytes), .key = "memory_size", .type = VV_CONF_SIZE, .def = "0", .reload = true,
     .doc = "Memory above which requests are turned away, least important first; 0: see memory.",
     .example = "2GB"},
    {FIELD(memory_ppm), .key = "memory", .type = VV_CONF_PPM, .def = "90%", .min = "10%",
     .max = "100%", .reload = true,
     .doc = "The same as a share of what the control group or the machine has; 100%: never."},
    {FIELD(delay_ns), .key = "delay", .type = VV_CONF_DURATION, .def = "100ms", .max = "1m",
     .reload = true, .doc = "Turned away also when the workers themselves run so late; 0: never."},
    {FIELD(keys), .key = "keys", .type = VV_CONF_COUNT, .def = "1000000", .min = "1024",
     .max = "16777216",
     .doc = "Callers times limits that are kept in mind at once, 16 bytes each."},
};
#undef FIELD
_Static_assert(VV_COUNT(overload_rows) * 8 == sizeof(struct vv_overload_settings),
               "every field has a row");
const struct vv_conf_section vv_settings_overload_section = {
    .name = "overload",
    .size = sizeof(struct vv_overload_settings),
    ROWS(overload_rows),
    .doc = "When the gateway itself has too little: who is turned away before it falls."};

/* ---- compose ------------------------------------------------------------------------------- */

static const char *const part_priorities[] = {"optional", "critical", NULL};

#define FIELD(f) VV_CONF_FIELD(struct vv_part_settings, f)
static const struct vv_conf_row part_rows[] = {
    {FIELD(name), .type = VV_CONF_NAME},
    {FIELD(to), .key = "to", .type = VV_CONF_TEXT, .required = true, .reload = true,
     .doc = "A service, or the URL of a server.", .example = "users"},
    {FIELD(path), .key = "path", .type = VV_CONF_TEMPLATE, .reload = true,
     .doc = "Path asked for: a template. Default: that of the request.", .example = "/users/{id}"},
    {FIELD(method), .key = "method", .type = VV_CONF_TEXT, .def = "GET", .reload = true,
     .doc = "Method of the part."},
    {FIELD(priority), .key = "priority", .type = VV_CONF_ENUM, .def = "optional",
     .names = part_priorities, .reload = true, .doc = "Whether the answer can do without it."},
    {FIELD(timeout_ns), .key = "timeout", .type = VV_CONF_DURATION, .min = "1ms", .max = "1h",
     .reload = true, .doc = "Time for this part. Default: that of the whole.", .example = "2s"},
    VV_SETTINGS_FALLBACK_ROWS(struct vv_part_settings,
                              "What stands in for the part: {json: ...}, "
                              "{stale: true}, {to: SERVICE}, {file: PATH}, {status: 200, body: "
                              "TEXT}; anything else is the JSON itself."),
    {FIELD(at), .type = VV_CONF_AT},
};
#undef FIELD
static const struct vv_conf_short part_shorts[] = {{VV_CONF_FORM_SCALAR, "to"}};
static const struct vv_conf_section part_section = {.name = "part",
                                                    .size = sizeof(struct vv_part_settings),
                                                    ROWS(part_rows),
                                                    SHORTS(part_shorts),
                                                    .doc = "One part of a composed answer."};

static const char *const strategies[] = {"best_effort", "fail_fast", NULL};

#define FIELD(f) VV_CONF_FIELD(struct vv_compose_settings, f)
static const struct vv_conf_row compose_rows[] = {
    {FIELD(strategy), .key = "strategy", .type = VV_CONF_ENUM, .def = "best_effort",
     .names = strategies, .reload = true,
     .doc = "best_effort answers with what there is; fail_fast gives up as soon as a critical "
            "part has failed, and cancels the others."},
    {FIELD(timeout_ns), .key = "timeout", .type = VV_CONF_DURATION, .def = "10s", .min = "1ms",
     .max = "1h", .reload = true, .doc = "Time for all parts together."},
    {FIELD(parts), .key = "parts", .type = VV_CONF_MAP, .section = &part_section, .required = true,
     .reload = true, .doc = "The parts by name, 32 at most; all are asked at once.",
     .example = "{profile: {to: users, path: \"/users/{id}\", priority: critical}}"},
    {FIELD(body), .key = "body", .type = VV_CONF_TEXT, .reload = true,
     .doc = "The answer, JSON in which \"{{name}}\" stands for a part and \"{{degraded}}\" for "
            "the names of parts that are missing or stood in for. Default: an object of all "
            "parts and of degraded.",
     .example = "{\"user\": {{profile}}}"},
};
#undef FIELD
_Static_assert(VV_COUNT(compose_rows) * 8 == sizeof(struct vv_compose_settings),
               "every field has a row");
const struct vv_conf_section vv_settings_compose_section = {
    .name = "compose",
    .size = sizeof(struct vv_compose_settings),
    ROWS(compose_rows),
    .doc = "One answer out of the answers of several services."};

/* ---- canary, mirror, faults ---------------------------------------------------------------- */

#define FIELD(f) VV_CONF_FIELD(struct vv_canary_settings, f)
static const struct vv_conf_row canary_rows[] = {
    {FIELD(enabled), .type = VV_CONF_PRESENT},
    {FIELD(to), .key = "to", .type = VV_CONF_TEXT, .required = true, .reload = true,
     .doc = "The service, or the URL of the server, that is tried.", .example = "shop_v2"},
    {FIELD(share_ppm), .key = "share", .type = VV_CONF_PPM, .def = "0%", .max = "100%",
     .reload = true, .doc = "Its share of the requests at the start."},
    {FIELD(sticky), .key = "sticky", .type = VV_CONF_TEMPLATE, .def = "$client_ip", .reload = true,
     .doc = "Requests for which this template is the same go the same way; \"none\": each for "
            "itself."},
    {FIELD(header), .key = "header", .type = VV_CONF_TEXT, .reload = true,
     .doc = "Header whose value always or never decides before the share does. Default: none.",
     .example = "X-Canary"},
    {FIELD(steps), .key = "steps", .type = VV_CONF_TEXTS, .reload = true,
     .doc = "Shares to which it is promoted one after the other while it is not worse. Default: "
            "none, it stays at its share.",
     .example = "[5%, 25%, 50%, 100%]"},
    {FIELD(every_ns), .key = "every", .type = VV_CONF_DURATION, .def = "5m", .min = "1s",
     .max = "30d", .reload = true, .doc = "Least time of a step."},
    {FIELD(alpha_ppm), .key = "alpha", .type = VV_CONF_PPM, .def = "1%", .min = "0.01%",
     .max = "20%", .reload = true,
     .doc = "How often a version that is no worse may be taken for worse."},
    {FIELD(volume), .key = "volume", .type = VV_CONF_COUNT, .def = "100", .min = "1",
     .max = "1000000000", .reload = true, .doc = "Requests either side needs before it is judged."},
    {FIELD(errors_worse_ppm), .key = "errors_worse", .type = VV_CONF_PPM, .def = "0%",
     .max = "100%", .reload = true, .doc = "By how much its share of errors may be larger."},
    {FIELD(times_worse_ppm), .key = "times_worse", .type = VV_CONF_PPM, .def = "0%", .max = "50%",
     .reload = true,
     .doc = "By how much an answer may be the slower one more often than half of the time."},
    {FIELD(automatic), .key = "automatic", .type = VV_CONF_BOOL, .def = "true", .reload = true,
     .doc = "Whether it is aborted by itself when it is worse."},
};
#undef FIELD
_Static_assert(VV_COUNT(canary_rows) * 8 == sizeof(struct vv_canary_settings),
               "every field has a row");
static const struct vv_conf_short to_shorts[] = {{VV_CONF_FORM_SCALAR, "to"}};
const struct vv_conf_section vv_settings_canary_section = {
    .name = "canary",
    .size = sizeof(struct vv_canary_settings),
    ROWS(canary_rows),
    SHORTS(to_shorts),
    .doc = "A share of the requests goes to another service, whose answers are compared."};

#define FIELD(f) VV_CONF_FIELD(struct vv_mirror_settings, f)
static const struct vv_conf_row mirror_rows[] = {
    {FIELD(enabled), .type = VV_CONF_PRESENT},
    {FIELD(to), .key = "to", .type = VV_CONF_TEXT, .required = true, .reload = true,
     .doc = "The service, or the URL of the server, that gets copies.", .example = "shop_v2"},
    {FIELD(share_ppm), .key = "share", .type = VV_CONF_PPM, .def = "100%", .max = "100%",
     .reload = true, .doc = "Share of the requests that are copied."},
    {FIELD(in_flight), .key = "in_flight", .type = VV_CONF_COUNT, .def = "100", .min = "1",
     .max = "100000", .reload = true, .doc = "Copies under way per worker; more are left out."},
    {FIELD(body_bytes), .key = "max_body", .type = VV_CONF_SIZE, .def = "64KB", .max = "512KB",
     .reload = true, .doc = "Requests with larger bodies are not copied."},
};
#undef FIELD
_Static_assert(VV_COUNT(mirror_rows) * 8 == sizeof(struct vv_mirror_settings),
               "every field has a row");
const struct vv_conf_section vv_settings_mirror_section = {
    .name = "mirror",
    .size = sizeof(struct vv_mirror_settings),
    ROWS(mirror_rows),
    SHORTS(to_shorts),
    .doc = "Requests are copied to another service; its answers are thrown away."};

#define FIELD(f) VV_CONF_FIELD(struct vv_chaos_settings, f)
static const struct vv_conf_row chaos_rows[] = {
    {FIELD(enabled), .key = "enabled", .type = VV_CONF_BOOL, .def = "false", .reload = true,
     .doc = "Whether the API and `vivace chaos` may make faults at all."},
    {FIELD(share_max_ppm), .key = "max_share", .type = VV_CONF_PPM, .def = "50%", .min = "0.01%",
     .max = "100%", .reload = true, .doc = "Largest share of requests that may be hurt."},
    {FIELD(time_max_ns), .key = "max_time", .type = VV_CONF_DURATION, .def = "10m", .min = "1s",
     .max = "1h", .reload = true, .doc = "Longest time faults may last."},
    {FIELD(stop_ppm), .key = "stop", .type = VV_CONF_PPM, .def = "50%", .min = "1%", .max = "100%",
     .reload = true, .doc = "Share of bad answers at which all faults end."},
    {FIELD(stop_window_ns), .key = "stop_window", .type = VV_CONF_DURATION, .def = "10s",
     .min = "1s", .max = "1h", .reload = true, .doc = "How far back that share is counted."},
    {FIELD(stop_volume), .key = "stop_volume", .type = VV_CONF_COUNT, .def = "20", .min = "1",
     .max = "1000000", .reload = true, .doc = "Answers it needs before it counts."},
};
#undef FIELD
_Static_assert(VV_COUNT(chaos_rows) * 8 == sizeof(struct vv_chaos_settings),
               "every field has a row");
static const struct vv_conf_short chaos_shorts[] = {{VV_CONF_FORM_BOOL, "enabled"}};
const struct vv_conf_section vv_settings_chaos_section = {
    .name = "chaos",
    .size = sizeof(struct vv_chaos_settings),
    ROWS(chaos_rows),
    SHORTS(chaos_shorts),
    .doc = "Faults on purpose, to see what holds: within which bounds they may be made."};
