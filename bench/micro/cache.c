/* bench/micro/cache.c - ns per hit at one and two threads: Zipf(1.0) over 100,000 objects of 1 KiB.
 *
 * The best of several rounds is shown. Run it alone:
 * `meson compile -C build bench_cache && build/src/cache/bench_cache`. */
#include "base/rng.h"
#include "cache/store.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define OBJECTS 100000
#define DRAWS (1 << 20)
#define ROUNDS 5
#define TURN 16 /* lookups between two quiescent states: requests of one loop turn */

static struct vv_epoch epoch;
static struct vv_cache *cache;
static uint32_t draws[DRAWS];
static char keys[OBJECTS][24];
static uint64_t hashes[OBJECTS];

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void prepare(void)
{
    static double sum[OBJECTS];
    static char body[1024];
    struct vv_rng rng;
    const struct vv_cache_conf conf = {.budget_bytes = 256 * VV_MIB, .seed = 3};
    vv_epoch_init(&epoch);
    VV_ASSERT(vv_cache_new(&conf, &epoch, &cache) == VV_OK);
    for (size_t i = 0; i < OBJECTS; i++) {
        sum[i] = (i > 0 ? sum[i - 1] : 0) + 1.0 / (double)(i + 1);
        snprintf(keys[i], sizeof(keys[i]), "http/host/item/%zu", i);
        const struct vv_str key = vv_str_from(keys[i]);
        hashes[i] = vv_cache_hash(cache, key);
        const struct vv_cache_spec s = {.key = key,
                                        .hash = hashes[i],
                                        .body = {body, sizeof(body)},
                                        .keep_until_ns = UINT64_MAX,
                                        .born = 1};
        VV_ASSERT(vv_cache_insert(cache, &s, 1) == VV_OK);
    }
    vv_rng_init(&rng, 5);
    for (size_t i = 0; i < DRAWS; i++) {
        const double x = vv_rng_double(&rng) * sum[OBJECTS - 1];
        size_t lo = 0, hi = OBJECTS - 1;
        while (lo < hi) {
            const size_t mid = (lo + hi) / 2;
            if (sum[mid] < x) {
                lo = mid + 1;
            } else {
                hi = mid;
            }
        }
        draws[i] = (uint32_t)lo;
    }
}

static void *run(void *arg)
{
    struct vv_epoch_reader *r;
    size_t found = 0;
    const size_t offset = *(size_t *)arg;
    VV_ASSERT(vv_epoch_join(&epoch, &r) == VV_OK);
    for (size_t i = 0; i < DRAWS; i++) {
        const uint32_t d = draws[(i + offset) % DRAWS];
        const struct vv_cache_query q = {.key = vv_str_from(keys[d]), .hash = hashes[d]};
        bool soft;
        const struct vv_cache_object *o = vv_cache_lookup(cache, r, &q, &soft);
        found += o != NULL && vv_cache_body_at(o, 0).p[0] == 0;
        if (i % TURN == 0) {
            vv_epoch_quiet(&epoch, r);
        }
    }
    VV_ASSERT(found == DRAWS);
    vv_epoch_leave(&epoch, r);
    return NULL;
}

static double measure(size_t threads)
{
    double best = 1e18;
    for (int round = 0; round < ROUNDS; round++) {
        pthread_t t[8];
        size_t offset[8];
        const double start = now();
        for (size_t i = 0; i < threads; i++) {
            offset[i] = i * (DRAWS / 8);
            VV_ASSERT(pthread_create(&t[i], NULL, run, &offset[i]) == 0);
        }
        for (size_t i = 0; i < threads; i++) {
            pthread_join(t[i], NULL);
        }
        const double ns = (now() - start) / DRAWS;
        best = ns < best ? ns : best;
    }
    return best;
}

int main(void)
{
    prepare();
    const double one = measure(1), two = measure(2);
    printf("1 thread: %.0f ns/hit, 2 threads: %.0f ns/hit each, scaling %.2f\n", one, two,
           2 * one / two);
    vv_cache_free(cache);
    vv_epoch_fini(&epoch);
    return 0;
}
