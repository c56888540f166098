/* tests/unit/app/test_text.c - what people read: tables, differences, counts; and the socket's name. */
#include "app/diff.h"
#include "app/socket_path.h"
#include "app/table.h"
#include "app/view.h"
#include "vv_test.h"

#include <stdlib.h>

static void diff_is(const char *a, const char *b, const char *want)
{
    struct vv_sb out = VV_SB_INIT;
    diff_print(vv_str_from(a), vv_str_from(b), false, &out);
    VV_CHECK_STR(out.n > 0 ? out.p : "", want);
    vv_sb_fini(&out);
}

VV_TEST(equal_texts_have_no_difference)
{
    diff_is("a\nb\n", "a\nb\n", "");
    diff_is("", "", "");
}

VV_TEST(a_difference_shows_two_lines_around_it)
{
    diff_is("1\n2\n3\n4\n5\n6\n7\n", "1\n2\n3\nx\n5\n6\n7\n", "  2\n  3\n- 4\n+ x\n  5\n  6\n");
}

VV_TEST(lines_that_stay_between_changes_are_kept)
{
    diff_is("a\nk\nb\n", "x\nk\ny\n", "- a\n+ x\n  k\n- b\n+ y\n");
    diff_is("", "n\n", "+ n\n");
    diff_is("o\n", "", "- o\n");
}

VV_TEST(a_table_aligns_numbers_right_and_cuts_columns_that_do_not_fit)
{
    static const char *const titles[] = {"NAME", ">N", "LAST"};
    struct table t;
    struct vv_sb out = VV_SB_INIT;
    VV_CHECK(table_init(&t, titles, 3));
    VV_CHECK(table_row(&t, NULL));
    table_cell(&t, 0, "caf\xc3\xa9");
    table_cell(&t, 1, "%d", 5);
    table_cell(&t, 2, "x\033y"); /* a name from a file must not steer the terminal */
    VV_CHECK(table_row(&t, "31"));
    table_cell(&t, 1, "%d", 100);
    table_print(&t, 0, 10, 80, false, "\n", &out);
    VV_CHECK_STR(out.p, "NAME    N  LAST\ncaf\xc3\xa9    5  x?y\n      100  \n");
    vv_sb_reset(&out);
    table_print(&t, 1, 1, 12, true, "\n", &out); /* 4 + 2 + 3 fit, 2 + 4 more do not */
    VV_CHECK_STR(out.p, "\033[1mNAME    N\033[0m\n\033[31m      100\033[0m\n");
    vv_sb_fini(&out);
    table_fini(&t);
}

VV_TEST(counts_are_short)
{
    char buf[16];
    VV_CHECK_STR(view_count(0, buf, sizeof buf), "0");
    VV_CHECK_STR(view_count(1.25, buf, sizeof buf), "1.2");
    VV_CHECK_STR(view_count(999, buf, sizeof buf), "999");
    VV_CHECK_STR(view_count(1234, buf, sizeof buf), "1.23k");
    VV_CHECK_STR(view_count(56789, buf, sizeof buf), "56.8k");
    VV_CHECK_STR(view_count(3.5e6, buf, sizeof buf), "3.50M");
}

VV_TEST(the_socket_is_named_after_the_file_and_two_files_never_share_one)
{
    char a[VV_SOCKET_PATH], b[VV_SOCKET_PATH];
    vv_socket_name("/etc/vivace/shop.yaml", a, sizeof a);
    vv_socket_name("/srv/shop.yaml", b, sizeof b);
    VV_CHECK(strncmp(a, "shop-", 5) == 0 && strncmp(b, "shop-", 5) == 0);
    VV_CHECK_INT(strlen(a), strlen("shop-") + 12 + strlen(".sock")); /* 48 bits in hex */
    VV_CHECK(strcmp(a, b) != 0);
    vv_socket_name("/x/a very long name with sp\xc3\xa4"
                   "ces in it.yaml",
                   a, sizeof a);
    VV_CHECK(strncmp(a, "a_very_long_name_with_sp-", 25) == 0);
}

VV_TEST(a_runtime_folder_that_is_too_long_is_not_used)
{
    char buf[VV_SOCKET_PATH], path[200];
    memset(path, 'x', sizeof path - 1);
    path[0] = '/';
    path[sizeof path - 1] = '\0';
    (void)setenv("XDG_RUNTIME_DIR", path, 1);
    VV_CHECK(!vv_socket_folder(0, buf, sizeof buf));
    (void)setenv("XDG_RUNTIME_DIR", "/run/user/1", 1);
    VV_CHECK(vv_socket_folder(0, buf, sizeof buf));
    VV_CHECK_STR(buf, "/run/user/1/vivace");
    (void)unsetenv("XDG_RUNTIME_DIR");
    VV_CHECK(!vv_socket_folder(0, buf, sizeof buf));
}
