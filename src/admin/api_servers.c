/* src/admin/api_servers.c - servers of a service, changed while it runs. The gateway is changed first,
 * the overlay after it: a file that cannot be written is reported, the traffic follows the operator. */
#include "admin/admin_int.h"
#include "admin/overlay.h"
#include "conf/conf.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define WEIGHT_MAX 1000

static const struct vv_service_settings *find_service(const struct vv_admin *a, const char *name)
{
    const struct vv_settings *s = vv_gateway_settings(a->o.gateway);
    for (size_t i = 0; s->services != NULL && i < s->services->count; i++) {
        const struct vv_service_settings *v = s->services->item[i];
        if (strcmp(v->name, name) == 0) {
            return v;
        }
    }
    return NULL;
}

/* The gateway prints all services; one of them is picked out of that. */
enum vv_err admin_servers(struct vv_admin *a, struct vv_admin_exchange *x)
{
    struct vv_sb all = VV_SB_INIT;
    struct vv_json j;
    const char *name = a->param[0];
    vv_json_init(&j, &all);
    vv_gateway_services_json(a->o.gateway, &j);
    json_t *root = json_loadb(vv_sb_str(&all).p, vv_sb_str(&all).n, 0, NULL);
    vv_sb_fini(&all);
    for (size_t i = 0; i < json_array_size(root); i++) {
        json_t *service = json_array_get(root, i);
        const char *got = json_string_value(json_object_get(service, "name"));
        if (got == NULL || strcmp(got, name) != 0) {
            continue;
        }
        char *text = json_dumps(service, JSON_INDENT(2));
        vv_sb_adds(&x->out, text != NULL ? text : "{}");
        vv_sb_addc(&x->out, '\n');
        free(text);
        json_decref(root);
        return VV_OK;
    }
    json_decref(root);
    return vv_admin_fail(x, 404, "there is no service \"%s\"", name);
}

/* Reads {url, weight, drain}; false with an answer in x when something is not as it should be. */
static bool read_change(struct vv_admin_exchange *x, json_t **ret_body, struct vv_server_change *c)
{
    json_error_t where;
    json_t *body = json_loadb(x->body.p, x->body.n, JSON_REJECT_DUPLICATES, &where);
    const char *key = NULL;
    json_t *value = NULL;
    if (!json_is_object(body)) {
        json_decref(body);
        (void)vv_admin_fail(x, 400, "the body must be a JSON object: {\"weight\": 2}");
        return false;
    }
    *ret_body = body;
    json_object_foreach(body, key, value)
    {
        if (strcmp(key, "weight") == 0 && json_is_integer(value) &&
            json_integer_value(value) >= 1 && json_integer_value(value) <= WEIGHT_MAX) {
            c->weight = (uint32_t)json_integer_value(value);
        } else if (strcmp(key, "drain") == 0 && json_is_boolean(value)) {
            c->drain = json_is_true(value);
        } else if (strcmp(key, "url") == 0 && json_is_string(value) && c->what == VV_SERVER_ADD) {
            c->server = json_string_value(value);
        } else {
            (void)vv_admin_fail(x, 400,
                                "\"%s\" is not understood: weight is a number from 1 to %d, drain "
                                "is true or false%s",
                                key, WEIGHT_MAX, c->what == VV_SERVER_ADD ? ", url is a text" : "");
            return false;
        }
    }
    return true;
}

static enum vv_err keep(struct vv_admin *a, struct vv_admin_exchange *x,
                        const struct vv_server_change *c)
{
    const struct vv_service_settings *now = find_service(a, c->service);
    const struct vv_conf_doc *doc = vv_settings_doc(vv_gateway_settings(a->o.gateway));
    const char *path = vv_conf_overlay_path(doc);
    const char *why = NULL;
    if (now == NULL || path == NULL || strchr(c->service, ':') != NULL) {
        why = "this service has no name in a file, so the change ends with the process";
    } else {
        const enum vv_err err = vv_overlay_server(path, now, c);
        why = err == VV_OK        ? NULL
              : err == VV_ESYNTAX ? "the overlay file was edited by hand; fold it into the file"
                                  : vv_err_text(err);
    }
    vv_json_obj(&x->json);
    vv_json_kbool(&x->json, "ok", true);
    vv_json_kbool(&x->json, "kept", why == NULL);
    vv_json_kcstr(&x->json, "overlay", path);
    if (why != NULL) {
        vv_json_kcstr(&x->json, "warning", why);
    }
    vv_json_obj_end(&x->json);
    vv_sb_addc(&x->out, '\n');
    return VV_OK;
}

static enum vv_err change(struct vv_admin *a, struct vv_admin_exchange *x,
                          const struct vv_server_change *c)
{
    const enum vv_err err = vv_gateway_server_change(a->o.gateway, c);
    if (err == VV_ENOENT) {
        return vv_admin_fail(x, 404, "there is no server \"%s\" in a service \"%s\"", c->server,
                             c->service);
    }
    if (err == VV_EEXIST) {
        return vv_admin_fail(x, 409, "the service \"%s\" has a server \"%s\" already", c->service,
                             c->server);
    }
    if (err == VV_ECONFIG) {
        return vv_admin_fail(
            x, 409,
            "the service \"%s\" does not speak TLS: give it \"tls: {verify: true}\" "
            "in the file first",
            c->service);
    }
    if (err == VV_EINVAL || err == VV_ESYNTAX) {
        return vv_admin_fail(x, 400, "\"%s\" is no address of a server: write 127.0.0.1:3001",
                             c->server);
    }
    return err != VV_OK ? err : keep(a, x, c);
}

static enum vv_err change_with_body(struct vv_admin *a, struct vv_admin_exchange *x,
                                    struct vv_server_change *c)
{
    json_t *body = NULL;
    enum vv_err err = VV_OK;
    if (read_change(x, &body, c)) {
        if (c->server == NULL) {
            err =
                vv_admin_fail(x, 400, "give the url of the server: {\"url\": \"127.0.0.1:3001\"}");
        } else {
            err = change(a, x, c);
        }
    }
    json_decref(body);
    return err;
}

enum vv_err admin_server_add(struct vv_admin *a, struct vv_admin_exchange *x)
{
    struct vv_server_change c = {.what = VV_SERVER_ADD, .service = a->param[0], .drain = -1};
    if (find_service(a, a->param[0]) == NULL) {
        return vv_admin_fail(x, 404, "there is no service \"%s\"", a->param[0]);
    }
    return change_with_body(a, x, &c);
}

enum vv_err admin_server_change(struct vv_admin *a, struct vv_admin_exchange *x)
{
    struct vv_server_change c = {
        .what = VV_SERVER_CHANGE, .service = a->param[0], .server = a->param[1], .drain = -1};
    return change_with_body(a, x, &c);
}

enum vv_err admin_server_remove(struct vv_admin *a, struct vv_admin_exchange *x)
{
    const struct vv_server_change c = {
        .what = VV_SERVER_REMOVE, .service = a->param[0], .server = a->param[1], .drain = -1};
    return change(a, x, &c);
}
