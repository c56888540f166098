/* src/gateway/access_check.c - the ACCESS phase: one walk finds the credentials, one look judges them. A
 * route that says neither `access` nor `require` costs two comparisons. */
#include "gateway/access_int.h"
#include "gateway/admit.h"
#include "gateway/head_writer.h"
#include "gateway/homes.h"
#include "gateway/session.h"
#include "gateway/tls_vars.h"

#define REALM "realm=\"vivace\""
#define USER_FIELD "X-Authenticated-User"
#define PLAN_FIELD "X-Authenticated-Plan"
#define UNKNOWN_HEX 16 /* letters of a hash that tell unknown keys apart */
#define CHALLENGES_MAX 3

enum result { GRANTED, ANONYMOUS, MISSING, INVALID, FORBIDDEN, REQUIRED, UNSURE };
static const char *const result_names[] = {"granted",   "anonymous", "missing", "invalid",
                                           "forbidden", "required",  "unsure"};
enum plan_result { PASSED, REFUSED };
enum judged { /* what became of credentials */
              FINE,
              WRONG,
              TWICE,
              ABSENT,
              WAITS,
              CANNOT
};

struct look { /* one request being judged */
    struct vv_exchange *x;
    struct vv_access *a;
    struct vv_seat *seat;
    const struct vv_tables *tables;
    int64_t now_s;
    const char *why; /* WRONG: static text */
};

/* ---- counting ------------------------------------------------------------------------------ */

/* Interning takes a lock, so a seat remembers. The tag holds all that tells series apart. */
static void count(struct vv_exchange *x, struct vv_seat *s, enum vv_metric metric, uint64_t tag,
                  const struct vv_str values[2])
{
    const size_t at = (size_t)(tag ^ tag >> 8 ^ tag >> 32) % VV_ACCESS_SERIES;
    if (s->count[at].tag != tag) {
        s->count[at].tag = tag;
        s->count[at].series = vv_metrics_series(x->w->metrics, metric, values, 2);
    }
    vv_metric_add(x->w->shard, s->count[at].series, 1);
}

static uint64_t tag_of(const struct vv_exchange *x, uint64_t index, unsigned kind, unsigned result)
{
    return x->rt->generation << 32 | index << 8 | (uint64_t)kind << 4 | result;
}

static void count_access(struct vv_exchange *x, struct vv_seat *s, enum result result)
{
    const struct vv_str values[2] = {vv_str_from(x->route->conf->name),
                                     vv_str_from(result_names[result])};
    if (s != NULL) {
        count(x, s, VV_METRIC_ACCESS, tag_of(x, x->route->index, 1, result), values);
    }
}

void vv_access_end(struct vv_exchange *x, bool refused)
{
    const struct vv_caller *c = x->caller;
    if (c == NULL || x->w->homes == NULL || !vv_session_has_client(x->session)) {
        return;
    }
    refused |= x->reason == VV_REASON_FORBIDDEN_PLAN;
    if (c->use != NULL) {
        atomic_fetch_add_explicit(&c->use->requests, 1, memory_order_relaxed);
        atomic_store_explicit(&c->use->last_wall_ns, x->began_wall_ns, memory_order_relaxed);
        if (refused) {
            atomic_fetch_add_explicit(&c->use->refused, 1, memory_order_relaxed);
        }
    }
    struct vv_seat *s = vv_access_seat(x->w->homes->access, x->w);
    if (c->plan != NULL && s != NULL) {
        const struct vv_str values[2] = {c->plan->name,
                                         refused ? VV_STR("refused") : VV_STR("passed")};
        count(x, s, VV_METRIC_PLAN_REQUESTS,
              tag_of(x, (uint64_t)(c->plan - x->rt->plan), 2, refused ? REFUSED : PASSED), values);
    }
}

/* ---- answers ------------------------------------------------------------------------------- */

/* Text inside a JSON string: what stands in the configuration may hold quotes. */
static struct vv_str escaped(struct vv_exchange *x, struct vv_str s)
{
    char *out = vv_arena_alloc(&x->arena, 2 * s.n + 1);
    size_t n = 0;
    for (size_t i = 0; out != NULL && i < s.n; i++) {
        if (s.p[i] == '"' || s.p[i] == '\\') {
            out[n++] = '\\';
        }
        out[n++] = (unsigned char)s.p[i] < ' ' ? '?' : s.p[i];
    }
    return (struct vv_str){out, n};
}

static void answer(struct vv_exchange *x, enum vv_reason reason, struct vv_str detail,
                   const struct vv_field *more, size_t count)
{
    const struct vv_reason_info *why = &vv_reasons[reason];
    struct vv_field field[CHALLENGES_MAX + 3] = {
        {VV_STR("Content-Type"), VV_STR("application/problem+json")},
        {VV_STR("Cache-Control"), VV_STR("no-store")}};
    const struct vv_str text = escaped(x, detail.n > 0 ? detail : vv_str_from(why->text));
    const struct vv_str body = vv_arena_fmt(
        &x->arena,
        "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%d,\"detail\":\"" VV_STR_FMT
        "\",\"reason\":\"%s\",\"request_id\":\"" VV_STR_FMT "\"}\n",
        vv_h1_reason(why->status), why->status, VV_STR_ARG(text), why->name, VV_STR_ARG(x->id));
    if (text.p == NULL || body.p == NULL) {
        vv_exchange_end(x, VV_REASON_NO_MEMORY);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        field[2 + i] = more[i];
    }
    x->reason = reason;
    vv_answer_simple(x, why->status, field, 2 + count, body);
}

/* One challenge for each way of the route (RFC 9110 section 11.6.1). `error` NULL: nothing was sent. */
static size_t challenges(struct vv_exchange *x, const char *error, const char *why,
                         struct vv_field field[CHALLENGES_MAX])
{
    const uint64_t ways = x->route->conf->access.methods;
    size_t n = 0;
    if ((ways & (VV_BY_BEARER | VV_BY_JWT)) != 0) {
        field[n++].value =
            error == NULL ? VV_STR("Bearer " REALM)
                          : vv_arena_fmt(&x->arena,
                                         "Bearer " REALM ", error=\"%s\", error_description=\"%s\"",
                                         error, why);
    }
    if ((ways & VV_BY_BASIC) != 0) {
        field[n++].value = VV_STR("Basic " REALM ", charset=\"UTF-8\"");
    }
    if ((ways & VV_BY_KEY) != 0) {
        field[n++].value = vv_arena_fmt(&x->arena, "ApiKey " REALM ", in=\"header\", name=\"%s\"",
                                        x->rt->settings->access.header);
    }
    for (size_t i = 0; i < n; i++) {
        field[i].name = VV_STR("WWW-Authenticate");
        if (field[i].value.p == NULL) {
            return 0;
        }
    }
    return n;
}

static void refuse(struct vv_exchange *x, enum vv_reason reason, const char *error, const char *why)
{
    struct vv_field field[CHALLENGES_MAX];
    const size_t n = challenges(x, error, why, field);
    const struct vv_str detail =
        why != NULL ? vv_arena_fmt(&x->arena, "%c%s.", why[0] - ('a' - 'A'), why + 1)
                    : (struct vv_str){NULL, 0};
    answer(x, reason, detail, field, n);
}

/* Not through vv_answer_error(): a route's fallback is not for whom nobody knows. */
static void refuse_unsure(struct vv_exchange *x)
{
    const struct vv_field field = {VV_STR("Retry-After"), VV_STR("1")};
    answer(x, VV_REASON_ACCESS_UNSURE, (struct vv_str){NULL, 0}, &field, 1);
}

void vv_access_refuse_wrong(struct vv_exchange *x, const char *why)
{
    const struct vv_h1_field *f = vv_h1_find(&x->req, VV_FIELD_AUTHORIZATION);
    struct vv_str value = f != NULL ? f->value : (struct vv_str){NULL, 0};
    const bool token = vv_str_eq_nocase(vv_str_cut(&value, ' '), VV_STR("Bearer"));
    count_access(x, vv_access_seat(x->w->homes->access, x->w), INVALID);
    if (vv_admit_stranger(x)) {
        return;
    }
    refuse(x, VV_REASON_UNAUTHORIZED, token ? "invalid_token" : NULL, why);
}

/* ---- callers ------------------------------------------------------------------------------- */

static const struct vv_plan *find_plan(const struct vv_exchange *x, const char *name)
{
    const struct vv_str wanted = vv_str_from(name);
    for (size_t i = 0; wanted.n > 0 && i < x->rt->plan_count; i++) {
        if (vv_str_eq(x->rt->plan[i].name, wanted)) {
            return &x->rt->plan[i];
        }
    }
    return NULL;
}

static struct vv_caller *new_caller(struct look *l, enum vv_access_by by, const char *plan)
{
    struct vv_caller *c = vv_arena_zalloc(&l->x->arena, sizeof *c);
    if (c != NULL) {
        c->by = by;
        c->plan = find_plan(l->x, plan);
    }
    return c;
}

static enum judged called(struct look *l, struct vv_caller *c)
{
    if (c == NULL || c->id.p == NULL || c->name.p == NULL) {
        return CANNOT;
    }
    l->x->caller = c;
    return FINE;
}

static enum judged wrong(struct look *l, const char *why)
{
    l->why = why;
    return WRONG;
}

/* A key that is not in the file: refused, or let in under a plan of its own. */
static enum judged unknown_key(struct look *l, enum vv_access_by by,
                               const uint8_t hash[VV_KEY_HASH])
{
    static const char hex[] = "0123456789abcdef";
    const struct vv_plan *plan = l->x->rt->unknown;
    char letters[UNKNOWN_HEX];
    if (plan == NULL) {
        return wrong(l, "the key is not known");
    }
    for (size_t i = 0; i < UNKNOWN_HEX; i++) {
        letters[i] = hex[hash[i / 2] >> (i % 2 == 0 ? 4 : 0) & 15];
    }
    struct vv_caller *c = new_caller(l, by, NULL);
    if (c != NULL) {
        c->plan = plan;
        c->id = vv_arena_fmt(&l->x->arena, "unknown:%.*s", UNKNOWN_HEX, letters);
        c->name = VV_STR("");
    }
    return called(l, c);
}

static enum judged judge_key(struct look *l, enum vv_access_by by, struct vv_str text)
{
    const struct vv_keys *keys = vv_tables_get(l->tables, PART_KEYS);
    uint8_t hash[VV_KEY_HASH];
    if (text.n == 0 || text.n > VV_KEY_BYTES_MAX) {
        return wrong(l, "the key is not known");
    }
    if (!vv_access_hash(l->a, l->seat, text, hash)) {
        return CANNOT;
    }
    const struct vv_key *k = keys != NULL ? vv_keys_find(keys, hash) : NULL;
    if (k == NULL) {
        return unknown_key(l, by, hash);
    }
    if (!vv_key_good(k, l->now_s)) {
        return wrong(l, k->revoked_s != 0 ? "the key is revoked" : "the key has expired");
    }
    struct vv_caller *c = new_caller(l, by, k->plan);
    if (c != NULL) {
        c->use = k->use; /* outlives the table */
        c->id = vv_str_from(k->use->id);
        c->name = (struct vv_str){c->id.p + 4, c->id.n - 4}; /* after "key:" */
    }
    return called(l, c);
}

static void rules_of(const struct vv_jwt_settings *s, struct vv_jwt_rules *r,
                     struct vv_str audience[VV_JWT_AUDIENCES])
{
    *r = (struct vv_jwt_rules){.issuer = vv_str_from(s->issuer),
                               .audience = audience,
                               .skew_s = (int64_t)(s->skew_ns / VV_SEC),
                               .subject = vv_str_from(s->subject),
                               .plan = vv_str_from(s->plan)};
    for (size_t i = 0; s->algorithms != NULL && i < s->algorithms->count; i++) {
        r->algorithms |= vv_jwt_alg_of(vv_str_from(s->algorithms->item[i]));
    }
    for (size_t i = 0; s->audience != NULL && i < s->audience->count && i < VV_JWT_AUDIENCES; i++) {
        audience[r->audience_count++] = vv_str_from(s->audience->item[i]);
    }
}

static enum judged known(struct look *l, enum vv_access_by by, const struct vv_seen *seen)
{
    const char *plan = seen->plan;
    if (by == VV_BY_JWT &&
        find_plan(l->x, plan) == NULL) { /* else a made-up name would be no limit */
        plan = l->x->rt->settings->access.jwt.default_plan;
    }
    struct vv_caller *c = new_caller(l, by, plan);
    if (c != NULL) {
        c->name = vv_arena_str(&l->x->arena, vv_str_from(seen->name));
        c->id = vv_arena_fmt(&l->x->arena, "%s:%s", by == VV_BY_JWT ? "jwt" : "user", seen->name);
    }
    return called(l, c);
}

static enum judged judge_token(struct look *l, struct vv_str text)
{
    const struct vv_jwks *keys = vv_tables_get(l->tables, PART_JWKS);
    struct vv_str audience[VV_JWT_AUDIENCES];
    struct vv_jwt_rules rules;
    struct vv_jwt_claims claims;
    struct vv_seen entry = {
        .by = VV_BY_JWT, .tables = l->tables->generation, .runtime = l->x->rt->generation};
    enum vv_jwt_verdict why = VV_JWT_FINE;
    if (text.n > VV_JWT_BYTES_MAX) {
        return wrong(l, vv_jwt_verdict_text(VV_JWT_MALFORMED));
    }
    if (keys == NULL) { /* not fetched yet */
        atomic_store_explicit(&l->a->key_wanted, true, memory_order_relaxed);
        return CANNOT;
    }
    if (!vv_access_hash(l->a, l->seat, text, entry.hash)) {
        return CANNOT;
    }
    const struct vv_seen *seen = vv_access_recall(l->seat, &entry, l->now_s);
    if (seen == NULL) {
        rules_of(&l->x->rt->settings->access.jwt, &rules, audience);
        if (vv_jwt_verify(text, keys, &rules, l->now_s, &claims, &why) != VV_OK) {
            if (why == VV_JWT_KEY) {
                atomic_store_explicit(&l->a->key_wanted, true, memory_order_relaxed);
            }
            return wrong(l, vv_jwt_verdict_text(why));
        }
        memcpy(entry.name, claims.subject, sizeof entry.name);
        memcpy(entry.plan, claims.plan, sizeof entry.plan);
        entry.until_s = claims.expires_s;
        vv_access_remember(l->seat, &entry);
        seen = &entry;
    }
    return known(l, VV_BY_JWT, seen);
}

static enum judged judge_basic(struct look *l, struct vv_str text)
{
    struct vv_seen entry = {
        .by = VV_BY_BASIC, .tables = l->tables->generation, .runtime = l->x->rt->generation};
    if (!vv_access_hash(l->a, l->seat, text, entry.hash)) {
        return CANNOT;
    }
    const struct vv_seen *seen = vv_access_recall(l->seat, &entry, l->now_s);
    if (seen != NULL) {
        return known(l, VV_BY_BASIC, seen);
    }
    if (!vv_session_has_client(l->x->session)) {
        return ABSENT; /* nobody waits for it */
    }
    switch (vv_access_basic(l->x, l->seat, l->tables, text, entry.hash)) {
    case BASIC_WAITS:
        return WAITS;
    case BASIC_MALFORMED:
        return wrong(l, "the credentials are malformed");
    case BASIC_BUSY:
        break;
    }
    return CANNOT;
}

/* ---- credentials --------------------------------------------------------------------------- */

bool vv_access_is_credential(const struct vv_exchange *x, const struct vv_h1_field *f)
{
    if (f->id == VV_FIELD_AUTHORIZATION) {
        return true;
    }
    const struct vv_route_access_settings *conf = &x->route->conf->access;
    return conf->enabled != 0 && (conf->methods & VV_BY_KEY) != 0 &&
           vv_str_eq_nocase(f->name, vv_str_from(x->rt->settings->access.header));
}

bool vv_access_has_credential(const struct vv_exchange *x)
{
    for (uint32_t i = 0; i < x->req.fields_count; i++) {
        if (vv_access_is_credential(x, &x->req.fields[i])) {
            return true;
        }
    }
    return false;
}

/* ---- certificates -------------------------------------------------------------------------- */

static bool has_name(const struct vv_tls_peer *p, struct vv_str name)
{
    bool has = p->common_name.n > 0 && vv_str_eq_nocase(p->common_name, name);
    for (size_t i = 0; i < p->san_count && !has; i++) {
        has = vv_str_eq_nocase(p->sans[i].name, name);
    }
    return has;
}

static bool is_whose(const struct vv_tls_peer *p, const struct vv_certificate_settings *c)
{
    return c->fingerprint != NULL ? strcmp(c->fingerprint, p->fingerprint) == 0
                                  : has_name(p, vv_str_from(c->name));
}

static struct vv_str name_of(const struct vv_tls_peer *p)
{
    return p->common_name.n > 0 ? p->common_name
           : p->san_count > 0   ? p->sans[0].name
                                : vv_str_from(p->fingerprint);
}

/* The handshake has verified it; what is left is whose it is. */
static enum judged judge_certificate(struct look *l)
{
    const struct vv_tls_peer *p = vv_tls_client(l->x);
    const struct vv_conf_list *list = l->x->rt->settings->access.certificates;
    const struct vv_certificate_settings *found = NULL;
    if (p == NULL) {
        return ABSENT;
    }
    for (size_t i = 0; list != NULL && i < list->count && found == NULL; i++) {
        found = is_whose(p, list->item[i]) ? list->item[i] : NULL;
    }
    if (found == NULL && list != NULL) {
        return wrong(l, "the certificate is not known");
    }
    struct vv_caller *c = new_caller(l, VV_BY_CERTIFICATE, found != NULL ? found->plan : NULL);
    if (c != NULL) {
        const struct vv_str name = found != NULL ? vv_str_from(found->name) : name_of(p);
        c->name = vv_arena_str(&l->x->arena, name);
        c->id = vv_arena_fmt(&l->x->arena, "cert:" VV_STR_FMT, VV_STR_ARG(name));
    }
    return called(l, c);
}

static enum judged judge_authorization(struct look *l, struct vv_str value)
{
    const uint64_t ways = l->x->route->conf->access.methods;
    const bool has_tokens = l->x->rt->settings->access.jwt.enabled != 0;
    const struct vv_str scheme = vv_str_cut(&value, ' ');
    const struct vv_str rest = vv_str_trim(value);
    if (vv_str_eq_nocase(scheme, VV_STR("Bearer")) && (ways & (VV_BY_BEARER | VV_BY_JWT)) != 0) {
        if (has_tokens && vv_jwt_is_token(rest)) {
            return judge_token(l, rest);
        }
        return (ways & VV_BY_BEARER) != 0 ? judge_key(l, VV_BY_BEARER, rest)
                                          : wrong(l, vv_jwt_verdict_text(VV_JWT_MALFORMED));
    }
    if (vv_str_eq_nocase(scheme, VV_STR("Basic")) && (ways & VV_BY_BASIC) != 0) {
        return judge_basic(l, rest);
    }
    return wrong(l, "this kind of credentials is not accepted here");
}

/* Credentials sent twice are nobody's: the service might read the others. */
static enum judged judge(struct look *l)
{
    const struct vv_exchange *x = l->x;
    const uint64_t ways = x->route->conf->access.methods;
    const struct vv_str name = vv_str_from(x->rt->settings->access.header);
    const struct vv_h1_field *first = NULL, *key = NULL;
    for (uint32_t i = 0; i < x->req.fields_count; i++) {
        const struct vv_h1_field *f = &x->req.fields[i];
        if (f->id == VV_FIELD_AUTHORIZATION) {
            if (first != NULL) {
                return TWICE;
            }
            first = f;
        } else if ((ways & VV_BY_KEY) != 0 && vv_str_eq_nocase(f->name, name)) {
            if (key != NULL) {
                return TWICE;
            }
            key = f;
        }
    }
    const uint64_t in_authorization = VV_BY_BEARER | VV_BY_BASIC | VV_BY_JWT;
    if (first != NULL && (ways & in_authorization) != 0) {
        return key == NULL ? judge_authorization(l, first->value) : TWICE;
    }
    if (key != NULL) {
        return judge_key(l, VV_BY_KEY, key->value);
    }
    return (ways & VV_BY_CERTIFICATE) != 0 ? judge_certificate(l) : ABSENT;
}

/* ---- require ------------------------------------------------------------------------------- */

static bool is_any(const char *value)
{
    return value == NULL || strcmp(value, "*") == 0;
}

/* Is it one of the values of the list? Media types without their parameters, in any case. */
static bool is_one_of(struct vv_str value, const char *list, bool media_type)
{
    struct vv_str rest = vv_str_from(list);
    if (media_type) {
        value = vv_str_trim(vv_str_cut(&value, ';'));
    }
    while (rest.n > 0) {
        const struct vv_str wanted = vv_str_trim(vv_str_cut(&rest, ','));
        if (media_type ? vv_str_eq_nocase(value, wanted) : vv_str_eq(value, wanted)) {
            return true;
        }
    }
    return false;
}

static bool has_content(const struct vv_exchange *x)
{
    return x->req.framing == VV_H1_BODY_CHUNKED ||
           (x->req.framing == VV_H1_BODY_LENGTH && x->req.content_length > 0);
}

/* Every field of the name must fit, and there must be one. */
static bool is_met(const struct vv_exchange *x, const struct vv_header_match *m, bool media_type)
{
    bool there = false;
    for (uint32_t i = 0; i < x->req.fields_count; i++) {
        const struct vv_h1_field *f = &x->req.fields[i];
        if (vv_str_eq_nocase(f->name, vv_str_from(m->name))) {
            if (!is_any(m->value) && !is_one_of(f->value, m->value, media_type)) {
                return false;
            }
            there = true;
        }
    }
    return there;
}

/* RFC 9110 section 15.5.16: Accept says what would do; Accept-Post (LDP 1.0) and Accept-Patch (RFC 5789)
 * say it for the method. */
static void refuse_type(struct vv_exchange *x, const struct vv_header_match *m)
{
    const struct vv_str types = vv_str_from(is_any(m->value) ? "*/*" : m->value);
    struct vv_field field[2] = {{VV_STR("Accept"), types}, {VV_STR("Accept-Post"), types}};
    size_t n = 1;
    if (x->req.method == VV_METHOD_POST || x->req.method == VV_METHOD_PATCH) {
        field[1].name =
            x->req.method == VV_METHOD_POST ? VV_STR("Accept-Post") : VV_STR("Accept-Patch");
        n = 2;
    }
    answer(x, VV_REASON_MEDIA_TYPE,
           vv_arena_fmt(&x->arena, "The body must be of type " VV_STR_FMT ".", VV_STR_ARG(types)),
           field, n);
}

/* True: it was answered. */
static bool lacks(struct vv_exchange *x)
{
    const struct vv_conf_list *list = x->route->conf->require;
    for (size_t i = 0; i < list->count; i++) {
        const struct vv_header_match *m = list->item[i];
        const bool type = vv_str_eq_nocase(vv_str_from(m->name), VV_STR("Content-Type"));
        if ((type && !has_content(x)) || is_met(x, m, type)) {
            continue;
        }
        if (x->w->homes != NULL) {
            count_access(x, vv_access_seat(x->w->homes->access, x->w), REQUIRED);
        }
        if (type) {
            refuse_type(x, m);
            return true;
        }
        const bool several = !is_any(m->value) && strchr(m->value, ',') != NULL;
        answer(x, VV_REASON_REQUIRED,
               is_any(m->value) ? vv_arena_fmt(&x->arena, "The header %s is required.", m->name)
                                : vv_arena_fmt(&x->arena, "%s must be %s%s.", m->name,
                                               several ? "one of " : "", m->value),
               NULL, 0);
        return true;
    }
    return false;
}

/* ---- the phase ----------------------------------------------------------------------------- */

static bool plan_is_allowed(const struct vv_exchange *x)
{
    const struct vv_conf_list *plans = x->route->conf->access.plans;
    const struct vv_plan *plan = x->caller != NULL ? x->caller->plan : NULL;
    for (size_t i = 0; plans != NULL && plan != NULL && i < plans->count; i++) {
        if (vv_str_eq(plan->name, vv_str_from(plans->item[i]))) {
            return true;
        }
    }
    return plans == NULL || plans->count == 0;
}

/* Nobody said who it is. Limits count it by its address. */
static bool nobody(struct look *l)
{
    struct vv_exchange *x = l->x;
    const bool optional = (x->route->conf->access.methods & VV_BY_OPTIONAL) != 0;
    if (optional && x->rt->anonymous != NULL) {
        struct vv_caller *c = new_caller(l, VV_BY_NONE, NULL);
        if (c != NULL) {
            c->plan = x->rt->anonymous;
            c->id = vv_arena_fmt(&x->arena, "ip:" VV_STR_FMT, VV_STR_ARG(x->client_ip));
            c->name = VV_STR("");
        }
        x->caller = c != NULL && c->id.p != NULL ? c : NULL;
    }
    if (optional && plan_is_allowed(x)) {
        count_access(x, l->seat, ANONYMOUS);
        return false;
    }
    x->caller = NULL;
    count_access(x, l->seat, MISSING);
    if (!vv_admit_stranger(x)) {
        refuse(x, VV_REASON_UNAUTHORIZED, NULL, NULL);
    }
    return true;
}

static bool conclude(struct look *l, enum judged judged)
{
    struct vv_exchange *x = l->x;
    switch (judged) {
    case WAITS:
        return true;
    case ABSENT:
        return nobody(l);
    case TWICE:
        count_access(x, l->seat, INVALID);
        if (!vv_admit_stranger(x)) {
            vv_answer_error(x, VV_REASON_BAD_REQUEST);
        }
        return true;
    case WRONG:
        vv_access_refuse_wrong(x, l->why);
        return true;
    case CANNOT:
        count_access(x, l->seat, UNSURE);
        refuse_unsure(x);
        return true;
    case FINE:
        break;
    }
    if (!plan_is_allowed(x)) {
        count_access(x, l->seat, FORBIDDEN);
        refuse(x, VV_REASON_FORBIDDEN_PLAN, "insufficient_scope",
               "the caller's plan does not include this");
        return true;
    }
    count_access(x, l->seat, GRANTED);
    return false;
}

static enum judged look_up(struct vv_exchange *x, struct look *l)
{
    struct vv_access *a = x->w->homes != NULL ? x->w->homes->access : NULL;
    *l = (struct look){.x = x, .a = a, .now_s = (int64_t)(vv_loop_wall(x->w->loop) / VV_SEC)};
    l->seat = a != NULL ? vv_access_seat(a, x->w) : NULL;
    if (l->seat == NULL) {
        return CANNOT;
    }
    l->tables = vv_access_hold(a, l->seat);
    const enum judged judged = l->tables != NULL ? judge(l) : CANNOT;
    vv_access_let_go(l->seat);
    return judged;
}

/* A fetch of ours, for the cache or for a part: whoever it is for was let in. The service still hears who
 * that is; and when the credentials have ended meanwhile, what they would fetch is not wanted. */
static bool check_own(struct vv_exchange *x)
{
    struct look l;
    if (x->caller != NULL || !x->session->detached || look_up(x, &l) != WRONG) {
        return false;
    }
    vv_exchange_end(x, VV_REASON_NONE);
    return true;
}

bool vv_access_check(struct vv_exchange *x)
{
    const struct vv_route_settings *conf = x->route->conf;
    if (VV_LIKELY(conf->access.enabled == 0 && conf->require == NULL)) {
        return false;
    }
    if (!vv_session_has_client(x->session)) {
        return conf->access.enabled != 0 && check_own(x);
    }
    if (conf->access.enabled != 0) {
        struct look l;
        const enum judged judged = look_up(x, &l);
        if (conclude(&l, judged)) {
            return true;
        }
    }
    return conf->require != NULL && lacks(x);
}

/* ---- what the service hears ---------------------------------------------------------------- */

size_t vv_access_fields_bytes(const struct vv_exchange *x)
{
    const struct vv_caller *c = x->caller;
    return c == NULL ? 0
                     : sizeof USER_FIELD + sizeof PLAN_FIELD + 8 + c->name.n +
                           (c->plan != NULL ? c->plan->name.n : 0);
}

void vv_access_put_fields(struct vv_writer *o, const struct vv_exchange *x)
{
    const struct vv_caller *c = x->caller;
    if (c != NULL && c->name.n > 0) {
        vv_put_field(o, VV_STR(USER_FIELD), c->name);
    }
    if (c != NULL && c->plan != NULL) {
        vv_put_field(o, VV_STR(PLAN_FIELD), c->plan->name);
    }
}

bool vv_access_same_field(struct vv_str name, struct vv_str ours)
{
    for (size_t i = 0; i < ours.n && name.n == ours.n; i++) {
        const char c = name.p[i] == '_' ? '-' : vv_char_lower(name.p[i]);
        if (c != vv_char_lower(ours.p[i])) {
            return false;
        }
    }
    return name.n == ours.n;
}

bool vv_access_drops_field(const struct vv_h1_field *f)
{
    return f->id == VV_FIELD_OTHER && f->name.n == sizeof USER_FIELD - 1 &&
           (vv_access_same_field(f->name, VV_STR(USER_FIELD)) ||
            vv_access_same_field(f->name, VV_STR(PLAN_FIELD)));
}
