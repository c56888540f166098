/* tests/unit/wire/test_encoder.c - what the encoders make decodes to what they were given, by the
 * decoders of zlib, brotli and zstd, however input and room for output were cut. */
#include "base/rng.h"
#include "vv_test.h"
#include "wire/encoder.h"
#include <brotli/decode.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

#define PLAIN_MAX (300 * 1024)
#define CODED_MAX (2 * PLAIN_MAX)
static char plain[PLAIN_MAX], coded[CODED_MAX], back[PLAIN_MAX + 1];
static const enum vv_encoding kinds[] = {VV_ENCODING_GZIP, VV_ENCODING_BR, VV_ENCODING_ZSTD};
static const int levels[] = {VV_ENCODER_LEVEL_GZIP, VV_ENCODER_LEVEL_BR, VV_ENCODER_LEVEL_ZSTD};

static size_t gunzip(size_t n)
{
    z_stream z = {.next_in = (Bytef *)coded,
                  .avail_in = (uInt)n,
                  .next_out = (Bytef *)back,
                  .avail_out = sizeof back};
    VV_CHECK_INT(inflateInit2(&z, 31), Z_OK); /* 31: gzip only, checksum and length are checked */
    const int rc = inflate(&z, Z_SYNC_FLUSH);
    VV_CHECK(rc == Z_STREAM_END || rc == Z_OK || rc == Z_BUF_ERROR);
    VV_CHECK_INT(z.avail_in, 0);
    inflateEnd(&z);
    return z.total_out;
}

static size_t unbrotli(size_t n)
{
    BrotliDecoderState *s = BrotliDecoderCreateInstance(NULL, NULL, NULL);
    const uint8_t *in = (const uint8_t *)coded;
    uint8_t *out = (uint8_t *)back;
    size_t room = sizeof back;
    const BrotliDecoderResult rc = BrotliDecoderDecompressStream(s, &n, &in, &room, &out, NULL);
    VV_CHECK(rc == BROTLI_DECODER_RESULT_SUCCESS || rc == BROTLI_DECODER_RESULT_NEEDS_MORE_INPUT);
    VV_CHECK_INT(n, 0);
    BrotliDecoderDestroyInstance(s);
    return sizeof back - room;
}

static size_t unzstd(size_t n)
{
    ZSTD_DCtx *d = ZSTD_createDCtx();
    ZSTD_inBuffer in = {coded, n, 0};
    ZSTD_outBuffer out = {back, sizeof back, 0};
    VV_CHECK(!ZSTD_isError(ZSTD_decompressStream(d, &out, &in)));
    VV_CHECK_INT(in.pos, n);
    ZSTD_freeDCtx(d);
    return out.pos;
}

/* How many bytes the first n bytes of `coded` decode to; they are then in `back`. */
static size_t decode(enum vv_encoding kind, size_t n)
{
    return kind == VV_ENCODING_GZIP ? gunzip(n) : kind == VV_ENCODING_BR ? unbrotli(n) : unzstd(n);
}

/* Words for a while, then noise: both kinds of blocks. */
static void fill_plain(struct vv_rng *rng, size_t n)
{
    static const char words[] = "{\"name\": \"alpha bravo\", \"price\": 12.50, \"active\": true}\n";
    for (size_t i = 0; i < n;) {
        const size_t run = (size_t)vv_min_u64(1 + vv_rng_below(rng, 3000), n - i);
        const bool noise = vv_rng_below(rng, 4) == 0;
        for (size_t k = 0; k < run; k++) {
            plain[i + k] = noise ? (char)vv_rng_u64(rng) : words[(k + run) % (sizeof words - 1)];
        }
        i += run;
    }
}

/* Feeds plain[from, to) with room of at most room_max bytes at a time; appends to coded at *at. */
static void feed(struct vv_encoder *e, size_t from, size_t to, enum vv_encoder_op op,
                 size_t room_max, struct vv_rng *rng, size_t *at)
{
    struct vv_str in = {plain + from, to - from};
    enum vv_err err;
    do {
        size_t n = 0;
        const size_t room = 1 + (size_t)vv_rng_below(rng, room_max);
        VV_CHECK(*at + room < CODED_MAX);
        err = vv_encoder_feed(e, &in, op, coded + *at, room, &n);
        VV_CHECK(n <= room);
        *at += n;
        VV_CHECK(err == VV_OK || err == VV_EAGAIN);
    } while (err == VV_EAGAIN);
    VV_CHECK_INT(in.n, 0);
}

static void round_trip(struct vv_encoders *pool, size_t kind, int level, size_t n, size_t run_max,
                       size_t room_max, struct vv_rng *rng)
{
    struct vv_encoder *e = NULL;
    size_t at = 0;
    fill_plain(rng, n);
    const uint64_t hint = vv_rng_below(rng, 2) == 0 ? n : UINT64_MAX;
    VV_CHECK_INT(vv_encoder_begin(pool, kinds[kind], level, hint, &e), VV_OK);
    for (size_t i = 0; i < n;) {
        const size_t end = i + (size_t)vv_min_u64(1 + vv_rng_below(rng, run_max), n - i);
        const bool flush = vv_rng_below(rng, 8) == 0;
        feed(e, i, end, flush ? VV_ENCODER_FLUSH : VV_ENCODER_MORE, room_max, rng, &at);
        i = end;
        if (flush) { /* the receiver can have all of it by now */
            VV_CHECK_INT(decode(kinds[kind], at), i);
        }
    }
    feed(e, n, n, VV_ENCODER_FINISH, room_max, rng, &at);
    VV_CHECK_INT(decode(kinds[kind], at), n);
    assert_memory_equal(back, plain, n);
    vv_encoder_end(pool, e);
}

VV_TEST(encoder_output_decodes_to_the_input_however_it_was_cut)
{
    struct vv_encoders pool;
    struct vv_rng rng;
    vv_rng_init(&rng, 9110);
    vv_encoders_init(&pool, 64 * VV_MIB);
    for (size_t kind = 0; kind < VV_COUNT(kinds); kind++) {
        for (int round = 0; round < 24; round++) {
            const size_t n = (size_t)vv_rng_below(&rng, round % 4 == 0 ? 100000 : 5000);
            const size_t room = round % 3 == 0 ? 9 : 20000;
            round_trip(&pool, kind, levels[kind], n, round % 2 == 0 ? 300 : 40000, room, &rng);
        }
    }
    vv_encoders_fini(&pool);
}

VV_TEST(encoder_writes_into_a_single_byte_of_room)
{
    struct vv_encoders pool;
    struct vv_rng rng;
    vv_rng_init(&rng, 1);
    vv_encoders_init(&pool, 64 * VV_MIB);
    for (size_t kind = 0; kind < VV_COUNT(kinds); kind++) {
        round_trip(&pool, kind, levels[kind], 3000, 700, 1, &rng);
        round_trip(&pool, kind, levels[kind], 0, 1, 1, &rng);
    }
    vv_encoders_fini(&pool);
}

VV_TEST(encoder_takes_every_level_and_brings_others_into_the_range)
{
    static const int outside[] = {-5, 0, 1, 2, 3, 5, 9, 12, 99};
    struct vv_encoders pool;
    struct vv_rng rng;
    vv_rng_init(&rng, 2);
    vv_encoders_init(&pool, 64 * VV_MIB);
    for (size_t kind = 0; kind < VV_COUNT(kinds); kind++) {
        for (size_t i = 0; i < VV_COUNT(outside); i++) {
            round_trip(&pool, kind, outside[i], 70000, 30000, 30000, &rng);
        }
    }
    vv_encoders_fini(&pool);
}

VV_TEST(encoder_flush_without_new_input_writes_nothing)
{
    struct vv_encoders pool;
    char out[512];
    size_t n = 0;
    vv_encoders_init(&pool, 64 * VV_MIB);
    for (size_t kind = 0; kind < VV_COUNT(kinds); kind++) {
        struct vv_encoder *e = NULL;
        struct vv_str in = VV_STR("event: tick\n\n");
        VV_CHECK_INT(vv_encoder_begin(&pool, kinds[kind], 1, UINT64_MAX, &e), VV_OK);
        VV_CHECK_INT(vv_encoder_feed(e, &in, VV_ENCODER_FLUSH, out, sizeof out, &n), VV_OK);
        VV_CHECK(n > 0);
        VV_CHECK_INT(vv_encoder_feed(e, &in, VV_ENCODER_FLUSH, out, sizeof out, &n), VV_OK);
        VV_CHECK_INT(n, 0);
        VV_CHECK_INT(vv_encoder_feed(e, &in, VV_ENCODER_MORE, out, sizeof out, &n), VV_OK);
        VV_CHECK_INT(n, 0);
        vv_encoder_end(&pool, e);
    }
    vv_encoders_fini(&pool);
}

VV_TEST(encoder_that_is_left_in_the_middle_can_be_used_again)
{
    struct vv_encoders pool;
    struct vv_rng rng;
    vv_rng_init(&rng, 3);
    vv_encoders_init(&pool, 64 * VV_MIB);
    for (size_t kind = 0; kind < VV_COUNT(kinds); kind++) {
        struct vv_encoder *e = NULL;
        size_t at = 0;
        fill_plain(&rng, PLAIN_MAX);
        VV_CHECK_INT(vv_encoder_begin(&pool, kinds[kind], levels[kind], UINT64_MAX, &e), VV_OK);
        feed(e, 0, PLAIN_MAX, VV_ENCODER_MORE, 50000, &rng, &at);
        vv_encoder_end(&pool, e);
        const struct vv_encoder *idle = pool.idle[kinds[kind]];
        VV_CHECK(idle != NULL);
        round_trip(&pool, kind, levels[kind], 50000, 20000, 20000, &rng);
        VV_CHECK(pool.idle[kinds[kind]] == idle); /* the same context served both */
    }
    VV_CHECK(pool.bytes > 0);
    vv_encoders_trim(&pool);
    VV_CHECK_INT(pool.bytes, 0);
    vv_encoders_fini(&pool);
}

VV_TEST(encoder_pool_stays_within_its_budget)
{
    struct vv_encoders pool;
    struct vv_encoder *e[40]; /* gzip takes 0.2 MiB, the others more */
    for (size_t kind = 0; kind < VV_COUNT(kinds); kind++) {
        size_t count = 0;
        vv_encoders_init(&pool, 5 * VV_MIB);
        enum vv_err err;
        do {
            err = vv_encoder_begin(&pool, kinds[kind], levels[kind], UINT64_MAX, &e[count]);
            count += err == VV_OK;
            VV_CHECK(pool.bytes <= pool.bytes_max);
        } while (err == VV_OK && count < VV_COUNT(e));
        VV_CHECK_INT(err, VV_ELIMIT);
        VV_CHECK(count >= 2);
        for (size_t i = 0; i < count; i++) {
            vv_encoder_end(&pool, e[i]);
        }
        VV_CHECK(pool.bytes <= pool.bytes_max);
        /* Idle contexts of one kind make room for another. */
        VV_CHECK_INT(vv_encoder_begin(&pool, kinds[(kind + 1) % VV_COUNT(kinds)], 1, UINT64_MAX, e),
                     VV_OK);
        vv_encoder_end(&pool, e[0]);
        vv_encoders_fini(&pool);
    }
}

/* What each kind holds for a long stream of its hardest level is what the pool reserved for it. */
VV_TEST(encoder_holds_no_more_than_was_reserved)
{
    static const int hardest[] = {3, 8, 12};
    struct vv_encoders pool;
    struct vv_rng rng;
    vv_rng_init(&rng, 4);
    for (size_t kind = 0; kind < VV_COUNT(kinds); kind++) {
        struct vv_encoder *e = NULL;
        size_t at = 0;
        vv_encoders_init(&pool, 64 * VV_MIB);
        fill_plain(&rng, PLAIN_MAX);
        VV_CHECK_INT(vv_encoder_begin(&pool, kinds[kind], hardest[kind], UINT64_MAX, &e), VV_OK);
        const uint64_t reserved = pool.bytes;
        feed(e, 0, PLAIN_MAX, VV_ENCODER_FINISH, 60000, &rng, &at);
        vv_encoder_end(&pool, e);
        VV_CHECK(pool.bytes > 0 && pool.bytes <= reserved);
        vv_encoders_fini(&pool);
    }
}

/* The linker sends the encoders' malloc here. */
void *__real_malloc(size_t bytes);
void *__wrap_malloc(size_t bytes);
static unsigned mallocs_left = UINT32_MAX;
void *__wrap_malloc(size_t bytes)
{
    return mallocs_left == 0 ? NULL : (mallocs_left--, __real_malloc(bytes));
}

VV_TEST(encoder_without_memory_fails_one_stream_and_not_the_process)
{
    struct vv_encoders pool;
    struct vv_rng rng;
    unsigned failed = 0;
    vv_rng_init(&rng, 5);
    vv_encoders_init(&pool, 64 * VV_MIB);
    fill_plain(&rng, PLAIN_MAX);
    for (unsigned allowed = 0; allowed < 8; allowed++) { /* brotli makes more than eight blocks */
        struct vv_encoder *e = NULL;
        vv_encoders_trim(&pool);
        mallocs_left = allowed;
        enum vv_err err = vv_encoder_begin(&pool, VV_ENCODING_BR, 4, UINT64_MAX, &e);
        if (err == VV_OK) {
            struct vv_str in = {plain, PLAIN_MAX};
            size_t n = 0;
            err = vv_encoder_feed(e, &in, VV_ENCODER_FINISH, coded, sizeof coded, &n);
        }
        mallocs_left = UINT32_MAX;
        failed += err == VV_ENOMEM;
        vv_encoder_end(&pool, e);
        round_trip(&pool, 1, VV_ENCODER_LEVEL_BR, 20000, 9000, 9000, &rng); /* what is left works */
    }
    VV_CHECK_INT(failed, 8);
    vv_encoders_fini(&pool);
}
