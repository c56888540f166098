/* tests/unit/store/test_redis.c - one server that says what the test wants, when it wants it: waiting,
 * coming back, giving up. */
#include "redis_real.h"

#include "os/sock.h"
#include "store/redis_int.h"

static int listener = -1, peer = -1;
static char said[65536];

static struct vv_redis_conf begin(void)
{
    struct vv_redis_conf conf = {
        .call_ns = 5 * VV_SEC, .connect_ns = 5 * VV_SEC, .hang_ns = 10 * VV_SEC, .ping_ns = VV_SEC};
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof in;
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    VV_CHECK(bind(listener, (struct sockaddr *)&in, len) == 0 && listen(listener, 8) == 0);
    VV_CHECK_INT(getsockname(listener, (struct sockaddr *)&in, &len), 0);
    conf.url.hosts = 1;
    strcpy(conf.url.host[0].name, "127.0.0.1");
    conf.url.host[0].port = ntohs(in.sin_port);
    return conf;
}

static void say(const char *text)
{
    const size_t n = strlen(text);
    VV_CHECK_INT(send(peer, text, n, MSG_NOSIGNAL), n);
}

/* Hears until `last` is there. */
static void hear(const char *last)
{
    size_t n = 0;
    const uint64_t until_ns = vv_loop_refresh(loop) + 5 * VV_SEC;
    said[0] = '\0';
    while (strstr(said, last) == NULL && vv_loop_now(loop) < until_ns) {
        vv_loop_turn(loop, VV_MS);
        const ssize_t got = recv(peer, said + n, sizeof said - 1 - n, MSG_DONTWAIT);
        n += got > 0 ? (size_t)got : 0;
        said[n] = '\0';
    }
    VV_CHECK(strstr(said, last) != NULL);
}

static void accept_peer(void)
{
    vv_close_fd(&peer);
    const uint64_t until_ns = vv_loop_refresh(loop) + 5 * VV_SEC;
    while ((peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) < 0 &&
           vv_loop_now(loop) < until_ns) {
        vv_loop_turn(loop, VV_MS);
    }
    VV_CHECK(peer >= 0);
}

static void meet(void)
{
    accept_peer();
    hear("HELLO");
    say("%1\r\n$5\r\nproto\r\n:3\r\n");
    hear("SETNAME\r\n$6\r\nvivace\r\n");
    say("+OK\r\n");
}

static void meet_tracking(void)
{
    meet();
    say("+OK\r\n"); /* TRACKING went with SETNAME */
}

static void finish(void)
{
    close_redis();
    vv_close_fd(&peer);
    vv_close_fd(&listener);
}

static void idle(void)
{
    for (int i = 0; i < 5; i++) {
        vv_loop_turn(loop, VV_MS);
    }
}

VV_TEST(redis_opens_with_the_first_operation_which_waits)
{
    const struct vv_redis_conf conf = begin();
    struct asked a = {0}, b = {0};
    open_redis(&conf);
    idle();
    VV_CHECK_INT(accept4(listener, NULL, NULL, SOCK_NONBLOCK), -1);
    VV_CHECK(vv_redis_up(redis, VV_STR("k"), vv_loop_now(loop)));
    VV_CHECK_INT(ask_for(&a, "SET k 1", 0), VV_OK);
    VV_CHECK_INT(ask_for(&b, "GET k", VV_REDIS_READ), VV_OK);
    meet();
    hear("GET");
    VV_CHECK(strstr(said, "SET") < strstr(said, "GET")); /* in order, in one go */
    say("+OK\r\n$1\r\n1\r\n");
    UNTIL(b.ends == 1);
    VV_CHECK_STR(a.text, "OK");
    VV_CHECK_STR(b.text, "1");
    VV_CHECK_INT(b.op.share, 0); /* no tracking was asked for */
    finish();
}

VV_TEST(redis_waiting_operation_ends_at_its_own_deadline)
{
    const struct vv_redis_conf conf = begin();
    struct asked a = {.op.timeout_ns = 30 * VV_MS};
    open_redis(&conf);
    const uint64_t from_ns = vv_loop_refresh(loop);
    VV_CHECK_INT(ask_for(&a, "GET k", VV_REDIS_READ), VV_OK);
    UNTIL(a.ends == 1); /* nobody greets */
    VV_CHECK_INT(a.err, VV_ETIMEOUT);
    VV_CHECK(vv_loop_now(loop) - from_ns >= 30 * VV_MS);
    finish();
}

VV_TEST(redis_read_is_asked_again_when_the_connection_breaks_a_write_is_not)
{
    const struct vv_redis_conf conf = begin();
    struct asked r = {0}, w = {0};
    open_redis(&conf);
    VV_CHECK_INT(ask_for(&r, "GET a", VV_REDIS_READ), VV_OK);
    VV_CHECK_INT(ask_for(&w, "SET b 1", 0), VV_OK);
    meet();
    hear("SET");
    meet(); /* closes, and is met again at once */
    VV_CHECK_INT(w.ends, 1);
    VV_CHECK_INT(w.err, VV_ECLOSED);
    hear("GET");
    VV_CHECK(strstr(said, "SET") == NULL);
    VV_CHECK_INT(r.ends, 0);
    meet(); /* a second time: it is given up */
    UNTIL(r.ends == 1);
    VV_CHECK_INT(r.err, VV_ECLOSED);
    finish();
}

VV_TEST(redis_refuses_at_once_while_nobody_listens_and_comes_back)
{
    struct vv_redis_conf conf = begin();
    struct asked a = {0};
    struct vv_redis_stats s;
    const int port = conf.url.host[0].port;
    vv_close_fd(&listener);
    open_redis(&conf);
    VV_CHECK_INT(ask_for(&a, "GET k", VV_REDIS_READ), VV_OK);
    UNTIL(a.ends == 1);
    VV_CHECK_INT(a.err, VV_EREFUSED);
    VV_CHECK_INT(ask_for(&a, "GET k", VV_REDIS_READ), VV_EREFUSED); /* within the pause */
    VV_CHECK(!vv_redis_up(redis, VV_STR("k"), vv_loop_now(loop)));
    struct sockaddr_in in = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons((uint16_t)port)};
    const int on = 1;
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    VV_CHECK(bind(listener, (struct sockaddr *)&in, sizeof in) == 0 && listen(listener, 8) == 0);
    meet();
    UNTIL(vv_redis_up(redis, VV_STR("k"), vv_loop_now(loop)));
    VV_CHECK_INT(ask_for(&a, "GET k", VV_REDIS_READ), VV_OK);
    hear("GET");
    say("$1\r\n1\r\n");
    UNTIL(a.ends == 1);
    VV_CHECK_STR(a.text, "1");
    vv_redis_stats(redis, &s);
    VV_CHECK_INT(s.refused, 2);
    VV_CHECK_INT(s.connected, 1);
    finish();
}

VV_TEST(redis_pauses_between_tries_grow)
{
    struct vv_redis_conf conf = begin();
    struct asked a = {0};
    vv_close_fd(&listener);
    open_redis(&conf);
    const struct vv_redis_server *s =
        VV_LIST_ENTRY(redis->servers.next, struct vv_redis_server, node);
    const uint64_t from_ns = vv_loop_refresh(loop);
    VV_CHECK_INT(ask_for(&a, "GET k", VV_REDIS_READ), VV_OK);
    UNTIL(s->tries == 4 && s->state == VV_REDIS_SERVER_PAUSING);
    VV_CHECK_INT(s->pause_ns, 400 * VV_MS); /* 50, 100, 200, and the next one */
    /* Three pauses, each at least three quarters of what it is meant to be. */
    VV_CHECK(vv_loop_now(loop) - from_ns >= 350 * VV_MS * 3 / 4);
    finish();
}

VV_TEST(redis_breaker_opens_after_failures_in_a_row_and_closes_after_a_probe)
{
    struct vv_redis_conf conf = begin();
    struct asked a = {0};
    struct vv_redis_stats s;
    conf.failures = 2;
    conf.recover_ns = 50 * VV_MS;
    open_redis(&conf);
    VV_CHECK_INT(ask_for(&a, "GET k", VV_REDIS_READ), VV_OK);
    meet();
    for (int i = 0; i < 2; i++) {
        hear("GET");
        say("-LOADING reading\r\n");
        UNTIL(a.ends == 1);
        VV_CHECK_INT(a.err, VV_OK);
        VV_CHECK(a.is_error);
        a = (struct asked){0};
        VV_CHECK_INT(ask_for(&a, "GET k", VV_REDIS_READ), i == 0 ? VV_OK : VV_EREFUSED);
    }
    vv_redis_stats(redis, &s);
    VV_CHECK_INT(s.open_breakers, 1);
    VV_CHECK(!vv_redis_up(redis, VV_STR("k"), vv_loop_now(loop)));
    UNTIL(vv_redis_up(redis, VV_STR("k"), vv_loop_now(loop))); /* the time of the probe */
    VV_CHECK_INT(ask_for(&a, "GET k", VV_REDIS_READ), VV_OK);
    hear("GET");
    say("$1\r\n1\r\n");
    UNTIL(a.ends == 1);
    VV_CHECK_INT(ask_for(&a, "GET k", VV_REDIS_READ), VV_OK);
    finish();
}

VV_TEST(redis_errors_of_commands_and_of_full_memory_do_not_open_the_breaker)
{
    static const char *const errors[] = {"-ERR x\r\n", "-WRONGTYPE x\r\n", "-OOM x\r\n",
                                         "-NOPERM x\r\n"};
    struct vv_redis_conf conf = begin();
    struct asked a = {0};
    conf.failures = 1;
    open_redis(&conf);
    VV_CHECK_INT(ask_for(&a, "SET k 1", 0), VV_OK);
    meet();
    for (size_t i = 0; i < VV_COUNT(errors); i++) {
        hear("SET");
        say(errors[i]);
        UNTIL(a.ends == 1);
        VV_CHECK(a.is_error);
        VV_CHECK_INT(ask_for(&a, "SET k 1", 0), VV_OK);
    }
    hear("SET");
    say("-READONLY x\r\n"); /* of a write: not the master */
    UNTIL(a.ends == 1);
    VV_CHECK_INT(ask_for(&a, "SET k 1", 0), VV_EREFUSED);
    finish();
}

VV_TEST(redis_abandoned_operation_hears_nothing)
{
    const struct vv_redis_conf conf = begin();
    struct asked a = {0}, b = {0};
    open_redis(&conf);
    VV_CHECK_INT(ask_for(&a, "GET a", VV_REDIS_READ), VV_OK);
    vv_redis_abandon(&a.op); /* while it waits */
    VV_CHECK_INT(ask_for(&a, "GET b", VV_REDIS_READ), VV_OK);
    VV_CHECK_INT(ask_for(&b, "GET c", VV_REDIS_READ), VV_OK);
    meet();
    hear("GET\r\n$1\r\nc");
    VV_CHECK(strstr(said, "$1\r\na") == NULL);
    vv_redis_abandon(&a.op); /* while it is under way */
    vv_redis_abandon(&a.op);
    say("$1\r\n1\r\n$1\r\n2\r\n");
    UNTIL(b.ends == 1);
    VV_CHECK_STR(b.text, "2");
    VV_CHECK_INT(a.ends, 0);
    finish();
}

VV_TEST(redis_free_ends_what_waits_and_what_is_under_way)
{
    struct vv_redis_conf conf = begin();
    struct asked a = {0}, b = {0};
    conf.tracking = true;
    open_redis(&conf);
    VV_CHECK_INT(ask_for(&a, "GET a", VV_REDIS_READ), VV_OK);
    meet_tracking();
    hear("GET");
    VV_CHECK_INT(ask_for(&b, "GET b", VV_REDIS_READ), VV_OK);
    finish();
    VV_CHECK_INT(a.err, VV_ECLOSED);
    VV_CHECK_INT(b.err, VV_ECLOSED);
    VV_CHECK_INT(lost_count, 0);
}

VV_TEST(redis_version_2_has_no_share)
{
    struct vv_redis_conf conf = begin();
    struct asked a = {0};
    conf.tracking = true;
    open_redis(&conf);
    VV_CHECK_INT(ask_for(&a, "GET k", VV_REDIS_READ | VV_REDIS_TRACK), VV_OK);
    accept_peer();
    hear("HELLO");
    say("-ERR unknown command `HELLO`\r\n");
    hear("PING");
    say("+PONG\r\n");
    hear("vivace");
    VV_CHECK(strstr(said, "TRACKING") == NULL);
    say("+OK\r\n");
    hear("GET");
    VV_CHECK(strstr(said, "CACHING") == NULL);
    say("$-1\r\n");
    UNTIL(a.ends == 1);
    VV_CHECK_INT(a.op.share, 0);
    finish();
}

VV_TEST(redis_share_of_a_consumer_that_pauses_too_long_is_lost)
{
    struct vv_redis_conf conf = begin();
    struct asked a = {0};
    conf.tracking = true;
    conf.ping_ns = 20 * VV_MS;
    open_redis(&conf);
    VV_CHECK_INT(ask_for(&a, "GET k", VV_REDIS_READ | VV_REDIS_TRACK), VV_OK);
    meet_tracking();
    hear("GET");
    const uint64_t share = vv_redis_share(redis, VV_STR("k"));
    VV_CHECK(share != 0);
    say("+OK\r\n$4\r\nab");
    UNTIL(a.bytes == 2);
    vv_redis_pause(&a.op);
    UNTIL(lost_count == 1);
    VV_CHECK_INT(lost_share, share);
    say("cd\r\n");
    vv_redis_resume(&a.op);
    UNTIL(a.ends == 1);
    VV_CHECK_STR(a.text, "abcd");
    VV_CHECK_INT(a.op.share, 0); /* it was asked for under the share that is lost */
    VV_CHECK(vv_redis_share(redis, VV_STR("k")) >
             share); /* what is asked from then on is watched */
    finish();
}

VV_TEST(redis_silent_connection_with_tracking_is_pinged_and_given_up)
{
    struct vv_redis_conf conf = begin();
    struct asked a = {0};
    conf.tracking = true;
    conf.ping_ns = 20 * VV_MS;
    conf.call_ns = 200 * VV_MS;
    open_redis(&conf);
    VV_CHECK_INT(ask_for(&a, "GET k", VV_REDIS_READ | VV_REDIS_TRACK), VV_OK);
    meet_tracking();
    hear("CACHING\r\n$3\r\nYES\r\n*2\r\n$3\r\nGET");
    say("+OK\r\n$-1\r\n");
    hear("PING");
    say("+PONG\r\n");
    hear("PING");
    VV_CHECK_INT(lost_count, 0);
    UNTIL(lost_count == 1);
    finish();
}

VV_TEST(redis_json_says_who_is_there)
{
    const struct vv_redis_conf conf = begin();
    struct vv_sb out = VV_SB_INIT;
    struct vv_json j;
    open_redis(&conf);
    vv_json_init(&j, &out);
    vv_redis_json(redis, &j);
    VV_CHECK(strstr(out.p, "\"host\":\"127.0.0.1\"") != NULL);
    VV_CHECK(strstr(out.p, "\"state\":\"idle\"") != NULL);
    VV_CHECK(strstr(out.p, "\"breaker\":\"closed\"") != NULL);
    vv_sb_fini(&out);
    finish();
}
