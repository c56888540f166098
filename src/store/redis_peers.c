/* src/store/redis_peers.c - the servers that are known, and operations for one of them. */
#include "store/redis_peers.h"

#include "store/redis_int.h"

#include <stdio.h>

static bool is_peer(const struct vv_redis_server *s)
{
    return !s->gone && s->role != VV_REDIS_ROLE_SENTINEL;
}

static bool holds_keys(const struct vv_redis *r, const struct vv_redis_server *s)
{
    const enum vv_redis_kind kind = r->conf.url.kind;
    return kind == VV_REDIS_SINGLE || kind == VV_REDIS_RING || s->role == VV_REDIS_ROLE_MASTER;
}

size_t vv_redis_peers(const struct vv_redis *r, struct vv_redis_peer *out, size_t cap)
{
    size_t n = 0;
    VV_LIST_EACH (it, &r->servers) {
        const struct vv_redis_server *s = VV_LIST_ENTRY(it, struct vv_redis_server, node);
        if (n < cap && is_peer(s)) {
            (void)snprintf(out[n].host, sizeof out[n].host, "%s", s->host);
            out[n].port = s->port;
            out[n].replica = s->role == VV_REDIS_ROLE_REPLICA;
            out[n].keys = holds_keys(r, s);
            n++;
        }
    }
    return n;
}

enum vv_err vv_redis_do_peer(struct vv_redis *r, const struct vv_redis_peer *p,
                             struct vv_redis_op *op)
{
    VV_LIST_EACH (it, &r->servers) {
        struct vv_redis_server *s = VV_LIST_ENTRY(it, struct vv_redis_server, node);
        if (is_peer(s) && s->port == p->port && strcmp(s->host, p->host) == 0) {
            return vv_redis_do_at(s, op);
        }
    }
    return VV_ENOENT;
}
