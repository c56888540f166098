/* src/gateway/fetch.c - STORE: an origin's answer becomes a fill, renews an object, or passes. */
#include "gateway/fetch.h"
#include "cache/validate.h"
#include "gateway/access.h"
#include "gateway/levels.h"
#include "gateway/recall.h"
#include "gateway/session.h"
#include "gateway/variants.h"

#define FALLBACK_S (30 * 86400) /* and so long on routes with `fallback: {stale: true}` */
#define VALIDATE_S 3600         /* an object that can be validated is kept so long when stale */
#define PASS_NS (10 * VV_SEC)   /* an answer that was not kept: nobody waits for the next */
#define SECOND_MAX 8192

struct vv_kept { /* in the arena of the fetch's exchange */
    struct vv_stored_meta meta;
    struct vv_str second, block;
    uint64_t *tags;
    uint32_t tags_n;
    bool publish;
};

/* ---- an answer that is not kept ---- */

/* A route that falls back to what is stored, however old, wants it kept. */
static uint64_t keep_s(const struct vv_exchange *x, const struct vv_cache_facts *facts)
{
    const bool longer = x->route->conf->fallback.kind == VV_FALLBACK_STALE;
    return vv_cache_keep_s(facts, VALIDATE_S) + (longer ? FALLBACK_S : 0);
}

static void give_up(struct vv_recall *r, enum vv_err why)
{
    r->finished = true;
    r->status.stored = false;
    vv_cache_fill_fail(r->fill, why);
}

static enum vv_fetch_verdict pass(struct vv_exchange *x, const struct vv_h1_head *h,
                                  const char *detail)
{
    struct vv_recall *r = x->recall;
    const bool credentials = vv_access_has_credential(x);
    r->status.detail = vv_str_from(detail);
    r->role = VV_RECALL_PASS;
    if (h->status >= 500) { /* a failure: one of those who wait tries again */
        give_up(r, VV_ECLOSED);
    } else if (credentials) { /* nor is the next for others that comes with them */
        give_up(r, VV_EACCES);
    } else if (h->status == 304) { /* it says nothing about the next answer */
        give_up(r, VV_EEXIST);
    } else {
        vv_cache_fill_mark(r->memory, r->key, vv_worker_now(x->w) + PASS_NS);
        give_up(r, VV_ENOENT);
    }
    return VV_FETCH_PASS;
}

/* An answer to HEAD speaks about what is stored for GET (RFC 9111 section 4.3.5). */
static void compare_head(struct vv_exchange *x, const struct vv_h1_head *h)
{
    struct vv_recall *r = x->recall;
    if (x->req.method != VV_METHOD_HEAD || h->status != 200 || r->object == NULL) {
        return;
    }
    const struct vv_h1_head *stored =
        vv_recall_head(x, vv_cache_head(r->object), r->object->body_n);
    if (stored != NULL && !vv_cache_head_agrees(h, stored, r->object->body_n)) {
        (void)vv_cache_purge_key(r->memory, r->key, true);
    }
}

/* A key in a field of its own counts as Authorization does. */
static enum vv_store_why may_store(struct vv_exchange *x, const struct vv_h1_head *h,
                                   const struct vv_cc *cc, struct vv_cache_facts *ret)
{
    const struct vv_recall *r = x->recall;
    struct vv_cache_options options = r->plan->options;
    options.credentials = vv_access_has_credential(x);
    return vv_cache_judge_store(&x->req, &r->cc, h, cc, &options, r->request_ms,
                                vv_recall_now_ms(x), ret);
}

/* The key was marked as passing, but this answer could have been kept: the next one leads. */
static void unmark(struct vv_exchange *x, const struct vv_h1_head *h, const struct vv_cc *cc)
{
    struct vv_recall *r = x->recall;
    struct vv_cache_facts facts;
    if (r->status.fwd > VV_CACHE_FWD_METHOD && x->req.method != VV_METHOD_HEAD &&
        !r->plan->coalesce_only && may_store(x, h, cc, &facts) == VV_STORE_WHY_STORED) {
        vv_cache_fill_mark(r->memory, r->key, 0);
    }
}

/* ---- beyond memory ---- */

/* Other gateways and we ourselves later find it there. Its body is the fill's, or that of r->object. */
static void write_levels(struct vv_exchange *x, const struct vv_cache_spec *spec,
                         struct vv_cache_fill *fill)
{
    const struct vv_recall *r = x->recall;
    const struct vv_stored_meta *meta = spec->meta;
    if (r->plan->levels == NULL) {
        return;
    }
    const struct vv_level_object o = {
        .key = spec->key,
        .second = spec->second,
        .head = spec->head,
        .meta = spec->meta,
        .meta_n = spec->meta_n,
        .tags = spec->tags,
        .tags_n = spec->tags_n,
        .life_ns = vv_cache_keep_s(&meta->facts, 0) * VV_SEC,
        .keep_ns = spec->keep_until_ns - vv_worker_now(x->w),
        .log = r->log,
        .marker = r->marker,
        .marker_names = r->marker_names,
        .marker_at = r->marker_at,
        .fill = fill,
        .object = fill == NULL ? r->object : NULL,
    };
    vv_levels_write(r->plan->levels, x->w, &o);
}

/* In memory it is watched through a store, or does not live long there. `tags` is room for more of them. */
static void watch(struct vv_exchange *x, struct vv_cache_spec *spec, struct vv_stored_meta *meta,
                  uint64_t tags[VV_CACHE_TAGS_MAX])
{
    struct vv_levels *levels = x->recall->plan->levels;
    if (levels == NULL) {
        return;
    }
    uint32_t n = spec->tags_n;
    memcpy(tags, spec->tags, n * sizeof *tags);
    const struct vv_level_watch what = {.key = spec->key, .varies = spec->second.n > 0};
    if (!vv_levels_tags(levels, x->w, &what, tags, &n)) {
        const uint32_t age_s = (uint32_t)(meta->facts.initial_age_ms / 1000);
        meta->facts.lifetime_s = (uint32_t)vv_min_u64(meta->facts.lifetime_s,
                                                      (uint64_t)age_s + vv_levels_alone_s(levels));
    }
    spec->tags = tags;
    spec->tags_n = n;
}

/* ---- an answer that renews ---- */

static enum vv_err renew(struct vv_exchange *x, const struct vv_h1_head *h,
                         const struct vv_h1_head *stored, const struct vv_cc *cc)
{
    struct vv_recall *r = x->recall;
    char *block = x->w->scratch;
    const size_t n =
        vv_stored_head_merge(stored, h, cc, vv_worker_date(x->w), block, VV_WORKER_SCRATCH);
    struct vv_h1_head *merged =
        n > 0 ? vv_recall_head(x, (struct vv_str){block, n}, r->object->body_n) : NULL;
    if (merged == NULL) {
        return VV_ENOMEM;
    }
    const struct vv_h1_field *age = vv_h1_find(h, VV_FIELD_AGE);
    if (age != NULL && merged->fields_count < VV_H1_FIELDS_MAX) { /* is not kept, but counts */
        merged->fields[merged->fields_count++] = *age;
        merged->first[VV_FIELD_AGE] = (uint8_t)merged->fields_count;
    }
    struct vv_cc all;
    const struct vv_cache_options *o = &r->plan->options;
    vv_cc_of_answer(merged, o->targets, o->targets_count, o->surrogate, &all);
    struct vv_stored_meta meta = *vv_stored_meta(r->object);
    meta.facts = vv_cache_facts_of(merged, &all, o, r->request_ms, vv_recall_now_ms(x));
    meta.facts.status = vv_stored_meta(r->object)->facts.status;
    uint64_t tags[VV_CACHE_TAGS_MAX];
    const uint64_t now = vv_worker_now(x->w);
    char second[SECOND_MAX];
    size_t second_n = 0;
    const enum vv_err varies =
        vv_vary_second(&x->req, merged, &r->plan->vary_rules, second, sizeof second, &second_n);
    if (varies != VV_OK || vv_cc_has(cc, VV_CC_NO_STORE) || vv_cc_has(cc, VV_CC_PRIVATE)) {
        const struct vv_purge p = {.what = VV_PURGE_URL, .value = r->key};
        (void)vv_named_cache_purge(r->plan->cache, r->plan->levels, &p);
        return VV_EINVAL; /* sent once more, then forgotten */
    }
    const struct vv_cache_fill *fill = r->fill;
    if (!vv_str_eq(vv_cache_second(r->object), (struct vv_str){second, second_n}) &&
        !vv_cache_fill_doomed(fill)) {
        (void)vv_cache_purge_key(r->memory, r->key, false); /* it stands for other requests now */
        r->born = vv_cache_born(r->memory);
        fill = NULL; /* that was our own purge */
    }
    struct vv_cache_spec spec = {
        .key = r->key,
        .second = {second, second_n},
        .hash = r->hash,
        .meta = &meta,
        .meta_n = sizeof meta,
        .head = {block, n},
        .tags = tags,
        .tags_n = vv_stored_tags(merged, tags),
        .keep_until_ns = now + keep_s(x, &meta.facts) * VV_SEC,
        .born = r->born,
        .fill = fill,
    };
    uint64_t all_tags[VV_CACHE_TAGS_MAX];
    write_levels(x, &spec, NULL);
    watch(x, &spec, &meta, all_tags);
    return vv_cache_refresh(r->memory, r->object, &spec, now);
}

/* A 304 to our own condition. */
static enum vv_fetch_verdict not_modified(struct vv_exchange *x, const struct vv_h1_head *h,
                                          const struct vv_cc *cc)
{
    struct vv_recall *r = x->recall;
    const struct vv_h1_head *stored =
        vv_recall_head(x, vv_cache_head(r->object), r->object->body_n);
    if (stored == NULL || !vv_cache_freshens(h, stored)) {
        r->conditions = (struct vv_str){NULL, 0};
        return VV_FETCH_REPEAT;
    }
    const struct vv_cache_object *old = r->object;
    const enum vv_err err = renew(x, h, stored, cc);
    give_up(r, VV_EEXIST);
    r->status.revalidated = true;
    r->status.stored = err == VV_OK;
    if (err == VV_OK) {
        vv_cache_ref(old); /* in case it is not found again */
        vv_recall_find(x);
        if (r->object == NULL) {
            r->object = old;
            r->counted = true;
            r->use = vv_cache_judge_use(&vv_stored_meta(old)->facts, &r->cc, &r->plan->options,
                                        false, vv_recall_now_ms(x));
        } else {
            vv_cache_unref(old);
        }
    }
    return VV_FETCH_SERVE;
}

/* ---- an answer that is kept ---- */

static struct vv_str copied(struct vv_exchange *x, struct vv_str s)
{
    char *p = vv_arena_alloc(&x->arena, s.n + 1);
    if (p != NULL && s.n > 0) {
        memcpy(p, s.p, s.n);
    }
    return (struct vv_str){p, p != NULL ? s.n : 0};
}

/* An exchange of its own for the rest of the fetch. A request without a client keeps its own. */
static struct vv_exchange *fetch_exchange(struct vv_exchange *x)
{
    if (x->session->detached) {
        return x;
    }
    struct vv_session *s = vv_session_detached(x->session->listener, x->session);
    struct vv_exchange *f = s != NULL ? vv_exchange_new(x->w, s) : NULL;
    struct vv_recall *r = f != NULL ? vv_arena_zalloc(&f->arena, sizeof *r) : NULL;
    if (r == NULL) {
        if (f != NULL) {
            vv_exchange_free(f);
        }
        if (s != NULL) {
            vv_session_close(s);
        }
        return NULL;
    }
    s->x = f;
    vv_worker_release_use(x->w, f->use); /* it goes on under the settings it began with */
    f->use = x->use;
    f->rt = x->rt;
    f->use->exchanges++;
    vv_h1_head_init(&f->req);
    f->req.method = x->req.method;
    f->req.method_text = vv_methods[x->req.method].name;
    f->req.minor = 1;
    f->req.framing = VV_H1_BODY_NONE;
    f->route = x->route;
    f->service = x->service;
    f->action = x->action;
    f->service_name = x->service_name;
    f->attempts = x->attempts;
    f->deadline_ns = x->deadline_ns; /* the whole exchange's limit is the fetch's, whoever waits */
    vv_session_arm(s);
    f->head_sent = true;
    f->status = x->status;
    f->recall = r;
    const struct vv_recall *own = x->recall;
    r->plan = own->plan;
    r->memory = own->memory;
    r->key = copied(f, own->key);
    r->hash = own->hash;
    r->born = own->born;
    r->log = own->log;
    r->marker = own->marker;
    r->lease = own->lease;
    r->marker_names = own->marker_names;
    r->marker_at = own->marker_at;
    r->role = VV_RECALL_LEAD;
    r->age_s = -1;
    return f;
}

/* The client reads behind the fetch from now on. */
static void split(struct vv_exchange *x, struct vv_exchange *f)
{
    struct vv_recall *r = x->recall;
    f->recall->fill = r->fill; /* the leader's reference; the client gets one of its own */
    vv_cache_fill_ref(r->fill);
    r->role = VV_RECALL_FOLLOW;
    r->lease = 0; /* the fetch's now */
    r->from_fill = true;
    r->fetch = f;
    f->recall->fetch = x;
}

static bool keep(struct vv_exchange *x, struct vv_exchange *f, const struct vv_kept *what,
                 const struct vv_h1_head *h)
{
    struct vv_kept *kept = vv_arena_zalloc(&f->arena, sizeof *kept);
    uint64_t tags[VV_CACHE_TAGS_MAX];
    const uint32_t tags_n = vv_stored_tags(h, tags);
    if (kept == NULL) {
        return false;
    }
    *kept = *what;
    kept->second = copied(f, what->second);
    kept->block = copied(f, what->block);
    kept->tags_n = tags_n;
    kept->tags = vv_arena_alloc(&f->arena, (tags_n + 1) * sizeof *tags);
    if (kept->second.p == NULL || kept->block.p == NULL || kept->tags == NULL ||
        f->recall->key.p == NULL) {
        return false;
    }
    memcpy(kept->tags, tags, tags_n * sizeof *tags);
    f->recall->kept = kept;
    if (f != x) {
        split(x, f);
    }
    return true;
}

/* The fill's head is the secondary key, then the block: those who wait have to see both. */
static enum vv_err announce(struct vv_exchange *x, const struct vv_h1_head *h,
                            const struct vv_cc *cc, struct vv_kept *what)
{
    struct vv_recall *r = x->recall;
    char *room = x->w->scratch;
    size_t second_n = 0;
    if (vv_vary_second(&x->req, h, &r->plan->vary_rules, room, SECOND_MAX, &second_n) != VV_OK) {
        return VV_EINVAL;
    }
    const size_t block_n = vv_stored_head_write(h, cc, vv_worker_date(x->w), room + second_n,
                                                VV_WORKER_SCRATCH - second_n);
    if (block_n == 0) {
        return VV_ELIMIT;
    }
    what->second = (struct vv_str){room, second_n};
    what->block = (struct vv_str){room + second_n, block_n};
    what->meta.second_n = (uint32_t)second_n;
    return vv_cache_fill_head(
        r->fill, &what->meta, sizeof what->meta, (struct vv_str){room, second_n + block_n},
        what->meta.length != UINT64_MAX ? what->meta.length : 0, vv_worker_now(x->w));
}

static uint64_t body_length(const struct vv_h1_head *h)
{
    return h->framing == VV_H1_BODY_LENGTH ? h->content_length
           : h->framing == VV_H1_BODY_NONE ? 0
                                           : UINT64_MAX;
}

/* `coalesce:` shares any good answer, whatever it says about keeping; a cookie is for one client. */
static enum vv_store_why judge_shared(struct vv_exchange *x, const struct vv_h1_head *h,
                                      const struct vv_cc *cc, struct vv_kept *what)
{
    struct vv_recall *r = x->recall;
    if (vv_h1_find(h, VV_FIELD_SET_COOKIE) != NULL) {
        return VV_STORE_WHY_SET_COOKIE;
    }
    if (h->status == 206 || h->status < 200 || h->status >= 500) {
        return VV_STORE_WHY_STATUS;
    }
    what->meta.facts =
        vv_cache_facts_of(h, cc, &r->plan->options, r->request_ms, vv_recall_now_ms(x));
    what->meta.facts.lifetime_s = r->plan->keep_s;
    what->meta.facts.initial_age_ms = 0;
    what->meta.facts.no_cache = false;
    what->meta.facts.must_revalidate = false;
    what->publish = r->plan->keep_s > 0 && h->status < 300;
    return VV_STORE_WHY_STORED;
}

static enum vv_store_why judge(struct vv_exchange *x, const struct vv_h1_head *h,
                               const struct vv_cc *cc, struct vv_kept *what)
{
    struct vv_recall *r = x->recall;
    if (r->plan->coalesce_only) {
        return judge_shared(x, h, cc, what);
    }
    what->publish = true;
    return may_store(x, h, cc, &what->meta.facts);
}

/* Streams of events and of pictures have no end: kept, each would hold its connection to the server for
 * good, long after its client has left. */
static bool endless(const struct vv_h1_head *h)
{
    const struct vv_h1_field *type = vv_h1_find(h, VV_FIELD_CONTENT_TYPE);
    if (type == NULL || body_length(h) != UINT64_MAX) {
        return false;
    }
    struct vv_str value = type->value;
    const struct vv_str name = vv_str_trim(vv_str_cut(&value, ';'));
    return vv_str_eq_nocase(name, VV_STR("text/event-stream")) ||
           vv_str_eq_nocase(name, VV_STR("multipart/x-mixed-replace"));
}

static enum vv_fetch_verdict store(struct vv_exchange *x, const struct vv_h1_head *h,
                                   const struct vv_cc *cc)
{
    struct vv_recall *r = x->recall;
    struct vv_kept what = {.publish = true};
    if (endless(h)) {
        return pass(x, h, "stream");
    }
    const enum vv_store_why why =
        h->framing == VV_H1_BODY_TUNNEL ? VV_STORE_WHY_STATUS : judge(x, h, cc, &what);
    if (why != VV_STORE_WHY_STORED) {
        return pass(x, h, vv_store_whys[why].name);
    }
    what.meta.version = VV_STORED_VERSION;
    what.meta.status = (uint16_t)h->status;
    what.meta.encoding = VV_ENCODING_IDENTITY;
    what.meta.length = body_length(h);
    what.meta.id = vv_rng_u64(&x->w->rng);
    what.meta.fetch_us =
        (uint32_t)vv_min_u64((uint64_t)(vv_recall_now_ms(x) - r->request_ms) * 1000, UINT32_MAX);
    what.meta.compressible = vv_variant_possible(x->route->compress, h, what.meta.length);
    if (announce(x, h, cc, &what) != VV_OK) {
        return pass(x, h, "size");
    }
    struct vv_exchange *f = fetch_exchange(x);
    if (f == NULL) {
        return pass(x, h, "memory");
    }
    if (!keep(x, f, &what, h)) {
        if (f != x) {
            f->recall->role = VV_RECALL_PASS;
            vv_exchange_end(f, VV_REASON_NONE);
        }
        return pass(x, h, "memory");
    }
    r->status.stored = what.publish;
    r->age_s = -1;
    return VV_FETCH_KEEP;
}

enum vv_fetch_verdict vv_fetch_head(struct vv_exchange *x, const struct vv_h1_head *h)
{
    struct vv_recall *r = x->recall;
    if (r == NULL) {
        return VV_FETCH_PASS;
    }
    struct vv_cc cc;
    const struct vv_cache_options *o = &r->plan->options;
    r->status.fwd_status = h->status;
    vv_recall_invalidate(x, h);
    if (r->invalidates) {
        return VV_FETCH_PASS;
    }
    vv_cc_of_answer(h, o->targets, o->targets_count, o->surrogate, &cc);
    if (r->role != VV_RECALL_LEAD) {
        compare_head(x, h);
        unmark(x, h, &cc);
        return VV_FETCH_PASS;
    }
    if (h->status == 304 && r->conditions.n > 0) {
        return not_modified(x, h, &cc);
    }
    if (h->status >= 500 && !x->session->detached && vv_recall_instead(x, h->status)) {
        give_up(r, VV_ECLOSED);
        return VV_FETCH_SERVE;
    }
    return store(x, h, &cc);
}

struct vv_exchange *vv_fetch_exchange(struct vv_exchange *x)
{
    return x->session->detached ? x : x->recall->fetch;
}

enum vv_err vv_fetch_body(struct vv_exchange *x, struct vv_str bytes)
{
    struct vv_recall *r = x->recall;
    if (bytes.n == 0) {
        return VV_OK;
    }
    const enum vv_err err = vv_cache_fill_append(r->fill, bytes, vv_worker_now(x->w));
    if (err != VV_OK) { /* too large for this cache: the next ones need not try */
        vv_cache_fill_mark(r->memory, r->key, vv_worker_now(x->w) + PASS_NS);
        give_up(r, VV_ELIMIT);
    }
    return err;
}

void vv_fetch_done(struct vv_exchange *x)
{
    struct vv_recall *r = x->recall;
    const struct vv_kept *kept = r->kept;
    const uint64_t now = vv_worker_now(x->w);
    r->finished = true;
    if (!kept->publish) {
        vv_cache_fill_end(r->fill);
        return;
    }
    struct vv_stored_meta meta = kept->meta;
    struct vv_cache_spec spec = {
        .key = r->key,
        .second = kept->second,
        .hash = r->hash,
        .meta = &meta,
        .meta_n = sizeof meta,
        .head = kept->block,
        .tags = kept->tags,
        .tags_n = kept->tags_n,
        .keep_until_ns = now + keep_s(x, &meta.facts) * VV_SEC,
        .born = r->born,
    };
    uint64_t tags[VV_CACHE_TAGS_MAX];
    write_levels(x, &spec, r->fill);
    watch(x, &spec, &meta, tags);
    (void)!vv_cache_fill_finish(r->fill, &spec,
                                now); /* refused: those who wait read on all the same */
}

bool vv_fetch_failed(struct vv_exchange *x)
{
    struct vv_recall *r = x->recall;
    if (r == NULL || r->role != VV_RECALL_LEAD || r->finished) {
        return false;
    }
    give_up(r, VV_ECLOSED);
    return !x->session->detached && vv_recall_instead(x, 0);
}

/* ---- requests of our own ---- */

/* Only we write heads with the whole URL in them: warm.c, for those that are asked for over TLS. */
static bool is_for_https(struct vv_str head)
{
    return vv_str_starts(head, VV_STR("GET https://"));
}

static enum vv_err run_detached(struct vv_listener *l, struct vv_session *like, struct vv_str text,
                                enum vv_fetch_why why)
{
    struct vv_session *s = vv_session_detached(l, like);
    if (s == NULL) {
        return VV_ENOMEM;
    }
    struct vv_worker *w = l->worker;
    s->why = (uint8_t)(1 + why);
    s->secure = like != NULL ? like->secure : is_for_https(text);
    s->in = vv_buf_get(&w->bufs, text.n);
    struct vv_exchange *x = s->in != NULL ? vv_exchange_new(w, s) : NULL;
    if (x == NULL) {
        vv_session_close(s);
        return VV_ENOMEM;
    }
    memcpy(s->in->data, text.p, text.n);
    s->in->end = (uint32_t)text.n;
    const struct vv_h1_limits limits = {.line_bytes = (uint32_t)l->conf.line_bytes,
                                        .head_bytes = (uint32_t)l->conf.head_bytes,
                                        .fields = (uint32_t)l->conf.fields_max};
    vv_h1_head_init(&x->req);
    if (vv_h1_parse_request(&x->req, (struct vv_str){s->in->data, text.n}, &limits) != VV_OK) {
        vv_exchange_free(x);
        vv_session_close(s);
        return VV_ESYNTAX;
    }
    s->x = x;
    x->close = true;
    (void)!vv_body_rewind(x);
    vv_exchange_run(x);
    return VV_OK;
}

enum vv_err vv_fetch_begin(struct vv_worker *w, struct vv_str head, enum vv_fetch_why why)
{
    struct vv_listener *found = NULL;
    VV_LIST_EACH (it, &w->listeners) {
        struct vv_listener *l = VV_LIST_ENTRY(it, struct vv_listener, node);
        if (found == NULL || ((found->tls != NULL) != is_for_https(head) &&
                              (l->tls != NULL) == is_for_https(head))) {
            found = l; /* the first where a client could have asked for it */
        }
    }
    return found != NULL ? run_detached(found, NULL, head, why) : VV_ENOENT;
}

enum vv_err vv_fetch_behind(struct vv_exchange *x, enum vv_fetch_why why)
{
    struct vv_str head;
    if (vv_session_head_text(x, &head) != VV_OK) {
        return VV_ENOMEM;
    }
    const bool is_head = x->req.method == VV_METHOD_HEAD;
    const size_t skip = is_head ? 1 : 0; /* "HEAD " becomes "GET " */
    char *text = vv_arena_alloc(&x->arena, head.n + x->body_kept.n + 1);
    if (text == NULL || head.n < 8 || (is_head && memcmp(head.p, "HEAD ", 5) != 0)) {
        return VV_ENOMEM;
    }
    memcpy(text, head.p + skip, head.n - skip);
    if (is_head) {
        memcpy(text, "GET", 3);
    }
    if (x->body_kept.n > 0) {
        memcpy(text + head.n - skip, x->body_kept.p, x->body_kept.n);
    }
    return run_detached(x->session->listener, x->session,
                        (struct vv_str){text, head.n - skip + x->body_kept.n}, why);
}
