/* tests/unit/wire/test_redis_slots.c - slots of keys, and the table of a cluster. The answers have
 * the form that the documentation of CLUSTER SLOTS and CLUSTER SHARDS gives. */
#include "vv_test.h"
#include "wire/redis_slots.h"

#include <stdio.h>

static struct vv_redis_slots table;

static enum vv_err fill(enum vv_redis_slots_form form, bool tls, const char *wire, size_t piece)
{
    struct vv_redis_slots_fill f;
    struct vv_resp_reader r;
    enum vv_err err = VV_EAGAIN;
    const size_t all = strlen(wire);
    size_t from = 0, to = 0;
    vv_redis_slots_begin(&f, &table, form, tls);
    vv_resp_reader_init(&r, NULL, false);
    while (err == VV_EAGAIN) {
        struct vv_resp_item it;
        size_t used = 0;
        err = vv_resp_next(&r, (struct vv_str){wire + from, to - from}, &used, &it);
        from += used;
        if (err == VV_OK) {
            err = vv_redis_slots_item(&f, &it);
        } else if (to == all) {
            return err;
        } else {
            to = all - to < piece ? all : to + piece;
        }
    }
    return err;
}

static const char *node_at(uint16_t slot, bool replicas, uint64_t turn)
{
    static char text[300];
    const struct vv_redis_node *n = vv_redis_slots_node(&table, slot, replicas, turn);
    if (n == NULL) {
        return "nobody";
    }
    snprintf(text, sizeof text, "%s:%u", n->host, n->port);
    return text;
}

VV_TEST(redis_slot_is_crc16_of_the_key_or_its_tag)
{
    /* 0x31c3 is the check value of CRC-16/XMODEM for "123456789": 12739, below 16384. */
    VV_CHECK_INT(vv_redis_slot(VV_STR("123456789")), 0x31c3);
    VV_CHECK_INT(vv_redis_slot(VV_STR("")), 0);
    /* The examples of the specification. */
    const uint16_t user = vv_redis_slot(VV_STR("user1000"));
    VV_CHECK_INT(vv_redis_slot(VV_STR("{user1000}.following")), user);
    VV_CHECK_INT(vv_redis_slot(VV_STR("{user1000}.followers")), user);
    VV_CHECK_INT(vv_redis_slot(VV_STR("foo{{bar}}zap")), vv_redis_slot(VV_STR("{bar")));
    VV_CHECK_INT(vv_redis_slot(VV_STR("foo{bar}{zap}")), vv_redis_slot(VV_STR("bar")));
    /* "foo{}{bar}" is hashed as a whole: its first braces are empty. So differs from both parts. */
    VV_CHECK(vv_redis_slot(VV_STR("foo{}{bar}")) != vv_redis_slot(VV_STR("bar")));
    VV_CHECK(vv_redis_slot(VV_STR("foo{bar")) != vv_redis_slot(VV_STR("bar")));
    VV_CHECK(vv_redis_slot((struct vv_str){"a\0b", 3}) != vv_redis_slot(VV_STR("a")));
}

static const char slots_wire[] =
    "*3\r\n"
    "*4\r\n:0\r\n:5460\r\n"
    "*4\r\n$9\r\n127.0.0.1\r\n:30001\r\n$2\r\nid\r\n*2\r\n$8\r\nhostname\r\n$4\r\nh-01\r\n"
    "*3\r\n$9\r\n127.0.0.1\r\n:30004\r\n$2\r\nid\r\n"
    "*5\r\n:5461\r\n:10922\r\n"
    "*3\r\n$9\r\n127.0.0.1\r\n:30002\r\n$2\r\nid\r\n"
    "*3\r\n$9\r\n127.0.0.1\r\n:30005\r\n$2\r\nid\r\n"
    "*3\r\n$9\r\n127.0.0.1\r\n:30007\r\n$2\r\nid\r\n"
    "*3\r\n:10924\r\n:16383\r\n"
    "*4\r\n$-1\r\n:30003\r\n$2\r\nid\r\n*0\r\n";

VV_TEST(redis_slots_answer_fills_the_table_however_it_is_cut)
{
    for (size_t piece = 1; piece < sizeof slots_wire; piece++) {
        VV_CHECK_INT(fill(VV_REDIS_FORM_SLOTS, false, slots_wire, piece), VV_OK);
        VV_CHECK_INT(table.nodes_count, 6);
        VV_CHECK_INT(vv_redis_slots_covered(&table), 16383); /* 10923 is nobody's */
        VV_CHECK_STR(node_at(0, false, 0), "127.0.0.1:30001");
        VV_CHECK_STR(node_at(5460, false, 9), "127.0.0.1:30001");
        VV_CHECK_STR(node_at(5461, false, 0), "127.0.0.1:30002");
        VV_CHECK_STR(node_at(10923, false, 0), "nobody");
        VV_CHECK_STR(node_at(16383, false, 0), ":30003"); /* on the host that was asked */
    }
}

VV_TEST(redis_slots_reads_go_to_replicas_by_turns)
{
    VV_CHECK_INT(fill(VV_REDIS_FORM_SLOTS, false, slots_wire, 4096), VV_OK);
    VV_CHECK_STR(node_at(6000, true, 0), "127.0.0.1:30005");
    VV_CHECK_STR(node_at(6000, true, 1), "127.0.0.1:30007");
    VV_CHECK_STR(node_at(6000, true, 2), "127.0.0.1:30005");
    VV_CHECK_STR(node_at(16383, true, 1), ":30003"); /* it has none: the master */
}

VV_TEST(redis_slots_moved_changes_one_slot)
{
    VV_CHECK_INT(fill(VV_REDIS_FORM_SLOTS, false, slots_wire, 4096), VV_OK);
    VV_CHECK_INT(vv_redis_slots_move(&table, 100, VV_STR("127.0.0.1"), 30002), VV_OK);
    VV_CHECK_INT(vv_redis_slots_move(&table, 101, VV_STR("10.0.0.9"), 30009), VV_OK);
    VV_CHECK_INT(table.nodes_count, 7);
    VV_CHECK_STR(node_at(99, false, 0), "127.0.0.1:30001");
    VV_CHECK_STR(node_at(100, false, 0), "127.0.0.1:30002");
    VV_CHECK_STR(node_at(101, false, 0), "10.0.0.9:30009");
    /* A replica that took its master's slots is one itself. */
    VV_CHECK_INT(vv_redis_slots_move(&table, 6000, VV_STR("127.0.0.1"), 30005), VV_OK);
    VV_CHECK_STR(node_at(6000, false, 0), "127.0.0.1:30005");
    VV_CHECK_STR(node_at(5461, true, 1), "127.0.0.1:30007"); /* the other one stays */
    for (int i = 7; i < VV_REDIS_NODES_MAX; i++) {
        VV_CHECK_INT(vv_redis_slots_move(&table, 0, VV_STR("x"), (uint16_t)i), VV_OK);
    }
    VV_CHECK_INT(vv_redis_slots_move(&table, 0, VV_STR("y"), 1), VV_ELIMIT);
}

/* A shard with its replica first, a slot of its own, a node that failed; ports for TLS. */
#define SHARD(agg, count)                                                                          \
    agg count "\r\n$5\r\nslots\r\n*4\r\n:0\r\n:9\r\n:20\r\n:20\r\n$5\r\nnodes\r\n*3\r\n"
#define NODE(agg, count, port, tls, role, health)                                                  \
    agg count "\r\n$2\r\nid\r\n$2\r\nab\r\n$4\r\nport\r\n:" port "\r\n$8\r\ntls-port\r\n:" tls     \
              "\r\n$2\r\nip\r\n$8\r\n10.0.0.1\r\n$8\r\nendpoint\r\n$6\r\nnode-a\r\n"               \
              "$4\r\nrole\r\n" role "\r\n$6\r\nhealth\r\n" health "\r\n"
#define MASTER "$6\r\nmaster"
#define REPLICA "$7\r\nreplica"
#define ONLINE "$6\r\nonline"
static const char shards_3[] = "*2\r\n" SHARD("%", "2") NODE("%", "7", "1", "11", REPLICA, ONLINE)
    NODE("%", "7", "2", "12", MASTER, ONLINE)
        NODE("%", "7", "3", "13", REPLICA,
             "$4\r\nfail") "%2\r\n$5\r\nslots\r\n*0\r\n$5\r\nnodes\r\n*0\r\n";
static const char shards_2[] = "*2\r\n" SHARD("*", "4") NODE("*", "14", "1", "11", REPLICA, ONLINE)
    NODE("*", "14", "2", "12", MASTER, ONLINE)
        NODE("*", "14", "3", "13", REPLICA,
             "$4\r\nfail") "*4\r\n$5\r\nslots\r\n*0\r\n$5\r\nnodes\r\n*0\r\n";

VV_TEST(redis_shards_answer_fills_the_table_in_both_versions)
{
    const char *const wires[] = {shards_3, shards_2};
    for (size_t i = 0; i < 2; i++) {
        for (size_t piece = 1; piece < 400; piece++) {
            VV_CHECK_INT(fill(VV_REDIS_FORM_SHARDS, false, wires[i], piece), VV_OK);
            VV_CHECK_INT(table.nodes_count, 2);
            VV_CHECK_INT(vv_redis_slots_covered(&table), 11); /* 0 to 9, and 20 */
            VV_CHECK_STR(node_at(9, false, 0), "node-a:2");
            VV_CHECK_STR(node_at(20, true, 7), "node-a:1");
            VV_CHECK_STR(node_at(10, false, 0), "nobody");
        }
        VV_CHECK_INT(fill(VV_REDIS_FORM_SHARDS, true, wires[i], 4096), VV_OK);
        VV_CHECK_STR(node_at(0, false, 0), "node-a:12");
    }
}

VV_TEST(redis_slots_refuses_what_is_not_a_table)
{
    const struct {
        enum vv_redis_slots_form form;
        enum vv_err err;
        const char *wire;
    } bad[] = {
        {VV_REDIS_FORM_SLOTS, VV_EUNSUPPORTED, "-ERR cluster support disabled\r\n"},
        {VV_REDIS_FORM_SLOTS, VV_ESYNTAX, "+OK\r\n"},
        {VV_REDIS_FORM_SLOTS, VV_ESYNTAX, "*1\r\n:1\r\n"},
        {VV_REDIS_FORM_SLOTS, VV_ESYNTAX, "*1\r\n*2\r\n:5\r\n:4\r\n"},
        {VV_REDIS_FORM_SLOTS, VV_ESYNTAX, "*1\r\n*2\r\n:0\r\n:16384\r\n"},
        {VV_REDIS_FORM_SLOTS, VV_ESYNTAX, "*1\r\n*2\r\n:-1\r\n:1\r\n"},
        {VV_REDIS_FORM_SLOTS, VV_ESYNTAX, "*1\r\n*3\r\n:0\r\n:1\r\n+host\r\n"},
        {VV_REDIS_FORM_SLOTS, VV_ESYNTAX, "*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n+h\r\n:65536\r\n"},
        {VV_REDIS_FORM_SHARDS, VV_ESYNTAX, "*1\r\n%1\r\n+slots\r\n*1\r\n+x\r\n"},
        {VV_REDIS_FORM_SHARDS, VV_ESYNTAX, "*1\r\n%1\r\n+nodes\r\n*1\r\n:1\r\n"},
    };
    for (size_t i = 0; i < VV_COUNT(bad); i++) {
        VV_CHECK_INT(fill(bad[i].form, false, bad[i].wire, 1), bad[i].err);
    }
    VV_CHECK_INT(fill(VV_REDIS_FORM_SLOTS, false, "*0\r\n", 9), VV_OK);
    VV_CHECK_INT(vv_redis_slots_covered(&table), 0);
}
