/* tests/unit/cache/test_freshness.c - age and lifetime, sums written out (RFC 9111 4.2). */
#include "cache/freshness.h"
#include "cases.h"

/* Sun, 06 Nov 1994 08:49:37 GMT */
#define T 784111777
#define DATE "Date: Sun, 06 Nov 1994 08:49:37 GMT"

static struct head_case head;

static struct vv_cache_times times(const char *fields, int64_t request_ms, int64_t response_ms)
{
    return vv_cache_times_of(answer_of(&head, 200, fields), request_ms, response_ms);
}

VV_TEST(initial_age_is_the_larger_of_apparent_and_corrected)
{
    static const struct {
        const char *fields;
        int64_t request_ms, response_ms; /* after T */
        uint64_t want_ms;
    } cases[] = {{DATE, 0, 0, 0},
                 {DATE, 0, 400, 400},                   /* corrected: 0 + 400 ms on the way */
                 {DATE, 9000, 10000, 10000},            /* apparent: 10 s */
                 {DATE "~Age: 20", 9000, 10000, 21000}, /* corrected: 20 + 1 s */
                 {DATE "~Age: 3", 9000, 10000, 10000},
                 {DATE, -5000, -5000, 0},   /* their clock is ahead of ours: no negative age */
                 {"Age: 7", 0, 1000, 8000}, /* no Date: that of the answer's coming */
                 {DATE "~Age: 5, 9", 0, 0, 5000},
                 {DATE "~Age: -5", 0, 0, 0},
                 {DATE "~Age: x", 0, 0, 0},
                 {"Date: yesterday~Age: 2", 0, 0, 2000}};
    for (size_t i = 0; i < VV_COUNT(cases); i++) {
        const int64_t base = T * INT64_C(1000);
        const struct vv_cache_times t =
            times(cases[i].fields, base + cases[i].request_ms, base + cases[i].response_ms);
        if (vv_cache_initial_age_ms(&t) != cases[i].want_ms) {
            fail_msg("row %zu: %s: %lu", i, cases[i].fields, vv_cache_initial_age_ms(&t));
        }
    }
}

VV_TEST(current_age_grows_with_the_time_here)
{
    VV_CHECK_INT(vv_cache_age_ms(5000, 1000, 4000), 8000); /* 5 s + 3 s here */
    VV_CHECK_INT(vv_cache_age_ms(5000, 4000, 1000), 5000); /* a clock that went back */
}

VV_TEST(lifetime_comes_from_the_first_rule_that_applies)
{
    static const struct {
        const char *fields;
        enum vv_fresh_source source;
        uint32_t want_s;
    } cases[] = {
        {"Cache-Control: max-age=60, s-maxage=5", VV_FRESH_S_MAXAGE, 5},
        {"Cache-Control: max-age=60~Expires: Sun, 06 Nov 1994 09:49:37 GMT", VV_FRESH_MAX_AGE, 60},
        {DATE "~Expires: Sun, 06 Nov 1994 09:49:37 GMT", VV_FRESH_EXPIRES, 3600},
        {DATE "~Expires: Sun, 06 Nov 1994 07:49:37 GMT", VV_FRESH_EXPIRES, 0},
        {"Expires: 0", VV_FRESH_EXPIRES, 0},
        {"", VV_FRESH_NONE, 0}};
    for (size_t i = 0; i < VV_COUNT(cases); i++) {
        struct vv_cc cc;
        uint32_t s = 1;
        const struct vv_cache_times t =
            times(cases[i].fields, T * INT64_C(1000), T * INT64_C(1000));
        vv_cc_of_answer(&head.head, NULL, 0, false, &cc);
        if (vv_cache_lifetime(&head.head, &cc, &t, &s) != cases[i].source || s != cases[i].want_s) {
            fail_msg("row %zu: %s", i, cases[i].fields);
        }
        cc.targeted = true; /* then Expires is out */
        if (cases[i].source == VV_FRESH_EXPIRES) {
            VV_CHECK_INT(vv_cache_lifetime(&head.head, &cc, &t, &s), VV_FRESH_NONE);
        }
    }
}

VV_TEST(heuristics_take_a_part_of_the_time_since_the_last_change)
{
    const struct vv_cache_times ten_hours = {
        .date_s = T, .modified_s = T - 36000, .has_modified = true};
    const struct vv_cache_times future = {.date_s = T, .modified_s = T + 9, .has_modified = true};
    const struct vv_cache_times none = {.date_s = T};
    VV_CHECK_INT(vv_cache_heuristic_s(&ten_hours, 100000, 86400), 3600); /* 10 % of 10 h */
    VV_CHECK_INT(vv_cache_heuristic_s(&ten_hours, 100000, 60), 60);
    VV_CHECK_INT(vv_cache_heuristic_s(&future, 100000, 60), 0);
    VV_CHECK_INT(vv_cache_heuristic_s(&none, 100000, 60), 0);
    VV_CHECK(vv_cache_status_heuristic(404) && !vv_cache_status_heuristic(302));
}
