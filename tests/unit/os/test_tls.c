/* tests/unit/os/test_tls.c - handshakes, records, closing and failing, over pairs of sockets. */
#include "os/pool.h"
#include "os/tls_int.h"
#include "os/tls_tickets.h"
#include "test_tls_kit.h"
#include <pthread.h>

VV_TEST(two_ends_meet_and_talk)
{
    const char *const alpn[] = {"h2", "http/1.1"};
    struct vv_tls_context *s =
        kit_server_a((struct vv_tls_server_conf){.alpn = alpn, .alpn_count = 2});
    struct vv_tls_context *c =
        kit_client((struct vv_tls_client_conf){.alpn = alpn + 1, .alpn_count = 1});
    struct kit k;
    kit_meet(&k, s, c, "a.test");
    VV_CHECK_STR(vv_tls_protocol(k.s), "TLSv1.3");
    VV_CHECK_STR(vv_tls_cipher(k.s), "TLS_AES_128_GCM_SHA256");
    VV_CHECK_SLICE(vv_tls_alpn(k.s), "http/1.1");
    VV_CHECK_SLICE(vv_tls_alpn(k.c), "http/1.1");
    VV_CHECK_SLICE(vv_tls_name(k.s), "a.test");
    VV_CHECK_INT(k.stats.handshakes, 1);
    VV_CHECK_INT(k.stats.resumed, 0);
    kit_say(k.c, k.s, "GET / HTTP/1.1");
    kit_say(k.s, k.c, "HTTP/1.1 200 OK");
    kit_stop(&k);
    vv_tls_context_unref(s);
    vv_tls_context_unref(c);
}

VV_TEST(nothing_to_read_is_said_and_what_for)
{
    struct vv_tls_context *s = kit_server_a((struct vv_tls_server_conf){0});
    struct vv_tls_context *c = kit_client((struct vv_tls_client_conf){0});
    struct kit k;
    char buf[8];
    size_t n = 7;
    kit_start(&k, s, c, "a.test");
    VV_CHECK_INT(vv_tls_handshake(k.s), VV_EAGAIN);
    VV_CHECK_INT(vv_tls_waits(k.s), VV_TLS_WAITS_READ);
    kit_shake(&k);
    VV_CHECK_INT(vv_tls_read(k.s, buf, sizeof(buf), &n), VV_EAGAIN);
    VV_CHECK_INT(vv_tls_waits(k.s), VV_TLS_WAITS_READ);
    VV_CHECK_INT(n, 7); /* untouched */
    VV_CHECK(!vv_tls_has_more(k.s));
    kit_stop(&k);
    vv_tls_context_unref(s);
    vv_tls_context_unref(c);
}

VV_TEST(the_last_flight_waits_for_the_first_write)
{
    struct vv_tls_context *s = kit_server_a((struct vv_tls_server_conf){0});
    struct vv_tls_context *c = kit_client((struct vv_tls_client_conf){0});
    struct kit k;
    char buf[64];
    size_t n = 0;
    kit_start(&k, s, c, "a.test");
    VV_CHECK_INT(vv_tls_handshake(k.c), VV_EAGAIN); /* hello */
    VV_CHECK_INT(vv_tls_handshake(k.s), VV_EAGAIN);
    VV_CHECK_INT(vv_tls_handshake(k.c), VV_OK); /* Finished is made, not sent */
    VV_CHECK(vv_tls_unsent(k.c) > 0);
    VV_CHECK_INT(recv(k.fd[0], buf, 1, MSG_PEEK), -1);
    const struct iovec one = {(void *)(uintptr_t) "hi", 2};
    VV_CHECK_INT(vv_tls_write(k.c, &one, 1, 0, VV_SEC, &n), VV_OK);
    VV_CHECK_INT(vv_tls_unsent(k.c), 0);
    VV_CHECK_INT(vv_tls_handshake(k.s), VV_OK);
    VV_CHECK_INT(vv_tls_read(k.s, buf, sizeof(buf), &n), VV_OK);
    VV_CHECK_INT(n, 2);
    kit_stop(&k);
    vv_tls_context_unref(s);
    vv_tls_context_unref(c);
}

/* ---- records -------------------------------------------------------------------------------- */

/* Counts records in what waits on a socket; *longest gets the longest body. Takes the bytes away. */
static size_t count_records(int fd, size_t *longest)
{
    static uint8_t raw[1024 * 1024];
    size_t n = 0, records = 0;
    ssize_t got;
    *longest = 0;
    while ((got = recv(fd, raw + n, sizeof(raw) - n, 0)) > 0) {
        n += (size_t)got;
    }
    for (size_t at = 0; at + 5 <= n;) {
        const size_t len = (size_t)raw[at + 3] << 8 | raw[at + 4];
        VV_CHECK_INT(raw[at], 23); /* application data */
        *longest = len > *longest ? len : *longest;
        at += 5 + len;
        records++;
    }
    return records;
}

static void write_all(struct vv_tls *t, const uint8_t *p, size_t total, uint64_t now_ns)
{
    while (total > 0) {
        size_t n = 0;
        const struct iovec one = {(void *)(uintptr_t)p, total};
        VV_ASSERT(vv_tls_write(t, &one, 1, 0, now_ns, &n) == VV_OK);
        p += n;
        total -= n;
    }
}

VV_TEST(records_are_small_first_then_large_and_small_again_after_silence)
{
    static uint8_t text[96 * 1024];
    struct vv_tls_context *s = kit_server_a((struct vv_tls_server_conf){0});
    struct vv_tls_context *c = kit_client((struct vv_tls_client_conf){0});
    struct kit k;
    size_t longest;
    kit_meet(&k, s, c, "a.test");
    write_all(k.s, text, 64 * 1024, 10 * VV_SEC);
    VV_CHECK_INT(count_records(k.fd[1], &longest), 16); /* 64 KiB in records of 4 KiB */
    VV_CHECK_INT(longest, 4096 + 17);                   /* type and tag, RFC 8446 section 5.2 */
    write_all(k.s, text, 64 * 1024, 10 * VV_SEC + VV_MS);
    VV_CHECK_INT(count_records(k.fd[1], &longest), 4);
    VV_CHECK_INT(longest, 16384 + 17);
    write_all(k.s, text, 8 * 1024, 12 * VV_SEC); /* silent for more than a second */
    VV_CHECK_INT(count_records(k.fd[1], &longest), 2);
    kit_stop(&k);
    vv_tls_context_unref(s);
    vv_tls_context_unref(c);
}

VV_TEST(small_pieces_share_a_record)
{
    struct vv_tls_context *s = kit_server_a((struct vv_tls_server_conf){0});
    struct vv_tls_context *c = kit_client((struct vv_tls_client_conf){0});
    struct kit k;
    static uint8_t body[1024];
    size_t n = 0, longest;
    const struct iovec four[] = {{(void *)(uintptr_t) "head", 4},
                                 {(void *)(uintptr_t) "", 0},
                                 {body, sizeof(body)},
                                 {(void *)(uintptr_t) "\r\n", 2}};
    kit_meet(&k, s, c, "a.test");
    VV_CHECK_INT(vv_tls_write(k.s, four, 4, 0, VV_SEC, &n), VV_OK);
    VV_CHECK_INT(n, 4 + 1024 + 2);
    VV_CHECK_INT(count_records(k.fd[1], &longest), 1);
    VV_CHECK_INT(longest, 4 + 1024 + 2 + 17);
    kit_stop(&k);
    vv_tls_context_unref(s);
    vv_tls_context_unref(c);
}

static void fill(uint8_t *p, size_t n)
{
    uint32_t x = 1;
    for (size_t i = 0; i < n; i++) {
        x = x * 1664525u + 1013904223u;
        p[i] = (uint8_t)(x >> 24);
    }
}

/* A slow reader: whatever the socket takes, the bytes come out as they went in, and what waits here is
 * bounded by what one write may take and its framing. */
static void pour(struct kit *k, size_t total, size_t piece)
{
    uint8_t *in = malloc(total), *out = malloc(total);
    size_t sent = 0, seen = 0, refused = 0;
    VV_ASSERT(in != NULL && out != NULL);
    fill(in, total);
    for (int i = 0; i < 100000 && seen < total; i++) {
        size_t n = 0;
        if (sent < total) {
            struct iovec two[2] = {{in + sent, vv_min_u64(piece, total - sent)}};
            two[1].iov_base = in + sent + two[0].iov_len;
            two[1].iov_len = vv_min_u64(8 * piece, total - sent - two[0].iov_len);
            const enum vv_err err = vv_tls_write(k->s, two, 2, 0, VV_SEC, &n);
            sent += err == VV_OK ? n : 0;
            refused += err == VV_EAGAIN;
            VV_ASSERT(err == VV_OK ||
                      (err == VV_EAGAIN && vv_tls_waits(k->s) == VV_TLS_WAITS_WRITE));
        } else {
            VV_ASSERT(vv_tls_flush(k->s) == VV_OK || vv_tls_unsent(k->s) > 0);
        }
        VV_ASSERT(vv_tls_unsent(k->s) <= VV_TLS_TAKE_MAX + 16384);
        const enum vv_err err = vv_tls_read(k->c, out + seen, vv_min_u64(10000, total - seen), &n);
        seen += err == VV_OK ? n : 0;
        VV_ASSERT(err == VV_OK || err == VV_EAGAIN);
    }
    VV_CHECK_INT(seen, total);
    VV_CHECK(memcmp(in, out, total) == 0);
    VV_CHECK(refused > 0); /* the socket was full at times, or this shows nothing */
    free(in);
    free(out);
}

VV_TEST(a_slow_reader_gets_every_byte_and_costs_little_memory)
{
    struct vv_tls_context *s = kit_server_a((struct vv_tls_server_conf){0});
    struct vv_tls_context *c = kit_client((struct vv_tls_client_conf){0});
    struct kit k;
    const int small = 8192;
    kit_meet(&k, s, c, "a.test");
    setsockopt(k.fd[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    pour(&k, 3 * VV_MIB + 777, 5000);
    kit_stop(&k);
    vv_tls_context_unref(s);
    vv_tls_context_unref(c);
}

VV_TEST(a_file_is_sent_and_its_end_is_noticed)
{
    struct vv_tls_context *s = kit_server_a((struct vv_tls_server_conf){0});
    struct vv_tls_context *c = kit_client((struct vv_tls_client_conf){0});
    struct kit k;
    char buf[32];
    size_t n = 0;
    FILE *f = tmpfile();
    VV_ASSERT(f != NULL && fputs("0123456789", f) >= 0 && fflush(f) == 0);
    kit_meet(&k, s, c, "a.test");
    VV_CHECK_INT(vv_tls_sendfile(k.s, fileno(f), 3, 5, VV_SEC, &n), VV_OK);
    VV_CHECK_INT(n, 5);
    VV_CHECK_INT(vv_tls_read(k.c, buf, sizeof(buf), &n), VV_OK);
    VV_CHECK_SLICE(((struct vv_str){buf, n}), "34567");
    VV_CHECK_INT(vv_tls_sendfile(k.s, fileno(f), 10, 1, VV_SEC, &n), VV_ERANGE);
    fclose(f);
    kit_stop(&k);
    vv_tls_context_unref(s);
    vv_tls_context_unref(c);
}

VV_TEST(a_small_room_is_filled_again_without_an_event)
{
    struct vv_tls_context *s = kit_server_a((struct vv_tls_server_conf){0});
    struct vv_tls_context *c = kit_client((struct vv_tls_client_conf){0});
    struct kit k;
    char buf[4];
    size_t n = 0;
    const struct iovec one = {(void *)(uintptr_t) "abcdef", 6};
    kit_meet(&k, s, c, "a.test");
    VV_CHECK_INT(vv_tls_write(k.c, &one, 1, 0, VV_SEC, &n), VV_OK);
    VV_CHECK_INT(vv_tls_read(k.s, buf, sizeof(buf), &n), VV_OK);
    VV_CHECK_INT(n, 4);
    VV_CHECK(vv_tls_has_more(k.s));
    VV_CHECK_INT(vv_tls_read(k.s, buf, sizeof(buf), &n), VV_OK);
    VV_CHECK_INT(n, 2);
    VV_CHECK(!vv_tls_has_more(k.s));
    vv_tls_idle(k.s); /* buffers go; the next bytes arrive all the same */
    kit_say(k.c, k.s, "after");
    kit_stop(&k);
    vv_tls_context_unref(s);
    vv_tls_context_unref(c);
}

/* ---- endings -------------------------------------------------------------------------------- */

VV_TEST(a_good_bye_differs_from_a_cut)
{
    struct vv_tls_context *s = kit_server_a((struct vv_tls_server_conf){0});
    struct vv_tls_context *c = kit_client((struct vv_tls_client_conf){0});
    struct kit k;
    char buf[16], text[VV_TLS_ERROR_TEXT];
    size_t n = 0;
    const struct iovec one = {(void *)(uintptr_t) "bye", 3};
    kit_meet(&k, s, c, "a.test");
    VV_CHECK_INT(vv_tls_write(k.s, &one, 1, VV_TLS_LAST, VV_SEC, &n), VV_OK);
    VV_CHECK_INT(vv_tls_read(k.c, buf, sizeof(buf), &n), VV_OK);
    VV_CHECK_INT(n, 3);
    VV_CHECK(vv_tls_has_more(k.c)); /* the good-bye came along: no event will tell */
    VV_CHECK_INT(vv_tls_read(k.c, buf, sizeof(buf), &n), VV_ECLOSED);
    VV_CHECK_INT(vv_tls_close(k.c), VV_OK);
    VV_CHECK_INT(vv_tls_read(k.s, buf, sizeof(buf), &n), VV_ECLOSED);
    kit_stop(&k);

    kit_meet(&k, s, c, "a.test");
    shutdown(k.fd[0], SHUT_WR);
    VV_CHECK_INT(vv_tls_read(k.c, buf, sizeof(buf), &n), VV_ERESET);
    VV_CHECK_STR(vv_tls_error(k.c, text), "the connection was closed without close_notify");
    VV_CHECK_INT(vv_tls_write(k.c, &one, 1, 0, VV_SEC, &n), VV_ERESET); /* over is over */
    kit_stop(&k);
    vv_tls_context_unref(s);
    vv_tls_context_unref(c);
}

VV_TEST(a_reader_that_is_gone_ends_the_writer)
{
    struct vv_tls_context *s = kit_server_a((struct vv_tls_server_conf){0});
    struct vv_tls_context *c = kit_client((struct vv_tls_client_conf){0});
    struct kit k;
    size_t n = 0;
    const struct iovec one = {(void *)(uintptr_t) "x", 1};
    kit_meet(&k, s, c, "a.test");
    shutdown(k.fd[1], SHUT_RD);
    VV_CHECK_INT(vv_tls_write(k.s, &one, 1, 0, VV_SEC, &n), VV_ERESET);
    VV_CHECK_INT(vv_tls_failure(k.s), VV_TLS_FAIL_IO);
    kit_stop(&k);
    vv_tls_context_unref(s);
    vv_tls_context_unref(c);
}

VV_TEST(what_was_said_before_the_end_can_be_read_after_a_write_failed)
{
    struct vv_tls_context *s = kit_server_a((struct vv_tls_server_conf){0});
    struct vv_tls_context *c = kit_client((struct vv_tls_client_conf){0});
    struct kit k;
    char buf[16];
    size_t n = 0;
    const struct iovec no = {(void *)(uintptr_t) "no", 2}, more = {(void *)(uintptr_t) "more", 4};
    kit_meet(&k, s, c, "a.test");
    VV_CHECK_INT(vv_tls_write(k.s, &no, 1, 0, VV_SEC, &n), VV_OK);
    shutdown(k.fd[0], SHUT_RD);
    VV_CHECK_INT(vv_tls_write(k.c, &more, 1, 0, VV_SEC, &n), VV_ERESET);
    VV_CHECK_INT(vv_tls_read(k.c, buf, sizeof(buf), &n), VV_OK);
    VV_CHECK_SLICE(((struct vv_str){buf, n}), "no");
    VV_CHECK_INT(vv_tls_read(k.c, buf, sizeof(buf), &n), VV_ERESET);
    VV_CHECK_INT(vv_tls_write(k.c, &more, 1, 0, VV_SEC, &n), VV_ERESET);
    kit_stop(&k);
    vv_tls_context_unref(s);
    vv_tls_context_unref(c);
}

VV_TEST(a_broken_record_ends_the_connection)
{
    struct vv_tls_context *s = kit_server_a((struct vv_tls_server_conf){0});
    struct vv_tls_context *c = kit_client((struct vv_tls_client_conf){0});
    struct kit k;
    char buf[16];
    size_t n = 0;
    static const uint8_t forged[5 + 20] = {23, 3, 3, 0, 20, 1, 2, 3};
    kit_meet(&k, s, c, "a.test");
    VV_CHECK_INT(send(k.fd[1], forged, sizeof(forged), 0), sizeof(forged));
    VV_CHECK_INT(vv_tls_read(k.s, buf, sizeof(buf), &n), VV_ESYNTAX);
    VV_CHECK_INT(vv_tls_failure(k.s), VV_TLS_FAIL_PROTOCOL);
    VV_CHECK_INT(vv_tls_read(k.c, buf, sizeof(buf), &n), VV_EREFUSED); /* it was told */
    kit_stop(&k);
    vv_tls_context_unref(s);
    vv_tls_context_unref(c);
}

/* ---- refused handshakes ---------------------------------------------------------------------- */

/* What a server makes of raw bytes. */
static enum vv_tls_failure hear(struct vv_tls_context *s, const void *p, size_t n, bool end,
                                enum vv_err want)
{
    struct vv_tls_stats stats = {0};
    struct vv_tls *t = NULL;
    int fd[2];
    kit_pair(fd);
    VV_ASSERT(send(fd[1], p, n, 0) == (ssize_t)n);
    if (end) {
        shutdown(fd[1], SHUT_WR);
    }
    VV_CHECK_INT(vv_tls_accept(s, fd[0], &stats, &t), VV_OK);
    if (end) {
        VV_CHECK_INT(vv_tls_handshake(t), VV_EAGAIN); /* a short read stands for an empty socket */
        vv_tls_read_to_end(t);
    }
    VV_CHECK_INT(vv_tls_handshake(t), want);
    const enum vv_tls_failure f = vv_tls_failure(t);
    VV_CHECK_INT(stats.failed[f], want != VV_EAGAIN);
    VV_CHECK_INT(stats.handshakes, 0);
    vv_tls_free(t);
    close(fd[0]);
    close(fd[1]);
    return f;
}

VV_TEST(what_is_not_tls_is_named)
{
    static const uint8_t junk[64] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    struct vv_tls_context *s = kit_server_a((struct vv_tls_server_conf){0});
    const char http[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    VV_CHECK_INT(hear(s, http, sizeof(http) - 1, false, VV_ESYNTAX), VV_TLS_FAIL_NOT_TLS);
    VV_CHECK_INT(hear(s, junk, sizeof(junk), false, VV_ESYNTAX), VV_TLS_FAIL_NOT_TLS);
    VV_CHECK_INT(hear(s, "\x16\x03\x01", 3, true, VV_ERESET), VV_TLS_FAIL_CLOSED);
    VV_CHECK_INT(hear(s, "\x16\x03\x01", 3, false, VV_EAGAIN), VV_TLS_FAIL_NONE);
    vv_tls_context_unref(s);
}

VV_TEST(a_hello_that_never_ends_is_cut_at_its_limit)
{
    /* A handshake message of 64 KiB in four records: type 1 (client hello), length 0x00ffff. */
    static uint8_t hello[4 * (5 + 16384)];
    for (size_t i = 0; i < 4; i++) {
        const uint8_t head[] = {22, 3, 1, 0x40, 0};
        memcpy(hello + i * (5 + 16384), head, sizeof(head));
    }
    const uint8_t message[] = {1, 0, 0xff, 0xff, 3, 3};
    memcpy(hello + 5, message, sizeof(message));
    struct vv_tls_context *s = kit_server_a((struct vv_tls_server_conf){.hello_bytes_max = 4096});
    VV_CHECK_INT(hear(s, hello, sizeof(hello), false, VV_ELIMIT), VV_TLS_FAIL_HELLO_SIZE);
    VV_CHECK_INT(hear(s, hello, 4000, false, VV_EAGAIN), VV_TLS_FAIL_NONE);
    vv_tls_context_unref(s);
}

static void refuse(struct vv_tls_context *s, struct vv_tls_context *c, const char *name,
                   enum vv_tls_failure server, enum vv_tls_failure client)
{
    struct kit k;
    kit_start(&k, s, c, name);
    kit_shake(&k);
    VV_CHECK_STR(vv_tls_failure_name(vv_tls_failure(k.s)), vv_tls_failure_name(server));
    VV_CHECK_STR(vv_tls_failure_name(vv_tls_failure(k.c)), vv_tls_failure_name(client));
    VV_CHECK_INT(k.stats.failed[server], server != VV_TLS_FAIL_NONE);
    kit_stop(&k);
    vv_tls_context_unref(s);
    vv_tls_context_unref(c);
}

VV_TEST(a_protocol_nobody_shares_is_refused)
{
    const char *const http[] = {"http/1.1"}, *const other[] = {"smtp"};
    refuse(kit_server_a((struct vv_tls_server_conf){.alpn = http, .alpn_count = 1}),
           kit_client((struct vv_tls_client_conf){.alpn = other, .alpn_count = 1}), "a.test",
           VV_TLS_FAIL_ALPN, VV_TLS_FAIL_ALERT);
}

VV_TEST(a_client_believes_only_the_right_name_from_an_authority_it_knows)
{
    refuse(kit_server_a((struct vv_tls_server_conf){0}), kit_client((struct vv_tls_client_conf){0}),
           "b.test", VV_TLS_FAIL_ALERT, VV_TLS_FAIL_CERT_REFUSED);
    refuse(kit_server_a((struct vv_tls_server_conf){0}), kit_client((struct vv_tls_client_conf){0}),
           "127.0.0.1", VV_TLS_FAIL_ALERT, VV_TLS_FAIL_CERT_REFUSED);
    refuse(kit_server_a((struct vv_tls_server_conf){0}),
           kit_client((struct vv_tls_client_conf){.ca_file = "/etc/ssl/certs/ca-certificates.crt"}),
           "a.test", VV_TLS_FAIL_ALERT, VV_TLS_FAIL_CERT_REFUSED);
    refuse(kit_server_a((struct vv_tls_server_conf){0}),
           kit_client((struct vv_tls_client_conf){.insecure = true}), "b.test", VV_TLS_FAIL_NONE,
           VV_TLS_FAIL_NONE);
}

VV_TEST(a_strict_server_refuses_names_it_does_not_have)
{
    refuse(kit_server_a((struct vv_tls_server_conf){.strict_names = true}),
           kit_client((struct vv_tls_client_conf){.insecure = true}), "b.test", VV_TLS_FAIL_NAME,
           VV_TLS_FAIL_ALERT);
}

VV_TEST(the_reason_of_a_refused_certificate_is_told)
{
    struct vv_tls_context *s = kit_server_a((struct vv_tls_server_conf){0});
    struct vv_tls_context *c = kit_client((struct vv_tls_client_conf){0});
    struct kit k;
    char text[VV_TLS_ERROR_TEXT];
    kit_start(&k, s, c, "b.test");
    kit_shake(&k);
    VV_CHECK_INT(k.c_err, VV_EACCES);
    VV_CHECK_STR(vv_tls_error(k.c, text),
                 "the certificate of the other side was not accepted: hostname mismatch");
    kit_stop(&k);
    vv_tls_context_unref(s);
    vv_tls_context_unref(c);
}

/* ---- client certificates --------------------------------------------------------------------- */

static struct vv_tls_context *client_with(const struct vv_tls_pem *pem)
{
    struct vv_tls_cert *cert = kit_parse(pem);
    struct vv_tls_context *c = kit_client((struct vv_tls_client_conf){.cert = cert});
    vv_tls_cert_unref(cert);
    return c;
}

VV_TEST(a_client_certificate_tells_who_is_there)
{
    kit_authority();
    struct vv_tls_pem pem;
    kit_pem(VV_TLS_KEY_EC, "worker-7.test", true, &pem);
    struct vv_tls_context *s = kit_server_a(
        (struct vv_tls_server_conf){.ask = VV_TLS_ASK_REQUIRED, .client_ca_file = kit_ca_file});
    struct vv_tls_context *c = client_with(&pem);
    struct vv_tls_cert *same = kit_parse(&pem);
    struct vv_arena arena;
    struct vv_tls_peer peer;
    struct kit k;
    vv_arena_init(&arena, NULL, 0, 4096, 0);
    kit_meet(&k, s, c, "a.test");
    VV_CHECK_INT(vv_tls_peer(k.s, &arena, &peer), VV_OK);
    VV_CHECK(peer.present);
    VV_CHECK_SLICE(peer.subject, "CN=Test certificate");
    VV_CHECK_SLICE(peer.issuer, "CN=Test authority");
    VV_CHECK_SLICE(peer.common_name, "Test certificate");
    VV_CHECK_INT(peer.san_count, 1);
    VV_CHECK_INT(peer.sans[0].kind, VV_TLS_SAN_DNS);
    VV_CHECK_SLICE(peer.sans[0].name, "worker-7.test");
    VV_CHECK_STR(peer.fingerprint, vv_tls_cert_info(same)->fingerprint);
    VV_CHECK_INT(peer.not_after_wall_ns, vv_tls_cert_info(same)->not_after_wall_ns);
    VV_CHECK_INT(peer.serial.n, 32); /* 16 bytes */
    kit_stop(&k);
    vv_arena_fini(&arena);
    vv_tls_cert_unref(same);
    vv_tls_pem_fini(&pem);
    vv_tls_context_unref(s);
    vv_tls_context_unref(c);
}

VV_TEST(a_required_client_certificate_must_be_there_and_known)
{
    kit_authority();
    const struct vv_tls_server_conf required = {.ask = VV_TLS_ASK_REQUIRED,
                                                .client_ca_file = kit_ca_file};
    refuse(kit_server_a(required), kit_client((struct vv_tls_client_conf){0}), "a.test",
           VV_TLS_FAIL_CERT_MISSING, VV_TLS_FAIL_NONE); /* 1.3: the client is done before */
    struct vv_tls_pem self;
    const struct vv_tls_make m = {.subject = "Nobody",
                                  .not_before_wall_ns = VV_SEC,
                                  .not_after_wall_ns = vv_clock_wall() + VV_DAY,
                                  .client = true};
    VV_CHECK_INT(vv_tls_make(&m, &self), VV_OK);
    refuse(kit_server_a(required), client_with(&self), "a.test", VV_TLS_FAIL_CERT_REFUSED,
           VV_TLS_FAIL_NONE);
    const struct vv_tls_server_conf optional = {.ask = VV_TLS_ASK_OPTIONAL,
                                                .client_ca_file = kit_ca_file};
    refuse(kit_server_a(optional), client_with(&self), "a.test", VV_TLS_FAIL_CERT_REFUSED,
           VV_TLS_FAIL_NONE);
    refuse(kit_server_a(optional), kit_client((struct vv_tls_client_conf){0}), "a.test",
           VV_TLS_FAIL_NONE, VV_TLS_FAIL_NONE);
    vv_tls_pem_fini(&self);
}

/* ---- slow signatures elsewhere ---------------------------------------------------------------- */

struct errand {
    struct vv_job job;
    struct vv_tls *t;
    bool back;
};

static void run_errand(struct vv_job *job)
{
    vv_tls_handshake_work(VV_CONTAINER(job, struct errand, job)->t);
}

static void end_errand(struct vv_loop *loop, struct vv_job *job)
{
    (void)loop;
    VV_CONTAINER(job, struct errand, job)->back = true;
}

static struct vv_tls_context *slow_server(struct vv_tls_cert *also, struct vv_tls_tickets *tickets)
{
    struct vv_tls_pem pem;
    const char *name = "a.test";
    const struct vv_tls_make m = {.subject = "Large key",
                                  .names = &name,
                                  .name_count = 1,
                                  .key = VV_TLS_KEY_RSA,
                                  .rsa_bits = 3072,
                                  .not_before_wall_ns = VV_SEC,
                                  .not_after_wall_ns = vv_clock_wall() + VV_DAY,
                                  .issuer = kit_authority()};
    VV_ASSERT(vv_tls_make(&m, &pem) == VV_OK);
    struct vv_tls_cert *certs[] = {kit_parse(&pem), also};
    struct vv_tls_context *s = kit_server((struct vv_tls_server_conf){
        .certs = certs, .cert_count = also != NULL ? 2 : 1, .offload = true, .tickets = tickets});
    vv_tls_cert_unref(certs[0]);
    vv_tls_pem_fini(&pem);
    return s;
}

VV_TEST(a_large_key_signs_on_a_pool_thread)
{
    struct vv_tls_context *s = slow_server(NULL, NULL);
    struct vv_tls_context *c = kit_client((struct vv_tls_client_conf){0});
    struct vv_pool *pool = NULL;
    struct vv_loop *loop = NULL;
    struct kit k;
    VV_CHECK_INT(vv_pool_new(1, 4, &pool), VV_OK);
    VV_CHECK_INT(vv_loop_new(&loop), VV_OK);
    kit_start(&k, s, c, "a.test");
    VV_CHECK_INT(vv_tls_handshake(k.c), VV_EAGAIN);
    VV_CHECK_INT(vv_tls_handshake(k.s), VV_EAGAIN);
    VV_CHECK_INT(vv_tls_waits(k.s), VV_TLS_WAITS_WORK);
    struct errand e = {.job = {.work = run_errand, .done = end_errand}, .t = k.s};
    VV_CHECK_INT(vv_pool_submit(pool, loop, &e.job), VV_OK);
    while (!e.back) {
        vv_loop_turn(loop, VV_SEC);
    }
    VV_CHECK(vv_tls_unsent(k.s) > 0); /* the answer was made there and leaves from here */
    kit_shake(&k);
    VV_CHECK_INT(k.s_err, VV_OK);
    VV_CHECK_INT(k.c_err, VV_OK);
    VV_CHECK_INT(k.stats.handshakes, 1);
    kit_say(k.c, k.s, "hello");
    kit_stop(&k);
    vv_pool_free(pool); /* its threads post to the loop */
    vv_loop_free(loop);
    vv_tls_context_unref(s);
    vv_tls_context_unref(c);
}

VV_TEST(a_client_that_takes_ecdsa_needs_no_pool)
{
    struct vv_tls_cert *ec = kit_cert(VV_TLS_KEY_EC, "a.test");
    struct vv_tls_context *s = slow_server(ec, NULL);
    struct vv_tls_context *c = kit_client((struct vv_tls_client_conf){0});
    struct kit k;
    kit_meet(&k, s, c, "a.test"); /* kit_meet does no work: it would not have ended */
    kit_stop(&k);
    vv_tls_cert_unref(ec);
    vv_tls_context_unref(s);
    vv_tls_context_unref(c);
}

static void must_wait_for_work(struct vv_tls_context *s, struct vv_tls_context *c,
                               void (*change)(SSL *ssl))
{
    struct kit k;
    kit_start(&k, s, c, "a.test");
    change(k.c->ssl);
    VV_CHECK_INT(vv_tls_handshake(k.c), VV_EAGAIN);
    VV_CHECK_INT(vv_tls_handshake(k.s), VV_EAGAIN);
    VV_CHECK_INT(vv_tls_waits(k.s), VV_TLS_WAITS_WORK);
    vv_tls_handshake_work(k.s);
    kit_shake(&k);
    VV_CHECK_INT(k.s_err, VV_OK);
    VV_CHECK(!vv_tls_resumed(k.s));
    kit_say(k.c, k.s, "hello");
    kit_stop(&k);
}

static void with_a_strange_ticket(SSL *ssl)
{
    static unsigned char ticket[200]; /* no key of ours has such a name */
    VV_CHECK_INT(SSL_set_max_proto_version(ssl, TLS1_2_VERSION), 1);
    VV_CHECK_INT(SSL_set_session_ticket_ext(ssl, ticket, sizeof(ticket)), 1);
}
static void with_suites_of_rsa(SSL *ssl)
{
    VV_CHECK_INT(SSL_set_max_proto_version(ssl, TLS1_2_VERSION), 1);
    VV_CHECK_INT(
        SSL_set_cipher_list(ssl, "ECDHE-ECDSA-AES128-CCM:ECDHE-RSA-AES128-GCM-SHA256:@SECLEVEL=1"),
        1);
}
static void without_the_curve(SSL *ssl)
{
    VV_CHECK_INT(SSL_set_max_proto_version(ssl, TLS1_2_VERSION), 1);
    VV_CHECK_INT(SSL_set1_groups_list(ssl, "X25519"), 1);
}

VV_TEST(no_client_can_have_the_loop_sign_with_a_large_key)
{
    struct vv_tls_tickets *tickets = NULL;
    VV_CHECK_INT(vv_tls_tickets_new(VV_HOUR, vv_clock_wall(), &tickets), VV_OK);
    struct vv_tls_cert *ec = kit_cert(VV_TLS_KEY_EC, "a.test");
    struct vv_tls_context *alone = slow_server(NULL, tickets);
    struct vv_tls_context *both = slow_server(ec, tickets);
    struct vv_tls_context *c = kit_client((struct vv_tls_client_conf){0});
    must_wait_for_work(alone, c, with_a_strange_ticket);
    must_wait_for_work(both, c, with_suites_of_rsa);
    must_wait_for_work(both, c, without_the_curve);
    vv_tls_cert_unref(ec);
    vv_tls_context_unref(alone);
    vv_tls_context_unref(both);
    vv_tls_context_unref(c);
    vv_tls_tickets_unref(tickets);
}

VV_TEST(an_offloaded_handshake_that_fails_is_counted_once)
{
    struct vv_tls_context *s = slow_server(NULL, NULL);
    struct vv_tls_context *c = kit_client((struct vv_tls_client_conf){0});
    struct kit k;
    kit_start(&k, s, c, "b.test"); /* the client will refuse the name */
    VV_CHECK_INT(vv_tls_handshake(k.c), VV_EAGAIN);
    VV_CHECK_INT(vv_tls_handshake(k.s), VV_EAGAIN);
    vv_tls_handshake_work(k.s);
    kit_shake(&k);
    VV_CHECK_INT(k.s_err, VV_EREFUSED);
    VV_CHECK_INT(k.stats.failed[VV_TLS_FAIL_ALERT], 1);
    VV_CHECK_INT(k.stats.handshakes, 0);
    kit_stop(&k);
    vv_tls_context_unref(s);
    vv_tls_context_unref(c);
}

/* ---- hostile ends --------------------------------------------------------------------------- */

VV_TEST(one_who_asks_for_new_keys_and_reads_no_answer_is_cut_off)
{
    struct vv_tls_context *s = kit_server_a((struct vv_tls_server_conf){0});
    struct vv_tls_context *c = kit_client((struct vv_tls_client_conf){0});
    struct kit k;
    char buf[4096];
    const int few = 4096;
    size_t n = 0, most = 0;
    enum vv_err err = VV_OK;
    kit_meet(&k, s, c, "a.test");
    VV_CHECK_INT(setsockopt(k.s->fd, SOL_SOCKET, SO_SNDBUF, &few, sizeof(few)), 0);
    for (unsigned i = 0; i < 40000 && (err == VV_OK || err == VV_EAGAIN); i++) {
        const struct iovec one = {(void *)(uintptr_t) "x", 1};
        VV_CHECK_INT(SSL_key_update(k.c->ssl, SSL_KEY_UPDATE_REQUESTED), 1);
        VV_CHECK_INT(vv_tls_write(k.c, &one, 1, 0, VV_SEC, &n), VV_OK);
        err = vv_tls_read(k.s, buf, sizeof(buf), &n);
        most = vv_max_u64(most, vv_tls_unsent(k.s));
    }
    VV_CHECK_INT(err, VV_ELIMIT); /* an answer has 27 bytes: 40,000 would be a megabyte */
    VV_CHECK(most <= VV_TLS_TAKE_MAX + 160 * 1024);
    kit_stop(&k);
    vv_tls_context_unref(s);
    vv_tls_context_unref(c);
}
