/* bench/src/floor_tls.c - floor_epoll behind OpenSSL: the least a TLS 1.3 server can do for a request.
 *
 * TLS itself is left whole: nothing is computed beforehand or tuned away. Around it as little as can be:
 * one recv for a wake, as OpenSSL reads ahead, and one send, as all records of a wake are gathered.
 *
 *   floor_tls -p PORT -c CERT -k KEY [-b BODY] [-w WORKERS] [-C] [-T] [-d] [-s]
 *     -C  close after each answer
 *     -T  give tickets for resumption; without, every handshake is full
 *     -d  TCP_DEFER_ACCEPT, and the first part of the handshake at once after accepting
 *     -s  let OpenSSL send each record by itself
 */
#include "util.h"
#include <openssl/err.h>
#include <openssl/ssl.h>

struct conn {
    int fd;
    SSL *ssl;
    uint32_t state;
    unsigned owed;     /* answers */
    size_t answer_off; /* bytes of the present one that OpenSSL has */
    char *left;        /* records that the socket did not take */
    size_t left_off, left_len;
    bool closing, wants_out;
};

static int ep;
static SSL_CTX *ctx;
static BIO_METHOD *method;
static bool single, close_after, defer;
static char *answer;
static size_t answer_len;

/* OpenSSL writes here, flush_wire() sends it: connections are served one after another. */
static char *wire;
static size_t wire_len, wire_cap;

static int wire_write(BIO *b, const char *p, int n)
{
    (void)b;
    while (wire_len + (size_t)n > wire_cap) {
        wire_cap = wire_cap > 0 ? wire_cap * 2 : 262144;
        wire = realloc(wire, wire_cap);
        if (wire == NULL) {
            die("realloc");
        }
    }
    memcpy(wire + wire_len, p, (size_t)n);
    wire_len += (size_t)n;
    return n;
}

static int wire_read(BIO *b, char *p, int n)
{
    const struct conn *c = BIO_get_data(b);
    const ssize_t r = recv(c->fd, p, (size_t)n, 0);
    BIO_clear_retry_flags(b);
    if (r < 0 && errno == EAGAIN) {
        BIO_set_retry_read(b);
    }
    return (int)r;
}

static long wire_ctrl(BIO *b, int command, long number, void *p)
{
    (void)b, (void)number, (void)p;
    return command == BIO_CTRL_FLUSH || command == BIO_CTRL_DUP;
}

static void watch(struct conn *c, bool out)
{
    if (c->wants_out != out) {
        c->wants_out = out;
        struct epoll_event e = {.events = out ? EPOLLOUT : EPOLLIN, .data.ptr = c};
        epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e);
    }
}

/* Sends what an earlier wake left. Returns 0 when all is sent, 1 when the socket is full, -1 when the
 * peer is gone. */
static int flush_left(struct conn *c)
{
    const ssize_t w = send(c->fd, c->left + c->left_off, c->left_len, MSG_NOSIGNAL);
    if (w < 0) {
        return errno == EAGAIN ? 1 : -1;
    }
    c->left_off += (size_t)w;
    c->left_len -= (size_t)w;
    if (c->left_len > 0) {
        return 1;
    }
    free(c->left);
    c->left = NULL;
    return 0;
}

/* Sends the records of this wake; returns as flush_left(). */
static int flush_wire(struct conn *c)
{
    const size_t n = wire_len;
    wire_len = 0;
    if (n == 0) {
        return 0;
    }
    const ssize_t sent = send(c->fd, wire, n, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
        return -1;
    }
    const size_t took = sent > 0 ? (size_t)sent : 0;
    if (took == n) {
        return 0;
    }
    c->left_len = n - took;
    c->left_off = 0;
    c->left = malloc(c->left_len);
    if (c->left == NULL) {
        die("malloc");
    }
    memcpy(c->left, wire + took, c->left_len);
    return 1;
}

/* Encrypts what is owed; returns as flush_left(). */
static int answer_all(struct conn *c)
{
    for (; c->owed > 0; c->owed--) {
        while (c->answer_off < answer_len) {
            const int w =
                SSL_write(c->ssl, answer + c->answer_off, (int)(answer_len - c->answer_off));
            if (w <= 0) {
                return SSL_get_error(c->ssl, w) == SSL_ERROR_WANT_WRITE ? 1 : -1;
            }
            c->answer_off += (size_t)w;
        }
        c->answer_off = 0;
        c->closing = close_after;
    }
    if (c->closing) {
        SSL_shutdown(c->ssl);
    }
    return 0;
}

/* One wake of a connection. Returns whether it is over. */
static bool on_wake(struct conn *c)
{
    static char in[32768];
    if (c->left_len > 0) {
        const int f = flush_left(c);
        if (f != 0) {
            return f < 0;
        }
        watch(c, false);
        if (c->closing) {
            return true;
        }
    }
    int f = answer_all(c);
    while (f == 0 && !c->closing) {
        const int r = SSL_read(c->ssl, in, sizeof in);
        if (r <= 0) {
            const int why = SSL_get_error(c->ssl, r);
            f = why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? 0 : -1;
            break;
        }
        c->owed += count_ends(in, (size_t)r, &c->state);
        f = answer_all(c);
        if (!SSL_has_pending(c->ssl)) {
            break;
        }
    }
    if (!single) {
        const int g = flush_wire(c);
        f = g != 0 ? g : f;
    }
    if (f < 0 || (c->closing && f == 0)) {
        return true;
    }
    watch(c, f == 1);
    return false;
}

static void conn_end(struct conn *c)
{
    ERR_clear_error();
    SSL_free(c->ssl);
    close(c->fd);
    free(c->left);
    free(c);
}

static void on_accept(int listener)
{
    for (;;) {
        const int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            return;
        }
        struct conn *c = calloc(1, sizeof *c);
        if (c == NULL || (c->ssl = SSL_new(ctx)) == NULL) {
            die("SSL_new");
        }
        c->fd = fd;
        if (single) {
            SSL_set_fd(c->ssl, fd);
        } else {
            BIO *b = BIO_new(method);
            BIO_set_data(b, c);
            BIO_set_init(b, 1);
            SSL_set_bio(c->ssl, b, b);
        }
        SSL_set_accept_state(c->ssl);
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
        epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
        if (defer && on_wake(c)) {
            conn_end(c);
        }
    }
}

static void set_up_tls(const char *cert, const char *key, bool tickets)
{
    ctx = SSL_CTX_new(TLS_server_method());
    SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION);
    SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256");
    SSL_CTX_set1_groups_list(ctx, "X25519:P-256");
    SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_IGNORE_UNEXPECTED_EOF |
                                 (tickets ? 0 : SSL_OP_NO_TICKET));
    SSL_CTX_set_num_tickets(ctx, tickets ? 1 : 0);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (SSL_CTX_use_certificate_chain_file(ctx, cert) != 1 ||
        SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1) {
        ERR_print_errors_fp(stderr);
        exit(1);
    }
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "wire");
    BIO_meth_set_write(method, wire_write);
    BIO_meth_set_read(method, wire_read);
    BIO_meth_set_ctrl(method, wire_ctrl);
}

static void serve(int port)
{
    const int listener = listen_on(port, true);
    if (defer) {
        const int seconds = 5;
        setsockopt(listener, IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, sizeof seconds);
    }
    ep = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event ev[512] = {{.events = EPOLLIN}};
    epoll_ctl(ep, EPOLL_CTL_ADD, listener, ev);
    for (;;) {
        const int n = epoll_wait(ep, ev, 512, -1);
        for (int i = 0; i < n; i++) {
            struct conn *c = ev[i].data.ptr;
            if (c == NULL) {
                on_accept(listener);
            } else if (on_wake(c)) {
                conn_end(c);
            }
        }
    }
}

int main(int argc, char **argv)
{
    int port = 8443, workers = 1, option;
    size_t body = 1024;
    bool tickets = false;
    const char *cert = "cert.pem", *key = "key.pem";
    while ((option = getopt(argc, argv, "p:b:w:c:k:CTds")) != -1) {
        switch (option) {
        case 'p':
            port = atoi(optarg);
            break;
        case 'b':
            body = (size_t)atol(optarg);
            break;
        case 'w':
            workers = atoi(optarg);
            break;
        case 'c':
            cert = optarg;
            break;
        case 'k':
            key = optarg;
            break;
        case 'C':
            close_after = true;
            break;
        case 'T':
            tickets = true;
            break;
        case 'd':
            defer = true;
            break;
        case 's':
            single = true;
            break;
        default:
            return 2;
        }
    }
    signal(SIGPIPE, SIG_IGN);
    raise_nofile(200000);
    set_up_tls(cert, key, tickets);
    answer = make_answer(body, close_after, &answer_len);
    fork_workers(workers);
    serve(port);
}
