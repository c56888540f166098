/* src/admin/api_ask.c - questions about the configuration: what is in use, what would happen. */
#include "admin/admin_int.h"
#include "conf/conf.h"
#include "os/file.h"
#include "wire/uri.h"

#include <stdlib.h>
#include <string.h>

#define HEADERS_MAX 32
#define OVERLAY_BYTES_MAX (4 * 1024 * 1024)

/* All values of ?header=, in order. */
static size_t headers_of(const struct vv_admin_exchange *x, char *text, size_t text_bytes,
                         const char *list[HEADERS_MAX])
{
    struct vv_str rest = x->head->query;
    size_t used = 0, n = 0;
    while (rest.n > 0 && n < HEADERS_MAX) {
        size_t bytes = 0;
        struct vv_str value = vv_str_cut(&rest, '&');
        const struct vv_str name = vv_str_cut(&value, '=');
        if (!vv_str_eq(name, VV_STR("header")) || value.n + 1 > text_bytes - used ||
            vv_uri_decode(value, text + used, text_bytes - used - 1, &bytes) != VV_OK) {
            continue;
        }
        list[n++] = text + used;
        text[used + bytes] = '\0';
        used += bytes + 1;
    }
    return n;
}

enum vv_err admin_explain(struct vv_admin *a, struct vv_admin_exchange *x)
{
    char method[64], url[4096], listener[128], text[8192];
    const char *headers[HEADERS_MAX];
    const size_t count = headers_of(x, text, sizeof text, headers);
    const struct vv_explain_request r = {
        .method = admin_query(x, "method", method, sizeof method, "GET"),
        .url = admin_query(x, "url", url, sizeof url, NULL),
        .headers = headers,
        .headers_count = count,
        .listener = admin_query(x, "listener", listener, sizeof listener, NULL)};
    if (r.url == NULL) {
        return vv_admin_fail(x, 400, "give the url: ?method=GET&url=/api/");
    }
    vv_json_obj(&x->json);
    const enum vv_err err = vv_gateway_explain(a->o.gateway, &r, &x->json);
    if (err != VV_OK) {
        return vv_admin_fail(x, vv_err_http_status(err), "%s", vv_err_text(err));
    }
    vv_json_obj_end(&x->json);
    vv_sb_addc(&x->out, '\n');
    return VV_OK;
}

static bool query_is(const struct vv_admin_exchange *x, const char *name, const char *want)
{
    char buf[16];
    const char *got = admin_query(x, name, buf, sizeof buf, NULL);
    return got != NULL && strcmp(got, want) == 0;
}

enum vv_err admin_config(struct vv_admin *a, struct vv_admin_exchange *x)
{
    const struct vv_conf_doc *doc = vv_settings_doc(vv_gateway_settings(a->o.gateway));
    unsigned flags = 0;
    flags |= query_is(x, "form", "long") ? VV_CONF_SHOW_LONG : 0;
    flags |= query_is(x, "origin", "true") ? VV_CONF_SHOW_ORIGIN : 0;
    flags |= query_is(x, "json", "true") ? VV_CONF_SHOW_JSON : 0;
    x->type = (flags & VV_CONF_SHOW_JSON) != 0 ? "application/json" : "application/yaml";
    vv_conf_show(doc, flags, &x->out);
    return VV_OK;
}

enum vv_err admin_config_diff(struct vv_admin *a, struct vv_admin_exchange *x)
{
    const struct vv_conf_doc *doc = vv_settings_doc(vv_gateway_settings(a->o.gateway));
    const char *path = vv_conf_overlay_path(doc);
    char *text = NULL;
    size_t bytes = 0;
    const enum vv_err err =
        path == NULL ? VV_ENOENT : vv_file_read(path, OVERLAY_BYTES_MAX, &text, &bytes);
    if (err != VV_OK && err != VV_ENOENT) {
        return vv_admin_fail(x, 500, "the overlay cannot be read: %s", vv_err_text(err));
    }
    vv_json_obj(&x->json);
    vv_json_kcstr(&x->json, "overlay", path);
    vv_json_kbool(&x->json, "exists", err == VV_OK);
    vv_json_kstr(&x->json, "text", (struct vv_str){text != NULL ? text : "", bytes});
    vv_json_obj_end(&x->json);
    vv_sb_addc(&x->out, '\n');
    free(text);
    return VV_OK;
}
