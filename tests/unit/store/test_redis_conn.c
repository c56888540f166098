/* tests/unit/store/test_redis_conn.c - one connection against a server that says what the test
 * wants, when it wants it. */
#include "redis_test.h"

#include <errno.h>
#include <unistd.h>

static int listener = -1, peer = -1;
static char heard[4096];

static struct vv_redis_conn_conf begin(void)
{
    /* Generous: a busy machine is no reason to fail. Tests of a deadline set their own. */
    struct vv_redis_conn_conf conf = {
        .connect_ns = 5 * VV_SEC, .call_ns = 5 * VV_SEC, .hang_ns = 10 * VV_SEC};
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    socklen_t len = sizeof(sa_family_t); /* the kernel finds a name */
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    VV_CHECK(bind(listener, (struct sockaddr *)&un, len) == 0 && listen(listener, 4) == 0);
    conf.addr.len = sizeof(conf.addr.any);
    VV_CHECK_INT(getsockname(listener, &conf.addr.sa, &conf.addr.len), 0);
    return conf;
}

static void say(const char *text)
{
    const size_t n = strlen(text);
    VV_CHECK_INT(send(peer, text, n, MSG_NOSIGNAL), n);
}

/* Hears exactly what was expected. */
static void hear(const char *want)
{
    size_t n = 0;
    const size_t all = strlen(want);
    const uint64_t until_ns = vv_loop_refresh(loop) + 5 * VV_SEC;
    while (n < all && vv_loop_now(loop) < until_ns) {
        vv_loop_turn(loop, VV_MS);
        const ssize_t got = recv(peer, heard + n, all - n, MSG_DONTWAIT);
        n += got > 0 ? (size_t)got : 0;
    }
    heard[n] = '\0';
    VV_CHECK_STR(heard, want);
}

static void meet(const struct vv_redis_conn_conf *conf)
{
    connect_to(conf);
    peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    VV_CHECK(peer >= 0);
}

/* As meet(), through the greeting. */
static void meet_ready(const struct vv_redis_conn_conf *conf)
{
    meet(conf);
    hear("*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n");
    say("%1\r\n$5\r\nproto\r\n:3\r\n");
    UNTIL(ready_count == 1);
    VV_CHECK_INT(vv_redis_conn_version(conn), 3);
}

static void finish(void)
{
    disconnect();
    vv_close_fd(&peer);
    vv_close_fd(&listener);
}

/* Some turns in which nothing is expected to happen. */
static void idle(void)
{
    for (int i = 0; i < 5; i++) {
        vv_loop_turn(loop, VV_MS);
    }
}

VV_TEST(redis_conn_greets_in_version_3_with_name_and_password)
{
    struct vv_redis_conn_conf conf = begin();
    struct answer a = {0};
    conf.password = VV_STR("secret");
    conf.db = 7;
    meet(&conf);
    hear("*5\r\n$5\r\nHELLO\r\n$1\r\n3\r\n$4\r\nAUTH\r\n$7\r\ndefault\r\n$6\r\nsecret\r\n");
    VV_CHECK_INT(ask(&a, "PING"), VV_EAGAIN); /* not before it is ready */
    say("%0\r\n");
    hear("*2\r\n$6\r\nSELECT\r\n$1\r\n7\r\n");
    VV_CHECK_INT(ready_count, 0);
    say("+OK\r\n");
    UNTIL(ready_count == 1);
    VV_CHECK_INT(vv_redis_conn_state(conn), VV_REDIS_READY);
    finish();
}

VV_TEST(redis_conn_falls_back_to_version_2)
{
    static const char *const refusals[] = {"-ERR unknown command `HELLO`\r\n",
                                           "-NOPROTO unsupported protocol version\r\n"};
    for (size_t i = 0; i < VV_COUNT(refusals); i++) {
        struct vv_redis_conn_conf conf = begin();
        conf.user = i == 0 ? VV_STR("") : VV_STR("app");
        conf.password = VV_STR("pw");
        meet(&conf);
        hear(i == 0 ? "*5\r\n$5\r\nHELLO\r\n$1\r\n3\r\n$4\r\nAUTH\r\n$7\r\ndefault\r\n$2\r\npw\r\n"
                    : "*5\r\n$5\r\nHELLO\r\n$1\r\n3\r\n$4\r\nAUTH\r\n$3\r\napp\r\n$2\r\npw\r\n");
        say(refusals[i]);
        hear(i == 0 ? "*2\r\n$4\r\nAUTH\r\n$2\r\npw\r\n"
                    : "*3\r\n$4\r\nAUTH\r\n$3\r\napp\r\n$2\r\npw\r\n");
        say("+OK\r\n");
        UNTIL(ready_count == 1);
        VV_CHECK_INT(vv_redis_conn_version(conn), 2);
        VV_CHECK_STR(vv_redis_conn_refusal(conn), "");
        finish();
    }
}

VV_TEST(redis_conn_says_why_the_greeting_failed)
{
    const struct {
        const char *answer;
        enum vv_err err;
    } cases[] = {
        {"-WRONGPASS invalid username-password pair\r\n", VV_EACCES},
        {"-NOAUTH HELLO must be called\r\n", VV_EACCES},
        {"-LOADING Redis is loading the dataset in memory\r\n", VV_EAGAIN},
        {"-ERR max number of clients reached\r\n", VV_EIO},
        {"HTTP/1.1 400 Bad Request\r\n", VV_ESYNTAX},
    };
    for (size_t i = 0; i < VV_COUNT(cases); i++) {
        struct vv_redis_conn_conf conf = begin();
        meet(&conf);
        say(cases[i].answer);
        UNTIL(closed_count == 1);
        VV_CHECK_INT(closed_why, cases[i].err);
        VV_CHECK_INT(ready_count, 0);
        if (cases[i].answer[0] == '-') {
            VV_CHECK_INT(strncmp(vv_redis_conn_refusal(conn), cases[i].answer + 1, 10), 0);
        }
        finish();
    }
}

VV_TEST(redis_conn_gives_up_on_a_server_that_does_not_greet)
{
    struct vv_redis_conn_conf conf = begin();
    conf.connect_ns = 20 * VV_MS;
    meet(&conf);
    UNTIL(closed_count == 1);
    VV_CHECK_INT(closed_why, VV_ETIMEOUT);
    finish();
    conf = begin();
    vv_close_fd(&listener); /* nobody listens */
    VV_CHECK_INT(vv_loop_new(&loop), VV_OK);
    VV_CHECK_INT(vv_redis_conn_new(loop, &conf, NULL, &conn), VV_OK);
    VV_CHECK_INT(vv_redis_conn_open(conn), VV_EREFUSED);
    VV_CHECK_INT(vv_redis_conn_state(conn), VV_REDIS_CLOSED);
    finish();
}

VV_TEST(redis_conn_sends_the_calls_of_a_turn_together_and_answers_in_order)
{
    const struct vv_redis_conn_conf conf = begin();
    struct answer a = {0}, b = {0}, d = {0};
    meet_ready(&conf);
    const uint64_t writes = vv_redis_conn_stats(conn)->writes;
    VV_CHECK_INT(ask(&a, "GET a"), VV_OK);
    VV_CHECK_INT(ask(&b, "GET b"), VV_OK);
    VV_CHECK_INT(ask(&d, "LRANGE d 0 1"), VV_OK);
    hear("*2\r\n$3\r\nGET\r\n$1\r\na\r\n*2\r\n$3\r\nGET\r\n$1\r\nb\r\n"
         "*4\r\n$6\r\nLRANGE\r\n$1\r\nd\r\n$1\r\n0\r\n$1\r\n1\r\n");
    VV_CHECK_INT(vv_redis_conn_stats(conn)->writes - writes, 1);
    say("$1\r\n1\r\n-WRONGTYPE not");
    UNTIL(a.ends == 1);
    VV_CHECK_INT(b.ends, 0);
    say(" that\r\n*2\r\n$1\r\nx\r\n:5\r\n");
    UNTIL(d.ends == 1);
    VV_CHECK_STR(a.text, "1");
    VV_CHECK_STR(b.text, "WRONGTYPE not that");
    VV_CHECK(b.is_error && b.err == VV_OK); /* an answer, too */
    VV_CHECK_STR(d.text, "<array> x 5");
    VV_CHECK_INT(vv_redis_conn_calls(conn), 0);
    finish();
}

VV_TEST(redis_conn_drops_an_answer_that_is_late_and_stays)
{
    struct vv_redis_conn_conf conf = begin();
    struct answer late = {.call.timeout_ns = 5 * VV_MS}, next = {0};
    meet_ready(&conf);
    VV_CHECK_INT(ask(&late, "GET late"), VV_OK);
    UNTIL(late.ends == 1);
    VV_CHECK_INT(late.err, VV_ETIMEOUT);
    VV_CHECK_INT(ask(&next, "GET next"), VV_OK);
    say("$4\r\nlate\r\n$4\r\nnext\r\n");
    UNTIL(next.ends == 1);
    VV_CHECK_STR(next.text, "next");
    VV_CHECK_STR(late.text, "");
    VV_CHECK_INT(late.ends, 1);
    VV_CHECK_INT(closed_count, 0);
    VV_CHECK_INT(vv_redis_conn_stats(conn)->timeouts, 1);
    VV_CHECK_INT(vv_redis_conn_stats(conn)->dropped, 1);
    finish();
}

VV_TEST(redis_conn_deadline_is_for_the_beginning_of_an_answer)
{
    const struct vv_redis_conn_conf conf = begin();
    struct answer a = {.call.timeout_ns = 10 * VV_MS};
    meet_ready(&conf);
    VV_CHECK_INT(ask(&a, "GET a"), VV_OK);
    say("$6\r\nabc");
    UNTIL(a.bytes == 3);
    const uint64_t until_ns = vv_loop_refresh(loop) + 15 * VV_MS;
    UNTIL(vv_loop_now(loop) >= until_ns);
    VV_CHECK_INT(a.ends, 0); /* later than 10 ms, but it is coming */
    say("def\r\n");
    UNTIL(a.ends == 1);
    VV_CHECK_INT(a.err, VV_OK);
    VV_CHECK_STR(a.text, "abcdef");
    finish();
}

VV_TEST(redis_conn_closes_when_the_server_hangs)
{
    struct vv_redis_conn_conf conf = begin();
    struct answer a = {.call.timeout_ns = 5 * VV_MS}, b = {.call.timeout_ns = 10 * VV_SEC};
    conf.hang_ns = 30 * VV_MS;
    meet_ready(&conf);
    VV_CHECK_INT(ask(&a, "GET a"), VV_OK);
    VV_CHECK_INT(ask(&b, "GET b"), VV_OK);
    UNTIL(closed_count == 1);
    VV_CHECK_INT(closed_why, VV_ETIMEOUT);
    VV_CHECK_INT(a.ends, 1);
    VV_CHECK_INT(b.ends, 1);
    VV_CHECK_INT(b.err, VV_ETIMEOUT);
    VV_CHECK_INT(ask(&a, "GET a"), VV_EAGAIN);
    finish();
}

VV_TEST(redis_conn_ends_every_call_when_the_server_goes_and_can_be_opened_again)
{
    const struct vv_redis_conn_conf conf = begin();
    struct answer a = {0}, b = {0};
    meet_ready(&conf);
    VV_CHECK_INT(ask(&a, "GET a"), VV_OK);
    VV_CHECK_INT(ask(&b, "GET b"), VV_OK);
    hear("*2\r\n$3\r\nGET\r\n$1\r\na\r\n*2\r\n$3\r\nGET\r\n$1\r\nb\r\n");
    say("$5\r\nhal");
    vv_close_fd(&peer);
    UNTIL(closed_count == 1);
    VV_CHECK_INT(closed_why, VV_ECLOSED);
    VV_CHECK_INT(a.err, VV_ECLOSED);
    VV_CHECK_INT(b.err, VV_ECLOSED);
    VV_CHECK_INT(ended_count, 2);
    VV_CHECK_INT(vv_redis_conn_open(conn), VV_OK);
    VV_CHECK_INT(vv_redis_conn_open(conn), VV_EEXIST);
    peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    hear("*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n");
    say("%0\r\n"); /* a new reader: nothing is left of the string that was cut */
    UNTIL(ready_count == 2);
    finish();
}

VV_TEST(redis_conn_gives_pushes_to_their_handler)
{
    const struct vv_redis_conn_conf conf = begin();
    struct answer a = {0};
    meet_ready(&conf);
    VV_CHECK_INT(ask(&a, "GET a"), VV_OK);
    say(">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n$1\r\nv\r\n>2\r\n$10\r\ninvalidate\r\n_\r\n");
    UNTIL(vv_redis_conn_stats(conn)->pushes == 2);
    VV_CHECK_STR(pushed, "> invalidate > k.> invalidate >.");
    VV_CHECK_STR(a.text, "v");
    finish();
}

VV_TEST(redis_conn_refuses_an_answer_to_nothing)
{
    const struct vv_redis_conn_conf conf = begin();
    meet_ready(&conf);
    say("+OK\r\n");
    UNTIL(closed_count == 1);
    VV_CHECK_INT(closed_why, VV_ESYNTAX);
    finish();
}

VV_TEST(redis_conn_bounds_calls_and_bytes_under_way)
{
    struct vv_redis_conn_conf conf = begin();
    struct answer a[4] = {0};
    conf.calls_max = 3;
    conf.out_max = 40;
    meet_ready(&conf);
    /* 20 bytes each as they go out, and 26 for a head where it is counted beforehand. */
    VV_CHECK_INT(ask(&a[0], "GET a"), VV_OK);
    VV_CHECK_INT(ask(&a[1], "GET b"), VV_ELIMIT); /* bytes: the socket has taken none yet */
    hear("*2\r\n$3\r\nGET\r\n$1\r\na\r\n");
    VV_CHECK_INT(ask(&a[1], "GET b"), VV_OK);
    hear("*2\r\n$3\r\nGET\r\n$1\r\nb\r\n");
    VV_CHECK_INT(ask(&a[2], "GET c"), VV_OK);
    hear("*2\r\n$3\r\nGET\r\n$1\r\nc\r\n");
    VV_CHECK_INT(ask(&a[3], "GET d"), VV_ELIMIT); /* calls */
    say("$-1\r\n");
    UNTIL(a[0].ends == 1);
    VV_CHECK_STR(a[0].text, "<null>");
    VV_CHECK_INT(ask(&a[3], "GET d"), VV_OK);
    finish();
}

VV_TEST(redis_conn_abandoned_call_hears_nothing)
{
    const struct vv_redis_conn_conf conf = begin();
    struct answer a = {0}, b = {0};
    meet_ready(&conf);
    VV_CHECK_INT(ask(&a, "GET a"), VV_OK);
    VV_CHECK_INT(ask(&b, "GET b"), VV_OK);
    vv_redis_call_abandon(&a.call);
    vv_redis_call_abandon(&a.call); /* harmless */
    say("$1\r\na\r\n$1\r\nb\r\n");
    UNTIL(b.ends == 1);
    VV_CHECK_STR(b.text, "b");
    VV_CHECK(a.ends == 0 && a.n == 0);
    finish();
}

static void pausing_item(struct vv_redis_call *call, const struct vv_resp_item *it)
{
    answer_item(call, it);
    vv_redis_conn_pause(conn);
}

VV_TEST(redis_conn_paused_waits_for_its_consumer)
{
    struct vv_redis_conn_conf conf = begin();
    struct answer a = {0}, b = {0};
    conf.hang_ns = 20 * VV_MS; /* a pause is no silence of the server */
    meet_ready(&conf);
    VV_CHECK_INT(ask(&a, "GET a"), VV_OK);
    a.call.item = pausing_item;
    VV_CHECK_INT(ask(&b, "GET b"), VV_OK);
    say("$6\r\nabc");
    UNTIL(a.bytes == 3);
    say("def\r\n$1\r\nb\r\n");
    const uint64_t until_ns = vv_loop_refresh(loop) + 45 * VV_MS;
    UNTIL(vv_loop_now(loop) >= until_ns);
    VV_CHECK_INT(a.bytes, 3);
    VV_CHECK_INT(closed_count, 0);
    vv_redis_conn_resume(conn);
    UNTIL(a.ends == 1); /* paused again with the last item */
    idle();
    VV_CHECK_INT(b.ends, 0);
    vv_redis_conn_resume(conn);
    UNTIL(b.ends == 1);
    VV_CHECK_STR(a.text, "abcdef");
    finish();
}

VV_TEST(redis_conn_large_value_is_free_when_the_call_returns)
{
    struct vv_redis_conn_conf conf = begin();
    struct answer a = {.call = {.item = answer_item, .end = answer_end}};
    const size_t value_n = 4 * VV_MIB;
    char *value = malloc(value_n), *got = malloc(value_n + 64);
    const struct vv_str args[] = {VV_STR("SET"), VV_STR("k"), {value, value_n}};
    size_t n = 0;
    meet_ready(&conf);
    for (size_t i = 0; i < value_n; i++) {
        value[i] = (char)(i * 7 + i / 4096);
    }
    VV_CHECK_INT(vv_redis_conn_call(conn, &a.call, args, 3), VV_OK);
    memset(value, 0, value_n);
    const size_t head_n = strlen("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4194304\r\n"),
                 all = head_n + value_n + 2;
    const uint64_t until_ns = vv_loop_refresh(loop) + 10 * VV_SEC;
    while (n < all && vv_loop_now(loop) < until_ns) {
        vv_loop_turn(loop, 0);
        const ssize_t r = recv(peer, got + n, all - n, MSG_DONTWAIT);
        n += r > 0 ? (size_t)r : 0;
    }
    VV_CHECK_INT(n, all);
    VV_CHECK_INT(memcmp(got, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4194304\r\n", head_n), 0);
    size_t wrong = 0;
    for (size_t i = 0; i < value_n; i++) {
        wrong += got[head_n + i] != (char)(i * 7 + i / 4096);
    }
    VV_CHECK_INT(wrong, 0);
    VV_CHECK_INT(memcmp(got + head_n + value_n, "\r\n", 2), 0);
    say("+OK\r\n");
    UNTIL(a.ends == 1);
    VV_CHECK_STR(a.text, "OK");
    free(value);
    free(got);
    finish();
}

VV_TEST(redis_conn_slow_taker_is_not_taken_for_hung)
{
    struct vv_redis_conn_conf conf = begin();
    struct answer a = {.call = {.item = answer_item, .end = answer_end}};
    const size_t value_n = 2 * VV_MIB;
    char *value = calloc(1, value_n);
    static char got[65536];
    const struct vv_str args[] = {VV_STR("SET"), VV_STR("k"), {value, value_n}};
    size_t n = 0;
    conf.hang_ns = 150 * VV_MS;
    meet_ready(&conf);
    VV_CHECK_INT(vv_redis_conn_call(conn, &a.call, args, 3), VV_OK);
    free(value);
    const uint64_t from_ns = vv_loop_refresh(loop);
    while (n < value_n && closed_count == 0) { /* a piece every 10 ms, 32 of them */
        const uint64_t until_ns = vv_loop_now(loop) + 10 * VV_MS;
        UNTIL(vv_loop_now(loop) >= until_ns);
        const ssize_t r = recv(peer, got, sizeof got, MSG_DONTWAIT);
        n += r > 0 ? (size_t)r : 0;
    }
    VV_CHECK(vv_loop_now(loop) - from_ns > conf.hang_ns);
    VV_CHECK_INT(closed_count, 0);
    VV_CHECK_INT(a.ends, 0);
    UNTIL(closed_count == 1); /* and now it is silent */
    VV_CHECK_INT(a.err, VV_ETIMEOUT);
    finish();
}
