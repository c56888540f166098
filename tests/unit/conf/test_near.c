/* tests/unit/conf/test_near.c - which known name did the user mean? */
#include "conf_test.h"

static const char *const names[] = {"keepalive", "keepalive_requests", "max_fails", "to"};

static const char *near(const char *word)
{
    return vv_conf_nearest(word, names, VV_COUNT(names));
}

VV_TEST(a_missing_letter_is_forgiven)
{
    VV_CHECK_STR(near("max_fail"), "max_fails");
}

VV_TEST(two_swapped_letters_are_one_mistake)
{
    VV_CHECK_STR(near("keepailve"), "keepalive");
}

VV_TEST(letter_case_and_dashes_cost_nothing)
{
    VV_CHECK_STR(near("MAX-FAILS"), "max_fails");
}

VV_TEST(the_nearest_of_two_is_taken)
{
    VV_CHECK_STR(near("keepalive_request"), "keepalive_requests");
}

VV_TEST(a_word_too_far_from_all_gets_no_suggestion)
{
    VV_CHECK(near("compression") == NULL);
    VV_CHECK(near("") == NULL);
}

VV_TEST(two_letters_may_differ_in_one)
{
    VV_CHECK_STR(near("ot"), "to"); /* one swap */
    VV_CHECK(near("xy") == NULL);   /* two substitutions */
}

VV_TEST(a_very_long_word_is_not_compared)
{
    char word[200];
    memset(word, 'k', sizeof word - 1);
    word[sizeof word - 1] = '\0';
    VV_CHECK(near(word) == NULL);
}
