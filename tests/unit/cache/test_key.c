/* tests/unit/cache/test_key.c - primary keys: what is one resource, what is not. */
#include "cache/key.h"
#include "vv_test.h"

static char key[256];

static struct vv_str built(const char *authority, const char *query,
                           const struct vv_key_rules *rules)
{
    const struct vv_key_parts parts = {.method = VV_METHOD_GET,
                                       .scheme = VV_STR("https"),
                                       .authority = vv_str_from(authority),
                                       .path = VV_STR("/p"),
                                       .query = vv_str_from(query)};
    size_t n = 0;
    assert_int_equal(vv_key_build(&parts, rules, key, sizeof key, &n), VV_OK);
    return (struct vv_str){key, n};
}

VV_TEST(key_is_the_target_uri)
{
    static const struct vv_key_rules plain = {.drop_count = 0};
    VV_CHECK_SLICE(built("H.Example", NULL, &plain), "https://h.example/p");
    VV_CHECK_SLICE(built("h:443", "", &plain), "https://h/p?");
    VV_CHECK_SLICE(built("h:80", "b&a=1", &plain), "https://h:80/p?b&a=1");
    VV_CHECK_SLICE(built("[::1]:443", NULL, &plain), "https://[::1]/p");
}

VV_TEST(key_sorts_and_drops_parameters)
{
    static const struct vv_str drop[] = {{"utm_*", 5}, {"gclid", 5}};
    static const struct vv_key_rules rules = {
        .sort_query = true, .drop = drop, .drop_count = VV_COUNT(drop)};
    static const struct vv_key_rules none = {.ignore_query = true};
    VV_CHECK_SLICE(built("h", "b=2&utm_x=1&a=3&a=1&gclid=7&gclidx=1", &rules),
                   "https://h/p?a=3&a=1&b=2&gclidx=1");
    VV_CHECK_SLICE(built("h", "utm_x=1", &rules), "https://h/p");
    VV_CHECK_SLICE(built("h", "a=1", &none), "https://h/p");
}

VV_TEST(key_of_a_post_holds_method_and_body)
{
    static const struct vv_key_rules plain = {.drop_count = 0};
    const struct vv_key_parts parts = {.method = VV_METHOD_POST,
                                       .method_text = VV_STR("POST"),
                                       .scheme = VV_STR("http"),
                                       .authority = VV_STR("h"),
                                       .path = VV_STR("/"),
                                       .body = VV_STR("{}")};
    size_t n = 0;
    VV_CHECK_INT(vv_key_build(&parts, &plain, key, sizeof key, &n), VV_OK);
    VV_CHECK_INT(n, 17); /* "POST http://h/" is 14, a zero byte, "{}" */
    assert_memory_equal(key, "POST http://h/\0{}", 17);
    VV_CHECK_INT(vv_key_build(&parts, &plain, key, 16, &n), VV_ERANGE);
}
