/* tests/unit/gateway/test_secure.c - headers for browsers, origins, reports, and the way to HTTPS. */
#include "gateway/cors.h"
#include "gateway/csp.h"
#include "gateway/head_writer.h"
#include "gateway/secure.h"
#include "rig.h"
#include "settings_test.h"

/* ---- what is said becomes edits ------------------------------------------------------------- */

/* The edit of this name: "-" none, "(removed)" or its value. */
static const char *edit(const struct vv_conf_list *list, const char *name)
{
    for (size_t i = 0; i < vv_list_count(list); i++) {
        const struct vv_header_edit *e = list->item[i];
        if (strcmp(e->name, name) == 0) {
            return e->value != NULL ? e->value : "(removed)";
        }
    }
    return "-";
}

static const char *of_route(const struct loaded *l, size_t route, const char *name)
{
    const struct vv_route_settings *r = l->s->routes->item[route];
    return edit(r->browser_headers, name);
}

#define HEAD "listen: 127.0.0.1:1\nadmin: none\n"

VV_TEST(strict_is_the_set_the_requirements_name)
{
    struct loaded l = load_fine(HEAD "routes: [{path: /, secure: strict, respond: hi}]\n");
    /* Two years: 2 * 365 * 86,400 s. */
    VV_CHECK_STR(of_route(&l, 0, "Strict-Transport-Security"),
                 "max-age=63072000; includeSubDomains");
    VV_CHECK_STR(of_route(&l, 0, "X-Frame-Options"), "DENY");
    VV_CHECK_STR(of_route(&l, 0, "X-Content-Type-Options"), "nosniff");
    VV_CHECK_STR(of_route(&l, 0, "Content-Security-Policy"),
                 "default-src 'self'; base-uri 'self'; form-action 'self'; object-src 'none'; "
                 "frame-ancestors 'none'");
    VV_CHECK_STR(of_route(&l, 0, "Server"), "(removed)");
    VV_CHECK_STR(of_route(&l, 0, "X-XSS-Protection"), "-");
    VV_CHECK(l.s->browser_headers == NULL); /* nothing is said about other answers */
    unload(&l);
}

VV_TEST(each_header_can_be_changed_or_removed)
{
    struct loaded l = load_fine(
        HEAD
        "routes:\n"
        "  - {path: /a, respond: hi, secure: {hsts: {max_age: 1d, subdomains: false}, csp: null,\n"
        "      frame: SAMEORIGIN, nosniff: false, embedder: require-corp, hide: [X-App]}}\n"
        "  - {path: /b, respond: hi, secure: {hsts: false, frame: SAMEORIGIN}}\n"
        "  - {path: /c, respond: hi, secure: {preset: none, csp: \"default-src https:\"}}\n");
    VV_CHECK_STR(of_route(&l, 0, "Strict-Transport-Security"), "max-age=86400");
    VV_CHECK_STR(of_route(&l, 0, "Content-Security-Policy"), "-");
    VV_CHECK_STR(of_route(&l, 0, "X-Frame-Options"), "SAMEORIGIN");
    VV_CHECK_STR(of_route(&l, 0, "X-Content-Type-Options"), "-");
    VV_CHECK_STR(of_route(&l, 0, "Cross-Origin-Embedder-Policy"), "require-corp");
    VV_CHECK_STR(of_route(&l, 0, "X-App"), "(removed)");
    VV_CHECK_STR(of_route(&l, 0, "Server"), "-");
    VV_CHECK_STR(of_route(&l, 0, "Referrer-Policy"), "same-origin"); /* the rest is the preset's */
    VV_CHECK_STR(of_route(&l, 1, "Strict-Transport-Security"), "-");
    /* The preset's policy must not forbid what `frame` allows: browsers heed it first. */
    VV_CHECK(strstr(of_route(&l, 1, "Content-Security-Policy"), "frame-ancestors 'self'") != NULL);
    VV_CHECK_STR(of_route(&l, 2, "Content-Security-Policy"), "default-src https:");
    VV_CHECK_STR(of_route(&l, 2, "X-Frame-Options"), "-");
    unload(&l);
}

VV_TEST(a_route_changes_what_defaults_say_or_begins_anew)
{
    struct loaded l = load_fine(HEAD "defaults: {secure: {preset: strict, referrer: origin}}\n"
                                     "routes:\n"
                                     "  - {path: /a, respond: hi}\n"
                                     "  - {path: /b, respond: hi, secure: {frame: SAMEORIGIN}}\n"
                                     "  - {path: /c, respond: hi, secure: strict}\n"
                                     "  - {path: /d, respond: hi, secure: none}\n"
                                     "  - {path: /e, respond: hi, secure: false}\n");
    VV_CHECK_STR(of_route(&l, 0, "Referrer-Policy"), "origin");
    VV_CHECK_STR(of_route(&l, 1, "Referrer-Policy"), "origin");
    VV_CHECK_STR(of_route(&l, 1, "X-Frame-Options"), "SAMEORIGIN");
    VV_CHECK_STR(of_route(&l, 2, "Referrer-Policy"), "same-origin");
    VV_CHECK_STR(of_route(&l, 3, "Referrer-Policy"), "-");
    VV_CHECK_STR(of_route(&l, 4, "X-Frame-Options"), "-");
    VV_CHECK_STR(edit(l.s->browser_headers, "Referrer-Policy"), "origin");
    unload(&l);
}

VV_TEST(headers_of_the_file_win)
{
    struct loaded l =
        load_fine(HEAD "defaults: {secure: strict, headers: {x-frame-options: null}}\n"
                       "routes: [{path: /, respond: hi}]\n");
    VV_CHECK_STR(of_route(&l, 0, "X-Frame-Options"), "-");
    VV_CHECK_STR(of_route(&l, 0, "X-Content-Type-Options"), "nosniff");
    unload(&l);
}

VV_TEST(policies_name_the_place_for_reports_once)
{
    struct loaded l = load_fine(
        HEAD "defaults: {secure: {csp_reports: /r, csp_report_only: \"img-src 'self'\"}}\n"
             "routes:\n"
             "  - {path: /a, respond: hi}\n"
             "  - {path: /b, respond: hi, secure: {csp: \"default-src 'self'; report-uri /x\"}}\n");
    VV_CHECK_STR(of_route(&l, 0, "Content-Security-Policy-Report-Only"),
                 "img-src 'self'; report-uri /r; report-to vivace-csp");
    VV_CHECK_STR(of_route(&l, 0, "Reporting-Endpoints"), "vivace-csp=\"/r\"");
    VV_CHECK_STR(of_route(&l, 1, "Content-Security-Policy"), "default-src 'self'; report-uri /x");
    VV_CHECK_INT(vv_list_count(l.s->csp_paths), 1);
    unload(&l);
}

VV_TEST(mistakes_are_told_with_what_would_be_right)
{
    check_says(HEAD "routes: [{path: /, secure: {frame: ALLOW}, respond: hi}]\n",
               "write DENY or SAMEORIGIN");
    check_says(HEAD "routes: [{path: /, secure: {csp_reports: reports}, respond: hi}]\n",
               "write /csp-reports");
    check_says(HEAD
               "routes: [{path: /, secure: {hsts: {preload: true, max_age: 1d}}, respond: hi}]\n",
               "at least 365d");
    check_says(HEAD "routes: [{path: /, cors: {origins: \"*\", credentials: true}, respond: hi}]\n",
               "every page of the world would act with the user's cookies");
    check_says(HEAD "routes: [{path: /, cors: \"https://a.example/\", respond: hi}]\n",
               "is no origin");
    check_says(HEAD "routes: [{path: /, cors: {}, respond: hi}]\n", "cors names no origins");
    check_says("listen: {a: {address: \"127.0.0.1:1\", redirect: http}}\nadmin: none\n"
               "routes: [{path: /, respond: hi}]\n",
               "is nowhere a listener can send requests");
    check_says("listen: {a: {address: \"127.0.0.1:1\", redirect: https}}\nadmin: none\n"
               "routes: [{path: /, respond: hi}]\n",
               "nothing here speaks TLS");
}

/* ---- origins -------------------------------------------------------------------------------- */

static bool fits(const char *pattern, const char *origin)
{
    const char *why = NULL;
    VV_CHECK(vv_cors_pattern_check(vv_str_from(pattern), &why));
    return vv_cors_pattern_matches(vv_str_from(pattern), vv_str_from(origin));
}

VV_TEST(origins_are_equal_to_the_byte)
{
    VV_CHECK(fits("https://app.example.org", "https://app.example.org"));
    VV_CHECK(!fits("https://app.example.org", "http://app.example.org"));
    VV_CHECK(!fits("https://app.example.org", "https://app.example.org:8443"));
    VV_CHECK(!fits("https://app.example.org", "https://app.example.org.evil.net"));
    VV_CHECK(!fits("https://app.example.org", "https://app.example.orgg"));
    VV_CHECK(fits("http://[::1]:3000", "http://[::1]:3000"));
    VV_CHECK(fits("*", "null"));
}

VV_TEST(a_star_stands_for_names_below_one_and_for_nothing_else)
{
    const char *const pattern = "https://*.example.org";
    VV_CHECK(fits(pattern, "https://a.example.org"));
    VV_CHECK(fits(pattern, "https://a.b.example.org"));
    VV_CHECK(!fits(pattern, "https://example.org"));
    VV_CHECK(!fits(pattern, "https://.example.org"));
    VV_CHECK(!fits(pattern, "https://aexample.org"));
    VV_CHECK(!fits(pattern, "http://a.example.org"));
    VV_CHECK(!fits(pattern, "https://a.example.org:444"));
    VV_CHECK(!fits(pattern, "https://evil.net/.example.org"));
    VV_CHECK(!fits(pattern, "https://evil.net#.example.org"));
    VV_CHECK(!fits(pattern, "https://evil.net:1@a.example.org"));
    VV_CHECK(!fits(pattern, "https://a\t.example.org"));
    VV_CHECK(fits("http://*.test:3000", "http://a.test:3000"));
}

VV_TEST(patterns_that_no_browser_would_match_are_refused)
{
    static const char *const bad[] = {
        "",
        "null",
        "app.example.org",
        "https://",
        "https://*",
        "https://*.",
        "https://app.example.org/",
        "https://App.example.org",
        "https://a:443",
        "http://a:80",
        "https://a*.example.org",
        "https://*.*.org",
        "https://a:x",
        "://a",
        "https:/a",
        "https://a b",
    };
    for (size_t i = 0; i < VV_COUNT(bad); i++) {
        const char *why = NULL;
        if (vv_cors_pattern_check(vv_str_from(bad[i]), &why) || why == NULL) {
            fail_msg("\"%s\" was taken", bad[i]);
        }
    }
}

/* ---- reports -------------------------------------------------------------------------------- */

static struct vv_csp_report report[VV_CSP_REPORTS_MAX];

static size_t reads(const char *text, size_t *ret_dropped)
{
    size_t n = 0;
    VV_CHECK_INT(vv_csp_read(vv_str_from(text), report, &n, ret_dropped), VV_OK);
    return n;
}

VV_TEST(reports_of_both_kinds_are_read)
{
    size_t dropped = 0;
    VV_CHECK_INT(
        reads("{\"csp-report\":{\"document-uri\":\"https://a/p?token=1\",\"violated-directive\":"
              "\"script-src 'self'\",\"blocked-uri\":\"https://evil/x.js#f\",\"disposition\":"
              "\"report\",\"source-file\":\"https://a/s.js\",\"line-number\":7}}",
              &dropped),
        1);
    VV_CHECK_STR(report[0].directive, "script-src");
    VV_CHECK(!report[0].enforced);
    VV_CHECK_STR(report[0].page, "https://a/p"); /* queries are not for logs */
    VV_CHECK_STR(report[0].blocked, "https://evil/x.js");
    VV_CHECK_INT(report[0].line, 7);
    VV_CHECK_INT(reads("[{\"type\":\"csp-violation\",\"body\":{\"effectiveDirective\":\"img-src\","
                       "\"documentURL\":\"https://a/\",\"blockedURL\":\"inline\",\"disposition\":"
                       "\"enforce\"}},{\"type\":\"deprecation\",\"body\":{}}]",
                       &dropped),
                 1);
    VV_CHECK_STR(report[0].directive, "img-src");
    VV_CHECK(report[0].enforced);
    VV_CHECK_INT(dropped, 0);
}

VV_TEST(hostile_reports_stay_small)
{
    static char text[16384];
    size_t dropped = 0;
    size_t n = (size_t)snprintf(text, sizeof text, "[");
    for (int i = 0; i < 40; i++) {
        n += (size_t)snprintf(
            text + n, sizeof text - n,
            "%s{\"type\":\"csp-violation\",\"body\":{\"effectiveDirective\":\"x%d\"}}",
            i > 0 ? "," : "", i);
    }
    snprintf(text + n, sizeof text - n, "]");
    VV_CHECK_INT(reads(text, &dropped), VV_CSP_REPORTS_MAX);
    VV_CHECK_INT(dropped, 40 - VV_CSP_REPORTS_MAX);
    VV_CHECK_STR(report[0].directive, "other"); /* labels are a closed list */
    n = (size_t)snprintf(text, sizeof text, "{\"csp-report\":{\"document-uri\":\"a\\nb\\u00e9");
    memset(text + n, 'c', 400);
    snprintf(text + n + 400, sizeof text - n - 400, "\",\"line-number\":-3}}");
    VV_CHECK_INT(reads(text, &dropped), 1);
    VV_CHECK_INT(strlen(report[0].page), VV_CSP_TEXT - 1);
    VV_CHECK(strncmp(report[0].page, "a_b__ccc", 8) == 0);
    VV_CHECK_INT(report[0].line, 0);
    VV_CHECK_STR(report[0].directive, "unknown");
    VV_CHECK_INT(vv_csp_read(VV_STR("{}"), report, &n, &dropped), VV_ESYNTAX);
    VV_CHECK_INT(vv_csp_read(VV_STR(""), report, &n, &dropped), VV_ESYNTAX);
}

/* ---- answers -------------------------------------------------------------------------------- */

static const char *asked(struct rig *r, const char *request)
{
    const int client = rig_client(r);
    rig_send(r, client, request);
    const char *answer = rig_read(r, client, NULL);
    close(client);
    return answer;
}

static const char secured[] =
    "listen: {default: {address: \"127.0.0.1:1\", trust: [127.0.0.0/8]}}\n"
    "admin: none\n"
    "routes:\n"
    "  - {path: /api, methods: [GET, PUT], secure: strict, cors: {origins:\n"
    "      [\"https://*.example.org\"], credentials: true}, respond: hi}\n"
    "  - {path: /, to: \"http://127.0.0.1:%u\", secure: strict,\n"
    "      cors: \"https://a.example.org\"}\n";

VV_TEST(hsts_goes_over_https_only)
{
    struct rig r;
    rig_up(&r, secured);
    const char *plain = asked(&r, "GET /api HTTP/1.1\r\nHost: h\r\n\r\n");
    VV_CHECK(strstr(plain, "Strict-Transport-Security") == NULL);
    VV_CHECK(strstr(plain, "X-Frame-Options: DENY\r\n") != NULL);
    const char *safe =
        asked(&r, "GET /api HTTP/1.1\r\nHost: h\r\nX-Forwarded-Proto: https\r\n\r\n");
    VV_CHECK(strstr(safe, "Strict-Transport-Security: max-age=63072000; includeSubDomains\r\n") !=
             NULL);
    rig_down(&r);
}

VV_TEST(a_preflight_is_answered_for_the_method_it_asks_about)
{
    struct rig r;
    rig_up(&r, secured);
    const char *answer =
        asked(&r, "OPTIONS /api HTTP/1.1\r\nHost: h\r\nOrigin: https://a.example.org\r\n"
                  "Access-Control-Request-Method: PUT\r\n"
                  "Access-Control-Request-Headers: content-type,x-a\r\n\r\n");
    VV_CHECK(strncmp(answer, "HTTP/1.1 204 ", 13) == 0);
    VV_CHECK(strstr(answer, "\r\nAccess-Control-Allow-Origin: https://a.example.org\r\n") != NULL);
    VV_CHECK(strstr(answer, "\r\nAccess-Control-Allow-Methods: GET, PUT\r\n") != NULL);
    VV_CHECK(strstr(answer, "\r\nAccess-Control-Allow-Headers: content-type,x-a\r\n") != NULL);
    VV_CHECK(strstr(answer, "\r\nAccess-Control-Allow-Credentials: true\r\n") != NULL);
    VV_CHECK(strstr(answer, "\r\nAccess-Control-Max-Age: 600\r\n") != NULL);
    VV_CHECK(strstr(answer, "\r\nVary: Origin\r\n") != NULL);
    answer = asked(&r, "OPTIONS /api HTTP/1.1\r\nHost: h\r\nOrigin: https://evil.net\r\n"
                       "Access-Control-Request-Method: PUT\r\n\r\n");
    VV_CHECK(strncmp(answer, "HTTP/1.1 403 ", 13) == 0);
    VV_CHECK(strstr(answer, "Access-Control-Allow-Origin") == NULL);
    rig_down(&r);
}

VV_TEST(names_that_could_break_out_of_a_field_are_not_repeated)
{
    struct rig r;
    rig_up(&r, secured);
    const char *answer =
        asked(&r, "OPTIONS /api HTTP/1.1\r\nHost: h\r\nOrigin: https://a.example.org\r\n"
                  "Access-Control-Request-Method: PUT\r\n"
                  "Access-Control-Request-Headers: x-a, \"x: y\"\r\n\r\n");
    VV_CHECK(strncmp(answer, "HTTP/1.1 204 ", 13) == 0);
    VV_CHECK(strstr(answer, "Access-Control-Allow-Headers") == NULL);
    rig_down(&r);
}

VV_TEST(what_a_server_says_to_browsers_is_replaced)
{
    struct rig r;
    rig_up(&r, secured);
    const int client = rig_client(&r);
    rig_send(&r, client, "GET /x HTTP/1.1\r\nHost: h\r\nOrigin: https://evil.net\r\n\r\n");
    const int origin = rig_accept(&r);
    (void)rig_read(&r, origin, NULL);
    rig_send(&r, origin,
             "HTTP/1.1 200 OK\r\nServer: Old/1\r\nX-Powered-By: PHP\r\nVary: Cookie\r\n"
             "Access-Control-Allow-Origin: *\r\nStrict-Transport-Security: max-age=1\r\n"
             "X-Frame-Options: ALLOWALL\r\nContent-Length: 0\r\n\r\n");
    const char *answer = rig_read(&r, client, NULL);
    VV_CHECK(strstr(answer, "Server:") == NULL);
    VV_CHECK(strstr(answer, "X-Powered-By") == NULL);
    VV_CHECK(strstr(answer, "Access-Control-Allow-Origin") == NULL); /* evil.net is not named */
    VV_CHECK(strstr(answer, "Strict-Transport-Security") == NULL);   /* RFC 6797 7.2 */
    VV_CHECK(strstr(answer, "ALLOWALL") == NULL);
    VV_CHECK(strstr(answer, "\r\nVary: Cookie\r\n") != NULL);
    VV_CHECK(strstr(answer, "\r\nVary: Origin\r\n") != NULL);
    close(client);
    close(origin);
    rig_down(&r);
}

static const char redirecting[] =
    "listen:\n"
    "  default: {address: \"127.0.0.1:1\", redirect: https, trust: [127.0.0.0/8],\n"
    "            names: [a.example, \"*.b.example\", \"::1\"]}\n"
    "admin: none\nroutes:\n  - to: http://127.0.0.1:%u\n";

VV_TEST(ports_of_redirects_are_ports)
{
    VV_CHECK_INT(vv_https_redirect_port("https"), 0);
    VV_CHECK_INT(vv_https_redirect_port("https:443"), 443);
    VV_CHECK_INT(vv_https_redirect_port("https:65535"), 65535);
    static const char *const bad[] = {"http",        "https:",  "https:0",
                                      "https:65536", "https:x", "https://a"};
    for (size_t i = 0; i < VV_COUNT(bad); i++) {
        VV_CHECK_INT(vv_https_redirect_port(bad[i]), -1);
    }
}

VV_TEST(a_listener_sends_what_it_serves_to_https)
{
    struct rig r;
    rig_up(&r, redirecting);
    const char *answer = asked(&r, "GET /x//y?q=1 HTTP/1.1\r\nHost: A.example:80\r\n\r\n");
    VV_CHECK(strncmp(answer, "HTTP/1.1 301 ", 13) == 0);
    VV_CHECK(strstr(answer, "\r\nLocation: https://a.example/x//y?q=1\r\n") != NULL);
    answer = asked(&r, "DELETE / HTTP/1.1\r\nHost: x.b.example\r\n\r\n");
    VV_CHECK(strncmp(answer, "HTTP/1.1 308 ", 13) == 0); /* the method stays */
    answer = asked(&r, "GET / HTTP/1.1\r\nHost: [::1]\r\n\r\n");
    VV_CHECK(strstr(answer, "\r\nLocation: https://[::1]/\r\n") != NULL);
    answer = asked(&r, "GET / HTTP/1.1\r\nHost: evil.net\r\n\r\n");
    VV_CHECK(strncmp(answer, "HTTP/1.1 421 ", 13) == 0);
    answer = asked(&r, "GET / HTTP/1.0\r\n\r\n");
    VV_CHECK(strncmp(answer, "HTTP/1.1 400 ", 13) == 0); /* where to? */
    rig_down(&r);
}

VV_TEST(challenges_and_what_came_over_https_are_served)
{
    struct rig r;
    rig_up(&r, redirecting);
    const int client = rig_client(&r);
    rig_send(&r, client, "GET /.well-known/acme-challenge/t HTTP/1.1\r\nHost: a.example\r\n\r\n");
    const int origin = rig_accept(&r);
    VV_CHECK(strstr(rig_read(&r, origin, NULL), "GET /.well-known/acme-challenge/t ") != NULL);
    rig_send(&r, origin, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    (void)rig_read(&r, client, NULL);
    rig_send(&r, client, "GET / HTTP/1.1\r\nHost: a.example\r\nX-Forwarded-Proto: https\r\n\r\n");
    VV_CHECK(strstr(rig_read(&r, origin, NULL), "GET / ") != NULL);
    close(client);
    close(origin);
    rig_down(&r);
}

/* ---- hits ------------------------------------------------------------------------------------ */

VV_TEST(a_stored_block_loses_what_edits_name_and_nothing_else)
{
    static const char text[] =
        "HTTP/1.1 200 OK\r\nserver: Old/1\r\nContent-Type: a/b; x=\"Server:\"\r\n"
        "X-Frame-Options: ALLOWALL\r\nDate: now\r\nServer: again\r\n";
    struct rig r;
    char out[sizeof text];
    struct vv_writer w = {out};
    rig_up(&r, "listen: 127.0.0.1:1\nadmin: none\nroutes:\n"
               "  - {path: /a, to: \"http://127.0.0.1:%u\", secure: {hsts: {max_age: 1d}}}\n"
               "  - {path: /b, respond: hi, secure: strict, headers: {X-Id: $request_id}}\n"
               "  - {path: /c, respond: hi, cors: \"https://a.example\"}\n"
               "  - {path: /d, respond: hi, headers: {Vary: Cookie}}\n");
    const struct vv_edits *edits = &r.rt->route[0].answer_edits;
    vv_edits_put_block(&w, edits, VV_STR(text));
    *w.at = '\0';
    VV_CHECK_STR(out, "HTTP/1.1 200 OK\r\nContent-Type: a/b; x=\"Server:\"\r\nDate: now\r\n");
    VV_CHECK(strstr(edits->fixed[0].p, "Strict-Transport-Security") == NULL);
    VV_CHECK(strstr(edits->fixed[1].p,
                    "Strict-Transport-Security: max-age=86400; includeSubDomains\r\n") != NULL);
    VV_CHECK(strstr(edits->fixed[0].p, "\r\nX-Frame-Options: DENY\r\n") != NULL);
    for (size_t i = 1; i < 4; i++) { /* each request has its own, or the cache looks at it */
        VV_CHECK(r.rt->route[i].answer_edits.fixed[0].p == NULL);
    }
    rig_down(&r);
}
