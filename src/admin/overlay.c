/* src/admin/overlay.c - read, change one list, write whole: the file stays small and always parses. */
#include "admin/overlay.h"
#include "os/file.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define OVERLAY_BYTES_MAX ((size_t)4 * 1024 * 1024)
#define OVERLAY_MODE 0640

static const char header[] = "# Changes made while the gateway ran; merged over the file beside "
                             "it. See: vivace config diff\n";

static const char *without_scheme(const char *url)
{
    return strncmp(url, "http://", 7) == 0 ? url + 7 : url;
}

bool vv_overlay_same_server(const char *a, const char *b)
{
    const char *x = without_scheme(a), *y = without_scheme(b);
    const size_t n = strlen(x), m = strlen(y);
    const size_t xn = n > 0 && x[n - 1] == '/' ? n - 1 : n;
    const size_t yn = m > 0 && y[m - 1] == '/' ? m - 1 : m;
    return xn == yn && strncmp(x, y, xn) == 0;
}

/* VV_ENOENT: there is none yet. */
static enum vv_err read_overlay(const char *path, json_t **ret)
{
    char *text = NULL;
    size_t bytes = 0;
    enum vv_err err = vv_file_read(path, OVERLAY_BYTES_MAX, &text, &bytes);
    if (err != VV_OK) {
        return err;
    }
    struct vv_str rest = {text, bytes};
    while (rest.n > 0 && (rest.p[0] == '#' || rest.p[0] == '\n')) {
        (void)vv_str_cut(&rest, '\n');
    }
    json_t *root = rest.n > 0 ? json_loadb(rest.p, rest.n, JSON_REJECT_DUPLICATES, NULL) : NULL;
    free(text);
    if (!json_is_object(root)) {
        json_decref(root);
        return VV_ESYNTAX;
    }
    *ret = root;
    return VV_OK;
}

static enum vv_err write_overlay(const char *path, const json_t *root)
{
    char *json = json_dumps(root, JSON_INDENT(2));
    struct vv_sb text = VV_SB_INIT;
    if (json == NULL) {
        return VV_ENOMEM;
    }
    vv_sb_adds(&text, header);
    vv_sb_adds(&text, json);
    vv_sb_addc(&text, '\n');
    free(json);
    const enum vv_err err =
        text.failed ? VV_ENOMEM : vv_file_write(path, vv_sb_str(&text), OVERLAY_MODE);
    vv_sb_fini(&text);
    return err;
}

static json_t *server_json(const char *url, uint64_t weight, bool drain)
{
    json_t *o = json_object();
    (void)json_object_set_new(o, "url", json_string(url));
    if (weight > 1) {
        (void)json_object_set_new(o, "weight", json_integer((json_int_t)weight));
    }
    if (drain) {
        (void)json_object_set_new(o, "drain", json_true());
    }
    return o;
}

static json_t *list_of_settings(const struct vv_service_settings *now)
{
    json_t *list = json_array();
    for (size_t i = 0; now->servers != NULL && i < now->servers->count; i++) {
        const struct vv_server_settings *s = now->servers->item[i];
        (void)json_array_append_new(list, server_json(s->url, s->weight, s->drain != 0));
    }
    return list;
}

/* The object under a key, made when it is not there. Borrowed. */
static json_t *child(json_t *parent, const char *key)
{
    json_t *o = json_object_get(parent, key);
    if (o == NULL) {
        o = json_object();
        (void)json_object_set_new(parent, key, o);
    }
    return o;
}

static enum vv_err change_list(json_t *list, const struct vv_server_change *c)
{
    size_t at = json_array_size(list);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *url = json_string_value(json_object_get(json_array_get(list, i), "url"));
        if (url != NULL && vv_overlay_same_server(url, c->server)) {
            at = i;
        }
    }
    const bool found = at < json_array_size(list);
    if (c->what == VV_SERVER_ADD) {
        if (found) {
            return VV_EEXIST;
        }
        (void)json_array_append_new(
            list, server_json(c->server, c->weight != 0 ? c->weight : 1, c->drain == 1));
        return VV_OK;
    }
    if (!found) {
        return VV_ENOENT;
    }
    if (c->what == VV_SERVER_REMOVE) {
        (void)json_array_remove(list, at);
        return VV_OK;
    }
    json_t *server = json_array_get(list, at);
    if (c->weight != 0) {
        (void)json_object_set_new(server, "weight", json_integer((json_int_t)c->weight));
    }
    if (c->drain >= 0) {
        (void)json_object_set_new(server, "drain", json_boolean(c->drain));
    }
    return VV_OK;
}

enum vv_err vv_overlay_server(const char *path, const struct vv_service_settings *now,
                              const struct vv_server_change *c)
{
    json_t *root = NULL;
    enum vv_err err = read_overlay(path, &root);
    if (err == VV_ENOENT) {
        root = json_object();
        err = VV_OK;
    }
    if (err != VV_OK) {
        return err;
    }
    json_t *service = child(child(root, "services"), c->service);
    json_t *list = json_object_get(service, "servers");
    if (list == NULL) {
        list = list_of_settings(now);
        (void)json_object_set_new(service, "servers", list);
    }
    err = json_is_array(list) ? change_list(list, c) : VV_ESYNTAX;
    if (err == VV_OK) {
        err = write_overlay(path, root);
    }
    json_decref(root);
    return err;
}
