/* bench/src/floor_store.c - the least a server can do that answers out of Redis.
 *
 * For each request one GET of the path as the key, all of one turn in one write on one connection;
 * what comes back is sent with a head in front. No parsing beyond the path, no keys made, nothing
 * checked, nothing kept.
 *
 *   floor_store -p PORT -r REDIS_PORT
 */
#include "util.h"
#include <sys/uio.h>

#define WAITING_MAX 65536 /* a power of two */
#define ROOM (1u << 22)

struct client {
    int fd;
    bool dead;
    size_t n, waiting;
    char in[8192];
};

static int ep, redis;
static struct client *order[WAITING_MAX]; /* whose answers come next */
static size_t first, last;
static char out[ROOM], back[ROOM];
static size_t out_n, back_n;

static void watch(int fd, void *what)
{
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = what};
    if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e) != 0) {
        die("epoll_ctl");
    }
}

static void on_accept(int listener)
{
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct client *c = calloc(1, sizeof(*c));
        if (c == NULL) {
            die("calloc");
        }
        c->fd = fd;
        watch(fd, c);
    }
}

static void ask(struct client *c, const char *key, size_t n)
{
    out_n += (size_t)snprintf(out + out_n, sizeof(out) - out_n,
                              "*2\r\n$3\r\nGET\r\n$%zu\r\n%.*s\r\n", n, (int)n, key);
    order[last++ % WAITING_MAX] = c;
    c->waiting++;
}

static void drop(struct client *c)
{
    if (!c->dead) {
        close(c->fd);
        c->dead = true;
    }
    if (c->waiting == 0) {
        free(c);
    }
}

static void on_client(struct client *c)
{
    const ssize_t r = recv(c->fd, c->in + c->n, sizeof(c->in) - c->n, 0);
    if (r <= 0) {
        drop(c);
        return;
    }
    c->n += (size_t)r;
    for (;;) {
        char *end = memmem(c->in, c->n, "\r\n\r\n", 4);
        if (end == NULL) {
            return;
        }
        const char *path = memchr(c->in, ' ', (size_t)(end - c->in));
        const char *after = path != NULL ? memchr(path + 1, ' ', (size_t)(end - path - 1)) : NULL;
        if (after == NULL) {
            drop(c);
            return;
        }
        ask(c, path + 1, (size_t)(after - path - 1));
        const size_t used = (size_t)(end + 4 - c->in);
        memmove(c->in, end + 4, c->n - used);
        c->n -= used;
    }
}

/* One answer: "$1024\r\n", so many bytes, "\r\n". Returns how long it was; 0: not whole yet. */
static size_t answer(const char *at, size_t n)
{
    const char *line = memmem(at, n, "\r\n", 2);
    if (line == NULL) {
        return 0;
    }
    const long length = strtol(at + 1, NULL, 10);
    const size_t whole = (size_t)(line - at) + 2 + (length >= 0 ? (size_t)length + 2 : 0);
    if (n < whole) {
        return 0;
    }
    char head[128];
    struct client *c = order[first++ % WAITING_MAX];
    c->waiting--;
    if (c->dead) {
        drop(c);
        return whole;
    }
    const int head_n = snprintf(head, sizeof(head), "HTTP/1.1 %s\r\nContent-Length: %ld\r\n\r\n",
                                length >= 0 ? "200 OK" : "404 Not Found", length >= 0 ? length : 0);
    const struct iovec iov[2] = {{head, (size_t)head_n},
                                 {(char *)(uintptr_t)line + 2, length > 0 ? (size_t)length : 0}};
    if (writev(c->fd, iov, 2) < 0) {
        drop(c);
    }
    return whole;
}

static void on_redis(void)
{
    const ssize_t r = recv(redis, back + back_n, sizeof(back) - back_n, 0);
    if (r <= 0) {
        die("redis");
    }
    back_n += (size_t)r;
    size_t at = 0, n;
    while (at < back_n && (n = answer(back + at, back_n - at)) > 0) {
        at += n;
    }
    memmove(back, back + at, back_n - at);
    back_n -= at;
}

static void flush(void)
{
    for (size_t at = 0; at < out_n;) {
        const ssize_t w = send(redis, out + at, out_n - at, MSG_NOSIGNAL);
        if (w < 0) {
            die("redis");
        }
        at += (size_t)w;
    }
    out_n = 0;
}

int main(int argc, char **argv)
{
    int port = 8080, redis_port = 6379, option;
    while ((option = getopt(argc, argv, "p:r:")) != -1) {
        if (option == 'p') {
            port = atoi(optarg);
        } else if (option == 'r') {
            redis_port = atoi(optarg);
        } else {
            return 2;
        }
    }
    const int listener = listen_on(port, true);
    ep = epoll_create1(EPOLL_CLOEXEC);
    redis = connect_to(redis_port);
    watch(listener, &ep);
    watch(redis, &redis);
    for (;;) {
        struct epoll_event events[512];
        const int n = epoll_wait(ep, events, 512, -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr == &ep) {
                on_accept(listener);
            } else if (events[i].data.ptr == &redis) {
                on_redis();
            } else {
                on_client(events[i].data.ptr);
            }
        }
        flush();
    }
}
