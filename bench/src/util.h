/* bench/src/util.h - small helpers shared by the bench programs; no part of the product. */
#ifndef BENCH_UTIL_H
#define BENCH_UTIL_H
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static inline void die(const char *what)
{
    perror(what);
    exit(1);
}

/* Raises the descriptor limit as far as it may go; root may go past the hard limit. */
static inline void raise_nofile(rlim_t want)
{
    struct rlimit limit = {want, want};
    if (setrlimit(RLIMIT_NOFILE, &limit) == 0) {
        return;
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static inline struct sockaddr_in loopback(int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
}

static inline int listen_on(int port, bool nonblock)
{
    const struct sockaddr_in a = loopback(port);
    const int one = 1;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | (nonblock ? SOCK_NONBLOCK : 0), 0);
    if (fd < 0) {
        die("socket");
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* inherited on accept */
    if (bind(fd, (const struct sockaddr *)&a, sizeof a) != 0 || listen(fd, 4096) != 0) {
        die("bind");
    }
    return fd;
}

static inline int connect_to(int port)
{
    const struct sockaddr_in a = loopback(port);
    const int one = 1;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&a, sizeof a) != 0) {
        die("connect");
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

/* Forks workers - 1 further processes; each one returns and opens its own SO_REUSEPORT listener, as
 * a server with several workers would. */
static inline void fork_workers(int workers)
{
    for (int i = 1; i < workers; i++) {
        const pid_t pid = fork();
        if (pid < 0) {
            die("fork");
        }
        if (pid == 0) {
            return;
        }
    }
}

static inline uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

/* The body's byte at offset i; body_bytes() in harness/scenarios.py computes the same. */
static inline char body_byte(size_t i)
{
    return (char)('a' + (i * 7 + i / 26) % 26);
}

/* What every floor answers: 200 with a body of so many bytes. */
static inline char *make_answer(size_t body, bool last, size_t *ret_len)
{
    char *p = malloc(body + 512);
    if (p == NULL) {
        die("malloc");
    }
    const int n =
        snprintf(p, 512,
                 "HTTP/1.1 200 OK\r\nServer: floor\r\n"
                 "Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
                 "Content-Type: application/octet-stream\r\nContent-Length: %zu\r\n%s\r\n",
                 body, last ? "Connection: close\r\n" : "");
    for (size_t i = 0; i < body; i++) {
        p[(size_t)n + i] = body_byte(i);
    }
    *ret_len = (size_t)n + body;
    return p;
}

/* Counts request ends in a stream of bytes; *state carries the last four of them. */
static inline unsigned count_ends(const char *p, size_t n, uint32_t *state)
{
    unsigned count = 0;
    uint32_t x = *state;
    for (size_t i = 0; i < n; i++) {
        x = (x << 8) | (unsigned char)p[i];
        count += x == 0x0d0a0d0aU;
    }
    *state = x;
    return count;
}
#endif
