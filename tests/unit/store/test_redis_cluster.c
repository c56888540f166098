/* tests/unit/store/test_redis_cluster.c - who is asked in a cluster, and what its answers teach. Slots 0 to
 * 8191 are of the first server, the others of the second; "a" has slot 15495 and "b" 3300 (CLUSTER KEYSLOT). */
#include "redis_script.h"

#define A "b" /* a key of the first server */
#define B "a" /* of the second */
#define SLOT_A 3300

struct shard {
    int begin, end;      /* slots; begin -1: none */
    int master, replica; /* fakes; -1: none */
    bool failed;         /* the master */
};
static struct shard shards[4];
static size_t shard_count;
static bool hosts_unsaid, only_slots;

static void node_text(char *out, size_t room, int at, const char *role, const char *health)
{
    const char *host = hosts_unsaid ? "$0\r\n\r\n" : "$9\r\n127.0.0.1\r\n";
    const size_t n = strlen(out);
    snprintf(out + n, room - n,
             "%%4\r\n$4\r\nport\r\n:%u\r\n$8\r\nendpoint\r\n%s$4\r\nrole\r\n$%zu\r\n%s\r\n"
             "$6\r\nhealth\r\n$%zu\r\n%s\r\n",
             fakes[at].port, host, strlen(role), role, strlen(health), health);
}

/* CLUSTER SHARDS of what `shards` says. */
static const char *shards_text(void)
{
    char *out = reply_text;
    const size_t room = sizeof(reply_text);
    snprintf(out, room, "*%zu\r\n", shard_count);
    for (size_t i = 0; i < shard_count; i++) {
        const struct shard *s = &shards[i];
        size_t n = strlen(out);
        snprintf(out + n, room - n,
                 "%%2\r\n$5\r\nslots\r\n*2\r\n:%d\r\n:%d\r\n$5\r\nnodes\r\n*%d\r\n", s->begin,
                 s->end, s->replica >= 0 ? 2 : 1);
        node_text(out, room, s->master, "master", s->failed ? "fail" : "online");
        if (s->replica >= 0) {
            node_text(out, room, s->replica, "replica", "online");
        }
    }
    return out;
}

static const char *slots_text(void)
{
    snprintf(reply_text, sizeof(reply_text),
             "*2\r\n*3\r\n:0\r\n:8191\r\n*2\r\n$9\r\n127.0.0.1\r\n:%u\r\n"
             "*3\r\n:8192\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:%u\r\n",
             fakes[0].port, fakes[1].port);
    return reply_text;
}

static const char *topology(const char *words)
{
    if (strcmp(words, "CLUSTER SHARDS") == 0) {
        return only_slots ? "-ERR Unknown subcommand or wrong number of arguments\r\n"
                          : shards_text();
    }
    return strcmp(words, "CLUSTER SLOTS") == 0 ? slots_text() : NULL;
}

static const char *redirect(const char *kind, int slot, const char *host, size_t to)
{
    snprintf(reply_text, sizeof(reply_text), "-%s %d %s:%u\r\n", kind, slot, host, fakes[to].port);
    return reply_text;
}

static const char *plain(size_t at, const char *words)
{
    (void)at;
    return topology(words);
}

static void begin(const char *(*what)(size_t at, const char *words), struct vv_redis_conf conf)
{
    begin_fakes(4);
    script = what;
    shards[0] = (struct shard){0, 8191, 0, -1, false};
    shards[1] = (struct shard){8192, 16383, 1, -1, false};
    shard_count = 2;
    hosts_unsaid = only_slots = false;
    begin_redis("redis+cluster://127.0.0.1:%u", conf);
}

static unsigned refreshes(void)
{
    struct vv_redis_stats s;
    vv_redis_stats(redis, &s);
    return (unsigned)s.refreshes;
}

VV_TEST(redis_cluster_asks_whoever_serves_the_key)
{
    begin(plain, (struct vv_redis_conf){0});
    VV_CHECK_INT(get(A, 0), VV_OK);
    VV_CHECK_INT(get(B, 0), VV_OK);
    VV_CHECK_INT(set("{" B "}x"), VV_OK); /* a hash tag: the slot of what is in it */
    VV_CHECK_STR(fakes[0].log, "CLUSTER SHARDS; GET " A "; ");
    VV_CHECK_STR(fakes[1].log, "GET " B "; SET {" B "}x v; ");
    VV_CHECK_INT(refreshes(), 1);
    finish();
}

VV_TEST(redis_cluster_understands_old_servers_and_unsaid_hosts)
{
    begin(plain, (struct vv_redis_conf){0});
    only_slots = true;
    VV_CHECK_INT(get(B, 0), VV_OK);
    VV_CHECK_STR(fakes[0].log, "CLUSTER SHARDS; CLUSTER SLOTS; ");
    finish();
    begin(plain, (struct vv_redis_conf){0});
    hosts_unsaid = true; /* the host that answered: 127.0.0.1 */
    VV_CHECK_INT(get(B, 0), VV_OK);
    VV_CHECK_STR(fakes[1].log, "GET " B "; ");
    finish();
}

static const char *moved(size_t at, const char *words)
{
    /* No host: the one that answered. */
    return at == 0 && strncmp(words, "GET", 3) == 0 ? redirect("MOVED", SLOT_A, "", 1)
                                                    : topology(words);
}

VV_TEST(redis_cluster_follows_moved_learns_and_refreshes_once)
{
    struct asked a[20];
    begin(moved, (struct vv_redis_conf){0});
    VV_CHECK_INT(get(B, 0), VV_OK); /* the table is there */
    for (size_t i = 0; i < 20; i++) {
        ask(&a[i], "GET", A, VV_REDIS_READ);
    }
    for (size_t i = 0; i < 20; i++) {
        UNTIL(a[i].ends == 1);
        VV_CHECK_INT(a[i].err, VV_OK);
        VV_CHECK_STR(a[i].text, "v");
    }
    VV_CHECK_INT(heard(0, "GET " A), 20);
    VV_CHECK_INT(get(A, 0), VV_OK);
    VV_CHECK_INT(heard(0, "GET " A), 20); /* learned */
    VV_CHECK_INT(heard(1, "GET " A), 21);
    shards[0].end = SLOT_A - 1; /* the cluster says so now as well */
    shards[1].begin = SLOT_A;
    UNTIL(refreshes() == 2);
    pass_ms(250);
    VV_CHECK_INT(refreshes(), 2); /* twenty surprises, one question */
    finish();
}

static const char *ask_once(size_t at, const char *words)
{
    return at == 0 && strncmp(words, "GET", 3) == 0 ? redirect("ASK", SLOT_A, "127.0.0.1", 2)
                                                    : topology(words);
}

VV_TEST(redis_cluster_follows_ask_once_and_learns_nothing)
{
    begin(ask_once, (struct vv_redis_conf){0});
    VV_CHECK_INT(get(A, 0), VV_OK);
    VV_CHECK_STR(fakes[2].log, "ASKING; GET " A "; ");
    VV_CHECK_INT(get(A, 0), VV_OK);
    VV_CHECK_INT(heard(0, "GET " A), 2);
    pass_ms(150);
    VV_CHECK_INT(refreshes(), 1);
    finish();
}

static const char *loops(size_t at, const char *words)
{
    return strncmp(words, "GET", 3) == 0 ? redirect("MOVED", SLOT_A, "127.0.0.1", 1 - at)
                                         : topology(words);
}

VV_TEST(redis_cluster_gives_up_when_redirections_do_not_end)
{
    begin(loops, (struct vv_redis_conf){0});
    VV_CHECK_INT(get(A, 0), VV_EREFUSED);
    VV_CHECK_INT(heard(0, "GET") + heard(1, "GET"), 6); /* it and five redirections */
    finish();
}

static unsigned again_left;
static const char *again(size_t at, const char *words)
{
    if (at == 0 && strncmp(words, "GET", 3) == 0 && again_left > 0) {
        again_left--;
        return "-TRYAGAIN Multiple keys request during rehashing of slot\r\n";
    }
    return topology(words);
}

VV_TEST(redis_cluster_tries_again_until_the_deadline)
{
    begin(again, (struct vv_redis_conf){0});
    again_left = 8;
    VV_CHECK_INT(get(A, 0), VV_OK);
    VV_CHECK_INT(heard(0, "GET"), 9);
    finish();
    begin(again, (struct vv_redis_conf){.call_ns = 200 * VV_MS});
    VV_CHECK_INT(get(B, 0), VV_OK);
    again_left = UINT32_MAX;
    VV_CHECK_INT(get(A, 0), VV_ETIMEOUT);
    VV_CHECK(heard(0, "GET") <= 21); /* 10 ms between two */
    finish();
}

static bool down;
static const char *maybe_down(size_t at, const char *words)
{
    (void)at;
    return down && strncmp(words, "GET", 3) == 0 ? "-CLUSTERDOWN The cluster is down\r\n"
                                                 : topology(words);
}

VV_TEST(redis_cluster_that_is_down_costs_one_wait_and_is_back_at_once)
{
    begin(maybe_down, (struct vv_redis_conf){.call_ns = 200 * VV_MS});
    VV_CHECK_INT(get(A, 0), VV_OK);
    down = true;
    VV_CHECK_INT(get(A, 0), VV_ETIMEOUT);
    for (int i = 0; i < 10; i++) {
        const uint64_t began_ns = vv_loop_refresh(loop);
        VV_CHECK_INT(get(A, 0), VV_EREFUSED);
        VV_CHECK(vv_loop_refresh(loop) - began_ns < 150 * VV_MS);
    }
    VV_CHECK(
        vv_redis_up(redis, VV_STR(A), vv_loop_now(loop))); /* no breaker: it is not its fault */
    down = false;
    VV_CHECK_INT(get(A, 0), VV_OK);
    finish();
}

VV_TEST(redis_cluster_reads_from_replicas_when_it_may)
{
    begin(plain, (struct vv_redis_conf){.replicas = true});
    shards[0].replica = 2;
    VV_CHECK_INT(get(A, 0), VV_OK);
    VV_CHECK_INT(get(A, VV_REDIS_MASTER), VV_OK);
    VV_CHECK_INT(set(A), VV_OK);
    VV_CHECK_INT(get(B, 0), VV_OK); /* no replica there */
    VV_CHECK_STR(fakes[2].log, "READONLY; GET " A "; ");
    VV_CHECK_STR(fakes[0].log, "CLUSTER SHARDS; GET " A "; SET " A " v; ");
    end_fake(2);
    VV_CHECK_INT(get(A, 0), VV_OK);
    VV_CHECK_INT(heard(0, "GET " A), 2);
    finish();
}

static const char *loading(size_t at, const char *words)
{
    return at == 2 && strncmp(words, "GET", 3) == 0 ? "-LOADING Redis is loading\r\n"
                                                    : topology(words);
}

VV_TEST(redis_cluster_asks_the_master_when_a_replica_is_not_ready)
{
    begin(loading, (struct vv_redis_conf){.replicas = true});
    shards[0].replica = 2;
    VV_CHECK_INT(get(A, 0), VV_OK);
    VV_CHECK_INT(heard(2, "GET " A), 1);
    VV_CHECK_INT(heard(0, "GET " A), 1);
    finish();
}

VV_TEST(redis_cluster_replicas_answer_while_there_is_no_master)
{
    begin(plain, (struct vv_redis_conf){.replicas = true});
    shards[0].replica = 2;
    VV_CHECK_INT(get(A, 0), VV_OK);
    VV_CHECK_INT(get(B, 0), VV_OK);
    shards[0].failed = true; /* its slots are nobody's now, says the cluster */
    end_fake(0);
    const unsigned before = refreshes();
    UNTIL(refreshes() > before + 1);
    VV_CHECK_INT(get(A, 0), VV_OK);
    VV_CHECK_INT(heard(2, "GET " A), 2);
    VV_CHECK_INT(set(A), VV_EREFUSED);
    /* The replica is elected. */
    shards[0] = (struct shard){0, 8191, 2, -1, false};
    const unsigned then = refreshes();
    UNTIL(refreshes() > then);
    pass_ms(20);
    VV_CHECK_INT(set(A), VV_OK);
    VV_CHECK_INT(heard(2, "SET " A), 1);
    finish();
}

static uint64_t share_of(const char *key)
{
    return vv_redis_share(redis, vv_str_from(key));
}

VV_TEST(redis_cluster_closes_connections_to_servers_that_are_gone)
{
    begin(plain, (struct vv_redis_conf){.tracking = true});
    VV_CHECK_INT(get(A, VV_REDIS_TRACK), VV_OK);
    VV_CHECK_INT(get(B, VV_REDIS_TRACK), VV_OK);
    VV_CHECK(share_of(A) != 0 && share_of(B) != 0 && share_of(A) != share_of(B));
    VV_CHECK_INT(connections(1), 1);
    shards[1] = (struct shard){8192, 16383, 2, -1, false};
    script = moved; /* a surprise elsewhere makes it look */
    shards[0].master = 0;
    VV_CHECK_INT(get(A, 0), VV_OK); /* MOVED to 1, which answers */
    script = plain;
    UNTIL(lost_count >= 1 && connections(1) == 0);
    VV_CHECK_INT(get(B, 0), VV_OK);
    VV_CHECK_INT(heard(2, "GET " B), 1);
    finish();
}

VV_TEST(redis_cluster_gives_another_share_when_slots_have_left)
{
    begin(plain, (struct vv_redis_conf){.tracking = true});
    VV_CHECK_INT(get(A, VV_REDIS_TRACK), VV_OK);
    VV_CHECK_INT(get(B, VV_REDIS_TRACK), VV_OK);
    const uint64_t a = share_of("foo"),
                   b = share_of(B); /* "foo" has slot 12182: the second server */
    VV_CHECK_INT(a, b);
    const uint64_t first = share_of("k2"); /* slot below 3300: the first server */
    script = moved;                        /* slot 3300 goes to the second server */
    VV_CHECK_INT(get(A, 0), VV_OK);
    shards[0].end = SLOT_A - 1;
    shards[1].begin = SLOT_A;
    UNTIL(lost_count == 1);
    VV_CHECK_INT(share_of(B), b);       /* the second one lost nothing */
    VV_CHECK(share_of("{" A "}") == b); /* and serves it now */
    VV_CHECK_INT(connections(0), 1);    /* the connection stays, with another share: */
    VV_CHECK(share_of("k2") != 0 && share_of("k2") != first);
    finish();
}

VV_TEST(redis_cluster_refuses_at_once_when_nobody_answers)
{
    begin(plain, (struct vv_redis_conf){.call_ns = 500 * VV_MS});
    end_fake(0);
    VV_CHECK_INT(get(A, 0), VV_EREFUSED);
    struct asked a;
    ask(&a, "GET", A, VV_REDIS_READ);
    VV_CHECK_INT(a.ends, 1); /* without a wait */
    VV_CHECK_INT(a.err, VV_EREFUSED);
    finish();
}

VV_TEST(redis_cluster_frees_while_a_question_is_under_way)
{
    struct asked a;
    begin(plain, (struct vv_redis_conf){0});
    ask(&a, "GET", A, VV_REDIS_READ);
    vv_redis_free(redis);
    redis = NULL;
    VV_CHECK_INT(a.err, VV_ECLOSED);
    finish();
}
