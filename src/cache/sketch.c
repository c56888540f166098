/* src/cache/sketch.c - how often was a key asked for lately? A count-min sketch with conservative
 * update, counters to 63, all halved from time to time: after ten times as many additions as there
 * are counters / 4, or sooner, after AGE_PER_ENTRY for each object of a small cache, since what was
 * asked for long ago says little about a cache that turns over quickly.
 * Source: TinyLFU (Einziger, Friedman, Manes, ACM ToS 2017). */
#include "cache/store_int.h"

#define PROBES 4
#define COUNT_MAX 63
#define AGE_PER_ENTRY 400
#define AGE_ENTRIES_MIN 64

bool vv_cache_sketch_init(struct vv_cache *c, struct sketch *s, size_t counters)
{
    size_t room = 1024;
    uint64_t charged;
    while (room < counters) {
        room *= 2;
    }
    s->counters = vv_cache_mem(c, room, &charged);
    if (s->counters == NULL) {
        return false;
    }
    memset(s->counters, 0, room);
    s->mask = room - 1;
    s->adds_max = room * 10 / PROBES;
    return true;
}

/* A place of the smaller one stands for all places of the larger one that end in the same bits, so
 * counts survive: growing copies them, shrinking takes the highest. */
bool vv_cache_sketch_fit(struct vv_cache *c, struct sketch *s, size_t counters)
{
    struct sketch old = *s;
    if (s->mask + 1 >= counters && s->mask + 1 < counters * 4) {
        return true;
    }
    if (!vv_cache_sketch_init(c, s, counters)) {
        *s = old;
        return false;
    }
    const size_t most = old.mask > s->mask ? old.mask : s->mask;
    for (size_t i = 0; i <= most; i++) {
        uint8_t *to = &s->counters[i & s->mask];
        const uint8_t from = old.counters[i & old.mask];
        *to = from > *to ? from : *to;
    }
    s->adds = 0;
    vv_cache_mem_free(c, old.counters, vv_cache_usable(old.counters));
    return true;
}

static size_t probe(const struct sketch *s, uint64_t hash, unsigned i)
{
    return (size_t)((hash >> (i * 13)) * UINT64_C(0x9e3779b97f4a7c15) >> 20) & s->mask;
}

uint32_t vv_cache_sketch_count(const struct sketch *s, uint64_t hash)
{
    uint32_t least = COUNT_MAX;
    for (unsigned i = 0; i < PROBES; i++) {
        const uint32_t n = s->counters[probe(s, hash, i)];
        least = n < least ? n : least;
    }
    return least;
}

void vv_cache_sketch_age(struct sketch *s, uint64_t entries)
{
    const uint64_t most = (s->mask + 1) * 10 / PROBES;
    s->adds_max = vv_min_u64(most, AGE_PER_ENTRY * vv_max_u64(entries, AGE_ENTRIES_MIN));
}

void vv_cache_sketch_add(struct sketch *s, uint64_t hash)
{
    const uint32_t least = vv_cache_sketch_count(s, hash);
    for (unsigned i = 0; i < PROBES && least < COUNT_MAX; i++) {
        uint8_t *n = &s->counters[probe(s, hash, i)];
        if (*n == least) {
            (*n)++;
        }
    }
    if (++s->adds >= s->adds_max) {
        s->adds /= 2;
        for (size_t i = 0; i <= s->mask; i++) {
            s->counters[i] /= 2;
        }
    }
}
