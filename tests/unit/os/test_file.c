/* tests/unit/os/test_file.c - whole files in, whole files out. */
#include "os/file.h"
#include "vv_test.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[32], path[64];

static void start(void)
{
    strcpy(dir, "/tmp/vv-file-XXXXXX");
    VV_CHECK(mkdtemp(dir) != NULL);
    snprintf(path, sizeof(path), "%s/f", dir);
}

static void finish(void)
{
    unlink(path);
    VV_CHECK_INT(rmdir(dir), 0); /* also proves that no temporary file stayed */
}

VV_TEST(file_comes_back_as_it_was_written)
{
    char *text = NULL;
    size_t n = 0;
    struct stat st;
    start();
    VV_CHECK_INT(vv_file_write(path, VV_STR("one"), 0600), VV_OK);
    VV_CHECK_INT(vv_file_write(path, VV_STR("two\0three"), 0640), VV_OK);
    VV_CHECK_INT(vv_file_read(path, 100, &text, &n), VV_OK);
    VV_CHECK_INT(n, 9);
    VV_CHECK(memcmp(text, "two\0three", 10) == 0); /* with the NUL behind */
    free(text);
    VV_CHECK_INT(stat(path, &st), 0);
    VV_CHECK_INT(st.st_mode & 07777, 0640);
    finish();
}

VV_TEST(file_has_to_fit_the_limit)
{
    char *text = NULL, *big = malloc(50001);
    size_t n = 7;
    start();
    memset(big, 'x', 50001);
    VV_CHECK_INT(vv_file_write(path, (struct vv_str){big, 50001}, 0600), VV_OK);
    VV_CHECK_INT(vv_file_read(path, 50000, &text, &n), VV_ELIMIT);
    VV_CHECK(text == NULL && n == 7);
    VV_CHECK_INT(vv_file_read(path, 50001, &text, &n), VV_OK);
    VV_CHECK_INT(n, 50001);
    free(text);
    text = NULL;
    VV_CHECK_INT(vv_file_write(path, (struct vv_str){NULL, 0}, 0600), VV_OK);
    VV_CHECK_INT(vv_file_read(path, 0, &text, &n), VV_OK);
    VV_CHECK_INT(n, 0);
    free(text);
    free(big);
    finish();
}

VV_TEST(file_errors_name_the_reason_and_leave_nothing_behind)
{
    char *text = NULL, inside[128];
    size_t n = 0;
    start();
    VV_CHECK_INT(vv_file_read(path, 10, &text, &n), VV_ENOENT);
    VV_CHECK(vv_file_read(dir, 10, &text, &n) != VV_OK); /* a directory */
    snprintf(inside, sizeof(inside), "%s/no/such", dir);
    VV_CHECK_INT(vv_file_write(inside, VV_STR("x"), 0600), VV_ENOENT);
    VV_CHECK_INT(mkdir(path, 0700), 0);
    VV_CHECK(vv_file_write(path, VV_STR("x"), 0600) != VV_OK); /* cannot replace a directory */
    VV_CHECK_INT(rmdir(path), 0);
    finish();
}

VV_TEST(file_without_a_size_is_read_to_its_end)
{
    char *text = NULL;
    size_t n = 0;
    VV_CHECK_INT(vv_file_read("/proc/self/status", 1 << 20, &text, &n), VV_OK);
    VV_CHECK(n > 0 && strlen(text) == n);
    free(text);
}
