/* tests/unit/conf/test_merge.c - includes, profiles and the overlay, in a folder of their own. */
#include "conf_test.h"

static char folder[64];

static void put(const char *name, const char *text)
{
    char path[128];
    if (folder[0] == '\0') {
        strcpy(folder, "/tmp/vv-conf-XXXXXX");
        assert_non_null(mkdtemp(folder));
    }
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void tidy(void)
{
    static const char *const names[] = {"bike.yaml", "bike.overlay.yaml", "more.yaml", "last.yaml"};
    for (size_t i = 0; i < VV_COUNT(names); i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    rmdir(folder);
    folder[0] = '\0';
}

static struct loaded load_main(const char *profile, bool no_overlay)
{
    char path[128];
    snprintf(path, sizeof path, "%s/bike.yaml", folder);
    const struct vv_conf_source source = {
        .path = path, .profile = profile, .no_overlay = no_overlay, .env = test_variable};
    return load_source(&source);
}

VV_TEST(an_include_adds_keys_and_list_entries_and_own_values_win)
{
    put("bike.yaml", "include: [more.yaml]\ngears: 3\ntrips: [{to: a}]\nwheels: {front: 20}\n");
    put("more.yaml", "gears: 9\nowner: Ada\ntrips: [{to: b}]\nwheels: {front: 24, rear: 28}\n");
    struct loaded l = load_main(NULL, false);
    VV_CHECK_STR(l.problems, "");
    VV_CHECK_INT(l.bike->gears, 3);
    VV_CHECK_STR(l.bike->owner, "Ada");
    VV_CHECK_INT(l.bike->trips->count, 2);
    VV_CHECK_STR(((struct trip *)l.bike->trips->item[1])->to, "b");
    VV_CHECK(strstr(l.bike->trips->pos[1].file, "more.yaml") != NULL);
    VV_CHECK_INT(((struct wheel *)l.bike->wheels->item[0])->spokes, 20);
    VV_CHECK_INT(l.bike->wheels->count, 2);
    unload(&l);
    tidy();
}

VV_TEST(an_error_in_an_include_names_that_file)
{
    put("bike.yaml", "include: more.yaml\n");
    put("more.yaml", "gears: 3\npaus: 3s\n");
    struct loaded l = load_main(NULL, false);
    VV_CHECK(strstr(l.problems, "more.yaml:2:1: error: unknown key \"paus\"") != NULL);
    unload(&l);
    tidy();
}

VV_TEST(a_circle_of_includes_is_refused)
{
    put("bike.yaml", "include: more.yaml\n");
    put("more.yaml", "include: last.yaml\n");
    put("last.yaml", "include: bike.yaml\n");
    struct loaded l = load_main(NULL, false);
    VV_CHECK_INT(l.errors, 1);
    VV_CHECK(strstr(l.problems, "last.yaml:1:10: error: ") != NULL);
    VV_CHECK(strstr(l.problems, "includes itself through other files") != NULL);
    unload(&l);
    tidy();
}

VV_TEST(a_missing_include_is_told_where_it_is_named)
{
    put("bike.yaml", "gears: 3\ninclude: none.yaml\n");
    struct loaded l = load_main(NULL, false);
    VV_CHECK(strstr(l.problems, "bike.yaml:2:10: error: cannot read ") != NULL);
    unload(&l);
    tidy();
}

static const char profiled[] = "profile: slow\n"
                               "gears: 3\n"
                               "trips: [{to: a}, {to: b}]\n"
                               "waits: {first: 5s}\n"
                               "profiles:\n"
                               "  slow: {gears: 5, waits: {whole: 7s}}\n"
                               "  fast: {gears: 9, trips: [{to: c}]}\n";

VV_TEST(a_profile_is_a_merge_over_the_file)
{
    put("bike.yaml", profiled);
    struct loaded l = load_main(NULL, false);
    VV_CHECK_STR(l.problems, "");
    VV_CHECK_STR(vv_conf_profile(l.doc), "slow");
    VV_CHECK_INT(l.bike->gears, 5);
    VV_CHECK_INT(l.bike->waits.first_ns, 5 * VV_SEC);
    VV_CHECK_INT(l.bike->waits.whole_ns, 7 * VV_SEC);
    VV_CHECK_INT(l.bike->trips->count, 2);
    unload(&l);
    l = load_main("fast", false); /* the command line wins over the file */
    VV_CHECK_INT(l.bike->gears, 9);
    VV_CHECK_INT(l.bike->trips->count, 1); /* lists are replaced */
    unload(&l);
    tidy();
}

VV_TEST(an_unknown_profile_is_refused_with_the_nearest)
{
    put("bike.yaml", profiled);
    struct loaded l = load_main("fats", false);
    VV_CHECK(strstr(l.problems, "no profile named \"fats\"") != NULL);
    VV_CHECK(strstr(l.problems, "did you mean \"fast\"?") != NULL);
    unload(&l);
    tidy();
}

VV_TEST(a_profile_that_is_not_in_use_is_checked_but_needs_no_variables)
{
    check_says("profiles: {other: {gears: 99}}\n", "profiles.other.gears must be at most 27");
    check_says("profiles: {other: {geers: 9}}\n", "unknown key \"geers\" in profiles.other");
    check_fine("profiles: {other: {owner: \"${NOBODY}\"}}\n");
    check_says("profile: other\nprofiles: {other: {owner: \"${NOBODY}\"}}\n", "NOBODY is not set");
}

VV_TEST(the_overlay_is_merged_last_unless_it_is_not_wanted)
{
    put("bike.yaml", profiled);
    put("bike.overlay.yaml", "gears: 11\n");
    struct loaded l = load_main(NULL, false);
    VV_CHECK_STR(l.problems, "");
    VV_CHECK_INT(l.bike->gears, 11);
    VV_CHECK(strstr(vv_conf_overlay_path(l.doc), "/bike.overlay.yaml") != NULL);
    struct vv_sb sb = VV_SB_INIT;
    vv_conf_show(l.doc, VV_CONF_SHOW_ORIGIN, &sb);
    VV_CHECK(strstr(sb.p, "gears: 11  # overlay\n") != NULL);
    VV_CHECK(strstr(sb.p, "whole: 7s  # profile slow\n") != NULL);
    VV_CHECK(strstr(sb.p, "bike.yaml:4\n") != NULL); /* waits.first */
    vv_sb_fini(&sb);
    unload(&l);
    l = load_main(NULL, true);
    VV_CHECK_INT(l.bike->gears, 5);
    unload(&l);
    put("bike.overlay.yaml", "include: x\n");
    l = load_main(NULL, false);
    VV_CHECK(strstr(l.problems, "an overlay holds changes only") != NULL);
    unload(&l);
    tidy();
}

VV_TEST(a_file_that_cannot_be_read_is_one_error_without_a_place)
{
    const struct vv_conf_source source = {.path = "/tmp/vv-no-such-folder/x.yaml"};
    struct loaded l = load_source(&source);
    VV_CHECK_STR(l.problems,
                 "error: cannot read /tmp/vv-no-such-folder/x.yaml: No such file or directory\n"
                 "1 problem: 1 error. Nothing was started.\n");
    unload(&l);
}
