/* src/base/rng.h - seeded random numbers (xoshiro256**, Blackman and Vigna 2018): fast, not secret.
 * Threads: one owner. Seeds come from os/entropy.h in the product and are fixed in tests. */
#ifndef VV_BASE_RNG_H
#define VV_BASE_RNG_H
#include "base/defs.h"

struct vv_rng {
    uint64_t s[4];
};
void vv_rng_init(struct vv_rng *r, uint64_t seed); /* splitmix64 fills the state */
uint64_t vv_rng_u64(struct vv_rng *r);
uint64_t vv_rng_below(struct vv_rng *r, uint64_t n); /* 0 .. n-1, unbiased; n > 0 */
double vv_rng_double(struct vv_rng *r);              /* [0, 1) */
#endif
