/* src/gateway/actions/objects.c - keys and values for applications over HTTP: what follows the route's path is the
 * key, the request's method what is done with it.
 *
 * GET, HEAD, PUT and DELETE of a key; DELETE with ?pattern= or ?tag=, or POST with one of them or ?purge=
 * (a pattern), removes many. Conditions of a write are judged by the store in one step with it. The
 * whole value is in memory once on its way in or out: it is bounded by the store's largest object. */
#include "base/json.h"
#include "base/units.h"
#include "cache/directives.h"
#include "gateway/kv.h"
#include "gateway/session.h"
#include "wire/conditional.h"
#include "wire/uri.h"

#define ETAG_BYTES 18 /* with its quotes */
#define TTL_MAX_NS (UINT64_C(10) * 365 * VV_DAY)
#define ALLOWED VV_STR("GET, HEAD, PUT, DELETE, POST")

struct state {
    struct vv_exchange *x;
    struct vv_kv_op op;
    struct vv_sb body; /* of PUT, or of an answer about a purge */
    uint64_t body_max;
    struct vv_str tag[VV_SMALL_TAGS_MAX];
    uint64_t etag[VV_KV_ETAGS_MAX];
};

static void act(struct state *st);

/* ---- what is asked ------------------------------------------------------------------------------ */

static struct vv_str field(const struct vv_exchange *x, struct vv_str name)
{
    const struct vv_h1_field *f = vv_h1_find_name(&x->req, name);
    return f != NULL ? f->value : (struct vv_str){NULL, 0};
}

/* VV_ENOENT: it is not there. */
static enum vv_err parameter(struct vv_exchange *x, struct vv_str name, struct vv_str *ret)
{
    struct vv_str raw;
    size_t n = 0;
    if (x->req.query.p == NULL || !vv_uri_query_get(x->req.query, name, &raw)) {
        return VV_ENOENT;
    }
    char *to = vv_arena_alloc(&x->arena, raw.n + 1);
    const enum vv_err err = to != NULL ? vv_uri_decode(raw, to, raw.n + 1, &n) : VV_ENOMEM;
    *ret = (struct vv_str){to, n};
    return err;
}

static bool take_key(struct state *st)
{
    struct vv_exchange *x = st->x;
    const struct vv_str raw = x->match.rest;
    size_t n = 0;
    char *to = vv_arena_alloc(&x->arena, raw.n + 1);
    if (to == NULL || vv_uri_decode(raw, to, raw.n + 1, &n) != VV_OK || n == 0 ||
        n > VV_KV_KEY_MAX) {
        vv_answer_error(x, to == NULL ? VV_REASON_NO_MEMORY : VV_REASON_OBJECT_KEY);
        return false;
    }
    st->op.key = (struct vv_str){to, n};
    return true;
}

/* "90" (seconds), "5m", "0": no end. */
static bool read_ttl(struct vv_str s, uint64_t *ret_ns)
{
    uint64_t number = 0;
    if (vv_str_to_u64(s, &number) == VV_OK) {
        *ret_ns = vv_min_u64(number, TTL_MAX_NS / VV_SEC) * VV_SEC;
        return true;
    }
    const bool ok = vv_parse_duration(s, &number) == VV_OK && number >= VV_MS;
    *ret_ns = vv_min_u64(number, TTL_MAX_NS);
    return ok;
}

/* ?ttl=, else X-TTL, else max-age (s-maxage before it); none of them: no end. */
static bool take_ttl(struct state *st)
{
    struct vv_exchange *x = st->x;
    struct vv_str text = {NULL, 0};
    enum vv_err err = parameter(x, VV_STR("ttl"), &text);
    if (err == VV_ENOENT) {
        text = field(x, VV_STR("X-TTL"));
        err = text.p != NULL ? VV_OK : VV_ENOENT;
    }
    bool ok = err == VV_OK && read_ttl(text, &st->op.ttl_ns);
    if (err == VV_ENOENT) {
        struct vv_cc cc;
        vv_cc_init(&cc);
        for (uint32_t i = 0; i < x->req.fields_count; i++) {
            if (x->req.fields[i].id == VV_FIELD_CACHE_CONTROL) {
                vv_cc_add(&cc, x->req.fields[i].value);
            }
        }
        const uint32_t s_maxage = cc.number[VV_CC_S_MAXAGE];
        const uint32_t age_s = s_maxage != VV_CC_UNSET ? s_maxage : cc.number[VV_CC_MAX_AGE];
        st->op.ttl_ns = age_s != VV_CC_UNSET ? (uint64_t)age_s * VV_SEC : 0;
        ok = age_s != 0 && !vv_cc_has(&cc, VV_CC_NO_STORE);
    }
    if (!ok) {
        vv_answer_error(x, VV_REASON_OBJECT_TTL);
    }
    return ok;
}

/* Cache-Tag: one, two. Blanks separate, too, as in Surrogate-Key. */
static bool take_tags(struct state *st)
{
    struct vv_exchange *x = st->x;
    for (uint32_t i = 0; i < x->req.fields_count; i++) {
        struct vv_str rest = x->req.fields[i].value;
        if (!vv_str_eq_nocase(x->req.fields[i].name, VV_STR("Cache-Tag"))) {
            continue;
        }
        while (rest.p != NULL) {
            struct vv_str some = vv_str_trim(vv_str_cut(&rest, ','));
            while (some.p != NULL) {
                const struct vv_str tag = vv_str_trim(vv_str_cut(&some, ' '));
                if (tag.n > VV_KV_TAG_MAX || (tag.n > 0 && st->op.tags == VV_SMALL_TAGS_MAX)) {
                    vv_answer_error(x, VV_REASON_OBJECT_TAG);
                    return false;
                }
                if (tag.n > 0) {
                    st->tag[st->op.tags++] = tag;
                }
            }
        }
    }
    st->op.tag = st->tag;
    return true;
}

/* Ours are 16 hexadecimal digits in quotes; another one is that of no object. */
static bool read_etag(struct vv_str s, bool weak, uint64_t *ret)
{
    uint64_t v = 0;
    if (weak && vv_str_starts(s, VV_STR("W/"))) {
        s = (struct vv_str){s.p + 2, s.n - 2};
    }
    if (s.n != ETAG_BYTES || s.p[0] != '"' || s.p[ETAG_BYTES - 1] != '"') {
        return false;
    }
    for (size_t i = 1; i < ETAG_BYTES - 1; i++) {
        const char c = s.p[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) {
            return false;
        }
        v = v << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    *ret = v;
    return true;
}

/* If-Match, or without it If-None-Match (RFC 9110 section 13.2.2), of a write. */
static bool take_condition(struct state *st)
{
    struct vv_str value = field(st->x, VV_STR("If-Match"));
    const bool match = value.p != NULL;
    struct vv_small_if *cond = &st->op.cond;
    if (!match) {
        value = field(st->x, VV_STR("If-None-Match"));
    }
    if (value.p == NULL) {
        return true;
    }
    if (vv_str_eq(vv_str_trim(value), VV_STR("*"))) {
        cond->when = match ? VV_SMALL_PRESENT : VV_SMALL_ABSENT;
        return true;
    }
    cond->when = match ? VV_SMALL_MATCH : VV_SMALL_OTHER;
    cond->etag = st->etag;
    while (value.p != NULL) { /* ours have no comma in them */
        const struct vv_str one = vv_str_trim(vv_str_cut(&value, ','));
        uint64_t etag = 0;
        if (!read_etag(one, !match, &etag)) {
            continue;
        }
        if (cond->etags == VV_KV_ETAGS_MAX) {
            vv_answer_error(st->x, VV_REASON_BAD_REQUEST);
            return false;
        }
        st->etag[cond->etags++] = etag;
    }
    return true;
}

/* ---- answers ------------------------------------------------------------------------------------ */

static struct vv_str etag_text(struct vv_exchange *x, uint64_t etag)
{
    return vv_arena_fmt(&x->arena, "\"%016llx\"", (unsigned long long)etag);
}

static struct vv_field level_field(const struct state *st)
{
    return (struct vv_field){VV_STR("X-Cache-Level"), vv_str_from(vv_kv_level_name(st->op.level))};
}

static struct vv_str tags_text(struct vv_exchange *x, const struct vv_small_item *it)
{
    struct vv_str text = VV_STR("");
    for (size_t i = 0; i < it->tags && text.p != NULL; i++) {
        text = vv_arena_fmt(&x->arena, VV_STR_FMT "%s" VV_STR_FMT, VV_STR_ARG(text),
                            i > 0 ? ", " : "", VV_STR_ARG(it->tag[i]));
    }
    return text;
}

static void answer_item(struct state *st)
{
    struct vv_exchange *x = st->x;
    const struct vv_small_item *it = st->op.item;
    const uint64_t now_ns = vv_worker_now(x->w);
    const uint64_t wall_ms = vv_loop_wall(x->w->loop) / VV_MS;
    const uint64_t age_s = wall_ms > it->stored_ms ? (wall_ms - it->stored_ms) / 1000 : 0;
    const struct vv_validators v = {.etag = etag_text(x, it->etag),
                                    .modified_s = (int64_t)(it->stored_ms / 1000)};
    struct vv_str control = VV_STR("no-cache"); /* without an end: ask whether it is still so */
    if (it->until_ns != 0) {
        const uint64_t left_s = it->until_ns > now_ns ? (it->until_ns - now_ns) / VV_SEC : 0;
        const unsigned long long whole_s = age_s + left_s;
        control = vv_arena_fmt(&x->arena, "max-age=%llu", whole_s);
    }
    const struct vv_str age = vv_arena_fmt(&x->arena, "%llu", (unsigned long long)age_s);
    const struct vv_str tags = tags_text(x, it);
    if (v.etag.p == NULL || control.p == NULL || age.p == NULL || tags.p == NULL) {
        vv_answer_error(x, VV_REASON_NO_MEMORY);
        return;
    }
    const enum vv_condition is = vv_condition_judge(&x->req, &v, (int64_t)(wall_ms / 1000));
    if (is == VV_CONDITION_FAILED) {
        vv_answer_error(x, VV_REASON_OBJECT_STATE);
        return;
    }
    struct vv_field f[6] = {{VV_STR("ETag"), v.etag},
                            {VV_STR("Age"), age},
                            {VV_STR("Cache-Control"), control},
                            level_field(st)};
    size_t count = 4;
    if (it->tags > 0) {
        f[count++] = (struct vv_field){VV_STR("Cache-Tag"), tags};
    }
    x->cache_word = "HIT";
    if (is == VV_CONDITION_NOT_MODIFIED) {
        vv_answer_simple(x, 304, f, count, (struct vv_str){NULL, 0});
        return;
    }
    f[count++] = (struct vv_field){VV_STR("Content-Type"),
                                   it->type.n > 0 ? it->type : VV_STR("application/octet-stream")};
    vv_answer_simple(x, 200, f, count, it->value);
}

static void answer_write(struct state *st)
{
    struct vv_exchange *x = st->x;
    struct vv_field f[2] = {level_field(st)};
    size_t count = 1;
    if (st->op.verb == VV_KV_PUT) {
        f[count++] = (struct vv_field){VV_STR("ETag"),
                                       etag_text(x, vv_small_etag(st->op.value, st->op.type))};
        vv_answer_simple(x, st->op.there ? 204 : 201, f, count, (struct vv_str){NULL, 0});
        return;
    }
    /* Memory does not know all that the store has and will be told to remove. */
    const bool gone =
        st->op.there || (st->op.level == VV_KV_MEMORY && x->route->objects->has_server);
    if (gone) {
        vv_answer_simple(x, 204, f, count, (struct vv_str){NULL, 0});
    } else {
        vv_answer_error(x, VV_REASON_NOT_FOUND);
    }
}

static void answer_purge(struct state *st)
{
    struct vv_json j;
    vv_sb_reset(&st->body);
    vv_json_init(&j, &st->body);
    vv_json_obj(&j);
    vv_json_ku64(&j, "removed", st->op.count);
    vv_json_kcstr(&j, "level", vv_kv_level_name(st->op.level));
    vv_json_obj_end(&j);
    vv_sb_addc(&st->body, '\n');
    const struct vv_field f[] = {{VV_STR("Content-Type"), VV_STR("application/json")},
                                 {VV_STR("Cache-Control"), VV_STR("no-store")},
                                 level_field(st)};
    if (st->body.failed) {
        vv_answer_error(st->x, VV_REASON_NO_MEMORY);
    } else {
        vv_answer_simple(st->x, 200, f, VV_COUNT(f), vv_sb_str(&st->body));
    }
}

static void answer(struct state *st)
{
    struct vv_exchange *x = st->x;
    const bool get = st->op.verb == VV_KV_GET;
    if (get && st->op.level == VV_KV_MEMORY && x->route->objects->has_server) {
        x->guard_word = "memory";
    }
    switch (st->op.err) {
    case VV_OK:
        break;
    case VV_ENOENT:
        x->cache_word = get ? "MISS" : NULL;
        vv_answer_error(x, get ? VV_REASON_NOT_FOUND : VV_REASON_OBJECT_STATE);
        return;
    case VV_EEXIST:
        vv_answer_error(x, VV_REASON_OBJECT_STATE);
        return;
    case VV_EAGAIN:
        vv_answer_error(x, VV_REASON_QUEUE_FULL);
        return;
    case VV_ELIMIT:
        vv_answer_error(x,
                        st->op.verb == VV_KV_PUT ? VV_REASON_OBJECT_NO_ROOM : VV_REASON_OBJECT_KEY);
        return;
    default:
        vv_answer_error(x, VV_REASON_OBJECT_NO_ROOM);
        return;
    }
    if (get) {
        answer_item(st);
    } else if (st->op.verb == VV_KV_PUT || st->op.verb == VV_KV_DELETE) {
        answer_write(st);
    } else {
        answer_purge(st);
    }
}

static void done(struct vv_kv_op *op)
{
    answer(op->user);
}

static void act(struct state *st)
{
    if (vv_kv_do(st->x->w, st->x->route->objects, &st->op)) {
        answer(st);
    }
}

/* ---- the body of a put --------------------------------------------------------------------------- */

/* The client waits to hear that its body is wanted. False: the exchange has ended. */
static bool say_continue(struct vv_exchange *x)
{
    struct vv_h1_head *h = &x->w->answer;
    if (!x->waiting_continue) {
        return true;
    }
    vv_h1_head_init(h);
    h->status = 100;
    h->reason = VV_STR("Continue");
    if (!vv_answer_interim(x, h)) {
        return false;
    }
    const enum vv_err err = vv_session_flush(x->session);
    if (err != VV_OK && err != VV_EAGAIN) {
        vv_exchange_end(x, VV_REASON_CLIENT_CLOSED);
        return false;
    }
    return true;
}

static void body(struct vv_exchange *x)
{
    struct state *st = x->state;
    if (st->op.verb != VV_KV_PUT || st->op.value.p != NULL) {
        return; /* nothing of it is wanted */
    }
    for (;;) {
        struct vv_str run = {NULL, 0};
        if (vv_body_next(x, &run) != VV_OK) {
            return;
        }
        if (st->body.n + run.n > st->body_max) {
            vv_answer_error(x, VV_REASON_BODY_TOO_LARGE);
            return;
        }
        vv_sb_add(&st->body, run);
        if (st->body.failed) {
            vv_answer_error(x, VV_REASON_NO_MEMORY);
            return;
        }
        if (run.n == 0 || x->session->body.done) {
            break;
        }
    }
    st->op.value = vv_sb_str(&st->body);
    act(st);
}

static void put(struct state *st)
{
    struct vv_exchange *x = st->x;
    const uint64_t max = x->route->objects->fallback.value_bytes;
    st->body_max = max != 0 ? max : VV_MIB;
    st->op.verb = VV_KV_PUT;
    st->op.type = field(x, VV_STR("Content-Type"));
    if (x->req.framing == VV_H1_BODY_LENGTH && x->req.content_length > st->body_max) {
        vv_answer_error(x, VV_REASON_BODY_TOO_LARGE);
        return;
    }
    if (take_key(st) && take_ttl(st) && take_tags(st) && take_condition(st) && say_continue(x)) {
        body(x);
    }
}

/* ---- the exchange -------------------------------------------------------------------------------- */

/* Many at once? False: no, nothing was done. */
static bool purge(struct state *st)
{
    struct vv_exchange *x = st->x;
    const bool post = x->req.method == VV_METHOD_POST;
    struct vv_str what = {NULL, 0};
    st->op.verb = VV_KV_PURGE_GLOB;
    enum vv_err err = parameter(x, VV_STR("pattern"), &what);
    if (err == VV_ENOENT && post) {
        err = parameter(x, VV_STR("purge"), &what);
    }
    if (err == VV_ENOENT) {
        st->op.verb = VV_KV_PURGE_TAG;
        err = parameter(x, VV_STR("tag"), &what);
    }
    if (err == VV_ENOENT) {
        return false;
    }
    st->op.key = what;
    if (err != VV_OK || x->match.rest.n > 0) {
        vv_answer_error(x, VV_REASON_OBJECT_KEY);
    } else {
        act(st);
    }
    return true;
}

static void remove_one(struct state *st)
{
    if (purge(st)) {
        return;
    }
    st->op.verb = VV_KV_DELETE;
    if (take_key(st) && take_condition(st)) {
        act(st);
    }
}

static void start(struct vv_exchange *x)
{
    struct state *st = vv_arena_zalloc(&x->arena, sizeof *st);
    if (st == NULL) {
        vv_answer_error(x, VV_REASON_NO_MEMORY);
        return;
    }
    x->state = st;
    st->x = x;
    st->op.done = done;
    st->op.user = st;
    switch (x->req.method) {
    case VV_METHOD_GET:
    case VV_METHOD_HEAD:
        st->op.verb = VV_KV_GET;
        if (take_key(st)) {
            act(st);
        }
        return;
    case VV_METHOD_PUT:
        put(st);
        return;
    case VV_METHOD_DELETE:
        remove_one(st);
        return;
    case VV_METHOD_POST:
        if (purge(st)) {
            return;
        }
        break;
    default:
        break;
    }
    x->allow = ALLOWED;
    vv_answer_error(x, VV_REASON_METHOD);
}

static void cancel(struct vv_exchange *x)
{
    struct state *st = x->state;
    if (st == NULL) {
        return;
    }
    vv_kv_abandon(&st->op);
    vv_small_item_unref(st->op.item);
    vv_sb_fini(&st->body);
    x->state = NULL;
}

const struct vv_action vv_action_objects = {
    .name = "objects", .start = start, .body = body, .cancel = cancel};
