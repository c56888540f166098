/* src/gateway/explain_cache.c - RECALL, told instead of done: key, what lies under it, verdict. */
#include "gateway/explain_cache.h"
#include "gateway/caches.h"
#include "gateway/describe.h"
#include "gateway/stored.h"

#define KEY_EXTRA 64    /* scheme, method, port and separators of a key */
#define VARIANTS_MAX 16 /* shown under one key */
#define KEY_SHOWN 1024

struct question {
    const struct vv_cache_question *q;
    const struct vv_cache_plan *plan;
    struct vv_json *j;
    struct vv_cc cc;
    struct vv_str key;
    struct vv_epoch_reader *reader;
    const struct vv_cache_object *found[VARIANTS_MAX]; /* referenced */
    bool soft[VARIANTS_MAX];
    size_t n;
};

static void say(struct question *e, const char *outcome, const char *why)
{
    vv_json_kcstr(e->j, "outcome", outcome);
    vv_json_kcstr(e->j, "why", why);
}

/* ---- the request --------------------------------------------------------------------------- */

/* Why the cache is not asked for this request; NULL: it is. */
static const char *bypassed(const struct question *e)
{
    const struct vv_h1_head *req = e->q->head;
    const bool post = req->method == VV_METHOD_POST && e->plan->body_in_key;
    if ((e->plan->methods >> req->method & 1) == 0) {
        return vv_methods[req->method].safe ? "answers to this method are not kept here"
                                            : "a write: when the service answers without an error, "
                                              "what it names is forgotten";
    }
    if (req->upgrade) {
        return "the request asks for another protocol";
    }
    if (vv_h1_find(req, VV_FIELD_IF_MATCH) != NULL ||
        vv_h1_find(req, VV_FIELD_IF_UNMODIFIED_SINCE) != NULL) {
        return "If-Match and If-Unmodified-Since are for the service to judge (RFC 9110 13.1)";
    }
    if (!post && (req->framing == VV_H1_BODY_CHUNKED ||
                  (req->framing == VV_H1_BODY_LENGTH && req->content_length > 0))) {
        return "the request has a body";
    }
    return NULL;
}

static void say_directives(struct question *e)
{
    static const char *const flags[] = {
#define VV_CC_FLAG(id, name) name,
        VV_CC_FLAGS(VV_CC_FLAG)
#undef VV_CC_FLAG
    };
    static const char *const numbers[] = {
#define VV_CC_NUMBER(id, name) name,
        VV_CC_NUMBERS(VV_CC_NUMBER)
#undef VV_CC_NUMBER
    };
    struct vv_sb text = VV_SB_INIT;
    for (size_t i = 0; i < VV_CC_FLAG_COUNT; i++) {
        if (vv_cc_has(&e->cc, (enum vv_cc_flag)i)) {
            vv_sb_addf(&text, "%s%s", text.n > 0 ? ", " : "", flags[i]);
        }
    }
    for (size_t i = 0; i < VV_CC_NUMBER_COUNT; i++) {
        if (e->cc.number[i] != VV_CC_UNSET) {
            vv_sb_addf(&text, "%s%s=%u", text.n > 0 ? ", " : "", numbers[i], e->cc.number[i]);
        }
    }
    if (text.n > 0) {
        vv_json_kstr(e->j, "request_directives", vv_sb_str(&text));
        vv_json_kcstr(e->j, "they_are",
                      e->plan->options.ignore_request ? "ignored (client_directives: false)"
                                                      : "obeyed");
    }
    vv_sb_fini(&text);
}

/* ---- the key ------------------------------------------------------------------------------- */

static bool make_key(struct question *e)
{
    const struct vv_cache_question *q = e->q;
    const struct vv_cache_plan *plan = e->plan;
    if (plan->key != NULL) {
        return vv_template_render(plan->key, q->vars, q->arena, VV_TEMPLATE_KEY, &e->key) == VV_OK;
    }
    const bool post = q->head->method == VV_METHOD_POST && plan->body_in_key;
    const struct vv_key_parts parts = {.method = post ? VV_METHOD_POST : VV_METHOD_GET,
                                       .method_text = q->head->method_text,
                                       .scheme = q->vars->scheme,
                                       .authority = q->head->authority,
                                       .path = q->vars->path,
                                       .query = q->vars->query};
    const size_t cap = parts.authority.n + parts.path.n + parts.query.n + KEY_EXTRA;
    char *out = vv_arena_alloc(q->arena, cap);
    e->key.p = out;
    return out != NULL && vv_key_build(&parts, &plan->key_rules, out, cap, &e->key.n) == VV_OK;
}

/* As recall.c does: marks that no key above contains. */
static bool add_identity(struct question *e)
{
    const struct vv_h1_head *req = e->q->head;
    for (uint32_t i = 0; i < req->fields_count && e->plan->identity_in_key; i++) {
        const struct vv_h1_field *f = &req->fields[i];
        if (f->id != VV_FIELD_AUTHORIZATION && f->id != VV_FIELD_COOKIE) {
            continue;
        }
        char *out = vv_arena_alloc(e->q->arena, e->key.n + 1 + f->value.n);
        if (out == NULL) {
            return false;
        }
        memcpy(out, e->key.p, e->key.n);
        out[e->key.n] = f->id == VV_FIELD_COOKIE ? '\x02' : '\x01';
        if (f->value.n > 0) {
            memcpy(out + e->key.n + 1, f->value.p, f->value.n);
        }
        e->key = (struct vv_str){out, e->key.n + 1 + f->value.n};
    }
    return true;
}

/* The frames of a template's values are control bytes: people see bars. Who asked stays unsaid. */
static void say_key(struct question *e)
{
    char text[KEY_SHOWN];
    size_t n = 0;
    while (n < e->key.n && n < sizeof text) {
        text[n] = (unsigned char)e->key.p[n] < 0x20 ? '|' : e->key.p[n];
        n++;
    }
    vv_json_kstr(e->j, "key", (struct vv_str){text, n});
    const bool body = e->q->head->method == VV_METHOD_POST;
    if (body || e->plan->identity_in_key) {
        vv_json_kcstr(e->j, "key_ends_in",
                      !e->plan->identity_in_key ? "the body"
                      : body                    ? "Authorization, Cookie and the body"
                                                : "Authorization and Cookie");
    }
}

/* ---- what is stored ------------------------------------------------------------------------ */

static bool not_yet(void *ctx, const struct vv_cache_object *o)
{
    const struct question *e = ctx;
    for (size_t i = 0; i < e->n; i++) {
        if (e->found[i] == o) {
            return false;
        }
    }
    return true;
}

static void collect(struct question *e)
{
    struct vv_cache *memory = e->plan->cache->memory;
    const struct vv_cache_query q = {
        .key = e->key, .hash = vv_cache_hash(memory, e->key), .pick = not_yet, .ctx = e};
    while (e->n < VARIANTS_MAX) {
        const struct vv_cache_object *o = vv_cache_lookup(memory, e->reader, &q, &e->soft[e->n]);
        if (o == NULL) {
            return;
        }
        vv_cache_ref(o);
        e->found[e->n++] = o;
    }
}

static bool fits(const struct question *e, const struct vv_cache_object *o)
{
    const struct vv_stored_meta *m = vv_stored_meta(o);
    const struct vv_str second = vv_cache_second(o);
    return m->version == VV_STORED_VERSION && m->encoding == VV_ENCODING_IDENTITY &&
           (second.n == 0 || vv_vary_matches(e->q->head, second, &e->plan->vary_rules));
}

static void say_object(struct question *e, size_t i, bool taken)
{
    const struct vv_cache_object *o = e->found[i];
    const struct vv_stored_meta *m = vv_stored_meta(o);
    struct vv_cc none;
    vv_cc_init(&none);
    const struct vv_use use =
        vv_cache_judge_use(&m->facts, &none, &e->plan->options, e->soft[i], e->q->now_ms);
    vv_json_obj(e->j);
    vv_json_kbool(e->j, "for_this_request", taken);
    vv_json_kcstr(e->j, "state", vv_use_whys[use.why].name);
    vv_json_ku64(e->j, "status", m->status);
    vv_json_kdouble(e->j, "age_seconds", (double)use.age_ms / 1e3);
    vv_json_kdouble(e->j, "ttl_seconds", (double)use.ttl_ms / 1e3);
    vv_json_ku64(e->j, "body_bytes", o->body_n);
    vv_json_kstr(e->j, "coding", vv_encodings[m->encoding % VV_ENCODING_COUNT].name);
    vv_json_obj_end(e->j);
}

/* ---- the verdict --------------------------------------------------------------------------- */

static void say_verdict(struct question *e, const struct vv_use *use, bool others)
{
    static const char *const outcomes[] = {
        [VV_USE_FRESH] = "hit: sent from the cache",
        [VV_USE_STALE] = "stale: sent from the cache as it is",
        [VV_USE_WHILE_REVALIDATE] = "stale: sent from the cache, renewed behind",
        [VV_USE_REVALIDATE] = "the service is asked whether it has changed",
        [VV_USE_MISS] = "miss: fetched, once for all who ask meanwhile",
        [VV_USE_GATEWAY_TIMEOUT] = "504: not here, and the request wants it from the cache only",
    };
    const bool obeyed = !e->plan->options.ignore_request;
    const bool store = !(obeyed && vv_cc_has(&e->cc, VV_CC_NO_STORE));
    const char *why = vv_use_whys[use->why].text;
    if (use->why == VV_USE_WHY_ABSENT && others) {
        why = "what is stored is for requests with other headers (RFC 9111 4.1)";
    }
    if (use->result == VV_USE_MISS && !store) {
        say(e, "miss: fetched for this request alone and not kept",
            vv_store_whys[VV_STORE_WHY_REQUEST_NO_STORE].text);
        return;
    }
    say(e, outcomes[use->result], why);
}

static void look(struct question *e)
{
    size_t taken = VARIANTS_MAX;
    bool others = false;
    collect(e);
    for (size_t i = e->n; i > 0; i--) {
        const bool mine = fits(e, e->found[i - 1]);
        taken = mine ? i - 1 : taken;
        others |= !mine && vv_cache_second(e->found[i - 1]).n > 0;
    }
    vv_json_key(e->j, "stored");
    vv_json_arr(e->j);
    for (size_t i = 0; i < e->n; i++) {
        say_object(e, i, i == taken);
    }
    vv_json_arr_end(e->j);
    const bool there = taken < e->n;
    const struct vv_use use =
        vv_cache_judge_use(there ? &vv_stored_meta(e->found[taken])->facts : NULL, &e->cc,
                           &e->plan->options, there && e->soft[taken], e->q->now_ms);
    say_verdict(e, &use, others);
}

static void answer(struct question *e)
{
    const char *why = bypassed(e);
    if (e->plan->purge_count > 0 && vv_str_eq(e->q->head->method_text, VV_STR("PURGE"))) {
        say(e, "purge: the gateway answers", "PURGE is allowed for the addresses in `purge`");
        return;
    }
    if (why != NULL) {
        say(e, "bypass: the service answers", why);
        if (e->plan->drop_count > 0 && !vv_methods[e->q->head->method].safe) {
            vv_describe_texts(e->j, "forgets", e->plan->conf->invalidates);
        }
        return;
    }
    vv_cc_of_request(e->q->head, &e->cc);
    if (!make_key(e)) {
        say(e, "bypass: the service answers", "no key can be made of it");
        return;
    }
    say_key(e);
    say_directives(e);
    if (e->plan->cache == NULL || e->q->epoch == NULL) {
        say(e, "looked up", "what is stored is known to a running gateway only");
    } else if (e->q->head->method == VV_METHOD_POST) {
        say(e, "looked up", "what is stored depends on the body");
    } else if (!add_identity(e) || vv_epoch_join(e->q->epoch, &e->reader) != VV_OK) {
        say(e, "looked up", vv_err_text(VV_ENOMEM));
    } else {
        look(e);
        for (size_t i = 0; i < e->n; i++) {
            vv_cache_unref(e->found[i]);
        }
        vv_epoch_leave(e->q->epoch, e->reader);
    }
}

static void say_compress(const struct vv_cache_question *q, struct vv_json *j)
{
    const struct vv_encoding_rules *rules = &q->route->compress->rules;
    const enum vv_encoding encoding = vv_encoding_choose(rules, q->head);
    const bool any = encoding != VV_ENCODING_IDENTITY;
    vv_json_key(j, "compress");
    vv_json_obj(j);
    vv_json_kstr(j, "coding", vv_encodings[encoding].name);
    vv_json_kcstr(j, "why",
                  vv_encoding_whys[any ? VV_ENCODING_WHY_CHOSEN : VV_ENCODING_WHY_CLIENT].text);
    if (any) {
        vv_json_ku64(j, "if_at_least_bytes", rules->bytes_min);
        vv_describe_texts(j, "if_type_in", q->route->conf->compress.types);
    }
    vv_json_obj_end(j);
}

void vv_explain_cache(const struct vv_cache_question *q, struct vv_json *j)
{
    const struct vv_cache_plan *plan = q->route->cache;
    struct question e = {.q = q, .plan = plan, .j = j};
    if (plan != NULL) {
        vv_json_key(j, "cache");
        vv_json_obj(j);
        vv_json_kstr(j, "name", plan->name);
        vv_json_kbool(j, "coalesces_only", plan->coalesce_only);
        answer(&e);
        vv_json_obj_end(j);
    }
    if (q->route->compress != NULL) {
        say_compress(q, j);
    }
}
