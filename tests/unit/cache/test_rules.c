/* tests/unit/cache/test_rules.c - tables of what a shared cache keeps and sends, each row with its
 * section of RFC 9111 (or the RFC named). */
#include "cache/rules.h"
#include "cases.h"

/* Sun, 06 Nov 1994 08:49:37 GMT */
#define T 784111777
#define NOW_MS (T * INT64_C(1000))
#define DATE "Date: Sun, 06 Nov 1994 08:49:37 GMT"
#define HOUR_LATER "Sun, 06 Nov 1994 09:49:37 GMT"
#define TEN_HOURS_BEFORE "Last-Modified: Sat, 05 Nov 1994 22:49:37 GMT"

struct store_case {
    const char *section, *method, *request;
    int status;
    const char *answer;
    enum vv_store_why want;
    uint32_t lifetime_s; /* when stored */
};
#define W(x) VV_STORE_WHY_##x
static const struct store_case store_cases[] = {
    {"3", "GET", "", 200, "Cache-Control: max-age=60", W(STORED), 60},
    {"3", "HEAD", "", 200, "Cache-Control: max-age=60", W(METHOD), 0},
    {"3", "POST", "", 200, "Cache-Control: max-age=60", W(METHOD), 0},
    {"3", "PUT", "", 200, "Cache-Control: max-age=60", W(METHOD), 0},
    {"3", "DELETE", "", 200, "Cache-Control: max-age=60", W(METHOD), 0},
    {"3", "OPTIONS", "", 200, "Cache-Control: max-age=60", W(METHOD), 0},
    {"3", "FOO", "", 200, "Cache-Control: max-age=60", W(METHOD), 0},
    {"3", "GET", "", 304, "Cache-Control: max-age=60", W(STATUS), 0},
    {"3", "GET", "", 103, "Cache-Control: max-age=60", W(STATUS), 0},
    {"3.3", "GET", "", 206, "Cache-Control: max-age=60~Content-Range: bytes 0-1/9", W(PARTIAL), 0},
    {"3.3", "GET", "", 200, "Cache-Control: max-age=60~Content-Range: bytes 0-1/9", W(PARTIAL), 0},
    {"3", "GET", "", 200, "", W(NO_FRESHNESS), 0},
    {"3", "GET", "", 404, "Cache-Control: max-age=9", W(STORED), 9},
    {"3", "GET", "", 404, "", W(NO_FRESHNESS), 0},
    {"3", "GET", "", 302, "", W(NO_FRESHNESS), 0},
    {"3", "GET", "", 302, "Cache-Control: max-age=9", W(STORED), 9},
    {"3", "GET", "", 500, "Cache-Control: max-age=9", W(STORED), 9},
    {"3", "GET", "", 503, TEN_HOURS_BEFORE, W(NO_FRESHNESS), 0},
    {"3", "GET", "", 599, "Cache-Control: max-age=9", W(STORED), 9},
    {"4.2.2", "GET", "", 200, DATE "~" TEN_HOURS_BEFORE, W(STORED), 3600},
    {"4.2.2", "GET", "", 203, DATE "~" TEN_HOURS_BEFORE, W(STORED), 3600},
    {"4.2.2", "GET", "", 204, DATE "~" TEN_HOURS_BEFORE, W(STORED), 3600},
    {"4.2.2", "GET", "", 300, DATE "~" TEN_HOURS_BEFORE, W(STORED), 3600},
    {"4.2.2", "GET", "", 301, DATE "~" TEN_HOURS_BEFORE, W(STORED), 3600},
    {"4.2.2", "GET", "", 308, DATE "~" TEN_HOURS_BEFORE, W(STORED), 3600},
    {"4.2.2", "GET", "", 404, DATE "~" TEN_HOURS_BEFORE, W(STORED), 3600},
    {"4.2.2", "GET", "", 405, DATE "~" TEN_HOURS_BEFORE, W(STORED), 3600},
    {"4.2.2", "GET", "", 410, DATE "~" TEN_HOURS_BEFORE, W(STORED), 3600},
    {"4.2.2", "GET", "", 414, DATE "~" TEN_HOURS_BEFORE, W(STORED), 3600},
    {"4.2.2", "GET", "", 501, DATE "~" TEN_HOURS_BEFORE, W(STORED), 3600},
    {"4.2.2", "GET", "", 302, DATE "~" TEN_HOURS_BEFORE, W(NO_FRESHNESS), 0},
    {"4.2.2", "GET", "", 307, DATE "~" TEN_HOURS_BEFORE, W(NO_FRESHNESS), 0},
    {"4.2.2", "GET", "", 403, DATE "~" TEN_HOURS_BEFORE, W(NO_FRESHNESS), 0},
    {"4.2.2", "GET", "", 302, DATE "~" TEN_HOURS_BEFORE "~Cache-Control: public", W(STORED), 3600},
    {"4.2.2", "GET", "", 200, DATE "~Last-Modified: Sat, 06 Nov 1993 08:49:37 GMT", W(STORED),
     86400}, /* 10 % of a year is cut to a day */
    {"4.2.1", "GET", "", 200, "Cache-Control: s-maxage=5, max-age=60", W(STORED), 5},
    {"4.2.1", "GET", "", 200, "Cache-Control: max-age=60~Expires: " HOUR_LATER "~" DATE, W(STORED),
     60},
    {"4.2.1", "GET", "", 200, DATE "~Expires: " HOUR_LATER, W(STORED), 3600},
    {"5.3", "GET", "", 200, DATE "~Expires: 0", W(USELESS), 0},
    {"5.3", "GET", "", 200, DATE "~Expires: 0~ETag: \"a\"", W(STORED), 0},
    {"5.3", "GET", "", 200, "Expires: Sun, 06 Nov 1994 08:49:37 GMT~" DATE, W(USELESS), 0},
    {"5.2.2.1", "GET", "", 200, "Cache-Control: max-age=0", W(USELESS), 0},
    {"5.2.2.1", "GET", "", 200, "Cache-Control: max-age=0~ETag: \"a\"", W(STORED), 0},
    {"5.2.2.1", "GET", "", 200, "Cache-Control: MAX-AGE=60", W(STORED), 60},
    {"5.2.2.1", "GET", "", 200, "Cache-Control: max-age=\"60\"", W(STORED), 60},
    {"4.2.1", "GET", "", 200, "Cache-Control: max-age=sixty~ETag: \"a\"", W(STORED), 0},
    {"4.2.1", "GET", "", 200, "Cache-Control: max-age=-1~ETag: \"a\"", W(STORED), 0},
    {"4.2.1", "GET", "", 200, "Cache-Control: max-age=1.5~ETag: \"a\"", W(STORED), 0},
    {"4.2.1", "GET", "", 200, "Cache-Control: max-age=60, max-age=5", W(STORED), 5},
    {"4.2.1", "GET", "", 200, "Cache-Control: max-age=60~Cache-Control: max-age=5", W(STORED), 5},
    {"1.2.2", "GET", "", 200, "Cache-Control: max-age=99999999999999999999", W(STORED),
     VV_CC_MAX_S},
    {"4.2", "GET", "", 200, "Cache-Control: max-age=60~Age: 60", W(USELESS), 0},
    {"4.2", "GET", "", 200, "Cache-Control: max-age=60~Age: 59", W(STORED), 60},
    {"5.2.1.5", "GET", "Cache-Control: no-store", 200, "Cache-Control: max-age=60",
     W(REQUEST_NO_STORE), 0},
    {"5.2.2.5", "GET", "", 200, "Cache-Control: no-store, max-age=60", W(NO_STORE), 0},
    {"5.2.2.5", "GET", "", 200, "Cache-Control: No-Store, max-age=60", W(NO_STORE), 0},
    {"5.2.2.5", "GET", "", 200, "Cache-Control: max-age=60~Cache-Control: no-store", W(NO_STORE),
     0},
    {"5.2", "GET", "", 200, "Cache-Control: x=\"no-store\", max-age=60", W(STORED), 60},
    {"5.2", "GET", "", 200, "Cache-Control: x=\"a, no-store, b\", max-age=60", W(STORED), 60},
    {"5.2.3", "GET", "", 200, "Cache-Control: no-storex, max-age=60", W(STORED), 60},
    {"5.2.2.3", "GET", "", 200, "Cache-Control: no-store, must-understand, max-age=60", W(STORED),
     60},
    {"5.2.2.3", "GET", "", 599, "Cache-Control: no-store, must-understand, max-age=60",
     W(NOT_UNDERSTOOD), 0},
    {"5.2.2.3", "GET", "", 599, "Cache-Control: must-understand, max-age=60", W(NOT_UNDERSTOOD), 0},
    {"5.2.2.7", "GET", "", 200, "Cache-Control: private, max-age=60", W(PRIVATE), 0},
    {"5.2.2.7", "GET", "", 200, "Cache-Control: private=\"X-A\", max-age=60", W(STORED), 60},
    {"5.2.2.7", "GET", "", 200, "Cache-Control: private=\"\", max-age=60", W(PRIVATE), 0},
    {"3.5", "GET", "Authorization: Basic eA==", 200, "Cache-Control: max-age=60", W(AUTHORIZATION),
     0},
    {"3.5", "GET", "Authorization: Basic eA==", 200, "Cache-Control: max-age=60, public", W(STORED),
     60},
    {"3.5", "GET", "Authorization: Basic eA==", 200, "Cache-Control: max-age=60, must-revalidate",
     W(STORED), 60},
    {"3.5", "GET", "Authorization: Basic eA==", 200, "Cache-Control: s-maxage=60", W(STORED), 60},
    {"3.5", "GET", "Authorization: Basic eA==", 200, "Cache-Control: max-age=9, proxy-revalidate",
     W(AUTHORIZATION), 0},
    {"7.3", "GET", "", 200, "Cache-Control: max-age=60~Set-Cookie: a=b", W(SET_COOKIE), 0},
    {"7.3", "GET", "", 200, "Cache-Control: max-age=60, public~Set-Cookie: a=b", W(STORED), 60},
    {"5.2.2.7", "GET", "", 200, "Cache-Control: max-age=60, private=Set-Cookie~Set-Cookie: a=b",
     W(STORED), 60},
    {"5.2.2.4", "GET", "", 200, "Cache-Control: max-age=9, no-cache=\"set-cookie\"~Set-Cookie: a",
     W(STORED), 9},
    {"5.2.2.4", "GET", "", 200, "Cache-Control: no-cache, max-age=60", W(USELESS), 0},
    {"5.2.2.4", "GET", "", 200, "Cache-Control: no-cache, max-age=60~ETag: \"a\"", W(STORED), 60},
    {"4.1", "GET", "", 200, "Cache-Control: max-age=60~Vary: *", W(VARY_STAR), 0},
    {"4.1", "GET", "", 200, "Cache-Control: max-age=60~Vary: A, *", W(VARY_STAR), 0},
    {"4.1", "GET", "", 200, "Cache-Control: max-age=60~Vary: A~Vary: *", W(VARY_STAR), 0},
    {"4.1", "GET", "", 200, "Cache-Control: max-age=60~Vary: A", W(STORED), 60},
    {"5.4", "GET", "", 200, "Cache-Control: max-age=60~Pragma: no-cache", W(STORED), 60},
    {"RFC 9213 2.2", "GET", "", 200, "CDN-Cache-Control: max-age=7~Cache-Control: no-store",
     W(STORED), 7},
    {"RFC 9213 2.2", "GET", "", 200, "CDN-Cache-Control: no-store~Cache-Control: max-age=60",
     W(NO_STORE), 0},
    {"RFC 9213 2.2", "GET", "", 200, "CDN-Cache-Control: private~Expires: " HOUR_LATER, W(PRIVATE),
     0},
    {"RFC 9213 2.1", "GET", "", 200, "CDN-Cache-Control: max-age=&~Cache-Control: max-age=60",
     W(STORED), 60},
    {"RFC 9213 2.1", "GET", "", 200, "CDN-Cache-Control: ~Cache-Control: max-age=60", W(STORED),
     60},
    {"RFC 9213 2.1", "GET", "", 200, "CDN-Cache-Control: max-age=1, max-age=8", W(STORED), 8},
    {"RFC 9213 2.1", "GET", "", 200, "CDN-Cache-Control: max-age=8;x=\"y\"", W(STORED), 8},
    {"RFC 9213 2.1", "GET", "", 200, "CDN-Cache-Control: no-store=?0, max-age=8", W(STORED), 8},
    {"Edge 2.2", "GET", "", 200, "Surrogate-Control: max-age=8+2, content=\"ESI/1.0\"", W(STORED),
     8},
    {"Edge 2.2", "GET", "", 200, "Surrogate-Control: no-store~Cache-Control: max-age=8",
     W(NO_STORE), 0},
    {"RFC 5861 3", "GET", "", 200, "Cache-Control: max-age=0, stale-while-revalidate=9", W(STORED),
     0},
};

VV_TEST(rules_keep_what_the_table_says)
{
    static struct head_case req, answer;
    for (size_t i = 0; i < VV_COUNT(store_cases); i++) {
        const struct store_case *c = &store_cases[i];
        struct vv_cc rc;
        struct vv_cc ac;
        struct vv_cache_facts f = {.lifetime_s = 0};
        const struct vv_cache_options *o = &vv_cache_options_default;
        (void)request_of(&req, c->method, c->request);
        (void)answer_of(&answer, c->status, c->answer);
        vv_cc_of_request(&req.head, &rc);
        vv_cc_of_answer(&answer.head, o->targets, o->targets_count, o->surrogate, &ac);
        const enum vv_store_why got =
            vv_cache_judge_store(&req.head, &rc, &answer.head, &ac, o, NOW_MS, NOW_MS, &f);
        if (got != c->want || (got == VV_STORE_WHY_STORED && f.lifetime_s != c->lifetime_s)) {
            fail_msg("row %zu (%s) %s: %s, %u s", i, c->section, c->answer, vv_store_whys[got].name,
                     f.lifetime_s);
        }
    }
}

struct use_case {
    const char *section, *request, *answer;
    int64_t after_s; /* since the answer came */
    enum vv_use_result want;
    enum vv_use_why why;
};
#define CC "Cache-Control: "
static const struct use_case use_cases[] = {
    {"4.2", "", CC "max-age=60", 0, VV_USE_FRESH, VV_USE_WHY_FRESH},
    {"4.2", "", CC "max-age=60", 59, VV_USE_FRESH, VV_USE_WHY_FRESH},
    {"4.2", "", CC "max-age=60", 60, VV_USE_REVALIDATE, VV_USE_WHY_STALE},
    {"4.2.3", "", CC "max-age=60~Age: 30", 29, VV_USE_FRESH, VV_USE_WHY_FRESH},
    {"4.2.3", "", CC "max-age=60~Age: 30", 30, VV_USE_REVALIDATE, VV_USE_WHY_STALE},
    {"4.2.3", "", CC "max-age=60~Date: Sun, 06 Nov 1994 08:49:07 GMT", 30, VV_USE_REVALIDATE,
     VV_USE_WHY_STALE},
    {"4.2.3", "", CC "max-age=60~Date: " HOUR_LATER, 59, VV_USE_FRESH, VV_USE_WHY_FRESH},
    {"4.2.3", "", CC "max-age=60~Age: x", 59, VV_USE_FRESH, VV_USE_WHY_FRESH},
    {"4.2.3", "", CC "max-age=60", -5, VV_USE_FRESH, VV_USE_WHY_FRESH},
    {"5.2.2.4", "", CC "no-cache, max-age=60", 1, VV_USE_REVALIDATE, VV_USE_WHY_NO_CACHE},
    {"5.2.2.4", "", CC "no-cache=X-A, max-age=60", 1, VV_USE_FRESH, VV_USE_WHY_FRESH},
    {"5.2.2.4", "Cache-Control: max-stale", CC "no-cache, max-age=1", 9, VV_USE_REVALIDATE,
     VV_USE_WHY_NO_CACHE},
    {"5.2.1.4", CC "no-cache", CC "max-age=60", 1, VV_USE_REVALIDATE, VV_USE_WHY_REQUEST_NO_CACHE},
    {"5.4", "Pragma: no-cache", CC "max-age=60", 1, VV_USE_REVALIDATE, VV_USE_WHY_REQUEST_NO_CACHE},
    {"5.4", "Pragma: no-cache~" CC "max-age=9", CC "max-age=60", 1, VV_USE_FRESH, VV_USE_WHY_FRESH},
    {"5.2.1.1", CC "max-age=10", CC "max-age=60", 10, VV_USE_FRESH, VV_USE_WHY_FRESH},
    {"5.2.1.1", CC "max-age=10", CC "max-age=60", 11, VV_USE_REVALIDATE,
     VV_USE_WHY_REQUEST_MAX_AGE},
    {"5.2.1.1", CC "max-age=0", CC "max-age=60", 0, VV_USE_REVALIDATE, VV_USE_WHY_REQUEST_MAX_AGE},
    {"5.2.1.1", CC "max-age=99", CC "max-age=60", 70, VV_USE_REVALIDATE, VV_USE_WHY_STALE},
    {"5.2.1.2", CC "max-stale", CC "max-age=60", 999, VV_USE_STALE, VV_USE_WHY_MAX_STALE},
    {"5.2.1.2", CC "max-stale=10", CC "max-age=60", 70, VV_USE_STALE, VV_USE_WHY_MAX_STALE},
    {"5.2.1.2", CC "max-stale=10", CC "max-age=60", 71, VV_USE_REVALIDATE, VV_USE_WHY_STALE},
    {"5.2.1.2", CC "max-stale=x", CC "max-age=60", 61, VV_USE_REVALIDATE, VV_USE_WHY_STALE},
    {"5.2.1.3", CC "min-fresh=10", CC "max-age=60", 50, VV_USE_FRESH, VV_USE_WHY_FRESH},
    {"5.2.1.3", CC "min-fresh=10", CC "max-age=60", 51, VV_USE_REVALIDATE,
     VV_USE_WHY_REQUEST_MIN_FRESH},
    {"5.2.1.7", CC "only-if-cached", CC "max-age=60", 1, VV_USE_FRESH, VV_USE_WHY_FRESH},
    {"5.2.1.7", CC "only-if-cached", CC "max-age=60", 61, VV_USE_GATEWAY_TIMEOUT, VV_USE_WHY_STALE},
    {"5.2.1.7", CC "only-if-cached, max-stale", CC "max-age=60", 61, VV_USE_STALE,
     VV_USE_WHY_MAX_STALE},
    {"5.2.1.5", CC "no-store", CC "max-age=60", 1, VV_USE_FRESH, VV_USE_WHY_FRESH},
    {"5.2.2.2", CC "max-stale", CC "max-age=60, must-revalidate", 61, VV_USE_REVALIDATE,
     VV_USE_WHY_STALE},
    {"5.2.2.2", "", CC "max-age=60, must-revalidate", 59, VV_USE_FRESH, VV_USE_WHY_FRESH},
    {"5.2.2.8", CC "max-stale", CC "max-age=60, proxy-revalidate", 61, VV_USE_REVALIDATE,
     VV_USE_WHY_STALE},
    {"5.2.2.10", CC "max-stale", CC "s-maxage=60", 61, VV_USE_REVALIDATE, VV_USE_WHY_STALE},
    {"RFC 5861 3", "", CC "max-age=60, stale-while-revalidate=10", 70, VV_USE_WHILE_REVALIDATE,
     VV_USE_WHY_WHILE_REVALIDATE},
    {"RFC 5861 3", "", CC "max-age=60, stale-while-revalidate=10", 71, VV_USE_REVALIDATE,
     VV_USE_WHY_STALE},
    {"RFC 5861 3", "", CC "max-age=60, stale-while-revalidate=x", 61, VV_USE_REVALIDATE,
     VV_USE_WHY_STALE},
    {"5.2.2.2", "", CC "max-age=60, must-revalidate, stale-while-revalidate=10", 61,
     VV_USE_REVALIDATE, VV_USE_WHY_STALE},
    {"RFC 5861 3", "", CC "s-maxage=60, stale-while-revalidate=10", 61, VV_USE_WHILE_REVALIDATE,
     VV_USE_WHY_WHILE_REVALIDATE},
    {"RFC 5861 3", CC "max-age=65", CC "max-age=60, stale-while-revalidate=10", 66,
     VV_USE_REVALIDATE, VV_USE_WHY_REQUEST_MAX_AGE},
    {"Edge 2.2", "", "Surrogate-Control: max-age=60+10", 70, VV_USE_WHILE_REVALIDATE,
     VV_USE_WHY_WHILE_REVALIDATE},
    {"RFC 8246 2", CC "max-age=0", CC "max-age=60, immutable", 1, VV_USE_REVALIDATE,
     VV_USE_WHY_REQUEST_MAX_AGE},
};

static struct vv_cache_facts facts_for(const char *fields, const struct vv_cache_options *o)
{
    static struct head_case answer;
    struct vv_cc cc;
    (void)answer_of(&answer, 200, fields);
    vv_cc_of_answer(&answer.head, o->targets, o->targets_count, o->surrogate, &cc);
    return vv_cache_facts_of(&answer.head, &cc, o, NOW_MS, NOW_MS);
}

static struct vv_cc asked(const char *fields)
{
    static struct head_case req;
    struct vv_cc cc;
    vv_cc_of_request(request_of(&req, "GET", fields), &cc);
    return cc;
}

VV_TEST(rules_use_what_the_table_says)
{
    for (size_t i = 0; i < VV_COUNT(use_cases); i++) {
        const struct use_case *c = &use_cases[i];
        const struct vv_cache_facts f = facts_for(c->answer, &vv_cache_options_default);
        const struct vv_cc cc = asked(c->request);
        const struct vv_use u = vv_cache_judge_use(&f, &cc, &vv_cache_options_default, false,
                                                   NOW_MS + c->after_s * 1000);
        if (u.result != c->want || u.why != c->why) {
            fail_msg("row %zu (%s) %s | %s: %d %s", i, c->section, c->request, c->answer, u.result,
                     vv_use_whys[u.why].name);
        }
    }
}

VV_TEST(rules_serve_a_failing_origins_answer_within_stale_if_error)
{
    static const struct {
        const char *request, *answer;
        int status;
        int64_t after_s;
        bool want;
    } cases[] = {/* RFC 5861 section 4, RFC 9111 section 5.2.2.2 */
                 {"", CC "max-age=60, stale-if-error=10", 503, 70, true},
                 {"", CC "max-age=60, stale-if-error=10", 503, 71, false},
                 {"", CC "max-age=60, stale-if-error=10", 0, 70, true},
                 {"", CC "max-age=60, stale-if-error=10", 500, 70, true},
                 {"", CC "max-age=60, stale-if-error=10", 404, 61, false},
                 {"", CC "max-age=60", 503, 61, false},
                 {CC "stale-if-error=10", CC "max-age=60", 503, 61, true},
                 {CC "stale-if-error=10", CC "s-maxage=60", 503, 61, false},
                 {"", CC "max-age=60, stale-if-error=10, must-revalidate", 503, 61, false},
                 {"", CC "no-cache, stale-if-error=10", 503, 1, false},
                 {CC "no-cache", CC "max-age=60, stale-if-error=10", 503, 61, false}};
    for (size_t i = 0; i < VV_COUNT(cases); i++) {
        const struct vv_cache_facts f = facts_for(cases[i].answer, &vv_cache_options_default);
        const struct vv_cc cc = asked(cases[i].request);
        if (vv_cache_serves_on_error(&f, &cc, &vv_cache_options_default, cases[i].status, false,
                                     NOW_MS + cases[i].after_s * 1000) != cases[i].want) {
            fail_msg("row %zu: %s", i, cases[i].answer);
        }
    }
}

VV_TEST(rules_of_settings_fill_in_and_override)
{
    static const struct vv_cache_ttl ttl[] = {{404, 404, 30, false}, {200, 299, 5, true}};
    struct vv_cache_options o = vv_cache_options_default;
    o.ttl = ttl;
    o.ttl_count = VV_COUNT(ttl);
    o.stale_if_error_s = 7;
    const struct vv_cache_facts over = facts_for(CC "max-age=60~Age: 9", &o);
    VV_CHECK_INT(over.lifetime_s, 5);
    VV_CHECK_INT(over.initial_age_ms, 0); /* our time counts from our clock */
    VV_CHECK_INT(over.if_error_s, 7);
    o.ttl_max_s = 3;
    VV_CHECK_INT(facts_for(CC "max-age=60", &o).lifetime_s, 3);
    o.ignore_request = true;
    const struct vv_cc cc = asked(CC "no-cache, only-if-cached");
    VV_CHECK_INT(vv_cache_judge_use(&over, &cc, &o, false, NOW_MS).result, VV_USE_FRESH);
    VV_CHECK_INT(vv_cache_judge_use(NULL, &cc, &o, false, NOW_MS).result, VV_USE_MISS);
}

VV_TEST(rules_without_a_stored_answer_miss_or_time_out)
{
    const struct vv_cc none = asked("");
    const struct vv_cc only = asked(CC "only-if-cached");
    const struct vv_cache_options *o = &vv_cache_options_default;
    VV_CHECK_INT(vv_cache_judge_use(NULL, &none, o, false, 0).result, VV_USE_MISS);
    VV_CHECK_INT(vv_cache_judge_use(NULL, &only, o, false, 0).result, VV_USE_GATEWAY_TIMEOUT);
}

VV_TEST(rules_treat_a_soft_purge_as_stale_from_now)
{
    const struct vv_cc none = asked("");
    const struct vv_cache_options *o = &vv_cache_options_default;
    const struct vv_cache_facts plain = facts_for(CC "max-age=60", o);
    const struct vv_cache_facts swr = facts_for(CC "max-age=60, stale-while-revalidate=1", o);
    VV_CHECK_INT(vv_cache_judge_use(&plain, &none, o, true, NOW_MS).why, VV_USE_WHY_PURGED);
    VV_CHECK_INT(vv_cache_judge_use(&swr, &none, o, true, NOW_MS).result, VV_USE_WHILE_REVALIDATE);
}

VV_TEST(rules_count_age_by_the_larger_of_two_estimates)
{
    /* 4.2.3: apparent 30 s, Age 10 s + 2.5 s on the way: 30 s; with Age 40 s: 42.5 s. */
    struct vv_cache_times t = {
        .request_ms = NOW_MS - 2500, .response_ms = NOW_MS, .date_s = T - 30, .age_s = 10};
    VV_CHECK_INT(vv_cache_initial_age_ms(&t), 30000);
    t.age_s = 40;
    VV_CHECK_INT(vv_cache_initial_age_ms(&t), 42500);
    VV_CHECK_INT(vv_cache_age_ms(42500, NOW_MS, NOW_MS + 1000), 43500);
}
