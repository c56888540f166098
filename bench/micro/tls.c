/* bench/micro/tls.c - what our TLS layer costs over bare OpenSSL. Run it alone:
 * `meson compile -C build bench_tls && build/src/os/bench_tls [SECONDS [ROUNDS]]`.
 *
 * Two servers answer 1 KiB over TLS 1.3, AES-128-GCM, X25519, P-256 on loopback: the floor does nothing but
 * SSL_read, SSL_write and one send for each turn; ours is os/tls.h as a session would use it. One client
 * (this process, 64 connections) serves both, by turns. Printed are medians over the rounds of the
 * server's CPU time (user and system):
 *   keep    one answer on a kept-alive connection
 *   full    connection, full handshake, answer, good-bye
 *   resume  the same with a ticket
 *   idle    resident memory of one idle connection, before and after vv_tls_idle()
 * `bench_tls serve floor|ours ADDRESS keep|full|resume` is one of them alone, for other clients. */
#include "os/tls.h"
#include "base/str.h"
#include "os/clock.h"
#include "os/memory.h"
#include "os/sock.h"
#include "os/tls_local.h"
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CLIENTS 64
#define IDLE_CLIENTS 500
#define WARM_TURNS 100
#define ROUNDS_MAX 15
#define REQUEST "GET /c/1k HTTP/1.1\r\nHost: a.test\r\nAccept: */*\r\n\r\n"
#define HEAD "HTTP/1.1 200 OK\r\nContent-Length: 1024\r\nContent-Type: text/plain\r\nAge: 1\r\n\r\n"
#define ANSWER_BYTES (sizeof(HEAD) - 1 + 1024)

enum mode { KEEP, FULL, RESUME, IDLE };

static char body[1024];
static struct vv_tls_pem pem;

/* ---- servers ---------------------------------------------------------------------------------- */

struct conn {
    int fd;
    size_t asked; /* bytes of requests seen */
    bool over;
    struct vv_tls *tls; /* ours */
    SSL *ssl;           /* the floor's */
};

struct kind {
    const char *name;
    void (*start)(enum mode mode);
    void (*open)(struct conn *c);
    bool (*turn)(struct conn *c); /* false: close it */
    void (*close)(struct conn *c);
};

static bool closing; /* one answer for each connection */

static struct vv_tls_context *server;

static void ours_start(enum mode mode)
{
    struct vv_sb why = VV_SB_INIT;
    struct vv_tls_cert *cert = NULL;
    struct vv_tls_tickets *tickets = NULL;
    const struct vv_tls_cert_text text = {.cert_name = "c",
                                          .key_name = "k",
                                          .cert = vv_str_from(pem.cert),
                                          .key = vv_str_from(pem.key)};
    VV_ASSERT(vv_tls_cert_parse(&text, &why, &cert) == VV_OK);
    VV_ASSERT(vv_tls_tickets_new(VV_HOUR, vv_clock_wall(), &tickets) == VV_OK);
    const struct vv_tls_server_conf conf = {
        .certs = &cert, .cert_count = 1, .tickets = mode == RESUME ? tickets : NULL};
    VV_ASSERT(vv_tls_server_new(&conf, &why, &server) == VV_OK);
}

static void ours_open(struct conn *c)
{
    VV_ASSERT(vv_tls_accept(server, c->fd, NULL, &c->tls) == VV_OK);
}

static bool ours_turn(struct conn *c)
{
    static char in[16384];
    enum vv_err err = vv_tls_handshake(c->tls);
    size_t n = 0;
    if (err != VV_OK) {
        return err == VV_EAGAIN;
    }
    do {
        err = vv_tls_read(c->tls, in, sizeof(in), &n);
        if (err != VV_OK) {
            return err == VV_EAGAIN;
        }
        for (c->asked += n; c->asked >= sizeof(REQUEST) - 1; c->asked -= sizeof(REQUEST) - 1) {
            const struct iovec two[] = {{(void *)(uintptr_t)HEAD, sizeof(HEAD) - 1},
                                        {body, sizeof(body)}};
            err = vv_tls_write(c->tls, two, 2, closing ? VV_TLS_LAST : 0, vv_clock_now(), &n);
            if (err != VV_OK) {
                return false;
            }
        }
    } while (n == sizeof(in) || vv_tls_has_more(c->tls));
    return true;
}

static void ours_close(struct conn *c)
{
    vv_tls_free(c->tls);
}

/* Bare OpenSSL: records of a turn are put one behind the other and sent at its end. */
static SSL_CTX *floor_ctx;
static BIO_METHOD *floor_bio;
static struct {
    size_t n;
    char bytes[256 * 1024];
} gathered;

static int floor_put(BIO *b, const char *p, int n)
{
    (void)b;
    VV_ASSERT((size_t)n <= sizeof(gathered.bytes) - gathered.n);
    memcpy(gathered.bytes + gathered.n, p, (size_t)n);
    gathered.n += (size_t)n;
    return n;
}

static int floor_get(BIO *b, char *p, int n)
{
    const ssize_t got = recv(((struct conn *)BIO_get_data(b))->fd, p, (size_t)n, 0);
    BIO_clear_retry_flags(b);
    if (got < 0) {
        BIO_set_retry_read(b);
    }
    return (int)got;
}

static long floor_ctrl(BIO *b, int cmd, long num, void *p)
{
    (void)b, (void)num, (void)p;
    return cmd == BIO_CTRL_FLUSH;
}

static void floor_start(enum mode mode)
{
    BIO *c = BIO_new_mem_buf(pem.cert, -1), *k = BIO_new_mem_buf(pem.key, -1);
    X509 *x = PEM_read_bio_X509(c, NULL, NULL, NULL);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(k, NULL, NULL, NULL);
    floor_ctx = SSL_CTX_new(TLS_server_method());
    VV_ASSERT(SSL_CTX_use_cert_and_key(floor_ctx, x, key, NULL, 1) == 1);
    SSL_CTX_set_min_proto_version(floor_ctx, TLS1_3_VERSION);
    SSL_CTX_set_ciphersuites(floor_ctx, "TLS_AES_128_GCM_SHA256");
    SSL_CTX_set1_groups_list(floor_ctx, "X25519:P-256");
    SSL_CTX_set_session_cache_mode(floor_ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_read_ahead(floor_ctx, 1);
    SSL_CTX_set_num_tickets(floor_ctx, mode == RESUME);
    if (mode != RESUME) {
        SSL_CTX_set_options(floor_ctx, SSL_OP_NO_TICKET);
    }
    floor_bio = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "floor");
    BIO_meth_set_write(floor_bio, floor_put);
    BIO_meth_set_read(floor_bio, floor_get);
    BIO_meth_set_ctrl(floor_bio, floor_ctrl);
}

static void floor_open(struct conn *c)
{
    BIO *b = BIO_new(floor_bio);
    c->ssl = SSL_new(floor_ctx);
    VV_ASSERT(b != NULL && c->ssl != NULL);
    BIO_set_data(b, c);
    BIO_set_init(b, 1);
    SSL_set_bio(c->ssl, b, b);
    SSL_set_accept_state(c->ssl);
}

static bool floor_turn(struct conn *c)
{
    static char in[16384];
    static char out[ANSWER_BYTES];
    memcpy(out, HEAD, sizeof(HEAD) - 1);
    bool alive = true;
    int n;
    do {
        n = SSL_read(c->ssl, in, sizeof(in));
        if (n <= 0) {
            alive = SSL_get_error(c->ssl, n) == SSL_ERROR_WANT_READ;
            break;
        }
        for (c->asked += (size_t)n; c->asked >= sizeof(REQUEST) - 1;
             c->asked -= sizeof(REQUEST) - 1) {
            SSL_write(c->ssl, out, sizeof(out));
            if (closing) {
                SSL_shutdown(c->ssl);
            }
        }
    } while (n == sizeof(in) || SSL_has_pending(c->ssl));
    if (gathered.n > 0) {
        alive =
            send(c->fd, gathered.bytes, gathered.n, MSG_NOSIGNAL) == (ssize_t)gathered.n && alive;
        gathered.n = 0;
    }
    return alive;
}

static void floor_close(struct conn *c)
{
    SSL_free(c->ssl);
}

static const struct kind kinds[] = {
    {"floor", floor_start, floor_open, floor_turn, floor_close},
    {"ours", ours_start, ours_open, ours_turn, ours_close},
};

static volatile sig_atomic_t idle_now;

static void on_signal(int sig)
{
    (void)sig;
    idle_now = 1;
}

static void drop(const struct kind *kind, struct conn *c)
{
    kind->close(c);
    close(c->fd);
    free(c);
}

VV_NORETURN static void serve(const struct kind *kind, int listener, enum mode mode)
{
    static struct conn *all[IDLE_CLIENTS * 2];
    size_t count = 0;
    struct epoll_event ev[128];
    const int ep = epoll_create1(EPOLL_CLOEXEC);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    const struct sigaction on_usr1 = {.sa_handler = on_signal};
    sigaction(SIGUSR1, &on_usr1, NULL);
    closing = mode == FULL || mode == RESUME;
    vv_memory_trim(); /* of what the client's side left */
    kind->start(mode);
    ev[0] = (struct epoll_event){.events = EPOLLIN, .data = {.ptr = NULL}};
    epoll_ctl(ep, EPOLL_CTL_ADD, listener, &ev[0]);
    for (;;) {
        const int n = epoll_wait(ep, ev, VV_COUNT(ev), -1);
        for (size_t i = 0; idle_now != 0 && i < count && mode == IDLE; i++) {
            if (all[i]->tls != NULL) {
                vv_tls_idle(all[i]->tls);
            }
        }
        if (idle_now != 0) {
            vv_memory_trim();
            idle_now = 0;
        }
        for (int i = 0; i < n; i++) {
            struct conn *c = ev[i].data.ptr;
            int fd;
            while (c == NULL && vv_sock_accept(listener, &fd, NULL) == VV_OK) {
                struct conn *fresh = calloc(1, sizeof(*fresh));
                VV_ASSERT(fresh != NULL);
                fresh->fd = fd;
                kind->open(fresh);
                if (count < VV_COUNT(all)) {
                    all[count++] = fresh;
                }
                struct epoll_event e = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET,
                                        .data = {.ptr = fresh}};
                epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
            }
            if (c != NULL && !kind->turn(c)) {
                drop(kind, c);
            }
        }
    }
}

/* ---- the client ------------------------------------------------------------------------------- */

struct user {
    struct vv_tls *tls;
    int fd;
    size_t seen;
    char name[32];
};

static struct vv_tls_context *client;
static uint64_t answers, resumed;
static bool again; /* the next request follows the answer */

static void ask(struct user *u)
{
    const struct iovec one = {(void *)(uintptr_t)REQUEST, sizeof(REQUEST) - 1};
    size_t n;
    VV_ASSERT(vv_tls_write(u->tls, &one, 1, 0, vv_clock_now(), &n) == VV_OK);
}

static void come(struct user *u, int ep, const struct vv_addr *to)
{
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                            .data = {.ptr = u}};
    VV_ASSERT(vv_sock_connect(to, &u->fd) == VV_OK);
    VV_ASSERT(vv_tls_connect(client, u->fd, u->name, NULL, &u->tls) == VV_OK);
    u->seen = 0;
    epoll_ctl(ep, EPOLL_CTL_ADD, u->fd, &e);
}

static void leave(struct user *u)
{
    const struct linger hard = {.l_onoff = 1}; /* no TIME_WAIT: ports would run out */
    setsockopt(u->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    vv_tls_free(u->tls);
    close(u->fd);
}

/* False: the connection is done. */
static bool step(struct user *u, bool *started)
{
    static char in[16384];
    size_t n = 0;
    if (!*started) {
        const enum vv_err err = vv_tls_handshake(u->tls);
        if (err != VV_OK) {
            VV_ASSERT(err == VV_EAGAIN);
            return true;
        }
        *started = true;
        resumed += vv_tls_resumed(u->tls);
        ask(u);
    }
    enum vv_err err;
    while ((err = vv_tls_read(u->tls, in, sizeof(in), &n)) == VV_OK) {
        u->seen += n;
        if (u->seen == ANSWER_BYTES) {
            answers++;
            u->seen = 0;
            if (again) {
                ask(u);
            }
        }
        if (n < sizeof(in) && !vv_tls_has_more(u->tls)) {
            return true;
        }
    }
    return err == VV_EAGAIN;
}

static double cpu_of(pid_t pid)
{
    clockid_t id;
    struct timespec t;
    VV_ASSERT(clock_getcpuclockid(pid, &id) == 0 && clock_gettime(id, &t) == 0);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double resident_kib(pid_t pid)
{
    char path[64], text[128] = "";
    snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
    FILE *f = fopen(path, "r");
    VV_ASSERT(f != NULL && fgets(text, sizeof(text), f) != NULL);
    fclose(f);
    strtok(text, " ");
    return strtod(strtok(NULL, " "), NULL) * 4;
}

static struct user users[IDLE_CLIENTS];
static bool begun[IDLE_CLIENTS];

static void run_clients(int ep, const struct vv_addr *to, double seconds)
{
    struct epoll_event ev[128];
    const uint64_t end = vv_clock_now() + (uint64_t)(seconds * 1e9);
    while (vv_clock_now() < end) {
        const int n = epoll_wait(ep, ev, VV_COUNT(ev), 10);
        for (int i = 0; i < n; i++) {
            struct user *u = ev[i].data.ptr;
            if (!step(u, &begun[u - users])) {
                leave(u);
                begun[u - users] = false;
                come(u, ep, to);
            }
        }
    }
}

struct figures {
    double us, per_s, kib, kib_after;
    uint64_t resumed_ppm;
};

static struct figures measure(const struct kind *kind, enum mode mode, double seconds)
{
    struct vv_addr to;
    struct figures f = {0};
    struct vv_sb why = VV_SB_INIT;
    int listener;
    VV_ASSERT(vv_addr_parse(VV_STR("127.0.0.1:0"), &to) == VV_OK);
    VV_ASSERT(vv_sock_listen(&to, &(struct vv_listen_options){.backlog = 4096}, &listener) ==
              VV_OK);
    VV_ASSERT(vv_sock_local(listener, &to) == VV_OK);
    const pid_t pid = fork();
    VV_ASSERT(pid >= 0);
    if (pid == 0) {
        serve(kind, listener, mode);
    }
    close(listener);
    closing = mode == FULL || mode == RESUME;
    again = mode == KEEP;
    const struct vv_tls_client_conf conf = {.insecure = true,
                                            .sessions_max = mode == RESUME ? CLIENTS : 0};
    VV_ASSERT(vv_tls_client_new(&conf, &why, &client) == VV_OK);
    const int ep = epoll_create1(EPOLL_CLOEXEC);
    const size_t count = mode == IDLE ? IDLE_CLIENTS : CLIENTS;
    nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL); /* until the server stands */
    const double empty = resident_kib(pid);
    for (size_t i = 0; i < count; i++) {
        begun[i] = false;
        snprintf(users[i].name, sizeof(users[i].name), "c%zu.test", i);
        come(&users[i], ep, &to);
    }
    answers = 0;
    for (int i = 0; i < WARM_TURNS && (i < 3 || answers < count); i++) {
        run_clients(ep, &to, 0.1); /* handshakes of the start, first sessions */
    }
    VV_ASSERT(answers >= count);
    answers = resumed = 0;
    const double before = cpu_of(pid);
    const uint64_t from = vv_clock_now();
    if (mode == IDLE) {
        f.kib = (resident_kib(pid) - empty) / (double)count;
        kill(pid, SIGUSR1);
        nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
        f.kib_after = (resident_kib(pid) - empty) / (double)count;
    } else {
        run_clients(ep, &to, seconds);
        f.us = (cpu_of(pid) - before) * 1e6 / (double)answers;
        f.per_s = (double)answers * 1e9 / (double)(vv_clock_now() - from);
        f.resumed_ppm = resumed * VV_PPM / (answers > 0 ? answers : 1);
    }
    for (size_t i = 0; i < count; i++) {
        leave(&users[i]);
    }
    close(ep);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    vv_tls_context_unref(client);
    return f;
}

static int by_us(const void *a, const void *b)
{
    const double x = ((const struct figures *)a)->us, y = ((const struct figures *)b)->us;
    return (x > y) - (x < y);
}

/* One of the servers alone, for other clients. */
static int serve_alone(const char *kind, const char *address, const char *mode)
{
    struct vv_addr at;
    int listener;
    if (vv_addr_parse(vv_str_from(address), &at) != VV_OK ||
        vv_sock_listen(&at, &(struct vv_listen_options){.backlog = 4096}, &listener) != VV_OK) {
        fprintf(stderr, "bench_tls: cannot listen on %s\n", address);
        return 2;
    }
    serve(&kinds[strcmp(kind, "ours") == 0], listener,
          strcmp(mode, "resume") == 0 ? RESUME
          : strcmp(mode, "full") == 0 ? FULL
                                      : KEEP);
}

int main(int argc, char **argv)
{
    static const char *const names[] = {"keep", "full", "resume"};
    const double seconds = argc > 1 ? strtod(argv[1], NULL) : 1;
    const size_t rounds = argc > 2 ? vv_min_u64(strtoul(argv[2], NULL, 10), ROUNDS_MAX) : 5;
    struct figures f[2][ROUNDS_MAX];
    const uint64_t now = vv_clock_wall();
    const struct vv_tls_make m = {
        .subject = "bench", .not_before_wall_ns = now - VV_DAY, .not_after_wall_ns = now + VV_DAY};
    VV_ASSERT(vv_tls_make(&m, &pem) == VV_OK);
    if (argc == 5 && strcmp(argv[1], "serve") == 0) {
        return serve_alone(argv[2], argv[3], argv[4]);
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    /* First, while this process is small: the server begins as a copy of it. */
    for (size_t k = 0; k < 2; k++) {
        const struct figures idle = measure(&kinds[k], IDLE, 0);
        printf("idle    %-6s %7.1f KiB a connection, %.1f KiB after vv_tls_idle()\n", kinds[k].name,
               idle.kib, idle.kib_after);
    }
    printf("%-7s %-6s %10s %10s %8s %8s\n", "what", "server", "CPU us", "per s", "resumed",
           "ratio");
    for (enum mode mode = KEEP; mode <= RESUME; mode++) {
        for (size_t r = 0; r < rounds; r++) {
            for (size_t k = 0; k < 2; k++) {
                f[k][r] = measure(&kinds[k], mode, seconds);
            }
        }
        for (size_t k = 0; k < 2; k++) {
            qsort(f[k], rounds, sizeof(f[k][0]), by_us);
            const struct figures *mid = &f[k][rounds / 2];
            printf("%-7s %-6s %10.2f %10.0f %7.0f%% %8.3f\n", names[mode], kinds[k].name, mid->us,
                   mid->per_s, (double)mid->resumed_ppm / 1e4, mid->us / f[0][rounds / 2].us);
        }
    }
    return 0;
}
