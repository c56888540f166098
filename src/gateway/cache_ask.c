/* src/gateway/cache_ask.c - what an operator asks of the caches by URL: the same resource may lie
 * under different keys, one for each route that keeps it in its own way, so a URL becomes all the
 * keys that the present routes would make of it. */
#include "base/sb.h"
#include "gateway/gateway_int.h"
#include "gateway/stored.h"
#include "wire/uri.h"
#include <stdlib.h>

#define ARENA_BYTES (64 * 1024)
#define KEY_EXTRA 64    /* scheme, method, port and separators of a key */
#define VARIANTS_MAX 64 /* of one key, named at a time */
#define WALK_SLOTS 1024 /* under the writer lock at one time */

struct target { /* a URL as a request would name it */
    struct vv_str scheme, authority, path, query;
    struct vv_arena arena;
};

typedef enum vv_err key_fn(void *ctx, struct vv_named_cache *c, struct vv_str key, bool prefix);

/* The part between "://" and the path, with its port, without a user. */
struct vv_str vv_url_authority(struct vv_str url)
{
    struct vv_str rest = url;
    for (size_t i = 0; i + 2 < url.n; i++) {
        if (memcmp(url.p + i, "://", 3) == 0) {
            rest = (struct vv_str){url.p + i + 3, url.n - i - 3};
            break;
        }
    }
    size_t n = 0;
    while (n < rest.n && strchr("/?#", rest.p[n]) == NULL) {
        n++;
    }
    return (struct vv_str){rest.p, n};
}

static enum vv_err read_target(struct target *t, struct vv_str url)
{
    struct vv_uri uri;
    enum vv_err err = vv_uri_parse(url, &uri);
    if (err != VV_OK) {
        return err;
    }
    if (uri.scheme.n == 0 || uri.host.n == 0 || uri.userinfo.p != NULL) {
        return VV_EINVAL;
    }
    const struct vv_str path = uri.path.n > 0 ? uri.path : VV_STR("/");
    size_t n = 0;
    char *out = vv_arena_alloc(&t->arena, path.n + 1);
    if (out == NULL) {
        return VV_ENOMEM;
    }
    err = vv_uri_normalise_path(path, out, path.n + 1, &n);
    t->scheme = uri.scheme;
    t->authority = vv_url_authority(url);
    t->path = (struct vv_str){out, n};
    t->query = uri.query;
    return err;
}

static void lower(struct vv_arena *arena, struct vv_str *s)
{
    char *out = vv_arena_alloc(arena, s->n + 1);
    for (size_t i = 0; out != NULL && i < s->n; i++) {
        out[i] = vv_char_lower(s->p[i]);
    }
    *s = (struct vv_str){out, out != NULL ? s->n : 0};
}

/* The route that a plain GET of this URL takes, on whatever listener; NULL: none. */
static const struct vv_route *route_of(const struct vv_runtime *rt, struct target *t,
                                       struct vv_route_match *match)
{
    struct vv_str host;
    uint16_t port;
    if (vv_uri_split_authority(t->authority, &host, &port) != VV_OK) {
        return NULL;
    }
    lower(&t->arena, &host);
    const struct vv_route_query q = {.listener = VV_ROUTE_ANY_LISTENER,
                                     .host = host,
                                     .path = t->path,
                                     .query = t->query,
                                     .method = VV_STR("GET")};
    return vv_routes_match(rt->matcher, &q, match) == VV_ROUTE_FOUND ? &rt->route[match->index]
                                                                     : NULL;
}

static enum vv_err key_by_rules(struct target *t, const struct vv_cache_plan *plan,
                                enum vv_method method, struct vv_str *ret)
{
    const struct vv_key_parts parts = {.method = method,
                                       .method_text = vv_methods[method].name,
                                       .scheme = t->scheme,
                                       .authority = t->authority,
                                       .path = t->path,
                                       .query = t->query};
    const size_t cap = t->authority.n + t->path.n + t->query.n + KEY_EXTRA;
    char *out = vv_arena_alloc(&t->arena, cap);
    if (out == NULL) {
        return VV_ENOMEM;
    }
    ret->p = out;
    return vv_key_build(&parts, &plan->key_rules, out, cap, &ret->n);
}

static enum vv_err key_by_template(struct target *t, const struct vv_route *route,
                                   const struct vv_route_match *match, struct vv_str *ret)
{
    struct vv_template_vars vars = {.path = t->path,
                                    .query = t->query,
                                    .scheme = t->scheme,
                                    .method = VV_STR("GET"),
                                    .rest = match->rest,
                                    .route = vv_str_from(route->conf->name),
                                    .match = match};
    uint16_t port; /* no part of $host */
    const enum vv_err err = vv_uri_split_authority(t->authority, &vars.host, &port);
    if (err != VV_OK) {
        return err;
    }
    lower(&t->arena, &vars.host);
    return vv_template_render(route->cache->key, &vars, &t->arena, VV_TEMPLATE_KEY, ret);
}

/* One key of one plan: the key itself, and all that begin with it where a body or the asker's
 * identity stands behind. */
static enum vv_err tell(const struct vv_cache_plan *plan, struct vv_str key, key_fn *fn, void *ctx)
{
    const enum vv_err err = fn(ctx, plan->cache, key, false);
    const bool longer = plan->identity_in_key || plan->body_in_key;
    return err == VV_OK && longer ? fn(ctx, plan->cache, key, true) : err;
}

/* The same for both sides of a canary. */
static enum vv_err tell_sides(struct target *t, const struct vv_route *r, struct vv_str key,
                              key_fn *fn, void *ctx)
{
    enum vv_err err = tell(r->cache, key, fn, ctx);
    if (err != VV_OK || r->canary == NULL) {
        return err;
    }
    char *out = vv_arena_alloc(&t->arena, key.n + 1);
    if (out == NULL) {
        return VV_ENOMEM;
    }
    memcpy(out, key.p, key.n);
    out[key.n] = '\x03'; /* as recall.c marks the candidate's */
    return tell(r->cache, (struct vv_str){out, key.n + 1}, fn, ctx);
}

static enum vv_err keys_of_route(struct target *t, const struct vv_route *r, key_fn *fn, void *ctx)
{
    struct vv_str key;
    enum vv_err err = key_by_rules(t, r->cache, VV_METHOD_GET, &key);
    if (err == VV_OK) {
        err = tell_sides(t, r, key, fn, ctx);
    }
    if (err == VV_OK && r->cache->body_in_key) {
        err = key_by_rules(t, r->cache, VV_METHOD_POST, &key);
        err = err == VV_OK ? tell_sides(t, r, key, fn, ctx) : err;
    }
    return err;
}

/* Calls fn for every key under which the URL may lie in the cache (n 0: in any). VV_OK also when
 * the text is no URL: then it is only a key. */
static enum vv_err each_key(struct vv_gateway *g, struct vv_str cache, struct vv_str url,
                            key_fn *fn, void *ctx)
{
    struct target t;
    struct vv_route_match match;
    enum vv_err err = VV_OK;
    vv_arena_init(&t.arena, NULL, 0, ARENA_BYTES, 0);
    for (struct vv_named_cache *c = NULL;
         err == VV_OK && (c = vv_caches_next(g->homes.caches, c)) != NULL;) {
        if (cache.n == 0 || vv_str_eq(vv_str_from(c->name), cache)) {
            err = fn(ctx, c, url, false);
        }
    }
    const bool is_url = read_target(&t, url) == VV_OK;
    const struct vv_route *taken = is_url ? route_of(g->rt, &t, &match) : NULL;
    for (size_t i = 0; is_url && err == VV_OK && i < g->rt->route_count; i++) {
        const struct vv_route *r = &g->rt->route[i];
        struct vv_str key;
        if (r->cache == NULL || r->cache->cache == NULL ||
            (cache.n > 0 && !vv_str_eq(vv_str_from(r->cache->cache->name), cache))) {
            continue;
        }
        if (r->cache->key == NULL) {
            err = keys_of_route(&t, r, fn, ctx);
        } else if (r == taken && key_by_template(&t, r, &match, &key) == VV_OK) {
            err = tell_sides(&t, r, key, fn, ctx);
        }
    }
    vv_arena_fini(&t.arena);
    return err;
}

/* ---- purging ---- */

struct purging {
    bool soft;
    size_t count;
};

static enum vv_err purge_key(void *ctx, struct vv_named_cache *c, struct vv_str key, bool prefix)
{
    struct purging *p = ctx;
    struct vv_purge one = {.what = VV_PURGE_URL, .value = key, .soft = p->soft};
    if (!prefix) {
        p->count += vv_named_cache_purge(c, c->levels, &one);
        return VV_OK;
    }
    one.what = VV_PURGE_PATTERN;
    /* What recall.c puts between the key and what follows it: none of them stands in a URL. */
    static const char mark[] = {'\0', '\x01', '\x02'};
    char *glob = malloc(key.n + 2);
    enum vv_err err = glob != NULL ? VV_OK : VV_ENOMEM;
    for (size_t i = 0; err == VV_OK && i < sizeof mark; i++) {
        memcpy(glob, key.p, key.n);
        glob[key.n] = mark[i];
        glob[key.n + 1] = '*';
        one.value = (struct vv_str){glob, key.n + 2};
        (void)vv_named_cache_purge(c, c->levels, &one);
    }
    free(glob);
    return err;
}

enum vv_err vv_gateway_purge(struct vv_gateway *g, const struct vv_purge *p, size_t *ret_count)
{
    struct purging purging = {.soft = p->soft};
    struct vv_purge own = *p;
    if (p->cache.n > 0 && vv_caches_find(g->homes.caches, p->cache) == NULL) {
        return VV_ENOENT;
    }
    if (p->what == VV_PURGE_URL) {
        const enum vv_err err = each_key(g, p->cache, p->value, purge_key, &purging);
        *ret_count = purging.count;
        return err;
    }
    if (p->what != VV_PURGE_PATTERN || p->value.n == 0 || p->value.p[0] != '/') {
        return vv_caches_purge(g->homes.caches, p, ret_count);
    }
    struct vv_sb glob = VV_SB_INIT; /* a path: on every host */
    vv_sb_adds(&glob, "*://*");
    vv_sb_add(&glob, p->value);
    own.value = vv_sb_str(&glob);
    const enum vv_err err =
        glob.failed ? VV_ENOMEM : vv_caches_purge(g->homes.caches, &own, ret_count);
    vv_sb_fini(&glob);
    return err;
}

/* ---- looking ---- */

struct found {
    struct vv_str prefix;
    const struct vv_cache_object **object; /* referenced */
    bool *soft;
    size_t n, max;
};

static enum vv_err found_init(struct found *f, size_t max)
{
    *f = (struct found){.max = max};
    f->object = calloc(max, sizeof(const struct vv_cache_object *));
    f->soft = calloc(max, sizeof *f->soft);
    return f->object != NULL && f->soft != NULL ? VV_OK : VV_ENOMEM;
}

static void found_fini(struct found *f)
{
    for (size_t i = 0; i < f->n; i++) {
        vv_cache_unref(f->object[i]);
    }
    free(f->object);
    free(f->soft);
}

static bool has(const struct found *f, const struct vv_cache_object *o)
{
    for (size_t i = 0; i < f->n; i++) {
        if (f->object[i] == o) {
            return true;
        }
    }
    return false;
}

static void take(struct found *f, const struct vv_cache_object *o, bool soft)
{
    if (f->n < f->max) {
        vv_cache_ref(o);
        f->soft[f->n] = soft;
        f->object[f->n++] = o;
    }
}

static void on_object(void *ctx, const struct vv_cache_object *o, bool soft)
{
    struct found *f = ctx;
    if (vv_str_starts(vv_cache_key(o), f->prefix)) {
        take(f, o, soft);
    }
}

/* A key without who asked for it, and with what: credentials and bodies stay unsaid. recall.c marks where
 * they begin. */
static struct vv_str shown_key(struct vv_str key)
{
    size_t n = 0;
    while (n < key.n && key.p[n] != '\0' && key.p[n] != '\x01' && key.p[n] != '\x02') {
        n++;
    }
    return (struct vv_str){key.p, n};
}

/* The names that an answer varies by, with what asked for it only where that tells nothing about who. */
static void vary_json(struct vv_str second, struct vv_json *j)
{
    struct vv_sb sb = VV_SB_INIT;
    while (second.n > 0) {
        const struct vv_str line = vv_str_cut(&second, '\n');
        const ptrdiff_t colon = vv_str_find_char(line, ':');
        const bool harmless = vv_str_starts(line, VV_STR("accept"));
        vv_sb_add(&sb, harmless || colon < 0 ? line : (struct vv_str){line.p, (size_t)colon + 1});
        vv_sb_adds(&sb, harmless || colon < 0 ? "\n" : "...\n");
    }
    vv_json_kstr(j, "vary_key", vv_sb_str(&sb));
    vv_sb_fini(&sb);
}

static void object_json(const struct vv_gateway *g, const struct vv_cache_object *o, bool soft,
                        bool whole, struct vv_json *j)
{
    const struct vv_stored_meta *m = vv_stored_meta(o);
    const int64_t now_ms = (int64_t)(vv_loop_wall(g->control) / VV_MS);
    vv_json_obj(j);
    vv_json_kstr(j, "key", shown_key(vv_cache_key(o)));
    vv_json_ku64(j, "body_bytes", o->body_n);
    vv_json_ku64(j, "bytes", o->charged + (o->body != NULL ? o->body->charged : 0));
    vv_json_ku64(j, "hits", atomic_load_explicit(&o->hits, memory_order_relaxed));
    vv_json_ku64(j, "tags", o->tags_n);
    vv_json_kbool(j, "stale_by_purge", soft);
    if (o->meta_n == sizeof *m && m->version == VV_STORED_VERSION) {
        const uint64_t age_ms =
            vv_cache_age_ms(m->facts.initial_age_ms, m->facts.response_ms, now_ms);
        vv_json_ku64(j, "status", m->status);
        vv_json_kdouble(j, "age_seconds", (double)age_ms / 1e3);
        vv_json_kdouble(j, "ttl_seconds", (double)m->facts.lifetime_s - (double)age_ms / 1e3);
        vv_json_kdouble(j, "fetch_ms", (double)m->fetch_us / 1e3);
        vv_json_kstr(j, "coding", vv_encodings[m->encoding % VV_ENCODING_COUNT].name);
    }
    if (whole) {
        vary_json(vv_cache_second(o), j);
        vv_json_kstr(j, "head", vv_cache_head(o));
    }
    vv_json_obj_end(j);
}

static void found_json(const struct vv_gateway *g, const struct found *f, bool whole,
                       struct vv_json *j)
{
    vv_json_arr(j);
    for (size_t i = 0; i < f->n; i++) {
        object_json(g, f->object[i], f->soft[i], whole, j);
    }
    vv_json_arr_end(j);
}

enum vv_err vv_gateway_objects_json(struct vv_gateway *g, struct vv_str cache, struct vv_str prefix,
                                    size_t limit, struct vv_json *j)
{
    struct vv_named_cache *c = vv_caches_find(g->homes.caches, cache);
    struct vv_cache_cursor at = {0};
    struct found f;
    if (c == NULL) {
        return VV_ENOENT;
    }
    const enum vv_err err = found_init(&f, limit);
    f.prefix = prefix;
    while (err == VV_OK && f.n < limit &&
           !vv_cache_walk(c->memory, &at, WALK_SLOTS, vv_loop_now(g->control), on_object, &f)) {
        /* others get the lock between two steps */
    }
    if (err == VV_OK) {
        found_json(g, &f, false, j);
    }
    found_fini(&f);
    return err;
}

struct looking {
    struct found f;
    struct vv_epoch_reader *reader;
};

static bool not_yet(void *ctx, const struct vv_cache_object *o)
{
    return !has(ctx, o);
}

static enum vv_err look(void *ctx, struct vv_named_cache *c, struct vv_str key, bool prefix)
{
    struct looking *l = ctx;
    const struct vv_cache_query q = {
        .key = key, .hash = vv_cache_hash(c->memory, key), .pick = not_yet, .ctx = &l->f};
    const struct vv_cache_object *o;
    bool soft = false;
    while (!prefix && l->f.n < l->f.max &&
           (o = vv_cache_lookup(c->memory, l->reader, &q, &soft)) != NULL) {
        take(&l->f, o, soft);
    }
    return VV_OK;
}

enum vv_err vv_gateway_object_json(struct vv_gateway *g, struct vv_str cache, struct vv_str url,
                                   struct vv_json *j, size_t *ret_count)
{
    struct looking l = {.reader = NULL};
    if (vv_caches_find(g->homes.caches, cache) == NULL) {
        return VV_ENOENT;
    }
    enum vv_err err = found_init(&l.f, VARIANTS_MAX);
    if (err == VV_OK) {
        err = vv_epoch_join(vv_caches_epoch(g->homes.caches), &l.reader);
    }
    if (err == VV_OK) {
        err = each_key(g, cache, url, look, &l);
        vv_epoch_leave(vv_caches_epoch(g->homes.caches), l.reader);
    }
    if (err == VV_OK) {
        *ret_count = l.f.n;
        found_json(g, &l.f, true, j);
    }
    found_fini(&l.f);
    return err;
}

struct vv_caches *vv_gateway_caches(struct vv_gateway *g)
{
    return g->homes.caches;
}
