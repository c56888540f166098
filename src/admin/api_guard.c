/* src/admin/api_guard.c - guards: what they count, what a limit says to a key, breakers by hand. */
#include "admin/admin_int.h"
#include "gateway/homes.h"

#include <string.h>

#define KEY_BYTES 1024
#define CLIENTS_SHOWN 20
#define CLIENTS_SHOWN_MAX 100

enum vv_err admin_guards(struct vv_admin *a, struct vv_admin_exchange *x)
{
    vv_json_obj(&x->json);
    vv_gateway_guards_json(a->o.gateway, &x->json);
    vv_json_obj_end(&x->json);
    vv_sb_addc(&x->out, '\n');
    return VV_OK;
}

enum vv_err admin_clients(struct vv_admin *a, struct vv_admin_exchange *x)
{
    const uint64_t limit = admin_query_u64(x, "limit", CLIENTS_SHOWN, CLIENTS_SHOWN_MAX);
    vv_json_obj(&x->json);
    vv_clients_json(vv_gateway_homes(a->o.gateway)->clients, vv_loop_now(a->o.loop), (size_t)limit,
                    &x->json);
    vv_json_obj_end(&x->json);
    vv_sb_addc(&x->out, '\n');
    return VV_OK;
}

enum vv_err admin_clients_pardon(struct vv_admin *a, struct vv_admin_exchange *x)
{
    char buf[VV_ADDR_TEXT];
    struct vv_addr ip;
    const char *text = admin_query(x, "address", buf, sizeof buf, NULL);
    if (text != NULL && !vv_addr_from_ip(vv_str_from(text), 0, &ip)) {
        return vv_admin_fail(x, 400, "\"%s\" is no address: write 192.0.2.1 or 2001:db8::1", text);
    }
    const size_t count = vv_clients_pardon(vv_gateway_homes(a->o.gateway)->clients,
                                           text != NULL ? &ip : NULL, vv_loop_now(a->o.loop));
    vv_json_obj(&x->json);
    vv_json_ku64(&x->json, "pardoned", count);
    vv_json_obj_end(&x->json);
    vv_sb_addc(&x->out, '\n');
    return VV_OK;
}

enum vv_err admin_limits(struct vv_admin *a, struct vv_admin_exchange *x)
{
    char limit_buf[KEY_BYTES];
    char key_buf[KEY_BYTES];
    const char *limit = admin_query(x, "limit", limit_buf, sizeof limit_buf, "");
    const char *key = admin_query(x, "key", key_buf, sizeof key_buf, NULL);
    vv_json_obj(&x->json);
    vv_json_key(&x->json, "limits");
    const size_t found =
        vv_gateway_limits_json(a->o.gateway, vv_str_from(limit), vv_str_from(key), &x->json);
    vv_json_obj_end(&x->json);
    vv_sb_addc(&x->out, '\n');
    if (found == 0 && limit[0] != '\0') {
        vv_sb_reset(&x->out);
        vv_json_init(&x->json, &x->out);
        return vv_admin_fail(x, 404, "there is no limit \"%s\"", limit);
    }
    return VV_OK;
}

static enum vv_err order(struct vv_admin *a, struct vv_admin_exchange *x, struct vv_str what)
{
    const enum vv_err err =
        vv_gateway_breaker_order(a->o.gateway, vv_str_from(a->param[0]), what, &x->json);
    if (err == VV_ENOENT) {
        return vv_admin_fail(x, 404, "there is no breaker \"%s\": names are CLASS:SERVICE",
                             a->param[0]);
    }
    vv_sb_addc(&x->out, '\n');
    return err;
}

enum vv_err admin_breaker_open(struct vv_admin *a, struct vv_admin_exchange *x)
{
    return order(a, x, VV_STR("open"));
}

enum vv_err admin_breaker_close(struct vv_admin *a, struct vv_admin_exchange *x)
{
    return order(a, x, VV_STR("close"));
}

enum vv_err admin_breaker_reset(struct vv_admin *a, struct vv_admin_exchange *x)
{
    return order(a, x, VV_STR("reset"));
}
