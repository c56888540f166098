/* tests/unit/promql/test_regex.c - whole matches, leftmost groups, no exponential time. */
#include "promql/regex.h"
#include "vv_test.h"

static struct vv_str groups[VV_REGEX_GROUPS];
static struct vv_arena arena;

static const struct vv_regex *compile(const char *pattern)
{
    const struct vv_regex *re = NULL;
    const char *why = NULL;
    vv_arena_fini(&arena);
    vv_arena_init(&arena, NULL, 0, 65536, 0);
    return vv_regex_compile(vv_str_from(pattern), &arena, &re, &why) == VV_OK ? re : NULL;
}

static bool matches(const char *pattern, const char *text)
{
    const struct vv_regex *re = compile(pattern);
    VV_CHECK(re != NULL);
    const bool is = vv_regex_match(re, vv_str_from(text), groups);
    return is;
}

VV_TEST(a_match_is_of_the_whole_text)
{
    VV_CHECK(matches("b|ab", "ab"));
    VV_CHECK(!matches("a", "ab"));
    VV_CHECK(!matches("b", "ab"));
    VV_CHECK(matches("", ""));
    VV_CHECK(matches("^a$", "a"));
    VV_CHECK(!matches("a.b", "a\nb"));
    VV_CHECK(matches("(?s)a.b", "a\nb"));
}

VV_TEST(classes_counts_and_case_are_as_in_re2)
{
    VV_CHECK(matches("[^a-c]\\d{2,3}", "x12"));
    VV_CHECK(!matches("[^a-c]\\d{2,3}", "x1"));
    VV_CHECK(matches("[[:alpha:]]+[^[:digit:]]", "abc-"));
    VV_CHECK(matches("(?i)AbC", "aBc"));
    VV_CHECK(matches("\\D\\S\\W", "a\\-"));
    VV_CHECK(matches(".", "\xc3\xa4"));  /* one character of two bytes */
    VV_CHECK(matches("a{,2}", "a{,2}")); /* not a count, so text */
    VV_CHECK(matches("\\x41\\x{e4}", "A\xc3\xa4"));
}

VV_TEST(groups_are_those_of_the_leftmost_way)
{
    VV_CHECK(matches("(a|ab)(c|bcd)(d*)", "abcd"));
    VV_CHECK_SLICE(groups[1], "a"); /* the first alternative that lets the rest match */
    VV_CHECK_SLICE(groups[2], "bcd");
    VV_CHECK_SLICE(groups[3], "");
    VV_CHECK(matches("(.*?)(x*)", "axx"));
    VV_CHECK_SLICE(groups[1], "a"); /* lazy: as little as possible */
    VV_CHECK(matches("(a)|(b)", "b"));
    VV_CHECK(groups[1].p == NULL);
    const struct vv_regex *re = compile("(?P<host>.*):(?P<port>\\d+)");
    VV_CHECK_INT(vv_regex_group(re, VV_STR("port")), 2);
    VV_CHECK_INT(vv_regex_group(re, VV_STR("nothing")), -1);
    VV_CHECK_INT(vv_regex_group(re, VV_STR("3")), -1);
}

VV_TEST(what_is_no_pattern_is_refused)
{
    static const char *const bad[] = {"(",       ")",     "[",  "a**",     "*",   "a{2,1}",
                                      "a{1001}", "[z-a]", "\\", "(?P<a)b", "\\q", "(?x)a"};
    for (size_t i = 0; i < VV_COUNT(bad); i++) {
        VV_CHECK(compile(bad[i]) == NULL);
    }
    VV_CHECK(compile("((((a{100}){100}){100}){100})") == NULL); /* a program of 10^8 steps */
}

VV_TEST(a_hostile_pattern_takes_time_in_proportion_to_the_text)
{
    char text[2001];
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    VV_CHECK(!matches("(a*)*(a|a)*b", text)); /* backtracking would try 2^2000 ways */
}
