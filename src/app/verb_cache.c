/* src/app/verb_cache.c - `vivace cache`: what the caches hold, taking out and putting in. */
#include "app/table.h"
#include "app/target.h"
#include "base/units.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

const struct cli_option options_cache[] = {
    {'c', "cache", "NAME", "this cache only, else all"},
    {'t', "tag", "TAG", "purge: everything with this tag"},
    {'p', "pattern", "GLOB", "purge, warm: keys that match; /img/* on every host"},
    {'a', "all", NULL, "purge: everything"},
    {'s', "soft", NULL, "purge: stale from now on instead of gone"},
    {'r', "rate", "RATE", "warm: requests to the origins, default 50/s"},
    {0, "prefix", "TEXT", "list: keys that begin so"},
    {'n', "limit", "NUMBER", "list: at most so many of each cache, default 100"},
    CLI_SOCKET_OPTION,
    CLI_JSON_OPTION,
    CLI_HELP_OPTION,
    {0},
};
const char example_cache[] = "vivace cache purge --tag sale --soft";

#define WHATS "stats, list, get URL, purge URL, trim SIZE or warm FILE"
#define BATCH_URLS 2000
#define BATCH_BYTES (512 * 1024) /* of URLs in one call; the API takes 1 MiB */
#define LINE_BYTES 8192

static const char *size_text(double bytes, char buf[32])
{
    static const char *const unit[] = {"B", "KB", "MB", "GB", "TB"};
    size_t u = 0;
    for (; bytes >= 1024.0 && u + 1 < VV_COUNT(unit); u++) {
        bytes /= 1024.0;
    }
    (void)snprintf(buf, 32, u == 0 || bytes >= 100.0 ? "%.0f%s" : "%.1f%s", bytes, unit[u]);
    return buf;
}

static const char *span_text(double seconds, char buf[32])
{
    const double s = seconds < 0.0 ? -seconds : seconds;
    const char *sign = seconds < 0.0 ? "-" : "";
    if (s < 120.0) {
        (void)snprintf(buf, 32, "%s%.0fs", sign, s);
    } else if (s < 7200.0) {
        (void)snprintf(buf, 32, "%s%.0fm", sign, s / 60.0);
    } else if (s < 172800.0) {
        (void)snprintf(buf, 32, "%s%.0fh", sign, s / 3600.0);
    } else {
        (void)snprintf(buf, 32, "%s%.0fd", sign, s / 86400.0);
    }
    return buf;
}

static void encode(struct vv_sb *out, const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p != '\0'; p++) {
        const bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
                           (*p >= '0' && *p <= '9') || strchr("-._~", *p) != NULL;
        vv_sb_addf(out, plain ? "%c" : "%%%02X", *p);
    }
}

/* ---- stats ---- */

static double requests(const json_t *c, const char *result)
{
    return json_num(json_object_get(c, "requests"), result);
}

static void print_stats(const json_t *o)
{
    static const char *const titles[] = {"CACHE",   ">USED",    ">BUDGET",  ">ENTRIES",
                                         ">HIT %",  ">HITS",    ">STALE",   ">MISSES",
                                         ">STORED", ">EVICTED", ">REFUSED", "POLICY"};
    const json_t *list = json_object_get(o, "caches");
    struct table t;
    char buf[32];
    if (!table_init(&t, titles, VV_COUNT(titles))) {
        return;
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *c = json_array_get(list, i);
        if (!table_row(&t, NULL)) {
            break;
        }
        table_cell(&t, 0, "%.40s", json_text(c, "name"));
        table_cell(&t, 1, "%s", size_text(json_num(c, "bytes"), buf));
        table_cell(&t, 2, "%s", size_text(json_num(c, "budget_bytes"), buf));
        table_cell(&t, 3, "%.0f", json_num(c, "entries"));
        table_cell(&t, 4, "%.1f", 100.0 * json_num(c, "hit_ratio"));
        table_cell(&t, 5, "%.0f",
                   requests(c, "hit") + requests(c, "revalidated") + requests(c, "coalesced"));
        table_cell(&t, 6, "%.0f", requests(c, "stale") + requests(c, "updating"));
        table_cell(&t, 7, "%.0f", requests(c, "miss") + requests(c, "expired"));
        table_cell(&t, 8, "%.0f", json_num(c, "stored"));
        table_cell(&t, 9, "%.0f",
                   json_num(c, "evicted_space") + json_num(c, "evicted_expired") +
                       json_num(c, "evicted_purged"));
        table_cell(&t, 10, "%.0f",
                   json_num(c, "refused_admission") + json_num(c, "refused_size") +
                       json_num(c, "refused_memory"));
        table_cell(&t, 11, "%s", json_text(c, "policy"));
    }
    struct vv_sb out = VV_SB_INIT;
    table_print(&t, 0, SIZE_MAX, 200, false, "\n", &out);
    cli_print(vv_sb_str(&out));
    vv_sb_fini(&out);
    table_fini(&t);
}

static int stats(const struct cli_args *args)
{
    json_t *o = NULL;
    const int code = client_json(args, cli_word(args, 1), "GET", "/api/v1/cache", &o);
    if (code != EXIT_FINE) {
        return code;
    }
    if (cli_flag(args, "json")) {
        cli_print_json(o);
    } else if (json_array_size(json_object_get(o, "caches")) == 0) {
        (void)puts("no route uses a cache");
    } else {
        print_stats(o);
    }
    json_decref(o);
    return EXIT_FINE;
}

/* ---- list and get ---- */

static void print_object(const char *cache, const json_t *o)
{
    char age[32], ttl[32], size[32];
    (void)printf(
        "%-12s %6.0f %6s %6s %8s %5.0f  %s%s\n", cache, json_num(o, "status"),
        span_text(json_num(o, "age_seconds"), age), span_text(json_num(o, "ttl_seconds"), ttl),
        size_text(json_num(o, "body_bytes"), size), json_num(o, "hits"), json_text(o, "key"),
        json_is_true(json_object_get(o, "stale_by_purge")) ? "  (purged softly)" : "");
}

static void print_variant(const char *cache, const json_t *o)
{
    char age[32], ttl[32], size[32];
    (void)printf("%s\n  cache %s, status %.0f, %s old, %s left, %s, %.0f hits, %.0f tags, "
                 "coding %s%s\n",
                 json_text(o, "key"), cache, json_num(o, "status"),
                 span_text(json_num(o, "age_seconds"), age),
                 span_text(json_num(o, "ttl_seconds"), ttl),
                 size_text(json_num(o, "body_bytes"), size), json_num(o, "hits"),
                 json_num(o, "tags"), json_text(o, "coding"),
                 json_is_true(json_object_get(o, "stale_by_purge")) ? ", purged softly" : "");
    for (const char *p = json_text(o, "head"); *p != '\0';) {
        const size_t n = strcspn(p, "\r\n");
        if (n > 0) {
            (void)printf("  | %.*s\n", (int)n, p);
        }
        p += n;
        p += strspn(p, "\r\n");
    }
}

/* Asks about each cache, or the one of --cache; what comes back is merged under `member`, each
 * object with the name of its cache. `query` begins with '/'. */
static int ask_each(const struct cli_args *args, const char *file, const char *query,
                    const char *member, json_t **ret)
{
    json_t *all = NULL;
    int code = client_json(args, file, "GET", "/api/v1/cache", &all);
    if (code != EXIT_FINE) {
        return code;
    }
    const char *only = cli_value(args, "cache");
    const json_t *caches = json_object_get(all, "caches");
    json_t *list = json_array();
    bool met = false;
    for (size_t i = 0; i < json_array_size(caches) && code == EXIT_FINE; i++) {
        const char *name = json_text(json_array_get(caches, i), "name");
        struct vv_sb target = VV_SB_INIT;
        json_t *o = NULL;
        if (only != NULL && strcmp(only, name) != 0) {
            continue;
        }
        met = true;
        vv_sb_adds(&target, "/api/v1/cache/");
        encode(&target, name);
        vv_sb_adds(&target, query);
        code = client_json_quiet(args, file, vv_sb_str(&target).p, &o);
        const json_t *found = json_object_get(o, member);
        for (size_t k = 0; k < json_array_size(found); k++) {
            json_t *one = json_array_get(found, k);
            (void)json_object_set_new(one, "cache", json_string(name));
            (void)json_array_append(list, one);
        }
        json_decref(o);
        vv_sb_fini(&target);
    }
    if (!met && only != NULL) {
        code = cli_fail(EXIT_FAILED, "there is no cache \"%s\"", only);
    }
    json_decref(all);
    if (code != EXIT_FINE) {
        json_decref(list);
        return code;
    }
    *ret = list;
    return EXIT_FINE;
}

static int list_objects(const struct cli_args *args)
{
    struct vv_sb query = VV_SB_INIT;
    json_t *list = NULL;
    uint64_t limit = 100;
    const char *text = cli_value(args, "limit");
    if (text != NULL && (vv_str_to_u64(vv_str_from(text), &limit) != VV_OK || limit == 0)) {
        return cli_fail(EXIT_USAGE, "--limit wants a number from 1 to 1000");
    }
    vv_sb_addf(&query, "/objects?limit=%llu&prefix=", (unsigned long long)limit);
    encode(&query, cli_value(args, "prefix") != NULL ? cli_value(args, "prefix") : "");
    const int code = ask_each(args, cli_word(args, 1), vv_sb_str(&query).p, "objects", &list);
    vv_sb_fini(&query);
    if (code != EXIT_FINE) {
        return code;
    }
    if (cli_flag(args, "json")) {
        cli_print_json(list);
    } else {
        (void)printf("%-12s %6s %6s %6s %8s %5s  %s\n", "CACHE", "STATUS", "AGE", "TTL", "BODY",
                     "HITS", "KEY");
        for (size_t i = 0; i < json_array_size(list); i++) {
            const json_t *o = json_array_get(list, i);
            print_object(json_text(o, "cache"), o);
        }
    }
    json_decref(list);
    return EXIT_FINE;
}

static int get(const struct cli_args *args)
{
    struct vv_sb query = VV_SB_INIT;
    json_t *list = NULL;
    const char *url = cli_word(args, 1);
    if (url == NULL) {
        return cli_fail(EXIT_USAGE, "say which URL: vivace cache get http://shop.example.org/a");
    }
    vv_sb_adds(&query, "/object?url=");
    encode(&query, url);
    const int code = ask_each(args, cli_word(args, 2), vv_sb_str(&query).p, "variants", &list);
    vv_sb_fini(&query);
    if (code != EXIT_FINE) {
        return code;
    }
    const size_t n = json_array_size(list);
    if (cli_flag(args, "json")) {
        cli_print_json(list);
    }
    for (size_t i = 0; i < n && !cli_flag(args, "json"); i++) {
        const json_t *o = json_array_get(list, i);
        print_variant(json_text(o, "cache"), o);
    }
    json_decref(list);
    return n > 0 ? EXIT_FINE : cli_fail(EXIT_FAILED, "nothing is stored for %s", url);
}

/* ---- changes ---- */

/* Posts an order; the answer is the caller's. The body is freed. */
static int post(const struct cli_args *args, const char *file, const char *target, json_t *body,
                json_t **ret)
{
    const char *cache = cli_value(args, "cache");
    if (cache != NULL) {
        (void)json_object_set_new(body, "cache", json_string(cache));
    }
    char *text = json_dumps(body, 0);
    json_decref(body);
    const int code = client_json_send(args, file, "POST", target, vv_str_from(text), ret);
    free(text);
    return code;
}

static int purge(const struct cli_args *args)
{
    const char *tag = cli_value(args, "tag"), *pattern = cli_value(args, "pattern");
    const bool all = cli_flag(args, "all"), by_url = tag == NULL && pattern == NULL && !all;
    const char *url = by_url ? cli_word(args, 1) : NULL;
    if ((tag != NULL) + (pattern != NULL) + all > 1 || (by_url && url == NULL)) {
        return cli_fail(EXIT_USAGE, "say what to purge: a URL, --tag, --pattern or --all");
    }
    json_t *body = json_object(), *o = NULL;
    if (all) {
        (void)json_object_set_new(body, "all", json_true());
    } else {
        (void)json_object_set_new(body,
                                  by_url        ? "url"
                                  : tag != NULL ? "tag"
                                                : "pattern",
                                  json_string(by_url        ? url
                                              : tag != NULL ? tag
                                                            : pattern));
    }
    (void)json_object_set_new(body, "soft", json_boolean(cli_flag(args, "soft")));
    const int code = post(args, cli_word(args, by_url ? 2 : 1), "/api/v1/cache/purge", body, &o);
    if (code != EXIT_FINE) {
        return code;
    }
    if (cli_flag(args, "json")) {
        cli_print_json(o);
    } else if (json_object_get(o, "objects") != NULL) {
        (void)printf("purged %.0f objects\n", json_num(o, "objects"));
    } else {
        (void)puts("purged");
    }
    json_decref(o);
    return EXIT_FINE;
}

static int trim(const struct cli_args *args)
{
    const char *to = cli_word(args, 1);
    if (to == NULL) {
        return cli_fail(EXIT_USAGE, "say how far: vivace cache trim 64MB, or 20%%");
    }
    json_t *body = json_object(), *o = NULL;
    (void)json_object_set_new(body, "to", json_string(to));
    const int code = post(args, cli_word(args, 2), "/api/v1/cache/trim", body, &o);
    if (code != EXIT_FINE) {
        return code;
    }
    if (cli_flag(args, "json")) {
        cli_print_json(o);
    } else {
        print_stats(o);
    }
    json_decref(o);
    return EXIT_FINE;
}

static json_t *warm_body(const struct cli_args *args)
{
    json_t *body = json_object();
    const char *rate = cli_value(args, "rate");
    if (rate != NULL) {
        (void)json_object_set_new(body, "rate", json_string(rate));
    }
    return body;
}

/* The next URLs of the file, one a line; empty lines and lines with # are skipped. */
static json_t *read_batch(FILE *in)
{
    char line[LINE_BYTES];
    size_t bytes = 0;
    json_t *urls = json_array();
    while (json_array_size(urls) < BATCH_URLS && bytes < BATCH_BYTES &&
           fgets(line, sizeof line, in) != NULL) {
        const struct vv_str url = vv_str_trim((struct vv_str){line, strcspn(line, "\r\n")});
        if (url.n > 0 && url.p[0] != '#') {
            (void)json_array_append_new(urls, json_stringn(url.p, url.n));
            bytes += url.n;
        }
    }
    return urls;
}

static int warm_file(const struct cli_args *args, FILE *in, double *queued)
{
    for (;;) {
        json_t *urls = read_batch(in), *o = NULL;
        if (json_array_size(urls) == 0) {
            json_decref(urls);
            return EXIT_FINE;
        }
        json_t *body = warm_body(args);
        (void)json_object_set_new(body, "urls", urls);
        const int code = post(args, cli_word(args, 2), "/api/v1/cache/warm", body, &o);
        if (code != EXIT_FINE) {
            return code;
        }
        *queued += json_num(o, "queued");
        json_decref(o);
    }
}

static int warm_pattern(const struct cli_args *args, const char *pattern, double *queued)
{
    json_t *body = warm_body(args), *o = NULL;
    (void)json_object_set_new(body, "pattern", json_string(pattern));
    const int code = post(args, cli_word(args, 1), "/api/v1/cache/warm", body, &o);
    *queued += json_num(o, "queued");
    json_decref(o);
    return code;
}

static int warm(const struct cli_args *args)
{
    const char *pattern = cli_value(args, "pattern"), *path = cli_word(args, 1);
    double queued = 0.0;
    int code;
    if (pattern != NULL) {
        code = warm_pattern(args, pattern, &queued);
    } else if (path == NULL) {
        return cli_fail(EXIT_USAGE, "say what to warm: a file of URLs, - or --pattern");
    } else {
        FILE *in = strcmp(path, "-") == 0 ? stdin : fopen(path, "r");
        if (in == NULL) {
            return cli_fail(EXIT_FAILED, "cannot read %s: %s", path, strerror(errno));
        }
        code = warm_file(args, in, &queued);
        if (in != stdin) {
            (void)fclose(in);
        }
    }
    if (code == EXIT_FINE && cli_flag(args, "json")) {
        (void)printf("{\"ok\": true, \"queued\": %.0f}\n", queued);
    } else if (code == EXIT_FINE) {
        (void)printf("%.0f requests wait for their turn\n", queued);
    }
    return code;
}

int verb_cache(const struct cli_args *args)
{
    static const struct {
        const char *name;
        int (*run)(const struct cli_args *args);
    } what[] = {{"stats", stats}, {"list", list_objects}, {"get", get},
                {"purge", purge}, {"trim", trim},         {"warm", warm}};
    const char *word = cli_word(args, 0);
    for (size_t i = 0; word != NULL && i < VV_COUNT(what); i++) {
        if (strcmp(word, what[i].name) == 0) {
            return what[i].run(args);
        }
    }
    return cli_fail(EXIT_USAGE, "say " WHATS);
}
