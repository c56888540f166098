/* bench/src/floor_epoll.c - the least an epoll server of HTTP/1.1 can do for a request.
 *
 * Reads whatever comes, counts blank lines, and writes a prebuilt answer for each; it parses
 * nothing else. Pipelined requests are answered with one write.
 *
 *   floor_epoll -p PORT [-b BODY] [-w WORKERS] [-e] [-C] [-d]
 *     -e  edge-triggered instead of level-triggered
 *     -C  close after each answer
 *     -d  TCP_DEFER_ACCEPT, and read at once after accepting: epoll sees only connections that are
 *         not done by then
 */
#include "util.h"

#define PIPE_MAX 32

struct conn {
    int fd;
    uint32_t state;
    size_t pend_off, pend_len; /* what the socket has not taken yet of the batch */
    unsigned owed;             /* answers still owed after that */
};

static char *batch; /* PIPE_MAX answers back to back */
static size_t answer_len;
static int ep;
static bool edge, close_after, defer;

static struct conn *conn_new(int fd)
{
    static struct conn **table; /* by descriptor, kept: descriptors come back */
    static int size;
    if (fd >= size) {
        const int n = fd * 2 + 64;
        table = realloc(table, (size_t)n * sizeof(*table));
        if (table == NULL) {
            die("realloc");
        }
        memset(table + size, 0, (size_t)(n - size) * sizeof(*table));
        size = n;
    }
    if (table[fd] == NULL) {
        table[fd] = malloc(sizeof **table);
        if (table[fd] == NULL) {
            die("malloc");
        }
    }
    *table[fd] = (struct conn){.fd = fd};
    return table[fd];
}

/* Returns 0 when all is sent, 1 when the socket is full, -1 when the peer is gone. */
static int flush_out(struct conn *c)
{
    for (;;) {
        if (c->pend_len == 0) {
            if (c->owed == 0) {
                return 0;
            }
            const unsigned k = c->owed < PIPE_MAX ? c->owed : PIPE_MAX;
            c->owed -= k;
            c->pend_off = 0;
            c->pend_len = k * answer_len;
        }
        const ssize_t w = send(c->fd, batch + c->pend_off, c->pend_len, MSG_NOSIGNAL);
        if (w < 0) {
            if (errno != EAGAIN) {
                return -1;
            }
            struct epoll_event e = {.events = EPOLLOUT, .data.ptr = c};
            epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e);
            return 1;
        }
        c->pend_off += (size_t)w;
        c->pend_len -= (size_t)w;
    }
}

/* Returns whether the connection was closed. */
static bool on_read(struct conn *c)
{
    static char in[65536];
    for (;;) {
        const ssize_t r = recv(c->fd, in, sizeof in, 0);
        if (r < 0 && errno == EAGAIN) {
            return false;
        }
        if (r <= 0) {
            close(c->fd);
            return true;
        }
        c->owed += count_ends(in, (size_t)r, &c->state);
        const bool answered = c->owed != 0;
        const int f = flush_out(c);
        if (f == 1) {
            return false;
        }
        if (f < 0 || (answered && close_after)) {
            close(c->fd);
            return true;
        }
        if ((size_t)r < sizeof in) {
            return false;
        }
    }
}

static void on_accept(int listener, unsigned events)
{
    for (;;) {
        const int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            return;
        }
        struct conn *c = conn_new(fd);
        if (defer && on_read(c)) {
            continue;
        }
        struct epoll_event e = {.events = events | (c->pend_len > 0 ? (unsigned)EPOLLOUT : 0),
                                .data.ptr = c};
        epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
    }
}

static void on_write(struct conn *c, unsigned events)
{
    const int f = flush_out(c);
    if (f == 1) {
        return;
    }
    if (f < 0 || close_after) {
        close(c->fd);
        return;
    }
    struct epoll_event e = {.events = events, .data.ptr = c};
    epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e);
}

static void serve(int port)
{
    const int listener = listen_on(port, true);
    const unsigned events = EPOLLIN | (edge ? (unsigned)EPOLLET : 0);
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
                on_accept(listener, events);
            } else if ((ev[i].events & EPOLLOUT) != 0) {
                on_write(c, events);
            } else {
                on_read(c);
            }
        }
    }
}

int main(int argc, char **argv)
{
    int port = 8080, workers = 1, option;
    size_t body = 1024;
    while ((option = getopt(argc, argv, "p:b:w:eCd")) != -1) {
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
        case 'e':
            edge = true;
            break;
        case 'C':
            close_after = true;
            break;
        case 'd':
            defer = true;
            break;
        default:
            return 2;
        }
    }
    raise_nofile(200000);
    char *one = make_answer(body, close_after, &answer_len);
    batch = malloc(answer_len * PIPE_MAX);
    if (batch == NULL) {
        die("malloc");
    }
    for (size_t i = 0; i < PIPE_MAX; i++) {
        memcpy(batch + i * answer_len, one, answer_len);
    }
    fork_workers(workers);
    serve(port);
}
