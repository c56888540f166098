/* tests/unit/conf/test_decode.c - values of every type, units, ranges, short forms, unknown keys. */
#include "conf_test.h"

VV_TEST(every_type_arrives_in_its_field)
{
    struct loaded l = load_text("gears: 21\nlight: false\nprice: 4KB\nslope: 12.5%\npause: 1.5s\n"
                                "kind: mountain\nmode: \"0600\"\nlanes: 2\nowner: Ada\n"
                                "motto: go $host\ncolours: [red, blue]\n");
    VV_CHECK_STR(l.problems, "");
    VV_CHECK_INT(l.bike->gears, 21);
    VV_CHECK_INT(l.bike->light, 0);
    VV_CHECK_INT(l.bike->price_bytes, 4096);
    VV_CHECK_INT(l.bike->slope_ppm, 125000);
    VV_CHECK_INT(l.bike->pause_ns, 1500 * VV_MS);
    VV_CHECK_INT(l.bike->kind, 2);
    VV_CHECK_INT(l.bike->mode, 0600);
    VV_CHECK_INT(l.bike->lanes, 2);
    VV_CHECK_STR(l.bike->owner, "Ada");
    VV_CHECK_STR(l.bike->motto, "go $host");
    VV_CHECK_INT(l.bike->colours->count, 2);
    VV_CHECK_STR(l.bike->colours->item[1], "blue");
    VV_CHECK_INT(l.bike->colours->pos[1].line, 11);
    VV_CHECK_INT(l.bike->colours->pos[1].column, 16);
    unload(&l);
}

VV_TEST(a_number_without_a_unit_gets_units_to_choose_from)
{
    check_problems("pause: 7200\n", "bike.yaml:1:8: error: a duration needs a unit\n"
                                    "    1 | pause: 7200\n"
                                    "      |        ^~~~ write 7200s, 120m or 2h\n"
                                    "1 problem: 1 error. Nothing was started.\n");
    check_says("pause: 30000\n", "write 30000s, 500m or 30000ms");
    check_says("pause: 7\n", "write 7s or 7ms");
    check_says("price: 65536\n", "write 65536B or 64KB");
    check_says("slope: 5\n", "a share needs a percent sign");
    check_says("slope: 5\n", "write 5%");
}

VV_TEST(zero_needs_no_unit)
{
    struct loaded l = load_text("price: 0\nwaits: {first: 0}\n");
    VV_CHECK_STR(l.problems, "");
    VV_CHECK_INT(l.bike->price_bytes, 0);
    VV_CHECK_INT(l.bike->waits.first_ns, 0);
    unload(&l);
}

VV_TEST(ranges_are_told_as_the_row_writes_them)
{
    check_says("gears: 28\n", "gears must be at most 27");
    check_says("gears: 28\n", "^~ from 1 to 27");
    check_says("gears: 0\n", "gears must be at least 1");
    check_says("pause: 1ms\n", "pause must be at least 1s");
    check_says("slope: 51%\n", "slope must be at most 50%");
    check_fine("gears: 27\n");
    check_fine("pause: 1s\n");
}

VV_TEST(wrong_types_say_what_is_wanted)
{
    check_says("gears: many\n", "gears must be a whole number, not \"many\"");
    check_says("gears: 30s\n", "write 30, without a unit");
    check_says("gears: \"7\"\n", "write it without quotes");
    check_says("light: 1\n", "light must be true or false, not \"1\"");
    check_says("gears: [7]\n", "gears must be a whole number, not a list");
    check_says("owner: {a: b}\n", "owner must be text, not a map");
    check_says("owner: true\n", "write \"true\" in quotes");
    check_says("gears:\n", "gears has no value");
    check_says("waits: 3s\n", "waits must be a map of keys, not a single value");
    check_says("trips: {to: x}\n", "trips must be a list, not a map");
    check_says("pause: 10 parsecs\n", "pause must be a duration");
    check_says("kind: montain\n", "did you mean \"mountain\"?");
    check_says("kind: rocket\n", "one of road, city or mountain");
    check_says("- a\n", "the file must be a map of keys, not a list");
}

VV_TEST(unknown_keys_are_fatal_at_every_depth)
{
    check_problems("wheels:\n  rear: {spoke: 20}\n",
                   "bike.yaml:2:10: error: unknown key \"spoke\" in wheels.rear\n"
                   "    2 |   rear: {spoke: 20}\n"
                   "      |          ^~~~~ did you mean \"spokes\"?\n"
                   "1 problem: 1 error. Nothing was started.\n");
    check_says("gear: 3\n", "unknown key \"gear\"\n");
    check_says("trips: [{to: x, waits: {frist: 1s}}]\n", "did you mean \"first\"?");
    check_says("compression: true\n", "unknown key \"compression\"\n    1 | compression: true\n"
                                      "      | ^~~~~~~~~~~\n"); /* nothing near: no hint */
}

VV_TEST(several_errors_come_in_one_run_in_the_order_of_the_file)
{
    struct loaded l = load_text("gears: 99\nlihgt: true\npause: 5\nkind: citi\n");
    VV_CHECK_INT(l.errors, 4);
    const char *a = strstr(l.problems, ":1:"), *b = strstr(l.problems, ":2:");
    const char *c = strstr(l.problems, ":3:"), *d = strstr(l.problems, ":4:");
    VV_CHECK(a != NULL && b > a && c > b && d > c);
    VV_CHECK(strstr(l.problems, "4 problems: 4 errors. Nothing was started.\n") != NULL);
    unload(&l);
}

VV_TEST(a_missing_required_key_is_told_once)
{
    check_problems("trips:\n  - wait: 1s\n", "bike.yaml:2:5: error: trips[0] needs \"to\"\n"
                                             "    2 |   - wait: 1s\n"
                                             "      |     ^\n"
                                             "1 problem: 1 error. Nothing was started.\n");
    /* A misspelt key explains why the right one is missing. */
    check_says("trips:\n  - too: x\n", "1 problem: 1 error");
}

VV_TEST(short_forms_mean_their_long_forms)
{
    struct loaded l = load_text("wheels: 24\ncolours: red\n");
    VV_CHECK_STR(l.problems, "");
    const struct wheel *w = l.bike->wheels->item[0];
    VV_CHECK_STR(w->name, "front");
    VV_CHECK_STR(l.bike->wheels->name[0], "front");
    VV_CHECK_INT(w->spokes, 24);
    VV_CHECK_INT(l.bike->colours->count, 1);
    unload(&l);
    l = load_text("wheels: {rear: Ada, front: {spokes: 20}, spare: null}\n");
    VV_CHECK_STR(l.problems, "");
    w = l.bike->wheels->item[0];
    VV_CHECK_STR(w->maker, "Ada");
    VV_CHECK_INT(w->spokes, 32);
    w = l.bike->wheels->item[2];
    VV_CHECK(w->maker == NULL);
    unload(&l);
}

VV_TEST(another_spelling_stores_into_the_same_field_and_both_are_refused)
{
    struct loaded l = load_text("trips: [{to: a, wait: 4s}]\n");
    VV_CHECK_STR(l.problems, "");
    const struct trip *t = l.bike->trips->item[0];
    VV_CHECK_INT(t->waits.whole_ns, 4 * VV_SEC);
    VV_CHECK_INT(t->waits.first_ns, VV_CONF_ABSENT); /* inherit: left to the owner */
    VV_CHECK_INT(t->at.line, 1);
    unload(&l);
    check_says("trips: [{to: a, wait: 4s, waits: {whole: 5s}}]\n",
               "\"wait\" and \"waits.whole\" are the same: give one of them");
}

VV_TEST(a_word_stands_for_absent)
{
    struct loaded l = load_text("lanes: auto\n");
    VV_CHECK_STR(l.problems, "");
    VV_CHECK_INT(l.bike->lanes, 0);
    unload(&l);
}

VV_TEST(positions_of_values_are_known_and_defaults_have_none)
{
    struct loaded l = load_text("light: true\ngears: 3\n");
    VV_CHECK_INT(vv_conf_where(l.doc, &l.bike->gears).line, 2);
    VV_CHECK_INT(vv_conf_where(l.doc, &l.bike->gears).column, 8);
    VV_CHECK(vv_conf_given(l.doc, &l.bike->gears));
    VV_CHECK(!vv_conf_given(l.doc, &l.bike->pause_ns));
    VV_CHECK_INT(vv_conf_where(l.doc, &l.bike->pause_ns).line, 0);
    unload(&l);
}
