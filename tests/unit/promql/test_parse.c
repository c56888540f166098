/* tests/unit/promql/test_parse.c - what a query means, and where a wrong one is wrong. */
#include "promql/promql.h"
#include "vv_test.h"

#include <math.h>
#include <stdio.h>

static char printed[2000];

static const char *parse(const char *text)
{
    struct vv_arena arena;
    const struct vv_promql_expr *e = NULL;
    struct vv_promql_error why;
    struct vv_sb sb = VV_SB_INIT;
    vv_arena_init(&arena, NULL, 0, 65536, 0);
    if (vv_promql_parse(vv_str_from(text), &arena, &e, &why) == VV_OK) {
        vv_promql_print(e, &sb);
        snprintf(printed, sizeof printed, "%s", sb.p);
    } else {
        snprintf(printed, sizeof printed, "%zu: %s", why.at, why.text);
    }
    vv_sb_fini(&sb);
    vv_arena_fini(&arena);
    return printed;
}

VV_TEST(operators_bind_as_they_should)
{
    VV_CHECK_STR(parse("1 + 2 * 3"), "1 + (2 * 3)");
    VV_CHECK_STR(parse("1 - 2 - 3"), "(1 - 2) - 3");
    VV_CHECK_STR(parse("2 ^ 3 ^ 2"), "2 ^ (3 ^ 2)");
    VV_CHECK_STR(parse("-2 ^ 2"), "-(2 ^ 2)");
    VV_CHECK_STR(parse("-2 * 3"), "(-2) * 3");
    VV_CHECK_STR(parse("a or b and c > 1"),
                 "{__name__=\"a\"} or ({__name__=\"b\"} and ({__name__=\"c\"} > 1))");
}

VV_TEST(ranges_offsets_and_times_belong_to_the_selector)
{
    VV_CHECK_STR(parse("a[5m] offset 1h30m @ 1.5"),
                 "{__name__=\"a\"}[300000ms] @ 1.500 offset 5400000ms");
    VV_CHECK_STR(parse("rate(a[1m])[1h:] offset -5m"),
                 "rate({__name__=\"a\"}[60000ms])[3600000ms:] offset -300000ms");
    VV_CHECK_STR(parse("a @ end()"), "{__name__=\"a\"} @ end()");
}

VV_TEST(matching_and_grouping_are_kept)
{
    VV_CHECK_STR(parse("a * on(x) group_left(y) b"),
                 "{__name__=\"a\"} * on (x) group_left (y) {__name__=\"b\"}");
    VV_CHECK_STR(parse("SUM(a) BY (x)"), "sum by (x)({__name__=\"a\"})");
    VV_CHECK_STR(parse("topk without (x) (3, a)"), "topk without (x)(3, {__name__=\"a\"})");
    VV_CHECK_STR(parse("label_replace(a, 'b', \"\\x41\\u00e4\", `\\`, '')"),
                 "label_replace({__name__=\"a\"}, \"b\", \"A\\xc3\\xa4\", \"\\\\\", \"\")");
}

VV_TEST(an_error_names_its_place)
{
    VV_CHECK_STR(parse("1 + "), "4: the query ends too early");
    VV_CHECK_STR(parse("a[5x]"), "2: bad number or duration");
    VV_CHECK_STR(parse("a and rate(b)"), "11: expected type matrix in rate, got vector");
    VV_CHECK_STR(parse("{a=~\"(\"}"), "4: regular expression: missing closing )");
    VV_CHECK_STR(parse("1 < 2"), "2: comparisons between scalars must use bool");
}

VV_TEST(depth_is_bounded)
{
    char text[4001];
    memset(text, '(', 4000);
    text[4000] = '\0';
    VV_CHECK(strstr(parse(text), "nested too deep") != NULL);
    memset(text, '-', 4000);
    VV_CHECK(strstr(parse(text), "nested too deep") != NULL);
    for (size_t i = 0; i < 4000; i += 2) {
        memcpy(text + i, "1+", 2);
    }
    text[3999] = '\0';
    VV_CHECK(strstr(parse(text), "inside each other") != NULL);
}

VV_TEST(numbers_print_in_full_and_read_back)
{
    char buf[VV_PROMQL_FORMAT_BYTES];
    VV_CHECK_STR(vv_promql_format(0.1, buf), "0.1");
    VV_CHECK_STR(vv_promql_format(-1500, buf), "-1500");
    VV_CHECK_STR(vv_promql_format(1e23, buf), "100000000000000000000000");
    VV_CHECK_STR(vv_promql_format(1.5e-7, buf), "0.00000015");
    VV_CHECK_STR(vv_promql_format(0, buf), "0");
    VV_CHECK_STR(vv_promql_format(vv_promql_stale(), buf), "NaN");
    VV_CHECK_STR(vv_promql_format(-(double)INFINITY, buf), "-Inf");
}
