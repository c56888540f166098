/* src/app/verb_store.c - `vivace store`: the stores, what their servers say, whether they are as expected, when
 * their keys expire. */
#include "app/table.h"
#include "app/target.h"
#include "app/view.h"

#include <stdarg.h>
#include <string.h>

const struct cli_option options_store[] = {
    {'p', "prefix", "TEXT", "expire: keys that begin so; default: what the gateway writes"},
    {'n', "keys", "NUMBER", "expire: most keys that are looked at (10000, up to 100000)"},
    {0, "soonest", "NUMBER", "expire: so many that expire first (20, up to 100)"},
    CLI_SOCKET_OPTION,
    CLI_JSON_OPTION,
    CLI_COLOR_OPTION,
    CLI_HELP_OPTION,
    {0},
};
const char example_store[] = "vivace store check us_redis";

#define WHATS "list, info, check or expire, then the name of a store"
#define API "/api/v1/stores"
#define WIDTH 200

static void encode(struct vv_sb *out, const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p != '\0'; p++) {
        const bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
                           (*p >= '0' && *p <= '9') || strchr("-._~", *p) != NULL;
        vv_sb_addf(out, plain ? "%c" : "%%%02X", *p);
    }
}

/* A word that is a path and no name. */
static bool is_file(const char *word)
{
    const struct vv_str s = vv_str_from(word);
    return strchr(word, '/') != NULL || vv_str_ends(s, VV_STR(".yaml")) ||
           vv_str_ends(s, VV_STR(".yml"));
}

static const char *name_of(const struct cli_args *args)
{
    const char *word = cli_word(args, 1);
    return word != NULL && !is_file(word) ? word : NULL;
}

static const char *file_of(const struct cli_args *args)
{
    return name_of(args) != NULL ? cli_word(args, 2) : cli_word(args, 1);
}

static const char *color_of(const char *state)
{
    return strcmp(state, "up") == 0 || strcmp(state, "memory") == 0 ? NULL
           : strcmp(state, "away") == 0                             ? "31"
                                                                    : "33";
}

static void show(const struct cli_args *args, struct table *t)
{
    struct vv_sb out = VV_SB_INIT;
    table_print(t, 0, TABLE_ROWS, WIDTH, cli_color(args, stdout), "\n", &out);
    cli_print(vv_sb_str(&out));
    vv_sb_fini(&out);
    table_fini(t);
}

/* A line. Names of keys and reasons come from servers and applications: the terminal is kept safe of them. */
static void VV_PRINTF(1, 2) say(const char *fmt, ...)
{
    struct vv_sb line = VV_SB_INIT;
    va_list args;
    va_start(args, fmt);
    vv_sb_vaddf(&line, fmt, args);
    va_end(args);
    for (size_t i = 0; !line.failed && i < line.n; i++) {
        unsigned char *c = (unsigned char *)line.p + i;
        /* The second half is that of U+0080 to U+009F, which are control characters, too. */
        if (*c < 0x20 || *c == 0x7f || (*c == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0)) {
            *c = '?';
        } else if (i > 0 && c[-1] == '?' && (*c & 0xc0) == 0x80) {
            *c = '?';
        }
    }
    vv_sb_addc(&line, '\n');
    cli_print(vv_sb_str(&line));
    vv_sb_fini(&line);
}

static const char *short_count(double n, char *buf, size_t buf_bytes)
{
    if (n >= 10000.0) {
        return view_count(n, buf, buf_bytes);
    }
    (void)snprintf(buf, buf_bytes, "%.0f", n);
    return buf;
}

/* "63.9 MB"; 0 is said as `none`. */
static void put_size(struct table *t, size_t column, double bytes, const char *none)
{
    static const char *const units[] = {"B", "KB", "MB", "GB", "TB"};
    size_t i = 0;
    while (bytes >= 1024.0 && i + 1 < VV_COUNT(units)) {
        bytes /= 1024.0;
        i++;
    }
    if (bytes <= 0.0) {
        table_cell(t, column, "%s", none);
    } else {
        table_cell(t, column, i > 0 ? "%.1f %s" : "%.0f %s", bytes, units[i]);
    }
}

/* ---- list ---------------------------------------------------------------------------------- */

static void put_store(struct table *t, const json_t *s)
{
    char count[16];
    const json_t *servers = json_object_get(s, "servers");
    size_t up = 0;
    for (size_t i = 0; i < json_array_size(servers); i++) {
        up += json_is_true(json_object_get(json_array_get(servers, i), "up"));
    }
    (void)table_row(t, color_of(json_text(s, "state")));
    table_cell(t, 0, "%s", json_text(s, "name"));
    table_cell(t, 1, "%s", json_text(s, "state"));
    table_cell(t, 2, "%s", json_text(s, "kind"));
    table_cell(t, 3, "%zu of %zu", up, json_array_size(servers));
    table_cell(t, 4, "%s", short_count(json_num(s, "operations"), count, sizeof count));
    table_cell(t, 5, "%s",
               short_count(json_num(s, "timeouts") + json_num(s, "refused") + json_num(s, "errors"),
                           count, sizeof count));
    table_cell(t, 6, "%zu", json_array_size(json_object_get(s, "not_as_expected")));
    table_cell(t, 7, "%s", json_text(s, "address"));
}

static void print_list(const struct cli_args *args, const json_t *stores)
{
    static const char *const titles[] = {"store",       "state",   "kind",        ">servers up",
                                         ">operations", ">failed", ">unexpected", "address"};
    struct table t;
    if (json_array_size(stores) == 0) {
        (void)puts("there are no stores");
        return;
    }
    if (!table_init(&t, titles, VV_COUNT(titles))) {
        return;
    }
    for (size_t i = 0; i < json_array_size(stores); i++) {
        put_store(&t, json_array_get(stores, i));
    }
    show(args, &t);
}

static int list(const struct cli_args *args)
{
    json_t *o = NULL;
    const int code = client_json(args, cli_word(args, 1), "GET", API, &o);
    if (code != EXIT_FINE) {
        return code;
    }
    if (cli_flag(args, "json")) {
        cli_print_json(json_object_get(o, "stores"));
    } else {
        print_list(args, json_object_get(o, "stores"));
    }
    json_decref(o);
    return EXIT_FINE;
}

/* ---- info ---------------------------------------------------------------------------------- */

static double keys_of(const json_t *server)
{
    const json_t *dbs = json_object_get(server, "databases");
    double keys = 0;
    for (size_t i = 0; i < json_array_size(dbs); i++) {
        keys += json_num(json_array_get(dbs, i), "keys");
    }
    return keys;
}

static void put_server(struct table *t, const json_t *s)
{
    char count[16];
    const bool up = json_is_true(json_object_get(s, "up"));
    const double hits = json_num(s, "hits"), all = hits + json_num(s, "misses");
    (void)table_row(t, up ? NULL : "31");
    table_cell(t, 0, "%s", json_text(s, "server"));
    table_cell(t, 1, "%s", up ? json_text(s, "role") : "away");
    table_cell(t, 2, "%s", json_text(s, "version"));
    if (json_object_get(s, "clients") == NULL) {
        return; /* it has never answered */
    }
    put_size(t, 3, json_num(s, "memory_used"), "-");
    put_size(t, 4, json_num(s, "memory_max"), "no limit");
    table_cell(t, 5, "%s", json_text(s, "policy"));
    table_cell(t, 6, "%s", short_count(keys_of(s), count, sizeof count));
    table_cell(t, 7, all > 0.0 ? "%.1f %%" : "-", all > 0.0 ? 100.0 * hits / all : 0.0);
    table_cell(t, 8, "%s", short_count(json_num(s, "evicted"), count, sizeof count));
    table_cell(t, 9, "%s", short_count(json_num(s, "expired"), count, sizeof count));
    table_cell(t, 10, "%.0f", json_num(s, "clients"));
}

static int print_info(const struct cli_args *args, const json_t *o)
{
    static const char *const titles[] = {"server",   "role",     "version", ">memory",
                                         ">of",      "policy",   ">keys",   ">hits",
                                         ">evicted", ">expired", ">clients"};
    const json_t *servers = json_object_get(o, "servers");
    struct table t;
    say("%s is %s: %s, keys begin with %s:", json_text(o, "name"), json_text(o, "state"),
        json_text(o, "address"), json_text(o, "prefix"));
    if (json_text(o, "why")[0] != '\0') {
        say("%s", json_text(o, "why"));
    }
    if (json_array_size(servers) > 0 && table_init(&t, titles, VV_COUNT(titles))) {
        for (size_t i = 0; i < json_array_size(servers); i++) {
            put_server(&t, json_array_get(servers, i));
        }
        show(args, &t);
    }
    for (size_t i = 0; i < json_array_size(servers); i++) {
        const json_t *s = json_array_get(servers, i);
        if (json_text(s, "why")[0] != '\0') {
            say("%s: %s", json_text(s, "server"), json_text(s, "why"));
        }
    }
    return EXIT_FINE;
}

/* ---- check --------------------------------------------------------------------------------- */

static void put_check(struct table *t, const json_t *c)
{
    const json_t *holds = json_object_get(c, "holds");
    (void)table_row(t, json_is_true(holds) ? NULL : json_is_false(holds) ? "31" : "33");
    table_cell(t, 0, "%s", json_text(c, "server"));
    table_cell(t, 1, "%s", json_text(c, "parameter"));
    table_cell(t, 2, "%s", json_text(c, "expected"));
    table_cell(t, 3, "%s", json_text(c, "is"));
    table_cell(t, 4, "%s",
               json_is_true(holds)    ? "as expected"
               : json_is_false(holds) ? "not as expected"
                                      : "not known");
}

static int print_check(const struct cli_args *args, const json_t *o)
{
    static const char *const titles[] = {"server", "parameter", "expected", "is", "result"};
    const json_t *checks = json_object_get(o, "checks");
    const json_t *warnings = json_object_get(o, "warnings");
    const bool holds = json_is_true(json_object_get(o, "holds"));
    struct table t;
    say("%s is %s, %s", json_text(o, "name"), json_text(o, "state"),
        !holds                         ? "and not as expected"
        : json_array_size(checks) == 0 ? "and nothing is expected of it"
                                       : "and as expected");
    if (json_text(o, "why")[0] != '\0') {
        say("%s", json_text(o, "why"));
    }
    if (json_array_size(checks) > 0 && table_init(&t, titles, VV_COUNT(titles))) {
        for (size_t i = 0; i < json_array_size(checks); i++) {
            put_check(&t, json_array_get(checks, i));
        }
        show(args, &t);
    }
    for (size_t i = 0; i < json_array_size(checks); i++) {
        const char *problem = json_text(json_array_get(checks, i), "problem");
        if (problem[0] != '\0') {
            say("%s", problem);
        }
    }
    for (size_t i = 0; i < json_array_size(warnings); i++) {
        say("warning: %s", json_string_value(json_array_get(warnings, i)));
    }
    return holds ? EXIT_FINE : EXIT_FAILED;
}

/* ---- expire -------------------------------------------------------------------------------- */

static void print_groups(const struct cli_args *args, const json_t *groups)
{
    static const char *const titles[] = {"keys that begin with", ">with an end", ">without"};
    struct table t;
    if (json_array_size(groups) == 0 || !table_init(&t, titles, VV_COUNT(titles))) {
        return;
    }
    for (size_t i = 0; i < json_array_size(groups); i++) {
        const json_t *g = json_array_get(groups, i);
        (void)table_row(&t, NULL);
        table_cell(&t, 0, "%s", json_text(g, "prefix"));
        table_cell(&t, 1, "%.0f", json_num(g, "with_end"));
        table_cell(&t, 2, "%.0f", json_num(g, "without_end"));
    }
    show(args, &t);
}

static int print_expire(const struct cli_args *args, const json_t *o)
{
    const json_t *soonest = json_object_get(o, "soonest");
    say("%s: %.0f keys begin with %s, %.0f with an end and %.0f without%s", json_text(o, "name"),
        json_num(o, "keys"), json_text(o, "prefix"), json_num(o, "with_end"),
        json_num(o, "without_end"),
        json_is_true(json_object_get(o, "whole")) ? "" : "; there may be more");
    if (json_text(o, "problem")[0] != '\0') {
        say("not all could be looked at: %s", json_text(o, "problem"));
    }
    print_groups(args, json_object_get(o, "groups"));
    for (size_t i = 0; i < json_array_size(soonest); i++) {
        const json_t *k = json_array_get(soonest, i);
        say("%10.1f s  %s", json_num(k, "seconds"), json_text(k, "key"));
    }
    return json_text(o, "problem")[0] != '\0' ? EXIT_FAILED : EXIT_FINE;
}

static void add_option(const struct cli_args *args, const char *name, const char *query,
                       struct vv_sb *target)
{
    const char *value = cli_value(args, name);
    if (value != NULL) {
        vv_sb_addf(target, "%s=", query);
        encode(target, value);
    }
}

/* ---- one or all ---------------------------------------------------------------------------- */

struct question {
    const char *what;
    int (*print)(const struct cli_args *args, const json_t *o);
};

static int ask(const struct cli_args *args, const struct question *q, const char *name,
               json_t **ret)
{
    struct vv_sb target = VV_SB_INIT;
    vv_sb_adds(&target, API "/");
    encode(&target, name);
    vv_sb_addf(&target, "/%s", q->what);
    if (strcmp(q->what, "expire") == 0) {
        vv_sb_adds(&target, "?of=all");
        add_option(args, "prefix", "&prefix", &target);
        add_option(args, "keys", "&keys", &target);
        add_option(args, "soonest", "&soonest", &target);
    }
    const int code = client_json(args, file_of(args), "GET", target.p, ret);
    vv_sb_fini(&target);
    return code;
}

static int one(const struct cli_args *args, const struct question *q, const char *name)
{
    json_t *o = NULL;
    int code = ask(args, q, name, &o);
    if (code == EXIT_FINE && cli_flag(args, "json")) {
        const json_t *holds = json_object_get(o, "holds");
        cli_print_json(o);
        code = json_is_false(holds) ? EXIT_FAILED : EXIT_FINE;
    } else if (code == EXIT_FINE) {
        code = q->print(args, o);
    }
    json_decref(o);
    return code;
}

/* Of all stores that have a server; the worst result counts. */
static int all(const struct cli_args *args, const struct question *q)
{
    json_t *o = NULL, *answers = json_array();
    int worst = client_json(args, file_of(args), "GET", API, &o);
    const json_t *stores = json_object_get(o, "stores");
    for (size_t i = 0; worst != EXIT_USAGE && i < json_array_size(stores); i++) {
        const json_t *s = json_array_get(stores, i);
        json_t *answer = NULL;
        if (strcmp(json_text(s, "kind"), "memory") == 0) {
            continue;
        }
        int code = ask(args, q, json_text(s, "name"), &answer);
        if (code == EXIT_FINE && !cli_flag(args, "json")) {
            (void)fputs(json_array_size(answers) > 0 ? "\n" : "", stdout);
            code = q->print(args, answer);
        } else if (code == EXIT_FINE && json_is_false(json_object_get(answer, "holds"))) {
            code = EXIT_FAILED;
        }
        worst = code > worst ? code : worst;
        (void)json_array_append_new(answers, answer != NULL ? answer : json_null());
    }
    if (cli_flag(args, "json") && o != NULL) {
        cli_print_json(answers);
    } else if (o != NULL && json_array_size(answers) == 0) {
        (void)puts("there are no stores with a server");
    }
    json_decref(answers);
    json_decref(o);
    return worst;
}

int verb_store(const struct cli_args *args)
{
    static const struct question questions[] = {
        {"info", print_info}, {"check", print_check}, {"expire", print_expire}};
    const char *what = cli_word(args, 0);
    if (what == NULL || strcmp(what, "list") == 0) {
        return list(args);
    }
    for (size_t i = 0; i < VV_COUNT(questions); i++) {
        if (strcmp(what, questions[i].what) == 0) {
            return name_of(args) != NULL ? one(args, &questions[i], name_of(args))
                                         : all(args, &questions[i]);
        }
    }
    return cli_fail(EXIT_USAGE, "say what to do: " WHATS);
}
