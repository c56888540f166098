/* tests/unit/wire/test_http1_text.c - scanners, field names, lists, reasons, chunk heads. */
#include "base/rng.h"
#include "vv_test.h"
#include "wire/http1.h"
#include "wire/http1_scan.h"
#include <stdio.h>
#include <stdlib.h>

#ifdef __SSE2__
/* Random bytes of one kind with a stopper here and there, at every alignment and length up to 80. */
static void compare_scanners(uint64_t seed, const char *(*one)(const char *, const char *),
                             const char *(*two)(const char *, const char *))
{
    struct vv_rng rng;
    vv_rng_init(&rng, seed);
    for (int round = 0; round < 20000; round++) {
        const size_t n = vv_rng_below(&rng, 81);
        char *bytes = malloc(n + 1); /* exact, so that a sanitizer sees a read behind the end */
        const char *end = bytes + n;
        for (size_t i = 0; i < n; i++) {
            const uint64_t any = vv_rng_below(&rng, 40) == 0;
            bytes[i] = (char)(any ? vv_rng_below(&rng, 256) : 'a' + vv_rng_below(&rng, 26));
        }
        assert_ptr_equal(one(bytes, end), two(bytes, end));
        free(bytes);
    }
    for (int c = 0; c < 256; c++) { /* every byte at every place of a block */
        for (size_t at = 0; at < 32; at++) {
            char bytes[32];
            memset(bytes, 'x', sizeof bytes);
            bytes[at] = (char)c;
            assert_ptr_equal(one(bytes, bytes + 32), two(bytes, bytes + 32));
        }
    }
}

VV_TEST(sse2_and_scalar_scanners_agree_on_values)
{
    compare_scanners(1, vv_h1_scan_value_scalar, vv_h1_scan_value_sse2);
}

VV_TEST(sse2_and_scalar_scanners_agree_on_paths)
{
    compare_scanners(2, vv_h1_scan_path_scalar, vv_h1_scan_path_sse2);
}
#endif

/* The table against the grammar written another way. */
VV_TEST(classes_follow_the_grammar)
{
    for (int i = 0; i < 256; i++) {
        const char c = (char)i;
        const bool alnum =
            (i >= '0' && i <= '9') || (i >= 'A' && i <= 'Z') || (i >= 'a' && i <= 'z');
        const bool visible = i > ' ' && i < 0x7f;
        const bool tchar = alnum || (i != 0 && strchr("!#$%&'*+-.^_`|~", i) != NULL);
        assert_int_equal(vv_h1_is(c, VV_H1_C_TOKEN), tchar);
        assert_int_equal(vv_h1_is(c, VV_H1_C_VALUE), visible || i == ' ' || i == '\t' || i >= 0x80);
        const bool host = alnum || (i != 0 && strchr("-._~!$&'()*+,;=", i) != NULL);
        assert_int_equal(vv_h1_is(c, VV_H1_C_HOST), host);
        assert_int_equal(vv_h1_is(c, VV_H1_C_QUERY), visible && strchr("\"#<>%", i) == NULL);
        assert_int_equal(vv_h1_is(c, VV_H1_C_PATH), visible && strchr("\"#<>%\\?", i) == NULL);
        const bool digit = i >= '0' && i <= '9';
        const bool hex = digit || (i >= 'A' && i <= 'F') || (i >= 'a' && i <= 'f');
        assert_int_equal(vv_h1_is(c, VV_H1_C_HEX), hex);
        assert_int_equal(vv_h1_is(c, VV_H1_C_DIGIT), digit);
        assert_int_equal(vv_h1_is(c, VV_H1_C_ALPHA), alnum && !digit);
    }
}

VV_TEST(every_field_is_found_in_any_case)
{
    for (int id = 1; id < VV_FIELD_COUNT; id++) {
        const struct vv_str name = vv_field_names[id];
        char *upper = malloc(name.n), *lower = malloc(name.n);
        for (size_t i = 0; i < name.n; i++) {
            const char c = name.p[i];
            upper[i] = (char)(c >= 'a' && c <= 'z' ? c - 32 : c);
            lower[i] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
        }
        assert_int_equal(vv_field_lookup(name), id);
        assert_int_equal(vv_field_lookup((struct vv_str){upper, name.n}), id);
        assert_int_equal(vv_field_lookup((struct vv_str){lower, name.n}), id);
        upper[name.n / 2] = '*';
        assert_int_equal(vv_field_lookup((struct vv_str){upper, name.n}), VV_FIELD_OTHER);
        free(upper);
        free(lower);
    }
}

VV_TEST(names_that_only_look_like_a_field_are_other)
{
    VV_CHECK_INT(vv_field_lookup(VV_STR("")), VV_FIELD_OTHER);
    VV_CHECK_INT(vv_field_lookup(VV_STR("Hos")), VV_FIELD_OTHER);
    VV_CHECK_INT(vv_field_lookup(VV_STR("Hostt")), VV_FIELD_OTHER);
    /* CR differs from '-' by the bit that letters differ in between their cases. */
    VV_CHECK_INT(vv_field_lookup(VV_STR("Content\rLength")), VV_FIELD_OTHER);
}

VV_TEST(list_items_come_trimmed_and_without_empty_ones)
{
    struct vv_str rest = VV_STR(" a ,, b;q=\"1,2\\\",3\" ,\t c"), item;
    VV_CHECK(vv_h1_list_next(&rest, &item));
    VV_CHECK_SLICE(item, "a");
    VV_CHECK(vv_h1_list_next(&rest, &item));
    VV_CHECK_SLICE(item, "b;q=\"1,2\\\",3\""); /* commas in quotes do not separate */
    VV_CHECK(vv_h1_list_next(&rest, &item));
    VV_CHECK_SLICE(item, "c");
    VV_CHECK(!vv_h1_list_next(&rest, &item));
    struct vv_str none = {NULL, 0};
    VV_CHECK(!vv_h1_list_next(&none, &item));
}

VV_TEST(list_has_ignores_case_and_parameters)
{
    VV_CHECK(vv_h1_list_has(VV_STR("gzip, Trailers ;q=0.5"), VV_STR("trailers")));
    VV_CHECK(!vv_h1_list_has(VV_STR("xtrailers, trailersx"), VV_STR("trailers")));
    VV_CHECK(!vv_h1_list_has(VV_STR(""), VV_STR("trailers")));
}

VV_TEST(tokens_and_values_are_told_from_others)
{
    VV_CHECK(vv_h1_is_token(VV_STR("a-b_c!")));
    VV_CHECK(!vv_h1_is_token(VV_STR("")));
    VV_CHECK(!vv_h1_is_token(VV_STR("a b")));
    VV_CHECK(vv_h1_is_field_value(VV_STR("")));
    VV_CHECK(vv_h1_is_field_value(VV_STR("a\tb \xe9")));
    VV_CHECK(!vv_h1_is_field_value(VV_STR("a\r\nb: c")));
    VV_CHECK(!vv_h1_is_field_value(VV_STR("a\0b")));
}

VV_TEST(reasons_are_known_for_every_status_the_errors_use)
{
    VV_CHECK_STR(vv_h1_reason(200), "OK");
    VV_CHECK_STR(vv_h1_reason(100), "Continue");
    VV_CHECK_STR(vv_h1_reason(511), "Network Authentication Required");
    VV_CHECK_STR(vv_h1_reason(299), "");
    VV_CHECK_STR(vv_h1_reason(0), "");
    VV_CHECK_STR(vv_h1_reason(999), "");
    for (int i = 1; i < VV_H1_ERROR_COUNT; i++) {
        VV_CHECK(vv_h1_reason(vv_h1_errors[i].status)[0] != '\0');
    }
}

VV_TEST(chunk_head_is_the_size_in_hexadecimal)
{
    char buf[20];
    VV_CHECK_INT(vv_h1_chunk_head(buf, 0), 3);
    assert_memory_equal(buf, "0\r\n", 3);
    VV_CHECK_INT(vv_h1_chunk_head(buf, 500), 5); /* 500 = 0x1f4 */
    assert_memory_equal(buf, "1f4\r\n", 5);
    VV_CHECK_INT(vv_h1_chunk_head(buf, UINT64_MAX), 18);
    assert_memory_equal(buf, "ffffffffffffffff\r\n", 18);
}

VV_TEST(chunk_data_is_handed_out_where_it_lies)
{
    const char text[] = "3\r\nabc\r\n0\r\n\r\nGET";
    struct vv_h1_chunked d;
    struct vv_str bytes = VV_STR(text), data;
    size_t used;
    vv_h1_chunked_init(&d);
    VV_CHECK_INT(vv_h1_chunked_next(&d, bytes, &used, &data), VV_OK);
    VV_CHECK(data.p == text + 3);
    VV_CHECK_INT(data.n, 3);
    VV_CHECK_INT(used, 6);
    bytes.p += used;
    bytes.n -= used;
    VV_CHECK_INT(vv_h1_chunked_next(&d, bytes, &used, &data), VV_OK);
    VV_CHECK(d.done);
    VV_CHECK_INT(data.n, 0);
    VV_CHECK_INT(used, 7); /* CR LF, "0" CR LF, CR LF; "GET" is the next message */
}

VV_TEST(errors_of_answers_keep_their_reason_and_get_502)
{
    const enum vv_h1_error row = vv_h1_error_for_answer(VV_H1_ERR_CHUNK_SIZE);
    VV_CHECK_INT(row, VV_H1_ERR_ANSWER_CHUNK_SIZE);
    VV_CHECK_INT(vv_h1_errors[row].status, 502);
    VV_CHECK_INT(vv_h1_error_for_answer(row), row);
    VV_CHECK_INT(vv_h1_error_for_answer(VV_H1_FINE), VV_H1_FINE);
}
