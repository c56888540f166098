/* src/store/redis_ring.c - several servers, each with its part of the keys. A server has 256 places on a
 * ring, made of its name and port only, and a key belongs to the next place behind its own: a server
 * that is taken away or put in moves the keys of its own places and no others.
 *
 * A server that is down keeps its keys: operations on them are refused, which a cache takes for a miss. Moved
 * to a neighbour they would be written there, and be found there again, stale, at the next outage.
 * balance/ has such a ring too, but for servers that are shared between threads and move their load; this
 * one has no state at all. Text between { and } stands for the key as in a cluster, so that keys of one
 * command can be kept together. */
#include "store/redis_ring.h"

#include "store/redis_int.h"

#include <stdio.h>
#include <stdlib.h>

#define SEED_SERVER UINT64_C(0x76697661)
#define SEED_KEY UINT64_C(0x7665207a)

static int by_place(const void *a, const void *b)
{
    const struct vv_redis_ring_point *x = a, *y = b;
    if (x->place != y->place) {
        return x->place < y->place ? -1 : 1;
    }
    return (x->server > y->server) - (x->server < y->server);
}

void vv_redis_ring_make(struct vv_redis_ring_points *ring, const struct vv_str *names, size_t count)
{
    VV_ASSERT(count <= VV_REDIS_URL_HOSTS);
    ring->count = 0;
    for (size_t i = 0; i < count; i++) {
        for (uint64_t k = 0; k < VV_REDIS_RING_PLACES; k++) {
            const uint64_t place = vv_str_hash(names[i], SEED_SERVER + k);
            ring->point[ring->count++] = (struct vv_redis_ring_point){place, (uint32_t)i};
        }
    }
    qsort(ring->point, ring->count, sizeof(ring->point[0]), by_place);
}

/* What stands between the first { and the next }, if anything does. */
static struct vv_str tag_of(struct vv_str key)
{
    const ptrdiff_t open = vv_str_find_char(key, '{');
    if (open < 0) {
        return key;
    }
    const struct vv_str rest = {key.p + open + 1, key.n - (size_t)open - 1};
    const ptrdiff_t close = vv_str_find_char(rest, '}');
    return close > 0 ? (struct vv_str){rest.p, (size_t)close} : key;
}

size_t vv_redis_ring_of(const struct vv_redis_ring_points *ring, struct vv_str key)
{
    const uint64_t place = vv_str_hash(tag_of(key), SEED_KEY);
    size_t low = 0, high = ring->count;
    while (low < high) {
        const size_t mid = (low + high) / 2;
        if (ring->point[mid].place < place) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return ring->point[low < ring->count ? low : 0].server;
}

/* ----------------------------------------------------------------- as a topology */

struct ring {
    struct vv_redis_ring_points points;
    struct vv_redis_server *server[VV_REDIS_URL_HOSTS];
    size_t servers, turn;
};

static enum vv_err start(struct vv_redis *r)
{
    const struct vv_redis_url *u = &r->conf.url;
    char text[VV_REDIS_URL_HOSTS][sizeof(u->host[0].name) + 8];
    struct vv_str names[VV_REDIS_URL_HOSTS];
    struct ring *ring = calloc(1, sizeof(*ring));
    if (ring == NULL) {
        return VV_ENOMEM;
    }
    r->topo = ring;
    for (size_t i = 0; i < u->hosts; i++) {
        const struct vv_str host = vv_str_from(u->host[i].name);
        const enum vv_err err = vv_redis_server_at(r, host, u->host[i].port, VV_REDIS_ROLE_UNKNOWN,
                                                   &ring->server[ring->servers++]);
        if (err != VV_OK) {
            return err;
        }
        snprintf(text[i], sizeof(text[i]), "%s:%u", u->host[i].name, u->host[i].port);
        names[i] = vv_str_from(text[i]);
    }
    vv_redis_ring_make(&ring->points, names, u->hosts);
    return VV_OK;
}

static void stop(struct vv_redis *r)
{
    free(r->topo);
    r->topo = NULL;
}

static enum vv_err pick(struct vv_redis *r, const struct vv_redis_op *op,
                        struct vv_redis_server **ret)
{
    struct ring *ring = r->topo;
    if (op->key.p != NULL) {
        *ret = ring->server[vv_redis_ring_of(&ring->points, op->key)];
        return VV_OK;
    }
    for (size_t i = 0; i < ring->servers; i++) { /* any: one that is up, by turns */
        *ret = ring->server[(ring->turn + i) % ring->servers];
        if (vv_redis_server_up(*ret, vv_loop_now(r->loop))) {
            ring->turn = (ring->turn + i + 1) % ring->servers;
            break;
        }
    }
    return VV_OK;
}

const struct vv_redis_topology vv_redis_ring = {
    .name = "ring", .start = start, .stop = stop, .pick = pick};
