/* tests/unit/store/test_redis_server.c - one connection against a real redis-server of each test's
 * own, on a unix socket in a folder of its own. Skipped where redis-server is not installed. */
#include "redis_test.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[64];
static pid_t server = -1;

static bool installed(void)
{
    return system("command -v redis-server >/dev/null 2>&1") == 0;
}

/* Generous deadlines: a busy machine is no reason to fail. */
static struct vv_redis_conn_conf start(void)
{
    struct vv_redis_conn_conf conf = {
        .connect_ns = 5 * VV_SEC, .call_ns = 5 * VV_SEC, .hang_ns = 10 * VV_SEC};
    char path[100];
    if (!installed()) {
        skip();
    }
    strcpy(folder, "/tmp/vivace-redis-XXXXXX");
    VV_CHECK(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "unix:%s/s", folder);
    VV_CHECK_INT(vv_addr_parse(vv_str_from(path), &conf.addr), VV_OK);
    const pid_t parent = getpid();
    server = fork();
    if (server == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() == parent && chdir(folder) == 0 && freopen("log", "w", stdout) != NULL) {
            execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", "s", "--save", "",
                   "--user", "app", "on", ">pw", "~*", "&*", "+@all", (char *)NULL);
        }
        _exit(127);
    }
    VV_CHECK(server > 0);
    for (int i = 0; i < 500; i++) { /* until it listens */
        int fd = -1;
        if (vv_sock_connect(&conf.addr, &fd) == VV_OK) {
            vv_close_fd(&fd);
            return conf;
        }
        usleep(10000);
    }
    fail_msg("redis-server did not start");
    return conf;
}

static void stop(void)
{
    char path[100];
    if (conn != NULL) {
        disconnect();
    }
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
    static const char *const files[] = {"/s", "/log", "/dump.rdb", ""};
    for (size_t i = 0; i < VV_COUNT(files); i++) {
        snprintf(path, sizeof path, "%s%s", folder, files[i]);
        remove(path);
    }
}

static void start_ready(void)
{
    const struct vv_redis_conn_conf conf = start();
    connect_to(&conf);
    UNTIL(ready_count == 1);
}

/* Asks and waits; the answer as text. */
static const char *answer_to(const char *words)
{
    static struct answer a;
    a = (struct answer){0};
    VV_CHECK_INT(ask(&a, words), VV_OK);
    UNTIL(a.ends == 1);
    VV_CHECK_INT(a.err, VV_OK);
    return a.text;
}

static bool answers_with(const char *words, const char *first_word)
{
    return strncmp(answer_to(words), first_word, strlen(first_word)) == 0;
}

VV_TEST(redis_server_gets_sets_and_deletes)
{
    start_ready();
    VV_CHECK_INT(vv_redis_conn_version(conn), 3);
    VV_CHECK_STR(answer_to("GET k"), "<null>");
    VV_CHECK_STR(answer_to("SET k v PX 60000"), "OK");
    VV_CHECK_STR(answer_to("GET k"), "v");
    VV_CHECK_STR(answer_to("DEL k"), "1");
    VV_CHECK_STR(answer_to("GET k"), "<null>");
    VV_CHECK_STR(answer_to("HSET h f 1"), "1");
    VV_CHECK_STR(answer_to("HGETALL h"), "<map> f 1");
    stop();
}

VV_TEST(redis_server_refuses_and_the_connection_stays)
{
    start_ready();
    VV_CHECK_STR(answer_to("LPUSH l a"), "1");
    VV_CHECK(answers_with("GET l", "WRONGTYPE "));
    VV_CHECK(answers_with("NONSENSE", "ERR unknown command"));
    VV_CHECK_STR(answer_to("CONFIG SET maxmemory 1"), "OK");
    VV_CHECK(answers_with("SET k v", "OOM "));
    VV_CHECK_STR(answer_to("CONFIG SET maxmemory 0"), "OK");
    VV_CHECK_STR(answer_to("REPLICAOF 127.0.0.1 1"), "OK");
    VV_CHECK(answers_with("SET k v", "READONLY "));
    VV_CHECK_STR(answer_to("CONFIG SET replica-serve-stale-data no"), "OK");
    VV_CHECK(answers_with("GET k", "MASTERDOWN "));
    VV_CHECK_STR(answer_to("REPLICAOF NO ONE"), "OK");
    VV_CHECK_STR(answer_to("SET k v"), "OK");
    VV_CHECK_INT(closed_count, 0);
    stop();
}

VV_TEST(redis_server_lets_users_in_by_name_and_password)
{
    struct vv_redis_conn_conf conf = start();
    for (int version2 = 0; version2 < 2; version2++) {
        conf.version2 = version2 == 1;
        conf.user = VV_STR("app");
        conf.password = VV_STR("pw");
        conf.db = 3;
        connect_to(&conf);
        UNTIL(ready_count == 1);
        VV_CHECK_INT(vv_redis_conn_version(conn), version2 ? 2 : 3);
        VV_CHECK_STR(answer_to("ACL WHOAMI"), "app");
        VV_CHECK_STR(answer_to("HSET h f 1"), version2 ? "0" : "1"); /* it is there by then */
        VV_CHECK_STR(answer_to("HGETALL h"), version2 ? "<array> f 1" : "<map> f 1");
        VV_CHECK(strstr(answer_to("CLIENT INFO"), " db=3 ") != NULL);
        disconnect();
        conf.password = VV_STR("wrong");
        connect_to(&conf);
        UNTIL(closed_count == 1);
        VV_CHECK_INT(closed_why, VV_EACCES);
        VV_CHECK_INT(strncmp(vv_redis_conn_refusal(conn), "WRONGPASS", 9), 0);
        disconnect();
    }
    conf = (struct vv_redis_conn_conf){
        .addr = conf.addr, .connect_ns = 5 * VV_SEC, .call_ns = 5 * VV_SEC};
    connect_to(&conf);
    UNTIL(ready_count == 1);
    VV_CHECK_STR(answer_to("CONFIG SET requirepass pw"), "OK");
    disconnect();
    for (int version2 = 0; version2 < 2; version2++) { /* a password is needed, none was given */
        conf.version2 = version2 == 1;
        connect_to(&conf);
        UNTIL(closed_count == 1);
        VV_CHECK_INT(closed_why, VV_EACCES);
        disconnect();
    }
    stop();
}

VV_TEST(redis_server_answers_ten_thousand_calls_in_order)
{
    enum { CALLS = 10000 };
    struct vv_redis_conn_conf conf = start();
    struct answer *a = calloc(CALLS, sizeof *a);
    conf.calls_max = CALLS;
    connect_to(&conf);
    UNTIL(ready_count == 1);
    for (int i = 0; i < CALLS; i++) {
        char words[32];
        snprintf(words, sizeof words, i % 2 == 0 ? "SET k%d v%d" : "GET k%d", i / 2, i / 2);
        VV_CHECK_INT(ask(&a[i], words), VV_OK);
    }
    UNTIL(ended_count == CALLS);
    for (int i = 0; i < CALLS; i++) {
        char want[32];
        snprintf(want, sizeof want, i % 2 == 0 ? "OK" : "v%d", i / 2);
        VV_CHECK_STR(a[i].text, want);
        VV_CHECK_INT(a[i].err, VV_OK);
    }
    /* About 330 KB: one write would do, the socket's buffer makes it a few. */
    VV_CHECK(vv_redis_conn_stats(conn)->writes < 200);
    free(a);
    stop();
}

static uint64_t run_largest, sum;
static unsigned pauses;

static void streamed_item(struct vv_redis_call *call, const struct vv_resp_item *it)
{
    answer_item(call, it);
    run_largest = it->text.n > run_largest ? it->text.n : run_largest;
    for (size_t i = 0; i < it->text.n; i += 4096) {
        sum += (uint8_t)it->text.p[i];
    }
    if (it->first || call->place % 2 == 1) { /* a consumer that is slow at the beginning */
        vv_redis_conn_pause(conn);
        pauses++;
    }
}

VV_TEST(redis_server_streams_fifty_megabytes)
{
    const size_t n = 50 * VV_MIB;
    char *value = calloc(1, n);
    struct answer set = {.call = {.item = answer_item, .end = answer_end}};
    struct answer get = {.call = {.item = streamed_item, .end = answer_end}};
    const struct vv_str args[] = {VV_STR("SET"), VV_STR("k"), {value, n}};
    start_ready();
    VV_CHECK(value != NULL);
    VV_CHECK_INT(vv_redis_conn_call(conn, &set.call, args, 3), VV_OK);
    free(value);
    UNTIL(set.ends == 1);
    VV_CHECK_STR(set.text, "OK");
    const struct vv_str get_args[] = {VV_STR("GET"), VV_STR("k")};
    VV_CHECK_INT(vv_redis_conn_call(conn, &get.call, get_args, 2), VV_OK);
    for (int i = 0; i < 20000 && get.ends == 0; i++) {
        vv_loop_turn(loop, VV_MS);
        vv_redis_conn_resume(conn);
    }
    VV_CHECK_INT(get.ends, 1);
    VV_CHECK_INT(get.err, VV_OK);
    VV_CHECK_INT(get.bytes, n);
    VV_CHECK_INT(sum, 0);
    VV_CHECK(pauses > 0);
    VV_CHECK(run_largest <= 65536); /* the buffer of the connection */
    VV_CHECK_STR(answer_to("STRLEN k"), "52428800");
    stop();
}

VV_TEST(redis_server_that_hangs_costs_each_call_its_deadline_and_no_more)
{
    struct vv_redis_conn_conf conf = start();
    struct answer a = {.call.timeout_ns = 50 * VV_MS}, b = a;
    connect_to(&conf);
    UNTIL(ready_count == 1);
    VV_CHECK_STR(answer_to("SET k 1"), "OK");
    VV_CHECK_INT(kill(server, SIGSTOP), 0);
    const uint64_t from_ns = vv_loop_refresh(loop);
    VV_CHECK_INT(ask(&a, "GET k"), VV_OK);
    VV_CHECK_INT(ask(&b, "INCR k"), VV_OK);
    UNTIL(a.ends == 1 && b.ends == 1);
    VV_CHECK_INT(a.err, VV_ETIMEOUT);
    VV_CHECK_INT(b.err, VV_ETIMEOUT);
    VV_CHECK(vv_loop_now(loop) - from_ns >= 50 * VV_MS);
    VV_CHECK(vv_loop_now(loop) - from_ns < 2 * VV_SEC); /* a few ms; here only: not the 10 s */
    VV_CHECK_INT(kill(server, SIGCONT), 0);
    VV_CHECK_STR(answer_to("GET k"), "2"); /* its own answer, not one of the two late ones */
    VV_CHECK_INT(vv_redis_conn_stats(conn)->dropped, 2);
    VV_CHECK_INT(closed_count, 0);
    stop();
}

VV_TEST(redis_server_that_is_killed_ends_every_call)
{
    struct answer a = {0};
    start_ready();
    VV_CHECK_INT(kill(server, SIGSTOP), 0);
    VV_CHECK_INT(ask(&a, "GET k"), VV_OK);
    vv_loop_turn(loop, VV_MS);
    VV_CHECK_INT(kill(server, SIGKILL), 0);
    UNTIL(closed_count == 1);
    VV_CHECK_INT(a.ends, 1);
    VV_CHECK(a.err == VV_ECLOSED || a.err == VV_ERESET);
    VV_CHECK_INT(closed_why, a.err);
    stop();
}

VV_TEST(redis_server_pushes_invalidations_on_the_same_connection)
{
    start_ready();
    VV_CHECK_STR(answer_to("CLIENT TRACKING ON"), "OK");
    VV_CHECK_STR(answer_to("GET k"), "<null>");
    VV_CHECK_STR(answer_to("SET k v"), "OK");
    UNTIL(vv_redis_conn_stats(conn)->pushes == 1);
    VV_CHECK_STR(pushed, "> invalidate > k.");
    VV_CHECK_STR(answer_to("FLUSHALL"), "OK");
    UNTIL(vv_redis_conn_stats(conn)->pushes == 2);
    VV_CHECK_STR(pushed, "> invalidate > k.> invalidate >.");
    stop();
}

/* ------------- ways of tracking that redis.h does not use, and why it does not */

VV_TEST(redis_server_broadcasts_prefixes_in_one_message)
{
    static const char script[] = "for i=1,1000 do redis.call('SET','vz:'..i,i) end";
    const struct vv_str args[] = {VV_STR("EVAL"), {script, sizeof script - 1}, VV_STR("0")};
    struct answer a = {.call = {.item = answer_item, .end = answer_end}};
    start_ready();
    VV_CHECK_STR(answer_to("CLIENT TRACKING ON BCAST PREFIX vz:"), "OK");
    VV_CHECK_STR(answer_to("SET other 1"), "OK");
    VV_CHECK_INT(vv_redis_conn_call(conn, &a.call, args, 3), VV_OK);
    UNTIL(a.ends == 1 && vv_redis_conn_stats(conn)->pushes > 0);
    VV_CHECK_STR(answer_to("PING"), "PONG");
    VV_CHECK_INT(vv_redis_conn_stats(conn)->pushes, 1);
    VV_CHECK(strncmp(pushed, "> invalidate > vz:", 18) == 0);
    VV_CHECK_STR(answer_to("CLIENT TRACKING OFF"), "OK");
    VV_CHECK(answers_with("CLIENT TRACKING ON BCAST PREFIX vz: PREFIX vz:o", "ERR "));
    stop();
}

VV_TEST(redis_server_tells_of_a_broken_redirection_in_version_3_only)
{
    struct vv_redis_conn_conf conf = start();
    for (int version2 = 0; version2 < 2; version2++) {
        char text[64] = "", words[64];
        int fd = -1;
        VV_CHECK_INT(vv_sock_connect(&conf.addr, &fd), VV_OK); /* hears what is redirected to it */
        VV_CHECK_INT(send(fd, "CLIENT ID\r\n", 11, 0), 11);
        for (int i = 0; i < 500 && recv(fd, text, sizeof text - 1, MSG_DONTWAIT) <= 0; i++) {
            usleep(10000);
        }
        conf.version2 = version2 == 1;
        connect_to(&conf);
        UNTIL(ready_count == 1);
        snprintf(words, sizeof words, "CLIENT TRACKING ON REDIRECT %d", atoi(text + 1));
        VV_CHECK_STR(answer_to(words), "OK");
        vv_close_fd(&fd);
        bool told = false;
        for (int i = 0; i < 500 && !told; i++) { /* until the server has seen that it is closed */
            VV_CHECK(answer_to("GET k") != NULL);
            VV_CHECK_STR(answer_to("SET k v"), "OK");
            told = version2 == 0 ? vv_redis_conn_stats(conn)->pushes > 0
                                 : strstr(answer_to("CLIENT TRACKINGINFO"), "broken") != NULL;
        }
        if (version2 == 0) {
            UNTIL(vv_redis_conn_stats(conn)->pushes > 0);
            VV_CHECK(strncmp(pushed, "> tracking-redir-broken", 23) == 0);
        } else { /* only who asks learns it */
            VV_CHECK(told);
            VV_CHECK_INT(vv_redis_conn_stats(conn)->pushes, 0);
        }
        disconnect();
    }
    stop();
}

VV_TEST(redis_server_with_noloop_is_silent_about_what_our_own_commands_drop)
{
    struct vv_redis_conn_conf conf = start();
    char words[32];
    connect_to(&conf);
    UNTIL(ready_count == 1);
    VV_CHECK_STR(answer_to("CONFIG SET tracking-table-max-keys 10"), "OK");
    for (int noloop = 1; noloop >= 0; noloop--) {
        VV_CHECK_STR(answer_to("CLIENT TRACKING OFF"), "OK");
        VV_CHECK_STR(answer_to(noloop ? "CLIENT TRACKING ON NOLOOP" : "CLIENT TRACKING ON"), "OK");
        const uint64_t before = vv_redis_conn_stats(conn)->pushes;
        for (int i = 0; i < 100; i++) {
            snprintf(words, sizeof words, "GET k%d%d", noloop, i);
            VV_CHECK_STR(answer_to(words), "<null>");
        }
        VV_CHECK_STR(answer_to("PING"), "PONG");
        const uint64_t told = vv_redis_conn_stats(conn)->pushes - before;
        VV_CHECK(noloop ? told < 10 : told >= 90); /* 90 keys do not fit */
    }
    stop();
}
