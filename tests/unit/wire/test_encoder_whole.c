/* tests/unit/wire/test_encoder_whole.c - whole bodies come back from the decoders of zlib, brotli and zstd,
 * and what does not fit says so. */
#include "base/rng.h"
#include "vv_test.h"
#include "wire/encoder_whole.h"
#include <brotli/decode.h>
#include <zlib.h>
#include <zstd.h>

#define BODY_MAX (1024 * 1024)
static char body[BODY_MAX], coded[BODY_MAX + 4096], back[BODY_MAX + 1];

static void make_text(size_t n)
{
    static const char *const word[] = {"one ", "other ", "again ", "words, ", "and\n"};
    struct vv_rng rng;
    vv_rng_init(&rng, 5);
    for (size_t at = 0; at < n;) {
        const char *w = word[vv_rng_below(&rng, VV_COUNT(word))];
        for (; *w != '\0' && at < n; w++) {
            body[at++] = *w;
        }
    }
}

static size_t decode(enum vv_encoding kind, size_t n)
{
    if (kind == VV_ENCODING_BR) {
        size_t got = sizeof back;
        VV_CHECK_INT(BrotliDecoderDecompress(n, (const uint8_t *)coded, &got, (uint8_t *)back),
                     BROTLI_DECODER_RESULT_SUCCESS);
        return got;
    }
    if (kind == VV_ENCODING_ZSTD) {
        return ZSTD_decompress(back, sizeof back, coded, n);
    }
    z_stream z = {.next_in = (Bytef *)coded,
                  .avail_in = (uInt)n,
                  .next_out = (Bytef *)back,
                  .avail_out = sizeof back};
    VV_CHECK_INT(inflateInit2(&z, 31), Z_OK);
    VV_CHECK_INT(inflate(&z, Z_FINISH), Z_STREAM_END);
    inflateEnd(&z);
    return z.total_out;
}

static const enum vv_encoding kinds[] = {VV_ENCODING_GZIP, VV_ENCODING_BR, VV_ENCODING_ZSTD};

VV_TEST(a_whole_body_comes_back)
{
    static const size_t sizes[] = {1, 100, 65536, BODY_MAX};
    for (size_t k = 0; k < VV_COUNT(kinds); k++) {
        for (size_t i = 0; i < VV_COUNT(sizes); i++) {
            size_t n = 0;
            make_text(sizes[i]);
            VV_CHECK_INT(
                vv_encode_whole(kinds[k], (struct vv_str){body, sizes[i]}, coded, sizeof coded, &n),
                VV_OK);
            VV_CHECK_INT(decode(kinds[k], n), sizes[i]);
            VV_CHECK(memcmp(back, body, sizes[i]) == 0);
        }
    }
}

VV_TEST(what_does_not_fit_says_so)
{
    struct vv_rng rng;
    vv_rng_init(&rng, 9);
    for (size_t i = 0; i < 10000; i++) {
        body[i] = (char)vv_rng_u64(&rng); /* noise: nothing makes it smaller */
    }
    for (size_t k = 0; k < VV_COUNT(kinds); k++) {
        size_t n = 0;
        VV_CHECK_INT(vv_encode_whole(kinds[k], (struct vv_str){body, 10000}, coded, 9000, &n),
                     VV_ERANGE);
    }
}
