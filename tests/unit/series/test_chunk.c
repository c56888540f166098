/* tests/unit/series/test_chunk.c - what goes in comes out, in as few bits as promised. */
#include "base/rng.h"
#include "series/chunk.h"
#include "vv_test.h"

#include <math.h>

static uint8_t buf[65536];

static void check_same(const struct vv_chunk *c, const int64_t *t, const double *v)
{
    struct vv_chunk_reader r;
    int64_t got_t = 0;
    double got_v = 0;
    vv_chunk_read(&r, buf, vv_chunk_bytes(c), c->n);
    for (uint32_t i = 0; i < c->n; i++) {
        VV_CHECK_INT(vv_chunk_next(&r, &got_t, &got_v), VV_OK);
        VV_CHECK_INT(got_t, t[i]);
        VV_CHECK(memcmp(&got_v, &v[i], sizeof got_v) == 0); /* NaNs keep their bits */
    }
    VV_CHECK_INT(vv_chunk_next(&r, &got_t, &got_v), VV_ENOENT);
}

VV_TEST(any_times_and_numbers_come_back_bit_by_bit)
{
    enum { N = 2000 };
    static int64_t t[N];
    static double v[N];
    static const int64_t steps[] = {1, 1000, 999, 1001, 15000, 60000, 86400000, INT64_C(1) << 40};
    static const double odd[] = {0, -0.0, 1, 1e300, 5e-324, (double)INFINITY, (double)NAN};
    struct vv_rng rng;
    struct vv_chunk c;
    vv_rng_init(&rng, 5);
    vv_chunk_init(&c, buf, sizeof buf);
    for (size_t i = 0; i < N; i++) {
        t[i] = (i > 0 ? t[i - 1] : -5000) + steps[vv_rng_below(&rng, VV_COUNT(steps))];
        const uint64_t bits = vv_rng_u64(&rng);
        memcpy(&v[i], &bits, sizeof v[i]);
        v[i] = i % 3 == 0 ? odd[vv_rng_below(&rng, VV_COUNT(odd))] : i % 3 == 1 ? (double)i : v[i];
        VV_CHECK_INT(vv_chunk_add(&c, t[i], v[i]), VV_OK);
    }
    check_same(&c, t, v);
}

VV_TEST(a_steady_series_takes_two_bits_a_sample)
{
    struct vv_chunk c;
    vv_chunk_init(&c, buf, sizeof buf);
    for (int i = 0; i < 802; i++) {
        VV_CHECK_INT(vv_chunk_add(&c, 1000 * i, 7), VV_OK);
    }
    /* The first sample has 128 bits. The first distance, 1000, is too much for ten bits and takes
     * three and fourteen, its value one; then 800 times two: 128 + 18 + 1600 = 1746 bits. */
    VV_CHECK_INT(vv_chunk_bytes(&c), 219);
}

VV_TEST(a_full_chunk_refuses_and_stays_what_it_was)
{
    static int64_t t[100];
    static double v[100];
    struct vv_chunk c;
    enum vv_err err = VV_OK;
    vv_chunk_init(&c, buf, 100);
    for (int i = 0; i < 100 && err == VV_OK; i++) {
        t[i] = 977 * i * i + 1;
        v[i] = 1.1 * i;
        err = vv_chunk_add(&c, t[i], v[i]);
    }
    VV_CHECK_INT(err, VV_ELIMIT);
    VV_CHECK(c.n > 5 && vv_chunk_bytes(&c) <= 100);
    check_same(&c, t, v);
    VV_CHECK_INT(vv_chunk_add(&c, t[c.n - 1], 1), VV_EINVAL); /* not later */
    check_same(&c, t, v);
}

VV_TEST(a_torn_chunk_gives_what_is_whole_and_says_so)
{
    struct vv_chunk c;
    struct vv_chunk_reader r;
    int64_t t = 0;
    double v = 0;
    uint32_t n = 0;
    enum vv_err err = VV_OK;
    vv_chunk_init(&c, buf, sizeof buf);
    for (int i = 0; i < 50; i++) {
        VV_CHECK_INT(vv_chunk_add(&c, 1000 * i, 0.1 * i), VV_OK);
    }
    vv_chunk_read(&r, buf, vv_chunk_bytes(&c) / 2, c.n);
    while ((err = vv_chunk_next(&r, &t, &v)) == VV_OK) {
        VV_CHECK_INT(t, 1000 * n);
        n++;
    }
    VV_CHECK_INT(err, VV_ESYNTAX);
    VV_CHECK(n > 10 && n < 50);
}
