/* src/app/load_setup.c - from options to a job. A scenario file whose load is given on the command line is
 * not edited: its phases are overridden by JSON, the same way --overrides does it. */
#include "app/load.h"
#include "base/units.h"
#include "os/file.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_MAX (64U * 1024 * 1024)
#define DEFAULT_RATE 10.0
#define DEFAULT_FOR (10 * VV_SEC)
#define DEFAULT_FILE "load.yml"
#define THREADS_MAX 256

static const struct profile {
    const char *name;
    uint64_t users, for_ns, ramp_ns;
} profiles[] = {
    {"smoke", 5, 30 * VV_SEC, 0},
    {"load", 50, 5 * VV_MINUTE, 0},
    {"stress", 200, 10 * VV_MINUTE, 0},
    {"spike", 500, 2 * VV_MINUTE, 10 * VV_SEC},
};
static const char *const profile_gates[] = {"error_rate < 5%", "p95 < 2000ms", "p99 < 5000ms",
                                            "throughput > 10"};

static const struct profile *find_profile(const char *name)
{
    for (size_t i = 0; i < VV_COUNT(profiles); i++) {
        if (name != NULL && strcmp(profiles[i].name, name) == 0) {
            return &profiles[i];
        }
    }
    return NULL;
}

bool cli_load_is_profile(const char *word)
{
    return find_profile(word) != NULL;
}

static bool is_url(const char *what)
{
    return strncmp(what, "http://", 7) == 0 || strncmp(what, "https://", 8) == 0;
}

bool cli_load_duration(const struct cli_args *a, const char *option, uint64_t *ret_ns)
{
    const char *text = cli_value(a, option);
    uint64_t ns = 0;
    if (text == NULL) {
        return true;
    }
    if (vv_parse_duration(vv_str_from(text), &ns) != VV_OK || ns == 0) {
        (void)cli_fail(EXIT_USAGE, "--%s takes a duration, for example 30s", option);
        return false;
    }
    *ret_ns = ns;
    return true;
}

bool cli_load_number(const struct cli_args *a, const char *option, double *ret)
{
    const char *text = cli_value(a, option);
    char *end = NULL;
    struct vv_rate rate;
    if (text == NULL) {
        return true;
    }
    const double v = strtod(text, &end);
    if (end != text && *end == '\0' && v > 0.0 && v < 1e9) {
        *ret = v;
        return true;
    }
    if (vv_parse_rate(vv_str_from(text), &rate) == VV_OK && rate.count > 0) {
        *ret = (double)rate.count * 1e9 / (double)rate.per_ns;
        return true;
    }
    (void)cli_fail(EXIT_USAGE, "--%s takes a number above 0, for example 500 or 500/s", option);
    return false;
}

static bool whole(const struct cli_args *a, const char *option, uint64_t max, uint64_t *ret)
{
    const char *text = cli_value(a, option);
    uint64_t v = 0;
    if (text == NULL) {
        return true;
    }
    if (vv_str_to_u64(vv_str_from(text), &v) != VV_OK || v == 0 || v > max) {
        (void)cli_fail(EXIT_USAGE, "--%s takes a whole number from 1 to %llu", option,
                       (unsigned long long)max);
        return false;
    }
    *ret = v;
    return true;
}

static bool read_gates(const struct cli_args *a, bool profile, struct cli_load *s)
{
    const char *list[CLI_OPTIONS_MAX];
    const size_t count = cli_values(a, "gate", list, VV_COUNT(list));
    for (size_t i = 0; profile && i < VV_COUNT(profile_gates); i++) {
        s->gate[s->gate_count++] =
            (struct vv_load_gate){.expression = profile_gates[i], .strict = true};
    }
    for (size_t i = 0; i < count; i++) {
        size_t column = 0;
        const char *why = NULL;
        if (s->gate_count == LOAD_GATES_MAX) {
            (void)cli_fail(EXIT_USAGE, "at most %d gates", LOAD_GATES_MAX);
            return false;
        }
        if (vv_load_gate_check(list[i], &column, &why) != VV_OK) {
            (void)cli_fail(EXIT_USAGE, "--gate \"%s\", column %zu: %s", list[i], column, why);
            return false;
        }
        s->gate[s->gate_count++] = (struct vv_load_gate){.expression = list[i], .strict = true};
    }
    return true;
}

/* What the command line says about the load. *ret_given: something. */
static bool read_phase(const struct cli_args *a, const struct profile *p, struct vv_load_phase *ret,
                       bool *ret_given)
{
    double rate = 0.0, to = 0.0;
    *ret = (struct vv_load_phase){.ramp_to = -1.0};
    *ret_given = p != NULL || cli_value(a, "rate") != NULL || cli_value(a, "users") != NULL;
    if (p != NULL) {
        ret->duration_ns = p->for_ns;
        ret->users = p->users;
        ret->ramp_ns = p->ramp_ns;
    }
    if (!cli_load_duration(a, "for", &ret->duration_ns) || !cli_load_number(a, "rate", &rate) ||
        !cli_load_number(a, "ramp-to", &to) || !whole(a, "users", 1000000, &ret->users)) {
        return false;
    }
    if (rate > 0.0 && ret->users > 0) {
        (void)cli_fail(EXIT_USAGE, "--rate is the open model, %s the closed one: choose",
                       p != NULL ? "a profile" : "--users");
        return false;
    }
    if (to > 0.0 && rate <= 0.0 && ret->users == 0) {
        (void)cli_fail(EXIT_USAGE, "--ramp-to needs --rate or --users to begin with");
        return false;
    }
    if (to > 0.0 && ret->users > 0) {
        ret->users_to = (uint64_t)to;
    } else if (to > 0.0) {
        ret->ramp_to = to;
    }
    ret->rate = rate;
    ret->arrival = cli_flag(a, "poisson") ? VV_LOAD_POISSON : VV_LOAD_EVEN;
    return true;
}

/* ---- a scenario file ---- */

static json_t *span(uint64_t ns)
{
    return json_sprintf("%llums", (unsigned long long)(ns / VV_MS));
}

static json_t *phases_json(const struct vv_load_phase *p)
{
    json_t *list = json_array();
    uint64_t rest_ns = p->duration_ns;
    if (p->ramp_ns > 0 && p->users > 0 && p->users_to == 0 && p->ramp_ns < rest_ns) {
        (void)json_array_append_new(list,
                                    json_pack("{s:o, s:i, s:I}", "duration", span(p->ramp_ns),
                                              "users", 1, "rampUsersTo", (json_int_t)p->users));
        rest_ns -= p->ramp_ns;
    }
    json_t *one = json_pack("{s:o}", "duration", span(rest_ns));
    if (p->users > 0) {
        (void)json_object_set_new(one, "users", json_integer((json_int_t)p->users));
        if (p->users_to > 0) {
            (void)json_object_set_new(one, "rampUsersTo", json_integer((json_int_t)p->users_to));
        }
    } else {
        (void)json_object_set_new(one, "arrivalRate", json_real(p->rate));
        if (p->ramp_to >= 0.0) {
            (void)json_object_set_new(one, "rampTo", json_real(p->ramp_to));
        }
        if (p->arrival == VV_LOAD_POISSON) {
            (void)json_object_set_new(one, "arrival", json_string("poisson"));
        }
    }
    (void)json_array_append_new(list, one);
    return list;
}

static bool merge_overrides(const struct cli_args *a, const struct vv_load_phase *phase,
                            struct cli_load *s)
{
    const char *given = cli_value(a, "overrides");
    json_error_t where;
    json_t *o = given != NULL ? json_loads(given, 0, &where) : json_object();
    if (o == NULL || !json_is_object(o)) {
        (void)cli_fail(EXIT_USAGE, "--overrides takes a JSON object%s%s", o == NULL ? ": " : "",
                       o == NULL ? where.text : "");
        json_decref(o);
        return false;
    }
    /* Artillery writes {"config": {...}}; the inside alone is taken too. */
    json_t *config = json_object_get(o, "config");
    config = json_is_object(config) ? config : o;
    if (phase != NULL) {
        (void)json_object_set_new(config, "phases", phases_json(phase));
    }
    if (cli_flag(a, "insecure") || s->ca != NULL) {
        json_t *tls = json_object_get(config, "tls");
        if (!json_is_object(tls)) {
            (void)json_object_set_new(config, "tls", json_object());
            tls = json_object_get(config, "tls");
        }
        if (cli_flag(a, "insecure")) {
            (void)json_object_set_new(tls, "rejectUnauthorized", json_false());
        }
        if (s->ca != NULL) {
            (void)json_object_set_new(tls, "ca", json_string(s->ca));
        }
    }
    s->overrides = json_object_size(config) > 0 ? json_dumps(config, JSON_COMPACT) : NULL;
    json_decref(o);
    return true;
}

static int setup_file(const struct cli_args *a, const char *path, const struct vv_load_phase *phase,
                      struct cli_load *s)
{
    static char real[PATH_MAX]; /* agents need it absolute; one file per process */
    size_t bytes = 0;
    const enum vv_err err = vv_file_read(path, FILE_MAX, &s->text, &bytes);
    if (err != VV_OK) {
        return cli_fail(EXIT_USAGE, "%s: %s", path, vv_err_text(err));
    }
    if (strlen(s->text) != bytes) {
        return cli_fail(EXIT_USAGE, "%s: this is no text", path);
    }
    if (!merge_overrides(a, phase, s)) {
        return EXIT_USAGE;
    }
    const char *agents = cli_value(a, "agents");
    s->job.source = (struct vv_load_source){
        .path = agents != NULL && realpath(path, real) != NULL ? real : path,
        .text = s->text,
        .environment = cli_value(a, "environment"),
        .target = cli_value(a, "target"),
        .variables = cli_value(a, "variables"),
        .overrides = s->overrides,
        .payload = cli_value(a, "payload"),
        .scenario = cli_value(a, "scenario-name"),
        .strict = cli_flag(a, "strict"),
    };
    return EXIT_FINE;
}

/* ---- a URL ---- */

static int read_body(const struct cli_args *a, struct cli_load *s)
{
    const char *body = cli_value(a, "body"), *json = cli_value(a, "json-body");
    const char *text = json != NULL ? json : body;
    size_t bytes = 0;
    if (body != NULL && json != NULL) {
        return cli_fail(EXIT_USAGE, "--body and --json-body exclude each other");
    }
    if (text != NULL && text[0] == '@') {
        const enum vv_err err = vv_file_read(text + 1, FILE_MAX, &s->body, &bytes);
        if (err != VV_OK) {
            return cli_fail(EXIT_USAGE, "%s: %s", text + 1, vv_err_text(err));
        }
        if (strlen(s->body) != bytes) {
            return cli_fail(EXIT_USAGE, "%s: a body with NUL bytes cannot be sent", text + 1);
        }
        text = s->body;
    }
    s->job.line.body = text;
    if (json != NULL) {
        json_t *o = json_loads(text, JSON_DECODE_ANY, NULL);
        if (o == NULL) {
            return cli_fail(EXIT_USAGE, "--json-body takes JSON");
        }
        json_decref(o);
        s->header[s->job.line.header_count++] = "content-type: application/json";
    }
    return EXIT_FINE;
}

static int setup_line(const struct cli_args *a, const char *url, const struct vv_load_phase *phase,
                      struct cli_load *s)
{
    struct vv_load_line *l = &s->job.line;
    uint64_t status = 0;
    s->job.is_line = true;
    l->header_count = cli_values(a, "header", s->header, CLI_OPTIONS_MAX - 1);
    const int code = read_body(a, s);
    if (code != EXIT_FINE) {
        return code;
    }
    l->url = url;
    l->headers = s->header;
    l->tls_insecure = cli_flag(a, "insecure");
    l->tls_ca = s->ca;
    l->method = cli_value(a, "method");
    if (l->method == NULL && l->body != NULL) {
        l->method = "POST";
    }
    l->phase = *phase;
    if (l->phase.rate <= 0.0 && l->phase.users == 0) {
        l->phase.rate = DEFAULT_RATE;
    }
    if (l->phase.duration_ns == 0) {
        l->phase.duration_ns = DEFAULT_FOR;
    }
    if (!cli_load_duration(a, "timeout", &l->timeout_ns) || !whole(a, "expect", 599, &status)) {
        return EXIT_USAGE;
    }
    l->expect_status = (int)status;
    return EXIT_FINE;
}

/* ---- both ---- */

static int build(const struct cli_args *a, struct cli_load *s)
{
    struct vv_conf_problems *problems = vv_conf_problems_new();
    struct vv_sb out = VV_SB_INIT;
    enum vv_err err = problems != NULL ? vv_load_job_plan(&s->job, problems, &s->plan) : VV_ENOMEM;
    if (problems != NULL) {
        vv_conf_problems_print(problems, cli_color(a, stderr), "Nothing was sent.", &out);
        (void)fwrite(vv_sb_str(&out).p, 1, out.n, stderr);
    }
    vv_sb_fini(&out);
    vv_conf_problems_free(problems);
    if (err == VV_OK) {
        vv_load_plan_view(s->plan, &s->view);
        return EXIT_FINE;
    }
    return err == VV_ECONFIG ? EXIT_USAGE : cli_fail(EXIT_FAILED, "%s", vv_err_text(err));
}

static const char *choose(const struct cli_args *a, const char *what, const struct profile *p)
{
    if (what != NULL) {
        return what;
    }
    if (p != NULL && access(DEFAULT_FILE, R_OK) == 0) {
        return DEFAULT_FILE;
    }
    return cli_value(a, "target");
}

static int fill(const struct cli_args *a, const char *what, const char *profile, double rate,
                uint64_t for_ns, struct cli_load *s)
{
    const struct profile *p = find_profile(profile);
    struct vv_load_phase phase;
    uint64_t threads = 0;
    bool given;
    if (profile != NULL && p == NULL) {
        return cli_fail(EXIT_USAGE, "there is no profile \"%s\": smoke, load, stress or spike",
                        profile);
    }
    what = choose(a, what, p);
    if (what == NULL) {
        return cli_fail(EXIT_USAGE,
                        p != NULL ? "what shall be loaded? vivace load %s URL|FILE"
                                  : "give a URL or a scenario file%s: `vivace help load`",
                        p != NULL ? profile : "");
    }
    if (!read_phase(a, p, &phase, &given) || !whole(a, "threads", THREADS_MAX, &threads) ||
        !whole(a, "seed", UINT64_MAX, &s->job.seed) || !read_gates(a, p != NULL, s)) {
        return EXIT_USAGE;
    }
    if (rate > 0.0) {
        phase = (struct vv_load_phase){
            .duration_ns = for_ns, .rate = rate, .ramp_to = -1.0, .arrival = phase.arrival};
        given = true;
    } else if (for_ns > 0) {
        phase.duration_ns = for_ns;
    }
    if (!given && !is_url(what) && cli_value(a, "for") != NULL) {
        return cli_fail(EXIT_USAGE, "--for needs --rate or --users when a file has its phases");
    }
    if (given && phase.duration_ns == 0) {
        phase.duration_ns = DEFAULT_FOR;
    }
    const char *ca = cli_value(a, "ca");
    if (ca != NULL && (s->ca = realpath(ca, NULL)) == NULL) { /* agents need it absolute */
        return cli_fail(EXIT_USAGE, "%s: no such file", ca);
    }
    s->job.threads = (unsigned)threads;
    s->job.allow_late = cli_flag(a, "allow-late");
    const int code = is_url(what) ? setup_line(a, what, &phase, s)
                                  : setup_file(a, what, given ? &phase : NULL, s);
    return code == EXIT_FINE ? build(a, s) : code;
}

int cli_load_setup(const struct cli_args *a, const char *what, const char *profile, double rate,
                   uint64_t for_ns, struct cli_load *ret)
{
    *ret = (struct cli_load){0};
    const int code = fill(a, what, profile, rate, for_ns, ret);
    if (code != EXIT_FINE) {
        cli_load_setup_free(ret);
    }
    return code;
}

void cli_load_setup_free(struct cli_load *s)
{
    vv_load_plan_free(s->plan);
    free(s->text);
    free(s->body);
    free(s->overrides);
    free(s->ca);
    *s = (struct cli_load){0};
}
