/* tests/unit/gateway/test_stores.c - named stores over reloads: who is kept, who is made, who goes and when. Their
 * servers are never asked here: nothing turns the loop. */
#include "gateway/stores.h"

#include "gateway/store_ask.h"
#include "gateway/stores_int.h"
#include "settings_test.h"

struct home {
    struct vv_loop *loop;
    struct vv_metrics *metrics;
    struct vv_stores *ss;
};

static void home_init(struct home *h)
{
    VV_CHECK_INT(vv_loop_new(&h->loop), VV_OK);
    VV_CHECK_INT(vv_metrics_new(&h->metrics), VV_OK);
    VV_CHECK_INT(vv_stores_new(h->loop, h->metrics, &h->ss), VV_OK);
}

static void home_fini(struct home *h)
{
    vv_stores_free(h->ss);
    vv_metrics_free(h->metrics);
    vv_loop_free(h->loop);
}

static struct vv_settings *settings(const char *stores)
{
    char text[2048];
    snprintf(text, sizeof text, "listen: 80\nroutes: [{respond: hello}]\n%s", stores);
    struct loaded l = load_text(text);
    free(l.problems);
    return l.s;
}

static enum vv_err prepare(struct home *h, const struct vv_settings *s)
{
    char why[256] = "";
    return vv_stores_prepare(h->ss, s, why);
}

/* One reload: prepared, then settled. */
static void reload(struct home *h, const char *stores, bool kept)
{
    struct vv_settings *s = settings(stores);
    VV_CHECK_INT(prepare(h, s), VV_OK);
    vv_stores_settle(h->ss, s, kept);
    vv_settings_free(s);
}

/* 0: there is none. */
static uint64_t generation(struct home *h, const char *name)
{
    struct vv_store *s = NULL;
    if (vv_stores_take(h->ss, name, &s) != VV_OK) {
        return 0;
    }
    const uint64_t g = s->generation;
    vv_store_unref(s);
    return g;
}

#define ONE "stores: {a: \"redis://127.0.0.1:1/2\"}\n"

VV_TEST(a_store_has_what_the_file_says)
{
    struct home h;
    struct vv_store *s = NULL;
    home_init(&h);
    reload(&h,
           "stores: {a: {url: \"redis://u:p@127.0.0.1:1/2\", prefix: shop, timeout: 20ms,\n"
           "  connect: 2s, replicas: true, breaker: {failures: 7, recover: 3s},\n"
           "  fallback: {entries: 5, trim: 40%, memory: 1MB, max_object: 2KB}}}\n",
           true);
    VV_CHECK_INT(vv_stores_take(h.ss, "b", &s), VV_ENOENT);
    VV_CHECK_INT(vv_stores_take(h.ss, "a", &s), VV_OK);
    VV_CHECK(s->has_server);
    VV_CHECK_STR(s->prefix, "shop");
    VV_CHECK_STR(s->conf.url.password, "p");
    VV_CHECK_INT(s->conf.url.db, 2);
    VV_CHECK_INT(s->conf.call_ns, 20 * VV_MS);
    VV_CHECK_INT(s->conf.connect_ns, 2 * VV_SEC);
    VV_CHECK(s->conf.replicas && !s->conf.tls_insecure && !s->conf.tracking);
    VV_CHECK_INT(s->conf.failures, 7);
    VV_CHECK_INT(s->conf.recover_ns, 3 * VV_SEC);
    VV_CHECK_INT(s->fallback.entries, 5);
    VV_CHECK_INT(s->fallback.trim_ppm, 400000);
    VV_CHECK_INT(s->fallback.bytes, VV_MIB);
    VV_CHECK_INT(s->fallback.value_bytes, 2048);
    VV_CHECK(vv_store_control(s) != NULL);
    vv_store_unref(s);
    home_fini(&h);
}

VV_TEST(a_store_stays_the_same_until_it_is_reached_differently)
{
    struct home h;
    home_init(&h);
    reload(&h, ONE, true);
    const uint64_t first = generation(&h, "a");
    VV_CHECK(first != 0);
    reload(&h, ONE, true);
    VV_CHECK_INT(generation(&h, "a"), first);
    reload(&h, "stores: {a: {url: \"redis://127.0.0.1:1/2\", expect: {maxmemory: 4gb}}}\n", true);
    VV_CHECK_INT(generation(&h, "a"), first); /* what is expected says nothing about the way */
    reload(&h, "stores: {a: \"redis://127.0.0.1:1/3\"}\n", true);
    VV_CHECK(generation(&h, "a") != first);
    reload(&h, "", true);
    VV_CHECK_INT(generation(&h, "a"), 0);
    home_fini(&h);
}

VV_TEST(what_is_being_loaded_is_found_and_forgotten_when_it_fails)
{
    struct home h;
    home_init(&h);
    reload(&h, ONE, true);
    const uint64_t first = generation(&h, "a");
    struct vv_settings *s = settings("stores: {a: \"redis://127.0.0.1:1/3\", b: \"redis://h\"}\n");
    VV_CHECK_INT(prepare(&h, s), VV_OK);
    VV_CHECK(generation(&h, "a") != first && generation(&h, "b") != 0);
    vv_stores_settle(h.ss, s, false);
    vv_settings_free(s);
    VV_CHECK_INT(generation(&h, "a"), first);
    VV_CHECK_INT(generation(&h, "b"), 0);
    vv_stores_tick(h.ss, VV_SEC); /* frees the two */
    home_fini(&h);
}

VV_TEST(a_store_that_somebody_holds_outlives_the_settings)
{
    struct home h;
    struct vv_store *s = NULL;
    home_init(&h);
    reload(&h, ONE, true);
    VV_CHECK_INT(vv_stores_take(h.ss, "a", &s), VV_OK);
    reload(&h, "", true);
    vv_stores_tick(h.ss, VV_SEC);
    VV_CHECK_STR(s->name, "a"); /* a sanitizer would see it if it were gone */
    vv_store_unref(s);
    vv_stores_tick(h.ss, 2 * VV_SEC);
    home_fini(&h);
}

VV_TEST(a_store_without_a_server_cannot_be_asked)
{
    struct home h;
    struct vv_store_ask ask = {0};
    struct vv_store_walk walk = {0};
    home_init(&h);
    struct vv_settings *s = settings("stores: {a: {}}\n"); /* with a warning */
    VV_CHECK_INT(prepare(&h, s), VV_OK);
    vv_stores_settle(h.ss, s, true);
    VV_CHECK_INT(vv_stores_ask(h.ss, VV_STR("a"), &ask), VV_EUNSUPPORTED);
    VV_CHECK_INT(vv_stores_walk(h.ss, VV_STR("a"), &walk), VV_EUNSUPPORTED);
    VV_CHECK_INT(vv_stores_ask(h.ss, VV_STR("b"), &ask), VV_ENOENT);
    VV_CHECK_INT(vv_stores_summary(h.ss).away, 0);
    vv_store_ask_end(&ask);
    vv_store_walk_end(&walk);
    vv_settings_free(s);
    home_fini(&h);
}

VV_TEST(a_file_of_a_certificate_must_be_there)
{
    struct home h;
    char why[256] = "";
    home_init(&h);
    struct vv_settings *s =
        settings("stores: {a: {url: \"rediss://h\", tls: {ca: /nowhere/ca.pem}}}\n");
    VV_CHECK_INT(vv_stores_prepare(h.ss, s, why), VV_ECONFIG);
    VV_CHECK_STR(why, "store a: /nowhere/ca.pem cannot be read");
    vv_stores_settle(h.ss, s, false);
    vv_settings_free(s);
    home_fini(&h);
}

VV_TEST(the_text_of_info_is_read_line_by_line)
{
    struct store_info i;
    store_info_read(VV_STR("# Server\r\nredis_version:7.0.15\r\nuptime_in_seconds:17\r\n\r\n"
                           "# Memory\r\nused_memory:991008\r\nmaxmemory:67108864\r\n"
                           "maxmemory_policy:allkeys-lru\r\nloading:1\r\n# Stats\r\n"
                           "keyspace_hits:5\r\nkeyspace_misses:7\r\nevicted_keys:x\r\n"
                           "role:master\r\n# Keyspace\r\ndb0:keys=3,expires=1,avg_ttl=0\r\n"
                           "db11:keys=2,expires=0,avg_ttl=0\r\ndb:keys=1\r\nno colon"),
                    &i);
    VV_CHECK_STR(i.version, "7.0.15");
    VV_CHECK_STR(i.role, "master");
    VV_CHECK_STR(i.policy, "allkeys-lru");
    VV_CHECK_INT(i.uptime_s, 17);
    VV_CHECK_INT(i.used, 991008);
    VV_CHECK_INT(i.max, 67108864);
    VV_CHECK(i.loading);
    VV_CHECK_INT(i.hits, 5);
    VV_CHECK_INT(i.misses, 7);
    VV_CHECK_INT(i.evicted, 0); /* no number: as if it were not there */
    VV_CHECK_INT(i.dbs, 2);
    VV_CHECK_INT(i.db[0].keys, 3);
    VV_CHECK_INT(i.db[0].expires, 1);
    VV_CHECK_INT(i.db[1].number, 11);
    store_info_read(VV_STR(""), &i);
    VV_CHECK_INT(i.dbs, 0);
}
