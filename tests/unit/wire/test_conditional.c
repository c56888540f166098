/* tests/unit/wire/test_conditional.c - preconditions in the order of RFC 9110 section 13.2.2. */
#include "vv_test.h"
#include "wire/conditional.h"
#include <stdio.h>

/* Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110 5.6.7 */
#define THEN 784111777
#define THEN_TEXT "Sun, 06 Nov 1994 08:49:37 GMT"
#define BEFORE_TEXT "Sun, 06 Nov 1994 08:49:36 GMT"
#define AFTER_TEXT "Sun, 06 Nov 1994 08:49:38 GMT"
#define NOW (THEN + 3600)

static const struct vv_validators file = {{"\"a,b\"", 5}, THEN};
static struct vv_h1_head head;

static const struct vv_h1_head *request(const char *method, const char *fields)
{
    static char text[512];
    static const struct vv_h1_limits limits = {1024, 1024, 16};
    snprintf(text, sizeof text, "%s / HTTP/1.1\r\nHost: h\r\n%s\r\n", method, fields);
    vv_h1_head_init(&head);
    assert_int_equal(vv_h1_parse_request(&head, vv_str_from(text), &limits), VV_OK);
    return &head;
}

static enum vv_condition get(const char *fields)
{
    return vv_condition_judge(request("GET", fields), &file, NOW);
}

VV_TEST(condition_without_fields_sends)
{
    VV_CHECK_INT(get(""), VV_CONDITION_SEND);
}

VV_TEST(condition_if_none_match_compares_weakly)
{
    VV_CHECK_INT(get("If-None-Match: \"a,b\"\r\n"), VV_CONDITION_NOT_MODIFIED);
    VV_CHECK_INT(get("If-None-Match: W/\"a,b\"\r\n"), VV_CONDITION_NOT_MODIFIED);
    VV_CHECK_INT(get("If-None-Match: \"x\" , , W/\"y\",\"a,b\"\r\n"), VV_CONDITION_NOT_MODIFIED);
    VV_CHECK_INT(get("If-None-Match: \"x\"\r\nIf-None-Match: \"a,b\"\r\n"),
                 VV_CONDITION_NOT_MODIFIED);
    VV_CHECK_INT(get("If-None-Match: *\r\n"), VV_CONDITION_NOT_MODIFIED);
    VV_CHECK_INT(get("If-None-Match: \"x\"\r\n"), VV_CONDITION_SEND);
    VV_CHECK_INT(get("If-None-Match: \"a\", \"b\"\r\n"), VV_CONDITION_SEND);
}

VV_TEST(condition_if_none_match_of_a_writing_method_fails)
{
    VV_CHECK_INT(vv_condition_judge(request("PUT", "If-None-Match: *\r\n"), &file, NOW),
                 VV_CONDITION_FAILED);
    VV_CHECK_INT(vv_condition_judge(request("HEAD", "If-None-Match: *\r\n"), &file, NOW),
                 VV_CONDITION_NOT_MODIFIED);
}

VV_TEST(condition_if_match_compares_strongly)
{
    VV_CHECK_INT(get("If-Match: \"a,b\"\r\n"), VV_CONDITION_SEND);
    VV_CHECK_INT(get("If-Match: *\r\n"), VV_CONDITION_SEND);
    VV_CHECK_INT(get("If-Match: \"x\"\r\n"), VV_CONDITION_FAILED);
    VV_CHECK_INT(get("If-Match: W/\"a,b\"\r\n"), VV_CONDITION_FAILED);
}

VV_TEST(condition_dates_are_judged_by_the_second)
{
    VV_CHECK_INT(get("If-Modified-Since: " BEFORE_TEXT "\r\n"), VV_CONDITION_SEND);
    VV_CHECK_INT(get("If-Modified-Since: " THEN_TEXT "\r\n"), VV_CONDITION_NOT_MODIFIED);
    VV_CHECK_INT(get("If-Modified-Since: " AFTER_TEXT "\r\n"), VV_CONDITION_NOT_MODIFIED);
    VV_CHECK_INT(get("If-Unmodified-Since: " BEFORE_TEXT "\r\n"), VV_CONDITION_FAILED);
    VV_CHECK_INT(get("If-Unmodified-Since: " THEN_TEXT "\r\n"), VV_CONDITION_SEND);
    VV_CHECK_INT(get("If-Modified-Since: yesterday\r\n"), VV_CONDITION_SEND);
    VV_CHECK_INT(get("If-Unmodified-Since: yesterday\r\n"), VV_CONDITION_SEND);
    /* A writing method has no If-Modified-Since (section 13.1.3). */
    VV_CHECK_INT(
        vv_condition_judge(request("PUT", "If-Modified-Since: " THEN_TEXT "\r\n"), &file, NOW),
        VV_CONDITION_SEND);
}

VV_TEST(condition_tags_go_before_dates)
{
    VV_CHECK_INT(get("If-None-Match: \"x\"\r\nIf-Modified-Since: " THEN_TEXT "\r\n"),
                 VV_CONDITION_SEND);
    VV_CHECK_INT(get("If-Match: \"a,b\"\r\nIf-Unmodified-Since: " BEFORE_TEXT "\r\n"),
                 VV_CONDITION_SEND);
    /* If-Match is judged first: 412, not 304. */
    VV_CHECK_INT(get("If-None-Match: \"a,b\"\r\nIf-Match: \"x\"\r\n"), VV_CONDITION_FAILED);
    VV_CHECK_INT(get("If-Match: \"a,b\"\r\nIf-None-Match: \"a,b\"\r\n"), VV_CONDITION_NOT_MODIFIED);
}

VV_TEST(etag_list_ends_at_what_is_malformed)
{
    static const char *const bad[] = {
        "",          "a,b",           "\"a,b",    "x, \"a,b\"",      "W\"a,b\"",
        "w/\"a,b\"", "\"x\" \"a,b\"", "*, \"x\"", "\"x\"y, \"a,b\"", "W/"};
    for (size_t i = 0; i < VV_COUNT(bad); i++) {
        VV_CHECK(!vv_etag_in(vv_str_from(bad[i]), file.etag, true));
    }
}

static bool range_counts(const char *fields, int64_t now_s)
{
    return vv_condition_range(request("GET", fields), &file, now_s);
}

VV_TEST(if_range_wants_the_same_strong_tag)
{
    VV_CHECK(range_counts("", NOW));
    VV_CHECK(range_counts("If-Range: \"a,b\"\r\n", NOW));
    VV_CHECK(!range_counts("If-Range: W/\"a,b\"\r\n", NOW));
    VV_CHECK(!range_counts("If-Range: \"x\"\r\n", NOW));
    VV_CHECK(!range_counts("If-Range: \"x\", \"a,b\"\r\n", NOW)); /* one tag, not a list */
    VV_CHECK(!range_counts("If-Range: *\r\n", NOW));
}

VV_TEST(if_range_wants_exactly_the_date_that_was_sent)
{
    VV_CHECK(range_counts("If-Range: " THEN_TEXT "\r\n", NOW));
    VV_CHECK(!range_counts("If-Range: " AFTER_TEXT "\r\n", NOW));
    VV_CHECK(!range_counts("If-Range: " BEFORE_TEXT "\r\n", NOW));
    /* In the very second of the change another one may follow: the date proves nothing yet. */
    VV_CHECK(!range_counts("If-Range: " THEN_TEXT "\r\n", THEN));
}
