/* tests/unit/store/test_redis_ring.c - keys keep their servers when servers come and go. */
#include "store/redis_ring.h"
#include "vv_test.h"

#include <stdio.h>

enum { KEYS = 100000, SERVERS = 4 };

static const struct vv_str names[SERVERS] = {
    {"cache-1:6379", 12}, {"cache-2:6379", 12}, {"cache-3:6379", 12}, {"cache-4:6379", 12}};

static struct vv_str key_of(int i, char text[32])
{
    return (struct vv_str){
        text, (size_t)snprintf(text, 32, "vz:CACHE:o:%08x", (unsigned)i * 2654435761u)};
}

VV_TEST(redis_ring_shares_keys_evenly)
{
    static struct vv_redis_ring_points ring;
    unsigned count[SERVERS] = {0};
    char text[32];
    vv_redis_ring_make(&ring, names, SERVERS);
    for (int i = 0; i < KEYS; i++) {
        count[vv_redis_ring_of(&ring, key_of(i, text))]++;
    }
    for (size_t s = 0; s < SERVERS; s++) { /* a quarter each; 1 / sqrt(256) is 6 %, thrice that */
        VV_CHECK(count[s] > KEYS / 4 * 82 / 100 && count[s] < KEYS / 4 * 118 / 100);
    }
}

VV_TEST(redis_ring_moves_the_keys_of_a_removed_server_only)
{
    static struct vv_redis_ring_points all, less;
    char text[32];
    vv_redis_ring_make(&all, names, SERVERS);
    for (size_t removed = 0; removed < SERVERS; removed++) {
        struct vv_str rest[SERVERS];
        size_t n = 0;
        unsigned moved = 0;
        for (size_t s = 0; s < SERVERS; s++) {
            if (s != removed) {
                rest[n++] = names[s];
            }
        }
        vv_redis_ring_make(&less, rest, n);
        for (int i = 0; i < KEYS; i++) {
            const struct vv_str key = key_of(i, text);
            const size_t was = vv_redis_ring_of(&all, key), is = vv_redis_ring_of(&less, key);
            const bool same = vv_str_eq(names[was], rest[is]);
            moved += !same;
            VV_CHECK(same || was == removed);
        }
        VV_CHECK(moved <= KEYS / 4 + KEYS / 20); /* a quarter and five percent */
    }
}

VV_TEST(redis_ring_keeps_keys_with_one_tag_together)
{
    static struct vv_redis_ring_points ring;
    char text[32];
    vv_redis_ring_make(&ring, names, SERVERS);
    const size_t want = vv_redis_ring_of(&ring, VV_STR("tag"));
    for (int i = 0; i < 100; i++) {
        const size_t n = (size_t)snprintf(text, sizeof text, "k%d{tag}%d", i, i);
        VV_CHECK_INT(vv_redis_ring_of(&ring, (struct vv_str){text, n}), want);
    }
    unsigned other = 0; /* an empty tag is no tag */
    for (int i = 0; i < 100; i++) {
        const size_t n = (size_t)snprintf(text, sizeof text, "{}%d", i);
        other += vv_redis_ring_of(&ring, (struct vv_str){text, n}) !=
                 vv_redis_ring_of(&ring, VV_STR("{}0"));
    }
    VV_CHECK(other > 0);
}
