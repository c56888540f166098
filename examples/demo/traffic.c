/* examples/demo/traffic.c - a little traffic for the demonstration: what a few visitors would ask.
 *
 *   traffic PORT RATE    RATE requests a second to 127.0.0.1:PORT over a few kept-alive connections
 *
 * On SIGTERM it prints how many answers of which status it got, and ends with 1 when there were
 * none.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS 4
#define STATUS_MAX 600
#define ANSWER_BYTES 65536

/* A visitor's mix: `weight` of each 100 requests. */
static const struct {
    unsigned weight;
    const char *method, *target, *body;
} mix[] = {
    {30, "GET", "/api/books", NULL},
    {22, "GET", "/api/books/3", NULL},
    {10, "GET", "/api/books/7", NULL},
    {12, "GET", "/", NULL},
    {6, "GET", "/shop.css", NULL},
    {10, "POST", "/api/orders", "{\"book\": 3, \"count\": 2}"},
    {5, "GET", "/api/primes?below=20000", NULL},
    {3, "GET", "/api/slow?ms=150", NULL},
    {2, "GET", "/api/books/999", NULL},
};

static volatile sig_atomic_t ended;

static void on_signal(int number)
{
    (void)number;
    ended = 1;
}

static int connect_to(int port)
{
    const struct sockaddr_in to = {.sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct timeval wait = {.tv_sec = 10};
    const int one = 1;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(fd, (const struct sockaddr *)&to, sizeof to) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* The length the body of this head has; -1 when the head does not say (chunked). */
static long body_length(const char *head)
{
    const char *p = strcasestr(head, "\r\ncontent-length:");
    return p != NULL ? strtol(p + 17, NULL, 10) : -1;
}

/* Sends one request and reads its answer; returns the status, or 0 when the connection failed. */
static int ask(int fd, size_t which)
{
    static char buf[ANSWER_BYTES + 1];
    const char *body = mix[which].body != NULL ? mix[which].body : "";
    int n = snprintf(buf, sizeof buf,
                     "%s %s HTTP/1.1\r\nHost: localhost\r\nUser-Agent: demo-traffic\r\n"
                     "%s%s%zu\r\n\r\n%s",
                     mix[which].method, mix[which].target,
                     *body != '\0' ? "Content-Type: application/json\r\n" : "",
                     "Content-Length: ", strlen(body), body);
    if (send(fd, buf, (size_t)n, MSG_NOSIGNAL) != n) {
        return 0;
    }
    size_t used = 0;
    for (;;) {
        const ssize_t got = recv(fd, buf + used, ANSWER_BYTES - used, 0);
        if (got <= 0) {
            return 0;
        }
        used += (size_t)got;
        buf[used] = '\0';
        const char *end = strstr(buf, "\r\n\r\n");
        if (end == NULL) {
            continue;
        }
        const long length = body_length(buf);
        const bool whole = length >= 0 ? used >= (size_t)(end + 4 - buf) + (size_t)length
                                       : strstr(end, "\r\n0\r\n\r\n") != NULL;
        if (whole) {
            return strncmp(buf, "HTTP/1.1 ", 9) == 0 ? atoi(buf + 9) : 0;
        }
        if (used == ANSWER_BYTES) {
            return 0;
        }
    }
}

static size_t choose(uint32_t *seed)
{
    *seed = *seed * 1664525U + 1013904223U; /* Numerical Recipes' generator: good enough here */
    unsigned at = (*seed >> 16) % 100;
    size_t i = 0;
    while (at >= mix[i].weight) {
        at -= mix[i++].weight;
    }
    return i;
}

static int report(const unsigned *count, unsigned failed)
{
    unsigned total = 0;
    for (int i = 0; i < STATUS_MAX; i++) {
        total += count[i];
    }
    printf("traffic: %u answers, %u failed connections", total, failed);
    for (int i = 0; i < STATUS_MAX; i++) {
        if (count[i] > 0) {
            printf(", %d: %u", i, count[i]);
        }
    }
    printf("\n");
    return total > 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    static unsigned count[STATUS_MAX];
    unsigned failed = 0;
    uint32_t seed = 1;
    int fd[CONNECTIONS];
    if (argc != 3 || atoi(argv[2]) < 1) {
        fprintf(stderr, "usage: traffic PORT RATE\n");
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    const struct sigaction action = {.sa_handler = on_signal}; /* without SA_RESTART: waits end */
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    memset(fd, -1, sizeof fd);
    const struct timespec gap = {.tv_sec = atoi(argv[2]) == 1,
                                 .tv_nsec = 1000000000L / atoi(argv[2]) % 1000000000L};
    for (unsigned turn = 0; !ended; turn++) {
        int *c = &fd[turn % CONNECTIONS];
        if (*c < 0) {
            *c = connect_to(atoi(argv[1]));
        }
        const int status = *c >= 0 ? ask(*c, choose(&seed)) : 0;
        if (status > 0 && status < STATUS_MAX) {
            count[status]++;
        } else if (!ended) {
            failed++;
            if (*c >= 0) {
                close(*c);
                *c = -1;
            }
        }
        nanosleep(&gap, NULL);
    }
    return report(count, failed);
}
