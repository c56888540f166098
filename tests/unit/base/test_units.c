/* tests/unit/base/test_units.c - what users write is read exactly, and printed back. */
#include "base/units.h"
#include "vv_test.h"

static void check_duration(const char *text, enum vv_err err, uint64_t want)
{
    uint64_t got = 77;
    VV_CHECK_INT(vv_parse_duration(vv_str_from(text), &got), err);
    VV_CHECK(got == (err == VV_OK ? want : 77));
}

VV_TEST(units_reads_durations)
{
    check_duration("0", VV_OK, 0);
    check_duration("0s", VV_OK, 0);
    check_duration("500ms", VV_OK, 500 * VV_MS);
    check_duration("1.5s", VV_OK, 1500 * VV_MS);
    check_duration("0.25m", VV_OK, 15 * VV_SEC);
    check_duration("7d", VV_OK, 7 * VV_DAY);
    check_duration("2w", VV_OK, 14 * VV_DAY);
    check_duration("3us", VV_OK, 3000);
    check_duration("18446744073709551615ns", VV_OK, UINT64_MAX);
    check_duration("1.9ns", VV_OK, 1); /* rounded down */
}

VV_TEST(units_refuses_durations_with_the_right_reason)
{
    check_duration("30", VV_EINVAL, 0); /* needs a unit */
    check_duration("1.5", VV_EINVAL, 0);
    check_duration("00", VV_EINVAL, 0);
    check_duration("", VV_ESYNTAX, 0);
    check_duration("s", VV_ESYNTAX, 0);
    check_duration("-1s", VV_ESYNTAX, 0);
    check_duration("1 s", VV_ESYNTAX, 0);
    check_duration("1.s", VV_ESYNTAX, 0);
    check_duration(".5s", VV_ESYNTAX, 0);
    check_duration("1S", VV_ESYNTAX, 0); /* durations keep their case: m is not M */
    check_duration("1m30s", VV_ESYNTAX, 0);
    check_duration("0.1ns", VV_ERANGE, 0); /* not zero, but would become it */
    check_duration("18446744073709551616ns", VV_ERANGE, 0);
    check_duration("40000w", VV_ERANGE, 0); /* 2.4e19 ns */
}

VV_TEST(units_reads_sizes_in_any_case_as_powers_of_1024)
{
    static const struct {
        const char *text;
        uint64_t want;
    } row[] = {{"4gb", 4 * VV_GIB}, {"256MB", 256 * VV_MIB}, {"1KiB", 1024}, {"1.5k", 1536},
               {"10B", 10},         {"2T", 2048 * VV_GIB},   {"0.3KB", 307}, {"0", 0},
               {"1mib", VV_MIB}};
    uint64_t got;
    for (size_t i = 0; i < VV_COUNT(row); i++) {
        VV_CHECK_INT(vv_parse_size(vv_str_from(row[i].text), &got), VV_OK);
        VV_CHECK_INT(got, row[i].want);
    }
    VV_CHECK_INT(vv_parse_size(VV_STR("512"), &got), VV_EINVAL);
    VV_CHECK_INT(vv_parse_size(VV_STR("5PB"), &got), VV_ESYNTAX);
    VV_CHECK_INT(vv_parse_size(VV_STR("99999999TB"), &got), VV_ERANGE);
}

VV_TEST(units_reads_shares_and_rates)
{
    uint64_t ppm = 0;
    struct vv_rate r = {0, 0};
    VV_CHECK_INT(vv_parse_ppm(VV_STR("99.9%"), &ppm), VV_OK);
    VV_CHECK_INT(ppm, 999000);
    VV_CHECK_INT(vv_parse_ppm(VV_STR("99.99999%"), &ppm), VV_OK);
    VV_CHECK_INT(ppm, 999999); /* never rounded up to "always" */
    VV_CHECK_INT(vv_parse_ppm(VV_STR("0%"), &ppm), VV_OK);
    VV_CHECK_INT(ppm, 0);
    VV_CHECK_INT(vv_parse_ppm(VV_STR("0"), &ppm), VV_EINVAL);
    VV_CHECK_INT(vv_parse_ppm(VV_STR("5"), &ppm), VV_EINVAL);
    VV_CHECK_INT(vv_parse_rate(VV_STR("10000/h"), &r), VV_OK);
    VV_CHECK(r.count == 10000 && r.per_ns == VV_HOUR);
    VV_CHECK_INT(vv_parse_rate(VV_STR("7/d"), &r), VV_OK);
    VV_CHECK(r.count == 7 && r.per_ns == VV_DAY);
    VV_CHECK_INT(vv_parse_rate(VV_STR("100"), &r), VV_EINVAL);
    VV_CHECK_INT(vv_parse_rate(VV_STR("100/"), &r), VV_ESYNTAX);
    VV_CHECK_INT(vv_parse_rate(VV_STR("/s"), &r), VV_ESYNTAX);
    VV_CHECK_INT(vv_parse_rate(VV_STR("1.5/s"), &r), VV_ESYNTAX);
    VV_CHECK_INT(vv_parse_rate(VV_STR("1/s/s"), &r), VV_ESYNTAX);
    VV_CHECK(r.count == 7); /* failing changed nothing */
}

VV_TEST(units_prints_as_a_user_would_write)
{
    static const struct {
        uint64_t ns;
        const char *want;
    } row[] = {{0, "0"},
               {90 * VV_SEC, "90s"},
               {3600 * VV_SEC, "1h"},
               {500 * VV_MS, "500ms"},
               {1500 * VV_MS, "1.5s"},
               {90 * VV_MINUTE, "90m"},
               {7 * VV_DAY, "7d"},
               {36 * VV_HOUR, "36h"},
               {1, "1ns"},
               {1234567, "1234567ns"}};
    char buf[32];
    for (size_t i = 0; i < VV_COUNT(row); i++) {
        VV_CHECK_STR(vv_format_duration(row[i].ns, buf, sizeof(buf)), row[i].want);
    }
    VV_CHECK_STR(vv_format_size(256 * VV_MIB, buf, sizeof(buf)), "256MB");
    VV_CHECK_STR(vv_format_size(1536, buf, sizeof(buf)), "1.5KB");
    VV_CHECK_STR(vv_format_size(1000, buf, sizeof(buf)), "1000B");
    VV_CHECK_STR(vv_format_ppm(999000, buf, sizeof(buf)), "99.9%");
    VV_CHECK_STR(vv_format_ppm(50, buf, sizeof(buf)), "0.005%");
    VV_CHECK_STR(vv_format_ppm(1000000, buf, sizeof(buf)), "100%");
    VV_CHECK_STR(vv_format_ppm(0, buf, sizeof(buf)), "0%");
}

VV_TEST(units_reads_back_whatever_it_prints)
{
    char buf[32];
    uint64_t back = 0;
    for (uint64_t v = 1; v < UINT64_MAX / 7; v = v * 5 + v / 3 + 1) {
        VV_CHECK_INT(vv_parse_duration(vv_str_from(vv_format_duration(v, buf, 32)), &back), VV_OK);
        VV_CHECK(back == v);
        VV_CHECK_INT(vv_parse_size(vv_str_from(vv_format_size(v, buf, 32)), &back), VV_OK);
        VV_CHECK(back == v);
        const uint64_t ppm = v % 2000000;
        VV_CHECK_INT(vv_parse_ppm(vv_str_from(vv_format_ppm(ppm, buf, 32)), &back), VV_OK);
        VV_CHECK(back == ppm);
    }
}
