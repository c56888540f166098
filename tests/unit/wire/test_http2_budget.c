/* tests/unit/wire/test_http2_budget.c - ways around the budgets of a server: none of them is open. */
#include "vv_test.h"
#include "wire/http2.h"
#include "wire/http2_int.h"

static struct vv_h2_counts counts;
static struct vv_h2_pool *pool;
static struct vv_h2 *server;
static struct vv_h2_conf conf;
static unsigned heads;

static void on_head(void *user, struct vv_h2_stream *s, const struct vv_h1_head *head, bool end)
{
    (void)user, (void)s, (void)head, (void)end;
    heads++;
}
static void on_data(void *user, struct vv_h2_stream *s, struct vv_str bytes)
{
    (void)user;
    vv_h2_consumed(s, bytes.n);
}
static void on_end(void *user, struct vv_h2_stream *s)
{
    (void)user, (void)s;
}
static void on_sent(void *user, struct vv_h2_stream *s, size_t bytes)
{
    (void)user, (void)s, (void)bytes;
}
static void on_closed(void *user, struct vv_h2_stream *s, enum vv_h2_reason why,
                      enum vv_h2_code code)
{
    (void)user, (void)s, (void)why, (void)code;
}
static const struct vv_h2_events events = {
    .head = on_head, .data = on_data, .end = on_end, .sent = on_sent, .closed = on_closed};

/* What the server answers is read and forgotten. Time stands still: no budget fills by itself. */
static bool frame(unsigned type, unsigned flags, uint32_t id, const void *payload, size_t n)
{
    static char stage[4096];
    static uint8_t bytes[VV_H2_HEADER_BYTES + VV_H2_FRAME_BYTES];
    struct vv_h2_gather g = {.stage = stage, .stage_bytes = sizeof stage};
    vv_h2_set_header(bytes, n, type, flags, id);
    if (n > 0) {
        memcpy(bytes + VV_H2_HEADER_BYTES, payload, n);
    }
    const struct vv_str all = {(const char *)bytes, VV_H2_HEADER_BYTES + n};
    const bool fine = vv_h2_receive(server, all, VV_SEC) == VV_OK;
    do {
        vv_h2_output(server, &g);
    } while (g.bytes > 0);
    return fine;
}

/* GET http / of "a": three rows of the static table and :authority (RFC 7541 appendix A). */
static const uint8_t get[] = {0x82, 0x86, 0x84, 0x01, 1, 'a'};

static bool ask(uint32_t id)
{
    return frame(VV_H2_T_HEADERS, VV_H2_F_END_STREAM | VV_H2_F_END_HEADERS, id, get, sizeof get);
}

static bool cancel(uint32_t id, enum vv_h2_code code)
{
    uint8_t payload[4];
    vv_h2_set32(payload, (uint32_t)code);
    return frame(VV_H2_T_RST_STREAM, 0, id, payload, sizeof payload);
}

static void open_server(void)
{
    conf = vv_h2_conf_default;
    conf.frames_burst = 50;
    conf.resets_burst = 20;
    heads = 0;
    pool = vv_h2_pool_new(&counts);
    server = vv_h2_server_new(pool, &conf, &events, NULL, VV_SEC);
    assert_non_null(server);
    VV_CHECK_INT(vv_h2_receive(server, vv_str_from(vv_h2_magic), VV_SEC), VV_OK);
    VV_CHECK(frame(VV_H2_T_SETTINGS, 0, 0, NULL, 0)); /* the first of the 50 tokens */
    VV_CHECK(frame(VV_H2_T_SETTINGS, VV_H2_F_ACK, 0, NULL, 0));
}

static void close_server(enum vv_h2_reason why)
{
    VV_CHECK_INT(vv_h2_why(server), why);
    vv_h2_free(server);
    vv_h2_pool_free(pool);
}

VV_TEST(a_request_given_up_with_no_error_costs_as_much_as_with_any_other_code)
{
    open_server();
    for (uint32_t id = 1; ask(id) && cancel(id, VV_H2_NO_ERROR); id += 2) {
        VV_CHECK(heads < 1000);
    }
    VV_CHECK_INT(heads, 21); /* 20 tokens, and the one too many */
    close_server(VV_H2_WHY_FLOOD_RESETS);
}

VV_TEST(empty_ends_on_a_stream_that_was_are_a_flood)
{
    unsigned n = 0;
    open_server();
    VV_CHECK(ask(1) && cancel(1, VV_H2_CANCEL));
    while (frame(VV_H2_T_DATA, VV_H2_F_END_STREAM, 1, NULL, 0)) {
        VV_CHECK(++n < 1000);
    }
    VV_CHECK_INT(n, 50); /* full again by the request */
    close_server(VV_H2_WHY_FLOOD_FRAMES);
}

VV_TEST(heads_on_a_stream_that_was_are_a_flood)
{
    unsigned n = 0;
    open_server();
    VV_CHECK(ask(1) && cancel(1, VV_H2_CANCEL));
    while (ask(1)) {
        VV_CHECK(++n < 1000);
    }
    VV_CHECK_INT(n, 50);
    VV_CHECK_INT(heads, 1);
    close_server(VV_H2_WHY_FLOOD_FRAMES);
}

VV_TEST(heads_on_a_stream_that_was_pay_for_no_pings)
{
    static const uint8_t ping[8];
    unsigned n = 0;
    open_server();
    VV_CHECK(ask(1) && cancel(1, VV_H2_CANCEL));
    while (frame(VV_H2_T_PING, 0, 0, ping, sizeof ping) && ask(1)) {
        VV_CHECK(++n < 1000);
    }
    VV_CHECK_INT(n, 25); /* each turn takes two */
    close_server(VV_H2_WHY_FLOOD_FRAMES);
}

VV_TEST(new_streams_after_the_last_one_are_a_flood)
{
    uint32_t id = 3;
    open_server();
    VV_CHECK(ask(1));
    vv_h2_drain(server);
    vv_h2_drain(server);
    for (; ask(id); id += 2) {
        VV_CHECK(id < 1000);
    }
    VV_CHECK_INT((id - 3) / 2, 50);
    VV_CHECK_INT(heads, 1);
    close_server(VV_H2_WHY_FLOOD_FRAMES);
}

VV_TEST(requests_that_are_answered_are_no_flood)
{
    open_server();
    for (uint32_t id = 1; id < 2000; id += 2) {
        VV_CHECK(frame(VV_H2_T_HEADERS, VV_H2_F_END_HEADERS, id, get, sizeof get));
        struct vv_h2_inner *s = vv_h2_find(server, id);
        assert_non_null(s);
        VV_CHECK(frame(VV_H2_T_DATA, 0, id, "x", 1));
        VV_CHECK(frame(VV_H2_T_DATA, VV_H2_F_END_STREAM, id, NULL, 0));
        VV_CHECK_INT(vv_h2_answer(&s->pub, 204, NULL, 0, true), VV_OK);
        VV_CHECK(frame(VV_H2_T_PING, 0, 0, "12345678", 8));
    }
    close_server(VV_H2_FINE);
}

VV_TEST(a_frame_of_settings_holds_no_more_than_a_client_could_mean)
{
    uint8_t all[33 * 6];
    for (size_t i = 0; i < sizeof all; i += 6) {
        all[i] = 0;
        all[i + 1] = VV_H2_S_WINDOW;
        vv_h2_set32(all + i + 2, i % 12 == 0 ? 0 : 65535);
    }
    open_server();
    VV_CHECK(ask(1));
    VV_CHECK(frame(VV_H2_T_SETTINGS, 0, 0, all, 32 * 6));
    VV_CHECK(!frame(VV_H2_T_SETTINGS, 0, 0, all, 33 * 6));
    close_server(VV_H2_WHY_FLOOD_FRAMES);
}
