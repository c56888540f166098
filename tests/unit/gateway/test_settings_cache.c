/* tests/unit/gateway/test_settings_cache.c - what the file says about caching, coalescing and
 * compression: forms, nearest wins, and each mistake with its place. */
#include "gateway/settings_int.h"
#include "vv_test.h"

#include <stdio.h>
#include <stdlib.h>

struct loaded {
    struct vv_settings *s;
    char *problems;
};

static struct loaded load_text(const char *text)
{
    const struct vv_conf_source source = {.path = "v.yaml", .text = text, .no_files = true};
    struct loaded l = {0};
    struct vv_sb sb = VV_SB_INIT;
    struct vv_conf_problems *p = vv_conf_problems_new();
    const enum vv_err err = vv_settings_load(&source, p, &l.s);
    VV_CHECK_INT(err, vv_conf_problems_errors(p) == 0 ? VV_OK : VV_ECONFIG);
    vv_conf_problems_print(p, false, "Nothing was started.", &sb);
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

/* "listen" and a service stand on the first two lines: `text` begins on line 3. */
static struct loaded load(const char *text)
{
    char whole[4096];
    snprintf(whole, sizeof whole, "listen: 80\nservices: {a: [h:1], b: [h:2]}\n%s", text);
    return load_text(whole);
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

static const struct vv_route_settings *route(const struct loaded *l, size_t i)
{
    return l->s->routes->item[i];
}

static const struct vv_ttl_settings *ttl(const struct vv_cache_settings *s, size_t i)
{
    return s->ttl->item[i];
}

#define B "routes: [{path: /x/, to: b}, {path: /y/, to: a}]\n"
#define USE(text) "routes: [{path: /x/, to: b}, {path: /y/, to: a, cache: " text "}]\n"

/* ---- meaning ------------------------------------------------------------------------------- */

VV_TEST(a_duration_a_named_lifetime_and_a_section_say_the_same)
{
    struct loaded l = load_fine("ttls: {short: 5m}\nroutes:\n"
                                "- {path: /1/, to: a, cache: 5m}\n"
                                "- {path: /2/, to: a, cache: short}\n"
                                "- {path: /3/, to: a, cache: {ttl: 5m}}\n"
                                "- {path: /4/, to: a, cache: {ttl: {default: short}}}\n"
                                "- {path: /5/, to: b, cache: {use: 5m, ttl: {404: 1s}}}\n");
    for (size_t i = 0; i < 5; i++) {
        const struct vv_cache_settings *s = route(&l, i)->cache;
        const size_t at = i < 4 ? 0 : 1; /* `use` comes behind what ttl says itself */
        VV_CHECK(s != NULL && s->unnamed);
        VV_CHECK_STR(s->memory->name, "default");
        VV_CHECK_STR(ttl(s, at)->name, "default");
        VV_CHECK_INT(ttl(s, at)->ttl_ns, 300 * VV_SEC);
        VV_CHECK_INT(ttl(s, at)->low, 0);
    }
    VV_CHECK_INT(ttl(route(&l, 4)->cache, 0)->low, 404);
    unload(&l);
}

static const char design[] =
    "caches:\n"
    "  api:\n"
    "    levels: [{memory: 256MB, entries: 10000}]\n"
    "    key: \"$scheme $method $host $uri\"\n"
    "    ttl: {default: 1h, 200: 5m, 404: 1m, 5xx: 2s, 200-299: 3s}\n"
    "    stale: {while_revalidate: 30s, if_error: 10m}\n"
    "    show: X-Cache-Status\n"
    "  predictions: {like: api, methods: [POST], key: \"prediction:$body\", ttl: 7200s}\n"
    "  own: {like: predictions, levels: [1MB]}\n"
    "routes:\n"
    "- {path: /1/, to: a, cache: api}\n"
    "- {path: /2/, to: b, cache: predictions}\n"
    "- {path: /3/, to: b, cache: {use: api, stale: {if_error: 1m}, ttl: {301: 0}}}\n"
    "- {path: /4/, to: b, cache: own}\n";

VV_TEST(a_cache_takes_from_the_one_it_is_like_and_a_route_from_its_cache)
{
    struct loaded l = load_fine(design);
    const struct vv_cache_settings *api = route(&l, 0)->cache;
    const struct vv_cache_settings *like = route(&l, 1)->cache;
    const struct vv_cache_settings *mine = route(&l, 2)->cache;
    const struct vv_cache_settings *own = route(&l, 3)->cache;
    const struct vv_level_settings *level = api->memory->levels->item[0];
    VV_CHECK_INT(level->memory_bytes, 256 * VV_MIB);
    VV_CHECK_INT(level->entries, 10000);
    VV_CHECK_INT(ttl(api, 3)->low, 500);
    VV_CHECK_INT(ttl(api, 3)->high, 599);
    VV_CHECK_INT(ttl(api, 4)->low, 200);
    VV_CHECK_INT(ttl(api, 4)->high, 299);
    VV_CHECK(like->memory == api->memory);
    VV_CHECK_STR(like->key, "prediction:$body");
    VV_CHECK_STR(like->show, "X-Cache-Status");
    VV_CHECK_INT(like->ttl->count, 1); /* its own map instead of the other's, not both */
    VV_CHECK_INT(like->stale.if_error_ns, 600 * VV_SEC);
    VV_CHECK(mine->memory == api->memory);
    VV_CHECK_STR(mine->key, api->key);
    VV_CHECK_INT(mine->stale.if_error_ns, 60 * VV_SEC);
    VV_CHECK_INT(mine->stale.while_revalidate_ns, 30 * VV_SEC);
    VV_CHECK_INT(ttl(mine, 0)->low, 301);
    VV_CHECK_INT(ttl(mine, 0)->ttl_ns, 0);
    VV_CHECK_STR(own->memory->name, "own"); /* over two steps, but with a level of its own */
    VV_CHECK_STR(own->show, "X-Cache-Status");
    unload(&l);
}

VV_TEST(the_common_cache_is_made_when_needed_and_may_be_defined)
{
    struct loaded l = load_fine(USE("5m"));
    const struct vv_level_settings *level = route(&l, 1)->cache->memory->levels->item[0];
    VV_CHECK_INT(level->memory_bytes, 64 * VV_MIB);
    VV_CHECK_INT(l.s->caches->count, 1);
    unload(&l);
    l = load_fine(B);
    VV_CHECK(l.s->caches == NULL);
    unload(&l);
    l = load_fine("caches: {default: {levels: [{memory: 2MB}], show: X-Hit}}\n" USE("5m"));
    level = route(&l, 1)->cache->memory->levels->item[0];
    VV_CHECK_INT(level->memory_bytes, 2 * VV_MIB);
    VV_CHECK_STR(route(&l, 1)->cache->show, "X-Hit");
    unload(&l);
}

VV_TEST(defaults_hold_for_routes_to_services_and_false_switches_off)
{
    struct loaded l = load_fine("caches: {c: {ttl: 1h, show: X-C}}\n"
                                "defaults: {cache: {ttl: 9s, show: X-D}, coalesce: {keep: 5s}}\n"
                                "routes:\n"
                                "- {path: /1/, to: a}\n"
                                "- {path: /2/, to: a, cache: false, coalesce: false}\n"
                                "- {path: /3/, to: b, cache: 1m}\n"
                                "- {path: /4/, to: b, cache: c}\n"
                                "- {path: /5/, respond: 204}\n"
                                "- {path: /6/, to: b, cache: false, coalesce: {wait: 1s}}\n");
    VV_CHECK_INT(ttl(route(&l, 0)->cache, 0)->ttl_ns, 9 * VV_SEC);
    VV_CHECK(route(&l, 1)->cache == NULL && !route(&l, 1)->coalesces);
    VV_CHECK_INT(ttl(route(&l, 2)->cache, 0)->ttl_ns, 60 * VV_SEC);
    VV_CHECK_STR(route(&l, 2)->cache->show, "X-D");
    VV_CHECK_INT(ttl(route(&l, 3)->cache, 0)->ttl_ns, 3600 * VV_SEC); /* the named one, whole */
    VV_CHECK_STR(route(&l, 3)->cache->show, "X-C");
    VV_CHECK(route(&l, 4)->cache == NULL && !route(&l, 4)->coalesces);
    VV_CHECK(route(&l, 5)->coalesces);
    VV_CHECK_INT(route(&l, 5)->coalesce.keep_ns, 5 * VV_SEC);
    VV_CHECK_INT(route(&l, 5)->coalesce.wait_ns, 1 * VV_SEC);
    VV_CHECK_STR(route(&l, 5)->coalesce.memory, "coalesce:/6/");
    unload(&l);
}

VV_TEST(compression_is_on_where_it_costs_least_to_be_wrong)
{
    struct loaded l = load_fine("defaults: {compress: {min: 2000, types: text/css}}\n"
                                "routes:\n"
                                "- {path: /1/, to: a}\n"
                                "- {path: /2/, to: b, compress: false}\n"
                                "- {path: /3/, to: b, compress: {min: 8KB}}\n"
                                "- {path: /4/, respond: 204}\n");
    VV_CHECK(route(&l, 0)->compresses && !route(&l, 1)->compresses && !route(&l, 3)->compresses);
    VV_CHECK_INT(route(&l, 0)->compress.bytes_min, 2000); /* a bare number is bytes */
    VV_CHECK_INT(route(&l, 2)->compress.bytes_min, 8192);
    VV_CHECK_STR(route(&l, 2)->compress.types->item[0], "text/css");
    VV_CHECK_STR(route(&l, 2)->compress.encodings->item[0], "zstd");
    unload(&l);
    l = load("defaults: {compress: false}\nroutes:\n- {path: /1/, to: a}\n"
             "- {path: /2/, to: b, compress: {min: 1}}\n- {path: /3/, files: /f}\n"
             "- {path: /4/, files: /f, compress: {ahead: true}}\n");
    VV_CHECK(!route(&l, 0)->compresses && route(&l, 1)->compresses);
    VV_CHECK(!route(&l, 2)->compresses && route(&l, 3)->compresses);
    unload(&l);
}

VV_TEST(the_long_form_means_the_same)
{
    struct loaded l = load_fine(design);
    struct vv_sb one = VV_SB_INIT, two = VV_SB_INIT;
    vv_conf_show(vv_settings_doc(l.s), VV_CONF_SHOW_LONG, &one);
    struct loaded again = load_text(one.p);
    VV_CHECK_STR(again.problems, "");
    vv_conf_show(vv_settings_doc(again.s), VV_CONF_SHOW_LONG, &two);
    VV_CHECK_STR(two.p, one.p);
    VV_CHECK(route(&again, 1)->cache->memory == route(&again, 0)->cache->memory);
    unload(&again);
    unload(&l);
    vv_sb_fini(&one);
    vv_sb_fini(&two);
}

/* ---- mistakes ------------------------------------------------------------------------------ */

VV_TEST(an_unknown_name_shows_its_place_and_the_nearest)
{
    check_says("caches: {api: {ttl: 1m}}\n" USE("apu"),
               "v.yaml:4:56: error: no cache and no lifetime is named \"apu\"");
    check_says("caches: {api: {ttl: 1m}}\n" USE("apu"), "did you mean \"api\"?");
    check_says("ttls: {short: 1m}\n" USE("shord"), "did you mean \"short\"?");
    check_says("caches: {api: {like: ap}}\n" USE("api"),
               "v.yaml:3:22: error: no cache named \"ap\"");
    check_says("ttls: {s: 1m}\n" USE("{ttl: {404: t}}"), "no lifetime named \"t\"");
}

VV_TEST(chains_of_like_must_end)
{
    check_says("caches: {c: {like: d}, d: {like: c}}\n" USE("c"),
               "v.yaml:3:20: error: cache \"c\" is like itself, by way of \"d\"");
    check_says("caches: {c: {like: c}}\n" USE("c"), "is like itself");
    char text[4096] = "caches:\n  c0: {ttl: 1s}\n";
    for (int i = 1; i < 40; i++) { /* 32 steps are the limit, c34 is the first beyond it */
        char line[64];
        snprintf(line, sizeof line, "  c%d: {like: c%d}\n", i, i - 1);
        strcat(text, line);
    }
    strcat(text, USE("c39"));
    check_says(text, "over more than 32 others");
}

VV_TEST(lifetimes_are_checked)
{
    check_says(USE("300"), "v.yaml:3:56: error: a lifetime needs a unit");
    check_says(USE("{ttl: {600: 1m}}"), "v.yaml:3:63: error: \"600\" is no status");
    check_says(USE("{ttl: {1xx: 1m}}"), "\"1xx\" is no status");
    check_says(USE("{ttl: {\"2x\": 1m}}"), "write 404, 5xx, 200-299 or default");
    check_says(USE("{ttl: {299-200: 1m}}"), "\"299-200\" is no status");
    check_says(USE("{ttl: 500ms}"), "\"500ms\" is no lifetime");
    check_says(USE("{ttl: 4000d}"), "from 1s to 3650d, or 0");
    check_says("ttls: {s: soon}\n" USE("s"), "v.yaml:3:11: error: \"soon\" is no duration");
    check_says("ttls: {5m: 1m}\n" USE("1m"), "\"5m\" cannot be the name of a lifetime");
    check_says("ttls: {api: 1m}\ncaches: {api: {ttl: 1m}}\n" USE("api"),
               "\"api\" is the name of a cache too");
}

VV_TEST(a_cache_has_one_level_in_memory)
{
    check_says("caches: {c: {levels: [{memory: 1MB}, {memory: 2MB}]}}\n" USE("c"),
               "v.yaml:3:38: error: cache \"c\" has two levels in memory");
    check_says("caches: {c: {levels: []}}\n" USE("c"), "cache \"c\" has no levels");
    check_says("caches: {c: {levels: [{memory: 1KB}]}}\n" USE("c"), "must be at least 1MB");
    check_says("caches: {c: {levels: [{memory: 1MB, max_object: 2MB}]}}\n" USE("c"),
               "max_object is more than the memory");
    check_says("caches: {c: {ttl: 1m}, d: {like: c, snapshot: /s}}\n" USE("d"),
               "the memory of cache \"d\" is that of \"c\"");
}

VV_TEST(rules_of_caches_are_checked)
{
    check_says(USE("{methods: [GET, PUT]}"), "v.yaml:3:72: error: answers to PUT cannot be cached");
    check_says(USE("{methods: []}"), "no method is cached here");
    check_says(USE("{key: \"$hots\"}"), "did you mean \"$host\"?");
    check_says(USE("{key: \"\"}"), "all requests would get the same answer");
    check_says(USE("{key: \"a\\tb\"}"), "a key has no control characters");
    check_says(USE("{key: \"u-{id}\"}"), "\"{id}\" is no parameter of the path \"/y/\"");
    check_says(USE("{key: \"x:$body\"}"), "warning: $body does nothing");
    check_says(USE("{key: $path, sort_query: true}"),
               "warning: what becomes of the query does nothing with a key of its own");
    check_says(USE("{drop_query: [\"u*m\"]}"), "a \"*\" stands at the end");
    check_says(USE("{show: Cache-Status}"), "cannot be the name of that header");
    check_says(USE("{show: Content-Length}"), "cannot be the name of that header");
    check_says(USE("{targets: [\"A B\"]}"), "cannot be the name of a header");
    check_says(USE("{purge: [10.0.0.0/40]}"), "is no block of addresses");
    check_says("routes: [{path: /x/, respond: \"$body\"}]\n",
               "$body stands in the key of a cache only");
}

VV_TEST(only_routes_to_services_are_cached_and_coalesced)
{
    check_says("routes: [{respond: 204, cache: 5m}]\n",
               "v.yaml:3:32: error: only answers of services can be cached");
    check_says("routes: [{respond: 204, coalesce: {keep: 1s}}]\n",
               "only requests to services can be coalesced");
    check_says("routes: [{respond: 204, compress: {min: 1}}]\n",
               "\"compress\" needs \"to\" or \"files\"");
    check_says(USE("5m, coalesce: {keep: 1s}"), "warning: keep does nothing on a route with a");
    check_says("routes: [{to: a, coalesce: {key: \"x:$body\"}}]\n",
               "$body stands in the key of a cache only");
    check_says("routes: [{path: \"/{id}\", to: a, coalesce: {key: \"{od}\"}}]\n",
               "\"{od}\" is no parameter of the path");
}

VV_TEST(compression_is_checked)
{
    check_says("defaults: {compress: {encodings: [gzp]}}\n" B,
               "v.yaml:3:35: error: no encoding named \"gzp\"");
    check_says("defaults: {compress: {encodings: []}}\n" B, "compression needs an encoding");
    check_says("defaults: {compress: {types: [json]}}\n" B, "\"json\" is no media type");
    check_says("defaults: {compress: {types: [\"*/*\"]}}\n" B, "\"*/*\" is no media type");
    check_says("defaults: {compress: 5}\n" B, "must be a map of keys, or true or false");
    check_says("routes: [{to: a, compress: {ahead: true}}]\n", "ahead does nothing without");
}

VV_TEST(what_nothing_uses_is_a_warning)
{
    check_says("caches: {c: {ttl: 1m}}\n" B, "v.yaml:3:10: warning: no route uses cache \"c\"");
    check_says("ttls: {t: 1m}\n" B, "v.yaml:3:8: warning: no lifetime refers to \"t\"");
}

VV_TEST(two_routes_that_would_share_answers_of_two_services_are_a_warning)
{
    check_says("routes:\n- {to: a, cache: 5m, when_headers: {X-V: \"2\"}}\n- {to: b, cache: 5m}\n",
               "v.yaml:5:3: warning: route \"/\" would share answers with another route");
    struct loaded l = load_fine(
        "routes:\n- {to: a, cache: {key: \"$uri $header.X-V\"}, when_headers: {X-V: \"2\"}}\n"
        "- {to: b, cache: 5m}\n");
    unload(&l);
}

static void check_ratio(const char *text, uint64_t ppm)
{
    char conf[256];
    snprintf(conf, sizeof conf,
             "routes: [{path: /x/, to: b}, {path: /y/, to: a, compress: {max_ratio: %s}}]\n", text);
    struct loaded l = load_fine(conf);
    VV_CHECK_INT(route(&l, 1)->compress.ratio_max_ppm, ppm);
    unload(&l);
}

VV_TEST(a_ratio_is_a_share_of_one_or_a_percentage)
{
    check_ratio("0.8", 800000);
    check_ratio("80%", 800000);
    check_ratio("0", 0);
    check_ratio("1", 1000000);
    check_ratio("1.0", 1000000);
    check_ratio("0.000001", 1);
    check_says("routes: [{to: a, compress: {max_ratio: 1.5}}]\n", "a number from 0 to 1");
    check_says("routes: [{to: a, compress: {max_ratio: 80}}]\n", "write 80%");
}

VV_TEST(paths_to_forget_are_templates_of_the_route)
{
    struct loaded l = load_fine("caches: {x: {invalidates: [/all]}}\nroutes:\n"
                                "- {path: '/m/{id}', to: a, cache: {use: x, invalidates: "
                                "[/m, '/l/{id}/*']}}\n- {path: /y/, to: b, cache: x}\n");
    VV_CHECK_INT(route(&l, 0)->cache->invalidates->count, 2);
    VV_CHECK_STR(route(&l, 0)->cache->invalidates->item[1], "/l/{id}/*");
    VV_CHECK_STR(route(&l, 1)->cache->invalidates->item[0], "/all");
    unload(&l);
    check_says(B "caches: {x: {invalidates: [modules]}}\n", "\"modules\" is no path");
    check_says(B "caches: {x: {invalidates: ['/$nothing']}}\n", "$nothing");
    check_says("routes: [{path: '/m/{id}', to: a, cache: {invalidates: ['/l/{other}']}}]\n",
               "other");
}
