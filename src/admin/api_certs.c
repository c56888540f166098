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
