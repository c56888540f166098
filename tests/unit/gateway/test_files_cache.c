/* tests/unit/gateway/test_files_cache.c - what a path stands for, how soon a change shows, what
 * is kept and what goes. Time is passed in; dates of files are set, never waited for. */
#include "gateway/actions/files_ahead.h"
#include "gateway/actions/files_cache.h"
#include "vv_test.h"
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

static char base[64];
static int root = -1;
static struct vv_arena arena;
static struct vv_files_settings conf;
static struct vv_files_cache *cache;
static uint64_t now_ns;
static uint64_t wall_ns;
static uint64_t generation;

static void put(const char *name, const char *text, time_t mtime_s)
{
    const int fd = openat(root, name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    const struct timespec times[2] = {{mtime_s, 0}, {mtime_s, 0}};
    assert_int_equal(futimens(fd, times), 0);
    close(fd);
}

static void set_up(size_t entries, size_t fds, uint64_t bytes)
{
    snprintf(base, sizeof base, "/tmp/vv_fcache_XXXXXX");
    assert_non_null(mkdtemp(base));
    root = open(base, O_PATH | O_DIRECTORY | O_CLOEXEC);
    assert_true(root >= 0);
    put("page.txt", "page", 1000);
    put("app.js", "plain", 2000);
    put("app.js.gz", "gzip", 2000);
    put("app.js.br", "old br", 1999);
    put("home.html", "home", 1000);
    assert_int_equal(mkdirat(root, "sub", 0755), 0);
    vv_arena_init(&arena, NULL, 0, 4096, 0);
    conf = (struct vv_files_settings){.index = "index.html", .precompressed = 1};
    const struct vv_files_limits limits = {entries, fds, bytes};
    assert_int_equal(vv_files_cache_new(NULL, &limits, &cache), VV_OK);
    now_ns = VV_MINUTE;
    struct timespec wall;
    clock_gettime(CLOCK_REALTIME, &wall);
    /* As if the files had been written an hour ago: nothing is too fresh to be kept. */
    wall_ns = (uint64_t)wall.tv_sec * VV_SEC + VV_HOUR;
    generation = 1;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st, (void)kind, (void)ftw;
    return remove(path);
}

static void tear_down(void)
{
    vv_files_cache_free(cache);
    close(root);
    vv_arena_fini(&arena);
    assert_int_equal(nftw(base, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

static enum vv_err get(const char *path, struct vv_files_entry **ret)
{
    const struct vv_files_ask ask = {&conf, &arena,     vv_str_from(path), root,
                                     0,     generation, now_ns++,          wall_ns};
    return vv_files_get(cache, &ask, ret);
}

static enum vv_err err_of(const char *path)
{
    struct vv_files_entry *e = NULL;
    const enum vv_err err = get(path, &e);
    vv_files_put(e);
    return err;
}

static const char *text_of(const struct vv_files_copy *copy)
{
    static char text[64];
    const ssize_t n = pread(copy->fd, text, sizeof text - 1, 0);
    assert_true(n >= 0);
    text[n] = '\0';
    return text;
}

static const char *found_text(const char *path)
{
    struct vv_files_entry *e = NULL;
    if (get(path, &e) != VV_OK || e->folder) {
        vv_files_put(e);
        return "nothing";
    }
    const char *text = text_of(&e->file[VV_ENCODING_IDENTITY]);
    vv_files_put(e);
    return text;
}

static uint64_t opens(void)
{
    return vv_files_counts(cache).opens;
}

VV_TEST(a_file_is_opened_once_while_its_name_is_trusted)
{
    set_up(16, 16, 1024);
    for (int i = 0; i < 5; i++) {
        VV_CHECK_STR(found_text("page.txt"), "page");
    }
    VV_CHECK_INT(opens(), 1);
    now_ns += VV_FILES_TRUST_NS;
    VV_CHECK_STR(found_text("page.txt"), "page");
    VV_CHECK_INT(opens(), 2); /* the name was looked at anew; the same file was kept */
    VV_CHECK_INT(vv_files_counts(cache).fds, 1);
    tear_down();
}

VV_TEST(a_change_of_a_file_shows_at_once)
{
    set_up(16, 16, 1024);
    VV_CHECK_STR(found_text("page.txt"), "page");
    put("page.txt", "longer page", 1000); /* written to */
    VV_CHECK_STR(found_text("page.txt"), "longer page");
    put("page.txt", "other page.", 1001); /* of the same length */
    VV_CHECK_STR(found_text("page.txt"), "other page.");
    put("new.txt", "replaced", 1001);
    assert_int_equal(renameat(root, "new.txt", root, "page.txt"), 0);
    VV_CHECK_STR(found_text("page.txt"), "replaced");
    assert_int_equal(unlinkat(root, "page.txt", 0), 0);
    VV_CHECK_STR(found_text("page.txt"), "nothing");
    tear_down();
}

VV_TEST(a_new_name_shows_when_the_trust_ends)
{
    set_up(16, 16, 1024);
    VV_CHECK_INT(err_of("late.txt"), VV_ENOENT);
    put("late.txt", "late", 1000);
    VV_CHECK_INT(err_of("late.txt"), VV_ENOENT);
    VV_CHECK_INT(opens(), 1); /* that nothing is there is remembered too */
    now_ns += VV_FILES_TRUST_NS;
    VV_CHECK_STR(found_text("late.txt"), "late");
    tear_down();
}

VV_TEST(a_folder_lacks_its_slash_and_is_no_page)
{
    set_up(16, 16, 1024);
    struct vv_files_entry *e = NULL;
    VV_CHECK_INT(get("sub", &e), VV_OK);
    VV_CHECK(e->folder);
    vv_files_put(e);
    VV_CHECK_INT(err_of("sub/"), VV_ENOENT);
    conf.index = "sub"; /* the root's index is a folder */
    VV_CHECK_INT(err_of(""), VV_ENOENT);
    VV_CHECK_INT(vv_files_counts(cache).fds, 0);
    tear_down();
}

VV_TEST(the_fallback_is_one_entry_for_all_paths)
{
    set_up(16, 16, 1024);
    conf.fallback = "/home.html";
    VV_CHECK_STR(found_text("deep/app"), "home");
    VV_CHECK_STR(found_text("other"), "home");
    VV_CHECK_INT(vv_files_counts(cache).fds, 1);
    VV_CHECK_STR(found_text("page.txt"), "page");
    VV_CHECK_INT(err_of(".secret"), VV_ENOENT); /* no fallback for what is refused */
    conf.fallback = "none.html";
    generation++;
    VV_CHECK_INT(err_of("deep/app"), VV_ENOENT);
    conf.fallback = "sub";
    generation++;
    VV_CHECK_INT(err_of("deep/app"), VV_ENOENT); /* a folder is no page */
    tear_down();
}

VV_TEST(siblings_are_found_when_they_are_not_older)
{
    set_up(16, 16, 1024);
    struct vv_files_entry *e = NULL;
    VV_CHECK_INT(get("app.js", &e), VV_OK);
    VV_CHECK(vv_files_sibling(e, VV_ENCODING_BR) == NULL); /* 1999 < 2000 */
    VV_CHECK(vv_files_sibling(e, VV_ENCODING_ZSTD) == NULL);
    const struct vv_files_copy *gz = vv_files_sibling(e, VV_ENCODING_GZIP);
    VV_CHECK_STR(text_of(gz), "gzip");
    VV_CHECK_SLICE(e->mime->type, "text/javascript; charset=utf-8");
    const struct vv_files_copy *plain = &e->file[VV_ENCODING_IDENTITY];
    VV_CHECK(gz->etag_bytes != plain->etag_bytes ||
             memcmp(gz->etag, plain->etag, gz->etag_bytes) != 0);
    const uint64_t before = opens();
    (void)vv_files_sibling(e, VV_ENCODING_BR);
    (void)vv_files_sibling(e, VV_ENCODING_GZIP);
    VV_CHECK_INT(opens(), before); /* neither is looked for again */
    vv_files_put(e);
    put("app.js.br", "new br", 2000);
    put("app.js.gz", "new gzip", 2000);
    VV_CHECK_INT(get("app.js", &e), VV_OK); /* the gzip copy changed: all is looked at anew */
    VV_CHECK_STR(text_of(vv_files_sibling(e, VV_ENCODING_GZIP)), "new gzip");
    VV_CHECK_STR(text_of(vv_files_sibling(e, VV_ENCODING_BR)), "new br");
    vv_files_put(e);
    put("app.js", "newer", 3000);
    VV_CHECK_INT(get("app.js", &e), VV_OK); /* now both copies are older */
    VV_CHECK(vv_files_sibling(e, VV_ENCODING_GZIP) == NULL);
    vv_files_put(e);
    tear_down();
}

VV_TEST(who_sends_keeps_what_was_replaced)
{
    set_up(16, 16, 1024);
    struct vv_files_entry *e = NULL;
    VV_CHECK_INT(get("page.txt", &e), VV_OK);
    put("new.txt", "replaced", 1001);
    assert_int_equal(renameat(root, "new.txt", root, "page.txt"), 0);
    VV_CHECK_STR(found_text("page.txt"), "replaced");
    VV_CHECK_STR(text_of(&e->file[VV_ENCODING_IDENTITY]), "page");
    VV_CHECK_INT(vv_files_counts(cache).fds, 2);
    vv_files_put(e);
    VV_CHECK_INT(vv_files_counts(cache).fds, 1);
    tear_down();
}

VV_TEST(entries_and_descriptors_are_bounded_and_what_is_hot_stays)
{
    set_up(8, 6, 1024);
    char name[16];
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "f%d.txt", i);
        put(name, name, 1000);
    }
    VV_CHECK_STR(found_text("page.txt"), "page");
    VV_CHECK_STR(found_text("page.txt"), "page");
    const uint64_t before = opens();
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "f%d.txt", i);
        VV_CHECK_STR(found_text(name), name);
        VV_CHECK_STR(found_text("page.txt"), "page");
        VV_CHECK(vv_files_counts(cache).entries <= 8);
        VV_CHECK(vv_files_counts(cache).fds <= 6);
    }
    VV_CHECK_INT(opens(), before + 100); /* page.txt was never opened again */
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "none%d", i);
        VV_CHECK_INT(err_of(name), VV_ENOENT);
        VV_CHECK(vv_files_counts(cache).entries <= 8);
    }
    tear_down();
}

VV_TEST(small_contents_stay_in_memory_when_asked_for_again)
{
    set_up(16, 16, 6);
    struct vv_files_entry *e = NULL;
    VV_CHECK_INT(get("page.txt", &e), VV_OK);
    VV_CHECK(vv_files_content(e, &e->file[VV_ENCODING_IDENTITY], wall_ns).p == NULL);
    vv_files_put(e);
    VV_CHECK_INT(get("page.txt", &e), VV_OK);
    VV_CHECK_SLICE(vv_files_content(e, &e->file[VV_ENCODING_IDENTITY], wall_ns), "page");
    VV_CHECK_INT(vv_files_counts(cache).bytes, 4);
    vv_files_put(e);
    /* 4 bytes are taken and 5 would make 9 of 6: the page goes. */
    VV_CHECK_INT(get("app.js", &e), VV_OK);
    vv_files_put(e);
    VV_CHECK_INT(get("app.js", &e), VV_OK);
    VV_CHECK_SLICE(vv_files_content(e, &e->file[VV_ENCODING_IDENTITY], wall_ns), "plain");
    VV_CHECK_INT(vv_files_counts(cache).bytes, 5);
    put("app.js", "other", 2000);
    vv_files_put(e);
    VV_CHECK_STR(found_text("app.js"), "other");
    VV_CHECK_INT(vv_files_counts(cache).bytes, 0); /* the old content went with its entry */
    tear_down();
}

VV_TEST(contents_that_were_just_written_are_not_kept)
{
    set_up(16, 16, 1024);
    struct vv_files_entry *e = NULL;
    VV_CHECK_STR(found_text("page.txt"), "page");
    VV_CHECK_INT(get("page.txt", &e), VV_OK);
    const uint64_t written_ns = wall_ns - VV_HOUR; /* set_up() wrote it within this second */
    VV_CHECK(vv_files_content(e, &e->file[VV_ENCODING_IDENTITY], written_ns).p == NULL);
    VV_CHECK(vv_files_fresh(e, written_ns));
    VV_CHECK(!vv_files_fresh(e, wall_ns));
    vv_files_put(e);
    tear_down();
}

VV_TEST(a_new_runtime_begins_with_nothing)
{
    set_up(16, 16, 1024);
    VV_CHECK_STR(found_text("page.txt"), "page");
    generation = 2;
    VV_CHECK_STR(found_text("app.js"), "plain");
    VV_CHECK_INT(vv_files_counts(cache).entries, 1);
    generation = 1; /* an exchange that began before: served, but nothing of it is kept */
    VV_CHECK_STR(found_text("page.txt"), "page");
    VV_CHECK_INT(vv_files_counts(cache).entries, 1);
    VV_CHECK_INT(vv_files_counts(cache).fds, 1);
    tear_down();
}

VV_TEST(idle_entries_are_closed)
{
    set_up(16, 16, 1024);
    VV_CHECK_STR(found_text("page.txt"), "page");
    now_ns += VV_FILES_IDLE_NS / 2;
    VV_CHECK_STR(found_text("app.js"), "plain");
    vv_files_cache_sweep(cache, now_ns);
    VV_CHECK_INT(vv_files_counts(cache).fds, 2);
    vv_files_cache_sweep(cache, now_ns + VV_FILES_IDLE_NS / 2);
    VV_CHECK_INT(vv_files_counts(cache).fds, 1);
    VV_CHECK_STR(found_text("app.js"), "plain");
    tear_down();
}

VV_TEST(descriptors_are_given_back_when_the_process_has_none_left)
{
    set_up(16, 16, 1024);
    VV_CHECK_STR(found_text("page.txt"), "page");
    VV_CHECK_STR(found_text("home.html"), "home");
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    const int next = dup(root); /* the lowest free number: with it as the limit none is left */
    const struct rlimit full = {(rlim_t)next, before.rlim_max};
    close(next);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &full), 0);
    const char *text = found_text("app.js");
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    VV_CHECK_STR(text, "plain");
    VV_CHECK_INT(vv_files_counts(cache).fds, 1);
    tear_down();
}

/* ---- copies made ahead ---- */

static struct vv_loop *loop;
static struct vv_pool *pool;

static void ahead_up(uint64_t bytes)
{
    set_up(16, 16, bytes);
    assert_int_equal(vv_loop_new(&loop), VV_OK);
    assert_int_equal(vv_pool_new(1, 16, &pool), VV_OK);
}

static void ahead_down(void)
{
    vv_pool_free(pool);
    vv_files_ahead_stop(cache);
    tear_down();
    vv_loop_free(loop);
}

/* `size` bytes of text that gzip makes much smaller, or of noise that it does not. */
static void put_size(const char *name, size_t size, bool noise)
{
    char *text = malloc(size + 1);
    uint32_t state = 1;
    assert_non_null(text);
    for (size_t i = 0; i < size; i++) {
        state = state * 1664525u + 1013904223u;
        text[i] = (char)(noise ? 1 + (state >> 24) % 255 : 'a' + i % 26);
    }
    text[size] = '\0';
    put(name, text, 1000);
    free(text);
}

/* What a request gets when every job before it has ended. */
static const struct vv_files_copy *made(struct vv_files_entry *e, uint64_t ratio_ppm,
                                        bool *hopeless)
{
    const struct vv_files_maker m = {pool, loop, 0, ratio_ppm, wall_ns};
    const struct vv_files_copy *copy = vv_files_ahead(e, VV_ENCODING_GZIP, &m, hopeless);
    for (int i = 0; i < 1000 && !vv_list_empty(vv_files_jobs(cache)); i++) {
        vv_loop_turn(loop, 10 * VV_MS);
    }
    VV_CHECK(vv_list_empty(vv_files_jobs(cache)));
    return copy;
}

VV_TEST(a_copy_is_made_once_and_decodes_to_the_file)
{
    ahead_up(VV_MIB);
    put_size("big.txt", 100000, false);
    struct vv_files_entry *e = NULL;
    bool hopeless = true;
    VV_CHECK_INT(get("big.txt", &e), VV_OK);
    VV_CHECK(made(e, 800000, &hopeless) == NULL); /* the first one orders it */
    VV_CHECK(!hopeless);
    const struct vv_files_copy *copy = made(e, 800000, &hopeless);
    assert_non_null(copy);
    VV_CHECK(copy->size <= 80000);
    VV_CHECK_INT(vv_files_counts(cache).bytes, copy->size);
    VV_CHECK(memcmp(copy->etag + copy->etag_bytes - 6, "-gzip\"", 6) == 0);
    static unsigned char out[100001];
    z_stream z = {.next_in = (unsigned char *)copy->bytes,
                  .avail_in = (unsigned)copy->size,
                  .next_out = out,
                  .avail_out = sizeof out};
    assert_int_equal(inflateInit2(&z, 31), Z_OK);
    assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
    inflateEnd(&z);
    VV_CHECK_INT(z.total_out, 100000);
    for (size_t i = 0; i < 100000; i++) {
        assert_int_equal(out[i], 'a' + i % 26);
    }
    VV_CHECK(made(e, 800000, &hopeless) == copy);
    vv_files_put(e);
    now_ns += 10 * VV_FILES_IDLE_NS;
    vv_files_cache_sweep(cache, now_ns);
    VV_CHECK_INT(vv_files_counts(cache).entries, 1); /* its work is worth keeping */
    put_size("big.txt", 1000, false);
    vv_files_cache_sweep(cache, now_ns);
    VV_CHECK_INT(vv_files_counts(cache).bytes, 0);
    ahead_down();
}

VV_TEST(a_copy_that_is_not_small_enough_is_not_kept)
{
    ahead_up(VV_MIB);
    put_size("noise.txt", 100000, true);
    struct vv_files_entry *e = NULL;
    bool hopeless = true;
    VV_CHECK_INT(get("noise.txt", &e), VV_OK);
    VV_CHECK(made(e, 800000, &hopeless) == NULL);
    VV_CHECK(!hopeless);
    VV_CHECK(made(e, 800000, &hopeless) == NULL);
    VV_CHECK(hopeless);
    VV_CHECK_INT(vv_files_counts(cache).bytes, 0);
    vv_files_put(e);
    ahead_down();
}

VV_TEST(a_copy_at_the_ratio_is_kept_and_one_over_it_is_not)
{
    ahead_up(VV_MIB);
    put_size("big.txt", 10000, false);
    char path[128];
    snprintf(path, sizeof path, "%s/big.txt", base);
    const int fd = open(path, O_RDONLY);
    char *bytes = NULL;
    size_t n = 0;
    VV_CHECK_INT(vv_files_compress(fd, 10000, VV_ENCODING_GZIP, 3, 10000, &bytes, &n), VV_OK);
    free(bytes);
    size_t again = 0;
    VV_CHECK_INT(vv_files_compress(fd, 10000, VV_ENCODING_GZIP, 3, n, &bytes, &again), VV_OK);
    VV_CHECK_INT(again, n);
    free(bytes);
    VV_CHECK_INT(vv_files_compress(fd, 10000, VV_ENCODING_GZIP, 3, n - 1, &bytes, &again),
                 VV_ELIMIT);
    VV_CHECK_INT(vv_files_compress(fd, 10001, VV_ENCODING_GZIP, 3, 10000, &bytes, &again),
                 VV_EIO); /* the file is shorter */
    close(fd);
    ahead_down();
}

VV_TEST(copies_of_all_codings_are_bounded_in_bytes)
{
    ahead_up(64); /* less than the copy needs */
    put_size("big.txt", 100000, false);
    struct vv_files_entry *e = NULL;
    bool hopeless = false;
    VV_CHECK_INT(get("big.txt", &e), VV_OK);
    VV_CHECK(made(e, 800000, &hopeless) == NULL);
    VV_CHECK(made(e, 800000, &hopeless) == NULL);
    VV_CHECK(hopeless);
    VV_CHECK_INT(vv_files_counts(cache).bytes, 0);
    vv_files_put(e);
    ahead_down();
}

VV_TEST(a_job_whose_file_changed_leaves_nothing)
{
    ahead_up(VV_MIB);
    put_size("big.txt", 100000, false);
    struct vv_files_entry *e = NULL;
    bool hopeless = false;
    VV_CHECK_INT(get("big.txt", &e), VV_OK);
    put_size("big.txt", 100000, true); /* after it was opened, before the job reads */
    VV_CHECK(made(e, VV_PPM, &hopeless) == NULL);
    VV_CHECK_INT(e->made[VV_ENCODING_GZIP].state != VV_FILES_THERE, true);
    vv_files_put(e);
    ahead_down();
}

VV_TEST(a_job_nobody_will_hear_of_is_let_go)
{
    ahead_up(VV_MIB);
    put_size("big.txt", 100000, false);
    struct vv_files_entry *e = NULL;
    bool hopeless = false;
    VV_CHECK_INT(get("big.txt", &e), VV_OK);
    const struct vv_files_maker m = {pool, loop, 0, 800000, wall_ns};
    VV_CHECK(vv_files_ahead(e, VV_ENCODING_BR, &m, &hopeless) == NULL);
    vv_files_put(e);
    ahead_down(); /* the loop never turns; the sanitizer finds what is not freed */
}
