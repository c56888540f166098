/* tests/unit/wire/test_date.c - HTTP dates in their three forms. */
#include "vv_test.h"
#include "wire/date.h"
#include <time.h>

/* 784111777: the example date of RFC 9110 5.6.7. */
#define EXAMPLE INT64_C(784111777)
#define NOW INT64_C(1800000000) /* 2027-01-15 */

static int64_t parse(const char *text)
{
    int64_t s = -1;
    return vv_http_date_parse(vv_str_from(text), NOW, &s) == VV_OK ? s : -1;
}

VV_TEST(example_of_the_rfc_in_all_forms)
{
    VV_CHECK_INT(parse("Sun, 06 Nov 1994 08:49:37 GMT"), EXAMPLE);
    VV_CHECK_INT(parse("Sunday, 06-Nov-94 08:49:37 GMT"), EXAMPLE);
    VV_CHECK_INT(parse("Sun Nov  6 08:49:37 1994"), EXAMPLE);
    char out[VV_HTTP_DATE_BYTES];
    vv_http_date_format(EXAMPLE, out);
    VV_CHECK_SLICE(((struct vv_str){out, sizeof out}), "Sun, 06 Nov 1994 08:49:37 GMT");
}

/* The C library in the UTC zone is the judge, over leap years and centuries. */
VV_TEST(format_agrees_with_the_c_library)
{
    for (int64_t s = -2208988800; s < 7258118400; s += 86399 * 11) { /* 1900 to 2200 */
        char want[64], out[VV_HTTP_DATE_BYTES];
        const time_t t = (time_t)s;
        struct tm tm;
        gmtime_r(&t, &tm);
        strftime(want, sizeof want, "%a, %d %b %Y %H:%M:%S GMT", &tm); /* the C locale */
        vv_http_date_format(s, out);
        VV_CHECK_SLICE(((struct vv_str){out, sizeof out}), want);
        int64_t back = 0;
        VV_CHECK_INT(vv_http_date_parse((struct vv_str){out, sizeof out}, NOW, &back), VV_OK);
        VV_CHECK_INT(back, s);
    }
}

VV_TEST(two_digit_years_lie_within_fifty_years)
{
    /* now is January 2027: 76 is 2076, 78 would be more than 50 years ahead and is 1978. */
    VV_CHECK_INT(parse("Wednesday, 01-Jan-76 00:00:00 GMT"), INT64_C(3345062400));
    VV_CHECK_INT(parse("Sunday, 01-Jan-78 00:00:00 GMT"), INT64_C(252460800));
    /* 2077-01-15 08:00:00 is 50 years ahead to the second, one second later is too far. */
    VV_CHECK_INT(parse("Friday, 15-Jan-77 08:00:00 GMT"), INT64_C(3377923200));
    VV_CHECK_INT(parse("Friday, 15-Jan-77 08:00:01 GMT"), INT64_C(222163201)); /* 1977 */
}

VV_TEST(leap_days_and_leap_seconds_count)
{
    VV_CHECK_INT(parse("Thu, 29 Feb 2024 00:00:00 GMT"), INT64_C(1709164800));
    VV_CHECK_INT(parse("Sat, 31 Dec 2016 23:59:60 GMT"), INT64_C(1483228800));
    VV_CHECK_INT(parse("Wed, 29 Feb 2023 00:00:00 GMT"), -1);
    VV_CHECK_INT(parse("Thu, 29 Feb 1900 00:00:00 GMT"), -1);
}

VV_TEST(malformed_dates_are_refused)
{
    static const char *const bad[] = {
        "",
        "0",
        "Sun",
        "Sun,",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 GMT ",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 nov 1994 08:49:37 GMT",
        "Sun, 31 Nov 1994 08:49:37 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:60:37 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 06 Nov 94 08:49:37 GMT",
        "Sunday, 06-Nov-1994 08:49:37 GMT",
        "Sunday, 06-Xxx-94 08:49:37 GMT",
        "Sun Nov 6 08:49:37 1994",
        "Sun Nov  6 08:49:37 1994 GMT",
        "Noday, 06 Nov 1994 08:49:37 GMT",
    };
    for (size_t i = 0; i < VV_COUNT(bad); i++) {
        print_message("%s\n", bad[i]);
        VV_CHECK_INT(parse(bad[i]), -1);
    }
}
