/* tests/unit/gateway/test_variants.c - an object that is hit gets its variant, and only while it is the
 * same object. */
#include "gateway/caches.h"
#include "gateway/variants.h"
#include "rig.h"
#include <zlib.h>

static const char cached[] = "listen: 127.0.0.1:1\n"
                             "admin: none\n"
                             "routes:\n"
                             "  - to: http://127.0.0.1:%u\n"
                             "    cache: 5m\n"
                             "    compress: {encodings: [gzip]}\n";
static const char block[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nETag: \"v1\"\r\n"
                            "Vary: Origin\r\n";
static const char renewed[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nETag: \"v1\"\r\n"
                              "X-New: 1\r\n";

struct shelf {
    struct rig r;
    struct vv_pool *pool;
    struct vv_cache *cache;
    struct vv_str key;
    struct vv_stored_meta meta;
    struct vv_exchange x;
    char body[20000];
};

static void put(struct shelf *s, const char *head)
{
    const struct vv_cache_spec spec = {.key = s->key,
                                       .hash = vv_cache_hash(s->cache, s->key),
                                       .meta = &s->meta,
                                       .meta_n = sizeof s->meta,
                                       .head = vv_str_from(head),
                                       .body = {s->body, sizeof s->body},
                                       .keep_until_ns = UINT64_MAX,
                                       .born = vv_cache_born(s->cache)};
    VV_CHECK_INT(vv_cache_insert(s->cache, &spec, vv_worker_now(s->r.w)), VV_OK);
}

static void shelf_up(struct shelf *s, const char *request)
{
    static const struct vv_h1_limits limits = {
        .line_bytes = 1000, .head_bytes = 1000, .fields = VV_H1_FIELDS_MAX};
    memset(s, 0, sizeof *s);
    rig_up(&s->r, cached);
    VV_CHECK_INT(vv_pool_new(1, 4, &s->pool), VV_OK);
    s->r.w->pool = s->pool;
    s->cache = s->r.rt->route[0].cache->cache->memory;
    s->key = VV_STR("k");
    s->meta = (struct vv_stored_meta){.version = VV_STORED_VERSION,
                                      .status = 200,
                                      .encoding = VV_ENCODING_IDENTITY,
                                      .compressible = true,
                                      .id = vv_rng_u64(&s->r.w->rng)};
    s->x.w = s->r.w;
    s->x.rt = s->r.rt;
    s->x.route = &s->r.rt->route[0];
    vv_h1_head_init(&s->x.req);
    VV_CHECK_INT(vv_h1_parse_request(&s->x.req, vv_str_from(request), &limits), VV_OK);
    memset(s->body, 'b', sizeof s->body);
    put(s, block);
    vv_epoch_online(s->r.w->epoch, s->r.w->reader);
}

static void shelf_down(struct shelf *s)
{
    rig_turns(&s->r, 3); /* news of the job */
    s->r.w->pool = NULL;
    vv_pool_free(s->pool);
    rig_down(&s->r);
}

static bool is_first(void *ctx, const struct vv_cache_object *o)
{
    (void)ctx;
    return vv_stored_meta(o)->encoding == VV_ENCODING_IDENTITY;
}

static const struct vv_cache_object *pick(struct shelf *s)
{
    const uint64_t hash = vv_cache_hash(s->cache, s->key);
    const struct vv_cache_query q = {.key = s->key, .hash = hash, .pick = is_first};
    bool soft;
    vv_epoch_online(s->r.w->epoch, s->r.w->reader);
    const struct vv_cache_object *o = vv_cache_lookup(s->cache, s->r.w->reader, &q, &soft);
    VV_CHECK(o != NULL);
    return vv_variant_pick(&s->x, s->cache, o, s->key, hash);
}

/* Hits the object until there is one; NULL: never. */
static const struct vv_cache_object *pick_in_time(struct shelf *s)
{
    const struct vv_cache_object *v = NULL;
    for (int i = 0; i < 5000 && v == NULL; i++) {
        v = pick(s);
        if (v == NULL) {
            rig_turns(&s->r, 1);
        }
    }
    return v;
}

static const char with_gzip[] = "GET / HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip\r\n\r\n";

VV_TEST(an_object_that_is_hit_gets_a_variant)
{
    static struct shelf s;
    char back[20001];
    shelf_up(&s, with_gzip);
    VV_CHECK(pick(&s) == NULL); /* nothing is there before it was asked for */
    const struct vv_cache_object *v = pick_in_time(&s);
    VV_CHECK(v != NULL);
    const struct vv_stored_meta *m = vv_stored_meta(v);
    VV_CHECK_INT(m->encoding, VV_ENCODING_GZIP);
    VV_CHECK(m->id == s.meta.id);
    const struct vv_str head = vv_cache_head(v);
    VV_CHECK(vv_str_eq(head, VV_STR("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
                                    "ETag: W/\"v1\"\r\nContent-Encoding: gzip\r\n"
                                    "Vary: Origin, Accept-Encoding\r\n")));
    const struct vv_str body = vv_cache_body_at(v, 0);
    z_stream z = {.next_in = (Bytef *)(uintptr_t)body.p,
                  .avail_in = (uInt)body.n,
                  .next_out = (Bytef *)back,
                  .avail_out = sizeof back};
    VV_CHECK_INT(inflateInit2(&z, 31), Z_OK);
    VV_CHECK_INT(inflate(&z, Z_FINISH), Z_STREAM_END);
    inflateEnd(&z);
    VV_CHECK_INT(z.total_out, sizeof s.body);
    VV_CHECK(memcmp(back, s.body, sizeof s.body) == 0);
    shelf_down(&s);
}

VV_TEST(a_variant_takes_the_head_of_a_renewed_object)
{
    static struct shelf s;
    shelf_up(&s, with_gzip);
    VV_CHECK(pick_in_time(&s) != NULL);
    s.meta.facts.response_ms++; /* the same bytes, validated anew */
    put(&s, renewed);
    VV_CHECK(pick(&s) == NULL);
    const struct vv_cache_object *v = pick(&s);
    VV_CHECK(v != NULL);
    VV_CHECK(vv_stored_meta(v)->facts.response_ms == s.meta.facts.response_ms);
    VV_CHECK(vv_str_ends(vv_cache_head(v), VV_STR("X-New: 1\r\nContent-Encoding: gzip\r\n"
                                                  "Vary: Accept-Encoding\r\n")));
    shelf_down(&s);
}

VV_TEST(a_variant_of_former_bytes_is_never_picked)
{
    static struct shelf s;
    shelf_up(&s, with_gzip);
    VV_CHECK(pick_in_time(&s) != NULL);
    const uint64_t former = s.meta.id;
    s.meta.id++;
    s.body[0] = 'c';
    put(&s, block);
    VV_CHECK(pick(&s) == NULL);
    const struct vv_cache_object *v = pick_in_time(&s); /* made anew */
    VV_CHECK(v != NULL);
    VV_CHECK(vv_stored_meta(v)->id != former);
    VV_CHECK(vv_cache_purge_key(s.cache, s.key, false) > 1); /* purges find both */
    shelf_down(&s);
}

VV_TEST(who_takes_no_coding_gets_no_variant)
{
    static struct shelf s;
    shelf_up(&s, "GET / HTTP/1.1\r\nHost: h\r\nAccept-Encoding: br\r\n\r\n");
    for (int i = 0; i < 50; i++) {
        VV_CHECK(pick(&s) == NULL);
        rig_turns(&s.r, 1);
    }
    shelf_down(&s);
}

VV_TEST(what_does_not_shrink_is_tried_once)
{
    static struct shelf s;
    shelf_up(&s, with_gzip);
    for (size_t i = 0; i < sizeof s.body; i++) {
        s.body[i] = (char)vv_rng_u64(&s.r.w->rng);
    }
    s.meta.id++;
    put(&s, block);
    for (int i = 0; i < 100; i++) {
        VV_CHECK(pick(&s) == NULL);
        rig_turns(&s.r, 1);
    }
    shelf_down(&s);
}
