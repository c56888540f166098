/* tests/unit/gateway/test_settings_store.c - what the file says about stores and the levels of caches in them:
 * forms, each mistake with its place, and that passwords stay hidden. */
#include "gateway/settings_int.h"
#include "store/redis_url.h"
#include "vv_test.h"

#include <stdio.h>
#include <stdlib.h>

struct loaded {
    struct vv_settings *s;
    char *problems;
};

static const char *environment(void *user, const char *name)
{
    (void)user;
    return strcmp(name, "REDIS_URL") == 0 ? "redis://gate:hidden7@127.0.0.1:6379/2" : NULL;
}

/* "listen" and the routes stand on the first two lines: `text` begins on line 3. */
static struct loaded load(const char *text)
{
    char whole[4096];
    struct loaded l = {0};
    struct vv_sb sb = VV_SB_INIT;
    struct vv_conf_problems *p = vv_conf_problems_new();
    snprintf(whole, sizeof whole, "listen: 80\nroutes: [{to: \"http://h:1\", cache: api}]\n%s",
             text);
    const struct vv_conf_source source = {
        .path = "v.yaml", .text = whole, .no_files = true, .env = environment};
    const enum vv_err err = vv_settings_load(&source, p, &l.s);
    VV_CHECK_INT(err, vv_conf_problems_errors(p) == 0 ? VV_OK : VV_ECONFIG);
    vv_conf_problems_print(p, false, NULL, &sb);
    vv_sb_adds(&sb, "");
    l.problems = vv_sb_take(&sb);
    vv_conf_problems_free(p);
    return l;
}

static void unload(struct loaded *l)
{
    vv_settings_free(l->s);
    free(l->problems);
}

static struct loaded load_fine(const char *text)
{
    struct loaded l = load(text);
    VV_CHECK_STR(l.problems, "");
    return l;
}

static void check_says(const char *text, const char *part)
{
    struct loaded l = load(text);
    if (strstr(l.problems, part) == NULL) {
        fail_msg("expected \"%s\" in:\n%s", part, l.problems);
    }
    unload(&l);
}

static const struct vv_store_settings *store(const struct loaded *l, size_t i)
{
    return l->s->stores->item[i];
}

static const struct vv_cache_settings *cache(const struct loaded *l, size_t i)
{
    return l->s->caches->item[i];
}

static const struct vv_level_settings *level(const struct loaded *l, size_t i)
{
    return cache(l, 0)->levels->item[i];
}

#define API "caches: {api: {ttl: 1m}}\n"
#define LEVELS(levels) "stores: {local: \"redis://h\"}\ncaches: {api: {levels: [" levels "]}}\n"

VV_TEST(a_store_is_a_url_or_a_map)
{
    struct loaded l =
        load_fine("stores:\n  local: redis://h:7/3\n"
                  "  far: {url: \"redis+cluster://a,b:7001\", prefix: shop, timeout: 20ms,\n"
                  "        connect: 1s, replicas: true, breaker: {failures: 2, recover: 3s},\n"
                  "        fallback: {entries: 10, trim: 50%, memory: 1MB, max_object: 2KB},\n"
                  "        listen: \"127.0.0.1:6380\", clients: 5}\n" API);
    const struct vv_store_settings *s = store(&l, 0);
    VV_CHECK_STR(s->name, "local");
    VV_CHECK_STR(s->url, "redis://h:7/3");
    VV_CHECK_INT(s->parsed->kind, VV_REDIS_SINGLE);
    VV_CHECK_INT(s->parsed->db, 3);
    VV_CHECK_STR(s->prefix, "vz");
    VV_CHECK_INT(s->timeout_ns, 50 * VV_MS);
    VV_CHECK_INT(s->connect_ns, 500 * VV_MS);
    VV_CHECK_INT(s->replicas, 0);
    VV_CHECK_INT(s->breaker.failures, 5);
    VV_CHECK_INT(s->breaker.recover_ns, VV_SEC);
    VV_CHECK_INT(s->fallback.entries, 1000);
    VV_CHECK_INT(s->fallback.trim_ppm, 200000);
    VV_CHECK_INT(s->fallback.memory_bytes, 16 * VV_MIB);
    VV_CHECK_INT(s->fallback.object_bytes, VV_MIB);
    VV_CHECK(s->listen == NULL && s->clients == 1000);
    VV_CHECK_INT(s->tls.verify, 1);
    s = store(&l, 1);
    VV_CHECK_STR(s->prefix, "shop");
    VV_CHECK_INT(s->timeout_ns, 20 * VV_MS);
    VV_CHECK_INT(s->connect_ns, VV_SEC);
    VV_CHECK_INT(s->replicas, 1);
    VV_CHECK_INT(s->breaker.failures, 2);
    VV_CHECK_INT(s->breaker.recover_ns, 3 * VV_SEC);
    VV_CHECK_INT(s->fallback.trim_ppm, 500000);
    VV_CHECK_STR(s->listen, "127.0.0.1:6380");
    VV_CHECK_INT(s->clients, 5);
    unload(&l);
}

VV_TEST(without_a_url_there_is_a_warning_and_no_error)
{
    check_says("stores: {local: {}}\n" API,
               "v.yaml:3:10: warning: store \"local\" has no url: it is kept in the memory of this "
               "gateway only");
    check_says("stores: {local: \"${NOT_SET:-}\"}\n" API,
               "v.yaml:3:17: warning: store \"local\" has no url");
}

VV_TEST(a_url_that_cannot_be_read_shows_its_place_and_why)
{
    check_says("stores: {local: \"http://h\"}\n" API,
               "v.yaml:3:17: error: the url of store \"local\" cannot be read");
    check_says("stores: {local: {url: \"redis://h:port\"}}\n" API,
               "v.yaml:3:23: error: the url of store \"local\" cannot be read");
}

VV_TEST(what_the_url_does_not_take_is_told)
{
    check_says("stores: {a: {url: \"redis://h\", tls: {ca: x.pem}}}\n" API,
               "v.yaml:3:37: error: store \"a\" is asked without TLS");
    check_says("stores: {a: {url: \"redis://h\", sentinel: {user: x}}}\n" API,
               "warning: sentinel does nothing");
    check_says("stores: {a: {url: \"rediss://h\", tls: {key: x.pem}}}\n" API,
               "v.yaml:3:44: error: a key needs its certificate");
}

VV_TEST(expectations_are_parameters_and_values)
{
    struct loaded l = load_fine("stores: {local: {url: \"redis://h\", expect: {maxmemory: 4gb, "
                                "tcp-keepalive: 60, timeout: 0, save: \"900 1\"}}}\n" API);
    const struct vv_conf_list *list = store(&l, 0)->expect;
    VV_CHECK_INT(list->count, 4);
    const struct vv_expect_settings *e = list->item[1];
    VV_CHECK_STR(e->name, "tcp-keepalive");
    VV_CHECK_STR(e->value, "60");
    unload(&l);
    check_says("stores: {l: {url: \"redis://h\", expect: {\"*\": 1}}}\n" API,
               "v.yaml:3:41: error: \"*\" is no parameter of Redis");
}

VV_TEST(what_a_store_says_is_checked)
{
    check_says("stores: {\"a b\": \"redis://h\"}\n" API, "cannot be the name of a store");
    check_says("stores: {a: {url: \"redis://h\", prefix: \"a*\"}}\n" API,
               "v.yaml:3:40: error: \"a*\" cannot begin keys");
    check_says("stores: {a: {url: \"redis://h\", listen: x}}\n" API,
               "v.yaml:3:40: error: \"x\" is no address to listen at");
    check_says("stores: {a: {url: \"redis://h\", clients: 3}}\n" API,
               "warning: clients does nothing without listen");
}

VV_TEST(levels_go_from_memory_to_the_farthest_store)
{
    struct loaded l = load_fine("stores: {local: \"redis://h\", far: \"redis://i\"}\n"
                                "caches: {api: {levels: [{memory: 2MB}, {store: local}, {store: "
                                "far, ttl: x2, compress: 0, max_object: 1MB}],\n"
                                "  share: {bound: 2s, lease: 3s}}}\n");
    VV_CHECK_INT(cache(&l, 0)->levels->count, 3);
    VV_CHECK(level(&l, 0)->store == NULL);
    VV_CHECK_INT(level(&l, 0)->memory_bytes, 2 * VV_MIB);
    VV_CHECK_STR(level(&l, 1)->store, "local");
    VV_CHECK_INT(level(&l, 1)->ttl_factor_ppm, 1000000);
    VV_CHECK_INT(level(&l, 1)->compress_bytes, 32768);
    VV_CHECK_INT(level(&l, 1)->object_bytes, 4 * VV_MIB);
    VV_CHECK_STR(level(&l, 2)->store, "far");
    VV_CHECK_INT(level(&l, 2)->ttl_factor_ppm, 2000000);
    VV_CHECK_INT(level(&l, 2)->compress_bytes, 0);
    VV_CHECK_INT(level(&l, 2)->object_bytes, VV_MIB);
    VV_CHECK_INT(cache(&l, 0)->share.bound_ns, 2 * VV_SEC);
    VV_CHECK_INT(cache(&l, 0)->share.alone_ns, 30 * VV_SEC);
    VV_CHECK_INT(cache(&l, 0)->share.lease_ns, 3 * VV_SEC);
    unload(&l);
}

VV_TEST(a_cache_in_stores_only_has_a_memory_in_front)
{
    struct loaded l = load_fine(LEVELS("{store: local, ttl: 2h}"));
    VV_CHECK_INT(cache(&l, 0)->levels->count, 2);
    VV_CHECK(level(&l, 0)->store == NULL);
    VV_CHECK_INT(level(&l, 0)->memory_bytes, 64 * VV_MIB);
    VV_CHECK_STR(level(&l, 1)->store, "local");
    VV_CHECK_INT(level(&l, 1)->ttl_factor_ppm, 0);
    VV_CHECK_INT(level(&l, 1)->ttl_ns, 7200 * VV_SEC);
    unload(&l);
}

VV_TEST(factors_may_have_a_fraction)
{
    struct loaded l = load_fine(LEVELS("{store: local, ttl: x1.25}"));
    VV_CHECK_INT(level(&l, 1)->ttl_factor_ppm, 1250000);
    unload(&l);
    check_says(LEVELS("{store: local, ttl: x101}"),
               "v.yaml:4:45: error: \"x101\" is no lifetime in a store");
    check_says(LEVELS("{store: local, ttl: x0.5}"), "\"x0.5\" is no lifetime in a store");
    check_says(LEVELS("{store: local, ttl: x}"), "\"x\" is no lifetime in a store");
    check_says(LEVELS("{store: local, ttl: 5}"), "\"5\" needs a unit, or an x before it");
    check_says(LEVELS("{store: local, ttl: 5ms}"), "from x1 to x100, or a duration from 1s");
}

VV_TEST(levels_in_stores_are_checked)
{
    check_says(LEVELS("{memory: 1MB}, {store: lokal}"),
               "v.yaml:4:48: error: no store named \"lokal\"");
    check_says(LEVELS("{memory: 1MB}, {store: lokal}"),
               "did you mean \"local\" (defined at 3:10)?");
    check_says("caches: {api: {levels: [{store: x}]}}\n", "add stores: {NAME: ");
    check_says(LEVELS("{store: local}, {memory: 1MB}"),
               "v.yaml:4:41: error: the level in memory of cache \"api\" stands behind");
    check_says(LEVELS("{store: local, memory: 1MB}"),
               "v.yaml:4:48: error: \"memory\" says something about a level in memory");
    check_says(LEVELS("{store: local, policy: gdsf}"), "\"policy\" says something");
    check_says(LEVELS("{store: local}, {store: local}"),
               "v.yaml:4:49: error: cache \"api\" has two levels in store \"local\"");
    check_says(LEVELS("{memory: 1MB, ttl: x2}"), "a level in memory has no ttl of its own");
    check_says(LEVELS("{memory: 1MB, compress: 2KB}"), "keeps answers as they are");
    check_says("stores: {a: \"redis://a\", b: \"redis://b\", c: \"redis://c\", d: \"redis://d\"}\n"
               "caches: {api: {levels: [{store: a}, {store: b}, {store: c}, {store: d}]}}\n",
               "cache \"api\" has 4 levels in stores");
    check_says("caches: {api: {ttl: 1m, share: {lease: 1s}}}\n",
               "v.yaml:3:32: error: cache \"api\" shares nothing");
}

VV_TEST(a_cache_like_another_shares_its_levels_and_how_they_are_shared)
{
    struct loaded l = load_fine("stores: {local: \"redis://h\"}\n"
                                "caches: {api: {like: base}, base: {levels: [{store: local}], "
                                "share: {bound: 2s}}}\n");
    VV_CHECK(cache(&l, 0)->memory == cache(&l, 1));
    VV_CHECK_INT(cache(&l, 0)->memory->share.bound_ns, 2 * VV_SEC);
    unload(&l);
}

VV_TEST(the_long_form_means_the_same)
{
    struct loaded l =
        load_fine("stores: {local: \"redis://h\", far: {url: \"redis://i\", "
                  "expect: {timeout: 0}}}\n"
                  "caches: {api: {levels: [{store: local}, {store: far, ttl: x2}]}}\n");
    struct vv_sb one = VV_SB_INIT, two = VV_SB_INIT;
    vv_conf_show(vv_settings_doc(l.s), VV_CONF_SHOW_LONG, &one);
    const struct vv_conf_source source = {.path = "v.yaml", .text = one.p, .no_files = true};
    struct vv_conf_problems *p = vv_conf_problems_new();
    struct vv_settings *again = NULL;
    VV_CHECK_INT(vv_settings_load(&source, p, &again), VV_OK);
    VV_CHECK_INT(vv_conf_problems_warnings(p), 0);
    vv_conf_show(vv_settings_doc(again), VV_CONF_SHOW_LONG, &two);
    VV_CHECK_STR(two.p, one.p);
    vv_conf_problems_free(p);
    vv_settings_free(again);
    unload(&l);
    vv_sb_fini(&one);
    vv_sb_fini(&two);
}

VV_TEST(passwords_are_never_shown)
{
    struct loaded l =
        load_fine("stores: {a: \"redis://gate:pa%40ssw0rd@h:7/1\", b: \"${REDIS_URL}\",\n"
                  "  c: {url: \"redis+sentinel://:s3cret@h/m\", "
                  "sentinel: {password: s3cret}}}\n" API);
    VV_CHECK_STR(store(&l, 0)->url, "redis://gate:pa%40ssw0rd@h:7/1");
    for (unsigned flags = 0; flags < 8; flags++) {
        struct vv_sb sb = VV_SB_INIT;
        vv_conf_show(vv_settings_doc(l.s), flags, &sb);
        vv_sb_adds(&sb, "");
        VV_CHECK(strstr(sb.p, "w0rd") == NULL && strstr(sb.p, "hidden7") == NULL);
        VV_CHECK(strstr(sb.p, "pa%40") == NULL && strstr(sb.p, "s3cret") == NULL);
        VV_CHECK(strstr(sb.p, "redis://gate:[hidden]@h:7/1") != NULL);
        VV_CHECK(strstr(sb.p, "redis://gate:[hidden]@127.0.0.1:6379/2") != NULL);
        vv_sb_fini(&sb);
    }
    unload(&l);
    l = load("stores: {local: \"redis://gate:s3/ret@h\"}\n" API);
    VV_CHECK(strstr(l.problems, "redis://gate:******@h") != NULL);
    VV_CHECK(strstr(l.problems, "ret@") == NULL);
    unload(&l);
}
