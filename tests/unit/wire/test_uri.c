/* tests/unit/wire/test_uri.c - parts of a reference, authorities, normal paths, query parameters. */
#include "vv_test.h"
#include "wire/ip_text.h"
#include "wire/uri.h"

static struct vv_uri u;

VV_TEST(reference_is_taken_apart)
{
    VV_CHECK_INT(vv_uri_parse(VV_STR("http://joe@shop.example:8080/a/b?c=d#e"), &u), VV_OK);
    VV_CHECK_SLICE(u.scheme, "http");
    VV_CHECK_SLICE(u.userinfo, "joe");
    VV_CHECK_SLICE(u.host, "shop.example");
    VV_CHECK(u.has_port);
    VV_CHECK_INT(u.port, 8080);
    VV_CHECK_SLICE(u.path, "/a/b");
    VV_CHECK_SLICE(u.query, "c=d");
    VV_CHECK_SLICE(u.fragment, "e");
}

VV_TEST(absent_parts_are_null_and_empty_ones_are_not)
{
    VV_CHECK_INT(vv_uri_parse(VV_STR("/a"), &u), VV_OK);
    VV_CHECK(u.scheme.p == NULL && u.host.p == NULL && u.query.p == NULL && u.fragment.p == NULL);
    VV_CHECK_INT(vv_uri_parse(VV_STR("http://h?#"), &u), VV_OK);
    VV_CHECK(u.query.p != NULL && u.query.n == 0 && u.fragment.p != NULL && u.fragment.n == 0);
    VV_CHECK(!u.has_port && u.path.n == 0 && u.userinfo.p == NULL);
    VV_CHECK_INT(vv_uri_parse(VV_STR("http://h:/"), &u), VV_OK);
    VV_CHECK(!u.has_port); /* an empty port is none (RFC 3986 3.2.3) */
    VV_CHECK_INT(vv_uri_parse(VV_STR("http://h:0/"), &u), VV_OK);
    VV_CHECK(u.has_port && u.port == 0);
}

VV_TEST(host_in_brackets_comes_without_them)
{
    VV_CHECK_INT(vv_uri_parse(VV_STR("https://[2001:db8::1]/"), &u), VV_OK);
    VV_CHECK_SLICE(u.host, "2001:db8::1");
    VV_CHECK(!u.has_port);
    VV_CHECK_INT(vv_uri_parse(VV_STR("https://[::1]:443"), &u), VV_OK);
    VV_CHECK_SLICE(u.host, "::1");
    VV_CHECK_INT(u.port, 443);
}

VV_TEST(malformed_references_are_refused)
{
    static const char *const bad[] = {
        "1http://h/",
        "http://h:port/",
        "http://h:65536/",
        "http://[::1/",
        "http://[::1]x/",
        "http://a b/",
        "/a b",
        "/%zz",
        "/%4",
        "/a#b#c",
        "http://h/\x7f",
        "/caf\xc3\xa9",
        "/a\\b",
        ":a",
        "http://h%zz/",
        "http://a@b@c/",
        "/\"",
        "/<>",
        "http://[]/",
        "http://h:1:2/",
    };
    for (size_t i = 0; i < VV_COUNT(bad); i++) {
        print_message("%s\n", bad[i]);
        VV_CHECK_INT(vv_uri_parse(vv_str_from(bad[i]), &u), VV_ESYNTAX);
    }
}

VV_TEST(authority_is_split_into_host_and_port)
{
    struct vv_str host;
    uint16_t port = 7;
    VV_CHECK_INT(vv_uri_split_authority(VV_STR("shop:80"), &host, &port), VV_OK);
    VV_CHECK_SLICE(host, "shop");
    VV_CHECK_INT(port, 80);
    VV_CHECK_INT(vv_uri_split_authority(VV_STR("shop"), &host, &port), VV_OK);
    VV_CHECK_INT(port, 0);
    VV_CHECK_INT(vv_uri_split_authority(VV_STR("[::1]:80"), &host, &port), VV_OK);
    VV_CHECK_SLICE(host, "::1");
    VV_CHECK_INT(vv_uri_split_authority(VV_STR("a%20b:65535"), &host, &port), VV_OK);
    VV_CHECK_INT(port, 65535);
    VV_CHECK_INT(vv_uri_split_authority(VV_STR(""), &host, &port), VV_OK);
    VV_CHECK_INT(host.n, 0);
    port = 7;
    VV_CHECK_INT(vv_uri_split_authority(VV_STR("shop:99999"), &host, &port), VV_ESYNTAX);
    VV_CHECK_INT(vv_uri_split_authority(VV_STR("shop:+1"), &host, &port), VV_ESYNTAX);
    VV_CHECK_INT(vv_uri_split_authority(VV_STR("a%00b"), &host, &port), VV_ESYNTAX);
    VV_CHECK_INT(port, 7); /* a call that fails changes nothing */
}

VV_TEST(ipv6_texts_are_told_from_others)
{
    uint8_t a[16];
    static const char *const good[] = {"::",
                                       "::1",
                                       "1::",
                                       "1:2::7:8",
                                       "fe80::1:2",
                                       "1:2:3:4:5:6:7:8",
                                       "::1.2.3.4",
                                       "1:2:3:4:5:6:1.2.3.4",
                                       "1:2:3:4:5:6:7::"};
    static const char *const bad[] = {"",
                                      ":",
                                      ":::",
                                      "1:2:3:4:5:6:7",
                                      "1::2::3",
                                      "12345::",
                                      "1:",
                                      "1:2:3:4:5:6:7:8:9",
                                      "::1.2.3",
                                      "1.2.3.4",
                                      "::g",
                                      "1:2:3:4:5:6:7:8::",
                                      "::1.2.3.4:5",
                                      "::256.1.1.1",
                                      "::01.2.3.4",
                                      "::1%eth0",
                                      ":1::2"};
    for (size_t i = 0; i < VV_COUNT(good); i++) {
        print_message("%s\n", good[i]);
        VV_CHECK(vv_ip6_parse(vv_str_from(good[i]), a));
    }
    for (size_t i = 0; i < VV_COUNT(bad); i++) {
        print_message("%s\n", bad[i]);
        VV_CHECK(!vv_ip6_parse(vv_str_from(bad[i]), a));
    }
    static const uint8_t want[16] = {0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0, 1};
    VV_CHECK(vv_ip6_parse(VV_STR("2001:DB8::10.0.0.1"), a));
    assert_memory_equal(a, want, 16);
}

VV_TEST(paths_become_normal)
{
    static const char *const rows[][2] = {
        {"/", "/"},
        {"/a/b", "/a/b"},
        {"/a/./b", "/a/b"},
        {"/a/../b", "/b"},
        {"/a/b/..", "/a/"},
        {"/a/.", "/a/"},
        {"/a/%2e%2E/b", "/b"},
        {"/a/.%2e/b", "/b"},
        {"/%2e/a", "/a"},
        {"/a/..", "/"},
        {"/a//b", "/a//b"},
        {"/a//../b", "/a/b"}, /* the empty segment goes, RFC 3986 5.2.4 */
        {"/a%2fb", "/a%2Fb"},
        {"/a%2f../b", "/a%2F../b"}, /* one segment named "a%2F.." */
        {"/%7Euser/%41", "/~user/A"},
        {"/caf%c3%a9", "/caf%C3%A9"},
        {"/...", "/..."},
        {"/.a/..b/c..", "/.a/..b/c.."},
        {"/a/b/../../c/", "/c/"},
        {"/%252e%252e/a", "/%252e%252e/a"}, /* decoded once, never twice */
        {"/a;x=1/b", "/a;x=1/b"},
    };
    char out[64];
    size_t n;
    for (size_t i = 0; i < VV_COUNT(rows); i++) {
        print_message("%s\n", rows[i][0]);
        VV_CHECK_INT(vv_uri_normalise_path(vv_str_from(rows[i][0]), out, sizeof out, &n), VV_OK);
        VV_CHECK_SLICE(((struct vv_str){out, n}), rows[i][1]);
    }
}

VV_TEST(paths_that_climb_or_are_malformed_are_refused)
{
    static const char *const bad[] = {
        "",     "a",  "/..",  "/../a",  "/a/../..", "/%2e%2e",          "/a/../../b",
        "/a%0", "/%", "/%g0", "/a%00b", "/./..",    "/a/%2e./%2E%2e/.."};
    char out[64];
    size_t n = 99;
    for (size_t i = 0; i < VV_COUNT(bad); i++) {
        print_message("%s\n", bad[i]);
        VV_CHECK_INT(vv_uri_normalise_path(vv_str_from(bad[i]), out, sizeof out, &n), VV_ESYNTAX);
    }
    VV_CHECK_INT(vv_uri_normalise_path((struct vv_str){"/a\0b", 4}, out, sizeof out, &n),
                 VV_ESYNTAX);
    VV_CHECK_INT(n, 99);
}

VV_TEST(decoding_undoes_every_escape)
{
    char out[8];
    size_t n;
    VV_CHECK_INT(vv_uri_decode(VV_STR("a%2Fb%20c"), out, sizeof out, &n), VV_OK);
    VV_CHECK_SLICE(((struct vv_str){out, n}), "a/b c");
    VV_CHECK_INT(vv_uri_decode(VV_STR("%00"), out, sizeof out, &n), VV_ESYNTAX);
    VV_CHECK_INT(vv_uri_decode(VV_STR("%4"), out, sizeof out, &n), VV_ESYNTAX);
    VV_CHECK_INT(vv_uri_decode(VV_STR("%"), out, sizeof out, &n), VV_ESYNTAX);
    VV_CHECK_INT(vv_uri_decode(VV_STR("123456789"), out, sizeof out, &n), VV_ERANGE);
    VV_CHECK_INT(vv_uri_decode(VV_STR(""), out, sizeof out, &n), VV_OK);
    VV_CHECK_INT(n, 0);
}

VV_TEST(query_parameters_are_found)
{
    const struct vv_str query = VV_STR("a=1&bb=2%20&c&=x&a=3&d=e=f");
    struct vv_str v;
    VV_CHECK(vv_uri_query_get(query, VV_STR("a"), &v));
    VV_CHECK_SLICE(v, "1"); /* the first one */
    VV_CHECK(vv_uri_query_get(query, VV_STR("bb"), &v));
    VV_CHECK_SLICE(v, "2%20");
    VV_CHECK(vv_uri_query_get(query, VV_STR("c"), &v));
    VV_CHECK_SLICE(v, "");
    VV_CHECK(vv_uri_query_get(query, VV_STR("d"), &v));
    VV_CHECK_SLICE(v, "e=f");
    VV_CHECK(!vv_uri_query_get(query, VV_STR("b"), &v));
    VV_CHECK(!vv_uri_query_get((struct vv_str){NULL, 0}, VV_STR("a"), &v));
}

VV_TEST(a_plain_authority_is_seen_at_a_glance)
{
    struct vv_str host;
    uint16_t port = 9;
    VV_CHECK(vv_uri_authority_plain(VV_STR("a-1.example"), &host, &port));
    VV_CHECK_SLICE(host, "a-1.example");
    VV_CHECK_INT(port, 0);
    VV_CHECK(vv_uri_authority_plain(VV_STR("h:8080"), &host, &port));
    VV_CHECK_SLICE(host, "h");
    VV_CHECK_INT(port, 8080);
    static const char *const others[] = {"",        "H",    "h:",    "h:0", "h:080",
                                         "h:65536", "h:1x", "[::1]", ":80"};
    for (size_t i = 0; i < VV_COUNT(others); i++) {
        VV_CHECK(!vv_uri_authority_plain(vv_str_from(others[i]), &host, &port));
    }
}
