/* tests/unit/gateway/test_runtime.c - what routes say about caching and compressing, compiled: order of
 * lifetimes, keys, methods, and which memory a plan holds. */
#include "gateway/homes.h"
#include "gateway/runtime.h"
#include "gateway/template.h"
#include "vv_test.h"

#include <stdio.h>

struct built {
    struct vv_metrics *metrics;
    struct vv_homes homes;
    struct vv_runtime *rt;
};

static struct vv_runtime *runtime_of(const char *text, const struct vv_homes *homes)
{
    const struct vv_conf_source source = {.path = "v.yaml", .text = text, .no_files = true};
    struct vv_conf_problems *problems = vv_conf_problems_new();
    struct vv_settings *settings = NULL;
    struct vv_runtime *rt = NULL;
    char why[256];
    VV_CHECK_INT(vv_settings_load(&source, problems, &settings), VV_OK);
    vv_conf_problems_free(problems);
    VV_CHECK_INT(vv_runtime_new(settings, NULL, homes, &rt, why), VV_OK);
    return rt;
}

static struct built build(const char *text)
{
    struct built b = {0};
    VV_CHECK_INT(vv_metrics_new(&b.metrics), VV_OK);
    const struct vv_settings none = {.overload = {.keys = 1024}};
    VV_CHECK_INT(vv_homes_init(&b.homes, NULL, b.metrics, 1, &none), VV_OK);
    b.rt = runtime_of(text, &b.homes);
    return b;
}

static void drop(struct built *b)
{
    vv_runtime_unref(b->rt);
    vv_homes_fini(&b->homes);
    vv_metrics_free(b->metrics);
}

#define HEAD "listen: 80\nservices: {a: [h:1]}\n"

static void check_ttl(const struct vv_cache_options *o, size_t i, int low, int high, uint32_t s)
{
    VV_CHECK(i < o->ttl_count);
    VV_CHECK_INT(o->ttl[i].status_min, low);
    VV_CHECK_INT(o->ttl[i].status_max, high);
    VV_CHECK_INT(o->ttl[i].ttl_s, s);
}

VV_TEST(one_status_goes_before_a_class_and_a_class_before_a_longer_range)
{
    struct built b = build(HEAD "routes:\n"
                                "- {to: a, cache: {ttl: {default: 1h, 200-399: 9s, 2xx: 8s, "
                                "404: 7s, 200: 1500ms}}}\n");
    const struct vv_cache_options *o = &b.rt->route[0].cache->options;
    check_ttl(o, 0, 404, 404, 7);
    check_ttl(o, 1, 200, 200, 2); /* 1.5 s, rounded up */
    check_ttl(o, 2, 200, 299, 8);
    check_ttl(o, 3, 200, 399, 9);
    check_ttl(o, 4, 200, 200, 3600); /* RFC 9110 15.1: 200, 203, 204, 206, 300, 301 ... */
    check_ttl(o, 5, 203, 204, 3600);
    VV_CHECK(!o->ttl[0].override);
    for (size_t i = 0; i < o->ttl_count; i++) { /* no error of the service is kept by default */
        VV_CHECK(o->ttl[i].status_min != 500 && o->ttl[i].status_max < 502);
    }
    drop(&b);
}

VV_TEST(settings_of_a_cache_become_options)
{
    struct built b =
        build(HEAD "caches:\n  c:\n    override: true\n    ttl: 5m\n    max_ttl: 1d\n"
                   "    heuristic: 25%\n    stale: {while_revalidate: 30s, if_error: 10m}\n"
                   "    show: X-Cache-Status\n    sort_query: true\n    drop_query: [utm_*, x]\n"
                   "    client_directives: false\n    set_cookie: true\n    authorized: true\n"
                   "    targets: [A-Control, B-Control]\n    surrogate: false\n    wait: 3s\n"
                   "    purge: [127.0.0.0/8]\n    levels: [{memory: 2MB, entries: 10}]\n"
                   "routes: [{to: a, cache: c}]\n");
    const struct vv_cache_plan *p = b.rt->route[0].cache;
    const struct vv_cache_options *o = &p->options;
    VV_CHECK(o->ttl[0].override);
    VV_CHECK_INT(o->ttl_max_s, 86400);
    VV_CHECK_INT(o->heuristic_ppm, 250000);
    VV_CHECK_INT(o->heuristic_max_s, 86400);
    VV_CHECK_INT(o->stale_while_revalidate_s, 30);
    VV_CHECK_INT(o->stale_if_error_s, 600);
    VV_CHECK(o->ignore_request && o->keep_set_cookie && o->keep_authorized);
    VV_CHECK(!o->keep_post && !o->surrogate);
    VV_CHECK_INT(o->targets_count, 2);
    VV_CHECK(vv_str_eq(o->targets[1], VV_STR("B-Control")));
    VV_CHECK(p->key_rules.sort_query && !p->key_rules.ignore_query);
    VV_CHECK_INT(p->key_rules.drop_count, 2);
    VV_CHECK(vv_str_eq(p->key_rules.drop[0], VV_STR("utm_*")));
    VV_CHECK(vv_str_eq(p->show, VV_STR("X-Cache-Status")));
    VV_CHECK(vv_str_eq(p->name, VV_STR("c")));
    VV_CHECK(p->identity_in_key); /* answers to Authorization are kept: it is in the key */
    VV_CHECK_INT(p->purge_count, 1);
    VV_CHECK_INT(p->wait_ns, 3 * VV_SEC);
    struct vv_cache_stats stats;
    vv_cache_stats(p->cache->memory, &stats);
    VV_CHECK_INT(stats.budget_bytes, 2 * VV_MIB);
    drop(&b);
}

VV_TEST(caches_without_a_name_share_one_memory_and_like_shares_another)
{
    struct built b =
        build(HEAD "caches: {big: {levels: [{memory: 2MB}]}, too: {like: big, ttl: 1m},\n"
                   "         own: {like: big, levels: [{memory: 1MB}]}}\n"
                   "routes:\n"
                   "- {path: /1/, to: a, cache: 5m}\n"
                   "- {path: /2/, to: a, cache: {ttl: 1m}}\n"
                   "- {path: /3/, to: a, cache: big}\n"
                   "- {path: /4/, to: a, cache: too}\n"
                   "- {path: /5/, to: a, cache: own}\n"
                   "- {path: /6/, to: a}\n");
    const struct vv_route *r = b.rt->route;
    VV_CHECK(r[0].cache->cache == r[1].cache->cache);
    VV_CHECK_STR(r[0].cache->cache->name, "default");
    VV_CHECK(r[2].cache->cache == r[3].cache->cache);
    VV_CHECK_STR(r[3].cache->cache->name, "big");
    VV_CHECK_STR(r[4].cache->cache->name, "own");
    VV_CHECK(r[5].cache == NULL);
    VV_CHECK(vv_caches_find(b.homes.caches, VV_STR("too")) == NULL);
    drop(&b);
}

#define BIT(m) (1u << VV_METHOD_##m)

VV_TEST(post_brings_the_body_into_the_key)
{
    struct built b = build(HEAD "routes:\n"
                                "- {path: /1/, to: a, cache: 5m}\n"
                                "- {path: /2/, to: a, cache: {methods: [POST], key: \"p:$body\"}}\n"
                                "- {path: /3/, to: a, cache: {methods: [GET, POST]}}\n");
    const struct vv_route *r = b.rt->route;
    VV_CHECK_INT(r[0].cache->methods, BIT(GET) | BIT(HEAD));
    VV_CHECK(!r[0].cache->body_in_key && r[0].cache->key == NULL);
    VV_CHECK_INT(r[1].cache->methods, BIT(POST));
    VV_CHECK(r[1].cache->body_in_key && r[1].cache->options.keep_post && r[1].cache->key != NULL);
    VV_CHECK_INT(r[2].cache->methods, BIT(GET) | BIT(HEAD) | BIT(POST));
    VV_CHECK(r[2].cache->body_in_key);
    drop(&b);
}

VV_TEST(a_key_with_the_credentials_needs_no_more_identity)
{
    struct built b = build(
        HEAD
        "routes:\n- {to: a, cache: {authorized: true, key: \"$uri $header.authorization\"}}\n");
    VV_CHECK(!b.rt->route[0].cache->identity_in_key);
    VV_CHECK(b.rt->route[0].cache->options.keep_authorized);
    drop(&b);
}

VV_TEST(coalescing_alone_has_a_small_memory_of_its_own)
{
    struct built b = build(
        HEAD "routes:\n"
             "- {path: /1/, name: one, to: a, coalesce: {keep: 30s, entries: 100, wait: 2s}}\n"
             "- {path: \"/2/{id}\", to: a, coalesce: {key: \"user-{id}\"}}\n"
             "- {path: /3/, to: a, cache: 5m, coalesce: {key: \"k-$path\"}}\n"
             "- {path: /4/, methods: GET, to: a, coalesce: true}\n"
             "- {path: /4/, methods: POST, to: a, coalesce: true}\n");
    const struct vv_route *r = b.rt->route;
    const struct vv_cache_plan *p = r[0].cache;
    VV_CHECK(p->coalesce_only && p->conf == NULL && p->identity_in_key && p->key == NULL);
    VV_CHECK_INT(p->keep_s, 30);
    VV_CHECK_INT(p->wait_ns, 2 * VV_SEC);
    VV_CHECK_INT(p->methods, BIT(GET) | BIT(HEAD));
    VV_CHECK_STR(p->cache->name, "coalesce:one");
    VV_CHECK(r[1].cache->coalesce_only && !r[1].cache->identity_in_key);
    VV_CHECK(r[1].cache->key != NULL);
    VV_CHECK_INT(r[1].cache->keep_s, 0);
    VV_CHECK(!r[2].cache->coalesce_only && r[2].cache->key != NULL); /* the cache takes the key */
    VV_CHECK_STR(r[2].cache->cache->name, "default");
    VV_CHECK_STR(r[3].cache->cache->name, "coalesce:/4/");
    VV_CHECK_STR(r[4].cache->cache->name, "coalesce:/4/#2");
    drop(&b);
}

VV_TEST(compression_is_on_for_services_and_by_request_for_files)
{
    struct built b = build(HEAD "routes:\n"
                                "- {path: /1/, to: a, cache: 5m}\n"
                                "- {path: /2/, to: a, compress: false, cache: 5m}\n"
                                "- {path: /3/, to: a, compress: {encodings: [gzip, br], min: 99,\n"
                                "     types: text/*, level: 5}}\n"
                                "- {path: /4/, respond: 204}\n");
    const struct vv_compress_plan *p = b.rt->route[0].compress;
    VV_CHECK_INT(p->rules.prefer_count, 3);
    VV_CHECK_INT(p->rules.prefer[0], VV_ENCODING_ZSTD);
    VV_CHECK_INT(p->rules.prefer[1], VV_ENCODING_GZIP);
    VV_CHECK_INT(p->rules.prefer[2], VV_ENCODING_BR);
    VV_CHECK_INT(p->rules.bytes_min, 1024);
    VV_CHECK_INT(p->rules.type_count, 7);
    VV_CHECK(b.rt->route[0].cache->vary_rules.no_codings);
    VV_CHECK(b.rt->route[1].compress == NULL);
    VV_CHECK(!b.rt->route[1].cache->vary_rules.no_codings);
    p = b.rt->route[2].compress;
    VV_CHECK_INT(p->rules.prefer_count, 2);
    VV_CHECK_INT(p->rules.prefer[0], VV_ENCODING_GZIP);
    VV_CHECK_INT(p->rules.bytes_min, 99);
    VV_CHECK_INT(p->rules.type_count, 1);
    VV_CHECK_INT(p->level, 5);
    VV_CHECK(b.rt->route[3].compress == NULL);
    drop(&b);
}

VV_TEST(a_runtime_to_look_at_has_plans_without_memory)
{
    struct vv_runtime *rt = runtime_of(HEAD "routes: [{to: a, cache: 5m}]\n", NULL);
    VV_CHECK(rt->route[0].cache != NULL && rt->route[0].cache->cache == NULL);
    vv_runtime_unref(rt);
}

static void check_expires(const char *route, const char *expected, bool whole, size_t edits)
{
    char conf[512];
    snprintf(conf, sizeof conf, HEAD "routes:\n- {to: a, %s}\n", route);
    struct built b = build(conf);
    VV_CHECK_SLICE(b.rt->route[0].cache_control, expected);
    VV_CHECK_INT(b.rt->route[0].cache_control_whole, whole);
    VV_CHECK_INT(b.rt->route[0].answer_edits.count, edits);
    drop(&b);
}

VV_TEST(expires_becomes_part_of_a_constant_cache_control)
{
    /* 30 days are 30 * 86,400 = 2,592,000 seconds. */
    check_expires("expires: 30d", "max-age=2592000", false, 0);
    check_expires("expires: 30d, headers: {X-A: b, Cache-Control: 'public, immutable', X-C: d}",
                  "public, max-age=2592000, immutable", true, 2);
    check_expires("expires: 1m, headers: {Cache-Control: private}", "private, max-age=60", true, 0);
}

VV_TEST(a_cache_control_with_a_lifetime_of_its_own_stays)
{
    check_expires("expires: 30d, headers: {Cache-Control: max-age=5}", "max-age=2592000", false, 1);
    check_expires("expires: 30d, headers: {Cache-Control: no-store}", "max-age=2592000", false, 1);
    check_expires("expires: 30d, headers: {Cache-Control: $query.c}", "max-age=2592000", false, 1);
    check_expires("expires: 30d, headers: {Cache-Control: null}", "max-age=2592000", false, 1);
}

VV_TEST(a_path_to_forget_is_split_at_its_stars)
{
    struct built b = build(HEAD "routes: [{to: a, cache: {invalidates: [/x, '/*/$host/*']}}]\n");
    const struct vv_cache_plan *p = b.rt->route[0].cache;
    VV_CHECK_INT(p->drop_count, 2);
    VV_CHECK_INT(p->drop[0].count, 1);
    VV_CHECK_INT(p->drop[1].count, 3);
    VV_CHECK(!vv_template_is_constant(p->drop[1].part[1]));
    drop(&b);
}
