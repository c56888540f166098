/* src/gateway/store_expect.c - values of parameters of Redis, compared by what they mean. */
#include "gateway/store_expect.h"

#include "base/units.h"

#include <stdio.h>

#define WORDS_MAX 64

/* Parameters whose numbers are no seconds. */
static const struct {
    const char *name;
    uint64_t unit_ns;
} units[] = {
    {"busy-reply-threshold", VV_MS},      {"cluster-node-timeout", VV_MS},
    {"latency-monitor-threshold", VV_MS}, {"lua-time-limit", VV_MS},
    {"slowlog-log-slower-than", VV_US},
};

static const char *const sizes[] = {
    "maxmemory",
    "maxmemory-clients",
    "client-query-buffer-limit",
    "proto-max-bulk-len",
    "repl-backlog-size",
    "auto-aof-rewrite-min-size",
    "hash-max-listpack-value",
};

static const char *const fixed[] = {
    "always-show-logo",    "cluster-enabled", "databases",      "daemonize",   "io-threads",
    "io-threads-do-reads", "logfile",         "pidfile",        "supervised",  "syslog-enabled",
    "tcp-backlog",         "unixsocket",      "unixsocketperm", "rdbchecksum", "aclfile",
};

static bool is_one_of(struct vv_str name, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (vv_str_eq(name, vv_str_from(list[i]))) {
            return true;
        }
    }
    return false;
}

/* ---- numbers ------------------------------------------------------------------------------- */

static uint64_t unit_of(struct vv_str name)
{
    for (size_t i = 0; i < VV_COUNT(units); i++) {
        if (vv_str_eq(name, vv_str_from(units[i].name))) {
            return units[i].unit_ns;
        }
    }
    return VV_SEC;
}

/* A time in the unit in which the server counts this parameter. */
static bool read_time(struct vv_str name, struct vv_str s, uint64_t *ret)
{
    const uint64_t unit = unit_of(name);
    uint64_t ns = 0;
    if (is_one_of(name, sizes, VV_COUNT(sizes)) || vv_parse_duration(s, &ns) != VV_OK ||
        ns % unit != 0) {
        return false;
    }
    *ret = ns / unit;
    return true;
}

/* "512m" as the server reads it. */
static bool read_thousands(struct vv_str s, uint64_t *ret)
{
    static const char letters[] = "kmg";
    uint64_t n = 0, unit = 1;
    const char *letter = s.n > 1 ? strchr(letters, vv_char_lower(s.p[s.n - 1])) : NULL;
    if (letter == NULL || *letter == '\0' ||
        vv_str_to_u64((struct vv_str){s.p, s.n - 1}, &n) != VV_OK) {
        return false;
    }
    for (const char *l = letters; l <= letter; l++) {
        unit *= 1000;
    }
    *ret = n * unit;
    return n <= UINT64_MAX / unit;
}

/* One word of the server's answer against one of ours. */
static bool word_holds(struct vv_str name, struct vv_str wanted, struct vv_str is)
{
    uint64_t want = 0, got = 0;
    if (vv_str_eq_nocase(wanted, is)) {
        return true;
    }
    if ((vv_str_eq(wanted, VV_STR("true")) && vv_str_eq(is, VV_STR("yes"))) ||
        (vv_str_eq(wanted, VV_STR("false")) && vv_str_eq(is, VV_STR("no")))) {
        return true;
    }
    if (vv_str_to_u64(is, &got) != VV_OK) {
        return false;
    }
    return (vv_str_to_u64(wanted, &want) == VV_OK && want == got) ||
           (vv_parse_size(wanted, &want) == VV_OK && want == got) ||
           (read_thousands(wanted, &want) && want == got) ||
           (read_time(name, wanted, &want) && want == got);
}

/* ---- lists --------------------------------------------------------------------------------- */

static size_t split(struct vv_str s, struct vv_str *word)
{
    size_t n = 0, i = 0;
    while (n < WORDS_MAX) {
        while (i < s.n && (s.p[i] == ' ' || s.p[i] == '\t' || s.p[i] == '"')) {
            i++;
        }
        const size_t from = i;
        while (i < s.n && s.p[i] != ' ' && s.p[i] != '\t' && s.p[i] != '"') {
            i++;
        }
        if (i == from) {
            break;
        }
        word[n++] = (struct vv_str){s.p + from, i - from};
    }
    return n;
}

static bool words_hold(struct vv_str name, struct vv_str wanted, struct vv_str is)
{
    struct vv_str want[WORDS_MAX], got[WORDS_MAX];
    const size_t n = split(wanted, want);
    if (split(is, got) != n) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (!word_holds(name, want[i], got[i])) {
            return false;
        }
    }
    return true;
}

/* `save` is a set of pairs: after so many seconds, when so many keys have changed. */
static bool has_pair(struct vv_str name, const struct vv_str *pair, const struct vv_str *list,
                     size_t n)
{
    for (size_t i = 0; i + 1 < n; i += 2) {
        if (word_holds(name, pair[0], list[i]) && word_holds(name, pair[1], list[i + 1])) {
            return true;
        }
    }
    return false;
}

static bool is_wanted(struct vv_str name, const struct vv_str *pair, const struct vv_str *list,
                      size_t n)
{
    for (size_t i = 0; i + 1 < n; i += 2) {
        if (has_pair(name, &list[i], pair, 2)) {
            return true;
        }
    }
    return false;
}

static bool pairs_hold(struct vv_str name, struct vv_str wanted, struct vv_str is)
{
    struct vv_str want[WORDS_MAX], got[WORDS_MAX];
    const size_t n = split(wanted, want);
    if (split(is, got) != n) {
        return false;
    }
    for (size_t i = 0; i + 1 < n; i += 2) {
        if (!has_pair(name, &want[i], got, n) || !is_wanted(name, &got[i], want, n)) {
            return false;
        }
    }
    return n % 2 == 0;
}

/* Letters of notify-keyspace-events; A stands for all classes. */
static uint64_t events(struct vv_str s)
{
    static const char known[] = "KEg$lshzxetdmnA";
    uint64_t set = 0;
    for (size_t i = 0; i < s.n; i++) {
        const char *at = strchr(known, s.p[i]);
        if (at == NULL || *at == '\0') {
            return UINT64_MAX;
        }
        set |= *at == 'A' ? events(VV_STR("g$lshzxetd")) : UINT64_C(1) << (at - known);
    }
    return set;
}

bool vv_expect_holds(struct vv_str name, struct vv_str wanted, struct vv_str is)
{
    if (vv_str_eq(name, VV_STR("save"))) {
        return pairs_hold(name, wanted, is);
    }
    if (vv_str_eq(name, VV_STR("notify-keyspace-events"))) {
        return events(wanted) == events(is) && events(is) != UINT64_MAX;
    }
    return words_hold(name, wanted, is);
}

/* ---- for people ---------------------------------------------------------------------------- */

bool vv_expect_settable(struct vv_str name)
{
    return !is_one_of(name, fixed, VV_COUNT(fixed));
}

void vv_expect_write(struct vv_str name, struct vv_str wanted, struct vv_sb *out)
{
    uint64_t n = 0;
    if (vv_str_to_u64(wanted, &n) != VV_OK && read_time(name, wanted, &n)) {
        vv_sb_addu(out, n);
        return;
    }
    bool plain = wanted.n > 0;
    for (size_t i = 0; i < wanted.n; i++) {
        const char c = wanted.p[i];
        plain = plain && c != '\0' &&
                (vv_char_lower(c) != c || (c >= 'a' && c <= 'z') ||
                 strchr("0123456789-_.:/,+%@", c) != NULL);
    }
    vv_sb_adds(out, plain ? "" : "'");
    for (size_t i = 0; i < wanted.n; i++) {
        if (wanted.p[i] == '\'') {
            vv_sb_adds(out, "'\\''");
        } else if ((unsigned char)wanted.p[i] >= ' ') {
            vv_sb_addc(out, wanted.p[i]);
        }
    }
    vv_sb_adds(out, plain ? "" : "'");
}

void vv_expect_show(struct vv_str name, struct vv_str is, struct vv_sb *out)
{
    uint64_t n = 0;
    char size[32];
    if (is.n == 0) {
        vv_sb_adds(out, "empty");
        return;
    }
    for (size_t i = 0; i < is.n && i < 200; i++) {
        vv_sb_addc(out, (unsigned char)is.p[i] < ' ' ? ' ' : is.p[i]);
    }
    if (is_one_of(name, sizes, VV_COUNT(sizes)) && vv_str_to_u64(is, &n) == VV_OK) {
        if (n == 0) {
            vv_sb_adds(out, " (no limit)");
        } else if (n >= VV_KIB) {
            vv_sb_addf(out, " (%s)", vv_format_size(n, size, sizeof size));
        }
    }
}
