/* tests/unit/wire/test_http1.c - what the head parsers hand out: slices, flags, framing. */
#include "vv_test.h"
#include "wire/http1.h"

static const struct vv_h1_limits limits = {.line_bytes = 8192, .head_bytes = 65536, .fields = 100};
static struct vv_h1_head head;

static enum vv_err request(const char *text)
{
    vv_h1_head_init(&head);
    return vv_h1_parse_request(&head, vv_str_from(text), &limits);
}

static enum vv_err answer(const char *text, enum vv_method method)
{
    vv_h1_head_init(&head);
    return vv_h1_parse_answer(&head, vv_str_from(text), method, &limits);
}

VV_TEST(request_is_taken_apart)
{
    VV_CHECK_INT(request("POST /a/b?c=d HTTP/1.1\r\nHost: shop:81\r\nContent-Length: \t12 \r\n"
                         "TE: trailers\r\nConnection: TE, X-Own\r\nX-Own: 1\r\n"
                         "Expect: 100-continue\r\n\r\nbody"),
                 VV_OK);
    VV_CHECK_INT(head.method, VV_METHOD_POST);
    VV_CHECK_SLICE(head.target, "/a/b?c=d");
    VV_CHECK_SLICE(head.path, "/a/b");
    VV_CHECK_SLICE(head.query, "c=d");
    VV_CHECK_SLICE(head.authority, "shop:81");
    VV_CHECK_INT(head.framing, VV_H1_BODY_LENGTH);
    VV_CHECK_INT(head.content_length, 12);
    VV_CHECK_INT(head.fields_count, 6);
    VV_CHECK_SLICE(head.fields[1].value, "12");
    VV_CHECK(head.keep_alive && head.te_trailers && head.expect_continue && head.has_host);
    VV_CHECK(!head.upgrade);
    VV_CHECK(head.fields[2].hop && head.fields[3].hop && head.fields[4].hop); /* X-Own is named */
    VV_CHECK(!head.fields[0].hop && !head.fields[1].hop && !head.fields[5].hop);
}

VV_TEST(answer_is_taken_apart)
{
    VV_CHECK_INT(answer("HTTP/1.0 404 Not here\r\nServer: x\r\n\r\n", VV_METHOD_GET), VV_OK);
    VV_CHECK_INT(head.status, 404);
    VV_CHECK_SLICE(head.reason, "Not here");
    VV_CHECK_INT(head.minor, 0);
    VV_CHECK_INT(head.framing, VV_H1_BODY_CLOSE);
    VV_CHECK(!head.keep_alive);
    VV_CHECK_SLICE(vv_h1_find(&head, VV_FIELD_SERVER)->value, "x");
    VV_CHECK(vv_h1_find(&head, VV_FIELD_DATE) == NULL);
}

VV_TEST(answer_framing_follows_the_order_of_rfc_9112_6_3)
{
    VV_CHECK_INT(answer("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", VV_METHOD_HEAD), VV_OK);
    VV_CHECK_INT(head.framing, VV_H1_BODY_NONE);
    VV_CHECK_INT(head.content_length, 7);
    VV_CHECK_INT(answer("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", VV_METHOD_CONNECT), VV_OK);
    VV_CHECK_INT(head.framing, VV_H1_BODY_TUNNEL);
    VV_CHECK_INT(answer("HTTP/1.1 204 No\r\nContent-Length: 7\r\n\r\n", VV_METHOD_GET), VV_OK);
    VV_CHECK_INT(head.framing, VV_H1_BODY_NONE);
    VV_CHECK(!head.keep_alive && !head.has_content_length && head.fields[0].hop);
    VV_CHECK_INT(answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", VV_METHOD_GET),
                 VV_OK);
    VV_CHECK_INT(head.framing, VV_H1_BODY_CHUNKED);
    VV_CHECK(head.keep_alive);
    VV_CHECK_INT(answer("HTTP/1.1 101 Up\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
                        VV_METHOD_GET),
                 VV_OK);
    VV_CHECK_INT(head.framing, VV_H1_BODY_TUNNEL);
    VV_CHECK(head.upgrade);
}

VV_TEST(head_survives_a_buffer_that_moves_between_reads)
{
    const char text[] = "GET /a?b HTTP/1.1\r\nHost: one\r\nX-A: two\r\n\r\n";
    static char first[64], second[64];
    memcpy(first, text, 36); /* ends inside the third line */
    memcpy(second, text, sizeof text);
    vv_h1_head_init(&head);
    VV_CHECK_INT(vv_h1_parse_request(&head, (struct vv_str){first, 36}, &limits), VV_EAGAIN);
    memset(first, '!', sizeof first);
    VV_CHECK_INT(vv_h1_parse_request(&head, vv_str_from(second), &limits), VV_OK);
    VV_CHECK_SLICE(head.path, "/a");
    VV_CHECK_SLICE(head.query, "b");
    VV_CHECK_SLICE(head.authority, "one");
    VV_CHECK_SLICE(head.fields[1].value, "two");
}

/* "GET " + target + " HTTP/1.1": 13 bytes beside the target, CR LF not counted. */
static enum vv_err request_of_line(size_t line_bytes, size_t limit)
{
    static char text[256];
    const struct vv_h1_limits tight = {
        .line_bytes = (uint32_t)limit, .head_bytes = 4096, .fields = 9};
    memset(text, 'a', sizeof text);
    memcpy(text, "GET /", 5);
    memcpy(text + line_bytes - 9, " HTTP/1.1\r\nHost: a\r\n\r\n", 23);
    vv_h1_head_init(&head);
    return vv_h1_parse_request(&head, vv_str_from(text), &tight);
}

VV_TEST(line_limit_is_exact)
{
    VV_CHECK_INT(request_of_line(100, 100), VV_OK);
    VV_CHECK_INT(request_of_line(101, 100), VV_ESYNTAX);
    VV_CHECK_INT(head.error, VV_H1_ERR_LINE_TOO_LONG);
}

VV_TEST(head_limit_is_exact_and_counts_leading_empty_lines)
{
    const char text[] = "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"; /* 2 + 16 + 9 + 2 = 29 bytes */
    struct vv_h1_limits tight = {.line_bytes = 100, .head_bytes = 29, .fields = 9};
    vv_h1_head_init(&head);
    VV_CHECK_INT(vv_h1_parse_request(&head, vv_str_from(text), &tight), VV_OK);
    VV_CHECK_INT(head.head_bytes, 29);
    tight.head_bytes = 28;
    vv_h1_head_init(&head);
    VV_CHECK_INT(vv_h1_parse_request(&head, vv_str_from(text), &tight), VV_ESYNTAX);
    VV_CHECK_INT(head.error, VV_H1_ERR_HEAD_TOO_LARGE);
}

VV_TEST(field_limit_is_exact)
{
    const char text[] = "GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 2\r\n\r\n";
    struct vv_h1_limits tight = {.line_bytes = 100, .head_bytes = 100, .fields = 3};
    vv_h1_head_init(&head);
    VV_CHECK_INT(vv_h1_parse_request(&head, vv_str_from(text), &tight), VV_OK);
    tight.fields = 2;
    vv_h1_head_init(&head);
    VV_CHECK_INT(vv_h1_parse_request(&head, vv_str_from(text), &tight), VV_ESYNTAX);
    VV_CHECK_INT(head.error, VV_H1_ERR_TOO_MANY_FIELDS);
}

VV_TEST(bytes_once_searched_are_not_searched_again)
{
    const struct vv_str text = VV_STR("GET / HTTP/1.1\r\nHost: shop.exam");
    vv_h1_head_init(&head);
    VV_CHECK_INT(vv_h1_parse_request(&head, text, &limits), VV_EAGAIN);
    VV_CHECK_INT(head.scan, text.n);
    VV_CHECK_INT(head.line, 16); /* the request line is done with */
}

VV_TEST(pipelined_request_behind_the_head_is_left_alone)
{
    VV_CHECK_INT(request("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\n"), VV_OK);
    VV_CHECK_INT(head.head_bytes, 28); /* 17 + 9 + 2 */
    VV_CHECK_SLICE(head.path, "/1");
    VV_CHECK_INT(head.fields_count, 1);
}

VV_TEST(a_used_head_starts_clean_after_init)
{
    VV_CHECK_INT(request("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"), VV_ESYNTAX);
    VV_CHECK_INT(request("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), VV_OK);
    VV_CHECK_INT(head.error, VV_H1_FINE);
    VV_CHECK(head.query.p == NULL);
}

VV_TEST(a_refused_head_stays_refused)
{
    vv_h1_head_init(&head);
    VV_CHECK_INT(vv_h1_parse_request(&head, VV_STR("\x16"), &limits), VV_ESYNTAX);
    VV_CHECK_INT(vv_h1_parse_request(&head, VV_STR("\x16\x03"), &limits), VV_ESYNTAX);
    VV_CHECK_INT(head.error, VV_H1_ERR_METHOD);
}

VV_TEST(fields_are_found_by_name_and_id)
{
    VV_CHECK_INT(request("GET / HTTP/1.1\r\nHost: a\r\nX-Own: 1\r\nx-own: 2\r\naccept: b\r\n\r\n"),
                 VV_OK);
    VV_CHECK_SLICE(vv_h1_find_name(&head, VV_STR("X-OWN"))->value, "1");
    VV_CHECK(vv_h1_find_name(&head, VV_STR("X-Other")) == NULL);
    VV_CHECK_SLICE(vv_h1_find(&head, VV_FIELD_ACCEPT)->value, "b");
}
