/* src/gateway/actions/compose.c - one answer out of the answers of several services. */
#include "gateway/compose_plan.h"
#include "gateway/exchange.h"

enum vv_err vv_compose_new(const struct vv_runtime *rt, const struct vv_route_settings *r,
                           struct vv_compose **ret, char *reterr_text)
{
    (void)rt;
    (void)r;
    (void)reterr_text;
    *ret = NULL;
    return VV_OK;
}

void vv_compose_free(struct vv_compose *c)
{
    (void)c;
}

static void start(struct vv_exchange *x)
{
    vv_answer_error(x, VV_REASON_INTERNAL);
}

const struct vv_action vv_action_compose = {"compose", start, NULL, NULL, NULL};
