/* tests/unit/load/test_user.c - users at work: templates, data, loops, captures, cookies, redirects. */
#include "load_test.h"

#define HEAD "config: {target: 'http://h', phases: [{pause: 1}]}\n"

struct walk {
    struct vv_load_plan *plan;
    struct vv_load_user *user;
    struct vv_rng rng;
};

static void begin(struct walk *w, const char *text)
{
    w->plan = plan_of(text);
    assert_non_null(w->plan);
    vv_rng_init(&w->rng, 5);
    w->user = vv_load_user_new(w->plan, &w->rng);
    assert_non_null(w->user);
}

static void end(struct walk *w)
{
    vv_load_user_free(w->user);
    vv_load_plan_free(w->plan);
}

/* The target of the next request ("/a?b"), or the word for what came instead. */
static const char *next_target(struct walk *w)
{
    static char target[4096];
    const char *text = next_text(w->user);
    if (text == NULL) {
        return "(nothing)";
    }
    const char *from = strchr(text, ' ') + 1;
    snprintf(target, sizeof target, "%.*s", (int)(strchr(from, ' ') - from), from);
    return target;
}

static void check_targets(struct walk *w, const char *const *want)
{
    for (; *want != NULL; want++) {
        VV_CHECK_STR(next_target(w), *want);
        VV_CHECK(answer(w->user, OK_EMPTY) == NULL);
    }
    VV_CHECK_STR(next_target(w), "(nothing)");
}

/* ---- templates and data --------------------------------------------------------------------- */

VV_TEST(a_text_that_is_only_a_variable_keeps_its_type)
{
    struct walk w;
    begin(&w, "config:\n"
              "  target: http://h\n"
              "  phases: [{pause: 1}]\n"
              "  variables: {n: 7, o: {b: [1, x]}, t: 'a\"b'}\n"
              "scenarios:\n"
              "  - flow:\n"
              "      - post:\n"
              "          url: '/{{ o.b[1] }}'\n"
              "          json: {n: '{{ n }}', s: 'is {{n}}', o: '{{ o }}', d: 'o={{ o }}', t: '{{ "
              "t }}!',\n"
              "                 y: yes, z: ~, f: 1.50, l: [1e3, '{{ o.b[0] }}']}\n");
    const char *text = next_text(w.user);
    VV_CHECK(strncmp(text, "POST /x HTTP/1.1\r\n", 18) == 0);
    VV_CHECK_STR(
        strstr(text, "\r\n\r\n") + 4,
        "{\"n\":7,\"s\":\"is 7\",\"o\":{\"b\":[1,\"x\"]},\"d\":\"o={\\\"b\\\":[1,\\\"x\\\"]}\","
        "\"t\":\"a\\\"b!\",\"y\":\"yes\",\"z\":null,\"f\":1.5,\"l\":[1000,1]}");
    end(&w);
}

VV_TEST(an_undefined_variable_vanishes_alone_and_prints_undefined_in_text)
{
    struct read r =
        read_text(HEAD "scenarios: [{flow: [{post: {url: '/{{ no }}', json: {a: '{{ no }}', "
                       "b: 1, c: ['{{ no }}'], d: 'x{{ no }}'}}}]}]\n");
    struct vv_rng rng;
    vv_rng_init(&rng, 1);
    struct vv_load_user *u = vv_load_user_new(r.plan, &rng);
    const char *text = next_text(u);
    VV_CHECK(strncmp(text, "POST /undefined HTTP", 20) == 0);
    VV_CHECK_STR(strstr(text, "\r\n\r\n") + 4, "{\"b\":1,\"c\":[null],\"d\":\"xundefined\"}");
    vv_load_user_free(u);
    vv_load_plan_free(r.plan);
    free(r.problems);
}

VV_TEST(functions_are_evaluated_each_time_and_always_text)
{
    struct walk w;
    int a = 0, b = 0;
    char s[16] = "";
    begin(&w,
          HEAD "scenarios: [{flow: [{loop: [{post: {url: /, json: {a: '{{ $randomNumber(3, 5) }}',"
               " b: '{{$randomNumber(3,5)}}', s: '{{ $randomString(4) }}'}}}], count: 200}]}]\n");
    bool seen[6] = {false};
    bool different = false;
    for (int i = 0; i < 200; i++) {
        const char *body = strstr(next_text(w.user), "\r\n\r\n") + 4;
        VV_CHECK_INT(sscanf(body, "{\"a\":\"%d\",\"b\":\"%d\",\"s\":\"%4[a-zA-Z0-9]\"}", &a, &b, s),
                     3);
        VV_CHECK(a >= 3 && a <= 5 && b >= 3 && b <= 5);
        seen[a] = true;
        different = different || a != b;
        (void)answer(w.user, OK_EMPTY);
    }
    VV_CHECK(seen[3] && seen[4] && seen[5] && different); /* both ends are included */
    end(&w);
}

VV_TEST(rows_of_a_payload_come_in_order_with_their_types)
{
    struct vv_rng rng;
    static const char text[] =
        "config: {target: 'http://h', phases: [{pause: 1}], payload: {path: x.csv,"
        " fields: [name, age, code], order: sequence, skipHeader: true}}\n"
        "scenarios: [{flow: [{post: {url: /, json: ['{{ name }}', '{{ age }}', "
        "'{{ code }}']}}]}]\n";
    struct read r = read_source(&(struct vv_load_source){
        .path = "t", .text = text, .payload = VV_TEST_DATA "/load/users.csv"});
    VV_CHECK_STR(r.problems, "");
    static const char *const want[] = {"[\"ada\",36,7]", "[\"Bob, the \\\"second\\\"\",41,12]",
                                       "[\"ada\",36,7]"};
    vv_rng_init(&rng, 1);
    struct vv_load_user *u = vv_load_user_new(r.plan, &rng);
    for (size_t i = 0; i < VV_COUNT(want); i++) {
        VV_CHECK_STR(strstr(next_text(u), "\r\n\r\n") + 4, want[i]);
        vv_load_user_reset(u, &rng);
    }
    vv_load_user_free(u);
    vv_load_plan_free(r.plan);
    free(r.problems);
}

VV_TEST(a_list_among_the_variables_gives_each_user_one_of_its_values)
{
    struct walk w;
    bool seen[2] = {false, false};
    begin(&w, "config: {target: 'http://h', phases: [{pause: 1}], variables: {c: [0, 1]}}\n"
              "scenarios: [{flow: [{loop: [{get: {url: '/{{ c }}'}}], count: 2}]}]\n");
    for (int i = 0; i < 50; i++) {
        vv_load_user_reset(w.user, &w.rng);
        const char first = next_target(&w)[1];
        (void)answer(w.user, OK_EMPTY);
        VV_CHECK(next_target(&w)[1] == first); /* the same for the whole user */
        seen[first - '0'] = true;
    }
    VV_CHECK(seen[0] && seen[1]);
    end(&w);
}

/* ---- what a request is made of --------------------------------------------------------------- */

VV_TEST(forms_queries_cookies_and_credentials_are_encoded)
{
    struct walk w;
    begin(&w, HEAD
          "scenarios: [{flow: [{put: {url: '/a b?x=1', qs: {q: 'a&b c'}, form: {k: 'ü +', l: 2},\n"
          "  cookie: {sid: '5'}, auth: {user: Aladdin, pass: 'open sesame'}, gzip: false,\n"
          "  headers: {User-Agent: me, X-A: 1}}}]}]\n");
    /* "Aladdin:open sesame" is the example of RFC 7617; the form has 4 + 10 + 2 = 14 bytes:
     * k=%C3%BC+%2B is 12, &l=2 is 4, together 16; qs replaces ?x=1, as in Artillery */
    VV_CHECK_STR(next_text(w.user), "PUT /a%20b?q=a%26b+c HTTP/1.1\r\n"
                                    "host: h\r\n"
                                    "user-agent: me\r\n"
                                    "x-a: 1\r\n"
                                    "authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n"
                                    "cookie: sid=5\r\n"
                                    "content-type: application/x-www-form-urlencoded\r\n"
                                    "content-length: 16\r\n"
                                    "connection: keep-alive\r\n\r\n"
                                    "k=%C3%BC+%2B&l=2");
    end(&w);
}

VV_TEST(a_value_that_would_end_its_header_line_fails_the_user)
{
    struct walk w;
    begin(&w,
          "config: {target: 'http://h', phases: [{pause: 1}], variables: {v: \"a\\r\\nx: y\"}}\n"
          "scenarios: [{flow: [{get: {url: /, headers: {a: '{{ v }}'}}}]}]\n");
    struct vv_load_request q;
    uint64_t think = 0;
    VV_CHECK_INT(vv_load_user_next(w.user, &q, &think), VV_LOAD_FAILED);
    VV_CHECK_INT(vv_load_user_next(w.user, &q, &think), VV_LOAD_FAILED);
    end(&w);
}

/* ---- steps ----------------------------------------------------------------------------------- */

VV_TEST(loops_count_nest_and_walk_lists)
{
    struct walk w;
    begin(&w, HEAD "scenarios:\n"
                   "  - flow:\n"
                   "      - loop:\n"
                   "          - get: {url: '/{{ $loopCount }}'}\n"
                   "          - loop: [{get: {url: '/{{ $loopCount }}-{{ i }}'}}]\n"
                   "            count: '1-3'\n"
                   "            loopValue: i\n"
                   "        count: 2\n"
                   "      - loop: [{get: {url: '/{{ $loopElement.id }}'}}]\n"
                   "        over: [{id: a}, {id: b}]\n"
                   "      - loop: [{get: {url: /never}}]\n"
                   "        count: 0\n");
    static const char *const want[] = {"/0",   "/0-1", "/0-2", "/1", "/1-1",
                                       "/1-2", "/a",   "/b",   NULL};
    check_targets(&w, want);
    end(&w);
}

VV_TEST(think_waits_with_jitter_inside_its_share)
{
    struct walk w;
    struct vv_load_request q;
    uint64_t think = 0, least = UINT64_MAX, most = 0;
    begin(&w, HEAD
          "scenarios: [{flow: [{think: 1.5}, {think: 250ms}, {loop: [{think: 10, jitter: '20%'}],"
          " count: 300}]}]\n");
    VV_CHECK_INT(vv_load_user_next(w.user, &q, &think), VV_LOAD_THINK);
    VV_CHECK_INT(think, 1500 * VV_MS);
    VV_CHECK_INT(vv_load_user_next(w.user, &q, &think), VV_LOAD_THINK);
    VV_CHECK_INT(think, 250 * VV_MS);
    for (int i = 0; i < 300; i++) {
        VV_CHECK_INT(vv_load_user_next(w.user, &q, &think), VV_LOAD_THINK);
        least = think < least ? think : least;
        most = think > most ? think : most;
    }
    /* 10 s +- 2 s; 300 draws come within 0.2 s of both ends but with a chance of 0.95^300 = 2e-7 */
    VV_CHECK(least >= 8 * VV_SEC && least < 8200 * VV_MS);
    VV_CHECK(most <= 12 * VV_SEC && most > 11800 * VV_MS);
    VV_CHECK_INT(vv_load_user_next(w.user, &q, &think), VV_LOAD_DONE);
    end(&w);
}

VV_TEST(steps_are_taken_by_condition_and_by_chance)
{
    struct walk w;
    begin(&w, "config: {target: 'http://h', phases: [{pause: 1}], variables: {n: 3, who: ada}}\n"
              "scenarios:\n"
              "  - flow:\n"
              "      - get: {url: /1, ifTrue: 'n * 2 == 6 and not (who != \"ada\")'}\n"
              "      - get: {url: /2, ifTrue: 'n > 3'}\n"
              "      - get: {url: /3, probability: 0}\n"
              "      - get: {url: /4, probability: 100}\n");
    static const char *const want[] = {"/1", "/4", NULL};
    check_targets(&w, want);
    end(&w);
    check_says(HEAD "scenarios: [{flow: [{get: {url: /, ifTrue: 'a < '}}]}]\n",
               "character 5 of the condition: a variable, a number");
}

/* ---- answers --------------------------------------------------------------------------------- */

#define JSON_OK(body) "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-next: 9\r\n\r\n" body

VV_TEST(captures_carry_values_to_later_requests)
{
    struct walk w;
    begin(&w, HEAD "scenarios:\n"
                   "  - flow:\n"
                   "      - get:\n"
                   "          url: /\n"
                   "          capture:\n"
                   "            - {json: '$.items[-1].id', as: id}\n"
                   "            - {header: X-Next, as: next}\n"
                   "            - {regexp: '\"tag\": *\"(\\w+)\"', group: 1, as: tag}\n"
                   "            - {json: '$.items', as: items}\n"
                   "      - get: {url: '/{{ id }}/{{ next }}/{{ tag }}'}\n"
                   "      - loop: [{get: {url: '/i{{ $loopElement.id }}'}}]\n"
                   "        over: items\n");
    VV_CHECK_STR(next_target(&w), "/");
    VV_CHECK(answer(w.user, JSON_OK("{\"items\": [{\"id\": 1}, {\"id\": 12345678901234567890}],"
                                    " \"tag\": \"t_1\"}")) == NULL);
    static const char *const want[] = {"/12345678901234567890/9/t_1", "/i1",
                                       "/i12345678901234567890", NULL};
    check_targets(&w, want);
    end(&w);
}

VV_TEST(a_missing_capture_fails_the_user_unless_it_is_not_strict)
{
    for (int strict = 0; strict < 2; strict++) {
        struct walk w;
        struct vv_load_request q;
        uint64_t think = 0;
        begin(&w, strict ? HEAD
                      "scenarios: [{flow: [{get: {url: /, capture: {json: $.x, as: v}}}]}]\n"
                         : HEAD
                      "scenarios: [{flow: [{get: {url: /, capture: {json: $.x, as: v, strict: "
                      "false}}}]}]\n");
        (void)next_target(&w);
        const char *why = answer(w.user, JSON_OK("{}"));
        VV_CHECK((why != NULL) == (strict == 1));
        VV_CHECK(why == NULL || strcmp(why, "capture") == 0);
        VV_CHECK_INT(vv_load_user_next(w.user, &q, &think), strict ? VV_LOAD_FAILED : VV_LOAD_DONE);
        end(&w);
    }
}

/* Artillery's plugin counts every expectation of an answer, also those behind one that missed. */
VV_TEST(each_expectation_counts_under_its_kind)
{
    struct vv_load_plan *p = plan_of(
        HEAD "scenarios: [{flow: [{get: {url: /, expect: [{statusCode: 201}, {statusCode: 200}, "
             "{hasHeader: x-a}, {headerEquals: [x-a, two]}, {equals: [a, a]}]}},"
             "{get: {url: /, expect: {contentType: text/plain}}}]}]\n");
    struct vv_load_view view;
    struct vv_load_tally tally[5] = {{0, 0}};
    struct vv_rng rng;
    vv_load_plan_view(p, &view);
    VV_CHECK_INT(view.expect_count, 5);
    VV_CHECK_STR(view.expect[0], "statusCode");
    VV_CHECK_STR(view.expect[1], "hasHeader");
    VV_CHECK_STR(view.expect[2], "header x-a values equals");
    VV_CHECK_STR(view.expect[3], "equals");
    VV_CHECK_STR(view.expect[4], "contentType");
    vv_rng_init(&rng, 1);
    struct vv_load_user *u = vv_load_user_new(p, &rng);
    static const uint64_t ok[] = {1, 1, 0, 1, 0}, failed[] = {1, 0, 1, 0, 1};
    for (int i = 0; i < 2; i++) {
        VV_CHECK(next_text(u) != NULL);
        VV_CHECK_STR(
            answer_counted(u, "HTTP/1.1 200 OK\r\nx-a: one\r\ncontent-length: 0\r\n\r\n", tally),
            i == 0 ? "status" : "header");
    }
    for (size_t i = 0; i < VV_COUNT(ok); i++) {
        VV_CHECK_INT(tally[i].ok, ok[i]);
        VV_CHECK_INT(tally[i].failed, failed[i]);
    }
    vv_load_user_free(u);
    vv_load_plan_free(p);
}

VV_TEST(an_absolute_url_is_reported_by_what_the_target_has_not)
{
    static const struct {
        const char *url, *key;
    } cases[] = {{"/a", NULL},
                 {"http://shop.test:8080/a", "/a"},
                 {"http://shop.test:81/a/{{ x }}", ":81/a/{{ x }}"},
                 {"http://other.test:81?q=1", "other.test:81/"},
                 {"https://other.test/a", "other.test/a"},
                 {"{{ where }}/a", NULL}};
    for (size_t i = 0; i < VV_COUNT(cases); i++) {
        char text[512];
        struct vv_load_view view;
        snprintf(
            text, sizeof text,
            "config: {target: 'http://shop.test:8080', variables: {where: 'http://a.b', x: 1}, "
            "phases: [{duration: 1, arrivalRate: 1}]}\n"
            "scenarios: [{flow: [{get: {url: '%s'}}]}]\n",
            cases[i].url);
        struct read r = read_text(text);
        VV_CHECK(r.plan != NULL);
        vv_load_plan_view(r.plan, &view);
        if (cases[i].key != NULL) {
            VV_CHECK_STR(view.endpoint[0].key, cases[i].key);
        } else {
            VV_CHECK(view.endpoint[0].key == NULL);
        }
        free(r.problems);
        vv_load_plan_free(r.plan);
    }
}

VV_TEST(a_named_request_is_reported_under_its_url_and_its_name)
{
    static const struct {
        const char *plugin, *key;
    } cases[] = {{"{}", "/a?b=1 (cart)"}, /* once the plugin is named, the query stays */
                 {"{stripQueryString: true}", "/a (cart)"},
                 {"{useOnlyRequestNames: true}", NULL}};
    for (size_t i = 0; i < VV_COUNT(cases); i++) {
        char text[512];
        struct vv_load_view view;
        snprintf(text, sizeof text,
                 "config: {target: 'http://127.0.0.1:1', plugins: {metrics-by-endpoint: %s}, "
                 "phases: [{duration: 1, arrivalRate: 1}]}\n"
                 "scenarios: [{flow: [{get: {url: '/a?b=1', name: cart}}]}]\n",
                 cases[i].plugin);
        struct vv_load_plan *p = plan_of(text);
        vv_load_plan_view(p, &view);
        VV_CHECK_INT(view.endpoint_count, 1);
        VV_CHECK_STR(view.endpoint[0].name, "cart");
        if (cases[i].key != NULL) {
            VV_CHECK_STR(view.endpoint[0].key, cases[i].key);
        } else {
            VV_CHECK(view.endpoint[0].key == NULL);
        }
        vv_load_plan_free(p);
    }
}

VV_TEST(expectations_name_what_was_not_as_expected)
{
    static const struct {
        const char *expect, *answer, *why;
    } cases[] = {
        {"{statusCode: [200, 201]}", JSON_OK("{}"), NULL},
        {"{statusCode: 201}", JSON_OK("{}"), "status"},
        {"[{contentType: json}, {hasHeader: x-next}]", JSON_OK("{}"), NULL},
        {"{contentType: text/html}", JSON_OK("{}"), "header"},
        {"{headerEquals: [x-next, '8']}", JSON_OK("{}"), "header"},
        {"{hasProperty: a.b}", JSON_OK("{\"a\": {\"b\": null}}"), NULL},
        {"{hasProperty: a.c}", JSON_OK("{\"a\": {\"b\": 1}}"), "json"},
        {"{notHasProperty: a}", JSON_OK("{\"a\": 1}"), "json"},
        {"{hasProperty: a}", JSON_OK("not json"), "json"},
        {"{equals: ['a', '{{ $environment }}']}", JSON_OK("{}"), "body"},
        {"{matchesRegexp: 'a+b'}", JSON_OK("xaab"), NULL},
        {"{matchesRegexp: '^b'}", JSON_OK("ab"), "body"},
        {"{maxLatency: 0.5}", JSON_OK(""), "latency"}, /* answer() says 1 ms */
        {"{maxLatency: 2}", JSON_OK(""), NULL},
    };
    for (size_t i = 0; i < VV_COUNT(cases); i++) {
        char text[512];
        struct walk w;
        snprintf(text, sizeof text, HEAD "scenarios: [{flow: [{get: {url: /, expect: %s}}]}]\n",
                 cases[i].expect);
        begin(&w, text);
        (void)next_target(&w);
        const char *why = answer(w.user, cases[i].answer);
        VV_CHECK_STR(why != NULL ? why : "fine", cases[i].why != NULL ? cases[i].why : "fine");
        end(&w);
    }
}

VV_TEST(cookies_stay_with_the_user_and_the_host_that_set_them)
{
    struct walk w;
    begin(&w, HEAD
          "scenarios: [{flow: [{get: {url: /}}, {get: {url: /}}, {get: {url: 'http://other/'}},"
          " {get: {url: /}}]}]\n");
    VV_CHECK(strstr(next_text(w.user), "cookie:") == NULL);
    (void)answer(w.user, "HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Path=/\r\nSet-Cookie: b=2\r\n"
                         "content-length: 0\r\n\r\n");
    VV_CHECK(strstr(next_text(w.user), "\r\ncookie: a=1; b=2\r\n") != NULL);
    (void)answer(w.user, "HTTP/1.1 200 OK\r\nSet-Cookie: a=3\r\nSet-Cookie: b=; Max-Age=0\r\n"
                         "content-length: 0\r\n\r\n");
    VV_CHECK(strstr(next_text(w.user), "cookie:") == NULL);
    (void)answer(w.user, OK_EMPTY);
    VV_CHECK(strstr(next_text(w.user), "\r\ncookie: a=3\r\n") != NULL);
    vv_load_user_reset(w.user, &w.rng);
    VV_CHECK(strstr(next_text(w.user), "cookie:") == NULL);
    end(&w);
}

VV_TEST(cookies_of_the_file_stay_with_the_user_as_well)
{
    struct walk w;
    begin(&w, "config: {target: 'http://h', phases: [{duration: 1, arrivalRate: 1}],\n"
              "  http: {defaults: {cookie: {a: 1}}}}\n"
              "scenarios: [{flow: [{get: {url: /, cookie: {b: x}}},"
              " {get: {url: /}}]}]\n");
    VV_CHECK(strstr(next_text(w.user), "\r\ncookie: a=1; b=x\r\n") != NULL);
    /* The file's own value comes again with each request, whatever the server says. */
    (void)answer(w.user, "HTTP/1.1 200 OK\r\nSet-Cookie: a=2\r\nSet-Cookie: c=3\r\n"
                         "content-length: 0\r\n\r\n");
    VV_CHECK(strstr(next_text(w.user), "\r\ncookie: a=1; b=x; c=3\r\n") != NULL);
    end(&w);
    begin(&w, HEAD "scenarios: [{flow: [{get: {url: /, cookie: {b: x}}}, {get: {url: /}},"
                   " {get: {url: /}}]}]\n");
    VV_CHECK(strstr(next_text(w.user), "\r\ncookie: b=x\r\n") != NULL);
    (void)answer(w.user, OK_EMPTY);
    VV_CHECK(strstr(next_text(w.user), "cookie:") == NULL); /* until a server sets one */
    (void)answer(w.user, "HTTP/1.1 200 OK\r\nSet-Cookie: c=3\r\ncontent-length: 0\r\n\r\n");
    VV_CHECK(strstr(next_text(w.user), "\r\ncookie: b=x; c=3\r\n") != NULL);
    end(&w);
}

VV_TEST(endpoints_are_named_without_their_query)
{
    struct walk w;
    struct vv_load_view v;
    begin(&w, "config: {target: 'http://h', phases: [{duration: 1, arrivalRate: 1}]}\n"
              "scenarios: [{flow: [{get: {url: '/a?b={{ $randomString() }}'}}]}]\n");
    vv_load_plan_view(w.plan, &v);
    VV_CHECK_STR(v.endpoint[0].name, "/a");
    end(&w);
    begin(&w, "config: {target: 'http://h', phases: [{duration: 1, arrivalRate: 1}],\n"
              "  plugins: {metrics-by-endpoint: {}}}\n"
              "scenarios: [{flow: [{get: {url: '/a?b=c'}}]}]\n");
    vv_load_plan_view(w.plan, &v);
    VV_CHECK_STR(v.endpoint[0].name, "/a?b=c"); /* the plugin, once named, keeps it */
    end(&w);
}

VV_TEST(redirects_come_back_as_requests_until_there_are_ten)
{
    struct walk w;
    begin(&w, HEAD
          "scenarios: [{flow: [{post: {url: /a/b, json: {}, expect: {statusCode: 200}, headers: "
          "{Authorization: x}}}, {get: {url: /, followRedirect: false}}]}]\n");
    VV_CHECK(strncmp(next_text(w.user), "POST /a/b ", 10) == 0);
    VV_CHECK(answer(w.user, "HTTP/1.1 307 X\r\nLocation: c?d\r\ncontent-length: 0\r\n\r\n") ==
             NULL);
    VV_CHECK(strncmp(next_text(w.user), "POST /a/c?d ", 12) == 0);
    VV_CHECK(answer(w.user, "HTTP/1.1 303 X\r\nLocation: //other/x\r\ncontent-length: 0\r\n\r\n") ==
             NULL);
    const char *text = next_text(w.user);
    VV_CHECK(strncmp(text, "GET /x HTTP/1.1\r\nhost: other\r\n", 30) == 0);
    VV_CHECK(strstr(text, "authorization") == NULL && strstr(text, "content-length") == NULL);
    for (int i = 0; i < 8; i++) {
        VV_CHECK(answer(w.user, "HTTP/1.1 302 X\r\nLocation: /y\r\ncontent-length: 0\r\n\r\n") ==
                 NULL);
        VV_CHECK(strncmp(next_text(w.user), "GET /y ", 7) == 0);
    }
    VV_CHECK_STR(answer(w.user, "HTTP/1.1 302 X\r\nLocation: /y\r\ncontent-length: 0\r\n\r\n"),
                 "status"); /* 2 + 8 were followed */
    VV_CHECK(strncmp(next_text(w.user), "GET / HTTP/1.1\r\nhost: h\r\n", 25) == 0);
    VV_CHECK(answer(w.user, "HTTP/1.1 302 X\r\nLocation: /y\r\ncontent-length: 0\r\n\r\n") == NULL);
    VV_CHECK(next_text(w.user) == NULL);
    end(&w);
}

VV_TEST(a_long_loop_of_captures_keeps_what_lives_and_forgets_the_rest)
{
    struct walk w;
    char body[1200], want[1100];
    begin(
        &w, HEAD
        "scenarios: [{flow: [{get: {url: /, capture: {json: $.k, as: kept}}}, {loop: [{post: {url: "
        "/, body: '{{ kept }} {{ last }}', capture: {json: $.k, as: last}}}], count: 2000}]}]\n");
    (void)next_text(w.user);
    VV_CHECK(answer(w.user, JSON_OK("{\"k\": \"first\"}")) == NULL);
    snprintf(want, sizeof want, "first undefined");
    for (int i = 0; i < 2000;
         i++) { /* 2,000 values of 1,000 bytes: far more than is collected at */
        VV_CHECK_STR(strstr(next_text(w.user), "\r\n\r\n") + 4, want);
        snprintf(want, sizeof want, "first %01000d", i);
        snprintf(body, sizeof body, JSON_OK("{\"k\": \"%01000d\"}"), i);
        VV_CHECK(answer(w.user, body) == NULL);
    }
    end(&w);
}

VV_TEST(a_user_without_an_answer_has_failed)
{
    struct walk w;
    struct vv_load_request q;
    uint64_t think = 0;
    begin(&w, HEAD "scenarios: [{flow: [{get: {url: /}}, {get: {url: /}}]}]\n");
    (void)next_target(&w);
    vv_load_user_failed(w.user, "ECONNREFUSED");
    VV_CHECK_INT(vv_load_user_next(w.user, &q, &think), VV_LOAD_FAILED);
    vv_load_user_reset(w.user, &w.rng);
    VV_CHECK_INT(vv_load_user_next(w.user, &q, &think), VV_LOAD_REQUEST);
    end(&w);
}
