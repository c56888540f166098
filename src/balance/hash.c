/* src/balance/hash.c - consistent hash with bounded load: a key stays with its server while that
 * one has no more than c times its share of what is in flight, then moves on round the ring.
 *
 * ring:    points sorted by place     [ 3 | 17 | 40 | 41 | ... ]  each names a server
 * first[]: by the top bits of a hash, the first point that is not before them: no binary search.
 *
 * A server's points depend on its own name and weight only, so what others do moves no key but
 * theirs. Weights count against the next power of two above the largest: changing one rarely scales
 * the rest. */
#include "balance/balance_int.h"

#include <stdlib.h>

#define POINTS 256 /* of the heaviest possible server: shares are even to about 1 / sqrt(256) */
#define POINTS_MIN 4
#define BITS_MAX 20

struct point {
    uint32_t place;
    uint32_t server;
};

struct vv_hash_ring {
    struct point *point;
    uint32_t *first;
    size_t count;
    unsigned shift; /* 32 - bits of first[] */
};

static uint64_t mix(uint64_t x) /* splitmix64's finisher */
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static int by_place(const void *a, const void *b)
{
    const struct point *x = a;
    const struct point *y = b;
    if (x->place != y->place) {
        return x->place < y->place ? -1 : 1;
    }
    return x->server < y->server ? -1 : x->server > y->server;
}

static uint32_t points_of(const struct vv_server *s, uint32_t scale)
{
    const uint32_t weight = atomic_load_explicit(&s->weight, memory_order_relaxed);
    const uint32_t points = POINTS * weight / scale;
    return points > POINTS_MIN ? points : POINTS_MIN;
}

static uint32_t scale_of(const struct vv_server_set *set)
{
    uint32_t scale = 1;
    for (size_t i = 0; i < set->count; i++) {
        while (scale < atomic_load_explicit(&set->server[i]->weight, memory_order_relaxed)) {
            scale *= 2;
        }
    }
    return scale;
}

static void index_points(struct vv_hash_ring *r)
{
    size_t at = 0;
    for (size_t i = 0; i < (size_t)1 << (32 - r->shift); i++) {
        while (at < r->count && r->point[at].place < (uint32_t)(i << r->shift)) {
            at++;
        }
        r->first[i] = (uint32_t)at;
    }
}

struct vv_hash_ring *vv_hash_ring_new(const struct vv_server_set *set)
{
    struct vv_hash_ring *r = calloc(1, sizeof(*r));
    if (r == NULL) {
        return NULL;
    }
    const uint32_t scale = scale_of(set);
    for (size_t i = 0; i < set->count; i++) {
        r->count += points_of(set->server[i], scale);
    }
    unsigned bits = 1;
    while (bits < BITS_MAX && (size_t)1 << bits < r->count) {
        bits++;
    }
    r->shift = 32 - bits;
    r->point = malloc((r->count + 1) * sizeof(*r->point));
    r->first = malloc(((size_t)1 << bits) * sizeof(*r->first));
    if (r->point == NULL || r->first == NULL) {
        vv_hash_ring_free(r);
        return NULL;
    }
    size_t at = 0;
    for (size_t i = 0; i < set->count; i++) {
        const uint32_t points = points_of(set->server[i], scale);
        for (uint32_t k = 0; k < points; k++) {
            const uint64_t h = mix(((uint64_t)set->server[i]->index_hash << 32) + k);
            r->point[at++] = (struct point){(uint32_t)(h >> 32), (uint32_t)i};
        }
    }
    qsort(r->point, r->count, sizeof(*r->point), by_place);
    index_points(r);
    return r;
}

void vv_hash_ring_free(struct vv_hash_ring *ring)
{
    if (ring == NULL) {
        return;
    }
    free(ring->point);
    free(ring->first);
    free(ring);
}

static size_t lookup(const struct vv_hash_ring *r, uint32_t place)
{
    size_t at = r->first[place >> r->shift];
    while (at < r->count && r->point[at].place < place) {
        at++;
    }
    return at < r->count ? at : 0;
}

/* May the server with this load take one more? cap = ceil(c x all x weight / all weights), where
 * all counts the new request too; so an idle server always may. */
static bool within_bound(const struct vv_picker *p, size_t i, uint64_t all, uint64_t weights)
{
    const double c = (double)vv_max_u64(p->conf.bounded_load_ppm, VV_PPM);
    return (double)p->load[i] * (double)weights * (double)VV_PPM <
           c * (double)all * (double)p->effective[i];
}

size_t vv_pick_HASH(struct vv_picker *p, const struct vv_view *v)
{
    const struct vv_hash_ring *r = p->ring;
    if (r == NULL || r->count == 0) { /* no memory for a ring: still balanced, not yet by key */
        return vv_scan(p, v) > 0 ? vv_least_loaded(p) : VV_NOBODY;
    }
    const uint64_t key = v->how->has_key ? v->how->key : vv_rng_u64(&p->rng);
    const size_t start = lookup(r, (uint32_t)(mix(key) >> 32));
    if (vv_scan(p, v) == 0) {
        return VV_NOBODY;
    }
    uint64_t all = 1;
    uint64_t weights = 0;
    for (size_t i = 0; i < p->set->count; i++) {
        if (p->effective[i] != 0) {
            all += p->load[i];
            weights += p->effective[i];
        }
    }
    for (size_t step = 0; step < r->count; step++) {
        const size_t at = start + step < r->count ? start + step : start + step - r->count;
        const size_t i = r->point[at].server;
        if (p->effective[i] != 0 && within_bound(p, i, all, weights)) {
            return i;
        }
    }
    return vv_least_loaded(p);
}
