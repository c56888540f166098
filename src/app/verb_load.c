/* src/app/verb_load.c - `vivace load`: the load tester's command line. One verb with four forms that share
 * most of their options: a run, compare, limit and agent. */
#include "app/load.h"

#include <string.h>

const struct cli_option options_load[] = {
    {'r', "rate", "RATE", "open model: arrivals, 500/s or 30000/m; default 10/s"},
    {0, "ramp-to", "NUMBER", "rate, or users, at the end of the run"},
    {'u', "users", "NUMBER", "closed model: users at work at the same time"},
    {'d', "for", "DURATION", "how long, default 10s"},
    {0, "poisson", NULL, "arrivals at random instead of evenly"},
    {'X', "method", "NAME", "default GET, with a body POST"},
    {'H', "header", "TEXT", "\"name: value\"; repeat for more"},
    {'b', "body", "TEXT", "body, or @FILE"},
    {'j', "json-body", "JSON", "body with content type application/json, or @FILE"},
    {0, "expect", "STATUS", "anything else is an error; default below 400"},
    {0, "timeout", "DURATION", "of one request, default 10s"},
    {'g', "gate", "EXPRESSION", "\"p95 < 200ms\": exit 99 when missed; repeat for more"},
    {0, "profile", "NAME", "smoke, load, stress or spike: users, time and gates"},
    {'t', "target", "URL", "instead of the file's"},
    {'e', "environment", "NAME", "one of the file's environments"},
    {'p', "payload", "CSV", "rows for the users, instead of the file's"},
    {'v', "variables", "JSON", "an object, over the file's"},
    {0, "overrides", "JSON", "an object, over the file's config"},
    {0, "scenario-name", "NAME", "this scenario only"},
    {0, "strict", NULL, "unknown keys of the file are errors"},
    {'o', "output", "FILE", "report as JSON (Artillery's keys); `compare` reads it"},
    {0, "html", "FILE", "report as one page with charts"},
    {0, "junit", "FILE", "gates as test cases, JUnit XML"},
    {'k', "insecure", NULL, "do not check certificates"},
    {0, "ca", "FILE", "trust these (PEM) instead of the system's"},
    {0, "threads", "NUMBER", "of the generator, default 1"},
    {0, "seed", "NUMBER", "the same choices again"},
    {0, "allow-late", NULL, "a late generator does not make the run invalid"},
    {0, "agents", "LIST", "run on these agents together: host:port,host:port"},
    {0, "listen", "ADDRESS", "agent: where, default 127.0.0.1:9190"},
    {0, "run", "NAME=URL", "compare: run both in turn instead of reading files; twice"},
    {0, "rounds", "NUMBER", "compare: so many rounds of each, default 10"},
    {0, "tolerance", "SHARE", "compare: worse by less is fine, default 0%"},
    {0, "admin", "URL", "limit: the gateway's admin listener, to name what gave out"},
    {0, "start", "RATE", "limit: first rate to try, default 10/s"},
    {0, "max", "RATE", "limit: last rate to try, default 100000/s"},
    {0, "precision", "SHARE", "limit: how narrow, default 2%"},
    {0, "step", "DURATION", "limit: of one step, compare: of one round; default 5s"},
    {'q', "quiet", NULL, "no live view"},
    CLI_JSON_OPTION,
    CLI_COLOR_OPTION,
    CLI_HELP_OPTION,
    {0},
};
const char example_load[] = "vivace load http://127.0.0.1:8080/ --rate 500 --for 30s "
                            "--gate 'p95 < 200ms'";

static int run_one(const struct cli_args *args)
{
    const char *first = cli_word(args, 0), *what = first, *profile = cli_value(args, "profile");
    struct cli_load s;
    if (first != NULL && cli_load_is_profile(first)) {
        profile = first;
        what = cli_word(args, 1);
    }
    if (args->words_count > (what == first ? 1 : 2)) {
        return cli_fail(EXIT_USAGE, "too many words: %s", example_load);
    }
    int code = cli_load_setup(args, what, profile, 0.0, 0, &s);
    if (code != EXIT_FINE) {
        return code;
    }
    cli_load_catch_signals();
    struct vv_load_result *r =
        cli_load_run(args, &s, !cli_flag(args, "quiet") && !cli_flag(args, "json"));
    code = r != NULL ? cli_load_report(args, &s, r) : EXIT_FAILED;
    vv_load_result_free(r);
    cli_load_setup_free(&s);
    return code;
}

int verb_load(const struct cli_args *args)
{
    static const struct {
        const char *word;
        int (*run)(const struct cli_args *args);
    } forms[] = {
        {"compare", cli_load_compare}, {"limit", cli_load_limit}, {"agent", cli_load_agent}};
    const char *first = cli_word(args, 0);
    for (size_t i = 0; first != NULL && i < VV_COUNT(forms); i++) {
        if (strcmp(first, forms[i].word) == 0) {
            return forms[i].run(args);
        }
    }
    return run_one(args);
}
