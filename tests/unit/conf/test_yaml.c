/* tests/unit/conf/test_yaml.c - the subset of YAML: what is read, what is refused and with which words. */
#include "conf_test.h"

VV_TEST(an_empty_text_means_all_defaults)
{
    struct loaded l = load_text("");
    VV_CHECK_STR(l.problems, "");
    VV_CHECK_INT(l.bike->gears, 7);
    VV_CHECK_INT(l.bike->pause_ns, 30 * VV_SEC);
    VV_CHECK(l.bike->owner == NULL);
    unload(&l);
}

VV_TEST(a_key_given_twice_is_refused_and_shows_both)
{
    check_problems("gears: 3\nlight: true\ngears: 4\n",
                   "bike.yaml:3:1: error: key \"gears\" is given twice\n"
                   "    3 | gears: 4\n"
                   "      | ^~~~~ keep one of them (first given at 1:1)\n"
                   "1 problem: 1 error. Nothing was started.\n");
}

VV_TEST(words_that_yaml_1_1_reads_as_booleans_are_refused_in_any_case)
{
    static const char *const words[] = {"on", "off", "yes", "no", "y", "n", "On", "OFF", "Yes"};
    for (size_t i = 0; i < VV_COUNT(words); i++) {
        char text[64];
        snprintf(text, sizeof text, "owner: %s\n", words[i]);
        check_says(text, "is a boolean to some YAML readers and a word to others");
        snprintf(text, sizeof text, "wheels: {%s: 32}\n", words[i]);
        check_says(text, "is a boolean to some YAML readers and a word to others");
        snprintf(text, sizeof text, "colours: [%s]\n", words[i]);
        check_says(text, "is a boolean to some YAML readers and a word to others");
        snprintf(text, sizeof text, "owner: \"%s\"\n", words[i]);
        check_fine(text);
    }
}

VV_TEST(true_in_capitals_is_no_boolean)
{
    check_says("light: True\n", "only true and false, in small letters, are booleans");
    check_says("light: FALSE\n", "write false");
}

VV_TEST(a_tab_is_answered_in_a_friendly_way)
{
    check_problems("waits:\n\tfirst: 1s\n",
                   "bike.yaml:2:1: error: a tab cannot indent YAML: how wide it is, every editor "
                   "decides differently\n"
                   "    2 |  first: 1s\n"
                   "      | ^ use spaces\n"
                   "1 problem: 1 error. Nothing was started.\n");
}

VV_TEST(tags_directives_and_second_documents_are_refused)
{
    check_says("gears: !!int 3\n", "tags (\"!...\") have no meaning here");
    check_says("%YAML 1.1\n---\ngears: 3\n", "always YAML 1.2");
    check_says("gears: 3\n---\ngears: 4\n", "one file holds one document");
}

VV_TEST(bytes_that_are_no_text_are_refused_with_their_place)
{
    check_says("owner: a\xff\n", "bike.yaml:1:9: error: byte 0xff is not UTF-8");
    check_says("owner: a\x01\n", "bike.yaml:1:9: error: byte 0x01 is not allowed in YAML");
    check_says("owner: \xc2\x9b\n", "byte 0x9b is not allowed in YAML"); /* CSI: steers terminals */
    check_says("owner: \xed\xa0\x80\n", "byte 0xed is not UTF-8");       /* a surrogate */
}

VV_TEST(anchors_and_merge_keys_work_and_own_values_win)
{
    struct loaded l = load_text("wheels:\n  front: &w {spokes: 20, maker: Ada}\n"
                                "  rear: {<<: *w, spokes: 24}\n");
    VV_CHECK_STR(l.problems, "");
    const struct wheel *rear = l.bike->wheels->item[1];
    VV_CHECK_INT(rear->spokes, 24);
    VV_CHECK_STR(rear->maker, "Ada");
    unload(&l);
}

VV_TEST(aliases_may_not_stand_for_more_than_the_limit)
{
    /* *a is 11 values, *b 111, *c 1,111: 110 + 1,110 + 8 * 1,111 is the first sum over 10,000, and
     * the eighth alias of line 4 stands at column 5 + 7 * 3. */
    check_says("a: &a [1,1,1,1,1,1,1,1,1,1]\n"
               "b: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
               "c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
               "d: [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\n",
               "bike.yaml:4:26: error: aliases stand for more than 10000 values");
}

VV_TEST(an_alias_inside_its_own_value_is_refused)
{
    check_says("a: &a [*a]\n", "*a stands inside the value it stands for");
    check_says("a: *b\n", "no anchor &b stands above this line");
}

VV_TEST(nesting_has_a_limit)
{
    char text[80];
    memset(text, '[', 70);
    text[70] = '\0';
    check_says(text, "nested deeper than 32 levels");
}

VV_TEST(block_texts_keep_every_byte)
{
    /* Deeper lines once lost a byte each in the library below. */
    struct loaded l = load_text("owner: |\n  one\n    two\n    three\n");
    VV_CHECK_STR(l.bike->owner, "one\n  two\n  three\n");
    unload(&l);
}

VV_TEST(syntax_errors_have_a_place_and_plain_words)
{
    check_says("gears: 3\n   light: true\n", "this value runs on into the next line");
    check_says("trips:\n  - to: a\n   wait: 1s\n",
               "is indented in a way that fits nothing above it");
    check_says("owner: \"a\n", "bike.yaml:");
}

VV_TEST(a_byte_order_mark_and_crlf_are_fine)
{
    struct loaded l = load_text("\xef\xbb\xbfgears: 3\r\nowner: Ada\r\n");
    VV_CHECK_STR(l.problems, "");
    VV_CHECK_INT(l.bike->gears, 3);
    VV_CHECK_STR(l.bike->owner, "Ada");
    unload(&l);
}
