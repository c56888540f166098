/* tests/unit/cache/test_directives.c - what Cache-Control and its relatives are read as. */
#include "cache/directives.h"
#include "cases.h"

#define F(x) (1u << VV_CC_##x)
#define NO VV_CC_UNSET

struct row {
    const char *section, *value;
    uint32_t flags, max_age, s_maxage, max_stale;
};
static const struct row rows[] = {
    {"5.2", "", 0, NO, NO, NO},
    {"5.2", "max-age=60", 0, 60, NO, NO},
    {"5.2", "MAX-AGE=60", 0, 60, NO, NO},
    {"5.2", "max-age=\"60\"", 0, 60, NO, NO},
    {"5.2", "max-age=60, s-maxage=5, public", F(PUBLIC), 60, 5, NO},
    {"5.2", "no-store,,  no-transform", F(NO_STORE) | F(NO_TRANSFORM), NO, NO, NO},
    {"5.2.3", "unknown, x=\"a, max-age=5\", immutable", F(IMMUTABLE), NO, NO, NO},
    {"4.2.1", "max-age=60, max-age=5", 0, 5, NO, NO}, /* the most restrictive */
    {"4.2.1", "max-age=abc", 0, 0, NO, NO},           /* no number: stale */
    {"4.2.1", "max-age", 0, 0, NO, NO},
    {"4.2.1", "max-age=-1", 0, 0, NO, NO},
    {"4.2.1", "max-age = 60", 0, 0, NO, NO}, /* white space is no part of it */
    {"1.2.2", "max-age=99999999999999999999", 0, VV_CC_MAX_S, NO, NO},
    {"5.2.1.2", "max-stale", 0, NO, NO, VV_CC_MAX_S},
    {"5.2.1.2", "max-stale=7", 0, NO, NO, 7},
    {"5.2.1.2", "max-stale=x", 0, NO, NO, NO},
    {"5.2.2.4", "no-cache", F(NO_CACHE), NO, NO, NO},
    {"5.2.2.4", "no-cache=\"a\"", 0, NO, NO, NO}, /* only these fields */
    {"5.2.2.4", "no-cache=\"\"", F(NO_CACHE), NO, NO, NO},
    {"5.2.2.7", "private=\"a\", private", F(PRIVATE), NO, NO, NO},
};

VV_TEST(directives_read_what_the_table_says)
{
    for (size_t i = 0; i < VV_COUNT(rows); i++) {
        struct vv_cc cc;
        vv_cc_init(&cc);
        vv_cc_add(&cc, vv_str_from(rows[i].value));
        if (cc.flags != rows[i].flags || cc.number[VV_CC_MAX_AGE] != rows[i].max_age ||
            cc.number[VV_CC_S_MAXAGE] != rows[i].s_maxage ||
            cc.number[VV_CC_MAX_STALE] != rows[i].max_stale || !cc.present) {
            fail_msg("row %zu: %s", i, rows[i].value);
        }
    }
}

VV_TEST(directives_list_the_fields_they_are_about)
{
    struct vv_cc cc;
    vv_cc_init(&cc);
    vv_cc_add(&cc, VV_STR("no-cache=\"Set-Cookie, x-a\", private=X-B"));
    VV_CHECK(vv_cc_fields_have(&cc.no_cache, VV_STR("set-cookie")));
    VV_CHECK(vv_cc_fields_have(&cc.no_cache, VV_STR("X-A")));
    VV_CHECK(!vv_cc_fields_have(&cc.no_cache, VV_STR("X-B")));
    VV_CHECK(vv_cc_fields_have(&cc.private_fields, VV_STR("x-b")));
    for (int i = 0; i < VV_CC_LISTS_MAX; i++) {
        vv_cc_add(&cc, VV_STR("no-cache=\"y\""));
    }
    VV_CHECK(vv_cc_has(&cc, VV_CC_NO_CACHE)); /* more lists than fit restrict everything */
}

VV_TEST(directives_of_a_request_take_pragma_only_alone)
{
    static struct head_case c;
    struct vv_cc cc;
    vv_cc_of_request(request_of(&c, "GET", "Pragma: no-cache"), &cc);
    VV_CHECK(vv_cc_has(&cc, VV_CC_NO_CACHE));
    vv_cc_of_request(request_of(&c, "GET", "Pragma: no-cache~Cache-Control: max-age=1"), &cc);
    VV_CHECK(!vv_cc_has(&cc, VV_CC_NO_CACHE));
    VV_CHECK_INT(cc.number[VV_CC_MAX_AGE], 1);
}

/* RFC 9213 2.1: a dictionary; one fault voids the field. */
VV_TEST(targeted_fields_are_dictionaries)
{
    static const struct {
        const char *value;
        bool ok;
        uint32_t max_age;
    } cases[] = {{"max-age=60", true, 60},
                 {"max-age=60, max-age=30", true, 30}, /* the last counts */
                 {"max-age=60;a=1, no-store=?0", true, 60},
                 {"max-age=\"60\"", true, NO}, /* a string is no number */
                 {"max-age=6.5", true, NO},
                 {"max-age=-1", true, 0},
                 {"Max-Age=60", false, 0},
                 {"max-age=60,", false, 0},
                 {"max-age=60 no-store", false, 0},
                 {"a=(1 2), max-age=9", true, 9},
                 {"", false, 0}};
    for (size_t i = 0; i < VV_COUNT(cases); i++) {
        struct vv_cc cc;
        vv_cc_init(&cc);
        if (vv_cc_read_targeted(&cc, vv_str_from(cases[i].value)) != cases[i].ok ||
            (cases[i].ok && cc.number[VV_CC_MAX_AGE] != cases[i].max_age) ||
            cc.targeted != cases[i].ok) {
            fail_msg("row %zu: %s", i, cases[i].value);
        }
    }
}

VV_TEST(the_first_sound_targeted_field_counts_then_surrogate_then_cache_control)
{
    static const struct vv_str targets[] = {{"Vivace-Cache-Control", 20},
                                            {"CDN-Cache-Control", 17}};
    static const struct {
        const char *fields;
        bool surrogate;
        uint32_t max_age;
        bool targeted;
    } cases[] = {{"Cache-Control: max-age=1~CDN-Cache-Control: max-age=2", true, 2, true},
                 {"CDN-Cache-Control: max-age=2~Vivace-Cache-Control: max-age=3", true, 3, true},
                 {"CDN-Cache-Control: max-age=2~Vivace-Cache-Control: =", true, 2, true},
                 {"Cache-Control: max-age=1~Surrogate-Control: max-age=4", true, 4, true},
                 {"Cache-Control: max-age=1~Surrogate-Control: max-age=4", false, 1, false},
                 {"Cache-Control: max-age=1", true, 1, false}};
    static struct head_case c;
    for (size_t i = 0; i < VV_COUNT(cases); i++) {
        struct vv_cc cc;
        vv_cc_of_answer(answer_of(&c, 200, cases[i].fields), targets, VV_COUNT(targets),
                        cases[i].surrogate, &cc);
        if (cc.number[VV_CC_MAX_AGE] != cases[i].max_age || cc.targeted != cases[i].targeted) {
            fail_msg("row %zu: %s", i, cases[i].fields);
        }
    }
}

VV_TEST(surrogate_control_has_a_grace_behind_its_age)
{
    struct vv_cc cc;
    vv_cc_init(&cc);
    vv_cc_add_surrogate(&cc, VV_STR("max-age=60+30;edge, content=\"ESI/1.0\""));
    VV_CHECK_INT(cc.number[VV_CC_MAX_AGE], 60);
    VV_CHECK_INT(cc.number[VV_CC_STALE_WHILE_REVALIDATE], 30);
    VV_CHECK_INT(cc.number[VV_CC_STALE_IF_ERROR], 30);
}
