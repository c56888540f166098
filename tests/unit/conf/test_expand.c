/* tests/unit/conf/test_expand.c - ${...} in values: after parsing, never structure, never told. */
#include "conf_test.h"

VV_TEST(a_variable_can_never_change_the_structure)
{
    struct loaded l = load_text("owner: ${OWNER}\ncolours: [\"${COLOUR}\"]\n");
    VV_CHECK_STR(l.problems, "");
    VV_CHECK_STR(l.bike->owner, "Ada: [x, $host");
    VV_CHECK_INT(l.bike->colours->count, 1); /* "red, green" is one colour */
    unload(&l);
}

VV_TEST(a_number_may_come_from_a_variable_in_quotes)
{
    struct loaded l = load_text("gears: \"${GEARS}\"\npause: \"${PAUSE:-4}s\"\n");
    VV_CHECK_STR(l.problems, "");
    VV_CHECK_INT(l.bike->gears, 12);
    VV_CHECK_INT(l.bike->pause_ns, 4 * VV_SEC);
    unload(&l);
}

VV_TEST(an_empty_variable_takes_the_default)
{
    struct loaded l = load_text("owner: ${EMPTY:-nobody}\n");
    VV_CHECK_STR(l.bike->owner, "nobody");
    unload(&l);
}

VV_TEST(an_unset_variable_is_an_error_at_its_place)
{
    check_problems("owner: ${NOBODY}\n",
                   "bike.yaml:1:8: error: environment variable NOBODY is not set\n"
                   "    1 | owner: ${NOBODY}\n"
                   "      |        ^~~~~~~~~ export it, or write ${NOBODY:-default}\n"
                   "1 problem: 1 error. Nothing was started.\n");
}

VV_TEST(variables_of_templates_stay_and_two_dollars_are_one)
{
    struct loaded l = load_text("owner: $host costs $$5\nmotto: $uri $$5 ${OWNER}\n");
    VV_CHECK_STR(l.problems, "");
    VV_CHECK_STR(l.bike->owner, "$host costs $5");
    /* For a template $$ is its own business, and dollars of the environment are made harmless. */
    VV_CHECK_STR(l.bike->motto, "$uri $$5 Ada: [x, $$host");
    unload(&l);
}

VV_TEST(broken_references_are_told)
{
    check_says("owner: \"${OWNER\"\n", "\"${\" is never closed");
    check_says("owner: \"${a-b}\"\n", "does not hold the name of a variable");
}

VV_TEST(files_give_secrets_that_no_output_shows)
{
    char path[] = "/tmp/vv-conf-XXXXXX", text[256];
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "hunter2\n", 8), 8);
    close(fd);
    snprintf(text, sizeof text, "owner: ${file:%s}\n", path);
    struct loaded l = load_text(text);
    VV_CHECK_STR(l.problems, "");
    VV_CHECK_STR(l.bike->owner, "hunter2"); /* without the line end */
    for (unsigned flags = 0; flags < 8; flags++) {
        struct vv_sb sb = VV_SB_INIT;
        vv_conf_show(l.doc, flags, &sb);
        VV_CHECK(strstr(sb.p, "hunter2") == NULL);
        VV_CHECK(strstr(sb.p, "[hidden]") != NULL);
        vv_sb_fini(&sb);
    }
    unload(&l);
    snprintf(text, sizeof text, "gears: ${file:%s}\n", path);
    l = load_text(text);
    VV_CHECK_INT(l.errors, 1);
    VV_CHECK(strstr(l.problems, "hunter2") == NULL);
    unload(&l);
    const struct vv_conf_source source = {.path = "bike.yaml", .text = text, .no_files = true};
    l = load_source(&source);
    VV_CHECK(strstr(l.problems, "files may not be read here") != NULL);
    unload(&l);
    unlink(path);
}

VV_TEST(a_secret_row_is_hidden_even_in_the_line_of_another_error)
{
    struct loaded l = load_text("{lock: sesame, gears: 99}\n");
    VV_CHECK(strstr(l.problems, "sesame") == NULL);
    VV_CHECK(strstr(l.problems, "{lock: ******, gears: 99}") != NULL);
    unload(&l);
}
