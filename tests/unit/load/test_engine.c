/* tests/unit/load/test_engine.c - short runs against a server on a thread of the test. What depends on
 * the machine's speed is not judged here. */
#include "load/engine.h"
#include "os/loop.h"
#include "os/sock.h"
#include "os/thread.h"
#include "vv_test.h"
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum manner { ANSWER, SILENT, CLOSE };
#define PEERS_MAX 512

struct server {
    struct vv_loop *loop;
    struct vv_thread thread;
    struct vv_io listener;
    struct vv_io peer[PEERS_MAX];
    size_t peers;
    enum manner manner;
    atomic_uint requests;
    char url[64];
};

static struct server server; /* one at a time */

static void on_peer(struct vv_loop *loop, struct vv_io *io, uint32_t events)
{
    static const char keep[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    static const char last[] =
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
    char got[4096];
    ssize_t n = 0;
    (void)events;
    while ((n = recv(io->fd, got, sizeof(got), 0)) > 0) { /* a request comes in one piece */
        atomic_fetch_add(&server.requests, 1);
        if (server.manner != SILENT) {
            const char *text = server.manner == CLOSE ? last : keep;
            VV_CHECK_INT(send(io->fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
        }
        if (server.manner == CLOSE) {
            n = 0;
            break;
        }
    }
    if (n == 0) {
        vv_loop_del(loop, io, true);
        vv_close_fd(&io->fd);
    }
}

static void on_accept(struct vv_loop *loop, struct vv_io *io, uint32_t events)
{
    int fd = -1;
    (void)events;
    while (server.peers < PEERS_MAX && vv_sock_accept(io->fd, &fd, NULL) == VV_OK) {
        struct vv_io *peer = &server.peer[server.peers++];
        *peer = (struct vv_io){.fn = on_peer, .fd = fd};
        VV_CHECK_INT(vv_loop_add(loop, peer), VV_OK);
    }
}

static void serve(void *arg)
{
    (void)arg;
    vv_loop_run(server.loop);
}

static void server_start(enum manner manner)
{
    const struct vv_listen_options o = {.backlog = 256};
    struct vv_addr addr;
    server.peers = 0;
    server.manner = manner;
    atomic_store(&server.requests, 0);
    server.listener = (struct vv_io){.fn = on_accept, .fd = -1};
    VV_CHECK_INT(vv_loop_new(&server.loop), VV_OK);
    VV_CHECK_INT(vv_addr_parse(VV_STR("127.0.0.1:0"), &addr), VV_OK);
    VV_CHECK_INT(vv_sock_listen(&addr, &o, &server.listener.fd), VV_OK);
    VV_CHECK_INT(vv_sock_local(server.listener.fd, &addr), VV_OK);
    VV_CHECK_INT(vv_loop_add_listener(server.loop, &server.listener), VV_OK);
    snprintf(server.url, sizeof(server.url), "http://127.0.0.1:%u/", vv_addr_port(&addr));
    VV_CHECK_INT(vv_thread_start(&server.thread, "server", serve, NULL), VV_OK);
}

static void server_stop(void)
{
    vv_loop_stop(server.loop);
    vv_thread_join(&server.thread);
    for (size_t i = 0; i < server.peers; i++) {
        vv_close_fd(&server.peer[i].fd);
    }
    vv_close_fd(&server.listener.fd);
    vv_loop_free(server.loop);
}

static struct vv_load_result *run(const char *url, struct vv_load_phase phase, uint64_t timeout_ns,
                                  struct vv_load_options options)
{
    struct vv_conf_problems *problems = vv_conf_problems_new();
    struct vv_load_plan *plan = NULL;
    struct vv_load_result *r = NULL;
    phase.ramp_to = -1;
    const struct vv_load_line line = {.url = url, .phase = phase, .timeout_ns = timeout_ns};
    options.seed = 1;
    VV_CHECK_INT(vv_load_plan_line(&line, problems, &plan), VV_OK);
    VV_CHECK_INT(vv_load_run(plan, &options, &r), VV_OK);
    vv_load_plan_free(plan); /* the counters of the result stay */
    vv_conf_problems_free(problems);
    return r;
}

static const struct vv_load_options plain;

VV_TEST(every_arrival_of_an_open_phase_becomes_a_request)
{
    const struct vv_load_phase phase = {.rate = 200, .duration_ns = VV_SEC / 2};
    for (unsigned threads = 1; threads <= 3; threads++) {
        struct vv_load_options o = {.threads = threads};
        server_start(ANSWER);
        struct vv_load_result *r = run(server.url, phase, 0, o);
        server_stop();
        VV_CHECK_INT(r->offered, 100); /* 200/s for half a second */
        VV_CHECK_INT(r->requests, 100);
        VV_CHECK_INT(r->answers, 100);
        VV_CHECK_INT(atomic_load(&server.requests), 100);
        VV_CHECK_INT(r->codes[200], 100);
        VV_CHECK_INT(r->users_created, 100);
        VV_CHECK_INT(r->users_completed, 100);
        VV_CHECK_INT(r->users_by_scenario[0], 100);
        VV_CHECK_INT(vv_load_hist_count(r->latency), 100);
        VV_CHECK_INT(vv_load_hist_count(r->service), 100);
        VV_CHECK_INT(vv_load_hist_count(r->session), 100);
        VV_CHECK_INT(vv_load_hist_count(r->by_class[2]), 100);
        VV_CHECK_INT(r->endpoint[0].answers, 100);
        VV_CHECK_INT(r->window[0].offered, 100);
        VV_CHECK_INT(r->failed + r->users_failed + r->users_skipped, 0);
        VV_CHECK_INT(r->threads, threads);
        VV_CHECK(!r->closed && !r->interrupted);
        /* Recorded from the meant start, so never shorter than from the send. */
        VV_CHECK(vv_load_hist_mean(r->latency) >= vv_load_hist_mean(r->service));
        VV_CHECK(r->connections <= r->requests && r->bytes_in > 100 && r->cpu_ns > 0);
        vv_load_result_free(r);
    }
}

VV_TEST(closed_users_keep_their_connections_and_end_with_the_phase)
{
    const struct vv_load_phase phase = {.users = 4, .duration_ns = VV_SEC / 5};
    server_start(ANSWER);
    struct vv_load_result *r = run(server.url, phase, 0, plain);
    server_stop();
    VV_CHECK(r->closed);
    VV_CHECK_INT(r->connections, 4);
    VV_CHECK(r->answers > 4);
    VV_CHECK_INT(r->answers, r->requests);
    VV_CHECK_INT(r->offered, r->users_created);
    VV_CHECK_INT(r->users_completed, r->users_created);
    VV_CHECK_INT(atomic_load(&server.requests), r->requests);
    VV_CHECK_INT(vv_load_hist_max(r->latency), vv_load_hist_max(r->service));
    vv_load_result_free(r);
}

VV_TEST(an_answer_that_closes_costs_a_connection_each)
{
    const struct vv_load_phase phase = {.count = 20, .duration_ns = VV_SEC / 10};
    server_start(CLOSE);
    struct vv_load_result *r = run(server.url, phase, 0, plain);
    server_stop();
    VV_CHECK_INT(r->answers, 20);
    VV_CHECK_INT(r->connections, 20);
    VV_CHECK_INT(r->failed, 0);
    vv_load_result_free(r);
}

VV_TEST(what_nobody_answers_times_out)
{
    const struct vv_load_phase phase = {.count = 10, .duration_ns = VV_SEC / 10};
    server_start(SILENT);
    struct vv_load_result *r = run(server.url, phase, VV_SEC / 10, plain);
    server_stop();
    VV_CHECK_INT(r->requests, 10);
    VV_CHECK_INT(r->answers, 0);
    VV_CHECK_INT(r->failed, 10);
    VV_CHECK_INT(r->users_failed, 10);
    VV_CHECK_INT(r->error_count, 1);
    VV_CHECK_STR(r->error[0].name, "ETIMEDOUT");
    VV_CHECK_INT(r->endpoint[0].failed, 10);
    vv_load_result_free(r);
}

VV_TEST(arrivals_over_the_cap_are_skipped)
{
    struct vv_load_phase phase = {.count = 10, .duration_ns = VV_SEC / 10, .users_max = 3};
    server_start(SILENT);
    struct vv_load_result *r = run(server.url, phase, VV_SEC / 2, plain);
    server_stop();
    VV_CHECK_INT(r->offered, 10);
    VV_CHECK_INT(r->requests, 3);
    VV_CHECK_INT(r->users_skipped, 7);
    VV_CHECK_INT(r->users_created, 3);
    vv_load_result_free(r);
}

VV_TEST(a_refused_connection_fails_its_user)
{
    const struct vv_load_phase phase = {.count = 5, .duration_ns = VV_SEC / 20};
    server_start(ANSWER);
    server_stop(); /* its port is free, and nobody else will have taken it */
    struct vv_load_result *r = run(server.url, phase, 0, plain);
    VV_CHECK_INT(r->requests, 5);
    VV_CHECK_INT(r->failed, 5);
    VV_CHECK_STR(r->error[0].name, "ECONNREFUSED");
    VV_CHECK_INT(r->error[0].count, 5);
    vv_load_result_free(r);
}

VV_TEST(closed_users_that_only_fail_rest_between)
{
    const struct vv_load_phase phase = {.users = 2, .duration_ns = VV_SEC / 5};
    server_start(ANSWER);
    server_stop();
    struct vv_load_result *r = run(server.url, phase, 0, plain);
    VV_CHECK(r->failed >= 2);
    VV_CHECK(r->failed <= 2 * 201); /* each at most once a millisecond */
    VV_CHECK_INT(r->users_failed, r->users_created);
    vv_load_result_free(r);
}

VV_TEST(agents_together_offer_exactly_the_plan)
{
    const struct vv_load_phase phase = {.count = 33, .duration_ns = VV_SEC / 10};
    struct vv_load_options o = {.threads = 2, .parts = 2};
    server_start(ANSWER);
    struct vv_load_result *a = run(server.url, phase, 0, o);
    o.part = 1;
    struct vv_load_result *b = run(server.url, phase, 0, o);
    server_stop();
    VV_CHECK(a->offered == 17 && b->offered == 16); /* 33 by fours: 9 8 8 8 */
    VV_CHECK_INT(vv_load_result_merge(a, b), VV_OK);
    VV_CHECK_INT(a->offered, 33);
    VV_CHECK_INT(a->answers, 33);
    VV_CHECK_INT(a->window[0].offered, 33);
    VV_CHECK_INT(vv_load_hist_count(a->latency), 33);
    vv_load_result_free(a);
    vv_load_result_free(b);
}

static bool stop_now(void *user, const struct vv_load_result *so_far)
{
    unsigned *calls = user;
    (*calls)++;
    VV_CHECK_INT(so_far->duration_ns, VV_SEC);
    VV_CHECK_INT(so_far->offered, 50);
    VV_CHECK(so_far->window_count >= 1 && so_far->window[0].completed > 0);
    VV_CHECK(so_far->window[0].p50_ns > 0);
    return true;
}

VV_TEST(progress_is_told_each_second_and_may_end_the_run)
{
    const struct vv_load_phase phase = {.rate = 50, .duration_ns = 60 * VV_SEC};
    unsigned calls = 0;
    const struct vv_load_options o = {.progress = stop_now, .user = &calls};
    server_start(ANSWER);
    struct vv_load_result *r = run(server.url, phase, 0, o);
    server_stop();
    VV_CHECK_INT(calls, 1);
    VV_CHECK(r->interrupted);
    VV_CHECK(r->requests >= 50 && r->requests < 3000);
    VV_CHECK_INT(r->answers, r->requests);
    VV_CHECK(r->duration_ns >= VV_SEC && r->duration_ns < 60 * VV_SEC);
    VV_CHECK_INT(r->planned_ns, 60 * VV_SEC);
    vv_load_result_free(r);
}

VV_TEST(a_stop_flag_ends_the_run_and_counts_what_was_done)
{
    const struct vv_load_phase phase = {.users = 2, .duration_ns = 60 * VV_SEC};
    const volatile int stop = 1; /* set before the run: the first look sees it */
    const struct vv_load_options o = {.stop = &stop};
    server_start(ANSWER);
    struct vv_load_result *r = run(server.url, phase, 0, o);
    server_stop();
    VV_CHECK(r->interrupted);
    VV_CHECK_INT(r->answers, r->requests);
    VV_CHECK(r->duration_ns < 10 * VV_SEC);
    vv_load_result_free(r);
}

VV_TEST(more_users_than_descriptors_are_refused_before_anything_is_sent)
{
    const struct vv_load_line line = {
        .url = "http://127.0.0.1:1/",
        .phase = {.users = UINT64_C(1) << 40, .ramp_to = -1, .duration_ns = VV_SEC}};
    struct vv_conf_problems *problems = vv_conf_problems_new();
    struct vv_load_plan *plan = NULL;
    struct vv_load_result *r = NULL;
    VV_CHECK_INT(vv_load_plan_line(&line, problems, &plan), VV_OK);
    VV_CHECK_INT(vv_load_run(plan, &plain, &r), VV_EFILES);
    VV_CHECK(r == NULL);
    vv_load_plan_free(plan);
    vv_conf_problems_free(problems);
}

/* A file's users: each has a connection of its own unless a pool is set. */
static struct vv_load_result *run_file(const char *pool, unsigned threads)
{
    char text[1024];
    snprintf(text, sizeof(text),
             "config:\n"
             "  target: %.*s\n"
             "%s"
             "  phases:\n"
             "    - duration: 200ms\n"
             "      arrivalCount: 10\n"
             "scenarios:\n"
             "  - flow:\n"
             "      - get: {url: /a}\n"
             "      - think: 30ms\n"
             "      - get: {url: /b}\n",
             (int)strlen(server.url) - 1, server.url, pool);
    const struct vv_load_source source = {.path = "test.yml", .text = text};
    struct vv_load_options o = {.threads = threads, .seed = 1};
    struct vv_conf_problems *problems = vv_conf_problems_new();
    struct vv_load_plan *plan = NULL;
    struct vv_load_result *r = NULL;
    VV_CHECK_INT(vv_load_plan_read(&source, problems, &plan), VV_OK);
    VV_CHECK_INT(vv_load_run(plan, &o, &r), VV_OK);
    vv_load_plan_free(plan);
    vv_conf_problems_free(problems);
    return r;
}

VV_TEST(a_user_of_a_file_has_one_connection_for_its_flow)
{
    server_start(ANSWER);
    struct vv_load_result *r = run_file("", 1);
    server_stop();
    VV_CHECK_INT(r->users_completed, 10);
    VV_CHECK_INT(r->answers, 20);
    VV_CHECK_INT(r->connections, 10);
    VV_CHECK_INT(r->endpoint[0].answers, 10);
    VV_CHECK_INT(r->endpoint[1].answers, 10);
    /* A session holds its think, a request does not. */
    VV_CHECK(vv_load_hist_min(r->session) >= 30 * VV_MS);
    VV_CHECK(vv_load_hist_min(r->endpoint[1].latency) < 30 * VV_MS);
    vv_load_result_free(r);
}

VV_TEST(users_share_the_connections_of_a_pool)
{
    server_start(ANSWER);
    struct vv_load_result *r = run_file("  http: {pool: 1}\n", 4);
    server_stop();
    VV_CHECK_INT(r->threads, 1); /* a second thread would have no connection */
    VV_CHECK_INT(r->answers, 20);
    VV_CHECK_INT(r->connections, 1);
    vv_load_result_free(r);
}

VV_TEST(users_wait_for_a_connection_of_the_pool_until_they_time_out)
{
    server_start(SILENT);
    struct vv_load_result *r = run_file("  http: {pool: 2, timeout: 0.1}\n", 1);
    server_stop();
    VV_CHECK_INT(r->requests, 10); /* nobody comes to the second */
    VV_CHECK_INT(r->failed, 10);
    VV_CHECK_STR(r->error[0].name, "ETIMEDOUT");
    VV_CHECK_INT(r->error_count, 1);
    /* Whoever times out on a connection makes room for the next who waits. */
    VV_CHECK(atomic_load(&server.requests) >= 2);
    VV_CHECK(r->connections >= 2 && r->connections <= 10);
    vv_load_result_free(r);
}
