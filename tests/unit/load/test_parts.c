/* tests/unit/load/test_parts.c - the small readers below scenarios: JSON values, paths, CSV, times. */
#include "load/csv.h"
#include "load/jsonpath.h"
#include "load_test.h"

static struct vv_arena arena;

static void check_number(double d, const char *want)
{
    char buf[40];
    VV_CHECK_STR(vv_load_number_format(d, buf, sizeof buf), want);
}

VV_TEST(numbers_print_as_javascript_prints_them)
{
    check_number(330000000, "330000000");
    check_number(0.1, "0.1");
    check_number(-1.5, "-1.5");
    check_number(1e20, "100000000000000000000");
    check_number(1e21, "1e+21"); /* ECMA-262: from 1e21 on with an exponent */
    check_number(1e-6, "0.000001");
    check_number(1.5e-7, "1.5e-7");
    check_number(9007199254740993.0, "9007199254740992");
    check_number(-0.0, "0");
}

VV_TEST(json_is_read_and_written_compactly_and_bad_json_is_refused)
{
    static const char *const bad[] = {"",        "{",   "[1,]",  "{\"a\" 1}", "01",
                                      "\"\\x\"", "tru", "1 2",   "{\"a\":}",  "\"\n\"",
                                      "[1.",     "-",   "{a: 1}"};
    struct vv_sb out = VV_SB_INIT;
    vv_arena_init(&arena, NULL, 0, 4096, 0);
    const struct vv_load_value *v =
        vv_load_json_read(&arena, VV_STR(" { \"a\" : [ 1 , -2.50e1, true,null ], "
                                         "\"\\u00e9\\ud83d\\ude00\" : \"\\n\\u0001\" } "));
    assert_non_null(v);
    vv_load_json_write(v, &out);
    /* numbers stay as they were written; U+1F600 is the pair d83d de00 */
    VV_CHECK_STR(out.p,
                 "{\"a\":[1,-2.50e1,true,null],\"\xc3\xa9\xf0\x9f\x98\x80\":\"\\n\\u0001\"}");
    for (size_t i = 0; i < VV_COUNT(bad); i++) {
        VV_CHECK(vv_load_json_read(&arena, vv_str_from(bad[i])) == NULL);
    }
    vv_sb_fini(&out);
    vv_arena_fini(&arena);
}

VV_TEST(paths_find_members_items_and_everything_below)
{
    static const struct {
        const char *path, *want;
    } cases[] = {{"$", "{\"a\":{\"b\":[10,20,30]},\"x\":{\"c d\":{\"k\":1}}}"},
                 {"$.a.b[1]", "20"},
                 {"a.b[-1]", "30"},
                 {"$['x']['c d'].k", "1"},
                 {"$..k", "1"},
                 {"$.x.*.k", "1"},
                 {"$.a.b[3]", NULL},
                 {"$.a.c", NULL},
                 {"$.a.b.k", NULL}};
    struct vv_rng rng;
    vv_rng_init(&rng, 1);
    vv_arena_init(&arena, NULL, 0, 4096, 0);
    const struct vv_load_value *v =
        vv_load_json_read(&arena, VV_STR("{\"a\":{\"b\":[10,20,30]},\"x\":{\"c d\":{\"k\":1}}}"));
    for (size_t i = 0; i < VV_COUNT(cases); i++) {
        struct vv_load_path path;
        size_t at = 0;
        struct vv_sb out = VV_SB_INIT;
        VV_CHECK_INT(vv_load_path_compile(&arena, vv_str_from(cases[i].path), &path, &at), VV_OK);
        const struct vv_load_value *found = vv_load_path_find(&path, v, &rng);
        VV_CHECK((found != NULL) == (cases[i].want != NULL));
        if (found != NULL) {
            vv_load_json_write(found, &out);
            VV_CHECK_STR(out.p, cases[i].want);
        }
        vv_sb_fini(&out);
    }
    vv_arena_fini(&arena);
}

VV_TEST(one_of_several_matches_is_chosen_evenly)
{
    struct vv_rng rng;
    struct vv_load_path path;
    size_t at = 0;
    int seen[3] = {0};
    vv_rng_init(&rng, 9);
    vv_arena_init(&arena, NULL, 0, 4096, 0);
    const struct vv_load_value *v = vv_load_json_read(&arena, VV_STR("[0,1,2]"));
    VV_CHECK_INT(vv_load_path_compile(&arena, VV_STR("$[*]"), &path, &at), VV_OK);
    for (int i = 0; i < 3000; i++) {
        seen[vv_load_path_find(&path, v, &rng)->text.p[0] - '0']++;
    }
    for (int i = 0; i < 3; i++) { /* sigma = sqrt(3000 * 1/3 * 2/3) = 26: 130 is 5 sigma */
        VV_CHECK(seen[i] > 870 && seen[i] < 1130);
    }
    vv_arena_fini(&arena);
}

VV_TEST(a_path_that_is_not_understood_says_where)
{
    struct vv_load_path path;
    size_t at = 0;
    vv_arena_init(&arena, NULL, 0, 4096, 0);
    VV_CHECK_INT(vv_load_path_compile(&arena, VV_STR("$.a[?(@.b)]"), &path, &at), VV_ESYNTAX);
    VV_CHECK_INT(at, 3);
    VV_CHECK_INT(vv_load_path_compile(&arena, VV_STR("$.a[1:2]"), &path, &at), VV_ESYNTAX);
    VV_CHECK_INT(vv_load_path_compile(&arena, VV_STR(""), &path, &at), VV_ESYNTAX);
    vv_arena_fini(&arena);
}

VV_TEST(csv_has_quotes_line_ends_in_them_and_empty_lines)
{
    static const char text[] = "\xef\xbb\xbfid;name\r\n1;\"a;\"\"b\"\"\nc\"\r\n\r\n;\"\"";
    struct vv_load_csv csv;
    const struct vv_str *f = NULL;
    size_t n = 0, line = 0;
    vv_arena_init(&arena, NULL, 0, 4096, 0);
    vv_load_csv_init(&csv, &arena, vv_str_from(text), ';');
    VV_CHECK_INT(vv_load_csv_next(&csv, &f, &n, &line), VV_OK);
    VV_CHECK_INT(n, 2);
    VV_CHECK_SLICE(f[0], "id");
    VV_CHECK_SLICE(f[1], "name");
    VV_CHECK_INT(vv_load_csv_next(&csv, &f, &n, &line), VV_OK);
    VV_CHECK_SLICE(f[0], "1");
    VV_CHECK_SLICE(f[1], "a;\"b\"\nc");
    VV_CHECK_INT(csv.line, 2);
    VV_CHECK_INT(vv_load_csv_next(&csv, &f, &n, &line), VV_OK);
    VV_CHECK_INT(csv.line, 5); /* behind a row of two lines and an empty one */
    VV_CHECK_INT(f[0].n + f[1].n, 0);
    VV_CHECK_INT(vv_load_csv_next(&csv, &f, &n, &line), VV_ENOENT);
    vv_load_csv_init(&csv, &arena, VV_STR("a\n\"b"), ',');
    VV_CHECK_INT(vv_load_csv_next(&csv, &f, &n, &line), VV_OK);
    VV_CHECK_INT(vv_load_csv_next(&csv, &f, &n, &line), VV_ESYNTAX);
    VV_CHECK_INT(line, 2);
    vv_arena_fini(&arena);
}
