/* tests/unit/gateway/test_clients.c - sets of addresses, and the table that says who may connect. */
#include "gateway/address_set.h"
#include "gateway/clients.h"
#include "vv_test.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static struct vv_addr addr(const char *ip)
{
    struct vv_addr a;
    assert_true(vv_addr_from_ip(vv_str_from(ip), 1234, &a));
    return a;
}

static struct vv_address_set *set_of(const char *const *blocks, size_t count)
{
    struct vv_cidr cidr[16];
    struct vv_address_set *s = malloc(vv_address_set_bytes(count));
    assert_non_null(s);
    for (size_t i = 0; i < count; i++) {
        VV_CHECK_INT(vv_cidr_parse(vv_str_from(blocks[i]), &cidr[i]), VV_OK);
    }
    vv_address_set_build(s, cidr, count);
    return s;
}

static bool has(const struct vv_address_set *s, const char *ip)
{
    const struct vv_addr a = addr(ip);
    return vv_address_set_has(s, &a);
}

VV_TEST(address_set_knows_what_is_in_its_blocks_and_what_is_beside_them)
{
    const char *const blocks[] = {"10.0.0.0/8", "192.0.2.7", "2001:db8::/33", "10.1.0.0/16",
                                  "198.51.100.128/25"};
    struct vv_address_set *s = set_of(blocks, VV_COUNT(blocks));
    VV_CHECK_INT(s->count, 4); /* 10.1/16 is in 10/8 */
    VV_CHECK_INT(has(s, "10.0.0.0"), true);
    VV_CHECK_INT(has(s, "10.255.255.255"), true);
    VV_CHECK_INT(has(s, "9.255.255.255"), false);
    VV_CHECK_INT(has(s, "11.0.0.0"), false);
    VV_CHECK_INT(has(s, "192.0.2.7"), true);
    VV_CHECK_INT(has(s, "192.0.2.6"), false);
    VV_CHECK_INT(has(s, "192.0.2.8"), false);
    VV_CHECK_INT(has(s, "198.51.100.128"), true);
    VV_CHECK_INT(has(s, "198.51.100.127"), false);
    VV_CHECK_INT(has(s, "2001:db8:7fff:ffff::1"), true);
    VV_CHECK_INT(has(s, "2001:db8:8000::"), false); /* the 33rd bit */
    VV_CHECK_INT(has(s, "::ffff:10.1.2.3"), true);
    free(s);
}

VV_TEST(address_set_keeps_the_families_apart)
{
    const char *const six[] = {"::/0"};
    const char *const four[] = {"0.0.0.0/0"};
    struct vv_address_set *s = set_of(six, 1);
    VV_CHECK_INT(has(s, "2001:db8::1"), true);
    VV_CHECK_INT(has(s, "192.0.2.1"), false);
    free(s);
    s = set_of(four, 1);
    VV_CHECK_INT(has(s, "192.0.2.1"), true);
    VV_CHECK_INT(has(s, "2001:db8::1"), false);
    free(s);
}

VV_TEST(address_set_agrees_with_asking_every_block)
{
    struct vv_cidr cidr[64];
    struct vv_address_set *s = malloc(vv_address_set_bytes(VV_COUNT(cidr)));
    uint64_t x = 1;
    assert_non_null(s);
    for (size_t i = 0; i < VV_COUNT(cidr); i++) {
        char text[64];
        x = x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        snprintf(text, sizeof text, "10.%u.%u.%u/%u", (unsigned)(x >> 60), (unsigned)(x >> 56 & 15),
                 (unsigned)(x >> 48 & 255), (unsigned)(16 + (x >> 40) % 17));
        VV_CHECK_INT(vv_cidr_parse(vv_str_from(text), &cidr[i]), VV_OK);
    }
    vv_address_set_build(s, cidr, VV_COUNT(cidr));
    for (unsigned i = 0; i < 65536; i++) {
        char text[32];
        bool any = false;
        snprintf(text, sizeof text, "10.%u.%u.%u", i >> 12, i >> 8 & 15, i & 255);
        const struct vv_addr a = addr(text);
        for (size_t k = 0; k < VV_COUNT(cidr); k++) {
            any = any || vv_cidr_has(&cidr[k], &a);
        }
        VV_CHECK_INT(vv_address_set_has(s, &a), any);
    }
    free(s);
}

/* ---- the table ---- */

static const struct vv_clients_settings plain = {.prefix4 = 32, .prefix6 = 64};

static enum vv_client_verdict take(struct vv_clients *c, const struct vv_clients_settings *conf,
                                   const char *ip, uint64_t now_ns, struct vv_client **ret)
{
    const struct vv_addr a = addr(ip);
    const struct vv_client_ask ask = {.conf = conf, .peer = &a, .place = 1, .tls = true};
    return vv_clients_take(c, &ask, now_ns, ret);
}

VV_TEST(clients_have_as_many_connections_as_they_may)
{
    struct vv_clients_settings conf = plain;
    struct vv_clients *c = NULL;
    struct vv_client *a = NULL, *b = NULL, *other = NULL, *none = NULL;
    conf.connections = 2;
    VV_CHECK_INT(vv_clients_new(64, 1, &c), VV_OK);
    VV_CHECK_INT(take(c, &conf, "192.0.2.1", VV_SEC, &a), VV_CLIENT_PASSES);
    VV_CHECK_INT(take(c, &conf, "192.0.2.1", VV_SEC, &b), VV_CLIENT_PASSES);
    VV_CHECK_INT(take(c, &conf, "192.0.2.1", VV_SEC, &none), VV_CLIENT_CONNECTIONS);
    assert_null(none);
    VV_CHECK_INT(take(c, &conf, "192.0.2.2", VV_SEC, &other), VV_CLIENT_PASSES);
    vv_client_leave(c, a);
    VV_CHECK_INT(take(c, &conf, "192.0.2.1", VV_SEC, &a), VV_CLIENT_PASSES);
    vv_client_leave(c, a);
    vv_client_leave(c, b);
    vv_client_leave(c, other);
    vv_clients_free(c);
}

VV_TEST(clients_of_ipv6_share_their_64_bits)
{
    struct vv_clients_settings conf = plain;
    struct vv_clients *c = NULL;
    struct vv_client *a = NULL, *b = NULL, *none = NULL;
    conf.connections = 1;
    VV_CHECK_INT(vv_clients_new(64, 1, &c), VV_OK);
    VV_CHECK_INT(take(c, &conf, "2001:db8:0:1::1", VV_SEC, &a), VV_CLIENT_PASSES);
    VV_CHECK_INT(take(c, &conf, "2001:db8:0:1:ffff::9", VV_SEC, &none), VV_CLIENT_CONNECTIONS);
    VV_CHECK_INT(take(c, &conf, "2001:db8:0:2::1", VV_SEC, &b), VV_CLIENT_PASSES);
    vv_client_leave(c, b);
    conf.prefix6 = 48; /* other blocks are other clients; what was taken before stays on its own */
    VV_CHECK_INT(take(c, &conf, "2001:db8:0:2::1", VV_SEC, &b), VV_CLIENT_PASSES);
    VV_CHECK_INT(take(c, &conf, "2001:db8:0:3::1", VV_SEC, &none), VV_CLIENT_CONNECTIONS);
    vv_client_leave(c, a);
    vv_client_leave(c, b);
    vv_clients_free(c);
}

VV_TEST(clients_come_at_a_rate_with_a_burst)
{
    struct vv_clients_settings conf = plain;
    struct vv_clients *c = NULL;
    struct vv_client *x = NULL;
    conf.fresh_interval_ns = 100 * VV_MS; /* 10/s */
    conf.fresh_burst = 3;
    VV_CHECK_INT(vv_clients_new(64, 1, &c), VV_OK);
    for (int i = 0; i < 3; i++) {
        VV_CHECK_INT(take(c, &conf, "192.0.2.1", VV_SEC, &x), VV_CLIENT_PASSES);
        vv_client_leave(c, x);
    }
    VV_CHECK_INT(take(c, &conf, "192.0.2.1", VV_SEC, &x), VV_CLIENT_NEW);
    VV_CHECK_INT(take(c, &conf, "192.0.2.1", VV_SEC + 99 * VV_MS, &x), VV_CLIENT_NEW);
    /* The three ended their credit at 1.3 s; one more may come 100 ms after the first. */
    VV_CHECK_INT(take(c, &conf, "192.0.2.1", VV_SEC + 100 * VV_MS, &x), VV_CLIENT_PASSES);
    vv_client_leave(c, x);
    vv_clients_free(c);
}

VV_TEST(clients_are_given_resumed_handshakes_back)
{
    struct vv_clients_settings conf = plain;
    struct vv_clients *c = NULL;
    struct vv_client *x = NULL;
    conf.handshakes_interval_ns = VV_SEC;
    conf.handshakes_burst = 1;
    VV_CHECK_INT(vv_clients_new(64, 1, &c), VV_OK);
    for (int i = 0; i < 50; i++) {
        VV_CHECK_INT(take(c, &conf, "192.0.2.1", VV_SEC, &x), VV_CLIENT_PASSES);
        vv_client_resumed(c, x, &conf);
        vv_client_leave(c, x);
    }
    VV_CHECK_INT(take(c, &conf, "192.0.2.1", VV_SEC, &x), VV_CLIENT_PASSES);
    vv_client_leave(c, x); /* a full one */
    VV_CHECK_INT(take(c, &conf, "192.0.2.1", VV_SEC, &x), VV_CLIENT_HANDSHAKES);
    vv_clients_free(c);
}

VV_TEST(clients_that_send_garbage_are_banned_for_a_while)
{
    struct vv_clients_settings conf = plain;
    struct vv_clients *c = NULL;
    struct vv_client *x = NULL, *y = NULL;
    struct vv_addr who = addr("192.0.2.1");
    conf.malformed_interval_ns = 30 * VV_SEC; /* 2/m */
    conf.malformed_burst = 2;
    conf.ban_ns = 10 * VV_MINUTE;
    VV_CHECK_INT(vv_clients_new(64, 1, &c), VV_OK);
    VV_CHECK_INT(take(c, &conf, "192.0.2.1", VV_SEC, &x), VV_CLIENT_PASSES);
    VV_CHECK_INT(vv_client_malformed(c, x, &conf, VV_SEC), false);
    VV_CHECK_INT(vv_client_malformed(c, x, &conf, VV_SEC), false);
    VV_CHECK_INT(take(c, &conf, "192.0.2.1", VV_SEC, &y), VV_CLIENT_PASSES);
    VV_CHECK_INT(vv_client_malformed(c, x, &conf, VV_SEC), true);
    VV_CHECK_INT(vv_client_malformed(c, y, &conf, VV_SEC), false); /* is banned already */
    vv_client_leave(c, x);
    vv_client_leave(c, y);
    VV_CHECK_INT(take(c, &conf, "192.0.2.1", 9 * VV_MINUTE, &x), VV_CLIENT_BANNED);
    VV_CHECK_INT(take(c, &conf, "192.0.2.9", 9 * VV_MINUTE, &x), VV_CLIENT_PASSES);
    vv_client_leave(c, x);
    VV_CHECK_INT(take(c, &conf, "192.0.2.1", 10 * VV_MINUTE + VV_SEC, &x), VV_CLIENT_PASSES);
    vv_client_leave(c, x);
    VV_CHECK_INT(vv_clients_pardon(c, &who, 9 * VV_MINUTE), 1); /* seen from before its end */
    VV_CHECK_INT(take(c, &conf, "192.0.2.1", 9 * VV_MINUTE, &x), VV_CLIENT_PASSES);
    vv_client_leave(c, x);
    vv_clients_free(c);
}

VV_TEST(clients_with_open_connections_outlast_a_spray_of_addresses)
{
    struct vv_clients_settings conf = plain;
    struct vv_clients *c = NULL;
    struct vv_client *held = NULL, *x = NULL;
    struct vv_clients_stats stats;
    conf.connections = 1;
    VV_CHECK_INT(vv_clients_new(64, 7, &c), VV_OK);
    VV_CHECK_INT(take(c, &conf, "192.0.2.1", VV_SEC, &held), VV_CLIENT_PASSES);
    for (unsigned i = 0; i < 100000; i++) {
        char ip[32];
        snprintf(ip, sizeof ip, "10.%u.%u.%u", i >> 16, i >> 8 & 255, i & 255);
        VV_CHECK_INT(take(c, &conf, ip, VV_SEC, &x), VV_CLIENT_PASSES);
        vv_client_leave(c, x);
    }
    VV_CHECK_INT(take(c, &conf, "192.0.2.1", VV_SEC, &x), VV_CLIENT_CONNECTIONS);
    vv_clients_look(c, VV_SEC, &stats);
    VV_CHECK_INT(stats.room, 64);
    VV_CHECK_INT(stats.used <= 64, true);
    VV_CHECK_INT(stats.untracked, 0);
    VV_CHECK_INT(stats.evicted, 0); /* idle ones went, which is no loss */
    vv_client_leave(c, held);
    vv_clients_free(c);
}

VV_TEST(clients_pass_untracked_where_all_places_are_held)
{
    struct vv_clients_settings conf = plain;
    struct vv_clients *c = NULL;
    struct vv_client *held[8], *x = NULL;
    struct vv_clients_stats stats;
    conf.connections = 1;
    VV_CHECK_INT(vv_clients_new(8, 7, &c), VV_OK); /* one bucket */
    for (unsigned i = 0; i < 8; i++) {
        char ip[32];
        snprintf(ip, sizeof ip, "192.0.2.%u", i);
        VV_CHECK_INT(take(c, &conf, ip, VV_SEC, &held[i]), VV_CLIENT_PASSES);
    }
    VV_CHECK_INT(take(c, &conf, "192.0.2.100", VV_SEC, &x), VV_CLIENT_PASSES);
    assert_null(x);
    vv_clients_look(c, VV_SEC, &stats);
    VV_CHECK_INT(stats.untracked, 1);
    for (unsigned i = 0; i < 8; i++) {
        vv_client_leave(c, held[i]);
    }
    vv_clients_free(c);
}

VV_TEST(clients_are_not_counted_where_nothing_is_limited)
{
    struct vv_clients *c = NULL;
    struct vv_client *x = NULL;
    struct vv_clients_stats stats;
    VV_CHECK_INT(vv_clients_new(8, 7, &c), VV_OK);
    VV_CHECK_INT(take(c, &plain, "192.0.2.1", VV_SEC, &x), VV_CLIENT_PASSES);
    assert_null(x);
    vv_clients_look(c, VV_SEC, &stats);
    VV_CHECK_INT(stats.used, 0);
    vv_client_leave(c, NULL);
    vv_clients_free(c);
}

VV_TEST(clients_are_told_by_listener)
{
    struct vv_clients *c = NULL;
    VV_CHECK_INT(vv_clients_new(8, 7, &c), VV_OK);
    VV_CHECK_INT(vv_clients_place(c, "web"), 1);
    VV_CHECK_INT(vv_clients_place(c, "secure"), 2);
    VV_CHECK_INT(vv_clients_place(c, "web"), 1);
    vv_clients_free(c);
}

VV_TEST(clients_show_the_busiest_first)
{
    struct vv_clients_settings conf = plain;
    struct vv_clients *c = NULL;
    struct vv_client *x[6];
    static const char *const ip[6] = {"192.0.2.3",       "192.0.2.1", "192.0.2.1",
                                      "2001:db8:0:1::9", "192.0.2.2", "192.0.2.1"};
    struct vv_sb out = VV_SB_INIT;
    struct vv_json j;
    conf.connections = 9;
    VV_CHECK_INT(vv_clients_new(64, 1, &c), VV_OK);
    VV_CHECK_INT(vv_clients_place(c, "web"), 1);
    for (size_t i = 0; i < VV_COUNT(x); i++) {
        VV_CHECK_INT(take(c, &conf, ip[i], VV_SEC, &x[i]), VV_CLIENT_PASSES);
    }
    vv_client_leave(c, x[0]); /* has nothing open and was never refused: not shown */
    vv_json_init(&j, &out);
    vv_json_obj(&j);
    vv_clients_json(c, VV_SEC, 1, &j);
    vv_json_obj_end(&j);
    char *text = vv_sb_take(&out);
    VV_CHECK_STR(text,
                 "{\"clients\":[{\"address\":\"192.0.2.1\",\"listener\":\"web\",\"connections\":3,"
                 "\"refused\":0,\"malformed\":0,\"banned_seconds\":0}],\"table\":{\"room\":64,"
                 "\"used\":4,\"evicted\":0,\"untracked\":0,\"bans\":0,\"banned\":0}}");
    free(text);
    vv_json_init(&j, &out);
    vv_json_obj(&j);
    vv_clients_json(c, VV_SEC, 1000, &j);
    vv_json_obj_end(&j);
    text = vv_sb_take(&out);
    assert_non_null(strstr(text, "\"2001:db8:0:1::/64\""));
    assert_null(strstr(text, "192.0.2.3"));
    free(text);
    for (size_t i = 1; i < VV_COUNT(x); i++) {
        vv_client_leave(c, x[i]);
    }
    vv_clients_free(c);
}

struct crowd {
    struct vv_clients *c;
    const struct vv_clients_settings *conf;
    _Atomic unsigned open, most;
};

static void *come_and_go(void *arg)
{
    struct crowd *crowd = arg;
    for (unsigned i = 0; i < 20000; i++) {
        struct vv_client *x = NULL;
        if (take(crowd->c, crowd->conf, "192.0.2.1", VV_SEC, &x) == VV_CLIENT_PASSES) {
            const unsigned open = ++crowd->open;
            if (open > crowd->most) {
                crowd->most = open;
            }
            crowd->open--;
            vv_client_leave(crowd->c, x);
        }
    }
    return NULL;
}

VV_TEST(clients_are_counted_right_by_several_workers)
{
    struct vv_clients_settings conf = plain;
    struct crowd crowd = {.conf = &conf};
    pthread_t thread[4];
    struct vv_client *x = NULL;
    conf.connections = 2;
    VV_CHECK_INT(vv_clients_new(64, 1, &crowd.c), VV_OK);
    for (size_t i = 0; i < VV_COUNT(thread); i++) {
        VV_CHECK_INT(pthread_create(&thread[i], NULL, come_and_go, &crowd), 0);
    }
    for (size_t i = 0; i < VV_COUNT(thread); i++) {
        pthread_join(thread[i], NULL);
    }
    VV_CHECK_INT(crowd.most <= 2, true);
    VV_CHECK_INT(take(crowd.c, &conf, "192.0.2.1", VV_SEC, &x),
                 VV_CLIENT_PASSES); /* all have left */
    vv_client_leave(crowd.c, x);
    vv_clients_free(crowd.c);
}
