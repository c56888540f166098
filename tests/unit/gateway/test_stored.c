/* tests/unit/gateway/test_stored.c - head blocks of stored answers, and their tags. */
#include "../vv_test.h"
#include "gateway/stored.h"
#include "wire/encoding.h"

static struct vv_h1_head parsed(const char *text)
{
    struct vv_h1_head h;
    static const struct vv_h1_limits limits = {
        .line_bytes = 8192, .head_bytes = 65536, .fields = VV_H1_FIELDS_MAX};
    vv_h1_head_init(&h);
    assert_int_equal(vv_h1_parse_answer(&h, vv_str_from(text), VV_METHOD_GET, &limits), VV_OK);
    return h;
}

static struct vv_str written(const char *answer, char out[1024])
{
    const struct vv_h1_head h = parsed(answer);
    struct vv_cc cc;
    vv_cc_of_answer(&h, NULL, 0, false, &cc);
    return (struct vv_str){out, vv_stored_head_write(&h, &cc, VV_STR("now"), out, 1024)};
}

VV_TEST(a_block_keeps_what_describes_the_answer)
{
    char room[1024];
    const struct vv_str block = written("HTTP/1.1 200 OK\r\n"
                                        "Date: Sat, 21 Nov 2026 10:00:00 GMT\r\n"
                                        "Content-Length: 3\r\n"
                                        "Age: 7\r\n"
                                        "Connection: close, X-Hop\r\n"
                                        "X-Hop: 1\r\n"
                                        "ETag: \"a\"\r\n\r\n",
                                        room);
    /* Length, age and hop-by-hop fields belong to one message, not to what is kept (RFC 9111 3.1). */
    assert_true(vv_str_eq(block, VV_STR("HTTP/1.1 200 OK\r\n"
                                        "Date: Sat, 21 Nov 2026 10:00:00 GMT\r\n"
                                        "ETag: \"a\"\r\n")));
}

VV_TEST(fields_that_no_cache_names_are_not_kept)
{
    char room[1024];
    /* Without Date it gets that of its arrival (RFC 9110 6.6.1). */
    const struct vv_str block = written("HTTP/1.1 200 OK\r\n"
                                        "Cache-Control: max-age=9, no-cache=\"x-a\"\r\n"
                                        "X-A: 1\r\nX-B: 2\r\n\r\n",
                                        room);
    assert_true(vv_str_eq(block, VV_STR("HTTP/1.1 200 OK\r\n"
                                        "Cache-Control: max-age=9, no-cache=\"x-a\"\r\n"
                                        "X-B: 2\r\n"
                                        "Date: now\r\n")));
}

VV_TEST(a_block_that_does_not_fit_is_none)
{
    const struct vv_h1_head h = parsed("HTTP/1.1 200 OK\r\nETag: \"abcdef\"\r\n\r\n");
    struct vv_cc cc;
    char room[24]; /* the status line alone has 17 bytes */
    vv_cc_init(&cc);
    assert_int_equal(vv_stored_head_write(&h, &cc, VV_STR("now"), room, sizeof room), 0);
}

VV_TEST(a_block_reads_back_as_a_head)
{
    struct vv_h1_head h;
    assert_true(vv_stored_head_read(
        VV_STR("HTTP/1.1 404 Not Found\r\nETag: W/\"1\"\r\nX-A: b\r\nX-A: c\r\n"), 12, &h));
    assert_int_equal(h.status, 404);
    assert_true(vv_str_eq(h.reason, VV_STR("Not Found")));
    assert_int_equal(h.fields_count, 3);
    assert_int_equal(h.content_length, 12);
    assert_true(vv_str_eq(vv_h1_find(&h, VV_FIELD_ETAG)->value, VV_STR("W/\"1\"")));
    assert_null(vv_h1_find(&h, VV_FIELD_DATE));
}

VV_TEST(what_is_no_block_is_refused)
{
    struct vv_h1_head h;
    assert_false(vv_stored_head_read(VV_STR(""), 0, &h));
    assert_false(vv_stored_head_read(VV_STR("HTTP/2 200\r\n"), 0, &h));
    assert_false(vv_stored_head_read(VV_STR("HTTP/1.1 200 OK\r\n: x\r\n"), 0, &h));
}

VV_TEST(a_304_replaces_fields_but_not_what_describes_the_bytes)
{
    struct vv_h1_head stored;
    assert_true(vv_stored_head_read(VV_STR("HTTP/1.1 200 OK\r\n"
                                           "Date: Sat, 21 Nov 2026 10:00:00 GMT\r\n"
                                           "Content-Type: text/plain\r\n"
                                           "Content-Encoding: gzip\r\n"
                                           "X-A: old\r\n"),
                                    3, &stored));
    const struct vv_h1_head fresh = parsed("HTTP/1.1 304 Not Modified\r\n"
                                           "Date: Sat, 21 Nov 2026 11:00:00 GMT\r\n"
                                           "Content-Encoding: br\r\n"
                                           "X-A: new\r\n\r\n");
    struct vv_cc cc;
    char room[512];
    vv_cc_init(&cc);
    const size_t n = vv_stored_head_merge(&stored, &fresh, &cc, VV_STR("now"), room, sizeof room);
    assert_true(vv_str_eq((struct vv_str){room, n}, VV_STR("HTTP/1.1 200 OK\r\n"
                                                           "Content-Type: text/plain\r\n"
                                                           "Content-Encoding: gzip\r\n"
                                                           "Date: Sat, 21 Nov 2026 11:00:00 GMT\r\n"
                                                           "X-A: new\r\n")));
}

VV_TEST(a_304_takes_away_fields_that_it_calls_private)
{
    struct vv_h1_head stored;
    assert_true(vv_stored_head_read(VV_STR("HTTP/1.1 200 OK\r\nX-A: 1\r\nX-B: 2\r\n"), 3, &stored));
    const struct vv_h1_head fresh = parsed("HTTP/1.1 304 Not Modified\r\n"
                                           "Cache-Control: private=\"x-b\"\r\n\r\n");
    struct vv_cc cc;
    char room[512];
    vv_cc_of_answer(&fresh, NULL, 0, false, &cc);
    const size_t n = vv_stored_head_merge(&stored, &fresh, &cc, VV_STR("now"), room, sizeof room);
    assert_true(vv_str_eq((struct vv_str){room, n}, VV_STR("HTTP/1.1 200 OK\r\n"
                                                           "X-A: 1\r\n"
                                                           "Cache-Control: private=\"x-b\"\r\n"
                                                           "Date: now\r\n")));
}

/* Connection: Date marks it for one hop; the stored answer has a Date all the same. */
VV_TEST(a_date_that_is_not_kept_is_made_anew)
{
    const struct vv_h1_head answer = parsed(
        "HTTP/1.1 200 OK\r\nDate: Sat, 21 Nov 2026 10:00:00 GMT\r\nConnection: date\r\n\r\n");
    struct vv_cc cc;
    char room[512];
    vv_cc_init(&cc);
    const size_t n = vv_stored_head_write(&answer, &cc, VV_STR("now"), room, sizeof room);
    assert_true(vv_str_eq((struct vv_str){room, n}, VV_STR("HTTP/1.1 200 OK\r\nDate: now\r\n")));
}

VV_TEST(a_304_without_date_was_made_when_it_came)
{
    struct vv_h1_head stored;
    assert_true(vv_stored_head_read(VV_STR("HTTP/1.1 200 OK\r\nDate: then\r\n"), 0, &stored));
    const struct vv_h1_head fresh = parsed("HTTP/1.1 304 Not Modified\r\n\r\n");
    struct vv_cc cc;
    char room[128];
    vv_cc_init(&cc);
    const size_t n = vv_stored_head_merge(&stored, &fresh, &cc, VV_STR("now"), room, sizeof room);
    VV_CHECK_SLICE(((struct vv_str){room, n}), "HTTP/1.1 200 OK\r\nDate: now\r\n");
}

VV_TEST(tags_come_from_three_fields_and_two_separators)
{
    const struct vv_h1_head h = parsed("HTTP/1.1 200 OK\r\n"
                                       "Surrogate-Key: one two\r\n"
                                       "Cache-Tag: three,  four\r\n"
                                       "xkey: five\r\n\r\n");
    uint64_t tags[VV_CACHE_TAGS_MAX];
    assert_int_equal(vv_stored_tags(&h, tags), 5);
    assert_int_equal(tags[0], vv_cache_tag(VV_STR("one")));
    assert_int_equal(tags[3], vv_cache_tag(VV_STR("four")));
    assert_int_equal(tags[4], vv_cache_tag(VV_STR("five")));
}

static struct vv_stored_meta sound_meta(void)
{
    return (struct vv_stored_meta){.facts = {.response_ms = 1000, .lifetime_s = 60, .status = 200},
                                   .status = 200,
                                   .version = VV_STORED_VERSION,
                                   .encoding = VV_ENCODING_IDENTITY};
}

static bool is_sound(const char *block)
{
    struct vv_stored_meta m = sound_meta();
    return vv_stored_sound(&m, vv_str_from(block), 2000);
}

VV_TEST(a_block_that_others_wrote_has_to_read_as_ours)
{
    char room[1024];
    struct vv_stored_meta m = sound_meta();
    const struct vv_str ours = written("HTTP/1.1 200 OK\r\nETag: \"a\"\r\nX-Empty:\r\n\r\n", room);
    assert_true(vv_stored_sound(&m, ours, 2000));
    assert_true(is_sound("HTTP/1.1 200 \r\nA: b\tc\r\n"));
    assert_false(is_sound(""));
    assert_false(is_sound("x"));
    assert_false(is_sound("HTTP/1.1 200 OK\r\n\r\n"));                  /* the head would end */
    assert_false(is_sound("HTTP/1.1 200 OK\r\nA: b"));                  /* no line end */
    assert_false(is_sound("HTTP/1.1 200 OK\nA: b\r\n"));                /* half of one */
    assert_false(is_sound("HTTP/1.1 200 OK\r\nA: b\rC: d\r\n"));        /* the other half */
    assert_false(is_sound("HTTP/1.1 200 OK\r\n: b\r\n"));               /* no name */
    assert_false(is_sound("HTTP/1.1 200 OK\r\nA B: c\r\n"));            /* no token */
    assert_false(is_sound("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n")); /* of one message */
    assert_false(is_sound("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n"));
    assert_false(is_sound("HTTP/1.1 201 OK\r\n")); /* the metadata says 200 */
}

VV_TEST(metadata_that_others_wrote_is_in_range)
{
    const struct vv_str block = VV_STR("HTTP/1.1 200 OK\r\n");
    struct vv_stored_meta m = sound_meta();
    m.facts.response_ms = 5000; /* of the future: it has come now */
    assert_true(vv_stored_sound(&m, block, 2000));
    assert_int_equal(m.facts.response_ms, 2000);
    m = sound_meta();
    m.facts.response_ms = -1;
    assert_false(vv_stored_sound(&m, block, 2000));
    m = sound_meta();
    m.facts.initial_age_ms = UINT64_MAX; /* would pass zero when time is added */
    assert_false(vv_stored_sound(&m, block, 2000));
    m = sound_meta();
    m.facts.status = 404;
    assert_false(vv_stored_sound(&m, block, 2000));
    m = sound_meta();
    memset(&m.facts.no_cache, 2, 1); /* neither true nor false */
    assert_false(vv_stored_sound(&m, block, 2000));
    m = sound_meta();
    m.status = m.facts.status = 304; /* says nothing by itself */
    assert_false(vv_stored_sound(&m, VV_STR("HTTP/1.1 304 Not Modified\r\n"), 2000));
}
