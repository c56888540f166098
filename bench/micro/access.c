/* bench/micro/access.c - what it costs to know a caller.
 *
 * Build:  ninja -C build src/gateway/bench_access
 * Prints: nanoseconds of CPU for one key of 10,000 (SHA-256 with a kept context, the look into the table
 *         behind its hazard pointer, the constant-time comparison), and for a signed token of each kind:
 *         the first time, and when it is remembered by its hash. Tokens: tests/data/access/tokens.txt,
 *         which is to be run from the top of the repository. */
#include "gateway/access_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define KEYS 10000
#define ROUNDS 1000000
#define TOKENS 2000
#define NOW_S INT64_C(1800000000) /* of tests/data/access/make.py */

static uint64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * VV_SEC + (uint64_t)t.tv_nsec;
}

static char *read_whole(const char *path, size_t *ret_n)
{
    char *text = calloc(1, 65536);
    FILE *f = fopen(path, "r");
    if (f == NULL || text == NULL) {
        exit(1);
    }
    *ret_n = fread(text, 1, 65535, f);
    (void)fclose(f);
    return text;
}

static struct vv_keys *make_keys(char name[KEYS][32])
{
    struct vv_sb text = VV_SB_INIT;
    struct vv_keys *keys = NULL;
    struct vv_keys_error e;
    for (int i = 0; i < KEYS; i++) {
        uint8_t hash[VV_KEY_HASH];
        (void)snprintf(name[i], 32, "vk_key-of-the-bench-%06d", i);
        VV_ASSERT(vv_key_hash(vv_str_from(name[i]), hash) == VV_OK);
        for (size_t k = 0; k < sizeof hash; k++) {
            vv_sb_addf(&text, "%02x", hash[k]);
        }
        vv_sb_addf(&text, " - k%d 2026-01-01T00:00:00Z\n", i);
    }
    VV_ASSERT(vv_keys_parse(vv_sb_str(&text), &keys, &e) == VV_OK);
    vv_sb_fini(&text);
    return keys;
}

static void measure_keys(struct vv_access *a, struct vv_seat *s)
{
    static char name[KEYS][32];
    struct vv_part part = {.refs = 1, .value = make_keys(name)};
    struct vv_tables tables = {.generation = 1, .part = {&part}};
    uint64_t found = 0;
    atomic_store(&a->now, &tables);
    const uint64_t began = cpu_ns();
    for (size_t i = 0; i < ROUNDS; i++) {
        uint8_t hash[VV_KEY_HASH];
        const struct vv_tables *t = vv_access_hold(a, s);
        VV_ASSERT(vv_access_hash(a, s, vv_str_from(name[i * 7919 % KEYS]), hash));
        found += vv_keys_find(vv_tables_get(t, PART_KEYS), hash) != NULL;
        vv_access_let_go(s);
    }
    (void)printf("key of %d: %.0f ns (%llu found)\n", KEYS, (double)(cpu_ns() - began) / ROUNDS,
                 (unsigned long long)found);
    atomic_store(&a->now, NULL);
    vv_keys_free(part.value);
}

static void measure_token(struct vv_access *a, struct vv_seat *s, const struct vv_jwks *keys,
                          struct vv_str name, struct vv_str token)
{
    const struct vv_str audience[] = {VV_STR("api")};
    const struct vv_jwt_rules rules = {.algorithms = VV_JWT_RS256 | VV_JWT_ES256 | VV_JWT_EDDSA,
                                       .audience = audience,
                                       .audience_count = 1,
                                       .skew_s = 60,
                                       .subject = VV_STR("sub")};
    struct vv_jwt_claims claims;
    struct vv_seen entry = {.tables = 1, .runtime = 1, .until_s = INT64_MAX};
    enum vv_jwt_verdict why;
    uint64_t began = cpu_ns();
    for (int i = 0; i < TOKENS; i++) {
        VV_ASSERT(vv_jwt_verify(token, keys, &rules, NOW_S, &claims, &why) == VV_OK);
    }
    const double first = (double)(cpu_ns() - began) / TOKENS;
    VV_ASSERT(vv_access_hash(a, s, token, entry.hash));
    vv_access_remember(s, &entry);
    began = cpu_ns();
    for (int i = 0; i < 100 * TOKENS; i++) {
        VV_ASSERT(vv_access_hash(a, s, token, entry.hash));
        VV_ASSERT(vv_access_recall(s, entry.hash, 1, 1, NOW_S) != NULL);
    }
    (void)printf(VV_STR_FMT ": %.0f ns, remembered %.0f ns\n", VV_STR_ARG(name), first,
                 (double)(cpu_ns() - began) / (100.0 * TOKENS));
}

int main(void)
{
    struct vv_metrics *metrics = NULL;
    struct vv_access *a = NULL;
    struct vv_worker *w = calloc(1, sizeof *w);
    struct vv_jwks *keys = NULL;
    char why[256];
    size_t n = 0;
    if (w == NULL || vv_metrics_new(&metrics) != VV_OK || vv_access_new(metrics, &a) != VV_OK) {
        return 1;
    }
    struct vv_seat *s = vv_access_seat(a, w);
    measure_keys(a, s);
    char *text = read_whole("tests/data/access/jwks.json", &n);
    VV_ASSERT(vv_jwks_parse((struct vv_str){text, n}, &keys, why) == VV_OK);
    free(text);
    text = read_whole("tests/data/access/tokens.txt", &n);
    struct vv_str rest = {text, n};
    for (int i = 0; i < 3; i++) { /* one of each kind stands first */
        struct vv_str line = vv_str_cut(&rest, '\n');
        const struct vv_str name = vv_str_cut(&line, ' ');
        (void)vv_str_cut(&line, ' ');
        measure_token(a, s, keys, name, line);
    }
    free(text);
    vv_jwks_free(keys);
    vv_access_free(a);
    vv_metrics_free(metrics);
    free(w);
    return 0;
}
