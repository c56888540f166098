/* src/gateway/canary.c - shares of a route's requests for another service. */
#include "gateway/canary.h"
#include <stdlib.h>

struct vv_canaries {
    struct vv_metrics *metrics;
};

enum vv_err vv_canaries_new(struct vv_metrics *metrics, unsigned workers, struct vv_canaries **ret)
{
    (void)workers;
    *ret = calloc(1, sizeof **ret);
    if (*ret == NULL) {
        return VV_ENOMEM;
    }
    (*ret)->metrics = metrics;
    return VV_OK;
}

void vv_canaries_free(struct vv_canaries *cs)
{
    free(cs);
}

enum vv_err vv_canary_take(struct vv_canaries *cs, const struct vv_runtime *rt,
                           const struct vv_route_settings *r, struct vv_canary **ret,
                           char *reterr_text)
{
    (void)cs;
    (void)rt;
    (void)r;
    (void)reterr_text;
    *ret = NULL;
    return VV_OK;
}

void vv_canary_unref(struct vv_canary *c)
{
    (void)c;
}

enum vv_err vv_mirror_new(const struct vv_runtime *rt, const struct vv_route_settings *r,
                          struct vv_mirror **ret, char *reterr_text)
{
    (void)rt;
    (void)r;
    (void)reterr_text;
    *ret = NULL;
    return VV_OK;
}

void vv_mirror_free(struct vv_mirror *m)
{
    (void)m;
}

void vv_canaries_settle(struct vv_canaries *cs, bool kept)
{
    (void)cs;
    (void)kept;
}

void vv_canaries_tick(struct vv_canaries *cs, uint64_t now_ns)
{
    (void)cs;
    (void)now_ns;
}

bool vv_canary_choose(struct vv_exchange *x)
{
    (void)x;
    return false;
}

void vv_canary_report(struct vv_exchange *x, bool failed, uint64_t took_ns)
{
    (void)x;
    (void)failed;
    (void)took_ns;
}
