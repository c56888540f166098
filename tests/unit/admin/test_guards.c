/* tests/unit/admin/test_guards.c - which path a row means, and which Host may be this machine. */
#include "admin/admin_int.h"
#include "vv_test.h"

static char param[ADMIN_PARAMS_MAX][ADMIN_PARAM_BYTES];

static bool fits(const char *pattern, const char *path)
{
    memset(param, 0, sizeof param);
    return admin_match(pattern, vv_str_from(path), param);
}

VV_TEST(a_path_fits_its_own_row_only)
{
    VV_CHECK(fits("/", "/"));
    VV_CHECK(fits("/api/v1/routes", "/api/v1/routes"));
    VV_CHECK(!fits("/api/v1/routes", "/api/v1/route"));
    VV_CHECK(!fits("/api/v1/routes", "/api/v1"));
    VV_CHECK(!fits("/api/v1", "/api/v1/routes"));
    VV_CHECK(!fits("/", "/x"));
}

VV_TEST(parameters_are_one_segment_and_decoded)
{
    VV_CHECK(fits("/s/{service}/servers/{server}", "/s/shop/servers/http%3A%2F%2Fa%3A1"));
    VV_CHECK_STR(param[0], "shop");
    VV_CHECK_STR(param[1], "http://a:1");
    VV_CHECK(!fits("/s/{service}/servers", "/s//servers")); /* empty is no name */
    VV_CHECK(!fits("/s/{service}/servers", "/s/a/b/servers"));
    VV_CHECK(!fits("/s/{service}/servers", "/s/%zz/servers")); /* a bad escape */
    VV_CHECK(!fits("/s/{service}/servers", "/s/%00/servers")); /* a NUL would cut the text */
}

VV_TEST(a_parameter_that_is_too_long_does_not_fit)
{
    char path[ADMIN_PARAM_BYTES + 16] = "/s/";
    memset(path + 3, 'a', ADMIN_PARAM_BYTES);
    VV_CHECK(!fits("/s/{service}", path));
    path[3 + ADMIN_PARAM_BYTES - 1] = '\0'; /* one less than the buffer: room for the NUL */
    VV_CHECK(fits("/s/{service}", path));
}

VV_TEST(this_machine_is_localhost_or_an_address)
{
    static const char *const ours[] = {"localhost",  "LocalHost:80", "127.0.0.1", "127.0.0.1:9180",
                                       "10.1.2.3:1", "[::1]",        "[::1]:9180"};
    static const char *const theirs[] = {"",
                                         "evil.example",
                                         "evil.example:80",
                                         "127.0.0.1.evil.example",
                                         "localhost.evil.example",
                                         "[::1",
                                         "127.1.evil:80",
                                         "localhost:x"};
    for (size_t i = 0; i < VV_COUNT(ours); i++) {
        VV_CHECK(admin_host_is_ours(vv_str_from(ours[i])));
    }
    for (size_t i = 0; i < VV_COUNT(theirs); i++) {
        VV_CHECK(!admin_host_is_ours(vv_str_from(theirs[i])));
    }
}

VV_TEST(every_row_of_the_table_is_complete_and_what_changes_is_guarded)
{
    for (size_t i = 0; i < admin_routes_count; i++) {
        const struct admin_route *r = &admin_routes[i];
        VV_CHECK(r->fn != NULL && r->path[0] == '/');
        VV_CHECK(r->doc[strlen(r->doc) - 1] == '.'); /* a sentence */
        VV_CHECK((r->method == VV_METHOD_GET) == (r->access != ACCESS_CHANGE));
        for (size_t k = 0; k < i; k++) {
            VV_CHECK(r->method != admin_routes[k].method ||
                     strcmp(r->path, admin_routes[k].path) != 0);
        }
    }
}

VV_TEST(the_reference_has_a_line_for_every_row)
{
    struct vv_sb out = VV_SB_INIT;
    size_t lines = 0;
    vv_admin_reference(&out);
    for (size_t i = 0; i < out.n; i++) {
        lines += out.p[i] == '\n';
    }
    VV_CHECK_INT(lines, admin_routes_count + 2); /* two lines of heading */
    vv_sb_fini(&out);
}
