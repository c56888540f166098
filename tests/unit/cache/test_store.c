/* tests/unit/cache/test_store.c - keeping, finding, replacing, forgetting. No test sleeps. */
#include "base/rng.h"
#include "cache/store.h"
#include "vv_test.h"
#include <stdio.h>
#include <stdlib.h>

static struct vv_epoch epoch;
static struct vv_epoch_reader *reader;

static struct vv_cache *start(uint64_t budget_bytes)
{
    const struct vv_cache_conf conf = {.budget_bytes = budget_bytes, .seed = 7};
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

static struct vv_cache_spec spec_of(struct vv_cache *c, const char *key, struct vv_str body)
{
    const struct vv_str k = vv_str_from(key);
    return (struct vv_cache_spec){.key = k,
                                  .hash = vv_cache_hash(c, k),
                                  .meta = "meta",
                                  .meta_n = 5,
                                  .head = VV_STR("head"),
                                  .body = body,
                                  .keep_until_ns = UINT64_MAX,
                                  .born = vv_cache_born(c)};
}

static const struct vv_cache_object *find(struct vv_cache *c, const char *key, const char *second,
                                          bool *ret_soft)
{
    const struct vv_str k = vv_str_from(key);
    const struct vv_cache_query q = {
        .key = k, .hash = vv_cache_hash(c, k), .second = vv_str_from(second)};
    return vv_cache_lookup(c, reader, &q, ret_soft);
}

VV_TEST(what_was_stored_is_found_byte_for_byte)
{
    struct vv_cache *c = start(VV_MIB);
    bool soft;
    struct vv_cache_spec s = spec_of(c, "/a", VV_STR("hello"));
    VV_CHECK(find(c, "/a", "", &soft) == NULL);
    VV_CHECK_INT(vv_cache_insert(c, &s, 0), VV_OK);
    const struct vv_cache_object *o = find(c, "/a", "", &soft);
    VV_CHECK(o != NULL);
    VV_CHECK_STR((const char *)vv_cache_meta(o), "meta");
    VV_CHECK_SLICE(vv_cache_head(o), "head");
    VV_CHECK_SLICE(vv_cache_body_at(o, 0), "hello");
    VV_CHECK_SLICE(vv_cache_body_at(o, 3), "lo");
    VV_CHECK_INT(vv_cache_body_at(o, 5).n, 0);
    struct vv_cache_stats st;
    vv_cache_stats(c, &st);
    VV_CHECK_INT(st.hits, 1);
    VV_CHECK_INT(st.misses, 1);
    stop(c);
}

VV_TEST(a_large_body_comes_back_in_chunks)
{
    struct vv_cache *c = start(4 * VV_MIB);
    bool soft;
    const size_t n = 300000;
    char *body = malloc(n);
    for (size_t i = 0; i < n; i++) {
        body[i] = (char)(i * 7 + i / 1000);
    }
    struct vv_cache_spec s = spec_of(c, "/big", (struct vv_str){body, n});
    VV_CHECK_INT(vv_cache_insert(c, &s, 0), VV_OK);
    const struct vv_cache_object *o = find(c, "/big", "", &soft);
    size_t at = 0, pieces = 0;
    for (struct vv_str k = vv_cache_body_at(o, 0); k.n > 0; k = vv_cache_body_at(o, at)) {
        VV_CHECK(memcmp(k.p, body + at, k.n) == 0);
        at += k.n;
        pieces++;
    }
    VV_CHECK_INT(at, n);
    VV_CHECK_INT(pieces, 5); /* 300,000 over 64 KiB less the chunk's own head: 4.58 */
    free(body);
    stop(c);
}

VV_TEST(a_refreshed_object_shares_the_body_and_replaces_the_old)
{
    struct vv_cache *c = start(4 * VV_MIB);
    bool soft;
    char *body = calloc(1, 200000);
    struct vv_cache_spec s = spec_of(c, "/r", (struct vv_str){body, 200000});
    VV_CHECK_INT(vv_cache_insert(c, &s, 0), VV_OK);
    const struct vv_cache_object *old = find(c, "/r", "", &soft);
    s.head = VV_STR("newer");
    VV_CHECK_INT(vv_cache_refresh(c, old, &s, 0), VV_OK);
    const struct vv_cache_object *o = find(c, "/r", "", &soft);
    VV_CHECK(o != old);
    VV_CHECK_SLICE(vv_cache_head(o), "newer");
    VV_CHECK(vv_cache_body_at(o, 0).p == vv_cache_body_at(old, 0).p);
    struct vv_cache_stats st;
    vv_cache_stats(c, &st);
    VV_CHECK_INT(st.entries, 1);
    VV_CHECK_INT(st.replaced, 1);
    free(body);
    stop(c);
}

VV_TEST(variants_of_a_key_are_told_apart_and_bounded)
{
    struct vv_cache *c = start(VV_MIB);
    bool soft;
    char second[16];
    for (int i = 0; i < 70; i++) { /* the limit is 64 by default */
        snprintf(second, sizeof(second), "v%d", i);
        struct vv_cache_spec s = spec_of(c, "/v", vv_str_from(second));
        s.second = vv_str_from(second);
        VV_CHECK_INT(vv_cache_insert(c, &s, 0), VV_OK);
    }
    VV_CHECK_SLICE(vv_cache_body_at(find(c, "/v", "v69", &soft), 0), "v69");
    VV_CHECK(find(c, "/v", "nothing", &soft) == NULL);
    struct vv_cache_stats st;
    vv_cache_stats(c, &st);
    VV_CHECK_INT(st.entries, 64);
    VV_CHECK_INT(vv_cache_purge_key(c, VV_STR("/v"), false), 64);
    VV_CHECK(find(c, "/v", "v69", &soft) == NULL);
    stop(c);
}

VV_TEST(a_reference_outlives_removal_and_counts_until_dropped)
{
    struct vv_cache *c = start(VV_MIB);
    bool soft;
    struct vv_cache_spec s = spec_of(c, "/x", VV_STR("kept"));
    VV_CHECK_INT(vv_cache_insert(c, &s, 0), VV_OK);
    const struct vv_cache_object *o = find(c, "/x", "", &soft);
    vv_cache_ref(o);
    VV_CHECK_INT(vv_cache_purge_key(c, VV_STR("/x"), false), 1);
    vv_epoch_quiet(&epoch, reader);
    vv_epoch_reclaim(&epoch);
    VV_CHECK_SLICE(vv_cache_body_at(o, 0), "kept");
    struct vv_cache_stats before, after;
    vv_cache_stats(c, &before);
    vv_cache_unref(o);
    vv_cache_stats(c, &after);
    VV_CHECK(after.bytes < before.bytes);
    VV_CHECK_INT(after.live_bytes, before.live_bytes);
    stop(c);
}

VV_TEST(the_budget_holds_whatever_comes)
{
    struct vv_cache *c = start(2 * VV_MIB);
    struct vv_rng rng;
    char key[32];
    char *body = calloc(1, 600000);
    struct vv_cache_stats st;
    vv_rng_init(&rng, 42);
    for (int i = 0; i < 20000; i++) {
        const size_t n =
            vv_rng_below(&rng, 20) == 0 ? vv_rng_below(&rng, 600000) : vv_rng_below(&rng, 3000);
        snprintf(key, sizeof(key), "/%d", (int)vv_rng_below(&rng, 8000));
        struct vv_cache_spec s = spec_of(c, key, (struct vv_str){body, n});
        const enum vv_err err = vv_cache_insert(c, &s, 0);
        VV_CHECK(err == VV_OK || err == VV_ELIMIT || err == VV_ENOMEM);
        vv_cache_stats(c, &st);
        VV_CHECK(st.bytes <= st.budget_bytes);
        if (i % 4 == 0) {
            vv_epoch_quiet(&epoch, reader);
        }
    }
    VV_CHECK(st.entries > 100);
    VV_CHECK_INT(st.policy, VV_CACHE_GDSF); /* what AUTO means */
    VV_CHECK(st.refused_size > 0);          /* 512 KiB is a quarter of the budget */
    free(body);
    stop(c);
}

VV_TEST(a_budget_too_small_is_refused)
{
    const struct vv_cache_conf conf = {.budget_bytes = 1000};
    struct vv_cache *c = NULL;
    VV_CHECK_INT(vv_cache_new(&conf, &epoch, &c), VV_ERANGE);
}

static void put_many(struct vv_cache *c, size_t from, size_t to, size_t body_n)
{
    static char body[65536];
    for (size_t i = from; i < to; i++) {
        char key[32];
        snprintf(key, sizeof(key), "/n/%zu", i);
        struct vv_cache_spec s = spec_of(c, key, (struct vv_str){body, body_n});
        const enum vv_err err = vv_cache_insert(c, &s, 1);
        VV_CHECK(err == VV_OK || err == VV_ELIMIT);
        vv_epoch_quiet(&epoch, reader);
    }
}

static void resize(struct vv_cache *c, uint64_t budget, uint64_t entries,
                   enum vv_cache_policy policy)
{
    const struct vv_cache_conf conf = {
        .budget_bytes = budget, .entries_max = entries, .policy = policy};
    vv_epoch_quiet(&epoch, reader);
    VV_CHECK_INT(vv_cache_resize(c, &conf, 2), VV_OK);
    vv_epoch_quiet(&epoch, reader);
    vv_epoch_reclaim(&epoch);
    vv_cache_check(c); /* also: no more is used than the budget */
}

VV_TEST(a_cache_resized_holds_its_new_limits_and_keeps_what_fits)
{
    static const enum vv_cache_policy policies[] = {VV_CACHE_S3FIFO, VV_CACHE_GDSF,
                                                    VV_CACHE_GDSF_BYTES, VV_CACHE_AUTO};
    struct vv_cache *c = start(16 * VV_MIB);
    struct vv_cache_stats st;
    put_many(c, 0, 8000, 1000);
    vv_cache_stats(c, &st);
    VV_CHECK_INT(st.entries, 8000); /* 8000 objects of about 1.3 KB */
    for (size_t i = 0; i < VV_COUNT(policies); i++) {
        resize(c, 16 * VV_MIB, 0, policies[i]);
        vv_cache_stats(c, &st);
        VV_CHECK_INT(st.entries, 8000);
    }
    VV_CHECK_INT(st.policy, VV_CACHE_GDSF); /* what AUTO means */
    resize(c, 16 * VV_MIB, 5000, VV_CACHE_AUTO);
    vv_cache_stats(c, &st);
    VV_CHECK_INT(st.entries, 5000);
    resize(c, 4 * VV_MIB, 0, VV_CACHE_S3FIFO);
    vv_cache_stats(c, &st);
    VV_CHECK(st.entries > 2000 && st.entries < 4000); /* 4 MiB less tables over 1.3 KB */
    VV_CHECK_INT(st.budget_bytes, 4 * VV_MIB);
    resize(c, 128 * VV_KIB, 0, VV_CACHE_GDSF);
    vv_cache_stats(c, &st);
    VV_CHECK(st.entries > 5); /* what its tables took has come back */
    resize(c, 16 * VV_MIB, 0, VV_CACHE_GDSF);
    put_many(c, 8000, 16000, 1000);
    vv_cache_stats(c, &st);
    VV_CHECK(st.entries >= 8000);
    const struct vv_cache_conf small = {.budget_bytes = 1000};
    VV_CHECK_INT(vv_cache_resize(c, &small, 2), VV_ERANGE);
    stop(c);
}

struct seen {
    uint32_t count, hits;
    unsigned char at[20000];
};

static void see(void *ctx, const struct vv_cache_object *o, bool soft)
{
    struct seen *s = ctx;
    s->count++;
    s->hits += vv_cache_hits(o);
    s->at[atoi(vv_cache_key(o).p + 3)]++;
    (void)soft;
}

VV_TEST(a_walk_in_steps_misses_nothing_though_the_index_grows)
{
    static struct seen seen;
    struct vv_cache *c = start(64 * VV_MIB);
    struct vv_cache_cursor cursor = {0, 0, 0};
    size_t more = 2000;
    put_many(c, 0, 2000, 10);
    while (!vv_cache_walk(c, &cursor, 100, 1, see, &seen)) {
        put_many(c, more, more + 100, 10);
        more += 100;
    }
    for (int i = 0; i < 2000; i++) {
        VV_CHECK(seen.at[i] >= 1);
    }
    stop(c);
}

VV_TEST(an_object_says_how_often_it_was_found)
{
    static struct seen seen;
    struct vv_cache *c = start(VV_MIB);
    bool soft;
    put_many(c, 7, 8, 10);
    for (int i = 0; i < 100; i++) {
        VV_CHECK(find(c, "/n/7", "", &soft) != NULL);
    }
    vv_cache_each(c, 1, see, &seen);
    VV_CHECK_INT(seen.hits, 100);
    resize(c, VV_MIB, 0, VV_CACHE_GDSF); /* eviction takes the marks, the sum stays */
    vv_cache_each(c, 1, see, &seen);
    VV_CHECK_INT(seen.hits, 200);
    stop(c);
}
