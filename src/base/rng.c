/* src/base/rng.c - xoshiro256** with splitmix64 seeding, written from the algorithms' description
 * (Blackman and Vigna, Scrambled Linear Pseudorandom Number Generators, 2018). */
#include "base/rng.h"

static uint64_t rotl(uint64_t x, unsigned by)
{
    return (x << by) | (x >> (64 - by));
}

static uint64_t splitmix(uint64_t *state)
{
    *state += UINT64_C(0x9E3779B97F4A7C15); /* 2^64 / golden ratio */
    uint64_t z = *state;
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

void vv_rng_init(struct vv_rng *r, uint64_t seed)
{
    for (size_t i = 0; i < VV_COUNT(r->s); i++) {
        r->s[i] = splitmix(&seed);
    }
}

uint64_t vv_rng_u64(struct vv_rng *r)
{
    uint64_t *s = r->s;
    const uint64_t out = rotl(s[1] * 5, 7) * 9;
    const uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return out;
}

/* Lemire, Fast Random Integer Generation in an Interval (2019): one multiplication, a division
 * only when the low half falls into the uneven rest. */
uint64_t vv_rng_below(struct vv_rng *r, uint64_t n)
{
    VV_ASSERT(n > 0);
    unsigned __int128 m = (unsigned __int128)vv_rng_u64(r) * n;
    if ((uint64_t)m < n) {
        const uint64_t uneven = (0 - n) % n;
        while ((uint64_t)m < uneven) {
            m = (unsigned __int128)vv_rng_u64(r) * n;
        }
    }
    return (uint64_t)(m >> 64);
}

double vv_rng_double(struct vv_rng *r)
{
    return (double)(vv_rng_u64(r) >> 11) * 0x1.0p-53; /* 53 bits: what a double holds */
}
