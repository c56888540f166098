/* tests/unit/cache/test_threads.c - two readers, a writer and a purger at once; meant to be run
 * under the thread sanitizer too. What a reader finds is always whole. */
#include "base/rng.h"
#include "cache/store.h"
#include "vv_test.h"
#include <stdio.h>

#define KEYS 400
#define ROUNDS 20000

static struct vv_epoch epoch;
static struct vv_cache *cache;
static _Atomic int wrong;

static struct vv_str key_of(char *buf, size_t room, uint64_t i)
{
    return (struct vv_str){buf, (size_t)snprintf(buf, room, "/key/%d", (int)i)};
}

static void *read_all(void *arg)
{
    struct vv_epoch_reader *r;
    struct vv_rng rng;
    const struct vv_cache_object *kept = NULL;
    char buf[32];
    vv_rng_init(&rng, *(uint64_t *)arg);
    if (vv_epoch_join(&epoch, &r) != VV_OK) {
        wrong++;
        return NULL;
    }
    for (int i = 0; i < ROUNDS; i++) {
        const uint64_t k = vv_rng_below(&rng, KEYS);
        struct vv_cache_query q = {.key = key_of(buf, sizeof(buf), k)};
        bool soft;
        q.hash = vv_cache_hash(cache, q.key);
        const struct vv_cache_object *o = vv_cache_lookup(cache, r, &q, &soft);
        if (o != NULL) {
            const struct vv_str b = vv_cache_body_at(o, 0);
            wrong += b.n == 0 || b.p[0] != (char)k || b.p[b.n - 1] != (char)k;
        }
        if (o != NULL && i % 50 == 0) { /* keep one over many turns */
            vv_cache_ref(o);
            if (kept != NULL) {
                wrong += vv_cache_body_at(kept, 0).p[0] != vv_cache_body_at(kept, 1).p[0];
                vv_cache_unref(kept);
            }
            kept = o;
        }
        if (i % 7 == 0) {
            vv_epoch_quiet(&epoch, r);
        }
        if (i % 1000 == 0) {
            vv_epoch_offline(r);
            vv_epoch_online(&epoch, r);
        }
    }
    if (kept != NULL) {
        vv_cache_unref(kept);
    }
    vv_epoch_leave(&epoch, r);
    return NULL;
}

static void *write_all(void *arg)
{
    struct vv_rng rng;
    char buf[32], body[3000];
    const uint64_t tag[] = {vv_cache_tag(VV_STR("t"))};
    vv_rng_init(&rng, *(uint64_t *)arg);
    for (int i = 0; i < ROUNDS; i++) {
        const uint64_t k = vv_rng_below(&rng, KEYS);
        const size_t n = 2 + vv_rng_below(&rng, sizeof(body) - 2);
        struct vv_cache_spec s = {.key = key_of(buf, sizeof(buf), k),
                                  .body = {body, n},
                                  .tags = tag,
                                  .tags_n = k % 2 == 0,
                                  .keep_until_ns = UINT64_MAX,
                                  .born = vv_cache_born(cache)};
        s.hash = vv_cache_hash(cache, s.key);
        memset(body, (int)k, n);
        const enum vv_err err = vv_cache_insert(cache, &s, 0);
        wrong += err != VV_OK && err != VV_ELIMIT && err != VV_ENOMEM;
    }
    return NULL;
}

static void *purge_all(void *arg)
{
    (void)arg;
    for (int i = 0; i < ROUNDS / 20; i++) {
        if (vv_cache_purge_tag(cache, VV_STR("t"), i % 3 == 0) != VV_OK) {
            wrong++;
        }
        if (i % 50 == 0) {
            wrong += vv_cache_purge_pattern(cache, VV_STR("/key/1*"), false) != VV_OK;
        }
        vv_cache_purge_key(cache, VV_STR("/key/7"), i % 2 == 0);
        vv_cache_sweep(cache, 0, 300);
    }
    return NULL;
}

VV_TEST(readers_see_whole_objects_while_others_write_and_purge)
{
    /* small enough that eviction works all the time: 400 objects of 1.5 KiB want 600 KiB */
    const struct vv_cache_conf conf = {.budget_bytes = 400 * VV_KIB, .seed = 7};
    uint64_t seeds[] = {1, 2, 3};
    pthread_t t[4];
    vv_epoch_init(&epoch);
    VV_CHECK_INT(vv_cache_new(&conf, &epoch, &cache), VV_OK);
    VV_CHECK_INT(pthread_create(&t[0], NULL, read_all, &seeds[0]), 0);
    VV_CHECK_INT(pthread_create(&t[1], NULL, read_all, &seeds[1]), 0);
    VV_CHECK_INT(pthread_create(&t[2], NULL, write_all, &seeds[2]), 0);
    VV_CHECK_INT(pthread_create(&t[3], NULL, purge_all, NULL), 0);
    for (int i = 0; i < 4; i++) {
        pthread_join(t[i], NULL);
    }
    VV_CHECK_INT(wrong, 0);
    vv_epoch_reclaim(&epoch);
    vv_cache_check(cache);
    struct vv_cache_stats st;
    vv_cache_stats(cache, &st);
    VV_CHECK_INT(st.bytes, st.live_bytes); /* nothing is held when nobody looks */
    vv_cache_free(cache);
    vv_epoch_fini(&epoch);
}
