/* tests/unit/cache/test_validate.c - conditions, 304 both ways, what a change invalidates. */
#include "cache/validate.h"
#include "cases.h"

#define T 784111777 /* Sun, 06 Nov 1994 08:49:37 GMT */
#define THEN "Sun, 06 Nov 1994 08:49:37 GMT"
#define BEFORE "Sun, 06 Nov 1994 08:49:36 GMT"

VV_TEST(validate_asks_with_all_stored_validators)
{
    static struct head_case a;
    char out[256];
    size_t n = vv_cache_conditions(answer_of(&a, 200, "ETag: W/\"a\"~Last-Modified: " THEN), out,
                                   sizeof out);
    VV_CHECK_SLICE(((struct vv_str){out, n}),
                   "If-None-Match: W/\"a\"\r\nIf-Modified-Since: " THEN "\r\n");
    VV_CHECK_INT(vv_cache_conditions(answer_of(&a, 200, "X: y"), out, sizeof out), 0);
    VV_CHECK_INT(vv_cache_conditions(answer_of(&a, 200, "ETag: \"a\""), out, 10), 0);
}

VV_TEST(validate_answers_clients_by_tag_then_by_date)
{
    static const struct {
        const char *method, *request, *stored;
        int status;
        bool want;
    } cases[] = {/* RFC 9111 section 4.3.2 */
                 {"GET", "If-None-Match: \"a\"", "ETag: \"a\"", 200, true},
                 {"HEAD", "If-None-Match: \"a\"", "ETag: \"a\"", 200, true},
                 {"GET", "If-None-Match: W/\"a\"", "ETag: \"a\"", 200, true},
                 {"GET", "If-None-Match: \"a\"", "ETag: W/\"a\"", 200, true},
                 {"GET", "If-None-Match: \"b\"", "ETag: \"a\"", 200, false},
                 {"GET", "If-None-Match: \"b\", \"a\"", "ETag: \"a\"", 200, true},
                 {"GET", "If-None-Match: *", "", 200, true},
                 {"GET", "If-None-Match: \"\"", "", 200, false},
                 {"GET", "If-None-Match: \"a\"", "ETag: \"a\"", 404, false},
                 {"POST", "If-None-Match: \"a\"", "ETag: \"a\"", 200, false},
                 {"GET", "If-Match: \"b\"", "ETag: \"a\"", 200, false},
                 {"GET", "If-Modified-Since: " THEN, "Last-Modified: " THEN, 200, true},
                 {"GET", "If-Modified-Since: " BEFORE, "Last-Modified: " THEN, 200, false},
                 {"GET", "If-Modified-Since: " THEN, "Date: " THEN, 200, true},
                 {"GET", "If-Modified-Since: " BEFORE, "Date: " THEN, 200, false},
                 {"GET", "If-Modified-Since: now", "Last-Modified: " THEN, 200, false},
                 {"GET", "If-None-Match: \"b\"~If-Modified-Since: " THEN,
                  "ETag: \"a\"~Last-Modified: " THEN, 200, false}};
    static struct head_case req, stored;
    for (size_t i = 0; i < VV_COUNT(cases); i++) {
        struct vv_cc cc;
        (void)request_of(&req, cases[i].method, cases[i].request);
        (void)answer_of(&stored, cases[i].status, cases[i].stored);
        vv_cc_init(&cc);
        const struct vv_cache_facts f = vv_cache_facts_of(
            &stored.head, &cc, &vv_cache_options_default, T * INT64_C(1000), T * INT64_C(1000));
        if (vv_cache_not_modified(&req.head, &stored.head, &f, T) != cases[i].want) {
            fail_msg("row %zu: %s", i, cases[i].request);
        }
    }
}

VV_TEST(validate_takes_a_304_only_for_the_answer_it_speaks_about)
{
    static const struct {
        const char *fresh, *stored;
        bool want;
    } cases[] = {/* RFC 9111 section 4.3.4 */
                 {"ETag: \"a\"", "ETag: \"a\"", true},
                 {"ETag: \"b\"", "ETag: \"a\"", false},
                 {"ETag: \"a\"", "ETag: W/\"a\"", false},
                 {"ETag: W/\"a\"", "ETag: \"a\"", true},
                 {"Last-Modified: " THEN, "Last-Modified: " THEN, true},
                 {"Last-Modified: " THEN, "Last-Modified: " BEFORE, false},
                 {"", "ETag: \"a\"", true}};
    static struct head_case fresh, stored;
    for (size_t i = 0; i < VV_COUNT(cases); i++) {
        VV_CHECK_INT(vv_cache_freshens(answer_of(&fresh, 304, cases[i].fresh),
                                       answer_of(&stored, 200, cases[i].stored)),
                     cases[i].want);
    }
}

VV_TEST(validate_head_agrees_only_with_equal_length_and_tag)
{
    static struct head_case head, stored;
    (void)answer_of(&stored, 200, "ETag: \"a\""); /* RFC 9111 section 4.3.5 */
    VV_CHECK(vv_cache_head_agrees(answer_of(&head, 200, "Content-Length: 5"), &stored.head, 5));
    VV_CHECK(!vv_cache_head_agrees(answer_of(&head, 200, "Content-Length: 6"), &stored.head, 5));
    VV_CHECK(!vv_cache_head_agrees(answer_of(&head, 200, "ETag: \"b\""), &stored.head, 5));
}

VV_TEST(validate_updates_what_does_not_describe_the_bytes)
{
    static struct head_case a;
    struct vv_cc cc;
    vv_cc_init(&cc);
    vv_cc_add(&cc, VV_STR("no-cache=\"X-A, x-b\", private=X-C"));
    static const struct {
        const char *field;
        bool keeps, updates;
    } cases[] = {/* RFC 9111 sections 3.1 and 3.2 */
                 {"Cache-Control: max-age=1", true, true},
                 {"X-Other: 1", true, true},
                 {"ETag: \"a\"", true, true},
                 {"Content-Length: 3", true, false},
                 {"Content-Encoding: gzip", true, false},
                 {"Content-Type: text/plain", true, false},
                 {"Content-Range: bytes 0-1/2", true, false},
                 {"Connection: close", false, false},
                 {"Keep-Alive: timeout=5", false, false},
                 {"Proxy-Authenticate: Basic", false, false},
                 {"Proxy-Authentication-Info: x", false, false},
                 {"X-A: 1", false, false},
                 {"X-B: 1", false, false},
                 {"x-c: 1", false, false}};
    for (size_t i = 0; i < VV_COUNT(cases); i++) {
        const struct vv_h1_field *f = &answer_of(&a, 200, cases[i].field)->fields[0];
        if (vv_cache_keeps_field(f, &cc) != cases[i].keeps ||
            vv_cache_updates_field(f, &cc) != cases[i].updates) {
            fail_msg("%s", cases[i].field);
        }
    }
}

VV_TEST(validate_invalidates_after_unsafe_methods_that_did_not_fail)
{
    VV_CHECK(vv_cache_invalidates(VV_METHOD_POST, 201)); /* RFC 9111 section 4.4 */
    VV_CHECK(vv_cache_invalidates(VV_METHOD_PUT, 204));
    VV_CHECK(vv_cache_invalidates(VV_METHOD_DELETE, 303));
    VV_CHECK(vv_cache_invalidates(VV_METHOD_PATCH, 200));
    VV_CHECK(vv_cache_invalidates(VV_METHOD_OTHER, 200));
    VV_CHECK(!vv_cache_invalidates(VV_METHOD_POST, 404));
    VV_CHECK(!vv_cache_invalidates(VV_METHOD_POST, 500));
    VV_CHECK(!vv_cache_invalidates(VV_METHOD_GET, 200));
    VV_CHECK(!vv_cache_invalidates(VV_METHOD_OPTIONS, 200));
}

VV_TEST(validate_follows_location_only_on_the_same_origin)
{
    static const struct {
        const char *reference, *path, *query; /* path NULL: not ours */
    } cases[] = {                             /* RFC 9111 section 4.4, RFC 3986 section 5.2 */
                 {"/x", "/x", NULL},          {"/x?q=1", "/x", "q=1"},
                 {"y", "/a/y", NULL},         {"../z", "/z", NULL},
                 {"http://H/x", "/x", NULL},  {"http://h:80/x", "/x", NULL},
                 {"http://h", "/", NULL},     {"//h/x", "/x", NULL},
                 {"?q", "/a/b", "q"},         {"http://h:81/x", NULL, NULL},
                 {"https://h/x", NULL, NULL}, {"http://other/x", NULL, NULL},
                 {"mailto:a", NULL, NULL}};
    for (size_t i = 0; i < VV_COUNT(cases); i++) {
        char room[64];
        struct vv_str path, query;
        const bool ours = vv_cache_invalidation_target(VV_STR("http"), VV_STR("h"), VV_STR("/a/b"),
                                                       vv_str_from(cases[i].reference), room,
                                                       sizeof room, &path, &query);
        if (ours != (cases[i].path != NULL)) {
            fail_msg("%s", cases[i].reference);
        }
        if (ours) {
            VV_CHECK_SLICE(path, cases[i].path);
            VV_CHECK_SLICE(query, cases[i].query != NULL ? cases[i].query : "");
        }
    }
}
