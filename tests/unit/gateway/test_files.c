/* tests/unit/gateway/test_files.c - the name a path means, and no way out of the root. */
#include "gateway/actions/files_find.h"
#include "gateway/actions/files_open.h"
#include "gateway/actions/files_parts.h"
#include "vv_test.h"
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Every test gets this tree:  base/outside.txt
 * base/root/: index.html page.txt app.js (new) app.js.gz (new) app.js.br (old) .secret "a b.txt" a\b
 *             sub/page.txt empty/ .well-known/acme  in -> page.txt  out -> ../outside.txt
 *             up -> ..  abs -> /  swap -> sub  pipe (a FIFO) */
static char base[64];
static int root = -1;
static struct vv_arena arena;

static void put(const char *name, const char *text, time_t mtime_s)
{
    const int fd = openat(root, name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    const struct timespec times[2] = {{mtime_s, 0}, {mtime_s, 0}};
    assert_int_equal(futimens(fd, times), 0);
    close(fd);
}

static void set_up(void)
{
    snprintf(base, sizeof base, "/tmp/vv_files_XXXXXX");
    assert_non_null(mkdtemp(base));
    char path[128];
    snprintf(path, sizeof path, "%s/root", base);
    assert_int_equal(mkdir(path, 0755), 0);
    root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    assert_true(root >= 0);
    put("../outside.txt", "outside", 1000);
    put("index.html", "home", 1000);
    put("page.txt", "page", 1000);
    put("a b.txt", "space", 1000);
    put("a\\b", "backslash", 1000);
    put(".secret", "secret", 1000);
    put("app.js", "plain", 2000);
    put("app.js.gz", "gzip", 2000);
    put("app.js.br", "old br", 1999);
    assert_int_equal(mkdirat(root, "sub", 0755), 0);
    put("sub/page.txt", "subpage", 1000);
    assert_int_equal(mkdirat(root, "empty", 0755), 0);
    assert_int_equal(mkdirat(root, ".well-known", 0755), 0);
    put(".well-known/acme", "acme", 1000);
    put(".well-known/.x", "x", 1000);
    assert_int_equal(symlinkat("page.txt", root, "in"), 0);
    assert_int_equal(symlinkat("../outside.txt", root, "out"), 0);
    assert_int_equal(symlinkat("..", root, "up"), 0);
    assert_int_equal(symlinkat("/", root, "abs"), 0);
    assert_int_equal(symlinkat("sub", root, "swap"), 0);
    assert_int_equal(mkfifoat(root, "pipe", 0644), 0);
    vv_arena_init(&arena, NULL, 0, 4096, 0);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st, (void)kind, (void)ftw;
    return remove(path);
}

static void tear_down(void)
{
    close(root);
    vv_arena_fini(&arena);
    assert_int_equal(nftw(base, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

typedef enum vv_err (*opener)(int, const char *, int *, struct stat *);

/* The text of what was opened; NULL: it was not, *ret_err says why. */
static const char *text_of(opener open_it, const char *path, enum vv_err *ret_err)
{
    static char text[64];
    int fd = -1;
    struct stat st;
    *ret_err = open_it(root, path, &fd, &st);
    if (*ret_err != VV_OK) {
        assert_int_equal(fd, -1); /* failing sets nothing */
        return NULL;
    }
    const ssize_t n = S_ISREG(st.st_mode) ? read(fd, text, sizeof text - 1) : 0;
    close(fd);
    assert_true(n >= 0);
    text[n] = '\0';
    return text;
}

static void check_never_leaves(opener open_it)
{
    static const char *const ways[] = {"../outside.txt",
                                       "sub/../../outside.txt",
                                       "out",
                                       "up/outside.txt",
                                       "up/root/page.txt",
                                       "abs/etc/passwd",
                                       "/etc/passwd",
                                       "..",
                                       "/",
                                       "pipe",
                                       "none",
                                       "page.txt/x",
                                       "page.txt/"};
    enum vv_err err;
    for (size_t i = 0; i < VV_COUNT(ways); i++) {
        VV_CHECK(text_of(open_it, ways[i], &err) == NULL);
        VV_CHECK_INT(err, VV_ENOENT);
    }
    VV_CHECK_STR(text_of(open_it, "page.txt", &err), "page");
    VV_CHECK_STR(text_of(open_it, "sub/page.txt", &err), "subpage");
    VV_CHECK_STR(text_of(open_it, "", &err), ""); /* the root itself */
    VV_CHECK_STR(text_of(open_it, "sub/", &err), "");
    char name[300];
    memset(name, 'n', sizeof name - 1); /* longer than NAME_MAX, 255 */
    name[sizeof name - 1] = '\0';
    VV_CHECK(text_of(open_it, name, &err) == NULL);
    VV_CHECK_INT(err, VV_ENOENT);
}

VV_TEST(open_never_leaves_the_root_and_follows_links_inside)
{
    enum vv_err err;
    set_up();
    check_never_leaves(vv_files_open);
    VV_CHECK_STR(text_of(vv_files_open, "in", &err), "page");
    VV_CHECK_STR(text_of(vv_files_open, "swap/page.txt", &err), "subpage");
    tear_down();
}

VV_TEST(open_by_walking_never_leaves_the_root_and_follows_no_link)
{
    enum vv_err err;
    set_up();
    check_never_leaves(vv_files_open_walking);
    VV_CHECK(text_of(vv_files_open_walking, "in", &err) == NULL);
    VV_CHECK(text_of(vv_files_open_walking, "swap/page.txt", &err) == NULL);
    VV_CHECK_STR(text_of(vv_files_open_walking, "sub//page.txt", &err), "subpage");
    tear_down();
}

static struct vv_files_settings conf;

/* The name that a path means, or "nothing". */
static const char *name_of(const char *path)
{
    const struct vv_files_query q = {&conf, vv_str_from(path), &arena};
    char *name = NULL;
    return vv_files_name(&q, &name) == VV_OK ? name : "nothing";
}

static enum vv_err refusal_of(const char *path)
{
    const struct vv_files_query q = {&conf, vv_str_from(path), &arena};
    char *name = NULL;
    return vv_files_name(&q, &name);
}

VV_TEST(names_are_taken_literally)
{
    set_up();
    conf = (struct vv_files_settings){.index = "index.html"};
    VV_CHECK_STR(name_of("page.txt"), "page.txt");
    VV_CHECK_STR(name_of("a%20b.txt"), "a b.txt");
    VV_CHECK_STR(name_of("a%5Cb"), "a\\b");
    VV_CHECK_STR(name_of(""), "index.html");
    VV_CHECK_STR(name_of("sub/"), "sub/index.html");
    VV_CHECK_STR(name_of("sub"), "sub");
    VV_CHECK_INT(refusal_of("bad%zz"), VV_ESYNTAX);
    VV_CHECK_INT(refusal_of("page.txt%00.html"), VV_ESYNTAX);
    static const char *const refused[] = {"sub%2Fpage.txt",    "sub%2fpage.txt", "sub//page.txt",
                                          "/page.txt",         "sub/./page.txt", "sub/../page.txt",
                                          "%2e%2e/outside.txt"};
    for (size_t i = 0; i < VV_COUNT(refused); i++) {
        VV_CHECK_INT(refusal_of(refused[i]), VV_ENOENT);
    }
    tear_down();
}

VV_TEST(hidden_names_stay_hidden)
{
    set_up();
    conf = (struct vv_files_settings){.index = "index.html"};
    VV_CHECK_INT(refusal_of(".secret"), VV_ENOENT);
    VV_CHECK_INT(refusal_of("%2Esecret"), VV_ENOENT);
    VV_CHECK_STR(name_of(".well-known/acme"), ".well-known/acme");
    VV_CHECK_INT(refusal_of(".well-known/.x"), VV_ENOENT);
    VV_CHECK_INT(refusal_of("sub/.well-known/acme"), VV_ENOENT); /* only at the top, RFC 8615 */
    conf.hidden = 1;
    VV_CHECK_STR(name_of(".secret"), ".secret");
    tear_down();
}

VV_TEST(path_below_the_root_is_what_the_prefix_leaves)
{
    const struct vv_str path = VV_STR("/assets/a.css");
    const struct vv_str rest = {path.p + 8, 5};
    const struct vv_str none = {path.p + path.n, 0};
    VV_CHECK_SLICE(vv_files_path("/assets/", path, rest), "a.css");
    VV_CHECK_SLICE(vv_files_path("/{name...}", path, (struct vv_str){path.p + 1, 12}),
                   "assets/a.css");
    VV_CHECK_SLICE(vv_files_path("*.css", path, none), "assets/a.css");
    VV_CHECK_SLICE(vv_files_path("/assets/a.css", path, none), "assets/a.css");
    const struct vv_str folder = VV_STR("/assets/");
    const struct vv_str end = {folder.p + folder.n, 0};
    VV_CHECK_SLICE(vv_files_path("/assets/", folder, end), "");
    VV_CHECK_SLICE(vv_files_path("/{a}/", folder, end), "");
    VV_CHECK_SLICE(vv_files_path("*/", folder, end), "assets/");
    VV_CHECK_SLICE(vv_files_path("/{assets,css}/", folder, end), "assets/");
}

VV_TEST(parts_are_the_same_however_small_the_buffer)
{
    set_up();
    put("digits.txt", "0123456789", 1000);
    const int fd = openat(root, "digits.txt", O_RDONLY);
    const struct vv_ranges ranges = {2, {{0, 2}, {7, 3}}};
    const char *want = "--vivace-00000000000000ab\r\nContent-Type: text/plain\r\n"
                       "Content-Range: bytes 0-1/10\r\n\r\n01"
                       "\r\n--vivace-00000000000000ab\r\nContent-Type: text/plain\r\n"
                       "Content-Range: bytes 7-9/10\r\n\r\n789"
                       "\r\n--vivace-00000000000000ab--\r\n";
    for (size_t room = 1; room <= 300; room += 7) {
        struct vv_files_parts p;
        char body[512];
        size_t n = 0;
        size_t got = 0;
        VV_CHECK_INT(vv_files_parts_init(&p, &arena, fd, &ranges, VV_STR("text/plain"), 10, 0xab),
                     VV_OK);
        VV_CHECK_INT(p.bytes, strlen(want));
        do {
            VV_CHECK_INT(vv_files_parts_read(&p, body + n, room, &got), VV_OK);
            n += got;
        } while (got > 0 && n <= sizeof body - 300);
        VV_CHECK_SLICE(((struct vv_str){body, n}), want);
    }
    close(fd);
    tear_down();
}

VV_TEST(parts_of_a_file_that_became_shorter_fail)
{
    set_up();
    put("short.txt", "0123", 1000);
    const int fd = openat(root, "short.txt", O_RDONLY);
    const struct vv_ranges ranges = {2, {{0, 2}, {7, 3}}};
    struct vv_files_parts p;
    char body[512];
    size_t got = 0;
    VV_CHECK_INT(vv_files_parts_init(&p, &arena, fd, &ranges, VV_STR("text/plain"), 10, 1), VV_OK);
    VV_CHECK_INT(vv_files_parts_read(&p, body, sizeof body, &got), VV_EIO);
    close(fd);
    tear_down();
}
