/* tests/unit/base/test_str.c - slices: case, cutting, numbers, hashing. */
#include "base/err.h"
#include "base/str.h"
#include "vv_test.h"

VV_TEST(str_ignores_case_of_ascii_letters_only)
{
    VV_CHECK(vv_str_eq_nocase(VV_STR("Content-LENGTH"), VV_STR("content-length")));
    VV_CHECK(!vv_str_eq_nocase(VV_STR("a@"), VV_STR("a`")));     /* 0x40 and 0x60 */
    VV_CHECK(!vv_str_eq_nocase(VV_STR("["), VV_STR("{")));       /* 0x5B and 0x7B */
    VV_CHECK(!vv_str_eq_nocase(VV_STR("\xC4"), VV_STR("\xE4"))); /* Latin-1 letters */
    VV_CHECK(!vv_str_eq_nocase(VV_STR("abc"), VV_STR("abcd")));
    VV_CHECK(vv_str_eq_nocase((struct vv_str){NULL, 0}, VV_STR("")));
}

VV_TEST(char_lower_changes_ascii_letters_only)
{
    VV_CHECK_INT(vv_char_lower('A'), 'a');
    VV_CHECK_INT(vv_char_lower('Z'), 'z');
    VV_CHECK_INT(vv_char_lower('q'), 'q');
    VV_CHECK_INT(vv_char_lower('@'), '@'); /* the neighbours of A and Z: 0x40 and 0x5b */
    VV_CHECK_INT(vv_char_lower('['), '[');
    VV_CHECK_INT(vv_char_lower('\xC4'), '\xC4'); /* a byte of UTF-8 */
}

VV_TEST(str_knows_both_ends)
{
    VV_CHECK(vv_str_starts(VV_STR("/api/x"), VV_STR("/api")));
    VV_CHECK(!vv_str_starts(VV_STR("/a"), VV_STR("/api")));
    VV_CHECK(vv_str_ends(VV_STR("a.gz"), VV_STR(".gz")));
    VV_CHECK(!vv_str_ends(VV_STR("gz"), VV_STR(".gz")));
    VV_CHECK(vv_str_ends(VV_STR("a"), VV_STR("")));
    VV_CHECK_SLICE(vv_str_trim(VV_STR(" \t a b\t ")), "a b");
    VV_CHECK_SLICE(vv_str_trim(VV_STR(" \t")), "");
    VV_CHECK_INT(vv_str_find_char(VV_STR("abc"), 'c'), 2);
    VV_CHECK_INT(vv_str_find_char(VV_STR("abc"), 'x'), -1);
}

VV_TEST(str_cut_tells_an_empty_rest_from_none)
{
    struct vv_str rest = VV_STR("a,,b,");
    VV_CHECK_SLICE(vv_str_cut(&rest, ','), "a");
    VV_CHECK_SLICE(vv_str_cut(&rest, ','), "");
    VV_CHECK_SLICE(vv_str_cut(&rest, ','), "b");
    VV_CHECK(rest.p != NULL && rest.n == 0);
    VV_CHECK_SLICE(vv_str_cut(&rest, ','), "");
    VV_CHECK(rest.p == NULL);
}

VV_TEST(str_reads_unsigned_numbers_strictly)
{
    uint64_t v = 1;
    VV_CHECK_INT(vv_str_to_u64(VV_STR("0"), &v), VV_OK);
    VV_CHECK(v == 0);
    VV_CHECK_INT(vv_str_to_u64(VV_STR("18446744073709551615"), &v), VV_OK);
    VV_CHECK(v == UINT64_MAX);
    VV_CHECK_INT(vv_str_to_u64(VV_STR("18446744073709551616"), &v), VV_ERANGE);
    VV_CHECK_INT(vv_str_to_u64(VV_STR("99999999999999999999"), &v), VV_ERANGE);
    static const char *const bad[] = {"",   "+1",  "-1",  " 1",
                                      "1 ", "0x1", "1.0", "99999999999999999999x"};
    for (size_t i = 0; i < VV_COUNT(bad); i++) {
        VV_CHECK_INT(vv_str_to_u64(vv_str_from(bad[i]), &v), VV_ESYNTAX);
    }
    VV_CHECK(v == UINT64_MAX); /* failing changed nothing */
}

VV_TEST(str_hash_nocase_agrees_for_every_case_and_length)
{
    char low[600], up[600];
    for (size_t n = 0; n < sizeof(low); n++) {
        low[n] = (char)('a' + n % 26);
        up[n] = (char)('A' + n % 26);
    }
    for (size_t n = 0; n <= sizeof(low); n += 50) {
        const struct vv_str a = {low, n}, b = {up, n};
        VV_CHECK(vv_str_hash_nocase(a, 1) == vv_str_hash_nocase(b, 1));
        VV_CHECK(n == 0 || vv_str_hash(a, 1) != vv_str_hash(b, 1));
        VV_CHECK(vv_str_hash(a, 1) != vv_str_hash(a, 2));
    }
    /* A difference behind the first piece counts. */
    const uint64_t before = vv_str_hash_nocase((struct vv_str){low, 600}, 1);
    low[10] = '-';
    VV_CHECK(vv_str_hash_nocase((struct vv_str){low, 600}, 1) != before);
}
