/* tests/unit/wire/test_encoding.c - which codings a client takes. */
#include "vv_test.h"
#include "wire/encoding.h"
#include <stdio.h>

/* The order as text, for one or two Accept-Encoding fields (NULL: none). */
static const char *order(const char *one, const char *two)
{
    static char text[64];
    static char request[256];
    static struct vv_h1_head head;
    static const struct vv_h1_limits limits = {1024, 1024, 16};
    snprintf(request, sizeof request, "GET / HTTP/1.1\r\nHost: h\r\n%s%s%s%s%s%s\r\n",
             one != NULL ? "Accept-Encoding: " : "", one != NULL ? one : "",
             one != NULL ? "\r\n" : "", two != NULL ? "accept-encoding: " : "",
             two != NULL ? two : "", two != NULL ? "\r\n" : "");
    vv_h1_head_init(&head);
    assert_int_equal(vv_h1_parse_request(&head, vv_str_from(request), &limits), VV_OK);
    enum vv_encoding got[VV_ENCODING_COUNT];
    const size_t n = vv_encoding_order(&head, got);
    text[0] = '\0';
    for (size_t i = 0; i < n; i++) {
        strcat(text, i > 0 ? " " : "");
        strcat(text, vv_encodings[got[i]].name.p);
    }
    return text;
}

VV_TEST(encoding_without_the_field_is_identity)
{
    VV_CHECK_STR(order(NULL, NULL), "identity");
    VV_CHECK_STR(order("", NULL), "identity");
}

VV_TEST(encoding_of_equal_weight_is_our_choice)
{
    VV_CHECK_STR(order("gzip, deflate, br, zstd", NULL), "br zstd gzip identity");
    VV_CHECK_STR(order("x-gzip", NULL), "gzip identity");
    VV_CHECK_STR(order("GZip", "BR"), "br gzip identity"); /* two fields are one list */
}

VV_TEST(encoding_weights_decide)
{
    VV_CHECK_STR(order("br;q=0.5, gzip;q=0.8, zstd;q=0.501", NULL), "gzip zstd br identity");
    VV_CHECK_STR(order("gzip;q=0.5, identity", NULL), "identity gzip");
    VV_CHECK_STR(order("gzip ; q=0.001, identity;q=0.001", NULL), "gzip identity");
}

VV_TEST(encoding_of_weight_zero_is_refused)
{
    VV_CHECK_STR(order("gzip;q=0, br", NULL), "br identity");
    VV_CHECK_STR(order("identity;q=0, gzip", NULL), "gzip");
    VV_CHECK_STR(order("identity;q=0", NULL), "");
    VV_CHECK_STR(order("*;q=0", NULL), "");
    VV_CHECK_STR(order("*;q=0, identity;q=0.1", NULL), "identity");
}

VV_TEST(encoding_star_stands_for_all_that_is_not_named)
{
    VV_CHECK_STR(order("*", NULL), "br zstd gzip identity");
    VV_CHECK_STR(order("gzip, *;q=0.2", NULL), "gzip br zstd identity");
    VV_CHECK_STR(order("br;q=0, *", NULL), "zstd gzip identity");
}

VV_TEST(encoding_member_that_is_malformed_is_skipped)
{
    static const char *const bad[] = {"gzip;q=2",      "gzip;q=1.1", "gzip;q=-1", "gzip;q=",
                                      "gzip;q=0.1234", "gzip;x=1",   "gzip;",     "gzip;q=0,5"};
    for (size_t i = 0; i < VV_COUNT(bad) - 1; i++) {
        VV_CHECK_STR(order(bad[i], NULL), "identity");
    }
    VV_CHECK_STR(order(bad[7], "br"), "br identity"); /* "5" is no coding, q=0 refuses */
}
