/* tests/unit/base/test_json.c - nesting, escapes, bad UTF-8, numbers that read back. */
#include "base/json.h"
#include "vv_test.h"
#include <math.h>
#include <stdlib.h>

static struct vv_sb sb;
static struct vv_json j;

static void start(void)
{
    vv_sb_fini(&sb);
    vv_json_init(&j, &sb);
}

static void check_string(struct vv_str in, const char *want)
{
    start();
    vv_json_str(&j, in);
    VV_CHECK_SLICE(vv_sb_str(&sb), want);
    vv_sb_fini(&sb);
}

VV_TEST(json_keeps_commas_and_nesting)
{
    start();
    vv_json_obj(&j);
    vv_json_ku64(&j, "a", 1);
    vv_json_key(&j, "b");
    vv_json_arr(&j);
    vv_json_i64(&j, -5);
    vv_json_obj(&j);
    vv_json_obj_end(&j);
    vv_json_null(&j);
    vv_json_arr_end(&j);
    vv_json_kbool(&j, "c", true);
    vv_json_kcstr(&j, "d", NULL);
    vv_json_kstr(&j, "e", VV_STR("x"));
    vv_json_kdouble(&j, "f", 0.5);
    vv_json_obj_end(&j);
    VV_CHECK_SLICE(vv_sb_str(&sb),
                   "{\"a\":1,\"b\":[-5,{},null],\"c\":true,\"d\":null,\"e\":\"x\",\"f\":0.5}");
    vv_sb_fini(&sb);
}

VV_TEST(json_nests_thirty_two_levels)
{
    start();
    for (int i = 0; i < 32; i++) {
        vv_json_arr(&j);
    }
    vv_json_u64(&j, 1);
    vv_json_u64(&j, 2);
    for (int i = 0; i < 32; i++) {
        vv_json_arr_end(&j);
    }
    VV_CHECK_INT(sb.n, 32 + 3 + 32); /* brackets, "1,2", brackets */
    vv_sb_fini(&sb);
}

VV_TEST(json_escapes_quotes_and_control_characters)
{
    check_string(VV_STR("a\"b\\c"), "\"a\\\"b\\\\c\"");
    check_string(VV_STR("\b\f\n\r\t"), "\"\\b\\f\\n\\r\\t\"");
    check_string(VV_STR("\x00\x1f\x7f"), "\"\\u0000\\u001f\\u007f\"");
    check_string(VV_STR(""), "\"\"");
}

VV_TEST(json_keeps_utf8_and_replaces_each_byte_that_is_not)
{
#define BAD "\xEF\xBF\xBD"
    check_string(VV_STR("h\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80"),
                 "\"h\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80\"");
    check_string(VV_STR("a\xFF"
                        "b"),
                 "\"a" BAD "b\"");
    check_string(VV_STR("\xC0\xAF"), "\"" BAD BAD "\"");                 /* overlong slash */
    check_string(VV_STR("\xED\xA0\x80"), "\"" BAD BAD BAD "\"");         /* a surrogate */
    check_string(VV_STR("\xF4\x90\x80\x80"), "\"" BAD BAD BAD BAD "\""); /* U+110000 */
    check_string(VV_STR("x\xE2\x82"), "\"x" BAD BAD "\"");               /* cut off at the end */
}

VV_TEST(json_numbers_read_back_exactly)
{
    static const double v[] = {0.1, 1.0 / 3, 1e300, -2.5, 0, 123456789.125, 5e-324, 1e15};
    for (size_t i = 0; i < VV_COUNT(v); i++) {
        start();
        vv_json_double(&j, v[i]);
        const double back = strtod(sb.p, NULL);
        VV_CHECK(memcmp(&back, &v[i], sizeof(back)) == 0);
    }
    start();
    vv_json_double(&j, 0.1);
    VV_CHECK_STR(sb.p, "0.1"); /* not 0.10000000000000001 */
    start();
    vv_json_double(&j, NAN);
    VV_CHECK_STR(sb.p, "null");
    start();
    vv_json_double(&j, -INFINITY);
    VV_CHECK_STR(sb.p, "null");
    start();
    vv_json_i64(&j, INT64_MIN);
    VV_CHECK_STR(sb.p, "-9223372036854775808");
    start();
    vv_json_u64(&j, UINT64_MAX);
    VV_CHECK_STR(sb.p, "18446744073709551615");
    vv_sb_fini(&sb);
}
