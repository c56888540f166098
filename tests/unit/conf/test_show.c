/* tests/unit/conf/test_show.c - what is printed of a document and of the rows. */
#include "conf_test.h"

static char *shown(const char *text, unsigned flags)
{
    struct loaded l = load_text(text);
    struct vv_sb sb = VV_SB_INIT;
    VV_CHECK_STR(l.problems, "");
    vv_conf_show(l.doc, flags, &sb);
    unload(&l);
    return vv_sb_take(&sb);
}

static void check_shown(const char *text, unsigned flags, const char *want)
{
    char *got = shown(text, flags);
    VV_CHECK_STR(got, want);
    free(got);
}

VV_TEST(the_short_form_is_what_the_file_says_in_short_forms)
{
    check_shown("wheels: {front: {spokes: 24}}\ntrips: [{to: a, waits: {whole: 4s}}]\n"
                "colours: [red, 'b: c']\nowner: \"12\"\n",
                0,
                "wheels: 24\n"
                "trips:\n"
                "  - to: a\n"
                "    wait: 4s\n"
                "colours: [red, \"b: c\"]\n"
                "owner: \"12\"\n");
}

VV_TEST(the_long_form_has_every_effective_value)
{
    check_shown("wheels: 24\npause: 90s\n", VV_CONF_SHOW_LONG,
                "gears: 7\n"
                "light: true\n"
                "price: 1KB\n"
                "slope: 10%\n"
                "pause: 90s\n"
                "kind: city\n"
                "mode: \"0660\"\n"
                "lanes: auto\n"
                "wheels:\n"
                "  front:\n"
                "    spokes: 24\n"
                "waits:\n"
                "  first: 2s\n"
                "  whole: 9s\n");
}

VV_TEST(origins_name_file_environment_and_default)
{
    char *got = shown("gears: 3\nowner: ${OWNER}\n", VV_CONF_SHOW_LONG | VV_CONF_SHOW_ORIGIN);
    VV_CHECK(strstr(got, "gears: 3  # bike.yaml:1\n") != NULL);
    VV_CHECK(strstr(got, "light: true  # default\n") != NULL);
    VV_CHECK(strstr(got, "  # environment OWNER\n") != NULL);
    free(got);
}

VV_TEST(what_is_shown_loads_again_and_shows_the_same)
{
    static const char text[] =
        "owner: ${OWNER}\nmotto: a $$ $host ${GEARS}\nkind: road\n"
        "colours: [\"on\", \"1.5\", \"#x\", \"a: b\", \"\", \"null\", \" c\"]\n"
        "wheels: {\"12\": {maker: \"x\\ny\\t\\\"z\\\"\"}, rear: null}\n"
        "trips: [{to: a}, {to: b, waits: {first: 1ms}}]\nlanes: auto\n";
    static const unsigned forms[] = {0, VV_CONF_SHOW_LONG, VV_CONF_SHOW_ORIGIN};
    for (size_t i = 0; i < VV_COUNT(forms); i++) {
        char *once = shown(text, forms[i]);
        char *again = shown(once, VV_CONF_SHOW_LONG);
        char *straight = shown(text, VV_CONF_SHOW_LONG);
        VV_CHECK_STR(again, straight);
        free(once);
        free(again);
        free(straight);
    }
}

VV_TEST(json_keeps_numbers_and_booleans)
{
    check_shown("gears: 3\nlight: false\nowner: \"3\"\ncolours: [a]\n", VV_CONF_SHOW_JSON,
                "{\"gears\":3,\"light\":false,\"owner\":\"3\",\"colours\":[\"a\"]}");
}

VV_TEST(the_schema_knows_ranges_words_and_short_forms)
{
    struct vv_sb sb = VV_SB_INIT;
    vv_conf_schema(&bike_section, &sb);
    VV_CHECK(strstr(sb.p, "\"$schema\": \"http://json-schema.org/draft-07/schema#\"") != NULL);
    VV_CHECK(strstr(sb.p, "\"maximum\": 27") != NULL);
    VV_CHECK(strstr(sb.p, "\"mountain\"") != NULL);
    VV_CHECK(strstr(sb.p, "\"additionalProperties\": false") != NULL);
    VV_CHECK(strstr(sb.p, "\"#/definitions/wheel\"") != NULL);
    vv_sb_fini(&sb);
}

VV_TEST(the_reference_page_has_every_key_with_its_limits)
{
    struct vv_sb sb = VV_SB_INIT;
    vv_conf_reference(&bike_section, &sb);
    VV_CHECK(strstr(sb.p, "| `gears` | number, 1 to 27 | `7` | restart | Gears. |") != NULL);
    VV_CHECK(strstr(sb.p, "## wheels.NAME\n") != NULL);
    VV_CHECK(strstr(sb.p, "Short form: a number stands for `{spokes: ...}`.") != NULL);
    for (size_t i = 0; i < bike_section.row_count; i++) {
        char key[64];
        snprintf(key, sizeof key, "| `%s` |", bike_section.rows[i].key);
        VV_CHECK(strstr(sb.p, key) != NULL);
    }
    vv_sb_fini(&sb);
}
