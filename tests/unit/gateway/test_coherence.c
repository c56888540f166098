/* tests/unit/gateway/test_coherence.c - two gateways that share purges through a real redis-server of each
 * test's own, on a unix socket in a folder of its own. Skipped where redis-server is not installed. */
#include "gateway/coherence.h"
#include "os/thread.h"
#include "vv_test.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define BOUND_NS (400 * VV_MS)

struct gate { /* what a gateway has of it */
    struct vv_store store;
    struct vv_redis *control;
    struct vv_metrics *metrics;
    struct vv_epoch epoch;
    struct vv_epoch_reader *reader;
    struct vv_cache *memory;
    struct vv_coherence *c;
};

static char folder[64];
static pid_t server = -1;
static struct vv_loop *loop;
static struct gate a, b;

/* The two functions of gateway/stores.h that are called; the store is the gate's. */
struct vv_redis *vv_store_control(struct vv_store *s)
{
    struct gate *g = VV_CONTAINER(s, struct gate, store);
    if (g->control == NULL) {
        VV_CHECK_INT(vv_redis_new(loop, &s->conf, NULL, &g->control), VV_OK);
    }
    return g->control;
}

void vv_store_unref(struct vv_store *s)
{
    s->refs--;
}

/* A server of version 2 does not know HELLO. */
static void start_server_of(int version)
{
    const pid_t parent = getpid();
    strcpy(folder, "/tmp/vivace-redis-XXXXXX");
    if (system("command -v redis-server redis-cli >/dev/null 2>&1") != 0) {
        skip();
    }
    VV_CHECK(mkdtemp(folder) != NULL);
    server = fork();
    if (server == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() == parent && chdir(folder) == 0 && freopen("log", "w", stdout) != NULL) {
            execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", "s", "--save", "",
                   version == 2 ? "--rename-command" : NULL, "HELLO", "", (char *)NULL);
        }
        _exit(127);
    }
    VV_CHECK(server > 0);
    char path[100];
    struct vv_addr addr;
    snprintf(path, sizeof path, "unix:%s/s", folder);
    VV_CHECK_INT(vv_addr_parse(vv_str_from(path), &addr), VV_OK);
    for (int i = 0; i < 500; i++) { /* until it listens */
        int fd = -1;
        if (vv_sock_connect(&addr, &fd) == VV_OK) {
            vv_close_fd(&fd);
            return;
        }
        usleep(10000);
    }
    fail_msg("redis-server did not start");
}

static void start_server(void)
{
    start_server_of(3);
}

/* The first line that redis-cli prints. */
static const char *redis(const char *words)
{
    static char line[256];
    char command[512];
    snprintf(command, sizeof command, "redis-cli -s %s/s %s", folder, words);
    FILE *f = popen(command, "r");
    VV_CHECK(f != NULL);
    line[0] = '\0';
    (void)!fgets(line, sizeof line, f);
    line[strcspn(line, "\n")] = '\0';
    while (fgetc(f) != EOF) {
        /* the others */
    }
    VV_CHECK_INT(pclose(f), 0);
    return line;
}

static void open_gate(struct gate *g)
{
    char url[128], why[256];
    const struct vv_cache_conf cc = {.budget_bytes = VV_MIB};
    memset(g, 0, sizeof *g);
    g->store.name = (char *)(uintptr_t) "shared";
    g->store.prefix = (char *)(uintptr_t) "vz";
    g->store.refs = 1;
    snprintf(url, sizeof url, "redis+unix://%s/s", folder);
    VV_CHECK_INT(vv_redis_url_read(vv_str_from(url), &g->store.conf.url, why), VV_OK);
    VV_CHECK_INT(vv_metrics_new(&g->metrics), VV_OK);
    vv_epoch_init(&g->epoch);
    VV_CHECK_INT(vv_epoch_join(&g->epoch, &g->reader), VV_OK);
    VV_CHECK_INT(vv_cache_new(&cc, &g->epoch, &g->memory), VV_OK);
    const struct vv_coherence_conf conf = {.name = VV_STR("pages"),
                                           .log = &g->store,
                                           .memory = g->memory,
                                           .control = loop,
                                           .metrics = g->metrics,
                                           .bound_ns = BOUND_NS};
    VV_CHECK_INT(vv_coherence_new(&conf, &g->c), VV_OK);
}

static void close_gate(struct gate *g)
{
    vv_coherence_free(g->c);
    VV_CHECK_INT(g->store.refs, 0);
    vv_loop_turn(loop, 0); /* mail that is on its way */
    vv_redis_free(g->control);
    vv_epoch_leave(&g->epoch, g->reader);
    vv_cache_free(g->memory);
    vv_epoch_reclaim(&g->epoch);
    vv_epoch_fini(&g->epoch);
    vv_metrics_free(g->metrics);
}

/* Turns the loop until `cond` holds; fails after ten seconds. */
#define UNTIL(cond)                                                                                \
    do {                                                                                           \
        const uint64_t until_ns_ = vv_loop_refresh(loop) + 10 * VV_SEC;                            \
        while (!(cond) && vv_loop_now(loop) < until_ns_) {                                         \
            turn();                                                                                \
        }                                                                                          \
        VV_CHECK(cond);                                                                            \
    } while (0)

static void turn(void)
{
    static uint64_t ticked_ns;
    vv_loop_turn(loop, VV_MS);
    if (vv_loop_now(loop) - ticked_ns >= 100 * VV_MS) {
        ticked_ns = vv_loop_now(loop);
        vv_coherence_tick(a.c, ticked_ns);
        if (b.c != NULL) {
            vv_coherence_tick(b.c, ticked_ns);
        }
    }
}

static bool synced(void)
{
    return vv_coherence_synced(a.c) && vv_coherence_synced(b.c);
}

static void start_gates(void)
{
    VV_CHECK_INT(vv_loop_new(&loop), VV_OK);
    open_gate(&a);
    open_gate(&b);
    UNTIL(synced());
    UNTIL(vv_coherence_born(a.c) == vv_coherence_born(b.c)); /* each may have begun the log */
}

static void start(void)
{
    start_server();
    start_gates();
}

static void stop(void)
{
    close_gate(&a);
    close_gate(&b);
    vv_loop_free(loop);
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
    static const char *const files[] = {"/s", "/log", "/dump.rdb", ""};
    for (size_t i = 0; i < VV_COUNT(files); i++) {
        char path[100];
        snprintf(path, sizeof path, "%s%s", folder, files[i]);
        remove(path);
    }
}

static void put(struct gate *g, const char *key)
{
    const struct vv_str k = vv_str_from(key);
    const uint64_t tags[] = {vv_cache_tag(VV_STR("shop"))};
    const struct vv_cache_spec s = {.key = k,
                                    .hash = vv_cache_hash(g->memory, k),
                                    .meta = "m",
                                    .meta_n = 1,
                                    .head = VV_STR("h"),
                                    .body = VV_STR("body"),
                                    .tags = tags,
                                    .tags_n = 1,
                                    .keep_until_ns = UINT64_MAX,
                                    .born = vv_cache_born(g->memory)};
    VV_CHECK_INT(vv_cache_insert(g->memory, &s, vv_loop_now(loop)), VV_OK);
}

/* 0: not there, 1: there, 2: softly purged. */
static int held(struct gate *g, const char *key)
{
    const struct vv_str k = vv_str_from(key);
    const struct vv_cache_query q = {.key = k, .hash = vv_cache_hash(g->memory, k)};
    bool soft = false;
    const bool there = vv_cache_lookup(g->memory, g->reader, &q, &soft) != NULL;
    vv_epoch_quiet(&g->epoch, g->reader);
    return there ? 1 + soft : 0;
}

enum { GOOD = VV_COHERENCE_GOOD, SOFT = VV_COHERENCE_SOFT, GONE = VV_COHERENCE_GONE };

static enum vv_coherence_verdict judge(const struct gate *g, const char *key, uint64_t log)
{
    const uint64_t tags[] = {vv_cache_tag(VV_STR("shop"))};
    const struct vv_packed_head h = {
        .log = log, .key = vv_str_from(key), .tags = tags, .tags_n = 1};
    return vv_coherence_judge(g->c, &h);
}

static void purge(struct gate *g, int what, const char *value, bool soft)
{
    const struct vv_purge p = {.what = (unsigned)what, .value = vv_str_from(value), .soft = soft};
    vv_coherence_purge(g->c, &p);
}

/* What vv_coherence_json() says of a key that comes but once. */
static bool says(struct gate *g, const char *text)
{
    struct vv_sb sb = VV_SB_INIT;
    struct vv_json j;
    vv_json_init(&j, &sb);
    vv_json_obj(&j);
    vv_coherence_json(g->c, &j);
    vv_json_obj_end(&j);
    const bool there = sb.p != NULL && strstr(sb.p, text) != NULL;
    vv_sb_fini(&sb);
    return there;
}

VV_TEST(coherence_purges_of_each_kind_reach_the_other_gateway)
{
    static const struct {
        int what;
        const char *value;
        bool soft;
        int held, other; /* of "/a" and "/b" afterwards */
    } rows[] = {
        {VV_PURGE_URL, "/a", false, 0, 1},      {VV_PURGE_URL, "/a", true, 2, 1},
        {VV_PURGE_TAG, "shop", false, 0, 0},    {VV_PURGE_TAG, "shop", true, 2, 2},
        {VV_PURGE_PATTERN, "/a*", false, 0, 1}, {VV_PURGE_PATTERN, "?b", true, 1, 2},
        {VV_PURGE_ALL, "", false, 0, 0},        {VV_PURGE_ALL, "", true, 2, 2},
    };
    start();
    for (size_t i = 0; i < VV_COUNT(rows); i++) {
        static const int verdict[] = {GONE, GOOD, SOFT};
        put(&b, "/a");
        put(&b, "/b");
        const uint64_t log = vv_coherence_born(b.c);
        VV_CHECK_INT(judge(&b, "/a", log), GOOD);
        purge(&a, rows[i].what, rows[i].value, rows[i].soft);
        VV_CHECK_INT(judge(&a, "/a", UINT64_MAX), verdict[rows[i].held]); /* from this moment */
        UNTIL(vv_coherence_born(b.c) > log);
        VV_CHECK_INT(held(&b, "/a"), rows[i].held);
        VV_CHECK_INT(held(&b, "/b"), rows[i].other);
        VV_CHECK_INT(judge(&b, "/a", log), verdict[rows[i].held]);
        VV_CHECK_INT(judge(&b, "/b", log), verdict[rows[i].other]);
        VV_CHECK_INT(judge(&b, "/a", vv_coherence_born(b.c)), GOOD);
        UNTIL(vv_coherence_born(a.c) == vv_coherence_born(b.c));
        VV_CHECK_INT(judge(&a, "/a", log), verdict[rows[i].held]);
        VV_CHECK_INT(judge(&a, "/a", vv_coherence_born(a.c)), GOOD); /* not for ever */
        VV_CHECK(says(&a, "\"waiting\":0,"));
    }
    VV_CHECK(says(&a, "\"sent\":8,\"received\":0,"));
    VV_CHECK(says(&b, "\"sent\":0,\"received\":8,"));
    stop();
}

VV_TEST(coherence_own_purges_leave_memory_to_whoever_made_them)
{
    start();
    purge(&a, VV_PURGE_URL, "/a", false);
    put(&a, "/a"); /* fetched after it */
    UNTIL(says(&a, "\"waiting\":0,"));
    VV_CHECK_INT(held(&a, "/a"), 1);
    stop();
}

VV_TEST(coherence_links_that_are_cut_lose_no_purge)
{
    start();
    for (int i = 0; i < 3; i++) {
        const uint64_t log = vv_coherence_born(b.c);
        put(&b, "/a");
        (void)redis("CLIENT KILL TYPE normal SKIPME yes");
        purge(&a, VV_PURGE_URL, "/a", false);
        UNTIL(vv_coherence_born(b.c) > log && synced());
        VV_CHECK_INT(held(&b, "/a"), 0);
        VV_CHECK_INT(judge(&b, "/a", log), GONE);
        VV_CHECK_INT(judge(&b, "/x", log), GOOD); /* that, and nothing else */
    }
    VV_CHECK(says(&b, "\"logs_lost\":0"));
    stop();
}

VV_TEST(coherence_without_proof_within_the_bound_nothing_is_trusted)
{
    start();
    put(&b, "/a");
    const uint64_t log = vv_coherence_born(b.c);
    VV_CHECK_INT(judge(&b, "/x", log), GOOD);
    VV_CHECK_INT(kill(server, SIGSTOP), 0);
    const uint64_t from_ns = vv_loop_refresh(loop);
    purge(&a, VV_PURGE_URL, "/c", false);
    UNTIL(vv_loop_now(loop) > from_ns + BOUND_NS);
    VV_CHECK(!vv_coherence_synced(a.c) && !vv_coherence_synced(b.c));
    UNTIL(held(&b, "/a") == 0);
    VV_CHECK_INT(judge(&b, "/x", log), GONE);
    put(&b, "/a"); /* kept by it alone from now on: purges are still to come */
    put(&b, "/c");
    VV_CHECK(says(&a, "\"waiting\":1,"));
    VV_CHECK_INT(kill(server, SIGCONT), 0);
    UNTIL(synced() && vv_coherence_born(b.c) > log);
    VV_CHECK_INT(held(&b, "/a"), 1);
    VV_CHECK_INT(held(&b, "/c"), 0);
    VV_CHECK_INT(judge(&b, "/c", log), GONE);
    VV_CHECK_INT(judge(&b, "/x", log), GOOD);
    UNTIL(says(&a, "\"waiting\":0,"));
    stop();
}

VV_TEST(coherence_reads_the_log_of_a_server_of_version_2)
{
    start_server_of(2);
    start_gates();
    put(&b, "/a");
    const uint64_t log = vv_coherence_born(b.c);
    purge(&a, VV_PURGE_URL, "/a", false);
    UNTIL(vv_coherence_born(b.c) > log);
    VV_CHECK_INT(held(&b, "/a"), 0);
    VV_CHECK_INT(judge(&b, "/a", log), GONE);
    VV_CHECK_INT(judge(&b, "/x", log), GOOD); /* it was understood */
    UNTIL(says(&a, "\"waiting\":0,"));
    VV_CHECK_STR(redis("FLUSHALL"), "OK");
    UNTIL(vv_coherence_born(b.c) > log && judge(&b, "/x", log) == VV_COHERENCE_GONE);
    stop();
}

VV_TEST(coherence_a_log_that_was_flushed_begins_anew_for_everybody)
{
    start();
    put(&a, "/a");
    put(&b, "/a");
    const uint64_t log = vv_coherence_born(b.c);
    VV_CHECK_STR(redis("FLUSHALL"), "OK");
    UNTIL(vv_coherence_born(a.c) > log && vv_coherence_born(b.c) > log && synced());
    VV_CHECK_INT(held(&a, "/a"), 0);
    VV_CHECK_INT(held(&b, "/a"), 0);
    VV_CHECK_INT(judge(&b, "/x", log), GONE);
    VV_CHECK_INT(judge(&b, "/x", vv_coherence_born(b.c)), GOOD);
    VV_CHECK(says(&b, "\"logs_lost\":1"));
    stop();
}

VV_TEST(coherence_a_log_that_lost_its_end_says_so_to_everybody)
{
    start();
    purge(&a, VV_PURGE_URL, "/a", false);
    purge(&a, VV_PURGE_URL, "/b", false);
    UNTIL(says(&b, "\"received\":2,"));
    UNTIL(vv_coherence_born(a.c) == vv_coherence_born(b.c));
    const uint64_t log = vv_coherence_born(b.c);
    put(&b, "/c");
    /* The last record goes, as by a failover to a replica that had not seen it. */
    VV_CHECK_STR(redis("EVAL \"local l = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1); "
                       "return redis.call('XDEL', KEYS[1], l[1][1])\" 1 vz:pages:purges"),
                 "1");
    UNTIL(vv_coherence_born(a.c) > log && vv_coherence_born(a.c) == vv_coherence_born(b.c) &&
          synced());
    VV_CHECK_INT(held(&b, "/c"), 0);
    VV_CHECK_INT(judge(&b, "/x", log), GONE); /* by the record that says it begins */
    stop();
}

VV_TEST(coherence_ids_go_on_when_the_clock_of_the_server_goes_back)
{
    start();
    /* In the year 2128; then the log is gone, and the next id would be one of today. */
    VV_CHECK_STR(redis("XADD vz:pages:purges 5000000000000-5 g 1 what url value /a soft 0"),
                 "5000000000000-5");
    const uint64_t log = (UINT64_C(5000000000000) << 20) + 5;
    UNTIL(vv_coherence_born(a.c) == log && vv_coherence_born(b.c) == log);
    VV_CHECK_STR(redis("DEL vz:pages:purges"), "1");
    UNTIL(vv_coherence_born(a.c) > log && vv_coherence_born(b.c) == vv_coherence_born(a.c) &&
          synced());
    VV_CHECK_INT(judge(&b, "/x", log), GONE);
    const uint64_t later = vv_coherence_born(b.c);
    purge(&a, VV_PURGE_URL, "/b", false);
    UNTIL(vv_coherence_born(b.c) > later);
    VV_CHECK_INT(judge(&b, "/b", later), GONE);
    VV_CHECK_INT(judge(&b, "/x", later), GOOD);
    stop();
}

VV_TEST(coherence_what_is_not_understood_purges_everything)
{
    static const char *const entries[] = {
        "g 1 what colour value red soft 0",
        "g 1 what colour value red soft 1",
        "hello world",
        "a_field_whose_name_is_long_enough_for_trouble 12345678901234567890123456789012345678901",
    };
    start();
    for (size_t i = 0; i < VV_COUNT(entries); i++) {
        char command[256];
        const uint64_t log = vv_coherence_born(b.c);
        put(&b, "/a");
        snprintf(command, sizeof command, "XADD vz:pages:purges '*' %s", entries[i]);
        (void)redis(command);
        UNTIL(vv_coherence_born(b.c) > log);
        VV_CHECK_INT(held(&b, "/a"), 0);
        VV_CHECK_INT(judge(&b, "/x", log), GONE);
    }
    stop();
}

VV_TEST(coherence_a_value_that_is_too_long_purges_everything)
{
    start();
    char *value = malloc(70001);
    VV_CHECK(value != NULL);
    memset(value, 'x', 70000);
    value[70000] = '\0';
    for (size_t n = 60000; n <= 70000; n += 10000) {
        const uint64_t log = vv_coherence_born(b.c);
        value[n] = '\0';
        put(&b, "/a");
        purge(&a, VV_PURGE_URL, value, false);
        UNTIL(vv_coherence_born(b.c) > log);
        VV_CHECK_INT(held(&b, "/a"), n == 60000); /* the limit is 64 KiB */
        VV_CHECK_INT(judge(&b, value, log), GONE);
        value[n] = 'x';
    }
    free(value);
    stop();
}

VV_TEST(coherence_a_key_of_another_kind_is_no_log)
{
    start();
    VV_CHECK_STR(redis("SET vz:pages:purges x"), "OK");
    UNTIL(!vv_coherence_synced(a.c) && !vv_coherence_synced(b.c));
    VV_CHECK(says(&b, "\"log_error\":\"WRONGTYPE "));
    VV_CHECK_STR(redis("DEL vz:pages:purges"), "1");
    UNTIL(synced());
    stop();
}

VV_TEST(coherence_more_purges_than_may_wait_become_one_of_everything)
{
    start();
    put(&b, "/a");
    const uint64_t log = vv_coherence_born(b.c);
    VV_CHECK_INT(kill(server, SIGSTOP), 0);
    for (int i = 0; i < VV_COHERENCE_WAITING; i++) {
        char url[32];
        snprintf(url, sizeof url, "/%d", i);
        purge(&a, VV_PURGE_URL, url, false);
    }
    VV_CHECK(says(&a, "\"waiting\":10000,"));
    VV_CHECK(says(&a, "\"waiting_dropped\":0,"));
    purge(&a, VV_PURGE_URL, "/one more", false);
    purge(&a, VV_PURGE_URL, "/and another", false);
    VV_CHECK(says(&a, "\"waiting\":0,"));
    VV_CHECK(says(&a, "\"waiting_dropped\":10002,"));
    VV_CHECK_INT(judge(&a, "/x", UINT64_MAX), GONE);
    VV_CHECK_INT(kill(server, SIGCONT), 0);
    UNTIL(vv_coherence_born(b.c) > log && synced());
    VV_CHECK_INT(judge(&b, "/x", log), GONE);
    VV_CHECK_INT(held(&b, "/a"), 0);
    UNTIL(vv_coherence_born(a.c) == vv_coherence_born(b.c));
    VV_CHECK_INT(judge(&a, "/x", vv_coherence_born(a.c)), GOOD);
    VV_CHECK(atoi(redis("XLEN vz:pages:purges")) <= 3); /* that one, and each may have begun it */
    stop();
}

VV_TEST(coherence_ten_thousand_purges_at_once_arrive_and_a_late_gateway_reads_them_all)
{
    start();
    const uint64_t log = vv_coherence_born(b.c);
    for (int i = 0; i < 9000; i++) {
        char url[32];
        snprintf(url, sizeof url, "/%d", i);
        purge(&a, VV_PURGE_URL, url, i % 2 == 0);
    }
    UNTIL(says(&b, "\"received\":9000,"));
    UNTIL(says(&a, "\"waiting\":0,"));
    close_gate(&b);
    open_gate(&b);
    put(&b, "/old"); /* by a snapshot, say: nobody knows what it missed */
    UNTIL(synced() && vv_coherence_born(b.c) == vv_coherence_born(a.c));
    VV_CHECK_INT(held(&b, "/old"), 0);
    VV_CHECK_INT(judge(&b, "/8999", log), GONE);
    VV_CHECK_INT(judge(&b, "/8998", log), SOFT);
    VV_CHECK_INT(judge(&b, "/9000", log), GOOD);
    VV_CHECK_INT(judge(&b, "/9000", log - (UINT64_C(2) << 20)), GONE); /* before it began */
    stop();
}

VV_TEST(coherence_purges_that_were_lost_before_they_were_read_go_again)
{
    start();
    const uint64_t log = vv_coherence_born(b.c);
    /* Nothing reads while the link's own connections are held back, so it is added and taken away unread. */
    VV_CHECK_STR(redis("CLIENT PAUSE 10000 WRITE"), "OK");
    purge(&a, VV_PURGE_URL, "/a", false);
    for (int i = 0; i < 20; i++) {
        turn();
    }
    VV_CHECK(says(&a, "\"waiting\":1,"));
    (void)redis("CLIENT KILL TYPE normal SKIPME yes"); /* it is not known whether it was added */
    VV_CHECK_STR(redis("CLIENT UNPAUSE"), "OK");
    UNTIL(vv_coherence_born(b.c) > log);
    VV_CHECK_INT(judge(&b, "/a", log), GONE);
    UNTIL(says(&a, "\"waiting\":0,"));
    stop();
}

VV_TEST(coherence_the_first_gateway_keeps_what_it_has)
{
    start_server();
    VV_CHECK_INT(vv_loop_new(&loop), VV_OK);
    memset(&b, 0, sizeof b);
    open_gate(&a);
    put(&a, "/snapshot");
    UNTIL(vv_coherence_synced(a.c));
    VV_CHECK_INT(held(&a, "/snapshot"), 1);
    open_gate(&b);
    stop();
}

VV_TEST(coherence_without_a_server_it_is_alone_and_says_so)
{
    start_server();
    VV_CHECK_INT(kill(server, SIGSTOP), 0);
    VV_CHECK_INT(vv_loop_new(&loop), VV_OK);
    open_gate(&a);
    open_gate(&b);
    put(&a, "/snapshot"); /* may be old: nobody can say */
    UNTIL(held(&a, "/snapshot") == 0);
    VV_CHECK(!vv_coherence_synced(a.c));
    purge(&a, VV_PURGE_URL, "/a", false);
    VV_CHECK_INT(kill(server, SIGCONT), 0);
    UNTIL(synced());
    UNTIL(says(&a, "\"waiting\":0,"));
    stop();
}

static _Atomic unsigned missed;

static void ask_and_purge(void *arg)
{
    struct gate *g = arg;
    for (int i = 0; i < 2000; i++) {
        char url[32];
        const uint64_t log = vv_coherence_born(g->c);
        snprintf(url, sizeof url, "/%d", i % 50);
        purge(g, VV_PURGE_URL, url, false);
        /* Until it has been read back it judges everything, then all that is older. */
        atomic_fetch_add(&missed, judge(g, url, log) != VV_COHERENCE_GONE);
    }
    atomic_fetch_sub(&g->store.refs, 1);
}

VV_TEST(coherence_is_asked_and_told_by_many_threads)
{
    struct vv_thread threads[4] = {0};
    start();
    for (size_t i = 0; i < VV_COUNT(threads); i++) {
        struct gate *g = i % 2 == 0 ? &a : &b;
        atomic_fetch_add(&g->store.refs, 1);
        VV_CHECK_INT(vv_thread_start(&threads[i], "asker", ask_and_purge, g), VV_OK);
    }
    UNTIL(a.store.refs == 1 && b.store.refs == 1);
    for (size_t i = 0; i < VV_COUNT(threads); i++) {
        vv_thread_join(&threads[i]);
    }
    VV_CHECK_INT(missed, 0);
    UNTIL(says(&a, "\"waiting\":0,") && says(&b, "\"waiting\":0,"));
    UNTIL(vv_coherence_born(a.c) == vv_coherence_born(b.c));
    VV_CHECK(says(&a, "\"received\":4000,"));
    VV_CHECK(says(&b, "\"received\":4000,"));
    stop();
}
