/* src/cache/rules.c - refusals are asked in the order of cost and of how well they explain: what
 * the method and status rule out, then what was said, then what is missing. */
#include "cache/rules.h"

#define MS 1000

static const struct vv_str default_targets[] = {{"CDN-Cache-Control", 17}};
const struct vv_cache_options vv_cache_options_default = {
    .heuristic_ppm = 100000,
    .heuristic_max_s = 86400,
    .targets = default_targets,
    .targets_count = VV_COUNT(default_targets),
    .surrogate = true,
};

const struct vv_cache_why_info vv_store_whys[VV_STORE_WHY_COUNT] = {
#define VV_STORE_WHY(id, name, text) {(name), (text)},
    VV_STORE_WHYS(VV_STORE_WHY)
#undef VV_STORE_WHY
};
const struct vv_cache_why_info vv_use_whys[VV_USE_WHY_COUNT] = {
#define VV_USE_WHY(id, name, text) {(name), (text)},
    VV_USE_WHYS(VV_USE_WHY)
#undef VV_USE_WHY
};

bool vv_cache_serves(const struct vv_h1_head *req, const struct vv_cache_options *o)
{
    return req->method == VV_METHOD_GET || req->method == VV_METHOD_HEAD ||
           (req->method == VV_METHOD_POST && o->keep_post);
}

/* The codes whose caching this cache knows (RFC 9111 section 3). 206 is not implemented. */
static bool understood(int status)
{
    static const int extra[] = {201, 202, 302, 303, 307, 400, 401, 402, 403,
                                406, 408, 409, 411, 412, 413, 415, 416, 417,
                                421, 422, 426, 429, 500, 502, 503, 504, 505};
    for (size_t i = 0; i < VV_COUNT(extra); i++) {
        if (status == extra[i]) {
            return true;
        }
    }
    return status != 206 && vv_cache_status_heuristic(status);
}

static const struct vv_cache_ttl *ttl_of(const struct vv_cache_options *o, int status)
{
    for (size_t i = 0; i < o->ttl_count; i++) {
        if (status >= o->ttl[i].status_min && status <= o->ttl[i].status_max) {
            return &o->ttl[i];
        }
    }
    return NULL;
}

/* Which lifetime counts: an override, the origin, the settings, the heuristic. `public` alone
 * allows keeping but gives no time, so the heuristic applies to any status then (section 4.2.2). */
static enum vv_fresh_source lifetime_of(const struct vv_h1_head *answer, const struct vv_cc *cc,
                                        const struct vv_cache_options *o,
                                        const struct vv_cache_times *t, uint32_t *ret_s)
{
    const struct vv_cache_ttl *ttl = ttl_of(o, answer->status);
    enum vv_fresh_source source = VV_FRESH_CONFIG;
    if (ttl != NULL && ttl->override) {
        *ret_s = ttl->ttl_s;
    } else {
        source = vv_cache_lifetime(answer, cc, t, ret_s);
        if (source == VV_FRESH_NONE && ttl != NULL) {
            *ret_s = ttl->ttl_s;
            source = VV_FRESH_CONFIG;
        } else if (source == VV_FRESH_NONE &&
                   (vv_cache_status_heuristic(answer->status) || vv_cc_has(cc, VV_CC_PUBLIC))) {
            *ret_s = vv_cache_heuristic_s(t, o->heuristic_ppm, o->heuristic_max_s);
            source = VV_FRESH_HEURISTIC;
        }
    }
    if (o->ttl_max_s != 0 && *ret_s > o->ttl_max_s) {
        *ret_s = o->ttl_max_s;
    }
    return source;
}

static uint32_t number_or(const struct vv_cc *cc, enum vv_cc_number number, uint32_t otherwise)
{
    return cc->number[number] != VV_CC_UNSET ? cc->number[number] : otherwise;
}

struct vv_cache_facts vv_cache_facts_of(const struct vv_h1_head *answer, const struct vv_cc *cc,
                                        const struct vv_cache_options *o, int64_t request_ms,
                                        int64_t response_ms)
{
    const struct vv_cache_times t = vv_cache_times_of(answer, request_ms, response_ms);
    struct vv_cache_facts f = {
        .response_ms = response_ms,
        .initial_age_ms = vv_cache_initial_age_ms(&t),
        .date_s = t.date_s,
        .modified_s = t.modified_s,
        .has_modified = t.has_modified,
        .has_etag = vv_h1_find(answer, VV_FIELD_ETAG) != NULL,
        .status = (uint16_t)answer->status,
        .no_cache = vv_cc_has(cc, VV_CC_NO_CACHE),
        .must_revalidate =
            vv_cc_has(cc, VV_CC_MUST_REVALIDATE) || vv_cc_has(cc, VV_CC_PROXY_REVALIDATE),
        .s_maxage = cc->number[VV_CC_S_MAXAGE] != VV_CC_UNSET,
        .immutable = vv_cc_has(cc, VV_CC_IMMUTABLE),
    };
    f.source = (uint8_t)lifetime_of(answer, cc, o, &t, &f.lifetime_s);
    if (f.source == VV_FRESH_CONFIG) {
        /* The time counts from when we got the answer: the origin's clock has no part in it. */
        f.initial_age_ms = 0;
    }
    const bool silent_forbids = f.s_maxage || f.must_revalidate || f.no_cache;
    f.while_revalidate_s = number_or(cc, VV_CC_STALE_WHILE_REVALIDATE,
                                     silent_forbids ? 0 : o->stale_while_revalidate_s);
    f.if_error_s = number_or(cc, VV_CC_STALE_IF_ERROR, silent_forbids ? 0 : o->stale_if_error_s);
    return f;
}

/* RFC 9111 section 5.2: what was said against keeping. */
static enum vv_store_why forbidden(const struct vv_h1_head *req, const struct vv_cc *req_cc,
                                   const struct vv_h1_head *answer, const struct vv_cc *cc,
                                   const struct vv_cache_options *o)
{
    if (vv_cc_has(req_cc, VV_CC_NO_STORE) && !o->ignore_request) {
        return VV_STORE_WHY_REQUEST_NO_STORE;
    }
    const bool must_understand = vv_cc_has(cc, VV_CC_MUST_UNDERSTAND);
    if (must_understand && !understood(answer->status)) {
        return VV_STORE_WHY_NOT_UNDERSTOOD;
    }
    if (vv_cc_has(cc, VV_CC_NO_STORE) && !must_understand) {
        return VV_STORE_WHY_NO_STORE;
    }
    if (vv_cc_has(cc, VV_CC_PRIVATE)) {
        return VV_STORE_WHY_PRIVATE;
    }
    const bool shared = vv_cc_has(cc, VV_CC_PUBLIC);
    const bool credentials = o->credentials || vv_h1_find(req, VV_FIELD_AUTHORIZATION) != NULL;
    if (credentials && !o->keep_authorized && !shared && !vv_cc_has(cc, VV_CC_MUST_REVALIDATE) &&
        cc->number[VV_CC_S_MAXAGE] == VV_CC_UNSET) {
        return VV_STORE_WHY_AUTHORIZATION;
    }
    /* A cookie that is dropped on the way in (private="Set-Cookie") cannot reach anybody else. */
    const bool dropped = vv_cc_fields_have(&cc->private_fields, VV_STR("Set-Cookie")) ||
                         vv_cc_fields_have(&cc->no_cache, VV_STR("Set-Cookie"));
    if (vv_h1_find(answer, VV_FIELD_SET_COOKIE) != NULL && !o->keep_set_cookie && !shared &&
        !dropped) {
        return VV_STORE_WHY_SET_COOKIE;
    }
    return VV_STORE_WHY_STORED;
}

static bool varies_by_everything(const struct vv_h1_head *answer)
{
    for (uint32_t i = 0; i < answer->fields_count; i++) {
        const struct vv_h1_field *f = &answer->fields[i];
        if (f->id == VV_FIELD_VARY && vv_h1_list_has(f->value, VV_STR("*"))) {
            return true;
        }
    }
    return false;
}

enum vv_store_why vv_cache_judge_store(const struct vv_h1_head *req, const struct vv_cc *req_cc,
                                       const struct vv_h1_head *answer, const struct vv_cc *cc,
                                       const struct vv_cache_options *o, int64_t request_ms,
                                       int64_t response_ms, struct vv_cache_facts *ret_facts)
{
    /* An answer to HEAD has no body to keep; it freshens a stored one instead (section 4.3.5). */
    if (!vv_cache_serves(req, o) || req->method == VV_METHOD_HEAD) {
        return VV_STORE_WHY_METHOD;
    }
    if (answer->status < 200 || answer->status == 304) {
        return VV_STORE_WHY_STATUS;
    }
    if (answer->status == 206 || vv_h1_find(answer, VV_FIELD_CONTENT_RANGE) != NULL) {
        return VV_STORE_WHY_PARTIAL;
    }
    const enum vv_store_why why = forbidden(req, req_cc, answer, cc, o);
    if (why != VV_STORE_WHY_STORED) {
        return why;
    }
    if (varies_by_everything(answer)) {
        return VV_STORE_WHY_VARY_STAR;
    }
    const struct vv_cache_facts f = vv_cache_facts_of(answer, cc, o, request_ms, response_ms);
    if (f.source == VV_FRESH_NONE) {
        return VV_STORE_WHY_NO_FRESHNESS;
    }
    const bool fresh = f.initial_age_ms < (uint64_t)f.lifetime_s * MS && !f.no_cache;
    if (!fresh && !f.has_etag && !f.has_modified &&
        (f.no_cache || (f.while_revalidate_s == 0 && f.if_error_s == 0))) {
        return f.source == VV_FRESH_HEURISTIC && !f.no_cache ? VV_STORE_WHY_NO_FRESHNESS
                                                             : VV_STORE_WHY_USELESS;
    }
    *ret_facts = f;
    return VV_STORE_WHY_STORED;
}

/* A request that may not be forwarded gets 504 instead (section 5.2.1.7). */
static struct vv_use forward(struct vv_use u, const struct vv_cc *req_cc, bool ignore,
                             enum vv_use_result result, enum vv_use_why why)
{
    const bool stay = !ignore && vv_cc_has(req_cc, VV_CC_ONLY_IF_CACHED);
    u.result = stay ? VV_USE_GATEWAY_TIMEOUT : result;
    u.why = why;
    return u;
}

/* Past its lifetime by stale_ms: who allows it (section 4.2.4)? */
static struct vv_use judge_stale(struct vv_use u, const struct vv_cache_facts *f,
                                 const struct vv_cc *req_cc, bool ignore, bool soft)
{
    const uint64_t stale_ms = u.ttl_ms < 0 ? (uint64_t)-u.ttl_ms : 0;
    const uint32_t max_stale = ignore ? VV_CC_UNSET : req_cc->number[VV_CC_MAX_STALE];
    if (!f->must_revalidate) {
        const bool any = max_stale == VV_CC_MAX_S;
        if (!f->s_maxage && !soft && max_stale != VV_CC_UNSET &&
            (any || stale_ms <= (uint64_t)max_stale * MS)) {
            u.result = VV_USE_STALE;
            u.why = VV_USE_WHY_MAX_STALE;
            return u;
        }
        if (f->while_revalidate_s > 0 && stale_ms <= (uint64_t)f->while_revalidate_s * MS) {
            u.result = VV_USE_WHILE_REVALIDATE;
            u.why = VV_USE_WHY_WHILE_REVALIDATE;
            return u;
        }
    }
    return forward(u, req_cc, ignore, VV_USE_REVALIDATE,
                   soft ? VV_USE_WHY_PURGED : VV_USE_WHY_STALE);
}

struct vv_use vv_cache_judge_use(const struct vv_cache_facts *facts, const struct vv_cc *req_cc,
                                 const struct vv_cache_options *o, bool soft, int64_t now_ms)
{
    const bool ignore = o->ignore_request;
    struct vv_use u = {.result = VV_USE_FRESH, .why = VV_USE_WHY_FRESH};
    if (facts == NULL) {
        return forward(u, req_cc, ignore, VV_USE_MISS, VV_USE_WHY_ABSENT);
    }
    u.age_ms = vv_cache_age_ms(facts->initial_age_ms, facts->response_ms, now_ms);
    u.ttl_ms = (int64_t)facts->lifetime_s * MS - (int64_t)u.age_ms;
    if (facts->no_cache) {
        return forward(u, req_cc, ignore, VV_USE_REVALIDATE, VV_USE_WHY_NO_CACHE);
    }
    if (!ignore && req_cc->flags != 0 && vv_cc_has(req_cc, VV_CC_NO_CACHE)) {
        return forward(u, req_cc, ignore, VV_USE_REVALIDATE, VV_USE_WHY_REQUEST_NO_CACHE);
    }
    const uint32_t max_age = ignore ? VV_CC_UNSET : req_cc->number[VV_CC_MAX_AGE];
    /* max-age=0 asks for a validation even in the second in which the answer came. */
    if (max_age != VV_CC_UNSET && (max_age == 0 || u.age_ms > (uint64_t)max_age * MS)) {
        return forward(u, req_cc, ignore, VV_USE_REVALIDATE, VV_USE_WHY_REQUEST_MAX_AGE);
    }
    const uint32_t min_fresh = ignore ? VV_CC_UNSET : req_cc->number[VV_CC_MIN_FRESH];
    if (min_fresh != VV_CC_UNSET && u.ttl_ms < (int64_t)min_fresh * MS) {
        return forward(u, req_cc, ignore, VV_USE_REVALIDATE, VV_USE_WHY_REQUEST_MIN_FRESH);
    }
    if (u.ttl_ms > 0 && !soft) {
        return u;
    }
    return judge_stale(u, facts, req_cc, ignore, soft);
}

bool vv_cache_serves_on_error(const struct vv_cache_facts *facts, const struct vv_cc *req_cc,
                              const struct vv_cache_options *o, int status, bool soft,
                              int64_t now_ms)
{
    const bool failure =
        status == 0 || status == 500 || status == 502 || status == 503 || status == 504;
    const bool ignore = o->ignore_request;
    if (!failure || facts->must_revalidate || facts->no_cache ||
        (!ignore && vv_cc_has(req_cc, VV_CC_NO_CACHE))) {
        return false;
    }
    const uint64_t age_ms = vv_cache_age_ms(facts->initial_age_ms, facts->response_ms, now_ms);
    const uint64_t life_ms = (uint64_t)facts->lifetime_s * MS;
    const uint32_t asked = ignore ? VV_CC_UNSET : req_cc->number[VV_CC_STALE_IF_ERROR];
    uint32_t limit_s = facts->if_error_s;
    /* The request may ask for more, unless s-maxage leaves that to the answer. */
    if (asked != VV_CC_UNSET && !facts->s_maxage) {
        limit_s = asked > limit_s ? asked : limit_s;
    }
    if (age_ms < life_ms) {
        return !soft || limit_s > 0;
    }
    return age_ms - life_ms <= (uint64_t)limit_s * MS && limit_s > 0;
}

uint64_t vv_cache_keep_s(const struct vv_cache_facts *facts, uint32_t validate_s)
{
    const uint64_t life_ms = (uint64_t)facts->lifetime_s * MS;
    const uint64_t left_s =
        facts->initial_age_ms < life_ms ? (life_ms - facts->initial_age_ms + MS - 1) / MS : 0;
    uint64_t more_s = facts->while_revalidate_s > facts->if_error_s ? facts->while_revalidate_s
                                                                    : facts->if_error_s;
    if (facts->has_etag || facts->has_modified) {
        more_s = vv_max_u64(more_s, validate_s);
    }
    return left_s + more_s;
}
