/* src/admin/api_cache.c - caches: what they hold, taking things out of them, putting them in. */
#include "admin/admin_int.h"
#include "base/units.h"
#include "gateway/caches.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define LIST_DEFAULT 100
#define LIST_MAX 1000
#define URL_BYTES 4096

enum vv_err admin_cache(struct vv_admin *a, struct vv_admin_exchange *x)
{
    vv_json_obj(&x->json);
    vv_json_key(&x->json, "caches");
    vv_caches_json(vv_gateway_caches(a->o.gateway), &x->json);
    vv_json_ku64(&x->json, "warming", vv_gateway_warming(a->o.gateway));
    vv_json_obj_end(&x->json);
    vv_sb_addc(&x->out, '\n');
    return VV_OK;
}

static enum vv_err no_cache(struct vv_admin_exchange *x, const char *name)
{
    vv_sb_reset(&x->out);
    vv_json_init(&x->json, &x->out);
    return vv_admin_fail(x, 404, "there is no cache \"%s\"", name);
}

enum vv_err admin_cache_objects(struct vv_admin *a, struct vv_admin_exchange *x)
{
    char prefix[URL_BYTES];
    const char *begin = admin_query(x, "prefix", prefix, sizeof prefix, "");
    const uint64_t limit = admin_query_u64(x, "limit", LIST_DEFAULT, LIST_MAX);
    vv_json_obj(&x->json);
    vv_json_key(&x->json, "objects");
    const enum vv_err err =
        vv_gateway_objects_json(a->o.gateway, vv_str_from(a->param[0]), vv_str_from(begin),
                                limit > 0 ? (size_t)limit : 1, &x->json);
    if (err == VV_ENOENT) {
        return no_cache(x, a->param[0]);
    }
    vv_json_obj_end(&x->json);
    vv_sb_addc(&x->out, '\n');
    return err;
}

enum vv_err admin_cache_object(struct vv_admin *a, struct vv_admin_exchange *x)
{
    char buf[URL_BYTES];
    const char *url = admin_query(x, "url", buf, sizeof buf, NULL);
    size_t count = 0;
    if (url == NULL) {
        return vv_admin_fail(x, 400, "give the url: ?url=http://shop.example.org/a");
    }
    vv_json_obj(&x->json);
    vv_json_key(&x->json, "variants");
    const enum vv_err err = vv_gateway_object_json(a->o.gateway, vv_str_from(a->param[0]),
                                                   vv_str_from(url), &x->json, &count);
    if (err == VV_ENOENT) {
        return no_cache(x, a->param[0]);
    }
    vv_json_obj_end(&x->json);
    vv_sb_addc(&x->out, '\n');
    x->status = count > 0 ? 200 : 404;
    return err;
}

/* ---- changes ---- */

/* The body as an object of which every key is in the list; NULL: answered. */
static json_t *read_body(struct vv_admin_exchange *x, const char *const *keys, const char *example)
{
    json_error_t where;
    const char *key = NULL;
    json_t *value = NULL;
    json_t *body = json_loadb(x->body.p, x->body.n, JSON_REJECT_DUPLICATES, &where);
    if (!json_is_object(body)) {
        json_decref(body);
        (void)vv_admin_fail(x, 400, "the body must be a JSON object: %s", example);
        return NULL;
    }
    json_object_foreach(body, key, value)
    {
        size_t i = 0;
        while (keys[i] != NULL && strcmp(keys[i], key) != 0) {
            i++;
        }
        if (keys[i] == NULL) {
            (void)vv_admin_fail(x, 400, "\"%s\" is not understood: %s", key, example);
            json_decref(body);
            return NULL;
        }
    }
    return body;
}

static struct vv_str text_of(const json_t *body, const char *key)
{
    const json_t *v = json_object_get(body, key);
    return json_is_string(v) ? (struct vv_str){json_string_value(v), json_string_length(v)}
                             : (struct vv_str){NULL, 0};
}

#define PURGE_EXAMPLE                                                                              \
    "{\"url\": \"http://shop.example.org/a\"}, {\"pattern\": \"/img/*\"}, {\"tag\": \"sale\"} or " \
    "{\"all\": true}, with \"cache\" and \"soft\" if wanted"

/* Exactly one of url, pattern, tag and all. */
static bool read_purge(const json_t *body, struct vv_purge *p)
{
    static const struct {
        const char *key;
        int what;
    } ways[] = {{"url", VV_PURGE_URL}, {"pattern", VV_PURGE_PATTERN}, {"tag", VV_PURGE_TAG}};
    size_t given = 0;
    for (size_t i = 0; i < VV_COUNT(ways); i++) {
        const struct vv_str value = text_of(body, ways[i].key);
        if (value.n > 0) {
            p->what = (unsigned)ways[i].what;
            p->value = value;
            given++;
        }
    }
    if (json_is_true(json_object_get(body, "all"))) {
        p->what = VV_PURGE_ALL;
        given++;
    }
    p->cache = text_of(body, "cache");
    p->soft = json_is_true(json_object_get(body, "soft"));
    return given == 1;
}

enum vv_err admin_cache_purge(struct vv_admin *a, struct vv_admin_exchange *x)
{
    static const char *const keys[] = {"cache", "url", "pattern", "tag", "all", "soft", NULL};
    struct vv_purge p = {.soft = false};
    size_t count = 0;
    json_t *body = read_body(x, keys, PURGE_EXAMPLE);
    if (body == NULL) {
        return VV_OK;
    }
    enum vv_err err = VV_OK;
    if (!read_purge(body, &p)) {
        err = vv_admin_fail(x, 400, "say what to purge: %s", PURGE_EXAMPLE);
    } else {
        err = vv_gateway_purge(a->o.gateway, &p, &count);
        if (err == VV_ENOENT) {
            err = no_cache(x, p.cache.p);
        } else if (err == VV_OK) {
            vv_json_obj(&x->json);
            vv_json_kbool(&x->json, "ok", true);
            if (p.what == VV_PURGE_URL) { /* of the rest nobody knows before they are met */
                vv_json_ku64(&x->json, "objects", count);
            }
            vv_json_kbool(&x->json, "soft", p.soft);
            vv_json_obj_end(&x->json);
            vv_sb_addc(&x->out, '\n');
        }
    }
    json_decref(body);
    return err;
}

#define TRIM_EXAMPLE "{\"to\": \"64MB\"} or {\"to\": \"20%\"}, with \"cache\" if wanted"

/* "64MB", or a share of each cache's budget. */
static enum vv_err trim(struct vv_caches *cs, struct vv_str cache, struct vv_str to,
                        uint64_t now_ns)
{
    uint64_t bytes = 0, ppm = 0;
    const bool share = to.n > 0 && to.p[to.n - 1] == '%';
    if (to.n == 0 || (share ? vv_parse_ppm(to, &ppm) : vv_parse_size(to, &bytes)) != VV_OK ||
        ppm > VV_PPM) {
        return VV_EINVAL;
    }
    if (cache.n > 0 && vv_caches_find(cs, cache) == NULL) {
        return VV_ENOENT;
    }
    enum vv_err err = VV_OK;
    for (struct vv_named_cache *c = NULL; (c = vv_caches_next(cs, c)) != NULL;) {
        const struct vv_str name = vv_str_from(c->name);
        const uint64_t budget = c->conf.budget_bytes;
        if (cache.n == 0 || vv_str_eq(name, cache)) {
            const uint64_t target =
                share ? budget / VV_PPM * ppm + budget % VV_PPM * ppm / VV_PPM : bytes;
            const enum vv_err one = vv_caches_trim(cs, name, target, now_ns);
            err = err == VV_OK ? one : err;
        }
    }
    return err;
}

enum vv_err admin_cache_trim(struct vv_admin *a, struct vv_admin_exchange *x)
{
    static const char *const keys[] = {"cache", "to", NULL};
    json_t *body = read_body(x, keys, TRIM_EXAMPLE);
    if (body == NULL) {
        return VV_OK;
    }
    const struct vv_str cache = text_of(body, "cache");
    enum vv_err err =
        trim(vv_gateway_caches(a->o.gateway), cache, text_of(body, "to"), vv_loop_now(a->o.loop));
    if (err == VV_EINVAL) {
        err = vv_admin_fail(x, 400, "say how far: %s", TRIM_EXAMPLE);
    } else if (err == VV_ENOENT) {
        err = no_cache(x, cache.p);
    } else if (err == VV_OK) {
        err = admin_cache(a, x);
    }
    json_decref(body);
    return err;
}

#define WARM_EXAMPLE                                                                               \
    "{\"urls\": [\"http://shop.example.org/a\"]} or {\"pattern\": \"/img/*\"}, with \"rate\": "    \
    "\"50/s\" and \"cache\" if wanted"

static bool read_rate(const json_t *body, uint32_t *ret)
{
    const struct vv_str text = text_of(body, "rate");
    struct vv_rate rate;
    if (json_object_get(body, "rate") == NULL) {
        return true;
    }
    if (vv_parse_rate(text, &rate) != VV_OK) {
        return false;
    }
    const double per_second = (double)rate.count * (double)VV_SEC / (double)rate.per_ns;
    *ret = per_second < 1.0 ? 1 : (uint32_t)per_second;
    return per_second <= VV_WARM_RATE_MAX && rate.count > 0;
}

static enum vv_err say_warm(struct vv_admin *a, struct vv_admin_exchange *x,
                            const struct vv_warm *w)
{
    size_t queued = 0, bad = 0;
    const enum vv_err err = vv_gateway_warm(a->o.gateway, w, &queued, &bad);
    switch (err) {
    case VV_OK:
        vv_json_obj(&x->json);
        vv_json_kbool(&x->json, "ok", true);
        vv_json_ku64(&x->json, "queued", queued);
        vv_json_ku64(&x->json, "waiting", vv_gateway_warming(a->o.gateway));
        vv_json_obj_end(&x->json);
        vv_sb_addc(&x->out, '\n');
        return VV_OK;
    case VV_EINVAL:
        return vv_admin_fail(x, 400, "\"" VV_STR_FMT "\" is no absolute URL",
                             VV_STR_ARG(w->url[bad]));
    case VV_ENOENT:
        return no_cache(x, w->cache.p);
    case VV_ELIMIT:
        return vv_admin_fail(x, 429, "no more than %d may wait", VV_WARM_WAITING_MAX);
    default:
        return err;
    }
}

enum vv_err admin_cache_warm(struct vv_admin *a, struct vv_admin_exchange *x)
{
    static const char *const keys[] = {"cache", "urls", "pattern", "rate", NULL};
    struct vv_warm w = {.count = 0};
    json_t *body = read_body(x, keys, WARM_EXAMPLE);
    if (body == NULL) {
        return VV_OK;
    }
    const json_t *urls = json_object_get(body, "urls");
    struct vv_str *list = calloc(json_array_size(urls) + 1, sizeof *list);
    for (size_t i = 0; list != NULL && i < json_array_size(urls); i++) {
        const json_t *v = json_array_get(urls, i);
        list[w.count++] = (struct vv_str){json_string_value(v), json_string_length(v)};
    }
    w.url = list;
    w.pattern = text_of(body, "pattern");
    w.cache = text_of(body, "cache");
    enum vv_err err = VV_OK;
    if (list == NULL) {
        err = VV_ENOMEM;
    } else if (!read_rate(body, &w.per_second) || (w.count == 0 && w.pattern.n == 0)) {
        err = vv_admin_fail(x, 400, "say what to warm, at most %d a second: %s", VV_WARM_RATE_MAX,
                            WARM_EXAMPLE);
    } else {
        err = say_warm(a, x, &w);
    }
    free(list);
    json_decref(body);
    return err;
}
