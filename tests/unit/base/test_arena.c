/* tests/unit/base/test_arena.c - alignment, blocks, limits, what a reset keeps. */
#include "base/arena.h"
#include "vv_test.h"

VV_TEST(arena_uses_the_callers_memory_first_and_aligns_it)
{
    VV_ALIGNED(16) char first[256];
    struct vv_arena a;
    vv_arena_init(&a, first + 1, sizeof(first) - 1, 1024, 0);
    char *one = vv_arena_alloc(&a, 1), *two = vv_arena_alloc(&a, 1);
    VV_CHECK(one == first + 16); /* the next multiple of 16 behind first + 1 */
    VV_CHECK(two == first + 32);
    VV_CHECK(a.head == NULL); /* nothing came from the heap */
    vv_arena_fini(&a);
}

VV_TEST(arena_refuses_what_would_pass_its_limit_and_works_on)
{
    struct vv_arena a;
    vv_arena_init(&a, NULL, 0, 64, 160);
    VV_CHECK(vv_arena_alloc(&a, 64) != NULL);
    VV_CHECK(vv_arena_alloc(&a, 97) == NULL); /* 64 + 112 > 160 */
    VV_CHECK(vv_arena_alloc(&a, 96) != NULL); /* 64 + 96 = 160 */
    VV_CHECK(vv_arena_alloc(&a, 1) == NULL);
    VV_CHECK(vv_arena_alloc(&a, SIZE_MAX) == NULL);
    vv_arena_reset(&a);
    VV_CHECK(vv_arena_alloc(&a, 160) != NULL);
    vv_arena_fini(&a);
}

VV_TEST(arena_gives_a_big_piece_its_own_block_and_keeps_the_room_left)
{
    struct vv_arena a;
    vv_arena_init(&a, NULL, 0, 128, 0);
    char *small = vv_arena_alloc(&a, 16);
    memset(vv_arena_zalloc(&a, 4096), 'x', 4096);
    char *next = vv_arena_alloc(&a, 16);
    VV_CHECK(next == small + 16); /* still in the first block */
    vv_arena_fini(&a);
}

VV_TEST(arena_keeps_one_plain_block_over_a_reset)
{
    struct vv_arena a;
    vv_arena_init(&a, NULL, 0, 128, 0);
    VV_CHECK(vv_arena_alloc(&a, 100) != NULL);
    VV_CHECK(vv_arena_alloc(&a, 100) != NULL); /* a second block */
    VV_CHECK(vv_arena_alloc(&a, 1000) != NULL);
    vv_arena_reset(&a);
    VV_CHECK(a.head != NULL);
    VV_CHECK_INT(a.used_bytes, 0);
    VV_CHECK_INT(a.end - a.at, 128);
    vv_arena_fini(&a);
    VV_CHECK(a.head == NULL);
}

VV_TEST(arena_copies_texts_with_a_nul_and_formats)
{
    struct vv_arena a;
    vv_arena_init(&a, NULL, 0, 64, 0);
    VV_CHECK_STR(vv_arena_dup(&a, VV_STR("hello")), "hello");
    VV_CHECK_STR(vv_arena_dup(&a, (struct vv_str){NULL, 0}), "");
    VV_CHECK_SLICE(vv_arena_str(&a, VV_STR("slice")), "slice");
    VV_CHECK_SLICE(vv_arena_fmt(&a, "%s=%d", "n", 42), "n=42");
    /* Longer than what is left of the block and than a block. */
    const struct vv_str big = vv_arena_fmt(&a, "%0200d", 7);
    VV_CHECK_INT(big.n, 200);
    VV_CHECK(big.p[0] == '0' && big.p[199] == '7' && big.p[200] == '\0');
    vv_arena_fini(&a);
}

VV_TEST(arena_zeroes_only_when_asked_also_used_memory)
{
    char first[64];
    struct vv_arena a;
    memset(first, 0xAA, sizeof(first));
    vv_arena_init(&a, first, sizeof(first), 64, 0);
    const char *z = vv_arena_zalloc(&a, 16);
    for (int i = 0; i < 16; i++) {
        VV_CHECK_INT(z[i], 0);
    }
    vv_arena_fini(&a);
}
