/* tests/unit/wire/test_encoding.c - which codings a client takes, and which answers get one. */
#include "vv_test.h"
#include "wire/encoding.h"
#include <stdio.h>

/* The order as text, for one or two Accept-Encoding fields (NULL: none). */
static const char *order(const char *one, const char *two)
{
    static char text[64];
    static char request[256];
    static struct vv_h1_head head;
    static const struct vv_h1_limits limits = {1024, 1024, 16};
    snprintf(request, sizeof request, "GET / HTTP/1.1\r\nHost: h\r\n%s%s%s%s%s%s\r\n",
             one != NULL ? "Accept-Encoding: " : "", one != NULL ? one : "",
             one != NULL ? "\r\n" : "", two != NULL ? "accept-encoding: " : "",
             two != NULL ? two : "", two != NULL ? "\r\n" : "");
    vv_h1_head_init(&head);
    assert_int_equal(vv_h1_parse_request(&head, vv_str_from(request), &limits), VV_OK);
    enum vv_encoding got[VV_ENCODING_COUNT];
    const size_t n = vv_encoding_order(&head, got);
    text[0] = '\0';
    for (size_t i = 0; i < n; i++) {
        strcat(text, i > 0 ? " " : "");
        strcat(text, vv_encodings[got[i]].name.p);
    }
    return text;
}

VV_TEST(encoding_without_the_field_is_identity)
{
    VV_CHECK_STR(order(NULL, NULL), "identity");
    VV_CHECK_STR(order("", NULL), "identity");
}

VV_TEST(encoding_of_equal_weight_is_our_choice)
{
    VV_CHECK_STR(order("gzip, deflate, br, zstd", NULL), "br zstd gzip identity");
    VV_CHECK_STR(order("x-gzip", NULL), "gzip identity");
    VV_CHECK_STR(order("GZip", "BR"), "br gzip identity"); /* two fields are one list */
}

VV_TEST(encoding_weights_decide)
{
    VV_CHECK_STR(order("br;q=0.5, gzip;q=0.8, zstd;q=0.501", NULL), "gzip zstd br identity");
    VV_CHECK_STR(order("gzip;q=0.5, identity", NULL), "identity gzip");
    VV_CHECK_STR(order("gzip ; q=0.001, identity;q=0.001", NULL), "gzip identity");
}

VV_TEST(encoding_of_weight_zero_is_refused)
{
    VV_CHECK_STR(order("gzip;q=0, br", NULL), "br identity");
    VV_CHECK_STR(order("identity;q=0, gzip", NULL), "gzip");
    VV_CHECK_STR(order("identity;q=0", NULL), "");
    VV_CHECK_STR(order("*;q=0", NULL), "");
    VV_CHECK_STR(order("*;q=0, identity;q=0.1", NULL), "identity");
}

VV_TEST(encoding_star_stands_for_all_that_is_not_named)
{
    VV_CHECK_STR(order("*", NULL), "br zstd gzip identity");
    VV_CHECK_STR(order("gzip, *;q=0.2", NULL), "gzip br zstd identity");
    VV_CHECK_STR(order("br;q=0, *", NULL), "zstd gzip identity");
}

VV_TEST(encoding_member_that_is_malformed_is_skipped)
{
    static const char *const bad[] = {"gzip;q=2",      "gzip;q=1.1", "gzip;q=-1", "gzip;q=",
                                      "gzip;q=0.1234", "gzip;x=1",   "gzip;",     "gzip;q=0,5"};
    for (size_t i = 0; i < VV_COUNT(bad) - 1; i++) {
        VV_CHECK_STR(order(bad[i], NULL), "identity");
    }
    VV_CHECK_STR(order(bad[7], "br"), "br identity"); /* "5" is no coding, q=0 refuses */
}

static struct vv_h1_head request, answer;

static void parse_request(const char *method, const char *accept)
{
    static char text[512];
    static const struct vv_h1_limits limits = {1024, 1024, 16};
    snprintf(text, sizeof text, "%s / HTTP/1.1\r\nHost: h\r\n%s%s%s\r\n", method,
             accept != NULL ? "Accept-Encoding: " : "", accept != NULL ? accept : "",
             accept != NULL ? "\r\n" : "");
    vv_h1_head_init(&request);
    VV_CHECK_INT(vv_h1_parse_request(&request, vv_str_from(text), &limits), VV_OK);
}

static void parse_answer(const char *status, const char *fields)
{
    static char text[1024];
    static const struct vv_h1_limits limits = {1024, 1024, 16};
    snprintf(text, sizeof text, "HTTP/1.1 %s\r\n%s\r\n", status, fields);
    vv_h1_head_init(&answer);
    VV_CHECK_INT(vv_h1_parse_answer(&answer, vv_str_from(text), request.method, &limits), VV_OK);
}

/* "gzip vary chosen": the verdict for the answer parsed last. */
static const char *verdict(const struct vv_encoding_rules *rules)
{
    static char text[64];
    const struct vv_encoding_facts facts = vv_encoding_facts_of(&answer);
    const struct vv_encoding_verdict v = vv_encoding_decide(rules, &request, &facts);
    snprintf(text, sizeof text, "%s %s%s", vv_encodings[v.encoding].name.p, v.vary ? "vary " : "",
             vv_encoding_whys[v.why].name);
    return text;
}

static const enum vv_encoding zstd_first[] = {VV_ENCODING_ZSTD, VV_ENCODING_BR, VV_ENCODING_GZIP};
static const struct vv_str types[] = {{"text/*", 6}, {"application/json", 16}, {"*+json", 6}};
static const struct vv_encoding_rules rules = {zstd_first, 3, types, VV_COUNT(types), 1024};
#define JSON "Content-Type: application/json\r\n"
#define LONG "Content-Length: 5000\r\n"

VV_TEST(encoding_of_an_answer_is_the_clients_first_then_ours)
{
    static const struct {
        const char *accept, *want;
    } cases[] = {
        {"gzip, br, zstd", "zstd vary chosen"},
        {"gzip, br", "br vary chosen"},
        {"gzip", "gzip vary chosen"},
        {"br;q=0.5, gzip", "gzip vary chosen"},
        {"*", "zstd vary chosen"},
        {"identity;q=0", "identity vary client"}, /* nothing would do: it gets what there is */
        {"gzip;q=0.5, identity", "identity vary client"},
        {"gzip;q=0", "identity vary client"},
        {"deflate", "identity vary client"},
        {NULL, "identity vary client"},
    };
    for (size_t i = 0; i < VV_COUNT(cases); i++) {
        parse_request("GET", cases[i].accept);
        parse_answer("200 OK", JSON LONG);
        VV_CHECK_STR(verdict(&rules), cases[i].want);
    }
    static const struct vv_encoding_rules none = {NULL, 0, types, VV_COUNT(types), 1024};
    parse_request("GET", "gzip");
    VV_CHECK_STR(verdict(&none), "identity client"); /* no choice, so nothing to vary by */
    static const struct vv_encoding_rules only_gzip = {zstd_first + 2, 1, types, 3, 1024};
    parse_request("GET", "br, gzip;q=0.1");
    VV_CHECK_STR(verdict(&only_gzip), "gzip vary chosen");
}

VV_TEST(encoding_is_left_to_answers_that_may_be_changed)
{
    static const struct {
        const char *status, *fields, *want;
    } cases[] = {
        {"404 Not Found", JSON LONG, "gzip vary chosen"},
        {"207 Multi-Status", JSON LONG, "gzip vary chosen"},
        {"204 No Content", JSON, "identity status"},
        {"205 Reset Content", JSON LONG, "identity status"},
        {"304 Not Modified", JSON LONG, "identity status"},
        {"416 Range Not Satisfiable", JSON LONG, "identity status"},
        {"206 Partial Content", JSON LONG "Content-Range: bytes 0-4999/9000\r\n", "identity part"},
        {"200 OK", JSON LONG "Content-Range: bytes 0-4999/9000\r\n", "identity part"},
        {"200 OK", JSON LONG "Content-Encoding: br\r\n", "identity encoded"},
        {"200 OK", JSON LONG "Cache-Control: public, No-Transform\r\n", "identity no_transform"},
        {"200 OK", JSON LONG "Cache-Control: no-transform\r\nCache-Control: public\r\n",
         "identity no_transform"},
        {"200 OK", JSON LONG "Repr-Digest: sha-256=:AA==:\r\n", "identity digest"},
        {"200 OK", JSON LONG "content-md5: AA==\r\n", "identity digest"},
    };
    parse_request("GET", "gzip");
    for (size_t i = 0; i < VV_COUNT(cases); i++) {
        parse_answer(cases[i].status, cases[i].fields);
        VV_CHECK_STR(verdict(&rules), cases[i].want);
    }
}

VV_TEST(encoding_begins_at_the_minimum_length)
{
    parse_request("GET", "gzip");
    parse_answer("200 OK", JSON "Content-Length: 1023\r\n");
    VV_CHECK_STR(verdict(&rules), "identity small");
    parse_answer("200 OK", JSON "Content-Length: 1024\r\n");
    VV_CHECK_STR(verdict(&rules), "gzip vary chosen");
    parse_answer("200 OK", JSON "Transfer-Encoding: chunked\r\n");
    VV_CHECK_STR(verdict(&rules), "gzip vary chosen"); /* not known: it may be long */
    parse_request("HEAD", "gzip");
    parse_answer("200 OK", JSON LONG);
    VV_CHECK_STR(verdict(&rules), "gzip vary chosen"); /* the fields of GET */
}

VV_TEST(encoding_goes_by_media_type)
{
    static const struct vv_str all[] = {{"*/*", 3}, {"image/png", 9}};
    static const struct vv_encoding_rules everything = {zstd_first, 3, all, 2, 0};
    static const struct {
        const char *type;
        bool listed, by_star;
    } cases[] = {
        {"text/html; charset=utf-8", true, true},
        {"TEXT/Plain", true, true},
        {"application/json ;x=y", true, true},
        {"application/problem+json", true, true},
        {"application/jsonx", false, true},
        {"application/octet-stream", false, false},
        {"image/jpeg", false, false},
        {"image/png", false, true}, /* named in full, so it is wanted */
        {"image/svg+xml", false, true},
        {"image/x-unheard-of", false, false},
        {"video/x-unheard-of", false, false},
        {"application/zip", false, false},
        {"", false, false},
    };
    parse_request("GET", "gzip");
    for (size_t i = 0; i < VV_COUNT(cases); i++) {
        char fields[128];
        snprintf(fields, sizeof fields, "Content-Type: %s\r\n" LONG, cases[i].type);
        parse_answer("200 OK", fields);
        VV_CHECK_STR(verdict(&rules), cases[i].listed ? "gzip vary chosen" : "identity type");
        VV_CHECK_STR(verdict(&everything), cases[i].by_star ? "gzip vary chosen" : "identity type");
    }
    parse_answer("200 OK", LONG);
    VV_CHECK_STR(verdict(&everything), "identity type"); /* no Content-Type at all */
}

VV_TEST(encoding_makes_a_strong_tag_weak)
{
    VV_CHECK_SLICE(vv_encoding_etag_prefix(VV_STR("\"a\"")), "W/");
    VV_CHECK_SLICE(vv_encoding_etag_prefix(VV_STR("W/\"a\"")), "");
    VV_CHECK_SLICE(vv_encoding_etag_prefix(VV_STR("")), "");
}

VV_TEST(vary_names_what_it_must_once)
{
    static const struct {
        const char *fields, *want;
    } cases[] = {
        {"", "Accept-Encoding"},
        {"Vary: Origin\r\n", "Origin, Accept-Encoding"},
        {"Vary: origin ,accept-encoding\r\n", "origin, accept-encoding"},
        {"Vary: Accept-Encoding\r\nVary: Origin, Accept-Encoding\r\n", "Accept-Encoding, Origin"},
        {"Vary: Origin\r\nVary: Cookie\r\n", "Origin, Cookie, Accept-Encoding"},
        {"Vary: Origin\r\nVary: *\r\n", "*"},
        {"Vary: ,\r\n", "Accept-Encoding"},
    };
    char out[64];
    parse_request("GET", NULL);
    for (size_t i = 0; i < VV_COUNT(cases); i++) {
        parse_answer("200 OK", cases[i].fields);
        const size_t n = vv_vary_merge(&answer, VV_STR("Accept-Encoding"), out, sizeof out);
        VV_CHECK_SLICE(((struct vv_str){out, n}), cases[i].want);
        /* Exactly enough room will do, one byte less will not. */
        VV_CHECK_INT(vv_vary_merge(&answer, VV_STR("Accept-Encoding"), out, n), n);
        VV_CHECK_INT(vv_vary_merge(&answer, VV_STR("Accept-Encoding"), out, n - 1), 0);
    }
}
