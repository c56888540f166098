/* bench/micro/cache.c - what the memory level costs. Run it alone:
 * `meson compile -C build bench_cache && build/src/cache/bench_cache [hits|purge|flood [SECONDS]]`.
 *
 * hits:  ns per hit at one and two threads: Zipf(1.0) over 100,000 objects of 1 KiB; the best of
 *        several rounds is shown.
 * purge: a tag on 100,000 of 1,000,000 objects is purged and swept while another thread looks up:
 *        the time of the call, and the lookups' percentiles before, during and after.
 * flood: two threads insert and look up bodies of 100 B to 4 MiB, log-uniform, against a budget of
 *        256 MiB; resident memory every second, to be held against budget + 15 % + idle. */
#include "base/rng.h"
#include "cache/store.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

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

static void prepare_hits(void)
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

static int hits(void)
{
    prepare_hits();
    const double one = measure(1), two = measure(2);
    printf("1 thread: %.0f ns/hit, 2 threads: %.0f ns/hit each, scaling %.2f\n", one, two,
           2 * one / two);
    vv_cache_free(cache);
    vv_epoch_fini(&epoch);
    return 0;
}

/* ---- purge ---- */

#define MANY 1000000
#define TAGGED_EVERY 10
#define SAMPLES 4000000

static _Atomic bool stopping;
static uint32_t *samples; /* ns of each batch of lookups, per lookup */
static _Atomic size_t samples_n;

static size_t key_of(char out[32], size_t i)
{
    return (size_t)snprintf(out, 32, "http/host/many/%zu", i);
}

static void *look_up(void *arg)
{
    struct vv_epoch_reader *r;
    struct vv_rng rng;
    (void)arg;
    vv_rng_init(&rng, 9);
    VV_ASSERT(vv_epoch_join(&epoch, &r) == VV_OK);
    while (!atomic_load_explicit(&stopping, memory_order_relaxed)) {
        char key[32];
        size_t i = (size_t)(vv_rng_double(&rng) * MANY);
        i += i % TAGGED_EVERY == 0; /* one that stays */
        const struct vv_str k = {key, key_of(key, i % MANY)};
        const struct vv_cache_query q = {.key = k, .hash = vv_cache_hash(cache, k)};
        bool soft;
        const double start = now();
        (void)vv_cache_lookup(cache, r, &q, &soft);
        const double ns = now() - start;
        const size_t n = atomic_load_explicit(&samples_n, memory_order_relaxed);
        if (n < SAMPLES) {
            samples[n] = (uint32_t)(ns < 4e9 ? ns : 4e9);
            atomic_store_explicit(&samples_n, n + 1, memory_order_release);
        }
        vv_epoch_quiet(&epoch, r);
    }
    vv_epoch_leave(&epoch, r);
    return NULL;
}

static int by_value(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static size_t percentiles(const char *name, size_t from)
{
    const size_t to = atomic_load_explicit(&samples_n, memory_order_acquire), n = to - from;
    uint32_t *sorted = malloc((n + 1) * sizeof(*sorted));
    VV_ASSERT(sorted != NULL);
    memcpy(sorted, samples + from, n * sizeof(*sorted));
    qsort(sorted, n, sizeof(*sorted), by_value);
    if (n > 0) {
        printf("%-16s %8zu lookups, ns: p50 %u p99 %u p99.9 %u max %u\n", name, n, sorted[n / 2],
               sorted[n * 99 / 100], sorted[n * 999 / 1000], sorted[n - 1]);
    }
    free(sorted);
    return to;
}

static void wait_ms(unsigned ms)
{
    const struct timespec t = {ms / 1000, (long)(ms % 1000) * 1000000};
    nanosleep(&t, NULL);
}

static int purge(void)
{
    const struct vv_cache_conf conf = {.budget_bytes = 2048 * VV_MIB, .seed = 3};
    const uint64_t tag = vv_cache_tag(VV_STR("t"));
    static char body[200];
    pthread_t t;
    struct vv_cache_stats st;
    vv_epoch_init(&epoch);
    VV_ASSERT(vv_cache_new(&conf, &epoch, &cache) == VV_OK);
    for (size_t i = 0; i < MANY; i++) {
        char key[32];
        const struct vv_str k = {key, key_of(key, i)};
        const struct vv_cache_spec s = {.key = k,
                                        .hash = vv_cache_hash(cache, k),
                                        .body = {body, sizeof(body)},
                                        .tags = &tag,
                                        .tags_n = i % TAGGED_EVERY == 0,
                                        .keep_until_ns = UINT64_MAX,
                                        .born = 1};
        VV_ASSERT(vv_cache_insert(cache, &s, 1) == VV_OK);
    }
    samples = calloc(SAMPLES, sizeof(*samples));
    VV_ASSERT(samples != NULL && pthread_create(&t, NULL, look_up, NULL) == 0);
    wait_ms(500);
    const size_t before = percentiles("before", 0);
    const double start = now();
    VV_ASSERT(vv_cache_purge_tag(cache, VV_STR("t"), false) == VV_OK);
    const double took = now() - start;
    double longest = 0, swept = now();
    for (bool ended = false; !ended;) { /* as the control thread does: small steps */
        const double step = now();
        ended = vv_cache_sweep(cache, 1, 1024);
        longest = now() - step > longest ? now() - step : longest;
    }
    swept = now() - swept;
    const size_t during = percentiles("purge and sweep", before);
    wait_ms(500);
    (void)percentiles("after", during);
    atomic_store(&stopping, true);
    pthread_join(t, NULL);
    vv_cache_stats(cache, &st);
    printf("purge of the tag: %.1f us; sweep: %.0f ms, longest step %.0f us, removed %lu of %u\n",
           took / 1e3, swept / 1e6, longest / 1e3, st.removed_purged, MANY);
    free(samples);
    vv_cache_free(cache);
    vv_epoch_fini(&epoch);
    return 0;
}

/* ---- flood ---- */

#define FLOOD_KEYS 200000
#define FLOOD_LOG_MIN 6.643856 /* log2 of 100 B */
#define FLOOD_LOG_MAX 22.0     /* of 4 MiB */

static double flood_size(size_t i)
{
    struct vv_rng rng;
    vv_rng_init(&rng, i + 1);
    return exp2(FLOOD_LOG_MIN + (FLOOD_LOG_MAX - FLOOD_LOG_MIN) * vv_rng_double(&rng));
}

static void *flood_thread(void *arg)
{
    struct vv_epoch_reader *r;
    struct vv_rng rng;
    char *body = malloc(4 * VV_MIB);
    VV_ASSERT(body != NULL && vv_epoch_join(&epoch, &r) == VV_OK);
    memset(body, 'x', 4 * VV_MIB);
    vv_rng_init(&rng, *(size_t *)arg + 77);
    while (!atomic_load_explicit(&stopping, memory_order_relaxed)) {
        char key[32];
        const double u = vv_rng_double(&rng);
        const size_t i = (size_t)(u * u * FLOOD_KEYS); /* some are hotter than others */
        const struct vv_str k = {key, key_of(key, i)};
        const struct vv_cache_query q = {.key = k, .hash = vv_cache_hash(cache, k)};
        bool soft;
        if (vv_cache_lookup(cache, r, &q, &soft) == NULL) {
            const struct vv_cache_spec s = {.key = k,
                                            .hash = q.hash,
                                            .head = {body, 200},
                                            .body = {body, (size_t)flood_size(i)},
                                            .keep_until_ns = UINT64_MAX,
                                            .born = 1};
            vv_epoch_quiet(&epoch, r);
            const enum vv_err err = vv_cache_insert(cache, &s, 1);
            atomic_fetch_add(&samples_n, err == VV_OK);
        }
        vv_epoch_quiet(&epoch, r);
    }
    vv_epoch_leave(&epoch, r);
    free(body);
    return NULL;
}

static double resident_mib(void)
{
    unsigned long pages = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f != NULL) {
        VV_ASSERT(fscanf(f, "%lu %lu", &pages, &resident) == 2);
        fclose(f);
    }
    return (double)resident * (double)sysconf(_SC_PAGESIZE) / VV_MIB;
}

static int flood(unsigned seconds, enum vv_cache_policy policy)
{
    const struct vv_cache_conf conf = {.budget_bytes = 256 * VV_MIB, .seed = 3, .policy = policy};
    pthread_t t[2];
    size_t seed[2] = {0, 1};
    double most = 0, middle = 0;
    const double idle = resident_mib();
    vv_epoch_init(&epoch);
    VV_ASSERT(vv_cache_new(&conf, &epoch, &cache) == VV_OK);
    for (size_t i = 0; i < VV_COUNT(t); i++) {
        VV_ASSERT(pthread_create(&t[i], NULL, flood_thread, &seed[i]) == 0);
    }
    for (unsigned i = 0; i < seconds; i++) {
        struct vv_cache_stats st;
        wait_ms(1000);
        vv_cache_stats(cache, &st);
        const double rss = resident_mib() - 2 * 4; /* the threads' own bodies */
        most = rss > most ? rss : most;
        middle = i < seconds / 2 && rss > middle ? rss : middle;
        printf("%3u s: resident %.1f MiB, counted %.1f, entries %lu, inserted %zu, hits %.3f\n",
               i + 1, rss, (double)st.bytes / VV_MIB, st.entries, atomic_load(&samples_n),
               (double)st.hits / (double)(st.hits + st.misses));
        fflush(stdout);
    }
    atomic_store(&stopping, true);
    for (size_t i = 0; i < VV_COUNT(t); i++) {
        pthread_join(t[i], NULL);
    }
    printf("idle %.1f MiB, most %.1f, allowed %.1f, grown in the second half by %.1f: %s\n", idle,
           most, idle + 256 * 1.15, most - middle, most <= idle + 256 * 1.15 ? "held" : "BROKEN");
    vv_cache_free(cache);
    vv_epoch_fini(&epoch);
    return 0;
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "hits";
    if (strcmp(mode, "purge") == 0) {
        return purge();
    }
    if (strcmp(mode, "flood") == 0) {
        return flood(argc > 2 ? (unsigned)atoi(argv[2]) : 60,
                     argc > 3 ? (enum vv_cache_policy)atoi(argv[3]) : VV_CACHE_AUTO);
    }
    return hits();
}
