/* tests/unit/cache/test_evict.c - who stays when room is short: what is asked for again. */
#include "cache/fill.h"
#include "vv_test.h"
#include <stdio.h>
#include <stdlib.h>

#define HOT_BYTES 300000
#define PIECE 16384

static struct vv_epoch epoch;
static struct vv_epoch_reader *reader;
static char zeros[HOT_BYTES];

static struct vv_cache *start(struct vv_cache_conf conf)
{
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

static struct vv_str key_of(const char *prefix, int i)
{
    static char key[32];
    return (struct vv_str){key, (size_t)snprintf(key, sizeof key, "/%s%d", prefix, i)};
}

static bool ask(struct vv_cache *c, struct vv_str key)
{
    bool soft;
    const struct vv_cache_query q = {.key = key, .hash = vv_cache_hash(c, key)};
    const bool hit = vv_cache_lookup(c, reader, &q, &soft) != NULL;
    vv_epoch_quiet(&epoch, reader);
    return hit;
}

static void insert(struct vv_cache *c, struct vv_str key, size_t n)
{
    const struct vv_cache_spec s = {.key = key,
                                    .hash = vv_cache_hash(c, key),
                                    .body = {zeros, n},
                                    .keep_until_ns = UINT64_MAX,
                                    .born = vv_cache_born(c)};
    VV_CHECK_INT(vv_cache_insert(c, &s, 1), VV_OK);
}

/* As from an origin that does not say how much will come; each piece is a turn of the loop. */
static enum vv_err fill(struct vv_cache *c, struct vv_str key, size_t n)
{
    static const struct vv_cache_spec spec = {.keep_until_ns = UINT64_MAX};
    enum vv_cache_role role;
    struct vv_cache_fill *f = NULL;
    VV_CHECK_INT(vv_cache_fill_begin(c, key, 1, &role, &f), VV_OK);
    VV_CHECK_INT(vv_cache_fill_head(f, "", 0, VV_STR("head"), 0, 1), VV_OK);
    for (size_t at = 0; at < n; at += PIECE) {
        const struct vv_str piece = {zeros, n - at < PIECE ? n - at : PIECE};
        VV_CHECK_INT(vv_cache_fill_append(f, piece, 1), VV_OK);
        vv_epoch_quiet(&epoch, reader);
    }
    const enum vv_err err = vv_cache_fill_finish(f, &spec, 1);
    vv_cache_fill_unref(f);
    vv_epoch_quiet(&epoch, reader);
    vv_epoch_reclaim(&epoch);
    return err;
}

/* Of 16 MiB 16.5 MB are given out, less 0.2 MB for tables: 50 x 300 kB leave 1.3 MB. */
static struct vv_cache *with_hot_objects(enum vv_cache_policy policy, int count, int hits)
{
    struct vv_cache *c =
        start((struct vv_cache_conf){.budget_bytes = 16 * VV_MIB, .policy = policy, .seed = 7});
    for (int i = 0; i < count; i++) {
        insert(c, key_of("hot", i), HOT_BYTES);
        for (int k = 0; k < hits; k++) {
            VV_CHECK(ask(c, key_of("hot", i)));
        }
    }
    return c;
}

/* Each is asked for once in 45 steps of a scan that brings 22.5 MB meanwhile, more than there is.
 * They are 13.5 MB, which leaves the small queue of S3-FIFO its tenth. */
VV_TEST(a_scan_of_large_objects_in_pieces_pushes_out_nothing_that_is_hit)
{
    static const enum vv_cache_policy policies[] = {VV_CACHE_GDSF, VV_CACHE_S3FIFO};
    for (size_t p = 0; p < VV_COUNT(policies); p++) {
        struct vv_cache *c = with_hot_objects(policies[p], 45, 3);
        int lost = 0;
        for (int i = 0; i < 4 * 45; i++) {
            const enum vv_err err = fill(c, key_of("scan", i), 500000);
            VV_CHECK(err == VV_OK || err == VV_ELIMIT);
            lost += !ask(c, key_of("hot", i % 45));
        }
        VV_CHECK_INT(lost, 0);
        stop(c);
    }
}

/* Nothing was hit, so the priority of what is there is 1 / 300 kB. 800 kB are worth 3 / 800 kB when
 * they come for the third time, which is more; 2 / 800 kB is less. */
VV_TEST(a_large_fill_is_weighed_as_a_whole_and_gets_in_when_asked_for_often_enough)
{
    struct vv_cache *c = with_hot_objects(VV_CACHE_GDSF, 50, 0);
    VV_CHECK_INT(fill(c, VV_STR("/large"), 800000), VV_ELIMIT);
    VV_CHECK_INT(fill(c, VV_STR("/large"), 800000), VV_ELIMIT);
    struct vv_cache_stats st;
    vv_cache_stats(c, &st);
    VV_CHECK_INT(st.entries, 50);
    VV_CHECK_INT(fill(c, VV_STR("/large"), 800000), VV_OK);
    VV_CHECK(ask(c, VV_STR("/large")));
    stop(c);
}

/* The ghosts of a cache of five are not only as many as its main queue holds, which is none at
 * first: an object that comes every eighth time misses twice and is then in the main queue. */
VV_TEST(a_cache_of_few_objects_still_learns_what_comes_again)
{
    struct vv_cache *c = start((struct vv_cache_conf){
        .budget_bytes = VV_MIB, .entries_max = 5, .policy = VV_CACHE_S3FIFO, .seed = 7});
    int misses = 0;
    for (int i = 0; i < 800; i++) {
        const bool again = i % 8 == 0;
        const struct vv_str key = again ? VV_STR("/again") : key_of("once", i);
        if (!ask(c, key)) {
            misses += again;
            insert(c, key, 100);
        }
    }
    VV_CHECK_INT(misses, 2);
    stop(c);
}
