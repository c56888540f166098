/* tests/unit/conf/test_problems.c - how problems are printed: windows, colours, JSON, summary. */
#include "conf_test.h"

VV_TEST(long_lines_are_cut_to_a_window_around_the_caret)
{
    char text[600];
    memset(text, ' ', sizeof text);
    memcpy(text, "{owner: a,", 10);
    strcpy(text + 300, "gears: 99, colours: [a]");
    memset(text + 323, ' ', 200);
    strcpy(text + 523, "}\n");
    struct loaded l = load_text(text);
    VV_CHECK(strstr(l.problems, "bike.yaml:1:308: error: gears must be at most 27\n") != NULL);
    const char *line = strstr(l.problems, "    1 | ...");
    VV_CHECK(line != NULL);
    const char *end = strchr(line, '\n');
    VV_CHECK(end - line < 130);
    /* The caret stands under the value. */
    const ptrdiff_t value = strstr(line, "99") - line;
    const char *caret = strchr(end + 1, '^');
    VV_CHECK_INT(caret - (end + 1), value);
    unload(&l);
}

VV_TEST(columns_count_characters_not_bytes)
{
    check_problems("{owner: \"\xc3\xa4\xc3\xb6\", gears: 99}\n",
                   "bike.yaml:1:22: error: gears must be at most 27\n"
                   "    1 | {owner: \"\xc3\xa4\xc3\xb6\", gears: 99}\n"
                   "      |                      ^~ from 1 to 27\n"
                   "1 problem: 1 error. Nothing was started.\n");
}

static struct vv_conf_problems *problems_of(const char *text)
{
    const struct vv_conf_source source = {.path = "bike.yaml", .text = text};
    struct vv_conf_problems *p = vv_conf_problems_new();
    struct vv_conf_doc *doc = NULL;
    VV_CHECK_INT(vv_conf_load(&source, &bike_section, NULL, p, &doc), VV_ECONFIG);
    VV_CHECK(doc == NULL);
    return p;
}

VV_TEST(colour_is_used_only_when_asked)
{
    struct vv_conf_problems *p = problems_of("gears: 99\n");
    struct vv_sb plain = VV_SB_INIT, painted = VV_SB_INIT;
    vv_conf_problems_print(p, false, NULL, &plain);
    vv_conf_problems_print(p, true, NULL, &painted);
    VV_CHECK(strchr(plain.p, '\033') == NULL);
    VV_CHECK(strstr(painted.p, "\033[1;31merror: ") != NULL);
    VV_CHECK(strstr(plain.p, "1 problem: 1 error.\n") != NULL);
    vv_sb_fini(&plain);
    vv_sb_fini(&painted);
    vv_conf_problems_free(p);
}

VV_TEST(json_has_all_that_an_editor_needs)
{
    struct vv_conf_problems *p = problems_of("gears: 3\ngears: 4\n");
    struct vv_sb sb = VV_SB_INIT;
    vv_conf_problems_json(p, &sb);
    VV_CHECK_STR(sb.p, "{\"errors\":1,\"warnings\":0,\"problems\":[{\"severity\":\"error\","
                       "\"file\":\"bike.yaml\",\"line\":2,\"column\":1,\"width\":5,"
                       "\"message\":\"key \\\"gears\\\" is given twice\","
                       "\"hint\":\"keep one of them\",\"other\":{\"what\":\"first given\","
                       "\"file\":\"bike.yaml\",\"line\":1,\"column\":1}}]}");
    vv_sb_fini(&sb);
    vv_conf_problems_free(p);
}

VV_TEST(values_in_messages_cannot_steer_a_terminal)
{
    struct loaded l = load_text("kind: \"\\e[31m\"\n");
    VV_CHECK(strchr(l.problems, '\033') == NULL);
    unload(&l);
}

VV_TEST(problems_without_a_place_and_warnings_are_counted)
{
    struct vv_conf_problems *p = vv_conf_problems_new();
    struct vv_sb sb = VV_SB_INIT;
    vv_conf_problems_print(p, false, "x", &sb);
    VV_CHECK_INT(sb.n, 0); /* nothing to say */
    vv_conf_problems_add(p, true, "a.yaml", "number %d", 1);
    vv_conf_problems_print(p, false, "Nothing was started.", &sb);
    VV_CHECK_STR(sb.p, "a.yaml: warning: number 1\n1 problem: 1 warning.\n");
    vv_sb_reset(&sb);
    vv_conf_problems_add(p, false, NULL, "number %d", 2);
    vv_conf_problems_print(p, false, "Nothing was started.", &sb);
    VV_CHECK(strstr(sb.p, "2 problems: 1 error, 1 warning. Nothing was started.\n") != NULL);
    vv_sb_fini(&sb);
    vv_conf_problems_free(p);
}

VV_TEST(more_problems_than_anybody_reads_are_counted_but_not_shown)
{
    char text[4000] = "";
    for (int i = 0; i < 120; i++) { /* 100 are kept */
        char line[32];
        snprintf(line, sizeof line, "key_number_%d: 1\n", i);
        strcat(text, line);
    }
    check_says(text, "... and 20 more that are not shown.\n120 problems: 120 errors.");
}

VV_TEST(a_mistake_seen_through_many_aliases_is_told_once)
{
    check_says("wheels:\n  front: &w {spokes: 99}\n  rear: {<<: *w}\n  spare: {<<: *w}\n",
               "wheels.front.spokes must be at most 64");
    check_problems("trips: [&t {too: a}, *t, *t]\n",
                   "bike.yaml:1:13: error: unknown key \"too\" in trips[0]\n"
                   "    1 | trips: [&t {too: a}, *t, *t]\n"
                   "      |             ^~~ did you mean \"to\"?\n"
                   "1 problem: 1 error. Nothing was started.\n");
}
