/* tests/unit/gateway/test_routes.c - which route takes a request, and why. */
#include "gateway/routes.h"

#include "base/rng.h"
#include "gateway/route_pattern.h"
#include "gateway/routes_int.h"
#include "vv_test.h"
#include <stdio.h>

#define ROUTES_MAX 64

struct table { /* settings made by hand */
    struct vv_route_settings route[ROUTES_MAX];
    void *item[ROUTES_MAX];
    struct vv_conf_list list;
    struct vv_settings settings;
    struct vv_routes *routes;
    struct vv_route_match match;
};

static struct vv_route_settings *add(struct table *t, const char *path)
{
    struct vv_route_settings *r = &t->route[t->list.count];
    memset(r, 0, sizeof(*r));
    r->path = path;
    t->item[t->list.count++] = r;
    return r;
}

static void compile(struct table *t)
{
    char text[VV_ROUTE_TEXT] = "";
    t->list.item = t->item;
    t->settings.routes = &t->list;
    VV_CHECK_INT(vv_routes_new(&t->settings, &t->routes, text), VV_OK);
}

static struct vv_route_query query(const char *method, const char *host, const char *path)
{
    return (struct vv_route_query){
        .host = vv_str_from(host), .path = vv_str_from(path), .method = vv_str_from(method)};
}

/* Index of the route; -1: none; -2: method. */
static int ask(struct table *t, const struct vv_route_query *q)
{
    switch (vv_routes_match(t->routes, q, &t->match)) {
    case VV_ROUTE_FOUND:
        return (int)t->match.index;
    case VV_ROUTE_METHOD:
        return -2;
    case VV_ROUTE_NONE:
        break;
    }
    return -1;
}

static int get(struct table *t, const char *path)
{
    const struct vv_route_query q = query("GET", "example.org", path);
    return ask(t, &q);
}

static struct vv_str param(const struct table *t, const char *name)
{
    return vv_route_param(&t->match, vv_str_from(name));
}

#define LIST(name, ...)                                                                            \
    void *name##_items[] = {__VA_ARGS__};                                                          \
    struct vv_conf_list name = {.count = VV_COUNT(name##_items), .item = name##_items}

VV_TEST(a_pattern_that_ends_with_a_slash_is_a_prefix)
{
    struct table t = {0};
    add(&t, "/api/");
    compile(&t);
    VV_CHECK_INT(get(&t, "/api/"), 0);
    VV_CHECK_SLICE(t.match.rest, "");
    VV_CHECK_INT(get(&t, "/api/users/7"), 0);
    VV_CHECK_SLICE(t.match.rest, "users/7");
    VV_CHECK_INT(get(&t, "/api//"), 0);
    VV_CHECK_SLICE(t.match.rest, "/");
    VV_CHECK_INT(get(&t, "/api"), -1);
    VV_CHECK_INT(get(&t, "/apis/"), -1);
    VV_CHECK_INT(get(&t, "/"), -1);
    vv_routes_free(t.routes);
}

VV_TEST(other_patterns_are_exact)
{
    struct table t = {0};
    add(&t, "/health");
    compile(&t);
    VV_CHECK_INT(get(&t, "/health"), 0);
    VV_CHECK_SLICE(t.match.rest, "");
    VV_CHECK_INT(get(&t, "/health/"), -1);
    VV_CHECK_INT(get(&t, "/Health"), -1);
    VV_CHECK_INT(get(&t, "/health/x"), -1);
    VV_CHECK_INT(get(&t, "/healt"), -1);
    vv_routes_free(t.routes);
}

VV_TEST(a_slash_is_the_prefix_of_everything_and_also_the_default)
{
    struct table t = {0};
    add(&t, NULL);
    compile(&t);
    VV_CHECK_INT(get(&t, "/"), 0);
    VV_CHECK_INT(get(&t, "/any/thing"), 0);
    VV_CHECK_SLICE(t.match.rest, "any/thing");
    vv_routes_free(t.routes);
}

VV_TEST(parameters_take_one_segment_that_is_not_empty)
{
    struct table t = {0};
    add(&t, "/users/{id}/posts/{post}");
    add(&t, "/files/{id}/");
    compile(&t);
    VV_CHECK_INT(get(&t, "/users/7/posts/a%20b"), 0);
    VV_CHECK_SLICE(param(&t, "id"), "7");
    VV_CHECK_SLICE(param(&t, "post"), "a%20b");
    VV_CHECK(param(&t, "none").p == NULL);
    VV_CHECK_INT(get(&t, "/users//posts/1"), -1);
    VV_CHECK_INT(get(&t, "/users/7/posts/1/2"), -1);
    VV_CHECK_INT(get(&t, "/files/9/a/b"), 1);
    VV_CHECK_SLICE(param(&t, "id"), "9");
    VV_CHECK_SLICE(t.match.rest, "a/b");
    VV_CHECK_INT(get(&t, "/files/9"), -1);
    vv_routes_free(t.routes);
}

VV_TEST(a_parameter_with_dots_takes_the_rest)
{
    struct table t = {0};
    add(&t, "/docs/{lang}/{page...}");
    compile(&t);
    VV_CHECK_INT(get(&t, "/docs/fr/a/b.html"), 0);
    VV_CHECK_SLICE(param(&t, "lang"), "fr");
    VV_CHECK_SLICE(param(&t, "page"), "a/b.html");
    VV_CHECK_SLICE(t.match.rest, "a/b.html");
    VV_CHECK_INT(get(&t, "/docs/fr/"), 0);
    VV_CHECK_SLICE(param(&t, "page"), "");
    VV_CHECK_INT(get(&t, "/docs/fr"), -1);
    vv_routes_free(t.routes);
}

VV_TEST(the_first_route_in_the_file_wins)
{
    struct table t = {0};
    add(&t, "/a/{x}");
    add(&t, "/a/b");
    add(&t, "/c/d");
    add(&t, "/c/");
    add(&t, "/");
    add(&t, "/c/e");
    compile(&t);
    VV_CHECK_INT(get(&t, "/a/b"), 0); /* the parameter stands first */
    VV_CHECK_INT(get(&t, "/c/d"), 2);
    VV_CHECK_INT(get(&t, "/c/e"), 3); /* and the prefix, here */
    VV_CHECK_INT(get(&t, "/e"), 4);
    vv_routes_free(t.routes);
}

VV_TEST(the_static_files_of_the_seed_are_a_glob_that_ignores_case)
{
    struct table t = {0};
    add(&t, "*.{jpg,jpeg,png,gif,ico,css,js,woff,woff2}");
    add(&t, "/api/");
    compile(&t);
    static const struct {
        const char *path;
        int want;
    } row[] = {
        {"/a.jpg", 0},       {"/a.JPEG", 0},   {"/x/y/a.Png", 0},  {"/.gif", 0},
        {"/favicon.ico", 0}, {"/s.css", 0},    {"/api/app.js", 0}, {"/f.woff", 0},
        {"/f.woff2", 0},     {"/f.woff3", -1}, {"/a.jpg/", -1},    {"/ajpg", -1},
        {"/api/x.json", 1},  {"/a.jp", -1},    {"/a.css.map", -1},
    };
    for (size_t i = 0; i < VV_COUNT(row); i++) {
        VV_CHECK_INT(get(&t, row[i].path), row[i].want);
    }
    vv_routes_free(t.routes);
}

VV_TEST(globs_may_have_several_stars_and_choices)
{
    struct table t = {0};
    add(&t, "/img/*/{small,large}-*.webp");
    add(&t, "/old*");
    compile(&t);
    VV_CHECK_INT(get(&t, "/img/a/small-1.webp"), 0);
    VV_CHECK_INT(get(&t, "/img/a/b/large-x-y.WEBP"), 0);
    VV_CHECK_INT(get(&t, "/img/a/medium-1.webp"), -1);
    VV_CHECK_INT(get(&t, "/img/a/small-1.webp2"), -1);
    VV_CHECK_INT(get(&t, "/old"), 1);
    VV_CHECK_INT(get(&t, "/older/x"), 1);
    VV_CHECK_INT(get(&t, "/ol"), -1);
    vv_routes_free(t.routes);
}

VV_TEST(a_glob_and_a_trie_route_keep_the_order_of_the_file)
{
    struct table t = {0};
    add(&t, "/keep/");
    add(&t, "*.png");
    add(&t, "/");
    compile(&t);
    VV_CHECK_INT(get(&t, "/keep/a.png"), 0);
    VV_CHECK_INT(get(&t, "/a.png"), 1);
    VV_CHECK_INT(get(&t, "/a.jpg"), 2);
    vv_routes_free(t.routes);
}

VV_TEST(hosts_are_exact_or_suffixes)
{
    struct table t = {0};
    LIST(exact, "Shop.Example.org");
    LIST(below, "*.example.org");
    LIST(all, "*");
    add(&t, "/")->hosts = &exact;
    add(&t, "/")->hosts = &below;
    add(&t, "*.png")->hosts = &exact;
    add(&t, "/all/")->hosts = &all;
    compile(&t);
    static const struct {
        const char *host, *path;
        int want;
    } row[] = {
        {"shop.example.org", "/", 0},
        {"www.example.org", "/", 1},
        {"a.b.example.org", "/all/", 1},
        {"example.org", "/", -1},
        {"badexample.org", "/", -1},
        {"example.org.evil.net", "/", -1},
        {"other.net", "/all/x", 3},
        {"", "/all/x", 3},
        {"", "/", -1},
        {"other.net", "/a.png", -1},
    };
    for (size_t i = 0; i < VV_COUNT(row); i++) {
        const struct vv_route_query q = query("GET", row[i].host, row[i].path);
        VV_CHECK_INT(ask(&t, &q), row[i].want);
    }
    vv_routes_free(t.routes);
}

VV_TEST(a_method_that_fits_nowhere_says_what_is_allowed)
{
    struct table t = {0};
    LIST(reading, "GET");
    LIST(writing, "PUT", "POST", "PUT");
    add(&t, "/item/{id}")->methods = &reading;
    add(&t, "/item/")->methods = &writing;
    add(&t, "/any");
    compile(&t);
    struct vv_route_query q = query("DELETE", "x", "/item/7");
    struct vv_arena arena;
    vv_arena_init(&arena, NULL, 0, 1024, 65536);
    VV_CHECK_INT(ask(&t, &q), -2);
    const struct vv_str allow = vv_routes_allow(t.routes, &t.match, &arena);
    VV_CHECK(allow.n == 20); /* "GET, HEAD" and "PUT, POST", in some order */
    VV_CHECK(memmem(allow.p, allow.n, "GET, HEAD", 9) != NULL);
    VV_CHECK(memmem(allow.p, allow.n, "PUT, POST", 9) != NULL);
    q.method = VV_STR("HEAD"); /* GET lets HEAD in */
    VV_CHECK_INT(ask(&t, &q), 0);
    q.method = VV_STR("POST");
    VV_CHECK_INT(ask(&t, &q), 1);
    q.method = VV_STR("get"); /* methods are case-sensitive, RFC 9110 9.1 */
    VV_CHECK_INT(ask(&t, &q), -2);
    q.path = VV_STR("/nowhere");
    VV_CHECK_INT(ask(&t, &q), -1);
    q.path = VV_STR("/any");
    VV_CHECK_INT(ask(&t, &q), 2);
    vv_arena_fini(&arena);
    vv_routes_free(t.routes);
}

VV_TEST(header_and_query_conditions_must_all_hold)
{
    struct table t = {0};
    struct vv_header_match version = {"X-API-Version", "1.0"};
    struct vv_header_match key = {"X-Key", "*"};
    struct vv_header_match debug = {"debug", "a b"};
    struct vv_header_match trace = {"trace", NULL};
    LIST(headers, &version, &key);
    LIST(parameters, &debug, &trace);
    add(&t, "/")->match_headers = &headers;
    add(&t, "/")->match_query = &parameters;
    add(&t, "/");
    compile(&t);
    static struct vv_h1_head head;
    head.fields[0] = (struct vv_h1_field){.name = VV_STR("x-api-version"), .value = VV_STR("1.0")};
    head.fields[1] = (struct vv_h1_field){.name = VV_STR("X-KEY"), .value = VV_STR("whatever")};
    head.fields_count = 2;
    struct vv_route_query q = query("GET", "x", "/");
    VV_CHECK_INT(ask(&t, &q), 2); /* no head at all */
    q.head = &head;
    VV_CHECK_INT(ask(&t, &q), 0);
    head.fields_count = 1; /* the key is missing */
    VV_CHECK_INT(ask(&t, &q), 2);
    q.query = VV_STR("trace&debug=a%20b");
    VV_CHECK_INT(ask(&t, &q), 1);
    q.query = VV_STR("trace=1&debug=ab");
    VV_CHECK_INT(ask(&t, &q), 2);
    q.query = VV_STR("debug=a%20b");
    VV_CHECK_INT(ask(&t, &q), 2);
    vv_routes_free(t.routes);
}

VV_TEST(a_route_may_be_for_some_listeners_only)
{
    struct table t = {0};
    struct vv_listen_settings web = {.name = "web"};
    struct vv_listen_settings tech = {.name = "tech"};
    LIST(listeners, &web, &tech);
    LIST(only, "tech");
    t.settings.listen = &listeners;
    add(&t, "/")->listen = &only;
    add(&t, "/");
    compile(&t);
    struct vv_route_query q = query("GET", "x", "/");
    VV_CHECK_INT(ask(&t, &q), 1);
    q.listener = 1;
    VV_CHECK_INT(ask(&t, &q), 0);
    q.listener = VV_ROUTE_ANY_LISTENER;
    VV_CHECK_INT(ask(&t, &q), 0);
    vv_routes_free(t.routes);
}

VV_TEST(patterns_are_compared_as_requests_are_normalised)
{
    struct table t = {0};
    add(&t, "/caf\xc3\xa9/a b");
    add(&t, "/x/../%79");
    compile(&t);
    VV_CHECK_INT(get(&t, "/caf%C3%A9/a%20b"), 0);
    VV_CHECK_INT(get(&t, "/y"), 1);
    vv_routes_free(t.routes);
}

VV_TEST(malformed_patterns_are_refused_with_a_reason)
{
    static const struct {
        const char *pattern, *reason;
    } row[] = {
        {"", "begins with a slash"},
        {"api/", "write \"/api/\""},
        {"/a{id}", "whole segment"},
        {"/{id", "whole segment"},
        {"/id}", "whole segment"},
        {"/{}", "name is letters"},
        {"/{1a}", "name is letters"},
        {"/{a}/{a}", "two parameters are called {a}"},
        {"/{rest...}/x", "stands at the end"},
        {"/a?b=1", "when_query"},
        {"/a%zz", "escape"},
        {"/../a", "above the root"},
        {"png*", "begins with a slash"},
        {"*.{png,{a,b}}", "inside braces"},
        {"*.{png,gif", "never closed"},
        {"*.png}", "no opening"},
        {"/{id}/*", "no {parameters}"},
        {"*{a,b,c,d,e,f,g}{a,b,c,d,e,f,g}{a,b,c,d,e,f,g}", "more than 256"}, /* 343 */
        {"/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}/{j}/{k}/{l}/{m}/{n}/{o}/{p}/{q}", "more than 16"},
    };
    for (size_t i = 0; i < VV_COUNT(row); i++) {
        char text[VV_ROUTE_TEXT] = "";
        VV_CHECK_INT(vv_route_pattern_check(row[i].pattern, text), VV_ESYNTAX);
        VV_CHECK(strstr(text, row[i].reason) != NULL);
    }
    char text[VV_ROUTE_TEXT] = "";
    VV_CHECK_INT(vv_route_pattern_check("/users/{id}/", text), VV_OK);
    VV_CHECK(vv_route_pattern_has("/users/{id}/", VV_STR("id")));
    VV_CHECK(!vv_route_pattern_has("/users/{id}/", VV_STR("users")));
    struct table t = {0};
    add(&t, "/fine");
    add(&t, "bad");
    t.list.item = t.item;
    t.settings.routes = &t.list;
    VV_CHECK_INT(vv_routes_new(&t.settings, &t.routes, text), VV_ESYNTAX);
    VV_CHECK(t.routes == NULL);
}

VV_TEST(explain_names_every_route_up_to_the_one_that_wins)
{
    struct table t = {0};
    LIST(host, "other.net");
    LIST(post, "POST");
    add(&t, "/b")->name = "b";
    add(&t, "/a")->hosts = &host;
    add(&t, "/a")->methods = &post;
    add(&t, "/");
    add(&t, "/never");
    compile(&t);
    struct vv_sb out = VV_SB_INIT;
    struct vv_json j;
    const struct vv_route_query q = query("GET", "example.org", "/a");
    vv_json_init(&j, &out);
    vv_routes_explain(t.routes, &q, &j);
    vv_sb_addc(&out, '\0');
    const char *want[] = {"\"path\"",   "\"host\"",      "only for other.net",
                          "\"method\"", "only for POST", "\"matched\""};
    const char *at = out.p;
    for (size_t i = 0; i < VV_COUNT(want); i++) {
        at = strstr(at, want[i]);
        VV_CHECK(at != NULL);
    }
    VV_CHECK(strstr(out.p, "never") == NULL);
    vv_sb_fini(&out);
    vv_routes_free(t.routes);
}

/* A path of up to five segments from a small alphabet, so that much of it meets. */
static void make_path(struct vv_rng *rng, char *out, bool pattern)
{
    static const char *const text[] = {"a", "b", "c", ""};
    size_t n = 0;
    const uint64_t segments = vv_rng_below(rng, 5);
    for (uint64_t i = 0; i < segments; i++) {
        out[n++] = '/';
        if (pattern && vv_rng_below(rng, 4) == 0) {
            n += (size_t)sprintf(out + n, "{p%d}", (int)i);
        } else {
            const char *c = text[vv_rng_below(rng, pattern ? 3 : 4)];
            memcpy(out + n, c, strlen(c));
            n += strlen(c);
        }
    }
    if (n == 0 || vv_rng_below(rng, 3) == 0) {
        out[n++] = '/';
        if (pattern && vv_rng_below(rng, 3) == 0) {
            n += (size_t)sprintf(out + n, "{rest...}");
        }
    }
    out[n] = '\0';
}

/* The plain truth: every route in order, asked directly. */
static int ask_each(const struct table *t, const struct vv_route_query *q, struct vv_route_match *m)
{
    bool method = false;
    for (uint32_t i = 0; i < t->list.count; i++) {
        const struct vv_compiled_route *c = &t->routes->route[i];
        if (!vv_pattern_fits(&c->pattern, q->path, m) || !vv_route_host_fits(c, q->host)) {
            continue;
        }
        const enum vv_route_verdict verdict = vv_route_judge(c, q);
        if (verdict == VV_ROUTE_FITS) {
            return (int)i;
        }
        method |= verdict == VV_ROUTE_METHOD_DIFFERS;
    }
    return method ? -2 : -1;
}

VV_TEST(the_trie_answers_like_asking_every_route_in_order)
{
    static const char *const hosts[] = {"x.org", "a.x.org", "b.a.x.org", "y.net", ""};
    static const char *const methods[] = {"GET", "POST", "HEAD"};
    static char path[ROUTES_MAX][128];
    LIST(host_x, "x.org", "*.a.x.org");
    LIST(host_any, "*.x.org", "y.net");
    LIST(gets, "GET");
    struct vv_conf_list *const host_choice[] = {NULL, NULL, &host_x, &host_any};
    struct vv_rng rng;
    vv_rng_init(&rng, 20260721);
    int found = 0;
    for (int round = 0; round < 100; round++) {
        struct table t = {0};
        for (int i = 0; i < 30; i++) {
            make_path(&rng, path[i], true);
            struct vv_route_settings *r =
                add(&t, vv_rng_below(&rng, 12) == 0 ? "/*{/b,c}" : path[i]);
            r->hosts = host_choice[vv_rng_below(&rng, 4)];
            r->methods = vv_rng_below(&rng, 3) == 0 ? &gets : NULL;
        }
        compile(&t);
        for (int i = 0; i < 200; i++) {
            char asked[128];
            struct vv_route_match want;
            make_path(&rng, asked, false);
            const struct vv_route_query q =
                query(methods[vv_rng_below(&rng, 3)], hosts[vv_rng_below(&rng, 5)], asked);
            const int one = ask(&t, &q);
            const int two = ask_each(&t, &q, &want);
            VV_CHECK_INT(one, two);
            if (one >= 0) {
                found++;
                VV_CHECK_INT(t.match.param_count, want.param_count);
                VV_CHECK(vv_str_eq(t.match.rest, want.rest));
                for (uint32_t k = 0; k < want.param_count; k++) {
                    VV_CHECK(vv_str_eq(t.match.param[k], want.param[k]));
                }
            }
        }
        vv_routes_free(t.routes);
    }
    VV_CHECK(found > 5000); /* of 20,000: the test does meet routes */
}
