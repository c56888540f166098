/* tests/fuzz/fuzz_snapshot.c - whatever is in the file, loading it leaves a sound cache whose
 * objects can be read to the end. */
#include "cache/snapshot.h"
#include <stdlib.h>

static void read_whole(void *ctx, const struct vv_cache_object *o, bool soft)
{
    uint64_t at = 0;
    struct vv_str piece;
    (void)ctx;
    (void)soft;
    while ((piece = vv_cache_body_at(o, at)).n > 0) {
        at += piece.n;
    }
    VV_ASSERT(at == o->body_n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Repairs the checksums that chance never gets right, so that what is behind them is reached: the
 * file's head is 24 bytes, a record's 64: magic, sum, then the length of the payload. */
static void repair(char *p, size_t n)
{
    uint64_t seed, payload_n;
    size_t at = 24;
    while (n >= at + 64) {
        memcpy(&seed, p, sizeof seed);
        memcpy(&payload_n, p + at + 16, sizeof payload_n);
        if (payload_n > n - at - 64) {
            return;
        }
        const uint64_t fixed = vv_str_hash((struct vv_str){p + at + 16, 48}, seed);
        const uint64_t sum = vv_str_hash((struct vv_str){p + at + 64, payload_n}, fixed);
        memcpy(p + at + 8, &sum, sizeof sum);
        at += 64 + payload_n;
    }
}

static void load(const char *p, size_t size)
{
    static struct vv_epoch epoch;
    const struct vv_cache_conf conf = {.budget_bytes = 256 * VV_KIB, .seed = 1};
    const struct vv_cache_clock clock = {1000, 2000};
    struct vv_cache_loaded loaded;
    struct vv_cache *c = NULL;
    vv_epoch_init(&epoch);
    VV_ASSERT(vv_cache_new(&conf, &epoch, &c) == VV_OK);
    const enum vv_err err = vv_cache_load_bytes(c, (struct vv_str){p, size}, clock, &loaded);
    VV_ASSERT(err == VV_OK || err == VV_ESYNTAX);
    vv_cache_check(c);
    vv_cache_each(c, clock.now_ns, read_whole, NULL);
    vv_cache_free(c);
    vv_epoch_fini(&epoch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = malloc(size + 1);
    VV_ASSERT(copy != NULL);
    load((const char *)data, size);
    memcpy(copy, data, size);
    repair(copy, size);
    load(copy, size);
    free(copy);
    return 0;
}
