/* tests/unit/gateway/test_compose_merge.c - whatever parts send, the composed answer is JSON. */
#include "gateway/compose_merge.h"
#include "vv_test.h"
#include <stdlib.h>

static bool json(const char *text)
{
    return vv_merge_is_json(vv_str_from(text));
}

VV_TEST(json_is_told_from_what_only_looks_like_it)
{
    static const char *const good[] = {"null",
                                       " true ",
                                       "0",
                                       "-0",
                                       "1.5e-3",
                                       "\"\"",
                                       "\"a\\u00e9\\n\"",
                                       "[]",
                                       "[1,[2,{}]]\n",
                                       "{\"a\":{\"b\":[1]},\"c\":\"\xC3\xA9\"}",
                                       "{ \"a\" : 1 , \"b\" : 2 }",
                                       "10E+2"};
    static const char *const bad[] = {"",
                                      " ",
                                      "nul",
                                      "nulls",
                                      "01",
                                      "1.",
                                      ".5",
                                      "-",
                                      "1e",
                                      "+1",
                                      "\"",
                                      "\"\\x\"",
                                      "\"\\u12g4\"",
                                      "\"a\nb\"",
                                      "[1,]",
                                      "[,1]",
                                      "[1 2]",
                                      "{\"a\"}",
                                      "{\"a\":}",
                                      "{\"a\":1,}",
                                      "{a:1}",
                                      "{,}",
                                      "[1}",
                                      "{\"a\":1]",
                                      "[",
                                      "{",
                                      "]",
                                      "1 2",
                                      "{}{}",
                                      "'a'",
                                      "\"\xC0\xAF\"",     /* overlong / */
                                      "\"\xED\xA0\x80\"", /* a surrogate, U+D800 */
                                      "\"\xF4\x90\x80\x80\"",
                                      "\"\xC3\"",
                                      "\xEF\xBB\xBF{}"};
    for (size_t i = 0; i < VV_COUNT(good); i++) {
        VV_CHECK(json(good[i]));
    }
    for (size_t i = 0; i < VV_COUNT(bad); i++) {
        VV_CHECK(!json(bad[i]));
    }
    VV_CHECK(!vv_merge_is_json((struct vv_str){"\"a\0b\"", 5}));
    VV_CHECK(!vv_merge_is_json((struct vv_str){"1\0", 2}));
}

VV_TEST(nesting_is_taken_to_its_limit_and_no_deeper)
{
    char text[2 * VV_MERGE_DEPTH_MAX + 2];
    const size_t n = VV_MERGE_DEPTH_MAX + 1;
    memset(text, '[', n);
    memset(text + n, ']', n);
    VV_CHECK(!vv_merge_is_json((struct vv_str){text, 2 * n}));
    VV_CHECK(vv_merge_is_json((struct vv_str){text + 1, 2 * (n - 1)}));
}

static const struct vv_str names[] = {{"user", 4}, {"ideas", 5}};

/* user and ideas put together; NULL: missing, and so degraded. */
static char *merged(const char *text, const char *user, const char *ideas)
{
    struct vv_merge *m = NULL;
    char why[VV_MERGE_TEXT] = "";
    const char *body[] = {user, ideas};
    struct vv_merge_value v[2];
    struct vv_sb sb = VV_SB_INIT;
    VV_CHECK_INT(vv_merge_new(text, names, 2, &m, why), VV_OK);
    for (size_t i = 0; i < 2; i++) {
        v[i] = (struct vv_merge_value){.name = names[i], .degraded = body[i] == NULL};
        if (body[i] != NULL) {
            v[i].body = vv_str_from(body[i]);
            v[i].is_json = vv_merge_is_json(v[i].body);
        }
    }
    vv_merge_write(m, v, 2, &sb);
    vv_merge_free(m);
    return vv_sb_take(&sb);
}

static void check(const char *text, const char *user, const char *ideas, const char *want)
{
    char *got = merged(text, user, ideas);
    VV_CHECK_STR(got, want);
    VV_CHECK(json(got));
    free(got);
}

VV_TEST(without_a_template_there_is_a_member_for_each_part_that_has_a_value)
{
    check(NULL, "{\"name\":\"Ann\"}", "[1]",
          "{\"user\":{\"name\":\"Ann\"},\"ideas\":[1],\"degraded\":[]}");
    check(NULL, "{}", NULL, "{\"user\":{},\"degraded\":[\"ideas\"]}");
    check(NULL, NULL, NULL, "{\"degraded\":[\"user\",\"ideas\"]}");
}

VV_TEST(what_is_no_json_becomes_a_string_and_cannot_break_out)
{
    check(NULL, "\"},\"admin\":true,{\"x\":\"", "plain",
          "{\"user\":\"\\\"},\\\"admin\\\":true,{\\\"x\\\":\\\"\",\"ideas\":\"plain\",\"degraded\":"
          "[]}");
    check(NULL, "{}}", "", "{\"user\":\"{}}\",\"ideas\":\"\",\"degraded\":[]}");
    check(NULL, "\x1F\x8B", "1", /* the first bytes of gzip: one is a control, one no UTF-8 */
          "{\"user\":\"\\u001f\xEF\xBF\xBD\",\"ideas\":1,\"degraded\":[]}");
}

VV_TEST(a_template_gets_values_with_or_without_quotes_around_their_place)
{
    check("{\"u\": {{user}}, \"i\": \"{{ ideas }}\", \"d\": {{degraded}}}", "{\"a\":1}", NULL,
          "{\"u\": {\"a\":1}, \"i\": null, \"d\": [\"ideas\"]}");
    check("[{{user}},{{user}},{{ideas}}]", "x", "2", "[\"x\",\"x\",2]");
    check("{{user}}", "{\"a\":{}}", NULL, "{\"a\":{}}");
    check("{\"a\":\"\\\"\",\"b\":{\"c\":{{user}}}}", "1", NULL, "{\"a\":\"\\\"\",\"b\":{\"c\":1}}");
}

static void refuse(const char *text, const char *part_of_why)
{
    struct vv_merge *m = NULL;
    char why[VV_MERGE_TEXT] = "";
    VV_CHECK_INT(vv_merge_new(text, names, 2, &m, why), VV_ESYNTAX);
    VV_CHECK(strstr(why, part_of_why) != NULL);
    VV_CHECK(m == NULL);
}

VV_TEST(a_template_that_could_not_give_json_is_refused)
{
    refuse("{\"a\": {{users}}}", "\"users\" is no part");
    refuse("{\"a\": {{user}", "not closed");
    refuse("{\"a\": \"hello {{user}}\"}", "whole value");
    refuse("{\"a\": \"{{user}}!\"}", "whole value");
    refuse("{\"a\": \"\\\"{{user}}\"}", "whole value");
    refuse("{{{user}}: 1}", "no part");     /* "{user" */
    refuse("{\"{{user}}\": 1}", "no JSON"); /* a name cannot be a part */
    refuse("{\"a\": {{user}}", "no JSON");
    refuse("{{user}}{{ideas}}", "no JSON");
    refuse("", "no JSON");
}
