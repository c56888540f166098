/* src/store/redis_places.c - the servers themselves, for commands that are about no key. */
#include "store/redis_int.h"
#include <stdio.h>

static bool holds_keys(const struct vv_redis *r, const struct vv_redis_server *s)
{
    const enum vv_redis_kind kind = r->conf.url.kind;
    if (s->gone) {
        return false;
    }
    return kind == VV_REDIS_SINGLE || kind == VV_REDIS_RING || s->role == VV_REDIS_ROLE_MASTER;
}

size_t vv_redis_places(struct vv_redis *r, struct vv_redis_place *ret, size_t max)
{
    size_t count = 0;
    VV_LIST_EACH (node, &r->servers) {
        const struct vv_redis_server *s = VV_LIST_ENTRY(node, struct vv_redis_server, node);
        if (!holds_keys(r, s)) {
            continue;
        }
        if (count < max) {
            (void)snprintf(ret[count].host, sizeof ret[count].host, "%s", s->host);
            ret[count].port = s->port;
        }
        count++;
    }
    return count;
}

enum vv_err vv_redis_do_on(struct vv_redis *r, const struct vv_redis_place *at,
                           struct vv_redis_op *op)
{
    VV_LIST_EACH (node, &r->servers) {
        struct vv_redis_server *s = VV_LIST_ENTRY(node, struct vv_redis_server, node);
        if (holds_keys(r, s) && s->port == at->port &&
            vv_str_eq(vv_str_from(s->host), vv_str_from(at->host))) {
            return vv_redis_do_at(s, op);
        }
    }
    return VV_EREFUSED;
}
