/* src/admin/api_certs.c - the certificates of the listeners. */
#include "admin/admin_int.h"
#include "gateway/homes.h"

enum vv_err admin_certs(struct vv_admin *a, struct vv_admin_exchange *x)
{
    vv_json_obj(&x->json);
    vv_certs_json(vv_gateway_homes(a->o.gateway)->certs, &x->json);
    vv_json_obj_end(&x->json);
    vv_sb_addc(&x->out, '\n');
    return VV_OK;
}

/* What comes of it is in the log and in the status. */
static enum vv_err order(struct vv_admin *a, struct vv_admin_exchange *x,
                         enum vv_err (*what)(struct vv_certs *c, const char *name))
{
    const char *name = a->param[0];
    const enum vv_err err = what(vv_gateway_homes(a->o.gateway)->certs, name);
    if (err == VV_ENOENT) {
        return vv_admin_fail(x, 404, "no certificate of \"%s\" comes from an authority", name);
    }
    if (err != VV_OK) {
        return vv_admin_fail(x, err == VV_EAGAIN ? 409 : 500, "%s",
                             err == VV_EAGAIN ? "the last order for this name is not finished"
                                              : vv_err_text(err));
    }
    vv_json_obj(&x->json);
    vv_json_kcstr(&x->json, "name", name);
    vv_json_kbool(&x->json, "ordered", true);
    vv_json_obj_end(&x->json);
    vv_sb_addc(&x->out, '\n');
    return VV_OK;
}

enum vv_err admin_cert_renew(struct vv_admin *a, struct vv_admin_exchange *x)
{
    return order(a, x, vv_certs_renew);
}

enum vv_err admin_cert_revoke(struct vv_admin *a, struct vv_admin_exchange *x)
{
    return order(a, x, vv_certs_revoke);
}
