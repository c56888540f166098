/* tests/unit/cache/test_vary.c - which requests select the same stored answer (RFC 9111 4.1). */
#include "cache/vary.h"
#include "cases.h"

static const struct vv_vary_rules all = {.known_codings = false};
static const struct vv_vary_rules known = {.known_codings = true};

VV_TEST(vary_matches_what_the_table_says)
{
    static const struct {
        const char *vary, *first, *second;
        bool want;
    } cases[] = {
        {"X", "X: 1", "X: 1", true},
        {"X", "X: 1", "X: 2", false},
        {"X", "X: 1", "", false},
        {"X", "", "", true},
        {"X", "", "X:", false},
        {"X", "X: a", "X: A", false},
        {"X", "X: a, b", "X: a~X: b", true},
        {"x", "X: 1", "X: 1", true},
        {"X, Y", "X: 1~Y: 2", "Y: 2~X: 1", true},
        {"X, Y", "X: 1~Y: 2", "X: 1~Y: 3", false},
        {"X", "X: 1~Y: 2", "X: 1~Y: 3", true},
        {"Accept-Encoding", "Accept-Encoding: gzip, br", "Accept-Encoding: br,gzip", true},
        {"Accept-Encoding", "Accept-Encoding: gzip", "Accept-Encoding: GZIP", true},
        {"Accept-Encoding", "Accept-Encoding: gzip", "Accept-Encoding: br", false},
        {"Accept-Encoding", "Accept-Encoding: gzip, x", "Accept-Encoding: gzip", false},
        {"Accept-Encoding", "Accept-Encoding: gzip;q=0", "Accept-Encoding: gzip", false},
        {"Accept-Encoding", "Accept-Encoding: x-gzip", "Accept-Encoding: gzip", true},
        {"Accept-Encoding", "Accept-Encoding: br, zz", "Accept-Encoding: zz, br", true},
        {"Accept-Encoding", "Accept-Encoding: br, zz;q=0.5", "Accept-Encoding: zz, br;q=0.5",
         false},
        {"Accept-Encoding", "Accept-Encoding: br;q=0.9, zz;q=0.1", "Accept-Encoding: br, zz;q=0.8",
         true},
        {"Accept-Encoding", "Accept-Encoding: gzip;q=1.0, *;q=0", "Accept-Encoding: *;q=0,gzip",
         true},
        {"Accept-Encoding", "Accept-Encoding: gzip, *;q=0", "Accept-Encoding: gzip, *", false},
        {"Accept-Encoding", "Accept-Encoding: gzip, br;q=0", "Accept-Encoding: gzip;q=0, br",
         false},
        {"Accept-Encoding", "Accept-Encoding: gzip;q=0, br;q=0", "Accept-Encoding: br;q=0,gzip;q=0",
         true},
        {"Accept-Encoding", "Accept-Encoding: gzip;q=2", "Accept-Encoding: gzip", false},
        {"Accept-Encoding", "Accept-Encoding: gzip, gzip;q=0", "Accept-Encoding: gzip;q=0, gzip",
         false},
        {"Accept-Encoding", "Accept-Encoding: a, b>c", "Accept-Encoding: a, b, c", false},
        {"Accept-Encoding", "Accept-Encoding: ", "Accept-Encoding: gzip;q=0", false},
        {"Accept-Language", "Accept-Language: de, en", "Accept-Language: DE,en", true},
        {"Accept-Language", "Accept-Language: de, en", "Accept-Language: en, de", false},
        {"Accept", "Accept: a/b, c/d", "Accept: c/d,a/b", true},
        {"Accept", "Accept: a/b;p=\",\"", "Accept: a/b;p=\",\"", true}};
    static struct head_case one, two, answer;
    for (size_t i = 0; i < VV_COUNT(cases); i++) {
        char field[64], key[512];
        size_t n = 0;
        snprintf(field, sizeof field, "Vary: %s", cases[i].vary);
        (void)request_of(&one, "GET", cases[i].first);
        VV_CHECK_INT(
            vv_vary_second(&one.head, answer_of(&answer, 200, field), &all, key, sizeof key, &n),
            VV_OK);
        if (!vv_vary_matches(&one.head, (struct vv_str){key, n}, &all) ||
            vv_vary_matches(request_of(&two, "GET", cases[i].second), (struct vv_str){key, n},
                            &all) != cases[i].want) {
            fail_msg("row %zu: %s | %s", i, cases[i].first, cases[i].second);
        }
    }
}

VV_TEST(vary_key_names_fields_once_in_rising_order)
{
    static struct head_case req, answer;
    char key[128];
    size_t n = 0;
    (void)request_of(&req, "GET", "B: 1");
    VV_CHECK_INT(vv_vary_second(&req.head, answer_of(&answer, 200, "Vary: b, A~Vary: B"), &all, key,
                                128, &n),
                 VV_OK);
    VV_CHECK_SLICE(((struct vv_str){key, n}), "a \nb:1\n");
    VV_CHECK_INT(vv_vary_second(&req.head, &answer.head, &all, key, 3, &n), VV_ERANGE);
    VV_CHECK_INT(vv_vary_second(&req.head, answer_of(&answer, 200, "Vary: *"), &all, key, 9, &n),
                 VV_EINVAL);
}

/* Connection: X says that X is not forwarded: the origin answers as if it were not there. */
VV_TEST(vary_ignores_fields_that_are_for_one_hop)
{
    static struct head_case one, two, answer;
    char key[128];
    size_t n = 0;
    (void)request_of(&one, "GET", "X: 1~Connection: x");
    VV_CHECK_INT(
        vv_vary_second(&one.head, answer_of(&answer, 200, "Vary: X"), &all, key, sizeof key, &n),
        VV_OK);
    VV_CHECK_SLICE(((struct vv_str){key, n}), "x \n");
    VV_CHECK(!vv_vary_matches(request_of(&two, "GET", "X: 1"), (struct vv_str){key, n}, &all));
    VV_CHECK(vv_vary_matches(request_of(&two, "GET", ""), (struct vv_str){key, n}, &all));
}

VV_TEST(vary_by_what_the_gateway_writes_itself_is_not_to_be_kept)
{
    static const char *const rows[] = {"Vary: X-Forwarded-For", "Vary: a, x-real-ip",
                                       "Vary: Forwarded", "Vary: X-Request-ID"};
    static struct head_case req, answer;
    (void)request_of(&req, "GET", "X-Forwarded-For: 192.0.2.1");
    for (size_t i = 0; i < VV_COUNT(rows); i++) {
        char key[128];
        size_t n = 0;
        VV_CHECK_INT(
            vv_vary_second(&req.head, answer_of(&answer, 200, rows[i]), &all, key, sizeof key, &n),
            VV_EINVAL);
    }
}

VV_TEST(vary_again_gives_the_key_of_another_request_by_the_same_fields)
{
    static struct head_case one, two, answer;
    char first[512], second[512], again[512];
    size_t first_n = 0, second_n = 0, n = 0;
    (void)request_of(&one, "GET", "X: 1~Accept: c/d, a/b");
    (void)request_of(&two, "GET", "X: 2~Z: 9");
    const struct vv_h1_head *varies = answer_of(&answer, 200, "Vary: X, Accept");
    VV_CHECK_INT(vv_vary_second(&one.head, varies, &all, first, sizeof first, &first_n), VV_OK);
    VV_CHECK_INT(vv_vary_second(&two.head, varies, &all, second, sizeof second, &second_n), VV_OK);
    VV_CHECK(
        vv_vary_again(&two.head, (struct vv_str){first, first_n}, &all, again, sizeof again, &n));
    VV_CHECK(vv_str_eq((struct vv_str){again, n}, (struct vv_str){second, second_n}));
    VV_CHECK(
        !vv_vary_again(&two.head, (struct vv_str){first, first_n}, &all, again, second_n - 1, &n));
}

VV_TEST(vary_by_known_codings_forgets_the_others)
{
    static struct head_case one, two, answer;
    char key[128];
    size_t n = 0;
    (void)answer_of(&answer, 200, "Vary: Accept-Encoding");
    (void)request_of(&one, "GET", "Accept-Encoding: gzip, compress");
    VV_CHECK_INT(vv_vary_second(&one.head, &answer.head, &known, key, sizeof key, &n), VV_OK);
    (void)request_of(&two, "GET", "Accept-Encoding: gzip");
    VV_CHECK(vv_vary_matches(&two.head, (struct vv_str){key, n}, &known));
}

VV_TEST(vary_without_codings_shares_one_answer_among_all_of_them)
{
    static const struct vv_vary_rules none = {.no_codings = true};
    static struct head_case one, two, answer;
    char key[128];
    size_t n = 0;
    (void)answer_of(&answer, 200, "Vary: Accept-Encoding, X");
    (void)request_of(&one, "GET", "Accept-Encoding: gzip~X: 1");
    VV_CHECK_INT(vv_vary_second(&one.head, &answer.head, &none, key, sizeof key, &n), VV_OK);
    VV_CHECK_SLICE(((struct vv_str){key, n}), "accept-encoding \nx:1\n");
    VV_CHECK(vv_vary_matches(request_of(&two, "GET", "X: 1"), (struct vv_str){key, n}, &none));
    VV_CHECK(!vv_vary_matches(request_of(&two, "GET", "X: 2"), (struct vv_str){key, n}, &none));
}
