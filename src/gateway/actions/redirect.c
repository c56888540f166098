/* src/gateway/actions/redirect.c - sends the client elsewhere (RFC 9110 15.4). */
#include "gateway/exchange.h"

static void start(struct vv_exchange *x)
{
    struct vv_template_vars vars;
    struct vv_str to;
    vv_exchange_vars(x, &vars);
    if (vv_template_render(x->route->redirect, &vars, &x->arena, VV_TEMPLATE_URI, &to) != VV_OK) {
        vv_answer_error(x, VV_REASON_BAD_REQUEST);
        return;
    }
    const struct vv_field location = {VV_STR("Location"), to};
    vv_answer_simple(x, (int)x->route->conf->redirect.status, &location, 1,
                     (struct vv_str){NULL, 0});
}

const struct vv_action vv_action_redirect = {.name = "redirect", .start = start};
