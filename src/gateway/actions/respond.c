/* src/gateway/actions/respond.c - a fixed answer from the file, filled in from the request. */
#include "gateway/exchange.h"

static void start(struct vv_exchange *x)
{
    const struct vv_respond_settings *conf = &x->route->conf->respond;
    struct vv_str body = vv_str_from(conf->body);
    if (x->route->respond != NULL) {
        struct vv_template_vars vars;
        vv_exchange_vars(x, &vars);
        const enum vv_err err =
            vv_template_render(x->route->respond, &vars, &x->arena, VV_TEMPLATE_TEXT, &body);
        if (err != VV_OK) {
            vv_answer_error(x, err == VV_ENOMEM ? VV_REASON_NO_MEMORY : VV_REASON_BAD_REQUEST);
            return;
        }
    }
    const struct vv_field type = {VV_STR("Content-Type"), vv_str_from(conf->type)};
    vv_answer_simple(x, (int)conf->status, &type, body.n > 0 ? 1 : 0, body);
}

const struct vv_action vv_action_respond = {.name = "respond", .start = start};
