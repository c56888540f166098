/* src/admin/api_keys.c - keys of callers: made, listed with their usage, revoked, at once and for good. */
#include "admin/admin_int.h"
#include "gateway/homes.h"
#include "gateway/keys.h"
#include "os/clock.h"

#include <jansson.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#define ERROR_BYTES 256
#define EXAMPLE                                                                                    \
    "{\"name\": \"partner-42\", \"plan\": \"premium\", \"expires\": \"90d\"}, with \"key\" if "    \
    "there is one already"

enum vv_err admin_keys(struct vv_admin *a, struct vv_admin_exchange *x)
{
    vv_json_obj(&x->json);
    vv_access_json(vv_gateway_homes(a->o.gateway)->access, &x->json);
    vv_json_obj_end(&x->json);
    vv_sb_addc(&x->out, '\n');
    return VV_OK;
}

static struct vv_str text_of(const json_t *body, const char *key)
{
    const json_t *v = json_object_get(body, key);
    return json_is_string(v) ? (struct vv_str){json_string_value(v), json_string_length(v)}
                             : (struct vv_str){NULL, 0};
}

/* Only texts, only under these names. */
static bool is_understood(const json_t *body)
{
    static const char *const keys[] = {"name", "plan", "expires", "key"};
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach((json_t *)(uintptr_t)body, key, value)
    {
        bool known = false;
        for (size_t i = 0; i < VV_COUNT(keys); i++) {
            known |= strcmp(keys[i], key) == 0;
        }
        if (!known || !json_is_string(value)) {
            return false;
        }
    }
    return json_is_object(body);
}

static enum vv_err answer_failure(struct vv_admin_exchange *x, enum vv_err err, const char *why)
{
    const int status = err == VV_EUNSUPPORTED ? 409 : vv_err_http_status(err);
    return vv_admin_fail(x, status, "%s", why[0] != '\0' ? why : vv_err_text(err));
}

enum vv_err admin_key_add(struct vv_admin *a, struct vv_admin_exchange *x)
{
    char why[ERROR_BYTES] = "", key[VV_KEY_TEXT] = "", time[VV_UTC_BYTES];
    json_t *body = json_loadb(x->body.p, x->body.n, JSON_REJECT_DUPLICATES, NULL);
    if (!is_understood(body)) {
        json_decref(body);
        return vv_admin_fail(x, 400, "the body must be a JSON object of texts: %s", EXAMPLE);
    }
    struct vv_access_key k = {
        .name = text_of(body, "name"), .plan = text_of(body, "plan"), .key = text_of(body, "key")};
    const struct vv_str lasts = text_of(body, "expires");
    if (lasts.p != NULL && vv_key_lasts(lasts, vv_clock_wall(), &k.expires_s) != VV_OK) {
        json_decref(body);
        return vv_admin_fail(x, 400, "\"expires\" is a duration from now, up to 36500d: \"90d\"");
    }
    const enum vv_err err = vv_access_key_add(vv_gateway_homes(a->o.gateway)->access, &k, key, why);
    if (err == VV_OK) {
        vv_json_obj(&x->json);
        vv_json_kstr(&x->json, "name", k.name);
        vv_json_key(&x->json, "plan");
        if (k.plan.n > 0) {
            vv_json_str(&x->json, k.plan);
        } else {
            vv_json_null(&x->json);
        }
        vv_json_kcstr(&x->json, "expires",
                      k.expires_s != 0 ? vv_utc_format(k.expires_s, time) : NULL);
        if (key[0] != '\0') {
            vv_json_kcstr(&x->json, "key", key);
        }
        vv_json_obj_end(&x->json);
        vv_sb_addc(&x->out, '\n');
        x->status = 201;
    }
    OPENSSL_cleanse(key, sizeof key);
    json_decref(body);
    return err == VV_OK ? VV_OK : answer_failure(x, err, why);
}

enum vv_err admin_key_revoke(struct vv_admin *a, struct vv_admin_exchange *x)
{
    char why[ERROR_BYTES] = "";
    const struct vv_str name = vv_str_from(a->param[0]);
    const enum vv_err err = vv_access_key_revoke(vv_gateway_homes(a->o.gateway)->access, name, why);
    if (err != VV_OK) {
        return answer_failure(x, err, why);
    }
    vv_json_obj(&x->json);
    vv_json_kstr(&x->json, "revoked", name);
    vv_json_obj_end(&x->json);
    vv_sb_addc(&x->out, '\n');
    return VV_OK;
}
