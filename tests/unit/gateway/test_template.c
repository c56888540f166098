/* tests/unit/gateway/test_template.c - values in texts, and values that must not get there. */
#include "gateway/template.h"

#include "vv_test.h"

static struct vv_str header(void *user, struct vv_str name)
{
    const char *const *pair = user;
    for (; pair != NULL && *pair != NULL; pair += 2) {
        if (vv_str_eq_nocase(vv_str_from(pair[0]), name)) {
            return vv_str_from(pair[1]);
        }
    }
    return (struct vv_str){NULL, 0};
}

static char memory[65536];
static struct vv_arena arena;

static struct vv_template_vars vars(const char *const *headers)
{
    static const struct vv_str names[] = {{"id", 2}};
    static struct vv_route_match match;
    vv_arena_init(&arena, memory, sizeof(memory), 4096, 4096);
    match = (struct vv_route_match){.param_count = 1, .param_name = names};
    match.param[0] = VV_STR("7%2F8");
    return (struct vv_template_vars){.host = VV_STR("example.org"),
                                     .path = VV_STR("/a/b"),
                                     .query = VV_STR("x=1&y=%20z&dots=%2E%2e&up=../etc"),
                                     .scheme = VV_STR("https"),
                                     .method = VV_STR("GET"),
                                     .client_ip = VV_STR("192.0.2.1"),
                                     .request_id = VV_STR("r-1"),
                                     .rest = VV_STR("b"),
                                     .route = VV_STR("/a/"),
                                     .caller = VV_STR("ann/x"),
                                     .plan = VV_STR("gold"),
                                     .match = &match,
                                     .header = header,
                                     .user = (void *)headers};
}

static enum vv_err render(const char *text, const struct vv_template_vars *v,
                          enum vv_template_mode mode, struct vv_str *ret)
{
    struct vv_template *t = NULL;
    struct vv_template_error error;
    VV_CHECK_INT(vv_template_new(text, &t, &error), VV_OK);
    enum vv_err err = vv_template_render(t, v, &arena, mode, ret);
    if (err == VV_OK) {
        *ret = vv_arena_str(&arena, *ret); /* may stand in the template */
    }
    vv_template_free(t);
    return err;
}

VV_TEST(variables_are_filled_in)
{
    static const char *const headers[] = {"X-User", "u1", "Cookie", "a=1; sid=s%42; b", NULL};
    static const struct {
        const char *text, *want;
    } row[] = {
        {"", ""},
        {"plain", "plain"},
        {"$scheme://$host$uri", "https://example.org/a/b?x=1&y=%20z&dots=%2E%2e&up=../etc"},
        {"$method $path?$query", "GET /a/b?x=1&y=%20z&dots=%2E%2e&up=../etc"},
        {"$client_ip/$request_id", "192.0.2.1/r-1"},
        {"/v2/$rest", "/v2/b"},
        {"$route", "/a/"},
        {"$user of $plan", "ann/x of gold"},
        {"/ideas/{id}.json", "/ideas/7%2F8.json"},
        {"{other}|", "|"},
        {"$header.x-user,$header.none.", "u1,."},
        {"$cookie.sid $cookie.a$cookie.b$cookie.c", "s%42 1"},
        {"$query.y $query.x$query.z", "%20z 1"},
        {"$host.example", "example.org.example"},
        {"$$5 $$$$", "$5 $$"},
        {"{\"a\": {\"b\": 1}, \"id\": \"{id}\"}", "{\"a\": {\"b\": 1}, \"id\": \"7%2F8\"}"},
        {"{} {1} { id} {id", "{} {1} { id} {id"},
    };
    for (size_t i = 0; i < VV_COUNT(row); i++) {
        struct vv_str got = {NULL, 0};
        const struct vv_template_vars v = vars(headers);
        VV_CHECK_INT(render(row[i].text, &v, VV_TEMPLATE_TEXT, &got), VV_OK);
        VV_CHECK_SLICE(got, row[i].want);
    }
}

VV_TEST(a_uri_without_a_query_has_no_question_mark)
{
    struct vv_template_vars v = vars(NULL);
    struct vv_str got;
    v.query = (struct vv_str){NULL, 0};
    VV_CHECK_INT(render("https://$host$uri", &v, VV_TEMPLATE_URI, &got), VV_OK);
    VV_CHECK_SLICE(got, "https://example.org/a/b");
    v.query = (struct vv_str){"", 0};
    VV_CHECK_INT(render("$uri", &v, VV_TEMPLATE_URI, &got), VV_OK);
    VV_CHECK_SLICE(got, "/a/b?");
}

VV_TEST(mistakes_have_a_place_and_a_reason)
{
    static const struct {
        const char *text;
        size_t at;
        const char *reason;
    } row[] = {
        {"cost: $5", 6, "write $$"},      {"$", 0, "write $$"},
        {"ab$hots", 2, "$host"},          {"$header", 0, "$header.NAME"},
        {"x$cookie.", 1, "$cookie.NAME"}, {"${HOME}", 0, "write $$"},
    };
    for (size_t i = 0; i < VV_COUNT(row); i++) {
        struct vv_template *t = NULL;
        struct vv_template_error error = {99, ""};
        VV_CHECK_INT(vv_template_new(row[i].text, &t, &error), VV_ESYNTAX);
        VV_CHECK(t == NULL);
        VV_CHECK_INT(error.at, row[i].at);
        VV_CHECK(strstr(error.text, row[i].reason) != NULL);
    }
}

VV_TEST(line_breaks_never_get_into_a_header_or_a_uri)
{
    struct vv_template_vars v = vars(NULL);
    struct vv_str got;
    v.path = VV_STR("/a\r\nSet-Cookie: x=1");
    VV_CHECK_INT(render("$path", &v, VV_TEMPLATE_FIELD, &got), VV_EINVAL);
    VV_CHECK_INT(render("$path", &v, VV_TEMPLATE_TEXT, &got), VV_EINVAL);
    VV_CHECK_INT(render("$path", &v, VV_TEMPLATE_URI, &got), VV_OK);
    VV_CHECK_SLICE(got, "/a%0D%0ASet-Cookie:%20x=1");
    v.path = (struct vv_str){"/\0", 2};
    VV_CHECK_INT(render("$path", &v, VV_TEMPLATE_FIELD, &got), VV_EINVAL);
    VV_CHECK_INT(render("$path", &v, VV_TEMPLATE_TEXT, &got), VV_EINVAL);
    VV_CHECK_INT(render("$uri", &v, VV_TEMPLATE_URI, &got), VV_OK);
    VV_CHECK(vv_str_starts(got, VV_STR("/%00?")));
    /* nor from the file itself */
    VV_CHECK_INT(render("one\ntwo", &v, VV_TEMPLATE_FIELD, &got), VV_EINVAL);
    VV_CHECK_INT(render("one\ntwo", &v, VV_TEMPLATE_URI, &got), VV_EINVAL);
    VV_CHECK_INT(render("one\ntwo", &v, VV_TEMPLATE_TEXT, &got), VV_OK);
    VV_CHECK_INT(render("a\tb", &v, VV_TEMPLATE_FIELD, &got), VV_OK);
}

VV_TEST(the_name_of_a_caller_stays_one_segment_of_a_uri)
{
    const struct vv_template_vars v = vars(NULL); /* a token may say "ann/x" */
    struct vv_str out;
    VV_CHECK_INT(render("/u/$user", &v, VV_TEMPLATE_URI, &out), VV_OK);
    VV_CHECK_SLICE(out, "/u/ann%2Fx");
}

VV_TEST(a_value_from_a_header_stays_one_segment_of_a_uri)
{
    static const char *const headers[] = {"a", "x/y?z#1&%2e \"\x80", "dots", "..", NULL};
    const struct vv_template_vars v = vars(headers);
    struct vv_str got;
    VV_CHECK_INT(render("/u/$header.a", &v, VV_TEMPLATE_URI, &got), VV_OK);
    VV_CHECK_SLICE(got, "/u/x%2Fy%3Fz%231%26%252e%20%22%80");
    VV_CHECK_INT(render("/u/$header.dots", &v, VV_TEMPLATE_URI, &got), VV_EINVAL);
    VV_CHECK_INT(render("/u/$query.dots", &v, VV_TEMPLATE_URI, &got), VV_EINVAL);
    VV_CHECK_INT(render("/u/$query.up", &v, VV_TEMPLATE_URI, &got), VV_OK);
    VV_CHECK_SLICE(got, "/u/..%2Fetc");
    VV_CHECK_INT(render("/u/$query.y", &v, VV_TEMPLATE_URI, &got), VV_OK);
    VV_CHECK_SLICE(got, "/u/%20z");
}

VV_TEST(a_client_cannot_make_a_redirect_leave_the_host)
{
    struct vv_template_vars v = vars(NULL);
    struct vv_str got;
    v.path = VV_STR("//evil.example/x");
    v.rest = VV_STR("/evil.example");
    v.query = (struct vv_str){NULL, 0};
    VV_CHECK_INT(render("$uri", &v, VV_TEMPLATE_URI, &got), VV_OK);
    VV_CHECK_SLICE(got, "/evil.example/x");
    VV_CHECK_INT(render("/$rest", &v, VV_TEMPLATE_URI, &got), VV_OK);
    VV_CHECK_SLICE(got, "/evil.example");
    VV_CHECK_INT(render("//$host/", &v, VV_TEMPLATE_URI, &got), VV_OK);
    VV_CHECK_SLICE(got, "//example.org/"); /* the file may */
    v.path = VV_STR("/\\evil.example");
    VV_CHECK_INT(render("$path", &v, VV_TEMPLATE_URI, &got), VV_OK);
    VV_CHECK_SLICE(got, "/%5Cevil.example");
}

VV_TEST(a_template_tells_its_parameters_and_whether_it_is_constant)
{
    struct vv_template *t = NULL;
    struct vv_template_error error;
    VV_CHECK_INT(vv_template_new("/{a}/$host/{b}", &t, &error), VV_OK);
    VV_CHECK_SLICE(vv_template_param(t, 0), "a");
    VV_CHECK_SLICE(vv_template_param(t, 1), "b");
    VV_CHECK(vv_template_param(t, 2).p == NULL);
    VV_CHECK(!vv_template_is_constant(t));
    vv_template_free(t);
    VV_CHECK_INT(vv_template_new("a$$b", &t, &error), VV_OK);
    VV_CHECK(vv_template_is_constant(t));
    vv_template_free(t);
}

VV_TEST(values_in_a_key_never_run_into_each_other)
{
    static const char *const ab[] = {"A", "x", "B", "yz", NULL};
    static const char *const other[] = {"A", "xy", "B", "z", NULL};
    static const char *const empty[] = {"A", "", "B", "xyz", NULL};
    static const char *const absent[] = {"B", "xyz", NULL};
    static const char *const control[] = {"A", "x\x1f\x1fy", "B", "z", NULL};
    const char *const *const all[] = {ab, other, empty, absent};
    struct vv_str got[VV_COUNT(all)];
    struct vv_template_vars v = vars(NULL);
    for (size_t i = 0; i < VV_COUNT(all); i++) {
        v.user = (void *)(uintptr_t)all[i];
        VV_CHECK_INT(render("$header.A$header.B", &v, VV_TEMPLATE_KEY, &got[i]), VV_OK);
        for (size_t k = 0; k < i; k++) {
            VV_CHECK(!vv_str_eq(got[i], got[k]));
        }
    }
    v.user = (void *)(uintptr_t)control;
    VV_CHECK_INT(render("$header.A$header.B", &v, VV_TEMPLATE_KEY, &got[0]), VV_EINVAL);
}

VV_TEST(head_shares_the_key_of_get_and_a_body_is_the_callers)
{
    struct vv_template_vars v = vars(NULL);
    struct vv_template *t = NULL;
    struct vv_template_error error;
    struct vv_str get, head;
    v.method = VV_STR("GET");
    VV_CHECK_INT(render("$method $uri:$body", &v, VV_TEMPLATE_KEY, &get), VV_OK);
    v.method = VV_STR("HEAD");
    VV_CHECK_INT(render("$method $uri:$body", &v, VV_TEMPLATE_KEY, &head), VV_OK);
    VV_CHECK(vv_str_eq(get, head));
    VV_CHECK(head.p[head.n - 1] == ':');
    VV_CHECK_INT(render("$method", &v, VV_TEMPLATE_TEXT, &head), VV_OK);
    VV_CHECK(vv_str_eq(head, VV_STR("HEAD"))); /* only a key joins them */
    VV_CHECK_INT(vv_template_new("$body $header.X-A", &t, &error), VV_OK);
    VV_CHECK(vv_template_has_body(t) && !vv_template_is_constant(t));
    VV_CHECK(vv_template_names_header(t, VV_STR("x-a")));
    VV_CHECK(!vv_template_names_header(t, VV_STR("x-b")));
    vv_template_free(t);
}

VV_TEST(a_full_arena_fails_the_rendering)
{
    static char small[64];
    const struct vv_template_vars v = vars(NULL);
    struct vv_template *t = NULL;
    struct vv_template_error error;
    struct vv_arena tiny;
    struct vv_str got;
    vv_arena_init(&tiny, small, sizeof(small), 64, 64);
    VV_CHECK_INT(vv_template_new("$uri$uri$uri$uri$uri", &t, &error), VV_OK);
    VV_CHECK_INT(vv_template_render(t, &v, &tiny, VV_TEMPLATE_TEXT, &got), VV_ENOMEM);
    vv_template_free(t);
    vv_arena_fini(&tiny);
}

static struct vv_str tls(void *user, enum vv_template_tls what)
{
    (void)user;
    return what == VV_TEMPLATE_TLS_VERSION       ? VV_STR("TLSv1.3")
           : what == VV_TEMPLATE_TLS_CLIENT_NAME ? VV_STR("a/b")
                                                 : (struct vv_str){NULL, 0};
}

VV_TEST(tls_is_told_by_name_and_empty_without_it)
{
    struct vv_template_vars v = vars(NULL);
    struct vv_template_error error;
    struct vv_template *t = NULL;
    struct vv_str got;
    VV_CHECK_INT(render("$tls.version $tls.client_name.", &v, VV_TEMPLATE_FIELD, &got), VV_OK);
    VV_CHECK_SLICE(got, " .");
    v.tls = tls;
    VV_CHECK_INT(render("$tls.version $tls.client_name.", &v, VV_TEMPLATE_FIELD, &got), VV_OK);
    VV_CHECK_SLICE(got, "TLSv1.3 a/b.");
    VV_CHECK_INT(render("/$tls.client_name", &v, VV_TEMPLATE_URI, &got), VV_OK);
    VV_CHECK_SLICE(got, "/a%2Fb"); /* a client chose it: one segment */
    VV_CHECK_INT(vv_template_new("$tls", &t, &error), VV_ESYNTAX);
    VV_CHECK_INT(vv_template_new("x$tls.colour", &t, &error), VV_ESYNTAX);
    VV_CHECK_INT(error.at, 1);
    assert_non_null(strstr(error.text, "client_name"));
}
