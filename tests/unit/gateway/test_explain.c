/* tests/unit/gateway/test_explain.c - what is said about a request that was never sent. */
#include "gateway/gateway.h"

#include "vv_test.h"
#include <stdlib.h>

static const char conf[] =
    "listen:\n"
    "  web: {address: \"127.0.0.1:8080\", max_body: 1MB}\n"
    "  own: {address: \"127.0.0.1:8081\", names: [\"*.own.example\"]}\n"
    "services: {app: {servers: [\"127.0.0.1:3001\", \"127.0.0.1:3002\"], balance: round_robin}}\n"
    "routes:\n"
    "  - {path: /v2/, to: app, when_headers: {X-Beta: \"1\"}, rewrite: \"/beta/$rest\"}\n"
    "  - {path: \"/users/{id}\", to: app, methods: [GET], rewrite: \"/u/{id}\",\n"
    "     request_headers: {X-User: \"{id}\", X-Ip: $client_ip, Cookie: null}}\n"
    "  - {path: /old/, redirect: \"https://$host/new/$rest\"}\n"
    "  - {path: /hello, respond: \"hello $query.name\"}\n"
    "  - {path: /kept/, to: app, cache: {ttl: 5m, purge: [127.0.0.0/8], invalidates: [/all]}}\n"
    "  - {path: /own/, to: app, compress: false, cache: {key: \"$host $path\", authorized: true,\n"
    "     client_directives: false}}\n"
    "  - {path: /shared/, to: app, coalesce: true, compress: {encodings: [gzip], min: 99}}\n"
    "  - {path: /guarded/, to: app, limit: {per: all, rate: 5/s, burst: 1}, retries: 2,\n"
    "     priority: low, fallback: {status: 200, body: sorry}}\n";

static char *explained(const char *method, const char *url, const char *header,
                       const char *listener, enum vv_err want)
{
    const struct vv_conf_source source = {.path = "test.yaml", .text = conf, .no_files = true};
    struct vv_conf_problems *problems = vv_conf_problems_new();
    struct vv_settings *settings = NULL;
    struct vv_sb out = VV_SB_INIT;
    struct vv_json j;
    const struct vv_explain_request r = {.method = method,
                                         .url = url,
                                         .headers = &header,
                                         .headers_count = header != NULL ? 1 : 0,
                                         .listener = listener};
    const enum vv_err loaded = vv_settings_load(&source, problems, &settings);
    if (loaded != VV_OK) {
        vv_conf_problems_print(problems, false, "", &out);
        print_error("%s", out.p);
    }
    VV_CHECK_INT(loaded, VV_OK);
    vv_conf_problems_free(problems);
    vv_json_init(&j, &out);
    vv_json_obj(&j);
    VV_CHECK_INT(vv_settings_explain(settings, &r, &j), want);
    vv_json_obj_end(&j);
    vv_settings_free(settings); /* still the caller's */
    return vv_sb_take(&out);
}

static void has(const char *method, const char *url, const char *header, const char *part)
{
    char *text = explained(method, url, header, NULL, VV_OK);
    VV_CHECK(text != NULL);
    if (strstr(text, part) == NULL) {
        print_error("%s %s\nwanted: %s\ngot: %s\n", method, url, part, text != NULL ? text : "");
    }
    VV_CHECK(strstr(text, part) != NULL);
    free(text);
}

VV_TEST(the_route_its_parameters_and_the_request_upstream_are_shown)
{
    const char *url = "http://127.0.0.1:8080/users/7?x=1";
    has("GET", url, NULL, "\"result\":\"matched\"");
    has("GET", url, NULL,
        "\"request\":{\"method\":\"GET\",\"scheme\":\"http\",\"host\":\"127.0.0.1\","
        "\"path\":\"/users/7\",\"query\":\"x=1\",\"listener\":\"web\"}");
    has("GET", url, NULL, "\"params\":{\"id\":\"7\"}");
    has("GET", url, NULL,
        "\"upstream\":{\"method\":\"GET\",\"path\":\"/u/7\",\"query\":\"x=1\","
        "\"host\":\"127.0.0.1:8080\"");
    has("GET", url, NULL, "\"service\":{\"name\":\"app\",\"balance\":\"round_robin\"");
    has("GET", url, NULL, "\"name\":\"127.0.0.1:3002\"");
    has("GET", url, NULL, "\"body_bytes_max\":1048576"); /* the listener's 1MB */
    has("GET", url, NULL,
        "\"request_headers\":[{\"name\":\"X-User\",\"value\":\"7\"},"
        "{\"name\":\"X-Ip\",\"value\":\"$client_ip\"},"
        "{\"name\":\"Cookie\",\"value\":null}]");
}

VV_TEST(conditions_are_judged_like_those_of_a_real_request)
{
    has("GET", "/v2/a", NULL, "\"result\":\"headers\"");
    has("GET", "/v2/a", NULL, "\"result\":\"no_route\",\"status\":404");
    has("GET", "/v2/a", "X-Beta: 1", "\"path\":\"/beta/a\"");
    has("GET", "/v2/./b/../a", "x-beta:1", "\"path\":\"/beta/a\"");
    has("POST", "/users/7", NULL, "\"result\":\"method\",\"status\":405");
    has("POST", "/users/7", NULL, "\"allow\":\"GET, HEAD\"");
}

VV_TEST(redirects_and_answers_are_rendered)
{
    has("GET", "shop.example/old/a?b", NULL, "\"location\":\"https://shop.example/new/a\"");
    has("GET", "/old/a", "Host: SHOP.example", "\"location\":\"https://shop.example/new/a\"");
    has("GET", "/hello?name=Ada", NULL, "\"body\":\"hello Ada\"");
}

VV_TEST(what_the_gateway_refuses_is_refused_here_too)
{
    has("GET", "/../x", NULL, "\"result\":\"refused\",\"status\":400");
    has("GET", "/hello", "Bad Name: x", "\"result\":\"refused\",\"status\":400");
    has("GET", "http://other.example:8081/hello", NULL, "\"result\":\"refused\",\"status\":421");
    has("GET", "http://a.own.example:8081/hello", NULL, "\"result\":\"matched\"");
    has("OPTIONS", "*", NULL, "\"result\":\"gateway\",\"status\":204");
}

VV_TEST(guards_are_named_though_nothing_runs)
{
    has("GET", "/guarded/x", NULL,
        "\"guards\":{\"priority\":\"low\",\"limits\":[{\"name\":\"/guarded/\"");
    has("GET", "/guarded/x", NULL,
        "\"kind\":\"rate\",\"policy\":\"\\\"/guarded/\\\";q=2;w=1\",\"count\":5,\"time\":\"1s\","
        "\"at_once\":2}"); /* 1 + burst */
    has("GET", "/guarded/x", NULL, "\"retries\":{\"max\":2,\"when\":[\"connect\",");
    has("GET", "/guarded/x", NULL, "\"fallback\":{\"kind\":\"literal\",\"status\":200");
    has("GET", "/hello", NULL, "\"guards\":{\"priority\":\"the plan's, else normal\"}");
}

VV_TEST(questions_without_sense_are_errors)
{
    free(explained("GET", "/hello", NULL, "nope", VV_ENOENT));
    free(explained("GET", "", NULL, NULL, VV_EINVAL));
    free(explained("GET", "http:///x", NULL, NULL, VV_EINVAL));
    free(explained("GET", "/hello", "no colon", NULL, VV_EINVAL));
    free(explained("GET", "/hello", "a: b\r\nc: d", NULL, VV_EINVAL));
    free(explained("GET", "/hello", NULL, "web", VV_OK));
}

VV_TEST(the_cache_says_its_name_the_key_and_what_the_request_wants)
{
    has("GET", "http://A/kept/x?y=1", NULL, "\"key\":\"http://a/kept/x?y=1\"");
    has("GET", "/kept/x", NULL, "\"why\":\"what is stored is known to a running gateway only\"");
    has("GET", "/kept/x", "Cache-Control: no-cache, max-age=5",
        "\"request_directives\":\"no-cache, max-age=5\",\"they_are\":\"obeyed\"");
    /* Each value stands between two frames. */
    has("GET", "http://A/own/x", "Cookie: secret", "\"key\":\"|a| |/own/x|\"");
    has("GET", "/own/x", "Cookie: secret", "\"key_ends_in\":\"Authorization and Cookie\"");
    has("GET", "/own/x", "Cache-Control: no-cache", "\"they_are\":\"ignored");
    has("GET", "/shared/x", NULL, "\"coalesces_only\":true");
    char *plain = explained("GET", "/hello", NULL, NULL, VV_OK);
    VV_CHECK(strstr(plain, "\"cache\"") == NULL && strstr(plain, "\"compress\"") == NULL);
    free(plain);
}

VV_TEST(what_goes_past_the_cache_says_why)
{
    has("OPTIONS", "/kept/x", NULL, "\"why\":\"answers to this method are not kept here\"");
    has("DELETE", "/kept/x", NULL, "\"outcome\":\"bypass: the service answers\",\"why\":\"a write");
    has("DELETE", "/kept/x", NULL, "\"forgets\":[\"/all\"]");
    has("PURGE", "/kept/x", NULL, "\"outcome\":\"purge: the gateway answers\"");
    has("GET", "/kept/x", "If-Match: *", "for the service to judge");
    has("GET", "/kept/x", "Content-Length: 3", "\"why\":\"the request has a body\"");
}

VV_TEST(the_coding_of_an_answer_is_told_as_far_as_the_request_decides)
{
    has("GET", "/shared/x", "Accept-Encoding: br, gzip",
        "\"compress\":{\"coding\":\"gzip\",\"why\":\"the client takes it (RFC 9110 12.5.3)\","
        "\"if_at_least_bytes\":99,");
    has("GET", "/shared/x", "Accept-Encoding: br", "\"coding\":\"identity\"");
}
