/* src/gateway/access.c - who asks, and may they? */
#include "gateway/access.h"
#include <stdlib.h>

struct vv_access {
    struct vv_metrics *metrics;
};

enum vv_err vv_access_new(struct vv_metrics *metrics, struct vv_access **ret)
{
    *ret = calloc(1, sizeof **ret);
    if (*ret == NULL) {
        return VV_ENOMEM;
    }
    (*ret)->metrics = metrics;
    return VV_OK;
}

void vv_access_free(struct vv_access *a)
{
    free(a);
}

enum vv_err vv_access_prepare(struct vv_access *a, const struct vv_access_settings *conf,
                              char *reterr_text)
{
    (void)a;
    (void)conf;
    (void)reterr_text;
    return VV_OK;
}

void vv_access_settle(struct vv_access *a, bool kept)
{
    (void)a;
    (void)kept;
}

void vv_access_tick(struct vv_access *a, uint64_t now_ns)
{
    (void)a;
    (void)now_ns;
}

bool vv_access_check(struct vv_exchange *x)
{
    (void)x;
    return false;
}

void vv_access_end(struct vv_exchange *x, bool refused)
{
    (void)x;
    (void)refused;
}
