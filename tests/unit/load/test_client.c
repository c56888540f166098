/* tests/unit/load/test_client.c - a connection against a server that the test plays by hand. */
#include "load/client.h"
#include "vv_test.h"
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct bench { /* a loop, a client with one connection, and the server's side of it */
    struct vv_loop *loop;
    struct vv_load_client client;
    struct vv_load_conn conn;
    struct vv_addr addr;
    int listener, peer;
    unsigned done, gone;
    int status;
    bool reusable;
    char error[32], body[256], header[32];
};
static struct bench b;

static void on_done(struct vv_load_conn *conn, const struct vv_load_answer *a)
{
    VV_CHECK(conn == &b.conn);
    b.done++;
    b.status = a->head != NULL ? a->head->status : 0;
    b.reusable = a->reusable;
    strcpy(b.error, a->error != NULL ? a->error : "");
    VV_CHECK(a->end_ns >= a->sent_ns);
    if (a->head != NULL) {
        const struct vv_h1_field *f = vv_h1_find_name(a->head, VV_STR("x-mark"));
        VV_CHECK(a->first_byte_ns >= a->sent_ns && a->first_byte_ns <= a->end_ns);
        snprintf(b.header, sizeof(b.header), VV_STR_FMT,
                 VV_STR_ARG(f != NULL ? f->value : VV_STR("")));
    }
    snprintf(b.body, sizeof(b.body), VV_STR_FMT, VV_STR_ARG(a->body));
}

static void on_gone(struct vv_load_conn *conn)
{
    VV_CHECK(!vv_load_conn_is_open(conn));
    b.gone++;
}

static void set_up(void)
{
    b = (struct bench){.peer = -1};
    const struct vv_listen_options o = {.backlog = 8};
    struct vv_addr any;
    VV_CHECK_INT(vv_loop_new(&b.loop), VV_OK);
    VV_CHECK_INT(vv_load_client_init(&b.client, b.loop), VV_OK);
    vv_load_conn_init(&b.conn, &b.client, on_done, on_gone);
    VV_CHECK_INT(vv_addr_parse(VV_STR("127.0.0.1:0"), &any), VV_OK);
    VV_CHECK_INT(vv_sock_listen(&any, &o, &b.listener), VV_OK);
    VV_CHECK_INT(vv_sock_local(b.listener, &b.addr), VV_OK);
}

static void tear_down(void)
{
    vv_load_conn_close(&b.conn);
    vv_close_fd(&b.peer);
    vv_close_fd(&b.listener);
    vv_load_client_fini(&b.client);
    vv_loop_free(b.loop);
}

static void turn(unsigned turns)
{
    for (unsigned i = 0; i < turns; i++) {
        vv_loop_turn(b.loop, VV_MS);
    }
}

/* Sends a request and reads it at the other end; connects first when that is needed. */
static void ask(bool wants_body)
{
    const struct vv_load_ask what = {.bytes = VV_STR("GET / HTTP/1.1\r\n\r\n"),
                                     .method = VV_METHOD_GET,
                                     .wants_body = wants_body};
    char got[64];
    if (!vv_load_conn_is_open(&b.conn)) {
        vv_close_fd(&b.peer);
        VV_CHECK(vv_load_conn_open(&b.conn, &b.addr) == NULL);
    }
    VV_CHECK(vv_load_conn_send(&b.conn, &what) == NULL);
    for (int i = 0; i < 1000 && b.peer < 0; i++) {
        turn(1);
        if (vv_sock_accept(b.listener, &b.peer, NULL) != VV_OK) {
            b.peer = -1;
        }
    }
    ssize_t n = -1;
    for (int i = 0; i < 1000 && n < 0; i++) {
        turn(1);
        n = recv(b.peer, got, sizeof(got), MSG_DONTWAIT);
    }
    VV_CHECK_INT(n, what.bytes.n);
}

static void say(const char *text)
{
    VV_CHECK_INT(send(b.peer, text, strlen(text), MSG_NOSIGNAL), strlen(text));
    turn(2);
}

static void until_done(unsigned done)
{
    for (int i = 0; i < 1000 && b.done < done; i++) {
        turn(1);
    }
    VV_CHECK_INT(b.done, done);
}

VV_TEST(a_request_carries_the_acknowledgement_of_the_handshake)
{
    struct tcp_info info;
    socklen_t n = sizeof(info);
    set_up();
    ask(false);
    VV_CHECK_INT(getsockopt(b.conn.io.fd, IPPROTO_TCP, TCP_INFO, &info, &n), 0);
    VV_CHECK_INT(info.tcpi_segs_out, 2); /* SYN and the request: no ACK of its own between them */
    tear_down();
}

VV_TEST(only_a_request_of_several_segments_turns_holding_back_off)
{
    static char big[4096];
    struct vv_load_ask what = {.bytes = {big, 100}, .method = VV_METHOD_GET};
    int on = -1;
    socklen_t n = sizeof(on);
    set_up();
    memset(big, 'x', sizeof(big));
    VV_CHECK(vv_load_conn_open(&b.conn, &b.addr) == NULL);
    VV_CHECK(vv_load_conn_send(&b.conn, &what) == NULL);
    VV_CHECK_INT(getsockopt(b.conn.io.fd, IPPROTO_TCP, TCP_NODELAY, &on, &n), 0);
    VV_CHECK_INT(on, 0);
    vv_load_conn_close(&b.conn);
    what.bytes.n = sizeof(big);
    VV_CHECK(vv_load_conn_open(&b.conn, &b.addr) == NULL);
    VV_CHECK(vv_load_conn_send(&b.conn, &what) == NULL);
    VV_CHECK_INT(getsockopt(b.conn.io.fd, IPPROTO_TCP, TCP_NODELAY, &on, &n), 0);
    VV_CHECK(on != 0);
    tear_down();
}

VV_TEST(a_connection_carries_one_request_after_another)
{
    set_up();
    for (unsigned i = 1; i <= 3; i++) {
        ask(true);
        say("HTTP/1.1 200 OK\r\nX-Mark: m\r\nContent-Length: 5\r\n\r\nhello");
        until_done(i);
        VV_CHECK_INT(b.status, 200);
        VV_CHECK(b.reusable);
        VV_CHECK_STR(b.body, "hello");
        VV_CHECK_STR(b.header, "m");
    }
    VV_CHECK_INT(b.client.connections, 1);
    VV_CHECK_INT(b.client.bytes_out, 3 * 18); /* the request above has 18 bytes */
    tear_down();
}

VV_TEST(an_answer_may_come_byte_by_byte)
{
    static const char *const answers[] = {
        "HTTP/1.1 201 Created\r\nX-Mark: m\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 201 Created\r\nX-Mark: m\r\nTransfer-Encoding: chunked\r\n\r\n"
        "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nX-Mark: m\r\n"
        "Content-Length: 5\r\n\r\nhello",
    };
    set_up();
    unsigned done = 0;
    for (size_t i = 0; i < VV_COUNT(answers); i++) {
        for (int wants = 0; wants < 2; wants++) {
            ask(wants == 1);
            for (const char *p = answers[i]; *p != '\0'; p++) {
                VV_CHECK_INT(b.done, done);
                VV_CHECK_INT(send(b.peer, p, 1, MSG_NOSIGNAL), 1);
                turn(1);
            }
            until_done(++done);
            VV_CHECK_STR(b.error, "");
            VV_CHECK_INT(b.status, 201);
            VV_CHECK_STR(b.header, "m"); /* the head is there although it came long before */
            VV_CHECK_STR(b.body, wants == 1 ? "hello" : "");
            VV_CHECK(b.reusable);
        }
    }
    tear_down();
}

VV_TEST(a_chunked_answer_in_one_piece_is_joined)
{
    set_up();
    ask(true);
    say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n");
    until_done(1);
    VV_CHECK_STR(b.body, "hello");
    VV_CHECK(b.reusable);
    tear_down();
}

VV_TEST(a_body_may_end_with_the_connection)
{
    set_up();
    ask(true);
    say("HTTP/1.1 200 OK\r\nX-Mark: m\r\n\r\nhello ");
    say("you");
    VV_CHECK_INT(b.done, 0);
    vv_close_fd(&b.peer);
    until_done(1);
    VV_CHECK_STR(b.error, "");
    VV_CHECK_STR(b.body, "hello you");
    VV_CHECK_STR(b.header, "m");
    VV_CHECK(!b.reusable && !vv_load_conn_is_open(&b.conn));
    tear_down();
}

VV_TEST(a_server_may_ask_to_end_the_connection)
{
    set_up();
    ask(false);
    say("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
    until_done(1);
    VV_CHECK_INT(b.status, 204);
    VV_CHECK(!b.reusable && !vv_load_conn_is_open(&b.conn));
    tear_down();
}

VV_TEST(failures_have_the_names_that_people_know)
{
    static const struct {
        const char *says, *error;
    } cases[] = {
        {"", "ECONNRESET"},                                                 /* hung up silently */
        {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "ECONNRESET"}, /* or in between */
        {"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "EPROTO"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "EPROTO"},
        {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "EPROTO"},
    };
    set_up();
    for (unsigned i = 0; i < VV_COUNT(cases); i++) {
        ask(true);
        say(cases[i].says);
        vv_close_fd(&b.peer);
        until_done(i + 1);
        VV_CHECK_STR(b.error, cases[i].error);
        VV_CHECK(!vv_load_conn_is_open(&b.conn));
    }
    tear_down();
}

VV_TEST(a_refused_connection_says_so)
{
    set_up();
    const struct vv_load_ask what = {.bytes = VV_STR("GET / HTTP/1.1\r\n\r\n")};
    vv_close_fd(&b.listener); /* nobody listens at this port now */
    const char *error = vv_load_conn_open(&b.conn, &b.addr);
    if (error == NULL) {
        error = vv_load_conn_send(&b.conn, &what);
    }
    if (error == NULL) { /* it may be known at once, or by the loop */
        until_done(1);
        error = b.error;
    }
    VV_CHECK_STR(error, "ECONNREFUSED");
    tear_down();
}

VV_TEST(an_idle_connection_that_ends_is_noticed)
{
    set_up();
    ask(false);
    say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    until_done(1);
    VV_CHECK(vv_load_conn_is_open(&b.conn));
    vv_close_fd(&b.peer);
    turn(3);
    VV_CHECK_INT(b.gone, 1);
    tear_down();
}

VV_TEST(bytes_that_nobody_asked_for_end_the_connection)
{
    set_up();
    ask(false);
    say("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxHTTP/1.1 200 OK\r\n");
    until_done(1);
    VV_CHECK_INT(b.status, 200);
    VV_CHECK(!b.reusable && !vv_load_conn_is_open(&b.conn));
    tear_down();
}

VV_TEST(only_so_much_of_a_wanted_body_is_kept)
{
    const size_t bytes = VV_LOAD_BODY_MAX + 100000;
    char *piece = malloc(bytes), head[64];
    memset(piece, 'x', bytes);
    set_up();
    ask(true);
    snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", bytes);
    say(head);
    for (size_t at = 0; at < bytes;) {
        const ssize_t n = send(b.peer, piece + at, bytes - at, MSG_NOSIGNAL | MSG_DONTWAIT);
        at += n > 0 ? (size_t)n : 0;
        VV_CHECK(b.conn.kept.n <= VV_LOAD_BODY_MAX + sizeof(head));
        turn(1);
    }
    until_done(1);
    VV_CHECK_STR(b.error, "");
    VV_CHECK(b.reusable);
    VV_CHECK_INT(b.client.bytes_in, strlen(head) + bytes);
    free(piece);
    tear_down();
}
