/* tests/unit/gateway/test_caches.c - named caches: taken, resized, purged, trimmed, kept in a file. */
#include "gateway/caches.h"
#include "gateway/homes.h"
#include "gateway/worker.h"
#include "vv_test.h"
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct vv_metrics *metrics;
static struct vv_caches *caches;
static const struct vv_level_settings small = {.memory_bytes = 1 << 20};
static const struct vv_level_settings large = {.memory_bytes = 8 << 20, .entries = 100};
static const struct vv_cache_clock noon = {.now_ns = 10 * VV_SEC, .wall_ns = 1000 * VV_SEC};

static void start(void)
{
    VV_CHECK_INT(vv_metrics_new(&metrics), VV_OK);
    VV_CHECK_INT(vv_caches_new(metrics, &caches), VV_OK);
}

static void stop(void)
{
    vv_caches_free(caches);
    vv_metrics_free(metrics);
}

static struct vv_named_cache *take(const char *name, const struct vv_level_settings *level,
                                   const char *snapshot)
{
    struct vv_named_cache *c = NULL;
    VV_CHECK_INT(vv_caches_take(caches, name, level, snapshot, &c), VV_OK);
    return c;
}

static void put(struct vv_named_cache *c, const char *key, size_t bytes, const char *tag)
{
    const struct vv_str k = vv_str_from(key);
    const uint64_t tags[] = {vv_cache_tag(vv_str_from(tag))};
    char *body = calloc(1, bytes);
    const struct vv_cache_spec s = {.key = k,
                                    .hash = vv_cache_hash(c->memory, k),
                                    .meta = "m",
                                    .meta_n = 1,
                                    .head = VV_STR("h"),
                                    .body = {body, bytes},
                                    .tags = tags,
                                    .tags_n = 1,
                                    .keep_until_ns = 100 * VV_SEC,
                                    .born = vv_cache_born(c->memory)};
    VV_CHECK_INT(vv_cache_insert(c->memory, &s, noon.now_ns), VV_OK);
    free(body);
}

/* 0: not there, 1: there, 2: softly purged. */
static int held(struct vv_named_cache *c, const char *key)
{
    struct vv_epoch_reader *r = NULL;
    const struct vv_str k = vv_str_from(key);
    const struct vv_cache_query q = {.key = k, .hash = vv_cache_hash(c->memory, k)};
    bool soft = false;
    VV_CHECK_INT(vv_epoch_join(vv_caches_epoch(caches), &r), VV_OK);
    const bool there = vv_cache_lookup(c->memory, r, &q, &soft) != NULL;
    vv_epoch_leave(vv_caches_epoch(caches), r);
    return there ? 1 + soft : 0;
}

static uint64_t budget(struct vv_named_cache *c)
{
    struct vv_cache_stats s;
    vv_cache_stats(c->memory, &s);
    return s.budget_bytes;
}

static size_t purge(int what, const char *cache, const char *value, bool soft)
{
    const struct vv_purge p = {.what = (unsigned)what,
                               .cache = vv_str_from(cache),
                               .value = vv_str_from(value),
                               .soft = soft};
    size_t n = 99;
    VV_CHECK_INT(vv_caches_purge(caches, &p, &n), VV_OK);
    return n;
}

VV_TEST(a_name_means_the_same_cache_for_everybody)
{
    start();
    struct vv_named_cache *a = take("api", &small, NULL);
    VV_CHECK(take("api", &small, NULL) == a);
    VV_CHECK(take("pages", &small, NULL) != a);
    VV_CHECK(vv_caches_find(caches, VV_STR("api")) == a);
    VV_CHECK(vv_caches_find(caches, VV_STR("ap")) == NULL);
    vv_named_cache_unref(a);
    vv_named_cache_unref(a);
    vv_caches_tick(caches, 0); /* nobody holds it any more */
    VV_CHECK(vv_caches_find(caches, VV_STR("api")) == NULL);
    vv_named_cache_unref(vv_caches_find(caches, VV_STR("pages")));
    stop();
}

VV_TEST(a_cache_that_is_taken_again_before_the_tick_keeps_what_it_has)
{
    start();
    struct vv_named_cache *a = take("api", &small, NULL);
    put(a, "k", 10, "t");
    vv_named_cache_unref(a);
    VV_CHECK(take("api", &small, NULL) == a);
    vv_caches_tick(caches, 0);
    VV_CHECK_INT(held(a, "k"), 1);
    vv_named_cache_unref(a);
    stop();
}

VV_TEST(a_new_size_counts_when_the_reload_has_worked)
{
    start();
    struct vv_named_cache *a = take("api", &small, NULL);
    vv_caches_settle(caches, true, noon);
    put(a, "k", 10, "t");
    VV_CHECK(take("api", &large, NULL) == a);
    VV_CHECK_INT(budget(a), 1 << 20);
    vv_named_cache_unref(a);
    vv_caches_settle(caches, false, noon); /* it failed */
    VV_CHECK_INT(budget(a), 1 << 20);
    vv_caches_settle(caches, true, noon); /* another that says nothing about it */
    VV_CHECK_INT(budget(a), 1 << 20);
    VV_CHECK(take("api", &large, NULL) == a);
    vv_caches_settle(caches, true, noon);
    VV_CHECK_INT(budget(a), 8 << 20);
    VV_CHECK_INT(held(a, "k"), 1);
    vv_named_cache_unref(a);
    vv_named_cache_unref(a);
    stop();
}

VV_TEST(purges_reach_one_cache_or_all)
{
    start();
    struct vv_named_cache *a = take("a", &small, NULL), *b = take("b", &small, NULL);
    struct vv_named_cache *both[] = {a, b};
    for (size_t i = 0; i < 2; i++) {
        put(both[i], "http://h/1", 10, "red");
        put(both[i], "http://h/2", 10, "red");
        put(both[i], "http://h/img/3", 10, "blue");
        put(both[i], "http://h/4", 10, "green");
    }
    VV_CHECK_INT(purge(VV_PURGE_URL, "a", "http://h/1", false), 1);
    VV_CHECK_INT(held(a, "http://h/1"), 0);
    VV_CHECK_INT(held(b, "http://h/1"), 1);
    VV_CHECK_INT(purge(VV_PURGE_TAG, "", "red", true), 1);
    VV_CHECK_INT(held(a, "http://h/2"), 2);
    VV_CHECK_INT(held(b, "http://h/2"), 2);
    VV_CHECK_INT(purge(VV_PURGE_PATTERN, "b", "*/img/*", false), 1);
    VV_CHECK_INT(held(a, "http://h/img/3"), 1);
    VV_CHECK_INT(held(b, "http://h/img/3"), 0);
    VV_CHECK_INT(purge(VV_PURGE_URL, "", "http://h/4", false), 2); /* one in each */
    VV_CHECK_INT(purge(VV_PURGE_ALL, "a", "", false), 1);
    VV_CHECK_INT(held(a, "http://h/2"), 0);
    VV_CHECK_INT(held(b, "http://h/2"), 2);
    const struct vv_purge nobody = {.what = VV_PURGE_ALL, .cache = VV_STR("c")};
    size_t n;
    VV_CHECK_INT(vv_caches_purge(caches, &nobody, &n), VV_ENOENT);
    vv_named_cache_unref(a);
    vv_named_cache_unref(b);
    stop();
}

VV_TEST(one_pattern_more_than_fits_carries_out_the_others_first)
{
    start();
    struct vv_named_cache *a = take("a", &small, NULL);
    char glob[32];
    put(a, "http://h/70", 10, "t");
    put(a, "http://h/x", 10, "t");
    for (int i = 0; i < 200; i++) { /* more than are kept at a time */
        (void)snprintf(glob, sizeof glob, "*/%d", i);
        VV_CHECK_INT(purge(VV_PURGE_PATTERN, "", glob, false), 1);
    }
    VV_CHECK_INT(held(a, "http://h/70"), 0);
    VV_CHECK_INT(held(a, "http://h/x"), 1);
    vv_named_cache_unref(a);
    stop();
}

VV_TEST(trimming_and_ticks_give_memory_back)
{
    start();
    struct vv_named_cache *a = take("a", &large, NULL);
    struct vv_cache_stats s;
    char key[32];
    for (int i = 0; i < 50; i++) {
        (void)snprintf(key, sizeof key, "http://h/%d", i);
        put(a, key, 20000, "t");
    }
    VV_CHECK_INT(vv_caches_trim(caches, VV_STR("nobody"), 0, noon.now_ns), VV_ENOENT);
    VV_CHECK_INT(vv_caches_trim(caches, VV_STR("a"), 500000, noon.now_ns), VV_OK);
    vv_cache_stats(a->memory, &s);
    VV_CHECK(s.entries > 10 && s.entries < 25); /* 500,000 / 20,000 = 25, less what else counts */
    vv_caches_tick(caches, 101 * VV_SEC);       /* past the time of all of them */
    vv_cache_stats(a->memory, &s);
    VV_CHECK_INT(s.entries, 0);
    vv_named_cache_unref(a);
    stop();
}

VV_TEST(a_snapshot_brings_the_content_back_once)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/tmp/vv-caches-%d", (int)getpid());
    (void)unlink(path);
    start();
    struct vv_named_cache *a = take("a", &small, path);
    vv_caches_settle(caches, true, noon);
    put(a, "k", 1000, "t");
    vv_caches_save(caches, noon);
    VV_CHECK_INT(access(path, F_OK), 0);
    vv_named_cache_unref(a);
    stop();

    start();
    a = take("a", &small, path);
    vv_caches_settle(caches, true, noon);
    VV_CHECK_INT(held(a, "k"), 1);
    VV_CHECK(access(path, F_OK) != 0); /* used up: a purge from now on is for good */
    vv_named_cache_unref(a);
    stop();
}

VV_TEST(an_unreadable_snapshot_is_no_reason_not_to_start)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/tmp/vv-caches-bad-%d", (int)getpid());
    FILE *f = fopen(path, "w");
    VV_CHECK(f != NULL);
    (void)fputs("this is no snapshot, whatever its name says", f);
    (void)fclose(f);
    start();
    struct vv_named_cache *a = take("a", &small, path);
    vv_caches_settle(caches, true, noon);
    VV_CHECK_INT(held(a, "k"), 0);
    vv_named_cache_unref(a);
    stop();
    (void)unlink(path);
}

VV_TEST(numbers_are_told_as_json_and_as_metrics)
{
    start();
    struct vv_named_cache *a = take("api", &small, NULL);
    struct vv_shard *shard = NULL;
    const struct vv_str hit[] = {VV_STR("api"), VV_STR("hit")};
    const struct vv_str miss[] = {VV_STR("api"), VV_STR("miss")};
    put(a, "k", 10, "t");
    VV_CHECK_INT(vv_metrics_shard(metrics, &shard), VV_OK);
    vv_metric_add(shard, vv_metrics_series(metrics, VV_METRIC_CACHE_REQUESTS, hit, 2), 3);
    vv_metric_add(shard, vv_metrics_series(metrics, VV_METRIC_CACHE_REQUESTS, miss, 2), 1);
    struct vv_sb out = VV_SB_INIT;
    struct vv_json j;
    vv_json_init(&j, &out);
    vv_caches_json(caches, &j);
    json_t *all = json_loadb(out.p, out.n, 0, NULL);
    const json_t *one = json_array_get(all, 0);
    VV_CHECK_STR(json_string_value(json_object_get(one, "name")), "api");
    VV_CHECK_INT(json_integer_value(json_object_get(one, "entries")), 1);
    VV_CHECK_INT(json_integer_value(json_object_get(one, "budget_bytes")), 1 << 20);
    VV_CHECK(json_number_value(json_object_get(one, "hit_ratio")) == 0.75); /* 3 of 4 */
    json_decref(all);
    vv_sb_reset(&out);
    vv_metrics_write(metrics, VV_EXPOSITION_TEXT, &out);
    VV_CHECK(strstr(out.p, "vivace_cache_entries{cache=\"api\"} 1\n") != NULL);
    VV_CHECK(strstr(out.p, "vivace_cache_bytes{cache=\"api\",kind=\"budget\"} 1048576\n") != NULL);
    VV_CHECK(strstr(out.p, "vivace_cache_stored_total{cache=\"api\"} 1\n") != NULL);
    vv_sb_fini(&out);
    vv_metrics_shard_return(metrics, shard);
    vv_named_cache_unref(a);
    stop();
}

static size_t freed;

static void on_freed(struct vv_epoch_item *item)
{
    (void)item;
    freed++;
}

VV_TEST(a_worker_holds_memory_back_for_a_turn_and_not_for_longer)
{
    struct vv_worker *w = NULL;
    struct vv_epoch_item item;
    start();
    struct vv_epoch *e = vv_caches_epoch(caches);
    const struct vv_homes homes = {.caches = caches};
    const struct vv_worker_options o = {.metrics = metrics, .homes = &homes};
    VV_CHECK_INT(vv_worker_new(NULL, &o, &w), VV_OK);
    freed = 0;
    vv_epoch_retire(e, &item, on_freed);
    VV_CHECK_INT(vv_epoch_reclaim(e), 0); /* the worker may still look at it */
    vv_loop_turn(w->loop, 0);
    VV_CHECK_INT(vv_epoch_reclaim(e), 1);
    vv_epoch_retire(e, &item, on_freed);
    VV_CHECK_INT(vv_epoch_reclaim(e), 0);
    vv_worker_free(w); /* leaves */
    VV_CHECK_INT(vv_epoch_reclaim(e), 1);
    VV_CHECK_INT(freed, 2);
    stop();
}
