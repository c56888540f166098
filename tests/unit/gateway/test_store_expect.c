/* tests/unit/gateway/test_store_expect.c - values of parameters of Redis mean the same or do not. The answers on the
 * right are what redis-server 7.0 gives to CONFIG GET. */
#include "gateway/store_expect.h"
#include "vv_test.h"

static bool holds(const char *name, const char *wanted, const char *is)
{
    return vv_expect_holds(vv_str_from(name), vv_str_from(wanted), vv_str_from(is));
}

VV_TEST(sizes_are_bytes)
{
    VV_CHECK(holds("maxmemory", "4gb", "4294967296")); /* 4 * 1024^3 */
    VV_CHECK(holds("maxmemory", "4GB", "4294967296"));
    VV_CHECK(holds("maxmemory", "512mb", "536870912"));
    VV_CHECK(holds("maxmemory", "4294967296", "4294967296"));
    VV_CHECK(!holds("maxmemory", "4gb", "4294967295"));
    VV_CHECK(!holds("maxmemory", "4gb", "0"));
    VV_CHECK(holds("maxmemory", "0", "0"));
}

VV_TEST(one_letter_is_1024_to_us_and_1000_to_the_server)
{
    VV_CHECK(holds("maxmemory", "512m", "536870912"));
    VV_CHECK(holds("maxmemory", "512m", "512000000"));
    VV_CHECK(holds("repl-backlog-size", "1k", "1000"));
    VV_CHECK(!holds("maxmemory", "512mb", "512000000"));
    VV_CHECK(!holds("maxmemory", "99999999999999999999g", "0"));
}

VV_TEST(times_are_counted_as_the_parameter_counts)
{
    VV_CHECK(holds("tcp-keepalive", "60s", "60"));
    VV_CHECK(holds("tcp-keepalive", "1m", "60"));
    VV_CHECK(holds("timeout", "0", "0"));
    VV_CHECK(holds("cluster-node-timeout", "15s", "15000"));
    VV_CHECK(holds("slowlog-log-slower-than", "10ms", "10000"));
    VV_CHECK(!holds("tcp-keepalive", "60s", "300"));
    VV_CHECK(!holds("timeout", "500ms", "0")); /* not a whole second */
    VV_CHECK(!holds("maxmemory", "5m", "300"));
}

VV_TEST(save_is_a_set_of_pairs)
{
    VV_CHECK(holds("save", "900 1", "900 1"));
    VV_CHECK(holds("save", "300 10 900 1", "900 1 300 10"));
    VV_CHECK(holds("save", "  900   1 ", "900 1"));
    VV_CHECK(holds("save", "15m 1", "900 1"));
    VV_CHECK(holds("save", "", ""));
    VV_CHECK(!holds("save", "300 1", "900 1"));
    VV_CHECK(!holds("save", "900 1", "3600 1 300 100 60 10000"));
    VV_CHECK(!holds("save", "900 1 900 1", "900 1 300 10"));
    VV_CHECK(!holds("save", "900 1", ""));
    VV_CHECK(!holds("save", "900", "900"));
}

VV_TEST(letters_of_events_come_in_any_order)
{
    VV_CHECK(holds("notify-keyspace-events", "KEx", "xKE"));
    VV_CHECK(holds("notify-keyspace-events", "AKE", "g$lshzxetdKE"));
    VV_CHECK(holds("notify-keyspace-events", "", ""));
    VV_CHECK(!holds("notify-keyspace-events", "KEx", "KE"));
    VV_CHECK(!holds("notify-keyspace-events", "?", "?"));
}

VV_TEST(words_are_compared_without_case_and_booleans_have_two_spellings)
{
    VV_CHECK(holds("maxmemory-policy", "allkeys-lru", "allkeys-lru"));
    VV_CHECK(holds("maxmemory-policy", "AllKeys-LRU", "allkeys-lru"));
    VV_CHECK(holds("appendonly", "yes", "yes"));
    VV_CHECK(holds("appendonly", "true", "yes"));
    VV_CHECK(holds("appendonly", "false", "no"));
    VV_CHECK(!holds("appendonly", "true", "no"));
    VV_CHECK(!holds("maxmemory-policy", "allkeys-lru", "noeviction"));
    VV_CHECK(holds("client-output-buffer-limit",
                   "normal 0 0 0 slave 256mb 64mb 60 pubsub 32mb 8mb 1m",
                   "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60"));
    VV_CHECK(!holds("bind", "127.0.0.1 -::1", "127.0.0.1"));
}

static void check_written(const char *name, const char *wanted, const char *as)
{
    struct vv_sb sb = VV_SB_INIT;
    vv_expect_write(vv_str_from(name), vv_str_from(wanted), &sb);
    VV_CHECK_STR(sb.p, as);
    vv_sb_fini(&sb);
}

VV_TEST(commands_can_be_pasted_into_a_shell)
{
    check_written("maxmemory", "4gb", "4gb");
    check_written("tcp-keepalive", "1m", "60");
    check_written("save", "900 1", "'900 1'");
    check_written("save", "", "''");
    check_written("requirepass", "it's; $HOME", "'it'\\''s; $HOME'");
}

static void check_shown(const char *name, const char *is, const char *as)
{
    struct vv_sb sb = VV_SB_INIT;
    vv_expect_show(vv_str_from(name), vv_str_from(is), &sb);
    VV_CHECK_STR(sb.p, as);
    vv_sb_fini(&sb);
}

VV_TEST(values_are_shown_with_what_they_mean)
{
    check_shown("maxmemory", "67108864", "67108864 (64MB)");
    check_shown("maxmemory", "0", "0 (no limit)");
    check_shown("timeout", "0", "0");
    check_shown("save", "", "empty");
    VV_CHECK(vv_expect_settable(VV_STR("maxmemory")));
    VV_CHECK(!vv_expect_settable(VV_STR("databases")));
}
