/* tests/unit/cache/test_snapshot.c - what was saved comes back; what is damaged is skipped. */
#include "cache/snapshot.h"
#include "os/file.h"
#include "vv_test.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct vv_epoch epoch;
static struct vv_epoch_reader *reader;
static char path[64];

/* Two caches with different seeds, as before and after a restart. */
static struct vv_cache *cache_new(uint64_t seed)
{
    const struct vv_cache_conf conf = {.budget_bytes = 4 * VV_MIB, .seed = seed};
    struct vv_cache *c = NULL;
    VV_CHECK_INT(vv_cache_new(&conf, &epoch, &c), VV_OK);
    return c;
}

static void start(void)
{
    vv_epoch_init(&epoch);
    VV_CHECK_INT(vv_epoch_join(&epoch, &reader), VV_OK);
    snprintf(path, sizeof(path), "/tmp/vv_test_snapshot_XXXXXX");
    const int fd = mkstemp(path);
    VV_CHECK(fd >= 0);
    close(fd);
}

static void stop(void)
{
    unlink(path);
    vv_epoch_leave(&epoch, reader);
    vv_epoch_fini(&epoch);
}

static void put(struct vv_cache *c, const char *key, struct vv_str body, uint64_t keep_until_ns)
{
    const struct vv_str k = vv_str_from(key);
    const uint64_t tag = vv_cache_tag(k);
    const struct vv_cache_spec s = {.key = k,
                                    .hash = vv_cache_hash(c, k),
                                    .meta = "meta",
                                    .meta_n = 5,
                                    .head = VV_STR("head"),
                                    .body = body,
                                    .tags = &tag,
                                    .tags_n = 1,
                                    .born = vv_cache_born(c),
                                    .keep_until_ns = keep_until_ns};
    VV_CHECK_INT(vv_cache_insert(c, &s, 0), VV_OK);
}

static const struct vv_cache_object *find(struct vv_cache *c, const char *key)
{
    bool soft;
    const struct vv_str k = vv_str_from(key);
    const struct vv_cache_query q = {.key = k, .hash = vv_cache_hash(c, k)};
    return vv_cache_lookup(c, reader, &q, &soft);
}

VV_TEST(what_was_saved_comes_back_with_its_time_left)
{
    const struct vv_cache_clock before = {1000, 500000}, after = {7, 500100};
    struct vv_cache_loaded l;
    uint64_t saved;
    char *big = calloc(1, 150000);
    start();
    struct vv_cache *a = cache_new(1), *b = cache_new(2);
    put(a, "/short", VV_STR("s"), 1050); /* 50 ns left, 100 pass */
    put(a, "/long", VV_STR("body"), 1500);
    put(a, "/big", (struct vv_str){big, 150000}, UINT64_MAX);
    VV_CHECK_INT(vv_cache_save(a, path, before, &saved), VV_OK);
    VV_CHECK_INT(saved, 3);
    VV_CHECK_INT(vv_cache_load(b, path, after, &l), VV_OK);
    VV_CHECK_INT(l.loaded, 2);
    VV_CHECK_INT(l.expired, 1);
    VV_CHECK_INT(l.damaged, 0);
    const struct vv_cache_object *o = find(b, "/long");
    VV_CHECK(o != NULL);
    VV_CHECK_SLICE(vv_cache_body_at(o, 0), "body");
    VV_CHECK_SLICE(vv_cache_head(o), "head");
    VV_CHECK_STR((const char *)vv_cache_meta(o), "meta");
    VV_CHECK_INT(o->keep_until_ns, 407); /* 500 left at saving, 100 passed, now is 7 */
    VV_CHECK_INT(find(b, "/big")->body_n, 150000);
    VV_CHECK_INT(vv_cache_purge_tag(b, VV_STR("/long"), false), VV_OK); /* tags came along */
    VV_CHECK(find(b, "/long") == NULL);
    vv_cache_free(a);
    vv_cache_free(b);
    free(big);
    stop();
}

VV_TEST(one_damaged_byte_costs_one_record)
{
    const struct vv_cache_clock clock = {0, 0};
    struct vv_cache_loaded l;
    char key[16], *text;
    size_t n;
    start();
    struct vv_cache *a = cache_new(1);
    for (int i = 0; i < 10; i++) {
        snprintf(key, sizeof(key), "/%d", i);
        put(a, key, VV_STR("some body"), UINT64_MAX);
    }
    VV_CHECK_INT(vv_cache_save(a, path, clock, NULL), VV_OK);
    vv_cache_free(a);
    VV_CHECK_INT(vv_file_read(path, 1 << 20, &text, &n), VV_OK);
    for (size_t at = 24; at < n; at++) { /* 24: the head of the file */
        struct vv_cache *b = cache_new(2);
        text[at] ^= 0x20;
        VV_CHECK_INT(vv_cache_load_bytes(b, (struct vv_str){text, n}, clock, &l), VV_OK);
        VV_CHECK_INT(l.loaded, 9);
        VV_CHECK_INT(l.damaged, 1);
        text[at] ^= 0x20;
        vv_cache_free(b);
    }
    struct vv_cache *b = cache_new(2);
    VV_CHECK_INT(vv_cache_load_bytes(b, (struct vv_str){text, n - 1}, clock, &l), VV_OK);
    VV_CHECK_INT(l.loaded, 9); /* the last one is cut */
    text[0] ^= 1;
    VV_CHECK_INT(vv_cache_load_bytes(b, (struct vv_str){text, n}, clock, &l), VV_ESYNTAX);
    vv_cache_free(b);
    free(text);
    stop();
}
