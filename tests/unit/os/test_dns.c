/* tests/unit/os/test_dns.c - a tiny name server on the same loop answers over UDP, so no network
 * and no other program takes part. Message layout: RFC 1035 section 4. */
#include "os/dns.h"
#include "vv_test.h"
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

static struct vv_loop *loop;
static struct vv_dns *dns;
static struct vv_io server;
static int asked;
static bool silent;
static bool no_hosts_file;

/* Stands before the C library's, so that a test can take the hosts file away from c-ares. The name
 * is put in by hand because with 64-bit offsets our own fopen() is fopen64(), used inside. */
FILE *open_for_cares(const char *path, const char *mode) __asm__("fopen");
FILE *open_for_cares(const char *path, const char *mode)
{
    if (no_hosts_file && strcmp(path, "/etc/hosts") == 0) {
        errno = ENOENT;
        return NULL;
    }
    return fopen(path, mode);
}

/* Answers an A question with 192.0.2.1 and 192.0.2.2 (TTL 30), AAAA with 2001:db8::1 (TTL 20),
 * and a name that begins with "no" with NXDOMAIN. */
static size_t build_answer(uint8_t *m, size_t n)
{
    size_t at = 12;
    const bool none = n > 15 && m[13] == 'n' && m[14] == 'o';
    while (at < n && m[at] != 0) { /* labels of the question */
        at += 1u + m[at];
    }
    const unsigned type = (unsigned)m[at + 1] << 8 | m[at + 2];
    at += 5;     /* root label, type, class */
    m[2] = 0x81; /* an answer, recursion was desired */
    m[3] = none ? 0x83 : 0x80;
    m[10] = m[11] = 0; /* no additional records */
    const int count = none ? 0 : type == 1 ? 2 : 1;
    m[6] = 0;
    m[7] = (uint8_t)count;
    for (int i = 0; i < count; i++) {
        const uint8_t head[] = {0xC0, 12, 0, (uint8_t)type,       0, 1,
                                0,    0,  0, type == 1 ? 30 : 20, 0, type == 1 ? 4 : 16};
        const uint8_t four[] = {192, 0, 2, (uint8_t)(i + 1)};
        const uint8_t six[] = {0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
        memcpy(m + at, head, sizeof(head));
        at += sizeof(head);
        memcpy(m + at, type == 1 ? four : six, type == 1 ? 4 : 16);
        at += type == 1 ? 4 : 16;
    }
    return at;
}

static void on_question(struct vv_loop *l, struct vv_io *io, uint32_t events)
{
    uint8_t m[1024];
    struct vv_addr from;
    (void)l;
    (void)events;
    for (;;) {
        socklen_t len = sizeof(from.any);
        const ssize_t n = recvfrom(io->fd, m, 512, 0, &from.sa, &len);
        if (n < 17) {
            return;
        }
        asked++;
        if (!silent) {
            const size_t size = build_answer(m, (size_t)n);
            (void)sendto(io->fd, m, size, 0, &from.sa, len);
        }
    }
}

static void start(void)
{
    struct vv_addr a;
    char csv[VV_ADDR_TEXT];
    asked = 0;
    silent = false;
    VV_CHECK_INT(vv_loop_new(&loop), VV_OK);
    server = (struct vv_io){.fn = on_question,
                            .fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
    VV_CHECK(vv_addr_from_ip(VV_STR("127.0.0.1"), 0, &a));
    VV_CHECK_INT(bind(server.fd, &a.sa, a.len), 0);
    VV_CHECK_INT(vv_sock_local(server.fd, &a), VV_OK);
    VV_CHECK_INT(vv_loop_add(loop, &server), VV_OK);
    VV_CHECK_INT(vv_dns_new(loop, &dns), VV_OK);
    vv_addr_format(&a, csv, sizeof(csv));
    VV_CHECK_INT(vv_dns_set_servers(dns, csv), VV_OK);
}

static void finish(void)
{
    vv_dns_free(dns);
    vv_loop_del(loop, &server, true);
    vv_close_fd(&server.fd);
    vv_loop_free(loop);
}

static struct vv_dns_answer got;
static int calls;

static void on_answer(struct vv_dns_query *q, const struct vv_dns_answer *answer)
{
    (void)q;
    got = *answer;
    calls++;
}

static void lookup(struct vv_dns_query *q, const char *name, uint64_t timeout_ns)
{
    *q = (struct vv_dns_query){.fn = on_answer, .port = 8080};
    calls = 0;
    vv_dns_lookup(dns, q, name, timeout_ns);
}

static void wait_for_answer(void)
{
    for (int i = 0; i < 1000 && calls == 0; i++) {
        vv_loop_turn(loop, VV_SEC);
    }
    VV_CHECK_INT(calls, 1);
}

static void check_addr(size_t i, const char *want)
{
    char buf[VV_ADDR_TEXT];
    vv_addr_format(&got.addr[i], buf, sizeof(buf));
    VV_CHECK_STR(buf, want);
}

VV_TEST(dns_gives_all_addresses_a_before_aaaa_with_the_smallest_ttl)
{
    struct vv_dns_query q;
    start();
    lookup(&q, "shop.example.test", 5 * VV_SEC);
    wait_for_answer();
    VV_CHECK_INT(got.err, VV_OK);
    VV_CHECK_INT(got.count, 3);
    VV_CHECK_INT(got.addr[0].sa.sa_family, AF_INET);
    VV_CHECK_INT(got.addr[1].sa.sa_family, AF_INET);
    check_addr(2, "[2001:db8::1]:8080");
    VV_CHECK_INT(got.ttl_ns, 20 * VV_SEC);
    VV_CHECK_INT(asked, 2); /* one question for A, one for AAAA */
    finish();
}

VV_TEST(dns_says_that_there_is_no_such_name)
{
    struct vv_dns_query q;
    start();
    lookup(&q, "nowhere.example.test", 5 * VV_SEC);
    wait_for_answer();
    VV_CHECK_INT(got.err, VV_EDNS);
    VV_CHECK_INT(got.count, 0);
    finish();
}

VV_TEST(dns_gives_up_in_time_when_the_server_is_silent)
{
    struct vv_dns_query q;
    start();
    silent = true;
    lookup(&q, "shop.example.test", 5 * VV_MS);
    wait_for_answer();
    VV_CHECK_INT(got.err, VV_ETIMEOUT);
    VV_CHECK(q.pending == NULL);
    finish(); /* c-ares still waits: its leftovers go with the resolver */
}

VV_TEST(dns_calls_nobody_after_cancel_or_free)
{
    struct vv_dns_query q, r;
    start();
    lookup(&q, "shop.example.test", VV_SEC);
    vv_dns_cancel(&q);
    vv_dns_cancel(&q);
    lookup(&r, "shop.example.test", VV_SEC);
    wait_for_answer(); /* that of r: one call in all */
    silent = true;
    lookup(&q, "other.example.test", VV_SEC);
    finish();
    VV_CHECK_INT(calls, 0);
    VV_CHECK(q.pending == NULL);
}

VV_TEST(dns_answers_numbers_and_the_hosts_file_at_once)
{
    struct vv_dns_query q;
    start();
    lookup(&q, "2001:db8::7", VV_SEC);
    VV_CHECK_INT(calls, 1);
    check_addr(0, "[2001:db8::7]:8080");
    lookup(&q, "localhost", VV_SEC);
    VV_CHECK_INT(calls, 1);
    VV_CHECK_INT(got.err, VV_OK);
    check_addr(0, "127.0.0.1:8080");
    VV_CHECK_INT(got.ttl_ns, 60 * VV_SEC);
    VV_CHECK_INT(asked, 0);
    finish();
}

VV_TEST(dns_knows_localhost_without_a_hosts_file)
{
    static const char *const names[] = {"localhost", "LocalHost.", "shop.localhost"};
    struct vv_dns_query q;
    start();
    no_hosts_file = true;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        lookup(&q, names[i], VV_SEC);
        VV_CHECK_INT(calls, 1);
        VV_CHECK_INT(got.err, VV_OK);
        VV_CHECK_INT(got.count, 2); /* RFC 6761 section 6.3: the loopback addresses */
        check_addr(0, "127.0.0.1:8080");
        check_addr(1, "[::1]:8080");
        VV_CHECK_INT(got.ttl_ns, 60 * VV_SEC);
    }
    VV_CHECK_INT(asked, 0); /* nor is it a question for name servers */
    lookup(&q, "nolocalhost", VV_SEC);
    wait_for_answer();
    no_hosts_file = false;
    VV_CHECK_INT(got.err, VV_EDNS); /* a name of its own: asked, and there is none */
    VV_CHECK(asked > 0);
    finish();
}

VV_TEST(dns_refuses_servers_that_are_no_addresses)
{
    start();
    VV_CHECK_INT(vv_dns_set_servers(dns, "not an address"), VV_EINVAL);
    finish();
}
