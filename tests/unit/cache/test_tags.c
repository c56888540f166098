/* tests/unit/cache/test_tags.c - purging by tag, pattern and everything; the sweeper after it. */
#include "cache/store.h"
#include "vv_test.h"
#include <stdio.h>

static struct vv_epoch epoch;
static struct vv_epoch_reader *reader;

static struct vv_cache *start(void)
{
    const struct vv_cache_conf conf = {.budget_bytes = 16 * VV_MIB, .seed = 7};
    struct vv_cache *c = NULL;
    vv_epoch_init(&epoch);
    VV_CHECK_INT(vv_epoch_join(&epoch, &reader), VV_OK);
    VV_CHECK_INT(vv_cache_new(&conf, &epoch, &c), VV_OK);
    return c;
}

static void stop(struct vv_cache *c)
{
    vv_cache_check(c);
    vv_epoch_leave(&epoch, reader);
    vv_cache_free(c);
    vv_epoch_fini(&epoch);
}

static enum vv_err put_at(struct vv_cache *c, const char *key, const char *tag, uint64_t born,
                          uint64_t keep_until_ns)
{
    const struct vv_str k = vv_str_from(key);
    const uint64_t tags[] = {vv_cache_tag(VV_STR("every")), vv_cache_tag(vv_str_from(tag))};
    const struct vv_cache_spec s = {.key = k,
                                    .hash = vv_cache_hash(c, k),
                                    .tags = tags,
                                    .tags_n = 2,
                                    .keep_until_ns = keep_until_ns,
                                    .born = born};
    return vv_cache_insert(c, &s, 0);
}

static void put(struct vv_cache *c, const char *key, const char *tag)
{
    VV_CHECK_INT(put_at(c, key, tag, vv_cache_born(c), UINT64_MAX), VV_OK);
}

enum found { GONE, FRESH, SOFT };

static enum found find(struct vv_cache *c, const char *key)
{
    bool soft = false;
    const struct vv_str k = vv_str_from(key);
    const struct vv_cache_query q = {.key = k, .hash = vv_cache_hash(c, k)};
    if (vv_cache_lookup(c, reader, &q, &soft) == NULL) {
        return GONE;
    }
    return soft ? SOFT : FRESH;
}

static uint64_t entries(struct vv_cache *c)
{
    struct vv_cache_stats st;
    vv_cache_stats(c, &st);
    return st.entries;
}

static void sweep_all(struct vv_cache *c, uint64_t now_ns)
{
    while (!vv_cache_sweep(c, now_ns, 7)) {
        /* in small steps, as the control thread does */
    }
}

VV_TEST(a_tag_purge_hits_what_carries_the_tag_and_was_there)
{
    struct vv_cache *c = start();
    put(c, "/a", "red");
    put(c, "/b", "blue");
    VV_CHECK_INT(vv_cache_purge_tag(c, VV_STR("red"), false), VV_OK);
    VV_CHECK_INT(find(c, "/a"), GONE);
    VV_CHECK_INT(find(c, "/b"), FRESH);
    put(c, "/a", "red"); /* fetched after the purge */
    VV_CHECK_INT(find(c, "/a"), FRESH);
    stop(c);
}

VV_TEST(a_soft_purge_makes_stale_and_a_hard_one_wins)
{
    struct vv_cache *c = start();
    put(c, "/a", "red");
    VV_CHECK_INT(vv_cache_purge_tag(c, VV_STR("red"), true), VV_OK);
    VV_CHECK_INT(find(c, "/a"), SOFT);
    VV_CHECK_INT(find(c, "/a"), SOFT);
    VV_CHECK_INT(vv_cache_purge_tag(c, VV_STR("every"), false), VV_OK);
    VV_CHECK_INT(find(c, "/a"), GONE);
    stop(c);
}

VV_TEST(patterns_and_everything)
{
    struct vv_cache *c = start();
    put(c, "/img/1.png", "x");
    put(c, "/img/2.jpg", "x");
    put(c, "/doc", "x");
    VV_CHECK_INT(vv_cache_purge_pattern(c, VV_STR("/img/*.png"), false), VV_OK);
    VV_CHECK_INT(find(c, "/img/1.png"), GONE);
    VV_CHECK_INT(find(c, "/img/2.jpg"), FRESH);
    VV_CHECK_INT(vv_cache_purge_pattern(c, VV_STR("/i*"), true), VV_OK);
    VV_CHECK_INT(find(c, "/img/2.jpg"), SOFT);
    VV_CHECK_INT(find(c, "/doc"), FRESH);
    vv_cache_purge_all(c, false);
    VV_CHECK_INT(find(c, "/doc"), GONE);
    stop(c);
}

/* 64 patterns may wait for the sweeper; the same one again needs no place of its own. */
VV_TEST(a_pattern_that_waits_already_takes_no_second_place)
{
    struct vv_cache *c = start();
    struct vv_cache_stats stats;
    for (int i = 0; i < 100; i++) {
        VV_CHECK_INT(vv_cache_purge_pattern(c, VV_STR("/a*"), false), VV_OK);
    }
    VV_CHECK_INT(vv_cache_purge_pattern(c, VV_STR("/a*"), true), VV_OK); /* softer: one more */
    vv_cache_stats(c, &stats);
    VV_CHECK_INT(stats.purge_records, 2);
    VV_CHECK_INT(vv_cache_purge_pattern(c, VV_STR("/a*"), false), VV_OK); /* stands for both */
    vv_cache_stats(c, &stats);
    VV_CHECK_INT(stats.purge_records, 1);
    put(c, "/a/1", "x");
    VV_CHECK_INT(find(c, "/a/1"), FRESH);
    VV_CHECK_INT(vv_cache_purge_pattern(c, VV_STR("/a*"), false), VV_OK);
    VV_CHECK_INT(find(c, "/a/1"), GONE);
    stop(c);
}

VV_TEST(an_answer_fetched_before_the_purge_does_not_come_in_after_it)
{
    struct vv_cache *c = start();
    const uint64_t born = vv_cache_born(c);
    VV_CHECK_INT(vv_cache_purge_tag(c, VV_STR("red"), false), VV_OK);
    VV_CHECK_INT(put_at(c, "/a", "red", born, UINT64_MAX), VV_ELIMIT);
    VV_CHECK_INT(put_at(c, "/b", "blue", born, UINT64_MAX), VV_OK);
    sweep_all(c, 0); /* the record is dropped: nobody can tell any more */
    VV_CHECK_INT(put_at(c, "/a", "red", born, UINT64_MAX), VV_ELIMIT);
    stop(c);
}

VV_TEST(the_sweeper_frees_the_purged_and_the_expired_and_drops_the_records)
{
    struct vv_cache *c = start();
    char key[16];
    for (int i = 0; i < 3000; i++) {
        snprintf(key, sizeof(key), "/%d", i);
        const char *tag = i % 3 == 0 ? "red" : "blue";
        VV_CHECK_INT(put_at(c, key, tag, vv_cache_born(c), i % 3 == 1 ? 50 : 100), VV_OK);
    }
    VV_CHECK_INT(vv_cache_purge_tag(c, VV_STR("red"), false), VV_OK);
    VV_CHECK_INT(entries(c), 3000); /* the purge itself frees nothing */
    sweep_all(c, 60);
    VV_CHECK_INT(entries(c), 1000); /* a third purged, a third past its 50 ns */
    struct vv_cache_stats st;
    vv_cache_stats(c, &st);
    VV_CHECK_INT(st.removed_purged, 1000);
    VV_CHECK_INT(st.evicted_expired, 1000);
    VV_CHECK_INT(st.purge_records, 0);
    VV_CHECK_INT(find(c, "/2"), FRESH);
    stop(c);
}

VV_TEST(many_tag_purges_are_all_remembered)
{
    struct vv_cache *c = start();
    char tag[16];
    for (int i = 0; i < 500; i++) {
        snprintf(tag, sizeof(tag), "t%d", i);
        put(c, tag, tag);
    }
    for (int i = 0; i < 500; i += 2) {
        snprintf(tag, sizeof(tag), "t%d", i);
        VV_CHECK_INT(vv_cache_purge_tag(c, vv_str_from(tag), false), VV_OK);
    }
    for (int i = 0; i < 500; i++) {
        snprintf(tag, sizeof(tag), "t%d", i);
        VV_CHECK_INT(find(c, tag), i % 2 == 0 ? GONE : FRESH);
    }
    stop(c);
}

VV_TEST(globs)
{
    VV_CHECK(vv_cache_glob(VV_STR("*"), VV_STR("")));
    VV_CHECK(vv_cache_glob(VV_STR("a*b*c"), VV_STR("aXbYbZc")));
    VV_CHECK(!vv_cache_glob(VV_STR("a*b*c"), VV_STR("aXbYbZ")));
    VV_CHECK(vv_cache_glob(VV_STR("a?c"), VV_STR("abc")));
    VV_CHECK(!vv_cache_glob(VV_STR("a?c"), VV_STR("ac")));
    VV_CHECK(!vv_cache_glob(VV_STR("abc"), VV_STR("abcd")));
}
