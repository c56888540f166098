/* tests/unit/load/test_client_tls.c - a TLS connection of a user against a server that the test plays by hand. */
#include "load/client.h"
#include "os/test_tls_kit.h"

#define BIG (400 * 1024) /* more than a socket takes at once */

struct bench { /* a loop, a client with one connection, and the server's side of it */
    struct vv_loop *loop;
    struct vv_load_client client;
    struct vv_load_conn conn;
    struct vv_addr addr;
    int listener, peer;
    struct vv_tls_context *server;
    struct vv_tls *tls; /* of the peer */
    size_t got;         /* bytes of the request */
    unsigned done, gone;
    int status;
    bool reusable;
    uint64_t tls_connect_ns;
    char error[32], body[256];
};
static struct bench b;
static char big[BIG];

static void on_done(struct vv_load_conn *conn, const struct vv_load_answer *a)
{
    VV_CHECK(conn == &b.conn);
    b.done++;
    b.status = a->head != NULL ? a->head->status : 0;
    b.reusable = a->reusable;
    b.tls_connect_ns = a->tls_connect_ns;
    snprintf(b.error, sizeof(b.error), "%s", a->error != NULL ? a->error : "");
    snprintf(b.body, sizeof(b.body), VV_STR_FMT, VV_STR_ARG(a->body));
}

static void on_gone(struct vv_load_conn *conn)
{
    VV_CHECK(!vv_load_conn_is_open(conn));
    b.gone++;
}

static void set_up(bool insecure)
{
    b = (struct bench){.peer = -1};
    const struct vv_listen_options o = {.backlog = 8};
    const struct vv_load_trust trust = {.ca_file = insecure ? NULL : kit_ca_file,
                                        .insecure = insecure};
    struct vv_addr any;
    struct vv_tls_tickets *tickets = NULL;
    kit_authority();
    VV_CHECK_INT(vv_tls_tickets_new(VV_HOUR, vv_clock_wall(), &tickets), VV_OK);
    b.server = kit_server_a((struct vv_tls_server_conf){.tickets = tickets});
    vv_tls_tickets_unref(tickets);
    VV_CHECK_INT(vv_loop_new(&b.loop), VV_OK);
    VV_CHECK_INT(vv_load_client_init(&b.client, b.loop), VV_OK);
    VV_CHECK_INT(vv_load_client_trust(&b.client, &trust), VV_OK);
    vv_load_conn_init(&b.conn, &b.client, on_done, on_gone);
    VV_CHECK_INT(vv_addr_parse(VV_STR("127.0.0.1:0"), &any), VV_OK);
    VV_CHECK_INT(vv_sock_listen(&any, &o, &b.listener), VV_OK);
    VV_CHECK_INT(vv_sock_local(b.listener, &b.addr), VV_OK);
}

/* The server leaves: with or without saying that it is done. */
static void leave(bool says_so)
{
    if (says_so) {
        VV_CHECK_INT(vv_tls_close(b.tls), VV_OK);
    }
    vv_tls_free(b.tls);
    b.tls = NULL;
    vv_close_fd(&b.peer);
}

static void tear_down(void)
{
    vv_load_conn_close(&b.conn);
    vv_tls_free(b.tls);
    vv_tls_context_unref(b.server);
    vv_close_fd(&b.peer);
    vv_close_fd(&b.listener);
    vv_load_client_fini(&b.client);
    vv_loop_free(b.loop);
}

/* One step of the server: accepts, shakes hands, reads. */
static void serve(void)
{
    char room[16384];
    size_t n = 0;
    if (b.peer < 0) {
        if (vv_sock_accept(b.listener, &b.peer, NULL) != VV_OK) {
            b.peer = -1;
            return;
        }
        VV_CHECK_INT(vv_tls_accept(b.server, b.peer, NULL, &b.tls), VV_OK);
    }
    if (vv_tls_handshake(b.tls) == VV_OK) {
        const enum vv_err err = vv_tls_flush(b.tls);
        VV_CHECK(err == VV_OK || err == VV_EAGAIN);
        while (vv_tls_read(b.tls, room, sizeof(room), &n) == VV_OK) {
            b.got += n;
        }
    }
}

static void turn(void)
{
    vv_loop_turn(b.loop, VV_MS);
    serve();
}

/* Sends a request and waits until it has arrived, or failed. Connects first when that is needed. */
static void ask(const char *name, struct vv_str bytes)
{
    const struct vv_load_ask what = {.bytes = bytes, .method = VV_METHOD_GET, .wants_body = true};
    const unsigned done = b.done;
    b.got = 0;
    if (!vv_load_conn_is_open(&b.conn)) {
        vv_tls_free(b.tls);
        b.tls = NULL;
        vv_close_fd(&b.peer);
        VV_CHECK(vv_load_conn_open_tls(&b.conn, &b.addr, name, vv_addr_port(&b.addr)) == NULL);
    }
    VV_CHECK(vv_load_conn_send(&b.conn, &what) == NULL);
    for (int i = 0; i < 2000 && b.got < bytes.n && b.done == done; i++) {
        turn();
    }
}

static void say(const char *text, size_t bytes)
{
    while (bytes > 0) {
        const struct iovec v = {(void *)(uintptr_t)text, bytes};
        size_t n = 0;
        const enum vv_err err = vv_tls_write(b.tls, &v, 1, 0, vv_clock_now(), &n);
        VV_CHECK(err == VV_OK || err == VV_EAGAIN);
        text += n;
        bytes -= n;
        vv_loop_turn(b.loop, VV_MS);
    }
    for (int i = 0; i < 1000 && vv_tls_unsent(b.tls) > 0; i++) {
        const enum vv_err err = vv_tls_flush(b.tls);
        VV_CHECK(err == VV_OK || err == VV_EAGAIN);
        vv_loop_turn(b.loop, VV_MS);
    }
}

static void until_done(unsigned done)
{
    for (int i = 0; i < 2000 && b.done < done; i++) {
        vv_loop_turn(b.loop, VV_MS);
    }
    VV_CHECK_INT(b.done, done);
}

#define REQUEST VV_STR("GET / HTTP/1.1\r\n\r\n")
#define OK_TEXT "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
#define LAST_TEXT "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"

VV_TEST(a_connection_is_measured_once_and_used_again)
{
    set_up(false);
    ask("a.test", REQUEST);
    VV_CHECK_INT(b.got, REQUEST.n);
    VV_CHECK(vv_str_eq(vv_tls_name(b.tls), VV_STR("a.test")));
    VV_CHECK(vv_str_eq(vv_tls_alpn(b.tls), VV_STR(""))); /* this server does not answer the wish */
    say(OK_TEXT, strlen(OK_TEXT));
    until_done(1);
    VV_CHECK_STR(b.error, "");
    VV_CHECK_STR(b.body, "ok");
    VV_CHECK(b.reusable && b.tls_connect_ns > 0);
    vv_load_conn_rest(&b.conn);
    ask("a.test", REQUEST);
    say(OK_TEXT, strlen(OK_TEXT));
    until_done(2);
    VV_CHECK_STR(b.body, "ok");
    VV_CHECK_INT(b.tls_connect_ns, 0);
    VV_CHECK_INT(b.client.tls_stats.handshakes, 1);
    VV_CHECK_INT(b.client.bytes_out, 2 * REQUEST.n); /* without what TLS puts around it */
    VV_CHECK_INT(b.client.bytes_in, 2 * strlen(OK_TEXT));
    tear_down();
}

VV_TEST(the_next_connection_to_a_name_resumes_the_session)
{
    set_up(false);
    for (unsigned i = 0; i < 3; i++) {
        ask("a.test", REQUEST);
        say(LAST_TEXT, strlen(LAST_TEXT));
        until_done(i + 1);
        VV_CHECK_STR(b.error, "");
        VV_CHECK(!vv_load_conn_is_open(&b.conn));
    }
    VV_CHECK_INT(b.client.tls_stats.handshakes, 3);
    VV_CHECK_INT(b.client.tls_stats.resumed, 2);
    tear_down();
}

VV_TEST(a_certificate_for_another_name_is_an_error_with_a_reason)
{
    set_up(false);
    ask("b.test", REQUEST);
    until_done(1);
    VV_CHECK_STR(b.error, "tls");
    VV_CHECK_INT(b.got, 0); /* nothing was told to whoever answered */
    VV_CHECK(strstr(b.client.tls_error, "certificate") != NULL);
    tear_down();
}

VV_TEST(insecure_takes_any_certificate)
{
    set_up(true);
    ask("b.test", REQUEST);
    say(OK_TEXT, strlen(OK_TEXT));
    until_done(1);
    VV_CHECK_STR(b.error, "");
    VV_CHECK_STR(b.client.tls_error, "");
    tear_down();
}

VV_TEST(a_server_without_tls_is_an_error_with_a_reason)
{
    static const char plain[] = "HTTP/1.1 400 Bad Request\r\n\r\n";
    const struct vv_load_ask what = {.bytes = REQUEST, .method = VV_METHOD_GET};
    set_up(false);
    VV_CHECK(vv_load_conn_open_tls(&b.conn, &b.addr, "a.test", 443) == NULL);
    VV_CHECK(vv_load_conn_send(&b.conn, &what) == NULL);
    for (int i = 0; i < 1000 && vv_sock_accept(b.listener, &b.peer, NULL) != VV_OK; i++) {
        b.peer = -1;
        vv_loop_turn(b.loop, VV_MS);
    }
    VV_CHECK_INT(send(b.peer, plain, strlen(plain), MSG_NOSIGNAL), strlen(plain));
    until_done(1);
    VV_CHECK_STR(b.error, "tls");
    VV_CHECK(strstr(b.client.tls_error, "does not speak TLS") != NULL);
    tear_down();
}

VV_TEST(a_name_that_cannot_be_is_refused_before_anything_is_sent)
{
    set_up(false);
    const char *error = vv_load_conn_open_tls(&b.conn, &b.addr, "", 443);
    VV_CHECK_STR(error != NULL ? error : "none", "tls");
    VV_CHECK(!vv_load_conn_is_open(&b.conn));
    VV_CHECK(b.client.tls_error[0] != '\0');
    tear_down();
}

/* RFC 9112 section 9.8: without a length only a closure alert tells the end from a cut. */
VV_TEST(an_answer_without_a_length_needs_a_closure_alert)
{
    static const char open_end[] = "HTTP/1.1 200 OK\r\n\r\nsome";
    for (unsigned says_so = 0; says_so < 2; says_so++) {
        set_up(false);
        ask("a.test", REQUEST);
        say(open_end, strlen(open_end));
        leave(says_so != 0);
        until_done(1);
        VV_CHECK_STR(b.error, says_so != 0 ? "" : "ECONNRESET");
        VV_CHECK_STR(b.body, says_so != 0 ? "some" : "");
        tear_down();
    }
}

VV_TEST(an_idle_connection_that_ends_is_told)
{
    set_up(false);
    ask("a.test", REQUEST);
    say(OK_TEXT, strlen(OK_TEXT));
    until_done(1);
    leave(true);
    for (int i = 0; i < 1000 && b.gone == 0; i++) {
        vv_loop_turn(b.loop, VV_MS);
    }
    VV_CHECK_INT(b.gone, 1);
    VV_CHECK_INT(b.done, 1);
    tear_down();
}

VV_TEST(what_a_socket_does_not_take_at_once_arrives_in_pieces)
{
    static char head[] = "HTTP/1.1 200 OK\r\ncontent-length: 409600\r\n\r\n"; /* BIG */
    set_up(false);
    memset(big, 'x', sizeof(big));
    memcpy(big, "POST / HTTP/1.1\r\n\r\n", 19);
    ask("a.test", (struct vv_str){big, sizeof(big)});
    VV_CHECK_INT(b.got, BIG);
    say(head, strlen(head));
    say(big, sizeof(big));
    until_done(1);
    VV_CHECK_STR(b.error, "");
    VV_CHECK(b.reusable);
    VV_CHECK_INT(b.client.bytes_in, strlen(head) + BIG);
    tear_down();
}
