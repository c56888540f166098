/* tests/unit/wire/test_proxy_header.c - PROXY v1 and v2, whole and at every cut. */
#include "vv_test.h"
#include "wire/proxy_header.h"
#include <stdlib.h>

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"

static struct vv_proxy_header h;

/* Parses what is given; on the way every shorter prefix must ask for more or refuse for good. */
static enum vv_err parse(const char *bytes, size_t n)
{
    enum vv_err err = VV_EAGAIN;
    for (size_t cut = 0; cut <= n && err == VV_EAGAIN; cut++) {
        char *copy = malloc(cut + 1);
        memcpy(copy, bytes, cut);
        err = vv_proxy_header_parse((struct vv_str){copy, cut}, &h);
        free(copy);
    }
    struct vv_proxy_header whole;
    VV_CHECK_INT(vv_proxy_header_parse((struct vv_str){bytes, n}, &whole), err);
    return err;
}
#define PARSE(literal) parse(literal, sizeof(literal) - 1)

VV_TEST(v1_carries_ipv4_addresses)
{
    VV_CHECK_INT(PARSE("PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\nGET"), VV_OK);
    VV_CHECK_INT(h.family, VV_PROXY_TCP4);
    assert_memory_equal(h.src, "\xc0\x00\x02\x01", 4);
    assert_memory_equal(h.dst, "\xc6\x33\x64\x02", 4);
    VV_CHECK_INT(h.src_port, 56324);
    VV_CHECK_INT(h.dst_port, 443);
    VV_CHECK_INT(h.bytes, 45); /* 6 + 5 + 10 + 13 + 6 + 3 + 2; the rest is the connection's */
}

VV_TEST(v1_carries_ipv6_addresses)
{
    VV_CHECK_INT(PARSE("PROXY TCP6 2001:db8::1 ::1 1 65535\r\n"), VV_OK);
    VV_CHECK_INT(h.family, VV_PROXY_TCP6);
    assert_memory_equal(h.src, "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01", 16);
    VV_CHECK_INT(h.dst[15], 1);
    VV_CHECK_INT(h.dst_port, 65535);
}

VV_TEST(v1_unknown_ignores_the_rest_of_the_line)
{
    VV_CHECK_INT(PARSE("PROXY UNKNOWN\r\n"), VV_OK);
    VV_CHECK_INT(h.family, VV_PROXY_UNKNOWN);
    VV_CHECK_INT(h.bytes, 15);
    VV_CHECK_INT(PARSE("PROXY UNKNOWN ffff::1 whatever 1 2\r\n"), VV_OK);
    VV_CHECK_INT(h.family, VV_PROXY_UNKNOWN);
}

VV_TEST(v1_longest_line_is_accepted_and_a_longer_one_refused)
{
    char line[120];
    memset(line, 'x', sizeof line);
    memcpy(line, "PROXY UNKNOWN ", 14);
    memcpy(line + 105, "\r\n", 2); /* 107 bytes in all, the limit of the specification */
    VV_CHECK_INT(parse(line, 107), VV_OK);
    memcpy(line + 105, "xx\r\n", 4);
    VV_CHECK_INT(parse(line, 109), VV_ESYNTAX);
    VV_CHECK_INT(parse(line, 106), VV_EAGAIN);
}

VV_TEST(v1_malformed_lines_are_refused)
{
    static const char *const bad[] = {
        "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 56324\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443 1\r\n",
        "PROXY TCP4  192.0.2.1 198.51.100.2 56324 443\r\n",
        "PROXY TCP4 192.0.2.256 198.51.100.2 56324 443\r\n",
        "PROXY TCP4 192.0.2.01 198.51.100.2 56324 443\r\n",
        "PROXY TCP4 ::1 ::1 56324 443\r\n",
        "PROXY TCP6 192.0.2.1 198.51.100.2 56324 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 65536 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 0443 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 -1 443\r\n",
        "PROXY UDP4 192.0.2.1 198.51.100.2 1 443\r\n",
        "PROXY unknown\r\n",
        "PROXY \r\n",
        "PROXY  TCP4\r\n",
        "PROXY TCP4 192.0.2.1\r198.51.100.2 1 443\r\n",
        "proxy TCP4 192.0.2.1 198.51.100.2 1 443\r\n",
        "GET / HTTP/1.1\r\n",
    };
    for (size_t i = 0; i < VV_COUNT(bad); i++) {
        print_message("%s", bad[i]);
        VV_CHECK_INT(parse(bad[i], strlen(bad[i])), VV_ESYNTAX);
    }
}

VV_TEST(a_request_is_refused_at_its_first_byte)
{
    VV_CHECK_INT(vv_proxy_header_parse(VV_STR("G"), &h), VV_ESYNTAX);
    VV_CHECK_INT(vv_proxy_header_parse(VV_STR("PU"), &h), VV_ESYNTAX);
    VV_CHECK_INT(vv_proxy_header_parse(VV_STR(""), &h), VV_EAGAIN);
}

VV_TEST(v2_carries_ipv4_addresses)
{
    VV_CHECK_INT(PARSE(SIGNATURE "\x21\x11\0\x0c"
                                 "\xc0\0\x02\x01\xc6\x33\x64\x02\xdc\x04\x01\xbb"
                                 "GET"),
                 VV_OK);
    VV_CHECK_INT(h.family, VV_PROXY_TCP4);
    assert_memory_equal(h.src, "\xc0\0\x02\x01", 4);
    assert_memory_equal(h.dst, "\xc6\x33\x64\x02", 4);
    VV_CHECK_INT(h.src_port, 0xdc04);
    VV_CHECK_INT(h.dst_port, 443);
    VV_CHECK_INT(h.bytes, 28); /* 16 fixed and 12 of addresses */
}

VV_TEST(v2_carries_ipv6_and_unix_addresses)
{
    char bytes[16 + 216] = SIGNATURE "\x21\x21\0\x24";
    bytes[16] = 0x20;      /* first byte of the source */
    bytes[16 + 31] = 0x7f; /* last byte of the destination */
    bytes[16 + 33] = 0x50; /* source port 80 */
    bytes[16 + 34] = 0x01; /* destination port 256 + 2 */
    bytes[16 + 35] = 0x02;
    VV_CHECK_INT(parse(bytes, 16 + 36), VV_OK);
    VV_CHECK_INT(h.family, VV_PROXY_TCP6);
    VV_CHECK_INT(h.src[0], 0x20);
    VV_CHECK_INT(h.dst[15], 0x7f);
    VV_CHECK_INT(h.src_port, 80);
    VV_CHECK_INT(h.dst_port, 258);
    memcpy(bytes + 12, "\x21\x31\0\xd8", 4);
    VV_CHECK_INT(parse(bytes, sizeof bytes), VV_OK);
    VV_CHECK_INT(h.family, VV_PROXY_UNIX);
    VV_CHECK_INT(h.bytes, sizeof bytes);
}

VV_TEST(v2_local_and_unspecified_keep_the_own_addresses)
{
    VV_CHECK_INT(PARSE(SIGNATURE "\x20\0\0\0"), VV_OK);
    VV_CHECK_INT(h.family, VV_PROXY_LOCAL);
    VV_CHECK_INT(PARSE(SIGNATURE "\x20\x11\0\x02zz"), VV_OK); /* a LOCAL block is to be ignored */
    VV_CHECK_INT(h.family, VV_PROXY_LOCAL);
    VV_CHECK_INT(PARSE(SIGNATURE "\x21\0\0\x03zzz"), VV_OK);
    VV_CHECK_INT(h.family, VV_PROXY_UNKNOWN);
    VV_CHECK_INT(h.bytes, 19);
    VV_CHECK_INT(PARSE(SIGNATURE "\x21\x12\0\x0c"
                                 "aaaabbbbccdd"),
                 VV_OK); /* a datagram's addresses */
    VV_CHECK_INT(h.family, VV_PROXY_UNKNOWN);
}

VV_TEST(v2_additions_are_skipped_but_must_fit)
{
    VV_CHECK_INT(PARSE(SIGNATURE "\x21\x11\0\x14"
                                 "aaaabbbbccdd"
                                 "\x04\0\x02zz"
                                 "\x05\0\0"),
                 VV_OK);
    VV_CHECK_INT(h.bytes, 36);
    VV_CHECK_INT(PARSE(SIGNATURE "\x21\x11\0\x11"
                                 "aaaabbbbccdd"
                                 "\x04\0\x03zz"),
                 VV_ESYNTAX);
    VV_CHECK_INT(PARSE(SIGNATURE "\x21\x11\0\x0e"
                                 "aaaabbbbccdd"
                                 "\x04\0"),
                 VV_ESYNTAX);
}

VV_TEST(v2_malformed_headers_are_refused)
{
    VV_CHECK_INT(PARSE("\r\n\r\n\0\r\nQUIX"), VV_ESYNTAX);
    VV_CHECK_INT(PARSE(SIGNATURE "\x11"), VV_ESYNTAX);         /* version 1 */
    VV_CHECK_INT(PARSE(SIGNATURE "\x22"), VV_ESYNTAX);         /* command 2 */
    VV_CHECK_INT(PARSE(SIGNATURE "\x21\x41\0\0"), VV_ESYNTAX); /* family 4 */
    VV_CHECK_INT(PARSE(SIGNATURE "\x21\x13\0\x0c"
                                 "aaaabbbbccdd"),
                 VV_ESYNTAX); /* transport 3 */
    VV_CHECK_INT(PARSE(SIGNATURE "\x21\x11\0\x0b"
                                 "aaaabbbbccd"),
                 VV_ESYNTAX);                                      /* too short for two addresses */
    VV_CHECK_INT(PARSE(SIGNATURE "\x21\x11\xff\xff"), VV_ESYNTAX); /* longer than we hold */
    VV_CHECK_INT(PARSE(SIGNATURE "\x21\x11\0\x0c"
                                 "aaaa"),
                 VV_EAGAIN);
}
