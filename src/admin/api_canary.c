/* src/admin/api_canary.c - canaries of routes: how they do, and how much they get. */
#include "admin/admin_int.h"
#include "base/units.h"
#include "gateway/homes.h"

#include <jansson.h>
#include <string.h>

enum vv_err admin_canary(struct vv_admin *a, struct vv_admin_exchange *x)
{
    char buf[ADMIN_PARAM_BYTES];
    const char *route = admin_query(x, "route", buf, sizeof buf, "");
    vv_json_obj(&x->json);
    vv_json_key(&x->json, "canaries");
    vv_canaries_json(vv_gateway_homes(a->o.gateway)->canaries, vv_str_from(route),
                     vv_loop_now(a->o.loop), &x->json);
    vv_json_obj_end(&x->json);
    vv_sb_addc(&x->out, '\n');
    return VV_OK;
}

/* Reads {share: "10%"}; *ret_ppm is 0 without one. False with an answer in x. */
static bool read_share(struct vv_admin_exchange *x, uint64_t *ret_ppm)
{
    json_error_t where;
    const char *key = NULL;
    json_t *value = NULL;
    bool good = true;
    *ret_ppm = 0;
    if (x->body.n == 0) {
        return true;
    }
    json_t *body = json_loadb(x->body.p, x->body.n, JSON_REJECT_DUPLICATES, &where);
    json_object_foreach(body, key, value)
    {
        const struct vv_str text = vv_str_from(json_string_value(value));
        good = good && strcmp(key, "share") == 0 && vv_parse_ppm(text, ret_ppm) == VV_OK &&
               *ret_ppm > 0 && *ret_ppm <= VV_PPM;
    }
    good = good && json_is_object(body);
    json_decref(body);
    if (!good) {
        (void)vv_admin_fail(x, 400,
                            "the body may say how much, up to 100%%: {\"share\": \"10%%\"}");
    }
    return good;
}

enum vv_err admin_canary_change(struct vv_admin *a, struct vv_admin_exchange *x)
{
    struct vv_canaries *cs = vv_gateway_homes(a->o.gateway)->canaries;
    const struct vv_str route = vv_str_from(a->param[0]);
    const char *what = a->param[1];
    const uint64_t now_ns = vv_loop_now(a->o.loop);
    uint64_t ppm = 0;
    enum vv_err err;
    if (!read_share(x, &ppm)) {
        return VV_OK;
    }
    if (strcmp(what, "start") == 0) {
        err = vv_canary_start(cs, route, ppm, now_ns);
    } else if (strcmp(what, "promote") == 0) {
        err = vv_canary_promote(cs, route, ppm, now_ns);
    } else if (strcmp(what, "abort") == 0) {
        err = vv_canary_abort(cs, route, now_ns);
    } else {
        return vv_admin_fail(x, 404, "\"%s\" is none of start, promote and abort", what);
    }
    if (err == VV_ENOENT) {
        return vv_admin_fail(x, 404, "there is no route \"%s\" with a canary", a->param[0]);
    }
    if (err == VV_EINVAL) {
        return vv_admin_fail(x, 400, "the file names no share and no steps: {\"share\": \"10%%\"}");
    }
    if (err != VV_OK) {
        return err;
    }
    vv_json_obj(&x->json);
    vv_json_kbool(&x->json, "ok", true);
    vv_json_key(&x->json, "canaries");
    vv_canaries_json(cs, route, now_ns, &x->json);
    vv_json_obj_end(&x->json);
    vv_sb_addc(&x->out, '\n');
    return VV_OK;
}
