/* bench/src/floor_proxy.c - the least an epoll proxy can do for a request.
 *
 * One upstream connection for each client connection; bytes are passed on blindly both ways. No
 * parsing, no pool, no framing.
 *
 *   floor_proxy -p PORT -o ORIGIN_PORT [-w WORKERS]
 */
#include "util.h"
#include <poll.h>

struct side {
    int fd;
    struct side *peer;
    bool dead;
};

static int ep, origin_port;

static void write_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        const ssize_t w = send(fd, p, n, MSG_NOSIGNAL);
        if (w >= 0) {
            p += w;
            n -= (size_t)w;
        } else if (errno == EAGAIN) {
            struct pollfd q = {.fd = fd, .events = POLLOUT};
            poll(&q, 1, 1000);
        } else {
            return;
        }
    }
}

static void on_accept(int listener)
{
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct side *pair = calloc(2, sizeof(*pair));
        if (pair == NULL) {
            die("calloc");
        }
        pair[0] = (struct side){.fd = fd, .peer = &pair[1]};
        pair[1] = (struct side){.fd = connect_to(origin_port), .peer = &pair[0]};
        fcntl(pair[1].fd, F_SETFL, O_NONBLOCK);
        for (int i = 0; i < 2; i++) {
            struct epoll_event e = {.events = EPOLLIN | EPOLLET, .data.ptr = &pair[i]};
            epoll_ctl(ep, EPOLL_CTL_ADD, pair[i].fd, &e);
        }
    }
}

/* Passes on what came. Returns whether the pair has ended. */
static bool pass(struct side *s)
{
    static char buf[131072];
    for (;;) {
        const ssize_t r = recv(s->fd, buf, sizeof buf, 0);
        if (r < 0 && errno == EAGAIN) {
            return false;
        }
        if (r <= 0) {
            close(s->fd);
            close(s->peer->fd);
            s->dead = s->peer->dead = true;
            return true;
        }
        write_all(s->peer->fd, buf, (size_t)r);
        if ((size_t)r < sizeof buf) {
            return false;
        }
    }
}

int main(int argc, char **argv)
{
    int port = 8080, workers = 1, option;
    while ((option = getopt(argc, argv, "p:o:w:")) != -1) {
        switch (option) {
        case 'p':
            port = atoi(optarg);
            break;
        case 'o':
            origin_port = atoi(optarg);
            break;
        case 'w':
            workers = atoi(optarg);
            break;
        default:
            return 2;
        }
    }
    raise_nofile(200000);
    fork_workers(workers);
    const int listener = listen_on(port, true);
    ep = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event ev[512] = {{.events = EPOLLIN}};
    epoll_ctl(ep, EPOLL_CTL_ADD, listener, ev);
    struct side *graves[512]; /* pairs that ended in this turn: later events may still name them */
    for (;;) {
        const int n = epoll_wait(ep, ev, 512, -1);
        int ended = 0;
        for (int i = 0; i < n; i++) {
            struct side *s = ev[i].data.ptr;
            if (s == NULL) {
                on_accept(listener);
            } else if (!s->dead && pass(s)) {
                graves[ended++] = s < s->peer ? s : s->peer;
            }
        }
        while (ended > 0) {
            free(graves[--ended]);
        }
    }
}
