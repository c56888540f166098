/* tests/unit/store/test_redis_tracking.c - what a real redis-server tells about keys that were read: each
 * way in which a key may change or go, and each way in which the telling may end. */
#include "redis_real.h"

static void begin(const char *const *extra)
{
    const struct vv_redis_conf conf = start_real(extra);
    open_redis(&conf);
}

/* Answers come behind invalidations on one connection: after one nothing is under way. */
static void settle(void)
{
    (void)answer_of("PING", VV_REDIS_READ);
}

VV_TEST(tracking_tells_once_when_another_client_writes)
{
    begin(NULL);
    VV_CHECK_STR(other_says("SET k 1"), "+OK\r\n");
    VV_CHECK_STR(read_of("GET k"), "1");
    VV_CHECK_STR(other_says("SET k 2"), "+OK\r\n");
    UNTIL(gone_count == 1);
    VV_CHECK_STR(gone, "k ");
    VV_CHECK_STR(other_says("SET k 3"), "+OK\r\n"); /* not read again: nobody watches it */
    settle();
    VV_CHECK_INT(gone_count, 1);
    VV_CHECK_STR(read_of("GET k"), "3");
    VV_CHECK_STR(other_says("DEL k"), ":1\r\n");
    UNTIL(gone_count == 2);
    stop_real();
}

VV_TEST(tracking_tells_when_a_key_that_was_missing_is_made)
{
    begin(NULL);
    VV_CHECK_STR(read_of("GET k"), "<null>");
    VV_CHECK_STR(other_says("SET k 1"), "+OK\r\n");
    UNTIL(gone_count == 1);
    VV_CHECK_STR(gone, "k ");
    stop_real();
}

VV_TEST(tracking_watches_only_what_was_asked_for)
{
    begin(NULL);
    VV_CHECK_STR(answer_of("GET a", VV_REDIS_READ), "<null>"); /* OPTIN: not watched */
    VV_CHECK_STR(read_of("GET b"), "<null>");
    VV_CHECK_STR(answer_of("GET c", VV_REDIS_READ),
                 "<null>"); /* nor what comes after a watched one */
    VV_CHECK_STR(other_says("MSET a 1 b 1 c 1"), "+OK\r\n");
    UNTIL(gone_count == 1);
    settle();
    VV_CHECK_STR(gone, "b ");
    stop_real();
}

VV_TEST(tracking_tells_when_a_key_expires)
{
    begin(NULL);
    VV_CHECK_STR(other_says("SET k 1 PX 30"), "+OK\r\n");
    VV_CHECK_STR(read_of("GET k"), "1");
    UNTIL(gone_count == 1);
    VV_CHECK_STR(gone, "k ");
    stop_real();
}

VV_TEST(tracking_tells_when_a_key_is_evicted)
{
    static const char *const extra[] = {"--maxmemory", "4mb", "--maxmemory-policy", "allkeys-lru",
                                        NULL};
    char words[64];
    begin(extra);
    for (int i = 0; i < 20; i++) {
        snprintf(words, sizeof words, "SET k%d v", i);
        VV_CHECK_STR(other_says(words), "+OK\r\n");
        snprintf(words, sizeof words, "GET k%d", i);
        VV_CHECK_STR(read_of(words), "v");
    }
    for (int i = 0; i < 60; i++) { /* 6 MB into 4 */
        snprintf(words, sizeof words, "SETRANGE f%d 100000 x", i);
        VV_CHECK_STR(other_says(words), ":100001\r\n");
    }
    UNTIL(gone_count > 0);
    VV_CHECK_INT(gone[0], 'k');
    stop_real();
}

VV_TEST(tracking_tells_of_everything_at_once_when_all_is_flushed)
{
    begin(NULL);
    VV_CHECK_STR(read_of("GET k"), "<null>");
    VV_CHECK_STR(other_says("FLUSHALL"), "+OK\r\n");
    UNTIL(gone_count == 1);
    VV_CHECK_STR(gone, "* ");
    stop_real();
}

VV_TEST(tracking_tells_of_our_own_writes_too)
{
    begin(NULL);
    VV_CHECK_STR(read_of("GET k"), "<null>");
    VV_CHECK_STR(answer_of("SET k 1", 0), "OK");
    UNTIL(gone_count == 1);
    VV_CHECK_STR(gone, "k ");
    stop_real();
}

VV_TEST(tracking_watches_a_key_from_our_own_write_on)
{
    begin(NULL);
    for (int read_before = 0; read_before < 2; read_before++) {
        gone_count = 0;
        if (read_before == 1) {
            VV_CHECK_STR(read_of("GET k"), "2");
        }
        VV_CHECK_STR(answer_of("SET k 1", VV_REDIS_TRACK), "OK");
        VV_CHECK_STR(answer_of("SET k 1", VV_REDIS_TRACK), "OK");
        settle();
        VV_CHECK_INT(gone_count, 0); /* not told of ours */
        VV_CHECK_STR(other_says("SET k 2"), "+OK\r\n");
        UNTIL(gone_count == 1); /* but of the next one */
    }
    stop_real();
}

VV_TEST(tracking_tells_others_from_us_when_both_write)
{
    static struct asked a[50];
    begin(NULL);
    char key[16], words[64];
    for (int i = 0; i < 50; i++) { /* one write of ours, one of the other's, neither waits */
        snprintf(key, sizeof key, "k%d", i);
        snprintf(words, sizeof words, "SET %s ours", key);
        VV_CHECK_INT(ask_for(&a[i], words, VV_REDIS_TRACK), VV_OK);
        vv_loop_turn(loop, 0);
        snprintf(words, sizeof words, "SET %s theirs", key);
        VV_CHECK_STR(other_says(words), "+OK\r\n");
    }
    UNTIL(a[49].ends == 1);
    settle();
    for (int i = 0; i < 50; i++) { /* whoever's value is there: if it is theirs, we were told */
        snprintf(words, sizeof words, "GET k%d", i);
        if (strcmp(answer_of(words, VV_REDIS_READ), "theirs") == 0) {
            snprintf(key, sizeof key, "k%d ", i);
            VV_CHECK(strstr(gone, key) != NULL);
        }
    }
    stop_real();
}

VV_TEST(tracking_writes_show_the_errors_of_their_own_command)
{
    begin(NULL);
    VV_CHECK_STR(other_says("LPUSH l a"), ":1\r\n");
    VV_CHECK_INT(strncmp(answer_of("APPEND l x", VV_REDIS_TRACK), "WRONGTYPE", 9), 0);
    VV_CHECK_STR(other_says("CONFIG SET maxmemory 1"), "+OK\r\n");
    VV_CHECK_INT(strncmp(answer_of("SET k v", VV_REDIS_TRACK), "OOM", 3), 0);
    VV_CHECK_STR(other_says("CONFIG SET maxmemory 0"), "+OK\r\n");
    VV_CHECK_STR(answer_of("SET k v", VV_REDIS_TRACK), "OK");
    VV_CHECK_STR(answer_of("INCR n", VV_REDIS_TRACK), "1");
    VV_CHECK_STR(answer_of("GET k", VV_REDIS_TRACK), "v");
    stop_real();
}

VV_TEST(tracking_tells_of_keys_evicted_for_our_own_writes)
{
    static const char *const extra[] = {"--maxmemory", "4mb", "--maxmemory-policy", "allkeys-lru",
                                        NULL};
    char words[64];
    begin(extra);
    for (int i = 0; i < 20; i++) {
        snprintf(words, sizeof words, "SET k%d v", i);
        VV_CHECK_STR(answer_of(words, VV_REDIS_TRACK), "OK");
    }
    for (int i = 0; i < 60; i++) {
        snprintf(words, sizeof words, "SETRANGE f%d 100000 x", i);
        VV_CHECK_STR(answer_of(words, 0), "100001");
    }
    UNTIL(gone_count > 0);
    VV_CHECK_INT(gone[0], 'k');
    stop_real();
}

VV_TEST(tracking_table_that_is_full_tells_rather_than_forgets)
{
    static const char *const extra[] = {"--tracking-table-max-keys", "100", NULL};
    char words[64];
    begin(extra);
    for (int i = 0; i < 500; i++) {
        snprintf(words, sizeof words, "GET k%d", i);
        VV_CHECK_STR(read_of(words), "<null>");
    }
    UNTIL(gone_count >= 400);
    struct vv_redis_stats s;
    vv_redis_stats(redis, &s);
    VV_CHECK_INT(s.invalidations, gone_count);
    stop_real();
}

VV_TEST(tracking_is_lost_with_the_connection_and_begins_again_with_another_share)
{
    begin(NULL);
    VV_CHECK_INT(vv_redis_share(redis, VV_STR("k")), 0); /* nothing is open yet */
    VV_CHECK_STR(read_of("GET k"), "<null>");
    const uint64_t share = vv_redis_share(redis, VV_STR("k"));
    VV_CHECK(share != 0);
    VV_CHECK_INT(other_says("CLIENT KILL TYPE normal SKIPME yes")[0], ':');
    UNTIL(lost_count == 1);
    VV_CHECK_INT(lost_share, share);
    VV_CHECK_STR(read_of("GET k"), "<null>"); /* it came back by itself */
    VV_CHECK(vv_redis_share(redis, VV_STR("k")) > share);
    VV_CHECK_STR(other_says("SET k 1"), "+OK\r\n");
    UNTIL(gone_count == 1);
    VV_CHECK_INT(lost_count, 1);
    stop_real();
}

VV_TEST(tracking_of_a_server_that_hangs_is_lost_soon)
{
    struct vv_redis_conf conf = start_real(NULL);
    conf.ping_ns = 100 * VV_MS;
    conf.call_ns = 50 * VV_MS;
    open_redis(&conf);
    UNTIL(read_of("GET k")[0] == '<');
    VV_CHECK_INT(kill(server, SIGSTOP), 0);
    const uint64_t from_ns = vv_loop_refresh(loop);
    UNTIL(lost_count == 1);
    /* 2 x 100 + 50 ms; generous to a busy machine, far from the 10 s of hang_ns. */
    VV_CHECK(lost_ns - from_ns < 2 * VV_SEC);
    kill(server, SIGCONT);
    stop_real();
}

VV_TEST(tracking_keys_longer_than_the_buffer_come_whole)
{
    static char words[9000], want[9000];
    begin(NULL);
    const size_t n = 4500;
    memset(want, 'x', n);
    const struct vv_str args[] = {VV_STR("GET"), {want, n}};
    static struct asked a;
    a = (struct asked){.op = {.item = asked_item,
                              .end = asked_end,
                              .key = args[1],
                              .args = args,
                              .args_count = 2,
                              .flags = VV_REDIS_READ | VV_REDIS_TRACK}};
    VV_CHECK_INT(vv_redis_do(redis, &a.op), VV_OK);
    UNTIL(a.ends == 1);
    VV_CHECK(a.op.share != 0);
    const int k = snprintf(words, sizeof words, "SET %s 1\r\n", want);
    VV_CHECK_INT(send(other, words, (size_t)k, MSG_NOSIGNAL), k);
    UNTIL(gone_count == 1);
    stop_real();
}

VV_TEST(tracking_that_rights_forbid_is_no_share)
{
    static const char *const extra[] = {"--user",           "app", "on", ">pw", "~*", "&*", "+@all",
                                        "-client|tracking", NULL};
    struct vv_redis_conf conf = start_real(extra);
    strcpy(conf.url.user, "app");
    strcpy(conf.url.password, "pw");
    open_redis(&conf);
    VV_CHECK_STR(read_of("GET k"), "<null>");
    VV_CHECK_INT(vv_redis_share(redis, VV_STR("k")), 0);
    stop_real();
}

VV_TEST(tracking_that_rights_forbid_later_is_lost)
{
    static const char *const extra[] = {"--user", "app", "on", ">pw", "~*", "&*", "+@all", NULL};
    struct vv_redis_conf conf = start_real(extra);
    strcpy(conf.url.user, "app");
    strcpy(conf.url.password, "pw");
    open_redis(&conf);
    VV_CHECK_STR(read_of("GET k"), "<null>");
    VV_CHECK(vv_redis_share(redis, VV_STR("k")) != 0);
    VV_CHECK_STR(other_says("ACL SETUSER app -client|caching"), "+OK\r\n");
    VV_CHECK_STR(read_of("GET k"), "<null>");
    VV_CHECK_INT(lost_count, 1);
    VV_CHECK_INT(vv_redis_share(redis, VV_STR("k")), 0);
    stop_real();
}
