/* tests/unit/cache/test_pool.c - blocks keep what is in them, holes are joined and given back. */
#include "base/rng.h"
#include "cache/pool.h"
#include "vv_test.h"

#define BLOCKS 4000
#define BUDGET (16 * VV_MIB)

static void *blocks[BLOCKS];
static size_t sizes[BLOCKS];

static void take(struct vv_pool *p, size_t i, size_t bytes)
{
    blocks[i] = vv_pool_take(p, bytes);
    sizes[i] = bytes;
    VV_CHECK(blocks[i] != NULL && ((uintptr_t)blocks[i] & 15) == 0);
    VV_CHECK(vv_pool_bytes(blocks[i]) >= bytes && vv_pool_bytes(blocks[i]) <= vv_pool_need(bytes));
    memset(blocks[i], (int)(i % 251), bytes);
}

static void give(struct vv_pool *p, size_t i)
{
    const unsigned char *b = blocks[i];
    for (size_t k = 0; k<sizes[i]; k += sizes[i]> 256 ? sizes[i] / 64 : 1) {
        VV_CHECK_INT(b[k], i % 251);
    }
    vv_pool_give(p, blocks[i]);
    blocks[i] = NULL;
}

static size_t size_from(struct vv_rng *rng)
{
    const uint64_t r = vv_rng_u64(rng);
    return r % 4 == 0 ? VV_POOL_CHUNK : (size_t)1 << (r >> 8) % 17 | (size_t)(r >> 16) % 100;
}

VV_TEST(blocks_of_all_sizes_come_and_go_without_touching_each_other)
{
    struct vv_pool p;
    struct vv_rng rng;
    uint64_t bytes = 0;
    vv_pool_init(&p, BUDGET);
    vv_rng_init(&rng, 3);
    for (int i = 0; i < 40000; i++) {
        const size_t at = (size_t)(vv_rng_u64(&rng) % BLOCKS);
        if (blocks[at] != NULL) {
            bytes -= vv_pool_bytes(blocks[at]);
            give(&p, at);
        } else if (bytes < BUDGET - VV_POOL_BLOCK_MAX) {
            take(&p, at, size_from(&rng));
            bytes += vv_pool_bytes(blocks[at]);
        }
        if (i % 1000 == 0) {
            vv_pool_check(&p);
        }
    }
    for (size_t i = 0; i < BLOCKS; i++) {
        if (blocks[i] != NULL) {
            give(&p, i);
        }
    }
    vv_pool_give(&p, NULL);
    vv_pool_check(&p);
    vv_pool_fini(&p); /* asserts that every region was whole again */
}

VV_TEST(a_change_of_sizes_does_not_outgrow_the_limit)
{
    struct vv_pool p;
    vv_pool_init(&p, BUDGET);
    /* 15 MiB of chunks, of which every other goes; then as much again in blocks of 1,000 bytes:
     * they do not fit between the chunks, so the holes have to give their pages back. */
    for (size_t i = 0; i < 240; i++) {
        take(&p, i, VV_POOL_CHUNK);
    }
    for (size_t i = 0; i < 240; i += 2) {
        give(&p, i);
    }
    for (size_t i = 240; i < BLOCKS; i++) {
        take(&p, i, 1000);
    }
    vv_pool_check(&p);
    VV_CHECK(atomic_load(&p.resident) <= BUDGET + BUDGET / 10);
    for (size_t i = 0; i < 240; i += 2) {
        take(&p, i, VV_POOL_CHUNK); /* what was given back can be used again */
    }
    for (size_t i = 0; i < BLOCKS; i++) {
        give(&p, i);
    }
    vv_pool_fini(&p);
}
