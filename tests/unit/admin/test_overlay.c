/* tests/unit/admin/test_overlay.c - run-time changes into the file and out again. */
#include "admin/overlay.h"
#include "os/file.h"
#include "vv_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct vv_server_settings one = {.url = "http://127.0.0.1:3001", .weight = 2};
static struct vv_server_settings two = {.url = "127.0.0.1:3002", .weight = 1, .drain = 1};
static void *servers[] = {&one, &two};
static struct vv_conf_list list = {.count = 2, .item = servers};
static const struct vv_service_settings shop = {.name = "shop", .servers = &list};

static char path[64];

static void fresh_path(void)
{
    (void)snprintf(path, sizeof path, "/tmp/vv-overlay-%d.yaml", (int)getpid());
    (void)unlink(path);
}

/* The file without spaces and line ends: what counts is what it says. */
static void file_says(const char *want)
{
    char *text = NULL, packed[1024];
    size_t bytes = 0, n = 0;
    VV_CHECK_INT(vv_file_read(path, 65536, &text, &bytes), VV_OK);
    VV_CHECK(text[0] == '#'); /* says what it is */
    for (const char *p = strchr(text, '\n'); *p != '\0' && n + 1 < sizeof packed; p++) {
        if (*p != ' ' && *p != '\n') {
            packed[n++] = *p;
        }
    }
    packed[n] = '\0';
    VV_CHECK_STR(packed, want);
    free(text);
}

static enum vv_err change(int what, const char *server, uint32_t weight, int drain)
{
    const struct vv_server_change c = {
        .what = what, .service = "shop", .server = server, .weight = weight, .drain = drain};
    return vv_overlay_server(path, &shop, &c);
}

VV_TEST(a_first_change_writes_the_whole_list)
{
    fresh_path();
    VV_CHECK_INT(change(VV_SERVER_CHANGE, "127.0.0.1:3001", 5, 1), VV_OK);
    file_says("{\"services\":{\"shop\":{\"servers\":["
              "{\"url\":\"http://127.0.0.1:3001\",\"weight\":5,\"drain\":true},"
              "{\"url\":\"127.0.0.1:3002\",\"drain\":true}]}}}");
    (void)unlink(path);
}

VV_TEST(later_changes_build_on_the_overlay)
{
    fresh_path();
    VV_CHECK_INT(change(VV_SERVER_ADD, "127.0.0.1:3003", 0, -1), VV_OK);
    VV_CHECK_INT(change(VV_SERVER_REMOVE, "127.0.0.1:3001", 0, -1), VV_OK);
    VV_CHECK_INT(change(VV_SERVER_CHANGE, "http://127.0.0.1:3002/", 0, 0), VV_OK);
    file_says("{\"services\":{\"shop\":{\"servers\":["
              "{\"url\":\"127.0.0.1:3002\",\"drain\":false},{\"url\":\"127.0.0.1:3003\"}]}}}");
    (void)unlink(path);
}

VV_TEST(a_change_that_makes_no_sense_leaves_no_file)
{
    fresh_path();
    VV_CHECK_INT(change(VV_SERVER_ADD, "127.0.0.1:3001", 0, -1), VV_EEXIST);
    VV_CHECK_INT(change(VV_SERVER_REMOVE, "127.0.0.1:9", 0, -1), VV_ENOENT);
    VV_CHECK(access(path, F_OK) != 0);
}

VV_TEST(what_others_wrote_into_the_overlay_stays)
{
    fresh_path();
    VV_CHECK_INT(vv_file_write(path, VV_STR("# x\n{\"drain\": \"4s\"}\n"), 0600), VV_OK);
    VV_CHECK_INT(change(VV_SERVER_REMOVE, "127.0.0.1:3002", 0, -1), VV_OK);
    file_says("{\"drain\":\"4s\",\"services\":{\"shop\":{\"servers\":["
              "{\"url\":\"http://127.0.0.1:3001\",\"weight\":2}]}}}");
    (void)unlink(path);
}

VV_TEST(a_file_that_is_not_ours_is_not_touched)
{
    static const char *const texts[] = {"drain: 4s\n", "# only a comment\n", "[1, 2]\n",
                                        "{\"services\": {\"shop\": {\"servers\": \"a\"}}}\n"};
    for (size_t i = 0; i < VV_COUNT(texts); i++) {
        char *text = NULL;
        size_t bytes = 0;
        fresh_path();
        VV_CHECK_INT(vv_file_write(path, vv_str_from(texts[i]), 0600), VV_OK);
        VV_CHECK_INT(change(VV_SERVER_ADD, "127.0.0.1:3003", 0, -1), VV_ESYNTAX);
        VV_CHECK_INT(vv_file_read(path, 65536, &text, &bytes), VV_OK);
        VV_CHECK_STR(text, texts[i]);
        free(text);
        (void)unlink(path);
    }
}

VV_TEST(a_server_is_the_same_with_and_without_scheme_and_slash)
{
    VV_CHECK(vv_overlay_same_server("http://a:1", "a:1"));
    VV_CHECK(vv_overlay_same_server("http://a:1/", "a:1"));
    VV_CHECK(!vv_overlay_same_server("a:1", "a:11"));
    VV_CHECK(!vv_overlay_same_server("a:1", "b:1"));
}
