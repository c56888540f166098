/* src/admin/api_chaos.c - faults on purpose: ordering, listing, ending them. Names are checked here, so
 * that a mistyped route is told instead of waited for. */
#include "admin/admin_int.h"
#include "base/units.h"
#include "gateway/faults.h"
#include "gateway/homes.h"

#include <jansson.h>
#include <string.h>

#define FOR_DEFAULT VV_MINUTE
#define STATUS_DEFAULT 503
#define EXAMPLE                                                                                    \
    "{\"fault\": \"delay\", \"share\": \"10%\", \"for\": \"60s\", \"route\": \"api\", "            \
    "\"delay\": \"200ms\"}"

static struct vv_faults *faults_of(struct vv_admin *a)
{
    return vv_gateway_homes(a->o.gateway)->faults;
}

enum vv_err admin_chaos(struct vv_admin *a, struct vv_admin_exchange *x)
{
    vv_faults_json(faults_of(a), vv_loop_now(a->o.loop), &x->json);
    vv_sb_addc(&x->out, '\n');
    return VV_OK;
}

/* ---- an order out of JSON ---- */

static bool kind_of(const json_t *v, enum vv_fault_kind *ret)
{
    for (unsigned i = 0; json_is_string(v) && i < VV_FAULT_KIND_COUNT; i++) {
        if (strcmp(json_string_value(v), vv_fault_kind_name((enum vv_fault_kind)i)) == 0) {
            *ret = (enum vv_fault_kind)i;
            return true;
        }
    }
    return false;
}

static bool whole(const json_t *v, uint64_t max, uint64_t *ret)
{
    if (!json_is_integer(v) || json_integer_value(v) < 0 || (uint64_t)json_integer_value(v) > max) {
        return false;
    }
    *ret = (uint64_t)json_integer_value(v);
    return true;
}

static bool duration(const json_t *v, uint64_t *ret)
{
    return json_is_string(v) && vv_parse_duration(vv_str_from(json_string_value(v)), ret) == VV_OK;
}

static bool known_route(const struct vv_settings *s, const char *name)
{
    for (size_t i = 0; s->routes != NULL && i < s->routes->count; i++) {
        const struct vv_route_settings *r = s->routes->item[i];
        if (strcmp(r->name, name) == 0) {
            return true;
        }
    }
    return false;
}

static bool known_service(const struct vv_settings *s, const char *name)
{
    for (size_t i = 0; s->services != NULL && i < s->services->count; i++) {
        const struct vv_service_settings *v = s->services->item[i];
        if (strcmp(v->name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* One member; false: its value does not fit. */
static bool read_member(const struct vv_settings *s, const char *key, const json_t *v,
                        struct vv_fault_order *o, uint64_t *lasts_ns)
{
    struct vv_fault *t = &o->fault;
    const char *text = json_string_value(v); /* NULL: no text */
    uint64_t n = 0;
    if (strcmp(key, "fault") == 0) {
        return kind_of(v, &t->kind);
    }
    if (strcmp(key, "share") == 0) {
        return text != NULL && vv_parse_ppm(vv_str_from(text), &t->share_ppm) == VV_OK;
    }
    if (strcmp(key, "for") == 0) {
        return duration(v, lasts_ns);
    }
    if (strcmp(key, "delay") == 0) {
        return duration(v, &t->delay_ns);
    }
    if (strcmp(key, "jitter") == 0) {
        return duration(v, &t->jitter_ns);
    }
    if (strcmp(key, "status") == 0) {
        const bool ok = whole(v, 999, &n);
        t->status = (uint32_t)n;
        return ok;
    }
    if (strcmp(key, "bytes") == 0) {
        return text != NULL ? vv_parse_size(vv_str_from(text), &t->bytes) == VV_OK
                            : whole(v, UINT32_MAX, &t->bytes);
    }
    if (strcmp(key, "route") == 0 && text != NULL && known_route(s, text)) {
        o->route = vv_str_from(text);
        return true;
    }
    if (strcmp(key, "service") == 0 && text != NULL && known_service(s, text)) {
        o->service = vv_str_from(text);
        return true;
    }
    return false;
}

static const char *const keys[] = {"fault", "share",  "for",    "route", "service",
                                   "delay", "jitter", "status", "bytes"};

static bool known_key(const char *key)
{
    for (size_t i = 0; i < VV_COUNT(keys); i++) {
        if (strcmp(keys[i], key) == 0) {
            return true;
        }
    }
    return false;
}

static void refuse_member(struct vv_admin_exchange *x, const char *key, const json_t *value)
{
    const char *text = json_is_string(value) ? json_string_value(value) : "this";
    if (json_is_string(value) && (strcmp(key, "route") == 0 || strcmp(key, "service") == 0)) {
        (void)vv_admin_fail(x, 404, "there is no %s \"%s\"", key, text);
    } else {
        (void)vv_admin_fail(x, 400, "\"%s\" cannot be %s; for example %s", key, text, EXAMPLE);
    }
}

/* False: answered. The texts of *o are the body's. */
static bool read_order(struct vv_admin *a, struct vv_admin_exchange *x, json_t *body,
                       struct vv_fault_order *o)
{
    const struct vv_settings *s = vv_gateway_settings(a->o.gateway);
    const uint64_t now_ns = vv_loop_now(a->o.loop);
    uint64_t lasts_ns = FOR_DEFAULT;
    const char *key = NULL;
    json_t *value = NULL;
    *o = (struct vv_fault_order){
        .fault = {.kind = VV_FAULT_KIND_COUNT, .from_ns = now_ns, .status = STATUS_DEFAULT}};
    json_object_foreach(body, key, value)
    {
        if (!known_key(key)) {
            (void)vv_admin_fail(x, 400, "\"%s\" is not understood: %s", key, EXAMPLE);
            return false;
        }
        if (!read_member(s, key, value, o, &lasts_ns)) {
            refuse_member(x, key, value);
            return false;
        }
    }
    if (o->fault.kind == VV_FAULT_KIND_COUNT || o->fault.share_ppm == 0) {
        (void)vv_admin_fail(x, 400, "give the fault and its share: %s", EXAMPLE);
        return false;
    }
    o->fault.until_ns = now_ns + lasts_ns;
    return true;
}

enum vv_err admin_chaos_order(struct vv_admin *a, struct vv_admin_exchange *x)
{
    char why[256] = "";
    uint32_t id = 0;
    struct vv_fault_order o;
    json_error_t where;
    json_t *body = json_loadb(x->body.p, x->body.n, JSON_REJECT_DUPLICATES, &where);
    if (!json_is_object(body)) {
        json_decref(body);
        return vv_admin_fail(x, 400, "the body must be a JSON object: %s", EXAMPLE);
    }
    if (!read_order(a, x, body, &o)) {
        json_decref(body);
        return VV_OK;
    }
    const enum vv_err err = vv_faults_order(faults_of(a), &o, vv_loop_now(a->o.loop), &id, why);
    json_decref(body);
    if (err != VV_OK) {
        return vv_admin_fail(x, err == VV_ELIMIT ? 409 : vv_err_http_status(err), "%s", why);
    }
    x->status = 201;
    vv_json_obj(&x->json);
    vv_json_ku64(&x->json, "id", id);
    vv_json_obj_end(&x->json);
    vv_sb_addc(&x->out, '\n');
    return VV_OK;
}

static enum vv_err stop(struct vv_admin *a, struct vv_admin_exchange *x, uint32_t id)
{
    const size_t before = vv_faults_active(faults_of(a));
    if (vv_faults_stop(faults_of(a), id) != VV_OK) {
        return vv_admin_fail(x, 404, "no active fault has the number %s", a->param[0]);
    }
    vv_json_obj(&x->json);
    vv_json_ku64(&x->json, "stopped", before - vv_faults_active(faults_of(a)));
    vv_json_obj_end(&x->json);
    vv_sb_addc(&x->out, '\n');
    return VV_OK;
}

enum vv_err admin_chaos_stop(struct vv_admin *a, struct vv_admin_exchange *x)
{
    return stop(a, x, 0);
}

enum vv_err admin_chaos_stop_one(struct vv_admin *a, struct vv_admin_exchange *x)
{
    uint64_t id = 0;
    if (vv_str_to_u64(vv_str_from(a->param[0]), &id) != VV_OK || id == 0 || id > UINT32_MAX) {
        return vv_admin_fail(x, 404, "no active fault has the number %s", a->param[0]);
    }
    return stop(a, x, (uint32_t)id);
}
