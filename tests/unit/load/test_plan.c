/* tests/unit/load/test_plan.c - reading scenario files: what is accepted, refused, and where it stands. */
#include "load_test.h"

#include <unistd.h>

#define CONFIG "config: {target: 'http://h', phases: [{duration: 1, arrivalRate: 1}]}\n"
#define FLOW "scenarios: [{flow: [{get: {url: /}}]}]\n"

VV_TEST(phases_have_one_of_four_forms)
{
    struct vv_load_plan *plan = plan_of("config:\n"
                                        "  target: http://h\n"
                                        "  phases:\n"
                                        "    - {duration: 90s, arrivalRate: '10', rampTo: 20.5}\n"
                                        "    - {duration: 1.5h, arrivalCount: 30, maxVusers: 4}\n"
                                        "    - {pause: 5}\n"
                                        "    - {duration: 2m, users: 500, ramp: 10s}\n" FLOW);
    struct vv_load_view v;
    vv_load_plan_view(plan, &v);
    VV_CHECK_INT(v.phase_count, 4);
    VV_CHECK_INT(v.phase[0].duration_ns, 90 * VV_SEC);
    VV_CHECK(v.phase[0].rate == 10 && v.phase[0].ramp_to == 20.5);
    VV_CHECK_INT(v.phase[1].duration_ns, 5400 * VV_SEC);
    VV_CHECK_INT(v.phase[1].count, 30);
    VV_CHECK_INT(v.phase[1].users_max, 4);
    VV_CHECK(v.phase[1].ramp_to < 0);
    VV_CHECK_INT(v.phase[2].duration_ns, 5 * VV_SEC);
    VV_CHECK(v.phase[2].rate == 0 && v.phase[2].count == 0 && v.phase[2].users == 0);
    VV_CHECK_INT(v.phase[3].users, 500);
    VV_CHECK_INT(v.phase[3].ramp_ns, 10 * VV_SEC);
    vv_load_plan_free(plan);
}

VV_TEST(mistakes_are_named_where_they_stand)
{
    check_says(
        "config:\n  target: http://h\n  phases:\n    - duration: 1\n      arivalRate: 5\n" FLOW,
        "test.yml:5:7: warning: unknown key \"arivalRate\" in a phase is ignored");
    check_says(
        "config:\n  target: http://h\n  phases:\n    - duration: 1\n      arivalRate: 5\n" FLOW,
        "did you mean \"arrivalRate\"?");
    check_says("config: {target: 'http://h', phases: [{duration: 1}]}\n" FLOW,
               "a phase needs one of arrivalRate, arrivalCount, users or pause");
    check_says(
        "config: {target: 'http://h', phases: [{duration: 1, users: 1, arrivalRate: 1}]}\n" FLOW,
        "exclude each other");
    check_says("config: {target: 'http://h', phases: [{duration: soon, arrivalRate: 1}]}\n" FLOW,
               "test.yml:1:50: error: duration must be a time");
    check_says("config: {target: 'ftp://h', phases: [{duration: 1, arrivalRate: 1}]}\n" FLOW,
               "the target must be a URL of http or https, not \"ftp://h\"");
    check_says(CONFIG "scenarios: [{flow: [{get: {}}]}]\n",
               "test.yml:2:27: error: a request needs a url");
    check_says(CONFIG "scenarios: [{flow: [{gte: {url: /}}]}]\n", "a step is one of get, post");
    check_says(CONFIG "scenarios: [{flow: [{get: {url: '{{ $now() }}'}}]}]\n", "need JavaScript");
    check_says(CONFIG "scenarios: []\n", "there are no scenarios");
    check_says(FLOW "config: {target: 'http://h'}\n", "there are no phases");
    check_says(FLOW "config: {phases: [{pause: 1}]}\n", "there is no target");
    check_says("", "it is empty");
    check_says("config: [\n", "test.yml:");
}

VV_TEST(what_needs_javascript_is_refused_with_its_line)
{
    check_says("config:\n  target: http://h\n  processor: ./code.js\n  phases: [{pause: 1}]\n" FLOW,
               "test.yml:3:14: error: processor needs JavaScript");
    check_says(CONFIG "scenarios:\n  - flow:\n      - function: sign\n",
               "test.yml:4:9: error: function needs JavaScript");
    check_says(CONFIG "scenarios:\n  - flow:\n      - get: {url: /, beforeRequest: sign}\n",
               "test.yml:4:23: error: beforeRequest needs JavaScript");
    check_says(CONFIG "scenarios:\n  - flow:\n      - loop: []\n        whileTrue: more\n",
               "test.yml:5:9: error: whileTrue needs JavaScript");
    check_says("config: {target: 'http://h', phases: [{pause: 1}], plugins: {faker: {}}}\n" FLOW,
               "the plugin faker needs JavaScript");
    check_says(CONFIG "scenarios: [{flow: [{parallel: []}]}]\n", "parallel is not supported");
}

VV_TEST(unknown_keys_are_errors_when_strict)
{
    struct read r = read_source(&(struct vv_load_source){
        .path = "t",
        .text = "config: {tarhet: 1, target: 'http://h', phases: [{pause: 1}]}\n" FLOW,
        .strict = true});
    VV_CHECK(r.plan == NULL);
    VV_CHECK(strstr(r.problems, "error: unknown key \"tarhet\"") != NULL);
    free(r.problems);
}

VV_TEST(a_variable_that_nothing_sets_is_named_with_the_nearest_one)
{
    check_says("config: {target: 'http://h', phases: [{pause: 1}], variables: {user: ada}}\n"
               "scenarios: [{flow: [{get: {url: '/{{ usr }}'}}]}]\n",
               "test.yml:2:33: warning: nothing gives \"usr\" a value");
    check_says("config: {target: 'http://h', phases: [{pause: 1}], variables: {user: ada}}\n"
               "scenarios: [{flow: [{get: {url: '/{{ usr }}'}}]}]\n",
               "did you mean \"user\"?");
}

VV_TEST(the_target_comes_from_the_file_the_environment_or_the_command_line)
{
    static const char text[] = "config:\n"
                               "  target: '{{ $env.PLACE }}/base'\n"
                               "  phases: [{pause: 1}]\n"
                               "  environments: {local: {target: 'http://local:81'}}\n" FLOW;
    struct vv_load_source s = {.path = "t", .text = text, .env = test_env};
    static const char *const want[] = {"http://shop.test:8080/base", "http://local:81",
                                       "http://x:1"};
    for (int i = 0; i < 3; i++) {
        s.environment = i == 1 ? "local" : NULL;
        s.target = i == 2 ? "x:1" : NULL;
        struct read r = read_source(&s);
        struct vv_load_view v;
        VV_CHECK_STR(r.problems, "");
        vv_load_plan_view(r.plan, &v);
        VV_CHECK_STR(v.target, want[i]);
        free(r.problems);
        vv_load_plan_free(r.plan);
    }
    s.environment = "nowhere";
    struct read r = read_source(&s);
    VV_CHECK(strstr(r.problems, "there is no environment named nowhere") != NULL);
    free(r.problems);
}

VV_TEST(overrides_replace_parts_of_the_config)
{
    struct read r = read_source(&(struct vv_load_source){
        .path = "t",
        .text = CONFIG FLOW,
        .overrides = "{\"config\": {\"phases\": [{\"duration\": 7, \"arrivalRate\": 3}]}}"});
    struct vv_load_view v;
    VV_CHECK_STR(r.problems, "");
    vv_load_plan_view(r.plan, &v);
    VV_CHECK_INT(v.phase_count, 1);
    VV_CHECK_INT(v.phase[0].duration_ns, 7 * VV_SEC);
    free(r.problems);
    vv_load_plan_free(r.plan);
}

static void check_tls(const char *text, const char *overrides, bool tls, bool insecure,
                      const char *ca)
{
    struct read r = read_source(
        &(struct vv_load_source){.path = "test.yml", .text = text, .overrides = overrides});
    struct vv_load_view v;
    VV_CHECK_STR(r.problems, "");
    vv_load_plan_view(r.plan, &v);
    VV_CHECK_INT(v.tls, tls);
    VV_CHECK_INT(v.tls_insecure, insecure);
    VV_CHECK_STR(v.tls_ca != NULL ? v.tls_ca : "none", ca);
    free(r.problems);
    vv_load_plan_free(r.plan);
}

#define PHASES "phases: [{duration: 1, arrivalRate: 1}]"
#define SHORT "target: https://h, rate: 1, for: 1s, scenarios: {a: {get: /}}"

VV_TEST(the_plan_knows_whether_tls_is_needed_and_whom_to_trust)
{
    char path[] = "/tmp/vivace-plan-XXXXXX", text[512];
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    check_tls(CONFIG FLOW, NULL, false, false, "none");
    check_tls("config: {target: 'https://h', " PHASES "}\n" FLOW, NULL, true, false, "none");
    check_tls(CONFIG "scenarios: [{flow: [{get: {url: 'https://other/'}}]}]\n", NULL, true, false,
              "none");
    check_tls(CONFIG "scenarios: [{flow: [{get: {url: 'https://other/{{ $uuid }}'}}]}]\n", NULL,
              true, false, "none");
    check_tls("config: {target: 'http://h', tls: {rejectUnauthorized: false}, " PHASES "}\n" FLOW,
              NULL, false, true, "none");
    snprintf(text, sizeof text, "{" SHORT ", tls: {ca: %s}}\n", path);
    check_tls(text, NULL, true, false, path);
    check_tls("{" SHORT "}\n", "{\"tls\": {\"rejectUnauthorized\": false}}", true, true, "none");
    check_tls("{load: {" SHORT "}}\n", "{\"tls\": {\"rejectUnauthorized\": false}}", true, true,
              "none");
    unlink(path);
    snprintf(text, sizeof text, "config: {target: 'https://h', tls: {ca: %s}, " PHASES "}\n" FLOW,
             path);
    check_says(text, "cannot read /tmp/vivace-plan-");
}

VV_TEST(ensure_and_its_plugin_become_gates_once)
{
    struct vv_load_plan *plan = plan_of("config:\n"
                                        "  target: http://h\n"
                                        "  phases: [{pause: 1}]\n"
                                        "  ensure: {p95: 2000, maxErrorRate: 5}\n"
                                        "  plugins:\n"
                                        "    metrics-by-endpoint: {}\n"
                                        "    ensure:\n"
                                        "      p95: 2000\n"
                                        "      thresholds: [{http.response_time.p99: 50}]\n"
                                        "      conditions:\n"
                                        "        - {expression: 'http.request_rate > 10 and "
                                        "http.codes.200 > 1', strict: false}\n" FLOW);
    struct vv_load_view v;
    vv_load_plan_view(plan, &v);
    VV_CHECK_INT(v.gate_count, 4);
    VV_CHECK_STR(v.gate[0].expression, "http.response_time.p95 < 2000");
    VV_CHECK_STR(v.gate[1].expression,
                 "(vusers.created - vusers.completed) / vusers.created * 100 <= 5");
    VV_CHECK_STR(v.gate[2].expression, "http.response_time.p99 < 50");
    VV_CHECK_STR(v.gate[3].expression, "http.request_rate > 10 and http.codes.200 > 1");
    VV_CHECK(v.gate[0].strict && !v.gate[3].strict);
    VV_CHECK_INT(v.gate[3].at.line, 11);
    VV_CHECK_STR(v.gate[3].at.file, "test.yml");
    vv_load_plan_free(plan);
    check_says("config: {target: 'http://h', phases: [{pause: 1}], ensure: {conditions: ['p95 "
               "<']}}\n" FLOW,
               "test.yml:1:");
}

/* ---- short form and profiles ---------------------------------------------------------------- */

static const char shop[] =
    "target: http://h\n"
    "pass: {errors: 5%, p95: 2s, throughput: 10/s}\n"
    "tests:\n"
    "  smoke: {users: 5, for: 30s}\n"
    "  us: {rate: 600/m, for: 10s, pass: {p50: 50ms}}\n"
    "scenarios:\n"
    "  ideas: {weight: 40, post: /ideas, body: {topic: a}, expect: 200, timeout: 15s}\n"
    "  walk: {weight: 60, steps: [{get: /a}, {think: 500ms}, {get: /b, expect: 204}]}\n";

VV_TEST(the_short_form_has_tests_pass_and_scenarios_of_one_line)
{
    struct read r =
        read_source(&(struct vv_load_source){.path = "test.yml", .text = shop, .profile = "us"});
    struct vv_load_view v;
    VV_CHECK_STR(r.problems, "");
    vv_load_plan_view(r.plan, &v);
    VV_CHECK_INT(v.phase_count, 1);
    VV_CHECK(v.phase[0].rate == 10); /* 600 a minute */
    VV_CHECK_INT(v.gate_count, 4);
    VV_CHECK_STR(v.gate[0].expression, "vivace.error_rate < 5");
    VV_CHECK_STR(v.gate[1].expression, "vivace.latency.p95 < 2000");
    VV_CHECK_STR(v.gate[2].expression, "vivace.throughput > 10");
    VV_CHECK_STR(v.gate[3].expression, "vivace.latency.p50 < 50");
    VV_CHECK_INT(v.scenario_count, 2);
    VV_CHECK_STR(v.scenario[0], "ideas");
    VV_CHECK_INT(v.endpoint_count, 3);
    VV_CHECK_STR(v.endpoint[2].name, "/b");
    free(r.problems);
    vv_load_plan_free(r.plan);
    check_says(shop, "there are several tests: choose one with --profile NAME");
}

VV_TEST(a_request_of_the_short_form_says_what_it_expects)
{
    struct read r = read_source(&(struct vv_load_source){
        .path = "test.yml", .text = shop, .profile = "smoke", .scenario = "ideas"});
    struct vv_rng rng;
    struct vv_load_request q;
    uint64_t think = 0;
    vv_rng_init(&rng, 3);
    VV_CHECK_STR(r.problems, "");
    struct vv_load_user *u = vv_load_user_new(r.plan, &rng);
    assert_non_null(u);
    VV_CHECK_INT(vv_load_user_next(u, &q, &think), VV_LOAD_REQUEST);
    VV_CHECK_INT(q.timeout_ns, 15 * VV_SEC);
    VV_CHECK(vv_str_ends(q.bytes, VV_STR("\r\n\r\n{\"topic\":\"a\"}")));
    VV_CHECK_STR(answer(u, "HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n"), "status");
    VV_CHECK_INT(vv_load_user_next(u, &q, &think), VV_LOAD_DONE); /* it goes on all the same */
    vv_load_user_free(u);
    free(r.problems);
    vv_load_plan_free(r.plan);
}

VV_TEST(profiles_are_known_by_name_and_need_no_file)
{
    static const struct {
        const char *name;
        uint64_t users, seconds, ramp;
    } want[] = {{"smoke", 5, 30, 0},
                {"load", 50, 300, 0},
                {"stress", 200, 600, 0},
                {"spike", 500, 120, 10}};
    for (size_t i = 0; i < VV_COUNT(want); i++) {
        struct read r = read_source(
            &(struct vv_load_source){.profile = want[i].name, .target = "127.0.0.1:80/x"});
        struct vv_load_view v;
        VV_CHECK_STR(r.problems, "");
        vv_load_plan_view(r.plan, &v);
        VV_CHECK_INT(v.phase[0].users, want[i].users);
        VV_CHECK_INT(v.phase[0].duration_ns, want[i].seconds * VV_SEC);
        VV_CHECK_INT(v.phase[0].ramp_ns, want[i].ramp * VV_SEC);
        VV_CHECK_INT(v.gate_count, 4); /* errors, p95, p99, throughput */
        free(r.problems);
        vv_load_plan_free(r.plan);
    }
    struct read r = read_source(&(struct vv_load_source){.profile = "smok", .target = "h"});
    VV_CHECK(strstr(r.problems, "there is no profile named smok") != NULL);
    free(r.problems);
}
