/* tests/unit/wire/test_http2_hpack.c - HPACK against the examples of RFC 7541 and against nghttp2. */
#include "vv_test.h"
#include "wire/http2_hpack.h"
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>

static size_t in_use; /* blocks */
static unsigned allocs_left;

static void *take(void *user, size_t bytes)
{
    (void)user;
    if (allocs_left == 0) {
        return NULL;
    }
    allocs_left--;
    in_use++;
    return malloc(bytes);
}

static void give(void *user, void *p)
{
    (void)user;
    in_use -= p != NULL;
    free(p);
}

static const struct vv_hpack_memory memory = {take, give, NULL};

static void begin(void)
{
    allocs_left = 1000000;
    in_use = 0;
}

static size_t from_hex(const char *hex, uint8_t *to)
{
    size_t n = 0;
    for (; *hex != '\0'; hex += 2) {
        if (*hex == ' ') {
            hex--;
            continue;
        }
        const char two[3] = {hex[0], hex[1], '\0'};
        to[n++] = (uint8_t)strtoul(two, NULL, 16);
    }
    return n;
}

/* Decodes and lists "name: value\n" of each; the last line is the verdict if it is not fine. */
static void decode(struct vv_hpack_in *d, const uint8_t *p, size_t n, char *text, size_t room)
{
    struct vv_hpack_field f;
    const uint8_t *at = p;
    enum vv_err err;
    size_t used = 0;
    text[0] = '\0';
    vv_hpack_in_begin(d);
    while ((err = vv_hpack_in_next(d, &at, p + n, &f)) == VV_OK) {
        used += (size_t)snprintf(text + used, room - used, VV_STR_FMT ": " VV_STR_FMT "\n",
                                 VV_STR_ARG(f.name), VV_STR_ARG(f.value));
    }
    if (err != VV_EAGAIN) {
        snprintf(text + used, room - used, "%s", err == VV_ESYNTAX ? "malformed" : "no memory");
    }
    vv_hpack_in_end(d);
}

static void check_decoded(struct vv_hpack_in *d, const char *hex, const char *expect)
{
    static uint8_t bytes[4096];
    static char text[8192];
    decode(d, bytes, from_hex(hex, bytes), text, sizeof text);
    VV_CHECK_STR(text, expect);
}

VV_TEST(the_examples_of_the_rfc_decode)
{
    struct vv_hpack_in d;
    begin();
    vv_hpack_in_init(&d, &memory, 4096);
    /* C.4.1 to C.4.3: requests with Huffman coding */
    check_decoded(&d, "828684418cf1e3c2e5f23a6ba0ab90f4ff",
                  ":method: GET\n:scheme: http\n:path: /\n:authority: www.example.com\n");
    check_decoded(&d, "828684be5886a8eb10649cbf",
                  ":method: GET\n:scheme: http\n:path: /\n:authority: www.example.com\n"
                  "cache-control: no-cache\n");
    check_decoded(&d, "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
                  ":method: GET\n:scheme: https\n:path: /index.html\n"
                  ":authority: www.example.com\ncustom-key: custom-value\n");
    VV_CHECK_INT(d.table.bytes, 164);
    vv_hpack_in_fini(&d);
    VV_CHECK_INT(in_use, 0);
}

VV_TEST(entries_leave_a_full_table_oldest_first)
{
    struct vv_hpack_in d;
    begin();
    /* C.5: answers without Huffman coding, in a table of 256 bytes */
    vv_hpack_in_init(&d, &memory, 256);
    check_decoded(&d,
                  "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a"
                  "323120474d546e1768747470733a2f2f7777772e6578616d706c652e636f6d",
                  ":status: 302\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:21 GMT\n"
                  "location: https://www.example.com\n");
    VV_CHECK_INT(d.table.bytes, 222);
    check_decoded(&d, "4803333037c1c0bf",
                  ":status: 307\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:21 GMT\n"
                  "location: https://www.example.com\n");
    VV_CHECK_INT(d.table.bytes, 222);
    VV_CHECK_INT(d.table.count, 4);
    check_decoded(&d, "c2", "malformed"); /* 66 is the fifth */
    vv_hpack_in_fini(&d);
    VV_CHECK_INT(in_use, 0);
}

VV_TEST(a_name_is_good_although_its_entry_leaves_for_the_new_one)
{
    struct vv_hpack_in d;
    begin();
    vv_hpack_in_init(&d, &memory, 64);
    check_decoded(&d, "400a786e616d652d6c6f6e670131", "xname-long: 1\n"); /* 43 bytes */
    check_decoded(&d, "7e023232", "xname-long: 22\n");                    /* 44: the first goes */
    VV_CHECK_INT(d.table.count, 1);
    /* Larger than the table: it is empty then, and the field is told all the same. */
    check_decoded(&d, "7e1b3233343536373839303132333435363738393031323334353637383930",
                  "xname-long: 234567890123456789012345678\nmalformed");
    VV_CHECK_INT(d.table.count, 0);
    vv_hpack_in_fini(&d);
    VV_CHECK_INT(in_use, 0);
}

VV_TEST(a_peer_that_acknowledged_a_smaller_table_has_to_say_so)
{
    struct vv_hpack_in d;
    begin();
    vv_hpack_in_init(&d, &memory, 4096);
    check_decoded(&d, "400161016240016301645801", "a: b\nc: d\nmalformed");
    vv_hpack_in_limit(&d, 34);
    check_decoded(&d, "82", "malformed");
    check_decoded(&d, "3f0482", "malformed"); /* 35 */
    check_decoded(&d, "3f0382", ":method: GET\n");
    VV_CHECK_INT(d.table.count, 1); /* of 34 bytes */
    check_decoded(&d, "be", "c: d\n");
    vv_hpack_in_fini(&d);
}

VV_TEST(what_was_noted_about_an_entry_is_there_again)
{
    struct vv_hpack_in d;
    struct vv_hpack_field f;
    const uint8_t bytes[] = {0x40, 1, 'a', 1, 'b', 0xbe};
    const uint8_t *at = bytes, *end = bytes + sizeof bytes;
    begin();
    vv_hpack_in_init(&d, &memory, 4096);
    vv_hpack_in_begin(&d);
    VV_CHECK_INT(vv_hpack_in_next(&d, &at, end, &f), VV_OK);
    VV_CHECK_INT(*f.note, 0);
    *f.note = 7;
    VV_CHECK_INT(vv_hpack_in_next(&d, &at, end, &f), VV_OK);
    VV_CHECK_INT(*f.note, 7);
    VV_CHECK_INT(vv_hpack_in_next(&d, &at, end, &f), VV_EAGAIN);
    vv_hpack_in_fini(&d);
}

VV_TEST(every_symbol_survives_the_huffman_code_and_padding_is_checked)
{
    static char text[512], back[1024];
    static uint8_t coded[2048];
    for (unsigned first = 0; first < 256; first++) {
        for (size_t n = 1; n <= 40; n += 3) { /* next to each other, at every bit */
            for (size_t i = 0; i < n; i++) {
                text[i] = (char)(first + i * 37);
            }
            const struct vv_str s = {text, n};
            const uint8_t *end = vv_huffman_encode(coded, s);
            VV_CHECK_INT(end - coded, vv_huffman_bytes(s));
            VV_CHECK_INT(vv_huffman_decode(back, coded, (size_t)(end - coded)), n);
            VV_CHECK(memcmp(back, text, n) == 0);
        }
    }
    VV_CHECK_INT(vv_huffman_decode(back, (const uint8_t *)"\x1f", 1), 1);        /* 'a' and ones */
    VV_CHECK_INT(vv_huffman_decode(back, (const uint8_t *)"\x18", 1), SIZE_MAX); /* and zeros */
    VV_CHECK_INT(vv_huffman_decode(back, (const uint8_t *)"\x1f\xff", 2), SIZE_MAX);
    VV_CHECK_INT(vv_huffman_decode(back, (const uint8_t *)"\xff\xff\xff\xff", 4), SIZE_MAX);
    VV_CHECK_INT(vv_huffman_decode(back, coded, 0), 0);
}

/* ---- nghttp2 as the peer */

static const char *const names[] = {":path",      "date",         "etag",       "x-request-id",
                                    "set-cookie", "server",       "vary",       "x-a",
                                    "age",        "content-type", ":authority", "authorization"};
static const char *const values[] = {"",         "1",
                                     "/a?b=c",   "Sun, 06 Nov 1994 08:49:37 GMT",
                                     "\x80\xff", "text/html; charset=utf-8",
                                     "{}<>|~^",  "0123456789abcdef"};

static uint32_t seed;

static uint32_t pick(uint32_t below)
{
    seed = seed * 1664525 + 1013904223; /* any sequence will do */
    return (seed >> 8) % below;
}

/* Some fields as text, and as nghttp2 wants them. */
static size_t some_fields(nghttp2_nv *nv, char *text)
{
    const size_t count = 1 + pick(12);
    text[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        const char *n = names[pick(VV_COUNT(names))], *v = values[pick(VV_COUNT(values))];
        nv[i] = (nghttp2_nv){(uint8_t *)(uintptr_t)n, (uint8_t *)(uintptr_t)v, strlen(n), strlen(v),
                             NGHTTP2_NV_FLAG_NONE};
        text += sprintf(text, "%s: %s\n", n, v);
    }
    return count;
}

VV_TEST(what_nghttp2_compresses_comes_out_as_it_was)
{
    static char want[4096], got[4096];
    static uint8_t block[8192];
    nghttp2_hd_deflater *peer;
    struct vv_hpack_in d;
    nghttp2_nv nv[16];
    begin();
    seed = 1;
    VV_CHECK_INT(nghttp2_hd_deflate_new(&peer, 4096), 0);
    vv_hpack_in_init(&d, &memory, 4096);
    for (unsigned i = 0; i < 2000; i++) {
        if (i % 500 == 499) { /* entries leave; 4,096 again at the end */
            VV_CHECK_INT(nghttp2_hd_deflate_change_table_size(peer, i % 1000 == 499 ? 200 : 4096),
                         0);
        }
        const size_t count = some_fields(nv, want);
        const ssize_t n = nghttp2_hd_deflate_hd(peer, block, sizeof block, nv, count);
        VV_CHECK(n > 0);
        decode(&d, block, (size_t)n, got, sizeof got);
        VV_CHECK_STR(got, want);
    }
    nghttp2_hd_deflate_del(peer);
    vv_hpack_in_fini(&d);
    VV_CHECK_INT(in_use, 0);
}

/* Encodes nv as one block. */
static size_t encode(struct vv_hpack_out *e, const nghttp2_nv *nv, size_t count, uint8_t *to)
{
    uint8_t *end = vv_hpack_out_begin(e, to);
    VV_CHECK(end <= to + VV_HPACK_BEGIN_BYTES);
    for (size_t i = 0; i < count; i++) {
        const struct vv_str n = {(const char *)nv[i].name, nv[i].namelen};
        const struct vv_str v = {(const char *)nv[i].value, nv[i].valuelen};
        const uint8_t *began = end;
        end = vv_hpack_out_field(e, end, n, v, i % 7 == 6);
        VV_CHECK((size_t)(end - began) <= n.n + v.n + VV_HPACK_FIELD_BYTES);
    }
    return (size_t)(end - to);
}

static void inflate(nghttp2_hd_inflater *peer, const uint8_t *p, size_t n, char *text)
{
    text[0] = '\0';
    for (;;) {
        nghttp2_nv nv;
        int flags = 0;
        const ssize_t used = nghttp2_hd_inflate_hd2(peer, &nv, &flags, p, n, 1);
        VV_CHECK(used >= 0);
        p += used;
        n -= (size_t)used;
        if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0) {
            text += sprintf(text, "%s: %s\n", (char *)nv.name, (char *)nv.value);
        }
        if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0) {
            break;
        }
    }
    nghttp2_hd_inflate_end_headers(peer);
}

/* memory_every: an allocation fails then and now. */
static size_t talk_to_nghttp2(uint32_t limit, unsigned memory_every)
{
    static char want[4096], got[4096];
    static uint8_t block[8192];
    nghttp2_hd_inflater *peer;
    struct vv_hpack_out e;
    nghttp2_nv nv[16];
    size_t bytes = 0;
    begin();
    seed = 2;
    VV_CHECK_INT(nghttp2_hd_inflate_new(&peer), 0);
    vv_hpack_out_init(&e, &memory, limit);
    for (unsigned i = 0; i < 2000; i++) {
        if (i % 400 == 399) { /* down and up again at once: both are said */
            vv_hpack_out_limit(&e, 100);
            vv_hpack_out_limit(&e, 4096);
            VV_CHECK_INT(nghttp2_hd_inflate_change_table_size(peer, 100), 0);
            VV_CHECK_INT(nghttp2_hd_inflate_change_table_size(peer, 4096), 0);
        }
        allocs_left = memory_every == 0 || i % memory_every != 0 ? 1000000 : i % 3;
        const size_t count = some_fields(nv, want);
        const size_t n = encode(&e, nv, count, block);
        inflate(peer, block, n, got);
        VV_CHECK_STR(got, want);
        bytes += n;
    }
    vv_hpack_out_fini(&e);
    nghttp2_hd_inflate_del(peer);
    VV_CHECK_INT(in_use, 0);
    return bytes;
}

VV_TEST(nghttp2_understands_what_is_compressed_and_memory_may_fail)
{
    const size_t bytes = talk_to_nghttp2(4096, 0);
    VV_CHECK(talk_to_nghttp2(300, 0) > bytes); /* a small table finds less */
    VV_CHECK(talk_to_nghttp2(0, 0) > bytes);
    VV_CHECK(talk_to_nghttp2(4096, 2) >= bytes);
}

VV_TEST(a_field_enters_the_table_at_once_or_when_it_came_twice_or_never)
{
    uint8_t block[256];
    struct vv_hpack_out e;
    begin();
    vv_hpack_out_init(&e, &memory, 4096);
    (void)!vv_hpack_out_field(&e, block, VV_STR("server"), VV_STR("v"), false);
    VV_CHECK_INT(block[0], 0x40 | 54);
    const uint8_t *end = vv_hpack_out_field(&e, block, VV_STR("server"), VV_STR("v"), false);
    VV_CHECK_INT(end - block, 1);
    VV_CHECK_INT(block[0], 0x80 | 62);
    (void)!vv_hpack_out_field(&e, block, VV_STR("etag"), VV_STR("\"a\""), false);
    VV_CHECK_INT(block[0], 0x0f); /* 34 is 15 and 19 */
    (void)!vv_hpack_out_field(&e, block, VV_STR("etag"), VV_STR("\"a\""), false);
    VV_CHECK_INT(block[0], 0x40 | 34);
    (void)!vv_hpack_out_field(&e, block, VV_STR("etag"), VV_STR("\"a\""), false);
    VV_CHECK_INT(block[0], 0x80 | 62);
    for (unsigned i = 0; i < 3; i++) {
        (void)!vv_hpack_out_field(&e, block, VV_STR("set-cookie"), VV_STR("id=1"), false);
        VV_CHECK_INT(block[0], 0x1f);
        (void)!vv_hpack_out_field(&e, block, VV_STR("server"), VV_STR("v"), true);
        VV_CHECK_INT(block[0], 0x1f);
    }
    VV_CHECK_INT(e.table.count, 2);
    VV_CHECK_INT(vv_hpack_out_status(&e, block, 404) - block, 1);
    VV_CHECK_INT(block[0], 0x80 | 13);
    vv_hpack_out_fini(&e);
    VV_CHECK_INT(in_use, 0);
}
