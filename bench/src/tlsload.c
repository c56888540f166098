/* bench/src/tlsload.c - TLS 1.3 connections as fast as they go, one request on each.
 *
 * Keeps CONNECTIONS of them in work: each connects, handshakes, sends one GET with
 * `Connection: close`, reads to the end and starts anew. Every answer is looked at.
 *
 *   tlsload -p PORT -u PATH -c CONNECTIONS -t SECONDS -n BODY [-N REQUESTS] [-r]
 *     -n  bytes every body must have
 *     -N  end after so many answers
 *     -r  offer the session of the connection before
 * Prints one JSON object, with how many handshakes resumed a session.
 */
#include "hist.h"
#include "util.h"
#include <openssl/err.h>
#include <openssl/ssl.h>

struct slot {
    int fd;
    SSL *ssl;
    SSL_SESSION *session; /* of the connection before; NULL: none */
    uint64_t from_ns;
    size_t got;
    bool asked;
    char head[1024]; /* the first bytes of the answer */
};

static SSL_CTX *ctx;
static int ep, port = 8443, slot_index;
static bool resume;
static char request[512];
static int request_len;
static size_t body_len;
static uint64_t done, errors, wrong, resumed, handshakes;
static struct hist times;

static int on_session(SSL *ssl, SSL_SESSION *session)
{
    struct slot *c = SSL_get_ex_data(ssl, slot_index);
    SSL_SESSION_free(c->session);
    c->session = session;
    return 1;
}

static void begin(struct slot *c)
{
    const struct sockaddr_in a = loopback(port);
    const int one = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) {
        die("socket");
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    c->from_ns = now_ns();
    c->got = 0;
    c->asked = false;
    if (connect(c->fd, (const struct sockaddr *)&a, sizeof a) != 0 && errno != EINPROGRESS) {
        die("connect");
    }
    c->ssl = SSL_new(ctx);
    if (c->ssl == NULL) {
        die("SSL_new");
    }
    SSL_set_ex_data(c->ssl, slot_index, c);
    SSL_set_fd(c->ssl, c->fd);
    SSL_set_connect_state(c->ssl);
    SSL_set_tlsext_host_name(c->ssl, "localhost");
    if (c->session != NULL) {
        SSL_set_session(c->ssl, c->session);
    }
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};
    epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &e);
}

static void finish(struct slot *c, bool ok)
{
    if (ok) {
        done++;
        hist_add(&times, now_ns() - c->from_ns);
    } else {
        errors++;
    }
    SSL_set_quiet_shutdown(c->ssl, 1);
    SSL_shutdown(c->ssl);
    SSL_free(c->ssl);
    close(c->fd);
    ERR_clear_error();
    begin(c);
}

static bool would_block(const struct slot *c, int result)
{
    const int why = SSL_get_error(c->ssl, result);
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE;
}

/* Handshakes and asks. Returns whether the request is on its way. */
static bool ask(struct slot *c)
{
    const int r = SSL_do_handshake(c->ssl);
    if (r != 1) {
        if (!would_block(c, r)) {
            finish(c, false);
        }
        return false;
    }
    handshakes++;
    resumed += SSL_session_reused(c->ssl) == 1;
    c->asked = true;
    if (SSL_write(c->ssl, request, request_len) != request_len) {
        finish(c, false);
        return false;
    }
    return true;
}

static bool is_right(struct slot *c)
{
    c->head[c->got < sizeof c->head - 1 ? c->got : sizeof c->head - 1] = '\0';
    const char *end = strstr(c->head, "\r\n\r\n");
    return end != NULL && strncmp(c->head + 9, "200", 3) == 0 &&
           c->got == (size_t)(end + 4 - c->head) + body_len;
}

static void on_wake(struct slot *c)
{
    static char buf[65536];
    if (!c->asked && !ask(c)) {
        return;
    }
    for (;;) {
        const int r = SSL_read(c->ssl, buf, sizeof buf);
        if (r <= 0) {
            if (!would_block(c, r)) {
                const bool right = is_right(c);
                wrong += c->got > 0 && !right;
                finish(c, right);
            }
            return;
        }
        if (c->got < sizeof c->head - 1) {
            const size_t room = sizeof c->head - 1 - c->got;
            memcpy(c->head + c->got, buf, (size_t)r < room ? (size_t)r : room);
        }
        c->got += (size_t)r;
    }
}

static void set_up_tls(void)
{
    ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION);
    SSL_CTX_set1_groups_list(ctx, "X25519");
    SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256");
    SSL_CTX_set_options(ctx, SSL_OP_IGNORE_UNEXPECTED_EOF);
    if (resume) {
        SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
        SSL_CTX_sess_set_new_cb(ctx, on_session);
    }
    slot_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
}

static void load(int slots, double seconds, uint64_t count)
{
    struct slot *slot = calloc((size_t)slots, sizeof *slot);
    if (slot == NULL) {
        die("calloc");
    }
    ep = epoll_create1(EPOLL_CLOEXEC);
    const uint64_t from_ns = now_ns(), end_ns = from_ns + (uint64_t)(seconds * 1e9);
    for (int i = 0; i < slots; i++) {
        begin(&slot[i]);
    }
    struct epoll_event ev[512];
    while (now_ns() < end_ns && done < count) {
        const int n = epoll_wait(ep, ev, 512, 100);
        for (int i = 0; i < n && done < count; i++) {
            on_wake(ev[i].data.ptr);
        }
    }
    printf("{\"requests\":%llu,\"errors\":%llu,\"wrong\":%llu,\"handshakes\":%llu,\"resumed\":%llu,"
           "\"seconds\":%.3f,\"p50_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f}\n",
           (unsigned long long)done, (unsigned long long)errors, (unsigned long long)wrong,
           (unsigned long long)handshakes, (unsigned long long)resumed,
           (double)(now_ns() - from_ns) / 1e9, hist_quantile_us(&times, 0.5),
           hist_quantile_us(&times, 0.99), hist_quantile_us(&times, 0.999));
}

int main(int argc, char **argv)
{
    int slots = 32, option;
    double seconds = 5;
    uint64_t count = UINT64_MAX;
    const char *path = "/";
    while ((option = getopt(argc, argv, "p:u:c:t:n:N:r")) != -1) {
        switch (option) {
        case 'p':
            port = atoi(optarg);
            break;
        case 'u':
            path = optarg;
            break;
        case 'c':
            slots = atoi(optarg);
            break;
        case 't':
            seconds = atof(optarg);
            break;
        case 'n':
            body_len = (size_t)atol(optarg);
            break;
        case 'N':
            count = strtoull(optarg, NULL, 10);
            break;
        case 'r':
            resume = true;
            break;
        default:
            return 2;
        }
    }
    signal(SIGPIPE, SIG_IGN);
    raise_nofile(100000);
    request_len =
        snprintf(request, sizeof request,
                 "GET %s HTTP/1.1\r\nHost: localhost:%d\r\nConnection: close\r\n\r\n", path, port);
    set_up_tls();
    load(slots, seconds, count);
}
