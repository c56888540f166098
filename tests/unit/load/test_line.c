/* tests/unit/load/test_line.c - the plan of one line: vivace load URL. */
#include "load_test.h"

static struct vv_load_plan *line_plan(const struct vv_load_line *line)
{
    struct vv_load_plan *plan = NULL;
    struct vv_conf_problems *p = vv_conf_problems_new();
    assert_non_null(p);
    const enum vv_err err = vv_load_plan_line(line, p, &plan);
    assert_int_equal(err == VV_OK, vv_conf_problems_errors(p) == 0);
    vv_conf_problems_free(p);
    return plan;
}

VV_TEST(a_line_makes_one_phase_one_scenario_one_endpoint)
{
    const struct vv_load_line line = {.url = "http://127.0.0.1:8080/a?b=c",
                                      .phase = {.duration_ns = 30 * VV_SEC, .rate = 500}};
    struct vv_load_plan *plan = line_plan(&line);
    struct vv_load_view v;
    assert_non_null(plan);
    vv_load_plan_view(plan, &v);
    VV_CHECK_INT(v.phase_count, 1);
    VV_CHECK_INT(v.phase[0].duration_ns, 30 * VV_SEC);
    VV_CHECK_INT(v.scenario_count, 1);
    VV_CHECK_INT(v.endpoint_count, 1);
    VV_CHECK_STR(v.endpoint[0].method, "GET");
    VV_CHECK_STR(v.endpoint[0].name, "/a");
    vv_load_plan_free(plan);
}

VV_TEST(a_line_sends_the_same_bytes_for_every_user_without_making_them_again)
{
    const char *const headers[] = {"X-Key: 7"};
    const struct vv_load_line line = {
        .url = "127.0.0.1:8080/a", .body = "hello", .headers = headers, .header_count = 1};
    struct vv_load_plan *plan = line_plan(&line);
    struct vv_rng rng;
    struct vv_load_request one, two;
    uint64_t think = 0;
    vv_rng_init(&rng, 1);
    assert_non_null(plan);
    struct vv_load_user *u = vv_load_user_new(plan, &rng);
    assert_non_null(u);
    VV_CHECK_INT(vv_load_user_next(u, &one, &think), VV_LOAD_REQUEST);
    VV_CHECK_SLICE(one.bytes, "POST /a HTTP/1.1\r\n"
                              "host: 127.0.0.1:8080\r\n"
                              "user-agent: vivace-load\r\n"
                              "x-key: 7\r\n"
                              "content-length: 5\r\n"
                              "connection: keep-alive\r\n\r\n"
                              "hello");
    VV_CHECK_SLICE(one.host, "127.0.0.1");
    VV_CHECK_INT(one.port, 8080);
    VV_CHECK_INT(one.method, VV_METHOD_POST);
    VV_CHECK(!one.tls && !one.wants_body);
    VV_CHECK(answer(u, OK_EMPTY) == NULL);
    VV_CHECK_INT(vv_load_user_next(u, &two, &think), VV_LOAD_DONE);
    vv_load_user_reset(u, &rng);
    VV_CHECK_INT(vv_load_user_next(u, &two, &think), VV_LOAD_REQUEST);
    VV_CHECK(two.bytes.p == one.bytes.p); /* the same memory: nothing was copied */
    vv_load_user_free(u);
    vv_load_plan_free(plan);
}

VV_TEST(a_line_to_https_says_whom_to_trust)
{
    struct vv_load_plan *plan = line_plan(&(struct vv_load_line){
        .url = "https://[::1]/", .tls_insecure = true, .tls_ca = "/tmp/ca.pem"});
    struct vv_load_view v;
    struct vv_load_request q;
    struct vv_rng rng;
    uint64_t think = 0;
    vv_rng_init(&rng, 1);
    assert_non_null(plan);
    vv_load_plan_view(plan, &v);
    VV_CHECK(v.tls && v.tls_insecure);
    VV_CHECK_STR(v.tls_ca, "/tmp/ca.pem");
    struct vv_load_user *u = vv_load_user_new(plan, &rng);
    assert_non_null(u);
    VV_CHECK_INT(vv_load_user_next(u, &q, &think), VV_LOAD_REQUEST);
    VV_CHECK(q.tls);
    VV_CHECK_SLICE(q.host, "::1");
    VV_CHECK_INT(q.port, 443);
    vv_load_user_free(u);
    vv_load_plan_free(plan);
    plan = line_plan(&(struct vv_load_line){.url = "http://127.0.0.1/"});
    assert_non_null(plan);
    vv_load_plan_view(plan, &v);
    VV_CHECK(!v.tls && !v.tls_insecure && v.tls_ca == NULL);
    vv_load_plan_free(plan);
}

VV_TEST(an_answer_of_400_or_more_is_not_as_expected_unless_it_was_asked_for)
{
    struct vv_load_line line = {.url = "http://[::1]:81"};
    struct vv_rng rng;
    vv_rng_init(&rng, 1);
    for (int i = 0; i < 2; i++) {
        line.expect_status = i == 0 ? 0 : 404;
        struct vv_load_plan *plan = line_plan(&line);
        assert_non_null(plan);
        struct vv_load_user *u = vv_load_user_new(plan, &rng);
        assert_non_null(u);
        VV_CHECK_STR(next_text(u), "GET / HTTP/1.1\r\nhost: [::1]:81\r\n"
                                   "user-agent: vivace-load\r\nconnection: keep-alive\r\n\r\n");
        const char *why = answer(u, "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n");
        if (i == 0) {
            VV_CHECK_STR(why, "status");
        } else {
            VV_CHECK(why == NULL);
        }
        vv_load_user_free(u);
        vv_load_plan_free(plan);
    }
}

VV_TEST(a_line_that_cannot_be_sent_is_refused)
{
    const char *const bad[] = {"x y"};
    VV_CHECK(line_plan(&(struct vv_load_line){.url = "ftp://127.0.0.1/"}) == NULL);
    VV_CHECK(line_plan(&(struct vv_load_line){.url = "http:///x"}) == NULL);
    VV_CHECK(line_plan(&(struct vv_load_line){.url = "127.0.0.1:0"}) == NULL);
    VV_CHECK(line_plan(&(struct vv_load_line){
                 .url = "127.0.0.1", .headers = bad, .header_count = 1}) == NULL);
    VV_CHECK(line_plan(&(struct vv_load_line){.url = "127.0.0.1", .method = "G T"}) == NULL);
}
