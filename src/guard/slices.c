/* src/guard/slices.c - a slice's number and count change together, so no lock keeps them apart. */
#include "guard/slices.h"

#define COUNT_MAX UINT64_C(0xFFFFFFFF)

static uint64_t started(uint64_t number, uint64_t count)
{
    return number << 32 | vv_min_u64(count, COUNT_MAX);
}

/* How many slices ago; "one ahead" (another thread's clock) is more than any. */
static uint32_t age_of(uint64_t word, uint64_t number)
{
    return (uint32_t)number - (uint32_t)(word >> 32);
}

void vv_slices_add(struct vv_slices *s, uint64_t slice_ns, uint64_t now_ns, uint32_t n)
{
    const uint64_t number = now_ns / slice_ns;
    _Atomic uint64_t *at = &s->word[number % VV_SLICES];
    uint64_t word = atomic_load_explicit(at, memory_order_relaxed);
    uint64_t next;
    do {
        const uint32_t age = age_of(word, number);
        if (age > UINT32_MAX / 2) {
            return; /* the slice is a round further already */
        }
        next = age == 0 ? started(number, (word & COUNT_MAX) + n) : started(number, n);
    } while (!atomic_compare_exchange_weak_explicit(at, &word, next, memory_order_relaxed,
                                                    memory_order_relaxed));
}

uint64_t vv_slices_sum(const struct vv_slices *s, uint64_t slice_ns, uint64_t now_ns)
{
    const uint64_t number = now_ns / slice_ns;
    uint64_t sum = 0;
    for (size_t i = 0; i < VV_SLICES; i++) {
        const uint64_t word = atomic_load_explicit(&s->word[i], memory_order_relaxed);
        const uint32_t age = age_of(word, number);
        sum += age < VV_SLICES || age == UINT32_MAX ? word & COUNT_MAX : 0;
    }
    return sum;
}

void vv_slices_clear(struct vv_slices *s)
{
    for (size_t i = 0; i < VV_SLICES; i++) {
        atomic_store_explicit(&s->word[i], 0, memory_order_relaxed);
    }
}
