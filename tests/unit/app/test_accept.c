/* tests/unit/app/test_accept.c - servers replaced in the text of a file, the rest left alone. */
#include "app/accept.h"
#include "vv_test.h"

static void becomes(const char *before, const char *service, const char *after)
{
    struct vv_sb out = VV_SB_INIT;
    VV_CHECK_INT(
        accept_edit(vv_str_from(before), service, VV_STR("{url: \"a:1\"}\n{url: \"b:2\"}\n"), &out),
        VV_OK);
    VV_CHECK_STR(out.p, after);
    vv_sb_fini(&out);
}

static void refused(const char *before, const char *service)
{
    struct vv_sb out = VV_SB_INIT;
    VV_CHECK_INT(accept_edit(vv_str_from(before), service, VV_STR("{url: \"a:1\"}\n"), &out),
                 VV_EUNSUPPORTED);
    vv_sb_fini(&out);
}

VV_TEST(a_short_form_on_one_line_becomes_the_long_one)
{
    becomes("services:\n  shop: [x:1, y:2]   # two\n  other: z:1\nroutes: []\n", "shop",
            "services:\n  shop:\n    servers:\n      - {url: \"a:1\"}\n      - {url: \"b:2\"}\n"
            "  other: z:1\nroutes: []\n");
}

VV_TEST(a_short_form_as_a_block_list_is_replaced_whole)
{
    becomes("services:\n  shop:\n  - x:1\n  - y:2\n\n# end\nroutes: []\n", "shop",
            "services:\n  shop:\n    servers:\n      - {url: \"a:1\"}\n      - {url: \"b:2\"}\n"
            "\n# end\nroutes: []\n");
}

VV_TEST(in_the_long_form_only_the_servers_change)
{
    becomes(
        "a: 1\nservices:\n    shop: # ours\n        balance: hash\n        servers:\n"
        "            - x:1 # old\n            - url: y:2\n              weight: 2\n"
        "        keepalive: 7 # kept\n",
        "shop",
        "a: 1\nservices:\n    shop: # ours\n        balance: hash\n        servers:\n"
        "          - {url: \"a:1\"}\n          - {url: \"b:2\"}\n        keepalive: 7 # kept\n");
}

VV_TEST(a_name_inside_another_section_is_not_mistaken_for_the_service)
{
    becomes("routes:\n  shop: 1\nservices:\n  shopping: x:1\n  \"shop\": y:1\n", "shop",
            "routes:\n  shop: 1\nservices:\n  shopping: x:1\n  shop:\n    servers:\n"
            "      - {url: \"a:1\"}\n      - {url: \"b:2\"}\n");
}

VV_TEST(what_cannot_be_edited_by_lines_is_refused)
{
    refused("services: {shop: [x:1]}\n", "shop");
    refused("services:\n  shop: {servers: [x:1]}\n", "shop");
    refused("services:\n  shop: &anchor\n    servers: [x:1]\n", "shop");
    refused("services:\n  other: x:1\n", "shop");
    refused("listen: 80\n", "shop");
    refused("", "shop");
}
