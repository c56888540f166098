/* src/store/redis_single.c - one server serves everything. */
#include "store/redis_int.h"

static enum vv_err start(struct vv_redis *r)
{
    struct vv_redis_server *s = NULL;
    const struct vv_redis_url *u = &r->conf.url;
    const enum vv_err err = vv_redis_server_at(r, vv_str_from(u->host[0].name), u->host[0].port,
                                               VV_REDIS_ROLE_UNKNOWN, &s);
    r->topo = s;
    return err;
}

static void stop(struct vv_redis *r)
{
    r->topo = NULL;
}

static enum vv_err pick(struct vv_redis *r, const struct vv_redis_op *op,
                        struct vv_redis_server **ret)
{
    (void)op;
    *ret = r->topo;
    return VV_OK;
}

const struct vv_redis_topology vv_redis_single = {
    .name = "single", .start = start, .stop = stop, .pick = pick};
