/* src/gateway/recall.c - the RECALL phase: looks up, judges, and decides who fetches. A hit takes no lock
 * and no memory but the arena's. */
#include "gateway/recall.h"
#include "cache/validate.h"
#include "gateway/access.h"
#include "gateway/caches.h"
#include "gateway/canary.h"
#include "gateway/fallback.h"
#include "gateway/fetch.h"
#include "gateway/lease.h"
#include "gateway/levels.h"
#include "gateway/session.h"
#include <math.h>
#include <openssl/evp.h>

#define LOOKS_MAX 3 /* at the cache for one request */
#define CONDITIONS_MAX 2048
#define EARLY_MAX 20       /* costs of a fetch before the end, when renewing early is thought of */
#define EARLY_LIFETIME_S 2 /* what lives shorter is not renewed early */
#define KEY_EXTRA 64       /* scheme, method, port and separators of a key */
#define SECRET_BYTES 16    /* of a digest: nobody meets another one by chance */
#define FIELDS_ROOM 384    /* Age, Cache-Status without key and detail, the field of `show` */

int64_t vv_recall_now_ms(const struct vv_exchange *x)
{
    return (int64_t)(vv_loop_wall(x->w->loop) / 1000000);
}

/* ---- the key ---- */

static bool key_from_template(struct vv_exchange *x)
{
    struct vv_recall *r = x->recall;
    struct vv_template_vars vars;
    vv_exchange_vars(x, &vars);
    return vv_template_render(r->plan->key, &vars, &x->arena, VV_TEMPLATE_KEY, &r->key) == VV_OK;
}

/* Is the method a part of the key? Not for one that is not served, which changes what GET gets. */
static bool is_query_by_post(const struct vv_exchange *x)
{
    return x->req.method == VV_METHOD_POST && x->recall->plan->body_in_key &&
           !x->recall->invalidates;
}

static bool key_from_target(struct vv_exchange *x)
{
    struct vv_recall *r = x->recall;
    const struct vv_key_parts parts = {
        .method = is_query_by_post(x) ? VV_METHOD_POST : VV_METHOD_GET,
        .method_text = x->req.method_text,
        .scheme = x->https ? VV_STR("https") : VV_STR("http"),
        .authority = x->req.authority,
        .path = x->path,
        .query = x->req.query,
    };
    const size_t cap = x->req.authority.n + x->path.n + x->req.query.n + KEY_EXTRA;
    char *out = vv_arena_alloc(&x->arena, cap);
    if (out == NULL || vv_key_build(&parts, &r->plan->key_rules, out, cap, &r->key.n) != VV_OK) {
        return false;
    }
    r->key.p = out;
    return true;
}

/* Bytes that no key above contains keep the parts apart. */
static bool key_append(struct vv_exchange *x, char mark, struct vv_str s)
{
    struct vv_str *key = &x->recall->key;
    char *out = vv_arena_alloc(&x->arena, key->n + 1 + s.n);
    if (out == NULL) {
        return false;
    }
    memcpy(out, key->p, key->n);
    out[key->n] = mark;
    if (s.n > 0) {
        memcpy(out + key->n + 1, s.p, s.n);
    }
    *key = (struct vv_str){out, key->n + 1 + s.n};
    return true;
}

/* What tells callers apart, without saying it: keys lie in snapshots and in stores. */
static bool key_append_secret(struct vv_exchange *x, char mark, struct vv_str secret)
{
    static const char hex[] = "0123456789abcdef";
    unsigned char sum[EVP_MAX_MD_SIZE];
    char text[2 * SECRET_BYTES];
    if (EVP_Digest(secret.p, secret.n, sum, NULL, EVP_sha256(), NULL) != 1) {
        return false;
    }
    for (size_t i = 0; i < SECRET_BYTES; i++) {
        text[2 * i] = hex[sum[i] >> 4];
        text[2 * i + 1] = hex[sum[i] & 15];
    }
    return key_append(x, mark, (struct vv_str){text, sizeof text});
}

static bool key_identity(struct vv_exchange *x)
{
    for (uint32_t i = 0; i < x->req.fields_count; i++) {
        const struct vv_h1_field *f = &x->req.fields[i];
        if ((vv_access_is_credential(x, f) && !key_append_secret(x, '\x01', f->value)) ||
            (f->id == VV_FIELD_COOKIE && !key_append_secret(x, '\x02', f->value))) {
            return false;
        }
    }
    return true;
}

static bool make_plain_key(struct vv_exchange *x)
{
    return x->recall->plan->key != NULL ? key_from_template(x) : key_from_target(x);
}

static bool make_key(struct vv_exchange *x)
{
    struct vv_recall *r = x->recall;
    if (!make_plain_key(x)) {
        return false;
    }
    /* A canary's answers are not those of the version it is compared with. */
    if (x->side == VV_SIDE_CANDIDATE && !key_append(x, '\x03', VV_STR(""))) {
        return false;
    }
    if (r->plan->identity_in_key && !key_identity(x)) {
        return false;
    }
    /* Also an empty body: a template may give GET the same key. */
    if (is_query_by_post(x) && !key_append(x, '\0', x->body_kept)) {
        return false;
    }
    r->hash = vv_cache_hash(r->memory, r->key);
    return true;
}

/* ---- looking up ---- */

struct look {
    const struct vv_exchange *x;
    bool others; /* something is stored under the key, for other requests */
};

static bool fits(void *ctx, const struct vv_cache_object *o)
{
    struct look *l = ctx;
    const struct vv_stored_meta *m = vv_stored_meta(o);
    if (m->version != VV_STORED_VERSION || m->encoding != VV_ENCODING_IDENTITY) {
        return false;
    }
    const struct vv_str second = vv_cache_second(o);
    if (second.n == 0 || vv_vary_matches(&l->x->req, second, &l->x->recall->plan->vary_rules)) {
        return true;
    }
    l->others = true;
    return false;
}

static void drop_object(struct vv_recall *r)
{
    if (r->counted) {
        vv_cache_unref(r->object);
    }
    r->counted = false;
    r->object = NULL;
}

static void keep_object(struct vv_recall *r)
{
    if (r->object != NULL && !r->counted) {
        vv_cache_ref(r->object);
        r->counted = true;
    }
}

static void find(struct vv_exchange *x, struct look *l)
{
    struct vv_recall *r = x->recall;
    drop_object(r);
    const struct vv_cache_query q = {.key = r->key, .hash = r->hash, .pick = fits, .ctx = l};
    r->soft = false;
    r->object = vv_cache_lookup(r->memory, x->w->reader, &q, &r->soft);
    const struct vv_cache_facts *facts =
        r->object != NULL ? &vv_stored_meta(r->object)->facts : NULL;
    r->use = vv_cache_judge_use(facts, &r->cc, &r->plan->options, r->soft, vv_recall_now_ms(x));
    if (r->refresh && r->object != NULL) {
        r->use.result = VV_USE_REVALIDATE;
        r->use.why = VV_USE_WHY_STALE;
    }
}

void vv_recall_find(struct vv_exchange *x)
{
    struct look l = {x, false};
    find(x, &l);
}

struct vv_h1_head *vv_recall_head(struct vv_exchange *x, struct vv_str block, uint64_t length)
{
    struct vv_h1_head *h = vv_arena_alloc(&x->arena, sizeof *h);
    return h != NULL && vv_stored_head_read(block, length, h) ? h : NULL;
}

static void make_conditions(struct vv_exchange *x)
{
    struct vv_recall *r = x->recall;
    r->conditions = (struct vv_str){NULL, 0};
    if (r->object == NULL) {
        return;
    }
    const struct vv_h1_head *stored =
        vv_recall_head(x, vv_cache_head(r->object), r->object->body_n);
    char *out = vv_arena_alloc(&x->arena, CONDITIONS_MAX);
    if (stored != NULL && out != NULL) {
        r->conditions = (struct vv_str){out, vv_cache_conditions(stored, out, CONDITIONS_MAX)};
    }
}

static enum vv_cache_fwd forwarded_for(const struct vv_recall *r, const struct look *l)
{
    switch (r->use.why) {
    case VV_USE_WHY_ABSENT:
        return l->others ? VV_CACHE_FWD_VARY_MISS : VV_CACHE_FWD_URI_MISS;
    case VV_USE_WHY_REQUEST_NO_CACHE:
    case VV_USE_WHY_REQUEST_MAX_AGE:
    case VV_USE_WHY_REQUEST_MIN_FRESH:
        return VV_CACHE_FWD_REQUEST;
    default:
        return VV_CACHE_FWD_STALE;
    }
}

/* ---- who fetches ---- */

/* Between the look and the lead another worker may have published and gone: one more look, now that
 * nobody else can lead, and the origin is asked once. True: the exchange is answered. */
static bool came_meanwhile(struct vv_exchange *x)
{
    struct vv_recall *r = x->recall;
    struct look l = {x, false};
    find(x, &l);
    if (r->object == NULL || r->use.result == VV_USE_REVALIDATE ||
        r->use.result == VV_USE_GATEWAY_TIMEOUT) {
        keep_object(r);
        return false;
    }
    vv_cache_fill_fail(r->fill, VV_EEXIST);
    vv_cache_fill_unref(r->fill);
    r->fill = NULL;
    vv_recall_serve(x);
    return true;
}

/* True: the exchange follows another's fetch, or was ended. */
static bool join(struct vv_exchange *x)
{
    struct vv_recall *r = x->recall;
    enum vv_cache_role role = VV_CACHE_PASS;
    r->role = VV_RECALL_PASS;
    r->request_ms = vv_recall_now_ms(x);
    /* What must not be kept is nobody else's to wait for. */
    const bool alone = x->req.method == VV_METHOD_HEAD || r->looks > LOOKS_MAX ||
                       (vv_cc_has(&r->cc, VV_CC_NO_STORE) && !r->plan->options.ignore_request);
    if (!alone &&
        vv_cache_fill_begin(r->memory, r->key, vv_worker_now(x->w), &role, &r->fill) != VV_OK) {
        role = VV_CACHE_PASS; /* no memory for it: the answer is not kept */
    }
    keep_object(r);
    if (role == VV_CACHE_LEAD) {
        r->role = VV_RECALL_LEAD;
        r->finished = false;
        r->born = vv_cache_born(r->memory);
        if (came_meanwhile(x) || (r->plan->levels != NULL && vv_levels_ask(x))) {
            return true;
        }
        make_conditions(x);
        return false;
    }
    if (x->session->detached) { /* it is being fetched, or is not for the cache */
        vv_exchange_end(x, VV_REASON_NONE);
        return true;
    }
    if (role == VV_CACHE_PASS && !alone) {
        r->status.detail = VV_STR("passing"); /* the answer before could not be kept */
    }
    if (role == VV_CACHE_FOLLOW) {
        r->role = VV_RECALL_FOLLOW;
        r->status.collapsed = true;
        drop_object(r);
        vv_cached_start(x);
        return true;
    }
    return false;
}

/* Shall this hit renew what it found before it expires? The less is left and the longer the origin takes,
 * the likelier; what is asked for often is asked for in time. Source: A. Vattani et al., "Optimal
 * probabilistic cache stampede prevention", VLDB 2015 (delta * -ln(rand) > what is left). */
static bool renew_early(struct vv_exchange *x)
{
    const struct vv_recall *r = x->recall;
    const struct vv_stored_meta *m = vv_stored_meta(r->object);
    const uint64_t cost_ms = vv_max_u64(m->fetch_us / 1000, 1);
    if (r->use.ttl_ms > (int64_t)(cost_ms * EARLY_MAX) || m->facts.lifetime_s < EARLY_LIFETIME_S ||
        r->plan->conf == NULL || !r->plan->conf->refresh || x->session->detached) {
        return false;
    }
    const double luck = 1.0 - vv_rng_double(&x->w->rng); /* (0, 1] */
    return (double)cost_ms * -log(luck) >= (double)r->use.ttl_ms;
}

/* A stale answer is sent now; whoever is first renews it behind. */
static void renew_behind(struct vv_exchange *x)
{
    x->recall->status.updating = true;
    (void)!vv_fetch_behind(x, VV_FETCH_STALE); /* without memory the next request renews it */
}

void vv_recall_serve(struct vv_exchange *x)
{
    struct vv_recall *r = x->recall;
    if (x->session->detached) {
        vv_exchange_end(x, VV_REASON_NONE);
        return;
    }
    r->role = VV_RECALL_HIT;
    r->age_s = (int64_t)(r->use.age_ms / 1000);
    r->status.has_ttl = true;
    r->status.ttl_s = r->use.ttl_ms >= 0 ? r->use.ttl_ms / 1000 : -((999 - r->use.ttl_ms) / 1000);
    if (r->soft && r->status.ttl_s > 0) {
        r->status.ttl_s = 0;
        r->status.detail = vv_str_from(vv_use_whys[VV_USE_WHY_PURGED].name);
    }
    if (!r->status.revalidated) {
        r->status.hit = true;
        r->status.stale = r->use.ttl_ms <= 0 || r->soft;
    }
    vv_cached_start(x);
}

bool vv_recall_instead(struct vv_exchange *x, int status)
{
    struct vv_recall *r = x->recall;
    if (r == NULL || r->object == NULL || x->head_sent) {
        return false;
    }
    const struct vv_cache_facts *facts = &vv_stored_meta(r->object)->facts;
    if (!vv_cache_serves_on_error(facts, &r->cc, &r->plan->options, status, r->soft,
                                  vv_recall_now_ms(x)) &&
        !vv_fallback_to_stale(x, facts)) {
        return false;
    }
    r->use = vv_cache_judge_use(&vv_stored_meta(r->object)->facts, &r->cc, &r->plan->options,
                                r->soft, vv_recall_now_ms(x));
    keep_object(r);
    r->status.detail = vv_str_from(vv_use_whys[VV_USE_WHY_IF_ERROR].name);
    return true;
}

/* True: answered or waiting. False: to be proxied as r->role says. */
static bool look(struct vv_exchange *x)
{
    struct vv_recall *r = x->recall;
    struct look l = {x, false};
    r->looks++;
    find(x, &l);
    switch (r->use.result) {
    case VV_USE_FRESH:
        if (renew_early(x)) {
            keep_object(r);
            (void)!vv_fetch_behind(x, VV_FETCH_REFRESH); /* without memory it expires */
        }
        vv_recall_serve(x);
        return true;
    case VV_USE_STALE:
        vv_recall_serve(x);
        return true;
    case VV_USE_WHILE_REVALIDATE:
        keep_object(r); /* the renewal may be done before this answer has left */
        renew_behind(x);
        vv_recall_serve(x);
        return true;
    case VV_USE_GATEWAY_TIMEOUT:
        drop_object(r);
        r->status.fwd = VV_CACHE_FWD_NONE;
        vv_answer_error(x, VV_REASON_ONLY_IF_CACHED);
        return true;
    case VV_USE_REVALIDATE:
    case VV_USE_MISS:
        break;
    }
    r->status.fwd = forwarded_for(r, &l);
    if (r->failed && vv_recall_instead(x, 0)) {
        vv_recall_serve(x);
        return true;
    }
    return join(x);
}

void vv_recall_proxy(struct vv_exchange *x)
{
    x->action = x->route->action;
    x->action->start(x);
}

void vv_recall_missed(struct vv_exchange *x)
{
    x->recall->request_ms = vv_recall_now_ms(x);
    make_conditions(x);
    vv_recall_proxy(x);
}

void vv_recall_serve_renewing(struct vv_exchange *x)
{
    struct vv_recall *r = x->recall;
    keep_object(r);
    vv_cache_fill_fail(r->fill, VV_EEXIST); /* the renewal leads one of its own */
    vv_cache_fill_unref(r->fill);
    r->fill = NULL;
    renew_behind(x);
    vv_recall_serve(x);
}

void vv_recall_again(struct vv_exchange *x)
{
    struct vv_recall *r = x->recall;
    x->action = NULL;
    x->state = NULL;
    if (r->fill != NULL) {
        vv_cache_fill_unref(r->fill);
        r->fill = NULL;
    }
    if (!look(x)) {
        vv_recall_proxy(x);
    }
}

/* ---- the phase ---- */

/* In all gateways that share the cache. */
static size_t purge_in(const struct vv_recall *r, int what, bool soft)
{
    const struct vv_purge p = {.what = what, .value = r->key, .soft = soft};
    return vv_named_cache_purge(r->plan->cache, r->plan->levels, &p);
}

/* Purges what the request's key stands for, whichever side of a canary it was answered by. */
static size_t purge_sides(struct vv_exchange *x, bool soft)
{
    const uint8_t own_side = x->side;
    size_t n = 0;
    for (unsigned side = VV_SIDE_BASE; side <= VV_SIDE_CANDIDATE; side++) {
        x->side = (uint8_t)side;
        if ((side == VV_SIDE_BASE || x->route->canary != NULL) && make_key(x)) {
            n += purge_in(x->recall, VV_PURGE_URL, soft);
        }
    }
    x->side = own_side;
    return n;
}

static bool purge(struct vv_exchange *x)
{
    const struct vv_cache_plan *plan = x->recall->plan;
    const struct vv_addr *peer = &x->session->peer;
    bool may = false;
    for (size_t i = 0; i < plan->purge_count; i++) {
        may |= vv_cidr_has(&plan->purge[i], peer);
    }
    if (!may) {
        vv_answer_error(x, VV_REASON_PURGE_REFUSED);
        return true;
    }
    if (!make_key(x)) {
        vv_answer_error(x, VV_REASON_BAD_REQUEST);
        return true;
    }
    const struct vv_h1_field *soft = vv_h1_find_name(&x->req, VV_STR("X-Purge-Soft"));
    const size_t n = purge_sides(x, soft != NULL && !vv_str_eq(soft->value, VV_STR("0")));
    const struct vv_field type = {VV_STR("Content-Type"), VV_STR("application/json")};
    vv_answer_simple(x, n > 0 ? 200 : 404, &type, 1,
                     vv_arena_fmt(&x->arena, "{\"purged\":%zu}\n", n));
    return true;
}

static bool served(const struct vv_exchange *x, const struct vv_cache_plan *plan)
{
    const bool body = x->req.framing == VV_H1_BODY_CHUNKED ||
                      (x->req.framing == VV_H1_BODY_LENGTH && x->req.content_length > 0);
    /* If-Match and If-Unmodified-Since are the origin's to judge (RFC 9110 13.1). */
    return (plan->methods >> x->req.method & 1) != 0 && !x->req.upgrade &&
           vv_h1_find(&x->req, VV_FIELD_IF_MATCH) == NULL &&
           vv_h1_find(&x->req, VV_FIELD_IF_UNMODIFIED_SINCE) == NULL &&
           (!body ||
            (plan->body_in_key && x->req.method == VV_METHOD_POST && x->body_kept.p != NULL));
}

bool vv_recall(struct vv_exchange *x)
{
    const struct vv_cache_plan *plan = x->route->cache;
    if (plan == NULL || plan->cache == NULL) {
        return false;
    }
    struct vv_recall *r = x->recall;
    if (r == NULL) {
        r = vv_arena_zalloc(&x->arena, sizeof *r);
        if (r == NULL) {
            return false;
        }
        r->plan = plan;
        r->memory = plan->cache->memory;
        r->age_s = -1;
        r->status.cache = VV_STR("vivace");
        r->refresh =
            x->session->why == 1 + VV_FETCH_STALE || x->session->why == 1 + VV_FETCH_REFRESH;
        x->recall = r;
    }
    if (plan->purge_count > 0 && vv_str_eq(x->req.method_text, VV_STR("PURGE"))) {
        return purge(x);
    }
    if (x->body_kept.p == NULL && plan->body_in_key && x->req.method == VV_METHOD_POST &&
        x->req.framing != VV_H1_BODY_NONE && vv_body_keep(x)) {
        return true; /* comes back when the body is here */
    }
    if (!served(x, plan)) {
        r->status.fwd =
            (plan->methods >> x->req.method & 1) != 0 ? VV_CACHE_FWD_BYPASS : VV_CACHE_FWD_METHOD;
        r->invalidates = !vv_methods[x->req.method].safe;
        return false;
    }
    vv_cc_of_request(&x->req, &r->cc);
    if (!make_key(x)) {
        r->status.fwd = VV_CACHE_FWD_BYPASS;
        return false;
    }
    return look(x);
}

/* ---- unsafe methods ---- */

static void forget(struct vv_exchange *x, struct vv_str path, struct vv_str query)
{
    const struct vv_str own_path = x->path;
    const struct vv_str own_query = x->req.query;
    x->path = path;
    x->req.query = query;
    (void)purge_sides(x, false);
    x->path = own_path;
    x->req.query = own_query;
}

/* Only the stars of the settings stand for anything: a client's own become "?", any one byte. */
static bool drop_text(struct vv_exchange *x, const struct vv_cache_drop *d, struct vv_str *ret)
{
    struct vv_template_vars vars;
    vv_exchange_vars(x, &vars);
    *ret = (struct vv_str){"", 0};
    for (size_t i = 0; i < d->count; i++) {
        struct vv_str part;
        if (vv_template_render(d->part[i], &vars, &x->arena, VV_TEMPLATE_URI, &part) != VV_OK) {
            return false;
        }
        char *out = vv_arena_alloc(&x->arena, ret->n + part.n + 1);
        if (out == NULL) {
            return false;
        }
        size_t n = ret->n;
        memcpy(out, ret->p, n);
        if (i > 0) {
            out[n++] = '*';
        }
        for (size_t k = 0; k < part.n; k++) {
            out[n++] = d->count > 1 && part.p[k] == '*' ? '?' : part.p[k];
        }
        *ret = (struct vv_str){out, n};
    }
    return true;
}

/* In a pattern a client's own stars stand for one byte. With d->count > 1 that was done before. */
static struct vv_str starless(struct vv_exchange *x, const struct vv_cache_drop *d, struct vv_str s)
{
    char *out = d->count == 1 && s.n > 0 ? vv_arena_alloc(&x->arena, s.n) : NULL;
    for (size_t i = 0; out != NULL && i < s.n; i++) {
        out[i] = s.p[i] == '*' ? '?' : s.p[i];
    }
    return out != NULL ? (struct vv_str){out, s.n} : s;
}

/* A path of `invalidates`: for everybody, where the asker's identity or a body is part of the key. */
static void forget_drop(struct vv_exchange *x, const struct vv_cache_drop *d)
{
    struct vv_recall *r = x->recall;
    struct vv_str query = {NULL, 0};
    struct vv_str path;
    if (!drop_text(x, d, &path)) {
        return;
    }
    const bool longer =
        r->plan->identity_in_key || r->plan->body_in_key || x->route->canary != NULL;
    if (d->count == 1) {
        query = path;
        path = vv_str_cut(&query, '?');
        forget(x, path, query);
    }
    if (d->count == 1 && !longer) {
        return;
    }
    const struct vv_str own_path = x->path;
    const struct vv_str own_query = x->req.query;
    x->path = starless(x, d, path);
    x->req.query = starless(x, d, query);
    if (make_plain_key(x) && (!longer || key_append(x, '*', VV_STR("")))) {
        (void)purge_in(r, VV_PURGE_PATTERN, false);
    }
    x->path = own_path;
    x->req.query = own_query;
}

void vv_recall_invalidate(struct vv_exchange *x, const struct vv_h1_head *answer)
{
    struct vv_recall *r = x->recall;
    if (!r->invalidates || !vv_cache_invalidates(x->req.method, answer->status)) {
        return;
    }
    /* What is kept was answered to GET, which may stand in the key. */
    const enum vv_method method = x->req.method;
    const struct vv_str method_text = x->req.method_text;
    x->req.method = VV_METHOD_GET;
    x->req.method_text = vv_methods[VV_METHOD_GET].name;
    forget(x, x->path, x->req.query);
    const struct vv_str scheme = x->https ? VV_STR("https") : VV_STR("http");
    for (uint32_t i = 0; i < answer->fields_count && r->plan->key == NULL; i++) {
        const struct vv_h1_field *f = &answer->fields[i];
        char room[4096];
        struct vv_str path;
        struct vv_str query;
        if ((f->id != VV_FIELD_LOCATION &&
             !vv_str_eq_nocase(f->name, VV_STR("Content-Location"))) ||
            !vv_cache_invalidation_target(scheme, x->req.authority, x->path, f->value, room,
                                          sizeof room, &path, &query)) {
            continue;
        }
        forget(x, path, query);
    }
    for (size_t i = 0; i < r->plan->drop_count; i++) {
        forget_drop(x, &r->plan->drop[i]);
    }
    x->req.method = method;
    x->req.method_text = method_text;
}

/* ---- the end ---- */

static const char *const count_names[VV_RECALL_COUNT_COUNT] = {
#define VV_RECALL_COUNT(id, name) name,
    VV_RECALL_COUNTS(VV_RECALL_COUNT)
#undef VV_RECALL_COUNT
};

static void count(const struct vv_exchange *x, const struct vv_recall *r)
{
    enum vv_recall_count which = VV_RECALL_COUNT_MISS;
    if (r->status.updating) {
        which = VV_RECALL_COUNT_UPDATING;
    } else if (r->status.revalidated) {
        which = VV_RECALL_COUNT_REVALIDATED;
    } else if (r->status.hit) {
        which = r->status.stale ? VV_RECALL_COUNT_STALE : VV_RECALL_COUNT_HIT;
    } else if (r->role == VV_RECALL_FOLLOW && !r->from_fill) {
        which = VV_RECALL_COUNT_COALESCED;
    } else if (r->status.fwd <= VV_CACHE_FWD_METHOD) {
        which = VV_RECALL_COUNT_BYPASS;
    } else if (r->status.fwd == VV_CACHE_FWD_STALE || r->status.fwd == VV_CACHE_FWD_REQUEST) {
        which = VV_RECALL_COUNT_EXPIRED;
    }
    struct vv_route_stat *stat = vv_worker_stat(x->w, x->use, x->route);
    if (stat == NULL) {
        return;
    }
    if (stat->cache[which] == 0) { /* rare: interning takes a lock */
        const struct vv_str values[] = {r->plan->name, vv_str_from(count_names[which])};
        stat->cache[which] = vv_metrics_series(x->w->metrics, VV_METRIC_CACHE_REQUESTS, values, 2);
        stat->cache_saved =
            vv_metrics_series(x->w->metrics, VV_METRIC_CACHE_SAVED_BYTES, values, 1);
    }
    vv_metric_add(x->w->shard, stat->cache[which], 1);
    if (r->status.hit || r->status.collapsed) {
        vv_metric_add(x->w->shard, stat->cache_saved, x->bytes_out);
    }
}

/* Once for each request of our own: too rare to keep the series. */
static void count_fetch(const struct vv_exchange *x, const struct vv_recall *r)
{
    static const char *const whys[] = {"", "stale", "refresh", "warm"};
    const char *result = "not_needed"; /* fresh, being fetched already, or not for the cache */
    if (r->status.revalidated) {
        result = "renewed";
    } else if (r->role == VV_RECALL_LEAD || r->status.fwd_status >= 500) {
        result = r->status.stored ? "stored" : "failed";
    }
    const struct vv_str values[] = {r->plan->name, vv_str_from(whys[x->session->why]),
                                    vv_str_from(result)};
    vv_metric_add(x->w->shard, vv_metrics_series(x->w->metrics, VV_METRIC_CACHE_FETCHES, values, 3),
                  1);
}

void vv_recall_end(struct vv_exchange *x)
{
    struct vv_recall *r = x->recall;
    if (r == NULL) {
        return;
    }
    vv_cached_stop(x);
    if (r->level != NULL) {
        vv_levels_leave(x);
    }
    if (r->lease != 0) {
        vv_lease_end(x);
    }
    x->cache_word = vv_cache_status_word(&r->status);
    if (!x->session->detached) {
        count(x, r);
    } else if (x->session->why != 0) {
        count_fetch(x, r);
    }
    if (r->fill != NULL) {
        if (r->role == VV_RECALL_LEAD &&
            !r->finished) { /* its client left: no fault of the origin */
            vv_cache_fill_fail(r->fill, VV_EEXIST);
        }
        vv_cache_fill_unref(r->fill);
        r->fill = NULL;
    }
    if (r->fetch != NULL) { /* client and fetch know each other */
        struct vv_exchange *other = r->fetch;
        r->fetch = NULL;
        other->recall->fetch = NULL;
        if (!x->session->detached && other->recall->finished) {
            vv_exchange_end(other, VV_REASON_NONE); /* it had paused for this client */
        }
    }
    drop_object(r);
    x->recall = NULL;
}

/* ---- fields of answers ---- */

size_t vv_recall_fields_bytes(const struct vv_exchange *x)
{
    return x->recall != NULL ? FIELDS_ROOM + x->recall->plan->show.n : 0;
}

static void put_status(struct vv_writer *w, const struct vv_recall *r)
{
    if (r->status.hit && r->status.detail.p == NULL && r->status.ttl_s >= 0) {
        vv_put(w, VV_STR("Cache-Status: vivace;hit;ttl="));
        vv_put_u64(w, (uint64_t)r->status.ttl_s);
        vv_put(w, VV_STR("\r\n"));
        return;
    }
    char text[256];
    vv_put_field(w, VV_STR("Cache-Status"),
                 (struct vv_str){text, vv_cache_status_write(&r->status, text, sizeof text)});
}

void vv_recall_put_fields(struct vv_writer *w, struct vv_exchange *x)
{
    const struct vv_recall *r = x->recall;
    if (r == NULL) {
        return;
    }
    if (r->age_s >= 0) {
        vv_put(w, VV_STR("Age: "));
        vv_put_u64(w, (uint64_t)r->age_s);
        vv_put(w, VV_STR("\r\n"));
    }
    put_status(w, r);
    if (r->plan->show.p != NULL) {
        vv_put_field(w, r->plan->show, vv_str_from(vv_cache_status_word(&r->status)));
    }
}

/* ---- the request of a leader ---- */

/* A leader asks for the whole, in words of its own: what its client wants of it is found out here. */
bool vv_recall_drops_field(const struct vv_exchange *x, const struct vv_h1_field *f)
{
    const struct vv_recall *r = x->recall;
    if (r == NULL || r->role != VV_RECALL_LEAD) {
        return false;
    }
    switch (f->id) {
    case VV_FIELD_RANGE:
    case VV_FIELD_IF_RANGE:
    case VV_FIELD_IF_NONE_MATCH:
    case VV_FIELD_IF_MODIFIED_SINCE:
        return true;
    case VV_FIELD_ACCEPT_ENCODING:
        return r->plan->vary_rules.no_codings;
    default:
        return false;
    }
}

struct vv_str vv_recall_conditions(const struct vv_exchange *x)
{
    const struct vv_recall *r = x->recall;
    return r != NULL && r->role == VV_RECALL_LEAD ? r->conditions : (struct vv_str){NULL, 0};
}
