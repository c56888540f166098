/* tests/unit/observe/test_text.c - digits, calendar and UTF-8. */
#include "observe/text_int.h"

#include "vv_test.h"

#define CHECK_TEXT(call, want)                                                                     \
    do {                                                                                           \
        char out_[64];                                                                             \
        char *p = out_;                                                                            \
        p = call;                                                                                  \
        *p = '\0';                                                                                 \
        VV_CHECK_STR(out_, want);                                                                  \
    } while (0)

VV_TEST(numbers_are_written_in_full)
{
    CHECK_TEXT(vv_text_u64(p, 0), "0");
    CHECK_TEXT(vv_text_u64(p, UINT64_MAX), "18446744073709551615");
    CHECK_TEXT(vv_text_pad(p, 7, 3), "007");
    CHECK_TEXT(vv_text_seconds(p, 0), "0");
    CHECK_TEXT(vv_text_seconds(p, 1), "0.000000001");
    CHECK_TEXT(vv_text_seconds(p, 1500 * VV_US), "0.0015");
    CHECK_TEXT(vv_text_seconds(p, 30 * VV_SEC), "30");
}

VV_TEST(dates_are_right_over_leap_years_and_centuries)
{
    /* seconds since 1970 from the POSIX formula: days * 86400 + seconds of the day */
    CHECK_TEXT(vv_text_iso(p, 0), "1970-01-01T00:00:00");
    CHECK_TEXT(vv_text_iso(p, UINT64_C(951782399)), "2000-02-28T23:59:59"); /* day 11015 */
    CHECK_TEXT(vv_text_iso(p, UINT64_C(951782400)), "2000-02-29T00:00:00"); /* day 11016 */
    CHECK_TEXT(vv_text_iso(p, UINT64_C(951868800)), "2000-03-01T00:00:00");
    CHECK_TEXT(vv_text_iso(p, UINT64_C(4107542400)), "2100-03-01T00:00:00"); /* no 29 February */
    CHECK_TEXT(vv_text_iso(p, UINT64_C(1795249020)), "2026-11-21T08:17:00");
    CHECK_TEXT(vv_text_clf(p, UINT64_C(1795249020)), "21/Nov/2026:08:17:00 +0000");
    CHECK_TEXT(vv_text_clf(p, UINT64_C(1798761599)), "31/Dec/2026:23:59:59 +0000");
}

VV_TEST(utf8_is_told_from_what_only_looks_like_it)
{
    static const struct {
        const char *bytes;
        size_t want;
    } rows[] = {
        {"a", 1},
        {"\x7f", 1},
        {"\xc3\xa9", 2},
        {"\xe2\x82\xac", 3},
        {"\xf0\x9f\x98\x80", 4},
        {"\x80", 0},
        {"\xc0\xaf", 0},
        {"\xc1\xbf", 0},
        {"\xe0\x9f\xbf", 0}, /* overlong */
        {"\xed\xa0\x80", 0},
        {"\xed\x9f\xbf", 3}, /* surrogates */
        {"\xf4\x90\x80\x80", 0},
        {"\xf4\x8f\xbf\xbf", 4},
        {"\xf5\x80\x80\x80", 0},
        {"\xe2\x82", 0},
        {"\xf0\x9f\x98", 0},
        {"\xc3(", 0},
        {"\xf0\x8f\xbf\xbf", 0},
    };
    for (size_t i = 0; i < VV_COUNT(rows); i++) {
        VV_CHECK_INT(vv_text_utf8((const unsigned char *)rows[i].bytes, strlen(rows[i].bytes)),
                     rows[i].want);
    }
    VV_CHECK_INT(vv_text_utf8((const unsigned char *)"", 0), 0);
}

VV_TEST(cleaning_copies_only_what_is_bad_or_too_long)
{
    char buf[8];
    const struct vv_str good = VV_STR("caf\xc3\xa9");
    VV_CHECK(vv_text_clean(good, buf, sizeof(buf)).p == good.p);
    VV_CHECK_SLICE(vv_text_clean(VV_STR("a\xff"
                                        "b"),
                                 buf, sizeof(buf)),
                   "a\xef\xbf\xbd"
                   "b");
    VV_CHECK_SLICE(vv_text_clean(VV_STR("123456789"), buf, sizeof(buf)), "12345678");
    /* the cut never splits a character: byte 8 would be the first half of one */
    VV_CHECK_SLICE(vv_text_clean(VV_STR("1234567\xc3\xa9"), buf, sizeof(buf)), "1234567");
    VV_CHECK_SLICE(vv_text_clean((struct vv_str){NULL, 0}, buf, sizeof(buf)), "");
}
