/* src/app/verb_chaos.c - `vivace chaos`: faults on purpose, with a look at how things are before, while and
 * after. A run that is interrupted takes its fault with it. */
#include "app/table.h"
#include "app/target.h"
#include "base/units.h"
#include "os/clock.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

const struct cli_option options_chaos[] = {
    {0, "share", "SHARE", "run: of the requests, such as 10%"},
    {0, "for", "TIME", "run: how long, default 1m"},
    {0, "route", "NAME", "run: this route only"},
    {0, "service", "NAME", "run: this service only"},
    {0, "delay", "TIME", "run delay: how long requests wait"},
    {0, "jitter", "TIME", "run delay: up to so much longer"},
    {0, "status", "CODE", "run abort: status of the answer, default 503"},
    {0, "bytes", "SIZE", "run truncate, corrupt: within so many; slow: so many a second"},
    {0, "after", "TIME", "run: how long to look afterwards, default 10s"},
    {'d', "detach", NULL, "run: order it and go; the gateway ends it by itself"},
    CLI_SOCKET_OPTION,
    CLI_JSON_OPTION,
    CLI_HELP_OPTION,
    {0},
};
const char example_chaos[] =
    "vivace chaos run delay --share 10% --for 60s --route api --delay 200ms";

#define WHATS "run FAULT, list or stop [ID]"
#define POLL_MS 250
#define LOOK_S 10

struct look { /* how things were over some seconds */
    double seconds, requests, bad_percent, p95_ms;
};

static volatile sig_atomic_t interrupted;

static void on_signal(int signo)
{
    (void)signo;
    interrupted = 1;
}

/* ---- looking ---- */

static int look(const struct cli_args *args, const char *file, unsigned seconds, struct look *ret)
{
    char target[64];
    json_t *o = NULL;
    (void)snprintf(target, sizeof target, "/api/v1/top?seconds=%u", seconds);
    const int code = client_json(args, file, "GET", target, &o);
    if (code != EXIT_FINE) {
        return code;
    }
    const char *route = cli_value(args, "route");
    const char *service = cli_value(args, "service");
    const json_t *t = json_object_get(o, "traffic");
    if (route != NULL) {
        t = json_object_get(json_object_get(o, "routes"), route);
    } else if (service != NULL) {
        t = json_object_get(json_object_get(o, "by_service"), service);
    }
    const double bad = json_num(t, "errors_5xx") + json_num(t, "aborted");
    const double all = json_num(t, "requests") + json_num(t, "aborted");
    *ret = (struct look){.seconds = json_num(t, "seconds"),
                         .requests = json_num(t, "requests"),
                         .bad_percent = all > 0.0 ? 100.0 * bad / all : 0.0,
                         .p95_ms = json_num(t, "p95_ms")};
    json_decref(o);
    return EXIT_FINE;
}

static void print_look(const char *when, const struct look *l)
{
    (void)printf("%-7s %6.0f s %9.0f requests %7.2f%% bad %9.1f ms p95\n", when, l->seconds,
                 l->requests, l->bad_percent, l->p95_ms);
    (void)fflush(stdout);
}

static void add_look(json_t *o, const char *key, const struct look *l)
{
    (void)json_object_set_new(o, key,
                              json_pack("{s:f, s:f, s:f, s:f}", "seconds", l->seconds, "requests",
                                        l->requests, "bad_percent", l->bad_percent, "p95_ms",
                                        l->p95_ms));
}

/* ---- run ---- */

static char *order_body(const struct cli_args *args)
{
    static const char *const texts[] = {"share", "for", "route", "service", "delay", "jitter"};
    json_t *o = json_object();
    (void)json_object_set_new(o, "fault", json_string(cli_word(args, 1)));
    for (size_t i = 0; i < VV_COUNT(texts); i++) {
        if (cli_value(args, texts[i]) != NULL) {
            (void)json_object_set_new(o, texts[i], json_string(cli_value(args, texts[i])));
        }
    }
    uint64_t n = 0;
    const char *status = cli_value(args, "status");
    if (status != NULL) { /* what is no number stays a text, and is refused with its name */
        (void)json_object_set_new(o, "status",
                                  vv_str_to_u64(vv_str_from(status), &n) == VV_OK && n < 1000
                                      ? json_integer((json_int_t)n)
                                      : json_string(status));
    }
    const char *bytes = cli_value(args, "bytes");
    if (bytes != NULL) {
        (void)json_object_set_new(o, "bytes",
                                  vv_str_to_u64(vv_str_from(bytes), &n) == VV_OK && n <= UINT32_MAX
                                      ? json_integer((json_int_t)n)
                                      : json_string(bytes));
    }
    char *text = json_dumps(o, 0);
    json_decref(o);
    return text;
}

static const json_t *with_id(const json_t *list, double id)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *one = json_array_get(list, i);
        if (json_num(one, "id") == id) {
            return one;
        }
    }
    return NULL;
}

static int stop(const struct cli_args *args, const char *file, double id)
{
    char target[64];
    json_t *o = NULL;
    (void)snprintf(target, sizeof target, "/api/v1/chaos/%.0f", id);
    const int code = client_json(args, file, "DELETE", target, &o);
    json_decref(o);
    return code;
}

/* Waits for the end of the fault; *ret is what is known of it then. */
static int wait_end(const struct cli_args *args, const char *file, double id, json_t **ret)
{
    bool stopping = false;
    for (;;) {
        json_t *o = NULL;
        const int code = client_json(args, file, "GET", "/api/v1/chaos", &o);
        if (code != EXIT_FINE) {
            return code;
        }
        const json_t *ended = with_id(json_object_get(o, "ended"), id);
        const bool gone = ended == NULL && with_id(json_object_get(o, "active"), id) == NULL;
        *ret = ended != NULL ? json_deep_copy(ended) : NULL;
        json_decref(o);
        if (*ret != NULL) {
            return EXIT_FINE;
        }
        if (gone) { /* a new process knows nothing of it, or too many have ended since */
            return cli_fail(EXIT_FAILED, "the gateway does not know this fault any more");
        }
        if (interrupted && !stopping) {
            stopping = true;
            (void)stop(args, file, id);
        } else {
            (void)poll(NULL, 0, POLL_MS);
        }
    }
}

static void pause_ms(uint64_t ms)
{
    const uint64_t until_ns = vv_clock_now() + ms * VV_MS;
    while (!interrupted && vv_clock_now() < until_ns) {
        (void)poll(NULL, 0, POLL_MS);
    }
}

static int report(const struct cli_args *args, const json_t *end, const struct look l[3])
{
    const char *why = json_text(end, "why");
    const bool fine = strcmp(why, "over") == 0 || strcmp(why, "stopped") == 0;
    if (cli_flag(args, "json")) {
        json_t *o = json_deep_copy(end);
        add_look(o, "before", &l[0]);
        add_look(o, "during", &l[1]);
        add_look(o, "after", &l[2]);
        cli_print_json(o);
        json_decref(o);
    } else {
        (void)printf("%s: struck %.0f of %.0f attempts\n",
                     strcmp(why, "tripped") == 0
                         ? "ended by itself, because more answers were bad than chaos.stop allows"
                     : strcmp(why, "over") == 0 ? "over"
                                                : why,
                     json_num(end, "struck"), json_num(end, "asked"));
    }
    return fine ? EXIT_FINE : EXIT_FAILED;
}

static int follow(const struct cli_args *args, const char *file, double id, struct look l[3],
                  uint64_t after_ns)
{
    const bool json = cli_flag(args, "json");
    const uint64_t began_ns = vv_clock_now();
    json_t *end = NULL;
    int code = wait_end(args, file, id, &end);
    if (code != EXIT_FINE) {
        return code;
    }
    const uint64_t took_s = (vv_clock_now() - began_ns + VV_SEC - 1) / VV_SEC;
    pause_ms(1000); /* the second under way is not in the history yet */
    code = look(args, file, (unsigned)vv_min_u64(vv_max_u64(took_s, 1), 900), &l[1]);
    if (code == EXIT_FINE && !json) {
        print_look("during", &l[1]);
    }
    pause_ms(after_ns / VV_MS);
    if (code == EXIT_FINE) {
        const uint64_t after_s = vv_min_u64(vv_max_u64(after_ns / VV_SEC, 1), 900);
        code = look(args, file, (unsigned)after_s, &l[2]);
    }
    if (code == EXIT_FINE && !json) {
        print_look("after", &l[2]);
    }
    if (code == EXIT_FINE) {
        code = report(args, end, l);
    }
    json_decref(end);
    return code;
}

static int run(const struct cli_args *args)
{
    const char *file = cli_word(args, 2);
    const char *after = cli_value(args, "after");
    struct look l[3] = {{0}};
    uint64_t after_ns = LOOK_S * VV_SEC;
    json_t *o = NULL;
    if (cli_word(args, 1) == NULL || cli_value(args, "share") == NULL) {
        return cli_fail(EXIT_USAGE, "say which fault and its share: %s", example_chaos);
    }
    if (after != NULL && vv_parse_duration(vv_str_from(after), &after_ns) != VV_OK) {
        return cli_fail(EXIT_USAGE, "--after \"%s\" is no time: write 10s", after);
    }
    int code = look(args, file, LOOK_S, &l[0]);
    if (code != EXIT_FINE) {
        return code;
    }
    struct sigaction a = {.sa_handler = on_signal};
    (void)sigaction(SIGINT, &a, NULL);
    (void)sigaction(SIGTERM, &a, NULL);
    char *body = order_body(args);
    code = client_json_send(args, file, "POST", "/api/v1/chaos", vv_str_from(body), &o);
    free(body);
    if (code != EXIT_FINE) {
        return code;
    }
    const double id = json_num(o, "id");
    if (cli_flag(args, "detach")) {
        if (cli_flag(args, "json")) {
            cli_print_json(o);
        } else {
            (void)printf("fault %.0f is active; `vivace chaos stop %.0f` ends it early\n", id, id);
        }
    } else {
        if (!cli_flag(args, "json")) {
            print_look("before", &l[0]);
        }
        code = follow(args, file, id, l, after_ns);
    }
    json_decref(o);
    return code;
}

/* ---- list and stop ---- */

static void detail(const json_t *o, char *buf, size_t buf_bytes)
{
    const char *kind = json_text(o, "fault");
    if (strcmp(kind, "delay") == 0) {
        (void)snprintf(buf, buf_bytes, "%s +%s", json_text(o, "delay"), json_text(o, "jitter"));
    } else if (strcmp(kind, "abort") == 0) {
        (void)snprintf(buf, buf_bytes, "status %.0f", json_num(o, "status"));
    } else if (json_object_get(o, "bytes") != NULL) {
        (void)snprintf(buf, buf_bytes, "%.0f bytes%s", json_num(o, "bytes"),
                       strcmp(kind, "slow") == 0 ? "/s" : "");
    } else {
        buf[0] = '\0';
    }
}

static const char *or_all(const char *name)
{
    return name[0] != '\0' ? name : "all";
}

static void print_list(const json_t *list)
{
    static const char *const titles[] = {"ID",    "FAULT",   "DETAIL", ">SHARE",
                                         "ROUTE", "SERVICE", ">LEFT",  ">STRUCK"};
    struct table t;
    char buf[TABLE_CELL];
    if (!table_init(&t, titles, VV_COUNT(titles))) {
        return;
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *o = json_array_get(list, i);
        if (!table_row(&t, NULL)) {
            break;
        }
        detail(o, buf, sizeof buf);
        table_cell(&t, 0, "%.0f", json_num(o, "id"));
        table_cell(&t, 1, "%s", json_text(o, "fault"));
        table_cell(&t, 2, "%s", buf);
        table_cell(&t, 3, "%s", json_text(o, "share"));
        table_cell(&t, 4, "%.40s", or_all(json_text(o, "route")));
        table_cell(&t, 5, "%.40s", or_all(json_text(o, "service")));
        table_cell(&t, 6, "%.0fs", json_num(o, "left_s"));
        table_cell(&t, 7, "%.0f of %.0f", json_num(o, "struck"), json_num(o, "asked"));
    }
    struct vv_sb out = VV_SB_INIT;
    table_print(&t, 0, SIZE_MAX, 200, false, "\n", &out);
    cli_print(vv_sb_str(&out));
    vv_sb_fini(&out);
    table_fini(&t);
}

static int list(const struct cli_args *args)
{
    json_t *o = NULL;
    const int code = client_json(args, cli_word(args, 1), "GET", "/api/v1/chaos", &o);
    if (code != EXIT_FINE) {
        return code;
    }
    const json_t *active = json_object_get(o, "active");
    if (cli_flag(args, "json")) {
        cli_print_json(o);
    } else if (json_array_size(active) > 0) {
        print_list(active);
    } else {
        (void)puts(json_is_true(json_object_get(o, "enabled"))
                       ? "no fault is active"
                       : "faults are not enabled here: chaos: {enabled: true}");
    }
    json_decref(o);
    return EXIT_FINE;
}

static int stop_words(const struct cli_args *args)
{
    const char *word = cli_word(args, 1);
    uint64_t id = 0;
    const bool one = word != NULL && vv_str_to_u64(vv_str_from(word), &id) == VV_OK;
    const char *file = one ? cli_word(args, 2) : word;
    json_t *o = NULL;
    if (one) {
        return stop(args, file, (double)id);
    }
    const int code = client_json(args, file, "DELETE", "/api/v1/chaos", &o);
    if (code == EXIT_FINE) {
        (void)printf("stopped %.0f\n", json_num(o, "stopped"));
    }
    json_decref(o);
    return code;
}

int verb_chaos(const struct cli_args *args)
{
    const char *what = cli_word(args, 0);
    if (what != NULL && strcmp(what, "run") == 0) {
        return run(args);
    }
    if (what != NULL && strcmp(what, "list") == 0) {
        return list(args);
    }
    if (what != NULL && strcmp(what, "stop") == 0) {
        return stop_words(args);
    }
    return cli_fail(EXIT_USAGE, "say " WHATS ": %s", example_chaos);
}
