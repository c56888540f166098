/* src/gateway/faults.c - orders of faults. */
#include "gateway/faults.h"
#include <stdlib.h>

struct vv_faults {
    struct vv_metrics *metrics;
};

enum vv_err vv_faults_new(struct vv_metrics *metrics, struct vv_faults **ret)
{
    *ret = calloc(1, sizeof **ret);
    if (*ret == NULL) {
        return VV_ENOMEM;
    }
    (*ret)->metrics = metrics;
    return VV_OK;
}

void vv_faults_free(struct vv_faults *f)
{
    free(f);
}

void vv_faults_conf(struct vv_faults *f, const struct vv_chaos_settings *conf)
{
    (void)f;
    (void)conf;
}

void vv_faults_tick(struct vv_faults *f, uint64_t now_ns)
{
    (void)f;
    (void)now_ns;
}

bool vv_faults_any(const struct vv_faults *f)
{
    (void)f;
    return false;
}

bool vv_faults_decide(struct vv_faults *f, struct vv_exchange *x, struct vv_fault_plan *ret)
{
    (void)f;
    (void)x;
    (void)ret;
    return false;
}

void vv_faults_report(struct vv_faults *f, uint64_t now_ns, bool bad)
{
    (void)f;
    (void)now_ns;
    (void)bad;
}
