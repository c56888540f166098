/* src/gateway/guards.c - the guards by name. */
#include "gateway/guards.h"
#include <stdlib.h>

struct vv_guards {
    struct vv_metrics *metrics;
};

enum vv_err vv_guards_new(struct vv_metrics *metrics, unsigned workers, uint64_t limit_keys,
                          struct vv_guards **ret)
{
    (void)workers;
    (void)limit_keys;
    *ret = calloc(1, sizeof **ret);
    if (*ret == NULL) {
        return VV_ENOMEM;
    }
    (*ret)->metrics = metrics;
    return VV_OK;
}

void vv_guards_free(struct vv_guards *gs)
{
    free(gs);
}

enum vv_err vv_guards_breaker(struct vv_guards *gs, const struct vv_breaker_settings *conf,
                              const char *service, uint64_t now_ns, struct vv_named_breaker **ret)
{
    (void)gs;
    (void)conf;
    (void)service;
    (void)now_ns;
    *ret = NULL;
    return VV_OK;
}

enum vv_err vv_guards_service(struct vv_guards *gs, const struct vv_service_settings *conf,
                              struct vv_service_guard **ret)
{
    (void)gs;
    (void)conf;
    *ret = NULL;
    return VV_OK;
}

void vv_named_breaker_unref(struct vv_named_breaker *b)
{
    (void)b;
}

void vv_service_guard_unref(struct vv_service_guard *g)
{
    (void)g;
}

void vv_guards_settle(struct vv_guards *gs, bool kept)
{
    (void)gs;
    (void)kept;
}

void vv_guards_tick(struct vv_guards *gs, uint64_t now_ns)
{
    (void)gs;
    (void)now_ns;
}

unsigned vv_guards_shed_from(const struct vv_guards *gs)
{
    (void)gs;
    return VV_QUEUE_CLASSES;
}

enum vv_err vv_fail_rules_parse(const struct vv_conf_list *on, struct vv_fail_rules *ret,
                                const char **reterr_bad)
{
    (void)on;
    (void)reterr_bad;
    *ret = (struct vv_fail_rules){.connect = true, .broken = true};
    return VV_OK;
}
