/* tests/unit/gateway/test_checks.c - probes against an origin that is a socket of the test: it decides
 * what each probe gets to see. Time is a number that the test moves on. */
#include "gateway/checks.h"

#include "vv_test.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define EVERY_NS (500 * VV_MS)
#define TURNS_MAX 2000 /* of at most 1 ms each */

struct rig {
    struct vv_loop *loop;
    struct vv_metrics *metrics;
    struct vv_checks *checks;
    struct vv_runtime *rt;
    int listen_fd, fd; /* fd: the probe that was taken last */
    struct vv_addr addr;
    uint64_t now_ns;
    char request[4096];
};

static struct vv_runtime *runtime(const char *check, const struct vv_runtime *former)
{
    char text[1024];
    char why[256];
    snprintf(text, sizeof text,
             "listen: 127.0.0.1:1\n"
             "services: {app: {servers: [\"127.0.0.1:1\"]%s%s}}\n"
             "routes: [{path: /, to: app}]\n",
             check[0] != '\0' ? ", check: " : "", check);
    const struct vv_conf_source source = {.path = "test.yaml", .text = text, .no_files = true};
    struct vv_conf_problems *problems = vv_conf_problems_new();
    struct vv_settings *settings = NULL;
    struct vv_runtime *rt = NULL;
    VV_CHECK_INT(vv_settings_load(&source, problems, &settings), VV_OK);
    vv_conf_problems_free(problems);
    VV_CHECK_INT(vv_runtime_new(settings, former, NULL, &rt, why), VV_OK);
    vv_runtime_commit(rt);
    return rt;
}

static void set_servers(struct rig *r, size_t count)
{
    const struct vv_server_spec spec = {.name = "origin", .addr = r->addr, .weight = 1};
    VV_CHECK_INT(vv_service_state_set(r->rt->service[0].state, &spec, count, 1), VV_OK);
}

static void up(struct rig *r, const char *check)
{
    const struct vv_listen_options o = {.backlog = 16};
    memset(r, 0, sizeof *r);
    r->fd = -1;
    VV_CHECK_INT(vv_addr_parse(VV_STR("127.0.0.1:0"), &r->addr), VV_OK);
    VV_CHECK_INT(vv_sock_listen(&r->addr, &o, &r->listen_fd), VV_OK);
    VV_CHECK_INT(vv_sock_local(r->listen_fd, &r->addr), VV_OK);
    VV_CHECK_INT(vv_loop_new(&r->loop), VV_OK);
    VV_CHECK_INT(vv_metrics_new(&r->metrics), VV_OK);
    VV_CHECK_INT(vv_checks_new(r->loop, r->metrics, &r->checks), VV_OK);
    r->rt = runtime(check, NULL);
    set_servers(r, 1);
    r->now_ns = vv_loop_refresh(r->loop);
}

static void down(struct rig *r)
{
    vv_checks_free(r->checks);
    vv_runtime_unref(r->rt);
    vv_metrics_free(r->metrics);
    vv_loop_free(r->loop);
    vv_close_fd(&r->fd);
    vv_close_fd(&r->listen_fd);
}

static uint64_t count(struct rig *r, const char *result)
{
    const struct vv_str values[] = {VV_STR("app"), VV_STR("origin"), vv_str_from(result)};
    return vv_metrics_value(r->metrics, vv_metrics_series(r->metrics, VV_METRIC_CHECKS, values, 3));
}

static bool usable(struct rig *r)
{
    struct vv_server_set *set = vv_service_state_servers(r->rt->service[0].state);
    const bool yes = vv_server_usable(set->server[0], r->now_ns);
    vv_server_set_unref(set);
    return yes;
}

/* Time goes on by one beat; the probe that is due begins. */
static void beat(struct rig *r)
{
    r->now_ns += EVERY_NS;
    vv_checks_tick(r->checks, r->rt, r->now_ns);
}

static void take(struct rig *r)
{
    vv_close_fd(&r->fd);
    for (int i = 0; i < TURNS_MAX; i++) {
        vv_loop_turn(r->loop, VV_MS);
        if (vv_sock_accept(r->listen_fd, &r->fd, NULL) == VV_OK) {
            break;
        }
    }
    VV_CHECK(r->fd >= 0);
    ssize_t n = -1;
    for (int i = 0; i < TURNS_MAX && n <= 0; i++) {
        vv_loop_turn(r->loop, VV_MS);
        n = read(r->fd, r->request, sizeof r->request - 1);
    }
    VV_CHECK(n > 0);
    r->request[n] = '\0';
}

static void say(struct rig *r, const char *text)
{
    VV_CHECK_INT(write(r->fd, text, strlen(text)), strlen(text));
}

static void wait_for_result(struct rig *r, uint64_t before)
{
    for (int i = 0; i < TURNS_MAX && count(r, "ok") + count(r, "fail") == before; i++) {
        vv_loop_turn(r->loop, VV_MS);
    }
    VV_CHECK_INT(count(r, "ok") + count(r, "fail"), before + 1);
}

/* One whole probe that gets this answer. */
static void probe(struct rig *r, const char *answer)
{
    const uint64_t before = count(r, "ok") + count(r, "fail");
    beat(r);
    take(r);
    say(r, answer);
    wait_for_result(r, before);
}

VV_TEST(bad_answers_take_a_server_out_and_good_ones_bring_it_back)
{
    struct rig r;
    up(&r, "{path: /health, every: 500ms, timeout: 500ms, fails: 2, passes: 2}");
    probe(&r, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    VV_CHECK_INT(count(&r, "ok"), 1);
    VV_CHECK(strncmp(r.request, "GET /health HTTP/1.1\r\nHost: origin\r\n", 36) == 0);
    VV_CHECK(strstr(r.request, "Connection: close\r\n") != NULL);
    probe(&r, "HTTP/1.1 500 No\r\n\r\n");
    VV_CHECK(usable(&r)); /* fails: 2 */
    probe(&r, "HTTP/1.1 404 No\r\n\r\n");
    VV_CHECK(!usable(&r));
    probe(&r, "HTTP/1.1 302 Found\r\n\r\n");
    VV_CHECK(!usable(&r)); /* passes: 2 */
    probe(&r, "HTTP/1.1 204 Fine\r\n\r\n");
    VV_CHECK(usable(&r));
    VV_CHECK_INT(count(&r, "ok"), 3);
    VV_CHECK_INT(count(&r, "fail"), 2);
    down(&r);
}

VV_TEST(only_expected_statuses_are_good)
{
    struct rig r;
    up(&r, "{every: 500ms, timeout: 500ms, expect: [404, 3xx]}");
    probe(&r, "HTTP/1.1 200 OK\r\n\r\n");
    VV_CHECK_INT(count(&r, "fail"), 1);
    probe(&r, "HTTP/1.1 404 No\r\n\r\n");
    probe(&r, "HTTP/1.1 399 Odd\r\n\r\n");
    VV_CHECK_INT(count(&r, "ok"), 2);
    probe(&r, "HTTP/1.1 400 No\r\n\r\n");
    VV_CHECK_INT(count(&r, "fail"), 2);
    down(&r);
}

VV_TEST(an_interim_answer_does_not_decide)
{
    struct rig r;
    up(&r, "{every: 500ms, timeout: 500ms}");
    probe(&r, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 503 No\r\n\r\n");
    VV_CHECK_INT(count(&r, "fail"), 1);
    probe(&r, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n");
    VV_CHECK_INT(count(&r, "ok"), 1);
    down(&r);
}

VV_TEST(an_answer_may_come_byte_by_byte)
{
    static const char answer[] = "HTTP/1.1 200 OK\r\nA: b\r\n\r\n";
    struct rig r;
    up(&r, "{every: 500ms, timeout: 500ms}");
    beat(&r);
    take(&r);
    for (size_t i = 0; i + 1 < sizeof answer; i++) {
        VV_CHECK_INT(count(&r, "ok"), 0);
        VV_CHECK_INT(write(r.fd, answer + i, 1), 1);
        vv_loop_turn(r.loop, VV_MS);
    }
    wait_for_result(&r, 0);
    VV_CHECK_INT(count(&r, "ok"), 1);
    down(&r);
}

VV_TEST(garbage_silence_and_early_close_are_bad)
{
    struct rig r;
    up(&r, "{every: 500ms, timeout: 20ms}");
    probe(&r, "SSH-2.0-OpenSSH_9.2\r\n");
    VV_CHECK_INT(count(&r, "fail"), 1);
    beat(&r);
    take(&r);
    vv_close_fd(&r.fd);
    wait_for_result(&r, 1);
    VV_CHECK_INT(count(&r, "fail"), 2);
    VV_CHECK(usable(&r)); /* fails: 3 by default */
    beat(&r);
    take(&r);
    wait_for_result(&r, 2); /* the 20 ms of the timeout pass on the loop's own clock */
    VV_CHECK_INT(count(&r, "fail"), 3);
    VV_CHECK(!usable(&r));
    VV_CHECK_INT(count(&r, "ok"), 0);
    down(&r);
}

VV_TEST(an_endless_head_is_given_up)
{
    static char filler[8192];
    struct rig r;
    up(&r, "{every: 500ms, timeout: 500ms}");
    memset(filler, 'a', sizeof filler);
    beat(&r);
    take(&r);
    say(&r, "HTTP/1.1 200 OK\r\nA: ");
    for (int i = 0; i < 1000 && count(&r, "fail") == 0; i++) {
        (void)!send(r.fd, filler, sizeof filler, MSG_NOSIGNAL);
        vv_loop_turn(r.loop, VV_MS);
    }
    VV_CHECK_INT(count(&r, "fail"), 1);
    VV_CHECK_INT(count(&r, "ok"), 0);
    down(&r);
}

VV_TEST(a_port_that_opens_is_enough_for_tcp)
{
    struct rig r;
    up(&r, "{type: tcp, every: 500ms, timeout: 500ms, fails: 1}");
    beat(&r);
    wait_for_result(&r, 0);
    VV_CHECK_INT(count(&r, "ok"), 1);
    vv_close_fd(&r.listen_fd); /* from now on: refused */
    beat(&r);
    wait_for_result(&r, 1);
    VV_CHECK_INT(count(&r, "fail"), 1);
    VV_CHECK(!usable(&r));
    down(&r);
}

VV_TEST(a_server_that_leaves_takes_its_probe_along)
{
    struct rig r;
    up(&r, "{every: 500ms, timeout: 500ms}");
    beat(&r);
    take(&r); /* the probe is out */
    struct vv_server_set *set = vv_service_state_servers(r.rt->service[0].state);
    struct vv_server *server = set->server[0];
    vv_server_ref(server);
    vv_server_set_unref(set);
    set_servers(&r, 0);
    vv_checks_tick(r.checks, r.rt, r.now_ns);
    char c;
    ssize_t n = -1;
    for (int i = 0; i < TURNS_MAX && n < 0; i++) {
        vv_loop_turn(r.loop, VV_MS);
        n = read(r.fd, &c, 1);
    }
    VV_CHECK_INT(n, 0);                          /* its connection was closed */
    VV_CHECK_INT(atomic_load(&server->refs), 1); /* ours */
    vv_server_unref(server);
    beat(&r);
    vv_loop_turn(r.loop, 0);
    VV_CHECK_INT(count(&r, "ok") + count(&r, "fail"), 0);
    down(&r);
}

static void reload(struct rig *r, const char *check)
{
    struct vv_runtime *rt = runtime(check, r->rt);
    vv_runtime_unref(r->rt);
    r->rt = rt;
    vv_checks_tick(r->checks, rt, r->now_ns);
}

VV_TEST(a_reload_with_other_times_keeps_the_verdict)
{
    struct rig r;
    up(&r, "{every: 500ms, timeout: 500ms, fails: 1}");
    probe(&r, "HTTP/1.1 500 No\r\n\r\n");
    VV_CHECK(!usable(&r));
    r.now_ns += 1;
    reload(&r, "{every: 400ms, timeout: 400ms, fails: 3, passes: 2, grace: 1h}");
    take(&r); /* new times begin with a probe at once */
    say(&r, "HTTP/1.1 200 OK\r\n\r\n");
    wait_for_result(&r, 1);
    VV_CHECK(!usable(&r)); /* passes: 2 now, and it is still down */
    probe(&r, "HTTP/1.1 200 OK\r\n\r\n");
    VV_CHECK(usable(&r));
    down(&r);
}

VV_TEST(without_a_check_no_verdict_remains)
{
    struct rig r;
    up(&r, "{every: 500ms, timeout: 500ms, fails: 1}");
    probe(&r, "HTTP/1.1 500 No\r\n\r\n");
    VV_CHECK(!usable(&r));
    reload(&r, "");
    VV_CHECK(usable(&r));
    beat(&r);
    vv_loop_turn(r.loop, 0);
    VV_CHECK_INT(count(&r, "ok") + count(&r, "fail"), 1); /* and nobody asks any more */
    down(&r);
}

VV_TEST(a_reload_that_changes_nothing_keeps_the_beat)
{
    struct rig r;
    up(&r, "{every: 500ms, timeout: 500ms}");
    probe(&r, "HTTP/1.1 200 OK\r\n\r\n");
    reload(&r, "{every: 500ms, timeout: 500ms}");
    vv_loop_turn(r.loop, 0);
    int fd = -1;
    VV_CHECK_INT(vv_sock_accept(r.listen_fd, &fd, NULL), VV_EAGAIN); /* none before its time */
    probe(&r, "HTTP/1.1 200 OK\r\n\r\n");
    VV_CHECK_INT(count(&r, "ok"), 2);
    down(&r);
}
